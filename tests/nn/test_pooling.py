"""Pooling layers and functions: PyTorch's numbers, places and gradients; ties and nan; bad input; backends; vmap."""

import re
from functools import partial
from itertools import product

import numpy as np
import pytest
from array_libraries import values
from hypothesis import assume, given
from hypothesis import strategies as st
from torch_layers import agree, close, numbers, words

import agrad
import agrad.nn.functional as F
from agrad import nn
from agrad.autograd import gradcheck, gradgradcheck

LENGTHS = (7, 6, 5)
nan, inf = float("nan"), float("inf")


def both(name, *args, **kwargs):
    """Our function and PyTorch's, with arguments behind the input."""
    their = pytest.importorskip("torch").nn.functional
    ours, theirs = getattr(F, name), getattr(their, name)
    return (lambda x: ours(x, *args, **kwargs)), (lambda x: theirs(x, *args, **kwargs))


@pytest.mark.parametrize("lead", [(2, 3), (3,)], ids=["batch", "single"])
@pytest.mark.parametrize("n", [1, 2, 3])
def test_the_largest_element_is_torchs_in_every_geometry(n, lead):
    x = numbers((*lead, *LENGTHS[:n]))
    for size, stride, padding, dilation, ceil in product((2, 3), (None, 1, 3), (0, 1), (1, 2), (False, True)):
        given_all = {"stride": stride, "padding": padding, "dilation": dilation, "ceil_mode": ceil}
        agree(*both(f"max_pool{n}d", size, **given_all, return_indices=True), x)


@pytest.mark.parametrize("lead", [(2, 3), (3,)], ids=["batch", "single"])
@pytest.mark.parametrize("n", [1, 2, 3])
def test_the_mean_is_torchs_in_every_geometry(n, lead):
    x = numbers((*lead, *LENGTHS[:n]))
    for size, stride, padding, ceil, count in product((2, 3), (None, 1, 3), (0, 1), (False, True), (False, True)):
        more = [{}, {"divisor_override": 3}] if n > 1 else [{}]
        for options in more:
            options = {"stride": stride, "padding": padding, "ceil_mode": ceil, "count_include_pad": count, **options}
            agree(*both(f"avg_pool{n}d", size, **options), x)


@pytest.mark.parametrize("n", [1, 2, 3])
def test_the_norm_is_torchs(n):
    x = numbers((2, 3, *LENGTHS[:n]))
    for norm, size, stride, ceil in product((1, 2.0, 4), (2, 3), (None, 1), (False, True)):
        agree(*both(f"lp_pool{n}d", norm, size, stride, ceil), x if norm != 1 else abs(x))


def test_the_norm_of_zeros_has_a_gradient():
    x = agrad.zeros((1, 4), requires_grad=True)
    F.lp_pool1d(x, 2, 2).sum().backward()
    assert values(x.grad).tolist() == [[0.0] * 4]


@st.composite
def window(draw):
    """An input with two axes of positions, and any window that fits."""
    each = lambda low, high: draw(st.tuples(st.integers(low, high), st.integers(low, high)))    # noqa: E731
    lengths, size, stride = each(1, 9), each(1, 4), each(1, 4)
    padding = tuple(draw(st.integers(0, k // 2)) for k in size)
    ceil = draw(st.booleans())
    more = [s - 1 if ceil else 0 for s in stride]
    assume(all(n + 2 * p + m >= k for n, p, m, k in zip(lengths, padding, more, size, strict=True)))
    return lengths, {"kernel_size": size, "stride": stride, "padding": padding, "ceil_mode": ceil}


@given(window(), st.booleans())
def test_any_window_is_torchs(geometry, count):
    lengths, options = geometry
    x = np.round(numbers((1, 2, *lengths)) * 2)     # with ties
    agree(*both("max_pool2d", return_indices=True, **options), x)
    agree(*both("avg_pool2d", count_include_pad=count, **options), x)


def test_a_window_that_is_rounded_up_may_be_larger_than_the_input():
    for name, options in (("max_pool2d", {"return_indices": True}), ("avg_pool2d", {}), ("avg_pool2d", {"padding": 1})):
        agree(*both(name, (4, 2), 3, ceil_mode=True, **options), numbers((2, 2, 5)))
    agree(*both("lp_pool1d", 2, 3, 2, ceil_mode=True), numbers((1, 2)))
    with pytest.raises(ValueError, match="larger than the input"):
        F.max_pool1d(agrad.zeros((1, 1)), 3, 2, ceil_mode=True)


@given(st.tuples(st.integers(1, 9), st.integers(1, 9)), st.tuples(st.integers(1, 10), st.integers(1, 10)))
def test_any_number_of_windows_is_torchs(lengths, wanted):
    x = np.round(numbers((2, *lengths)) * 2)
    agree(*both("adaptive_avg_pool2d", wanted), x)
    agree(*both("adaptive_max_pool2d", wanted, return_indices=True), x)


@pytest.mark.parametrize("n", [1, 2, 3])
@pytest.mark.parametrize("size", [1, 3, 7, (5, 2, 4)], ids=str)
def test_so_many_windows_as_are_wanted(size, n):
    size = size[:n] if isinstance(size, tuple) else size
    for lead in ((2, 3), (3,)):
        x = numbers((*lead, *(6, 7, 8)[:n]))
        agree(*both(f"adaptive_avg_pool{n}d", size), x)
        agree(*both(f"adaptive_max_pool{n}d", size, return_indices=True), x)


def test_the_length_of_an_axis_is_kept_where_none_is_given():
    agree(*both("adaptive_avg_pool2d", (None, 2)), numbers((2, 6, 5)))
    agree(*both("adaptive_max_pool2d", (3, None)), numbers((2, 6, 5)))
    assert F.adaptive_avg_pool2d(agrad.zeros((1, 4, 5)), None).shape == (1, 4, 5)
    assert F.adaptive_avg_pool2d(agrad.zeros((1, 4, 5)), (0, 2)).shape == (1, 0, 2)
    assert F.adaptive_max_pool2d(agrad.zeros((1, 4, 5)), (0, 2)).shape == (1, 0, 2)


@pytest.mark.parametrize("row", [
    [1.0, 1.0, 0.0, 1.0, 1.0], [nan, 1.0, nan, nan, 2.0], [-inf, -inf, -inf, -inf, -inf], [inf, nan, inf, 0.0, -0.0],
], ids=str)
def test_ties_nan_and_infinities_are_torchs(row):
    x = np.array([row])
    agree(*both("max_pool1d", 3, 2, 1, return_indices=True), x)
    agree(*both("max_pool1d", 2, ceil_mode=True, return_indices=True), x)
    for size in (2, 3, 5):
        agree(*both("adaptive_max_pool1d", size, return_indices=True), x)
    if nan not in row:
        agree(*both("avg_pool1d", 2), x)
    agree(*both("adaptive_avg_pool1d", 3), x)


@pytest.mark.parametrize("options", [{}, {"stride": 3}, {"stride": 3, "padding": 1}], ids=str)
@pytest.mark.parametrize("n", [1, 2, 3])
def test_the_way_back_is_torchs(n, options):
    torch = pytest.importorskip("torch")
    pool, back = getattr(nn, f"MaxPool{n}d"), getattr(nn, f"MaxUnpool{n}d")
    their_back = getattr(torch.nn, f"MaxUnpool{n}d")(3, **options)
    usual = 7 if "padding" in options else 9
    for lengths, size in (((usual,) * n, None), ((9, 10, 11)[:n], (2, 3, 9, 10, 11)[: n + 2]), ((9, 10, 11)[:n],) * 2):
        largest, places = pool(3, **options, return_indices=True)(agrad.tensor(numbers((2, 3, *lengths))))
        their_places, their_size = torch.tensor(values(places)), None if size is None else list(size)
        ours = partial(back(3, **options), indices=places, output_size=size)
        agree(ours, partial(their_back, indices=their_places, output_size=their_size), values(largest))


@pytest.mark.parametrize("name", ["max_pool2d", "avg_pool2d", "adaptive_avg_pool2d", "adaptive_max_pool2d"])
def test_single_precision_stays_single(name):
    agree(*both(name, 3), numbers((2, 7, 6), dtype="float32"), rtol=1e-5, atol=1e-6)


def test_integers_have_a_largest_element():
    torch = pytest.importorskip("torch")
    x = np.arange(25).reshape(1, 5, 5)
    close(F.max_pool2d(agrad.tensor(x), 2), torch.nn.functional.max_pool2d(torch.tensor(x), 2))


def test_no_samples():
    x = agrad.zeros((0, 3, 6, 6), requires_grad=True)
    for y in (F.max_pool2d(x, 2), F.avg_pool2d(x, 2), F.adaptive_avg_pool2d(x, 3), F.adaptive_max_pool2d(x, 3)):
        assert y.shape == (0, 3, 3, 3)
        y.sum().backward()
    assert F.adaptive_max_pool2d(x, 4).shape == F.adaptive_avg_pool2d(x, 4).shape == (0, 3, 4, 4)


def test_second_derivatives():
    x = agrad.tensor(numbers((1, 5, 4)), requires_grad=True)
    for pool in (
        lambda x: F.max_pool2d(x, 2, 1), lambda x: F.avg_pool2d(x, 2, padding=1, count_include_pad=False),
        lambda x: F.adaptive_avg_pool2d(x, 3), lambda x: F.adaptive_max_pool2d(x, 3),
        lambda x: F.lp_pool2d(x, 2, 2),
    ):
        assert gradcheck(pool, (x,))
        assert gradgradcheck(lambda x, pool=pool: pool(x) ** 2, (x,))


def test_all_backends_agree(backend):
    x = numbers((2, 3, 7, 6))

    def run():
        t = agrad.tensor(x, requires_grad=True)
        largest, places = F.max_pool2d(t, 3, 2, 1, return_indices=True)
        results = [
            largest, F.avg_pool2d(t, 2, ceil_mode=True, padding=1), F.adaptive_avg_pool2d(t, (3, 4)),
            F.adaptive_max_pool2d(t, (3, 4)), F.lp_pool2d(t, 2, 2), F.max_unpool2d(largest, places, 3, 2, 1, (7, 6)),
        ]
        sum(r.sin().sum() for r in results).backward()
        return [values(r) for r in (*results, places, t.grad)]

    found = run()
    with agrad.use_backend("numpy"):
        expected = run()
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-10)


def test_samples_of_vmap():
    x = agrad.tensor(numbers((4, 2, 7, 6)))
    for pool in (
        lambda x: F.max_pool2d(x, 2), lambda x: F.avg_pool2d(x, 2, padding=1),
        lambda x: F.adaptive_avg_pool2d(x, (3, 4)), lambda x: F.adaptive_max_pool2d(x, (3, 4)),
    ):
        np.testing.assert_allclose(values(agrad.vmap(pool)(x)), values(pool(x)), atol=1e-12)


# ---------------------------------------------------------------------------------------------------------------- words


LAYERS = [
    ("MaxPool1d", (2,), {}), ("MaxPool2d", ((2, 3),), {"return_indices": True, "ceil_mode": True}),
    ("MaxPool3d", (2,), {"stride": 1, "padding": 1}), ("AvgPool1d", (2,), {}), ("AvgPool2d", (2,), {}),
    ("AvgPool3d", (2,), {"stride": (1, 2, 1)}), ("AdaptiveAvgPool1d", (3,), {}),
    ("AdaptiveAvgPool2d", ((None, 3),), {}), ("AdaptiveAvgPool3d", (3,), {}),
    ("AdaptiveMaxPool1d", (3,), {}), ("AdaptiveMaxPool2d", (3,), {}),
    ("AdaptiveMaxPool3d", ((1, 2, 3),), {}), ("LPPool1d", (2, 3), {}), ("LPPool2d", (2, 3), {}),
    ("LPPool3d", (2, 3), {"stride": 2}), ("MaxUnpool1d", (2,), {}), ("MaxUnpool2d", (2,), {"stride": 3}),
    ("MaxUnpool3d", (2,), {}),
]


@pytest.mark.parametrize(("name", "args", "kwargs"), LAYERS)
def test_text_and_parameters_of_a_layer_are_torchs(name, args, kwargs):
    theirs = getattr(pytest.importorskip("torch").nn, name)
    assert repr(getattr(nn, name)(*args, **kwargs)) == repr(theirs(*args, **kwargs))
    assert words(getattr(nn, name)) == words(theirs)


@pytest.mark.parametrize(("name", "args", "kwargs"), [row for row in LAYERS if "Unpool" not in row[0]])
def test_a_layer_calls_its_function(name, args, kwargs):
    layer = getattr(pytest.importorskip("torch").nn, name)(*args, **kwargs)
    agree(getattr(nn, name)(*args, **kwargs), layer, abs(numbers((3, *LENGTHS[: int(name[-2])]))))


@pytest.mark.parametrize("name", [name for name in F.__all__ if "pool" in name])
def test_the_parameters_of_a_function_are_torchs(name):
    theirs = getattr(pytest.importorskip("torch").nn.functional, name)
    try:
        expected = words(theirs)
    except ValueError:      # compiled, without a signature
        expected = None
    if expected and ("args", expected[0][1], False) != expected[0]:
        assert words(getattr(F, name)) == expected
    assert words(getattr(F, name))[0][0] == "input"


# ------------------------------------------------------------------------------------------------------------ bad input


def zeros(*shape):
    return agrad.zeros(shape)


def whole(*shape):
    return agrad.zeros(shape, dtype=agrad.int64)


WRONG = [
    (lambda: nn.MaxPool2d(2)(zeros(4, 4)), "MaxPool2d: expected input of shape (N, C, H, W) or (C, H, W), got shape"),
    (lambda: nn.AvgPool1d(5)(zeros(1, 4)), "AvgPool1d: the kernel is larger than the input: size (5,), on positions of "
     "shape (4,) (with padding), got input of shape (1, 4)"),
    (lambda: F.max_pool2d(zeros(1, 5, 5), 2, padding=2), "max_pool2d: padding can be half of the kernel at most"),
    (lambda: F.max_pool2d(zeros(1, 5, 5), 2, padding=-1), "max_pool2d: padding must not be negative"),
    (lambda: F.max_pool2d(zeros(1, 5, 5), 0), "max_pool2d: kernel_size must be positive, got 0"),
    (lambda: F.max_pool2d(zeros(1, 5, 5), 2, (1, 2, 3)), "max_pool2d: stride must be an int or a tuple of 2 ints"),
    (lambda: F.max_pool2d(zeros(1, 0, 5), 2), "the kernel is larger than the input"),
    (lambda: F.avg_pool2d(zeros(1, 5, 5), 2, divisor_override=0), "avg_pool2d: divisor_override must not be zero"),
    (lambda: F.adaptive_avg_pool2d(zeros(1, 5, 5), (1, 2, 3)), "adaptive_avg_pool2d: output_size must be an int, None"),
    (lambda: F.adaptive_avg_pool2d(zeros(1, 5, 5), -1), "adaptive_avg_pool2d: output_size must not be negative"),
    (lambda: nn.AdaptiveMaxPool1d(2)(zeros(1, 0)), "AdaptiveMaxPool1d: expected input with positions"),
    (lambda: F.max_unpool1d(zeros(1, 3), whole(1, 2), 2), "max_unpool1d: expected indices of shape (1, 3), got shape"),
    (lambda: F.max_unpool1d(zeros(1, 3), whole(1, 3), 2, output_size=(9,)),
     "max_unpool1d: output_size must be within one stride (2,) of (6,), got (9,)"),
]


@pytest.mark.parametrize(("call", "text"), WRONG, ids=[text[:40] for _, text in WRONG])
def test_bad_input_is_named(call, text):
    with pytest.raises(ValueError, match=re.escape(text)):
        call()
