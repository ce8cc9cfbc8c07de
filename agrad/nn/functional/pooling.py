"""Pooling as functions: the largest element of windows, their mean, their norm. Must not know any array library nor
any module.

The functions for one, two and three axes differ in that number only; what they share is told once, in those for two."""

from collections.abc import Sequence
from math import prod
from typing import Any

import agrad
from agrad.cython_core.engine import Tensor
from agrad.nn.functional.geometry import Numbers, check_axes, check_reach, not_negative, positive, reach
from agrad.nn.functional.ops import nn

Axes = tuple[int, ...]
OutputSize = int | None | Sequence[int | None]


# --------------------------------------------------------------------------------------------------- where windows are


def windows(
    name: str, n: int, input: Tensor, kernel_size: Numbers, stride: Numbers | None, padding: Numbers, ceil_mode: bool,
    dilation: Numbers = 1,
) -> tuple[Axes, Axes, Axes, Axes]:
    """What a caller says of the windows, with a number for each axis: size, stride, padding, dilation.

    The stride is the size if it is not given. A window may stand outside by half of its reach, and with `ceil_mode`
    reach over the end by less than a stride.
    """
    check_axes(name, input, n)
    size = positive(name, "kernel_size", kernel_size, n)
    steps = positive(name, "stride", size if stride is None else stride, n)
    pads, apart = not_negative(name, "padding", padding, n), positive(name, "dilation", dilation, n)
    if any(2 * p > own for p, own in zip(pads, reach(size, apart), strict=True)):
        raise ValueError(f"{name}: padding can be half of the kernel at most, got padding {pads} and size {size}")
    more = (s - 1 if ceil_mode else 0 for s in steps)
    check_reach(name, input, size, apart, tuple((p, p + m) for p, m in zip(pads, more, strict=True)))
    return size, steps, pads, apart


def pairs(input: Tensor, size: Axes, stride: Axes, padding: Axes, dilation: Axes, ceil_mode: bool) -> tuple[Any, ...]:
    """How many elements stand before and after each axis.

    With `ceil_mode` a last window may reach over the end, if it begins before: there is so much added for it.
    """
    if not ceil_mode:
        return tuple((p, p) for p in padding)
    found = []
    for n, s, p, own in zip(input.shape[-len(size) :], stride, padding, reach(size, dilation), strict=True):
        count = -((n + 2 * p - own) // -s) + 1      # rounded up
        count -= (count - 1) * s >= n + p
        found.append((p, (count - 1) * s + own - n - p))
    return tuple(found)


# ------------------------------------------------------------------------------------------------- the largest element

def max_pool1d(
    input: Tensor,
    kernel_size: Numbers,
    stride: Numbers | None = None,
    padding: Numbers = 0,
    dilation: Numbers = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Any:
    """The largest element of each window on one axis; as `max_pool2d`, with shapes (N, C, L) or (C, L)."""
    return max_pool("max_pool1d", 1, input, kernel_size, stride, padding, dilation, ceil_mode, return_indices)


def max_pool2d(
    input: Tensor,
    kernel_size: Numbers,
    stride: Numbers | None = None,
    padding: Numbers = 0,
    dilation: Numbers = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Any:
    """The largest element of each window.

    Of equal elements the first counts, and gets the gradient; nan is larger than any number.

    Parameters
    ----------
    input : Tensor
        Of shape (N, C, H, W) or (C, H, W).
    kernel_size : int or tuple of int
        The size of the window.
    stride : int or tuple of int, optional
        How far it moves; its size if left out.
    padding : int or tuple of int
        How far it may begin outside, and end; half of its size at most. What is outside is never chosen.
    dilation : int or tuple of int
        How far its elements are apart.
    ceil_mode : bool
        Whether the number of windows is rounded up: the last one may reach over the end.
    return_indices : bool
        Whether the numbers of the elements on the axes of positions are returned too, as `max_unpool2d` takes them.

    Returns
    -------
    Tensor, or a tuple of two

    Raises
    ------
    ValueError
        If shapes or numbers do not fit.

    Examples
    --------
    >>> import agrad
    >>> import agrad.nn.functional as F
    >>> F.max_pool2d(agrad.arange(16.0).reshape(1, 4, 4), 2).tolist()
    [[[5.0, 7.0], [13.0, 15.0]]]
    """
    return max_pool("max_pool2d", 2, input, kernel_size, stride, padding, dilation, ceil_mode, return_indices)


def max_pool3d(
    input: Tensor,
    kernel_size: Numbers,
    stride: Numbers | None = None,
    padding: Numbers = 0,
    dilation: Numbers = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Any:
    """The largest element of each window on three axes; as `max_pool2d`."""
    return max_pool("max_pool3d", 3, input, kernel_size, stride, padding, dilation, ceil_mode, return_indices)


def max_pool(
    name: str,
    n: int,
    input: Tensor,
    kernel_size: Numbers,
    stride: Numbers | None,
    padding: Numbers,
    dilation: Numbers,
    ceil_mode: bool,
    return_indices: bool,
) -> Any:
    """Pooling over n axes; errors begin with the name."""
    size, steps, pads, apart = windows(name, n, input, kernel_size, stride, padding, ceil_mode, dilation)
    around = pairs(input, size, steps, pads, apart, ceil_mode)
    values, places = nn.max_pool(input, size=size, stride=steps, padding=around, dilation=apart)
    return (values, places) if return_indices else values


def max_unpool1d(
    input: Tensor,
    indices: Tensor,
    kernel_size: Numbers,
    stride: Numbers | None = None,
    padding: Numbers = 0,
    output_size: Sequence[int] | None = None,
) -> Tensor:
    """Put largest elements back to their places; as `max_unpool2d`, with shapes (N, C, L) or (C, L)."""
    return max_unpool("max_unpool1d", 1, input, indices, kernel_size, stride, padding, output_size)


def max_unpool2d(
    input: Tensor,
    indices: Tensor,
    kernel_size: Numbers,
    stride: Numbers | None = None,
    padding: Numbers = 0,
    output_size: Sequence[int] | None = None,
) -> Tensor:
    """Put largest elements back to their places; zeros stand everywhere else.

    Where windows overlap a place may be named twice: its elements add up (PyTorch keeps one of them).

    Parameters
    ----------
    input, indices : Tensor
        What `max_pool2d` with `return_indices` gave.
    kernel_size, stride, padding : int or tuple of int
        Those of the pooling.
    output_size : sequence of int, optional
        The shape of its input, or the lengths of the axes of positions: several lengths have the same output.

    Raises
    ------
    ValueError
        If shapes or numbers do not fit.

    Examples
    --------
    >>> import agrad
    >>> import agrad.nn.functional as F
    >>> largest, places = F.max_pool2d(agrad.arange(4.0).reshape(1, 2, 2), 2, return_indices=True)
    >>> F.max_unpool2d(largest, places, 2).tolist()
    [[[0.0, 0.0], [0.0, 3.0]]]
    """
    return max_unpool("max_unpool2d", 2, input, indices, kernel_size, stride, padding, output_size)


def max_unpool3d(
    input: Tensor,
    indices: Tensor,
    kernel_size: Numbers,
    stride: Numbers | None = None,
    padding: Numbers = 0,
    output_size: Sequence[int] | None = None,
) -> Tensor:
    """Put largest elements back to their places; as `max_unpool2d`, with three axes of positions."""
    return max_unpool("max_unpool3d", 3, input, indices, kernel_size, stride, padding, output_size)


def max_unpool(
    name: str,
    n: int,
    input: Tensor,
    indices: Tensor,
    kernel_size: Numbers,
    stride: Numbers | None,
    padding: Numbers,
    output_size: Sequence[int] | None,
) -> Tensor:
    """The way back over n axes; errors begin with the name."""
    check_axes(name, input, n)
    if tuple(indices.shape) != tuple(input.shape):
        raise ValueError(f"{name}: expected indices of shape {tuple(input.shape)}, got shape {tuple(indices.shape)}")
    size = positive(name, "kernel_size", kernel_size, n)
    steps = positive(name, "stride", size if stride is None else stride, n)
    pads = not_negative(name, "padding", padding, n)
    every = zip(input.shape[-n:], size, steps, pads, strict=True)
    shape = tuple((length - 1) * s - 2 * p + k for length, k, s, p in every)
    if output_size is not None:
        shape = checked_shape(name, tuple(output_size)[-n:], shape, steps)
    out: Tensor = nn.unpool(input, indices, shape=shape)
    return out


def checked_shape(name: str, wanted: Axes, usual: Axes, stride: Axes) -> Axes:
    """A shape that the caller wants must be near to the usual one."""
    fits = len(wanted) == len(usual) and all(
        u - s < w < u + s for w, u, s in zip(wanted, usual, stride, strict=True)
    )
    if not fits:
        raise ValueError(f"{name}: output_size must be within one stride {stride} of {usual}, got {wanted}")
    return wanted


# ------------------------------------------------------------------------------------------------------------ the mean


def avg_pool1d(
    input: Tensor,
    kernel_size: Numbers,
    stride: Numbers | None = None,
    padding: Numbers = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
) -> Tensor:
    """The mean of each window on one axis; as `avg_pool2d`, with shapes (N, C, L) or (C, L)."""
    return avg_pool("avg_pool1d", 1, input, kernel_size, stride, padding, ceil_mode, count_include_pad)


def avg_pool2d(
    input: Tensor,
    kernel_size: Numbers,
    stride: Numbers | None = None,
    padding: Numbers = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> Tensor:
    """The mean of each window.

    Parameters
    ----------
    input : Tensor
        Of shape (N, C, H, W) or (C, H, W).
    kernel_size, stride, padding, ceil_mode
        As in `max_pool2d`; what is outside is zero.
    count_include_pad : bool
        Whether the zeros of the padding count, by which the sum is divided.
    divisor_override : int, optional
        What to divide by instead.

    Raises
    ------
    ValueError
        If shapes or numbers do not fit.

    Examples
    --------
    >>> import agrad
    >>> import agrad.nn.functional as F
    >>> F.avg_pool2d(agrad.arange(16.0).reshape(1, 4, 4), 2).tolist()
    [[[2.5, 4.5], [10.5, 12.5]]]
    """
    counting = count_include_pad, divisor_override
    return avg_pool("avg_pool2d", 2, input, kernel_size, stride, padding, ceil_mode, *counting)


def avg_pool3d(
    input: Tensor,
    kernel_size: Numbers,
    stride: Numbers | None = None,
    padding: Numbers = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> Tensor:
    """The mean of each window on three axes; as `avg_pool2d`, with shapes (N, C, D, H, W) or (C, D, H, W)."""
    counting = count_include_pad, divisor_override
    return avg_pool("avg_pool3d", 3, input, kernel_size, stride, padding, ceil_mode, *counting)


def avg_pool(
    name: str,
    n: int,
    input: Tensor,
    kernel_size: Numbers,
    stride: Numbers | None,
    padding: Numbers,
    ceil_mode: bool,
    count_include_pad: bool,
    divisor_override: int | None = None,
) -> Tensor:
    """Pooling over n axes; errors begin with the name."""
    if divisor_override == 0:
        raise ValueError(f"{name}: divisor_override must not be zero")
    size, steps, pads, apart = windows(name, n, input, kernel_size, stride, padding, ceil_mode)
    around = pairs(input, size, steps, pads, apart, ceil_mode)
    total = sums(input, size, steps, around)
    if divisor_override is not None:
        return total / divisor_override
    lengths, positions = tuple(input.shape[-n:]), tuple(total.shape[-n:])
    return divided(total, counts(lengths, size, steps, pads, positions, count_include_pad))


def sums(input: Tensor, size: Axes, stride: Axes, around: tuple[Any, ...]) -> Tensor:
    """The sum of each window."""
    n = len(size)
    if any(low > 0 or high > 0 for low, high in around):
        input = agrad.pad(input, ((0, 0),) * (input.ndim - n) + tuple((low, max(high, 0)) for low, high in around))
    seen = nn.windows(input, size=size, stride=stride, dilation=(1,) * n)
    return agrad.sum(seen, axis=tuple(range(-n, 0)))


def counts(
    lengths: Axes, size: Axes, stride: Axes, padding: Axes, positions: Axes, with_padding: bool
) -> list[list[int]]:
    """For each axis, how many elements of each window count."""
    found = []
    for n, k, s, p, m in zip(lengths, size, stride, padding, positions, strict=True):
        first, last = (-p, n + p) if with_padding else (0, n)
        found.append([min(i * s - p + k, last) - max(i * s - p, first) for i in range(m)])
    return found


def divided(total: Tensor, counted: list[list[int]]) -> Tensor:
    """Sums divided by the numbers of elements: one number for all where all windows are whole."""
    if all(len(set(row)) == 1 for row in counted):
        return total / prod(row[0] for row in counted)
    xp, n = total.__array_namespace__(), len(counted)
    for axis, row in enumerate(counted):
        shape = (-1,) + (1,) * (n - 1 - axis)
        total = total / xp.reshape(xp.asarray(row, dtype=total.dtype), shape)
    return total


# ------------------------------------------------------------------------------------------------------------ the norm


def lp_pool1d(
    input: Tensor, norm_type: float, kernel_size: Numbers, stride: Numbers | None = None, ceil_mode: bool = False
) -> Tensor:
    """The norm of each window on one axis; as `lp_pool2d`, with shapes (N, C, L) or (C, L)."""
    return lp_pool("lp_pool1d", 1, input, norm_type, kernel_size, stride, ceil_mode)


def lp_pool2d(
    input: Tensor, norm_type: float, kernel_size: Numbers, stride: Numbers | None = None, ceil_mode: bool = False
) -> Tensor:
    """The norm of each window: the sum of powers `norm_type`, and the root of it.

    The powers are of the elements, not of their absolute values, and of a negative sum the root is that of its absolute
    value: as PyTorch. The gradient of a window of zeros is zero.

    Parameters
    ----------
    input : Tensor
        Of shape (N, C, H, W) or (C, H, W).
    norm_type : float
    kernel_size, stride, ceil_mode
        As in `max_pool2d`.

    Examples
    --------
    >>> import agrad
    >>> import agrad.nn.functional as F
    >>> F.lp_pool2d(agrad.tensor([[[3.0, 4.0]]]), 2, (1, 2)).tolist()
    [[[5.0]]]
    """
    return lp_pool("lp_pool2d", 2, input, norm_type, kernel_size, stride, ceil_mode)


def lp_pool3d(
    input: Tensor, norm_type: float, kernel_size: Numbers, stride: Numbers | None = None, ceil_mode: bool = False
) -> Tensor:
    """The norm of each window on three axes; as `lp_pool2d`, with shapes (N, C, D, H, W) or (C, D, H, W)."""
    return lp_pool("lp_pool3d", 3, input, norm_type, kernel_size, stride, ceil_mode)


def lp_pool(
    name: str,
    n: int,
    input: Tensor,
    norm_type: float,
    kernel_size: Numbers,
    stride: Numbers | None,
    ceil_mode: bool,
) -> Tensor:
    """Pooling over n axes; errors begin with the name."""
    size = positive(name, "kernel_size", kernel_size, n)
    mean = avg_pool(name, n, agrad.pow(input, norm_type), size, stride, 0, ceil_mode, True)
    signed = agrad.sign(mean) * agrad.relu(agrad.abs(mean))     # relu: its gradient at zero is zero
    return agrad.pow(signed * prod(size), 1 / norm_type)


# -------------------------------------------------------------------------------------- windows for a number of results


def adaptive_avg_pool1d(input: Tensor, output_size: OutputSize) -> Tensor:
    """The mean of windows on one axis, so many as are wanted; as `adaptive_avg_pool2d`."""
    return adaptive_avg_pool("adaptive_avg_pool1d", 1, input, output_size)


def adaptive_avg_pool2d(input: Tensor, output_size: OutputSize) -> Tensor:
    """The mean of windows, so many as are wanted.

    Of n windows on an axis of length m, number i reaches from floor(i m / n) to ceil((i + 1) m / n).

    Parameters
    ----------
    input : Tensor
        Of shape (N, C, H, W) or (C, H, W).
    output_size : int, None, or tuple of them
        How many windows; None for as many as there are elements.

    Raises
    ------
    ValueError
        If shapes or numbers do not fit.

    Examples
    --------
    >>> import agrad
    >>> import agrad.nn.functional as F
    >>> F.adaptive_avg_pool2d(agrad.arange(3.0).reshape(1, 1, 3), (1, 2)).tolist()
    [[[0.5, 1.5]]]
    """
    return adaptive_avg_pool("adaptive_avg_pool2d", 2, input, output_size)


def adaptive_avg_pool3d(input: Tensor, output_size: OutputSize) -> Tensor:
    """The mean of windows on three axes, so many as are wanted; as `adaptive_avg_pool2d`."""
    return adaptive_avg_pool("adaptive_avg_pool3d", 3, input, output_size)


def adaptive_avg_pool(name: str, n: int, input: Tensor, output_size: OutputSize) -> Tensor:
    """Pooling over n axes; errors begin with the name."""
    lengths, wanted = adaptive(name, n, input, output_size)
    if set(wanted) == {1}:
        return agrad.mean(input, axis=tuple(range(-n, 0)), keepdims=True)
    if is_regular(lengths, wanted):
        size = tuple(m // o for m, o in zip(lengths, wanted, strict=True))
        return sums(input, size, size, ((0, 0),) * n) / prod(size)
    xp = input.__array_namespace__()
    for axis, (m, o) in enumerate(zip(lengths, wanted, strict=True), -n):
        places, counted = spans(m, o)
        key, number = indices(places, xp), indices([counted], xp)[0]
        inside = xp.arange(key.shape[1]) < number[:, None]
        seen = agrad.moveaxis(input, axis, -1)[..., key]
        mean = agrad.sum(agrad.where(inside, seen, 0.0), axis=-1) / agrad.astype(number, input.dtype)
        input = agrad.moveaxis(mean, -1, axis)
    return input


def adaptive_max_pool1d(input: Tensor, output_size: OutputSize, return_indices: bool = False) -> Any:
    """The largest element of windows on one axis, so many as are wanted; as `adaptive_max_pool2d`."""
    return adaptive_max_pool("adaptive_max_pool1d", 1, input, output_size, return_indices)


def adaptive_max_pool2d(input: Tensor, output_size: OutputSize, return_indices: bool = False) -> Any:
    """The largest element of windows, so many as are wanted: the windows of `adaptive_avg_pool2d`.

    With `return_indices` the numbers of the elements are returned too, as by `max_pool2d`.

    Examples
    --------
    >>> import agrad
    >>> import agrad.nn.functional as F
    >>> F.adaptive_max_pool2d(agrad.arange(3.0).reshape(1, 1, 3), (1, 2)).tolist()
    [[[1.0, 2.0]]]
    """
    return adaptive_max_pool("adaptive_max_pool2d", 2, input, output_size, return_indices)


def adaptive_max_pool3d(input: Tensor, output_size: OutputSize, return_indices: bool = False) -> Any:
    """The largest element of windows on three axes, so many as are wanted; as `adaptive_max_pool2d`."""
    return adaptive_max_pool("adaptive_max_pool3d", 3, input, output_size, return_indices)


def adaptive_max_pool(name: str, n: int, input: Tensor, output_size: OutputSize, return_indices: bool) -> Any:
    """Pooling over n axes; errors begin with the name."""
    lengths, wanted = adaptive(name, n, input, output_size)
    if is_regular(lengths, wanted):
        size = tuple(m // o for m, o in zip(lengths, wanted, strict=True))
        values, places = nn.max_pool(input, size=size, stride=size, padding=((0, 0),) * n, dilation=(1,) * n)
        return (values, places) if return_indices else values
    lead = tuple(input.shape[:-n])
    flat = agrad.reshape(input, (*lead, prod(lengths)))
    places = largest(flat.detach(), lengths, wanted)
    values = agrad.reshape(agrad.take_along_axis(flat, places, axis=-1), (*lead, *wanted))
    return (values, agrad.reshape(places, values.shape)) if return_indices else values


def adaptive(name: str, n: int, input: Tensor, output_size: OutputSize) -> tuple[Axes, Axes]:
    """The lengths of the axes of positions, and how many windows are wanted on each."""
    check_axes(name, input, n)
    lengths = tuple(input.shape[-n:])
    given = (output_size,) * n if output_size is None or isinstance(output_size, int) else tuple(output_size)
    if len(given) != n:
        raise ValueError(f"{name}: output_size must be an int, None or a tuple of {n} of them, got {output_size!r}")
    wanted = not_negative(name, "output_size", [m if o is None else o for m, o in zip(lengths, given, strict=True)], n)
    if 0 in lengths:
        raise ValueError(f"{name}: expected input with positions, {n} axes of them, got shape {tuple(input.shape)}")
    return lengths, wanted


def is_regular(lengths: Axes, wanted: Axes) -> bool:
    """Whether all windows have one size and share no element."""
    return all(o and m % o == 0 for m, o in zip(lengths, wanted, strict=True))


def spans(m: int, o: int) -> tuple[list[list[int]], list[int]]:
    """The elements of each of o windows on an axis of length m, in rows that are filled up with the last one; and how
    many there are."""
    rows = [list(range(i * m // o, -((i + 1) * m // -o))) for i in range(o)]
    longest = max(map(len, rows), default=1)
    return [row + row[-1:] * (longest - len(row)) for row in rows], [len(row) for row in rows]


def largest(flat: Tensor, lengths: Axes, wanted: Axes) -> Tensor:
    """The number of the largest element in each window, on one axis; of equal ones the first, of nan the last."""
    xp = flat.__array_namespace__()
    numbers = window_numbers(lengths, wanted, xp)
    seen = flat[..., numbers]
    unknown = seen != seen     # nan
    last = numbers.shape[1] - 1 - agrad.argmax(agrad.flip(agrad.astype(unknown, agrad.int64), axis=-1), axis=-1)
    which = agrad.where(agrad.any(unknown, axis=-1), last, agrad.argmax(seen, axis=-1))
    return numbers[xp.arange(numbers.shape[0]), which]


def window_numbers(lengths: Axes, wanted: Axes, xp: Any) -> Tensor:
    """The numbers of the elements in each window: windows by elements."""
    n, numbers = len(lengths), xp.asarray(0)
    every = [spans(m, o)[0] for m, o in zip(lengths, wanted, strict=True)]
    sizes = [len(rows[0]) if rows else 1 for rows in every]
    for axis, (rows, k, o) in enumerate(zip(every, sizes, wanted, strict=True)):
        shape = [1] * (2 * n)
        shape[axis], shape[n + axis] = o, k
        numbers = numbers + xp.reshape(indices(rows, xp), shape) * prod(lengths[axis + 1 :])
    return agrad.reshape(numbers, (prod(wanted), prod(sizes)))


def indices(rows: list[list[int]], xp: Any) -> Tensor:
    """Rows of positions as an array, also if there are none."""
    table: Tensor = xp.asarray(rows, dtype=xp.int64)
    return agrad.reshape(table, (len(rows), len(rows[0]) if rows else 1))
