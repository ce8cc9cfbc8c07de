"""Where agrad's settings come from: one table of settings, one order of levels, and the origin of every value.

From strongest to weakest:

1. the argument of the call (whoever has one does not ask this module);
2. the innermost scope, such as ``with agrad.use_backend("torch")`` (the caller passes what its scope holds);
3. a call such as ``agrad.set_default_backend("torch")``;
4. an environment variable such as ``AGRAD_BACKEND=torch``;
5. the table ``[tool.agrad]`` of the nearest ``pyproject.toml``, searched upward from the current directory;
6. the built-in default.

Levels 4 and 5 are read once, when a setting is first needed, so that a default never moves under a running program.
This is the lowest layer: it knows nothing of arrays, backends or plugins, and whether a backend or device of the
configured name exists is for them to say.
"""

import os
from _thread import allocate_lock  # threading itself takes two milliseconds to import
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

__all__ = ["SETTINGS", "Setting", "describe", "lookup", "reset", "set_default", "walk_policy"]


class Setting(NamedTuple):
    """A setting's value and where it came from, in words."""

    name: str
    value: Any
    source: str


class _Definition(NamedTuple):
    """What a setting is called at each level, and what it may hold."""

    variable: str  # in the environment
    key: str  # in [tool.agrad]
    default: Any  # None: the backend decides
    check: Callable[[Any], Any]  # returns the value as the program sees it, or raises ValueError saying what is wanted
    scope: str  # the origin of a scoped value
    call: str  # the origin of a value that the program set


def _name(value: Any) -> str:
    if not isinstance(value, str) or not value.strip():
        raise ValueError("expected a name")
    return value.strip()


def _one_of(*choices: str) -> Callable[[Any], str]:
    def check(value: Any) -> str:
        if not isinstance(value, str) or value.strip() not in choices:
            raise ValueError("expected one of " + ", ".join(map(repr, choices)))
        return value.strip()

    return check


def _switch(value: Any) -> bool:
    """On or off; in the environment, where only text exists, a word for it."""
    words = {"1": True, "true": True, "on": True, "yes": True, "0": False, "false": False, "off": False, "no": False}
    found = value if isinstance(value, bool) else words.get(value.strip().lower()) if isinstance(value, str) else None
    if found is None:
        raise ValueError("expected true or false")
    return found


def _names(value: Any) -> tuple[str, ...]:
    """A list of names; in the environment, where lists do not exist, names with commas between them."""
    items = value.split(",") if isinstance(value, str) else value
    if not isinstance(items, (list, tuple)) or not all(isinstance(item, str) and item.strip() for item in items):
        raise ValueError("expected a list of distributions, the preferred one first")
    return tuple(item.strip() for item in items)


_BACKEND_SCOPE = "with use_backend(...)"
_MAY_BE_OBJECTS = ("backend", "device", "dtype")  # when the program sets them

SETTINGS: Mapping[str, _Definition] = {
    "backend": _Definition("AGRAD_BACKEND", "backend", "numpy", _name, _BACKEND_SCOPE, "set_default_backend()"),
    "device": _Definition("AGRAD_DEVICE", "device", None, _name, _BACKEND_SCOPE, "set_default_device()"),
    "dtype": _Definition(
        "AGRAD_DTYPE",
        "dtype",
        None,
        _one_of("float16", "bfloat16", "float32", "float64"),
        _BACKEND_SCOPE,
        "set_default_dtype()",
    ),
    "plugins.prefer": _Definition(
        "AGRAD_PLUGINS", "plugins", (), _names, "with rules.override(...)", "set_default('plugins.prefer')"
    ),
    "on_saved_write": _Definition(
        "AGRAD_ON_SAVED_WRITE",
        "on_saved_write",
        "raise",
        _one_of("raise", "copy"),
        "with allow_mutation_on_saved_tensors()",
        "set_default('on_saved_write')",
    ),
    "zero_stays_zero": _Definition(
        "AGRAD_ZERO_STAYS_ZERO",
        "zero_stays_zero",
        False,
        _switch,
        "with zero_stays_zero()",
        "set_default('zero_stays_zero')",
    ),
}

_called: dict[str, Setting] = {}  # level 3
_ambient: dict[str, Setting] = {}  # levels 4 to 6, filled on first need
_project: list[tuple[str, dict[str, Any]]] = []  # the file's table, once read: at most one pair
_policy: list[tuple[str, bool]] = []  # what every walk asks for, once looked up: at most one pair
_changing = allocate_lock()  # so that no walk keeps a policy from before a change


def lookup(name: str, scoped: Any = None) -> Setting:
    """Return the value of a setting and its origin.

    Parameters
    ----------
    name : str
        One of ``SETTINGS``.
    scoped : object, optional
        What the innermost scope holds for this setting; None where it holds nothing.

    Returns
    -------
    Setting
        ``.value`` is None where the backend decides (device and dtype that nobody configured). A value that the program
        set is returned as it was given; one from the environment or a file is a string, or a tuple of strings.

    Raises
    ------
    LookupError
        There is no such setting.
    ValueError
        The environment or the file holds something that cannot be meant.

    Examples
    --------
    >>> from agrad.configuration import lookup
    >>> lookup("backend", scoped="torch")
    Setting(name='backend', value='torch', source='with use_backend(...)')
    """
    if scoped is not None:
        return Setting(name, scoped, _definition(name).scope)
    return _called.get(name) or _ambient.get(name) or _ambient.setdefault(name, _read(name))


def set_default(name: str, value: Any) -> None:
    """Set a value for the whole process, above the environment and below every scope; None takes it back.

    Backends, devices and dtypes may be objects as well as names: whoever offers the public call checks them.

    Examples
    --------
    >>> from agrad.configuration import lookup, set_default
    >>> set_default("on_saved_write", "copy")
    >>> lookup("on_saved_write").value
    'copy'
    >>> set_default("on_saved_write", None)
    """
    definition = _definition(name)
    if value is not None and (isinstance(value, str) or name not in _MAY_BE_OBJECTS):
        value = _checked(definition.check, value, definition.call)
    with _changing:
        _policy.clear()
        if value is None:
            _called.pop(name, None)
        else:
            _called[name] = Setting(name, value, definition.call)


def describe(scoped: Mapping[str, Any] | None = None) -> list[Setting]:
    """Return every setting with its origin, in the order of ``SETTINGS``.

    Parameters
    ----------
    scoped : mapping, optional
        What the innermost scope holds, by the name of the setting.

    Examples
    --------
    >>> from agrad.configuration import describe
    >>> [setting.name for setting in describe()]
    ['backend', 'device', 'dtype', 'plugins.prefer', 'on_saved_write', 'zero_stays_zero']
    """
    held = scoped or {}
    return [lookup(name, held.get(name)) for name in SETTINGS]


def walk_policy() -> tuple[str, bool]:
    """Return what the engine asks at every walk: the values of ``on_saved_write`` and ``zero_stays_zero``.

    Examples
    --------
    >>> from agrad.configuration import walk_policy
    >>> walk_policy()
    ('raise', False)
    """
    for policy in _policy:
        return policy
    with _changing:
        policy = lookup("on_saved_write").value, lookup("zero_stays_zero").value
        _policy[:] = [policy]
    return policy


def reset() -> None:
    """Forget what the program set and what was read; the next question reads the environment and the file anew."""
    with _changing:
        for remembered in (_called, _ambient, _project, _policy):
            remembered.clear()


# ---- the environment and the file ------------------------------------------------------------------------------------


def _read(name: str) -> Setting:
    definition = _definition(name)
    text = os.environ.get(definition.variable, "").strip()
    if text:
        source = f"environment {definition.variable}"
        return Setting(name, _checked(definition.check, text, source), source)
    path, table = _project_table()
    if definition.key in table:
        return Setting(name, table[definition.key], f"{path} [tool.agrad]")
    return Setting(name, definition.default, "default")


def _project_table() -> tuple[str, dict[str, Any]]:
    """The file and its checked table: all of it, since a misspelt key is read by nobody and would go unnoticed."""
    if not _project:
        path = _nearest_project_file()
        _project.append((path, _checked_table(path, _parse(path)) if path else {}))
    return _project[0]


def _nearest_project_file() -> str:
    try:
        folder = os.getcwd()
    except OSError:  # the current directory was removed
        return ""
    while True:
        path = os.path.join(folder, "pyproject.toml")
        if os.path.isfile(path):
            return path
        folder, below = os.path.dirname(folder), folder
        if folder == below:
            return ""


def _parse(path: str) -> Any:
    """What the file says under [tool.agrad]; a file that never mentions agrad need not be valid, nor cost an import."""
    with open(path, "rb") as file:
        content = file.read()
    if b"agrad" not in content:
        return {}
    import tomllib

    try:
        tools = tomllib.loads(content.decode()).get("tool")
    except ValueError as error:  # not TOML, or not UTF-8
        raise ValueError(f"{path} cannot be read: {error}") from error
    return tools.get("agrad", {}) if isinstance(tools, dict) else {}


def _checked_table(path: str, table: Any) -> dict[str, Any]:
    if not isinstance(table, dict):
        raise ValueError(f"{path}: tool.agrad must be a table, not {table!r}")
    checks = {definition.key: definition.check for definition in SETTINGS.values()}
    for key in table:
        if key not in checks:
            raise ValueError(f"{path} [tool.agrad]: unknown key {key!r}; known are {', '.join(checks)}")
    return {key: _checked(checks[key], value, f"{path} [tool.agrad]: {key}") for key, value in table.items()}


def _checked(check: Callable[[Any], Any], value: Any, where: str) -> Any:
    try:
        return check(value)
    except ValueError as error:
        raise ValueError(f"{where}: {error}, not {value!r}") from None


def _definition(name: str) -> _Definition:
    try:
        return SETTINGS[name]
    except KeyError:
        raise LookupError(f"agrad has no setting {name!r}; it has {', '.join(SETTINGS)}") from None
