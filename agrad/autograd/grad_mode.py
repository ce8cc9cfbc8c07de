"""Grad modes: what is recorded and where.

Each is a context manager and a decorator for functions and generators, and restores what was before.
Must know only the engine's Mode.
"""

import functools
import inspect
import warnings
from collections.abc import Callable
from typing import Any, Self, TypeVar

from agrad.cython_core import engine

__all__ = ["ModeContext", "enable_grad", "inference_mode", "no_grad", "set_grad_enabled", "zero_stays_zero"]

_F = TypeVar("_F", bound=Callable[..., Any])


class ModeContext:
    """A scoped change of the engine's mode, re-entrant: the modes from before are kept on a stack and put back."""

    def __init__(self, **changes: Any) -> None:
        self._changes = changes
        self._before: list[engine.Mode] = []

    def __enter__(self) -> Self:
        before = engine.get_mode()
        engine.set_mode(before.replace(**self._changes))
        self._before.append(before)
        return self

    def __exit__(self, *_: object) -> None:
        engine.set_mode(self._before.pop())

    def __call__(self, function: _F) -> _F:
        """Use as a decorator: each call, or each step of a generator, runs in the mode."""
        if inspect.isclass(function):
            warnings.warn(
                "Decorating classes is deprecated and will be disabled in future versions. You should only decorate "
                "functions or methods. To preserve the current behavior of class decoration, you can directly decorate "
                "the `__init__` method and nothing else.",
                FutureWarning,
                stacklevel=2,
            )
            function.__init__ = self(function.__init__)  # type: ignore[method-assign]
            return function
        changes = self._changes
        if inspect.isgeneratorfunction(function):
            return _in_mode_generator(function, changes)    # type: ignore[return-value]

        @functools.wraps(function)
        def wrapper(*args: Any, **kwargs: Any) -> Any:
            with ModeContext(**changes):
                return function(*args, **kwargs)

        return wrapper      # type: ignore[return-value]


def _in_mode_generator(function: Callable[..., Any], changes: dict[str, Any]) -> Callable[..., Any]:
    """A generator function whose steps run in a mode, while the code between the steps does not."""
    @functools.wraps(function)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        generator = function(*args, **kwargs)
        step: Callable[[], Any] = lambda: next(generator)     # noqa: E731
        while True:
            try:
                with ModeContext(**changes):
                    value = step()
            except StopIteration as stop:
                return stop.value
            try:
                sent = yield value
                step = functools.partial(generator.send, sent)
            except GeneratorExit:
                with ModeContext(**changes):
                    generator.close()
                raise
            except BaseException as error:      # thrown in by the caller: the generator decides
                step = functools.partial(generator.throw, error)

    return wrapper


class no_grad(ModeContext):
    """Do not record operations.

    Examples
    --------
    >>> import agrad
    >>> x = agrad.tensor(1.0, requires_grad=True)
    >>> with agrad.no_grad():
    ...     (x * 2).requires_grad
    False
    """

    def __new__(cls, function: _F | None = None) -> Any:
        return super().__new__(cls) if function is None else cls()(function)

    def __init__(self, function: None = None) -> None:
        super().__init__(grad=False)


class enable_grad(ModeContext):
    """Record operations, inside a `no_grad`; without effect inside `inference_mode`.

    Examples
    --------
    >>> import agrad
    >>> with agrad.no_grad(), agrad.enable_grad():
    ...     agrad.is_grad_enabled()
    True
    """

    def __new__(cls, function: _F | None = None) -> Any:
        return super().__new__(cls) if function is None else cls()(function)

    def __init__(self, function: None = None) -> None:
        super().__init__(grad=True)

    def __enter__(self) -> Self:
        if engine.is_inference_mode_enabled():
            self._before.append(engine.get_mode())
            return self
        return super().__enter__()


class set_grad_enabled(ModeContext):
    """Switch recording on or off, at once; as a context manager, until its end.

    Parameters
    ----------
    mode : bool

    Raises
    ------
    TypeError
        If `mode` is no bool.

    Examples
    --------
    >>> import agrad
    >>> with agrad.set_grad_enabled(False):
    ...     agrad.is_grad_enabled()
    False
    """

    def __init__(self, mode: bool) -> None:
        if not isinstance(mode, bool):
            raise TypeError(f"set_grad_enabled(): argument 'mode' must be bool, not {type(mode).__name__}")
        super().__init__(grad=mode)
        self._at_once: engine.Mode | None = engine.get_mode()
        engine.set_mode(self._at_once.replace(grad=mode))

    def __enter__(self) -> Self:
        if self._at_once is None:
            return super().__enter__()
        self._before.append(self._at_once)      # the mode is in force already; at the end the one before it comes back
        self._at_once = None
        return self

    def __call__(self, function: _F) -> _F:
        if self._at_once is not None:       # used as a decorator: the definition itself switches nothing
            engine.set_mode(self._at_once)
            self._at_once = None
        return super().__call__(function)


class inference_mode(ModeContext):
    """Like `no_grad`, and results cannot take part in recorded computations later.

    `inference_mode(False)` switches it off inside.

    Examples
    --------
    >>> import agrad
    >>> with agrad.inference_mode():
    ...     agrad.tensor(1.0).is_inference()
    True
    """

    def __new__(cls, mode: Any = True) -> Any:
        return super().__new__(cls) if isinstance(mode, bool) else cls()(mode)

    def __init__(self, mode: bool = True) -> None:
        super().__init__(inference=mode, grad=not mode)


class zero_stays_zero(ModeContext):
    """In walks, let a cotangent of zero stay zero where it meets an infinite derivative.

    What a mask did not take then brings no NaN, from `sqrt`, `log`, a division or any other elementwise op, element by
    element; the gradient of any other op has no NaN where the whole of its cotangent is zero. The walk has to run
    inside, of second order every one. The setting `zero_stays_zero` does it everywhere, and `zero_stays_zero(False)`
    switches it off inside.

    Examples
    --------
    >>> import agrad
    >>> x = agrad.tensor([0.0, 1.0], requires_grad=True)
    >>> y = agrad.where(x > 0, agrad.sqrt(x), 0.0).sum()
    >>> agrad.autograd.grad(y, x, retain_graph=True)
    (tensor([   nan, 0.5000]),)
    >>> with agrad.autograd.zero_stays_zero():
    ...     agrad.autograd.grad(y, x)
    (tensor([0.0000, 0.5000]),)
    """

    def __new__(cls, mode: Any = True) -> Any:
        return super().__new__(cls) if isinstance(mode, bool) else cls()(mode)

    def __init__(self, mode: bool = True) -> None:
        super().__init__(zero_stays_zero=mode)
