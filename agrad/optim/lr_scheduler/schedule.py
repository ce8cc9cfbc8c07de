"""What all schedulers share: the optimizer's groups, the epoch, `state_dict`. Must know no schedule."""

import types
import warnings
from collections.abc import Sequence
from copy import deepcopy
from typing import Any

from agrad.optim.optimizer import Optimizer


class LRScheduler:
    """Base of the schedulers: subclasses say in `get_lr` what the learning rates are at `last_epoch`.

    Parameters
    ----------
    optimizer : Optimizer
    last_epoch : int
        The last epoch of a training that goes on; -1 starts one.

    Raises
    ------
    TypeError
        If `optimizer` is none.
    KeyError
        If a training shall go on whose initial learning rates the groups do not have.
    """

    _step_count = 0
    _is_initial = False
    _own: tuple[str, ...] = ("optimizer",)  # attributes that are no state

    def __init__(self, optimizer: Optimizer, last_epoch: int = -1) -> None:
        check_optimizer(optimizer)
        self.optimizer = optimizer
        for i, group in enumerate(optimizer.param_groups):
            if last_epoch == -1:
                group.setdefault("initial_lr", group["lr"])
            elif "initial_lr" not in group:
                raise KeyError(
                    f"param 'initial_lr' is not specified in param_groups[{i}] when resuming a scheduler: load the "
                    "optimizer's state first, or leave last_epoch at -1 for a new training"
                )
        self.base_lrs = [group["initial_lr"] for group in optimizer.param_groups]
        self.last_epoch: float = last_epoch
        self._initial_step()

    def _initial_step(self) -> None:
        """Set the first learning rates."""
        self._step_count, self._is_initial = 0, True
        try:
            self.step()
        finally:
            self._is_initial = False

    def get_last_lr(self) -> list[float]:
        """The learning rates of the groups as this scheduler last set them."""
        return self._last_lr

    def get_lr(self) -> list[float]:
        """The learning rates at `last_epoch`; called by `step`, which moves on. Elsewhere see `get_last_lr`."""
        raise NotImplementedError

    def step(self, epoch: int | None = None) -> None:
        """Move on to the next epoch, after the optimizer's step. Naming the epoch is deprecated."""
        if self._step_count == 1 and not self.optimizer._stepped:
            warnings.warn(
                "Detected call of `lr_scheduler.step()` before `optimizer.step()`. Call them in the opposite order: "
                "the optimizer will skip the first value of the learning rate schedule.",
                UserWarning,
                stacklevel=2,
            )
        self._step_count += 1
        if epoch is not None:
            warnings.warn("scheduler.step(epoch) is deprecated: use scheduler.step()", UserWarning, stacklevel=2)
        self._update_lr(epoch)

    def _update_lr(self, epoch: int | None = None) -> None:
        if epoch is None:
            self.last_epoch += 1
            self._set(self.get_lr())
        else:
            self.last_epoch = epoch
            self._set(self._closed_form())

    def _closed_form(self) -> list[float]:
        """The learning rates at `last_epoch` for whom does not come from the epoch before."""
        return self.get_lr()

    # -- the groups

    def _set(self, lrs: Sequence[float]) -> None:
        for group, lr in zip(self.optimizer.param_groups, lrs, strict=True):
            group["lr"] = lr
        self._last_lr = self._current()

    def _current(self) -> list[float]:
        return [group["lr"] for group in self.optimizer.param_groups]

    def _scaled(self, factor: float) -> list[float]:
        """The present learning rates times a factor."""
        return [group["lr"] * factor for group in self.optimizer.param_groups]

    def _from_base(self, factor: float) -> list[float]:
        """The initial learning rates times a factor."""
        return [lr * factor for lr in self.base_lrs]

    # -- state

    def state_dict(self) -> dict[str, Any]:
        """Everything but the optimizer; functions are left out unless they are objects, whose attributes are saved."""
        return {name: deepcopy(value) for name, value in self.__dict__.items() if name not in self._own}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take over what `state_dict` of such a scheduler gave."""
        self.__dict__.update(deepcopy({name: value for name, value in state_dict.items() if name not in self._own}))


def check_optimizer(optimizer: Any) -> None:
    if not isinstance(optimizer, Optimizer):
        raise TypeError(f"{type(optimizer).__name__} is not an Optimizer")


def for_each_group(name: str, optimizer: Optimizer, value: Any) -> list[Any]:
    """An option that is given once, or once for each group."""
    n = len(optimizer.param_groups)
    if not isinstance(value, (list, tuple)):
        return [value] * n
    if len(value) != n:
        raise ValueError(
            f"{name} must have the same length as optimizer.param_groups. "
            f"{name} has {len(value)} values, param_groups has {n}."
        )
    return list(value)


def saved_function(function: Any) -> dict[str, Any] | None:
    """What is kept of a function: the attributes of an object, of others nothing."""
    return None if function is None or isinstance(function, types.FunctionType) else deepcopy(vars(function))
