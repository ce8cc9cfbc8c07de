"""Layers for images where arrays have no values: written as ONNX models with an open batch, and compiled by JAX."""

import numpy as np
import pytest
from array_libraries import values
from torch_layers import numbers

import agrad
from agrad import nn

LAYERS = {
    "convolution": lambda: nn.Conv2d(4, 6, 3, padding=1, stride=2),
    "transposed": lambda: nn.ConvTranspose2d(4, 2, 3, stride=2),
    "batch normalization": lambda: nn.BatchNorm2d(4).eval(),
    "instance normalization": lambda: nn.InstanceNorm2d(4),
    "layer normalization": lambda: nn.LayerNorm(8),
    "root mean square": lambda: nn.RMSNorm((8, 8)),
    "group normalization": lambda: nn.GroupNorm(2, 4),
    "largest element": lambda: nn.MaxPool2d(3, 2, 1),
    "mean": lambda: nn.AvgPool2d(2, padding=1, count_include_pad=False),
    "as many means": lambda: nn.AdaptiveAvgPool2d(3),
    "as many largest": lambda: nn.AdaptiveMaxPool2d(3),
    "reflection": lambda: nn.ReflectionPad2d(2),
    "columns": lambda: nn.Unfold(2),
    "interpolation": lambda: nn.Upsample(scale_factor=2, mode="bilinear"),
    "pixels": lambda: nn.PixelShuffle(2),
}


@pytest.mark.parametrize("name", LAYERS)
def test_a_layer_is_written_as_a_model_for_any_number_of_samples(name, tmp_path):
    runtime = pytest.importorskip("onnxruntime")
    pytest.importorskip("ndonnx")
    layer = LAYERS[name]()
    path = tmp_path / "model.onnx"
    agrad.export.onnx(lambda x: layer(x), (agrad.asarray(numbers((2, 4, 8, 8))),), path, dynamic_axes={"x": {0: "N"}})
    x = numbers((5, 4, 8, 8), 1)
    (found,) = runtime.InferenceSession(path).run(None, {"x": x})
    np.testing.assert_allclose(found, values(layer(agrad.asarray(x))), atol=1e-8)


def test_the_mean_of_all_positions_needs_not_know_how_many_there_are(tmp_path):
    runtime = pytest.importorskip("onnxruntime")
    pytest.importorskip("ndonnx")
    layer, path = nn.AdaptiveAvgPool2d(1), tmp_path / "model.onnx"
    example = agrad.asarray(numbers((2, 4, 8, 8)))
    agrad.export.onnx(lambda x: layer(x), (example,), path, dynamic_axes={"x": {2: "H", 3: "W"}})
    x = numbers((2, 4, 5, 6))
    (found,) = runtime.InferenceSession(path).run(None, {"x": x})
    np.testing.assert_allclose(found, x.mean(axis=(2, 3), keepdims=True), atol=1e-12)


def test_a_network_and_its_gradient_are_compiled():
    jax = pytest.importorskip("jax")

    def both(array):
        x = agrad.asarray(array).requires_grad_()
        y = network(x)
        return y.detach().array, agrad.autograd.grad((y * y).sum(), x)[0].array

    with agrad.use_backend("jax"):
        network = nn.Sequential(
            nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.MaxPool2d(2), nn.GroupNorm(2, 4), nn.AdaptiveAvgPool2d(2),
        ).eval()
        x = jax.numpy.asarray(numbers((2, 1, 8, 8)))
        for found, expected in zip(jax.jit(both)(x), both(x), strict=True):
            np.testing.assert_allclose(found, expected, atol=1e-8)
