"""Rules and kernels of the chapter "beyond": what gradients and users need and the standard lacks.
Must not know any array library.

The kernels are written against the standard; where a backend has a better function of its own, its adapter names it."""

from math import inf, nan
from operator import index

from agrad.batching import spread
from agrad.plugins import batches
from agrad.plugins.axes import inverse, normalise, restore
from agrad.plugins.contraction import alike, contract, diagonals, is_number, read, write
from agrad.rules import RuleSet, case, distinct, ints, mask, point, values

rules = RuleSet("beyond")


def device_of(x):
    """Where an array lives, for what is made beside it; not every library says."""
    return getattr(x, "device", None)


# ---------------------------------------------------------------------------------------------------------------- relu


def relu(x, /, *, xp):
    """The larger of x and zero; nan stays nan."""
    if xp.isdtype(x.dtype, "complex floating"):
        raise TypeError(f"relu() takes real numbers, not {x.dtype}")
    return xp.where(x < 0, xp.zeros_like(x), x)


rules.op("relu").kernel("*", relu)
rules.select(
    "relu", x=lambda out, xp: xp.logical_not(out <= 0), complex=False,
    samples=[case(distinct(())), case(distinct((3,))), case(distinct((2, 3))), case((0, 2))],
    special=[point(([0.0, -0.0, inf, -inf, nan],), ([0.0, 0.0, 1.0, 0.0, 1.0],))],
    note="0 at zero, 1 at nan: as PyTorch",
)


# ------------------------------------------------------------------------------------------- softmax and its logarithms
# The largest element is taken away first, so that no exponential overflows.


def check_floating(name, x, xp):
    if not xp.isdtype(x.dtype, "real floating"):
        raise TypeError(f"{name}() takes real floating-point numbers, not {x.dtype}")


def softmax(x, /, *, axis=-1, xp):
    """Exponentials divided by their sum over axes."""
    check_floating("softmax", x, xp)
    if 0 in x.shape:
        return xp.exp(x)    # without elements there is no largest one
    e = xp.exp(x - xp.max(x, axis=axis, keepdims=True))
    return e / xp.sum(e, axis=axis, keepdims=True)


def log_softmax(x, /, *, axis=-1, xp):
    """The logarithm of `softmax`, also where that rounds to zero."""
    check_floating("log_softmax", x, xp)
    if 0 in x.shape:
        return xp.exp(x)
    x = x - xp.max(x, axis=axis, keepdims=True)
    return x - xp.log(xp.sum(xp.exp(x), axis=axis, keepdims=True))


def logsumexp(x, /, *, axis=None, keepdims=False, xp):
    """The logarithm of the sum of exponentials; -inf of no elements."""
    check_floating("logsumexp", x, xp)
    if 0 in x.shape and any(x.shape[a] == 0 for a in normalise(axis, x.ndim)):
        return xp.sum(x, axis=axis, keepdims=keepdims) - inf
    largest = xp.max(x, axis=axis, keepdims=True)
    bound = xp.finfo(x.dtype).max       # inf - inf would be nan
    shift = xp.clip(largest, -bound, bound)
    total = xp.sum(xp.exp(x - shift), axis=axis, keepdims=True)
    out = xp.where(total == 0, largest, xp.log(xp.where(total == 0, 1.0, total)) + shift)
    return out if keepdims else xp.squeeze(out, axis=normalise(axis, x.ndim))


def softmax_vjp(g, out, axis, xp):
    return out * (g - xp.sum(out * g, axis=axis, keepdims=True))


def log_softmax_vjp(g, out, axis, xp):
    return g - xp.exp(out) * xp.sum(g, axis=axis, keepdims=True)


def logsumexp_vjp(g, x, out, axis, keepdims, x_like, xp):
    g, out = (restore(part, axis, keepdims, x_like, xp) for part in (g, out))
    return g * xp.exp(x - out)


def logsumexp_jvp(t, x, out, axis, keepdims, x_like, xp):
    return xp.sum(t * xp.exp(x - restore(out, axis, keepdims, x_like, xp)), axis=axis, keepdims=keepdims)


AXES = [
    case((3,)), case((2, 3)), case((2, 3), axis=0), case((3, 1)), case((2, 3, 2), axis=(0, -1)),
    case((2, 3), axis=None), case(values([800.0, -800.0, 801.0])), case((0, 3), axis=1),
]
EMPTY = [case((0, 3)), case((2, 0)), case((0, 2), axis=0)]
MASKED = case(values([0.5, -inf, 1.0]))
INFINITE = "nan where all elements are -inf or one is inf: as PyTorch"

rules.op("softmax").kernel("*", softmax)
rules.general(
    "softmax", vjp={"x": softmax_vjp}, jvp=lambda t, out, axis, xp: softmax_vjp(t, out, axis, xp),
    complex=False, note=INFINITE, samples=[*AXES, *EMPTY, MASKED],
    special=[point(([-inf, 1.0],), ([0.0, 0.0],)), point(([-inf, -inf],), ([nan, nan],))],
)
rules.op("log_softmax").kernel("*", log_softmax)
rules.general(
    "log_softmax", vjp={"x": log_softmax_vjp},
    jvp=lambda t, out, axis, xp: t - xp.sum(xp.exp(out) * t, axis=axis, keepdims=True),
    complex=False, note=INFINITE, samples=AXES + EMPTY,
    special=[point(([-inf, 1.0],), ([1.0, -1.0],)), point(([inf, 1.0],), ([nan, nan],))],
)
rules.op("logsumexp").kernel("*", logsumexp)
rules.reduction(
    "logsumexp", x=logsumexp_vjp, jvp=logsumexp_jvp, complex=False, note=INFINITE,
    samples=[
        *AXES, MASKED, case(()), case((2, 3), axis=()), case((2, 3), axis=-1, keepdims=True),
        case((2, 3, 2), axis=(2, 0), keepdims=True),
    ],
    special=[
        point(([-inf, 1.0],), ([0.0, 1.0],)), point(([inf, 1.0],), ([nan, 0.0],)),
        point(([-inf, -inf],), ([nan, nan],)), point(([nan, 1.0],), ([nan, nan],)),
    ],
)


# ----------------------------------------------------------------------------------------------------------------- pad

MODES = ("constant", "edge", "reflect", "symmetric", "wrap")


def folded(mode, n):
    """Which of n positions stands for a position outside of them."""
    if n == 0:
        raise ValueError(f"pad() in mode {mode!r} cannot extend an axis without elements")
    if mode == "edge" or n == 1:
        return lambda i: min(max(i, 0), n - 1)
    if mode == "wrap":
        return lambda i: i % n
    period, turn = (2 * n, 2 * n - 1) if mode == "symmetric" else (2 * n - 2, 2 * n - 2)
    return lambda i: min(i % period, turn - i % period)


def sources(mode, n, before, after):
    """The positions that the elements before and after an axis are copied from."""
    fold = folded(mode, n)
    return [fold(i) for i in range(-before, 0)], [fold(i) for i in range(n, n + after)]


def is_single(value):
    return not hasattr(value, "__len__")


def pairs(given, ndim, name, number):
    """NumPy's short forms written out: a pair for each axis from one number, one pair, or one or two for each axis."""
    rows = [given] if is_single(given) else list(given)
    rows = [rows] if all(map(is_single, rows)) else [[row] if is_single(row) else list(row) for row in rows]
    rows = rows * ndim if len(rows) == 1 else rows
    if len(rows) != ndim or not all(len(row) in (1, 2) for row in rows):
        raise ValueError(f"pad() takes for {name} a number, one pair, or a pair for each of {ndim} axes, not {given!r}")
    return [(number(row[0]), number(row[-1])) for row in rows]


def width(n):
    if index(n) < 0:
        raise ValueError(f"pad() takes no negative widths, got {n}")
    return index(n)


def pad(x, pad_width, mode="constant", *, constant_values=0, xp):
    """The array with elements added before and after each axis, as NumPy's."""
    if mode not in MODES:
        raise ValueError(f"pad() has the modes {', '.join(map(repr, MODES))}, not {mode!r}")
    widths = pairs(pad_width, x.ndim, "pad_width", width)
    fills = pairs(constant_values, x.ndim, "constant_values", lambda value: value)
    padded = x
    for axis, (counts, fill) in enumerate(zip(widths, fills, strict=True)):
        if any(counts):
            before, after = borders(padded, axis, counts, mode, fill, xp)
            padded = xp.concat([part for part in (before, padded, after) if part is not None], axis=axis)
    return xp.copy(x) if padded is x else padded


def borders(x, axis, counts, mode, fill, xp):
    """What comes before and after an axis; None for nothing."""
    device = device_of(x)
    if mode == "constant":
        shapes = [(*x.shape[:axis], n, *x.shape[axis + 1 :]) for n in counts]
        every = zip(counts, shapes, fill, strict=True)
        return [xp.full(shape, value, dtype=x.dtype, device=device) if n else None for n, shape, value in every]
    places = sources(mode, x.shape[axis], *counts)
    return [xp.take(x, xp.asarray(part, device=device), axis=axis) if part else None for part in places]


def pad_transpose(g, pad_width, mode, x_like, xp):
    """Cut the borders off; where they are copies, add them to what they were copied from, last axis first."""
    widths = pairs(pad_width, x_like.ndim, "pad_width", width)
    if mode == "constant":
        inside = zip(widths, x_like.shape, strict=True)
        return xp.getitem(g, tuple(slice(before, before + n) for (before, _), n in inside))
    for axis in reversed(range(x_like.ndim)):
        (before, after), n, lead = widths[axis], x_like.shape[axis], (slice(None),) * axis
        if before or after:
            cuts = slice(0, before), slice(before, before + n), slice(before + n, None)
            first, own, last = (xp.getitem(g, (*lead, cut, ...)) for cut in cuts)
            places = [place for part in sources(mode, n, before, after) for place in part]
            key = (*lead, xp.asarray(places, device=x_like.device))
            g = xp.scatter_add(own, key, xp.concat([first, last], axis=axis))
    return g


def pad_batch(x, pad_width, mode, constant_values, xp):
    """Nothing is added to the batch."""
    every = ((pad_width, "pad_width"), (constant_values, "constant_values"))
    widths, fills = (((0, 0), *pairs(given, x.ndim - 1, name, lambda n: n)) for given, name in every)
    return xp.pad(x, widths, mode, constant_values=fills)


rules.op("pad").kernel("*", pad)
rules.linear(
    "pad", batch=pad_batch, x=pad_transpose, linear_part=lambda t, pad_width, mode, xp: xp.pad(t, pad_width, mode),
    node=lambda args, scalars: "ConstantPadNdBackward0" if args[2] == "constant" else "PadBackward0",
    samples=[
        case((), 2), case((3,), 1), case((3,), 0), case((3,), (2, 1), constant_values=(1.0, -2.0)), case((0,), (1, 2)),
        case((2, 3), ((1, 0), (0, 2))), case((2, 3), ((1,), (2,)), constant_values=0.5), case((0, 2), ((0, 0), (1, 1))),
        case((2, 3), 1, mode="edge"), case((3, 4), ((2, 1), (0, 3)), "edge"), case((0, 2), ((0, 0), (1, 1)), "edge"),
        case((4,), (3, 2), mode="reflect"), case((2, 3), ((3, 4), (5, 0)), "reflect"), case((1,), 2, mode="reflect"),
        case((3,), (4, 5), mode="symmetric"), case((2, 3), ((1, 2), (2, 1)), mode="symmetric"),
        case((3,), (4, 5), mode="wrap"), case((2, 1, 3), ((1, 2), (0, 1), (2, 0)), mode="wrap"),
    ],
)


# --------------------------------------------------------------------------------------------------------- scatter_add

rules.linear(
    "scatter_add", x=lambda g: g, values=lambda g, key, xp: xp.getitem(g, key), batch=batches.scatter_add,
    node="ScatterAddBackward0",
    samples=[
        case((), (), ()), case((3,), 0, ()), case((3, 4), 1, (4,)), case((3, 4), (..., 0), (1,)),
        case((3, 4), slice(1, 3), (2, 4)), case((3, 4), slice(1, 3), (4,)), case((5,), slice(None, None, 2), (3,)),
        case((3, 4), mask((3,)), (4,)), case((3, 4), mask((3, 4)), ()), case((0, 2), (..., 1), (0,)),
        case((3,), ints((5,), -3, 3), (5,)), case((3,), ints((5,), 0, 3), ()), case((3,), ints((0,), 0, 3), (0,)),
        case((3, 4), ints((2, 2), 0, 3), (2, 4)), case((2, 2), (ints((6,), 0, 2), ints((6,), -2, 2)), (6,)),
        case((3, 2), (slice(None), ints((3,), 0, 2)), (3, 1)), case((3, 2), (1, ints((3,), 0, 2)), (3,)),
    ],
)


# -------------------------------------------------------------------------------------------------------------- einsum


def einsum(subscripts, /, *operands, xp):
    """The sum of products that subscripts describe, as NumPy's and PyTorch's."""
    if not isinstance(subscripts, str):
        raise TypeError(f"einsum() takes its subscripts first, as one string, not {type(subscripts).__name__}")
    operands = alike(operands, xp)
    terms, result, _ = read(subscripts, tuple(tuple(x.shape) for x in operands))
    return contract(operands, terms, result, xp)


def einsum_transpose(g, subscripts, operands, operands_like, needs, xp):
    """For each operand the contraction of g with the conjugates of all others."""
    terms, result, sizes = read(subscripts, tuple(like.shape for like in operands_like))
    conjugates = [x.conjugate() if is_number(x) else xp.conj(x) for x in operands]
    gradients = [None] * len(terms)
    for k in (k for k, needed in enumerate(needs) if needed):
        others = [(term, x) for j, (term, x) in enumerate(zip(terms, conjugates, strict=True)) if j != k]
        gradients[k] = back_to_operand([(result, g), *others], terms[k], operands_like[k], sizes, xp)
    return tuple(gradients)


def back_to_operand(others, term, like, sizes, xp):
    """The contraction in the shape of an operand: with the axes that nobody else has, and on its diagonals."""
    steps, own = diagonals(term)
    lengths = dict(zip(term, like.shape, strict=True))
    seen = {label for other, _ in others for label in other}
    # an axis of length 1 that was broadcast is summed over, as one that the operand lacks
    reached = tuple(label for label in own if label in seen and (lengths[label] != 1 or sizes[label] == 1))
    back = xp.einsum(write([other for other, _ in others], reached), *(x for _, x in others))
    missing = tuple(a for a, label in enumerate(own) if label not in reached)
    back = xp.expand_dims(back, axis=missing) if missing else back
    shape = tuple(lengths[label] for label in own) if steps else like.shape
    back = back if tuple(back.shape) == tuple(shape) else xp.broadcast_to(back, shape)
    for step in reversed(steps):
        *rest, n = shape
        line = xp.zeros((*rest, n * n), dtype=back.dtype, device=like.device)
        line = xp.scatter_add(line, (..., slice(None, None, n + 1)), back)
        back = xp.permute_dims(xp.reshape(line, (*rest, n, n)), inverse(step))
        shape = tuple(back.shape)
    return back


def einsum_jvp(t, subscripts, operands, xp):
    """The sum of the contractions with one operand's tangent in its place."""
    moved = [(k, moving) for k, moving in enumerate(t) if moving is not None]
    return sum(xp.einsum(subscripts, *operands[:k], moving, *operands[k + 1 :]) for k, moving in moved)


rules.op("einsum").kernel("*", einsum)
rules.general(
    "einsum", vjp={"operands": einsum_transpose}, batch=batches.einsum, jvp=einsum_jvp,
    samples=[
        # one operand: order, sums, diagonals
        case("i", [(3,)]), case("ij->ji", [(2, 3)]), case("ijk->ki", [(2, 3, 4)]), case("ij->", [(2, 3)]),
        case("ba", [(2, 3)]), case("ii", [(3, 3)]), case("ii->i", [(3, 3)]), case("ijij->ji", [(2, 3, 2, 3)]),
        case("iiji->ij", [(2, 2, 3, 2)]), case("...ii->...", [(2, 3, 3)]), case("...->...", [()]), case("->", [()]),
        case("i...->...", [(2, 3, 4)]), case("...->", [(2, 3)]), case("ii->i", [(0, 0)]),
        # two
        case("i,i", [(3,), (3,)]), case("i,j", [(3,), (2,)]), case("i,j->j", [(3,), (2,)]), case(",i->i", [(), (3,)]),
        case("ij,ij->ij", [(2, 3), (2, 3)]), case("ij,jk", [(2, 3), (3, 4)]), case("ij,kj->ki", [(2, 3), (4, 3)]),
        case("bij,bjk->bik", [(2, 2, 3), (2, 3, 4)]), case("...ij,...jk", [(2, 1, 2, 3), (3, 3, 2)]),
        case("...,...i->i...", [(2, 1), (2, 3, 4)]), case("ii,ij->j", [(3, 3), (3, 2)]),
        case("ijk,jil->kl", [(2, 3, 4), (3, 2, 2)]), case("i,i", [(1,), (3,)]), case("ij,ij->i", [(2, 1), (1, 3)]),
        case("ij,jk", [(0, 3), (3, 2)]), case("ij,jk", [(2, 0), (0, 3)]),
        # three and more
        case("ij,jk,kl", [(2, 3), (3, 4), (4, 2)]), case("i,ij,j", [(2,), (2, 3), (3,)]),
        case("i,i,i->i", [(3,), (3,), (3,)]), case("bi,ijk,bk->bj", [(2, 3), (3, 2, 4), (2, 4)]),
        case("i,j,k,l->lkji", [(2,), (1,), (3,), (2,)]),
    ],
)


# -------------------------------------------------------------------------------------------------------------- interp


def prepared(x, points, values, xp):
    """All three as arrays of floating-point numbers, x and points of real ones."""
    points, values = floating(points, xp), floating(values, xp)
    x = xp.asarray(x, dtype=points.dtype, device=device_of(points)) if is_number(x) else floating(x, xp)
    for name, array in (("x", x), ("points", points)):
        if xp.isdtype(array.dtype, "complex floating"):
            raise TypeError(f"interp() takes real numbers for {name}, not {array.dtype}")
    return xp.reshape(x, (-1,)), points, values


def floating(x, xp):
    """Integers as floating-point numbers of the default dtype."""
    return x if xp.isdtype(x.dtype, ("real floating", "complex floating")) else xp.astype(x, xp.asarray(0.5).dtype)


def located(x, points, values, n, xp):
    """For each x the ends of its segment, how far along it is (0 to 1), the slope; and whether it lies outside.

    A point belongs to the segment on its right, the last one to that on its left. Of equal points the last counts.
    """
    left = xp.clip(xp.searchsorted(points, x, side="right") - 1, 0, max(n - 2, 0))
    right = left + 1 if n > 1 else left
    below, above = x < xp.getitem(points, 0), x > xp.getitem(points, n - 1)
    start, first = xp.take(points, left), xp.take(values, left)
    length, rise = xp.take(points, right) - start, xp.take(values, right) - first
    empty = length == 0
    length = xp.where(empty, 1.0, length)
    along = xp.where(below, 0.0, xp.where(above | empty, 1.0, (x - start) / length))
    slope = xp.where(below | above | empty, 0.0, rise / length)
    return left, right, along, slope, below, above


def interp(x, points, values, /, *, left=None, right=None, xp):
    """The piecewise linear function through points and values, flat or of a given value outside, as NumPy's."""
    shape = () if is_number(x) else x.shape
    x, points, values = prepared(x, points, values, xp)
    if points.ndim != 1 or points.shape[0] == 0 or values.shape != points.shape:
        raise ValueError(
            "interp() takes points and values with one axis and of the same length, which is at least 1; "
            f"they have the shapes {tuple(points.shape)} and {tuple(values.shape)}"
        )
    start, end, along, _, below, above = located(x, points, values, points.shape[0], xp)
    out = xp.take(values, start) * (1.0 - along) + xp.take(values, end) * along
    out = out if left is None else xp.where(below, left, out)
    out = out if right is None else xp.where(above, right, out)
    return xp.reshape(out, shape)


def interp_vjp(g, x, points, values, left, right, x_like, points_like, needs, xp):
    x, points, values = prepared(x, points, values, xp)
    (n,), g = points_like.shape, xp.reshape(g, (-1,))
    start, end, along, slope, below, above = located(x, points, values, n, xp)

    def scattered(at_start, at_end):
        zeros = xp.zeros((n,), dtype=g.dtype, device=points_like.device)
        return xp.scatter_add(xp.scatter_add(zeros, start, at_start), end, at_end)

    through_x = g * xp.conj(slope)
    inside = g if left is None else xp.where(below, 0.0, g)
    inside = inside if right is None else xp.where(above, 0.0, inside)
    return (
        xp.reshape(through_x, x_like.shape) if needs[0] else None,
        scattered(through_x * (along - 1.0), -through_x * along) if needs[1] else None,
        scattered(inside * (1.0 - along), inside * along) if needs[2] else None,
    )


def interp_jvp(t, x, points, values, left, right, x_like, points_like, xp):
    t_x, t_points, t_values = t
    x, points, values = prepared(x, points, values, xp)
    start, end, along, slope, below, above = located(x, points, values, points_like.shape[0], xp)
    shift = 0.0 if t_x is None else xp.reshape(t_x, (-1,))
    if t_points is not None:
        shift = shift + (along - 1.0) * xp.take(t_points, start) - along * xp.take(t_points, end)
    moved = slope * shift
    if t_values is not None:
        raised = (1.0 - along) * xp.take(t_values, start) + along * xp.take(t_values, end)
        raised = raised if left is None else xp.where(below, 0.0, raised)
        moved = moved + (raised if right is None else xp.where(above, 0.0, raised))
    return xp.reshape(moved, x_like.shape)


class EachRow:
    """What `located` calls, for points and values that differ from row to row."""

    def __init__(self, xp):
        self.xp = xp

    def __getattr__(self, name):
        return getattr(self.xp, name)

    def searchsorted(self, points, x, side):
        return batches.searchsorted(points, x, side, None, ("x1", "x2"), points.shape[0], self.xp)

    def take(self, x, places):
        return self.xp.take_along_axis(x, places, axis=1)

    def getitem(self, x, place):
        return self.xp.getitem(x, (slice(None), slice(place, place + 1)))


def interp_batch(x, points, values, left, right, batched, size, xp):
    if "points" not in batched and "values" not in batched:
        return xp.interp(x, points, values, left=left, right=right)
    shape = () if is_number(x) else x.shape["x" in batched :]
    points = floating(points if "points" in batched else spread(points, size, xp), xp)
    values = floating(values if "values" in batched else spread(values, size, xp), xp)
    x = xp.asarray(x, dtype=points.dtype) if is_number(x) else floating(x, xp)
    x = batches.in_a_row(x if "x" in batched else spread(x, size, xp))
    n, rows = points.shape[1], EachRow(xp)
    if points.ndim != 2 or n == 0 or values.shape != points.shape:
        raise ValueError("interp() takes points and values with one axis and of the same length, which is at least 1")
    start, end, along, _, below, above = located(x, points, values, n, rows)
    out = rows.take(values, start) * (1.0 - along) + rows.take(values, end) * along
    out = out if left is None else xp.where(below, left, out)
    out = out if right is None else xp.where(above, right, out)
    return out if len(shape) == 1 else xp.reshape(out, (size, *shape))


KNOTS, HEIGHTS = values([-1.5, -0.5, 0.25, 1.5]), values([0.5, -1.0, 2.0, 0.0])

rules.op("interp").kernel("*", interp)
rules.general(
    "interp", vjp=interp_vjp, batch=interp_batch, jvp=interp_jvp, complex=False, scalars=True,
    note="0 outside; at a point the slope to its right, at the last one that to its left. Complex values have tests",
    samples=[
        case((6,), KNOTS, HEIGHTS), case((6,), KNOTS, HEIGHTS, left=3.0), case((6,), KNOTS, (4,), left=-1.0, right=1.0),
        case((2, 3), KNOTS, (4,)), case((), KNOTS, (4,)), case((0,), KNOTS, (4,)), case(0.3, KNOTS, (4,)),
        case((4,), values([0.1]), (1,)), case((4,), values([0.1]), (1,), left=1.0, right=2.0),
        case((5,), values([-0.9, 0.9]), (2,)), case((6,), values([-1.0, 0.1, 0.1, 1.0, 1.0]), (5,)),
    ],
    special=[
        point(([-1.0, 0.0, 1.0, 2.0, 3.0], [0.0, 1.0, 2.0], [0.0, 1.0, 3.0]), ([0.0, 1.0, 2.0, 2.0, 0.0], None, None)),
        point(([0.0, 1.0], [0.0, 0.0, 1.0, 1.0], [5.0, 1.0, 3.0, 7.0]), ([2.0, 0.0], None, [0.0, 1.0, 0.0, 1.0])),
        point(([inf, -inf], [0.0, 1.0], [2.0, 3.0]), ([0.0, 0.0], [0.0, 0.0], [1.0, 1.0])),
    ],
)
