"""Distances and angles between vectors, as functions. Must know no backend, no rule and no Module."""

import agrad
from agrad.cython_core.engine import Tensor


def at_least(input: Tensor, smallest: float) -> Tensor:
    """Values raised to a bound; the gradient passes as if they had not been, as it does in PyTorch."""
    return agrad.where(input < smallest, smallest + (input - input.detach()), input)


def cosine_similarity(x1: Tensor, x2: Tensor, dim: int = 1, eps: float = 1e-8) -> Tensor:
    """The cosine of the angle between vectors along an axis; norms below eps count as eps.

    Examples
    --------
    >>> import agrad
    >>> from agrad.nn import functional as F
    >>> F.cosine_similarity(agrad.tensor([[1.0, 0.0]]), agrad.tensor([[1.0, 1.0]]))
    tensor([0.7071])
    """
    x1, x2 = agrad.broadcast_arrays(x1, x2)
    units = [x / at_least(agrad.linalg.vector_norm(x, axis=dim, keepdims=True), eps) for x in (x1, x2)]
    return agrad.sum(units[0] * units[1], axis=dim)


def pairwise_distance(x1: Tensor, x2: Tensor, p: float = 2.0, eps: float = 1e-6, keepdim: bool = False) -> Tensor:
    """The p-norm of x1 - x2 + eps along the last axis.

    Examples
    --------
    >>> import agrad
    >>> from agrad.nn import functional as F
    >>> F.pairwise_distance(agrad.tensor([[0.0, 0.0]]), agrad.tensor([[3.0, 4.0]]))
    tensor([5.0000])
    """
    difference = x1 - x2 + eps
    return agrad.linalg.vector_norm(difference, axis=-1, keepdims=keepdim, ord=p)


def pdist(input: Tensor, p: float = 2.0) -> Tensor:
    """The p-norm distances between all pairs of rows of a matrix: (0, 1), (0, 2), ... (1, 2), ...

    Raises
    ------
    RuntimeError
        For other than two axes, or a negative p.

    Examples
    --------
    >>> import agrad
    >>> from agrad.nn import functional as F
    >>> F.pdist(agrad.tensor([[0.0], [1.0], [3.0]]))
    tensor([1., 3., 2.])
    """
    if input.ndim != 2:
        raise RuntimeError(f"pdist only supports 2D tensors, got: {input.ndim}D")
    if p < 0:
        raise RuntimeError(f"pdist only supports non-negative p values, got {p}")
    n = input.shape[0]
    pairs = [(i, j) for i in range(n) for j in range(i + 1, n)]
    first, second = ([pair[k] for pair in pairs] for k in (0, 1))
    return agrad.linalg.vector_norm(input[first] - input[second], axis=-1, ord=p)
