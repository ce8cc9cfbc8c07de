"""The standard's functions about dtypes and shapes, which record nothing: neutral dtypes in, neutral dtypes out.

Must know no rule and no single library but NumPy, whose tables of limits and casts it reads.
"""

from typing import Any, NamedTuple

import numpy as np

from agrad import backends, dtypes
from agrad.cython_core.engine import Tensor
from agrad.defaults import default_backend, default_device, default_dtype

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

    Raises
    ------
    ValueError
        If there is nothing but Python numbers, whose dtype depends on the place.
    TypeError
        If arrays of two backends meet, or the backend combines no such dtypes.

    Examples
    --------
    >>> import agrad
    >>> agrad.result_type(agrad.float32, 1.0)
    agrad.float32
    """
    if all(type(value) in (bool, int, float, complex) for value in arrays_and_dtypes):
        raise ValueError("result_type() needs at least one array or dtype")
    owners = [owner_of(value) for value in arrays_and_dtypes]
    backend = next((owner for owner in owners if owner is not None), None) or default_backend()
    own = [raw_operand(v, owner, backend) for v, owner in zip(arrays_and_dtypes, owners, strict=True)]
    return dtypes.of(backend.xp.result_type(*own))


def owner_of(value: Any) -> Any:
    """The backend of an array; None for dtypes, numbers, and NumPy's arrays, which are operands everywhere."""
    if isinstance(value, Tensor):
        return value.backend_
    return None if isinstance(value, (np.ndarray, np.generic)) else backends.of(value)


def raw_operand(value: Any, owner: Any, backend: Any) -> Any:
    """An argument of `result_type` as the backend takes it."""
    if type(value) in (bool, int, float, complex):
        return value
    if owner is None:
        return backend.to_dtype(value.dtype if isinstance(value, (np.ndarray, np.generic)) else value)
    if owner is not backend:
        raise TypeError(
            f"result_type() of arrays of {backend.name} and of {owner.name}: move one of them with to(backend=...)"
        )
    return value.detach().array if isinstance(value, Tensor) else value


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
        """What data-dependent things the backend can do, and how many axes an array may have."""
        known = self._backend.knows_values
        return {
            "boolean indexing": known,
            "data-dependent shapes": known,
            "max dimensions": self._backend.max_dimensions(),
        }

    def default_device(self) -> Any:
        """The device of new arrays where nothing is said."""
        return self._backend.usual_device() if self._device is None else self._device

    def default_dtypes(self, *, device: Any = None) -> dict[str, dtypes.DType]:
        """The dtypes of new arrays where nothing is said, by kind."""
        device = self._where(device)
        found = dict(self._backend.default_dtypes(device))
        found["real floating"] = default_dtype(self._backend, device)
        found["complex floating"] = dtypes.of("complex64" if found["real floating"].bits <= 32 else "complex128")
        return found

    def dtypes(self, *, device: Any = None, kind: Any = None) -> dict[str, dtypes.DType]:
        """The standard's dtypes that a device of the backend computes with, by name."""
        device = self._where(device)
        return {
            name: dtype
            for name, dtype in dtypes.DTYPES.items()
            if name not in ("float16", "bfloat16")
            and (kind is None or isdtype(dtype, kind))
            and self._backend.computes_with(dtype, device)
        }

    def devices(self) -> tuple[Any, ...]:
        """The backend's devices."""
        return tuple(self._backend.to_device(name) for name in self._backend.device_names())

    def _where(self, device: Any) -> Any:
        return self.default_device() if device is None else self._backend.to_device(device)


def namespace_info(backend: Any = None, device: Any = None) -> Any:
    """The inspection function of a backend's namespace, or of the default backend's."""

    def __array_namespace_info__() -> NamespaceInfo:
        """What this namespace can do."""
        if backend is not None:
            return NamespaceInfo(backend, device)
        return NamespaceInfo(default_backend(), default_device(default_backend()))

    return __array_namespace_info__


FUNCTIONS = {
    "isdtype": isdtype,
    "can_cast": can_cast,
    "finfo": finfo,
    "iinfo": iinfo,
    "result_type": result_type,
    "broadcast_shapes": broadcast_shapes,
}
