"""Rows of a table, looked up by number, as functions. Must know no backend, no rule and no Module."""

from typing import Any

import agrad
from agrad.cython_core.engine import Tensor
from agrad.nn.functional.checks import known_extremes

MODES = ("sum", "mean", "max")


def embedding(
    input: Tensor, weight: Tensor, padding_idx: int | None = None, max_norm: float | None = None,
    norm_type: float = 2.0, scale_grad_by_freq: bool = False, sparse: bool = False,
) -> Tensor:
    """The rows of a table that the input names.

    Parameters
    ----------
    input : Tensor of integers
    weight : Tensor
        (num_embeddings, embedding_dim)
    padding_idx : int, optional
        A row that gets no gradient.
    max_norm, norm_type : float, optional
        Rows that are looked up and whose norm is larger are scaled down to it first, in the table itself.
    scale_grad_by_freq : bool
        Divide a row's gradient by how often the input names it.
    sparse : bool
        There are no sparse gradients here: only False.

    Returns
    -------
    Tensor
        (*input.shape, embedding_dim)

    Raises
    ------
    IndexError
        For numbers without a row; the message says which.
    RuntimeError
        For an input of other than integers, and a table of other than two axes.

    Examples
    --------
    >>> import agrad
    >>> from agrad.nn import functional as F
    >>> F.embedding(agrad.tensor([2, 0]), agrad.tensor([[0.0, 0.1], [1.0, 1.1], [2.0, 2.1]]))
    tensor([[2.0000, 2.1000],
            [0.0000, 0.1000]])
    """
    check_lookup("embedding", input, weight, sparse)
    padding_idx = row_number("embedding", padding_idx, weight)
    if max_norm is not None:
        renormalize(input, weight, max_norm, norm_type)
    rows: Tensor = weight[input]
    if padding_idx is not None:
        rows = agrad.where(agrad.expand_dims(input == padding_idx, axis=-1), rows.detach(), rows)
    if scale_grad_by_freq:
        times = agrad.expand_dims(frequencies(input, weight)[input], axis=-1)
        rows = rows.detach() + (rows - rows.detach()) / times   # the same values: what is added is zero
    return rows


def embedding_bag(
    input: Tensor, weight: Tensor, offsets: Tensor | None = None, max_norm: float | None = None, norm_type: float = 2,
    scale_grad_by_freq: bool = False, mode: str = "mean", sparse: bool = False,
    per_sample_weights: Tensor | None = None, include_last_offset: bool = False, padding_idx: int | None = None,
) -> Tensor:
    """The sum, mean or largest elements of the rows in each bag.

    Parameters
    ----------
    input : Tensor of integers
        (B, N): B bags of N rows; or (N,): bags that begin at the `offsets`.
    weight : Tensor
        (num_embeddings, embedding_dim)
    offsets : Tensor of integers, optional
        (B,), for an input of one axis: ascending, the first of them 0.
    mode : {"sum", "mean", "max"}
    per_sample_weights : Tensor, optional
        A factor for each row, in the input's shape; for "sum" only.
    include_last_offset : bool
        The last offset is the input's length, and begins no bag.
    padding_idx : int, optional
        A row that counts in no bag.
    max_norm, norm_type, scale_grad_by_freq, sparse
        As in `embedding`.

    Returns
    -------
    Tensor
        (B, embedding_dim); zero for an empty bag.

    Raises
    ------
    ValueError
        For shapes and options that do not fit.
    IndexError
        For numbers without a row.

    Examples
    --------
    >>> import agrad
    >>> from agrad.nn import functional as F
    >>> table = agrad.tensor([[1.0], [2.0], [4.0]])
    >>> F.embedding_bag(agrad.tensor([0, 1, 2]), table, agrad.tensor([0, 1]), mode="sum")
    tensor([[1.],
            [6.]])
    """
    check_lookup("embedding_bag", input, weight, sparse)
    if mode not in MODES:
        raise ValueError(f"embedding_bag: mode has to be one of sum, mean or max, got {mode!r}")
    if mode == "max" and scale_grad_by_freq:
        raise ValueError("embedding_bag: max mode does not support scaling the gradient by the frequency")
    if per_sample_weights is not None:
        if mode != "sum":
            raise ValueError(f"embedding_bag: per_sample_weights are for mode='sum' only, got mode={mode!r}")
        if per_sample_weights.shape != input.shape:
            raise ValueError(
                f"embedding_bag: expected per_sample_weights in the input's shape {tuple(input.shape)}, got "
                f"{tuple(per_sample_weights.shape)}"
            )
    numbers, places, bags = bags_of(input, offsets, include_last_offset)
    rows = embedding(numbers, weight, padding_idx, max_norm, norm_type, scale_grad_by_freq)
    counted = None
    if padding_idx is not None:
        counted = numbers != row_number("embedding_bag", padding_idx, weight)
    if per_sample_weights is not None:
        rows = rows * agrad.expand_dims(per_sample_weights.reshape((-1,)), axis=-1)
    return in_bags(rows, places, bags, mode, counted)


# ----------------------------------------------------------------------------------------------------------------- bags


def bags_of(input: Tensor, offsets: Tensor | None, include_last_offset: bool) -> tuple[Tensor, Tensor, int]:
    """All row numbers on one axis, the bag that each is in, and how many bags there are."""
    xp: Any = input.__array_namespace__()
    if input.ndim == 2:
        if offsets is not None:
            raise ValueError("embedding_bag: if input is 2D, then offsets has to be None, as the bags are its rows")
        bags, length = input.shape
        return input.reshape((-1,)), agrad.repeat(xp.arange(bags), length), bags
    if input.ndim != 1:
        raise ValueError(f"embedding_bag: input has to be 1D or 2D Tensor, but got Tensor of dimension {input.ndim}")
    if offsets is None or offsets.ndim != 1:
        raise ValueError("embedding_bag: if input is 1D, offsets has to be a 1D Tensor")
    starts = offsets[:-1] if include_last_offset else offsets
    every = xp.arange(input.shape[0], dtype=starts.dtype)
    return input, agrad.searchsorted(starts, every, side="right") - 1, starts.shape[0]


def in_bags(rows: Tensor, places: Tensor, bags: int, mode: str, counted: Tensor | None) -> Tensor:
    """Rows added up, or the largest of their elements, by bag."""
    xp: Any = rows.__array_namespace__()
    if mode == "max":
        member = agrad.expand_dims(xp.arange(bags), axis=-1) == places
        return largest_in_bags(rows, member if counted is None else member & counted)
    if counted is not None:
        rows = agrad.where(agrad.expand_dims(counted, axis=-1), rows, 0.0)
    total: Tensor = agrad.scatter_add(xp.zeros((bags, rows.shape[1]), dtype=rows.dtype), places, rows)
    if mode == "sum":
        return total
    ones = xp.ones(places.shape, dtype=rows.dtype) if counted is None else counted.to(dtype=rows.dtype)
    counts = agrad.scatter_add(xp.zeros((bags, 1), dtype=rows.dtype), places, agrad.expand_dims(ones, axis=-1))
    return total / agrad.clip(counts, 1, None)


def largest_in_bags(rows: Tensor, member: Tensor) -> Tensor:
    """The largest elements by bag, where `member` is (bags, rows); of equal ones the first gets the gradient."""
    inside = agrad.expand_dims(member, axis=-1)
    if member.shape[1] == 0:
        return agrad.sum(agrad.where(inside, rows, 0.0), axis=1)
    which = agrad.argmax(agrad.where(inside, rows.detach(), -agrad.inf), axis=1)
    found = agrad.take_along_axis(rows, which, axis=0)
    return agrad.where(agrad.any(member, axis=1, keepdims=True), found, 0.0)


# --------------------------------------------------------------------------------------------------------------- checks


def check_lookup(name: str, input: Tensor, weight: Tensor, sparse: bool) -> None:
    """Raise for what is no table, no integers, or numbers without a row."""
    if sparse:
        raise ValueError(f"{name}: sparse=True asks for sparse gradients, which agrad does not have; leave it out")
    if weight.ndim != 2:
        raise RuntimeError(f"{name}: 'weight' must be 2-D (num_embeddings, embedding_dim), got {tuple(weight.shape)}")
    if not agrad.isdtype(input.dtype, "integral"):
        raise RuntimeError(f"{name}: expected an input of integers, the numbers of rows, got {input.dtype}")
    found = known_extremes(input)
    rows = weight.shape[0]
    if found is not None and not (found[0] >= 0 and found[1] < rows):
        wrong = found[0] if found[0] < 0 else found[1]
        raise IndexError(f"{name}: index out of range in self: there is no row {wrong} among {rows} embeddings")


def row_number(name: str, padding_idx: int | None, weight: Tensor) -> int | None:
    """The row that gets no gradient, counted from the first."""
    rows = weight.shape[0]
    if padding_idx is None:
        return None
    if not -rows <= padding_idx < rows:
        raise ValueError(f"{name}: padding_idx must be within num_embeddings={rows}, got {padding_idx}")
    return padding_idx % rows


def renormalize(input: Tensor, weight: Tensor, max_norm: float, norm_type: float) -> None:
    """Scale the rows that are looked up down to a norm, in place."""
    with agrad.no_grad():
        named = frequencies(input, weight) > 0
        norms = agrad.linalg.vector_norm(weight, axis=1, ord=norm_type)
        factor = agrad.where(named & (norms > max_norm), max_norm / (norms + 1e-7), 1.0)
        weight.multiply_(agrad.expand_dims(factor, axis=-1).to(dtype=weight.dtype))


def frequencies(input: Tensor, weight: Tensor) -> Tensor:
    """How often each row is named."""
    with agrad.no_grad():
        none = agrad.zeros_like(weight[:, :1]).sum(dim=1)
        return agrad.scatter_add(none, input, agrad.ones_like(input, dtype=weight.dtype))
