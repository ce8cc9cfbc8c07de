"""Rules of the chapter "searching". A place has no derivative; a choice by `where` has.
Must not know any array library."""

from agrad.plugins import batches
from agrad.plugins.axes import along
from agrad.rules import RuleSet, case, distinct, mask, scatter, values

rules = RuleSet("searching")


rules.linear(
    "where", batch="elementwise",
    x1=lambda g, condition, xp: xp.where(condition, g, 0.0),
    x2=lambda g, condition, xp: xp.where(condition, 0.0, g),
    linear_part=lambda t, condition, xp: xp.where(condition, *(0.0 if part is None else part for part in t)),
    samples=[
        case(mask((3,)), (3,), (3,)), case(mask((2, 1)), (1, 3), ()), case(mask(()), (2,), (2,)),
        case(mask(()), (), ()), case(mask((0,)), (0,), (1,)), case(mask((3,)), (3,), 0.5), case(mask((3,)), 2.0, (3,)),
    ],
)


def extremum_transpose(g, out1, axis, keepdims, x_like, xp):
    """The whole gradient goes to the chosen element."""
    if g[0] is None:
        return None
    if x_like.ndim == 0:
        return g[0]
    values, indices = (g[0], out1) if keepdims else (xp.expand_dims(part, axis=axis) for part in (g[0], out1))
    return scatter(x_like, along(indices, axis, x_like, xp), values)


def extremum_jvp(t, out1, axis, keepdims, x_like, xp):
    if x_like.ndim == 0:
        return t, None
    indices = out1 if keepdims else xp.expand_dims(out1, axis=axis)
    chosen = xp.take_along_axis(t, indices, axis=axis)
    return chosen if keepdims else xp.squeeze(chosen, axis=axis), None


rules.general(
    "extremum", vjp={"x": extremum_transpose}, jvp=extremum_jvp,
    node=lambda args, scalars: "MaxBackward0" if args[3] else "MinBackward0",
    samples=[
        case(distinct((3,)), 0), case(distinct((2, 3)), -1), case(distinct((2, 3)), 0, keepdims=True), case((), 0),
        case(distinct((2, 3, 2)), 1, largest=False),
    ],
    complex=False, note="PyTorch's max(dim=): of several equal elements only the chosen one gets the gradient",
)

FOUND = [
    case(distinct((3,))), case(distinct((2, 3)), axis=0), case(distinct((2, 3)), axis=-1, keepdims=True),
    case((0, 2), axis=1),
]

rules.not_differentiable("argmax", complex=False, samples=FOUND, batch=batches.argument(largest=True))
rules.not_differentiable("argmin", complex=False, samples=FOUND, batch=batches.argument(largest=False))
rules.not_differentiable("count_nonzero", samples=[case(()), *FOUND, case(values([0.0, 2.0]))])
rules.not_differentiable(
    "nonzero", samples=[case((3,)), case((2, 3)), case((2, 0)), case(values([0.0, 2.0, 0.0]))],
    batch=batches.by_data("nonzero", batches.COUNT),
)
rules.not_differentiable(
    "searchsorted", complex=False, batch=batches.searchsorted,
    samples=[
        case(values([-1.0, 0.0, 1.0]), (4,)), case(values([-1.0, 0.0, 1.0]), values([0.0, 1.0]), side="right"),
        case(values([1.0, -1.0, 0.0]), (4,), sorter=values([1, 2, 0])),
    ],
)
