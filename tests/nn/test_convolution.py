"""Convolutional layers and functions: PyTorch's numbers, gradients, words and keys; bad input; backends; transforms."""

import re
from functools import partial

import numpy as np
import pytest
from array_libraries import values
from hypothesis import assume, given
from hypothesis import strategies as st
from torch_layers import agree, moved, numbers, words

import agrad
import agrad.nn.functional as F
from agrad import nn
from agrad.autograd import gradcheck, gradgradcheck

LENGTHS = (9, 8, 7)
KERNELS = (3, 2, 2)

GEOMETRIES = [      # of layers with 4 channels in and 6 out
    {},
    {"stride": 2},
    {"padding": 1},
    {"padding": "same"},
    {"padding": "valid"},
    {"dilation": 2},
    {"groups": 2, "bias": False},
    {"stride": 3, "padding": 1, "dilation": 2, "groups": 2},
    {"padding": "same", "dilation": 2},
    {"padding": 2, "padding_mode": "reflect"},
    {"padding": 2, "padding_mode": "replicate", "stride": 2},
    {"padding": 1, "padding_mode": "circular"},
    {"padding": "same", "padding_mode": "circular"},
]
TRANSPOSED = [
    {},
    {"stride": 2},
    {"stride": 2, "padding": 1, "output_padding": 1},
    {"dilation": 2, "output_padding": 1},
    {"groups": 2, "bias": False},
    {"stride": 3, "padding": 1, "output_padding": 2, "groups": 2, "dilation": 2},
]


def of_torch(name):
    return getattr(pytest.importorskip("torch").nn, name)


def pair(name, *args, **kwargs):
    """PyTorch's layer and ours with its parameters, in float64."""
    torch = pytest.importorskip("torch")
    theirs = getattr(torch.nn, name)(*args, **kwargs, dtype=torch.float64)
    ours = getattr(nn, name)(*args, **kwargs, dtype=agrad.float64)
    moved(theirs, ours)
    return ours, theirs


@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel lengths:UserWarning")     # torch
@pytest.mark.parametrize("batch", [(2,), ()], ids=["batch", "single"])
@pytest.mark.parametrize("n", [1, 2, 3])
@pytest.mark.parametrize("options", GEOMETRIES, ids=str)
def test_a_convolution_is_torchs(options, n, batch):
    ours, theirs = pair(f"Conv{n}d", 4, 6, KERNELS[:n], **options)
    agree(ours, theirs, numbers((*batch, 4, *LENGTHS[:n])))


@pytest.mark.parametrize("batch", [(2,), ()], ids=["batch", "single"])
@pytest.mark.parametrize("n", [1, 2, 3])
@pytest.mark.parametrize("options", TRANSPOSED, ids=str)
def test_a_transposed_convolution_is_torchs(options, n, batch):
    ours, theirs = pair(f"ConvTranspose{n}d", 4, 6, KERNELS[:n], **options)
    agree(ours, theirs, numbers((*batch, 4, *(5, 4, 3)[:n])))


@pytest.mark.parametrize("size", [(9, 9), (10, 9), (2, 6, 10, 10)], ids=str)
def test_an_output_size_is_found_by_output_padding(size):
    ours, theirs = pair("ConvTranspose2d", 4, 6, 3, stride=2, padding=1)
    agree(lambda x: ours(x, size), lambda x: theirs(x, list(size)), numbers((2, 4, 5, 5)))


@st.composite
def geometries(draw):
    """Any convolution: shapes of x and weight, and how the filters move."""
    n, groups = draw(st.integers(1, 3)), draw(st.integers(1, 3))
    each = st.tuples(*[st.integers(1, 3)] * n)
    stride, size, dilation = draw(each), draw(each), draw(each)
    padding = draw(st.tuples(*[st.integers(0, 3)] * n))
    lengths = draw(st.tuples(*[st.integers(1, 6)] * n))
    every = zip(lengths, padding, size, dilation, strict=True)
    assume(all(m + 2 * p >= d * (k - 1) + 1 for m, p, k, d in every))
    samples, inner, outer = draw(st.integers(0, 3)), draw(st.integers(1, 3)), draw(st.integers(1, 2))
    x, weight = (samples, inner * groups, *lengths), (outer * groups, inner, *size)
    return x, weight, {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}


@given(geometries())
def test_any_convolution_is_torchs(geometry):
    their = pytest.importorskip("torch").nn.functional
    x, weight, options = geometry
    n = len(x) - 2
    ours, theirs = (partial(getattr(functions, f"conv{n}d"), **options) for functions in (F, their))
    agree(ours, theirs, numbers(x), numbers(weight), numbers(weight[:1]))


@given(geometries())
def test_a_transposed_convolution_is_the_transpose(geometry):
    """<conv(x), y> is <x, conv_transpose(y)>, whatever the geometry; output_padding gives back the lengths of x."""
    x, weight, options = geometry
    n = len(x) - 2
    x, weight = agrad.tensor(numbers(x)), agrad.tensor(numbers(weight))
    forward = getattr(F, f"conv{n}d")(x, weight, **options)
    y = agrad.tensor(numbers(forward.shape, 1))
    how = [options[name] for name in ("stride", "padding", "dilation")]
    every = zip(forward.shape[2:], weight.shape[2:], *how, strict=True)
    least = [(m - 1) * s - 2 * p + d * (k - 1) + 1 for m, k, s, p, d in every]
    more = tuple(wanted - own for wanted, own in zip(x.shape[2:], least, strict=True))
    back = getattr(F, f"conv_transpose{n}d")(y, weight, output_padding=more, **options)
    assert back.shape == x.shape
    np.testing.assert_allclose(values(agrad.sum(forward * y)), values(agrad.sum(x * back)), atol=1e-9)


@pytest.mark.parametrize("n", [1, 2])
def test_complex_filters(n):
    their = pytest.importorskip("torch").nn.functional
    arrays = [numbers(shape[: n + 2], dtype="complex128") for shape in ((2, 2, 5, 4), (3, 2, 2, 3))]
    for name in ("conv", "conv_transpose"):
        ours, theirs = getattr(F, f"{name}{n}d"), getattr(their, f"{name}{n}d")
        given_arrays = arrays if name == "conv" else [arrays[0], np.swapaxes(arrays[1], 0, 1).copy()]
        agree(ours, theirs, *given_arrays)


@pytest.mark.parametrize("name", ["Conv1d", "ConvTranspose2d"])
def test_single_precision_stays_single(name):
    torch = pytest.importorskip("torch")
    theirs, ours = getattr(torch.nn, name)(2, 4, 3), getattr(nn, name)(2, 4, 3, dtype=agrad.float32)
    moved(theirs, ours)
    agree(ours, theirs, numbers((2, 2, 6, 5)[: 3 if name == "Conv1d" else 4], dtype="float32"), rtol=1e-4, atol=1e-5)


def test_second_derivatives():
    x, weight, bias = (agrad.tensor(numbers(s), requires_grad=True) for s in ((2, 2, 4, 3), (4, 1, 2, 2), (4,)))
    options = {"stride": 2, "padding": 1, "groups": 2}
    assert gradcheck(lambda *a: F.conv2d(*a, **options), (x, weight, bias))
    assert gradgradcheck(lambda *a: F.conv2d(*a, **options), (x, weight, bias))
    weight = agrad.tensor(numbers((2, 2, 2, 2)), requires_grad=True)
    assert gradgradcheck(lambda *a: F.conv_transpose2d(*a, stride=2, padding=1), (x, weight))
    assert gradgradcheck(lambda a: F.fold(F.unfold(a, 2, padding=1), (4, 3), 2, padding=1), (x,))


def test_all_backends_agree(backend):
    x, weight, bias = (numbers(s) for s in ((2, 4, 5, 6), (6, 2, 3, 2), (6,)))
    other = numbers((4, 3, 2, 3))

    def run():
        tensors = [agrad.tensor(a, requires_grad=True) for a in (x, weight, bias, other)]
        y = F.conv2d(*tensors[:3], stride=(2, 1), padding=1, groups=2)
        z = F.conv_transpose2d(tensors[0], tensors[3], stride=2, padding=1, output_padding=(0, 1), groups=2)
        w = F.fold(F.unfold(tensors[0], (2, 3), padding=1, stride=2), (5, 6), (2, 3), padding=1, stride=2)
        (y.sin().sum() + (z * z).sum() + (w * tensors[0]).sum()).backward()
        assert {t.grad.__array_namespace__() for t in tensors} == {tensors[0].__array_namespace__()}
        return [values(t) for t in (y, z, w, *(t.grad for t in tensors))]

    found = run()
    with agrad.use_backend("numpy"):
        expected = run()
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("library", ["jax", "dask"])
def test_layers_follow_their_input_to_further_libraries(library):
    pytest.importorskip(library)
    with agrad.use_backend(library):
        layer = nn.Conv2d(2, 3, 3, padding=1, padding_mode="circular", dtype=agrad.float64)
        x = agrad.tensor(numbers((1, 2, 4, 4)), requires_grad=True)
        layer(x).sum().backward()
        found = values(layer.weight.grad), values(x.grad)
    same = nn.Conv2d(2, 3, 3, padding=1, padding_mode="circular", dtype=agrad.float64)
    same.load_state_dict({name: values(t) for name, t in layer.state_dict().items()})
    y = agrad.tensor(numbers((1, 2, 4, 4)), requires_grad=True)
    same(y).sum().backward()
    np.testing.assert_allclose(found[0], values(same.weight.grad), atol=1e-10)
    np.testing.assert_allclose(found[1], values(y.grad), atol=1e-10)


def test_no_samples():
    layer = nn.Conv2d(1, 2, 3)
    y = layer(agrad.zeros((0, 1, 5, 5)))
    assert y.shape == (0, 2, 3, 3)
    y.sum().backward()
    assert values(layer.weight.grad).tolist() == np.zeros((2, 1, 3, 3)).tolist()


# ------------------------------------------------------------------------------------------------------ unfold and fold


WINDOWS = [
    {"kernel_size": 2}, {"kernel_size": (3, 2), "stride": 2}, {"kernel_size": (2, 3), "padding": 1},
    {"kernel_size": 2, "dilation": (1, 2), "padding": (0, 1), "stride": (2, 1)},
]


@pytest.mark.parametrize("shape", [(2, 3, 6, 7), (3, 6, 7)], ids=str)
@pytest.mark.parametrize("options", WINDOWS, ids=str)
def test_windows_as_columns_and_back(options, shape):
    torch = pytest.importorskip("torch")
    x = numbers(shape)
    agree(nn.Unfold(**options), torch.nn.Unfold(**options), x)
    columns = numbers(tuple(torch.nn.Unfold(**options)(torch.tensor(x)).shape))
    agree(nn.Fold((6, 7), **options), torch.nn.Fold((6, 7), **options), columns)


# ---------------------------------------------------------------------------------------------------------------- words


LAYERS = [
    *(("Conv1d", (1, 2, 3), {"padding": "same"}), ("Conv2d", (1, 6, 5), {"padding": 2})),
    ("Conv3d", (2, 4, 3), {"groups": 2, "stride": 2, "bias": False}),
    ("Conv2d", (1, 2, (3, 1)), {"padding_mode": "reflect", "dilation": 2}),
    ("ConvTranspose1d", (2, 4, 3), {}),
    ("ConvTranspose2d", (2, 4, 3, 2, 1), {"output_padding": 1, "groups": 2, "bias": False}),
    ("ConvTranspose3d", (2, 4, 3), {"dilation": 2}),
    ("Unfold", (2,), {"stride": (1, 2)}), ("Fold", ((4, 5), 2), {}),
]


@pytest.mark.parametrize(("name", "args", "kwargs"), LAYERS)
def test_the_text_of_a_layer_is_torchs(name, args, kwargs):
    assert repr(getattr(nn, name)(*args, **kwargs)) == repr(of_torch(name)(*args, **kwargs))


@pytest.mark.parametrize("name", sorted({name for name, *_ in LAYERS}))
def test_the_parameters_of_a_layer_are_torchs(name):
    assert words(getattr(nn, name)) == words(of_torch(name))


@pytest.mark.parametrize("name", ["unfold", "fold"])
def test_the_parameters_of_a_function_are_torchs(name):
    assert words(getattr(F, name)) == words(getattr(pytest.importorskip("torch").nn.functional, name))


@pytest.mark.parametrize(("layer", "seen"), [(nn.Conv2d(4, 64, 3, groups=2), 18), (nn.ConvTranspose1d(4, 8, 5), 40)])
def test_first_values_are_uniform_within_one_over_the_root_of_what_a_filter_sees(layer, seen):
    layer.reset_parameters()    # it was drawn when the file was read
    for t in layer.parameters():
        assert 0.7 / seen**0.5 < values(agrad.max(agrad.abs(t))) <= 1 / seen**0.5
    before = values(layer.weight).copy()
    layer.reset_parameters()
    assert not np.array_equal(before, values(layer.weight))


# ------------------------------------------------------------------------------------------------------------ bad input


def zeros(*shape):
    return agrad.zeros(shape)


WRONG = [
    (lambda: nn.Conv2d(3, 6, 5)(zeros(8, 1, 28, 28)), "Conv2d: expected input with 3 channels, (N, 3, H, W) or "
     "(3, H, W), got shape (8, 1, 28, 28)"),
    (lambda: nn.Conv1d(3, 6, 5)(zeros(3)), "Conv1d: expected input with 3 channels, (N, 3, L) or (3, L), got shape"),
    (lambda: nn.Conv2d(1, 1, 5)(zeros(1, 1, 4, 9)), "Conv2d: the kernel is larger than the input: size (5, 5), on "
     "positions of shape (4, 9) (with padding), got input of shape (1, 1, 4, 9)"),
    (lambda: nn.Conv2d(1, 1, 3, dilation=2)(zeros(1, 4, 4)), "size (3, 3) with dilation (2, 2)"),
    (lambda: nn.Conv2d(1, 1, 3, padding=4, padding_mode="reflect")(zeros(1, 3, 3)),
     "Conv2d: mode 'reflect' can add 0 to 2 elements"),
    (lambda: nn.ConvTranspose2d(2, 4, 3)(zeros(2, 3, 5, 5)), "ConvTranspose2d: expected input with 2 channels"),
    (lambda: nn.ConvTranspose1d(2, 4, 3, padding=3)(zeros(2, 2)), "ConvTranspose1d: with padding (3,) no output"),
    (lambda: nn.ConvTranspose1d(1, 1, 3, stride=2)(zeros(1, 4), (13,)), "ConvTranspose1d: requested an output size of "
     "(13,), but valid sizes range from (9,) to (10,)"),
    (lambda: nn.ConvTranspose2d(1, 1, 3)(zeros(1, 4, 4), (6,)), "output_size must have 2 or 3 elements"),
    (lambda: nn.ConvTranspose1d(1, 1, 3, output_padding=1)(zeros(1, 4)), "output padding must be smaller"),
    (lambda: nn.Conv2d(3, 6, 5, groups=2), "Conv2d: groups must be positive and divide in_channels=3, got 2"),
    (lambda: nn.Conv2d(4, 6, 5, groups=4), "divide out_channels=6"),
    (lambda: nn.Conv2d(4, 6, 5, groups=0), "groups must be positive"),
    (lambda: nn.Conv2d(1, 1, 3, padding="some"), "Conv2d: padding must be 'valid', 'same', an int or a tuple of ints"),
    (lambda: nn.Conv2d(1, 1, 3, padding=-1), "Conv2d: padding must not be negative"),
    (lambda: nn.Conv2d(1, 1, 3, stride=2, padding="same"), "padding='same' is not supported for strided convolutions"),
    (lambda: nn.Conv2d(1, 1, 3, stride=0), "Conv2d: stride must be positive"),
    (lambda: nn.Conv2d(1, 1, (3, 3, 3)), "Conv2d: kernel_size must be an int or a tuple of 2 ints, got (3, 3, 3)"),
    (lambda: nn.Conv2d(1, 1, 3, padding_mode="zero"), "Conv2d: padding_mode must be one of 'zeros', 'reflect'"),
    (lambda: nn.ConvTranspose2d(1, 1, 3, padding_mode="reflect"), 'Only "zeros" padding mode is supported'),
    (lambda: F.conv2d(zeros(1, 1, 4, 4), zeros(1, 1, 3)), "conv2d: expected weight with 4 axes, got shape (1, 1, 3)"),
    (lambda: F.conv1d(zeros(1, 2, 4), zeros(3, 1, 3), groups=2), "expected weight whose first axis can be divided"),
    (lambda: F.conv1d(zeros(1, 1, 4), zeros(3, 1, 3), zeros(1)), "conv1d: expected bias of shape (3,), got shape (1,)"),
    (lambda: F.unfold(zeros(4, 4), 2), "unfold: expected input of shape (N, C, H, W) or (C, H, W), got shape (4, 4)"),
    (lambda: F.fold(zeros(1, 8, 4), (4, 4), 2), "fold: a window of (2, 2) has (3, 3) positions in an output of (4, 4): "
     "expected input of shape (N, C * 4, 9) or (C * 4, 9), got shape (1, 8, 4)"),
]


@pytest.mark.parametrize(("call", "text"), WRONG, ids=[text[:40] for _, text in WRONG])
def test_bad_input_is_named(call, text):
    with pytest.raises(ValueError, match=re.escape(text)):
        call()


def test_numbers_must_be_whole():
    with pytest.raises(TypeError, match=r"Conv1d: stride must be an int or a tuple of 1 ints, got 1\.5"):
        nn.Conv1d(1, 1, 3, stride=1.5)


# ----------------------------------------------------------------------------------------------------------- transforms


def test_a_convolution_for_each_set_of_parameters():
    layer = nn.Conv2d(2, 3, 2, dtype=agrad.float64)
    shapes = {name: tuple(t.shape) for name, t in layer.named_parameters()}
    many = {name: agrad.tensor(numbers((4, *shape))) for name, shape in shapes.items()}
    x = agrad.tensor(numbers((5, 2, 4, 4)))
    call = lambda parameters, x: agrad.func.functional_call(layer, parameters, (x,))  # noqa: E731
    together = agrad.vmap(call, in_dims=(0, None))(many, x)
    each = [values(call({name: t[i] for name, t in many.items()}, x)) for i in range(4)]
    np.testing.assert_allclose(values(together), np.stack(each), atol=1e-12)


def test_the_gradient_of_each_sample():
    weight = agrad.tensor(numbers((3, 2, 2, 2)))
    x = agrad.tensor(numbers((5, 2, 4, 4)))
    loss = lambda weight, x: F.conv2d(x, weight, padding=1).sin().sum()     # noqa: E731
    together = agrad.vmap(agrad.func.grad(loss), in_dims=(None, 0))(weight, x)
    each = [values(agrad.func.grad(loss)(weight, x[i])) for i in range(5)]
    np.testing.assert_allclose(values(together), np.stack(each), atol=1e-12)
