"""Rules of the chapter "utility".
Must not know any array library."""

from agrad.plugins import batches
from agrad.plugins.axes import normalise
from agrad.rules import RuleSet, case

rules = RuleSet("utility")


# -------------------------------------------------------------------------------------------------------- differences


def length(like, axis):
    """How many elements does this array add to x? A 0-d array adds one."""
    return 0 if like is None else like.shape[axis] if like.ndim else 1


def joined(g, axis, n, x_like, prepend_like, append_like, xp):
    """The cotangent of prepend, x and append joined: n differences of g between zeros, times (-1)**n; and its keys."""
    (axis,) = normalise(axis, x_like.ndim)
    start = length(prepend_like, axis)
    stop = start + x_like.shape[axis]
    n = min(n, stop + length(append_like, axis))
    zeros = xp.zeros((*x_like.shape[:axis], n, *x_like.shape[axis + 1 :]), dtype=g.dtype, device=x_like.device)
    whole = (-1) ** n * xp.diff(xp.concat([zeros, g, zeros], axis=axis), axis=axis, n=n)
    cuts = slice(start), slice(start, stop), slice(stop, None)
    return whole, [(slice(None),) * axis + (cut, ...) for cut in cuts]


def diff_x(g, axis, n, x_like, prepend_like, append_like, xp):
    if n == 0:
        return g
    whole, (_, own, _) = joined(g, axis, n, x_like, prepend_like, append_like, xp)
    return whole[own]


def diff_prepend(g, axis, n, x_like, prepend_like, append_like, xp):
    if n == 0:
        return prepend_like.zeros()
    whole, (own, _, _) = joined(g, axis, n, x_like, prepend_like, append_like, xp)
    return whole[own]


def diff_append(g, axis, n, x_like, prepend_like, append_like, xp):
    if n == 0:
        return append_like.zeros()
    whole, (_, _, own) = joined(g, axis, n, x_like, prepend_like, append_like, xp)
    return whole[own]


rules.linear(
    "diff", x=diff_x, prepend=diff_prepend, append=diff_append, batch=batches.diff,
    node="SubBackward0", view="itself", note="no difference at all, n = 0, leaves prepend and append out",
    samples=[
        case((4,)), case((3, 2), axis=0), case((2, 4), n=2), case((2, 3), n=3), case((2, 2), n=5), case((3,), n=0),
        case((0,)), case((2, 0), axis=-1), case((2, 3), axis=-1, prepend=(2, 1)), case((3,), n=0, prepend=(1,)),
        case((2, 3), axis=0, n=2, append=(1, 3)), case((0, 2), axis=0, prepend=(2, 2), append=(0, 2)),
        case((3,), n=4, prepend=(1,), append=(2,)),
    ],
)


# ------------------------------------------------------------------------------------------------------ no derivative

rules.not_differentiable("all", "any")
