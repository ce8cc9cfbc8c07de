"""Where parts of the engine meet: hooks and users' functions inside transforms, writes through views, copied writes."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

import agrad
from agrad import func

T = agrad.tensor


def values(t):
    return t.detach().numpy().tolist()


class InPlaceExp(agrad.autograd.Function):
    """The exponential written into its argument."""

    @staticmethod
    def forward(ctx, x):
        x.exp_()
        ctx.mark_dirty(x)
        ctx.save_for_backward(x)
        return x

    @staticmethod
    def backward(ctx, g):
        return g * ctx.saved_tensors[0]


class Times(agrad.autograd.Function):
    """Twice x; backward multiplies by a tensor that is not an input."""

    @staticmethod
    def forward(ctx, x, factor):
        ctx.factor = factor
        return x * 1.0

    @staticmethod
    def backward(ctx, g):
        return g * ctx.factor[0], None


def test_what_a_hook_brings_in_is_differentiated_by_an_outer_transform():
    def outer(w):
        def inner(x):
            y = x * x
            y.register_hook(lambda g: g * w)
            return y.sum()

        return func.grad(inner)(T([1.0, 2.0])).sum()

    assert func.grad(outer)(T(3.0)).item() == 6.0
    assert not func.grad(lambda x: (x * x).sum())(T([1.0])).requires_grad


def test_what_a_users_backward_brings_in_is_differentiated_too():
    factor = T(3.0, requires_grad=True)
    g = func.grad(lambda x: Times.apply(x, [factor]).sum())(T([1.0, 2.0]))
    assert g.requires_grad
    assert not func.grad(lambda x: Times.apply(x, [3.0]).sum())(T([1.0, 2.0])).requires_grad


def test_a_function_that_writes_to_a_view_has_second_derivatives(backend, doubles):
    x = T([1.0, 2.0, 3.0], requires_grad=True)
    y = x * 1.0
    InPlaceExp.apply(y[0:2])
    (g,) = agrad.autograd.grad(y.sum(), x, create_graph=True)
    (second,) = agrad.autograd.grad(g.sum(), x)
    np.testing.assert_allclose(values(second), [*np.exp([1.0, 2.0]), 0.0])


def test_a_view_made_without_recording_may_not_be_marked_dirty():
    class Scale(agrad.autograd.Function):
        @staticmethod
        def forward(ctx, x, w):
            ctx.mark_dirty(x)
            return x.mul_(w)

        @staticmethod
        def backward(ctx, g):
            return g, g.sum()

    base = T([1.0, 2.0])
    with agrad.no_grad():
        view = base[0:1]
    with pytest.raises(RuntimeError, match="A view was created in no_grad mode"):
        Scale.apply(view, T(2.0, requires_grad=True))


def test_a_function_may_return_a_view_before_its_base():
    class Both(agrad.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            t = x * 2.0
            return t[0:1], t

        @staticmethod
        def backward(ctx, g, h):
            return h * 2.0

    a, b = Both.apply(T([1.0, 2.0], requires_grad=True))
    assert a.sum().item() == 2.0
    assert b.sum().item() == 6.0


def test_a_container_on_ctx_may_contain_itself():
    class Holds(agrad.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            ctx.notes = {}
            ctx.notes["self"] = ctx.notes
            return x * 2.0

        @staticmethod
        def backward(ctx, g):
            assert ctx.notes["self"] is not None
            return g * 2.0

    x = T([1.0, 2.0], requires_grad=True)
    (g,) = agrad.autograd.grad(Holds.apply(x).sum(), x, create_graph=True)
    assert values(g) == [2.0, 2.0]


def test_detached_values_inside_transforms_are_not_written():
    def write_detached(x):
        y = x * 1.0
        y.detach()[0] = 0.0
        return y.sum()

    with pytest.raises(RuntimeError, match="a value of its own"):
        func.vmap(write_detached)(T([[1.0, 2.0]]))
    with pytest.raises(RuntimeError, match="a value of its own"):
        func.jvp(lambda x: x.data.mul_(2), (T([1.0]),), (T([1.0]),))


def test_transforms_in_another_thread_do_not_meet_silently():
    def outer(a):
        with ThreadPoolExecutor(1) as threads:
            return threads.submit(lambda: func.vmap(lambda b: a * b)(T([1.0, 2.0, 3.0]))).result()

    with pytest.raises(RuntimeError, match="neither runs inside the other"):
        func.vmap(outer)(T([1.0, 10.0, 100.0]))


def test_a_hook_inside_a_transform_may_give_a_constant():
    def f(x):
        y = x * x
        y.register_hook(lambda g: T([7.0, 8.0]))
        return (y * y).sum()

    assert values(func.vmap(func.grad(f))(T([[1.0, 2.0], [3.0, 4.0]]))) == [[14.0, 32.0], [42.0, 64.0]]


def test_hooks_see_gradients_where_they_live():
    pytest.importorskip("torch")
    x = T([1.0, 2.0], requires_grad=True)
    y = x.to(backend="torch")
    seen = []
    y.grad_fn.register_hook(lambda inputs, outputs: seen.append((inputs[0].backend_.name, outputs[0].backend_.name)))
    (y * y).sum().backward()
    assert seen == [("numpy", "torch")]
    assert values(x.grad) == [2.0, 4.0]


def test_accumulation_is_a_write_that_copies():
    with agrad.autograd.graph.allow_mutation_on_saved_tensors():
        x, w = (T([1.0, 2.0], requires_grad=True) for _ in range(2))
        x.grad = T([1.0, 1.0])
        loss = (x.grad * w).sum()
        (x * 2.0).sum().backward()
        loss.backward()
    assert values(w.grad) == [1.0, 1.0]
    assert values(x.grad) == [3.0, 3.0]


def test_a_prehook_does_not_keep_a_function_from_running():
    class Two(agrad.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return x * 1.0, x * 2.0

        @staticmethod
        def backward(ctx, g, h):
            return g + h + 1

    class Nothing(agrad.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return x * 1.0

        @staticmethod
        def backward(ctx, g):
            return None

    x = T([1.0, 2.0], requires_grad=True)
    a, _ = Two.apply(x)
    seen = []
    a.grad_fn.register_prehook(seen.append)
    Nothing.apply(a).sum().backward()
    assert seen == [(None, None)]
    assert values(x.grad) == [1.0, 1.0]


def test_axes_that_a_sample_lacks_never_mean_the_samples():
    x = agrad.ones((3, 3))
    for f in (
        lambda x: agrad.diff(x, axis=-2),
        lambda x: agrad.tensordot(x, x, axes=([-2], [-2])),
        lambda x: agrad.tensordot(x, x, axes=2),
        lambda x: agrad.tensordot(x, agrad.ones((3, 3)), axes=2),
        lambda x: agrad.sum(x, axis=1),
    ):
        with pytest.raises(IndexError, match="a sample of vmap, which has 1 axes"):
            func.vmap(f)(x)
    with pytest.raises(IndexError, match="which has 0 axes"):
        func.vmap(agrad.diff)(agrad.ones(3))


@pytest.mark.parametrize(
    "switch",
    [
        lambda value: agrad.set_grad_enabled(value),
        lambda value: agrad.autograd.set_detect_anomaly(value),
        lambda value: agrad.ones(1).requires_grad_(value),
        lambda value: agrad.tensor([1.0], requires_grad=value),
        lambda value: agrad.ones(2, requires_grad=value),
    ],
)
@pytest.mark.parametrize("value", [None, "no", 1])
def test_switches_take_a_bool_and_change_nothing_otherwise(switch, value):
    with pytest.raises(TypeError, match="must be bool"):
        switch(value)
    assert agrad.is_grad_enabled()
    assert not agrad.is_anomaly_enabled()


def test_roots_may_come_from_a_generator():
    x = T([1.0, 2.0], requires_grad=True)
    agrad.autograd.backward(f(x).sum() for f in (agrad.sin, agrad.cos))
    np.testing.assert_allclose(x.grad.numpy(), np.cos([1.0, 2.0]) - np.sin([1.0, 2.0]))


def test_writes_are_counted_for_one_tensor_or_several():
    a, b = agrad.zeros(1), agrad.zeros(1)
    agrad.autograd.graph.increment_version(t for t in (a, b))
    assert (a._version, b._version) == (1, 1)
    with pytest.raises(TypeError, match="a Tensor or an iterable"):
        agrad.autograd.graph.increment_version([a, 3])
    assert a._version == 1


def test_explain_and_report_say_what_they_take():
    graph = agrad.autograd.graph
    with pytest.raises(TypeError, match=r"explain\(\) takes a Tensor or a function"):
        graph.explain(3)
    with pytest.raises(TypeError, match=r"report\(\) takes Tensors"):
        graph.report(None)
