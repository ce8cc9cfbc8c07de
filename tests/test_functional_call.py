"""agrad.func.functional_call: an object called with other parameters, against torch.func."""

import re

import numpy as np
import pytest
from array_libraries import values
from nested_results import assert_same, flat

import agrad
from agrad import func

X, S = np.array([0.5, -1.25, 2.0]), np.array(0.75)


class Linear:
    def __init__(self, weight, bias):
        self.weight, self.bias = weight, bias

    def __call__(self, x):
        return agrad.matmul(self.weight, x) + self.bias


class Net:
    def __init__(self):
        self.first = Linear(agrad.ones((3, 3)), agrad.zeros(3))
        self.last = Linear(agrad.ones((3, 3)), agrad.zeros(3))

    def named_parameters(self, remove_duplicate=True):
        for name in ("first", "last"):
            yield f"{name}.weight", getattr(self, name).weight
            yield f"{name}.bias", getattr(self, name).bias

    def __call__(self, x, scale=1.0):
        return agrad.sum(self.last(agrad.tanh(self.first(x)))) * scale


def test_functional_call_puts_parameters_in_place_and_back():
    net, x = Net(), agrad.asarray(X)
    before = dict(net.named_parameters())
    new = {name: 2 * t + 0.1 for name, t in before.items()}
    found = func.functional_call(net, new, x, {"scale": 2.0})
    hidden = np.tanh(np.full((3, 3), 2.1) @ X + 0.1)
    np.testing.assert_allclose(values(found), 2 * (np.full((3, 3), 2.1) @ hidden + 0.1).sum())
    assert all(t is before[name] for name, t in net.named_parameters())
    with pytest.raises(TypeError):
        func.functional_call(net, new, (x, 1.0, 2.0))
    assert all(t is before[name] for name, t in net.named_parameters())


def test_gradients_by_parameters():
    net, x = Net(), agrad.asarray(X)
    params = {name: t * 0.3 for name, t in net.named_parameters()}
    found = func.grad(lambda p: func.functional_call(net, p, x))(params)
    assert list(found) == list(params)
    h = 1e-6
    up, down = (
        func.functional_call(net, params | {"first.bias": params["first.bias"] + sign * h}, (x,)) for sign in (1, -1)
    )
    np.testing.assert_allclose(values(agrad.sum(found["first.bias"])), values(up - down) / (2 * h), rtol=1e-6)


class Two:
    def __init__(self):
        self.a = self.b = agrad.ones(())
        self.count = agrad.zeros(())

    def named_parameters(self, remove_duplicate=True):
        yield "a", self.a
        if not remove_duplicate:
            yield "b", self.b

    def __call__(self, x):
        self.count = self.count + 1
        return x * self.a + self.b


def two(m):
    """An object with one parameter under two names, for agrad or PyTorch."""
    if m is agrad:
        return Two()

    class TorchTwo(m.nn.Module):
        def __init__(self):
            super().__init__()
            self.a = m.nn.Parameter(m.ones(()))
            self.b = self.a

        def forward(self, x):
            return x * self.a + self.b

    return TorchTwo()


@pytest.mark.parametrize("program", [
    lambda m, f, x: f.functional_call(two(m), {"a": x}, x),
    lambda m, f, x: f.functional_call(two(m), {"a": x}, x, tie_weights=False),
    lambda m, f, x: f.functional_call(two(m), ({"a": x}, {"b": x}), (x,)),
])
def test_tied_parameters_are_replaced_together(program):
    torch = pytest.importorskip("torch")
    assert_same(flat(program(agrad, func, agrad.asarray(S))), flat(program(torch, torch.func, torch.tensor(S))))


@pytest.mark.parametrize("program", [
    lambda m, f, x: f.functional_call(two(m), {"a": x, "b": 2 * x}, x),
    lambda m, f, x: f.functional_call(two(m), ({"a": x}, {"a": x}), x),
    lambda m, f, x: f.functional_call(two(m), ({"a": x}, 3), x),
    lambda m, f, x: f.functional_call(two(m), 3, x),
    lambda m, f, x: f.functional_call(two(m), {"sub.c": x}, x),
])
def test_errors_of_functional_call(program):
    torch = pytest.importorskip("torch")
    with pytest.raises((ValueError, AttributeError)) as expected:
        program(torch, torch.func, torch.tensor(S))
    with pytest.raises(expected.type) as found:
        program(agrad, func, agrad.asarray(S))
    assert str(found.value) == str(expected.value).replace("TorchTwo", "Two")


def test_strict_names():
    text = "Error(s) in reparametrizing for Two:\n\tMissing key(s): 'a', 'b'.\n\tUnexpected key(s): 'c'."
    with pytest.raises(RuntimeError, match=re.escape(text)):
        func.functional_call(Two(), {"c": agrad.ones(())}, agrad.ones(()), strict=True)


def test_what_a_call_assigns_is_handed_back():
    module, given = Two(), {"count": agrad.ones(())}
    func.functional_call(module, given, agrad.ones(()))
    assert float(given["count"]) == 2.0
    assert float(module.count) == 0.0


# ------------------------------------------------------------------------------------------------------------- modules


def layer(m):
    """A small network for agrad or PyTorch: two layers that share a weight, and a buffer that counts."""

    class Layer(m.nn.Module):
        def __init__(self, weight):
            super().__init__()
            self.weight = m.nn.Parameter(m.asarray(weight))
            self.register_buffer("calls", m.asarray(np.zeros(())))

        def forward(self, x):
            self.calls = self.calls + 1
            return m.tanh(m.matmul(self.weight, x)) * self.calls

    class Net(m.nn.Module):
        def __init__(self, seed=0):
            super().__init__()
            weight = np.random.default_rng(seed).standard_normal((3, 3))
            self.layers = m.nn.ModuleList([Layer(weight), Layer(weight), Layer(weight.T.copy())])
            self.layers[1].weight = self.layers[0].weight

        def forward(self, x, scale=1.0):
            for one in self.layers:
                x = one(x)
            return m.sum(x) * scale

    return Net


def new_values(module, m):
    return {name: p.detach() * 0.5 + 0.1 for name, p in module.named_parameters()}


def per_sample(m, f, x):
    net = layer(m)()
    params, buffers = new_values(net, m), {name: t.clone() for name, t in net.named_buffers()}

    def loss(params, x):
        return f.functional_call(net, (params, buffers), (x,))

    return f.vmap(f.grad(loss), (None, 0))(params, m.stack([x, 2 * x]))


def ensemble(m, f, x):
    kind = layer(m)
    nets = [kind(seed) for seed in range(3)]
    params, buffers = f.stack_module_state(nets)

    def run(params, buffers, x):
        return f.functional_call(nets[0], (params, buffers), (x,))

    found = f.vmap(run, (0, 0, None))(params, buffers, x)
    (found.sum()).backward()
    return [found.detach(), {name: p.grad for name, p in params.items()}]


MODULE_PROGRAMS = {
    "called": lambda m, f, x: f.functional_call(layer(m)(), new_values(layer(m)(), m), (x,), {"scale": 2.0}),
    "gradient": lambda m, f, x: (lambda net: f.grad(lambda p: f.functional_call(net, p, (x,)))(new_values(net, m)))(
        layer(m)()),
    "second order": lambda m, f, x: (lambda net: f.hessian(lambda p: f.functional_call(net, p, (x,)))(
        new_values(net, m)))(layer(m)()),
    "forward mode": lambda m, f, x: (lambda net: f.jvp(
        lambda p: f.functional_call(net, p, (x,)), (new_values(net, m),), (new_values(net, m),)))(layer(m)()),
    "per sample": per_sample,
    "ensemble": ensemble,
    "not tied": lambda m, f, x: f.functional_call(
        layer(m)(), {"layers.0.weight": m.asarray(np.eye(3))}, (x,), tie_weights=False),
    "tied": lambda m, f, x: f.functional_call(layer(m)(), {"layers.0.weight": m.asarray(np.eye(3))}, (x,)),
    "tied by the other name": lambda m, f, x: f.functional_call(
        layer(m)(), {"layers.1.weight": m.asarray(np.eye(3))}, (x,)),
}


@pytest.mark.filterwarnings("ignore:.*torch.jit.script.*:DeprecationWarning")  # of torch.func
@pytest.mark.parametrize("program", MODULE_PROGRAMS.values(), ids=MODULE_PROGRAMS)
def test_modules_are_called_with_other_parameters_as_by_torch(program):
    torch = pytest.importorskip("torch")
    assert_same(flat(program(agrad, func, agrad.asarray(X))), flat(program(torch, torch.func, torch.tensor(X))))


def test_a_module_is_as_before_after_a_call_with_others():
    net = layer(agrad)()
    before = dict(net.named_parameters(remove_duplicate=False)) | dict(net.named_buffers())
    state = {name: values(t).copy() for name, t in net.state_dict().items()}
    buffers = {name: t.clone() for name, t in net.named_buffers()}
    func.functional_call(net, (new_values(net, agrad), buffers), (agrad.asarray(X),))
    assert [float(t) for t in buffers.values()] == [1.0, 1.0, 1.0]
    with pytest.raises(TypeError):
        func.functional_call(net, (new_values(net, agrad), buffers), (1, 2, 3, 4))
    after = dict(net.named_parameters(remove_duplicate=False)) | dict(net.named_buffers())
    assert all(after[name] is t for name, t in before.items())
    for name, t in net.state_dict().items():
        np.testing.assert_array_equal(values(t), state[name])


@pytest.mark.parametrize("models", [
    lambda m: [],
    lambda m: [layer(m)(), layer(m)().eval()],
    lambda m: [m.nn.Module(), m.nn.ModuleList()],
    lambda m: (lambda Net: [Net(), Net().requires_grad_(False)])(layer(m)),
])
def test_only_modules_of_one_kind_are_stacked(models):
    torch = pytest.importorskip("torch")
    with pytest.raises(RuntimeError) as expected:
        torch.func.stack_module_state(models(torch))
    with pytest.raises(RuntimeError) as found:
        func.stack_module_state(models(agrad))
    assert str(found.value) == str(expected.value)


def test_what_is_computed_cannot_be_replaced():
    layer = agrad.nn.utils.parametrizations.weight_norm(agrad.nn.Linear(3, 2))
    bias = layer.bias
    with pytest.raises(AttributeError, match=r"Linear\.weight is computed"):
        func.functional_call(layer, {"bias": agrad.zeros(2), "weight": agrad.zeros((2, 3))}, agrad.ones((1, 3)))
    assert layer.bias is bias
