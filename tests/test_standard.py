"""The table of the standard against Python's own parser and against other statements of the standard."""

import copy
import importlib.util
import inspect
import pickle
import re
import subprocess
import sys
from operator import attrgetter

import pytest

from agrad import standard
from agrad.standard import REQUIRED, Parameter, parse, signature

NAMES = [name for names in standard.CHAPTERS.values() for name in names]
STANDARD = [name for name in NAMES if name not in {*standard.ENGINE_OPS, *standard.BEYOND}]
MAIN = [name for name in STANDARD if "." not in name]

# Functions of each chapter in version 2025.12; linalg has four more under names of the main namespace.
COUNTS = {
    "elementwise": 67,
    "creation": 16,
    "data_type": 7,
    "manipulation": 15,
    "statistical": 9,
    "searching": 6,
    "set": 5,
    "linear_algebra": 4,
    "utility": 3,
    "indexing": 2,
    "sorting": 2,
    "linalg": 21,
    "fft": 14,
    "beyond": 0,
}

# What agrad adds to the standard.
BEYOND = set("""
    einsum interp log_softmax logsumexp pad relu scatter_add softmax linalg.lstsq linalg.solve_triangular
""".split())

# Ops that the engine adds: what each of their parameters is.
ENGINE_OPS = {
    "copy": {"x": "array"},
    "extremum": {"x": "array", "axis": "axis", "keepdims": "static", "largest": "static"},
    "getitem": {"x": "array", "key": "key"},
    "read_view": {"x": "array", "steps": "static"},
    "scatter": {"arrays": "array*", "keys": "static", "like": "static"},
    "setitem": {"x": "array", "key": "key", "value": "array"},
    "transfer": {"x": "array", "backend": "static", "device": "static"},
    "write_view": {"x": "array", "value": "array", "steps": "static"},
}

ROLES = {
    inspect.Parameter.POSITIONAL_ONLY: "positional_only",
    inspect.Parameter.POSITIONAL_OR_KEYWORD: "positional_or_keyword",
    inspect.Parameter.VAR_POSITIONAL: "var_positional",
    inspect.Parameter.KEYWORD_ONLY: "keyword_only",
}

# Where array-api-strict deliberately differs from the standard: (function, parameter) -> reason.
STRICT_DIFFERS = {
    ("astype", "device"): "strict marks a device that is not given by an object of its own; the standard says None",
    ("from_dlpack", "device"): "as astype",
    ("from_dlpack", "copy"): "as astype",
}


def python_signature(text):
    """What Python itself makes of a signature's text."""
    namespace = {}
    exec(f"def f{text}: pass", namespace)
    return inspect.signature(namespace["f"])


def described(parameters):
    return [
        (p.name, ROLES[p.kind], REQUIRED if p.default is inspect.Parameter.empty else p.default) for p in parameters
    ]


# ------------------------------------------------------------------------------------------------------- the table


def test_the_table_has_the_standards_136_functions_and_the_engines_own():
    counts = {chapter: sum(n in STANDARD for n in names) for chapter, names in standard.CHAPTERS.items()}
    assert counts == COUNTS
    assert len(MAIN) == len(set(MAIN)) == 136
    assert len(standard.ENGINE_OPS) == len(ENGINE_OPS)
    assert set(standard.ENGINE_OPS) == set(ENGINE_OPS)
    assert set(standard.BEYOND) == BEYOND
    assert set(NAMES) == {*STANDARD, *ENGINE_OPS, *BEYOND}


def test_the_extensions_have_their_25_and_14_functions():
    same = [name.partition(".")[0] for name in standard.SAME]
    found = [name.partition(".")[0] for name in STANDARD if "." in name]
    assert [(found + same).count(extension) for extension in standard.EXTENSIONS] == [25, 14]
    assert set(standard.SAME.values()) == set(standard.CHAPTERS["linear_algebra"])


@pytest.mark.parametrize(("name", "kinds"), ENGINE_OPS.items())
def test_the_parameters_of_the_engines_ops_have_their_kinds(name, kinds):
    assert {p.name: p.kind for p in signature(name).parameters} == kinds


def test_no_line_of_the_table_hides_another():
    lines = [line for block in standard.TABLE.values() for line in block.strip().splitlines()]
    assert len(lines) == len(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_every_signature_is_the_one_that_python_reads_in_its_text(name):
    sig = signature(name)
    python = python_signature(sig.text)
    assert sig.text == str(python)
    assert described(python.parameters.values()) == [(p.name, p.role, p.default) for p in sig.parameters]


@pytest.mark.parametrize("name", NAMES)
def test_the_binding_fields_agree_with_the_parameters(name):
    sig = signature(name)
    assert sig.name == name
    assert name in standard.CHAPTERS[sig.chapter]
    assert sig.bind_names == tuple(p.name for p in sig.parameters)
    assert sig.defaults == tuple(p.default for p in sig.parameters)
    assert sig.positions == {p.name: i for i, p in enumerate(sig.parameters)}


def in_order(parameters):
    """Keyword-only parameters by name: their order means nothing to the standard."""
    return sorted(parameters, key=lambda p: p[0] if p[1] == "keyword_only" else "")


@pytest.mark.parametrize("name", [*STANDARD, *standard.SAME])
def test_every_signature_agrees_with_array_api_strict(name):
    strict = pytest.importorskip("array_api_strict", minversion="2.6")
    theirs = in_order(described(inspect.signature(attrgetter(name)(strict)).parameters.values()))
    ours = in_order((p.name, p.role, p.default) for p in signature(standard.SAME.get(name, name)).parameters)
    assert [(n, role) for n, role, _ in ours] == [(n, role) for n, role, _ in theirs]
    for (parameter, _, default), (_, _, expected) in zip(ours, theirs, strict=True):
        # type, too: 0 and 0.0 and False are different defaults
        agrees = (default, type(default)) == (expected, type(expected))
        assert agrees is ((name, parameter) not in STRICT_DIFFERS), parameter


def test_every_listed_difference_names_a_parameter():
    assert all(parameter in signature(name).positions for name, parameter in STRICT_DIFFERS)


def test_the_table_agrees_with_array_api_strict_on_the_list_of_functions():
    strict = pytest.importorskip("array_api_strict", minversion="2.6")
    theirs = {n for n in strict.__all__ if inspect.isfunction(getattr(strict, n, None))}
    of_strict_alone = {n for n in theirs if "array_api_strict" in n}
    assert theirs - of_strict_alone == set(MAIN)
    for extension in standard.EXTENSIONS:
        theirs = {f"{extension}.{n}" for n in getattr(strict, extension).__all__}
        ours = {n for n in (*STANDARD, *standard.SAME) if n.startswith(extension + ".")}
        assert ours - theirs <= {"linalg.eig", "linalg.eigvals"}    # which strict has and does not list
        assert theirs <= ours


def test_the_constants_are_the_standards():
    xp = pytest.importorskip("numpy")
    assert list(standard.CONSTANTS) == ["e", "inf", "nan", "newaxis", "pi"]
    for name, value in standard.CONSTANTS.items():
        expected = getattr(xp, name)
        assert value is expected or repr(value) == repr(expected)  # nan differs from itself


# --------------------------------------------------------------------------------------------------------- kinds

# Which functions have a parameter of a kind: a wrong kind would give a silently missing gradient.
CREATING = set(
    "arange asarray empty eye fft.fftfreq fft.rfftfreq from_dlpack full linspace ones zeros".split()
)
DESCRIBING = {"__array_namespace_info__", "can_cast", "finfo", "iinfo", "isdtype", "result_type", "broadcast_shapes"}
OPTIONAL_ARRAYS = {("clip", "min"), ("clip", "max"), ("diff", "prepend"), ("diff", "append")}
SEVERAL_ARRAYS = {(name, "arrays") for name in ("meshgrid", "broadcast_arrays", "concat", "stack")}
INDICES = {("where", "condition"), ("take", "indices"), ("take_along_axis", "indices"), ("repeat", "repeats")}
REDUCING = {"all", "any", "count_nonzero", "max", "mean", "min", "prod", "std", "sum", "var"}
SHIFTED = {"flip", "roll", "squeeze", "expand_dims", "moveaxis", "permute_dims", "fft.fftshift", "fft.ifftshift"}
SEVERAL_AXES = REDUCING | SHIFTED | {"linalg.vector_norm", "fft.fftn", "fft.ifftn", "fft.rfftn", "fft.irfftn"}
CORE = {
    "matmul": (2, 2), "matrix_transpose": (2,), "vecdot": (1, 1), "tril": (2,), "triu": (2,), "linalg.lstsq": (2, 2),
    "linalg.outer": (1, 1),
    **{f"linalg.{name}": (2,) for name in """
        cholesky det diagonal eig eigh eigvals eigvalsh inv matrix_norm matrix_power matrix_rank pinv qr slogdet svd
        svdvals trace
    """.split()},
}


def pairs_of_kind(kind):
    """Where the standard's functions have it."""
    return {(n, p.name) for n in STANDARD for p in signature(n).parameters if p.kind == kind}


def test_every_parameter_named_x_is_an_array_except_in_from_dlpack():
    for name in STANDARD:
        for p in signature(name).parameters:
            if p.name in ("x", "x1", "x2") and name != "from_dlpack":
                assert p.kind == "array", name
    assert {p for _, p in pairs_of_kind("array")} == {"x", "x1", "x2"}


def test_exactly_the_creation_and_metadata_functions_take_no_array():
    with_arrays = {n for n in NAMES if any(p.kind in standard.ARRAY_KINDS for p in signature(n).parameters)}
    assert set(NAMES) - with_arrays == CREATING | DESCRIBING


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("array?", OPTIONAL_ARRAYS),
        ("array*", SEVERAL_ARRAYS),
        ("index", INDICES),
        ("index?", {("searchsorted", "sorter"), ("linalg.matrix_rank", "rtol"), ("linalg.pinv", "rtol")}),
        ("key", set()),
    ],
)
def test_the_special_kinds_stand_where_they_belong(kind, expected):
    assert pairs_of_kind(kind) == expected


def test_axes_dtypes_devices_and_shapes_have_their_kinds():
    assert {n for n, _ in pairs_of_kind("axes")} == SEVERAL_AXES
    assert not SEVERAL_AXES & {n for n, _ in pairs_of_kind("axis")}
    # tensordot's axes are pairs of axes, or a number of them.
    static_axes = {n for n, p in pairs_of_kind("static") if p in ("axis", "axes")}
    assert static_axes == {"tensordot"}
    for kind in ("dtype", "device", "shape"):
        named_like_it = {n for n in STANDARD if kind in signature(n).positions}
        assert {n for n, p in pairs_of_kind(kind) if p == kind} == named_like_it
    assert {(n, p) for n, p in pairs_of_kind("dtype") if p != "dtype"} == {("can_cast", "to")}


def test_core_axes_are_said_where_an_op_acts_on_its_last_axes():
    assert {n: signature(n).core for n in NAMES if signature(n).core is not None} == CORE


def test_every_kind_of_the_language_is_used_in_the_table():
    assert {p.kind for n in NAMES for p in signature(n).parameters} == standard.KINDS


# -------------------------------------------------------------------------------------------------------- lookups


def test_a_signature_is_parsed_once_and_kept():
    assert signature("sum") is signature("sum")


@pytest.mark.parametrize(
    ("asked", "close"), [("summ", "sum"), ("matmull", "matmul"), ("Sin", "sin"), ("cumsum", "sum"), ("q__", None)]
)
def test_an_unknown_name_raises_with_close_ones(asked, close):
    with pytest.raises(LookupError) as caught:
        signature(asked)
    assert not isinstance(caught.value, KeyError)  # its message would be shown as a repr
    assert repr(asked) in str(caught.value)
    assert ("did you mean" in str(caught.value)) is (close is not None)
    assert close is None or close in str(caught.value)


def test_the_module_is_cheap_to_import():
    path = importlib.util.find_spec("agrad.standard").origin
    code = (
        "import importlib.util, sys\n"
        f"spec = importlib.util.spec_from_file_location('standard', {path!r})\n"
        "module = importlib.util.module_from_spec(spec)\n"
        "spec.loader.exec_module(module)\n"
        "heavy = {'inspect', 'dataclasses', 'numpy', 'difflib'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
        "assert not module._parsed\n"
    )
    subprocess.run([sys.executable, "-I", "-c", code], check=True)


# ---------------------------------------------------------------------------------------------------------- parse


def test_a_line_of_ones_own_is_read_completely():
    line = "physics.lj(r: array, /, cut: array? = None, *rest: array*, order=(1, (2, 3)), note=', )', eps=-1.5)"
    line += " core=(1, 0,0)"
    sig = parse(line, "physics")
    assert (sig.name, sig.chapter, sig.core) == ("physics.lj", "physics", (1, 0, 0))
    assert sig.parameters == (
        Parameter("r", "array", REQUIRED, "positional_only"),
        Parameter("cut", "array?", None, "positional_or_keyword"),
        Parameter("rest", "array*", REQUIRED, "var_positional"),
        Parameter("order", "static", (1, (2, 3)), "keyword_only"),
        Parameter("note", "static", ", )", "keyword_only"),
        Parameter("eps", "static", -1.5, "keyword_only"),
    )
    assert sig.text == "(r, /, cut=None, *rest, order=(1, (2, 3)), note=', )', eps=-1.5)"
    assert sig.text == str(python_signature(sig.text))


def test_spaces_and_line_breaks_do_not_matter():
    tight = parse("f(x:array,/,*,axis:axes=None,n=1)core=(2,)", "c")
    loose = parse("  f ( x : array ,\n /, * , axis : axes = None , n = 1 )  core = ( 2 , )  ", "c")
    assert tight.parameters == loose.parameters
    assert tight.core == loose.core == (2,)
    assert tight.text == loose.text == "(x, /, *, axis=None, n=1)"


@pytest.mark.parametrize("text", ["()", "(x)", "(x, /)", "(*, x)", "(x, /, y)", "(x, /, *, y)", "(*x)", "(*x, y=1)"])
def test_every_arrangement_of_roles_is_written_as_python_writes_it(text):
    sig = parse("f" + text, "c")
    assert sig.text == text == str(python_signature(text))
    assert described(python_signature(text).parameters.values()) == [
        (p.name, p.role, p.default) for p in sig.parameters
    ]


BAD_LINES = [
    ("f", "expected"),
    ("f(x", "expected"),
    ("(x)", "expected"),
    ("f.(x)", "expected"),
    ("2f(x)", "expected"),
    ("f(x) core=2", "expected"),
    ("f(x) -> y", "expected"),
    ("f(x: arr)", "unknown kind 'arr'"),
    ("f(x: array??)", "unknown kind"),
    ("f(x, x)", "'x' stands twice"),
    ("f(x, *x)", "'x' stands twice"),
    ("f(/)", "'/' may stand once"),
    ("f(x, /, y, /)", "'/' may stand once"),
    ("f(x, *, y, /)", "'/' may stand once"),
    ("f(x, *)", "must be followed"),
    ("f(*, x, *, y)", "'*' may stand only once"),
    ("f(*x, *y)", "'*' may stand only once"),
    ("f(x=1, y)", "'y' needs a default"),
    ("f(x=1, /, y)", "'y' needs a default"),
    ("f(*x=1)", "cannot have a default"),
    ("f(x,, y)", "cannot read the parameter ''"),
    ("f(x,)", "cannot read the parameter ''"),
    ("f(x y)", "cannot read the parameter 'x y'"),
    ("f(**x)", "cannot read the parameter"),
    ("f(x=)", "cannot read the parameter"),
    ("f(x=[1])", "default of 'x'"),
    ("f(x=np.pi)", "default of 'x'"),
    ("f(x=(1, [2]))", "default of 'x'"),
    ("f(x='a)", "default of 'x'"),
    ("f(x: array, y: array) core=(2,)", "1 numbers for 2"),
    ("f(n) core=(2,)", "1 numbers for 0"),
]


@pytest.mark.parametrize(("line", "problem"), BAD_LINES, ids=[line for line, _ in BAD_LINES])
def test_a_line_that_breaks_the_form_is_shown_with_what_is_wrong(line, problem):
    with pytest.raises(ValueError, match=re.escape(problem)) as caught:
        parse(line, "c")
    assert str(caught.value).startswith(repr(line))
    assert caught.value.__cause__ is None


def test_the_missing_default_is_one_object_that_survives_copies():
    assert repr(REQUIRED) == "REQUIRED"
    assert copy.deepcopy(REQUIRED) is REQUIRED
    assert pickle.loads(pickle.dumps(REQUIRED)) is REQUIRED


@pytest.mark.parametrize("name", standard.RESULTS)
def test_several_results_have_the_standards_names(name):
    strict = pytest.importorskip("array_api_strict", minversion="2.6")
    kind = standard.RESULTS[name]
    modules = (strict, strict.linalg, importlib.import_module("array_api_strict._linalg"))
    theirs = next(getattr(m, kind.__name__) for m in (*modules, strict._set_functions) if hasattr(m, kind.__name__))
    assert kind._fields == theirs._fields
    result = kind._make(range(len(kind._fields)))
    assert pickle.loads(pickle.dumps(result)) == result


def test_a_signature_shows_how_to_call_it():
    assert repr(signature("sum")) == "<Signature sum(x, /, *, axis=None, dtype=None, keepdims=False)>"
