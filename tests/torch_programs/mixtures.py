"""Several features at once: hooks on views, walks to views, writes under checkpoints, functions inside transforms."""

import importlib

from torch_programs.functions import double


def leaf(torch, *values):
    return torch.tensor(list(values) or [1.0, 2.0, 3.0], requires_grad=True)


def a_gradient_with_respect_to_a_view(torch, see):
    t = leaf(torch)
    y = t * 2
    v = y[1:]
    z = (v * v).sum() + y.sum()
    see(torch.autograd.grad(z, [v, y, t], retain_graph=True))
    z.backward(inputs=[v])
    see.grads(v, t)


def a_gradient_with_respect_to_a_view_of_a_leaf(torch, see):
    t = leaf(torch)
    v = t[1:]
    see.flags(v)
    see(torch.autograd.grad((v * v).sum(), v), torch.autograd.grad(t.sum(), t))
    with see.error():
        torch.autograd.grad((t * t).sum(), v)


def hooks_on_views(torch, see):
    t = leaf(torch)
    v = (t * 2)[1:]
    v.register_hook(see.hook("view", lambda g: g * 10))
    v.retain_grad()
    (v * v).sum().backward()
    see.grads(v, t)


def hooks_on_a_view_that_is_written(torch, see):
    t = leaf(torch)
    y = t * 2
    v = y[1:]
    v.register_hook(see.hook("before"))
    v.mul_(3)
    v.register_hook(see.hook("after"))
    (v * 2).sum().backward()
    see.grads(t)


def a_view_retained_and_its_base_written(torch, see):
    t = leaf(torch)
    y = t * 2
    v = y[1:]
    y.mul_(3)
    v.retain_grad()
    (v * v).sum().backward()
    see.grads(v, t)


def views_of_detached_views(torch, see):
    t, y = leaf(torch), leaf(torch) * 1
    d = y[1:].detach()
    r = d[1:]
    r *= t[:1]
    see(y, d, r, d.requires_grad, d._base is None, r._base is d)
    d.sum().backward()
    see.grads(t)


def a_leaf_of_a_detached_view(torch, see):
    y = torch.tensor([1.0, 2.0, 3.0])
    p = y[1:].detach().requires_grad_()
    (p * p).sum().backward()
    with torch.no_grad():
        p -= p.grad
    see(y, p, y._version, p._version)
    see.flags(p)


def one_of_several_outputs_written(torch, see):
    t = torch.tensor([[2.0, 1.0], [1.0, 3.0]], requires_grad=True)
    values, _ = torch.linalg.eigh(t)
    values.mul_(2)
    see(values.output_nr, values.grad_fn)
    with see.error():
        values.sum().backward()
    see.grads(t)


def a_base_written_twice_between_views(torch, see):
    t = leaf(torch)
    y = t * 1
    a = y[:2]
    y.mul_(2)
    b = y[1:]
    a.add_(1)
    y[0] = 5.0
    b.mul_(3)
    see(y, a, b, y._version)
    (a.sum() * 2 + b.sum() * 3 + y.sum()).backward()
    see.grads(t)


def hooks_only_on_some_inputs(torch, see):
    a, b = leaf(torch), leaf(torch)
    a.register_hook(see.hook("a"))
    b.register_hook(see.hook("b"))
    a.register_post_accumulate_grad_hook(lambda p: see("stored a", p.grad))
    b.register_post_accumulate_grad_hook(lambda p: see("stored b", p.grad))
    (a * b).sum().backward(inputs=[a])
    see(torch.autograd.grad((a * b).sum(), b))
    see.grads(a, b)


def multi_grad_hooks_and_inputs(torch, see):
    a, b = leaf(torch), leaf(torch)
    torch.autograd.graph.register_multi_grad_hook((a, b), see.hook("all"))
    (a * b).sum().backward(inputs=[a])
    (a * b).sum().backward(inputs=[a, b])


def node_hooks_in_grad(torch, see):
    t = leaf(torch)
    y = t * 2
    z = y * y
    y.grad_fn.register_prehook(see.hook("before y"))
    y.grad_fn.register_hook(see.hook("after y"))
    z.grad_fn.register_hook(see.hook("after z"))
    see(torch.autograd.grad(z.sum(), y, retain_graph=True))
    see(torch.autograd.grad(z.sum(), t))


def hooks_under_create_graph(torch, see):
    t = leaf(torch)
    y = t * t
    y.grad_fn.register_hook(lambda ins, outs: tuple(None if g is None else g * t for g in ins))
    (g,) = torch.autograd.grad(y.sum(), t, create_graph=True)
    see(g, torch.autograd.grad(g.sum(), t))


def packed_values_that_are_written(torch, see):
    t = leaf(torch)
    with torch.autograd.graph.saved_tensors_hooks(lambda x: x.clone(), lambda x: x):
        y = t * 1
        z = y * y
    y.add_(5)
    with see.error():
        z.sum().backward()
    see.grads(t)


def checkpoints_and_writes(torch, see):
    checkpoint = importlib.import_module(f"{torch.__name__}.utils.checkpoint").checkpoint
    t = leaf(torch)

    def f(x):
        y = x * 2
        y[0] = x[1] * 3
        y[1:].mul_(x[:2])
        return y.exp_()

    checkpoint(f, t * 0.1, use_reentrant=False).sum().backward()
    see.grads(t)


def checkpoints_and_hooks(torch, see):
    checkpoint = importlib.import_module(f"{torch.__name__}.utils.checkpoint").checkpoint
    t = leaf(torch)

    def f(x):
        y = x.sin()
        if y.requires_grad:
            y.register_hook(see.hook("inner"))
        return y * y

    y = checkpoint(f, t, use_reentrant=False)
    y.register_hook(see.hook("outer"))
    y.sum().backward()
    see.grads(t)


def checkpoints_differentiated_twice(torch, see):
    checkpoint = importlib.import_module(f"{torch.__name__}.utils.checkpoint").checkpoint
    t = leaf(torch)
    y = checkpoint(lambda x: x.exp() * x, t, use_reentrant=False)
    (g,) = torch.autograd.grad(y.sum(), t, create_graph=True)
    see(g, torch.autograd.grad(g.sum(), t))


def functions_in_place_on_views(torch, see):
    t = leaf(torch)
    y = t * 1
    v = y[1:]
    double(torch).apply(v)
    see(y, v)
    (y * y).sum().backward()
    see.grads(t)


def views_returned_by_functions(torch, see):
    class Part(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return x[1:]

        @staticmethod
        def backward(ctx, g):
            return torch.cat([torch.zeros(1), g])

    t = leaf(torch)
    y = t * 1
    part = Part.apply(y)
    see(part, part.requires_grad)
    part.sum().backward()
    see.grads(t)
    with see.error():
        Part.apply(t * 1).mul_(2)


def functions_of_functions(torch, see):
    class Square(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            ctx.save_for_backward(x)
            return x * x

        @staticmethod
        def backward(ctx, g):
            (x,) = ctx.saved_tensors
            return Twice.apply(x) * g

    class Twice(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return x * 2

        @staticmethod
        def backward(ctx, g):
            see("twice", g)
            return g * 2

    t = leaf(torch)
    (g,) = torch.autograd.grad(Square.apply(t).sum(), t, create_graph=True)
    see(g, torch.autograd.grad((g * g).sum(), t))


def func_grad_and_captured_writes(torch, see):
    x, kept = torch.tensor([1.0, 2.0]), torch.tensor([3.0, 4.0])

    def f(x):
        local = kept.clone()
        local.mul_(x)
        local[0] += 1
        return (local * x).sum()

    see(torch.func.grad(f)(x), kept, torch.func.jvp(f, (x,), (x,)), torch.func.hessian(f)(x))


def func_of_tracked_values(torch, see):
    t = leaf(torch)
    y = torch.func.grad(lambda x: (x**3).sum())(t)
    see(y.requires_grad)
    y.sum().backward()
    see.grads(t)
    t.grad = None
    torch.func.vmap(lambda x: x * x)(t).sum().backward()
    see.grads(t)
    t.grad = None
    torch.func.jvp(lambda x: x**3, (t,), (torch.ones(3),))[1].sum().backward()
    see.grads(t)


def backward_inside_transforms(torch, see):
    def f(x):
        y = x.detach().requires_grad_()
        (g,) = torch.autograd.grad((y**3).sum(), y)
        return (g * x).sum()

    x = torch.tensor([1.0, 2.0])
    see(f(x), torch.func.grad(f)(x), torch.func.vmap(f)(torch.stack([x, x * 2])))


def no_grad_inside_transforms(torch, see):
    def f(x):
        with torch.no_grad():
            scale = x.sin()
        return (x * scale).sum()

    x = torch.tensor([1.0, 2.0])
    see(torch.func.grad(f)(x), torch.func.jvp(f, (x,), (x,)), torch.func.hessian(f)(x))
    with torch.no_grad():
        see(torch.func.grad(f)(x), torch.func.jvp(f, (x,), (x,))[1])


def kinks_under_transforms(torch, see):
    x = torch.tensor([0.0, 0.0, 2.0])
    for f in (torch.abs, torch.relu, lambda x: x.amax(), lambda x: torch.maximum(x, x * 1), lambda x: x**2, torch.prod):
        total = lambda x: f(x).sum()  # noqa: E731, B023
        see(torch.func.grad(total)(x), torch.func.jvp(total, (x,), (torch.ones(3),))[1])
        see(torch.func.vmap(torch.func.grad(total))(torch.stack([x, x + 1])))


def a_dual_leaf_written(torch, see):
    fw = torch.autograd.forward_ad
    with fw.dual_level():
        dual = fw.make_dual(torch.tensor([1.0, 2.0]), torch.tensor([1.0, 1.0]))
        view = dual[:1]
        dual.mul_(3)
        view.add_(dual[1:])
        see(dual, fw.unpack_dual(dual).tangent, fw.unpack_dual(view).tangent)


def dual_values_after_their_level(torch, see):
    fw = torch.autograd.forward_ad
    with fw.dual_level():
        y = fw.make_dual(torch.tensor([1.0, 2.0]), torch.tensor([1.0, 1.0])) * 2
    see(y, y + 1)
    with fw.dual_level():
        see(fw.unpack_dual(y).tangent)


def inference_values_in_no_grad(torch, see):
    with torch.inference_mode():
        x = torch.ones(2)
    t = leaf(torch, 1.0, 2.0)
    with torch.no_grad():
        see((t * x).is_inference(), t * x)
        t.mul_(x)
    see(t, t._version)
    with see.error():
        t.detach().add_(x).mul_(t)


def anomalies_with_hooks(torch, see):
    t = torch.tensor([0.0, 1.0], requires_grad=True)
    with torch.autograd.set_detect_anomaly(True):
        y = t * 2
        y.register_hook(lambda g: g * float("nan"))
        with see.error():
            y.sum().backward()
    see.grads(t)


def threads_that_write(torch, see):
    import threading

    t = leaf(torch)
    y = t * 1
    thread = threading.Thread(target=lambda: y[1:].mul_(3))
    thread.start()
    thread.join()
    see(y, y.grad_fn, y._version)
    y.sum().backward()
    see.grads(t)
