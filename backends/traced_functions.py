"""Functions on traced arrays that ONNX, ONNX Runtime or ndonnx lack, made of those that there are.

ONNX Runtime has no sine's relatives in double precision, and ndonnx goes through single precision there; here they have
the precision of their dtype. This file must know no rule and no Tensor.
"""

from collections.abc import Callable
from math import log, pi
from types import SimpleNamespace
from typing import Any

import numpy as np
import spox
import spox.opset.ai.onnx.v21 as onnx

from agrad.backends import traced
from agrad.backends import traced_standard as xp
from agrad.backends.symbolic import Symbol, axes_of
from agrad.backends.traced import ELEMENTWISE, REAL, Traced, as_traced, cast, where

SINGLE = np.dtype(np.float32)
LN2 = log(2.0)

exp, expm1, log1p, logarithm, sin, sqrt = (
    ELEMENTWISE[name] for name in ("exp", "expm1", "log1p", "log", "sin", "sqrt")
)
maximum, minimum, isinf, sign = (ELEMENTWISE[name] for name in ("maximum", "minimum", "isinf", "sign"))


def in_double(function: Callable[[spox.Var], spox.Var]) -> Callable[..., Any]:
    """The operator for single precision; what is decorated, for double precision and integers."""
    def decorate(double: Callable[[Any], Any]) -> Callable[[Any], Any]:
        def kernel(x: Any, /) -> Any:
            x = as_traced(x)
            if x.dtype.kind == "f" and x.dtype != REAL:
                return Traced(function(x.var), x.shape, x.weak)
            return double(cast(x, REAL))

        kernel.__name__ = double.__name__
        return kernel

    return decorate


# ------------------------------------------------------------------------------------------------------- trigonometric


@in_double(onnx.cos)
def cos(x: Any) -> Any:
    half = sin(x / 2)
    return 1 - 2 * half * half


@in_double(onnx.tan)
def tan(x: Any) -> Any:
    return sin(x) / cos(x)


@in_double(onnx.atan)
def atan(x: Any) -> Any:
    """The angle in single precision, and one step of Newton's method in double."""
    angle = cast(Traced(onnx.atan(traced.cast_var(x.var, SINGLE)), x.shape), REAL)
    s, c = sin(angle), cos(angle)
    return where(isinf(x), sign(x) * (pi / 2), angle + (x * c - s) / (c + x * s))


@in_double(onnx.asin)
def asin(x: Any) -> Any:
    return atan(x / sqrt((1 - x) * (1 + x)))


@in_double(onnx.acos)
def acos(x: Any) -> Any:
    return 2 * atan(sqrt((1 - x) / (1 + x)))


def atan2(x1: Any, x2: Any, /) -> Any:
    y, x = floats(x1, x2)
    half_turn = cast(where(signbit(y), -pi, pi), y.dtype)
    angle = where(signbit(x), half_turn, 0.0) + atan(y / where(x == 0, 1.0, x))
    on_axis = where(y == 0, where(signbit(x), half_turn, y), half_turn / 2)
    return where(x == 0, on_axis, angle)


# ---------------------------------------------------------------------------------------------------------- hyperbolic


@in_double(onnx.sinh)
def sinh(x: Any) -> Any:
    grown = expm1(abs(x))
    return sign(x) * where(isinf(grown), grown, (grown + grown / (grown + 1)) / 2)


@in_double(onnx.cosh)
def cosh(x: Any) -> Any:
    grown = exp(abs(x))
    return (grown + 1 / grown) / 2


@in_double(onnx.asinh)
def asinh(x: Any) -> Any:
    size = abs(x)
    moderate = minimum(size, 1e8)
    near = log1p(moderate + moderate * moderate / (1 + sqrt(moderate * moderate + 1)))
    return sign(x) * where(size > 1e8, logarithm(size) + LN2, near)


@in_double(onnx.acosh)
def acosh(x: Any) -> Any:
    above = x - 1
    return log1p(above + sqrt(above) * sqrt(above + 2))


@in_double(onnx.atanh)
def atanh(x: Any) -> Any:
    size = abs(x)
    return sign(x) * log1p(2 * size / (1 - size)) / 2


# --------------------------------------------------------------------------------------------------------- two operands


def floats(*operands: Any) -> list[Any]:
    """The operands in their common floating dtype."""
    variables, _, _ = traced.promoted(*operands, floating=True)
    shapes = [value.shape if isinstance(value, Traced) else () for value in map(traced.lift, operands)]
    return [Traced(var, shape) for var, shape in zip(variables, shapes, strict=True)]


def signbit(x: Any, /) -> Any:
    """Whether a number is negative, -0.0 too."""
    x = as_traced(x)
    return x < 0 if x.dtype.kind != "f" else (x < 0) | ((x == 0) & (1 / x < 0))


def copysign(x1: Any, x2: Any, /) -> Any:
    x1, x2 = floats(x1, x2)
    return where(signbit(x1) == signbit(x2), x1, -x1)


def hypot(x1: Any, x2: Any, /) -> Any:
    a, b = (abs(x) for x in floats(x1, x2))
    large, small = maximum(a, b), minimum(a, b)
    ratio = small / where((large == 0) | isinf(large), 1.0, large)
    return where(isinf(large), large, large * sqrt(1 + ratio * ratio))


def logaddexp(x1: Any, x2: Any, /) -> Any:
    a, b = floats(x1, x2)
    return where(a == b, a + LN2, maximum(a, b) + log1p(exp(-abs(a - b))))


# ------------------------------------------------------------------------------------------------------ running product


def cumulative_prod(
    x: Any, /, *, axis: Any = None, dtype: Any = None, include_initial: bool = False
) -> Any:
    x = cast(as_traced(x), xp.sum_dtype(as_traced(x), dtype))
    (a,) = axes_of(axis, x.ndim)
    x = _one_by_one(x, a) if isinstance(x.shape[a], Symbol) else _in_doubling_steps(x, a)
    if include_initial:
        x = xp.concat([xp.ones((*x.shape[:a], 1, *x.shape[a + 1 :]), dtype=x.dtype), x], axis=a)
    return x


def _one_by_one(x: Any, a: int) -> Any:
    """A loop in the model: the length is not known."""
    rows = xp.moveaxis(x, a, 0)

    def step(i: spox.Var, go_on: spox.Var, product: spox.Var) -> tuple[spox.Var, spox.Var, spox.Var]:
        row = onnx.gather(rows.var, onnx.reshape(i, traced.constant(np.zeros(0, np.int64))), axis=0)
        product = onnx.mul(product, row)
        return go_on, product, product

    first = xp.ones(rows.shape[1:], dtype=x.dtype)
    _, products = onnx.loop(traced.vector(rows.shape[:1]), traced.constant([True]), [first.var], body=step)
    return xp.moveaxis(Traced(products, rows.shape), 0, a)


def _in_doubling_steps(x: Any, a: int) -> Any:
    n, step = x.shape[a], 1
    lead = (slice(None),) * a
    while step < n:
        later = x[(*lead, slice(step, None), ...)] * x[(*lead, slice(None, -step), ...)]
        x = xp.concat([x[(*lead, slice(None, step), ...)], later], axis=a)
        step *= 2
    return x


# --------------------------------------------------------------------------------------------------- special functions


def expit(x: Any, /) -> Any:
    (x,) = floats(x)
    return Traced(onnx.sigmoid(x.var), x.shape, x.weak)


def logit(x: Any, /) -> Any:
    (x,) = floats(x)
    return logarithm(x) - log1p(-x)


def xlogy(x: Any, y: Any, /) -> Any:
    x, y = floats(x, y)
    return where((x == 0) & (y == y), 0.0, x * logarithm(where(x == 0, 1.0, y)))


def xlog1py(x: Any, y: Any, /) -> Any:
    x, y = floats(x, y)
    return where((x == 0) & (y == y), 0.0, x * log1p(where(x == 0, 0.0, y)))


def entr(x: Any, /) -> Any:
    (x,) = floats(x)
    return where(x < 0, -np.inf, -xlogy(x, x))


def erf(x: Any, /) -> Any:
    (x,) = floats(x)
    if x.dtype == REAL:
        raise NotImplementedError(
            "special.erf cannot be traced by ndonnx in float64: ONNX Runtime has it in single precision only; "
            "cast to float32 first"
        )
    return Traced(onnx.erf(x.var), x.shape, x.weak)


SPECIAL = SimpleNamespace(entr=entr, erf=erf, expit=expit, logit=logit, xlog1py=xlog1py, xlogy=xlogy)

FUNCTIONS: dict[str, Callable[..., Any]] = {
    function.__name__: function for function in (
        acos, acosh, asin, asinh, atan, atan2, atanh, copysign, cos, cosh, cumulative_prod, hypot, logaddexp, signbit,
        sinh, tan,
    )
}
