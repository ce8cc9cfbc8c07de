"""A layer or function of agrad beside PyTorch's: the same numbers in, the same numbers and gradients out."""

import inspect

import numpy as np
import pytest

import agrad


def numbers(shape, seed=0, dtype="float64"):
    draw = np.random.default_rng([seed, *shape])
    values = draw.standard_normal(shape)
    return (values + 1j * draw.standard_normal(shape) if np.dtype(dtype).kind == "c" else values).astype(dtype)


def moved(theirs, ours):
    """Put PyTorch's parameters and buffers into our layer, under the same keys, and back again."""
    torch = pytest.importorskip("torch")
    ours.load_state_dict({name: value.numpy() for name, value in theirs.state_dict().items()})
    assert list(ours.state_dict()) == list(theirs.state_dict())
    theirs.load_state_dict({name: torch.asarray(value.numpy()) for name, value in ours.state_dict().items()})


def agree(ours, theirs, *arrays, rtol=1e-10, atol=1e-10):
    """Whether two functions give equal results, and equal gradients of all arguments and, if they are layers, of all
    parameters."""
    torch = pytest.importorskip("torch")
    x = [agrad.tensor(a, requires_grad=True) for a in arrays]
    t = [torch.tensor(a, requires_grad=True) for a in arrays]
    (y, *places), (s, *others) = parts(ours(*x)), parts(theirs(*t))
    for place, other in zip(places, others, strict=True):
        assert place.tolist() == other.tolist()
    close(y, s, rtol, atol)
    g = numbers(y.shape, 1, arrays[0].dtype)
    y.backward(agrad.tensor(g))
    s.backward(torch.tensor(g))
    for a, b in zip([*x, *of(ours)], [*t, *of(theirs)], strict=True):
        close(a.grad, b.grad, rtol, atol)


def parts(result):
    return result if isinstance(result, tuple) else (result,)


def of(layer):
    return layer.parameters() if hasattr(layer, "parameters") else ()


def close(ours, theirs, rtol=1e-10, atol=1e-10):
    expected = theirs.detach().numpy()
    found = ours.detach().numpy()
    assert found.dtype == expected.dtype
    assert found.shape == expected.shape
    np.testing.assert_allclose(found, expected, rtol=rtol, atol=atol)


def words(function):
    """The parameters of a function or class: names, defaults, and whether they are told by name only."""
    return [
        (p.name, p.default, p.kind is p.KEYWORD_ONLY)
        for p in inspect.signature(function).parameters.values()
        if p.name != "self"
    ]
