"""Modules that only change the shape, or nothing."""

from collections.abc import Sequence
from math import prod
from typing import Any

from agrad.cython_core.engine import Tensor
from agrad.nn.module import Module


class Identity(Module):
    """The input itself; all arguments of the constructor are taken and have no effect.

    Examples
    --------
    >>> import agrad
    >>> x = agrad.ones(2)
    >>> agrad.nn.Identity()(x) is x
    True
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__()

    def forward(self, input: Tensor) -> Tensor:
        return input


class Flatten(Module):
    """Several axes as one: all but the first, unless said otherwise.

    Parameters
    ----------
    start_dim, end_dim : int
        The first and the last of the axes that are merged.

    Examples
    --------
    >>> import agrad
    >>> agrad.nn.Flatten()(agrad.ones((2, 3, 4))).shape
    (2, 12)
    """

    def __init__(self, start_dim: int = 1, end_dim: int = -1) -> None:
        super().__init__()
        self.start_dim, self.end_dim = start_dim, end_dim

    def forward(self, input: Tensor) -> Tensor:
        for dim in (self.start_dim, self.end_dim):
            if not -max(input.ndim, 1) <= dim < max(input.ndim, 1):
                raise IndexError(
                    f"Flatten: dimension out of range: {dim} for an input of shape {tuple(input.shape)}"
                )
        return input.flatten(self.start_dim, self.end_dim)

    def extra_repr(self) -> str:
        return f"start_dim={self.start_dim}, end_dim={self.end_dim}"


class Unflatten(Module):
    """One axis as several.

    Parameters
    ----------
    dim : int
        The axis.
    unflattened_size : sequence of int
        Its lengths afterwards; one of them may be -1: what is left.

    Raises
    ------
    TypeError
        If these are no integers.
    RuntimeError
        When called with an axis of another length.

    Examples
    --------
    >>> import agrad
    >>> agrad.nn.Unflatten(1, (3, 4))(agrad.ones((2, 12))).shape
    (2, 3, 4)
    """

    def __init__(self, dim: int, unflattened_size: Sequence[int]) -> None:
        super().__init__()
        if not isinstance(dim, int):
            raise TypeError(f"Unflatten: dim must be an int, one axis; got {dim!r}")
        if not isinstance(unflattened_size, (tuple, list)) or not all(isinstance(n, int) for n in unflattened_size):
            raise TypeError(f"Unflatten: unflattened_size must be a tuple or list of ints, got {unflattened_size!r}")
        self.dim, self.unflattened_size = dim, tuple(unflattened_size)

    def forward(self, input: Tensor) -> Tensor:
        ndim, sizes = input.ndim, self.unflattened_size
        axis = self.dim + ndim if self.dim < 0 else self.dim
        lengths = _lengths(input.shape[axis], sizes) if 0 <= axis < ndim else None
        if lengths is None:
            raise RuntimeError(
                f"Unflatten: expected an axis {self.dim} that can have the sizes {sizes}, got shape "
                f"{tuple(input.shape)}"
            )
        shape = (*input.shape[:axis], *lengths, *input.shape[axis + 1 :])
        return input.reshape(shape)

    def extra_repr(self) -> str:
        return f"dim={self.dim}, unflattened_size={self.unflattened_size}"


def _lengths(n: int, sizes: tuple[int, ...]) -> tuple[int, ...] | None:
    """The sizes with -1 filled in; None if n elements do not have them."""
    known = prod(size for size in sizes if size != -1)
    filled = tuple(n // known if size == -1 and known else size for size in sizes)
    return filled if sizes.count(-1) <= 1 and min(filled, default=0) >= 0 and prod(filled) == n else None
