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
DIFFERENT = {  # (program, backend) -> why agrad departs from PyTorch on purpose there
    ("batched_values_written_into_a_plain_tensor", EVERYWHERE): "a tensor that nobody else holds becomes batched",
    ("backward_inside_transforms", EVERYWHERE): "walks inside transforms are ordinary walks",
    ("hooks_on_a_view_that_is_written", EVERYWHERE): "a hook sees the gradient of the old value, on views too",
    ("a_tracked_value_written_into_integers", "array_api_strict"): "the library itself mixes no integers with floats",
    ("overwritten_through_data", "jax"): "an array that cannot be written has no other way to it",
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


def differences(found, expected):
    for i in range(max(len(found), len(expected))):
        mine, theirs = (events[i] if i < len(events) else "nothing" for events in (found, expected))
        if not same(mine, theirs):
            yield f"event {i}:\n    agrad   {mine}\n    PyTorch {theirs}"


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
    found = list(differences(mine, seen_in_pytorch(name)))
    if (name, backend) in DIFFERENT or (name, EVERYWHERE) in DIFFERENT:
        assert found, "this program no longer differs"
    else:
        assert not found, "\n".join(found)


def test_every_program_ends_in_pytorch():
    """A program that PyTorch ends with an error compares nothing after it."""
    ended = {name: events[-1] for name in PROGRAMS if (events := seen_in_pytorch(name)) and events[-1][0] == "ended by"}
    assert ended.keys() == {"backward_inside_transforms"}
