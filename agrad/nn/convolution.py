"""Convolutional layers: their parameters. The mathematics stands in `agrad.nn.functional`."""

from collections.abc import Sequence
from math import prod, sqrt
from typing import Any, ClassVar

import agrad
from agrad.cython_core.engine import Tensor
from agrad.nn import init
from agrad.nn.functional import convolution as F
from agrad.nn.functional.geometry import Numbers, not_negative, positive
from agrad.nn.functional.padding import padded
from agrad.nn.module import Module
from agrad.nn.parameter import Parameter

MODES = ("zeros", "reflect", "replicate", "circular")


class Filters(Module):
    """What convolution and its transpose share: a weight and perhaps a bias, and how the filters move."""

    ndim: ClassVar[int]     # how many axes of positions there are
    bias: Parameter | None
    padding: Any            # numbers, or what a word of `conv2d` says

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Numbers,
        stride: Numbers,
        padding: Numbers | str,
        dilation: Numbers,
        output_padding: Numbers,
        groups: int,
        bias: bool,
        padding_mode: str,
        device: Any,
        dtype: Any,
    ) -> None:
        super().__init__()
        name, n = type(self).__name__, self.ndim
        for which, channels in (("in_channels", in_channels), ("out_channels", out_channels)):
            if groups < 1 or channels % groups:
                raise ValueError(f"{name}: groups must be positive and divide {which}={channels}, got {groups}")
        self.in_channels, self.out_channels, self.groups = in_channels, out_channels, groups
        self.kernel_size = positive(name, "kernel_size", kernel_size, n)
        self.stride = positive(name, "stride", stride, n)
        self.dilation = positive(name, "dilation", dilation, n)
        self.output_padding = not_negative(name, "output_padding", output_padding, n)
        self.padding = padding if isinstance(padding, str) else not_negative(name, "padding", padding, n)
        self.padding_mode = padding_mode
        F.zeros_around(name, self.padding, self.kernel_size, self.stride, self.dilation)    # its errors come here
        shape = (*self.channels_of_weight(), *self.kernel_size)
        self.weight = Parameter(agrad.empty(shape, device=device, dtype=dtype))
        own = Parameter(agrad.empty(out_channels, device=device, dtype=dtype)) if bias else None
        self.register_parameter("bias", own)
        self.reset_parameters()

    def channels_of_weight(self) -> tuple[int, int]:
        """The first two lengths of the weight."""
        raise NotImplementedError

    def reset_parameters(self) -> None:
        """Both uniform, between plus and minus one over the root of how many elements of the input a filter sees."""
        init.kaiming_uniform_(self.weight, a=sqrt(5))
        seen = prod(self.weight.shape[1:])
        if self.bias is not None and seen:
            init.uniform_(self.bias, -1 / sqrt(seen), 1 / sqrt(seen))

    def extra_repr(self) -> str:
        words = [f"{self.in_channels}, {self.out_channels}, kernel_size={self.kernel_size}, stride={self.stride}"]
        none = (0,) * self.ndim
        usual = {"padding": none, "dilation": (1,) * self.ndim, "output_padding": none, "groups": 1}
        words += [f"{name}={getattr(self, name)}" for name, value in usual.items() if getattr(self, name) != value]
        words += ["bias=False"] * (self.bias is None)
        words += [f"padding_mode={self.padding_mode}"] * (self.padding_mode != "zeros")
        return ", ".join(words)


class Convolution(Filters):
    """A layer of filters that slide over its input: see `agrad.nn.functional.conv2d`."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Numbers,
        stride: Numbers = 1,
        padding: Numbers | str = 0,
        dilation: Numbers = 1,
        groups: int = 1,
        bias: bool = True,
        padding_mode: str = "zeros",
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        if padding_mode not in MODES:
            every = ", ".join(map(repr, MODES))
            raise ValueError(f"{type(self).__name__}: padding_mode must be one of {every}, got {padding_mode!r}")
        super().__init__(
            in_channels, out_channels, kernel_size, stride, padding, dilation, 0, groups, bias, padding_mode, device,
            dtype,
        )

    def channels_of_weight(self) -> tuple[int, int]:
        return self.out_channels, self.in_channels // self.groups

    def forward(self, input: Tensor) -> Tensor:
        name, padding = type(self).__name__, self.padding
        if self.padding_mode != "zeros":
            pairs = F.zeros_around(name, padding, self.kernel_size, self.stride, self.dilation)
            F.check_channels(name, input, self.bias, self.ndim, self.in_channels, self.out_channels)
            input = padded(name, input, [p for pair in reversed(pairs) for p in pair], self.padding_mode)
            padding = 0
        return F.convolution(
            name, self.ndim, input, self.weight, self.bias, self.stride, padding, self.dilation, self.groups
        )


class TransposedConvolution(Filters):
    """The transpose of a layer of filters: see `agrad.nn.functional.conv_transpose2d`."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Numbers,
        stride: Numbers = 1,
        padding: Numbers = 0,
        output_padding: Numbers = 0,
        groups: int = 1,
        bias: bool = True,
        dilation: Numbers = 1,
        padding_mode: str = "zeros",
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        if padding_mode != "zeros":
            raise ValueError(f'Only "zeros" padding mode is supported for {type(self).__name__}, got {padding_mode!r}')
        super().__init__(
            in_channels, out_channels, kernel_size, stride, padding, dilation, output_padding, groups, bias,
            padding_mode, device, dtype,
        )

    def channels_of_weight(self) -> tuple[int, int]:
        return self.in_channels, self.out_channels // self.groups

    def forward(self, input: Tensor, output_size: Sequence[int] | None = None) -> Tensor:
        """The output has the lengths `output_size` (its last entries) on the axes of positions, if that is given."""
        more = self.output_padding if output_size is None else self.padding_for(input, tuple(output_size))
        return F.transposed(
            type(self).__name__, self.ndim, input, self.weight, self.bias, self.stride, self.padding, more, self.groups,
            self.dilation,
        )

    def padding_for(self, input: Tensor, output_size: tuple[int, ...]) -> tuple[int, ...]:
        """The output padding that gives an output of this size."""
        n, name = self.ndim, type(self).__name__
        F.check_channels(name, input, self.bias, n, self.in_channels, self.out_channels)
        if len(output_size) not in (n, input.ndim):
            raise ValueError(f"{name}: output_size must have {n} or {input.ndim} elements, got {output_size}")
        least = F.transposed_lengths(
            tuple(input.shape[-n:]), self.kernel_size, self.stride, self.padding, (0,) * n, self.dilation
        )
        more = tuple(wanted - own for wanted, own in zip(output_size[-n:], least, strict=True))
        if any(not 0 <= m < s for m, s in zip(more, self.stride, strict=True)):
            most = tuple(own + s - 1 for own, s in zip(least, self.stride, strict=True))
            raise ValueError(
                f"{name}: requested an output size of {output_size[-n:]}, but valid sizes range from {least} to {most} "
                f"(for an input of shape {tuple(input.shape)})"
            )
        return more


class Conv1d(Convolution):
    """Filters that slide over one axis: (N, C, L) or (C, L) becomes (N, O, L') or (O, L').

    Parameters are those of `Conv2d`.
    """

    ndim = 1


class Conv2d(Convolution):
    """Filters that slide over two axes: (N, C, H, W) or (C, H, W) becomes (N, O, H', W') or (O, H', W').

    Parameters
    ----------
    in_channels, out_channels : int
        C and O: how many channels come, and how many filters there are.
    kernel_size : int or tuple of int
        The size of the filters.
    stride, padding, dilation, groups
        See `agrad.nn.functional.conv2d`.
    bias : bool
        Whether a learned number is added to each channel of the output.
    padding_mode : str
        What is added by `padding`: "zeros", or the elements that `agrad.nn.functional.pad` takes in its modes
        "reflect", "replicate" and "circular".
    device, dtype
        Where and as what parameters are made.

    Attributes
    ----------
    weight : Parameter
        Of shape (O, C / groups, *kernel_size).
    bias : Parameter or None
        Of shape (O,).

    Raises
    ------
    ValueError
        If the numbers do not fit together.

    Examples
    --------
    >>> import agrad
    >>> from agrad import nn
    >>> layer = nn.Conv2d(1, 6, 5, padding=2)
    >>> layer
    Conv2d(1, 6, kernel_size=(5, 5), stride=(1, 1), padding=(2, 2))
    >>> layer(agrad.zeros((8, 1, 28, 28))).shape
    (8, 6, 28, 28)
    """

    ndim = 2


class Conv3d(Convolution):
    """Filters that slide over three axes: (N, C, D, H, W) or (C, D, H, W). Parameters are those of `Conv2d`."""

    ndim = 3


class ConvTranspose1d(TransposedConvolution):
    """The transpose of `Conv1d`, from (N, C, L) or (C, L). Parameters are those of `ConvTranspose2d`."""

    ndim = 1


class ConvTranspose2d(TransposedConvolution):
    """The transpose of `Conv2d`, from (N, C, H, W) or (C, H, W).

    Parameters
    ----------
    in_channels, out_channels : int
        How many channels come and go.
    kernel_size, stride, padding, output_padding, groups, dilation
        See `agrad.nn.functional.conv_transpose2d`.
    bias : bool
        Whether a learned number is added to each channel of the output.
    padding_mode : str
        "zeros": there is no other.
    device, dtype
        Where and as what parameters are made.

    Attributes
    ----------
    weight : Parameter
        Of shape (in_channels, out_channels / groups, *kernel_size).
    bias : Parameter or None
        Of shape (out_channels,).

    Raises
    ------
    ValueError
        If the numbers do not fit together.

    Examples
    --------
    >>> import agrad
    >>> from agrad import nn
    >>> layer = nn.ConvTranspose2d(6, 1, 3, stride=2, padding=1)
    >>> layer(agrad.zeros((8, 6, 14, 14)), output_size=(28, 28)).shape
    (8, 1, 28, 28)
    """

    ndim = 2


class ConvTranspose3d(TransposedConvolution):
    """The transpose of `Conv3d`, from (N, C, D, H, W) or (C, D, H, W). Parameters are those of `ConvTranspose2d`."""

    ndim = 3


# ------------------------------------------------------------------------------------------------- windows as columns


class Window(Module):
    """What a convolution's window is, as it was given."""

    def __init__(
        self, kernel_size: Numbers, dilation: Numbers = 1, padding: Numbers = 0, stride: Numbers = 1
    ) -> None:
        super().__init__()
        self.kernel_size, self.dilation, self.padding, self.stride = kernel_size, dilation, padding, stride

    def extra_repr(self) -> str:
        return (
            f"kernel_size={self.kernel_size}, dilation={self.dilation}, padding={self.padding}, stride={self.stride}"
        )


class Unfold(Window):
    """The windows that a convolution sees, as columns: see `agrad.nn.functional.unfold`.

    Examples
    --------
    >>> import agrad
    >>> from agrad import nn
    >>> nn.Unfold(2)(agrad.zeros((1, 3, 4, 4))).shape
    (1, 12, 9)
    """

    def forward(self, input: Tensor) -> Tensor:
        return F.unfold(input, self.kernel_size, self.dilation, self.padding, self.stride)


class Fold(Window):
    """The sum of windows, each where it stands: see `agrad.nn.functional.fold`.

    Examples
    --------
    >>> import agrad
    >>> from agrad import nn
    >>> nn.Fold((4, 4), 2)(agrad.zeros((1, 12, 9))).shape
    (1, 3, 4, 4)
    """

    def __init__(
        self,
        output_size: Numbers,
        kernel_size: Numbers,
        dilation: Numbers = 1,
        padding: Numbers = 0,
        stride: Numbers = 1,
    ) -> None:
        super().__init__(kernel_size, dilation, padding, stride)
        self.output_size = output_size

    def forward(self, input: Tensor) -> Tensor:
        return F.fold(input, self.output_size, self.kernel_size, self.dilation, self.padding, self.stride)

    def extra_repr(self) -> str:
        return f"output_size={self.output_size}, {super().extra_repr()}"
