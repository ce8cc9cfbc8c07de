"""`on_saved_write = "copy"` lifts PyTorch's refusal to write to one of several views, and the gradients are right."""

import numpy as np
import pytest

import agrad

X = np.array([[0.5, -1.2, 2.0], [1.5, 0.7, -0.3]])
REFUSED = "This view is the output of a function that returns multiple views"


def scale_one(y, x):
    a, _ = agrad.unstack(y)
    a *= x[1]
    return y


def scale_both(y, x):
    a, b = agrad.unstack(y)
    a *= b
    b += a
    return y


def read_the_other_view(y, x):
    a, b = agrad.unstack(y)
    kept = a * a
    a -= x[0] * 2
    return kept + a + b


def write_an_item(y, x):
    first, second, _ = agrad.unstack(y, axis=1)
    first[0] = x[1, 2] ** 2
    second[...] = first * x[:, 0]
    return y


def write_a_view_of_a_view(y, x):
    row = agrad.unstack(y[:, :2], axis=1)[1]
    row[1:] *= x[0, 0]
    return y * y


def write_in_a_loop(y, x):
    for row in y:           # iterating is unstack
        row += x[0]
        row *= row
    return y


def write_after_use(y, x):
    a, b = agrad.unstack(y)
    z = agrad.exp(a) * b
    b *= a
    return z + b


PROGRAMS = [
    scale_one, scale_both, read_the_other_view, write_an_item, write_a_view_of_a_view, write_in_a_loop, write_after_use,
]


def with_copies(program):
    def run(x):
        with agrad.autograd.graph.allow_mutation_on_saved_tensors():
            return agrad.sum(program(x * 1.5, x) * agrad.asarray(np.array([1.0, -0.7, 0.4])))

    return run


@pytest.mark.parametrize("program", PROGRAMS)
def test_writing_to_unbound_views_is_right_under_copy(program, backend):
    x = agrad.asarray(X.copy()).requires_grad_()
    (gradient,) = agrad.autograd.grad(with_copies(program)(x), x)
    for place in np.ndindex(X.shape):
        step = np.zeros_like(X)
        step[place] = 1e-6
        high, low = (float(with_copies(program)(agrad.asarray(X + s * step))) for s in (1, -1))
        assert float(gradient[place]) == pytest.approx((high - low) / 2e-6, rel=1e-7, abs=1e-8)


@pytest.mark.parametrize("program", PROGRAMS)
def test_it_is_refused_otherwise(program, backend):
    x = agrad.asarray(X.copy()).requires_grad_()
    with pytest.raises(RuntimeError, match=REFUSED):
        program(x * 1.5, x)


def test_the_configuration_does_it_too():
    agrad.configuration.set_default("on_saved_write", "copy")
    try:
        x = agrad.tensor([1.0, 2.0], requires_grad=True)
        y = x * 2
        a, _ = agrad.unstack(y)
        a *= x[1]
        assert agrad.autograd.grad(y.sum(), x)[0].tolist() == [4.0, 4.0]
    finally:
        agrad.configuration.set_default("on_saved_write", None)
