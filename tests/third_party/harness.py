"""Runs tables of third-party functions on Tensors, and says of each function whether its gradient is right.

A table maps a name to a `Case`: a function, and the NumPy arrays it gets. The gradient of every output is compared
with differences of the same function on NumPy. `python -m third_party.harness scipy` prints the outcomes as JSON. SciPy
reads SCIPY_ARRAY_API when it is imported, so tables run in a process of their own. Must know no function of any table.
"""

import importlib
import json
import os
import re
import subprocess
import sys
import time
import traceback
import warnings
from collections.abc import Callable
from contextlib import nullcontext
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

# Table -> the libraries that it needs, by import name.
TABLES = {
    "scipy": ("scipy",), "sklearn": ("sklearn", "scipy"), "extra": ("array_api_extra", "einops"),
    "xarray": ("xarray", "scipy"),
}
COLUMNS = ("raise", "copy")     # values of on_saved_write

# Outcomes, best first.
RIGHT = "right"             # every output has the right gradient
FLAT = "flat"               # no output changes with the inputs on NumPy either, and none is tracked
PLAIN = "plain number"      # the same, but the function returned something else than a Tensor
LEFT = "left the graph"     # the function called float() or int() on a tracked Tensor; agrad warned
RAISES = "raises"           # an exception; its type follows
NAN = "nan"                 # a gradient that is not a number although it exists: 0 * NaN under a mask
DETACHED = "DETACHED"       # an output that depends on the inputs and is not tracked, in silence
WRONG = "WRONG"
ORDER = (RIGHT, FLAT, PLAIN, LEFT, RAISES, NAN, DETACHED, WRONG)


class Case(NamedTuple):
    """A function of third-party code and its inputs.

    Attributes
    ----------
    function : callable
        Gets arrays, returns an array or a tuple of arrays.
    inputs : tuple of arrays
        Floating ones are tracked; integers, booleans and what stands in `fixed` are not.
    fixed : tuple of int
        Positions of inputs that are never tracked.
    tolerance : float
        Of the gradient, relative to its largest element (at least 1). Functions that compute their result only up to a
        tolerance of their own state a larger one, and get differences over a wider step.
    """

    function: Callable[..., Any]
    inputs: tuple[Any, ...]
    fixed: tuple[int, ...] = ()
    tolerance: float = 1e-6


class Outcome(NamedTuple):
    """What became of a function in one column."""

    kind: str
    detail: str = ""
    seconds: float = 0.0


def case(function: Callable[..., Any], *inputs: Any, fixed: tuple[int, ...] = (), tolerance: float = 1e-6) -> Case:
    """A `Case` with its inputs as arguments."""
    return Case(function, tuple(np.asarray(x) for x in inputs), fixed, tolerance)


def numbers(*shape: int, low: float = -1.0, high: float = 1.0, seed: int = 0) -> Any:
    """Random numbers, distinct ones."""
    return np.random.default_rng(seed).uniform(low, high, shape)


def namespace(x: Any) -> Any:
    """The namespace of an input, for functions that want one."""
    return x.__array_namespace__()


# ------------------------------------------------------------------------------------------------------------ on NumPy


def outputs_of(result: Any) -> tuple[Any, ...]:
    """The outputs of a function, one by one."""
    return tuple(result) if isinstance(result, (tuple, list)) else (result,)


def weights(shape: tuple[int, ...], dtype: Any) -> Any:
    """What an output is multiplied with to make a scalar of it; what is not finite in it is left out."""
    made = np.random.default_rng(7).uniform(0.5, 1.5, shape)
    return made + 0.3j * made[..., ::-1] if np.dtype(dtype).kind == "c" and made.ndim else made


def scalars_on_numpy(case: Case, inputs: list[Any]) -> Any:
    """One number per output."""
    found = []
    for out in outputs_of(case.function(*inputs)):
        out = np.asarray(out)
        found.append(float(np.sum((weights(out.shape, out.dtype) * np.where(np.isfinite(out), out, 0)).real)))
    return np.array(found)


def gradients_on_numpy(case: Case) -> list[list[Any]]:
    """For each output, the gradient with respect to each tracked input, by differences."""
    inputs = [np.array(x) for x in case.inputs]
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        count = len(scalars_on_numpy(case, inputs))
        gradients = [[np.zeros_like(x) for x in tracked(case, inputs)] for _ in range(count)]
        for position, x in enumerate(tracked(case, inputs)):
            for place in np.ndindex(x.shape):
                slopes = slope_on_numpy(case, inputs, x, place, count)
                for gradient, slope in zip(gradients, slopes, strict=True):
                    gradient[position][place] = slope
    return gradients


# Points and weights of central differences: of second order over a short step, of fourth over a wide one.
NARROW = (1e-5, ((-1, -0.5), (1, 0.5)))
WIDE = (1e-4, ((-2, 1 / 12), (-1, -2 / 3), (1, 2 / 3), (2, -1 / 12)))


def slope_on_numpy(case: Case, inputs: list[Any], x: Any, place: tuple[int, ...], count: int) -> Any:
    """The derivatives of all outputs with respect to one element; of a complex one d/dre + i d/dim."""
    before, slopes = x[place], np.zeros(count, dtype=x.dtype)
    if not np.isfinite(before):
        return slopes
    length, points = WIDE if case.tolerance > 1e-6 else NARROW
    step = length * max(1.0, abs(before))
    for direction in (1.0, 1.0j) if x.dtype.kind == "c" else (1.0,):
        for shift, weight in points:
            x[place] = before + shift * step * direction
            slopes += weight / step * direction * scalars_on_numpy(case, [np.array(a) for a in inputs])
    x[place] = before
    return slopes


def is_tracked(case: Case, position: int, x: Any) -> bool:
    return position not in case.fixed and x.dtype.kind in "fc"


def tracked(case: Case, inputs: list[Any]) -> list[Any]:
    return [x for position, x in enumerate(inputs) if is_tracked(case, position, case.inputs[position])]


# ---------------------------------------------------------------------------------------------------------- on Tensors


def compare(case: Case, reference: Callable[[], list[list[Any]]]) -> tuple[str, str]:
    """Run a function on Tensors; the kind of outcome, and what is to be said about it."""
    import agrad

    inputs = []
    for position, x in enumerate(case.inputs):
        made = agrad.asarray(x.copy())
        inputs.append(made.requires_grad_() if is_tracked(case, position, x) else made)
    outputs = outputs_of(case.function(*inputs))
    kinds = [
        compare_output(f"output {number}", out, wanted, case.tolerance, tracked(case, inputs))
        for number, (out, wanted) in enumerate(zip(outputs, reference(), strict=True))
    ]
    worst = max(kinds, key=lambda kind: ORDER.index(kind[0]))
    return (RIGHT, "") if worst[0] in (FLAT, PLAIN) and (RIGHT, "") in kinds else worst     # some have no gradient


def compare_output(name: str, out: Any, wanted: list[Any], tolerance: float, leaves: list[Any]) -> tuple[str, str]:
    """Compare the gradients of one output with those on NumPy."""
    import agrad

    size = max(1.0, *(float(np.max(np.abs(w), initial=0.0)) for w in wanted))
    is_tensor = isinstance(out, agrad.Tensor)
    if not is_tensor or not out.requires_grad:
        if any(np.max(np.abs(w), initial=0.0) > tolerance * size for w in wanted):
            return DETACHED, f"{name} is {'an untracked Tensor' if is_tensor else type(out).__name__}"
        return (FLAT if is_tensor else PLAIN), ""
    finite = agrad.where(agrad.isfinite(out), out, 0)
    scalar = agrad.sum(agrad.real(finite * agrad.asarray(weights(out.shape, out.dtype.dtype))))
    found = agrad.autograd.grad(scalar, leaves, retain_graph=True, allow_unused=True)
    for position, (g, w) in enumerate(zip(found, wanted, strict=True)):
        given = np.zeros(w.shape) if g is None else g.numpy()
        if np.any(np.isnan(given) & ~np.isnan(w)):
            return NAN, f"the gradient of {name} for input {position} is not a number"
        error = np.max(np.abs(given - w), initial=0.0) / size
        if not error <= tolerance:
            return WRONG, f"the gradient of {name} for input {position} is off by {error:.1e}"
    return RIGHT, ""


def outcome_of(case: Case, reference: Callable[[], list[list[Any]]], column: str) -> Outcome:
    """Run one function in one column."""
    import agrad
    from agrad import methods

    methods._warned = False     # the warning comes once per process; here, once per function
    start = time.perf_counter()
    copies = agrad.autograd.graph.allow_mutation_on_saved_tensors
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            with copies() if column == "copy" else nullcontext():
                kind, detail = compare(case, reference)
        except Exception as error:
            kind, detail = f"{RAISES} {type(error).__name__}", message_of(error) + where_it_left(error)
    left = [w for w in caught if "Converting a tensor with requires_grad=True" in str(w.message)]
    if left and kind in (DETACHED, WRONG, PLAIN):
        place = f"[{short(left[0].filename)}:{left[0].lineno}]"
        kind, detail = LEFT, f"{detail}, after float() or int() {place}".lstrip(", ")
    return Outcome(kind, detail, time.perf_counter() - start)


def message_of(error: BaseException) -> str:
    """The first line of a message, without sets, whose order changes, and paths of this machine."""
    first = re.sub(r":? *\{.*\}", "", str(error).partition("\n")[0])
    return re.sub(r" from '[^']*'", "", first)[:160]


def where_it_left(error: BaseException) -> str:
    """The last third-party line before an exception."""
    frames = [f for f in traceback.extract_tb(error.__traceback__) if is_foreign(f.filename)]
    return f" [{short(frames[-1].filename)}:{frames[-1].lineno}]" if frames else ""


def is_foreign(path: str) -> bool:
    return "site-packages" in path and "agrad" not in path


def short(path: str) -> str:
    """A path without the folder that libraries are installed in."""
    return path.rpartition("site-packages" + os.sep)[2] if is_foreign(path) else Path(path).name


# ---------------------------------------------------------------------------------------------------------- the tables


def run(table: str, names: list[str] | None = None) -> dict[str, dict[str, Any]]:
    """The outcomes of a table by name; only of functions in whose name one of `names` occurs, if that is given."""
    found: dict[str, dict[str, Any]] = {}
    for name, case in cases_of(table).items():
        if names and not any(wanted in name for wanted in names):
            continue
        reference = cache(lambda case=case: gradients_on_numpy(case))
        found[name] = {column: outcome_of(case, reference, column)._asdict() for column in COLUMNS}
    return found


def cases_of(table: str) -> dict[str, Case]:
    """The functions of a table."""
    return importlib.import_module(f"third_party.table_{table}").CASES  # type: ignore[no-any-return]


def versions(table: str) -> dict[str, str]:
    """The versions of a table's libraries."""
    return {name: importlib.import_module(name).__version__ for name in TABLES[table]}


def run_in_process(table: str, names: tuple[str, ...] = ()) -> dict[str, Any]:
    """`run` in a process of its own, where SciPy sees SCIPY_ARRAY_API; with the versions of the libraries."""
    environment = dict(os.environ, SCIPY_ARRAY_API="1", PYTHONPATH=str(Path(__file__).parents[1]))
    command = [sys.executable, "-P", "-W", "ignore", "-m", "third_party.harness", table, *names]
    result = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    if result.returncode:
        raise RuntimeError(f"{' '.join(command)} failed:\n{result.stderr}")
    return json.loads(result.stdout.splitlines()[-1])  # type: ignore[no-any-return]


if __name__ == "__main__":
    table = sys.argv[1]
    outcomes = run(table, sys.argv[2:])
    more = getattr(importlib.import_module(f"third_party.table_{table}"), "MORE", ())
    print(json.dumps({"versions": versions(table), "more": more, "outcomes": outcomes}))
