"""`autograd.functional` against torch's: values, forms, flags, errors; every way to a Jacobian against every other."""

import itertools

import numpy as np
import pytest
from array_libraries import is_installed

import agrad
from agrad.autograd import functional
from agrad.func import vmap
from agrad.testing import assert_close

needs_torch = pytest.mark.skipif(not is_installed("torch"), reason="compares with torch, which is not installed")

# name -> (function of a library and inputs, numbers of the inputs)
ONE, TWO = ([1.0, 2.0],), ([1.0, 2.0], [3.0, 4.0])
FUNCTIONS = {
    "elementwise": (lambda m, x: x**3, ONE),
    "to a number": (lambda m, x: (x**3).sum(), ONE),
    "linear": (lambda m, x: x @ m.tensor([[2.0, -1.0], [0.0, 1.0]], dtype=m.float64), ONE),
    "linear to a number": (lambda m, x: (2 * x).sum(), ONE),
    "constant": (lambda m, x: m.ones(2, dtype=m.float64), ONE),
    "two outputs": (lambda m, x: (x**2, x.sum()), ONE),
    "tuple of one": (lambda m, x: (x**2,), ONE),
    "identity": (lambda m, x: x, ONE),
    "0-d": (lambda m, x: x**3, (1.5,)),
    "one element, two axes": (lambda m, x: x.exp().sum().reshape((1, 1)), ONE),
    "matrix": (lambda m, x: x @ x, ([[1.0, 2.0], [3.0, 5.0]],)),
    "writes to a copy": (lambda m, x: x.clone().mul_(x), ONE),
    "cut by detach": (lambda m, x: x * x.detach(), ONE),
    "two inputs": (lambda m, x, y: x * y, TWO),
    "two inputs to a number": (lambda m, x, y: (x * x * y).sum(), TWO),
    "two inputs, one unused": (lambda m, x, y: (x**3).sum(), TWO),
    "two inputs, one linear": (lambda m, x, y: (x**3).sum() + y.sum(), TWO),
    "two and two": (lambda m, x, y: (x * x * y, y.sin().sum()), TWO),
    "inputs of two shapes": (lambda m, x, y: x @ y, ([[1.0, 2.0], [3.0, 5.0]], [3.0, 4.0])),
    "complex": (lambda m, x: x * x * (1 + 2j), ([1.0 + 1j, 2.0],)),
    "complex to real": (lambda m, x: (x.real**2 * x.imag).sum(), ([1.0 + 1j, 2.0],)),
    "float output": (lambda m, x: 3.0, ONE),
    "list output": (lambda m, x: [x, x], ONE),
    "a float among outputs": (lambda m, x: (x, 3.0), ONE),
}
VECTORS = {
    "none": None,
    "vector": [1.0, 0.5],
    "tuple of one": ([1.0, 0.5],),
    "tuple of two": ([1.0, 0.5], [2.0, 1.5]),
    "vector and number": ([1.0, 0.5], 2.0),
    "number": 2.0,
    "too long": [1.0, 2.0, 3.0],
    "second too long": ([1.0, 0.5], [1.0, 2.0, 3.0]),
    "matrix": [[1.0, 0.5], [2.0, 1.5]],
}
FLAGS = list(itertools.product([False, True], repeat=3))    # inputs require grad, create_graph, strict


def tensors(m, numbers, requires_grad=False):
    """Numbers as double tensors of a library, alone or in a tuple as they are given."""
    if isinstance(numbers, tuple):
        return tuple(tensors(m, one, requires_grad) for one in numbers)
    if numbers is None:
        return None
    dtype = m.complex128 if np.iscomplexobj(np.array(numbers)) else m.float64
    return m.tensor(numbers, dtype=dtype, requires_grad=requires_grad)


def outcome(call):
    """What a call gives, as something to compare: forms, numbers, flags; or the error."""
    try:
        return plain(call())
    except Exception as error:
        return type(error), str(error).replace("torch.", "agrad.")


def plain(value):
    if isinstance(value, (tuple, list)):
        return tuple(plain(one) for one in value)
    numbers = np.array(value.detach().tolist())
    return numbers.round(9).tolist(), numbers.shape, value.requires_grad, str(value.dtype).partition(".")[2]


def both(name, flag, call):
    """The outcome of a call with torch and with agrad; `call(F, f, inputs, m)`."""
    import torch

    f, numbers = FUNCTIONS[name]
    found = []
    for m, library in ((torch, torch.autograd.functional), (agrad, functional)):
        inputs = tensors(m, numbers if len(numbers) > 1 else numbers[0], flag)
        found.append(outcome(lambda m=m, F=library, inputs=inputs: call(F, lambda *xs: f(m, *xs), inputs, m)))
    return found


# ---------------------------------------------------------------------------------------------------- against torch's


@needs_torch
@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.parametrize("product", ["vjp", "jvp", "vhp", "hvp"])
def test_products_are_torchs(name, product):
    for (flag, create_graph, strict), vector in itertools.product(FLAGS, VECTORS):
        theirs, ours = both(
            name, flag,
            lambda F, f, inputs, m, v=vector, create_graph=create_graph, strict=strict: getattr(F, product)(
                f, inputs, tensors(m, VECTORS[v]), create_graph=create_graph, strict=strict
            ),
        )
        assert ours == theirs, (flag, create_graph, strict, vector)


@needs_torch
@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.parametrize("matrix", ["jacobian", "hessian"])
def test_matrices_are_torchs(name, matrix):
    for (flag, create_graph, strict), vectorize in itertools.product(FLAGS, [False, True]):
        theirs, ours = both(
            name, flag,
            lambda F, f, inputs, m, vectorize=vectorize, create_graph=create_graph, strict=strict: getattr(F, matrix)(
                f, inputs, create_graph=create_graph, strict=strict, vectorize=vectorize
            ),
        )
        if theirs[0] is RuntimeError and "independent of input" in theirs[1] and "create_graph=True" in theirs[1]:
            assert ours[0] is RuntimeError, "torch counts the outputs there, and calls them inputs"
        else:
            assert ours == theirs, (flag, create_graph, strict, vectorize)


@needs_torch
@pytest.mark.filterwarnings("ignore:`torch.jit.script` is deprecated:DeprecationWarning")
@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.parametrize(("matrix", "option"), [("jacobian", "strategy"), ("hessian", "outer_jacobian_strategy")])
def test_forward_mode_gives_torchs_numbers(name, matrix, option):
    theirs, ours = both(
        name, False,
        lambda F, f, inputs, m: getattr(F, matrix)(f, inputs, vectorize=True, **{option: "forward-mode"}),
    )
    if theirs[0] is TypeError:      # theirs speaks of "The outputs given to None"
        assert ours[0] is TypeError
    elif theirs[0] is RuntimeError:
        assert ours == theirs
    else:
        assert without_flags(ours) == without_flags(theirs)


def without_flags(value):
    """Torch lets results of forward mode require grad, though nobody asked for a graph."""
    if isinstance(value[0], tuple):
        return tuple(without_flags(one) for one in value)
    return value[:2] + value[3:]


@needs_torch
@pytest.mark.parametrize("wrong", [1.0, None, [1.0], (1.0,), "x"], ids=repr)
@pytest.mark.parametrize("name", ["vjp", "jvp", "vhp", "hvp", "jacobian", "hessian"])
def test_errors_about_inputs_are_torchs(name, wrong):
    import torch

    theirs = outcome(lambda: getattr(torch.autograd.functional, name)(lambda x: x, wrong))
    ours = outcome(lambda: getattr(functional, name)(lambda x: x, wrong))
    assert ours == theirs


OPTIONS = {
    "no strategy": {"strategy": "sideways"},
    "forward, graph": {"strategy": "forward-mode", "vectorize": True, "create_graph": True},
    "forward, strict": {"strategy": "forward-mode", "vectorize": True, "strict": True},
    "forward by loop": {"strategy": "forward-mode"},
    "vectorized, strict": {"vectorize": True, "strict": True},
}


@needs_torch
@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
def test_errors_about_options_are_torchs(options):
    theirs, ours = both("elementwise", False, lambda F, f, inputs, m: F.jacobian(f, inputs, **options))
    assert ours[0] is theirs[0]
    assert ours[1] == theirs[1].replace("isonly", "is only")    # a blank is missing there


def test_the_outer_strategy_of_a_hessian_is_checked():
    with pytest.raises(AssertionError, match="Expected strategy to be either"):
        functional.hessian(lambda x: x.sum(), agrad.ones(2), outer_jacobian_strategy="sideways")


@needs_torch
def test_gradients_through_results_are_torchs():
    import torch

    def f(x, y):
        return (x.sin() * y**3).sum()

    def third(m, F, **options):
        x = m.tensor([1.0, 2.0], dtype=m.float64, requires_grad=True)
        y = m.tensor([3.0, 4.0], dtype=m.float64, requires_grad=True)
        v = (m.tensor([1.0, 0.5], dtype=m.float64, requires_grad=True), m.tensor([2.0, 1.0], dtype=m.float64))
        results = [
            *F.jacobian(f, (x, y), create_graph=True, **options),
            *itertools.chain(*F.hessian(f, (x, y), create_graph=True, **options)),
            *F.vjp(f, (x, y), create_graph=True)[1], F.jvp(f, (x, y), v, create_graph=True)[1],
            *F.vhp(f, (x, y), v, create_graph=True)[1], *F.hvp(f, (x, y), v, create_graph=True)[1],
        ]
        walk = {"retain_graph": True, "allow_unused": True, "materialize_grads": True}
        return [[g.tolist() for g in m.autograd.grad(r.sum(), (x, y, v[0]), **walk)] for r in results]

    expected = third(torch, torch.autograd.functional)
    for vectorize in (False, True):
        assert_close(third(agrad, functional, vectorize=vectorize), expected)


# ------------------------------------------------------------------------------------------------- ways to a Jacobian


def f_of_two(x, y):
    return agrad.sin(x) @ y, agrad.sum(x * x, axis=0), agrad.stack([x[0, 0] * y[1], y[0]])


@pytest.mark.usefixtures("doubles")
@pytest.mark.parametrize("options", [{"vectorize": True}, {"vectorize": True, "strategy": "forward-mode"}], ids=str)
def test_all_ways_give_the_same_jacobian_on_every_backend(backend, options):
    x, y = agrad.tensor([[1.0, 2.0], [3.0, 5.0]]), agrad.tensor([0.5, -1.0])
    assert_close(functional.jacobian(f_of_two, (x, y), **options), functional.jacobian(f_of_two, (x, y)))


@pytest.mark.usefixtures("doubles")
@pytest.mark.parametrize("options", [
    {}, {"vectorize": True}, {"vectorize": True, "outer_jacobian_strategy": "forward-mode"},
], ids=str)
def test_all_ways_give_the_same_hessian_on_every_backend(backend, options):
    x, y = agrad.tensor([1.0, 2.0]), agrad.tensor([0.5, -1.0])
    found = functional.hessian(lambda x, y: agrad.sum(x**3 * y**2), (x, y), **options)
    a, b = np.array([1.0, 2.0]), np.array([0.5, -1.0])
    expected = (np.diag(6 * a * b**2), np.diag(6 * a**2 * b)), (np.diag(6 * a**2 * b), np.diag(2 * a**3))
    for row, wanted in zip(found, expected, strict=True):
        for block, numbers in zip(row, wanted, strict=True):
            assert block.backend_.name == backend
            np.testing.assert_allclose(np.array(block.tolist()), numbers, rtol=1e-12)


@pytest.mark.parametrize("options", [
    {}, {"vectorize": True}, {"vectorize": True, "strategy": "forward-mode"},
], ids=str)
def test_a_jacobian_of_no_rows_or_no_columns_has_its_shape(options):
    assert functional.jacobian(lambda x: x[:0], agrad.ones(3), **options).shape == (0, 3)
    assert functional.jacobian(lambda x: x.sum() * agrad.ones(2), agrad.ones(0), **options).shape == (2, 0)


def test_integer_outputs_have_zero_derivatives():
    x = agrad.tensor([3.0, 1.0])
    for options in ({}, {"vectorize": True}, {"vectorize": True, "strategy": "forward-mode"}):
        matrix, of_integers = functional.jacobian(lambda x: (x * x, x.argmax()), x, **options)
        assert matrix.tolist() == [[6.0, 0.0], [0.0, 2.0]]
        assert of_integers.tolist() == [0.0, 0.0]
    _, (product, of_integers) = functional.jvp(lambda x: (x * x, x.argmax()), x, agrad.ones(2))
    assert product.tolist() == [6.0, 2.0]
    assert of_integers.tolist() == 0


def test_strict_mode_counts_the_inputs():
    with pytest.raises(RuntimeError, match="is independent of input 1"):
        functional.jacobian(lambda x, y: x**2 + y, (agrad.ones(2), agrad.ones(2)), create_graph=True, strict=True)


@pytest.mark.parametrize("options", [
    {}, {"vectorize": True}, {"vectorize": True, "strategy": "forward-mode"},
], ids=str)
def test_nothing_is_tracked_that_nobody_asked_for(options):
    w = agrad.ones(2, requires_grad=True)
    x = agrad.ones(2, requires_grad=True)
    matrix = functional.jacobian(lambda x: w * x * x, x, **options)
    assert not matrix.requires_grad
    assert x.grad is None
    assert w.grad is None


def test_the_function_gets_tensors_of_its_own():
    x = agrad.ones(2, requires_grad=True)
    got = []
    functional.vjp(lambda a: got.append(a) or a * x, x, agrad.ones(2), create_graph=True)
    assert got[0] is not x
    _, product = functional.vjp(lambda a: a * x, x, agrad.ones(2), create_graph=True)
    assert product.tolist() == [1.0, 1.0], "the captured x is a constant, though it is the input, too"


def test_it_works_where_gradients_are_off():
    with agrad.no_grad():
        assert functional.jacobian(lambda x: x**2, agrad.ones(1)).tolist() == [[2.0]]
        assert functional.hessian(lambda x: (x**2).sum(), agrad.ones(1), vectorize=True).tolist() == [[2.0]]
        for vectorize in (False, True):
            x = agrad.ones(2, requires_grad=True)
            assert functional.jacobian(lambda x: x**2, x, create_graph=True, vectorize=vectorize).requires_grad


@pytest.mark.parametrize("options", [
    {}, {"vectorize": True}, {"vectorize": True, "strategy": "forward-mode"},
], ids=str)
def test_inside_vmap_each_sample_has_its_own_jacobian(options):
    x = agrad.tensor([[1.0, 2.0], [3.0, 4.0]])
    found = vmap(lambda a: functional.jacobian(lambda b: b * b, a, **options))(x)
    assert found.tolist() == [[[2.0, 0.0], [0.0, 4.0]], [[6.0, 0.0], [0.0, 8.0]]]


# ------------------------------------------------------------------------------------------------ batches of cotangents


def rows_by_loop(outputs, inputs, cotangents, **options):
    rows = [
        agrad.autograd.grad(outputs, inputs, [g[i] for g in cotangents], retain_graph=True, **options)
        for i in range(cotangents[0].shape[0])
    ]
    return tuple(None if column[0] is None else agrad.stack(list(column)) for column in zip(*rows, strict=True))


@pytest.mark.usefixtures("doubles")
@pytest.mark.parametrize("create_graph", [False, True])
def test_a_batch_of_cotangents_gives_what_a_loop_gives(backend, create_graph):
    x, w = agrad.tensor([[1.0, 2.0], [3.0, 5.0]], requires_grad=True), agrad.tensor([0.5, -1.0], requires_grad=True)
    unused = agrad.ones(3, requires_grad=True)
    outputs = agrad.sin(x) @ w, agrad.sum(x * x), x[0] * 2
    cotangents = [agrad.tensor(np.random.default_rng(i).normal(size=(4, *y.shape))) for i, y in enumerate(outputs)]
    options = {"create_graph": create_graph, "allow_unused": True}
    found = agrad.autograd.grad(
        outputs, (x, w, unused), cotangents, retain_graph=True, is_grads_batched=True, **options
    )
    expected = rows_by_loop(outputs, (x, w, unused), cotangents, **options)
    assert found[2] is None
    for a, b in zip(found[:2], expected[:2], strict=True):
        assert_close(a, b)
        assert a.requires_grad is create_graph
    if create_graph:
        assert_close(*(agrad.autograd.grad(one[0].sum(), (x, w), retain_graph=True) for one in (found, expected)))


def test_a_batch_of_cotangents_has_the_options_of_one():
    x, unused = agrad.ones(2, requires_grad=True), agrad.ones(3, requires_grad=True)
    y, g = x * x, agrad.ones((4, 2))
    with pytest.raises(RuntimeError, match="The differentiated Tensor at index 1 appears to not have been used"):
        agrad.autograd.grad(y, (x, unused), g, retain_graph=True, is_grads_batched=True)
    found = agrad.autograd.grad(y, {"x": x}, g, retain_graph=True, is_grads_batched=True)
    assert found["x"].tolist() == [[2.0, 2.0]] * 4
    assert agrad.autograd.grad(y, x, agrad.ones((0, 2)), retain_graph=True, is_grads_batched=True)[0].shape == (0, 2)
    agrad.autograd.grad(y, x, g, is_grads_batched=True)
    with pytest.raises(RuntimeError, match="Trying to backward through the graph a second time"):
        agrad.autograd.grad(y, x, g, is_grads_batched=True)


@needs_torch
def test_materialised_gradients_of_a_batch_are_torchs():
    import torch

    def shapes(m):
        x, unused = m.ones(2, requires_grad=True), m.ones(3, requires_grad=True)
        found = m.autograd.grad(x * x, (x, unused), m.ones(4, 2), is_grads_batched=True, materialize_grads=True)
        return [tuple(g.shape) for g in found]

    assert shapes(agrad) == shapes(torch)


def test_a_walk_inside_vmap_is_batched_over_a_graph_from_outside():
    x = agrad.tensor([1.0, 2.0], requires_grad=True)
    y = agrad.sin(x) * x
    rows = vmap(lambda v: agrad.autograd.grad(y, x, v, retain_graph=True)[0])(agrad.eye(2))
    assert_close(rows, functional.jacobian(lambda x: agrad.sin(x) * x, x))
