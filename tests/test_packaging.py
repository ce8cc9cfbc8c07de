"""The installed distribution: what is in it, what it announces, and that using it leaves the interpreter clean."""

import importlib.metadata
import importlib.resources
import importlib.util
import re
import subprocess
import sys
from pathlib import Path

import pytest
from source_tree import PACKAGES, SOURCE, needs_source

import agrad

CHAPTERS = {
    "beyond", "creation", "data_type", "elementwise", "fft", "indexing", "linalg", "linear_algebra", "manipulation",
    "nn", "searching", "set", "sorting", "special", "statistical", "utility",
}  # fmt: skip

distribution = importlib.metadata.distribution("agrad")
files = {str(file) for file in distribution.files or ()}
from_wheel = pytest.mark.skipif(
    Path(agrad.__file__).parent == SOURCE / "agrad", reason="agrad runs from its source tree: no wheel to look at"
)


def run_python(program):
    """Run a program in a fresh interpreter in which every warning is an error."""
    command = [sys.executable, "-P", "-X", "dev", "-W", "error", "-c", program]
    return subprocess.run(command, capture_output=True, text=True, timeout=120)


def test_the_version_is_stated_once():
    assert distribution.version == agrad.__version__


@pytest.mark.parametrize("package", ["agrad", "agrad.cython_core", "agrad.backends", "agrad.plugins"])
def test_every_subpackage_is_importable(package):
    assert importlib.util.find_spec(package).origin.endswith("__init__.py")


@pytest.mark.parametrize("module", ["engine", "numpy_speed", "numpy_updates", "numpy_windows"])
def test_compiled_modules_come_with_a_stub(module):
    spec = importlib.util.find_spec(f"agrad.cython_core.{module}")
    assert spec is not None, "not built"
    assert spec.origin.endswith((".so", ".pyd"))
    assert (importlib.resources.files("agrad.cython_core") / f"{module}.pyi").is_file()


def test_the_package_says_that_it_is_typed():
    assert (importlib.resources.files("agrad") / "py.typed").is_file()


@needs_source
@from_wheel
def test_the_wheel_holds_every_module_of_the_source():
    expected = {
        f"{package.replace('.', '/')}/{path.relative_to(SOURCE / folder).as_posix()}"
        for folder, package in PACKAGES.items()
        for pattern in ("*.py", "*.pyi", "py.typed")
        for path in (SOURCE / folder).rglob(pattern)
    }
    assert expected <= files


@from_wheel
def test_the_wheel_holds_no_cython_source():
    assert not [file for file in files if file.endswith((".pyx", ".pxi", ".pxd", ".c", ".h", ".html"))]


@from_wheel
def test_the_wheel_puts_nothing_beside_agrad():
    """Nothing named plugins or backends may land in site-packages."""
    own = re.compile(r"agrad/|agrad-[\w.+]+\.dist-info/|(\.\./)+(bin|Scripts)/agrad")
    assert not [file for file in files if not own.match(file)]


def entry_points(group):
    return {point.name: point for point in distribution.entry_points if point.group == group}


def test_the_shipped_rule_sets_are_ordinary_plugins():
    points = entry_points("agrad.plugins")
    assert set(points) == CHAPTERS
    for name, point in points.items():
        assert point.load().name == name


def test_the_shipped_backends_are_announced():
    points = entry_points("agrad.backends")
    assert set(points) == {"numpy", "torch", "array_api_strict", "jax", "cupy", "dask", "sparse", "ndonnx"}
    for name in ("numpy", "array_api_strict"):
        assert isinstance(points[name].load(), type)


def test_agrad_is_announced_as_an_array_namespace():
    assert entry_points("array_api")["agrad"].load() is agrad


def test_the_interpreter_exits_silently_while_a_graph_is_alive():
    result = run_python(
        "import agrad\n"
        "x = agrad.tensor([1.0, 2.0], requires_grad=True)\n"
        "y = agrad.sin(x).sum()\n"
        "z = (x * x).sum()\n"
        "z.backward()\n"
        "x.register_hook(lambda g: g)\n"
        "keep = [y, z, x]\n"
        "keep.append(keep)\n"
    )
    assert (result.returncode, result.stdout, result.stderr) == (0, "", "")


@pytest.mark.parametrize("arguments", [["--help"], ["info"]])
def test_the_command_line_starts(arguments):
    command = [sys.executable, "-P", "-m", "agrad", *arguments]
    result = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert result.returncode == 0, result.stderr
    assert "agrad" in result.stdout
