"""The chapter "fft" as every backend has it: one way to call, the same errors; the transforms are the library's.

A library's function is called with all lengths and axes resolved: `n`, or `s` together with `axes`, and axes counted
from the first. This file must know no array library and no rule.
"""

import operator
from collections.abc import Callable
from typing import Any

from agrad import dtypes

NORMS = ("backward", "ortho", "forward")
REAL = ("fft.rfft", "fft.rfftn", "fft.ihfft")  # these take real numbers only
HALF = ("fft.irfft", "fft.hfft", "fft.irfftn")  # their input is half a spectrum: n // 2 + 1 numbers stand for n


def kernel(backend: Any, name: str, function: Callable[..., Any] | None) -> Callable[..., Any] | None:
    """The kernel of a function of the chapter; `function` is the library's, None if it has none."""
    if name in ("fft.fftshift", "fft.ifftshift"):
        return shift(backend, name)
    if name in ("fft.fftfreq", "fft.rfftfreq"):
        return frequencies(backend, name)
    if function is None:
        return None
    return along_axes(backend, name, function) if name.endswith("n") else along_axis(backend, name, function)


# ---------------------------------------------------------------------------------------------------------- transforms


def along_axis(backend: Any, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    """A transform along one axis."""
    def transform(x: Any, /, *, n: Any = None, axis: int = -1, norm: str | None = "backward") -> Any:
        check_numbers(backend, name, x)
        shape = backend.shape_of(x)
        axis = position(name, axis, len(shape))
        n = whole(name, shape[axis], name in HALF) if n is None else length(name, n)
        return function(x, n=n, axis=axis, norm=known(name, norm))

    return transform


def along_axes(backend: Any, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    """A transform along several axes, the last of which may be the one that is halved."""
    def transform(x: Any, /, *, s: Any = None, axes: Any = None, norm: str | None = "backward") -> Any:
        check_numbers(backend, name, x)
        shape = backend.shape_of(x)
        axes = positions(name, default_axes(s, axes, len(shape)), len(shape))
        if not axes:
            raise ValueError(f"{name}() needs at least one axis")
        given = (-1,) * len(axes) if s is None else tuple(s)  # -1 in s: as long as the axis
        if len(given) != len(axes):
            raise ValueError(f"{name}() got {len(given)} lengths in s for {len(axes)} axes")
        lengths = [
            whole(name, shape[axis], name in HALF and axis == axes[-1]) if n == -1 else length(name, n)
            for n, axis in zip(given, axes, strict=True)
        ]
        return function(x, s=tuple(lengths), axes=axes, norm=known(name, norm))

    return transform


def default_axes(s: Any, axes: Any, ndim: int) -> Any:
    """The axes that are meant: all, or as many of the last ones as there are lengths."""
    return tuple(range(-ndim if s is None else -len(s), 0)) if axes is None else axes


def whole(name: str, n: Any, half: bool) -> Any:
    """The length of a transform where none is given."""
    return length(name, 2 * (n - 1) if half else n, "the axis is too short for a transform of length")


# ---------------------------------------------------------------------------------------------------------- arguments


def length(name: str, n: Any, problem: str = "a transform needs a length of at least 1, not") -> Any:
    """A length, if it is one; what a lazy library does not know yet stays as it is."""
    n = n if isinstance(n, float) and n != n else operator.index(n)
    if n < 1:
        raise ValueError(f"{name}(): {problem} {n}")
    return n


def known(name: str, norm: str | None) -> str:
    """A norm; None is NumPy's and PyTorch's other word for the default."""
    if norm is None:
        return "backward"
    if norm not in NORMS:
        raise ValueError(f"{name}(): norm must be one of {', '.join(map(repr, NORMS))}, not {norm!r}")
    return norm


def position(name: str, axis: Any, ndim: int) -> int:
    """An axis, counted from the first."""
    place: int = operator.index(axis)
    if not -ndim <= place < ndim:
        raise IndexError(f"{name}(): axis {axis} is out of range for an array with {ndim} axes")
    return place % ndim


def positions(name: str, axes: Any, ndim: int) -> tuple[int, ...]:
    """Axes, counted from the first, each of them once."""
    found = tuple(position(name, axis, ndim) for axis in (axes if hasattr(axes, "__len__") else (axes,)))
    if len(set(found)) < len(found):
        raise ValueError(f"{name}(): axes must be unique, got {axes}")
    return found


def check_numbers(backend: Any, name: str, x: Any) -> None:
    """Complex numbers would be cut to their real parts by some libraries."""
    if name in REAL and backend.is_complex(x):
        raise TypeError(f"{name}() takes real numbers, not {backend.neutral_dtype(x)}")


# ----------------------------------------------------------------------------------------------- shifts and frequencies


def shift(backend: Any, name: str) -> Callable[..., Any]:
    """Roll by half the length of each axis: there, or back."""
    sign = -1 if name == "fft.ifftshift" else 1

    def shifted(x: Any, /, *, axes: Any = None) -> Any:
        shape = backend.shape_of(x)
        axes = positions(name, range(len(shape)) if axes is None else axes, len(shape))
        if not axes:
            return backend.copy(x)
        return backend.xp.roll(x, tuple(sign * (shape[axis] // 2) for axis in axes), axis=axes)

    return shifted


def frequencies(backend: Any, name: str) -> Callable[..., Any]:
    """The frequencies that a transform of n samples at distance d has: all, or those that are not negative."""
    half = name == "fft.rfftfreq"

    def made(n: int, /, *, d: float = 1.0, dtype: Any = None, device: Any = None) -> Any:
        n = length(name, n)
        if d == 0:
            raise ValueError(f"{name}(): the distance d of samples must not be 0")
        dtype = backend.to_dtype(backend.default_dtype() if dtype is None else dtype)
        if dtypes.of(dtype).kind != "real":
            raise TypeError(f"{name}() makes real floating-point numbers, not {dtypes.of(dtype)}")
        k = backend.xp.arange(n // 2 + 1 if half else n, dtype=dtype, device=device)
        return (k if half else backend.xp.where(k < (n + 1) // 2, k, k - n)) * (1.0 / (n * d))

    return made
