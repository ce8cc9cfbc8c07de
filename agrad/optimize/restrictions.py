"""Bounds and constraints on a tree of parameters as SciPy takes them, on one vector.

Must know no backend and no rule.
"""

from collections.abc import Iterator
from itertools import islice
from typing import Any

import numpy as np

from agrad.cython_core.engine import Tensor
from agrad.func.pytrees import LEAF
from agrad.optimize.functions import VectorFunction
from agrad.optimize.trees import Tree, values_of


def bounds_of(given: Any, tree: Tree, optimize: Any) -> Any:
    """SciPy's Bounds of the vector, of Bounds or nested pairs."""
    if given is None or isinstance(given, optimize.Bounds):
        return given
    found = list(_bounds(tree.structure, given, zip(tree.names, tree.like, strict=True), "bounds"))
    return optimize.Bounds(*(np.concatenate([pair[i] for pair in found]) for i in (0, 1)))


def _bounds(structure: Any, given: Any, leaves: Iterator[tuple[str, Tensor]], name: str) -> Iterator[tuple[Any, Any]]:
    """Vectors (low, high) for each leaf of a structure; `leaves` gives their names and the leaves."""
    if given is None or _is_pair(given):
        low, high = (None, None) if given is None else given
        for leaf_name, leaf in islice(leaves, 1 if structure is LEAF else structure.size):
            yield _side(low, -np.inf, leaf, leaf_name), _side(high, np.inf, leaf, leaf_name)
    elif structure is LEAF:
        yield _element_bounds(given, *next(leaves), name)
    else:
        children = _children(structure, given)
        if children is None:
            raise ValueError(f"{name} must be a pair (low, high), or have the structure of x0: {structure!r}")
        for key, child, inside in zip(structure.keys, structure.children, children, strict=True):
            yield from _bounds(child, inside, leaves, f"{name}[{key!r}]")


def _element_bounds(given: Any, leaf_name: str, leaf: Tensor, name: str) -> tuple[Any, Any]:
    """SciPy's form for a vector: a pair for each element."""
    pairs = list(given) if isinstance(given, (list, tuple, np.ndarray)) else []
    if len(pairs) != leaf.size or not all(map(_is_pair, pairs)):
        raise ValueError(f"{name} must be a pair (low, high), or one for each element of {leaf_name}")
    low = [-np.inf if one is None else float(one) for one, _ in pairs]
    high = [np.inf if one is None else float(one) for _, one in pairs]
    return np.array(low), np.array(high)


def _children(structure: Any, given: Any) -> list[Any] | None:
    """What a container holds for the children of a structure; None if it is another container."""
    if structure.kind == "dict":
        fits = isinstance(given, dict) and set(given) == set(structure.keys)
        return [given[key] for key in structure.keys] if fits else None
    if isinstance(given, (list, tuple)) and len(given) == len(structure.keys):
        return list(given)
    return None


def _is_pair(given: Any) -> bool:
    if isinstance(given, np.ndarray):
        return bool(given.shape == (2,))
    if not isinstance(given, (list, tuple)) or len(given) != 2:
        return False
    return all(one is None or isinstance(one, (int, float, Tensor, np.ndarray, np.generic)) for one in given)


def _side(given: Any, otherwise: float, leaf: Tensor, name: str) -> Any:
    values = values_of(given) if isinstance(given, Tensor) else np.asarray(otherwise if given is None else given, float)
    try:
        return np.broadcast_to(values, leaf.shape).ravel()
    except ValueError:
        shape = tuple(leaf.shape)
        raise ValueError(f"a bound of shape {values.shape} does not fit {name} of shape {shape}") from None


# ---- constraints

_NAME = "a constraint's function"


def constraints_of(given: Any, tree: Tree, which: Any, optimize: Any) -> Any:
    """Constraints on the vector, with agrad's derivatives."""
    kinds = (dict, optimize.LinearConstraint, optimize.NonlinearConstraint)
    every = [given] if isinstance(given, kinds) else list(given)
    return [_constraint(one, tree, which, optimize) for one in every]


def _constraint(given: Any, tree: Tree, which: Any, optimize: Any) -> Any:
    if isinstance(given, optimize.LinearConstraint):
        return optimize.LinearConstraint(_plain(given.A), _plain(given.lb), _plain(given.ub), given.keep_feasible)
    if isinstance(given, optimize.NonlinearConstraint):
        if callable(given.jac) or callable(given.hess):
            raise TypeError("minimize(): the jac and hess of a constraint come from agrad and are not taken")
        made = VectorFunction(given.fun, (), tree, _NAME)
        return _nonlinear(made, _plain(given.lb), _plain(given.ub), which, optimize, given.keep_feasible)
    if not isinstance(given, dict) or given.get("type") not in ("eq", "ineq") or not callable(given.get("fun")):
        raise ValueError(
            "minimize(): a constraint is a dict {'type': 'eq' or 'ineq', 'fun': callable}, a LinearConstraint or a "
            f"NonlinearConstraint, not {given!r}"
        )
    if given.get("jac") is not None:
        raise TypeError("minimize(): the jac of a constraint comes from agrad and is not taken")
    made = VectorFunction(given["fun"], tuple(given.get("args", ())), tree, _NAME)
    if which == "trust-constr":
        return _nonlinear(made, 0.0, 0.0 if given["type"] == "eq" else np.inf, which, optimize)
    return {"type": given["type"], "fun": made.value, "jac": made.jacobian}


def _nonlinear(
    made: VectorFunction, low: Any, high: Any, which: Any, optimize: Any, keep_feasible: Any = False
) -> Any:
    hess = {"hess": made.hessian} if which == "trust-constr" else {}    # the others warn that they ignore it
    return optimize.NonlinearConstraint(made.value, low, high, made.jacobian, keep_feasible=keep_feasible, **hess)


def _plain(given: Any) -> Any:
    return values_of(given) if isinstance(given, Tensor) else given
