"""Normalizing layers and functions: PyTorch's numbers, gradients, running moments, words; bad input; backends."""

import re

import numpy as np
import pytest
from array_libraries import values
from torch_layers import agree, close, moved, numbers, words

import agrad
import agrad.nn.functional as F
from agrad import nn
from agrad.autograd import gradcheck, gradgradcheck

LAYERS = [      # name, arguments, shapes of inputs
    ("BatchNorm1d", (3,), {}, [(4, 3), (4, 3, 5)]),
    ("BatchNorm1d", (3,), {"momentum": None}, [(4, 3), (4, 3, 5)]),
    ("BatchNorm1d", (3,), {"bias": False}, [(4, 3)]),
    ("BatchNorm2d", (3,), {}, [(4, 3, 5, 2), (1, 3, 2, 2)]),
    ("BatchNorm2d", (3,), {"affine": False, "eps": 0.1}, [(4, 3, 5, 2)]),
    ("BatchNorm2d", (3,), {"track_running_stats": False}, [(4, 3, 5, 2)]),
    ("BatchNorm2d", (3,), {"momentum": 0.5, "eps": 1e-3}, [(4, 3, 5, 2)]),
    ("BatchNorm3d", (2,), {}, [(2, 2, 3, 2, 2)]),
    ("InstanceNorm1d", (3,), {}, [(4, 3, 5), (3, 5)]),
    ("InstanceNorm1d", (3,), {"affine": True, "track_running_stats": True}, [(4, 3, 5), (3, 5)]),
    ("InstanceNorm2d", (3,), {"affine": True, "bias": False}, [(4, 3, 5, 2), (3, 5, 2)]),
    ("InstanceNorm3d", (2,), {"track_running_stats": True}, [(2, 2, 3, 2, 2), (2, 3, 2, 2)]),
    ("LayerNorm", (5,), {}, [(5,), (3, 5), (2, 3, 5)]),
    ("LayerNorm", ((3, 5),), {"bias": False, "eps": 1e-3}, [(3, 5), (2, 3, 5)]),
    ("LayerNorm", (5,), {"elementwise_affine": False}, [(3, 5)]),
    ("RMSNorm", (5,), {}, [(5,), (3, 5), (2, 3, 5)]),
    ("RMSNorm", ((3, 5),), {"eps": 1e-3, "elementwise_affine": False}, [(2, 3, 5)]),
    ("GroupNorm", (2, 4), {}, [(3, 4), (3, 4, 5), (2, 4, 2, 3)]),
    ("GroupNorm", (4, 4), {"affine": False}, [(3, 4, 5)]),
    ("GroupNorm", (1, 4), {"bias": False}, [(3, 4, 5)]),
]


def pair(name, args, kwargs, dtype="float64"):
    """PyTorch's layer and ours with its parameters, which are not what a layer begins with."""
    torch = pytest.importorskip("torch")
    theirs = getattr(torch.nn, name)(*args, **kwargs, dtype=getattr(torch, dtype))
    for i, t in enumerate(theirs.parameters()):
        t.data = torch.tensor(numbers(tuple(t.shape), i, dtype))
    ours = getattr(nn, name)(*args, **kwargs, dtype=getattr(agrad, dtype))
    moved(theirs, ours)
    return ours, theirs


def same_state(ours, theirs, rtol=1e-12):
    expected = theirs.state_dict()
    assert list(ours.state_dict()) == list(expected)
    for name, value in ours.state_dict().items():
        close(value, expected[name], rtol, rtol)


@pytest.mark.parametrize(("name", "args", "kwargs", "shapes"), LAYERS, ids=str)
def test_a_layer_is_torchs_in_training_and_evaluation(name, args, kwargs, shapes):
    """Over several steps, for the running moments move, and then by these."""
    for shape in shapes:
        ours, theirs = pair(name, args, kwargs)
        for step in range(3):
            agree(ours, theirs, numbers(shape, step) * (step + 1) + step)
            same_state(ours, theirs)
            ours.zero_grad()
            theirs.zero_grad()
        ours.eval()
        theirs.eval()
        agree(ours, theirs, numbers(shape, 7))
        same_state(ours, theirs)


@pytest.mark.parametrize(("name", "args", "kwargs", "shapes"), LAYERS, ids=str)
def test_text_and_parameters_of_a_layer_are_torchs(name, args, kwargs, shapes):
    theirs = getattr(pytest.importorskip("torch").nn, name)
    assert repr(getattr(nn, name)(*args, **kwargs)) == repr(theirs(*args, **kwargs))
    assert words(getattr(nn, name)) == words(theirs)


@pytest.mark.parametrize("name", ["batch_norm", "instance_norm", "layer_norm", "group_norm", "rms_norm",
                                  "local_response_norm"])
def test_the_parameters_of_a_function_are_torchs(name):
    assert words(getattr(F, name)) == words(getattr(pytest.importorskip("torch").nn.functional, name))


@pytest.mark.parametrize(("name", "args", "kwargs", "shapes"), LAYERS, ids=str)
def test_single_precision_stays_single(name, args, kwargs, shapes):
    ours, theirs = pair(name, args, kwargs, "float32")
    agree(ours, theirs, numbers(shapes[-1], dtype="float32") + 3, rtol=1e-4, atol=1e-5)
    same_state(ours, theirs, 1e-6)


@pytest.mark.parametrize("shape", [(2, 5, 3), (5, 5, 2, 2), (1, 4, 2, 2, 2)], ids=str)
@pytest.mark.parametrize("size", [1, 2, 3, 9])
def test_the_response_of_near_channels(shape, size):
    torch = pytest.importorskip("torch")
    ours, theirs = (m.LocalResponseNorm(size, 0.5, 0.6, 1.5) for m in (nn, torch.nn))
    agree(ours, theirs, numbers(shape))
    assert repr(ours) == repr(theirs)
    assert words(nn.LocalResponseNorm) == words(torch.nn.LocalResponseNorm)


# -------------------------------------------------------------------------------------------------------------- numbers


@pytest.mark.parametrize("call", [
    lambda x: F.batch_norm(x, None, None, training=True), lambda x: F.layer_norm(x, (16,)),
    lambda x: F.group_norm(x, 2), lambda x: F.instance_norm(agrad.reshape(x, (1, 16, -1))).reshape(x.shape),
])
def test_a_large_mean_takes_no_digits_from_the_variance(call):
    small = numbers((16, 16))
    x = (small + 1e4).astype("float32")
    exact = values(call(agrad.tensor(x.astype("float64"))))
    np.testing.assert_allclose(values(call(agrad.tensor(x))), exact, atol=2e-3)
    assert 0.9 < values(call(agrad.tensor(x))).std() < 1.1


def test_equal_elements_are_all_zero_and_have_a_gradient():
    x = agrad.full((4, 3), 0.1, requires_grad=True)
    for y in (F.batch_norm(x, None, None, training=True), F.layer_norm(x, (3,))):
        np.testing.assert_allclose(values(y), 0, atol=1e-12)
        (gradient,) = agrad.autograd.grad((y * agrad.arange(3.0)).sum(), x)
        assert np.isfinite(values(gradient)).all()


def test_half_precision_is_summed_in_single():
    torch = pytest.importorskip("torch")
    x = (numbers((4, 600)) * 300).astype("float16")
    ours = F.layer_norm(agrad.tensor(x), (600,))
    theirs = torch.nn.functional.layer_norm(torch.tensor(x), (600,))
    assert ours.dtype == agrad.float16
    np.testing.assert_allclose(values(ours).astype(float), theirs.numpy().astype(float), atol=5e-3)


@pytest.mark.parametrize("library", ["numpy", "torch"])
@pytest.mark.parametrize(("name", "args", "kwargs", "shapes"), LAYERS[3:], ids=str)
def test_half_precision_has_gradients_too(name, args, kwargs, shapes, library):
    pytest.importorskip(library)
    results = []
    for dtype in (agrad.float16, agrad.float64):
        with agrad.use_backend(library):
            layer = getattr(nn, name)(*args, **kwargs, dtype=dtype)
            x = agrad.tensor(numbers(shapes[-1]), dtype=dtype, requires_grad=True)
            y = layer(x)
            y.backward(agrad.tensor(numbers(tuple(y.shape), 1), dtype=dtype))
        results.append([y.detach(), x.grad, *(p.grad for p in layer.parameters())])
    for found, expected in zip(*results, strict=True):
        assert found.dtype == agrad.float16
        np.testing.assert_allclose(values(found).astype(float), values(expected), rtol=0.01, atol=0.02)


def test_running_moments_are_written_in_place_and_keep_their_array():
    layer = nn.BatchNorm1d(2)
    mean = layer.running_mean
    layer(agrad.tensor([[1.0, 2.0], [3.0, 4.0]]))
    assert layer.running_mean is mean
    assert not mean.requires_grad
    assert values(layer.num_batches_tracked) == 1
    layer.reset_running_stats()
    assert values(mean).tolist() == [0.0, 0.0]
    assert values(layer.num_batches_tracked) == 0


def test_no_samples():
    layer = nn.BatchNorm1d(3)
    assert layer(agrad.zeros((0, 3))).shape == (0, 3)
    assert np.isfinite(values(layer.running_var)).all()
    assert F.layer_norm(agrad.zeros((0, 4)), (4,)).shape == (0, 4)
    assert F.group_norm(agrad.zeros((0, 4)), 2).shape == (0, 4)
    assert F.group_norm(agrad.zeros((2, 4, 0)), 2).shape == (2, 4, 0)
    assert F.rms_norm(agrad.zeros((0, 4)), (4,)).shape == (0, 4)


SECOND = [
    (lambda x, w, b: F.batch_norm(x, None, None, w, b, training=True), (4, 3, 2), (3,)),
    (lambda x, w, b: F.instance_norm(x, None, None, w, b), (2, 3, 4), (3,)),
    (lambda x, w, b: F.layer_norm(x, (3, 2), w, b), (4, 3, 2), (3, 2)),
    (lambda x, w, b: F.group_norm(x, 2, w, b), (2, 4, 3), (4,)),
    (lambda x, w, b: F.rms_norm(x, (3,), w, 0.1) + b, (4, 3), (3,)),
    (lambda x, w, b: F.local_response_norm(x, 2, 0.5) * w + b, (2, 3, 2), (1,)),
]


@pytest.mark.parametrize(("call", "shape", "own"), SECOND)
def test_second_derivatives(call, shape, own):
    x, w, b = (agrad.tensor(numbers(s, i), requires_grad=True) for i, s in enumerate((shape, own, own)))
    assert gradcheck(call, (x, w, b), check_forward_ad=True)
    assert gradgradcheck(call, (x, w, b))


@pytest.mark.parametrize(("call", "shape", "own"), SECOND[:5])
def test_samples_of_vmap_are_normalized_each(call, shape, own):
    x, w, b = (agrad.tensor(numbers((3, *s), i)) for i, s in enumerate((shape, own, own)))
    each = [values(call(x[i], w[i], b[i])) for i in range(3)]
    np.testing.assert_allclose(values(agrad.vmap(call)(x, w, b)), np.stack(each), atol=1e-12)
    each = [values(call(x[0], w[i], b[0])) for i in range(3)]
    np.testing.assert_allclose(values(agrad.vmap(call, (None, 0, None))(x[0], w, b[0])), np.stack(each), atol=1e-12)


def test_the_graph_keeps_the_input_and_its_moments_only():
    x = agrad.tensor(numbers((64, 8, 10, 10)), requires_grad=True)
    layer = nn.BatchNorm2d(8, dtype=agrad.float64)
    report = agrad.autograd.graph.report(layer(x * 2.0))
    assert report.bytes < 1.1 * 8 * x.size


# ------------------------------------------------------------------------------------------------------------- backends


def several(x):
    """Some layers, one behind the other: results, gradients and running moments."""
    layers = [nn.BatchNorm1d(4, dtype=agrad.float64), nn.LayerNorm(6, dtype=agrad.float64),
              nn.GroupNorm(2, 4, dtype=agrad.float64), nn.InstanceNorm1d(4), nn.RMSNorm(6, dtype=agrad.float64)]
    x = agrad.tensor(x, requires_grad=True)
    y = x
    for layer in layers:
        y = layer(y + x)
    y.sin().sum().backward()
    parameters = [p.grad for layer in layers for p in layer.parameters()]
    return [values(t) for t in (y, x.grad, *parameters, *layers[0].state_dict().values())]


def test_all_backends_agree(backend):
    found = several(numbers((3, 4, 6)))
    with agrad.use_backend("numpy"):
        expected = several(numbers((3, 4, 6)))
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize("library", ["jax", "dask"])
def test_further_libraries_agree(library):
    pytest.importorskip(library)
    with agrad.use_backend(library):
        found = several(numbers((3, 4, 6)))
    for a, b in zip(found, several(numbers((3, 4, 6))), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-10)


# ------------------------------------------------------------------------------------------------------------ bad input


def zeros(*shape):
    return agrad.zeros(shape)


ONE = "Expected more than 1 value per channel when training, got input size "
WRONG = [
    (lambda: nn.BatchNorm2d(3)(zeros(2, 4, 5, 5)), "BatchNorm2d: expected input with 3 channels, (N, 3, H, W), got "
     "shape (2, 4, 5, 5)"),
    (lambda: nn.BatchNorm2d(3)(zeros(2, 3, 5)), "BatchNorm2d: expected input with 3 channels, (N, 3, H, W), got shape"),
    (lambda: nn.BatchNorm1d(3)(zeros(3)), "BatchNorm1d: expected input with 3 channels, (N, 3) or (N, 3, L), got"),
    (lambda: nn.BatchNorm1d(3)(zeros(1, 3)), ONE + "(1, 3)"),
    (lambda: nn.InstanceNorm1d(3)(zeros(2, 3, 1)), "Expected more than 1 spatial element when training, got input"),
    (lambda: nn.InstanceNorm2d(3, affine=True)(zeros(2, 4, 5, 5)), "InstanceNorm2d: expected input with 3 channels, "
     "(N, 3, H, W) or (3, H, W), got shape (2, 4, 5, 5)"),
    (lambda: nn.InstanceNorm2d(3)(zeros(2, 4)), "InstanceNorm2d: expected input with 3 channels"),
    (lambda: nn.GroupNorm(2, 3), "num_channels (3) must be divisible by num_groups (2)"),
    (lambda: nn.GroupNorm(2, 4)(zeros(2, 6)), "GroupNorm: expected input with 4 channels, (N, 4, ...), got shape"),
    (lambda: nn.LayerNorm((3, 4))(zeros(2, 4)), "LayerNorm: expected input of shape (*, 3, 4), got shape (2, 4)"),
    (lambda: nn.RMSNorm(4)(zeros(2, 3)), "RMSNorm: expected input of shape (*, 4), got shape (2, 3)"),
    (lambda: F.batch_norm(zeros(3), None, None), "batch_norm: expected input of shape (N, C, ...), got shape (3,)"),
    (lambda: F.batch_norm(zeros(2, 3), zeros(4), zeros(3)), "running_mean should contain 3 elements not 4"),
    (lambda: F.batch_norm(zeros(2, 3), zeros(3), None, training=True), "running_mean and running_var must either both"),
    (lambda: F.batch_norm(zeros(2, 3), None, None), "Expected running_mean and running_var to be defined when"),
    (lambda: F.instance_norm(zeros(2, 3, 4), use_input_stats=False), "to be defined when use_input_stats is false"),
    (lambda: F.layer_norm(zeros(2, 3), ()), "layer_norm: normalized_shape needs one length at least, got ()"),
    (lambda: F.layer_norm(zeros(2, 3), (3,), zeros(1)), "layer_norm: expected weight of shape (3,), got shape (1,)"),
    (lambda: F.group_norm(zeros(2, 3), 2), "Expected number of channels in input to be divisible by num_groups"),
    (lambda: F.group_norm(zeros(1, 3), 3), ONE + "(1, 3)"),
    (lambda: F.group_norm(zeros(3), 3), "group_norm: expected input of shape (N, C, ...), got shape (3,)"),
    (lambda: F.local_response_norm(zeros(2, 3), 2), "Expected 3D or higher dimensionality input (got 2 dimensions)"),
    (lambda: F.local_response_norm(zeros(2, 3, 1), 0), "local_response_norm: size must be positive, got 0"),
]


@pytest.mark.parametrize(("call", "text"), WRONG, ids=[text[:40] for _, text in WRONG])
def test_bad_input_is_named(call, text):
    with pytest.raises(ValueError, match=re.escape(text)):
        call()


def test_a_number_of_features_that_is_not_used_is_said():
    with pytest.warns(UserWarning, match=r"input's size at dim=1 does not match num_features"):
        nn.InstanceNorm1d(3)(agrad.zeros((2, 4, 5)))


def test_integers_are_refused():
    with pytest.raises(TypeError, match=r"takes real floating-point numbers, not int64"):
        F.layer_norm(agrad.zeros((2, 3), dtype=agrad.int64), (3,))


def test_a_rejected_batch_leaves_the_running_moments_alone():
    layer = nn.BatchNorm1d(2)
    for wrong in (agrad.ones((1, 2)), agrad.ones((3, 3))):
        with pytest.raises(ValueError, match=r"BatchNorm1d|more than 1 value"):
            layer(wrong)
    assert values(layer.running_mean).tolist() == [0.0, 0.0]
    assert values(layer.num_batches_tracked) == 0


def test_jax_without_64_bit_numbers():
    """JAX's own default: it counts batches in int32."""
    pytest.importorskip("jax")
    from jax_arrays import enable_x64

    with enable_x64(False), agrad.use_backend("jax"):
        layer = nn.BatchNorm1d(2)
        layer(agrad.asarray([[1.0, 2.0], [3.0, 5.0]]))
        assert (layer.num_batches_tracked.dtype, layer.num_batches_tracked.item()) == (agrad.int32, 1)
        again = nn.BatchNorm1d(2)
        again.load_state_dict(layer.state_dict())
        assert again.num_batches_tracked.item() == 1
