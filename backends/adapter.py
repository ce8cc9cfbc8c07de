"""What adapters share: the kernel namespace, and generic kernels for the ops that the engine adds to the standard.

An adapter subclasses `Adapter` and states what differs in its library. This file must know no array library but NumPy,
through which data goes from one to another.
"""

import operator
from collections.abc import Callable
from math import prod
from typing import Any, ClassVar

import numpy as np

from agrad import backends, dtypes, standard
from agrad.backends import transforms
from agrad.cython_core import engine
from agrad.cython_core.engine import Backend, Op

KINDS = {"bool": 0, "unsigned": 1, "signed": 1, "real": 2, "complex": 3}  # each holds those before it


class Kernels:
    """The standard's names as one backend provides them on raw arrays, and every op under its public name.

    It is the `xp` of the raw world.
    """

    def __init__(self, backend: "Adapter", prefix: str = "") -> None:
        self._backend, self._prefix = backend, prefix
        self.__name__ = f"agrad.kernels.{backend.name}{'.' + prefix[:-1] if prefix else ''}"

    def __getattr__(self, name: str) -> Any:
        full = standard.SAME.get(self._prefix + name, self._prefix + name)
        if name.startswith("__") and name != "__array_namespace_info__":
            raise AttributeError(name)
        try:
            value = engine.raw_kernel(engine.find_op(full), self._backend)
        except LookupError:
            value = self._other(full)
        except NotImplementedError as error:
            raise AttributeError(str(error)) from error
        setattr(self, name, value)      # found once
        return value

    def __dir__(self) -> list[str]:
        ops = (name for name in (*engine.all_ops(), *standard.SAME) if name.startswith(self._prefix))
        names = {name.removeprefix(self._prefix).partition(".")[0] for name in ops}
        return sorted(names if self._prefix else {*names, *standard.CONSTANTS, *dtypes.DTYPES})

    def _other(self, full: str) -> Any:
        if full in standard.CONSTANTS:
            return standard.CONSTANTS[full]
        if full in dtypes.DTYPES and self._backend.has_dtype(dtypes.DTYPES[full]):
            return self._backend.to_dtype(dtypes.DTYPES[full])
        if any(name.startswith(full + ".") for name in engine.all_ops()) or engine.owns_prefix(full):
            return Kernels(self._backend, full + ".")
        raise AttributeError(f"{self.__name__} has no attribute {full!r}")

    def __repr__(self) -> str:
        return f"<{self.__name__}>"


def keeping_imaginary_parts(backend: "Adapter", cast: Callable[..., Any]) -> Callable[..., Any]:
    """`astype` that refuses what the standard says should not be permitted: complex numbers as real ones."""
    def astype(x: Any, dtype: Any, /, **options: Any) -> Any:
        if backend.is_complex(x) and dtypes.of(dtype).kind not in ("complex", "bool"):
            problem = f"complex numbers cannot be cast to {dtypes.of(dtype)}"
            raise TypeError(f"astype() on the backend {backend.name}: {problem}; take real(x) or abs(x) first")
        return cast(x, dtype, **options)

    return astype


class Adapter(Backend):
    """One array library: its arrays, its namespace, and what differs from the standard.

    Subclasses set `label`, `arrays`, `other_arrays`, `namespace` and override the methods of `Backend` that their
    library does differently. `own` holds raw functions for single ops; what it lacks is taken from `namespace`.
    """

    label: str
    arrays: type
    other_arrays: tuple[type, ...] = ()
    scalars: type | None = None  # the most frequent of them
    namespace: Any
    own: ClassVar[dict[str, Callable[..., Any]]] = {}
    updates: ClassVar[dict[str, Callable[..., Any]]] = {}  # compiled loops for formulas of agrad.optim, by their names
    get_item = staticmethod(operator.getitem)

    def __init__(self) -> None:
        self._set_types(self.label, self.arrays, self.other_arrays, self.scalars)
        self.xp = Kernels(self)
        self._neutral: dict[Any, dtypes.DType] = {}
        self._names: dict[str, Callable[..., Any]] = {
            "getitem": self.get_item, "setitem": self._setitem, "copy": self.copy, "read_view": self._read_view,
            "write_view": self._write_view, "scatter": self._scatter, "extremum": self._extremum,
            "scatter_add": self._scatter_add, **self.own,
        }

    @property
    def distribution(self) -> str:
        """Under which name the array library is installed."""
        return self.label

    def version(self) -> str:
        """Version of the array library."""
        return str(self.namespace.__version__)

    def kernel(self, op: Op) -> Callable[..., Any] | None:
        """The raw function for an op, None where the library lacks it."""
        place: Any = self._names.get(op.name)
        if place is None and op.name not in standard.BEYOND:  # libraries use these names for calls of another form
            place = self.namespace
            for part in op.name.split("."):
                place = getattr(place, part, None)
        found = place if callable(place) else None
        if op.name == "astype" and found is not None:
            return keeping_imaginary_parts(self, found)
        return transforms.kernel(self, op.name, found) if op.signature.chapter == "fft" else found

    def generic(self, name: str, *args: Any, **options: Any) -> Any:
        """What the kernel of an op that serves all libraries gives, for kernels that do not take every call."""
        return engine.find_op(name).record.kernels["*"](*args, xp=self.xp, **options)

    # -- dtypes

    def neutral_dtype(self, raw: Any) -> dtypes.DType:
        """The neutral dtype of a raw array."""
        own = self.dtype_of(raw)
        try:
            return self._neutral[own]
        except KeyError:
            return self._neutral.setdefault(own, dtypes.of(own))

    def is_differentiable(self, raw: Any) -> bool:
        """Floating or complex."""
        return self.neutral_dtype(raw).kind in ("real", "complex")

    def is_complex(self, raw: Any) -> bool:
        """Complex."""
        return self.neutral_dtype(raw).kind == "complex"

    def is_complex_dtype(self, dtype: Any) -> bool:
        """Whether a dtype of the backend is complex."""
        return dtypes.of(dtype).kind == "complex"

    # -- devices

    def device_names(self) -> tuple[str, ...]:
        """The devices that there are on this machine."""
        return ("cpu",)

    def device_name(self, device: Any) -> str:
        """How a device is written."""
        return str(device)

    def usual_device(self) -> Any:
        """The device that is not printed."""
        return "cpu"

    def no_device(self, device: Any) -> ValueError:
        """The error for a device that there is not."""
        names = ", ".join(map(repr, self.device_names()))
        return ValueError(f"the backend {self.name} has no device {str(device)!r}; it has {names}")

    def has_dtype(self, dtype: dtypes.DType, device: Any = None) -> bool:
        """Whether the backend has a dtype, on a device where not all of them have the same."""
        try:
            self.to_dtype(dtype)
        except (TypeError, AttributeError):
            return False
        return True

    def is_integer_scalar(self, raw: Any) -> bool:
        """Whether a raw value is a 0-d array of integers (not booleans)."""
        return not self.shape_of(raw) and self.neutral_dtype(raw).kind in ("signed", "unsigned")

    # -- making arrays

    def zeros(self, shape: tuple[int, ...], dtype: Any, device: Any) -> Any:
        return self.namespace.zeros(shape, dtype=dtype, device=device)

    def full(self, shape: tuple[int, ...], value: Any, dtype: Any, device: Any) -> Any:
        return self.namespace.full(shape, value, dtype=dtype, device=device)

    def scalar(self, value: Any, dtype: Any, device: Any) -> Any:
        return self.namespace.asarray(value, dtype=dtype, device=device)

    def copy(self, raw: Any) -> Any:
        return self.namespace.asarray(raw, copy=True)

    def default_dtype(self) -> dtypes.DType:
        """What Python floats become where nothing else is said."""
        return dtypes.of("float64")

    def default_integer(self) -> dtypes.DType:
        """What Python integers become, and what indices are."""
        return dtypes.of("int64")

    def default_dtypes(self, device: Any = None) -> dict[str, dtypes.DType]:
        """Both of these and what follows from them, on a device, by the standard's kinds."""
        real, integer = self.default_dtype(), self.default_integer()
        numbers = dtypes.of("complex64" if real.bits <= 32 else "complex128")
        return {"real floating": real, "complex floating": numbers, "integral": integer, "indexing": integer}

    def max_dimensions(self) -> int | None:
        """How many axes an array may have, as far as the library says."""
        info = self._info()
        return None if info is None else info.capabilities().get("max dimensions")

    def computes_with(self, dtype: dtypes.DType, device: Any) -> bool:
        """Whether the library names a dtype among those of a device: some can only be stored."""
        info = self._info()
        return self.has_dtype(dtype, device) and (info is None or dtype.name in info.dtypes(kind=None))

    def _info(self) -> Any:
        inspect = getattr(self.namespace, "__array_namespace_info__", None)
        return None if inspect is None else inspect()

    converts = True  # np.asarray of a tensor is its values; False where it would become something else

    @property
    def knows_values(self) -> bool:
        """Whether a program may branch on values: shapes may depend on them, boolean masks select."""
        return not self.lazy

    def convert(self, raw: Any, dtype: Any, device: Any, copy: bool | None) -> Any:
        """An array of this backend in another dtype or on another device."""
        return self.namespace.asarray(raw, dtype=dtype, device=device, copy=copy)

    def from_numpy(self, array: Any, dtype: Any, device: Any, copy: bool | None) -> Any:
        """An array of this backend made of a NumPy array."""
        if not array.dtype.isnative:
            array = array.astype(array.dtype.newbyteorder("="))
        return self.namespace.asarray(array, dtype=dtype, device=device, copy=copy)

    def to_numpy(self, raw: Any) -> Any:
        """A NumPy array of a raw array, sharing memory where that is possible."""
        return np.asarray(raw)

    def computed(self, *raws: Any) -> tuple[Any, ...]:
        """The arrays with their values at hand; those of a lazy library remember how they are to be computed."""
        return raws

    def summary(self, raw: Any) -> str | None:
        """What is printed in the place of values that are not known; None if they are."""
        return None

    # -- operands and indices that are no arrays of this backend

    def operand(self, value: Any) -> Any:
        """NumPy's numbers count as Python's; its arrays bring their own way (`__array_ufunc__`), others are refused."""
        if isinstance(value, np.generic) and value.dtype.kind in "biufc":
            return value.item()
        other = None if isinstance(value, np.ndarray) else backends.of(value)
        if other is not None:
            raise TypeError(
                f"an array of {other.name} together with a tensor of {self.name}; "
                f"make a tensor of it with agrad.asarray(...).to(backend={self.name!r})"
            )
        return NotImplemented

    def key(self, value: Any) -> Any:
        """An index array: copied, since later changes must not reach the graph."""
        if isinstance(value, np.integer):
            return int(value)
        if isinstance(value, self.arrays):
            return self.copy(value)
        if not isinstance(value, (list, range, np.ndarray, np.bool_)):
            return value
        array = np.asarray(value)
        if array.size == 0 and not isinstance(value, np.ndarray):
            array = array.astype(np.int64)
        if array.dtype.kind not in "biu":
            raise IndexError(f"an index must consist of integers or booleans, not {array.dtype}")
        return self.from_numpy(array, None, None, True)

    # -- kernels of the engine's own ops

    def _setitem(self, x: Any, key: Any, value: Any) -> Any:
        return self.set_item(self.as_array(self.copy(x)), key, value)

    def _read_view(self, x: Any, steps: Any) -> Any:
        for op, args, output in steps:
            arguments = [] if args is None else list(args[1:])
            result = engine.raw_kernel(op, self)(x, *arguments[:op.n_positional_only - 1], **self._keywords(op, args))
            x = result if output < 0 else result[output]
        return x

    def _keywords(self, op: Op, args: Any) -> dict[str, Any]:
        if args is None:
            return {}
        return dict(list(zip(op.parameters, args, strict=True))[op.n_positional_only :])

    def _write_view(self, x: Any, value: Any, steps: Any) -> Any:
        """x with `value` written where the view's steps lead."""
        x = self.copy(x)
        if self.mutable:
            view = self._read_view(x, steps)
            if type(view) is self.arrays and self.shares(view, x):
                self.write(view, value)
                return x
        # number the elements, see which numbers the view has, and write there
        shape, device = self.shape_of(x), self.device_of(x)
        numbers = self.namespace.reshape(self.namespace.arange(prod(shape), device=device), shape)
        places = self.namespace.asarray(self._read_view(numbers, steps))
        flat = self.namespace.reshape(x, (-1,))
        value = self.namespace.asarray(value, dtype=self.dtype_of(x), device=device)
        value = self.namespace.broadcast_to(value, self.shape_of(places))
        written = self.set_item(flat, self.namespace.reshape(places, (-1,)), self.namespace.reshape(value, (-1,)))
        return self.namespace.reshape(written, shape)

    def _scatter(self, arrays: Any, keys: Any, like: Any) -> Any:
        buffer = self.zeros(like.shape, like.dtype, like.device)
        for key, array in zip(keys, arrays, strict=True):
            buffer = self.scatter_add(buffer, key, array)
        return buffer

    def _scatter_add(self, x: Any, key: Any, values: Any, /) -> Any:
        """x with values added at a key; numbers that x's dtype cannot hold are refused."""
        if isinstance(values, self.array_types):
            kind = self.neutral_dtype(values).kind
        else:
            kind = dtypes.of(type(values)).kind
            values = self.scalar(values, self.dtype_of(x), self.device_of(x)) if self.holds(x, kind) else None
        if not self.holds(x, kind):
            raise TypeError(f"scatter_add() cannot add {kind} numbers to an array of {self.neutral_dtype(x)}")
        return self.scatter_add(self.as_array(self.copy(x)), key, values)

    def holds(self, raw: Any, kind: str) -> bool:
        """Whether an array's dtype can hold numbers of a kind."""
        return KINDS[kind] <= KINDS[self.neutral_dtype(raw).kind]

    def _extremum(self, x: Any, axis: int, /, *, keepdims: bool = False, largest: bool = True) -> tuple[Any, Any]:
        """The largest or smallest element along an axis, and where it is: PyTorch's max(dim=)."""
        if not self.shape_of(x):
            return x, self.xp.zeros((), dtype=self.xp.int64, device=self.device_of(x))
        indices = (self.xp.argmax if largest else self.xp.argmin)(x, axis=axis, keepdims=True)
        values = self.xp.take_along_axis(x, indices, axis=axis)
        return (values, indices) if keepdims else (self.xp.squeeze(values, axis), self.xp.squeeze(indices, axis))


class OfNumPysDtypes(Adapter):
    """A library whose dtypes are NumPy's own objects: their kind answers without a look-up."""

    def is_differentiable(self, raw: Any) -> bool:
        return raw.dtype.kind in "fc"

    def is_complex(self, raw: Any) -> bool:
        return raw.dtype.kind == "c"    # type: ignore[no-any-return]

    def is_complex_dtype(self, dtype: Any) -> bool:
        return dtype.kind == "c"    # type: ignore[no-any-return]
