"""Section E: `detach`, `data`, `clone`, copies and pickles."""

import copy
import pickle

import pytest
from array_libraries import BACKENDS, is_installed

import agrad

IMMUTABLE = ("jax", "dask")  # a write makes a new array


@pytest.fixture(params=[*BACKENDS, *IMMUTABLE], autouse=True)
def library(request):
    """Run the test once per array library."""
    if not is_installed(request.param):
        pytest.skip(f"{request.param} is not installed")
    with agrad.use_backend(request.param):
        yield request.param


def test_s046_detach_shares_storage_and_version(torch, t):
    y = t * 1
    d = y.detach()
    assert d.is_leaf
    assert not d.requires_grad
    assert d.grad is None
    d[0] = 5.0
    assert y.tolist() == [5.0, 2.0]
    assert y._version == 1
    y.detach_()
    y += 1
    assert d.tolist() == [6.0, 3.0]
    assert d._version == y._version == 2


@pytest.mark.parametrize("library", BACKENDS, indirect=True)
def test_s047_data_shares_storage_but_not_the_version(t):
    y = t.exp()
    y.data[0] = 5.0
    assert y.tolist()[0] == 5.0
    assert y._version == 0
    y.sum().backward()  # the write is not detected, so exp's gradient is what was written
    assert t.grad.tolist()[0] == 5.0


@pytest.mark.differs("PyTorch's arrays can all be written")
@pytest.mark.parametrize("library", IMMUTABLE, indirect=True)
def test_s047_a_write_that_makes_a_new_array_is_seen(t):
    y = t.exp()
    y.data[0] = 5.0
    assert y.tolist()[0] == 5.0
    assert y._version == 1
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        y.sum().backward()


def test_s048_detach_in_place_makes_a_leaf(t):
    y = t * 2
    assert y.detach_() is y
    assert y.is_leaf
    assert y.grad_fn is None
    assert not y.requires_grad
    with pytest.raises(RuntimeError):
        (t * 2)[0].detach_()


def test_s049_data_may_be_replaced(torch, t):
    t.data = torch.zeros(3)
    assert t.tolist() == [0.0, 0.0, 0.0]
    assert t.requires_grad
    assert t._version == 0
    with pytest.raises(RuntimeError):
        t.data = torch.tensor([1, 2])
    assert t.tolist() == [0.0, 0.0, 0.0]


def test_s050_copy_shares_and_deepcopy_copies(torch, t):
    t.sum().backward()
    shallow, deep = copy.copy(t), copy.deepcopy(t)
    assert shallow.requires_grad
    assert deep.requires_grad
    assert deep.grad.tolist() == [1.0, 1.0]
    assert deep.grad is not t.grad
    with torch.no_grad():
        t[0] = 9.0
    assert shallow.tolist() == [9.0, 2.0]
    assert deep.tolist() == [1.0, 2.0]


def test_s050_copies_keep_attributes(torch, t):
    t.note = ["kept"]
    shallow, deep = copy.copy(t), copy.deepcopy(t)
    assert shallow.note is t.note
    assert deep.note == t.note
    assert deep.note is not t.note


def test_s050_deepcopy_keeps_sharing_inside_one_object(torch, t):
    first, second = copy.deepcopy([t, t])
    assert first is second


def test_s051_deepcopy_of_a_result(t):
    with pytest.raises(RuntimeError):
        copy.deepcopy(t * 2)


def test_s052_pickle(torch, t):
    t.sum().backward()
    leaf = pickle.loads(pickle.dumps(t))
    assert leaf.tolist() == [1.0, 2.0]
    assert leaf.requires_grad
    assert leaf.dtype == torch.float32
    assert leaf.grad is None
    result = pickle.loads(pickle.dumps(t * 2))
    assert result.is_leaf
    assert result.requires_grad
    plain = pickle.loads(pickle.dumps(t.detach()))
    assert not plain.requires_grad


def test_s053_pickle_drops_hooks_with_a_warning(t):
    calls = []
    t.register_hook(calls.append)
    with pytest.warns(UserWarning, match="hook"):
        leaf = pickle.loads(pickle.dumps(t))
    leaf.sum().backward()
    assert calls == []
