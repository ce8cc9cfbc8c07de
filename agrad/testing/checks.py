"""What a rule must get right: one function per promise, which its first line states. Each is given a `Subject`.

Must know no single backend and no single rule.
"""

from collections.abc import Callable, Iterator, Sequence
from itertools import product
from typing import Any

import numpy as np

from agrad import autograd, backends
from agrad.rules import Point
from agrad.testing import differences
from agrad.testing.agreement import DOUBLE, NEAR, is_exactly, near, same_kind
from agrad.testing.batch_checks import batches_are_loops, gradients_of_batches_are_loops
from agrad.testing.draw import is_inexact
from agrad.testing.forward_checks import FORWARD_CHECKS, all_at_once_transpose
from agrad.testing.subject import Function, Refused, Subject

MOST_SUBSETS = 15
Check = Callable[[Subject], None]
UNDEFINED = ("empty_like",)     # ops whose values may be anything
UNORDERED = ("unique_all", "unique_counts", "unique_inverse", "unique_values")  # whose elements may come in any order


# --------------------------------------------------------------------------------------------------------------- values


def value_is_the_kernels(s: Subject) -> None:
    """The op on Tensors gives what the kernel gives, tracked or not."""
    for tracked in (False, True):
        found = [t.detach().array for t in s.run(s.tensors(s.raws, [tracked] * len(s.raws)))]
        if len(found) != len(s.results):
            raise AssertionError(f"{len(found)} results, the kernel gives {len(s.results)}")
        for a, b in zip(found, s.results, strict=True):
            same_kind(s, a, b, "result")
            if s.op.name not in UNDEFINED:      # near: libraries round differently where memory is aligned differently
                near(s.numbers(a), s.numbers(b), s, "the result is not the kernel's")


def value_is_numpys(s: Subject) -> None:
    """Backends agree: the kernel gives what NumPy's gives, where NumPy takes the call."""
    if s.backend.name == "numpy" or s.op.name in UNDEFINED + UNORDERED:
        return
    reference = Subject(s.op, s.record, backends.find("numpy"), s.dtype, s.call.case, ())
    reference.call = s.call
    try:
        reference.prepare()
    except Refused:
        return
    for a, b in zip(s.results, reference.results, strict=True):
        near(s.numbers(a), reference.numbers(b), s, "the kernel's result differs from NumPy's")


def untracked_means_untracked(s: Subject) -> None:
    """Results of an op that is not differentiable are not tracked."""
    for result in s.run(s.tensors(s.raws)):
        if result.requires_grad or result.grad_fn is not None:
            raise AssertionError("the result is tracked, though the op is declared not differentiable")


# ---------------------------------------------------------------------------------------------------------- first order


def gradients_fit_their_operands(s: Subject) -> None:
    """A gradient has the shape and dtype of its operand, and is there if and only if the record promises one."""
    for k, g in enumerate(s.first):
        if g is not None:
            same_kind(s, g, s.raws[k], f"gradient of {s.labels[k]}")
        if (g is not None) is not s.has_derivative(k) and s.record.joint is None:
            problem = "is missing" if g is None else "is there, though the record says None"
            raise AssertionError(f"the gradient of {s.labels[k]} {problem}")


def gradients_are_central_differences(s: Subject) -> None:
    """The inner product of the cotangent with J t is that of the gradient with t."""
    if s.dtype in DOUBLE:
        moves = list(zip(map(s.numbers, s.along), s.changes, strict=True))
        transposes(s, s.evaluate, s.values, s.g, [s.numbers(g) for g in s.first], s.labels, "gradient", moves)


def transposes(
    s: Subject, function: Function, values: list[Any], g: list[Any], found: list[Any], labels: list[str], what: str,
    moves: list[tuple[Any, Any]] | None = None,
) -> None:
    """Raise unless `found` is the transpose of the derivative of `function`, applied to `g`.

    `moves`, where they are known: for each operand a direction and how the results change along it.
    """
    for k, label in enumerate(labels):
        along = s.call.direction(k, values[k], s.rng) if moves is None else moves[k][0]
        changes = differences.slope(function, values, k, along) if moves is None else moves[k][1]
        expected, actual = differences.inner(g, changes), differences.inner([found[k]], [along])
        scale = 1.0 + differences.size(g, changes) + differences.size([found[k]], [along])
        if not abs(expected - actual) <= (s.record.tol or NEAR) * scale:
            truth = differences.gradient(function, values, k, g)
            raise AssertionError(f"the {what} of {label} is\n{found[k]}\nand central differences give\n{truth}")


def low_precision_is_double_rounded(s: Subject) -> None:
    """In a lower precision, results and gradients are those of the double dtype at the same numbers."""
    if s.dtype not in DOUBLE:
        for found, truth in zip(s.results, s.evaluate(s.values), strict=True):
            near(s.numbers(found), truth, s, "the result differs from that in double precision")
        expected = s.gradient_values([*s.values, *s.present])
        for k, g in enumerate(s.first):
            near(s.numbers(g), expected[k], s, f"the gradient of {s.labels[k]} differs from that in double precision")


def flat_means_zero(s: Subject) -> None:
    """A flat op is tracked, and its gradient is zero everywhere."""
    if s.record.family == "flat":
        for label, g in zip(s.labels, s.first, strict=True):
            if g is None or np.any(s.numbers(g) != 0):
                raise AssertionError(f"the gradient of {label} is {g}, of a flat op")


def gradient_is_declared(special: Point) -> Check:
    """At a special point, with cotangent one, gradients are what the record says, also when the walk is recorded."""
    def at_its_special_point(s: Subject) -> None:
        pairs = zip(special.inputs, special.gradients, strict=True)
        expected = [gradient for value, gradient in pairs if is_inexact(np.asarray(value))]
        operands = s.tensors(s.raws)
        carrying = [(r, g, raw) for r, g, raw in zip(s.run(operands), s.g, s.cotangents, strict=True) if g is not None]
        roots = [root for root, _, _ in carrying]
        ones = [s.tensor(s.alike(np.ones_like(g), raw)) for _, g, raw in carrying]
        for recorded in (False, True):
            found = autograd.grad(roots, operands, ones, retain_graph=True, create_graph=recorded, allow_unused=True)
            for label, g, e in zip(s.labels, found, expected, strict=True):
                values = None if g is None else s.numbers(g.detach().array)
                if e is not None and not is_exactly(values, np.asarray(e)):
                    raise AssertionError(f"the {'recorded ' * recorded}gradient of {label} is {values}, not {e}")

    return at_its_special_point


# --------------------------------------------------------------------------------------------------------- second order


def second_order_is_right(s: Subject) -> None:
    """The walk can be recorded: it gives the same gradients, and theirs are the central differences of these."""
    operands, given = s.tensors(s.raws), s.tensors([g for g in s.cotangents if g is not None])
    roots = [r for r in s.run(operands) if r.requires_grad]
    if not roots or not s.record.second:
        return
    first = autograd.grad(roots, operands, given, create_graph=True, allow_unused=True)
    for k, (recorded, plain) in enumerate(zip(first, s.first, strict=True)):
        if recorded is not None and plain is not None:
            same_kind(s, recorded.array, plain, f"recorded gradient of {s.labels[k]}")
        recorded_values = None if recorded is None else s.numbers(recorded.detach().array)
        near(recorded_values, s.numbers(plain), s, f"the gradient of {s.labels[k]} changes when the walk is recorded")
    if s.dtype in DOUBLE:
        compare_second_order(s, operands, given, first)


def compare_second_order(s: Subject, operands: list[Any], given: list[Any], first: Sequence[Any]) -> None:
    """Gradients of the recorded gradients, for operands and cotangents, against central differences."""
    weights = [None if h is None else s.cotangent(h.array) for h in first]
    roots = [(h, s.tensor(w)) for h, w in zip(first, weights, strict=True) if h is not None and h.requires_grad]
    second: Sequence[Any] = [None] * (len(operands) + len(given))
    if roots:
        second = autograd.grad([h for h, _ in roots], [*operands, *given], [w for _, w in roots], allow_unused=True)
    found = [None if t is None else s.numbers(t.array) for t in second]
    for t, like in zip(second, [*operands, *given], strict=True):
        if t is not None:
            same_kind(s, t.array, like.detach().array, "second-order gradient")
    labels = [*s.labels, *(f"cotangent {i}" for i in range(len(given)))]
    cotangents = [s.numbers(w) for w in weights]
    transposes(s, s.gradient_values, [*s.values, *s.present], cotangents, found, labels, "second-order gradient")


# ------------------------------------------------------------------------------------------------------ parts of a call


def subsets(n: int) -> Iterator[list[bool]]:
    """All choices but the full and the empty one; of many things, each alone and each left out."""
    if 2 ** n - 2 <= MOST_SUBSETS:
        yield from (list(chosen) for chosen in product((False, True), repeat=n) if any(chosen) and not all(chosen))
        return
    for k in range(n):
        yield [i == k for i in range(n)]
        yield [i != k for i in range(n)]


def every_subset_of_operands_agrees(s: Subject) -> None:
    """A gradient does not depend on which other operands are tracked, nor on whether they are Tensors at all."""
    for number, tracked in enumerate(subsets(len(s.raws))):
        as_raw = number % 2 == 0
        tensors = s.tensors(s.raws, tracked)
        operands = [raw if as_raw and not t.requires_grad else t for t, raw in zip(tensors, s.raws, strict=True)]
        found = iter(s.gradients(operands, s.cotangents))
        alone = ", ".join(label for label, t in zip(s.labels, tracked, strict=True) if t)
        for k in (k for k, t in enumerate(tracked) if t):
            what = "a Tensor" if as_raw else "tracked"
            problem = f"the gradient of {s.labels[k]} is another when only {alone} is {what}"
            near(s.numbers(next(found)), s.numbers(s.first[k]), s, problem)


def every_subset_of_cotangents_agrees(s: Subject) -> None:
    """Of several results, those that nobody uses count as used with cotangent zero."""
    there = [i for i, g in enumerate(s.cotangents) if g is not None]
    for chosen in subsets(len(there)):
        kept = [i for i, c in zip(there, chosen, strict=True) if c]
        partly = [g if i in kept else None for i, g in enumerate(s.cotangents)]
        filled = [g if g is None or i in kept else s.alike(np.zeros_like(v), g)
                  for i, (v, g) in enumerate(zip(s.g, s.cotangents, strict=True))]
        pairs = zip(s.gradients(s.tensors(s.raws), partly), s.gradients(s.tensors(s.raws), filled), strict=True)
        for k, (a, b) in enumerate(pairs):
            found = np.zeros_like(s.values[k]) if a is None else s.numbers(a)
            near(found, s.numbers(b), s, f"the gradient of {s.labels[k]} from the results {kept} alone is wrong")


# ---------------------------------------------------------------------------------------------------- memory and dtypes


def memory_layout_does_not_matter(s: Subject) -> None:
    """Operands and cotangents that are not contiguous give the same gradients."""
    operands = [s.strided(v, raw) for v, raw in zip(s.values, s.raws, strict=True)]
    cotangents = [None if raw is None else s.strided(v, raw) for v, raw in zip(s.g, s.cotangents, strict=True)]
    for k, g in enumerate(s.gradients(s.tensors(operands), cotangents)):
        near(s.numbers(g), s.numbers(s.first[k]), s, f"the gradient of {s.labels[k]} changes with the memory layout")


def every_operand_keeps_its_own_dtype(s: Subject) -> None:
    """float32 beside float64, and real beside complex numbers: each gradient has its operand's dtype."""
    if len(s.raws) < 2 or s.dtype not in DOUBLE:
        return
    for k, label in enumerate(s.labels):
        values = [np.real(v) if i == k and s.is_complex else rounded(v) for i, v in enumerate(s.values)]
        raws = [s.array(v, "float32" if i == k and not s.is_complex else None) for i, v in enumerate(values)]
        try:
            cotangents = s.draw_cotangents(s.kernel(raws))
        except Exception as error:
            raise Refused(f"{s.call} with {label} of another dtype", error) from error
        found = s.gradients(s.tensors(raws), cotangents)
        for i, g in enumerate(found):
            if g is not None:
                same_kind(s, g, raws[i], f"gradient of {s.labels[i]}, with {label} of another dtype,")
        if s.is_complex:
            numbers = [s.numbers(g) for g in found]
            g = [s.numbers(c) for c in cotangents]
            transposes(s, s.evaluate, values, g, numbers, s.labels, f"gradient, with {label} real,")
        all_at_once_transpose(s, raws, cotangents, found, f"along all operands, {label} of another dtype,")


def rounded(values: Any) -> Any:
    """To numbers that single precision has."""
    return values.astype(np.float32 if values.dtype.kind == "f" else np.complex64).astype(values.dtype)


def nothing_was_written_to(s: Subject) -> None:
    """After all other checks, operands and cotangents are what they were."""
    for raws, before, what in ((s.raws, s.values, "operand"), (s.cotangents, s.g, "cotangent")):
        for raw, value in zip(raws, before, strict=True):
            if raw is not None and not np.array_equal(s.numbers(raw), value, equal_nan=True):
                raise AssertionError(f"an input was written to: {what}\n{value}\nis now\n{s.numbers(raw)}")


CHECKS: tuple[Check, ...] = (
    value_is_the_kernels, value_is_numpys, gradients_fit_their_operands, gradients_are_central_differences,
    low_precision_is_double_rounded, flat_means_zero, second_order_is_right, every_subset_of_operands_agrees,
    every_subset_of_cotangents_agrees, memory_layout_does_not_matter, every_operand_keeps_its_own_dtype,
    *FORWARD_CHECKS, batches_are_loops, gradients_of_batches_are_loops, nothing_was_written_to,
)
CHECKS_OF_UNTRACKED: tuple[Check, ...] = (
    value_is_the_kernels, value_is_numpys, untracked_means_untracked, batches_are_loops, nothing_was_written_to,
)
