"""`profile` and `record_function`: what is noted while a program runs. Must know no backend and no rule."""

import contextlib
import json
import os
import sys
import weakref
from collections import Counter
from contextlib import ContextDecorator, ExitStack
from functools import partial
from itertools import count, takewhile
from threading import current_thread, get_ident
from time import perf_counter_ns
from typing import Any, NamedTuple, Self

from agrad.autograd.graph.report_table import bytes_of, owner_of, size_text
from agrad.cython_core import engine
from agrad.cython_core.engine import Mode, Node, Op, Profiling, Tensor, Tracing
from agrad.profiler.averages import Averages, time_text
from agrad.profiler.chrome_trace import chrome_trace
from agrad.profiler.events import OPERATIONS, Event, peak, rows_of


class _Section(NamedTuple):
    """What stands in the place of an operation where a range of the user's or the call of a module ran."""

    kind: str
    name: str


class profile:
    """Measure time and memory of the operations inside, forward and backward.

    What runs in the same thread or task is measured, and in tasks that start inside; other threads are not, unless they
    run in a copy of the context (`contextvars.copy_context`). Times are those that calls take: work that a library does
    later, as Dask's or JAX's on a device, is not in them. Profiles may be nested: each has all that ran inside of it.
    Memory is that of new arrays; views count nothing.

    Parameters
    ----------
    model : Module, optional
        Calls of it, and of the modules in it, are noted too.

    Attributes
    ----------
    wall : int
        Nanoseconds spent inside.
    peak : int
        The most bytes that arrays made inside took at a time.

    Examples
    --------
    >>> import agrad
    >>> x = agrad.ones((100, 100)).requires_grad_()
    >>> with agrad.profiler.profile() as prof:
    ...     agrad.tanh(x @ x).sum().backward()
    >>> [(event.name, event.kind, event.bytes) for event in prof.events()][:3]
    [('matmul', 'forward', 80000), ('tanh', 'forward', 80000), ('sum', 'forward', 8)]
    >>> sorted(row.name for row in prof.key_averages() if row.kind == "backward")
    ['matmul', 'sum', 'tanh']
    """

    def __init__(self, model: Any = None) -> None:
        self.wall = 0
        self._model = model
        self._events: list[Event] = []
        self._memory: list[tuple[int, int]] = []        # (time, bytes more or less in use)
        self._kept: Counter[str] = Counter()            # by operation
        self._seen: dict[int, Any] = {}                 # weak references to what is kept, by identity
        self._alive: dict[int, Any] = {}                # weak references to arrays that were made
        self._lanes: dict[tuple[int, str], tuple[int, str]] = {}
        self._numbers = count()
        self._calls: dict[int, list[int]] = {}          # when the calls of modules that run began, by lane
        self._running: Profiling | None = None
        self._exits = ExitStack()

    # ---- in and out

    def __enter__(self) -> Self:
        if self._running is not None:
            raise RuntimeError("this profile is running already; nested profiles are objects of their own")
        if self._model is not None:
            from agrad.viz.module_calls import watched

            self._exits.enter_context(watched(self._model, self._entered, self._left))
        before = engine.get_mode()
        self._running = Profiling(partial(self._ran, before))
        inside = before.replace(profiling=self._running, tracing=Tracing(partial(self._saw, before)))
        engine.set_mode(inside)
        self._exits.callback(_leave, before, inside)
        self._exits.callback(self._stop, perf_counter_ns())
        return self

    def __exit__(self, *_: object) -> None:
        self._exits.close()

    def _stop(self, start: int) -> None:
        self.wall += perf_counter_ns() - start
        self._running = None
        self._alive.clear()     # what is freed from now on is not noted
        self._seen.clear()

    # ---- what comes in while it runs

    def _ran(self, outer: Mode, what: Op | Node | _Section, start: int, end: int, new: tuple[Tensor, ...]) -> None:
        """An operation, a step of a walk or a section ran."""
        if outer.profiling is not None:
            outer.profiling.ran(what, start, end, new)     # type: ignore[arg-type]
        if self._running is not None:       # else: a task that began inside goes on outside
            self._note(what, start, end, new)

    def _note(self, what: Op | Node | _Section, start: int, end: int, new: tuple[Tensor, ...]) -> None:
        lane, size = self._lane(), sum(self._note_made(t, end) for t in new)
        if isinstance(what, _Section):
            kind, name = what
            inside = takewhile(lambda event: event.end >= start, reversed(self._events))    # they came as they ended
            size = sum(event.bytes for event in inside if event.lane == lane and event.kind in OPERATIONS)
        elif isinstance(what, Node):
            kind, name = "backward", engine.rule_of_node(what).op.name
        else:
            kind, name = "forward", what.name
        self._events.append(Event(kind, name, start, end, lane, size))

    def _saw(
        self, outer: Mode, what: Op | str, mode: Mode, operands: tuple[Any, ...], results: tuple[Tensor, ...]
    ) -> None:
        """An operation was recorded: what does its node keep that nobody kept before? Leaves are there anyway."""
        if outer.tracing is not None:
            outer.tracing.saw(what, mode, operands, results)
        node = results[0].grad_fn if results and self._running is not None else None
        if node is None or isinstance(what, str):
            return
        for t in operands:
            if isinstance(t, Tensor) and t.is_leaf and t.requires_grad:
                self._is_first(engine.raw_value(t))
        for _, t in engine.kept_arrays(node):
            if self._is_first(engine.raw_value(t)):
                self._kept[what.name] += bytes_of(t)

    def _measures_here(self) -> bool:
        """Whether this profile is among those that run here: hooks of modules are called in all threads."""
        profiling: Any = engine.get_mode().profiling
        while profiling is not None and profiling is not self._running:
            (outer,) = profiling.ran.args
            profiling = outer.profiling
        return profiling is not None

    def _entered(self, path: str, module: Any) -> None:
        if self._measures_here():
            self._calls.setdefault(self._lane(), []).append(perf_counter_ns())

    def _left(self, path: str, module: Any) -> None:
        if self._measures_here():
            start = self._calls[self._lane()].pop()
            self._note(_Section("module", path or type(module).__name__), start, perf_counter_ns(), ())

    def _is_first(self, raw: Any) -> bool:
        """Whether the memory of an array is seen for the first time."""
        owner = owner_of(raw)
        found = self._seen.get(id(owner))
        if found is not None and found() is owner:
            return False
        with contextlib.suppress(TypeError):        # numbers that stand for 0-d arrays
            self._seen[id(owner)] = weakref.ref(owner)
        return True

    def _note_made(self, t: Tensor, now: int) -> int:
        """The bytes of a new array, none of a view of one; when they are free again is noted too."""
        size, owner = bytes_of(t), owner_of(engine.raw_value(t))
        found = self._alive.get(id(owner))
        if found is not None and found() is owner:
            return 0
        with contextlib.suppress(TypeError):
            self._alive[id(owner)] = weakref.ref(owner, partial(self._freed, id(owner), size))
            self._memory.append((now, size))
        return size

    def _freed(self, key: int, size: int, _: object) -> None:
        self._alive.pop(key, None)
        self._memory.append((perf_counter_ns(), -size))

    def _lane(self) -> int:
        """The number of this thread, or task."""
        task = ""
        if "asyncio" in sys.modules:
            with contextlib.suppress(RuntimeError):     # no loop runs here
                found = sys.modules["asyncio"].current_task()
                task = "" if found is None else found.get_name()
        key = get_ident(), task
        if key not in self._lanes:
            name = f"{current_thread().name}, {task}" if task else current_thread().name
            self._lanes.setdefault(key, (next(self._numbers), name))
        return self._lanes[key][0]

    # ---- what comes out

    @property
    def peak(self) -> int:
        return peak(self._memory)

    def events(self) -> list[Event]:
        """What ran, in the order in which it began."""
        return sorted(self._events, key=lambda event: (event.start, -event.end))

    def key_averages(self) -> Averages:
        """Sums by operation, forward and backward, and of modules and ranges."""
        return Averages(rows_of(self._events, self._kept))

    def table(self, sort_by: str = "total", row_limit: int | None = None) -> str:
        """The sums as a table, drawn by rich where that is installed; see `Averages.table`."""
        return f"{self.key_averages().table(sort_by, row_limit)}\n{self._summary()}"

    def export_chrome_trace(self, path: str | os.PathLike[str]) -> None:
        """Write a file for chrome://tracing or https://ui.perfetto.dev."""
        trace = chrome_trace(self._events, dict(self._lanes.values()), self._memory, os.getpid())
        with open(path, "w", encoding="utf-8") as file:
            json.dump(trace, file)

    def _summary(self) -> str:
        busy = sum(event.duration for event in self._events if event.kind in OPERATIONS)
        times = f"{time_text(self.wall)} in all, {time_text(busy)} in operations"
        return f"{times}; at most {size_text(self.peak)} in new arrays"

    def __str__(self) -> str:
        return f"{self.key_averages()}\n{self._summary()}"

    def __rich__(self) -> Any:
        from rich.console import Group

        return Group(self.key_averages().__rich__(), self._summary())


def _leave(before: Mode, inside: Mode) -> None:
    """Measure as before; what else a program switched inside stays switched."""
    now = engine.get_mode()
    if now is not inside:
        before = now.replace(profiling=before.profiling, tracing=before.tracing)
    engine.set_mode(before)


class record_function(ContextDecorator):
    """Give a part of a program a name in the profiles that run; a context, or a decorator of a function.

    Examples
    --------
    >>> import agrad
    >>> with agrad.profiler.profile() as prof:
    ...     with agrad.profiler.record_function("work"):
    ...         _ = agrad.ones(3) * 2
    >>> [row.name for row in prof.key_averages() if row.kind == "range"]
    ['work']
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self._begun: list[int] = []

    def _recreate_cm(self) -> Self:
        return type(self)(self.name)        # a decorated function may call itself, or run in several threads

    def __enter__(self) -> Self:
        self._begun.append(perf_counter_ns())
        return self

    def __exit__(self, *_: object) -> None:
        start, profiling = self._begun.pop(), engine.get_mode().profiling
        if profiling is not None:
            profiling.ran(_Section("range", self.name), start, perf_counter_ns(), ())   # type: ignore[arg-type]
