"""Nested containers as a flat list of leaves and a structure that puts them back.

Containers are dicts and other mappings, lists, tuples, named tuples, dataclasses, and None, which has no leaves. All
else is a leaf. Must know nothing of tensors.
"""

import dataclasses
import functools
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any


class Structure:
    """A container without its leaves: what kind, the keys of its children, and their structures (LEAF for a leaf).

    Two are equal if leaves of one may stand in the other. Mappings are compared by key, in any order.
    """

    __slots__ = ("children", "keys", "kind", "make", "size")

    def __init__(self, kind: str, make: Callable[..., Any], keys: Sequence[Any], children: tuple[Any, ...]) -> None:
        self.kind = kind        # the type's name, but "dict" for every mapping
        self.make = make        # takes (keys, children), gives the container
        self.keys = keys
        self.children = children
        self.size = sum(1 if child is LEAF else child.size for child in children)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Structure) or self.kind != other.kind or len(self.keys) != len(other.keys):
            return False
        if self.kind != "dict":
            return self.keys == other.keys and self.children == other.children
        theirs = dict(zip(other.keys, other.children, strict=True))
        return all(
            key in theirs and child == theirs[key] for key, child in zip(self.keys, self.children, strict=True)
        )

    __hash__ = None     # type: ignore[assignment]

    def __repr__(self) -> str:
        inside = [repr(child) for child in self.children]
        if self.kind == "NoneType":
            return "None"
        if self.kind == "list":
            return f"[{', '.join(inside)}]"
        if self.kind == "tuple":
            return f"({', '.join(inside)}{',' if len(inside) == 1 else ''})"
        if self.kind == "dict":
            return f"{{{', '.join(f'{k!r}: {c}' for k, c in zip(self.keys, inside, strict=True))}}}"
        return f"{self.kind}({', '.join(f'{k}={c}' for k, c in zip(self.keys, inside, strict=True))})"


class _Leaf:
    """The structure of a leaf; there is one."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "*"


LEAF = _Leaf()


class StructureError(ValueError):
    """Two trees that should have the same structure have not."""


def flatten(tree: Any) -> tuple[list[Any], Any]:
    """The leaves of a tree, and its structure."""
    kind = _kind_of(tree.__class__)
    if kind is None:
        return [tree], LEAF
    leaves: list[Any] = []
    return leaves, _collect(tree, kind, leaves)


def leaves_of(tree: Any) -> list[Any]:
    """The leaves of a tree."""
    return flatten(tree)[0]


def unflatten(structure: Any, leaves: Sequence[Any]) -> Any:
    """The tree with these leaves."""
    if structure is LEAF:
        return leaves[0]
    return _build(structure, iter(leaves))


def map_leaves(function: Callable[[Any], Any], tree: Any) -> Any:
    """The tree with a function of its leaves in their place."""
    leaves, structure = flatten(tree)
    return unflatten(structure, [function(leaf) for leaf in leaves])


def flatten_like(structure: Any, tree: Any) -> list[Any]:
    """The leaves of a tree of a known structure, in the order of that structure; StructureError for another one."""
    leaves, found = flatten(tree)
    if found is structure:
        return leaves
    if found != structure:
        raise StructureError(f"{found!r} is not {structure!r}")
    if _in_order(structure, found):
        return leaves
    return spread(structure, tree)


def spread(structure: Any, prefix: Any) -> list[Any]:
    """One value per leaf of a structure, from a tree that may end early: its leaf there counts for all below."""
    if structure is LEAF:
        if _kind_of(prefix.__class__) is not None and prefix is not None:
            raise StructureError(f"{flatten(prefix)[1]!r} is not {structure!r}")
        return [prefix]
    found: list[Any] = []
    _spread(structure, prefix, found)
    return found


def _spread(structure: Any, prefix: Any, found: list[Any]) -> None:
    kind = _kind_of(prefix.__class__)
    if kind is None or prefix is None:      # None ends a prefix as a leaf does: "do not map" in in_dims
        found += [prefix] * (1 if structure is LEAF else structure.size)
        return
    if structure is LEAF:
        raise StructureError(f"{flatten(prefix)[1]!r} is not {structure!r}")
    keys, children = kind.open(prefix)
    same = set(keys) == set(structure.keys) if kind.name == "dict" else list(keys) == list(structure.keys)
    if kind.name != structure.kind or not same:
        raise StructureError(f"{flatten(prefix)[1]!r} is not {structure!r}")
    by_key = dict(zip(keys, children, strict=True))
    for key, child in zip(structure.keys, structure.children, strict=True):
        _spread(child, by_key[key], found)


def _in_order(a: Any, b: Any) -> bool:
    """Whether two equal structures have their mappings in the same order."""
    if a is LEAF:
        return True
    return list(a.keys) == list(b.keys) and all(map(_in_order, a.children, b.children))


def _collect(tree: Any, kind: "_Kind", leaves: list[Any]) -> Structure:
    keys, children = kind.open(tree)
    structures: list[Any] = []
    for child in children:
        below = _kind_of(child.__class__)
        if below is None:
            leaves.append(child)
            structures.append(LEAF)
        else:
            structures.append(_collect(child, below, leaves))
    return Structure(kind.name, kind.maker(tree), keys, tuple(structures))


def _build(structure: Any, leaves: Iterator[Any]) -> Any:
    children = [next(leaves) if child is LEAF else _build(child, leaves) for child in structure.children]
    return structure.make(structure.keys, children)


# ---- kinds of containers


@dataclasses.dataclass(slots=True)
class _Kind:
    name: str
    open: Callable[[Any], tuple[Sequence[Any], Sequence[Any]]]     # tree -> keys, children
    maker: Callable[[Any], Callable[..., Any]]      # tree -> a function of (keys, children) that makes one like it


def _of_sequence(tree: Any) -> tuple[Sequence[Any], Sequence[Any]]:
    return range(len(tree)), tree


def _of_mapping(tree: Any) -> tuple[Sequence[Any], Sequence[Any]]:
    return list(tree), [tree[key] for key in tree]


def _make_dict(keys: Sequence[Any], children: list[Any]) -> dict[Any, Any]:
    return dict(zip(keys, children, strict=True))


def _make_list(_: Any, children: list[Any]) -> list[Any]:
    return children


def _make_tuple(_: Any, children: list[Any]) -> tuple[Any, ...]:
    return tuple(children)


def _like_mapping(tree: Any) -> Callable[..., Any]:
    if type(tree) is dict:
        return _make_dict
    rest = (tree.default_factory,) if isinstance(tree, defaultdict) else ()
    return functools.partial(_make_mapping, type(tree), rest)


def _make_mapping(cls: type, rest: tuple[Any, ...], keys: Sequence[Any], children: list[Any]) -> Any:
    return cls(*rest, dict(zip(keys, children, strict=True)))


def _make_instance(cls: type, keys: Sequence[str], children: list[Any]) -> Any:
    """A dataclass instance with these fields, frozen or not; its __init__ is not run, for leaves may be anything."""
    made: Any = object.__new__(cls)
    for key, child in zip(keys, children, strict=True):
        object.__setattr__(made, key, child)
    return made


@functools.lru_cache(maxsize=1024)
def _kind_of(cls: type) -> _Kind | None:
    """What sort of container the instances of a type are; None for a leaf."""
    if cls is type(None):
        return _Kind("NoneType", lambda tree: ((), ()), lambda tree: lambda keys, children: None)
    if issubclass(cls, tuple) and hasattr(cls, "_fields"):
        names, make = cls._fields, lambda keys, children: cls._make(children)   # type: ignore[attr-defined]
        return _Kind(cls.__qualname__, lambda tree: (names, tree), lambda tree: make)
    if issubclass(cls, tuple):
        if cls is tuple:
            return _Kind("tuple", _of_sequence, lambda tree: _make_tuple)
        return _Kind(cls.__qualname__, _of_sequence, lambda tree: lambda keys, children: cls(children))
    if issubclass(cls, list):
        if cls is list:
            return _Kind("list", _of_sequence, lambda tree: _make_list)
        return _Kind(cls.__qualname__, _of_sequence, lambda tree: lambda keys, children: cls(children))
    if issubclass(cls, Mapping):
        return _Kind("dict", _of_mapping, _like_mapping)
    if dataclasses.is_dataclass(cls):
        fields = tuple(field.name for field in dataclasses.fields(cls))
        make_one = functools.partial(_make_instance, cls)
        return _Kind(
            cls.__qualname__, lambda tree: (fields, [getattr(tree, name) for name in fields]), lambda tree: make_one
        )
    return None
