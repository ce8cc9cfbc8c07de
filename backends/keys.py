"""A key, what stands between the brackets of x[key], as two steps: a basic key, then positions along some axes.

For libraries that have only the one or the other. Keys are made of ints, slices, None, Ellipsis and arrays; what is
known of NumPy's arrays is checked here, other libraries' index arrays pass through. This file must know no library but
NumPy, and reads no array that is indexed.
"""

from typing import Any

import numpy as np


def is_array(part: Any) -> bool:
    return hasattr(part, "dtype") and hasattr(part, "ndim")


def is_mask(part: Any) -> bool:
    return isinstance(part, bool) or (is_array(part) and part.dtype == bool)


def is_positions(part: Any) -> bool:
    """Is it an array of integers?"""
    return is_array(part) and part.dtype != bool


def parts_of(key: Any) -> list[Any]:
    """The parts of a key; nested sequences are arrays, and arrays of one known integer are that integer."""
    return [plain(part) for part in (key if isinstance(key, tuple) else (key,))]


def plain(part: Any) -> Any:
    part = np.asarray(part) if isinstance(part, (list, tuple)) else part
    return int(part) if isinstance(part, (np.ndarray, np.integer)) and not part.ndim and is_positions(part) else part


def width(part: Any) -> int:
    """How many axes of the array a part stands for."""
    if part is None or part is Ellipsis:
        return 0
    return np.ndim(part) if is_mask(part) else 1


def complete(key: Any, shape: tuple[Any, ...]) -> list[Any]:
    """The parts of a key, as many as stand for all axes; IndexError if it does not fit the shape."""
    parts = parts_of(key)
    dots = [i for i, part in enumerate(parts) if part is Ellipsis] or [len(parts)]
    missing = len(shape) - sum(map(width, parts))
    if len(dots) > 1:
        raise IndexError("an index can only have a single ellipsis ('...')")
    if missing < 0:
        raise IndexError(f"too many indices: {len(shape) - missing} axes are indexed, the array has {len(shape)}")
    # An Ellipsis that stands for nothing still parts the arrays on its two sides.
    filling: list[Any] = [slice(None)] * missing or [Ellipsis]
    parts = [*parts[: dots[0]], *filling, *parts[dots[0] + 1 :]]
    axis = 0
    for part in parts:
        if is_mask(part) and tuple(np.shape(part)) != tuple(shape[axis : axis + np.ndim(part)]):
            raise IndexError(f"a mask of shape {np.shape(part)} at axis {axis} does not fit the shape {tuple(shape)}")
        axis += width(part)
    return parts


class Plan:
    """A key as two steps.

    Attributes
    ----------
    basic : tuple
        First ints, slices and None; every axis that is indexed by an array is kept whole.
    lengths : tuple of int
        The shape of what `basic` picks.
    axes, positions : tuple
        Then which of its axes are indexed, and with what: arrays that broadcast against each other, counted from the
        first element where they are NumPy's.
    place : int
        Where the axes of the positions stand in the result.
    """

    def __init__(self, key: Any, shape: tuple[int, ...]) -> None:
        parts = complete(key, shape)
        arrays = any(is_mask(part) or is_positions(part) for part in parts)
        pairs = [pair for part in parts for pair in steps(part, arrays)]
        at = [i for i, (_, positions) in enumerate(pairs) if positions is not None]
        self.basic = tuple(part for part, _ in pairs if part is not Ellipsis)
        self.lengths = basic_shape(self.basic, shape)
        kept = [positions for part, positions in pairs if part is None or isinstance(part, slice)]
        self.axes = tuple(axis for axis, positions in enumerate(kept) if positions is not None)
        self.positions = tuple(counted(kept[axis], self.lengths[axis]) for axis in self.axes)
        together = bool(at) and at == list(range(at[0], at[-1] + 1))
        self.place = self.axes[0] if together else 0

    @property
    def others(self) -> list[int]:
        """The axes that are not indexed by arrays."""
        return [axis for axis in range(len(self.lengths)) if axis not in self.axes]

    @property
    def spread(self) -> int:
        """How many axes the positions have together."""
        return max((part.ndim for part in self.positions), default=0)

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of what the key picks."""
        first = np.broadcast_shapes(*(part.shape for part in self.positions))
        others = [self.lengths[axis] for axis in self.others]
        return (*others[: self.place], *first, *others[self.place :])


def steps(part: Any, arrays: bool) -> list[tuple[Any, Any]]:
    """A part of a complete key as pairs: what it is in the basic key, and the positions on that axis, None for all."""
    if is_mask(part):
        if np.ndim(part) == 0:
            return [(None, np.zeros(int(part), np.int64))]      # an axis that is not there yet, kept or emptied
        return [(slice(None), positions) for positions in np.nonzero(part)]
    if is_positions(part) or (arrays and isinstance(part, int)):
        return [(slice(None), part)]
    return [(part, None)]


def basic_shape(key: tuple[Any, ...], shape: tuple[int, ...]) -> tuple[int, ...]:
    """The shape of what a complete basic key picks; IndexError where an int is out of range."""
    lengths, found = iter(shape), []
    for part in key:
        if part is None:
            found.append(1)
        elif isinstance(part, slice):
            found.append(len(range(*part.indices(next(lengths)))))
        else:
            counted(part, next(lengths))
    return tuple(found)


def counted(part: Any, length: int) -> Any:
    """Positions counted from the first element; IndexError where one that is known is out of range."""
    if is_array(part) and not isinstance(part, np.ndarray):
        return part
    part = np.asarray(part)
    if part.size and not (-length <= part.min() and part.max() < length):
        wrong = part.min() if part.min() < -length else part.max()
        raise IndexError(f"index {wrong} is out of bounds for an axis of length {length}")
    return np.where(part < 0, part + length, part)
