"""`rules.product`: products of matrices that are added to a gradient without being made first."""

import numpy as np
import pytest
from array_libraries import on, values

import agrad
from agrad.nn.functional import linear

RNG = np.random.default_rng(0)


def numbers(*shape):
    return RNG.standard_normal(shape)


def several_uses(backend, x, weight, more=lambda weight: 0):
    """The gradient of a weight that is used at several steps, and what it must be."""
    w = on(backend, weight, requires_grad=True)
    steps = [linear(on(backend, part), w) for part in x]
    loss = sum((step * step).sum() for step in steps) + more(w)
    loss.backward(retain_graph=True)
    rows = np.concatenate(x)
    return w, loss, 2 * (rows @ weight.T).T @ rows


@pytest.mark.parametrize("rows", [1, 2, 40])
def test_several_uses_add_up(rows, backend):
    w, loss, expected = several_uses(backend, [numbers(rows, 6) for _ in range(5)], numbers(8, 6))
    np.testing.assert_allclose(values(w.grad), expected, rtol=1e-12)
    loss.backward()
    np.testing.assert_allclose(values(w.grad), 2 * expected, rtol=1e-12)


def test_other_gradients_of_the_same_weight(backend):
    x, weight = [numbers(1, 6) for _ in range(3)], numbers(8, 6)
    w, _, expected = several_uses(backend, x, weight, lambda w: w[2].sum() + (3.0 * w).sum() + w[2:4, 0].sum())
    expected += 3.0
    expected[2] += 1.0
    expected[2:4, 0] += 1.0
    np.testing.assert_allclose(values(w.grad), expected, rtol=1e-12)


def test_hooks_and_graphs_get_the_whole_gradient(backend):
    x, weight = [numbers(1, 6) for _ in range(3)], numbers(8, 6)
    w = on(backend, weight, requires_grad=True)
    twice = w * 2.0
    seen = []
    twice.register_hook(lambda g: seen.append(values(g)))
    loss = sum((linear(on(backend, part), twice) ** 2).sum() for part in x)
    (first,) = agrad.autograd.grad(loss, w, create_graph=True)
    (second,) = agrad.autograd.grad((first * first).sum(), w)
    rows = np.concatenate(x)
    np.testing.assert_allclose(seen[0], 4 * (rows @ weight.T).T @ rows, rtol=1e-12)
    np.testing.assert_allclose(values(first), 8 * (rows @ weight.T).T @ rows, rtol=1e-12)
    np.testing.assert_allclose(values(second), 2 * 8 * values(first) @ rows.T @ rows, rtol=1e-11)


def test_what_needs_a_cast_is_cast():
    x = agrad.tensor(numbers(1, 6), dtype=agrad.float64)
    w = agrad.tensor(numbers(8, 6), dtype=agrad.float32, requires_grad=True)
    (linear(x, w).sum() + linear(x, w).sum()).backward()
    assert w.grad.dtype == agrad.float32
    np.testing.assert_allclose(values(w.grad), 2 * np.broadcast_to(values(x), (8, 6)), rtol=1e-6)
    z = agrad.tensor(numbers(1, 6) + 1j * numbers(1, 6))
    w = agrad.tensor(numbers(8, 6), requires_grad=True)
    (linear(z, w).real.sum() + linear(z, w).real.sum()).backward()
    np.testing.assert_allclose(values(w.grad), 2 * np.broadcast_to(values(z).real, (8, 6)), rtol=1e-12)


def test_anomaly_mode_finds_what_is_not_a_number_in_either_factor():
    w = agrad.tensor(numbers(8, 6), requires_grad=True)
    with agrad.autograd.set_detect_anomaly(True):
        loss = linear(agrad.tensor([[float("nan")] * 6]), w).sum()
        with pytest.warns(UserWarning, match="Error detected"), pytest.raises(RuntimeError, match="returned nan"):
            loss.backward()


def test_the_gradient_is_an_array_of_its_own(backend):
    w, _, _ = several_uses(backend, [numbers(1, 6)], numbers(8, 6))
    before = values(w.grad).copy()
    w.grad.add_(1.0)
    np.testing.assert_allclose(values(w.grad), before + 1.0)


def test_zero_stays_zero():
    x = agrad.tensor([[float("inf")] * 6])
    w = agrad.tensor(numbers(8, 6), requires_grad=True)
    with agrad.autograd.zero_stays_zero(), np.errstate(invalid="ignore"):
        y = linear(x, w)
        (agrad.where(agrad.isfinite(y), y, 0.0).sum() + linear(agrad.ones((1, 6)), w).sum()).backward()
    np.testing.assert_array_equal(values(w.grad), 1.0)
