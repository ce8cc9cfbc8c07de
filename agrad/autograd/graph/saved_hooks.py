"""What happens to the values that a graph saves: hooks that pack and unpack them, and two that move them elsewhere.

Must know no single library.
"""

import contextlib
import os
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Self

import numpy as np

from agrad import backends
from agrad.cython_core import engine
from agrad.cython_core.engine import Layered, SavedHooks, Tensor
from agrad.transfer import move_raw


class saved_tensors_hooks:
    """Pack the values that operations save for differentiation, and unpack them when they are needed.

    The innermost context acts. Numbers are not packed.

    Parameters
    ----------
    pack_hook : callable
        Called with every Tensor that is saved, when it is saved; may return anything. An operand that is a Tensor comes
        as itself, a result as a Tensor without history.
    unpack_hook : callable
        Called with what `pack_hook` returned, when the value is needed; returns a Tensor with its values. History is
        added to it by agrad.

    Examples
    --------
    >>> import agrad
    >>> x = agrad.tensor([1.0, 2.0], requires_grad=True)
    >>> with agrad.autograd.graph.saved_tensors_hooks(lambda t: t.float(), lambda t: t.double()):
    ...     y = x.exp()
    >>> y.sum().backward()
    >>> x.grad
    tensor([2.7183, 7.3891])
    """

    def __init__(self, pack_hook: Callable[[Tensor], Any], unpack_hook: Callable[[Any], Tensor]) -> None:
        self.pack_hook, self.unpack_hook = pack_hook, unpack_hook
        self._before: list[engine.Mode] = []

    def __enter__(self) -> Self:
        before = engine.get_mode()
        if before.saved_hooks is not None and before.saved_hooks.refusal is not None:
            raise RuntimeError(before.saved_hooks.refusal)
        engine.set_mode(before.replace(saved_hooks=SavedHooks(self.pack_hook, self.unpack_hook)))
        self._before.append(before)
        return self

    def __exit__(self, *_: object) -> None:
        engine.set_mode(self._before.pop())


@contextlib.contextmanager
def disable_saved_tensors_hooks(error_message: str) -> Iterator[None]:
    """Refuse `saved_tensors_hooks` inside: entering them raises RuntimeError with this message, as does being in them.

    Examples
    --------
    >>> import agrad
    >>> with agrad.autograd.graph.disable_saved_tensors_hooks("not in here"):
    ...     with agrad.autograd.graph.save_on_cpu():
    ...         pass
    Traceback (most recent call last):
    RuntimeError: not in here
    """
    before = engine.get_mode()
    if before.saved_hooks is not None and before.saved_hooks.refusal is None:
        raise RuntimeError(error_message)
    engine.set_mode(before.replace(saved_hooks=SavedHooks(refusal=error_message)))
    try:
        yield
    finally:
        engine.set_mode(before)


def _stays(t: Tensor) -> bool:
    """Whether a saved value cannot be moved: it is inside a transform, or not known yet."""
    return t.backend_.lazy or isinstance(engine.raw_value(t), Layered)


class save_on_cpu(saved_tensors_hooks):
    """Keep what operations save in the CPU's memory until it is needed.

    Values of a library without a CPU device wait as NumPy arrays.

    Parameters
    ----------
    pin_memory : bool
        For programs written for PyTorch; without effect.
    device_type : str
        Likewise.

    Examples
    --------
    >>> import agrad
    >>> x = agrad.tensor([1.0, 2.0], requires_grad=True)
    >>> with agrad.autograd.graph.save_on_cpu():
    ...     y = (x * x).sum()
    >>> y.backward()
    >>> x.grad
    tensor([2., 4.])
    """

    def __init__(self, pin_memory: bool = False, device_type: str = "cuda") -> None:
        super().__init__(_to_cpu, _from_cpu)


def _to_cpu(t: Tensor) -> Any:
    """The tensor itself if it is there, else (its array on the CPU, its backend and device)."""
    backend = t.backend_
    if _stays(t):
        return t
    target, device = backend, None
    try:
        device = backend.to_device("cpu")
    except (TypeError, ValueError):
        target = backends.find("numpy")
    if target is backend and device in (None, t.device):
        return t
    return move_raw(t.detach().array, backend, target, device), target, backend, t.device


def _from_cpu(packed: Any) -> Tensor:
    if isinstance(packed, Tensor):
        return packed
    raw, source, backend, device = packed
    return engine.make_tensor(backend, move_raw(raw, source, backend, backend.to_device(device)))


class save_on_disk(saved_tensors_hooks):
    """Keep what operations save in files until it is needed, and read it back through memory maps.

    Each value becomes a .npy file in a temporary folder, written once however often it is saved. The file is deleted
    when the graph drops the value: after `backward`, or with the last tensor of the graph. Leaves that require grad
    stay in memory, where they are anyway, as does what takes less than `min_bytes`.

    Parameters
    ----------
    directory : path, optional
        Where the temporary folder is made; by default where the system has them.
    min_bytes : int
        What is smaller stays in memory.

    Examples
    --------
    >>> import agrad
    >>> x = agrad.linspace(0, 1, 100_000).requires_grad_()
    >>> with agrad.autograd.graph.save_on_disk():
    ...     y = x.exp().sin().sum()
    >>> y.backward()
    >>> x.grad[0]
    tensor(0.5403)
    """

    def __init__(self, directory: str | os.PathLike[str] | None = None, min_bytes: int = 65536) -> None:
        super().__init__(_Writer(directory, min_bytes), _read)


class _Writer:
    """Writes saved values to files, each once."""

    def __init__(self, directory: str | os.PathLike[str] | None, min_bytes: int) -> None:
        self._directory, self._min_bytes = directory, min_bytes
        self._written: dict[int, tuple[weakref.ref[Any], int, weakref.ref[_File]]] = {}
        self._folder: _Folder | None = None

    def __call__(self, t: Tensor) -> Any:
        """The tensor itself if it stays in memory, else its file."""
        if _stays(t) or (t.is_leaf and t.requires_grad):
            return t
        raw, version = engine.raw_value(t), t._version
        found = self._written.get(id(raw))
        file = found[2]() if found is not None and found[0]() is raw and found[1] == version else None
        if file is not None:
            return file
        values = t.backend_.to_numpy(t.detach().array)
        if values.nbytes < self._min_bytes:
            return t
        if self._folder is None:
            self._folder = _Folder(self._directory)
        file = _File(self._folder, values, t)
        key, written = id(raw), self._written
        with contextlib.suppress(TypeError):    # a type without weak references: written each time
            written[key] = (weakref.ref(raw, lambda _: written.pop(key, None)), version, weakref.ref(file))
        return file


class _Folder:
    """A temporary folder that goes with the last file in it."""

    def __init__(self, directory: str | os.PathLike[str] | None) -> None:
        import shutil  # these two and what they import are slow to load
        import tempfile

        self.path = Path(tempfile.mkdtemp(prefix="agrad-saved-", dir=directory))
        self.n_files = 0
        weakref.finalize(self, shutil.rmtree, self.path, ignore_errors=True)


class _File:
    """A saved value in a file."""

    def __init__(self, folder: _Folder, values: np.ndarray[Any, Any], t: Tensor) -> None:
        folder.n_files += 1
        self._folder, self._path = folder, folder.path / f"{folder.n_files}.npy"
        self._backend, self._dtype, self._device = t.backend_, t.dtype, t.device
        self._form = values.dtype, values.shape
        # as bytes: dtypes that NumPy does not know by itself would come back without their meaning
        np.save(self._path, np.ascontiguousarray(values).reshape(-1).view(np.uint8))
        weakref.finalize(self, _delete, self._path)

    def read(self) -> Tensor:
        """A tensor on the file's pages, where the backend can share NumPy's memory; else a copy."""
        pages = np.asarray(np.load(self._path, mmap_mode="c"))
        dtype, shape = self._form
        values = pages.view(dtype).reshape(shape)
        backend = self._backend
        raw = backend.from_numpy(values, backend.to_dtype(self._dtype), backend.to_device(self._device), None)
        return engine.make_tensor(backend, backend.normalise(raw))


def _delete(path: Path) -> None:
    with contextlib.suppress(OSError):      # in use, on Windows: it goes with the folder
        path.unlink()


def _read(packed: Any) -> Tensor:
    return packed if isinstance(packed, Tensor) else packed.read()
