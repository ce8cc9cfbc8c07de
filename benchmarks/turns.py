"""Cases whose competitors take turns, timed in milliseconds per run: what transforms.py and training.py share.

Knows no case. Results are compared before anything is timed.
"""

import overhead  # isort: skip  (sets the number of threads before any array library is imported)

import json
import random
import statistics
import time
from typing import NamedTuple

import numpy as np

LAYOUT = "{:<34}" + "{:>11}" * 4 + "{:>13}" * 3 + "  {:<22}{}"


class Case(NamedTuple):
    key: str
    title: str
    programs: object        # modules -> {column: program that gives a list of arrays}
    limits: dict            # column -> the most that agrad may take of its time
    rtol: float = 1e-9      # how far results may differ


def compare(description, cases, columns):
    """Run the command line of a benchmark: print the table of its cases, and return whether a limit is not held."""
    options = overhead.parse_options(description, cases)
    modules, absent = overhead.import_competitors()
    modules.pop("HIPS", None)
    environment = overhead.describe_environment(modules)
    print(environment, *(line for line in absent if "HIPS" not in line), "ms per run:", "", sep="\n")
    overhead.settle()
    print(LAYOUT.format("case", *columns, *(f"agrad/{column}" for column in columns[1:]), "limit", "held"))
    rows = {}
    for case in cases:
        if options.only and case.key not in options.only:
            continue
        row = measure(case, modules, 1 if options.quick else 8)
        row["held"] = overhead.verdict(case.limits, row)
        rows[case.key] = row
        print_row(case, row, columns)
    if options.json:
        report = {"environment": environment, "absent": absent, "cases": rows}
        options.json.write_text(json.dumps(report, indent=1) + "\n")
    return any(row["held"] != "yes" for row in rows.values())


def measure(case, modules, budget_s):
    """Median milliseconds of each competitor, and the median over rounds of agrad's time to each other's."""
    programs = case.programs(modules)
    check_results(case, programs)
    began = time.perf_counter()
    rounds = []
    order = random.Random(0)
    while len(rounds) < overhead.FEWEST or (len(rounds) < overhead.MOST and time.perf_counter() - began < budget_s):
        names = order.sample(list(programs), len(programs))
        rounds.append({name: overhead.turn(programs[name], 1) * 1e3 for name in names})
    ms = {name: statistics.median(taken[name] for taken in rounds) for name in programs}
    ratios = {
        name: statistics.median(taken["agrad"] / taken[name] for taken in rounds)
        for name in programs
        if name != "agrad" and "agrad" in programs
    }
    return {"ms": ms, "ratios": ratios, "rounds": len(rounds)}


def check_results(case, programs):
    expected = None
    for name, program in programs.items():
        found = [np.asarray(one) for one in program()]
        expected = expected or found
        for one, wanted in zip(found, expected, strict=True):
            np.testing.assert_allclose(
                one, wanted, rtol=case.rtol, atol=case.rtol / 1000, err_msg=f"{case.key}: result of {name}"
            )


def print_row(case, row, columns):
    ms = [f"{row['ms'][name]:.3f}" if name in row["ms"] else "-" for name in columns]
    ratios = [f"{row['ratios'][name]:.4f}" if name in row["ratios"] else "-" for name in columns[1:]]
    limits = ", ".join(f"{name} {limit:g}" for name, limit in case.limits.items())
    print(LAYOUT.format(case.title, *ms, *ratios, limits, row["held"]), flush=True)
