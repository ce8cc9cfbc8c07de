"""How a differentiation rule is declared. This header is the whole specification of the form.

A **rule set** is one module-level `RuleSet`, named by an entry point of the group ``agrad.plugins``; the entry point's
name is the chapter of the standard, or the prefix (``physics`` for ``physics.*``), that the set owns. It is loaded when
one of its names is first used.

**One record per op** says everything about it: derivative, samples, special points, tolerances. The families:

    rules.elementwise("sin", x=lambda x, xp: xp.cos(x))       the holomorphic partial d; the engine forms g * conj(d)
    rules.select("maximum", x1=lambda x1, x2: x1 >= x2, ...)  a mask per input; where(mask, g, 0), ties shared equally
    rules.linear("permute_dims", x=lambda g, axes, xp: ...)   the transpose, per parameter; forward mode: the op itself
    rules.bilinear("matmul", x1=..., x2=...)                  a transpose per input
    rules.reduction("sum", x=...)                             a cotangent per input; axes go
    rules.general("linalg.det", vjp={"x": ...}, jvp=...)      a cotangent per input, or one function: a tuple of all
    rules.flat("floor", "round")                              tracked, gradient zero
    rules.not_differentiable("argmax", "equal")               results are not tracked
    rules.op("physics.lj(r: array, eps=1.0)")                 a new op, which the families then name; see `NewOp.kernel`

Every ``array`` parameter of the op must be given a formula, a number (a constant partial), or an explicit None (no
derivative).

**A formula's parameters say what it needs**, by name, and only that is saved:

    g            the cotangent of the result (a tuple with None for outputs that nobody used, if there are several)
    t            the tangent (in ``jvp`` only)
    out          the result, a tuple if there are several
    NAME         any parameter of the op; arrays are saved because they are named, static ones cost nothing
    NAME_like    an array parameter without its memory: .shape .dtype .device .ndim .size .zeros() .ones() .full(v)
    xp           the namespace: the standard's names and every op under its public name
    needs        which array parameters want their gradient, a tuple of bool (for functions that return all)

It runs in two worlds: with the backend's arrays, or with Tensors when the walk itself is recorded. So it uses `xp`,
operators and `NAME_like` only, never branches on values, never reads ``.shape`` of an array that was saved, never
writes in place. The engine sums broadcast axes, casts to the parameter's dtype and takes the real part for real
parameters. A Python scalar operand arrives as a 0-d array of the result's dtype (``scalars=True``: as the number). A
variadic parameter (``array*``) arrives as a tuple; its formula returns one gradient per element. Indexing ops return
`scatter(x_like, key, g)`.

Formulas that are not holomorphic (abs, real, imag, conj) are linear or general, never elementwise. Forward rules
(``jvp=``, ``linear_part=``) are declared here and follow from the family elsewhere.

Further fields of a record: ``node`` (PyTorch's name of the graph node, or a function of (args, scalars)), ``view`` (the
result may share memory with the first argument), ``complex`` (False: real input only), ``domain``, ``samples``,
``special``, ``tol``, ``second`` (False: second order is not checked), ``note``. Made with: `case`, `ints`, `mask`,
`distinct`, `values`, `point`.

This file must know no backend and no single rule.
"""

import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from functools import cache
from importlib import import_module
from inspect import Parameter as PythonParameter
from inspect import signature as python_signature
from threading import RLock
from typing import Any, NamedTuple

from agrad import configuration, standard
from agrad.cython_core import engine
from agrad.cython_core.engine import Formula, Op, Rule, scatter

__all__ = [
    "Case",
    "PluginInfo",
    "Point",
    "Record",
    "RuleError",
    "RuleSet",
    "case",
    "distinct",
    "find",
    "ints",
    "mask",
    "ops",
    "override",
    "plugins",
    "point",
    "scatter",
    "values",
]

GROUP = "agrad.plugins"
RESERVED = ("g", "t", "out", "xp", "needs")
ARRAY_KINDS = ("array", "array?", "array*")


class RuleError(TypeError):
    """A rule set is declared wrongly; the message names plugin, distribution, op and parameter."""


# -------------------------------------------------------------------------------------------------------------- samples


class Sample(NamedTuple):
    """One array of a sample call: how to draw it."""

    kind: str
    shape: tuple[int, ...] = ()
    low: float = 0.0
    high: float = 1.0
    data: Any = None


class Case(NamedTuple):
    """One sample call of an op: shapes stand for random arrays."""

    args: tuple[Any, ...]
    kwargs: dict[str, Any]


class Point(NamedTuple):
    """Inputs at which the gradient is a convention, and what it is there."""

    inputs: tuple[Any, ...]
    gradients: tuple[Any, ...]
    kwargs: dict[str, Any]


def case(*args: Any, **kwargs: Any) -> Case:
    """A sample call: a shape for each array parameter (``array*``: a list of shapes), static arguments as they are."""
    return Case(args, kwargs)


def point(inputs: tuple[Any, ...], gradients: tuple[Any, ...], **kwargs: Any) -> Point:
    """At `inputs`, with cotangent one, the gradients are these; None is not checked, nan equals nan."""
    return Point(inputs, gradients, kwargs)


def ints(shape: tuple[int, ...], low: int, high: int) -> Sample:
    """An integer array with values from low (included) to high (not included)."""
    return Sample("ints", shape, low, high)


def mask(shape: tuple[int, ...]) -> Sample:
    """A boolean array."""
    return Sample("mask", shape)


def distinct(shape: tuple[int, ...]) -> Sample:
    """A random array whose elements are well separated, for ops that compare them."""
    return Sample("distinct", shape)


def values(data: Any) -> Sample:
    """An array with just these values."""
    return Sample("values", data=data)


# -------------------------------------------------------------------------------------------------------------- records


class Record:
    """Everything about one op.

    The fields are those of the header, `derivatives` by parameter, `joint` for a function that returns all.
    """

    def __init__(
        self,
        family: str,
        name: str,
        derivatives: dict[str, Any],
        joint: Callable[..., Any] | None = None,
        *,
        scalars: bool = False,
        jvp: Any = None,
        linear_part: Any = None,
        once: bool = False,
        node: Any = None,
        view: bool = False,
        complex: bool = True,
        domain: Any = None,
        samples: Iterable[Case] | None = None,
        special: Iterable[Point] = (),
        tol: float | None = None,
        second: bool = True,
        note: str = "",
    ) -> None:
        self.family, self.name, self.derivatives, self.joint = family, name, derivatives, joint
        self.scalars, self.jvp, self.linear_part, self.once = scalars, jvp, linear_part, once
        self.node, self.view, self.complex, self.domain = node, view, complex, domain
        self.samples, self.special, self.tol, self.second = samples, tuple(special), tol, second
        self.note = note
        self.kernels: dict[str, Any] = {}  # of an op that the set adds, filled in when it is installed

    def __repr__(self) -> str:
        return f"<record {self.name} ({self.family})>"


class NewOp:
    """An op that a rule set adds: its signature line, and its kernels per backend."""

    def __init__(self, line: str, signature: standard.Signature) -> None:
        self.line, self.signature = line, signature
        self.kernels: dict[str, Any] = {}

    def kernel(self, backend: str, function: str | Callable[..., Any]) -> "NewOp":
        """Give the function that computes the op.

        Parameters
        ----------
        backend : str
            Name of a backend, or "*" for a function that works on all: it may ask for ``xp``.
        function : callable or str
            The function, or where it is: "scipy.special:erf", imported when first needed.
        """
        self.kernels[backend] = function
        return self

    @property
    def doc(self) -> str:
        """The op's documentation is that of its generic kernel."""
        return getattr(self.kernels.get("*"), "__doc__", None) or ""


class RuleSet:
    """A set of rules under one name.

    Parameters
    ----------
    name : str
        The entry point's name: a chapter of the standard, or the prefix of the ops that the set adds.
    override : bool
        The rules replace those of another distribution, where configuration or `override` names this one. Repeat the
        `op` line to replace the rule of a plugin's op; its kernels stay.

    Examples
    --------
    >>> from agrad.rules import RuleSet
    >>> rules = RuleSet("physics")
    >>> _ = rules.op("physics.cube(x: array, /)").kernel("*", lambda x: x * x * x)
    >>> rules.elementwise("physics.cube", x=lambda x: 3 * x * x)
    """

    def __init__(self, name: str, *, override: bool = False) -> None:
        self.name, self.override = name, override
        self.records: dict[str, Record] = {}
        self.new_ops: dict[str, NewOp] = {}
        self.bound: dict[str, Rule] = {}
        self.origin = f"the rule set {name!r}"     # its distribution is known once it is loaded

    # -- the families

    def elementwise(self, name: str, *, scalars: bool = False, **fields: Any) -> None:
        """The holomorphic partial derivative for each array parameter."""
        self._declare("elementwise", name, fields, scalars=scalars)

    def select(self, name: str, **fields: Any) -> None:
        """A boolean mask for each array parameter: where its value is the result."""
        self._declare("select", name, fields)

    def linear(self, name: str, *, linear_part: Any = None, **fields: Any) -> None:
        """The transpose for each array parameter; the op is jointly linear in these (``linear_part``: if affine)."""
        self._declare("linear", name, fields, linear_part=linear_part)

    def bilinear(self, name: str, **fields: Any) -> None:
        """The transpose for each of two array parameters, the other fixed."""
        self._declare("bilinear", name, fields)

    def reduction(self, name: str, *, jvp: Any = None, **fields: Any) -> None:
        """The cotangent for each array parameter of an op that reduces axes."""
        self._declare("reduction", name, fields, jvp=jvp)

    def general(self, name: str, *, vjp: Any, jvp: Any = None, once: bool = False, **fields: Any) -> None:
        """The cotangent for each array parameter, or one function that returns all of them as a tuple."""
        joint = vjp if callable(vjp) else None
        self._declare("general", name, {**fields, **({} if joint else vjp)}, joint=joint, jvp=jvp, once=once)

    def flat(self, *names: str, **fields: Any) -> None:
        """Ops that are constant almost everywhere: tracked, with gradient zero."""
        for name in names:
            self._declare("flat", name, dict(fields))

    def not_differentiable(self, *names: str, **fields: Any) -> None:
        """Ops whose results are not tracked."""
        for name in names:
            self._declare("not_differentiable", name, dict(fields))

    def op(self, line: str) -> NewOp:
        """Declare an op that the standard lacks: the same line as in `agrad.standard`."""
        signature = standard.parse(line, self.name)
        where = f"{self.origin}: the op {signature.name}"
        if signature.name in self.new_ops:
            raise RuleError(f"{where} is declared twice")
        if signature.name.partition(".")[0] != self.name:
            raise RuleError(f"{where} is not under the prefix {self.name!r} that the rule set owns")
        for parameter in signature.parameters:
            if parameter.name in RESERVED or parameter.name.endswith("_like"):
                raise RuleError(f"{where} has a parameter {parameter.name!r}; that name is reserved for formulas")
        self.new_ops[signature.name] = NewOp(line, signature)
        return self.new_ops[signature.name]

    def _declare(self, family: str, name: str, fields: dict[str, Any], **more: Any) -> None:
        if name in self.records:
            raise RuleError(f"{self.origin}: {name} is declared twice")
        signature = self.new_ops[name].signature if name in self.new_ops else self._standard(name)
        arrays = [p.name for p in signature.parameters if p.kind in ARRAY_KINDS]
        derivatives = {parameter: fields.pop(parameter) for parameter in arrays if parameter in fields}
        try:
            record = Record(family, name, derivatives, **fields, **more)
        except TypeError as error:
            unknown = str(error).rpartition("argument ")[2]
            raise RuleError(
                f"{self.origin}: {name} has neither an array parameter nor a field {unknown}; "
                f"array parameters are: {', '.join(arrays) or 'none'}"
            ) from None
        if family not in ("flat", "not_differentiable") and record.joint is None:
            for parameter in arrays:
                if parameter not in derivatives:
                    raise RuleError(
                        f"{self.origin}: {name} says nothing about its array parameter {parameter!r}; "
                        "give a formula, or None if it has no derivative"
                    )
        self.records[name] = record
        compile_record(self, record, signature)  # declared wrongly is found here, not when the op is used

    def _standard(self, name: str) -> standard.Signature:
        try:
            return standard.signature(name)
        except LookupError:
            problem = "is neither a function of the standard nor declared by rules.op"
            raise RuleError(f"{self.origin}: {name} {problem}") from None

    # -- connecting with the engine

    def check(self, entry_point: str) -> None:
        """What can only be seen of the whole set; called once, when the plugin is loaded."""
        if self.name != entry_point:
            raise RuleError(f"the rule set is named {self.name!r}, its entry point {entry_point!r}; they must be one")
        for name, new in self.new_ops.items():
            if name not in self.records:
                raise RuleError(f"{name} is declared by rules.op, but no family says what its derivative is")
            if self.override and new.kernels:
                raise RuleError(f"{name} has a kernel, but a rule set with override=True replaces derivatives only")
        for name in self.records:
            chapter = self.name if name in self.new_ops else standard.signature(name).chapter
            if chapter != self.name:
                raise RuleError(f"{name} belongs to {chapter!r}: it needs a rule set and an entry point of that name")

    def install(self, origin: str) -> None:
        """Make the rules known to the engine; called once, by the owner of the names or when an override is named."""
        self.origin = origin
        for name, new in self.new_ops.items():
            if not self.override:
                engine.make_function(Op(name, new.signature, standard.REQUIRED), new.doc or f"Op of {origin}.")
        for name, record in self.records.items():
            op = engine.find_op(name)
            formulas, joint = compile_record(self, record, op.signature)
            rule = Rule(
                op,
                record.family,
                formulas,
                joint,
                jvp=record.jvp,
                source=origin,
                node_name=record.node or default_node_name(name),
                partial=record.family == "elementwise",
                scalars=record.scalars,
            )
            self.bound[name] = rule
            if not self.override:
                record.kernels = self.new_ops[name].kernels if name in self.new_ops else {}
                op.set_rule(rule, record, record.view, OPERATOR_CODES.get(name, 0))

    def act(self) -> None:
        """Replace the rules of the owner for the rest of the process."""
        for name, rule in self.bound.items():
            op = rule.op
            op.set_rule(rule, op.record, op.record.view, OPERATOR_CODES.get(name, 0))


OPERATOR_CODES = {"add": 1, "subtract": 2, "multiply": 3, "divide": 4}  # ops with a compiled short cut


def default_node_name(name: str) -> str:
    """CamelCase(name) + Backward0."""
    return "".join(part.capitalize() for part in name.rpartition(".")[2].split("_")) + "Backward0"


# --------------------------------------------------------------------------------------------------- compiling formulas


def compile_record(
    rules: RuleSet, record: Record, signature: standard.Signature
) -> tuple[tuple[Formula | None, ...], Formula | None]:
    """The engine's formulas for a record: one per array parameter, or one for all."""
    arrays = [p for p in signature.parameters if p.kind in ARRAY_KINDS]
    where = f"{rules.origin}: {record.name}.vjp"
    if record.jvp is not None:
        check_forward(record.jvp, signature, f"{rules.origin}: {record.name}.jvp")
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
    function: Callable[..., Any], signature: standard.Signature, where: str, extra: tuple[str, ...] = ()
) -> list[tuple[int, int]]:
    """Where each argument of a formula comes from."""
    names = []
    for parameter in python_signature(function).parameters.values():
        if parameter.kind not in (PythonParameter.POSITIONAL_ONLY, PythonParameter.POSITIONAL_OR_KEYWORD):
            raise RuleError(f"{where}: formulas take plain parameters, not {parameter}")
        names.append(parameter.name)
    kinds = {p.name: p.kind for p in signature.parameters}
    sources = []
    for name in names:
        simple = {"g": G, "out": OUT, "xp": XP, "needs": NEEDS}.get(name)
        base = name.removesuffix("_like")
        if simple is not None:
            sources.append((simple, 0))
        elif name in kinds:
            sources.append((SAVED if kinds[name] in ARRAY_KINDS else STATIC, signature.positions[name]))
        elif base != name and kinds.get(base) in ARRAY_KINDS:
            sources.append((LIKE, signature.positions[base]))
        elif name not in extra:
            allowed = ", ".join((*(n for n in RESERVED if n != "t" or "t" in extra), *kinds))
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
    trivial = len(sources) == 1 and sources[0][0] in (SAVED, OUT) and code_of(formula) == code_of(IDENTITY)
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


def check_forward(jvp: Any, signature: standard.Signature, where: str) -> None:
    """The forward rules' parameters, checked like those of formulas."""
    for function in jvp.values() if isinstance(jvp, dict) else (jvp,):
        tangents = tuple(f"t_{p.name}" for p in signature.parameters if p.kind in ARRAY_KINDS)
        sources_of(function, signature, where, ("t", *tangents))


# -------------------------------------------------------------------------------------------------------------- plugins


class PluginInfo(NamedTuple):
    """A plugin as `python -m agrad info` shows it."""

    name: str
    distribution: str
    version: str
    ops: int | None
    error: str | None


loaded: dict[tuple[str, str], RuleSet] = {}     # (entry point, distribution) -> its rule set; nothing acts yet
owners: dict[str, RuleSet | None] = {}          # prefix -> the rule set whose ops and rules act
loading = RLock()                               # one thread loads; a plugin may use another's ops while it is loaded


@cache
def entry_points() -> tuple[Any, ...]:
    """All entry points of the group, agrad's first."""
    from importlib import metadata  # when the first op is used, not with agrad

    found = metadata.entry_points(group=GROUP)
    return tuple(sorted(found, key=lambda e: (e.dist.name != "agrad", e.dist.name, e.name)))


def same_distribution(one: str, other: str) -> bool:
    """Whether two names mean one distribution: "agrad_physics" is "agrad-physics"."""
    return re.sub(r"[-_.]+", "-", one).lower() == re.sub(r"[-_.]+", "-", other).lower()


def load(entry: Any) -> RuleSet:
    """Import a plugin's rule set and check it; a failure names the plugin and keeps its cause."""
    key = (entry.name, entry.dist.name)
    with loading:
        if key not in loaded:
            origin = f"{entry.name} ({entry.dist.name} {entry.dist.version})"
            try:
                rules = entry.load()
                if not isinstance(rules, RuleSet):
                    raise RuleError(f"{entry.value} must be a RuleSet, it is {type(rules).__name__}")
                rules.check(entry.name)
            except Exception as error:
                raise RuntimeError(f"the plugin {origin} cannot be loaded: {type(error).__name__}: {error}") from error
            rules.origin = origin
            loaded[key] = rules
    return loaded[key]


def claims(entry: Any) -> bool:
    """Whether an entry point wants to own its prefix: all but overrides; one that cannot be loaded may well want to."""
    try:
        return not load(entry).override
    except RuntimeError:
        return True


def owner_of(prefix: str) -> Any:
    """The entry point that owns a prefix, None if there is none: agrad's, else the preferred one, else the only one."""
    found = [e for e in entry_points() if e.name == prefix]
    if found and found[0].dist.name == "agrad":
        return found[0]
    for name in configuration.lookup("plugins.prefer").value:
        for entry in found:
            if same_distribution(entry.dist.name, name) and claims(entry):
                return entry
    found = [e for e in found if claims(e)]
    if len(found) > 1:
        names = [e.dist.name for e in found]
        raise RuntimeError(
            f"the names {prefix}.* are owned by {' and by '.join(names)}; say which to use: "
            f'AGRAD_PLUGINS={names[0]} in the environment, or plugins = ["{names[0]}"] in [tool.agrad]')
    return found[0] if found else None


def load_owner(prefix: str) -> RuleSet | None:
    """The rule set that owns a prefix, its ops and rules in use; None if there is none."""
    if prefix in owners:
        return owners[prefix]
    with loading:
        if prefix in owners:
            return owners[prefix]
        entry = owner_of(prefix)
        rules = None if entry is None else load(entry)
        if rules is None:
            return owners.setdefault(prefix)
        preferred = configuration.lookup("plugins.prefer").value
        acting = [other for name in preferred for other in overrides_of(name, prefix)]
        for other in acting:
            check_override(other, rules)
        rules.install(rules.origin)
        owners[prefix] = rules
        for other in reversed(acting):      # the one named first has the last word
            connect(other)
            other.act()
        return rules


def overrides_of(distribution: str, prefix: str | None = None) -> list[RuleSet]:
    """The overriding rule sets of a distribution, under one prefix or under all."""
    chosen = [e for e in entry_points() if same_distribution(e.dist.name, distribution) and prefix in (None, e.name)]
    return [rules for rules in map(load, chosen) if rules.override]


def check_override(rules: RuleSet, owner: RuleSet | None) -> None:
    """An override may only name what the owner declares, and as the owner declares it."""
    for name in rules.records:
        if owner is None or name not in owner.records:
            by = f"{owner.origin} does not declare" if owner is not None else "no installed plugin declares"
            raise RuntimeError(f"the plugin {rules.origin} overrides {name}, which {by}")
        if name in rules.new_ops:
            here, there = rules.new_ops[name].signature, owner.new_ops[name].signature
            if here.parameters != there.parameters:
                form = f"{name}{here.text}, which {owner.origin} declares as {name}{there.text}"
                raise RuntimeError(f"the plugin {rules.origin} overrides {form}")


def connect(rules: RuleSet) -> None:
    """Make an overriding rule set known to the engine, once."""
    with loading:
        if not rules.bound:
            rules.install(rules.origin)


def load_rule(op: Op) -> None:
    """Resolve an op: the rule set that owns it is loaded, and with it the overrides that configuration names."""
    load_owner(op.signature.chapter)


def find_override(op: Op, acting: tuple[RuleSet, ...]) -> Rule | None:
    """The rule to record under `override`: that of the first rule set that has one, else the usual one."""
    for rules in acting:
        if op.name in rules.bound:
            return rules.bound[op.name]
    return op.rule


def find_plugin(prefix: str) -> bool:
    """Whether a plugin owns a prefix; it is loaded. Chapters of the standard are not prefixes of names."""
    return prefix.isidentifier() and prefix not in standard.CHAPTERS and load_owner(prefix) is not None


def find_kernel(op: Op, backend: Any) -> Callable[..., Any]:
    """The raw function for an op: the plugin's for this backend, the backend's own, the plugin's generic one."""
    kernels = getattr(op.record, "kernels", {})
    for candidate in (kernels.get(backend.name), backend.kernel(op), kernels.get("*")):
        if candidate is None:
            continue
        function = import_function(candidate) if isinstance(candidate, str) else candidate
        if candidate is kernels.get("*") and "xp" in python_signature(function).parameters:
            return with_namespace(function, backend)
        return function
    raise NotImplementedError(
        f"{op.name} has no kernel for the backend {backend.name}: {backend.name} lacks the function, and no plugin "
        "fills it in. Move the tensor to another backend with to(backend=...), or give a kernel with "
        f"rules.op(...).kernel({backend.name!r}, ...)."
    )


def with_namespace(function: Callable[..., Any], backend: Any) -> Callable[..., Any]:
    """A generic kernel with this backend's namespace filled in."""
    def kernel(*args: Any, **kwargs: Any) -> Any:
        return function(*args, xp=backend.xp, **kwargs)

    kernel.__name__ = getattr(function, "__name__", "kernel")
    return kernel


def import_function(place: str) -> Callable[..., Any]:
    """The function at "module:attribute"."""
    module, _, attribute = place.partition(":")
    found: Any = import_module(module)
    for part in attribute.split("."):
        found = getattr(found, part)
    return found    # type: ignore[no-any-return]


def plugins() -> list[PluginInfo]:
    """All installed plugins, loaded; broken ones with their error.

    Examples
    --------
    >>> import agrad.rules
    >>> [p.name for p in agrad.rules.plugins() if p.name == "sorting"]
    ['sorting']
    """
    found = []
    for entry in entry_points():
        try:
            n, error = len(load(entry).records), None
        except RuntimeError as problem:
            n, error = None, str(problem)
        found.append(PluginInfo(entry.name, entry.dist.name, entry.dist.version, n, error))
    return found


def ops() -> dict[str, Op]:
    """Every op of every installed plugin that can be used, by name."""
    for prefix in {e.name for e in entry_points()}:
        with suppress(RuntimeError):
            load_owner(prefix)
    return dict(sorted(engine.all_ops().items()))


def find(name: str) -> Op:
    """The op of that name, its plugin loaded.

    Raises
    ------
    LookupError
        If nobody declares it.

    Examples
    --------
    >>> import agrad.rules
    >>> agrad.rules.find("sin").record.family
    'elementwise'
    """
    op = engine.find_op(name)
    op.rule     # noqa: B018  resolves it
    return op


@contextmanager
def override(*distributions: str) -> Iterator[None]:
    """Let the overriding rule sets of these distributions act on what is recorded inside.

    Of several that override one op the innermost acts, and of those named together the first.

    Raises
    ------
    LookupError
        If none of a distribution's plugins overrides anything.
    """
    acting = []
    for name in distributions:
        sets = overrides_of(name)
        if not sets:
            raise LookupError(f"no installed plugin of {name} is a RuleSet with override=True")
        for rules in sets:
            check_override(rules, load_owner(rules.name))
            connect(rules)
        acting += sets
    before = engine.get_mode()
    engine.set_mode(before.replace(overrides=(*acting, *(before.overrides or ()))))
    try:
        yield
    finally:
        engine.set_mode(before)


engine.install_loaders(load_rule, find_kernel, find_plugin)
engine.install_overrides(find_override)
