"""NumPy's ufuncs on Tensors: what each one calls, and their methods (reduce, accumulate, reduceat, outer).

Must know no backend and no rule.
"""

import math
import sys
from collections.abc import Callable
from functools import partial
from functools import reduce as fold
from typing import Any

import numpy as np

from agrad.creation import call
from agrad.cython_core import engine
from agrad.cython_core.engine import Tensor
from agrad.numpy_protocol.table import array, cast, deliver, known, lift, missing, space

# Ufuncs that are ops of another name; those under their own name are found by it.
OPS = {
    "absolute": "abs", "fabs": "abs", "arccos": "acos", "arcsin": "asin", "arctan": "atan", "arccosh": "acosh",
    "arcsinh": "asinh", "arctanh": "atanh", "arctan2": "atan2", "power": "pow", "conjugate": "conj",
    "invert": "bitwise_invert", "left_shift": "bitwise_left_shift", "right_shift": "bitwise_right_shift",
    "rint": "round", "true_divide": "divide", "mod": "remainder", "cbrt": "special.cbrt", "exp2": "special.exp2",
    "matmul": "matmul", "vecdot": "vecdot",
}
# The ops of the standard that are ufuncs under the same name.
SAME = frozenset("""
    abs acos acosh add asin asinh atan atan2 atanh bitwise_and bitwise_left_shift bitwise_invert bitwise_or
    bitwise_right_shift bitwise_xor ceil conj copysign cos cosh divide equal exp expm1 floor floor_divide greater
    greater_equal hypot isfinite isinf isnan less less_equal log log1p log2 log10 logaddexp logical_and logical_not
    logical_or logical_xor maximum minimum multiply negative nextafter not_equal positive pow reciprocal remainder sign
    signbit sin sinh sqrt square subtract tan tanh trunc
""".split())
TESTS = frozenset("""
    equal greater greater_equal isfinite isinf isnan less less_equal logical_and logical_not logical_or logical_xor
    not_equal signbit
""".split())


# ------------------------------------------------------------------------------------------------- made of several ops


def tensors(*operands: Any) -> tuple[Tensor, ...]:
    """Operands as Tensors, for functions that compute with each of them."""
    like = next(x for x in operands if isinstance(x, Tensor))
    return tuple(array(x, like) for x in operands)


def ignoring_nan(name: str, a: Any, b: Any) -> Tensor:
    """fmax and fmin: the larger or smaller one, or the one that is a number."""
    a, b = tensors(a, b)
    return call("where", call("isnan", a), b, call("where", call("isnan", b), a, call(name, a, b)))


def fmod(a: Any, b: Any) -> Tensor:
    a, b = tensors(a, b)
    return call("copysign", call("remainder", call("abs", a), call("abs", b)), a)


def heaviside(x: Any, half: Any) -> Tensor:
    x, half = tensors(x, half)
    kept = call("where", x == 0, half, call("isnan", x) * x)
    return call("where", x > 0, 1.0, call("where", x < 0, 0.0, kept))


def modf(x: Tensor) -> tuple[Tensor, Tensor]:
    whole = call("trunc", x)
    part = call("where", call("isinf", x), 0.0, x - whole)
    return call("copysign", part, x), whole


def logaddexp2(a: Any, b: Any) -> Tensor:
    a, b = tensors(a, b)
    return call("logaddexp", a * math.log(2.0), b * math.log(2.0)) / math.log(2.0)


def float_power(a: Any, b: Any) -> Tensor:
    a, b = tensors(a, b)
    wide = "complex128" if "complex" in (a.dtype.kind, b.dtype.kind) else "float64"
    return call("pow", a.to(dtype=wide), b.to(dtype=wide))


def ldexp(x: Any, n: Any) -> Tensor:
    x, n = tensors(x, n)
    return x * call("pow", 2.0, n.to(dtype=x.dtype))  # type: ignore[no-any-return]


def matvec(a: Any, b: Any) -> Tensor:
    a, b = tensors(a, b)
    return call("squeeze", call("matmul", a, b[..., None]), -1)


def vecmat(a: Any, b: Any) -> Tensor:
    a, b = tensors(a, b)
    return call("squeeze", call("matmul", call("conj", a)[..., None, :], b), -2)


def scaled(factor: float, x: Tensor) -> Tensor:
    return x * factor


MADE: dict[str, Callable[..., Any]] = {
    "fmax": partial(ignoring_nan, "maximum"), "fmin": partial(ignoring_nan, "minimum"), "fmod": fmod,
    "heaviside": heaviside, "modf": modf, "logaddexp2": logaddexp2, "float_power": float_power, "ldexp": ldexp,
    "matvec": matvec, "vecmat": vecmat,
    "divmod": lambda a, b: (call("floor_divide", a, b), call("remainder", a, b)),
    **dict.fromkeys(("deg2rad", "radians"), partial(scaled, math.pi / 180.0)),
    **dict.fromkeys(("rad2deg", "degrees"), partial(scaled, 180.0 / math.pi)),
}


# ---------------------------------------------------------------------------------------------------------- found once

_found: dict[np.ufunc, Callable[..., Any]] = {}


def implementation(ufunc: np.ufunc) -> Callable[..., Any]:
    """What a ufunc calls; TypeError if there is nothing."""
    try:
        return _found[ufunc]
    except KeyError:
        pass
    name = ufunc.__name__
    made = MADE.get(name) if is_numpys(ufunc) else None
    if made is None:
        op = op_name(ufunc)
        try:
            made = engine.find_op(op).function if op is not None else None
        except LookupError:
            made = None
    if made is None and is_numpys(ufunc):
        raise missing(name)
    if made is None:
        raise TypeError(f"the ufunc {name} has no implementation on agrad Tensors; leave the graph with "
                        "x.detach().numpy(), or declare an op for it (see agrad.rules)")
    return _found.setdefault(ufunc, made)


def is_numpys(ufunc: np.ufunc) -> bool:
    return getattr(np, ufunc.__name__, None) is ufunc


def op_name(ufunc: np.ufunc) -> str | None:
    """The op that a ufunc of NumPy or of scipy.special is."""
    name = ufunc.__name__
    if is_numpys(ufunc):
        return name if name in SAME else OPS.get(name)
    for module in ("scipy.special._ufuncs", "scipy.special"):   # the ufuncs themselves, and where they are public
        if getattr(sys.modules.get(module), name, None) is ufunc:
            return f"special.{name}"
    return None


# --------------------------------------------------------------------------------------------------------------- calls


def call_plainly(ufunc: np.ufunc, inputs: tuple[Any, ...]) -> Any:
    """`ufunc(*inputs)` without keywords: arrays of the backend itself are taken as they are."""
    function = _found.get(ufunc) or implementation(ufunc)
    like = next(x for x in inputs if isinstance(x, Tensor))
    own = like.backend_.array_types
    return function(*(x if isinstance(x, Tensor) or type(x) in own else lift(x, like) for x in inputs))


def call_ufunc(
    ufunc: np.ufunc, inputs: tuple[Any, ...], *, out: Any = None, where: Any = True, dtype: Any = None,
    axis: Any = None, casting: str = "same_kind", **kwargs: Any,
) -> Any:
    """`ufunc(*inputs)` with NumPy's keywords."""
    name = ufunc.__name__
    function = implementation(ufunc)
    like = next(x for x in (*inputs, *(out or ())) if isinstance(x, Tensor))
    values = [lift(x, like) for x in inputs]
    unknown = [k for k, v in kwargs.items() if not (k == "subok" or (k == "order" and v in "CKA"))]
    if unknown:
        raise missing(name, f"{unknown[0]}= is not supported on agrad Tensors")
    if dtype is not None and not (name in TESTS and np.dtype(dtype) == bool):
        values = [cast(name, array(x, like), dtype, casting) for x in values]
    if axis is not None:
        if name != "vecdot":
            raise missing(name, "axis= is not supported on agrad Tensors")
        function = partial(function, axis=axis)
    if not any(isinstance(x, Tensor) for x in values):      # only out= is a Tensor
        values[0] = array(values[0], like)
    result = function(*values)
    if where is not True:
        result = masked(name, result, lift(where, like), out)
    return result if out is None else deliver(name, result, out if isinstance(result, tuple) else out[0])


def masked(name: str, result: Any, where: Any, out: Any) -> Any:
    """The result where a mask is true, and what stood in `out` elsewhere."""
    results = result if isinstance(result, tuple) else (result,)
    if out is None or any(not isinstance(o, Tensor) for o in out):
        raise missing(name, "where= without a Tensor as out= leaves elements undefined")
    kept = tuple(call("where", where, r, o) for r, o in zip(results, out, strict=True))
    return kept if isinstance(result, tuple) else kept[0]


# ------------------------------------------------------------------------------------------------------------- methods

# ufunc -> (the reduction, the accumulation); any other binary ufunc is folded along the axis.
REDUCTIONS = {
    "add": "sum", "multiply": "prod", "maximum": "max", "minimum": "min", "logical_and": "all", "logical_or": "any",
}
ACCUMULATIONS = {"add": "cumulative_sum", "multiply": "cumulative_prod"}


def reduce_ufunc(
    ufunc: np.ufunc, inputs: tuple[Any, ...], *, axis: Any = 0, dtype: Any = None, out: Any = None,
    keepdims: bool = False, initial: Any = None, where: Any = True,
) -> Any:
    """`ufunc.reduce(x)`."""
    name, like = ufunc.__name__, next(x for x in (*inputs, *(out or ())) if isinstance(x, Tensor))
    x = array(lift(inputs[0], like), like)
    if where is not True:
        x = with_identity(ufunc, x, lift(where, like), initial)
    if dtype is not None and not (name in TESTS and np.dtype(dtype) == bool):
        x = cast(name, x, dtype, "unsafe")
    if name in REDUCTIONS and is_numpys(ufunc):
        result = call(REDUCTIONS[name], x, axis=axis, keepdims=keepdims)
        if name in ("add", "multiply") and dtype is not None:
            result = result.to(dtype=np.dtype(dtype))
    else:
        result = folded(ufunc, x, axis, keepdims, initial)
        initial = None
    if initial is not None and initial is not np._NoValue:
        result = implementation(ufunc)(result, initial)
    return result if out is None else deliver(name, result, out[0])


def with_identity(ufunc: np.ufunc, x: Tensor, where: Any, initial: Any) -> Tensor:
    """x with the value that changes nothing where the mask is false."""
    identity = ufunc.identity if ufunc.identity is not None else initial
    if identity is None or identity is np._NoValue:
        raise ValueError(f"reduction operation '{ufunc.__name__}' does not have an identity, so to use a where mask "
                         "one has to specify 'initial'")
    return call("where", where, x, array(identity, x))


def folded(ufunc: np.ufunc, x: Tensor, axis: Any, keepdims: bool, initial: Any) -> Tensor:
    """A reduction by a binary ufunc, one element after the other."""
    function = implementation(ufunc)
    axes = sorted(range(x.ndim) if axis is None else {a % x.ndim for a in ([axis] if isinstance(axis, int) else axis)})
    if len(axes) > 1 and ufunc.identity is None and ufunc.__name__ in ("subtract", "divide", "power", "floor_divide"):
        raise ValueError(f"reduction operation '{ufunc.__name__}' is not reorderable, so at most one axis may be "
                         "specified")
    for a in reversed(axes):
        parts = list(call("unstack", x, axis=a))
        if initial is not None and initial is not np._NoValue:
            parts.insert(0, array(initial, x))
            initial = None
        if not parts:
            if ufunc.identity is None:
                raise ValueError(f"zero-size array to reduction operation {ufunc.__name__} which has no identity")
            shape = x.shape[:a] + x.shape[a + 1 :]
            parts = [space(x).full(shape, ufunc.identity, dtype=x.dtype)]
        x = fold(function, parts)
    return call("expand_dims", x, tuple(axes)) if keepdims and axes else x


def accumulate_ufunc(
    ufunc: np.ufunc, inputs: tuple[Any, ...], *, axis: int = 0, dtype: Any = None, out: Any = None
) -> Any:
    """`ufunc.accumulate(x)`."""
    name, like = ufunc.__name__, next(x for x in (*inputs, *(out or ())) if isinstance(x, Tensor))
    x = array(lift(inputs[0], like), like)
    if dtype is not None:
        x = cast(name, x, dtype, "unsafe")
    if name in ACCUMULATIONS and is_numpys(ufunc):
        result = call(ACCUMULATIONS[name], x, axis=axis)
    else:
        function, parts = implementation(ufunc), list(call("unstack", x, axis=axis))
        for i in range(1, len(parts)):
            parts[i] = function(parts[i - 1], parts[i])
        result = call("stack", parts, axis=axis) if parts else x
    return result if out is None else deliver(name, result, out[0])


def reduceat_ufunc(
    ufunc: np.ufunc, inputs: tuple[Any, ...], *, axis: int = 0, dtype: Any = None, out: Any = None
) -> Any:
    """`ufunc.reduceat(x, indices)`."""
    x, starts = inputs
    if not isinstance(x, Tensor):
        raise missing(ufunc.__name__, "reduceat with Tensors as indices")
    starts = [int(i) for i in starts]
    lead = (slice(None),) * (axis % x.ndim)
    pieces = [
        reduce_ufunc(ufunc, (x[(*lead, slice(i, j if j > i else i + 1))],), axis=axis, dtype=dtype)
        for i, j in zip(starts, [*starts[1:], x.shape[axis]], strict=True)
    ]
    result = call("stack", pieces, axis=axis % x.ndim)
    return result if out is None else deliver(ufunc.__name__, result, out[0])


def outer_ufunc(ufunc: np.ufunc, inputs: tuple[Any, ...], **kwargs: Any) -> Any:
    """`ufunc.outer(a, b)`."""
    a, b = tensors(*inputs) if all(isinstance(x, Tensor) for x in inputs) else widened(inputs)
    spread = call("reshape", a, (*a.shape, *(1,) * b.ndim))
    return call_ufunc(ufunc, (spread, b), **kwargs)


def widened(inputs: tuple[Any, ...]) -> tuple[Tensor, ...]:
    like = next(x for x in inputs if isinstance(x, Tensor))
    return tuple(array(lift(x, like), like) for x in inputs)


def at_ufunc(ufunc: np.ufunc, inputs: tuple[Any, ...], **kwargs: Any) -> Any:
    """`ufunc.at` writes in place, element after element: not supported."""
    raise missing(f"{ufunc.__name__}.at", "writing with repeated positions; use agrad.scatter_add(x, key, values)")


METHODS: dict[str, Callable[..., Any]] = {
    "__call__": call_ufunc, "reduce": reduce_ufunc, "accumulate": accumulate_ufunc, "reduceat": reduceat_ufunc,
    "outer": outer_ufunc, "at": at_ufunc,
}


def target_of_ufunc(ufunc: np.ufunc) -> Any:
    """The op that a ufunc of NumPy is; True if it is made of ops, None if there is nothing for it."""
    if ufunc.__name__ in MADE:
        return True
    name = op_name(ufunc)
    return None if name is None else known(name)
