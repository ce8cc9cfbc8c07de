"""The compiled short cuts for NumPy arrays give what NumPy gives, whatever the layout in memory."""

import re

import numpy as np
import pytest

from agrad import backends

xp = backends.find("numpy").xp
RNG = np.random.default_rng(0)

LAYOUTS = {
    "rows": lambda a: a, "columns": np.asfortranarray, "transposed": lambda a: a.T, "gaps": lambda a: a[::2],
    "backwards": lambda a: a[::-1], "repeated": lambda a: np.broadcast_to(a, (3, *a.shape)),
    "permuted": lambda a: a.reshape(2, 2, 6).transpose(2, 0, 1), "empty": lambda a: a[:0],
    "0-d": lambda a: a[0, 0, ...], "swapped": lambda a: a.astype(a.dtype.newbyteorder("S")),
}
LAID_OUT = pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS)
DTYPES = pytest.mark.parametrize("dtype", ["float16", "float32", "float64", "int32"])


def numbers(dtype, layout):
    a = (RNG.standard_normal((4, 6)) * 9).astype(dtype)
    if a.dtype.kind == "f":
        a[0, 1], a[1, 2], a[2, 3] = np.nan, np.inf, -0.0
    return layout(a)


def same(found, expected, *given):
    assert np.asarray(found).dtype == np.asarray(expected).dtype.newbyteorder("=")
    np.testing.assert_array_equal(found, expected)
    if isinstance(found, np.ndarray) and isinstance(expected, np.ndarray):
        assert found.strides == expected.strides
    for array in given:
        assert not np.may_share_memory(found, array) or array.size == 0


@LAID_OUT
@DTYPES
def test_where(dtype, layout):
    mask = layout(RNG.random((4, 6)) > 0.5).astype(bool)
    a, b = numbers(dtype, layout), numbers(dtype, layout)
    choices = [(a, b), (a, 0), (0, a), (a, 1.5), (np.float64(2), a), (a, float("nan")), (a, True), (a, b.ravel()[:1])]
    for x1, x2 in choices:
        if not np.size(x1) or not np.size(x2):
            continue
        same(xp.where(mask, x1, x2), np.where(mask, x1, x2), a, b)


@LAID_OUT
@DTYPES
def test_relu(dtype, layout):
    a = numbers(dtype, layout)
    before = a.copy()
    same(xp.relu(a), np.maximum(a, a.dtype.type(0)), a)
    np.testing.assert_array_equal(a, before)


@LAID_OUT
@pytest.mark.parametrize(
    "shape",
    [(4, 6), (2, 4, 6), (6, 4), (2, 6, 4), (3, 4, 6), (1,), (), (0, 6), (5, 0, 6), (6, 2, 2), (7,), (2, -1), (4,)],
    ids=str,
)
def test_broadcast_to(layout, shape):
    a = numbers("float64", layout)
    try:
        expected = np.broadcast_to(a, shape)
    except ValueError as error:
        with pytest.raises(ValueError, match=re.escape(str(error))):
            xp.broadcast_to(a, shape)
        return
    found = xp.broadcast_to(a, shape)
    assert found.shape == expected.shape
    np.testing.assert_array_equal(found, expected)
    assert not found.flags.writeable
    assert found.flags.c_contiguous == expected.flags.c_contiguous
    del a
    np.testing.assert_array_equal(found, expected)


@DTYPES
@pytest.mark.parametrize("axis", [None, 0, -1, (0, 1), ()], ids=str)
@pytest.mark.parametrize("keepdims", [False, True])
def test_reductions(dtype, axis, keepdims):
    a = (RNG.standard_normal((4, 6)) * 9).astype(dtype)
    for name in ("max", "min", *(("mean",) if dtype != "int32" else ())):
        found = getattr(xp, name)(a, axis=axis, keepdims=keepdims)
        expected = getattr(np, name)(a, axis=axis, keepdims=keepdims)
        assert found.dtype == expected.dtype
        assert found.shape == expected.shape
        np.testing.assert_allclose(found, expected, rtol=1e-6)


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
@pytest.mark.parametrize("shape", [(5, 3), (1, 1), (4, 0, 3), (0, 3), (2, 3, 4), (600, 10)], ids=str)
def test_class_losses_and_their_slopes(dtype, shape):
    x = (RNG.standard_normal(shape) * 5).astype(dtype)
    x.ravel()[1:2] = -np.inf
    target = RNG.integers(0, shape[-1], shape[:-1])
    factor = RNG.standard_normal(shape[:-1]).astype(dtype)
    log_p = x - np.log(np.sum(np.exp(x.astype(float)), axis=-1, keepdims=True))
    right = np.arange(shape[-1]) == target[..., None]
    rtol = 20 * np.finfo(dtype).eps
    losses, slopes = xp.nn.class_losses(x, target), xp.nn.class_slopes(factor, x, target)
    assert losses.dtype == slopes.dtype == x.dtype
    np.testing.assert_allclose(losses, -np.sum(np.where(right, log_p, 0), axis=-1), rtol=rtol, atol=rtol)
    np.testing.assert_allclose(slopes, factor[..., None] * (np.exp(log_p) - right), rtol=rtol, atol=4 * rtol)


def test_a_target_out_of_range_reads_no_foreign_memory():
    x = RNG.standard_normal((2, 3))
    for target in ([0, 3], [-4, 0]):
        with pytest.raises(IndexError):
            xp.nn.class_losses(x, np.asarray(target))


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", "int32"])
@pytest.mark.parametrize(
    "shape", [(5, 3, 4), (2, 40, 9), (1, 6, 1), (0, 3, 4), (3, 0, 2), (3, 2, 0), (17, 200, 33)], ids=str
)
def test_linear(dtype, shape):
    rows, inputs, outputs = shape
    x, weight, bias = ((RNG.standard_normal(s) * 9).astype(dtype) for s in ((rows, inputs), (outputs, inputs), outputs))
    rtol = {"float16": 1e-2, "float32": 1e-4}.get(dtype, 1e-12)
    for bias_given in (bias, None, bias.astype("float64"), bias[::-1]):
        expected = np.matmul(x, weight.T) + (0 if bias_given is None else bias_given)
        for x_given in (x, np.asfortranarray(x), x[::-1][::-1]):
            found = xp.nn.linear(x_given, weight, bias_given)
            assert found.dtype == np.result_type(x, *(() if bias_given is None else (bias_given,)))
            np.testing.assert_allclose(found, expected, rtol=rtol, atol=rtol * 100)


@pytest.mark.parametrize("shape", [(4,), (2, 3, 4), (2, 0, 4), (2, 3, 0), (2, 2, 2, 4)], ids=str)
def test_linear_takes_any_number_of_axes(shape):
    x, weight, bias = (RNG.standard_normal(s) for s in (shape, (5, shape[-1]), 5))
    for turned in (x, np.moveaxis(np.moveaxis(x, 0, -2).copy(), -2, 0) if x.ndim > 2 else x):
        found = xp.nn.linear(turned, weight, bias)
        assert found.shape == (*shape[:-1], 5)
        np.testing.assert_allclose(found, np.matmul(turned, weight.T) + bias, rtol=1e-12, atol=1e-12)
