"""Facades: the standard's names on Tensors, one per backend and device.

`x.__array_namespace__()` returns the one where x lives, so that constants which third-party code creates land where the
data is. Must know no single backend and no rule.
"""

from functools import reduce
from importlib import import_module
from types import ModuleType
from typing import Any

from agrad import backends, dtypes, standard
from agrad.creation import CREATION, creation_function
from agrad.cython_core import engine
from agrad.dtype_functions import FUNCTIONS, namespace_info

__all__ = ["Namespace", "Prefix", "facade"]


class Namespace(ModuleType):
    """The standard's functions, dtypes and constants, and every op of every plugin, on Tensors of one backend.

    What it creates lands on `device`, or on the library's default device if that is None. `namespace[device]` is the
    namespace of another device of the backend, one object each.
    """

    def __init__(self, backend: Any, device: Any = None, prefix: str = "") -> None:
        place = backend.name if device is None else f"{backend.name}[{backend.device_name(device)!r}]"
        super().__init__(
            f"agrad.namespaces.{place}{'.' + prefix[:-1] if prefix else ''}",
            f"The Array API standard {standard.VERSION} on agrad Tensors of {place}.",
        )
        self.__dict__.update(_backend=backend, _device=device, _prefix=prefix, _devices={})
        if not prefix:
            self.__dict__["__array_api_version__"] = standard.VERSION
            self.__dict__["__array_namespace_info__"] = namespace_info(backend, device)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        value = self._find(standard.SAME.get(self._prefix + name, self._prefix + name))
        self.__dict__[name] = value     # found once
        return value

    def _find(self, full: str) -> Any:
        if full in CREATION:
            return creation_function(full, self._backend, self._device)
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
        if _is_prefix(full):
            return Namespace(self._backend, self._device, full + ".")
        raise AttributeError(f"{self.__name__} has no attribute {full!r}")

    def __getitem__(self, device: Any) -> "Namespace":
        if self._prefix:
            whole = f"agrad.namespaces.{self._backend.name}"
            raise TypeError(f"devices are chosen at the backend's namespace: {whole}[...]")
        own = self._backend.to_device(device)
        if own == self._backend.usual_device():
            return self._backend.facade  # type: ignore[no-any-return]
        name = self._backend.device_name(own)
        main: Namespace = self._backend.facade
        # setdefault: two threads that meet here still get one object.
        found: Namespace = main._devices.get(name) or main._devices.setdefault(name, Namespace(self._backend, own))
        return found

    def __dir__(self) -> list[str]:
        names = _names_under(self._prefix)
        return sorted(names if self._prefix else {*names, *CREATION, *standard.CONSTANTS, *dtypes.DTYPES})

    def __reduce__(self) -> Any:
        device = None if self._device is None else self._backend.device_name(self._device)
        return _restore, (self._backend.name, device, self._prefix)

    def __repr__(self) -> str:
        return f"<namespace {self.__name__}>"


def _is_prefix(full: str) -> bool:
    """Whether there are ops under a name: an extension of the standard, or a plugin, which is loaded then."""
    return engine.owns_prefix(full) or any(name.startswith(full + ".") for name in engine.all_ops())


def _names_under(prefix: str) -> set[str]:
    """The next part of all public names that start with a prefix."""
    names = (*engine.all_ops(), *standard.SAME, *CREATION)
    parts = {name.removeprefix(prefix).partition(".")[0] for name in names if name.startswith(prefix)}
    return {part for part in parts if not part.startswith("_") or part.startswith("__")}


def _restore(name: str, device: str | None, prefix: str) -> Any:
    place = facade(name) if device is None else facade(name)[device]
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


class Prefix(ModuleType):
    """An extension of the standard, or the ops of a plugin, at the top level: `agrad.linalg`, `agrad.physics`."""

    def __init__(self, prefix: str) -> None:
        name = prefix[:-1]
        super().__init__(f"agrad.{name}", f"The ops under `{name}`; each follows the backend of its arrays.")
        self.__dict__["_prefix"] = prefix

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        full = standard.SAME.get(self._prefix + name, self._prefix + name)
        try:
            value: Any = creation_function(full) if full in CREATION else engine.find_op(full).function
        except LookupError as error:
            if not any(op.startswith(f"{full}.") for op in engine.all_ops()):
                raise AttributeError(str(error)) from None
            value = Prefix(f"{full}.")
        self.__dict__[name] = value     # found once
        return value

    def __dir__(self) -> list[str]:
        return sorted(_names_under(self._prefix))

    def __reduce__(self) -> Any:
        return _restore_prefix, (self._prefix,)

    def __repr__(self) -> str:
        return f"<ops {self.__name__}>"


def _restore_prefix(prefix: str) -> Any:
    return reduce(getattr, prefix[:-1].split("."), import_module("agrad"))
