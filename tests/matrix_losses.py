"""For the tests of the chapter "linalg": how matrices are made, and how derivatives of their losses are compared."""

import numpy as np

import agrad
from agrad import backends
from agrad.records import Sample
from agrad.testing.draw import Drawer

L = agrad.linalg
SQUARE, TALL, WIDE = (3, 3), (4, 2), (2, 4)
DTYPES = ("float64", "complex128")
STEP = 1e-6


def draw(kind, shape, dtype, seed=0):
    """A matrix as the checker makes it: definite, hermitian, regular or spread."""
    drawer = Drawer(np.random.default_rng(seed), (-2.0, 2.0), dtype.startswith("complex"))
    return getattr(drawer, kind)(Sample(kind, shape))


def numbers(shape, dtype, seed=1):
    rng = np.random.default_rng(seed)
    real = rng.normal(size=shape)
    return real + 1j * rng.normal(size=shape) if dtype.startswith("complex") else real


def adjoint(x):
    return np.conj(np.swapaxes(x, -1, -2))


def hermitian(x):
    return (x + adjoint(x)) / 2


def H(x):
    """The conjugate transpose of a tensor."""
    return agrad.conj(x.mT)


def array(tensor):
    return backends.of(tensor.array).to_numpy(tensor.array)


def turned(values, dtype, seed=3):
    """A Hermitian matrix with these eigenvalues, but for rounding."""
    frame = np.linalg.qr(numbers((len(values),) * 2, dtype, seed))[0]
    return hermitian((frame * np.asarray(values)) @ adjoint(frame))


def gradient(loss, *values, create_graph=False):
    """The gradients of a real loss of tensors, and the tensors."""
    leaves = [agrad.asarray(np.asarray(v), copy=True).requires_grad_() for v in values]
    found = agrad.autograd.grad(loss(*leaves), leaves, create_graph=create_graph)
    return found, leaves


def inner(a, b):
    return float(np.sum(np.real(np.conj(a) * b)))


def slope(function, x, along):
    return (function(x + STEP * along) - function(x - STEP * along)) / (2 * STEP)


def check_derivatives(loss, x, project=lambda along: along, second=True):
    """First and second order against central differences, in three directions."""
    def value(x):
        return float(array(loss(agrad.asarray(x))))

    def pairing(x, weights):
        return inner(weights, array(gradient(loss, x)[0][0]))

    for seed in range(3):
        along, weights = (project(numbers(x.shape, str(x.dtype), 10 + 2 * seed + i)) for i in (0, 1))
        (first,), (leaf,) = gradient(loss, x, create_graph=second)
        expected = slope(value, x, along)
        assert abs(inner(array(first.detach()), along) - expected) <= 1e-7 * (1 + abs(expected))
        if second:
            (again,) = agrad.autograd.grad(first, leaf, agrad.asarray(weights))
            expected = slope(lambda x, w=weights: pairing(x, w), x, along)
            assert abs(inner(array(again), along) - expected) <= 1e-6 * (1 + abs(expected))
