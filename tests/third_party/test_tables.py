"""Third-party functions on Tensors: never a wrong or a silently missing gradient, and nothing that got worse."""

import importlib.util
from functools import cache

import pytest
from source_tree import SOURCE, needs_source

from third_party import harness, report
from third_party.better import BETTER

RECORDED = report.recorded()
ROWS = [(table, name) for table in harness.TABLES for name in RECORDED[table]["outcomes"]]


@cache
def outcomes(table):
    """A table's outcomes, run once."""
    missing = [name for name in harness.TABLES[table] if importlib.util.find_spec(name) is None]
    if missing:
        return None, f"not installed: {', '.join(missing)} (pip install 'agrad[third_party]')"
    return harness.run_in_process(table), ""


def of(table):
    found, reason = outcomes(table)
    if found is None:
        pytest.skip(reason)
    return found


def rank(kind):
    return harness.ORDER.index(harness.RAISES if kind.startswith(harness.RAISES) else kind)


@pytest.mark.slow
@pytest.mark.parametrize(("table", "name"), ROWS, ids=[f"{table}-{name}" for table, name in ROWS])
def test_a_gradient_is_right_or_there_is_an_exception(table, name, request):
    found, recorded = of(table), RECORDED[table]
    if name not in found["outcomes"]:
        pytest.fail(f"{name} is recorded, but the table has it no more: python tools/third_party.py --record")
    same_libraries = found["versions"] == recorded["versions"]
    for column in harness.COLUMNS:
        now, before = found["outcomes"][name][column], recorded["outcomes"][name][column]
        text = f"{column}: {now['kind']}, recorded: {before['kind']}. {now['detail']}"
        assert now["kind"] not in (harness.DETACHED, harness.WRONG), text
        assert now["kind"] != harness.NAN or before["kind"] == harness.NAN or not same_libraries, text
        if rank(now["kind"]) > rank(before["kind"]):
            if not same_libraries:
                pytest.skip(f"{text} ({found['versions']}, recorded with {recorded['versions']})")
            pytest.fail(text)
        if rank(now["kind"]) < rank(before["kind"]):
            request.config.stash.setdefault(BETTER, []).append(f"{name}, {text}")


@pytest.mark.slow
@pytest.mark.parametrize("table", harness.TABLES)
def test_every_function_of_a_table_is_recorded(table):
    unrecorded = of(table)["outcomes"].keys() - RECORDED[table]["outcomes"].keys()
    assert not unrecorded, "python tools/third_party.py --record"


@needs_source
def test_the_page_says_what_is_recorded():
    text = (SOURCE / "docs" / "third_party.md").read_text()
    assert text == report.page(RECORDED), "python tools/third_party.py --record"


def test_the_marks_are_beaten():
    """Under "copy", of the functions that were measured for torch's tensors, JAX and a thin generic wrapper."""
    for table, count, mark in (("scipy", 123, 80), ("sklearn", 62, 31)):
        rows = [row for name, row in RECORDED[table]["outcomes"].items() if name not in RECORDED[table]["more"]]
        assert len(rows) == count
        assert sum(row["copy"]["kind"] in (harness.RIGHT, harness.FLAT) for row in rows) >= mark
