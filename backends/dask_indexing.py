"""Reading and writing Dask arrays at any key, lazily and block by block: what dask.array lacks, and the transposes.

Index arrays are NumPy's (known now) or Dask's (known when they are computed). This file must not know tensors or rules.

What is basic (ints, slices, None) is cut out by dask.array and put back by padding, so it stays as chunked as it was.
Integer arrays meet every block of the axes that they index: a block gives or takes what lies in it, and the parts are
added up. No block ever has to hold more than one block of the array and one of the positions.
"""

from functools import reduce
from itertools import accumulate
from typing import Any

import dask.array as da
import numpy as np

from agrad.backends.keys import Plan, complete, is_mask, parts_of, width

COUNT_UNKNOWN = (
    "how many elements a Dask mask picks is not known before it is computed; choose with where(mask, x, 0) instead, "
    "or index with a NumPy mask"
)


def has_lazy_mask(key: Any) -> bool:
    return any(is_mask(part) and isinstance(part, da.Array) for part in parts_of(key))


def plan_of(key: Any, shape: tuple[int, ...]) -> Plan:
    """A key without Dask masks as two steps, its positions broadcast, and cut alike."""
    plan = Plan(key, shape)
    if all(isinstance(part, np.ndarray) for part in plan.positions):
        plan.positions = tuple(np.broadcast_arrays(*plan.positions))
        return plan
    lengths = [plan.lengths[axis] for axis in plan.axes]
    positions = [counted(da.asarray(part), n) for part, n in zip(plan.positions, lengths, strict=True)]
    positions = da.broadcast_arrays(*positions)
    plan.positions = tuple(part.rechunk(positions[0].chunks) for part in positions)
    return plan


def counted(part: Any, length: int) -> Any:
    """Positions from the first element; they are checked when they are computed."""
    return da.where(part < 0, part + length, part) if part.dtype.kind == "i" else part


# ------------------------------------------------------------------------------------------------------------- reading


def get_item(x: Any, key: Any, /) -> Any:
    """x[key]."""
    if has_lazy_mask(key):
        complete(key, x.shape)      # raises where a mask does not fit
        return x[key]
    plan = plan_of(key, x.shape)
    x = x[plan.basic]
    if not plan.axes:
        return x
    known = isinstance(plan.positions[0], np.ndarray)
    if known and len(plan.axes) == plan.spread == 1:
        return x[(slice(None),) * plan.axes[0] + (plan.positions[0],)]
    if known and x.size:
        chosen = dict(zip(plan.axes, plan.positions, strict=True))
        found = x.vindex[tuple(chosen.get(axis, slice(None)) for axis in range(x.ndim))]
    else:
        found = gather(x, plan)
    return moved(found, plan.spread, plan.place)


def moved(x: Any, n: int, place: int) -> Any:
    """The first n axes put to a place among the others."""
    return da.moveaxis(x, range(n), range(place, place + n)) if place and n else x


def gathered(x: Any, n: int, place: int) -> Any:
    """The other way round: n axes at a place put first."""
    return da.moveaxis(x, range(place, place + n), range(n)) if place and n else x


# Labels of axes in blockwise calls: of the array 0, 1, ..., of the positions from here on.
POSITIONS = 1000


def labels(n: int) -> list[int]:
    return [POSITIONS + i for i in range(n)]


def starts(chunks: tuple[int, ...]) -> Any:
    """Where each block begins: an array with one element per block."""
    return da.from_array(np.asarray([0, *accumulate(chunks)][:-1]), chunks=1, name=False)


def gather(x: Any, plan: Plan) -> Any:
    """x at positions along some axes; the axes of the positions come first."""
    arguments: list[Any] = [x, range(x.ndim)]
    for axis, part in zip(plan.axes, plan.positions, strict=True):
        arguments += [starts(x.chunks[axis]), [axis], da.asarray(part), labels(plan.spread)]
    found = da.blockwise(
        read_block, [*labels(plan.spread), *plan.axes, *plan.others], *arguments,
        axes=plan.axes, lengths=tuple(x.shape[a] for a in plan.axes), adjust_chunks=dict.fromkeys(plan.axes, 1),
        align_arrays=False, dtype=x.dtype, meta=da.utils.meta_from_array(x, plan.spread + x.ndim),
    )
    return combine(found, tuple(range(plan.spread, plan.spread + len(plan.axes))))


def combine(parts: Any, axes: tuple[int, ...]) -> Any:
    """The sum over blocks of which at most one is not zero."""
    if all(parts.numblocks[axis] == 1 for axis in axes):
        return da.squeeze(parts, axis=axes) if axes else parts
    return da.any(parts, axis=axes) if parts.dtype == bool else da.sum(parts, axis=axes, dtype=parts.dtype)


def read_block(block: Any, *rest: Any, axes: tuple[int, ...], lengths: tuple[int, ...]) -> Any:
    """What one block gives to a block of positions: its elements, zeros where the position lies in another block."""
    inside, local = within(rest, [block.shape[a] for a in axes], lengths)
    front = np.moveaxis(block, axes, range(len(axes)))
    found = np.zeros((*inside.shape, *front.shape[len(axes) :]), block.dtype)
    found[inside] = front[tuple(part[inside] for part in local)]
    return found.reshape(*inside.shape, *(1,) * len(axes), *front.shape[len(axes) :])


def within(rest: Any, sizes: list[int], lengths: tuple[int, ...]) -> tuple[Any, list[Any]]:
    """Which positions lie in this block, and where; `rest`: the start of the block and the positions, axis by axis."""
    inside: Any = True
    local = []
    for start, part, size, length in zip(rest[::2], rest[1::2], sizes, lengths, strict=True):
        if np.any((part < 0) | (part >= length)):
            raise IndexError(f"an index is out of bounds for length {length}")
        part = part - start.reshape(())
        inside = inside & (part >= 0) & (part < size)
        local.append(part)
    return np.asarray(inside), local


# ------------------------------------------------------------------------------------------------- adding and writing


def scatter_add(x: Any, key: Any, value: Any) -> Any:
    """x with `value` added at a key; repeated positions add up."""
    if has_lazy_mask(key):
        raise NotImplementedError(COUNT_UNKNOWN)
    plan = plan_of(key, x.shape)
    value = gathered(fitted(value, plan.shape), plan.spread, plan.place)
    if plan.axes:
        value = scatter(value, plan, basic_chunks(plan.basic, x.chunks))
    return x + spread(value, plan.basic, x.chunks)


def fitted(value: Any, shape: tuple[int, ...]) -> Any:
    """A value broadcast to what a key picks; leading axes of length 1 may be too many, as in NumPy."""
    value = da.asarray(value)
    extra = value.ndim - len(shape)
    if extra > 0 and all(n == 1 for n in value.shape[:extra]):
        value = da.squeeze(value, axis=tuple(range(extra)))
    return da.broadcast_to(value, shape)


def basic_chunks(key: tuple[Any, ...], chunks: Any) -> tuple[Any, ...]:
    """How the result of a basic key is to be cut: whole axes as the array, others as one piece (None)."""
    own, found = iter(chunks), list[Any]()
    for part in key:
        if part is None:
            found.append(None)
            continue
        blocks = next(own)
        if isinstance(part, slice):
            found.append(blocks if part == slice(None) else None)
    return tuple(found)


def scatter(value: Any, plan: Plan, chunks: tuple[Any, ...]) -> Any:
    """Zeros with `value`, whose first axes are those of the positions, added at them."""
    lengths, others = plan.lengths, plan.others
    blocks = {a: chunks[a] or (lengths[a],) for a in plan.axes}
    value = value.rechunk({plan.spread + i: chunks[a] for i, a in enumerate(others) if chunks[a]})
    arguments: list[Any] = [value, [*labels(plan.spread), *others]]
    for axis, part in zip(plan.axes, plan.positions, strict=True):
        part = da.asarray(part).rechunk(value.chunks[: plan.spread])
        arguments += [starts(blocks[axis]), [axis], sizes(blocks[axis]), [axis], part, labels(plan.spread)]
    found = da.blockwise(
        add_block, [*labels(plan.spread), *range(len(lengths))], *arguments,
        axes=plan.axes, lengths=tuple(lengths[a] for a in plan.axes),
        adjust_chunks={**dict.fromkeys(labels(plan.spread), 1), **blocks},
        align_arrays=False, dtype=value.dtype, meta=da.utils.meta_from_array(value, plan.spread + len(lengths)),
    )
    if all(n == 1 for n in found.numblocks[: plan.spread]):
        return da.squeeze(found, axis=tuple(range(plan.spread))) if plan.spread else found
    return da.sum(found, axis=tuple(range(plan.spread)), dtype=value.dtype)


def sizes(chunks: tuple[int, ...]) -> Any:
    """How long each block is: an array with one element per block."""
    return da.from_array(np.asarray(chunks), chunks=1, name=False)


def add_block(value: Any, *rest: Any, axes: tuple[int, ...], lengths: tuple[int, ...]) -> Any:
    """One block of the result, with what a block of the values adds to it."""
    size = [int(part.reshape(())) for part in rest[1::3]]
    pairs = [part for i, part in enumerate(rest) if i % 3 != 1]
    inside, local = within(pairs, size, lengths)
    total = np.zeros((*size, *value.shape[inside.ndim :]), value.dtype)
    np.add.at(total, tuple(part[inside] for part in local), value[inside])
    return np.moveaxis(total, range(len(axes)), axes)[(None,) * inside.ndim]


def spread(value: Any, key: tuple[Any, ...], chunks: Any) -> Any:
    """Zeros cut into chunks, with `value` where a complete basic key points: padding, axis by axis."""
    axis, rest = 0, iter(chunks)
    for part in key:
        if part is None:
            value = da.squeeze(value, axis=axis)
            continue
        blocks = next(rest)
        n = sum(blocks)
        if isinstance(part, slice):
            value = padded(value, axis, range(n)[part], blocks)
        else:
            value = padded(da.expand_dims(value, axis), axis, range(part % n, part % n + 1), blocks)
        axis += 1
    return value.rechunk(chunks)


def padded(value: Any, axis: int, places: range, blocks: tuple[int, ...]) -> Any:
    """Zeros along an axis cut into blocks, with the elements of `value` at evenly spaced places."""
    n = sum(blocks)
    if places.step < 0:
        value, places = da.flip(value, axis), places[::-1]
    if len(places) == n:
        return value
    if len(places) > 1 and places.step > 1:
        # Put step - 1 zeros behind every element, and merge the two axes.
        gaps = zeros_like_of(da.expand_dims(value, axis + 1), axis + 1, (places.step - 1,))
        value = da.concatenate([da.expand_dims(value, axis + 1), gaps], axis=axis + 1).rechunk({axis + 1: -1})
        value = value.reshape(*value.shape[:axis], -1, *value.shape[axis + 2 :])
        value = value[(slice(None),) * axis + (slice(None, n - places.start),)]
    before = places.start if places else 0
    around = [zeros_like_of(value, axis, within_range(blocks, *ends))
              for ends in ((0, before), (before + value.shape[axis], n))]
    return da.concatenate([around[0], value, around[1]], axis=axis)


def zeros_like_of(value: Any, axis: int, blocks: tuple[int, ...]) -> Any:
    """Zeros of the shape of an array but for one axis, which is cut into blocks."""
    shape = (*value.shape[:axis], sum(blocks), *value.shape[axis + 1 :])
    return da.zeros(shape, dtype=value.dtype, chunks=(*value.chunks[:axis], blocks, *value.chunks[axis + 1 :]))


def within_range(blocks: tuple[int, ...], start: int, stop: int) -> tuple[int, ...]:
    """The parts of blocks between two positions."""
    ends = accumulate(blocks)
    parts = (min(end, stop) - max(end - length, start) for end, length in zip(ends, blocks, strict=True))
    return tuple(part for part in parts if part > 0) or (0,)


def set_item(x: Any, key: Any, value: Any) -> Any:
    """x with `value` written at a key; where a position is written twice, the last write lasts."""
    value = da.asarray(value).astype(x.dtype)
    if has_lazy_mask(key):
        mask, value = at_mask(x, key, value)
        return da.where(mask, value, x)
    plan = plan_of(key, x.shape)
    value = gathered(fitted(value, plan.shape), plan.spread, plan.place)
    if plan.axes:
        value = put(x[plan.basic], value, plan)
    hit = where_basic(plan.basic, x)
    value = spread(value, plan.basic, x.chunks)
    return value if hit is None else da.where(hit, value, x)


def where_basic(key: tuple[Any, ...], x: Any) -> Any:
    """A mask, broadcastable against x, of the elements that a complete basic key picks; None for all of them."""
    hits, axis = [], 0
    for part in key:
        if part is None:
            continue
        n = x.shape[axis]
        places = range(n)[part] if isinstance(part, slice) else range(part % n, part % n + 1)
        places = places[::-1] if places.step < 0 else places
        if len(places) < n:
            at = da.arange(n, chunks=(x.chunks[axis],)) - places.start
            hit = (at >= 0) & (at < len(places) * places.step) & (at % places.step == 0)
            hits.append(hit.reshape((-1,) + (1,) * (x.ndim - 1 - axis)))
        axis += 1
    return reduce(da.logical_and, hits) if hits else None


def put(x: Any, value: Any, plan: Plan) -> Any:
    """x with `value`, whose first axes are those of the positions, written at them."""
    whole = dict.fromkeys(range(plan.spread), -1)       # one piece, for the last write must be seen to be the last
    value = value.rechunk({**whole, **{plan.spread + i: x.chunks[a] for i, a in enumerate(plan.others)}})
    arguments: list[Any] = [x, range(x.ndim), value, [*labels(plan.spread), *plan.others]]
    for axis, part in zip(plan.axes, plan.positions, strict=True):
        arguments += [starts(x.chunks[axis]), [axis], da.asarray(part).rechunk(whole), labels(plan.spread)]
    return da.blockwise(
        write_block, range(x.ndim), *arguments, axes=plan.axes, lengths=tuple(x.shape[a] for a in plan.axes),
        concatenate=True, align_arrays=False, dtype=x.dtype, meta=x._meta,
    )


def write_block(block: Any, value: Any, *rest: Any, axes: tuple[int, ...], lengths: tuple[int, ...]) -> Any:
    """A copy of one block with what is written into it."""
    inside, local = within(rest, [block.shape[a] for a in axes], lengths)
    written = block.copy()
    np.moveaxis(written, axes, range(len(axes)))[tuple(part[inside] for part in local)] = value[inside]
    return written


def at_mask(x: Any, key: Any, value: Any) -> tuple[Any, Any]:
    """A Dask mask, and one value or one per row for what it picks, both broadcastable against x."""
    parts = complete(key, x.shape)
    masks = [part for part in parts if is_mask(part)]
    if len(masks) > 1 or any(not (is_mask(part) or part is Ellipsis or part == slice(None)) for part in parts):
        raise NotImplementedError("a Dask mask together with other indices cannot be written at; write with where()")
    (mask,) = masks
    behind = x.ndim - mask.ndim - sum(map(width, parts[: next(i for i, part in enumerate(parts) if part is mask)]))
    surplus = max(0, value.ndim - behind)
    if any(n != 1 for n in value.shape[:surplus]):
        raise NotImplementedError(f"{COUNT_UNKNOWN}; only a value that is the same for all of them can be written")
    return mask.reshape(*mask.shape, *(1,) * behind), value.reshape(value.shape[surplus:])
