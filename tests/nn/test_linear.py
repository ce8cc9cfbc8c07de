"""Linear, Bilinear and the modules that only change the shape, beside PyTorch's; the op `nn.linear`."""

import numpy as np
import pytest
from array_libraries import values
from beside_torch import agree, numbers, same
from layer_pairs import pair

import agrad
from agrad import nn
from agrad.nn import functional as F


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("shape", [(3,), (2, 3), (2, 4, 3), (0, 3), (2, 0, 3)])
def test_linear_is_pytorchs(shape, bias):
    pytest.importorskip("torch")
    given = [numbers(*shape), numbers(5, 3, seed=1), *([numbers(5, seed=2)] if bias else [])]
    agree(lambda m, *a: m.linear(*a), *given)


def test_a_weight_of_one_axis_gives_one_number_for_each_vector():
    pytest.importorskip("torch")
    agree(lambda m, *a: m.linear(*a), numbers(2, 3), numbers(3, seed=1))
    agree(lambda m, *a: m.linear(*a), numbers(3), numbers(3, seed=1))


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("lead", [(), (4,), (2, 3), (0,)])
def test_bilinear_is_pytorchs(lead, bias):
    pytest.importorskip("torch")
    given = [numbers(*lead, 3), numbers(*lead, 2, seed=1), numbers(5, 3, 2, seed=2),
             *([numbers(5, seed=3)] if bias else [])]
    agree(lambda m, *a: m.bilinear(*a), *given)


@pytest.mark.parametrize("bias", [True, False])
def test_layers_take_pytorchs_weights(bias):
    torch = pytest.importorskip("torch")
    for name, sizes, inputs in (("Linear", (3, 2), [(4, 3)]), ("Bilinear", (3, 2, 4), [(5, 3), (5, 2)])):
        theirs, ours = pair(getattr(torch.nn, name), getattr(nn, name), *sizes, bias=bias)
        assert repr(ours) == repr(theirs)
        given = [numbers(*shape, seed=i) for i, shape in enumerate(inputs)]
        same(ours(*map(agrad.tensor, given)), theirs(*map(torch.tensor, given)))


@pytest.mark.parametrize("dtype", ["float32", "float64", "complex128"])
def test_every_backend_agrees_and_keeps_the_dtype(backend, dtype):
    x, w, b = numbers(4, 3), numbers(5, 3, seed=1), numbers(5, seed=2)
    given = [agrad.tensor(a.astype(dtype), requires_grad=True) for a in (x, w, b)]
    out = F.linear(*given)
    found = agrad.autograd.grad(agrad.real(out).sum() if out.is_complex() else out.sum(), given)
    assert out.dtype == dtype
    assert all(g.dtype == dtype for g in found)
    for mine, truth in zip([out, *found], [x @ w.T + b, np.tile(w.sum(0), (4, 1)), np.tile(x.sum(0), (5, 1)),
                                           np.full(5, 4)],
                           strict=True):
        same(values(mine), truth, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(("kind", "of_bias"), [("float32", "float64"), ("float32", "complex64")])
def test_a_bias_of_a_larger_dtype_is_not_cut_down(kind, of_bias, backend):
    x, w, b = agrad.ones((2, 3), dtype=kind), agrad.ones((4, 3), dtype=kind), agrad.full((4,), 0.1, dtype=of_bias)
    out = F.linear(x, w, b)
    assert out.dtype == of_bias
    same(values(out), np.full((2, 4), 3 + values(b)), rtol=1e-6, atol=0)


def test_a_layer_is_one_node_whose_gradient_lies_as_the_weight_does():
    layer = nn.Linear(30, 20)
    out = layer(agrad.ones((4, 30)))
    assert out.grad_fn.name() == "AddmmBackward0"
    out.sum().backward()
    assert layer.weight.grad.array.flags.c_contiguous


@pytest.mark.parametrize("lead", [(), (2,)])
def test_under_vmap_any_of_the_three_may_be_batched(lead):
    full = numbers(6, *lead, 3), numbers(6, 5, 3, seed=1), numbers(6, 5, seed=2)
    for dims in ((0, None, None), (None, 0, None), (None, None, 0), (0, 0, None), (0, None, 0), (None, 0, 0),
                 (0, 0, 0)):
        given = [agrad.tensor(a if d == 0 else a[0]) for a, d in zip(full, dims, strict=True)]
        found = agrad.vmap(F.linear, in_dims=dims)(*given)
        truth = [F.linear(*(g[i] if d == 0 else g for g, d in zip(given, dims, strict=True))) for i in range(6)]
        same(found, agrad.stack(truth))


@pytest.mark.parametrize(("layer", "bound"), [
    (lambda: nn.Linear(400, 300), 400**-0.5), (lambda: nn.Bilinear(400, 30, 20), 400**-0.5),
])
def test_parameters_begin_uniform_within_the_root_of_the_features(layer, bound):
    agrad.manual_seed(0)
    made = layer()
    for parameter in (made.weight, made.bias):
        found = np.abs(values(parameter))
        assert 0.9 * bound < found.max() <= bound
    assert abs(values(made.weight).std() - bound / 3**0.5) < 0.02 * bound
    before = values(made.weight).copy()
    made.reset_parameters()
    assert not np.allclose(values(made.weight), before)


def test_layers_are_made_where_and_as_asked(backend):
    layer = nn.Linear(3, 2, dtype=agrad.float32)
    assert layer.weight.backend_.name == backend
    assert layer.weight.dtype == layer.bias.dtype == agrad.float32
    assert nn.Linear(3, 2, bias=False).bias is None


BAD = [
    (lambda: nn.Linear(784, 10)(agrad.ones((64, 28, 28))),
     r"Linear: expected input with 784 features in its last axis, got shape \(64, 28, 28\)"),
    (lambda: nn.Linear(3, 2)(agrad.tensor(1.0)),
     r"Linear: expected input with 3 features in its last axis, got shape \(\)"),
    (lambda: F.linear(agrad.ones(3), agrad.ones((2, 3)), agrad.ones(3)),
     r"Linear: expected a bias of shape \(2,\), got \(3,\)"),
    (lambda: F.linear(agrad.ones(3), agrad.ones((1, 2, 3))), r"Linear: .* the weight has shape \(1, 2, 3\)"),
    (lambda: nn.Bilinear(3, 2, 4)(agrad.ones((5, 3)), agrad.ones((5, 3))),
     "Bilinear: expected inputs with 3 and 2 features"),
    (lambda: nn.Bilinear(3, 2, 4)(agrad.ones((5, 3)), agrad.ones((4, 2))),
     "Bilinear: expected inputs that agree in all axes"),
    (lambda: F.bilinear(agrad.ones(3), agrad.ones(2), agrad.ones((3, 2))),
     r"Bilinear: expected a weight \(out_features"),
]


@pytest.mark.parametrize(("call", "words"), BAD)
def test_wrong_shapes_name_the_layer(call, words):
    with pytest.raises(RuntimeError, match=words):
        call()


def test_bilinear_needs_features():
    with pytest.raises(ValueError, match="in1_features must be > 0, but got 0"):
        nn.Bilinear(0, 2, 3)


# --------------------------------------------------------------------------------------------------------------- shapes


def test_identity_takes_everything_and_does_nothing():
    x = agrad.ones(2)
    assert nn.Identity(54, unused=True)(x) is x
    assert repr(nn.Identity()) == "Identity()"


@pytest.mark.parametrize(("shape", "given"),
                         [((2, 3, 4), ()), ((2, 3, 4), (0,)), ((2, 3, 4, 5), (1, 2)), ((2, 3), (0, -1)),
                                              ((0, 3, 4), ()), ((2, 3, 4), (-2, -1)), ((4,), (0,)), ((), (0,))])
def test_flatten_is_pytorchs(shape, given):
    torch = pytest.importorskip("torch")
    x = numbers(*shape)
    ours, theirs = nn.Flatten(*given), torch.nn.Flatten(*given)
    assert repr(ours) == repr(theirs)
    same(ours(agrad.tensor(x)), theirs(torch.tensor(x)))
    assert ours(agrad.tensor(x)).shape == tuple(theirs(torch.tensor(x)).shape)


@pytest.mark.parametrize(("shape", "given"), [((2, 12), (1, (3, 4))), ((2, 12), (-1, [3, -1])), ((4, 2), (0, (2, 2))),
                                              ((0, 4), (0, (0, 3)))])
def test_unflatten_is_pytorchs(shape, given):
    torch = pytest.importorskip("torch")
    x = numbers(*shape)
    ours, theirs = nn.Unflatten(*given)(agrad.tensor(x)), torch.nn.Unflatten(*given)(torch.tensor(x))
    assert ours.shape == tuple(theirs.shape)
    same(ours, theirs)


def test_shapes_that_do_not_fit_name_the_layer():
    words = r"Unflatten: expected an axis 1 that can have the sizes \(3, 5\), got shape \(2, 12\)"
    with pytest.raises(RuntimeError, match=words):
        nn.Unflatten(1, (3, 5))(agrad.ones((2, 12)))
    with pytest.raises(RuntimeError, match="Unflatten: expected an axis 3"):
        nn.Unflatten(3, (3, 4))(agrad.ones((2, 12)))
    with pytest.raises(TypeError, match="Unflatten: unflattened_size must be a tuple or list of ints"):
        nn.Unflatten(1, "3")
    with pytest.raises(IndexError, match="Flatten: dimension out of range: 1"):
        nn.Flatten()(agrad.ones(3))
