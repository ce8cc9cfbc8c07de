"""Every rule of agrad's plugins, on every backend, through the generic checker; and the ops that have no samples."""

from itertools import product
from types import SimpleNamespace

import numpy as np
import pytest
from array_libraries import BACKENDS, is_installed

import agrad
from agrad import backends, rules, standard
from agrad.rules import case
from agrad.testing import assert_close, check_rule
from agrad.testing.check import names_of_plugin

SHORT = ("float64", "complex128", "float32")
EVERY = (*SHORT, "complex64")

# Ops without samples: each has a test of its own below.
ELSEWHERE = ("floor_divide", "read_view", "scatter", "transfer", "write_view")
SETS = (*standard.CHAPTERS, "nn", "special")
NAMES = [name for rule_set in SETS for name in names_of_plugin(rule_set) if name not in ELSEWHERE]

# What a library does not take although the rule's samples have it: backend -> op -> why. Nothing else is left out.
REFUSED = {
    "numpy": {"scatter_add": "adding complex numbers to real ones"},
    "array_api_strict": {
        "imag": "of real numbers",
        "linalg.cross": "a positive axis",
        "scatter_add": "adding complex numbers to real ones",
        **dict.fromkeys(
            ("fft.fft", "fft.ifft", "fft.fftn", "fft.ifftn", "fft.irfft", "fft.irfftn", "fft.hfft"), "of real numbers"
        ),
        "isin": "of floating numbers",
        "meshgrid": "arrays of different dtypes",
        **dict.fromkeys(("setitem", "write_view"), "writing complex numbers into real arrays"),
    },
    "torch": {
        "scatter_add": "adding complex numbers to real ones",
        "isin": "of complex numbers",
        "meshgrid": "arrays of different dtypes",
        "setitem": "writing at index arrays what has another dtype",
        **dict.fromkeys(("unique_all", "unique_counts", "unique_inverse", "unique_values"), "of complex numbers"),
    },
}


def check(name, backend, dtypes, **options):
    """The op's rule in several dtypes; a call that is refused and not in the table is a failure."""
    reports = [check_rule(name, backend, dtype, **options) for dtype in dtypes]
    refused = [report for report in reports if report.refused]
    unknown = "\n".join(map(str, refused)) if name not in REFUSED[backend] else ""
    assert not unknown
    assert sum(report.cases for report in reports) > 0
    print(*reports, sep="\n")


@pytest.mark.parametrize("name", NAMES)
def test_a_rule_is_right(name, backend):
    check(name, backend, SHORT)


@pytest.mark.long
@pytest.mark.parametrize("seed", [1, 2, 3])
@pytest.mark.parametrize("name", NAMES)
def test_a_rule_is_right_in_every_dtype_and_with_other_numbers(name, backend, seed):
    check(name, backend, EVERY, seed=seed)


SHAPES = ((), (1,), (3,), (2, 3), (2, 1), (1, 3), (4, 2, 3), (0,), (2, 0), (0, 3))


def broadcast_together(*shapes):
    try:
        np.broadcast_shapes(*shapes)
    except ValueError:
        return False
    return True


@pytest.mark.long
@pytest.mark.parametrize("name", [name for name in NAMES if rules.find(name).rule.family in ("elementwise", "select")])
def test_an_elementwise_rule_is_right_in_all_shapes(name, backend):
    arity = len(rules.find(name).parameters)
    for shapes in product(SHAPES, repeat=arity):
        if broadcast_together(*shapes):
            check(name, backend, EVERY, case=case(*shapes))


# --------------------------------------------------------------------------------------------- the engine's own ops


def view_steps():
    """x.mT[1:, ..., 0], as the engine notes it."""
    find = rules.find
    key = (slice(1, None), Ellipsis, 0)
    return ((find("matrix_transpose"), None, -1), (find("getitem"), (None, key), -1))


def test_reading_a_view_anew_is_differentiable(backend):
    check("read_view", backend, SHORT, case=case((2, 3), view_steps()))
    check("read_view", backend, SHORT, case=case((2, 3, 4), view_steps()))


def test_one_result_of_several_is_a_view_too(backend):
    steps = ((rules.find("unstack"), (None, 1), 2),)
    check("read_view", backend, SHORT, case=case((2, 3), steps))


def test_writing_through_a_view_is_differentiable(backend):
    check("write_view", backend, SHORT, case=case((2, 3), (2,), view_steps()))
    check("write_view", backend, SHORT, case=case((2, 3), (), view_steps()))
    check("write_view", backend, SHORT, case=case((2, 3, 4), (1, 4), view_steps()))


@pytest.mark.parametrize("dtype", SHORT)
def test_indexed_gradients_together_are_differentiable(backend, dtype):
    adapter = backends.find(backend)
    places = adapter.from_numpy(np.asarray([0, 2, 0]), None, None, True)
    keys = (1, (slice(None), 0), places, (..., slice(1, 3)))
    like = SimpleNamespace(shape=(3, 4), dtype=adapter.to_dtype(dtype), device=adapter.device_of(places))
    check("scatter", backend, [dtype], case=case([(4,), (3,), (3, 4), (3, 2)], keys, like))


@pytest.mark.parametrize("target", BACKENDS)
def test_a_transfer_brings_the_gradient_back(backend, target):
    if not is_installed(target):
        pytest.skip(f"{target} is not installed")
    x = agrad.tensor([1.0, 2.0, 3.0], requires_grad=True)
    moved = x.to(backend=target)
    assert moved.backend_.name == target
    (first,) = agrad.autograd.grad((moved * moved * moved).sum(), x, create_graph=True)
    (second,) = agrad.autograd.grad(first.sum(), x)
    assert (first.backend_.name, second.backend_.name) == (backend, backend)
    assert_close(first.detach(), agrad.tensor([3.0, 12.0, 27.0]))
    assert_close(second, agrad.tensor([6.0, 12.0, 18.0]))


def test_floor_division_is_tracked_and_its_derivative_raises(backend):
    x = agrad.tensor([7.0, -7.0], requires_grad=True)
    y = x // 2.0
    assert y.tolist() == [3.0, -4.0]
    with pytest.raises(RuntimeError, match="derivative for floor_divide is not implemented"):
        y.sum().backward()
    assert x.grad is None


def test_a_copy_shares_nothing(backend):
    x = agrad.tensor([1.0, 2.0], requires_grad=True)
    y = x.clone()
    with agrad.no_grad():
        y[0] = 5.0
    assert x.tolist() == [1.0, 2.0]
    y.sum().backward()
    assert x.grad.tolist() == [1.0, 1.0]
