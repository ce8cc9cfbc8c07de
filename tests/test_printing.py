"""Tests of agrad/printing.py: literal strings, and the same arrays printed by PyTorch where it is installed."""

import math
from contextlib import contextmanager

import numpy
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from agrad import printing

try:
    import torch
except ImportError:
    torch = None

needs_torch = pytest.mark.skipif(torch is None, reason="PyTorch is not installed: there is nothing to compare with")

FLOATS = ("float16", "bfloat16", "float32", "float64")
DTYPES = (*FLOATS, "complex64", "complex128", "bool", "int8", "int16", "int32", "int64")
DTYPES += ("uint8", "uint16", "uint32", "uint64")
DEFAULTS = {
    "float32": ("float32", "complex64", "int64", "bool"),
    "float64": ("float64", "complex128", "int64", "bool"),
}
NAN, INF = math.nan, math.inf


@pytest.fixture(autouse=True)
def options_restored():
    before = printing.get_printoptions()
    yield
    printing.set_printoptions(**before)


@contextmanager
def both(**choices):
    """The same options in agrad and in PyTorch."""
    before = torch._tensor_str.get_printoptions()
    torch.set_printoptions(**choices)
    try:
        with printing.printoptions(**choices):
            yield
    finally:
        torch.set_printoptions(**before)


@contextmanager
def torch_default(dtype):
    before = torch.get_default_dtype()
    torch.set_default_dtype(getattr(torch, dtype))
    try:
        yield
    finally:
        torch.set_default_dtype(before)


def own_form(values, dtype):
    """`values` as agrad would hold them: a NumPy array of that dtype, float32 in the precision of bfloat16."""
    if dtype != "bfloat16":
        return values.astype(dtype)
    bits = values.astype("float32").view("uint32") & numpy.uint32(0xFFFF0000)
    return bits.view("float32")


def assert_same(values, dtype, default="float32", tracked=None):
    """Print `values` in both; `tracked` is None, "leaf", or the name of an autograd node."""
    theirs = torch.from_numpy(numpy.array(values)).to(getattr(torch, dtype))
    name = None
    if tracked:
        theirs = theirs.requires_grad_()
    if tracked and tracked != "leaf":
        node = type(tracked, (torch.autograd.Function,), {"forward": staticmethod(lambda ctx, x: x.clone())})
        theirs = node.apply(theirs)
        name = type(theirs.grad_fn).__name__
    ours = printing.describe(
        values,
        dtype=dtype,
        default_dtypes=DEFAULTS[default],
        requires_grad=bool(tracked),
        grad_fn=name,
        label="torch",
    )
    with torch_default(default):
        assert ours == repr(theirs)


# --- literal strings -------------------------------------------------------------------------------------------------

LITERAL = [
    ("[1., 2.]", [1.0, 2.0]),
    ("[1.5000, 2.0000]", [1.5, 2.0]),
    ("[1., nan, -inf]", [1.0, NAN, -INF]),
    ("[1.0000e+00, 1.0010e+03]", [1.0, 1001.0]),
    ("[   1., 1000.]", [1.0, 1000.0]),
    ("[1.0000e-05]", [1e-5]),
    ("[ 1.0000e+09,         nan, -2.0000e+09,  0.0000e+00]", [1e9, NAN, -2e9, 0.0]),
    ("[0., -0.]", [0.0, -0.0]),
    ("1.2500", 1.25),
    ("7", 7),
    ("[ 1, 20, -3]", [1, 20, -3]),
    ("[ True, False]", [True, False]),
    ("18446744073709551615", numpy.uint64(2**64 - 1)),
    ("[1.0000+2.j, 3.5000-1.j]", [1 + 2j, 3.5 - 1j]),
    ("[nan+infj, -inf+nanj]", [complex(NAN, INF), complex(-INF, NAN)]),
    ("[]", numpy.zeros((0, 3))),
    ("[[1, 2],\n [3, 4]]", [[1, 2], [3, 4]]),
    ("[[[1],\n  [2]],\n\n [[3],\n  [4]]]", [[[1], [2]], [[3], [4]]]),
    ("[   0,    1,    2,  ..., 1998, 1999, 2000]", numpy.arange(2001)),
    ("[0.1000]", numpy.array([0.1], "float32")),
]


@pytest.mark.parametrize(("expected", "values"), LITERAL)
def test_values_print_as_written_down_here(expected, values):
    assert printing.format_array(numpy.array(values)) == expected


def test_float32_prints_the_digits_of_its_own_value():
    with printing.printoptions(precision=12):
        assert printing.format_array(numpy.array([0.1], "float32")) == "[0.100000001490]"


def test_lines_are_broken_at_the_line_width_and_indented():
    with printing.printoptions(linewidth=20):
        assert printing.format_array(numpy.arange(8), indent=7) == "[0, 1, 2, 3,\n        4, 5, 6, 7]"


def test_an_infinite_line_width_never_breaks_a_line():
    with printing.printoptions(linewidth=INF):
        assert "\n" not in printing.format_array(numpy.arange(500))


@pytest.mark.parametrize(
    ("expected", "values", "facts"),
    [
        ("tensor([1.])", [1.0], {}),
        ("tensor([1.], requires_grad=True)", [1.0], {"requires_grad": True}),
        ("tensor([2., 4.], grad_fn=<MulBackward0>)", [2.0, 4.0], {"grad_fn": "MulBackward0", "requires_grad": True}),
        (
            "tensor([1.], dtype=agrad.float32, requires_grad=True)",
            [1.0],
            {"dtype": "float32", "requires_grad": True},
        ),
        ("tensor([1, 2])", [1, 2], {"dtype": "int64"}),
        ("tensor([1, 2], dtype=agrad.int32)", [1, 2], {"dtype": "int32"}),
        ("tensor([1.+1.j])", [1 + 1j], {"dtype": "complex128"}),
        ("tensor([1.], device='cuda:0', dtype=agrad.bfloat16)", [1.0], {"dtype": "bfloat16", "device": "cuda:0"}),
        ("tensor([], requires_grad=True)", [], {"requires_grad": True}),
        ("tensor([], size=(1, 0))", [[]], {}),
        ("tensor([], size=(2, 0), dtype=agrad.int64)", [[], []], {"dtype": "int64"}),
        ("tensor([], dtype=agrad.complex128)", [], {"dtype": "complex128"}),
        ("tensor([], dtype=agrad.bool)", [], {"dtype": "bool"}),
        ("Point([[1],\n       [2]], dtype=agrad.int8)", [[1], [2]], {"dtype": "int8", "prefix": "Point("}),
    ],
)
def test_facts_follow_the_values(expected, values, facts):
    told = {"dtype": "float64", "default_dtypes": DEFAULTS["float64"]} | facts
    assert printing.describe(numpy.array(values), **told) == expected


def test_a_fact_that_does_not_fit_starts_a_line():
    told = printing.describe(numpy.arange(10.0), dtype="float64", default_dtypes=(), grad_fn="MulBackward0")
    assert told == (
        "tensor([0., 1., 2., 3., 4., 5., 6., 7., 8., 9.], dtype=agrad.float64,\n       grad_fn=<MulBackward0>)"
    )


def test_no_edge_items_leaves_dots_and_the_size():
    with printing.printoptions(edgeitems=0, threshold=2):
        assert printing.describe(numpy.ones((2, 2)), dtype="float64", default_dtypes=("float64",)) == (
            "tensor([...], size=(2, 2))"
        )


def test_printing_leaves_the_array_alone():
    values = numpy.arange(24.0).reshape(2, 3, 4)
    values.flags.writeable = False
    assert printing.format_array(values[:, ::-1].T) == printing.format_array(values[:, ::-1].T.copy())


# --- options ---------------------------------------------------------------------------------------------------------


def test_options_are_given_back_in_the_form_they_are_taken():
    printing.set_printoptions(precision=7, threshold=5, edgeitems=1, linewidth=33, sci_mode=True)
    given_back = printing.get_printoptions()
    printing.set_printoptions(profile="default")
    printing.set_printoptions(**given_back)
    expected = {"precision": 7, "threshold": 5, "edgeitems": 1, "linewidth": 33, "sci_mode": True}
    assert printing.get_printoptions() == given_back == expected


def test_options_handed_out_are_a_copy():
    printing.get_printoptions()["precision"] = 9
    assert printing.get_printoptions()["precision"] == 4


def test_each_call_sets_sci_mode_anew_and_keeps_the_rest():
    printing.set_printoptions(precision=2, sci_mode=True)
    printing.set_printoptions(linewidth=60)
    assert printing.get_printoptions() | {"precision": 2, "linewidth": 60, "sci_mode": None} == (
        printing.get_printoptions()
    )


def test_arguments_override_the_profile():
    printing.set_printoptions(profile="short", precision=6)
    assert (printing.get_printoptions()["precision"], printing.get_printoptions()["edgeitems"]) == (6, 2)


def test_options_return_after_an_exception_in_the_block():
    before = printing.get_printoptions()
    with pytest.raises(KeyError), printing.printoptions(precision=1):
        raise KeyError
    assert printing.get_printoptions() == before


@needs_torch
@pytest.mark.parametrize("choices", [{"profile": name} for name in ("default", "short", "full", "none")])
@pytest.mark.parametrize("more", [{}, {"precision": 3, "sci_mode": False}, {"threshold": 0, "linewidth": 50}])
def test_options_have_the_values_of_pytorch(choices, more):
    with both(**choices, **more):
        assert printing.get_printoptions() == torch._tensor_str.get_printoptions()


# --- the same array printed by PyTorch -------------------------------------------------------------------------------

SHAPES = [
    (),
    (0,),
    (1,),
    (7,),
    (30,),
    (1000,),
    (1001,),
    (0, 3),
    (2, 0, 2),
    (3, 4),
    (2, 40),
    (40, 30),
    (1, 1001),
    (2, 3, 4),
]
SHAPES += [(12, 1, 90), (7, 8, 20), (2, 1, 2, 3), (8, 2, 9, 8), (2, 1, 3, 1, 2)]
CHOICES = [
    {},
    {"profile": "short"},
    {"profile": "full"},
    {"sci_mode": True},
    {"sci_mode": False, "precision": 1},
    {"precision": 0},
    {"threshold": 0, "edgeitems": 1},
    {"threshold": 4, "edgeitems": 0},
    {"linewidth": 1},
    {"linewidth": 37, "threshold": 10, "edgeitems": 7},
]
SCALES = (1e-9, 1e-5, 1e-2, 1.0, 3e2, 1e5, 1e12)


def sample(random, shape, dtype):
    """Values of one scale, of many scales or whole, some of them zero, infinite or NaN."""
    scale = random.choice(SCALES, size=shape if random.integers(2) else ())
    values = numpy.asarray(random.normal(size=shape) * scale)
    if dtype.startswith("complex"):
        values = values + 1j * random.normal(size=shape) * random.choice(SCALES)
    if random.integers(3) == 0:
        values = values.round() if "complex" not in dtype else values.real.round() + 1j
    if dtype == "bool" or "int" in dtype:
        return (numpy.abs(values) % 120).astype(dtype)
    values = numpy.asarray(values)
    if random.integers(3) == 0:
        values[random.random(shape) < 0.3] = random.choice([0.0, -0.0, INF, -INF, NAN])
    with numpy.errstate(over="ignore"):
        return own_form(values, dtype)


@needs_torch
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("choices", CHOICES, ids=str)
def test_every_shape_prints_as_in_pytorch(dtype, choices):
    random = numpy.random.default_rng(DTYPES.index(dtype))
    with both(**choices):
        for shape in SHAPES:
            assert_same(sample(random, shape, dtype), dtype)


@needs_torch
@pytest.mark.parametrize("default", DEFAULTS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_the_dtype_is_said_where_pytorch_says_it(dtype, default):
    for shape in ((), (2,), (0,), (0, 2)):
        assert_same(own_form(numpy.ones(shape), dtype), dtype, default)


@needs_torch
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("shape", [(3,), (12,), (2, 3)])
@pytest.mark.parametrize("linewidth", [80, 60, 30])
def test_facts_are_broken_off_where_pytorch_breaks_them(linewidth, shape, dtype):
    with both(linewidth=linewidth):
        for tracked in ("leaf", *("F" * length for length in range(1, 70))):
            assert_same(numpy.ones(shape, dtype), dtype, tracked=tracked)


@needs_torch
def test_scientific_form_begins_at_the_bounds_of_pytorch():
    for bound in (1e-4, 1e-3, 1.0, 1e3, 1e8):
        for value in (numpy.nextafter(bound, 0), bound, numpy.nextafter(bound, INF)):
            for other in (1e-4, 1.0, 1e5, NAN):
                for dtype in ("float32", "float64"):
                    assert_same(numpy.array([value, other], dtype), dtype)


@needs_torch
def test_the_extremes_of_each_dtype_print_as_in_pytorch():
    for dtype in ("float16", "float32", "float64"):
        limits = numpy.finfo(dtype)
        extremes = [limits.max, limits.min, limits.tiny, limits.smallest_subnormal, limits.eps]
        assert_same(numpy.array(extremes, dtype), dtype)
        assert_same(numpy.array(extremes[:2], dtype), dtype)
        assert_same(numpy.array(extremes[3], dtype), dtype)
    for dtype in DTYPES:
        if "int" in dtype:
            limits = numpy.iinfo(dtype)
            assert_same(numpy.array([limits.min, 0, limits.max], dtype), dtype)


OPTIONS = st.fixed_dictionaries(
    {},
    optional={
        "profile": st.sampled_from(["default", "short", "full"]),
        "precision": st.integers(0, 9),
        "threshold": st.integers(0, 60),
        "edgeitems": st.integers(0, 4),
        "linewidth": st.integers(1, 120),
        "sci_mode": st.sampled_from([None, True, False]),
    },
)


@st.composite
def tensors(draw):
    dtype = draw(st.sampled_from(DTYPES))
    held = "float32" if dtype == "bfloat16" else dtype
    shape = draw(arrays.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=7))
    return own_form(draw(arrays.arrays(held, shape)), dtype), dtype


@needs_torch
@given(tensors(), OPTIONS, st.sampled_from([None, "leaf", "Node", "ANodeWithALongerName"]))
def test_any_array_prints_as_in_pytorch(tensor, choices, tracked):
    values, dtype = tensor
    if "float" not in dtype and "complex" not in dtype:
        tracked = None
    with both(**choices):
        assert_same(values, dtype, tracked=tracked)
