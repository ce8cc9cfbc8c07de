"""The ndonnx backend: arrays that are not computed but traced into a model in ONNX.

The raw arrays are our own `Traced`, which know their shapes; users see arrays of ndonnx. Nothing has a value here,
except what is computed from constants alone. `agrad.export` makes models with it.
"""

from collections.abc import Callable
from functools import wraps
from types import SimpleNamespace
from typing import Any

import ndonnx
import numpy as np

from agrad import dtypes
from agrad.backends import symbolic, traced, traced_functions, traced_indexing, traced_standard
from agrad.backends.adapter import Adapter
from agrad.backends.symbolic import Symbol, Undecidable
from agrad.backends.traced import Traced
from agrad.backends.traced_linalg import LINALG

NO_VALUES = (
    "the values of a traced array are known only when the model runs: in a function that is exported, Python cannot "
    "print, compare or count with them, nor can a gradient go to a tensor outside (make that an input of the function)"
)


def named(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    """A kernel whose refusals name it."""
    @wraps(function)
    def kernel(*args: Any, **kwargs: Any) -> Any:
        try:
            return folded(function(*args, **kwargs))
        except Undecidable as error:
            if error.function is None:
                error.function = name
            raise

    return kernel


def folded(result: Any) -> Any:
    """A number that was computed from constants as a constant."""
    if isinstance(result, Traced) and not result.shape and (value := traced.known_value(result)) is not None:
        return Traced(traced.constant(value), (), result.weak)
    return result


def refused(name: str, why: str) -> Any:
    """A function that models in ONNX cannot have."""
    def function(*_: Any, **__: Any) -> Any:
        raise NotImplementedError(f"{name} cannot be traced by ndonnx: {why}")

    return function


FUNCTIONS = SimpleNamespace(
    **traced_standard.FUNCTIONS, **traced_functions.FUNCTIONS, **traced_indexing.INDEXING,
    broadcast_shapes=symbolic.broadcast, linalg=LINALG, special=traced_functions.SPECIAL,
    from_dlpack=refused("from_dlpack", "the memory of another library has no place in a model; use asarray(...)"),
    imag=refused("imag", "ONNX has no complex numbers; the imaginary part of real ones is zeros_like(x)"),
    nextafter=refused("nextafter", "ONNX has no operator on the bits of a number; compute it outside the model"),
)


class Ndonnx(Adapter):
    """Variables of a model in ONNX."""

    label, arrays, namespace = "ndonnx", Traced, FUNCTIONS

    def __init__(self) -> None:
        super().__init__()
        self.mutable, self.lazy, self.adopts = False, True, True

    @property
    def array_types(self) -> tuple[type, ...]:
        """Ours and ndonnx's; the latter never get into the engine."""
        return (Traced, ndonnx.Array)

    def version(self) -> str:
        return str(ndonnx.__version__)

    def kernel(self, op: Any) -> Callable[..., Any] | None:
        found = super().kernel(op)
        return None if found is None else named(op.name, found)

    # -- dtypes and devices

    def dtype_of(self, raw: Any) -> Any:
        return traced.as_traced(raw).dtype

    def shape_of(self, raw: Any) -> Any:
        return traced.as_traced(raw).shape

    def device_of(self, raw: Any) -> str:
        return "cpu"

    def to_dtype(self, dtype: Any) -> Any:
        neutral = dtypes.of(dtype.unwrap_numpy() if isinstance(dtype, ndonnx.DType) else dtype)
        if neutral.kind == "complex" or neutral.name == "bfloat16":
            raise TypeError(f"ndonnx has no {neutral}: its models have real numbers of 16, 32 or 64 bits")
        return neutral.dtype

    def to_device(self, device: Any) -> str:
        if str(device) != "cpu":
            raise self.no_device(device)
        return "cpu"

    def is_length(self, value: Any) -> bool:
        return isinstance(value, Symbol)

    # -- arrays

    def zeros(self, shape: Any, dtype: Any, device: Any) -> Any:
        return traced_standard.zeros(shape, dtype=dtype)

    def full(self, shape: Any, value: Any, dtype: Any, device: Any) -> Any:
        return traced_standard.full(shape, value, dtype=dtype)

    def scalar(self, value: Any, dtype: Any, device: Any) -> Any:
        return traced_standard.full((), value, dtype=dtype)

    def copy(self, raw: Any) -> Any:
        found = traced.as_traced(raw)
        return Traced(found.var, found.shape, found.weak)

    def convert(self, raw: Any, dtype: Any, device: Any, copy: bool | None) -> Any:
        return traced.as_traced(raw, dtype)

    def from_numpy(self, array: Any, dtype: Any, device: Any, copy: bool | None) -> Any:
        if copy is False:
            raise ValueError("a copy is needed to put an array into a model, and copy=False forbids it")
        return traced.of_numpy(np.asarray(array, dtype=dtype))

    def to_numpy(self, raw: Any) -> Any:
        known = traced.known_value(traced.as_traced(raw))
        if known is None:
            raise RuntimeError(NO_VALUES)
        return np.array(known)

    def normalise(self, raw: Any) -> Any:
        return traced.as_traced(raw)

    def as_array(self, raw: Any) -> ndonnx.Array:
        return traced.to_ndonnx(raw) if isinstance(raw, Traced) else raw

    def summary(self, raw: Any) -> str | None:
        """What is printed in the place of values that are not known; None if they are."""
        return "<traced>" if traced.known_value(traced.as_traced(raw)) is None else None

    # -- operands and indices

    def operand(self, value: Any) -> Any:
        """Lengths and arrays of ndonnx and NumPy take part; NumPy's become constants of the model."""
        if isinstance(value, (Symbol, ndonnx.Array, np.ndarray)):
            return traced.as_traced(value)
        return super().operand(value)

    # -- writing

    def set_item(self, raw: Any, key: Any, value: Any) -> Any:
        return traced_indexing.setitem(raw, key, value)

    def scatter_add(self, raw: Any, key: Any, value: Any) -> Any:
        return traced_indexing.scatter_add(raw, key, value)

    def add_into(self, raw: Any, value: Any) -> Any:
        return raw + value

    get_item = staticmethod(traced_indexing.getitem)
