"""Every statement of the contract has a test that is named after it, or a row that says why it does not apply."""

import ast
import re
from pathlib import Path

import pytest
from source_tree import SOURCE

STATEMENTS = range(1, 187)
TITLE = "## Statements that do not apply"
DIFFERENCES = SOURCE / "docs" / "differences.md"

needs_docs = pytest.mark.skipif(
    not DIFFERENCES.is_file(), reason=f"no docs/ in {SOURCE}; set AGRAD_SOURCE to the source tree"
)


def numbers_of_tests():
    """The statements that tests are named after."""
    found = set()
    for path in sorted(Path(__file__).parent.glob("test_*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            number = isinstance(node, ast.FunctionDef) and re.match(r"test_s(\d{3})_", node.name)
            if number:
                found.add(int(number[1]))
    return found


def rows():
    """(number, what PyTorch does, why agrad does not) of every row of the table."""
    section = DIFFERENCES.read_text().partition(TITLE + "\n")[2].partition("\n## ")[0]
    for line in section.splitlines():
        if re.match(r"\| \d", line):
            number, theirs, reason = (cell.strip() for cell in line.strip("| ").split(" | "))
            yield int(number), theirs, reason


@needs_docs
def test_a_statement_is_tested_or_its_absence_explained():
    assert sorted(set(STATEMENTS) - numbers_of_tests() - {number for number, _, _ in rows()}) == []


@needs_docs
def test_the_table_speaks_of_statements_and_gives_reasons():
    found = list(rows())
    assert [number for number, _, _ in found] == sorted({number for number, _, _ in found})
    assert all(number in STATEMENTS and theirs and reason for number, theirs, reason in found)


def test_no_test_is_named_after_a_statement_that_is_not_there():
    assert numbers_of_tests() <= set(STATEMENTS)
