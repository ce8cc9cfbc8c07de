"""For tests: comparing tensors, and the one generic checker of differentiation rules, for agrad's plugins and anybody's.

`close` compares, `draw` makes the arrays that a rule's samples stand for, `differences` is the numerical truth, `check` puts
a rule through everything. Must know no single backend and no single rule.
"""

from agrad.testing.check import Report, check_plugin, check_rule
from agrad.testing.close import assert_close

__all__ = ["Report", "assert_close", "check_plugin", "check_rule"]
