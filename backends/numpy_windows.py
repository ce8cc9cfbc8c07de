"""NumPy's kernels of convolution and pooling: copies of strided views, and one product of matrices for several samples.

Inside, channels come first and samples second: all that is copied, added and multiplied then are long runs of one
channel, and results are views of such memory, so that the next kernel copies nothing. Columns are made of a few samples
at a time, which stay in the processor's cache, and large inputs take no more memory. Loops go over the elements of a
window, never over its positions; for single and double precision they are compiled (cython_core/numpy_windows.pyx).
"""

from collections.abc import Callable, Iterator
from itertools import product
from math import prod
from typing import Any

import numpy as np

from agrad.windows import (
    Correlation,
    Lengths,
    Pairs,
    check_places,
    correlation,
    covered_positions,
    offsets,
    padded_lengths,
    pairs,
    places,
    whole,
)

try:
    from agrad.cython_core import numpy_windows as compiled
except ImportError:     # built without NumPy's headers: everything works, only slower
    compiled = None     # type: ignore[assignment]

CACHED = 1 << 16    # so many numbers are made into columns at a time


def is_compiled(x: Any, n: int) -> bool:
    """Whether there are loops for windows on n axes of an array."""
    return compiled is not None and 0 < n < 3 and x.dtype.char in "fd" and x.dtype.isnative and x.flags.aligned


def on_plane(numbers: Lengths) -> Lengths:
    """Numbers for one or two axes as numbers for two."""
    return (1,) * (2 - len(numbers)) + numbers


def as_planes(x: Any, n: int) -> Any:
    """An array whose last n axes, one or two, count as planes, with two axes before them."""
    lead = x.shape[: x.ndim - n]
    first, *others = lead or (1,)
    return x.reshape(first, prod(others), *on_plane(x.shape[x.ndim - n :]))


# --------------------------------------------------------------------------------------------------------- convolution


def channels_first(x: Any) -> Any:
    """(N, C, ...) as (C, N, ...), and back."""
    return x.swapaxes(0, 1)


def inside(padding: Pairs) -> tuple[Any, Any]:
    """The key of what padding surrounds, and of that in the array itself, less what it cuts."""
    own = (slice(max(low, 0), -high if high > 0 else None) for low, high in padding)
    given = (slice(max(-low, 0), high if high < 0 else None) for low, high in padding)
    return (..., *own), (..., *given)


def padded(x: Any, padding: Pairs) -> Any:
    """Zeros before and after the last axes; a negative padding cuts."""
    if not any(map(any, padding)):
        return x
    own, given = inside(padding)
    n = x.ndim - len(padding)
    made = np.zeros((*x.shape[:n], *padded_lengths(x.shape[n:], padding)), x.dtype)
    made[own] = x[given]
    return made


def cut(x: Any, padding: Pairs) -> Any:
    """The transpose of `padded`."""
    return padded(x, tuple((-low, -high) for low, high in padding))


def blocks(plan: Correlation) -> Iterator[slice]:
    """Samples, as many together as may be made into columns, in about equal numbers."""
    samples = plan.x[0]
    most = max(1, CACHED // max(1, plan.groups * plan.rows * prod(plan.counts)))
    count = -(-samples // -(-samples // most)) if samples else 1
    return (slice(first, min(first + count, samples)) for first in range(0, samples, count))


def columns(x: Any, plan: Correlation) -> Any:
    """What the weight meets in x (C, N, ...): (groups, its elements, positions)."""
    if len(plan.places) == 1:
        return x[plan.places[0]].reshape(plan.groups, plan.rows, x.shape[1] * prod(plan.counts))
    made = np.empty((x.shape[0], len(plan.places), x.shape[1], *plan.counts), x.dtype)
    if is_compiled(x, len(plan.size)) and made.size:
        window = on_plane(plan.size), on_plane(plan.stride), on_plane(plan.dilation)
        lines = made.reshape(*made.shape[:3], *on_plane(plan.counts))
        compiled.columns(x.reshape(*x.shape[:2], *on_plane(x.shape[2:])), lines, *window)
    else:
        for k, key in enumerate(plan.places):
            made[:, k] = x[key]
    return made.reshape(plan.groups, plan.rows, x.shape[1] * prod(plan.counts))


def overlap_add(parts: Any, x: Any, plan: Correlation) -> None:
    """Add columns to x (C, N, ...) where what they met stands."""
    parts = parts.reshape(x.shape[0], len(plan.places), x.shape[1], *plan.counts)
    if is_compiled(x, len(plan.size)) and parts.size:
        window = on_plane(plan.size), on_plane(plan.stride), on_plane(plan.dilation)
        lines = parts.reshape(*parts.shape[:3], *on_plane(plan.counts))
        compiled.overlap_add(lines, x.reshape(*x.shape[:2], *on_plane(x.shape[2:])), *window)
        return
    for k, key in enumerate(plan.places):
        x[key] += parts[:, k]


def rows(y: Any, plan: Correlation) -> Any:
    """y (O, N, ...) as (groups, channels of a group, positions)."""
    return y.reshape(plan.groups, plan.outer, y.shape[1] * prod(plan.counts))


def convolution(x: Any, weight: Any, /, *, stride: Any, padding: Any, dilation: Any, groups: int = 1) -> Any:
    plan = correlation("convolution", x.shape, weight.shape, stride, padding, dilation, groups)
    x, filters = padded(channels_first(x), plan.padding), weight.reshape(groups, plan.outer, plan.rows)
    y = np.empty((plan.y[1], plan.y[0], *plan.counts), np.result_type(x, weight))
    for some in blocks(plan):
        np.matmul(filters, columns(x[:, some], plan), out=rows(y[:, some], plan))
    return channels_first(y)


def convolution_input(
    y: Any, weight: Any, /, *, size: Any, stride: Any, padding: Any, dilation: Any, groups: int = 1
) -> Any:
    shape = (*y.shape[:1], weight.shape[1] * groups, *size)
    plan = correlation("convolution_input", shape, weight.shape, stride, padding, dilation, groups, y.shape)
    y, filters = channels_first(y), weight.reshape(groups, plan.outer, plan.rows).mT
    x = np.zeros((plan.x[1], plan.x[0], *plan.padded), np.result_type(y, weight))
    for some in blocks(plan):
        met = rows(y[:, some], plan)
        # a single filter in each group: an outer product, which NumPy does not give to BLAS
        parts = np.multiply(filters, met, order="C") if plan.outer == 1 else np.matmul(filters, met)
        overlap_add(parts, x[:, some], plan)
    return channels_first(cut(x, plan.padding))


def convolution_weight(
    x: Any, y: Any, /, *, size: Any, stride: Any, padding: Any, dilation: Any, groups: int = 1
) -> Any:
    weight = (y.shape[1], x.shape[1] // max(groups, 1), *size)
    plan = correlation("convolution_weight", x.shape, weight, stride, padding, dilation, groups, y.shape)
    x, y = padded(channels_first(x), plan.padding), channels_first(y)
    made = np.zeros((groups, plan.outer, plan.rows), np.result_type(x, y))
    for some in blocks(plan):
        made += np.matmul(rows(y[:, some], plan), columns(x[:, some], plan).mT)
    return made.reshape(plan.weight)


# ------------------------------------------------------------------------------------------------------------- pooling


def max_pool(x: Any, /, *, size: Any, stride: Any, padding: Any, dilation: Any) -> tuple[Any, Any]:
    size, stride, padding, dilation = whole(size), whole(stride), pairs(padding), whole(dilation)
    n = len(size)
    lengths = x.shape[x.ndim - n :]
    counts = covered_positions("max_pool", lengths, size, stride, padding, dilation)
    if not is_compiled(x, n):
        return largest(x, counts, size, stride, padding, dilation)
    planes = as_planes(x, n)
    turned = abs(planes.strides[1]) > abs(planes.strides[0])    # results lie in memory as x does
    planes = planes.swapaxes(0, 1) if turned else planes
    values = np.empty((*planes.shape[:2], *on_plane(counts)), x.dtype)
    which = np.empty(values.shape, np.int64)
    if values.size:
        before = (0,) * (2 - n) + tuple(low for low, _ in padding)
        # a step across the whole axis is as good as any larger one, and does not overflow in C
        most = tuple(length + max(low, 0) for length, (low, _) in zip(lengths, padding, strict=True))
        stride, dilation = tuple(map(min, stride, most)), tuple(map(min, dilation, most))
        compiled.max_pool(planes, values, which, on_plane(size), on_plane(stride), before, on_plane(dilation))
    shape = (*x.shape[: x.ndim - n], *counts)
    values, which = ((part.swapaxes(0, 1) if turned else part).reshape(shape) for part in (values, which))
    return values, which


def largest(
    x: Any, counts: Lengths, size: Lengths, stride: Lengths, padding: Pairs, dilation: Lengths
) -> tuple[Any, Any]:
    """The same for any dtype and number of axes."""
    lead, lengths = x.shape[: x.ndim - len(size)], x.shape[x.ndim - len(size) :]
    starts = np.ix_(*(np.arange(count) * s - low for count, s, (low, _) in zip(counts, stride, padding, strict=True)))
    numbers = sum(start * prod(lengths[axis + 1 :]) for axis, start in enumerate(starts))
    best, chosen = np.zeros((*lead, *counts), x.dtype.type), np.zeros((*lead, *counts), np.int64)
    found = np.zeros(counts, bool)
    x, keys = padded(x, padding), places(counts, size, stride, dilation)
    each = zip(keys, product(*map(range, size)), offsets(lengths, size, dilation), strict=True)
    for key, place, number in each:
        value, inside = x[key], np.ones((), bool)
        for start, i, d, length in zip(starts, place, dilation, lengths, strict=True):
            inside = inside & (start + i * d >= 0) & (start + i * d < length)
        better = inside & (~found | (value > best) | (value != value))      # a nan is unequal to itself
        np.copyto(best, value, where=better)
        np.copyto(chosen, number, where=better)
        found |= inside
    return best, numbers + chosen


def unpool(x: Any, which: Any, /, *, shape: Any) -> Any:
    shape = whole(shape)
    n = len(shape)
    check_places("unpool", x.shape, which.shape, n)
    lead, inner = x.shape[: x.ndim - n], prod(x.shape[x.ndim - n :])
    first, second = lead[:1] or (1,), prod(lead[1:])
    turned = len(lead) == 2 and abs(which.strides[1]) > abs(which.strides[0])    # the result lies in memory as these do
    parts = [part.reshape(*first, second, inner) for part in (x, which)]
    x, which = (part.swapaxes(0, 1) if turned else part for part in parts)
    out = np.zeros((*x.shape[:2], prod(shape)), x.dtype)
    is_fast = is_compiled(x, 1) and which.dtype == np.int64 and which.flags.aligned
    if not (compiled.unpool if is_fast else add_at)(x, which, out):
        raise IndexError(f"unpool: there are places that {shape} has not, which has {prod(shape)} elements")
    return (out.swapaxes(0, 1) if turned else out).reshape(*lead, *shape)


def add_at(x: Any, which: Any, out: Any) -> bool:
    """Add elements of x in their planes of `out` at the places `which`; False if there is no such place."""
    if which.size and (which.min() < 0 or which.max() >= out.shape[2]):
        return False
    planes = np.arange(out.shape[0] * out.shape[1]).reshape(*out.shape[:2], 1) * out.shape[2]
    np.add.at(out.reshape(-1), (which + planes).reshape(-1), x.reshape(-1))
    return True


KERNELS: dict[str, Callable[..., Any]] = {
    "nn.convolution": convolution, "nn.convolution_input": convolution_input,
    "nn.convolution_weight": convolution_weight, "nn.max_pool": max_pool, "nn.unpool": unpool,
}
