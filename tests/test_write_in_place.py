"""`engine.write_in_place`: functions of the layers above write into arrays, under the rules of any write."""

import numpy as np
import pytest

import agrad
from agrad import backends
from agrad.cython_core.engine import write_in_place


def subtract(target, amount):
    target -= amount


def test_the_array_itself_is_written_where_it_can_be(backend):
    x = agrad.ones(3)
    mutable = backends.find(backend).mutable
    held = x.array
    assert write_in_place(subtract, (x,), agrad.ones(3)) is mutable
    assert x.array is held
    assert agrad.all(x == (0 if mutable else 1))
    assert x._version == mutable


def test_a_write_to_a_saved_value_is_found_at_backward():
    w = agrad.ones(3, requires_grad=True)
    y = agrad.sum(w * w)
    with agrad.no_grad():
        write_in_place(subtract, (w,), 1.0)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        y.backward()


def test_where_writes_copy_the_graph_keeps_its_array():
    w = agrad.ones(3, requires_grad=True)
    with agrad.autograd.graph.allow_mutation_on_saved_tensors():
        y = agrad.sum(w * w)
        with agrad.no_grad():
            write_in_place(subtract, (w,), 1.0)
        y.backward()
    assert np.all(w.grad.array == 2)
    assert np.all(w.array == 0)


def test_a_leaf_is_not_written_while_operations_are_recorded():
    w = agrad.ones(3, requires_grad=True)
    with pytest.raises(RuntimeError, match="a leaf Variable that requires grad"):
        write_in_place(subtract, (w,), 1.0)
    assert np.all(w.array == 1)
    assert w._version == 0


def test_nothing_is_written_if_one_target_may_not_be():
    free, leaf = agrad.ones(2), agrad.ones(2, requires_grad=True)
    with pytest.raises(RuntimeError, match="leaf"):
        write_in_place(lambda a, b: subtract(a, 1), (free, leaf))
    assert np.all(free.array == 1)


def test_a_scalar_that_stands_for_an_array_becomes_one():
    x = agrad.tensor(2.0) * 1
    assert write_in_place(subtract, (x,), 1.0)
    assert x.item() == 1


def test_a_view_writes_through():
    x = agrad.ones(3)
    assert write_in_place(subtract, (x[1:],), 1.0)
    assert x.tolist() == [1, 0, 0]
    assert x._version == 1


def test_a_function_that_fails_may_have_written():
    def fail(target):
        target[0] = 5
        raise ZeroDivisionError

    x = agrad.ones(3)
    with pytest.raises(ZeroDivisionError):
        write_in_place(fail, (x,))
    assert x._version == 1


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, np.complex64, np.int64, bool])
@pytest.mark.parametrize(
    ("left", "right"),
    [
        ((3, 4), (4, 2)), ((3, 1), (1, 2)), ((0, 3), (3, 2)), ((2, 0), (0, 2)), ((3,), (3,)), ((2, 3, 4), (4, 2)),
        ((4,), (4, 2)),
    ],
)
def test_numpys_matmul_is_np_matmul(left, right, dtype):
    random = np.random.default_rng(0)
    a, b = (random.integers(0, 2, shape).astype(dtype) for shape in (left, right))
    found = agrad.matmul(agrad.asarray(a), agrad.asarray(b)).array
    expected = np.matmul(a, b)
    assert found.dtype == expected.dtype
    np.testing.assert_array_equal(found, expected)
    with pytest.raises(ValueError, match="mismatch"):
        agrad.matmul(agrad.ones((2, 3)), agrad.ones((2, 3)))


def test_nothing_is_written_beside_a_read_only_array():
    fixed = np.ones(3)
    fixed.flags.writeable = False
    free, held = agrad.ones(3), agrad.asarray(fixed)
    with pytest.raises(ValueError, match="read-only"):
        write_in_place(lambda a, b: subtract(a, 1.0), (free, held))
    assert np.all(free.array == 1)


def test_results_are_not_written_while_operations_are_recorded():
    y = agrad.ones(3, requires_grad=True) * 2
    with pytest.raises(RuntimeError, match="does not record"):
        write_in_place(subtract, (y,), 1.0)
    assert np.all(y.array == 2)
