"""Distances and angles, as functions and as modules, beside PyTorch's."""

from math import inf

import numpy as np
import pytest
from array_libraries import values
from beside_torch import agree, numbers, same

import agrad
from agrad import nn
from agrad.nn import functional as F


@pytest.mark.parametrize(("first", "second", "options"), [
    ((2, 3), (2, 3), {}), ((2, 3), (2, 3), {"dim": 0}), ((3,), (3,), {"dim": 0}), ((2, 3, 4), (2, 3, 4), {"dim": -1}),
    ((2, 3), (1, 3), {}), ((0, 3), (0, 3), {}), ((2, 3), (2, 3), {"eps": 2.0}),
])
def test_cosine_similarity_is_pytorchs(first, second, options):
    pytest.importorskip("torch")
    agree(lambda m, x, y: m.cosine_similarity(x, y, **options), numbers(*first), numbers(*second, seed=1))


def test_vectors_without_a_direction_have_a_similarity_and_a_gradient():
    pytest.importorskip("torch")
    agree(lambda m, x, y: m.cosine_similarity(x, y), np.zeros((1, 3)), numbers(1, 3), second=False)


@pytest.mark.parametrize("options", [{}, {"p": 1.0}, {"p": 3.0, "eps": 0.1}, {"keepdim": True}, {"p": inf}])
@pytest.mark.parametrize(("first", "second"), [((2, 3), (2, 3)), ((3,), (3,)), ((2, 3), (3,)), ((0, 3), (0, 3))])
def test_pairwise_distance_is_pytorchs(first, second, options):
    pytest.importorskip("torch")
    agree(lambda m, x, y: m.pairwise_distance(x, y, **options), numbers(*first), numbers(*second, seed=1),
          second=options.get("p") != inf)


@pytest.mark.parametrize("p", [1.0, 2.0, 3.0, inf])
@pytest.mark.parametrize("shape", [(4, 3), (2, 1)])
def test_pdist_is_pytorchs(shape, p):
    pytest.importorskip("torch")
    agree(lambda m, x: m.pdist(x, p), numbers(*shape), second=False)     # PyTorch's has no second derivative


@pytest.mark.parametrize("shape", [(1, 3), (0, 3)])
def test_without_pairs_there_are_no_distances(shape):
    x = agrad.ones(shape, requires_grad=True)
    F.pdist(x).sum().backward()
    assert F.pdist(x).shape == (0,)
    assert not values(x.grad).any()


def test_every_backend_agrees_and_keeps_the_dtype(backend):
    x, y = (agrad.tensor(numbers(4, 3, seed=i), dtype=agrad.float32) for i in range(2))
    for found, truth in (
        (F.pdist(x), [np.linalg.norm(values(x)[i] - values(x)[j]) for i in range(4) for j in range(i + 1, 4)]),
        (F.pairwise_distance(x, y), np.linalg.norm(values(x) - values(y), axis=1)),
        (F.cosine_similarity(x, x), np.ones(4)),
    ):
        assert found.dtype == agrad.float32
        same(values(found), truth, rtol=1e-4, atol=1e-5)


def test_finite_differences_agree():
    given = [agrad.tensor(numbers(2, 3, seed=i), requires_grad=True) for i in range(2)]
    for function in (F.cosine_similarity, F.pairwise_distance, lambda x, y: F.pdist(x * y)):
        assert agrad.autograd.gradcheck(function, given, check_forward_ad=True)
        assert agrad.autograd.gradgradcheck(function, given)


@pytest.mark.parametrize(("name", "given"), [("CosineSimilarity", {"dim": 0}),
                                             ("PairwiseDistance", {"p": 1, "keepdim": True})])
def test_modules_are_pytorchs(name, given):
    torch = pytest.importorskip("torch")
    ours, theirs = getattr(nn, name)(**given), getattr(torch.nn, name)(**given)
    assert repr(ours) == repr(theirs)
    x, y = numbers(2, 3), numbers(2, 3, seed=1)
    same(ours(agrad.tensor(x), agrad.tensor(y)), theirs(torch.tensor(x), torch.tensor(y)))


def test_bad_input_is_named():
    with pytest.raises(RuntimeError, match="pdist only supports 2D tensors, got: 1D"):
        F.pdist(agrad.ones(3))
    with pytest.raises(RuntimeError, match="pdist only supports non-negative p values, got -1"):
        F.pdist(agrad.ones((3, 2)), -1)
