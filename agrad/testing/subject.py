"""A sample call of an op on one backend: its operands, how to run it, how to differentiate it. Must know no single backend.

Numbers are kept twice: as arrays of the backend in the dtype under test, and as NumPy arrays in double precision for the comparison.
"""

from collections.abc import Sequence
from functools import cached_property, reduce
from typing import Any

import numpy as np

from agrad import autograd, dtypes
from agrad.cython_core import engine
from agrad.cython_core.engine import Tensor
from agrad.testing import differences
from agrad.testing.draw import Call


class Refused(Exception):  # noqa: N818  not an error
    """The backend itself does not take a call."""

    def __init__(self, call: object, error: Exception) -> None:
        super().__init__(f"{call}: {type(error).__name__}: {str(error).partition(chr(10))[0]}")

class Subject:
    """One sample call of an op on a backend: its operands, how to run it, and how to differentiate it."""

    def __init__(self, op: Any, record: Any, backend: Any, dtype: str, sample: Any, seed: int) -> None:
        self.op, self.record, self.backend, self.dtype = op, record, backend, dtype
        self.complex_ = dtypes.of(dtype).kind == "complex"
        self.double = "complex128" if self.complex_ else "float64"
        self.call = Call(op.signature, sample, record, self.complex_, seed)
        self.rng = np.random.default_rng(seed)
        self.constants: dict[int, Any] = {}

    def __str__(self) -> str:
        return f"{self.op.name}, {self.call} on {self.backend.name} in {self.dtype}"

    # -- arrays

    def array(self, values: Any, dtype: Any = None) -> Any:
        """A new array of the backend, read-only where NumPy allows it; dtype None: as the values have it."""
        raw = self.backend.from_numpy(np.asarray(values), None if dtype is None else self.backend.to_dtype(dtype), None, True)
        if type(raw) is np.ndarray:
            raw.setflags(write=False)
        return raw

    def numbers(self, raw: Any) -> Any:
        """A NumPy array of a raw one, in double precision; None of None."""
        if raw is None:
            return None
        kind = self.backend.neutral_dtype(raw).kind
        if kind in ("real", "complex"):
            raw = self.backend.convert(raw, self.backend.to_dtype("float64" if kind == "real" else "complex128"), None, None)
        return np.asarray(self.backend.to_numpy(raw))

    def prepare(self) -> None:
        """Draw operands and cotangents, and run the kernel; Refused if the backend does not take the call."""
        self.raws = [self.array(v, self.double if v.dtype.kind == "c" and not self.complex_ else self.dtype) for v in self.call.operands]
        self.values = [self.numbers(raw) for raw in self.raws]
        try:
            self.results = self.kernel(self.raws)
        except Exception as error:
            raise Refused(self.call, error) from error
        self.floating = [self.backend.is_differentiable(raw) for raw in self.results]
        self.cotangents = [self.cotangent(raw) if f else None for raw, f in zip(self.results, self.floating, strict=True)]
        self.g = [self.numbers(raw) for raw in self.cotangents]

    def cotangent(self, raw: Any) -> Any:
        dtype = self.backend.neutral_dtype(raw)
        like = np.zeros(self.backend.shape_of(raw), "complex128" if dtype.kind == "complex" else "float64")
        return self.array(differences.direction(like, self.rng), dtype)

    # -- running

    def constant(self, value: Any) -> Any:
        """An index array or mask as an array of the backend, made once."""
        return self.constants.setdefault(id(value), self.array(value))

    def kernel(self, raws: Sequence[Any]) -> list[Any]:
        """The raw results for raw operands."""
        args, kwargs = self.call.arguments_with(raws, self.constant, self.backend.to_dtype)
        return outputs(reduce(getattr, self.op.name.split("."), self.backend.xp)(*args, **kwargs))

    def evaluate(self, values: Sequence[Any]) -> list[Any]:
        """The kernel in double precision, NumPy arrays in and out."""
        return [self.numbers(raw) for raw in self.kernel([self.array(v, v.dtype.name) for v in values])]

    def tensors(self, raws: Sequence[Any], tracked: Sequence[bool]) -> list[Tensor]:
        return [engine.make_tensor(self.backend, raw, requires_grad=t) for raw, t in zip(raws, tracked, strict=True)]

    def run(self, operands: Sequence[Any]) -> list[Tensor]:
        """The op on Tensors."""
        def as_tensor(value: Any) -> Tensor:
            return engine.make_tensor(self.backend, self.constant(value))

        args, kwargs = self.call.arguments_with(operands, as_tensor, lambda dtype: dtype)
        return outputs(self.op.function(*args, **kwargs))

    def gradients(self, raws: Sequence[Any], cotangents: Sequence[Any], tracked: Sequence[bool] | None = None) -> list[Any]:
        """Raw gradients of the tracked operands (None: of all), None where there is none."""
        tracked = [True] * len(raws) if tracked is None else tracked
        operands = self.tensors(raws, tracked)
        results = self.run(operands)
        inputs = [t for t, wanted in zip(operands, tracked, strict=True) if wanted]
        roots = [(r, engine.make_tensor(self.backend, g)) for r, g in zip(results, cotangents, strict=True) if g is not None and r.requires_grad]
        if not roots:
            return [None] * len(inputs)
        found = autograd.grad([r for r, _ in roots], inputs, [g for _, g in roots], allow_unused=True)
        return [None if g is None else g.array for g in found]

    def gradient_values(self, values: Sequence[Any]) -> list[Any]:
        """First-order gradients in double precision as a function of operands and cotangents; None for those without a path."""
        raws = [self.array(v, v.dtype.name) for v in values]
        n, given = len(self.raws), iter(raws[len(self.raws):])
        return [self.numbers(g) for g in self.gradients(raws[:n], [None if g is None else next(given) for g in self.cotangents])]

    def has_derivative(self, k: int) -> bool:
        """Whether the record promises a gradient for operand k."""
        name = self.call.places[k][0]
        return self.record.joint is not None or self.record.family == "flat" or self.record.derivatives.get(name) is not None


def outputs(result: Any) -> list[Any]:
    return list(result) if isinstance(result, (tuple, list)) else [result]
