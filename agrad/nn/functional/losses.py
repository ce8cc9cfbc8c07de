"""Losses as functions: how far an input is from a target, and one number for all elements.

Classes are compared in `class_losses`; here is what works element by element, or on pairs of vectors. Where the slope
jumps it is PyTorch's. Must know no backend, no rule and no Module.
"""

import warnings
from collections.abc import Callable
from math import log, pi

import agrad
from agrad.cython_core.engine import Tensor
from agrad.nn.functional.activations import logsigmoid
from agrad.nn.functional.checks import values_are_known
from agrad.nn.functional.distance import at_least, pairwise_distance
from agrad.nn.functional.reduction import check_sizes, reduced, same_size, scaled, weighted, word

# ----------------------------------------------------------------------------------------------------------- regression


def mse_loss(
    input: Tensor, target: Tensor, size_average: bool | None = None, reduce: bool | None = None,
    reduction: str = "mean", weight: Tensor | None = None,
) -> Tensor:
    """The squared difference.

    Parameters
    ----------
    input, target : Tensor
        Of one shape; others are broadcast, with a warning.
    size_average, reduce : bool, optional
        PyTorch's older words for `reduction`.
    reduction : {"mean", "sum", "none"}
    weight : Tensor, optional
        A factor for each element; "mean" divides by their sum.

    Raises
    ------
    RuntimeError
        If the shapes cannot be broadcast.
    ValueError
        For a weight of another shape, and an unknown reduction.

    Examples
    --------
    >>> import agrad
    >>> from agrad.nn import functional as F
    >>> F.mse_loss(agrad.tensor([1.0, 2.0]), agrad.tensor([1.0, 4.0]))
    tensor(2.)
    """
    check_sizes("mse_loss", input, target)
    return weighted(agrad.square(input - target), weight, word(reduction, size_average, reduce))


def l1_loss(
    input: Tensor, target: Tensor, size_average: bool | None = None, reduce: bool | None = None,
    reduction: str = "mean", weight: Tensor | None = None,
) -> Tensor:
    """The absolute difference; parameters and errors as of `mse_loss`.

    Examples
    --------
    >>> import agrad
    >>> from agrad.nn import functional as F
    >>> F.l1_loss(agrad.tensor([1.0, 2.0]), agrad.tensor([1.0, 4.0]))
    tensor(1.)
    """
    check_sizes("l1_loss", input, target)
    return weighted(agrad.abs(input - target), weight, word(reduction, size_average, reduce))


def smooth_l1_loss(
    input: Tensor, target: Tensor, size_average: bool | None = None, reduce: bool | None = None,
    reduction: str = "mean", beta: float = 1.0,
) -> Tensor:
    """The absolute difference less beta / 2, and d^2 / (2 beta) where it is below beta.

    Raises
    ------
    RuntimeError
        For a negative beta.

    Examples
    --------
    >>> import agrad
    >>> from agrad.nn import functional as F
    >>> F.smooth_l1_loss(agrad.tensor([0.0, 0.0]), agrad.tensor([1.0, 3.0]), reduction="none")
    tensor([0.5000, 2.5000])
    """
    check_sizes("smooth_l1_loss", input, target)
    if beta < 0:
        raise RuntimeError(f"smooth_l1_loss does not support negative values for beta, got {beta}")
    distance = agrad.abs(input - target)
    return reduced(_huber(distance, beta) / beta if beta else distance, reduction, size_average, reduce)


def huber_loss(
    input: Tensor, target: Tensor, reduction: str = "mean", delta: float = 1.0, weight: Tensor | None = None
) -> Tensor:
    """d^2 / 2 where the absolute difference d is below delta, then a line.

    A weight is a factor for each element; the mean stays that of elements, as PyTorch's.

    Raises
    ------
    RuntimeError
        If delta is not positive.

    Examples
    --------
    >>> import agrad
    >>> from agrad.nn import functional as F
    >>> F.huber_loss(agrad.tensor([0.0, 0.0]), agrad.tensor([1.0, 3.0]), reduction="none")
    tensor([0.5000, 2.5000])
    """
    check_sizes("huber_loss", input, target)
    if delta <= 0:
        raise RuntimeError(f"huber_loss does not support non-positive values for delta, got {delta}")
    return reduced(scaled(_huber(agrad.abs(input - target), delta), weight), reduction)


def _huber(distance: Tensor, delta: float) -> Tensor:
    near = agrad.clip(distance, None, delta)
    return near * (distance - 0.5 * near)


def poisson_nll_loss(
    input: Tensor, target: Tensor, log_input: bool = True, full: bool = False, size_average: bool | None = None,
    eps: float = 1e-8, reduce: bool | None = None, reduction: str = "mean",
) -> Tensor:
    """The negative log likelihood of counts, where the input is their expectation or its logarithm.

    Parameters
    ----------
    log_input : bool
        The input is a logarithm: exp(x) - t x, else x - t log(x + eps).
    full : bool
        Add Stirling's formula for log(t!), where t is above 1.

    Examples
    --------
    >>> import agrad
    >>> from agrad.nn import functional as F
    >>> F.poisson_nll_loss(agrad.tensor([0.0]), agrad.tensor([2.0]))
    tensor(1.)
    """
    check_sizes("poisson_nll_loss", input, target)
    losses = agrad.exp(input) - target * input if log_input else input - target * agrad.log(input + eps)
    if full:
        many = agrad.where(target > 1, target, 1.0)
        stirling = many * agrad.log(many) - many + 0.5 * agrad.log(2 * pi * many)
        losses = losses + agrad.where(target > 1, stirling, 0.0)
    return reduced(losses, reduction, size_average, reduce)


def gaussian_nll_loss(
    input: Tensor, target: Tensor, var: Tensor | float, full: bool = False, eps: float = 1e-6, reduction: str = "mean"
) -> Tensor:
    """The negative log likelihood of normal numbers, where the input is their expectation.

    Parameters
    ----------
    var : Tensor or float
        Their variance: in the input's shape, or one for all of the last axis (or another axis of length 1).
    full : bool
        Add the constant log(2 pi) / 2.
    eps : float
        Smaller variances count as this.

    Raises
    ------
    ValueError
        For negative variances, or a shape that does not fit.

    Examples
    --------
    >>> import agrad
    >>> from agrad.nn import functional as F
    >>> F.gaussian_nll_loss(agrad.tensor([0.0]), agrad.tensor([2.0]), agrad.tensor([1.0]))
    tensor(2.)
    """
    if not isinstance(var, Tensor):
        var = agrad.full_like(input, var)
    if var.shape != input.shape:
        var = _for_each(var, input)
    if values_are_known(var) and agrad.any(var < 0).item():
        raise ValueError("gaussian_nll_loss: var has negative entry/entries")
    var = at_least(var, eps)
    losses = 0.5 * (agrad.log(var) + agrad.square(input - target) / var)
    return reduced(losses + 0.5 * log(2 * pi) if full else losses, reduction)


def _for_each(var: Tensor, input: Tensor) -> Tensor:
    """Variances that lack the last axis, or have length 1 on one."""
    if var.shape == input.shape[:-1]:
        return agrad.expand_dims(var, axis=-1)
    if var.ndim == input.ndim and [m for n, m in zip(input.shape, var.shape, strict=True) if n != m] == [1]:
        return var
    raise ValueError(
        f"gaussian_nll_loss: var is of incorrect size: {tuple(var.shape)} for an input of shape {tuple(input.shape)}"
    )


# -------------------------------------------------------------------------------------------------------- probabilities


def binary_cross_entropy(
    input: Tensor, target: Tensor, weight: Tensor | None = None, size_average: bool | None = None,
    reduce: bool | None = None, reduction: str = "mean",
) -> Tensor:
    """-(t log(p) + (1 - t) log(1 - p)), with logarithms of at least -100.

    The gradient to the probabilities is (p - t) / max(p (1 - p), 1e-12), as PyTorch's: not zero where p is wrong and 0
    or 1.

    Parameters
    ----------
    weight : Tensor, optional
        A factor for each element; broadcast.

    Raises
    ------
    ValueError
        If the target has another shape.
    RuntimeError
        If the input holds other than probabilities.

    Examples
    --------
    >>> import agrad
    >>> from agrad.nn import functional as F
    >>> F.binary_cross_entropy(agrad.tensor([0.5, 0.0]), agrad.tensor([1.0, 1.0]), reduction="none")
    tensor([  0.6931, 100.0000])
    """
    same_size("binary_cross_entropy", input, target)
    if values_are_known(input) and agrad.any((input < 0) | (input > 1)).item():
        raise RuntimeError("binary_cross_entropy: all elements of input should be between 0 and 1")
    spread = input * (1 - input)
    edge = spread < 1e-12
    inside = agrad.where(edge, 0.5, input)
    losses = -(target * agrad.log(inside) + (1 - target) * agrad.log1p(-inside))
    # at the edge: bounded logarithms, and a line that is zero and has the wanted slope
    there = input.detach()
    at_edge = -(target * _bounded_log(there) + (1 - target) * _bounded_log(1 - there))
    slope = 1e12 * (there - target.detach())
    losses = agrad.where(edge, at_edge + slope * (input - there), losses)
    return reduced(losses if weight is None else losses * weight, reduction, size_average, reduce)


def _bounded_log(p: Tensor) -> Tensor:
    return agrad.clip(agrad.where(p > 0, agrad.log(agrad.where(p > 0, p, 1.0)), -100.0), -100.0, None)


def binary_cross_entropy_with_logits(
    input: Tensor, target: Tensor, weight: Tensor | None = None, size_average: bool | None = None,
    reduce: bool | None = None, reduction: str = "mean", pos_weight: Tensor | None = None,
) -> Tensor:
    """`binary_cross_entropy` of the input's sigmoid, which may round to 0 or 1.

    Parameters
    ----------
    weight : Tensor, optional
        A factor for each element; broadcast.
    pos_weight : Tensor, optional
        A factor for the targets that are 1; broadcast.

    Raises
    ------
    ValueError
        If the target has another shape.

    Examples
    --------
    >>> import agrad
    >>> from agrad.nn import functional as F
    >>> F.binary_cross_entropy_with_logits(agrad.tensor([0.0, -30.0]), agrad.tensor([1.0, 1.0]), reduction="none")
    tensor([ 0.6931, 30.0000])
    """
    same_size("binary_cross_entropy_with_logits", input, target)
    factor = 1 if pos_weight is None else (pos_weight - 1) * target + 1
    losses = (1 - target) * input - factor * logsigmoid(input)
    return reduced(losses if weight is None else losses * weight, reduction, size_average, reduce)


def kl_div(
    input: Tensor, target: Tensor, size_average: bool | None = None, reduce: bool | None = None,
    reduction: str = "mean", log_target: bool = False,
) -> Tensor:
    """t (log(t) - x): the divergence of a distribution t from one whose logarithms the input holds.

    Parameters
    ----------
    reduction : {"mean", "batchmean", "sum", "none"}
        "batchmean" divides the sum by the length of the first axis, which is the divergence proper.
    log_target : bool
        The target holds logarithms too.

    Warns
    -----
    UserWarning
        For "mean", which divides by all elements.

    Examples
    --------
    >>> import agrad
    >>> from agrad.nn import functional as F
    >>> F.kl_div(agrad.tensor([[0.5, 0.5]]).log(), agrad.tensor([[1.0, 0.0]]), reduction="batchmean")
    tensor(0.6931)
    """
    check_sizes("kl_div", input, target)
    if size_average is not None or reduce is not None:
        reduction = word(reduction, size_average, reduce)
    if reduction == "mean":
        warnings.warn(
            "reduction: 'mean' divides the total loss by both the batch size and the support size. 'batchmean' divides "
            "only by the batch size, and aligns with the KL math definition.",
            UserWarning,
            stacklevel=2,
        )
    if log_target:
        losses = agrad.exp(target) * (target - input)
    else:
        losses = target * agrad.log(agrad.where(target == 0, 1.0, target)) - target * input
    if reduction == "batchmean":
        return agrad.sum(losses) / input.shape[0] if input.ndim else losses
    return reduced(losses, reduction)


# ---------------------------------------------------------------------------------------------------- margins and signs


def hinge_embedding_loss(
    input: Tensor, target: Tensor, margin: float = 1.0, size_average: bool | None = None, reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """A distance where the target is 1, and what it lacks to the margin where the target is -1.

    Examples
    --------
    >>> import agrad
    >>> from agrad.nn import functional as F
    >>> F.hinge_embedding_loss(agrad.tensor([0.5, 0.2]), agrad.tensor([1.0, -1.0]), reduction="none")
    tensor([0.5000, 0.8000])
    """
    lacking = agrad.where(target != 1, agrad.clip(margin - input, 0.0, None), 0.0)
    return reduced(lacking + agrad.where(target != -1, input, 0.0), reduction, size_average, reduce)


def soft_margin_loss(
    input: Tensor, target: Tensor, size_average: bool | None = None, reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """log(1 + exp(-t x)) for targets t of 1 or -1; finite where PyTorch's exponential overflows.

    Raises
    ------
    ValueError
        If the target has another shape.

    Examples
    --------
    >>> import agrad
    >>> from agrad.nn import functional as F
    >>> F.soft_margin_loss(agrad.tensor([0.0]), agrad.tensor([1.0]))
    tensor(0.6931)
    """
    same_size("soft_margin_loss", input, target)
    return reduced(agrad.special.softplus(-target * input), reduction, size_average, reduce)


def margin_ranking_loss(
    input1: Tensor, input2: Tensor, target: Tensor, margin: float = 0, size_average: bool | None = None,
    reduce: bool | None = None, reduction: str = "mean",
) -> Tensor:
    """What x1 lacks to be above x2 by the margin where the target is 1, and below where it is -1.

    Raises
    ------
    RuntimeError
        If the three have not equally many axes.

    Examples
    --------
    >>> import agrad
    >>> from agrad.nn import functional as F
    >>> F.margin_ranking_loss(agrad.tensor([1.0]), agrad.tensor([3.0]), agrad.tensor([1.0]))
    tensor(2.)
    """
    if not input1.ndim == input2.ndim == target.ndim:
        raise RuntimeError(
            "margin_ranking_loss : All input tensors should have same dimension but got sizes: input1: "
            f"{tuple(input1.shape)}, input2: {tuple(input2.shape)}, target: {tuple(target.shape)} "
        )
    return reduced(agrad.clip(-target * (input1 - input2) + margin, 0.0, None), reduction, size_average, reduce)


def cosine_embedding_loss(
    input1: Tensor, input2: Tensor, target: Tensor, margin: float = 0, size_average: bool | None = None,
    reduce: bool | None = None, reduction: str = "mean",
) -> Tensor:
    """1 - cos of two vectors where the target is 1, and cos - margin if positive where it is -1.

    Parameters
    ----------
    input1, input2 : Tensor
        (N, D) or (D,)
    target : Tensor
        (N,) or ()

    Raises
    ------
    RuntimeError
        For other shapes.

    Examples
    --------
    >>> import agrad
    >>> from agrad.nn import functional as F
    >>> F.cosine_embedding_loss(agrad.tensor([[1.0, 0.0]]), agrad.tensor([[0.0, 1.0]]), agrad.tensor([1]))
    tensor(1.)
    """
    if target.ndim > 1 or not input1.ndim == input2.ndim == target.ndim + 1:
        raise RuntimeError(
            "cosine_embedding_loss: expected inputs (N, D) with a target (N,), or (D,) with (), got "
            f"{tuple(input1.shape)}, {tuple(input2.shape)} and {tuple(target.shape)}"
        )
    tiny = 1e-12
    squares = [agrad.sum(agrad.square(x), axis=-1) + tiny for x in (input1, input2)]
    cosine = agrad.sum(input1 * input2, axis=-1) / agrad.sqrt(squares[0] * squares[1])
    losses = agrad.where(target == 1, 1 - cosine, 0.0)
    losses = losses + agrad.where(target == -1, agrad.clip(cosine - margin, 0.0, None), 0.0)
    return reduced(losses, reduction, size_average, reduce)


def triplet_margin_loss(
    anchor: Tensor, positive: Tensor, negative: Tensor, margin: float = 1.0, p: float = 2, eps: float = 1e-6,
    swap: bool = False, size_average: bool | None = None, reduce: bool | None = None, reduction: str = "mean",
) -> Tensor:
    """What lacks for the negative to be farther from the anchor than the positive, by the margin.

    Parameters
    ----------
    anchor, positive, negative : Tensor
        (N, D) or (D,)
    p, eps : float
        As in `pairwise_distance`.
    swap : bool
        Take the distance of positive and negative where it is smaller than that of anchor and negative.

    Raises
    ------
    RuntimeError
        If the three have not equally many axes.

    Examples
    --------
    >>> import agrad
    >>> from agrad.nn import functional as F
    >>> F.triplet_margin_loss(agrad.tensor([[0.0]]), agrad.tensor([[2.0]]), agrad.tensor([[0.5]]))
    tensor(2.5000)
    """
    def distance(x: Tensor, y: Tensor) -> Tensor:
        return pairwise_distance(x, y, p, eps)

    reduction = word(reduction, size_average, reduce)
    return _triplet("triplet_margin_loss", (anchor, positive, negative), distance, margin, swap, reduction)


def triplet_margin_with_distance_loss(
    anchor: Tensor, positive: Tensor, negative: Tensor, *,
    distance_function: Callable[[Tensor, Tensor], Tensor] | None = None, margin: float = 1.0, swap: bool = False,
    reduction: str = "mean",
) -> Tensor:
    """`triplet_margin_loss` with a distance of one's own; default `pairwise_distance`.

    Raises
    ------
    ValueError
        For a margin that is not positive.

    Examples
    --------
    >>> import agrad
    >>> from agrad.nn import functional as F
    >>> x, y, z = (agrad.tensor([[value]]) for value in (0.0, 2.0, 0.5))
    >>> F.triplet_margin_with_distance_loss(x, y, z, distance_function=lambda a, b: (a - b).abs().sum(dim=-1))
    tensor(2.5000)
    """
    if margin <= 0:
        raise ValueError(f"triplet_margin_with_distance_loss: margin must be greater than 0, got {margin}")
    distance = distance_function or pairwise_distance
    three = (anchor, positive, negative)
    return _triplet("triplet_margin_with_distance_loss", three, distance, margin, swap, reduction)


def _triplet(
    name: str, three: tuple[Tensor, Tensor, Tensor], distance: Callable[[Tensor, Tensor], Tensor], margin: float,
    swap: bool, reduction: str,
) -> Tensor:
    anchor, positive, negative = three
    if not anchor.ndim == positive.ndim == negative.ndim:
        raise RuntimeError(
            f"{name}: The anchor, positive, and negative tensors are expected to have the same number of dimensions, "
            f"but got: anchor {anchor.ndim}D, positive {positive.ndim}D, and negative {negative.ndim}D inputs"
        )
    near, far = distance(anchor, positive), distance(anchor, negative)
    if swap:
        far = agrad.minimum(far, distance(positive, negative))
    return reduced(agrad.clip(margin + near - far, 0.0, None), reduction)
