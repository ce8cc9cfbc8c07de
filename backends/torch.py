"""The PyTorch backend: torch tensors as plain arrays, on the CPU and on accelerators.

It stands on array_api_compat.torch, which has the standard's names; what still differs is said here. Where torch's own
function has the standard's meaning it is called directly, for speed. Promotion is torch's.
"""

from collections.abc import Callable
from math import prod
from typing import Any, ClassVar

import array_api_compat.torch as namespace
import numpy as np
import torch

from agrad import dtypes
from agrad.backends import torch_windows
from agrad.backends.adapter import Adapter

NEUTRAL = {getattr(torch, name): dtype for name, dtype in dtypes.DTYPES.items()}

# These take Python numbers on either side, and no wrapper is needed.
DIRECT = """
    add subtract multiply divide floor_divide remainder pow
    bitwise_and bitwise_or bitwise_xor bitwise_left_shift bitwise_right_shift
""".split()

TRANSFORMS = "fft ifft fftn ifftn rfft irfft rfftn irfftn hfft ihfft".split()

PARALLEL = 32768  # the number of elements from which torch works with several threads


# ------------------------------------------------------------------------------------------------------------ kernels


def _matmul(x1: Any, x2: Any, /) -> Any:
    return torch.matmul(x1, x2) if x1.dtype == x2.dtype else namespace.matmul(x1, x2)


def _std(x: Any, /, *, axis: Any = None, correction: float = 0.0, keepdims: bool = False) -> Any:
    return torch.sqrt(namespace.var(x, axis=axis, correction=correction, keepdims=keepdims))


def _extremum(x: Any, axis: int, /, *, keepdims: bool = False, largest: bool = True) -> tuple[Any, Any]:
    return tuple((torch.max if largest else torch.min)(x, axis, keepdim=keepdims))


def _roll(x: Any, /, shift: Any, *, axis: Any = None) -> Any:
    if isinstance(axis, tuple) and isinstance(shift, int):
        shift = (shift,) * len(axis)
    return torch.roll(x, shift, axis)


def _imag(x: Any, /) -> Any:
    return torch.imag(x) if x.is_complex() else torch.zeros_like(x)


def _take(x: Any, indices: Any, /, *, axis: int | None = None) -> Any:
    if isinstance(indices, int):    # what a 0-d index tensor is; NumPy takes it
        return x.select(axis or 0, indices)
    return namespace.take(x, indices.long(), axis=axis)


def _take_along_axis(x: Any, indices: Any, /, *, axis: int = -1) -> Any:
    return namespace.take_along_axis(x, indices.long(), axis=axis)


def _searchsorted(x1: Any, x2: Any, /, *, side: str = "left", sorter: Any = None) -> Any:
    dtype = namespace.result_type(x1, x2)
    x2 = torch.asarray(x2, dtype=dtype, device=x1.device)
    return torch.searchsorted(x1.to(dtype).contiguous(), x2.contiguous(), side=side, sorter=sorter)


def _unique_all(x: Any, /) -> Any:
    values, inverse = namespace.unique_inverse(x)
    counts = namespace.unique_counts(x).counts
    # a stable sort by value lists the places of each value together, the first of them first
    places = torch.argsort(inverse.flatten(), stable=True)
    return namespace.UniqueAllResult(values, places[torch.cumsum(counts, 0) - counts], inverse, counts)


def _transform(name: str) -> Callable[..., Any]:
    """A function of torch.fft; MKL refuses arrays without elements, so a transform of one element stands for none."""
    function = getattr(namespace.fft, name)

    def transform(x: Any, /, **options: Any) -> Any:
        axes = options["axes"] if "axes" in options else (options["axis"],)
        empty = [x.shape[a] == 0 and a not in axes for a in range(x.ndim)]
        if not any(empty):
            return function(x, **options)
        one = x.new_zeros([1 if e else n for e, n in zip(empty, x.shape, strict=True)])
        return function(one, **options)[tuple(slice(0) if e else slice(None) for e in empty)]

    return transform


def _from_dlpack(x: Any, /, *, device: Any = None, copy: bool | None = None) -> Any:
    """A processor's memory comes by NumPy, which knows what is read-only or reversed: torch writes to it, or aborts."""
    given = {name: value for name, value in (("device", device), ("copy", copy)) if value is not None}
    if not isinstance(x, torch.Tensor) and x.__dlpack_device__()[0] == 1:
        try:
            array = np.from_dlpack(x)
        except (BufferError, RuntimeError, TypeError):      # a dtype that NumPy lacks
            pass
        else:
            return shared(array, None, device, copy)
    return torch.from_dlpack(x, **given)


def shared(array: Any, dtype: Any, device: Any, copy: bool | None) -> Any:
    """A tensor on the memory of a NumPy array where torch can have it, on a copy elsewhere."""
    shareable = array.flags.writeable and array.dtype.isnative and min(array.strides, default=0) >= 0
    if array.itemsize == 16:    # torch crashes on complex numbers that do not lie at multiples of their size
        shareable = shareable and array.ctypes.data % 16 == 0
    if copy is False and not shareable:
        raise ValueError("torch cannot share an array that is read-only, reversed, byte-swapped or not aligned")
    if copy or not shareable:
        array = np.array(array, dtype=array.dtype.newbyteorder("="), order="C")
    array = array.view(array.dtype.name)    # C has two integers of 64 bits, and torch takes one of them
    return torch.asarray(array, dtype=dtype, device=device, copy=False if copy is False else None)


def _floating(name: str, x: Any) -> Any:
    """The array if it is one of real floating-point numbers; torch makes such of others, or names its own functions."""
    if not x.is_floating_point():
        raise TypeError(f"{name}() takes real floating-point numbers, not {x.dtype}")
    return x


def _along_axes(name: str) -> Callable[..., Any]:
    """A function of torch that acts along one axis, along several together."""
    function = getattr(torch, name)

    def along_axes(x: Any, /, *, axis: Any = -1) -> Any:
        x = _floating(name, x)
        if isinstance(axis, int):
            return function(x, axis)
        axes = tuple(range(x.ndim)) if axis is None else tuple(axis)
        last = tuple(range(-len(axes), 0))
        moved = torch.movedim(x, axes, last)
        rows = moved.shape[: x.ndim - len(axes)]
        flat = moved.reshape((*rows, prod(moved.shape[len(rows) :])))
        return torch.movedim(function(flat, -1).reshape(moved.shape), last, axes)

    return along_axes


def _logsumexp(x: Any, /, *, axis: Any = None, keepdims: bool = False) -> Any:
    axes = tuple(range(x.ndim)) if axis is None else axis
    x = _floating("logsumexp", x)
    return torch.logsumexp(x, axes, keepdims) if axes != () else x.clone()  # no axes mean all of them to torch


def _relu(x: Any, /) -> Any:
    if x.is_complex():
        raise TypeError(f"relu() takes real numbers, not {x.dtype}")
    return torch.relu(x)


def _solve_triangular(x1: Any, x2: Any, /, *, upper: bool = False, unit_diagonal: bool = False) -> Any:
    dtype = torch.promote_types(x1.dtype, x2.dtype)
    x1, columns = x1.to(dtype), (x2[:, None] if x2.ndim == 1 else x2).to(dtype)
    found = torch.linalg.solve_triangular(x1, columns, upper=upper, unitriangular=unit_diagonal)
    return found[..., 0] if x2.ndim == 1 else found


# ------------------------------------------------------------------------------------------------------------- indices
# Torch reads ints, slices and None first and index arrays then, so a key is a view of x and one index array, or None,
# for each axis of that view. What torch lacks are negative steps: those axes are flipped.


def _is_simple(part: Any) -> bool:
    if type(part) is slice:
        return part.step is None or part.step > 0
    return type(part) is int or part is None or part is Ellipsis


def _plain(part: Any) -> Any:
    """A part of a key as int, bool, slice, None, Ellipsis or index array with axes."""
    if isinstance(part, tuple):
        part = torch.asarray(part)
    if isinstance(part, torch.Tensor) and part.ndim == 0 and part.dtype == torch.bool:
        return bool(part)
    return part


def _width(part: Any) -> int:
    """How many axes of x a part of a key stands for."""
    if part is None or part is Ellipsis or isinstance(part, bool):
        return 0
    return part.ndim if isinstance(part, torch.Tensor) and part.dtype == torch.bool else 1


def _complete(key: Any, ndim: int) -> list[Any]:
    """The parts of a key, as many as stand for all axes: Ellipsis written out."""
    parts = [_plain(part) for part in (key if isinstance(key, tuple) else (key,))]
    dots = [i for i, part in enumerate(parts) if part is Ellipsis] or [len(parts)]
    missing = ndim - sum(map(_width, parts))
    if len(dots) > 1:
        raise IndexError("an index can only have a single ellipsis ('...')")
    if missing < 0:
        raise IndexError(f"too many indices for tensor of dimension {ndim}")
    return [*parts[: dots[0]], *[slice(None)] * missing, *parts[dots[0] + 1 :]]


def _positions(part: Any, x: Any) -> Any:
    """An index array in a dtype that torch takes; bytes would pass for a mask."""
    if isinstance(part, bool):
        return torch.zeros(int(part), dtype=torch.int64, device=x.device)
    part = part.to(x.device)
    return part.long() if NEUTRAL[part.dtype].kind in ("signed", "unsigned") else part


def _upward(part: slice, length: int) -> slice:
    """The same elements as a slice with a negative step, from first to last."""
    positions = range(length)[part][::-1]
    return slice(positions.start, positions.stop, positions.step) if positions else slice(0)


def _split(x: Any, key: Any) -> tuple[Any, list[int], list[Any]]:
    """A view of x, the axes of it that are to be flipped, and its index arrays; empty if there is none."""
    if all(map(_is_simple, key)) and key.count(...) < 2 if type(key) is tuple else _is_simple(key):
        return x[key], [], []
    basic: list[Any] = []
    arrays: list[Any] = []
    flips: list[int] = []
    axis = 0
    for part in _complete(key, x.ndim):
        if isinstance(part, (torch.Tensor, bool)):
            basic += [None] if isinstance(part, bool) else [slice(None)] * _width(part)
            arrays.append(_positions(part, x))
        elif part is None or isinstance(part, slice):
            if isinstance(part, slice) and not _is_simple(part):
                flips.append(sum(p is None or isinstance(p, slice) for p in basic))
                part = _upward(part, x.shape[axis])
            basic.append(part)
            arrays.append(None)
        else:
            basic.append(part)
        axis += _width(part)
    return x[tuple(basic)], flips, arrays if any(array is not None for array in arrays) else []


def _getitem(x: Any, key: Any, /) -> Any:
    view, flips, arrays = _split(x, key)
    view = view.flip(flips) if flips else view
    return torch.ops.aten.index.Tensor(view, arrays) if arrays else view


def _write(x: Any, key: Any, change: Callable[[Any, list[Any]], object]) -> Any:
    """x, with `change` called on a view of it and the index arrays for that view."""
    view, flips, arrays = _split(x, key)
    if flips:
        copy = view.flip(flips)
        change(copy, arrays)
        view.copy_(copy.flip(flips))
    else:
        change(view, arrays)
    return x


def _put(view: Any, arrays: list[Any], value: Any) -> None:
    """Write at index arrays. Where a place is written twice the last write lasts, which torch leaves open."""
    if any(array is not None and array.dtype != torch.bool for array in arrays):
        n = torch.ops.aten.index.Tensor(view, arrays).numel()  # raises before anything is written
        if (n >= PARALLEL or view.device.type != "cpu") and isinstance(value, torch.Tensor):
            _put_last(view, arrays, value)
            return
    view[tuple(slice(None) if array is None else array for array in arrays) or ...] = value


def _put_last(view: Any, arrays: list[Any], value: Any) -> None:
    """Number places and writes, and do only the last write to each place."""
    numbers = torch.arange(view.numel(), device=view.device).reshape(view.shape)
    places = torch.ops.aten.index.Tensor(numbers, arrays)
    values = value.reshape(value.shape[max(0, value.ndim - places.ndim) :]).expand(places.shape)
    places = places.flatten()
    writes = torch.arange(places.numel(), device=view.device)
    last = torch.full((view.numel(),), -1, device=view.device).scatter_reduce_(0, places, writes, "amax")
    lasting = last[last >= 0]
    view.put_(places[lasting], values.flatten()[lasting])


# ------------------------------------------------------------------------------------------------------------- adapter


class Torch(Adapter):
    """Torch tensors; those that track gradients by themselves are refused."""

    label, arrays, namespace = "torch", torch.Tensor, namespace
    own: ClassVar[dict[str, Callable[..., Any]]] = {
        **{name: getattr(torch, name) for name in DIRECT},
        **{f"fft.{name}": _transform(name) for name in TRANSFORMS},
        **{name: _along_axes(name) for name in ("softmax", "log_softmax")}, "logsumexp": _logsumexp, "relu": _relu,
        "getitem": _getitem, "matmul": _matmul, "std": _std, "extremum": _extremum, "roll": _roll, "take": _take,
        "imag": _imag, "take_along_axis": _take_along_axis, "searchsorted": _searchsorted, "unique_all": _unique_all,
        "from_dlpack": _from_dlpack, "linalg.solve_triangular": _solve_triangular,
    }

    def __init__(self) -> None:
        super().__init__()
        self.devices = True
        self._names.update(torch_windows.kernels(self))

    def version(self) -> str:
        return str(torch.__version__)

    # -- dtypes and devices

    def dtype_of(self, raw: Any) -> Any:
        return raw.dtype

    def neutral_dtype(self, raw: Any) -> dtypes.DType:
        return NEUTRAL.get(raw.dtype) or dtypes.of(raw.dtype)

    def shape_of(self, raw: Any) -> tuple[int, ...]:
        return tuple(raw.shape)

    def device_of(self, raw: Any) -> Any:
        return raw.device

    def to_dtype(self, dtype: Any) -> Any:
        return dtype if isinstance(dtype, torch.dtype) else getattr(torch, dtypes.of(dtype).name)

    def to_device(self, device: Any) -> Any:
        try:
            wanted = torch.device(device)
        except RuntimeError:
            raise self.no_device(device) from None
        if wanted.type == "cpu":
            return torch.device("cpu")
        if wanted.index is None and torch.accelerator.is_available():
            wanted = torch.device(wanted.type, torch.accelerator.current_device_index())
        if str(wanted) not in self.device_names():
            raise self.no_device(device)
        return wanted

    def device_names(self) -> tuple[str, ...]:
        kind = torch.accelerator.current_accelerator()
        return ("cpu", *(f"{kind}:{i}" for i in range(torch.accelerator.device_count())))

    def usual_device(self) -> Any:
        return self.to_device(torch.get_default_device())

    def default_dtype(self) -> dtypes.DType:
        return NEUTRAL[torch.get_default_dtype()]

    def is_differentiable(self, raw: Any) -> bool:
        return raw.dtype.is_floating_point or raw.dtype.is_complex  # type: ignore[no-any-return]

    def is_complex(self, raw: Any) -> bool:
        return raw.dtype.is_complex  # type: ignore[no-any-return]

    def is_complex_dtype(self, dtype: Any) -> bool:
        return dtype.is_complex  # type: ignore[no-any-return]

    # -- arrays

    def zeros(self, shape: tuple[int, ...], dtype: Any, device: Any) -> Any:
        return torch.zeros(shape, dtype=dtype, device=device)

    def full(self, shape: tuple[int, ...], value: Any, dtype: Any, device: Any) -> Any:
        return torch.full(shape, value, dtype=dtype, device=device)

    def scalar(self, value: Any, dtype: Any, device: Any) -> Any:
        return torch.full((), value, dtype=dtype, device=device)

    def copy(self, raw: Any) -> Any:
        return raw.clone()

    def copy_like(self, raw: Any, like: Any) -> Any:
        return torch.empty_like(like, dtype=raw.dtype).copy_(raw)

    def laid_out_like(self, raw: Any, like: Any) -> Any:
        return raw if raw.stride() == like.stride() else self.copy_like(raw, like)

    def convert(self, raw: Any, dtype: Any, device: Any, copy: bool | None) -> Any:
        return self.normalise(namespace.asarray(raw, dtype=dtype, device=device, copy=copy))

    def normalise(self, raw: Any) -> Any:
        """A plain tensor: no subclass, and no conjugation or sign that is still to be done."""
        return torch.asarray(raw).as_subclass(torch.Tensor).resolve_conj().resolve_neg()

    def from_numpy(self, array: Any, dtype: Any, device: Any, copy: bool | None) -> Any:
        return shared(np.asarray(array), dtype, device, copy)

    def to_numpy(self, raw: Any) -> Any:
        raw = self.normalise(raw).cpu()
        return (raw.float() if raw.dtype == torch.bfloat16 else raw).numpy()  # NumPy has no bfloat16

    def reject_tracked(self, raw: Any) -> None:
        if raw.requires_grad:
            raise RuntimeError(
                "this torch tensor tracks gradients by itself, which agrad could not see: "
                "pass tensor.detach(), or differentiate with torch's own autograd"
            )

    # -- writes

    def shares(self, a: Any, b: Any) -> bool:
        return a.untyped_storage().data_ptr() == b.untyped_storage().data_ptr()  # type: ignore[no-any-return]

    def set_item(self, raw: Any, key: Any, value: Any) -> Any:
        if isinstance(value, torch.Tensor):
            # torch copies neither between overlapping parts nor, at index arrays, from another dtype
            value = value.to(raw.dtype, copy=self.shares(raw, value))

        return _write(raw, key, lambda view, arrays: _put(view, arrays, value))

    def scatter_add(self, raw: Any, key: Any, value: Any) -> Any:
        def add(view: Any, arrays: list[Any]) -> None:
            if arrays:
                torch.ops.aten.index_put_(view, arrays, value.to(view.dtype), True)
            else:
                view += value

        return _write(raw, key, add)

    def add_into(self, raw: Any, value: Any) -> Any:
        return raw.add_(value)

    def writes_alike(self, raw: Any, other: Any, divides: bool) -> bool:
        if not isinstance(other, torch.Tensor):
            return raw.is_complex() or (raw.is_floating_point() and not isinstance(other, complex))
        if divides and not self.is_differentiable(raw):
            return False
        fits = other.dtype == raw.dtype and (other.ndim == 0 or other.shape == raw.shape)
        return fits and (other is raw or not self.shares(raw, other))
