"""Rules of the chapter "sorting". Sorting moves elements, so a cotangent moves back by the inverse permutation.
Must not know any array library."""

from agrad.rules import RuleSet, case, distinct

rules = RuleSet("sorting")


def sort_vjp(g, x, axis, descending, xp):
    """Find the order again, stable: how the forward call ordered equal elements cannot be seen in its values."""
    order = xp.argsort(x, axis=axis, descending=descending)
    return xp.take_along_axis(g, xp.argsort(order, axis=axis), axis=axis)


def sort_jvp(t, x, axis, descending, xp):
    return xp.take_along_axis(t, xp.argsort(x, axis=axis, descending=descending), axis=axis)


ORDERS = [
    case(distinct((4,))), case(distinct((4,)), descending=True), case(distinct((2, 3)), axis=0),
    case(distinct((2, 3, 2)), axis=-2, descending=True, stable=False), case((1,)), case((0,)), case((2, 0)),
]

rules.general("sort", vjp={"x": sort_vjp}, jvp=sort_jvp, complex=False, samples=ORDERS)
rules.not_differentiable("argsort", complex=False, samples=ORDERS)
