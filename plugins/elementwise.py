"""Rules of the chapter "elementwise". A formula states the partial derivative d; g * conj(d), broadcasting and casting
are the engine's. Must not know any array library.

`node` stands only where PyTorch's name is not the op's own name with Backward0 behind it."""

from math import inf, log, nan

from agrad.rules import RuleSet, case, ints, mask, point, values

rules = RuleSet("elementwise")

LN2, LN10 = log(2.0), log(10.0)
UNARY = [case(()), case((3,)), case((2, 3)), case((0,)), case((2, 0))]
BINARY = [case((), ()), case((2, 3), (3,)), case((2, 1), (1, 3)), case((), (2,)), case((0,), (1,)), case((3,), 0.7)]


def ratio(a, b, xp):
    """a / b, and 0 where b is 0; the inner `where` keeps 0 / 0 out of the second order too."""
    zero = b == 0
    return xp.where(zero, 0.0, a / xp.where(zero, 1.0, b))


# -------------------------------------------------------------------------------------------------------- arithmetic

rules.elementwise("positive", x=1, view="itself")
rules.elementwise("negative", x=-1, node="NegBackward0")
rules.elementwise("add", x1=1, x2=1)
rules.elementwise("subtract", x1=1, x2=-1, node=lambda args, scalars: "RsubBackward1" if scalars[0] else "SubBackward0")
rules.elementwise("multiply", x1=lambda x2: x2, x2=lambda x1: x1, scalars=True, node="MulBackward0")
rules.elementwise(
    "divide", x1=lambda x2: 1 / x2, x2=lambda x1, x2: -(x1 / x2) / x2,
    node=lambda args, scalars: "MulBackward0" if scalars[0] else "DivBackward0",
    domain={"x1": (-2.0, 2.0), "x2": (0.5, 2.0)},
    special=[point((1.0, 0.0), (inf, -inf))],
    note="PyTorch makes scalar / x a reciprocal times the scalar, hence MulBackward0",
)
rules.elementwise("reciprocal", x=lambda out: -out * out, domain=(0.5, 2.0), special=[point((0.0,), (-inf,))])
rules.elementwise(
    "remainder", x1=1, x2=lambda x1, x2, out, xp: -xp.round((x1 - out) / x2), complex=False,
    node=lambda args, scalars: "RemainderBackward0" if scalars[1] else "RemainderBackward1",
    domain={"x1": (-5.0, 5.0), "x2": (0.7, 3.0)},
    special=[point((1.0, 0.1), (1.0, -9.0)), point((-5.0, 3.0), (1.0, 2.0))],
    note="the quotient that goes with the result; floor(x1 / x2) is 10 for 1.0 and 0.1, whose remainder is almost 0.1",
)


# ------------------------------------------------------------------------------------ powers, exponentials, logarithms


def is_number(operand):
    return isinstance(operand, (int, float, complex))


def pow_base(x1, x2, xp):
    """x2 x1**(x2 - 1), and 0 for 0**0. A mask of all x2 = 0 would lose the mixed second derivative there, 1 / x1."""
    if is_number(x2):
        return x2 * x1 ** (x2 - 1) if x2 else 0
    both = (x1 == 0) & (x2 == 0)
    return xp.where(both, 0.0, x2 * xp.where(both, 1.0, x1) ** (x2 - 1))


def pow_exponent(x1, x2, out, xp):
    """x1**x2 log(x1), and 0 for powers of 0 that are finite."""
    base = xp.full_like(out, x1) if is_number(x1) else x1
    flat = (base == 0) & (xp.real(x2) >= 0)
    return xp.where(flat, 0.0, out * xp.log(xp.where(flat, 1.0, base)))


def pow_node(args, scalars):
    return "PowBackward2" if scalars[0] else "PowBackward0" if scalars[1] else "PowBackward1"


rules.elementwise(
    "pow", x1=pow_base, x2=pow_exponent, scalars=True,
    node=pow_node, domain={"x1": (0.3, 2.5), "x2": (-2.0, 2.0)},
    samples=[*BINARY, *(case((3,), n) for n in (3.0, 2, 1, 0, -1)), case((), 2), case(2.0, (3,)), case(3, (2, 2))],
    special=[
        point((0.0, 0.0), (0.0, 0.0)), point((0.0, 0.5), (inf, 0.0)), point((0.0, 1.0), (1.0, 0.0)),
        point((0.0, 2.0), (0.0, 0.0)), point((3.0, 0.0), (0.0, log(3.0))), point((-2.0, 2.0), (-4.0, nan)),
    ],
)
rules.elementwise("square", x=lambda x: 2 * x, node="PowBackward0")
rules.elementwise("sqrt", x=lambda out: 0.5 / out, domain=(0.1, 4.0), special=[point((0.0,), (inf,))])
rules.elementwise("exp", x=lambda out: out)
rules.elementwise("expm1", x=lambda x, xp: xp.exp(x), note="not out + 1, which is 0 from -37 downwards")
rules.elementwise("log", x=lambda x: 1 / x, domain=(0.1, 4.0), special=[point((0.0,), (inf,))])
rules.elementwise("log2", x=lambda x: 1 / (LN2 * x), domain=(0.1, 4.0), special=[point((0.0,), (inf,))])
rules.elementwise("log10", x=lambda x: 1 / (LN10 * x), domain=(0.1, 4.0), special=[point((0.0,), (inf,))])
rules.elementwise(
    "log1p", x=lambda x: 1 / (1 + x), node="Log1PBackward0", domain=(-0.8, 3.0), special=[point((-1.0,), (inf,))]
)


def softmax(x, other, out, xp):
    """exp(x - out) without inf - inf: of two equal infinities each gets a half, a single inf gets all."""
    tie = xp.isinf(x) & (x == other)
    alone = xp.isinf(x) & (x == out)
    return xp.exp(xp.where(tie, -LN2, xp.where(alone, 0.0, x - out)))


rules.elementwise(
    "logaddexp", complex=False,
    x1=lambda x1, x2, out, xp: softmax(x1, x2, out, xp),
    x2=lambda x1, x2, out, xp: softmax(x2, x1, out, xp),
    special=[
        point((inf, inf), (0.5, 0.5)), point((-inf, -inf), (0.5, 0.5)), point((inf, -inf), (1.0, 0.0)),
        point((inf, 1.0), (1.0, 0.0)), point((1.0, -inf), (1.0, 0.0)), point((-1000.0, 1000.0), (0.0, 1.0)),
    ],
    note="sums to one everywhere; 1 / (1 + exp(x2 - x1)) is the same, but nan in second order where exp overflows",
)


# ----------------------------------------------------------------------------------------------------- trigonometric

rules.elementwise("sin", x=lambda x, xp: xp.cos(x))
rules.elementwise("cos", x=lambda x, xp: -xp.sin(x))
rules.elementwise("tan", x=lambda out: 1 + out * out, domain=(-1.2, 1.2))
rules.elementwise(
    "asin", x=lambda x, xp: 1 / xp.sqrt((1 - x) * (1 + x)),
    domain=(-0.8, 0.8), special=[point((1.0,), (inf,)), point((2.0,), (nan,))],
)
rules.elementwise(
    "acos", x=lambda x, xp: -1 / xp.sqrt((1 - x) * (1 + x)),
    domain=(-0.8, 0.8), special=[point((1.0,), (-inf,)), point((2.0,), (nan,))],
)
rules.elementwise("atan", x=lambda x: 1 / (1 + x * x), domain=(-0.8, 0.8))


def per_square(a, x1, x2, xp):
    """a / (x1**2 + x2**2) and 0 at the origin, in two steps, because squares under- and overflow early."""
    length = xp.hypot(x1, x2)
    return ratio(ratio(a, length, xp), length, xp)


rules.elementwise(
    "atan2", complex=False,
    x1=lambda x1, x2, xp: per_square(x2, x1, x2, xp),
    x2=lambda x1, x2, xp: per_square(-x1, x1, x2, xp),
    domain={"x1": (-2.0, 2.0), "x2": (0.4, 2.0)},
    special=[point((0.0, 0.0), (0.0, 0.0)), point((0.0, -2.0), (-0.5, 0.0)), point((1e-200, 0.0), (0.0, -1e200))],
    note="0 at the origin, as in PyTorch",
)
rules.elementwise(
    "hypot", complex=False,
    x1=lambda x1, out, xp: ratio(x1, out, xp),
    x2=lambda x2, out, xp: ratio(x2, out, xp),
    domain={"x1": (-2.0, 2.0), "x2": (0.4, 2.0)},
    special=[point((0.0, 0.0), (0.0, 0.0)), point((3.0, -4.0), (0.6, -0.8))],
    note="0 at the origin like every norm, the shortest subgradient; PyTorch gives nan",
)


# -------------------------------------------------------------------------------------------------------- hyperbolic

rules.elementwise("sinh", x=lambda x, xp: xp.cosh(x))
rules.elementwise("cosh", x=lambda x, xp: xp.sinh(x))
rules.elementwise("tanh", x=lambda out: 1 - out * out, domain=(-1.2, 1.2))
rules.elementwise("asinh", x=lambda x, xp: 1 / xp.sqrt(1 + x * x), domain=(-0.8, 0.8))
rules.elementwise(
    "acosh", x=lambda x, xp: 1 / (xp.sqrt(x - 1) * xp.sqrt(x + 1)),
    domain=(1.2, 4.0), special=[point((1.0,), (inf,)), point((-1 + 1j,), (-0.3515775842541429 + 0.5688644810057831j,))],
    note="the product of two roots, for sqrt(x**2 - 1) has the wrong sign in the left half plane",
)
rules.elementwise("atanh", x=lambda x: 1 / ((1 - x) * (1 + x)), domain=(-0.8, 0.8), special=[point((1.0,), (inf,))])


# ------------------------------------------------------------------------------------------- size, sign and direction
# A complex number's absolute value, sign and parts are not holomorphic: there is no d, and g is transposed directly.


def turned(g, x, out, x_like, xp):
    """How x / |x| turns: by the part of g that is orthogonal to it. It is its own transpose, and zero for real x."""
    if not xp.isdtype(g.dtype, "complex floating"):
        return x_like.zeros()
    return ratio(g - out * xp.real(g * xp.conj(out)), xp.abs(x), xp)


rules.general(
    "abs", vjp={"x": lambda g, x, xp: g * xp.sign(x)}, jvp=lambda t, x, xp: xp.real(t * xp.conj(xp.sign(x))),
    domain=(0.3, 2.0), samples=[*UNARY, case(values([-1.5, 0.7]))],
    special=[point((0.0,), (0.0,)), point((-2.0,), (-1.0,)), point((0j,), (0j,)), point((3 - 4j,), (0.6 - 0.8j,))],
)
rules.general(
    "sign", vjp={"x": turned}, jvp=lambda t, x, out, x_like, xp: turned(t, x, out, x_like, xp),
    domain=(0.3, 2.0), samples=[*UNARY, case(values([-1.5, 0.7]))],
    special=[point((0.0,), (0.0,)), point((-2.0,), (0.0,)), point((0j,), (0j,)), point((2j,), (0.5 + 0j,))],
)
rules.linear("conj", x=lambda g, xp: xp.conj(g), view="itself", samples=UNARY)
rules.linear("real", x=lambda g: g, view=True, node="SelectBackward0", samples=UNARY)
rules.linear("imag", x=lambda g: g * 1j, view=True, node="SelectBackward0", samples=UNARY, note="of complex input only")
rules.elementwise(
    "copysign", x1=lambda x1, out, xp: xp.sign(x1) * xp.sign(out), x2=0, complex=False,
    node=lambda args, scalars: "CopysignBackward1" if scalars[1] else "CopysignBackward0",
    special=[point((0.0, 1.0), (0.0, 0.0)), point((2.0, -1.0), (-1.0, 0.0)), point((-2.0, -0.0), (1.0, 0.0))],
)


# --------------------------------------------------------------------------------------------------- taking one of two

rules.select(
    "maximum", x1=lambda x1, x2: x1 >= x2, x2=lambda x1, x2: x2 >= x1, complex=False,
    special=[point((1.0, 1.0), (0.5, 0.5)), point((2.0, 1.0), (1.0, 0.0))],
)
rules.select(
    "minimum", x1=lambda x1, x2: x1 <= x2, x2=lambda x1, x2: x2 <= x1, complex=False,
    special=[point((1.0, 1.0), (0.5, 0.5)), point((2.0, 1.0), (0.0, 1.0))],
)


def clip_x(g, x, min, max, xp):
    if min is not None:
        g = xp.where(x >= min, g, 0.0)
    if max is not None:
        g = xp.where(x <= max, g, 0.0)
    return g


def clip_min(g, x, min, max, xp):
    taken = x < min if max is None else (x < min) & (min <= max)
    return xp.where(taken, g, 0.0)


def clip_max(g, x, min, max, xp):
    """Of bounds that cross, every library takes the upper one."""
    taken = x > max if min is None else (x > max) | (min > max)
    return xp.where(taken, g, 0.0)


def clip_node(args, scalars):
    tensors = (bound is not None and not scalar for bound, scalar in zip(args[1:3], scalars[1:3], strict=True))
    return "ClampBackward0" if any(tensors) else "ClampBackward1"


rules.general(
    "clip", vjp={"x": clip_x, "min": clip_min, "max": clip_max}, complex=False,
    jvp={
        "x": lambda t, x, min, max, xp: clip_x(t, x, min, max, xp),
        "min": lambda t, x, min, max, xp: clip_min(t, x, min, max, xp),
        "max": lambda t, x, min, max, xp: clip_max(t, x, min, max, xp),
    },
    node=clip_node, domain={"x": (-2.0, 2.0), "min": (-1.0, -0.2), "max": (0.2, 1.0)},
    samples=[
        case(()), case((2, 3), 0.0), case((3,), None, 0.5), case((3,), -0.5, 0.5), case((), -0.5, ()),
        case((2, 3), (2, 3)), case((3,), None, (3,)), case((2, 3), (), (2, 3)), case((2, 3), (3,), (2, 1)),
        case((0,), -1.0, 1.0), case((2, 0), (0,), (2, 1)),
    ],
    special=[
        point((0.0, 1.0, 2.0), (0.0, 1.0, 0.0)), point((1.0, 1.0, 2.0), (1.0, 0.0, 0.0)),
        point((2.0, 1.0, 2.0), (1.0, 0.0, 0.0)), point((3.0, 1.0, 2.0), (0.0, 0.0, 1.0)),
    ],
    note="at a bound x gets all, as in PyTorch",
)


# ------------------------------------------------------------------------------------------------------------- steps


def no_floor_divide(g):
    raise RuntimeError("derivative for floor_divide is not implemented; use floor(x1 / x2), whose gradient is zero")



rules.flat("ceil", "floor", "trunc", complex=False, samples=UNARY)
rules.flat("round", samples=UNARY)
rules.general(
    "floor_divide", vjp={"x1": no_floor_divide, "x2": no_floor_divide}, complex=False, samples=(),
    note="tracked, but differentiating it raises, as in PyTorch: say floor(x1 / x2) for a gradient of zero",
)
rules.elementwise("nextafter", x1=1, x2=0, complex=False, note="x1 and a rounding error, as in PyTorch")


# ----------------------------------------------------------------------------------------------------- no derivative

rules.not_differentiable("equal", "not_equal", "isfinite", "isinf", "isnan")
rules.not_differentiable("less", "less_equal", "greater", "greater_equal", "signbit", complex=False)
rules.not_differentiable("logical_and", "logical_or", "logical_xor", samples=[case(mask((2, 3)), mask((3,)))])
rules.not_differentiable("logical_not", samples=[case(mask(())), case(mask((2, 3)))])
rules.not_differentiable(
    "bitwise_and", "bitwise_or", "bitwise_xor", "bitwise_left_shift", "bitwise_right_shift",
    samples=[case(ints((2, 3), 0, 8), ints((3,), 0, 8)), case(ints((3,), 0, 8), 2)],
)
rules.not_differentiable("bitwise_invert", samples=[case(ints((2, 3), -8, 8)), case(mask((3,)))])
