"""What a rule must get right: one function per promise, each given a `Subject`, and its first line says what is promised.

Must know no single backend and no single rule.
"""

from collections.abc import Callable, Iterator, Sequence
from itertools import product
from typing import Any

import numpy as np

from agrad import autograd, backends
from agrad.cython_core import engine
from agrad.testing import differences
from agrad.testing.subject import Refused, Subject

DOUBLE = ("float64", "complex128")
NEAR = {"float64": 1e-6, "complex128": 1e-6}       # of derivatives and central differences
SAME = {"float64": 1e-11, "complex128": 1e-11, "float32": 1e-4, "complex64": 1e-4, "float16": 1e-2}   # two ways, one number
MOST_SUBSETS = 15
UNDEFINED = ("empty_like",)     # ops whose values are anything


def value_is_the_kernels(s: Subject) -> None:
    """The op on Tensors gives what the kernel gives, tracked or not."""
    for tracked in (False, True):
        found = [t.detach().array for t in s.run(s.tensors(s.raws, [tracked] * len(s.raws)))]
        if len(found) != len(s.results):
            raise AssertionError(f"{len(found)} results, the kernel gives {len(s.results)}")
        for a, b in zip(found, s.results, strict=True):
            same_kind(s, a, b, "result")
            if s.op.name not in UNDEFINED and not np.array_equal(s.numbers(a), s.numbers(b), equal_nan=True):
                raise AssertionError(f"the result is {s.numbers(a)}, the kernel gives {s.numbers(b)}")


def value_is_numpys(s: Subject) -> None:
    """Backends agree: the kernel gives what NumPy's gives, where NumPy takes the call."""
    if s.backend.name == "numpy" or s.op.name in UNDEFINED:
        return
    reference = Subject(s.op, s.record, backends.find("numpy"), s.dtype, s.call.case, 0)
    reference.call = s.call
    try:
        reference.prepare()
    except Refused:
        return
    for a, b in zip(s.results, reference.results, strict=True):
        near(s.numbers(a), reference.numbers(b), s.dtype, "the kernel's result differs from NumPy's")


def gradients_have_their_operands_shape_and_dtype(s: Subject) -> None:
    """A gradient has the shape and dtype of its operand, and exists where the record promises one."""
    for k, g in enumerate(s.gradients(s.raws, s.cotangents)):
        if g is not None:
            same_kind(s, g, s.raws[k], f"gradient of {s.call.label(k)}")
        if (g is None) is s.has_derivative(k) and s.record.joint is None:
            raise AssertionError(f"the gradient of {s.call.label(k)} is {'missing' if g is None else 'there, though the record says None'}")


def gradients_are_the_central_differences(s: Subject) -> None:
    """First order: the inner products of g with J t, and of the gradient with t, are the same."""
    if s.dtype in DOUBLE:
        found = [s.numbers(g) for g in s.gradients(s.raws, s.cotangents)]
        transposes(s, s.evaluate, s.values, s.g, found, [s.call.label(k) for k in range(len(s.values))], "gradient")


def transposes(s: Subject, function: Any, values: list[Any], g: list[Any], found: list[Any], labels: list[str], what: str) -> None:
    """`found` is the transpose of the derivative of `function` at `values`, applied to `g`."""
    for k, label in enumerate(labels):
        along = differences.direction(values[k], s.rng)
        changes = differences.slope(function, values, k, along)
        expected, actual = differences.inner(g, changes), differences.inner([found[k]], [along])
        scale = 1.0 + differences.size(g, changes) + differences.size([found[k]], [along])
        if not abs(expected - actual) <= (s.record.tol or NEAR[s.double]) * scale:
            truth = differences.gradient(function, values, k, g)
            raise AssertionError(f"the {what} of {label} is\n{found[k]}\nand central differences give\n{truth}")


def low_precision_is_double_rounded(s: Subject) -> None:
    """In a lower precision gradients are those of the double dtype at the same numbers."""
    if s.dtype in DOUBLE:
        return
    expected = s.gradient_values([*s.values, *(g for g in s.g if g is not None)])
    for k, g in enumerate(s.gradients(s.raws, s.cotangents)):
        near(s.numbers(g), expected[k], s.dtype, f"the gradient of {s.call.label(k)} differs from that in double precision", s.record.tol)


def second_order_is_right(s: Subject) -> None:
    """The walk itself is recorded: it gives the same gradients, and theirs are the central differences of these."""
    if not s.record.second or s.record.family == "not_differentiable":
        return
    operands = s.tensors(s.raws, [True] * len(s.raws))
    given = s.tensors([g for g in s.cotangents if g is not None], [True] * sum(s.floating))
    roots = [r for r in s.run(operands) if r.requires_grad]
    if not roots:
        return
    first = autograd.grad(roots, operands, given, create_graph=True, allow_unused=True)
    plain = s.gradients(s.raws, s.cotangents)
    for k, (recorded, raw) in enumerate(zip(first, plain, strict=True)):
        if (recorded is None) is not (raw is None):
            raise AssertionError(f"the gradient of {s.call.label(k)} exists only {'unrecorded' if recorded is None else 'recorded'}")
        if recorded is not None:
            same_kind(s, recorded.array, s.raws[k], f"recorded gradient of {s.call.label(k)}")
            near(s.numbers(recorded.detach().array), s.numbers(raw), s.dtype, f"the recorded gradient of {s.call.label(k)} differs")
    if s.dtype in DOUBLE:
        second_order_differences(s, operands, given, first)


def second_order_differences(s: Subject, operands: list[Any], given: list[Any], first: Sequence[Any]) -> None:
    weights = [None if h is None else s.cotangent(h.array) for h in first]
    pairs = [(h, engine.make_tensor(s.backend, w)) for h, w in zip(first, weights, strict=True) if h is not None and h.requires_grad]
    second: Sequence[Any] = [None] * (len(operands) + len(given))
    if pairs:
        second = autograd.grad([h for h, _ in pairs], [*operands, *given], [w for _, w in pairs], allow_unused=True)
    found = [None if t is None else s.numbers(t.array) for t in second]
    values = [*s.values, *(g for g in s.g if g is not None)]
    labels = [s.call.label(k) for k in range(len(operands))] + ["the cotangent"] * len(given)
    transposes(s, s.gradient_values, values, [s.numbers(w) for w in weights], found, labels, "second-order gradient")


def every_subset_of_operands_agrees(s: Subject) -> None:
    """An operand's gradient does not depend on which others are tracked, or are Tensors at all."""
    n = len(s.raws)
    if n < 2:
        return
    whole = s.gradients(s.raws, s.cotangents)
    for number, tracked in enumerate(subsets(n)):
        operands = [t if wanted or number % 2 else raw for t, raw, wanted in
                    zip(s.tensors(s.raws, tracked), s.raws, tracked, strict=True)]
        found = gradients_of(s, operands, tracked, s.cotangents)
        for k, g in found.items():
            if (g is None) is not (whole[k] is None):
                raise AssertionError(f"with {names(s, tracked)} tracked alone, the gradient of {s.call.label(k)} "
                                     f"{'is missing' if g is None else 'is there'}")
            near(s.numbers(g), s.numbers(whole[k]), s.dtype, f"the gradient of {s.call.label(k)} changes with {names(s, tracked)} tracked alone")


def gradients_of(s: Subject, operands: list[Any], tracked: Sequence[bool], cotangents: Sequence[Any]) -> dict[int, Any]:
    """Raw gradients by operand."""
    roots = [(r, engine.make_tensor(s.backend, g)) for r, g in zip(s.run(operands), cotangents, strict=True) if g is not None and r.requires_grad]
    wanted = [k for k, t in enumerate(tracked) if t]
    if not roots:
        return dict.fromkeys(wanted)
    found = autograd.grad([r for r, _ in roots], [operands[k] for k in wanted], [g for _, g in roots], allow_unused=True)
    return {k: None if g is None else g.array for k, g in zip(wanted, found, strict=True)}


def names(s: Subject, tracked: Sequence[bool]) -> str:
    return ", ".join(s.call.label(k) for k, t in enumerate(tracked) if t)


def subsets(n: int) -> Iterator[list[bool]]:
    """All choices but the full and the empty one; of many things only each alone and each left out."""
    if 2 ** n - 2 <= MOST_SUBSETS:
        yield from (list(chosen) for chosen in product((False, True), repeat=n) if any(chosen) and not all(chosen))
        return
    for k in range(n):
        yield [i == k for i in range(n)]
        yield [i != k for i in range(n)]


def every_subset_of_cotangents_agrees(s: Subject) -> None:
    """Of several results, those that nobody uses count as used with cotangent zero."""
    present = [i for i, g in enumerate(s.cotangents) if g is not None]
    if len(present) < 2:
        return
    for chosen in subsets(len(present)):
        kept = {i for i, c in zip(present, chosen, strict=True) if c}
        left_out = [g if i in kept else None for i, g in enumerate(s.cotangents)]
        zeros = [g if i in kept or g is None else s.array(np.zeros_like(s.g[i]), s.backend.neutral_dtype(g)) for i, g in enumerate(s.cotangents)]
        for k, (a, b) in enumerate(zip(s.gradients(s.raws, left_out), s.gradients(s.raws, zeros), strict=True)):
            a_values = np.zeros_like(s.values[k]) if a is None else s.numbers(a)
            near(a_values, s.numbers(b), s.dtype, f"the gradient of {s.call.label(k)} from results {sorted(kept)} alone is wrong")


def memory_layout_does_not_matter(s: Subject) -> None:
    """Operands and cotangents that are not contiguous give the same gradients."""
    strided = [s.backend.xp.getitem(s.array(np.stack([v, v + 1], axis=-1), s.backend.neutral_dtype(raw)), (..., 0))
               for v, raw in zip(s.values, s.raws, strict=True)]
    cotangents = [None if g is None else s.backend.xp.getitem(s.array(np.stack([v, v], axis=-1), s.backend.neutral_dtype(g)), (..., 0))
                  for v, g in zip(s.g, s.cotangents, strict=True)]
    for k, (a, b) in enumerate(zip(s.gradients(strided, cotangents), s.gradients(s.raws, s.cotangents), strict=True)):
        near(s.numbers(a), s.numbers(b), s.dtype, f"the gradient of {s.call.label(k)} changes with the memory layout")


def every_operand_keeps_its_own_dtype(s: Subject) -> None:
    """float32 beside float64, and real beside complex numbers: each gradient has its operand's dtype."""
    if len(s.raws) < 2 or s.dtype not in DOUBLE:
        return
    for k in range(len(s.raws)):
        values = [np.real(v) if i == k and s.complex_ else v.astype("float32").astype(v.dtype) for i, v in enumerate(s.values)]
        raws = [s.array(v, ("float64" if s.complex_ else "float32") if i == k else s.double) for i, v in enumerate(values)]
        try:
            results = s.kernel(raws)
        except Exception as error:
            raise Refused(f"{s.call} with {s.call.label(k)} of another dtype: {type(error).__name__}: {str(error).partition(chr(10))[0]}") from error
        cotangents = [s.cotangent(r) if f else None for r, f in zip(results, s.floating, strict=True)]
        found = s.gradients(raws, cotangents)
        for i, g in enumerate(found):
            if g is not None:
                same_kind(s, g, raws[i], f"gradient of {s.call.label(i)}, with {s.call.label(k)} of another dtype,")
        if s.complex_:
            g = [s.numbers(c) for c in cotangents]
            transposes(s, s.evaluate, values, g, [s.numbers(f) for f in found], [s.call.label(i) for i in range(len(raws))], "gradient")


def flat_means_zero(s: Subject) -> None:
    """A flat op is tracked, and its gradient is zero everywhere."""
    if s.record.family == "flat":
        for k, g in enumerate(s.gradients(s.raws, s.cotangents)):
            if g is None or np.any(s.numbers(g) != 0):
                raise AssertionError(f"the gradient of {s.call.label(k)} is {g}, of a flat op")


def untracked_means_untracked(s: Subject) -> None:
    """Results of an op that is not differentiable are not tracked."""
    if s.record.family == "not_differentiable":
        for result in s.run(s.tensors(s.raws, [True] * len(s.raws))):
            if result.requires_grad or result.grad_fn is not None:
                raise AssertionError("the result is tracked, though the op is declared not differentiable")


def nothing_was_written_to(s: Subject) -> None:
    """After all other checks, operands and cotangents are what they were."""
    for raws, before, what in ((s.raws, s.values, "operand"), (s.cotangents, s.g, "cotangent")):
        for raw, value in zip(raws, before, strict=True):
            if raw is not None and not np.array_equal(s.numbers(raw), value, equal_nan=True):
                raise AssertionError(f"an {what} was written to" if what == "operand" else f"a {what} was written to")


VALUE_CHECKS = (value_is_the_kernels, value_is_numpys, untracked_means_untracked, nothing_was_written_to)
CHECKS = (
    value_is_the_kernels, value_is_numpys, gradients_have_their_operands_shape_and_dtype, gradients_are_the_central_differences,
    low_precision_is_double_rounded, second_order_is_right, every_subset_of_operands_agrees, every_subset_of_cotangents_agrees,
    memory_layout_does_not_matter, every_operand_keeps_its_own_dtype, flat_means_zero, nothing_was_written_to,
)


# ------------------------------------------------------------------------------------------------------------ comparing

def same_kind(s: Subject, raw: Any, like: Any, what: str) -> None:
    found, expected = ((s.backend.shape_of(a), s.backend.neutral_dtype(a)) for a in (raw, like))
    if found != expected:
        raise AssertionError(f"the {what} has shape {found[0]} and dtype {found[1]}, expected {expected[0]} and {expected[1]}")


def near(a: Any, b: Any, dtype: str, problem: str, tol: float | None = None) -> None:
    """Both within the dtype's tolerance of the largest element; nan equals nan, None only None."""
    if a is None and b is None:
        return
    tolerance = max(SAME[dtype], tol or 0.0)
    if a is None or b is None or a.shape != b.shape:
        raise AssertionError(f"{problem}: {a} against {b}")
    finite = np.abs(b[np.isfinite(b)])
    scale = 1.0 + (float(finite.max()) if finite.size else 0.0)
    if not np.allclose(a, b, rtol=tolerance, atol=tolerance * scale, equal_nan=True):
        raise AssertionError(f"{problem}:\n{a}\nagainst\n{b}")
