"""`minimize`, `least_squares` and `root`: SciPy's functions of the same names on trees of tensors.

Must know no backend and no rule.
"""

import inspect
from collections.abc import Callable
from typing import Any

import numpy as np

from agrad.optimize.functions import Objective, VectorFunction
from agrad.optimize.restrictions import bounds_of, constraints_of
from agrad.optimize.trees import Tree

WITHOUT_DERIVATIVES = ("nelder-mead", "powell", "cobyla", "cobyqa")
WITH_PRODUCTS = ("newton-cg", "trust-ncg", "trust-krylov", "trust-constr")     # of the Hessian with vectors
WITH_HESSIAN = ("dogleg", "trust-exact")
ROOTS_WITH_JACOBIAN = ("hybr", "lm")


def minimize(
    fun: Callable[..., Any],
    x0: Any,
    args: Any = (),
    method: Any = None,
    jac: None = None,
    hess: None = None,
    hessp: None = None,
    bounds: Any = None,
    constraints: Any = (),
    tol: float | None = None,
    callback: Callable[..., Any] | None = None,
    options: dict[str, Any] | None = None,
) -> Any:
    """Find where a function is smallest: `scipy.optimize.minimize`, with exact derivatives.

    Value and gradient come from one forward and one backward pass. The methods that use second derivatives get
    products of the Hessian with vectors, or the Hessian (dogleg, trust-exact).

    Parameters
    ----------
    fun : callable
        `fun(x, *args)` gives a real Tensor with no axes; `x` has the structure of `x0`.
    x0 : Tensor, or a nest of containers of Tensors
        Where to start: real floating Tensors. SciPy computes in float64; each Tensor is handed to `fun` in its own
        dtype, and in its own place.
    args : tuple
        Further arguments of `fun`.
    method : str or callable, optional
        As in SciPy, also those without derivatives.
    jac, hess, hessp : None
        Not taken: agrad computes them.
    bounds : scipy.optimize.Bounds or nested pairs, optional
        A pair (low, high) in the place of a Tensor, or of a container for all that it holds; each of both is a number,
        a Tensor that broadcasts, or None. In the place of a Tensor also a sequence of pairs, one per element.
    constraints : dict, LinearConstraint, NonlinearConstraint, or a list of these
        As in SciPy; their functions get the tree, and give a Tensor or a nest of them. A LinearConstraint acts on the
        elements of all leaves in their order.
    tol, callback, options
        As in SciPy; the callback gets the tree.

    Returns
    -------
    scipy.optimize.OptimizeResult
        `x` and the gradient (`jac`; `grad` of trust-constr) have the structure, dtypes and places of `x0`; the rest is
        SciPy's, on the elements of all leaves in their order.

    Raises
    ------
    TypeError
        If `x0` is not made of real floating Tensors, `fun` gives something else than a real number, or derivatives
        are passed.
    RuntimeError
        If the gradient by a leaf got lost: `fun` does not lead there by agrad's operations.
    ValueError
        If the value or the gradient is not a number at `x0`, or bounds do not fit.
    ImportError
        Without SciPy.

    Examples
    --------
    >>> import agrad
    >>> def rosenbrock(p):
    ...     return (1 - p["x"]) ** 2 + 100 * (p["y"] - p["x"] ** 2) ** 2
    >>> start = {"x": agrad.tensor(-1.0), "y": agrad.tensor(2.0)}
    >>> found = agrad.optimize.minimize(rosenbrock, start, method="trust-ncg")
    >>> round(found.x["y"].item(), 4)
    1.0
    """
    optimize = _scipy()
    for name, derivative in (("jac", jac), ("hess", hess), ("hessp", hessp)):
        if derivative is not None:
            raise TypeError(f"minimize(): {name} comes from agrad; with one of your own use scipy.optimize.minimize")
    tree = Tree(x0, "minimize")
    objective = Objective(fun, _as_tuple(args), tree)
    which = method.lower() if isinstance(method, str) else method
    given: dict[str, Any] = {}
    if which in WITHOUT_DERIVATIVES:
        function: Any = objective.value
    else:
        function, given["jac"] = objective.value_and_gradient, True
    if which in WITH_PRODUCTS or callable(which):
        given["hessp"] = objective.product
    if which in WITH_HESSIAN:
        given["hess"] = objective.hessian
    found = optimize.minimize(
        function, tree.start, method=method, bounds=bounds_of(bounds, tree, optimize), tol=tol, options=options,
        constraints=constraints_of(constraints, tree, which, optimize), callback=_callback(callback, tree, which),
        **given,
    )
    return _result(found, tree)


def least_squares(
    fun: Callable[..., Any], x0: Any, args: Any = (), method: str = "trf", *, bounds: Any = None, **options: Any
) -> Any:
    """Find where the sum of squares of residuals is smallest: `scipy.optimize.least_squares`, with exact Jacobians.

    Parameters
    ----------
    fun : callable
        `fun(x, *args)` gives the residuals: a real Tensor, or a nest of containers of them.
    x0, args, bounds
        As for `minimize`.
    method : {"trf", "dogbox", "lm"}
    **options
        As in SciPy: ftol, xtol, gtol, x_scale, loss, f_scale, tr_solver, max_nfev and so on.

    Returns
    -------
    scipy.optimize.OptimizeResult
        `x` and `grad` have the structure of `x0`; `fun` and `jac` are SciPy's, of all residuals in their order.

    Raises
    ------
    TypeError, RuntimeError, ValueError, ImportError
        As for `minimize`.

    Examples
    --------
    >>> import agrad
    >>> t = agrad.linspace(0.0, 1.0, 5)
    >>> found = agrad.optimize.least_squares(lambda rate: agrad.exp(rate * t) - agrad.exp(2 * t), agrad.tensor(1.0))
    >>> round(found.x.item(), 6)
    2.0
    """
    optimize = _scipy()
    _refuse_jac(options, "least_squares")
    tree = Tree(x0, "least_squares")
    residuals = VectorFunction(fun, _as_tuple(args), tree, "fun", needs_all=True)
    if bounds is not None:
        options["bounds"] = bounds_of(bounds, tree, optimize)
    found = optimize.least_squares(residuals.value, tree.start, residuals.jacobian, method=method, **options)
    return _result(found, tree)


def root(
    fun: Callable[..., Any], x0: Any, args: Any = (), method: str = "hybr", *, tol: float | None = None,
    callback: Callable[..., Any] | None = None, options: dict[str, Any] | None = None, **others: Any,
) -> Any:
    """Find where a function is zero: `scipy.optimize.root`, with exact Jacobians.

    Parameters
    ----------
    fun : callable
        `fun(x, *args)` gives as many numbers as `x` has: a real Tensor, or a nest of containers of them.
    x0, args
        As for `minimize`.
    method : str
        As in SciPy; "hybr" and "lm" use the Jacobian.
    tol, callback, options
        As in SciPy; the callback gets the tree and the values.

    Returns
    -------
    scipy.optimize.OptimizeResult
        `x` has the structure of `x0`; `fun` is SciPy's, of all values in their order.

    Raises
    ------
    TypeError, RuntimeError, ImportError
        As for `minimize`.

    Examples
    --------
    >>> import agrad
    >>> found = agrad.optimize.root(lambda x: agrad.cos(x) - x, agrad.tensor(1.0))
    >>> round(found.x.item(), 6)
    0.739085
    """
    optimize = _scipy()
    _refuse_jac(others, "root")
    tree = Tree(x0, "root")
    function = VectorFunction(fun, _as_tuple(args), tree, "fun", needs_all=True)
    given: dict[str, Any] = {"jac": function.jacobian} if method.lower() in ROOTS_WITH_JACOBIAN else {}
    if callback is not None:
        given["callback"] = lambda x, f: callback(tree.at(x), f)
    found = optimize.root(function.value, tree.start, method=method, tol=tol, options=options, **given)
    found["x"] = tree.at(found["x"])
    return found


def _scipy() -> Any:
    try:
        import scipy.optimize
    except ImportError:
        raise ImportError("agrad.optimize needs SciPy: pip install 'agrad[optimize]'") from None
    return scipy.optimize


def _as_tuple(args: Any) -> tuple[Any, ...]:
    return args if isinstance(args, tuple) else (args,)


def _refuse_jac(options: dict[str, Any], api: str) -> None:
    if "jac" in options:
        raise TypeError(f"{api}(): jac comes from agrad; with one of your own use scipy.optimize.{api}")
    if api == "root" and options:
        raise TypeError(f"root() got an unexpected keyword argument {next(iter(options))!r}")


def _result(found: Any, tree: Tree) -> Any:
    """SciPy's result with trees in the place of vectors of parameters."""
    found["x"] = tree.at(found["x"])
    for name in ("jac", "grad"):
        value = found.get(name)
        if isinstance(value, np.ndarray) and value.shape == tree.start.shape:
            found[name] = tree.at(value)
    return found


def _callback(given: Callable[..., Any] | None, tree: Tree, which: Any) -> Any:
    """A callback of the vector: SciPy looks at the names of its parameters."""
    if given is None:
        return None
    if list(inspect.signature(given).parameters) == ["intermediate_result"]:

        def with_result(intermediate_result: Any) -> Any:
            copied = type(intermediate_result)(intermediate_result)
            return given(intermediate_result=_result(copied, tree))

        return with_result

    def with_vector(xk: Any, *state: Any) -> Any:
        return given(tree.at(xk), *state)

    return with_vector if which == "trust-constr" else lambda xk: given(tree.at(xk))
