"""agrad.func.pytrees: containers as leaves and a structure."""

import collections
import dataclasses
import types
import typing

import pytest

from agrad.func.pytrees import (
    LEAF,
    StructureError,
    flatten,
    flatten_like,
    leaves_of,
    map_leaves,
    spread,
    unflatten,
)

Pair = collections.namedtuple("Pair", "a b")


class Typed(typing.NamedTuple):
    x: object
    y: object = None


@dataclasses.dataclass
class Model:
    weight: object
    rest: object = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True, slots=True)
class Frozen:
    weight: object
    bias: object

    def __post_init__(self):
        if self.weight == self.bias:
            raise ValueError("not twice")


class Numbers(list):
    pass


TREES = {
    "leaf": 1.0,
    "text": "text",
    "none": None,
    "empty": (),
    "tuple": (1, 2),
    "list": [1, [2, ()], None],
    "dict": {"b": 1, "a": {"c": (2, 3)}},
    "named": Pair(1, Pair([2], None)),
    "typed": Typed(1),
    "dataclass": Model(1, {"a": Model([2, 3])}),
    "frozen": Frozen(1, (2, 3)),
    "ordered": collections.OrderedDict(z=1, a=2),
    "default": collections.defaultdict(list, a=[1]),
    "a subclass": Numbers([1, 2]),
}


@pytest.mark.parametrize("name", TREES)
def test_a_tree_is_its_leaves_and_its_structure(name):
    tree = TREES[name]
    leaves, structure = flatten(tree)
    again = unflatten(structure, leaves)
    assert again == tree
    assert type(again) is type(tree)
    assert flatten(again)[1] == structure
    assert leaves == leaves_of(tree) == flatten_like(structure, again)
    assert not [leaf for leaf in leaves if isinstance(leaf, (tuple, list, dict, type(None)))]


def test_leaves_come_in_the_order_of_the_containers():
    assert leaves_of({"b": 1, "a": (2, [3])}) == [1, 2, 3]
    assert leaves_of(Frozen(1, Model(2, 3))) == [1, 2, 3]


def test_structures_in_words():
    tree = {"a": (1,), "b": [2, None], "c": Pair(1, Frozen(2, ())), "d": collections.OrderedDict()}
    assert repr(flatten(tree)[1]) == "{'a': (*,), 'b': [*, None], 'c': Pair(a=*, b=Frozen(weight=*, bias=())), 'd': {}}"
    assert repr(flatten(3)[1]) == "*"


def test_a_default_factory_is_kept():
    again = map_leaves(lambda x: x + 1, TREES["default"])
    assert again["a"] == [2]
    assert again["new"] == []


def test_read_only_mappings():
    again = map_leaves(lambda x: x + 1, types.MappingProxyType({"a": 1}))
    assert type(again) is types.MappingProxyType
    assert again["a"] == 2


def test_a_dataclass_is_not_checked_again():
    """What stands in its place on the way, gradients or axes, need not be what its __init__ accepts."""
    assert map_leaves(lambda x: 0, Frozen(1, 2)).weight == 0


@pytest.mark.parametrize(("one", "other"), [
    ((1, 2), [1, 2]),
    ((1, 2), (1, 2, 3)),
    ((1, 2), (1, (2,))),
    ((1, 2), Pair(1, 2)),
    ({"a": 1}, {"b": 1}),
    ({"a": 1}, {"a": 1, "b": 2}),
    ({"a": 1}, {"a": [1]}),
    (Pair(1, 2), Frozen(1, 2)),
    (None, 1),
    ((), None),
])
def test_different_structures(one, other):
    for a, b in ((one, other), (other, one)):
        assert flatten(a)[1] != flatten(b)[1]
        with pytest.raises(StructureError):
            flatten_like(flatten(a)[1], b)


def test_mappings_are_equal_in_any_order():
    structure = flatten({"a": 1, "b": (2, 3)})[1]
    other = {"b": (20, 30), "a": 10}
    assert flatten(other)[1] == structure
    assert flatten_like(structure, other) == [10, 20, 30]
    assert flatten_like(structure, collections.OrderedDict(other)) == [10, 20, 30]


@pytest.mark.parametrize(("tree", "prefix", "expected"), [
    ((1, 2), 0, [0, 0]),
    ((1, {"a": 2, "b": 3}), (0, 1), [0, 1, 1]),
    ((1, {"a": 2, "b": 3}), (None, {"b": 5, "a": 4}), [None, 4, 5]),
    ((1, (2, 3)), (0, None), [0, None, None]),
    ((1, None), (0, 7), [0]),
    ((1, None), (0, None), [0]),
    (1, 0, [0]),
    (1, None, [None]),
    (Pair(1, [2]), Pair(0, [1]), [0, 1]),
])
def test_a_shorter_tree_counts_for_what_is_below(tree, prefix, expected):
    assert spread(flatten(tree)[1], prefix) == expected


@pytest.mark.parametrize(("tree", "prefix"), [
    (1, (0,)), ((1, 2), (0,)), ((1, 2), [0, 0]), ({"a": 1}, {"b": 0}), ((1, (2,)), (0, (0, 0))), (Pair(1, 2), (0, 0)),
])
def test_a_tree_that_does_not_fit(tree, prefix):
    with pytest.raises(StructureError):
        spread(flatten(tree)[1], prefix)


def test_a_leaf_has_the_one_structure():
    assert flatten(object())[1] is flatten("text")[1] is LEAF
