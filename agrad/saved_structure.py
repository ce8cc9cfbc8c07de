"""Nested Python values as JSON, with their tensors apart under readable names, and back.

What can be written: dicts, lists, tuples, tensors, None, booleans, numbers and strings. JSON's own values stand for
themselves; all else is an object with one key, which says what it is: {"tuple": [...]}. Must know nothing of files.
"""

import math
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import numpy as np

Path = tuple[Any, ...]
KEYS = (str, int, float, bool, type(None), tuple)       # what keys of dicts may be
MAPPINGS = {dict: "dict", OrderedDict: "OrderedDict"}


class StructureError(ValueError):
    """What should describe a nested value does not."""


def place(path: Path) -> str:
    """A path inside a value, as a program would write it."""
    return "obj" + "".join(f"[{key!r}]" for key in path)


def encode(value: Any, name_of: Callable[[Path, Any], dict[str, Any] | None]) -> Any:
    """A value as what JSON can say; `name_of(path, value)` describes a tensor, None says that it is none.

    Raises
    ------
    TypeError
        For an object that cannot be saved; the message names the place inside the value.
    ValueError
        If a container contains itself.
    """
    return _encode(value, (), name_of, {})


def _encode(value: Any, path: Path, name_of: Any, outside: dict[int, Path]) -> Any:
    kind = type(value)
    if value is None or kind in (bool, str, int):
        return value
    if kind is float:
        return value if math.isfinite(value) else {"float": repr(value)}
    if kind is complex:
        return {"complex": [_encode(part, path, name_of, outside) for part in (value.real, value.imag)]}
    if isinstance(value, np.generic) and type(value.item()) in (bool, int, float, complex):     # not long double
        return _encode(value.item(), path, name_of, outside)
    if kind in (list, tuple) or kind in MAPPINGS:
        if id(value) in outside:
            raise ValueError(f"{place(path)} cannot be saved: it contains itself, as {place(outside[id(value)])}")
        outside[id(value)] = path
        found = _encode_container(value, path, name_of, outside)
        del outside[id(value)]
        return found
    found = name_of(path, value)
    if found is None:
        raise TypeError(_refusal(path, value))
    return found


def _encode_container(value: Any, path: Path, name_of: Any, outside: dict[int, Path]) -> Any:
    if isinstance(value, (list, tuple)):
        items = [_encode(item, (*path, i), name_of, outside) for i, item in enumerate(value)]
        return items if type(value) is list else {"tuple": items}
    pairs = [[_encode_key(key, path), _encode(item, (*path, key), name_of, outside)] for key, item in value.items()]
    return {MAPPINGS[type(value)]: pairs}


def _encode_key(key: Any, path: Path) -> Any:
    if type(key) not in KEYS:
        raise TypeError(
            f"a key of {place(path)} cannot be saved: {key!r}, of type {_type_name(key)}; "
            "keys are strings, numbers, booleans, None or tuples of these"
        )
    if type(key) is tuple:
        return {"tuple": [_encode_key(part, path) for part in key]}
    return _encode(key, path, None, {})


def _refusal(path: Path, value: Any) -> str:
    what = f"{place(path)} cannot be saved: it is of type {_type_name(value)}"
    if hasattr(value, "state_dict"):
        return f"{what}. Save its state_dict(), and load that into an object made in the same way"
    if isinstance(value, tuple) or hasattr(value, "__dataclass_fields__") or isinstance(value, dict):
        return f"{what}, which a file could only name. Save a plain tuple or dict of what it holds"
    return f"{what}; a file holds tensors, dicts, lists, tuples, None, booleans, numbers and strings, and no code"


def _type_name(value: Any) -> str:
    cls = type(value)
    return cls.__qualname__ if cls.__module__ == "builtins" else f"{cls.__module__}.{cls.__qualname__}"


def decode(node: Any, tensor_of: Callable[[dict[str, Any]], Any]) -> Any:
    """The value that `encode` described; `tensor_of(description)` gives a tensor.

    Raises
    ------
    StructureError
        For what `encode` does not write.
    """
    if node is None or isinstance(node, (bool, int, float, str)):
        return node
    if isinstance(node, list):
        return [decode(item, tensor_of) for item in node]
    if "tensor" in node:
        return tensor_of(node)
    (kind, inside), *more = node.items() or [("", None)]
    if not more and kind in ("tuple", "complex", "dict", "OrderedDict") and isinstance(inside, list):
        items = [decode(item, tensor_of) for item in inside]
        if kind == "tuple":
            return tuple(items)
        if kind == "complex" and len(items) == 2 and all(isinstance(part, float) for part in items):
            return complex(*items)
        if kind in ("dict", "OrderedDict") and all(isinstance(pair, list) and len(pair) == 2 for pair in items):
            return _mapping(kind, items)
    if not more and kind == "float" and inside in ("inf", "-inf", "nan"):
        return float(inside)
    raise StructureError(f"an object of the keys {list(node)} stands for nothing")


def _mapping(kind: str, pairs: list[Any]) -> Any:
    try:
        made = dict(pairs)
    except TypeError:
        raise StructureError("a key of a dict cannot be one") from None
    if len(made) != len(pairs):
        raise StructureError("a dict has a key twice")
    return made if kind == "dict" else OrderedDict(made)
