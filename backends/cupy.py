"""The CuPy backend: arrays on CUDA devices, computed with on the current stream.

It stands on array_api_compat.cupy, which has the standard's names; what still differs is said here. Nothing here waits
for a device but `to_numpy`, and what CuPy itself cannot do without waiting: reading at masks, `nonzero`, `unique_*`,
repeats by an array. CuPy is imported without a device too, so everything that needs one says so.
"""

from collections.abc import Callable, Iterable, Iterator
from typing import Any, ClassVar

import array_api_compat.cupy as namespace
import cupy
import cupyx
import numpy as np

from agrad import dtypes
from agrad.backends.adapter import OfNumPysDtypes
from agrad.cython_core.engine import Op

ADDED = "float16 float32 float64 int32 int64 uint32 uint64".split()     # what CuPy adds at repeated places


# ------------------------------------------------------------------------------------------------------------- devices
# CuPy works on the current device, whatever device the arrays are on, and puts results there.


def require_device() -> None:
    """Raise unless there is a device: CuPy's own error speaks of its driver."""
    if not cupy.cuda.is_available():
        raise RuntimeError(
            "the backend cupy needs a CUDA device, and there is none: cupy.cuda.is_available() is False. Is there a "
            "GPU, a driver, and the CuPy that belongs to it? On the processor: agrad.use_backend('numpy') or 'torch'"
        )


def count_devices() -> int:
    return int(cupy.cuda.runtime.getDeviceCount()) if cupy.cuda.is_available() else 0


def on_device(function: Callable[..., Any]) -> Callable[..., Any]:
    """A function that makes arrays, with the device as a keyword; without it they land on the current device."""
    def create(*args: Any, device: Any = None, **kwargs: Any) -> Any:
        require_device()
        with cupy.cuda.Device(device):
            return function(*args, **kwargs)

    return create


def on_device_of_arrays(function: Callable[..., Any]) -> Callable[..., Any]:
    """A kernel that runs where its first array is."""
    def kernel(*args: Any, **kwargs: Any) -> Any:
        first = next(arrays_among(args), None)
        if first is None:
            return function(*args, **kwargs)
        with first.device:
            return function(*args, **kwargs)

    return kernel


def arrays_among(args: Iterable[Any]) -> Iterator[Any]:
    for value in args:
        if isinstance(value, cupy.ndarray):
            yield value
        elif isinstance(value, (tuple, list)):
            yield from arrays_among(value)


# ------------------------------------------------------------------------------------------------------------- kernels


def _clip(x: Any, /, min: Any = None, max: Any = None) -> Any:
    result = x if min is None else cupy.maximum(x, min)     # the compatible function waits for the device
    result = result if max is None else cupy.minimum(result, max)
    return result.astype(x.dtype, copy=result is x)


def _conj(x: Any, /) -> Any:
    return cupy.conj(x) if x.dtype.kind == "c" else x


def _from_dlpack(x: Any, /, *, device: Any = None, copy: bool | None = None) -> Any:
    require_device()
    with cupy.cuda.Device(device) as current:
        if x.__dlpack_device__()[0] == 1:   # on the processor
            if copy is False:
                raise ValueError("a copy is needed to go from the processor to a CUDA device; copy=False forbids it")
            return cupy.asarray(np.from_dlpack(x))
        made = cupy.from_dlpack(x, copy=copy)
        if device is None or made.device == current:
            return made
        if copy is False:
            raise ValueError(f"a copy is needed to go from {made.device} to {current}, and copy=False forbids it")
        return made.copy()


# ------------------------------------------------------------------------------------------------------------- indices


def has_places(key: Any) -> bool:
    """Whether a key holds index arrays, which may name a place twice; masks do not."""
    parts = key if isinstance(key, tuple) else (key,)
    return any(isinstance(part, cupy.ndarray) and part.dtype.kind != "b" and part.ndim for part in parts)


def only_mask(key: Any, x: Any, value: Any) -> Any:
    """The mask of a key that is one, so that it broadcasts against x; None of another key.

    None too if the value has elements of its own for the places of the mask: these must be counted.
    """
    part = key[0] if isinstance(key, tuple) and len(key) == 1 else key
    if not isinstance(part, cupy.ndarray) or part.dtype.kind != "b" or not part.ndim:
        return None
    rest = x.ndim - part.ndim
    fits = part.shape == x.shape[: part.ndim] and np.ndim(value) <= rest
    return part.reshape(part.shape + (1,) * rest) if fits else None


def last_writes(x: Any, key: Any, value: Any) -> Any:
    """The value with every write to a place that is written again later replaced by the last one to that place.

    CuPy writes at index arrays in no order. Writes are numbered, and the largest number to each place is looked up.
    """
    places = cupy.arange(x.size).reshape(x.shape)[key]
    value = cupy.broadcast_to(value.reshape(value.shape[max(0, value.ndim - places.ndim) :]), places.shape)
    last = cupy.zeros(x.size, dtype=np.uint64)
    cupyx.scatter_max(last, places.ravel(), cupy.arange(places.size, dtype=np.uint64))
    return value.ravel()[last.astype(np.int64)[places]]


# ------------------------------------------------------------------------------------------------------------- adapter


class CuPy(OfNumPysDtypes):
    """CuPy's arrays, on CUDA devices."""

    label, arrays, namespace = "cupy", cupy.ndarray, namespace
    own: ClassVar[dict[str, Callable[..., Any]]] = {
        **{name: on_device(getattr(namespace, name)) for name in "arange empty eye full linspace ones zeros".split()},
        "asarray": on_device(namespace.asarray), "clip": _clip, "conj": _conj, "from_dlpack": _from_dlpack,
        "sign": cupy.sign,  # the compatible one waits for the device
    }

    def __init__(self) -> None:
        super().__init__()
        self.devices = self.plain = True
        self._several = count_devices() > 1

    def version(self) -> str:
        return str(cupy.__version__)

    def kernel(self, op: Op) -> Callable[..., Any] | None:
        found = super().kernel(op)
        return on_device_of_arrays(found) if found is not None and self._several else found

    # -- dtypes

    def dtype_of(self, raw: Any) -> Any:
        return raw.dtype

    def shape_of(self, raw: Any) -> tuple[int, ...]:
        return raw.shape    # type: ignore[no-any-return]

    def to_dtype(self, dtype: Any) -> Any:
        try:
            return dtypes.of(dtype).dtype
        except AttributeError as error:
            raise TypeError(f"the backend cupy has no dtype {dtype}: {error}; torch and jax have it") from None

    # -- devices

    def device_of(self, raw: Any) -> Any:
        return raw.device

    def to_device(self, device: Any) -> Any:
        require_device()
        if device == "cuda":
            return cupy.cuda.Device()
        if self.device_name(device) not in self.device_names():
            raise self.no_device(device)
        return device if isinstance(device, cupy.cuda.Device) else cupy.cuda.Device(int(device.partition(":")[2]))

    def device_names(self) -> tuple[str, ...]:
        return tuple(f"cuda:{i}" for i in range(count_devices()))

    def device_name(self, device: Any) -> str:
        return f"cuda:{device.id}" if isinstance(device, cupy.cuda.Device) else str(device)

    def usual_device(self) -> Any:
        require_device()
        return cupy.cuda.Device()

    # -- arrays

    def zeros(self, shape: tuple[int, ...], dtype: Any, device: Any) -> Any:
        require_device()
        with cupy.cuda.Device(device):
            return cupy.zeros(shape, dtype)

    def full(self, shape: tuple[int, ...], value: Any, dtype: Any, device: Any) -> Any:
        require_device()
        with cupy.cuda.Device(device):
            return cupy.full(shape, value, dtype)

    def scalar(self, value: Any, dtype: Any, device: Any) -> Any:
        return self.full((), value, dtype, device)      # filled there: nothing is copied from the processor

    def copy(self, raw: Any) -> Any:
        with raw.device:
            return raw.copy()

    def copy_like(self, raw: Any, like: Any) -> Any:
        with like.device:
            made = cupy.empty_like(like, dtype=raw.dtype)
            made[...] = raw
            return made

    def laid_out_like(self, raw: Any, like: Any) -> Any:
        return raw if raw.strides == like.strides else self.copy_like(raw, like)

    def convert(self, raw: Any, dtype: Any, device: Any, copy: bool | None) -> Any:
        moves = device is not None and device != raw.device
        if copy is False and (moves or dtype not in (None, raw.dtype)):
            raise ValueError("a copy is needed to change the dtype or the device, and copy=False forbids it")
        with raw.device:
            made = raw if dtype is None else raw.astype(dtype, copy=False)
        if moves:
            with device:
                return made.copy()
        return self.copy(made) if copy and made is raw else made

    def normalise(self, raw: Any) -> Any:
        return raw if type(raw) is cupy.ndarray else cupy.asarray(raw).view(cupy.ndarray)

    def from_numpy(self, array: Any, dtype: Any, device: Any, copy: bool | None) -> Any:
        require_device()
        if copy is False:
            raise ValueError("cupy cannot share the memory of a NumPy array, which is on the processor; leave copy out")
        array = np.asarray(array, dtype=array.dtype.newbyteorder("="))
        with cupy.cuda.Device(device):
            return cupy.asarray(array, dtype=dtype)

    def to_numpy(self, raw: Any) -> Any:
        return cupy.asnumpy(raw)

    # -- writes

    def shares(self, a: Any, b: Any) -> bool:
        return bool(cupy.may_share_memory(a, b))    # compares addresses, without the device

    def write(self, raw: Any, value: Any) -> None:
        self.set_item(raw, ..., value)

    def set_item(self, raw: Any, key: Any, value: Any) -> Any:
        with raw.device:
            if not isinstance(value, cupy.ndarray):
                value = np.asarray(value).astype(raw.dtype).item()
            elif self.shares(raw, value):
                value = value.copy()    # CuPy copies memory onto overlapping memory in any order
            mask = only_mask(key, raw, value)
            if mask is not None:
                cupy.copyto(raw, value, casting="unsafe", where=mask)   # without counting, which waits for the device
                return raw
            if isinstance(value, cupy.ndarray) and value.size > 1 and has_places(key):
                value = last_writes(raw, key, value)
            raw[key] = value
        return raw

    def add_into(self, raw: Any, value: Any) -> Any:
        with raw.device:
            raw += value
        return raw

    def scatter_add(self, raw: Any, key: Any, value: Any) -> Any:
        with raw.device:
            value = value.astype(raw.dtype, copy=False)
            if not has_places(key) or raw.dtype.name in ADDED:
                cupyx.scatter_add(raw, key, value)
            elif raw.dtype.kind == "c":
                cupyx.scatter_add(raw.real, key, value.real)
                cupyx.scatter_add(raw.imag, key, value.imag)
            else:
                wide = raw.astype(np.int64)
                cupyx.scatter_add(wide, key, value.astype(np.int64))
                raw[...] = wide
        return raw

    def writes_alike(self, raw: Any, other: Any, divides: bool) -> bool:
        if (divides and raw.dtype.kind not in "fc") or raw.device != cupy.cuda.Device():
            return False
        if not isinstance(other, cupy.ndarray):
            return raw.dtype.kind == "c" or (raw.dtype.kind == "f" and not isinstance(other, complex))
        return np.can_cast(other.dtype, raw.dtype, "same_kind") and (other.ndim == 0 or other.shape == raw.shape)
