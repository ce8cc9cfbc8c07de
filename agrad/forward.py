"""Forward mode: what an op makes of tangents, found once per op from its record.

A forward rule is a function ``jvp(values, tangents, out)`` on Tensors. Values and tangents have an entry per parameter
of the op, None where there is no tangent; it returns a tangent like `out`, None where there is no derivative. What a
record does not declare follows from its family, and where that says nothing from the transpose of its vjp. Must know no
backend and no single rule.
"""

from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

from agrad.autograd.grad_mode import ModeContext
from agrad.batching import caller
from agrad.cython_core import engine
from agrad.cython_core.engine import Op, Rule, Tensor
from agrad.formulas import compile_formula, compile_forward
from agrad.records import Record
from agrad.standard import ARRAY_KINDS

Values = Sequence[Any]
Jvp = Callable[[Values, Values, Any], Any]
NUMBERS = (bool, int, float, complex)
CARRIES = ("real", "complex")   # the kinds of dtypes that tangents have


def find(op: Op) -> Jvp:
    """The forward rule of an op; inside `agrad.rules.override` that of the overriding rule set."""
    rule = op.rule
    for rules in engine.get_mode().overrides or ():
        if op.name in rules.records:
            return made(rules.bound[op.name], rules.records[op.name])
    if rule is None:
        raise NotImplementedError(f"{op.name} has no derivative rule: no installed plugin declares one")
    return made(rule, op.record)


@cache
def made(rule: Rule, record: Record) -> Jvp:
    """The forward rule that a record says or implies."""
    if record.linear_part is True:
        return linear(rule, record)
    if record.linear_part is not None:
        return declared(rule, record.linear_part, "linear_part")
    if record.family in FAMILIES:
        return FAMILIES[record.family](rule, record)
    return quietly(declared(rule, record.jvp, "jvp") if record.jvp is not None else transposed(rule, record))


def quietly(jvp: Jvp) -> Jvp:
    """Without the library's warnings about numbers that the user never sees."""
    def run(values: Values, tangents: Values, out: Any) -> Any:
        context = backend_of(out).quiet()
        if context is None:
            return jvp(values, tangents, out)
        with context:
            return jvp(values, tangents, out)

    return run


def backend_of(out: Any) -> Any:
    return (out[0] if isinstance(out, tuple) else out).backend_


def array_positions(op: Op) -> list[int]:
    return [i for i, p in enumerate(op.signature.parameters) if p.kind in ARRAY_KINDS]


# ------------------------------------------------------------------------------------------------------- the result


def fitted(t: Any, out: Tensor, rule: Rule) -> Any:
    """A tangent in the shape and dtype of its value; None where that cannot have one."""
    if t is None or out.dtype.kind not in CARRIES:
        return None
    if not isinstance(t, Tensor):
        raise TypeError(f"{label_of(rule)} returned {type(t).__name__}, expected a Tensor")
    if t.shape != out.shape:
        known = all(isinstance(n, int) for n in (*t.shape, *out.shape))
        t = out.backend_.facade.broadcast_to(t, out.shape) if known else t + zeros_like(out)
    if t.dtype != out.dtype:
        xp = out.backend_.facade
        t = xp.astype(xp.real(t) if out.dtype.kind == "real" and t.dtype.kind == "complex" else t, out.dtype)
    return t


def fitted_all(t: Any, out: Any, rule: Rule) -> Any:
    """The same for one result or several."""
    if not isinstance(out, tuple):
        return fitted(t, out, rule)
    if t is None:
        return (None,) * len(out)
    if not isinstance(t, (tuple, list)) or len(t) != len(out):
        found = f"{len(t)} tangents" if isinstance(t, (tuple, list)) else type(t).__name__
        raise TypeError(f"{label_of(rule)} returned {found}, expected {len(out)} tangents")
    return tuple(fitted(part, whole, rule) for part, whole in zip(t, out, strict=True))


def label_of(rule: Rule) -> str:
    return f"the rule {rule.op.name}.jvp of {rule.source}"


def total(a: Any, b: Any) -> Any:
    """The sum of two tangents, or of two tuples of them; None is zero."""
    if a is None or b is None:
        return b if a is None else a
    if isinstance(a, (tuple, list)):
        return tuple(total(x, y) for x, y in zip(a, b, strict=True))
    return a + b


# ---------------------------------------------------------------------------------------------------------- families


def elementwise(rule: Rule, record: Record) -> Jvp:
    """The sum of partial derivative times tangent."""
    names = ((i, rule.op.parameters[i]) for i in array_positions(rule.op))
    given = [(i, record.derivatives[name]) for i, name in names]
    formulas = {i: formula for (i, _), formula in zip(given, rule.formulas, strict=True)}
    terms = [(i, formulas[i] if callable(d) else None, d) for i, d in given if d is not None]

    def jvp(values: Values, tangents: Values, out: Any) -> Any:
        found = None
        for i, formula, d in terms:
            t = tangents[i]
            if t is not None:
                if formula is not None:
                    part = t * engine.evaluate_formula(formula, rule, tuple(values), None, out)
                else:
                    part = t if d == 1 else -t if d == -1 else t * d
                found = part if found is None else found + part
        return None if found is None else fitted(found, out, rule)

    return quietly(jvp) if any(formula is not None for _, formula, _ in terms) else jvp


def select(rule: Rule, record: Record) -> Jvp:
    """The tangent of what was selected; where several inputs were, their mean."""
    masks = [(rule.op.signature.positions[name], compile_formula(mask, rule.op.signature, f"{record.name}.jvp[{name}]"))
             for name, mask in record.derivatives.items() if mask is not None]

    def jvp(values: Values, tangents: Values, out: Any) -> Any:
        xp, found, chosen = out.backend_.facade, None, []
        for i, formula in masks:
            chosen.append(engine.evaluate_formula(formula, rule, tuple(values), None, out))
            if tangents[i] is not None:
                part = xp.where(chosen[-1], tangents[i], 0)
                found = part if found is None else found + part
        if found is not None and len(chosen) == 2:
            found = xp.where(chosen[0] & chosen[1], 0.5 * found, found)
        elif found is not None and len(chosen) > 2:
            count = sum(xp.astype(mask, out.dtype) for mask in chosen)
            found = found / xp.where(count == 0, 1, count)
        return None if found is None else fitted(found, out, rule)

    return jvp


def linear(rule: Rule, record: Record) -> Jvp:
    """The op itself, of the tangents; of one array they fit as they are."""
    call, positions, parameters = caller(rule.op), array_positions(rule.op), rule.op.signature.parameters
    fits = [p.kind for p in parameters if p.kind in ARRAY_KINDS] == ["array"]
    casts = next((i for i, p in enumerate(parameters) if p.kind == "dtype"), None)

    def jvp(values: Values, tangents: Values, out: Any) -> Any:
        moved = list(values)
        for i in positions:
            moved[i] = tangents[i] if type(tangents[i]) is Tensor else moving(values[i], tangents[i])
        found = call(moved)
        return found if fits and (casts is None or values[casts] is None) else fitted_all(found, out, rule)

    return jvp


def moving(value: Any, t: Any) -> Any:
    """The tangent of an operand, zero for those without."""
    if type(value) is tuple:
        return tuple(map(moving, value, t or (None,) * len(value)))
    if t is not None or value is None:
        return t
    return 0 * value if type(value) in NUMBERS else zeros_like(value)


def zeros_like(value: Tensor) -> Any:
    return value.backend_.facade.zeros_like(value)


def bilinear(rule: Rule, record: Record) -> Jvp:
    """The op of each tangent with the other value."""
    call, (first, second) = caller(rule.op), array_positions(rule.op)

    def jvp(values: Values, tangents: Values, out: Any) -> Any:
        found = None
        for i in (first, second):
            if tangents[i] is not None:
                moved = list(values)
                moved[i] = tangents[i]
                found = total(found, call(moved))
        return found

    return jvp


def flat(rule: Rule, record: Record) -> Jvp:
    """Zeros."""
    def jvp(values: Values, tangents: Values, out: Any) -> Any:
        return tuple(map(zero, out)) if isinstance(out, tuple) else zero(out)

    return jvp


def zero(out: Tensor) -> Any:
    return zeros_like(out) if out.dtype.kind in CARRIES else None


def not_differentiable(rule: Rule, record: Record) -> Jvp:
    """No tangent at all."""
    def jvp(values: Values, tangents: Values, out: Any) -> Any:
        return (None,) * len(out) if isinstance(out, tuple) else None

    return jvp


FAMILIES: dict[str, Callable[[Rule, Record], Jvp]] = {
    "elementwise": elementwise, "select": select, "linear": linear, "bilinear": bilinear, "flat": flat,
    "not_differentiable": not_differentiable,
}


# -------------------------------------------------------------------------------------------------- declared, derived


def declared(rule: Rule, given: Any, field: str) -> Jvp:
    """What the record says: one function, or one per array parameter whose results add up."""
    positions = array_positions(rule.op)
    terms = compile_forward(given, rule.op.signature, f"{rule.source}: {rule.op.name}.{field}")

    def jvp(values: Values, tangents: Values, out: Any) -> Any:
        found = None
        for i, formula in terms:
            t = tuple(tangents[k] for k in positions) if i is None else tangents[i]
            if t is not None:
                found = total(found, engine.evaluate_formula(formula, rule, tuple(values), t, out))
        return fitted_all(found, out, rule)

    return jvp


def transposed(rule: Rule, record: Record) -> Jvp:
    """The transpose of the vjp: that is linear in cotangents, so any will do, and its own vjp there takes tangents."""
    call = caller(rule.op)

    def jvp(values: Values, tangents: Values, out: Any) -> Any:
        if record.once:
            raise NotImplementedError(
                f"{rule.op.name} has no forward mode: {rule.source} declares that its vjp cannot be transposed "
                "(once=True), and gives no jvp"
            )
        recorded = engine.is_grad_enabled() and is_tracked(values, tangents)
        with ModeContext(grad=True, inference=False):
            pairs: list[tuple[Tensor, Tensor]] = []
            results = call([twin(value, t, pairs) for value, t in zip(values, tangents, strict=True)])
            several = isinstance(results, tuple)
            roots = [r for r in (results if several else (results,)) if r.requires_grad]
            if not roots:
                return (None,) * len(out) if several else None
            probes = [engine.ones_like(r.detach()).requires_grad_() for r in roots]
            inputs = tuple(x for x, _ in pairs)
            back = engine.run_backward(tuple(roots), tuple(probes), True, True, inputs, False)
            ends = [(g, t) for g, (_, t) in zip(back, pairs, strict=True) if g is not None and g.requires_grad]
            found: list[Any] = [None] * len(probes)
            if ends:
                gs, ts = zip(*ends, strict=True)
                found = engine.run_backward(gs, ts, True, recorded, tuple(probes), False)
        forward = iter(zeros_like(r) if t is None else t for r, t in zip(roots, found, strict=True))
        if not several:
            return fitted(next(forward), out, rule)
        return tuple(fitted(next(forward), o, rule) if r.requires_grad else None
                     for r, o in zip(results, out, strict=True))

    return jvp


def twin(value: Any, t: Any, pairs: list[tuple[Tensor, Tensor]]) -> Any:
    """An operand as the derivation sees it; one with a tangent is tracked, and noted with it."""
    if type(value) is tuple:
        return tuple(twin(v, part, pairs) for v, part in zip(value, t or (None,) * len(value), strict=True))
    if t is None:
        return value
    own = engine.alias(value)
    own = own if own.requires_grad else own.requires_grad_()
    pairs.append((own, t))
    return own


def is_tracked(*values: Any) -> bool:
    """Whether one of the Tensors in these tuples and lists requires grad."""
    return any(is_tracked(*v) if isinstance(v, (tuple, list)) else getattr(v, "requires_grad", False) for v in values)
