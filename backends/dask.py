"""The Dask backend: chunked arrays whose values are known when they are computed, by threads or by a cluster's workers.

Nothing here computes, but `to_numpy`, how a user asks for numbers, and `computed`, how an optimizer ends a step. It
stands on array_api_compat.dask.array; what is missing there is done by NumPy's functions on blocks, after the axes that
they need whole were made one block. Arrays count as immutable: a write gives a new array, on the same blocks. Keys: see
`agrad.backends.dask_indexing`.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, ClassVar

import array_api_compat.dask.array as namespace
import dask
import dask.array as da
import numpy as np

from agrad import backends, dtypes
from agrad.backends import dask_indexing as indexing
from agrad.backends.adapter import OfNumPysDtypes
from agrad.backends.numpy import NumPy
from agrad.cython_core.engine import Op

WAY_OUT = (
    "Dask does not know how long an axis is before it is computed: select with where(mask, x, 0) rather than "
    "x[mask], or compute the length with agrad.asarray(x.array.compute_chunk_sizes())"
)


# ------------------------------------------------------------------------------------------------------------- shapes


class Unknown:
    """The length of an axis that only computing tells. Two of one array's one axis are equal; nothing else is known."""

    def __init__(self, name: str, axis: int) -> None:
        self.name, self.axis = name, axis

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Unknown) and (self.name, self.axis) == (other.name, other.axis)

    def __hash__(self) -> int:
        return hash((self.name, self.axis))

    def __repr__(self) -> str:
        return "unknown"

    def refuse(self, *_: Any) -> Any:
        raise ValueError(WAY_OUT)

    __index__ = __int__ = __float__ = __neg__ = refuse
    __add__ = __radd__ = __sub__ = __rsub__ = __mul__ = __rmul__ = __floordiv__ = __rfloordiv__ = refuse
    __truediv__ = __rtruediv__ = __mod__ = __rmod__ = __lt__ = __le__ = __gt__ = __ge__ = refuse


class Shape(tuple):  # type: ignore[type-arg]
    """A shape that remembers how its array was cut, so that gradients are cut like what they belong to."""

    chunks: Any = None


def known(shape: Any) -> tuple[int, ...]:
    """A shape as Dask takes it; ValueError if a length in it is unknown."""
    return tuple(int(n) for n in ((shape,) if np.ndim(shape) == 0 else shape))


def chunks_of(shape: Any) -> Any:
    """How an array of this shape is to be cut: as it remembers, or into blocks of Dask's usual size."""
    return getattr(shape, "chunks", None) or usual(shape)


def usual(shape: Any) -> Any:
    """Dask's own choice of blocks, which it cannot make for arrays without elements."""
    return "auto" if np.prod(shape) else -1


# ----------------------------------------------------------------------------------------------------------- creation


def _filled(name: str) -> Callable[..., Any]:
    make = getattr(da, name)

    def function(shape: Any, *value: Any, dtype: Any = None, device: Any = None) -> Any:
        return make(known(shape), *value, dtype=dtype, chunks=chunks_of(shape))

    return function


def _eye(
    n_rows: int, n_cols: int | None = None, /, *, k: int = 0, dtype: Any = None, device: Any = None
) -> Any:
    rows, columns = da.arange(n_rows), da.arange(n_rows if n_cols is None else n_cols)
    return (rows[:, None] + k == columns).astype(np.float64 if dtype is None else dtype)    # da.eye: squares only


def _from_dlpack(x: Any, /, *, device: Any = None, copy: bool | None = None) -> Any:
    if copy is False:
        raise ValueError("Dask copies what it takes from other libraries, and copy=False forbids it")
    return namespace.asarray(np.from_dlpack(x))


def _broadcast_to(x: Any, /, shape: Any) -> Any:
    """Cut as the shape says; axes that are new otherwise into blocks of the usual size."""
    chunks, shape = getattr(shape, "chunks", None), known(shape)
    own = len(shape) - x.ndim
    kept = {axis: own + axis for axis, n in enumerate(x.shape) if n == shape[own + axis]}
    if chunks is not None:
        x = x.rechunk({axis: chunks[at] for axis, at in kept.items()})
    else:
        back = {at: axis for axis, at in kept.items()}
        wanted = tuple(x.chunks[back[at]] if at in back else usual(shape) for at in range(len(shape)))
        chunks = da.core.normalize_chunks(wanted, shape, dtype=x.dtype)
    return da.broadcast_to(x, shape, chunks=chunks)


def _reshape(x: Any, /, shape: Any, *, copy: bool | None = None) -> Any:
    shape, chunks = known(shape), getattr(shape, "chunks", None)
    if 0 in x.shape:
        x = x.rechunk(-1)           # Dask divides by lengths
    try:
        result = da.reshape(x, shape)
    except NotImplementedError:     # Dask merges or splits axes, not both at once
        result = da.reshape(da.reshape(x, (-1,)), shape)
    return result if chunks is None or chunks == result.chunks else result.rechunk(chunks)


# ----------------------------------------------------------------------------------- NumPy's functions on whole axes


def whole(x: Any, axes: tuple[int, ...]) -> Any:
    """x with each of these axes in one block, and the others cut finer, so that blocks need not grow."""
    if all(x.numblocks[axis] == 1 for axis in axes):
        return x
    return x.rechunk({axis: -1 if axis in axes else usual(x.shape) for axis in range(x.ndim)})


def along(function: Callable[..., Any], x: Any, axes: tuple[int, ...], lengths: tuple[int, ...], dtype: Any) -> Any:
    """A function of some axes as a whole, which may change their lengths, block by block of the others."""
    axes = tuple(axis % x.ndim for axis in axes)
    return da.blockwise(
        function, range(x.ndim), whole(x, axes), range(x.ndim), adjust_chunks=dict(zip(axes, lengths, strict=True)),
        dtype=dtype, meta=da.utils.meta_from_array(x, dtype=dtype),
    )


def gufunc(
    function: Callable[..., Any], arrays: list[Any], takes: list[str], gives: Any, types: Any, **lengths: int
) -> Any:
    """A function of the last axes of arrays, broadcast over the others; a tuple if `gives` is one.

    `takes` and `gives` name those axes by letters; `lengths` says how long those are that only results have.
    """
    arguments: list[Any] = []
    batch = max(x.ndim - len(names) for x, names in zip(arrays, takes, strict=True))
    for x, names in zip(arrays, takes, strict=True):
        own = x.ndim - len(names)
        lengths |= zip(names, x.shape[own:], strict=True)
        arguments += [whole(x, tuple(range(own, x.ndim))), [*range(batch - own, batch), *letters(names)]]
    if not isinstance(gives, tuple):
        return cut(function, batch, arguments, gives, types, lengths, "".join(takes))
    # The function runs once per block; what it returns is taken apart afterwards.
    both = da.blockwise(function, range(batch), *arguments, concatenate=True, dtype=object,
                        meta=np.empty((0,) * batch, object))
    parts = [[both, range(batch), i, None] for i in range(len(gives))]
    return tuple(cut(take_part, batch, part, names, dtype, lengths, "")
                 for part, names, dtype in zip(parts, gives, types, strict=True))


def letters(names: str) -> list[int]:
    """Labels of axes that are clear of those of the batch."""
    return [1000 + ord(name) for name in names]


def cut(
    function: Callable[..., Any], batch: int, arguments: list[Any], names: str, dtype: Any, lengths: Any, takes: Any
) -> Any:
    """One result of a function of blocks."""
    new = {label: lengths[name] for name, label in zip(names, letters(names), strict=True) if name not in takes}
    return da.blockwise(function, [*range(batch), *letters(names)], *arguments, new_axes=new, concatenate=True,
                        dtype=dtype, meta=np.empty((0,) * (batch + len(names)), dtype))


def take_part(both: Any, i: int) -> Any:
    return both[i]


# ---------------------------------------------------------------------------------------------------------- reductions


def extreme(name: str) -> Callable[..., Any]:
    """Dask looks for a largest element in blocks without any, also where the result has none either."""
    function = getattr(da, name)

    def kernel(x: Any, /, *, axis: Any = None, keepdims: bool = False) -> Any:
        named = range(x.ndim) if axis is None else axis if isinstance(axis, tuple) else (axis,)
        gone = [a % x.ndim for a in named]
        if not any(x.shape[a] == 0 for a in range(x.ndim) if a not in gone):
            return function(x, axis=axis, keepdims=keepdims)
        shape = [1 if a in gone else n for a, n in enumerate(x.shape) if keepdims or a not in gone]
        return da.zeros(shape, dtype=x.dtype)

    return kernel


# ------------------------------------------------------------------------------------- products over chosen axes


def _tensordot(x1: Any, x2: Any, /, *, axes: Any = 2) -> Any:
    if not isinstance(axes, int):
        axes = tuple(tuple(a % x.ndim for a in one) for x, one in zip((x1, x2), axes, strict=True))
    return namespace.tensordot(x1, x2, axes=axes)


# ----------------------------------------------------------------------------------------------- sorting and searching


def _sort(x: Any, /, *, axis: int = -1, descending: bool = False, stable: bool = True) -> Any:
    function = partial(NumPy.own["sort"], axis=axis, descending=descending, stable=stable)
    return along(function, x, (axis,), (x.shape[axis],), x.dtype)


def _argsort(x: Any, /, *, axis: int = -1, descending: bool = False, stable: bool = True) -> Any:
    function = partial(NumPy.own["argsort"], axis=axis, descending=descending, stable=stable)
    return along(function, x, (axis,), (x.shape[axis],), np.int64)


def _take_along_axis(x: Any, indices: Any, /, *, axis: int = -1) -> Any:
    x, indices = da.moveaxis(x, axis, -1), da.moveaxis(da.asarray(indices), axis, -1)
    found = gufunc(_take_last, [x, indices], ["n", "m"], "m", x.dtype)
    return da.moveaxis(found, -1, axis)


def _take_last(x: Any, indices: Any) -> Any:
    return np.take_along_axis(x, indices, -1)


def _take(x: Any, indices: Any, /, *, axis: int | None = None) -> Any:
    return indexing.get_item(x, (slice(None),) * (0 if axis is None else axis % x.ndim) + (indices,))


def _repeat(x: Any, repeats: Any, /, *, axis: int | None = None) -> Any:
    if isinstance(repeats, da.Array):
        raise NotImplementedError(
            "repeat: how long the result is would only be known after the repeats are computed; give them as a list "
            "or a NumPy array"
        )
    if axis is None:
        x, axis = da.ravel(x), 0
    n = x.shape[axis]
    return da.take(x, np.repeat(np.arange(n), np.broadcast_to(repeats, (n,))), axis=axis)


def _searchsorted(x1: Any, x2: Any, /, *, side: str = "left", sorter: Any = None) -> Any:
    x1 = x1 if sorter is None else indexing.get_item(x1, sorter)
    x2 = da.asarray(x2)
    return da.blockwise(np.searchsorted, range(1, 1 + x2.ndim), whole(x1, (0,)), [0], x2, range(1, 1 + x2.ndim),
                        side=side, concatenate=True, dtype=np.int64, meta=np.empty((0,) * x2.ndim, np.int64))


def _isin(x1: Any, x2: Any, /, *, invert: bool = False) -> Any:
    return da.isin(da.asarray(x1), da.asarray(x2), invert=invert)


# ------------------------------------------------------------------------------------------------------ linear algebra


def _real(dtype: Any) -> Any:
    return np.empty(0, dtype).real.dtype


def _complex(dtype: Any) -> Any:
    return np.result_type(dtype, np.complex64)


def _same(dtype: Any) -> Any:
    return dtype


def _eig(x: Any) -> Any:
    return tuple(part.astype(_complex(part.dtype)) for part in np.linalg.eig(x))  # NumPy: real ones if all happen to be


def _eigvals(x: Any) -> Any:
    values = np.linalg.eigvals(x)
    return values.astype(_complex(values.dtype))


# name -> NumPy's function, what it gives of a square matrix (see `gufunc`), dtypes by that of the matrix
OF_SQUARES: dict[str, tuple[Any, ...]] = {
    "cholesky": (np.linalg.cholesky, "mn", _same),
    "det": (np.linalg.det, "", _same),
    "eig": (_eig, ("m", "mn"), (_complex, _complex)),
    "eigh": (np.linalg.eigh, ("m", "mn"), (_real, _same)),
    "eigvals": (_eigvals, "m", _complex),
    "eigvalsh": (np.linalg.eigvalsh, "m", _real),
    "inv": (np.linalg.inv, "mn", _same),
    "matrix_power": (np.linalg.matrix_power, "mn", _same),
    "slogdet": (np.linalg.slogdet, ("", ""), (_same, _real)),
}


def of_squares(name: str) -> Callable[..., Any]:
    """A function of square matrices."""
    function, gives, types = OF_SQUARES[name]

    def kernel(x: Any, *n: Any, **options: Any) -> Any:
        check_matrix(x, square=True)
        run = partial(function, **options, **({"n": n[0]} if n else {}))
        given = types(x.dtype) if callable(types) else tuple(kind(x.dtype) for kind in types)
        return gufunc(run, [x], ["mn"], gives, given)

    return kernel


def check_matrix(x: Any, square: bool = False) -> None:
    if x.ndim < 2 or (square and x.shape[-1] != x.shape[-2]):
        raise np.linalg.LinAlgError(f"expected {'square ' * square}matrices, got an array of shape {x.shape}")


def is_tall(x: Any) -> bool:
    """A matrix that is cut along one axis only, which Dask takes apart block by block."""
    return bool(x.ndim == 2 and x.npartitions > 1 and min(x.numblocks) == 1)


def _qr(x: Any, /, *, mode: str = "reduced") -> Any:
    check_matrix(x)
    if mode == "reduced" and is_tall(x) and x.numblocks[1] == 1:
        return da.linalg.qr(x)
    m, n = x.shape[-2:]
    k = m if mode == "complete" else min(m, n)
    return gufunc(partial(np.linalg.qr, mode=mode), [x], ["mn"], ("mk", "kn"), (x.dtype, x.dtype), k=k)


def _svd(x: Any, /, *, full_matrices: bool = True) -> Any:
    check_matrix(x)
    if not full_matrices and is_tall(x):
        return da.linalg.svd(x, coerce_signs=False)
    (m, n), k = x.shape[-2:], min(x.shape[-2:])
    p, q = (m, n) if full_matrices else (k, k)
    return gufunc(
        partial(np.linalg.svd, full_matrices=full_matrices), [x], ["mn"], ("mp", "k", "qn"),
        (x.dtype, _real(x.dtype), x.dtype), k=k, p=p, q=q,
    )


def _svdvals(x: Any, /) -> Any:
    check_matrix(x)
    return gufunc(np.linalg.svdvals, [x], ["mn"], "k", _real(x.dtype), k=min(x.shape[-2:]))


def _with_rtol(function: Callable[..., Any], x: Any, rtol: Any) -> Any:
    return function(x, rtol=rtol)


def _pinv(x: Any, /, *, rtol: Any = None) -> Any:
    check_matrix(x)
    if rtol is None:
        return gufunc(np.linalg.pinv, [x], ["mn"], "nm", x.dtype)
    return gufunc(partial(_with_rtol, np.linalg.pinv), [x, da.asarray(rtol)], ["mn", ""], "nm", x.dtype)


def _matrix_rank(x: Any, /, *, rtol: Any = None) -> Any:
    check_matrix(x)
    if rtol is None:
        return gufunc(np.linalg.matrix_rank, [x], ["mn"], "", np.int64)
    return gufunc(partial(_with_rtol, np.linalg.matrix_rank), [x, da.asarray(rtol)], ["mn", ""], "", np.int64)


def _matrix_norm(x: Any, /, *, keepdims: bool = False, ord: Any = "fro") -> Any:
    check_matrix(x)
    if ord == "fro":
        return da.sqrt(da.sum(da.abs(x) ** 2, axis=(-2, -1), keepdims=keepdims))
    norm = gufunc(partial(np.linalg.matrix_norm, ord=ord), [x], ["mn"], "", _real(x.dtype))
    return norm[..., None, None] if keepdims else norm


def _solve(x1: Any, x2: Any, /) -> Any:
    check_matrix(x1, square=True)
    dtype = np.result_type(x1.dtype, x2.dtype)
    vector = x2.ndim == 1
    return gufunc(np.linalg.solve, [x1, x2], ["mn", "m" if vector else "mk"], "n" if vector else "nk", dtype)


def _cross(x1: Any, x2: Any, /, *, axis: int = -1) -> Any:
    x1, x2 = da.moveaxis(x1, axis, -1), da.moveaxis(x2, axis, -1)
    if x1.shape[-1] != 3 or x2.shape[-1] != 3:
        raise ValueError("both arrays must have length 3 along the axis of a cross product")
    return da.moveaxis(gufunc(np.linalg.cross, [x1, x2], ["i", "i"], "i", np.result_type(x1.dtype, x2.dtype)), -1, axis)


# -------------------------------------------------------------------------------------------------- Fourier transforms

def halved(name: str, n: int) -> int:
    """How long the last axis of a transform to n numbers is."""
    return n // 2 + 1 if name in ("rfft", "ihfft", "rfftn") else n


def transform(name: str) -> Callable[..., Any]:
    """A Fourier transform along one axis, which is made one block."""
    function = getattr(np.fft, name)

    def kernel(x: Any, /, *, n: int, axis: int, norm: str) -> Any:
        dtype = function(np.ones(2, x.dtype)).dtype
        return along(partial(function, n=n, axis=axis, norm=norm), x, (axis,), (halved(name, n),), dtype)

    return kernel


def transform_n(name: str) -> Callable[..., Any]:
    """A Fourier transform along several axes, which are made one block."""
    function = getattr(np.fft, name)

    def kernel(x: Any, /, *, s: tuple[int, ...], axes: tuple[int, ...], norm: str) -> Any:
        dtype = function(np.ones(2, x.dtype), axes=(0,)).dtype
        lengths = (*s[:-1], halved(name, s[-1]))
        return along(partial(function, s=s, axes=axes, norm=norm), x, axes, lengths, dtype)

    return kernel


# ----------------------------------------------------------------------------------------------- writing through views


def inverse(axes: Any) -> tuple[int, ...]:
    return tuple(int(a) for a in np.argsort([a % len(axes) for a in axes]))


def itself(x: Any, view: Any, **_: Any) -> Any:
    return view


def in_shape(x: Any, view: Any, **_: Any) -> Any:
    return _reshape(view, x.shape).rechunk(x.chunks)


# A view operation -> the array that it was taken of, with the view replaced: (array, view, further arguments by name).
PUT_BACK: dict[str, Callable[..., Any]] = {
    **dict.fromkeys(("astype", "conj", "diff", "positive"), itself),
    **dict.fromkeys(("expand_dims", "reshape", "squeeze"), in_shape),
    "flip": lambda x, view, axis: da.flip(view, axis),
    "getitem": lambda x, view, key: indexing.set_item(x, key, view),
    "imag": lambda x, view: da.real(x) + 1j * view,
    "matrix_transpose": lambda x, view: namespace.matrix_transpose(view),
    "moveaxis": lambda x, view, source, destination: da.moveaxis(view, destination, source),
    "permute_dims": lambda x, view, axes: da.transpose(view, inverse(axes)),
    "real": lambda x, view: view + 1j * da.imag(x) if x.dtype.kind == "c" else view,
}


# ------------------------------------------------------------------------------------------------------------- adapter


class Dask(OfNumPysDtypes):
    """Dask arrays of NumPy arrays. Gradients are Dask arrays too, and nothing is computed before the user asks."""

    label, arrays, namespace = "dask", da.Array, namespace
    get_item = staticmethod(indexing.get_item)
    own: ClassVar[dict[str, Callable[..., Any]]] = {
        **{name: _filled(name) for name in ("zeros", "ones", "empty", "full")},
        "argsort": _argsort, "broadcast_shapes": np.broadcast_shapes, "broadcast_to": _broadcast_to, "eye": _eye,
        "from_dlpack": _from_dlpack, "isin": _isin, "max": extreme("max"), "min": extreme("min"), "repeat": _repeat,
        "reshape": _reshape, "searchsorted": _searchsorted, "sort": _sort, "take": _take,
        "take_along_axis": _take_along_axis, "tensordot": _tensordot,
        **{f"linalg.{name}": of_squares(name) for name in OF_SQUARES},
        "linalg.cross": _cross, "linalg.matrix_norm": _matrix_norm, "linalg.matrix_rank": _matrix_rank,
        "linalg.pinv": _pinv, "linalg.qr": _qr, "linalg.solve": _solve, "linalg.svd": _svd, "linalg.svdvals": _svdvals,
        **{f"fft.{name}": transform(name) for name in ("fft", "ifft", "rfft", "irfft", "hfft", "ihfft")},
        **{f"fft.{name}": transform_n(name) for name in ("fftn", "ifftn", "rfftn", "irfftn")},
    }

    def __init__(self) -> None:
        super().__init__()
        self.mutable, self.lazy = False, True

    def version(self) -> str:
        return str(dask.__version__)

    # -- shapes, dtypes and devices

    def shape_of(self, raw: Any) -> Shape:
        lengths = raw.shape
        if all(n == n for n in lengths):
            shape = Shape(lengths)
            shape.chunks = raw.chunks
            return shape
        return Shape(n if n == n else Unknown(raw.name, axis) for axis, n in enumerate(lengths))

    def dtype_of(self, raw: Any) -> Any:
        return raw.dtype

    def device_of(self, raw: Any) -> str:
        return "cpu"

    def to_dtype(self, dtype: Any) -> Any:
        neutral = dtypes.of(dtype)
        if neutral is dtypes.bfloat16:
            raise TypeError("dask has no agrad.bfloat16: its blocks are NumPy arrays, and NumPy does not know it")
        return neutral.dtype

    def to_device(self, device: Any) -> str:
        if str(device) != "cpu":
            raise self.no_device(device)
        return "cpu"

    # -- arrays

    def zeros(self, shape: Any, dtype: Any, device: Any) -> Any:
        return da.zeros(known(shape), dtype=dtype, chunks=chunks_of(shape))

    def full(self, shape: Any, value: Any, dtype: Any, device: Any) -> Any:
        return da.full(known(shape), value, dtype=dtype, chunks=chunks_of(shape))

    def scalar(self, value: Any, dtype: Any, device: Any) -> Any:
        return da.from_array(np.asarray(value, dtype))

    def copy(self, raw: Any) -> Any:
        return raw.copy()       # another object on the same blocks: nothing is moved

    def copy_like(self, raw: Any, like: Any) -> Any:
        """A gradient cut like what it belongs to."""
        fits = raw.shape == like.shape and raw.chunks != like.chunks
        return raw.rechunk(like.chunks) if fits else raw.copy()

    def convert(self, raw: Any, dtype: Any, device: Any, copy: bool | None) -> Any:
        return namespace.asarray(raw, dtype=dtype, copy=copy).copy()        # Dask writes by changing the object

    def from_numpy(self, array: Any, dtype: Any, device: Any, copy: bool | None) -> Any:
        if copy is False:
            raise ValueError("Dask keeps a copy of what it takes from NumPy, and copy=False forbids it")
        array = np.array(array, dtype=array.dtype.newbyteorder("=") if dtype is None else dtype)
        return da.from_array(array, chunks=usual(array.shape), name=False)

    def to_numpy(self, raw: Any) -> Any:
        """Compute."""
        return np.asarray(raw.compute())

    def computed(self, *raws: Any) -> tuple[Any, ...]:
        return dask.persist(*raws)      # type: ignore[no-any-return]

    def summary(self, raw: Any) -> str:
        """Printed in the place of the values, which are not to be computed for it."""
        return f"<dask, chunks of {raw.chunksize}>"

    def normalise(self, raw: Any) -> Any:
        return raw if isinstance(raw, da.Array) else da.asarray(raw)

    # -- reading and writing at keys

    def key(self, value: Any) -> Any:
        """NumPy's index arrays stay what they are: how much they pick is known then."""
        if isinstance(value, da.Array):
            return value.copy()
        if isinstance(value, (list, range, np.ndarray, np.bool_)):
            return np.asarray(backends.find("numpy").key(value))
        return super().key(value)

    def set_item(self, raw: Any, key: Any, value: Any) -> Any:
        return indexing.set_item(raw, key, value)

    def scatter_add(self, raw: Any, key: Any, value: Any) -> Any:
        return indexing.scatter_add(raw, key, value)

    def _write_view(self, x: Any, value: Any, steps: Any) -> Any:
        sources = [x]
        for step in steps:
            sources.append(self._read_view(sources[-1], (step,)))
        written = da.broadcast_to(da.asarray(value).astype(x.dtype), sources.pop().shape)
        for (op, args, output), source in zip(reversed(steps), reversed(sources), strict=True):
            written = self._put_back(op, args, output, source, written)
        return written

    def _put_back(self, op: Op, args: Any, output: int, x: Any, view: Any) -> Any:
        """x with one of its views replaced."""
        named = {} if args is None else dict(list(zip(op.parameters, args, strict=True))[1:])
        if op.name == "unstack":
            return indexing.set_item(x, (slice(None),) * (named["axis"] % x.ndim) + (output,), view)
        if op.name not in PUT_BACK:
            raise NotImplementedError(f"dask cannot write through a view that {op.name} made; write to a copy of it")
        return PUT_BACK[op.name](x, view, **named).astype(x.dtype)

    def quiet(self) -> Any:
        """Dask tries functions on empty arrays, and NumPy's warnings about them are not the user's."""
        return np.errstate(all="ignore")
