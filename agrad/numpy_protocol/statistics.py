"""NumPy's reductions, running sums and statistics, with and without NaN. Must know no backend and no rule."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from agrad.creation import call
from agrad.cython_core.engine import Tensor
from agrad.numpy_protocol.manipulation import all_arrays
from agrad.numpy_protocol.places import along
from agrad.numpy_protocol.table import array, axes_of, handles, lift, missing, one_to_one

one_to_one("""
    cumulative_sum  cumulative_sum(x; axis, dtype, include_initial)
    cumulative_prod  cumulative_prod(x; axis, dtype, include_initial)
""")


# ---------------------------------------------------------------------------------------------------------- reductions


def reduction(op: str, combine: str, identity: Any) -> Callable[..., Any]:
    """sum, prod, max, min: with `initial=`, `where=` and, for the first two, `dtype=`."""
    def function(
        a: Tensor, axis: Any = None, dtype: Any = None, keepdims: bool = False, initial: Any = None, where: Any = True
    ) -> Tensor:
        if where is not True:
            filling = identity if identity is not None else initial
            if filling is None:
                raise ValueError(f"reduction operation '{op}' does not have an identity, so to use a where mask one "
                                 "has to specify 'initial'")
            a = call("where", where, a, array(filling, a))
        options = {} if dtype is None else {"dtype": dtype}
        result = call(op, a, axis=axis, keepdims=keepdims, **options)
        return result if initial is None else call(combine, result, initial)

    return function


for _name, _op, _combine, _identity in (
    ("sum", "sum", "add", 0), ("prod", "prod", "multiply", 1), ("max amax", "max", "maximum", None),
    ("min amin", "min", "minimum", None),
):
    handles(_name, "a where", op=_op)(reduction(_op, _combine, _identity))


def truth(op: str) -> Callable[..., Any]:
    """any and all."""
    def function(a: Tensor, axis: Any = None, keepdims: bool = False, where: Any = True) -> Tensor:
        if where is not True:
            a = call("where", where, a, array(op == "all", a))
        return call(op, a, axis=axis, keepdims=keepdims)

    return function


for _name in ("any", "all"):
    handles(_name, "a where", op=_name, flat=True)(truth(_name))


@handles("mean", "a where", op="mean")
def mean(a: Tensor, axis: Any = None, dtype: Any = None, keepdims: bool = False, where: Any = True) -> Tensor:
    a = floating(a if dtype is None else a.to(dtype=dtype))
    if where is True:
        return call("mean", a, axis=axis, keepdims=keepdims)
    return chosen_mean(a, mask(where, a), axis, keepdims)


def mask(where: Any, a: Tensor) -> Tensor:
    """The argument `where` in the shape of an array."""
    return call("broadcast_to", where if isinstance(where, Tensor) else lift(np.asarray(where), a), a.shape)


def floating(a: Tensor) -> Tensor:
    """Integers and booleans as the default real dtype."""
    return a if a.dtype.kind in ("real", "complex") else a.to(dtype="float64")


def chosen_mean(a: Tensor, where: Tensor, axis: Any, keepdims: bool) -> Tensor:
    """The mean of the elements where a mask is true."""
    count = call("sum", where.to(dtype=a.dtype), axis=axis, keepdims=keepdims)
    return call("sum", call("where", where, a, 0.0), axis=axis, keepdims=keepdims) / count


def spread(root: bool) -> Callable[..., Any]:
    """std (the root) and var."""
    def function(
        a: Tensor, axis: Any = None, dtype: Any = None, ddof: Any = 0, keepdims: bool = False, where: Any = True,
        correction: Any = None,
    ) -> Tensor:
        a = floating(a if dtype is None else a.to(dtype=dtype))
        correction = ddof if correction is None else correction
        if where is True and a.dtype.kind != "complex":
            return call("std" if root else "var", a, axis=axis, correction=correction, keepdims=keepdims)
        found = chosen_variance(a, mask(where, a), axis, keepdims, correction)
        return call("sqrt", found) if root else found

    return function


def chosen_variance(a: Tensor, where: Any, axis: Any, keepdims: bool, correction: Any) -> Tensor:
    """The variance of the elements where a mask is true."""
    deviation = call("where", where, a - chosen_mean(a, where, axis, True), 0.0)
    squares = call("real", deviation * call("conj", deviation))
    count = call("sum", where.to(dtype=squares.dtype), axis=axis, keepdims=keepdims)
    divisor = call("maximum", count - correction, 0.0)
    return call("sum", squares, axis=axis, keepdims=keepdims) / divisor


handles("std", "a where", op="std")(spread(True))
handles("var", "a where", op="var")(spread(False))


@handles("ptp")
def ptp(a: Tensor, axis: Any = None, keepdims: bool = False) -> Tensor:
    return call("max", a, axis=axis, keepdims=keepdims) - call("min", a, axis=axis, keepdims=keepdims)


@handles("average", "a weights")
def average(a: Any, axis: Any = None, weights: Any = None, returned: bool = False, keepdims: bool = False) -> Any:
    if weights is None:
        result = mean(a, axis, keepdims=keepdims)
        total = call("full_like", result, a.size / max(result.size, 1))
        return (result, total) if returned else result
    a, weights = all_arrays([a, weights])
    if weights.shape != a.shape:
        if axis is None:
            raise TypeError("Axis must be specified when shapes of a and weights differ.")
        own = axes_of(axis, a.ndim)
        if weights.shape != tuple(a.shape[i] for i in own):
            raise ValueError("Shape of weights must be consistent with shape of a along specified axis.")
        weights = call("permute_dims", weights, tuple(sorted(range(len(own)), key=own.__getitem__)))
        weights = call("reshape", weights, tuple(n if i in own else 1 for i, n in enumerate(a.shape)))
    weights = call("broadcast_to", weights, a.shape)
    total = call("sum", weights, axis=axis, keepdims=keepdims)
    result = call("sum", floating(a) * weights, axis=axis, keepdims=keepdims) / total
    return (result, total) if returned else result


def running(op: str, identity: Any) -> Callable[..., Any]:
    """cumsum and cumprod; with an identity, NaN counts as that."""
    def function(a: Tensor, axis: int | None = None, dtype: Any = None) -> Tensor:
        a, axis = along(a if identity is None else without_nan(a, identity), axis)
        return call(op, a, axis=axis, dtype=dtype)

    return function


for _name, _op, _identity in (
    ("cumsum", "cumulative_sum", None), ("cumprod", "cumulative_prod", None),
    ("nancumsum", "cumulative_sum", 0), ("nancumprod", "cumulative_prod", 1),
):
    handles(_name, op=None if _identity is not None else _op)(running(_op, _identity))


# -------------------------------------------------------------------------------------------------------- without NaN


def without_nan(a: Tensor, filling: Any) -> Tensor:
    """a with a number in place of NaN."""
    return call("where", call("isnan", a), filling, a) if a.dtype.kind in ("real", "complex") else a


def numbers_of(a: Tensor, where: Any) -> Tensor:
    """Where there is a number that takes part."""
    valid = call("logical_not", call("isnan", a))
    return valid if where is True else call("logical_and", valid, where)


def nan_reduction(name: str, filling: Any) -> Callable[..., Any]:
    """nansum and nanprod."""
    def function(
        a: Tensor, axis: Any = None, dtype: Any = None, keepdims: bool = False, initial: Any = None, where: Any = True
    ) -> Tensor:
        op, combine = ("sum", "add") if name == "nansum" else ("prod", "multiply")
        return reduction(op, combine, filling)(  # type: ignore[no-any-return]
            without_nan(a, filling), axis, dtype, keepdims, initial, where
        )

    return function


handles("nansum", "a where")(nan_reduction("nansum", 0))
handles("nanprod", "a where")(nan_reduction("nanprod", 1))


def nan_extremum(op: str, filling: float) -> Callable[..., Any]:
    """nanmax and nanmin; NaN where there is no number at all."""
    def function(
        a: Tensor, axis: Any = None, keepdims: bool = False, initial: Any = None, where: Any = True
    ) -> Tensor:
        if a.dtype.kind != "real":
            return reduction(op, f"{op}imum", None)(a, axis, None, keepdims, initial, where)  # type: ignore[no-any-return]
        valid = numbers_of(a, where)
        result = call(op, call("where", valid, a, filling), axis=axis, keepdims=keepdims)
        if initial is not None:
            return call(f"{op}imum", result, initial)
        return call("where", call("any", valid, axis=axis, keepdims=keepdims), result, math.nan)

    return function


handles("nanmax", "a where")(nan_extremum("max", -math.inf))
handles("nanmin", "a where")(nan_extremum("min", math.inf))


def nan_place(op: str, filling: float) -> Callable[..., Any]:
    """nanargmax and nanargmin."""
    def function(a: Tensor, axis: int | None = None, keepdims: bool = False) -> Tensor:
        missing_everywhere = call("all", call("isnan", a), axis=axis)
        if bool(call("any", missing_everywhere)):
            raise ValueError("All-NaN slice encountered")
        return call(op, without_nan(a, filling), axis=axis, keepdims=keepdims)

    return function


handles("nanargmax", flat=True)(nan_place("argmax", -math.inf))
handles("nanargmin", flat=True)(nan_place("argmin", math.inf))


@handles("nanmean", "a where")
def nanmean(a: Tensor, axis: Any = None, dtype: Any = None, keepdims: bool = False, where: Any = True) -> Tensor:
    a = floating(a if dtype is None else a.to(dtype=dtype))
    return chosen_mean(a, numbers_of(a, where), axis, keepdims)


def nan_spread(root: bool) -> Callable[..., Any]:
    """nanstd (the root) and nanvar."""
    def function(
        a: Tensor, axis: Any = None, dtype: Any = None, ddof: Any = 0, keepdims: bool = False, where: Any = True,
        correction: Any = None,
    ) -> Tensor:
        a = floating(a if dtype is None else a.to(dtype=dtype))
        valid = numbers_of(a, where)
        correction = ddof if correction is None else correction
        found = chosen_variance(a, valid, axis, keepdims, correction)
        enough = call("sum", valid.to(dtype=found.dtype), axis=axis, keepdims=keepdims) > correction
        found = call("where", enough, found, math.nan)
        return call("sqrt", found) if root else found

    return function


handles("nanstd", "a where")(nan_spread(True))
handles("nanvar", "a where")(nan_spread(False))


# ----------------------------------------------------------------------------------------------------------- quantiles

# method -> (alpha, beta) of Hyndman and Fan's continuous estimators (The American Statistician 50, 1996).
ESTIMATORS = {
    "linear": (1.0, 1.0), "interpolated_inverted_cdf": (0.0, 1.0), "hazen": (0.5, 0.5), "weibull": (0.0, 0.0),
    "median_unbiased": (1 / 3, 1 / 3), "normal_unbiased": (3 / 8, 3 / 8),
}
ROUNDED: dict[str, Callable[[Any], Any]] = {
    "lower": np.floor, "higher": np.ceil, "nearest": np.rint, "midpoint": lambda at: (np.floor(at) + np.ceil(at)) / 2,
}


def quantile_along_last(rows: Tensor, q: float, method: str, skipping_nan: bool) -> Tensor:
    """One quantile of each row; rows are sorted, NaN last."""
    n = rows.shape[-1]
    if skipping_nan:
        counts = rows.backend_.to_numpy(call("sum", call("logical_not", call("isnan", rows)), axis=-1).array)
    else:
        counts = np.asarray(n)
    if method in ROUNDED:
        place = ROUNDED[method](q * (counts - 1))
    else:
        alpha, beta = ESTIMATORS[method]
        place = counts * q + alpha + q * (1 - alpha - beta) - 1
    place = np.clip(place, 0, np.maximum(counts - 1, 0))
    below = np.floor(place).astype(np.int64)
    above = np.minimum(below + 1, np.maximum(counts - 1, 0))
    low, high = (at_places(rows, p) for p in (below, above))
    share = lift(np.asarray(place - below, dtype=np.float64), rows).to(dtype=rows.dtype)
    if not bool(np.any(place != below)):
        return low
    return call("where", share == 0, low, low + (high - low) * share)


def at_places(rows: Tensor, places: Any) -> Tensor:
    """The element of each row at a place; one place for all rows, or one for each."""
    if places.ndim == 0:
        return rows[..., int(places)]
    return call("squeeze", call("take_along_axis", rows, lift(places[..., None], rows), axis=-1), -1)


def quantiles(
    a: Tensor, q: Any, axis: Any, method: str, keepdims: bool, skipping_nan: bool, name: str
) -> Tensor:
    """quantile, nanquantile and what is made of them."""
    if isinstance(q, Tensor) and q.requires_grad:
        raise missing(name, "the place of a quantile has no gradient")
    if method not in ESTIMATORS and method not in ROUNDED:
        raise missing(name, f"method={method!r} is not supported on agrad Tensors")
    wanted = np.asarray(q.numpy() if isinstance(q, Tensor) else q, dtype=np.float64)
    if wanted.size and not (wanted.min() >= 0 and wanted.max() <= 1):
        raise ValueError("Quantiles must be in the range [0, 1]")
    a, axes = floating(a), axes_of(axis, a.ndim)
    kept = tuple(i for i in range(a.ndim) if i not in axes)
    rows = call("reshape", call("permute_dims", a, (*kept, *axes)), (*(a.shape[i] for i in kept), -1))
    rows = call("sort", rows, axis=-1)
    found = [quantile_along_last(rows, float(one), method, skipping_nan) for one in wanted.ravel()]
    if not skipping_nan:
        last = rows[..., -1]        # NaN, if the row has one
        found = [call("where", call("isnan", last), last, one) for one in found]
    if keepdims:
        found = [call("reshape", one, tuple(1 if i in axes else n for i, n in enumerate(a.shape))) for one in found]
    return found[0] if wanted.ndim == 0 else call("reshape", call("stack", found), (*wanted.shape, *found[0].shape))


@handles("quantile")
def quantile(a: Tensor, q: Any, axis: Any = None, method: str = "linear", keepdims: bool = False) -> Tensor:
    return quantiles(a, q, axis, method, keepdims, False, "quantile")


@handles("percentile")
def percentile(a: Tensor, q: Any, axis: Any = None, method: str = "linear", keepdims: bool = False) -> Tensor:
    return quantiles(a, percent(q), axis, method, keepdims, False, "percentile")


@handles("nanquantile")
def nanquantile(a: Tensor, q: Any, axis: Any = None, method: str = "linear", keepdims: bool = False) -> Tensor:
    return quantiles(a, q, axis, method, keepdims, True, "nanquantile")


@handles("nanpercentile")
def nanpercentile(a: Tensor, q: Any, axis: Any = None, method: str = "linear", keepdims: bool = False) -> Tensor:
    return quantiles(a, percent(q), axis, method, keepdims, True, "nanpercentile")


def percent(q: Any) -> Any:
    return q / 100 if isinstance(q, Tensor) else np.true_divide(q, 100)


@handles("median")
def median(a: Tensor, axis: Any = None, keepdims: bool = False) -> Tensor:
    return quantiles(a, 0.5, axis, "linear", keepdims, False, "median")


@handles("nanmedian")
def nanmedian(a: Tensor, axis: Any = None, keepdims: bool = False) -> Tensor:
    return quantiles(a, 0.5, axis, "linear", keepdims, True, "nanmedian")


# --------------------------------------------------------------------------------------------------------- correlation


@handles("cov", "m y aweights fweights")
def cov(
    m: Any, y: Any = None, rowvar: bool = True, bias: bool = False, ddof: Any = None, fweights: Any = None,
    aweights: Any = None, dtype: Any = None,
) -> Tensor:
    given = [x for x in (m, y) if x is not None]
    like = next(x for x in (*given, fweights, aweights) if isinstance(x, Tensor))
    rows = [as_rows(floating(array(x, like)), rowvar) for x in given]
    x = rows[0] if len(rows) == 1 else call("concat", rows)
    x = x if dtype is None else x.to(dtype=dtype)
    weights = None
    for w in (fweights, aweights):
        if w is not None:
            weights = array(w, like) * 1.0 if weights is None else weights * w
    ddof = (0 if bias else 1) if ddof is None else ddof
    if weights is None:
        center, factor = call("mean", x, axis=1, keepdims=True), x.shape[1] - ddof
    else:
        total = call("sum", weights)
        center = call("sum", x * weights, axis=1, keepdims=True) / total
        correction = ddof if aweights is None else ddof * call("sum", weights * aweights) / total
        factor = total - correction
    deviation = x - center
    weighted = deviation if weights is None else deviation * weights
    return squeezed(call("matmul", deviation, call("matrix_transpose", call("conj", weighted))) / factor)


def as_rows(x: Tensor, rowvar: bool) -> Tensor:
    x = call("reshape", x, (1, -1)) if x.ndim < 2 else x
    return x if rowvar or x.shape[0] == 1 else call("matrix_transpose", x)


def squeezed(x: Tensor) -> Tensor:
    """A matrix of one element as that element."""
    return call("reshape", x, ()) if x.shape == (1, 1) else x


@handles("corrcoef", "x y")
def corrcoef(x: Any, y: Any = None, rowvar: bool = True, dtype: Any = None) -> Tensor:
    c = cov(x, y, rowvar, dtype=dtype)
    if c.ndim == 0:
        return c / c
    deviation = call("sqrt", call("real", call("linalg.diagonal", c)))
    scaled = c / deviation[:, None] / deviation[None, :]
    return scaled if scaled.dtype.kind == "complex" else call("clip", scaled, -1.0, 1.0)
