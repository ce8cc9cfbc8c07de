"""Convolution, its transposes, windows and pooling as ops: beside PyTorch, and NumPy's kernels beside those for all.

That their rules are right on every backend, in second order, forward mode and batches, the generic checker sees
(test_rules.py, test_batching.py)."""

from contextlib import contextmanager
from math import inf, nan

import numpy as np
import pytest
from array_libraries import values
from hypothesis import given
from hypothesis import strategies as st

import agrad
from agrad import backends, rules
from agrad.autograd import grad
from agrad.backends import numpy_windows
from agrad.func import vmap
from agrad.nn.functional.ops import nn

GEOMETRIES = {  # shape of x, of the weight, stride, padding, dilation, groups
    "line": ((2, 3, 7), (4, 3, 3), (1,), (0,), (1,), 1),
    "far steps": ((1, 2, 9), (2, 2, 2), (4,), (1,), (1,), 1),
    "apart": ((2, 1, 9), (2, 1, 3), (2,), (2,), (3,), 1),
    "plane": ((2, 3, 6, 5), (4, 3, 3, 2), (1, 1), (0, 0), (1, 1), 1),
    "padded": ((1, 2, 5, 6), (3, 2, 3, 3), (2, 1), (1, 2), (1, 1), 1),
    "groups": ((2, 4, 5, 5), (6, 2, 2, 3), (1, 2), (1, 0), (2, 1), 2),
    "depthwise": ((2, 3, 4, 4), (6, 1, 3, 3), (1, 1), (1, 1), (1, 1), 3),
    "one element": ((2, 3, 4, 4), (2, 3, 1, 1), (3, 3), (0, 0), (1, 1), 1),
    "the whole plane": ((2, 3, 4, 5), (2, 3, 4, 5), (1, 1), (0, 0), (1, 1), 1),
    "space": ((1, 2, 4, 3, 5), (2, 2, 2, 2, 3), (1, 2, 1), (1, 0, 1), (1, 1, 2), 1),
    "no samples": ((0, 2, 4, 4), (3, 2, 2, 2), (1, 1), (0, 0), (1, 1), 1),
}
KINDS = ("float64", "complex128")


def draw(shape, kind="float64", seed=0):
    rng = np.random.default_rng([seed, *shape])
    return rng.normal(size=shape) + (1j * rng.normal(size=shape) if kind == "complex128" else 0)


def evenly(padding):
    return tuple((n, n) for n in padding)


def of_torch(name, n):
    torch = pytest.importorskip("torch")
    return getattr(torch.nn.functional, f"{name}{n}d")


def with_derivatives(library, function, arrays):
    """Result, gradients of a weighted sum, and gradients of another of these, as NumPy arrays."""
    leaves = [library.tensor(a, requires_grad=True) for a in arrays]
    out = function(*leaves)
    first = library.autograd.grad(weighted(library, out), leaves, create_graph=True)
    moving = [weighted(library, g) for g in first if g.requires_grad]
    second = library.autograd.grad(sum(moving), leaves, allow_unused=True) if moving else ()
    return [None if t is None else t.detach().numpy() for t in (out, *first, *second)]


def weighted(library, x):
    """A real number that depends on each element in its own way."""
    weights = library.tensor(np.cos(np.arange(np.prod(x.shape, dtype=int))).reshape(x.shape))
    if "complex" not in str(x.dtype):
        return (x * weights).sum()
    return (library.real(x) * weights).sum() + (library.imag(x) * weights * weights).sum()


def agree(ours, theirs, *arrays):
    """A function of agrad and one of torch: values, gradients and second derivatives."""
    torch = pytest.importorskip("torch")
    for a, b in zip(with_derivatives(agrad, ours, arrays), with_derivatives(torch, theirs, arrays), strict=True):
        close(np.zeros(()) if a is None else a, np.zeros(()) if b is None else b)


def close(a, b, tolerance=1e-10):
    np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance)


# --------------------------------------------------------------------------------------------------------- convolution


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", GEOMETRIES)
def test_convolution_is_pytorchs(name, kind, backend):
    x, weight, stride, padding, dilation, groups = GEOMETRIES[name]
    theirs = of_torch("conv", len(stride))
    agree(
        lambda x, w: nn.convolution(
            x, w, stride=stride, padding=evenly(padding), dilation=dilation, groups=groups),
        lambda x, w: theirs(x, w, stride=stride, padding=padding, dilation=dilation, groups=groups),
        draw(x, kind), draw(weight, kind),
    )


def transposed(y, weight, stride, padding, extra, dilation, groups):
    """Transposed convolution in PyTorch's words: `extra` is its output_padding."""
    each = zip(y.shape[2:], weight.shape[2:], stride, padding, extra, dilation, strict=True)
    size = tuple((n - 1) * s - 2 * p + d * (k - 1) + e + 1 for n, k, s, p, e, d in each)
    around = tuple((p, p - e) for p, e in zip(padding, extra, strict=True))
    return nn.convolution_input(
        y, weight, size=size, stride=stride, padding=around, dilation=dilation, groups=groups
    )


TRANSPOSED = {  # shape of y, of the weight, stride, padding, output_padding, dilation, groups
    "line": ((2, 3, 4), (3, 2, 3), (2,), (1,), (1,), (1,), 1),
    "more than the padding": ((1, 2, 4), (2, 1, 2), (3,), (1,), (2,), (1,), 1),
    "as much as a step": ((1, 2, 4), (2, 1, 2), (2,), (0,), (2,), (3,), 1),
    "plane": ((2, 4, 3, 2), (4, 3, 2, 3), (1, 2), (0, 1), (0, 1), (2, 1), 2),
    "space": ((1, 2, 2, 3, 2), (2, 2, 2, 1, 2), (2, 1, 1), (1, 0, 0), (0, 0, 0), (1, 1, 2), 1),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", TRANSPOSED)
def test_transposed_convolution_is_pytorchs(name, kind, backend):
    y, weight, stride, padding, extra, dilation, groups = TRANSPOSED[name]
    theirs = of_torch("conv_transpose", len(stride))
    agree(
        lambda y, w: transposed(y, w, stride, padding, extra, dilation, groups),
        lambda y, w: theirs(
            y, w, stride=stride, padding=padding, output_padding=extra, dilation=dilation, groups=groups),
        draw(y, kind), draw(weight, kind),
    )


def test_the_weights_gradient_as_an_op_of_its_own_is_pytorchs(backend):
    torch = pytest.importorskip("torch")
    x, y = draw((2, 4, 6, 5)), draw((2, 6, 3, 5), seed=1)
    found = nn.convolution_weight(
        agrad.tensor(x), agrad.tensor(y), size=(3, 2), stride=(2, 1), padding=((1, 1), (1, 0)), dilation=(1, 1),
        groups=2,
    )
    wide = torch.nn.functional.pad(torch.tensor(x), (1, 0, 1, 1))
    close(values(found), torch.nn.grad.conv2d_weight(wide, (6, 2, 3, 2), torch.tensor(y), (2, 1), 0, 1, 2).numpy())


@pytest.mark.parametrize("samples", [1, 2, 5, 1000])
def test_the_number_of_samples_that_are_computed_together_does_not_matter(samples, monkeypatch):
    x, weight = (agrad.tensor(draw(shape), requires_grad=True) for shape in ((5, 2, 4, 4), (3, 2, 3, 3)))
    how = {"stride": (1, 1), "padding": ((1, 1), (0, 0)), "dilation": (1, 1)}

    def everything():
        y = nn.convolution(x, weight, **how)
        return [values(t) for t in (y, *grad((y * y).sum(), (x, weight)))]

    expected = everything()
    monkeypatch.setattr(numpy_windows, "CACHED", samples * 18 * 8)
    for a, b in zip(everything(), expected, strict=True):
        close(a, b)


def test_dtypes_mix_as_in_products(backend):
    x, weight = agrad.ones((1, 1, 3), dtype=agrad.float32), agrad.ones((1, 1, 2), dtype=agrad.float64)
    for tensor in (x, weight):
        tensor.requires_grad_()
    y = nn.convolution(x, weight, stride=(1,), padding=((0, 0),), dilation=(1,))
    assert (y.dtype, y.tolist()) == (agrad.float64, [[[2.0, 2.0]]])
    assert [g.dtype for g in grad(y.sum(), (x, weight))] == [agrad.float32, agrad.float64]


def test_half_precision_on_numpy():
    x, weight = (agrad.tensor(draw(shape), dtype=agrad.float16) for shape in ((2, 3, 5, 5), (4, 3, 3, 3)))
    how = {"stride": (1, 1), "padding": ((1, 1), (1, 1)), "dilation": (1, 1)}
    found = nn.convolution(x, weight, **how)
    assert found.dtype == agrad.float16
    close(values(found), values(nn.convolution(x.to(agrad.float64), weight.to(agrad.float64), **how)), 2e-2)
    assert nn.max_pool(x, size=(2, 2), stride=(2, 2), padding=((0, 0), (0, 0)), dilation=(1, 1))[0].dtype == x.dtype


def test_whole_numbers_have_convolutions_too(backend):
    x, weight = agrad.arange(4, dtype=agrad.int64), agrad.asarray([1, 10], dtype=agrad.int64)
    y = nn.convolution(
        x.reshape(1, 1, 4), weight.reshape(1, 1, 2), stride=(1,), padding=((1, 0),), dilation=(1,))
    assert (y.dtype, y.tolist()) == (agrad.int64, [[[0, 10, 21, 32]]])
    found, which = nn.max_pool(x, size=(2,), stride=(2,), padding=((0, 0),), dilation=(1,))
    assert (found.tolist(), which.tolist()) == ([1, 3], [1, 3])


# ------------------------------------------------------------------------------------------------------------- pooling

POOLS = {  # shape, size, stride, padding, dilation, ceil_mode
    "line": ((2, 3, 7), (2,), (2,), (0,), (1,), False),
    "plane": ((2, 3, 6, 6), (2, 2), (2, 2), (0, 0), (1, 1), False),
    "overlapping": ((1, 2, 5, 7), (3, 2), (1, 2), (1, 1), (1, 1), False),
    "apart": ((1, 1, 7, 8), (3, 2), (2, 3), (1, 1), (2, 3), False),
    "rounded up": ((1, 2, 5, 6), (2, 3), (2, 2), (1, 0), (1, 1), True),
    "wide": ((1, 1, 2, 200), (1, 3), (1, 1), (0, 1), (1, 1), False),
    "space": ((1, 2, 4, 3, 5), (2, 1, 3), (2, 1, 2), (0, 0, 1), (1, 1, 1), False),
    "without a batch": ((2, 6, 4), (3, 2), (3, 2), (0, 0), (1, 1), False),
}


def pooled(x, size, stride, padding, dilation, rounds_up=False):
    """Values and places, in PyTorch's words."""
    lengths = x.shape[x.ndim - len(size) :]
    around = []
    for n, k, s, p, d in zip(lengths, size, stride, padding, dilation, strict=True):
        reach = d * (k - 1) + 1
        count = -(-(n + 2 * p - reach) // s) if rounds_up else (n + 2 * p - reach) // s
        count -= rounds_up and count * s >= n + p
        around.append((p, max(p, count * s + reach - n - p)))
    return nn.max_pool(x, size=size, stride=stride, padding=tuple(around), dilation=dilation)


@pytest.mark.parametrize("name", POOLS)
def test_pooling_by_the_largest_is_pytorchs(name, backend):
    shape, *how, rounds_up = POOLS[name]
    theirs = of_torch("max_pool", len(how[0]))
    torch = pytest.importorskip("torch")
    x = draw(shape)
    found, which = theirs(torch.tensor(x), *how, ceil_mode=rounds_up, return_indices=True)
    ours, places = pooled(agrad.tensor(x), *how, rounds_up)
    assert places.dtype == agrad.int64
    close(values(ours), found.numpy())
    assert np.array_equal(values(places), which.numpy())
    agree(
        lambda x: pooled(x, *how, rounds_up)[0] ** 3,
        lambda x: theirs(x, *how, ceil_mode=rounds_up) ** 3, x,
    )


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("numbers", [
    [1.0, 1.0, 0.0, 1.0, 1.0], [nan, 1.0, nan, nan, 2.0], [-inf] * 5, [-0.0, 0.0, 0.0, -0.0, -1.0],
    [inf, inf, nan, inf, 0.0],
])
@pytest.mark.parametrize(("size", "stride", "padding"), [(2, 1, 0), (3, 2, 1), (5, 1, 2), (2, 2, 1)])
def test_of_equal_elements_and_nan_the_same_is_chosen_as_by_pytorch(numbers, size, stride, padding, dtype, backend):
    torch = pytest.importorskip("torch")
    x = np.array([numbers, numbers[::-1]], dtype)
    expected = torch.nn.functional.max_pool1d(torch.tensor(x)[None], size, stride, padding, return_indices=True)
    found = pooled(agrad.tensor(x), (size,), (stride,), (padding,), (1,))
    for a, b in zip(found, expected, strict=True):
        assert np.array_equal(values(a), b[0].numpy(), equal_nan=True)


def test_largest_elements_go_back_to_their_places(backend):
    torch = pytest.importorskip("torch")
    x = draw((2, 3, 6, 4))
    found, which = pooled(agrad.tensor(x), (2, 2), (2, 2), (0, 0), (1, 1))
    theirs = torch.nn.functional.max_pool2d(torch.tensor(x), 2, return_indices=True)
    back = nn.unpool(found, which, shape=(6, 4))
    close(values(back), torch.nn.functional.max_unpool2d(*theirs, 2).numpy())
    assert nn.unpool(found[:0], which[:0], shape=(6, 4)).shape == (0, 3, 6, 4)


@pytest.mark.parametrize("dtype", ["float32", "complex128"])
@pytest.mark.parametrize("place", [-1, 4])
def test_a_place_that_is_not_there_is_an_error_on_numpy(place, dtype):
    x, which = agrad.ones((2, 1), dtype=dtype), agrad.asarray([[0], [place]])
    with pytest.raises(IndexError, match=r"unpool: there are places that \(4,\) has not"):
        nn.unpool(x, which, shape=(4,))


# ------------------------------------------------------------------------------------------------------------- windows


@pytest.mark.parametrize(("size", "stride", "dilation"), [
    ((2, 3), (1, 1), (1, 1)), ((2, 2), (2, 3), (1, 1)), ((3, 2), (1, 2), (2, 3)), ((5, 6), (1, 1), (1, 1)),
])
def test_windows_and_their_overlap_are_pytorchs_unfold_and_fold(size, stride, dilation, backend):
    torch = pytest.importorskip("torch")
    x = draw((2, 3, 5, 6))
    found = nn.windows(agrad.tensor(x), size=size, stride=stride, dilation=dilation)
    blocks = torch.nn.functional.unfold(torch.tensor(x), size, dilation=dilation, stride=stride)
    close(values(found).transpose(0, 1, 4, 5, 2, 3).reshape(blocks.shape), blocks.numpy())
    back = nn.overlap_add(found, shape=(5, 6), stride=stride, dilation=dilation)
    close(values(back), torch.nn.functional.fold(blocks, (5, 6), size, dilation=dilation, stride=stride).numpy())


def test_windows_share_no_memory_with_what_they_show(backend):
    x = agrad.zeros((4,))
    seen = nn.windows(x, size=(2,), stride=(1,), dilation=(1,))
    x[1] = 1.0
    assert seen.tolist() == [[0.0, 0.0]] * 3


# ----------------------------------------------------------------------------- NumPy's kernels and those for everybody


def generic(name, *arrays, **how):
    """What the kernel for all libraries gives."""
    found = rules.find(name).record.kernels["*"](*arrays, xp=backends.find("numpy").xp, **how)
    return found if isinstance(found, tuple) else (found,)


LAYOUTS = {
    "rows": lambda a: a,
    "channels first": lambda a: np.ascontiguousarray(a.swapaxes(0, 1)).swapaxes(0, 1),
    "channels last": lambda a: np.moveaxis(np.ascontiguousarray(np.moveaxis(a, 1, -1)), -1, 1),
    "columns": np.asfortranarray,
    "backwards": lambda a: np.ascontiguousarray(a[..., ::-1])[..., ::-1],
    "upside down": lambda a: np.ascontiguousarray(a[:, :, ::-1])[:, :, ::-1],
    "gaps": lambda a: np.stack([a, a + 1], axis=-1)[..., 0],
    "read-only": lambda a: frozen(a.copy()),
    "swapped bytes": lambda a: a.astype(a.dtype.newbyteorder(">")),
    "not aligned": lambda a: unaligned(a),
}


def frozen(a):
    a.setflags(write=False)
    return a


def unaligned(a):
    raw = np.zeros(a.nbytes + 1, np.uint8)[1:].view(a.dtype).reshape(a.shape)
    raw[...] = a
    return raw


TYPES = ("float32", "float64", "complex64", "int64")


@st.composite
def convolutions(draw):
    """x, weight and y in some dtype and order in memory, and how the weight moves."""
    n, groups = draw(st.integers(1, 3)), draw(st.integers(1, 2))
    numbers = lambda low, high: tuple(draw(st.integers(low, high)) for _ in range(n))   # noqa: E731
    size, stride, dilation = numbers(1, 3), numbers(1, 3), numbers(1, 2)
    padding = tuple((draw(st.integers(-1, 2)), draw(st.integers(-1, 2))) for _ in range(n))
    more = numbers(0, 3)
    lengths = tuple(
        max(1, (k - 1) * d + 1 - low - high) + extra
        for k, d, (low, high), extra in zip(size, dilation, padding, more, strict=True)
    )
    x = draw(st.integers(0, 3)), groups * draw(st.integers(0, 2)), *lengths
    weight = groups * draw(st.integers(0, 2)), x[1] // groups, *size
    dtype = draw(st.sampled_from(TYPES))
    return x, weight, stride, padding, dilation, groups, dtype, draw(st.sampled_from(list(LAYOUTS)))


def drawn(shape, dtype, layout, seed):
    return LAYOUTS[layout](np.asarray(3 * draw(shape, "complex128", seed)).astype(dtype)
                           if dtype.startswith("complex") else (3 * draw(shape, seed=seed)).astype(dtype))


@contextmanager
def loops(compiled):
    """NumPy's kernels with or without what is compiled."""
    before = numpy_windows.compiled
    numpy_windows.compiled = before if compiled else None
    try:
        yield
    finally:
        numpy_windows.compiled = before


@given(convolutions(), st.booleans())
def test_numpys_convolutions_are_those_of_everybody(case, compiled):
    x, weight, stride, padding, dilation, groups, dtype, layout = case
    how = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}
    a, w = drawn(x, dtype, layout, 0), drawn(weight, dtype, layout, 1)
    (y,) = generic("nn.convolution", a, w, **how)
    (to_x,) = generic("nn.convolution_input", y, w, size=x[2:], **how)
    (to_weight,) = generic("nn.convolution_weight", a, y, size=weight[2:], **how)
    with loops(compiled):
        same(numpy_windows.convolution(a, w, **how), y)
        y = LAYOUTS[layout](y)
        same(numpy_windows.convolution_input(y, w, size=x[2:], **how), to_x)
        same(numpy_windows.convolution_weight(a, y, size=weight[2:], **how), to_weight)


def same(found, expected):
    assert (found.shape, found.dtype) == (expected.shape, expected.dtype.newbyteorder("="))
    close(found, expected, 1e-3 if found.dtype.char in "fF" else 1e-10)


@st.composite
def pools(draw):
    """The arguments of max_pool, and in which dtype and order in memory x is."""
    n, front = draw(st.integers(1, 3)), tuple(draw(st.lists(st.integers(0, 3), max_size=3)))
    how, lengths = {"size": [], "stride": [], "padding": [], "dilation": []}, []
    for _ in range(n):
        k, d = draw(st.integers(1, 3)), draw(st.integers(1, 2))
        low, high = (draw(st.integers(-1, k // 2)) for _ in range(2))
        lengths.append(max(1 + (k > 1), (k - 1) * d + 1 - low - high) + draw(st.integers(0, 6)))
        for name, value in zip(how, (k, draw(st.integers(1, 3)), (low, high), d), strict=True):
            how[name].append(value)
    kind = draw(st.sampled_from(["float32", "float64", "int32"]))
    return (*front, *lengths), {k: tuple(v) for k, v in how.items()}, kind, draw(st.sampled_from(list(LAYOUTS)))


@given(pools(), st.booleans())
def test_numpys_pools_are_those_of_everybody(case, compiled):
    """Numbers repeat, and some are nan."""
    shape, how, dtype, layout = case
    x = np.round(draw(shape)).astype(dtype)
    if dtype != "int32" and x.size:
        x.flat[:: 7] = nan
    x = LAYOUTS[layout](x) if x.ndim > 2 or layout in ("rows", "columns", "backwards", "gaps") else x
    lengths = shape[len(shape) - len(how["size"]) :]
    expected = generic("nn.max_pool", x, **how)
    (back,) = generic("nn.unpool", *expected, shape=lengths)
    with loops(compiled):
        found = numpy_windows.max_pool(x, **how)
        for a, b in zip(found, expected, strict=True):
            assert (a.shape, a.dtype) == (b.shape, b.dtype.newbyteorder("="))
            assert np.array_equal(a, b, equal_nan=True)
        np.testing.assert_array_equal(numpy_windows.unpool(*found, shape=lengths), back)


def test_results_of_numpys_kernels_are_what_the_next_one_reads_without_a_copy():
    """Channels come first in memory, whatever comes in between."""
    x, weight = agrad.tensor(draw((3, 2, 8, 8))), agrad.tensor(draw((4, 2, 3, 3)))
    y = nn.convolution(x, weight, stride=(1, 1), padding=((1, 1), (1, 1)), dilation=(1, 1))
    y = agrad.relu(y + agrad.ones((4, 1, 1)))
    y, which = nn.max_pool(y, size=(2, 2), stride=(2, 2), padding=((0, 0), (0, 0)), dilation=(1, 1))
    back = nn.unpool(y, which, shape=(8, 8))
    for tensor in (y, which, back):
        assert tensor.array.swapaxes(0, 1).flags.c_contiguous


def test_one_filter_in_each_group_takes_a_gradient_with_channels_last():
    y, w = draw((1, 4, 4, 3)).transpose(0, 3, 1, 2), np.broadcast_to(draw((1, 1, 1, 2)), (3, 1, 1, 2))
    how = {"size": (4, 5), "stride": (1, 1), "padding": evenly((0, 0)), "dilation": (1, 1), "groups": 3}
    same(numpy_windows.convolution_input(y, w, **how), generic("nn.convolution_input", y, w, **how)[0])


@pytest.mark.parametrize(("stride", "padding", "dilation", "place"), [
    (1, (0, (1 << 63) + (1 << 34) - 4), (1 << 61) + (1 << 32), 0),      # four of these steps are no number of 64 bits
    ((1 << 63) - 1, (2, 0), 1, 2),
])
def test_enormous_steps_do_not_lead_out_of_numpys_arrays(stride, padding, dilation, place):
    how = {"size": (5,), "stride": (stride,), "padding": (padding,), "dilation": (dilation,)}
    y, which = nn.max_pool(agrad.arange(5.0), **how)
    assert (y.tolist(), which.tolist()) == ([place], [place])


# ------------------------------------------------------------------------------------------------ transforms, programs


def test_gradients_of_each_sample_of_a_small_net(backend):
    """vmap of grad, where the weight is shared, gives what a loop gives; so it does where each sample has its own."""
    x = agrad.tensor(draw((3, 1, 6, 6)))
    weights = agrad.tensor(draw((3, 2, 1, 3, 3)))

    def loss(weight, image):
        y = nn.convolution(
            image[None], weight, stride=(1, 1), padding=((1, 1), (1, 1)), dilation=(1, 1))
        best, _ = nn.max_pool(agrad.tanh(y), size=(2, 2), stride=(2, 2), padding=((0, 0), (0, 0)), dilation=(1, 1))
        return (best * best).sum()

    gradient = agrad.func.grad(loss)
    for in_dims, first in (((None, 0), weights[0]), ((0, 0), weights)):
        found = vmap(gradient, in_dims)(first, x)
        expected = [gradient(weights[0] if in_dims[0] is None else weights[k], x[k]) for k in range(3)]
        close(values(found), values(agrad.stack(expected)))


def test_a_hessian_is_symmetric_and_right():
    """Of a sum of squares of convolutions it is twice the Gram matrix of what the weight meets."""
    x = agrad.tensor(draw((1, 1, 5)))
    how = {"stride": (1,), "padding": ((0, 0),), "dilation": (1,)}
    hessian = agrad.func.hessian(lambda w: (nn.convolution(x, w.reshape(1, 1, 3), **how) ** 2).sum())(agrad.ones(3))
    met = values(nn.windows(x, size=(3,), stride=(1,), dilation=(1,))).reshape(3, 3)
    close(values(hessian), 2 * met.T @ met)


@pytest.mark.parametrize("kind", ["float64"])
@pytest.mark.parametrize("name", ["padded", "groups"])
def test_jax_gives_what_numpy_gives(name, kind, wide):
    jax = pytest.importorskip("jax")
    x, weight, stride, padding, dilation, groups = GEOMETRIES[name]
    how = {"stride": stride, "padding": evenly(padding), "dilation": dilation, "groups": groups}

    def loss(x, weight):
        return (nn.convolution(x, weight, **how) ** 2).sum()

    arrays = draw(x, kind), draw(weight, kind)
    leaves = [agrad.tensor(a, requires_grad=True) for a in arrays]
    expected = [values(g) for g in grad(loss(*leaves), leaves)]
    with agrad.use_backend("jax"):
        leaves = [agrad.tensor(a, requires_grad=True) for a in arrays]
        found = [values(g) for g in grad(loss(*leaves), leaves)]
    program = jax.jit(lambda x, w: nn.convolution(agrad.asarray(x), agrad.asarray(w), **how).array)
    compiled = program(*map(jax.numpy.asarray, arrays))
    close(np.asarray(compiled), values(nn.convolution(*map(agrad.tensor, arrays), **how)))
    for a, b in zip(found, expected, strict=True):
        close(a, b)


def test_a_net_and_its_gradient_are_exported_for_any_number_of_samples(tmp_path):
    """Twice: a length that is open belongs to one model, and is not remembered for the next."""
    pytest.importorskip("spox")
    runtime = pytest.importorskip("onnxruntime")
    arrays = draw((4, 2, 6, 6)), draw((3, 2, 3, 3), seed=1)

    def gradient(x, weight):
        y = nn.convolution(x, weight, stride=(1, 1), padding=((1, 1), (1, 1)), dilation=(1, 1))
        best, _ = nn.max_pool(y, size=(2, 2), stride=(2, 2), padding=((0, 0), (0, 0)), dilation=(1, 1))
        return grad((best * best).sum(), weight)[0]

    def given():
        return agrad.tensor(arrays[0]), agrad.tensor(arrays[1], requires_grad=True)

    for number in range(2):
        path = tmp_path / f"{number}.onnx"
        agrad.export.onnx(gradient, given(), path, dynamic_axes={"x": {0: "N"}})
        session = runtime.InferenceSession(str(path))
        for n in (4, 1):
            (found,) = session.run(None, {"x": arrays[0][:n], "weight": arrays[1]})
            x, weight = given()
            close(found, values(gradient(x[:n], weight)))


# ------------------------------------------------------------------------------------------------------------ bad input

LINE = {"stride": (1,), "padding": ((0, 0),), "dilation": (1,)}
POOL = {"size": (2,), "stride": (1,), "padding": ((0, 0),), "dilation": (1,)}


@pytest.mark.parametrize(("call", "message"), [
    (lambda one: nn.convolution(one(1, 2, 4), one(1, 3, 2), **LINE), r"expects 3 channels.*\(1, 2, 4\)"),
    (lambda one: nn.convolution(one(1, 2, 4), one(3, 1, 2), groups=2, **LINE), "filters that 2 divides"),
    (lambda one: nn.convolution(one(1, 2, 4), one(2, 2, 2), groups=0, **LINE), "groups=0"),
    (lambda one: nn.convolution(one(2, 4), one(1, 2), **LINE), r"3 at least; got the shapes \(2, 4\)"),
    (lambda one: nn.convolution(one(1, 2, 4), one(1, 2, 2, 2), **LINE), "as many axes"),
    (lambda one: nn.convolution(one(1, 1, 2), one(1, 1, 3), **LINE), r"kernel of \(3,\).*larger than the input"),
    (lambda one: nn.convolution(one(1, 1, 4), one(1, 1, 3), **LINE | {"dilation": (2,)}), r"\(2,\) apart"),
    (lambda one: nn.convolution(one(1, 1, 4), one(1, 1, 2), **LINE | {"stride": (0,)}), "stride must be positive"),
    (lambda one: nn.convolution(one(1, 1, 4), one(1, 1, 2), **LINE | {"stride": (1, 1)}), "each of 1 axes"),
    (lambda one: nn.convolution_input(one(1, 1, 5), one(1, 1, 2), size=(4,), **LINE), r"output of.*\(1, 1, 3\)"),
    (lambda one: nn.convolution_weight(one(1, 1, 5), one(2, 1, 4), size=(2,), **LINE), r"output of the shape"),
    (lambda one: nn.max_pool(one(1, 1), **POOL), "larger than the input"),
    (lambda one: nn.max_pool(one(1, 3), **POOL | {"padding": ((2, 0),)}), "pad by half a window at most"),
    (lambda one: nn.max_pool(one(1, 3), **POOL | {"padding": ((0, 2),)}), "pad by half a window at most"),
    (lambda one: nn.max_pool(one(1, 1), **POOL | {"padding": ((1, 1),), "dilation": (2,)}), "half a window at most"),
    (lambda one: nn.windows(one(3), size=(4,), stride=(1,), dilation=(1,)), "larger than the input"),
    (lambda one: nn.overlap_add(one(3, 2), shape=(5,), stride=(1,), dilation=(1,)), r"has \(4,\) positions on \(5,\)"),
    (lambda one: nn.overlap_add(one(2), shape=(5,), stride=(1,), dilation=(1,)), "1 axes of positions"),
    (lambda one: nn.unpool(one(2, 3), one(3).to(agrad.int64), shape=(5,)), "in one shape"),
])
def test_what_does_not_fit_is_said_with_its_sizes(call, message, backend):
    with pytest.raises(ValueError, match=message):
        call(lambda *shape: agrad.ones(shape))
