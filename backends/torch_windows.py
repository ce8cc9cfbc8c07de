"""PyTorch's own kernels of convolution and pooling, where it has them; elsewhere those written against the standard.

It pads alike on both sides only, and has no kernels for arrays without elements, complex gradients or more than three
axes.
"""

from collections.abc import Callable
from functools import partial
from math import prod
from typing import Any

import torch

from agrad.backends.adapter import Adapter
from agrad.windows import Pairs, check_places, correlation, covered_positions, padded_lengths, pairs, whole

FORWARD, BACKWARD = torch.ops.aten.convolution, torch.ops.aten.convolution_backward
POOLS = {2: torch.ops.aten.max_pool2d_with_indices, 3: torch.ops.aten.max_pool3d_with_indices}


def kernels(backend: Adapter) -> dict[str, Callable[..., Any]]:
    """The kernels by the names of the ops; each leaves to the generic one what torch does not take."""
    found: dict[str, Callable[..., Any]] = {"nn.max_pool": partial(max_pool, partial(backend.generic, "nn.max_pool"))}
    for kernel in (convolution, convolution_input, convolution_weight):
        name = f"nn.{kernel.__name__}"
        found[name] = partial(where_taken, kernel, partial(backend.generic, name))
    return found | {"nn.unpool": unpool}


def where_taken(kernel: Callable[..., Any], generic: Callable[..., Any], *arrays: Any, **options: Any) -> Any:
    """A kernel's result for what torch takes, the generic one's for other arrays."""
    return (kernel if takes(*arrays, **options) else generic)(*arrays, **options)


def takes(*arrays: Any, size: Any = (), **options: Any) -> bool:
    """Whether torch has convolutions of such arrays, with a result that has elements."""
    return arrays[0].ndim < 6 and all(x.is_floating_point() and x.numel() for x in arrays) and all(size)


def split(padding: Pairs) -> tuple[list[int], Pairs]:
    """A padding that torch takes and what is to be padded beforehand."""
    none = ((0, 0),) * len(padding)
    alike = all(low == high >= 0 for low, high in padding)
    return ([low for low, _ in padding], none) if alike else ([0] * len(padding), padding)


def padded(x: Any, padding: Pairs) -> Any:
    """Zeros before and after the last axes; a negative padding cuts."""
    flat = [n for pair in reversed(padding) for n in pair]
    return torch.nn.functional.pad(x, flat) if any(flat) else x


def alike(*arrays: Any) -> list[Any]:
    """The arrays in the dtype that they have together."""
    dtype = torch.result_type(*arrays)
    return [x.to(dtype) for x in arrays]


def convolution(x: Any, weight: Any, /, *, stride: Any, padding: Any, dilation: Any, groups: int = 1) -> Any:
    plan = correlation("convolution", x.shape, weight.shape, stride, padding, dilation, groups)
    own, before = split(plan.padding)
    x, weight = alike(padded(x, before), weight)
    return FORWARD(x, weight, None, plan.stride, own, plan.dilation, False, [0] * len(own), groups)


def convolution_input(
    y: Any, weight: Any, /, *, size: Any, stride: Any, padding: Any, dilation: Any, groups: int = 1
) -> Any:
    shape = (*y.shape[:1], weight.shape[1] * groups, *size)
    plan = correlation("convolution_input", shape, weight.shape, stride, padding, dilation, groups, y.shape)
    own, before = split(plan.padding)
    y, weight = alike(y, weight)
    like = y.new_empty(1).expand((*plan.x[:2], *padded_lengths(plan.x[2:], before)))
    options = plan.stride, own, plan.dilation, False, [0] * len(own), groups
    x = BACKWARD(y, like, weight, None, *options, [True, False, False])[0]
    return padded(x, tuple((-low, -high) for low, high in before))


def convolution_weight(
    x: Any, y: Any, /, *, size: Any, stride: Any, padding: Any, dilation: Any, groups: int = 1
) -> Any:
    weight = (y.shape[1], x.shape[1] // max(groups, 1), *size)
    plan = correlation("convolution_weight", x.shape, weight, stride, padding, dilation, groups, y.shape)
    own, before = split(plan.padding)
    x, y = alike(padded(x, before), y)
    like = y.new_empty(1).expand(plan.weight)
    options = plan.stride, own, plan.dilation, False, [0] * len(own), groups
    return BACKWARD(y, x, like, None, *options, [False, True, False])[1]


def max_pool(generic: Any, x: Any, /, *, size: Any, stride: Any, padding: Any, dilation: Any) -> Any:
    size, stride, padding, dilation = whole(size), whole(stride), pairs(padding), whole(dilation)
    lead, lengths = x.shape[: x.ndim - len(size)], x.shape[x.ndim - len(size) :]
    counts = covered_positions("max_pool", tuple(lengths), size, stride, padding, dilation)
    fits = all(low == high and 0 <= 2 * low <= k for (low, high), k in zip(padding, size, strict=True))
    if not fits or len(size) > 3 or not x.is_floating_point() or not x.numel():
        return generic(x, size=size, stride=stride, padding=padding, dilation=dilation)
    more = max(2 - len(size), 0)    # a plane for a line
    ones, before = [1] * more, [0] * more + [low for low, _ in padding]
    planes = x.reshape(prod(lead), *ones, *lengths)
    values, which = POOLS[len(size) + more](planes, [*ones, *size], [*ones, *stride], before, [*ones, *dilation], False)
    return values.reshape(*lead, *counts), which.reshape(*lead, *counts)


def unpool(x: Any, which: Any, /, *, shape: Any) -> Any:
    check_places("unpool", x.shape, which.shape, len(shape))
    lead, inner = x.shape[: x.ndim - len(shape)], x.shape[x.ndim - len(shape) :]
    x, which = (part.reshape(prod(lead), prod(inner)) for part in (x, which))
    return x.new_zeros((prod(lead), prod(shape))).scatter_add_(1, which.long(), x).reshape(*lead, *shape)
