"""Hooks of modules, forward and backward: the same programs with torch.nn and agrad.nn."""

import warnings

import numpy as np
import pytest
from array_libraries import values
from module_programs import linear, net, plain, point, said

import agrad
from agrad import func, nn


class Log:
    """What happened, in the order in which it did."""

    def __init__(self):
        self.lines = []

    def hook(self, name, result=None):
        """A hook that notes its arguments but the module, and returns something of them."""

        def hook(module, *args):
            self.lines.append([name, type(module).__name__, *(plain(a) for a in args)])
            return None if result is None else result(*args)

        return hook


def run(m, hooks, call=lambda module, x: module(x), tracked=True, make=net):
    """Register hooks on a module (kind, name, what it returns, keywords), call it, walk back: what happened."""
    module, log, x = make(m), Log(), point(m)
    x.requires_grad_(tracked)
    handles = [
        getattr(module, f"register_{kind}")(log.hook(name, new), **keywords) for kind, name, new, keywords in hooks
    ]
    y = said(lambda: call(module, x))
    result = call(module, x) if not isinstance(y, str) else None
    if hasattr(result, "requires_grad") and result.requires_grad:
        log.lines.append(said(lambda: result.sum().backward()))
    for handle in handles:
        handle.remove()
        handle.remove()
    after = None if result is None else call(module, x)
    return [y, log.lines, x.grad, [p.grad for p in module.parameters()], after]


def several(m):
    """A module with other arguments than tensors and a result of several parts."""

    class Several(m.nn.Module):
        def forward(self, x, power, y=None, other=None):
            return x * 2, "text", (x + y) ** power

    return Several()


def failing(m):
    class Failing(m.nn.Module):
        def forward(self, x):
            raise ValueError("on purpose")

    return Failing()


PRE, FORWARD = "forward_pre_hook", "forward_hook"
BACKWARD_PRE, BACKWARD = "full_backward_pre_hook", "full_backward_hook"
RUNS = {
    "before": {"hooks": [(PRE, "a", None, {})]},
    "before, other arguments": {"hooks": [(PRE, "a", lambda args: (args[0] * 2,), {})]},
    "before, one other argument": {"hooks": [(PRE, "a", lambda args: args[0] * 2, {})]},
    "before, with keywords": {
        "hooks": [(PRE, "a", lambda args, kwargs: (args, {"scale": 3.0}), {"with_kwargs": True})],
        "make": lambda m: linear(m)(3, 2), "call": lambda module, x: module(x, scale=2.0)},
    "before, with keywords, wrongly": {"hooks": [(PRE, "a", lambda args, kwargs: 3, {"with_kwargs": True})]},
    "after": {"hooks": [(FORWARD, "a", None, {})]},
    "after, another result": {"hooks": [(FORWARD, "a", lambda args, y: y * 2, {}), (FORWARD, "b", None, {})]},
    "after, with keywords": {
        "hooks": [(FORWARD, "a", lambda args, kwargs, y: y * kwargs["scale"], {"with_kwargs": True})],
        "make": lambda m: linear(m)(3, 2), "call": lambda module, x: module(x, scale=2.0)},
    "in their order": {"hooks": [
        (PRE, "a", None, {}), (PRE, "b", None, {}), (PRE, "c", None, {"prepend": True}), (FORWARD, "d", None, {}),
        (FORWARD, "e", None, {"prepend": True}), (FORWARD, "f", None, {"prepend": True}),
        (BACKWARD, "g", None, {}), (BACKWARD, "h", None, {"prepend": True}),
        (BACKWARD_PRE, "i", None, {}), (BACKWARD_PRE, "j", None, {"prepend": True})]},
    "always": {"hooks": [
        (FORWARD, "a", None, {}), (FORWARD, "b", None, {"always_call": True}),
        (FORWARD, "c", None, {"always_call": True, "with_kwargs": True})], "make": failing},
    "always, though all is well": {"hooks": [(FORWARD, "a", None, {"always_call": True})]},
    "always, though a hook failed": {"hooks": [
        (FORWARD, "a", lambda args, y: 1 / 0, {}), (FORWARD, "b", None, {"always_call": True})]},
    "always, once": {"hooks": [
        (FORWARD, "b", None, {"always_call": True}), (FORWARD, "a", lambda args, y: 1 / 0, {})]},
    "on the way back": {"hooks": [(BACKWARD_PRE, "a", None, {}), (BACKWARD, "b", None, {})]},
    "on the way back, other gradients of outputs": {
        "hooks": [(BACKWARD_PRE, "a", lambda grads: (grads[0] * 3,), {}), (BACKWARD, "b", None, {})]},
    "on the way back, other gradients of inputs": {
        "hooks": [(BACKWARD, "b", lambda grads, out: (grads[0] * 3,), {}), (BACKWARD, "c", None, {})]},
    "on the way back, the wrong number": {"hooks": [(BACKWARD, "b", lambda grads, out: (1, 2), {})]},
    "on the way back, the wrong number of outputs": {"hooks": [(BACKWARD_PRE, "b", lambda grads: (1, 2), {})]},
    "on the way back, several tensors": {
        "hooks": [(BACKWARD_PRE, "a", None, {}), (BACKWARD, "b", None, {})], "make": several,
        "call": lambda module, x: module(x, 2, x * 3)[2]},
    "on the way back, of keywords nothing is seen": {
        "hooks": [(BACKWARD, "b", None, {})], "make": several, "call": lambda module, x: module(x, 2, y=x * 3)[2]},
}


@pytest.mark.parametrize("given", RUNS.values(), ids=RUNS)
def test_hooks_run_as_torchs(given):
    torch = pytest.importorskip("torch")
    expected = said(lambda: run(torch, **given))
    assert said(lambda: run(agrad, **given)) == expected


def test_without_tracked_inputs_a_backward_hook_runs_when_the_outputs_are_there():
    torch = pytest.importorskip("torch")
    hooks = [(BACKWARD_PRE, "a", None, {}), (BACKWARD, "b", None, {})]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")     # PyTorch warns
        expected = run(torch, hooks, tracked=False)
    assert plain(run(agrad, hooks, tracked=False)) == plain(expected)
    wrong = run(agrad, [(BACKWARD, "b", lambda grads, out: (out[0],), {})], tracked=False)
    assert "where no input requires gradient should always return None" in wrong[1][-1]


def test_backward_hooks_leave_what_is_not_tracked_alone():
    class Gather(nn.Module):
        def forward(self, x, scale, places):
            self.given = scale, places
            scale += 1
            return x[places] * scale, scale

    module, sent = Gather(), []
    module.register_full_backward_hook(lambda module, grad_input, grad_output: sent.append((grad_input, grad_output)))
    x, scale, places = agrad.ones(3, requires_grad=True), agrad.ones(2), agrad.asarray([0, 2])
    y, same_scale = module(x, scale, places)
    assert module.given[0] is scale
    assert module.given[1] is places
    assert same_scale is scale
    assert not scale.requires_grad
    y.sum().backward()
    assert plain(sent) == [[[[2.0, 0.0, 2.0], None, None], [[1.0, 1.0], None]]]


def test_a_hook_that_fails_after_another_error_does_not_hide_it():
    module = failing(agrad)
    module.register_forward_hook(lambda *args: 1 / 0, always_call=True)
    with pytest.warns(UserWarning, match="was silenced as another error was raised"), \
            pytest.raises(ValueError, match="on purpose"):
        module(3)


def test_backward_hooks_say_so_when_there_is_no_tensor_to_watch():
    class Dict(agrad.nn.Module):
        def forward(self, x):
            return {"x": x}

    module = Dict()
    module.register_full_backward_hook(lambda *args: None)
    with pytest.warns(UserWarning, match="should be a Tensor or a tuple of Tensors"):
        module(agrad.ones(2, requires_grad=True))


def test_backward_hooks_work_in_second_order_and_in_transforms():
    seen = []
    module, x = net(agrad), point(agrad).requires_grad_()
    expected = func.hessian(lambda x: module(x).sum())(x)
    handle = module.register_full_backward_hook(lambda module, grad_input, grad_output: seen.append(grad_output))
    (g,) = agrad.autograd.grad(module(x).sum(), x, create_graph=True)
    assert g.requires_grad
    rows = [agrad.autograd.grad(g[0, i], x, retain_graph=True)[0] for i in range(3)]
    np.testing.assert_allclose(values(agrad.concat(rows)), values(expected)[0, :, 0, :], atol=1e-12)
    for hessian in (func.hessian, lambda f: func.jacrev(func.jacrev(f))):
        np.testing.assert_allclose(values(hessian(lambda x: module(x).sum())(x)), values(expected), atol=1e-12)
    batch = agrad.concat([x.detach(), x.detach() + 1.0])[:, None, :]
    found = func.vmap(func.grad(lambda x: module(x).sum()))(batch)
    assert len(seen) > 3
    handle.remove()
    np.testing.assert_allclose(values(found), values(func.vmap(func.grad(lambda x: module(x).sum()))(batch)))


def test_a_hook_may_remove_itself_and_add_others_while_it_runs():
    module, seen = net(agrad), []

    def once(module, args):
        seen.append("once")
        handle.remove()
        module.register_forward_pre_hook(lambda module, args: seen.append("later"))

    handle = module.register_forward_pre_hook(once)
    module(point(agrad))
    assert seen == ["once"]
    module(point(agrad))
    assert seen == ["once", "later"]
