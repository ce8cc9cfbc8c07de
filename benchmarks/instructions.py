"""Machine instructions per op of the 4-element chain, counted by callgrind: free of the machine's noise.

    python benchmarks/instructions.py [--record] [--keep FOLDER]

For agrad and for the gradient by hand, `y = y*w + x` with w a constant. What a process executes to start and to warm
up is counted in a run that stops there, and subtracted. Counts are compared with those in instructions.json, which
--record writes; the exit status is 1 if that of forward and backward together grew by more than 2 percent: how the
allocator's work falls to the two changes by some percent from build to build. Counts depend on NumPy, Python and the C
library, so a record made with others is shown but not judged. Needs valgrind.
"""

import argparse
import gc
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path

RECORD = Path(__file__).with_name("instructions.json")
SUBJECTS = ("agrad", "hand")
PARTS = ("start", "forward", "both")
STEPS, WARM_UP = 10_000, 50  # with fewer, what starting costs moves the counts by some percent
OPS = 2 * STEPS
TOLERANCE = 0.02


def main():
    options = parse_options()
    if options.child:
        run_chain(*options.child)
        return None
    if not shutil.which("valgrind"):
        return "valgrind is not installed (for example: apt install valgrind); nothing was counted"
    found = {"environment": describe_environment(), "per_op": {s: count(s, options.keep) for s in SUBJECTS}}
    recorded = json.loads(RECORD.read_text()) if RECORD.exists() else None
    grown = compare(found, recorded)
    if options.record:
        RECORD.write_text(json.dumps(found, indent=1) + "\n")
        print(f"recorded in {RECORD.name}")
    return bool(grown) and not options.record


def parse_options():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--record", action="store_true", help=f"write the counts to {RECORD.name}")
    parser.add_argument("--keep", type=Path, metavar="FOLDER", help="keep callgrind's files, for callgrind_annotate")
    parser.add_argument("--child", nargs=2, metavar=("SUBJECT", "PART"), help=argparse.SUPPRESS)
    return parser.parse_args()


def count(subject, keep):
    """Instructions per op: forward with the release of the graph, forward and backward, and their difference."""
    total = {part: callgrind(subject, part, keep) for part in PARTS}
    forward, both = ((total[part] - total["start"]) / OPS for part in ("forward", "both"))
    return {"forward": round(forward, 1), "backward": round(both - forward, 1), "both": round(both, 1)}


def callgrind(subject, part, keep):
    """Instructions of one process under callgrind."""
    with tempfile.TemporaryDirectory() as scratch:
        if keep:
            keep.mkdir(parents=True, exist_ok=True)
        out = (keep or Path(scratch)) / f"callgrind.{subject}.{part}"
        tool = ["valgrind", "--tool=callgrind", f"--callgrind-out-file={out}"]
        program = [sys.executable, __file__, "--child", subject, part]
        # A fixed hash seed, or the order of sets and the collisions of dicts differ from run to run.
        settings = {"PYTHONHASHSEED": "0", "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
        done = subprocess.run(tool + program, env=os.environ | settings, capture_output=True, text=True)
        if done.returncode:
            sys.exit(f"{subject}, {part}: ended with {done.returncode}\n{done.stderr[-2000:]}")
        return int(re.search(r"^(?:summary|totals): (\d+)", out.read_text(), re.MULTILINE)[1])


def run_chain(subject, part):
    """What the child does: start, warm up, and then the part."""
    gc.disable()
    program = {"agrad": chain_in_agrad, "hand": chain_by_hand}[subject]()
    program(WARM_UP, backward=True)
    if part != "start":
        program(STEPS, backward=part == "both")


def chain_in_agrad():
    import numpy as np

    import agrad

    x = agrad.tensor(np.full(4, 0.5), requires_grad=True)
    w, start, gradient = (agrad.tensor(np.full(4, value)) for value in (0.9999, 1.0, 1.0))

    def program(steps, backward):
        y = start
        for _ in range(steps):
            y = y * w + x
        if backward:
            y.backward(gradient)

    return program


def chain_by_hand():
    import hand
    import numpy as np

    start, w, x = np.ones(4), np.full(4, 0.9999), np.full(4, 0.5)
    return lambda steps, backward: (hand.chain if backward else hand.forward)(start, w, x, steps)


def describe_environment():
    libraries = {name: version(name) for name in ("agrad", "numpy")}
    platforms = {"python": platform.python_version(), "libc": platform.libc_ver()[1], "machine": platform.machine()}
    return platforms | libraries


def compare(found, recorded):
    """Print all counts beside the recorded ones; return those that grew too much."""
    same = recorded and all(recorded["environment"][k] == v for k, v in found["environment"].items() if k != "agrad")
    print(", ".join(f"{k} {v}" for k, v in found["environment"].items()))
    if recorded is None:
        print(f"nothing recorded yet: --record writes {RECORD.name}")
    elif not same:
        print("recorded with", ", ".join(f"{k} {v}" for k, v in recorded["environment"].items()), "(not judged)")
    print(f"{'instructions per op':<24}{'now':>10}{'recorded':>12}{'change':>10}")
    grown = []
    for subject, counts in found["per_op"].items():
        for part, now in counts.items():
            before = recorded["per_op"][subject][part] if recorded else None
            change = now / before - 1 if before else 0.0
            beside = f"{before:>12.1f}{change:>10.1%}" if before else f"{'-':>12}{'-':>10}"
            print(f"{subject + ', ' + part:<24}{now:>10.1f}{beside}")
            if same and part == "both" and change > TOLERANCE:
                grown.append((subject, part))
    return grown


if __name__ == "__main__":
    sys.exit(main())
