"""The learning rates and momenta of every scheduler are PyTorch's over 50 steps, and its states and warnings."""

import copy
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import agrad
from agrad.optim.lr_scheduler import (
    ChainedScheduler,
    CosineAnnealingWarmRestarts,
    CyclicLR,
    ExponentialLR,
    LambdaLR,
    LRScheduler,
    OneCycleLR,
    ReduceLROnPlateau,
    SequentialLR,
    StepLR,
)

STEPS = 50
Make = Callable[[Any, Any], Any]  # from the schedulers' module and the optimizer


def sequence(s: Any, o: Any) -> Any:
    parts = [s.LinearLR(o, 0.1, total_iters=4), s.ExponentialLR(o, 0.9), s.CosineAnnealingLR(o, 20), s.StepLR(o, 3)]
    return s.SequentialLR(o, parts, milestones=[5, 15, 40])


def sequences_in_a_sequence(s: Any, o: Any) -> Any:
    inner = s.SequentialLR(o, [s.ConstantLR(o, 0.5, 3), s.ExponentialLR(o, 0.8)], milestones=[4])
    return s.SequentialLR(o, [inner, s.PolynomialLR(o, 12, 2.0)], milestones=[20])


TABLE: list[tuple[str, Make]] = [
    ("LambdaLR", lambda s, o: s.LambdaLR(o, lambda epoch: 0.95**epoch)),
    ("LambdaLR of each group", lambda s, o: s.LambdaLR(o, [lambda e: 1 / (1 + e), lambda e: 0.5**e])),
    ("MultiplicativeLR", lambda s, o: s.MultiplicativeLR(o, lambda epoch: 0.9 + 0.05 / epoch)),
    ("StepLR", lambda s, o: s.StepLR(o, 7)),
    ("StepLR gamma", lambda s, o: s.StepLR(o, 1, gamma=0.7)),
    ("MultiStepLR", lambda s, o: s.MultiStepLR(o, [3, 3, 20, 41], gamma=0.5)),
    ("ConstantLR", lambda s, o: s.ConstantLR(o)),
    ("ConstantLR factor", lambda s, o: s.ConstantLR(o, factor=0.25, total_iters=11)),
    ("LinearLR", lambda s, o: s.LinearLR(o)),
    ("LinearLR factors", lambda s, o: s.LinearLR(o, start_factor=0.9, end_factor=0.1, total_iters=30)),
    ("ExponentialLR", lambda s, o: s.ExponentialLR(o, 0.93)),
    ("PolynomialLR", lambda s, o: s.PolynomialLR(o)),
    ("PolynomialLR power", lambda s, o: s.PolynomialLR(o, total_iters=40, power=1.7)),
    ("CosineAnnealingLR", lambda s, o: s.CosineAnnealingLR(o, 9)),
    ("CosineAnnealingLR eta_min", lambda s, o: s.CosineAnnealingLR(o, 50, eta_min=0.02)),
    ("CosineAnnealingWarmRestarts", lambda s, o: s.CosineAnnealingWarmRestarts(o, 6)),
    ("CosineAnnealingWarmRestarts T_mult", lambda s, o: s.CosineAnnealingWarmRestarts(o, 3, T_mult=2, eta_min=0.01)),
    ("OneCycleLR", lambda s, o: s.OneCycleLR(o, 0.5, total_steps=51)),
    ("OneCycleLR linear", lambda s, o: s.OneCycleLR(o, [0.5, 0.1], epochs=3, steps_per_epoch=20, pct_start=0.4,
                                                    anneal_strategy="linear", base_momentum=0.5, max_momentum=0.9)),
    ("OneCycleLR three_phase", lambda s, o: s.OneCycleLR(o, 0.5, total_steps=60, three_phase=True, div_factor=5.0)),
    ("OneCycleLR without momentum", lambda s, o: s.OneCycleLR(o, 0.5, total_steps=60, cycle_momentum=False)),
    ("CyclicLR", lambda s, o: s.CyclicLR(o, 0.01, 0.3, step_size_up=7)),
    ("CyclicLR triangular2", lambda s, o: s.CyclicLR(o, 0.01, 0.3, 5, step_size_down=8, mode="triangular2")),
    ("CyclicLR exp_range", lambda s, o: s.CyclicLR(o, [0.01, 0.02], [0.3, 0.1], 6, mode="exp_range", gamma=0.97)),
    ("CyclicLR scale_fn", lambda s, o: s.CyclicLR(o, 0.01, 0.3, 6, scale_fn=lambda x: 1 / x, cycle_momentum=False)),
    ("SequentialLR", sequence),
    ("SequentialLR nested", sequences_in_a_sequence),
    ("ChainedScheduler", lambda s, o: s.ChainedScheduler([s.LinearLR(o, 0.1, total_iters=9), s.ExponentialLR(o, 0.9)])),
    ("ChainedScheduler cosine", lambda s, o: s.ChainedScheduler([s.CosineAnnealingLR(o, 8), s.StepLR(o, 5, 0.5)], o)),
]
TABLE_IDS = [name for name, _ in TABLE]


def optimizer_of(library: Any, name: str = "SGD") -> Any:
    """An optimizer with two groups."""
    first, second = (library.tensor([1.0], requires_grad=True) for _ in range(2))
    options: dict[str, Any] = {"momentum": 0.9} if name == "SGD" else {}
    return getattr(library.optim, name)([{"params": [first], "lr": 0.2}, {"params": [second]}], lr=0.1, **options)


def rates(optimizer: Any) -> list[float]:
    """What schedulers change."""
    return [float(x) for group in optimizer.param_groups
            for x in (group["lr"], group["betas"][0] if "betas" in group else group["momentum"])]


def sequence_of(library: Any, make: Make, name: str) -> list[list[float]]:
    optimizer = optimizer_of(library, name)
    scheduler = make(library.optim.lr_scheduler, optimizer)
    values = [rates(optimizer)]
    for _ in range(STEPS):
        optimizer.step()
        scheduler.step()
        assert [group["lr"] for group in optimizer.param_groups] == scheduler.get_last_lr()
        values.append(rates(optimizer))
    return values


NESTED = "ignore:Detected call of `lr_scheduler.step:UserWarning:torch"      # PyTorch's of its own first step


@pytest.mark.filterwarnings(NESTED)
@pytest.mark.parametrize("optimizer", ["SGD", "Adam"])
@pytest.mark.parametrize(("name", "make"), TABLE, ids=TABLE_IDS)
def test_rates_are_pytorchs(name: str, make: Make, optimizer: str) -> None:
    torch = pytest.importorskip("torch")
    ours = sequence_of(agrad, make, optimizer)
    assert len({rate for rate, *_ in ours}) > 1
    np.testing.assert_allclose(ours, sequence_of(torch, make, optimizer), rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize(("name", "make"), TABLE, ids=TABLE_IDS)
def test_a_loaded_state_goes_on_where_it_was_saved(name: str, make: Make) -> None:
    def start() -> tuple[Any, Any]:
        optimizer = optimizer_of(agrad)
        return optimizer, make(agrad.optim.lr_scheduler, optimizer)

    def go_on(optimizer: Any, scheduler: Any) -> list[list[float]]:
        values = []
        for _ in range(15):
            optimizer.step()
            scheduler.step()
            values.append(rates(optimizer))
        return values

    optimizer, scheduler = start()
    go_on(optimizer, scheduler)
    states = copy.deepcopy((optimizer.state_dict(), scheduler.state_dict()))
    expected = go_on(optimizer, scheduler)
    other, again = start()
    other.load_state_dict(states[0])
    again.load_state_dict(states[1])
    assert again.get_last_lr() == [group["lr"] for group in other.param_groups]
    assert go_on(other, again) == expected


WITHOUT_FUNCTIONS = [row for row in TABLE if "Lambda" not in row[0] and "scale_fn" not in row[0]]


@pytest.mark.filterwarnings(NESTED)
@pytest.mark.parametrize(("name", "make"), WITHOUT_FUNCTIONS, ids=[name for name, _ in WITHOUT_FUNCTIONS])
def test_states_move_both_ways(name: str, make: Make) -> None:
    torch = pytest.importorskip("torch")
    for here, there in ((agrad, torch), (torch, agrad)):
        optimizer = optimizer_of(here)
        scheduler = make(here.optim.lr_scheduler, optimizer)
        for _ in range(10):
            optimizer.step()
            scheduler.step()
        other = optimizer_of(there)
        again = make(there.optim.lr_scheduler, other)
        other.load_state_dict(copy.deepcopy(optimizer.state_dict()))
        again.load_state_dict(copy.deepcopy(scheduler.state_dict()))
        for _ in range(10):
            for o, s in ((optimizer, scheduler), (other, again)):
                o.step()
                s.step()
            np.testing.assert_allclose(rates(other), rates(optimizer), rtol=1e-12, atol=1e-14)


METRICS = [3.0, 2.0, 2.0, 2.0, 1.9999999, 1.5, 1.6, float("nan"), 1.4, 1.4, 1.4, 1.4, 1.4, -1.0, -1.0, -1.1, 4.0] * 3


@pytest.mark.parametrize("options", [
    {}, {"patience": 1}, {"patience": 0, "cooldown": 2, "factor": 0.5}, {"mode": "max", "patience": 2},
    {"patience": 1, "threshold_mode": "abs", "threshold": 0.2}, {"mode": "max", "threshold_mode": "abs", "patience": 1},
    {"patience": 0, "min_lr": [0.01, 0.001], "eps": 1e-3}, {"patience": 0, "min_lr": 0.05},
], ids=str)
def test_a_plateau_reduces_as_pytorchs(options: dict[str, Any]) -> None:
    torch = pytest.importorskip("torch")
    paths = []
    for library in (agrad, torch):
        optimizer = optimizer_of(library)
        scheduler = library.optim.lr_scheduler.ReduceLROnPlateau(optimizer, **options)
        path = []
        for i, metric in enumerate(METRICS):
            scheduler.step(metric if i % 2 else library.tensor(metric))
            path.append((*scheduler.get_last_lr(), scheduler.num_bad_epochs, scheduler.cooldown_counter))
        paths.append(path)
    np.testing.assert_allclose(paths[0], paths[1], rtol=1e-14)


def test_a_plateau_takes_groups_that_are_added_later() -> None:
    optimizer = optimizer_of(agrad)
    scheduler = ReduceLROnPlateau(optimizer, patience=0, min_lr=0.05)
    fixed = ReduceLROnPlateau(optimizer, patience=0, min_lr=[0.05, 0.05])
    optimizer.add_param_group({"params": [agrad.tensor([1.0], requires_grad=True)]})
    scheduler.step(1.0)
    scheduler.step(1.0)
    assert scheduler.get_last_lr() == [0.05, 0.05, 0.05]
    fixed.step(1.0)
    with pytest.raises(RuntimeError, match="3 parameter groups and ReduceLROnPlateau 2 min_lrs"):
        fixed.step(1.0)


def test_the_wrong_order_warns_once() -> None:
    optimizer = optimizer_of(agrad)
    scheduler = StepLR(optimizer, 3)
    with pytest.warns(UserWarning, match=r"`lr_scheduler.step\(\)` before `optimizer.step\(\)`"):
        scheduler.step()
    scheduler.step()
    right = optimizer_of(agrad)
    scheduler = StepLR(right, 3)
    right.step()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        scheduler.step()


@pytest.mark.parametrize(("name", "make"), [row for row in TABLE if row[0] in (
    "StepLR", "MultiStepLR", "ConstantLR factor", "LinearLR factors", "ExponentialLR", "PolynomialLR power",
    "CosineAnnealingLR", "LambdaLR")])
def test_naming_the_epoch_warns_and_takes_the_closed_form(name: str, make: Make) -> None:
    torch = pytest.importorskip("torch")
    values = []
    for library in (agrad, torch):
        optimizer = optimizer_of(library)
        scheduler = make(library.optim.lr_scheduler, optimizer)
        optimizer.step()
        with pytest.warns(UserWarning, match="deprecat"):
            scheduler.step(17)
        values.append(rates(optimizer))
    np.testing.assert_allclose(values[0], values[1], rtol=1e-12)


def test_warm_restarts_take_epochs_in_parts() -> None:
    torch = pytest.importorskip("torch")
    values = []
    for library in (agrad, torch):
        optimizer = optimizer_of(library)
        scheduler = library.optim.lr_scheduler.CosineAnnealingWarmRestarts(optimizer, 2, T_mult=3)
        path = []
        for i in range(90):
            scheduler.step(i / 3)
            path.append(rates(optimizer))
        values.append(path)
    np.testing.assert_allclose(values[0], values[1], rtol=1e-12)
    with pytest.raises(ValueError, match="non-negative epoch"):
        CosineAnnealingWarmRestarts(optimizer_of(agrad), 2).step(-1)


def test_a_training_that_goes_on_takes_its_last_epoch() -> None:
    torch = pytest.importorskip("torch")
    values = []
    for library in (agrad, torch):
        optimizer = optimizer_of(library)
        for group in optimizer.param_groups:
            group["initial_lr"] = 0.3
        scheduler = library.optim.lr_scheduler.CosineAnnealingLR(optimizer, 10, last_epoch=4)
        optimizer.step()
        scheduler.step()
        values.append(rates(optimizer))
    np.testing.assert_allclose(values[0], values[1], rtol=1e-12)
    with pytest.raises(KeyError, match=r"'initial_lr' is not specified in param_groups\[0\]"):
        StepLR(optimizer_of(agrad), 2, last_epoch=4)


class Halving:
    """A factor with a state of its own."""

    def __init__(self) -> None:
        self.rate = 0.5

    def __call__(self, epoch: float) -> float:
        return self.rate**epoch


def test_objects_that_give_factors_are_saved_with_their_attributes() -> None:
    scheduler = LambdaLR(optimizer_of(agrad), [Halving(), lambda epoch: 1.0])
    scheduler.lr_lambdas[0].rate = 0.25     # type: ignore[attr-defined]
    state = scheduler.state_dict()
    assert state["lr_lambdas"] == [{"rate": 0.25}, None]
    other = LambdaLR(optimizer_of(agrad), [Halving(), lambda epoch: 1.0])
    other.load_state_dict(state)
    assert other.lr_lambdas[0].rate == 0.25     # type: ignore[attr-defined]


def test_a_state_is_a_copy() -> None:
    optimizer = optimizer_of(agrad)
    scheduler = ExponentialLR(optimizer, 0.5)
    state = scheduler.state_dict()
    optimizer.step()
    scheduler.step()
    assert state["last_epoch"] == 0
    assert state["_last_lr"] == [0.2, 0.1]
    assert "optimizer" not in state


def test_a_scheduler_of_ones_own_overrides_get_lr() -> None:
    class Counting(LRScheduler):
        def get_lr(self) -> list[float]:
            return [base * (1.0 + self.last_epoch) for base in self.base_lrs]

    optimizer = optimizer_of(agrad)
    scheduler = Counting(optimizer)
    optimizer.step()
    scheduler.step()
    assert scheduler.get_last_lr() == [0.4, 0.2]


REFUSED: list[tuple[type[Exception], str, Callable[[Any], Any]]] = [
    (TypeError, "int is not an Optimizer", lambda o: StepLR(3, 1)),     # type: ignore[arg-type]
    (TypeError, "int is not an Optimizer", lambda o: ReduceLROnPlateau(3)),     # type: ignore[arg-type]
    (ValueError, "Expected 2 lr_lambdas, but got 1", lambda o: LambdaLR(o, [lambda e: 1.0])),
    (TypeError, "lr_lambda should be a function, but got float", lambda o: LambdaLR(o, 0.5)),
    (ValueError, "between 0 and 1", lambda o: agrad.optim.lr_scheduler.ConstantLR(o, 2.0)),
    (ValueError, "greater than 0", lambda o: agrad.optim.lr_scheduler.LinearLR(o, 0.0)),
    (ValueError, "between 0 and 1", lambda o: agrad.optim.lr_scheduler.LinearLR(o, end_factor=2.0)),
    (ValueError, "Factor should be < 1.0", lambda o: ReduceLROnPlateau(o, factor=1.0)),
    (ValueError, "mode best is unknown", lambda o: ReduceLROnPlateau(o, mode="best")),
    (ValueError, "threshold mode no is unknown", lambda o: ReduceLROnPlateau(o, threshold_mode="no")),
    (ValueError, "expected 2 min_lrs, got 3", lambda o: ReduceLROnPlateau(o, min_lr=[0, 0, 0])),
    (ValueError, "max_lr must have the same length", lambda o: CyclicLR(o, 0.1, [1.0])),
    (ValueError, "mode is invalid", lambda o: CyclicLR(o, 0.1, 1.0, mode="round")),
    (ValueError, "You must define either total_steps", lambda o: OneCycleLR(o, 0.1, epochs=3)),
    (ValueError, "positive integer total_steps, but got 0", lambda o: OneCycleLR(o, 0.1, total_steps=0)),
    (ValueError, "positive integer epochs, but got -1", lambda o: OneCycleLR(o, 0.1, epochs=-1, steps_per_epoch=2)),
    (ValueError, "between 0 and 1 pct_start", lambda o: OneCycleLR(o, 0.1, total_steps=9, pct_start=1.5)),
    (ValueError, "anneal_strategy must be one of", lambda o: OneCycleLR(o, 0.1, total_steps=9, anneal_strategy="up")),
    (ValueError, "positive integer T_0", lambda o: CosineAnnealingWarmRestarts(o, 0)),
    (ValueError, "integer T_mult >= 1", lambda o: CosineAnnealingWarmRestarts(o, 2, 0)),
    (ValueError, "float or int eta_min", lambda o: CosineAnnealingWarmRestarts(o, 2, 1, "0")),     # type: ignore[arg-type]
    (ValueError, "at least one scheduler", lambda o: ChainedScheduler([])),
    (ValueError, "does not support `ReduceLROnPlateau`", lambda o: ChainedScheduler([ReduceLROnPlateau(o)])),
    (ValueError, "same optimizer", lambda o: ChainedScheduler([StepLR(o, 1), StepLR(optimizer_of(agrad), 1)])),
    (TypeError, "should have `optimizer`", lambda o: ChainedScheduler([3], o)),     # type: ignore[list-item]
    (ValueError, "at least one scheduler", lambda o: SequentialLR(o, [], [])),
    (ValueError, "2 schedulers and 2 milestones", lambda o: SequentialLR(o, [StepLR(o, 1), StepLR(o, 1)], [1, 2])),
]


@pytest.mark.parametrize(("error", "message", "make"), REFUSED, ids=[message for _, message, _ in REFUSED])
def test_bad_input_is_refused(error: type[Exception], message: str, make: Callable[[Any], Any]) -> None:
    with pytest.raises(error, match=message):
        make(optimizer_of(agrad))


def test_momentum_is_asked_of_optimizers_that_have_it() -> None:
    optimizer = agrad.optim.Adagrad([agrad.tensor([1.0], requires_grad=True)])
    for make in (lambda: CyclicLR(optimizer, 0.1, 1.0), lambda: OneCycleLR(optimizer, 0.1, total_steps=9)):
        with pytest.raises(ValueError, match="must support momentum or beta1"):
            make()
    CyclicLR(optimizer, 0.1, 1.0, cycle_momentum=False)


def test_one_cycle_ends() -> None:
    optimizer = optimizer_of(agrad)
    scheduler = OneCycleLR(optimizer, 0.1, total_steps=3)
    for _ in range(3):
        optimizer.step()
        scheduler.step()
    with pytest.raises(ValueError, match=r"Tried to step 4 times\. The specified number of total steps is 3"):
        scheduler.step()
