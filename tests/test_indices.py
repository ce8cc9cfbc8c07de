"""Every kind of index reads, writes and differentiates the same on every backend; NumPy's own arrays say how."""

import numpy as np
import pytest

import agrad


def values(t):
    return t.detach().numpy()


@pytest.fixture(autouse=True)
def doubles():
    """Python floats become float64 on every backend."""
    agrad.set_default_dtype(agrad.float64)
    yield
    agrad.set_default_dtype(None)


SHAPE = (2, 3, 4)
MASK = (np.arange(24).reshape(SHAPE) * 7) % 3 == 0
READ = {
    "an int": 1,
    "a negative int": (0, -1),
    "all ints": (1, 2, 3),
    "a slice": slice(1, None),
    "a slice beyond the end": (slice(None), slice(1, 99)),
    "a slice of nothing": slice(2, 1),
    "a step": (..., slice(None, None, 2)),
    "a negative step": slice(None, None, -1),
    "negative steps": (0, slice(None, None, -2), slice(3, 0, -2)),
    "a negative step of nothing": slice(0, 1, -1),
    "a negative step from beyond the end": (..., slice(99, None, -1)),
    "Ellipsis": ...,
    "no index at all": (),
    "Ellipsis between": (0, ..., 1),
    "None": None,
    "None among others": (None, 0, slice(None), None, 1),
    "a mask of all": MASK,
    "a mask of the first axis": np.array([True, False]),
    "a mask of two axes": MASK[:, :, 0],
    "a mask of a later axis": (slice(None), np.array([True, False, True])),
    "a mask and an int": (1, np.array([True, False, True])),
    "an empty mask": np.zeros(SHAPE, bool),
    "a list": [1, 0, 1],
    "an empty list": [],
    "a list of booleans": [True, False],
    "nested lists": [[0, 1], [1, 1]],
    "integers": np.array([0, 0, 1]),
    "negative integers": np.array([-1, 0]),
    "bytes": np.array([1, 0], np.uint8),
    "short integers": np.array([1, 0], np.int16),
    "no dimension": np.array(1),
    "True": True,
    "False": (False, 0),
    "a mask of no dimension": np.array(True),
    "a tuple in a tuple": ((0, 1, 1),),
    "integers for two axes": (np.array([0, 1, 1]), np.array([2, 2, 0])),
    "integers for all axes": (np.array([0, 1]), np.array([2, 2]), np.array([3, 3])),
    "integers that broadcast": (np.array([[0], [1]]), np.array([2, 0, 0])),
    "integers after a slice": (slice(None), np.array([2, 2])),
    "integers after Ellipsis": (..., np.array([3, 3, 0])),
    "integers after an int": (1, np.array([0, 2])),
    "integers before a slice": (np.array([1, 1]), slice(0, 2)),
    "integers and None": (np.array([1, 0]), None),
    "integers and a negative step": (np.array([1, 0]), slice(None, None, -1)),
    "integers around a slice": (np.array([0, 1]), slice(1, 3), np.array([0, 1])),
}
each_key = pytest.mark.parametrize("name", READ)


def as_tensors(key):
    """The key with Tensors instead of NumPy's arrays."""
    if isinstance(key, tuple):
        return tuple(map(as_tensors, key))
    return agrad.asarray(key) if isinstance(key, np.ndarray) else key


def numbers():
    return np.arange(24.0).reshape(SHAPE)


def both_keys(name):
    """Index arrays as NumPy's arrays (or lists) and as Tensors."""
    yield READ[name]
    yield as_tensors(READ[name])


def increments(key):
    """How often each element is read at a key."""
    count = np.zeros(SHAPE)
    np.add.at(count, key, 1)
    return count


@each_key
def test_every_key_reads_what_numpy_reads(backend, name):
    for key in both_keys(name):
        np.testing.assert_array_equal(values(agrad.asarray(numbers())[key]), numbers()[READ[name]], strict=True)


@each_key
def test_the_gradient_of_a_read_counts_how_often_an_element_was_read(backend, name):
    for key in both_keys(name):
        x = agrad.tensor(numbers(), requires_grad=True)
        read = x[key]
        read.sum().backward()
        np.testing.assert_array_equal(values(x.grad), increments(READ[name]))
        (second,) = agrad.autograd.grad((x[key] ** 3).sum(), x, create_graph=True)
        (second,) = agrad.autograd.grad(second.sum(), x)
        np.testing.assert_allclose(values(second), 6 * numbers() * increments(READ[name]))


@each_key
@pytest.mark.parametrize("kind", ["number", "tensor", "broadcast tensor"])
def test_every_key_writes_where_numpy_writes(backend, name, kind):
    read = numbers()[READ[name]]
    new = {
        "number": -1.0,
        "tensor": -1.0 - np.arange(float(read.size)).reshape(read.shape),
        "broadcast tensor": np.full((1,) * min(1, read.ndim), -5.0),
    }[kind]
    expected = numbers()
    expected[READ[name]] = new
    for key in both_keys(name):
        x = agrad.tensor(numbers())
        before = x.array
        x[key] = new if kind == "number" else agrad.asarray(new)
        np.testing.assert_array_equal(values(x), expected)
        np.testing.assert_array_equal(values(agrad.asarray(before)), expected)  # in place


@each_key
def test_the_gradient_of_a_write_goes_to_the_value_that_stayed(backend, name):
    read = numbers()[READ[name]]
    number = np.arange(float(read.size)).reshape(read.shape)
    board = np.full(SHAPE, -1.0)
    board[READ[name]] = number
    for key in both_keys(name):
        x = agrad.tensor(numbers(), requires_grad=True)
        v = agrad.tensor(number, requires_grad=True)
        y = x * 1
        y[key] = v
        (y * y).sum().backward()
        np.testing.assert_array_equal(values(x.grad), np.where(board >= 0, 0, 2 * numbers()))
        np.testing.assert_array_equal(values(v.grad), np.where(board[READ[name]] == number, 2 * number, 0))


WRONG_KEYS = {
    "too many ints": (0, 0, 0, 0),
    "two times Ellipsis": (..., ...),
    "an int beyond the end": 5,
    "an integer beyond the end": np.array([0, 7]),
    "a mask of another shape": np.array([True, False, True]),
    "floats": [0.5],
    "a mix of slices in a list": [slice(1), 0],
}


@pytest.mark.parametrize("name", WRONG_KEYS)
def test_a_wrong_key_is_an_index_error_and_changes_nothing(backend, name):
    x = agrad.asarray(numbers())
    with pytest.raises(IndexError):
        x[WRONG_KEYS[name]]
    with pytest.raises(IndexError):
        x[WRONG_KEYS[name]] = 0.0
    np.testing.assert_array_equal(values(x), numbers())


def test_an_index_array_is_copied_into_the_graph(backend):
    x = agrad.tensor([1.0, 2.0, 3.0], requires_grad=True)
    for make in (list, np.array, lambda data: agrad.asarray(np.array(data)).array):
        place = make([2])
        y = (x * 1)[place]
        place[0] = 0
        x.grad = None
        y.sum().backward()
        assert x.grad.tolist() == [0.0, 0.0, 1.0]


# ---------------------------------------------------------------------------- scatter: several gradients for one place


def test_repeated_positions_add_up(backend):
    x = agrad.tensor([1.0, 2.0, 3.0], requires_grad=True)
    i = agrad.asarray([2, 0, 2, 2])
    y = x[i].sum() + 10 * agrad.take(x, i, axis=0).sum() + 100 * agrad.take_along_axis(x, i).sum() + 1000 * x[2]
    y.backward()
    assert x.grad.tolist() == [111.0, 0.0, 1333.0]


def test_reads_of_every_kind_meet_in_one_gradient(backend):
    x = agrad.tensor(numbers(), requires_grad=True)
    sum(x[READ[name]].sum() for name in READ).backward()
    np.testing.assert_array_equal(values(x.grad), sum(increments(key) for key in READ.values()))


def test_rows_that_repeat_get_the_sum_of_their_gradients(backend):
    table = agrad.tensor(np.ones((3, 2)), requires_grad=True)
    weight = agrad.asarray([[1.0], [2.0], [4.0]])
    (table[[1, 1, 2]] * weight).sum().backward()
    assert table.grad.tolist() == [[0.0, 0.0], [3.0, 3.0], [4.0, 4.0]]


def test_the_last_of_very_many_writes_to_one_place_stays(backend):
    """Libraries write large arrays with several threads, and the gradient must know who came last."""
    n = 200_000
    v = agrad.tensor(np.arange(float(n)), requires_grad=True)
    y = agrad.zeros(10)
    y[np.arange(n) % 10] = v
    np.testing.assert_array_equal(values(y), np.arange(n - 10.0, n))
    y.sum().backward()
    np.testing.assert_array_equal(np.nonzero(values(v.grad))[0], np.arange(n - 10, n))


@pytest.mark.parametrize("axis", [0, 1, -1])
def test_a_zero_dimensional_index_takes_one_slice(backend, axis):
    x = agrad.tensor(np.arange(24.0).reshape(SHAPE), requires_grad=True)
    taken = agrad.take(x, agrad.asarray(1), axis=axis)
    np.testing.assert_array_equal(values(taken), np.take(values(x), 1, axis=axis))
    taken.sum().backward()
    expected = np.zeros(SHAPE)
    expected[(slice(None),) * (axis % 3) + (1,)] = 1
    np.testing.assert_array_equal(values(x.grad), expected)
