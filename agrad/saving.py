"""Saving and loading: nested values in a safetensors file, which holds numbers and text and no code.

The file is written beside the target and then takes its place, so that there is always a whole one. A loaded file is
mapped: numbers are read when they are used. Must know no single backend but NumPy, and no rule.
"""

import contextlib
import errno
import io
import json
import math
import mmap as memory
import os
import stat
import zipfile
import zlib
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from agrad import backends, dtypes
from agrad.creation import place
from agrad.cython_core import engine
from agrad.cython_core.engine import Tensor
from agrad.saved_structure import Path, StructureError, decode, encode
from agrad.saved_structure import place as written_place

__all__ = ["FileFormatError", "load", "save"]

_FORMAT = 1      # of the structure in the metadata
_MOST_HEADER = 100_000_000       # bytes; the format's own limit
_OURS = ("agrad", "agrad.structure", "agrad.checksum")      # keys of the metadata

# The format's names, what holds such numbers here, and as which dtype they are handed on.
_TYPES = {
    "BOOL": "bool", "I8": "int8", "I16": "int16", "I32": "int32", "I64": "int64", "U8": "uint8", "U16": "uint16",
    "U32": "uint32", "U64": "uint64", "F16": "float16", "BF16": "bfloat16", "F32": "float32", "F64": "float64",
    "C64": "complex64",
}
_CODES = {name: code for code, name in _TYPES.items()}


class FileFormatError(ValueError):
    """A file that should hold saved tensors does not, or not all of them."""


def save(obj: Any, path: Any) -> None:
    """Write tensors, and what they are nested in, into a safetensors file.

    A `state_dict` becomes a file that every reader of the format takes, under its own names. Everything else that is
    needed to have `obj` again stands in the file's metadata. Tensors are saved without their graph and their
    `requires_grad`; one that occurs several times is stored once. Views are stored as tensors of their own.

    Parameters
    ----------
    obj : object
        A Tensor or an array, or dicts, lists and tuples of these, None, booleans, numbers and strings: also an
        optimizer's `state_dict`, and the state of a generator.
    path : str, path or binary file
        A file that exists is replaced when the new one is whole and on the disk, and keeps its permissions; what a
        symbolic link points to is replaced, not the link.

    Raises
    ------
    TypeError
        For an object that cannot be saved; the message names the place inside `obj`.
    ValueError
        If a container contains itself.

    Examples
    --------
    >>> import agrad, tempfile, os
    >>> path = os.path.join(tempfile.mkdtemp(), "state.safetensors")
    >>> agrad.save({"weight": agrad.ones(2), "epoch": 3}, path)
    >>> agrad.load(path)
    {'weight': tensor([1., 1.]), 'epoch': 3}
    """
    contents = _Contents(obj)
    if hasattr(path, "write"):
        contents.write(path)
        return
    if not os.path.basename(os.fsdecode(path)):
        raise IsADirectoryError(errno.EISDIR, "a file to save in needs a name", path)
    target = os.path.realpath(os.fsdecode(path))
    if os.path.exists(target) and not os.path.isfile(target) and not os.path.isdir(target):     # a pipe, a device
        with open(target, "wb") as file:
            contents.write(file)
        return
    with _replacing(target) as beside:
        with open(beside, "wb") as file:
            contents.write(file)
            file.flush()
            os.fsync(file.fileno())
        _check(beside)


def load(path: Any, *, backend: str | None = None, device: Any = None, mmap: bool = True) -> Any:
    """What `save` wrote; of other safetensors files, a dict of their tensors.

    Parameters
    ----------
    path : str, path or binary file
    backend : str, optional
        Where the tensors are to live. Default: the default backend.
    device : object, optional
        Default: the default device of the backend.
    mmap : bool
        Map the file instead of reading it: NumPy's tensors then are views of the mapping, copied page by page when they
        are written to (the file itself is never changed), and other backends copy at once. Such a file must not be
        cut short while they live, and Windows does not let go of it.

    Returns
    -------
    object
        Tensors do not require gradients; what was one tensor is one again.

    Raises
    ------
    FileFormatError
        If the file is of another format, was truncated, its header was changed, or it was written by a later version;
        it is a ValueError. Changed numbers are not noticed: they are not read before they are used.
    ImportError
        Without the package safetensors.
    TypeError
        If the backend lacks a dtype of the file.

    Examples
    --------
    >>> import agrad, io
    >>> file = io.BytesIO()
    >>> agrad.save([agrad.zeros(2), None], file)
    >>> agrad.load(io.BytesIO(file.getvalue()))
    [tensor([0., 0.]), None]
    """
    home = place(None if backend is None else backends.find(backend), device, name="load")
    name, buffer = _buffer(path, mmap)
    try:
        header = _header(name, buffer)
        _check(path if not hasattr(path, "read") else buffer, name)
        return _Loaded(name, buffer, header, home).value()
    except StructureError as error:
        raise FileFormatError(f"{name} was changed: the description of its structure is damaged: {error}") from None


# ------------------------------------------------------------------------------------------------------------- writing


class _Entry(NamedTuple):
    """One tensor of a file."""

    code: str
    shape: tuple[int, ...]
    array: Any
    width: int      # bytes of a number, at multiples of which they are to lie


class _Contents:
    """What a file is going to hold: the entries by name, and the metadata."""

    def __init__(self, obj: Any) -> None:
        self.entries: dict[str, _Entry] = {}
        self.descriptions: dict[Any, dict[str, Any]] = {}   # by tensor and by memory: what is shared is stored once
        self.again: dict[str, str] = {}     # further names of shared tensors, as safetensors.torch.save_model has them
        self.kept: list[Any] = []           # alive, so that nothing else gets their identity or their memory
        structure = json.dumps(encode(obj, self.describe), separators=(",", ":"))
        self.metadata = {**self.again, **dict(zip(_OURS, (str(_FORMAT), structure, _checksum(structure)), strict=True))}

    def describe(self, path: Path, value: Any) -> dict[str, Any] | None:
        """The description of a tensor, which becomes an entry; None for what is none."""
        if not isinstance(value, Tensor):
            backend = backends.of(value)
            if backend is None:
                return None
            backend.reject_tracked(value)
            try:
                backend.neutral_dtype(value)
            except TypeError as error:
                raise TypeError(f"{written_place(path)} cannot be saved: {error}") from None
            value = engine.make_tensor(backend, backend.normalise(value))
        raw = value.detach().array
        array = _values(path, value)
        self.kept += value, raw, array
        places: list[Any] = [id(value)]
        if array.ndim and array.size:   # single numbers are equal objects, and still not shared
            places += id(raw), (array.__array_interface__["data"][0], array.shape, array.strides, array.dtype.str)
        for where in places:
            if where in self.descriptions:
                return self._further(path, self.descriptions[where])
        name = self._name(path)
        description = {"tensor": name}
        if value.dtype.name == "complex128":        # not a type of the format: real and imaginary parts side by side
            description["dtype"] = "complex128"
        self.entries[name] = _entry(value.dtype.name, array)
        self.descriptions |= dict.fromkeys(places, description)
        return description

    def _further(self, path: Path, description: dict[str, Any]) -> dict[str, Any]:
        self.again[self._name(path)] = description["tensor"]
        return description

    def _name(self, path: Path) -> str:
        """The keys that lead to a tensor with dots between them, with a number behind if that is taken."""
        name = wanted = ".".join(map(str, path)).encode(errors="backslashreplace").decode() or "tensor"
        number = 1
        while name in self.entries or name in self.again or name in ("__metadata__", *_OURS):
            number += 1
            name = f"{wanted}~{number}"
        return name

    def write(self, file: Any) -> None:
        """Write all of it: the header's length, the header, the numbers, those of the widest type first."""
        order = sorted(self.entries, key=lambda name: -self.entries[name].width)
        header: dict[str, Any] = {"__metadata__": self.metadata}
        end = 0
        for name in order:
            code, shape, array, _ = self.entries[name]
            header[name] = {"dtype": code, "shape": shape, "data_offsets": [end, end + array.nbytes]}
            end += array.nbytes
        text = json.dumps(header, separators=(",", ":")).encode()
        text += b" " * (-(8 + len(text)) % 16)
        if len(text) > _MOST_HEADER:
            raise ValueError(f"save(): names and structure take {len(text)} bytes; the format allows {_MOST_HEADER}")
        _write(file, len(text).to_bytes(8, "little"))
        _write(file, text)
        for name in order:
            array = np.ascontiguousarray(self.entries[name].array)
            if array.size:
                _write(file, array.reshape(-1).view(np.uint8))


def _write(file: Any, data: Any) -> None:
    """Write all of it: files without a buffer may take less at a time."""
    left = memoryview(data)
    while left:
        taken = file.write(left)
        left = left[len(left) if taken is None else taken :]


def _checksum(text: str) -> str:
    """By which a changed text is noticed: numbers are in it."""
    return f"{zlib.crc32(text.encode(errors='backslashreplace')):08x}"


def _values(path: Path, value: Tensor) -> Any:
    """A tensor's numbers as a NumPy array, in the byte order of the format."""
    backend = value.backend_
    if not backend.converts:
        raise TypeError(
            f"{written_place(path)} cannot be saved: as a tensor of {backend.name} it would become dense; "
            "where that is meant: save t.numpy()"
        )
    try:
        array = np.asarray(backend.to_numpy(value.detach().array))
    except Exception as error:
        problem = f"its values cannot be had from the backend {backend.name}: {error}"
        raise TypeError(f"{written_place(path)} cannot be saved: {problem}") from error
    return array if array.dtype.isnative and np.little_endian else array.astype(array.dtype.newbyteorder("<"))


def _entry(dtype: str, array: Any) -> _Entry:
    shape = array.shape
    if dtype == "complex128":
        return _Entry("F64", (*shape, 2), np.ascontiguousarray(array).view(np.float64), 16)
    if dtype == "bfloat16":     # the upper half of a float32
        return _Entry("BF16", shape, (array.astype(np.float32).view(np.uint32) >> 16).astype(np.uint16), 2)
    return _Entry(_CODES[dtype], shape, array, array.itemsize)


@contextlib.contextmanager
def _replacing(target: str) -> Iterator[str]:
    """A new file beside the target, which takes its place at the end; if something fails, it is taken away again."""
    before = os.stat(target) if os.path.exists(target) else None
    if before is not None and (stat.S_ISDIR(before.st_mode) or not os.access(target, os.W_OK)):
        open(target, "r+b").close()     # what writing to it would raise
    folder, name = os.path.split(target)
    if not os.path.isdir(folder):
        raise FileNotFoundError(errno.ENOENT, "there is no such folder to save in", folder)
    beside = os.path.join(folder, f".{name[:40]}.{os.urandom(4).hex()}.tmp")
    os.close(os.open(beside, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))
    try:
        yield beside
        if before is not None:
            os.chmod(beside, stat.S_IMODE(before.st_mode))
        os.replace(beside, target)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(beside)
        raise
    if hasattr(os, "O_DIRECTORY"):      # the new name, too, is to be on the disk
        handle = os.open(folder, os.O_DIRECTORY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


# ------------------------------------------------------------------------------------------------------------- reading


def _buffer(path: Any, mmap: bool) -> tuple[str, Any]:
    """What the file is called in errors, and its bytes, in memory that may be written to."""
    if hasattr(path, "read"):
        return f"the file {getattr(path, 'name', path)!r}", bytearray(path.read())
    name = repr(os.fspath(path))
    with open(path, "rb") as file:
        if mmap and os.fstat(file.fileno()).st_size:
            return name, memory.mmap(file.fileno(), 0, access=memory.ACCESS_COPY)
        return name, bytearray(file.read())


def _check(source: Any, name: str = "") -> None:
    """Let the safetensors library look at a file: every tensor has its bytes, and every byte its tensor."""
    try:
        from safetensors import SafetensorError, deserialize, safe_open
    except ImportError:
        if name:
            raise ImportError("loading needs safetensors: pip install 'agrad[save]'") from None
        return
    try:
        if isinstance(source, bytearray):
            deserialize(bytes(source))      # type: ignore[no-untyped-call]
        else:
            with safe_open(os.fsdecode(source), framework="numpy"):
                pass
    except SafetensorError as error:
        raise FileFormatError(f"{name or source} is damaged: {error}") from None


def _header(name: str, buffer: Any) -> dict[str, Any]:
    """The header of a file; an error that says what is wrong with it."""
    size = len(buffer)
    if not size:
        raise FileFormatError(f"{name} is empty; it was never written to its end")
    length = int.from_bytes(buffer[:8], "little")
    if length > _MOST_HEADER or bytes(buffer[8:9]) != b"{":
        raise FileFormatError(f"{name} is no safetensors file: {_other_format(buffer)}")
    if size < 8 + length:
        raise FileFormatError(f"{name} is truncated: its header has {length} bytes, and {size - 8} are there")
    try:
        header = json.loads(bytes(buffer[8 : 8 + length]))
        end = max((entry["data_offsets"][1] for key, entry in header.items() if key != "__metadata__"), default=0)
        problem = f"{8 + length + end - size} bytes are missing" if size < 8 + length + end else ""
    except (ValueError, TypeError, KeyError, IndexError, AttributeError, RecursionError) as error:
        problem = f"{type(error).__name__}: {error}"
        raise FileFormatError(f"{name} is damaged: its header cannot be read ({problem})") from None
    if problem:
        raise FileFormatError(f"{name} is truncated: {problem}")
    return header       # type: ignore[no-any-return]


_TORCH = (
    "it holds a pickle, which could run any code, as torch.save() writes it. Convert it where you trust it: "
    "safetensors.torch.save_file(torch.load(path, weights_only=True), new_path)"
)
_OTHERS = {     # what files begin with
    b"\x80\x02": _TORCH, b"\x80\x03": _TORCH, b"\x80\x04": _TORCH, b"\x80\x05": _TORCH,
    b"\x93NUMPY": "it is an .npy file; save the array with agrad.save(numpy.load(path), new_path)",
    b"\x89HDF": "it is an HDF5 file; read it with h5py, and save a dict of its arrays",
    b"GGUF": "it is a GGUF file",
}


def _other_format(buffer: Any) -> str:
    """What a file of another format is, and what to do with it."""
    if bytes(buffer[:2]) == b"PK":
        return _zipped(buffer)
    known = [what for start, what in _OTHERS.items() if bytes(buffer[: len(start)]) == start]
    return known[0] if known else f"it has {len(buffer)} bytes and begins with {bytes(buffer[:9])!r}"


def _zipped(buffer: Any) -> str:
    try:
        inside = zipfile.ZipFile(io.BytesIO(buffer)).namelist()
    except zipfile.BadZipFile:
        return "it is a damaged zip archive"
    if all(one.endswith(".npy") for one in inside):
        return "it is an .npz file; save the arrays with agrad.save(dict(numpy.load(path)), new_path)"
    return _TORCH if any(one.endswith(".pkl") for one in inside) else "it is a zip archive"


class _Loaded:
    """A file whose header has been checked."""

    def __init__(self, name: str, buffer: Any, header: dict[str, Any], home: tuple[Any, Any]) -> None:
        self.name, self.buffer, self.home = name, buffer, home
        self.metadata: dict[str, str] = header.pop("__metadata__", None) or {}
        self.header = header
        self.start = 8 + int.from_bytes(buffer[:8], "little")
        self.made: dict[tuple[str, Any], Tensor] = {}

    def value(self) -> Any:
        """What was saved."""
        version = self.metadata.get("agrad")
        if version is None:
            if any(name in self.metadata for name in _OURS):
                raise StructureError("it has lost its version")
            return self._plain()
        if version != str(_FORMAT):
            raise FileFormatError(
                f"{self.name} was written in format {version} of agrad, and this version reads format {_FORMAT}: "
                "pip install --upgrade agrad"
            )
        try:
            text = self.metadata["agrad.structure"]
            if _checksum(text) != self.metadata["agrad.checksum"]:
                raise StructureError("it is not what was written")
            found = decode(json.loads(text), self._described)
        except (KeyError, ValueError, RecursionError) as error:
            if isinstance(error, FileFormatError):
                raise
            problem = "it is missing" if isinstance(error, KeyError) else str(error)
            raise StructureError(problem) from None
        unused = self.header.keys() - {name for name, _ in self.made}
        if unused:
            raise StructureError(f"it does not mention the tensors {sorted(unused)}")
        return found

    def _plain(self) -> dict[str, Tensor]:
        """The tensors of a file of somebody else's; names that were left out since they are shared come back."""
        found = {name: self._tensor(name, None) for name in self.header}
        names = self.metadata.keys() - found.keys() - {"format"}      # "pt" there is no tensor
        again = {name: kept for name, kept in self.metadata.items() if kept in found and name in names}
        return found | {name: found[kept] for name, kept in again.items()}

    def _described(self, description: dict[str, Any]) -> Tensor:
        name, dtype = description["tensor"], description.get("dtype")
        if not isinstance(name, str) or name not in self.header:
            raise StructureError(f"it mentions a tensor {name!r}, which is not there")
        if description not in ({"tensor": name}, {"tensor": name, "dtype": "complex128"}):
            raise StructureError(f"{name!r} cannot hold {description}")
        return self._tensor(name, dtype)

    def _tensor(self, name: str, dtype: Any) -> Tensor:
        if (name, dtype) not in self.made:
            self.made[name, dtype] = self._make(name, dtype)
        return self.made[name, dtype]

    def _make(self, name: str, dtype: Any) -> Tensor:
        entry = self.header[name]
        code, shape = entry["dtype"], tuple(entry["shape"])
        if code not in _TYPES:
            raise FileFormatError(f"{self.name} holds numbers of type {code} as {name!r}, which agrad does not have")
        found = _TYPES[code]
        try:
            array = self._array(entry["data_offsets"], "uint16" if found == "bfloat16" else found, shape)
        except FileFormatError:
            raise
        except ValueError as error:
            raise FileFormatError(f"{self.name} holds {name!r} of shape {shape}, which cannot be: {error}") from None
        if found == "bfloat16":
            array = (array.astype(np.uint32) << 16).view(np.float32)
        if found == "bool" and array.view(np.uint8).max(initial=0) > 1:     # of another writer: True is 1 here
            array = array.view(np.uint8) != 0
        if dtype is not None:
            if (code, shape[-1:]) != ("F64", (2,)):
                raise StructureError(f"{name!r} cannot hold {dtype!r}")
            array, found = array.view(np.complex128)[..., 0], dtype
        backend, device = self.home
        try:
            raw = backend.from_numpy(array, backend.to_dtype(dtypes.of(found)), device, None)
        except (TypeError, AttributeError) as error:
            raise TypeError(f"load(): {name!r} of {self.name} is of dtype {found}: {error}") from None
        return engine.make_tensor(backend, backend.normalise(raw))

    def _array(self, offsets: list[int], dtype: str, shape: tuple[int, ...]) -> Any:
        """The numbers where they lie in the file."""
        kind = np.dtype(dtype).newbyteorder("<")
        if 0 in shape:
            return np.empty(shape, dtype)
        count = math.prod(shape)
        if offsets[1] - offsets[0] != count * kind.itemsize:
            raise FileFormatError(f"{self.name} is damaged: {offsets} is no place for {count} numbers of {dtype}")
        array = np.frombuffer(self.buffer, kind, count, self.start + offsets[0]).reshape(shape)
        return array if array.flags.aligned and kind.isnative else array.astype(dtype)
