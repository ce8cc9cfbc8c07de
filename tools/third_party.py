"""Run the tables of third-party functions (tests/third_party) on Tensors and print them; write docs/third_party.md.

Usage, with agrad and the libraries installed (pip install 'agrad[third_party]'):

    python tools/third_party.py                       print the page
    python tools/third_party.py scipy special         print the outcomes of functions with "special" in their name
    python tools/third_party.py --record              also write docs/third_party.md and what the tests expect
"""

import json
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests"))

from third_party import report  # noqa: E402
from third_party.harness import COLUMNS, TABLES, run_in_process  # noqa: E402


def main(arguments: list[str]) -> None:
    """Do what the command line says."""
    record = "--record" in arguments
    chosen = [word for word in arguments if word != "--record"]
    tables = [word for word in chosen if word in TABLES] or list(TABLES)
    names = tuple(word for word in chosen if word not in TABLES)
    found = {table: run_in_process(table, names) for table in tables}
    if names:
        for table in tables:
            show(found[table]["outcomes"])
        return
    recorded = report.recorded() | {table: report.to_record(found[table]) for table in tables}
    if record:
        text = json.dumps({table: recorded[table] for table in TABLES if table in recorded}, indent=1)
        report.EXPECTED.write_text(text + "\n")
        (ROOT / "docs" / "third_party.md").write_text(report.page(recorded))
    print(report.page(recorded))
    for table in tables:
        seconds = sum(row[column]["seconds"] for row in found[table]["outcomes"].values() for column in COLUMNS)
        print(f"{table}: {seconds:.1f} s", file=sys.stderr)


def show(outcomes: dict) -> None:
    """Print outcomes in full."""
    for name, row in outcomes.items():
        for column in COLUMNS:
            print(f"{name}  {column}: {row[column]['kind']}  {row[column]['detail']}")


if __name__ == "__main__":
    main(sys.argv[1:])
