"""The form of a rule: what is refused when it is declared, what a formula gets, and what becomes of its result."""

import functools
import re
import subprocess
import sys
import traceback

import numpy as np
import pytest

import agrad
from agrad import backends, rules
from agrad.rules import RuleError, RuleSet, scatter

SEEN = {}   # label -> what a formula was given, call by call


def watched(label, formula):
    """The formula, and what it is given can be read in SEEN."""
    @functools.wraps(formula)
    def watching(*arguments):
        SEEN.setdefault(label, []).append(arguments)
        return formula(*arguments)

    return watching


@pytest.fixture(autouse=True)
def nothing_seen():
    SEEN.clear()


# ----------------------------------------------------------------------------------------- refused when it is declared

LINE = "demo.f(x: array, y: array, n=2)"


def demo():
    made = RuleSet("demo")
    made.op(LINE)
    return made


REFUSED = {  # what is wrong -> (the declaration, what is said about it)
    "an unknown name": (
        lambda r: r.elementwise("demo.f", x=lambda x, z: z, y=1),
        "demo.f.vjp[x]: a formula asks for 'z'; "
        "it may ask for g, out, xp, needs, out0, out1, ..., x, y, n and NAME_like of an array",
    ),
    "a tangent in a vjp": (
        lambda r: r.linear("demo.f", x=lambda t: t, y=None),
        "demo.f.vjp[x]: a formula asks for 't'",
    ),
    "the like of a static": (
        lambda r: r.elementwise("demo.f", x=1, y=lambda n_like: 1),
        "demo.f.vjp[y]: a formula asks for 'n_like'",
    ),
    "variable parameters": (
        lambda r: r.elementwise("demo.f", x=lambda *x: 1, y=1),
        "demo.f.vjp[x]: formulas take plain parameters, not *x",
    ),
    "keyword-only parameters": (
        lambda r: r.elementwise("demo.f", x=lambda *, x: 1, y=1),
        "demo.f.vjp[x]: formulas take plain parameters, not x",
    ),
    "an unknown name in a joint formula": (
        lambda r: r.general("demo.f", vjp=lambda g, z: (g, g)),
        "demo.f.vjp: a formula asks for 'z'",
    ),
    "an unknown name in a mask": (
        lambda r: r.select("demo.f", x=lambda x, z: x > z, y=lambda x: x > 0),
        "demo.f.vjp[x]: a formula asks for 'z'",
    ),
    "an unknown name in a forward rule": (
        lambda r: r.reduction("demo.f", x=lambda g: g, y=None, jvp={"x": lambda t, z: t}),
        "demo.f.jvp[x]: a formula asks for 'z'",
    ),
    "a cotangent in a forward rule": (
        lambda r: r.reduction("demo.f", x=lambda g: g, y=None, jvp={"x": lambda t, g: t}),
        "demo.f.jvp[x]: a formula asks for 'g'; it may ask for t, out, xp, out0, out1, ..., x, y, n and NAME_like",
    ),
    "a forward rule for no array": (
        lambda r: r.reduction("demo.f", x=lambda g: g, y=None, jvp={"n": lambda t: t}),
        "demo.f.jvp[n]: there is no such array parameter; there are x, y",
    ),
    "a forward rule that is no function": (
        lambda r: r.linear("demo.f", x=lambda g: g, y=None, linear_part=1),
        "demo.f.linear_part: a forward rule is a function, not 1",
    ),
    "nothing about an array": (
        lambda r: r.elementwise("demo.f", x=1),
        "demo.f says nothing about its array parameter 'y'; give a formula, or None if it has no derivative",
    ),
    "an unknown field": (
        lambda r: r.elementwise("demo.f", x=1, y=1, tolerance=1e-3),
        "demo.f has neither an array parameter nor a field 'tolerance'; array parameters are: x, y",
    ),
    "a derivative for a static": (
        lambda r: r.general("demo.f", vjp={"x": lambda g: g, "y": None, "n": lambda g: g}),
        "demo.f has neither an array parameter nor a field 'n'; array parameters are: x, y",
    ),
    "a rule twice": (
        lambda r: (r.flat("demo.f"), r.elementwise("demo.f", x=1, y=1)),
        "demo.f is declared twice",
    ),
    "an op twice": (lambda r: r.op(LINE), "the op demo.f is declared twice"),
    "another's prefix": (
        lambda r: r.op("other.f(x: array)"),
        "the op other.f is not under the prefix 'demo' that the rule set owns",
    ),
    "no prefix": (lambda r: r.op("f(x: array)"), "the op f is not under the prefix 'demo'"),
    "an op that nobody declares": (
        lambda r: r.flat("demo.h"),
        "demo.h is neither a function of the standard nor declared by rules.op",
    ),
    **{
        f"a parameter named {name}": (
            lambda r, name=name: r.op(f"demo.h(x: array, {name}=0)"),
            f"demo.h has a parameter {name!r}; that name is reserved for formulas",
        )
        for name in ("g", "t", "out", "xp", "needs", "x_like")
    },
}


@pytest.mark.parametrize("what", REFUSED)
def test_a_wrong_declaration_is_refused_and_says_where(what):
    declare, complaint = REFUSED[what]
    made = demo()
    with pytest.raises(RuleError) as caught:
        declare(made)
    assert str(caught.value).startswith("the rule set 'demo': ")
    assert complaint in str(caught.value)
    assert isinstance(caught.value, TypeError)


@pytest.mark.parametrize("line", ["demo.h(x: arr)", "demo.h(x: array", "demo.h(x: array, x: array)"])
def test_a_line_that_breaks_the_form_is_shown(line):
    with pytest.raises(ValueError, match=re.escape(repr(line))):
        demo().op(line)


def test_what_was_refused_leaves_no_trace():
    made = demo()
    with pytest.raises(RuleError):
        made.elementwise("demo.f", x=lambda z: z, y=1)
    made.elementwise("demo.f", x=1, y=1)
    assert list(made.records) == ["demo.f"]


# -------------------------------------------------------------------------------------------- ops for the tests below

FORMS = RuleSet("forms")
ORIGIN = "forms (agrad-forms 2.1)"


def declare(line, kernel, family, **fields):
    FORMS.op(line).kernel("*", kernel)
    getattr(FORMS, family)(line.partition("(")[0], **fields)


def product(x1, x2):
    return x1 * x2


# What the engine is given.

declare(
    "forms.names(x: array, /, n=3)", lambda x, n=3: n * x, "linear",
    x=watched("names", lambda g, n, x, out, x_like, xp: n * g),
)
declare(
    "forms.static(x: array, axis: axis = 0, pair=(1, 2))", lambda x, axis=0, pair=(1, 2): x * pair[0], "linear",
    x=watched("static", lambda g, axis, pair: g * pair[0]),
)
declare(
    "forms.scalar(x1: array, x2: array, /)", product, "elementwise",
    x1=watched("scalar", lambda x2: x2), x2=watched("scalar", lambda x1: x1),
)
declare(
    "forms.number(x1: array, x2: array, /)", product, "elementwise", scalars=True,
    x1=watched("number", lambda x2: x2), x2=None,
)
declare(
    "forms.optional(x: array, low: array? = None, high: array? = None)",
    lambda x, low=None, high=None: x + (0 if low is None else low) - (0 if high is None else high), "general",
    vjp={
        "x": watched("x", lambda g, low, high, low_like: g), "low": watched("low", lambda g: g),
        "high": watched("high", lambda g: -g),
    },
)
declare(
    "forms.joined(arrays: array*, /, scale=1.0)", lambda arrays, scale=1.0: scale * sum(arrays), "linear",
    arrays=watched("joined", lambda g, arrays_like, scale: (scale * g,) * len(arrays_like)),
)
declare(
    "forms.squares(arrays: array*, /)", lambda arrays: sum(a * a for a in arrays), "general",
    vjp={"arrays": lambda g, arrays: tuple(2 * g * a for a in arrays)},
)


def pair_vjp(g, x):
    first, second = g
    return (0 if first is None else first) + (0 if second is None else 2 * x * second)


declare("forms.pair(x: array, /)", lambda x: (x + 0, x * x), "general", vjp={"x": watched("pair", pair_vjp)})
declare("forms.one(x: array, /)", lambda x: (2 * x,), "linear", x=watched("one", lambda g: 2 * g[0]))
declare(
    "forms.counted(x: array, /)", lambda x, xp: (x * 3, xp.astype(x, xp.int64)), "general",
    vjp={"x": watched("counted", lambda g, out: 3 * g[0])},
)
declare(
    "forms.needs(x1: array, x2: array, x3: array, /)", lambda x1, x2, x3: x1 * x2 * x3, "general",
    vjp=watched("needs", lambda needs, g, x1, x2, x3: (g * x2 * x3, g * x1 * x3, g * x1 * x2)),
)
declare("forms.lacking(x1: array, x2: array, /)", product, "general", vjp=lambda g, x2: (g * x2, None))

# Families.

declare(
    "forms.read(x: array, key: key)", lambda x, key: x[key], "linear", x=lambda g, key, x_like: scatter(x_like, key, g)
)
declare(
    "forms.tied(x1: array, x2: array, x3: array, /)", lambda x1, x2, x3, xp: xp.maximum(x1, xp.maximum(x2, x3)),
    "select", x1=lambda x1, out: x1 == out, x2=lambda x2, out: x2 == out, x3=lambda x3, out: x3 == out,
)
declare(
    "forms.constant(x1: array, x2: array, x3: array, /)", lambda x1, x2, x3: 2 * x1 - x2 + 0 * x3, "elementwise",
    x1=2, x2=-1, x3=None,
)
declare("forms.complex(x: array, /)", lambda x: x * (1 + 2j), "elementwise", x=1 + 2j)
declare("forms.untracked(x: array, /)", lambda x: x, "not_differentiable")

# What the engine refuses.

for name, formula in {
    "short": lambda g, xp: xp.reshape(g, (-1,))[:1], "wide": lambda g, xp: xp.stack([g, g]), "text": lambda g: "g",
    "python": lambda g: 1.0, "tuple": lambda g: (g,), "raises": lambda g: 1 / 0,
}.items():
    declare(f"forms.{name}(x: array, /)", lambda x: x * 1, "linear", x=formula)
declare("forms.few(x1: array, x2: array, /)", product, "general", vjp=lambda g: (g,))
declare("forms.alone(x1: array, x2: array, /)", product, "general", vjp=lambda g: g)
declare("forms.many(arrays: array*, /)", lambda arrays: sum(arrays), "linear", arrays=lambda g: (g, g, g))
FORMS.install(ORIGIN)


def op(name):
    return rules.find(f"forms.{name}").function


def leaf(data, **options):
    return agrad.tensor(data, requires_grad=True, **options)


def gradients(result, inputs, g=None, **options):
    g = agrad.ones_like(result) if g is None else g
    return agrad.autograd.grad(result, inputs, g, allow_unused=True, **options)


# ---------------------------------------------------------------------------------------------- what a formula is given


@pytest.mark.parametrize("create_graph", [False, True])
def test_a_formula_gets_what_it_names_in_the_world_it_runs_in(backend, create_graph):
    x = leaf([1.0, 2.0])
    (found,) = gradients(op("names")(x, 4), x, create_graph=create_graph)
    assert found.tolist() == [4.0, 4.0]
    ((g, n, saved, out, like, xp),) = SEEN["names"]
    adapter = backends.find(backend)
    kind = agrad.Tensor if create_graph else type(x.array)
    assert {type(value) for value in (g, saved, out)} == {kind}
    assert n == 4
    assert xp is (adapter.facade if create_graph else adapter.xp)
    assert (like.shape, like.ndim, like.size) == ((2,), 1, 2)
    for made, value in ((like.zeros(), 0.0), (like.ones(), 1.0), (like.full(7.0), 7.0)):
        assert type(made) is kind
        made = made if create_graph else agrad.asarray(made)
        assert (made.tolist(), made.dtype, made.device) == ([value, value], x.dtype, x.device)


def test_a_formula_gets_the_defaults_of_static_parameters():
    x = leaf([1.0])
    gradients(op("static")(x), x)
    gradients(op("static")(x, pair=[3, 4], axis=-1), x)
    assert [statics for _, *statics in SEEN["static"]] == [[0, (1, 2)], [-1, (3, 4)]]


def test_a_list_that_is_changed_after_the_call_reaches_no_formula():
    x, pair = leaf([1.0]), [3, 4]
    y = op("static")(x, pair=pair)
    pair[0] = 5
    assert gradients(y, x)[0].tolist() == [3.0]


@pytest.mark.parametrize("create_graph", [False, True])
@pytest.mark.parametrize("dtype", ["float32", "float64", "complex128"])
@pytest.mark.parametrize("first", [False, True])
def test_a_python_scalar_reaches_a_formula_as_an_array_of_the_results_dtype(backend, create_graph, dtype, first):
    x = leaf([1.0, 2.0], dtype=dtype)
    y = op("scalar")(3, x) if first else op("scalar")(x, 3)
    (found,) = gradients(y, x, create_graph=create_graph)
    ((scalar,),) = SEEN["scalar"]
    tensor = scalar if create_graph else agrad.asarray(scalar)
    assert isinstance(scalar, agrad.Tensor) is create_graph
    assert (tensor.shape, tensor.dtype, tensor.item()) == ((), x.dtype, 3)
    assert (found.dtype, found.tolist()) == (x.dtype, [3, 3])


@pytest.mark.parametrize("create_graph", [False, True])
@pytest.mark.parametrize("scalar", [3, 2.5])
def test_a_python_scalar_reaches_a_formula_as_it_is_where_that_is_asked(backend, scalar, create_graph):
    x = leaf([1.0, 2.0])
    gradients(op("number")(x, scalar), x, create_graph=create_graph)
    ((seen,),) = SEEN["number"]
    assert (type(seen), seen) == (type(scalar), scalar)


def test_a_numpy_scalar_is_an_array_and_never_a_number():
    x = leaf([1.0, 2.0])
    gradients(op("number")(x, np.float64(3.0)), x)
    ((seen,),) = SEEN["number"]
    assert type(seen) is not float


def test_an_optional_array_that_is_missing_is_none_and_its_rule_is_not_called(backend):
    x, low, high = leaf([1.0, 2.0]), leaf([0.5, 0.5]), leaf(3.0)
    assert gradients(op("optional")(x), x)[0].tolist() == [1.0, 1.0]
    ((_, seen_low, seen_high, like),) = SEEN.pop("x")
    assert seen_low is seen_high is like is None
    assert not SEEN
    found = gradients(op("optional")(x, high=high), (x, high))
    assert [g.tolist() for g in found] == [[1.0, 1.0], -2.0]
    assert ("low" in SEEN, "high" in SEEN) == (False, True)
    found = gradients(op("optional")(x, low, high), (low, high))
    assert [g.tolist() for g in found] == [[1.0, 1.0], -2.0]


@pytest.mark.parametrize("create_graph", [False, True])
def test_a_variadic_parameter_is_a_tuple_and_so_are_its_likes(backend, create_graph):
    parts = [leaf([[1.0, 2.0]]), leaf([1.0, 2.0]), leaf(3.0)]
    found = gradients(op("joined")(parts, scale=2.0), parts, create_graph=create_graph)
    assert [g.tolist() for g in found] == [[[2.0, 2.0]], [2.0, 2.0], 4.0]
    ((_, likes, _),) = SEEN["joined"]
    assert type(likes) is tuple
    assert [like.shape for like in likes] == [(1, 2), (2,), ()]
    found = gradients(op("squares")(parts), parts, create_graph=create_graph)
    assert [g.tolist() for g in found] == [[[2.0, 4.0]], [2.0, 4.0], 12.0]


def test_a_variadic_parameter_may_hold_constants_and_numbers(backend):
    x = leaf([1.0, 2.0])
    (found,) = gradients(op("squares")([agrad.ones(2), x, 2.0]), x)
    assert found.tolist() == [2.0, 4.0]


@pytest.mark.parametrize("create_graph", [False, True])
def test_cotangents_of_several_results_are_a_tuple_with_none_for_the_unused(backend, create_graph):
    x = leaf([1.0, 2.0])
    for used, expected in (((0,), [1.0, 1.0]), ((1,), [2.0, 4.0]), ((0, 1), [3.0, 5.0])):
        SEEN.clear()
        results = op("pair")(x)
        assert type(results) is tuple
        (found,) = agrad.autograd.grad(sum(results[i].sum() for i in used), x, create_graph=create_graph)
        assert found.tolist() == expected
        ((g, _),) = SEEN["pair"]
        assert [part is not None for part in g] == [0 in used, 1 in used]


def test_a_single_result_in_a_tuple_has_a_tuple_of_one_cotangent(backend):
    x = leaf([1.0, 2.0])
    (y,) = op("one")(x)
    assert gradients(y, x)[0].tolist() == [2.0, 2.0]
    ((g,),) = SEEN["one"]
    assert type(g) is tuple
    assert len(g) == 1


def test_an_integer_result_carries_no_gradient_and_out_holds_it(backend):
    x = leaf([1.0, 2.0])
    values, counts = op("counted")(x)
    assert (values.requires_grad, counts.requires_grad) == (True, False)
    assert gradients(values, x)[0].tolist() == [3.0, 3.0]
    ((g, out),) = SEEN["counted"]
    assert (len(g), g[1], len(out)) == (2, None, 2)


@pytest.mark.parametrize("wanted", [(True, False, True), (False, True, False), (True, True, True)])
def test_a_joint_formula_is_told_which_gradients_are_needed(backend, wanted):
    inputs = [agrad.tensor([2.0 + i, 3.0], requires_grad=w) for i, w in enumerate(wanted)]
    found = gradients(op("needs")(*inputs), [x for x in inputs if x.requires_grad])
    ((needs, *_),) = SEEN["needs"]
    assert needs == wanted
    assert [g.tolist()[0] for g in found] == [g for g, w in zip((12.0, 8.0, 6.0), wanted, strict=True) if w]


def test_a_joint_formula_is_told_what_a_walk_to_some_inputs_needs(backend):
    inputs = [leaf([2.0]), leaf([3.0]), leaf([4.0])]
    gradients(op("needs")(*inputs), inputs[2])
    ((needs, *_),) = SEEN["needs"]
    assert needs == (False, False, True)


def test_none_from_a_joint_formula_is_no_gradient(backend):
    x1, x2 = leaf([2.0]), leaf([3.0])
    found = gradients(op("lacking")(x1, x2), (x1, x2))
    assert (found[0].tolist(), found[1]) == ([3.0], None)


# ------------------------------------------------------------------------------------------------------------ families


def test_constant_partials_are_numbers_and_none_is_no_path(backend):
    inputs = [leaf([2.0, 1.0]) for _ in range(3)]
    found = gradients(op("constant")(*inputs), inputs)
    assert [None if g is None else g.tolist() for g in found] == [[2.0, 2.0], [-1.0, -1.0], None]
    assert not op("constant")(agrad.ones(2), agrad.ones(2), inputs[2]).requires_grad


def test_a_complex_partial_is_conjugated(backend):
    x = leaf([1.0 + 1.0j])
    assert gradients(op("complex")(x), x)[0].tolist() == [1.0 - 2.0j]
    x = leaf([1.0])
    assert gradients(op("complex")(x), x, agrad.tensor([1.0 + 1.0j]))[0].tolist() == [3.0]    # real((1+1j) (1-2j))


def test_ties_of_a_select_op_are_shared_equally(backend):
    inputs = [leaf([1.0, 5.0, 2.0]), leaf([1.0, 5.0, 2.0]), leaf([1.0, 1.0, 4.0])]
    found = gradients(op("tied")(*inputs), inputs, agrad.tensor([3.0, 3.0, 3.0]))
    assert [g.tolist() for g in found] == [[1.0, 1.5, 0.0], [1.0, 1.5, 0.0], [1.0, 0.0, 3.0]]


def test_results_of_an_op_that_is_not_differentiable_are_not_tracked(backend):
    y = op("untracked")(leaf([1.0]))
    assert (y.requires_grad, y.grad_fn) == (False, None)


@pytest.mark.parametrize("create_graph", [False, True])
def test_scattered_gradients_add_up_at_repeated_positions(backend, create_graph):
    x = leaf([1.0, 2.0, 3.0])
    places = agrad.tensor([2, 0, 2])
    y = op("read")(x, places) * agrad.tensor([1.0, 10.0, 100.0])
    y = y.sum() + op("read")(x, 1) + op("read")(x, slice(0, 2)).sum()
    (found,) = gradients(y, x, create_graph=create_graph)
    assert found.tolist() == [11.0, 2.0, 101.0]
    assert found.requires_grad is False     # nothing in it depends on a tracked tensor


# ----------------------------------------------------------------------------------- what becomes of a formula's result


def test_broadcast_axes_are_summed_and_dtypes_cast(backend):
    x1, x2 = leaf([[1.0], [2.0]], dtype="float32"), leaf([1.0, 2.0, 3.0], dtype="float64")
    found = gradients(op("scalar")(x1, x2), (x1, x2))
    assert [g.tolist() for g in found] == [[[6.0], [6.0]], [3.0, 3.0, 3.0]]
    assert [g.dtype for g in found] == [agrad.float32, agrad.float64]


WRONG = {  # op -> (its arguments, what is raised, what is said)
    "short": ([[1.0, 2.0]], RuntimeError, "returned shape (1,), expected one compatible with (2,)"),
    "text": ([[1.0, 2.0]], TypeError, "returned str, expected "),
    "python": ([[1.0, 2.0]], TypeError, "returned float, expected "),
    "tuple": ([[1.0, 2.0]], TypeError, "returned tuple, expected "),
    "few": ([[1.0], [2.0]], RuntimeError, "returned an incorrect number of gradients (expected 2, got 1)"),
    "many": ([[1.0], [2.0]], RuntimeError, "returned an incorrect number of gradients (expected 2, got 3)"),
    "alone": ([[1.0], [2.0]], RuntimeError, "returned an incorrect number of gradients (expected 2, got 1)"),
}


@pytest.mark.parametrize("create_graph", [False, True])
@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_result_is_refused_and_names_op_plugin_and_version(backend, name, create_graph):
    data, kind, complaint = WRONG[name]
    inputs = [leaf(values) for values in data]
    y = op(name)(inputs) if name == "many" else op(name)(*inputs)
    with pytest.raises(kind) as caught:
        gradients(y, inputs, create_graph=create_graph)
    message = str(caught.value)
    assert message.startswith(f"the rule forms.{name}.vjp")
    assert f"of {ORIGIN} {complaint}" in message
    assert [x.grad for x in inputs] == [None] * len(inputs)
    assert agrad.is_grad_enabled()


def test_an_axis_too_many_is_summed_like_a_broadcast_one(backend):
    x = leaf([1.0, 2.0])
    assert gradients(op("wide")(x), x)[0].tolist() == [2.0, 2.0]


def test_an_exception_of_a_formula_comes_through_and_the_traceback_names_it(backend):
    x = leaf([1.0])
    with pytest.raises(ZeroDivisionError) as caught:
        gradients(op("raises")(x), x)
    assert "forms.raises.vjp[x]" in [frame.name for frame in traceback.extract_tb(caught.value.__traceback__)]
    assert gradients(op("names")(x), x)[0].tolist() == [3.0]


# ----------------------------------------------------------------------------------------------------------- overrides

METADATA = "Metadata-Version: 2.1\nName: agrad-calm\nVersion: 3.0\n"
ENTRY_POINTS = "[agrad.plugins]\nelementwise = agrad_calm:rules\n"
CALM = """
from agrad.rules import RuleSet, case, point
rules = RuleSet("elementwise", override=True)
rules.elementwise("sqrt", x=lambda out, xp: xp.where(out > 0, 0.5 / xp.where(out > 0, out, 1.0), 0.0),
                  domain=(0.5, 2.0), samples=[case((3,))], special=[point((0.0,), (0.0,))])
rules.elementwise("exp", x=lambda out: 2 * out, samples=[case((3,))])
"""
PROGRAM = """
import agrad
from agrad.testing import check_rule
def slope(function, at):
    x = agrad.tensor(at, requires_grad=True)
    function(x).backward()
    return x.grad.item()
print(slope(agrad.sqrt, 0.0), slope(agrad.exp, 0.0), slope(agrad.cos, 0.0))
with agrad.rules.override("agrad-calm"):
    print(slope(agrad.sqrt, 0.0), slope(agrad.exp, 0.0), slope(agrad.cos, 0.0))
    print(check_rule("sqrt"))
    try:
        check_rule("exp")
    except AssertionError as error:
        print(str(error).partition(" fails ")[0])
print(check_rule("sqrt").cases, agrad.rules.find("sqrt").rule)
"""


def test_an_override_acts_inside_its_block_and_is_checked_there_with_its_own_samples(tmp_path):
    (tmp_path / "agrad_calm-3.0.dist-info").mkdir()
    (tmp_path / "agrad_calm-3.0.dist-info" / "METADATA").write_text(METADATA)
    (tmp_path / "agrad_calm-3.0.dist-info" / "entry_points.txt").write_text(ENTRY_POINTS)
    (tmp_path / "agrad_calm.py").write_text(CALM)
    start = f"import sys; sys.path.insert(0, {str(tmp_path)!r})\n"
    result = subprocess.run(
        [sys.executable, "-P", "-W", "error", "-c", start + PROGRAM], capture_output=True, text=True, timeout=120
    )
    assert result.returncode == 0, result.stderr
    assert result.stdout.splitlines() == [
        "inf 1.0 -0.0",
        "0.0 2.0 -0.0",
        "sqrt on numpy in float64: 2 cases, 19 checks",
        "<rule exp (elementwise) of elementwise (agrad-calm 3.0)>",
        f"6 <rule sqrt (elementwise) of elementwise (agrad {agrad.__version__})>",
    ]
