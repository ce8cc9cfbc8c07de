"""Section L: grad modes and inference mode. Threads and tasks at once are tested in test_threads.py."""

import asyncio
import threading

import pytest

pytestmark = pytest.mark.usefixtures("backend")


def test_s143_modes_nest_and_are_restored(torch):
    with torch.no_grad():
        with torch.enable_grad():
            with torch.set_grad_enabled(False):
                assert not torch.is_grad_enabled()
            assert torch.is_grad_enabled()
        assert not torch.is_grad_enabled()
    assert torch.is_grad_enabled()


@pytest.mark.parametrize("mode", ["no_grad", "enable_grad", "set_grad_enabled", "inference_mode"])
def test_s143_modes_are_restored_after_an_exception(mode, torch):
    enter = getattr(torch, mode)
    manager = enter(False) if mode == "set_grad_enabled" else enter()
    with pytest.raises(ZeroDivisionError), manager:
        1 / 0  # noqa: B018
    assert torch.is_grad_enabled()


@pytest.mark.parametrize("parentheses", [True, False])
@pytest.mark.parametrize("mode", ["no_grad", "inference_mode"])
def test_s143_modes_decorate_functions(mode, parentheses, torch, t):
    decorator = getattr(torch, mode)

    def double(x, *, factor=2):
        """Documented."""
        return x * factor

    decorated = (decorator() if parentheses else decorator)(double)
    assert decorated.__name__ == "double"
    assert decorated.__doc__ == "Documented."
    assert decorated(t, factor=3).requires_grad is False
    assert torch.is_grad_enabled()


def test_s143_a_decorated_function_may_be_called_by_itself(torch):
    @torch.no_grad()
    def count(n):
        assert not torch.is_grad_enabled()
        return 0 if n == 0 else 1 + count(n - 1)

    assert count(5) == 5
    assert torch.is_grad_enabled()


def test_s143_set_grad_enabled_acts_as_a_function(torch):
    torch.set_grad_enabled(False)
    try:
        assert not torch.is_grad_enabled()
        with torch.enable_grad():
            assert torch.is_grad_enabled()
        assert not torch.is_grad_enabled()
    finally:
        torch.set_grad_enabled(True)


def test_s143_a_manager_may_be_entered_again(torch):
    manager = torch.no_grad()
    for _ in range(2):
        with manager:
            assert not torch.is_grad_enabled()
        assert torch.is_grad_enabled()


def test_s144_a_decorated_generator_has_the_mode_inside_each_step(torch):
    @torch.no_grad()
    def steps():
        seen = yield torch.is_grad_enabled()
        while seen is not None:
            seen = yield (seen, torch.is_grad_enabled())

    generator = steps()
    assert next(generator) is False
    assert torch.is_grad_enabled()
    assert generator.send("sent") == ("sent", False)
    assert torch.is_grad_enabled()
    with torch.no_grad():
        assert generator.send("again") == ("again", False)
    with pytest.raises(StopIteration):
        generator.send(None)
    assert torch.is_grad_enabled()


def test_s144_decorating_a_class_is_deprecated(torch):
    with pytest.warns(FutureWarning):

        @torch.no_grad()
        class Model:
            def __init__(self):
                self.inside = torch.is_grad_enabled()

    assert Model().inside is False
    assert torch.is_grad_enabled()


def test_s145_results_in_no_grad_are_leaves(torch, t):
    with torch.no_grad():
        y = t * 2
        made = torch.ones(2, requires_grad=True)
    assert not y.requires_grad
    assert y.is_leaf
    assert y.grad_fn is None
    assert made.requires_grad


def test_s146_a_new_thread_starts_with_grad_mode_on(torch):
    seen = []
    with torch.no_grad():
        thread = threading.Thread(target=lambda: seen.append(torch.is_grad_enabled()))
        thread.start()
        thread.join()
    assert seen == [True]


@pytest.mark.differs("PyTorch's modes leak from task to task")
def test_s146_each_task_has_its_own_mode(torch):
    seen = []

    async def inside(entered, looked):
        with torch.no_grad():
            entered.set()
            await looked.wait()
            seen.append(torch.is_grad_enabled())

    async def outside(entered, looked):
        await entered.wait()
        seen.append(torch.is_grad_enabled())
        looked.set()

    async def main():
        entered, looked = asyncio.Event(), asyncio.Event()
        await asyncio.gather(inside(entered, looked), outside(entered, looked))

    asyncio.run(main())
    assert seen == [True, False]


def test_s147_inference_tensors(torch, t):
    with torch.inference_mode():
        x = torch.ones(2)
        y = t * 2
        assert torch.is_inference_mode_enabled()
    assert not torch.is_inference_mode_enabled()
    assert x.is_inference()
    assert y.is_inference()
    assert not y.requires_grad
    assert not t.is_inference()
    with pytest.raises(RuntimeError):
        x._version  # noqa: B018
    with pytest.raises(RuntimeError):
        t * x
    assert not (x * 2).requires_grad
    assert (t + x).requires_grad


def test_s147_inference_mode_can_be_switched_off(torch, t):
    with torch.inference_mode(False):
        assert (t * 2).requires_grad
    with torch.inference_mode(), torch.inference_mode(False):
        assert not torch.ones(2).is_inference()


def test_s148_inference_tensors_outside(torch):
    with torch.inference_mode():
        x = torch.ones(2)
        x.add_(1)
    with pytest.raises(RuntimeError):
        x.add_(1)
    with pytest.raises(RuntimeError):
        x.requires_grad_()
    assert not x.clone().is_inference()
    assert x[:1].is_inference()
    x.clone().requires_grad_()


@pytest.mark.differs("PyTorch refuses the write after having done it")
def test_s148_a_refused_write_changes_nothing(torch):
    with torch.inference_mode():
        x = torch.ones(2)
    with pytest.raises(RuntimeError):
        x.add_(1)
    assert x.tolist() == [1.0, 1.0]


def test_s149_enable_grad_has_no_effect_inside(torch, t):
    with torch.inference_mode(), torch.enable_grad():
        assert not (t * 2).requires_grad


def test_s149_a_normal_tensor_written_inside(torch):
    x = torch.ones(2)
    with torch.inference_mode():
        x.add_(1)
    assert x._version == 1
    assert x.tolist() == [2.0, 2.0]
