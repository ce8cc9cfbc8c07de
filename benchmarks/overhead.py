"""What agrad costs per op against torch, HIPS autograd and the gradient written by hand in NumPy. One run, one table.

    python benchmarks/overhead.py [--quick] [--only CASE ...] [--json FILE]

float64, one thread, forward and backward and the release of the graph. The competitors of a case take turns in random
order, round after round, so that the machine's noise hits all alike; a ratio is the median over the rounds of the
ratio within a round. Gradients are compared with those by hand before anything is timed. The exit status is 1
unless every limit is held. README.md beside this file says what each case is for.
"""

import os

# Read by the array libraries when they are first imported, so set before them.
os.environ["OMP_NUM_THREADS"] = os.environ["MKL_NUM_THREADS"] = os.environ["OPENBLAS_NUM_THREADS"] = "1"

import argparse
import gc
import importlib
import json
import platform
import random
import statistics
import subprocess
import sys
import time
from importlib.metadata import version
from pathlib import Path

import numpy as np
from cases import CASES, Million

MILLION = Path(__file__).with_name("million.py")
COMPETITORS = {"agrad": "agrad", "torch": "torch", "HIPS": "autograd"}  # column -> distribution and module
COLUMNS = (*COMPETITORS, "hand")
LAYOUT = "{:<31}" + "{:>9}" * 4 + "{:>13}" * 3 + "  {:<32}{}"
TURN_S = 0.004  # a turn repeats a short program for at least this long
FEWEST, MOST = 5, 101  # rounds


def main():
    options = parse_options(__doc__, CASES)
    modules, absent = import_competitors()
    environment = describe_environment(modules)
    print(environment, *absent, "us per op, forward and backward:", "", sep="\n")
    settle()
    ratios = [f"agrad/{name}" for name in ("torch", "HIPS", "hand")]
    print(LAYOUT.format("case", *COLUMNS, *ratios, "limit", "held"))
    rows = {}
    for case in CASES:
        if options.only and case.key not in options.only:
            continue
        if isinstance(case, Million):
            row = measure_million(case, modules)
        else:
            row = measure(case, modules, 0.5 if options.quick else 4.0)
            compare_with_shorter(case, row, rows)
        row["held"] = verdict(case.limits, row)
        rows[case.key] = row
        print_row(case, row)
    print("", *(note for row in rows.values() for note in row["notes"]), sep="\n")
    if options.json:
        report = {"environment": environment, "absent": absent, "cases": rows}
        options.json.write_text(json.dumps(report, indent=1) + "\n")
    return any(row["held"] not in ("yes", "no limit") for row in rows.values())


def parse_options(description, cases):
    """The options that the timed benchmarks have in common."""
    parser = argparse.ArgumentParser(description=description.split("\n")[0])
    parser.add_argument("--quick", action="store_true", help="an eighth of the time, more noise")
    keys = [case.key for case in cases]
    parser.add_argument("--only", action="append", choices=keys, metavar="CASE", help=f"one of {', '.join(keys)}")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all that was measured to FILE")
    return parser.parse_args()


def import_competitors():
    """The competitors that are installed, and a line about each that is not."""
    modules, absent = {}, []
    for column, name in COMPETITORS.items():
        try:
            modules[column] = importlib.import_module(name)
        except ImportError as error:
            absent.append(f"NOT MEASURED: {column} ({error}; pip install {name})")
    if "torch" in modules:
        modules["torch"].set_num_threads(1)
    return modules, absent


def describe_environment(modules):
    libraries = [f"{name} {version(name)}" for name in ("numpy", *(COMPETITORS[column] for column in modules))]
    return ", ".join([f"Python {platform.python_version()}", *libraries, platform.machine(), "one thread"])


def settle():
    """Put the process in the state of a program that has been running for a while, before anybody is timed.

    A C heap that has never seen a large block gives memory back to the system at every step, which would time page
    faults and nothing else. And what importing four libraries left behind is no work for the collector during a round.
    """
    block = np.empty(31 << 20, np.uint8)
    del block
    gc.collect()
    gc.freeze()


def measure(case, modules, budget_s):
    """Median microseconds per op of each competitor and median ratio of agrad to each."""
    programs = case.programs(modules)
    check_gradients(case, programs)
    programs = {name: programs[name] for name in ("agrad", *case.against) if name in programs}
    repeats = {name: max(1, round(TURN_S / turn(program, 1))) for name, program in programs.items()}
    began = time.perf_counter()
    rounds = []
    order = random.Random(0)
    while len(rounds) < FEWEST or (len(rounds) < MOST and time.perf_counter() - began < budget_s):
        names = order.sample(list(programs), len(programs))
        rounds.append({name: turn(programs[name], repeats[name]) / case.ops * 1e6 for name in names})
    us = {name: statistics.median(taken[name] for taken in rounds) for name in programs}
    ratios = {
        name: statistics.median(taken["agrad"] / taken[name] for taken in rounds)
        for name in case.against
        if name in programs and "agrad" in programs
    }
    return {"us": us, "ratios": ratios, "rounds": len(rounds), "notes": []}


def turn(program, repeats):
    """Seconds of one run: caches, heap and branch predictor get used to the program first, outside the clock."""
    program()
    gc.collect()
    began = time.perf_counter()
    for _ in range(repeats):
        program()
    return (time.perf_counter() - began) / repeats


def check_gradients(case, programs):
    expected = programs["hand"]()
    for name, program in programs.items():
        for found, wanted in zip(program(), expected, strict=True):
            np.testing.assert_allclose(np.asarray(found), wanted, rtol=1e-9, err_msg=f"{case.key}: gradients of {name}")


def compare_with_shorter(case, row, rows):
    """A cost per op that grows with the length of the program shows as a ratio to the same program, shorter."""
    shorter = rows.get(getattr(case, "grows_from", ""))
    for name in row["us"] if shorter else ():
        growth = row["us"][name] / shorter["us"][name]
        row["notes"].append(f"{case.title}: {growth:.2f} times the shorter one's cost per op in {name}")
        if name == "agrad":
            row["ratios"]["growth"] = growth


def measure_million(case, modules):
    """Time and resident memory of one million nodes; the arrays that their saved values hold are not the nodes' cost.

    The subtraction: `million.py arrays` makes, in a process of its own with the same libraries loaded, as many NumPy
    arrays of the same size in the same way and holds them in a list that was there before; what it grows by is what
    the arrays take, headers and rounding of the allocator included. Where w is a constant nothing is subtracted.
    """
    row = {"us": {}, "ratios": {}, "notes": []}
    if "agrad" not in modules:
        return row
    graph = run_million("kept" if case.kept else "chain")
    arrays = run_million("arrays") if case.kept else {"held": 0}
    for failed in (graph, arrays):
        if "failure" in failed:
            row["notes"].append(f"{case.title}: {failed['failure']}")
            return row | {"failed": True}
    nodes = graph["nodes"]
    net = (graph["held"] - arrays["held"]) / nodes
    forward, backward, release = (graph[f"{part}_s"] / nodes * 1e9 for part in ("forward", "backward", "release"))
    row["us"]["agrad"] = (forward + backward) / 1000
    row["ratios"]["bytes"] = net
    row["notes"] += [
        f"{case.title}: {net:.0f} bytes per node ({graph['held'] / nodes:.0f} resident, {arrays['held'] / nodes:.0f} "
        f"of them saved arrays), {graph['peak'] / nodes:.0f} resident at the peak of the walk;",
        f"    ns per node: forward {forward:.0f}, backward {backward:.0f}, release of an unused graph {release:.0f}",
    ]
    return row | {"graph": graph, "arrays": arrays}


def run_million(mode):
    done = subprocess.run([sys.executable, MILLION, mode], capture_output=True, text=True)
    if done.returncode:
        said = done.stderr.strip().splitlines()
        return {"failure": f"million.py {mode} ended with {done.returncode}" + (f": {said[-1]}" if said else "")}
    return json.loads(done.stdout)


def verdict(limits, row):
    if not limits:
        return "no limit"
    if row.get("failed"):
        return "NO: it failed"
    ratios = row["ratios"]
    broken = [name for name in limits if name in ratios and ratios[name] > limits[name]]
    unmeasured = [name for name in limits if name not in ratios]
    said = {"NO": broken, "unmeasured": unmeasured}
    return "; ".join(f"{word}: {', '.join(names)}" for word, names in said.items() if names) or "yes"


def print_row(case, row):
    us = [f"{row['us'][name]:.3f}" if name in row["us"] else "-" for name in COLUMNS]
    ratios = [f"{row['ratios'][name]:.3f}" if name in row["ratios"] else "-" for name in ("torch", "HIPS", "hand")]
    limits = ", ".join(f"{name} {limit:g}" for name, limit in case.limits.items())
    print(LAYOUT.format(case.title, *us, *ratios, limits, row["held"]), flush=True)


if __name__ == "__main__":
    sys.exit(main())
