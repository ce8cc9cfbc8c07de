"""A function of `nn.functional` beside PyTorch's: values, gradients, second derivatives."""

import importlib

import numpy as np

import agrad


def numbers(*shape, seed=0, low=-2.0, high=2.0):
    return np.asarray(np.random.default_rng([seed, *shape]).uniform(low, high, shape))


def array(value):
    """The values of a tensor of either library, or of anything else."""
    return np.asarray(value.detach().numpy(force=True)) if hasattr(value, "detach") else np.asarray(value)


def same(actual, expected, rtol=1e-12, atol=1e-12):
    """Equal values, of whatever these are; nan is nan."""
    np.testing.assert_allclose(array(actual), array(expected), rtol=rtol, atol=atol)


def functional(library):
    return importlib.import_module(f"{library.__name__}.nn.functional")


def derivatives(library, function, arrays, second=True):
    """The result, the gradients of its sum weighted by 1, 2, 3, ..., and those of the sum of their squares.

    Floating arrays are differentiated; the function is given the library's `nn.functional` first.
    """
    given = [library.tensor(a, requires_grad=a.dtype.kind == "f") if isinstance(a, np.ndarray) else a for a in arrays]
    leaves = [t for t in given if getattr(t, "requires_grad", False)]
    out = function(functional(library), *given)
    weights = np.arange(1.0, np.prod(tuple(out.shape), dtype=int) + 1).reshape(tuple(out.shape))
    total = library.sum(out * library.tensor(weights, dtype=out.dtype))
    found = library.autograd.grad(total, leaves, create_graph=True, allow_unused=True)
    parts = [out, *found]
    moving = [library.sum(g * g) for g in found if g is not None and g.requires_grad]
    if second and moving:
        parts += library.autograd.grad(sum(moving), leaves, allow_unused=True)
    return [None if part is None else array(part) for part in parts]


def agree(function, *arrays, second=True, rtol=1e-10, atol=1e-11):
    """Values and derivatives are PyTorch's; a gradient that one of the two leaves out is zero."""
    import torch

    ours, theirs = (derivatives(library, function, arrays, second) for library in (agrad, torch))
    assert ours[0].shape == theirs[0].shape
    for mine, truth in zip(ours, theirs, strict=False):
        if mine is None or truth is None:
            mine, truth = (np.zeros(()) if part is None else part for part in (mine, truth))
        same(mine, truth, rtol, atol)
