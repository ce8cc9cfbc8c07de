"""Padding layers: `agrad.nn.functional.pad` in one mode, for inputs with one, two and three axes of positions."""

from collections.abc import Sequence
from typing import Any, ClassVar

from agrad.cython_core.engine import Tensor
from agrad.nn.functional.geometry import check_axes, per_axis
from agrad.nn.functional.padding import padded
from agrad.nn.module import Module


class Padding(Module):
    """Elements added before and after the axes of positions.

    Parameters
    ----------
    padding : int or tuple of int
        How many on every side, or a pair for each axis, the last axis first: (left, right, top, bottom, front, back).

    Examples
    --------
    >>> import agrad
    >>> from agrad import nn
    >>> nn.ReflectionPad1d((2, 0))(agrad.tensor([[1.0, 2.0, 3.0]])).tolist()
    [[3.0, 2.0, 1.0, 2.0, 3.0]]
    """

    ndim: ClassVar[int]     # how many axes of positions there are
    mode: ClassVar[str]
    value: Any = None

    def __init__(self, padding: int | Sequence[int]) -> None:
        super().__init__()
        self.padding = per_axis(type(self).__name__, "padding", padding, 2 * self.ndim)

    def forward(self, input: Tensor) -> Tensor:
        check_axes(type(self).__name__, input, self.ndim)
        return padded(type(self).__name__, input, self.padding, self.mode, self.value)

    def extra_repr(self) -> str:
        return f"{self.padding}"


class ZeroPad1d(Padding):
    """Zeros, on one axis: (N, C, L) or (C, L)."""

    ndim, mode = 1, "constant"


class ZeroPad2d(Padding):
    """Zeros, on two axes: (N, C, H, W) or (C, H, W)."""

    ndim, mode = 2, "constant"


class ZeroPad3d(Padding):
    """Zeros, on three axes: (N, C, D, H, W) or (C, D, H, W)."""

    ndim, mode = 3, "constant"


class ConstantPadding(Padding):
    """A number before and after the axes of positions."""

    mode = "constant"

    def __init__(self, padding: int | Sequence[int], value: float) -> None:
        super().__init__(padding)
        self.value = value

    def extra_repr(self) -> str:
        return f"padding={self.padding}, value={self.value}"


class ConstantPad1d(ConstantPadding):
    """A number `value`, on one axis: (N, C, L) or (C, L)."""

    ndim = 1


class ConstantPad2d(ConstantPadding):
    """A number `value`, on two axes: (N, C, H, W) or (C, H, W)."""

    ndim = 2


class ConstantPad3d(ConstantPadding):
    """A number `value`, on three axes: (N, C, D, H, W) or (C, D, H, W)."""

    ndim = 3


class ReflectionPad1d(Padding):
    """The elements mirrored at the outermost one, on one axis: (N, C, L) or (C, L)."""

    ndim, mode = 1, "reflect"


class ReflectionPad2d(Padding):
    """The elements mirrored at the outermost one, on two axes: (N, C, H, W) or (C, H, W)."""

    ndim, mode = 2, "reflect"


class ReflectionPad3d(Padding):
    """The elements mirrored at the outermost one, on three axes: (N, C, D, H, W) or (C, D, H, W)."""

    ndim, mode = 3, "reflect"


class ReplicationPad1d(Padding):
    """The outermost element again, on one axis: (N, C, L) or (C, L)."""

    ndim, mode = 1, "replicate"


class ReplicationPad2d(Padding):
    """The outermost element again, on two axes: (N, C, H, W) or (C, H, W)."""

    ndim, mode = 2, "replicate"


class ReplicationPad3d(Padding):
    """The outermost element again, on three axes: (N, C, D, H, W) or (C, D, H, W)."""

    ndim, mode = 3, "replicate"


class CircularPad1d(Padding):
    """The elements of the other end, on one axis: (N, C, L) or (C, L)."""

    ndim, mode = 1, "circular"


class CircularPad2d(Padding):
    """The elements of the other end, on two axes: (N, C, H, W) or (C, H, W)."""

    ndim, mode = 2, "circular"


class CircularPad3d(Padding):
    """The elements of the other end, on three axes: (N, C, D, H, W) or (C, D, H, W)."""

    ndim, mode = 3, "circular"
