"""Section J: hooks on tensors (hooks on nodes are not covered here)."""

import pytest


def test_s106_hooks_run_in_order_and_before_accumulation(t):
    order = []
    m = t * 2
    m.register_hook(lambda g: order.append("m first"))
    m.register_hook(lambda g: order.append("m second"))
    t.register_hook(lambda g: order.append(("leaf", t.grad)))
    m.sum().backward()
    assert order == ["m first", "m second", ("leaf", None)]
    assert t.grad.tolist() == [2.0, 2.0]


def test_s108_a_hook_gets_the_summed_gradient_once(torch, t):
    seen = []
    m = t * 2
    m.register_hook(lambda g: seen.append(g.tolist()))
    torch.autograd.backward([m, m.sin(), m.sum()], [torch.ones(2), torch.zeros(2), None])
    assert seen == [[2.0, 2.0]]


def test_s108_a_hook_may_replace_the_gradient(torch, t):
    m = t * 2
    m.register_hook(lambda g: g * 10)
    m.register_hook(lambda g: None)
    m.register_hook(lambda g: g + 1)
    t.register_hook(lambda g: -g)
    m.sum().backward()
    assert t.grad.tolist() == [-22.0, -22.0]


def test_s108_a_change_in_place_is_seen(torch, t):
    def triple(g):
        g.mul_(3)

    m = t * 2
    m.register_hook(triple)
    (m * torch.ones(2)).sum().backward()
    assert t.grad.tolist() == [6.0, 6.0]


def test_s108_a_hook_on_a_view(t):
    seen = []
    view = (t * 2)[1:]
    view.register_hook(lambda g: seen.append(g.tolist()))
    view.register_hook(lambda g: g * 5)
    view.sum().backward()
    assert seen == [[1.0]]
    assert t.grad.tolist() == [0.0, 10.0]


def test_s109_a_hook_returns_a_gradient_of_the_same_kind(torch, t):
    for wrong, error in [
        (lambda g: g[:1], RuntimeError),
        (lambda g: g.double(), RuntimeError),
        (lambda g: 3, TypeError),
    ]:
        m = t * 2
        m.register_hook(wrong)
        with pytest.raises(error):
            m.sum().backward()
    assert t.grad is None


def test_s110_an_untracked_tensor_takes_no_hook(torch, raises):
    with raises(RuntimeError, "cannot register a hook on a tensor that doesn't require gradient"):
        torch.zeros(2).register_hook(lambda g: None)


def test_s111_a_handle_removes_its_hook(t):
    calls = []
    m = t * 2
    handle = m.register_hook(lambda g: calls.append("removed"))
    handle.remove()
    handle.remove()
    with m.register_hook(lambda g: calls.append("inside")):
        m.sum().backward()
    assert calls == ["inside"]


def test_s111_a_handle_does_not_touch_its_neighbours(t):
    calls = []
    m = t * 2
    handles = [m.register_hook(lambda g, i=i: calls.append(i)) for i in range(3)]
    handles[1].remove()
    m.sum().backward()
    assert calls == [0, 2]


def test_s112_a_leaf_hook_registered_after_the_forward_still_runs(torch, t):
    calls = []
    y = (t * t).sum()
    t.register_hook(lambda g: calls.append(g.tolist()))
    torch.autograd.grad(y, t)
    assert calls == [[2.0, 4.0]]


def test_s112_a_leaf_hook_replaces_what_grad_returns(torch, t):
    t.register_hook(lambda g: g * 2)
    (g,) = torch.autograd.grad(t.sum(), t)
    assert g.tolist() == [2.0, 2.0]


def test_s113_hooks_of_a_captured_result_run_and_those_below_do_not(torch, t):
    calls = []
    m = t * 2
    m.register_hook(lambda g: calls.append("captured"))
    t.register_hook(lambda g: calls.append("below"))
    torch.autograd.grad(m.sum(), m)
    assert calls == ["captured"]


def test_s117_hooks_follow_create_graph(torch, t):
    seen = []
    m = t * t
    m.register_hook(lambda g: seen.append((torch.is_grad_enabled(), (g * 2).requires_grad)))
    root = (m * m).sum()
    torch.autograd.grad(root, t, create_graph=True)
    torch.autograd.grad(root, t)
    assert seen == [(True, True), (False, False)]


def test_s118_exceptions_in_hooks_propagate_unchanged(t):
    error = KeyError("mine")

    def fail(g):
        raise error

    m = t * 2
    m.register_hook(fail)
    with pytest.raises(KeyError) as caught:
        m.sum().backward()
    assert caught.value is error


def test_s119_hooks_and_writes_in_place(t):
    seen = []
    m = t * 2
    m.register_hook(lambda g: seen.append(("old value", g.tolist())))
    m.mul_(3)
    m.register_hook(lambda g: seen.append(("new value", g.tolist())))
    m.sum().backward()
    assert seen == [("new value", [1.0, 1.0]), ("old value", [3.0, 3.0])]
