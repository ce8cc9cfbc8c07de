"""For tests: comparing tensors, and the one generic checker of differentiation rules, agrad's own and anybody's.

`close` compares; `draw` makes the arrays that a rule's samples stand for, `differences` is the numerical truth, and
`check` puts a rule through all `checks`. Must know no single backend and no single rule.
"""

from agrad.testing.check import Report, check_plugin, check_rule
from agrad.testing.close import assert_close

__all__ = ["Report", "assert_close", "check_plugin", "check_rule"]
