"""Transformer layers: PyTorch's numbers, gradients, names and texts, on every backend."""

import numpy as np
import pytest
from array_libraries import values
from layer_pairs import assert_alike, pair

import agrad
from agrad import nn

RNG = np.random.default_rng(0)


def numbers(*shape):
    return RNG.standard_normal(shape)


def layers(name, *args, **options):
    torch = pytest.importorskip("torch")
    return pair(getattr(torch.nn, name), getattr(nn, name), *args, **options)


OPTIONS = [
    {}, {"norm_first": True}, {"batch_first": True, "activation": "gelu"}, {"bias": False, "layer_norm_eps": 0.1},
    {"norm_first": True, "batch_first": True, "activation": "relu"},
]
LATER = np.triu(np.ones((4, 4), bool), 1)
MASKS = {
    "no mask": {}, "causal": {"src_mask": LATER, "is_causal": True},
    "padding": {"src_key_padding_mask": np.arange(4) >= np.array([[4], [3], [2]])},
    "both": {"src_mask": numbers(4, 4), "src_key_padding_mask": numbers(3, 4)},
}


@pytest.mark.parametrize("mask", MASKS)
@pytest.mark.parametrize("options", OPTIONS, ids=range(len(OPTIONS)))
def test_encoder_layers_do_what_torchs_do(options, mask):
    both = layers("TransformerEncoderLayer", 6, 2, 8, dropout=0.0, **options)
    shape = (3, 4, 6) if options.get("batch_first") else (4, 3, 6)
    assert_alike(both, [numbers(*shape)], tolerance=1e-11, **MASKS[mask])


@pytest.mark.parametrize("options", OPTIONS, ids=range(len(OPTIONS)))
def test_decoder_layers_do_what_torchs_do(options):
    both = layers("TransformerDecoderLayer", 6, 2, 8, dropout=0.0, **options)
    shapes = [(3, 4, 6), (3, 5, 6)] if options.get("batch_first") else [(4, 3, 6), (5, 3, 6)]
    masks = {
        "tgt_mask": LATER, "tgt_is_causal": True, "memory_mask": np.arange(5) > np.arange(4)[:, None],
        "memory_key_padding_mask": np.arange(5) >= np.array([[5], [3], [2]]),
    }
    for given in ({}, masks):
        assert_alike(both, [numbers(*shape) for shape in shapes], tolerance=1e-11, **given)


def test_unbatched_input():
    assert_alike(layers("TransformerEncoderLayer", 6, 2, 8, dropout=0.0), [numbers(4, 6)], tolerance=1e-11)
    both = layers("TransformerDecoderLayer", 6, 2, 8, dropout=0.0)
    assert_alike(both, [numbers(4, 6), numbers(5, 6)], tolerance=1e-11)


@pytest.mark.filterwarnings("ignore:enable_nested_tensor")      # PyTorch's, of its own fast path
@pytest.mark.parametrize("batch_first", [False, True])
def test_transformers_do_what_torchs_do(batch_first):
    both = layers("Transformer", 6, 2, 2, 2, 8, dropout=0.0, batch_first=batch_first)
    assert_alike(both, [numbers(3, 3, 6), numbers(3, 3, 6)], tolerance=1e-10, tgt_mask=LATER[:3, :3])


@pytest.mark.filterwarnings("ignore:enable_nested_tensor")
def test_stacks_do_what_torchs_do():
    torch = pytest.importorskip("torch")
    for name, inputs in (("Encoder", [numbers(4, 3, 6)]), ("Decoder", [numbers(4, 3, 6), numbers(5, 3, 6)])):
        stacks = []
        for m in (torch, agrad):
            layer = getattr(m.nn, f"Transformer{name}Layer")(6, 2, 8, dropout=0.0, dtype=m.float64)
            stacks.append(getattr(m.nn, f"Transformer{name}")(layer, 2, m.nn.LayerNorm(6, dtype=m.float64)))
        assert list(stacks[0].state_dict()) == list(stacks[1].state_dict())
        stacks[1].load_state_dict({key: value.numpy() for key, value in stacks[0].state_dict().items()})
        assert_alike(stacks, inputs, tolerance=1e-11)


def test_layers_of_a_stack_are_copies():
    layer = nn.TransformerEncoderLayer(4, 2, 8)
    first, second = nn.TransformerEncoder(layer, 2).layers
    assert first is not second is not layer
    agrad.testing.assert_close(first.linear1.weight, second.linear1.weight)
    first(agrad.ones((3, 1, 4))).sum().backward()
    assert first.linear1.weight.grad is not None
    assert second.linear1.weight.grad is None


def test_the_mask_of_later_positions():
    torch = pytest.importorskip("torch")
    for n in (1, 4):
        mask = nn.Transformer.generate_square_subsequent_mask(n)
        np.testing.assert_array_equal(values(mask), torch.nn.Transformer.generate_square_subsequent_mask(n).numpy())


def test_parameters_begin_as_torchs():
    agrad.manual_seed(0)
    model = nn.Transformer(32, 2, 1, 1, 64)
    weight = values(model.encoder.layers[0].linear1.weight)
    bound = np.sqrt(6 / (32 + 64))
    assert 0.98 * bound < np.abs(weight).max() <= bound


def test_a_transformer_on_every_backend(backend):
    model = nn.Transformer(4, 2, 1, 1, 8, dropout=0.0, dtype=agrad.float64)
    source, target = numbers(3, 2, 4), numbers(2, 2, 4)
    found = model(agrad.asarray(source), agrad.asarray(target), tgt_mask=agrad.asarray(LATER[:2, :2]))
    (found**2).sum().backward()
    with agrad.use_backend("numpy"):
        reference = nn.Transformer(4, 2, 1, 1, 8, dropout=0.0)
        reference.load_state_dict({name: values(value) for name, value in model.state_dict().items()})
        expected = reference(agrad.tensor(source), agrad.tensor(target), tgt_mask=agrad.tensor(LATER[:2, :2]))
        (expected**2).sum().backward()
    np.testing.assert_allclose(values(found), values(expected), rtol=1e-9, atol=1e-11)
    for mine, theirs in zip(model.parameters(), reference.parameters(), strict=True):
        np.testing.assert_allclose(values(mine.grad), values(theirs.grad), rtol=1e-8, atol=1e-10)


def test_dropout_acts_in_training_only():
    agrad.manual_seed(0)
    model = nn.TransformerEncoderLayer(4, 2, 8, dropout=0.5)
    x = agrad.tensor(numbers(3, 2, 4))
    assert not np.allclose(values(model(x)), values(model(x)))
    model.eval()
    np.testing.assert_array_equal(values(model(x)), values(model(x)))


def test_float32_stays():
    model = nn.Transformer(4, 2, 1, 1, 8, dtype=agrad.float32)
    mask = nn.Transformer.generate_square_subsequent_mask(2, dtype=agrad.float32)
    x = agrad.ones((2, 3, 4), dtype=agrad.float32)
    assert model(x, x, tgt_mask=mask).dtype == agrad.float32


def test_bad_input_is_named():
    with pytest.raises(RuntimeError, match="activation should be relu/gelu, not tanh"):
        nn.TransformerEncoderLayer(4, 2, activation="tanh")
    with pytest.raises(ValueError, match=r"MultiheadAttention: expected query \(L, N, 4\)"):
        nn.TransformerEncoderLayer(4, 2)(agrad.ones((3, 2, 5)))
