"""Rules of the chapter "set": none of its functions has a derivative.
Must not know any array library."""

from agrad.rules import RuleSet, case, ints

rules = RuleSet("set")

rules.not_differentiable("isin", samples=[case(ints((2, 3), 0, 4), ints((2,), 0, 4)), case((3,), (2,), invert=True)])
rules.not_differentiable(
    "unique_all", "unique_counts", "unique_inverse", "unique_values",
    note="equality of elements decides the shape, so even the values have no derivative; as in PyTorch",
)
