"""Checkpoints: the same gradients from less memory, whatever is done with the function and the walk."""

import asyncio
import contextlib
import gc
import threading
import weakref

import pytest
from checkpointed import Counted, engine_is_in_order, leaf, wave

import agrad
from agrad.autograd import grad
from agrad.utils.checkpoint import checkpoint, checkpoint_sequential, noop_context_fn, set_checkpoint_early_stop

pytestmark = pytest.mark.usefixtures("doubles")    # gradients are compared exactly: both ways compute the same numbers


def arrays_alive(make):
    """How many of the arrays that `make(watch)` hands to `watch` live when it is done; and its result."""
    watched = []
    result = make(lambda t: watched.append(weakref.ref(t.array)) or t)
    return sum(array() is not None for array in watched), result


# ---- gradients


def indexed(x):
    y = x[agrad.asarray([2, 0, 0])] * x
    return y[1:] * y[:-1]


def written(x):
    y = x * 2
    y[0] = agrad.sin(x[1])
    y *= x
    z = agrad.exp(y)
    y += 1
    return y * z


def views(x):
    y = x * 1
    row = agrad.reshape(y, (3, 1))
    row *= 3
    return y * row[:, 0]


def partly_untracked(x):
    with agrad.no_grad():
        scale = agrad.sum(x * x)
    return agrad.sin(x) * scale + x.detach() * x


def with_constants(x):
    return agrad.where(x > 0.6, x * agrad.asarray([3.0, 4.0, 5.0]), 2.0**x)


def matrix(x):
    a = agrad.tensordot(x, x, axes=0) + agrad.eye(3)
    return agrad.linalg.inv(a) @ x


def ties(x):
    return agrad.stack([x.max(), agrad.prod(x), agrad.linalg.vector_norm(x)])


PROGRAMS = [wave, indexed, written, views, partly_untracked, with_constants, matrix, ties]
by_name = pytest.mark.parametrize("program", PROGRAMS, ids=lambda program: program.__name__)


@by_name
def test_the_gradient_is_that_without_a_checkpoint(program, backend):
    x = leaf(0.5, 1.5, 0.7)
    counted = Counted(program)
    y, plain = checkpoint(counted, x), program(x)
    assert y.tolist() == plain.tolist()
    assert counted.calls == 1
    weights = agrad.arange(y.size, dtype=agrad.float64).reshape(y.shape) + 1.0
    assert grad((y * weights).sum(), x)[0].tolist() == grad((plain * weights).sum(), x)[0].tolist()
    assert counted.calls == 2


@by_name
def test_second_order_is_that_without_a_checkpoint(program, backend):
    def second(y, x):
        (first,) = grad(y.sum(), x, create_graph=True)
        (result,) = grad((first * first).sum(), x)
        return first.tolist() + result.tolist()

    x = leaf(0.5, 1.5, 0.7)
    assert second(checkpoint(program, x), x) == pytest.approx(second(program(x), x), rel=1e-14)


def test_complex_numbers(backend):
    z = leaf(0.5 + 1j, 2 - 0.3j)

    def f(z):
        return agrad.abs(agrad.exp(z) * agrad.conj(z))

    assert grad(checkpoint(f, z).sum(), z)[0].tolist() == grad(f(z).sum(), z)[0].tolist()


def test_backward_adds_to_what_the_function_closes_over(backend):
    x, w = leaf(1.0, 2.0), leaf(3.0, 4.0)
    for _ in range(2):
        checkpoint(lambda x: agrad.sin(x * w) * w, x).sum().backward()
    gx, gw = grad((agrad.sin(x * w) * w).sum(), (x, w))
    assert x.grad.tolist() == (2 * gx).tolist()
    assert w.grad.tolist() == (2 * gw).tolist()


def test_no_argument_needs_a_gradient():
    w = leaf(3.0)
    y = checkpoint(lambda x: agrad.sin(x * w), agrad.tensor([2.0]))
    assert y.requires_grad
    assert grad(y.sum(), w)[0].tolist() == grad(agrad.sin(2.0 * w).sum(), w)[0].tolist()
    assert not checkpoint(agrad.sin, agrad.tensor([2.0])).requires_grad


# ---- arguments and results


def test_keywords_other_arguments_and_several_results():
    def f(x, power, *, shift, names):
        return {"sum": (x**power).sum() + shift, "names": names}, [x * shift, None, "text"]

    x, shift = leaf(1.0, 2.0), leaf(0.5)
    found, listed = checkpoint(f, x, 3, shift=shift, names=("a", "b"))
    assert found["names"] == ("a", "b")
    assert listed[1:] == [None, "text"]
    gx, gs = grad(found["sum"] + listed[0].sum(), (x, shift))
    assert gx.tolist() == [3.0 + 0.5, 12.0 + 0.5]
    assert gs.tolist() == [1.0 + 3.0]


def test_a_result_may_be_unused_or_used_alone():
    x = leaf(1.0, 2.0)
    f = Counted(lambda x: (agrad.sin(x), agrad.cos(x)))
    a, b = checkpoint(f, x)
    assert grad(b.sum(), x, retain_graph=True)[0].tolist() == (-agrad.sin(x)).tolist()
    assert grad(a.sum(), x)[0].tolist() == agrad.cos(x).tolist()
    assert f.calls == 3


def test_an_argument_may_be_returned():
    x = leaf(1.0, 2.0)
    y, same = checkpoint(lambda x: (agrad.sin(x), x), x)
    assert same is x
    assert grad((y * same).sum(), x)[0].tolist() == grad((agrad.sin(x) * x).sum(), x)[0].tolist()


def test_the_function_sees_the_leaf_itself_every_time():
    x = leaf(2.0)
    seen = []
    grad(checkpoint(lambda t: seen.append(t is x) or t * t, x).sum(), x)
    assert seen == [True, True]


def test_without_grad_mode_it_is_a_call():
    x = leaf(1.0)
    with agrad.no_grad():
        assert checkpoint(lambda x: (x * 2).requires_grad, x) is False


# ---- how often


def test_one_run_per_walk():
    x = leaf(0.5)
    f = Counted(lambda x: wave(wave(wave(x))))
    y = checkpoint(f, x)
    for walks in (1, 2, 3):
        y.backward(retain_graph=True)
        assert f.calls == 1 + walks
    grad(y, x, create_graph=True)
    assert f.calls == 5
    y.backward()
    assert f.calls == 6
    with pytest.raises(RuntimeError, match="second time"):
        y.backward()
    assert f.calls == 6


def test_a_walk_that_asks_for_no_value_runs_nothing():
    x, other = leaf(0.5), leaf(1.0)
    f = Counted(wave)
    y = checkpoint(f, x) + other * other
    grad(y, other)
    assert f.calls == 1


def test_a_walk_of_second_order_is_one_more_walk():
    x = leaf(0.5, 1.0)
    f = Counted(wave)
    (first,) = grad(checkpoint(f, x).sum(), x, create_graph=True)
    assert f.calls == 2
    grad(first.sum(), x)
    assert f.calls == 3


def test_several_checkpoints_run_once_each():
    x = leaf(0.5)
    functions = [Counted(agrad.sin), Counted(agrad.exp), Counted(wave)]
    y = x
    for f in functions:
        y = checkpoint(f, y)
    y.backward()
    assert [f.calls for f in functions] == [2, 2, 2]


def test_early_stop_ends_a_run_after_the_last_value():
    x, reached = leaf(0.5), []

    def f(x):
        y = agrad.sin(x)
        reached.append("sin")
        y = y + 1  # saves nothing
        reached.append("end")
        return y

    checkpoint(f, x).backward()
    assert reached == ["sin", "end"]  # the second run ended inside sin()
    reached.clear()
    with set_checkpoint_early_stop(False):
        checkpoint(f, x).backward()
    assert reached == ["sin", "end", "sin", "end"]
    reached.clear()
    set_checkpoint_early_stop(False)(lambda: checkpoint(f, x).backward())()
    assert reached == ["sin", "end", "sin", "end"]
    reached.clear()
    checkpoint(f, x, early_stop=False).backward()
    assert reached == ["sin", "end", "sin", "end"]
    reached.clear()
    with set_checkpoint_early_stop(False), set_checkpoint_early_stop(True):
        checkpoint(f, x, early_stop=False).backward()
    assert reached == ["sin", "end"]


def test_early_stop_counts_only_values_that_are_still_needed():
    x, reached = leaf(0.5), []

    def f(x):
        y = agrad.sin(x)
        dropped = agrad.exp(x)
        reached.append(dropped.item())
        return y

    checkpoint(f, x).backward()
    assert len(reached) == 1


def test_early_stop_is_no_exception_of_the_function():
    def careful(x):
        try:
            return agrad.sin(agrad.exp(x))
        except Exception:
            return x * 100.0

    x = leaf(0.5)
    assert grad(checkpoint(careful, x), x)[0].tolist() == grad(agrad.sin(agrad.exp(x)), x)[0].tolist()


# ---- memory


def test_values_are_freed_at_once_and_again_after_the_walk(backend):
    gc.disable()
    try:
        x = agrad.ones(1000).requires_grad_()

        def chain(watch):
            def f(x):
                for _ in range(10):
                    x = watch(agrad.sin(x))
                return x

            return f

        kept, _y = arrays_alive(lambda watch: chain(watch)(x))
        assert kept == 10
        watched = []
        y = checkpoint(chain(lambda t: watched.append(weakref.ref(t.array)) or t), x)
        alive = [i for i, array in enumerate(watched) if array() is not None]
        assert alive == [9]  # the result
        y.sum().backward()
        assert len(watched) >= 19
        assert [i for i, array in enumerate(watched) if array() is not None] == [9]
        del y
        assert not any(array() is not None for array in watched)
    finally:
        gc.enable()


@pytest.mark.parametrize("retain_graph", [False, True])
def test_values_of_a_walk_go_while_it_is_under_way_or_with_it(retain_graph):
    gc.disable()
    try:
        x, watched, counts = leaf(0.5), [], []

        def f(x):
            for _ in range(10):
                x = agrad.sin(x)
                watched.append(weakref.ref(x.array))
            return x

        x.register_hook(lambda g: counts.append(sum(array() is not None for array in watched)))
        y = checkpoint(f, x)
        y.backward(retain_graph=retain_graph)
        assert counts[0] <= (11 if retain_graph else 3)
        assert sum(array() is not None for array in watched) == 1
    finally:
        gc.enable()


def test_the_arguments_are_freed_with_the_graph():
    gc.disable()
    try:
        x = leaf(0.5)
        middle = x * 2
        array = weakref.ref(middle.array)
        y = checkpoint(wave, middle)
        del middle
        assert array() is not None
        y.backward()
        assert array() is None
    finally:
        gc.enable()


def test_a_graph_that_is_dropped_leaves_no_cycle():
    gc.collect()
    gc.disable()
    try:
        x = leaf(0.5)
        inner = Counted(wave)
        outer = Counted(lambda x, f=inner: wave(checkpoint(f, x * 2)))
        held = weakref.ref(inner), weakref.ref(outer)
        y = checkpoint(outer, x)
        del inner, outer
        y.backward(retain_graph=True)
        assert all(f() is not None for f in held)
        del y
        assert not any(f() is not None for f in held)
    finally:
        gc.enable()


# ---- checkpoints inside checkpoints


def test_nested_checkpoints(backend):
    x = leaf(0.5, 0.1)
    calls = []

    def inner(y, name):
        calls.append(name)
        return agrad.sin(agrad.exp(y))

    def middle(y):
        return checkpoint(inner, checkpoint(inner, y * 2, "a") * 3, "b") + y

    def outer(y):
        return checkpoint(middle, checkpoint(middle, y))

    def plain(y):
        for _ in range(2):
            y = agrad.sin(agrad.exp(agrad.sin(agrad.exp(y * 2)) * 3)) + y
        return y

    y = checkpoint(outer, x)
    assert calls == ["a", "b"] * 2
    (first,) = grad(y.sum(), x, create_graph=True)
    (expected,) = grad(plain(x).sum(), x, create_graph=True)
    assert first.tolist() == pytest.approx(expected.tolist(), rel=1e-14)
    assert grad(first.sum(), x)[0].tolist() == pytest.approx(grad(expected.sum(), x)[0].tolist(), rel=1e-13)


def test_the_argument_of_an_inner_checkpoint_is_not_kept():
    gc.disable()
    try:
        x = leaf(0.5)
        watched = []

        def outer(x):
            y = agrad.sin(x)
            watched.append(weakref.ref(y.array))
            return checkpoint(agrad.exp, y)

        z = checkpoint(outer, x)
        assert watched[0]() is None
        assert grad(z, x)[0].tolist() == grad(agrad.exp(agrad.sin(x)), x)[0].tolist()
    finally:
        gc.enable()


@pytest.mark.parametrize("depth", [1, 2, 5])
def test_depths(depth):
    def nest(depth):
        return wave if depth == 0 else lambda x: agrad.sin(checkpoint(nest(depth - 1), x * 0.9))

    def plain(x):
        for _ in range(depth):
            x = x * 0.9
        x = wave(x)
        for _ in range(depth):
            x = agrad.sin(x)
        return x

    x = leaf(0.3)
    assert grad(nest(depth)(x), x)[0].tolist() == pytest.approx(grad(plain(x), x)[0].tolist(), rel=1e-14)


# ---- what the function may do


def test_a_walk_inside_the_function():
    def slope(x):
        y = wave(x)
        (g,) = grad(y.sum(), x, create_graph=True)
        return g * g

    x = leaf(0.5, 0.8)
    (expected,) = grad(slope(x).sum(), x)
    assert grad(checkpoint(slope, x).sum(), x)[0].tolist() == pytest.approx(expected.tolist(), rel=1e-14)
    with set_checkpoint_early_stop(False):
        assert grad(checkpoint(slope, x).sum(), x)[0].tolist() == pytest.approx(expected.tolist(), rel=1e-14)


def test_random_numbers_are_the_same_in_every_run(backend):
    seen = []

    def noisy(x):
        noise = agrad.rand(2) + agrad.randn(2)
        seen.append(noise.tolist())
        return agrad.sin(x * noise)

    agrad.manual_seed(3)
    x = leaf(0.5, 0.8)
    y = checkpoint(noisy, x)
    following = agrad.random.get_rng_state()
    expected = grad(agrad.sin(x * agrad.asarray(seen[0])).sum(), x)[0].tolist()
    agrad.rand(7)
    elsewhere = agrad.random.get_rng_state()
    assert grad(y.sum(), x)[0].tolist() == expected
    assert seen[0] == seen[1]
    assert agrad.random.get_rng_state() == elsewhere != following


def test_random_numbers_go_on_without_preserve_rng_state():
    seen = []

    def noisy(x):
        seen.append(agrad.rand(2).tolist())
        return agrad.sin(x) * agrad.asarray(seen[-1])

    x = leaf(0.5, 0.8)
    checkpoint(noisy, x, preserve_rng_state=False).sum().backward()
    assert seen[0] != seen[1]


def test_modes_are_those_of_the_first_run():
    seen = []

    def f(x):
        seen.append((agrad.is_grad_enabled(), agrad.get_default_backend(), agrad.is_inference_mode_enabled()))
        return agrad.sin(x) * agrad.ones(1)

    with agrad.use_backend("array_api_strict"):
        x = leaf(0.5)
        y = checkpoint(f, x)
    with agrad.no_grad():
        y.backward()
        assert not agrad.is_grad_enabled()
    assert seen == [(True, "array_api_strict", False)] * 2
    assert agrad.get_default_backend() == "numpy"


def test_contexts_for_the_first_run_and_the_others():
    entered = []

    class Note(contextlib.AbstractContextManager):
        def __init__(self, name):
            self.name = name

        def __enter__(self):
            entered.append(self.name)

        def __exit__(self, *_):
            entered.append("end of " + self.name)

    x = leaf(0.5)
    y = checkpoint(wave, x, context_fn=lambda: (Note("first"), Note("further")))
    y.backward(retain_graph=True)
    y.backward()
    assert entered == ["first", "end of first", *["further", "end of further"] * 2]
    assert all(isinstance(c, contextlib.AbstractContextManager) for c in noop_context_fn())


def test_an_exception_of_the_first_run_comes_through():
    with pytest.raises(ZeroDivisionError):
        checkpoint(lambda x: x / (1 // 0), leaf(1.0))
    assert engine_is_in_order()


def test_an_exception_of_a_further_run_comes_through_and_the_next_walk_works():
    x, fails = leaf(0.5), [False, True, False]

    def f(x):
        y = agrad.sin(x)
        if fails.pop(0):
            raise KeyError("here")
        return agrad.exp(y)

    y = checkpoint(f, x)
    with pytest.raises(KeyError, match="here"):
        y.backward()
    assert x.grad is None
    assert engine_is_in_order()
    y.backward()
    assert x.grad.tolist() == grad(agrad.exp(agrad.sin(x)), x)[0].tolist()


# ---- threads and tasks


def test_threads_may_walk_one_graph_at_once():
    x = leaf(0.5, 0.25)
    y = checkpoint(lambda x: wave(checkpoint(wave, x)), x)
    (expected,) = grad(wave(wave(x)).sum(), x)
    found = []

    def work():
        for _ in range(20):
            found.append(grad(y.sum(), x, retain_graph=True)[0].tolist())

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 80
    assert all(g == pytest.approx(expected.tolist(), rel=1e-14) for g in found)


def test_the_walk_may_be_in_another_thread():
    x = leaf(0.5)
    y = checkpoint(wave, x)
    thread = threading.Thread(target=y.backward)
    thread.start()
    thread.join()
    assert x.grad.tolist() == grad(wave(x), x)[0].tolist()


def test_early_stop_is_set_per_task():
    runs = {}

    def f(x, name):
        y = agrad.sin(x)
        runs[name] = runs.get(name, 0) + 1
        return y

    async def without(turn, other):
        with set_checkpoint_early_stop(False):
            turn.set()
            await other.wait()
            checkpoint(f, leaf(0.5), "without").backward()

    async def usual(turn, other):
        await turn.wait()
        checkpoint(f, leaf(0.5), "usual").backward()
        other.set()

    async def main():
        turn, other = asyncio.Event(), asyncio.Event()
        await asyncio.gather(without(turn, other), usual(turn, other))

    asyncio.run(main())
    assert runs == {"usual": 1, "without": 2}


def test_a_hook_may_walk_the_graph_again():
    x = leaf(0.5)
    f = Counted(lambda x: agrad.exp(agrad.sin(x)))
    seen = []
    y = checkpoint(f, x)
    middle = y * 2

    def again(g):
        if not seen:
            seen.append(None)
            seen.append(grad(y, x, retain_graph=True)[0].tolist())

    middle.register_hook(again)
    middle.backward(retain_graph=True)
    assert f.calls == 3  # one for the outer walk, one for the inner
    assert x.grad.tolist() == [2 * v for v in seen[1]]


# ---- in segments


@pytest.mark.parametrize(
    ("segments", "calls"), [(1, [1, 1, 1, 1, 1]), (2, [2, 2, 1, 1, 1]), (3, [2, 2, 1, 1, 1]), (5, [2, 2, 2, 2, 1])]
)
def test_segments(segments, calls, backend):
    functions = [Counted(f) for f in (agrad.sin, agrad.exp, agrad.cos, wave, agrad.sin)]
    x = leaf(0.5, 0.1)
    y = checkpoint_sequential(functions, segments, x)
    plain = x
    for f in functions:
        plain = f.function(plain)
    assert y.tolist() == plain.tolist()
    assert grad(y.sum(), x)[0].tolist() == grad(plain.sum(), x)[0].tolist()
    assert [f.calls for f in functions] == calls


@pytest.mark.parametrize("segments", [0, 4, -1])
def test_too_many_segments_are_refused(segments):
    with pytest.raises(ValueError, match="from 1 to 3"):
        checkpoint_sequential([agrad.sin] * 3, segments, leaf(1.0))


# ---- as PyTorch does


RUN_COUNTS = {  # what is done with y = checkpoint(f, x)
    "three walks": lambda m, y, x: [y.backward(retain_graph=keep) for keep in (True, True, False)],
    "second order": lambda m, y, x: m.autograd.grad(m.autograd.grad(y, x, create_graph=True)[0], x),
    "two roots": lambda m, y, x: m.autograd.backward([y, y]),
    "not used": lambda m, y, x: m.autograd.grad(y, y),
}


@pytest.mark.parametrize("name", RUN_COUNTS)
def test_pytorch_counts_the_same_runs(name):
    torch = pytest.importorskip("torch")
    from torch.utils.checkpoint import checkpoint as theirs

    calls = {}
    for library, call in ((agrad, checkpoint), (torch, theirs)):
        inner = Counted(lambda x, m=library: m.exp(m.sin(x)) * x)
        outer = Counted(lambda x, m=library, f=inner, call=call: m.sin(call(f, m.cos(x), use_reentrant=False)))
        x = library.tensor([0.5], dtype=library.float64, requires_grad=True)
        RUN_COUNTS[name](library, call(outer, x, use_reentrant=False), x)
        calls[library] = inner.calls, outer.calls
    assert calls[agrad] == calls[torch]
