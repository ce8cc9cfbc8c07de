"""Pooling layers: what a caller says of the windows. The mathematics stands in `agrad.nn.functional`."""

from collections.abc import Sequence
from typing import Any, ClassVar

from agrad.cython_core.engine import Tensor
from agrad.nn.functional import pooling as F
from agrad.nn.functional.geometry import Numbers, per_axis
from agrad.nn.module import Module


class Pool(Module):
    """A layer of windows on `ndim` axes of positions."""

    ndim: ClassVar[int]


class MaxPool(Pool):
    """The largest element of each window: see `agrad.nn.functional.max_pool2d`."""

    def __init__(
        self,
        kernel_size: Numbers,
        stride: Numbers | None = None,
        padding: Numbers = 0,
        dilation: Numbers = 1,
        return_indices: bool = False,
        ceil_mode: bool = False,
    ) -> None:
        super().__init__()
        self.kernel_size, self.stride = kernel_size, kernel_size if stride is None else stride
        self.padding, self.dilation = padding, dilation
        self.return_indices, self.ceil_mode = return_indices, ceil_mode

    def forward(self, input: Tensor) -> Any:
        return F.max_pool(
            type(self).__name__, self.ndim, input, self.kernel_size, self.stride, self.padding, self.dilation,
            self.ceil_mode, self.return_indices,
        )

    def extra_repr(self) -> str:
        return (
            f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}, "
            f"dilation={self.dilation}, ceil_mode={self.ceil_mode}"
        )


class MaxUnpool(Pool):
    """Largest elements back at their places: see `agrad.nn.functional.max_unpool2d`."""

    def __init__(self, kernel_size: Numbers, stride: Numbers | None = None, padding: Numbers = 0) -> None:
        super().__init__()
        name, n = type(self).__name__, self.ndim
        self.kernel_size = per_axis(name, "kernel_size", kernel_size, n)
        self.stride = self.kernel_size if stride is None else per_axis(name, "stride", stride, n)
        self.padding = per_axis(name, "padding", padding, n)

    def forward(self, input: Tensor, indices: Tensor, output_size: Sequence[int] | None = None) -> Tensor:
        return F.max_unpool(
            type(self).__name__, self.ndim, input, indices, self.kernel_size, self.stride, self.padding, output_size
        )

    def extra_repr(self) -> str:
        return f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}"


class AvgPool(Pool):
    """The mean of each window: see `agrad.nn.functional.avg_pool2d`."""

    def __init__(
        self,
        kernel_size: Numbers,
        stride: Numbers | None = None,
        padding: Numbers = 0,
        ceil_mode: bool = False,
        count_include_pad: bool = True,
        divisor_override: int | None = None,
    ) -> None:
        super().__init__()
        self.kernel_size, self.stride = kernel_size, kernel_size if stride is None else stride
        self.padding, self.ceil_mode = padding, ceil_mode
        self.count_include_pad, self.divisor_override = count_include_pad, divisor_override

    def forward(self, input: Tensor) -> Tensor:
        return F.avg_pool(
            type(self).__name__, self.ndim, input, self.kernel_size, self.stride, self.padding, self.ceil_mode,
            self.count_include_pad, self.divisor_override,
        )

    def extra_repr(self) -> str:
        return f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}"


class LPPool(Pool):
    """The norm of each window: see `agrad.nn.functional.lp_pool2d`."""

    def __init__(
        self, norm_type: float, kernel_size: Numbers, stride: Numbers | None = None, ceil_mode: bool = False
    ) -> None:
        super().__init__()
        self.norm_type, self.kernel_size, self.stride, self.ceil_mode = norm_type, kernel_size, stride, ceil_mode

    def forward(self, input: Tensor) -> Tensor:
        return F.lp_pool(
            type(self).__name__, self.ndim, input, self.norm_type, self.kernel_size, self.stride, self.ceil_mode
        )

    def extra_repr(self) -> str:
        return (
            f"norm_type={self.norm_type}, kernel_size={self.kernel_size}, stride={self.stride}, "
            f"ceil_mode={self.ceil_mode}"
        )


class AdaptiveAvgPool(Pool):
    """The mean of so many windows as are wanted: see `agrad.nn.functional.adaptive_avg_pool2d`."""

    def __init__(self, output_size: F.OutputSize) -> None:
        super().__init__()
        self.output_size = output_size

    def forward(self, input: Tensor) -> Tensor:
        return F.adaptive_avg_pool(type(self).__name__, self.ndim, input, self.output_size)

    def extra_repr(self) -> str:
        return f"output_size={self.output_size}"


class AdaptiveMaxPool(Pool):
    """The largest element of so many windows as are wanted: see `agrad.nn.functional.adaptive_max_pool2d`."""

    def __init__(self, output_size: F.OutputSize, return_indices: bool = False) -> None:
        super().__init__()
        self.output_size, self.return_indices = output_size, return_indices

    def forward(self, input: Tensor) -> Any:
        return F.adaptive_max_pool(type(self).__name__, self.ndim, input, self.output_size, self.return_indices)

    def extra_repr(self) -> str:
        return f"output_size={self.output_size}"


class MaxPool1d(MaxPool):
    """The largest element of each window on one axis: (N, C, L) or (C, L). Parameters are those of `MaxPool2d`."""

    ndim = 1


class MaxPool2d(MaxPool):
    """The largest element of each window on two axes: (N, C, H, W) or (C, H, W).

    Parameters
    ----------
    kernel_size, stride, padding, dilation, return_indices, ceil_mode
        See `agrad.nn.functional.max_pool2d`.

    Examples
    --------
    >>> import agrad
    >>> from agrad import nn
    >>> nn.MaxPool2d(2)(agrad.zeros((8, 6, 28, 28))).shape
    (8, 6, 14, 14)
    """

    ndim = 2


class MaxPool3d(MaxPool):
    """The largest element of each window on three axes: (N, C, D, H, W) or (C, D, H, W).

    Parameters are those of `MaxPool2d`.
    """

    ndim = 3


class MaxUnpool1d(MaxUnpool):
    """Largest elements back at their places on one axis: (N, C, L) or (C, L). Parameters are those of `MaxUnpool2d`."""

    ndim = 1


class MaxUnpool2d(MaxUnpool):
    """Largest elements back at their places on two axes: (N, C, H, W) or (C, H, W).

    Called with values and their places, and perhaps with `output_size`.

    Parameters
    ----------
    kernel_size, stride, padding
        Those of the layer that gave the places.

    Examples
    --------
    >>> import agrad
    >>> from agrad import nn
    >>> pool, back = nn.MaxPool2d(2, return_indices=True), nn.MaxUnpool2d(2)
    >>> back(*pool(agrad.zeros((6, 28, 28)))).shape
    (6, 28, 28)
    """

    ndim = 2


class MaxUnpool3d(MaxUnpool):
    """Largest elements back at their places on three axes: (N, C, D, H, W) or (C, D, H, W).

    Parameters are those of `MaxUnpool2d`.
    """

    ndim = 3


class AvgPool1d(AvgPool):
    """The mean of each window on one axis: (N, C, L) or (C, L). Parameters are those of `AvgPool2d`."""

    ndim = 1

    def __init__(
        self,
        kernel_size: Numbers,
        stride: Numbers | None = None,
        padding: Numbers = 0,
        ceil_mode: bool = False,
        count_include_pad: bool = True,
    ) -> None:
        size = per_axis("AvgPool1d", "kernel_size", kernel_size, 1)
        steps = size if stride is None else per_axis("AvgPool1d", "stride", stride, 1)
        super().__init__(size, steps, per_axis("AvgPool1d", "padding", padding, 1), ceil_mode, count_include_pad)


class AvgPool2d(AvgPool):
    """The mean of each window on two axes: (N, C, H, W) or (C, H, W).

    Parameters
    ----------
    kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override
        See `agrad.nn.functional.avg_pool2d`.

    Examples
    --------
    >>> import agrad
    >>> from agrad import nn
    >>> nn.AvgPool2d(2)(agrad.zeros((8, 6, 28, 28))).shape
    (8, 6, 14, 14)
    """

    ndim = 2


class AvgPool3d(AvgPool):
    """The mean of each window on three axes: (N, C, D, H, W) or (C, D, H, W). Parameters are those of `AvgPool2d`."""

    ndim = 3


class LPPool1d(LPPool):
    """The norm of each window on one axis: (N, C, L) or (C, L). Parameters are those of `LPPool2d`."""

    ndim = 1


class LPPool2d(LPPool):
    """The norm of each window on two axes: (N, C, H, W) or (C, H, W).

    Parameters
    ----------
    norm_type, kernel_size, stride, ceil_mode
        See `agrad.nn.functional.lp_pool2d`.

    Examples
    --------
    >>> import agrad
    >>> from agrad import nn
    >>> nn.LPPool2d(2, 2)(agrad.ones((1, 2, 2))).tolist()
    [[[2.0]]]
    """

    ndim = 2


class LPPool3d(LPPool):
    """The norm of each window on three axes: (N, C, D, H, W) or (C, D, H, W). Parameters are those of `LPPool2d`."""

    ndim = 3


class AdaptiveAvgPool1d(AdaptiveAvgPool):
    """The mean of so many windows on one axis as are wanted: (N, C, L) or (C, L).

    Parameters are those of `AdaptiveAvgPool2d`.
    """

    ndim = 1


class AdaptiveAvgPool2d(AdaptiveAvgPool):
    """The mean of so many windows on two axes as are wanted: (N, C, H, W) or (C, H, W).

    Parameters
    ----------
    output_size : int, None, or tuple of them
        See `agrad.nn.functional.adaptive_avg_pool2d`.

    Examples
    --------
    >>> import agrad
    >>> from agrad import nn
    >>> nn.AdaptiveAvgPool2d((5, None))(agrad.zeros((8, 6, 28, 28))).shape
    (8, 6, 5, 28)
    """

    ndim = 2


class AdaptiveAvgPool3d(AdaptiveAvgPool):
    """The mean of so many windows on three axes as are wanted: (N, C, D, H, W) or (C, D, H, W).

    Parameters are those of `AdaptiveAvgPool2d`.
    """

    ndim = 3


class AdaptiveMaxPool1d(AdaptiveMaxPool):
    """The largest element of so many windows on one axis as are wanted: (N, C, L) or (C, L).

    Parameters are those of `AdaptiveMaxPool2d`.
    """

    ndim = 1


class AdaptiveMaxPool2d(AdaptiveMaxPool):
    """The largest element of so many windows on two axes as are wanted: (N, C, H, W) or (C, H, W).

    Parameters
    ----------
    output_size : int, None, or tuple of them
    return_indices : bool
        See `agrad.nn.functional.adaptive_max_pool2d`.

    Examples
    --------
    >>> import agrad
    >>> from agrad import nn
    >>> nn.AdaptiveMaxPool2d(5)(agrad.zeros((8, 6, 28, 28))).shape
    (8, 6, 5, 5)
    """

    ndim = 2


class AdaptiveMaxPool3d(AdaptiveMaxPool):
    """The largest element of so many windows on three axes as are wanted: (N, C, D, H, W) or (C, D, H, W).

    Parameters are those of `AdaptiveMaxPool2d`.
    """

    ndim = 3
