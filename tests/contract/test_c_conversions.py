"""Section C: from tensors to NumPy and Python, and back."""

import subprocess
import sys
import warnings

import numpy as np
import pytest

NUMPY = "Can't call numpy() on Tensor that requires grad. Use tensor.detach().numpy() instead."


@pytest.mark.parametrize("convert", [lambda x: x.numpy(), np.asarray])
def test_s033_a_tracked_tensor_refuses_to_become_numpy(convert, torch, t, raises):
    with raises(RuntimeError, NUMPY):
        convert(t)
    with raises(RuntimeError, NUMPY):
        convert(t * 2)
    with torch.no_grad():
        assert convert(t).tolist() == [1.0, 2.0]
    assert convert(t.detach()).tolist() == [1.0, 2.0]


def test_s033_numpy_can_be_forced(t):
    assert (t * 2).numpy(force=True).tolist() == [2.0, 4.0]


@pytest.mark.differs("NumPy's functions and arrays take part in the graph")
@pytest.mark.parametrize(
    ("program", "gradient"),
    [
        (np.negative, [-1.0, -1.0]),
        (np.square, [2.0, 4.0]),
        (lambda t: t * np.asarray([3.0, 4.0]), [3.0, 4.0]),
        (lambda t: np.asarray([3.0, 4.0]) * t, [3.0, 4.0]),
        (lambda t: np.float64(3.0) - t, [-1.0, -1.0]),
    ],
)
def test_s034_numpy_and_tensors_mix(program, gradient, torch, t):
    y = program(t)
    assert isinstance(y, torch.Tensor)
    y.sum().backward()
    assert t.grad.tolist() == gradient
    assert t.grad.dtype == torch.float32


def test_s034_a_numpy_scalar_times_a_tensor(torch, t):
    y = np.float32(2) * t
    assert isinstance(y, torch.Tensor)
    assert y.requires_grad
    assert y.tolist() == [2.0, 4.0]


def test_s035_item_and_tolist(t):
    assert t[1].item() == 2.0
    assert t[:1].item() == 1.0
    assert (t * 2).tolist() == [2.0, 4.0]
    with pytest.raises(RuntimeError):
        t.item()


FLOAT_TWICE = """
import warnings
import {0} as torch
t = torch.tensor([1.0, 2.0], requires_grad=True)
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    assert float(t[0]) == 1.0
    assert float(t[1]) == 2.0
assert [entry.category for entry in caught] == [UserWarning], caught
"""


def test_s036_float_warns_once_in_a_process(torch):
    program = FLOAT_TWICE.format(torch.__name__)
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_s036_python_numbers(torch, t):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert float(t[1]) == 2.0
        assert int(t[1]) == 2
        assert complex(t[1]) == 2.0
        assert bool(t[1]) is True
    assert float(torch.tensor(3.0)) == 3.0


def test_s037_tensor_of_a_tensor_is_an_untracked_copy(torch, t):
    with pytest.warns(UserWarning, match="detach"):
        copy = torch.tensor(t)
    assert not copy.requires_grad
    with torch.no_grad():
        copy[0] = 9.0
    assert t.tolist() == [1.0, 2.0]


def test_s038_asarray_of_a_tensor_is_the_tensor(torch, t):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert torch.as_tensor(t) is t
        assert torch.asarray(t) is t
        copy = torch.asarray(t, copy=True)
        cast = torch.asarray(t, dtype=torch.float64)
    assert t.requires_grad
    assert copy is not t
    assert copy.requires_grad
    assert cast.requires_grad
    (copy.sum() + cast.sum()).backward()
    assert t.grad.tolist() == [2.0, 2.0]


def test_s039_from_numpy_shares_memory(torch):
    array = np.ones(2, dtype=np.float32)
    x = torch.from_numpy(array)
    array[0] = 5.0
    assert x.tolist() == [5.0, 1.0]
    x[1] = 7.0
    assert array.tolist() == [5.0, 7.0]


def test_s040_format_and_str(torch, t):
    scalar = torch.tensor(3.14159)
    assert format(scalar, ".2f") == "3.14"
    assert f"{scalar:8.3f}" == "   3.142"
    assert str(t) == repr(t)
    assert f"{t}" == str(t)
