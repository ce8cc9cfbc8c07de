"""Rules of the chapter "creation". Most of its functions make constants; tril, triu and meshgrid carry gradients.
Must not know any array library."""

from agrad.plugins import batches
from agrad.rules import RuleSet, case

rules = RuleSet("creation")


# ------------------------------------------------------------------------------------------------------- constants

rules.not_differentiable("arange", "asarray", "empty", "eye", "from_dlpack", "full", "linspace", "ones", "zeros")
rules.not_differentiable("empty_like", "ones_like", "zeros_like", batch="elementwise")
rules.not_differentiable(
    "full_like", samples=[case((), 0.5), case((2, 3), 2), case((0,), 1.0)], batch="elementwise",
)


# ------------------------------------------------------------------------------------------------------- triangles

TRIANGLES = [case((3, 3)), case((2, 3), k=1), case((3, 2), k=-1), case((2, 3, 4), k=2), case((0, 2)), case((2, 0, 3))]

rules.linear("tril", x=lambda g, k, xp: xp.tril(g, k=k), node="TrilBackward0", samples=TRIANGLES)
rules.linear("triu", x=lambda g, k, xp: xp.triu(g, k=k), node="TriuBackward0", samples=TRIANGLES)


# ----------------------------------------------------------------------------------------------------------- grids


def grid_sums(g, indexing, xp):
    """Each array runs along one axis of every grid: add up the others. "xy" swaps the first two."""
    rank = len(g)
    own = [1, 0, *range(2, rank)] if indexing == "xy" and rank > 1 else range(rank)
    others = (tuple(a for a in range(rank) if a != axis) for axis in own)
    return tuple(None if grid is None else xp.sum(grid, axis=axes) for grid, axes in zip(g, others, strict=True))


rules.linear(
    "meshgrid", arrays=grid_sums, batch=batches.meshgrid,
    node="ExpandBackward0", view=True,
    samples=[
        case([(3,)]), case([(2,), (3,)]), case([(2,), (3,), (4,)]), case([(0,), (2,)]),
        case([(2,), (3,)], indexing="ij"), case([(2,), (1,), (3,)], indexing="ij"),
    ],
)
