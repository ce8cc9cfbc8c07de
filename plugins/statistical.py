"""Rules of the chapter "statistical": reductions, running sums and running products.
Must not know any array library.

Products are differentiated without a division, so zeros do no harm, in any order of differentiation."""

from math import nan, prod

from agrad.plugins.axes import normalise, restore
from agrad.rules import RuleSet, case, distinct, point, values

rules = RuleSet("statistical")


def reductions(of=tuple):
    """Samples of a reduction: every form of axis, 0-d and empty; `of` makes the argument from a shape."""
    return [
        case(of(())), case(of((3,))), case(of((2, 3))), case(of((2, 3)), keepdims=True),
        case(of((2, 3)), axis=0), case(of((2, 3)), axis=-1, keepdims=True), case(of((3, 1)), axis=1),
        case(of((2, 3)), axis=()), case(of((2, 3, 2)), axis=(0, -1)), case(of((2, 3, 2)), axis=(2, 0), keepdims=True),
        case(of((0, 2)), axis=1), case(of((0, 2)), axis=(1,), keepdims=True),
    ]


EMPTY = [case((0,)), case((2, 0), axis=1), case((2, 0), axis=(0, 1), keepdims=True)]
WIDER = [case((2, 3), axis=0, dtype="complex128")]
RUNS = [
    case((3,)), case((1,)), case((0,)), case((2, 3), axis=0), case((2, 5), axis=-1), case((2, 0), axis=1),
    case((3,), include_initial=True), case((2, 3), axis=-2, include_initial=True), case((0,), include_initial=True),
]


def node(whole, part):
    """PyTorch has one name for the reduction of everything and one for that of some axes."""
    return lambda args, scalars: whole if args[1] is None else part


def count(axis, x_like):
    """How many elements make one result?"""
    return x_like.size if axis is None else prod(x_like.shape[a] for a in normalise(axis, x_like.ndim))


def rows(axis, start, stop):
    """The key of a slice along one axis."""
    return (slice(None),) * axis + (slice(start, stop), ...)


# ------------------------------------------------------------------------------------------------------ sum and mean


def sum_vjp(g, axis, keepdims, x_like, xp):
    if axis is not None:  # what is summed over all axes broadcasts as it is
        g = restore(g, axis, keepdims, x_like, xp)
    return xp.broadcast_to(g, x_like.shape)


def mean_vjp(g, axis, keepdims, x_like, xp):
    return sum_vjp(g / count(axis, x_like), axis, keepdims, x_like, xp)


rules.reduction(
    "sum", x=sum_vjp, linear_part=True,
    node=node("SumBackward0", "SumBackward1"), samples=reductions() + EMPTY + WIDER,
)
rules.reduction(
    "mean", x=mean_vjp, linear_part=True,
    node=node("MeanBackward0", "MeanBackward1"), samples=reductions(),
)


# ------------------------------------------------------------------------------------- variance and standard deviation


def deviation(x, axis, xp):
    return x - xp.mean(x, axis=axis, keepdims=True)


def per_degree(axis, correction, x_like, xp):
    """1 / the degrees of freedom, nan if there are none; where a length is a symbol, that is found at run time."""
    freedom = count(axis, x_like) - correction
    if isinstance(freedom, (int, float)):
        return 1 / freedom if freedom > 0 else nan
    return xp.where(freedom > 0, 1 / freedom, nan)


def var_vjp(g, x, axis, correction, keepdims, x_like, xp):
    scale = 2 * per_degree(axis, correction, x_like, xp)
    return restore(g, axis, keepdims, x_like, xp) * (scale * deviation(x, axis, xp))


def var_jvp(t, x, out, axis, correction, keepdims, x_like, xp):
    slope = var_vjp(xp.ones_like(out), x, axis, correction, keepdims, x_like, xp)
    return xp.sum(slope * t, axis=axis, keepdims=keepdims)


def std_vjp(g, x, out, axis, correction, keepdims, x_like, xp):
    """Whether all elements are equal, `out` cannot tell: it may be a rounding error then."""
    g, out = restore(g, axis, keepdims, x_like, xp), restore(out, axis, keepdims, x_like, xp)
    equal = xp.max(x, axis=axis, keepdims=True) == xp.min(x, axis=axis, keepdims=True)
    slope = per_degree(axis, correction, x_like, xp) * deviation(x, axis, xp)
    return xp.where(equal, 0.0, g / xp.where(equal, 1.0, out)) * slope


def std_jvp(t, x, out, axis, correction, keepdims, x_like, xp):
    slope = std_vjp(xp.ones_like(out), x, out, axis, correction, keepdims, x_like, xp)
    return xp.sum(slope * t, axis=axis, keepdims=keepdims)


CORRECTED = [case(distinct((3,)), correction=1), case(distinct((2, 3)), axis=1, correction=1, keepdims=True)]

rules.reduction(
    "var", x=var_vjp, jvp=var_jvp, complex=False,
    samples=[*reductions(distinct), *CORRECTED, case((4,), correction=0.5)],
    note="nan where the correction leaves no degree of freedom",
)
rules.reduction(
    "std", x=std_vjp, jvp=std_jvp, complex=False,
    samples=[*reductions(distinct), *CORRECTED],
    special=[point(([2.0, 2.0, 2.0],), ([0.0, 0.0, 0.0],)), point(([0.1, 0.1, 0.1],), ([0.0, 0.0, 0.0],))],
    note="0 where all elements are equal, nan where the correction leaves no degree of freedom",
)


# --------------------------------------------------------------------------------------------------- maximum, minimum


def extreme_vjp(g, x, out, axis, keepdims, x_like, xp):
    """Shared by all elements that tie for the result, which a nan does too."""
    hit = (x == restore(out, axis, keepdims, x_like, xp)) | xp.isnan(x)
    ties = xp.sum(xp.astype(hit, g.dtype), axis=axis, keepdims=True)
    return xp.where(hit, restore(g, axis, keepdims, x_like, xp) / ties, 0.0)


def extreme_jvp(t, x, out, axis, keepdims, x_like, xp):
    hit = (x == restore(out, axis, keepdims, x_like, xp)) | xp.isnan(x)
    ties = xp.sum(xp.astype(hit, t.dtype), axis=axis, keepdims=keepdims)
    return xp.sum(xp.where(hit, t, 0.0), axis=axis, keepdims=keepdims) / ties


rules.reduction(
    "max", x=extreme_vjp, jvp=extreme_jvp, complex=False,
    node=node("MaxBackward1", "AmaxBackward0"), samples=reductions(distinct),
    special=[point(([1.0, 3.0, 3.0],), ([0.0, 0.5, 0.5],)), point(([1.0, nan, 3.0],), ([0.0, 1.0, 0.0],))],
)
rules.reduction(
    "min", x=extreme_vjp, jvp=extreme_jvp, complex=False,
    node=node("MinBackward1", "AminBackward0"), samples=reductions(distinct),
    special=[point(([1.0, 1.0, 3.0],), ([0.5, 0.5, 0.0],)), point(([1.0, nan, 3.0],), ([0.0, 1.0, 0.0],))],
)


# ----------------------------------------------------------------------------------------------------------- products


def product_before(x, axis, xp):
    """The product of all elements before each one."""
    return xp.cumulative_prod(x, axis=axis, include_initial=True)[rows(axis, None, -1)]


def product_of_others(x, axis, x_like, xp):
    """The product of all elements but each one; one axis after the other, for what is left is a product again."""
    others = xp.ones_like(x)
    for a in normalise(axis, x_like.ndim):
        after = xp.flip(product_before(xp.flip(x, axis=a), a, xp), axis=a)
        others = others * (product_before(x, a, xp) * after)
        x = xp.prod(x, axis=a, keepdims=True)
    return others


def prod_vjp(g, x, axis, keepdims, x_like, xp):
    others = product_of_others(xp.astype(x, g.dtype, copy=False), axis, x_like, xp)
    return restore(g, axis, keepdims, x_like, xp) * xp.conj(others)


def prod_jvp(t, x, out, axis, keepdims, x_like, xp):
    others = product_of_others(xp.astype(x, out.dtype, copy=False), axis, x_like, xp)
    return xp.sum(t * others, axis=axis, keepdims=keepdims)


rules.reduction(
    "prod", x=prod_vjp, jvp=prod_jvp,
    node=node("ProdBackward0", "ProdBackward1"),
    samples=[
        *reductions(), *EMPTY, *WIDER, case(values([0.0, 2.0, 3.0])), case(values([0.0, 2.0, 0.0])),
        case(values([[0.0, 2.0], [0.0, 3.0]]), axis=(0, 1)),
    ],
    special=[point(([0.0, 2.0, 3.0],), ([6.0, 0.0, 0.0],)), point(([0.0, 2.0, 0.0],), ([0.0, 0.0, 0.0],))],
)


def recurrence(b, a, axis, n, xp):
    """Solve s[j] = b[j] + a[j + 1] s[j + 1] for s, from the last element to the first, in log2(n) doubling steps."""
    step = 1
    while step < n:
        sums = b[rows(axis, None, n - step)] + a[rows(axis, 1, None)] * b[rows(axis, step, None)]
        b = xp.concat([sums, b[rows(axis, n - step, None)]], axis=axis)
        step *= 2
        if step < n:
            a = a[rows(axis, None, n - step + 1)] * a[rows(axis, step // 2, None)]
    return b


def cumulative_prod_vjp(g, x, axis, include_initial, x_like, xp):
    """Element j gets the product before it times s[j], where s[j] = g[j] + x[j + 1] s[j + 1]."""
    (axis,) = normalise(axis, x_like.ndim)
    if include_initial:
        g = g[rows(axis, 1, None)]
    x = xp.conj(xp.astype(x, g.dtype, copy=False))
    return product_before(x, axis, xp) * recurrence(g, x, axis, x_like.shape[axis], xp)


def cumulative_prod_jvp(t, x, out, axis, include_initial, x_like, xp):
    """Element j moves by s[j] = t[j] times the product before it + x[j] s[j - 1]: the recurrence from the other end."""
    (axis,) = normalise(axis, x_like.ndim)
    x = xp.astype(x, out.dtype, copy=False)
    own, factors = product_before(x, axis, xp) * t, xp.roll(x, -1, axis=axis)
    moved = recurrence(xp.flip(own, axis=axis), xp.flip(factors, axis=axis), axis, x_like.shape[axis], xp)
    moved = xp.flip(moved, axis=axis)
    return xp.concat([xp.zeros_like(out)[rows(axis, None, 1)], moved], axis=axis) if include_initial else moved


rules.general(
    "cumulative_prod", vjp={"x": cumulative_prod_vjp}, jvp=cumulative_prod_jvp,
    node="CumprodBackward0",
    samples=[
        *RUNS, *WIDER, case(values([1.0, 0.0, 3.0])),
        case(values([[2.0, 0.0, 3.0, 0.0, 5.0]]), axis=1, include_initial=True),
    ],
    special=[point(([1.0, 0.0, 3.0],), ([1.0, 4.0, 0.0],)), point(([0.0, 0.0, 3.0],), ([1.0, 0.0, 0.0],))],
    note="first-order recurrence by recursive doubling: Kogge and Stone, IEEE Trans. Comput. C-22 (1973) 786",
)


# -------------------------------------------------------------------------------------------------------- running sum


def cumulative_sum_vjp(g, axis, include_initial, x_like, xp):
    (axis,) = normalise(axis, x_like.ndim)
    if include_initial:
        g = g[rows(axis, 1, None)]
    return xp.flip(xp.cumulative_sum(xp.flip(g, axis=axis), axis=axis), axis=axis)


rules.linear("cumulative_sum", x=cumulative_sum_vjp, node="CumsumBackward0", samples=RUNS + WIDER)
