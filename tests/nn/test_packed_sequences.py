"""Sequences of different lengths, padded and packed: PyTorch's results, alone and through recurrent layers."""

from itertools import product

import numpy as np
import pytest
from array_libraries import values
from layer_pairs import assert_same, flat, pair

import agrad
from agrad import nn
from agrad.nn.utils import rnn

RNG = np.random.default_rng(0)
LENGTHS = {True: [5, 3, 3, 1], False: [3, 1, 5, 3]}     # by whether they are sorted


def numbers(*shape):
    return RNG.standard_normal(shape)


@pytest.mark.parametrize("given", [True, False], ids=["state", "zeros"])
@pytest.mark.parametrize("in_order", [True, False])
@pytest.mark.parametrize(("name", "options"), [
    *product(("RNN", "LSTM", "GRU"), ({}, {"bidirectional": True, "num_layers": 2}, {"bias": False})),
    ("LSTM", {"proj_size": 2, "bidirectional": True}),
])
def test_layers_take_packed_sequences_as_torchs(name, options, in_order, given):
    torch = pytest.importorskip("torch")
    both = pair(getattr(torch.nn, name), getattr(nn, name), 4, 5, **options)
    lead = options.get("num_layers", 1) * (2 if options.get("bidirectional") else 1)
    x, h, c = numbers(5, 4, 4), numbers(lead, 4, options.get("proj_size", 5)), numbers(lead, 4, 5)
    results = []
    for layer, m in zip(both, (torch, agrad), strict=True):
        leaves = [m.tensor(array, requires_grad=True) for array in (x, h, c)]
        packed = m.nn.utils.rnn.pack_padded_sequence(leaves[0], LENGTHS[in_order], enforce_sorted=in_order)
        state = tuple(leaves[1:]) if name == "LSTM" else leaves[1]
        output, last = layer(packed, state if given else None)
        padded, lengths = m.nn.utils.rnn.pad_packed_sequence(output)
        assert lengths.tolist() == LENGTHS[in_order]
        found = [padded, *flat(last)]
        sum((k + 1) * part.sin().sum() for k, part in enumerate(found)).backward()
        results.append([*found, *(leaf.grad for leaf in leaves), *(p.grad for p in layer.parameters())])
    for k, (theirs, ours) in enumerate(zip(*results, strict=True)):
        assert (theirs is None) == (ours is None)
        if theirs is not None:
            assert_same(ours, theirs, k)


@pytest.mark.parametrize("in_order", [True, False])
@pytest.mark.parametrize("batch_first", [True, False])
def test_packing_is_torchs(batch_first, in_order):
    torch = pytest.importorskip("torch")
    x = numbers(4, 5, 2) if batch_first else numbers(5, 4, 2)
    packed = [
        m.nn.utils.rnn.pack_padded_sequence(m.tensor(x), LENGTHS[in_order], batch_first, in_order)
        for m in (torch, agrad)
    ]
    if not in_order:        # of equal lengths any may come first
        assert packed[1].sorted_indices.tolist() == [2, 0, 3, 1]
    assert packed[1].batch_sizes.tolist() == packed[0].batch_sizes.tolist()
    if in_order:
        np.testing.assert_array_equal(values(packed[1].data), packed[0].data.numpy())
    for options in ({}, {"batch_first": True}, {"padding_value": -1.0, "total_length": 7}):
        theirs, ours = (
            m.nn.utils.rnn.pad_packed_sequence(p, **options) for m, p in zip((torch, agrad), packed, strict=True)
        )
        np.testing.assert_array_equal(values(ours[0]), theirs[0].numpy())
        assert ours[1].tolist() == theirs[1].tolist()


def test_there_and_back(backend):
    sequences = [agrad.asarray(numbers(n, 2)) for n in (2, 4, 1)]
    packed = rnn.pack_sequence(sequences, enforce_sorted=False)
    for one, other in zip(rnn.unpack_sequence(packed), sequences, strict=True):
        agrad.testing.assert_close(one, other)
    padded = rnn.pad_sequence(sequences, batch_first=True)
    for one, other in zip(rnn.unpad_sequence(padded, [2, 4, 1], batch_first=True), sequences, strict=True):
        agrad.testing.assert_close(one, other)


@pytest.mark.parametrize("side", ["right", "left"])
@pytest.mark.parametrize("batch_first", [True, False])
def test_padding_is_torchs(batch_first, side):
    torch = pytest.importorskip("torch")
    arrays = [numbers(n, 2) for n in (2, 4, 1)]
    theirs, ours = (
        m.nn.utils.rnn.pad_sequence([m.tensor(x) for x in arrays], batch_first, 0.5, side) for m in (torch, agrad)
    )
    np.testing.assert_array_equal(values(ours), theirs.numpy())


def test_data_changes_its_dtype_and_the_order_stays():
    packed = rnn.pack_sequence([agrad.ones((1, 2)), agrad.ones((3, 2))], enforce_sorted=False).to(agrad.float32)
    assert packed.data.dtype == agrad.float32
    assert packed.sorted_indices.tolist() == [1, 0]


@pytest.mark.parametrize(("call", "error", "text"), [
    (lambda: rnn.pack_padded_sequence(agrad.ones((5, 2)), [1, 3]), RuntimeError, "must be sorted in decreasing order"),
    (lambda: rnn.pack_padded_sequence(agrad.ones((5, 2)), [6, 3]), ValueError,
     r"expected 2 lengths from 1 to 5 for input of shape \(5, 2\), got \[6, 3\]"),
    (lambda: rnn.pack_padded_sequence(agrad.ones((5, 2)), [3, 0]), ValueError, "expected 2 lengths from 1 to 5"),
    (lambda: rnn.pack_padded_sequence(agrad.ones((5, 2)), [3]), ValueError, "expected 2 lengths from 1 to 5"),
    (lambda: rnn.pack_padded_sequence(agrad.ones(5), [3]), ValueError, r"expected input \(T, B, ...\)"),
    (lambda: rnn.pad_packed_sequence(rnn.pack_sequence([agrad.ones(3)]), total_length=2), ValueError,
     "expected total_length of at least 3"),
    (lambda: rnn.pad_sequence([]), ValueError, "expected at least one sequence"),
    (lambda: rnn.pad_sequence([agrad.ones(3)], padding_side="top"), ValueError, "'right' or 'left', got 'top'"),
    (lambda: nn.GRU(3, 4)(rnn.pack_sequence([agrad.ones((3, 2))])), ValueError,
     r"GRU: expected packed data of shape \(total, 3\), got shape \(3, 2\)"),
    (lambda: nn.GRU(3, 4)(rnn.pack_sequence([agrad.ones((3, 3))]), agrad.ones((1, 2, 4))), ValueError,
     r"GRU: expected an initial h of shape \(1, 1, 4\)"),
], ids=range(10))
def test_bad_input_is_named(call, error, text):
    with pytest.raises(error, match=text):
        call()
