"""Fourier transforms: values as NumPy's, gradients and node names as PyTorch's, the same errors on every backend.

What the generic checker asks of each rule is in test_rules; here are the transforms as users call them.
"""

import numpy as np
import pytest

import agrad
from agrad import backends

# What each function takes: array-api-strict takes just that, the others real numbers for complex ones too.
LINES = {
    "fft": "complex", "ifft": "complex", "rfft": "real", "irfft": "complex", "hfft": "complex", "ihfft": "real",
}
SPACES = {"fftn": "complex", "ifftn": "complex", "rfftn": "real", "irfftn": "complex"}
SHIFTS = ("fftshift", "ifftshift")
NORMS = ("backward", "ortho", "forward")


def numbers(kind, shape, seed=0):
    rng = np.random.default_rng(seed)
    real = rng.uniform(-1.0, 1.0, shape)
    return real if kind == "real" else real + 1j * rng.uniform(-1.0, 1.0, shape)


def value_and_gradient(function, values, library):
    """The result for an array, and the gradient for a cotangent that depends on the result's shape only."""
    x = library.tensor(values, requires_grad=True)
    y = function(library, x)
    kind = "complex" if "complex" in str(y.dtype) else "real"
    cotangent = library.tensor(numbers(kind, tuple(y.shape), seed=1))
    (gradient,) = library.autograd.grad(y, x, cotangent)
    return [(str(part.dtype).rpartition(".")[2], np.asarray(part.detach().tolist())) for part in (y, gradient)]


def agrees_with_pytorch(function, values):
    torch = pytest.importorskip("torch")
    expected = value_and_gradient(function, values, torch)
    for (dtype, found), (wanted, truth) in zip(value_and_gradient(function, values, agrad), expected, strict=True):
        assert dtype == wanted
        np.testing.assert_allclose(found, truth, rtol=1e-12, atol=1e-12)


# ------------------------------------------------------------------------------------------------ values and gradients


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("n", [None, 1, 2, 5, 6, 9])
@pytest.mark.parametrize("name", LINES)
def test_transforms_of_one_axis_are_pytorchs(name, n, norm, backend):
    values = numbers(LINES[name], (3, 6, 2))
    agrees_with_pytorch(lambda m, x: getattr(m.fft, name)(x, n, 1, norm), values)


@pytest.mark.parametrize("length", [2, 3, 4, 5])
@pytest.mark.parametrize("name", LINES)
def test_even_and_odd_lengths_without_n_are_pytorchs(name, length, backend):
    agrees_with_pytorch(lambda m, x: getattr(m.fft, name)(x), numbers(LINES[name], (2, length)))


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize(
    ("s", "axes"),
    [(None, None), (None, (0,)), (None, (2, 0)), ((5, 2), (0, 1)), ((3, 6), (-1, 0)), ((3, 5), None), ((7,), None),
     ((-1, 6), (1, 2)), ((2, -1), (0, 2))],
)
@pytest.mark.parametrize("name", SPACES)
def test_transforms_of_several_axes_are_pytorchs(name, s, axes, norm, backend):
    values = numbers(SPACES[name], (3, 4, 5))
    agrees_with_pytorch(lambda m, x: getattr(m.fft, name)(x, s, axes, norm), values)


@pytest.mark.parametrize("name", [name for name, kind in (LINES | SPACES).items() if kind == "complex"])
def test_real_numbers_count_as_complex_ones(name):
    agrees_with_pytorch(lambda m, x: getattr(m.fft, name)(x), numbers("real", (2, 5)))


@pytest.mark.parametrize("axes", [None, (0,), (-1, 0), 1])
@pytest.mark.parametrize("name", SHIFTS)
def test_shifts_are_pytorchs(name, axes, backend):
    agrees_with_pytorch(lambda m, x: getattr(m.fft, name)(x, axes), numbers("complex", (4, 5)))


@pytest.mark.parametrize("name", LINES | SPACES)
def test_pytorchs_spelling_of_the_axes_is_understood(name, backend):
    words = {"dim": 0, "n": 4} if name in LINES else {"dim": (0, 2)}
    agrees_with_pytorch(lambda m, x: getattr(m.fft, name)(x, **words), numbers((LINES | SPACES)[name], (3, 4, 5)))


@pytest.mark.parametrize("name", LINES | SPACES)
def test_single_precision_stays_single(name, backend):
    kind = (LINES | SPACES)[name]
    dtype = "float32" if kind == "real" else "complex64"
    x = agrad.tensor(numbers(kind, (3, 4)).astype(dtype), requires_grad=True)
    y = getattr(agrad.fft, name)(x)
    assert y.dtype.bits == (64 if y.is_complex() else 32)
    (gradient,) = agrad.autograd.grad(y, x, agrad.ones_like(y))
    assert str(gradient.dtype) == f"agrad.{dtype}"


def test_none_is_the_default_norm(backend):
    x = agrad.tensor(numbers("complex", (4,)), requires_grad=True)
    y = agrad.fft.fft(x, norm=None)
    np.testing.assert_allclose(y.detach().numpy(), np.fft.fft(x.detach().numpy()))
    (gradient,) = agrad.autograd.grad(y, x, agrad.ones_like(y))
    np.testing.assert_allclose(gradient.numpy(), [4, 0, 0, 0], atol=1e-12)


def test_the_energy_of_a_spectrum_is_that_of_the_signal(backend):
    x = agrad.tensor(numbers("complex", (5,)), requires_grad=True)
    agrad.sum(agrad.abs(agrad.fft.fft(x)) ** 2).backward()
    np.testing.assert_allclose(x.grad.numpy(), 2 * 5 * x.detach().numpy())


def test_a_convolution_by_transforms_has_the_gradients_of_one_by_sums(backend):
    a, b = (agrad.tensor(numbers("real", (n,), seed=n), requires_grad=True) for n in (6, 4))
    n = 6 + 4 - 1
    product = agrad.fft.irfft(agrad.fft.rfft(a, n=n) * agrad.fft.rfft(b, n=n), n=n)
    rows = agrad.stack([agrad.pad(b, (i, 5 - i)) for i in range(6)])
    weights = agrad.tensor(numbers("real", (n,)))
    found = agrad.autograd.grad(product, (a, b), weights)
    truth = agrad.autograd.grad(agrad.einsum("i,ij->j", a, rows), (a, b), weights)
    for one, other in zip(found, truth, strict=True):
        np.testing.assert_allclose(one.numpy(), other.numpy(), atol=1e-12)


# ---------------------------------------------------------------------------------------------------------------- nodes

NODES = [(name, kind) for name, takes in (LINES | SPACES).items() for kind in sorted({takes, "real"})]


@pytest.mark.parametrize(("name", "kind"), [*NODES, *((name, "real") for name in SHIFTS)])
def test_a_node_has_pytorchs_name(name, kind):
    torch = pytest.importorskip("torch")
    if (name, kind) in (("fftn", "real"), ("ifftn", "real")):
        kind = "complex"    # PyTorch makes them complex first; both are one node, named after the transform
    names = [
        getattr(m.fft, name)(m.tensor(numbers(kind, (3, 4)), requires_grad=True)).grad_fn.name() for m in (torch, agrad)
    ]
    assert names[0] == names[1]


# ----------------------------------------------------------------------------------------------------- without elements


@pytest.mark.parametrize("name", LINES | SPACES)
def test_a_batch_without_elements_is_transformed(name, backend):
    kind = (LINES | SPACES)[name]
    axes = {"axis": 1} if name in LINES else {"axes": (1, 3)}
    for shape in ((0, 3, 2, 4), (2, 3, 0, 4)):
        x = agrad.tensor(numbers(kind, shape), requires_grad=True)
        y = getattr(agrad.fft, name)(x, **axes)
        whole = getattr(np.fft, name)(numbers(kind, [n or 1 for n in shape]), **axes)
        expected = tuple(0 if a == shape.index(0) else n for a, n in enumerate(whole.shape))
        assert (y.shape, y.is_complex()) == (expected, whole.dtype.kind == "c")
        (gradient,) = agrad.autograd.grad(y, x, agrad.ones_like(y))
        assert gradient.shape == shape


def test_an_empty_axis_may_be_filled_up(backend):
    x = agrad.tensor(numbers("complex", (2, 0)), requires_grad=True)
    y = agrad.fft.fft(x, n=3)
    assert y.shape == (2, 3)
    assert agrad.autograd.grad(y, x, agrad.ones_like(y))[0].shape == (2, 0)


# ---------------------------------------------------------------------------------------------------------- frequencies


@pytest.mark.parametrize("name", ["fftfreq", "rfftfreq"])
@pytest.mark.parametrize("n", [1, 2, 5, 8])
def test_frequencies_are_numpys(name, n, backend):
    found = getattr(agrad.fft, name)(n, d=0.25)
    assert found.backend_.name == backend
    assert found.dtype == agrad.get_default_dtype()
    np.testing.assert_allclose(found.numpy(), getattr(np.fft, name)(n, d=0.25))


@pytest.mark.parametrize("name", ["fftfreq", "rfftfreq"])
def test_frequencies_take_dtype_device_and_requires_grad(name, backend):
    device = backends.find(backend).usual_device()
    found = getattr(agrad.fft, name)(4, dtype=agrad.float32, device=device, requires_grad=True)
    assert (found.dtype, found.device, found.requires_grad) == (agrad.float32, device, True)


# ------------------------------------------------------------------------------------------------------------ bad input


def vector():
    return agrad.tensor(numbers("complex", (3, 4)))


BAD = {
    "no length": (lambda: agrad.fft.fft(vector(), n=0), ValueError, "length of at least 1, not 0"),
    "negative length": (lambda: agrad.fft.ifft(vector(), n=-1), ValueError, "at least 1, not -1"),
    "length that is no integer": (lambda: agrad.fft.fft(vector(), n=2.5), TypeError, "integer"),
    "no length in s": (lambda: agrad.fft.fftn(vector(), s=(0, 2), axes=(0, 1)), ValueError, "at least 1, not 0"),
    "an empty axis": (lambda: agrad.fft.fft(vector()[:, :0]), ValueError, "too short for a transform of length 0"),
    "half a spectrum of one": (lambda: agrad.fft.irfft(vector()[:, :1]), ValueError, "transform of length 0"),
    "norm": (lambda: agrad.fft.hfft(vector(), norm="unitary"), ValueError, "one of 'backward', 'ortho', 'forward'"),
    "norm of several": (lambda: agrad.fft.irfftn(vector(), norm="unitary"), ValueError, "not 'unitary'"),
    "axis": (lambda: agrad.fft.fft(vector(), axis=2), IndexError, "axis 2 is out of range for an array with 2 axes"),
    "one of the axes": (lambda: agrad.fft.fftn(vector(), axes=(0, -3)), IndexError, "axis -3 is out of range"),
    "axis of a shift": (lambda: agrad.fft.fftshift(vector(), axes=2), IndexError, "axis 2 is out of range"),
    "axis of a scalar": (lambda: agrad.fft.fft(vector()[0, 0]), IndexError, "an array with 0 axes"),
    "equal axes": (lambda: agrad.fft.fftn(vector(), axes=(0, -2)), ValueError, "unique"),
    "no axes": (lambda: agrad.fft.ifftn(vector(), axes=()), ValueError, "at least one axis"),
    "more lengths than axes": (lambda: agrad.fft.fftn(vector(), s=(2, 2), axes=(0,)), ValueError, "2 lengths in s"),
    "more lengths than there are": (lambda: agrad.fft.fftn(vector(), s=(1, 2, 3)), IndexError, "axis -3"),
    "complex for real": (lambda: agrad.fft.rfft(vector()), TypeError, "takes real numbers, not agrad.complex128"),
    "complex for real, several": (lambda: agrad.fft.rfftn(vector()), TypeError, "takes real numbers"),
    "complex for real, Hermitian": (lambda: agrad.fft.ihfft(vector()), TypeError, "takes real numbers"),
    "no frequencies": (lambda: agrad.fft.fftfreq(0), ValueError, "at least 1, not 0"),
    "frequencies of no integer": (lambda: agrad.fft.rfftfreq(2.5), TypeError, "integer"),
    "no distance": (lambda: agrad.fft.fftfreq(4, d=0.0), ValueError, "must not be 0"),
    "integer frequencies": (lambda: agrad.fft.fftfreq(4, dtype="int64"), TypeError, "real floating-point numbers"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_input_is_refused_in_the_same_words_everywhere(name, backend):
    call, error, words = BAD[name]
    with pytest.raises(error, match=words):
        call()


def test_a_shift_of_no_axis_shares_no_memory(backend):
    x = agrad.tensor([1.0, 2.0])
    y = agrad.fft.fftshift(x, axes=())
    y += 1
    assert x.tolist() == [1.0, 2.0]
