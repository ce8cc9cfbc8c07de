"""agrad.autograd.forward_ad on every backend, with reverse mode and with the transforms of agrad.func."""

import asyncio
import threading
import warnings

import numpy as np
import pytest
from array_libraries import values

import agrad
from agrad import func
from agrad.autograd import forward_ad as fw

X, V = np.array([0.5, -1.25, 2.0]), np.array([1.0, 0.5, -2.0])


def both(t):
    """A dual's value and tangent as NumPy arrays."""
    primal, tangent = fw.unpack_dual(t)
    return values(primal), None if tangent is None else values(tangent)


# name -> program(namespace, x): from a dual vector of three numbers
PROGRAMS = {
    "arithmetic": lambda m, x: (x * 2 - 1) / (x * x + 3) + 2 ** x - (-x),
    "with constants": lambda m, x: x * m.ones(3) + m.zeros(3),
    "functions": lambda m, x: m.sin(x) * m.exp(x) + m.tanh(x),
    "reductions": lambda m, x: m.sum(x * x) * m.prod(x) + m.max(x),
    "a matrix": lambda m, x: m.matmul(m.reshape(m.concat([x, x, x]), (3, 3)), x),
    "where": lambda m, x: m.where(x > 0, x * x, m.sin(x)),
    "indexing": lambda m, x: x[1:] * x[0],
    "stack": lambda m, x: m.stack([x, x * x, m.ones(3)]),
    "several outputs": lambda m, x: m.linalg.eigh(m.reshape(m.concat([x, x * x, x]), (3, 3)))[0],
    "solve": lambda m, x: m.linalg.solve(x[:, None] * x + m.eye(3), x),
    "in-place": lambda m, x: (x * 1).mul_(x).add_(3),
    "an element is written": lambda m, x: written(m.zeros(3), x),
    "a view is written": lambda m, x: written_through_a_view(x * 1),
    "copy_": lambda m, x: m.zeros(3).copy_(x) * x,
    "no_grad": lambda m, x: m.no_grad()(lambda: x * x)(),
}


def written(z, x):
    z[1] = x[0] * x[2]
    z[2] = 5.0
    return z


def written_through_a_view(y):
    part = y[:2]
    part *= y[2] + 0
    return y * part[0]


@pytest.mark.parametrize("name", PROGRAMS)
def test_tangents_agree_with_torch(name, backend):
    torch = pytest.importorskip("torch")
    torch_fw = torch.autograd.forward_ad
    with warnings.catch_warnings(), torch_fw.dual_level():
        warnings.simplefilter("ignore")
        torch.set_default_dtype(torch.float64)
        try:
            expected = torch_fw.unpack_dual(PROGRAMS[name](torch, torch_fw.make_dual(torch.tensor(X), torch.tensor(V))))
        finally:
            torch.set_default_dtype(torch.float32)
    with fw.dual_level():
        found = both(PROGRAMS[name](agrad, fw.make_dual(*agrad_pair())))
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one, other.numpy(), rtol=1e-9, atol=1e-12)


def agrad_pair():
    return agrad.asarray(X, dtype=agrad.float64), agrad.asarray(V, dtype=agrad.float64)


@pytest.mark.parametrize("library", ["jax", "dask"])
def test_tangents_on_other_libraries(library):
    pytest.importorskip(library)
    with agrad.use_backend(library), fw.dual_level():
        found = both(PROGRAMS["functions"](agrad, fw.make_dual(*agrad_pair())))
    with fw.dual_level():
        expected = both(PROGRAMS["functions"](agrad, fw.make_dual(*agrad_pair())))
    np.testing.assert_allclose(found, expected, rtol=1e-12)


def cubes(x):
    return agrad.sum(x ** 3) * x[0]


def hessian():
    return values(func.hessian(cubes)(agrad.asarray(X)))


def test_reverse_over_forward(backend):
    x = agrad.tensor(X, dtype=agrad.float64, requires_grad=True)
    with fw.dual_level():
        _, tangent = fw.unpack_dual(cubes(fw.make_dual(x, agrad_pair()[1])))
    (found,) = agrad.autograd.grad(tangent, x)
    np.testing.assert_allclose(values(found), hessian() @ V, rtol=1e-12)


def test_forward_over_reverse(backend):
    x = agrad.tensor(X, dtype=agrad.float64, requires_grad=True)
    with fw.dual_level():
        y = cubes(fw.make_dual(x, agrad_pair()[1]))
        (g,) = agrad.autograd.grad(y, x)
        np.testing.assert_allclose(both(g)[1], hessian() @ V, rtol=1e-12)
        assert not g.requires_grad


def test_forward_over_reverse_with_a_graph():
    """Third derivatives: the gradient of a dual, differentiated again in reverse."""
    x = agrad.tensor(X, requires_grad=True)
    with fw.dual_level():
        (g,) = agrad.autograd.grad(cubes(fw.make_dual(x, agrad.asarray(V))), x, create_graph=True)
        _, tangent = fw.unpack_dual(g)
    (found,) = agrad.autograd.grad(agrad.sum(tangent * tangent), x)
    expected = func.grad(lambda x: agrad.sum(func.jvp(func.grad(cubes), (x,), (agrad.asarray(V),))[1] ** 2))
    np.testing.assert_allclose(values(found), values(expected(agrad.asarray(X))), rtol=1e-10)


def test_a_leaf_that_meets_a_dual_gets_a_gradient_with_a_tangent():
    w = agrad.tensor(X, requires_grad=True)
    with fw.dual_level():
        x = fw.make_dual(agrad.asarray(X), agrad.asarray(V))
        (g,) = agrad.autograd.grad(agrad.sum(w * x * x), w)
        primal, tangent = both(g)
    np.testing.assert_allclose(primal, X * X)
    np.testing.assert_allclose(tangent, 2 * X * V)


def test_transforms_inside_a_level():
    """The dual's tangent goes through what agrad.func computes."""
    with fw.dual_level():
        x = fw.make_dual(agrad.asarray(X), agrad.asarray(V))
        np.testing.assert_allclose(both(func.grad(cubes)(x))[1], hessian() @ V, rtol=1e-12)
        np.testing.assert_allclose(both(func.vmap(lambda a: a ** 3)(x))[1], 3 * X ** 2 * V)
        inner = func.jvp(cubes, (x,), (agrad.asarray(V),))[1]
        np.testing.assert_allclose(both(inner)[1], V @ hessian() @ V, rtol=1e-12)
        np.testing.assert_allclose(both(func.jacrev(agrad.sin)(x))[1], np.diag(-np.sin(X) * V), atol=1e-12)


def test_a_level_inside_a_transform():
    def tangent(x):
        with fw.dual_level():
            return fw.unpack_dual(cubes(fw.make_dual(x, agrad.asarray(V)))).tangent

    np.testing.assert_allclose(values(func.grad(tangent)(agrad.asarray(X))), hessian() @ V, rtol=1e-12)
    _, second = func.jvp(tangent, (agrad.asarray(X),), (agrad.asarray(V),))
    np.testing.assert_allclose(values(second), V @ hessian() @ V)
    rows = func.vmap(tangent)(agrad.stack([agrad.asarray(X), agrad.asarray(2 * X)]))
    np.testing.assert_allclose(values(rows), [values(tangent(agrad.asarray(k * X))) for k in (1, 2)])


def test_a_level_ends_with_an_exception():
    with pytest.raises(ZeroDivisionError), fw.dual_level():
        1 / 0  # noqa: B018
    assert fw.unpack_dual(agrad.asarray(X)).tangent is None
    with fw.dual_level():
        pass


def test_levels_belong_to_a_thread():
    seen = []

    def other():
        try:
            fw.make_dual(agrad.asarray(X), agrad.asarray(V))
        except RuntimeError as error:
            seen.append(str(error))
        with fw.dual_level():
            seen.append(both(fw.make_dual(*agrad_pair()) * 2)[1].tolist())

    with fw.dual_level():
        thread = threading.Thread(target=other)
        thread.start()
        thread.join()
        assert both(fw.make_dual(*agrad_pair()))[1].tolist() == V.tolist()
    assert "no level exists" in seen[0]
    assert seen[1] == (2 * V).tolist()


def test_levels_belong_to_a_task():
    async def task(scale):
        with fw.dual_level():
            x = fw.make_dual(agrad.asarray(X), agrad.asarray(scale * V))
            await asyncio.sleep(0)
            y = x * x
            await asyncio.sleep(0)
            return both(y)[1]

    async def main():
        return await asyncio.gather(*(task(k) for k in (1.0, 2.0, 3.0)))

    for k, found in zip((1.0, 2.0, 3.0), asyncio.run(main()), strict=True):
        np.testing.assert_allclose(found, 2 * X * V * k)


def test_tangents_are_cast_to_the_tensors_dtype():
    with fw.dual_level():
        dual = fw.make_dual(agrad.asarray(X, dtype=agrad.float32), agrad.asarray(V))
        assert fw.unpack_dual(dual).tangent.dtype == agrad.float32
        whole = fw.make_dual(agrad.asarray(X + 1j), agrad.asarray(V))
        assert fw.unpack_dual(whole).tangent.dtype == agrad.complex128
        with pytest.raises(RuntimeError, match="a real tensor cannot have a complex tangent"):
            fw.make_dual(agrad.asarray(X), agrad.asarray(V + 1j))


@pytest.mark.parametrize("args", [([1.0], agrad.asarray(V)), (agrad.asarray(V), None)])
def test_make_dual_takes_tensors(args):
    with fw.dual_level(), pytest.raises(TypeError, match="must be a Tensor"):
        fw.make_dual(*args)


def test_the_tensor_under_a_dual_stays_as_it_is():
    """PyTorch's dual shares memory with its tensor; ours is a value of its own, and says so if it falls behind."""
    x = agrad.asarray(X)
    with fw.dual_level():
        dual = fw.make_dual(x, agrad.asarray(V))
        dual.mul_(2)
        np.testing.assert_allclose(values(x), X)
        other = fw.make_dual(x, agrad.asarray(V))
        x.add_(1)
        with pytest.raises(RuntimeError, match="modified by an inplace operation from outside"):
            other * 2


def test_a_dual_shows_its_tangent():
    with fw.dual_level():
        assert repr(fw.make_dual(agrad.asarray([1.0]), agrad.asarray([2.0]))) == "tensor([1.], tangent=tensor([2.]))"


def test_a_deeper_level_that_holds_a_dual_as_a_constant_does_not_hide_its_tangent():
    with fw.dual_level():
        dual = fw.make_dual(agrad.asarray(3.0), agrad.asarray(1.0))
        seen = []

        def gradient():
            def f(y):
                tangent = fw.unpack_dual(dual * 1).tangent
                seen.append(tangent is None)
                return y * 0 if tangent is None else tangent * y

            return func.grad(f)(dual)

        assert values(gradient()) == 1
        assert values(func.vmap(lambda a: gradient() * a)(agrad.ones(2))).tolist() == [1, 1]
        assert seen == [False, False]


def test_what_is_a_dual_for_a_deeper_level_too_is_not_made_one_again():
    def again(y):
        with pytest.raises(RuntimeError, match="already has a forward gradient at the same level 0"):
            fw.make_dual(y * 1, agrad.asarray(1.0))
        return y * 1

    with fw.dual_level():
        dual = fw.make_dual(agrad.asarray(3.0), agrad.asarray(1.0))
        func.vmap(lambda a: func.grad(again)(dual) * a)(agrad.ones(2))


def test_a_tangent_is_of_its_tensors_backend():
    with fw.dual_level():
        other = agrad.asarray(V).to(backend="array_api_strict")
        with pytest.raises(RuntimeError, match="the tangent is on the backend array_api_strict, its tensor on numpy"):
            fw.make_dual(agrad.asarray(X), other)


@pytest.mark.parametrize("part", ["primal", "tangent"])
def test_unpacking_inside_a_reverse_transform_would_lose_its_history(part):
    with fw.dual_level():
        d = fw.make_dual(agrad.tensor(3.0), agrad.tensor(1.0))
        with pytest.raises(RuntimeError, match="would lose its history"):
            func.grad(lambda y: getattr(fw.unpack_dual(y * y), part) * y)(d)
        gradient = func.grad(lambda y: y * y * y)(d)
        assert fw.unpack_dual(gradient).tangent.item() == 18.0
