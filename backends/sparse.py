"""The sparse backend: pydata/sparse arrays, which store the elements that differ from one fill value.

Tensors hold COO arrays; GCXS and DOK arrays are taken, and held as COO. Arrays are immutable. No function here makes a
dense array, and none stores every element of a large one: that raises, and `to(backend="numpy")` is how a user asks.
What the library lacks (linalg, fft, running sums, writing at a key) is lacking here.
"""

from collections.abc import Callable
from math import inf, isfinite, prod
from typing import Any, ClassVar

import numpy as np
import sparse

from agrad import backends, dtypes
from agrad.backends.adapter import Adapter
from agrad.backends.keys import Plan, is_array, is_mask

LARGEST = 1_000_000     # elements that an array may have if every one of them must be stored

NO_WRITES = (
    "{}: sparse arrays cannot be written to at a key. Make a new one with where(mask, value, x) or concat, or move "
    "the tensor with to(backend='numpy')"
)


# ---------------------------------------------------------------------------------------------------------- fill values


def as_coo(x: Any) -> sparse.COO:
    """A sparse array or a number as COO."""
    if isinstance(x, sparse.COO):
        return x
    return x.asformat("coo") if isinstance(x, sparse.SparseArray) else sparse.COO.from_numpy(np.asarray(x))


def refuse_dense(shape: tuple[int, ...], stored: int) -> None:
    """Raise where an array would store a large number of elements, and most of those that it has."""
    if stored > LARGEST and 4 * stored > prod(shape):
        raise ValueError(
            f"an array of shape {shape} would store {stored} elements, which is no sparse array any more; "
            "move what it is made of with to(backend='numpy')"
        )


def with_fill(x: Any, fill: Any) -> Any:
    """The same array with another fill value: elements that have the present one are stored."""
    if x.fill_value == fill:    # the library tells -0.0 from 0.0
        return sparse.COO(x.coords, x.data, shape=x.shape, fill_value=fill, has_duplicates=False, sorted=True)
    refuse_dense(x.shape, x.size)
    return sparse.COO.from_numpy(x.todense(), fill_value=fill)


def with_one_fill(arrays: Any) -> list[Any]:
    """Arrays that are to be joined, all with the fill value of the largest."""
    fill = max(arrays, key=lambda x: x.size).fill_value
    dtype = np.result_type(*(x.dtype for x in arrays))
    return [with_fill(x.astype(dtype), dtype.type(fill)) for x in arrays]


# ------------------------------------------------------------------------------------------------------------- kernels


def _concat(arrays: Any, /, *, axis: int | None = 0) -> Any:
    arrays = [as_coo(x) if axis is not None else sparse.reshape(as_coo(x), (-1,)) for x in arrays]
    return sparse.concat(with_one_fill(arrays), axis=0 if axis is None else axis)


def _stack(arrays: Any, /, *, axis: int = 0) -> Any:
    return sparse.stack(with_one_fill([as_coo(x) for x in arrays]), axis=axis)


def _broadcast_to(x: Any, /, shape: Any) -> Any:
    x, shape = as_coo(x), tuple(shape)
    if x.nnz == 0:      # the library would list all elements
        np.broadcast_to(np.broadcast_to(0, x.shape), shape)     # raises where the shapes do not fit
        return sparse.full(shape, x.fill_value, dtype=x.dtype)
    refuse_dense(shape, x.nnz * (prod(shape) // max(1, x.size)))
    return sparse.broadcast_to(x, shape)


def _matmul(x1: Any, x2: Any, /) -> Any:
    """The library multiplies arrays of zeros only; what differs from that, one number each, is added by hand."""
    x1, x2 = as_coo(x1), as_coo(x2)
    batch = np.broadcast_shapes(x1.shape[:-2], x2.shape[:-2])
    if 0 in batch and min(x1.ndim, x2.ndim) > 1:        # the library looks at the first of them
        return sparse.zeros((*batch, x1.shape[-2], x2.shape[-1]), dtype=np.result_type(x1.dtype, x2.dtype))
    fills = [x.fill_value.item() for x in (x1, x2)]
    if not any(fills):
        return sparse.matmul(x1, x2)
    if not all(isfinite(abs(fill)) for fill in fills):
        return sparse.matmul(*(with_fill(x, x.dtype.type(0)) for x in (x1, x2)))
    rows = x1 if x1.ndim > 1 else sparse.reshape(x1, (1, -1))
    columns = x2 if x2.ndim > 1 else sparse.reshape(x2, (-1, 1))
    rows, columns = rows - rows.fill_value, columns - columns.fill_value
    total = sparse.matmul(rows, columns) + fills[0] * fills[1] * x1.shape[-1]
    total = total + fills[1] * sparse.sum(rows, axis=-1, keepdims=True)
    total = total + fills[0] * sparse.sum(columns, axis=-2, keepdims=True)
    gone = tuple(axis for axis, x in ((-2, x1), (-1, x2)) if x.ndim == 1)
    shape = [n for axis, n in enumerate(total.shape, -total.ndim) if axis not in gone]
    return sparse.reshape(total, tuple(shape)).astype(np.result_type(x1.dtype, x2.dtype))


def _tensordot(x1: Any, x2: Any, /, *, axes: Any = 2) -> Any:
    x1, x2 = as_coo(x1), as_coo(x2)
    if isinstance(axes, int):
        axes = range(x1.ndim - axes, x1.ndim), range(axes)
    over1, over2 = ([a % x.ndim for a in one] for x, one in zip((x1, x2), axes, strict=True))
    free1, free2 = ([a for a in range(x.ndim) if a not in over] for x, over in ((x1, over1), (x2, over2)))
    n = prod(x1.shape[a] for a in over1)
    left = sparse.reshape(sparse.permute_dims(x1, (*free1, *over1)), (prod(x1.shape[a] for a in free1), n))
    right = sparse.reshape(sparse.permute_dims(x2, (*over2, *free2)), (n, prod(x2.shape[a] for a in free2)))
    return sparse.reshape(_matmul(left, right), (*(x1.shape[a] for a in free1), *(x2.shape[a] for a in free2)))


def _vecdot(x1: Any, x2: Any, /, *, axis: int = -1) -> Any:
    return sparse.sum(sparse.conj(as_coo(x1)) * x2, axis=axis)


def _sum(x: Any, /, *, axis: Any = None, dtype: Any = None, keepdims: bool = False) -> Any:
    if x.size == 0:     # the library adds no times the fill value, which may be nan
        x = sparse.zeros(x.shape, dtype=x.dtype)
    return sparse.sum(x, axis=axis, dtype=dtype, keepdims=keepdims)


def _count_nonzero(x: Any, /, *, axis: Any = None, keepdims: bool = False) -> Any:
    return sparse.sum(x != 0, axis=axis, keepdims=keepdims, dtype=np.int64)


def _repeat(x: Any, repeats: Any, /, *, axis: int | None = None) -> Any:
    if axis is None:
        x, axis = sparse.reshape(x, (-1,)), 0
    n = x.shape[axis]
    return _take(x, np.repeat(np.arange(n), np.broadcast_to(in_numpy(repeats), (n,))), axis=axis)


def _unstack(x: Any, /, *, axis: int = 0) -> tuple[Any, ...]:
    return tuple(map(as_coo, sparse.unstack(x, axis=axis)))


def _nonzero(x: Any, /) -> tuple[Any, ...]:
    return tuple(map(sparse.COO.from_numpy, with_fill(x, x.dtype.type(0)).nonzero()))


def _unique_counts(x: Any, /) -> Any:
    found = sparse.unique_counts(x)
    return type(found)(*map(sparse.COO.from_numpy, found))


def _unique_values(x: Any, /) -> Any:
    return sparse.COO.from_numpy(sparse.unique_values(x))


def triangle(name: str) -> Callable[..., Any]:
    """tril or triu, which the library has of zeros only."""
    function = getattr(sparse, name)

    def kernel(x: Any, /, *, k: int = 0) -> Any:
        return function(with_fill(x, x.dtype.type(0)), k=k)

    return kernel


def place_of(name: str) -> Callable[..., Any]:
    """argmax or argmin, whose kept axes the library miscounts."""
    function = getattr(sparse, name)

    def kernel(x: Any, /, *, axis: int | None = None, keepdims: bool = False) -> Any:
        gone = range(x.ndim) if axis is None else (axis % x.ndim,)
        shape = [1 if a in gone else n for a, n in enumerate(x.shape) if keepdims or a not in gone]
        return sparse.reshape(as_coo(function(x, axis=axis)), tuple(shape))

    return kernel


def _squeeze(x: Any, /, axis: Any) -> Any:
    gone = [a % x.ndim for a in (axis if isinstance(axis, tuple) else (axis,))]
    if any(x.shape[a] != 1 for a in gone):
        raise ValueError(f"cannot squeeze axes {axis} of an array of shape {x.shape}: they must have length 1")
    return sparse.reshape(x, tuple(n for a, n in enumerate(x.shape) if a not in gone))


def _diff(x: Any, /, *, axis: int = -1, n: int = 1, prepend: Any = None, append: Any = None) -> Any:
    if n == 0:
        return x
    return sparse.diff(_concat([part for part in (prepend, x, append) if part is not None], axis=axis), axis=axis, n=n)


def _diagonal(x: Any, /, *, offset: int = 0) -> Any:
    return sparse.diagonal(x, offset=offset, axis1=-2, axis2=-1)


def _trace(x: Any, /, *, offset: int = 0, dtype: Any = None) -> Any:
    return _sum(_diagonal(x, offset=offset), axis=-1, dtype=dtype)


def _outer(x1: Any, x2: Any, /) -> Any:
    refuse_dense((x1.size, x2.size), x1.nnz * x2.nnz)
    return x1[:, None] * x2[None, :]


def _vector_norm(x: Any, /, *, axis: Any = None, keepdims: bool = False, ord: float = 2) -> Any:
    sizes, how = sparse.abs(x), {"axis": axis, "keepdims": keepdims}
    if abs(ord) == inf:
        return (sparse.max if ord > 0 else sparse.min)(sizes, **how)
    if ord == 0:
        return _count_nonzero(x, **how).astype(sizes.dtype)
    return sparse.astype(_sum(sizes**ord, **how) ** (1 / ord), sizes.dtype)


def _take_along_axis(x: Any, indices: Any, /, *, axis: int = -1) -> Any:
    indices, axis = in_numpy(indices), axis % x.ndim
    places = np.ogrid[tuple(slice(n) for n in x.shape)]
    return _getitem(x, tuple(indices if a == axis else place for a, place in enumerate(places)))


def dense_data(name: str) -> Callable[..., Any]:
    """A creation function of numbers that differ from each other, all of which are stored."""
    def kernel(*args: Any, dtype: Any = None, device: Any = None, **kwargs: Any) -> Any:
        return sparse.COO.from_numpy(getattr(np, name)(*args, dtype=dtype, **kwargs))

    return kernel


def _from_dlpack(x: Any, /, *, device: Any = None, copy: bool | None = None) -> Any:
    return sparse.COO.from_numpy(np.from_dlpack(x))


# ---------------------------------------------------------------------------------------------------------------- keys


def in_numpy(part: Any) -> Any:
    """An index array as NumPy's."""
    return part.todense() if isinstance(part, sparse.SparseArray) else part


def in_numpy_key(key: Any) -> tuple[Any, ...]:
    """A key whose arrays are NumPy's; a sparse mask is the positions that it picks, which are all that is listed."""
    found: list[Any] = []
    for part in key if isinstance(key, tuple) else (key,):
        if isinstance(part, sparse.SparseArray) and is_mask(part) and part.ndim:
            found += with_fill(as_coo(part), np.False_).nonzero()
        else:
            found.append(in_numpy(part))
    return tuple(found)


def _getitem(x: Any, key: Any, /) -> Any:
    key = in_numpy_key(key)
    x = as_coo(x)
    if not any(is_array(part) or isinstance(part, (bool, list, tuple)) for part in key):
        return as_coo(x[key])
    # The library takes one-dimensional index arrays only: read in a row, and put into shape.
    plan = Plan(key, x.shape)
    x = as_coo(x[plan.basic])
    if not plan.axes:
        return x
    positions = dict(zip(plan.axes, (part.ravel() for part in np.broadcast_arrays(*plan.positions)), strict=True))
    shape = [x.shape[axis] for axis in plan.others]
    x = sparse.permute_dims(x, (*plan.axes, *plan.others))
    found = as_coo(x[tuple(positions.values())])
    found = sparse.reshape(found, (*plan.shape[plan.place : plan.place + plan.spread], *shape))
    return sparse.moveaxis(found, range(plan.spread), range(plan.place, plan.place + plan.spread))


def _take(x: Any, indices: Any, /, *, axis: int | None = None) -> Any:
    return _getitem(x, (slice(None),) * (0 if axis is None else axis % x.ndim) + (in_numpy(indices),))


def scatter(value: Any, key: Any, shape: tuple[int, ...]) -> Any:
    """Zeros of a shape with `value` added at a key: the places of its elements are computed, and nothing else."""
    plan = Plan(in_numpy_key(key), shape)
    value = as_coo(value)
    extra = value.ndim - len(plan.shape)
    value = sparse.reshape(value, value.shape[extra:]) if extra > 0 else value
    value = with_fill(_broadcast_to(value, plan.shape), value.dtype.type(0))
    rows = list(value.coords)
    first = tuple(rows[plan.place : plan.place + plan.spread])
    others = rows[: plan.place] + rows[plan.place + plan.spread :]
    picked = {axis: part[first] for axis, part in zip(plan.axes, np.broadcast_arrays(*plan.positions), strict=True)}
    picked |= zip(plan.others, others, strict=True)
    places, axis, lengths = [], 0, iter(shape)
    for part in plan.basic:
        if part is None:
            axis += 1
            continue
        n = next(lengths)
        if isinstance(part, slice):
            places.append(range(n)[part].start + range(n)[part].step * picked[axis])
            axis += 1
        else:
            places.append(np.full(value.nnz, part % n))
    coords = np.asarray(places, np.int64).reshape(len(shape), value.nnz)
    return sparse.COO(coords, value.data, shape=shape, fill_value=value.dtype.type(0))


def _setitem(x: Any, key: Any, value: Any) -> Any:
    """A new array in the place of the whole; no other key can be written at."""
    parts = key if isinstance(key, tuple) else (key,)
    if any(part is not Ellipsis and part != slice(None) for part in parts):
        raise NotImplementedError(NO_WRITES.format("setitem"))
    if isinstance(value, sparse.SparseArray):
        return _broadcast_to(value, x.shape).astype(x.dtype)
    return sparse.full(x.shape, value, dtype=x.dtype)


def _write_view(*_: Any) -> Any:
    raise NotImplementedError(NO_WRITES.format("writing through a view"))


# ------------------------------------------------------------------------------------------------------------- adapter


class Sparse(Adapter):
    """COO arrays of pydata/sparse."""

    label, arrays, other_arrays, namespace = "sparse", sparse.COO, (sparse.SparseArray,), sparse
    get_item = staticmethod(_getitem)
    converts = False    # to dense arrays, but where a user asks for one
    own: ClassVar[dict[str, Callable[..., Any]]] = {
        "arange": dense_data("arange"), "argmax": place_of("argmax"), "argmin": place_of("argmin"),
        "broadcast_shapes": np.broadcast_shapes, "broadcast_to": _broadcast_to,
        "concat": _concat, "count_nonzero": _count_nonzero, "diff": _diff, "from_dlpack": _from_dlpack,
        "linspace": dense_data("linspace"), "matmul": _matmul, "nonzero": _nonzero, "repeat": _repeat,
        "setitem": _setitem, "squeeze": _squeeze, "stack": _stack, "sum": _sum, "take": _take,
        "take_along_axis": _take_along_axis, "tensordot": _tensordot,
        "tril": triangle("tril"), "triu": triangle("triu"), "unique_counts": _unique_counts,
        "unique_values": _unique_values, "unstack": _unstack, "vecdot": _vecdot,
        "write_view": _write_view,
        "linalg.diagonal": _diagonal, "linalg.outer": _outer, "linalg.trace": _trace,
        "linalg.vector_norm": _vector_norm,
    }

    def __init__(self) -> None:
        super().__init__()
        self.mutable = False

    # -- dtypes and devices

    def dtype_of(self, raw: Any) -> Any:
        return raw.dtype

    def shape_of(self, raw: Any) -> tuple[int, ...]:
        return tuple(map(int, raw.shape))

    def device_of(self, raw: Any) -> str:
        return "cpu"

    def to_dtype(self, dtype: Any) -> Any:
        neutral = dtypes.of(dtype)
        if neutral is dtypes.bfloat16:
            raise TypeError("sparse has no agrad.bfloat16: its data are NumPy arrays, and NumPy does not know it")
        return neutral.dtype

    def to_device(self, device: Any) -> str:
        if str(device) != "cpu":
            raise self.no_device(device)
        return "cpu"

    # -- arrays

    def zeros(self, shape: tuple[int, ...], dtype: Any, device: Any) -> Any:
        return sparse.zeros(shape, dtype=dtype)

    def full(self, shape: tuple[int, ...], value: Any, dtype: Any, device: Any) -> Any:
        return sparse.full(shape, value, dtype=dtype)

    def scalar(self, value: Any, dtype: Any, device: Any) -> Any:
        return sparse.full((), value, dtype=dtype)

    def copy(self, raw: Any) -> Any:
        return as_coo(raw).copy()

    def copy_like(self, raw: Any, like: Any) -> Any:
        """A gradient that is stored: it must be as sparse as what it belongs to, or small."""
        if 4 * like.nnz <= like.size:
            refuse_dense(raw.shape, raw.nnz)
        return self.copy(raw)

    def convert(self, raw: Any, dtype: Any, device: Any, copy: bool | None) -> Any:
        made = as_coo(raw)
        made = made if dtype is None or dtype == made.dtype else made.astype(dtype)
        if copy is False and made is not raw:
            raise ValueError("a copy is needed for a COO array of this dtype, and copy=False forbids it")
        return made.copy() if copy and made is raw else made

    def from_numpy(self, array: Any, dtype: Any, device: Any, copy: bool | None) -> Any:
        if copy is False:
            raise ValueError("a sparse array is another array than NumPy's, and copy=False forbids to make one")
        return sparse.COO.from_numpy(np.asarray(array, array.dtype.newbyteorder("=") if dtype is None else dtype))

    def to_numpy(self, raw: Any) -> Any:
        return raw.todense()

    def normalise(self, raw: Any) -> Any:
        return as_coo(raw)

    def summary(self, raw: Any) -> str | None:
        """Large arrays are described, and not made dense to be printed."""
        return None if raw.size <= 1000 else f"<sparse, {raw.nnz} elements stored, others {raw.fill_value}>"

    # -- keys

    def is_integer_scalar(self, raw: Any) -> bool:
        return False

    def key(self, value: Any) -> Any:
        """NumPy's index arrays stay what they are: the library takes no others."""
        if isinstance(value, sparse.SparseArray):
            return value.copy()
        if isinstance(value, (list, range, np.ndarray, np.bool_)):
            return np.asarray(backends.find("numpy").key(value))
        return super().key(value)

    def scatter_add(self, raw: Any, key: Any, value: Any) -> Any:
        return sparse.add(raw, scatter(value, key, self.shape_of(raw)))

    def quiet(self) -> Any:
        """The library computes with NumPy, whose floating-point warnings inside rules are not the user's."""
        return np.errstate(all="ignore")
