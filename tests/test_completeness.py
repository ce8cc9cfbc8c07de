"""Nothing is forgotten: each function of the standard has a rule or a reason, each rule samples, each name a text."""

import importlib
import inspect
import pkgutil
from importlib import metadata
from itertools import product
from operator import attrgetter
from types import ModuleType

import numpy as np
import pytest
from test_rules import ELSEWHERE

import agrad
from agrad import backends, dtypes, loading, plugins, rules, standard
from agrad.testing.check import names_of_plugin, takes_arrays
from agrad.testing.draw import Call, samples_of

FUNCTIONS = [name for names in standard.CHAPTERS.values() for name in names if name not in standard.ENGINE_OPS]
RULED = [name for chapter in standard.CHAPTERS for name in names_of_plugin(chapter)]

# Rule sets that own the names under a prefix of their own, and modules that several rule sets share.
PREFIXES = ("nn", "special")
SHARED = ("axes", "batches", "contraction", "matrices")

# Everything that takes arrays and has no derivative. A function that moves in or out of here changes what users get.
NOT_DIFFERENTIABLE = set("""
    all any argmax argmin argsort count_nonzero isin nonzero searchsorted
    bitwise_and bitwise_invert bitwise_left_shift bitwise_or bitwise_right_shift bitwise_xor
    equal greater greater_equal isfinite isinf isnan less less_equal not_equal signbit
    linalg.matrix_rank logical_and logical_not logical_or logical_xor
    empty_like full_like ones_like zeros_like
""".split())
WITHOUT_ARRAYS = set("""
    arange asarray empty eye fft.fftfreq fft.rfftfreq from_dlpack full linspace ones zeros
    __array_namespace_info__ broadcast_shapes can_cast finfo iinfo isdtype result_type
""".split())


# --------------------------------------------------------------------------------------------------------------- rules


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_function_of_the_standard_has_a_rule_or_a_reason(name):
    op = rules.find(name)
    assert takes_arrays(name) is (name not in WITHOUT_ARRAYS)
    if takes_arrays(name):
        assert op.record is not None, f"{name} has neither a rule nor is it declared not differentiable"
        assert (op.record.family == "not_differentiable") is (name in NOT_DIFFERENTIABLE)


@pytest.mark.parametrize("name", RULED)
def test_a_rule_has_samples(name):
    op = rules.find(name)
    assert name in ELSEWHERE or samples_of(op.record, op.signature), f"{name} has no samples"


@pytest.mark.parametrize("name", RULED)
def test_a_rule_that_is_not_checked_in_second_order_says_why(name):
    record = rules.find(name).record
    assert record.second or record.note


def test_the_plugins_are_found_through_entry_points():
    found = {entry.name for entry in metadata.entry_points(group="agrad.plugins") if entry.dist.name == "agrad"}
    assert found == {*standard.CHAPTERS, *PREFIXES}
    shipped = [info for info in rules.plugins() if info.distribution == "agrad"]
    assert {info.name for info in shipped} == found
    assert not [info for info in shipped if info.error or not info.ops]
    assert {info.version for info in shipped} == {agrad.__version__}


def test_every_module_of_the_plugins_is_an_entry_point_or_known():
    modules = {module.name for module in pkgutil.iter_modules(plugins.__path__)}
    assert {module for module in modules if not is_part(module)} == {*standard.CHAPTERS, *PREFIXES}


def is_part(module):
    """Whether a module holds no rule set of its own: a part of one, or what several share."""
    return module in SHARED or module.startswith(("linalg_", "nn_", "special_"))


def test_a_rule_stands_in_the_chapter_of_its_op():
    for chapter in standard.CHAPTERS:
        owner = loading.load_owner(chapter)
        assert owner.origin == f"{chapter} (agrad {agrad.__version__})"
        assert {rules.find(name).signature.chapter for name in owner.records} == {chapter}


# ----------------------------------------------------------------------------------------------------------- namespaces

# `transfer` has no kernel: it goes from one backend to another.
NAMESPACE = {*FUNCTIONS, *standard.SAME, *standard.ENGINE_OPS, *standard.CONSTANTS, *dtypes.DTYPES} - {"transfer"}


def names_in(namespace):
    listed = {name for name in dir(namespace) if not is_private(name)} - {"transfer"}
    return {name for name in NAMESPACE | listed if has(namespace, name)}


def has(namespace, name):
    try:
        attrgetter(name)(namespace)
    except AttributeError:
        return False
    return True


def is_private(name):
    return name.startswith("_") and name != "__array_namespace_info__"


def test_both_worlds_have_exactly_the_same_names(backend):
    adapter = backends.find(backend)
    raw, facade = names_in(adapter.xp), names_in(adapter.facade)
    assert raw ^ facade == set()
    assert facade >= NAMESPACE - {name for name in dtypes.DTYPES if not adapter.has_dtype(dtypes.DTYPES[name])}


def test_the_facade_lists_its_names(backend):
    facade = backends.find(backend).facade
    assert set(dir(facade)) >= {*standard.CONSTANTS, *(name for name in FUNCTIONS if "." not in name)}
    for extension in standard.EXTENSIONS:
        names = {name.rpartition(".")[2] for name in (*FUNCTIONS, *standard.SAME) if name.startswith(extension + ".")}
        assert set(dir(getattr(facade, extension))) == set(dir(getattr(agrad, extension))) == names


def test_constants_are_equal_in_both_worlds(backend):
    adapter = backends.find(backend)
    for name, value in standard.CONSTANTS.items():
        for namespace in (adapter.xp, adapter.facade, agrad):
            assert getattr(namespace, name) is value


# ------------------------------------------------------------------------------------------------ names and their texts


def parameters_of(function):
    signature = inspect.signature(function)
    return [(p.name, p.kind, p.default) for p in signature.parameters.values()]


def stated(name):
    """The parameters that the table of the standard states."""
    namespace = {}
    exec(f"def stated{standard.signature(name).text}: pass", namespace)
    return parameters_of(namespace["stated"])


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_function_has_the_standards_signature(name, backend):
    adapter = backends.find(backend)
    for namespace in (agrad, adapter.facade):
        assert parameters_of(attrgetter(name)(namespace)) == stated(name), namespace


def modules_of(package):
    """The package and what is in it, but the programs and what may need libraries that are not installed."""
    yield package
    for module in pkgutil.iter_modules(package.__path__, package.__name__ + "."):
        if module.name.rpartition(".")[2] not in ("__main__", "demo", "backends", "cython_core", "plugins"):
            found = importlib.import_module(module.name)
            yield from modules_of(found) if module.ispkg else (found,)


PUBLIC = [
    pytest.param(getattr(module, name), id=f"{module.__name__}.{name}")
    for module in modules_of(agrad) for name in getattr(module, "__all__", ())
]


@pytest.mark.parametrize("value", PUBLIC)
def test_a_public_name_is_documented(value):
    if callable(value) or isinstance(value, ModuleType):
        assert not isinstance(value, type) or "__doc__" in vars(value), "no docstring of its own"
        lines = [line for line in (inspect.getdoc(value) or "").splitlines() if not is_signature(line, value)]
        assert any(lines), "no docstring"
        assert next(filter(None, lines)).endswith("."), f"not a sentence: {lines[0]}"


def is_signature(line, value):
    """Compiled functions show theirs on the first line."""
    return line.startswith(f"{value.__name__}(")


def test_the_tensors_methods_are_documented():
    methods = {name: getattr(agrad.Tensor, name) for name in dir(agrad.Tensor) if not name.startswith("_")}
    assert [name for name, method in methods.items() if not inspect.getdoc(method)] == []


# ------------------------------------------------------------------ keyword-only parameters may be given by position

BY_POSITION = [
    name for name in RULED
    if name not in (*ELSEWHERE, *standard.BY_KEYWORD)
    and any(p.role == "keyword_only" for p in rules.find(name).signature.parameters)
    and not any(p.role == "var_positional" for p in rules.find(name).signature.parameters)
]


@pytest.mark.parametrize("name", BY_POSITION)
def test_keyword_only_parameters_may_be_given_by_position(name, backend):
    op, adapter = rules.find(name), backends.find(backend)
    compared = 0
    samples = list(enumerate(samples_of(op.record, op.signature)))
    for (i, sample), is_complex in product(samples, {False, op.record.complex}):
        call = Call(op.signature, sample, op.record, is_complex, (i,))
        operands = [agrad.asarray(value) for value in call.operands]
        args, kwargs = call.arguments_with(operands, agrad.asarray, lambda dtype: dtype)
        every = [*args, *(kwargs.get(p.name, p.default) for p in op.signature.parameters[len(args):])]
        try:
            expected = op.function(*args, **kwargs)
        except Exception:   # what the backend does not take is the business of test_rules
            continue
        compared += len(every) > len(args)
        for one, other in zip(as_tuple(op.function(*every)), as_tuple(expected), strict=True):
            if name != "empty_like":
                assert np.array_equal(adapter.to_numpy(one.array), adapter.to_numpy(other.array))
    assert compared


@pytest.mark.parametrize("name", sorted(standard.BY_KEYWORD))
def test_what_numpy_takes_in_another_order_must_be_named(name):
    op = rules.find(name)
    with pytest.raises(TypeError, match="by position"):
        op.function(*[agrad.ones((3, 3))] * len(op.parameters))


def as_tuple(result):
    return result if isinstance(result, tuple) else (result,)


@pytest.mark.parametrize(
    ("by_position", "by_keyword"),
    [
        (lambda xp: xp.sum(xp.ones((2, 3)), 0), lambda xp: xp.sum(xp.ones((2, 3)), axis=0)),
        (lambda xp: xp.concat([xp.ones(2), xp.zeros(1)], 0), lambda xp: xp.concat([xp.ones(2), xp.zeros(1)], axis=0)),
        (lambda xp: xp.roll(xp.arange(3), 1, 0), lambda xp: xp.roll(xp.arange(3), 1, axis=0)),
        (lambda xp: xp.zeros((2,), "float32"), lambda xp: xp.zeros((2,), dtype="float32")),
        (lambda xp: xp.eye(2, 3, 1), lambda xp: xp.eye(2, 3, k=1)),
        (lambda xp: xp.full((2,), 3, "int64"), lambda xp: xp.full((2,), 3, dtype="int64")),
        (lambda xp: xp.linspace(0, 1, 3, "float32"), lambda xp: xp.linspace(0, 1, 3, dtype="float32")),
    ],
)
def test_the_usual_calls_by_position_work_in_both_namespaces(by_position, by_keyword, backend):
    for namespace in (agrad, backends.find(backend).facade):
        one, other = by_position(namespace), by_keyword(namespace)
        assert (one.dtype, one.tolist()) == (other.dtype, other.tolist())
