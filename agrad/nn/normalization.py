"""Normalizing layers: their parameters and running moments. The mathematics stands in `agrad.nn.functional`."""

import warnings
from collections.abc import Sequence
from typing import Any, ClassVar

import agrad
from agrad.cython_core.engine import Tensor
from agrad.nn import init
from agrad.nn.functional import normalization as F
from agrad.nn.module import Module
from agrad.nn.parameter import Parameter

POSITIONS = ("L", "H, W", "D, H, W")    # how the axes behind the channels are called, by their number


class Scaled(Module):
    """A layer that may have a weight, which begins as one, and a bias, which begins as zero."""

    weight: Parameter | None
    bias: Parameter | None

    def add_scale(self, shape: tuple[int, ...], weight: bool, bias: bool, device: Any, dtype: Any) -> None:
        for name, wanted in (("weight", weight), ("bias", bias)):
            value = Parameter(agrad.empty(shape, device=device, dtype=dtype)) if wanted else None
            self.register_parameter(name, value)

    def reset_parameters(self) -> None:
        """Weight one, bias zero."""
        if self.weight is not None:
            init.ones_(self.weight)
        if self.bias is not None:
            init.zeros_(self.bias)


# ------------------------------------------------------------------------------------------------- batch and instance


class ChannelNorm(Scaled):
    """What batch and instance normalization share: a number for each channel, and running moments."""

    ndims: ClassVar[tuple[int, ...]]    # how many axes an input may have
    running_mean: Tensor | None
    running_var: Tensor | None
    num_batches_tracked: Tensor | None

    def __init__(
        self,
        num_features: int,
        eps: float,
        momentum: float | None,
        affine: bool,
        track_running_stats: bool,
        device: Any,
        dtype: Any,
        bias: bool,
    ) -> None:
        super().__init__()
        self.num_features, self.eps, self.momentum = num_features, eps, momentum
        self.affine, self.track_running_stats = affine, track_running_stats
        self.add_scale((num_features,), affine, affine and bias, device, dtype)
        track = track_running_stats
        for name, make in (("running_mean", agrad.zeros), ("running_var", agrad.ones)):
            self.register_buffer(name, make(num_features, device=device, dtype=dtype) if track else None)
        counter = agrad.tensor(0, device=device) if track else None     # int64, where the library has it
        self.register_buffer("num_batches_tracked", counter)
        self.reset_parameters()

    def reset_running_stats(self) -> None:
        """Mean zero, variance one, no batch seen."""
        if self.track_running_stats:
            for name, value in (("running_mean", 0), ("running_var", 1), ("num_batches_tracked", 0)):
                getattr(self, name)[...] = value

    def reset_parameters(self) -> None:
        """Weight one, bias zero, running moments as `reset_running_stats`."""
        self.reset_running_stats()
        super().reset_parameters()

    def check_input(self, input: Tensor, channels: int | None) -> None:
        """The number of axes, and of channels if that is given."""
        fits = input.ndim in self.ndims and channels in (None, input.shape[self.channel_axis(input)])
        if not fits:
            raise ValueError(
                f"{type(self).__name__}: expected input with {self.num_features} channels, {self.expected()}, "
                f"got shape {tuple(input.shape)}"
            )

    def channel_axis(self, input: Tensor) -> int:
        return 1

    def expected(self) -> str:
        """The shapes of inputs that are taken."""
        raise NotImplementedError

    def extra_repr(self) -> str:
        return (
            f"{self.num_features}, eps={self.eps}, momentum={self.momentum}, affine={self.affine}, "
            f"bias={self.bias is not None}, track_running_stats={self.track_running_stats}"
        )


class BatchNorm(ChannelNorm):
    """Normalization of each channel over the batch and all positions: see `agrad.nn.functional.batch_norm`."""

    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        momentum: float | None = 0.1,
        affine: bool = True,
        track_running_stats: bool = True,
        device: Any = None,
        dtype: Any = None,
        *,
        bias: bool = True,
    ) -> None:
        super().__init__(num_features, eps, momentum, affine, track_running_stats, device, dtype, bias)

    def expected(self) -> str:
        names = (POSITIONS[n - 3] if n > 2 else "" for n in self.ndims)
        return " or ".join(f"(N, {self.num_features}{', ' * bool(positions)}{positions})" for positions in names)

    def forward(self, input: Tensor) -> Tensor:
        self.check_input(input, self.num_features)
        by_batch = self.training or self.running_mean is None
        moved = not self.training or self.track_running_stats
        mean, var = (self.running_mean, self.running_var) if moved else (None, None)
        out = F.batch_norm(input, mean, var, self.weight, self.bias, by_batch, self.share(), self.eps)
        if self.training and self.num_batches_tracked is not None:
            self.num_batches_tracked += 1
        return out

    def share(self) -> float:
        """The weight of the next batch in the running moments: without a momentum, that in the mean of all batches."""
        if self.momentum is None and self.training and self.num_batches_tracked is not None:
            return 1 / (int(self.num_batches_tracked) + 1)
        return self.momentum or 0.0


class InstanceNorm(ChannelNorm):
    """Normalization of each channel of each sample over its positions: see `agrad.nn.functional.instance_norm`."""

    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        momentum: float = 0.1,
        affine: bool = False,
        track_running_stats: bool = False,
        device: Any = None,
        dtype: Any = None,
        *,
        bias: bool = True,
    ) -> None:
        super().__init__(num_features, eps, momentum, affine, track_running_stats, device, dtype, bias)

    def channel_axis(self, input: Tensor) -> int:
        return input.ndim - self.ndims[0]   # an input without a batch has one axis less

    def expected(self) -> str:
        positions = POSITIONS[self.ndims[0] - 2]
        return f"(N, {self.num_features}, {positions}) or ({self.num_features}, {positions})"

    def forward(self, input: Tensor) -> Tensor:
        self.check_input(input, self.num_features if self.affine else None)
        if input.shape[self.channel_axis(input)] != self.num_features:
            warnings.warn(
                f"input's size at dim={self.channel_axis(input)} does not match num_features. You can silence this "
                "warning by not passing in num_features, which is not used because affine=False",
                stacklevel=2,
            )
        single = input.ndim == self.ndims[0]
        out = F.instance_norm(
            input[None] if single else input, self.running_mean, self.running_var, self.weight, self.bias,
            self.training or not self.track_running_stats, self.momentum or 0.0, self.eps,
        )
        return out[0] if single else out


class BatchNorm1d(BatchNorm):
    """Batch normalization of inputs (N, C) or (N, C, L).

    In training each channel is normalized by the moments of the batch, and these move the running ones, by which it is
    normalized in evaluation.

    Parameters
    ----------
    num_features : int
        How many channels there are.
    eps : float
        Added to the variance.
    momentum : float or None
        The weight of a new batch in the running moments; None for the mean of all batches.
    affine : bool
        Whether there are a weight and a bias for each channel.
    track_running_stats : bool
        Whether there are running moments; without them evaluation uses those of the batch too.
    device, dtype
        Where and as what parameters and running moments are made.
    bias : bool
        Whether there is a bias, if `affine`.

    Examples
    --------
    >>> import agrad
    >>> from agrad import nn
    >>> norm = nn.BatchNorm1d(1, momentum=0.5)
    >>> norm(agrad.tensor([[1.0], [3.0]])).shape
    (2, 1)
    >>> norm.running_mean, norm.running_var
    (tensor([1.]), tensor([1.5000]))
    """

    ndims = (2, 3)


class BatchNorm2d(BatchNorm):
    """Batch normalization of inputs (N, C, H, W); parameters are those of `BatchNorm1d`."""

    ndims = (4,)


class BatchNorm3d(BatchNorm):
    """Batch normalization of inputs (N, C, D, H, W); parameters are those of `BatchNorm1d`."""

    ndims = (5,)


class InstanceNorm1d(InstanceNorm):
    """Instance normalization of inputs (N, C, L) or (C, L).

    Parameters are those of `BatchNorm1d`; without `affine`, as here by default, `num_features` is not used.

    Examples
    --------
    >>> import agrad
    >>> from agrad import nn
    >>> nn.InstanceNorm1d(2)
    InstanceNorm1d(2, eps=1e-05, momentum=0.1, affine=False, bias=False, track_running_stats=False)
    """

    ndims = (2, 3)


class InstanceNorm2d(InstanceNorm):
    """Instance normalization of inputs (N, C, H, W) or (C, H, W); parameters are those of `InstanceNorm1d`."""

    ndims = (3, 4)


class InstanceNorm3d(InstanceNorm):
    """Instance normalization of inputs (N, C, D, H, W) or (C, D, H, W); parameters are those of `InstanceNorm1d`."""

    ndims = (4, 5)


# --------------------------------------------------------------------------------------------------- layers and groups


def lengths(normalized_shape: int | Sequence[int]) -> tuple[int, ...]:
    return (normalized_shape,) if isinstance(normalized_shape, int) else tuple(normalized_shape)


def check_last_axes(layer: Module, input: Tensor, shape: tuple[int, ...]) -> None:
    if tuple(input.shape[-len(shape) :]) != shape:
        expected = ", ".join(map(str, ("*", *shape)))
        name = type(layer).__name__
        raise ValueError(f"{name}: expected input of shape ({expected}), got shape {tuple(input.shape)}")


class LayerNorm(Scaled):
    """Normalization over the last axes: see `agrad.nn.functional.layer_norm`.

    Parameters
    ----------
    normalized_shape : int or sequence of int
        The lengths of these axes.
    eps : float
        Added to the variance.
    elementwise_affine : bool
        Whether there are a weight and a bias for each element of these axes.
    bias : bool
        Whether there is a bias, if `elementwise_affine`.
    device, dtype
        Where and as what parameters are made.

    Examples
    --------
    >>> from agrad import nn
    >>> nn.LayerNorm(3)
    LayerNorm((3,), eps=1e-05, elementwise_affine=True, bias=True)
    """

    def __init__(
        self,
        normalized_shape: int | Sequence[int],
        eps: float = 1e-5,
        elementwise_affine: bool = True,
        bias: bool = True,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        self.normalized_shape, self.eps = lengths(normalized_shape), eps
        self.elementwise_affine = elementwise_affine
        self.add_scale(self.normalized_shape, elementwise_affine, elementwise_affine and bias, device, dtype)
        self.reset_parameters()

    def forward(self, input: Tensor) -> Tensor:
        check_last_axes(self, input, self.normalized_shape)
        return F.layer_norm(input, self.normalized_shape, self.weight, self.bias, self.eps)

    def extra_repr(self) -> str:
        affine = self.elementwise_affine
        return f"{self.normalized_shape}, eps={self.eps}, elementwise_affine={affine}, bias={self.bias is not None}"


class RMSNorm(Scaled):
    """Division by the root of the mean square over the last axes: see `agrad.nn.functional.rms_norm`.

    Parameters are those of `LayerNorm`; there is no bias, and `eps` is the dtype's machine epsilon if it is None.

    Examples
    --------
    >>> from agrad import nn
    >>> nn.RMSNorm(3)
    RMSNorm((3,), eps=None, elementwise_affine=True)
    """

    def __init__(
        self,
        normalized_shape: int | Sequence[int],
        eps: float | None = None,
        elementwise_affine: bool = True,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        self.normalized_shape, self.eps = lengths(normalized_shape), eps
        self.elementwise_affine = elementwise_affine
        value = agrad.empty(self.normalized_shape, device=device, dtype=dtype) if elementwise_affine else None
        self.register_parameter("weight", value if value is None else Parameter(value))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Weight one."""
        if self.weight is not None:
            init.ones_(self.weight)

    def forward(self, input: Tensor) -> Tensor:
        check_last_axes(self, input, self.normalized_shape)
        return F.rms_norm(input, self.normalized_shape, self.weight, self.eps)

    def extra_repr(self) -> str:
        return f"{self.normalized_shape}, eps={self.eps}, elementwise_affine={self.elementwise_affine}"


class GroupNorm(Scaled):
    """Normalization of groups of channels of each sample: see `agrad.nn.functional.group_norm`.

    Parameters
    ----------
    num_groups, num_channels : int
        The second is a multiple of the first.
    eps : float
        Added to the variance.
    affine : bool
        Whether there are a weight and a bias for each channel.
    device, dtype
        Where and as what parameters are made.
    bias : bool
        Whether there is a bias, if `affine`.

    Raises
    ------
    ValueError
        If the channels cannot be divided among the groups.

    Examples
    --------
    >>> from agrad import nn
    >>> nn.GroupNorm(2, 4)
    GroupNorm(2, 4, eps=1e-05, affine=True, bias=True)
    """

    def __init__(
        self,
        num_groups: int,
        num_channels: int,
        eps: float = 1e-5,
        affine: bool = True,
        device: Any = None,
        dtype: Any = None,
        *,
        bias: bool = True,
    ) -> None:
        super().__init__()
        if num_groups < 1 or num_channels % num_groups:
            raise ValueError(f"num_channels ({num_channels}) must be divisible by num_groups ({num_groups})")
        self.num_groups, self.num_channels, self.eps, self.affine = num_groups, num_channels, eps, affine
        self.add_scale((num_channels,), affine, affine and bias, device, dtype)
        self.reset_parameters()

    def forward(self, input: Tensor) -> Tensor:
        if input.ndim < 2 or input.shape[1] != self.num_channels:
            raise ValueError(
                f"GroupNorm: expected input with {self.num_channels} channels, (N, {self.num_channels}, ...), "
                f"got shape {tuple(input.shape)}"
            )
        return F.group_norm(input, self.num_groups, self.weight, self.bias, self.eps)

    def extra_repr(self) -> str:
        return (
            f"{self.num_groups}, {self.num_channels}, eps={self.eps}, affine={self.affine}, "
            f"bias={self.bias is not None}"
        )


class LocalResponseNorm(Module):
    """Division by the mean square of near channels: see `agrad.nn.functional.local_response_norm`.

    Examples
    --------
    >>> from agrad import nn
    >>> nn.LocalResponseNorm(2)
    LocalResponseNorm(2, alpha=0.0001, beta=0.75, k=1.0)
    """

    def __init__(self, size: int, alpha: float = 1e-4, beta: float = 0.75, k: float = 1.0) -> None:
        super().__init__()
        self.size, self.alpha, self.beta, self.k = size, alpha, beta, k

    def forward(self, input: Tensor) -> Tensor:
        return F.local_response_norm(input, self.size, self.alpha, self.beta, self.k)

    def extra_repr(self) -> str:
        return f"{self.size}, alpha={self.alpha}, beta={self.beta}, k={self.k}"
