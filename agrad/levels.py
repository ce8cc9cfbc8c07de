"""Levels: the transforms that run, such as `vmap` and `jvp`, and how ops are computed inside them.

Here the engine is told where the rules for tangents and for batches are found. Must know no backend and no single rule.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import Any

from agrad.backends.adapter import Kernels
from agrad.cython_core import engine
from agrad.cython_core.engine import Formula, Level, Op, Rule, Tensor


@contextmanager
def entered(kind: str, *, size: Any = None, randomness: str = "error", records: bool = False) -> Iterator[Level]:
    """A new innermost level, finished at the end."""
    level = enter(kind, size=size, randomness=randomness, records=records)
    try:
        yield level
    finally:
        leave(level)


def enter(kind: str, *, size: Any = None, randomness: str = "error", records: bool = False) -> Level:
    """Start a level inside those that run."""
    mode = engine.get_mode()
    running = mode.levels or ()
    level = Level(kind, len(running) + 1, size=size, randomness=randomness, records=records)
    engine.set_mode(mode.replace(levels=(*running, level)))
    return level


def leave(level: Level) -> None:
    """Finish a level: its tensors are no longer computed with."""
    level.alive = False
    mode = engine.get_mode()
    running = tuple(other for other in mode.levels or () if other is not level)
    engine.set_mode(mode.replace(levels=running or None))


def outside(level: Level, t: Tensor) -> tuple[Tensor, Tensor | None, bool]:
    """What a tensor is outside of a level, its tangent there, and whether it belongs to the level.

    A deeper level may hold a tensor of this one as a constant: it belongs to this one all the same.
    """
    t = engine.constant_of_level(level, t)
    inside = engine.unwrap_level(level, t)
    return (t, None, False) if inside is None else (*inside, True)


def whole(level: Level, size: Any, t: Tensor) -> Tensor:
    """What a tensor is outside of a batch level, the batch first; what is the same for all samples is repeated."""
    value, _, batched = outside(level, t)
    if batched:
        return value
    return engine.find_op("broadcast_to").function(value, (size, *value.shape))     # type: ignore[no-any-return]


def find_forward(op: Op) -> Callable[..., Any]:
    """How an op maps tangents; `agrad.forward` is imported with the first transform."""
    found: Callable[..., Any] = import_module("agrad.forward").find(op)
    return found


def find_batch(op: Op) -> Callable[..., Any]:
    """How an op maps batches; `agrad.batching` is imported with the first transform."""
    found: Callable[..., Any] = import_module("agrad.batching").find(op)
    return found


def install() -> None:
    """Tell the engine; called once, when the ops exist."""
    identity = Formula(lambda g: g, "lift.vjp[x]", [(0, 0)], 1)
    rule = Rule(engine.find_op("copy"), "linear", (identity,), source="agrad", node_name="LiftBackward0")
    engine.install_transforms(find_forward, find_batch, Kernels, rule)
