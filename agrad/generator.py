"""Where random numbers come from: `Generator`, the default one, and who follows what is drawn.

The streams are NumPy's, so that every backend gets the same numbers from the same seed. A checkpoint notes where each
stream was when its function first used it, and later lets the function draw from copies that start there: no other
thread notices. Must know no backend and no rule.
"""

import contextlib
import operator
import os
import threading
from collections.abc import Iterator
from contextvars import ContextVar
from typing import Any, Self

import numpy as np

from agrad.defaults import default_backend

FIRST_SEED = 67280421310721     # what PyTorch's generators start from


def _unforeseen() -> int:
    """A seed that nobody can foresee, of 63 bits."""
    return int.from_bytes(os.urandom(8), "little") >> 1


class Stream:
    """NumPy's generator and the seed that it was started from."""

    __slots__ = ("numbers", "seed")

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.numbers = np.random.default_rng(seed % 2**64)

    @classmethod
    def at(cls, state: dict[str, Any]) -> "Stream":
        """A stream that goes on from a state.

        Raises
        ------
        TypeError, ValueError
            If it is no state.
        """
        if not isinstance(state, dict):
            raise TypeError(f"the state of a generator is a dict that get_state() gave, not {type(state).__name__}")
        made = cls(0)
        try:
            made.seed = operator.index(state["seed"])
            made.numbers.bit_generator.state = {name: value for name, value in state.items() if name != "seed"}
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            problem = f"{error.args[0]!r} is missing" if isinstance(error, KeyError) else str(error)
            raise ValueError(f"this is no state of a generator: {problem}; get_state() gives one") from None
        return made

    def state(self) -> dict[str, Any]:
        """Where the stream is: names, and integers of up to 128 bits."""
        return {**self.numbers.bit_generator.state, "seed": self.seed}


class Generator:
    """A stream of random numbers, and the seed that started it.

    It serves every backend: the numbers are drawn by NumPy and then moved. Draws from several threads are safe, in
    whatever order they come.

    Parameters
    ----------
    device : object
        For programs of PyTorch; must be a device of the default backend. A generator draws for any device.

    Attributes
    ----------
    device : object

    Examples
    --------
    >>> import agrad
    >>> g = agrad.Generator().manual_seed(3)
    >>> state = g.get_state()
    >>> a = agrad.rand(2, generator=g)
    >>> g.set_state(state)
    <agrad.Generator seed=3>
    >>> agrad.allclose(a, agrad.rand(2, generator=g))
    True
    """

    def __init__(self, device: Any = "cpu") -> None:
        self.device = device if str(device) == "cpu" else default_backend().to_device(device)
        self._first: int = FIRST_SEED
        self._own: Stream | None = None     # made at the first draw: numpy.random takes longer to import than agrad
        self._lock = threading.Lock()

    def manual_seed(self, seed: int) -> Self:
        """Start again from a seed, of 64 bits; the generator itself is returned."""
        try:
            seed = operator.index(seed)
        except TypeError:
            raise RuntimeError(f"manual_seed expected a long, but got {type(seed).__name__}") from None
        if not -(2**63) <= seed < 2**64:
            raise ValueError("Overflow when unpacking long long")
        return self._become(Stream(seed % 2**64))

    def seed(self) -> int:
        """Start again from a seed that nobody can foresee, and return it."""
        chosen = _unforeseen()
        self.manual_seed(chosen)
        return chosen

    def initial_seed(self) -> int:
        """The seed that the stream was last started from."""
        return self.stream().seed

    def get_state(self) -> dict[str, Any]:
        """Where the stream is, for `set_state`: a dict of names and integers, which `agrad.save` takes."""
        return self.stream().state()

    def set_state(self, new_state: dict[str, Any]) -> Self:
        """Go on from a state that `get_state` gave.

        Raises
        ------
        TypeError, ValueError
            If it is no state; nothing is changed then.
        """
        return self._become(Stream.at(new_state))

    def clone_state(self) -> "Generator":
        """Another generator at the same place of the same stream."""
        twin = Generator(self.device)
        twin._own = Stream.at(self.get_state())
        return twin

    def stream(self) -> Stream:
        """The stream to draw from here: a copy of its own inside a further run of a checkpoint."""
        found, notes = None, []
        for scope in reversed(_scopes.get()):
            if isinstance(scope, Replay):
                found = scope.copy_of(self)
                break
            notes.append(scope)
        if found is None:
            found = self._own or self._started()
        for states in notes:
            if self not in states:
                states[self] = found.state()
        return found

    def _started(self) -> Stream:
        with self._lock:
            if self._own is None:
                self._own = Stream(self._first)
            return self._own

    def _become(self, other: Stream) -> Self:
        here = self.stream()        # told to those who follow, before it changes
        with self._lock:
            here.seed, here.numbers = other.seed, other.numbers
        return self

    def __repr__(self) -> str:
        return f"<agrad.Generator seed={self.initial_seed()}>"

    def __reduce__(self) -> Any:
        return _at, (self.device, self.get_state())


def _at(device: Any, state: dict[str, Any]) -> Generator:
    """A generator from its pickled parts."""
    return Generator(device).set_state(state)


default_generator = Generator()
default_generator._first = _unforeseen()


def stream_of(generator: Generator | None) -> Any:
    """NumPy's generator to draw from; TypeError for what is no Generator."""
    if generator is None:
        return default_generator.stream().numbers
    if not isinstance(generator, Generator):
        raise TypeError(f"generator must be an agrad.Generator or None, not {type(generator).__name__}")
    return generator.stream().numbers


# -------------------------------------------------------------------------------------- who follows what is drawn

States = dict[Generator, dict[str, Any]]        # where each generator was


class Replay:
    """Copies of streams, made when they are first drawn from."""

    def __init__(self, states: States) -> None:
        self.states = states
        self.copies: dict[Generator, Stream] = {}

    def copy_of(self, generator: Generator) -> Stream:
        """The copy that draws in a generator's place; one that nobody noted goes on from where it is."""
        found = self.copies.get(generator)
        if found is None:
            state = self.states.get(generator) or generator._started().state()
            found = self.copies[generator] = Stream.at(state)
        return found


_scopes: ContextVar[tuple[States | Replay, ...]] = ContextVar("agrad_random_scopes", default=())


@contextlib.contextmanager
def _inside(scope: States | Replay) -> Iterator[None]:
    token = _scopes.set((*_scopes.get(), scope))
    try:
        yield
    finally:
        _scopes.reset(token)


def noted(states: States | None) -> contextlib.AbstractContextManager[None]:
    """Write down where each generator is when it is first used in the block; None: do nothing."""
    return contextlib.nullcontext() if states is None else _inside(states)


def replayed(states: States | None) -> contextlib.AbstractContextManager[None]:
    """Draw from copies that start where the generators were; None: do nothing."""
    return contextlib.nullcontext() if states is None else _inside(Replay(states))
