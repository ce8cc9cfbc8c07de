"""Adapters may not drift: the same writes, views and oddities of libraries, evened out, on every installed backend.

What a program means is said once, by NumPy's own arrays or by a literal, and every backend must agree.
"""

import numpy as np
import pytest
from array_libraries import BACKENDS, values

import agrad

STRICT_DEVICES = ("CPU_DEVICE", "device1")


@pytest.fixture
def strict():
    return pytest.importorskip("array_api_strict")


# ----------------------------------------------------------------------------------------------------- writes and views


def view_of_a_view(m, x):
    x[1:][:, 1] += 10
    return x


def two_views(m, x):
    row, column = x[0], x[:, 0]
    row *= 2
    column += 100
    return x + row


def overlapping(m, x):
    x[1:] = x[:-1]
    return x


def overlapping_in_place(m, x):
    x[:, 1:] += x[:, :-1]
    return x


def reversed_rows(m, x):
    x[::-1] = x * 1
    return x


def reshaped(m, x):
    m.reshape(x, (-1,))[4] = -1.0
    return x


def transposed(m, x):
    x.T[2] = 7.0
    return x


def mask_of_a_view(m, x):
    view = x[:, :2]
    view[view > 1] = 0.0
    return x


def integers_of_a_view(m, x):
    x[:, 1:][[0, 0], [1, 1]] = -3.0
    return x


def an_int_is_a_view(m, x):
    row = x[1]
    row[...] = 5.0
    return x


def integers_are_a_copy(m, x):
    rows = x[[0, 1]]
    rows += 100
    return x


def a_mask_is_a_copy(m, x):
    some = x[x > 2]
    some += 100
    return x


WRITES = (
    view_of_a_view,
    two_views,
    overlapping,
    overlapping_in_place,
    reversed_rows,
    reshaped,
    transposed,
    mask_of_a_view,
    integers_of_a_view,
    an_int_is_a_view,
    integers_are_a_copy,
    a_mask_is_a_copy,
)


@pytest.mark.parametrize("program", WRITES, ids=lambda p: p.__name__)
def test_writes_reach_the_same_elements_as_in_numpy(backend, program, doubles):
    expected = program(np, np.arange(6.0).reshape(2, 3))
    np.testing.assert_array_equal(values(program(agrad, agrad.tensor(np.arange(6.0).reshape(2, 3)))), expected)


@pytest.mark.parametrize("program", WRITES, ids=lambda p: p.__name__)
def test_gradients_pass_through_writes_as_on_numpy(backend, program, doubles):
    def gradient():
        x = agrad.tensor(np.arange(6.0).reshape(2, 3), requires_grad=True)
        y = program(agrad, x * 1)
        (y * y * agrad.asarray(np.arange(1.0, 7).reshape(2, 3))).sum().backward()
        return values(x.grad)

    with agrad.use_backend("numpy"):
        expected = gradient()
    np.testing.assert_array_equal(gradient(), expected)


@pytest.mark.parametrize("offset", [-1, 0, 1])
@pytest.mark.parametrize("name", [*BACKENDS, "jax"])
def test_writes_to_a_diagonal_reach_the_matrix(name, offset):
    pytest.importorskip(name)
    with agrad.use_backend(name):
        x = agrad.tensor(np.arange(18.0).reshape(2, 3, 3), dtype=agrad.float64, requires_grad=True)
        y = x * 1
        agrad.linalg.diagonal(y, offset=offset).mul_(10)
        (y * y).sum().backward()
    factor = np.where(np.eye(3, k=offset) == 1, 10.0, 1.0)
    np.testing.assert_array_equal(values(y.detach()), np.arange(18.0).reshape(2, 3, 3) * factor)
    np.testing.assert_array_equal(values(x.grad), 2 * np.arange(18.0).reshape(2, 3, 3) * factor**2)


@pytest.mark.parametrize(
    "make", [lambda: 1, lambda: agrad.asarray(1), lambda: np.int64(1)], ids=["int", "Tensor", "NumPy"]
)
def test_an_integer_of_any_kind_makes_a_view(backend, make, doubles):
    x = agrad.tensor(np.arange(6.0).reshape(2, 3))
    row = x[make()]
    row += 100
    assert x.tolist() == [[0.0, 1.0, 2.0], [103.0, 104.0, 105.0]]
    assert row._version == x._version == 1


def test_every_in_place_operator_writes_into_the_array(backend, doubles):
    x = agrad.asarray(np.arange(1.0, 4))
    raw = x.array
    x += 2
    x *= agrad.asarray([1.0, 2.0, 3.0])
    x -= agrad.asarray(1.0)
    x /= 2.0
    x **= 2
    x[0] = 0.0
    x.add_(agrad.ones(3), alpha=2).neg_()
    assert x.tolist() == [-2.0, -14.25, -51.0]
    assert values(agrad.asarray(raw)).tolist() == x.tolist()


def test_a_detached_twin_sees_writes(backend):
    x = agrad.ones(2)
    twin = x.detach()
    x += 1
    twin[0] = 7.0
    assert x.tolist() == twin.tolist() == [7.0, 2.0]
    assert x._version == twin._version == 2


def test_a_saved_value_that_was_written_over_is_noticed(backend):
    x = agrad.tensor([1.0, 2.0], requires_grad=True)
    y = x * 2
    z = y * y
    y[:1][0] = 5.0
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        z.sum().backward()


def test_values_are_cast_to_the_dtype_that_they_are_written_into(backend):
    x = agrad.zeros(3, dtype=agrad.float32)
    x[0] = agrad.asarray(1.5, dtype=agrad.float64)
    x[[1]] = agrad.asarray([2], dtype=agrad.int64)
    x += agrad.asarray(1.0, dtype=agrad.float64)
    assert (x.dtype, x.tolist()) == (agrad.float32, [2.5, 3.0, 1.0])
    counts = agrad.asarray([1, 2])
    for value in (agrad.asarray(0.5), agrad.asarray([0.5, 1.5])):
        with pytest.raises(RuntimeError, match="can't be cast"):
            counts[...] = value
    assert counts.tolist() == [1, 2]


def test_gradients_are_arrays_of_their_own(backend, doubles):
    x, y = agrad.ones(2, requires_grad=True), agrad.ones(2, requires_grad=True)
    (x + y).backward(seed := agrad.ones(2))
    x.grad += 1
    assert (x.grad.tolist(), y.grad.tolist(), seed.tolist()) == ([2.0, 2.0], [1.0, 1.0], [1.0, 1.0])
    w = agrad.ones(3, requires_grad=True)
    w.sum().backward()  # the gradient of a sum is broadcast, and must become writable
    w.grad[0] = 5.0
    w.sum().backward()
    assert w.grad.tolist() == [6.0, 2.0, 2.0]


# -------------------------------------------------------------------------------- what libraries do in their own ways

MATRIX = np.arange(12.0).reshape(3, 4)
QUIRKS = {
    "roll by one number along several axes": (lambda m, x: m.roll(x, 1, axis=(0, 1)), np.roll(MATRIX, (1, 1), (0, 1))),
    "roll without axis": (lambda m, x: m.roll(x, 5), np.roll(MATRIX, 5)),
    "a correction that is no integer": (
        lambda m, x: m.std(x, axis=0, correction=0.5),
        np.std(MATRIX, axis=0, ddof=0.5),
    ),
    "sum over no axes": (lambda m, x: m.sum(x, axis=()), MATRIX),
    "sum of booleans": (lambda m, x: m.sum(m.astype(x > 2, m.int64)), np.int64(9)),
    "product over two axes": (lambda m, x: m.prod(x + 1, axis=(0, 1)), np.prod(MATRIX + 1)),
    "a maximum over no axes": (lambda m, x: m.max(x, axis=()), MATRIX),
    "a mean that keeps all axes": (lambda m, x: m.mean(x, keepdims=True), np.mean(MATRIX, keepdims=True)),
    "clip by a number and an array": (lambda m, x: m.clip(x, 2.0, m.asarray(5.0)), np.clip(MATRIX, 2, 5)),
    "a number on the left": (lambda m, x: m.maximum(3.0, x), np.maximum(3, MATRIX)),
    "a number on the left of pow": (lambda m, x: m.pow(2.0, x), 2**MATRIX),
    "a number on the left of a comparison": (lambda m, x: m.less(3.0, x), MATRIX > 3),
    "sort downwards": (lambda m, x: m.sort(x, axis=1, descending=True), MATRIX[:, ::-1]),
    "take at negative places": (lambda m, x: m.take(x, m.asarray([-1, 0]), axis=1), MATRIX[:, [-1, 0]]),
    "take at short integers": (lambda m, x: m.take(x, m.asarray([1], dtype=m.int16), axis=0), MATRIX[1:2]),
    "concat without axis": (
        lambda m, x: m.concat([x, x[:1]], axis=None),
        np.concatenate([MATRIX, MATRIX[:1]], axis=None),
    ),
    "searchsorted": (lambda m, x: m.searchsorted(x[0], m.asarray([1.5, 9.0])), np.array([2, 4])),
    "unique_all": (lambda m, x: m.unique_all(m.asarray([3, 1, 3, 2, 1])).indices, np.array([1, 3, 0])),
    "count_nonzero": (lambda m, x: m.count_nonzero(x, axis=0, keepdims=True), np.array([[2, 3, 3, 3]])),
    "repeat": (lambda m, x: m.repeat(x[0], m.asarray([0, 2, 0, 1])), np.array([1.0, 1.0, 3.0])),
    "matmul of two dtypes": (lambda m, x: m.matmul(x, m.ones((4,), dtype=m.float32)), MATRIX.sum(1)),
    "flip": (lambda m, x: m.flip(x, axis=-1), MATRIX[:, ::-1]),
    "expand_dims by two axes": (lambda m, x: m.expand_dims(x[0], axis=(0, -1)), MATRIX[0][None, :, None]),
    "conj of real numbers": (lambda m, x: m.conj(m.astype(x, m.complex128)), MATRIX.astype(complex)),
}


@pytest.mark.parametrize("name", QUIRKS)
def test_what_a_library_does_in_its_own_way_is_evened_out(backend, name, doubles):
    program, expected = QUIRKS[name]
    np.testing.assert_allclose(values(program(agrad, agrad.asarray(MATRIX))), expected, rtol=1e-14, strict=True)


def test_zero_dimensional_results_are_tensors(backend):
    x = agrad.asarray(MATRIX)
    for result in (x.sum(), x[0, 0], x[0, 0] + 1, x.max(), agrad.sin(x[0, 0])):
        assert isinstance(result, agrad.Tensor)
        assert result.shape == ()
        assert type(result.item()) is float


def test_devices_of_the_standard_are_not_mixed(strict):
    x, y = agrad.namespaces.array_api_strict.ones(2), agrad.namespaces.array_api_strict.ones(2, device="device1")
    with pytest.raises(ValueError, match="different devices"):
        x + y


@pytest.mark.parametrize("device", STRICT_DEVICES)
def test_everything_works_on_another_device(strict, device, doubles):
    with agrad.use_backend("array_api_strict", device=device):
        mask = np.array([True, False, True])
        for key in (slice(None, None, -1), (slice(None), mask), (slice(None), [2, 2]), [1, 0], agrad.asarray([1]), 1):
            x = agrad.tensor(np.arange(6.0).reshape(2, 3), requires_grad=True)
            y = x * 1
            y[key] = y[key] * 2
            y[:1] += 1
            agrad.sum(agrad.std(agrad.where(y > 3, y, 0.0), axis=0)).backward()
            assert x.grad.device == x.device == agrad.get_default_device()
