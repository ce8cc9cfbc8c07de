"""Compiling formulas: from the functions that a record holds to what the engine calls.

A formula's parameters are read once, by name; what a name means is specified in `agrad.rules`. Must know no backend and
no single rule.
"""

from collections.abc import Callable
from inspect import Parameter as PythonParameter
from inspect import signature as python_signature
from typing import Any

from agrad import standard
from agrad.cython_core.engine import Formula
from agrad.records import Record, RuleError
from agrad.standard import ARRAY_KINDS

RESERVED = ("g", "t", "out", "xp", "needs")


def compile_record(
    record: Record, signature: standard.Signature, origin: str
) -> tuple[tuple[Formula | None, ...], Formula | None]:
    """The engine's formulas for a record: one per array parameter, or one for all."""
    arrays = [p for p in signature.parameters if p.kind in ARRAY_KINDS]
    where = f"{origin}: {record.name}.vjp"
    for field, given in (("jvp", record.jvp), ("linear_part", record.linear_part)):
        if given is not None and given is not True:
            compile_forward(given, signature, f"{origin}: {record.name}.{field}")
    check_batch(record.batch, signature, f"{origin}: {record.name}.batch")
    if record.family == "not_differentiable":
        return (None,) * len(arrays), None
    if record.family == "flat":
        return tuple(zeros_formula(record.name, p.name, signature) for p in arrays), None
    if record.joint is not None:
        return (None,) * len(arrays), compile_formula(record.joint, signature, where)
    if record.family == "select":
        return compile_masks(record, signature, where), None
    given = {p.name: record.derivatives[p.name] for p in arrays}
    formulas = tuple(
        None if formula is None else compile_formula(formula, signature, f"{where}[{name}]")
        for name, formula in given.items()
    )
    if any(p.kind == "array*" for p in arrays):
        return (None,) * len(arrays), formulas[0]
    return formulas, None


G, OUT, XP, NEEDS, SAVED, STATIC, LIKE = range(7)  # the engine's codes for where an argument comes from


def zeros_formula(name: str, parameter: str, signature: standard.Signature) -> Formula:
    """The gradient of a flat op."""
    source = (LIKE, signature.positions[parameter])
    return Formula(lambda x_like: x_like.zeros(), f"{name}.vjp[{parameter}]", [source], len(signature.parameters))


def sources_of(
    function: Callable[..., Any], signature: standard.Signature, where: str, forward: bool = False
) -> list[tuple[int, int]]:
    """Where each argument of a formula comes from; forward rules have a tangent in place of a cotangent."""
    reserved = {"t": G, "out": OUT, "xp": XP} if forward else {"g": G, "out": OUT, "xp": XP, "needs": NEEDS}
    names = []
    for parameter in python_signature(function).parameters.values():
        if parameter.kind not in (PythonParameter.POSITIONAL_ONLY, PythonParameter.POSITIONAL_OR_KEYWORD):
            raise RuleError(f"{where}: formulas take plain parameters, not {parameter}")
        names.append(parameter.name)
    kinds = {p.name: p.kind for p in signature.parameters}
    sources = []
    for name in names:
        base = name.removesuffix("_like")
        if name in reserved:
            sources.append((reserved[name], 0))
        elif name[:3] == "out" and name[3:].isdecimal() and name not in kinds:
            sources.append((OUT, int(name[3:]) + 1))
        elif name in kinds:
            sources.append((SAVED if kinds[name] in ARRAY_KINDS else STATIC, signature.positions[name]))
        elif base != name and kinds.get(base) in ARRAY_KINDS:
            sources.append((LIKE, signature.positions[base]))
        else:
            allowed = ", ".join((*reserved, "out0", "out1", "...", *kinds))
            raise RuleError(
                f"{where}: a formula asks for {name!r}; it may ask for {allowed} and NAME_like of an array parameter"
            )
    return sources


def compile_formula(formula: Any, signature: standard.Signature, where: str) -> Formula:
    """One formula as the engine calls it; the engine's messages name its source themselves."""
    label = where.rpartition(": ")[2]
    if not callable(formula):
        return Formula(formula, label, [], len(signature.parameters))
    sources = sources_of(formula, signature, where)
    whole = len(sources) == 1 and (sources[0][0] == SAVED or sources[0] == (OUT, 0))
    trivial = whole and code_of(formula) == code_of(IDENTITY)
    name_formula(formula, label)
    return Formula(formula, label, sources, len(signature.parameters), 0 if trivial else None)


IDENTITY = lambda x: x      # noqa: E731  what `lambda x2: x2` is compared with


def code_of(function: Any) -> Any:
    return getattr(getattr(function, "__code__", None), "co_code", None)


def name_formula(formula: Any, label: str) -> None:
    """A lambda shows up in tracebacks under the name of its derivative."""
    if getattr(formula, "__name__", "") == "<lambda>":
        formula.__code__ = formula.__code__.replace(co_name=label, co_qualname=label)
        formula.__name__ = formula.__qualname__ = label


def compile_masks(record: Record, signature: standard.Signature, where: str) -> tuple[Formula | None, ...]:
    """Formulas of a select op: where(mask, g, 0), divided by the number of inputs that were selected."""
    masks = {name: f for name, f in record.derivatives.items() if f is not None}
    sources = {name: sources_of(f, signature, f"{where}[{name}]") for name, f in masks.items()}
    every = sorted({s for group in sources.values() for s in group})
    picks = {name: [every.index(s) for s in group] for name, group in sources.items()}

    def cotangent(chosen: str) -> Callable[..., Any]:
        def vjp(g: Any, xp: Any, *saved: Any) -> Any:
            found = {name: masks[name](*(saved[i] for i in picks[name])) for name in masks}
            own = found.pop(chosen)
            if not found:
                return xp.where(own, g, 0)
            one, none = xp.ones_like(g), xp.zeros_like(g)
            count = one
            for other in found.values():
                count = count + xp.where(other, one, none)
            return xp.where(own, g / count, none)

        vjp.__name__ = vjp.__qualname__ = f"{record.name}.vjp[{chosen}]"
        return vjp

    def formula(name: str) -> Formula | None:
        label = f"{record.name}.vjp[{name}]"
        arguments = [(G, 0), (XP, 0), *every]
        return Formula(cotangent(name), label, arguments, len(signature.parameters)) if name in masks else None

    return tuple(formula(p.name) for p in signature.parameters if p.kind in ARRAY_KINDS)


def compile_forward(given: Any, signature: standard.Signature, where: str) -> list[tuple[int | None, Formula]]:
    """Forward rules as formulas that get the tangent for a cotangent, each with the position of the parameter it is of.

    One for several array parameters has no position: its tangent is a tuple.
    """
    arrays = [p.name for p in signature.parameters if p.kind in ARRAY_KINDS]
    single = isinstance(given, dict)
    found: list[tuple[int | None, Formula]] = []
    for name, function in given.items() if single else [(arrays[0], given)]:
        place = f"{where}[{name}]" if single else where
        if not callable(function):
            raise RuleError(f"{place}: a forward rule is a function, not {function!r}")
        if name not in arrays:
            raise RuleError(f"{place}: there is no such array parameter; there are {', '.join(arrays)}")
        sources = sources_of(function, signature, place, forward=True)
        formula = Formula(function, place.rpartition(": ")[2], sources, len(signature.parameters))
        found.append((signature.positions[name] if single or len(arrays) == 1 else None, formula))
    return found


def check_batch(batch: Any, signature: standard.Signature, where: str) -> None:
    """A batch rule: a function of an op's parameters by name, or "elementwise"."""
    if batch is None or batch == "elementwise":
        return
    if not callable(batch):
        raise RuleError(f"{where}: a batch rule is a function or 'elementwise', not {batch!r}")
    allowed = ("batched", "size", "xp", *signature.bind_names)
    for name in python_signature(batch).parameters:
        if name not in allowed:
            raise RuleError(f"{where}: a batch rule asks for {name!r}; it may ask for {', '.join(allowed)}")
