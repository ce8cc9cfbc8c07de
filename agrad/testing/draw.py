"""From a rule's samples to arrays: the same numbers for every backend, drawn from a seed that the op's name gives.

Numbers are drawn and kept as NumPy arrays in double precision; only a call on a backend turns them into its arrays.
Must know no single backend and no single rule.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any
from zlib import crc32

import numpy as np

from agrad import standard
from agrad.records import Case, Point, Sample
from agrad.testing.differences import direction

Function = Callable[[Any], Any]
ARRAY_KINDS = ("array", "array?", "array*")
IMAGINARY = 0.6     # imaginary parts lie within this: clear of the branch cuts that domains of real numbers avoid
DOMAIN = (-2.0, 2.0)
NUMBER = Sample("number")   # a Python number instead of an array
HERMITIAN = ("definite", "hermitian")

UNARY = ((), (3,), (2, 3), (0,), (2, 0))
BINARY = (
    ((), ()), ((3,), (3,)), ((2, 3), (3,)), ((2, 1), (1, 3)), ((), (2,)), ((0,), (1,)), ((3,), NUMBER), (NUMBER, (3,)),
)
WITH_DEFAULT_SAMPLES = ("elementwise", "select", "not_differentiable")


def samples_of(record: Any, signature: standard.Signature) -> list[Case] | None:
    """The sample calls of a record; None if it declares none and has no usual ones."""
    if record.samples is not None:
        return list(record.samples)
    required = [p for p in signature.parameters if p.default is standard.REQUIRED]
    if record.family not in WITH_DEFAULT_SAMPLES or not required or any(p.kind != "array" for p in required):
        return None
    if len(required) == 1:
        return [Case((shape,), {}) for shape in UNARY]
    extra = ((2, 3),) * (len(required) - 2)
    return [Case((*shapes, *extra), {}) for shapes in BINARY]


class Call:
    """A sample call with its numbers drawn.

    Attributes
    ----------
    arguments : dict
        What was drawn, or the literal argument, by parameter.
    places : list of (str, int or None)
        The arrays of floating or complex numbers: their parameter, and their position in a variadic one.
    """

    def __init__(
        self, signature: standard.Signature, case: Case, record: Any, is_complex: bool, seed: tuple[int, ...]
    ) -> None:
        self.signature, self.case = signature, case
        rng = np.random.default_rng([crc32(signature.name.encode()), *seed])
        self.given = {parameter.name: value for parameter, value in bound(signature, case)}
        self.arguments: dict[str, Any] = {}
        for parameter, value in bound(signature, case):
            draw = Drawer(rng, domain_of(record, parameter.name), is_complex)
            self.arguments[parameter.name] = draw.argument(parameter, value)
        self.places = list(self._find_places())

    def _find_places(self) -> Iterator[tuple[str, int | None]]:
        for p in self.signature.parameters:
            value = self.arguments.get(p.name)
            if p.kind == "array*" and value is not None:
                yield from ((p.name, i) for i, part in enumerate(value) if is_inexact(part))
            elif p.kind in ARRAY_KINDS and is_inexact(value):
                yield p.name, None

    def direction(self, k: int, like: Any, rng: np.random.Generator) -> Any:
        """A random direction to move operand k along: a Hermitian one if that is all that it stands for."""
        along = direction(like, rng)
        return hermitian_part(along) if self._is_hermitian(k) else along

    def _is_hermitian(self, k: int) -> bool:
        if k >= len(self.places):   # a cotangent
            return False
        name, i = self.places[k]
        sample = self.given[name] if i is None else self.given[name][i]
        return isinstance(sample, Sample) and sample.kind in HERMITIAN

    @property
    def operands(self) -> list[Any]:
        """The arrays at `places`."""
        return [self.arguments[name] if i is None else self.arguments[name][i] for name, i in self.places]

    def arguments_with(
        self, operands: Sequence[Any], array: Function, dtype: Function
    ) -> tuple[list[Any], dict[str, Any]]:
        """Positional and keyword arguments with these operands, all other arrays and dtypes converted."""
        kinds = {p.name: p.kind for p in self.signature.parameters}
        given = dict(self.arguments)
        for name, value in given.items():
            if kinds[name] in (*ARRAY_KINDS, "index", "index?", "key"):
                given[name] = convert_arrays(value, array)
            elif kinds[name] == "dtype" and value is not None:
                given[name] = dtype(value)
        for (name, i), operand in zip(self.places, operands, strict=True):
            if i is None:
                given[name] = operand
            else:
                given[name][i] = operand
        positional: list[Any] = []
        for p in self.signature.parameters:
            if p.name not in given or p.role == "keyword_only":
                break
            value = given.pop(p.name)
            positional.extend(value if p.role == "var_positional" else (value,))
        return positional, given

    def __str__(self) -> str:
        named = (f"{name}={show(value)}" for name, value in self.case.kwargs.items())
        return f"case({', '.join([*map(show, self.case.args), *named])})"


def is_inexact(value: Any) -> bool:
    return isinstance(value, np.ndarray) and value.dtype.kind in "fc"


def adjoint(matrices: Any) -> Any:
    return np.conj(np.swapaxes(matrices, -1, -2))


def hermitian_part(matrices: Any) -> Any:
    return (matrices + adjoint(matrices)) / 2


def convert_arrays(value: Any, convert: Function) -> Any:
    """Every NumPy array in an argument converted; keys may hold them in tuples, variadic parameters in lists."""
    if isinstance(value, np.ndarray):
        return convert(value)
    return type(value)(convert_arrays(part, convert) for part in value) if type(value) in (tuple, list) else value


def bound(signature: standard.Signature, case: Case) -> Iterator[tuple[standard.Parameter, Any]]:
    """The arguments of a case with their parameters."""
    by_name = dict(zip(signature.bind_names, case.args, strict=False)) | case.kwargs
    unknown = by_name.keys() - signature.positions.keys()
    if unknown or len(case.args) > len(signature.parameters):
        raise ValueError(f"{case} does not fit {signature.name}{signature.text}")
    return ((p, by_name[p.name]) for p in signature.parameters if p.name in by_name)


def domain_of(record: Any, parameter: str) -> tuple[float, float]:
    domain = record.domain
    if isinstance(domain, dict):
        domain = domain.get(parameter)
    return DOMAIN if domain is None else domain


def case_of_point(special: Point, signature: standard.Signature) -> Case:
    """A special point as a case: its inputs are those of the array parameters, in their order."""
    names = [p.name for p in signature.parameters if p.kind in ARRAY_KINDS]
    given = [None if value is None else Sample("values", data=value) for value in special.inputs]
    return Case((), dict(zip(names, given, strict=False)) | special.kwargs)


def show(value: Any) -> str:
    if isinstance(value, Sample):
        return {"values": f"values({value.data})", "number": "number"}.get(value.kind, f"{value.kind}({value.shape})")
    if isinstance(value, (tuple, list)) and any(isinstance(part, (Sample, tuple, list)) for part in value):
        inside = ", ".join(map(show, value))
        return f"[{inside}]" if isinstance(value, list) else f"({inside}{',' if len(value) == 1 else ''})"
    return repr(value)


class Drawer:
    """Draws the argument of one parameter."""

    def __init__(self, rng: np.random.Generator, domain: tuple[float, float], is_complex: bool) -> None:
        self.rng, self.is_complex = rng, is_complex
        self.low, self.high = domain

    def argument(self, parameter: standard.Parameter, value: Any) -> Any:
        """An array for a shape or sample, anything else as it is."""
        if parameter.kind == "array*":
            return [self.operand(part) for part in value]
        return self.operand(value) if parameter.kind in ARRAY_KINDS else self.inside(value)

    def operand(self, value: Any) -> Any:
        return self.numbers(value) if isinstance(value, tuple) and not isinstance(value, Sample) else self.inside(value)

    def inside(self, value: Any) -> Any:
        """A literal argument, with the samples in it drawn."""
        if isinstance(value, Sample):
            return getattr(self, value.kind)(value)
        return type(value)(self.inside(part) for part in value) if type(value) in (tuple, list) else value

    def numbers(self, shape: tuple[int, ...]) -> Any:
        """Any numbers of the domain."""
        return self.with_imaginary(np.asarray(self.rng.uniform(self.low, self.high, shape)))

    def with_imaginary(self, real: Any) -> Any:
        """Complex if that is under test; always an array, though NumPy's arithmetic makes scalars of 0-d ones."""
        return np.asarray(real + 1j * self.rng.uniform(-IMAGINARY, IMAGINARY, real.shape)) if self.is_complex else real

    def number(self, sample: Sample) -> Any:
        return float(self.rng.uniform(self.low, self.high))

    def ints(self, sample: Sample) -> Any:
        return np.asarray(self.rng.integers(int(sample.low), int(sample.high), sample.shape))

    def mask(self, sample: Sample) -> Any:
        return np.asarray(self.rng.random(sample.shape) < 0.5)

    def distinct(self, sample: Sample) -> Any:
        """Evenly spread over the domain, shuffled, and moved by less than a third of what lies between two."""
        n = int(np.prod(sample.shape))
        gap = (self.high - self.low) / (n + 1)
        places = self.low + gap * (1 + self.rng.permutation(n)) + self.rng.uniform(-gap / 3, gap / 3, n)
        return self.with_imaginary(places.reshape(sample.shape))

    def definite(self, sample: Sample) -> Any:
        frame = self.frame(sample.shape[:-1])
        return hermitian_part(frame * self.apart(sample.shape[:-1], 0.5, 2.0)[..., None, :] @ adjoint(frame))

    def hermitian(self, sample: Sample) -> Any:
        frame = self.frame(sample.shape[:-1])
        return hermitian_part(frame * self.apart(sample.shape[:-1], -1.5, 2.0)[..., None, :] @ adjoint(frame))

    def regular(self, sample: Sample) -> Any:
        """Some columns or rows of a square matrix whose Hermitian part is definite."""
        n = max(sample.shape[-2:])
        square = self.definite(Sample("definite", (*sample.shape[:-2], n, n)))
        turn = self.frame((*sample.shape[:-2], n))
        return (square + 0.5 * (turn - adjoint(turn)))[..., :sample.shape[-2], :sample.shape[-1]]

    def spread(self, sample: Sample) -> Any:
        """The frames of a square matrix are so near to each other that the eigenvalues are near the singular values."""
        *batch, rows, columns = sample.shape
        n = min(rows, columns)
        left, right = self.frame((*batch, rows)), self.frame((*batch, columns))
        if rows == columns:
            right = left @ np.linalg.qr(np.eye(n) + 0.1 / max(n, 1) * right)[0]
        return left[..., :n] * self.apart((*batch, n), 0.5, 2.5)[..., None, :] @ adjoint(right[..., :n])

    def frame(self, shape: tuple[int, ...]) -> Any:
        """Random orthogonal or unitary matrices of the size that the last axis says."""
        shape = (*shape, shape[-1])
        real = self.rng.normal(size=shape)
        return np.linalg.qr(real + 1j * self.rng.normal(size=shape) if self.is_complex else real)[0]

    def apart(self, shape: tuple[int, ...], low: float, high: float) -> Any:
        """Descending numbers between two, evenly spread and then moved by less than a tenth of what lies between."""
        gap = (high - low) / max(shape[-1], 1)
        return high - gap * (np.arange(shape[-1]) + 0.5 + self.rng.uniform(-0.1, 0.1, shape))

    def values(self, sample: Sample) -> Any:
        """Floating and complex data take the dtype under test, integers and booleans keep theirs."""
        data = np.asarray(sample.data)
        return data.astype(complex) if self.is_complex and data.dtype.kind == "f" else data
