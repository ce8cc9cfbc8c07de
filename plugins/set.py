"""Rules of the chapter "set": which values there are. Must not know any array library."""

from typing import Any

from agrad.plugins import batches
from agrad.rules import RuleSet, case, distinct, ints, point

rules = RuleSet("set")


def to_first(g, indices, x_like, xp):
    """Each value is an element of x: the first one that has it."""
    if g is None:
        return None
    flat = xp.scatter_add(xp.zeros((x_like.size,), dtype=x_like.dtype, device=x_like.device), indices, g)
    return xp.reshape(flat, x_like.shape)


def first(x, xp):
    """Where each value stands first."""
    return xp.unique_all(x)[1]


def at_first(t, indices, xp):
    """The tangents of the elements that the values are."""
    return xp.take(xp.reshape(t, (-1,)), indices, axis=0)


SAMPLES = [case(distinct((4,))), case(distinct((2, 3))), case(distinct((0,)))]
EQUAL = point(([2.0, 1.0, 2.0],), ([1.0, 1.0, 0.0],))
FIRST: dict[str, Any] = {
    "samples": SAMPLES, "complex": False,
    "note": "equal elements: the first one gets the gradient; where elements are about to become equal there is none",
}

rules.not_differentiable(
    "isin", samples=[case(ints((2, 3), 0, 4), ints((2,), 0, 4)), case((3,), (2,), invert=True)], batch=batches.isin,
)
rules.general(
    "unique_all", vjp={"x": lambda g, out1, x_like, xp: to_first(g[0], out1, x_like, xp)},
    jvp=lambda t, out1, xp: (at_first(t, out1, xp), None, None, None),
    batch=batches.by_data("unique_all", batches.VALUES), **FIRST,
)
for name in ("unique_counts", "unique_inverse"):
    rules.general(
        name, vjp={"x": lambda g, x, x_like, xp: to_first(g[0], first(x, xp), x_like, xp)},
        jvp=lambda t, x, xp: (at_first(t, first(x, xp), xp), None),
        batch=batches.by_data(name, batches.VALUES), **FIRST,
    )
rules.general(
    "unique_values", vjp={"x": lambda g, x, x_like, xp: to_first(g, first(x, xp), x_like, xp)},
    jvp=lambda t, x, xp: at_first(t, first(x, xp), xp), special=[EQUAL],
    batch=batches.by_data("unique_values", batches.VALUES), **FIRST,
)
