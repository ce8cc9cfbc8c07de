"""Reading and writing traced arrays at keys: ints, slices, None, Ellipsis, lengths, integer arrays and masks.

Whatever ONNX's Gather and Slice do not say goes through positions: the elements are numbered, and the numbers are read
at the same key. This file must know no rule and no Tensor.
"""

from collections.abc import Callable
from math import prod
from typing import Any

import numpy as np
import spox.opset.ai.onnx.v21 as onnx

from agrad.backends import traced
from agrad.backends import traced_standard as xp
from agrad.backends.symbolic import Symbol, axes_of, broadcast, complete, cut
from agrad.backends.traced import TRUTH, WHOLE, Traced, as_traced, constant


def _parts(key: Any) -> tuple[Any, ...]:
    """The parts of a key, arrays as Traced."""
    def part(value: Any) -> Any:
        plain = value is None or value is Ellipsis or isinstance(value, (slice, Symbol))
        if plain or (isinstance(value, (int, np.integer)) and not isinstance(value, bool)):
            return value
        return as_traced(np.asarray(value) if isinstance(value, (list, tuple, range)) else value)

    return tuple(map(part, key if isinstance(key, tuple) else (key,)))


def _is_mask(part: Any) -> bool:
    return isinstance(part, Traced) and part.dtype == TRUTH


def _axes_taken(part: Any) -> int:
    return 0 if part is None or part is Ellipsis else part.ndim if _is_mask(part) else 1


def _is_fancy(part: Any) -> bool:
    return _is_mask(part) or (isinstance(part, Traced) and part.ndim > 0)


def getitem(x: Any, key: Any, /) -> Any:
    """x[key]."""
    x = as_traced(x)
    parts = complete(_parts(key), x.ndim, _axes_taken)
    return _fancy(x, parts) if any(map(_is_fancy, parts)) else _basic(x, parts)


def _basic(x: Any, parts: list[Any]) -> Any:
    """A key of slices, single positions and new axes."""
    shape: list[Any] = []
    cuts, single, new, axis = [], [], [], 0
    for part in parts:
        if part is None:
            new.append(len(shape))
            shape.append(1)
            continue
        if isinstance(part, slice):
            found = cut(part, x.shape[axis])
            if found.bounds is not None:
                cuts.append((axis, *found.bounds))
            shape.append(found.length)
        else:
            _check_position(part, x.shape[axis], axis)
            single.append((axis, part))
        axis += 1
    var = x.var
    if cuts:
        axes, starts, stops, steps = zip(*cuts, strict=True)
        var = onnx.slice(var, traced.vector(starts), traced.vector(stops), traced.vector(axes), traced.vector(steps))
    for a, part in reversed(single):
        place = part.var if isinstance(part, Traced) else part.number().var if isinstance(part, Symbol) else part
        var = onnx.gather(var, constant(place, WHOLE) if isinstance(place, (int, np.integer)) else place, axis=a)
    if new:
        var = onnx.unsqueeze(var, constant(new, WHOLE))
    return Traced(var, tuple(shape))


def _check_position(part: Any, length: Any, axis: int) -> None:
    known = isinstance(length, int) and isinstance(part, (int, np.integer))
    if known and not -length <= part < length:
        raise IndexError(f"index {part} is out of bounds for axis {axis} with size {length}")


def places_of(mask: Any) -> Any:
    """Where a mask is true: a row of positions for each of its axes; found once, so that equal lengths are equal."""
    if mask._places is None:
        var = onnx.non_zero(mask.var)
        mask._places = Traced(var, (mask.ndim, traced.length_of(var, 1)))
    return mask._places


def _fancy(x: Any, parts: list[Any]) -> Any:
    """A key with integer arrays or masks: they select together, and their axes stand where they did, or in front."""
    x, parts = _without_new(x, parts)
    fancy: list[int] = []
    slices, arrays, axis = [], [], 0
    for part in parts:
        if isinstance(part, slice):
            slices.append(part)
            axis += 1
            continue
        rows = _rows(part, x, axis)
        arrays += rows
        fancy += range(axis, axis + len(rows))
        slices += [slice(None)] * len(rows)
        axis += len(rows)
    x = _basic(x, slices)
    if len(arrays) == 1 and arrays[0].ndim:
        a = fancy[0]
        return Traced(
            onnx.gather(x.var, arrays[0].var, axis=a), (*x.shape[:a], *arrays[0].shape, *x.shape[a + 1 :])
        )
    rest = [a for a in range(x.ndim) if a not in fancy]
    lengths, others = [x.shape[a] for a in fancy], tuple(x.shape[a] for a in rest)
    flat = xp.reshape(xp.permute_dims(x, (*fancy, *rest)), (prod(lengths), *others))
    place: Any = 0
    for array, length in zip(arrays, lengths, strict=True):
        place = place * length + traced.where(array < 0, array + length, array)
    found = Traced(onnx.gather(flat.var, place.var, axis=0), (*place.shape, *others))
    if fancy != list(range(fancy[0], fancy[0] + len(fancy))):
        return found
    front, before = list(range(place.ndim)), list(range(place.ndim, place.ndim + fancy[0]))
    return xp.permute_dims(found, (*before, *front, *range(place.ndim + fancy[0], found.ndim)))


def _rows(part: Any, x: Any, axis: int) -> list[Any]:
    """The integer arrays that one part of a key stands for."""
    if _is_mask(part):
        if not part.ndim:
            raise IndexError("a 0-d mask as a key is not supported by ndonnx: use traced.where()")
        broadcast(part.shape, x.shape[axis : axis + part.ndim])
        return [places_of(part)[i] for i in range(part.ndim)]
    if not isinstance(part, Traced):
        _check_position(part, x.shape[axis], axis)
    return [traced.cast(as_traced(part), WHOLE)]


def _without_new(x: Any, parts: list[Any]) -> tuple[Traced, list[Any]]:
    """New axes made first, and taken whole."""
    place, new, kept = 0, [], []
    for part in parts:
        if part is None:
            new.append(place)
            kept.append(slice(None))
        else:
            kept.append(part)
        place += 1 if part is None else _axes_taken(part)
    return (xp.expand_dims(x, tuple(new)) if new else x), kept


# -------------------------------------------------------------------------------------------------------------- writing


def positions(shape: Any) -> Any:
    """The elements of an array of this shape, numbered."""
    return xp.reshape(xp.arange(prod(shape)), shape)


def _written(x: Any, key: Any, value: Any, reduction: str) -> Any:
    x = as_traced(x)
    parts = complete(_parts(key), x.ndim, _axes_taken)
    value = as_traced(value, x.dtype)
    rows = _leading_rows(x, parts)
    if rows is not None:
        value = _fitting(value, (*rows.shape[:-1], *x.shape[rows.shape[-1] :]))
        return Traced(onnx.scatter_nd(x.var, rows.var, value.var, reduction=reduction), x.shape)
    places = getitem(positions(x.shape), tuple(parts))
    value = _fitting(value, places.shape)
    flat, at, new = (xp.reshape(part, (-1,)) for part in (x, places, value))
    if 0 in at.shape:
        return x
    written = onnx.scatter_elements(flat.var, at.var, new.var, reduction=reduction)
    return xp.reshape(Traced(written, flat.shape), x.shape)


def _leading_rows(x: Any, parts: list[Any]) -> Any:
    """The positions of whole rows that a key of integer arrays on the first axes names, as ScatterND takes them."""
    arrays = [part for part in parts if isinstance(part, Traced) and part.ndim and not _is_mask(part)]
    n = len(arrays)
    leading = n > 0 and all(a is b for a, b in zip(arrays, parts[:n], strict=True))
    if not leading or not all(isinstance(part, slice) and part == slice(None) for part in parts[n:]):
        return None
    together = xp.broadcast_arrays(*(traced.cast(array, WHOLE) for array in arrays))
    return xp.stack(together, axis=-1) if 0 not in together[0].shape else None


def _fitting(value: Any, shape: Any) -> Any:
    """A value in the shape of what it is written to; NumPy drops leading axes of length 1."""
    while value.ndim > len(shape):
        value = xp.squeeze(value, 0)
    return xp.broadcast_to(value, shape)


def setitem(x: Any, key: Any, value: Any, /) -> Any:
    """x with a value written at a key."""
    x = as_traced(x)
    parts = _parts(key)
    masks = [part for part in parts if part is not Ellipsis]
    value = as_traced(value, x.dtype)
    if len(masks) == 1 and _is_mask(masks[0]) and parts[0] is masks[0] and prod(value.shape) == 1:
        mask = masks[0]
        rest = tuple(range(mask.ndim, x.ndim))
        broadcast(mask.shape, x.shape[: mask.ndim])
        return traced.where(xp.expand_dims(mask, rest) if rest else mask, xp.reshape(value, ()), x)
    return _written(x, parts, value, "none")


def scatter_add(x: Any, key: Any, value: Any, /) -> Any:
    """x with a value added at a key; repeated positions add up."""
    return _written(x, _parts(key), value, "add")


# ------------------------------------------------------------------------------------------------------------ functions


def take(x: Any, indices: Any, /, *, axis: int | None = None) -> Any:
    x, indices = as_traced(x), as_traced(indices, WHOLE)
    if axis is None:
        if x.ndim != 1:
            raise ValueError("take needs an axis for arrays with more than one")
        axis = 0
    (a,) = axes_of(axis, x.ndim)
    shape = (*x.shape[:a], *indices.shape, *x.shape[a + 1 :])
    return Traced(onnx.gather(x.var, indices.var, axis=a), shape)


def take_along_axis(x: Any, indices: Any, /, *, axis: int = -1) -> Any:
    x, indices = as_traced(x), as_traced(indices, WHOLE)
    (a,) = axes_of(axis, x.ndim)
    others = broadcast(*((*y.shape[:a], 1, *y.shape[a + 1 :]) for y in (x, indices)))
    x, indices = (xp.broadcast_to(y, (*others[:a], y.shape[a], *others[a + 1 :])) for y in (x, indices))
    return Traced(onnx.gather_elements(x.var, indices.var, axis=a), indices.shape)


def nonzero(x: Any, /) -> tuple[Any, ...]:
    places = places_of(traced.cast(as_traced(x), TRUTH))
    return tuple(places[i] for i in range(places.shape[0]))


def unique_all(x: Any, /) -> tuple[Traced, ...]:
    x = as_traced(x)
    flat = xp.reshape(x, (-1,))
    values, indices, inverse, counts = onnx.unique(flat.var, sorted=True)
    shape = (traced.length_of(values, 0),)
    inverse = xp.reshape(Traced(inverse, flat.shape), x.shape)
    return Traced(values, shape), Traced(indices, shape), inverse, Traced(counts, shape)


def unique_counts(x: Any, /) -> tuple[Traced, ...]:
    values, _, _, counts = unique_all(x)
    return values, counts


def unique_inverse(x: Any, /) -> tuple[Traced, ...]:
    values, _, inverse, _ = unique_all(x)
    return values, inverse


def unique_values(x: Any, /) -> Traced:
    return unique_all(x)[0]


setattr(Traced, "__getitem__", getitem)     # noqa: B010  it needs this file, which needs that class

INDEXING: dict[str, Callable[..., Any]] = {
    function.__name__: function for function in (
        getitem, nonzero, scatter_add, setitem, take, take_along_axis, unique_all, unique_counts, unique_inverse,
        unique_values,
    )
}
