"""Random programs over the whole table under PyTorch and under agrad: values, flags, refusals, two orders of gradients.

Where PyTorch refuses to walk back over a value that was written, agrad must refuse too, or be right without: then it
must give what it gives when such writes are allowed, and saved values are copied.
"""

import re
import warnings

import numpy as np
import pytest
from array_libraries import is_installed
from hypothesis import given, settings

import agrad

pytest.importorskip("torch")

from program_steps import ALONG_AN_AXIS, BINARY, MATRIX, UNARY, VECTOR, WHOLE
from random_programs import THEIRS, VIEWS, programs, run

from agrad import standard

NEAR = 1e-7  # of the largest element
LARGEST_GRADIENT = 1e6  # beyond that, the program multiplies rounding errors, not only numbers


def plain(t):
    if t is None:
        return None
    t = t.detach()
    return t.numpy() if isinstance(t, agrad.Tensor) else t.resolve_conj().resolve_neg().numpy(force=True)


def cotangents(m, tensors, seed):
    random = np.random.default_rng(seed + 1)
    for t in tensors:
        values = random.uniform(-1, 1, tuple(t.shape)) * (1 + 0.5j)
        yield m.tensor(values if "complex" in str(t.dtype) else values.real)


def derivatives(m, program, tensors):
    """The stages of differentiating a program: name -> arrays, or the type of the error."""
    leaves, found = tensors[: len(program.leaves)], {}
    roots = [tensors[i] for i in program.roots if i < len(tensors) and tensors[i].requires_grad]

    def first():
        g = list(cotangents(m, roots, program.seed))
        return m.autograd.grad(roots, leaves, g, create_graph=True, allow_unused=True)

    def second(gradients):
        pairs = zip(gradients, cotangents(m, leaves, program.seed + 1), strict=True)  # the same cotangents for all
        tracked = [(g, c) for g, c in pairs if g is not None and g.requires_grad]
        if not tracked:
            return []
        roots, g = zip(*tracked, strict=True)
        return m.autograd.grad(roots, leaves, g, retain_graph=True, allow_unused=True)

    def stored():
        for t in tensors:
            t.grad = None  # whether `grad` fills what is retained is nobody's promise
        m.autograd.backward(roots, list(cotangents(m, roots, program.seed + 2)))
        return [t.grad for t in tensors if t.is_leaf or t.retains_grad]

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        gradients = attempt(first)
        found["first gradients"] = arrays(gradients)
        hooked = any(
            "register_hook" in step.text for step in program.steps
        )  # a rule may, or may not, use a hooked result
        if isinstance(gradients, (tuple, list)) and not hooked:
            found["second gradients"] = zeros_for_none(arrays(attempt(second, gradients)), program.leaves)
        if roots:
            found["stored gradients"] = arrays(attempt(stored))
    return found


def attempt(function, *args):
    try:
        return function(*args)
    except RuntimeError as error:
        return error


def arrays(gradients):
    return gradients if isinstance(gradients, Exception) else [plain(g) for g in gradients]


def zeros_for_none(found, like):
    """Whether a second derivative that is zero is there at all is nobody's promise."""
    if isinstance(found, Exception):
        return found
    return [np.zeros_like(a) if g is None else g for g, a in zip(found or [None] * len(like), like, strict=True)]


def agree(found, expected, near=NEAR):
    if found is None or expected is None:
        return found is expected
    if found.shape != expected.shape or found.dtype != expected.dtype:
        return False
    scale = 1 + np.abs(expected).max(initial=0.0)
    return bool(np.all((np.abs(found - expected) <= near * scale) | (np.isnan(found) & np.isnan(expected))))


def wild(found):
    """Whether there are numbers that say nothing about who is right."""
    return not isinstance(found, Exception) and any(
        g is not None and not np.all(np.abs(g) < LARGEST_GRADIENT) for g in found
    )


# Ops whose rule saves its result where PyTorch's saves the operand, or the other way round.
KEEP_OTHER_VALUES = {
    "divide",
    "expm1",
    "linalg.matrix_norm",
    "linalg.slogdet",
    "logaddexp",
    "remainder",
    "sign",
    "sort",
}
FLAGS = ("requires_grad", "is_leaf", "retains_grad")


def flags(t, version):
    return {name: getattr(t, name) for name in FLAGS} | {"writes": t._version - version}


def compare(program):
    theirs, their_versions, refusals = run(program, THEIRS)
    mine, versions, my_refusals = run(program, agrad)
    for step, expected, found in zip(program.steps, refusals, my_refusals, strict=True):
        assert (found is None) == (expected is None), f"{step.text}: raised {found}, PyTorch raised {expected}"
    assert len(mine) == len(theirs)
    for i, (a, b) in enumerate(zip(mine, theirs, strict=True)):
        assert agree(plain(a), plain(b)), f"v{i} is\n{plain(a)}\nin PyTorch\n{plain(b)}"
        found, expected = flags(a, versions[i]), flags(b, their_versions[i])
        assert found == expected, f"v{i}: {found}, in PyTorch {expected}"
    expected, found = derivatives(THEIRS, program, theirs), derivatives(agrad, program, mine)
    for stage, truth in expected.items():
        if wild(truth) or stage not in found:
            return
        if isinstance(truth, Exception):
            truth = with_copies(program, stage, my_refusals)
            if isinstance(found[stage], Exception) or truth is None or wild(truth):
                return
        if isinstance(found[stage], Exception):
            message = str(found[stage])
            saver = re.search("It was saved by (.*) and written", message)[1]
            assert saver in KEEP_OTHER_VALUES or saver.startswith("special."), f"{stage}: {message}"
            found[stage] = with_copies(program, stage, my_refusals)
            if found[stage] is None:
                return
        for i, (a, b) in enumerate(zip(found[stage], truth, strict=True)):
            assert agree(a, b), f"{stage}, number {i}:\n{a}\nexpected\n{b}"


def with_copies(program, stage, refusals):
    """What agrad finds when writes over saved values are allowed; None if that lets another write through as well."""
    with agrad.autograd.graph.allow_mutation_on_saved_tensors():
        tensors, _, others = run(program, agrad)
        return derivatives(agrad, program, tensors)[stage] if others == refusals else None


ROWS = {
    name.partition(" ")[0].strip(",")
    for table in (UNARY, BINARY, ALONG_AN_AXIS, WHOLE, MATRIX, VECTOR)
    for name in table
}
BY_OTHER_MEANS = ("getitem", "setitem", "real", "imag", "astype", *VIEWS)
NOT_DRAWN = {
    "of integers and booleans": "bitwise_and bitwise_left_shift bitwise_invert bitwise_or bitwise_right_shift"
    " bitwise_xor logical_and logical_not logical_or logical_xor all any",
    "comparisons, drawn within other rows": "equal greater greater_equal less less_equal not_equal isfinite isinf"
    " isnan signbit floor_divide nextafter",
    "the engine's own": "read_view write_view scatter transfer",
    "of shapes, or without operands": "broadcast_shapes fft.fftfreq fft.rfftfreq",
    "of other shapes in PyTorch": "unique_all unique_counts unique_inverse",
}


def test_every_op_takes_part_in_random_programs():
    names = {
        name
        for chapter, names in standard.CHAPTERS.items()
        if chapter not in ("creation", "data_type")
        for name in names
    }
    left_out = {name for reason in NOT_DRAWN.values() for name in reason.split()}
    assert names - ROWS - left_out - {*BY_OTHER_MEANS} == set()
    assert left_out - names == set()


@settings(max_examples=100, deadline=None, report_multiple_bugs=False)
@given(programs(steps=12))
def test_random_programs_do_what_they_do_in_pytorch(program):
    compare(program)


@settings(max_examples=60, deadline=None, report_multiple_bugs=False)
@given(programs(steps=6, kind="functions"))
def test_random_functions_have_pytorchs_derivatives(program):
    compare(program)


def compare_on(backend, program):
    if not is_installed(backend):
        pytest.skip(f"{backend} is not installed")
    with agrad.use_backend(backend):
        compare(program)


@pytest.mark.parametrize("name", ["torch", "array_api_strict"])
@settings(max_examples=50, deadline=None, report_multiple_bugs=False)
@given(program=programs(steps=12, kind="writes"))
def test_random_writes_do_what_they_do_in_pytorch(name, program):
    compare_on(name, program)


@pytest.mark.long
@pytest.mark.parametrize("name", ["torch", "array_api_strict", "jax"])  # arrays that cannot be written, too
@settings(max_examples=1500, deadline=None, report_multiple_bugs=False)
@given(program=programs(steps=20, kind="writes"))
def test_many_random_writes_do_what_they_do_in_pytorch(name, program):
    compare_on(name, program)


@pytest.mark.long
@settings(max_examples=20_000, deadline=None, report_multiple_bugs=False)
@given(programs(steps=20))
def test_many_random_programs_do_what_they_do_in_pytorch(program):
    compare(program)


@pytest.mark.long
@settings(max_examples=10_000, deadline=None, report_multiple_bugs=False)
@given(programs(steps=10, kind="functions"))
def test_many_random_functions_have_pytorchs_derivatives(program):
    compare(program)
