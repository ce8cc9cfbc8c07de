"""Connectionist temporal classification beside PyTorch's, and beside the sum over all paths."""

from itertools import groupby, product

import numpy as np
import pytest
from array_libraries import values
from beside_torch import agree, numbers, same

import agrad
from agrad import nn
from agrad.nn import functional as F

TIMES, SAMPLES, CLASSES = 9, 4, 5
LABELS = np.random.default_rng(0).integers(1, CLASSES, (SAMPLES, 3))
COUNTS, LENGTHS = np.array([3, 1, 2, 3]), np.array([9, 7, 8, 9])
IN_A_ROW = np.concatenate([row[:n] for row, n in zip(LABELS, COUNTS, strict=True)])

CASES = [   # targets, times, counts, options
    (LABELS, LENGTHS, COUNTS, {}), (IN_A_ROW, LENGTHS, COUNTS, {}), (LABELS, LENGTHS, COUNTS * 0, {}),
    (np.full((SAMPLES, 3), 2), LENGTHS, COUNTS, {}), (LABELS - 1, LENGTHS, COUNTS, {"blank": CLASSES - 1}),
    (LABELS, np.array([2, 7, 8, 9]), COUNTS, {"zero_infinity": True}),
]


def scores(module, x):
    """PyTorch's gradient is that of the scores behind a log_softmax, and only there the formula's."""
    return module.log_softmax(x, dim=-1)


@pytest.mark.parametrize("reduction", ["none", "mean", "sum"])
@pytest.mark.parametrize(("targets", "times", "counts", "options"), CASES)
def test_the_loss_is_pytorchs(targets, times, counts, options, reduction):
    pytest.importorskip("torch")

    def loss(module, x, *given):
        return module.ctc_loss(scores(module, x), *given, reduction=reduction, **options)

    agree(loss, numbers(TIMES, SAMPLES, CLASSES), targets, times, counts, second=False)


@pytest.mark.parametrize("reduction", ["none", "mean"])
def test_one_sample_may_come_without_its_axis(reduction):
    pytest.importorskip("torch")
    agree(lambda m, x, t, n, k: m.ctc_loss(scores(m, x), t, n, k, reduction=reduction),
          numbers(TIMES, CLASSES), LABELS[0], np.array(9), np.array(3), second=False)


@pytest.mark.parametrize("labels", [[1], [1, 2], [1, 1], [2, 1, 2], []])
def test_the_loss_is_the_sum_over_all_paths(labels, backend):
    x = numbers(4, 1, 3)
    chances = np.exp(x[:, 0]) / np.exp(x[:, 0]).sum(axis=1, keepdims=True)
    total = 0.0
    for path in product(range(3), repeat=4):
        if [c for c, _ in groupby(path) if c] == labels:
            total += np.prod([chances[t, c] for t, c in enumerate(path)])
    targets = agrad.tensor(np.array([labels], dtype=np.int64).reshape(1, -1))
    loss = F.ctc_loss(agrad.tensor(np.log(chances))[:, None], targets, [4], [len(labels)], reduction="sum")
    same(values(loss), -np.log(total), rtol=1e-5)


def test_finite_differences_agree_in_both_orders():
    x = agrad.tensor(numbers(4, 2, 3), requires_grad=True)
    labels = agrad.tensor([[1, 2], [2, 2]])
    assert agrad.autograd.gradcheck(lambda x: F.ctc_loss(x, labels, [4, 4], [2, 1]), x)
    assert agrad.autograd.gradgradcheck(lambda x: F.ctc_loss(x, labels, [4, 4], [2, 1]), x)


def test_what_cannot_be_said_in_time_is_infinite_or_counts_nothing():
    x = agrad.tensor(numbers(2, 1, 3), requires_grad=True)
    given = (agrad.log_softmax(x, axis=-1), agrad.tensor([[1, 2, 1]]), [2], [3])
    assert F.ctc_loss(*given).item() == np.inf
    F.ctc_loss(*given, zero_infinity=True).backward()
    assert not values(x.grad).any()


def test_the_module_is_pytorchs():
    torch = pytest.importorskip("torch")
    ours, theirs = nn.CTCLoss(blank=4, reduction="sum"), torch.nn.CTCLoss(blank=4, reduction="sum")
    assert repr(ours) == repr(theirs)
    given = (scores(torch.nn.functional, torch.tensor(numbers(TIMES, SAMPLES, CLASSES))).numpy(), LABELS - 1, LENGTHS,
             COUNTS)
    same(ours(*map(agrad.tensor, given)), theirs(*map(torch.tensor, given)))


X, L = agrad.zeros((3, 2, 4)), agrad.tensor([[1, 2], [3, 1]])


@pytest.mark.parametrize(("call", "words"), [
    (lambda: F.ctc_loss(X[0, 0], L, [3, 3], [2, 2]), r"expected log_probs \(T, N, C\) or \(T, C\), got shape \(4,\)"),
    (lambda: F.ctc_loss(X, L, [3, 3], [2, 2], blank=4), "blank must be in label range: 0 to 3, got 4"),
    (lambda: F.ctc_loss(X, L, [3], [2, 2]), "input_lengths must be of size batch_size=2, got 1"),
    (lambda: F.ctc_loss(X, L, [3, 4], [2, 2]), "Expected input_lengths to be from 0 to 3, got 3 to 4"),
    (lambda: F.ctc_loss(X, L, [3, 3], [2, 3]), "expected targets for 2 samples with up to 3 labels"),
    (lambda: F.ctc_loss(X, L.ravel(), [3, 3], [2, 1]), "or all 3 labels in a row, got shape"),
    (lambda: F.ctc_loss(X, L + 1, [3, 3], [2, 2]), "labels must be in range 0 to 3, got 4"),
])
def test_bad_input_is_named(call, words):
    with pytest.raises(RuntimeError, match=words):
        call()
