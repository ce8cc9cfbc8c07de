"""Random programs inside checkpoints, also nested ones: what is right without them is the same with them."""

import warnings

import numpy as np
import pytest
from array_libraries import is_installed
from hypothesis import given, settings

import agrad

pytest.importorskip("torch")  # programs are drawn while PyTorch runs them

from random_programs import REFUSALS, programs

from agrad.utils.checkpoint import checkpoint


def body(program, first, last):
    """Steps of a program as a function of the tensors before them: it returns these and its own results."""

    def function(*given):
        tensors = list(given) if first else [leaf * 1 for leaf in given]
        for step in program.steps[first:last]:
            try:
                tensors += step(agrad, tensors)
            except REFUSALS:
                continue
        return tuple(tensors)

    return function


def whole(program, call):
    return call(body(program, 0, None))


def nested(program, call):
    """One checkpoint around the first half, one around everything."""
    half = len(program.steps) // 2
    if not half:
        return whole(program, call)
    start, end = body(program, 0, half), body(program, half, None)
    return call(lambda *leaves: end(*call(start)(*leaves)))


def gradients(program, function):
    """Of first and second order, as arrays."""
    leaves = [agrad.tensor(array, requires_grad=True) for array in program.leaves]
    tensors = function(*leaves)
    roots = [tensors[i] for i in program.roots if i < len(tensors) and tensors[i].requires_grad]
    if not roots:
        return []
    ones = [agrad.ones_like(root) for root in roots]
    first = agrad.autograd.grad(roots, leaves, ones, create_graph=True, allow_unused=True)
    tracked = [g for g in first if g is not None and g.requires_grad]
    weights = [agrad.ones_like(g) for g in tracked]
    second = agrad.autograd.grad(tracked, leaves, weights, allow_unused=True) if tracked else ()
    return [None if g is None else g.detach().numpy() for g in (*first, *second)]


def compare(program):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for shape in (whole, nested):
            try:
                expected = gradients(program, shape(program, lambda f: f))
            except REFUSALS:  # values that the walk needs were written over
                return
            found = gradients(program, shape(program, lambda f: lambda *args: checkpoint(f, *args)))
            for one, other in zip(found, expected, strict=True):
                assert (one is None) == (other is None)
                if one is not None:
                    scale = np.max(np.abs(other), where=np.isfinite(other), initial=1.0)
                    assert np.allclose(one, other, rtol=1e-9, atol=1e-12 * scale, equal_nan=True)


@pytest.fixture(autouse=True)
def in_double(doubles):
    """Programs are drawn in double precision."""


@settings(max_examples=60, deadline=None, report_multiple_bugs=False)
@given(programs(steps=12))
def test_random_programs(program):
    compare(program)


@settings(max_examples=60, deadline=None, report_multiple_bugs=False)
@given(programs(steps=8, kind="functions"))
def test_random_functions(program):
    compare(program)


@pytest.mark.parametrize("name", ["numpy", "torch", "array_api_strict", "jax"])
@settings(max_examples=40, deadline=None, report_multiple_bugs=False)
@given(program=programs(steps=12, kind="writes"))
def test_random_writes(name, program):
    if not is_installed(name):
        pytest.skip(f"{name} is not installed")
    with agrad.use_backend(name):
        compare(program)


@pytest.mark.long
@settings(max_examples=5000, deadline=None, report_multiple_bugs=False)
@given(programs(steps=20))
def test_many_random_programs(program):
    compare(program)
