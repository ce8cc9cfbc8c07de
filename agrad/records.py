"""What a rule set says of one op: its record, and the sample calls and special points that check it.

The fields are specified in `agrad.rules`. Must know no engine, no backend and no single rule.
"""

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple


class RuleError(TypeError):
    """A rule set is declared wrongly; the message names plugin, distribution, op and parameter."""


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


def definite(shape: tuple[int, ...]) -> Sample:
    """Hermitian matrices, eigenvalues positive and apart; they are moved along Hermitian directions only."""
    return Sample("definite", shape)


def hermitian(shape: tuple[int, ...]) -> Sample:
    """Hermitian matrices, eigenvalues apart; they are moved along Hermitian directions only."""
    return Sample("hermitian", shape)


def regular(shape: tuple[int, ...]) -> Sample:
    """Matrices of full rank, far from a lower one; their real parts too."""
    return Sample("regular", shape)


def spread(shape: tuple[int, ...]) -> Sample:
    """Matrices with singular values that are apart, and eigenvalues too if they are square."""
    return Sample("spread", shape)


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
        batch: Any = None,
        once: bool = False,
        node: Any = None,
        view: bool | str = False,
        complex: bool = True,
        domain: Any = None,
        samples: Iterable[Case] | None = None,
        special: Iterable[Point] = (),
        tol: float | None = None,
        second: bool = True,
        invariants: Callable[..., Any] | None = None,
        note: str = "",
    ) -> None:
        self.family, self.name, self.derivatives, self.joint = family, name, derivatives, joint
        self.scalars, self.jvp, self.linear_part, self.once = scalars, jvp, linear_part, once
        self.batch = batch
        self.node, self.view, self.complex, self.domain = node, view, complex, domain
        self.samples, self.special, self.tol, self.second = samples, tuple(special), tol, second
        self.invariants, self.note = invariants, note
        self.kernels: dict[str, Any] = {}  # of an op that the set adds, filled in when it is installed

    def __repr__(self) -> str:
        return f"<record {self.name} ({self.family})>"
