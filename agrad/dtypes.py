"""The neutral dtypes: one object for each data type, whatever backend holds the numbers.

NumPy accepts them wherever it takes a dtype, and they equal NumPy's dtypes and hash like them.
This module knows NumPy and no other array library: a foreign dtype object is recognised by its printed name alone.
"""

import builtins
import sys
from typing import Any

import numpy as np

__all__ = [
    "DTYPES", "TORCH_NAMES", "DType", "bfloat16", "bool", "complex64", "complex128", "float16", "float32", "float64",
    "int8", "int16", "int32", "int64", "of", "uint8", "uint16", "uint32", "uint64",
]


class DType:
    """A data type; the only ones are this module's `float32`, `int64` and so on.

    Attributes
    ----------
    name : str
    kind : str
        "bool", "signed", "unsigned", "real" or "complex".
    bits : int
    dtype : numpy.dtype
        Absent (AttributeError) on `bfloat16`, unless `ml_dtypes` has been imported.

    Examples
    --------
    >>> import numpy as np
    >>> float32
    agrad.float32
    >>> float32 == np.dtype("float32"), float32 == np.float32, float32 == "float32"
    (True, True, True)
    >>> np.zeros(2, dtype=float32).dtype
    dtype('float32')
    """

    __slots__ = ("_hash", "_numpy", "bits", "kind", "name")

    def __init__(self, name: str, kind: str, bits: int) -> None:
        self.name = name
        self.kind = kind
        self.bits = bits
        self._numpy: np.dtype[Any] | None = None if name == "bfloat16" else np.dtype(name)
        self._hash = hash(name if self._numpy is None else self._numpy)

    @property
    def dtype(self) -> np.dtype[Any]:
        if self._numpy is not None:
            return self._numpy
        # Looked up, not imported: a program that uses such arrays has imported it.
        extension = sys.modules.get("ml_dtypes")
        if extension is None:
            raise AttributeError(f"NumPy has no dtype for {self!r} until ml_dtypes is imported")
        found: np.dtype[Any] = np.dtype(getattr(extension, self.name))
        return found

    @property
    def is_floating(self) -> builtins.bool:
        return self.kind == "real"

    @property
    def is_floating_point(self) -> builtins.bool:
        """PyTorch's word for `is_floating`."""
        return self.kind == "real"

    @property
    def is_complex(self) -> builtins.bool:
        return self.kind == "complex"

    def __eq__(self, other: object) -> builtins.bool:
        if isinstance(other, DType):
            return self is other
        if isinstance(other, np.dtype) and self._numpy is not None:
            return self._numpy == other  # NumPy tells byte orders apart
        found = _find(other, DTYPES)
        return NotImplemented if found is None else found is self

    def __hash__(self) -> int:
        return self._hash

    def __repr__(self) -> str:
        return f"agrad.{self.name}"

    def __reduce__(self) -> str:
        return self.name


def of(dtype: object) -> DType:
    """Return the neutral dtype that `dtype` means.

    Parameters
    ----------
    dtype : object
        A neutral or NumPy dtype, a NumPy scalar type, Python's `bool`, `int`, `float` or `complex` (64 bits, or 64 per
        part), a dtype object that prints as ``library.float32``, or a name. The names are those of the dtypes and
        PyTorch's further ones, with PyTorch's meaning ("float" has 32 bits), alone or after a dot ("torch.long").

    Raises
    ------
    TypeError
        If it means no dtype, or one that agrad does not have.

    Examples
    --------
    >>> of("torch.double"), of(float), of("half")
    (agrad.float64, agrad.float64, agrad.float16)
    """
    if isinstance(dtype, DType):
        return dtype
    found = _find(dtype, _names)
    if found is None:
        raise TypeError(f"{dtype!r} is not a dtype of agrad; valid names are {', '.join(_names)}")
    return found


def _find(other: object, names: dict[str, DType]) -> DType | None:
    if isinstance(other, type):
        # By name too: ml_dtypes.bfloat16 and JAX's scalar types are classes of their own.
        return _types.get(other) or DTYPES.get(other.__name__)
    if isinstance(other, np.dtype):
        return DTYPES.get(other.name)
    # Nothing else is printed: it could be an array, and a large one.
    if isinstance(other, str) or type(other).__name__.lower() == "dtype":
        return names.get(str(other).rpartition(".")[2])
    return None


bool = DType("bool", "bool", 8)
int8 = DType("int8", "signed", 8)
int16 = DType("int16", "signed", 16)
int32 = DType("int32", "signed", 32)
int64 = DType("int64", "signed", 64)
uint8 = DType("uint8", "unsigned", 8)
uint16 = DType("uint16", "unsigned", 16)
uint32 = DType("uint32", "unsigned", 32)
uint64 = DType("uint64", "unsigned", 64)
float16 = DType("float16", "real", 16)
bfloat16 = DType("bfloat16", "real", 16)
float32 = DType("float32", "real", 32)
float64 = DType("float64", "real", 64)
complex64 = DType("complex64", "complex", 64)
complex128 = DType("complex128", "complex", 128)

_whole = (bool, int8, int16, int32, int64, uint8, uint16, uint32, uint64)
_inexact = (float16, bfloat16, float32, float64, complex64, complex128)

DTYPES = {d.name: d for d in _whole + _inexact}

# PyTorch's second names. NumPy means 64 bits by "float" and "int"; so does Python, and so do the types, not the names.
TORCH_NAMES = {
    "half": float16,
    "float": float32,
    "double": float64,
    "cfloat": complex64,
    "cdouble": complex128,
    "short": int16,
    "int": int32,
    "long": int64,
}

_names = DTYPES | TORCH_NAMES

# Every C integer has a scalar type of its own, and two of them have 64 bits.
_types: dict[type, DType] = {np.dtype(code).type: DTYPES[np.dtype(code).name] for code in "?bBhHiIlLqQefdFD"}
_types |= {builtins.bool: bool, int: int64, float: float64, complex: complex128}
