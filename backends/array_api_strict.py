"""The array-api-strict backend: arrays that do what the standard says and nothing else, on devices that are pretended.

Only what the standard lacks and agrad promises is filled in here: keys beyond the standard's, writing at integer
arrays, adding at repeated positions. There the positions come from NumPy, and the data takes the library's public way.
"""

from collections.abc import Callable
from math import prod
from typing import Any, ClassVar

import array_api_strict as namespace
import numpy as np

from agrad import dtypes
from agrad.backends.adapter import Adapter

INFO = namespace.__array_namespace_info__()
DEVICES = {repr(device).split("'")[1]: device for device in INFO.devices()}
CPU = INFO.default_device()


def _is_basic(key: Any) -> bool:
    """Whether a key is made of ints, slices, None and Ellipsis."""
    parts = key if isinstance(key, tuple) else (key,)
    return all(type(part) is int or part is None or part is Ellipsis or isinstance(part, slice) for part in parts)


def _within(part: Any, length: int) -> Any:
    """The same slice, with bounds that the standard allows."""
    positions = range(length)[part]
    if not positions:
        return slice(0, 0)
    return slice(positions.start, positions.stop if positions.stop >= 0 else None, positions.step)


def _complete(key: Any, shape: tuple[int, ...]) -> tuple[Any, ...]:
    """A basic key as the standard wants it: an Ellipsis for the axes that are left out, and bounds within the axes."""
    parts = list(key) if isinstance(key, tuple) else [key]
    if Ellipsis not in parts:
        parts.append(Ellipsis)
    lengths = iter(shape)
    for i, part in enumerate(parts):
        if part is Ellipsis:
            rest = sum(p is not None for p in parts[i + 1 :])
            lengths = iter(shape[len(shape) - rest :] if rest else ())
        elif part is not None:
            length = next(lengths, 0)
            parts[i] = _within(part, length) if isinstance(part, slice) else part
    return tuple(parts)


def _diagonal(x: Any, /, *, offset: int = 0) -> Any:
    if x.device != CPU:
        return namespace.asarray(namespace.linalg.diagonal(x, offset=offset), copy=True)
    values = np.asarray(x)
    view = np.linalg.diagonal(values, offset=offset)
    view.flags.writeable = values.flags.writeable   # NumPy makes it read-only
    return namespace.asarray(view, copy=False)


def _matrix_power(x: Any, n: int, /) -> Any:
    return namespace.asarray(x, copy=True) if n == 1 else namespace.linalg.matrix_power(x, n)   # NumPy returns x itself


def _take(x: Any, indices: Any, /, *, axis: int | None = None) -> Any:
    if isinstance(indices, int):    # what a 0-d index tensor is; NumPy takes it
        return x[(*(slice(None),) * ((axis or 0) % x.ndim), indices, ...)]
    return namespace.take(x, indices, axis=axis)


def _isin(x1: Any, x2: Any, /, *, invert: bool = False) -> Any:
    found = namespace.isin(x1, x2)  # which forgets invert
    return namespace.logical_not(found) if invert else found


class ArrayApiStrict(Adapter):
    """Arrays of array-api-strict."""

    label, arrays, namespace = "array_api_strict", type(namespace.asarray(0)), namespace
    distribution = "array-api-strict"
    own: ClassVar[dict[str, Callable[..., Any]]] = {
        "linalg.diagonal": _diagonal, "linalg.matrix_power": _matrix_power, "isin": _isin,
        "take": _take,
    }

    def __init__(self) -> None:
        super().__init__()
        self.devices = True

    # -- dtypes and devices

    def device_of(self, raw: Any) -> Any:
        return raw.device

    def to_dtype(self, dtype: Any) -> Any:
        neutral = dtypes.of(dtype)
        found = getattr(namespace, neutral.name, None)
        if found is None:
            raise TypeError(f"array_api_strict has no {neutral}: the standard does not know it")
        return found

    def has_dtype(self, dtype: dtypes.DType, device: Any = None) -> bool:
        return dtype.name in INFO.dtypes(device=device)

    def default_dtypes(self, device: Any = None) -> dict[str, dtypes.DType]:
        return {kind: dtypes.of(own) for kind, own in INFO.default_dtypes(device=device).items()}

    def to_device(self, device: Any) -> Any:
        if device in DEVICES.values():
            return device
        if device == "cpu":  # as the other backends call it
            return CPU
        if device not in DEVICES:
            raise self.no_device(device)
        return DEVICES[device]

    def device_names(self) -> tuple[str, ...]:
        return tuple(DEVICES)

    def device_name(self, device: Any) -> str:
        return next(name for name, known in DEVICES.items() if known == device)

    def usual_device(self) -> Any:
        return CPU

    # -- arrays

    def convert(self, raw: Any, dtype: Any, device: Any, copy: bool | None) -> Any:
        if device is not None and device != raw.device:
            if copy is False:
                raise ValueError("a copy is needed to go to another device, and copy=False forbids it")
            raw, copy = raw.to_device(device), None
        return namespace.asarray(raw, dtype=dtype, copy=copy)

    def to_numpy(self, raw: Any) -> Any:
        return np.asarray(raw.to_device(CPU))

    def normalise(self, raw: Any) -> Any:
        return raw if isinstance(raw, self.arrays) else namespace.asarray(raw)

    # -- reading and writing at keys

    def get_item(self, x: Any, key: Any, /) -> Any:
        if self._is_mask(key):
            return x[key]
        if _is_basic(key):
            return x[_complete(key, x.shape)]
        places = np.arange(prod(x.shape)).reshape(x.shape)[self._numpy_key(key)]
        taken = namespace.take(namespace.reshape(x, (-1,)), namespace.asarray(places.ravel(), device=x.device))
        return namespace.reshape(taken, places.shape)

    def set_item(self, raw: Any, key: Any, value: Any) -> Any:
        if self._is_mask(key):
            raw[key] = self._fitting(value, raw)
        elif _is_basic(key):
            self.write(self.get_item(raw, key), value)  # into a view
        else:
            written = np.array(self.to_numpy(raw))
            written[self._numpy_key(key)] = self.to_numpy(self._fitting(value, raw))
            raw[...] = namespace.asarray(written, device=raw.device)
        return raw

    def scatter_add(self, raw: Any, key: Any, value: Any) -> Any:
        if self._is_mask(key) or _is_basic(key):
            return self.set_item(raw, key, namespace.add(self.get_item(raw, key), value))
        total = np.array(self.to_numpy(raw))
        np.add.at(total, self._numpy_key(key), self.to_numpy(value))
        raw[...] = namespace.asarray(total, device=raw.device)
        return raw

    def _is_mask(self, key: Any) -> bool:
        return isinstance(key, self.arrays) and key.dtype == namespace.bool

    def _numpy_key(self, key: Any) -> Any:
        if isinstance(key, tuple):
            return tuple(self._numpy_key(part) for part in key)
        return self.to_numpy(key) if isinstance(key, self.arrays) else key

    # -- writing

    def write(self, raw: Any, value: Any) -> None:
        raw[...] = self._fitting(value, raw)

    def _fitting(self, value: Any, raw: Any) -> Any:
        """A value as an array in the dtype of `raw`, which the standard wants of what is written into it."""
        if not isinstance(value, self.arrays):
            return namespace.asarray(value, dtype=raw.dtype, device=raw.device)
        return namespace.astype(value, raw.dtype, copy=False)

    def add_into(self, raw: Any, value: Any) -> Any:
        raw += value
        return raw

    def writes_alike(self, raw: Any, other: Any, divides: bool) -> bool:
        if not isinstance(other, self.arrays):
            return self.is_complex(raw) or (self.is_differentiable(raw) and not isinstance(other, complex))
        fits = other.dtype == raw.dtype and (other.ndim == 0 or other.shape == raw.shape)
        return fits and (self.is_differentiable(raw) or not divides)

    def shares(self, a: Any, b: Any) -> bool:
        return np.may_share_memory(np.from_dlpack(a), np.from_dlpack(b))

    def quiet(self) -> Any:
        """The library computes with NumPy, whose floating-point warnings inside rules are not the user's."""
        return np.errstate(all="ignore")
