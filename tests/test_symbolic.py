"""Lengths that are known only when a model runs: what is decided holds for every length, the rest is not decided."""

from math import prod

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agrad.backends import symbolic
from agrad.backends.symbolic import Undecidable, broadcast, cut, larger, new_length, reshaped, smaller

lengths = st.fixed_dictionaries({"N": st.integers(1, 9), "M": st.integers(1, 9)})
LENGTHS = [{"N": n, "M": m} for n in (1, 2, 3, 7) for m in (1, 2, 5)]


def symbols(values=None):
    """N and M; with values they know them, as they do when a model runs."""
    return {name: new_length(lambda name=name: values[name], name) for name in "NM"}


def evaluate(length, values):
    """A length by the names in its text: what the model states about its outputs."""
    return eval(repr(length), {"max": max, "min": min}, values)


def at_run_time(length):
    return length.value() if isinstance(length, symbolic.Symbol) else length


OPERATIONS = {
    "+": lambda a, b: a + b, "-": lambda a, b: a - b, "*": lambda a, b: a * b,
    "larger": lambda a, b: larger(a, b) if not isinstance(a, int) or not isinstance(b, int) else max(a, b),
    "smaller": lambda a, b: smaller(a, b) if not isinstance(a, int) or not isinstance(b, int) else min(a, b),
}
INTEGERS = dict(OPERATIONS, larger=max, smaller=min)
expressions = st.recursive(
    st.one_of(st.sampled_from(["N", "M"]), st.integers(-3, 4)),
    lambda inner: st.tuples(st.sampled_from(sorted(OPERATIONS)), inner, inner), max_leaves=7,
)


def compute(expression, names, operations):
    if isinstance(expression, tuple):
        operation, a, b = expression
        return operations[operation](compute(a, names, operations), compute(b, names, operations))
    return names.get(expression, expression)


@given(expressions, lengths)
def test_arithmetic_of_lengths_is_that_of_integers(expression, values):
    length = compute(expression, symbols(values), OPERATIONS)
    expected = compute(expression, values, INTEGERS)
    assert evaluate(length, values) == expected
    assert at_run_time(length) == expected


@given(expressions, expressions)
def test_what_is_decided_holds_for_every_length(one, other):
    a, b = (compute(e, symbols(), OPERATIONS) for e in (one, other))
    positive, negative = symbolic.is_positive(a - b), symbolic.is_negative(a - b)
    least = symbolic.least(a)
    for values in LENGTHS:
        x, y = evaluate(a, values), evaluate(b, values)
        assert positive is None or positive is (x > y)
        assert negative is None or negative is (x < y)
        assert a != b or x == y
        assert x >= least or x < 0


@pytest.mark.parametrize("divisor", [1, 2, 3, "N", "M"])
@given(expression=expressions, values=lengths)
def test_division_rounds_down_and_is_exact_where_it_can_be(divisor, expression, values):
    names = symbols(values)
    a, b = compute(expression, names, OPERATIONS), names.get(divisor, divisor)
    by = values.get(divisor, divisor)
    assert at_run_time(a // b) == evaluate(a, values) // by
    assert evaluate(a // b, values) == evaluate(a, values) // by
    assert at_run_time(a % b) == evaluate(a, values) % by
    assert (a * b) // b == a


def test_equal_lengths_have_one_form():
    n, m = symbols().values()
    assert (n + 1) * (m - 1) == n * m + m - n - 1
    assert hash(2 * n + m) == hash(m + n + n)
    assert n - n == 0
    assert (n * n * m) // (n * m) == n
    assert (n * n - 1) // (n - 1) == n + 1
    assert n != m
    assert n != 1
    assert new_length(lambda: 0) != new_length(lambda: 0)
    assert repr(n * m * 3 - 2 * n + 4) == "3*M*N+4-2*N"
    assert [repr(x) for x in (n + 1, 2 * n - 1, -n, (n + 1) // 2)] == ["N+1", "2*N-1", "-N", "((N+1)//2)"]


def test_comparisons_are_decided_where_they_hold_for_all_lengths():
    n, m = symbols().values()
    decided = [n > 0, n >= 1, n + m > 1, 2 * n >= n, not n < 1, not n - 1 < 0, bool(n), n * m >= m]
    assert all(value is True for value in decided)
    with pytest.raises(Undecidable, match="whether the length N-1 is 0"):
        bool(n - 1)


@pytest.mark.parametrize("use", [range, float, int, list])
def test_a_length_is_no_number_for_python(use):
    n = symbols()["N"]
    with pytest.raises(TypeError):
        use(n)


# --------------------------------------------------------------------------------------------------------------- shapes


BOUNDS = [None, 0, 1, 2, 3, -1, -2, -3]
SLICES = [slice(a, b, s) for a in BOUNDS for b in BOUNDS for s in (None, 2, 3)]
SLICES += [slice(None, None, -s) for s in (1, 2)]


@pytest.mark.parametrize("part", SLICES, ids=str)
def test_a_slice_is_as_long_as_python_makes_it(part):
    n = symbols()["N"]
    for length in range(1, 9):
        found = evaluate(cut(part, n).length, {"N": length})
        assert found == len(range(length)[part])
        assert cut(part, length).length == found


def test_slices_between_open_positions():
    n, m = symbols().values()
    assert cut(slice(n, n + m), n + m).length == m
    assert cut(slice(None, n), n + m).length == n
    assert cut(slice(0, n), n).bounds is None
    assert cut(slice(2, None), n).length == cut(slice(None, -2), n).length
    with pytest.raises(Undecidable, match="counts from the end"):
        cut(slice(n - 3, None), n)


def test_a_symbol_broadcasts_with_itself_and_a_known_one_only():
    n, m = symbols().values()
    assert broadcast((n, 3), (1, 3), (3,)) == (n, 3)
    assert broadcast((n, 1), (1, m)) == (n, m)
    assert broadcast((), (n,)) == (n,)
    for other in (m, 3, n + 1):
        with pytest.raises(Undecidable, match="cannot decide whether the lengths"):
            broadcast((n,), (other,))
    with pytest.raises(ValueError, match="cannot be broadcast"):
        broadcast((2, n), (3, n))


@pytest.mark.parametrize(("shape", "target"), [
    (("N", 3), (-1,)), (("N", 4), (2, -1)), (("N", 3), ("N", -1)), ((2, "N", "M"), ("M", -1)), ((6, "N"), (3, 2, "N")),
])
def test_an_open_length_of_a_shape_is_found(shape, target):
    names = symbols()
    own, wanted = (tuple(names.get(n, n) for n in s) for s in (shape, target))
    found = reshaped(own, wanted)
    assert prod(found) == prod(own)
    for values in LENGTHS:
        array = np.empty(tuple(values.get(n, n) for n in shape))
        expected = array.reshape(tuple(values.get(n, n) for n in target)).shape
        assert tuple(evaluate(n, values) for n in found) == expected


def test_reshaping_to_another_size_is_refused():
    n, m = symbols().values()
    with pytest.raises(ValueError, match="cannot reshape"):
        reshaped((n, 2), (n, 3))
    with pytest.raises(Undecidable, match="sizes"):
        reshaped((n, 2), (m, 2))
    with pytest.raises(Undecidable, match="sizes"):
        reshaped((n,), (2, n // 2))
