"""Attention: PyTorch's numbers, weights and gradients, on every backend."""

from itertools import product

import numpy as np
import pytest
from array_libraries import values
from layer_pairs import assert_alike, pair

import agrad
from agrad import nn
from agrad.func import functional_call, vmap
from agrad.nn import functional as F

RNG = np.random.default_rng(0)


def numbers(*shape):
    return RNG.standard_normal(shape)


def upper(rows, columns, k=1):
    """True above a diagonal: what a causal mask forbids."""
    return np.triu(np.ones((rows, columns), bool), k)


# ----------------------------------------------------------------------------------------- scaled_dot_product_attention


class Product:
    """The function as a layer without parameters."""

    def __init__(self, function):
        self.function = function

    def __call__(self, *args, **options):
        return self.function(*args, **options)

    def parameters(self):
        return []

    def zero_grad(self):
        pass


BLIND = np.tril(np.ones((3, 5), bool), -1)     # the first query may look nowhere
PRODUCTS = {
    "plain": ((2, 3, 4), (2, 5, 4), (2, 5, 6), {}),
    "matrices": ((3, 4), (5, 4), (5, 6), {}),
    "four axes": ((2, 3, 4, 2), (2, 3, 5, 2), (2, 3, 5, 2), {}),
    "broadcast": ((2, 3, 4, 2), (1, 3, 5, 2), (2, 1, 5, 2), {}),
    "empty batch": ((0, 3, 4), (0, 5, 4), (0, 5, 6), {}),
    "scale": ((2, 3, 4), (2, 5, 4), (2, 5, 6), {"scale": 0.3}),
    "causal, more keys": ((2, 3, 4), (2, 5, 4), (2, 5, 6), {"is_causal": True}),
    "causal, fewer keys": ((5, 3, 4), (5, 2, 4), (5, 2, 4), {"is_causal": True}),
    "boolean mask": ((2, 3, 4), (2, 5, 4), (2, 5, 6), {"attn_mask": RNG.random((2, 3, 5)) < 0.7}),
    "added mask": ((2, 3, 4), (2, 5, 4), (2, 5, 6), {"attn_mask": numbers(3, 5)}),
    "blind, boolean": ((2, 3, 4), (2, 5, 4), (2, 5, 6), {"attn_mask": BLIND}),
    "blind, added": ((2, 3, 4), (2, 5, 4), (2, 5, 6), {"attn_mask": np.where(BLIND, 0.5, -np.inf)}),
    "shared heads": ((2, 4, 3, 4), (2, 2, 5, 4), (2, 2, 5, 6), {"enable_gqa": True}),
    "one shared head": ((4, 3, 4), (1, 5, 4), (1, 5, 6), {"enable_gqa": True, "is_causal": True}),
    "no features": ((2, 3, 0), (2, 5, 0), (2, 5, 6), {}),
}


@pytest.mark.parametrize("name", PRODUCTS)
def test_products_are_torchs(name):
    torch = pytest.importorskip("torch")
    *shapes, options = PRODUCTS[name]
    both = [Product(m.scaled_dot_product_attention) for m in (torch.nn.functional, F)]
    assert_alike(both, [numbers(*shape) for shape in shapes], **options)


def test_a_product_is_a_weighted_mean(backend):
    q, k, v = (agrad.asarray(numbers(2, n, 4)) for n in (3, 5, 5))
    scores = np.einsum("nle,nse->nls", values(q), values(k)) / 2
    weights = np.exp(scores) / np.exp(scores).sum(-1, keepdims=True)
    expected = agrad.asarray(weights @ values(v))
    agrad.testing.assert_close(F.scaled_dot_product_attention(q, k, v), expected)
    mask = agrad.asarray(np.ones((3, 5), bool))
    agrad.testing.assert_close(F.scaled_dot_product_attention(q, k, v, mask), expected)


def test_dropout_of_weights():
    agrad.manual_seed(0)
    q, k = agrad.zeros((400, 2)), agrad.zeros((50, 2))
    v = agrad.eye(50)
    weights = values(F.scaled_dot_product_attention(q, k, v, dropout_p=0.25))
    assert set(np.unique(weights.round(12))) == {0.0, round(1 / 50 / 0.75, 12)}
    assert abs((weights == 0).mean() - 0.25) < 0.02


def test_second_derivatives():
    q, k, v = (agrad.tensor(numbers(n, 2), requires_grad=True) for n in (2, 3, 3))
    mask = agrad.tensor(numbers(2, 3), requires_grad=True)
    assert agrad.autograd.gradgradcheck(F.scaled_dot_product_attention, (q, k, v, mask))
    assert agrad.autograd.gradgradcheck(lambda *x: F.scaled_dot_product_attention(*x, is_causal=True), (q, k, v))


CUBE = (2, 3, 4)


@pytest.mark.parametrize(("shapes", "options", "text"), [
    ((CUBE, (2, 3, 5), CUBE), {}, r"query \(..., L, E\).* of shapes \(2, 3, 4\), \(2, 3, 5\) and \(2, 3, 4\)"),
    ((CUBE, CUBE, (2, 4, 4)), {}, r"query \(..., L, E\).* of shapes \(2, 3, 4\), \(2, 3, 4\) and \(2, 4, 4\)"),
    (((4,), (4,), (4,)), {}, "expected at least two axes each"),
    ((CUBE, CUBE, CUBE), {"is_causal": True, "attn_mask": (3, 3)}, "attn_mask or is_causal=True, got both"),
    (((3, 2, 4), CUBE, CUBE), {"enable_gqa": True}, "heads of the query"),
    ((CUBE, (0, 3, 4), (0, 3, 4)), {"enable_gqa": True}, "heads of the query"),
])
def test_products_that_do_not_fit_are_refused(shapes, options, text):
    options = {name: agrad.ones(value) if isinstance(value, tuple) else value for name, value in options.items()}
    with pytest.raises(ValueError, match=f"scaled_dot_product_attention: .*{text}"):
        F.scaled_dot_product_attention(*map(agrad.ones, shapes), **options)


# --------------------------------------------------------------------------------------------------- MultiheadAttention


def layers(*args, **options):
    torch = pytest.importorskip("torch")
    both = pair(torch.nn.MultiheadAttention, nn.MultiheadAttention, *args, **options)
    for layer in both:      # biases begin at zero, where mistakes would not be seen
        for name, parameter in layer.named_parameters():
            if "bias" in name:
                parameter.data = parameter.data + 0.3
    return both


OPTIONS = {
    "plain": {}, "no bias": {"bias": False}, "further key": {"add_bias_kv": True}, "zero key": {"add_zero_attn": True},
    "sizes": {"kdim": 3, "vdim": 5}, "batch first": {"batch_first": True},
    "all": {"add_bias_kv": True, "add_zero_attn": True, "batch_first": True, "kdim": 3, "vdim": 5},
}
MASKS = {
    "no mask": lambda L, S, N: {},
    "padding": lambda L, S, N: {"key_padding_mask": np.arange(S) >= S - 1 - np.arange(N)[:, None]},
    "causal": lambda L, S, N: {"attn_mask": upper(L, S)},
    "padding and causal": lambda L, S, N: {
        "key_padding_mask": np.arange(S) >= S - np.arange(N)[:, None], "attn_mask": upper(L, S),
    },
    "added": lambda L, S, N: {"attn_mask": numbers(L, S)},
    "each head its own": lambda L, S, N: {"attn_mask": numbers(2 * N, L, S), "key_padding_mask": numbers(N, S)},
    "blind": lambda L, S, N: {"attn_mask": upper(L, S) | (np.arange(L) == 1)[:, None]},
}


@pytest.mark.parametrize("mask", MASKS)
@pytest.mark.parametrize("options", OPTIONS)
def test_layers_do_what_torchs_do(options, mask):
    both = layers(4, 2, **OPTIONS[options])
    kdim, vdim = (OPTIONS[options].get(name, 4) for name in ("kdim", "vdim"))
    for batched, itself, need_weights, average in product((True, False), repeat=4):
        if itself and "kdim" in OPTIONS[options]:
            continue
        steps, keys, batch = (3, 3, 2) if itself else (3, 5, 2)
        inputs = [numbers(*shape) for shape in ((steps, batch, 4), (keys, batch, kdim), (keys, batch, vdim))]
        masks = MASKS[mask](steps, keys, batch)
        if not batched:
            inputs = [x[:, 0].copy() for x in inputs]
            cut = {"key_padding_mask": 0, "attn_mask": slice(0, 2)}
            masks = {name: m[cut[name]] if name != "attn_mask" or m.ndim == 3 else m for name, m in masks.items()}
        elif OPTIONS[options].get("batch_first"):
            inputs = [x.swapaxes(0, 1).copy() for x in inputs]
        inputs = inputs[:1] * 3 if itself else inputs
        if mask == "blind" and need_weights:
            masks["attn_mask"] = masks["attn_mask"][0] * np.ones((steps, 1), bool)    # nan has a test of its own
        assert_alike(both, inputs, need_weights=need_weights, average_attn_weights=average, **masks)


@pytest.mark.parametrize("need_weights", [True, False])
def test_a_query_that_may_look_nowhere(need_weights):
    torch = pytest.importorskip("torch")
    theirs, ours = layers(4, 2)
    x, mask = numbers(3, 2, 4), upper(3, 3) | (np.arange(3) == 1)[:, None]
    expected, weights = theirs(*[torch.tensor(x)] * 3, attn_mask=torch.tensor(mask), need_weights=need_weights)
    found, own = ours(*[agrad.tensor(x)] * 3, attn_mask=agrad.tensor(mask), need_weights=need_weights)
    np.testing.assert_allclose(values(found), expected.detach().numpy(), rtol=1e-12)
    assert np.isnan(values(found)[1]).all() == need_weights
    if need_weights:
        np.testing.assert_allclose(values(own), weights.detach().numpy(), rtol=1e-12)


@pytest.mark.parametrize("batch_first", [False, True])
def test_an_empty_batch(batch_first):
    torch = pytest.importorskip("torch")
    shape = (0, 3, 4) if batch_first else (3, 0, 4)
    for layer, made in zip(layers(4, 2, batch_first=batch_first), (torch.ones, agrad.ones), strict=True):
        x = made(shape, dtype=(torch if made is torch.ones else agrad).float64)
        output, weights = layer(x, x, x)
        assert (tuple(output.shape), tuple(weights.shape)) == (shape, (0, 3, 3))


@pytest.mark.parametrize("options", OPTIONS)
def test_attention_on_every_backend(options, backend):
    options = {**OPTIONS[options], "dtype": agrad.float64}
    layer = nn.MultiheadAttention(4, 2, **options)
    shapes = [(3, 2, 4), (5, 2, layer.kdim), (5, 2, layer.vdim)]
    arrays = [numbers(*shape) for shape in shapes]
    arrays = [x.swapaxes(0, 1).copy() for x in arrays] if layer.batch_first else arrays
    inputs = [agrad.asarray(x) for x in arrays]
    mask = agrad.asarray(upper(3, 5, 2))
    output, weights = layer(*inputs, attn_mask=mask)
    (output.sum() + (weights**2).sum()).backward()
    with agrad.use_backend("numpy"):
        reference = nn.MultiheadAttention(4, 2, **options)
        reference.load_state_dict({name: values(value) for name, value in layer.state_dict().items()})
        expected, own = reference(*map(agrad.tensor, arrays), attn_mask=agrad.tensor(upper(3, 5, 2)))
        (expected.sum() + (own**2).sum()).backward()
    np.testing.assert_allclose(values(output), values(expected), rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(values(weights), values(own), rtol=1e-10, atol=1e-12)
    for mine, theirs in zip(layer.parameters(), reference.parameters(), strict=True):
        np.testing.assert_allclose(values(mine.grad), values(theirs.grad), rtol=1e-9, atol=1e-11)


def test_dropout_acts_in_training_only():
    agrad.manual_seed(0)
    layer = nn.MultiheadAttention(4, 2, dropout=0.5)
    x = agrad.tensor(numbers(30, 2, 4))
    dropped = values(layer(x, x, x, average_attn_weights=False)[1])
    assert abs((dropped == 0).mean() - 0.5) < 0.05
    assert not np.allclose(values(layer(x, x, x, need_weights=False)[0]), values(layer.eval()(x, x, x)[0]))
    np.testing.assert_allclose(values(layer(x, x, x)[1]).sum(-1), 1, rtol=1e-12)


def test_float32_stays():
    layer = nn.MultiheadAttention(4, 2, add_bias_kv=True, add_zero_attn=True, dtype=agrad.float32)
    x = agrad.ones((3, 2, 4), dtype=agrad.float32)
    for mask in (upper(3, 3), upper(3, 3).astype("float32")):
        output, weights = layer(x, x, x, attn_mask=agrad.tensor(mask))
        assert output.dtype == weights.dtype == agrad.float32
        assert layer(x, x, x, attn_mask=agrad.tensor(mask), need_weights=False)[0].dtype == agrad.float32


def test_vmap_and_second_derivatives():
    layer = nn.MultiheadAttention(4, 2)
    x = agrad.tensor(numbers(5, 3, 4))
    whole = layer.double()(*[agrad.permute_dims(x, (1, 0, 2))] * 3)
    alone = vmap(lambda sample: layer(sample, sample, sample))(x)
    agrad.testing.assert_close(agrad.permute_dims(alone[0], (1, 0, 2)), whole[0])
    agrad.testing.assert_close(alone[1], whole[1])
    names = list(layer.state_dict())

    def outputs(x, *parameters):
        return functional_call(layer, dict(zip(names, parameters, strict=True)), (x, x, x))

    inputs = [x[0, :2].clone().requires_grad_(), *(p.detach().clone().requires_grad_() for p in layer.parameters())]
    assert agrad.autograd.gradcheck(outputs, inputs)
    assert agrad.autograd.gradgradcheck(lambda x: outputs(x, *inputs[1:]), inputs[0])


def test_parameters_begin_as_torchs():
    agrad.manual_seed(0)
    layer = nn.MultiheadAttention(64, 4, add_bias_kv=True)
    assert not values(layer.in_proj_bias).any()
    assert not values(layer.out_proj.bias).any()
    bound = np.sqrt(6 / (4 * 64))       # Xavier: fan in and fan out of the three weights together
    assert 0.98 * bound < np.abs(values(layer.in_proj_weight)).max() <= bound
    assert values(layer.bias_k).std() > 0.1 * np.sqrt(2 / (64 + 64))


SAME = (3, 2, 4)


@pytest.mark.parametrize(("shapes", "options", "error", "text"), [
    (((3, 2, 5), SAME, SAME), {}, ValueError,
     r"expected query \(L, N, 4\), .*, got shapes \(3, 2, 5\), \(3, 2, 4\) and \(3, 2, 4\)"),
    ((SAME, (3, 4), SAME), {}, ValueError, r"got shapes \(3, 2, 4\), \(3, 4\) and \(3, 2, 4\)"),
    ((SAME, SAME, SAME), {"attn_mask": (3, 4)}, ValueError,
     r"expected attn_mask of shape \(3, 3\) or \(4, 3, 3\), got \(3, 4\)"),
    ((SAME, SAME, SAME), {"key_padding_mask": (3, 2)}, ValueError,
     r"expected key_padding_mask of shape \(2, 3\), or \(3,\) without a batch, got \(3, 2\)"),
    ((SAME, SAME, SAME), {"attn_mask": "integers"}, TypeError, "attn_mask is boolean or floating, not"),
    ((SAME, SAME, SAME), {"is_causal": True}, RuntimeError, "Need attn_mask if specifying the is_causal hint"),
])
def test_calls_that_do_not_fit_are_refused(shapes, options, error, text):
    kinds = {tuple: agrad.ones, str: lambda _: agrad.ones((3, 3), dtype=agrad.int64), bool: bool}
    made = {name: kinds[type(value)](value) for name, value in options.items()}
    with pytest.raises(error, match=text):
        nn.MultiheadAttention(4, 2)(*map(agrad.ones, shapes), **made)


@pytest.mark.parametrize(("sizes", "text"), [
    ((4, 3), "embed_dim must be divisible by num_heads"), ((4, 0), "embed_dim and num_heads must be greater than 0"),
])
def test_sizes_that_do_not_fit_are_refused(sizes, text):
    with pytest.raises(ValueError, match=text):
        nn.MultiheadAttention(*sizes)
