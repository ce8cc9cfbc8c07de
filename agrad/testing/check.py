"""The generic checker: one rule on one backend in one dtype, through everything that a rule must get right.

What is checked is listed in `CHECKS`; each check is a function of a `Subject`, one sample call with its arrays. Must know no single
backend and no single rule.
"""

import warnings
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from functools import reduce
from itertools import product
from typing import Any

import numpy as np

from agrad import autograd, backends, dtypes, rules
from agrad.cython_core import engine
from agrad.cython_core.engine import Tensor
from agrad.testing import differences
from agrad.testing.draw import ARRAY_KINDS, Call, case_of_point, has_samples, samples_of

DTYPES = ("float64", "complex128", "float32", "complex64")
DOUBLE = {"float64", "complex128"}
NEAR = {"float64": 1e-6, "complex128": 1e-6}       # of derivatives and central differences
SAME = {"float64": 1e-11, "complex128": 1e-11, "float32": 1e-4, "complex64": 1e-4, "float16": 1e-2}   # two ways, one number
MOST_SUBSETS = 15
UNDEFINED = ("empty_like",)     # ops whose values are anything


class Refused(Exception):  # noqa: N818  not an error
    """The backend itself does not take a call."""


class Report:
    """What was checked of one op on one backend in one dtype.

    Attributes
    ----------
    op, backend, dtype : str
    cases, checks : int
        Sample calls that ran, and single checks that passed.
    refused : list of str
        Calls that the backend itself does not take, with its reason.
    notes : list of str
        What was left out because the rule's record says so, with its reason.

    Examples
    --------
    >>> from agrad.testing import check_rule
    >>> print(check_rule("sin", case=1))
    sin on numpy in float64: 1 case, 8 checks
    """

    def __init__(self, op: str, backend: str, dtype: str) -> None:
        self.op, self.backend, self.dtype = op, backend, dtype
        self.cases = self.checks = 0
        self.refused: list[str] = []
        self.notes: list[str] = []

    def __str__(self) -> str:
        lines = [f"{self.op} on {self.backend} in {self.dtype}: {count(self.cases, 'case')}, {count(self.checks, 'check')}"]
        lines += [f"  not taken by {self.backend}: {reason}" for reason in self.refused]
        lines += [f"  left out: {note}" for note in self.notes]
        return "\n".join(lines)


def count(n: int, what: str) -> str:
    return f"{n} {what}{'' if n == 1 else 's'}"


# ---------------------------------------------------------------------------------------------------------- the public


def check_rule(name: str, backend: str = "numpy", dtype: str = "float64", case: Any = None) -> Report:
    """Put the rule of an op through everything: value, first and second order, dtypes, shapes, memory.

    Parameters
    ----------
    name : str
        The op.
    backend : str
        Where its arrays live.
    dtype : str
        Of its arrays. Derivatives are compared with central differences in float64 and complex128, and with those of the
        double dtype otherwise.
    case : int or Case, optional
        Only this one of the record's samples, or a sample of your own. Default: all samples and special points.

    Returns
    -------
    Report

    Raises
    ------
    AssertionError
        If the rule is wrong; the message lists every failure with its case and the rule's label.
    LookupError
        If there is no such op.

    Examples
    --------
    >>> from agrad.rules import case
    >>> from agrad.testing import check_rule
    >>> check_rule("matmul", case=case((2, 3), (3, 2))).cases
    1
    """
    op = rules.find(name)
    record = op.record
    if record is None:
        raise AssertionError(f"{name} has no rule, and is not declared not differentiable")
    report = Report(name, backend, dtype)
    adapter: Any = backends.find(backend)
    failures: list[str] = []
    if not record.complex and dtypes.of(dtype).kind == "complex":
        report.notes.append("complex numbers: the op takes real ones only")
        return report
    for i, sample in chosen(op, record, case):
        run_case(Subject(op, record, adapter, dtype, sample, i), report, failures)
    if case is None and dtype in DOUBLE:
        for special in record.special:
            run_point(op, record, adapter, dtype, special, report, failures)
    if not record.second:
        report.notes.append(f"second order: {record.note or 'the record gives no reason'}")
    if failures:
        shown = "\n\n".join(failures[:4])
        source = op.rule.source if op.rule is not None else "no plugin"
        raise AssertionError(f"the rule of {name} ({source}) fails {count(len(failures), 'check')} on {backend} in {dtype}:\n\n{shown}")
    return report


def check_plugin(name: str, backends: Sequence[str] | None = None, dtypes: Sequence[str] = DTYPES) -> list[Report]:
    """Check every rule of a plugin on every installed backend; what a plugin author's test suite calls.

    Parameters
    ----------
    name : str
        The entry point's name: the prefix that the plugin owns.
    backends : sequence of str, optional
        Default: all that are installed.
    dtypes : sequence of str

    Returns
    -------
    list of Report
        One per rule, backend and dtype; printed, each says what was checked and what was left out.

    Raises
    ------
    AssertionError
        If a rule is wrong or has no samples.
    LookupError
        If there is no such plugin.

    Examples
    --------
    >>> from agrad.testing import check_plugin
    >>> reports = check_plugin("searching", backends=["numpy"], dtypes=["float64"])
    >>> print(reports[-1])
    where on numpy in float64: 7 cases, 56 checks
    """
    names = names_of_plugin(name)
    reports, failures = [], []
    for op in names:
        if not has_samples(rules.find(op).record, rules.find(op).signature):
            failures.append(f"the rule of {op} has no samples: give samples=[case(...), ...]")
            continue
        for backend, dtype in product(installed() if backends is None else backends, dtypes):
            try:
                reports.append(check_rule(op, backend, dtype))
            except AssertionError as error:
                failures.append(str(error))
    if failures:
        raise AssertionError("\n\n".join(failures))
    return reports


def names_of_plugin(name: str) -> list[str]:
    """The ops that a plugin declares rules for and that take arrays."""
    sets = [rules.load(entry) for entry in rules.entry_points() if entry.name == name]
    if not sets:
        raise LookupError(f"no installed distribution has an entry point {name!r} in the group {rules.GROUP!r}")
    return sorted({op for one in sets if not one.override for op in one.records if takes_arrays(op)})


def takes_arrays(name: str) -> bool:
    return any(p.kind in ARRAY_KINDS for p in rules.find(name).signature.parameters)


def installed() -> list[str]:
    """Names of the backends whose library is there."""
    return [info.name for info in backends.available() if info.installed]


def chosen(op: Any, record: Any, case: Any) -> Iterable[tuple[int, Any]]:
    if isinstance(case, rules.Case):
        return [(0, case)]
    samples = samples_of(record, op.signature)
    if samples is None:
        raise AssertionError(f"the rule of {op.name} has no samples: give samples=[case(...), ...]")
    return enumerate(samples) if case is None else [(case, samples[case])]


# -------------------------------------------------------------------------------------------------------------- running

@contextmanager
def sealed(backend: Any) -> Iterator[None]:
    """Floating-point warnings of the numbers that we chose are not the caller's."""
    with backend.quiet() or nullcontext(), warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        yield


def run_case(s: Subject, report: Report, failures: list[str]) -> None:
    """All checks of one sample call; failures are collected."""
    with sealed(s.backend):
        try:
            s.prepare()
        except Refused as refusal:
            report.refused.append(str(refusal))
            return
        report.cases += 1
        for check in VALUE_CHECKS if s.record.family == "not_differentiable" else CHECKS:
            try:
                check(s)
                report.checks += 1
            except Refused as refusal:
                report.refused.append(str(refusal))
            except Exception as error:
                kind = "" if isinstance(error, AssertionError) else f"{type(error).__name__}: "
                failures.append(f"{s.call}: {check.__name__.replace('_', ' ')}: {kind}{error}")


def run_point(op: Any, record: Any, backend: Any, dtype: str, special: Any, report: Report, failures: list[str]) -> None:
    """One special point: with cotangent one, the gradients are those that the record says, recorded or not."""
    data = [np.asarray(v) for v in special.inputs if v is not None]
    if any(v.dtype.kind == "c" for v in data) is not (dtype == "complex128"):
        return
    s = Subject(op, record, backend, dtype, case_of_point(special, op.signature), 0)
    with sealed(backend):
        try:
            s.prepare()
        except Refused as refusal:
            report.refused.append(str(refusal))
            return
        ones = [None if g is None else s.array(np.ones_like(g), backend.neutral_dtype(c)) for g, c in zip(s.g, s.cotangents, strict=True)]
        operands = s.tensors(s.raws, [True] * len(s.raws))
        roots = [r for r in s.run(operands) if r.requires_grad]
        given = [engine.make_tensor(backend, g) for g in ones if g is not None]
        for create_graph in (False, True):
            found = autograd.grad(roots, operands, given, retain_graph=True, create_graph=create_graph, allow_unused=True)
            for k, (g, expected) in enumerate(zip(found, (e for e in special.gradients if e is not ...), strict=False)):
                if expected is not None and not equals(s.numbers(None if g is None else g.detach().array), expected):
                    world = " recorded" if create_graph else ""
                    failures.append(f"at the special point {special.inputs} the{world} gradient of {s.call.label(k)} is "
                                    f"{g}, the record says {expected}")
                else:
                    report.checks += 1


def equals(found: Any, expected: Any) -> bool:
    return found is not None and np.allclose(found, np.asarray(expected), rtol=1e-12, atol=0.0, equal_nan=True)
