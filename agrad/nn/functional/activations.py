"""Activations as functions: of one element, or of the elements along one axis.

Formulas of differentiable ops, written so that no exponential overflows and that what `where` does not choose adds no
nan to a gradient. At the points where a slope jumps it is PyTorch's. Must know no backend, no rule and no Module.
"""

import warnings
from collections.abc import Callable
from math import pi, sqrt
from typing import Any

import agrad
from agrad.cython_core.engine import Tensor
from agrad.nn.functional.checks import known_extremes
from agrad.random import rand_like
from agrad.spellings import sigmoid

# Self-normalizing networks: Klambauer et al. 2017, equation 14.
SELU_ALPHA, SELU_SCALE = 1.6732632423543772848170429916717, 1.0507009873554804934193349852946


def in_place(function: Callable[..., Tensor], input: Tensor, *arguments: Any) -> Tensor:
    """The function's values, written over its input, which the graph keeps as it was."""
    return input.copy_(function(input.clone(), *arguments))


# -------------------------------------------------------------------------------------------------- pieces of two lines


def relu(input: Tensor, inplace: bool = False) -> Tensor:
    """The larger of the input and zero.

    Examples
    --------
    >>> import agrad
    >>> from agrad.nn import functional as F
    >>> F.relu(agrad.tensor([-1.0, 0.0, 2.0]))
    tensor([0., 0., 2.])
    """
    return input.relu_() if inplace else agrad.relu(input)


def leaky_relu(input: Tensor, negative_slope: float = 0.01, inplace: bool = False) -> Tensor:
    """The input where it is positive, else the input times a slope, also at zero.

    Examples
    --------
    >>> import agrad
    >>> from agrad.nn import functional as F
    >>> F.leaky_relu(agrad.tensor([-1.0, 2.0]), 0.1)
    tensor([-0.1000,  2.0000])
    """
    if inplace:
        return in_place(leaky_relu, input, negative_slope)
    return agrad.where(input > 0, input, input * negative_slope)


def prelu(input: Tensor, weight: Tensor) -> Tensor:
    """`leaky_relu` with slopes that are learned: one, or one for each channel (axis 1).

    Raises
    ------
    RuntimeError
        If there are neither as many slopes as channels, nor one.

    Examples
    --------
    >>> import agrad
    >>> from agrad.nn import functional as F
    >>> F.prelu(agrad.tensor([[-1.0, -1.0]]), agrad.tensor([0.5, 0.25]))
    tensor([[-0.5000, -0.2500]])
    """
    channels = input.shape[1] if input.ndim > 1 else 1
    if weight.ndim > 1 or (weight.size != 1 and weight.size != channels):
        raise RuntimeError(
            f"prelu: expected one slope or one for each of {channels} channels (axis 1), got {weight.size} in a weight "
            f"of shape {tuple(weight.shape)} for an input of shape {tuple(input.shape)}"
        )
    if weight.ndim == 1:
        weight = weight.reshape((weight.shape[0],) + (1,) * (input.ndim - 2)) if input.ndim > 1 else weight.reshape(())
    positive = input > 0
    return agrad.where(positive, input, weight * agrad.where(positive, 0.0, input))


def rrelu(
    input: Tensor, lower: float = 1 / 8, upper: float = 1 / 3, training: bool = False, inplace: bool = False
) -> Tensor:
    """`leaky_relu` with a random slope for each element while training, and with the mean slope otherwise.

    Raises
    ------
    ValueError
        If `lower` is larger than `upper`.

    Examples
    --------
    >>> import agrad
    >>> from agrad.nn import functional as F
    >>> F.rrelu(agrad.tensor([-1.0, 2.0]), 0.1, 0.3)
    tensor([-0.2000,  2.0000])
    """
    if lower > upper:
        raise ValueError(f"rrelu: lower must not be larger than upper, got {lower} and {upper}")
    if inplace:
        return in_place(rrelu, input, lower, upper, training)
    if not training:
        return leaky_relu(input, (lower + upper) / 2)
    slope = lower + (upper - lower) * rand_like(input)
    return agrad.where(input > 0, input, input * slope)


def hardtanh(input: Tensor, min_val: float = -1.0, max_val: float = 1.0, inplace: bool = False) -> Tensor:
    """The input between two bounds; without a slope outside and at the bounds themselves.

    Raises
    ------
    ValueError
        If the lower bound is above the upper one.

    Examples
    --------
    >>> import agrad
    >>> from agrad.nn import functional as F
    >>> F.hardtanh(agrad.tensor([-2.0, 0.5, 2.0]))
    tensor([-1.0000,  0.5000,  1.0000])
    """
    if min_val > max_val:
        raise ValueError(f"hardtanh: min_val cannot be greater than max_val, got {min_val} and {max_val}")
    if inplace:
        return in_place(hardtanh, input, min_val, max_val)
    inside = (input > min_val) & (input < max_val)
    return agrad.where(inside, input, agrad.clip(input.detach(), min_val, max_val))


def relu6(input: Tensor, inplace: bool = False) -> Tensor:
    """The input between 0 and 6.

    Examples
    --------
    >>> import agrad
    >>> from agrad.nn import functional as F
    >>> F.relu6(agrad.tensor([-1.0, 3.0, 7.0]))
    tensor([0., 3., 6.])
    """
    return hardtanh(input, 0.0, 6.0, inplace)


def hardsigmoid(input: Tensor, inplace: bool = False) -> Tensor:
    """A line from 0 at -3 to 1 at 3.

    Examples
    --------
    >>> import agrad
    >>> from agrad.nn import functional as F
    >>> F.hardsigmoid(agrad.tensor([-3.0, 0.0, 3.0]))
    tensor([0.0000, 0.5000, 1.0000])
    """
    if inplace:
        return in_place(hardsigmoid, input)
    return relu6(input + 3) / 6


def hardswish(input: Tensor, inplace: bool = False) -> Tensor:
    """The input times `hardsigmoid`: 0 up to -3, the input from 3 on.

    Examples
    --------
    >>> import agrad
    >>> from agrad.nn import functional as F
    >>> F.hardswish(agrad.tensor([-1.0, 1.0, 3.0]))
    tensor([-0.3333,  0.6667,  3.0000])
    """
    if inplace:
        return in_place(hardswish, input)
    return input * hardsigmoid(input)


def hardshrink(input: Tensor, lambd: float = 0.5) -> Tensor:
    """The input, and zero between -lambd and lambd.

    Examples
    --------
    >>> import agrad
    >>> from agrad.nn import functional as F
    >>> F.hardshrink(agrad.tensor([-1.0, 0.5, 1.0]))
    tensor([-1.,  0.,  1.])
    """
    return agrad.where((input >= -lambd) & (input <= lambd), 0.0, input)


def softshrink(input: Tensor, lambd: float = 0.5) -> Tensor:
    """The input moved towards zero by lambd, and zero on the way.

    Raises
    ------
    RuntimeError
        If lambd is negative.

    Examples
    --------
    >>> import agrad
    >>> from agrad.nn import functional as F
    >>> F.softshrink(agrad.tensor([-1.0, 0.2, 1.0]))
    tensor([-0.5000,  0.0000,  0.5000])
    """
    if lambd < 0:
        raise RuntimeError(f"softshrink: lambda must be greater or equal to 0, but found to be {lambd}")
    return input - agrad.clip(input, -lambd, lambd)


def threshold(input: Tensor, threshold: float, value: float, inplace: bool = False) -> Tensor:
    """The input where it is above a threshold, else a value.

    Examples
    --------
    >>> import agrad
    >>> from agrad.nn import functional as F
    >>> F.threshold(agrad.tensor([0.0, 1.0, 2.0]), 1.0, -5.0)
    tensor([-5., -5.,  2.])
    """
    if inplace:
        return in_place(_threshold, input, threshold, value)
    return _threshold(input, threshold, value)


def _threshold(input: Tensor, threshold: float, value: float) -> Tensor:
    return agrad.where(input <= threshold, value, input)


# ----------------------------------------------------------------------------------------------------- exponential ones


def elu(input: Tensor, alpha: float = 1.0, inplace: bool = False) -> Tensor:
    """The input where it is positive, else alpha (exp(x) - 1).

    Examples
    --------
    >>> import agrad
    >>> from agrad.nn import functional as F
    >>> F.elu(agrad.tensor([-1.0, 2.0]))
    tensor([-0.6321,  2.0000])
    """
    return in_place(_elu, input, alpha) if inplace else _elu(input, alpha)


def celu(input: Tensor, alpha: float = 1.0, inplace: bool = False) -> Tensor:
    """The input where it is positive, else alpha (exp(x / alpha) - 1), which has no jump in its slope.

    Raises
    ------
    RuntimeError
        If alpha is zero.

    Examples
    --------
    >>> import agrad
    >>> from agrad.nn import functional as F
    >>> F.celu(agrad.tensor([-1.0, 2.0]), alpha=2.0)
    tensor([-0.7869,  2.0000])
    """
    if alpha == 0:
        raise RuntimeError("celu: ZeroDivisionError: alpha cannot be 0 for CELU")
    return in_place(_elu, input, alpha, 1 / alpha) if inplace else _elu(input, alpha, 1 / alpha)


def selu(input: Tensor, inplace: bool = False) -> Tensor:
    """The `elu` whose layers keep mean 0 and variance 1.

    Examples
    --------
    >>> import agrad
    >>> from agrad.nn import functional as F
    >>> F.selu(agrad.tensor([-1.0, 2.0]))
    tensor([-1.1113,  2.1014])
    """
    return in_place(selu, input) if inplace else SELU_SCALE * _elu(input, SELU_ALPHA)


def _elu(input: Tensor, alpha: float, rate: float = 1.0) -> Tensor:
    positive = input > 0
    return agrad.where(positive, input, alpha * agrad.expm1(rate * agrad.where(positive, 0.0, input)))


def logsigmoid(input: Tensor) -> Tensor:
    """The logarithm of `sigmoid`, also where that rounds to zero.

    Examples
    --------
    >>> import agrad
    >>> from agrad.nn import functional as F
    >>> F.logsigmoid(agrad.tensor([-1000.0, 0.0]))
    tensor([-1.0000e+03, -6.9315e-01])
    """
    return agrad.special.log_expit(input)


def softplus(input: Tensor, beta: float = 1.0, threshold: float = 20.0) -> Tensor:
    """log(1 + exp(beta x)) / beta, and the input itself where beta x is above the threshold.

    Examples
    --------
    >>> import agrad
    >>> from agrad.nn import functional as F
    >>> F.softplus(agrad.tensor([-1000.0, 0.0, 30.0]))
    tensor([ 0.0000,  0.6931, 30.0000])
    """
    scaled = input * beta
    return agrad.where(scaled > threshold, input, agrad.special.softplus(scaled) / beta)


def silu(input: Tensor, inplace: bool = False) -> Tensor:
    """The input times its `sigmoid`; nan at -inf, as PyTorch's.

    Examples
    --------
    >>> import agrad
    >>> from agrad.nn import functional as F
    >>> F.silu(agrad.tensor([-1.0, 1.0]))
    tensor([-0.2689,  0.7311])
    """
    return in_place(silu, input) if inplace else input * sigmoid(input)


def mish(input: Tensor, inplace: bool = False) -> Tensor:
    """The input times the tanh of its `softplus`; nan at -inf, as PyTorch's.

    Examples
    --------
    >>> import agrad
    >>> from agrad.nn import functional as F
    >>> F.mish(agrad.tensor([-1.0, 1.0]))
    tensor([-0.3034,  0.8651])
    """
    return in_place(mish, input) if inplace else input * agrad.tanh(agrad.special.softplus(input))


def gelu(input: Tensor, approximate: str = "none") -> Tensor:
    """The input times the probability that a normal number is smaller; nan at -inf, as PyTorch's.

    Parameters
    ----------
    approximate : {"none", "tanh"}
        "tanh": Hendrycks and Gimpel's formula (2016), which needs no error function.

    Raises
    ------
    RuntimeError
        For another word.

    Examples
    --------
    >>> import agrad
    >>> from agrad.nn import functional as F
    >>> F.gelu(agrad.tensor([-1.0, 1.0]))
    tensor([-0.1587,  0.8413])
    """
    if approximate == "none":
        return input * agrad.special.ndtr(input)
    if approximate == "tanh":
        inner = sqrt(2 / pi) * input * (1 + 0.044715 * input * input)
        return 0.5 * input * (1 + agrad.tanh(inner))
    raise RuntimeError(f"gelu: approximate argument must be either none or tanh, got {approximate!r}")


def tanh(input: Tensor) -> Tensor:
    """The hyperbolic tangent.

    Examples
    --------
    >>> import agrad
    >>> from agrad.nn import functional as F
    >>> F.tanh(agrad.tensor([0.0, 1.0]))
    tensor([0.0000, 0.7616])
    """
    return agrad.tanh(input)


def tanhshrink(input: Tensor) -> Tensor:
    """The input less its tanh.

    Examples
    --------
    >>> import agrad
    >>> from agrad.nn import functional as F
    >>> F.tanhshrink(agrad.tensor([0.0, 1.0]))
    tensor([0.0000, 0.2384])
    """
    return input - agrad.tanh(input)


def softsign(input: Tensor) -> Tensor:
    """x / (1 + |x|).

    Examples
    --------
    >>> import agrad
    >>> from agrad.nn import functional as F
    >>> F.softsign(agrad.tensor([-1.0, 3.0]))
    tensor([-0.5000,  0.7500])
    """
    return input / (1 + agrad.abs(input))


# -------------------------------------------------------------------------------------------------------- along an axis


def softmax(input: Tensor, dim: int | None = None, *, dtype: Any = None) -> Tensor:
    """Exponentials divided by their sum along an axis; `dtype` casts the input first.

    Without `dim` it is axis 0 for 0, 1 and 3 axes, else axis 1, as in PyTorch, with a warning.

    Examples
    --------
    >>> import agrad
    >>> from agrad.nn import functional as F
    >>> F.softmax(agrad.tensor([0.0, 0.0]), dim=0)
    tensor([0.5000, 0.5000])
    """
    return agrad.softmax(_cast(input, dtype), axis=_axis("softmax", dim, input))


def log_softmax(input: Tensor, dim: int | None = None, *, dtype: Any = None) -> Tensor:
    """The logarithm of `softmax`, also where that rounds to zero.

    Examples
    --------
    >>> import agrad
    >>> from agrad.nn import functional as F
    >>> F.log_softmax(agrad.tensor([0.0, -1000.0]), dim=0)
    tensor([    0., -1000.])
    """
    return agrad.log_softmax(_cast(input, dtype), axis=_axis("log_softmax", dim, input))


def softmin(input: Tensor, dim: int | None = None, *, dtype: Any = None) -> Tensor:
    """`softmax` of the negative.

    Examples
    --------
    >>> import agrad
    >>> from agrad.nn import functional as F
    >>> F.softmin(agrad.tensor([0.0, 1000.0]), dim=0)
    tensor([1., 0.])
    """
    return agrad.softmax(-_cast(input, dtype), axis=_axis("softmin", dim, input))


def _cast(input: Tensor, dtype: Any) -> Tensor:
    return input if dtype is None else input.to(dtype=dtype)


def _axis(name: str, dim: int | None, input: Tensor) -> int:
    """The axis, which PyTorch guesses where it was not said."""
    if dim is not None:
        return dim
    warnings.warn(
        f"Implicit dimension choice for {name} has been deprecated. Change the call to include dim=X as an argument.",
        UserWarning,
        stacklevel=3,
    )
    return 0 if input.ndim in (0, 1, 3) else 1


def glu(input: Tensor, dim: int = -1) -> Tensor:
    """The first half along an axis times the `sigmoid` of the second.

    Raises
    ------
    RuntimeError
        If the axis has no halves.

    Examples
    --------
    >>> import agrad
    >>> from agrad.nn import functional as F
    >>> F.glu(agrad.tensor([1.0, 2.0, 0.0, 0.0]))
    tensor([0.5000, 1.0000])
    """
    if input.ndim == 0:
        raise RuntimeError("glu does not support 0-dimensional tensors")
    n = input.shape[dim]
    if n % 2:
        raise RuntimeError(f"glu: Halving dimension must be even, but dimension {dim} is size {n}")
    before = (slice(None),) * (dim % input.ndim)
    values: Tensor = input[(*before, slice(0, n // 2))]
    return values * sigmoid(input[(*before, slice(n // 2, n))])


def gumbel_softmax(logits: Tensor, tau: float = 1, hard: bool = False, eps: float = 1e-10, dim: int = -1) -> Tensor:
    """Samples of a category that have a gradient: `softmax` of logits with Gumbel noise (Jang et al. 2017).

    Parameters
    ----------
    tau : float
        The temperature: the lower, the closer to one-hot.
    hard : bool
        One-hot values, with the gradient of the soft ones.
    eps : float
        Has no effect; PyTorch has it.

    Examples
    --------
    >>> import agrad
    >>> from agrad.nn import functional as F
    >>> F.gumbel_softmax(agrad.zeros((2, 3)), hard=True).sum(dim=1)
    tensor([1., 1.])
    """
    smallest = agrad.finfo(logits.dtype).smallest_normal
    waited = -agrad.log1p(-rand_like(logits.detach()))      # exponentially distributed
    gumbels = -agrad.log(agrad.clip(waited, smallest, None))
    soft = agrad.softmax((logits + gumbels) / tau, axis=dim)
    if not hard:
        return soft
    best = agrad.argmax(soft, axis=dim)
    axis = dim % logits.ndim
    ones = agrad.moveaxis(one_hot(best, logits.shape[dim]), -1, axis).to(dtype=soft.dtype)
    return ones + (soft - soft.detach())


def normalize(input: Tensor, p: float = 2.0, dim: Any = 1, eps: float = 1e-12) -> Tensor:
    """The input divided by its p-norm along an axis, or by `eps` where that is larger.

    Examples
    --------
    >>> import agrad
    >>> from agrad.nn import functional as F
    >>> F.normalize(agrad.tensor([[3.0, 4.0]]))
    tensor([[0.6000, 0.8000]])
    """
    norm = agrad.linalg.vector_norm(input, axis=dim, keepdims=True, ord=p)
    return input / agrad.clip(norm, eps, None)


def one_hot(tensor: Tensor, num_classes: int = -1) -> Tensor:
    """A one at the place that each element names, along a new last axis of zeros.

    Parameters
    ----------
    tensor : Tensor of integers
    num_classes : int
        How many places; -1: the largest element and one.

    Raises
    ------
    RuntimeError
        For classes outside, for other than integers, or if their number cannot be told.

    Examples
    --------
    >>> import agrad
    >>> from agrad.nn import functional as F
    >>> F.one_hot(agrad.tensor([0, 2]))
    tensor([[1, 0, 0],
            [0, 0, 1]])
    """
    if not agrad.isdtype(tensor.dtype, "integral"):
        raise RuntimeError(f"one_hot is only applicable to index tensors of integers, not of {tensor.dtype}")
    found = known_extremes(tensor)
    if num_classes == -1:
        if found is None:
            raise RuntimeError("one_hot: Can not infer total number of classes from a tensor without known values")
        num_classes = found[1] + 1
    if found is not None and found[0] < 0:
        raise RuntimeError(f"one_hot: Class values must be non-negative, got {found[0]}")
    if found is not None and found[1] >= num_classes:
        raise RuntimeError(f"one_hot: Class values must be smaller than num_classes, got {found[1]} of {num_classes}")
    places = tensor.__array_namespace__().arange(num_classes)
    ones: Tensor = agrad.expand_dims(tensor, axis=-1) == places
    return ones.to(dtype=places.dtype)


# ----------------------------------------------------------------------------------------------------- PyTorch's names_


def relu_(input: Tensor) -> Tensor:
    """`relu` in place."""
    return relu(input, inplace=True)


def leaky_relu_(input: Tensor, negative_slope: float = 0.01) -> Tensor:
    """`leaky_relu` in place."""
    return leaky_relu(input, negative_slope, inplace=True)


def hardtanh_(input: Tensor, min_val: float = -1.0, max_val: float = 1.0) -> Tensor:
    """`hardtanh` in place."""
    return hardtanh(input, min_val, max_val, inplace=True)


def threshold_(input: Tensor, threshold: float, value: float) -> Tensor:
    """`threshold` in place."""
    return in_place(_threshold, input, threshold, value)


def elu_(input: Tensor, alpha: float = 1.0) -> Tensor:
    """`elu` in place."""
    return elu(input, alpha, inplace=True)


def celu_(input: Tensor, alpha: float = 1.0) -> Tensor:
    """`celu` in place."""
    return celu(input, alpha, inplace=True)


def selu_(input: Tensor) -> Tensor:
    """`selu` in place."""
    return selu(input, inplace=True)


def rrelu_(input: Tensor, lower: float = 1 / 8, upper: float = 1 / 3, training: bool = False) -> Tensor:
    """`rrelu` in place."""
    return rrelu(input, lower, upper, training, inplace=True)
