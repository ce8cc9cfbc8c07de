"""What is special about JAX's arrays: they cannot be written, may be traced, and have 64 bits only when asked to.

agrad's writes, views and gradients must be NumPy's, eagerly and inside jax.jit.
"""

import copy
import pickle
import subprocess
import sys

import numpy as np
import pytest
from jax_arrays import enable_x64, jax, jit, jnp, raw
from test_indices import READ, as_tensors, numbers

import agrad
from agrad import autograd, backends

pytestmark = pytest.mark.usefixtures("wide")


# -------------------------------------------------------------------------------------------------- finding the backend


def test_arrays_and_traced_arrays_find_their_backend():
    found = []

    def look(x):
        found.append(backends.of(x))
        return x

    look(raw([1.0]))
    jax.jit(look)(raw([1.0]))
    jax.vmap(look)(raw([1.0]))
    jax.grad(lambda x: look(x).sum())(raw([1.0]))
    assert [backend.name for backend in found] == ["jax"] * 4


def test_a_traced_array_loads_the_backend():
    program = (
        "import jax, agrad\n"
        "@jax.jit\n"
        "def f(x): return (agrad.asarray(x) * 2).array\n"
        "print(f(1.5))"
    )
    result = subprocess.run([sys.executable, "-W", "error", "-c", program], check=True, capture_output=True, text=True)
    assert result.stdout == "3.0\n"


def test_the_namespace_says_what_holds_under_tracing_too(on_jax):
    info = agrad.zeros(1).__array_namespace__().__array_namespace_info__()
    assert info.capabilities()["boolean indexing"] is False
    assert info.default_device() == jax.devices()[0]


# ------------------------------------------------------------------------------------------------------- 64-bit numbers


@pytest.mark.parametrize("name", ["float64", "complex128", "int64", "uint64"])
def test_64_bit_numbers_that_are_switched_off_are_refused_with_the_way_out(on_jax, name):
    with enable_x64(False):
        for request in (
            lambda: agrad.zeros(2, dtype=name),
            lambda: agrad.zeros(2).to(dtype=name),
            lambda: agrad.sum(agrad.zeros(2), dtype=getattr(agrad, name)),
            lambda: agrad.tensor([1], dtype=name),
        ):
            with pytest.raises(TypeError, match=rf"{name}.*'jax_enable_x64', True.*JAX_ENABLE_X64=1"):
                request()
    assert agrad.zeros(2, dtype=name).dtype.name == name


def test_the_default_dtypes_are_jaxs(on_jax):
    assert (agrad.get_default_dtype(), agrad.asarray(1).dtype) == (agrad.float64, agrad.int64)
    assert agrad.asarray(1j).dtype is agrad.complex128
    with enable_x64(False):
        assert agrad.get_default_dtype() is agrad.ones(2).dtype is agrad.asarray([1.0]).dtype is agrad.float32
        assert agrad.asarray(1j).dtype is agrad.complex64
        assert agrad.asarray([1, 2]).dtype is agrad.arange(3).dtype is agrad.int32
        info = agrad.zeros(1).__array_namespace__().__array_namespace_info__()
        assert info.default_dtypes()["indexing"] is agrad.int32
        assert "float64" not in info.dtypes()
        x = agrad.tensor([1.0, 2.0], requires_grad=True)
        (x * x).sum().backward()
        assert repr(x.grad) == "tensor([2., 4.])"


def test_integers_that_do_not_fit_into_32_bits_do_not_wrap_round(on_jax):
    with enable_x64(False):
        assert agrad.asarray(np.array([2**31 - 1])).tolist() == [2**31 - 1]
        for beyond in (np.array([2**31]), np.array([2**63], dtype=np.uint64)):
            with pytest.raises(OverflowError, match="JAX_ENABLE_X64"):
                agrad.asarray(beyond)


@pytest.mark.parametrize("name", ["int8", "uint8", "int32", "uint32", "int64", "uint64"])
def test_sums_and_products_of_integers_have_the_dtypes_of_numpys(on_jax, name):
    for function in (agrad.sum, agrad.prod, agrad.cumulative_sum, agrad.cumulative_prod):
        x = np.array([100, 100], dtype=name)
        found, expected = function(agrad.asarray(x)), function(agrad.namespaces.numpy.asarray(x))
        assert (found.dtype, found.tolist()) == (expected.dtype, expected.tolist())


def test_bfloat16_comes_back_as_its_values(on_jax):
    x = agrad.tensor([1.0, 2.5], dtype=agrad.bfloat16, requires_grad=True)
    (x * x).sum().backward()
    assert (x.grad.dtype, x.grad.tolist()) == (agrad.bfloat16, [2.0, 5.0])
    assert x.detach().numpy().dtype == np.float32
    assert pickle.loads(pickle.dumps(x)).dtype is agrad.bfloat16


# ----------------------------------------------------------------------------------------------------- immutable arrays


def test_a_write_makes_a_new_array(on_jax):
    before = raw([1.0, 2.0, 3.0])
    x = agrad.asarray(before)
    x[1:].zero_()
    x += 1
    assert x.tolist() == [2.0, 1.0, 1.0]
    assert before.tolist() == [1.0, 2.0, 3.0]
    assert type(x.array) is type(before)


def test_numpys_memory_is_never_shared(on_jax):
    data = np.ones(1024)
    x = agrad.asarray(data)
    data[:] = 5.0
    assert float(x.sum()) == 1024.0
    with pytest.raises(ValueError, match="cannot share the memory"):
        agrad.asarray(data, copy=False)
    with pytest.raises(ValueError, match="copy=False forbids it"):
        agrad.asarray(x.array, dtype=agrad.float32, copy=False)


def view_of_a_view(x):
    x[1:][:, 1] += 10
    return x


def two_views(x):
    row, column = x[0], x[:, 0]
    row *= 2
    column += 100
    return x + row


def rows_onto_rows(x):
    x[1:] = x[:-1]
    return x


def reversed_rows(x):
    x[::-1] = x * 1
    return x


def reshaped(x):
    agrad.reshape(x, (-1,))[4:8] = -1.0
    return x


def transposed(x):
    x.T[2] = 7.0
    agrad.matrix_transpose(x)[0] *= 3
    return x


def permuted(x):
    cube = agrad.reshape(x, (3, 2, 2))
    agrad.permute_dims(cube, (2, 0, -2))[1, :, 0] *= 5
    agrad.moveaxis(cube, 0, -1)[0, :, 1:] += 1
    agrad.moveaxis(cube, (0, 1), (2, 0))[1] -= 2
    return x


def flipped(x):
    agrad.flip(x, axis=1)[0, :2] = 4.0
    agrad.flip(x)[0] *= 2
    return x


def more_and_fewer_axes(x):
    agrad.expand_dims(x, axis=(0, -1))[0, 1] += 5
    agrad.squeeze(x[1:2], axis=0)[2:] *= 6
    return x


def the_same(x):
    agrad.astype(agrad.conj(agrad.real(x)), x.dtype, copy=False)[0] = 3.0
    return x


def a_view_is_remade(x):
    view = x[1:]
    x *= 2
    view += 1
    return x * view.sum()


def a_twin(x):
    twin = x.view(4, 3)
    twin[0] = x[:, 1] * 2
    return x


def integers(x):
    x[[0, 2, 0]] = x[1] * x.__array_namespace__().asarray([[1.0], [2.0], [3.0]])
    x[:, [1, 1]] += 1
    return x


def masks(x):
    x[x > 6] = 0.0
    x[:, [True, False, True, False]] *= 2
    x[x[:, 0] < 3] = x[0]
    x[..., x[0] < 2] = -1.0
    return x


def broadcast_values(x):
    x[0] = x[1:2, 2:3]
    x[1] = agrad.reshape(x[2], (1, 1, 4))
    return x


def integers_are_a_copy(x):
    rows = x[[0, 1]]
    rows += 100
    some = x[:, [True, False, True, False]]
    some += 100
    return x + rows.sum()


def casts_are_a_copy(x):
    other = agrad.astype(x, agrad.float32)
    other += 1
    again = +x
    again *= 1
    return x + agrad.astype(other, agrad.float64)


PROGRAMS = (
    view_of_a_view, two_views, rows_onto_rows, reversed_rows, reshaped, transposed, permuted, flipped,
    more_and_fewer_axes, the_same, a_view_is_remade, a_twin, integers, masks, broadcast_values, integers_are_a_copy,
    casts_are_a_copy,
)
MATRIX = np.arange(12.0).reshape(3, 4)


def value_and_gradient(program):
    """A function of raw arrays in which agrad differentiates a program that writes."""
    def function(x):
        t = agrad.asarray(x).requires_grad_()
        y = program(t * 1)
        (y * y * agrad.asarray(x + 1)).sum().backward()
        return y.detach().array, t.grad.array

    return function


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda p: p.__name__)
def test_writes_and_their_gradients_are_numpys_also_under_jit(program):
    function = value_and_gradient(program)
    expected = function(MATRIX)
    for found in (function(raw(MATRIX)), jit(function)(raw(MATRIX))):
        for a, b in zip(found, expected, strict=True):
            np.testing.assert_allclose(np.asarray(a), b, rtol=1e-14)


@pytest.mark.parametrize("part", ["real", "imag"])
def test_parts_of_complex_numbers_are_views(on_jax, part):
    x = agrad.tensor([1 + 2j, 3 + 4j])
    getattr(x, part)[1:] = 7.0
    assert x.tolist() == {"real": [1 + 2j, 7 + 4j], "imag": [1 + 2j, 3 + 7j]}[part]


def test_unstacked_parts_are_views(on_jax):
    x = agrad.tensor(MATRIX)
    agrad.unstack(x, axis=1)[2].zero_()
    assert x[:, 2].tolist() == [0.0, 0.0, 0.0]


def test_all_writes_to_a_place_bring_what_the_last_one_brings():
    from agrad.backends.jax import last_writes

    rng = np.random.default_rng(0)
    board, value = np.zeros((4, 5, 2)), rng.normal(size=(30, 5))
    key = (rng.integers(-4, 4, 30), slice(None), rng.integers(0, 2, 30))
    board[key] = value
    written = last_writes(jnp.zeros((4, 5, 2)), (raw(key[0]), key[1], raw(key[2])), raw(value))
    np.testing.assert_array_equal(np.asarray(written), board[key])


@pytest.mark.parametrize("name", READ)
def test_every_key_writes_where_numpy_writes(on_jax, name):
    read = numbers()[READ[name]]
    value = -1.0 - np.arange(float(read.size)).reshape(read.shape)
    expected = numbers()
    expected[READ[name]] = value
    for key in (READ[name], as_tensors(READ[name])):
        x = agrad.asarray(numbers())
        x[key] = agrad.asarray(value)
        np.testing.assert_array_equal(x.numpy(), expected)


WRONG = {
    "an int": lambda x: x[3],
    "a negative int": lambda x: x[-4],
    "an int after others": lambda x: x[None, ..., 1, 4],
    "an int after a mask": lambda x: x[[True, False, True], 4],
    "integers": lambda x: x[[0, 3]],
    "a tensor": lambda x: x[agrad.asarray([0, -4])],
    "take": lambda x: agrad.take(x, agrad.asarray([4]), axis=1),
    "take_along_axis": lambda x: agrad.take_along_axis(x, agrad.asarray([[0], [3], [-5]])),
    "a write": lambda x: x.__setitem__(3, 0.0),
    "a write at integers": lambda x: x.__setitem__((slice(None), [0, 4]), 0.0),
}


@pytest.mark.parametrize("name", WRONG)
def test_places_that_there_are_not_raise_although_jax_clamps_them(on_jax, name):
    x = agrad.asarray(MATRIX)
    with pytest.raises(IndexError, match="out of bounds for axis"):
        WRONG[name](x)
    assert x.tolist() == MATRIX.tolist()


def test_what_is_written_takes_the_dtype_of_the_array(on_jax):
    x = agrad.zeros(3, dtype=agrad.float32)
    x[0] = agrad.asarray(1.5)
    x[[1]] = agrad.asarray([2])
    x[2:] = 2**0.5
    counts = agrad.asarray([1, 2])
    counts[0] = 2.7
    assert (x.dtype, x.tolist()) == (agrad.float32, [1.5, 2.0, float(np.float32(2**0.5))])
    assert (counts.dtype, counts.tolist()) == (agrad.int64, [2, 2])


# ------------------------------------------------------------------------------------------ devices and other libraries


def test_devices_have_names(on_jax):
    backend = backends.find("jax")
    assert backend.device_names()[0].startswith(jax.devices()[0].platform)
    x = agrad.zeros(2, device="cpu")
    assert x.device in jax.devices("cpu")
    assert agrad.zeros(2, device=x.device).to(device="cpu").device == x.device
    with pytest.raises(ValueError, match="backend jax has no device 'tpu:9'; it has 'cpu"):
        agrad.zeros(2, device="tpu:9")
    with pytest.raises(ValueError, match="no device"):
        agrad.use_backend("jax", device="tpu:9")
    assert not agrad.zeros(2, device=backend.usual_device()).array.committed


@pytest.mark.parametrize("other", ["numpy", "torch", "array_api_strict"])
def test_gradients_pass_to_and_from_other_backends(other):
    pytest.importorskip(other)
    for here, there in (("jax", other), (other, "jax")):
        with agrad.use_backend(here):
            x = agrad.tensor([1.0, 2.0], dtype=agrad.float64, requires_grad=True)
        (g,) = autograd.grad((x.to(backend=there) ** 3).sum(), x, create_graph=True)
        (second,) = autograd.grad(g.to(backend=there).sum(), x)
        assert (g.backend_.name, g.tolist()) == (here, [3.0, 12.0])
        assert (second.backend_.name, second.tolist()) == (here, [6.0, 12.0])


def test_memory_is_exchanged_by_dlpack(on_jax):
    torch = pytest.importorskip("torch")
    x = agrad.from_dlpack(torch.arange(3.0))
    assert (x.backend_.name, x.dtype, x.tolist()) == ("jax", agrad.float32, [0.0, 1.0, 2.0])
    assert torch.from_dlpack(agrad.asarray([1.0, 2.0]).array).tolist() == [1.0, 2.0]
    assert np.from_dlpack(agrad.asarray([1.0, 2.0]).array).tolist() == [1.0, 2.0]


@pytest.mark.parametrize("again", [lambda t: pickle.loads(pickle.dumps(t)), copy.deepcopy, copy.copy])
def test_tensors_can_be_pickled_and_copied(on_jax, again):
    x = agrad.tensor([1.0, 2.0], requires_grad=True)
    made = again(x)
    assert (made.backend_.name, made.tolist(), made.requires_grad) == ("jax", [1.0, 2.0], True)
    assert repr(made) == "tensor([1., 2.], requires_grad=True)"


def test_jaxs_arrays_are_operands_on_either_side(on_jax):
    x = agrad.tensor([1.0, 2.0], requires_grad=True)
    y = raw([3.0, 4.0]) * x + x * raw([1.0, 1.0]) + np.ones(2)
    y.sum().backward()
    assert (y.backend_.name, x.grad.tolist()) == ("jax", [4.0, 5.0])
    function = jax.jit(lambda a: (a * agrad.asarray(a)).array)
    assert function(raw([3.0])).tolist() == [9.0]
