"""The rule set: a table of records, filled by one method per family, and how it is made known to the engine.

The form is specified in `agrad.rules`. Must know no backend, no single rule, and not how rule sets are found.
"""

from collections.abc import Callable
from typing import Any

from agrad import standard
from agrad.cython_core import engine
from agrad.cython_core.engine import Op, Rule
from agrad.formulas import RESERVED, compile_record
from agrad.records import Record, RuleError
from agrad.standard import ARRAY_KINDS


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
        self.table_ops: dict[str, NewOp] = {}      # functions of the standard that the set gives kernels
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
        """Declare an op that the standard lacks: the same line as in `agrad.standard`.

        The bare name of a function of the own chapter declares nothing; it is there to be given kernels.
        """
        if "(" not in line:
            return self.table_ops.setdefault(line, NewOp(line, self._standard(line)))
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
        compile_record(record, signature, self.origin)  # declared wrongly is found here, not when the op is used
        self.records[name] = record

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
        for name, new in (self.new_ops | self.table_ops).items():
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
            formulas, joint = compile_record(record, op.signature, origin)
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
                declared = self.new_ops.get(name) or self.table_ops.get(name)
                record.kernels = declared.kernels if declared else {}
                op.set_rule(rule, record, VIEWS[record.view], OPERATOR_CODES.get(name, 0))

    def act(self) -> None:
        """Replace the rules of the owner for the rest of the process."""
        for name, rule in self.bound.items():
            op = rule.op
            op.set_rule(rule, op.record, VIEWS[op.record.view], OPERATOR_CODES.get(name, 0))


VIEWS = {False: 0, True: 1, "itself": 2}  # what a record says of views, and the engine's code for it
OPERATOR_CODES = {"add": 1, "subtract": 2, "multiply": 3, "divide": 4}  # ops with a compiled short cut


def default_node_name(name: str) -> str:
    """CamelCase(name) + Backward0."""
    return "".join(part.capitalize() for part in name.rpartition(".")[2].split("_")) + "Backward0"
