"""Every option of every optimizer gives PyTorch's parameters, step by step."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from optimizer_table import IDS, TABLE

import agrad

STEPS = 50
SHAPES = ((4, 3), (3,), ())


@pytest.fixture(autouse=True)
def wide_counters() -> Iterator[None]:
    """PyTorch keeps the counters of a state, one of which NAdam multiplies with, in its default dtype."""
    torch = pytest.importorskip("torch")
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def starting_points(kind: str = "float64") -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    points = [rng.normal(size=shape) for shape in SHAPES]
    if kind.startswith("complex"):
        points = [point + 1j * rng.normal(size=point.shape) for point in points]
    return [np.asarray(point, dtype=kind) for point in points]


def bowl(w: Any, b: Any, s: Any, sin: Callable[[Any], Any]) -> Any:
    """A loss with gradients of every size, bounded so that it can be climbed as well."""
    return (sin(w * b) ** 2).sum() + (sin(b - 0.5) ** 4).sum() * sin(s) + 0.3 * sin(s - 1.0) ** 2 + 0.01 * sin(w).sum()


def length(w: Any, b: Any, s: Any, sin: Callable[[Any], Any]) -> Any:
    return (abs(w - b) ** 2).sum() + (abs(b - 1.0) ** 2).sum() + abs(s - 2.0) ** 2


def run(optimizer: Any, parameters: list[Any], loss: Callable[..., Any], sin: Any, scheduler: Any) -> list[Any]:
    """The parameters after each step."""
    path = []
    for _ in range(STEPS):
        optimizer.zero_grad()
        loss(*parameters, sin).backward()
        optimizer.step()
        if scheduler is not None:
            scheduler.step()
        path.append([np.array(p.detach().numpy()) for p in parameters])
    return path


def both(
    name: str, options: dict[str, Any], loss: Callable[..., Any] = bowl, kind: str = "float64", grouped: bool = False
) -> tuple[list[Any], list[Any]]:
    """The same training in agrad and in PyTorch."""
    torch = pytest.importorskip("torch")
    paths = []
    for library, make in ((agrad, lambda x: agrad.tensor(x, requires_grad=True)),
                          (torch, lambda x: torch.tensor(x, requires_grad=True))):
        parameters: Any = [make(point) for point in starting_points(kind)]
        groups = [{"params": parameters[:1], "lr": 0.003}, {"params": parameters[1:]}] if grouped else parameters
        optimizer = getattr(library.optim, name)(groups, **options)
        scheduler = library.optim.lr_scheduler.ExponentialLR(optimizer, 0.97) if grouped else None
        paths.append(run(optimizer, parameters, loss, library.sin, scheduler))
    return paths[0], paths[1]


def assert_same(ours: list[Any], theirs: list[Any], tolerance: float = 1e-10) -> None:
    for step, (mine, other) in enumerate(zip(ours, theirs, strict=True)):
        for a, b in zip(mine, other, strict=True):
            np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance, err_msg=f"after step {step + 1}")


@pytest.mark.parametrize(("name", "options"), TABLE, ids=IDS)
def test_an_optimizer_takes_pytorchs_path(name: str, options: dict[str, Any]) -> None:
    assert_same(*both(name, options))


@pytest.mark.parametrize(("name", "options"), TABLE, ids=IDS)
def test_groups_and_a_scheduler_take_pytorchs_path(name: str, options: dict[str, Any]) -> None:
    assert_same(*both(name, options, grouped=True))


@pytest.mark.parametrize(("name", "options"), TABLE, ids=IDS)
def test_complex_parameters_take_pytorchs_path(name: str, options: dict[str, Any]) -> None:
    assert_same(*both(name, options, loss=length, kind="complex128"))


@pytest.mark.parametrize(("name", "options"), TABLE, ids=IDS)
def test_single_precision_stays_close_to_pytorch(name: str, options: dict[str, Any]) -> None:
    ours, theirs = both(name, options, kind="float32")
    assert_same(ours[:10], theirs[:10], tolerance=1e-5)
