"""Hooks on saved values: on every backend, in threads and tasks, and how long what they keep lives."""

import asyncio
import gc
import threading
import weakref

import numpy as np
import pytest
from array_libraries import on, values

import agrad
from agrad.autograd import graph

N = 20_000      # elements: enough to be written to disk


def program(x):
    """An operand, a result, constants, index tensors, several operands, several results: all are saved."""
    y = x.exp() * x
    y = agrad.einsum("i,i->i", y, agrad.ones_like(y) * 2)
    y = y[agrad.arange(x.shape[0]) // 2]
    return (y / (1 + y * y)).sum() + agrad.linalg.qr(y[:4].reshape(2, 2)).Q.sum()


def from_numpy(packed):
    with agrad.use_backend(packed[0]):
        return agrad.asarray(packed[1])


def gradients(x, context=None):
    """First and second order, in a context; in the second pass the first one's graph is saved too."""
    if context is None:
        y = program(x)
    else:
        with context:
            y = program(x)
    (g,) = agrad.autograd.grad(y, x, create_graph=True)
    (second,) = agrad.autograd.grad((g * g).sum(), x)
    return values(g), values(second)


@pytest.fixture
def x(backend):
    return on(backend, np.linspace(0.1, 1, 8), requires_grad=True)


CONTEXTS = {
    "identity": lambda: graph.saved_tensors_hooks(lambda t: t, lambda t: t),
    "clone": lambda: graph.saved_tensors_hooks(lambda t: t.detach().clone(), lambda t: t),
    "numpy": lambda: graph.saved_tensors_hooks(lambda t: (t.backend_.name, t.detach().numpy()), from_numpy),
    "cpu": graph.save_on_cpu,
    "disk": lambda: graph.save_on_disk(min_bytes=0),
}


@pytest.mark.parametrize("name", list(CONTEXTS))
def test_gradients_of_two_orders_do_not_change(x, name):
    plain, hooked = gradients(x), gradients(x, CONTEXTS[name]())
    for a, b in zip(plain, hooked, strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("library", ["jax", "dask"])
@pytest.mark.parametrize("name", list(CONTEXTS))
def test_on_further_libraries(library, name):
    x = on(library, np.linspace(0.1, 1, 8), requires_grad=True)

    def loss(x):
        return (x.exp() * x * x.sin()).sum()

    with CONTEXTS[name]():
        hooked = loss(x)
    (plain,), (hooked,) = agrad.autograd.grad(loss(x), x), agrad.autograd.grad(hooked, x)
    np.testing.assert_array_equal(values(plain), values(hooked))


def test_every_saved_value_of_several_results_is_packed(backend):
    x = on(backend, [[2.0, 1.0], [1.0, 3.0]], requires_grad=True)
    packed = []

    def pack(t):
        packed.append(tuple(t.shape))
        return t

    with graph.saved_tensors_hooks(pack, lambda t: t):
        w, v = agrad.linalg.eigh(x)
    assert set(packed) >= {(2,), (2, 2)}
    agrad.autograd.grad(w.sum() + (v * v).sum(), x)


def test_writes_in_place_use_the_packed_value(backend):
    x = on(backend, [1.0, 2.0], requires_grad=True)
    with graph.saved_tensors_hooks(lambda t: t.detach().clone(), lambda t: t):
        y = x * 1
        z = y * y
        y.mul_(3)
    z.sum().backward()
    np.testing.assert_array_equal(values(x.grad), [2.0, 4.0])


def test_a_tensor_of_another_backend_is_refused():
    x = on("numpy", [1.0, 2.0], requires_grad=True)
    with graph.saved_tensors_hooks(lambda t: t, lambda t: on("array_api_strict", [1.0, 2.0])):
        y = x.exp()
    with pytest.raises(RuntimeError, match="expected to be a Tensor of numpy but got one of array_api_strict"):
        y.sum().backward()


# ---- where hooks act


def test_other_threads_are_not_touched():
    calls = []
    x = agrad.tensor([1.0, 2.0], requires_grad=True)
    with graph.saved_tensors_hooks(lambda t: calls.append(1) or t, lambda t: t):
        thread = threading.Thread(target=lambda: x.exp())
        thread.start()
        thread.join()
    assert calls == []


def test_a_task_keeps_the_hooks_that_it_was_started_with():
    calls = []
    x = agrad.tensor([1.0, 2.0], requires_grad=True)

    async def later():
        await asyncio.sleep(0)
        x.exp()

    async def main():
        with graph.saved_tensors_hooks(lambda t: calls.append(1) or t, lambda t: t):
            task = asyncio.create_task(later())
        x.exp()
        assert calls == []
        await task

    asyncio.run(main())
    assert calls == [1]


def test_the_same_context_may_be_entered_again():
    calls = []
    hooks = graph.saved_tensors_hooks(lambda t: calls.append(1) or t, lambda t: t)
    x = agrad.tensor([1.0, 2.0], requires_grad=True)
    with hooks:
        with hooks:
            x.exp()
        x.exp()
    x.exp()
    assert calls == [1, 1]


def test_exceptions_leave_the_mode_as_it_was():
    x = agrad.tensor([1.0, 2.0], requires_grad=True)
    before = agrad.cython_core.engine.get_mode()
    with pytest.raises(ZeroDivisionError), graph.saved_tensors_hooks(lambda t: 1 / 0, lambda t: t):
        x.exp()
    assert agrad.cython_core.engine.get_mode() is before


def test_unpack_may_walk_other_graphs():
    x = agrad.tensor([1.0, 2.0], requires_grad=True)

    def unpack(t):
        z = agrad.tensor([3.0], requires_grad=True)
        with agrad.enable_grad():
            (z * z).sum().backward()
        assert z.grad.tolist() == [6.0]
        return t

    with graph.saved_tensors_hooks(lambda t: t, unpack):
        y = (x * x).sum()
    y.backward()
    assert x.grad.tolist() == [2.0, 4.0]


# ---- how long packed values live


class Holder:
    """Something that a pack hook may return."""

    def __init__(self, t):
        self.t = t


def test_packed_values_die_in_backward_and_with_the_graph():
    alive = []

    def pack(t):
        holder = Holder(t)
        alive.append(weakref.ref(holder))
        return holder

    x = agrad.tensor([1.0, 2.0], requires_grad=True)
    gc.disable()
    try:
        with graph.saved_tensors_hooks(pack, lambda holder: holder.t):
            y, z = x.exp().sin().sum(), (x * 1).exp()
        assert all(holder() is not None for holder in alive)
        y.backward()
        assert [holder() is None for holder in alive] == [True, True, False]
        del z
        assert alive[2]() is None
    finally:
        gc.enable()


def test_a_result_that_pack_keeps_makes_no_cycle():
    x = agrad.tensor([1.0, 2.0], requires_grad=True)
    kept = []
    gc.disable()
    try:
        with graph.saved_tensors_hooks(lambda t: kept.append(weakref.ref(t)) or t, lambda t: t):
            y = x.exp()
        assert y.grad_fn is not None
        del y
        assert kept[0]() is None
    finally:
        gc.enable()


def test_cycles_through_packed_values_are_collected():
    class Mark:
        pass

    def make():
        x, mark, made = agrad.tensor([1.0, 2.0], requires_grad=True), Mark(), []
        with graph.saved_tensors_hooks(lambda t: (t, made, mark), lambda packed: packed[0]):
            y = x * 1
            made.append(y.sin())
        return weakref.ref(mark)

    alive = make()
    gc.collect()
    assert alive() is None


# ---- files


def test_values_wait_on_disk_and_files_go_with_them(tmp_path):
    x = agrad.asarray(np.linspace(0, 1, N)).requires_grad_()
    with graph.save_on_disk(tmp_path):
        y = x.exp()
        z = (y * y * 2).sum()
    (folder,) = tmp_path.iterdir()
    files = sorted(path.name for path in folder.iterdir())
    assert files == ["1.npy"]           # exp, and twice in y * y: the same array
    assert np.load(folder / "1.npy").nbytes == y.detach().numpy().nbytes
    z.backward()
    assert list(tmp_path.iterdir()) == []
    np.testing.assert_allclose(values(x.grad), 4 * np.exp(2 * np.linspace(0, 1, N)))


def test_files_go_with_the_graph(tmp_path):
    x = agrad.asarray(np.linspace(0, 1, N)).requires_grad_()
    gc.disable()
    try:
        with graph.save_on_disk(tmp_path) as context:
            y = x.exp().sin().sum()
        (folder,) = tmp_path.iterdir()
        assert len(list(folder.iterdir())) == 1
        del y
        assert list(folder.iterdir()) == []
        del context
        assert list(tmp_path.iterdir()) == []
    finally:
        gc.enable()


def test_what_is_read_back_is_a_map_of_the_file(tmp_path):
    x = agrad.asarray(np.linspace(0, 1, N)).requires_grad_()
    with graph.save_on_disk(tmp_path):
        y = x.exp()
    array = y.grad_fn._saved_result.array
    while isinstance(array.base, np.ndarray):
        array = array.base
    assert isinstance(array, np.memmap)


def test_small_values_and_leaves_stay_in_memory(tmp_path):
    x = agrad.asarray(np.linspace(0, 1, N)).requires_grad_()
    small = agrad.tensor([1.0, 2.0], requires_grad=True)
    with graph.save_on_disk(tmp_path):
        _ = x * x, small.exp()
    assert list(tmp_path.iterdir()) == []


def test_a_write_after_saving_makes_a_second_file(tmp_path):
    x = agrad.asarray(np.linspace(0, 1, N)).requires_grad_()
    with graph.save_on_disk(tmp_path):
        y = x * 1
        a = (y * y).sum()
        with agrad.no_grad():
            y.mul_(2)
        b = (y * y).sum()
    a.backward(retain_graph=True)
    np.testing.assert_allclose(values(x.grad), 2 * np.linspace(0, 1, N))
    x.grad = None
    b.backward()
    np.testing.assert_allclose(values(x.grad), 4 * np.linspace(0, 1, N))


@pytest.mark.parametrize("dtype", ["float32", "complex128", "bfloat16"])
def test_dtypes_come_back(tmp_path, dtype):
    pytest.importorskip("torch")
    with agrad.use_backend("torch"):
        x = agrad.ones(N, dtype=dtype).requires_grad_()
        with graph.save_on_disk(tmp_path, min_bytes=0):
            y = (x * 1).sin()
    saved = y.grad_fn._saved_self
    assert (saved.dtype, saved.backend_.name) == (x.dtype, "torch")
    y.real.sum().backward()
    assert x.grad.dtype == x.dtype


# ---- inside transforms


@pytest.mark.parametrize("name", ["identity", "cpu", "disk"])
def test_inside_transforms(name):
    def plain(x):
        return (x.exp() * x[agrad.asarray([1, 0])]).sum()

    def hooked(x):
        with CONTEXTS[name]():
            return plain(x)

    x = agrad.tensor([1.0, 2.0])
    for transform in (agrad.func.grad, agrad.func.hessian, lambda f: agrad.func.vmap(agrad.func.grad(f))):
        point = x if transform in (agrad.func.grad, agrad.func.hessian) else agrad.stack([x, x + 1])
        np.testing.assert_allclose(values(transform(hooked)(point)), values(transform(plain)(point)))


def test_a_hook_that_loses_tangents_is_found():
    def hooked(x):
        with CONTEXTS["clone"]():
            return (x.exp() * x).sum()

    x = agrad.tensor([1.0, 2.0])
    np.testing.assert_allclose(values(agrad.func.grad(hooked)(x)), np.exp([1.0, 2.0]) * [2.0, 3.0])
    with pytest.raises(RuntimeError, match="has lost the derivatives that the saved value has inside a transform"):
        agrad.func.jvp(agrad.func.grad(hooked), (x,), (x,))
