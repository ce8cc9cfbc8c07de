"""Bugs that the engine once had, one test each; it must not know how the engine avoids them."""

import gc
import subprocess
import sys
import weakref

import numpy as np
import pytest

import agrad
from agrad.autograd import grad
from agrad.cython_core import engine

pytestmark = pytest.mark.filterwarnings("ignore:Using backward")  # that of create_graph


def runs_alone(program):
    """Run a program that once crashed in an interpreter of its own and return what it printed."""
    command = [sys.executable, "-c", "import agrad\n" + program]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, f"ended with {done.returncode}: {done.stderr[-2000:]}"
    return done.stdout.split()


def is_collected(make):
    """Tell whether the object behind the weak reference that `make` returns goes away."""
    reference = make()
    gc.collect()
    return reference() is None


def leaf(*values):
    return agrad.tensor(list(values), requires_grad=True)


# ---- crashes


def test_a_hook_may_drop_the_history_of_the_root():
    program = """
x = agrad.tensor([1.0, 2.0], requires_grad=True)
loss = x
for _ in range(50):
    loss = loss * 1.0
loss = loss.sum()
loss.register_hook(lambda g: (loss.detach_(), None)[1])
loss.backward()
print(*x.grad.tolist())
"""
    assert runs_alone(program) == ["1.0", "1.0"]


def test_an_item_without_a_key_is_refused():
    program = """
from agrad.cython_core import engine
try:
    engine.find_op("getitem").function(agrad.ones(3))
except TypeError:
    print("refused")
"""
    assert runs_alone(program) == ["refused"]


def test_a_tensor_whose_constructor_never_ran_is_refused():
    program = """
class Unfinished(agrad.Tensor):
    def __init__(self, x):
        pass
for use in (lambda: Unfinished(1) + 1, lambda: Unfinished(1).shape, lambda: Unfinished(1).detach().sum()):
    try:
        use()
    except RuntimeError:
        print("refused")
"""
    assert runs_alone(program) == ["refused"] * 3


def test_a_million_views_of_views_are_remade_and_freed_without_recursion():
    program = """
import threading
def work():
    x = agrad.zeros(3)
    view = x
    for _ in range(1_000_000):
        view = view[:]
    del view
    print("freed")
threading.stack_size(256 * 1024)
thread = threading.Thread(target=work)
thread.start()
thread.join()
x = agrad.zeros(3)
view = x
for _ in range(300_000):
    view = view[:]
x += 1
print(*view.tolist())
"""
    assert runs_alone(program) == ["freed", "1.0", "1.0", "1.0"]


# ---- wrong gradients


def test_an_op_may_have_more_than_65535_outputs():
    x = agrad.ones(66_000, requires_grad=True)
    (agrad.unstack(x)[65_541] * 3).backward()
    assert x.grad[5] == 0
    assert x.grad[65_541] == 3


def test_an_op_may_have_more_than_65535_operands():
    leaves = [leaf(1.0) for _ in range(66_000)]
    (agrad.concat(leaves) * 2).sum().backward()
    assert all(x.grad is not None for x in leaves)
    assert leaves[-1].grad.item() == 2


def test_the_real_part_of_a_gradient_is_no_buffer_to_add_into():
    w = agrad.tensor(np.array([1 + 1j, 2 + 2j]), requires_grad=True)
    x = leaf(1.0, 2.0)
    z = w * 1
    early = x * 3
    total = (agrad.real(x + z) * agrad.asarray([2.0, 2.0])).sum() + early.sum()
    total.backward()
    assert w.grad.tolist() == [2, 2]
    assert x.grad.tolist() == [5, 5]


def test_an_indexed_gradient_meets_another_one_in_a_0d_slot():
    x = agrad.tensor(1.0, requires_grad=True)
    y = x * 2
    (y[()] + y * 3).backward()
    assert x.grad.item() == 8


def test_a_gradient_kept_in_a_flat_buffer_is_added_to_the_buffer():
    buffer = agrad.zeros(3)
    x = agrad.tensor(1.0, requires_grad=True)
    x.grad = buffer[0]
    (x * 2).backward()
    buffer += 1
    assert buffer.tolist() == [3, 1, 1]
    assert x.grad.item() == 3


def test_gradients_that_overlap_in_memory_are_added_right():
    buffer = agrad.ones(9)
    x = agrad.zeros(8, requires_grad=True)
    x.grad = buffer[1:]
    (x + agrad.zeros(8)).backward(buffer[:-1])
    assert x.grad.tolist() == [2] * 8


def test_a_write_to_one_gradient_is_found_where_another_one_shares_its_memory():
    a, b, w = leaf(1.0, 1.0), leaf(1.0, 1.0), leaf(1.0, 1.0)
    first, second = grad(((a + b) * agrad.asarray([3.0, 3.0])).sum(), (a, b))
    total = (w * second).sum()
    first.mul_(2)
    try:
        total.backward()
    except RuntimeError as error:
        message = str(error)
    else:
        message = None if w.grad.tolist() == [3, 3] else "silently wrong"
    assert message is None or "modified by an inplace operation" in message


def test_a_write_to_the_base_of_a_saved_view_is_found_in_second_order():
    base = agrad.ones(4)
    view = base[0:2]
    x, c = leaf(1.0, 2.0), leaf(1.0, 1.0)
    (g,) = grad(x * view, x, c, create_graph=True)
    base.mul_(10)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        g.sum().backward()


def test_a_tuple_inside_a_key_adds_up_repeated_positions():
    x = leaf(1.0, 2.0, 3.0)
    x[((0, 1, 1),)].sum().backward()
    assert x.grad.tolist() == [1, 2, 0]


def test_a_detached_result_no_longer_gets_a_gradient():
    x = agrad.tensor(2.0, requires_grad=True)
    y = x * 3
    y.retain_grad()
    z = y * 5
    y.detach_()
    z.backward()
    assert y.grad is None
    assert x.grad.item() == 15


def test_a_grad_dtype_keeps_the_history_of_a_recorded_gradient():
    x = leaf(1.0, 2.0)
    x.grad_dtype = agrad.float32
    (x * x).sum().backward(create_graph=True)
    assert x.grad.dtype == agrad.float32
    assert x.grad.grad_fn is not None


# ---- writes that did not arrive


@pytest.mark.parametrize("look", [lambda v: v.array, lambda v: v.numpy(), repr], ids=["array", "numpy", "repr"])
def test_a_view_of_one_element_still_writes_to_its_base_after_somebody_looked_at_its_array(look):
    x = agrad.zeros(3)
    view = x[0]
    look(view)
    view += 1
    assert x.tolist() == [1, 0, 0]


def test_an_item_set_in_a_view_of_one_element_reaches_its_base():
    x = agrad.zeros(3)
    view = x[0]
    view[...] = 5
    assert x.tolist() == [5, 0, 0]
    assert view.item() == 5


def test_a_tracked_item_set_in_a_view_of_one_element_reaches_its_base():
    x = agrad.zeros(3)
    w = agrad.tensor(5.0, requires_grad=True)
    view = x[0]
    view[...] = w
    (x * 2).sum().backward()
    assert x.tolist() == [5, 0, 0]
    assert w.grad.item() == 2


def test_0d_twins_stay_on_one_storage_after_somebody_looked_at_their_arrays():
    x = agrad.tensor(1.0)
    twin = x.detach()
    assert twin.array == x.array
    twin += 1
    assert x.item() == 2


def test_views_stay_views_where_a_write_leaves_the_saved_array_alone():
    base = agrad.from_numpy(np.asfortranarray(np.arange(6.0).reshape(2, 3)))
    view = base.T.reshape(-1)
    product = base * agrad.ones((2, 3), requires_grad=True)
    with agrad.autograd.graph.allow_mutation_on_saved_tensors():
        view += 10
    product.sum().backward()
    assert base.tolist() == [[10, 11, 12], [13, 14, 15]]
    assert view.tolist() == [10, 13, 11, 14, 12, 15]


# ---- views of detached views


def test_a_view_of_a_detached_view_stays_detached():
    x = agrad.ones(4, requires_grad=True) * 2
    view = x[0:2].detach()[0:1]
    x.mul_(3)
    assert not view.requires_grad
    assert view.tolist() == [6]


def test_a_view_of_a_detached_view_of_a_leaf_may_be_written():
    w = agrad.ones((2, 3), requires_grad=True)
    w[0].detach()[1:2].zero_()
    assert w.tolist() == [[1, 0, 1], [1, 1, 1]]


# ---- cycles


def test_a_leaf_whose_gradient_has_a_history_is_collected():
    def make():
        x = leaf(2.0, 3.0)
        (x * x).sum().backward(create_graph=True)
        return weakref.ref(x)

    assert is_collected(make)


def test_a_result_that_retains_a_gradient_with_a_history_is_collected():
    def make():
        x = leaf(2.0, 3.0)
        y = x * 1
        y.retain_grad()
        (y * y).sum().backward(create_graph=True)
        return weakref.ref(x)

    assert is_collected(make)


@pytest.mark.parametrize("detached", [True, False])
def test_a_leaf_that_is_a_view_of_what_depends_on_it_is_collected(detached):
    def make():
        base = agrad.zeros(4)
        with agrad.set_grad_enabled(detached):
            view = base[0:2]
        view = (view.detach() if detached else view).requires_grad_()
        base += (view * 2).sum()
        return weakref.ref(base)

    assert is_collected(make)


# ---- strangers


def test_an_attribute_may_be_an_object_whose_own_attributes_raise():
    class Strange:
        def __getattr__(self, name):
            raise KeyError(name)

    x = agrad.zeros(3)
    x.note = Strange()
    assert isinstance(x.note, Strange)


def test_variadic_arrays_may_come_from_a_generator_or_are_refused_by_type():
    arrays = [agrad.ones(2), agrad.zeros(2)]
    try:
        stacked = agrad.stack(x for x in arrays)
    except TypeError:
        return
    assert stacked.tolist() == [[1, 1], [0, 0]]


def test_an_elementwise_rule_of_three_operands_may_lack_the_middle_one():
    from agrad import rules

    prefix = rules.RuleSet("regression")
    prefix.op("regression.product(x: array, y: array, z: array, /)").kernel("*", lambda x, y, z: x * y * z)
    prefix.elementwise("regression.product", x=lambda y, z: y * z, y=lambda x, z: x * z, z=lambda x, y: x * y)
    prefix.install("regression")
    x, z = leaf(2.0, 2.0), leaf(3.0, 3.0)
    product = engine.find_op("regression.product").function(x * 1, agrad.asarray([5.0, 5.0]), z * 1)
    (product * 2.0).sum().backward()
    assert x.grad.tolist() == [30, 30]
    assert z.grad.tolist() == [20, 20]


# ---- calls


def test_a_python_complex_left_of_a_scalar_gives_a_tensor_of_the_backend():
    x = leaf(2.0).sum()
    results = [1j * x, 1j + x, 1j - x, 1j / x]
    assert [y.tolist() for y in results] == [2j, 2 + 1j, -2 + 1j, 0.5j]
    assert all(type(y.array) is np.ndarray for y in results)


def test_a_number_may_stand_for_an_index_array(backend):
    assert agrad.repeat(agrad.ones(2), 2).tolist() == [1, 1, 1, 1]


def test_the_second_position_of_diff_is_how_often(backend):
    assert agrad.diff(agrad.asarray([1.0, 4.0, 9.0, 17.0]), 2).tolist() == [2, 3]


@pytest.mark.parametrize("copying", [agrad.conj, lambda x: agrad.astype(x, agrad.complex128)])
def test_a_copy_of_a_scalar_is_no_view(copying, backend):
    x = agrad.asarray(2.0 + 1j)
    y = copying(x)
    y += 1
    assert x.item() == 2 + 1j


@pytest.mark.parametrize(
    "program",
    [
        lambda x: agrad.reshape(x, (None,)),
        lambda x: agrad.reshape(x, (float("nan"),)),
        lambda x: agrad.broadcast_to(x, (None, 2)),
        lambda x: agrad.sum(x, dtype="float1024"),
        lambda x: agrad.zeros_like(x, device="nowhere"),
    ],
)
def test_a_bad_shape_dtype_or_device_is_refused_with_the_name_of_the_op(program, backend):
    with pytest.raises((TypeError, ValueError), match=r"^(reshape|broadcast_to|sum|zeros_like)\(\)"):
        program(agrad.ones(2))


def test_an_array_of_another_library_is_refused_with_the_name_of_the_op():
    strict = pytest.importorskip("array_api_strict")
    with pytest.raises(TypeError, match=r"^add\(\): an array of array_api_strict together with a tensor of numpy"):
        agrad.ones(2) + strict.ones(2)


def test_a_bool_mask_write_has_a_gradient_of_second_order(backend):
    x, v = leaf(1.0, 2.0, 3.0), leaf(5.0).sum()
    y = x * x
    y[agrad.asarray([True, False, True])] = v * v
    (g,) = grad(y.sum(), v, create_graph=True)
    assert (g.item(), grad(g, v)[0].item()) == (20, 4)


def test_writes_to_one_of_several_views_are_allowed_where_writes_copy(backend):
    with agrad.autograd.graph.allow_mutation_on_saved_tensors():
        x = leaf(1.0, 2.0, 3.0)
        y = x * 2
        _, middle, _ = agrad.unstack(y)
        middle *= x[0]
        y.sum().backward()
    assert x.grad.tolist() == [6, 2, 2]


@pytest.mark.parametrize("second", [False, True])
def test_where_writes_copy_a_mask_hides_what_is_infinite_beneath_it(second, backend):
    def masked(x):
        y = agrad.sqrt(x)
        y[x == 0] = 0.0
        return y.sum()

    x = leaf(0.0, 4.0)
    with agrad.autograd.graph.allow_mutation_on_saved_tensors():
        (g,) = grad(masked(x), x, create_graph=second)
        result = grad(g.sum(), x)[0] if second else g
    assert result.tolist() == ([0, -0.25 * 4**-1.5] if second else [0, 0.25])


@pytest.mark.parametrize("hooked", [False, True])
def test_a_leaf_takes_over_an_array_that_a_rule_made(hooked, monkeypatch):
    made = []   # addresses: to hold an array would be a reason to copy it

    def matmul(a, b):
        out = np.matmul(a, b)
        made.append(out.ctypes.data)
        return out

    w = agrad.ones((4, 4), requires_grad=True)
    if hooked:
        w.register_post_accumulate_grad_hook(lambda leaf: None)
    y = agrad.ones((4, 4)) @ w
    monkeypatch.setitem(agrad.backends.find("numpy").xp.__dict__, "matmul", matmul)
    y.backward(agrad.ones((4, 4)))
    assert made == [w.grad.array.ctypes.data]


def test_a_saved_output_beside_one_that_is_overwritten():
    x = agrad.tensor([[1.0, 4.0, -2.0, -3.0]], requires_grad=True)
    y = agrad.nn.functional.max_pool1d(x * 1, 2)
    y.relu_()
    y.sum().backward()
    assert x.grad.tolist() == [[0, 1, 0, 0]]
    cell = agrad.nn.LSTMCell(2, 3)
    h, _ = cell(agrad.ones((1, 2)))
    expected = grad((h * (h > 0)).sum(), cell.bias_ih, retain_graph=True)[0]
    h.relu_()
    assert agrad.allclose(grad(h.sum(), cell.bias_ih)[0], expected)
    values, indices = agrad.max(x * 1, dim=1)
    indices += 1
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        values.sum().backward()


def test_a_gradient_with_a_graph_that_is_assigned_is_collected():
    p = agrad.ones(3, requires_grad=True)
    (g,) = grad((p * p).sum(), p, create_graph=True)
    p.grad = g
    seen = weakref.ref(p)
    del p, g
    gc.collect()
    assert seen() is None
