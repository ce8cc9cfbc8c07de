"""The lists of failures that the standard's own suite is expected to show: their form, which the suite does not ask."""

import importlib.util
import re

import pytest
from source_tree import SOURCE, needs_source

pytestmark = needs_source

LISTS = sorted((SOURCE / "tests" / "conformance").glob("xfails-*.txt"))


def groups(path):
    """The blocks of a list: comment lines, then ids."""
    return [block.splitlines() for block in path.read_text().split("\n\n")]


@pytest.mark.parametrize("path", LISTS, ids=lambda path: path.stem)
def test_every_expected_failure_has_its_reason_and_stands_once(path):
    head, *blocks = groups(path)
    assert all(line.startswith("# ") for line in head)
    found = []
    for block in blocks:
        reason = [line for line in block if line.startswith("# ")]
        assert reason, f"no reason for {block[0]}"
        assert block[: len(reason)] == reason
        found += block[len(reason) :]
    assert found
    assert len(set(found)) == len(found)
    assert [line for line in found if not re.match(r"array_api_tests/test_\w+\.py::\w+", line)] == []


def test_the_program_that_runs_the_suite_knows_the_lists():
    specification = importlib.util.spec_from_file_location("conformance", SOURCE / "tools" / "conformance.py")
    program = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(program)
    assert program.BACKENDS == ["array_api_strict", "jax", "numpy", "torch"]
    assert {f"xfails-{name}.txt" for name in program.BACKENDS} == {path.name for path in LISTS}
    environment = program.environment("jax")
    assert environment["AGRAD_BACKEND"] == "jax"
    assert environment["ARRAY_API_TESTS_VERSION"] == program.VERSION
