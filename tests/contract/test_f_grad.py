"""Section F: the `.grad` field."""

import re

import numpy as np
import pytest

NOT_A_LEAF = (
    "The .grad attribute of a Tensor that is not a leaf Tensor is being accessed. Its .grad attribute won't be"
    " populated during autograd.backward(). If you indeed want the .grad field to be populated for a non-leaf Tensor,"
    " use .retain_grad() on the non-leaf Tensor."
)


def test_s054_assigned_gradients_are_checked(torch, t, raises):
    t.grad = kept = torch.tensor([5.0, 6.0])
    with raises(TypeError, "assigned grad expected to be a Tensor or None but got grad of type list"):
        t.grad = [1.0, 2.0]
    with raises(RuntimeError, "can't assign Variable as its own grad"):
        t.grad = t
    with raises(
        RuntimeError,
        "attempting to assign a gradient of size '[3]' to a tensor of size '[2]'."
        " Please ensure that the gradient and the tensor are the same size",
    ):
        t.grad = torch.zeros(3)
    with pytest.raises(RuntimeError):
        t.grad = torch.zeros(2, dtype=torch.float64)
    assert t.grad is kept


def test_s055_grad_may_be_set_on_any_tensor(torch, t, grad_of):
    plain, g = torch.zeros(2), torch.ones(2)
    plain.grad = g
    assert plain.grad is g
    y = t * 2
    y.grad = g
    assert grad_of(y) is g
    del plain.grad
    assert plain.grad is None
    t.grad = g
    t.grad = None
    assert t.grad is None


def test_s056_grad_dtype(torch):
    h = torch.tensor([1.0, 2.0], dtype=torch.float16, requires_grad=True)
    assert h.grad_dtype == torch.float16
    h.grad_dtype = torch.float32
    (h.float() * 3).sum().backward()
    assert h.grad.dtype == torch.float32
    assert h.grad.tolist() == [3.0, 3.0]
    with pytest.raises(RuntimeError):
        (h * 2).grad_dtype  # noqa: B018


def test_s057_reading_grad_of_a_result_warns_each_time(t):
    y = t * 2
    for _ in range(2):
        with pytest.warns(UserWarning, match=re.escape(NOT_A_LEAF)):
            assert y.grad is None


def test_s057_reading_grad_of_a_retained_result_does_not_warn(t):
    y = t * 2
    y.retain_grad()
    assert y.grad is None
    y.sum().backward()
    assert y.grad.tolist() == [1.0, 1.0]


def test_s058_accumulation_keeps_the_object(torch, t):
    t.sum().backward()
    first = t.grad
    t.sum().backward()
    assert t.grad is first
    assert first.tolist() == [2.0, 2.0]


def test_s058_accumulation_into_a_gradient_that_the_user_set(torch, t):
    t.grad = mine = torch.tensor([10.0, 20.0])
    t.sum().backward()
    assert t.grad is mine
    assert mine.tolist() == [11.0, 21.0]


@pytest.mark.filterwarnings("ignore:Using backward")
def test_s059_accumulation_with_create_graph_makes_a_new_object(t):
    (t * t).sum().backward(create_graph=True)
    first = t.grad
    (t * t).sum().backward(create_graph=True)
    assert t.grad is not first
    assert t.grad.grad_fn.name() == "AddBackward0"
    assert first.tolist() == [2.0, 4.0]
    assert t.grad.tolist() == [4.0, 8.0]
    t.grad = None


def test_s060_the_first_gradient_is_not_the_one_passed_in(torch, t):
    g = torch.tensor([3.0, 4.0])
    t.backward(g)
    assert t.grad is not g
    t.grad[0] = 9.0
    assert g.tolist() == [3.0, 4.0]


@pytest.mark.parametrize(
    "program",
    [
        lambda a, b: a + b,
        lambda a, b: (a + b) * 1 + 0,
        pytest.param(
            lambda a, b: a.reshape(2) + b.clone(),
            marks=pytest.mark.differs("PyTorch lets the gradient behind a view share memory with the cotangent"),
        ),
    ],
)
def test_s060_two_leaves_do_not_share_their_gradient(program, torch):
    a = torch.tensor([1.0, 2.0], requires_grad=True)
    b = torch.tensor([3.0, 4.0], requires_grad=True)
    g = torch.ones(2)
    program(a, b).backward(g)
    a.grad[0] = 5.0
    b.grad[1] = 7.0
    assert a.grad.tolist() == [5.0, 1.0]
    assert b.grad.tolist() == [1.0, 7.0]
    assert g.tolist() == [1.0, 1.0]


def test_s060_a_retained_gradient_is_not_shared(torch, t):
    y = t + 1
    y.retain_grad()
    y.sum().backward()
    y.grad[0] = 5.0
    assert t.grad.tolist() == [1.0, 1.0]


def test_s061_autograd_grad_of_a_sum(torch):
    a = torch.tensor([1.0, 2.0], requires_grad=True)
    b = torch.tensor([3.0, 4.0], requires_grad=True)
    g = torch.tensor([5.0, 6.0])
    ga, gb = torch.autograd.grad(a + b, [a, b], g)
    assert ga.tolist() == gb.tolist() == [5.0, 6.0]


def test_s062_gradients_are_dense(torch):
    t = torch.ones((2, 3), requires_grad=True)
    t.sum().backward()
    t.grad[0, 0] = 5.0
    assert t.grad.tolist() == [[5.0, 1.0, 1.0], [1.0, 1.0, 1.0]]


def test_s062_gradients_have_the_strides_of_the_leaf(torch):
    leaf = torch.from_numpy(np.arange(6, dtype=np.float32).reshape(2, 3).T).requires_grad_()
    (leaf * 2).sum().backward()
    assert leaf.grad.numpy().strides == leaf.detach().numpy().strides == (4, 12)


def test_s063_a_gradient_is_not_tracked_without_create_graph(torch, t):
    t.backward(torch.ones(2, requires_grad=True))
    assert t.grad.requires_grad is False


def test_s063_a_gradient_that_was_set_keeps_its_flag(torch, t):
    t.grad = torch.ones(2, requires_grad=True)
    t.sum().backward()
    assert t.grad.requires_grad is True
    assert t.grad.tolist() == [2.0, 2.0]


@pytest.mark.differs("PyTorch takes a sparse gradient of a dense tensor, and makes the sum dense")
def test_s064_a_gradient_has_the_library_of_its_tensor(torch, t):
    sparse = pytest.importorskip("sparse")
    other = torch.asarray(sparse.COO.from_numpy(np.asarray([0.0, 5.0], dtype=np.float32)))
    with pytest.raises(RuntimeError, match="sparse"):
        t.grad = other
    assert t.grad is None
    other.requires_grad_()
    for _ in range(2):
        (other * other).sum().backward()
    assert type(other.grad.array) is sparse.COO
    assert other.grad.numpy().tolist() == [0.0, 20.0]


@pytest.mark.parametrize("value", [3.0, [3.0], [[3.0]]])
def test_s065_a_scalar_leaf_is_its_own_root(value, torch):
    leaf = torch.tensor(value, requires_grad=True)
    leaf.backward()
    assert leaf.grad.tolist() == torch.ones_like(leaf).tolist()
