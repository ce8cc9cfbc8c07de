"""The formula of each update is one thing in three forms: applied to whole tensors, block by block, and compiled."""

from typing import Any

import numpy as np
import pytest
from optimizer_table import IDS, TABLE

import agrad
from agrad import backends
from agrad.cython_core import engine
from agrad.optim import elementwise, updates

NUMPY = backends.find("numpy")
KINDS = ["float32", "float64", "complex64", "complex128"]
SHAPES = [(), (1,), (7,), (5, 9), (2, 3, 4), (0, 3), (30000,)]


def numbers(rng: np.random.Generator, shape: tuple[int, ...], kind: str) -> np.ndarray:
    values = rng.normal(size=shape) + (1j * rng.normal(size=shape) if kind.startswith("complex") else 0.0)
    return np.asarray(values, dtype=kind)


def train(name: str, options: dict[str, Any], kind: str, fortran: bool = False) -> list[np.ndarray]:
    """Parameters and buffers after five steps with given gradients."""
    rng = np.random.default_rng(3)
    parameters = [agrad.tensor(numbers(rng, shape, kind), requires_grad=True) for shape in SHAPES]
    if fortran:
        parameters = [p.detach().clone().T.requires_grad_() if p.ndim == 2 else p for p in parameters]
    optimizer = getattr(agrad.optim, name)(parameters, **options)
    for step in range(5):
        for i, p in enumerate(parameters):
            p.grad = None if step == 1 and i == 2 else agrad.tensor(numbers(rng, p.shape, kind))
        optimizer.step()
    states = [value for p in parameters for value in optimizer.state[p].values()]
    return [t.detach().numpy() for t in (*parameters, *states)]


def by_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(type(NUMPY), "updates", {})
    monkeypatch.setattr(elementwise, "BLOCK", 16)


def by_tensors(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "write_in_place", lambda *_: False)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("name", "options"), TABLE, ids=IDS)
def test_the_three_forms_give_the_same_numbers(
    name: str, options: dict[str, Any], kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    compiled = train(name, options, kind)
    with monkeypatch.context() as patch:
        by_blocks(patch)
        blocks = train(name, options, kind)
    with monkeypatch.context() as patch:
        by_tensors(patch)
        tensors = train(name, options, kind)
    for a, b, c in zip(compiled, blocks, tensors, strict=True):
        assert a.dtype == b.dtype == c.dtype
        np.testing.assert_array_equal(a, b)
        np.testing.assert_array_equal(a, c)


@pytest.mark.parametrize(("name", "options"), TABLE, ids=IDS)
def test_not_a_number_stays_one(name: str, options: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """In the same elements in each form; infinite and huge gradients too."""
    def train() -> list[np.ndarray]:
        p = agrad.tensor([1.0, 2.0, np.nan, 0.0, -1.0, np.inf], requires_grad=True)
        optimizer = getattr(agrad.optim, name)([p], **options)
        for _ in range(3):
            p.grad = agrad.tensor([np.nan, 0.0, 1.0, np.inf, -1e200, 2.0])
            optimizer.step()
        return [t.detach().numpy() for t in (p, *optimizer.state[p].values())]

    compiled = train()
    assert np.isnan(compiled[0][0])
    assert np.isfinite(compiled[0][1])
    with monkeypatch.context() as patch:
        by_blocks(patch)
        for a, b in zip(compiled, train(), strict=True):
            np.testing.assert_array_equal(a, b)


@pytest.mark.skipif(not NUMPY.updates, reason="built without NumPy's headers: there are no compiled loops")
def test_every_formula_has_a_loop_and_plain_arrays_take_it(monkeypatch: pytest.MonkeyPatch) -> None:
    assert set(NUMPY.updates) == {options.formula.__name__ for options in elementwise.Elementwise.__subclasses__()}

    def refuse(*_: Any) -> None:
        raise AssertionError("not compiled")

    monkeypatch.setattr(elementwise, "write_blocks", refuse)
    for name, options in TABLE:
        p = agrad.tensor([[1.0, 2.0]], requires_grad=True)
        optimizer = getattr(agrad.optim, name)([p], **options)
        p.grad = agrad.tensor([[1.0, -1.0]])
        optimizer.step()


@pytest.mark.parametrize("layout", ["transposed", "strided", "float16", "swapped", "wider gradient"])
def test_arrays_that_are_not_plain_are_updated_block_by_block(layout: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(elementwise, "BLOCK", 8)
    values = np.linspace(-1.0, 1.0, 24).reshape(4, 6)
    raw = {
        "transposed": lambda: values.copy().T, "strided": lambda: np.repeat(values, 2, axis=1)[:, ::2],
        "float16": lambda: values.astype("float16"), "swapped": lambda: values.astype(">f8"),
        "wider gradient": lambda: values.astype("float32"),
    }[layout]()
    p = engine.make_tensor(NUMPY, raw, requires_grad=True)
    expected = agrad.tensor(raw.astype("float64"), requires_grad=True)
    ours, theirs = (agrad.optim.AdamW([t], lr=0.1, eps=1e-2) for t in (p, expected))
    g = 1.5 + np.cos(np.arange(24.0)).reshape(raw.shape)
    if layout == "wider gradient":
        p.grad_dtype = agrad.float64
        (p.to(dtype=agrad.float64) * agrad.tensor(g)).sum().backward()
        assert p.grad.dtype == agrad.float64
    else:
        p.grad = engine.make_tensor(NUMPY, g.astype(raw.dtype))
    expected.grad = agrad.tensor(g)
    for optimizer in (ours, theirs):
        optimizer.step()
    tolerance = {"float16": 3e-3, "wider gradient": 1e-6}.get(layout, 1e-12)
    np.testing.assert_allclose(raw.astype("float64"), expected.detach().numpy(), rtol=tolerance, atol=tolerance)


def test_blocks_cover_an_array_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(elementwise, "BLOCK", 10)
    for shape in [(), (3,), (25,), (4, 6), (100, 2), (2, 100), (5, 5, 5), (0, 40), (11, 1, 3)]:
        array = np.zeros(shape)
        for key in elementwise.blocks(shape):
            array[key] += 1
            assert array[key].size <= max(10, array.size // max(shape, default=1))
        assert (array == 1).all()


def test_a_formula_may_be_used_by_itself() -> None:
    c = updates.SGD(False, 0.0, 0.5, 0.0, 1.0, False)
    (new,) = updates.sgd(np, np.array([1.0, 2.0]), np.array([2.0, -2.0]), [], c)
    np.testing.assert_array_equal(new, [0.0, 3.0])


def test_loops_refuse_what_does_not_fit_the_formula() -> None:
    loops = pytest.importorskip("agrad.cython_core.numpy_updates").loops
    p, g = np.ones(3), np.ones(3)
    with pytest.raises(ValueError, match="1 targets, 1 gradients and 9 coefficients do not fit the formula"):
        loops["adam"]((p,), (g,), (0.0,) * 9)
    with pytest.raises(ValueError, match="do not fit"):
        loops["sgd"]((p, p), (g,), (0.0,) * 5)
    with pytest.raises(TypeError, match="found in `loops`"):
        type(loops["sgd"])()
    assert loops["sgd"]((), (), (0.0,) * 6) == []
    assert loops["sgd"]((p, np.ones(4)), (g, g), (0.0, 0.0, 0.5, 0.0, 1.0, 0.0)) == [1]
    read_only = np.ones(3)
    read_only.flags.writeable = False
    assert loops["sgd"]((read_only,), (g,), (0.0,) * 6) == [0]
