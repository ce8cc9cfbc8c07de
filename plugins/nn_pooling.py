"""Windows, their overlap, and pooling by the largest element: kernels written against the standard, and derivatives.
Must not know any array library.

All act on the last axes of an array, as many as a window has. Their loops go over the elements of a window, never over
its positions."""

from functools import reduce
from itertools import product
from math import inf, nan, prod
from types import SimpleNamespace

from agrad.plugins.batches import as_batch
from agrad.rules import case, distinct, ints, point
from agrad.windows import adds, check_places, covered_positions, offsets, pairs, places, positions, unpadded, whole


def device_of(x):
    """Where an array lives, for what is made beside it; not every library says."""
    return getattr(x, "device", None)


def padded(x, padding, xp):
    """Zeros added before and after the last axes; a negative padding cuts."""
    n = len(padding)
    if adds(padding):
        x = xp.pad(x, (*((0, 0),) * (x.ndim - n), *((max(low, 0), max(high, 0)) for low, high in padding)))
    if any(low < 0 or high < 0 for low, high in padding):
        each = zip(padding, x.shape[x.ndim - n :], strict=True)
        x = xp.getitem(x, (..., *(slice(max(-low, 0), length - max(-high, 0)) for (low, high), length in each)))
    return x


def cut(x, padding, xp):
    """The transpose of `padded`."""
    return padded(x, tuple((-low, -high) for low, high in padding), xp)


def overlap(parts, keys, shape, xp):
    """Zeros with each part added at its key."""
    like = SimpleNamespace(shape=shape, dtype=parts[0].dtype, device=device_of(parts[0]))
    return xp.scatter(tuple(parts), keys, like)


def split(x, n):
    """The shape of all axes but the last n, and of these."""
    return tuple(x.shape[: x.ndim - n]), tuple(x.shape[x.ndim - n :])


# -------------------------------------------------------------------------------------------------------------- windows


def windows(x, /, *, size, stride, dilation, xp):
    """What a window meets as it moves along the last axes: they become its positions, and its elements behind them."""
    size, stride, dilation = whole(size), whole(stride), whole(dilation)
    n = len(size)
    lead, lengths = split(x, n)
    counts = positions("windows", lengths, size, stride, unpadded(len(lengths)), dilation)
    met = xp.stack([xp.getitem(x, key) for key in places(counts, size, stride, dilation)])
    met = xp.reshape(met, (*size, *lead, *counts))
    return xp.permute_dims(met, (*range(n, met.ndim), *range(n)))


def overlap_add(x, /, *, shape, stride, dilation, xp):
    """The transpose of `windows`: windows (..., positions, elements) added up on last axes of this shape."""
    shape, stride, dilation = whole(shape), whole(stride), whole(dilation)
    n = len(shape)
    if x.ndim < 2 * n:
        raise ValueError(f"overlap_add: expected {n} axes of positions and {n} of elements, got the shape {x.shape}")
    (lead, size), given = split(x, n), tuple(x.shape[x.ndim - 2 * n : x.ndim - n])
    counts = positions("overlap_add", shape, size, stride, unpadded(n), dilation)
    if given != counts:
        raise ValueError(f"overlap_add: a window of {size} has {counts} positions on {shape}, got {given}")
    lead = lead[: len(lead) - n]
    parts = xp.permute_dims(x, (*range(x.ndim - n, x.ndim), *range(x.ndim - n)))
    parts = xp.unstack(xp.reshape(parts, (prod(size), *lead, *counts)))
    return overlap(parts, places(counts, size, stride, dilation), (*lead, *shape), xp)


# ------------------------------------------------------------------------------------------------------ largest element


def max_pool(x, /, *, size, stride, padding, dilation, xp):
    """The largest element of each window on the last axes, and its place: its number among the elements of these axes.

    Of equal elements the first is chosen, of several nan the last, and what padding adds never.
    """
    size, stride, padding, dilation = whole(size), whole(stride), pairs(padding), whole(dilation)
    _, lengths = split(x, len(size))
    counts = covered_positions("max_pool", lengths, size, stride, padding, dilation)
    numbers, masks = grids(lengths, counts, size, stride, padding, dilation, device_of(x), xp)
    keys = places(counts, size, stride, dilation)
    x = padded(x, padding, xp)
    best = xp.getitem(x, keys[0])
    offset, found = xp.zeros(best.shape, dtype=numbers.dtype, device=device_of(x)), masks and masks[0]
    for k, number in enumerate(offsets(lengths, size, dilation)):
        value = xp.getitem(x, keys[k])
        better = xp.logical_or(value > best, value != value)     # nan wins
        if masks:
            better = xp.logical_and(masks[k], xp.logical_or(better, xp.logical_not(found)))
            found = xp.logical_or(found, masks[k])
        best, offset = xp.where(better, value, best), xp.where(better, number, offset)
    return best, numbers + offset


def grids(lengths, counts, size, stride, padding, dilation, device, xp):
    """The number of the first element of each window, and for each element which windows have it inside of the array.

    There are no masks where nothing is added.
    """
    n, firsts = len(lengths), []
    for axis, (count, s, (low, _)) in enumerate(zip(counts, stride, padding, strict=True)):
        first = xp.arange(count, device=device) * s - low
        firsts.append(xp.reshape(first, (*(1,) * axis, count, *(1,) * (n - 1 - axis))))
    numbers = sum(first * prod(lengths[axis + 1 :]) for axis, first in enumerate(firsts))
    if not adds(padding):
        return numbers, []
    inside = [
        [xp.logical_and(first + i * d >= 0, first + i * d < length) for i in range(k)]
        for first, k, d, length in zip(firsts, size, dilation, lengths, strict=True)
    ]
    return numbers, [reduce(xp.logical_and, place) for place in product(*inside)]


def unpool(x, which, /, *, shape, xp):
    """Zeros with last axes of this shape, and each element of x added at the place whose number `which` has for it."""
    shape = whole(shape)
    check_places("unpool", x.shape, which.shape, len(shape))
    lead, inner = split(x, len(shape))
    zeros = xp.zeros((prod(lead), prod(shape)), dtype=x.dtype, device=device_of(x))
    lines = xp.reshape(xp.arange(prod(lead), device=device_of(x)), (prod(lead), 1))
    x, which = (xp.reshape(part, (prod(lead), prod(inner))) for part in (x, which))
    return xp.reshape(xp.scatter_add(zeros, (lines, which), x), (*lead, *shape))


def unpool_batch(x, which, shape, batched, size, xp):
    x, which = (as_batch(part, name in batched, size, xp) for name, part in (("x", x), ("which", which)))
    return xp.nn.unpool(x, which, shape=shape)


def pick(x, which, lead, inner, shape, xp):
    """The transpose of `unpool`: what x (*lead, *shape) has at the places of `which` (*lead, *inner)."""
    x, which = xp.reshape(x, (*lead, prod(shape))), xp.reshape(which, (*lead, prod(inner)))
    return xp.reshape(xp.take_along_axis(x, which, axis=-1), (*lead, *inner))


# --------------------------------------------------------------------------------------------------------------- rules


def unpool_transpose(g, which, x_like, shape, xp):
    lead, inner = split(x_like, len(shape))
    return pick(g, which, lead, inner, shape, xp)


def max_pool_transpose(g, out1, size, x_like, xp):
    """The whole gradient goes to the element that was chosen."""
    return None if g[0] is None else xp.nn.unpool(g[0], out1, shape=split(x_like, len(size))[1])


def max_pool_tangent(t, out1, size, stride, padding, dilation, x_like, xp):
    lead, lengths = split(x_like, len(size))
    inner = positions("max_pool", lengths, whole(size), whole(stride), pairs(padding), whole(dilation))
    return pick(t, out1, lead, inner, lengths, xp), None


def one_axis(size, stride, padding, dilation):
    return {"size": (size,), "stride": (stride,), "padding": (padding,), "dilation": (dilation,)}


PLAIN = one_axis(2, 1, (0, 0), 1)


def declare(rules):
    """Add the ops to a rule set."""
    rules.op("nn.windows(x: array, /, *, size, stride, dilation)").kernel("*", windows)
    rules.op("nn.overlap_add(x: array, /, *, shape, stride, dilation)").kernel("*", overlap_add)
    rules.op("nn.max_pool(x: array, /, *, size, stride, padding, dilation)").kernel("*", max_pool)
    rules.op("nn.unpool(x: array, which: index, /, *, shape)").kernel("*", unpool)
    rules.linear(
        "nn.windows",
        x=lambda g, size, stride, dilation, x_like, xp: xp.nn.overlap_add(
            g, shape=split(x_like, len(size))[1], stride=stride, dilation=dilation),
        batch=lambda x, size, stride, dilation, xp: xp.nn.windows(x, size=size, stride=stride, dilation=dilation),
        samples=[
            case((5,), size=(2,), stride=(1,), dilation=(1,)), case((2, 6), size=(2,), stride=(3,), dilation=(2,)),
            case((2, 3, 4), size=(2, 3), stride=(1, 1), dilation=(1, 1)),
            case((1, 3, 4, 2), size=(1, 2, 1), stride=(2, 1, 1), dilation=(1, 2, 1)),
            case((0, 3), size=(2,), stride=(1,), dilation=(1,)),
        ],
    )
    rules.linear(
        "nn.overlap_add",
        x=lambda g, shape, x_like, stride, dilation, xp: xp.nn.windows(
            g, size=split(x_like, len(shape))[1], stride=stride, dilation=dilation),
        batch=lambda x, shape, stride, dilation, xp: xp.nn.overlap_add(
            x, shape=shape, stride=stride, dilation=dilation),
        samples=[
            case((4, 2), shape=(5,), stride=(1,), dilation=(1,)),
            case((0, 2, 2), shape=(3,), stride=(1,), dilation=(1,)),
            case((2, 2, 2), shape=(6,), stride=(3,), dilation=(2,)),
            case((2, 2, 2, 2, 3), shape=(3, 4), stride=(1, 1), dilation=(1, 1)),
        ],
    )
    rules.general(
        "nn.max_pool", vjp={"x": max_pool_transpose}, jvp=max_pool_tangent, complex=False,
        batch=lambda x, size, stride, padding, dilation, xp: xp.nn.max_pool(
            x, size=size, stride=stride, padding=padding, dilation=dilation),
        node=lambda args, scalars: f"MaxPool{max(len(args[1]), 2)}DWithIndicesBackward0",
        samples=[
            case(distinct((5,)), **PLAIN), case(distinct((2, 6)), **one_axis(3, 2, (1, 1), 1)),
            case(distinct((2, 7)), **one_axis(2, 3, (1, 0), 3)), case((0, 3), **PLAIN),
            case(distinct((2, 4, 4)), size=(2, 2), stride=(2, 2), padding=((0, 0), (0, 0)), dilation=(1, 1)),
            case(distinct((2, 3, 4)), size=(2, 3), stride=(1, 2), padding=((0, 1), (1, 1)), dilation=(1, 1)),
            case(distinct((1, 1, 3, 3)), size=(3, 2), stride=(2, 3), padding=((1, 1), (1, 1)), dilation=(1, 2)),
            case(distinct((1, 3, 3, 2)), size=(2, 1, 2), stride=(1, 2, 1), padding=((1, 1), (0, 0), (0, 0)),
                 dilation=(2, 1, 1)),
        ],
        special=[
            point(([1.0, 1.0, 0.0],), ([1.0, 1.0, 0.0],), **PLAIN),
            point(([nan, 1.0, nan, nan],), ([1.0, 0.0, 1.0, 1.0],), **PLAIN),
            point(([-inf, -inf, -inf],), ([1.0, 1.0, 0.0],), **PLAIN),
            point(([-inf, -inf],), ([1.0, 1.0],), **one_axis(2, 2, (1, 1), 1)),
        ],
        note="of equal elements the first gets the whole gradient, of several nan the last: as PyTorch",
    )
    rules.linear(
        "nn.unpool", batch=unpool_batch, linear_part=lambda t, which, shape, xp: xp.nn.unpool(t, which, shape=shape),
        x=unpool_transpose,
        samples=[
            case((3,), ints((3,), 0, 5), shape=(5,)), case((2, 2), ints((2, 2), 0, 4), shape=(4,)),
            case((2, 2, 2), ints((2, 2, 2), 0, 12), shape=(3, 4)), case((0, 2), ints((0, 2), 0, 4), shape=(4,)),
            case((1, 2, 0), ints((1, 2, 0), 0, 4), shape=(4,)),
            case((2, 1, 2), ints((2, 1, 2), 0, 6), shape=(1, 2, 3)),
        ],
    )
