"""Dropout: what is left out and how the rest is scaled, in numbers and in structure."""

import numpy as np
import pytest
from array_libraries import values
from beside_torch import numbers, same

import agrad
from agrad import nn
from agrad.nn import functional as F
from agrad.utils.checkpoint import checkpoint

FUNCTIONS = {       # name -> the shape of an input, the axes that share one decision
    "dropout": ((40, 50, 5), ()), "dropout1d": ((40, 50, 5), (2,)), "dropout2d": ((40, 50, 2, 3), (2, 3)),
    "dropout3d": ((20, 50, 2, 3, 2), (2, 3, 4)), "alpha_dropout": ((40, 50, 5), ()),
    "feature_alpha_dropout": ((40, 50, 5), (2,)),
}
PLAIN = ("dropout", "dropout1d", "dropout2d", "dropout3d")
MODULES = {"dropout": nn.Dropout, "dropout1d": nn.Dropout1d, "dropout2d": nn.Dropout2d, "dropout3d": nn.Dropout3d,
           "alpha_dropout": nn.AlphaDropout, "feature_alpha_dropout": nn.FeatureAlphaDropout}


@pytest.fixture(autouse=True)
def seeded():
    agrad.manual_seed(0)


@pytest.mark.parametrize("p", [0.1, 0.5, 0.8])
@pytest.mark.parametrize("name", PLAIN)
def test_a_share_p_is_zero_and_the_rest_scaled(name, p, backend):
    shape, together = FUNCTIONS[name]
    out = getattr(F, name)(agrad.ones(shape), p)
    found = values(out)
    assert out.dtype == agrad.ones(1).dtype
    assert out.backend_.name == backend
    kept = found != 0
    same(found[kept], np.full(kept.sum(), 1 / (1 - p)), rtol=1e-6)
    decisions = kept.reshape(-1) if not together else kept.all(axis=together).reshape(-1)
    assert together == () or (kept.all(axis=together) | ~kept.any(axis=together)).all()
    assert abs(decisions.mean() - (1 - p)) < 5 * (p * (1 - p) / decisions.size) ** 0.5


@pytest.mark.parametrize("name", ["alpha_dropout", "feature_alpha_dropout"])
def test_alpha_dropout_keeps_mean_and_variance(name):
    x = agrad.tensor(np.random.default_rng(0).normal(size=(400, 500, 2)))
    out = values(getattr(F, name)(x, 0.3, training=True))
    assert abs(out.mean()) < 0.02
    assert abs(out.std() - 1) < 0.02


@pytest.mark.parametrize("p", [0.2, 0.7])
def test_alpha_dropout_has_pytorchs_two_values(p):
    torch = pytest.importorskip("torch")
    theirs = torch.nn.functional.alpha_dropout(torch.ones(1000, dtype=torch.float64), p, training=True)
    ours = F.alpha_dropout(agrad.ones(1000), p, training=True)
    same(np.unique(values(ours)), np.unique(theirs.numpy()))


@pytest.mark.parametrize("name", FUNCTIONS)
def test_what_changes_nothing_is_the_input_itself(name):
    shape, _ = FUNCTIONS[name]
    x = agrad.ones(shape)
    function = getattr(F, name)
    assert function(x, 0.5, training=False) is x
    assert function(x, 0.0, training=True) is x
    empty = agrad.zeros((0, *shape[1:]))
    assert function(empty, 0.5, training=True).shape == empty.shape


@pytest.mark.parametrize("name", FUNCTIONS)
def test_everything_may_be_left_out(name):
    x = agrad.ones(FUNCTIONS[name][0], requires_grad=True)
    out = getattr(F, name)(x, 1.0, training=True)
    out.sum().backward()
    assert not values(out).any()
    assert not values(x.grad).any()


@pytest.mark.parametrize("name", FUNCTIONS)
def test_the_gradient_is_left_out_and_scaled_alike(name):
    x = agrad.tensor(numbers(*FUNCTIONS[name][0]), requires_grad=True)
    agrad.manual_seed(3)
    out = getattr(F, name)(x, 0.4, training=True)
    slope, = agrad.autograd.grad(out.sum(), x)
    agrad.manual_seed(3)
    moved = getattr(F, name)(x.detach() + 1.0, 0.4, training=True)
    same(slope, values(moved) - values(out), rtol=1e-9)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_in_place_writes_over_the_input_with_the_same_gradient(name, backend):
    shape = tuple(min(n, 4) for n in FUNCTIONS[name][0])
    x, y = (agrad.tensor(numbers(*shape), requires_grad=True) for _ in range(2))
    agrad.manual_seed(5)
    usual = getattr(F, name)(x * 1.0, 0.4, training=True)
    agrad.manual_seed(5)
    given = y * 1.0
    inside = getattr(F, name)(given, 0.4, training=True, inplace=True)
    assert inside is given
    same(values(inside), values(usual))
    usual.sum().backward()
    inside.sum().backward()
    same(values(y.grad), values(x.grad))


def test_single_precision_stays_and_the_seed_decides(backend):
    x = agrad.ones((3, 4), dtype=agrad.float32)
    agrad.manual_seed(1)
    first = F.dropout(x)
    agrad.manual_seed(1)
    assert first.dtype == agrad.float32
    same(values(first), values(F.dropout(x)))
    assert not np.array_equal(values(F.dropout(x)), values(F.dropout(x)))


def test_inside_a_checkpoint_the_same_elements_are_left_out():
    x = agrad.tensor(numbers(50), requires_grad=True)
    out = checkpoint(lambda x: F.dropout(x * 2.0), x, use_reentrant=False)
    slope, = agrad.autograd.grad(out.sum(), x)
    same(slope, values(out) / values(x))


def test_under_vmap_samples_differ_or_not_as_was_said():
    x = agrad.ones((6, 40))
    different = values(agrad.vmap(F.dropout, randomness="different")(x))
    alike = values(agrad.vmap(F.dropout, randomness="same")(x))
    assert len({row.tobytes() for row in different}) == 6
    assert len({row.tobytes() for row in alike}) == 1
    with pytest.raises(RuntimeError, match="randomness error mode"):
        agrad.vmap(F.dropout)(x)
    channels = values(agrad.vmap(F.dropout1d, randomness="different")(agrad.ones((6, 5, 3, 4))))
    assert ((channels == 0).all(axis=3) | (channels != 0).all(axis=3)).all()


@pytest.mark.parametrize("name", FUNCTIONS)
def test_modules_work_in_training_only(name):
    module, x = MODULES[name](0.5), agrad.ones(FUNCTIONS[name][0])
    agrad.manual_seed(2)
    out = module(x)
    agrad.manual_seed(2)
    same(out, getattr(F, name)(x, 0.5, training=True))
    assert module.eval()(x) is x


@pytest.mark.parametrize("name", FUNCTIONS)
def test_modules_read_as_pytorchs(name):
    torch = pytest.importorskip("torch")
    kind = MODULES[name]
    for given in ((), (0.2, True)):
        assert repr(kind(*given)) == repr(getattr(torch.nn, kind.__name__)(*given))


@pytest.mark.parametrize("p", [-0.1, 1.5])
@pytest.mark.parametrize("name", FUNCTIONS)
def test_what_is_no_probability_is_refused(name, p):
    with pytest.raises(ValueError, match=f"{name}: dropout probability has to be between 0 and 1, but got {p}"):
        getattr(F, name)(agrad.ones(FUNCTIONS[name][0]), p)
    with pytest.raises(ValueError, match=f"{MODULES[name].__name__}: dropout probability has to be between 0 and 1"):
        MODULES[name](p)


def test_one_sample_may_come_without_its_axis():
    found = values(F.dropout1d(agrad.ones((50, 3))))
    assert set(found.sum(axis=1)) == {0.0, 6.0}
    found = values(F.dropout3d(agrad.ones((50, 1, 2, 2))))
    assert set(found.sum(axis=(1, 2, 3))) == {0.0, 8.0}


def test_axes_that_have_another_meaning_are_said():
    with pytest.raises(RuntimeError, match="dropout1d: Expected 2D or 3D input, but received a 4D input"):
        F.dropout1d(agrad.ones((1, 2, 3, 4)))
    with pytest.warns(UserWarning, match="interpreted as shape"):
        found = values(F.dropout2d(agrad.ones((50, 4, 2))))
    assert set(found.sum(axis=2).ravel()) == {0.0, 4.0}
    with pytest.warns(UserWarning, match="Received a 2-D input to dropout2d"):
        F.dropout2d(agrad.ones((3, 4)))
    with pytest.raises(RuntimeError, match="requires at least 2 dimensions"):
        F.feature_alpha_dropout(agrad.ones(3), training=True)
