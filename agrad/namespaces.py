"""Facades: the standard's names on Tensors, one per backend and device.

`x.__array_namespace__()` returns the one where x lives, so that constants which third-party code creates land where the
data is. Must know no single backend and no rule.
"""

from types import ModuleType
from typing import Any

from agrad import backends, dtypes, standard
from agrad.creation import CREATION, creation_function
from agrad.cython_core import engine
from agrad.dtype_functions import FUNCTIONS, namespace_info

__all__ = ["Namespace", "Prefix", "facade"]


class Namespace(ModuleType):
    """The standard's functions, dtypes and constants, and every op of every plugin, on Tensors of one backend."""

    def __init__(self, backend: Any, prefix: str = "") -> None:
        super().__init__(
            f"agrad.namespaces.{backend.name}{'.' + prefix[:-1] if prefix else ''}",
            f"The Array API standard {standard.VERSION} on agrad Tensors of {backend.name}.",
        )
        self.__dict__.update(_backend=backend, _prefix=prefix, __array_api_version__=standard.VERSION)
        self.__dict__["__array_namespace_info__"] = namespace_info(backend)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        full = self._prefix + name
        value = self._find(full)
        self.__dict__[name] = value     # found once
        return value

    def _find(self, full: str) -> Any:
        if full in CREATION:
            return creation_function(full, self._backend)
        if full in FUNCTIONS:
            return FUNCTIONS[full]
        try:
            return engine.find_op(full).function
        except LookupError:
            pass
        if full in standard.CONSTANTS:
            return standard.CONSTANTS[full]
        if full in dtypes.DTYPES and self._backend.has_dtype(dtypes.DTYPES[full]):
            return dtypes.DTYPES[full]
        if any(name.startswith(full + ".") for name in engine.all_ops()):
            return Namespace(self._backend, full + ".")
        raise AttributeError(f"{self.__name__} has no attribute {full!r}")

    def __dir__(self) -> list[str]:
        ops = (name for name in engine.all_ops() if name.startswith(self._prefix))
        names = {name.removeprefix(self._prefix).partition(".")[0] for name in ops}
        return sorted(names if self._prefix else {*names, *CREATION, *standard.CONSTANTS, *dtypes.DTYPES})

    def __reduce__(self) -> Any:
        return _restore, (self._backend.name, self._prefix)

    def __repr__(self) -> str:
        return f"<namespace {self.__name__}>"


def _restore(name: str, prefix: str) -> Any:
    place = facade(name)
    for part in filter(None, prefix.split(".")):
        place = getattr(place, part)
    return place


def facade(name: str) -> Namespace:
    """The namespace of a backend, one object each.

    Examples
    --------
    >>> import agrad
    >>> x = agrad.zeros(2)
    >>> x.__array_namespace__() is agrad.namespaces.numpy
    True
    """
    return backends.find(name).facade       # type: ignore[no-any-return]


def __getattr__(name: str) -> Any:
    """`agrad.namespaces.numpy`."""
    if not name.startswith("_") and name in backends.names():
        return facade(name)
    raise AttributeError(f"module 'agrad.namespaces' has no attribute {name!r}")


backends.on_load(lambda backend: setattr(backend, "facade", Namespace(backend)))


class Prefix:
    """The ops of a plugin at the top level: `agrad.physics`."""

    def __init__(self, prefix: str) -> None:
        self._prefix = prefix

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        try:
            return engine.find_op(self._prefix + name).function
        except LookupError as error:
            if any(op.startswith(f"{self._prefix}{name}.") for op in engine.all_ops()):
                return Prefix(f"{self._prefix}{name}.")
            raise AttributeError(str(error)) from None

    def __dir__(self) -> list[str]:
        return sorted(name.removeprefix(self._prefix) for name in engine.all_ops() if name.startswith(self._prefix))

    def __repr__(self) -> str:
        return f"<ops agrad.{self._prefix[:-1]}>"
