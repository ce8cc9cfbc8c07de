"""Run the Array API standard's own test suite against agrad on one backend.

    python tools/conformance.py CHECKOUT [--backend torch] [--max-examples 100] [-- arguments of pytest]

CHECKOUT is a checkout of data-apis/array-api-tests; CONTRIBUTING.md says how to get it. Failures that are the array
library's own stand, with their reasons, in `tests/conformance/xfails-BACKEND.txt`. The exit status is 1 if another test
fails. What passed although it is listed is printed too: random inputs reach some failures only sometimes.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path

VERSION = "2025.12"
LISTS = Path(__file__).resolve().parents[1] / "tests" / "conformance"
BACKENDS = sorted(path.stem.removeprefix("xfails-") for path in LISTS.glob("xfails-*.txt"))
# What a library needs to have the standard's dtypes.
ENVIRONMENT = {"jax": {"JAX_ENABLE_X64": "1"}}


def main() -> int:
    options = read_arguments()
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder, "report.json")
        finished = subprocess.run(
            command(options, report), cwd=options.checkout, env=environment(options.backend), check=False
        )
        if not report.exists():
            return finished.returncode or 1
        tests = json.loads(report.read_text())["tests"]
    print_summary(options.backend, tests)
    return int(any(test["outcome"] in ("failed", "error") for test in tests))


def read_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("checkout", type=Path, help="a checkout of data-apis/array-api-tests")
    parser.add_argument("--backend", default="numpy", choices=BACKENDS)
    parser.add_argument("--max-examples", default="5", help="random inputs per test")
    parser.add_argument("rest", nargs="*", help="further arguments of pytest, after --")
    return parser.parse_args()


def command(options: argparse.Namespace, report: Path) -> list[str]:
    return [
        sys.executable, "-P", "-m", "pytest", "-q", "--tb=no", "-W", "ignore", "-p", "no:cacheprovider",
        "--json-report", f"--json-report-file={report}", "--disable-deadline", "--derandomize",
        f"--max-examples={options.max_examples}", f"--xfails-file={LISTS / f'xfails-{options.backend}.txt'}",
        "array_api_tests", *options.rest,
    ]


def environment(backend: str) -> dict[str, str]:
    own = {name: value for name, value in os.environ.items() if not name.startswith(("AGRAD_", "ARRAY_API_TESTS_"))}
    module = {"ARRAY_API_TESTS_MODULE": "agrad", "ARRAY_API_TESTS_VERSION": VERSION, "AGRAD_BACKEND": backend}
    return {**own, **module, **ENVIRONMENT.get(backend, {})}


def print_summary(backend: str, tests: list[dict[str, str]]) -> None:
    counts = Counter(test["outcome"] for test in tests)
    figures = ", ".join(f"{counts[o]} {o}" for o in ("passed", "failed", "error", "xfailed", "xpassed", "skipped"))
    print(f"agrad on {backend}, standard {VERSION}: {figures}")
    for outcome in ("failed", "error", "xpassed"):
        for test in tests:
            if test["outcome"] == outcome:
                print(f"{outcome}: {test['nodeid']}")


if __name__ == "__main__":
    sys.exit(main())
