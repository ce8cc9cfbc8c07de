"""A sample call of an op on one backend: its operands, how to run it, how to differentiate it.

Numbers are kept twice: as arrays of the backend in the dtype under test, and as NumPy arrays in double precision to
compare with. Must know no single backend.
"""

from collections.abc import Callable, Sequence
from functools import cached_property, reduce
from typing import Any

import numpy as np

from agrad import autograd, dtypes, levels
from agrad.cython_core import engine
from agrad.cython_core.engine import Tensor
from agrad.testing import differences
from agrad.testing.draw import Call


class Refused(Exception):
    """The backend itself does not take a call."""

    def __init__(self, call: object, error: Exception) -> None:
        super().__init__(f"{call}: {type(error).__name__}: {str(error).partition(chr(10))[0]}")


class Subject:
    """One sample call.

    Attributes
    ----------
    raws, cotangents : list
        Arrays of the backend: the operands that can carry gradients, and a cotangent per result, None for integers.
    values, g : list of numpy.ndarray
        The same numbers in double precision.
    results : list
        What the kernel gives.
    number : int
        Which of the record's samples.
    """

    def __init__(self, op: Any, record: Any, backend: Any, dtype: str, sample: Any, seed: tuple[int, ...]) -> None:
        self.op, self.record, self.backend, self.dtype = op, record, backend, dtype
        self.is_complex = dtypes.of(dtype).kind == "complex"
        self.double = "complex128" if self.is_complex else "float64"
        self.call = Call(op.signature, sample, record, self.is_complex, seed)
        self.rng, self.number = np.random.default_rng(seed), seed[-1] if seed else 0
        self.constants: dict[int, Any] = {}

    def prepare(self) -> None:
        """Make the operands, run the kernel, draw cotangents; Refused if the backend does not take the call."""
        self.raws = [self.array(v, self.dtype) for v in self.call.operands]
        self.values = [self.numbers(raw) for raw in self.raws]
        try:
            self.results = self.kernel(self.raws)
        except Exception as error:
            raise Refused(self.call, error) from error
        if any(not isinstance(n, int) for raw in self.results for n in self.backend.shape_of(raw)):
            raise Refused(self.call, ValueError("a result has an axis of unknown length"))
        self.cotangents = self.draw_cotangents(self.results)
        self.g = [self.numbers(raw) for raw in self.cotangents]

    # -- arrays

    def array(self, values: Any, dtype: Any = None) -> Any:
        """A new array of the backend, read-only where it is NumPy's; without a dtype in that of the values."""
        wanted = None if dtype is None else self.backend.to_dtype(dtype)
        raw = self.backend.from_numpy(np.asarray(values), wanted, None, True)
        if type(raw) is np.ndarray:
            raw.setflags(write=False)
        return raw

    def alike(self, values: Any, like: Any) -> Any:
        """An array with these values in the dtype of another."""
        return self.array(values, self.backend.neutral_dtype(like))

    def strided(self, values: Any, like: Any) -> Any:
        """An array with these values that is not contiguous."""
        return self.backend.xp.getitem(self.alike(np.stack([values, values + 1], axis=-1), like), (..., 0))

    def numbers(self, raw: Any) -> Any:
        """A NumPy array of a raw one, in double precision and with its own memory; None of None."""
        if raw is None:
            return None
        double = {"real": "float64", "complex": "complex128"}.get(self.backend.neutral_dtype(raw).kind)
        if double is not None:
            raw = self.backend.convert(raw, self.backend.to_dtype(double), None, None)
        return np.array(self.backend.to_numpy(raw))

    def draw_cotangents(self, results: Sequence[Any]) -> list[Any]:
        """A random cotangent for each result that can carry gradients."""
        return [self.cotangent(raw) if self.backend.is_differentiable(raw) else None for raw in results]

    def cotangent(self, raw: Any) -> Any:
        dtype = self.backend.neutral_dtype(raw)
        like = np.zeros(self.backend.shape_of(raw), "complex128" if dtype.kind == "complex" else "float64")
        return self.array(differences.direction(like, self.rng), dtype)

    def tensor(self, raw: Any) -> Tensor:
        return engine.make_tensor(self.backend, raw)

    def tensors(self, raws: Sequence[Any], tracked: Sequence[bool] | None = None) -> list[Tensor]:
        """Tensors of raw arrays, all of them tracked unless it says otherwise."""
        flags = zip(raws, [True] * len(raws) if tracked is None else tracked, strict=True)
        return [engine.make_tensor(self.backend, raw, requires_grad=flag) for raw, flag in flags]

    # -- running

    def constant(self, value: Any) -> Any:
        """An index array or mask as an array of the backend, made once."""
        return self.constants.setdefault(id(value), self.array(value))

    def kernel(self, raws: Sequence[Any]) -> list[Any]:
        """The raw results for raw operands."""
        args, kwargs = self.call.arguments_with(raws, self.constant, self.backend.to_dtype)
        results = outputs(reduce(getattr, self.op.name.split("."), self.backend.xp)(*args, **kwargs))
        return self.invariants(results, self.backend.xp)

    def invariants(self, results: list[Any], xp: Any) -> list[Any]:
        """What the record says of results that are determined only up to a sign, phase or order."""
        return results if self.record.invariants is None else list(self.record.invariants(results, xp))

    def evaluate(self, values: Sequence[Any]) -> list[Any]:
        """The kernel in double precision, NumPy arrays in and out."""
        return [self.numbers(raw) for raw in self.kernel([self.array(v) for v in values])]

    def run(self, operands: Sequence[Any]) -> list[Tensor]:
        """The op on Tensors."""
        def as_tensor(value: Any) -> Tensor:
            return self.tensor(self.constant(value))

        args, kwargs = self.call.arguments_with(operands, as_tensor, lambda dtype: dtype)
        return self.invariants(outputs(self.op.function(*args, **kwargs)), self.backend.facade)

    # -- differentiating

    def gradients(self, operands: Sequence[Any], cotangents: Sequence[Any]) -> list[Any]:
        """Raw gradients of the operands that are tracked Tensors, None for those that no result depends on."""
        inputs = [t for t in operands if isinstance(t, Tensor) and t.requires_grad]
        pairs = zip(self.run(operands), cotangents, strict=True)
        roots = [(r, self.tensor(g)) for r, g in pairs if g is not None and r.requires_grad]
        if not roots:
            return [None] * len(inputs)
        found = autograd.grad([r for r, _ in roots], inputs, [g for _, g in roots], allow_unused=True)
        return [None if g is None else g.array for g in found]

    @cached_property
    def first(self) -> list[Any]:
        """Raw gradients of all operands."""
        return self.gradients(self.tensors(self.raws), self.cotangents)

    @property
    def present(self) -> list[Any]:
        """The cotangents that there are, in double precision."""
        return [g for g in self.g if g is not None]

    def gradient_values(self, values: Sequence[Any]) -> list[Any]:
        """Gradients in double precision, as a function of the operands and of the cotangents that there are."""
        raws = [self.array(v) for v in values]
        n, given = len(self.raws), iter(raws[len(self.raws):])
        cotangents = [None if g is None else next(given) for g in self.cotangents]
        return [self.numbers(g) for g in self.gradients(self.tensors(raws[:n]), cotangents)]

    # -- moving

    @cached_property
    def along(self) -> list[Any]:
        """A raw direction to move each operand along."""
        pairs = enumerate(zip(self.values, self.raws, strict=True))
        return [self.alike(self.call.direction(k, value, self.rng), raw) for k, (value, raw) in pairs]

    @cached_property
    def changes(self) -> list[list[Any]]:
        """The results' central differences as each operand moves along its direction."""
        return [differences.slope(self.evaluate, self.values, k, self.numbers(t)) for k, t in enumerate(self.along)]

    @cached_property
    def moved(self) -> list[tuple[list[Tensor], list[Any]]]:
        """For each operand the results, and their tangents as it alone moves along its direction."""
        operands = [self.tensor(raw) for raw in self.raws]
        each = enumerate(map(self.tensor, self.along))
        return [self.forward(operands, [t if i == k else None for i in range(len(operands))]) for k, t in each]

    def forward(self, operands: Sequence[Tensor], tangents: Sequence[Any]) -> tuple[list[Tensor], list[Any]]:
        """The results and their tangents, by the op at a level of forward mode; None: an operand that does not move."""
        with levels.entered("dual") as level:
            pairs = zip(operands, tangents, strict=True)
            results = self.run([x if t is None else engine.wrap_level(level, x, t) for x, t in pairs])
            found = [levels.outside(level, r) for r in results]
        return [value for value, _, _ in found], [t for _, t, _ in found]

    def forward_over_reverse(self) -> list[Any]:
        """How gradients change as all operands move along their directions; None for those that stay."""
        with levels.entered("dual") as level:
            pairs = zip(self.raws, self.along, strict=True)
            inside = [engine.wrap_level(level, self.tensor(x), self.tensor(t)).requires_grad_() for x, t in pairs]
            results = [(r, g) for r, g in zip(self.run(inside), self.cotangents, strict=True) if r.requires_grad]
            if not results:
                return [None] * len(inside)
            roots, cotangents = [r for r, _ in results], [self.tensor(g) for _, g in results]
            found = autograd.grad(roots, inside, cotangents, allow_unused=True)
            return [None if g is None else levels.outside(level, g)[1] for g in found]

    @property
    def labels(self) -> list[str]:
        """What the operands are called."""
        return [name if i is None else f"{name}[{i}]" for name, i in self.call.places]

    def has_derivative(self, k: int) -> bool:
        """Whether the record promises a gradient for operand k."""
        return self.record.family == "flat" or self.record.derivatives.get(self.call.places[k][0]) is not None


Function = Callable[[Sequence[Any]], Sequence[Any]]


def outputs(result: Any) -> list[Any]:
    return list(result) if isinstance(result, (tuple, list)) else [result]
