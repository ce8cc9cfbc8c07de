"""When graphs, saved values and gradients die: by reference count alone, at once, and without recursion."""

import gc
import os
import sys
import threading
import weakref

import numpy as np
import pytest

import agrad


@pytest.fixture
def no_collector():
    """What dies in the test dies by reference count."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


class Witness:
    """Something that weak references can watch."""


def leaf(n=3):
    return agrad.tensor(np.arange(1.0, n + 1), requires_grad=True)


def watched(n=3):
    """A constant tensor and a weak reference to its memory."""
    array = np.full(n, 2.0)
    return agrad.from_numpy(array), weakref.ref(array)


# ---- by reference count


@pytest.mark.usefixtures("no_collector")
def test_a_graph_does_not_hold_the_tensors_that_it_connects():
    x = leaf()
    middle = x * x
    alive = weakref.ref(middle)
    y = middle.exp().sum()
    del middle
    assert alive() is None
    y.backward()
    assert x.grad is not None


@pytest.mark.usefixtures("no_collector")
def test_a_graph_holds_its_leaf():
    x = leaf()
    alive = weakref.ref(x)
    y = (x * x).sum()
    del x
    assert alive() is not None
    del y
    assert alive() is None


@pytest.mark.usefixtures("no_collector")
@pytest.mark.parametrize("walk", ["no walk", "backward", "retained", "grad", "second order", "failed"])
def test_a_graph_dies_with_its_root(walk):
    x = leaf()
    constant, alive = watched()
    y = (x * constant).exp().sum()
    del constant
    assert alive() is not None
    if walk == "backward":
        y.backward()
        assert alive() is None  # the values go with the walk, the nodes with the root
    elif walk == "retained":
        y.backward(retain_graph=True)
        assert alive() is not None
    elif walk == "grad":
        agrad.autograd.grad(y, x, retain_graph=True)
    elif walk == "second order":
        (g,) = agrad.autograd.grad(y, x, create_graph=True)
        (h,) = agrad.autograd.grad((g * g).sum(), x)
        del g, h
    elif walk == "failed":
        z = y * 1
        z.register_hook(lambda g: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            z.backward()
        del z
    del y
    assert alive() is None


@pytest.mark.usefixtures("no_collector")
def test_the_graph_of_a_gradient_dies_with_the_gradient():
    x = leaf()
    constant, alive = watched()
    (g,) = agrad.autograd.grad((x * constant).exp().sum(), x, create_graph=True)
    del constant
    assert alive() is not None
    del g
    assert alive() is None


@pytest.mark.usefixtures("no_collector")
def test_a_leaf_and_its_gradient_die_together():
    x = leaf()
    (x * x).sum().backward()
    alive = weakref.ref(x), weakref.ref(x.grad)
    del x
    assert [reference() for reference in alive] == [None, None]


@pytest.mark.usefixtures("no_collector")
def test_an_unfinished_walk_lets_go_of_everything():
    x = leaf()
    constant, alive = watched()

    def fail(g):
        raise KeyError

    middle = x * constant
    middle.register_hook(fail)
    y = (middle * middle).sum()
    del constant, middle
    with pytest.raises(KeyError):
        y.backward()
    del y, fail
    assert alive() is None


# ---- what is saved, and for how long


@pytest.mark.usefixtures("no_collector")
def test_saved_values_go_as_the_walk_passes():
    x = leaf()
    first, first_alive = watched()
    last, last_alive = watched()
    middle = x * first
    y = (middle * last).sum()
    del first, last
    seen = []
    middle.register_hook(lambda g: seen.append((first_alive() is None, last_alive() is None)))
    y.backward()
    assert seen == [(False, True)]
    assert first_alive() is None


@pytest.mark.usefixtures("no_collector")
def test_cotangents_go_as_the_walk_passes():
    x = leaf()
    a = x * 2
    b = a.exp()
    cotangents, seen = [], []
    b.register_hook(lambda g: cotangents.append(weakref.ref(g)))
    x.register_hook(lambda g: seen.append(cotangents[0]() is None))
    b.sum().backward()
    assert seen == [True]


@pytest.mark.usefixtures("no_collector")
def test_only_what_a_rule_names_is_saved():
    x = leaf()
    middle = x.exp() + 1
    alive = weakref.ref(middle.array)
    y = (middle * 2 + 1).sum()  # neither a product with a number nor a sum needs its operand
    del middle
    assert alive() is None
    y.backward()
    assert x.grad is not None


@pytest.mark.usefixtures("no_collector")
def test_a_constant_operand_is_saved_and_a_constant_summand_is_not():
    x = leaf()
    (factor, factor_alive), (summand, summand_alive) = watched(), watched()
    y = (x * factor + summand).sum()
    del factor, summand
    assert factor_alive() is not None
    assert summand_alive() is None
    y.backward()
    assert factor_alive() is None


@pytest.mark.usefixtures("no_collector")
def test_nothing_is_saved_without_recording():
    x = leaf()
    constant, alive = watched()
    with agrad.no_grad():
        y = x * constant
    del constant
    assert alive() is None
    assert not y.requires_grad


@pytest.mark.usefixtures("no_collector")
def test_a_saved_output_lives_and_dies_with_the_graph():
    x = leaf()
    e = x.exp()
    alive = weakref.ref(e.array)
    y = e.sum()
    del e
    assert alive() is not None
    y.backward()
    assert alive() is None


# ---- what hangs on tensors


@pytest.mark.usefixtures("no_collector")
def test_an_attribute_dies_with_its_tensor():
    x, witness = leaf(), Witness()
    x.note = witness
    alive = weakref.ref(witness)
    del witness
    assert alive() is not None
    del x
    assert alive() is None


@pytest.mark.usefixtures("no_collector")
@pytest.mark.parametrize("end", ["removed", "graph gone"])
def test_a_hook_dies_when_it_is_removed_or_its_graph_is_gone(end):
    x, witness = leaf(), Witness()
    y = x * 2
    handle = y.register_hook(lambda g, witness=witness: None)
    alive = weakref.ref(witness)
    del witness
    assert alive() is not None
    if end == "removed":
        handle.remove()
    else:
        del y
    assert alive() is None


# ---- cycles, which only the collector can end


def a_tensor_that_is_its_own_attribute(witness):
    x = leaf()
    x.note = x, witness


def a_result_that_is_an_attribute_of_its_leaf(witness):
    x = leaf()
    x.note = (x * 2).exp(), witness


def a_leaf_that_had_attributes_before_the_graph(witness):
    x = leaf()
    x.note = witness, []
    x.note[1].append((x * x).sin())


def a_hook_that_knows_its_tensor(witness):
    y = leaf() * 2
    y.register_hook(lambda g: (y, witness))


def a_leaf_hook_that_knows_a_result(witness):
    x = leaf()
    y = (x * x).sum()
    x.register_hook(lambda g: (y, witness))


def a_hook_below_that_knows_the_root(witness):
    middle = leaf() * 3
    root = middle.exp().sum()
    middle.register_hook(lambda g: (root, witness))


def a_gradient_that_was_recorded(witness):
    x = leaf()
    x.note = witness
    (x * x * x).sum().backward(create_graph=True)


def a_result_kept_in_the_metadata_of_its_node(witness):
    y = leaf() * 2
    y.grad_fn.metadata["result"] = y, witness


CYCLES = [
    a_tensor_that_is_its_own_attribute,
    a_result_that_is_an_attribute_of_its_leaf,
    a_leaf_that_had_attributes_before_the_graph,
    a_hook_that_knows_its_tensor,
    a_leaf_hook_that_knows_a_result,
    a_hook_below_that_knows_the_root,
    a_gradient_that_was_recorded,
    a_result_kept_in_the_metadata_of_its_node,
]


@pytest.mark.filterwarnings("ignore:Using backward")
@pytest.mark.parametrize("cycle", CYCLES, ids=lambda cycle: cycle.__name__)
def test_the_collector_ends_a_cycle(cycle):
    witness = Witness()
    alive = weakref.ref(witness)
    cycle(witness)
    del witness
    gc.collect()
    assert alive() is None


@pytest.mark.filterwarnings("ignore:Using backward")
def test_the_collector_keeps_what_is_in_use():
    x = leaf()
    y = (x * 2).exp()
    x.note = y
    middle = x * 3
    root = (middle * middle).sum()
    middle.register_hook(lambda g: root and None)
    del middle
    for _ in range(3):
        gc.collect()
    (y.sum() + root).backward()
    assert x.grad.tolist() == pytest.approx((2 * np.exp([2.0, 4.0, 6.0]) + 18 * np.array([1.0, 2.0, 3.0])).tolist())


# ---- steps


def train(w, x):
    loss = ((x @ w).tanh() ** 2).sum()
    loss.backward()
    with agrad.no_grad():
        w -= 0.01 * w.grad
    w.grad = None


def accumulate(w, x):
    (w * x[0]).sum().backward()
    w.grad.zero_()


def second_order(w, x):
    (g,) = agrad.autograd.grad((x @ w).exp().sum(), w, create_graph=True)
    agrad.autograd.grad((g * g).sum(), w)


def write(w, x):
    y = w * x
    y[0] = 0.0
    y[:, 1].mul_(2)
    y += 1
    y.sum().backward()
    w.grad = None


def hook(w, x):
    y = w * x
    handle = y.register_hook(lambda g: g * 2)
    y.retain_grad()
    y.sum().backward()
    handle.remove()
    w.grad = None


def fail(w, x):
    y = w * x
    y.register_hook(lambda g: 1 / 0)
    for program in (lambda: y.sum().backward(), lambda: y.backward(), lambda: w.add_(1), lambda: w @ x[0, :1]):
        try:
            program()
        except (RuntimeError, ValueError, ZeroDivisionError):
            continue
        raise AssertionError("this step was to fail")


def read(w, x):
    sum(w[0, i] * x[i, 0] for i in range(5)).backward()
    w.grad = None


def resident_bytes():
    if not os.path.exists("/proc/self/statm"):
        return 0
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGESIZE")


@pytest.mark.usefixtures("no_collector")
@pytest.mark.parametrize(
    ("step", "steps"),
    [(train, 2_500), *((step, 300) for step in (accumulate, second_order, write, hook, fail, read))],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_steps_leave_nothing_behind(step, steps):
    w = agrad.tensor(np.full((30, 30), 0.01), requires_grad=True)  # 7 kB: a leak of one per step would be seen
    x = agrad.tensor(np.eye(30) + 0.1)
    levels = []
    for count in (2_500, steps, steps, steps):  # Python keeps up to 2000 freed tuples of a size: fill that first
        for _ in range(count):
            step(w, x)
        levels.append((len(gc.get_objects()), sys.getallocatedblocks(), resident_bytes()))
    objects, blocks, resident = np.diff(levels, axis=0).min(axis=0)  # a leak grows from each level to the next
    assert objects < steps // 20
    assert blocks < steps // 20
    assert resident < 1000 * steps


# ---- deep graphs

DEEP = 1_000_000


def deep_chain(x, n=DEEP):
    y = x
    for _ in range(n):
        y = y + 1.0
    return y


def second_operands(x, n=DEEP):
    y, one = x, agrad.tensor(1.0)
    for _ in range(n):
        y = one + y
    return y


def writes(x, n=DEEP // 4):
    y = x * 1
    for _ in range(n):
        y += 1.0
    return y


def saved_values(x, n=DEEP // 4):
    y, one = x, agrad.tensor(1.0)
    for _ in range(n):
        y = y * one
    return y


def many_operands(x, n=DEEP // 40):
    y = x.reshape(1)
    for _ in range(n):
        y = agrad.stack([y, y, y])[1]
    return y


def diamonds(x, n=DEEP // 10):
    y = x
    for _ in range(n):
        y = (y + y) * 0.5
    return y


DEEP_GRAPHS = [deep_chain, second_operands, writes, saved_values, many_operands, diamonds]


def in_a_small_thread(work):
    """Run in a thread whose stack overflows at a few thousand nested calls."""
    failures = []

    def run():
        try:
            work()
        except BaseException as error:
            failures.append(error)

    previous = threading.stack_size(256 * 1024)
    try:
        thread = threading.Thread(target=run)
        thread.start()
    finally:
        threading.stack_size(previous)
    thread.join()
    if failures:
        raise failures[0]


@pytest.mark.parametrize("graph", DEEP_GRAPHS, ids=lambda graph: graph.__name__)
def test_a_deep_graph_is_freed_without_recursion(graph):
    def build_and_drop():
        graph(agrad.tensor(1.0, requires_grad=True))

    in_a_small_thread(build_and_drop)


@pytest.mark.parametrize("graph", DEEP_GRAPHS, ids=lambda graph: graph.__name__)
def test_a_deep_graph_is_walked_without_recursion(graph):
    x = agrad.tensor(1.0, requires_grad=True)

    def walk():
        graph(x).sum().backward()

    in_a_small_thread(walk)
    assert x.grad.item() == 1.0


def test_a_deep_graph_is_freed_in_another_thread_than_it_was_made_in():
    held = [deep_chain(agrad.tensor(1.0, requires_grad=True))]
    in_a_small_thread(held.clear)


def test_a_deep_graph_that_the_collector_finds_is_freed_without_recursion():
    x = agrad.tensor(1.0, requires_grad=True)
    x.note = deep_chain(x, DEEP // 5)
    alive = weakref.ref(x)
    del x
    in_a_small_thread(gc.collect)
    assert alive() is None
