"""Section H: `autograd.grad`."""

import pytest

UNUSED = (
    "The differentiated Tensor at index {} appears to not have been used in the graph. Set allow_unused=True if this is"
    " the desired behavior."
)


@pytest.fixture
def grad(torch):
    return torch.autograd.grad


def test_s092_the_answer_has_the_form_of_the_inputs(grad, t):
    y = (t * t).sum()
    assert isinstance(grad(y, t, retain_graph=True), tuple)
    (g,) = grad(y, [t], retain_graph=True)
    assert g.tolist() == [2.0, 4.0]
    named = grad(y, {"t": t})
    assert list(named) == ["t"]
    assert named["t"].tolist() == [2.0, 4.0]
    assert t.grad is None


def test_s093_inputs_are_checked(torch, grad, t):
    with pytest.raises(RuntimeError):
        grad(t.sum(), torch.zeros(2))
    with pytest.raises((RuntimeError, TypeError)):
        grad(t.sum(), [3])
    with pytest.raises(RuntimeError):
        grad(t.sum(), [])


def test_s094_an_unused_input(torch, grad, t, raises):
    stranger = torch.tensor([1.0], requires_grad=True)
    with raises(RuntimeError, UNUSED.format(1)):
        grad(t.sum(), [t, stranger])
    g, nothing = grad(t.sum(), [t, stranger], allow_unused=True)
    assert g.tolist() == [1.0, 1.0]
    assert nothing is None


def test_s095_unused_inputs_may_be_materialised(torch, grad, t):
    stranger = torch.tensor([[1.0, 2.0]], dtype=torch.float64, requires_grad=True)
    _, zeros = grad(t.sum(), [t, stranger], materialize_grads=True)
    assert zeros.tolist() == [[0.0, 0.0]]
    assert zeros.dtype == torch.float64
    with pytest.raises(ValueError, match="allow_unused"):
        grad(t.sum(), [t, stranger], materialize_grads=True, allow_unused=False)


def test_s096_inputs_may_be_results_roots_and_repeated(grad, t):
    m = t * 2
    y = (m * m).sum()
    gm, gy, again = grad(y, [m, y, m])
    assert gm.tolist() == again.tolist() == [4.0, 8.0]
    assert gy.item() == 1.0


def test_s097_cotangents(torch, grad, t):
    a, b = t.sum(), t * 3
    (g,) = grad([a, b], t, grad_outputs=[None, torch.tensor([1.0, 2.0])])
    assert g.tolist() == [4.0, 7.0]
    (g,) = grad(t * 3, t, torch.tensor([1.0, 2.0]))
    assert g.tolist() == [3.0, 6.0]
    with pytest.raises(RuntimeError):
        grad(t * 3, t, grad_outputs=[None])
    with pytest.raises(RuntimeError):
        grad(t * 3, t, grad_outputs=[torch.ones(3)])


def test_s098_batched_cotangents(torch, grad, t):
    y = t * t
    (rows,) = grad(y, t, torch.tensor([[1.0, 0.0], [0.0, 1.0]]), is_grads_batched=True)
    assert rows.tolist() == [[2.0, 0.0], [0.0, 4.0]]


def test_s099_only_inputs_is_deprecated(grad, t):
    with pytest.warns(FutureWarning):
        grad(t.sum(), t, only_inputs=False)
    assert t.grad is None


def test_s100_a_gradient_without_a_graph(grad, t, raises):
    (g,) = grad((t * t).sum(), t)
    with raises(RuntimeError, "element 0 of tensors does not require grad and does not have a grad_fn"):
        grad(g.sum(), t)
