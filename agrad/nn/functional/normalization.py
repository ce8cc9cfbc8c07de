"""Normalizing layers as functions: of batches, of layers, of groups of channels, of samples.

All of them are the moments over some axes and one expression of them. Must not know any array library nor any module.
"""

from collections.abc import Sequence
from math import prod

import agrad
from agrad.cython_core.engine import Tensor
from agrad.nn.functional.ops import nn

# ---------------------------------------------------------------------------------------------------------- of a batch


def batch_norm(
    input: Tensor,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Tensor:
    """Normalize each channel over the batch and all positions (Ioffe and Szegedy 2015).

    Parameters
    ----------
    input : Tensor
        Of shape (N, C, ...).
    running_mean, running_var : Tensor or None
        Of shape (C,). With `training` they are moved towards the moments of this batch, in place; the variance that
        they get is the unbiased one. Without it they are what is normalized by.
    weight, bias : Tensor or None
        Of shape (C,).
    training : bool
    momentum : float
        The weight of the new moments in the running ones.
    eps : float

    Raises
    ------
    ValueError
        If a channel has one value only and `training` is on, or if shapes do not fit.

    Examples
    --------
    >>> import agrad
    >>> import agrad.nn.functional as F
    >>> x = agrad.tensor([[1.0, 0.0], [3.0, 0.0]])
    >>> F.batch_norm(x, None, None, training=True, eps=0.0 + 1e-12).tolist()[1]
    [0.9999999999995, 0.0]
    """
    if input.ndim < 2:
        raise ValueError(f"batch_norm: expected input of shape (N, C, ...), got shape {tuple(input.shape)}")
    given = {"running_mean": running_mean, "running_var": running_var, "weight": weight, "bias": bias}
    check_lengths(input.shape[1], given)
    if (running_mean is None) != (running_var is None):
        raise ValueError("running_mean and running_var must either both be None or neither be None")
    axes = (0, *range(2, input.ndim))
    if training:
        n = prod(input.shape[a] for a in axes)
        if n == 1:
            raise ValueError(
                f"Expected more than 1 value per channel when training, got input size {tuple(input.shape)}"
            )
        mean, var, scale = nn.moments(input, axes=axes, eps=eps)
        if running_mean is not None and running_var is not None and n:
            move(running_mean, mean, momentum)
            move(running_var, var.detach() * (n / (n - 1)), momentum)
    elif running_mean is None or running_var is None:
        raise ValueError("Expected running_mean and running_var to be defined when training=False")
    else:
        mean = of_channels(running_mean, input)
        scale = of_channels(1 / agrad.sqrt(running_var + eps), input)
    out: Tensor = nn.normalize(input, mean, scale, of_channels(weight, input), of_channels(bias, input))
    return out


def check_lengths(channels: int, given: dict[str, Tensor | None]) -> None:
    for name, values in given.items():
        if values is not None and tuple(values.shape) != (channels,):
            raise ValueError(f"{name} should contain {channels} elements not {prod(values.shape)}")


def of_channels(values: Tensor | None, input: Tensor) -> Tensor | None:
    """One number for each channel, to be broadcast to (N, C, ...)."""
    return values if values is None else agrad.reshape(values, (1, -1) + (1,) * (input.ndim - 2))


def move(running: Tensor, new: Tensor, momentum: float) -> None:
    """Move a running mean towards a new value, in place and untracked."""
    moved = running * (1 - momentum) + agrad.reshape(new.detach(), running.shape) * momentum
    running[...] = moved if moved.dtype == running.dtype else agrad.astype(moved, running.dtype)


def instance_norm(
    input: Tensor,
    running_mean: Tensor | None = None,
    running_var: Tensor | None = None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    use_input_stats: bool = True,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Tensor:
    """Normalize each channel of each sample over its positions (Ulyanov et al. 2016).

    Parameters are those of `batch_norm`; `use_input_stats` is what `training` is there. The running moments get the
    mean of all samples'.

    Examples
    --------
    >>> import agrad
    >>> import agrad.nn.functional as F
    >>> F.instance_norm(agrad.tensor([[[1.0, 3.0], [5.0, 5.0]]]), eps=1e-12).tolist()
    [[[-0.9999999999995, 0.9999999999995], [0.0, 0.0]]]
    """
    if not use_input_stats:
        if running_mean is None or running_var is None:
            raise ValueError("Expected running_mean and running_var to be defined when use_input_stats is false")
        return batch_norm(input, running_mean, running_var, weight, bias, False, momentum, eps)
    if input.ndim < 2:
        raise ValueError(f"instance_norm: expected input of shape (N, C, ...), got shape {tuple(input.shape)}")
    given = {"running_mean": running_mean, "running_var": running_var, "weight": weight, "bias": bias}
    check_lengths(input.shape[1], given)
    axes = tuple(range(2, input.ndim))
    n = prod(input.shape[2:])
    if n == 1:
        raise ValueError(
            f"Expected more than 1 spatial element when training, got input size {tuple(input.shape)}"
        )
    mean, var, scale = nn.moments(input, axes=axes, eps=eps)
    if running_mean is not None and running_var is not None and input.size:
        move(running_mean, agrad.mean(mean.detach(), axis=0), momentum)
        move(running_var, agrad.mean(var.detach(), axis=0) * (n / (n - 1)), momentum)
    out: Tensor = nn.normalize(input, mean, scale, of_channels(weight, input), of_channels(bias, input))
    return out


# --------------------------------------------------------------------------------------------------------- of a sample


def layer_norm(
    input: Tensor,
    normalized_shape: Sequence[int],
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-5,
) -> Tensor:
    """Normalize over the last axes, which have the shape `normalized_shape` (Ba, Kiros and Hinton 2016).

    Weight and bias have that shape too.

    Examples
    --------
    >>> import agrad
    >>> import agrad.nn.functional as F
    >>> F.layer_norm(agrad.tensor([[1.0, 3.0], [5.0, 5.0]]), (2,), eps=1e-12).tolist()
    [[-0.9999999999995, 0.9999999999995], [0.0, 0.0]]
    """
    axes = last_axes("layer_norm", input, normalized_shape, {"weight": weight, "bias": bias})
    mean, _, scale = nn.moments(input, axes=axes, eps=eps)
    out: Tensor = nn.normalize(input, mean, scale, weight, bias)
    return out


def rms_norm(
    input: Tensor, normalized_shape: Sequence[int], weight: Tensor | None = None, eps: float | None = None
) -> Tensor:
    """Divide by the root of the mean square over the last axes (Zhang and Sennrich 2019).

    `eps` is the machine epsilon of the input's dtype if it is None.

    Examples
    --------
    >>> import agrad
    >>> import agrad.nn.functional as F
    >>> F.rms_norm(agrad.tensor([[3.0, -3.0]]), (2,), eps=0.0).tolist()
    [[1.0, -1.0]]
    """
    axes = last_axes("rms_norm", input, normalized_shape, {"weight": weight})
    eps = agrad.finfo(input.dtype).eps if eps is None else eps
    out: Tensor = nn.normalize(input, None, nn.inverse_rms(input, axes=axes, eps=eps), weight)
    return out


def last_axes(
    name: str, input: Tensor, normalized_shape: Sequence[int], given: dict[str, Tensor | None]
) -> tuple[int, ...]:
    """The axes that `normalized_shape` names; it, and each of the given parameters, must have their shape."""
    shape = tuple(normalized_shape)
    if not shape:
        raise ValueError(f"{name}: normalized_shape needs one length at least, got {shape}")
    if tuple(input.shape[-len(shape) :]) != shape:
        expected = ", ".join(map(str, ("*", *shape)))
        raise ValueError(f"{name}: expected input of shape ({expected}), got shape {tuple(input.shape)}")
    for parameter, values in given.items():
        if values is not None and tuple(values.shape) != shape:
            raise ValueError(f"{name}: expected {parameter} of shape {shape}, got shape {tuple(values.shape)}")
    return tuple(range(-len(shape), 0))


def group_norm(
    input: Tensor, num_groups: int, weight: Tensor | None = None, bias: Tensor | None = None, eps: float = 1e-5
) -> Tensor:
    """Normalize each group of channels of each sample over these channels and all positions (Wu and He 2018).

    Examples
    --------
    >>> import agrad
    >>> import agrad.nn.functional as F
    >>> F.group_norm(agrad.tensor([[1.0, 3.0, 5.0, 5.0]]), 2, eps=1e-12).tolist()
    [[-0.9999999999995, 0.9999999999995, 0.0, 0.0]]
    """
    if input.ndim < 2:
        raise ValueError(f"group_norm: expected input of shape (N, C, ...), got shape {tuple(input.shape)}")
    samples, channels, *positions = input.shape
    if num_groups < 1 or channels % num_groups:
        raise ValueError(
            "Expected number of channels in input to be divisible by num_groups, "
            f"but got input of shape {tuple(input.shape)} and num_groups={num_groups}"
        )
    check_lengths(channels, {"weight": weight, "bias": bias})
    own = channels // num_groups
    if samples * own * prod(positions) == 1:
        raise ValueError(f"Expected more than 1 value per channel when training, got input size {tuple(input.shape)}")
    grouped = agrad.reshape(input, (samples, num_groups, own, prod(positions)))
    mean, _, scale = nn.moments(grouped, axes=(2, 3), eps=eps)
    weight, bias = (v if v is None else agrad.reshape(v, (num_groups, own, 1)) for v in (weight, bias))
    return agrad.reshape(nn.normalize(grouped, mean, scale, weight, bias), input.shape)


# --------------------------------------------------------------------------------------------------- of near channels


def local_response_norm(
    input: Tensor, size: int, alpha: float = 1e-4, beta: float = 0.75, k: float = 1.0
) -> Tensor:
    """Divide by ``(k + alpha * m) ** beta``, m being the mean square of `size` neighbouring channels.

    Beyond the first and last channel there are zeros (Krizhevsky, Sutskever and Hinton 2012).

    Examples
    --------
    >>> import agrad
    >>> import agrad.nn.functional as F
    >>> F.local_response_norm(agrad.tensor([[[1.0], [2.0]]]), 1, alpha=1.0, beta=1.0).tolist()
    [[[0.5], [0.4]]]
    """
    if input.ndim < 3:
        raise ValueError(f"Expected 3D or higher dimensionality input (got {input.ndim} dimensions)")
    if size < 1:
        raise ValueError(f"local_response_norm: size must be positive, got {size}")
    widths = ((0, 0), (size // 2, (size - 1) // 2)) + ((0, 0),) * (input.ndim - 2)
    squares = agrad.pad(agrad.square(input), widths)
    channels = input.shape[1]
    total = sum(squares[:, i : i + channels] for i in range(size))
    return input / (total * (alpha / size) + k) ** beta
