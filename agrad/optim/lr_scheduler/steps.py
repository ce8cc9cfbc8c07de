"""Learning rates by a function of the epoch, and those that change at single epochs."""

from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Iterable
from copy import deepcopy
from typing import Any

from agrad.optim.lr_scheduler.schedule import LRScheduler, check_optimizer, saved_function
from agrad.optim.optimizer import Optimizer


class LambdaLR(LRScheduler):
    """The initial learning rate times a function of the epoch.

    Parameters
    ----------
    optimizer : Optimizer
    lr_lambda : callable or list of callables
        From the epoch to the factor; a list has one for each group.
    last_epoch : int

    Examples
    --------
    >>> import agrad
    >>> optimizer = agrad.optim.SGD([agrad.tensor(1.0, requires_grad=True)], lr=1.0)
    >>> agrad.optim.lr_scheduler.LambdaLR(optimizer, lambda epoch: 0.5 / (1 + epoch)).get_last_lr()
    [0.5]
    """

    _own = ("optimizer", "lr_lambdas")

    def __init__(self, optimizer: Optimizer, lr_lambda: Any, last_epoch: int = -1) -> None:
        check_optimizer(optimizer)
        n = len(optimizer.param_groups)
        given = list(lr_lambda) if isinstance(lr_lambda, (list, tuple)) else [lr_lambda] * n
        if len(given) != n:
            raise ValueError(f"Expected {n} lr_lambdas, but got {len(given)}")
        for function in given:
            if not callable(function):
                raise TypeError(f"lr_lambda should be a function, but got {type(function).__name__}")
        self.lr_lambdas: list[Callable[[float], float]] = given
        super().__init__(optimizer, last_epoch)

    def _factors(self) -> list[float]:
        return [function(self.last_epoch) for function in self.lr_lambdas]

    def get_lr(self) -> list[float]:
        return [lr * factor for lr, factor in zip(self.base_lrs, self._factors(), strict=True)]

    def state_dict(self) -> dict[str, Any]:
        return {**super().state_dict(), "lr_lambdas": [saved_function(function) for function in self.lr_lambdas]}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        super().load_state_dict(state_dict)
        for function, saved in zip(self.lr_lambdas, state_dict["lr_lambdas"], strict=True):
            if saved is not None:
                vars(function).update(deepcopy(saved))


class MultiplicativeLR(LambdaLR):
    """The present learning rate times a function of the epoch; arguments as of `LambdaLR`."""

    def get_lr(self) -> list[float]:
        if self._is_initial:
            return self._current()
        return [lr * factor for lr, factor in zip(self._current(), self._factors(), strict=True)]


class StepLR(LRScheduler):
    """The learning rate times `gamma` every `step_size` epochs."""

    def __init__(self, optimizer: Optimizer, step_size: int, gamma: float = 0.1, last_epoch: int = -1) -> None:
        self.step_size, self.gamma = step_size, gamma
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[float]:
        if self.last_epoch == 0 or self.last_epoch % self.step_size != 0:
            return self._current()
        return self._scaled(self.gamma)

    def _closed_form(self) -> list[float]:
        return self._from_base(self.gamma ** (self.last_epoch // self.step_size))


class MultiStepLR(LRScheduler):
    """The learning rate times `gamma` at each of the epochs `milestones`."""

    def __init__(
        self, optimizer: Optimizer, milestones: Iterable[int], gamma: float = 0.1, last_epoch: int = -1
    ) -> None:
        self.milestones, self.gamma = Counter(milestones), gamma
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[float]:
        times = self.milestones[self.last_epoch]    # type: ignore[index]
        return self._scaled(self.gamma**times) if times else self._current()

    def _closed_form(self) -> list[float]:
        return self._from_base(self.gamma ** bisect_right(sorted(self.milestones.elements()), self.last_epoch))


class ConstantLR(LRScheduler):
    """The learning rate times `factor` until `total_iters` epochs are over."""

    def __init__(
        self, optimizer: Optimizer, factor: float = 1.0 / 3, total_iters: int = 5, last_epoch: int = -1
    ) -> None:
        if factor > 1.0 or factor < 0:
            raise ValueError("Constant multiplicative factor expected to be between 0 and 1.")
        self.factor, self.total_iters = factor, total_iters
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[float]:
        if self.last_epoch == 0:
            return self._scaled(self.factor)
        return self._scaled(1.0 / self.factor) if self.last_epoch == self.total_iters else self._current()

    def _closed_form(self) -> list[float]:
        return self._from_base(1.0 if self.last_epoch >= self.total_iters else self.factor)


class ExponentialLR(LRScheduler):
    """The learning rate times `gamma` every epoch."""

    def __init__(self, optimizer: Optimizer, gamma: float, last_epoch: int = -1) -> None:
        self.gamma = gamma
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[float]:
        return self._current() if self._is_initial else self._scaled(self.gamma)

    def _closed_form(self) -> list[float]:
        return self._from_base(self.gamma**self.last_epoch)
