"""Rules of the chapter "set": none of its functions has a derivative.
Must not know any array library."""

from agrad.rules import RuleSet

rules = RuleSet("set")

rules.not_differentiable("isin")
rules.not_differentiable(
    "unique_all", "unique_counts", "unique_inverse", "unique_values",
    note="equality of elements decides the shape, so even the values have no derivative; as in PyTorch",
)
