"""Parameters as one vector, and back. Must know no module and no optimizer."""

from collections.abc import Iterable

import agrad
from agrad.autograd.grad_mode import no_grad
from agrad.cython_core.engine import Tensor


def parameters_to_vector(parameters: Iterable[Tensor]) -> Tensor:
    """All elements of parameters, one after another; recorded.

    Examples
    --------
    >>> from agrad import nn
    >>> nn.utils.parameters_to_vector(nn.Linear(3, 2).parameters()).shape
    (8,)
    """
    return agrad.concat([agrad.reshape(p, (-1,)) for p in parameters])


def vector_to_parameters(vec: Tensor, parameters: Iterable[Tensor]) -> None:
    """Copy the elements of a vector into parameters, one after another.

    Raises
    ------
    TypeError
        If `vec` is no Tensor.
    ValueError
        If it has not as many elements as the parameters together; nothing is changed then.

    Examples
    --------
    >>> import agrad
    >>> w = agrad.nn.Parameter(agrad.zeros((1, 2)))
    >>> agrad.nn.utils.vector_to_parameters(agrad.tensor([3.0, 4.0]), [w])
    >>> w
    Parameter containing:
    tensor([[3., 4.]], requires_grad=True)
    """
    if not isinstance(vec, Tensor):
        raise TypeError(f"expected agrad.Tensor, but got: {type(vec).__name__}")
    parameters = list(parameters)
    expected = (sum(p.size for p in parameters),)
    if tuple(vec.shape) != expected:
        raise ValueError(f"vector_to_parameters: expected a vector of shape {expected}, got shape {tuple(vec.shape)}")
    start = 0
    with no_grad():
        for p in parameters:
            p.copy_(agrad.reshape(vec[start : start + p.size], p.shape))
            start += p.size
