"""The standard's functions about dtypes and shapes, which record nothing: neutral dtypes in, neutral dtypes out.

Must know no rule and no single library but NumPy, whose tables of limits and casts it reads.
"""

from typing import Any, NamedTuple

import numpy as np

from agrad import backends, dtypes
from agrad.cython_core.engine import Tensor
from agrad.defaults import default_backend, default_dtype

# The kinds of `isdtype`, in the words of neutral dtypes.
KINDS = {
    "bool": {"bool"},
    "signed integer": {"signed"},
    "unsigned integer": {"unsigned"},
    "integral": {"signed", "unsigned"},
    "real floating": {"real"},
    "complex floating": {"complex"},
    "numeric": {"signed", "unsigned", "real", "complex"},
}


def isdtype(dtype: Any, kind: Any) -> bool:
    """Whether a dtype is of a kind, or of one of several, or equals a dtype.

    Raises
    ------
    ValueError
        If the kind is unknown.

    Examples
    --------
    >>> import agrad
    >>> agrad.isdtype(agrad.float32, "real floating")
    True
    """
    own = dtypes.of(dtype)
    if isinstance(kind, tuple):
        return any(isdtype(own, part) for part in kind)
    if isinstance(kind, str):
        if kind not in KINDS:
            raise ValueError(f"unknown kind of dtype {kind!r}; kinds are: {', '.join(KINDS)}")
        return own.kind in KINDS[kind]
    return own == dtypes.of(kind)


def as_dtype(value: Any) -> dtypes.DType:
    """The neutral dtype of an array, or one by name."""
    if isinstance(value, Tensor):
        return value.dtype
    backend = backends.of(value)
    return dtypes.of(value) if backend is None else backend.neutral_dtype(value)


def can_cast(from_: Any, to: Any, /) -> bool:
    """Whether values of a dtype (or an array's) may be cast to another by the rules of promotion.

    Examples
    --------
    >>> import agrad
    >>> agrad.can_cast(agrad.int32, agrad.float64)
    True
    """
    source, target = as_dtype(from_), dtypes.of(to)
    if "bfloat16" in (source.name, target.name):
        wider = target.kind in ("real", "complex") and target.bits > 16
        return source == target or (source.name == "bfloat16" and wider)
    return bool(np.can_cast(source.dtype, target.dtype))


class finfo_object(NamedTuple):
    """Limits of a floating dtype; numbers are Python floats."""

    bits: int
    eps: float
    max: float
    min: float
    smallest_normal: float
    dtype: dtypes.DType


class iinfo_object(NamedTuple):
    """Limits of an integer dtype."""

    bits: int
    max: int
    min: int
    dtype: dtypes.DType


def finfo(type: Any, /) -> finfo_object:
    """Limits of a floating dtype, or of an array's; of a complex one, those of its parts.

    Raises
    ------
    TypeError
        If the dtype is not floating.

    Examples
    --------
    >>> import agrad
    >>> agrad.finfo(agrad.float64).bits
    64
    """
    own = as_dtype(type)
    if own.kind not in ("real", "complex"):
        raise TypeError(f"finfo needs a floating dtype, got {own}; use iinfo")
    part = dtypes.of({"complex64": "float32", "complex128": "float64"}.get(own.name, own.name))
    if part.name == "bfloat16":
        return finfo_object(16, 2.0**-7, 3.3895313892515355e38, -3.3895313892515355e38, 2.0**-126, part)
    limits = np.finfo(part.dtype)
    numbers = (float(limits.eps), float(limits.max), float(limits.min), float(limits.smallest_normal))
    return finfo_object(limits.bits, *numbers, part)


def iinfo(type: Any, /) -> iinfo_object:
    """Limits of an integer dtype, or of an array's.

    Raises
    ------
    TypeError
        If the dtype is not an integer one.

    Examples
    --------
    >>> import agrad
    >>> agrad.iinfo(agrad.int8).max
    127
    """
    own = as_dtype(type)
    if own.kind not in ("signed", "unsigned"):
        raise TypeError(f"iinfo needs an integer dtype, got {own}; use finfo")
    limits = np.iinfo(own.dtype)
    return iinfo_object(int(limits.bits), int(limits.max), int(limits.min), own)


def result_type(*arrays_and_dtypes: Any) -> dtypes.DType:
    """The dtype that an operation on these arrays, dtypes and Python numbers has; it follows the backend of the arrays.

    Examples
    --------
    >>> import agrad
    >>> agrad.result_type(agrad.float32, 1.0)
    agrad.float32
    """
    if not arrays_and_dtypes:
        raise ValueError("at least one array or dtype is required")
    owners = [v.backend_ if isinstance(v, Tensor) else backends.of(v) for v in arrays_and_dtypes]
    backend = next((owner for owner in owners if owner is not None), None) or default_backend()
    own = [raw_operand(v, owner, backend) for v, owner in zip(arrays_and_dtypes, owners, strict=True)]
    return dtypes.of(backend.xp.result_type(*own))


def raw_operand(value: Any, owner: Any, backend: Any) -> Any:
    """An argument of `result_type` as the backend takes it."""
    if isinstance(value, Tensor):
        return value.detach().array
    if owner is not None or isinstance(value, (bool, int, float, complex)):
        return value
    return backend.to_dtype(value)


def broadcast_shapes(*shapes: tuple[int, ...]) -> tuple[int, ...]:
    """The shape that arrays of these shapes have together.

    Examples
    --------
    >>> import agrad
    >>> agrad.broadcast_shapes((2, 1), (3,))
    (2, 3)
    """
    return np.broadcast_shapes(*shapes)


class NamespaceInfo:
    """What the standard's inspection functions tell about a backend."""

    def __init__(self, backend: Any, device: Any = None) -> None:
        self._backend, self._device = backend, device

    def capabilities(self) -> dict[str, Any]:
        """What data-dependent things the backend can do."""
        eager = self._backend.knows_values
        return {"boolean indexing": eager, "data-dependent shapes": eager, "max dimensions": 64}

    def default_device(self) -> Any:
        """The device of new arrays where nothing is said."""
        return self._backend.usual_device() if self._device is None else self._device

    def default_dtypes(self, *, device: Any = None) -> dict[str, dtypes.DType]:
        """The dtypes of new arrays where nothing is said."""
        real = default_dtype(self._backend)
        complex_dtype = dtypes.of("complex64" if real.bits <= 32 else "complex128")
        integer = self._backend.default_integer()
        return {"real floating": real, "complex floating": complex_dtype, "integral": integer, "indexing": integer}

    def dtypes(self, *, device: Any = None, kind: Any = None) -> dict[str, dtypes.DType]:
        """The standard's dtypes that the backend has, by name."""
        found = {name: d for name, d in dtypes.DTYPES.items() if name not in ("float16", "bfloat16")}
        return {
            name: d
            for name, d in found.items()
            if self._backend.has_dtype(d) and (kind is None or isdtype(d, kind))
        }

    def devices(self) -> tuple[Any, ...]:
        """The backend's devices."""
        return tuple(self._backend.device_names())


def namespace_info(backend: Any = None, device: Any = None) -> Any:
    """The inspection function of a backend's namespace, or of the default backend's."""

    def __array_namespace_info__() -> NamespaceInfo:
        """What this namespace can do."""
        return NamespaceInfo(default_backend() if backend is None else backend, device)

    return __array_namespace_info__


FUNCTIONS = {
    "isdtype": isdtype,
    "can_cast": can_cast,
    "finfo": finfo,
    "iinfo": iinfo,
    "result_type": result_type,
    "broadcast_shapes": broadcast_shapes,
}
