"""What fails changes nothing: steps, states that do not fit, memory that is shared."""

import copy
import threading
from typing import Any

import numpy as np
import pytest
from array_libraries import values

import agrad
from agrad import optim
from agrad.optim import SGD, Adam


def parameter(*numbers: float) -> agrad.Tensor:
    return agrad.tensor(list(numbers), requires_grad=True)


def train(optimizer: Any, parameters: list[Any], steps: int) -> None:
    """Steps on a bowl."""
    for _ in range(steps):
        optimizer.zero_grad()
        sum(((p - 1.0) ** 2).sum() for p in parameters).backward()
        optimizer.step()


def test_a_step_that_fails_is_not_counted() -> None:
    p, q = parameter(1.0), agrad.broadcast_to(agrad.tensor(1.0), (3,)).detach().requires_grad_()
    p.grad, q.grad = agrad.ones(1), agrad.ones(3)
    for optimizer in (SGD([p, q], momentum=0.9, dampening=0.5), Adam([p, q])):
        with pytest.raises(RuntimeError, match="single memory location"):
            optimizer.step()
        assert p.item() == 1.0
        assert not optimizer.state


def test_there_is_no_state_where_nothing_is_kept() -> None:
    p = parameter(1.0)
    optimizer = SGD([p])
    train(optimizer, [p], 1)
    assert optimizer.state_dict()["state"] == {}


@pytest.mark.parametrize("optimizer", [lambda p: SGD(p, momentum=0.9), Adam])
def test_a_parameter_that_changed_its_shape_is_refused(optimizer: Any) -> None:
    p = parameter(1.0, 1.0, 1.0)
    made = optimizer([p])
    train(made, [p], 1)
    p.data = agrad.ones((2, 3))
    p.grad = agrad.ones((2, 3))
    with pytest.raises(ValueError, match=r"shape \(3,\), and its parameter has \(2, 3\)"):
        made.step()
    np.testing.assert_array_equal(values(p), np.ones((2, 3)))


DAMAGES = {     # what is done to a state -> what the error says
    "state is no dict": (lambda saved: saved.update(state=[]), "no dict of dicts"),
    "a state is no dict": (lambda saved: saved["state"].update({0: None}), "no dict of dicts"),
    "no params": (lambda saved: saved["param_groups"][0].pop("params"), "list of 'params'"),
    "groups are no list": (lambda saved: saved.update(param_groups=None), "list of 'params'"),
    "a parameter twice": (lambda saved: saved["param_groups"][0].update(params=[0, 0]), "twice"),
    "complex buffer": (lambda saved: saved["state"][0].update(exp_avg=agrad.tensor([1j])), "complex 'exp_avg'"),
    "another optimizer's": (lambda saved: saved["state"][0].pop("step"), "no 'step'"),
}


@pytest.mark.parametrize("name", DAMAGES)
def test_a_damaged_state_is_refused_and_changes_nothing(name: str) -> None:
    damage, problem = DAMAGES[name]
    parameters = [parameter(1.0), parameter(2.0)]
    optimizer = Adam(parameters)
    train(optimizer, parameters, 1)
    saved = copy.deepcopy(optimizer.state_dict())
    damage(saved)
    before = repr(optimizer.state_dict())
    with pytest.raises(ValueError, match=problem):
        optimizer.load_state_dict(saved)
    assert repr(optimizer.state_dict()) == before


def test_options_that_cannot_be_copied_leave_the_optimizer_as_it_was() -> None:
    p = parameter(1.0)
    optimizer = Adam([p])
    train(optimizer, [p], 1)
    saved = {"state": {}, "param_groups": [{"params": [0], "lock": threading.Lock()}]}
    with pytest.raises(TypeError, match="pickle"):
        optimizer.load_state_dict(saved)
    assert optimizer.state[p]["step"].item() == 1


def test_a_buffer_of_integers_is_loaded_as_the_parameter_is() -> None:
    p = parameter(1.0)
    optimizer = Adam([p])
    train(optimizer, [p], 1)
    saved = optimizer.state_dict()
    saved["state"][0]["exp_avg"] = np.array([3])
    optimizer.load_state_dict(saved)
    assert optimizer.state[p]["exp_avg"].dtype == p.dtype


def test_moments_need_two_rates() -> None:
    with pytest.raises(ValueError, match="two numbers"):
        Adam([parameter(1.0)], betas=(0.9,))    # type: ignore[arg-type]


def test_a_gradient_in_the_memory_of_its_parameter_is_read_before_it_is_written() -> None:
    memory = agrad.asarray(np.arange(5.0) + 1)
    p = memory[1:].detach().requires_grad_()
    p.grad = memory[:-1].detach()
    expected = values(p) - 0.1 * values(p.grad)
    SGD([p], lr=0.1).step()
    np.testing.assert_array_equal(values(p), expected)


def test_adagrad_starts_each_group_from_its_own_value() -> None:
    p, q = parameter(1.0), parameter(1.0)
    optimizer = optim.Adagrad([{"params": [p], "initial_accumulator_value": 0.5}, {"params": [q]}])
    assert [optimizer.state[t]["sum"].item() for t in (p, q)] == [0.5, 0.0]
