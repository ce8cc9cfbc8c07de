"""Rules of the chapter "linalg"."""

from agrad.rules import RuleSet

rules = RuleSet("linalg")
