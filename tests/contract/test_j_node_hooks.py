"""Section J: hooks on nodes, on leaves after accumulation, and on several tensors."""

import gc
import weakref

import pytest


def test_s106_the_whole_order(t):
    order = []

    def note(word):
        return lambda *_: order.append(word)

    m = t * 2
    accumulator = m.grad_fn.next_functions[0][0]
    accumulator.register_hook(note("posthook of AccumulateGrad"))
    t.register_post_accumulate_grad_hook(lambda leaf: order.append(("post-accumulate hook", leaf.grad.tolist())))
    accumulator.register_prehook(lambda gs: order.append(("prehook of AccumulateGrad", t.grad)))
    t.register_hook(note("leaf hook"))
    m.grad_fn.register_hook(note("posthook"))
    m.grad_fn.register_prehook(note("prehook"))
    m.register_hook(note("tensor hook 1"))
    m.register_hook(note("tensor hook 2"))
    m.sum().backward()
    assert order == [
        "tensor hook 1", "tensor hook 2", "prehook", "posthook", "leaf hook", ("prehook of AccumulateGrad", None),
        ("post-accumulate hook", [2.0, 2.0]), "posthook of AccumulateGrad",
    ]


def test_s107_tensor_hooks_run_before_node_prehooks(t):
    order = []
    m = t * 2
    m.grad_fn.register_prehook(lambda gs: order.append("prehook"))
    m.register_hook(lambda g: order.append("tensor hook"))
    m.sum().backward()
    assert order == ["tensor hook", "prehook"]


def test_s107_a_prehook_sees_what_tensor_hooks_left(t):
    seen = []
    m = t * 2
    m.grad_fn.register_prehook(lambda gs: seen.append(gs[0].tolist()))
    m.register_hook(lambda g: g * 5)
    m.sum().backward()
    assert seen == [[5.0, 5.0]]


def test_s112_post_accumulate_hooks_do_not_run_in_grad(torch, t):
    calls = []
    t.register_post_accumulate_grad_hook(lambda leaf: calls.append("post"))
    t.register_hook(lambda g: calls.append("hook"))
    torch.autograd.grad((t * t).sum(), t)
    assert calls == ["hook"]


def test_s113_the_node_of_a_captured_result_does_not_run(torch, t):
    calls = []
    m = t * 2
    m.register_hook(lambda g: calls.append("tensor hook"))
    m.grad_fn.register_prehook(lambda gs: calls.append("prehook"))
    m.grad_fn.register_hook(lambda gs, outs: calls.append("posthook"))
    accumulator = m.grad_fn.next_functions[0][0]
    accumulator.register_prehook(lambda gs: calls.append("prehook of AccumulateGrad"))
    torch.autograd.grad(m.sum(), m)
    assert calls == ["tensor hook"]
    torch.autograd.grad((t * 2).sum(), t)
    assert calls == ["tensor hook"]


def test_s113_a_prehook_does_not_change_what_is_captured(torch, t):
    m = t * 2
    m.grad_fn.register_prehook(lambda gs: (gs[0] * 10,))
    gm, gt = torch.autograd.grad(m.sum(), [m, t])
    assert (gm.tolist(), gt.tolist()) == ([1.0, 1.0], [20.0, 20.0])


def test_s114_a_post_accumulate_hook_gets_the_leaf(torch, t):
    seen = []
    t.register_post_accumulate_grad_hook(lambda leaf: seen.append((leaf is t, leaf.grad.tolist())))
    (t * 3).sum().backward()
    (t * 3).sum().backward()
    assert seen == [(True, [3.0, 3.0]), (True, [6.0, 6.0])]


def test_s114_it_may_step_and_drop_the_gradient(torch, t):
    def step(leaf):
        with torch.no_grad():
            leaf -= 0.5 * leaf.grad
        leaf.grad = None

    t.register_post_accumulate_grad_hook(step)
    (t * 2).sum().backward()
    assert t.grad is None
    assert t.tolist() == [0.0, 1.0]


def test_s114_it_returns_none(torch, t, raises):
    handle = t.register_post_accumulate_grad_hook(lambda leaf: 3)
    with pytest.raises(TypeError, match="but hook returned 'int'"):
        t.sum().backward()
    handle.remove()
    t.register_post_accumulate_grad_hook(lambda leaf: torch.ones(2))
    with raises(RuntimeError, "Tensor post accumulate grad hooks should return None."):
        t.sum().backward()


def test_s114_results_and_untracked_tensors_take_none(torch, t, raises):
    with raises(RuntimeError, "post accumulate grad hooks cannot be registered on non-leaf tensors"):
        (t * 2).register_post_accumulate_grad_hook(lambda leaf: None)
    with raises(RuntimeError, "cannot register a hook on a tensor that doesn't require gradient"):
        torch.ones(2).register_post_accumulate_grad_hook(lambda leaf: None)


def test_s114_handles(t):
    calls = []
    handle = t.register_post_accumulate_grad_hook(lambda leaf: calls.append(1))
    handle.remove()
    with t.register_post_accumulate_grad_hook(lambda leaf: calls.append(2)):
        t.sum().backward()
    t.sum().backward()
    assert calls == [2]


def test_s115_a_posthook_gets_what_goes_out_and_what_came_in(torch, t):
    seen = []
    constant = torch.tensor([3.0, 4.0])
    m = t * constant
    m.grad_fn.register_hook(lambda gs, outs: seen.append((gs[0].tolist(), gs[1], outs[0].tolist())))
    m.sum().backward()
    assert seen == [([3.0, 4.0], None, [1.0, 1.0])]


def test_s115_a_posthook_may_replace_gradients(torch, t):
    m = t * t
    m.grad_fn.register_hook(lambda gs, outs: (gs[0] * 10, None))
    m.sum().backward()
    assert t.grad.tolist() == [10.0, 20.0]


def test_s115_posthooks_run_in_order_and_see_each_others_results(t):
    seen = []
    m = t * 2
    m.grad_fn.register_hook(lambda gs, outs: tuple(None if g is None else g * 10 for g in gs))
    m.grad_fn.register_hook(lambda gs, outs: seen.append(gs[0].tolist()))
    m.sum().backward()
    assert seen == [[20.0, 20.0]]


@pytest.mark.parametrize("before", [False, True])
def test_s115_s116_wrong_results(torch, t, raises, before):
    expected = 1 if before else 2

    def run(hook):
        m = t * t
        (m.grad_fn.register_prehook if before else m.grad_fn.register_hook)(hook)
        m.sum().backward()

    def returned(error, text, hook):
        hook.__name__ = "<lambda>"
        with raises(error, text):
            run(hook)

    returned(TypeError, "expected tuple, but hook returned 'int'", lambda *gs: 3)
    returned(TypeError, "expected tuple, but hook returned 'list'", lambda *gs: list(gs[0]))
    returned(
        RuntimeError,
        f"hook '<lambda>' has returned an incorrect number of values (got 3, but expected {expected})",
        lambda *gs: (gs[0][0],) * 3,
    )
    returned(
        RuntimeError, "hook '<lambda>' has changed the size of value", lambda *gs: tuple(g[:1] for g in gs[0])
    )
    returned(TypeError, "expected Variable, but hook returned 'int'", lambda *gs: (3,) * expected)
    with pytest.raises(RuntimeError, match="hook '<lambda>' has changed the type of value"):
        run(lambda *gs: tuple(g.double() for g in gs[0]))
    assert t.grad is None


def test_s115_nothing_is_put_where_no_gradient_goes(torch, t, raises):
    m = t * torch.ones(2)
    m.grad_fn.register_hook(lambda gs, outs: (torch.ones(2), torch.ones(2)))
    with raises(RuntimeError, "can't replace a None gradient with a non-None value"):
        m.sum().backward()


def test_s116_a_prehook_may_replace_or_stop_the_gradient(t):
    m = t * 2
    with m.grad_fn.register_prehook(lambda gs: (gs[0] * 10,)):
        m.sum().backward(retain_graph=True)
    assert t.grad.tolist() == [20.0, 20.0]
    seen = []
    m.grad_fn.register_prehook(lambda gs: (None,))
    m.grad_fn.register_hook(lambda gs, outs: seen.append((gs, outs)))
    m.sum().backward()
    assert t.grad.tolist() == [20.0, 20.0]
    assert seen == [((None, None), (None,))]


def test_s116_a_prehook_of_accumulation_may_change_or_stop_it(t):
    accumulator = (t * 2).grad_fn.next_functions[0][0]
    with accumulator.register_prehook(lambda gs: (gs[0] + 1,)):
        t.sum().backward()
    assert t.grad.tolist() == [2.0, 2.0]
    with accumulator.register_prehook(lambda gs: (None,)):
        t.sum().backward()
    assert t.grad.tolist() == [2.0, 2.0]


@pytest.mark.differs("PyTorch calls them although nothing was accumulated")
def test_s116_where_accumulation_is_stopped_post_accumulate_hooks_do_not_run(t):
    calls = []
    t.register_post_accumulate_grad_hook(lambda leaf: calls.append("post"))
    with (t * 2).grad_fn.next_functions[0][0].register_prehook(lambda gs: (None,)):
        t.sum().backward()
    assert calls == []


def test_s115_a_posthook_of_accumulation_gets_no_inputs(t):
    seen = []
    accumulator = (t * 2).grad_fn.next_functions[0][0]
    accumulator.register_hook(lambda gs, outs: seen.append((gs, outs[0].tolist())))
    (t * 4).sum().backward()
    assert seen == [((), [4.0, 4.0])]


def test_s116_hooks_of_a_node_with_several_outputs(torch, t):
    seen = []
    a, b = t.unbind()
    a.grad_fn.register_prehook(lambda gs: seen.append([None if g is None else g.item() for g in gs]))
    (a * 3 + b * 5).backward(retain_graph=True)
    assert seen == [[3.0, 5.0]]
    a.grad_fn.register_prehook(lambda gs: (gs[0] * 2, gs[1]))
    (a * 3 + b * 5).backward()
    assert t.grad.tolist() == [9.0, 10.0]


def test_s115_hooks_of_a_node_that_reads_items(torch, t):
    seen = []
    y = t[1]
    y.grad_fn.register_hook(lambda gs, outs: seen.append((gs[0].tolist(), outs[0].item())))
    y.grad_fn.register_hook(lambda gs, outs: (gs[0] * 3,))
    (y * 2).backward()
    assert seen == [([0.0, 2.0], 2.0)]
    assert t.grad.tolist() == [0.0, 6.0]


def test_s117_node_hooks_follow_create_graph(torch, t):
    seen = []
    m = t * t
    m.grad_fn.register_prehook(lambda gs: seen.append(torch.is_grad_enabled()))
    m.grad_fn.register_hook(lambda gs, outs: seen.append((torch.is_grad_enabled(), gs[0].requires_grad)))
    root = (m * m).sum()
    torch.autograd.grad(root, t, create_graph=True)
    torch.autograd.grad(root, t)
    assert seen == [True, (True, True), False, (False, False)]


def test_s117_what_hooks_compute_can_be_differentiated(torch, t):
    m = t * t
    m.grad_fn.register_prehook(lambda gs: (gs[0] * t,))
    m.grad_fn.register_hook(lambda gs, outs: (gs[0] * t, gs[1] * t))
    (g,) = torch.autograd.grad(m.sum(), t, create_graph=True)     # 2 t * t * t
    assert g.tolist() == [2.0, 16.0]
    (second,) = torch.autograd.grad(g.sum(), t)
    assert second.tolist() == [6.0, 24.0]


@pytest.mark.parametrize("kind", ["prehook", "posthook", "leaf", "post"])
def test_s118_exceptions_in_any_hook_propagate_unchanged(t, kind):
    error = KeyError("mine")

    def fail(*_):
        raise error

    m = t * 2
    register = {
        "prehook": m.grad_fn.register_prehook,
        "posthook": m.grad_fn.register_hook,
        "leaf": m.grad_fn.next_functions[0][0].register_prehook,
        "post": t.register_post_accumulate_grad_hook,
    }
    register[kind](fail)
    with pytest.raises(KeyError) as caught:
        m.sum().backward()
    assert caught.value is error


def test_s119_prehooks_and_writes_in_place(t):
    seen = []
    m = t * 2
    m.grad_fn.register_prehook(lambda gs: seen.append(("old", gs[0].tolist())))
    m.mul_(3)
    m.grad_fn.register_prehook(lambda gs: seen.append(("new", gs[0].tolist())))
    m.sum().backward()
    assert seen == [("new", [1.0, 1.0]), ("old", [3.0, 3.0])]


def test_s111_handles_of_node_hooks(t):
    calls = []
    m = t * 2
    handle = m.grad_fn.register_prehook(lambda gs: calls.append("removed"))
    handle.remove()
    handle.remove()
    with m.grad_fn.register_hook(lambda gs, outs: calls.append("inside")):
        m.sum().backward()
    assert calls == ["inside"]


def test_s120_all_waits_for_every_gradient(torch, t):
    seen = []
    a, b, c = t * 2, t * 3, t * 4
    handle = torch.autograd.graph.register_multi_grad_hook(
        [a, b, c], lambda gs: seen.append([None if g is None else g.tolist() for g in gs])
    )
    (a + 5 * b).sum().backward(retain_graph=True)
    assert seen == [[[1.0, 1.0], [5.0, 5.0], None]]
    (a + 5 * b).sum().backward(retain_graph=True)
    assert len(seen) == 2
    c.sum().backward(retain_graph=True)
    assert seen[2] == [None, None, [1.0, 1.0]]
    handle.remove()
    c.sum().backward()
    assert len(seen) == 3


@pytest.mark.differs("PyTorch raises for leaves that grad was asked for")
def test_s120_leaves_and_pruned_walks(torch, t):
    seen = []
    other = torch.tensor([1.0, 1.0], requires_grad=True)
    m = t * other
    torch.autograd.graph.register_multi_grad_hook(
        [t, other, m], lambda gs: seen.append([None if g is None else g.tolist() for g in gs])
    )
    torch.autograd.grad(m.sum(), other, retain_graph=True)
    assert seen == [[None, [1.0, 2.0], [1.0, 1.0]]]
    torch.autograd.grad(m.sum(), m, retain_graph=True)
    assert seen[1] == [None, None, [1.0, 1.0]]
    m.sum().backward()
    assert seen[2] == [[1.0, 1.0], [1.0, 2.0], [1.0, 1.0]]


def test_s120_any_gets_the_first(torch, t):
    seen = []
    a, b = t * 2, t * 3
    with torch.autograd.graph.register_multi_grad_hook([a, b], lambda g: seen.append(g.tolist()), mode="any"):
        (a * 7 + b * 5).sum().backward(retain_graph=True)
        assert seen == [[5.0, 5.0]]
        a.sum().backward(retain_graph=True)
        assert seen == [[5.0, 5.0], [1.0, 1.0]]
    a.sum().backward()
    assert len(seen) == 2


def test_s120_other_modes(torch, t, raises):
    with raises(ValueError, "Expects mode to be one of ('all', 'any') but got foo"):
        torch.autograd.graph.register_multi_grad_hook([t], lambda gs: None, mode="foo")


def test_s120_a_nested_backward_counts_by_itself(torch, t):
    seen = []
    m, n = t * 2, t * 3

    def inner(g):
        if not seen:
            with torch.enable_grad():
                torch.autograd.backward(n.sum(), retain_graph=True)

    torch.autograd.graph.register_multi_grad_hook([m, n], lambda gs: seen.append([g is not None for g in gs]))
    root = (m + n).sum()
    root.register_hook(inner)
    root.backward()
    assert seen == [[False, True], [True, True]]


# ---- how long hooks live


@pytest.mark.parametrize("register", [
    lambda m, hook: m.grad_fn.register_prehook(hook),
    lambda m, hook: m.grad_fn.register_hook(hook),
    lambda m, hook: m.register_hook(hook),
])
def test_hooks_die_with_the_graph(t, register):
    class Hook:
        def __call__(self, *_):
            return None

    gc.disable()
    try:
        m = t * 2
        hook = Hook()
        alive = weakref.ref(hook)
        handle = register(m, hook)
        del hook, m
        assert alive() is None
        handle.remove()
    finally:
        gc.enable()


@pytest.mark.differs("PyTorch's collector does not see them")
@pytest.mark.parametrize("where", ["node", "leaf", "accumulator"])
def test_cycles_through_hooks_are_collected(torch, where):
    class Mark:
        pass

    def make():
        leaf = torch.tensor([1.0, 2.0], requires_grad=True)
        m = leaf * 2
        y = m.sin()
        mark = Mark()

        def hook(*_, kept=(y, mark)):
            return None

        if where == "node":
            m.grad_fn.register_prehook(hook)
        elif where == "leaf":
            leaf.register_post_accumulate_grad_hook(hook)
        else:
            m.grad_fn.next_functions[0][0].register_hook(hook)
        y.sum().backward()
        return weakref.ref(mark)

    alive = make()
    gc.collect()
    assert alive() is None


@pytest.mark.differs("PyTorch's AccumulateGrad node dies with the last reference to it, and its hooks with it")
def test_a_hook_of_accumulation_stays_with_the_leaf(t):
    calls = []
    (t * 2).grad_fn.next_functions[0][0].register_prehook(lambda gs: calls.append(1))
    (t * 2).sum().backward()
    assert calls == [1]


@pytest.mark.differs("PyTorch keeps the graph of a pass that failed")
def test_s120_a_pass_that_fails_leaves_nothing_behind(torch):
    def fail(*_):
        raise KeyError

    kept = []
    for _ in range(3):
        leaf = torch.tensor([1.0, 2.0], requires_grad=True)
        m = leaf * 2
        kept.append(torch.autograd.graph.register_multi_grad_hook([m, leaf], lambda gs: None))
        m.grad_fn.register_hook(fail)
        with pytest.raises(KeyError):
            m.sum().backward()
        kept.append(weakref.ref(leaf))
        del leaf, m
    gc.collect()
    assert [alive() for alive in kept[1::2]] == [None] * 3


@pytest.mark.differs("hooks of nodes inside torch.func are not called")
def test_node_hooks_inside_transforms(torch):
    def loss(x):
        y = x * x
        if y.grad_fn is not None:
            y.grad_fn.register_prehook(lambda gs: (gs[0] * 2,))
            y.grad_fn.register_hook(lambda gs, outs: tuple(None if g is None else g * 3 for g in gs))
        return y.sum()

    x = torch.tensor([1.0, 2.0])
    assert torch.func.grad(loss)(x).tolist() == [12.0, 24.0]
    assert torch.func.vmap(torch.func.grad(loss))(torch.stack([x, x])).tolist() == [[12.0, 24.0]] * 2
