"""The special functions: values on every library, derivatives where they are hard, and SciPy's own dispatch to them."""

import json
import os
import subprocess
import sys
from importlib.util import find_spec
from math import inf, nan

import numpy as np
import pytest
from array_libraries import BACKENDS, is_installed

import agrad
from agrad import backends, rules
from agrad.rules import RuleSet
from agrad.testing import check_rule
from agrad.testing.check import names_of_plugin
from agrad.testing.draw import Call, samples_of

scipy_special = pytest.importorskip("scipy.special", reason="SciPy is not installed: pip install 'agrad[special]'")
NAMES = [name.removeprefix("special.") for name in names_of_plugin("special")]
SUMS = ("log_softmax", "logsumexp", "softmax")


@pytest.fixture
def mp():
    """mpmath, with 60 digits."""
    mpmath = pytest.importorskip("mpmath", reason="mpmath, a test-only aid, is not installed")
    with mpmath.workdps(60):
        yield mpmath


def op_of(name):
    return rules.find(f"special.{name}")


def tracked(value, dtype=None):
    return agrad.tensor(value, dtype=dtype, requires_grad=True)


def slope(name, args, by):
    """The derivative of a function by one of its arguments, all of them numbers."""
    operands = [tracked(float(a)) if i == by else a for i, a in enumerate(args)]
    out = getattr(agrad.special, name)(*operands)
    return agrad.autograd.grad(out, operands[by])[0].item()


# --------------------------------------------------------------------------------------------------------------- rules

EVERY = ("float64", "complex128", "float32")


@pytest.mark.parametrize("name", NAMES)
def test_a_rule_is_right(name):
    reports = [check_rule(f"special.{name}", "numpy", dtype) for dtype in EVERY]
    assert not any(report.refused for report in reports)
    assert sum(report.cases for report in reports) > 0


@pytest.mark.parametrize("library", [name for name in BACKENDS if name != "numpy"])
@pytest.mark.parametrize("name", NAMES)
def test_a_rule_is_right_elsewhere(name, library):
    """One sample: the formulas are the same, and so are their values at the others."""
    if not is_installed(library):
        pytest.skip(f"{library} is not installed")
    reports = [check_rule(f"special.{name}", library, dtype, case=0) for dtype in ("float64", "complex128")]
    assert not any(report.refused for report in reports)


@pytest.mark.long
@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("name", NAMES)
def test_a_rule_is_right_in_all_samples_and_dtypes(name, backend, seed):
    for dtype in (*EVERY, "complex64"):
        assert not check_rule(f"special.{name}", backend, dtype, seed=seed).refused


# -------------------------------------------------------------------------------------------------------------- values

LINE = [-20.25, -3.0, -2.5, -1.0, -0.5, -1e-3, 0.0, 1e-20, 1e-3, 0.1, 0.5, 0.75, 0.999, 1.0, 1.5, 2.0, 3.0, 5.5, 10.0, 30.0, 200.0]
ENDS = [-inf, inf, nan]
FEW = [-1.5, 0.0, 0.3, 1.0, 2.5, 7.0, 30.0]
WHOLE = {"bdtr": 2, "bdtrc": 2, "bdtri": 2, "nbdtr": 2, "nbdtrc": 2, "nbdtri": 2, "pdtri": 1, "yn": 1, "expn": 1,
         "polygamma": 1, "lpmv": 2}     # how many of the first arguments are whole numbers

# Where a library's own function has another value than SciPy's: at a pole, and where subnormal numbers are flushed.
ELSEWHERE = {("jax", "psi"): (0.0,), ("jax", "digamma"): (0.0,)}


def grids(name, library):
    """Arguments on a grid: numbers of all sizes, infinities, nan."""
    arrays = [p for p in op_of(name).signature.parameters if p.kind in ("array", "array?")]
    if len(arrays) == 1:
        left_out = ELSEWHERE.get((library, name), ())
        return [np.asarray([x for x in [*LINE, *ENDS] if x not in left_out])]
    whole = WHOLE.get(name, 0)
    axes = [np.arange(0, 6) if i < whole else np.asarray(FEW) for i in range(len(arrays))]
    return [np.ascontiguousarray(grid) for grid in np.meshgrid(*axes)]


def takes(name, library):
    return name not in (*SUMS, "multigammaln")


@pytest.mark.parametrize("library", [*BACKENDS, "dask", "jax"])
@pytest.mark.parametrize("name", [name for name in NAMES if name not in (*SUMS, "multigammaln")])
def test_values_are_scipys(name, library):
    if not is_installed(library):
        pytest.skip(f"{library} is not installed")
    if not hasattr(scipy_special, name):
        pytest.skip(f"SciPy {scipy_special.__name__} has no {name}")
    adapter = backends.find(library)
    arguments = grids(name, library)
    with np.errstate(all="ignore"):
        expected = getattr(scipy_special, name)(*arguments)
        tensors = [agrad.asarray(a).to(backend=library) for a in arguments]
        found = adapter.to_numpy(getattr(agrad.special, name)(*tensors).array)
    close(found, expected, arguments, 1e-11)


def close(found, expected, arguments, rtol, tiny=1e-290):
    with np.errstate(all="ignore"):
        same = (found == expected) | (np.isnan(found) & np.isnan(expected))
        wrong = ~(same | (np.abs(found - expected) <= rtol * np.abs(expected) + tiny))
    rows = [(*(a[i] for a in arguments), found[i], expected[i]) for i in zip(*np.nonzero(wrong), strict=True)]
    assert not rows, f"(arguments, found, expected): {rows[:8]}"
