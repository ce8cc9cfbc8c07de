"""NumPy's functions that make, reshape, join, part and rearrange arrays. Must know no backend and no rule."""

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from agrad.creation import call
from agrad.cython_core.engine import Tensor
from agrad.numpy_protocol.table import array, axes_of, cast, handles, missing, one_to_one, space

one_to_one("""
    roll  roll(a, shift; axis)
    flip  flip(m; axis)
    moveaxis  moveaxis(a, source, destination)
    expand_dims  expand_dims(a, axis)
    tril  tril(m; k)
    triu  triu(m; k)
    matrix_transpose  matrix_transpose(x)
    linalg.matrix_transpose  matrix_transpose(x)
    unstack  unstack(x; axis)
    linalg.diagonal  linalg.diagonal(x; offset)
    astype  astype(x, dtype; copy)
""")


# ---------------------------------------------------------------------------------------------------------- the shape


@handles("reshape", op="reshape")
def reshape(a: Tensor, shape: Any, order: str = "C", copy: bool | None = None) -> Tensor:
    shape = (int(shape),) if np.ndim(shape) == 0 else tuple(int(n) for n in shape)
    if order == "F":
        return transpose(call("reshape", transpose(a), shape[::-1], copy=copy))
    if order != "C":
        raise missing("reshape", f"order={order!r} is not supported on agrad Tensors")
    return call("reshape", a, shape, copy=copy)


@handles("ravel")
def ravel(a: Tensor, order: str = "C") -> Tensor:
    return reshape(a, (-1,), "C" if order == "K" else order)


@handles("transpose")
def transpose(a: Tensor, axes: Any = None) -> Tensor:
    return call("permute_dims", a, tuple(range(a.ndim))[::-1] if axes is None else tuple(axes))


@handles("swapaxes")
def swapaxes(a: Tensor, axis1: int, axis2: int) -> Tensor:
    order = list(range(a.ndim))
    order[axis1], order[axis2] = order[axis2], order[axis1]
    return call("permute_dims", a, tuple(order))


@handles("rollaxis")
def rollaxis(a: Tensor, axis: int, start: int = 0) -> Tensor:
    axis, start = axis % a.ndim, start + a.ndim if start < 0 else start
    return call("moveaxis", a, axis, start - 1 if axis < start else start)


@handles("squeeze", op="squeeze")
def squeeze(a: Tensor, axis: Any = None) -> Tensor:
    axes = tuple(i for i, n in enumerate(a.shape) if n == 1) if axis is None else axis
    return call("squeeze", a, axes)


@handles("resize")
def resize(a: Tensor, new_shape: Any) -> Tensor:
    shape = (new_shape,) if isinstance(new_shape, int) else tuple(new_shape)
    size = math.prod(shape)
    if a.size == 0:
        return space(a).zeros(shape, dtype=a.dtype)  # type: ignore[no-any-return]
    repeated = call("tile", call("reshape", a, (-1,)), (-(-size // a.size),))
    return call("reshape", repeated[:size], shape)


def at_least(n: int) -> Callable[..., Any]:
    """atleast_1d and its like: of several arrays a tuple."""
    def function(*arys: Any) -> Any:
        found = tuple(with_axes(x, n) for x in all_arrays(arys))
        return found[0] if len(found) == 1 else found

    return function


def with_axes(x: Tensor, n: int) -> Tensor:
    """x with at least n axes, as NumPy adds them."""
    if x.ndim >= n:
        return x
    behind = min(x.ndim, 1) if n == 3 else 0
    return call("reshape", x, (*(1,) * (n - x.ndim - behind), *x.shape, *(1,) * behind))


for _n in (1, 2, 3):
    handles(f"atleast_{_n}d", "")(at_least(_n))


@handles("broadcast_to", "array", op="broadcast_to")
def broadcast_to(array: Tensor, shape: Any) -> Tensor:
    return call("broadcast_to", array, (shape,) if isinstance(shape, int) else tuple(shape))


@handles("broadcast_arrays", "", op="broadcast_arrays")
def broadcast_arrays(*args: Any) -> Any:
    like = next(x for x in args if isinstance(x, Tensor))
    return tuple(call("broadcast_arrays", *(array(x, like) for x in args)))


# ------------------------------------------------------------------------------------------------------------ joining


def joined(
    parts: Sequence[Any], axis: int | None = 0, dtype: Any = None, casting: str = "same_kind", name: str = "concatenate"
) -> Tensor:
    """concat of anything that holds a Tensor."""
    arrays = all_arrays(parts)
    return call("concat", arrays if dtype is None else [cast(name, x, dtype, casting) for x in arrays], axis=axis)


def all_arrays(parts: Sequence[Any]) -> list[Tensor]:
    like = next(x for x in parts if isinstance(x, Tensor))
    return [array(x, like) for x in parts]


@handles("concatenate", "arrays*", op="concat")
def concatenate(
    arrays: Sequence[Any], axis: int | None = 0, out: Any = None, *, dtype: Any = None, casting: str = "same_kind"
) -> Tensor:
    return joined(arrays, axis, dtype, casting)


@handles("stack", "arrays*", op="stack")
def stack(arrays: Sequence[Any], axis: int = 0, dtype: Any = None, casting: str = "same_kind") -> Tensor:
    parts = all_arrays(arrays)
    return call("stack", parts if dtype is None else [cast("stack", x, dtype, casting) for x in parts], axis=axis)


@handles("vstack", "tup*")
def vstack(tup: Sequence[Any], dtype: Any = None, casting: str = "same_kind") -> Tensor:
    return joined([with_axes(x, 2) for x in all_arrays(tup)], 0, dtype, casting, "vstack")


@handles("hstack", "tup*")
def hstack(tup: Sequence[Any], dtype: Any = None, casting: str = "same_kind") -> Tensor:
    parts = [with_axes(x, 1) for x in all_arrays(tup)]
    return joined(parts, 0 if parts[0].ndim == 1 else 1, dtype, casting, "hstack")


@handles("dstack", "tup*")
def dstack(tup: Sequence[Any]) -> Tensor:
    return joined([with_axes(x, 3) for x in all_arrays(tup)], 2)


@handles("column_stack", "tup*")
def column_stack(tup: Sequence[Any]) -> Tensor:
    return joined([x[:, None] if x.ndim == 1 else with_axes(x, 2).T if x.ndim == 0 else x for x in all_arrays(tup)], 1)


@handles("block", "")
def block(arrays: Any) -> Tensor:
    like = next(x for x in leaves(arrays) if isinstance(x, Tensor))
    deep = depth_of(arrays)
    ndim = max(deep, *(array(x, like).ndim for x in leaves(arrays)))

    def put_together(part: Any, level: int) -> Tensor:
        if not isinstance(part, list):
            x = array(part, like)
            return call("reshape", x, (*(1,) * (ndim - x.ndim), *x.shape))
        return joined([put_together(piece, level + 1) for piece in part], ndim - deep + level)

    return put_together(arrays, 0)


def leaves(nested: Any) -> Any:
    if isinstance(nested, list):
        for part in nested:
            yield from leaves(part)
    else:
        yield nested


def depth_of(nested: Any) -> int:
    return 1 + depth_of(nested[0]) if isinstance(nested, list) else 0


@handles("append", "arr values")
def append(arr: Any, values: Any, axis: int | None = None) -> Tensor:
    return joined([arr, values], axis)


@handles("insert", "arr values")
def insert(arr: Any, obj: Any, values: Any, axis: int | None = None) -> Tensor:
    arr, values = all_arrays([arr, values])
    if axis is None:
        arr, axis = call("reshape", arr, (-1,)), 0
    axis, n = axis % arr.ndim, arr.shape[axis]
    values = call("reshape", values, (*(1,) * (arr.ndim - values.ndim), *values.shape))
    obj = obj.numpy() if isinstance(obj, Tensor) else obj
    if np.ndim(obj) == 0 and not isinstance(obj, slice):
        values = call("moveaxis", values, 0, axis)
        count = values.shape[axis]
    else:
        count = np.size(np.arange(n)[obj] if isinstance(obj, slice) else obj)
    values = call("broadcast_to", values, (*arr.shape[:axis], count, *arr.shape[axis + 1 :]))
    order = np.insert(np.arange(n), obj, np.arange(n, n + count))
    return taken(joined([arr, values.to(dtype=arr.dtype)], axis), order, axis)


@handles("delete", "arr")
def delete(arr: Tensor, obj: Any, axis: int | None = None) -> Tensor:
    if axis is None:
        arr, axis = call("reshape", arr, (-1,)), 0
    obj = obj.numpy() if isinstance(obj, Tensor) else obj
    return taken(arr, np.delete(np.arange(arr.shape[axis]), obj), axis)


def taken(x: Tensor, positions: Any, axis: int) -> Tensor:
    """take with positions that are a NumPy array."""
    return call("take", x, array(positions, x), axis=axis)


# ------------------------------------------------------------------------------------------------------------ parting


@handles("array_split", "ary")
def array_split(ary: Tensor, indices_or_sections: Any, axis: int = 0) -> list[Tensor]:
    n = ary.shape[axis]
    if np.ndim(indices_or_sections) == 0:
        sections = int(indices_or_sections)
        if sections <= 0:
            raise ValueError("number sections must be larger than 0.")
        ends = np.cumsum([n // sections + (i < n % sections) for i in range(sections)])[:-1].tolist()
    else:
        ends = [int(i) for i in indices_or_sections]
    lead = (slice(None),) * (axis % ary.ndim)
    return [ary[(*lead, slice(i, j))] for i, j in zip([0, *ends], [*ends, n], strict=True)]


@handles("split", "ary")
def split(ary: Tensor, indices_or_sections: Any, axis: int = 0) -> list[Tensor]:
    if np.ndim(indices_or_sections) == 0 and ary.shape[axis] % int(indices_or_sections):
        raise ValueError("array split does not result in an equal division")
    return array_split(ary, indices_or_sections, axis)


@handles("hsplit", "ary")
def hsplit(ary: Tensor, indices_or_sections: Any) -> list[Tensor]:
    return split(ary, indices_or_sections, 1 if ary.ndim > 1 else 0)


@handles("vsplit", "ary")
def vsplit(ary: Tensor, indices_or_sections: Any) -> list[Tensor]:
    return split(ary, indices_or_sections, 0)


@handles("dsplit", "ary")
def dsplit(ary: Tensor, indices_or_sections: Any) -> list[Tensor]:
    return split(ary, indices_or_sections, 2)


# --------------------------------------------------------------------------------------------- repeating, rearranging


@handles("tile", "A", op="tile")
def tile(A: Tensor, reps: Any) -> Tensor:
    return call("tile", A, (int(reps),) if np.ndim(reps) == 0 else tuple(int(n) for n in reps))


@handles("repeat", op="repeat")
def repeat(a: Tensor, repeats: Any, axis: int | None = None) -> Tensor:
    return call("repeat", a, int(repeats) if np.ndim(repeats) == 0 else array(repeats, a), axis=axis)


@handles("fliplr", "m")
def fliplr(m: Tensor) -> Tensor:
    return call("flip", m, axis=1)


@handles("flipud", "m")
def flipud(m: Tensor) -> Tensor:
    return call("flip", m, axis=0)


@handles("rot90", "m")
def rot90(m: Tensor, k: int = 1, axes: tuple[int, int] = (0, 1)) -> Tensor:
    first, second = axes
    if k % 4 == 2:
        return call("flip", m, axis=(first, second))
    if k % 4 == 1:
        return swapaxes(call("flip", m, axis=second), first, second)
    return call("flip", swapaxes(m, first, second), axis=second) if k % 4 else call("copy", m)


@handles("pad", "array")
def pad(
    array: Tensor, pad_width: Any, mode: Any = "constant", constant_values: Any = 0, reflect_type: str = "even"
) -> Tensor:
    widths = np.broadcast_to(widths_of(pad_width, array.ndim), (array.ndim, 2)).tolist()
    if mode == "constant":
        return padded_with(array, widths, np.broadcast_to(constant_values, (array.ndim, 2)).tolist())
    if mode not in ("edge", "reflect", "symmetric", "wrap") or reflect_type != "even":
        raise missing("pad", f"mode={mode!r} is not supported on agrad Tensors")
    for axis, width in enumerate(widths):
        if any(width):
            array = taken(array, np.pad(np.arange(array.shape[axis]), width, mode), axis)
    return array


def widths_of(pad_width: Any, ndim: int) -> Any:
    """NumPy's forms of `pad_width` as something that broadcasts to (ndim, 2)."""
    if not isinstance(pad_width, dict):
        return np.asarray(pad_width, dtype=np.int64)
    given = {axis % ndim: width for axis, width in pad_width.items()}
    return np.array([np.broadcast_to(given.get(axis, 0), (2,)) for axis in range(ndim)])


def padded_with(x: Tensor, widths: list[list[int]], values: list[list[Any]]) -> Tensor:
    """x between constants, one axis after the other."""
    for axis, (width, value) in enumerate(zip(widths, values, strict=True)):
        sides = [
            space(x).full((*x.shape[:axis], n, *x.shape[axis + 1 :]), v, dtype=x.dtype)
            for n, v in zip(width, value, strict=True)
        ]
        if any(width):
            x = call("concat", [sides[0], x, sides[1]], axis=axis)
    return x


# ---------------------------------------------------------------------------------------------------------- diagonals


@handles("diagonal", op="linalg.diagonal")
def diagonal(a: Tensor, offset: int = 0, axis1: int = 0, axis2: int = 1) -> Tensor:
    return call("linalg.diagonal", call("moveaxis", a, (axis1, axis2), (-2, -1)), offset=offset)


@handles("diag", "v")
def diag(v: Tensor, k: int = 0) -> Tensor:
    if v.ndim != 1:
        if v.ndim != 2:
            raise ValueError("Input must be 1- or 2-d.")
        return call("linalg.diagonal", v, offset=k)
    xp, n = space(v), v.shape[0] + abs(k)
    zeros = xp.zeros(abs(k), dtype=v.dtype)
    rows = call("concat", [zeros, v] if k < 0 else [v, zeros])
    return call("where", xp.eye(n, k=k) > 0, rows[:, None], 0)


@handles("diagflat", "v")
def diagflat(v: Tensor, k: int = 0) -> Tensor:
    return diag(call("reshape", v, (-1,)), k)


@handles("vander", "x")
def vander(x: Tensor, N: int | None = None, increasing: bool = False) -> Tensor:
    powers = [call("pow", x, i) for i in range(len(x) if N is None else N)]
    return call("stack", powers if increasing else powers[::-1], axis=-1)


@handles("meshgrid", "", op="meshgrid")
def meshgrid(*xi: Any, sparse: bool = False, indexing: str = "xy") -> tuple[Tensor, ...]:
    axes = all_arrays(xi)
    if not sparse:
        return tuple(call("meshgrid", *axes, indexing=indexing))
    order = [1, 0, *range(2, len(axes))] if indexing == "xy" and len(axes) > 1 else list(range(len(axes)))
    return tuple(
        call("reshape", x, tuple(-1 if own == place else 1 for own in range(len(axes))))
        for x, place in zip(axes, order, strict=True)
    )


@handles("ix_", "", flat=True)
def ix_(*args: Any) -> tuple[Tensor, ...]:
    positions = [call("nonzero", x)[0] if x.dtype.kind == "bool" else x for x in all_arrays(args)]
    return meshgrid(*positions, sparse=True, indexing="ij")


# ------------------------------------------------------------------------------------------------------------- making


def like(name: str) -> Callable[..., Any]:
    """zeros_like and its like; of another shape, if that is given."""
    def function(a: Tensor, dtype: Any = None, shape: Any = None) -> Tensor:
        if shape is None:
            return call(f"{name}_like", a, dtype=dtype)
        return getattr(space(a), name)(shape, dtype=a.dtype if dtype is None else dtype)  # type: ignore[no-any-return]

    return function


for _name in ("zeros", "ones"):
    handles(f"{_name}_like", op=f"{_name}_like")(like(_name))


@handles("empty_like", "prototype", op="empty_like")
def empty_like(prototype: Tensor, dtype: Any = None, shape: Any = None) -> Tensor:
    return like("empty")(prototype, dtype, shape)  # type: ignore[no-any-return]


@handles("full_like", op="full_like")
def full_like(a: Tensor, fill_value: Any, dtype: Any = None, shape: Any = None) -> Tensor:
    return space(a).full(a.shape if shape is None else shape, fill_value, dtype=dtype or a.dtype)  # type: ignore[no-any-return]


@handles("copy", op="copy")
def copy(a: Tensor) -> Tensor:
    return call("copy", a)


@handles("linspace", "start stop")
def linspace(
    start: Any, stop: Any, num: int = 50, endpoint: bool = True, retstep: bool = False, dtype: Any = None, axis: int = 0
) -> Any:
    start, stop = all_arrays([start, stop])
    count = num - 1 if endpoint else num
    start, stop = call("broadcast_arrays", start * 1.0, stop * 1.0)
    steps = call("reshape", space(start).arange(num, dtype=start.dtype), (num, *(1,) * start.ndim))
    step = (stop - start) / count if count else (stop - start) * math.nan
    points = start + steps * step if count else start + steps * 0.0
    if endpoint and num > 1:
        points = call("concat", [points[:-1], stop[None]])
    points = call("moveaxis", points, 0, axis)
    points = points if dtype is None else points.to(dtype=dtype)
    return (points, step) if retstep else points


@handles("logspace", "start stop")
def logspace(
    start: Any, stop: Any, num: int = 50, endpoint: bool = True, base: Any = 10.0, dtype: Any = None, axis: int = 0
) -> Tensor:
    points = call("pow", base, linspace(start, stop, num, endpoint, axis=axis))
    return points if dtype is None else points.to(dtype=dtype)


@handles("geomspace", "start stop")
def geomspace(start: Any, stop: Any, num: int = 50, endpoint: bool = True, dtype: Any = None, axis: int = 0) -> Tensor:
    start, stop = all_arrays([start, stop])
    start, stop = call("broadcast_arrays", start * 1.0, stop * 1.0)
    share = linspace(call("zeros_like", start), 1.0, num, endpoint)
    points = start * call("pow", stop / start, share)
    if endpoint and num > 1:
        points = call("concat", [start[None], points[1:-1], stop[None]])
    points = call("moveaxis", points, 0, axis)
    return points if dtype is None else points.to(dtype=dtype)


@handles("apply_along_axis", "arr")
def apply_along_axis(func1d: Callable[..., Any], axis: int, arr: Tensor, *args: Any, **kwargs: Any) -> Any:
    moved = call("moveaxis", arr, axis, -1)
    rows = call("reshape", moved, (-1, moved.shape[-1]))
    found = [array(func1d(row, *args, **kwargs), arr) for row in call("unstack", rows)]
    whole = call("reshape", call("stack", found), (*moved.shape[:-1], *found[0].shape))
    axis, n = axis % arr.ndim, found[0].ndim
    own = tuple(range(arr.ndim - 1, arr.ndim - 1 + n))
    return call("moveaxis", whole, own, tuple(range(axis, axis + n))) if n else whole


@handles("apply_over_axes")
def apply_over_axes(func: Callable[..., Any], a: Tensor, axes: Any) -> Tensor:
    for axis in axes_of(axes, a.ndim):
        found = func(a, axis)
        a = found if found.ndim == a.ndim else call("expand_dims", found, axis)
    return a


# -------------------------------------------------------------------------------------------------------- with `like=`


@handles("asarray asanyarray ascontiguousarray", "")
def asarray(a: Any, dtype: Any = None, copy: bool | None = None, *, like: Tensor) -> Tensor:
    return space(like).asarray(a, dtype=dtype, copy=copy)  # type: ignore[no-any-return]


@handles("array", "")
def copied(object: Any, dtype: Any = None, copy: bool | None = True, ndmin: int = 0, *, like: Tensor) -> Tensor:
    made = asarray(object, dtype, copy or None, like=like)
    return call("reshape", made, (*(1,) * (ndmin - made.ndim), *made.shape)) if made.ndim < ndmin else made


@handles("zeros", "")
def zeros(shape: Any, dtype: Any = None, *, like: Tensor) -> Tensor:
    return space(like).zeros(shape, dtype=dtype)  # type: ignore[no-any-return]


@handles("ones", "")
def ones(shape: Any, dtype: Any = None, *, like: Tensor) -> Tensor:
    return space(like).ones(shape, dtype=dtype)  # type: ignore[no-any-return]


@handles("empty", "")
def empty(shape: Any, dtype: Any = None, *, like: Tensor) -> Tensor:
    return space(like).empty(shape, dtype=dtype)  # type: ignore[no-any-return]


@handles("full", "")
def full(shape: Any, fill_value: Any, dtype: Any = None, *, like: Tensor) -> Tensor:
    return space(like).full(shape, fill_value, dtype=dtype)  # type: ignore[no-any-return]


@handles("arange", "")
def arange(start_or_stop: Any, stop: Any = None, step: Any = 1, *, dtype: Any = None, like: Tensor) -> Tensor:
    return space(like).arange(start_or_stop, stop, step, dtype=dtype)  # type: ignore[no-any-return]


@handles("eye", "")
def eye(N: int, M: int | None = None, k: int = 0, dtype: Any = None, *, like: Tensor) -> Tensor:
    return space(like).eye(N, M, k=k, dtype=dtype)  # type: ignore[no-any-return]


# ----------------------------------------------------------------------------------------------- questions about arrays


@handles("shape", flat=True)
def shape(a: Tensor) -> tuple[int, ...]:
    return tuple(a.shape)


@handles("ndim", flat=True)
def ndim(a: Tensor) -> int:
    return a.ndim


@handles("size", flat=True)
def size(a: Tensor, axis: Any = None) -> int:
    return math.prod(a.shape[i] for i in axes_of(axis, a.ndim))


@handles("iscomplexobj", "x", flat=True)
def iscomplexobj(x: Tensor) -> bool:
    return x.dtype.kind == "complex"


@handles("isrealobj", "x", flat=True)
def isrealobj(x: Tensor) -> bool:
    return x.dtype.kind != "complex"


@handles("can_cast", "", flat=True)
def can_cast(from_: Any, to: Any, casting: Any = "safe") -> bool:
    source, target = (x.dtype.dtype if isinstance(x, Tensor) else x for x in (from_, to))
    return bool(np.can_cast(source, target, casting))


@handles("result_type", "", flat=True)
def result_type(*arrays_and_dtypes: Any) -> Any:
    like = next(x for x in arrays_and_dtypes if isinstance(x, Tensor))
    return space(like).result_type(*arrays_and_dtypes)


@handles("array_repr", "arr", flat=True)
def array_repr(arr: Tensor) -> str:
    return repr(arr)


@handles("array_str array2string", flat=True)
def array_str(a: Tensor) -> str:
    return str(a)


@handles("may_share_memory shares_memory", "a b", flat=True)
def shares_memory(a: Any, b: Any) -> bool:
    one, other = (x.backend_.to_numpy(x.detach().array) if isinstance(x, Tensor) else x for x in (a, b))
    return bool(np.shares_memory(one, other))
