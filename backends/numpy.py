"""The NumPy backend. It stands on NumPy's own functions, which follow the standard since NumPy 2.

What still differs is said here. 0-d results of NumPy are scalars (`np.float64`), which is faster than arrays; they
count as arrays of this backend and must never pass for Python numbers, although `np.float64` is a `float`.
"""

from collections.abc import Callable
from functools import cache
from math import prod
from typing import Any, ClassVar

import numpy as np

from agrad import dtypes
from agrad.backends import numpy_windows
from agrad.backends.adapter import OfNumPysDtypes

try:
    from agrad.cython_core import numpy_speed, numpy_updates
except ImportError:     # built without NumPy's headers: everything works, only slower
    numpy_speed = numpy_updates = None  # type: ignore[assignment]


def _sum(x: Any, /, *, axis: Any = None, dtype: Any = None, keepdims: Any = False) -> Any:
    return np.add.reduce(x, axis=axis, dtype=dtype, keepdims=keepdims)  # np.sum without its Python


def _mean(x: Any, /, *, axis: Any = None, keepdims: Any = False) -> Any:
    if type(x) is not np.ndarray or not x.size or x.dtype.itemsize < 4:      # halves add up as float32
        return np.mean(x, axis=axis, keepdims=keepdims)
    total = np.add.reduce(x, axis=axis, keepdims=keepdims)
    return total / (x.size // total.size)


def _max(x: Any, /, *, axis: Any = None, keepdims: Any = False) -> Any:
    return np.maximum.reduce(x, axis=axis, keepdims=keepdims)


def _min(x: Any, /, *, axis: Any = None, keepdims: Any = False) -> Any:
    return np.minimum.reduce(x, axis=axis, keepdims=keepdims)


def _exponentials(name: str, x: Any, axis: Any) -> tuple[Any, Any, Any]:
    """x less its largest element, the exponentials of that, and their sum."""
    if x.dtype.kind != "f":
        raise TypeError(f"{name}() takes real floating-point numbers, not {x.dtype}")
    if not x.size:      # without elements there is no largest one
        return x, x, np.ones_like(x)
    shifted = x - np.maximum.reduce(x, axis=axis, keepdims=True)
    e = np.exp(shifted)
    return shifted, e, np.add.reduce(e, axis=axis, keepdims=True)


def _softmax(x: Any, /, *, axis: Any = -1) -> Any:
    _, e, total = _exponentials("softmax", x, axis)
    return e / total


def _log_softmax(x: Any, /, *, axis: Any = -1) -> Any:
    shifted, _, total = _exponentials("log_softmax", x, axis)
    return shifted - np.log(total)


def _class_losses(x: Any, target: Any, /) -> Any:
    losses = None if numpy_speed is None else numpy_speed.class_losses(x, target)
    if losses is not None:
        return losses
    return -np.take_along_axis(_log_softmax(x), target[..., None], axis=-1)[..., 0]


def _class_slopes(factor: Any, x: Any, target: Any, /) -> Any:
    slopes = None if numpy_speed is None else numpy_speed.class_slopes(np.ascontiguousarray(factor), x, target)
    if slopes is not None:
        return slopes
    slopes, places = _softmax(x), target[..., None]
    np.put_along_axis(slopes, places, np.take_along_axis(slopes, places, axis=-1) - 1, axis=-1)
    return slopes * factor[..., None]


def _matrix_transpose(x: Any, /) -> Any:
    return x.mT if type(x) is np.ndarray else np.matrix_transpose(x)    # without its Python


def _astype(x: Any, dtype: Any, /, *, copy: bool = True, device: Any = None) -> Any:
    return np.asarray(x).astype(dtype, copy=copy)       # np.astype refuses scalars


def _conj(x: Any, /) -> Any:
    return np.conj(x) if x.dtype.kind == "c" else x     # NumPy copies real arrays


def _sort(x: Any, /, *, axis: int = -1, descending: bool = False, stable: bool = True) -> Any:
    if descending:
        return np.take_along_axis(x, _argsort(x, axis=axis, descending=True), axis)
    return np.sort(x, axis=axis, stable=stable)


def _argsort(x: Any, /, *, axis: int = -1, descending: bool = False, stable: bool = True) -> Any:
    if not descending:
        return np.argsort(x, axis=axis, stable=stable)
    # equal elements keep their order: sort the reversed array, and read the result backwards
    reverse = np.flip(np.argsort(np.flip(x, axis=axis), axis=axis, stable=True), axis=axis)
    return x.shape[axis] - 1 - reverse


def _take_along_axis(x: Any, indices: Any, /, *, axis: int = -1) -> Any:
    return np.take_along_axis(x, indices, axis)


def _diff(x: Any, /, *, axis: int = -1, n: int = 1, prepend: Any = None, append: Any = None) -> Any:
    given = {name: value for name, value in (("prepend", prepend), ("append", append)) if value is not None}
    return np.diff(x, n=n, axis=axis, **given)


def _unique_values(x: Any, /) -> Any:
    return np.unique(x, equal_nan=False)    # sorted, as the other three; np.unique_values is not


def _clip(x: Any, /, min: Any = None, max: Any = None) -> Any:
    result = x if min is None else np.maximum(x, min)
    result = result if max is None else np.minimum(result, max)
    return result.astype(x.dtype, copy=result is x) if result.dtype != x.dtype or result is x else result


def _relu(x: Any, /) -> Any:
    if x.dtype.kind == "c":
        raise TypeError(f"relu() takes real numbers, not {x.dtype}")
    found = None if numpy_speed is None else numpy_speed.relu(x)
    return np.maximum(x, x.dtype.type(0)) if found is None else found


def _linear(x: Any, weight: Any, bias: Any = None, /) -> Any:
    rows = x if x.ndim == 2 else x.reshape(prod(x.shape[:-1]), x.shape[-1])     # with more axes np.dot leaves BLAS
    y = None if numpy_speed is None else numpy_speed.linear(rows, weight, bias)
    if y is None:
        y = np.dot(rows, weight.T)
        y = y if bias is None else y + bias
    return y if x.ndim == 2 else y.reshape(*x.shape[:-1], len(weight))


def _eig(x: Any, /) -> Any:
    w, v = np.linalg.eig(x)     # real where all eigenvalues are
    dtype = np.result_type(w, np.complex64)
    return w.astype(dtype, copy=False), v.astype(dtype, copy=False)


def _eigvals(x: Any, /) -> Any:
    w = np.linalg.eigvals(x)
    return w.astype(np.result_type(w, np.complex64), copy=False)


def _diagonal(x: Any, /, *, offset: int = 0) -> Any:
    view = np.linalg.diagonal(x, offset=offset)
    view.flags.writeable = x.flags.writeable    # NumPy makes it read-only
    return view


def _matrix_power(x: Any, n: int, /) -> Any:
    return x.copy() if n == 1 else np.linalg.matrix_power(x, n)     # NumPy returns x itself


@cache
def _scipy_triangular() -> Any:
    """SciPy's solver, None without SciPy."""
    try:
        from scipy.linalg import solve_triangular
    except ImportError:
        return None
    return solve_triangular


def _solve_triangular(x1: Any, x2: Any, /, *, upper: bool = False, unit_diagonal: bool = False) -> Any:
    solve = _scipy_triangular() if x1.ndim == 2 >= x2.ndim and x1.size and x2.size else None
    if solve is not None:
        return solve(x1, x2, lower=not upper, unit_diagonal=unit_diagonal, check_finite=False)
    triangle = np.triu(x1, int(unit_diagonal)) if upper else np.tril(x1, -int(unit_diagonal))
    return np.linalg.solve(triangle + np.eye(x1.shape[-1], dtype=x1.dtype) if unit_diagonal else triangle, x2)


class NumPy(OfNumPysDtypes):
    """NumPy arrays, on the CPU."""

    label, arrays, other_arrays, namespace = "numpy", np.ndarray, (np.generic,), np
    scalars = np.float64
    updates: ClassVar[dict[str, Callable[..., Any]]] = {} if numpy_updates is None else dict(numpy_updates.loops)
    own: ClassVar[dict[str, Callable[..., Any]]] = {
        "sum": _sum, "astype": _astype, "conj": _conj, "sort": _sort, "argsort": _argsort,
        "matrix_transpose": _matrix_transpose,
        "take_along_axis": _take_along_axis, "diff": _diff, "clip": _clip, "unique_values": _unique_values,
        "linalg.eig": _eig, "linalg.eigvals": _eigvals, "linalg.diagonal": _diagonal,
        "matmul": np.matmul if numpy_speed is None else numpy_speed.matmul,
        "where": np.where if numpy_speed is None else numpy_speed.where,
        "broadcast_to": np.broadcast_to if numpy_speed is None else numpy_speed.broadcast_to,
        "mean": _mean, "max": _max, "min": _min, "softmax": _softmax, "log_softmax": _log_softmax,
        "relu": _relu, "nn.linear": _linear, "nn.class_losses": _class_losses, "nn.class_slopes": _class_slopes,
        "linalg.matrix_power": _matrix_power, "linalg.solve_triangular": _solve_triangular, **numpy_windows.KERNELS,
    }

    def __init__(self) -> None:
        super().__init__()
        self.counts_references = self.plain = True
        if numpy_speed is not None:
            numpy_speed.install(self)

    # -- dtypes and devices

    def dtype_of(self, raw: Any) -> Any:
        return raw.dtype

    def shape_of(self, raw: Any) -> tuple[int, ...]:
        return raw.shape    # type: ignore[no-any-return]

    def device_of(self, raw: Any) -> str:
        return "cpu"

    def to_dtype(self, dtype: Any) -> Any:
        try:
            return dtypes.of(dtype).dtype
        except AttributeError as error:
            raise TypeError(f"the backend numpy has no dtype {dtype}: {error}; torch and jax have it") from None

    def to_device(self, device: Any) -> str:
        if str(device) != "cpu":
            raise ValueError(
                f"the backend numpy has only the device 'cpu', not {device!r}; "
                "other devices: use_backend('torch') or use_backend('cupy')"
            )
        return "cpu"

    # -- arrays

    def zeros(self, shape: tuple[int, ...], dtype: Any, device: Any) -> Any:
        return np.zeros(shape, dtype)

    def full(self, shape: tuple[int, ...], value: Any, dtype: Any, device: Any) -> Any:
        return np.full(shape, value, dtype)

    def scalar(self, value: Any, dtype: Any, device: Any) -> Any:
        return dtype.type(value)

    def copy(self, raw: Any) -> Any:
        return raw.copy() if type(raw) is np.ndarray else raw      # scalars are immutable

    def from_numpy(self, array: Any, dtype: Any, device: Any, copy: bool | None) -> Any:
        made = np.asarray(array, dtype=dtype, copy=copy)
        return made[()] if copy else made      # 0-d copies are kept as scalars

    def to_numpy(self, raw: Any) -> Any:
        return self.as_array(raw)

    def copy_like(self, raw: Any, like: Any) -> Any:
        return np.array(raw, order="C") if like.flags.c_contiguous else self._ordered(raw, like)

    def laid_out_like(self, raw: Any, like: Any) -> Any:
        return raw if like.flags.c_contiguous and raw.flags.c_contiguous else self._ordered(raw, like)

    def _ordered(self, raw: Any, like: Any) -> Any:
        made = np.empty_like(like)
        made[...] = raw
        return made

    def as_array(self, raw: Any) -> np.ndarray[Any, Any]:
        return raw if type(raw) is np.ndarray else np.asarray(raw)

    def reject_tracked(self, raw: Any) -> None:
        """A masked array is more than its elements; its mask must not be lost in silence."""
        if type(raw) is not np.ndarray and hasattr(raw, "filled"):
            raise TypeError("a masked array would lose its mask; fill it first: array.filled(...)")

    def normalise(self, raw: Any) -> Any:
        return raw if type(raw) is np.ndarray or isinstance(raw, np.generic) else np.asarray(raw)

    # -- writes

    def writes_alike(self, raw: Any, other: Any, divides: bool) -> bool:
        if divides and raw.dtype.kind not in "fc":
            return False
        if isinstance(other, (bool, int, float, complex)) and not isinstance(other, np.generic):
            return raw.dtype.kind == "c" or (raw.dtype.kind == "f" and not isinstance(other, complex))
        return np.can_cast(other.dtype, raw.dtype, "same_kind") and (other.ndim == 0 or other.shape == raw.shape)

    def add_into(self, raw: Any, value: Any) -> Any:
        return np.add(raw, value, out=raw) if type(raw) is np.ndarray else raw + value

    def scatter_add(self, raw: Any, key: Any, value: Any) -> Any:
        parts = key if isinstance(key, tuple) else (key,)
        if any(isinstance(part, np.ndarray) and part.dtype.kind != "b" for part in parts):
            np.add.at(raw, key, value)      # repeated positions add up
        else:
            raw[key] += value
        return raw

    def shares(self, a: Any, b: Any) -> bool:
        return np.may_share_memory(a, b)

    def quiet(self) -> Any:
        """Floating-point warnings inside rules are not the user's."""
        return np.errstate(all="ignore")
