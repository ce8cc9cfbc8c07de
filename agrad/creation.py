"""Making tensors: the standard's creation functions with PyTorch's call forms, and conversion of data.

The forms are `ones(2, 2)` and `requires_grad=True`. A function of this file works for the default backend, or for a
given one: facades bind theirs. Must know no rule.
"""

import operator
import warnings
from collections.abc import Callable
from functools import reduce
from inspect import Parameter, Signature
from itertools import takewhile
from typing import Any

import numpy as np

from agrad import backends, dtypes, standard
from agrad.cython_core import engine
from agrad.cython_core.engine import Tensor
from agrad.data import (
    NUMBERS,
    PLAIN,
    as_values,
    check_kind,
    check_values,
    complex_default,
    dtype_of_data,
    exports_memory,
    flat_parts,
    holds_arrays,
    is_element,
    shares_memory,
    with_numbers,
)
from agrad.defaults import default_backend, default_device, default_dtype
from agrad.dtype_functions import result_type
from agrad.exchange import check_untracked, from_dlpack

# The standard's functions that make arrays of something else than arrays.
CREATION = (
    "arange", "asarray", "empty", "eye", "from_dlpack", "full", "linspace", "ones", "zeros",
    "fft.fftfreq", "fft.rfftfreq",
)
SHAPED = ("empty", "ones", "zeros")  # ones(2, 3) means ones((2, 3))
# Without a dtype these have the default one.
FLOATING = ("empty", "eye", "linspace", "ones", "zeros", "fft.fftfreq", "fft.rfftfreq")


def place(backend: Any, device: Any, home: Any = None, name: str = "asarray") -> tuple[Any, Any]:
    """The adapter and the device that a call means; `home` is where a facade's tensors live."""
    if backend is None:     # the default device is one of the default backend
        backend, home = default_backend(), default_device(default_backend())
    return backend, home if device is None else own_device(backend, device, name)


def own_device(backend: Any, device: Any, name: str) -> Any:
    """A backend's own object for a device; an error that names the function if there is none."""
    try:
        return backend.to_device(device)
    except (TypeError, ValueError) as error:
        raise type(error)(f"{name}(): {error}") from None


def own_dtype(backend: Any, dtype: Any, name: str) -> Any:
    """A backend's own dtype; an error that names the function and what there is if it has none."""
    neutral = dtypes.of(dtype)
    try:
        return backend.to_dtype(neutral)
    except (TypeError, AttributeError) as error:
        has = ", ".join(d for d in dtypes.DTYPES if backend.has_dtype(dtypes.DTYPES[d]))
        raise TypeError(f"{name}(): {error}; it has {has}") from None


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
    if not isinstance(requires_grad, bool):
        raise TypeError(f"requires_grad must be bool, not {type(requires_grad).__name__}")
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
    obj: Any, *, dtype: Any = None, device: Any = None, copy: bool | None = None, backend: Any = None, home: Any = None
) -> Tensor:
    """A tensor of anything, on a given backend, that of an array, or the default one.

    What is an array already stays on its device unless `device` says otherwise; the rest goes to `home`.
    """
    if isinstance(obj, Tensor):
        return convert_tensor(obj, dtype, device, copy, backend)
    own = None if isinstance(obj, (np.ndarray, np.generic)) else backends.of(obj)
    if own is not None:
        own.reject_tracked(obj)
        if dtype is not None and own.is_complex(obj):
            check_kind("c", dtypes.of(dtype))
        if backend is None or backend is own:
            dtype = None if dtype is None else own_dtype(own, dtype, "asarray")
            device = None if device is None else own_device(own, device, "asarray")
            return engine.make_tensor(own, own.convert(obj, dtype, device, copy))
        obj = own.to_numpy(obj)
    if holds_arrays(obj):
        return stack_nested(obj, dtype, device, copy, backend)
    backend, device = place(backend, device, home)
    if not isinstance(obj, (np.ndarray, *NUMBERS)) and not exports_memory(obj) and hasattr(obj, "__dlpack__"):
        return convert(from_dlpack(obj, backend, device, copy), dtype=dtype, copy=None if copy else copy)
    values = as_values(obj, copy)
    if dtype is None:
        dtype = dtype_of_data(values, obj, backend, device)
    dtype = None if dtype is None else own_dtype(backend, check_values(values, dtypes.of(dtype), obj), "asarray")
    raw = backend.from_numpy(values, dtype, device, copy if shares_memory(obj) else True)
    return engine.make_tensor(backend, raw)


def convert_tensor(t: Tensor, dtype: Any, device: Any, copy: bool | None, backend: Any) -> Tensor:
    """A Tensor in another dtype or place, recorded; itself if nothing changes."""
    elsewhere = backend is not None and backend is not t.backend_
    if elsewhere or (device is not None and own_device(t.backend_, device, "to") != t.device):
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


def stack_nested(obj: Any, dtype: Any, device: Any, copy: bool | None, backend: Any) -> Tensor:
    """A nested sequence that holds arrays, stacked and tracked; its numbers go where the first array is."""
    if copy is False:
        raise ValueError("asarray(): a copy is needed to stack the parts of a sequence, and copy=False forbids it")
    parts: dict[int, Any] = {id(part): convert(part) for part in flat_parts(obj) if is_element(part)}
    first = next(iter(parts.values()))
    for part in flat_parts(obj):
        if isinstance(part, (np.ndarray, np.generic)):
            parts[id(part)] = convert(part, backend=first.backend_, home=first.device)
    numbers = [part for part in flat_parts(obj) if type(part) in PLAIN]
    common = with_numbers(result_type(*parts.values()), numbers, first.backend_, first.device)

    def stacked(part: Any) -> Tensor:
        if isinstance(part, (list, tuple)):
            return call("stack", [stacked(each) for each in part])
        return convert(parts.get(id(part), part), dtype=common, backend=first.backend_, home=first.device)

    return convert(stacked(obj), dtype=dtype, device=device, backend=backend)


# ----------------------------------------------------------------------------------------------------- the functions


def make(name: str, backend: Any, home: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Tensor:
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
    return with_grad(build(name, backend, home, bound), requires_grad, NO_GRADIENT)


def build(name: str, backend: Any, home: Any, bound: dict[str, Any]) -> Tensor:
    """The tensor that a creation function with bound parameters means."""
    if name == "asarray":
        return convert(bound.pop("obj"), backend=backend, home=home, **bound)
    if name == "from_dlpack":       # on the device of what is taken, unless another is asked for
        backend, device = place(backend, bound.get("device"), None, name)
        return take_memory(bound["x"], backend, device if "device" in bound else None, bound.get("copy"))
    if name == "full" and isinstance(bound["fill_value"], Tensor):
        return full_of_tensor(backend, home, bound)
    backend, device = place(backend, bound.pop("device", None), home, name)
    dtype = bound.pop("dtype", None)
    bound = {key: plain(name, key, value, backend) for key, value in bound.items()}
    if dtype is None:
        dtype = default_for(name, backend, device, bound)
    # By position as far as there is no gap: arange(stop, step=2) has one.
    names = [p.name for p in standard.signature(name).parameters if p.role != "keyword_only"]
    positional = [bound.pop(key) for key in takewhile(bound.__contains__, names)]
    dtype = None if dtype is None else own_dtype(backend, dtype, name)
    raw = reduce(getattr, name.split("."), backend.xp)(*positional, **bound, dtype=dtype, device=device)
    return engine.make_tensor(backend, backend.normalise(raw))


def take_memory(x: Any, backend: Any, device: Any, copy: bool | None) -> Tensor:
    """`from_dlpack`; a tensor of the same backend gives a twin, which knows of writes to it."""
    if isinstance(x, Tensor) and x.backend_ is backend:
        check_untracked(x)
        return convert(x.detach(), device=device, copy=copy)
    return from_dlpack(x, backend, device, copy)


def plain(name: str, key: str, value: Any, backend: Any) -> Any:
    """An argument of a creation function as kernels take it: numbers, no tensors."""
    if key == "shape":
        return check_shape(name, value, backend)
    if not isinstance(value, Tensor):
        return value
    if value.requires_grad:
        raise TypeError(
            f"{name}() makes a tensor of numbers, and would drop the graph of its argument {key!r}: "
            "pass value.item(), or compute with operations, such as start + (stop - start) * linspace(0, 1, n)"
        )
    return value.item()


def default_for(name: str, backend: Any, device: Any, bound: dict[str, Any]) -> Any:
    """The dtype where none was given; None leaves it to the backend (integers, booleans)."""
    if name in FLOATING:
        holds_complex = any(isinstance(v, complex) for v in bound.values())
        return complex_default(backend, device) if holds_complex else default_dtype(backend, device)
    numbers = [bound.get("fill_value")] if name == "full" else list(bound.values())
    if any(isinstance(v, complex) for v in numbers):
        return complex_default(backend, device)
    holds_float = any(isinstance(v, float) and not isinstance(v, np.generic) for v in numbers)
    return default_dtype(backend, device) if holds_float else None


def check_shape(name: str, shape: Any, backend: Any) -> Any:
    """A shape as kernels take it; a length that is no number, or not known yet, is refused by name."""
    if isinstance(shape, (tuple, list)):
        checked = tuple(check_shape(name, n, backend) for n in shape)
        return shape if shape == checked else checked       # lazy libraries have shapes that remember more
    if backend.is_length(shape):
        return shape
    try:
        return operator.index(shape)
    except (TypeError, ValueError):
        unknown = shape is None or shape != shape or not isinstance(shape, (float, str))
        way_out = f"; lengths that are not known yet: use {name}_like(x), or compute them first" if unknown else ""
        place = f"{name}() on the backend {backend.name}"
        raise TypeError(f"{place}: a shape is made of integers, got {shape!r}{way_out}") from None


def full_of_tensor(backend: Any, home: Any, bound: dict[str, Any]) -> Tensor:
    """`full` with a 0-d Tensor as value: recorded."""
    dtype, device = bound.get("dtype"), bound.get("device")
    value = convert(bound["fill_value"], dtype=dtype, device=device, backend=backend, home=home)
    shape = check_shape("full", bound["shape"], value.backend_)
    return call("copy", call("broadcast_to", value, (shape,) if isinstance(shape, int) else shape))


def creation_function(name: str, backend: Any = None, device: Any = None) -> Callable[..., Tensor]:
    """The creation function of that name, for the default backend and device or given ones."""
    def function(*args: Any, **kwargs: Any) -> Tensor:
        return make(name, backend, device, args, kwargs)

    signature = standard.signature(name)
    # The names lead to the function, which is what pickle needs; a device's namespace has no path of names.
    function.__name__ = name.rpartition(".")[2]
    function.__module__ = "agrad" if backend is None else "agrad.namespaces"
    function.__qualname__ = name if backend is None else f"{backend.name}.{name}"
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
