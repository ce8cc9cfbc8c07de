"""Checkpoints: a part of a program whose saved values are computed again in the walk instead of being kept.

While the part runs, the graph is given a place instead of every value that it would save. The first place that a walk
asks for runs the part once more, and fills all of them for the time of that walk; the latest place that somebody still
waits for ends the second run. Must know no backend and no rule.
"""

import contextlib
import weakref
from collections.abc import Callable, Sequence
from contextvars import ContextVar
from typing import Any, NamedTuple, Self

from agrad import configuration
from agrad.autograd import user_code
from agrad.autograd.graph import saved_tensors_hooks
from agrad.cython_core import engine
from agrad.cython_core.engine import Tensor
from agrad.generator import States, noted, replayed

__all__ = ["CheckpointError", "checkpoint", "checkpoint_sequential", "noop_context_fn", "set_checkpoint_early_stop"]


class CheckpointError(RuntimeError):
    """A checkpointed function computed something else the second time."""


def noop_context_fn() -> tuple[Any, Any]:
    """Two contexts that do nothing: what `context_fn` is if it is left out."""
    return contextlib.nullcontext(), contextlib.nullcontext()


_early_stop: ContextVar[bool | None] = ContextVar("agrad_checkpoint_early_stop", default=None)


class set_checkpoint_early_stop(contextlib.ContextDecorator):
    """Decide for all checkpoints inside whether a second run ends as soon as the last value that is needed is there.

    Parameters
    ----------
    enable : bool

    Examples
    --------
    >>> import agrad
    >>> from agrad.utils.checkpoint import checkpoint, set_checkpoint_early_stop
    >>> x = agrad.tensor(2.0, requires_grad=True)
    >>> with set_checkpoint_early_stop(False):
    ...     y = checkpoint(lambda x: x * x, x)
    >>> agrad.autograd.grad(y, x)
    (tensor(4.),)
    """

    def __init__(self, enable: bool) -> None:
        self._enable = enable
        self._before: list[bool | None] = []

    def __enter__(self) -> Self:
        self._before.append(_early_stop.get())
        _early_stop.set(self._enable)
        return self

    def __exit__(self, *_: object) -> None:
        _early_stop.set(self._before.pop())


def checkpoint(
    function: Callable[..., Any],
    *args: Any,
    use_reentrant: bool | None = None,
    context_fn: Callable[[], tuple[Any, Any]] = noop_context_fn,
    determinism_check: str = "default",
    debug: bool = False,
    preserve_rng_state: bool = True,
    early_stop: bool = True,
    **kwargs: Any,
) -> Any:
    """Call a function and let the graph keep none of its intermediate values: every walk computes them again.

    Less memory for more time. Everything that works without works with it: keywords, any results, `retain_graph`,
    second order, `autograd.grad`, checkpoints inside checkpoints. In a transform of `agrad.func` that has levels, such
    as `vmap` or `jvp`, the function just runs.

    Parameters
    ----------
    function : callable
        It must compute the same every time it is called with the same arguments.
    *args, **kwargs
        Its arguments. Tensors among them must not be written over before the walk.
    use_reentrant : bool, optional
        Accepted for programs of PyTorch; there is one kind of checkpoint here, PyTorch's with False.
    context_fn : callable
        Returns two context managers: for the first run, and for every further one.
    determinism_check : {"default", "none"}
        Whether shapes, dtypes and devices of the values are compared with those of the first run.
    debug : bool
        Remember for every value the line that saved it, so that a failed comparison can name it.
    preserve_rng_state : bool
        Let a further run draw the same numbers as the first one, from the default generator and all others.
    early_stop : bool
        End a further run as soon as the last value that is needed is there; see `set_checkpoint_early_stop`.

    Returns
    -------
    object
        What the function returns.

    Raises
    ------
    CheckpointError
        In a walk, if a further run did not save what the first one saved.
    ValueError
        For `use_reentrant=True`, and for an unknown `determinism_check`.

    Examples
    --------
    >>> import agrad
    >>> from agrad.utils.checkpoint import checkpoint
    >>> def block(x):
    ...     print("running")
    ...     return agrad.exp(agrad.sin(x)).sum()
    >>> x = agrad.tensor([0.0, 0.0], requires_grad=True)
    >>> y = checkpoint(block, x)
    running
    >>> y.backward()
    running
    >>> x.grad
    tensor([1., 1.])
    """
    if use_reentrant:
        raise ValueError(
            "checkpoint() has no reentrant kind: it could not be used with autograd.grad(), keyword arguments or "
            "several walks. Leave use_reentrant out or pass use_reentrant=False; gradients are the same"
        )
    if determinism_check not in ("default", "none"):
        raise ValueError(f"determinism_check is 'default' or 'none', not {determinism_check!r}")
    first_context, further_context = context_fn()
    mode = engine.get_mode()
    if not mode.grad or mode.levels is not None:
        with first_context:
            return function(*args, **kwargs)
    stops = _early_stop.get()
    part = _Part(
        function, args, kwargs, further_context, determinism_check == "default", debug,
        {} if preserve_rng_state else None, early_stop if stops is None else stops,
    )
    with noted(part.generators), first_context, saved_tensors_hooks(part.give_place, part.value_of):
        result = function(*args, **kwargs)
    part.complete = True
    return result


def checkpoint_sequential(
    functions: Any,
    segments: int,
    input: Any,
    use_reentrant: bool | None = None,
    preserve_rng_state: bool = True,
    **kwargs: Any,
) -> Any:
    """Call functions one after another, each with the result of the one before it, in segments with a checkpoint each.

    The last segment is run without one: the walk begins there, and would compute its values again at once.

    Parameters
    ----------
    functions : sequence of callable
    segments : int
        How many; all have the same number of functions but the last, which also gets the rest.
    input : object
        What the first function is called with.
    use_reentrant, preserve_rng_state, **kwargs
        Passed on to `checkpoint`.

    Examples
    --------
    >>> import agrad
    >>> from agrad.utils.checkpoint import checkpoint_sequential
    >>> x = agrad.tensor(0.5, requires_grad=True)
    >>> y = checkpoint_sequential([agrad.sin, agrad.exp, agrad.sin, agrad.exp], 2, x)
    >>> agrad.allclose(y, agrad.exp(agrad.sin(agrad.exp(agrad.sin(x)))))
    True
    """
    steps = list(functions)
    if not 1 <= segments <= max(1, len(steps)):
        raise ValueError(f"segments is a number from 1 to {max(1, len(steps))}, that of the functions, not {segments}")
    size = len(steps) // segments
    for first in range(0, size * (segments - 1), size):
        input = checkpoint(
            _run_all, steps[first : first + size], input, use_reentrant=use_reentrant,
            preserve_rng_state=preserve_rng_state, **kwargs,
        )
    return _run_all(steps[size * (segments - 1) :], input)


def _run_all(steps: Sequence[Callable[[Any], Any]], value: Any) -> Any:
    for step in steps:
        value = step(value)
    return value


# ------------------------------------------------------------------------------------------------ a part of the program


class _Facts(NamedTuple):
    """What must be the same in every run."""

    shape: Any
    dtype: Any
    device: Any


def _facts(t: Tensor) -> _Facts:
    """Lengths that are not known yet agree with any."""
    return _Facts(tuple(n if isinstance(n, int) else None for n in t.shape), t.dtype, t.device)


def _agree(one: _Facts, other: _Facts) -> bool:
    lengths = len(one.shape) == len(other.shape) and all(
        n == m or n is None or m is None for n, m in zip(one.shape, other.shape, strict=True)
    )
    return lengths and one[1:] == other[1:]


class _Place:
    """What the graph keeps instead of a value; dead once the graph needs the value no more."""

    __slots__ = ("__weakref__", "number")

    def __init__(self, number: int) -> None:
        self.number = number


class _Values:
    """The values of one further run, by place, while one walk lasts; the walk's own list of callbacks holds them."""

    def __init__(self) -> None:
        self.by_place: weakref.WeakKeyDictionary[_Place, tuple[Tensor, int]] = weakref.WeakKeyDictionary()

    def __call__(self) -> None:
        """At the end of the walk, nobody needs what is left."""
        self.by_place.clear()


class _Enough(BaseException):
    """Ends a further run; no error, and nothing for the `except Exception` of a function."""

    def __init__(self, part: "_Part") -> None:
        super().__init__()
        self.part = part


class _Argument:
    """A Tensor among the arguments, as it was: kept, or packed by the hooks around (those of a checkpoint outside)."""

    def __init__(self, t: Tensor) -> None:
        self.requires_grad, self.version = t.requires_grad, 0
        self.held: Any = engine.pack_value(t)
        if self.held is None:
            self.held = t if t.is_leaf and not _writes_copy() else _kept(t)
            self.version = _version(self.held)

    def again(self) -> Tensor:
        """The argument for another run, without history; a leaf is itself."""
        t = self.held if isinstance(self.held, Tensor) else engine.unpack_value(self.held)
        if t is self.held and _version(t) != self.version:
            raise RuntimeError(
                f"an argument of a checkpointed function, of shape {tuple(t.shape)}, was written over before the walk "
                "that has to compute the function again (it is at version "
                f"{_version(t)}; expected version {self.version}): write to a clone() of it"
            )
        return t if t.requires_grad is self.requires_grad else t.detach().requires_grad_(self.requires_grad)


def _kept(t: Tensor) -> Tensor:
    """A value without history; a copy where writes are to leave what was saved as it is."""
    return t.detach().clone() if _writes_copy() else t.detach()


def _writes_copy() -> bool:
    return (engine.get_mode().on_saved_write or configuration.walk_policy()[0]) == "copy"


def _version(t: Tensor) -> int:
    """How often a value was written over; tensors of inference mode do not count."""
    return 0 if t.is_inference() else t._version


class _Part:
    """One call of a checkpointed function: how to run it again, and the places that its values have in the graph."""

    def __init__(
        self,
        function: Callable[..., Any],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        context: Any,
        checks: bool,
        debug: bool,
        generators: States | None,
        early_stop: bool,
    ) -> None:
        self.function, self.context, self.mode = function, context, engine.get_mode().replace(callbacks=None, walk=None)
        self.args = [_Argument(a) if isinstance(a, Tensor) else a for a in args]
        self.kwargs = {name: _Argument(a) if isinstance(a, Tensor) else a for name, a in kwargs.items()}
        self.checks, self.debug, self.generators, self.early_stop = checks, debug, generators, early_stop
        self.places: list[weakref.ref[_Place]] = []
        self.facts: list[_Facts] = []
        self.lines: list[str] = []  # who saved what, for `debug`
        self.runs: weakref.WeakValueDictionary[int, _Values] = weakref.WeakValueDictionary()  # by walk
        self.complete = False  # the first run is over

    # -- what the graph asks for

    def give_place(self, t: Tensor) -> _Place:
        """The pack hook of the first run."""
        place = _Place(len(self.places))
        self.places.append(weakref.ref(place))
        self.facts.append(_facts(t))
        if self.debug:
            self.lines.append(user_code.line())
        return place

    def value_of(self, place: _Place) -> Tensor:
        """The unpack hook: the value that a place stands for."""
        callbacks = engine.get_mode().callbacks  # one list per walk, which therefore is what a walk is known by
        values = None if callbacks is None else self.runs.get(id(callbacks))
        if values is None:
            values = _Values()
            self.run_again(values)
            if callbacks is not None:
                callbacks.append(values)
                self.runs[id(callbacks)] = values
        found = values.by_place.get(place)
        if found is None:
            raise CheckpointError(self.explanation(place.number))
        t, version = found
        if _version(t) != version:
            raise RuntimeError(
                f"one of the values that a checkpointed function saved for its gradient, of shape {tuple(t.shape)}, "
                f"was written over inside the function (it is at version {_version(t)}; expected version {version}): "
                "write to a clone() of it"
            )
        return t

    # -- a further run

    def run_again(self, values: _Values) -> None:
        """Run the function once more and fill the places that somebody waits for."""
        args = [a.again() if isinstance(a, _Argument) else a for a in self.args]
        kwargs = {name: a.again() if isinstance(a, _Argument) else a for name, a in self.kwargs.items()}
        run = _Run(self, values)
        before = engine.get_mode()
        engine.set_mode(self.mode)
        try:
            with replayed(self.generators), self.context, saved_tensors_hooks(run.keep, _itself):
                self.function(*args, **kwargs)
        except _Enough as enough:
            if enough.part is not self:
                raise
        else:
            if self.checks and self.complete and run.number != len(self.places):
                raise CheckpointError(self.explanation(run.number, run))
        finally:
            engine.set_mode(before)

    def last_place_waited_for(self) -> int:
        """The number of the latest place that the graph still holds."""
        return max((number for number, place in enumerate(self.places) if place() is not None), default=-1)

    def explanation(self, number: int, run: "_Run | None" = None) -> str:
        """What a CheckpointError says."""
        first, saved = len(self.places), "" if run is None else f", a further run saved {run.number}"
        text = (
            f"checkpoint(): the function saved {first} tensors in its first run{saved}; it must compute the same each "
            "time it is called. Look for what differs between two calls: a global that changes, a cache, a branch on "
            "random numbers that agrad.random did not draw, or a mode that the function sets. "
        )
        if not self.debug:
            return text + "checkpoint(..., debug=True) names the lines that saved them"
        lines = [f"  {i}: {line}" for i, line in enumerate(self.lines)]
        again = [] if run is None else ["A further run:", *(f"  {i}: {line}" for i, line in enumerate(run.lines))]
        return "\n".join([text + f"It went wrong at tensor {number}. The first run:", *lines, *again])


class _Run:
    """A further run of a part: the pack hook that fills its places in their order."""

    def __init__(self, part: _Part, values: _Values) -> None:
        self.part, self.values = part, values
        self.number = 0  # of the place that the next value has
        self.last = part.last_place_waited_for()
        self.lines: list[str] = []

    def keep(self, t: Tensor) -> Tensor:
        """Keep one value, without history, if its place is still there."""
        part, number = self.part, self.number
        self.number += 1
        if part.debug:
            self.lines.append(user_code.line())
        kept = _kept(t)
        if number < len(part.places):
            if part.checks and not _agree(_facts(t), part.facts[number]):
                raise CheckpointError(self.difference(number, _facts(t)))
            place = part.places[number]()
            if place is not None:
                self.values.by_place[place] = kept, _version(kept)
        if part.early_stop and number >= self.last:
            raise _Enough(part)
        return kept

    def difference(self, number: int, found: _Facts) -> str:
        """What a CheckpointError says about one value."""
        wanted = self.part.facts[number]
        names = [name for name in _Facts._fields if getattr(wanted, name) != getattr(found, name)]
        text = ", ".join(f"{name} {getattr(found, name)} instead of {getattr(wanted, name)}" for name in names)
        return f"checkpoint(): tensor {number} has {text} in a further run. " + self.part.explanation(number, self)


def _itself(t: Tensor) -> Tensor:
    """The unpack hook of a further run, whose graph is walked only by a function that walks it itself."""
    return t
