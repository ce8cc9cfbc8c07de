"""Adapters may not drift: the same creation, conversions, moves, errors and printing on every installed backend.

What a program means is said once, by NumPy's own arrays or by a literal, and every backend must agree.
"""

import subprocess
import sys
from itertools import permutations
from types import SimpleNamespace

import numpy as np
import pytest
from array_libraries import on, own_array, values

import agrad
from agrad import backends, configuration


@pytest.fixture
def torch():
    return pytest.importorskip("torch")


@pytest.fixture
def strict():
    return pytest.importorskip("array_api_strict")


# ------------------------------------------------------------------------------------------------------------ creation

CREATED = {
    "asarray": (lambda m: m.asarray([[1.0, 2.0], [3.0, 4.0]]), [[1.0, 2.0], [3.0, 4.0]]),
    "tensor": (lambda m: m.tensor([1, 2]), [1, 2]),
    "tensor of booleans": (lambda m: m.tensor([True, False]), [True, False]),
    "tensor of a number": (lambda m: m.tensor(2.5), 2.5),
    "tensor of complex numbers": (lambda m: m.tensor([1 + 2j]), [1 + 2j]),
    "arange of ints": (lambda m: m.arange(5), [0, 1, 2, 3, 4]),
    "arange of floats": (lambda m: m.arange(1.0, 2.0, 0.25), [1.0, 1.25, 1.5, 1.75]),
    "arange with a step alone": (lambda m: m.arange(5, step=2), [0, 2, 4]),
    "arange with a step alone, of floats": (lambda m: m.arange(1.0, step=0.5), [0.0, 0.5]),
    "arange of nothing": (lambda m: m.arange(3, 3), np.zeros(0, np.int64)),
    "empty": (lambda m: m.empty((2, 0)), np.zeros((2, 0))),
    "eye": (lambda m: m.eye(2, 3, k=1), [[0.0, 1.0, 0.0], [0.0, 0.0, 1.0]]),
    "full of an int": (lambda m: m.full(2, 3), [3, 3]),
    "full of a float": (lambda m: m.full((1, 2), 3.0), [[3.0, 3.0]]),
    "full of a complex number": (lambda m: m.full((), 1j), 1j),
    "linspace": (lambda m: m.linspace(0, 1, 3), [0.0, 0.5, 1.0]),
    "ones": (lambda m: m.ones(2, 1), [[1.0], [1.0]]),
    "zeros": (lambda m: m.zeros((2,), dtype=m.int32), np.zeros(2, np.int32)),
    "ones_like": (lambda m: m.ones_like(m.zeros(2)), [1.0, 1.0]),
    "full_like": (lambda m: m.full_like(m.zeros(2), 7.0), [7.0, 7.0]),
    "tril": (lambda m: m.tril(m.ones(2, 2)), [[1.0, 0.0], [1.0, 1.0]]),
    "meshgrid": (lambda m: m.meshgrid(m.arange(2), m.arange(3))[0], [[0, 1], [0, 1], [0, 1]]),
}


@pytest.mark.parametrize("name", CREATED)
def test_creation_gives_the_same_numbers_everywhere(backend, name, doubles):
    make, expected = CREATED[name]
    made = make(agrad)
    assert made.__array_namespace__() is getattr(agrad.namespaces, backend)
    assert values(made).dtype == np.asarray(expected).dtype
    np.testing.assert_array_equal(values(made), expected)


def test_the_namespace_of_a_backend_creates_there_whatever_the_default_is(backend):
    with agrad.use_backend("numpy"):
        x = getattr(agrad.namespaces, backend).zeros(2)
    assert x.backend_.name == backend


def test_the_same_seed_gives_the_same_numbers_everywhere(backend, doubles):
    agrad.manual_seed(3)
    drawn = agrad.randn(3)
    agrad.manual_seed(3)
    with agrad.use_backend("numpy"):
        expected = agrad.randn(3)
    assert drawn.backend_.name == backend
    np.testing.assert_array_equal(values(drawn), values(expected))


def test_python_floats_become_what_the_library_makes_of_them(backend):
    usual = {"numpy": agrad.float64, "torch": agrad.float32, "array_api_strict": agrad.float64}[backend]
    assert agrad.tensor(1.0).dtype is agrad.zeros(2).dtype is agrad.get_default_dtype() is usual
    assert agrad.tensor(1j).dtype is (agrad.complex128 if usual is agrad.float64 else agrad.complex64)


def test_torchs_own_default_dtype_is_followed(torch):
    torch.set_default_dtype(torch.float64)
    try:
        with agrad.use_backend("torch"):
            assert agrad.ones(2).dtype is agrad.float64
    finally:
        torch.set_default_dtype(torch.float32)


# ------------------------------------------------------------------------------- the levels of configuration


@pytest.fixture
def unconfigured(tmp_path, monkeypatch):
    """An empty folder as the current one; `level(name)` is then what creation uses."""
    monkeypatch.chdir(tmp_path)
    configuration.reset()
    yield tmp_path / "pyproject.toml"
    configuration.reset()


def where():
    x = agrad.zeros(2)
    return x.backend_.name, x.backend_.device_name(x.device), x.dtype.name


def test_every_level_of_configuration_reaches_creation(unconfigured, monkeypatch, strict, torch):
    assert where() == ("numpy", "cpu", "float64")
    unconfigured.write_text("[tool.agrad]\nbackend = 'torch'\ndevice = 'cpu'\ndtype = 'float64'\n")
    configuration.reset()
    assert where() == ("torch", "cpu", "float64")
    for name, value in {"BACKEND": "array_api_strict", "DEVICE": "device1", "DTYPE": "float32"}.items():
        monkeypatch.setenv(f"AGRAD_{name}", value)
    configuration.reset()
    assert where() == ("array_api_strict", "device1", "float32")
    agrad.set_default_device("device2")
    agrad.set_default_dtype("float64")
    assert where() == ("array_api_strict", "device2", "float64")
    agrad.set_default_device("cpu")
    agrad.set_default_backend("torch")
    assert where() == ("torch", "cpu", "float64")
    with agrad.use_backend("array_api_strict", device="device1"):
        assert where() == ("array_api_strict", "device1", "float64")
        assert agrad.zeros(2, device="device2").device == agrad.zeros(2).to(device="device2").device
    assert where() == ("torch", "cpu", "float64")


def test_an_operation_follows_its_arrays_and_not_the_default(backend):
    x = agrad.ones(2)
    with agrad.use_backend("numpy"):
        assert (x + 1).backend_.name == agrad.sin(x).backend_.name == backend


def test_a_wrong_setting_names_the_level_that_made_it(unconfigured, monkeypatch):
    monkeypatch.setenv("AGRAD_BACKEND", "tensorflow")
    configuration.reset()
    with pytest.raises(ValueError, match=r"no backend 'tensorflow'.*environment AGRAD_BACKEND"):
        agrad.zeros(2)
    monkeypatch.delenv("AGRAD_BACKEND")
    monkeypatch.setenv("AGRAD_DEVICE", "cuda:0")
    configuration.reset()
    with pytest.raises(ValueError, match=r"'cuda:0'.*environment AGRAD_DEVICE"):
        agrad.zeros(2)


# ---------------------------------------------------------------------------------------- what there is not


def test_an_unknown_backend_is_answered_with_those_that_are_installed():
    with pytest.raises(ValueError, match=r"no backend 'tensorflow'\. Installed: numpy"):
        agrad.use_backend("tensorflow")
    with pytest.raises(ValueError, match="Installed: numpy"):
        agrad.ones(2).to(backend="tensorflow")


@pytest.fixture
def missing_library(monkeypatch):
    """A backend whose library is not installed: its adapter cannot be imported."""

    def load():
        raise ModuleNotFoundError("No module named 'absent'")

    entry = SimpleNamespace(name="absent", dist=SimpleNamespace(name="agrad"), load=load)
    everything = {**backends._entry_points(), "absent": entry}
    monkeypatch.setattr(backends, "_entry_points", lambda: everything)


def test_a_missing_library_is_answered_with_how_to_install_it(missing_library):
    command = r"pip install 'agrad\[absent\]'"
    with pytest.raises(ImportError, match=rf"'absent' cannot be used: No module named 'absent'.*{command}"):
        agrad.use_backend("absent")
    with pytest.raises(ValueError, match=rf"no backend 'nowhere'\. Installed: numpy.*{command}"):
        agrad.use_backend("nowhere")


def test_available_tells_installed_from_missing(missing_library):
    found = {info.name: info for info in backends.available()}
    assert found["numpy"] == ("numpy", "numpy", True, np.__version__, None, "pip install numpy")
    assert found["absent"][2:] == (False, None, "No module named 'absent'", "pip install 'agrad[absent]'")


@pytest.mark.parametrize("device", ["nowhere:0", "gpu", 977])
def test_an_unknown_device_is_answered_with_those_that_there_are(backend, device):
    with pytest.raises(ValueError, match="device") as caught:
        agrad.zeros(2, device=device)
    assert repr(str(device)) in str(caught.value).replace(repr(device), repr(str(device)))
    assert repr(agrad.zeros(2).backend_.device_names()[0]) in str(caught.value)
    x = agrad.ones(2)
    with pytest.raises(ValueError, match="device"):
        x.to(device=device)


def test_every_backend_calls_the_memory_of_the_processor_cpu(backend):
    x = agrad.zeros(2, device="cpu")
    assert x.device == agrad.zeros(2).device
    assert x.to(device="cpu") is x


# --------------------------------------------------------------------------------------------------------- conversions

DTYPES = [d for d in agrad.dtypes.DTYPES.values() if d.name != "bfloat16"]


@pytest.mark.parametrize("dtype", DTYPES, ids=lambda d: d.name)
def test_every_dtype_has_its_counterpart(backend, dtype):
    if backend == "array_api_strict" and dtype.name == "float16":
        with pytest.raises(TypeError, match=r"no agrad\.float16"):
            agrad.zeros(2, dtype=dtype)
        return
    x = agrad.asarray([0, 1], dtype=dtype)
    assert x.dtype is dtype
    assert values(x).dtype == dtype
    assert agrad.asarray(x.array).dtype is dtype
    assert agrad.asarray(values(x)).dtype is dtype
    assert agrad.zeros(2).to(dtype=dtype).dtype is dtype


def test_bfloat16_comes_back_as_its_values(torch):
    with agrad.use_backend("torch"):
        x = agrad.tensor([1.0, 2.5], dtype=agrad.bfloat16, requires_grad=True)
        (x * x).sum().backward()
        assert x.grad.dtype is agrad.bfloat16
        assert x.grad.tolist() == [2.0, 5.0]
        assert x.detach().numpy().dtype == np.float32
        assert repr(x.detach()) == "tensor([1.0000, 2.5000], dtype=agrad.bfloat16)"


def test_asarray_shares_memory_with_an_array_and_tensor_copies(backend):
    raw = own_array(backend, [1.0, 2.0, 3.0])
    shared, copied = agrad.asarray(raw), agrad.tensor(raw)
    shared[0] = 9.0
    assert values(agrad.asarray(raw)).tolist() == [9.0, 2.0, 3.0]
    assert values(copied).tolist() == [1.0, 2.0, 3.0]
    assert type(copied.array) is type(raw)
    with pytest.raises(ValueError, match=r"(?i)copy|alias"):
        agrad.asarray(raw, dtype=agrad.float32, copy=False)


def read_only():
    array = np.arange(3.0)
    array.flags.writeable = False
    return array


NUMPY_ARRAYS = {
    "contiguous": np.arange(6.0).reshape(2, 3),
    "transposed": np.arange(6.0).reshape(2, 3).T,
    "reversed": np.arange(4.0)[::-1],
    "every other": np.arange(6.0)[::2],
    "broadcast": np.broadcast_to(np.arange(2.0), (3, 2)),
    "read-only": read_only(),
    "of another byte order": np.arange(3).astype(">i4"),
    "0-d": np.array(2.0),
    "a number": np.float32(2.5),
    "empty": np.zeros((0, 2)),
    "complex": np.array([1 + 2j]),
    "boolean": np.array([True, False]),
}


@pytest.mark.parametrize("name", NUMPY_ARRAYS)
def test_numpy_arrays_of_every_kind_are_taken(backend, name):
    array = NUMPY_ARRAYS[name]
    for made in (agrad.asarray(array), agrad.tensor(array)):
        assert made.shape == array.shape
        assert made.dtype == array.dtype.newbyteorder("=")
        np.testing.assert_array_equal(values(made), array)
        assert (made == made).shape == array.shape


def test_results_are_shaped_by_plain_integers(backend):
    x = agrad.ones(2, 3)
    assert type(x.shape) is tuple
    assert [type(n) for n in x.sum(axis=0).shape] == [int]


def test_a_tensor_of_tensors_is_stacked_on_their_backend(backend):
    x = agrad.tensor(2.0, requires_grad=True)
    with agrad.use_backend("numpy"):
        y = agrad.asarray([[x, 1.0], [3.0, x]])
    assert y.backend_.name == backend
    y.sum().backward()
    assert x.grad.item() == 2.0


def test_numpys_numbers_count_as_pythons(backend, doubles):
    x = agrad.ones(2)
    for number in (np.float64(2.0), np.int64(2), np.float32(2.0)):
        for product in (x * number, number * x, agrad.multiply(x, number), agrad.multiply(number, x)):
            assert (product.backend_.name, product.tolist()) == (backend, [2.0, 2.0])
    assert values(agrad.arange(3)[np.int64(1)]).item() == 1


def test_torchs_lazy_conjugates_and_subclasses_become_plain_tensors(torch):
    z = agrad.asarray(torch.tensor([1 + 2j]).conj())
    assert not z.array.is_conj()
    assert z.numpy().tolist() == [1 - 2j]
    assert agrad.asarray(torch.tensor([1 + 2j]).conj().imag).numpy().tolist() == [-2.0]
    plain = agrad.asarray(torch.nn.Parameter(torch.ones(2), requires_grad=False))
    assert type(plain.array) is torch.Tensor


# ------------------------------------------------------------------------------------------ from backend to backend

each_pair = pytest.mark.parametrize(("here", "there"), [*permutations(("numpy", "torch", "array_api_strict"), 2)])


@each_pair
def test_a_gradient_comes_back_to_where_the_input_lives(here, there):
    x = on(here, [1.0, 2.0], requires_grad=True)
    pytest.importorskip(there)
    y = x.to(backend=there)
    assert (y.backend_.name, y.dtype, y.requires_grad) == (there, agrad.float64, True)
    assert y.grad_fn.name() == "ToCopyBackward0"
    (y * y * y).sum().backward()
    assert (x.grad.backend_.name, x.grad.dtype, x.grad.tolist()) == (here, agrad.float64, [3.0, 12.0])


@each_pair
def test_a_second_derivative_passes_between_backends(here, there):
    x = on(here, [1.0, 2.0], requires_grad=True)
    pytest.importorskip(there)
    (g,) = agrad.autograd.grad((x.to(backend=there) ** 3).sum(), x, create_graph=True)
    (second,) = agrad.autograd.grad(g.to(backend=there).sum(), x)
    assert (second.backend_.name, second.tolist()) == (here, [6.0, 12.0])


@each_pair
def test_a_moved_tensor_has_memory_of_its_own(here, there):
    x = on(here, [1.0, 2.0])
    pytest.importorskip(there)
    y = x.to(backend=there)
    y += 1
    x[0] = 5.0
    assert (x.tolist(), y.tolist()) == ([5.0, 2.0], [2.0, 3.0])


def test_dtype_and_backend_change_together(torch):
    x = on("numpy", [1.0, 2.0], requires_grad=True)
    y = x.to(backend="torch", dtype=agrad.float32)
    assert (y.backend_.name, y.dtype) == ("torch", agrad.float32)
    (y * y).sum().backward()
    assert (x.grad.backend_.name, x.grad.dtype, x.grad.tolist()) == ("numpy", agrad.float64, [2.0, 4.0])


def test_a_gradient_comes_back_to_its_device(strict):
    x = on("array_api_strict", [1.0, 2.0], requires_grad=True)
    y = x.to(device="device1")
    assert y.backend_.device_name(y.device) == "device1"
    (y[[0, 0, 1]] * 2).sum().backward()
    assert x.grad.device == x.device != y.device
    assert x.grad.tolist() == [4.0, 2.0]
    y = x.detach().to(device="device1")
    y += 1
    assert x.tolist() == [1.0, 2.0]


def test_a_tensor_that_is_there_already_is_returned(backend):
    x = agrad.ones(2)
    assert x.to(backend=backend) is x.to(device=x.device) is x.to(dtype=x.dtype) is x


MIXED = {
    "an operator": lambda x, y: x + y,
    "a function": lambda x, y: agrad.maximum(x, y),
    "a sequence": lambda x, y: agrad.concat([x, y]),
    "a condition": lambda x, y: agrad.where(y > 0, x, 0.0),
    "a write": lambda x, y: x.__setitem__(0, y[0]),
    "an in-place operator": lambda x, y: x.__iadd__(y),
    "an index": lambda x, y: x[y > 0],
    "an array on the right": lambda x, y: x * y.array,
    "an array on the left": lambda x, y: y.array * x,
}


@pytest.mark.parametrize("what", MIXED)
@each_pair
def test_tensors_of_two_backends_in_one_operation_are_refused(here, there, what):
    x, y = on(here, [1.0, 2.0]), on(there, [1.0, 2.0])
    if what.startswith("an array") and there == "numpy":
        assert MIXED[what](x, y).backend_.name == here  # NumPy's arrays are data, as for torch
        return
    with pytest.raises(TypeError) as caught:
        MIXED[what](x, y)
    if what != "an array on the left":  # the other library speaks first, in its own words
        assert here in str(caught.value)
        assert there in str(caught.value)
    assert x.tolist() == [1.0, 2.0]


# ------------------------------------------------------------------------------------- tensors that torch tracks itself

TRACKED = {
    "asarray": lambda x, raw: agrad.asarray(raw),
    "tensor": lambda x, raw: agrad.tensor(raw),
    "an operator": lambda x, raw: x * raw,
    "an operator on the left": lambda x, raw: raw * x,
    "a function": lambda x, raw: agrad.sin(raw),
    "a sequence": lambda x, raw: agrad.stack([x, raw]),
    "a write": lambda x, raw: x.__setitem__(..., raw),
}


@pytest.mark.parametrize("what", TRACKED)
def test_a_tensor_that_torch_tracks_is_refused_with_both_ways_out(torch, what):
    x, raw = agrad.asarray(torch.ones(2)), torch.ones(2, requires_grad=True)
    with pytest.raises(RuntimeError, match=r"detach\(\).*torch's own autograd"):
        TRACKED[what](x, raw)
    assert x.tolist() == [1.0, 1.0]
    assert agrad.asarray(raw.detach()).requires_grad is False


def test_complex_numbers_of_numpy_that_torch_would_crash_on():
    """They lie at multiples of 8 bytes, not of 16."""
    pytest.importorskip("torch")
    numbers = np.zeros(64)
    start = 1 if numbers.ctypes.data % 16 == 0 else 2
    unaligned = numbers[start : start + 4].view(np.complex128)
    assert unaligned.ctypes.data % 16 == 8
    for array in (unaligned, unaligned[..., 1]):
        with agrad.use_backend("torch"):
            assert values(agrad.asarray(array) * 2).tolist() == (array * 2).tolist()
            with pytest.raises(ValueError, match="not aligned"):
                agrad.asarray(array, copy=False)


# ------------------------------------------------------------------------------------------------------------- printing


def test_the_usual_device_is_not_printed(backend, doubles):
    assert repr(agrad.ones(2)) == "tensor([1., 1.])"
    assert repr(agrad.ones(2, requires_grad=True) * 2) == "tensor([2., 2.], grad_fn=<MulBackward0>)"


def test_another_device_is_printed_by_its_name(strict):
    x = on("array_api_strict", [1.0], device="device1")
    assert repr(x) == "tensor([1.], device='device1')"
    with agrad.use_backend("array_api_strict", device="device1"):
        assert repr(x) == "tensor([1.])"
        assert repr(on("array_api_strict", [1.0], device="cpu")) == "tensor([1.], device='CPU_DEVICE')"


def test_a_dtype_other_than_the_default_is_printed(backend):
    other = agrad.float64 if agrad.get_default_dtype() is agrad.float32 else agrad.float32
    assert repr(agrad.ones(1, dtype=other)) == f"tensor([1.], dtype={other})"
    assert repr(agrad.asarray([1])) == "tensor([1])"


# ------------------------------------------------------------------------------------------------------------- laziness


def test_a_backend_is_imported_when_it_is_first_used():
    program = "import sys, agrad; agrad.ones(2).sum(); print({'torch', 'array_api_compat'} & set(sys.modules))"
    result = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)
    assert result.stdout == "set()\n"
