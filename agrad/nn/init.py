"""First values of parameters, written in place: PyTorch's `nn.init`.

All functions change a tensor without recording it, and return it. Random numbers come from the default generator, or
from the one given. Must know no module and no single backend.
"""

import math
import warnings
from typing import Any

import numpy as np

import agrad
from agrad import draws
from agrad.autograd.grad_mode import no_grad
from agrad.cython_core.engine import Tensor
from agrad.generator import Generator

__all__ = [
    "calculate_gain", "constant_", "dirac_", "eye_", "kaiming_normal_", "kaiming_uniform_", "normal_", "ones_",
    "orthogonal_", "sparse_", "trunc_normal_", "uniform_", "xavier_normal_", "xavier_uniform_", "zeros_",
]


def _write(tensor: Tensor, values: Any) -> Tensor:
    """Put values into a tensor, unrecorded."""
    with no_grad():
        return tensor.copy_(values)


def _draw(name: str, draw: draws.Draw, tensor: Tensor, generator: Generator | None) -> Tensor:
    return draws.drawn_like(name, draw, tensor, generator=generator)


# ----------------------------------------------------------------------------------------------------------- constants


def constant_(tensor: Tensor, val: float) -> Tensor:
    """Fill with a value.

    Examples
    --------
    >>> import agrad
    >>> from agrad import nn
    >>> nn.init.constant_(nn.Parameter(agrad.zeros(2)), 0.5)
    Parameter containing:
    tensor([0.5000, 0.5000], requires_grad=True)
    """
    with no_grad():
        return tensor.fill_(val)


def ones_(tensor: Tensor) -> Tensor:
    """Fill with ones."""
    return constant_(tensor, 1.0)


def zeros_(tensor: Tensor) -> Tensor:
    """Fill with zeros."""
    return constant_(tensor, 0.0)


def eye_(tensor: Tensor) -> Tensor:
    """Fill a matrix with ones on its diagonal and zeros elsewhere.

    Raises
    ------
    ValueError
        If the tensor has not two axes.
    """
    if tensor.ndim != 2:
        raise ValueError("Only tensors with 2 dimensions are supported")
    return _write(tensor, agrad.eye(*tensor.shape, dtype=tensor.dtype))


def dirac_(tensor: Tensor, groups: int = 1) -> Tensor:
    """Fill the weight of a convolution so that it hands on its input: as many channels as there are, in every group.

    Parameters
    ----------
    tensor : Tensor
        (out_channels, in_channels / groups, *kernel), with one to three axes of the kernel.
    groups : int

    Raises
    ------
    ValueError
        If the tensor has another number of axes, or its out_channels are no multiple of the groups.
    """
    if tensor.ndim not in (3, 4, 5):
        raise ValueError("Only tensors with 3, 4, or 5 dimensions are supported")
    out_channels, in_channels, *kernel = tensor.shape
    if out_channels % groups:
        raise ValueError("dim 0 must be divisible by groups")
    values = agrad.concat([agrad.eye(out_channels // groups, in_channels, dtype=tensor.dtype)] * groups)
    for length in kernel:
        values = agrad.where(agrad.arange(length) == length // 2, values[..., None], 0)
    return _write(tensor, values)


# -------------------------------------------------------------------------------------------------------------- random


def uniform_(tensor: Tensor, a: float = 0.0, b: float = 1.0, generator: Generator | None = None) -> Tensor:
    """Fill with uniform numbers from [a, b).

    Examples
    --------
    >>> import agrad
    >>> from agrad import nn
    >>> w = nn.init.uniform_(agrad.zeros(100), -2.0, 2.0)
    >>> bool((agrad.abs(w) <= 2.0).all())
    True
    """
    with no_grad():
        return tensor.uniform_(a, b, generator=generator)


def normal_(tensor: Tensor, mean: float = 0.0, std: float = 1.0, generator: Generator | None = None) -> Tensor:
    """Fill with normal numbers."""
    with no_grad():
        return tensor.normal_(mean, std, generator=generator)


def trunc_normal_(
    tensor: Tensor,
    mean: float = 0.0,
    std: float = 1.0,
    a: float = -2.0,
    b: float = 2.0,
    generator: Generator | None = None,
) -> Tensor:
    """Fill with normal numbers that lie in [a, b]; those outside are drawn again.

    Raises
    ------
    ValueError
        If a > b, or the standard deviation is not positive.
    """
    if not (a <= b and std > 0):
        raise ValueError(f"trunc_normal_: expected a <= b and std > 0, got a={a}, b={b}, std={std}")
    low, high = (a - mean) / std, (b - mean) / std

    def draw(stream: Any, shape: tuple[int, ...], dtype: Any) -> Any:
        return np.clip(mean + std * _truncated(stream, shape, low, high), a, b)

    return _write(tensor, _draw("trunc_normal_", draw, tensor, generator))


def _truncated(stream: Any, shape: tuple[int, ...], low: float, high: float) -> Any:
    """Standard normal numbers from [low, high], by rejection."""
    mass = (math.erf(high / math.sqrt(2)) - math.erf(low / math.sqrt(2))) / 2
    peak = min(max(0.0, low), high)     # where the density is largest
    found = np.empty(math.prod(shape))
    missing = np.arange(found.size)
    while missing.size:
        if mass > 0.25:
            found[missing] = stream.standard_normal(missing.size)
            refused = (found[missing] < low) | (found[missing] > high)
        else:   # a narrow interval, or a tail: uniform numbers, kept as their density says
            found[missing] = stream.uniform(low, high, missing.size)
            refused = stream.random(missing.size) > np.exp((peak**2 - found[missing] ** 2) / 2)
        missing = missing[refused]
    return found.reshape(shape)


def xavier_uniform_(tensor: Tensor, gain: float = 1.0, generator: Generator | None = None) -> Tensor:
    """Fill with uniform numbers of variance gain^2 * 2 / (fan_in + fan_out) (Glorot and Bengio, 2010).

    Parameters
    ----------
    tensor : Tensor
        (fan_out, fan_in), or (out_channels, in_channels, *kernel).
    gain : float
        See `calculate_gain`.
    generator : Generator, optional

    Raises
    ------
    ValueError
        If the tensor has fewer than two axes.

    Examples
    --------
    >>> import agrad
    >>> from agrad import nn
    >>> w = nn.init.xavier_uniform_(agrad.zeros((3, 5)), gain=nn.init.calculate_gain("relu"))
    """
    bound = math.sqrt(3) * _xavier_std(tensor, gain)
    return uniform_(tensor, -bound, bound, generator)


def xavier_normal_(tensor: Tensor, gain: float = 1.0, generator: Generator | None = None) -> Tensor:
    """Fill with normal numbers of variance gain^2 * 2 / (fan_in + fan_out); otherwise as `xavier_uniform_`."""
    return normal_(tensor, 0.0, _xavier_std(tensor, gain), generator)


def kaiming_uniform_(
    tensor: Tensor,
    a: float = 0,
    mode: str = "fan_in",
    nonlinearity: str = "leaky_relu",
    generator: Generator | None = None,
) -> Tensor:
    """Fill with uniform numbers of variance gain^2 / fan (He et al., 2015).

    Parameters
    ----------
    tensor : Tensor
        (fan_out, fan_in), or (out_channels, in_channels, *kernel).
    a : float
        The negative slope, if the nonlinearity is "leaky_relu".
    mode : {"fan_in", "fan_out"}
        Whether the size of activations or that of gradients is to stay the same.
    nonlinearity : str
        What follows; see `calculate_gain`.
    generator : Generator, optional

    Raises
    ------
    ValueError
        If the tensor has fewer than two axes, for another mode, and for an unknown nonlinearity.

    Examples
    --------
    >>> import agrad
    >>> from agrad import nn
    >>> w = nn.init.kaiming_uniform_(agrad.zeros((3, 5)), nonlinearity="relu")
    """
    if _is_empty(tensor):
        return tensor
    bound = math.sqrt(3) * _kaiming_std(tensor, a, mode, nonlinearity)
    return uniform_(tensor, -bound, bound, generator)


def kaiming_normal_(
    tensor: Tensor,
    a: float = 0,
    mode: str = "fan_in",
    nonlinearity: str = "leaky_relu",
    generator: Generator | None = None,
) -> Tensor:
    """Fill with normal numbers of variance gain^2 / fan; otherwise as `kaiming_uniform_`."""
    if _is_empty(tensor):
        return tensor
    return normal_(tensor, 0.0, _kaiming_std(tensor, a, mode, nonlinearity), generator)


def orthogonal_(tensor: Tensor, gain: float = 1, generator: Generator | None = None) -> Tensor:
    """Fill with a random matrix of orthonormal rows or columns, whichever are fewer (Saxe et al., 2013).

    All axes after the first count as one. All such matrices are equally likely (Mezzadri, 2006).

    Raises
    ------
    ValueError
        If the tensor has fewer than two axes.

    Examples
    --------
    >>> import agrad
    >>> from agrad import nn
    >>> w = nn.init.orthogonal_(agrad.zeros((2, 5)))
    >>> agrad.allclose(w @ w.T, agrad.eye(2))
    True
    """
    if tensor.ndim < 2:
        raise ValueError("Only tensors with 2 or more dimensions are supported")
    if tensor.size == 0:
        return tensor
    rows, columns = tensor.shape[0], tensor.size // tensor.shape[0]

    def draw(stream: Any, shape: tuple[int, ...], dtype: Any) -> Any:
        samples = shape[: len(shape) - tensor.ndim]
        q, r = np.linalg.qr(draws.standard_normal(stream, (*samples, max(rows, columns), min(rows, columns)), dtype))
        diagonal = np.diagonal(r, axis1=-2, axis2=-1)
        q = gain * q * (diagonal / np.abs(diagonal))[..., None, :]
        return (q if rows >= columns else np.swapaxes(q, -1, -2)).reshape(shape)

    return _write(tensor, _draw("orthogonal_", draw, tensor, generator))


def sparse_(tensor: Tensor, sparsity: float, std: float = 0.01, generator: Generator | None = None) -> Tensor:
    """Fill a matrix with normal numbers, and a part of every column with zeros (Martens, 2010).

    Parameters
    ----------
    tensor : Tensor
        A matrix.
    sparsity : float
        Which part of each column is zero; rounded up.
    std : float
    generator : Generator, optional

    Raises
    ------
    ValueError
        If the tensor has not two axes.
    """
    if tensor.ndim != 2:
        raise ValueError("Only tensors with 2 dimensions are supported")
    n_zeros = math.ceil(sparsity * tensor.shape[0])

    def draw(stream: Any, shape: tuple[int, ...], dtype: Any) -> Any:
        order = np.argsort(stream.random(shape), axis=-2)   # a permutation in every column
        return np.where(order < n_zeros, 0, std * draws.standard_normal(stream, shape, dtype))

    return _write(tensor, _draw("sparse_", draw, tensor, generator))


# --------------------------------------------------------------------------------------------------------------- sizes

_GAINS = {
    **dict.fromkeys(
        ("linear", "conv1d", "conv2d", "conv3d", "conv_transpose1d", "conv_transpose2d", "conv_transpose3d", "sigmoid"),
        1.0,
    ),
    "tanh": 5 / 3,
    "relu": math.sqrt(2),
    "selu": 3 / 4,
}


def calculate_gain(nonlinearity: str, param: float | None = None) -> float:
    """The factor on the standard deviation of weights that keeps the size of activations through a nonlinearity.

    Parameters
    ----------
    nonlinearity : str
        A name of `nn.functional`: "linear", "conv2d" and its like, "sigmoid", "tanh", "relu", "leaky_relu", "selu".
    param : float, optional
        The negative slope of "leaky_relu"; default 0.01.

    Raises
    ------
    ValueError
        For any other name, and a slope that is no number.

    Examples
    --------
    >>> from agrad import nn
    >>> nn.init.calculate_gain("leaky_relu", 1.0)
    1.0
    """
    if nonlinearity == "leaky_relu":
        slope = 0.01 if param is None else param
        if isinstance(slope, bool) or not isinstance(slope, (int, float)):
            raise ValueError(f"negative_slope {param} not a valid number")
        return math.sqrt(2 / (1 + slope**2))
    if nonlinearity not in _GAINS:
        raise ValueError(f"Unsupported nonlinearity {nonlinearity}")
    return _GAINS[nonlinearity]


def _calculate_fan_in_and_fan_out(tensor: Tensor) -> tuple[int, int]:
    """How many numbers a result is made of, and how many results a number goes into."""
    if tensor.ndim < 2:
        raise ValueError("Fan in and fan out can not be computed for tensor with fewer than 2 dimensions")
    field = math.prod(tensor.shape[2:])
    return tensor.shape[1] * field, tensor.shape[0] * field


def _xavier_std(tensor: Tensor, gain: float) -> float:
    return gain * math.sqrt(2 / sum(_calculate_fan_in_and_fan_out(tensor)))


def _kaiming_std(tensor: Tensor, a: float, mode: str, nonlinearity: str) -> float:
    modes = ["fan_in", "fan_out"]
    if mode.lower() not in modes:
        raise ValueError(f"Mode {mode.lower()} not supported, please use one of {modes}")
    fan = _calculate_fan_in_and_fan_out(tensor)[modes.index(mode.lower())]
    return calculate_gain(nonlinearity, a) / math.sqrt(fan)


def _is_empty(tensor: Tensor) -> bool:
    """Whether there is nothing to fill, which is worth a warning."""
    if 0 in tensor.shape:
        warnings.warn("Initializing zero-element tensors is a no-op", stacklevel=3)
    return 0 in tensor.shape
