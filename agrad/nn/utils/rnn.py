"""Sequences of different lengths: padded to one length, or packed, the samples of each step behind those of the last.

Lengths are Python integers here; where elements go is worked out first, and then they are moved by one op. Must not
know any layer.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple, Self

import agrad
from agrad.cython_core.engine import Tensor

__all__ = [
    "PackedSequence",
    "pack_padded_sequence",
    "pack_sequence",
    "pad_packed_sequence",
    "pad_sequence",
    "unpack_sequence",
    "unpad_sequence",
]


class PackedSequence(NamedTuple):
    """Sequences of different lengths without padding; made by `pack_padded_sequence` and `pack_sequence`.

    Attributes
    ----------
    data : Tensor
        The first elements of all sequences, then the second ones of those that have them, and so on.
    batch_sizes : Tensor
        How many sequences have an element at each step.
    sorted_indices, unsorted_indices : Tensor or None
        The order of the sequences here, longest first, and the way back; None where it is the user's own.
    """

    data: Tensor
    batch_sizes: Tensor
    sorted_indices: Tensor | None = None
    unsorted_indices: Tensor | None = None

    def to(self, *args: Any, **kwargs: Any) -> Self:
        """With its data on another device, backend or in another dtype; see `Tensor.to`."""
        return self._replace(data=self.data.to(*args, **kwargs))


def pack_padded_sequence(
    input: Tensor, lengths: Any, batch_first: bool = False, enforce_sorted: bool = True
) -> PackedSequence:
    """Take the padding away.

    Parameters
    ----------
    input : Tensor
        (T, B, ...), or with `batch_first` (B, T, ...).
    lengths : Tensor or sequence of int
        The length of each sequence, at least 1.
    batch_first : bool
    enforce_sorted : bool
        The longest comes first already; if not, the sequences are sorted.

    Raises
    ------
    ValueError
        If lengths do not fit the input.
    RuntimeError
        If they are not sorted and `enforce_sorted` says so.

    Examples
    --------
    >>> import agrad
    >>> from agrad.nn.utils.rnn import pack_padded_sequence
    >>> padded = agrad.tensor([[1, 4], [2, 5], [3, 0]])
    >>> packed = pack_padded_sequence(padded, [3, 2])
    >>> packed.data, packed.batch_sizes
    (tensor([1, 4, 2, 5, 3]), tensor([2, 2, 1]))
    """
    sizes = _as_ints(lengths)
    steps, batch = _sizes_of(input, batch_first)
    if len(sizes) != batch or not all(0 < n <= steps for n in sizes):
        raise ValueError(
            f"pack_padded_sequence: expected {batch} lengths from 1 to {steps} for input of shape "
            f"{tuple(input.shape)}, got {sizes}"
        )
    order = sorted(range(batch), key=lambda k: -sizes[k])
    if enforce_sorted and sizes != sorted(sizes, reverse=True):
        raise RuntimeError(
            "`lengths` array must be sorted in decreasing order when `enforce_sorted` is True. You can pass "
            "`enforce_sorted=False` to sort them."
        )
    order = list(range(batch)) if enforce_sorted else order
    places = [(t, k) for t in range(max(sizes, default=0)) for k in order if sizes[k] > t]
    xp = input.__array_namespace__()
    flat = xp.reshape(input, (steps * batch, *input.shape[2:]))
    data = xp.take(flat, xp.asarray([k * steps + t if batch_first else t * batch + k for t, k in places]), axis=0)
    counts = xp.asarray([sum(n > t for n in sizes) for t in range(max(sizes, default=0))])
    if enforce_sorted:
        return PackedSequence(data, counts)
    return PackedSequence(data, counts, xp.asarray(order), xp.asarray(_inverse(order)))


def pad_packed_sequence(
    sequence: PackedSequence, batch_first: bool = False, padding_value: float = 0.0, total_length: int | None = None
) -> tuple[Tensor, Tensor]:
    """The inverse of `pack_padded_sequence`: the padded sequences in the user's order, and their lengths.

    Raises
    ------
    ValueError
        If `total_length` is shorter than the longest sequence.

    Examples
    --------
    >>> import agrad
    >>> from agrad.nn.utils.rnn import pack_sequence, pad_packed_sequence
    >>> packed = pack_sequence([agrad.tensor([1, 2, 3]), agrad.tensor([4, 5])])
    >>> pad_packed_sequence(packed, batch_first=True)
    (tensor([[1, 2, 3],
            [4, 5, 0]]), tensor([3, 2]))
    """
    data, counts = sequence.data, _as_ints(sequence.batch_sizes)
    steps = len(counts) if total_length is None else total_length
    if steps < len(counts):
        raise ValueError(
            f"pad_packed_sequence: expected total_length of at least {len(counts)}, the longest sequence, got {steps}"
        )
    batch = counts[0] if counts else 0
    order = range(batch) if sequence.unsorted_indices is None else _as_ints(sequence.unsorted_indices)
    starts = [sum(counts[:t]) for t in range(len(counts))]
    total = sum(counts)     # where the padding stands
    here = [[starts[t] + k if t < len(counts) and k < counts[t] else total for k in order] for t in range(steps)]
    rows = [list(row) for row in zip(*here, strict=True)] if batch_first else here
    xp = data.__array_namespace__()
    padding = xp.full((1, *data.shape[1:]), padding_value, dtype=data.dtype)
    found = xp.take(xp.concat([data, padding]), xp.asarray([place for row in rows for place in row]), axis=0)
    padded = xp.reshape(found, (*((batch, steps) if batch_first else (steps, batch)), *data.shape[1:]))
    return padded, xp.asarray([sum(k < n for n in counts) for k in order])


def pad_sequence(
    sequences: Sequence[Tensor], batch_first: bool = False, padding_value: float = 0.0, padding_side: str = "right"
) -> Tensor:
    """Tensors of different lengths along their first axis as one.

    Parameters
    ----------
    sequences : sequence of Tensor
        (L, ...) each; all other axes agree.
    batch_first : bool
        (B, T, ...) in place of (T, B, ...).
    padding_value : float
    padding_side : {"right", "left"}

    Examples
    --------
    >>> import agrad
    >>> from agrad.nn.utils.rnn import pad_sequence
    >>> pad_sequence([agrad.tensor([1, 2, 3]), agrad.tensor([4])], batch_first=True)
    tensor([[1, 2, 3],
            [4, 0, 0]])
    """
    if padding_side not in ("right", "left"):
        raise ValueError(f"pad_sequence: expected padding_side 'right' or 'left', got {padding_side!r}")
    if not sequences:
        raise ValueError("pad_sequence: expected at least one sequence, got none")
    longest = max(x.shape[0] for x in sequences)

    def padded(x: Tensor) -> Tensor:
        missing = longest - x.shape[0]
        widths = (0, missing) if padding_side == "right" else (missing, 0)
        return agrad.pad(x, (widths, *((0, 0),) * (x.ndim - 1)), constant_values=padding_value)

    return agrad.stack([padded(x) for x in sequences], axis=0 if batch_first else 1)


def unpad_sequence(padded_sequences: Tensor, lengths: Any, batch_first: bool = False) -> list[Tensor]:
    """The inverse of `pad_sequence`.

    Examples
    --------
    >>> import agrad
    >>> from agrad.nn.utils.rnn import unpad_sequence
    >>> unpad_sequence(agrad.tensor([[1, 2, 3], [4, 0, 0]]), [3, 1], batch_first=True)
    [tensor([1, 2, 3]), tensor([4])]
    """
    samples = agrad.unstack(padded_sequences, axis=0 if batch_first else 1)
    return [x[:n] for x, n in zip(samples, _as_ints(lengths), strict=True)]


def pack_sequence(sequences: Sequence[Tensor], enforce_sorted: bool = True) -> PackedSequence:
    """Tensors of different lengths, packed; see `pack_padded_sequence`."""
    return pack_padded_sequence(pad_sequence(sequences), [x.shape[0] for x in sequences], enforce_sorted=enforce_sorted)


def unpack_sequence(packed_sequences: PackedSequence) -> list[Tensor]:
    """The inverse of `pack_sequence`."""
    return unpad_sequence(*pad_packed_sequence(packed_sequences))


def _as_ints(values: Any) -> list[int]:
    return [int(n) for n in (values.tolist() if isinstance(values, Tensor) else values)]


def _inverse(order: list[int]) -> list[int]:
    places = [0] * len(order)
    for place, k in enumerate(order):
        places[k] = place
    return places


def _sizes_of(x: Tensor, batch_first: bool) -> tuple[int, int]:
    """How many steps and samples."""
    if x.ndim < 2:
        raise ValueError(f"pack_padded_sequence: expected input (T, B, ...) or (B, T, ...), got shape {tuple(x.shape)}")
    first, second = x.shape[:2]
    return (second, first) if batch_first else (first, second)
