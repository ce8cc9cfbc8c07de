"""L-BFGS takes PyTorch's path, with and without line search, and finds minima on every backend."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import agrad
from agrad.optim.line_search import Point, interpolate, strong_wolfe

OPTIONS: list[dict[str, Any]] = [
    {"line_search_fn": "strong_wolfe"},
    {"line_search_fn": "strong_wolfe", "max_iter": 4, "history_size": 3},
    {"line_search_fn": "strong_wolfe", "lr": 0.1, "max_iter": 3, "max_eval": 5},
    {"line_search_fn": "strong_wolfe", "lr": 20.0, "max_iter": 2},
    {"line_search_fn": "strong_wolfe", "tolerance_grad": 1e-2, "tolerance_change": 1e-3},
    {"lr": 0.02},
    {"lr": 0.02, "max_iter": 3, "history_size": 2},
    {"lr": 0.02, "max_iter": 1},
]
IDS = ["-".join(map(str, options.values())) for options in OPTIONS]


def rosenbrock(library: Any, parameters: list[Any]) -> Any:
    """Rosenbrock's valley in five variables, held by two parameters."""
    x, y = parameters
    ends = library.concat([x, y.reshape((-1,))])
    return (100.0 * (ends[1:] - ends[:-1] ** 2) ** 2).sum() + ((1.0 - ends[:-1]) ** 2).sum()


def network(library: Any, parameters: list[Any]) -> Any:
    """The error of a network with one hidden layer on a wave."""
    w1, b1, w2 = parameters
    inputs = np.linspace(-2.0, 2.0, 40)[:, None]
    x, wanted = (library.tensor(values) for values in (inputs, np.sin(3 * inputs)))
    return ((library.tanh(x @ w1 + b1) @ w2 - wanted) ** 2).mean()


def distance(library: Any, parameters: list[Any]) -> Any:
    """A bowl over complex and real numbers."""
    z, x = parameters
    return (abs(z * z - 1.0j) ** 2).sum() + (abs(z.sum() - x) ** 2).sum()


def points(name: str) -> list[np.ndarray]:
    rng = np.random.default_rng(1)
    if name == "rosenbrock":
        return [np.array([-1.2, 1.0, 0.5]), np.array([[2.0, -1.0]])]
    if name == "network":
        return [rng.normal(size=shape) for shape in ((1, 8), (8,), (8, 1))]
    return [rng.normal(size=3) + 1j * rng.normal(size=3), rng.normal(size=2)]


def run(library: Any, loss: Callable[..., Any], parameters: list[Any], steps: int, options: dict[str, Any]) -> Any:
    """The parameters after each step, the losses that steps returned, and the optimizer."""
    optimizer = library.optim.LBFGS(parameters, **options)

    def closure() -> Any:
        optimizer.zero_grad()
        value = loss(library, parameters)
        value.backward()
        return value

    path, losses = [], []
    for _ in range(steps):
        losses.append(float(optimizer.step(closure).detach()))
        path.append([np.array(p.detach().numpy()) for p in parameters])
    return path, losses, optimizer


@pytest.mark.parametrize("options", OPTIONS, ids=IDS)
@pytest.mark.parametrize("loss", [rosenbrock, network, distance])
def test_it_takes_pytorchs_path(loss: Callable[..., Any], options: dict[str, Any]) -> None:
    """As far as PyTorch reproduces its own: some paths magnify a rounding of the start beyond measure."""
    torch = pytest.importorskip("torch")
    steps = 50 if "max_iter" in options else 8
    if loss is rosenbrock and options.get("lr") == 0.02:
        options = {**options, "lr": 1e-3}

    def train(library: Any, rounding: float) -> Any:
        start = [library.tensor(value * (1.0 + rounding), requires_grad=True) for value in points(loss.__name__)]
        return run(library, loss, start, steps, options)

    (ours, losses, optimizer), (theirs, their_losses, their_optimizer), (again, _, _) = (
        train(agrad, 0.0), train(torch, 0.0), train(torch, 2e-16)
    )
    agreed = [bool(furthest(*pair) < 1e-11) for pair in zip(theirs, again, strict=True)]
    compared = steps if all(agreed) else agreed.index(False)
    assert compared * options.get("max_iter", 20) >= 20
    np.testing.assert_allclose(losses[:compared], their_losses[:compared], rtol=1e-10, atol=1e-10)
    assert max(furthest(*pair) for pair in zip(ours[:compared], theirs[:compared], strict=True)) < 1e-10
    if compared == steps:
        (state,), (their_state,) = optimizer.state.values(), their_optimizer.state.values()
        for name in ("n_iter", "func_evals"):
            assert state[name] == their_state[name]


def furthest(a: list[np.ndarray], b: list[np.ndarray]) -> float:
    """How far two sets of parameters are apart."""
    return max(float(abs(x - y).max()) for x, y in zip(a, b, strict=True))


def test_every_backend_finds_the_minimum(backend: str) -> None:
    parameters = [agrad.tensor(0.0 * value, requires_grad=True) for value in points("rosenbrock")]
    options = {"line_search_fn": "strong_wolfe", "max_iter": 60, "tolerance_change": 1e-15}
    path, losses, optimizer = run(agrad, rosenbrock, parameters, 2, options)
    np.testing.assert_allclose(np.concatenate([x.ravel() for x in path[-1]]), 1.0, rtol=1e-6)
    assert losses[-1] < 1e-10
    assert all(p.backend_.name == backend for p in parameters)
    (state,) = optimizer.state.values()
    assert state["d"].backend_.name == backend


def test_parameters_without_gradient_stay() -> None:
    p, q = agrad.tensor([3.0], requires_grad=True), agrad.tensor([4.0], requires_grad=True)
    optimizer = agrad.optim.LBFGS([p, q], lr=0.5)

    def closure() -> Any:
        optimizer.zero_grad()
        loss = (p * p).sum()
        loss.backward()
        return loss

    optimizer.step(closure)
    assert q.item() == 4.0
    assert abs(p.item()) < 1e-3


def test_it_stops_where_the_gradient_is_zero() -> None:
    p = agrad.tensor([0.0], requires_grad=True)
    optimizer = agrad.optim.LBFGS([p])
    calls = []

    def closure() -> float:
        calls.append(1)
        p.grad = agrad.tensor([0.0])
        return 7.0

    assert optimizer.step(closure) == 7.0
    assert len(calls) == 1


def test_an_error_in_a_search_leaves_the_parameters_where_they_were() -> None:
    p = agrad.tensor([3.0], requires_grad=True)
    optimizer = agrad.optim.LBFGS([p], line_search_fn="strong_wolfe")
    calls = []

    def closure() -> Any:
        calls.append(1)
        if len(calls) == 2:
            raise ArithmeticError("out of range")
        loss = (p * p).sum()
        loss.backward()
        return loss

    with pytest.raises(ArithmeticError, match="out of range"):
        optimizer.step(closure)
    assert p.item() == 3.0


# ---- the line search by itself


def search(f: Callable[[float], float], slope: Callable[[float], float], t: float, most: int = 25) -> tuple[Point, int]:
    """A search along one axis."""
    def evaluate(t: float) -> Point:
        return Point(t, f(t), None, slope(t))

    return strong_wolfe(evaluate, evaluate(0.0), t, 1.0, 1e-9, most)


@pytest.mark.parametrize("first", [1e-3, 0.5, 1.0, 3.0, 50.0])
@pytest.mark.parametrize(("f", "slope"), [
    (lambda t: (t - 1.0) ** 2, lambda t: 2 * (t - 1.0)),
    # More and Thuente, 1994, (5.1) and (5.2)
    (lambda t: -t / (t * t + 2.0), lambda t: (t * t - 2.0) / (t * t + 2.0) ** 2),
    (lambda t: (t + 0.004) ** 5 - 2 * (t + 0.004) ** 4, lambda t: 5 * (t + 0.004) ** 4 - 8 * (t + 0.004) ** 3),
])
def test_the_strong_wolfe_conditions_hold(f: Any, slope: Any, first: float) -> None:
    point, evaluations = search(f, slope, first)
    assert f(point.t) <= f(0.0) + 1e-4 * point.t * slope(0.0)
    assert abs(slope(point.t)) <= 0.9 * abs(slope(0.0))
    assert evaluations <= 26


def test_a_search_ends_when_it_may_evaluate_no_more() -> None:
    point, evaluations = search(lambda t: -t, lambda t: -1.0, 1.0, most=4)
    assert evaluations == 5
    assert point.loss == -point.t
    assert search(lambda t: t, lambda t: -1.0, 1.0, most=0) == (Point(0.0, 0.0, None, -1.0), 1)


def test_a_loss_that_is_not_a_number_ends_the_search() -> None:
    point, evaluations = search(lambda t: float("nan") if t else 0.0, lambda t: -1.0, 1.0)
    assert evaluations <= 26
    assert not point.t or np.isnan(point.loss)


@pytest.mark.parametrize(("a", "b", "expected"), [
    (Point(0.0, 1.0, None, -2.0), Point(2.0, 1.0, None, 2.0), 1.0),     # a parabola
    (Point(2.0, 1.0, None, 2.0), Point(0.0, 1.0, None, -2.0), 1.0),     # from the other side
    (Point(0.0, 0.0, None, 1.0), Point(1.0, 1.0, None, 1.0), 0.0),      # a line falls to its end
    (Point(0.0, 0.0, None, 3.0), Point(2.0, 4.0, None, 3.0), 1.0),      # no minimum: the middle
    (Point(1.0, 0.0, None, 1.0), Point(1.0, 1.0, None, 1.0), 0.5),      # no cubic
])
def test_a_cubic_is_smallest(a: Point, b: Point, expected: float) -> None:
    bounds = (min(a.t, b.t), max(a.t, b.t)) if a.t != b.t else (0.0, 1.0)
    assert interpolate(a, b, bounds) == pytest.approx(expected)


def test_a_gradient_of_zero_is_no_reason_to_stop_if_none_is() -> None:
    p = agrad.tensor([1.0, 2.0], requires_grad=True)
    optimizer = agrad.optim.LBFGS([p], tolerance_grad=-1, tolerance_change=-1, max_iter=3)

    def closure() -> Any:
        optimizer.zero_grad()
        loss = (p * 0.0).sum()
        loss.backward()
        return loss

    assert optimizer.step(closure).item() == 0
    np.testing.assert_array_equal(p.detach().numpy(), [1.0, 2.0])


def test_a_history_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="history_size: 0"):
        agrad.optim.LBFGS([agrad.tensor(1.0, requires_grad=True)], history_size=0)


def test_a_state_of_other_parameters_is_refused() -> None:
    def trained(*numbers: float) -> Any:
        p = agrad.tensor(list(numbers), requires_grad=True)
        optimizer = agrad.optim.LBFGS([p], max_iter=3)

        def closure() -> Any:
            optimizer.zero_grad()
            loss = (p**4).sum()
            loss.backward()
            return loss

        optimizer.step(closure)
        return optimizer

    saved = trained(1.0, 2.0).state_dict()
    other = trained(1.0, 2.0, 3.0)
    before = repr(other.state_dict())
    with pytest.raises(ValueError, match=r"of shape \(2,\) for parameters of 3 numbers"):
        other.load_state_dict(saved)
    assert repr(other.state_dict()) == before
