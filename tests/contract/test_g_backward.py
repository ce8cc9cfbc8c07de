"""Section G: `Tensor.backward` and `autograd.backward`."""

import gc
import subprocess
import sys
import threading
import weakref

import numpy as np
import pytest

AGAIN = (
    "Trying to backward through the graph a second time (or directly access saved tensors after they have already been"
    " freed). Saved intermediate values of the graph are freed when you call .backward() or autograd.grad(). Specify"
    " retain_graph=True if you need to backward through the graph a second time or if you need to access saved tensors"
    " after calling backward."
)


on_every_backend = pytest.mark.usefixtures("backend")


def leaf(torch, *values):
    return torch.tensor(values, requires_grad=True)


# ---- arguments


def test_s066_backward_returns_none_and_takes_its_arguments_by_position(torch, t):
    y = t * t
    assert y.backward(torch.ones(2), True, False, [t]) is None
    assert y.backward(torch.ones(2)) is None
    assert t.grad.tolist() == [4.0, 8.0]


def test_s066_an_unknown_keyword_is_refused(t):
    with pytest.raises(TypeError):
        t.sum().backward(foo=1)
    assert t.grad is None


def test_s067_no_gradient_needs_one_element(torch, t, raises):
    with raises(RuntimeError, "grad can be implicitly created only for scalar outputs"):
        (t * 2).backward()
    with raises(RuntimeError, "grad can be implicitly created only for real scalar outputs but got torch.complex64"):
        torch.tensor(1j, requires_grad=True).exp().backward()
    assert t.grad is None
    (t[:1].reshape(1, 1) * 3).backward()
    assert t.grad.tolist() == [3.0, 0.0]


def test_s068_a_root_without_a_graph(torch, t, raises):
    text = "element {} of tensors does not require grad and does not have a grad_fn"
    with raises(RuntimeError, text.format(0)):
        torch.tensor(1.0).backward()
    with raises(RuntimeError, text.format(1)):
        torch.autograd.backward([t.sum(), torch.tensor(1.0)])
    assert t.grad is None


@pytest.mark.parametrize("shape", [(3,), (1,), (), (2, 1), (1, 2)])
def test_s069_the_gradient_has_exactly_the_shape_of_the_root(shape, torch, t):
    with pytest.raises(RuntimeError):
        (t * 2).backward(torch.ones(shape))
    assert t.grad is None


@pytest.mark.parametrize("gradient", [1.0, [1.0, 1.0], "ones"])
def test_s070_the_gradient_is_a_tensor(gradient, t):
    with pytest.raises(TypeError):
        (t * 2).backward(gradient)
    assert t.grad is None


def test_s071_a_gradient_of_another_real_dtype_is_cast(torch, t):
    (t * 2).backward(torch.ones(2, dtype=torch.float64))
    assert t.grad.dtype == torch.float32
    assert t.grad.tolist() == [2.0, 2.0]


def test_s071_real_and_complex_do_not_mix(torch, t):
    with pytest.raises(RuntimeError):
        (t * 2).backward(torch.ones(2, dtype=torch.complex64))
    z = leaf(torch, 1j, 2j)
    with pytest.raises(RuntimeError):
        (z * 2).backward(torch.ones(2))
    assert t.grad is None
    assert z.grad is None


def test_s072_as_many_gradients_as_roots(torch, t):
    with pytest.raises(RuntimeError):
        torch.autograd.backward([t.sum(), t.prod()], [torch.tensor(1.0)])
    assert t.grad is None
    torch.autograd.backward([])
    with pytest.warns(FutureWarning):
        torch.autograd.backward([t * 2], grad_variables=[torch.ones(2)])
    assert t.grad.tolist() == [2.0, 2.0]


def test_s073_several_roots_make_one_walk(torch, t):
    calls = []
    m = t * t
    m.register_hook(lambda g: calls.append(g.tolist()))
    root = m.sum()
    torch.autograd.backward([root, root, m], [None, None, torch.ones(2)])
    assert calls == [[3.0, 3.0]]
    assert t.grad.tolist() == [6.0, 12.0]


@pytest.mark.parametrize("inputs", [[], ()])
def test_s074_inputs_may_not_be_empty(inputs, t):
    with pytest.raises(RuntimeError):
        t.sum().backward(inputs=inputs)


def test_s075_inputs_select_leaves(torch, t):
    other = leaf(torch, 3.0, 4.0)
    y = (t * other).sum()
    y.backward(inputs=[t, t], retain_graph=True)
    assert t.grad.tolist() == [3.0, 4.0]
    assert other.grad is None
    y.backward(inputs=other)
    assert t.grad.tolist() == [3.0, 4.0]
    assert other.grad.tolist() == [1.0, 2.0]


def test_s076_a_result_as_input_keeps_its_gradient(t):
    m = t * 2
    (m * m).sum().backward(inputs=[m])
    assert m.retains_grad is True
    assert m.grad.tolist() == [4.0, 8.0]
    assert t.grad is None


def test_s077_inputs_without_a_path(torch, t):
    with pytest.raises(RuntimeError):
        t.sum().backward(inputs=[torch.zeros(2)])
    assert t.grad is None
    stranger = leaf(torch, 1.0)
    t.sum().backward(inputs=[stranger])
    assert stranger.grad is None
    assert t.grad is None


# ---- freeing


def test_s078_a_freed_graph_refuses_a_second_backward(t, raises):
    y = (t * t).sum()
    y.backward()
    with raises(RuntimeError, start=AGAIN):
        y.backward()
    assert t.grad.tolist() == [2.0, 4.0]


def test_s079_nodes_that_save_nothing_can_be_walked_again(t, raises):
    y = (t + t).sum()
    y.backward()
    y.backward()
    assert t.grad.tolist() == [4.0, 4.0]
    scaled = (t * 2).sum()
    scaled.backward()
    with raises(RuntimeError, start=AGAIN):
        scaled.backward()


def test_s081_only_the_nodes_that_ran_are_freed(torch, t, raises):
    other = leaf(torch, 3.0, 4.0)
    shared = t * t
    left, right = shared.sin().sum(), (shared * other).sum()
    right.backward(inputs=[other])
    left.backward()  # the walk to `other` did not run `shared`
    with raises(RuntimeError, start=AGAIN):
        torch.autograd.grad(shared.sum(), t)
    with raises(RuntimeError, start=AGAIN):
        (shared + 1).sum().backward()
    with raises(RuntimeError, start=AGAIN):
        left.backward()


def test_s082_retain_graph_follows_create_graph(torch, t, raises):
    y = (t * t).sum()
    torch.autograd.grad(y, t, create_graph=True)
    torch.autograd.grad(y, t, create_graph=True, retain_graph=False)
    with raises(RuntimeError, start=AGAIN):
        y.backward()
    z = (t * t).sum()
    z.backward(retain_graph=True)
    z.backward()
    with raises(RuntimeError, start=AGAIN):
        z.backward()


def test_s083_the_graph_survives_without_its_values(t):
    m = t * t
    y = m.sum()
    node, edges = y.grad_fn, m.grad_fn.next_functions
    y.backward()
    assert y.requires_grad
    assert y.grad_fn is node
    assert node.next_functions == ((m.grad_fn, 0),)
    assert m.grad_fn.next_functions == edges
    assert len(edges) == 2


# ---- modes


def test_s084_backward_runs_under_its_own_mode(torch, t):
    y = (t * t * t).sum()
    seen = []
    with torch.no_grad():
        (g,) = torch.autograd.grad(y, t, create_graph=True)
        y.backward(inputs=[t], retain_graph=True)
        assert not torch.is_grad_enabled()
    assert g.requires_grad
    (h,) = torch.autograd.grad(g.sum(), t)
    assert h.tolist() == [6.0, 12.0]
    m = t * t
    m.register_hook(lambda g: seen.append(torch.is_grad_enabled()))
    torch.autograd.grad(m.sum(), t, create_graph=True)
    torch.autograd.grad(m.sum(), t)
    assert seen == [True, False]
    assert torch.is_grad_enabled()


CREATE_TWICE = """
import warnings
import {0} as torch
t = torch.tensor([1.0, 2.0], requires_grad=True)
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    (t * t).sum().backward(create_graph=True)
    (t * t).sum().backward(create_graph=True)
assert [entry.category for entry in caught] == [UserWarning], caught
t.grad = None
"""


def test_s085_backward_with_create_graph_warns_once_in_a_process(torch):
    program = CREATE_TWICE.format(torch.__name__)
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


# ---- the walk


def test_s086_the_latest_node_runs_first(t):
    order = []
    a = t * 1
    b = t * 2
    c = a * 3
    for name, x in [("a", a), ("b", b), ("c", c)]:
        x.register_hook(lambda g, name=name: order.append(name))
    (b + c).sum().backward()
    assert order == ["c", "b", "a"]


def test_s086_a_node_runs_once_whatever_its_fan_out(t):
    calls = []
    m = t * t
    m.register_hook(lambda g: calls.append(g.tolist()))
    total = m
    for _ in range(10):
        total = total + m
    total.sum().backward()
    assert calls == [[11.0, 11.0]]


@on_every_backend
def test_s087_an_exception_keeps_what_was_stored(torch, t):
    class Stop(Exception):
        pass

    def stop(g):
        raise Stop("here")

    late, early = leaf(torch, 1.0, 2.0), leaf(torch, 3.0, 4.0)
    blocked = early * 2
    handle = blocked.register_hook(stop)
    reached = late * 3
    y = (blocked + reached).sum()
    with pytest.raises(Stop, match="here"):
        y.backward()
    assert late.grad.tolist() == [3.0, 3.0]
    assert early.grad is None
    assert torch.is_grad_enabled()
    handle.remove()
    (early * 2).sum().backward()
    assert early.grad.tolist() == [2.0, 2.0]


@on_every_backend
def test_s088_callbacks_run_at_the_end_of_the_walk(torch, t):
    engine = torch.autograd.Variable._execution_engine
    order = []

    def hook(g):
        order.append("hook")
        engine.queue_callback(lambda: order.append(("end", t.grad.tolist())))

    m = t * 2
    m.register_hook(hook)
    m.sum().backward()
    assert order == ["hook", ("end", [2.0, 2.0])]
    with pytest.raises(RuntimeError):
        engine.queue_callback(lambda: None)


@on_every_backend
def test_s089_backward_runs_in_the_calling_thread(t):
    threads = []
    m = t * 2
    m.register_hook(lambda g: threads.append(threading.get_ident()))
    m.sum().backward()
    assert threads == [threading.get_ident()]


@on_every_backend
def test_s089_a_deep_graph_is_walked_and_freed_without_recursion(torch):
    x = leaf(torch, 1.0)
    y = x
    for _ in range(100_000):
        y = y + 1
    y.backward()
    assert x.grad.tolist() == [1.0]
    del y


@on_every_backend
def test_s089_nested_walks(torch, t):
    depth = 0

    def descend(g):
        nonlocal depth
        depth += 1
        if depth < 200:
            with torch.enable_grad():
                inner = t * 2
            inner.register_hook(descend)
            inner.backward(g)

    outer = t * 2
    outer.register_hook(descend)
    outer.sum().backward()
    assert depth == 200
    assert t.grad.tolist() == [400.0, 400.0]


@on_every_backend
def test_s090_threads_accumulate_into_one_leaf(torch):
    shared = torch.zeros(1000, requires_grad=True)

    def work():
        for _ in range(20):
            (shared * 2).sum().backward()

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert shared.grad.tolist() == [320.0] * 1000


def test_s091_saved_values_are_freed_by_reference_count(torch, t):
    gc.disable()
    try:
        array = np.ones(2, dtype=np.float32)
        alive = weakref.ref(array)
        y = (t * torch.from_numpy(array)).sum()
        del array
        assert alive() is not None
        y.backward()
        assert alive() is None
    finally:
        gc.enable()


@on_every_backend
def test_s091_arrays_of_every_library_are_freed(torch, t):
    gc.disable()
    try:
        factor = torch.ones(2) * 3
        alive = weakref.ref(factor.array)
        y = (t * factor).sum()
        del factor
        assert alive() is not None
        y.backward()
        assert alive() is None
    finally:
        gc.enable()
