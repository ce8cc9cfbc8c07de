"""Random tensors: one stream per process, drawn by NumPy.

So every backend gets the same numbers from the same seed. Must know no backend and no rule.
"""

from typing import Any

import numpy as np

from agrad import dtypes
from agrad.creation import place, with_grad
from agrad.cython_core import engine
from agrad.cython_core.engine import Tensor
from agrad.defaults import default_dtype

__all__ = ["manual_seed", "rand", "rand_like", "randn", "randn_like"]

_streams: list[Any] = []  # the one stream, once it is needed: numpy.random takes longer to import than agrad


def manual_seed(seed: int) -> None:
    """Start the stream of random numbers again from a seed.

    Examples
    --------
    >>> import agrad
    >>> agrad.manual_seed(0)
    >>> a = agrad.rand(2)
    >>> agrad.manual_seed(0)
    >>> agrad.allclose(a, agrad.rand(2))
    True
    """
    _streams[:] = [np.random.default_rng(seed)]


def _draw(how: str, size: tuple[Any, ...], dtype: Any, device: Any, requires_grad: bool, backend: Any = None) -> Tensor:
    """Random numbers of a shape, dtype and place."""
    shape = tuple(size[0]) if len(size) == 1 and isinstance(size[0], (tuple, list)) else size
    backend, device = place(backend, device)
    dtype = default_dtype(backend) if dtype is None else dtypes.of(dtype)
    if dtype.kind not in ("real", "complex"):
        raise TypeError(f"random numbers are floating or complex, not {dtype}")
    if not _streams:
        _streams.append(np.random.default_rng())
    numbers = np.asarray(getattr(_streams[0], how)(shape))
    if dtype.kind == "complex":
        numbers = numbers + 1j * np.asarray(getattr(_streams[0], how)(shape))
        numbers = numbers * (np.sqrt(0.5) if how == "standard_normal" else 1)
    raw = backend.from_numpy(numbers, backend.to_dtype(dtype), device, True)
    return with_grad(engine.make_tensor(backend, raw), requires_grad)


def rand(*size: Any, dtype: Any = None, device: Any = None, requires_grad: bool = False) -> Tensor:
    """Uniform numbers from [0, 1).

    Examples
    --------
    >>> import agrad
    >>> agrad.rand(2, 3).shape
    (2, 3)
    """
    return _draw("random", size, dtype, device, requires_grad)


def randn(*size: Any, dtype: Any = None, device: Any = None, requires_grad: bool = False) -> Tensor:
    """Standard normal numbers.

    Examples
    --------
    >>> import agrad
    >>> agrad.randn(2, 3, requires_grad=True).requires_grad
    True
    """
    return _draw("standard_normal", size, dtype, device, requires_grad)


def rand_like(input: Tensor, *, dtype: Any = None, requires_grad: bool = False) -> Tensor:
    """`rand` in the shape, dtype and place of a tensor."""
    return _draw("random", (input.shape,), dtype or input.dtype, input.device, requires_grad, input.backend_)


def randn_like(input: Tensor, *, dtype: Any = None, requires_grad: bool = False) -> Tensor:
    """`randn` in the shape, dtype and place of a tensor."""
    return _draw("standard_normal", (input.shape,), dtype or input.dtype, input.device, requires_grad, input.backend_)
