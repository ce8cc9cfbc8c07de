"""Watching a module at work: which calls of it and of the modules in it ran when. Pictures and profiles are made of it.

Must know no graph and no way of drawing.
"""

import weakref
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from threading import get_ident
from typing import Any, Self

from agrad.autograd.graph.report_table import bytes_of
from agrad.cython_core import engine
from agrad.cython_core.engine import Tensor
from agrad.nn import Module

Listener = Callable[[str, Module], object]


@contextmanager
def watched(model: Module, entered: Listener, left: Listener) -> Iterator[None]:
    """Call `entered(path, module)` before, and `left(path, module)` after each call of a model and of what is in it.

    `left` comes also where a call raises.
    """
    if not isinstance(model, Module):
        raise TypeError(f"expected a Module, got {type(model).__name__}")
    handles: list[Any] = []
    try:
        for path, module in model.named_modules():
            # the first to hear that a call begins, the last to hear that it is over
            handles.append(module.register_forward_pre_hook(partial(_tell, entered, path), prepend=True))
            handles.append(module.register_forward_hook(partial(_tell, left, path), always_call=True))
        yield
    finally:
        for handle in handles:
            handle.remove()


def _tell(listener: Listener, path: str, module: Module, *_: object) -> None:
    """A hook that changes nothing."""
    listener(path, module)


@dataclass
class Call:
    """One call of a module.

    Attributes
    ----------
    path : str
        The module's name in the model, "" for the model.
    class_name : str
    nth : int
        Which call of this module, from 1.
    depth : int
        How many calls it is nested in.
    start, end : int
        The nodes that it made are those with a number above `start` and up to `end`.
    has_inner : bool
        Whether it called other modules.
    """

    path: str
    class_name: str
    nth: int
    depth: int
    start: int
    end: int = 0
    has_inner: bool = False


class scopes:
    """Note which module of a model makes which nodes, so that `graph` can fold them into one box.

    Parameters
    ----------
    model : Module

    Raises
    ------
    RuntimeError
        If it is entered a second time.

    Attributes
    ----------
    calls : list of Call
        In the order in which they began.
    counts : Counter
        How often each module was called, by its name.
    parameters : dict
        By the name of a module, the names of the parameters in it, their numbers of elements and of bytes.

    Examples
    --------
    >>> import agrad
    >>> model = agrad.nn.Sequential(agrad.nn.Linear(3, 4), agrad.nn.Tanh(), agrad.nn.Linear(4, 1))
    >>> with agrad.viz.scopes(model) as scopes:
    ...     y = model(agrad.ones((2, 3)))
    >>> [call.path for call in scopes.calls]
    ['', '0', '1', '2']
    >>> print(agrad.viz.graph(y, scopes=scopes))
    2  Linear, 1 node  5 parameters, 40 B  (2, 1) float64  16 B...
    1  Tanh, 1 node  (2, 4) float64  64 B, keeps 64 B
    0  Linear, 1 node  16 parameters, 128 B  (2, 4) float64  64 B, keeps 48 B
    """

    def __init__(self, model: Module) -> None:
        self.calls: list[Call] = []
        self.parameters: dict[str, tuple[frozenset[str], int, int]] = {}
        self._running: dict[int, list[Call]] = {}       # by thread, the outermost first
        self.counts: Counter[str] = Counter()
        self._names: list[tuple[weakref.ref[Tensor], str]] = []
        self._watch = watched(model, self._entered, self._left)
        self._model: Module | None = model

    def __enter__(self) -> Self:
        if self.parameters:
            raise RuntimeError("these scopes have been entered before; make new ones with scopes(model)")
        self._watch.__enter__()
        self._note_parameters()
        return self

    def __exit__(self, *error: Any) -> None:
        self._watch.__exit__(*error)
        self._note_parameters()
        self._model = None

    def _note_parameters(self) -> None:
        """Note them when watching begins, and what came meanwhile when it ends."""
        assert self._model is not None
        names = {id(t): name for name, t in self._model.named_parameters()}
        for path, module in self._model.named_modules():
            own = list(module.parameters())
            counts = sum(int(t.size) for t in own), sum(map(bytes_of, own))
            self.parameters[path] = (frozenset(names[id(t)] for t in own), *counts)
        self._names += [(weakref.ref(t), name) for name, t in self._model.named_parameters()]

    def names(self) -> dict[int, str]:
        """The names of the model's parameters, by their identity."""
        return {id(t): name for ref, name in self._names if (t := ref()) is not None}

    def _entered(self, path: str, module: Module) -> None:
        running = self._running.setdefault(get_ident(), [])
        if running:
            running[-1].has_inner = True
        self.counts[path] += 1
        call = Call(path, type(module).__name__, self.counts[path], len(running), engine.last_sequence_nr())
        running.append(call)
        self.calls.append(call)

    def _left(self, path: str, module: Module) -> None:
        self._running[get_ident()].pop().end = engine.last_sequence_nr()
