"""The plugin's own suite: agrad's checker does the work."""

from agrad.testing import check_plugin


def test_every_rule_on_every_backend():
    check_plugin("physics")
