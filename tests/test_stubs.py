"""The type stubs: those written from tables are up to date, and what they declare is there when a program runs."""

import ast
import importlib.util

import pytest
from source_tree import SOURCE, needs_source

import agrad
from agrad import standard
from agrad.cython_core.engine import Tensor

pytestmark = needs_source

FRONT = "agrad/__init__.pyi"
ENGINE = "cython_core/engine.pyi"
IMPORTED = {"asarray", "squeeze"}  # written in Python: their own signatures count


def load_generator():
    """tools/stubs.py as a module."""
    specification = importlib.util.spec_from_file_location("stubs", SOURCE / "tools" / "stubs.py")
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


def read(path):
    return ast.parse((SOURCE / path).read_text())


def first_forms(body):
    """The first definition of every function, as the standard writes it; later definitions are further forms."""
    found = {}
    for node in body:
        if isinstance(node, ast.FunctionDef) and node.name not in found:
            for parameter in ast.walk(node.args):
                if isinstance(parameter, ast.arg):
                    parameter.annotation = None
            found[node.name] = f"({ast.unparse(node.args)})".replace(", requires_grad=False", "")
    return found


@pytest.mark.parametrize("path", [FRONT, ENGINE, "tools/stubtest_allowlist.txt"])
def test_what_is_written_from_tables_is_up_to_date(path):
    texts = load_generator().texts()
    assert (SOURCE / path).read_text() == texts[SOURCE / path], "run: python tools/stubs.py"


def test_public_names_and_declared_names_are_the_same():
    declared = set()
    for node in read(FRONT).body:
        if isinstance(node, ast.ImportFrom):
            declared |= {alias.asname for alias in node.names}
        elif isinstance(node, ast.FunctionDef):
            declared.add(node.name)
        elif isinstance(node, ast.Assign):
            declared |= {target.id for target in node.targets}
        elif isinstance(node, ast.AnnAssign):
            declared.add(node.target.id)
    assert set(agrad.__all__) - declared == set()
    public = {name for name in declared if name and not name.startswith("_")} - {"DType"}
    assert {name for name in public if not hasattr(agrad, name)} == set()


def test_functions_are_declared_with_the_signatures_of_the_standard():
    declared = first_forms(read(FRONT).body)
    names = {name for members in standard.CHAPTERS.values() for name in members if "." not in name}
    names -= {*standard.ENGINE_OPS, *IMPORTED}
    assert {name: declared.get(name) for name in names} == {name: standard.signature(name).text for name in names}


@pytest.mark.parametrize("namespace", standard.EXTENSIONS)
def test_functions_of_an_extension_are_declared_with_the_signatures_of_the_standard(namespace):
    title = f"_{namespace.title()}"
    (declared,) = (first_forms(node.body) for node in read(FRONT).body if getattr(node, "name", "") == title)
    names = (name for name in (*standard.CHAPTERS[namespace], *standard.SAME) if name.startswith(namespace + "."))
    meant = {name.partition(".")[2]: standard.signature(standard.SAME.get(name, name)).text for name in names}
    assert declared == meant


def test_methods_are_declared_with_the_signatures_of_the_standard():
    (tensor,) = (node for node in read(ENGINE).body if getattr(node, "name", "") == "Tensor")
    declared = first_forms(tensor.body)
    properties = {name for name, value in vars(Tensor).items() if isinstance(value, property)}
    names = {name for members in standard.CHAPTERS.values() for name in members if name in vars(Tensor)}
    names -= IMPORTED | properties
    assert len(names) > 90
    assert {name: declared.get(name) for name in names} == {name: standard.signature(name).text for name in names}
