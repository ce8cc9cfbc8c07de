"""How the losses of elements become one number. Must know no single loss."""

import warnings

import agrad
from agrad.cython_core.engine import Tensor

WORDS = ("none", "mean", "sum")


def word(reduction: str, size_average: bool | None = None, reduce: bool | None = None) -> str:
    """The reduction that is meant, also by PyTorch's two older arguments.

    Raises
    ------
    ValueError
        For an unknown word.
    """
    if size_average is not None or reduce is not None:
        given = "mean" if size_average is None or size_average else "sum"
        reduction = given if reduce is None or reduce else "none"
        warnings.warn(
            f"size_average and reduce args will be deprecated, please use reduction='{reduction}' instead.",
            UserWarning,
            stacklevel=3,
        )
    if reduction not in WORDS:
        raise ValueError(f"{reduction} is not a valid value for reduction: it is 'none', 'mean' or 'sum'")
    return reduction


def reduced(losses: Tensor, reduction: str, size_average: bool | None = None, reduce: bool | None = None) -> Tensor:
    """The losses themselves, their mean (nan if there are none), or their sum."""
    if size_average is not None or reduce is not None or reduction not in WORDS:
        reduction = word(reduction, size_average, reduce)
    if reduction == "none":
        return losses
    if reduction == "sum":
        return agrad.sum(losses)
    return agrad.mean(losses) if losses.size else agrad.sum(losses) * agrad.nan


def scaled(losses: Tensor, weight: Tensor | None) -> Tensor:
    """Losses times weights, which have the same shape."""
    if weight is None:
        return losses
    if weight.shape != losses.shape:
        raise ValueError(
            f"Weights and input must have the same size, got {tuple(weight.shape)} and {tuple(losses.shape)}"
        )
    return losses * weight


def weighted(losses: Tensor, weight: Tensor | None, reduction: str) -> Tensor:
    """Losses times weights, and reduced; their mean is that of the weights."""
    losses = scaled(losses, weight)
    if weight is None or reduction != "mean":
        return reduced(losses, reduction)
    return agrad.sum(losses) / agrad.sum(weight)


def check_sizes(name: str, input: Tensor, target: Tensor) -> None:
    """Warn where sizes differ and are broadcast, as PyTorch does.

    Raises
    ------
    RuntimeError
        If they cannot be.
    """
    if input.shape == target.shape:
        return
    fits = zip(reversed(input.shape), reversed(target.shape), strict=False)
    if not all(n == m or n == 1 or m == 1 for n, m in fits):
        raise RuntimeError(
            f"{name}: expected a target of the input's shape {tuple(input.shape)}, got {tuple(target.shape)}"
        )
    warnings.warn(
        f"Using a target size {tuple(target.shape)} that is different to the input size {tuple(input.shape)}. This "
        "will likely lead to incorrect results due to broadcasting. Please ensure they have the same size.",
        UserWarning,
        stacklevel=3,
    )


def same_size(name: str, input: Tensor, target: Tensor) -> None:
    """Raise where a target has not the input's shape."""
    if input.shape != target.shape:
        raise ValueError(
            f"{name}: Target size {tuple(target.shape)} must be the same as input size {tuple(input.shape)}"
        )
