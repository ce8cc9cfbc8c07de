"""`autograd.Function` beyond PyTorch's contract: transforms, threads, all backends, and what is left behind."""

import gc
import threading
import weakref

import numpy as np
import pytest

import agrad
from agrad import func
from agrad.autograd import Function, forward_ad
from agrad.autograd import grad as gradient


def derivatives(base, setup, xp):
    """A function whose derivatives, 5 x y and 7 x x, are not those of its ops: results tell who computed them."""

    class Odd(base):
        generate_vmap_rule = True

        def keep(ctx, x, y, product):
            ctx.save_for_backward(x, y, product)
            ctx.save_for_forward(x, y, product)

        @staticmethod
        def backward(ctx, g, h):
            x, y, product = ctx.saved_tensors
            return g * 5 * product + h * y, g * 7 * x * x + h * x, None

        @staticmethod
        def jvp(ctx, t, u, _):
            x, y, product = ctx.saved_tensors
            return t * 5 * product + u * 7 * x * x, t * y + u * x

    if setup:
        Odd.forward = staticmethod(lambda x, y, k: (x * x * y * k, x * y))
        Odd.setup_context = staticmethod(lambda ctx, inputs, output: Odd.keep(ctx, *inputs[:2], output[1]))
    else:

        def forward(ctx, x, y, k):
            product = x * y
            Odd.keep(ctx, x, y, product)
            return x * x * y * k, product

        Odd.forward = staticmethod(forward)
    return lambda x, y: sum(Odd.apply(x, y, 2))


TRANSFORMED = {
    "value": lambda func, f, x, y: f(x, y),
    "grad": lambda func, f, x, y: func.grad(lambda x: f(x, y).sum())(x),
    "grad of both": lambda func, f, x, y: func.grad(lambda x, y: f(x, y).sum(), argnums=(0, 1))(x, y)[1],
    "jvp": lambda func, f, x, y: func.jvp(lambda x: f(x, y), (x,), (x + 1,))[1],
    "jvp of both": lambda func, f, x, y: func.jvp(f, (x, y), (x + 1, y - 1))[1],
    "vmap": lambda func, f, x, y: func.vmap(f)(x, y),
    "vmap, one shared": lambda func, f, x, y: func.vmap(f, (0, None))(x, y),
    "grad of grad": lambda func, f, x, y: func.grad(lambda x: func.grad(lambda x: f(x, y).sum())(x).sum())(x),
    "grad of jvp": lambda func, f, x, y: func.grad(lambda x: func.jvp(lambda x: f(x, y), (x,), (y,))[1].sum())(x),
    "jvp of grad": lambda func, f, x, y: func.jvp(func.grad(lambda x: f(x, y).sum()), (x,), (y,))[1],
    "vmap of grad": lambda func, f, x, y: func.vmap(func.grad(f))(x, y),
    "vmap of grad, one shared": lambda func, f, x, y: func.vmap(func.grad(lambda x, y: f(x, y).sum()), (0, None))(x, y),
    "grad of vmap": lambda func, f, x, y: func.grad(lambda x: func.vmap(f)(x, y).sum())(x),
    "grad of vmap, shared": lambda func, f, x, y: func.grad(lambda y: func.vmap(f, (0, None))(x, y).sum())(y),
    "grad of grad of vmap": lambda func, f, x, y: func.grad(
        lambda x: func.grad(lambda x: func.vmap(f)(x, y).sum())(x).sum()
    )(x),
    "jvp of vmap": lambda func, f, x, y: func.jvp(lambda x: func.vmap(f)(x, y), (x,), (y,))[1],
    "jvp of grad of vmap": lambda func, f, x, y: func.jvp(
        func.grad(lambda x: func.vmap(f)(x, y).sum()), (x,), (y,)
    )[1],
    "vmap of vmap": lambda func, f, x, y: func.vmap(lambda x: func.vmap(lambda y: f(x, y))(y))(x),
    "jacrev": lambda func, f, x, y: func.jacrev(lambda x: f(x, y))(x),
    "jacfwd": lambda func, f, x, y: func.jacfwd(lambda x: f(x, y))(x),
    "hessian": lambda func, f, x, y: func.hessian(lambda x: f(x, y).sum())(x),
    "jacrev of jacrev": lambda func, f, x, y: func.jacrev(func.jacrev(lambda x: f(x, y).sum()))(x),
}


@pytest.mark.filterwarnings("ignore:.torch.jit.script.:DeprecationWarning")     # torch's, at first use of forward mode
@pytest.mark.parametrize("setup", [False, True], ids=["forward with ctx", "setup_context"])
@pytest.mark.parametrize("transformed", TRANSFORMED.values(), ids=TRANSFORMED)
def test_inside_transforms_as_in_torch(transformed, setup):
    torch = pytest.importorskip("torch")
    xs, ys = [1.0, 2.0, 3.0], [-1.0, 0.5, 2.0]
    x, y = (torch.tensor(values, dtype=torch.float64) for values in (xs, ys))
    expected = transformed(torch.func, derivatives(torch.autograd.Function, True, torch), x, y)
    found = transformed(func, derivatives(Function, setup, agrad), agrad.tensor(xs), agrad.tensor(ys))
    np.testing.assert_allclose(found.numpy(), expected.numpy(), rtol=1e-12)


@pytest.mark.parametrize("setup", [False, True], ids=["forward with ctx", "setup_context"])
def test_jvp_of_jvp(setup):
    f = derivatives(Function, setup, agrad)
    x, y = agrad.tensor([1.0, 2.0, 3.0]), agrad.tensor([-1.0, 0.5, 2.0])
    found = func.jvp(lambda x: func.jvp(lambda x: f(x, y), (x,), (y,))[1], (x,), (y,))[1]
    assert found.tolist() == (5 * y**3).tolist()        # torch 2.13 gives zeros


def test_dual_numbers():
    f = derivatives(Function, False, agrad)
    x, y = agrad.tensor([1.0, 2.0], requires_grad=True), agrad.tensor([3.0, 4.0])
    with forward_ad.dual_level():
        primal, tangent = forward_ad.unpack_dual(f(forward_ad.make_dual(x, agrad.ones(2)), y))
        assert tangent.tolist() == [15.0 + 3.0, 40.0 + 4.0]
        assert gradient(primal.sum(), x, retain_graph=True)[0].tolist() == [18.0, 44.0]
        assert gradient(tangent.sum(), x)[0].tolist() == [15.0, 20.0]


class Plain(Function):
    @staticmethod
    def forward(ctx, x):
        return x * 2

    @staticmethod
    def backward(ctx, g):
        return g * 3


def test_a_missing_jvp():
    x = agrad.ones(2)
    text = "^You must implement the jvp function for custom autograd.Function to use it with forward mode AD.$"
    with pytest.raises(NotImplementedError, match=text):
        func.jvp(Plain.apply, (x,), (x,))
    assert func.vmap(func.grad(Plain.apply))(x).tolist() == [3.0, 3.0]


@pytest.mark.parametrize(
    ("result", "text"),
    [
        (lambda t: (t, t), r"Function's jvp returned an invalid number of forward gradients \(expected 1 but got 2\)"),
        (lambda t: 3, r"expected Variable or None \(got int\) for grad output 0."),
        (lambda t: t[:1], "Trying to set a forward gradient that has a different size than that of the original "),
        (lambda t: t + 1j, "a real tensor cannot have a complex tangent"),
        (
            lambda t: t.to(backend="array_api_strict"),
            "the tangent is on the backend array_api_strict, its tensor on numpy",
        ),
    ],
)
def test_a_wrong_jvp(result, text):
    class Wrong(Plain):
        @staticmethod
        def jvp(ctx, t):
            return result(t)

    with pytest.raises(RuntimeError, match=f"^{text}"):
        func.jvp(Wrong.apply, (agrad.ones(2),), (agrad.ones(2),))


def test_each_derivative_has_saved_values_of_its_own():
    class Square(Function):
        @staticmethod
        def forward(ctx, x):
            ctx.save_for_backward(x, None)
            ctx.save_for_forward(None, None, x)
            return x * x

        @staticmethod
        def backward(ctx, g):
            x, _ = ctx.saved_tensors
            return 2 * g * x

        @staticmethod
        def jvp(ctx, t):
            *_, x = ctx.saved_tensors
            return 2 * t * x

    x = agrad.tensor([1.0, 2.0], requires_grad=True)
    assert gradient(Square.apply(x).sum(), x)[0].tolist() == [2.0, 4.0]
    assert func.hessian(lambda x: Square.apply(x).sum())(x.detach()).tolist() == [[2.0, 0.0], [0.0, 2.0]]
    assert func.jvp(lambda x: func.vmap(Square.apply)(x), (x,), (x,))[1].tolist() == [2.0, 8.0]


def test_setup_context_where_it_is_needed():
    class Keeps(Function):
        @staticmethod
        def forward(ctx, x):
            ctx.double = x * 2
            return x * x

        @staticmethod
        def backward(ctx, g):
            return g * ctx.double

        @staticmethod
        def jvp(ctx, t):
            return t * ctx.double

    x = agrad.tensor([1.0, 2.0])
    assert func.jvp(Keeps.apply, (x,), (x,))[1].tolist() == [2.0, 8.0]
    assert func.grad(lambda x: func.vmap(Keeps.apply)(x).sum())(x).tolist() == [2.0, 4.0]
    with pytest.raises(RuntimeError, match="it must override the setup_context staticmethod"):
        func.jvp(func.grad(lambda x: Keeps.apply(x).sum()), (x,), (x,))


def test_a_vmap_of_the_users_own():
    seen = []

    class Sum(Function):
        @staticmethod
        def forward(x, y):
            return x.sum() * y

        @staticmethod
        def setup_context(ctx, inputs, output):
            ctx.save_for_backward(*inputs)

        @staticmethod
        def backward(ctx, g):
            x, y = ctx.saved_tensors
            return (g * y).sum() * agrad.ones_like(x), g * x.sum()

        @staticmethod
        def vmap(info, in_dims, x, y):
            seen.append((info.batch_size, info.randomness, in_dims))
            return agrad.expand_dims(x.sum(axis=1), axis=0) * agrad.expand_dims(y, axis=1), 1

    x, y = agrad.tensor([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]], requires_grad=True), agrad.tensor([10.0, 20.0])
    out = func.vmap(Sum.apply, (0, None))(x, y)
    assert seen == [(3, "error", (0, None))]
    assert out.tolist() == [[30.0, 60.0], [70.0, 140.0], [110.0, 220.0]]
    assert gradient(out.sum(), x)[0].tolist() == [[30.0, 30.0]] * 3
    per_sample = func.vmap(func.grad(lambda x, y: Sum.apply(x, y).sum()), (0, None))(x.detach(), y)
    assert per_sample.tolist() == [[30.0, 30.0]] * 3


def test_arguments_without_a_batch_and_gradients_of_one_sample_that_broadcast():
    class Scale(Function):
        @staticmethod
        def forward(ctx, x, w, k=1.0):
            ctx.save_for_backward(x, w)
            return x * w * k

        @staticmethod
        def backward(ctx, g):
            x, w = ctx.saved_tensors
            return (agrad.ones(4, 2) * (g * w), g * x, None)      # a first axis too many: it is summed

    x = agrad.tensor([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]], requires_grad=True)
    w = agrad.tensor(10.0, requires_grad=True)
    out = func.vmap(lambda x: Scale.apply(x, w, k=1.0))(x)
    found = gradient(out.sum(), (x, w))
    assert found[0].tolist() == [[40.0, 40.0]] * 3
    assert found[1].item() == 21.0


# ---- all backends


class Cube(Function):
    @staticmethod
    def forward(ctx, x):
        y = x * x * x
        ctx.save_for_backward(x)
        return y

    @staticmethod
    def backward(ctx, g):
        (x,) = ctx.saved_tensors
        return 3 * g * x * x


def test_first_and_second_derivatives_on_a_backend(backend):
    x = agrad.tensor([1.0, 2.0], requires_grad=True)
    (g,) = gradient(Cube.apply(x).sum(), x, create_graph=True)
    (h,) = gradient(g.sum(), x)
    Cube.apply(x * 2).sum().backward()
    assert g.backend_.name == backend
    assert (g.tolist(), h.tolist(), x.grad.tolist()) == ([3.0, 12.0], [6.0, 12.0], [24.0, 96.0])


def test_an_input_written_to_on_a_backend(backend):
    class PlusOne(Function):
        @staticmethod
        def forward(ctx, x):
            x += 1
            ctx.mark_dirty(x)
            return x

        @staticmethod
        def backward(ctx, g):
            return g * 3

    x = agrad.tensor([[1.0, 2.0], [3.0, 4.0]], requires_grad=True)
    y = x * 2
    row = y[0]
    assert PlusOne.apply(row) is row
    assert y.tolist() == [[3.0, 5.0], [6.0, 8.0]]
    assert gradient(y.sum(), x)[0].tolist() == [[6.0, 6.0], [2.0, 2.0]]


@pytest.mark.parametrize(("source", "target"), [("numpy", "torch"), ("torch", "array_api_strict")])
def test_from_one_backend_to_another(source, target):
    """What is written with one library's functions, for tensors of another."""
    pytest.importorskip("torch")

    class Elsewhere(Function):
        @staticmethod
        def forward(ctx, x):
            there = agrad.asarray(x.numpy()).to(backend=target)
            ctx.save_for_backward(x)
            return there * there

        @staticmethod
        def backward(ctx, g):
            (x,) = ctx.saved_tensors
            return 2 * x * agrad.asarray(g.numpy()).to(backend=source)

    with agrad.use_backend(source):
        x = agrad.tensor([1.0, 2.0], requires_grad=True)
    y = Elsewhere.apply(x * 1)
    assert y.backend_.name == target
    y.sum().backward()
    assert x.grad.backend_.name == source
    assert x.grad.tolist() == [2.0, 4.0]


def test_a_gradient_on_the_wrong_backend():
    class Wrong(Plain):
        @staticmethod
        def backward(ctx, g):
            return agrad.asarray(g.numpy()).to(backend="array_api_strict")

    x = agrad.ones(2, requires_grad=True)
    text = "invalid gradient at index 0 - on the backend array_api_strict, but the input is on"
    with pytest.raises(RuntimeError, match=text):
        Wrong.apply(x).sum().backward()


# ---- what is left behind


def test_nothing_is_left_by_a_finished_walk():
    x = agrad.ones(2, requires_grad=True)
    gc.collect()
    gc.disable()
    try:
        middle = x * 2
        y = Cube.apply(middle)
        alive = [weakref.ref(t) for t in (middle, y)]
        y.sum().backward()
        del middle, y
        assert [ref() for ref in alive] == [None, None]
        assert gc.collect() == 0
    finally:
        gc.enable()


def test_an_output_on_ctx_makes_a_cycle_that_is_collected_with_what_is_around_it():
    class Keeps(Plain):
        @staticmethod
        def forward(ctx, x):
            ctx.out = x * 2
            return ctx.out

    x = agrad.ones(2, requires_grad=True)
    y = Keeps.apply(x * 2)
    z = y * 3
    alive = weakref.ref(y)
    y.grad_fn.later = z      # and one through a node that was made later
    del y, z
    gc.collect()
    assert alive() is None


def test_a_long_chain_is_walked_and_freed():
    class Step(Function):
        @staticmethod
        def forward(ctx, x):
            ctx.x = x
            return x * 1.0

        @staticmethod
        def backward(ctx, g):
            return g

    x = agrad.ones(1, requires_grad=True)
    y = x
    for _ in range(20_000):
        y = Step.apply(y)
    y.sum().backward()
    assert x.grad.item() == 1.0
    del y
    gc.collect()


def test_threads_share_a_graph():
    x = agrad.ones(3, requires_grad=True)
    y = Cube.apply(x).sum()
    errors = []

    def walk():
        try:
            for _ in range(50):
                y.backward(retain_graph=True)
                gradient(Cube.apply(x).sum(), x, create_graph=True)
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=walk) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert x.grad.tolist() == [600.0] * 3


def test_backward_may_walk_a_graph_of_its_own():
    class Recomputes(Function):
        @staticmethod
        def forward(ctx, x):
            ctx.save_for_backward(x)
            return agrad.sin(x)

        @staticmethod
        def backward(ctx, g):
            x = ctx.saved_tensors[0].detach().requires_grad_()
            with agrad.enable_grad():
                y = agrad.sin(x)
            return gradient(y, x, g)[0]

    x = agrad.tensor([0.5], requires_grad=True)
    Recomputes.apply(x).backward(agrad.ones(1))
    assert x.grad.item() == pytest.approx(np.cos(0.5))


def test_saved_values_go_through_the_hooks_for_saved_values():
    packed = []

    def pack(t):
        packed.append(t.tolist())
        return t.numpy(force=True).copy()

    x = agrad.tensor([1.0, 2.0], requires_grad=True)
    with agrad.autograd.graph.saved_tensors_hooks(pack, agrad.asarray):
        y = Cube.apply(x)
    assert packed == [[1.0, 2.0]]
    (g,) = gradient(y.sum(), x, create_graph=True)
    assert gradient(g.sum(), x)[0].tolist() == [6.0, 12.0]


def test_what_a_function_saves_is_reported():
    class Saves(Plain):
        @staticmethod
        def forward(ctx, x):
            ctx.save_for_backward(None, x)
            return x * 2

    x = agrad.ones(4, requires_grad=True)
    with agrad.autograd.graph.saved_tensors_hooks(lambda t: t, lambda t: t):
        packed = Saves.apply(x * 1)
    rows = {row.op: row for row in agrad.autograd.graph.report(Saves.apply(x * 1), packed).rows}
    assert (rows["Saves"].nodes, rows["Saves"].saved, rows["Saves"].bytes) == (2, 1, 32)


def test_hooks_of_the_node():
    seen = []
    x = agrad.ones(2, requires_grad=True)
    y = Plain.apply(x)
    y.grad_fn.register_prehook(lambda gs: (gs[0] * 10,))
    y.grad_fn.register_hook(lambda inputs, outputs: seen.append((inputs[0].tolist(), outputs[0].tolist())))
    y.sum().backward()
    assert seen == [([30.0, 30.0], [10.0, 10.0])]
    assert x.grad.tolist() == [30.0, 30.0]


def test_functions_call_functions():
    class Outer(Function):
        @staticmethod
        def forward(ctx, x):
            ctx.save_for_backward(x)
            y = Cube.apply(x)
            assert not y.requires_grad
            return y

        @staticmethod
        def backward(ctx, g):
            (x,) = ctx.saved_tensors
            return g * 3 * Square.apply(x)

    class Square(Function):
        @staticmethod
        def forward(ctx, x):
            ctx.save_for_backward(x)
            return x * x

        @staticmethod
        def backward(ctx, g):
            return 2 * g * ctx.saved_tensors[0]

    x = agrad.tensor([1.0, 2.0], requires_grad=True)
    (g,) = gradient(Outer.apply(x).sum(), x, create_graph=True)
    assert g.tolist() == [3.0, 12.0]
    assert gradient(g.sum(), x)[0].tolist() == [6.0, 12.0]


# ---- values on ctx whose derivative is lost


def kept_on_ctx(keep, use):
    class Keeps(Function):
        @staticmethod
        def forward(ctx, x):
            keep(ctx, x)
            return x * x * x

        @staticmethod
        def backward(ctx, g):
            return 3 * g * use(ctx)

    return Keeps


def written(ctx, x):
    ctx.s = agrad.zeros(2)
    ctx.s[:1] = x[:1] * x[:1]
    ctx.s[1:] += (x * x)[1:]


class Box:
    def __init__(self, value):
        self.value = value


LOST = {
    "written into": (written, lambda ctx: ctx.s),
    "by a write to a view": (
        lambda ctx, x: (setattr(ctx, "s", agrad.zeros(2)), ctx.s[:].copy_(x * x)), lambda ctx: ctx.s
    ),
    "through another dtype": (lambda ctx, x: setattr(ctx, "s", (x * x).float().double()), lambda ctx: ctx.s),
    "of a nested function": (lambda ctx, x: setattr(ctx, "s", Cube.apply(x) / x), lambda ctx: ctx.s),
    "in an object": (lambda ctx, x: setattr(ctx, "s", Box(x * x)), lambda ctx: ctx.s.value),
}


@pytest.mark.parametrize(("keep", "use"), LOST.values(), ids=LOST)
def test_a_lost_derivative_is_never_silent(keep, use):
    fn = kept_on_ctx(keep, use)
    x = agrad.tensor([1.0, 2.0], requires_grad=True)
    assert gradient(fn.apply(x).sum(), x)[0].tolist() == [3.0, 12.0]
    with pytest.raises(RuntimeError, match=r"computed in Keeps\.forward from inputs that require grad"):
        gradient(gradient(fn.apply(x).sum(), x, create_graph=True)[0].sum(), x)


def test_a_lost_derivative_that_nobody_asks_for_is_no_error():
    fn = kept_on_ctx(lambda ctx, x: setattr(ctx, "s", x * x), lambda ctx: ctx.s)
    x, w = agrad.tensor([1.0, 2.0], requires_grad=True), agrad.ones(2, requires_grad=True)
    (g,) = gradient((fn.apply(x) * w).sum(), x, create_graph=True)
    assert gradient(g.sum(), w)[0].tolist() == [3.0, 12.0]
