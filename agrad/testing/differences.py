"""Central differences along directions: what derivatives are compared with. NumPy arrays in double precision only.

Complex numbers are pairs of real ones here: with the inner product Re(sum(conj(a) * b)), the transpose of the real
derivative is PyTorch's gradient, the conjugate Wirtinger one.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from agrad.autograd.differences import slope as slope

Arrays = Sequence[Any]


def inner(a: Arrays, b: Arrays) -> float:
    """The inner product of lists of arrays; None counts as zero."""
    pairs = [(x, y) for x, y in zip(a, b, strict=True) if x is not None and y is not None]
    return float(sum(np.sum(np.real(np.conj(x) * y)) for x, y in pairs))


def size(a: Arrays, b: Arrays) -> float:
    """The same with all signs positive: the scale that an error of `inner` is measured with."""
    pairs = [(x, y) for x, y in zip(a, b, strict=True) if x is not None and y is not None]
    return float(sum(np.sum(np.abs(x) * np.abs(y)) for x, y in pairs))


def direction(like: Any, rng: np.random.Generator) -> Any:
    """A random direction without small components, so that an error in any element shows."""
    signs = rng.integers(0, 2, like.shape) * 2.0 - 1.0
    real = signs * rng.uniform(0.5, 1.5, like.shape)
    if like.dtype.kind != "c":
        return real
    return real + 1j * rng.uniform(0.5, 1.5, like.shape) * (rng.integers(0, 2, like.shape) * 2.0 - 1.0)


def gradient(function: Callable[[list[Any]], Arrays], values: Arrays, k: int, cotangents: Arrays) -> Any:
    """The whole gradient of operand k, one element after the other: slow, for messages."""
    found = np.zeros(values[k].shape, values[k].dtype)
    for position in np.ndindex(values[k].shape):
        for unit in (1.0, 1j) if found.dtype.kind == "c" else (1.0,):
            along = np.zeros_like(found)
            along[position] = unit
            found[position] += unit * inner(cotangents, slope(function, values, k, along))
    return found
