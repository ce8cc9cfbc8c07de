"""Rules of the chapter "beyond"."""

from agrad.rules import RuleSet

rules = RuleSet("beyond")
