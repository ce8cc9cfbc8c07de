"""The special functions: values on every library, derivatives where they are hard, and SciPy's own dispatch to them."""

import importlib
import json
import os
import subprocess
import sys
from contextlib import nullcontext
from importlib.util import find_spec
from math import inf, nan, pi
from textwrap import dedent

import numpy as np
import pytest
from array_libraries import BACKENDS, is_installed

import agrad
from agrad import autograd, backends, rules
from agrad.plugins import special_kernels
from agrad.testing import check_rule
from agrad.testing.check import names_of_plugin, sealed
from agrad.testing.draw import domain_of

scipy_special = pytest.importorskip("scipy.special", reason="SciPy is not installed: pip install 'agrad[special]'")

NAMES = [name.removeprefix("special.") for name in names_of_plugin("special")]
SUMS = ("log_softmax", "logsumexp", "softmax")
POINTWISE = [name for name in NAMES if name not in (*SUMS, "multigammaln")]
EVERY = ("float64", "complex128", "float32")


@pytest.fixture
def mp():
    """mpmath, with 60 digits."""
    mpmath = pytest.importorskip("mpmath", reason="mpmath, an aid of the tests only, is not installed")
    with mpmath.workdps(60):
        yield mpmath


@pytest.fixture(params=[*BACKENDS, "dask", "jax"])
def library(request):
    """Also the libraries that the fixture `backend` leaves to tests of their own."""
    if not is_installed(request.param):
        pytest.skip(f"{request.param} is not installed")
    double = nullcontext()
    if request.param == "jax":
        jax = pytest.importorskip("jax")
        double = (jax.enable_x64 if hasattr(jax, "enable_x64") else jax.experimental.enable_x64)(True)
    with double, agrad.use_backend(request.param):
        yield request.param


def arrays_of(name):
    """The names of a function's array parameters."""
    return [p.name for p in rules.find(f"special.{name}").signature.parameters if p.kind in ("array", "array?")]


def call(name, *args, **options):
    return getattr(agrad.special, name)(*args, **options)


def slopes(name, *args, dtype="float64"):
    """The derivatives of a function by each of its arguments, all of them numbers."""
    operands = [agrad.tensor(float(a), dtype=dtype, requires_grad=True) for a in args]
    return [g.item() for g in autograd.grad(call(name, *operands), operands)]


# --------------------------------------------------------------------------------------------------------------- rules


@pytest.mark.parametrize("name", NAMES)
def test_a_rule_is_right(name):
    reports = [check_rule(f"special.{name}", "numpy", dtype) for dtype in EVERY]
    assert not any(report.refused for report in reports)
    assert sum(report.cases for report in reports) > 0


@pytest.mark.parametrize("other", [name for name in BACKENDS if name != "numpy"])
@pytest.mark.parametrize("name", NAMES)
def test_a_rule_is_right_elsewhere(name, other):
    """At one sample: the formulas are those that were checked on NumPy."""
    if not is_installed(other):
        pytest.skip(f"{other} is not installed")
    reports = [check_rule(f"special.{name}", other, dtype, case=0) for dtype in ("float64", "complex128")]
    assert not any(report.refused for report in reports)


@pytest.mark.long
@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("name", NAMES)
def test_a_rule_is_right_at_all_samples_in_every_dtype(name, library, seed):
    for dtype in (*EVERY, "complex64"):
        assert not check_rule(f"special.{name}", library, dtype, seed=seed).refused


# -------------------------------------------------------------------------------------------------------------- values

LINE = [
    -20.25, -3.0, -2.5, -1.0, -0.5, -1e-3, 0.0, 1e-20, 1e-3, 0.1, 0.5, 0.75, 0.999, 1.0, 1.5, 2.0, 3.0, 5.5, 10.0, 30.0,
    200.0, -inf, inf, nan,
]  # fmt: skip
FEW = [-1.5, 0.0, 0.3, 1.0, 2.5, 7.0, 30.0]
WHOLE = {**dict.fromkeys("bdtr bdtrc bdtri nbdtr nbdtrc nbdtri lpmv".split(), 2),
         **dict.fromkeys("pdtri yn expn polygamma".split(), 1)}     # how many arguments are whole numbers

# Where a library's own function is not SciPy's, and agrad leaves it so.
OTHERWISE = {("jax", "psi"): [0.0], ("jax", "digamma"): [0.0]}


def grid(name, library, dtype=np.float64):
    """Arguments of all sizes; of functions of one argument infinite ones too."""
    if len(arrays_of(name)) == 1:
        return [np.asarray([x for x in LINE if x not in OTHERWISE.get((library, name), [])], dtype)]
    whole = WHOLE.get(name, 0)
    axes = [np.arange(6) if i < whole else np.asarray(FEW, dtype) for i in range(len(arrays_of(name)))]
    return [np.ascontiguousarray(axis) for axis in np.meshgrid(*axes)]


def evaluate(name, library, arguments):
    adapter = backends.find(library)
    with sealed(adapter):
        tensors = [agrad.asarray(a) for a in arguments]
        return adapter.to_numpy(call(name, *tensors).array)


def assert_near(found, expected, arguments, rtol, tiny):
    with np.errstate(all="ignore"):
        near = np.abs(found - expected) <= rtol * np.abs(expected) + tiny
    wrong = ~((found == expected) | (np.isnan(found) & np.isnan(expected)) | near)
    rows = [(*(a[i] for a in arguments), found[i], expected[i]) for i in zip(*np.nonzero(wrong), strict=True)]
    assert not rows, f"(arguments, found, expected): {rows[:8]}"


@pytest.mark.parametrize("name", POINTWISE)
def test_values_are_scipys(name, library):
    arguments = grid(name, library)
    if not hasattr(scipy_special, name):
        pytest.skip(f"this SciPy has no {name}")
    with np.errstate(all="ignore"):
        expected = getattr(scipy_special, name)(*arguments)
    assert_near(evaluate(name, library, arguments), expected, arguments, 1e-11, 1e-290)


@pytest.mark.parametrize("name", POINTWISE)
def test_single_precision_stays_single(name, library):
    """SciPy's goes over to double where integers stand beside, and in functions that are no ufuncs."""
    inside = []
    for i, p in enumerate(arrays_of(name)):
        low, high = domain_of(rules.find(f"special.{name}").record, p)
        inside.append(3 if i < WHOLE.get(name, 0) else agrad.tensor([0.6 * low + 0.4 * high], dtype="float32"))
    out = call(name, *inside)
    assert out.dtype.name in ("float32", "complex64")
    wide = call(name, *(v if isinstance(v, int) else v.to(dtype="float64") for v in inside))
    np.testing.assert_allclose(out.numpy(), wide.numpy(), rtol=2e-5)


@pytest.mark.parametrize("other", special_kernels.NATIVE, ids="names of {}".format)
def test_the_functions_of_libraries_are_there(other):
    """A name that a library does not have would go through NumPy unnoticed."""
    module, names = special_kernels.NATIVE[other]
    if find_spec(other) is None:
        pytest.skip(f"{other} is not installed")
    found = importlib.import_module(module)     # CuPy's can be imported without a device
    words = [word.partition("=") for word in names.split()]
    assert [name for name, _, theirs in words if not hasattr(found, theirs or name)] == []
    assert {name for name, _, _ in words} <= {*POINTWISE}


def test_the_multivariate_gamma_function(library):
    a = np.asarray([1.7, 3.0, 50.0])
    for d in (1, 2, 4):
        found = call("multigammaln", agrad.asarray(a[a > (d - 1) / 2]), d).numpy()
        np.testing.assert_allclose(found, scipy_special.multigammaln(a[a > (d - 1) / 2], d), rtol=1e-13)
    assert np.isnan(call("multigammaln", agrad.asarray([0.5, 3.0]), 4).numpy()).tolist() == [True, False]
    with pytest.raises(ValueError, match=r"positive number of dimensions, not 1\.5"):
        call("multigammaln", agrad.asarray([3.0]), 1.5)


def test_numbers_and_integers_stand_beside_tensors(library):
    x, k = agrad.asarray(np.asarray([0.25, 0.5])), agrad.asarray([1, 2])
    for found, expected in (
        (call("betainc", 2, 3.0, x), scipy_special.betainc(2, 3.0, [0.25, 0.5])),
        (call("jv", k, x), scipy_special.jv([1, 2], [0.25, 0.5])),
        (call("polygamma", k, x), scipy_special.polygamma([1, 2], [0.25, 0.5])),
        (call("polygamma", 1, x), scipy_special.polygamma(1, [0.25, 0.5])),
        (call("zeta", 3, x), scipy_special.zeta(3, [0.25, 0.5])),
        (call("xlogy", x, 2), scipy_special.xlogy([0.25, 0.5], 2)),
        (call("huber", 0.3, x), scipy_special.huber(0.3, [0.25, 0.5])),
        (call("gammainc", k, x), scipy_special.gammainc([1, 2], [0.25, 0.5])),
        (call("bdtr", k, 5, x), scipy_special.bdtr([1, 2], 5, [0.25, 0.5])),
        (call("expn", 2.0, x), scipy_special.expn(2, [0.25, 0.5])),
    ):
        np.testing.assert_allclose(found.numpy(), expected, rtol=1e-13)


@pytest.mark.parametrize("name", [name for name in POINTWISE if len(arrays_of(name)) > 1])
def test_gradients_do_not_care_whether_the_others_are_tensors(name, backend):
    record = rules.find(f"special.{name}").record
    numbers = []
    for p in arrays_of(name):
        low, high = domain_of(record, p)
        numbers.append(2 + len(numbers) if p in UNKNOWN.get(name, "") else 0.6 * low + 0.4 * high)
    leaves = [agrad.tensor(v, dtype="float64" if isinstance(v, float) else None) for v in numbers]
    for i, p in enumerate(arrays_of(name)):
        if p not in UNKNOWN.get(name, ""):
            x = leaves[i].detach().requires_grad_()
            alone = [x if k == i else v for k, v in enumerate(numbers)]
            among = [x if k == i else v for k, v in enumerate(leaves)]
            one, other = (autograd.grad(call(name, *args), x)[0].item() for args in (alone, among))
            assert one == pytest.approx(other, rel=1e-12)


SUM_CALLS = [
    {}, {"axis": 0}, {"axis": (0, 1)}, {"axis": 1, "keepdims": True}, {"b": [2.0, -0.5, 0.0]}, {"return_sign": True},
    {"axis": 0, "b": [[1.0], [-3.0]], "return_sign": True}, {"axis": 1, "b": 0.5},
]  # fmt: skip


@pytest.mark.parametrize("options", SUM_CALLS, ids=str)
def test_logsumexp_takes_what_scipys_takes(options, library):
    a = np.asarray([[0.3, -800.0, 2.0], [700.0, 1.0, -inf]])
    expected = scipy_special.logsumexp(a, **options)
    weights = {"b": agrad.asarray(options["b"])} if isinstance(options.get("b"), list) else {}
    found = call("logsumexp", agrad.asarray(a), **{**options, **weights})
    for one, other in zip(*([v] if not isinstance(v, tuple) else v for v in (found, expected)), strict=True):
        np.testing.assert_allclose(one.numpy(), other, rtol=1e-13)


@pytest.mark.parametrize("name", ["softmax", "log_softmax"])
@pytest.mark.parametrize("axis", [None, 0, -1, (0, 1)])
def test_softmax_goes_over_all_axes_by_default(name, axis, library):
    x = np.asarray([[0.3, -2.0, 2.0], [1.0, 1.0, -1.0]])
    found = call(name, agrad.asarray(x)) if axis is None else call(name, agrad.asarray(x), axis=axis)
    np.testing.assert_allclose(found.numpy(), getattr(scipy_special, name)(x, axis=axis), rtol=1e-13)


# ------------------------------------------------------------------------------------- derivatives where they are hard
# name, arguments, the derivatives from mpmath: in tails, at half and whole numbers, where the textbook's form cancels.

HARD = [
    ("erf", (26.0,), lambda mp, x: [2 / mp.sqrt(mp.pi) * mp.exp(-x * x)]),
    ("erfcx", (-20.0,), lambda mp, x: [by(mp, lambda x: mp.exp(x * x) * mp.erfc(x), x)]),
    ("erfcx", (9.99,), lambda mp, x: [by(mp, lambda x: mp.exp(x * x) * mp.erfc(x), x)]),
    ("erfcx", (1e3,), lambda mp, x: [by(mp, lambda x: mp.exp(x * x) * mp.erfc(x), x)]),
    ("dawsn", (10.5,), lambda mp, x: [1 - mp.sqrt(mp.pi) * x * mp.exp(-x * x) * mp.erfi(x)]),
    ("dawsn", (-0.9,), lambda mp, x: [1 - mp.sqrt(mp.pi) * x * mp.exp(-x * x) * mp.erfi(x)]),
    ("erfinv", (1 - 2.0**-50,), lambda mp, y: [mp.sqrt(mp.pi) / 2 * mp.exp(mp.erfinv(y) ** 2)]),
    ("log_ndtr", (-50.0,), lambda mp, x: [by(mp, lambda x: mp.log(mp.ncdf(x)), x)]),
    ("log_ndtr", (-1e3,), lambda mp, x: [mp.npdf(x) / (mp.erfc(-x / mp.sqrt(2)) / 2)]),
    ("log_ndtr", (9.0,), lambda mp, x: [mp.npdf(x) / mp.ncdf(x)]),
    ("ndtri", (1e-300,), lambda mp, y: [1 / mp.npdf(mp.mpf(scipy_special.ndtri(float(y))))]),
    ("expit", (40.0,), lambda mp, x: [mp.exp(-x) / (1 + mp.exp(-x)) ** 2]),
    ("exprel", (-200.0,), lambda mp, x: [by(mp, lambda x: mp.expm1(x) / x, x)]),
    ("exprel", (1e-9,), lambda mp, x: [mp.mpf(0.5) + x / 3]),
    ("exprel", (700.0,), lambda mp, x: [by(mp, lambda x: mp.expm1(x) / x, x)]),
    ("sinc", (1e-9,), lambda mp, x: [-(mp.pi**2) * x / 3]),
    ("sinc", (0.3183,), lambda mp, x: [by(mp, lambda x: mp.sincpi(x), x)]),
    ("boxcox", (3.0, 1e-12), lambda mp, x, m: [x ** (m - 1), mp.log(x) ** 2 / 2 + m * mp.log(x) ** 3 / 3]),
    ("inv_boxcox", (2.0, 1e-12), lambda mp, y, m: both(mp, lambda y, m: mp.exp(mp.log1p(m * y) / m), y, m)),
    ("kl_div", (1.0, 1.0 + 2.0**-40), lambda mp, x, y: [mp.log(x / y), 1 - x / y]),
    ("rel_entr", (1e-300, 1.0), lambda mp, x, y: [mp.log(x / y) + 1, -x / y]),
    ("spence", (1.0 + 2.0**-45,), lambda mp, z: [mp.log(z) / (1 - z)]),
    ("gammaln", (-2.5,), lambda mp, x: [mp.digamma(x)]),
    ("rgamma", (-3.0,), lambda mp, x: [mp.mpf(-6)]),
    ("rgamma", (-20.5,), lambda mp, x: [by(mp, mp.rgamma, x)]),
    ("digamma", (-1.5,), lambda mp, x: [mp.psi(1, x)]),
    ("beta", (50.0, 1e-3), lambda mp, a, b: both(mp, mp.beta, a, b)),
    ("betaln", (1e8, 1.0), lambda mp, a, b: [mp.digamma(a) - mp.digamma(a + b), mp.digamma(b) - mp.digamma(a + b)]),
    ("binom", (100.5, 50.0), lambda mp, n, k: both(mp, mp.binomial, n, k)),
    ("poch", (1e5, 0.25), lambda mp, z, m: both(mp, mp.rf, z, m)),
    ("zeta", (3.0, 0.5), lambda mp, x, q: [mp.zeta(x, q, 1), -x * mp.zeta(x + 1, q)]),
    ("zeta", (1.0001, 2.0), lambda mp, x, q: [mp.zeta(x, q, 1), -x * mp.zeta(x + 1, q)]),
    ("zetac", (30.0,), lambda mp, x: [mp.zeta(x, 1, 1)]),
    ("zetac", (-5.5,), lambda mp, x: [by(mp, mp.zeta, x)]),
    ("gammainc", (1e-3, 2.0), lambda mp, a, x: both(mp, lambda a, x: lower_gamma(mp, a, x), a, x)),
    ("gammainc", (0.5, 1e-8), lambda mp, a, x: both(mp, lambda a, x: lower_gamma(mp, a, x), a, x)),
    ("gammainc", (3.0, 3.0), lambda mp, a, x: both(mp, lambda a, x: lower_gamma(mp, a, x), a, x)),
    ("gammainc", (100.0, 30.0), lambda mp, a, x: both(mp, lambda a, x: lower_gamma(mp, a, x), a, x)),
    ("gammaincc", (2.5, 90.0), lambda mp, a, x: both(mp, lambda a, x: upper_gamma(mp, a, x), a, x)),
    ("gammaincc", (200.0, 280.0), lambda mp, a, x: both(mp, lambda a, x: upper_gamma(mp, a, x), a, x)),
    ("chdtrc", (7.0, 60.0), lambda mp, v, x: both(mp, lambda v, x: upper_gamma(mp, v / 2, x / 2), v, x)),
    ("gdtr", (2.0, 1.5, 0.01), lambda mp, a, b, x: every(mp, lambda a, b, x: lower_gamma(mp, b, a * x), a, b, x)),
    ("pdtr", (2.7, 30.0), lambda mp, k, m: [0, -mp.exp(-m) * m**2 / 2]),
    ("betainc", (0.01, 3.0, 1e-6), lambda mp, a, b, x: every(mp, lambda a, b, x: ibeta(mp, a, b, x), a, b, x)),
    ("betainc", (40.0, 3.0, 0.1), lambda mp, a, b, x: every(mp, lambda a, b, x: ibeta(mp, a, b, x), a, b, x)),
    ("betainc", (2.5, 0.5, 0.999), lambda mp, a, b, x: every(mp, lambda a, b, x: ibeta(mp, a, b, x), a, b, x)),
    ("betaincc", (300.0, 200.0, 0.7), lambda mp, a, b, x: every(mp, lambda a, b, x: ibeta(mp, b, a, 1 - x), a, b, x)),
    ("fdtr", (3.0, 50.0, 6.0), lambda mp, n, d, x: every(mp, lambda n, d, x: f_cdf(mp, n, d, x), n, d, x)),
    ("stdtr", (3.5, -7.0), lambda mp, n, t: both(mp, lambda n, t: t_cdf(mp, n, t), n, t)),
    ("stdtr", (900.0, 1.2), lambda mp, n, t: both(mp, lambda n, t: t_cdf(mp, n, t), n, t)),
    ("stdtr", (21.0, -4.0), lambda mp, n, t: both(mp, lambda n, t: t_cdf(mp, n, t), n, t)),
    ("kv", (0.5, 1e-3), lambda mp, v, z: both(mp, mp.besselk, v, z)),
    ("kv", (20.0, 500.0), lambda mp, v, z: both(mp, mp.besselk, v, z)),
    ("kve", (2.5, 300.0), lambda mp, v, z: both(mp, lambda v, z: mp.exp(z) * mp.besselk(v, z), v, z)),
    ("j1", (1e-8,), lambda mp, x: [mp.mpf(0.5) - 3 * x * x / 16]),
    ("i1", (-1e-8,), lambda mp, x: [mp.mpf(0.5) + 3 * x * x / 16]),
    ("i0e", (5e3,), lambda mp, x: [by(mp, lambda x: mp.exp(-x) * mp.besseli(0, x), x)]),
    ("i1e", (31.0,), lambda mp, x: [by(mp, lambda x: mp.exp(-x) * mp.besseli(1, x), x)]),
    ("k0e", (5e3,), lambda mp, x: [by(mp, lambda x: mp.exp(x) * mp.besselk(0, x), x)]),
    ("k1e", (29.0,), lambda mp, x: [by(mp, lambda x: mp.exp(x) * mp.besselk(1, x), x)]),
    ("ellipk", (1e-12,), lambda mp, m: [mp.pi / 8]),
    ("ellipk", (1 - 2.0**-40,), lambda mp, m: [by(mp, mp.ellipk, m, mp.mpf(10) ** -30)]),
    ("ellipe", (0.21,), lambda mp, m: [by(mp, mp.ellipe, m)]),
    ("ellipkm1", (1e-30,), lambda mp, p: [-1 / (2 * p)]),
]  # fmt: skip


def by(mp, f, x, h=None):
    """A central difference, with sixty digits."""
    h = abs(x) * mp.mpf(10) ** -18 if h is None else h
    return (f(x + h) - f(x - h)) / (2 * h)


def every(mp, f, *args):
    return [by(mp, lambda x, i=i: f(*args[:i], x, *args[i + 1 :]), args[i]) for i in range(len(args))]


def both(mp, f, *args):
    return every(mp, f, *args)


def lower_gamma(mp, a, x):
    return mp.gammainc(a, 0, x, regularized=True)


def upper_gamma(mp, a, x):
    return mp.gammainc(a, x, regularized=True)


def ibeta(mp, a, b, x):
    return mp.betainc(a, b, 0, x, regularized=True)


def f_cdf(mp, n, d, x):
    return ibeta(mp, n / 2, d / 2, n * x / (d + n * x))


def t_cdf(mp, n, t):
    tail = ibeta(mp, n / 2, mp.mpf(1) / 2, n / (n + t * t)) / 2
    return tail if t < 0 else 1 - tail


@pytest.mark.parametrize(("name", "args", "truth"), HARD, ids=lambda value: value if isinstance(value, str) else None)
def test_a_derivative_at_a_hard_point(name, args, truth, mp):
    expected = [float(d) for d in truth(mp, *map(mp.mpf, args))]
    np.testing.assert_allclose(slopes(name, *args), expected, rtol=3e-12)


@pytest.mark.parametrize(("name", "args", "truth"), HARD, ids=lambda value: value if isinstance(value, str) else None)
def test_a_derivative_at_a_hard_point_in_single_precision(name, args, truth, mp):
    single = [float(np.float32(a)) for a in args]
    if any(abs(b - a) > 1e-7 * abs(a) or (b == 1) is not (a == 1) for a, b in zip(args, single, strict=True)):
        pytest.skip("single precision has no such numbers")
    expected = np.asarray([float(d) for d in truth(mp, *map(mp.mpf, single))])
    if (np.abs(expected) > 1e38).any() or (np.abs(expected) < 1e-36).any():
        pytest.skip("single precision has no such derivative")
    np.testing.assert_allclose(slopes(name, *single, dtype="float32"), expected, rtol=3e-4)


def test_derivatives_where_a_function_is_complex(mp):
    z = mp.mpc(0.7, -1.3)
    for name, f in (
        ("erf", mp.erf), ("erfc", mp.erfc), ("erfi", mp.erfi), ("gamma", mp.gamma), ("loggamma", mp.loggamma),
        ("digamma", mp.digamma), ("rgamma", mp.rgamma), ("exp1", mp.e1), ("expi", mp.ei), ("lambertw", mp.lambertw),
        ("ndtr", lambda x: mp.erfc(-x / mp.sqrt(2)) / 2), ("sinc", mp.sincpi),
        ("dawsn", lambda x: mp.sqrt(mp.pi) / 2 * mp.exp(-x * x) * mp.erfi(x)),
        ("spence", lambda x: mp.polylog(2, 1 - x)),
    ):  # fmt: skip
        x = agrad.tensor(complex(z), requires_grad=True)
        (g,) = autograd.grad(call(name, x), x, agrad.tensor(1 + 0j), create_graph=True)
        (h,) = autograd.grad(g, x, agrad.tensor(1 + 0j))
        first = mp.diff(f, z)
        assert abs(complex(g.item()) - complex(mp.conj(first))) < 1e-12 * abs(first), name
        assert abs(complex(h.item()) - complex(mp.conj(mp.diff(f, z, 2)))) < 1e-9 * max(1, abs(first)), name


def test_kv_of_complex_arguments_has_no_derivative_by_the_order():
    z = agrad.tensor(0.7 - 1.3j, requires_grad=True)
    (g,) = autograd.grad(call("kv", 1.5, z), z, agrad.tensor(1 + 0j))
    expected = -0.5 * (scipy_special.kv(0.5, 0.7 - 1.3j) + scipy_special.kv(2.5, 0.7 - 1.3j))
    assert abs(g.item() - np.conj(expected)) < 1e-12
    v = agrad.tensor(1.5, requires_grad=True)
    with pytest.raises(NotImplementedError, match="by the order at real arguments only"):
        autograd.grad(call("kv", v, z), v, agrad.tensor(1 + 0j))


def test_the_second_derivative_of_sinc_at_zero():
    x = agrad.tensor([0.0, 0.5], requires_grad=True)
    (g,) = autograd.grad(call("sinc", x).sum(), x, create_graph=True)
    (h,) = autograd.grad(g.sum(), x, create_graph=True)
    (third,) = autograd.grad(h.sum(), x)
    assert g.tolist() == pytest.approx([0.0, -4 / pi])
    assert h.tolist() == pytest.approx([-(pi**2) / 3, 16 / pi - 2 * pi])
    assert third[0].item() == 0.0


@pytest.mark.parametrize(("name", "third"), [("j1", -3 / 8), ("i1", 3 / 8)])
def test_series_around_zero_hold_in_every_order(name, third):
    x = y = agrad.tensor(0.0, requires_grad=True)
    orders = []
    y = call(name, x)
    for _ in range(3):
        (y,) = autograd.grad(y, x, create_graph=True)
        orders.append(y.item())
    assert orders == pytest.approx([0.5, 0.0, third], abs=1e-15)


# ------------------------------------------------------------------------------------------------- PyTorch's gradients

WITH_TORCH = [
    *((name, (0.3,)) for name in """
        digamma entr erf erfc erfcx erfinv exp2 expit expm1 gammaln i0 i0e i1 i1e log1p log_ndtr logit ndtr ndtri sinc
    """.split()),
    ("digamma", (-1.5,)), ("gammaln", (-1.5,)), ("i0e", (-2.0,)), ("i1e", (-2.0,)), ("i1", (0.0,)), ("i1e", (0.0,)),
    ("i0e", (0.0,)), ("sinc", (0.0,)), ("log_ndtr", (-50.0,)), ("entr", (0.0,)), ("logit", (0.0,)), ("logit", (2.0,)),
    ("logit", (1.0,)), ("erfinv", (1.0,)), ("erfinv", (2.0,)), ("ndtri", (0.0,)), ("expit", (800.0,)),
    ("expit", (-800.0,)), ("xlogy", (1.3, 2.0)), ("xlogy", (0.0, 2.0)), ("xlogy", (1.0, 0.0)), ("xlogy", (0.0, -1.0)),
    ("xlog1py", (1.3, 2.0)), ("xlog1py", (0.0, 1.0)), ("gammaln", (0.0,)),
]  # fmt: skip


@pytest.mark.skipif(not is_installed("torch"), reason="torch is not installed")
@pytest.mark.parametrize(("name", "args"), WITH_TORCH, ids=lambda value: str(value))
def test_gradients_and_nodes_are_pytorchs(name, args):
    import torch

    theirs = [torch.tensor(a, dtype=torch.float64, requires_grad=True) for a in args]
    out = getattr(torch.special, name)(*theirs)
    expected = [g.item() for g in torch.autograd.grad(out, theirs)]
    rtol = 1e-9 if name == "digamma" else 1e-12     # their trigamma has 9 digits
    np.testing.assert_allclose(slopes(name, *args), expected, rtol=rtol)
    operands = [agrad.tensor(a, requires_grad=True) for a in args]
    if name != "ndtr":      # PyTorch makes it of several
        assert call(name, *operands).grad_fn.name() == out.grad_fn.name()


# ----------------------------------------------------------------------------------------- derivatives that are unknown

UNKNOWN = {
    "bdtr": "n", "bdtrc": "n", "bdtri": "n", "nbdtr": "kn", "nbdtrc": "kn", "nbdtri": "kn", "pdtri": "k",
    "polygamma": "n", "jv": "v", "yv": "v", "iv": "v", "ive": "v", "yn": "n", "expn": "n", "lpmv": "mv", "hyp1f1": "ab",
}  # fmt: skip


def test_the_unknown_derivatives_are_these():
    found = {}
    for name in NAMES:
        record = rules.find(f"special.{name}").record
        raising = [p for p, f in record.derivatives.items() if getattr(f, "__name__", "").endswith("raise_error")]
        found |= {name: "".join(raising)} if raising else {}
    assert found == UNKNOWN


@pytest.mark.parametrize("name", UNKNOWN)
def test_an_unknown_derivative_raises_and_the_others_do_not_suffer(name):
    args = {p: agrad.tensor(2.0 + i, requires_grad=True) for i, p in enumerate(arrays_of(name))}
    known = next(p for p in reversed(args) if p not in UNKNOWN[name])
    args[known] = agrad.tensor(0.4, requires_grad=True)
    with sealed(backends.find("numpy")):
        out = call(name, *args.values())
        for p in UNKNOWN[name]:
            message = rf"special\.{name} has no derivative .*{p!r}.*{p}\.detach\(\)"
            with pytest.raises(NotImplementedError, match=message):
                autograd.grad(out, args[p], retain_graph=True)
        with pytest.raises(NotImplementedError, match=rf"special\.{name} has no derivative"):
            out.backward(retain_graph=True)
        (g,) = autograd.grad(out, args[known], retain_graph=True)
        plain = [a.detach() if p in UNKNOWN[name] else a for p, a in args.items()]
        (expected,) = autograd.grad(call(name, *plain), args[known])
    assert g.item() == expected.item() != 0.0


# ---------------------------------------------------------------------------------------------------- names and plugins


def test_the_names_are_found_everywhere(backend):
    facade = backends.find(backend).facade
    x = agrad.asarray([0.1, 0.5])
    assert facade.special.erf is agrad.special.erf is x.__array_namespace__().special.erf
    for place in (agrad.special, facade.special):
        assert {*NAMES} <= {*dir(place)}
        with pytest.raises(AttributeError, match="no_such_function"):
            place.no_such_function  # noqa: B018
        assert not hasattr(place, "ndtrx")


def test_rules_and_kernels_of_others_find_them(backend):
    raw = backends.find(backend).xp
    x = agrad.asarray([0.1, 0.5])
    assert type(raw.special.erf(x.array)) is type(x.array)
    assert not hasattr(raw.special, "no_such_function")


WITHOUT_SCIPY = """
import sys
sys.modules["scipy"] = None
import agrad
x = agrad.tensor([0.5, 1.0], requires_grad=True)
print(agrad.special.log1p(x).tolist())
try:
    agrad.special.erf(x)
except ImportError as error:
    print(error)
"""


def test_without_scipy_the_error_says_what_to_install():
    result = run(WITHOUT_SCIPY)
    assert "0.405465" in result[0]
    assert "computed by SciPy" in result[1]
    assert "pip install 'agrad[special]'" in result[1]


def test_without_scipy_what_layers_are_made_of_is_there():
    program = """
        import sys
        sys.modules["scipy"] = None
        import agrad
        x = agrad.tensor([-1000.0, 0.0, 2.0], requires_grad=True)
        for name in ("expit", "log_expit", "softplus"):
            out = getattr(agrad.special, name)(x)
            print(*out.tolist(), *agrad.autograd.grad(out.sum(), x)[0].tolist())
    """
    found = [[float(word) for word in line.split()] for line in run(dedent(program))]
    x = np.array([-1000.0, 0.0, 2.0])
    expit = scipy_special.expit(x)
    expected = [(expit, expit * (1 - expit)), (scipy_special.log_expit(x), 1 - expit), (np.logaddexp(0, x), expit)]
    for line, parts in zip(found, expected, strict=True):
        np.testing.assert_allclose(line, np.concatenate(parts), rtol=1e-13)


def run(program, **variables):
    """What a program prints."""
    command = [sys.executable, "-W", "error", "-c", program]
    result = subprocess.run(command, capture_output=True, text=True, timeout=300, env={**os.environ, **variables})
    assert result.returncode == 0, result.stderr
    return result.stdout.splitlines()


# ------------------------------------------------------------------------------ under the transformations of libraries


@pytest.mark.skipif(not is_installed("jax"), reason="JAX is not installed")
@pytest.mark.parametrize("name", ["erf", "j0", "huber", "kv"])
def test_values_and_gradients_inside_jax_jit(name):
    """What JAX lacks is called back from the compiled program."""
    import jax

    n = len(arrays_of(name))

    def gradients(*raws):
        operands = [agrad.tensor(raw, requires_grad=True) for raw in raws]
        out = call(name, *operands)
        return out.detach().array, *(g.array for g in autograd.grad(out.sum(), operands))

    with (jax.enable_x64 if hasattr(jax, "enable_x64") else jax.experimental.enable_x64)(True):
        raws = [jax.numpy.asarray([0.3, 0.7]) + 0.1 * i for i in range(n)]
        for one, other in zip(jax.jit(gradients)(*raws), gradients(*raws), strict=True):
            np.testing.assert_allclose(np.asarray(one), np.asarray(other), rtol=1e-12)


@pytest.mark.skipif(not is_installed("dask"), reason="Dask is not installed")
def test_dask_computes_nothing_before_it_is_asked():
    import dask

    def refuse(*_args, **_options):
        raise AssertionError("something was computed")

    with agrad.use_backend("dask"):
        operands = [agrad.tensor([1.0, 2.0], requires_grad=True) for _ in "ax"]
        with dask.config.set(scheduler=refuse):
            out = call("gammainc", *operands)
            gradients = autograd.grad(out.sum(), operands)
        for g, expected in zip(gradients, slopes_on_numpy("gammainc", [1.0, 2.0], [1.0, 2.0]), strict=True):
            np.testing.assert_allclose(g.numpy(), expected, rtol=1e-12)


def slopes_on_numpy(name, *args):
    with agrad.use_backend("numpy"):
        operands = [agrad.tensor(a, requires_grad=True) for a in args]
        return [g.numpy() for g in autograd.grad(call(name, *operands).sum(), operands)]


# -------------------------------------------------------------------------------------------------------- SciPy's hook

# SciPy looks for xp.special.NAME, "in anticipation of an extension": private behaviour, pinned here.
HOOK = """
import json
import sys

import numpy as np
import scipy.special
from scipy.special import _support_alternative_backends as support

import agrad
from agrad import autograd, rules
from agrad.testing.check import sealed
from agrad import backends

names = [f.name for f in support._special_funcs] + ["digamma"]
found = {}
with agrad.use_backend(sys.argv[1]), sealed(backends.find(sys.argv[1])):
    for name in names:
        op = rules.find("special." + name)
        record, arguments, leaves = op.record, [], []
        for p in op.signature.parameters:
            formula = record.derivatives.get(p.name)
            if p.kind == "static":
                arguments.append(2)
            elif getattr(formula, "__name__", "").endswith("raise_error"):
                arguments.append(agrad.asarray([2, 3]))
            else:
                domain = record.domain.get(p.name) if isinstance(record.domain, dict) else record.domain
                low, high = domain or (0.3, 0.9)
                numbers = [0.7 * low + 0.3 * high, 0.4 * low + 0.6 * high]
                arguments.append(agrad.tensor(numbers, dtype="float64", requires_grad=True))
                leaves.append(len(arguments) - 1)
        function = getattr(scipy.special, name)
        out = function(*arguments)
        assert type(out) is agrad.Tensor, name
        if record.family == "flat":
            found[name] = "flat"
            continue
        arrays = [a if isinstance(a, int) else a.numpy(force=True) for a in arguments]
        gradients = autograd.grad(out.sum(), [arguments[i] for i in leaves])
        for i, g in zip(leaves, gradients):
            h = 1e-6
            ahead, behind = (function(*arrays[:i], arrays[i] + s, *arrays[i + 1:]) for s in (h, -h))
            np.testing.assert_allclose(g.numpy(), (ahead - behind) / (2 * h), rtol=2e-5, atol=2e-8, err_msg=name)
        found[name] = len(leaves)
print(json.dumps(found))
"""


@pytest.mark.parametrize("name", ["numpy", "torch", "array_api_strict"])
def test_scipys_own_functions_find_the_ops(name):
    if not is_installed(name):
        pytest.skip(f"{name} is not installed")
    support = pytest.importorskip("scipy.special._support_alternative_backends", reason="this SciPy has no such hook")
    if not hasattr(support, "_FuncInfo") or not hasattr(support, "_get_native_func"):
        pytest.skip("this SciPy looks for special functions in another way")
    program = HOOK.replace("sys.argv[1]", repr(name))
    found = json.loads(run(program, SCIPY_ARRAY_API="1")[-1])
    assert set(found) == {f.name for f in support._special_funcs} | {"digamma"}
    assert found["gammasgn"] == "flat"
    assert found["betainc"] == found["fdtri"] == 3
    assert found["bdtr"] == 2
    assert found["hyp1f1"] == 1


@pytest.mark.parametrize("name", ["expit", "log_expit"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_long_arrays_are_computed_by_formulas_that_agree_with_scipy(name, dtype):
    scipy_special = pytest.importorskip("scipy.special")
    x = np.linspace(-80, 80, 10_001).astype(dtype)
    found = getattr(agrad.special, name)(agrad.asarray(x)).array
    expected = getattr(scipy_special, name)(x)
    assert found.dtype == expected.dtype
    np.testing.assert_allclose(found, expected, rtol=8 * np.finfo(dtype).eps)
