"""The arrows of the architecture, read from the import statements: a module imports its own layer or lower ones."""

import ast
import importlib
import re
import subprocess
import sys
from graphlib import CycleError, TopologicalSorter

import pytest
from source_tree import PACKAGES, SOURCE, needs_source

RULES = ("agrad.batching", "agrad.records", "agrad.formulas", "agrad.rule_set", "agrad.loading", "agrad.rules")

# Lowest first. A name stands for the module and what is below it; the longest match counts.
LAYERS = [
    ("agrad._version", "agrad.cython_core"),
    ("agrad.standard", "agrad.dtypes", "agrad.configuration", "agrad.windows"),
    ("agrad.backends",),
    RULES,
    ("agrad.plugins",),
    ("agrad.namespaces", "agrad.creation", "agrad.methods", "agrad.printing", "agrad.autograd", "agrad.defaults",
     "agrad.dtype_functions", "agrad.comparison", "agrad.random", "agrad.spellings", "agrad.transfer",
     "agrad.data", "agrad.exchange", "agrad.numpy_protocol", "agrad.levels", "agrad.forward", "agrad.generator",
     "agrad.random_methods", "agrad.draws", "agrad.saving", "agrad.saved_structure"),
    ("agrad.func", "agrad.utils"),
    ("agrad.autograd.functional", "agrad.autograd.gradcheck"),  # those parts of it that are made of transforms
    ("agrad",),  # the front: imports everything below it
    ("agrad.nn", "agrad.optim", "agrad.optimize"),  # programs like any user's
    ("agrad.testing", "agrad.demo", "agrad.coverage", "agrad.export", "agrad.profiler", "agrad.viz", "agrad.__main__"),
]

# Array libraries and the only modules that may name them.
ARRAY_LIBRARIES = {
    "array_api_compat": ("agrad.backends",),
    "array_api_strict": ("agrad.backends",),
    "cupy": ("agrad.backends",),
    "dask": ("agrad.backends",),
    "jax": ("agrad.backends",),
    "ndonnx": ("agrad.backends",),
    "spox": ("agrad.backends",),
    "sparse": ("agrad.backends",),
    "torch": ("agrad.backends",),
}
NUMPY_FREE = ("agrad.cython_core.engine", "agrad.standard", *RULES, "agrad.plugins")

# Users import these: `__all__` is what they define, helpers have an underscore. No other module has an `__all__`.
PUBLIC = set("""
    agrad agrad.autograd agrad.autograd.anomaly_mode agrad.autograd.forward_ad agrad.autograd.function
    agrad.autograd.functional agrad.autograd.grad_mode agrad.autograd.gradcheck agrad.autograd.graph agrad.backends
    agrad.configuration agrad.coverage agrad.dtypes agrad.export agrad.func agrad.namespaces agrad.printing
    agrad.nn agrad.nn.functional agrad.nn.init agrad.nn.utils agrad.nn.utils.rnn agrad.optim agrad.optim.lr_scheduler
    agrad.optimize
    agrad.profiler agrad.random agrad.rules agrad.saving agrad.testing agrad.utils.checkpoint agrad.viz
""".split())

pytestmark = needs_source


def is_under(module, prefix):
    return module == prefix or module.startswith(prefix + ".")


def longest_match(module, prefixes):
    return max((prefix for prefix in prefixes if is_under(module, prefix)), key=len, default=None)


def list_files():
    """Return (path, module) for every source file of the package."""
    files = []
    for folder, package in PACKAGES.items():
        for path in sorted((SOURCE / folder).rglob("*")):
            if path.suffix in {".py", ".pyx", ".pxi", ".pxd"}:
                parts = path.relative_to(SOURCE / folder).with_suffix("").parts
                files.append((path, ".".join([package, *(part for part in parts if part != "__init__")])))
    return files


FILES = list_files()
MODULES = {module for _, module in FILES}
IDS = [str(path.relative_to(SOURCE)) for path, _ in FILES]


def layer_of(module):
    """Return a module's level, None for one that LAYERS does not place (the front is `agrad` alone)."""
    levels = {prefix: level for level, prefixes in enumerate(LAYERS) for prefix in prefixes}
    prefix = longest_match(module, levels)
    return None if prefix == "agrad" != module else levels[prefix]


def python_imports(path):
    """Yield (dots, module, names) for each import of a .py file, but not those that only a type checker sees."""
    for statement in runtime_nodes(ast.parse(path.read_text())):
        if isinstance(statement, ast.Import):
            yield from ((0, alias.name, ()) for alias in statement.names)
        elif isinstance(statement, ast.ImportFrom):
            yield statement.level, statement.module or "", tuple(alias.name for alias in statement.names)


def runtime_nodes(node):
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.If) and "TYPE_CHECKING" in ast.dump(child.test):
            continue
        yield child
        yield from runtime_nodes(child)


CYTHON_FROM = re.compile(r"^\s*from\s+(\.*)([\w.]*)\s+c?import\s+(\([^)]*\)|[^\n#]*)", re.MULTILINE)
CYTHON_IMPORT = re.compile(r"^\s*c?import\s+([\w., ]+)", re.MULTILINE)


def cython_imports(path):
    """Yield the same for the import and cimport lines of a Cython file."""
    text = path.read_text()
    for dots, module, names in CYTHON_FROM.findall(text):
        yield len(dots), module, tuple(re.findall(r"(?:^|,)\s*(\w+)", names.strip("() \n")))
    for modules in CYTHON_IMPORT.findall(text):
        yield from ((0, module.split()[0], ()) for module in modules.split(","))


def imports_of(path, module):
    """Return the modules that a file imports, by full name, submodules taken by name included."""
    found = set()
    read = python_imports if path.suffix == ".py" else cython_imports
    for dots, name, taken in read(path):
        if dots:
            package = module.split(".") if path.stem == "__init__" else module.split(".")[:-1]
            parents = package[: len(package) - dots + 1]
            name = ".".join([*parents, name] if name else parents)
        submodules = {f"{name}.{item}" for item in taken} & MODULES
        found |= submodules
        if len(submodules) < len(taken) or not taken:
            found.add(name)
    return found


PYTHON_FORMS = """
import numpy as np
from agrad import rules
from .standard import TABLE
from . import Tensor
if TYPE_CHECKING:
    import torch
def late():
    import agrad.testing
"""
CYTHON_FORMS = """
cimport numpy as cnp
from .node cimport (
    Node,
)
from libc.stdlib cimport free  # a comment
import sys, os
"""


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("some.py", PYTHON_FORMS, {"numpy", "agrad.rules", "agrad.standard", "agrad", "agrad.testing"}),
        ("some.pyx", CYTHON_FORMS, {"numpy", "agrad.node", "libc.stdlib", "sys", "os"}),
    ],
)
def test_the_reader_sees_every_form_of_import(tmp_path, monkeypatch, name, text, expected):
    monkeypatch.setattr(sys.modules[__name__], "MODULES", {"agrad", "agrad.rules", "agrad.standard", "agrad.testing"})
    (tmp_path / name).write_text(text)
    assert imports_of(tmp_path / name, "agrad.some") == expected


def test_every_module_has_a_place_in_the_layers():
    homeless = sorted(module for module in MODULES if layer_of(module) is None)
    assert not homeless, f"say in LAYERS where these belong: {homeless}"


@pytest.mark.parametrize(("path", "module"), [pytest.param(*file, id=file[1]) for file in FILES if file[1] != "agrad"])
def test_a_module_never_imports_a_higher_layer(path, module):
    """The front door, agrad/__init__, imports top-down and is left out."""
    own = [target for target in imports_of(path, module) & MODULES if layer_of(target) is not None]
    upward = [target for target in own if layer_of(target) > layer_of(module)]
    assert not upward, f"{module} imports upward: {sorted(upward)}"


def test_no_two_modules_import_each_other_in_a_circle():
    others = MODULES - {"agrad"}
    arrows = {module: imports_of(path, module) & others - {module} for path, module in FILES if module in others}
    try:
        TopologicalSorter(arrows).prepare()
    except CycleError as error:
        pytest.fail("a circle of imports: " + " -> ".join(error.args[1]))


@pytest.mark.parametrize(("path", "module"), FILES, ids=IDS)
def test_only_adapters_name_an_array_library(path, module):
    roots = {target.split(".")[0] for target in imports_of(path, module)}
    wrong = [name for name in roots & set(ARRAY_LIBRARIES) if not longest_match(module, ARRAY_LIBRARIES[name])]
    if longest_match(module, NUMPY_FREE) and "numpy" in roots:
        wrong.append("numpy")
    assert not wrong, f"{module} imports {wrong}"


@pytest.mark.parametrize(("path", "module"), FILES, ids=IDS)
def test_a_file_is_one_topic(path, module):
    lines = len(path.read_text().splitlines())
    assert lines <= 700, f"{path.name} has {lines} lines: two topics?"


def public_definitions(tree):
    """The names without an underscore that a module's own statements define; imported ones are not among them."""
    names = set()
    for node in tree.body:
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            names.add(node.name)
        elif isinstance(node, (ast.Assign, ast.AnnAssign)):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            names |= {name.id for target in targets for name in ast.walk(target)
                      if isinstance(name, ast.Name) and isinstance(name.ctx, ast.Store)}
    return {name for name in names if not name.startswith("_")}


@pytest.mark.parametrize(("path", "module"), [pytest.param(*file, id=file[1]) for file in FILES if file[1] in PUBLIC])
def test_all_lists_exactly_what_is_public(path, module):
    names = importlib.import_module(module).__all__
    assert len(set(names)) == len(names), "a name is listed twice"
    missing = [name for name in names if not hasattr(sys.modules[module], name)]
    assert not missing, f"listed but not there: {missing}"
    private = [name for name in names if re.match(r"_(?!_)", name)]
    assert not private, f"listed in spite of the underscore: {private}"
    unlisted = public_definitions(ast.parse(path.read_text())) - set(names)
    assert not unlisted, f"public but not listed: {sorted(unlisted)}"


def test_only_public_modules_have_all():
    with_all = {m for path, m in FILES if path.suffix == ".py" and re.search(r"(?m)^__all__\b", path.read_text())}
    assert with_all == PUBLIC


def test_import_agrad_loads_no_plugin_no_other_library_and_no_metadata():
    program = "import sys, numpy; before = set(sys.modules); import agrad; print(*sorted(set(sys.modules) - before))"
    result = subprocess.run([sys.executable, "-P", "-c", program], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    loaded = result.stdout.split()
    assert "agrad.cython_core.engine" in loaded
    unwanted = ["importlib.metadata", "scipy", "sklearn", *ARRAY_LIBRARIES]
    unwanted += [module for module in MODULES if module.startswith("agrad.plugins.")]
    unwanted += [f"agrad.backends.{name}" for name in ARRAY_LIBRARIES]
    assert not set(loaded) & set(unwanted)
