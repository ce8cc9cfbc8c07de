"""NumPy's functions that choose elements, sort and search them, or write some of them.

Must know no backend and no rule.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from agrad.creation import call
from agrad.cython_core.engine import Tensor
from agrad.numpy_protocol.manipulation import all_arrays
from agrad.numpy_protocol.table import array, handles, lift, missing, one_to_one, space

one_to_one("""
    argmax  argmax(a; axis, keepdims)
    argmin  argmin(a; axis, keepdims)
    count_nonzero  count_nonzero(a; axis, keepdims)
    nonzero  nonzero(a)
""", flat=True)
one_to_one("""
    unique_all  unique_all(x)
    unique_counts  unique_counts(x)
    unique_inverse  unique_inverse(x)
    unique_values  unique_values(x)
""")


def along(x: Tensor, axis: int | None) -> tuple[Tensor, int]:
    """The array and axis to work along; without an axis, all elements in a row."""
    return (call("reshape", x, (-1,)), 0) if axis is None else (x, axis)


# ----------------------------------------------------------------------------------------------------------- choosing


@handles("where", "condition x y", op="where")
def where(condition: Any, x: Any = None, y: Any = None) -> Any:
    if x is None and y is None:
        return call("nonzero", condition)
    condition = all_arrays([condition, x, y])[0] if not isinstance(condition, Tensor) else condition
    return call("where", condition if condition.dtype.kind == "bool" else condition != 0, x, y)


@handles("select", "condlist* choicelist*")
def select(condlist: Sequence[Any], choicelist: Sequence[Any], default: Any = 0) -> Tensor:
    like = next(x for x in (*condlist, *choicelist) if isinstance(x, Tensor))
    result = array(default, like)
    for condition, choice in zip(condlist[::-1], choicelist[::-1], strict=True):
        result = call("where", array(condition, like), array(choice, like), result)
    return result


@handles("choose", "a choices*")
def choose(a: Any, choices: Sequence[Any]) -> Tensor:
    a, *options = all_arrays([a, *choices])
    result = call("broadcast_arrays", options[0], a)[0]
    for i, option in enumerate(options[1:], 1):
        result = call("where", a == i, option, result)
    return result


@handles("piecewise", "x")
def piecewise(x: Tensor, condlist: Any, funclist: Sequence[Any], *args: Any, **kw: Any) -> Tensor:
    single = np.ndim(condlist) == 0 or (not isinstance(condlist[0], (list, np.ndarray, Tensor)) and x.ndim != 0)
    conditions = [array(c, x) for c in ([condlist] if single else condlist)]
    if len(funclist) == len(conditions) + 1:
        rest = call("logical_not", conditions[0])
        for condition in conditions[1:]:
            rest = call("logical_and", rest, call("logical_not", condition))
        conditions.append(rest)
    if len(funclist) != len(conditions):
        raise ValueError(f"with {len(conditions)} condition(s), either {len(conditions)} or {len(conditions) + 1} "
                         "functions are expected")
    result = call("zeros_like", x)
    for condition, function in zip(conditions, funclist, strict=True):
        result[condition] = function(x[condition], *args, **kw) if callable(function) else function
    return result


@handles("extract", "condition arr")
def extract(condition: Any, arr: Any) -> Tensor:
    condition, arr = all_arrays([condition, arr])
    return call("reshape", arr, (-1,))[call("reshape", condition, (-1,)) != 0]


@handles("compress", "condition a")
def compress(condition: Any, a: Any, axis: int | None = None) -> Tensor:
    condition, a = all_arrays([condition, a])
    a, axis = along(a, axis)
    return call("take", a, call("nonzero", condition)[0], axis=axis)


@handles("take", op="take")
def take(a: Tensor, indices: Any, axis: int | None = None) -> Tensor:
    a, axis = along(a, axis)
    indices = indices if isinstance(indices, Tensor) else lift(np.asarray(indices), a)
    if indices.ndim == 1:
        return call("take", a, indices, axis=axis)
    axis %= a.ndim
    taken = call("take", a, call("reshape", indices, (-1,)), axis=axis)
    return call("reshape", taken, (*a.shape[:axis], *indices.shape, *a.shape[axis + 1 :]))


@handles("take_along_axis", "arr indices", op="take_along_axis")
def take_along_axis(arr: Any, indices: Any, axis: int | None = -1) -> Tensor:
    arr, indices = all_arrays([arr, indices])
    arr, axis = along(arr, axis)
    return call("take_along_axis", arr, indices, axis=axis)


@handles("argwhere", flat=True)
def argwhere(a: Tensor) -> Tensor:
    return call("stack", call("nonzero", a), axis=-1)


@handles("flatnonzero", flat=True)
def flatnonzero(a: Tensor) -> Tensor:
    return call("nonzero", call("reshape", a, (-1,)))[0]


@handles("trim_zeros", "filt")
def trim_zeros(filt: Tensor, trim: str = "fb") -> Tensor:
    places = call("nonzero", filt)[0].tolist() or [filt.shape[0], -1]
    start = places[0] if "f" in trim.lower() else 0
    return filt[start : places[-1] + 1 if "b" in trim.lower() else None]


# ------------------------------------------------------------------------------------------------------------- sorting


@handles("sort", op="sort")
def sort(a: Tensor, axis: int | None = -1, stable: bool | None = None) -> Tensor:
    a, axis = along(a, axis)
    return call("sort", a, axis=axis)


@handles("argsort", op="argsort", flat=True)
def argsort(a: Tensor, axis: int | None = -1, stable: bool | None = None) -> Tensor:
    a, axis = along(a, axis)
    return call("argsort", a, axis=axis)


@handles("partition")
def partition(a: Tensor, kth: Any, axis: int | None = -1) -> Tensor:
    return sort(a, axis)    # a sorted array is partitioned at every element


@handles("argpartition", flat=True)
def argpartition(a: Tensor, kth: Any, axis: int | None = -1) -> Tensor:
    return argsort(a, axis)


@handles("lexsort", "keys*", flat=True)
def lexsort(keys: Sequence[Any], axis: int = -1) -> Tensor:
    columns = all_arrays(keys)
    order = call("argsort", columns[0], axis=axis)
    for key in columns[1:]:
        again = call("argsort", call("take_along_axis", key, order, axis=axis), axis=axis)
        order = call("take_along_axis", order, again, axis=axis)
    return order


@handles("searchsorted", "a v sorter", op="searchsorted", flat=True)
def searchsorted(a: Any, v: Any, side: str = "left", sorter: Any = None) -> Tensor:
    a, v = all_arrays([a, v])
    return call("searchsorted", a, v, side=side, sorter=sorter)


@handles("digitize", "x bins", flat=True)
def digitize(x: Any, bins: Any, right: bool = False) -> Tensor:
    x, bins = all_arrays([x, bins])
    if bool(bins[0] > bins[-1]):
        found = call("searchsorted", call("flip", bins), x, side="left" if right else "right")
        return call("subtract", bins.shape[0], found)
    return call("searchsorted", bins, x, side="left" if right else "right")


@handles("bincount", "x weights")
def bincount(x: Any, weights: Any = None, minlength: int = 0) -> Tensor:
    x = x if isinstance(x, Tensor) else array(x, weights)
    size = max(int(call("max", x)) + 1 if x.size else 0, minlength)
    ones = space(x).ones(x.shape, dtype="int64") if weights is None else array(weights, x)
    return call("scatter_add", space(ones).zeros(size, dtype=ones.dtype), x, ones)


# ---------------------------------------------------------------------------------------------------------------- sets


@handles("unique", "ar")
def unique(
    ar: Tensor, return_index: bool = False, return_inverse: bool = False, return_counts: bool = False,
    equal_nan: bool = True, sorted: bool = True,
) -> Any:
    flat = call("reshape", ar, (-1,))
    order = call("argsort", flat)
    ranked = call("take", flat, order)
    first = first_of_each(ranked, equal_nan)
    starts = call("nonzero", first)[0]
    found = [call("take", ranked, starts)]
    if return_index:
        found.append(call("take", order, starts))
    if return_inverse:
        group = call("cumulative_sum", first.to(dtype="int64")) - 1
        found.append(call("reshape", call("take", group, call("argsort", order)), ar.shape))
    if return_counts:
        found.append(call("diff", starts, append=lift(np.array([flat.shape[0]]), starts)))
    return found[0] if len(found) == 1 else tuple(found)


def first_of_each(ranked: Tensor, equal_nan: bool = True) -> Tensor:
    """Where an element of a sorted vector differs from the one before."""
    before, after = ranked[:-1], ranked[1:]
    differs = before != after
    if equal_nan and ranked.dtype.kind in ("real", "complex"):
        both = call("logical_and", call("isnan", before), call("isnan", after))
        differs = call("logical_and", differs, call("logical_not", both))
    return call("concat", [lift(np.ones(min(ranked.shape[0], 1), dtype=bool), ranked), differs])


@handles("isin", "element test_elements", op="isin", flat=True)
def isin(element: Any, test_elements: Any, assume_unique: bool = False, invert: bool = False) -> Tensor:
    return call("isin", *all_arrays([element, test_elements]), invert=invert)


@handles("union1d", "ar1 ar2")
def union1d(ar1: Any, ar2: Any) -> Tensor:
    return unique(call("concat", [call("reshape", x, (-1,)) for x in all_arrays([ar1, ar2])]))  # type: ignore[no-any-return]


@handles("intersect1d", "ar1 ar2")
def intersect1d(ar1: Any, ar2: Any, assume_unique: bool = False) -> Tensor:
    first, second = all_arrays([ar1, ar2])
    values = unique(first)
    return values[call("isin", values, second)]  # type: ignore[no-any-return]


@handles("setdiff1d", "ar1 ar2")
def setdiff1d(ar1: Any, ar2: Any, assume_unique: bool = False) -> Tensor:
    first, second = all_arrays([ar1, ar2])
    values = call("reshape", first, (-1,)) if assume_unique else unique(first)
    return values[call("isin", values, second, invert=True)]


@handles("setxor1d", "ar1 ar2")
def setxor1d(ar1: Any, ar2: Any, assume_unique: bool = False) -> Tensor:
    return union1d(setdiff1d(ar1, ar2), setdiff1d(ar2, ar1))


# -------------------------------------------------------------------------------------------------------------- writes


def written(name: str, target: Any) -> Tensor:
    """The array that is written to, if it can hold a history."""
    if not isinstance(target, Tensor):
        raise missing(name, "a Tensor cannot be written into a NumPy array")
    return target


@handles("copyto", "src where")
def copyto(dst: Any, src: Any, where: Any = True) -> None:
    dst = written("copyto", dst)
    dst[...] = src if where is True else call("where", where, src, dst)


@handles("putmask", "mask values")
def putmask(a: Any, mask: Any, values: Any) -> None:
    a = written("putmask", a)
    values = call("reshape", array(values, a), (-1,))
    repeated = call("tile", values, (-(-a.size // values.size),))[: a.size]
    a[...] = call("where", mask, call("reshape", repeated, a.shape), a)


@handles("put_along_axis", "indices values")
def put_along_axis(arr: Any, indices: Any, values: Any, axis: int) -> None:
    arr = written("put_along_axis", arr)
    indices = array(indices, arr)
    own = axis % arr.ndim
    arr[tuple(
        indices if a == own else np.arange(n).reshape([-1 if b == a else 1 for b in range(arr.ndim)])
        for a, n in enumerate(arr.shape)
    )] = values


@handles("fill_diagonal", "val")
def fill_diagonal(a: Any, val: Any) -> None:
    a = written("fill_diagonal", a)
    places = np.arange(min(a.shape))
    a[(places,) * a.ndim] = val


def indices_of(name: str) -> Callable[..., Any]:
    """tril_indices_from and its like, which only look at the shape."""
    def function(arr: Tensor, k: int = 0) -> Any:
        return getattr(np, name)(arr.shape[-2], k, arr.shape[-1])

    return function


for _name in ("tril_indices", "triu_indices"):
    handles(f"{_name}_from", "arr", flat=True)(indices_of(_name))


@handles("diag_indices_from", "arr", flat=True)
def diag_indices_from(arr: Tensor) -> Any:
    return np.diag_indices(arr.shape[0], arr.ndim)
