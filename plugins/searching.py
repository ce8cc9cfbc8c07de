"""Rules of the chapter "searching". A place has no derivative; a choice by `where` has.
Must not know any array library."""

from agrad.rules import RuleSet, case, mask

rules = RuleSet("searching")


rules.linear(
    "where",
    x1=lambda g, condition, xp: xp.where(condition, g, 0.0),
    x2=lambda g, condition, xp: xp.where(condition, 0.0, g),
    samples=[
        case(mask((3,)), (3,), (3,)), case(mask((2, 1)), (1, 3), ()), case(mask(()), (2,), (2,)),
        case(mask(()), (), ()), case(mask((0,)), (0,), (1,)), case(mask((3,)), (3,), 0.5), case(mask((3,)), 2.0, (3,)),
    ],
)
rules.not_differentiable("argmax", "argmin", "count_nonzero", "nonzero", "searchsorted")
