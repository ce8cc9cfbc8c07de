"""The neutral dtypes against NumPy's own, which they stand for."""

import copy
import pickle
import sys
import types

import numpy as np
import pytest

from agrad import dtypes

ALL = tuple(dtypes.DTYPES.values())
WITH_NUMPY = tuple(d for d in ALL if d is not dtypes.bfloat16)
KINDS = {"b": "bool", "i": "signed", "u": "unsigned", "f": "real", "c": "complex"}


def named(d):
    return d.name


class dtype:  # the class name is what torch's has
    """A foreign library's dtype object."""

    def __init__(self, text):
        self.text = text

    def __str__(self):
        return self.text


class NotADtype:
    def __str__(self):
        raise AssertionError("an object that is no dtype was printed")

    __repr__ = object.__repr__


def test_the_module_has_the_standards_dtypes_and_two_more():
    integers = {sign + bits for sign in ("int", "uint") for bits in ("8", "16", "32", "64")}
    standard = {"bool", *integers, "float32", "float64", "complex64", "complex128"}
    assert set(dtypes.DTYPES) == standard | {"float16", "bfloat16"}
    assert all(getattr(dtypes, name) is d for name, d in dtypes.DTYPES.items())


@pytest.mark.parametrize("d", WITH_NUMPY, ids=named)
def test_a_dtype_describes_what_numpys_does(d):
    theirs = np.dtype(d.name)
    assert d.dtype is theirs
    assert d.kind == KINDS[theirs.kind]
    assert d.bits == theirs.itemsize * 8
    assert d.is_floating == d.is_floating_point == (theirs.kind == "f")
    assert d.is_complex == (theirs.kind == "c")


def test_bfloat16_is_a_real_dtype_of_16_bits():
    d = dtypes.bfloat16
    assert (d.name, d.kind, d.bits, d.is_floating, d.is_complex) == ("bfloat16", "real", 16, True, False)


def test_bfloat16_has_no_numpy_dtype_without_ml_dtypes(monkeypatch):
    monkeypatch.delitem(sys.modules, "ml_dtypes", raising=False)
    with pytest.raises(AttributeError, match="ml_dtypes"):
        _ = dtypes.bfloat16.dtype
    assert not hasattr(dtypes.bfloat16, "dtype")


def test_bfloat16_takes_its_numpy_dtype_from_ml_dtypes_once_that_is_imported(monkeypatch):
    stand_in = types.SimpleNamespace(bfloat16=np.uint16)
    monkeypatch.setitem(sys.modules, "ml_dtypes", stand_in)
    assert dtypes.bfloat16.dtype is np.dtype("uint16")


@pytest.mark.parametrize("d", WITH_NUMPY, ids=named)
def test_equality_with_numpy_dtypes_holds_for_the_same_one_alone_on_both_sides(d):
    for other in WITH_NUMPY:
        assert (d == np.dtype(other.name)) is (d is other)
        assert (np.dtype(other.name) == d) is (d is other)
        assert (d != np.dtype(other.name)) is (d is not other)
        assert (d == np.dtype(other.name).type) is (d is other)


@pytest.mark.parametrize("d", ALL, ids=named)
def test_equality_with_dtypes_and_names_holds_for_the_same_one_alone(d):
    for other in ALL:
        assert (d == other) is (d is other)
        assert (d == other.name) is (d is other)
        assert (d == dtype(f"torch.{other.name}")) is (d is other)
        assert (dtype(f"torch.{other.name}") == d) is (d is other)


@pytest.mark.parametrize("d", WITH_NUMPY, ids=named)
def test_hash_is_numpys_so_that_either_finds_the_other_in_a_dict(d):
    assert hash(d) == hash(np.dtype(d.name))
    assert {d: 1}[np.dtype(d.name)] == 1
    assert {np.dtype(d.name): 1}[d] == 1


def test_all_dtypes_are_different_keys():
    assert len({*ALL}) == len(ALL) == 15


@pytest.mark.parametrize(
    "other",
    [None, 3, 8.0, "", "float8", "float", object(), NotADtype(), [], np.float32(1), np.floating, np.dtype("U3")],
)
def test_a_dtype_equals_nothing_that_is_not_that_dtype(other):
    assert not any(d == other for d in ALL)
    assert all(d != other for d in ALL)


def test_an_array_is_not_taken_for_a_dtype():
    assert dtypes.float64 != NotADtype()
    with pytest.raises(TypeError):
        dtypes.of(np.zeros(3))


def test_byte_orders_are_told_apart_but_mean_the_same_dtype():
    swapped = np.dtype("float64").newbyteorder()
    assert dtypes.float64 != swapped
    assert dtypes.of(swapped) is dtypes.float64


PYTHON_TYPES = [(bool, "bool"), (int, "int64"), (float, "float64"), (complex, "complex128")]


@pytest.mark.parametrize(("python", "name"), PYTHON_TYPES)
def test_a_python_type_means_what_it_means_to_numpy(python, name):
    assert dtypes.of(python) is dtypes.DTYPES[name]
    assert dtypes.of(python) == np.dtype(python) == python


@pytest.mark.parametrize("d", ALL, ids=named)
def test_of_finds_a_dtype_from_every_spelling(d):
    spellings = [d, d.name, f"torch.{d.name}", repr(d), dtype(f"torch.{d.name}"), dtype(d.name)]
    if d is not dtypes.bfloat16:
        spellings += [np.dtype(d.name), np.dtype(d.name).type]
    assert [dtypes.of(s) for s in spellings] == [d] * len(spellings)
    assert all(dtypes.of(s) is d for s in spellings)


@pytest.mark.parametrize("code", np.typecodes["AllInteger"] + "?efdFD")
def test_of_knows_every_c_type_of_numpy(code):
    theirs = np.dtype(code)
    assert dtypes.of(theirs).name == theirs.name
    assert dtypes.of(theirs.type).name == theirs.name
    assert dtypes.of(theirs) == theirs == theirs.type


TORCH_NAMES = [
    ("half", "float16"),
    ("float", "float32"),
    ("double", "float64"),
    ("cfloat", "complex64"),
    ("cdouble", "complex128"),
    ("short", "int16"),
    ("int", "int32"),
    ("long", "int64"),
]


@pytest.mark.parametrize(("word", "name"), TORCH_NAMES)
def test_of_reads_pytorchs_second_names_with_pytorchs_meaning(word, name):
    assert dtypes.of(word) is dtypes.of(f"torch.{word}") is dtypes.DTYPES[name]
    assert dtypes.TORCH_NAMES[word] is dtypes.DTYPES[name]


def test_the_table_of_pytorchs_names_is_tested_completely():
    assert set(dtypes.TORCH_NAMES) == {word for word, _ in TORCH_NAMES}


BAD = [None, 3, "", "float8", "float32.", [], {}, object(), NotADtype(), str, np.floating, np.dtype(object), "U3"]


@pytest.mark.parametrize("bad", BAD, ids=lambda bad: type(bad).__name__)
def test_of_refuses_anything_else_and_lists_the_valid_names(bad):
    with pytest.raises(TypeError) as caught:
        dtypes.of(bad)
    message = str(caught.value)
    assert repr(bad) in message
    assert all(name in message.replace(",", "").split() for name in [*dtypes.DTYPES, *dtypes.TORCH_NAMES])


@pytest.mark.parametrize("d", ALL, ids=named)
def test_copies_and_pickles_are_the_same_object(d):
    assert copy.copy(d) is d
    assert copy.deepcopy([d])[0] is d
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        assert pickle.loads(pickle.dumps(d, protocol)) is d


@pytest.mark.parametrize("d", WITH_NUMPY, ids=named)
def test_numpy_takes_a_neutral_dtype_where_it_takes_its_own(d):
    assert np.zeros(2, dtype=d).dtype == np.dtype(d.name)
    assert np.ones(2).astype(d).dtype == np.dtype(d.name)
    assert np.result_type(d, d) == np.dtype(d.name)


@pytest.mark.parametrize("d", ALL, ids=named)
def test_a_dtype_prints_as_it_is_written(d):
    assert repr(d) == str(d) == f"agrad.{d.name}"


@pytest.mark.parametrize("library", ["torch", "array_api_strict"])
def test_real_foreign_dtypes_are_recognised(library):
    xp = pytest.importorskip(library)
    for d in ALL:
        theirs = getattr(xp, d.name, None)
        if theirs is None:
            continue
        assert dtypes.of(theirs) is d
        assert d == theirs
        assert [other for other in ALL if other == theirs] == [d]
