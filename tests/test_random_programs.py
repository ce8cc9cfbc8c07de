"""Random programs on agrad and on the naive engine: values, versions, histories and gradients must agree.

Programs write in place, through views and through detached twins; a walk over a saved value that was written raises,
exactly when the naive engine says so, or is right when such writes were allowed.
"""

import warnings

import hypothesis.strategies as st
import naive_engine as naive
import numpy as np
import pytest
from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

import agrad

# ---- the rules that the oracle's programs use besides its own


def elementwise(function, partial, of_output=False):
    def apply(x):
        out = naive.record(function(x.array), [x], lambda g: [naive.mul(g, partial(kept))], [] if of_output else [x])
        kept = (out if of_output else x).saved()
        if of_output and out.own_edge is not None:
            out.own_edge.saved = [(out.cell, 0)]
        return out

    return apply


ONE, MINUS = naive.Tensor(1.0), naive.Tensor(-1.0)
sin = elementwise(np.sin, lambda x: cos(x))
cos = elementwise(np.cos, lambda x: naive.mul(MINUS, sin(x)))
exp = elementwise(np.exp, lambda out: out, of_output=True)
tanh = elementwise(np.tanh, lambda out: sub(ONE, naive.mul(out, out)), of_output=True)
reciprocal = elementwise(np.reciprocal, lambda x: naive.mul(MINUS, reciprocal(naive.mul(x, x))))


def sub(x, y):
    return naive.add(x, naive.mul(MINUS, y))


def matmul(x, y):
    saved = [y] * (x.edge() is not None) + [x] * (y.edge() is not None)
    a, b = x.saved(), y.saved()
    return naive.record(x.array @ y.array, [x, y], lambda g: [matmul(g, flip(b)), matmul(flip(a), g)], saved)


def flip(x):
    return naive.take(x, np.arange(x.array.size).reshape(x.shape).T)


def reshape(x, shape):
    return naive.take(x, np.arange(x.array.size).reshape(shape))


def sum_along(x, axis):
    kept = tuple(1 if axis in (None, i) else n for i, n in enumerate(x.shape))
    left = tuple(n for i, n in enumerate(x.shape) if axis not in (None, i))
    return reshape(naive.total(x, kept), left)


def mean_along(x, axis):
    total = sum_along(x, axis)
    return naive.mul(total, naive.Tensor(total.array.size / x.array.size))


def concat(xs, axis):
    array, ends = np.concatenate([x.array for x in xs], axis), np.cumsum([x.shape[axis] for x in xs])
    pieces = np.split(np.arange(array.size).reshape(array.shape), ends[:-1], axis)
    return naive.record(array, xs, lambda g: [naive.take(g, piece) for piece in pieces])


# ---- one operation, in both engines


number = naive.Tensor


def copied(x):
    return naive.add(x, number(0.0))


UNARY = {  # name -> (on agrad, on the naive engine)
    "sin": (lambda x: agrad.sin(x), sin),
    "tanh": (lambda x: agrad.tanh(x), tanh),
    "exp": (lambda x: agrad.exp(x), exp),
    "neg": (lambda x: -x, lambda x: naive.mul(MINUS, x)),
    "square": (lambda x: x * x, lambda x: naive.mul(x, x)),
    "clone": (lambda x: x.clone(), copied),
}
BINARY = {
    "add": (lambda x, y: x + y, naive.add),
    "sub": (lambda x, y: x - y, sub),
    "mul": (lambda x, y: x * y, naive.mul),
    # Hidden operands and result: what a quotient saves is the rule's own affair.
    "div": (
        lambda x, y: (x + 0) / (agrad.sin(y + 0) + 1.5) + 0,
        lambda x, y: naive.mul(copied(x), reciprocal(naive.add(sin(copied(y)), number(1.5)))),
    ),
}
SHAPES = [(), (3,), (1, 3), (2, 3), (2, 1), (3, 3)]
KEYS = [0, -1, slice(None), slice(1, None), slice(None, 2), slice(None, None, 2), None, Ellipsis]
KEYS += [(slice(None), 0), (slice(None), slice(1, None)), (Ellipsis, -1), (0, slice(None, 2)), (1, 1)]

which = st.sampled_from([0, 1, 2, 3, 0, 1, 2, 4, 5, 6, 7, 8, 9, 10, 11])  # how many tensors ago
values = st.sampled_from([-2.0, -0.5, 0.0, 0.25, 1.0, 3.0])
ON, OFF = True, False
mostly_on = st.sampled_from([ON, ON, ON, ON, OFF])


def fits(into, shape):
    try:
        return np.broadcast_shapes(into, shape) == into
    except ValueError:
        return False


def close(a, expected):
    found = a.detach().numpy()
    return found.shape == expected.shape and bool(np.all(np.abs(found - expected) <= 1e-8 * (1 + np.abs(expected))))


class Programs(RuleBasedStateMachine):
    """Every tensor is a pair: `a` lives in agrad, `n` in the naive engine."""

    overwriting_raises = True
    most = 12  # tensors alive at a time

    @initialize(seed=st.integers(0, 2**16))
    def begin(self, seed):
        self.random = np.random.default_rng(seed)
        self.start_over()

    def start_over(self):
        self.pairs, self.retains, self.sound = [], False, True
        self.new((3,), OFF)
        for shape in [(3,), (2, 3)]:
            a, n = self.new(shape, ON)
            a, n = a * 1, naive.mul(n, ONE)
            self.keep(a[1:], n.view(lambda positions: positions[1:]))
            self.keep(a, n)

    def new(self, shape, requires_grad):
        array = self.random.normal(size=shape)
        self.keep(agrad.tensor(array, requires_grad=requires_grad), naive.Tensor(array, requires_grad))
        return self.pairs[-1]

    def keep(self, a, n):
        if np.all(np.abs(n.array) < 50):
            self.pairs = [*self.pairs[-self.most + 1 :], (a, n)]

    def pick(self, age):
        return self.pairs[-1 - age % len(self.pairs)]

    # ---- tensors

    @rule(shape=st.sampled_from(SHAPES), requires_grad=st.sampled_from([ON, ON, OFF]))
    def make(self, shape, requires_grad):
        self.new(shape, requires_grad)

    @rule(age=which, name=st.sampled_from(sorted(UNARY)), recording=mostly_on)
    def unary(self, age, name, recording):
        (a, n), (on_agrad, on_naive) = self.pick(age), UNARY[name]
        if name != "exp" or np.all(n.array < 3):
            with agrad.set_grad_enabled(recording), naive.recording(recording):
                self.keep(on_agrad(a), on_naive(n))

    @rule(age=which, other=which, name=st.sampled_from(sorted(BINARY)), recording=mostly_on)
    def binary(self, age, other, name, recording):
        (a, n), (b, m), (on_agrad, on_naive) = self.pick(age), self.pick(other), BINARY[name]
        if fits(n.shape, m.shape) or fits(m.shape, n.shape):
            with agrad.set_grad_enabled(recording), naive.recording(recording):
                self.keep(on_agrad(a, b), on_naive(n, m))

    @rule(age=which, value=values, name=st.sampled_from(["add", "sub", "mul"]), reflected=st.booleans())
    def with_a_number(self, age, value, name, reflected):
        (a, n), (on_agrad, on_naive) = self.pick(age), BINARY[name]
        if reflected:
            self.keep(on_agrad(value, a), on_naive(number(value), n))
        else:
            self.keep(on_agrad(a, value), on_naive(n, number(value)))

    @rule(age=which, other=which)
    def product_of_matrices(self, age, other):
        (a, n), (b, m) = self.pick(age), self.pick(other)
        if len(n.shape) == len(m.shape) == 2 and n.shape[1] == m.shape[0]:
            self.keep(agrad.matmul(a, b), matmul(n, m))

    @rule(age=which, axis=st.sampled_from([None, 0, 1]), mean=st.booleans())
    def reduction(self, age, axis, mean):
        a, n = self.pick(age)
        if axis is None or axis < len(n.shape):
            function = agrad.mean if mean else agrad.sum
            a = function(a) if axis is None else function(a, axis=axis)
            self.keep(a, (mean_along if mean else sum_along)(n, axis))

    @rule(age=which, flat=st.booleans())
    def new_shape(self, age, flat):
        a, n = self.pick(age)
        shape = (-1,) if flat else (*n.shape[::-1], 1)
        # A copy of it: whether a reshaped tensor is a view depends on strides, which programs must not rely on.
        self.keep(agrad.reshape(a, shape).clone(), reshape(n, np.zeros(n.shape).reshape(shape).shape))

    @rule(age=which, others=st.lists(which, min_size=1, max_size=2), axis=st.sampled_from([0, -1]))
    def concatenation(self, age, others, axis):
        a, n = self.pick(age)
        pairs = [(a, n), *(self.pick(other) for other in others)]
        pairs = [(b, m) for b, m in pairs if m.shape == n.shape != ()]
        if pairs and n.array.size * len(pairs) <= 18:
            self.keep(agrad.concat([b for b, _ in pairs], axis=axis), concat([m for _, m in pairs], axis))

    # ---- views, writes, twins

    @rule(age=which, key=st.sampled_from(KEYS))
    def view(self, age, key):
        a, n = self.pick(age)
        try:
            array = n.array[key]
        except IndexError:
            return
        if array.size and self.may_be_viewed(n):
            self.keep(a[key], n.view(lambda positions: positions[key]))

    @rule(age=which)
    def transposed_view(self, age):
        a, n = self.pick(age)
        if len(n.shape) == 2 and self.may_be_viewed(n):
            self.keep(a.T, n.view(np.transpose))

    def may_be_viewed(self, n):
        return n.root.positions.size == n.cell.flat.size  # not a twin of a part

    @rule(age=which)
    def detach(self, age):
        a, n = self.pick(age)
        self.keep(a.detach(), n.detach())

    def may_be_written(self, n, recording, operand):
        """Neither a leaf, nor from memory that overlaps: rejected writes are tested elsewhere."""
        if recording and n.root.own_edge is n.root:
            return False
        return operand is None or operand is n or operand.cell is not n.cell

    def write(self, a, n, change_agrad, change_naive, operand, recording):
        if not self.may_be_written(n, recording, operand):
            return
        with agrad.set_grad_enabled(recording), naive.recording(recording):
            value = change_naive(n)
            if np.all(np.abs(value.array) < 50):
                change_agrad(a)
                n.write(value)

    @rule(age=which, value=values, multiply=st.booleans(), recording=mostly_on)
    def write_with_a_number(self, age, value, multiply, recording):
        a, n = self.pick(age)
        self.write_in_place(a, n, value, number(value), multiply, recording)

    @rule(age=which, other=which, multiply=st.booleans(), recording=mostly_on)
    def write_with_a_tensor(self, age, other, multiply, recording):
        (a, n), (b, m) = self.pick(age), self.pick(other)
        if fits(n.shape, m.shape):
            self.write_in_place(a, n, b, m, multiply, recording)

    def write_in_place(self, a, n, b, m, multiply, recording):
        if multiply:
            self.write(a, n, lambda a: a.mul_(b), lambda n: naive.mul(n, m, in_place=True), m, recording)
        else:
            self.write(a, n, lambda a: a.add_(b), lambda n: naive.add(n, m), m, recording)

    @rule(age=which, other=which, key=st.sampled_from(KEYS), recording=mostly_on)
    def set_item(self, age, other, key, recording):
        (a, n), (b, m) = self.pick(age), self.pick(other)
        try:
            positions = np.arange(n.array.size).reshape(n.shape)[key]
        except IndexError:
            return
        if not fits(np.shape(positions), m.shape) or m.cell is n.cell:
            return
        value = naive.mul(m, naive.Tensor(np.ones(np.shape(positions))))

        def change(a):
            a[key] = b

        self.write(a, n, change, lambda n: naive.put(n, positions, value), m, recording)

    # ---- hooks and gradients

    @rule(age=which, factor=values)
    def hook(self, age, factor):
        a, n = self.pick(age)
        if n.edge() is not None and n.root is n:  # a view's node may be passed by, so its hooks are not specified
            a.register_hook(lambda g: g * factor)
            n.edge().hooks.append(lambda g: naive.mul(g, number(factor)))

    @rule(age=which)
    def retain(self, age):
        a, n = self.pick(age)
        if isinstance(n.edge(), naive.Node) and n.root is n:
            a.retain_grad()
            n.edge().keeper = n
            self.retains = True

    @rule(age=which, last=mostly_on.map(lambda on: not on))
    def backward(self, age, last):
        a, n = self.pick(age)
        if n.edge() is not None and (self.walk_back(a, n, retain_graph=not last) or last):
            self.start_over()

    def teardown(self):
        for a, n in self.pairs[::-1] if getattr(self, "sound", False) else ():
            if n.edge() is not None and self.walk_back(a, n, retain_graph=True):
                return

    def walk_back(self, a, n, retain_graph):
        """Compare one walk; whether both raised."""
        self.sound = False
        cotangent = self.random.normal(size=n.shape)
        expected = self.outcome(
            lambda: naive.backward(n, naive.Tensor(cotangent), overwriting_raises=self.overwriting_raises)
        )
        found = self.outcome(lambda: a.backward(agrad.tensor(cotangent), retain_graph=retain_graph))
        if self.raised_alike(found, expected):
            return True
        for b, m in self.pairs:
            if m.edge() is not None:
                self.compare_gradients(b, m)
        self.sound = True
        return False

    @precondition(lambda self: not self.retains)  # grad() need not say what retained gradients become
    @rule(age=which, other=which)
    def differentiate(self, age, other):
        """The gradient joins the program: second and higher order."""
        (a, n), (b, m) = self.pick(age), self.pick(other)
        if n.edge() is None or m.edge() is None or m.root is not m:
            return
        cotangent = self.random.normal(size=n.shape)
        expected = self.outcome(lambda: naive.walk(n, naive.Tensor(cotangent), m.edge(), True, self.overwriting_raises))
        found = self.outcome(
            lambda: agrad.autograd.grad(a, b, agrad.tensor(cotangent), create_graph=True, allow_unused=True)
        )
        # A node may check all that it saved, or only what this gradient needs.
        if isinstance(expected, naive.Overwritten) or self.raised_alike(found, expected):
            self.start_over()
            return
        (g,), expected = found, expected.get(m.edge())
        assert (g is None) == (expected is None)
        if g is not None:
            self.keep(g * 1, naive.mul(expected, ONE))

    def outcome(self, walk):
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                return walk()
        except naive.Overwritten as error:
            return error
        except RuntimeError as error:
            if "modified by an inplace operation" not in str(error):
                raise
            return error

    def raised_alike(self, found, expected):
        raised, foreseen = isinstance(found, RuntimeError), isinstance(expected, RuntimeError)
        assert raised or not foreseen, "a saved value was written over, yet the walk went through"
        assert foreseen or not raised, f"no saved value was written over, yet the walk raised {found}"
        return raised

    # ---- agreement

    def compare_gradients(self, a, n):
        if n.grad is None:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                assert a.grad is None
        else:
            assert close(a.grad, n.grad)

    @invariant()
    def tensors_agree(self):
        for a, n in getattr(self, "pairs", ()):
            assert close(a, n.array)
            assert a.requires_grad == (n.edge() is not None)
            assert a.is_leaf == (not isinstance(n.edge(), naive.Node))
            assert a._version == n.cell.version or not self.overwriting_raises  # a copy may count as a write


class ProgramsThatMayOverwrite(Programs):
    """Writes over saved values are allowed: no walk raises, and every gradient is right."""

    overwriting_raises = False

    def __init__(self):
        super().__init__()
        self.allowed = agrad.autograd.graph.allow_mutation_on_saved_tensors()
        self.allowed.__enter__()

    def teardown(self):
        try:
            super().teardown()
        finally:
            self.allowed.__exit__(None, None, None)


SHORT = settings(max_examples=120, stateful_step_count=40, deadline=None, report_multiple_bugs=False)
LONG = settings(SHORT, max_examples=4000, stateful_step_count=80)


class TestPrograms(Programs.TestCase):
    settings = SHORT


class TestProgramsThatMayOverwrite(ProgramsThatMayOverwrite.TestCase):
    settings = SHORT


@pytest.mark.long
class TestManyPrograms(Programs.TestCase):
    settings = LONG


@pytest.mark.long
class TestManyProgramsThatMayOverwrite(ProgramsThatMayOverwrite.TestCase):
    settings = LONG
