"""PyTorch's spellings of ops: keywords, forms and functions that the standard writes otherwise; with its results."""

import numpy as np
import pytest

import agrad

torch = pytest.importorskip("torch")

INDEX, SOURCE = [[0, 1, 1]], [[10.0, 20.0, 30.0], [40.0, 50.0, 60.0]]

PROGRAMS = {
    # keywords
    "tril diagonal": lambda m, x: m.tril(x, diagonal=-1) + x.tril(diagonal=1),
    "triu diagonal": lambda m, x: m.triu(x, diagonal=1) * x.triu(diagonal=-1),
    "roll shifts dims": lambda m, x: m.roll(x, shifts=1, dims=0) + x.roll(shifts=(1, 2), dims=(0, 1)),
    "roll shifts": lambda m, x: m.roll(x, shifts=2),
    "tensordot dims": lambda m, x: m.tensordot(x, x, dims=2) + m.tensordot(x, x, dims=([1], [1])),
    "permute dims": lambda m, x: m.permute(x, dims=(1, 0)) * x.permute(dims=(1, 0)),
    "round decimals": lambda m, x: m.round(x, decimals=1) + x.round(decimals=2),
    "round to tens": lambda m, x: m.round(100 * x, decimals=-1),
    "softmax dim": lambda m, x: m.softmax(x, dim=1) + x.softmax(dim=0) + x.softmax(-1),
    "log_softmax dim": lambda m, x: m.log_softmax(x, dim=0) + x.log_softmax(1),
    "logsumexp dim": lambda m, x: m.logsumexp(x, dim=1, keepdim=True) + x.logsumexp(0) + m.logsumexp(x, dim=(0, 1)),
    # other forms
    "scatter_add": lambda m, x: m.scatter_add(x, 0, m.tensor(INDEX), m.tensor(SOURCE)),
    "scatter_add method": lambda m, x: x.scatter_add(1, m.tensor([[2, 2], [0, 1]]), (x * x)[:, 1:]),
    "scatter_add keywords": lambda m, x: x.scatter_add(dim=-1, index=m.tensor([[2]]), src=m.tensor(SOURCE)),
    "scatter_add of the source": lambda m, x: m.zeros(3, 3).scatter_add(0, m.tensor([[2, 2, 0], [1, 2, 0]]), x),
    "scatter_add_": lambda m, x: (x * 1).scatter_add_(0, m.tensor(INDEX), (x * x)[:1]),
    "scatter_add_ keywords": lambda m, x: (x * 1).scatter_add_(dim=1, index=m.tensor([[0, 0]]), src=x[1:, :2]),
    "einsum list": lambda m, x: m.einsum("ij,kj->ik", [x, x]),
    "relu_": lambda m, x: (x * 1).relu_() * m.relu(x),
    # functions
    "take_along_dim": lambda m, x: m.take_along_dim(x, m.tensor(INDEX), dim=0) * x.take_along_dim(m.tensor(INDEX), 1),
    "take_along_dim of all": lambda m, x: m.take_along_dim(x, m.tensor([5, 0, 0])),
    "split": lambda m, x: m.split(x, 2, dim=1)[0] * x.split([1, 2], 1)[1] + sum(part.sum() for part in x.split(2)),
    "chunk": lambda m, x: m.chunk(x, 2, dim=-1)[1] * x.chunk(5)[0][0, 0] + len(x.chunk(3, 1)) + len(x[:0].chunk(3)),
    "norm": lambda m, x: m.norm(x) * x.norm(dim=1) + x.norm(p=1, dim=(0, 1)) + m.norm(x, 3, 0, True).sum(),
    "sigmoid": lambda m, x: m.sigmoid(x) * x.sigmoid(),
    "flatten": lambda m, x: m.flatten(x) + x.flatten(0, 1) + m.flatten(x, start_dim=0, end_dim=-1),
    "ravel": lambda m, x: m.ravel(x) * x.ravel(),
    "transpose": lambda m, x: m.transpose(x, 0, 1) + m.swapaxes(x, -1, 0) * x.swapaxes(0, 1),
}


@pytest.mark.parametrize("program", PROGRAMS)
def test_a_spelling_means_what_it_means_in_pytorch(program, backend):
    values = np.random.default_rng(0).uniform(-1.0, 1.0, (2, 3))
    results = []
    for library in (torch, agrad):
        before = library.get_default_dtype()
        library.set_default_dtype(library.float64)
        try:
            x = library.tensor(values, requires_grad=True)
            y = PROGRAMS[program](library, x)
            results.append([y, *library.autograd.grad((y * y).sum(), x)])
        finally:
            library.set_default_dtype(before if library is torch else None)
    for found, truth in zip(*results, strict=True):
        assert tuple(found.shape) == tuple(truth.shape)
        np.testing.assert_allclose(found.tolist(), truth.tolist(), rtol=1e-12, atol=1e-14)


def test_dtypes_are_asked_by_functions_too():
    for values in ([1.0], [1], [1j], [True]):
        for ask in ("is_floating_point", "is_complex"):
            assert getattr(agrad, ask)(agrad.tensor(values)) is getattr(torch, ask)(torch.tensor(values))


@pytest.mark.parametrize("library", [torch, agrad])
def test_scatter_add_wants_an_index_that_fits(library, backend):
    x = library.zeros(2, 3)
    for index, source in ((library.tensor([0, 1]), library.ones(2)), (library.tensor([[0, 1]]), library.ones(1, 1))):
        with pytest.raises(RuntimeError, match=r"Index tensor must have the same number|Expected index"):
            x.scatter_add(0, index, source)


def test_unknown_keywords_are_named(backend):
    x = agrad.ones(2, 2)
    for call in (lambda: agrad.softmax(x, dims=0, what=1), lambda: agrad.tril(x, offset=1), lambda: x.roll(by=1)):
        with pytest.raises(TypeError, match="unexpected keyword argument"):
            call()
