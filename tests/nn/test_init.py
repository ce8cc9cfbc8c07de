"""agrad.nn.init: bounds, moments and structure of what is written; names, arguments and errors as torch's."""

import inspect
import math

import numpy as np
import pytest
from array_libraries import values

import agrad
from agrad import nn

WIDE, CONV = (60, 40), (24, 10, 3, 5)
FANS = {WIDE: (40, 60), CONV: (150, 360)}


def filled(shape, function, *args, **kwargs):
    p = nn.Parameter(agrad.zeros(shape))
    assert function(p, *args, **kwargs) is p
    assert p.is_leaf
    assert p.grad_fn is None
    return values(p)


def gain(name, *param):
    return nn.init.calculate_gain(name, *param)


def std_of(function, shape, kwargs):
    """The standard deviation that the papers ask for."""
    fan_in, fan_out = FANS[shape]
    if "xavier" in function:
        return kwargs.get("gain", 1.0) * math.sqrt(2 / (fan_in + fan_out))
    fan = fan_out if kwargs.get("mode") == "fan_out" else fan_in
    slope = gain(kwargs["nonlinearity"]) if "nonlinearity" in kwargs else gain("leaky_relu", kwargs.get("a", 0))
    return slope / math.sqrt(fan)


CASES = [
    ("xavier_uniform_", {}), ("xavier_normal_", {}), ("xavier_uniform_", {"gain": 2.5}),
    ("xavier_normal_", {"gain": 3}),
    ("kaiming_uniform_", {}), ("kaiming_normal_", {}), ("kaiming_uniform_", {"a": math.sqrt(5)}),
    ("kaiming_normal_", {"mode": "fan_out"}), ("kaiming_uniform_", {"nonlinearity": "relu", "mode": "fan_out"}),
    ("kaiming_normal_", {"nonlinearity": "selu"}),
]


@pytest.mark.parametrize("shape", [WIDE, CONV], ids=["matrix", "convolution"])
@pytest.mark.parametrize(("function", "kwargs"), CASES)
def test_fans_decide_the_spread(function, kwargs, shape):
    agrad.manual_seed(0)
    w, std = filled(shape, getattr(nn.init, function), **kwargs), std_of(function, shape, kwargs)
    assert abs(w.mean()) < 5 * std / math.sqrt(w.size)
    assert abs(w.std() / std - 1) < 0.05
    bound = std * math.sqrt(3)
    assert ("uniform" in function) == (0.97 * bound < np.abs(w).max() <= bound)


def test_uniform_and_normal():
    agrad.manual_seed(0)
    w = filled((100, 100), nn.init.uniform_, -2.0, 3.0)
    assert (w >= -2.0).all()
    assert (w < 3.0).all()
    np.testing.assert_allclose([w.mean(), w.std()], [0.5, 5 / math.sqrt(12)], rtol=0.1)
    w = filled((100, 100), nn.init.normal_, -1.0, 0.5)
    np.testing.assert_allclose([w.mean(), w.std()], [-1.0, 0.5], rtol=0.05)


@pytest.mark.parametrize(("mean", "std", "a", "b"), [
    (0.0, 1.0, -2.0, 2.0), (1.0, 2.0, -2.0, 2.0), (0.0, 1.0, -0.1, 0.05), (0.0, 1.0, 3.0, 6.0), (0.0, 0.02, -2.0, 2.0),
    (5.0, 1.0, 0.0, 2.0), (0.0, 1.0, 0.5, 0.5),
])
def test_truncated_normal_has_the_moments_of_scipys(mean, std, a, b):
    stats = pytest.importorskip("scipy.stats")
    agrad.manual_seed(0)
    w = filled(20_000, nn.init.trunc_normal_, mean, std, a, b)
    assert a <= w.min() <= w.max() <= b
    if a < b:
        exact = stats.truncnorm((a - mean) / std, (b - mean) / std, mean, std)
        assert stats.kstest(w, exact.cdf).pvalue > 1e-3


def test_truncated_normal_refuses_what_is_no_interval():
    with pytest.raises(ValueError, match=r"expected a <= b and std > 0, got a=2.0, b=1.0, std=1.0"):
        nn.init.trunc_normal_(agrad.zeros(2), a=2.0, b=1.0)


def test_constants():
    assert (filled(WIDE, nn.init.constant_, 0.25) == 0.25).all()
    assert (filled(WIDE, nn.init.ones_) == 1).all()
    assert (filled(WIDE, nn.init.zeros_) == 0).all()
    for shape in ((3, 3), (2, 4), (4, 2)):
        np.testing.assert_array_equal(filled(shape, nn.init.eye_), np.eye(*shape))


@pytest.mark.parametrize(("shape", "groups"), [
    ((3, 3, 4), 1), ((4, 2, 3), 2), ((6, 5, 3, 2), 3), ((2, 4, 3, 5), 1), ((4, 4, 2, 3, 3), 2), ((0, 2, 3), 1),
])
def test_dirac_is_torchs(shape, groups):
    torch = pytest.importorskip("torch")
    expected = torch.nn.init.dirac_(torch.ones(shape), groups).numpy()
    np.testing.assert_array_equal(filled(shape, nn.init.dirac_, groups), expected)


@pytest.mark.parametrize("shape", [(5, 5), (4, 9), (9, 4), (6, 2, 2, 3), (3, 4, 5), (1, 1)])
def test_orthogonal_rows_or_columns(shape):
    w = filled(shape, nn.init.orthogonal_, gain=2.0).reshape(shape[0], -1)
    product = w @ w.T if w.shape[0] <= w.shape[1] else w.T @ w
    np.testing.assert_allclose(product, 4 * np.eye(len(product)), atol=1e-12)


def test_orthogonal_matrices_have_no_preferred_signs():
    agrad.manual_seed(0)
    corners = [filled((3, 3), nn.init.orthogonal_)[0, 0] for _ in range(400)]
    assert abs(np.mean(corners)) < 4 * np.std(corners) / 20


def test_sparse_columns():
    w = filled((10, 200), nn.init.sparse_, 0.25, std=2.0)
    assert ((w == 0).sum(axis=0) == 3).all()
    assert abs(w[w != 0].std() - 2.0) < 0.2
    assert len({tuple(column) for column in (w == 0).T}) > 20


def test_gains_are_torchs():
    torch = pytest.importorskip("torch")
    for name in ("linear", "conv1d", "conv2d", "conv3d", "conv_transpose1d", "conv_transpose2d", "conv_transpose3d",
                 "sigmoid", "tanh", "relu", "leaky_relu", "selu"):
        assert gain(name) == torch.nn.init.calculate_gain(name)
    assert gain("leaky_relu", 0.3) == torch.nn.init.calculate_gain("leaky_relu", 0.3)


ERRORS = {
    "fans of a vector": lambda m: m.nn.init.xavier_uniform_(m.zeros(3)),
    "fans of a vector (He)": lambda m: m.nn.init.kaiming_normal_(m.zeros(3)),
    "mode": lambda m: m.nn.init.kaiming_uniform_(m.zeros((2, 2)), mode="fan"),
    "nonlinearity": lambda m: m.nn.init.kaiming_uniform_(m.zeros((2, 2)), nonlinearity="swish"),
    "slope": lambda m: m.nn.init.calculate_gain("leaky_relu", "a"),
    "slope that is a bool": lambda m: m.nn.init.calculate_gain("leaky_relu", True),
    "eye": lambda m: m.nn.init.eye_(m.zeros((2, 2, 2))),
    "dirac": lambda m: m.nn.init.dirac_(m.zeros((2, 2))),
    "groups of dirac": lambda m: m.nn.init.dirac_(m.zeros((3, 2, 2)), 2),
    "orthogonal": lambda m: m.nn.init.orthogonal_(m.zeros(3)),
    "sparse": lambda m: m.nn.init.sparse_(m.zeros(3), 0.5),
}


@pytest.mark.parametrize("program", ERRORS.values(), ids=ERRORS)
def test_errors_are_torchs(program):
    torch = pytest.importorskip("torch")
    with pytest.raises(ValueError) as expected:     # noqa: PT011 - the text is compared
        program(torch)
    with pytest.raises(ValueError) as found:        # noqa: PT011
        program(agrad)
    assert str(found.value) == str(expected.value)


@pytest.mark.parametrize("name", nn.init.__all__)
def test_signatures_are_torchs(name):
    torch = pytest.importorskip("torch")

    def parameters(function):
        return [(p.name, p.default) for p in inspect.signature(function).parameters.values()]

    assert parameters(getattr(nn.init, name)) == parameters(getattr(torch.nn.init, name))


def test_nothing_to_fill_is_worth_a_warning():
    for function in (nn.init.kaiming_uniform_, nn.init.kaiming_normal_):
        with pytest.warns(UserWarning, match="Initializing zero-element tensors is a no-op"):
            function(agrad.zeros((0, 3)))
    assert nn.init.orthogonal_(agrad.zeros((0, 3))).shape == (0, 3)


RANDOM = {
    "uniform_": (), "normal_": (), "trunc_normal_": (), "xavier_uniform_": (), "xavier_normal_": (),
    "kaiming_uniform_": (), "kaiming_normal_": (), "orthogonal_": (), "sparse_": (0.5,),
}


@pytest.mark.parametrize("name", RANDOM)
def test_seeds_and_generators_decide(name):
    function, args = getattr(nn.init, name), RANDOM[name]
    agrad.manual_seed(3)
    first, second = filled((4, 6), function, *args), filled((4, 6), function, *args)
    agrad.manual_seed(3)
    np.testing.assert_array_equal(filled((4, 6), function, *args), first)
    assert not np.array_equal(first, second)
    generator = agrad.random.Generator().manual_seed(3)
    np.testing.assert_array_equal(filled((4, 6), function, *args, generator=generator), first)
    np.testing.assert_array_equal(filled((4, 6), function, *args, generator=generator), second)


@pytest.mark.parametrize("name", [*RANDOM, "ones_", "eye_", "dirac_"])
def test_all_backends_get_the_same_numbers(name, backend):
    if backend == "sparse":
        with pytest.raises(NotImplementedError, match="sparse arrays cannot be written"):
            nn.init.ones_(nn.Parameter(agrad.zeros((4, 6))))
        return
    shape, args = (4, 6, 3) if name == "dirac_" else (4, 6), RANDOM.get(name, ())
    agrad.manual_seed(1)
    p = getattr(nn.init, name)(nn.Parameter(agrad.zeros(shape)), *args)
    assert p.backend_.name == backend
    with agrad.use_backend("numpy"):
        agrad.manual_seed(1)
        expected = getattr(nn.init, name)(nn.Parameter(agrad.zeros(shape, dtype=p.dtype)), *args)
    np.testing.assert_allclose(values(p), values(expected), rtol=1e-6)


NAMES = ("normal_", "ones_", "eye_", "orthogonal_", "xavier_normal_", "sparse_")


@pytest.mark.parametrize(("name", "dtype"), [
    *((name, dtype) for name in (*NAMES, "uniform_") for dtype in ("float16", "float32", "float64")),
    *((name, "complex128") for name in NAMES),
])
def test_dtypes_stay(name, dtype):
    p = nn.Parameter(agrad.zeros((3, 4), dtype=dtype))
    getattr(nn.init, name)(p, *RANDOM.get(name, ()))
    assert p.dtype == getattr(agrad, dtype)
    if name == "orthogonal_":
        w = values(p).astype("complex128")
        np.testing.assert_allclose(w @ w.conj().T, np.eye(3), atol=5e-3 if dtype == "float16" else 1e-6)
