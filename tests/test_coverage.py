"""What agrad differentiates never gets less: the numbers of `python -m agrad coverage` against those recorded.

    python tests/test_coverage.py

records the present ones.
"""

import json
import warnings
from pathlib import Path

import pytest

from agrad import backends
from agrad.__main__ import main
from agrad.coverage import NAMESPACES, STATES, coverage, table

RECORD = Path(__file__).with_name("coverage.json")
LIBRARIES = {"numpy": "numpy", "scipy.special": "scipy", "torch": "torch"}


def installed():
    return [info.name for info in backends.available() if info.installed]


def answered(totals):
    """How many functions have a rule, and how many a rule or a reason for none."""
    return {"rule": totals["rule"], "answered": totals["rule"] + totals["not differentiable"]}


@pytest.mark.parametrize("namespace", NAMESPACES)
def test_coverage_does_not_fall(namespace):
    if namespace in LIBRARIES:
        pytest.importorskip(LIBRARIES[namespace])
    recorded = json.loads(RECORD.read_text())[namespace]
    found = coverage(namespace)["totals"]
    for backend, totals in found.items():
        now, then = answered(totals), recorded[backend]
        assert now["rule"] >= then["rule"], f"{backend}: fewer functions with a rule"
        assert now["answered"] >= then["answered"], f"{backend}: fewer functions with a rule or a reason"


def test_nothing_of_the_standard_is_missing_on_numpy():
    functions = coverage("array_api", "numpy")["functions"]
    assert len(functions) == 136 + 25 + 14
    assert {row["numpy"] for row in functions.values()} == {"rule", "not differentiable"}


def test_a_report_adds_up():
    report = coverage("array_api", "numpy")
    assert sum(report["totals"]["numpy"].values()) == len(report["functions"])
    lines = table(report).splitlines()
    assert len(lines) == 1 + len(report["functions"]) + 1 + len(STATES)


def test_the_command_prints_a_table_or_json(capsys):
    assert main(["coverage", "--backend", "numpy"]) == 0
    assert "linalg.det" in capsys.readouterr().out
    assert main(["coverage", "--backend", "numpy", "--namespace", "numpy", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["functions"]["linalg.det"] == {"numpy": "rule"}


@pytest.mark.parametrize("options", [["--backend", "numpi"], ["--namespace", "matlab"]])
def test_what_does_not_exist_is_refused_with_what_does(options, capsys):
    assert main(["coverage", *options]) == 2
    assert "numpy" in capsys.readouterr().err


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    found = {name: {b: answered(t) for b, t in coverage(name)["totals"].items()} for name in NAMESPACES}
    RECORD.write_text(json.dumps(found, indent=1) + "\n")
