"""Padding in PyTorch's form, as a function and as layers."""

import re

import numpy as np
import pytest
from array_libraries import values
from torch_layers import agree, numbers, words

import agrad
import agrad.nn.functional as F
from agrad import nn
from agrad.autograd import gradgradcheck

WIDTHS = [
    ((2, 3, 5), (2, 1)),
    ((2, 3, 5), (0, 2)),
    ((2, 3, 5, 4), (2, 1, 0, 3)),
    ((3, 5, 4), (1, 1, 2, 2)),
    ((2, 3, 4, 4, 4), (1, 0, 2, 1, 1, 1)),
]
KINDS = ["ZeroPad", "ReflectionPad", "ReplicationPad", "CircularPad"]


@pytest.mark.parametrize("mode", ["constant", "reflect", "replicate", "circular"])
@pytest.mark.parametrize(("shape", "widths"), WIDTHS, ids=str)
def test_padding_is_torchs(shape, widths, mode):
    their = pytest.importorskip("torch").nn.functional
    agree(lambda x: F.pad(x, widths, mode), lambda x: their.pad(x, widths, mode), numbers(shape))


@pytest.mark.parametrize("widths", [(1,) * 4, (-1, 2, 1, -2), (-1, -1, -2, -1), (0, 0, 0, 0), ()], ids=str)
def test_a_constant_and_widths_that_cut(widths):
    their = pytest.importorskip("torch").nn.functional
    agree(lambda x: F.pad(x, widths, value=2.5), lambda x: their.pad(x, widths, value=2.5), numbers((3, 4, 5)))


@pytest.mark.parametrize("n", [1, 2, 3])
@pytest.mark.parametrize("kind", [*KINDS, "ConstantPad"])
def test_layers_are_torchs(kind, n):
    torch = pytest.importorskip("torch")
    name, more = f"{kind}{n}d", (1.5,) * (kind == "ConstantPad")
    assert words(getattr(nn, name)) == words(getattr(torch.nn, name))
    for widths in (1, tuple(range(2 * n, 0, -1))):
        ours, theirs = (getattr(m, name)(widths, *more) for m in (nn, torch.nn))
        assert repr(ours) == repr(theirs)
        for lead in ((2, 3), (3,)):
            agree(ours, theirs, numbers((*lead, 8, 7, 9)[: len(lead) + n]))


def test_all_backends_agree(backend):
    x = numbers((2, 3, 4, 5))

    def run():
        t = agrad.tensor(x, requires_grad=True)
        padded = [F.pad(t, (2, 1, 0, 3), mode) for mode in ("constant", "reflect", "replicate", "circular")]
        sum(p.sin().sum() for p in padded).backward()
        return [values(p) for p in (*padded, t.grad)]

    found = run()
    with agrad.use_backend("numpy"):
        expected = run()
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-12)


def test_second_derivatives():
    x = agrad.tensor(numbers((2, 4)), requires_grad=True)
    for mode in ("constant", "reflect", "replicate", "circular"):
        assert gradgradcheck(lambda x, mode=mode: F.pad(x, (2, 1), mode) ** 2, (x,))


WRONG = [
    (lambda: F.pad(agrad.zeros((1, 3)), (1, 2, 3)), "pad: expected a pair of widths for each of at most 2 axes"),
    (lambda: F.pad(agrad.zeros((1, 3)), (1,) * 6), "pad: expected a pair of widths for each of at most 2 axes"),
    (lambda: F.pad(agrad.zeros((1, 3)), (1, 1), "same"), "pad: mode must be one of 'constant', 'reflect'"),
    (lambda: F.pad(agrad.zeros((1, 3)), (1, 1), "reflect", 1.0), "pad: mode 'reflect' takes no value"),
    (lambda: F.pad(agrad.zeros((1, 3)), (3, 0), "reflect"), "pad: mode 'reflect' can add 0 to 2 elements on either "
     "side of axis 1 of an input of shape (1, 3), not (3, 0)"),
    (lambda: F.pad(agrad.zeros((1, 3)), (0, 4), "circular"), "can add 0 to 3 elements"),
    (lambda: F.pad(agrad.zeros((1, 0)), (0, 1), "replicate"), "can add 0 to 0 elements"),
    (lambda: F.pad(agrad.zeros((1, 3)), (-1, 1), "circular"), "can add 0 to 3 elements"),
    (lambda: nn.ReflectionPad1d(4)(agrad.zeros((1, 1, 3))), "ReflectionPad1d: mode 'reflect' can add 0 to 2"),
    (lambda: nn.ZeroPad2d(1)(agrad.zeros((3, 3))), "ZeroPad2d: expected input of shape (N, C, H, W) or (C, H, W), got"),
    (lambda: nn.ZeroPad2d((1, 2)), "ZeroPad2d: padding must be an int or a tuple of 4 ints, got (1, 2)"),
]


@pytest.mark.parametrize(("call", "text"), WRONG, ids=[text[:40] for _, text in WRONG])
def test_bad_input_is_named(call, text):
    with pytest.raises(ValueError, match=re.escape(text)):
        call()
