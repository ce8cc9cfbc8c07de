"""Rules of the chapter "fft"."""

from agrad.rules import RuleSet

rules = RuleSet("fft")
