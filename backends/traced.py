"""Arrays of a model that is being made, how values get into its graph, and elementwise functions.

A `Traced` is a variable of the graph and its shape, of integers and symbols; ONNX forgets lengths on the way, and
without them gradients cannot be summed over the right axes. Each function works out the shape first, which raises where
it cannot be decided, and then adds operators. Further functions: `traced_standard`, `traced_indexing`, and, made of
others, `traced_functions` and `traced_linalg`. These files must know no rule and no Tensor.
"""

from collections.abc import Callable
from functools import lru_cache
from typing import Any

import ndonnx
import numpy as np
import spox
import spox.opset.ai.onnx.v21 as onnx

from agrad.backends import symbolic
from agrad.backends.symbolic import Shape, Symbol, broadcast

WHOLE = np.dtype(np.int64)
REAL = np.dtype(np.float64)
TRUTH = np.dtype(np.bool_)


class Traced:
    """A variable of an ONNX graph with its symbolic shape; its operators are set from tables below and in other files.

    Attributes
    ----------
    var : spox.Var
    shape : tuple of int and Symbol
    weak : bool
        A number that takes the dtype of the arrays it meets, as Python's numbers do: a length in arithmetic.
    """

    __slots__ = ("_places", "meaning", "shape", "var", "weak")
    __array_ufunc__ = None      # NumPy's arrays leave arithmetic to us

    def __init__(self, var: spox.Var, shape: Shape, weak: bool = False) -> None:
        self.var, self.shape, self.weak = var, shape, weak
        self._places: Any = None
        self.meaning = "the value of a traced array"

    @property
    def dtype(self) -> Any:
        """NumPy's dtype."""
        return self.var.unwrap_tensor().dtype

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return len(self.shape)

    @property
    def array(self) -> ndonnx.Array:
        """The variable as an array of ndonnx."""
        return ndonnx.asarray(self.var)

    def as_number(self) -> Any:
        """Of a vector with one element: the number, which takes the dtype of what it meets."""
        return Traced(onnx.squeeze(self.var, constant([0])), (), weak=True)

    def __bool__(self) -> bool:
        raise symbolic.Undecidable(
            f"{self.meaning} is known only when the model runs, and Python cannot branch on it: use where(), "
            "or give no name to an axis whose length never changes"
        )

    def __repr__(self) -> str:
        return f"<traced {self.dtype} {self.shape}>"


# ------------------------------------------------------------------------------------------------ values into the graph


def constant(value: Any, dtype: Any = None) -> spox.Var:
    """A value of the graph; small ones are made once."""
    array = np.asarray(value, dtype)
    if array.size <= 8:
        return _small_constant(array.dtype.str, array.shape, array.tobytes())
    return onnx.const(array)


@lru_cache(maxsize=4096)
def _small_constant(dtype: str, shape: tuple[int, ...], data: bytes) -> spox.Var:
    return onnx.const(np.frombuffer(data, dtype).reshape(shape))


def of_numpy(array: Any) -> Any:
    """A NumPy array or number as a constant of the graph."""
    if array.dtype.kind not in "biuf":
        raise TypeError(f"models in ONNX have no numbers of dtype {array.dtype}, only real ones, integers and booleans")
    return Traced(constant(array), array.shape)


def of_ndonnx(array: ndonnx.Array) -> Any:
    """An array of ndonnx. Its named lengths are symbols; of lengths without a name each is a symbol of its own."""
    var = array.unwrap_spox()
    known = getattr(array, "agrad_shape", None)     # we gave it out: what we knew of it holds
    if known is None:
        known = tuple(_length(var, a, n) for a, n in enumerate(var.unwrap_tensor().shape))
    return Traced(var, known)


def to_ndonnx(x: Any) -> ndonnx.Array:
    """The user's array; it remembers the shape for when it comes back."""
    array = x.array
    array.agrad_shape = x.shape
    return array


def _length(var: spox.Var, axis: int, known: int | str | None) -> Any:
    return known if isinstance(known, int) else length_of(var, axis, known)


def length_of(var: spox.Var, axis: int, name: str | None = None) -> Any:
    """The length of an axis as a symbol; of what is made of constants alone the number."""
    def measured() -> Any:
        return Traced(onnx.shape(var, start=axis, end=axis + 1), (1,))

    known = known_value(measured()) if name is None else None
    return symbolic.new_length(measured, name) if known is None else int(known[0])


def lift(value: Any) -> Any:
    """A Traced of any array or length; Python's numbers stay what they are. None if it is neither."""
    if isinstance(value, Traced) or (isinstance(value, (bool, int, float)) and not isinstance(value, np.generic)):
        return value
    if isinstance(value, Symbol):
        return value.number()
    if isinstance(value, ndonnx.Array):
        return of_ndonnx(value)
    if isinstance(value, (np.ndarray, np.generic)):
        return of_numpy(value)
    if isinstance(value, complex):
        raise TypeError("models in ONNX have no complex numbers")
    return None


def known_value(x: Any) -> Any:
    """The values of what is computed from constants alone, as a NumPy array; None of anything else."""
    try:
        return x.array.unwrap_numpy()
    except ValueError:
        return None


def as_traced(value: Any, dtype: Any = None) -> Any:
    """A Traced of anything that `lift` takes, numbers too."""
    found = lift(value)
    if found is None:
        raise TypeError(f"{type(value).__name__} cannot be part of a model in ONNX")
    if not isinstance(found, Traced):
        found = Traced(constant(found, _own_dtype(found) if dtype is None else dtype), (), weak=True)
    return found if dtype is None else cast(found, dtype)


def _own_dtype(number: Any) -> np.dtype[Any]:
    return TRUTH if isinstance(number, bool) else WHOLE if isinstance(number, int) else REAL


def cast_var(var: spox.Var, dtype: np.dtype[Any]) -> spox.Var:
    """A variable in a dtype; itself if it has that."""
    return var if var.unwrap_tensor().dtype == dtype else onnx.cast(var, to=dtype)


def cast(x: Any, dtype: Any) -> Any:
    """A Traced in a dtype; no number of Python's any more."""
    var = cast_var(x.var, np.dtype(dtype))
    return x if var is x.var and not x.weak else Traced(var, x.shape)


def vector(shape: Any) -> spox.Var:
    """Lengths as a vector of the graph: known ones as constants, symbols as they are at run time."""
    pieces: list[Any] = []
    for n in shape:
        if isinstance(n, Symbol):
            pieces.append(n.value().var)
        elif pieces and isinstance(pieces[-1], list):
            pieces[-1].append(n)
        else:
            pieces.append([n])
    parts = [constant(np.asarray(p, WHOLE)) if isinstance(p, list) else p for p in pieces]
    return parts[0] if len(parts) == 1 else onnx.concat(parts, axis=0) if parts else constant(np.zeros(0, WHOLE))


# --------------------------------------------------------------------------------------------------------- elementwise


def promoted(*operands: Any, floating: bool = False) -> tuple[list[spox.Var], Shape, bool]:
    """The operands in their common dtype, as NumPy promotes; the shape they have together; whether all are weak."""
    found = [lift(value) for value in operands]
    if any(x is None for x in found):
        wrong = next(type(v).__name__ for v, x in zip(operands, found, strict=True) if x is None)
        raise TypeError(f"{wrong} cannot be part of a model in ONNX")
    dtype = common_dtype(found)
    if floating and dtype.kind != "f":
        dtype = REAL
    variables = [cast_var(x.var, dtype) if isinstance(x, Traced) else constant(x, dtype) for x in found]
    shape = broadcast(*(x.shape for x in found if isinstance(x, Traced)))
    return variables, shape, not any(isinstance(x, Traced) and not x.weak for x in found)


def common_dtype(operands: Any) -> np.dtype[Any]:
    """The dtype of Traced, dtypes and numbers together; numbers and weak arrays only choose the kind."""
    def sample(x: Any) -> Any:
        if isinstance(x, Traced):
            return x.dtype.type(0).item() if x.weak else x.dtype
        return type(x)(0) if isinstance(x, (bool, int, float)) else x

    return np.result_type(*map(sample, operands))


def elementwise(name: str, floating: bool = False) -> Callable[..., Any]:
    """An elementwise function by ndonnx, which knows the dtypes that ONNX Runtime's operators lack."""
    function = getattr(ndonnx, name)

    def kernel(*operands: Any) -> Any:
        variables, shape, weak = promoted(*operands, floating=floating)
        return Traced(function(*map(ndonnx.asarray, variables)).unwrap_spox(), shape, weak)

    kernel.__name__ = name
    return kernel


ELEMENTWISE = {
    name: elementwise(name) for name in (
        "abs", "add", "bitwise_and", "bitwise_invert", "bitwise_left_shift", "bitwise_or", "bitwise_right_shift",
        "bitwise_xor", "ceil", "equal", "floor", "floor_divide", "greater", "greater_equal", "isfinite", "isinf",
        "isnan", "less", "less_equal", "logical_and", "logical_not", "logical_or", "logical_xor", "maximum", "minimum",
        "multiply", "negative", "not_equal", "positive", "pow", "remainder", "round", "sign", "square", "subtract",
        "trunc",
    )
} | {
    name: elementwise(name, floating=True) for name in (
        "divide", "exp", "expm1", "log", "log10", "log1p", "log2", "reciprocal", "sin", "sqrt", "tanh",
    )
}


def where(condition: Any, x1: Any, x2: Any, /) -> Any:
    (a, b), shape, weak = promoted(x1, x2)
    test = as_traced(condition, TRUTH)
    return Traced(onnx.where(test.var, a, b), broadcast(test.shape, shape), weak and not test.shape)


def method_of(function: Callable[..., Any], swapped: bool = False) -> Callable[..., Any]:
    """A function of arrays as the method of an operator."""
    def method(self: Any, *other: Any) -> Any:
        if any(lift(value) is None for value in other):
            return NotImplemented
        return function(*other, self) if swapped else function(self, *other)

    return method


OPERATORS = {
    "add": "add", "sub": "subtract", "mul": "multiply", "truediv": "divide", "floordiv": "floor_divide",
    "mod": "remainder", "pow": "pow", "and": "bitwise_and", "or": "bitwise_or", "xor": "bitwise_xor",
    "lshift": "bitwise_left_shift", "rshift": "bitwise_right_shift",
}
for _slot, _name in OPERATORS.items():
    setattr(Traced, f"__{_slot}__", method_of(ELEMENTWISE[_name]))
    setattr(Traced, f"__r{_slot}__", method_of(ELEMENTWISE[_name], swapped=True))
for _slot, _name in {
    "eq": "equal", "ne": "not_equal", "lt": "less", "le": "less_equal", "gt": "greater", "ge": "greater_equal",
    "neg": "negative", "pos": "positive", "abs": "abs", "invert": "bitwise_invert",
}.items():
    setattr(Traced, f"__{_slot}__", method_of(ELEMENTWISE[_name]))
