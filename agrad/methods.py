"""The methods that Tensors get from above: ops whose first parameter is an array, spellings, conversions, printing.

Installed once, when agrad is imported. Must know no backend and no rule.
"""

import contextlib
import warnings
from collections.abc import Callable
from copy import deepcopy
from typing import Any

import numpy as np

from agrad import backends, dtypes, printing, standard
from agrad.creation import call, convert
from agrad.cython_core import engine
from agrad.cython_core.engine import Tensor
from agrad.defaults import default_backend, default_device, default_dtype
from agrad.exchange import dlpack, dlpack_device
from agrad.numpy_protocol import array_function, array_ufunc
from agrad.random_methods import METHODS as RANDOM
from agrad.spellings import ALIASES, amax, amin, chunk, norm, sigmoid, split, squeeze, take_along_dim, torch_call
from agrad.transfer import transfer

# Ops with an in-place method, under their own and PyTorch's names.
INPLACE = (
    "abs", "acos", "acosh", "add", "asin", "asinh", "atan", "atanh", "ceil", "clip", "conj", "cos", "cosh", "divide",
    "exp", "expm1", "floor", "floor_divide", "log", "log10", "log1p", "log2", "multiply", "negative", "pow",
    "reciprocal", "relu", "remainder", "round", "scatter_add", "sign", "sin", "sinh", "sqrt", "square", "subtract",
    "tan", "tanh", "tril", "triu", "trunc",
)


# --------------------------------------------------------------------------------------------------------- conversions


def item(self: Tensor) -> Any:
    """The one element as a Python number.

    Raises
    ------
    RuntimeError
        If there is not exactly one element.
    """
    if self.size != 1:
        raise RuntimeError(f"a Tensor with {self.size} elements cannot be converted to Scalar")
    return values_of(self).item()


def tolist(self: Tensor) -> Any:
    """The elements as nested lists of Python numbers."""
    return values_of(self).tolist()


def values_of(t: Tensor) -> Any:
    """The values as a NumPy array."""
    return t.backend_.to_numpy(t.detach().array)


def numpy(self: Tensor, *, force: bool = False) -> Any:
    """A NumPy array, sharing memory where that is possible.

    Parameters
    ----------
    force : bool
        Detach first, and move to the CPU.

    Raises
    ------
    RuntimeError
        If the tensor requires grad and operations are being recorded, or if it has a tangent.
    """
    if self.requires_grad and not force and engine.is_grad_enabled():
        raise RuntimeError("Can't call numpy() on Tensor that requires grad. Use tensor.detach().numpy() instead.")
    if not force and engine.tangent_of(self) is not None:
        raise RuntimeError("Can't call numpy() on Tensor that has a tangent. Use tensor.detach().numpy() instead.")
    return values_of(self)


def as_numpy_array(self: Tensor, dtype: Any = None, copy: bool | None = None) -> Any:
    """`np.asarray(t)`; it never drops a graph, and makes nothing dense that is sparse."""
    if not self.backend_.converts:
        name = self.backend_.name
        raise TypeError(f"np.asarray of a tensor of {name} would make it dense; where that is meant: t.numpy()")
    return np.asarray(numpy(self), dtype=dtype, copy=copy)


def to(
    self: Tensor, *args: Any, device: Any = None, dtype: Any = None, backend: str | None = None, copy: bool = False
) -> Tensor:
    """The tensor in another dtype, on another device or backend; recorded, and itself if nothing changes.

    Examples
    --------
    >>> import agrad
    >>> agrad.tensor([1.0]).to(dtype=agrad.float32)
    tensor([1.], dtype=agrad.float32)
    """
    device, dtype, backend = destination(args, device, dtype, backend)
    target = None if backend is None else backends.find(backend)
    return convert(self, dtype=dtype, device=device, copy=copy or None, backend=target)


def destination(args: tuple[Any, ...], device: Any, dtype: Any, backend: Any) -> tuple[Any, Any, Any]:
    """The device, dtype and backend that `to` means: a Tensor among the arguments stands for all three."""
    for value in args:
        if isinstance(value, Tensor):
            device, dtype, backend = value.device, value.dtype, value.backend_.name
        elif is_dtype(value):
            dtype = value
        elif isinstance(value, str) and value in backends.names():
            backend = value
        else:
            device = value
    return device, dtype, backend


def is_dtype(value: Any) -> bool:
    try:
        dtypes.of(value)
    except TypeError:
        return False
    return True


def to_device(self: Tensor, device: Any, /, *, stream: Any = None) -> Tensor:
    """The tensor on another device; the standard's method."""
    if stream is not None:
        place = f"to_device() on the backend {self.backend_.name}"
        raise ValueError(f"{place} takes no stream: make the library's stream the current one")
    return convert(self, device=device)


def cast(name: str) -> Any:
    """A method that casts to one dtype, PyTorch's `double()`."""
    def method(self: Tensor) -> Tensor:
        return convert(self, dtype=name)

    method.__name__, method.__doc__ = name, f"The tensor as {name}; itself if it is that already."
    return method


def type_as(self: Tensor, other: Tensor) -> Tensor:
    """The tensor in the dtype of another."""
    return convert(self, dtype=other.dtype)


# ------------------------------------------------------------------------------------------------------------- shapes


def view(self: Tensor, *shape: Any) -> Tensor:
    """The same elements in another shape, or, given a dtype's name, PyTorch's `view`."""
    return call("reshape", self, shape[0] if len(shape) == 1 and isinstance(shape[0], (tuple, list)) else shape)


def view_as(self: Tensor, other: Tensor) -> Tensor:
    """The same elements in the shape of another tensor."""
    return call("reshape", self, other.shape)


def expand(self: Tensor, *shape: Any) -> Tensor:
    """Broadcast to a shape; -1 keeps an axis."""
    wanted = tuple(shape[0]) if len(shape) == 1 and isinstance(shape[0], (tuple, list)) else shape
    own = (1,) * (len(wanted) - self.ndim) + tuple(self.shape)
    return call("broadcast_to", self, tuple(o if w == -1 else w for o, w in zip(own, wanted, strict=True)))


def expand_as(self: Tensor, other: Tensor) -> Tensor:
    """Broadcast to the shape of another tensor."""
    return call("broadcast_to", self, other.shape)


def flatten(self: Tensor, start_dim: int = 0, end_dim: int = -1) -> Tensor:
    """Merge a range of axes into one."""
    n = self.ndim
    if n == 0:
        return call("reshape", self, (1,))
    first, last = start_dim % n, end_dim % n
    size = 1
    for length in self.shape[first : last + 1]:
        size *= length
    return call("reshape", self, (*self.shape[:first], size, *self.shape[last + 1 :]))


def ravel(self: Tensor) -> Tensor:
    """All elements along one axis."""
    return call("reshape", self, (-1,))


def transpose(self: Tensor, dim0: int, dim1: int) -> Tensor:
    """Swap two axes."""
    order = list(range(self.ndim))
    order[dim0], order[dim1] = order[dim1], order[dim0]
    return call("permute_dims", self, tuple(order))


swapaxes = transpose


def t(self: Tensor) -> Tensor:
    """The transpose of a matrix; vectors and scalars as they are.

    Raises
    ------
    RuntimeError
        For more than two axes.
    """
    if self.ndim > 2:
        raise RuntimeError(f"t() expects a tensor with <= 2 dimensions, but self is {self.ndim}D")
    return call("permute_dims", self, tuple(reversed(range(self.ndim))))


def matrix_T(self: Tensor) -> Tensor:
    """The transpose of a matrix, the standard's attribute.

    Raises
    ------
    ValueError
        If there are not exactly two axes.
    """
    if self.ndim != 2:
        raise ValueError(
            f"x.T needs exactly two axes, this tensor has {self.ndim}; use x.mT for stacks of matrices or permute_dims"
        )
    return call("permute_dims", self, (1, 0))


def select(self: Tensor, dim: int, index: int) -> Tensor:
    """The slice at one position of an axis."""
    return self[(*(slice(None),) * (dim % self.ndim), index)]


def narrow(self: Tensor, dim: int, start: int, length: int) -> Tensor:
    """A range of positions of an axis."""
    return self[(*(slice(None),) * (dim % self.ndim), slice(start, start + length))]


def storage(self: Tensor) -> Any:
    """The backend's array that holds the elements: one object for all tensors that share all of it."""
    return self.detach().array


def dim(self: Tensor) -> int:
    """Number of axes."""
    return self.ndim


def numel(self: Tensor) -> int:
    """Number of elements."""
    return self.size


def element_size(self: Tensor) -> int:
    """Bytes per element."""
    return max(1, self.dtype.bits // 8)


def same(self: Tensor) -> Tensor:
    """The tensor itself."""
    return self


def is_floating_point(self: Tensor) -> bool:
    """Whether the dtype is real floating."""
    return self.dtype.kind == "real"


def is_complex(self: Tensor) -> bool:
    """Whether the dtype is complex."""
    return self.dtype.kind == "complex"


# -------------------------------------------------------------------------------------------------------------- writes


def zero_(self: Tensor) -> Tensor:
    """Set all elements to zero, in place."""
    self[...] = 0
    return self


def fill_(self: Tensor, value: Any) -> Tensor:
    """Set all elements to a value, in place."""
    self[...] = value
    return self


def copy_(self: Tensor, source: Any) -> Tensor:
    """Take over the elements of another tensor, broadcast and cast, in place."""
    home = engine.base_backend(self)
    if not isinstance(source, Tensor) or engine.base_backend(source) is not home:
        source = convert(source, backend=home, home=self.device)
    self[...] = source if source.dtype == self.dtype else call("astype", source, self.dtype)
    return self


def check_cast(source: Any, target: Any) -> None:
    """Raise unless values of a dtype may be written into another."""
    order = {"bool": 0, "unsigned": 1, "signed": 1, "real": 2, "complex": 3}
    if order[source.kind] > order[target.kind]:
        raise RuntimeError(
            f"result type {torch_type(source)} can't be cast to the desired output type {torch_type(target)}"
        )


def torch_type(dtype: Any) -> str:
    """PyTorch's capital name of a dtype."""
    names = {
        "bool": "Bool", "uint8": "Byte", "int8": "Char", "int16": "Short", "int32": "Int", "int64": "Long",
        "float16": "Half", "bfloat16": "BFloat16", "float32": "Float", "float64": "Double",
        "complex64": "ComplexFloat", "complex128": "ComplexDouble",
    }
    return names.get(dtype.name, str(dtype.name))


def as_operand(value: Any, like: Tensor) -> Any:
    """The right side of `t[key] = value` when it is no Tensor and no number."""
    home = engine.base_backend(like)
    return value if backends.of(value) is home else convert(value, backend=home, home=like.device)


# ----------------------------------------------------------------------------------------------- Python's own protocol


def tensor_iter(self: Tensor) -> Any:
    if self.ndim == 0:
        raise TypeError("iteration over a 0-d tensor")
    return iter(call("unstack", self))


def tensor_contains(self: Tensor, value: Any) -> bool:
    if isinstance(value, (Tensor, bool, int, float, complex)):
        return bool(call("any", self == value))
    raise RuntimeError(f"Tensor.__contains__ only supports Tensor or scalar, but you passed in a {type(value)}.")


def tensor_bool(self: Tensor) -> bool:
    if self.size != 1:
        what = "no values" if self.size == 0 else "more than one value"
        raise RuntimeError(f"Boolean value of Tensor with {what} is ambiguous")
    return bool(values_of(self).item())


_warned = False


def number(kind: type) -> Any:
    """`float(t)` and its like: one element, with one warning per process where it leaves the graph."""
    def convert_number(self: Tensor) -> Any:
        global _warned
        value = item(self)
        if self.requires_grad and not _warned:
            _warned = True
            warnings.warn("Converting a tensor with requires_grad=True to a scalar may lead to unexpected behavior.\n"
                          "Consider using tensor.detach() first.", UserWarning, stacklevel=3)
        if isinstance(value, complex) and kind is not complex:
            raise TypeError(f"a complex tensor cannot be converted to {kind.__name__}; use .real first")
        return kind(value)

    return convert_number


def tensor_index(self: Tensor) -> int:
    if self.size != 1 or self.dtype.kind not in ("bool", "signed", "unsigned"):
        raise TypeError("only integer tensors of a single element can be converted to an index")
    return int(values_of(self).item())


def tensor_repr(self: Tensor) -> str:
    plain = self.detach()
    dtype = plain.dtype.name
    summary = self.backend_.summary(engine.raw_value(self))
    if summary is not None:
        return summary_repr(self, summary)
    values = values_of(plain if dtype != "bfloat16" else convert(plain, dtype="float32"))
    usual = default_dtype(self.backend_).name
    complex_usual = "complex64" if usual in ("float32", "float16", "bfloat16") else "complex128"
    device = self.backend_.device_name(self.device)
    text = printing.describe(
        values,
        dtype=dtype,
        default_dtypes=(usual, complex_usual, "int64", "bool"),
        device=None if device == usual_device(self.backend_) else device,
        requires_grad=self.requires_grad,
        grad_fn=engine.Node.name(self.grad_fn).rpartition("::")[2] if self.grad_fn is not None else None,
    )
    tangent = engine.tangent_of(self)
    return text if tangent is None else f"{text[:-1]}, tangent={tangent!r})"


def summary_repr(self: Tensor, summary: str) -> str:
    """The text of a tensor whose values are not known, and are not to be computed for it."""
    facts = [summary, f"shape={self.shape}", f"dtype={self.dtype}"]
    if self.grad_fn is not None:
        facts.append(f"grad_fn=<{engine.Node.name(self.grad_fn).rpartition('::')[2]}>")
    elif self.requires_grad:
        facts.append("requires_grad=True")
    return f"tensor({', '.join(facts)})"


def usual_device(backend: Any) -> str:
    """The device that is not printed: the default of a backend."""
    with contextlib.suppress(ValueError, RuntimeError):
        chosen = default_device(backend) if backend is default_backend() else None
        if chosen is not None:
            return str(backend.device_name(chosen))
    return str(backend.device_name(backend.usual_device()))


def tensor_format(self: Tensor, specification: str) -> str:
    if self.ndim == 0 and (specification or self.backend_.summary(engine.raw_value(self)) is None):
        return format(values_of(self).item(), specification)
    return object.__format__(self, specification) if specification else tensor_repr(self)


def tensor_init(self: Tensor, *data: Any, **kwargs: Any) -> None:
    """`Tensor(data)`: a copy in the default dtype."""
    values = data[0] if data else []
    self._adopt(convert(values, dtype=default_dtype(default_backend()), copy=True, **kwargs).detach())


def rebuild(
    cls: type[Tensor], backend: str, dtype: str, values: Any, requires_grad: bool, attributes: dict[str, Any]
) -> Tensor:
    """A tensor from its pickled parts, on the default device."""
    adapter = backends.find(backend)
    raw = adapter.from_numpy(values, adapter.to_dtype(dtype), None, True)
    made = engine.make_tensor(adapter, raw, requires_grad=requires_grad, cls=cls)
    for name, value in attributes.items():
        setattr(made, name, value)
    return made


def tensor_reduce(self: Tensor, protocol: int) -> Any:
    if self._backward_hooks:
        warnings.warn(
            "backward hooks on a tensor will not be serialized. Register them again after loading.",
            UserWarning,
            stacklevel=2,
        )
    parts = (self.backend_.name, self.dtype.name, np.array(values_of(self)), self.requires_grad, dict(self.__dict__))
    return rebuild, (type(self), *parts)


def tensor_copy(self: Tensor) -> Tensor:
    """`copy.copy`: another tensor on the same storage, with the same attributes."""
    twin = type(self).__new__(type(self))
    twin._adopt(self.detach())
    for name, value in vars(self).items():
        setattr(twin, name, value)
    return twin.requires_grad_() if self.requires_grad else twin


def tensor_deepcopy(self: Tensor, memo: dict[int, Any]) -> Tensor:
    """`copy.deepcopy` of a leaf: its data, its gradient and its attributes.

    Raises
    ------
    RuntimeError
        For results of operations.
    """
    if not self.is_leaf:
        raise RuntimeError(
            "Only Tensors created explicitly by the user (graph leaves) support the deepcopy protocol at the moment.  "
            "If you were attempting to deepcopy a module, this may be because of a torch.nn.utils.weight_norm usage, "
            "see https://github.com/pytorch/pytorch/pull/103001"
        )
    if id(self) in memo:
        return memo[id(self)]  # type: ignore[no-any-return]
    raw = self.backend_.copy(self.detach().array)
    made = engine.make_tensor(self.backend_, raw, requires_grad=self.requires_grad, cls=type(self))
    memo[id(self)] = made
    if self.grad is not None:
        made.grad = tensor_deepcopy(self.grad, memo)
    for name, value in vars(self).items():
        setattr(made, name, deepcopy(value, memo))
    return made


def array_namespace(self: Tensor, /, *, api_version: str | None = None) -> Any:
    """The namespace of this tensor's backend: the standard's functions on Tensors."""
    if api_version not in (None, "2021.12", "2022.12", "2023.12", "2024.12", standard.VERSION):
        raise ValueError(f"agrad follows the Array API standard {standard.VERSION}, not {api_version!r}")
    backend = self.backend_
    return backend.facade[self.device] if backend.devices else backend.facade


# -------------------------------------------------------------------------------------------------------------- install

# PyTorch's methods that cast, and to what.
CASTS = {
    "double": "float64", "float": "float32", "half": "float16", "bfloat16": "bfloat16", "long": "int64", "int": "int32",
    "short": "int16", "char": "int8", "byte": "uint8", "bool": "bool", "cfloat": "complex64", "cdouble": "complex128",
}

# Functions of this file that are methods under their own name, and those under others.
OWN_NAMES: tuple[Callable[..., Any], ...] = (
    item, tolist, numpy, to, to_device, type_as, view, view_as, expand, expand_as, flatten, ravel, transpose, t, select,
    narrow, storage, amax, amin, dim, numel, element_size, is_floating_point, is_complex, zero_, fill_, copy_, squeeze,
    chunk, norm, sigmoid, split, take_along_dim,
)
OTHER_NAMES = {
    "ndimension": dim,
    "nelement": numel,
    "contiguous": same,
    "cpu": same,
    "reshape_as": view_as,
    "swapaxes": swapaxes,
    "T": property(matrix_T),
    "mT": property(lambda self: call("matrix_transpose", self), doc="The last two axes swapped."),
    "H": property(lambda self: call("conj", matrix_T(self)), doc="The conjugate transpose of a matrix."),
    "real": property(lambda self: call("real", self), doc="The real part."),
    "imag": property(lambda self: call("imag", self), doc="The imaginary part."),
    "__array__": as_numpy_array,
    "__array_namespace__": array_namespace,
    "__dlpack__": dlpack,
    "__dlpack_device__": dlpack_device,
    "__array_priority__": 1000,
    "__array_function__": array_function,
    "__array_ufunc__": array_ufunc,
    "__copy__": tensor_copy,
    "__deepcopy__": tensor_deepcopy,
    # what follows fills slots that the engine leaves open
    "__init__": tensor_init,
    "__iter__": tensor_iter,
    "__contains__": tensor_contains,
    "__bool__": tensor_bool,
    "__int__": number(int),
    "__float__": number(float),
    "__complex__": number(complex),
    "__index__": tensor_index,
    "__repr__": tensor_repr,
    "__format__": tensor_format,
    "__reduce_ex__": tensor_reduce,
}


# Not methods: questions that the engine has.
ASKED_BY_THE_ENGINE = {
    "backend_of": backends.of, "dtype_of": dtypes.of, "check_cast": check_cast, "as_operand": as_operand,
    "adopt": transfer,
}


def table() -> dict[str, Any]:
    """Everything that is put into Tensor, by name."""
    found: dict[str, Any] = {}
    for name, op in engine.all_ops().items():
        first = op.signature.parameters[0] if op.signature.parameters else None
        hidden = "." in name or name in ("extremum", "read_view", "write_view", "setitem", "getitem", "transfer")
        if not hidden and first is not None and first.kind == "array":
            found[name] = op.function
        op.foreign = torch_call(name)
    for alias, name in ALIASES.items():
        if name in found or ("." in name and name not in standard.RESULTS):
            found[alias] = engine.find_op(name).function
    for name in INPLACE:
        op = engine.find_op(name)
        for method in (name, *(alias for alias, meant in ALIASES.items() if meant == name)):
            found[method + "_"] = engine.make_inplace(op, method + "_", f"{name} in place.")
    found.update({name: cast(dtype) for name, dtype in CASTS.items()})
    found.update({function.__name__: function for function in OWN_NAMES})
    return found | RANDOM | OTHER_NAMES


def install() -> None:
    """Put the methods into Tensor; called once by agrad."""
    from agrad.autograd import backward

    def tensor_backward(
        self: Tensor,
        gradient: Any = None,
        retain_graph: bool | None = None,
        create_graph: bool = False,
        inputs: Any = None,
    ) -> None:
        """Add the gradients of this tensor to the `.grad` of its leaves; see `agrad.autograd.backward`."""
        backward(self, (gradient,), retain_graph, create_graph, inputs)

    tensor_backward.__name__, tensor_backward.__qualname__ = "backward", "Tensor.backward"
    engine.install_methods({**table(), **ASKED_BY_THE_ENGINE, "backward": tensor_backward})
