"""What `asarray` takes besides Tensors: numbers, nested sequences, memory. It becomes values of NumPy, and a dtype.

Must know no backend and no rule.
"""

from typing import Any

import numpy as np

from agrad import backends, dtypes
from agrad.cython_core.engine import Tensor
from agrad.defaults import default_dtype

NUMBERS = (bool, int, float, complex, np.generic)
PLAIN = {bool: 0, int: 1, float: 2, complex: 3}     # Python's own, by what they can hold


def is_element(part: Any) -> bool:
    """Whether a part of a nested sequence is an array that lives somewhere: a Tensor, or one of a library but NumPy."""
    if isinstance(part, Tensor):
        return True
    return not isinstance(part, (*NUMBERS, str, bytes, np.ndarray)) and backends.of(part) is not None


def holds_arrays(obj: Any) -> bool:
    """Whether a nested sequence holds Tensors, or arrays of a library but NumPy."""
    if not isinstance(obj, (list, tuple)):
        return False
    return any(type(part) not in PLAIN and (is_element(part) or holds_arrays(part)) for part in obj)


def flat_parts(obj: Any) -> Any:
    """The elements of a nested sequence, in order."""
    for part in obj:
        if isinstance(part, (list, tuple)):
            yield from flat_parts(part)
        else:
            yield part


def as_values(obj: Any, copy: bool | None = None) -> Any:
    """Numbers, nested sequences of them, and what exports its memory, as a NumPy array."""
    if copy is False and not shares_memory(obj):
        kind = type(obj).__name__
        raise ValueError(f"asarray(): a copy is needed to make a tensor of {kind}, and copy=False forbids it")
    if isinstance(obj, (np.ndarray, np.generic)):
        backends.find("numpy").reject_tracked(obj)
        values = np.asarray(obj)
    elif isinstance(obj, (bool, int, float, complex, list, tuple, range)) or shares_memory(obj):
        try:
            values = np.asarray(memoryview(obj) if isinstance(obj, bytes) else obj)
        except ValueError as error:
            problem = str(error).partition(". ")[2] or error
            raise ValueError(f"nested sequences must have equal lengths at every level: {problem}") from None
    else:
        raise TypeError(
            f"cannot make a tensor of {type(obj).__name__}; "
            "numbers, nested sequences of them, arrays and Tensors can be converted"
        )
    if values.dtype.kind not in "biufc":
        kind = first_leaf(obj).__class__.__name__
        if kind == "int":
            raise OverflowError("cannot make a tensor of integers of more than 64 bits; make floats of them")
        raise TypeError(f"cannot make a tensor of elements of type {kind}; numbers are needed")
    return values


def exports_memory(obj: Any) -> bool:
    """Whether NumPy can look at an object's memory."""
    if hasattr(obj, "__array_interface__"):
        return True
    try:
        memoryview(obj)
    except TypeError:
        return False
    return True


def shares_memory(obj: Any) -> bool:
    """Whether data may stay where it is: arrays, and what NumPy can make one of."""
    if isinstance(obj, (*NUMBERS, list, tuple, range)):
        return False
    return isinstance(obj, np.ndarray) or exports_memory(obj) or hasattr(obj, "__array__")


def first_leaf(obj: Any) -> Any:
    while isinstance(obj, (list, tuple)) and obj:
        obj = obj[0]
    return obj


def check_values(values: Any, dtype: dtypes.DType, obj: Any) -> dtypes.DType:
    """The dtype, if it can hold the numbers given: no imaginary part is cut off, no Python integer wraps round."""
    check_kind(values.dtype.kind, dtype)
    if dtype.kind in ("signed", "unsigned") and values.dtype.kind in "iu" and values.size and values is not obj:
        limits = np.iinfo(dtype.dtype)
        if values.dtype != dtype.dtype and (values.min() < limits.min or values.max() > limits.max):
            raise RuntimeError(f"value cannot be converted to type {dtype.name} without overflow")
    return dtype


def check_kind(kind: str, dtype: dtypes.DType) -> None:
    """Raise if numbers of one of NumPy's kinds would lose their imaginary parts."""
    if kind == "c" and dtype.kind not in ("complex", "bool"):
        raise TypeError(f"asarray(): complex numbers cannot be made {dtype}; take their real part first")


def with_numbers(dtype: dtypes.DType, numbers: list[Any], backend: Any, device: Any) -> dtypes.DType:
    """The dtype of arrays of a dtype together with Python numbers, which change its kind at most."""
    own = {"bool": 0, "real": 2, "complex": 3}.get(dtype.kind, 1)
    highest = max((PLAIN[type(number)] for number in numbers), default=0)
    if highest <= own:
        return dtype
    if own == 2:
        return dtypes.of("complex64" if dtype.bits <= 32 else "complex128")
    if highest == 1:
        return backend.default_dtypes(device)["integral"]   # type: ignore[no-any-return]
    return default_dtype(backend, device) if highest == 2 else complex_default(backend, device)


def dtype_of_data(values: Any, obj: Any, backend: Any, device: Any) -> Any:
    """The dtype of Python data: its numbers become the defaults of the place, NumPy's own numbers keep theirs."""
    if values.dtype.kind == "b" or shares_memory(obj) or isinstance(first_leaf(obj), (np.generic, np.ndarray)):
        return None
    if values.dtype.kind == "u" and backend.has_dtype(dtypes.uint64, device):
        return None
    if values.dtype.kind in "iu":
        return backend.default_integer() if device is None else backend.default_dtypes(device)["integral"]
    return complex_default(backend, device) if values.dtype.kind == "c" else default_dtype(backend, device)


def complex_default(backend: Any, device: Any = None) -> dtypes.DType:
    """What Python's complex numbers become."""
    return dtypes.of("complex64" if default_dtype(backend, device).bits <= 32 else "complex128")
