"""What the functions that move a window over positions share: numbers per axis, and inputs with or without a batch.

Must not know what is done in the window.
"""

from collections.abc import Sequence
from operator import index
from typing import Any

from agrad.cython_core.engine import Tensor

Numbers = int | Sequence[int]

POSITIONS = {1: "L", 2: "H, W", 3: "D, H, W"}   # how the axes of positions are called


def per_axis(name: str, parameter: str, value: Any, n: int) -> tuple[int, ...]:
    """A number for each of n axes, from one number or a sequence of one or n.

    Raises
    ------
    ValueError
        If it is another number of numbers.
    TypeError
        If it is something else.
    """
    try:
        numbers = tuple(map(index, value)) if isinstance(value, Sequence) else (index(value),)
    except TypeError:
        raise TypeError(f"{name}: {parameter} must be an int or a tuple of {n} ints, got {value!r}") from None
    numbers = numbers * n if len(numbers) == 1 else numbers
    if len(numbers) != n:
        raise ValueError(f"{name}: {parameter} must be an int or a tuple of {n} ints, got {value!r}")
    return numbers


def positive(name: str, parameter: str, value: Any, n: int) -> tuple[int, ...]:
    """The same, each at least 1."""
    numbers = per_axis(name, parameter, value, n)
    if min(numbers) < 1:
        raise ValueError(f"{name}: {parameter} must be positive, got {value!r}")
    return numbers


def not_negative(name: str, parameter: str, value: Any, n: int) -> tuple[int, ...]:
    """The same, each at least 0."""
    numbers = per_axis(name, parameter, value, n)
    if min(numbers) < 0:
        raise ValueError(f"{name}: {parameter} must not be negative, got {value!r}")
    return numbers


def shapes(n: int, channels: int | str = "C") -> str:
    """The shapes that an input may have."""
    return f"(N, {channels}, {POSITIONS[n]}) or ({channels}, {POSITIONS[n]})"


def check_axes(name: str, input: Tensor, n: int) -> None:
    """An input has n axes of positions, one of channels, and perhaps one of samples."""
    if input.ndim not in (n + 1, n + 2):
        raise ValueError(f"{name}: expected input of shape {shapes(n)}, got shape {tuple(input.shape)}")


def reach(size: tuple[int, ...], dilation: tuple[int, ...]) -> tuple[int, ...]:
    """From the first to the last element of a window."""
    return tuple(d * (k - 1) + 1 for k, d in zip(size, dilation, strict=True))


def check_reach(
    name: str, input: Tensor, size: tuple[int, ...], dilation: tuple[int, ...], padding: Sequence[tuple[int, int]]
) -> None:
    """A window must fit into the padded input."""
    padded = tuple(n + low + high for n, (low, high) in zip(input.shape[-len(size) :], padding, strict=True))
    if any(n < own for n, own in zip(padded, reach(size, dilation), strict=True)):
        spread = f" with dilation {dilation}" if set(dilation) != {1} else ""
        raise ValueError(
            f"{name}: the kernel is larger than the input: size {size}{spread}, "
            f"on positions of shape {padded} (with padding), got input of shape {tuple(input.shape)}"
        )
