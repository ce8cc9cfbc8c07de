"""The tools for tests: `assert_close` against torch's own, the checker against rules that are wrong on purpose."""

import re

import numpy as np
import pytest
from array_libraries import is_installed

import agrad
from agrad import loading, rules
from agrad.rules import RuleSet, case, ints, point, scatter
from agrad.testing import assert_close, check_plugin, check_rule, draw

inf, nan = float("inf"), float("nan")


# ------------------------------------------------------------------------------------------------------- assert_close

# Each row: actual, expected, options; T(...) is a tensor of either library.
COMPARISONS = {
    "one element differs": lambda T: (T([1.0, 2, 3]), T([1.0, 2, 4]), {}),
    "exactly, in two axes": lambda T: (T([[1.0, 2], [3, 4]]), T([[1.0, 2], [3, 7]]), {"rtol": 0, "atol": 0}),
    "0-d": lambda T: (T(1.0), T(2.0), {}),
    "integers": lambda T: (T([1]), T([2]), {}),
    "integers with tolerances": lambda T: (T([4, 5]), T([0, 5]), {"rtol": 0.5, "atol": 1}),
    "booleans": lambda T: (T([True, False]), T([True, True]), {}),
    "shapes": lambda T: (T([1.0]), T([1.0, 2]), {}),
    "dtypes": lambda T: (T([1.0]), T([1]), {}),
    "dtypes that may differ": lambda T: (T([1.0]), T([1]), {"check_dtype": False}),
    "numbers of two types": lambda T: (1, 1.0, {}),
    "close numbers": lambda T: (1.0, 1.0 + 1e-9, {}),
    "numbers": lambda T: (1.0, 2.0, {}),
    "whole numbers": lambda T: (1, 2, {}),
    "nan is not nan": lambda T: (T([nan]), T([nan]), {}),
    "nan is nan": lambda T: (T([nan]), T([nan]), {"equal_nan": True}),
    "numbers that are nan": lambda T: (nan, nan, {}),
    "infinities": lambda T: (T([inf, 1]), T([inf, 1]), {}),
    "infinity and a number": lambda T: (T([0.0, 1]), T([0.0, inf]), {}),
    "complex": lambda T: (T([1 + 1j]), T([1 + 1j]), {}),
    "empty": lambda T: (T([]), T([]), {}),
    "a list": lambda T: ([T(1.0)], [T(2.0)], {}),
    "a list and a tuple": lambda T: ([T(1.0)], (T(1.0),), {}),
    "lengths": lambda T: ([T(1.0)], [T(1.0), T(1.0)], {}),
    "keys": lambda T: ({"a": T(1.0), "c": T(1.0)}, {"b": T(1.0), "c": T(1.0)}, {}),
    "nested": lambda T: ({"a": [T(1.0), T([1.0])]}, {"a": [T(1.0), T([2.0])]}, {}),
    "none": lambda T: (None, None, {}),
    "none and a tensor": lambda T: (None, T(1.0), {}),
    "a tensor and a number": lambda T: (T(1.0), 1.0, {}),
    "a tensor and a list": lambda T: (T([1.0]), [1.0], {}),
    "texts": lambda T: ("a", "a", {}),
    "one tolerance": lambda T: (T([1.0]), T([1.0]), {"rtol": 1}),
    "a message": lambda T: (T([1.0]), T([2.0]), {"msg": "differs"}),
    "a message about the message": lambda T: (T([1.0]), T([2.0]), {"msg": lambda text: "First line\n" + text}),
    "tracked or not": lambda T: (T([1.0]), T([1.0]).requires_grad_(), {}),
}


def outcome(compare, actual, expected, options):
    """None, or what is raised."""
    try:
        return compare(actual, expected, **options)
    except (AssertionError, TypeError, ValueError) as error:
        return type(error), str(error)


@pytest.mark.skipif(not is_installed("torch"), reason="torch is not installed")
@pytest.mark.parametrize("name", COMPARISONS)
def test_assert_close_does_what_torchs_does(name):
    import torch

    def their_tensor(data):
        return torch.tensor(data, dtype=doubled(data))

    theirs = outcome(torch.testing.assert_close, *COMPARISONS[name](their_tensor))
    ours = outcome(assert_close, *COMPARISONS[name](agrad.tensor))
    if theirs is None or theirs[0] is TypeError:    # what cannot be compared is said in other words
        assert (theirs and theirs[0]) == (ours and ours[0])
        return
    expected = re.sub(r"torch\.Size\(\[(.*?),?\]\)", r"(\1,)", theirs[1]).replace("torch.", "agrad.")
    assert ours == (theirs[0], expected)


def doubled(data):
    """The dtype that agrad gives to floating data."""
    import torch

    kind = np.asarray(data).dtype.kind
    return {"f": torch.float64, "c": torch.complex128}.get(kind)


def test_the_tolerances_follow_the_dtype():
    for dtype, small, large in (("float32", 1e-6, 1e-4), ("float64", 1e-8, 1e-6), ("complex64", 1e-6, 1e-4)):
        one = agrad.tensor([1.0], dtype=dtype)
        assert_close(one, one + small)
        with pytest.raises(AssertionError, match="not close"):
            assert_close(one, one + large)


def test_the_greatest_differences_are_found_in_integers_of_any_size():
    actual, expected = agrad.tensor([2**62, 0]), agrad.tensor([-(2**62), 1])
    with pytest.raises(AssertionError, match=r"absolute difference: 9223372036854775808 at index \(0,\)"):
        assert_close(actual, expected)


def test_arrays_of_a_backend_are_compared_like_tensors_but_not_with_them():
    assert_close(np.ones(2), np.ones(2))
    with pytest.raises(AssertionError, match=r"Mismatched elements: 1 / 2 \(50\.0%\)"):
        assert_close(np.ones(2), np.asarray([1.0, 2.0]))
    with pytest.raises(TypeError, match="cannot compare"):
        assert_close(np.ones(2), agrad.ones(2))


def test_a_subclass_is_refused_where_that_is_asked():
    class Special(agrad.Tensor):
        pass

    special = Special([1.0])
    assert_close(special, agrad.tensor([1.0]))
    with pytest.raises(TypeError, match="cannot compare"):
        assert_close(special, agrad.tensor([1.0]), allow_subclasses=False)


# ------------------------------------------------------------------------------------------------------------- samples


def drawn(name, sample, is_complex=False):
    op = rules.find(name)
    return draw.Call(op.signature, sample, op.record, is_complex, (0,))


def test_samples_are_drawn_from_the_domain_and_always_the_same():
    call = drawn("log", case((1000,)))
    assert 0.1 <= call.operands[0].min() < 0.2
    assert 3.9 < call.operands[0].max() <= 4.0
    assert np.array_equal(call.operands[0], drawn("log", case((1000,))).operands[0])
    assert not np.array_equal(call.operands[0], drawn("log2", case((1000,))).operands[0])


def test_distinct_values_are_well_separated():
    (x,) = drawn("max", case(rules.distinct((4, 5)))).operands
    assert np.diff(np.sort(x, axis=None)).min() > 0.05


def test_complex_samples_have_imaginary_parts_and_integers_stay_integers():
    call = drawn("take", case((5,), ints((3,), -2, 2)), is_complex=True)
    assert np.abs(call.operands[0].imag).min() > 0
    assert call.arguments["indices"].dtype.kind == "i"
    assert str(call) == "case((5,), ints((3,)))"


def test_a_case_that_does_not_fit_its_op_is_refused():
    with pytest.raises(ValueError, match=r"does not fit sum\(x, /"):
        drawn("sum", case((3,), axes=1))


# ----------------------------------------------------------------------- the checker sees what is wrong with a rule

WRONG = RuleSet("wrong")
VECTOR = [case((3,))]


def wrong(name, kernel, family, parameters="x: array, /", samples=VECTOR, **fields):
    """Declare an op with a wrong rule."""
    WRONG.op(f"wrong.{name}({parameters})").kernel("*", kernel)
    getattr(WRONG, family)(f"wrong.{name}", samples=samples, **fields)


def square(x):
    return x * x


def in_place(g, x):
    x *= 0
    return g


def off_where_large(x, xp):
    return 2 * x + xp.where(x > 1.8, 0.001, 0.0)


def detached(g, out):
    return g * (out.detach() if isinstance(g, agrad.Tensor) else out)


def mixed_up(g):
    return 2 * (g[0] if g[1] is None else g[1]) if g[0] is None or g[1] is None else 2 * g[0] + 3 * g[1]


TWO, READ = "x1: array, x2: array, /", "x: array, /, key: key"
PAIR, REPEATED = [case((3,), (3,))], [case((3,), ints((6,), 0, 3))]

wrong("sign", square, "elementwise", x=lambda x: -2 * x)
wrong("element", square, "elementwise", x=off_where_large, samples=[case((2, 50))])
wrong("conj", square, "general", vjp={"x": lambda g, x: g * 2 * x})
wrong("holomorphic", lambda x, xp: xp.conj(x), "elementwise", x=1)
wrong("second", lambda x, xp: xp.exp(x), "general", vjp={"x": detached})
wrong("worlds", square, "general", vjp={"x": lambda g, x: (3 if isinstance(g, agrad.Tensor) else 2) * g * x})
wrong("flat", square, "flat")
wrong("none", lambda x1, x2: x1 * x2, "elementwise", TWO, PAIR, x1=lambda x2: x2, x2=None)
wrong("untracked", square, "elementwise", x=None)
wrong("writes", lambda x: x + 0, "general", vjp={"x": in_place})
wrong("point", lambda x, xp: xp.abs(x), "general", vjp={"x": lambda g, x, xp: g * xp.sign(x)},
      special=[point((0.0,), (1.0,))])
wrong("single", lambda x: x * 1, "elementwise", x=lambda x, xp: 1.01 if x.dtype == xp.float32 else 1.0)
wrong("kernel", lambda x, xp: 4 * x if x.dtype == xp.float32 else 8 * x, "linear", x=lambda g: 8 * g)
wrong("needs", lambda x1, x2: x1 * x2, "general", TWO, PAIR,
      vjp=lambda g, x1, x2, needs: (g * x2, g * x1 if needs[0] else g * 0 * x1))
wrong("parts", lambda x: (x * 2, x * 3), "general", vjp={"x": mixed_up})
wrong("twice", lambda x, key: x[key], "linear", READ, REPEATED,
      x=lambda g, key, x_like, xp: xp.setitem(x_like.zeros(), key, g))
wrong("bare", lambda x, n: x * n, "linear", "x: array, n", None, x=lambda g, n: g * n)
wrong("affine", lambda x: 3 * x + 1, "linear", x=lambda g: 3 * g)
wrong("tangent", square, "general", vjp={"x": lambda g, x, xp: 2 * g * xp.conj(x)},
      jvp=lambda t, x, xp: 2 * t * xp.conj(x))
wrong("bare_tangent", square, "general", vjp={"x": lambda g, x: 2 * g * x}, jvp=lambda t, x: None)
wrong("forward_once", lambda x, xp: xp.exp(x), "general", vjp={"x": lambda g, out: g * out},
      jvp=lambda t, out: t * out.detach())
wrong("right", lambda x, key: x[key], "linear", READ, REPEATED, x=lambda g, key, x_like: scatter(x_like, key, g))
wrong("unsure", square, "elementwise", x=lambda x: 2 * x, second=False, note="only a table")
WRONG.install("wrong (tests 1.0)")

SEEN = {  # op -> (dtype, what the checker says)
    "sign": ("float64", "gradients are central differences: the gradient of x is"),
    "element": ("float64", "and central differences give"),
    "conj": ("complex128", "gradients are central differences: the gradient of x is"),
    "holomorphic": ("complex128", "gradients are central differences"),
    "second": ("float64", "second order is right: the second-order gradient of x is"),
    "worlds": ("float64", "the gradient of x changes when the walk is recorded"),
    "flat": ("float64", "gradients are central differences"),
    "none": ("float64", "x2 is\nNone"),
    "untracked": ("float64", "the gradient of x is\nNone"),
    "writes": ("float64", "read-only"),
    "point": ("float64", "the gradient of x is 0.0, not 1.0"),
    "single": ("float32", "the gradient of x differs from that in double precision"),
    "kernel": ("float32", "the result differs from that in double precision"),
    "needs": ("float64", "the gradient of x2 is another when only x2 is a Tensor"),
    "parts": ("float64", "from the results [1] alone is wrong"),
    "twice": ("float64", "gradients are central differences"),
    "affine": ("float64", "tangents are central differences: the tangent along x is not what central differences give"),
    "tangent": ("complex128", "tangents are transposed gradients: the tangents along x are"),
    "bare_tangent": ("float64", "the tangent along x is missing"),
    "forward_once": ("float64", "the second derivative by x, reverse over forward, is not that of reverse over"),
    "bare": ("float64", "the rule of wrong.bare has no samples"),
}


@pytest.mark.parametrize("name", SEEN)
def test_the_checker_sees_a_wrong_rule(name):
    dtype, complaint = SEEN[name]
    with pytest.raises(AssertionError) as caught:
        check_rule(f"wrong.{name}", dtype=dtype)
    assert complaint in str(caught.value)
    assert "no samples" in complaint or "of wrong (tests 1.0)" in str(caught.value)


def test_every_wrong_rule_is_in_the_table():
    assert {f"wrong.{name}" for name in SEEN} == set(WRONG.records) - {"wrong.right", "wrong.unsure"}


def test_wrong_rules_that_show_only_elsewhere_pass_where_they_are_right():
    check_rule("wrong.conj", dtype="float64")
    check_rule("wrong.single", dtype="float64")
    assert check_rule("wrong.right").checks == 17


def test_a_rule_that_writes_is_seen_where_arrays_cannot_be_made_read_only():
    if not is_installed("torch"):
        pytest.skip("torch is not installed")
    with pytest.raises(AssertionError, match="an input was written to: operand"):
        check_rule("wrong.writes", "torch")


def test_what_was_left_out_is_said():
    report = check_rule("wrong.unsure")
    assert str(report).endswith("left out: second order: only a table")
    report = check_rule("maximum", dtype="complex128")
    assert (report.cases, report.notes) == (0, ["complex numbers: the op takes real ones only"])
    report = check_rule("tensordot", case=case((2, 3), (4, 5), axes=1))
    assert report.cases == report.checks == 0
    (refusal,) = report.refused
    assert refusal.startswith("case((2, 3), (4, 5), axes=1): ValueError: ")
    assert f"not taken by numpy: {refusal}" in str(report)


def test_one_sample_can_be_checked_alone():
    assert check_rule("sum", case=2).cases == 1
    assert check_rule("sum", case=case((2, 2, 2), axis=1)).cases == 1


def test_a_plugin_is_checked_whole_and_must_be_there():
    reports = check_plugin("sorting", backends=["numpy"], dtypes=["float64", "float32"])
    assert [(r.op, r.dtype) for r in reports] == [
        ("argsort", "float64"), ("argsort", "float32"), ("sort", "float64"), ("sort", "float32"),
    ]
    with pytest.raises(LookupError, match="'nobody'"):
        check_plugin("nobody")


def test_a_plugin_whose_samples_no_backend_takes_is_not_checked_in_silence(monkeypatch, capsys):
    broken = RuleSet("broken")
    broken.op("broken.half(x: array, /)").kernel("*", lambda x: x / nothing)     # noqa: F821  the mistake
    broken.linear("broken.half", x=lambda g: g / 2, samples=VECTOR)
    broken.install("broken (tests 1.0)")
    monkeypatch.setitem(loading.owners, "broken", broken)
    with pytest.raises(AssertionError, match=r"no backend took any sample of broken\.half:\nbroken\.half on numpy"):
        check_plugin("broken", backends=["numpy"])
    assert "not taken by numpy: case((3,)): NameError: name 'nothing' is not defined" in capsys.readouterr().out


def test_an_op_without_a_rule_is_refused():
    with pytest.raises(AssertionError, match="finfo has no rule"):
        check_rule("finfo")
    with pytest.raises(LookupError, match="nothing"):
        check_rule("nothing")
