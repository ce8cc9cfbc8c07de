"""Tensor's random methods: they fill in place, on backends without writes by a new array.

Must know no single backend and no rule.
"""

from collections.abc import Callable
from typing import Any

from agrad.autograd.grad_mode import no_grad
from agrad.creation import call
from agrad.cython_core.engine import Tensor, is_grad_enabled
from agrad.draws import (
    ANY,
    INTEGERS,
    below,
    check_probability,
    check_std,
    drawn_like,
    exponential,
    integers,
    most,
    standard_normal,
    uniform,
)
from agrad.dtype_functions import finfo
from agrad.generator import Generator
from agrad.random import bernoulli


def uniform_(self: Tensor, from_: float = 0.0, to: float = 1.0, *, generator: Generator | None = None) -> Tensor:
    """Fill with uniform numbers from [from, to), in place."""
    if self.dtype.kind in ("real", "complex"):
        highest = finfo(self.dtype).max
        for end, value in (("from", from_), ("to", to), ("to - from", to - from_)):
            if not -highest <= value <= highest:
                raise RuntimeError(f"uniform_(): {end} is out of bounds for {self.dtype}: {value}")
    if from_ > to:
        raise RuntimeError(f"uniform_ expects to return a [from, to) range, but found from={from_} > to={to}")

    def draw(stream: Any, shape: tuple[int, ...], dtype: Any) -> Any:
        return _scaled(uniform(stream, shape, dtype), to - from_, from_)

    return _filled("uniform_", self, draw, generator)


def normal_(self: Tensor, mean: float = 0.0, std: float = 1.0, *, generator: Generator | None = None) -> Tensor:
    """Fill with normal numbers, in place."""
    check_std(std)

    def draw(stream: Any, shape: tuple[int, ...], dtype: Any) -> Any:
        return _scaled(standard_normal(stream, shape, dtype), std, mean)

    return _filled("normal_", self, draw, generator)


def exponential_(self: Tensor, lambd: float = 1.0, *, generator: Generator | None = None) -> Tensor:
    """Fill with exponentially distributed numbers of rate `lambd`, in place."""
    if not lambd > 0:
        raise RuntimeError(f"exponential_ expects lambda > 0.0, but found lambda={lambd}")

    def draw(stream: Any, shape: tuple[int, ...], dtype: Any) -> Any:
        return _scaled(exponential(stream, shape, dtype), 1 / lambd, 0)

    return _filled("exponential_", self, draw, generator, ("real",))


def bernoulli_(self: Tensor, p: float | Tensor = 0.5, *, generator: Generator | None = None) -> Tensor:
    """Fill with ones of a probability, or of the probabilities that a tensor holds, and zeros, in place."""
    if isinstance(p, Tensor):
        with no_grad():
            chosen = bernoulli(call("broadcast_to", p.detach(), self.shape), generator=generator)
        return self.copy_(chosen)
    check_probability(p)
    return _filled("bernoulli_", self, below(p), generator, ANY)


def random_(
    self: Tensor, from_: int | None = None, to: int | None = None, *, generator: Generator | None = None
) -> Tensor:
    """Fill with integers, in place: `random_(to)`, `random_(from, to)`, or all that the dtype holds exactly."""
    if to is None:
        from_, to = (0, most(self.dtype) + 1) if from_ is None else (0, from_)
    draw = integers("random_", from_ or 0, to, self.dtype)
    return _filled("random_", self, draw, generator, INTEGERS)


METHODS: dict[str, Callable[..., Tensor]] = {
    function.__name__: function for function in (bernoulli_, exponential_, normal_, random_, uniform_)
}


def _filled(
    name: str, t: Tensor, draw: Any, generator: Generator | None, kinds: tuple[str, ...] = ("real", "complex")
) -> Tensor:
    if t.requires_grad and t.is_leaf and is_grad_enabled():
        raise RuntimeError("a leaf Variable that requires grad is being used in an in-place operation.")
    return t.copy_(drawn_like(name, draw, t, generator=generator, kinds=kinds))


def _scaled(numbers: Any, factor: float, offset: float) -> Any:
    if factor != 1:
        numbers *= factor
    if offset != 0:
        numbers += offset
    return numbers
