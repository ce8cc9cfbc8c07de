"""Tensors are Array API arrays: namespaces, what they say of themselves, DLPack, conversions, and what is refused.

The standard's own suite runs apart from these tests (tools/conformance.py); here is what it does not reach.
"""

import array
import copy
import inspect
import operator
import pickle

import numpy as np
import pytest
from array_libraries import BACKENDS, is_installed, own_array, values

import agrad
from agrad import backends, standard

STRICT_DEVICES = ("device1", "device2", "no_float64", "no_x64")
KINDS = ("bool", "signed integer", "unsigned integer", "real floating", "complex floating")


@pytest.fixture
def strict():
    pytest.importorskip("array_api_strict")
    return agrad.namespaces.array_api_strict


@pytest.fixture
def torch():
    return pytest.importorskip("torch")


def facade(backend):
    return getattr(agrad.namespaces, backend)


def another(backend):
    """The name of an installed backend that is not this one."""
    return next(name for name in BACKENDS if name != backend and is_installed(name))


# ---------------------------------------------------------------------------------------------------------- namespaces


def test_a_tensor_leads_to_the_namespace_of_its_backend(backend):
    x = agrad.ones(2)
    for version in (None, "2021.12", "2024.12", standard.VERSION):
        assert x.__array_namespace__(api_version=version) is facade(backend)
    with pytest.raises(ValueError, match=r"2025\.12, not '2030\.12'"):
        x.__array_namespace__(api_version="2030.12")
    assert agrad.__array_api_version__ == facade(backend).__array_api_version__ == "2025.12"


def test_a_namespace_is_one_object_that_survives_copies(backend):
    xp = facade(backend)
    for place in (xp, xp.linalg, xp.fft):
        for twin in (copy.copy(place), copy.deepcopy(place), pickle.loads(pickle.dumps(place))):
            assert twin is place
        assert {place: 1}[place] == 1
    assert xp.linalg is xp.linalg


def test_functions_of_namespaces_survive_pickling(backend):
    xp = facade(backend)
    functions = xp.sin, xp.zeros, xp.asarray, xp.linalg.det, xp.fft.fftfreq, agrad.zeros, agrad.fft.fftfreq
    for function in (*functions, agrad.linalg, agrad.fft, agrad.asarray):
        assert pickle.loads(pickle.dumps(function)) is function


def test_no_namespace_has_a_name_that_array_api_compat_knows(backend, strict):
    compat = pytest.importorskip("array_api_compat")
    for xp in (agrad, facade(backend), strict["device1"], facade(backend).linalg):
        for question in [name for name in dir(compat) if name.startswith("is_") and name.endswith("_namespace")]:
            assert not getattr(compat, question)(xp), (question, xp)


def test_array_api_compat_finds_the_namespace(backend):
    compat = pytest.importorskip("array_api_compat")
    x = agrad.ones(2)
    assert compat.array_namespace(x, agrad.zeros(3), 1.0) is facade(backend)
    assert compat.device(x) == x.device
    with pytest.raises(TypeError, match="Multiple namespaces"):
        compat.array_namespace(x, facade(another(backend)).ones(2))


@pytest.mark.parametrize("name", STRICT_DEVICES)
def test_a_device_has_a_namespace_of_its_own(strict, name):
    xp = strict[name]
    x = xp.ones(2)
    assert strict[name] is xp
    assert strict[x.device] is xp
    assert x.__array_namespace__() is xp
    assert (x + 1).__array_namespace__() is pickle.loads(pickle.dumps(xp)) is xp
    assert xp.__array_namespace_info__().default_device() == x.device
    made = xp.zeros(2), xp.asarray([1.0]), xp.arange(3), xp.full(2, 1), xp.linspace(0, 1, 3), xp.eye(2)
    assert {t.device for t in (*made, xp.fft.fftfreq(4))} == {x.device}


def test_the_namespace_of_the_usual_device_is_the_backends(backend):
    xp = facade(backend)
    assert xp[agrad.ones(1).device] is xp["cpu"] is xp
    with pytest.raises(TypeError, match="chosen at the backend's namespace"):
        xp.linalg["cpu"]


def test_a_namespace_creates_on_its_own_place_whatever_the_defaults_say(backend, strict):
    with agrad.use_backend("array_api_strict", device="device1"):
        assert facade(backend).ones(2).device == facade(backend).__array_namespace_info__().default_device()
        assert facade(backend).asarray([1.0]).backend_.name == backend
        assert agrad.ones(2).__array_namespace__() is strict["device1"]
        assert agrad.__array_namespace_info__().default_device() == agrad.ones(2).device


def test_what_is_an_array_already_stays_on_its_device(strict):
    x = strict.ones(2)
    assert strict["device1"].asarray(x) is x
    assert strict["device1"].asarray(x.array).device == x.device
    assert strict["device1"].asarray(np.ones(2)).device != x.device
    assert strict["device1"].from_dlpack(x).device == x.device


def test_data_for_an_operation_goes_to_its_tensors_device(strict):
    x = strict["device1"].ones(2)
    assert strict["device1"].asarray([x, np.ones(2), [2.0, 3.0]]).device == x.device
    assert bool(agrad.allclose(x, [1.0, 1.0]))
    x[:] = np.zeros(2)
    assert x.copy_(np.asarray([3.0, 4.0])).tolist() == [3.0, 4.0]


# ----------------------------------------------------------------------------------------- what they say of themselves


def test_the_devices_are_those_of_tensors(backend):
    for info in (facade(backend).__array_namespace_info__(), agrad.__array_namespace_info__()):
        devices = info.devices()
        assert type(devices) is tuple
        assert info.default_device() in devices
        for device in devices:
            assert agrad.empty(1, device=device, dtype="float32").device == device


def test_the_dtypes_are_those_that_a_device_computes_with(backend):
    info = facade(backend).__array_namespace_info__()
    for device in info.devices():
        every = info.dtypes(device=device)
        assert {"bool", "int8", "uint8", "int32", "float32", "complex64"} <= set(every)
        assert info.dtypes(device=device, kind=KINDS) == every
        assert all(dtype.kind == "unsigned" for dtype in info.dtypes(device=device, kind="unsigned integer").values())
        for dtype in every.values():
            x = agrad.ones(2, dtype=dtype, device=device)
            assert agrad.equal(x, x).tolist() == [True, True]


@pytest.mark.parametrize("name", [None, *STRICT_DEVICES])
def test_what_is_made_without_a_dtype_has_the_default_one_of_its_device(strict, name):
    xp = strict if name is None else strict[name]
    usual = xp.__array_namespace_info__().default_dtypes()
    made = {"real floating": 1.0, "complex floating": 1j, "integral": 1}
    assert {kind: xp.asarray([number]).dtype for kind, number in made.items()} == {kind: usual[kind] for kind in made}
    assert xp.full(2, 1j).dtype == usual["complex floating"]
    assert {x.dtype for x in (xp.zeros(2), xp.linspace(0, 1, 3), xp.arange(2.0))} == {usual["real floating"]}


def test_a_chosen_default_dtype_is_told(backend):
    agrad.set_default_dtype("float64")
    try:
        found = facade(backend).__array_namespace_info__().default_dtypes()
    finally:
        agrad.set_default_dtype(None)
    assert (found["real floating"], found["complex floating"]) == (agrad.float64, agrad.complex128)


def test_capabilities_have_the_standards_keys(backend):
    found = facade(backend).__array_namespace_info__().capabilities()
    assert found == {"boolean indexing": True, "data-dependent shapes": True, "max dimensions": 64}
    n = found["max dimensions"]
    assert agrad.ones((1,) * n).ndim == n


@pytest.mark.parametrize("ask", ["default_dtypes", "dtypes"])
def test_questions_about_a_device_that_there_is_not_are_refused(backend, ask):
    with pytest.raises(ValueError, match=rf"{backend}.*nowhere"):
        getattr(facade(backend).__array_namespace_info__(), ask)(device="nowhere")


def test_limits_are_pythons_numbers(backend):
    for given in (agrad.float32, agrad.ones(2, dtype="float32"), "complex64"):
        limits = agrad.finfo(given)
        assert limits.dtype is agrad.float32
        assert {type(limits.eps), type(limits.max), type(limits.min), type(limits.smallest_normal)} == {float}
        assert (type(limits.bits), limits.bits) == (int, 32)
    limits = agrad.iinfo(agrad.ones(2, dtype="uint8"))
    assert (limits.min, limits.max, limits.bits, limits.dtype) == (0, 255, 8, agrad.uint8)
    assert {type(limits.min), type(limits.max)} == {int}
    with pytest.raises(TypeError, match="use iinfo"):
        agrad.finfo(agrad.int8)
    with pytest.raises(TypeError, match="use finfo"):
        agrad.iinfo(agrad.float32)


def test_the_dtype_of_a_result_follows_arrays_dtypes_and_numbers(backend):
    x = agrad.ones(2, dtype="float32")
    assert agrad.result_type(x, 1, 2.0) is agrad.result_type(agrad.float32, 1.0) is agrad.float32
    assert agrad.result_type(x, "float64") is agrad.result_type(x, np.ones(2)) is agrad.float64
    assert agrad.result_type(x, 1j) is agrad.complex64
    assert agrad.result_type(x.array, np.float32(1)) is agrad.float32
    assert agrad.result_type(agrad.int8, agrad.int16, 1) is agrad.int16
    with pytest.raises(ValueError, match="at least one array or dtype"):
        agrad.result_type(1, 2.0)
    with pytest.raises(TypeError, match=rf"{backend} and of .*to\(backend"):
        agrad.result_type(x, facade(another(backend)).ones(2))


RESULTS = {
    "linalg.eig": "EigResult", "linalg.eigh": "EighResult", "linalg.qr": "QRResult", "linalg.slogdet": "SlogdetResult",
    "linalg.svd": "SVDResult", "unique_all": "UniqueAllResult", "unique_counts": "UniqueCountsResult",
    "unique_inverse": "UniqueInverseResult",
}


@pytest.mark.parametrize("name", RESULTS)
def test_several_results_have_names_in_both_worlds(backend, name):
    x = agrad.asarray([[2.0, 1.0], [1.0, 3.0]])
    adapter = backends.find(backend)
    tensors = operator.attrgetter(name)(agrad)(x)
    raws = operator.attrgetter(name)(adapter.xp)(x.array)
    assert type(tensors) is type(raws) is standard.RESULTS[name]
    assert type(tensors).__name__ == RESULTS[name]
    assert all(isinstance(part, agrad.Tensor) for part in tensors)
    for field in tensors._fields:
        np.testing.assert_array_equal(values(getattr(tensors, field)), adapter.to_numpy(getattr(raws, field)))


def test_sequences_of_results_are_tuples(backend):
    x = agrad.ones(2, 3)
    for results in (agrad.meshgrid(x[0], x[1]), agrad.broadcast_arrays(x, x[0]), agrad.unstack(x), agrad.nonzero(x)):
        assert type(results) is tuple


# ------------------------------------------------------------------------------------------------------------- asarray


class Exporter:
    """An array of a library that nobody knows: DLPack is all that it has."""

    def __init__(self, data):
        self.data = data

    def __dlpack__(self, **options):
        return self.data.__dlpack__(**options)

    def __dlpack_device__(self):
        return self.data.__dlpack_device__()


class Convertible:
    """An object that NumPy can make an array of."""

    def __init__(self, data):
        self.data = data

    def __array__(self, dtype=None, copy=None):
        return self.data


MEMORY = {
    "an array of an unknown library": lambda: Exporter(np.asarray([1.0, 2.0])),
    "an object with __array__": lambda: Convertible(np.asarray([1.0, 2.0])),
    "an array of the standard library": lambda: array.array("d", [1.0, 2.0]),
    "a view of memory": lambda: memoryview(np.asarray([1.0, 2.0])),
}


@pytest.mark.parametrize("kind", MEMORY)
def test_whatever_has_memory_is_taken_and_shared(backend, kind):
    data = MEMORY[kind]()
    for options in ({}, {"copy": False}):
        x = agrad.asarray(data, **options)
        assert (x.backend_.name, x.dtype, x.tolist()) == (backend, agrad.float64, [1.0, 2.0])
        x[0] = 7.0
        assert agrad.asarray(data).tolist() == [7.0, 2.0]
        x[0] = 1.0
    x = agrad.asarray(data, copy=True)
    x[0] = 7.0
    assert agrad.asarray(data).tolist() == [1.0, 2.0]
    assert agrad.asarray(data, dtype="float32").dtype is agrad.float32
    with pytest.raises(ValueError, match=r"(?i)copy|alias"):
        agrad.asarray(data, dtype="float32", copy=False)


def test_bytes_are_numbers(backend):
    assert agrad.asarray(b"ab").tolist() == agrad.asarray(memoryview(b"ab")).tolist() == [97, 98]


@pytest.mark.parametrize("data", [1.0, [1.0, 2.0], (1, 2), range(3), np.float64(1.0)], ids=repr)
def test_what_has_no_memory_cannot_be_taken_without_a_copy(backend, data):
    with pytest.raises(ValueError, match=rf"asarray\(\).*{type(data).__name__}.*copy=False"):
        agrad.asarray(data, copy=False)


MIXED = {
    "numbers": ([1, 2.5, True], [1.0, 2.5, 1.0], "real floating"),
    "integers and booleans": ([[True, 2], [3, False]], [[1, 2], [3, 0]], "integral"),
    "complex numbers": ([1, 2j], [1, 2j], "complex floating"),
    "nothing": ([[], []], np.zeros((2, 0)), "real floating"),
}


@pytest.mark.parametrize("name", MIXED)
def test_mixed_numbers_have_the_default_dtype_of_the_widest_kind(backend, name):
    data, expected, kind = MIXED[name]
    x = agrad.asarray(data)
    assert x.dtype is facade(backend).__array_namespace_info__().default_dtypes()[kind]
    np.testing.assert_array_equal(values(x), expected)


def test_tensors_in_sequences_are_stacked_with_their_neighbours(backend):
    x = agrad.tensor([1.0, 2.0], dtype="float32", requires_grad=True)
    y = agrad.asarray([[x, [3, 4.5]], [np.asarray([5.0, 6.0], dtype="float32"), x]])
    assert (y.backend_.name, y.shape, y.dtype) == (backend, (2, 2, 2), agrad.float32)
    y.sum().backward()
    assert x.grad.tolist() == [2.0, 2.0]


def test_numbers_beside_tensors_count_as_pythons(backend):
    wide = agrad.get_default_dtype()
    single = agrad.asarray(1.0, dtype="float32")
    assert agrad.asarray([single, 2.5, True, 3]).dtype is agrad.float32
    assert agrad.asarray([single, 1j]).dtype is agrad.complex64
    assert agrad.asarray([agrad.asarray(1), 2.5]).dtype is wide
    assert agrad.asarray([agrad.asarray(True), 2]).dtype is agrad.int64
    assert agrad.asarray([single, np.float64(2.5)]).dtype is agrad.float64


def test_arrays_of_a_library_in_sequences_are_stacked_there(backend):
    raw = own_array(backend, [1.0, 2.0])
    x = agrad.asarray([raw, [3, 4]])
    assert (x.backend_.name, x.tolist()) == (backend, [[1.0, 2.0], [3.0, 4.0]])
    assert facade(another(backend)).asarray([raw]).backend_.name == another(backend)


def test_arrays_that_torch_tracks_are_refused_in_sequences_too(backend, torch):
    tracked = torch.ones(2, requires_grad=True)
    for data in (tracked, [tracked, [1.0, 2.0]]):
        with pytest.raises(RuntimeError, match=r"tracks gradients by itself.*detach"):
            facade(backend).asarray(data)


def test_a_namespace_takes_arrays_of_another_library(backend):
    xp = facade(backend)
    raw = own_array(another(backend), [1.0, 2.0])
    assert (xp.asarray(raw).backend_.name, xp.asarray(raw).tolist()) == (backend, [1.0, 2.0])
    x = facade(another(backend)).asarray([1.0, 2.0], requires_grad=True)
    (xp.asarray(x) * 3).sum().backward()
    assert x.grad.tolist() == [3.0, 3.0]


def test_large_integers_are_kept_or_refused(backend):
    assert agrad.asarray(2**63).dtype is agrad.uint64
    assert int(agrad.asarray(2**63)) == 2**63
    with pytest.raises(OverflowError, match="64 bits"):
        agrad.asarray([2**64])
    with pytest.raises(RuntimeError, match="without overflow"):
        agrad.asarray(-1, dtype="uint8")


@pytest.mark.parametrize("dtype", ["float32", "int64"])
def test_complex_numbers_do_not_lose_their_imaginary_parts(backend, dtype):
    z = agrad.asarray([1 + 2j])
    for cast in (
        lambda: agrad.asarray(1j, dtype=dtype),
        lambda: agrad.asarray(values(z), dtype=dtype),
        lambda: agrad.asarray(z.array, dtype=dtype),
        lambda: agrad.astype(z, dtype),
        lambda: z.to(dtype),
    ):
        with pytest.raises(TypeError, match=r"complex"):
            cast()
    if backend != "array_api_strict":       # which allows no complex number to become a boolean either
        assert agrad.astype(z, "bool").tolist() == [True]


# -------------------------------------------------------------------------------------------------------------- DLPack


def test_memory_is_exported_and_shared(backend):
    x = agrad.tensor([1.0, 2.0])
    raw = np.from_dlpack(x)
    x[0] = 5.0
    assert raw.tolist() == [5.0, 2.0]
    assert np.from_dlpack(x.sum()).shape == ()
    kind, number = x.__dlpack_device__()
    assert (int(kind), number) == (1, 0)


@pytest.mark.parametrize(
    "options",
    [{}, {"stream": None}, {"max_version": (1, 0)}, {"dl_device": (1, 0)}, {"copy": True}, {"copy": False}],
    ids=str,
)
def test_every_keyword_of_the_export_is_known(backend, options):
    assert type(agrad.ones(2).__dlpack__(**options)).__name__ == "PyCapsule"


def test_the_exports_signature_is_the_standards():
    parameters = inspect.signature(agrad.ones(2).__dlpack__).parameters.values()
    assert [(p.name, p.kind, p.default) for p in parameters] == [
        (name, inspect.Parameter.KEYWORD_ONLY, None) for name in ("stream", "max_version", "dl_device", "copy")
    ]


def test_a_tracked_tensor_is_not_exported(backend, torch):
    x = agrad.ones(2, requires_grad=True)
    for tracked in (x, x * 2):
        for export in (np.from_dlpack, torch.from_dlpack, agrad.from_dlpack, facade(another(backend)).from_dlpack):
            with pytest.raises(BufferError, match=r"requires grad.*detach\(\)"):
                export(tracked)
        with pytest.raises(BufferError, match="requires grad"):
            tracked.__dlpack_device__()
    with pytest.raises(BufferError, match="grad"):
        agrad.from_dlpack(torch.ones(2, requires_grad=True))
    assert np.from_dlpack(x.detach()).tolist() == [1.0, 1.0]


@pytest.mark.parametrize("options", [{}, {"copy": None}, {"copy": False}, {"device": "cpu"}])
def test_memory_of_other_libraries_is_shared(backend, options):
    for theirs in (np.asarray([1.0, 2.0]), own_array(another(backend), [1.0, 2.0]), Exporter(np.asarray([1.0, 2.0]))):
        x = agrad.from_dlpack(theirs, **options)
        assert (x.backend_.name, x.dtype, x.tolist()) == (backend, agrad.float64, [1.0, 2.0])
        x[0] = 5.0
        assert np.from_dlpack(theirs).tolist() == [5.0, 2.0]


def test_memory_is_copied_if_that_is_asked(backend):
    data = np.asarray([1.0, 2.0])
    agrad.from_dlpack(data, copy=True)[0] = 5.0
    assert data.tolist() == [1.0, 2.0]


def test_a_tensor_moves_to_another_library_as_the_standard_shows(backend):
    x, y = agrad.asarray([1.0, 2.0]), facade(another(backend)).asarray([3.0, 4.0])
    moved = x.__array_namespace__().from_dlpack(y, copy=True, device=x.device)
    assert (moved.backend_.name, moved.device, moved.tolist()) == (backend, x.device, [3.0, 4.0])


def test_a_twin_on_the_same_backend_tells_the_graph_of_writes(backend):
    w = agrad.tensor([2.0, 3.0], requires_grad=True)
    x = agrad.tensor([1.0, 2.0])
    loss = (w * x).sum()
    agrad.from_dlpack(x)[0] = 5.0
    assert x.tolist() == [5.0, 2.0]
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()


def read_only():
    data = np.arange(3.0)
    data.flags.writeable = False
    return data


@pytest.mark.parametrize("make", [read_only, lambda: np.arange(3.0)[::-1]], ids=["read-only", "reversed"])
def test_memory_that_a_library_cannot_use_as_it_is_stays_as_it_is(backend, make):
    data = make()
    before = data.tolist()
    for convert in (agrad.from_dlpack, agrad.asarray):
        x = convert(data)
        assert x.tolist() == before
        x = x + 1
        x[0] = 9.0
    assert data.tolist() == before


def test_torch_writes_to_no_read_only_memory(torch):
    data = read_only()
    x = agrad.namespaces.torch.from_dlpack(data)
    x[0] = 9.0
    assert data[0] == 0.0
    with pytest.raises(ValueError, match="read-only"):
        agrad.namespaces.torch.from_dlpack(data, copy=False)


def test_what_exports_nothing_is_refused(backend):
    with pytest.raises(AttributeError, match=r"from_dlpack\(\).*__dlpack__.*list"):
        agrad.from_dlpack([1.0])


class Elsewhere:
    """Memory of an accelerator that is not there."""

    def __dlpack__(self, **options):
        raise BufferError("the memory is on an accelerator")

    def __dlpack_device__(self):
        return 2, 0


def test_memory_that_cannot_be_reached_is_refused_by_name(backend):
    with pytest.raises(BufferError, match=rf"from_dlpack\(\) on the backend {backend}.*Elsewhere.*copy"):
        agrad.from_dlpack(Elsewhere())


# ------------------------------------------------------------------------------------------ methods of the array object


def test_one_number_converts_to_pythons(backend):
    assert (bool(agrad.asarray(True)), int(agrad.asarray(3)), float(agrad.asarray(2.5))) == (True, 3, 2.5)
    assert complex(agrad.asarray(1j)) == 1j
    assert operator.index(agrad.asarray(3)) == 3
    assert [1, 2, 3][agrad.asarray(1)] == 2
    for wrong in (lambda: float(agrad.asarray(1j)), lambda: operator.index(agrad.asarray(2.0))):
        with pytest.raises(TypeError):
            wrong()


def test_a_tensor_goes_to_its_own_device_as_itself(backend):
    x = agrad.ones(2)
    assert x.to_device(x.device) is x
    with pytest.raises(ValueError, match=rf"to_device\(\) on the backend {backend} takes no stream"):
        x.to_device(x.device, stream=1)


# ----------------------------------------------------------------------------------------------------------- bad input


@pytest.mark.parametrize("length", [None, float("nan")])
@pytest.mark.parametrize("name", ["zeros", "empty", "full", "reshape", "broadcast_to"])
def test_a_length_that_is_not_known_is_refused_with_the_way_out(backend, name, length):
    first = agrad.ones(2) if name in ("reshape", "broadcast_to") else None
    last = (1.0,) if name == "full" else ()
    arguments = (*(() if first is None else (first,)), (length, 2), *last)
    with pytest.raises(TypeError, match=rf"{name}\(\) on the backend {backend}.*made of integers.*_like\(x\)"):
        getattr(agrad, name)(*arguments)


@pytest.mark.parametrize(
    "make",
    [
        lambda dtype: agrad.zeros(2, dtype=dtype),
        lambda dtype: agrad.asarray([1.0], dtype=dtype),
        lambda dtype: agrad.ones(2).to(dtype),
        lambda dtype: agrad.sum(agrad.ones(2), dtype=dtype),
    ],
    ids=["zeros", "asarray", "astype", "sum"],
)
def test_a_dtype_that_a_backend_lacks_is_refused_by_name(strict, make, request):
    problem = rf"{request.node.callspec.id}\(\).*array_api_strict has no agrad\.bfloat16"
    with agrad.use_backend("array_api_strict"), pytest.raises(TypeError, match=problem):
        make(agrad.bfloat16)


@pytest.mark.parametrize("device", ["nowhere", 977])
@pytest.mark.parametrize("name", ["zeros", "zeros_like", "asarray", "from_dlpack"])
def test_a_device_that_there_is_not_is_refused_by_name(backend, name, device):
    argument = {"zeros": 2, "zeros_like": agrad.ones(2), "asarray": [1.0], "from_dlpack": np.ones(2)}[name]
    with pytest.raises(ValueError, match=rf"{name}\(\).*{backend}.*{device}"):
        getattr(agrad, name)(argument, device=device)


def test_a_graph_is_not_dropped_by_functions_that_make_numbers(backend):
    w = agrad.tensor(2.0, requires_grad=True)
    for make in (lambda: agrad.linspace(0, w, 3), lambda: agrad.arange(w)):
        with pytest.raises(TypeError, match=r"drop the graph.*item\(\)"):
            make()
    agrad.full((3,), w).sum().backward()
    assert w.grad.item() == 3.0
    assert agrad.arange(agrad.asarray(3)).tolist() == [0, 1, 2]
