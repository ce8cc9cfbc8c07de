"""The backends that are installed: found through entry points, loaded when first used.

Nothing outside this package tests for an array library. It must not know rules or tensors' operations.
"""

from collections.abc import Callable
from functools import cache
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from agrad.backends.adapter import Adapter

_GROUP = "agrad.backends"

__all__ = ["BackendInfo", "available", "find", "names", "of", "on_load"]


class BackendInfo(NamedTuple):
    """A backend as `python -m agrad info` shows it; distribution and version are the array library's."""

    name: str
    distribution: str
    installed: bool
    version: str | None
    reason: str | None
    install: str


_loaded: "dict[str, Adapter]" = {}
_by_type: "dict[type, Adapter]" = {}
_completers: list[Callable[[Any], None]] = []


def on_load(complete: Callable[[Any], None]) -> None:
    """Call `complete(backend)` for every backend that is loaded: upper layers add their namespace."""
    _completers.append(complete)
    for backend in _loaded.values():
        complete(backend)


@cache
def _entry_points() -> dict[str, Any]:
    from importlib import metadata

    entries: Any = metadata.entry_points(group=_GROUP)
    found: dict[str, Any] = {}
    for entry in entries:
        if entry.name not in found or entry.dist.name == "agrad":     # agrad's own adapters come first
            found[entry.name] = entry
    return found


def names() -> tuple[str, ...]:
    """Names of all backends that have an adapter, whether their library is installed or not."""
    return tuple(sorted(_entry_points(), key=lambda name: (name != "numpy", name)))


def find(name: str) -> "Adapter":
    """The adapter of a backend.

    Raises
    ------
    ValueError
        If there is no such backend; the message lists those that are installed.
    ImportError
        If its library is not installed; the message says how to install it.

    Examples
    --------
    >>> import agrad.backends
    >>> agrad.backends.find("numpy").name
    'numpy'
    """
    if name in _loaded:
        return _loaded[name]
    entries = _entry_points()
    if name not in entries:
        raise ValueError(f"there is no backend {name!r}. {_what_there_is()}")
    try:
        adapter = entries[name].load()
    except (ImportError, OSError) as error:  # OSError: a shared library that is not there
        raise ImportError(
            f"the backend {name!r} cannot be used: {error}. Install it with: {_command(name)}. {_what_there_is()}"
        ) from error
    backend: Adapter = adapter()
    for complete in _completers:
        complete(backend)
    _loaded[name] = backend
    for array_type in backend.array_types:
        _by_type[array_type] = backend
    return backend


def of(array: object) -> "Adapter | None":
    """The backend whose array this is; None for anything else."""
    kind = type(array)
    backend = _by_type.get(kind)
    if backend is not None:
        return backend
    for base in kind.__mro__[1:-1]:
        if base in _by_type:
            return _by_type[base]
    root = kind.__module__.partition(".")[0]
    for name in _entry_points():
        if name not in _loaded and (root == name or root.startswith(name)):
            try:
                find(name)
            except ImportError:
                continue
            return _by_type.get(kind) or _of_subclass(kind)
    return None


def _of_subclass(kind: type) -> "Adapter | None":
    """The backend of a type that derives from one of its array types."""
    return next((backend for known, backend in _by_type.items() if issubclass(kind, known)), None)


def available() -> list[BackendInfo]:
    """All backends, installed or not.

    Examples
    --------
    >>> import agrad.backends
    >>> agrad.backends.available()[0].name
    'numpy'
    """
    found = []
    for name in names():
        try:
            backend = find(name)
            reason = None if backend.device_names() else "it finds no device"
            found.append(BackendInfo(name, backend.distribution, True, backend.version(), reason, _command(name)))
        except ImportError as error:
            reason = str(error.__cause__ or error)
            found.append(BackendInfo(name, name, False, None, reason, _command(name)))
    return found


def _command(name: str) -> str:
    entry = _entry_points()[name]
    return f"pip install '{entry.dist.name}[{name}]'" if name != "numpy" else "pip install numpy"


def _what_there_is() -> str:
    rows = _installed()
    missing = [name for name in names() if name not in rows]
    more = "; others: " + ", ".join(f"{_command(name)}" for name in missing) if missing else ""
    return f"Installed: {', '.join(rows)}{more}"


def _installed() -> list[str]:
    """Names of the backends whose library can be imported."""
    found = []
    for name in names():
        if name in _loaded:
            found.append(name)
            continue
        try:
            _entry_points()[name].load()
        except (ImportError, OSError):
            continue
        found.append(name)
    return found
