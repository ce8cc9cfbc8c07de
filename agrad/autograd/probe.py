"""A function at a point: what it gives there and nearby, and its derivatives there. For `gradcheck`.

Numbers are kept as NumPy arrays in double precision, and inputs are moved through copies, so that arrays which cannot
be written are as good as others. Must know no backend and no rule.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np

from agrad import dtypes, levels
from agrad.autograd import grad
from agrad.autograd.differences import slope
from agrad.cython_core import engine
from agrad.cython_core.engine import Tensor

Values = np.ndarray[Any, Any]
Direction = tuple[Values, Values]       # along the real axis, along the imaginary one
Pair = tuple[Values, Values | None]     # changes along these; None for the second of a real input
DOUBLES = {"real": "float64", "complex": "complex128"}
NOT_REENTRANT = (
    "Backward is not reentrant, i.e., running backward with same input and grad_output multiple times gives different "
    "values, although analytical gradient matches numerical gradient.The tolerance for nondeterminism was {}.\n\n"
    "If an op is random or adds in any order on purpose, allow for that with nondet_tol=<tolerance>."
)


class GradcheckError(RuntimeError):
    """What `gradcheck` and `gradgradcheck` raise where derivatives are wrong."""

    __module__ = "agrad.autograd.gradcheck"     # where it is public


class Options(NamedTuple):
    """How to check."""

    eps: float
    atol: float
    rtol: float
    nondet_tol: float
    check_grad_dtypes: bool
    fast_mode: bool


def as_tuple(value: Any) -> tuple[Any, ...]:
    return tuple(value) if isinstance(value, (tuple, list)) else (value,)


def numbers(t: Tensor) -> Values:
    """A copy of a Tensor's values, in double precision."""
    backend = t.backend_
    raw = t.detach().array
    double = DOUBLES.get(t.dtype.kind)
    if double is not None and backend.has_dtype(dtypes.of(double)):
        raw = backend.convert(raw, backend.to_dtype(double), None, None)
    values = np.array(backend.to_numpy(raw))
    return values.astype(double or "float64")


def with_values(like: Tensor, values: Values) -> Tensor:
    """A new Tensor with these values, on the backend and the device of another and in its dtype."""
    backend = like.backend_
    made = backend.from_numpy(np.asarray(values), backend.to_dtype(like.dtype), like.device, True)
    return engine.make_tensor(backend, backend.normalise(made))


def is_complex(t: Tensor) -> bool:
    return bool(t.dtype.kind == "complex")


class Probe:
    """A function at a point: what it gives there, what it gives near there, and gradients.

    Attributes
    ----------
    inputs, outputs : list of Tensor
        Those that derivatives are checked of: the ones that require grad.
    """

    def __init__(self, func: Callable[..., Any], arguments: tuple[Any, ...], options: Options) -> None:
        self.func, self.arguments, self.options = func, arguments, options
        self.places = [i for i, t in enumerate(arguments) if isinstance(t, Tensor) and t.requires_grad]
        self.inputs: list[Tensor] = [arguments[i] for i in self.places]
        self.values = [numbers(t) for t in self.inputs]
        self.results = self.call(arguments)
        self.differentiable = [i for i, y in enumerate(self.results) if y.requires_grad]
        self.outputs = [self.results[i] for i in self.differentiable]
        self.rng = np.random.default_rng(0)
        self.directions = [self.directions_of(value) for value in self.values]

    def call(self, arguments: Sequence[Any]) -> tuple[Tensor, ...]:
        """What the function gives, which must be Tensors."""
        results = as_tuple(self.func(*arguments))
        for y in results:
            if not isinstance(y, Tensor):
                raise TypeError(f"gradcheck expects func to return Tensors, but got {type(y).__name__}")
        return results

    # -- differences

    @contextmanager
    def moved(self, values: Sequence[Values]) -> Iterator[list[Any]]:
        """The arguments with other values. Leaves are changed themselves, so that captured ones move, too."""
        arguments, before = list(self.arguments), []
        try:
            for place, t, old, new in zip(self.places, self.inputs, self.values, values, strict=True):
                if new is old:
                    continue
                other = with_values(t, new)
                if t.is_leaf and t._base is None:
                    before.append((t, t.data))
                    t.data = other
                else:
                    arguments[place] = other.requires_grad_()
            yield arguments
        finally:
            for t, data in before:
                t.data = data

    def evaluate(self, values: Sequence[Values]) -> list[Values]:
        """What the function gives at other values of the inputs."""
        with self.moved(values) as arguments:
            results = self.call(arguments)
            for before, after in zip(self.results, results, strict=True):
                for what in ("shape", "dtype"):
                    a, b = getattr(before, what), getattr(after, what)
                    if a != b:
                        raise AssertionError(
                            f"Expected `func` to return outputs with the same {what} when inputs are perturbed by "
                            f"{self.options.eps}, but got: {what}s {a} and {b}."
                        )
            return [numbers(y) for y in results]    # here: an output may be the input itself

    def changes(self, k: int, directions: Iterable[Values]) -> list[Values]:
        """For each result: a row per direction, how it changes as one input moves that way."""
        step = self.options.eps
        rows = [slope(self.evaluate, self.values, k, along, step) for along in directions]
        return [np.array([row[i] for row in rows]).reshape(len(rows), y.size) for i, y in enumerate(self.results)]

    @cached_property
    def numerical(self) -> list[list[Pair]]:
        """For each input, what `changes_along` gives."""
        return [self.changes_along(k, directions) for k, directions in enumerate(self.directions)]

    def changes_along(self, k: int, directions: Sequence[Direction]) -> list[Pair]:
        """For each result: its changes along the real axis, and along the imaginary one where an input has that."""
        found = self.changes(k, (along for along, _ in directions))
        if self.values[k].dtype.kind != "c":
            return [(change, None) for change in found]
        return list(zip(found, self.changes(k, (1j * aside for _, aside in directions)), strict=True))

    def whole(self, k: int, i: int) -> Pair:
        """The changes of one output as each element of one input moves, in fast mode, too."""
        return self.changes_along(k, [(unit, unit) for unit in units(self.values[k].shape)])[self.differentiable[i]]

    # -- walks

    def analytical(self, y: Tensor, seeds: Iterable[Values]) -> list[Values]:
        """For each input: a column per cotangent of one output, the gradient. A second walk must give the same."""
        cotangents = [with_values(y, seed) for seed in seeds]
        first, again = ([self.walk(y, g) for g in cotangents] for _ in range(2))
        found = []
        for k, value in enumerate(self.values):
            shape = len(cotangents), value.size
            rows, others = (np.array([walk[k] for walk in walks]).reshape(shape) for walks in (first, again))
            if np.max(np.abs(rows - others), initial=0.0) > self.options.nondet_tol:
                raise GradcheckError(NOT_REENTRANT.format(self.options.nondet_tol))
            found.append(rows.T)
        return found

    def walk(self, y: Tensor, cotangent: Tensor, is_grads_batched: bool = False) -> list[Values]:
        """Gradients of all inputs, zeros where there is none."""
        found = grad(
            y, self.inputs, cotangent, retain_graph=True, allow_unused=True, is_grads_batched=is_grads_batched
        )
        for t, g in zip(self.inputs, found, strict=True):
            if self.options.check_grad_dtypes and g is not None and g.dtype != t.dtype:
                raise GradcheckError("Gradient has dtype mismatch")
        pairs = zip(found, self.values, strict=True)
        return [np.zeros_like(value) if g is None else numbers(g) for g, value in pairs]

    def agree(self, analytical: Any, numerical: Any, scale: float = 1.0) -> bool:
        """Whether derivatives are close; the absolute tolerance is that of `scale` elements."""
        return bool(np.allclose(analytical, numerical, self.options.rtol, self.options.atol * scale))

    # -- tangents

    def push(self, *tangents: Tensor | None) -> tuple[Tensor, ...]:
        """The tangents of all outputs, zeros where there is none; inputs without a tangent are plain."""
        arguments = list(self.arguments)
        with levels.entered("dual", records=True) as level:
            for place, t, tangent in zip(self.places, self.inputs, tangents, strict=True):
                plain = t.detach()
                arguments[place] = plain if tangent is None else engine.wrap_level(level, plain, tangent)
            results = self.call(arguments)
            return tuple(self.tangent(level, results[i]) for i in self.differentiable)

    def tangent(self, level: Any, y: Tensor) -> Tensor:
        value, tangent, _ = levels.outside(level, y)
        if tangent is None:
            return engine.zeros_like(value)
        if self.options.check_grad_dtypes and tangent.dtype != value.dtype:
            raise GradcheckError("Forward AD gradient has dtype mismatch.")
        return tangent

    def tangents(self, k: int, directions: Iterable[Values]) -> list[Values]:
        """For each output: a row per direction of one input."""
        rows = []
        for along in directions:
            given = [with_values(t, along if j == k else np.zeros(t.shape)) for j, t in enumerate(self.inputs)]
            rows.append([numbers(t) for t in self.push(*given)])
        return [np.array([row[i] for row in rows]).reshape(len(rows), y.size) for i, y in enumerate(self.outputs)]

    # -- directions

    def directions_of(self, value: Values) -> Sequence[Direction]:
        """Along which an input is moved: each of its elements, or all at once in fast mode."""
        if self.options.fast_mode:
            return [(self.random(value.shape), self.random(value.shape))]
        return [(unit, unit) for unit in units(value.shape)]

    def random(self, shape: tuple[int, ...]) -> Values:
        """Positive numbers of norm 1: tolerances add up over their sums."""
        found = self.rng.uniform(size=shape)
        return found / max(np.linalg.norm(found), np.finfo(float).tiny)

    def noise(self, like: Tensor) -> Values:
        """Normal random numbers for a tensor."""
        found = self.rng.normal(size=like.shape)
        return found + 1j * self.rng.normal(size=like.shape) if is_complex(like) else found


def units(shape: tuple[int, ...]) -> Iterator[Values]:
    for place in np.ndindex(shape):
        unit = np.zeros(shape)
        unit[place] = 1.0
        yield unit
