"""agrad.nn.utils: gradients clipped in place and parameters as a vector, the numbers compared with torch's."""

import re

import numpy as np
import pytest
from array_libraries import values

import agrad
from agrad import nn

GRADIENTS = [np.array([[1.0, -2.0], [0.5, 4.0]]), np.array(-3.0), np.zeros((0, 2)), np.array([0.25])]
NORMS = [1.0, 2.0, 3.0, 0.5, float("inf"), "inf", 0.0]


def with_gradients(m, gradients=GRADIENTS):
    parameters = []
    for g in gradients:
        p = m.nn.Parameter(m.asarray(np.zeros_like(g)))
        p.grad = m.asarray(g.copy())
        parameters.append(p)
    return [*parameters, m.nn.Parameter(m.asarray(np.zeros(2)))]     # the last has no gradient


def gradients_of(parameters):
    return [values(p.grad) for p in parameters if p.grad is not None]


@pytest.mark.parametrize("norm_type", NORMS)
@pytest.mark.parametrize("max_norm", [0.5, 3, 1e6])
def test_gradients_are_scaled_as_by_torch(norm_type, max_norm):
    torch = pytest.importorskip("torch")
    ours, theirs = with_gradients(agrad), with_gradients(torch)
    if norm_type in ("inf", float("inf")):      # of nothing there is no largest element
        ours, theirs = ours[:2], theirs[:2]
    before = [p.grad for p in ours]
    norm = nn.utils.clip_grad_norm_(ours, max_norm, norm_type)
    expected = torch.nn.utils.clip_grad_norm_(theirs, max_norm, norm_type)
    np.testing.assert_allclose(values(norm), values(expected), rtol=1e-12)
    for found, wanted in zip(gradients_of(ours), gradients_of(theirs), strict=True):
        np.testing.assert_allclose(found, wanted, rtol=1e-12)
    assert all(p.grad is g for p, g in zip(ours, before, strict=True))


def test_one_parameter_or_none():
    p = with_gradients(agrad)[0]
    norm = float(np.linalg.norm(GRADIENTS[0]))
    assert float(nn.utils.clip_grad_norm_(p, 1.0)) == pytest.approx(norm)
    assert float(nn.utils.get_total_norm(p.grad)) == pytest.approx(1.0, rel=1e-5)
    for nothing in ([], [nn.Parameter(agrad.zeros(2))]):
        assert float(nn.utils.clip_grad_norm_(nothing, 1.0)) == 0.0
        nn.utils.clip_grad_value_(nothing, 1.0)


def test_an_exhausted_generator_is_worth_a_warning():
    parameters = (p for p in with_gradients(agrad))
    list(parameters)
    with pytest.warns(UserWarning, match="`parameters` is an empty generator, no gradient clipping will occur"):
        nn.utils.clip_grad_norm_(parameters, 1.0)


@pytest.mark.filterwarnings("ignore:invalid value encountered in multiply:RuntimeWarning")     # inf * 0, by NumPy
@pytest.mark.parametrize("bad", [np.inf, -np.inf, np.nan])
def test_a_norm_that_is_not_finite(bad):
    parameters = with_gradients(agrad, [np.array([1.0, 2.0]), np.array([bad])])
    text = (
        "The total norm of order 2.0 for gradients from `parameters` is non-finite, so it cannot be clipped. To "
        "disable this error and scale the gradients by the non-finite norm anyway, set `error_if_nonfinite=False`"
    )
    with pytest.raises(RuntimeError, match=re.escape(text)):
        nn.utils.clip_grad_norm_(parameters, 1.0, error_if_nonfinite=True)
    assert parameters[0].grad.tolist() == [1.0, 2.0]
    assert not np.isfinite(float(nn.utils.clip_grad_norm_(parameters, 1.0)))
    expected = [np.nan, np.nan] if np.isnan(bad) else [0.0, 0.0]
    np.testing.assert_array_equal(values(parameters[0].grad), expected)


def test_what_is_no_tensor_is_refused():
    for function in (nn.utils.clip_grad_norm_, nn.utils.clip_grad_value_):
        with pytest.raises(TypeError, match="expected a Tensor or an iterable of Tensors, got int"):
            function(3, 1.0)
        with pytest.raises(TypeError, match="expected Tensors, got str among them"):
            function({"a": agrad.ones(2)}, 1.0)


def test_the_norm_in_two_parts():
    ours = with_gradients(agrad)
    norm = nn.utils.get_total_norm([p.grad for p in ours if p.grad is not None])
    nn.utils.clip_grads_with_norm_(ours, 1.0, norm)
    again = with_gradients(agrad)
    nn.utils.clip_grad_norm_(again, 1.0)
    for found, wanted in zip(gradients_of(ours), gradients_of(again), strict=True):
        np.testing.assert_array_equal(found, wanted)


@pytest.mark.parametrize("dtypes", [
    ("float32", "float64"), ("float16", "float16"), ("float64", "complex128"), ("complex64", "complex64"),
])
def test_dtypes_stay(dtypes):
    parameters = [nn.Parameter(agrad.zeros(2, dtype=dtype)) for dtype in dtypes]
    for p in parameters:
        p.grad = agrad.asarray([3.0, 4.0]).to(p.dtype)
    norm = nn.utils.clip_grad_norm_(parameters, 1.0)
    assert float(norm) == pytest.approx(np.sqrt(50), rel=1e-3)
    for p, dtype in zip(parameters, dtypes, strict=True):
        assert p.grad.dtype == getattr(agrad, dtype)
        np.testing.assert_allclose(values(p.grad), np.array([3, 4]) / np.sqrt(50), rtol=2e-3)


def test_values_are_clipped_as_by_torch():
    torch = pytest.importorskip("torch")
    ours, theirs = with_gradients(agrad), with_gradients(torch)
    before = [p.grad for p in ours]
    nn.utils.clip_grad_value_(ours, 1.5)
    torch.nn.utils.clip_grad_value_(theirs, 1.5)
    for found, wanted in zip(gradients_of(ours), gradients_of(theirs), strict=True):
        np.testing.assert_array_equal(found, wanted)
    assert all(p.grad is g for p, g in zip(ours, before, strict=True))


def test_clipping_and_vectors_on_every_backend(backend):
    p = nn.Parameter(agrad.asarray([3.0, 4.0]))
    agrad.sum(p * p).backward()
    norm = nn.utils.clip_grad_norm_([p], 1.0)
    np.testing.assert_allclose(values(norm), 10.0)
    np.testing.assert_allclose(values(p.grad), [0.6, 0.8], rtol=1e-6)
    nn.utils.clip_grad_value_([p], 0.7)
    np.testing.assert_allclose(values(p.grad), [0.6, 0.7], rtol=1e-6)
    assert p.grad.backend_.name == backend
    vector = nn.utils.parameters_to_vector([p, nn.Parameter(agrad.asarray([[5.0]]))])
    np.testing.assert_allclose(values(vector), [3.0, 4.0, 5.0])
    if backend != "sparse":     # its arrays cannot be written
        nn.utils.vector_to_parameters(vector[:2] * 2.0, [p])
        np.testing.assert_allclose(values(p), [6.0, 8.0])


def test_parameters_on_two_backends_are_clipped_together():
    pytest.importorskip("jax")
    parameters = [nn.Parameter(agrad.zeros(1)), nn.Parameter(agrad.zeros(1).to("jax"))]
    for p, g in zip(parameters, (3.0, 4.0), strict=True):
        p.grad = agrad.asarray([g]).to(p)
    norm = nn.utils.clip_grad_norm_(parameters, 1.0)
    assert norm.backend_.name == "numpy"
    assert [p.grad.backend_.name for p in parameters] == ["numpy", "jax"]
    np.testing.assert_allclose([float(p.grad[0]) for p in parameters], [0.6, 0.8], rtol=1e-6)


def test_vectors_of_parameters_and_back():
    module = nn.Module()
    module.a = nn.Parameter(agrad.reshape(agrad.arange(6.0), (2, 3)))
    module.b = nn.Parameter(agrad.asarray(7.0))
    module.empty = nn.Parameter(agrad.zeros((0, 2)))
    vector = nn.utils.parameters_to_vector(module.parameters())
    assert vector.tolist() == [0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 7.0]
    (vector * agrad.arange(7.0)).sum().backward()       # recorded
    assert module.a.grad.tolist() == [[0.0, 1.0, 2.0], [3.0, 4.0, 5.0]]
    before = module.a
    nn.utils.vector_to_parameters(agrad.arange(7.0) * 10.0, module.parameters())
    assert module.a is before
    assert module.a.tolist() == [[0.0, 10.0, 20.0], [30.0, 40.0, 50.0]]
    assert module.b.item() == 60.0
    assert module.a.is_leaf
    for wrong, error in ((agrad.ones(6), ValueError), (agrad.ones((1, 7)), ValueError), ([1.0] * 7, TypeError)):
        with pytest.raises(error, match="expected"):
            nn.utils.vector_to_parameters(wrong, module.parameters())
    assert module.b.item() == 60.0
