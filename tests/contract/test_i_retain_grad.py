"""Section I: `retain_grad`."""


def test_s103_retaining_twice_on_leaves_and_on_untracked_tensors(torch, t, raises):
    y = t * 2
    y.retain_grad()
    y.retain_grad()
    assert y.retains_grad is True
    y.sum().backward()
    assert y.grad.tolist() == [1.0, 1.0]
    t.retain_grad()
    assert t.retains_grad is False
    with raises(RuntimeError, "can't retain_grad on Tensor that has requires_grad=False"):
        torch.zeros(2).retain_grad()


def test_s104_the_retained_gradient_comes_after_all_hooks(t):
    y = t * 2
    y.register_hook(lambda g: g * 3)
    y.retain_grad()
    y.register_hook(lambda g: g + 1)
    y.sum().backward()
    assert y.grad.tolist() == [4.0, 4.0]
    assert t.grad.tolist() == [8.0, 8.0]


def test_s104_it_accumulates_into_a_new_object(t):
    y = t * t
    y.retain_grad()
    root = y.sum()
    root.backward(retain_graph=True)
    first = y.grad
    root.backward()
    assert y.grad is not first
    assert first.tolist() == [1.0, 1.0]
    assert y.grad.tolist() == [2.0, 2.0]


def test_s105_it_follows_the_value_written_in_place(t):
    y = t * 2
    y.retain_grad()
    y.mul_(5)
    y.sum().backward()
    assert y.retains_grad
    assert y.grad.tolist() == [1.0, 1.0]
    assert t.grad.tolist() == [10.0, 10.0]
