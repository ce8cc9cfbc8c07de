"""Random tensors: one stream per process, drawn by NumPy.

So every backend gets the same numbers from the same seed. Inside `vmap`, its `randomness` decides what is drawn. Must
know no backend and no rule.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from agrad import dtypes
from agrad.autograd.grad_mode import no_grad
from agrad.creation import call, convert, place, with_grad
from agrad.cython_core import engine
from agrad.cython_core.engine import Level, Tensor, is_grad_enabled
from agrad.defaults import default_dtype

__all__ = [
    "bernoulli", "get_rng_state", "manual_seed", "normal", "rand", "rand_like", "randn", "randn_like", "set_rng_state",
]

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


def get_rng_state() -> Any:
    """Where the stream of random numbers is, for `set_rng_state`.

    Examples
    --------
    >>> import agrad
    >>> state = agrad.random.get_rng_state()
    >>> a = agrad.rand(2)
    >>> agrad.random.set_rng_state(state)
    >>> agrad.allclose(a, agrad.rand(2))
    True
    """
    return _stream().bit_generator.state


def set_rng_state(new_state: Any) -> None:
    """Let the stream of random numbers go on from a state that `get_rng_state` returned."""
    _stream().bit_generator.state = new_state


def _stream() -> Any:
    if not _streams:
        _streams.append(np.random.default_rng())
    return _streams[0]


def _draw(how: str, size: tuple[Any, ...], dtype: Any, device: Any, requires_grad: bool, backend: Any = None) -> Tensor:
    """Random numbers of a shape, dtype and place, for every sample of the `vmap` levels that run."""
    shape = tuple(size[0]) if len(size) == 1 and isinstance(size[0], (tuple, list)) else size
    levels = _levels_with_own_numbers()
    shape = (*(level.size for level in levels), *shape)
    backend, device = place(backend, device)
    dtype = default_dtype(backend) if dtype is None else dtypes.of(dtype)
    if dtype.kind not in ("real", "complex"):
        raise TypeError(f"random numbers are floating or complex, not {dtype}")
    stream = _stream()
    numbers = np.asarray(getattr(stream, how)(shape))
    if dtype.kind == "complex":
        numbers = numbers + 1j * np.asarray(getattr(stream, how)(shape))
        numbers = numbers * (np.sqrt(0.5) if how == "standard_normal" else 1)
    raw = backend.from_numpy(numbers, backend.to_dtype(dtype), device, True)
    made = engine.make_tensor(backend, raw)
    for level in levels:
        made = engine.wrap_level(level, made)
    return with_grad(made, requires_grad)


def _levels_with_own_numbers() -> Sequence[Level]:
    """The `vmap` levels that want other numbers for every sample, outermost first."""
    running = engine.get_mode().levels
    if running is None:
        return ()
    if any(level.kind == "batch" and level.randomness == "error" for level in running):
        raise RuntimeError(
            "vmap: called random operation while in randomness error mode. Please either use the 'same' or 'different' "
            "randomness flags on vmap or perform the randomness operation out of vmap"
        )
    return [level for level in running if level.kind == "batch" and level.randomness == "different"]


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
    home = engine.base_backend(input)
    return _draw("random", (input.shape,), dtype or input.dtype, input.device, requires_grad, home)


def randn_like(input: Tensor, *, dtype: Any = None, requires_grad: bool = False) -> Tensor:
    """`randn` in the shape, dtype and place of a tensor."""
    home = engine.base_backend(input)
    return _draw("standard_normal", (input.shape,), dtype or input.dtype, input.device, requires_grad, home)


def normal(mean: Any, std: Any = 1.0, size: Any = None, *, dtype: Any = None, device: Any = None) -> Tensor:
    """Normal numbers, each with its own mean and standard deviation.

    Parameters
    ----------
    mean, std : Tensor or float
        Broadcast against each other. A result of tracked tensors is tracked, with zero gradient: what was drawn is a
        constant. For a gradient write `mean + std * agrad.randn(...)`.
    size : tuple of int, optional
        The shape, where neither is a tensor.
    dtype, device
        Where neither is a tensor, as in `randn`.

    Examples
    --------
    >>> import agrad
    >>> agrad.normal(agrad.zeros(3), 2.0).shape
    (3,)
    """
    given = [t for t in (mean, std) if isinstance(t, Tensor)]
    if not given:
        if size is None:
            raise TypeError("normal() of two numbers needs a size")
        drawn: Tensor = _draw("standard_normal", (tuple(size),), dtype, device, False) * std + mean
        return drawn
    if size is not None or dtype is not None or device is not None:
        raise TypeError("normal() takes size, dtype and device only for two numbers; a tensor has its own")
    with no_grad():
        like = given[0] if len(given) == 1 else given[0] + given[1]
        found = randn_like(like, dtype=given[0].dtype) * std + mean
    return _with_zero_gradient(found, given)


def bernoulli(input: Tensor) -> Tensor:
    """Ones with the probabilities that a tensor holds, and zeros; tracked, with zero gradient, if the tensor is.

    Examples
    --------
    >>> import agrad
    >>> agrad.bernoulli(agrad.tensor([0.0, 1.0]))
    tensor([0., 1.])
    """
    with no_grad():
        found = convert(rand_like(input) < input, dtype=input.dtype)
    return _with_zero_gradient(found, [input])


def _with_zero_gradient(found: Tensor, origins: list[Tensor]) -> Tensor:
    """Numbers that were drawn, on graphs of what they were drawn from: one that is never taken in a `where`."""
    for t in origins:
        if t.requires_grad and is_grad_enabled():
            found = call("where", call("not_equal", found, found) & False, t, found)
    return found
