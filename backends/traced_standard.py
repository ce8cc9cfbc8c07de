"""The standard's functions on traced arrays: creation, shapes, reductions, sorting, products.

This file must know no rule and no Tensor.
"""

import operator
from collections.abc import Callable
from math import prod
from typing import Any

import numpy as np
import spox
import spox.opset.ai.onnx.v21 as onnx

from agrad.backends import symbolic, traced
from agrad.backends.symbolic import Symbol, axes_of, broadcast, larger, reduced, same
from agrad.backends.traced import REAL, TRUTH, WHOLE, Traced, as_traced, cast, cast_var, constant, vector, where


def clip(x: Any, /, min: Any = None, max: Any = None) -> Any:
    result = x = as_traced(x)
    for function, bound in (("maximum", min), ("minimum", max)):
        if bound is not None:
            result = cast(traced.ELEMENTWISE[function](result, as_traced(bound)), x.dtype)
    return result


def conj(x: Any, /) -> Any:
    """Numbers of a model are real."""
    return as_traced(x)


# -------------------------------------------------------------------------------------------------------------- dtypes


def astype(x: Any, dtype: Any, /, *, copy: bool = True, device: Any = None) -> Any:
    return cast(as_traced(x), dtype)


def isdtype(dtype: Any, kind: Any) -> bool:
    return np.isdtype(np.dtype(dtype), kind)


def finfo(type: Any, /) -> Any:
    return np.finfo(type.dtype if isinstance(type, Traced) else type)


def iinfo(type: Any, /) -> Any:
    return np.iinfo(type.dtype if isinstance(type, Traced) else type)


def can_cast(from_: Any, to: Any, /) -> bool:
    return np.can_cast(from_.dtype if isinstance(from_, Traced) else from_, to)


def result_type(*values: Any) -> Any:
    return traced.common_dtype([value if traced.lift(value) is None else traced.lift(value) for value in values])


# ------------------------------------------------------------------------------------------------------------- creation


def full(shape: Any, fill_value: Any, *, dtype: Any = None, device: Any = None) -> Any:
    shape = (shape,) if isinstance(shape, (int, Symbol)) else tuple(shape)
    value = as_traced(fill_value, dtype)
    if 0 in shape and not any(isinstance(n, Symbol) for n in shape):
        return Traced(constant(np.zeros(shape, value.dtype)), shape)    # Expand to nothing fails in ONNX Runtime
    return Traced(onnx.expand(value.var, vector(shape)), shape) if shape else Traced(value.var, ())


def zeros(shape: Any, *, dtype: Any = None, device: Any = None) -> Any:
    return full(shape, 0, dtype=REAL if dtype is None else dtype)


def ones(shape: Any, *, dtype: Any = None, device: Any = None) -> Any:
    return full(shape, 1, dtype=REAL if dtype is None else dtype)


def full_like(x: Any, /, fill_value: Any, *, dtype: Any = None, device: Any = None) -> Any:
    x = as_traced(x)
    return full(x.shape, fill_value, dtype=x.dtype if dtype is None else dtype)


def zeros_like(x: Any, /, *, dtype: Any = None, device: Any = None) -> Any:
    return full_like(x, 0, dtype=dtype)


def ones_like(x: Any, /, *, dtype: Any = None, device: Any = None) -> Any:
    return full_like(x, 1, dtype=dtype)


def asarray(obj: Any, /, *, dtype: Any = None, device: Any = None, copy: bool | None = None) -> Any:
    found = as_traced(obj if traced.lift(obj) is not None else np.asarray(obj), dtype)
    return Traced(found.var, found.shape)


def arange(start: Any, /, stop: Any = None, step: Any = 1, *, dtype: Any = None, device: Any = None) -> Any:
    start, stop = (0, start) if stop is None else (start, stop)
    bounds = (start, stop, step)
    if all(isinstance(n, (int, float)) for n in bounds):
        return traced.of_numpy(np.asarray(np.arange(start, stop, step), dtype=dtype))
    raws = [as_traced(n, traced.common_dtype([traced.lift(m) for m in bounds])) for n in bounds]
    var = onnx.range(*(x.var for x in raws))
    if isinstance(step, int) and all(isinstance(n, (int, Symbol)) for n in (start, stop)):
        span = larger(stop - start if step > 0 else start - stop, 0)
        length = (span + abs(step) - 1) // abs(step)
    else:
        length = traced.length_of(var, 0)
    return Traced(var if dtype is None else cast_var(var, np.dtype(dtype)), (length,))


def eye(n_rows: Any, n_cols: Any = None, /, *, k: int = 0, dtype: Any = None, device: Any = None) -> Any:
    rows, columns = arange(n_rows), arange(n_rows if n_cols is None else n_cols)
    return cast(expand_dims(rows, axis=1) + k == expand_dims(columns, axis=0), REAL if dtype is None else dtype)


def linspace(
    start: Any, stop: Any, /, num: int, *, dtype: Any = None, device: Any = None, endpoint: bool = True
) -> Any:
    return traced.of_numpy(np.linspace(start, stop, operator.index(num), endpoint=endpoint, dtype=dtype))


def triangle(upper: bool) -> Callable[..., Any]:
    def kernel(x: Any, /, *, k: int = 0) -> Any:
        x = as_traced(x)
        wide = x.var if x.dtype.kind in "fb" else cast_var(x.var, WHOLE)
        return cast(Traced(onnx.trilu(wide, constant(k, WHOLE), upper=upper), x.shape), x.dtype)

    return kernel


def meshgrid(*arrays: Any, indexing: str = "xy") -> tuple[Any, ...]:
    n = len(arrays)
    places = [1, 0, *range(2, n)] if indexing == "xy" and n > 1 else list(range(n))
    lines = [
        expand_dims(as_traced(x), axis=tuple(a for a in range(n) if a != place)) if as_traced(x).ndim else
        reshape(x, (1,) * n)
        for x, place in zip(arrays, places, strict=True)
    ]
    return broadcast_arrays(*lines)


# ------------------------------------------------------------------------------------------------------------- shapes


def reshape(x: Any, /, shape: Any, *, copy: bool | None = None) -> Any:
    x = as_traced(x)
    target = symbolic.reshaped(x.shape, shape)
    if target == x.shape:
        return x
    unknown = [a for a, n in enumerate(target) if isinstance(n, Symbol)]
    if len(unknown) == 1 and 0 not in target:   # one length may be left open, and needs no operators then
        target_var = constant([-1 if a in unknown else n for a, n in enumerate(target)], WHOLE)
    else:
        target_var = vector(target)
    return Traced(onnx.reshape(x.var, target_var, allowzero=True), target)


def broadcast_to(x: Any, /, shape: Any) -> Any:
    x, shape = as_traced(x), tuple(shape)
    symbolic.check_broadcast(x.shape, shape)
    if x.shape == shape:
        return x
    if 0 in shape and not any(isinstance(n, Symbol) for n in shape):
        return zeros(shape, dtype=x.dtype)
    kept = len(shape) - x.ndim      # a 1 in the target of Expand keeps the length that is there
    target = [1 if a >= kept and x.shape[a - kept] == n else n for a, n in enumerate(shape)]
    return Traced(onnx.expand(x.var, vector(target)), shape)


def broadcast_arrays(*arrays: Any) -> tuple[Any, ...]:
    raws = [as_traced(x) for x in arrays]
    shape = broadcast(*(x.shape for x in raws))
    return tuple(broadcast_to(x, shape) for x in raws)


def expand_dims(x: Any, /, axis: Any = 0) -> Any:
    x = as_traced(x)
    shape = symbolic.expanded(x.shape, axis)
    axes = axes_of(axis, len(shape))
    return Traced(onnx.unsqueeze(x.var, constant(axes, WHOLE)), shape) if axes else x


def squeeze(x: Any, /, axis: Any) -> Any:
    x = as_traced(x)
    axes = axes_of(axis, x.ndim)
    for a in axes:
        if not same(x.shape[a], 1, "the length of an axis to squeeze and 1,"):
            raise ValueError(f"cannot squeeze axis {a} of shape {x.shape}: its length is not 1")
    shape = tuple(n for a, n in enumerate(x.shape) if a not in axes)
    return Traced(onnx.squeeze(x.var, constant(axes, WHOLE)), shape) if axes else x


def permute_dims(x: Any, /, axes: Any) -> Any:
    x = as_traced(x)
    order = axes_of(axes, x.ndim)
    if len(order) != x.ndim:
        raise ValueError(f"axes {axes} do not permute the axes of shape {x.shape}")
    if order == tuple(range(x.ndim)):
        return x
    return Traced(onnx.transpose(x.var, perm=order), tuple(x.shape[a] for a in order))


def matrix_transpose(x: Any, /) -> Any:
    x = as_traced(x)
    return permute_dims(x, (*range(x.ndim - 2), x.ndim - 1, x.ndim - 2))


def moveaxis(x: Any, source: Any, destination: Any, /) -> Any:
    x = as_traced(x)
    moved, places = axes_of(source, x.ndim), axes_of(destination, x.ndim)
    order = [a for a in range(x.ndim) if a not in moved]
    for place, a in sorted(zip(places, moved, strict=True)):
        order.insert(place, a)
    return permute_dims(x, tuple(order))


def flip(x: Any, /, *, axis: Any = None) -> Any:
    x = as_traced(x)
    axes = axes_of(axis, x.ndim)
    back = constant([-1] * len(axes), WHOLE)
    start_of_all = constant([np.iinfo(WHOLE).min] * len(axes), WHOLE)
    return Traced(onnx.slice(x.var, back, start_of_all, constant(axes, WHOLE), back), x.shape) if axes else x


def roll(x: Any, /, shift: Any, *, axis: Any = None) -> Any:
    x = as_traced(x)
    if axis is None:
        return reshape(roll(reshape(x, (-1,)), shift, axis=0), x.shape)
    axes = (axis,) if isinstance(axis, int) else axis
    for a, n in zip(axes, (shift,) * len(axes) if isinstance(shift, int) else shift, strict=True):
        length = x.shape[a]
        if length != 0:
            places = (arange(length) - n) % length
            x = Traced(onnx.gather(x.var, cast_var(places.var, WHOLE), axis=a % x.ndim), x.shape)
    return x


def tile(x: Any, repetitions: Any, /) -> Any:
    x = as_traced(x)
    rank = max(len(repetitions), x.ndim)
    counts = (1,) * (rank - len(repetitions)) + tuple(repetitions)
    x = reshape(x, (1,) * (rank - x.ndim) + x.shape)
    shape = tuple(m * n for m, n in zip(counts, x.shape, strict=True))
    return Traced(onnx.tile(x.var, vector(counts)), shape) if shape else x


def repeat(x: Any, repeats: Any, /, *, axis: Any = None) -> Any:
    x = as_traced(x)
    if axis is None:
        return repeat(reshape(x, (-1,)), repeats, axis=0)
    (a,) = axes_of(axis, x.ndim)
    if isinstance(repeats, (int, Symbol)):
        shape = (*x.shape[:a], x.shape[a] * repeats, *x.shape[a + 1 :])
        copies = broadcast_to(expand_dims(x, a + 1), (*x.shape[: a + 1], repeats, *x.shape[a + 1 :]))
        return reshape(copies, shape)
    counts = broadcast_to(as_traced(repeats, WHOLE), (x.shape[a],))
    if (known := traced.known_value(counts)) is not None:
        places = traced.of_numpy(np.repeat(np.arange(len(known)), known))
    else:
        ends = cumulative_sum(counts, axis=0)
        places = searchsorted(ends, arange(ends[-1]), side="right")
    return Traced(onnx.gather(x.var, places.var, axis=a), (*x.shape[:a], *places.shape, *x.shape[a + 1 :]))


def concat(arrays: Any, /, *, axis: int | None = 0) -> Any:
    raws = [as_traced(x) for x in arrays]
    if axis is None:
        raws, axis = [reshape(x, (-1,)) for x in raws], 0
    dtype = traced.common_dtype(raws)
    (a,) = axes_of(axis, raws[0].ndim)
    shape = symbolic.joined([x.shape for x in raws], a)
    return Traced(onnx.concat([cast_var(x.var, dtype) for x in raws], axis=a), shape)


def stack(arrays: Any, /, *, axis: int = 0) -> Any:
    return concat([expand_dims(x, axis) for x in arrays], axis=axis)


def unstack(x: Any, /, *, axis: int = 0) -> tuple[Any, ...]:
    x = as_traced(x)
    (a,) = axes_of(axis, x.ndim)
    count = operator.index(x.shape[a])
    return tuple(x[(*(slice(None),) * a, i)] for i in range(count))


# ---------------------------------------------------------------------------------------------------------- reductions


def _over(function: Callable[..., spox.Var], x: Any, axis: Any, keepdims: Any) -> Any:
    """A reduction operator over axes."""
    axes = axes_of(axis, x.ndim)
    if not axes:
        return x
    return Traced(
        function(x.var, constant(axes, WHOLE), keepdims=bool(keepdims)), reduced(x.shape, axes, bool(keepdims))
    )


def sum_dtype(x: Any, dtype: Any) -> Any:
    if dtype is not None:
        return np.dtype(dtype)
    return x.dtype if x.dtype.kind == "f" else np.dtype(np.uint64) if x.dtype.kind == "u" else WHOLE


def _accumulated(function: Callable[..., spox.Var]) -> Callable[..., Any]:
    def kernel(x: Any, /, *, axis: Any = None, dtype: Any = None, keepdims: Any = False) -> Any:
        x = as_traced(x)
        dtype = sum_dtype(x, dtype)
        wide = cast(x, dtype if dtype.kind == "f" else WHOLE)
        return cast(_over(function, wide, axis, keepdims), dtype)

    return kernel


sum = _accumulated(onnx.reduce_sum)
product_of = _accumulated(onnx.reduce_prod)


def _extreme(name: str) -> Callable[..., Any]:
    function = getattr(onnx, f"reduce_{name}")

    def kernel(x: Any, /, *, axis: Any = None, keepdims: Any = False) -> Any:
        x = as_traced(x)
        if any(x.shape[a] == 0 for a in axes_of(axis, x.ndim)):
            raise ValueError(f"{name} of nothing: shape {x.shape} has no elements along axis {axis}")
        found = _over(function, x if x.dtype.kind == "f" else cast(x, WHOLE), axis, keepdims)
        if x.dtype.kind != "f" or found.var is x.var:
            return cast(found, x.dtype)
        holds_nan = _over(onnx.reduce_max, Traced(onnx.isnan(x.var), x.shape), axis, keepdims)
        return where(holds_nan, np.nan, found)      # the operator ignores nan

    return kernel


def mean(x: Any, /, *, axis: Any = None, keepdims: Any = False) -> Any:
    return _over(onnx.reduce_mean, as_traced(x), axis, keepdims)


def var(x: Any, /, *, axis: Any = None, correction: Any = 0.0, keepdims: Any = False) -> Any:
    x = as_traced(x)
    deviation = x - mean(x, axis=axis, keepdims=True)
    freedom = prod(x.shape[a] for a in axes_of(axis, x.ndim)) - correction
    if isinstance(freedom, Symbol):
        freedom = larger(freedom, 0)
    else:
        freedom = traced.ELEMENTWISE["maximum"](as_traced(freedom), 0)
    return sum(deviation * deviation, axis=axis, keepdims=keepdims) / freedom


def std(x: Any, /, *, axis: Any = None, correction: Any = 0.0, keepdims: Any = False) -> Any:
    return traced.ELEMENTWISE["sqrt"](var(x, axis=axis, correction=correction, keepdims=keepdims))


def _truth(function: Callable[..., spox.Var]) -> Callable[..., Any]:
    def kernel(x: Any, /, *, axis: Any = None, keepdims: Any = False) -> Any:
        bits = cast(cast(as_traced(x), TRUTH), np.dtype(np.int32))
        return cast(_over(function, bits, axis, keepdims) > 0, TRUTH)

    return kernel


def count_nonzero(x: Any, /, *, axis: Any = None, keepdims: Any = False) -> Any:
    return sum(cast(as_traced(x), TRUTH), axis=axis, keepdims=keepdims)


def _place_of(function: Callable[..., spox.Var]) -> Callable[..., Any]:
    def kernel(x: Any, /, *, axis: Any = None, keepdims: Any = False) -> Any:
        x = as_traced(x)
        shape = reduced(x.shape, axis, bool(keepdims))
        if axis is None:
            x, axis = reshape(x, (-1,)), 0
        x = x if x.dtype.kind == "f" else cast(x, WHOLE)
        (a,) = axes_of(axis, x.ndim)
        return reshape(Traced(function(x.var, axis=a, keepdims=False), reduced(x.shape, a, False)), shape)

    return kernel


# -------------------------------------------------------------------------------------------------------- along an axis


def cumulative_sum(
    x: Any, /, *, axis: Any = None, dtype: Any = None, include_initial: bool = False
) -> Any:
    x = as_traced(x)
    dtype = sum_dtype(x, dtype)
    (a,) = axes_of(axis, x.ndim)
    wide = cast(x, dtype if dtype.kind == "f" else WHOLE)
    total = cast(Traced(onnx.cumsum(wide.var, constant(a, WHOLE)), x.shape), dtype)
    if not include_initial:
        return total
    return concat([zeros((*x.shape[:a], 1, *x.shape[a + 1 :]), dtype=dtype), total], axis=a)


def sorting(x: Any, axis: int, descending: bool) -> tuple[Any, Any]:
    """Sorted values and their places; equal elements keep their order."""
    x = as_traced(x)
    (a,) = axes_of(axis, x.ndim)
    wide = x if x.dtype.kind == "f" else cast(x, WHOLE)
    values, places = onnx.top_k(wide.var, vector([x.shape[a]]), axis=a, largest=descending)
    return cast(Traced(values, x.shape), x.dtype), Traced(places, x.shape)


def sort(x: Any, /, *, axis: int = -1, descending: bool = False, stable: bool = True) -> Any:
    return sorting(x, axis, descending)[0]


def argsort(x: Any, /, *, axis: int = -1, descending: bool = False, stable: bool = True) -> Any:
    return sorting(x, axis, descending)[1]


def searchsorted(x1: Any, x2: Any, /, *, side: str = "left", sorter: Any = None) -> Any:
    x1, x2 = as_traced(x1), as_traced(x2)
    if sorter is not None:
        x1 = Traced(onnx.gather(x1.var, as_traced(sorter, WHOLE).var, axis=0), x1.shape)
    below = x1 < expand_dims(x2, -1) if side == "left" else x1 <= expand_dims(x2, -1)
    return sum(below, axis=-1)


def diff(x: Any, /, *, axis: int = -1, n: int = 1, prepend: Any = None, append: Any = None) -> Any:
    x = as_traced(x)
    (a,) = axes_of(axis, x.ndim)
    if not n:
        return x
    ends = [None if end is None else as_traced(end) for end in (prepend, append)]
    single = (*x.shape[:a], 1, *x.shape[a + 1 :])
    parts = [ends[0], x, ends[1]]
    parts = [part if part is None or part.ndim else broadcast_to(part, single) for part in parts]
    x = concat([part for part in parts if part is not None], axis=a)
    for _ in range(n):
        lead = (slice(None),) * a
        x = x[(*lead, slice(1, None), ...)] - x[(*lead, slice(None, -1), ...)]
    return x


# ------------------------------------------------------------------------------------------------------------ products


def matmul(x1: Any, x2: Any, /) -> Any:
    """Vectors as matrices: ONNX Runtime's optimizer computes transpose(a) @ vector wrongly."""
    one, other = as_traced(x1), as_traced(x2)
    shape, dtype = symbolic.product(one.shape, other.shape), traced.common_dtype([one, other])
    rows = one if one.ndim > 1 else expand_dims(one, 0)
    columns = other if other.ndim > 1 else expand_dims(other, -1)
    wide = dtype if dtype.kind == "f" else WHOLE
    var = onnx.matmul(cast_var(rows.var, wide), cast_var(columns.var, wide))
    single = [-2] * (one.ndim == 1) + [-1] * (other.ndim == 1)
    return cast(Traced(onnx.squeeze(var, constant(single, WHOLE)) if single else var, shape), dtype)


def tensordot(x1: Any, x2: Any, /, *, axes: Any = 2) -> Any:
    one, other = as_traced(x1), as_traced(x2)
    if isinstance(axes, int):
        axes = range(one.ndim - axes, one.ndim), range(axes)
    over1, over2 = axes_of(tuple(axes[0]), one.ndim), axes_of(tuple(axes[1]), other.ndim)
    for a, b in zip(over1, over2, strict=True):
        if not same(one.shape[a], other.shape[b], "the lengths that tensordot sums over,"):
            raise ValueError(f"shapes {one.shape} and {other.shape} do not fit along axes {over1} and {over2}")
    free1 = tuple(a for a in range(one.ndim) if a not in over1)
    free2 = tuple(b for b in range(other.ndim) if b not in over2)
    rows, columns = tuple(one.shape[a] for a in free1), tuple(other.shape[b] for b in free2)
    inner = prod(one.shape[a] for a in over1)
    left = reshape(permute_dims(one, free1 + over1), (prod(rows), inner))
    right = reshape(permute_dims(other, over2 + free2), (inner, prod(columns)))
    return reshape(matmul(left, right), rows + columns)


def vecdot(x1: Any, x2: Any, /, *, axis: int = -1) -> Any:
    one, other = as_traced(x1), as_traced(x2)
    if not same(one.shape[axis], other.shape[axis], "the lengths that vecdot sums over,"):
        raise ValueError(f"shapes {one.shape} and {other.shape} do not fit along axis {axis}")
    both = one * other
    return sum(both, axis=axis, dtype=both.dtype)


setattr(Traced, "__matmul__", traced.method_of(matmul))  # noqa: B010
setattr(Traced, "__rmatmul__", traced.method_of(matmul, swapped=True))  # noqa: B010


def isin(x1: Any, x2: Any, /, *, invert: bool = False) -> Any:
    found = FUNCTIONS["any"](expand_dims(as_traced(x1), -1) == reshape(x2, (-1,)), axis=-1)
    return traced.ELEMENTWISE["logical_not"](found) if invert else found


# ------------------------------------------------------------------------------------------------------------ the table

FUNCTIONS: dict[str, Callable[..., Any]] = traced.ELEMENTWISE | {
    function.__name__: function for function in (
        arange, argsort, asarray, astype, broadcast_arrays, broadcast_to, can_cast, clip, concat, conj, count_nonzero,
        cumulative_sum, diff, expand_dims, eye, finfo, flip, full, full_like, iinfo, isdtype, isin, linspace, matmul,
        matrix_transpose, mean, meshgrid, moveaxis, ones, ones_like, permute_dims, repeat, reshape, result_type, roll,
        searchsorted, sort, squeeze, stack, std, tensordot, tile, unstack, var, vecdot, where, zeros, zeros_like,
    )
} | {
    "all": _truth(onnx.reduce_min), "any": _truth(onnx.reduce_max), "argmax": _place_of(onnx.arg_max),
    "argmin": _place_of(onnx.arg_min), "empty": zeros, "empty_like": zeros_like, "max": _extreme("max"),
    "min": _extreme("min"), "prod": product_of, "real": conj, "sum": sum, "tril": triangle(False),
    "triu": triangle(True),
}
