"""agrad.plugins: the rule sets that ship with agrad, one file per chapter of the standard."""
