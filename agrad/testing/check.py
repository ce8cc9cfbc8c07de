"""The generic checker: the rule of an op, on a backend, in a dtype, put through all of `checks` at all its samples and
special points. Must know no single backend and no single rule.
"""

import warnings
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from itertools import product
from typing import Any

import numpy as np

from agrad import backends, dtypes, loading, rules
from agrad.cython_core import engine
from agrad.testing.agreement import DOUBLE
from agrad.testing.checks import CHECKS, CHECKS_OF_UNTRACKED, Check, gradient_is_declared
from agrad.testing.draw import ARRAY_KINDS, case_of_point, samples_of
from agrad.testing.forward_checks import tangents_are_declared
from agrad.testing.subject import Refused, Subject

DTYPES = ("float64", "complex128", "float32", "complex64")
REMARKS = ("Casting complex values to real", r".*degrees of freedom is <= 0")     # of libraries, about our numbers
SHOWN = 6       # failures that a message shows in full


class Report:
    """What was checked of one op on one backend in one dtype.

    Attributes
    ----------
    op, backend, dtype : str
    cases, checks : int
        Sample calls and special points that ran, and single checks that passed.
    refused : list of str
        Calls that the backend itself does not take, with its reason.
    notes : list of str
        What was left out because the rule's record says so, with its reason.

    Examples
    --------
    >>> from agrad.testing import check_rule
    >>> print(check_rule("sin", case=1))
    sin on numpy in float64: 1 case, 17 checks
    """

    def __init__(self, op: str, backend: str, dtype: str) -> None:
        self.op, self.backend, self.dtype = op, backend, dtype
        self.cases = self.checks = 0
        self.refused: list[str] = []
        self.notes: list[str] = []

    def __str__(self) -> str:
        done = f"{count(self.cases, 'case')}, {count(self.checks, 'check')}"
        lines = [f"{self.op} on {self.backend} in {self.dtype}: {done}"]
        lines += [f"    not taken by {self.backend}: {reason}" for reason in self.refused]
        lines += [f"    left out: {note}" for note in self.notes]
        return "\n".join(lines)


def count(n: int, what: str) -> str:
    return f"{n} {what}{'' if n == 1 else 's'}"


def check_rule(name: str, backend: str = "numpy", dtype: str = "float64", case: Any = None, seed: int = 0) -> Report:
    """Put the rule of an op through everything: value, first and second order, shapes, dtypes, memory, parts of a call.

    Parameters
    ----------
    name : str
        The op.
    backend : str
        Where its arrays live.
    dtype : str
        Of its arrays. Derivatives are compared with central differences in float64 and complex128, and with those in
        double precision otherwise.
    case : int or Case, optional
        Only this one of the record's samples, or a sample of your own. Default: all samples and special points.
    seed : int
        Draws other numbers.

    Returns
    -------
    Report
        What was checked; printed, it also says what was left out, and why.

    Raises
    ------
    AssertionError
        If the rule is wrong; the message gives its plugin, and the case of every failure.
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
    record = record_of(op)
    if record is None:
        raise AssertionError(f"{name} has no rule, and no plugin declares it not differentiable")
    report = Report(name, backend, dtype)
    if not record.complex and dtypes.of(dtype).kind == "complex":
        report.notes.append("complex numbers: the op takes real ones only")
        return report
    adapter: Any = backends.find(backend)
    double = "complex128" if dtypes.of(dtype).kind == "complex" else "float64"  # what results are compared in
    lacking = [name for name in (dtype, double) if not adapter.has_dtype(dtypes.of(name))]
    if lacking:
        report.notes.append(f"everything: {backend} has no {lacking[0]} here")
        return report
    if not record.second:
        report.notes.append(f"second order: {record.note or 'the record gives no reason'}")
    failures: list[str] = []
    with sealed(adapter):
        for i, sample in chosen(op, record, case):
            run_case(Subject(op, record, adapter, dtype, sample, (seed, i)), report, failures)
        for special in record.special if case is None and dtype in DOUBLE else ():
            s = Subject(op, record, adapter, dtype, case_of_point(special, op.signature), (seed,))
            if s.is_complex is is_complex(special) and is_ready(s, report):
                run(gradient_is_declared(special), s, report, failures)
                run(tangents_are_declared(special), s, report, failures)
    if failures:
        shown = "\n\n".join(failures[:SHOWN])
        wrong = f"{rule_of(op)!r} fails {count(len(failures), 'check')} on {backend} in {dtype}"
        raise AssertionError(f"{wrong}:\n\n{shown}")
    return report


def check_plugin(name: str, backends: Sequence[str] | None = None, dtypes: Sequence[str] = DTYPES) -> list[Report]:
    """Check every rule of a plugin on every backend: what the test suite of a plugin calls.

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
        One per rule, backend and dtype. Those with calls that a backend did not take are printed too.

    Raises
    ------
    AssertionError
        If a rule is wrong or has no samples, or no backend takes any of them.
    LookupError
        If there is no such plugin.

    Examples
    --------
    >>> from agrad.testing import check_plugin
    >>> reports = check_plugin("sorting", backends=["numpy"], dtypes=["float64"])
    >>> print(*reports, sep="\\n")
    argsort on numpy in float64: 7 cases, 35 checks
    sort on numpy in float64: 7 cases, 119 checks
    """
    reports, failures = [], []
    for op in names_of_plugin(name):
        mine, wrong = check_everywhere(op, installed() if backends is None else backends, dtypes)
        reports += mine
        failures += wrong
        if not wrong and not any(report.cases for report in mine):
            failures.append("\n".join([f"no backend took any sample of {op}:", *map(str, mine)]))
    for report in reports:
        if report.refused:
            print(report)
    if failures:
        raise AssertionError("\n\n".join(failures))
    return reports


def check_everywhere(op: str, names: Sequence[str], dtypes: Sequence[str]) -> tuple[list[Report], list[str]]:
    """The reports on one op, and what failed."""
    reports, failures = [], []
    for backend, dtype in product(names, dtypes):
        try:
            reports.append(check_rule(op, backend, dtype))
        except AssertionError as error:
            failures.append(str(error))
    return reports, failures


def names_of_plugin(name: str) -> list[str]:
    """The ops of a plugin that take arrays."""
    owner = loading.load_owner(name)
    if owner is None:
        raise LookupError(f"no installed distribution has an entry point {name!r} in the group {loading.GROUP!r}")
    return sorted(op for op in owner.records if takes_arrays(op))


def record_of(op: Any) -> Any:
    """The record whose rule acts here: inside `agrad.rules.override`, that of the overriding set."""
    sets: Any = engine.get_mode().overrides or ()
    acting = (one.records[op.name] for one in sets if op.name in one.records)
    return next(acting, op.record)


def rule_of(op: Any) -> Any:
    """The rule that acts here."""
    sets: Any = engine.get_mode().overrides or ()
    return loading.find_override(op, sets)


def takes_arrays(name: str) -> bool:
    return any(p.kind in ARRAY_KINDS for p in rules.find(name).signature.parameters)


def installed() -> list[str]:
    """Names of the backends whose library is there and finds a device."""
    return [info.name for info in backends.available() if info.installed and info.reason is None]


def chosen(op: Any, record: Any, case: Any) -> Iterable[tuple[int, Any]]:
    """The sample calls to check, with their numbers."""
    if isinstance(case, rules.Case):
        return [(0, case)]
    samples = samples_of(record, op.signature)
    if not samples:
        raise AssertionError(f"the rule of {op.name} has no samples: give it samples=[case(...), ...]")
    return enumerate(samples) if case is None else [(case, samples[case])]


def is_complex(special: rules.Point) -> bool:
    return any(np.asarray(value).dtype.kind == "c" for value in special.inputs)


# -------------------------------------------------------------------------------------------------------------- running


@contextmanager
def sealed(backend: Any) -> Iterator[None]:
    """Warnings about the numbers that we chose are not the caller's."""
    with backend.quiet() or nullcontext(), warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        for remark in REMARKS:
            warnings.filterwarnings("ignore", remark)
        yield


def is_ready(s: Subject, report: Report) -> bool:
    """Whether the backend takes the call; if not, the report says why."""
    try:
        s.prepare()
    except Refused as refusal:
        report.refused.append(str(refusal))
        return False
    report.cases += 1
    return True


def run_case(s: Subject, report: Report, failures: list[str]) -> None:
    """All checks of one sample call; failures are collected."""
    if is_ready(s, report):
        for check in CHECKS_OF_UNTRACKED if s.record.family == "not_differentiable" else CHECKS:
            run(check, s, report, failures)


def run(check: Check, s: Subject, report: Report, failures: list[str]) -> None:
    """One check; if it fails, its name and the call go before the message."""
    try:
        check(s)
        report.checks += 1
    except Refused as refusal:
        report.refused.append(str(refusal))
    except Exception as error:
        kind = "" if isinstance(error, AssertionError) else f"{type(error).__name__}: "
        failures.append(f"{s.call}: {check.__name__.replace('_', ' ')}: {kind}{error}")
