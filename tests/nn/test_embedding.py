"""Tables that are looked up by number, and bags of their rows, beside PyTorch's."""

import numpy as np
import pytest
from array_libraries import values
from beside_torch import agree, functional, numbers, same
from layer_pairs import pair

import agrad
from agrad import nn
from agrad.nn import functional as F

TABLE = numbers(7, 3)


def indices(*shape, seed=0):
    return np.random.default_rng([seed, *shape]).integers(0, 7, shape)


def library_of(module):
    if module is F:
        return agrad
    import torch

    return torch


@pytest.mark.parametrize("options", [
    {}, {"padding_idx": 2}, {"padding_idx": -1}, {"scale_grad_by_freq": True},
    {"padding_idx": 2, "scale_grad_by_freq": True},
])
@pytest.mark.parametrize("shape", [(), (4,), (2, 5), (0,), (2, 2, 3)])
def test_embedding_is_pytorchs(shape, options):
    pytest.importorskip("torch")
    agree(lambda m, w: m.embedding(library_of(m).tensor(indices(*shape)), w, **options), TABLE, second=False)


@pytest.mark.parametrize("norm_type", [1.0, 2.0])
def test_rows_that_are_looked_up_are_scaled_down_in_the_table(norm_type):
    torch = pytest.importorskip("torch")
    ours, theirs = agrad.tensor(TABLE), torch.tensor(TABLE)
    found = F.embedding(agrad.tensor([1, 4, 1]), ours, max_norm=1.0, norm_type=norm_type)
    truth = functional(torch).embedding(torch.tensor([1, 4, 1]), theirs, max_norm=1.0, norm_type=norm_type)
    same(found, truth)
    same(ours, theirs)
    assert not np.allclose(values(ours), TABLE)


def test_the_gradient_of_a_lookup_can_be_differentiated():
    w = agrad.tensor(TABLE, requires_grad=True)
    number = agrad.tensor([0, 2, 2])
    assert agrad.autograd.gradgradcheck(lambda w: F.embedding(number, w) ** 2, w)


BAGS = [
    ({}, (3, 4), None), ({}, (9,), [0, 2, 2, 7]), ({}, (0,), [0, 0]), ({"include_last_offset": True}, (9,), [0, 4, 9]),
    ({"padding_idx": 2}, (3, 4), None), ({"padding_idx": 2}, (9,), [0, 2, 2, 7]), ({}, (0, 3), None),
]


@pytest.mark.parametrize("mode", ["sum", "mean", "max"])
@pytest.mark.parametrize(("options", "shape", "offsets"), BAGS)
def test_bags_are_pytorchs(options, shape, offsets, mode):
    pytest.importorskip("torch")

    def bags(m, w):
        library = library_of(m)
        where = None if offsets is None else library.tensor(offsets)
        return m.embedding_bag(library.tensor(indices(*shape)), w, where, mode=mode, **options)

    agree(bags, TABLE, second=False)


@pytest.mark.parametrize(("shape", "offsets"), [((3, 4), None), ((9,), [0, 2, 2, 7])])
def test_weights_of_samples_are_pytorchs(shape, offsets):
    pytest.importorskip("torch")

    def bags(m, w, factors):
        library = library_of(m)
        where = None if offsets is None else library.tensor(offsets)
        return m.embedding_bag(library.tensor(indices(*shape)), w, where, mode="sum", per_sample_weights=factors)

    agree(bags, TABLE, numbers(*shape, seed=3), second=False)


def test_every_backend_agrees_and_keeps_the_dtype(backend):
    w = agrad.tensor(TABLE, dtype=agrad.float32, requires_grad=True)
    number = indices(2, 5)
    out = F.embedding(agrad.tensor(number), w)
    slope, = agrad.autograd.grad(out.sum(), w)
    assert out.dtype == slope.dtype == agrad.float32
    same(values(out), TABLE[number], rtol=1e-6)
    same(values(slope), np.bincount(number.ravel(), minlength=7)[:, None] * np.ones((7, 3)))
    bags = F.embedding_bag(agrad.tensor(number), w, mode="max")
    same(values(bags), TABLE[number].max(axis=1), rtol=1e-6)


def test_a_table_that_was_looked_up_often_gets_its_gradient_in_one_array():
    table = nn.Embedding(50, 4)
    total = sum(table(agrad.tensor([i % 50])).sum() for i in range(200))
    total.backward()
    same(table.weight.grad, np.full((50, 4), 4.0))


# --------------------------------------------------------------------------------------------------------------- layers


@pytest.mark.parametrize("options", [{}, {"padding_idx": 1}, {"max_norm": 1.0, "norm_type": 1.0},
                                     {"scale_grad_by_freq": True},
                                     {"padding_idx": -1}])
def test_a_layer_takes_pytorchs_weights(options):
    torch = pytest.importorskip("torch")
    theirs, ours = pair(torch.nn.Embedding, nn.Embedding, 7, 3, **options)
    assert repr(ours) == repr(theirs)
    assert ours.padding_idx == theirs.padding_idx
    for module, library in ((theirs, torch), (ours, agrad)):
        module(library.tensor(indices(4))).sum().backward()
    same(ours(agrad.tensor(indices(2, 2))), theirs(torch.tensor(indices(2, 2))))
    same(ours.weight.grad, theirs.weight.grad)
    same(ours.weight, theirs.weight)


@pytest.mark.parametrize("mode", ["sum", "mean", "max"])
def test_a_layer_of_bags_takes_pytorchs_weights(mode):
    torch = pytest.importorskip("torch")
    theirs, ours = pair(torch.nn.EmbeddingBag, nn.EmbeddingBag, 7, 3, mode=mode, padding_idx=1)
    assert repr(ours) == repr(theirs)
    given = indices(9), np.array([0, 2, 2])
    same(ours(*map(agrad.tensor, given)), theirs(*map(torch.tensor, given)))


def test_rows_begin_normally_distributed_and_the_padding_zero():
    agrad.manual_seed(0)
    table = nn.Embedding(300, 40, padding_idx=3)
    found = values(table.weight)
    assert not found[3].any()
    assert abs(np.delete(found, 3, 0).mean()) < 0.05
    assert abs(np.delete(found, 3, 0).std() - 1) < 0.03


def test_given_rows_are_frozen_unless_it_is_said():
    rows = agrad.tensor(TABLE)
    for kind in (nn.Embedding, nn.EmbeddingBag):
        assert not kind.from_pretrained(rows).weight.requires_grad
        table = kind.from_pretrained(rows, freeze=False, padding_idx=2)
        assert table.weight.requires_grad
        assert (table.num_embeddings, table.embedding_dim) == (7, 3)
        same(table.weight, TABLE)


BAD = [
    (lambda: nn.Embedding(10, 3)(agrad.tensor([1, 12])), IndexError, "there is no row 12 among 10 embeddings"),
    (lambda: nn.Embedding(10, 3)(agrad.tensor([-1, 2])), IndexError, "there is no row -1 among 10 embeddings"),
    (lambda: nn.EmbeddingBag(10, 3)(agrad.tensor([[12]])), IndexError, "embedding_bag: .* no row 12 among 10"),
    (lambda: nn.Embedding(10, 3)(agrad.tensor([1.0])), RuntimeError,
     "expected an input of integers, .* got agrad.float64"),
    (lambda: F.embedding(agrad.tensor([1]), agrad.ones(3)), RuntimeError, r"'weight' must be 2-D .* got \(3,\)"),
    (lambda: nn.Embedding(10, 3, padding_idx=10), ValueError,
     "Embedding: padding_idx must be within num_embeddings=10, got 10"),
    (lambda: nn.Embedding(10, 3, sparse=True), ValueError, "Embedding: sparse=True asks for sparse gradients"),
    (lambda: F.embedding(agrad.tensor([1]), agrad.ones((3, 2)), sparse=True), ValueError, "embedding: sparse=True"),
    (lambda: nn.Embedding(10, 3, _weight=agrad.ones((3, 10))), ValueError,
     r"Shape of weight .* \(3, 10\) instead of \(10, 3\)"),
    (lambda: nn.Embedding.from_pretrained(agrad.ones(3)), ValueError,
     r"expected to be 2-dimensional, got shape \(3,\)"),
    (lambda: F.embedding_bag(agrad.tensor([1]), agrad.ones((3, 2))), ValueError, "offsets has to be a 1D Tensor"),
    (lambda: F.embedding_bag(agrad.tensor([[1]]), agrad.ones((3, 2)), agrad.tensor([0])), ValueError,
     "offsets has to be None"),
    (lambda: F.embedding_bag(agrad.tensor([[1]]), agrad.ones((3, 2)), mode="min"), ValueError,
     "one of sum, mean or max, got 'min'"),
    (lambda: F.embedding_bag(agrad.tensor([[1]]), agrad.ones((3, 2)), per_sample_weights=agrad.ones((1, 1))),
     ValueError,
     "for mode='sum' only"),
    (lambda: F.embedding_bag(agrad.tensor([[1]]), agrad.ones((3, 2)), mode="sum", per_sample_weights=agrad.ones(1)),
     ValueError,
     r"in the input's shape \(1, 1\), got \(1,\)"),
]


@pytest.mark.parametrize(("call", "error", "words"), BAD)
def test_bad_input_is_named(call, error, words):
    with pytest.raises(error, match=words):
        call()


def test_under_vmap_samples_are_looked_up():
    w, number = agrad.tensor(TABLE), agrad.tensor(indices(4, 5))
    same(agrad.vmap(F.embedding, in_dims=(0, None))(number, w), F.embedding(number, w))
