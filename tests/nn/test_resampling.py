"""Interpolation, and channels that become positions: PyTorch's numbers and gradients, bad input, backends."""

import re
from functools import partial

import numpy as np
import pytest
from array_libraries import values
from hypothesis import given
from hypothesis import strategies as st
from torch_layers import agree, numbers, words

import agrad
import agrad.nn.functional as F
from agrad import nn

LENGTHS = (5, 4, 6)
MODES = {1: ("linear",), 2: ("bilinear", "bicubic"), 3: ("trilinear",)}
SIZES = [
    {"size": 7}, {"size": 3}, {"size": 1}, {"scale_factor": 2}, {"scale_factor": 1.7}, {"scale_factor": 0.6},
    {"scale_factor": 1.7, "recompute_scale_factor": True}, {"size": (9, 2, 6)}, {"scale_factor": (1.5, 2.0, 0.5)},
]


@pytest.mark.parametrize("n", [1, 2, 3])
@pytest.mark.parametrize("options", SIZES, ids=str)
def test_interpolation_is_torchs(options, n):
    their = pytest.importorskip("torch").nn.functional
    options = {k: v[:n] if isinstance(v, tuple) else v for k, v in options.items()}
    x = numbers((2, 3, *LENGTHS[:n]))
    modes = [(mode, None) for mode in ("nearest", "nearest-exact", "area")]
    for mode, align in modes + [(mode, align) for mode in MODES[n] for align in (None, False, True)]:
        ours, theirs = (partial(m.interpolate, mode=mode, align_corners=align, **options) for m in (F, their))
        agree(ours, theirs, x)


@given(st.integers(1, 12), st.integers(1, 24), st.sampled_from(["nearest", "nearest-exact", "linear", "area"]))
def test_any_two_lengths(n, m, mode):
    their = pytest.importorskip("torch").nn.functional
    agree(lambda x: F.interpolate(x, m, mode=mode), lambda x: their.interpolate(x, m, mode=mode), numbers((1, 2, n)))


LAYERS = [
    ("Upsample", (), {"scale_factor": 2}), ("Upsample", ((3, 4),), {"mode": "bilinear"}),
    ("Upsample", (), {"scale_factor": (2, 1.5), "mode": "bicubic", "align_corners": True}),
    ("UpsamplingNearest2d", (7,), {}), ("UpsamplingBilinear2d", (), {"scale_factor": 3}),
    ("PixelShuffle", (2,), {}), ("PixelUnshuffle", (2,), {}), ("ChannelShuffle", (4,), {}),
]


@pytest.mark.parametrize(("name", "args", "kwargs"), LAYERS)
def test_a_layer_is_torchs(name, args, kwargs):
    theirs = getattr(pytest.importorskip("torch").nn, name)
    assert repr(getattr(nn, name)(*args, **kwargs)) == repr(theirs(*args, **kwargs))
    assert words(getattr(nn, name)) == words(theirs)
    agree(getattr(nn, name)(*args, **kwargs), theirs(*args, **kwargs), numbers((2, 8, 6, 4)))


def test_all_backends_agree(backend):
    x = numbers((2, 8, 6, 4))

    def run():
        t = agrad.tensor(x, requires_grad=True)
        results = [
            F.interpolate(t, (7, 9), mode="bicubic"), F.interpolate(t, scale_factor=2), F.pixel_shuffle(t, 2),
            F.pixel_unshuffle(t, 2), F.channel_shuffle(t, 4),
        ]
        sum(r.sin().sum() for r in results).backward()
        return [values(r) for r in (*results, t.grad)]

    found = run()
    with agrad.use_backend("numpy"):
        expected = run()
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-10)


def zeros(*shape):
    return agrad.zeros(shape)


WRONG = [
    (lambda: F.interpolate(zeros(1, 1, 4)), "either size or scale_factor should be defined"),
    (lambda: F.interpolate(zeros(1, 1, 4), 2, 2.0), "only one of size or scale_factor should be defined"),
    (lambda: F.interpolate(zeros(1, 1, 4), 2, mode="cubic"), "interpolate: mode must be one of 'nearest'"),
    (lambda: F.interpolate(zeros(1, 1, 4), 2, mode="bilinear"), "mode 'bilinear' takes an input with 4 axes"),
    (lambda: F.interpolate(zeros(4, 4), 2), "mode 'nearest' takes an input with 3 or 4 or 5 axes"),
    (lambda: F.interpolate(zeros(1, 1, 4), 2, align_corners=True), "align_corners option can only be set with"),
    (lambda: F.interpolate(zeros(1, 1, 4, 4), 2, mode="bilinear", antialias=True), "antialias is not offered"),
    (lambda: F.interpolate(zeros(1, 1, 4), (2, 3)), "interpolate: size must be an int or a tuple of 1 ints"),
    (lambda: F.interpolate(zeros(1, 1, 4), scale_factor=(2.0, 3.0)), "scale_factor must be a number or 1 of them"),
    (lambda: F.interpolate(zeros(1, 1, 4), 0), "interpolate: input and output need positions"),
    (lambda: F.interpolate(zeros(1, 1, 4), 2, recompute_scale_factor=True), "recompute_scale_factor is not meaningful"),
    (lambda: F.pixel_shuffle(zeros(6, 2, 2), 2), "pixel_shuffle: expected input of shape (..., C * 4, H, W), got (6,"),
    (lambda: F.pixel_unshuffle(zeros(6, 3, 2), 2), "pixel_unshuffle: expected input of shape (..., C, H * 2, W * 2)"),
    (lambda: F.channel_shuffle(zeros(1, 6, 2), 4), "channel_shuffle: expected input of shape (N, C * 4, ...)"),
]


@pytest.mark.parametrize(("call", "text"), WRONG, ids=[text[:40] for _, text in WRONG])
def test_bad_input_is_named(call, text):
    with pytest.raises(ValueError, match=re.escape(text)):
        call()
