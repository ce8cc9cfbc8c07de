"""Random numbers as Tensors: drawn by NumPy in the dtype that is wanted, moved to a backend, once per `vmap` sample.

What `agrad.random`, dropout and the initialisation of parameters share. Must know no single backend and no rule.
"""

from collections.abc import Callable, Sequence
from math import prod
from typing import Any

import numpy as np

from agrad import dtypes
from agrad.creation import check_shape, own_dtype, place, with_grad
from agrad.cython_core import engine
from agrad.cython_core.engine import Level, Tensor
from agrad.defaults import default_dtype
from agrad.generator import Generator, stream_of
from agrad.levels import outside

Draw = Callable[[Any, tuple[int, ...], Any], Any]   # (NumPy's generator, shape, dtype) -> array

# Kinds of dtypes.
ANY = ("bool", "signed", "unsigned", "real", "complex")
INTEGERS = ("bool", "signed", "unsigned", "real")

# Bits that a uniform number has in types that NumPy does not draw: more would round up to 1.
_DIGITS = {"float16": 11, "bfloat16": 8}


def uniform(stream: Any, shape: tuple[int, ...], dtype: dtypes.DType) -> Any:
    """From [0, 1)."""
    numbers = _floating(stream.random, shape, dtype)
    if dtype.bits == 16:
        steps = 2.0 ** _DIGITS[dtype.name]
        numbers = np.floor(numbers * steps) / steps
    return numbers


def standard_normal(stream: Any, shape: tuple[int, ...], dtype: dtypes.DType) -> Any:
    """Mean 0, variance 1, which the two parts of complex numbers share."""
    numbers = _floating(stream.standard_normal, shape, dtype)
    if dtype.kind == "complex":
        numbers *= np.sqrt(0.5)
    return numbers


def exponential(stream: Any, shape: tuple[int, ...], dtype: dtypes.DType) -> Any:
    """Mean 1."""
    return _floating(stream.standard_exponential, shape, dtype)


def _floating(draw: Callable[..., Any], shape: tuple[int, ...], dtype: dtypes.DType) -> Any:
    if dtype.kind == "complex":
        part = np.float32 if dtype.bits == 64 else np.float64
        numbers = np.empty(shape, dtype.dtype)
        numbers.real = draw(shape, part)
        numbers.imag = draw(shape, part)
        return numbers
    return np.asarray(draw(shape, np.float32 if dtype.bits <= 32 else np.float64))


def below(p: float) -> Draw:
    """True with a probability."""
    def draw(stream: Any, shape: tuple[int, ...], dtype: Any) -> Any:
        return np.less(stream.random(shape), p)

    return draw


def integers(name: str, low: Any, high: Any, dtype: dtypes.DType) -> Draw:
    """From low up to high - 1, which a dtype must hold."""
    for value in (low, high):
        if isinstance(value, bool) or not isinstance(value, (int, np.integer)):
            raise TypeError(f"{name}(): low and high are integers, not {value!r}")
    low, high = int(low), int(high)
    if low >= high:
        raise RuntimeError(f"random_ expects 'from' to be less than 'to', but got from={low} >= to={high}")
    check_held(name, low, dtype)
    check_held(name, high - 1, dtype)

    def draw(stream: Any, shape: tuple[int, ...], dtype: Any) -> Any:
        return np.asarray(stream.integers(low, high, shape, np.int64 if high <= 2**63 else np.uint64))

    return draw


def most(dtype: dtypes.DType) -> int:
    """The largest integer up to which a dtype holds all of them."""
    if dtype.kind == "real":
        return 1 << {"float16": 11, "bfloat16": 8, "float32": 24, "float64": 53}[dtype.name]
    if dtype.kind == "bool":
        return 1
    return int(2 ** (dtype.bits - (dtype.kind == "signed")) - 1)


def check_held(name: str, value: int, dtype: dtypes.DType) -> None:
    """RuntimeError for an integer that a dtype cannot hold."""
    highest = most(dtype)
    least = {"bool": 0, "unsigned": 0, "signed": -highest - 1}.get(dtype.kind, -highest)
    if not least <= value <= highest:
        raise RuntimeError(f"{name}(): {value} is out of bounds for {dtype}, which holds {least} to {highest}")


def check_tensor(name: str, input: Any) -> None:
    """TypeError for what is no tensor."""
    if not isinstance(input, Tensor):
        raise TypeError(f"{name}(): argument 'input' must be Tensor, not {type(input).__name__}")


def check_probability(p: Any) -> None:
    """RuntimeError for a number that is no probability."""
    if not 0 <= p <= 1:
        raise RuntimeError(f"bernoulli_ expects p to be in [0, 1], but got p={p}")


def check_std(std: Any) -> None:
    """RuntimeError for a standard deviation, or one among those of a tensor, that is negative."""
    if not isinstance(std, Tensor):
        if not std >= 0:
            raise RuntimeError(f"normal expects std >= 0.0, but found std {std:g}")
        return
    if std.dtype.kind == "complex":
        raise RuntimeError("normal expects standard deviation to be non-complex")
    values = known_values(std)
    if values is not None and not bool((values >= 0).all()):
        raise RuntimeError("normal expects all elements of std >= 0.0")


# ------------------------------------------------------------------------------------------------------------- tensors


def drawn(
    name: str, draw: Draw, shape: Any, *, dtype: Any = None, device: Any = None, backend: Any = None,
    generator: Generator | None = None, requires_grad: bool = False, kinds: tuple[str, ...] = ("real", "complex"),
) -> Tensor:
    """Random numbers of a shape, dtype and place, for every sample of the `vmap` levels that run.

    Parameters
    ----------
    name : str
        The public function, for errors.
    draw : callable
        One of this file's, or one like them.
    dtype
        Default: the default dtype.
    backend
        Default: the default backend.
    kinds : tuple of str
        The kinds of dtypes that can be drawn.

    Raises
    ------
    TypeError
        For a dtype of another kind, and what is no shape.
    RuntimeError
        For negative lengths, and in `vmap` with randomness="error".
    """
    backend, device = place(backend, device)
    dtype = default_dtype(backend, device) if dtype is None else dtypes.of(dtype)
    if dtype.kind not in kinds:
        raise TypeError(f"{name}(): random numbers are {' or '.join(kinds)}, not {dtype}")
    own_dtype(backend, dtype, name)
    shape = checked_shape(name, shape, backend)
    levels = levels_with_own_numbers()
    numbers = draw(stream_of(generator), (*(level.size for level in levels), *shape), dtype)
    return moved(numbers, dtype, backend, device, levels, requires_grad)


def drawn_like(name: str, draw: Draw, input: Tensor, *, dtype: Any = None, device: Any = None, **given: Any) -> Tensor:
    """`drawn` in the shape, dtype and place of a tensor."""
    check_tensor(name, input)
    device = input.device if device is None else device
    dtype = input.dtype if dtype is None else dtype
    return drawn(name, draw, input.shape, dtype=dtype, device=device, backend=engine.base_backend(input), **given)


def keeps(input: Tensor, probability: float, generator: Generator | None = None) -> Tensor:
    """Which elements of a tensor stay: booleans in its shape and place, each True with the probability.

    From 32 random bits per element, whatever the tensor's dtype: cheaper than numbers that are compared.
    """
    limit = np.uint32(min(round(probability * 2**32), 2**32 - 1))

    def draw(stream: Any, shape: tuple[int, ...], dtype: Any) -> Any:
        count = prod(shape)
        bits = stream.bit_generator.random_raw((count + 1) // 2).view(np.uint32)[:count].reshape(shape)
        return bits < limit if probability < 1 else np.full(shape, True)

    return drawn_like("dropout", draw, input, dtype=dtypes.bool, generator=generator, kinds=("bool",))


def checked_shape(name: str, shape: Any, backend: Any) -> tuple[int, ...]:
    """A shape as a tuple of integers."""
    shape = (shape,) if not isinstance(shape, (tuple, list)) else shape
    lengths: tuple[Any, ...] = tuple(check_shape(name, tuple(shape), backend))
    for n in lengths:
        if not isinstance(n, int):
            problem = f"the length {n!r} is not known yet; compute it first"
            raise TypeError(f"{name}() on the backend {backend.name}: {problem}")
        if n < 0:
            raise RuntimeError(f"Trying to create tensor with negative dimension {n}: {list(lengths)}")
    return lengths


def moved(
    numbers: Any, dtype: dtypes.DType, backend: Any, device: Any, levels: Sequence[Level], requires_grad: bool = False
) -> Tensor:
    """Drawn numbers as a tensor; their first axes are the samples of `vmap` levels."""
    numbers = np.asarray(numbers)
    raw = backend.from_numpy(numbers, backend.to_dtype(dtype), device, None if numbers.ndim else True)
    made = engine.make_tensor(backend, backend.normalise(raw))
    for level in levels:
        made = engine.wrap_level(level, made)
    return with_grad(made, requires_grad, "Only Tensors of floating point and complex dtype can require gradients")


# -------------------------------------------------------------------------------------------------------------- levels


def levels_with_own_numbers() -> Sequence[Level]:
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


def sampled(
    t: Tensor, draw: Callable[[Any, Any], Any], generator: Generator | None, dtype: dtypes.DType | None = None
) -> Tensor:
    """What `draw(NumPy's generator, values)` gives for the values of a tensor, which must be known.

    The values have the axes of `vmap` levels first; so must the result.
    """
    backend: Any = engine.base_backend(t)
    device, dtype = t.device, t.dtype if dtype is None else dtype
    own = levels_with_own_numbers()
    batched = []
    for level in reversed(engine.get_mode().levels or ()):
        t, _, belongs = outside(level, t)
        if level.kind == "batch" and belongs:
            if level not in own:
                raise RuntimeError("Vmap does not currently support same randomness with a batched tensor input")
            batched.append(level)
    values = backend.to_numpy(t.detach().array)
    for axis, level in enumerate(own):
        if level not in batched:
            shape = (*values.shape[:axis], level.size, *values.shape[axis:])
            values = np.broadcast_to(np.expand_dims(values, axis), shape)
    return moved(draw(stream_of(generator), values), dtype, backend, device, own)


def known_values(t: Tensor) -> Any:
    """A tensor's values as a NumPy array, of all samples; None where they are not known before the program runs."""
    for level in reversed(engine.get_mode().levels or ()):
        t = outside(level, t)[0]
    backend: Any = engine.base_backend(t)
    return backend.to_numpy(t.detach().array) if backend.knows_values else None
