"""What the tests of checkpoints share: leaves, functions to run under a checkpoint, a look at the engine afterwards."""

import agrad
from agrad.autograd import grad


def leaf(*values):
    return agrad.tensor(values, requires_grad=True)


class Counted:
    """A function that counts its calls."""

    def __init__(self, function):
        self.function, self.calls = function, 0

    def __call__(self, *args, **kwargs):
        self.calls += 1
        return self.function(*args, **kwargs)


def wave(x):
    return agrad.exp(agrad.sin(x) * x)


def engine_is_in_order():
    x = leaf(2.0)
    (g,) = grad(x * x * x, x)
    return agrad.is_grad_enabled() and g.tolist() == [12.0]
