"""Threads, tasks, interrupts and walks inside walks."""

import _thread
import asyncio
import contextlib
import signal
import threading

import numpy as np
import pytest

import agrad

THREADS = 8


def in_threads(work, n=THREADS):
    """Run work(0) ... work(n - 1) at once and return the results; the first exception is raised here."""
    barrier, results, failures = threading.Barrier(n), [None] * n, []

    def run(i):
        try:
            barrier.wait()
            results[i] = work(i)
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=run, args=(i,)) for i in range(n)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise failures[0]
    return results


# ---- threads


def test_threads_with_graphs_of_their_own():
    def work(i):
        total = 0.0
        for step in range(200):
            x = agrad.tensor([float(i), float(step)], requires_grad=True)
            y = x
            for _ in range(5):
                y = y * 2 + x
            y.sum().backward()
            total += x.grad.sum().item()
        return total

    assert in_threads(work) == [200 * 2 * 63.0] * THREADS


def test_threads_walk_one_retained_graph():
    x = agrad.tensor([1.0, 2.0, 3.0], requires_grad=True)
    y = x
    for _ in range(100):
        y = agrad.sin(y) * 1.5 + y / 2
    root = y.sum()
    (expected,) = agrad.autograd.grad(root, x, retain_graph=True)

    def work(i):
        gradients = [agrad.autograd.grad(root, x, retain_graph=True)[0] for _ in range(50)]
        return all(g.tolist() == expected.tolist() for g in gradients)

    assert all(in_threads(work))
    assert x.grad is None


def test_threads_walk_graphs_that_share_their_trunk():
    x = agrad.tensor([1.0, 2.0], requires_grad=True)
    trunk = x
    for _ in range(50):
        trunk = trunk * 1.01

    def work(i):
        found = []
        for step in range(30):
            head = trunk * float(i + 1)
            for _ in range(step):
                head = head + trunk
            found.append(agrad.autograd.grad(head.sum(), x, retain_graph=True)[0].tolist())
        return found

    for i, found in enumerate(in_threads(work)):
        for step, g in enumerate(found):
            assert g == pytest.approx([1.01**50 * (i + 1 + step)] * 2)


def test_threads_add_to_one_large_leaf():
    # Small arrays would not show a lost addition: NumPy keeps the GIL for them.
    shared = agrad.tensor(np.zeros(1_000_000), requires_grad=True)

    def work(i):
        for step in range(4):
            (shared * float(i * 4 + step + 1)).sum().backward()

    in_threads(work)
    total = sum(range(1, 4 * THREADS + 1))
    assert shared.grad.shape == (1_000_000,)
    assert shared.grad.min().item() == shared.grad.max().item() == float(total)


def test_threads_add_to_one_leaf_with_hooks_and_retained_results():
    shared = agrad.tensor(np.ones(1000), requires_grad=True)
    shared.register_hook(lambda g: g * 2)

    def work(i):
        for _ in range(20):
            y = shared * 1.0
            y.retain_grad()
            y.sum().backward()
            assert y.grad.sum().item() == 1000.0

    in_threads(work)
    assert shared.grad.tolist() == [2.0 * 20 * THREADS] * 1000


def test_an_exception_in_one_thread_leaves_the_others_alone():
    shared = agrad.tensor([1.0], requires_grad=True)

    def work(i):
        for _ in range(50):
            y = shared * 1.0
            if i % 2:
                y.register_hook(lambda g: 1 / 0)
                with pytest.raises(ZeroDivisionError):
                    y.backward()
            else:
                y.backward()

    in_threads(work)
    assert shared.grad.tolist() == [50.0 * THREADS / 2]


def test_threads_drop_parts_of_one_graph():
    x = agrad.tensor([1.0], requires_grad=True)

    def work(i):
        for _ in range(20):
            y = trunk
            for _ in range(100):
                y = y + 1.0
            del y

    trunk = x * 2
    in_threads(work)
    trunk.backward()
    assert x.grad.tolist() == [2.0]


# ---- modes


def test_each_thread_has_its_own_grad_mode():
    entered, checked = threading.Barrier(2), threading.Barrier(2)

    def work(i):
        with agrad.no_grad() if i else contextlib.nullcontext():
            entered.wait()
            seen = agrad.is_grad_enabled(), (agrad.ones(1, requires_grad=True) * 2).requires_grad
            checked.wait()
        return seen, agrad.is_grad_enabled()

    assert in_threads(work, 2) == [((True, True), True), ((False, False), True)]


def test_a_mode_set_by_a_call_stays_in_its_thread():
    def work(i):
        agrad.set_grad_enabled(i == 0)
        return agrad.is_grad_enabled()

    assert in_threads(work, 2) == [True, False]
    assert agrad.is_grad_enabled()


@pytest.mark.parametrize("mode", ["no_grad", "inference_mode"])
def test_each_task_has_its_own_grad_mode(mode):
    seen = []

    async def without(turn, other):
        with getattr(agrad, mode)():
            turn.set()
            await other.wait()
            seen.append(("without", agrad.is_grad_enabled()))
        seen.append(("after", agrad.is_grad_enabled()))

    async def with_grad(turn, other):
        await turn.wait()
        seen.append(("with", agrad.is_grad_enabled()))
        other.set()

    async def main():
        turn, other = asyncio.Event(), asyncio.Event()
        await asyncio.gather(without(turn, other), with_grad(turn, other))

    asyncio.run(main())
    assert seen == [("with", True), ("without", False), ("after", True)]
    assert agrad.is_grad_enabled()


def test_tasks_may_leave_their_modes_in_any_order():
    seen = []

    async def nested(first, until, after):
        with agrad.no_grad():
            first.set()
            await until.wait()
        seen.append(agrad.is_grad_enabled())
        after.set()

    async def main():
        a, b, c, d = (asyncio.Event() for _ in range(4))
        one = asyncio.create_task(nested(a, b, c))
        await a.wait()
        two = asyncio.create_task(nested(d, c, asyncio.Event()))
        await d.wait()
        b.set()
        await asyncio.gather(one, two)
        seen.append(agrad.is_grad_enabled())

    asyncio.run(main())
    assert seen == [True, True, True]


def packs():
    """Whether a hook saw what a product saves."""
    seen = []
    with contextlib.suppress(RuntimeError), agrad.autograd.graph.saved_tensors_hooks(seen.append, lambda t: t):
        agrad.ones(1).requires_grad_() ** 2
    return len(seen)


def saves_a_copy():
    y = agrad.exp(agrad.ones(1).requires_grad_())
    y.zero_()
    try:
        y.sum().backward()
    except RuntimeError:
        return False
    return True


def keeps_zeros():
    x = agrad.zeros(1).requires_grad_()
    (g,) = agrad.autograd.grad(agrad.where(x > 0, agrad.sqrt(x), 0.0).sum(), x)
    return g.item() == 0.0


def notes_tracebacks():
    return "traceback_" in (agrad.ones(1).requires_grad_() * 2).grad_fn.metadata


def has_a_level():
    try:
        agrad.autograd.forward_ad.make_dual(agrad.ones(1), agrad.ones(1))
    except RuntimeError:
        return False
    return True


HOOKED = []


def note_hook(t):
    HOOKED.append(threading.get_ident())
    return t


def is_hooked():
    before = len(HOOKED)
    agrad.ones(1).requires_grad_() ** 2
    return len(HOOKED) > before


MODES = {  # name: (enter it, what can be seen of it)
    "no_grad": (agrad.no_grad, agrad.is_grad_enabled),
    "inference_mode": (agrad.inference_mode, agrad.is_inference_mode_enabled),
    "use_backend": (lambda: agrad.use_backend("array_api_strict"), agrad.get_default_backend),
    "zero_stays_zero": (agrad.autograd.zero_stays_zero, keeps_zeros),
    "mutation": (agrad.autograd.graph.allow_mutation_on_saved_tensors, saves_a_copy),
    "hooks": (lambda: agrad.autograd.graph.saved_tensors_hooks(note_hook, lambda t: t), is_hooked),
    "no hooks": (lambda: agrad.autograd.graph.disable_saved_tensors_hooks("no"), packs),
    "detect_anomaly": (lambda: agrad.autograd.detect_anomaly(check_nan=False), notes_tracebacks),
    "dual_level": (lambda: agrad.autograd.forward_ad.dual_level(), has_a_level),
}
each_mode = pytest.mark.parametrize("name", MODES)
quietly = pytest.mark.filterwarnings("ignore:Anomaly Detection")


@quietly
@each_mode
def test_a_mode_does_not_reach_other_threads(name):
    mode, look = MODES[name]
    usual, seen = look(), []
    with mode():
        thread = threading.Thread(target=lambda: seen.append(look()))
        thread.start()
        thread.join()
        assert look() != usual
    assert seen == [usual]
    assert look() == usual


@quietly
@each_mode
def test_a_mode_does_not_reach_other_tasks(name):
    mode, look = MODES[name]
    usual, seen = look(), []

    async def inside(entered, looked):
        with mode():
            entered.set()
            await looked.wait()
            seen.append(look())
        seen.append(look())

    async def outside(entered, looked):
        await entered.wait()
        seen.append(look())
        looked.set()

    async def main():
        entered, looked = asyncio.Event(), asyncio.Event()
        await asyncio.gather(inside(entered, looked), outside(entered, looked))

    asyncio.run(main())
    assert seen[0] == usual == seen[2]
    assert seen[1] != usual


@quietly
@pytest.mark.parametrize("name", [name for name in MODES if name != "dual_level"])  # a level ends with its block
def test_a_task_started_inside_a_mode_is_inside(name):
    mode, look = MODES[name]
    usual = look()

    async def child():
        return look()

    async def main():
        with mode():
            task = asyncio.create_task(child())
        return await task, look()

    within, after = asyncio.run(main())
    assert within != usual == after


@quietly
@each_mode
def test_a_mode_ends_with_an_exception(name):
    mode, look = MODES[name]
    usual = look()
    with pytest.raises(KeyError), mode():
        raise KeyError
    assert look() == usual


# ---- interrupts


def assert_usable(x):
    """Modes, locks and leaves work as before."""
    assert agrad.is_grad_enabled()
    before = 0.0 if x.grad is None else x.grad.sum().item()
    (x * 3).sum().backward()
    assert x.grad.sum().item() == before + 3.0 * x.detach().numpy().size


@pytest.fixture
def alarm():
    """alarm() makes the process get a signal a moment later, which raises KeyboardInterrupt like Ctrl-C."""
    if not hasattr(signal, "setitimer"):
        pytest.skip("no interval timer on this platform")
    previous = signal.signal(signal.SIGALRM, signal.default_int_handler)
    yield lambda: signal.setitimer(signal.ITIMER_REAL, 0.001)
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, previous)


@pytest.mark.parametrize("create_graph", [False, True])
def test_a_long_walk_can_be_interrupted(alarm, create_graph):
    x = agrad.tensor(1.0, requires_grad=True)
    y = x
    for _ in range(1_000_000):
        y = y * 1.0
    reached = []
    y.register_hook(lambda g: alarm() and None)
    handle = x.register_hook(reached.append)
    with pytest.raises(KeyboardInterrupt):
        agrad.autograd.grad(y, x, create_graph=create_graph)
    assert reached == []
    handle.remove()
    assert_usable(x)


@pytest.fixture
def ctrl_c_raises():
    """SIGINT raises KeyboardInterrupt, also where a background job of a shell inherited that it is ignored."""
    previous = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, previous)


@pytest.mark.usefixtures("ctrl_c_raises")
def test_another_thread_can_interrupt_a_long_walk():
    x = agrad.tensor(np.ones(10_000), requires_grad=True)
    y = x
    for _ in range(60_000):
        y = y * 1.0
    started = threading.Event()

    def interrupt():
        started.wait()
        _thread.interrupt_main()

    thread = threading.Thread(target=interrupt)
    thread.start()
    handle = y.register_hook(lambda g: started.set())
    root = y.sum()
    with pytest.raises(KeyboardInterrupt):
        root.backward()  # takes a good part of a second if nobody interrupts it
    thread.join()
    handle.remove()
    assert x.grad is None
    assert_usable(x)


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit, GeneratorExit, MemoryError])
def test_any_exception_leaves_a_walk_in_order(error):
    x = agrad.tensor([1.0, 2.0], requires_grad=True)

    def stop(g):
        assert not agrad.is_grad_enabled()
        raise error

    middle = x * 2
    root = middle.sum()
    for where in (x, middle):
        handle = where.register_hook(stop)
        with agrad.no_grad():
            with pytest.raises(error):
                root.backward(retain_graph=True)
            assert not agrad.is_grad_enabled()
        handle.remove()
    assert x.grad is None
    assert_usable(x)


# ---- walks inside walks


def test_a_hook_may_walk_back_to_the_same_leaf():
    x = agrad.tensor([1.0, 2.0], requires_grad=True)

    def again(g):
        handle.remove()
        with agrad.enable_grad():
            (x * 10).sum().backward()

    handle = x.register_hook(again)
    (x * 2).sum().backward()
    assert x.grad.tolist() == [12.0, 12.0]


def test_a_hook_may_walk_the_graph_that_is_being_walked():
    x = agrad.tensor([1.0, 2.0], requires_grad=True)
    inner = []

    def again(g):
        if not inner:
            inner.append(None)
            inner.append(agrad.autograd.grad(y, x, retain_graph=True)[0].tolist())

    middle = x * x
    middle.register_hook(again)
    y = (middle * 3).sum()
    y.backward(retain_graph=True)
    assert inner[1] == [6.0, 12.0]
    assert x.grad.tolist() == [6.0, 12.0]


def test_a_hook_may_differentiate_its_gradient():
    x = agrad.tensor([1.0, 2.0], requires_grad=True)
    seen = []

    def second(g):
        if g.requires_grad:
            seen.append(agrad.autograd.grad(g.sum(), x, retain_graph=True)[0].tolist())

    x.register_hook(second)
    agrad.autograd.grad((x**3).sum(), x, create_graph=True)
    assert seen == [[6.0, 12.0]]


def test_a_hook_may_build_and_drop_deep_graphs():
    x = agrad.tensor(1.0, requires_grad=True)

    def build(g):
        with agrad.enable_grad():
            y = x
            for _ in range(100_000):
                y = y + 1.0
            y.backward()

    middle = x * 2
    middle.register_hook(build)
    middle.backward()
    assert x.grad.item() == 3.0


def test_walks_may_nest_in_every_thread():
    shared = agrad.tensor([1.0], requires_grad=True)

    def work(i):
        def descend(g, depth=20):
            if depth:
                with agrad.enable_grad():
                    inner = shared * 1.0
                inner.register_hook(lambda g: descend(g, depth - 1))
                inner.backward(g)

        outer = shared * 1.0
        outer.register_hook(descend)
        outer.backward()

    in_threads(work)
    assert shared.grad.tolist() == [21.0 * THREADS]
