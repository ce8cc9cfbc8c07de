"""The documents are true: their programs run and print what they say, every row of docs/differences.md holds in agrad
and in PyTorch, links lead somewhere, and the examples of the docstrings hold."""

import contextlib
import doctest
import importlib
import inspect
import io
import pkgutil
import re
import warnings

import numpy as np
import pytest
from source_tree import PACKAGES, SOURCE

import agrad

README = SOURCE / "README.md"
DOCS = sorted((SOURCE / "docs").rglob("*.md"))
PAGES = [page for page in (README, SOURCE / "CONTRIBUTING.md", SOURCE / "CHANGELOG.md", *DOCS) if page.is_file()]
DIFFERENCES = SOURCE / "docs" / "differences.md"

needs_docs = pytest.mark.skipif(
    not DIFFERENCES.is_file(), reason=f"no docs/ in {SOURCE}; set AGRAD_SOURCE to the source tree"
)


def short(page):
    return str(page.relative_to(SOURCE))


# ------------------------------------------------------------------------------------------------------------ programs


def programs(page):
    """The Python code blocks of a page."""
    return re.findall(r"^```python\n(.*?)^```", page.read_text(), re.MULTILINE | re.DOTALL)


# test_plugins.py installs what docs/plugins.md describes; the block of differences.md is the setup of its rows
STANDING_ALONE = [page for page in PAGES if page.name not in ("plugins.md", "differences.md") and programs(page)]


@needs_docs
@pytest.mark.parametrize("page", STANDING_ALONE, ids=short)
def test_the_programs_of_a_page_print_what_it_says(page):
    """A `print(...)  # text` prints the text; lines after `>>>` are doctests."""
    for number, program in enumerate(programs(page)):
        if ">>>" in program:
            assert_examples_hold(program, {}, f"{page.name}[{number}]", str(page))
            continue
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            exec(compile(program, f"{page.name}[{number}]", "exec"), {"__name__": "a program of the documents"})
        assert printed.getvalue().splitlines() == re.findall(r"^ *print\(.*\) +# (.*)$", program, re.MULTILINE)


@needs_docs
def test_the_readme_opens_with_about_ten_lines():
    (program, *_) = programs(README)
    lines = [line for line in program.splitlines() if line.strip()]
    assert len(lines) <= 10
    assert README.read_text().index("```python") < 600


# ------------------------------------------------------------------------------------------------------- differences.md


def rows():
    """(section, program, PyTorch's result, agrad's) of every table row."""
    section = None
    for line in DIFFERENCES.read_text().splitlines():
        if line.startswith("## "):
            section = line[3:]
        elif line.startswith("| `"):
            program, theirs, ours = (cell.strip() for cell in line.strip("| ").split(" | "))
            assert all(cell.startswith("`") and cell.endswith("`") for cell in (program, theirs, ours)), line
            yield section, program.strip("`"), theirs.strip("`"), ours.strip("`")


ROWS = list(rows()) if DIFFERENCES.is_file() else []
FOLLOWING_THE_LIBRARY = "Dtypes and arithmetic"


def result_of(program, library):
    """What the last expression of a program gives, in the page's notation."""
    names = {"torch": library}
    *statements, last = program.split("; ")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # deprecations are not what the rows are about
        exec(programs(DIFFERENCES)[0], names)
        try:
            exec("\n".join(statements), names)
            return written(eval(last, names))
        except Exception as error:
            return type(error).__name__


def written(value):
    if isinstance(value, tuple):
        parts = ", ".join(map(written, value))
        return f"({parts},)" if len(value) == 1 else f"({parts})"
    return " ".join(repr(value).split())


@needs_docs
@pytest.mark.parametrize(("program", "ours"), [(row[1], row[3]) for row in ROWS])
def test_a_row_of_the_differences_holds_in_agrad(program, ours):
    assert result_of(program, agrad) == ours


@pytest.fixture
def torch_in_double(request):
    """PyTorch with float64 as its default; for the section "Defaults" with its own."""
    torch = pytest.importorskip("torch")
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float32 if request.param == "Defaults" else torch.float64)
    yield torch
    torch.set_default_dtype(before)


def rows_in_pytorch(keep=lambda section: True):
    """Parameters of a test that compares with PyTorch."""
    kept = [row for row in ROWS if keep(row[0])]
    rows = [(section, program, theirs) for section, program, theirs, _ in kept]
    return pytest.mark.parametrize(
        ("torch_in_double", "program", "theirs"), rows, ids=[row[1] for row in rows], indirect=["torch_in_double"]
    )


@needs_docs
@rows_in_pytorch()
def test_a_row_of_the_differences_holds_in_pytorch(torch_in_double, program, theirs):
    assert result_of(program, torch_in_double) == theirs


@needs_docs
@rows_in_pytorch(lambda section: section == FOLLOWING_THE_LIBRARY)
def test_arithmetic_on_the_backend_torch_is_that_of_pytorch(torch_in_double, program, theirs):
    with agrad.use_backend("torch"):
        found = result_of(program, agrad)
    assert found.replace("agrad.", "torch.") == theirs


@needs_docs
def test_what_is_said_not_to_be_there_is_not():
    names = re.findall(r"`(\w+)`", DIFFERENCES.read_text().partition("## Not there")[2])
    assert len(names) > 5
    assert [name for name in names if hasattr(agrad, name) or hasattr(agrad.Tensor, name)] == []


# ---------------------------------------------------------------------------------------------------------------- links


def headings(page):
    """The anchors of a page's headings."""
    titles = re.findall(r"^#+ (.*)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles}


@needs_docs
@pytest.mark.parametrize("page", PAGES, ids=short)
def test_a_link_of_a_page_leads_somewhere(page):
    for target in re.findall(r"\]\(([^)]+)\)", page.read_text()):
        if target.startswith("http"):
            continue
        path, _, anchor = target.partition("#")
        there = (page.parent / path).resolve() if path else page
        assert there.exists(), target
        assert not anchor or anchor in headings(there), target


@needs_docs
def test_a_note_that_code_refers_to_exists():
    """Code names a note as `docs/page.md, "Title"`."""
    found = 0
    for folder in ("agrad", "backends", "cython_core", "plugins"):
        for path in (SOURCE / folder).rglob("*.p*"):
            if path.suffix not in (".py", ".pyx", ".pxi", ".pxd"):
                continue
            for page, title in re.findall(r"(docs/[\w/.-]+\.md)(?:, \"([^\"]+)\")?", path.read_text()):
                found += 1
                assert (SOURCE / page).is_file(), f"{path.name}: {page}"
                titles = re.findall(r"^#+ (.*)$", (SOURCE / page).read_text(), re.MULTILINE)
                assert not title or title in titles, f"{path.name}: {title}"
    assert found or not (SOURCE / "cython_core").is_dir()


# ----------------------------------------------------------------------------------------------------------- docstrings


def modules_of(package):
    """The names of a package and of everything below it."""
    found = importlib.import_module(package)
    return {package, *(module.name for module in pkgutil.walk_packages(found.__path__, package + "."))}


MODULES = sorted(set().union(*map(modules_of, PACKAGES.values())))  # an editable install hides them from one another
NEEDED_ELSEWHERE = (
    "torch", "array_api_strict", "sklearn", "tqdm", "jax", "dask", "sparse", "cupy", "ndonnx", "onnx", "spox",
    "opt_einsum", "scipy",
)


def assert_examples_hold(text, names, place, file):
    test = doctest.DocTestParser().get_doctest(text, names, place, file, 0)
    report = io.StringIO()
    runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS)
    runner.run(test, out=report.write)
    assert runner.failures == 0, report.getvalue()


def documented(module):
    """(name, object) of everything that a module defines: functions, classes, and what these hold."""
    yield module.__name__, module
    for name, value in list(vars(module).items()):
        if getattr(value, "__module__", None) != module.__name__:
            continue
        yield f"{module.__name__}.{name}", value
        if inspect.isclass(value):
            held = ((inner, v) for inner, v in vars(value).items() if not inspect.isclass(v))
            yield from ((f"{module.__name__}.{name}.{inner}", v) for inner, v in held)


def examples(value):
    """A docstring with examples; that of a constant is its type's."""
    text = getattr(value, "__doc__", None)
    return text if isinstance(text, str) and ">>>" in text and text != type(value).__doc__ else ""


@pytest.mark.parametrize("name", MODULES)
def test_the_examples_of_the_docstrings_hold(name):
    try:
        module = importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name in NEEDED_ELSEWHERE:
            pytest.skip(f"needs {error.name}")
        raise
    if name == "agrad.export":
        pytest.importorskip("ndonnx")
    for place, value in documented(module):
        if text := examples(value):
            assert_examples_hold(text, vars(module) | {"np": np}, place, getattr(module, "__file__", None))


def test_the_compiled_engine_is_among_the_documented():
    engine = importlib.import_module("agrad.cython_core.engine")
    found = [name for name, value in documented(engine) if examples(value)]
    assert "agrad.cython_core.engine.Tensor" in found
    assert "agrad.cython_core.engine.is_grad_enabled" in found
