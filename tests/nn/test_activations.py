"""Activations, as functions and as modules: values, slopes and second derivatives are PyTorch's, on every backend."""

import copy
from math import inf, nan

import numpy as np
import pytest
from array_libraries import values
from beside_torch import agree, functional, numbers, same

import agrad
from agrad import nn
from agrad.nn import functional as F

# The functions of one element: name -> argument lists.
ELEMENTWISE = {
    "relu": [()], "relu6": [()], "leaky_relu": [(), (0.3,), (0.0,)], "elu": [(), (1.5,)], "celu": [(), (2.0,)],
    "selu": [()], "gelu": [(), {"approximate": "tanh"}], "silu": [()], "mish": [()], "sigmoid": [()], "tanh": [()],
    "hardsigmoid": [()], "hardtanh": [(), (-0.5, 1.5)], "hardswish": [()], "hardshrink": [(), (1.0,)],
    "softshrink": [(), (0.0,)], "tanhshrink": [()], "threshold": [(0.5, -7.0)], "softsign": [()], "logsigmoid": [()],
    "softplus": [(), (2.0,), (0.5, 1.0)],
}
CALLS = [pytest.param(name, given, id=f"{name}-{given}") for name, lists in ELEMENTWISE.items() for given in lists]
NO_SECOND = ("hardsigmoid",)       # in PyTorch
EIGHT_DIGITS = ("hardsigmoid",)    # PyTorch takes 1 / 6 in single precision

# Where slopes jump or exponentials overflow.
KINKS = [-1000.0, -6.0, -3.0, -1.0, -0.5, -0.0, 0.0, 0.5, 1.0, 1.5, 3.0, 6.0, 10.0, 21.0, 1000.0]


def call(name, given):
    def function(module, *arrays):
        f = getattr(module, name)
        return f(*arrays, **given) if isinstance(given, dict) else f(*arrays, *given)

    return function


@pytest.mark.parametrize("shape", [(), (3,), (2, 3), (0,), (2, 0)])
@pytest.mark.parametrize(("name", "given"), CALLS)
def test_an_activation_is_pytorchs(name, given, shape):
    pytest.importorskip("torch")
    rtol = 1e-7 if name in EIGHT_DIGITS else 1e-10
    agree(call(name, given), numbers(*shape), second=name not in NO_SECOND, rtol=rtol)


@pytest.mark.parametrize(("name", "given"), CALLS)
def test_slopes_at_kinks_and_far_away_are_pytorchs(name, given):
    pytest.importorskip("torch")
    agree(call(name, given), np.array(KINKS), second=False, rtol=1e-7 if name in EIGHT_DIGITS else 1e-10)


@pytest.mark.filterwarnings("ignore:.*encountered:RuntimeWarning")
@pytest.mark.parametrize(("name", "given"), CALLS)
def test_values_of_infinities_and_nan_are_pytorchs(name, given):
    torch = pytest.importorskip("torch")
    points = np.array([-inf, inf, nan])
    ours, theirs = call(name, given)(F, agrad.tensor(points)), call(name, given)(functional(torch),
                                                                                 torch.tensor(points))
    same(ours, theirs)


@pytest.mark.parametrize("name", ["relu", "elu", "sigmoid", "gelu", "softplus", "hardtanh", "hardswish", "logsigmoid"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_every_backend_agrees_and_keeps_the_dtype(backend, name, dtype):
    x = numbers(2, 3)
    ours = getattr(F, name)(agrad.tensor(x, dtype=dtype))
    assert ours.dtype == dtype
    assert ours.backend_.name == backend
    with agrad.use_backend("numpy"):
        same(values(ours), getattr(F, name)(agrad.tensor(x)), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(("name", "given"), CALLS)
def test_finite_differences_agree_in_both_orders(name, given):
    x = agrad.tensor([[-1.7, -0.3, 0.2], [0.8, 1.3, 2.4]], requires_grad=True)
    assert agrad.autograd.gradcheck(lambda x: call(name, given)(F, x), x, check_forward_ad=True)
    assert agrad.autograd.gradgradcheck(lambda x: call(name, given)(F, x), x)


def test_smooth_ones_have_finite_slopes_where_they_saturate():
    x = agrad.tensor([-1e4, 1e4], requires_grad=True)
    for name in ("sigmoid", "logsigmoid", "softplus", "elu", "selu", "gelu", "silu", "mish", "tanh"):
        slope, = agrad.autograd.grad(getattr(F, name)(x).sum(), x)
        assert np.isfinite(values(slope)).all(), name


# ------------------------------------------------------------------------------------------------------------- in place

IN_PLACE = {
    "relu": (), "relu6": (), "leaky_relu": (0.3,), "elu": (1.5,), "celu": (2.0,), "selu": (), "silu": (), "mish": (),
    "hardsigmoid": (), "hardtanh": (-0.5, 1.0), "hardswish": (), "threshold": (0.5, -7.0), "rrelu": (0.1, 0.3),
}


@pytest.mark.parametrize(("name", "given"), IN_PLACE.items())
def test_in_place_writes_over_the_input_with_the_same_gradient(name, given, backend):
    function = getattr(F, name)
    x, y = (agrad.tensor(numbers(2, 3), requires_grad=True) for _ in range(2))
    usual, kept = function(x * 1.5, *given), y * 1.5
    inside = function(kept, *given, inplace=True)
    assert inside is kept
    same(inside, usual)
    (usual * usual).sum().backward()
    (inside * inside).sum().backward()
    same(y.grad, x.grad)


@pytest.mark.parametrize("name", ["relu_", "leaky_relu_", "elu_", "celu_", "selu_", "rrelu_", "hardtanh_"])
def test_names_with_an_underscore_work_in_place(name):
    x = agrad.tensor([-2.0, 0.5])
    usual = getattr(F, name[:-1])(x.clone())
    assert getattr(F, name)(x) is x
    same(x, usual)
    y = agrad.tensor([0.0, 2.0])
    assert F.threshold_(y, 1.0, 5.0) is y
    assert y.tolist() == [5.0, 2.0]


def test_in_place_on_a_leaf_is_refused():
    with pytest.raises(RuntimeError, match="leaf"):
        F.elu(agrad.ones(2, requires_grad=True), inplace=True)


# ------------------------------------------------------------------------------------------------------- learned slopes


@pytest.mark.parametrize(("shape", "slopes"), [((2, 3), (3,)), ((2, 3, 2), (3,)), ((2, 3), (1,)), ((4,), (1,)),
                                               ((), (1,)),
                                               ((0, 3), (3,)), ((2, 3), ())])
def test_prelu_is_pytorchs(shape, slopes):
    pytest.importorskip("torch")
    agree(lambda module, x, w: module.prelu(x, w), numbers(*shape), numbers(*slopes, seed=1))


def test_the_slope_of_prelu_hears_nothing_of_positive_infinities():
    x, w = agrad.tensor([[inf, 0.0, -2.0]]), agrad.tensor([0.25], requires_grad=True)
    F.prelu(x, w).sum().backward()
    assert w.grad.tolist() == [-2.0]


def test_prelu_says_how_many_slopes_it_expects():
    with pytest.raises(RuntimeError, match=r"prelu: expected one slope or one for each of 3 channels .* got 2"):
        F.prelu(agrad.ones((4, 3)), agrad.ones(2))


# -------------------------------------------------------------------------------------------------------- along an axis


@pytest.mark.parametrize("name", ["softmax", "log_softmax", "softmin"])
@pytest.mark.parametrize(("shape", "dim"), [((3,), 0), ((2, 3), 1), ((2, 3), -2), ((2, 3, 4), 1), ((), 0), ((0, 3), 1)])
def test_softmaxes_are_pytorchs(name, shape, dim):
    pytest.importorskip("torch")
    agree(lambda module, x: getattr(module, name)(x, dim=dim), numbers(*shape))


@pytest.mark.parametrize(("shape", "axis"), [((3,), 0), ((2, 3), 1), ((2, 3, 4), 0), ((1, 2, 3, 4), 1)])
def test_without_dim_the_axis_is_pytorchs_with_a_warning(shape, axis):
    x = agrad.tensor(numbers(*shape))
    with pytest.warns(UserWarning, match="Implicit dimension choice for softmax"):
        same(F.softmax(x), F.softmax(x, dim=axis))


def test_softmax_casts_first():
    assert F.softmax(agrad.tensor([1.0, 2.0]), dim=0, dtype=agrad.float32).dtype == agrad.float32
    assert F.log_softmax(agrad.tensor([1, 2]), dim=0, dtype=agrad.float64).dtype == agrad.float64


@pytest.mark.parametrize(("shape", "dim"), [((4,), -1), ((2, 4), 1), ((4, 3), 0), ((2, 4, 3), -2), ((2, 0), 1)])
def test_glu_is_pytorchs(shape, dim):
    pytest.importorskip("torch")
    agree(lambda module, x: module.glu(x, dim), numbers(*shape))


def test_glu_refuses_axes_without_halves():
    with pytest.raises(RuntimeError, match="Halving dimension must be even, but dimension 1 is size 3"):
        F.glu(agrad.ones((2, 3)), 1)
    with pytest.raises(RuntimeError, match="0-dimensional"):
        F.glu(agrad.tensor(1.0))


@pytest.mark.parametrize(("shape", "given"), [
    ((2, 3), {}), ((2, 3), {"p": 1.0}), ((2, 3), {"p": 3.0, "dim": 0}), ((2, 3, 4), {"dim": (1, 2)}),
    ((3,), {"dim": 0}),
    ((2, 3), {"p": inf}), ((2, 3), {"eps": 10.0}), ((0, 3), {}),
])
def test_normalize_is_pytorchs(shape, given):
    pytest.importorskip("torch")
    agree(lambda module, x: module.normalize(x, **given), numbers(*shape))


def test_normalize_of_zeros_has_a_gradient_without_nan():
    x = agrad.zeros((1, 2), requires_grad=True)
    F.normalize(x).sum().backward()
    assert np.isfinite(values(x.grad)).all()


@pytest.mark.parametrize(("shape", "classes"), [((), 3), ((4,), 3), ((2, 2), 5), ((0,), 3), ((4,), -1)])
def test_one_hot_is_pytorchs(shape, classes):
    torch = pytest.importorskip("torch")
    classes_of = np.random.default_rng(0).integers(0, 3, shape)
    ours = F.one_hot(agrad.tensor(classes_of), classes)
    theirs = functional(torch).one_hot(torch.tensor(classes_of), classes)
    assert ours.dtype == agrad.int64
    np.testing.assert_array_equal(values(ours), theirs.numpy())


@pytest.mark.parametrize(("data", "classes", "words"), [
    ([-1, 0], -1, "must be non-negative, got -1"), ([0, 5], 3, "smaller than num_classes, got 5 of 3"),
    ([0.5], 3, "index tensor"), (np.zeros(0, int), -1, "Can not infer total number of classes"),
])
def test_one_hot_refuses(data, classes, words):
    with pytest.raises(RuntimeError, match=words):
        F.one_hot(agrad.tensor(data), classes)


# --------------------------------------------------------------------------------------------------------------- random


def test_gumbel_softmax_draws_categories_with_their_probabilities():
    agrad.manual_seed(0)
    chances = np.array([0.1, 0.3, 0.6])
    drawn = F.gumbel_softmax(agrad.tensor(np.log(np.tile(chances, (20000, 1)))), hard=True)
    assert set(values(drawn).ravel()) == {0.0, 1.0}
    assert (values(drawn).sum(axis=1) == 1).all()
    np.testing.assert_allclose(values(drawn).mean(axis=0), chances, atol=0.015)


@pytest.mark.parametrize("hard", [False, True])
def test_gumbel_softmax_has_the_gradient_of_its_soft_values(hard):
    x = agrad.tensor(numbers(3, 4), requires_grad=True)
    agrad.manual_seed(1)
    out = F.gumbel_softmax(x, tau=0.7, hard=hard, dim=0)
    slope, = agrad.autograd.grad((out * out.detach().exp()).sum(), x)
    agrad.manual_seed(1)
    soft = F.gumbel_softmax(x, tau=0.7, dim=0)
    truth, = agrad.autograd.grad((soft * out.detach().exp()).sum(), x)
    same(slope, truth)
    same(soft.sum(dim=0), np.ones(4))


def test_rrelu_has_slopes_between_its_bounds_in_training_and_their_mean_otherwise():
    agrad.manual_seed(0)
    x = agrad.tensor(np.r_[np.full(2000, -1.0), 2.0], requires_grad=True)
    out = F.rrelu(x, 0.1, 0.5, training=True)
    slopes = -values(out)[:-1]
    assert 0.1 <= slopes.min() < 0.12
    assert 0.48 < slopes.max() <= 0.5
    assert abs(slopes.mean() - 0.3) < 0.01
    assert out[-1].item() == 2.0
    out.sum().backward()
    np.testing.assert_allclose(values(x.grad)[:-1], slopes)
    same(F.rrelu(x.detach(), 0.1, 0.5)[:1], [-0.3])
    with pytest.raises(ValueError, match="lower must not be larger"):
        F.rrelu(x, 0.5, 0.1)


# -------------------------------------------------------------------------------------------------------------- modules

MODULES = {
    "ReLU": [(), (True,)], "ReLU6": [()], "LeakyReLU": [(), (0.2,), (0.2, True)], "PReLU": [(), (3,)],
    "ELU": [(), (1.5,)],
    "CELU": [(), (2.0,)], "SELU": [()], "GELU": [(), ("tanh",)], "SiLU": [()], "Mish": [()], "Sigmoid": [()],
    "Tanh": [()], "Hardsigmoid": [()], "Hardtanh": [(), (-0.5, 1.5)], "Hardswish": [()], "Hardshrink": [(), (1.0,)],
    "Softshrink": [()], "Tanhshrink": [()], "Threshold": [(0.1, 20)], "Softplus": [(), (2.0, 3.0)], "Softsign": [()],
    "LogSigmoid": [()], "Softmax": [(1,)], "LogSoftmax": [(1,)], "Softmin": [(0,)], "Softmax2d": [()], "GLU": [(0,)],
    "RReLU": [(0.1, 0.3)],
}
EVERY_MODULE = [(name, given) for name, lists in MODULES.items() for given in lists]


@pytest.mark.parametrize(("name", "given"), EVERY_MODULE)
def test_a_module_is_pytorchs(name, given):
    torch = pytest.importorskip("torch")
    ours, theirs = getattr(nn, name)(*given).eval(), getattr(torch.nn, name)(*given).eval()
    assert repr(ours) == repr(theirs)
    assert list(ours.state_dict()) == list(theirs.state_dict())
    x = numbers(2, 3, 2, 2)
    same(ours(agrad.tensor(x)), theirs.double()(torch.tensor(x)))


@pytest.mark.parametrize(("name", "given"), EVERY_MODULE)
def test_a_module_can_be_copied(name, given):
    module = getattr(nn, name)(*given).eval()
    x = agrad.tensor(numbers(2, 3, 2, 2))
    same(copy.deepcopy(module)(x.clone()), module(x.clone()))


def test_a_module_takes_its_settings_by_name_and_says_which_it_knows():
    assert nn.LeakyReLU(negative_slope=0.5).negative_slope == 0.5
    with pytest.raises(TypeError, match=r"LeakyReLU\(\): got an unexpected keyword argument 'slope'; it takes"):
        nn.LeakyReLU(slope=0.5)
    with pytest.raises(TypeError, match=r"Threshold\(\): missing a required argument: 'value'"):
        nn.Threshold(1.0)


def test_a_setting_may_be_changed_later():
    module = nn.Softplus()
    module.beta = 2.0
    same(module(agrad.tensor([0.3])), F.softplus(agrad.tensor([0.3]), 2.0))


def test_rrelu_follows_the_modules_mode():
    agrad.manual_seed(0)
    module, x = nn.RReLU(), agrad.full((100,), -1.0)
    assert len(set(module(x).tolist())) == 100
    assert len(set(module.eval()(x).tolist())) == 1


def test_softmax2d_takes_pictures():
    with pytest.raises(ValueError, match="Softmax2d: expected input to be 3D or 4D, got 2D"):
        nn.Softmax2d()(agrad.ones((2, 3)))


@pytest.mark.parametrize(("function", "words"), [
    (lambda x: F.hardtanh(x, 2.0, 1.0), "min_val cannot be greater than max_val"),
    (lambda x: F.softshrink(x, -1.0), "lambda must be greater or equal to 0"),
    (lambda x: F.celu(x, 0.0), "alpha cannot be 0"), (lambda x: F.gelu(x, "erf"), "must be either none or tanh"),
])
def test_settings_without_a_meaning_are_refused(function, words):
    with pytest.raises((ValueError, RuntimeError), match=words):
        function(agrad.ones(2))


def test_under_vmap_activations_work_on_samples():
    x = agrad.tensor(numbers(3, 4))
    for name in ("elu", "hardtanh", "gelu", "softplus"):
        same(agrad.vmap(getattr(F, name))(x), getattr(F, name)(x))
    same(agrad.vmap(lambda x: F.glu(x))(x), F.glu(x))
