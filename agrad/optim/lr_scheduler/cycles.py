"""Learning rate and momentum in opposite cycles."""

import math
from collections.abc import Callable
from copy import deepcopy
from typing import Any

from agrad.optim.lr_scheduler.schedule import LRScheduler, check_optimizer, for_each_group, saved_function
from agrad.optim.optimizer import Optimizer


class _Cycling(LRScheduler):
    """What the two share that also move the momentum: that of SGD, or Adam's first beta."""

    def _start_momentum(self, base_momentum: Any, max_momentum: Any, last_epoch: int) -> None:
        defaults = self.optimizer.defaults
        if "momentum" not in defaults and "betas" not in defaults:
            raise ValueError("optimizer must support momentum or beta1 with `cycle_momentum` option enabled")
        self.use_beta1 = "betas" in defaults
        self.base_momentums = for_each_group("base_momentum", self.optimizer, base_momentum)
        self.max_momentums = for_each_group("max_momentum", self.optimizer, max_momentum)
        if last_epoch != -1:
            return
        groups = self.optimizer.param_groups
        for group, lowest, highest in zip(groups, self.base_momentums, self.max_momentums, strict=True):
            self._set_momentum(group, highest)
            group["max_momentum"], group["base_momentum"] = highest, lowest

    def _set_momentum(self, group: dict[str, Any], momentum: float) -> None:
        if self.use_beta1:
            group["betas"] = (momentum, *group["betas"][1:])
        else:
            group["momentum"] = momentum


class CyclicLR(_Cycling):
    """Up from `base_lr` to `max_lr` in `step_size_up` steps and down again, over and over (Smith, 2017).

    Parameters
    ----------
    optimizer : Optimizer
    base_lr, max_lr : float or list of float
        The ends of the cycle, one pair for each group if lists.
    step_size_up, step_size_down : int
        Steps of the two halves; by default they are equal.
    mode : str
        "triangular"; "triangular2", whose cycles halve; "exp_range", scaled by gamma ** step.
    gamma : float
    scale_fn : callable, optional
        A scale in the place of the mode's, of the cycle or the step as `scale_mode` says: "cycle" or "iterations".
    cycle_momentum : bool
        Move the momentum from `max_momentum` to `base_momentum` and back meanwhile.

    Examples
    --------
    >>> import agrad
    >>> optimizer = agrad.optim.SGD([agrad.tensor(1.0, requires_grad=True)], lr=1.0, momentum=0.9)
    >>> scheduler = agrad.optim.lr_scheduler.CyclicLR(optimizer, 0.0, 1.0, step_size_up=2)
    >>> for _ in range(3):
    ...     optimizer.step()
    ...     scheduler.step()
    ...     print(scheduler.get_last_lr())
    [0.5]
    [1.0]
    [0.5]
    """

    _own = ("optimizer", "_scale_fn_custom")

    def __init__(
        self,
        optimizer: Optimizer,
        base_lr: float | list[float],
        max_lr: float | list[float],
        step_size_up: int = 2000,
        step_size_down: int | None = None,
        mode: str = "triangular",
        gamma: float = 1.0,
        scale_fn: Callable[[float], float] | None = None,
        scale_mode: str = "cycle",
        cycle_momentum: bool = True,
        base_momentum: float | list[float] = 0.8,
        max_momentum: float | list[float] = 0.9,
        last_epoch: int = -1,
    ) -> None:
        check_optimizer(optimizer)
        if mode not in ("triangular", "triangular2", "exp_range") and scale_fn is None:
            raise ValueError("mode is invalid and scale_fn is None")
        self.optimizer = optimizer
        base_lrs = for_each_group("base_lr", optimizer, base_lr)
        self.max_lrs = for_each_group("max_lr", optimizer, max_lr)
        self.total_size = float(step_size_up + (step_size_up if step_size_down is None else step_size_down))
        self.step_ratio = step_size_up / self.total_size
        self.mode, self.gamma, self._scale_fn_custom = mode, gamma, scale_fn
        self.scale_mode = scale_mode if scale_fn else "iterations" if mode == "exp_range" else "cycle"
        self.cycle_momentum = cycle_momentum
        if cycle_momentum:
            self._start_momentum(base_momentum, max_momentum, last_epoch)
        if last_epoch == -1:
            for group, lr in zip(optimizer.param_groups, base_lrs, strict=True):
                group["lr"] = lr
        super().__init__(optimizer, last_epoch)
        self.base_lrs = base_lrs

    def scale_fn(self, x: float) -> float:
        """By what the height of the cycle x, or at the step x, is scaled."""
        if self._scale_fn_custom is not None:
            return self._scale_fn_custom(x)
        scales: dict[str, float] = {"triangular": 1.0, "triangular2": 0.5 ** (x - 1), "exp_range": self.gamma**x}
        return scales[self.mode]

    def get_lr(self) -> list[float]:
        cycle = math.floor(1 + self.last_epoch / self.total_size)
        place = 1.0 + self.last_epoch / self.total_size - cycle
        height = place / self.step_ratio if place <= self.step_ratio else (place - 1) / (self.step_ratio - 1)
        height *= self.scale_fn(cycle if self.scale_mode == "cycle" else self.last_epoch)
        if self.cycle_momentum:
            groups = self.optimizer.param_groups
            for group, lowest, highest in zip(groups, self.base_momentums, self.max_momentums, strict=True):
                self._set_momentum(group, highest - (highest - lowest) * height)
        return [low + (high - low) * height for low, high in zip(self.base_lrs, self.max_lrs, strict=True)]

    def state_dict(self) -> dict[str, Any]:
        return {**super().state_dict(), "_scale_fn_custom": saved_function(self._scale_fn_custom)}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        super().load_state_dict(state_dict)
        saved = state_dict["_scale_fn_custom"]
        if saved is not None:
            vars(self._scale_fn_custom).update(deepcopy(saved))


class OneCycleLR(_Cycling):
    """Up to `max_lr` and down far below the start, once in a training; stepped after each batch (Smith, Topin, 2018).

    Parameters
    ----------
    optimizer : Optimizer
    max_lr : float or list of float
        The highest learning rate, one for each group if a list.
    total_steps : int, optional
        Steps of the cycle; or `epochs` times `steps_per_epoch`.
    pct_start : float
        The fraction of the cycle that goes up.
    anneal_strategy : str
        "cos" or "linear".
    cycle_momentum : bool
        Move the momentum from `max_momentum` to `base_momentum` and back meanwhile.
    div_factor, final_div_factor : float
        The cycle starts at max_lr / div_factor and ends at the start divided by `final_div_factor`.
    three_phase : bool
        Come back to the start as fast as it went up, then go down.

    Raises
    ------
    ValueError
        If an option is out of its range, or `step` is called more than `total_steps` times.

    Examples
    --------
    >>> import agrad
    >>> optimizer = agrad.optim.SGD([agrad.tensor(1.0, requires_grad=True)], lr=1.0, momentum=0.9)
    >>> scheduler = agrad.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=1.0, total_steps=10)
    >>> for _ in range(2):
    ...     optimizer.step()
    ...     scheduler.step()
    ...     print(round(scheduler.get_last_lr()[0], 3))
    0.52
    1.0
    """

    def __init__(
        self,
        optimizer: Optimizer,
        max_lr: float | list[float],
        total_steps: int | None = None,
        epochs: int | None = None,
        steps_per_epoch: int | None = None,
        pct_start: float = 0.3,
        anneal_strategy: str = "cos",
        cycle_momentum: bool = True,
        base_momentum: float | list[float] = 0.85,
        max_momentum: float | list[float] = 0.95,
        div_factor: float = 25.0,
        final_div_factor: float = 1e4,
        three_phase: bool = False,
        last_epoch: int = -1,
    ) -> None:
        check_optimizer(optimizer)
        self.optimizer = optimizer
        self.total_steps = count_steps(total_steps, epochs, steps_per_epoch)
        if not isinstance(pct_start, float) or not 0 <= pct_start <= 1:
            raise ValueError(f"Expected float between 0 and 1 pct_start, but got {pct_start}")
        if anneal_strategy not in ("cos", "linear"):
            raise ValueError(f"anneal_strategy must be one of 'cos' or 'linear', instead got {anneal_strategy}")
        self._anneal_func_type = anneal_strategy
        up, last = pct_start * self.total_steps - 1, self.total_steps - 1
        names = ("end_step", "start_lr", "end_lr", "start_momentum", "end_momentum")
        phases = [(up, "initial_lr", "max_lr", "max_momentum", "base_momentum")]
        if three_phase:
            phases.append((2 * up, "max_lr", "initial_lr", "base_momentum", "max_momentum"))
            phases.append((last, "initial_lr", "min_lr", "max_momentum", "max_momentum"))
        else:
            phases.append((last, "max_lr", "min_lr", "base_momentum", "max_momentum"))
        self._schedule_phases: list[dict[str, Any]] = [dict(zip(names, phase, strict=True)) for phase in phases]
        highest = for_each_group("max_lr", optimizer, max_lr)
        self.cycle_momentum = cycle_momentum
        if cycle_momentum:
            self._start_momentum(base_momentum, max_momentum, last_epoch)
        if last_epoch == -1:
            for group, lr in zip(optimizer.param_groups, highest, strict=True):
                start = lr / div_factor
                group.update(initial_lr=start, max_lr=lr, min_lr=start / final_div_factor)
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[float]:
        if self.last_epoch > self.total_steps:
            raise ValueError(
                f"Tried to step {self.last_epoch} times. The specified number of total steps is {self.total_steps}"
            )
        start, phase = 0.0, self._schedule_phases[0]
        for following in self._schedule_phases[1:]:
            if self.last_epoch <= phase["end_step"]:
                break
            start, phase = phase["end_step"], following
        part = (self.last_epoch - start) / (phase["end_step"] - start)
        groups = self.optimizer.param_groups
        if self.cycle_momentum:
            for group in groups:
                ends = group[phase["start_momentum"]], group[phase["end_momentum"]]
                self._set_momentum(group, self._between(*ends, part))
        return [self._between(group[phase["start_lr"]], group[phase["end_lr"]], part) for group in groups]

    def _between(self, start: float, end: float, part: float) -> float:
        if self._anneal_func_type == "cos":
            return end + (start - end) / 2.0 * (1.0 + math.cos(math.pi * part))
        return start + (end - start) * part


def count_steps(total_steps: int | None, epochs: int | None, steps_per_epoch: int | None) -> int:
    """The steps of a cycle that is given in one way or the other."""
    if total_steps is None and (epochs is None or steps_per_epoch is None):
        raise ValueError("You must define either total_steps OR (epochs AND steps_per_epoch)")
    given = {"total_steps": total_steps}
    if total_steps is None:
        given = {"epochs": epochs, "steps_per_epoch": steps_per_epoch}
    for name, value in given.items():
        if not isinstance(value, int) or value <= 0:
            raise ValueError(f"Expected positive integer {name}, but got {value}")
    return math.prod(given.values())    # type: ignore[arg-type]
