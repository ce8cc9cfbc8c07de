"""Products with weights that are learned, as functions. Must know no backend, no rule and no Module."""

import agrad
from agrad.cython_core.engine import Tensor
from agrad.nn.functional.ops import nn


def linear(input: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """x W^T + b: each of the input's vectors, along its last axis, times each row of a weight.

    Parameters
    ----------
    input : Tensor
        (..., in_features)
    weight : Tensor
        (out_features, in_features), or (in_features,) for one output without an axis.
    bias : Tensor, optional
        (out_features,), or () for a weight of one axis.

    Returns
    -------
    Tensor
        (..., out_features), or (...).

    Raises
    ------
    RuntimeError
        If the shapes do not fit.

    Examples
    --------
    >>> import agrad
    >>> from agrad.nn import functional as F
    >>> F.linear(agrad.tensor([1.0, 2.0]), agrad.tensor([[1.0, 1.0], [0.0, 3.0]]), agrad.tensor([0.5, 0.0]))
    tensor([3.5000, 6.0000])
    """
    outputs, features = weight.shape[:-1], weight.shape[-1:]
    if len(outputs) > 1 or not features or input.shape[-1:] != features:
        raise RuntimeError(
            f"Linear: expected input with {features[0] if len(outputs) < 2 and features else 'in_features'} features "
            f"in its last axis, got shape {tuple(input.shape)}; the weight has shape {tuple(weight.shape)}"
        )
    if bias is not None and bias.shape != outputs:
        raise RuntimeError(f"Linear: expected a bias of shape {tuple(outputs)}, got {tuple(bias.shape)}")
    if outputs:
        return nn.linear(input, weight, bias)   # type: ignore[no-any-return]
    product = agrad.matmul(input, weight)
    return product if bias is None else product + bias


def bilinear(input1: Tensor, input2: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """x1^T W_k x2 + b_k for each of the matrices W_k of a weight.

    Parameters
    ----------
    input1, input2 : Tensor
        (..., in1_features) and (..., in2_features), with the same lead axes.
    weight : Tensor
        (out_features, in1_features, in2_features)
    bias : Tensor, optional
        (out_features,)

    Returns
    -------
    Tensor
        (..., out_features)

    Raises
    ------
    RuntimeError
        If the shapes do not fit.

    Examples
    --------
    >>> import agrad
    >>> from agrad.nn import functional as F
    >>> F.bilinear(agrad.tensor([[1.0, 2.0]]), agrad.tensor([[3.0]]), agrad.ones((1, 2, 1)))
    tensor([[9.]])
    """
    shapes = f"{tuple(input1.shape)} and {tuple(input2.shape)}"
    if weight.ndim != 3:
        raise RuntimeError(
            f"Bilinear: expected a weight (out_features, in1_features, in2_features), got shape {tuple(weight.shape)}"
        )
    if input1.shape[-1:] != weight.shape[1:2] or input2.shape[-1:] != weight.shape[2:]:
        raise RuntimeError(
            f"Bilinear: expected inputs with {weight.shape[1]} and {weight.shape[2]} features in their last axes, got "
            f"shapes {shapes}"
        )
    if input1.shape[:-1] != input2.shape[:-1]:
        raise RuntimeError(f"Bilinear: expected inputs that agree in all axes but the last, got shapes {shapes}")
    product = agrad.einsum("...i,oij,...j->...o", input1, weight, input2)
    return product if bias is None else product + bias
