"""Convolutions as functions, and the windows that they see. Must not know any array library nor any module."""

from math import prod

import agrad
from agrad.cython_core.engine import Tensor
from agrad.nn.functional.geometry import (
    Numbers,
    check_axes,
    check_reach,
    not_negative,
    positive,
    reach,
    shapes,
)
from agrad.nn.functional.ops import nn

Pairs = tuple[tuple[int, int], ...]


# --------------------------------------------------------------------------------------------------------- convolution


def conv1d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Numbers = 1,
    padding: Numbers | str = 0,
    dilation: Numbers = 1,
    groups: int = 1,
) -> Tensor:
    """Slide filters over one axis of positions; as `conv2d`, with shapes (N, C, L) or (C, L)."""
    return convolution("conv1d", 1, input, weight, bias, stride, padding, dilation, groups)


def conv2d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Numbers = 1,
    padding: Numbers | str = 0,
    dilation: Numbers = 1,
    groups: int = 1,
) -> Tensor:
    """Slide filters over two axes of positions: the correlation with each of them.

    Parameters
    ----------
    input : Tensor
        Of shape (N, C, H, W), or (C, H, W) without a batch.
    weight : Tensor
        The filters, of shape (O, C / groups, kH, kW).
    bias : Tensor or None
        Of shape (O,).
    stride : int or tuple of int
        How far a filter moves.
    padding : int, tuple of int, "valid" or "same"
        How many zeros are added on both sides; "valid" is none, "same" as many as keep the size, with stride 1 only.
    dilation : int or tuple of int
        How far the elements of a filter are apart.
    groups : int
        Into how many groups channels and filters are divided; each group of filters sees its own channels.

    Returns
    -------
    Tensor
        Of shape (N, O, H', W'), where H' = floor((H + 2 padding - dilation (kH - 1) - 1) / stride) + 1.

    Raises
    ------
    ValueError
        If shapes or numbers do not fit.

    Examples
    --------
    >>> import agrad
    >>> import agrad.nn.functional as F
    >>> x, edge = agrad.ones((1, 1, 3, 3)), agrad.tensor([[[[1.0, -1.0]]]])
    >>> F.conv2d(x, edge, padding=(0, 1)).tolist()[0][0][0]
    [-1.0, 0.0, 0.0, 1.0]
    """
    return convolution("conv2d", 2, input, weight, bias, stride, padding, dilation, groups)


def conv3d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Numbers = 1,
    padding: Numbers | str = 0,
    dilation: Numbers = 1,
    groups: int = 1,
) -> Tensor:
    """Slide filters over three axes of positions; as `conv2d`, with shapes (N, C, D, H, W) or (C, D, H, W)."""
    return convolution("conv3d", 3, input, weight, bias, stride, padding, dilation, groups)


def convolution(
    name: str,
    n: int,
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    stride: Numbers,
    padding: Numbers | str,
    dilation: Numbers,
    groups: int,
) -> Tensor:
    """Convolution over n axes; errors begin with the name."""
    check_weight(name, weight, n, groups)
    check_channels(name, input, bias, n, weight.shape[1] * groups, weight.shape[0])
    size = tuple(weight.shape[2:])
    stride, dilation = positive(name, "stride", stride, n), positive(name, "dilation", dilation, n)
    pairs = zeros_around(name, padding, size, stride, dilation)
    check_reach(name, input, size, dilation, pairs)
    single = input.ndim == n + 1
    out = nn.convolution(
        input[None] if single else input, weight, stride=stride, padding=pairs, dilation=dilation, groups=groups
    )
    return with_bias(out, bias, single)


def check_weight(name: str, weight: Tensor, n: int, groups: int) -> None:
    """A weight has n axes of positions, and as many filters in each group."""
    if weight.ndim != n + 2:
        raise ValueError(f"{name}: expected weight with {n + 2} axes, got shape {tuple(weight.shape)}")
    if groups < 1 or weight.shape[0] % groups:
        raise ValueError(
            f"{name}: expected weight whose first axis can be divided into groups, "
            f"got shape {tuple(weight.shape)} and groups={groups}"
        )


def check_channels(name: str, input: Tensor, bias: Tensor | None, n: int, channels: int, outputs: int) -> None:
    """Whether input and bias have the channels that the weight says."""
    if input.ndim not in (n + 1, n + 2) or input.shape[-n - 1] != channels:
        raise ValueError(
            f"{name}: expected input with {channels} channels, {shapes(n, channels)}, got shape {tuple(input.shape)}"
        )
    if bias is not None and tuple(bias.shape) != (outputs,):
        raise ValueError(f"{name}: expected bias of shape ({outputs},), got shape {tuple(bias.shape)}")


def zeros_around(
    name: str, padding: Numbers | str, size: tuple[int, ...], stride: tuple[int, ...], dilation: tuple[int, ...]
) -> Pairs:
    """How many zeros stand before and after each axis; where "same" needs an odd number, one more after."""
    if padding == "same":
        if set(stride) != {1}:
            raise ValueError(f"{name}: padding='same' is not supported for strided convolutions, got stride {stride}")
        return tuple((total // 2, total - total // 2) for total in (own - 1 for own in reach(size, dilation)))
    if isinstance(padding, str) and padding != "valid":
        raise ValueError(f"{name}: padding must be 'valid', 'same', an int or a tuple of ints, got {padding!r}")
    return tuple((p, p) for p in not_negative(name, "padding", 0 if padding == "valid" else padding, len(size)))


def with_bias(out: Tensor, bias: Tensor | None, single: bool) -> Tensor:
    """The result with its bias, and without the batch that a single sample was given."""
    out = out if bias is None else out + agrad.reshape(bias, (-1,) + (1,) * (out.ndim - 2))
    return out[0] if single else out


# ---------------------------------------------------------------------------------------------------------- transposed


def conv_transpose1d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Numbers = 1,
    padding: Numbers = 0,
    output_padding: Numbers = 0,
    groups: int = 1,
    dilation: Numbers = 1,
) -> Tensor:
    """The transpose of `conv1d`; as `conv_transpose2d`, with shapes (N, C, L) or (C, L)."""
    given = (stride, padding, output_padding, groups, dilation)
    return transposed("conv_transpose1d", 1, input, weight, bias, *given)


def conv_transpose2d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Numbers = 1,
    padding: Numbers = 0,
    output_padding: Numbers = 0,
    groups: int = 1,
    dilation: Numbers = 1,
) -> Tensor:
    """The transpose of `conv2d`: each element of the input adds a filter, scaled, to the output.

    Parameters
    ----------
    input : Tensor
        Of shape (N, C, H, W), or (C, H, W) without a batch.
    weight : Tensor
        Of shape (C, O / groups, kH, kW): that of the convolution whose transpose this is.
    bias : Tensor or None
        Of shape (O,).
    stride, padding, dilation, groups
        Those of that convolution.
    output_padding : int or tuple of int
        How much longer the output is on one side: where the stride is not 1, a convolution has the same output for
        inputs of several lengths. Less than the stride or the dilation.

    Returns
    -------
    Tensor
        Of shape (N, O, H', W'), where H' = (H - 1) stride - 2 padding + dilation (kH - 1) + output_padding + 1.

    Raises
    ------
    ValueError
        If shapes or numbers do not fit.

    Examples
    --------
    >>> import agrad
    >>> import agrad.nn.functional as F
    >>> x, row = agrad.tensor([[[[1.0, 2.0]]]]), agrad.tensor([[[[1.0, 10.0]]]])
    >>> F.conv_transpose2d(x, row).tolist()
    [[[[1.0, 12.0, 20.0]]]]
    """
    given = (stride, padding, output_padding, groups, dilation)
    return transposed("conv_transpose2d", 2, input, weight, bias, *given)


def conv_transpose3d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Numbers = 1,
    padding: Numbers = 0,
    output_padding: Numbers = 0,
    groups: int = 1,
    dilation: Numbers = 1,
) -> Tensor:
    """The transpose of `conv3d`; as `conv_transpose2d`, with shapes (N, C, D, H, W) or (C, D, H, W)."""
    given = (stride, padding, output_padding, groups, dilation)
    return transposed("conv_transpose3d", 3, input, weight, bias, *given)


def transposed(
    name: str,
    n: int,
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    stride: Numbers,
    padding: Numbers,
    output_padding: Numbers,
    groups: int,
    dilation: Numbers,
) -> Tensor:
    """Transposed convolution over n axes; errors begin with the name."""
    check_weight(name, weight, n, groups)
    check_channels(name, input, bias, n, weight.shape[0], weight.shape[1] * groups)
    size = tuple(weight.shape[2:])
    stride, dilation = positive(name, "stride", stride, n), positive(name, "dilation", dilation, n)
    pads, more = not_negative(name, "padding", padding, n), not_negative(name, "output_padding", output_padding, n)
    if any(m >= s and m >= d for m, s, d in zip(more, stride, dilation, strict=True)):
        raise ValueError(f"{name}: output padding must be smaller than either stride or dilation, got {more}")
    lengths = transposed_lengths(tuple(input.shape[-n:]), size, stride, pads, more, dilation)
    if any(length < 1 for length in lengths):
        raise ValueError(f"{name}: with padding {pads} no output is left of an input of shape {tuple(input.shape)}")
    single = input.ndim == n + 1
    out = nn.convolution_input(
        input[None] if single else input, weight, size=lengths, stride=stride,
        padding=tuple((p, p - m) for p, m in zip(pads, more, strict=True)), dilation=dilation, groups=groups,
    )
    return with_bias(out, bias, single)


def transposed_lengths(
    lengths: tuple[int, ...],
    size: tuple[int, ...],
    stride: tuple[int, ...],
    padding: tuple[int, ...],
    output_padding: tuple[int, ...],
    dilation: tuple[int, ...],
) -> tuple[int, ...]:
    """The lengths of the output's axes."""
    every = zip(lengths, stride, padding, output_padding, reach(size, dilation), strict=True)
    return tuple((n - 1) * s - 2 * p + m + own for n, s, p, m, own in every)


# ------------------------------------------------------------------------------------------------- windows as columns


def unfold(
    input: Tensor, kernel_size: Numbers, dilation: Numbers = 1, padding: Numbers = 0, stride: Numbers = 1
) -> Tensor:
    """The windows that a convolution sees, as columns.

    Parameters
    ----------
    input : Tensor
        Of shape (N, C, H, W) or (C, H, W).
    kernel_size, dilation, padding, stride : int or tuple of int
        As in `conv2d`.

    Returns
    -------
    Tensor
        Of shape (N, C kH kW, L), where L is the number of positions of the window; (C kH kW, L) without a batch.

    Raises
    ------
    ValueError
        If shapes or numbers do not fit.

    Examples
    --------
    >>> import agrad
    >>> import agrad.nn.functional as F
    >>> F.unfold(agrad.arange(4.0).reshape(1, 1, 2, 2), (1, 2)).tolist()
    [[[0.0, 2.0], [1.0, 3.0]]]
    """
    check_axes("unfold", input, 2)
    size, pads, stride, dilation = window("unfold", kernel_size, padding, stride, dilation)
    pairs = tuple((p, p) for p in pads)
    check_reach("unfold", input, size, dilation, pairs)
    lead = ((0, 0),) * (input.ndim - 2)
    padded = agrad.pad(input, (*lead, *pairs)) if any(pads) else input
    seen = nn.windows(padded, size=size, stride=stride, dilation=dilation)      # (N, C, *positions, *size)
    *samples, channels, high, wide = seen.shape[:-2]
    n = seen.ndim - 4
    columns = agrad.permute_dims(seen, (*range(n), n + 2, n + 3, n, n + 1))
    return agrad.reshape(columns, (*samples, channels * prod(size), high * wide))


def fold(
    input: Tensor,
    output_size: Numbers,
    kernel_size: Numbers,
    dilation: Numbers = 1,
    padding: Numbers = 0,
    stride: Numbers = 1,
) -> Tensor:
    """The transpose of `unfold`: the sum of windows, each where it stands.

    Parameters
    ----------
    input : Tensor
        Of shape (N, C kH kW, L) or (C kH kW, L).
    output_size : int or tuple of int
        The lengths of the two axes of positions.
    kernel_size, dilation, padding, stride : int or tuple of int
        As in `unfold`.

    Raises
    ------
    ValueError
        If shapes or numbers do not fit.

    Examples
    --------
    >>> import agrad
    >>> import agrad.nn.functional as F
    >>> F.fold(agrad.ones((1, 2, 2)), (1, 3), (1, 2)).tolist()
    [[[[1.0, 2.0, 1.0]]]]
    """
    size, pads, stride, dilation = window("fold", kernel_size, padding, stride, dilation)
    lengths = positive("fold", "output_size", output_size, 2)
    padded = tuple(n + 2 * p for n, p in zip(lengths, pads, strict=True))
    every = zip(padded, reach(size, dilation), stride, strict=True)
    counts = tuple((n - own) // s + 1 for n, own, s in every)
    rows, columns = prod(size), prod(counts)
    if min(counts) < 1 or input.ndim not in (2, 3) or input.shape[-2] % rows or input.shape[-1] != columns:
        raise ValueError(
            f"fold: a window of {size} has {counts} positions in an output of {lengths}: expected input of shape "
            f"(N, C * {rows}, {columns}) or (C * {rows}, {columns}), got shape {tuple(input.shape)}"
        )
    lead = tuple(input.shape[:-2])
    parts = agrad.reshape(input, (*lead, input.shape[-2] // rows, *size, *counts))
    n = parts.ndim - 4
    parts = agrad.permute_dims(parts, (*range(n), n + 2, n + 3, n, n + 1))
    whole: Tensor = nn.overlap_add(parts, shape=padded, stride=stride, dilation=dilation)
    inside = tuple(slice(p, p + length) for p, length in zip(pads, lengths, strict=True))
    return whole[(..., *inside)] if any(pads) else whole


def window(
    name: str, kernel_size: Numbers, padding: Numbers, stride: Numbers, dilation: Numbers
) -> tuple[tuple[int, ...], ...]:
    """What a caller says of a window on two axes: size, padding, stride, dilation."""
    return (
        positive(name, "kernel_size", kernel_size, 2), not_negative(name, "padding", padding, 2),
        positive(name, "stride", stride, 2), positive(name, "dilation", dilation, 2),
    )
