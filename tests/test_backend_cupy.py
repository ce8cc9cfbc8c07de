"""The CuPy backend. The first part needs CuPy alone; the second, marked `cupy`, a CUDA device, else it is skipped."""

import inspect
import subprocess
import sys
import warnings

import numpy as np
import pytest

import agrad
from agrad import autograd, backends, rules, standard
from agrad.cython_core import engine
from agrad.testing import check_rule
from agrad.testing.check import names_of_plugin

cupy = pytest.importorskip("cupy", reason="CuPy is not installed: pip install 'agrad[cupy]'")

HAS_DEVICE = cupy.cuda.is_available()
needs_device = [
    pytest.mark.cupy,
    pytest.mark.skipif(not HAS_DEVICE, reason="no CUDA device: cupy.cuda.is_available() is False"),
]
without_device = pytest.mark.skipif(HAS_DEVICE, reason="there is a CUDA device")

CHAPTERS = (*standard.CHAPTERS, "nn", "special")
NAMES = [name for chapter in CHAPTERS for name in names_of_plugin(chapter) if name != "transfer"]
ELSEWHERE = ("floor_divide", "read_view", "scatter", "write_view")    # without samples

# What CuPy does not take although the rule's samples have it: op -> why.
REFUSED = {"scatter_add": "adding complex numbers to real ones"}


# ----------------------------------------------------------------------------------------------------- without a device


def test_the_backend_is_found_with_its_version():
    found = {info.name: info for info in backends.available()}["cupy"]
    assert (found.installed, found.distribution, found.version) == (True, "cupy", cupy.__version__)
    assert backends.find("cupy").array_types == (cupy.ndarray,)
    assert agrad.namespaces.cupy.__name__ == "agrad.namespaces.cupy"


@pytest.mark.parametrize("name", NAMES)
def test_every_function_has_a_kernel_that_takes_its_arguments(name):
    op = rules.find(name)
    try:
        kernel = engine.raw_kernel(op, backends.find("cupy"))
    except NotImplementedError as error:
        pytest.fail(str(error))
    try:
        signature = inspect.signature(kernel)
    except ValueError:      # of functions written in C
        return
    given = [p for p in op.signature.parameters if p.role != "var_positional"]
    keywords = [p.name for p in given if p.role == "keyword_only"]
    signature.bind(*[None] * (len(given) - len(keywords)), **dict.fromkeys(keywords))


REQUESTS = {
    "zeros": lambda: agrad.zeros(3),
    "tensor": lambda: agrad.tensor([1.0]),
    "arange": lambda: agrad.arange(3),
    "asarray": lambda: agrad.asarray(np.ones(2)),
    "full": lambda: agrad.full((2,), 1.0),
    "eye": lambda: agrad.eye(2),
    "linspace": lambda: agrad.linspace(0, 1, 3),
    "rand": lambda: agrad.rand(2),
    "from_dlpack": lambda: agrad.from_dlpack(np.ones(2)),
    "fftfreq": lambda: agrad.fft.fftfreq(4),
    "a device": lambda: agrad.zeros(2, device="cuda:0"),
    "the default device": agrad.get_default_device,
    "a transfer": lambda: agrad.namespaces.numpy.ones(2).to(backend="cupy"),
    "the namespace": lambda: agrad.namespaces.cupy.zeros(2),
    "the namespace of a device": lambda: agrad.namespaces.cupy["cuda:0"],
}


@without_device
@pytest.mark.parametrize("name", REQUESTS)
def test_without_a_device_every_request_says_so(name):
    said = r"cupy needs a CUDA device.*cupy\.cuda\.is_available\(\) is False"
    with pytest.raises((RuntimeError, BufferError), match=said), agrad.use_backend("cupy"):
        REQUESTS[name]()


@without_device
def test_info_lists_cupy_without_a_device():
    result = subprocess.run([sys.executable, "-m", "agrad", "info"], capture_output=True, text=True, check=True)
    (line,) = [line for line in result.stdout.splitlines() if line.split()[:1] == ["cupy"]]
    assert line.split(maxsplit=3)[1:] == ["cupy", cupy.__version__, "it finds no device"]
    (info,) = [info for info in backends.available() if info.name == "cupy"]
    assert (info.installed, info.reason) == (True, "it finds no device")


@without_device
def test_the_demo_says_what_is_missing():
    command = [sys.executable, "-m", "agrad", "demo", "--backend", "cupy"]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 2
    assert "cupy needs a CUDA device" in result.stderr


# ---------------------------------------------------------------------------------------------------------- on a device


@pytest.fixture
def on_cupy():
    with agrad.use_backend("cupy"):
        yield


class TestOnDevice:
    """What has to hold on a CUDA device."""

    pytestmark = needs_device

    @pytest.mark.parametrize("name", [name for name in NAMES if name not in ELSEWHERE])
    def test_a_rule_is_right(self, name):
        reports = [check_rule(name, "cupy", dtype) for dtype in ("float64", "complex128", "float32")]
        refused = "\n".join(str(report) for report in reports if report.refused)
        assert not refused or name in REFUSED
        assert sum(report.cases for report in reports) > 0

    def test_tensors_live_on_the_current_device(self, on_cupy):
        x = agrad.tensor([1.0, 2.0], requires_grad=True)
        assert type(x.array) is cupy.ndarray
        assert x.device == cupy.cuda.Device() == agrad.get_default_device()
        assert repr(x * 2) == "tensor([2., 4.], grad_fn=<MulBackward0>)"
        assert x.to(device="cuda") is x.to(device="cuda:0") is x
        for wrong in ("cpu", "cuda:99", 5):
            with pytest.raises(ValueError, match=r"cupy has no device.*it has 'cuda:0'"):
                agrad.zeros(2, device=wrong)

    def test_everything_but_reading_runs_without_waiting(self, on_cupy):
        import cupyx

        def step(x, w):
            y = agrad.tanh(x @ w) - agrad.clip(x[:, :2], -0.5, 0.5)
            y = agrad.where(y > 0, y, 0.1 * agrad.sign(y)) + x[[0, 1, 1]][:, :2]
            y[1:] += 1.0
            y[y > 2] = 0.0
            agrad.mean(agrad.sort(y, axis=0) ** 2).backward()

        x, w = agrad.randn(3, 4, requires_grad=True), agrad.randn(4, 2, requires_grad=True)
        step(x, w)      # kernels are compiled
        x.grad = w.grad = None
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "cupyx.allow_synchronize")
            with cupyx.allow_synchronize(False):
                step(x, w)
        assert np.isfinite(w.grad.numpy()).all()

    def test_the_current_stream_is_used(self, on_cupy):
        x = agrad.tensor(np.linspace(0.0, 1.0, 100_000), requires_grad=True)
        with cupy.cuda.Stream(non_blocking=True) as stream:
            stream.wait_event(cupy.cuda.Stream.null.record())
            (agrad.exp(x) * x).sum().backward()
            found = x.grad.numpy()
        values = np.linspace(0.0, 1.0, 100_000)
        np.testing.assert_allclose(found, np.exp(values) * (1 + values), rtol=1e-12)

    @pytest.mark.parametrize("dtype", ["float64", "float32", "float16", "complex64", "complex128", "int8", "int64"])
    def test_repeated_places_add_up_in_every_dtype(self, on_cupy, dtype):
        values = np.arange(1, 7).astype(dtype) * (1 + 2j if dtype.startswith("complex") else 1)
        x, places = agrad.zeros(3, dtype=dtype), agrad.asarray([2, 0, 2, -1, 0, 2])
        expected = np.zeros(3, dtype)
        np.add.at(expected, [2, 0, 2, -1, 0, 2], values)
        found = agrad.scatter_add(x, places, agrad.asarray(values))
        np.testing.assert_array_equal(found.numpy(), expected)

    def test_of_many_writes_to_one_place_the_last_one_lasts(self, on_cupy):
        n = 200_000
        v = agrad.tensor(np.arange(float(n)), requires_grad=True)
        y = agrad.zeros(10)
        y[np.arange(n) % 10] = v
        np.testing.assert_array_equal(y.detach().numpy(), np.arange(n - 10.0, n))
        y.sum().backward()
        np.testing.assert_array_equal(np.nonzero(v.grad.numpy())[0], np.arange(n - 10, n))

    def test_writes_go_into_the_memory(self, on_cupy):
        raw = cupy.arange(12.0).reshape(3, 4)
        x, expected = agrad.asarray(raw), np.arange(12.0).reshape(3, 4)
        for y in (x, expected):
            y[1:] = y[:-1]
            y[:, 1] += 10
            y[::-1, 2] = y[:, 0]
            y[[0, 2]] *= 2
            y[y > 20] = -1.0
        x.T[0].zero_()
        expected.T[0] = 0
        np.testing.assert_array_equal(cupy.asnumpy(raw), expected)
        assert x.array is raw

    @pytest.mark.parametrize("other", ["numpy", "torch"])
    def test_gradients_pass_to_and_from_other_backends(self, other):
        pytest.importorskip(other)
        for here, there in (("cupy", other), (other, "cupy")):
            with agrad.use_backend(here):
                x = agrad.tensor([1.0, 2.0], dtype=agrad.float64, requires_grad=True)
            (g,) = autograd.grad((x.to(backend=there) ** 3).sum(), x, create_graph=True)
            (second,) = autograd.grad(g.sum(), x)
            assert (g.backend_.name, g.tolist()) == (here, [3.0, 12.0])
            assert (second.backend_.name, second.tolist()) == (here, [6.0, 12.0])

    def test_memory_is_exchanged_by_dlpack(self, on_cupy):
        x = agrad.from_dlpack(cupy.arange(3.0))
        x[0] = 5.0
        assert agrad.from_dlpack(np.arange(3.0)).tolist() == [0.0, 1.0, 2.0]
        assert cupy.from_dlpack(x.array).tolist() == [5.0, 1.0, 2.0]

    def test_arrays_of_cupy_are_operands_on_either_side(self, on_cupy):
        x = agrad.tensor([1.0, 2.0], requires_grad=True)
        (cupy.asarray([3.0, 4.0]) * x + x * cupy.asarray([1.0, 1.0])).sum().backward()
        assert x.grad.tolist() == [4.0, 5.0]

    @pytest.mark.skipif(HAS_DEVICE and cupy.cuda.runtime.getDeviceCount() < 2, reason="there is one CUDA device only")
    def test_everything_stays_on_another_device(self, on_cupy):
        with agrad.use_backend("cupy", device="cuda:1"):
            x = agrad.tensor(np.arange(6.0).reshape(2, 3), requires_grad=True)
        y = x * 2
        y[:1] += 1
        y[y > 8] = 0.0
        (agrad.concat([y, y[[0, 0]]]) @ agrad.ones_like(x).T).sum().backward()
        assert y.device == x.grad.device == x.device == cupy.cuda.Device(1)
        assert "cuda:1" in repr(x)
        assert x.to(device="cuda:0").device == cupy.cuda.Device(0)
