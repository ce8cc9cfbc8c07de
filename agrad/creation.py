"""Making tensors: the standard's creation functions with PyTorch's call forms, and conversion of data.

The forms are `ones(2, 2)` and `requires_grad=True`. A function of this file works for the default backend, or for a
given one: facades bind theirs. Must know no rule.
"""

import operator
import warnings
from collections.abc import Callable
from functools import reduce
from inspect import Parameter, Signature
from typing import Any

import numpy as np

from agrad import backends, dtypes, standard
from agrad.cython_core import engine
from agrad.cython_core.engine import Tensor
from agrad.defaults import default_backend, default_device, default_dtype

# The standard's functions that make arrays of something else than arrays.
CREATION = (
    "arange", "asarray", "empty", "eye", "from_dlpack", "full", "linspace", "ones", "zeros", "fft.fftfreq", "fft.rfftfreq",
)
SHAPED = ("empty", "ones", "zeros")  # ones(2, 3) means ones((2, 3))
FLOATING = ("empty", "eye", "linspace", "ones", "zeros", "fft.fftfreq", "fft.rfftfreq")  # without a dtype: the default one


def place(backend: Any, device: Any) -> tuple[Any, Any]:
    """The adapter and the device that a call means."""
    backend = default_backend() if backend is None else backend
    return backend, default_device(backend) if device is None else backend.to_device(device)


# -------------------------------------------------------------------------------------------------------------- data

NO_GRADIENT = "Only Tensors of floating point and complex dtype can require gradients"


def tensor(data: Any, *, dtype: Any = None, device: Any = None, requires_grad: bool = False) -> Tensor:
    """A new tensor with a copy of the data.

    Parameters
    ----------
    data : number, nested sequence, array or Tensor
        Python floats become the default dtype; arrays keep theirs.
    dtype, device : optional
        Default: inferred from the data; the default device.
    requires_grad : bool
        Record what is done with it.

    Raises
    ------
    RuntimeError
        If `requires_grad` is asked of integers or booleans.
    ValueError
        If nested sequences have unequal lengths.
    TypeError
        If the data is no array.

    Examples
    --------
    >>> import agrad
    >>> agrad.tensor([[1, 2], [3, 4]])
    tensor([[1, 2],
            [3, 4]])
    >>> agrad.tensor(2.0, requires_grad=True)
    tensor(2., requires_grad=True)
    """
    if isinstance(data, Tensor):
        warnings.warn(
            "To copy construct from a tensor, it is recommended to use sourceTensor.detach().clone() or "
            "sourceTensor.detach().clone().requires_grad_(True), rather than agrad.tensor(sourceTensor).",
            UserWarning,
            stacklevel=2,
        )
        with engine_mode(grad=False):
            made = convert(data, dtype=dtype, device=device, copy=True).detach()
        return made.requires_grad_() if requires_grad else made
    made = convert(data, dtype=dtype, device=device, copy=True)
    return with_grad(made, requires_grad, NO_GRADIENT)


def asarray(
    obj: Any, /, *, dtype: Any = None, device: Any = None, copy: bool | None = None, requires_grad: bool = False
) -> Tensor:
    """A tensor of anything: a Tensor comes back as it is, tracked or not; arrays share their memory where possible.

    Parameters
    ----------
    obj : number, nested sequence, array or Tensor
        Sequences that hold Tensors are stacked, and stay tracked.
    dtype, device : optional
    copy : bool, optional
        True: always copy; False: raise if a copy is needed; None: copy if needed.
    requires_grad : bool

    Raises
    ------
    TypeError, ValueError
        As `tensor`; ValueError if `copy=False` cannot be done.

    Examples
    --------
    >>> import agrad
    >>> x = agrad.tensor([1.0], requires_grad=True)
    >>> agrad.asarray(x) is x
    True
    """
    return with_grad(convert(obj, dtype=dtype, device=device, copy=copy), requires_grad)


def as_tensor(data: Any, dtype: Any = None, device: Any = None) -> Tensor:
    """`asarray` under PyTorch's name."""
    return asarray(data, dtype=dtype, device=device)


def from_numpy(array: Any) -> Tensor:
    """A tensor on the NumPy backend that shares the array's memory.

    Raises
    ------
    TypeError
        If it is not a NumPy array.

    Examples
    --------
    >>> import agrad, numpy as np
    >>> agrad.from_numpy(np.ones(2))
    tensor([1., 1.])
    """
    if not isinstance(array, np.ndarray):
        raise TypeError(f"expected np.ndarray (got {type(array).__name__})")
    return engine.make_tensor(backends.find("numpy"), np.asarray(array))


def with_grad(made: Tensor, requires_grad: bool, message: str = "") -> Tensor:
    """The tensor, tracked from here on if that was asked."""
    if requires_grad and not made.requires_grad:
        if message and made.dtype.kind not in ("real", "complex"):
            raise RuntimeError(message)
        made.requires_grad_()
    return made


class engine_mode:
    """A scoped change of the engine's mode, without the extras of the public contexts."""

    def __init__(self, **changes: Any) -> None:
        self.changes = changes

    def __enter__(self) -> None:
        self.before = engine.get_mode()
        engine.set_mode(self.before.replace(**self.changes))

    def __exit__(self, *_: object) -> None:
        engine.set_mode(self.before)


def convert(
    obj: Any, *, dtype: Any = None, device: Any = None, copy: bool | None = None, backend: Any = None
) -> Tensor:
    """A tensor of anything, on a given backend, that of an array, or the default one."""
    if isinstance(obj, Tensor):
        return convert_tensor(obj, dtype, device, copy, backend)
    own = None if isinstance(obj, (np.ndarray, np.generic)) else backends.of(obj)
    if own is not None and (backend is None or backend is own):
        own.reject_tracked(obj)
        dtype = None if dtype is None else own.to_dtype(dtype)
        device = None if device is None else own.to_device(device)
        return engine.make_tensor(own, own.convert(obj, dtype, device, copy))
    if holds_tensors(obj):
        return stack_nested(obj, dtype, device)
    backend, device = place(backend, device)
    values = as_values(obj)
    if dtype is None and not isinstance(obj, (np.ndarray, np.generic)):
        dtype = dtype_of_data(values, obj, backend)
    dtype = None if dtype is None else backend.to_dtype(check_range(values, dtypes.of(dtype), obj))
    raw = backend.from_numpy(values, dtype, device, copy if isinstance(obj, np.ndarray) else True)
    return engine.make_tensor(backend, raw)


def convert_tensor(t: Tensor, dtype: Any, device: Any, copy: bool | None, backend: Any) -> Tensor:
    """A Tensor in another dtype or place, recorded; itself if nothing changes."""
    elsewhere = backend is not None and backend is not t.backend_
    if elsewhere or (device is not None and t.backend_.to_device(device) != t.device):
        from agrad.transfer import transfer

        if copy is False:
            raise ValueError("a copy is needed to go to another place, and copy=False forbids it")
        t, copy = transfer(t, t.backend_ if backend is None else backend, device), None
    if dtype is not None and t.dtype != dtypes.of(dtype):
        if copy is False:
            raise ValueError(f"a copy is needed to go from {t.dtype} to {dtypes.of(dtype)}, and copy=False forbids it")
        return call("astype", t, dtypes.of(dtype))
    return call("copy", t) if copy else t


def call(name: str, *args: Any, **kwargs: Any) -> Tensor:
    """An op by name."""
    return engine.find_op(name).function(*args, **kwargs)  # type: ignore[no-any-return]


def holds_tensors(obj: Any) -> bool:
    """Whether a nested sequence holds a Tensor."""
    return isinstance(obj, (list, tuple)) and any(isinstance(part, Tensor) or holds_tensors(part) for part in obj)


def stack_nested(obj: Any, dtype: Any, device: Any) -> Tensor:
    """A nested sequence that holds Tensors, stacked; its numbers follow the first Tensor."""
    first = next(flat_tensors(obj))
    parts = [
        part
        if isinstance(part, Tensor)
        else stack_nested(part, None, None)
        if holds_tensors(part)
        else convert(part, backend=first.backend_)
        for part in obj
    ]
    return convert(call("stack", parts), dtype=dtype, device=device)


def flat_tensors(obj: Any) -> Any:
    for part in obj:
        if isinstance(part, Tensor):
            yield part
        elif isinstance(part, (list, tuple)):
            yield from flat_tensors(part)


def as_values(obj: Any) -> Any:
    """Numbers and nested sequences of them as a NumPy array."""
    if isinstance(obj, (np.ndarray, np.generic)):
        values = np.asarray(obj)
    elif isinstance(obj, (bool, int, float, complex, list, tuple, range)) or exports_memory(obj):
        try:
            values = np.asarray(obj)
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
        raise TypeError(f"cannot make a tensor of elements of type {kind}; numbers are needed")
    return values


def exports_memory(obj: Any) -> bool:
    return hasattr(obj, "__array_interface__") or hasattr(obj, "__buffer__")


def first_leaf(obj: Any) -> Any:
    while isinstance(obj, (list, tuple)) and obj:
        obj = obj[0]
    return obj


def check_range(values: Any, dtype: dtypes.DType, obj: Any) -> dtypes.DType:
    """The dtype, if it is an integer one that can hold the Python integers given."""
    if dtype.kind in ("signed", "unsigned") and values.dtype.kind in "iu" and values.size and values is not obj:
        limits = np.iinfo(dtype.dtype)
        if values.min() < limits.min or values.max() > limits.max:
            raise RuntimeError(f"value cannot be converted to type {dtype.name} without overflow")
    return dtype


def dtype_of_data(values: Any, obj: Any, backend: Any) -> Any:
    """The dtype of Python data: floats become the default dtype, NumPy's own numbers keep theirs."""
    if isinstance(first_leaf(obj), (np.generic, np.ndarray)):
        return None
    if values.dtype.kind == "f":
        return default_dtype(backend)
    if values.dtype.kind == "c":
        return dtypes.of("complex64" if default_dtype(backend).bits <= 32 else "complex128")
    return None


# ----------------------------------------------------------------------------------------------------- the functions


def make(name: str, backend: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Tensor:
    """Run a creation function with PyTorch's call forms bound to the standard's parameters."""
    requires_grad = kwargs.pop("requires_grad", False)
    if name in SHAPED and args and all(isinstance(a, int) for a in args):
        args = (args,)
    signature = standard.signature(name)
    if "size" in kwargs and "shape" in signature.bind_names:
        kwargs["shape"] = kwargs.pop("size")
    if len(args) > len(signature.parameters):
        raise TypeError(
            f"{name}() takes at most {len(signature.parameters)} arguments ({len(args)} given); "
            f"its signature is {name}{signature.text}"
        )
    bound = dict(zip(signature.bind_names, args, strict=False))
    for key, value in kwargs.items():
        if key not in signature.bind_names or key in bound:
            problem = "multiple values for" if key in bound else "an unexpected keyword"
            raise TypeError(f"{name}() got {problem} argument {key!r}; its signature is {name}{signature.text}")
        bound[key] = value
    missing = [p.name for p in signature.parameters if p.default is standard.REQUIRED and p.name not in bound]
    if missing:
        raise TypeError(f"{name}() missing required argument: {missing[0]!r}")
    return with_grad(build(name, backend, bound), requires_grad, NO_GRADIENT)


def build(name: str, backend: Any, bound: dict[str, Any]) -> Tensor:
    """The tensor that a creation function with bound parameters means."""
    if name == "asarray":
        return convert(bound.pop("obj"), backend=backend, **bound)
    tensors = [value for value in bound.values() if isinstance(value, Tensor)]
    if name == "from_dlpack":
        return import_dlpack(backend, bound)
    if name == "full" and tensors:
        return full_of_tensor(backend, bound)
    backend, device = place(backend, bound.pop("device", None))
    dtype = bound.pop("dtype", None)
    bound = {key: value.item() if isinstance(value, Tensor) else value for key, value in bound.items()}
    if dtype is None:
        dtype = default_for(name, backend, bound)
    if "shape" in bound:
        bound["shape"] = check_shape(bound["shape"])
    names = [p.name for p in standard.signature(name).parameters if p.role != "keyword_only" and p.name in bound]
    positional = [bound.pop(key) for key in names]
    dtype = None if dtype is None else backend.to_dtype(dtype)
    raw = reduce(getattr, name.split("."), backend.xp)(*positional, **bound, dtype=dtype, device=device)
    return engine.make_tensor(backend, backend.normalise(raw))


def default_for(name: str, backend: Any, bound: dict[str, Any]) -> Any:
    """The dtype where none was given; None leaves it to the backend (integers, booleans)."""
    if name in FLOATING:
        holds_complex = any(isinstance(v, complex) for v in bound.values())
        return complex_default(backend) if holds_complex else default_dtype(backend)
    numbers = [bound.get("fill_value")] if name == "full" else list(bound.values())
    if any(isinstance(v, complex) for v in numbers):
        return complex_default(backend)
    holds_float = any(isinstance(v, float) and not isinstance(v, np.generic) for v in numbers)
    return default_dtype(backend) if holds_float else None


def complex_default(backend: Any) -> dtypes.DType:
    return dtypes.of("complex64" if default_dtype(backend).bits <= 32 else "complex128")


def check_shape(shape: Any) -> Any:
    """A shape as kernels take it."""
    if isinstance(shape, (tuple, list)):
        return tuple(check_shape(n) for n in shape)
    try:
        return operator.index(shape)
    except TypeError:
        raise TypeError(f"a shape is made of integers, got {shape!r}") from None


def full_of_tensor(backend: Any, bound: dict[str, Any]) -> Tensor:
    """`full` with a 0-d Tensor as value: recorded."""
    value = convert(bound["fill_value"], dtype=bound.get("dtype"), device=bound.get("device"), backend=backend)
    shape = bound["shape"]
    return call("copy", call("broadcast_to", value, (shape,) if isinstance(shape, int) else tuple(shape)))


def import_dlpack(backend: Any, bound: dict[str, Any]) -> Tensor:
    """A tensor on memory that another library exports; what it tracked stays with it."""
    backend, device = place(backend, bound.pop("device", None))
    x = bound["x"]
    if isinstance(x, Tensor):
        x = x.array
    given = {key: value for key, value in bound.items() if key != "x" and value is not None}
    if device is not None:
        given["device"] = device
    return engine.make_tensor(backend, backend.normalise(backend.xp.from_dlpack(x, **given)))


def creation_function(name: str, backend: Any = None, device: Any = None) -> Callable[..., Tensor]:
    """The creation function of that name, for the default backend and device or given ones."""
    def function(*args: Any, **kwargs: Any) -> Tensor:
        if device is not None and kwargs.get("device") is None:
            kwargs["device"] = device
        return make(name, backend, args, kwargs)

    signature = standard.signature(name)
    function.__name__ = function.__qualname__ = name.rpartition(".")[2]
    function.__module__ = "agrad"
    forms = " and the shape as separate integers" if name in SHAPED else ""
    function.__doc__ = f"The standard's `{name}`; also takes `requires_grad=`{forms}."
    function.__signature__ = python_signature(signature)  # type: ignore[attr-defined]
    return function


def python_signature(signature: standard.Signature) -> Signature:
    """What inspect shows for a function of the standard."""
    return Signature([
        Parameter(
            p.name,
            getattr(Parameter, p.role.upper()),
            default=Parameter.empty if p.default is standard.REQUIRED else p.default,
        )
        for p in signature.parameters
    ])


asarray.__signature__ = python_signature(standard.signature("asarray"))  # type: ignore[attr-defined]
