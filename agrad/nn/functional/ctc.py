"""Connectionist temporal classification: labels in order, but at unknown times. Must know no backend and no rule.

Graves et al. 2006: a path names a class or "blank" at each time; without repeats and blanks it reads as the labels.
The sum over all paths is taken forward in time, in logarithms, for all samples at once.
"""

from collections.abc import Sequence
from typing import Any

import agrad
from agrad.cython_core.engine import Tensor
from agrad.nn.functional.checks import known_extremes
from agrad.nn.functional.reduction import reduced


def ctc_loss(
    log_probs: Tensor, targets: Tensor, input_lengths: Tensor | Sequence[int], target_lengths: Tensor | Sequence[int],
    blank: int = 0, reduction: str = "mean", zero_infinity: bool = False,
) -> Tensor:
    """Minus the logarithm of the probability of labels, whatever the times at which they are said.

    The gradient is that of the formula. PyTorch's has the slope of a `log_softmax` in it already; behind a
    `log_softmax`, where the two belong, they are the same.

    Parameters
    ----------
    log_probs : Tensor
        (T, N, C) or (T, C): logarithms of the probabilities of classes at each time.
    targets : Tensor of integers
        (N, S), rows longer than their labels allowed; or all labels in a row.
    input_lengths, target_lengths : Tensor or sequence of int
        (N,) or (): how many times and labels each sample has.
    blank : int
        The class that says nothing.
    reduction : {"mean", "sum", "none"}
        "mean" divides each loss by its number of labels first.
    zero_infinity : bool
        Losses that are infinite, where labels need more time than there is, count as zero.

    Returns
    -------
    Tensor
        (N,) for "none", else one number.

    Raises
    ------
    RuntimeError
        For shapes and lengths that do not fit, and labels that are no class.

    Examples
    --------
    >>> import agrad
    >>> from agrad.nn import functional as F
    >>> even = agrad.zeros((3, 1, 2)).log_softmax(axis=-1)
    >>> F.ctc_loss(even, agrad.tensor([[1]]), [3], [1])
    tensor(0.2877)
    """
    single = log_probs.ndim == 2
    if single:
        log_probs = agrad.expand_dims(log_probs, axis=1)
    if log_probs.ndim != 3:
        raise RuntimeError(f"ctc_loss: expected log_probs (T, N, C) or (T, C), got shape {tuple(log_probs.shape)}")
    n_times, n_samples, n_classes = log_probs.shape
    if not 0 <= blank < n_classes:
        raise RuntimeError(f"ctc_loss: blank must be in label range: 0 to {n_classes - 1}, got {blank}")
    times = _lengths("input_lengths", input_lengths, targets, n_samples, n_times)
    counts = _lengths("target_lengths", target_lengths, targets, n_samples, None)
    labels = _labels(targets, counts, n_samples, n_classes)
    losses = -_log_probability(log_probs, labels, times, counts, blank)
    if zero_infinity:
        losses = agrad.where(agrad.isinf(losses), 0.0, losses)
    if reduction == "mean":
        losses = losses / agrad.clip(counts, 1, None).to(dtype=losses.dtype)
    return reduced(losses[0] if single and reduction == "none" else losses, reduction)


def _log_probability(log_probs: Tensor, labels: Tensor, times: Tensor, counts: Tensor, blank: int) -> Tensor:
    """Graves' forward variables: the last state is one of two, the last label or the blank behind it."""
    xp: Any = labels.__array_namespace__()
    n_times, n_samples, _ = log_probs.shape
    n_states = 2 * labels.shape[1] + 1
    blanks = xp.full((n_samples, labels.shape[1]), blank, dtype=labels.dtype)
    between = agrad.reshape(agrad.stack([blanks, labels], axis=2), (n_samples, n_states - 1))
    states = agrad.concat([between, xp.full((n_samples, 1), blank, dtype=labels.dtype)], axis=1)
    before = agrad.pad(states, ((0, 0), (2, 0)), constant_values=blank)[:, :n_states]
    may_skip = (states != blank) & (states != before)   # the blank between two different labels
    places = agrad.broadcast_to(agrad.expand_dims(states, axis=0), (n_times, n_samples, n_states))
    said = agrad.take_along_axis(log_probs, places, axis=2)
    number = xp.arange(n_states)
    paths = agrad.where(number == 0, xp.zeros((n_samples, n_states), dtype=said.dtype), -agrad.inf)
    for t in range(n_times):
        earlier = agrad.pad(paths, ((0, 0), (2, 0)), constant_values=-agrad.inf)
        skipped = agrad.where(may_skip, earlier[:, :n_states], -agrad.inf)
        reached = agrad.logaddexp(agrad.logaddexp(paths, earlier[:, 1 : n_states + 1]), skipped)
        paths = agrad.where(agrad.expand_dims(t < times, axis=1), reached + said[t], paths)
    ends = agrad.expand_dims(2 * counts, axis=1)
    blank_last, label_last = (
        agrad.take_along_axis(paths, agrad.clip(end, 0, None), axis=1) for end in (ends, ends - 1)
    )
    label_last = agrad.where(ends > 0, label_last, -agrad.inf)     # of no labels there is only the blank
    return agrad.squeeze(agrad.logaddexp(blank_last, label_last), 1)


def _lengths(name: str, given: Tensor | Sequence[int], like: Tensor, n: int, most: int | None) -> Tensor:
    """Lengths as integers where the targets are, one for each sample."""
    xp: Any = like.__array_namespace__()
    found: Tensor = agrad.reshape(given if isinstance(given, Tensor) else xp.asarray(given), (-1,))
    if found.shape[0] != n:
        raise RuntimeError(f"ctc_loss: {name} must be of size batch_size={n}, got {found.shape[0]}")
    ends = known_extremes(found)
    if ends is not None and (ends[0] < 0 or (most is not None and ends[1] > most)):
        raise RuntimeError(f"ctc_loss: Expected {name} to be from 0 to {most}, got {ends[0]} to {ends[1]}")
    return found


def _labels(targets: Tensor, counts: Tensor, n_samples: int, n_classes: int) -> Tensor:
    """Labels as (N, S), zero behind the last of each sample."""
    xp: Any = targets.__array_namespace__()
    total, longest = _total_and_longest(counts)
    if targets.ndim == 2:
        width = targets.shape[1]
        if targets.shape[0] != n_samples or longest > width:
            raise RuntimeError(
                f"ctc_loss: expected targets for {n_samples} samples with up to {longest} labels, got shape "
                f"{tuple(targets.shape)}"
            )
        places = xp.arange(width)
        labels = targets
    elif targets.ndim == 1 and targets.shape[0] == total:
        places = xp.arange(longest)
        starts = agrad.expand_dims(agrad.cumulative_sum(counts) - counts, axis=1)
        inside = agrad.clip(starts + places, None, max(total - 1, 0))
        labels = targets[inside] if total else xp.zeros((n_samples, 0), dtype=targets.dtype)
    else:
        raise RuntimeError(
            f"ctc_loss: expected targets (N, S), or all {total} labels in a row, got shape {tuple(targets.shape)}"
        )
    labels = agrad.where(places < agrad.expand_dims(counts, axis=1), labels, 0)
    found = known_extremes(labels)
    if found is not None and not 0 <= found[0] <= found[1] < n_classes:
        raise RuntimeError(
            f"ctc_loss: labels must be in range 0 to {n_classes - 1}, got {found[0] if found[0] < 0 else found[1]}"
        )
    return labels


def _total_and_longest(counts: Tensor) -> tuple[int, int]:
    found = known_extremes(counts)
    return (agrad.sum(counts).item(), found[1]) if found else (0, 0)
