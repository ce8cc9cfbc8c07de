"""Rules of the chapter "manipulation": ops that move, repeat and join elements. All are linear, and a transpose moves
each element's cotangent back to where the element came from, adding up where it was copied.
Must not know any array library."""

from itertools import accumulate
from math import prod

from agrad.plugins import batches
from agrad.plugins.axes import inverse, normalise
from agrad.rules import RuleSet, case, ints, scatter

rules = RuleSet("manipulation")


# ------------------------------------------------------------------------------------------ one element, one place

rules.linear(
    "copy", x=lambda g: g, batch="elementwise",
    node="CloneBackward0", samples=[case(()), case((2, 3)), case((0, 2))],
)
rules.linear(
    "reshape", x=lambda g, x_like, xp: xp.reshape(g, x_like.shape),
    node="ViewBackward0", view=True,
    samples=[
        case((2, 3), shape=(3, 2)), case((2, 3), shape=(-1,)), case((6,), shape=(1, 2, -1), copy=True),
        case((), shape=(1, 1)), case((1,), shape=()), case((0, 3), shape=(3, 0, 2)),
    ],
)
rules.linear(
    "expand_dims", x=lambda g, axis, xp: xp.squeeze(g, axis=axis),
    node="UnsqueezeBackward0", view=True,
    samples=[
        case((), axis=0), case((2, 3), axis=-1), case((2, 3), axis=(0, -2)), case((2,), axis=()), case((0,), axis=1),
    ],
)
rules.linear(
    "squeeze", x=lambda g, axis, xp: xp.expand_dims(g, axis=axis),
    node=lambda args, scalars: "SqueezeBackward1" if isinstance(args[1], int) else "SqueezeBackward2", view=True,
    samples=[case((1,), axis=0), case((2, 1, 3, 1), axis=(-1, 1)), case((3, 1), axis=-1), case((0, 1), axis=(1,))],
)
rules.linear(
    "permute_dims", x=lambda g, axes, xp: xp.permute_dims(g, inverse(axes)),
    node="PermuteBackward0", view=True,
    samples=[
        case((), axes=()), case((2, 3), axes=(1, 0)), case((2, 3, 4), axes=(-1, 0, -2)), case((0, 2), axes=(1, 0)),
    ],
)
rules.linear(
    "moveaxis", x=lambda g, source, destination, xp: xp.moveaxis(g, destination, source),
    node="PermuteBackward0", view=True,
    samples=[case((2, 3, 4), 0, -1), case((2, 3, 4), (0, -1), (1, 0)), case((0, 2), 1, 0)],
)
rules.linear(
    "flip", x=lambda g, axis, xp: xp.flip(g, axis=axis),
    node="FlipBackward0", view=True,
    samples=[case(()), case((2, 3)), case((2, 3), axis=-1), case((2, 3, 2), axis=(0, -1)), case((0, 2), axis=0)],
)


def unroll(g, shift, axis, xp):
    back = -shift if isinstance(shift, int) else tuple(-s for s in shift)
    return xp.roll(g, back, axis=axis)


rules.linear(
    "roll", x=unroll, batch=batches.roll,
    node="RollBackward0",
    samples=[
        case((), 1), case((2, 3), 4), case((2, 3), -1, axis=-1), case((2, 3), (1, 2), axis=(0, 1)),
        case((2, 3), (1, 1), axis=(-1, -1)), case((0, 2), 1, axis=0),
    ],
)


# ------------------------------------------------------------------------------------- one element, several places
# Where the copies are a broadcast, the engine itself adds them up.

rules.linear(
    "broadcast_to", x=lambda g: g,
    node="ExpandBackward0", view=True,
    samples=[
        case((), shape=(2, 3)), case((3,), shape=(2, 3)), case((2, 1), shape=(2, 3)), case((2, 3), shape=(2, 3)),
        case((1, 1), shape=(4, 1, 3)), case((1,), shape=(0,)), case((0, 1), shape=(0, 2)),
    ],
)
rules.linear(
    "broadcast_arrays", arrays=lambda g: g, batch=batches.broadcast_arrays,
    node="ExpandBackward0", view=True,
    samples=[case([(2, 3)]), case([(3,), (2, 1)]), case([(), (2, 3), (1, 3)]), case([(0,), (1,)])],
)


def untile(g, repetitions, x_like, xp):
    """Cut every axis of g into (repetition, element) and add up the repetitions."""
    rank = max(len(repetitions), x_like.ndim)
    counts = (1,) * (rank - len(repetitions)) + tuple(repetitions)
    sizes = (1,) * (rank - x_like.ndim) + x_like.shape
    cut = xp.reshape(g, tuple(n for pair in zip(counts, sizes, strict=True) for n in pair))
    return xp.reshape(xp.sum(cut, axis=tuple(range(0, 2 * rank, 2))), x_like.shape)


rules.linear(
    "tile", x=untile, batch=batches.tile,
    node="RepeatBackward0",
    samples=[
        case((), (2,)), case((2, 3), (2, 1)), case((3,), (2, 2)), case((2, 3), (3,)), case((2, 3), ()),
        case((2,), (0,)), case((0, 2), (2, 2)),
    ],
)


def unrepeat(g, repeats, axis, x_like, xp):
    """Add up the copies of each element: side by side in g if all have equally many, else by their source's place."""
    last = x_like.ndim - 1 if axis is None else normalise(axis, x_like.ndim)[0]
    if isinstance(repeats, int):
        before, after = x_like.shape[: last + 1], x_like.shape[last + 1 :]
        return xp.sum(xp.reshape(g, (*before, repeats, *after)), axis=last + 1)
    if x_like.ndim == 0:
        return xp.sum(g)
    count = x_like.size if axis is None else x_like.shape[last]
    source = xp.repeat(xp.arange(count, device=x_like.device), repeats)
    if axis is None:
        return scatter(x_like, unravel(source, x_like.shape), g)
    return scatter(x_like, (slice(None),) * last + (source,), g)


def unravel(position, shape):
    """The key of flat positions: an integer array for each axis."""
    strides = (prod(shape[a + 1 :]) for a in range(len(shape)))
    # Without elements there are no positions, but some libraries refuse a division by 0 all the same.
    return tuple(position // max(stride, 1) % max(n, 1) for stride, n in zip(strides, shape, strict=True))


rules.linear(
    "repeat", x=unrepeat, batch=batches.repeat,
    node=lambda args, scalars: "ViewBackward0" if isinstance(args[1], int) else "IndexSelectBackward0",
    samples=[
        case((), 3), case((2, 3), 2), case((2, 3), 2, axis=0), case((2, 3), 3, axis=-1), case((2, 3), 0, axis=1),
        case((0, 2), 2, axis=1),
        case((3,), ints((3,), 0, 3)), case((2, 3, 2), ints((12,), 0, 3)), case((2, 3, 2), ints((3,), 0, 3), axis=-2),
        case((2, 3), ints((1,), 2, 3), axis=1), case((), ints((1,), 2, 3)), case((0, 2), ints((0,), 0, 3)),
    ],
)


# ---------------------------------------------------------------------------------------------- joining and parting


def split(g, arrays_like, axis, xp):
    """Cut g where the arrays meet; without an axis they were flattened first."""
    lead = () if axis is None else (slice(None),) * normalise(axis, arrays_like[0].ndim)[0]
    sizes = [like.size if axis is None else like.shape[len(lead)] for like in arrays_like]
    ends = accumulate(sizes)
    pieces = [xp.getitem(g, (*lead, slice(end - n, end), ...)) for n, end in zip(sizes, ends, strict=True)]
    if axis is not None:
        return tuple(pieces)
    return tuple(xp.reshape(piece, like.shape) for piece, like in zip(pieces, arrays_like, strict=True))


def restack(g, axis, xp):
    """Stack the cotangents again, zeros where nobody sent one."""
    zero = xp.zeros_like(next(piece for piece in g if piece is not None))
    return xp.stack([zero if piece is None else piece for piece in g], axis=axis)


rules.linear(
    "concat", arrays=split, batch=batches.concat,
    node="CatBackward0",
    samples=[
        case([(3,)]), case([(2, 3), (1, 3)]), case([(2, 1), (2, 0), (2, 3)], axis=-1), case([(0, 2), (0, 2)]),
        case([(1, 2, 2), (1, 1, 2)], axis=1), case([(), (2, 2), (3,)], axis=None), case([(0,), ()], axis=None),
    ],
)
rules.linear(
    "stack", arrays=lambda g, axis, xp: xp.unstack(g, axis=axis), batch=batches.stack,
    node="StackBackward0",
    samples=[case([(), ()]), case([(2, 3)]), case([(2, 3), (2, 3), (2, 3)], axis=-1), case([(0,), (0,)], axis=1)],
)
rules.linear(
    "unstack", x=restack,
    node="UnbindBackward0", view=True,
    samples=[case((1,)), case((2, 3)), case((2, 3, 2), axis=-2), case((2, 0)), case((0, 2), axis=1)],
)

# Between backends the engine's transfer function records by itself (agrad.transfer); the op only has to exist.
rules.not_differentiable("transfer", samples=(), batch="elementwise")
