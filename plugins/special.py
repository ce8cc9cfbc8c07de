"""The rule set "special"."""

from agrad.rules import RuleSet

rules = RuleSet("special")
