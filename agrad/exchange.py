"""Memory shared with other libraries, both ways: DLPack. It never drops a graph.

Must know no single library but NumPy, and no rule.
"""

from contextlib import suppress
from typing import Any

import numpy as np

from agrad.cython_core import engine
from agrad.cython_core.engine import Tensor

CPU = 1     # DLPack's number of the processor's memory


def dlpack(
    self: Tensor,
    *,
    stream: Any = None,
    max_version: tuple[int, int] | None = None,
    dl_device: tuple[Any, int] | None = None,
    copy: bool | None = None,
) -> Any:
    """A DLPack capsule of the memory, for `from_dlpack` of any library.

    Raises
    ------
    BufferError
        If the tensor requires grad, or its library exports nothing.

    Examples
    --------
    >>> import agrad, numpy as np
    >>> np.from_dlpack(agrad.ones(2))
    array([1., 1.])
    """
    given = {"max_version": max_version, "dl_device": dl_device, "copy": copy}
    return exporting(self).__dlpack__(stream=stream, **{name: v for name, v in given.items() if v is not None})


def dlpack_device(self: Tensor) -> tuple[Any, int]:
    """Kind and number of the device, in DLPack's numbers."""
    return exporting(self).__dlpack_device__()      # type: ignore[no-any-return]


def exporting(t: Tensor) -> Any:
    """The array behind a tensor; BufferError if it is tracked or cannot be exported."""
    check_untracked(t)
    raw = t.array
    if not hasattr(raw, "__dlpack__"):
        raise BufferError(
            f"the backend {t.backend_.name} does not export arrays through DLPack; "
            "move the tensor first, with to(backend='numpy')"
        )
    return raw


def check_untracked(t: Tensor) -> None:
    """BufferError if a graph would be lost."""
    if t.requires_grad:
        raise BufferError(
            "a tensor that requires grad is not exported through DLPack, since its graph would be lost: "
            "export tensor.detach(), which shares the memory"
        )


def from_dlpack(x: Any, backend: Any, device: Any, copy: bool | None) -> Tensor:
    """A tensor of a backend on the memory of `x`, or on a copy of it."""
    if isinstance(x, Tensor):
        x = exporting(x)
    elif not hasattr(x, "__dlpack__"):
        kind = type(x).__name__
        raise AttributeError(f"from_dlpack() needs an object with __dlpack__, not {kind}; asarray() takes more kinds")
    return engine.make_tensor(backend, backend.normalise(imported(x, backend, device, copy)))


def imported(x: Any, backend: Any, device: Any, copy: bool | None) -> Any:
    """A raw array on foreign memory; BufferError that names the backend if that cannot be done."""
    given = {key: value for key, value in (("device", device), ("copy", copy)) if value is not None}
    try:
        kernel = engine.raw_kernel(engine.find_op("from_dlpack"), backend)
    except NotImplementedError:
        return backend.from_numpy(np.from_dlpack(x), None, device, copy)
    try:
        return kernel(x, **given)
    except (BufferError, RuntimeError, AssertionError, TypeError) as error:
        if copy is not False and x.__dlpack_device__()[0] == CPU:   # memory that this library cannot use as it is
            with suppress(BufferError, RuntimeError, TypeError):
                return backend.from_numpy(np.from_dlpack(x), None, device, True)
        raise BufferError(
            f"from_dlpack() on the backend {backend.name} cannot take this {type(x).__name__}: {error}; "
            "export a copy in the memory of the processor"
        ) from error
