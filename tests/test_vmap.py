"""agrad.func.vmap: axes in and out, randomness, chunks, errors, against torch.func and against a loop."""

import collections
import functools
import re
import warnings

import numpy as np
import pytest
from array_libraries import values
from nested_results import assert_same, flat

import agrad
from agrad import func

RNG = np.random.default_rng(0)
A = RNG.standard_normal((3, 4))     # three samples of four numbers
B = RNG.standard_normal((4, 3))
C = RNG.standard_normal((2, 3, 4))


# name -> program(namespace, transforms, a, b, c): a is (3, 4), b (4, 3), c (2, 3, 4)
PROGRAMS = {
    "one argument": lambda m, f, a, b, c: f.vmap(m.sum)(a),
    "another axis": lambda m, f, a, b, c: f.vmap(lambda x: x * x, in_dims=1)(a),
    "from the end": lambda m, f, a, b, c: f.vmap(lambda x: m.sum(x * x), in_dims=-1)(a),
    "axes of each": lambda m, f, a, b, c: f.vmap(lambda x, y: m.sum(x * y), in_dims=(0, 1))(a, b),
    "one for all": lambda m, f, a, b, c: f.vmap(lambda x, y: y + x, in_dims=(0, None))(a, a[0]),
    "one for all, bigger": lambda m, f, a, b, c: f.vmap(lambda x, y: y * x, in_dims=(0, None))(a, c),
    "a batch of numbers and a matrix": lambda m, f, a, b, c: f.vmap(lambda x, y: y * x, in_dims=(0, None))(a[0], c),
    "different ranks": lambda m, f, a, b, c: f.vmap(lambda x, y: x + y, in_dims=(0, 1))(a[:, 0], c),
    "out": lambda m, f, a, b, c: f.vmap(lambda x: x * 2, out_dims=1)(a),
    "out, from the end": lambda m, f, a, b, c: f.vmap(lambda x: m.sin(x), out_dims=-1)(c),
    "outs": lambda m, f, a, b, c: f.vmap(lambda x: (x, m.sum(x)), out_dims=(1, 0))(a),
    "a nest of outs": lambda m, f, a, b, c: f.vmap(
        lambda x: {"a": x, "b": [x, 2 * x]}, out_dims={"a": 1, "b": [0, 1]})(a),
    "one out for all": lambda m, f, a, b, c: f.vmap(lambda x: (x, 2 * x), out_dims=1)(a),
    "out in a tuple": lambda m, f, a, b, c: f.vmap(lambda x: x * 2, out_dims=(1,))(a),
    "constant output": lambda m, f, a, b, c: f.vmap(lambda x: b)(a),
    "constant output of None": lambda m, f, a, b, c: f.vmap(lambda x: (b, x), out_dims=(None, 0))(a),
    "nests in": lambda m, f, a, b, c: f.vmap(
        lambda p, q: p["x"] * p["y"][0] + q, in_dims=({"x": 0, "y": (1,)}, None))({"x": a, "y": (b,)}, a[0]),
    "short in_dims": lambda m, f, a, b, c: f.vmap(
        lambda p, q: p["x"] + p["y"] * q, in_dims=(0, 1))({"x": a, "y": a}, b),
    "nested": lambda m, f, a, b, c: f.vmap(
        f.vmap(lambda x, y: x * y, in_dims=(None, 0)), in_dims=(0, None))(a[0], a[1]),
    "nested, other axes": lambda m, f, a, b, c: f.vmap(f.vmap(m.sum, in_dims=1), in_dims=1, out_dims=1)(c),
    "three deep": lambda m, f, a, b, c: f.vmap(f.vmap(
        f.vmap(lambda x, y: x * y, in_dims=(0, None)), in_dims=(0, None)))(c, a[:2, 0]),
    "closure": lambda m, f, a, b, c: f.vmap(lambda x: m.matmul(a, x), in_dims=1)(b),
    "closure of an outer sample": lambda m, f, a, b, c: f.vmap(lambda x: f.vmap(lambda y: m.sum(x * y))(a))(a),
    "keywords are the same for all": lambda m, f, a, b, c: f.vmap(lambda x, *, y: x * y)(a, y=a[0]),
    "products": lambda m, f, a, b, c: f.vmap(m.matmul, in_dims=(0, 1))(a, b),
    "matrix and vector": lambda m, f, a, b, c: f.vmap(m.matmul, in_dims=(0, None))(c, b[:, 0]),
    "vector and matrix": lambda m, f, a, b, c: f.vmap(m.matmul, in_dims=(0, None))(a, b),
    "distances": lambda m, f, a, b, c: f.vmap(lambda x: f.vmap(lambda y: m.sum((x - y) ** 2))(a))(a),
    "reshapes": lambda m, f, a, b, c: f.vmap(lambda x: m.reshape(x, (4, 3)) @ x)(c),
    "indexing": lambda m, f, a, b, c: f.vmap(lambda x: x[1:, 0] + x[0, ::2][1])(c),
    "control flow on shapes": lambda m, f, a, b, c: f.vmap(lambda x: x[0] if x.ndim == 1 and x.shape[0] == 4 else x)(a),
    "iteration": lambda m, f, a, b, c: f.vmap(lambda x: sum(row * i for i, row in enumerate(x)))(c),
    "comparison": lambda m, f, a, b, c: f.vmap(lambda x: m.where(x > 0, x, -2 * x))(a),
    "in-place": lambda m, f, a, b, c: f.vmap(lambda x: (x * 1).mul_(2).add_(x))(a),
    "writing an element": lambda m, f, a, b, c: f.vmap(lambda x: write(x * 1, x))(a),
    "no samples": lambda m, f, a, b, c: f.vmap(lambda x: m.sum(m.sin(x)))(a[:0]),
    "gradients of no samples": lambda m, f, a, b, c: f.vmap(f.grad(lambda x: m.sum(m.sin(x))))(a[:0]),
    "one sample": lambda m, f, a, b, c: f.vmap(lambda x: m.sin(x))(a[:1]),
    "per-sample gradients": lambda m, f, a, b, c: f.vmap(
        f.grad(lambda p, x: m.sum(m.tanh(m.matmul(x, p["w"]) + p["b"]) ** 2)), in_dims=(None, 0))(
            {"w": b, "b": a[0][:3]}, a),
    "an ensemble": lambda m, f, a, b, c: f.vmap(
        lambda p, x: m.tanh(m.matmul(x, p["w"])), in_dims=({"w": 0}, None))({"w": c}, a[:, :3]),
    "chunks": lambda m, f, a, b, c: f.vmap(lambda x: (m.sum(x), x), in_dims=1, out_dims=(0, 1), chunk_size=3)(a),
    "chunks of one": lambda m, f, a, b, c: f.vmap(lambda x: m.sum(x), chunk_size=1)(a),
    "chunks bigger than the batch": lambda m, f, a, b, c: f.vmap(lambda x: m.sum(x), chunk_size=10)(a),
}


def write(y, x):
    y[0] = x[1] * 3
    y[2:] *= 2
    return y


@functools.cache
def expected_by_torch(name):
    torch = pytest.importorskip("torch")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return flat(PROGRAMS[name](torch, torch.func, *map(torch.tensor, (A, B, C))))


@pytest.mark.parametrize("name", PROGRAMS)
def test_vmap_agrees_with_torch(name, backend):
    assert_same(flat(PROGRAMS[name](agrad, func, *map(agrad.asarray, (A, B, C)))), expected_by_torch(name))


@pytest.mark.parametrize("name", ["axes of each", "nested", "products", "per-sample gradients", "indexing"])
@pytest.mark.parametrize("library", ["jax", "dask"])
def test_vmap_runs_on_other_libraries(name, library):
    pytest.importorskip(library)
    with agrad.use_backend(library):
        assert_same(flat(PROGRAMS[name](agrad, func, *map(agrad.asarray, (A, B, C)))), expected_by_torch(name))


def test_vmap_is_a_loop():
    def f(x, y):
        return agrad.cumulative_sum(agrad.sort(x)) * agrad.linalg.det(agrad.linalg.outer(x, x) + agrad.eye(4) * y)

    a, y = agrad.asarray(A), agrad.asarray(A[:, 0])
    assert_same(flat(func.vmap(f)(a, y)), [np.stack([values(f(a[i], y[i])) for i in range(3)])])


def test_a_constant_output_may_go_anywhere():
    found = func.vmap(lambda x: agrad.asarray(B), out_dims=1)(agrad.asarray(A))
    assert_same(flat(found), [np.stack([B, B, B], 1)])


# ---- gradients through

def test_the_batch_is_differentiated_from_outside():
    a = agrad.tensor(A, requires_grad=True)
    agrad.sum(func.vmap(lambda x: agrad.sum(x ** 3))(a)).backward()
    assert_same(flat(a.grad), [3 * A ** 2])
    mapped = func.vmap(lambda x: x ** 3, in_dims=1, out_dims=1, chunk_size=2)(a)
    assert_same(flat(agrad.autograd.grad(agrad.sum(mapped), a)), [3 * A ** 2])


def test_backward_inside_fills_leaves_of_the_sample():
    def f(x):
        leaf = x.detach().requires_grad_()
        agrad.sum(leaf ** 2).backward()
        return leaf.grad

    assert_same(flat(func.vmap(f)(agrad.asarray(A))), [2 * A])


# ---- randomness

def draws(how, **kwargs):
    return func.vmap(lambda x: how(x) + 0 * x, **kwargs)(agrad.zeros((3, 4)))


RANDOM = [
    lambda x: agrad.rand(4), lambda x: agrad.randn(4), lambda x: agrad.rand_like(x), lambda x: agrad.randn_like(x),
    lambda x: agrad.rand(()), lambda x: agrad.rand(4, dtype=agrad.complex128).real,
]


@pytest.mark.parametrize("how", RANDOM)
def test_random_functions_raise_unless_asked(how):
    torch = pytest.importorskip("torch")
    with pytest.raises(RuntimeError) as expected:
        torch.func.vmap(lambda x: torch.rand(4) + x)(torch.zeros(3, 4))
    with pytest.raises(RuntimeError) as found:
        draws(how)
    assert str(found.value) == str(expected.value)


@pytest.mark.parametrize("how", RANDOM)
def test_different_numbers_for_every_sample(how, backend):
    found = values(draws(how, randomness="different"))
    assert found.shape == (3, 4)
    assert len({row[0] for row in found}) == 3


@pytest.mark.parametrize("how", RANDOM)
def test_the_same_numbers_for_all_samples(how, backend):
    found = values(draws(how, randomness="same"))
    assert (found == found[0]).all()


def test_probabilities_and_means_of_every_sample():
    p = agrad.asarray(np.tile([[0.0], [1.0]], (1, 50)))
    assert_same(flat(func.vmap(agrad.random.bernoulli, randomness="different")(p)), flat(p))
    found = values(func.vmap(lambda m: agrad.random.normal(100 * m, 1.0), randomness="different")(p))
    assert (abs(found - 100 * values(p)) < 10).all()
    assert (found[0] != found[1] - 100).all()


def test_the_seed_rules_inside():
    results = []
    for _ in range(2):
        agrad.manual_seed(1)
        results.append(values(draws(lambda x: agrad.rand(4), randomness="different")))
    assert (results[0] == results[1]).all()


def test_randomness_of_nested_maps():
    def inner(y):
        return agrad.rand(()) + 0 * y

    def found(outer, inside):
        return values(func.vmap(func.vmap(inner, randomness=inside), randomness=outer)(agrad.zeros((3, 4))))

    assert len(set(found("different", "different").flat)) == 12
    rows = found("different", "same")
    assert len(set(rows.flat)) == 3
    assert (rows == rows[:, :1]).all()
    columns = found("same", "different")
    assert len(set(columns.flat)) == 4
    assert (columns == columns[:1]).all()
    assert len(set(found("same", "same").flat)) == 1
    with pytest.raises(RuntimeError, match="randomness error mode"):
        found("error", "different")


@pytest.mark.parametrize("chunk_size", [1, 2])
def test_chunks_draw_the_same_numbers(chunk_size):
    same = values(draws(lambda x: agrad.rand(4), randomness="same", chunk_size=chunk_size))
    assert (same == same[0]).all()
    different = values(draws(lambda x: agrad.rand(4), randomness="different", chunk_size=chunk_size))
    assert len(set(different[:, 0])) == 3


def test_random_numbers_in_other_transforms():
    x = agrad.zeros(4)
    assert values(func.grad(lambda x: agrad.sum(x * agrad.rand(4)))(x)).all()
    assert values(func.jvp(lambda x: x * agrad.rand(4), (x,), (agrad.ones(4),))[1]).all()
    assert values(func.jacfwd(lambda x: x * agrad.rand(4), randomness="different")(x)).any()
    with pytest.raises(RuntimeError, match="randomness error mode"):
        func.jacfwd(lambda x: x * agrad.rand(4))(x)


def test_gradients_of_random_functions():
    def f(x):
        noise = agrad.randn(4, requires_grad=True)
        return agrad.sum(noise * x), noise

    found, noise = func.vmap(func.grad(f, has_aux=True), randomness="different")(agrad.asarray(A))
    assert_same(flat(found), flat(noise))


# ---- errors

ERRORS = {  # name -> program(namespace, transforms, a): the error has torch's type and words
    "returns None": lambda m, f, a: f.vmap(returns_none)(a),
    "returns a number": lambda m, f, a: f.vmap(lambda x: 3)(a),
    "returns a number in a tuple": lambda m, f, a: f.vmap(lambda x: (x, 3))(a),
    "in_dims too short": lambda m, f, a: f.vmap(lambda x, y: x, in_dims=(0,))(a, a),
    "in_dims of another structure": lambda m, f, a: f.vmap(lambda x, y: x, in_dims=({"a": 0}, 0))(a, a),
    "sizes": lambda m, f, a: f.vmap(lambda x, y: x)(a, a[:2]),
    "a number": lambda m, f, a: f.vmap(lambda x: x)(a[0, 0]),
    "axis too large": lambda m, f, a: f.vmap(lambda x: x, in_dims=2)(a),
    "axis too small": lambda m, f, a: f.vmap(lambda x: x, in_dims=-3)(a),
    "in_dims of text": lambda m, f, a: f.vmap(lambda x: x, in_dims="a")(a),
    "in_dims with text": lambda m, f, a: f.vmap(lambda x: x, in_dims=("a",))(a),
    "in_dims in a list": lambda m, f, a: f.vmap(lambda x: x, in_dims=[0])(a),
    "in_dims None": lambda m, f, a: f.vmap(lambda x: x, in_dims=None)(a),
    "nothing mapped": lambda m, f, a: f.vmap(lambda x: x, in_dims=(None,))(a),
    "no arguments": lambda m, f, a: f.vmap(lambda: a)(),
    "a Python number": lambda m, f, a: f.vmap(lambda x, y: x * y)(a, 2.0),
    "a text": lambda m, f, a: f.vmap(lambda x, y: x)(a, "text"),
    "out_dims None": lambda m, f, a: f.vmap(lambda x: x, out_dims=None)(a),
    "out_dims too large": lambda m, f, a: f.vmap(lambda x: x, out_dims=3)(a),
    "two out_dims for one": lambda m, f, a: f.vmap(lambda x: x, out_dims=(0, 0))(a),
    "three out_dims for two": lambda m, f, a: f.vmap(lambda x: (x, x), out_dims=(0, 0, 0))(a),
    "out_dims of text": lambda m, f, a: f.vmap(lambda x: x, out_dims="a")(a),
    "no such randomness": lambda m, f, a: f.vmap(lambda x: x, randomness="some")(a),
    "chunks of nothing": lambda m, f, a: f.vmap(lambda x: x, chunk_size=0)(a),
    "a partial function": lambda m, f, a: f.vmap(functools.partial(pow, 2.0), out_dims=None)(a),
}


def returns_none(x):
    return None


def as_agrad(text):
    """A message of PyTorch's as agrad has it, less the notation for structures."""
    text = re.sub(r"<class '(agrad.cython_core.engine|torch).Tensor'>", "<Tensor>", text.replace("torch.", "agrad."))
    return re.sub(r"has structure.*", "has structure", text, flags=re.DOTALL)


@pytest.mark.parametrize("name", ERRORS)
def test_errors_are_those_of_torch(name):
    torch = pytest.importorskip("torch")
    with pytest.raises((RuntimeError, ValueError, TypeError, IndexError)) as expected:
        ERRORS[name](torch, torch.func, torch.tensor(A))
    with pytest.raises(expected.type) as found:
        ERRORS[name](agrad, func, agrad.asarray(A))
    assert as_agrad(str(found.value)) == as_agrad(str(expected.value))


def test_structures_are_shown_as_they_are_written():
    a = agrad.asarray(A)
    text = "in_dims has structure ({'a': *}, *) but inputs has structure (*, *)."
    with pytest.raises(ValueError, match=re.escape(text)):
        func.vmap(lambda x, y: x, in_dims=({"a": 0}, 0))(a, a)


@pytest.mark.parametrize("read", [bool, float, int, lambda x: x.item(), lambda x: x.numpy(), lambda x: x.tolist()])
def test_a_samples_value_cannot_be_read(read):
    with pytest.raises(RuntimeError, match=r"where\(condition, x, y\)"):
        func.vmap(lambda x: (read(x), x)[1])(agrad.asarray(A[0]))


def test_results_as_long_as_the_values_say_cannot_be_batched():
    for f in (agrad.nonzero, lambda x: x[x > 0], agrad.unique_values):
        with pytest.raises(RuntimeError, match="under vmap"):
            func.vmap(f)(agrad.asarray(A))


def test_a_tensor_that_escaped_says_so():
    escaped = []
    func.vmap(lambda x: escaped.append(x) or x)(agrad.asarray(A))
    for use in (lambda x: x + 1, lambda x: func.vmap(lambda y: y * x)(agrad.asarray(A)), agrad.sum):
        with pytest.raises(RuntimeError, match="escaped from the function"):
            use(escaped[0])
    assert "batch of 3" in repr(escaped[0])


def test_a_sample_prints_its_batch():
    shown = []
    func.vmap(lambda x: shown.append((repr(x), x.shape)) or x)(agrad.asarray(A))
    text, shape = shown[0]
    assert text.startswith("tensor(batch of 3:")
    assert shape == (4,)


def test_containers_go_in_and_out():
    Pair = collections.namedtuple("Pair", "a b")
    a = agrad.asarray(A)
    found = func.vmap(lambda p: Pair(p.b, {"x": [p.a, None]}))(Pair(a, 2 * a))
    assert isinstance(found, Pair)
    assert found.b["x"][1] is None
    assert_same(flat(found.a), [2 * A])
    assert_same(flat(found.b["x"][0]), [A])


def test_in_place_writes_stay_inside():
    """A level's tensors are immutable below, as those of JAX: what comes in is not changed."""
    a = agrad.asarray(A)
    assert_same(flat(func.vmap(lambda x: x.add_(1))(a)), [A + 1])
    assert_same(flat(a), [A])


def test_writing_to_the_batch_while_it_is_mapped_raises():
    a = agrad.asarray(A)

    def f(x):
        y = x * 2
        a.add_(1)
        return y + x

    with pytest.raises(RuntimeError, match="modified by an inplace operation from outside"):
        func.vmap(f)(a)


def test_the_mode_of_a_sample_is_the_callers():
    seen = []
    with agrad.no_grad():
        func.vmap(lambda x: seen.append(agrad.is_grad_enabled()) or x)(agrad.asarray(A))
    assert seen == [False]
