"""`zero_stays_zero`: a cotangent of zero meets no infinity; other cotangents are left as they are."""

import asyncio
import math
import threading

import pytest

import agrad
from agrad import func
from agrad.autograd import grad, zero_stays_zero

INF, NAN = math.inf, math.nan


@pytest.fixture(autouse=True)
def in_double(doubles):
    """Derivatives are compared with NumPy's."""


def leaf(*values):
    return agrad.tensor(values, requires_grad=True)


def masked(f, x, keep):
    """f(x) where `keep` holds, else 0: the form that brings NaN into a gradient."""
    return agrad.where(agrad.asarray(keep), f(x), 0.0)


SINGULAR = {  # name: (f, x, what d/dx is at the second element; at the first it is infinite or nan)
    "sqrt": (agrad.sqrt, (0.0, 4.0), 0.25),
    "sqrt of a negative number": (agrad.sqrt, (-1.0, 4.0), 0.25),
    "log": (agrad.log, (0.0, 4.0), 0.25),
    "log1p": (agrad.log1p, (-1.0, 1.0), 0.5),
    "reciprocal": (agrad.reciprocal, (0.0, 2.0), -0.25),
    "1 / x": (lambda x: 1 / x, (0.0, 2.0), -0.25),
    "x / x": (lambda x: x / x, (0.0, 2.0), 0.0),
    "x / 0": (lambda x: x / agrad.asarray([0.0, 2.0]), (1.0, 3.0), 0.5),
    "x * inf": (lambda x: x * agrad.asarray([INF, 2.0]), (1.0, 3.0), 2.0),
    "a number times x": (lambda x: x * INF, (1.0, 3.0), INF),
    "x ** 0.5": (lambda x: x**0.5, (0.0, 4.0), 0.25),
    "x ** -1": (lambda x: x**-1.0, (0.0, 2.0), -0.25),
    "acos": (agrad.acos, (1.0, 0.0), -1.0),
    "atanh": (agrad.atanh, (1.0, 0.0), 1.0),
    "a chain": (lambda x: agrad.exp(agrad.log(agrad.sqrt(x))), (0.0, 4.0), 0.25),
    "broadcast": (lambda x: agrad.sqrt(x) * agrad.asarray([[1.0], [2.0]]), (0.0, 4.0), 0.75),
}


@pytest.mark.parametrize("name", SINGULAR)
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_a_masked_infinity_stays_out(name, backend):
    f, values, expected = SINGULAR[name]
    x = leaf(*values)
    with zero_stays_zero():
        (found,) = grad(masked(f, x, [False, True]).sum(), x)
    assert found.tolist() == pytest.approx([0.0, expected], nan_ok=True)


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_it_is_off_by_default(backend):
    x = leaf(0.0, 4.0)
    (found,) = grad(masked(agrad.sqrt, x, [False, True]).sum(), x)
    assert math.isnan(found[0].item())


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_other_cotangents_meet_the_infinity(backend):
    x = leaf(0.0, 4.0)
    with zero_stays_zero():
        assert grad(agrad.sqrt(x).sum(), x)[0].tolist() == [INF, 0.25]
        assert grad((-1e-300 * agrad.log(x)).sum(), x)[0].tolist()[0] == -INF
        (found,) = grad(agrad.sqrt(x), x, agrad.asarray([NAN, 1.0]))
        assert math.isnan(found[0].item())


def test_derivatives_are_those_without_it(backend):
    def f(x):
        return agrad.sum(agrad.sin(x) * agrad.exp(x[::-1]) / (1 + x * x) + agrad.linalg.vector_norm(x))

    def orders(x):
        (first,) = grad(f(x), x, create_graph=True)
        (second,) = grad(first.sum(), x)
        return first.tolist() + second.tolist()

    x = leaf(0.3, -1.2, 0.0)
    plain = orders(x)
    with zero_stays_zero():
        assert orders(x) == pytest.approx(plain, rel=1e-14)


# ---- second order


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_second_order(backend):
    x = leaf(0.0, 4.0)
    with zero_stays_zero():
        (first,) = grad(masked(agrad.sqrt, x, [False, True]).sum(), x, create_graph=True)
        (second,) = grad(first.sum(), x)
    assert first.tolist() == [0.0, 0.25]
    assert second.tolist() == pytest.approx([0.0, -0.25 * 4.0**-1.5])


def test_a_zero_factor_keeps_its_own_derivative(backend):
    # d/dw of w * cos(x) is cos(x), for w = 0 as well: only what would be NaN becomes zero
    x, w = leaf(0.3, 1.1), leaf(0.0)
    with zero_stays_zero():
        (first,) = grad((w * agrad.sin(x)).sum(), x, create_graph=True)
        (mixed,) = grad(first.sum(), w)
    assert first.tolist() == [0.0, 0.0]
    assert mixed.item() == pytest.approx(math.cos(0.3) + math.cos(1.1))


# ---- complex numbers


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize(
    ("f", "derivative"), [(agrad.log, lambda z: 1 / z), (agrad.sqrt, lambda z: 0.5 / z**0.5), (lambda z: 1 / z, None)]
)
def test_complex_infinities(f, derivative, backend):
    z = leaf(0j, 1 + 2j)
    with zero_stays_zero():
        (found,) = grad(agrad.real(masked(f, z, [False, True])).sum(), z)
    expected = (derivative or (lambda z: -1 / z**2))(1 + 2j).conjugate()
    assert found.tolist()[0] == 0
    assert found.tolist()[1] == pytest.approx(expected)


# ---- ops that are not elementwise: zero as a whole


def eigenvectors(a):
    return agrad.linalg.eigh(a)[1].sum()


@pytest.mark.parametrize("f", [eigenvectors, lambda a: agrad.prod(a) ** 0.5, lambda a: agrad.std(a - a) * a[0, 0]])
def test_the_whole_cotangent_of_another_op_is_zero(f, backend):
    a = agrad.eye(2).requires_grad_()
    y = agrad.where(agrad.asarray(False), f(a), a.sum())
    with zero_stays_zero():
        (found,) = grad(y, a)
    assert found.tolist() == [[1.0, 1.0], [1.0, 1.0]]


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_a_part_of_the_cotangent_of_another_op_is_not_told_apart():
    # the limit that the documents speak of: only elementwise ops know which part of a cotangent a place belongs to
    x = agrad.tensor([[0.0, 0.0], [1.0, 2.0]], requires_grad=True)
    with zero_stays_zero():
        (found,) = grad(masked(lambda x: agrad.prod(agrad.log(x), axis=1), x, [False, True]).sum(), x)
    assert all(map(math.isnan, found.tolist()[0]))
    assert found.tolist()[1] == pytest.approx([math.log(2.0), 0.0])


def test_a_custom_function_too(backend):
    class Steep(agrad.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return x * 1

        @staticmethod
        def backward(ctx, g):
            return g * INF

    x = leaf(1.0, 2.0)
    y = agrad.where(x > 5.0, Steep.apply(x), x).sum()
    for create_graph in (False, True):
        assert math.isnan(grad(y, x, create_graph=create_graph, retain_graph=True)[0][0].item())
        with zero_stays_zero():
            assert grad(y, x, create_graph=create_graph, retain_graph=True)[0].tolist() == [1.0, 1.0]


TRANSFORMS = {
    "grad": lambda f, x: func.grad(f)(x),
    "jacrev": lambda f, x: func.jacrev(f)(x),
    "vjp": lambda f, x: func.vjp(f, x)[1](agrad.tensor(1.0))[0],
    "grad of vmap": lambda f, x: func.grad(lambda x: func.vmap(f)(x).sum())(x),
    "vmap of grad": lambda f, x: func.vmap(func.grad(f))(x),
}


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize("name", TRANSFORMS)
def test_transforms(name, backend):
    def f(x):
        return agrad.where(x > 0.0, agrad.sqrt(x), 0.0).sum()

    def second(x):
        return func.grad(f)(x).sum()

    x = agrad.tensor([0.0, 4.0])
    with zero_stays_zero():
        assert TRANSFORMS[name](f, x).tolist() == [0.0, 0.25]
        assert TRANSFORMS[name](second, x).tolist() == pytest.approx([0.0, -0.25 * 4.0**-1.5])


# ---- as a mode


def gradient_at_zero():
    x = leaf(0.0)
    return grad(masked(agrad.sqrt, x, [False]).sum(), x)[0].item()


def test_it_decorates_functions_and_generators():
    @zero_stays_zero
    def once():
        """Documented."""
        return gradient_at_zero()

    @zero_stays_zero()
    def steps():
        yield gradient_at_zero()
        yield gradient_at_zero()

    assert once.__doc__ == "Documented."
    assert once() == 0.0
    for found in steps():
        assert found == 0.0
        assert math.isnan(gradient_at_zero())


def test_it_nests_and_can_be_switched_off_inside():
    with zero_stays_zero():
        with zero_stays_zero(False):
            assert math.isnan(gradient_at_zero())
            with zero_stays_zero():
                assert gradient_at_zero() == 0.0
        assert gradient_at_zero() == 0.0
    assert math.isnan(gradient_at_zero())


def test_the_setting_does_it_everywhere():
    agrad.configuration.set_default("zero_stays_zero", True)
    try:
        assert gradient_at_zero() == 0.0
        with zero_stays_zero(False):
            assert math.isnan(gradient_at_zero())
    finally:
        agrad.configuration.set_default("zero_stays_zero", None)
    assert math.isnan(gradient_at_zero())


def test_it_is_a_matter_of_the_walk():
    with zero_stays_zero():
        x = leaf(0.0)
        y = masked(agrad.sqrt, x, [False]).sum()
    assert math.isnan(grad(y, x)[0].item())


def test_each_thread_has_its_own():
    seen = []
    with zero_stays_zero():
        thread = threading.Thread(target=lambda: seen.append(gradient_at_zero()))
        thread.start()
        thread.join()
        assert gradient_at_zero() == 0.0
    assert math.isnan(seen[0])


def test_each_task_has_its_own():
    seen = {}

    async def inside(turn, other):
        with zero_stays_zero():
            turn.set()
            await other.wait()
            seen["inside"] = gradient_at_zero()

    async def outside(turn, other):
        await turn.wait()
        seen["outside"] = gradient_at_zero()
        other.set()

    async def main():
        turn, other = asyncio.Event(), asyncio.Event()
        await asyncio.gather(inside(turn, other), outside(turn, other))

    asyncio.run(main())
    assert seen["inside"] == 0.0
    assert math.isnan(seen["outside"])
