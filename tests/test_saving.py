"""Saving and loading: what comes back, what other readers see, damaged and foreign files, and crashes in the middle."""

import contextlib
import io
import json
import os
import pickle
import signal
import stat
import subprocess
import sys
import textwrap
import time
import zlib
from collections import OrderedDict, defaultdict, namedtuple

import numpy as np
import pytest
from array_libraries import values

import agrad
from agrad.saving import FileFormatError

pytest.importorskip("safetensors")

DTYPES = (
    "bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64", "float16", "bfloat16", "float32",
    "float64", "complex64", "complex128",
)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "state.safetensors"


def through(obj, path, **options):
    agrad.save(obj, path)
    return agrad.load(path, **options)


def header_of(path):
    data = path.read_bytes()
    return json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])


def assert_same(found, expected):
    assert type(found) is type(expected)
    if isinstance(expected, agrad.Tensor):
        assert (found.dtype, tuple(found.shape)) == (expected.dtype, tuple(expected.shape))
        assert values(found).tobytes() == values(expected).tobytes()
        assert not found.requires_grad
    elif isinstance(expected, dict):
        assert list(found) == list(expected)
        assert [type(key) for key in found] == [type(key) for key in expected]
        for key, value in expected.items():
            assert_same(found[key], value)
    elif isinstance(expected, (list, tuple)):
        assert len(found) == len(expected)
        for a, b in zip(found, expected, strict=True):
            assert_same(a, b)
    else:
        assert repr(found) == repr(expected)


# ---------------------------------------------------------------------------------------------------- what comes back


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(), (3,), (2, 3), (0, 2)])
def test_tensors_of_every_dtype_and_shape(backend, dtype, shape, path):
    if not agrad.zeros(()).backend_.has_dtype(agrad.dtypes.of(dtype)):
        pytest.skip(f"{backend} has no {dtype}")
    numbers = np.random.default_rng(0).integers(0, 2, shape) if dtype == "bool" else np.arange(np.prod(shape)) - 2
    t = agrad.asarray(np.reshape(numbers % 200, shape)).to(dtype=dtype)
    assert_same(through(t, path), t)
    assert_same(through({"a": [t]}, path, mmap=False), {"a": [t]})


def test_special_numbers_survive(path):
    t = agrad.asarray(np.array([np.nan, np.inf, -np.inf, -0.0, 5e-324]))
    assert_same(through(t, path), t)
    z = agrad.asarray(np.array([complex(-0.0, np.nan), complex(np.inf, -1)]))
    assert_same(through(z, path), z)


def test_bfloat16_keeps_every_bit_pattern_of_numbers(path):
    torch = pytest.importorskip("torch")
    bits = torch.arange(-(2**15), 2**15, dtype=torch.int32).to(torch.int16)
    numbers = bits.view(torch.bfloat16)
    with agrad.use_backend("torch"):
        found = through(agrad.asarray(numbers), path).array
    plain = ~torch.isnan(numbers)
    assert torch.equal(found.view(torch.int16)[plain], bits[plain])
    assert torch.equal(torch.isnan(found), ~plain)


def test_bfloat16_on_numpy(path):
    pytest.importorskip("ml_dtypes")
    t = agrad.asarray(np.array([1.5, -2.0, np.inf])).to(dtype="bfloat16")
    assert_same(through(t, path), t)
    assert header_of(path)["tensor"]["dtype"] == "BF16"


EVERYTHING = {
    "model": OrderedDict([("0.weight", agrad.ones((2, 3))), ("0.bias", agrad.zeros(2, dtype="float32"))]),
    "optimizer": {
        "state": {0: {"step": agrad.tensor(3.0), "exp_avg": agrad.ones(2)}, 1: {}},
        "param_groups": [{"lr": 1e-3, "betas": (0.9, 0.999), "nesterov": False, "foreach": None, "params": [0, 1]}],
    },
    "rng": agrad.Generator().get_state(),
    "numbers": [2**200, -1, 0.1, float("inf"), float("-inf"), float("nan"), 1e300, -0.0, 2 - 3j, complex("inf+nanj")],
    "keys": {1: "one", "1": "text", 2.5: True, None: (), (1, "a", (2,)): [], False: {}},
    "text": "ünï \n\x00 \U0001f600 \"quoted\" \\",
    "empty": ((), [], {}, OrderedDict(), ""),
    "": agrad.tensor([True]),
}


def test_everything_that_can_be_saved_comes_back(path):
    assert_same(through(EVERYTHING, path), EVERYTHING)
    file = io.BytesIO()
    agrad.save(EVERYTHING, file)
    assert file.getvalue() == path.read_bytes()
    file.seek(0)
    assert_same(agrad.load(file), EVERYTHING)


def test_values_without_tensors(path):
    for value in (None, 3, "x", [1, {"a": None}], {}, True):
        assert_same(through(value, path), value)


@pytest.mark.parametrize("library", ["jax", "dask", "ndonnx"])
def test_other_libraries(library, path):
    pytest.importorskip(library)
    with agrad.use_backend(library):
        t = agrad.asarray(np.arange(6.0).reshape(2, 3))
        found = through({"t": t, "tied": t, "n": agrad.asarray(3)}, path)
    assert found["t"] is found["tied"]
    assert [one.backend_.name for one in found.values()] == [library] * 3
    assert_same(found["t"], t)


def test_graphs_and_requires_grad_are_not_saved(path, backend):
    x = agrad.ones(3, requires_grad=True)
    found = through([x, x * 2], path)
    assert [t.requires_grad for t in found] == [False, False]
    assert values(found[1]).tolist() == [2, 2, 2]
    assert found[0].backend_.name == backend


def test_numbers_and_arrays_of_numpy(path):
    found = through({"a": np.float64(0.5), "b": np.int8(3), "c": np.bool_(True), "d": np.arange(3)}, path)
    assert_same(found, {"a": 0.5, "b": 3, "c": True, "d": agrad.asarray(np.arange(3))})


def test_views_and_other_byte_orders(path):
    t = agrad.asarray(np.arange(24.0).reshape(2, 3, 4))
    for view in (t[:, ::2], t.mT, agrad.flip(t), agrad.broadcast_to(t[0, 0], (5, 4)), t[1, 2, 3]):
        assert_same(through(view, path), view)
    swapped = np.arange(3, dtype=">i4")
    assert values(through(swapped, path)).tolist() == [0, 1, 2]


def test_shared_tensors_are_stored_once_and_shared_again(path, backend):
    w = agrad.ones((100, 100))
    found = through({"encoder": w, "decoder": w, "twin": w.detach(), "other": w + 0, "view": w[:50]}, path)
    assert found["encoder"] is found["decoder"] is found["twin"]
    assert found["other"] is not found["encoder"]
    assert found["view"] is not found["encoder"]
    found["encoder"][0, 0] = 7
    assert found["decoder"][0, 0].item() == 7
    assert found["other"][0, 0].item() == found["view"][0, 0].item() == 1
    assert [len(header_of(path)), path.stat().st_size < 4 * w.size * w.element_size()] == [4, True]


def test_equal_numbers_are_not_shared(path):
    one = agrad.tensor(1.0)
    a, b = through([one, one.clone()], path)
    assert a is not b


def test_names_can_be_read(path):
    agrad.save(EVERYTHING, path)
    assert set(header_of(path)) == {
        "__metadata__", "model.0.weight", "model.0.bias", "optimizer.state.0.step", "optimizer.state.0.exp_avg",
        "tensor",
    }
    assert_same(through({"\ud800": agrad.ones(1), "ü": "\udcff"}, path), {"\ud800": agrad.ones(1), "ü": "\udcff"})
    one, two, three = agrad.tensor([1.0]), agrad.tensor([2.0]), agrad.tensor([3.0])
    obj = {"a.b": one, "a": {"b": two}, "__metadata__": three}
    assert_same(through(obj, path), obj)
    assert set(header_of(path)) == {"__metadata__", "a.b", "a.b~2", "__metadata__~2"}


# ------------------------------------------------------------------------------------------------------- other readers


def test_a_state_dict_is_an_ordinary_file_for_torch(path):
    torch, files = pytest.importorskip("torch"), pytest.importorskip("safetensors.torch")
    state = {"weight": agrad.randn(3, 2), "bias": agrad.zeros(2, dtype="float32"), "n": agrad.tensor(4),
             "z": agrad.ones(2, dtype="complex64")}
    agrad.save(state, path)
    found = files.load_file(path)
    assert set(found) == set(state)
    for name, t in state.items():
        assert torch.equal(found[name], torch.asarray(values(t)))


def test_files_of_torch_are_dicts(path, backend):
    torch, files = pytest.importorskip("torch"), pytest.importorskip("safetensors.torch")
    model = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.BatchNorm1d(4))
    files.save_file(model.state_dict(), path, {"format": "pt"})
    found = agrad.load(path)
    assert set(found) == set(model.state_dict())
    for name, t in model.state_dict().items():
        assert found[name].backend_.name == backend
        assert torch.equal(torch.asarray(values(found[name])), t)


def test_tied_weights_of_torch_come_back_tied(path):
    torch, files = pytest.importorskip("torch"), pytest.importorskip("safetensors.torch")
    model = torch.nn.ModuleDict({"a": torch.nn.Linear(2, 2), "b": torch.nn.Linear(2, 2)})
    model["b"].weight = model["a"].weight
    files.save_model(model, str(path))
    found = agrad.load(path)
    assert found["a.weight"] is found["b.weight"]
    other = torch.nn.ModuleDict({"a": torch.nn.Linear(2, 2), "b": torch.nn.Linear(2, 2)})
    other["b"].weight = other["a"].weight
    agrad.save({name: agrad.asarray(t.detach().numpy()) for name, t in model.state_dict().items()}, path)
    files.load_model(other, str(path))
    assert torch.equal(other["b"].weight, model["b"].weight)


def test_files_of_numpy(path):
    files = pytest.importorskip("safetensors.numpy")
    files.save_file({"x": np.arange(3), "y": np.zeros((2, 0), np.float32)}, path)
    assert_same(agrad.load(path), {"x": agrad.asarray(np.arange(3)), "y": agrad.zeros((2, 0), dtype="float32")})


def test_numbers_that_agrad_lacks_are_named(path):
    torch, files = pytest.importorskip("torch"), pytest.importorskip("safetensors.torch")
    files.save_file({"x": torch.zeros(2).to(torch.float8_e5m2)}, path)
    with pytest.raises(FileFormatError, match="type F8_E5M2 as 'x'"):
        agrad.load(path)


# --------------------------------------------------------------------------------------------------- places and memory


def test_tensors_go_where_they_are_wanted(path):
    agrad.save({"x": agrad.ones(2)}, path)
    pytest.importorskip("array_api_strict")
    assert agrad.load(path, backend="array_api_strict")["x"].backend_.name == "array_api_strict"
    with agrad.use_backend("array_api_strict"):
        assert agrad.load(path)["x"].backend_.name == "array_api_strict"
        assert agrad.load(path, backend="numpy", device="cpu")["x"].backend_.name == "numpy"
    with pytest.raises(ValueError, match=r"load.*'cuda:7'"):
        agrad.load(path, device="cuda:7")
    with pytest.raises(ValueError, match="nowhere"):
        agrad.load(path, backend="nowhere")


def test_a_dtype_that_the_backend_lacks_is_named(path):
    torch, files = pytest.importorskip("torch"), pytest.importorskip("safetensors.torch")
    files.save_file({"half": torch.zeros(2, dtype=torch.float16)}, path)
    pytest.importorskip("array_api_strict")
    with pytest.raises(TypeError, match=r"'half' of .* is of dtype float16"):
        agrad.load(path, backend="array_api_strict")


def test_a_mapped_file_is_not_changed_by_writes(path):
    agrad.save({"x": agrad.zeros(1000), "y": agrad.ones(3)}, path)
    before = path.read_bytes()
    found = agrad.load(path)
    found["x"] += 1
    found["y"].normal_()
    assert path.read_bytes() == before
    assert values(agrad.load(path)["x"]).sum() == 0
    assert values(found["x"]).sum() == 1000


def test_what_was_loaded_may_be_saved_over_its_file(path):
    agrad.save({"x": agrad.ones(5000)}, path)
    found = agrad.load(path)
    found["more"] = found["x"] * 2
    agrad.save(found, path)
    assert values(found["x"]).tolist() == [1.0] * 5000
    again = agrad.load(path)
    assert values(again["x"]).tolist() == [1.0] * 5000
    assert values(again["more"]).tolist() == [2.0] * 5000


def test_loading_maps_instead_of_reading(path):
    agrad.save(agrad.ones(4_000_000), path)
    start = time.perf_counter()
    for _ in range(20):
        agrad.load(path)
    assert (time.perf_counter() - start) / 20 < 0.01    # 32 MB take longer to copy


# ------------------------------------------------------------------------------------------------ what cannot be saved

Pair = namedtuple("Pair", "a b")


@pytest.mark.parametrize(("obj", "match"), [
    ({"a": [1, {"f": print}]}, r"obj\['a'\]\[1\]\['f'\] cannot be saved: it is of type builtin_function"),
    ({1, 2}, "obj cannot be saved: it is of type set"),
    ([b"x"], r"obj\[0\] .* bytes"),
    ({"p": Pair(1, 2)}, r"obj\['p'\] .* test_saving.Pair, which a file could only name. Save a plain tuple or dict"),
    (defaultdict(list), "collections.defaultdict, which a file could only name"),
    ({agrad: 1}, "a key of obj cannot be saved: .* of type module"),
    ({("a", object): 1}, "a key of obj cannot be saved"),
    (agrad.Generator(), "agrad.generator.Generator"),
    (agrad.float32, "agrad.dtypes.DType"),
    (np.array(["a"]), "obj cannot be saved: dtype.* is not a dtype of agrad"),
    ([np.longdouble(1)], r"obj\[0\] cannot be saved: dtype.* is not a dtype of agrad"),
    ({"t": np.datetime64("2020-01-01")}, r"obj\['t'\] cannot be saved: dtype.* is not a dtype of agrad"),
])
def test_what_cannot_be_saved_is_named_with_its_place(obj, match, path):
    agrad.save(agrad.ones(1), path)
    before = path.read_bytes()
    with pytest.raises(TypeError, match=match):
        agrad.save(obj, path)
    assert path.read_bytes() == before
    assert os.listdir(path.parent) == [path.name]


def test_a_module_is_told_to_give_its_state_dict(path):
    class Module:
        def state_dict(self):
            return {}

    with pytest.raises(TypeError, match=r"obj\['model'\] cannot be saved: .*Module. Save its state_dict\(\)"):
        agrad.save({"model": Module()}, path)


def test_containers_that_contain_themselves(path):
    loop = {"a": []}
    loop["a"].append(loop)
    with pytest.raises(ValueError, match=r"obj\['a'\]\[0\] cannot be saved: it contains itself, as obj$"):
        agrad.save(loop, path)
    twice = [1]
    assert through([twice, twice], path) == [[1], [1]]


def test_sparse_tensors_are_not_made_dense_in_silence(path):
    sparse = pytest.importorskip("sparse")
    t = agrad.asarray(sparse.COO(np.eye(3)))
    with pytest.raises(TypeError, match=r"obj\['x'\] .* would become dense"):
        agrad.save({"x": t}, path)
    assert values(through(t.numpy(), path)).tolist() == np.eye(3).tolist()


# -------------------------------------------------------------------------------------------- damaged and foreign files


def rewritten(path, change):
    """The file with another header."""
    data = path.read_bytes()
    length = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + length])
    found = change(header)
    text = (json.dumps(header if found is None else found) if not isinstance(found, bytes) else found.decode()).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + data[8 + length :])


@pytest.fixture
def saved(path):
    agrad.save({"w": agrad.ones((4, 2)), "b": [agrad.zeros(2), 3]}, path)
    return path


def test_every_truncation_is_an_error(saved):
    data = saved.read_bytes()
    for size in range(len(data)):
        saved.write_bytes(data[:size])
        with pytest.raises(FileFormatError) as error:
            agrad.load(saved)
        if size == 0:
            assert "is empty" in str(error.value)
        elif size > 8:
            assert "is truncated" in str(error.value)
        assert str(saved) in str(error.value)
        with pytest.raises(FileFormatError):
            agrad.load(io.BytesIO(data[:size]))


def test_changed_bytes_never_crash(saved):
    data = saved.read_bytes()
    rng = np.random.default_rng(0)
    for _ in range(400):
        changed = bytearray(data)
        for place in rng.integers(0, len(data), rng.integers(1, 4)):
            changed[place] = rng.integers(0, 256)
        saved.write_bytes(changed)
        with contextlib.suppress(FileFormatError, TypeError):       # a changed number is not noticed
            str(agrad.load(saved))


def structure(text):
    def change(header):
        header["__metadata__"] |= {"agrad.structure": text, "agrad.checksum": f"{zlib.crc32(text.encode()):08x}"}

    return change


def entry(name, **changes):
    def change(header):
        header[name].update(changes)

    return change


DAMAGES = {
    "no json": (lambda header: b"{ no json", "header cannot be read"),
    "a list": (lambda header: b"{[1]}", "header cannot be read"),
    "deep": (lambda header: b'{"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}", "cannot be read"),
    "overlap": (entry("w", data_offsets=[8, 72]), "damaged|truncated"),
    "too far": (entry("w", data_offsets=[0, 2**40]), "truncated"),
    "negative": (entry("w", data_offsets=[-8, 56]), "damaged"),
    "backwards": (entry("w", data_offsets=[64, 0]), "damaged"),
    "one offset": (entry("w", data_offsets=[64]), "header cannot be read"),
    "another dtype": (entry("w", dtype="F32"), "damaged"),
    "no dtype": (entry("w", dtype="F65"), "damaged"),
    "another shape": (entry("w", shape=[3, 2]), "damaged"),
    "huge shape": (entry("w", shape=[2**62, 2**62]), "damaged"),
    "negative shape": (entry("w", shape=[-4, -2]), "damaged"),
    "no entry": (lambda header: header.update(w=3), "header cannot be read"),
    "a hole": (lambda header: header.pop("w") and None, "damaged"),
    "structure no json": (structure("{"), "description of its structure is damaged"),
    "structure deep": (structure("[" * 100_000), "description of its structure is damaged"),
    "structure of nothing": (structure('{"call": "os.system"}'), "stands for nothing"),
    "structure empty": (structure("{}"), "stands for nothing"),
    "structure of two": (structure('{"tuple": [], "dict": []}'), "stands for nothing"),
    "structure without a tensor": (structure('{"tensor": "x"}'), "mentions a tensor 'x', which is not there"),
    "structure without tensors": (structure("3"), r"does not mention the tensors \['b.0', 'w'\]"),
    "structure with a list as key": (structure('{"dict": [[[], 1]]}'), "a key of a dict cannot be one"),
    "structure with a key twice": (structure('{"dict": [["a", 1], ["a", 2]]}'), "a key twice"),
    "structure with half a pair": (structure('{"dict": [["a"]]}'), "stands for nothing"),
    "structure complex of text": (structure('{"complex": ["a", 1]}'), "stands for nothing"),
    "structure with another dtype": (structure('{"tensor": "w", "dtype": "complex128x"}'), "'w' cannot hold"),
    "structure with another key": (structure('{"tensor": "w", "etype": "complex128"}'), "'w' cannot hold"),
    "structure with a list as dtype": (structure('{"tensor": "w", "dtype": []}'), "'w' cannot hold"),
    "structure changed": (lambda header: header["__metadata__"].update({"agrad.structure": "3"}), "not what was writ"),
    "checksum missing": (lambda header: header["__metadata__"].pop("agrad.checksum") and None, "it is missing"),
    "version missing": (lambda header: header["__metadata__"].pop("agrad") and None, "lost its version"),
    "structure missing": (lambda header: header["__metadata__"].pop("agrad.structure") and None, "it is missing"),
    "later format": (lambda header: header["__metadata__"].update(agrad="2"), "in format 2 .* reads format 1: pip"),
    "metadata of numbers": (lambda header: header.update(__metadata__={"agrad": 1}), "damaged"),
    "metadata a list": (lambda header: header.update(__metadata__=[]), "damaged"),
}


@pytest.mark.parametrize("how", DAMAGES)
def test_damage_is_named(how, saved):
    change, match = DAMAGES[how]
    rewritten(saved, change)
    for source in (saved, io.BytesIO(saved.read_bytes())):
        with pytest.raises(FileFormatError, match=match):
            agrad.load(source)


def test_files_that_take_a_few_bytes_at_a_time():
    class Slow(io.BytesIO):
        def write(self, data):
            return super().write(data[:7])

    file = Slow()
    agrad.save({"w": agrad.arange(5.0)}, file)
    assert agrad.load(io.BytesIO(file.getvalue()))["w"].tolist() == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("name", ["", "new/"])
def test_a_file_needs_a_name(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(IsADirectoryError, match="needs a name"):
        agrad.save([1], name)
    assert not os.listdir(tmp_path)


def test_no_flipped_bit_of_a_header_is_overlooked():
    file = io.BytesIO()
    agrad.save({"w": agrad.arange(6.0), "c": agrad.tensor([1j]), "lr": 0.001, "k": [agrad.tensor(True), (1,)]}, file)
    data = file.getvalue()
    expected = str(agrad.load(io.BytesIO(data)))
    for place in range(8 + int.from_bytes(data[:8], "little")):
        for bit in range(8):
            changed = bytearray(data)
            changed[place] ^= 1 << bit
            with contextlib.suppress(FileFormatError):      # of the spaces behind the header nothing depends
                assert str(agrad.load(io.BytesIO(changed))) == expected


def foreign(dtype, shape, numbers=b""):
    header = json.dumps({"a": {"dtype": dtype, "shape": shape, "data_offsets": [0, len(numbers)]}}).encode()
    return io.BytesIO(len(header).to_bytes(8, "little") + header + numbers)


@pytest.mark.parametrize("shape", [[2**63, 0], [0] * 70, [1] * 70])
def test_shapes_that_no_array_has(shape):
    with pytest.raises(FileFormatError, match="which cannot be"):
        agrad.load(foreign("F32", shape, b"" if 0 in shape else b"\0" * 4))


def test_the_format_of_a_foreign_file_is_no_name_of_a_tensor():
    safetensors = pytest.importorskip("safetensors.numpy")
    data = safetensors.save({"pt": np.ones(2)}, metadata={"format": "pt", "tied": "pt"})
    assert list(agrad.load(io.BytesIO(data))) == ["pt", "tied"]


def test_every_byte_that_is_not_zero_is_true():
    a = agrad.load(foreign("BOOL", [4], b"\x00\x01\x02\xff"))["a"]
    assert a.sum().item() == 3
    assert values(a).view(np.uint8).tolist() == [0, 1, 1, 1]


def test_bytes_behind_the_end(saved):
    saved.write_bytes(saved.read_bytes() + b"more")
    with pytest.raises(FileFormatError, match="damaged"):
        agrad.load(saved)


def write_torch(path, **options):
    torch = pytest.importorskip("torch")
    torch.save({"w": torch.ones(2)}, path, **options)


def write_numpy(path, write):
    with open(path, "wb") as file:
        write(file, np.ones(2))


FOREIGN = {
    "torch": (write_torch, r"no safetensors file: it holds a pickle.*torch.load\(path, weights_only=True\)"),
    "old torch": (lambda path: write_torch(path, _use_new_zipfile_serialization=False), "it holds a pickle"),
    "pickle": (lambda path: path.write_bytes(pickle.dumps({"w": 1})), "it holds a pickle"),
    "npz": (lambda path: write_numpy(path, np.savez), "an .npz file; save the arrays with agrad.save"),
    "npy": (lambda path: write_numpy(path, np.save), "an .npy file"),
    "zip": (lambda path: path.write_bytes(b"PK\x03\x04 nothing more"), "a damaged zip archive"),
    "text": (lambda path: path.write_text("hello, world"), "it has 12 bytes and begins with b'hello, wo'"),
    "short": (lambda path: path.write_bytes(b"abc"), "it has 3 bytes"),
    "json": (lambda path: path.write_text('{"a": 1, "b": 2}'), "begins with"),
    "hdf5": (lambda path: path.write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(100)), "HDF5"),
}


@pytest.mark.parametrize("what", FOREIGN)
def test_foreign_files_are_named(what, path):
    write, match = FOREIGN[what]
    write(path)
    with pytest.raises(FileFormatError, match=match):
        agrad.load(path)


def test_a_header_as_long_as_a_pickles_first_bytes_is_read(path):
    """The length of the header is what a file begins with: 640 are the bytes that a pickle has there."""
    for length in (0x0280, 0x4B50):
        agrad.save({"x": agrad.ones(1)}, path)
        data = path.read_bytes()
        n = int.from_bytes(data[:8], "little")
        path.write_bytes(length.to_bytes(8, "little") + data[8 : 8 + n].ljust(length) + data[8 + n :])
        assert agrad.load(path)["x"].item() == 1


def test_a_file_that_is_not_there(path):
    with pytest.raises(FileNotFoundError):
        agrad.load(path)
    with pytest.raises(FileNotFoundError, match="no such folder"):
        agrad.save(1, path / "deeper" / "x")
    with pytest.raises(IsADirectoryError):
        agrad.save(1, path.parent)
    assert os.listdir(path.parent) == []


# ------------------------------------------------------------------------------------------------------------- crashes


@pytest.mark.parametrize("failing", ["fsync", "replace"])
def test_an_error_in_the_middle_leaves_the_old_file(failing, saved, monkeypatch):
    before = saved.read_bytes()

    def fail(*args):
        raise OSError("no space left on device")

    monkeypatch.setattr(os, failing, fail)
    with pytest.raises(OSError, match="no space left"):
        agrad.save({"w": agrad.zeros(1000)}, saved)
    assert saved.read_bytes() == before
    assert os.listdir(saved.parent) == [saved.name]


def test_an_interrupt_in_the_middle_leaves_the_old_file(saved, monkeypatch):
    before = saved.read_bytes()

    def interrupt(*args):
        raise KeyboardInterrupt

    monkeypatch.setattr(np, "ascontiguousarray", interrupt)
    with pytest.raises(KeyboardInterrupt):
        agrad.save({"w": agrad.zeros(1000)}, saved)
    assert saved.read_bytes() == before
    assert os.listdir(saved.parent) == [saved.name]


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs SIGKILL")
@pytest.mark.parametrize("moment", ["writing", "written"])
def test_a_killed_process_leaves_the_old_file_whole(moment, saved, tmp_path):
    before = saved.read_bytes()
    program = """
        import os, signal, sys
        import agrad
        from agrad import saving

        def die(*args):
            os.kill(os.getpid(), signal.SIGKILL)

        if sys.argv[2] == "written":
            os.replace = die
        else:
            class Dying:
                def __init__(self, *args): self.file, self.writes = open(*args), 0
                def __enter__(self): return self
                def __exit__(self, *args): pass
                def write(self, data):
                    self.writes += 1
                    if self.writes == 4:    # in the middle of the numbers
                        self.file.write(memoryview(data)[: len(data) // 2])
                        self.file.flush()
                        die()
                    self.file.write(data)
            saving.open = Dying
        agrad.save({"w": agrad.zeros(100_000), "v": agrad.ones(100_000)}, sys.argv[1])
    """
    result = subprocess.run([sys.executable, "-c", textwrap.dedent(program), str(saved), moment], capture_output=True)
    assert result.returncode == -signal.SIGKILL, result.stderr.decode()
    assert saved.read_bytes() == before
    agrad.load(saved)
    litter = [name for name in os.listdir(tmp_path) if name != saved.name]
    assert len(litter) == 1         # nobody was left to take it away
    assert litter[0].startswith(".state.safetensors.")
    agrad.save(agrad.ones(1), saved)
    assert agrad.load(saved).item() == 1


# -------------------------------------------------------------------------------------------- permissions, links, names


@pytest.mark.skipif(os.name != "posix", reason="permissions of POSIX")
def test_permissions_are_kept(path):
    before = os.umask(0o027)
    try:
        agrad.save(1, path)
    finally:
        os.umask(before)
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    path.chmod(0o604)
    agrad.save(2, path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o604


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="needs a user who may not do everything")
def test_a_file_that_must_not_be_written_is_not_replaced(path):
    agrad.save(1, path)
    path.chmod(0o400)
    with pytest.raises(PermissionError):
        agrad.save(2, path)
    assert agrad.load(path) == 1


@pytest.mark.skipif(not hasattr(os, "symlink"), reason="needs symbolic links")
def test_links_are_followed(tmp_path):
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    link = tmp_path / "link"
    link.symlink_to(folder / "file")
    agrad.save(1, link)
    agrad.save(2, link)
    assert link.is_symlink()
    assert agrad.load(link) == agrad.load(folder / "file") == 2
    assert os.listdir(folder) == ["file"]


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs pipes")
def test_a_pipe_is_written_to_not_replaced(tmp_path):
    import threading

    pipe, found = tmp_path / "pipe", []
    os.mkfifo(pipe)
    reader = threading.Thread(target=lambda: found.append(pipe.read_bytes()))
    reader.start()
    agrad.save([1, agrad.ones(2)], pipe)
    reader.join()
    assert stat.S_ISFIFO(pipe.stat().st_mode)
    assert_same(agrad.load(io.BytesIO(found[0])), [1, agrad.ones(2)])


def test_names_of_all_kinds(tmp_path, monkeypatch):
    for name in ("x" * 250, "ünï", "with space", ".hidden"):
        for kind in (str, os.fsencode, lambda p: p):
            agrad.save(name, kind(tmp_path / name))
            assert agrad.load(kind(tmp_path / name)) == name
    monkeypatch.chdir(tmp_path)
    agrad.save(5, "plain")
    assert agrad.load("plain") == 5


def test_saving_many_at_once_gives_whole_files(path):
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda i: agrad.save({"x": agrad.full((1000,), float(i))}, path), range(24)))
    found = values(agrad.load(path)["x"])
    assert (found == found[0]).all()
    assert os.listdir(path.parent) == [path.name]


def test_without_safetensors_files_are_written_but_not_read(path, monkeypatch):
    monkeypatch.setitem(sys.modules, "safetensors", None)
    agrad.save({"x": agrad.ones(2)}, path)
    with pytest.raises(ImportError, match=r"pip install 'agrad\[save\]'"):
        agrad.load(path)
    monkeypatch.undo()
    assert_same(agrad.load(path), {"x": agrad.ones(2)})


# ----------------------------------------------------------------------------------------------------- a training run


def test_the_state_of_a_generator_goes_on_after_loading(path):
    g = agrad.Generator().manual_seed(3)
    agrad.rand(5, generator=g, dtype="float32")
    state = through(g.get_state(), path)
    assert state == g.get_state()
    expected = values(agrad.rand(5, generator=g)).tolist()
    assert values(agrad.rand(5, generator=agrad.Generator().set_state(state))).tolist() == expected


@pytest.mark.parametrize("optimizer", ["SGD", "Adam", "AdamW", "RMSprop", "Adagrad", "LBFGS"])
def test_a_training_run_goes_on_as_if_it_had_not_been_interrupted(optimizer, path, backend, doubles):
    """Model, optimizer, schedule and random numbers, to the last bit."""
    def start(seed):
        agrad.manual_seed(seed)
        model = agrad.nn.Sequential(
            agrad.nn.Linear(3, 8), agrad.nn.BatchNorm1d(8), agrad.nn.ReLU(), agrad.nn.Dropout(0.3),
            agrad.nn.Linear(8, 1),
        )
        options = {"SGD": {"momentum": 0.9, "nesterov": True}}.get(optimizer, {})
        made = getattr(agrad.optim, optimizer)(model.parameters(), lr=0.01, **options)
        return model, made, agrad.optim.lr_scheduler.StepLR(made, 3, 0.5)

    def train(model, made, schedule, steps):
        losses = []
        for _ in range(steps):
            x = agrad.randn(5, 3)

            def closure():
                made.zero_grad()
                loss = agrad.sum((model(x) - agrad.sum(x, axis=1, keepdims=True)) ** 2)     # noqa: B023
                loss.backward()
                return loss

            losses.append(made.step(closure).item())
            schedule.step()
        return losses

    run = start(0)
    train(*run, 4)
    agrad.save({"run": [one.state_dict() for one in run], "rng": agrad.get_rng_state()}, path)
    expected = train(*run, 5)
    again = start(1)
    saved = agrad.load(path)
    for one, state in zip(again, saved["run"], strict=True):
        one.load_state_dict(state)
    agrad.set_rng_state(saved["rng"])
    assert train(*again, 5) == expected
    for a, b in zip(again[0].state_dict().values(), run[0].state_dict().values(), strict=True):
        assert values(a).tobytes() == values(b).tobytes()
