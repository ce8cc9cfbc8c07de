"""Checkpoints together with transforms, custom functions, other hooks, anomaly mode and other array libraries."""

import pytest
from checkpointed import Counted, leaf, wave

import agrad
from agrad import func
from agrad.autograd import Function, grad
from agrad.utils.checkpoint import checkpoint

pytestmark = pytest.mark.usefixtures("doubles")    # gradients are compared exactly: both ways compute the same numbers


# ---- transforms

TRANSFORMS = {  # name: (the transform of a scalar function at x, how often it calls the function with a checkpoint)
    "grad": (lambda f, x: func.grad(f)(x), 2),
    "vjp": (lambda f, x: func.vjp(f, x)[1](agrad.tensor(1.0))[0], 2),
    "jacrev": (lambda f, x: func.jacrev(f)(x), 2),
    "grad of grad": (lambda f, x: func.grad(lambda x: (func.grad(f)(x) ** 2).sum())(x), 3),
    "jvp": (lambda f, x: func.jvp(f, (x,), (x,))[1], 1),
    "jacfwd": (lambda f, x: func.jacfwd(f)(x), 1),
    "hessian": (lambda f, x: func.hessian(f)(x), 1),
    "vmap of grad": (lambda f, x: func.vmap(func.grad(f))(x), 1),
    "grad of vmap": (lambda f, x: func.grad(lambda x: func.vmap(f)(x).sum())(x), 1),
}


@pytest.mark.parametrize("name", TRANSFORMS)
def test_a_transform_of_a_checkpointed_function(name, backend):
    transform, calls = TRANSFORMS[name]
    x = agrad.tensor([0.5, 0.8, 1.2])
    counted = Counted(wave)
    found = transform(lambda x: checkpoint(counted, x).sum(), x)
    assert agrad.allclose(found, transform(lambda x: wave(x).sum(), x), rtol=1e-13)
    assert counted.calls == calls


def test_a_leaf_outside_the_transform():
    w = leaf(1.0, 2.0, 3.0)
    x = agrad.tensor([1.0, 2.0])

    def outer(call):
        return func.vmap(lambda a: call(lambda a: agrad.sin(a * w), a))(x).sum()

    (found,) = grad(outer(checkpoint), w)
    assert found.tolist() == grad(outer(lambda f, a: f(a)), w)[0].tolist()


# ---- custom functions


class Square(Function):
    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x * x

    @staticmethod
    def backward(ctx, g):
        (x,) = ctx.saved_tensors
        return 2 * g * x


def test_a_custom_function_inside(backend):
    x = leaf(0.5, 0.8)
    counted = Counted(lambda x: Square.apply(agrad.sin(x)))
    (first,) = grad(checkpoint(counted, x).sum(), x, create_graph=True)
    assert first.tolist() == pytest.approx(agrad.sin(2 * x).tolist())
    assert grad(first.sum(), x)[0].tolist() == pytest.approx((2 * agrad.cos(2 * x)).tolist())
    assert counted.calls == 3


def test_a_checkpoint_inside_a_custom_function():
    class Block(Function):
        @staticmethod
        def forward(ctx, x):
            ctx.save_for_backward(x)
            return wave(x)

        @staticmethod
        def backward(ctx, g):
            (x,) = ctx.saved_tensors
            with agrad.enable_grad():
                t = x.detach().requires_grad_()
                y = checkpoint(wave, t)
            return grad(y, t, g)[0]

    x = leaf(0.5, 0.8)
    assert grad(Block.apply(x).sum(), x)[0].tolist() == grad(wave(x).sum(), x)[0].tolist()


# ---- other hooks and modes


def test_hooks_around_a_checkpoint_pack_its_arguments():
    packed = []

    def pack(t):
        packed.append(t.tolist())
        return t.tolist()

    x = leaf(0.5, 0.8)
    with agrad.autograd.graph.saved_tensors_hooks(pack, agrad.tensor):
        y = checkpoint(wave, x * 2)
    assert packed == [[1.0, 1.6]]
    assert grad(y.sum(), x)[0].tolist() == pytest.approx(grad(wave(x * 2).sum(), x)[0].tolist())


def test_hooks_inside_a_checkpoint_stay_in_force():
    packed = []

    def pack(t):
        packed.append(t.tolist())
        return t.tolist()

    def f(x):
        y = agrad.sin(x)
        with agrad.autograd.graph.saved_tensors_hooks(pack, agrad.tensor):
            y = agrad.exp(y)
        return y * y

    x = leaf(0.5)
    assert grad(checkpoint(f, x), x)[0].tolist() == pytest.approx(grad(f(x), x)[0].tolist())
    assert packed


def test_a_checkpoint_is_refused_where_hooks_are():
    with agrad.autograd.graph.disable_saved_tensors_hooks("none here"), pytest.raises(RuntimeError, match="none here"):
        checkpoint(wave, leaf(0.5))


@pytest.mark.filterwarnings("ignore:Anomaly Detection")
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_anomaly_mode_names_the_operation():
    def f(x):
        return agrad.sqrt(agrad.sin(x) - 2.0)

    x = leaf(0.5)
    with agrad.autograd.detect_anomaly():
        y = checkpoint(f, x)
        with pytest.warns(UserWarning, match="agrad.sqrt"), pytest.raises(RuntimeError, match="'SqrtBackward0'"):
            y.backward()


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_zero_stays_zero():
    x = leaf(0.0, 4.0)
    y = checkpoint(lambda x: agrad.where(x > 0, agrad.sqrt(x), 0.0), x)
    with agrad.autograd.zero_stays_zero():
        assert grad(y.sum(), x)[0].tolist() == [0.0, 0.25]


def test_copies_of_written_values():
    def f(x):
        y = x * 1
        z = y * y
        y.zero_()
        return agrad.sin(z) + y

    x = leaf(0.5, 0.8)
    with agrad.autograd.graph.allow_mutation_on_saved_tensors():
        argument = x * 1
        y = checkpoint(f, argument)
        argument.zero_()
        assert grad(y.sum(), x)[0].tolist() == grad(f(x).sum(), x)[0].tolist()


# ---- other libraries


@pytest.mark.parametrize("library", ["jax", "dask"])
def test_libraries_without_writes(library):
    pytest.importorskip(library)
    with agrad.use_backend(library):
        x = agrad.tensor([0.5, 0.8], dtype=agrad.float64, requires_grad=True)
        counted = Counted(wave)

        def written(x):
            y = checkpoint(counted, x * 2)
            y[0] = x[1] * 3
            return y

        (first,) = grad(checkpoint(written, x).sum(), x, create_graph=True)
        plain = wave(x * 2) * 1
        plain[0] = x[1] * 3
        (expected,) = grad(plain.sum(), x, create_graph=True)
        assert first.tolist() == pytest.approx(expected.tolist(), rel=1e-12)
        assert grad(first.sum(), x)[0].tolist() == pytest.approx(grad(expected.sum(), x)[0].tolist(), rel=1e-12)
        assert counted.calls > 1
