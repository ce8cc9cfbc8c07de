"""`agrad.optimize.minimize`: SciPy's iterates with derivatives by hand, trees, bounds, constraints, bad input."""

from collections import namedtuple

import numpy as np
import pytest
from array_libraries import values

import agrad

scipy = pytest.importorskip("scipy.optimize")

from agrad.optimize import least_squares, minimize, root  # noqa: E402
from agrad.optimize.solvers import WITH_HESSIAN, WITH_PRODUCTS, WITHOUT_DERIVATIVES  # noqa: E402

GRADIENT = ("cg", "bfgs", "l-bfgs-b", "slsqp", "newton-cg", "trust-ncg", "trust-krylov", "trust-constr")
METHODS = (*GRADIENT, "tnc", *WITH_HESSIAN, *WITHOUT_DERIVATIVES)

A = np.array([[4.0, 1.0, 0.0], [1.0, 3.0, -1.0], [0.0, -1.0, 2.0]])
START = np.array([0.7, -0.4, 0.5])


def by_hand(x):
    """x'Ax/2 + sum(exp(x)): convex, with value, gradient and Hessian written out."""
    return np.sum(x * (A @ x)) / 2 + np.sum(np.exp(x))


def gradient_by_hand(x):
    return A @ x + np.exp(x)


def hessian_by_hand(x):
    return A + np.diag(np.exp(x))


def bowl(x):
    xp = x.__array_namespace__()
    a = agrad.asarray(A).to(x)
    return xp.sum(x * (a @ x)) / 2 + xp.sum(xp.exp(x))


def with_scipy(method, **options):
    if method not in WITHOUT_DERIVATIVES:
        options["jac"] = gradient_by_hand
    if method in WITH_PRODUCTS:
        options["hessp"] = lambda x, p: hessian_by_hand(x) @ p
    if method in WITH_HESSIAN:
        options["hess"] = hessian_by_hand
    return scipy.minimize(by_hand, START, method=method, **options)


@pytest.mark.parametrize("method", METHODS)
def test_iterates_are_those_of_derivatives_by_hand(method):
    path, expected_path = [], []
    rounding = 1e-7 if method == "tnc" else 1e-9    # TNC divides differences of gradients by small steps
    if method == "cobyla":
        expected = with_scipy(method)
        found = minimize(bowl, agrad.asarray(START), method=method)
    else:
        expected = with_scipy(method, callback=lambda x, *_: expected_path.append(np.array(x)))
        found = minimize(bowl, agrad.asarray(START), method=method, callback=lambda x, *_: path.append(values(x)))
        assert len(path) == len(expected_path) > 1
        assert np.allclose(path, expected_path, rtol=rounding, atol=rounding)
    assert found.success == expected.success
    assert (found.nfev, found.get("nit"), found.message) == (expected.nfev, expected.get("nit"), expected.message)
    assert values(found.x) == pytest.approx(expected.x, rel=rounding, abs=rounding)
    assert found.fun == pytest.approx(expected.fun, rel=1e-12)
    if "jac" in expected and method != "trust-constr":
        assert isinstance(found.jac, agrad.Tensor)
        assert values(found.jac) == pytest.approx(expected.jac, abs=rounding)


def test_the_default_method_and_custom_methods():
    assert values(minimize(bowl, agrad.asarray(START)).x) == pytest.approx(with_scipy(None).x, abs=1e-9)

    def newton(fun, x0, args=(), jac=None, hessp=None, **options):
        assert jac(x0) == pytest.approx(gradient_by_hand(x0))
        assert hessp(x0, x0) == pytest.approx(hessian_by_hand(x0) @ x0)
        return scipy.OptimizeResult(x=x0, fun=fun(x0), success=True)

    assert minimize(bowl, agrad.asarray(START), method=newton).fun == pytest.approx(by_hand(START))


def test_value_and_gradient_come_from_one_pass():
    calls = []

    def counted(x):
        calls.append(1)
        return bowl(x)

    found = minimize(counted, agrad.asarray(START), method="bfgs")
    assert len(calls) == found.nfev == found.njev
    calls.clear()
    found = minimize(counted, agrad.asarray(START), method="trust-ncg")
    assert found.nhev > len(calls) - found.nfev     # products at one place share a graph


# --------------------------------------------------------------------------------------------- trees, places and dtypes

Line = namedtuple("Line", "slope offset")


def residuals(p, x, y):
    return agrad.sum((p["line"].slope * x + p["line"].offset + p["bend"][0] * x * x - y) ** 2)


def test_parameters_in_any_nest(backend, doubles):
    x = agrad.linspace(-1.0, 1.0, 20)
    y = 3 * x - 2 + 0.5 * x * x
    start = {"line": Line(agrad.zeros(()), agrad.ones((1, 1))), "bend": [agrad.ones((1, 1, 1)), None]}
    for method in ("bfgs", "newton-cg", "trust-exact", "trust-constr", "slsqp", "nelder-mead"):
        options = {"xatol": 1e-7, "fatol": 1e-12, "maxiter": 2000} if method == "nelder-mead" else None
        found = minimize(residuals, start, (x, y), method=method, options=options)
        assert found.success, found.message
        assert isinstance(found.x["line"], Line)
        assert found.x["bend"][1] is None
        leaves = found.x["line"].slope, found.x["line"].offset, found.x["bend"][0]
        assert [t.backend_.name for t in leaves] == [backend] * 3
        assert [tuple(t.shape) for t in leaves] == [(), (1, 1), (1, 1, 1)]
        assert [values(t).item() for t in leaves] == pytest.approx([3, -2, 0.5], abs=1e-4)
        assert not any(t.requires_grad for t in leaves)
    assert isinstance(minimize(residuals, start, (x, y)).jac["line"], Line)
    assert isinstance(minimize(residuals, start, (x, y), method="trust-constr").grad["line"], Line)


@pytest.mark.parametrize("library", ["jax", "dask", "ndonnx"])
def test_other_libraries(library):
    pytest.importorskip(library)
    with agrad.use_backend(library):
        for method in ("bfgs", "trust-ncg", "slsqp"):
            found = minimize(bowl, agrad.asarray(START), method=method)
            assert found.x.backend_.name == library
            assert values(found.x) == pytest.approx(with_scipy(method).x, abs=1e-6)


def test_every_leaf_keeps_its_dtype_and_backend():
    pytest.importorskip("array_api_strict")
    start = [agrad.asarray([3.0], dtype="float32"), agrad.asarray([4.0]).to("array_api_strict")]
    seen = set()

    def fun(x):
        seen.update((t.dtype.name, t.backend_.name) for t in x)
        return ((x[0].to("float64") - 1) ** 2 + (x[1].to("numpy") - 2) ** 2).sum()

    found = minimize(fun, start)
    assert seen == {("float32", "numpy"), ("float64", "array_api_strict")}
    assert [(t.dtype.name, t.backend_.name) for t in found.x] == [("float32", "numpy"), ("float64", "array_api_strict")]
    assert [t.item() for t in found.x] == pytest.approx([1, 2], abs=1e-3)


@pytest.mark.parametrize("method", ["bfgs", "trust-ncg", "nelder-mead", "cobyqa"])
def test_float32(method):
    found = minimize(lambda x: agrad.sum((x - 3) ** 2), agrad.zeros(3, dtype="float32"), method=method)
    assert found.x.dtype == agrad.float32
    assert values(found.x) == pytest.approx(np.full(3, 3), abs=1e-3)


def test_modules_of_the_mode_do_not_matter():
    with agrad.no_grad():
        assert minimize(bowl, agrad.asarray(START)).success
    with agrad.inference_mode():
        assert minimize(bowl, agrad.asarray(START), method="trust-krylov").success
    start = agrad.asarray(START).requires_grad_()
    found = minimize(bowl, start)
    assert (start.grad, found.x.requires_grad) == (None, False)
    assert values(start).tolist() == START.tolist()


def test_functions_may_branch_on_values():
    def huber(x):
        return sum((one ** 2 / 2 if abs(one.item()) < 1 else abs(one) - 0.5) for one in x)

    for method in ("bfgs", "trust-ncg", "trust-exact"):
        assert abs(minimize(huber, agrad.asarray([0.9, -0.6]), method=method).x).max().item() < 1e-4


def test_linear_leaves_have_second_derivative_zero():
    x0 = {"a": agrad.ones(2), "b": agrad.ones(())}

    def fun(x):
        return (x["a"] ** 4).sum() + 0.1 * x["b"]

    path = []
    minimize(fun, x0, method="trust-ncg", options={"maxiter": 3}, callback=lambda x: path.append(x["b"].item()))
    assert path[-1] < path[0] < 1


# ----------------------------------------------------------------------------------------------- bounds and constraints


@pytest.mark.parametrize("method", ["l-bfgs-b", "tnc", "slsqp", "trust-constr", "nelder-mead", "powell", "cobyqa"])
def test_bounds(method, doubles):
    def fun(x):
        return agrad.sum((x["a"] - 2) ** 2) + (x["b"] + 3) ** 2

    start = {"a": agrad.asarray([0.5, 0.5]), "b": agrad.asarray(0.5)}
    forms = (
        {"a": (0, 1.0), "b": (-1, None)},
        {"b": (agrad.asarray(-1.0), None), "a": (None, agrad.asarray([1.0, 1.0]))},
        {"a": [(None, 1), (0, np.float64(1.0))], "b": np.array([-1.0, 1.0])},
        scipy.Bounds([-np.inf, -np.inf, -1], [1, 1, np.inf]),
    )
    for bounds in forms:
        found = minimize(fun, start, method=method, bounds=bounds)
        assert values(found.x["a"]) == pytest.approx([1, 1], abs=1e-3)
        assert found.x["b"].item() == pytest.approx(-1, abs=1e-3)


def test_one_pair_bounds_all_below():
    start = agrad.full((2,), 3.0), agrad.full((1,), 4.0)
    found = minimize(lambda x: agrad.sum(x[0] ** 2) + agrad.sum(x[1]) ** 2, start, bounds=(1, 5))
    assert [values(t).tolist() for t in found.x] == [[1, 1], [1]]
    free = minimize(lambda x: agrad.sum((x[0] - 9) ** 2), [agrad.zeros(2)], bounds=[None], method="l-bfgs-b")
    assert values(free.x[0]) == pytest.approx([9, 9])


@pytest.mark.parametrize("bounds", [
    {"a": (0, 1)}, {"a": (0, 1), "b": (0, 1), "c": (0, 1)}, [(0, 1), (0, 1)], {"a": [(0, 1)] * 3, "b": (0, 1)}, 3,
    {"a": (0, 1, 2), "b": None}, {"a": (np.zeros(3), 1), "b": None},
])
def test_bounds_that_do_not_fit(bounds):
    start = {"a": agrad.zeros(2), "b": agrad.zeros(())}
    with pytest.raises(ValueError, match=r"bound.* (must be a pair|does not fit)"):
        minimize(lambda x: x["b"] ** 2 + (x["a"] ** 2).sum(), start, bounds=bounds)


def total(x):
    return agrad.sum(x["u"]) + x["v"]


def circle(x):
    return agrad.sum(x["u"] ** 2) + x["v"] ** 2


CIRCLE = {"u": agrad.asarray([-0.4, -0.5]), "v": agrad.asarray(-0.6)}


@pytest.mark.parametrize("method", ["slsqp", "trust-constr", "cobyla", "cobyqa"])
@pytest.mark.parametrize("form", ["dict", "dicts", "nonlinear"])
def test_constraints(method, form):
    """The least sum on the unit sphere."""
    constraint = {
        "dict": {"type": "ineq", "fun": lambda x, radius: radius - circle(x), "args": (1.0,)},
        "dicts": [
            {"type": "ineq", "fun": lambda x: [1 - circle(x), x["u"] + 9]},
            {"type": "eq", "fun": lambda x: x["u"][:1] - x["v"]},
        ],
        "nonlinear": scipy.NonlinearConstraint(circle, 0, agrad.asarray(1.0)),
    }[form]
    found = minimize(total, CIRCLE, method=method, constraints=constraint)
    assert [*values(found.x["u"]), found.x["v"].item()] == pytest.approx([-(3**-0.5)] * 3, abs=1e-3)


@pytest.mark.parametrize("method", ["slsqp", "trust-constr"])
def test_constrained_iterates_are_those_of_derivatives_by_hand(method):
    def jacobian(x):
        return 2 * x[None]

    def hessian(x, v):
        return 2 * v[0] * np.eye(3)

    second = {"hess": hessian} if method == "trust-constr" else {}
    by_scipy = scipy.NonlinearConstraint(lambda x: x @ x, 0, 1, jacobian, **second)
    ours = scipy.NonlinearConstraint(lambda x: agrad.sum(x**2), 0, 1)
    linear = scipy.LinearConstraint([[1.0, -1.0, 0.0]], 0.1, 0.2)
    options = {"hessp": lambda x, p: hessian_by_hand(x) @ p} if method == "trust-constr" else {}
    both = [by_scipy, linear]
    expected = scipy.minimize(by_hand, START, jac=gradient_by_hand, method=method, constraints=both, **options)
    found = minimize(bowl, agrad.asarray(START), method=method, constraints=[ours, linear])
    assert (found.nit, found.nfev) == (expected.nit, expected.nfev)
    assert values(found.x) == pytest.approx(expected.x, rel=1e-8, abs=1e-8)


def test_linear_constraints_act_on_all_elements():
    constraint = scipy.LinearConstraint(agrad.ones((1, 3)), agrad.asarray([3.0]), agrad.asarray([3.0]))
    for method in ("slsqp", "trust-constr"):
        found = minimize(circle, CIRCLE, method=method, constraints=constraint)
        assert [*values(found.x["u"]), found.x["v"].item()] == pytest.approx([1, 1, 1], abs=1e-4)


# ------------------------------------------------------------------------------------------------------------ callbacks


def test_callbacks_get_trees_and_may_stop():
    seen = []

    def watch(intermediate_result):
        seen.append(intermediate_result)
        if len(seen) == 2:
            raise StopIteration

    found = minimize(circle, CIRCLE, callback=watch, method="newton-cg", tol=1e-12)
    assert len(seen) == 2 or found.success
    assert set(seen[0].x) == {"u", "v"}
    assert isinstance(seen[0].fun, float)
    states = []
    minimize(circle, CIRCLE, method="trust-constr", callback=lambda x, state: states.append((x["v"].item(), state.nit)))
    assert states[-1][0] == pytest.approx(0, abs=1e-3)


def test_options_reach_scipy():
    assert minimize(bowl, agrad.asarray(START), method="bfgs", options={"maxiter": 1}).nit == 1
    with pytest.raises(ValueError, match="Unknown solver nothing"):
        minimize(bowl, agrad.asarray(START), method="nothing")


# ------------------------------------------------------------------------------------------------------------ bad input


@pytest.mark.parametrize(("fun", "x0", "error", "match"), [
    (lambda x: 3.0, agrad.ones(2), TypeError, "fun must give a Tensor, not float"),
    (lambda x: x, agrad.ones(2), TypeError, r"fun must give a real number, not agrad.float64 of shape \(2,\)"),
    (lambda x: (x * 1j).sum(), agrad.ones(2), TypeError, "fun must give a real number, not agrad.complex128"),
    (lambda x: x.sum(), [1.0, 2.0], TypeError, r"x0\[0\] must be a Tensor, not float"),
    (lambda x: x.sum(), {"a": agrad.ones(1), "n": agrad.asarray([1])}, TypeError, r"x0\['n'\] must be of a real"),
    (lambda x: x.sum(), agrad.asarray([1j]), TypeError, "x0 must be of a real floating dtype, not agrad.complex128"),
    (lambda x: x.sum(), {}, ValueError, "x0 has no tensors"),
    (lambda x: agrad.log(x).sum(), -agrad.ones(2), ValueError, "fun gives nan at x0"),
    (lambda x: agrad.sqrt(x * 0 + agrad.zeros(2)).sum(), agrad.zeros(2), ValueError, "gradient .* by x0 is nan at x0"),
    (lambda x: x.detach().sum(), agrad.ones(2), RuntimeError, "no gradient of fun by any of x0"),
    (lambda x: agrad.asarray(x["a"].numpy(force=True)).sum() + x["b"].sum(), {"a": agrad.ones(1), "b": agrad.ones(1)},
     RuntimeError, r"no gradient of fun by x0\['a'\]: it does not use it, or leaves agrad on the way"),
])
@pytest.mark.parametrize("method", ["bfgs", "trust-ncg"])
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_bad_input_is_named(fun, x0, error, match, method):
    with pytest.raises(error, match=match):
        minimize(fun, x0, method=method)


def test_derivatives_are_not_taken():
    for name in ("jac", "hess", "hessp"):
        with pytest.raises(TypeError, match=f"{name} comes from agrad"):
            minimize(bowl, agrad.asarray(START), **{name: gradient_by_hand})
    with pytest.raises(TypeError, match="jac of a constraint comes from agrad"):
        minimize(circle, CIRCLE, constraints={"type": "eq", "fun": total, "jac": total})
    with pytest.raises(TypeError, match="jac and hess of a constraint come from agrad"):
        minimize(circle, CIRCLE, constraints=scipy.NonlinearConstraint(total, 0, 1, jac=total))


@pytest.mark.parametrize(("constraint", "error", "match"), [
    ({"fun": total}, ValueError, "a constraint is a dict"),
    ([3], ValueError, "a constraint is a dict"),
    ({"type": "eq", "fun": lambda x: 1.0}, TypeError, "constraint's function must give real Tensors, not float"),
    ({"type": "eq", "fun": lambda x: x["v"].detach()}, RuntimeError, "no gradient of a constraint's function by any"),
])
def test_bad_constraints_are_named(constraint, error, match):
    with pytest.raises(error, match=match):
        minimize(circle, CIRCLE, method="slsqp", constraints=constraint)


def test_functions_of_numbers_need_a_method_without_derivatives():
    found = minimize(lambda x: float((values(x) ** 2).sum()), agrad.ones(2), method="nelder-mead")
    assert values(found.x) == pytest.approx([0, 0], abs=1e-3)
    with pytest.raises(TypeError, match="must give a real number, not str"):
        minimize(lambda x: "a", agrad.ones(2), method="nelder-mead")


def test_errors_of_the_function_come_through():
    def fail(x):
        raise ArithmeticError("of the user")

    with pytest.raises(ArithmeticError, match="of the user"):
        minimize(fail, agrad.ones(2))


def test_without_scipy(monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "scipy.optimize", None)
    with pytest.raises(ImportError, match=r"pip install 'agrad\[optimize\]'"):
        minimize(bowl, agrad.asarray(START))


# --------------------------------------------------------------------------------------------- least squares and roots


def decay(p, t):
    return p["height"] * agrad.exp(-p["rate"] * t)


@pytest.mark.parametrize("method", ["trf", "dogbox", "lm"])
def test_least_squares(method, backend, doubles):
    t = agrad.linspace(0.0, 3.0, 12)
    data = decay({"height": agrad.asarray(2.0), "rate": agrad.asarray(0.7)}, t)
    start = {"height": agrad.ones((1,)), "rate": agrad.ones(())}

    def parts(p, t, data):
        return [(decay(p, t) - data)[:5], (decay(p, t) - data)[5:]]

    found = least_squares(parts, start, (t, data), method)
    assert (found.x["height"].item(), found.x["rate"].item()) == pytest.approx((2, 0.7), abs=1e-6)
    assert found.x["height"].backend_.name == backend
    assert set(found.grad) == {"height", "rate"}
    assert (found.fun.shape, found.jac.shape) == ((12,), (12, 2))

    def by_hand(x, t):
        return np.stack([np.exp(-x[1] * t), -x[0] * t * np.exp(-x[1] * t)], axis=1)

    times, numbers = values(t), values(data)
    expected = scipy.least_squares(
        lambda x: x[0] * np.exp(-x[1] * times) - numbers, [1.0, 1.0], lambda x: by_hand(x, times), method=method
    )
    assert (found.nfev, found.njev) == (expected.nfev, expected.njev)
    assert found.jac == pytest.approx(expected.jac, abs=1e-9)


def test_least_squares_with_bounds_and_options():
    found = least_squares(lambda x: x - 3, agrad.ones(2), bounds=(0.0, 2.0), loss="soft_l1", max_nfev=50)
    assert values(found.x) == pytest.approx([2, 2], abs=1e-4)


@pytest.mark.parametrize("method", ["hybr", "lm", "krylov", "broyden1"])
def test_roots(method):
    def fun(p):
        return {"first": p["x"] + 0.5 * (p["x"] - p["y"]) ** 3 - 1, "second": 0.5 * (p["y"] - p["x"]) ** 3 + p["y"]}

    found = root(fun, {"x": agrad.asarray(0.6), "y": agrad.asarray(0.1)}, method=method)
    assert (found.x["x"].item(), found.x["y"].item()) == pytest.approx((0.8411639, 0.1588361), abs=1e-5)
    seen = []
    if method == "krylov":
        root(fun, found.x, method=method, callback=lambda x, f: seen.append(set(x)), options={"fatol": 1e-13})
        assert all(one == {"x", "y"} for one in seen)


def test_bad_input_of_least_squares_and_root():
    for solve in (least_squares, root):
        with pytest.raises(TypeError, match=rf"{solve.__name__}\(\): jac comes from agrad"):
            solve(lambda x: x, agrad.ones(2), jac=lambda x: x)
        with pytest.raises(TypeError, match=rf"{solve.__name__}\(\): fun must give real Tensors, not float"):
            solve(lambda x: 1.0, agrad.ones(2))
        with pytest.raises(RuntimeError, match=r"no gradient of fun by x0\[1\]"):
            solve(lambda x: [x[0], x[0] + x[1].detach()], [agrad.ones(1), agrad.ones(1)])
        with pytest.raises(RuntimeError, match="no gradient of fun by any of x0"):
            solve(lambda x: x.detach(), agrad.ones(2))
    with pytest.raises(TypeError, match="unexpected keyword argument 'bounds'"):
        root(lambda x: x, agrad.ones(2), bounds=(0, 1))


def test_parameters_without_elements_are_refused():
    for solve in (minimize, least_squares, root):
        with pytest.raises(ValueError, match=rf"{solve.__name__}\(\): x0 has no elements"):
            solve(lambda x: x.sum(), agrad.zeros(0))


def test_every_number_is_one_without_derivatives():
    for kind in (np.float32, np.int64, int):
        found = minimize(lambda x, kind=kind: kind(4 * x.item()), agrad.asarray(1.0), method="nelder-mead")
        assert np.isfinite(found.fun)
