"""Losses of classes as functions: scores along axis 1 (axis 0 of one sample) against the right class.

What is ignored, and what has probability zero, adds no nan to a gradient. Must know no backend, no rule and no Module.
"""


import agrad
from agrad.cython_core.engine import Tensor
from agrad.nn.functional.activations import logsigmoid, one_hot
from agrad.nn.functional.checks import known_extremes
from agrad.nn.functional.ops import nn
from agrad.nn.functional.reduction import reduced, same_size, word

# ------------------------------------------------------------------------------------------------------ one right class


def nll_loss(
    input: Tensor, target: Tensor, weight: Tensor | None = None, size_average: bool | None = None,
    ignore_index: int = -100, reduce: bool | None = None, reduction: str = "mean",
) -> Tensor:
    """Minus the input of the right class, where the input holds logarithms of probabilities.

    Parameters
    ----------
    input : Tensor
        (C,), (N, C) or (N, C, d1, d2, ...)
    target : Tensor of integers
        (), (N,) or (N, d1, d2, ...): classes from 0 to C - 1.
    weight : Tensor, optional
        (C,): a factor for each class; "mean" divides by the sum of those of the targets.
    size_average, reduce : bool, optional
        PyTorch's older words for `reduction`.
    ignore_index : int
        A target that does not count, in a mean neither.
    reduction : {"mean", "sum", "none"}

    Raises
    ------
    IndexError
        For targets that are no class.
    ValueError
        If the shapes do not fit.
    RuntimeError
        For targets of other than integers, and a weight of another shape.

    Examples
    --------
    >>> import agrad
    >>> from agrad.nn import functional as F
    >>> F.nll_loss(agrad.tensor([[-1.0, -2.0], [-3.0, -4.0]]), agrad.tensor([0, 1]))
    tensor(2.5000)
    """
    reduction = word(reduction, size_average, reduce)
    check_classes("nll_loss", input, target, weight)
    classes = Classes("nll_loss", input, target, weight, ignore_index)
    return classes.reduced(-classes.chosen(input), reduction)


def cross_entropy(
    input: Tensor, target: Tensor, weight: Tensor | None = None, size_average: bool | None = None,
    ignore_index: int = -100, reduce: bool | None = None, reduction: str = "mean", label_smoothing: float = 0.0,
) -> Tensor:
    """`nll_loss` of the input's `log_softmax`.

    Parameters
    ----------
    input : Tensor
        Scores: (C,), (N, C) or (N, C, d1, d2, ...).
    target : Tensor
        Classes, as in `nll_loss`; or a probability for each class, floating, in the input's shape.
    weight, size_average, ignore_index, reduce, reduction
        As in `nll_loss`; for probabilities nothing is ignored, and the mean is that of samples.
    label_smoothing : float
        How much of each target is shared equally by all classes, from 0 to 1.

    Raises
    ------
    IndexError, ValueError, RuntimeError
        As `nll_loss`; RuntimeError for a smoothing outside of 0 to 1.

    Examples
    --------
    >>> import agrad
    >>> from agrad.nn import functional as F
    >>> F.cross_entropy(agrad.zeros((2, 4)), agrad.tensor([0, 3]))
    tensor(1.3863)
    >>> F.cross_entropy(agrad.zeros((1, 2)), agrad.tensor([[0.5, 0.5]]))
    tensor(0.6931)
    """
    reduction = word(reduction, size_average, reduce)
    if not 0.0 <= label_smoothing <= 1.0:
        raise RuntimeError(f"cross_entropy: label_smoothing must be between 0.0 and 1.0. Got: {label_smoothing}")
    axis = 1 if input.ndim > 1 else 0
    if target.dtype.kind == "real" and input.ndim:
        check_probabilities(input, target, weight)
        return _soft_cross_entropy(input, target, weight, axis, reduction, label_smoothing)
    check_classes("cross_entropy", input, target, weight)
    classes = Classes("cross_entropy", input, target, weight, ignore_index)
    scores = classes.without_ignored(input)
    loss = classes.reduced(classes.cross_entropy(scores), reduction)
    if label_smoothing == 0:
        return loss
    smooth = classes.spread_evenly(agrad.log_softmax(scores, axis=axis), reduction)
    return (1 - label_smoothing) * loss + label_smoothing / input.shape[axis] * smooth


def _soft_cross_entropy(
    input: Tensor, target: Tensor, weight: Tensor | None, axis: int, reduction: str, smoothing: float
) -> Tensor:
    """Targets that are probabilities."""
    if smoothing:
        target = target * (1 - smoothing) + smoothing / input.shape[axis]
    log_probabilities = agrad.log_softmax(input, axis=axis)
    # a class that is impossible and not expected costs nothing: 0 and not 0 * inf
    impossible = (log_probabilities == -agrad.inf) & (target == 0)
    costs = -agrad.where(impossible, 0.0, log_probabilities) * target
    if weight is not None:
        costs = costs * by_class(weight, input)
    return reduced(agrad.sum(costs, axis=axis), reduction)


class Classes:
    """The right classes of some samples: which of them count, and how much."""

    def __init__(self, name: str, input: Tensor, target: Tensor, weight: Tensor | None, ignore_index: int) -> None:
        self.axis = 1 if input.ndim > 1 else 0
        self.weight = weight
        self.kept: Tensor | None = None     # None: all of them
        n = input.shape[self.axis]
        found = known_extremes(target)
        if found is None or not 0 <= found[0] <= found[1] < n or 0 <= ignore_index < n:
            self.kept = target != ignore_index
            target = agrad.where(self.kept, target, 0)
            check_range(name, target, n)
        self.target = target

    def without_ignored(self, input: Tensor) -> Tensor:
        """Scores of nothing where nothing counts: an inf or nan there would be one in the gradient."""
        return input if self.kept is None else agrad.where(agrad.expand_dims(self.kept, axis=self.axis), input, 0.0)

    def cross_entropy(self, scores: Tensor) -> Tensor:
        """Minus the logarithm of the right class's probability, for each sample."""
        if scores.ndim == 1:
            one: Tensor = nn.class_losses(*(agrad.expand_dims(t, axis=0) for t in (scores, self.target)))[0]
            return one
        by_sample = scores if scores.ndim == 2 else agrad.moveaxis(scores, 1, -1)
        return nn.class_losses(by_sample, self.target)  # type: ignore[no-any-return]

    def chosen(self, input: Tensor) -> Tensor:
        """The input of the right class, for each sample."""
        if input.shape[self.axis] == 0:
            return agrad.sum(input, axis=self.axis)     # there are no samples either
        places = agrad.expand_dims(self.target, axis=self.axis)
        return agrad.squeeze(agrad.take_along_axis(input, places, axis=self.axis), self.axis)

    def spread_evenly(self, log_probabilities: Tensor, reduction: str) -> Tensor:
        """The loss if all classes were right; the mean still is that of the targets' weights."""
        costs = -log_probabilities
        if self.weight is not None:
            costs = costs * by_class(self.weight, log_probabilities)
        return self._of_those_kept(agrad.sum(costs, axis=self.axis), reduction)

    def reduced(self, losses: Tensor, reduction: str) -> Tensor:
        """Losses of samples, weighted by their right classes, and reduced."""
        if self.weight is not None:
            losses = losses * self.weight[self.target]
        return self._of_those_kept(losses, reduction)

    def _of_those_kept(self, losses: Tensor, reduction: str) -> Tensor:
        if self.kept is not None:
            losses = agrad.where(self.kept, losses, 0.0)
        if reduction != "mean" or (self.kept is None and self.weight is None):
            return reduced(losses, reduction)
        ones = agrad.ones_like(losses.detach()) if self.weight is None else self.weight[self.target]
        count = agrad.sum(ones if self.kept is None else agrad.where(self.kept, ones, 0.0))
        return agrad.sum(losses) / agrad.where(count == 0, agrad.nan, count)    # the mean of nothing is nan


def by_class(weight: Tensor, input: Tensor) -> Tensor:
    """A weight (C,) that is broadcast along the classes of an input."""
    return weight.reshape((weight.shape[0],) + (1,) * max(input.ndim - 2, 0))


def check_classes(name: str, input: Tensor, target: Tensor, weight: Tensor | None) -> None:
    """Raise where an input, classes and a weight do not fit."""
    if input.ndim == 0:
        raise ValueError(f"{name}: Expected 1 or more dimensions (got 0): scores (C,), (N, C) or (N, C, d1, d2, ...)")
    if target.dtype.kind not in ("signed", "unsigned"):
        raise RuntimeError(f"{name}: expected targets of integers, the numbers of classes, got {target.dtype}")
    wanted = () if input.ndim == 1 else (input.shape[0], *input.shape[2:])
    if input.ndim > 1 and target.ndim and target.shape[0] != input.shape[0]:
        raise ValueError(
            f"{name}: Expected input batch_size ({input.shape[0]}) to match target batch_size ({target.shape[0]})."
        )
    if tuple(target.shape) != wanted:
        raise ValueError(
            f"{name}: Expected target size {wanted} for an input of shape {tuple(input.shape)}, got "
            f"{tuple(target.shape)}"
        )
    check_weight(name, weight, input.shape[1 if input.ndim > 1 else 0])


def check_probabilities(input: Tensor, target: Tensor, weight: Tensor | None) -> None:
    """Raise where an input, probabilities and a weight do not fit."""
    if input.shape != target.shape:
        raise RuntimeError(
            "cross_entropy: floating targets are probabilities and have the input's shape "
            f"{tuple(input.shape)}, got {tuple(target.shape)}; classes are integers"
        )
    check_weight("cross_entropy", weight, input.shape[1 if input.ndim > 1 else 0])


def check_weight(name: str, weight: Tensor | None, n: int) -> None:
    """Raise where there is not one weight for each class."""
    if weight is not None and tuple(weight.shape) != (n,):
        raise RuntimeError(
            f"{name}: weight tensor should be defined either for all {n} classes or no classes but got weight tensor "
            f"of shape: {tuple(weight.shape)}"
        )


def check_range(name: str, target: Tensor, n: int) -> None:
    """Raise where a target is no class."""
    found = known_extremes(target)
    if found is not None and not 0 <= found[0] <= found[1] < max(n, 1):
        wrong = found[0] if found[0] < 0 else found[1]
        raise IndexError(f"{name}: Target {wrong} is out of bounds: classes are 0 to {n - 1}.")


# ---------------------------------------------------------------------------------------------- margins between classes


def multi_margin_loss(
    input: Tensor, target: Tensor, p: int = 1, margin: float = 1.0, weight: Tensor | None = None,
    size_average: bool | None = None, reduce: bool | None = None, reduction: str = "mean",
) -> Tensor:
    """What the right class lacks to be above every other by the margin, to the power p, over the number of classes.

    Parameters
    ----------
    input : Tensor
        (C,) or (N, C)
    target : Tensor of integers
        () or (N,)
    p : {1, 2}
    weight : Tensor, optional
        (C,): a factor for each right class.

    Raises
    ------
    ValueError, IndexError, RuntimeError
        As `nll_loss`; ValueError for another p.

    Examples
    --------
    >>> import agrad
    >>> from agrad.nn import functional as F
    >>> F.multi_margin_loss(agrad.tensor([[0.1, 0.2, 0.4, 0.8]]), agrad.tensor([3]))
    tensor(0.3250)
    """
    reduction = word(reduction, size_average, reduce)
    if p not in (1, 2):
        raise ValueError(f"multi_margin_loss: only p == 1 and p == 2 supported, got {p}")
    if input.ndim > 2:
        raise ValueError(f"multi_margin_loss: expected scores (C,) or (N, C), got shape {tuple(input.shape)}")
    check_classes("multi_margin_loss", input, target, weight)
    n = input.shape[-1]
    check_range("multi_margin_loss", target, n)
    right = agrad.take_along_axis(input, agrad.expand_dims(target, axis=-1), axis=-1)
    lacking = agrad.relu(margin - right + input) ** p
    lacking = agrad.where(one_hot(target, n) == 1, 0.0, lacking)
    if weight is not None:
        lacking = lacking * agrad.expand_dims(weight[target], axis=-1)
    return reduced(agrad.sum(lacking, axis=-1) / n, reduction)


def multilabel_margin_loss(
    input: Tensor, target: Tensor, size_average: bool | None = None, reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """What each right class lacks to be above each wrong one by 1, over the number of classes.

    Parameters
    ----------
    input : Tensor
        (C,) or (N, C)
    target : Tensor of integers
        In the input's shape: the right classes, and -1 behind the last of them.

    Raises
    ------
    ValueError
        If the shapes do not fit.
    IndexError
        For targets that are no class.

    Examples
    --------
    >>> import agrad
    >>> from agrad.nn import functional as F
    >>> F.multilabel_margin_loss(agrad.tensor([0.1, 0.2, 0.4, 0.8]), agrad.tensor([3, 0, -1, 1]))
    tensor(0.8500)
    """
    same_size("multilabel_margin_loss", input, target)
    if target.dtype.kind not in ("signed", "unsigned"):
        raise RuntimeError(f"multilabel_margin_loss: expected targets of integers, got {target.dtype}")
    if input.ndim not in (1, 2):
        raise ValueError(f"multilabel_margin_loss: expected scores (C,) or (N, C), got shape {tuple(input.shape)}")
    reduction = word(reduction, size_average, reduce)
    n = input.shape[-1]
    if n == 0:
        return reduced(agrad.sum(input, axis=-1), reduction)
    listed = agrad.cumulative_sum((target < 0).to(dtype=target.dtype), axis=-1) == 0     # before the first -1
    places = agrad.where(listed, target, 0)
    check_range("multilabel_margin_loss", places, n)
    is_right = agrad.any((one_hot(places, n) == 1) & agrad.expand_dims(listed, axis=-1), axis=-2)
    right = agrad.take_along_axis(input, places, axis=-1)
    lacking = agrad.relu(1 - agrad.expand_dims(right, axis=-1) + agrad.expand_dims(input, axis=-2))
    counts = agrad.expand_dims(listed, axis=-1) & agrad.expand_dims(~is_right, axis=-2)
    return reduced(agrad.sum(agrad.where(counts, lacking, 0.0), axis=(-2, -1)) / n, reduction)


def multilabel_soft_margin_loss(
    input: Tensor, target: Tensor, weight: Tensor | None = None, size_average: bool | None = None,
    reduce: bool | None = None, reduction: str = "mean",
) -> Tensor:
    """The mean over classes of a `binary_cross_entropy_with_logits` for each: targets are 0 or 1.

    Parameters
    ----------
    weight : Tensor, optional
        (C,): a factor for each class.

    Raises
    ------
    ValueError
        If the target has another shape.

    Examples
    --------
    >>> import agrad
    >>> from agrad.nn import functional as F
    >>> F.multilabel_soft_margin_loss(agrad.zeros((1, 3)), agrad.tensor([[1.0, 0.0, 1.0]]))
    tensor(0.6931)
    """
    same_size("multilabel_soft_margin_loss", input, target)
    costs = -(target * logsigmoid(input) + (1 - target) * logsigmoid(-input))
    costs = costs if weight is None else costs * weight
    return reduced(agrad.sum(costs, axis=-1) / input.shape[-1], reduction, size_average, reduce)
