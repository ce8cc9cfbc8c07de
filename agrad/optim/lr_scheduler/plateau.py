"""Learning rates by how the training goes."""

import math
import warnings
from typing import Any

from agrad.optim.lr_scheduler.schedule import LRScheduler, check_optimizer
from agrad.optim.optimizer import Optimizer


class ReduceLROnPlateau(LRScheduler):
    """The learning rate times `factor` when a metric has not become better for more than `patience` epochs.

    Parameters
    ----------
    optimizer : Optimizer
    mode : str
        "min" or "max": what is better.
    factor : float
    patience : int
    threshold : float
        By how much a better metric must be better, as a fraction ("rel") or absolute ("abs": `threshold_mode`).
    cooldown : int
        Epochs after a reduction that do not count.
    min_lr : float or list of float
        The least learning rate, one for each group if a list.
    eps : float
        Reductions that are not larger are left out.

    Examples
    --------
    >>> import agrad
    >>> optimizer = agrad.optim.SGD([agrad.tensor(1.0, requires_grad=True)], lr=1.0)
    >>> scheduler = agrad.optim.lr_scheduler.ReduceLROnPlateau(optimizer, patience=1, factor=0.5)
    >>> for loss in (3.0, 2.0, 2.0, 2.0):
    ...     scheduler.step(loss)
    >>> scheduler.get_last_lr()
    [0.5]
    """

    def __init__(
        self,
        optimizer: Optimizer,
        mode: str = "min",
        factor: float = 0.1,
        patience: int = 10,
        threshold: float = 1e-4,
        threshold_mode: str = "rel",
        cooldown: int = 0,
        min_lr: float | list[float] = 0,
        eps: float = 1e-8,
    ) -> None:
        if factor >= 1.0:
            raise ValueError("Factor should be < 1.0.")
        check_optimizer(optimizer)
        if mode not in ("min", "max"):
            raise ValueError(f"mode {mode} is unknown!")
        if threshold_mode not in ("rel", "abs"):
            raise ValueError(f"threshold mode {threshold_mode} is unknown!")
        n = len(optimizer.param_groups)
        self.min_lrs = list(min_lr) if isinstance(min_lr, (list, tuple)) else [min_lr] * n
        if len(self.min_lrs) != n:
            raise ValueError(f"expected {n} min_lrs, got {len(self.min_lrs)}")
        self.default_min_lr = None if isinstance(min_lr, (list, tuple)) else min_lr
        self.optimizer = optimizer
        self.mode, self.factor, self.patience, self.threshold, self.threshold_mode = (
            mode, factor, patience, threshold, threshold_mode
        )
        self.cooldown, self.eps = cooldown, eps
        self.mode_worse = math.inf if mode == "min" else -math.inf
        self.best, self.cooldown_counter, self.num_bad_epochs = self.mode_worse, 0, 0
        self.last_epoch, self._last_lr = 0, self._current()

    @property
    def in_cooldown(self) -> bool:
        """Whether epochs do not count at present."""
        return self.cooldown_counter > 0

    def step(self, metrics: Any, epoch: int | None = None) -> None:     # type: ignore[override]
        """Move on to the next epoch; `metrics` is what shall become better."""
        current = float(metrics.detach() if hasattr(metrics, "detach") else metrics)
        if epoch is not None:
            warnings.warn("scheduler.step(epoch) is deprecated: use scheduler.step()", UserWarning, stacklevel=2)
        self.last_epoch = self.last_epoch + 1 if epoch is None else epoch
        if self._is_better(current):
            self.best, self.num_bad_epochs = current, 0
        else:
            self.num_bad_epochs += 1
        if self.in_cooldown:
            self.cooldown_counter -= 1
            self.num_bad_epochs = 0
        if self.num_bad_epochs > self.patience:
            self._reduce()
            self.cooldown_counter, self.num_bad_epochs = self.cooldown, 0
        self._last_lr = self._current()

    def _is_better(self, value: float) -> bool:
        sign = 1.0 if self.mode == "max" else -1.0
        margin = self.best * self.threshold if self.threshold_mode == "rel" else self.threshold
        bound = self.best if math.isinf(self.best) else self.best + sign * margin
        return value > bound if self.mode == "max" else value < bound

    def _reduce(self) -> None:
        groups = self.optimizer.param_groups
        if len(groups) != len(self.min_lrs) and self.default_min_lr is not None:
            self.min_lrs = [self.default_min_lr] * len(groups)
        if len(groups) != len(self.min_lrs):
            raise RuntimeError(
                f"the optimizer has {len(groups)} parameter groups and ReduceLROnPlateau {len(self.min_lrs)} min_lrs: "
                "append to `scheduler.min_lrs` when a group is added"
            )
        for group, lowest in zip(groups, self.min_lrs, strict=True):
            new = max(group["lr"] * self.factor, lowest)
            if group["lr"] - new > self.eps:
                group["lr"] = new
