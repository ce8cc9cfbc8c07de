"""NumPy's functions that work element by element, or on differences of neighbours. Must know no backend and no rule."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from agrad import comparison
from agrad.creation import call
from agrad.cython_core.engine import Tensor
from agrad.numpy_protocol.manipulation import all_arrays
from agrad.numpy_protocol.table import array, axes_of, handles, missing, one_to_one, space

one_to_one("""
    sinc  special.sinc(x)
    i0  special.i0(x)
    interp  interp(x, xp, fp; left, right)
""")
one_to_one("""
    fix  trunc(x)
""", flat=True)


# ----------------------------------------------------------------------------------------------------- rounding, limits


@handles("round around", flat=True)
def around(a: Tensor, decimals: int = 0) -> Tensor:
    if decimals == 0:
        return call("round", a)
    scale = 10.0 ** abs(decimals)
    return call("round", a * scale) / scale if decimals > 0 else call("round", a / scale) * scale


@handles("clip", "a a_min a_max min max", op="clip")
def clip(a: Any, a_min: Any = None, a_max: Any = None, min: Any = None, max: Any = None) -> Tensor:
    low, high = (a_min if min is None else min), (a_max if max is None else max)
    like = next(x for x in (a, low, high) if isinstance(x, Tensor))
    result = array(a, like)
    result = result if low is None else call("maximum", result, low)
    return result if high is None else call("minimum", result, high)


@handles("nan_to_num", "x")
def nan_to_num(x: Tensor, copy: bool = True, nan: Any = 0.0, posinf: Any = None, neginf: Any = None) -> Tensor:
    if not copy:
        raise missing("nan_to_num", "copy=False is not supported on agrad Tensors")
    if x.dtype.kind == "complex":
        raise missing("nan_to_num", "complex numbers are not supported on agrad Tensors")
    if x.dtype.kind != "real":
        return call("copy", x)
    limits = space(x).finfo(x.dtype)
    high, low = (limits.max if posinf is None else posinf), (limits.min if neginf is None else neginf)
    finite = call("where", call("isnan", x), nan, x)
    finite = call("where", x == math.inf, high, finite)
    return call("where", x == -math.inf, low, finite)


# ------------------------------------------------------------------------------------------------------ complex numbers


@handles("real", "val", op="real")
def real(val: Tensor) -> Tensor:
    return call("real", val) if val.dtype.kind == "complex" else val


@handles("imag", "val", op="imag")
def imag(val: Tensor) -> Tensor:
    return call("imag", val) if val.dtype.kind == "complex" else call("zeros_like", val)


@handles("angle", "z")
def angle(z: Tensor, deg: bool = False) -> Tensor:
    found = call("atan2", imag(z), real(z))
    return found * (180.0 / math.pi) if deg else found


@handles("iscomplex", "x", flat=True)
def iscomplex(x: Tensor) -> Tensor:
    return imag(x) != 0


@handles("isreal", "x", flat=True)
def isreal(x: Tensor) -> Tensor:
    return imag(x) == 0


@handles("real_if_close")
def real_if_close(a: Tensor, tol: float = 100) -> Tensor:
    if a.dtype.kind != "complex":
        return a
    limit = tol * space(a).finfo(a.dtype).eps if tol > 1 else tol
    return call("real", a) if bool(call("all", call("abs", call("imag", a.detach())) < limit)) else a


# ---------------------------------------------------------------------------------------------------------- comparisons


def signed_infinity(value: float) -> Callable[..., Any]:
    """isposinf and isneginf."""
    def function(x: Tensor) -> Tensor:
        return x == value

    return function


handles("isposinf", "x", flat=True)(signed_infinity(math.inf))
handles("isneginf", "x", flat=True)(signed_infinity(-math.inf))


@handles("isclose", "a b", flat=True)
def isclose(a: Any, b: Any, rtol: Any = 1e-05, atol: Any = 1e-08, equal_nan: bool = False) -> Tensor:
    a, b = all_arrays([a, b])
    return comparison.isclose(a, b, rtol, atol, equal_nan)


@handles("allclose", "a b", flat=True)
def allclose(a: Any, b: Any, rtol: Any = 1e-05, atol: Any = 1e-08, equal_nan: bool = False) -> bool:
    return bool(call("all", isclose(a, b, rtol, atol, equal_nan)))


@handles("array_equal", "a1 a2", flat=True)
def array_equal(a1: Any, a2: Any, equal_nan: bool = False) -> bool:
    a1, a2 = all_arrays([a1, a2])
    if a1.shape != a2.shape:
        return False
    equal = a1 == a2
    if equal_nan:
        equal = call("logical_or", equal, call("logical_and", call("isnan", a1), call("isnan", a2)))
    return bool(call("all", equal))


@handles("array_equiv", "a1 a2", flat=True)
def array_equiv(a1: Any, a2: Any) -> bool:
    a1, a2 = all_arrays([a1, a2])
    try:
        np.broadcast_shapes(a1.shape, a2.shape)
    except ValueError:
        return False
    return bool(call("all", a1 == a2))


# ---------------------------------------------------------------------------------------------------------- differences


@handles("diff", "a prepend append", op="diff")
def diff(a: Tensor, n: int = 1, axis: int = -1, prepend: Any = None, append: Any = None) -> Tensor:
    ends = [None if end is None else spread(end, a, axis) for end in (prepend, append)]
    return call("diff", a, axis=axis, n=n, prepend=ends[0], append=ends[1])


def spread(end: Any, like: Tensor, axis: int) -> Tensor:
    """A scalar end as an array with one element along the axis."""
    end = array(end, like)
    axis %= like.ndim
    shape = (*like.shape[:axis], 1, *like.shape[axis + 1 :])
    return call("broadcast_to", end, shape) if end.ndim == 0 else end


@handles("ediff1d", "ary to_end to_begin")
def ediff1d(ary: Tensor, to_end: Any = None, to_begin: Any = None) -> Tensor:
    parts = [to_begin, call("diff", call("reshape", ary, (-1,))), to_end]
    flat = [call("reshape", array(part, ary), (-1,)) for part in parts if part is not None]
    return call("concat", flat)


@handles("unwrap", "p")
def unwrap(p: Tensor, discont: Any = None, axis: int = -1, *, period: Any = 2 * math.pi) -> Tensor:
    step, half = call("diff", p, axis=axis), period / 2
    discont = half if discont is None else discont
    wrapped = call("remainder", step + half, period) - half
    wrapped = call("where", call("logical_and", wrapped == -half, step > 0), half, wrapped)
    jump = call("where", call("abs", step) < discont, 0.0, wrapped - step)
    lead = (slice(None),) * (axis % p.ndim)
    start, rest = p[(*lead, slice(0, 1))], p[(*lead, slice(1, None))]
    return call("concat", [start, rest + call("cumulative_sum", jump, axis=axis)], axis=axis)


@handles("trapezoid", "y x")
def trapezoid(y: Any, x: Any = None, dx: Any = 1.0, axis: int = -1) -> Tensor:
    like = next(v for v in (y, x, dx) if isinstance(v, Tensor))
    y, step = array(y, like), dx
    lead = (slice(None),) * (axis % y.ndim)
    if x is not None:
        x = array(x, like)
        step = call("diff", x, axis=-1 if x.ndim == 1 else axis)
        if x.ndim == 1:
            step = call("reshape", step, (-1, *(1,) * (y.ndim - 1 - len(lead))))
    middle = (y[(*lead, slice(1, None))] + y[(*lead, slice(None, -1))]) / 2.0
    return call("sum", step * middle, axis=axis)


@handles("gradient", "f")
def gradient(f: Tensor, *varargs: Any, axis: Any = None, edge_order: int = 1) -> Any:
    axes = axes_of(axis, f.ndim)
    if edge_order not in (1, 2):
        raise ValueError("'edge_order' greater than 2 not supported")
    spacings = varargs * (len(axes) if len(varargs) == 1 and np.ndim(varargs[0]) == 0 else 1) or (1.0,) * len(axes)
    if len(spacings) != len(axes):
        raise TypeError("invalid number of arguments")
    found = tuple(slope(f, a, h, edge_order) for a, h in zip(axes, spacings, strict=True))
    return found[0] if len(found) == 1 else found


def slope(f: Tensor, axis: int, spacing: Any, edge_order: int) -> Tensor:
    """Central differences inside, one-sided ones at both ends, along one axis."""
    n, lead = f.shape[axis], (slice(None),) * axis
    if n < edge_order + 1:
        raise ValueError("Shape of array too small to calculate a numerical gradient, at least (edge_order + 1) "
                         "elements are required.")
    steps = space(f).ones(n - 1, dtype=f.dtype) * spacing if np.ndim(spacing) == 0 else call("diff", array(spacing, f))
    h = call("reshape", steps, (-1, *(1,) * (f.ndim - 1 - axis)))

    def at(i: int) -> Tensor:
        return f[(*lead, slice(i, i + 1 or None))]

    def gap(i: int) -> Tensor:
        return h[slice(i, i + 1 or None)]

    def edge(places: tuple[int, int, int], first: Tensor, second: Tensor, sign: float) -> Tensor:
        one, two, three = (at(i) for i in places)
        if edge_order == 1:
            return sign * (two - one) / first
        both = first + second
        return sign * (-(2 * first + second) / (first * both) * one + both / (first * second) * two
                       - first / (second * both) * three)

    left, right = h[:-1], h[1:]
    before, here, after = (f[(*lead, cut)] for cut in (slice(0, -2), slice(1, -1), slice(2, None)))
    inside = (
        -right / (left * (left + right)) * before + (right - left) / (left * right) * here
        + left / (right * (left + right)) * after
    )
    start = edge((0, 1, 2), gap(0), gap(min(1, n - 2)), 1.0)
    stop = edge((-1, -2, -3), gap(-1), gap(max(-2, 1 - n)), -1.0)
    return call("concat", [start, inside, stop], axis=axis)
