"""One hook over the gradients of several tensors. Must know no backend and no rule."""

import weakref
from _thread import allocate_lock  # threading itself takes two milliseconds to import
from collections.abc import Callable, Sequence
from typing import Any, Self

from agrad.cython_core import engine
from agrad.cython_core.engine import Tensor


class MultiGradHandle:
    """Removes the hooks of `register_multi_grad_hook`; also a context manager."""

    def __init__(self, handles: list[engine.Handle]) -> None:
        self._handles = handles

    def remove(self) -> None:
        """Remove the hook from all tensors; twice is fine."""
        for handle in self._handles:
            handle.remove()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.remove()


class _Collector:
    """What came in during one backward pass, per pass: passes may be nested, or run in several threads."""

    def __init__(self, tensors: Sequence[Tensor], fn: Callable[[Any], object], wants_all: bool) -> None:
        # No tensor and no node is held: a hook that holds them would keep the graph alive until a garbage collection.
        self._keys = [weakref.ref(t) if t.grad_fn is None else t.grad_fn._sequence_nr() for t in tensors]
        self._fn, self._wants_all = fn, wants_all
        self._lock = allocate_lock()
        self._passes: weakref.WeakKeyDictionary[engine.Walk, _Pass] = weakref.WeakKeyDictionary()

    def take(self, i: int, g: Tensor) -> None:
        """The gradient of tensor i is there."""
        with self._lock:
            now = self._pass()
            complete = now.take(i, g) if self._wants_all else not now.done
            now.done |= complete
        if complete:
            self._fn(now.gradients if self._wants_all else g)

    def _pass(self) -> "_Pass":
        """The pass under way, with what it has collected so far."""
        walk = engine.get_mode().walk
        assert walk is not None     # hooks run inside walks only
        now = self._passes.get(walk)
        if now is None:
            expected = sum(self._reached(key) for key in self._keys) if self._wants_all else 0
            now = self._passes[walk] = _Pass(len(self._keys), expected)
            engine.queue_callback(lambda: self._close(now))
        return now

    def _reached(self, key: Any) -> bool:
        key = key() if isinstance(key, weakref.ref) else key
        return key is not None and engine.reaches(key)

    def _close(self, now: "_Pass") -> None:
        """The pass is over. A gradient that was to come may have been stopped on its way."""
        if self._wants_all and not now.done:
            self._fn(now.gradients)


class _Pass:
    def __init__(self, n: int, expected: int) -> None:
        self.missing, self.done = expected, False
        self.gradients: list[Tensor | None] = [None] * n

    def take(self, i: int, g: Tensor) -> bool:
        """Keep a gradient; whether it is the last one."""
        self.gradients[i] = g
        self.missing -= 1
        return self.missing == 0


def register_multi_grad_hook(
    tensors: Sequence[Tensor], fn: Callable[[Any], object], *, mode: str = "all"
) -> MultiGradHandle:
    """Call a function once per backward pass with the gradients of several tensors.

    Parameters
    ----------
    tensors : sequence of Tensor
    fn : callable
        With mode "all" it gets a list with the gradients, None for tensors that the pass does not reach, as soon as
        they are complete. With mode "any" it gets the first gradient that comes.
    mode : {"all", "any"}

    Returns
    -------
    handle
        With `remove()`; also a context manager.

    Examples
    --------
    >>> import agrad
    >>> a = agrad.tensor(2.0, requires_grad=True)
    >>> b = agrad.tensor(3.0, requires_grad=True)
    >>> handle = agrad.autograd.graph.register_multi_grad_hook([a, b], print)
    >>> (a * b).backward()
    [tensor(3.), tensor(2.)]
    """
    if mode not in ("all", "any"):
        raise ValueError(f"Expects mode to be one of ('all', 'any') but got {mode}")
    collector = _Collector(tensors, fn, mode == "all")

    def hook_of(i: int) -> Callable[[Tensor], None]:
        return lambda g: collector.take(i, g)

    return MultiGradHandle([t.register_hook(hook_of(i)) for i, t in enumerate(tensors)])
