"""The same programs under PyTorch and under agrad: what they see must be the same, on every backend."""

import inspect
import warnings
from functools import cache
from importlib import import_module

import pytest
from array_libraries import is_installed
from torch_programs.log import Log, same

import agrad

torch = pytest.importorskip("torch")

USUAL = ("numpy", "torch")
GROUPS = {  # module -> the backends that its programs run on
    "leaves": USUAL,
    "walks": USUAL,
    "hooks": USUAL,
    "modes": USUAL,
    "functions": USUAL,
    "transforms": USUAL,
    "mixtures": USUAL,
    "writes": (*USUAL, "array_api_strict", "jax"),
    "views": (*USUAL, "array_api_strict", "jax"),
}
EVERYWHERE = None
DIFFERENT = {  # (program, backend) -> what agrad sees there, other than PyTorch on purpose
    # a tensor that nobody else holds becomes batched
    ("batched_values_written_into_a_plain_tensor", EVERYWHERE): [
        [["tensor", "float32", (3, 2), [[1.0, 1.0], [1.0, 1.0], [1.0, 1.0]]]],
        ["went through"],
    ],
    # walks inside transforms are ordinary walks
    ("backward_inside_transforms", EVERYWHERE): [
        [
            ["tensor", "float32", (), 27.0],
            ["tensor", "float32", (2,), [3.0, 12.0]],
            ["tensor", "float32", (2,), [27.0, 216.0]],
        ],
    ],
    # a hook sees the gradient of the old value, on views too
    ("hooks_on_a_view_that_is_written", EVERYWHERE): [
        ["after", ["tensor", "float32", (2,), [2.0, 2.0]]],
        ["before", ["tensor", "float32", (2,), [6.0, 6.0]]],
        ["grad", ["tensor", "float32", (3,), [0.0, 12.0, 12.0]]],
    ],
    # the library itself mixes no integers with floats, and says so with an error of its own
    ("a_tracked_value_written_into_integers", "array_api_strict"): [
        ["raised", "TypeError"],
        ["raised", "TypeError"],
        ["raised", "TypeError"],
        [["tensor", "int64", (2, 3), [[1, 1, 1], [1, 1, 1]]]],
        ["flags", False, True, None, False, 0, 0, False],
        [["tensor", "int64", (2, 3), [[3, 3, 3], [3, 3, 3]]]],
        ["flags", False, True, None, False, 0, 1, False],
    ],
    # an array that cannot be written has no other way to it: `data` writes to the tensor, which the walk finds
    ("overwritten_through_data", "jax"): [
        [["tensor", "float32", (2, 3), [[2.0, 2.5, 3.0], [3.5, 4.0, 4.5]]]],
        ["flags", True, False, "MulBackward0", False, 0, 1, False],
        ["raised", "RuntimeError"],
        ["grad", None],
    ],
}


def programs(group):
    """Name and function of the programs of a module."""
    module = import_module(f"torch_programs.{group}")
    for name, program in inspect.getmembers(module, inspect.isfunction):
        if program.__module__ == module.__name__ and [*inspect.signature(program).parameters] == ["torch", "see"]:
            yield name, program


PROGRAMS = {name: program for group in GROUPS for name, program in programs(group)}
CASES = [(name, backend) for group, backends in GROUPS.items() for name, _ in programs(group) for backend in backends]


def run(program, library):
    """What the program sees; an error that it does not expect ends it."""
    see = Log()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            program(library, see)
        except Exception as error:
            see.events.append(["ended by", type(error).__name__, str(error)])
    return see.events


@cache
def seen_in_pytorch(name):
    return run(PROGRAMS[name], torch)


def differences(found, expected, whose="PyTorch"):
    for i in range(max(len(found), len(expected))):
        mine, theirs = (events[i] if i < len(events) else "nothing" for events in (found, expected))
        if not same(mine, theirs):
            yield f"event {i}:\n    agrad   {mine}\n    {whose} {theirs}"


@pytest.mark.parametrize(("name", "backend"), CASES)
def test_a_program_sees_the_same(name, backend):
    if not is_installed(backend):
        pytest.skip(f"{backend} is not installed")
    agrad.set_default_dtype(agrad.float32)
    try:
        with agrad.use_backend(backend):
            mine = run(PROGRAMS[name], agrad)
    finally:
        agrad.set_default_dtype(None)
    theirs = seen_in_pytorch(name)
    expected = DIFFERENT.get((name, backend)) or DIFFERENT.get((name, EVERYWHERE))
    if expected:
        assert any(differences(expected, theirs)), "this program no longer differs"
    found = list(differences(mine, expected or theirs, "expected" if expected else "PyTorch"))
    assert not found, "\n".join(found)


def test_every_program_ends_in_pytorch():
    """A program that PyTorch ends with an error compares nothing after it."""
    ended = {name: events[-1] for name in PROGRAMS if (events := seen_in_pytorch(name)) and events[-1][0] == "ended by"}
    assert ended.keys() == {"backward_inside_transforms"}
