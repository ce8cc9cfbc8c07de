"""What agrad differentiates of a namespace, on which backends: `python -m agrad coverage`.

A report is a plain dict, so that it prints as a table and as JSON. It knows ops and backends through their registries
only; the namespaces that it compares with are those of libraries, imported when they are asked for.
"""

import inspect
from collections.abc import Callable, Iterator
from importlib import import_module
from typing import Any

import agrad
from agrad import backends, numpy_protocol, rules, standard
from agrad.cython_core import engine

__all__ = ["NAMESPACES", "STATES", "coverage", "table"]

# What a function can be on a backend.
STATES = ("rule", "not differentiable", "no kernel", "missing")
_MARKS = dict(zip(STATES, ("yes", "-", "no kernel", "missing"), strict=True))


def coverage(namespace: str = "array_api", backend: str | None = None) -> dict[str, Any]:
    """For every function of a namespace: what agrad has for it on each backend.

    Parameters
    ----------
    namespace : str
        One of `NAMESPACES`.
    backend : str, optional
        Only this one; default: all that are installed.

    Returns
    -------
    dict
        "namespace"; "functions": name -> backend -> one of `STATES`; "totals": backend -> state -> how many.

    Raises
    ------
    ValueError
        If there is no such namespace or backend.
    ImportError
        If the library of the namespace or of the backend is not installed.

    Examples
    --------
    >>> from agrad.coverage import coverage
    >>> coverage("array_api", "numpy")["functions"]["linalg.det"]
    {'numpy': 'rule'}
    """
    if namespace not in NAMESPACES:
        raise ValueError(f"there is no list of functions for {namespace!r}; there is {', '.join(NAMESPACES)}")
    chosen = [backend] if backend is not None else [b.name for b in backends.available() if b.installed]
    adapters = {name: backends.find(name) for name in chosen}
    functions = {
        name: {b: _state(target, adapter) for b, adapter in adapters.items()}
        for name, target in sorted(NAMESPACES[namespace]())
    }
    totals = {b: {s: sum(row[b] == s for row in functions.values()) for s in STATES} for b in chosen}
    return {"namespace": namespace, "functions": functions, "totals": totals}


def _state(target: Any, backend: Any) -> str:
    """What a function is on a backend, given what stands for it in agrad: an op, a function made of ops, or None."""
    if target is None:
        return "missing"
    if not isinstance(target, engine.Op):
        return "rule" if target else "not differentiable"
    if _takes_arrays(target) and not _has_kernel(target, backend):
        return "no kernel"
    return "rule" if target.rule is not None and target.rule.differentiable else "not differentiable"


def _takes_arrays(op: Any) -> bool:
    return any(p.kind in standard.ARRAY_KINDS for p in op.signature.parameters)


def _has_kernel(op: Any, backend: Any) -> bool:
    try:
        kernel = engine.raw_kernel(op, backend)
    except (NotImplementedError, ImportError):
        return False
    return not (backend.lazy and getattr(kernel, "needs_values", False))


# ---------------------------------------------------------------------------------------------------- the namespaces
# Each yields (name, target); a target is an op, True for a function made of ops, False for one without a derivative.


def _of_the_standard() -> Iterator[tuple[str, Any]]:
    """The standard's functions, extensions included."""
    for chapter, names in standard.CHAPTERS.items():
        for name in names:
            if chapter != "beyond" and name not in (*standard.ENGINE_OPS, *standard.BEYOND):
                yield name, rules.find(name)
    for name, main in standard.SAME.items():
        yield name, rules.find(main)


def _of_scipy_special() -> Iterator[tuple[str, Any]]:
    """The ufuncs and functions of scipy.special that take arrays."""
    module = import_module("scipy.special")
    for name in module.__all__:
        function = getattr(module, name)
        if callable(function) and not inspect.isclass(function):
            yield name, _found(f"special.{name}")


def _of_numpy() -> Iterator[tuple[str, Any]]:
    """NumPy's functions and ufuncs that take arrays and dispatch to other libraries."""
    yield from numpy_protocol.targets()


def _of_torch() -> Iterator[tuple[str, Any]]:
    """The functions of torch's main namespace, linalg, fft and special, without the in-place ones."""
    torch = import_module("torch")
    for prefix, place in (("", torch), ("linalg.", torch.linalg), ("fft.", torch.fft), ("special.", torch.special)):
        for name in dir(place):
            function = getattr(place, name, None)
            if name.startswith("_") or name.endswith("_") or not inspect.isbuiltin(function) or not function.__doc__:
                continue  # without a text it is internal
            yield prefix + name, _found(prefix + name)


def _found(name: str) -> Any:
    """The op, or True for the function made of ops, of that name in agrad; None if there is none."""
    place: Any = agrad
    for part in name.split("."):
        place = getattr(place, part, None)
    op = getattr(place, "__self__", None)
    if isinstance(op, engine.Op):
        op.rule  # noqa: B018  resolves it
        return op
    return True if callable(place) else None


NAMESPACES: dict[str, Callable[[], Iterator[tuple[str, Any]]]] = {
    "array_api": _of_the_standard, "numpy": _of_numpy, "scipy.special": _of_scipy_special, "torch": _of_torch,
}


# ------------------------------------------------------------------------------------------------------------ a table


def table(report: dict[str, Any]) -> str:
    """The report as text: a line per function, a column per backend, the totals below.

    Examples
    --------
    >>> from agrad.coverage import coverage, table
    >>> print(table(coverage("array_api", "numpy")).splitlines()[0].split())
    ['array_api', 'numpy']
    """
    names = list(report["totals"])
    rows = [[report["namespace"], *names]]
    rows += [[name, *(_MARKS[row[b]] for b in names)] for name, row in report["functions"].items()]
    rows += [[f"{s}:", *(str(report["totals"][b][s]) for b in names)] for s in STATES]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    return "\n".join([*lines[: -len(STATES)], "", *lines[-len(STATES) :]])
