"""What forward mode must get right: one function per promise, which its first line states. Each is given a `Subject`.

Must know no single backend and no single rule.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from agrad import autograd
from agrad.cython_core.engine import Tensor
from agrad.rules import Point
from agrad.testing import differences
from agrad.testing.agreement import DOUBLE, NEAR, SAME, is_exactly, near, same_kind, tolerance_of
from agrad.testing.draw import is_inexact
from agrad.testing.subject import Subject

Tangents = Sequence[Tensor | None]


def tangents_are_central_differences(s: Subject) -> None:
    """As one operand moves, results have the tangents that central differences show."""
    for k, label in enumerate(s.labels):
        results, tangents = s.moved[k]
        for i, (result, t) in enumerate(zip(results, tangents, strict=True)):
            carries = s.backend.is_differentiable(result.detach().array) and s.has_derivative(k)
            if (t is not None) is not carries and s.record.joint is None:
                problem = "is missing" if t is None else "should not be there"
                raise AssertionError(f"the tangent along {label} {problem}")
            if t is not None and s.dtype in DOUBLE:
                problem = f"the tangent along {label} is not what central differences give"
                near(s.numbers(t.array), s.changes[k][i], s, problem, s.record.tol or NEAR)


def tangents_are_transposed_gradients(s: Subject) -> None:
    """The inner product of a result's tangent and cotangent is that of an operand's tangent and gradient."""
    for k, label in enumerate(s.labels):
        transposes(s, s.moved[k], s.cotangents, s.first[k : k + 1], s.along[k : k + 1], f"along {label}")
    if len(s.raws) > 1:
        all_at_once_transpose(s, s.raws, s.cotangents, s.first, "along all operands")


def all_at_once_transpose(
    s: Subject, raws: Sequence[Any], cotangents: Sequence[Any], gradients: Sequence[Any], what: str
) -> None:
    """The same where all operands move, which may be of other dtypes than those under test."""
    along = [s.alike(real_like(s, t, raw), raw) for t, raw in zip(s.along, raws, strict=True)]
    moved = s.forward([s.tensor(raw) for raw in raws], [s.tensor(t) for t in along])
    transposes(s, moved, cotangents, gradients, along, what)


def real_like(s: Subject, direction: Any, raw: Any) -> Any:
    """A direction's numbers for an operand, which may be real in a complex call."""
    numbers = s.numbers(direction)
    return numbers if s.backend.is_complex(raw) else np.real(numbers)


def transposes(
    s: Subject, moved: tuple[list[Tensor], Tangents], cotangents: Sequence[Any], gradients: Sequence[Any],
    along: Sequence[Any], what: str,
) -> None:
    """Raise unless tangents fit their results, and meet cotangents as gradients meet the operands' tangents."""
    results, tangents = moved
    for result, t in zip(results, tangents, strict=True):
        if t is not None:
            same_kind(s, t.array, result.array, f"tangent {what}")
    g = [s.numbers(raw) for raw in cotangents]
    ts = [None if t is None else s.numbers(t.array) for t in tangents]
    back, moves = [s.numbers(raw) for raw in gradients], [s.numbers(raw) for raw in along]
    expected, found = differences.inner(back, moves), differences.inner(g, ts)
    scale = 1.0 + differences.size(g, ts) + differences.size(back, moves)
    single = any(str(s.backend.neutral_dtype(raw)).endswith(("float32", "complex64")) for raw in along)
    tolerance = max(tolerance_of(s), SAME["float32"] if single else 0.0)
    if not (abs(expected - found) <= tolerance * scale or (np.isnan(expected) and np.isnan(found))):
        raise AssertionError(
            f"the tangents {what} are\n{ts}\nwhich with the cotangents make {found}; the gradients make {expected}"
        )


def second_order_is_the_same_by_all_ways(s: Subject) -> None:
    """Reverse over reverse, reverse over forward and forward over reverse mode give the same second derivatives."""
    if s.dtype not in DOUBLE or not s.record.second or s.number >= SECOND_ORDER:
        return
    operands, along = s.tensors(s.raws), s.tensors(s.along)
    cotangents = [None if g is None else s.tensor(g) for g in s.cotangents]
    _, tangents = s.forward(operands, along)
    over_forward = gradients_of(tangents, cotangents, [*operands, *along])
    pairs = [(r, g) for r, g in zip(s.run(operands), cotangents, strict=True) if r.requires_grad]
    first: Sequence[Any] = [None] * len(operands)
    if pairs:
        roots, given = zip(*pairs, strict=True)
        first = autograd.grad(roots, operands, given, create_graph=True, allow_unused=True)
    over_reverse = gradients_of(first, along, operands)
    forward_over = s.forward_over_reverse()
    for k, label in enumerate(s.labels):
        truth = or_zeros(s, over_reverse[k], k)
        for way, found in (("reverse over forward", over_forward), ("forward over reverse", forward_over)):
            problem = f"the second derivative by {label}, {way}, is not that of reverse over reverse"
            near(or_zeros(s, found[k], k), truth, s, problem, LOOSE)
        back = or_zeros(s, over_forward[len(operands) + k], k)
        problem = f"the gradient of the tangents by the tangent of {label} is not the gradient"
        near(back, or_zeros(s, first[k], k), s, problem, LOOSE)


def or_zeros(s: Subject, t: Tensor | None, k: int) -> Any:
    """The numbers of a gradient of operand k, zeros for None."""
    return np.zeros_like(s.values[k]) if t is None else s.numbers(t.detach().array)


SECOND_ORDER = 3    # samples of a rule whose second order is looked at in forward mode
LOOSE = 1e-9    # the same second derivative by two formulas


def gradients_of(roots: Sequence[Any], weights: Sequence[Any], inputs: Sequence[Tensor]) -> Sequence[Any]:
    """Gradients of weighted roots, None where there are none."""
    pairs = [(r, w) for r, w in zip(roots, weights, strict=True) if r is not None and r.requires_grad]
    if not pairs:
        return [None] * len(inputs)
    tracked, given = zip(*pairs, strict=True)
    found: Sequence[Any] = autograd.grad(tracked, inputs, given, allow_unused=True)
    return found


FORWARD_CHECKS: tuple[Callable[[Subject], None], ...] = (
    tangents_are_central_differences, tangents_are_transposed_gradients, second_order_is_the_same_by_all_ways,
)


# --------------------------------------------------------------------------------------------------- special points


def tangents_are_declared(special: Point) -> Callable[[Subject], None]:
    """At a special point forward mode goes by the same conventions: its tangents transpose the declared gradients."""
    def in_forward_mode_at_its_special_point(s: Subject) -> None:
        pairs = zip(special.inputs, special.gradients, strict=True)
        expected = [gradient for value, gradient in pairs if is_inexact(np.asarray(value))]
        operands = [s.tensor(raw) for raw in s.raws]
        for k, gradient in enumerate(expected):
            if gradient is not None:
                compare_units(s, operands, k, np.asarray(gradient))

    return in_forward_mode_at_its_special_point


def compare_units(s: Subject, operands: list[Tensor], k: int, gradient: Any) -> None:
    """One element of operand k after the other moves; what is not finite elsewhere may spoil it, as 0 * inf does."""
    for place in np.ndindex(gradient.shape):
        others = np.delete(gradient.ravel(), np.ravel_multi_index(place, gradient.shape) if place else 0)
        for unit in (1.0, 1j) if s.is_complex else (1.0,):
            t = np.zeros_like(s.values[k])
            t[place] = unit
            _, tangents = s.forward(operands, [s.tensor(s.alike(t, raw)) if i == k else None
                                               for i, raw in enumerate(s.raws)])
            found = sum(np.sum(np.real(s.numbers(m.array))) for m in tangents if m is not None)
            truth = np.real(np.conj(gradient[place]) * unit)
            if not is_exactly(found, truth) and not (np.isnan(found) and not np.all(np.isfinite(others))):
                what = f"moving {s.labels[k]} at {place} by {unit}"
                raise AssertionError(f"{what} moves the result by {found}, not {truth}")
