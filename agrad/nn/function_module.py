"""A module that is a function of `nn.functional` and its settings. Must know no layer."""

import inspect
from collections.abc import Callable
from typing import Any, ClassVar

from agrad.cython_core.engine import Tensor
from agrad.nn.module import Module

BUFFERS = ("weight", "pos_weight")  # settings that are part of the module's state


class FunctionModule(Module):
    """Base of the modules that hold nothing but the settings of one function.

    A class names its function; its constructor takes what the function takes behind the inputs, with the same defaults,
    and keeps each as an attribute. The function's `training` is the module's own.

    Parameters of a class statement
    -------------------------------
    function : callable
        Of `nn.functional`.
    inputs : int
        How many of its first parameters are given when the module is called.
    without : tuple of str
        Parameters of the function that the module does not have.
    """

    _function: ClassVar[Callable[..., Tensor]]
    _settings: ClassVar[inspect.Signature]      # of the constructor
    _passed: ClassVar[tuple[str, ...]]          # the attributes that the function is called with

    def __init_subclass__(
        cls, *, function: Callable[..., Tensor] | None = None, inputs: int = 1, without: tuple[str, ...] = (),
        **keywords: Any,
    ) -> None:
        super().__init_subclass__(**keywords)
        if function is None:
            return      # derived from a class that has one, or an intermediate base
        parameters = list(inspect.signature(function).parameters.values())[inputs:]
        parameters = [p for p in parameters if p.name not in without]
        cls._function = staticmethod(function)
        cls._passed = tuple(p.name for p in parameters)
        cls._settings = inspect.Signature([p for p in parameters if p.name != "training"])
        cls.__signature__ = cls._settings   # type: ignore[attr-defined]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__()
        try:
            bound = self._settings.bind(*args, **kwargs)
        except TypeError as error:
            raise TypeError(f"{type(self).__name__}(): {error}; it takes {self._settings}") from None
        bound.apply_defaults()
        for name, value in bound.arguments.items():
            if name in BUFFERS:
                self.register_buffer(name, value)
            else:
                setattr(self, name, value)

    def forward(self, *inputs: Any, **named: Any) -> Tensor:
        """The function of the inputs, with the module's settings."""
        return self._function(*inputs, **named, **{name: getattr(self, name) for name in self._passed})

    def extra_repr(self) -> str:
        """The settings; `inplace` where it is chosen."""
        values = {name: getattr(self, name) for name in self._settings.parameters}
        return ", ".join(f"{name}={value!r}" for name, value in values.items() if name != "inplace" or value)
