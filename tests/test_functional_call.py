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
        self.layers = [Linear(agrad.ones((3, 3)), agrad.zeros(3))]

    def named_parameters(self, remove_duplicate=True):
        for name, layer in (("first", self.first), ("layers.0", self.layers[0])):
            yield f"{name}.weight", layer.weight
            yield f"{name}.bias", layer.bias

    def __call__(self, x, scale=1.0):
        return agrad.sum(self.layers[0](agrad.tanh(self.first(x)))) * scale


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
