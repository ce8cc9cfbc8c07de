"""What a batch rule must get right: one function per promise, which its first line states. Each is given a `Subject`.

Samples that differ are the same call drawn with other seeds. Must know no single backend and no single rule.
"""

import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from agrad import autograd, batching, dtypes, standard
from agrad.cython_core.engine import Tensor
from agrad.testing.agreement import DOUBLE, near, same_kind
from agrad.testing.draw import Call
from agrad.testing.subject import Refused, Subject, outputs

SIZE = 3
UNDEFINED = ("empty_like",)     # ops whose values may be anything
BY_DATA = "cannot run under vmap"
Place = tuple[int, int | None]  # a parameter, and a part of a key or of a variadic one


class Batch:
    """A sample call, drawn several times.

    Attributes
    ----------
    places : list of Place
        The arrays that can differ from sample to sample.
    """

    def __init__(self, s: Subject, size: int = SIZE) -> None:
        self.s, self.size = s, size
        self.parameters = s.op.signature.parameters
        draws = [Call(s.op.signature, s.call.case, s.record, s.is_complex, (7, k)) for k in range(max(size, 1))]
        self.draws = [self.values(call) for call in draws]
        self.places = list(self.find_places())

    def values(self, call: Call) -> list[Any]:
        """A value for each parameter, arrays as Tensors."""
        return [self.value(p, call.arguments.get(p.name, p.default)) for p in self.parameters]

    def value(self, parameter: standard.Parameter, value: Any) -> Any:
        if parameter.kind == "key":
            value = value if isinstance(value, tuple) else (value,)
        if parameter.kind in ("key", "array*"):
            return tuple(map(self.tensor, value))
        return self.tensor(value)

    def tensor(self, value: Any) -> Any:
        if not isinstance(value, np.ndarray):
            return value
        return self.s.tensor(self.s.array(value, self.s.dtype if value.dtype.kind in "fc" else None))

    def find_places(self) -> Iterator[Place]:
        for i, value in enumerate(self.draws[0]):
            if isinstance(value, tuple):
                yield from ((i, j) for j, part in enumerate(value) if isinstance(part, Tensor))
            elif isinstance(value, Tensor):
                yield i, None

    def sample(self, k: int, chosen: Sequence[Place]) -> list[Any]:
        """The values of sample k, if the chosen places differ from sample to sample."""
        def one(place: Place) -> Any:
            return at(self.draws[k if place in chosen else 0], place)

        return self.assembled(one)

    def stacked(self, chosen: Sequence[Place]) -> list[Any]:
        """The values of the batch."""
        def all_together(place: Place) -> Any:
            first = at(self.draws[0], place)
            if place not in chosen:
                return first
            xp = first.__array_namespace__()
            return xp.stack([at(values, place) for values in self.draws])[: self.size]

        return self.assembled(all_together)

    def flags(self, chosen: Sequence[Place]) -> list[Any]:
        """Which values are batched."""
        return [
            tuple((i, j) in chosen for j in range(len(value))) if isinstance(value, tuple) and self.has_parts(i)
            else (i, None) in chosen
            for i, value in enumerate(self.draws[0])
        ]

    def has_parts(self, i: int) -> bool:
        return self.parameters[i].kind in ("key", "array*")

    def assembled(self, get: Callable[[Place], Any]) -> list[Any]:
        """A value for each parameter, where it can differ by `get`."""
        found = []
        for i, value in enumerate(self.draws[0]):
            if isinstance(value, tuple) and self.has_parts(i):
                found.append(tuple(get((i, j)) if (i, j) in self.places else part for j, part in enumerate(value)))
            else:
                found.append(get((i, None)) if (i, None) in self.places else value)
        return found

    def call(self, values: Sequence[Any]) -> list[Tensor]:
        """The op on one sample."""
        return outputs(batching.caller(self.s.op)(values))

    def whole(self, chosen: Sequence[Place]) -> list[Tensor]:
        """The op on the batch."""
        return self.run(self.stacked(chosen), chosen)

    def run(self, values: Sequence[Any], chosen: Sequence[Place]) -> list[Tensor]:
        """The op on these values, those at the chosen places batched."""
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", ".* has no batch rule")
            return outputs(batching.find(self.s.op)(self.size, values, self.flags(chosen)))

    def patterns(self) -> Iterator[list[Place]]:
        """Which places are batched: all, each alone, all but each."""
        yield self.places
        if len(self.places) > 1:
            yield from ([place] for place in self.places)
        if len(self.places) > 2:
            yield from ([other for other in self.places if other != place] for place in self.places)


def at(values: Sequence[Any], place: Place) -> Any:
    i, j = place
    return values[i] if j is None else values[i][j]


def batches_are_loops(s: Subject) -> None:
    """The op on a batch gives what it gives sample by sample, whichever operands differ."""
    batch = Batch(s)
    for chosen in batch.patterns() if batch.places else ():
        try:
            expected = [batch.call(batch.sample(k, chosen)) for k in range(SIZE)]
        except Exception as error:
            raise Refused(f"{s.call}, drawn again", error) from error
        compare(s, batch, chosen, expected)


def compare(s: Subject, batch: Batch, chosen: Sequence[Place], expected: list[list[Tensor]]) -> None:
    """Raise unless the op on the batch gives what is expected for each sample."""
    what = f"with batches of {', '.join(map(str, named(batch, chosen)))}"
    try:
        found = batch.whole(chosen)
    except RuntimeError as error:
        if BY_DATA in str(error):
            return
        raise
    if len(found) != len(expected[0]):
        raise AssertionError(f"{what}: {len(found)} results, one sample has {len(expected[0])}")
    for out in found:
        if out.shape[:1] != (SIZE,):
            raise AssertionError(f"{what}: a result has the shape {out.shape}: the batch is not its first axis")
    if s.op.name in UNDEFINED:
        return
    for k, parts in enumerate(expected):
        own = s.invariants([out[k] for out in found], s.backend.facade)
        for a, b in zip(own, s.invariants(parts, s.backend.facade), strict=True):
            same_kind(s, a.array, b.array, f"result {what}")
            near(s.numbers(a.array), s.numbers(b.array), s, f"{what}, sample {k} differs")


def named(batch: Batch, chosen: Sequence[Place]) -> list[str]:
    return [batch.parameters[i].name if j is None else f"{batch.parameters[i].name}[{j}]" for i, j in chosen]


def gradients_of_batches_are_loops(s: Subject) -> None:
    """The gradients of an op on a batch are those sample by sample."""
    batch = Batch(s)
    chosen = [place for place in batch.places if dtypes.of(at(batch.draws[0], place).dtype).kind in ("real", "complex")]
    if not chosen or s.dtype not in DOUBLE:
        return
    operands = batch.stacked(chosen)
    leaves = [at(operands, place).requires_grad_() for place in chosen]
    try:
        made = batch.run(operands, chosen)
    except RuntimeError as error:
        if BY_DATA in str(error):
            return
        raise
    found = s.invariants(made, s.backend.facade)
    weights = [s.tensor(s.cotangent(out.array)) if out.requires_grad else None for out in found]
    if not any(out.requires_grad for out in found):
        return
    got = gradients(found, leaves, weights)
    for k in range(SIZE):
        values = batch.sample(k, chosen)
        for i, j in chosen:
            parts = [values[i]] if j is None else list(values[i])
            parts[j or 0] = parts[j or 0].detach().requires_grad_()
            values[i] = parts[0] if j is None else tuple(parts)
        own = [at(values, place) for place in chosen]
        parts = s.invariants(batch.call(values), s.backend.facade)
        one = gradients(parts, own, [None if w is None else w[k] for w in weights])
        for g, e, place in zip(got, one, chosen, strict=True):
            a, b = (None if x is None else s.numbers(x.array) for x in (None if g is None else g[k], e))
            near(a, b, s, f"the gradient of {named(batch, [place])[0]} of sample {k} differs in a batch")


def gradients(roots: Sequence[Tensor], leaves: Sequence[Tensor], weights: Sequence[Any]) -> Sequence[Any]:
    """Gradients for the leaves, None where no result depends on one."""
    pairs = [(r, w) for r, w in zip(roots, weights, strict=True) if w is not None and r.requires_grad]
    if not pairs:
        return [None] * len(leaves)
    found: Sequence[Any] = autograd.grad([r for r, _ in pairs], leaves, [w for _, w in pairs], allow_unused=True)
    return found
