"""Forward mode, `func`, `autograd.functional`, checkpointing: section O of the contract."""

import importlib
from collections import namedtuple


def leaf(torch, *values):
    return torch.tensor(list(values) or [1.0, 2.0], requires_grad=True)


def dual_numbers(torch, see):
    fw = torch.autograd.forward_ad
    x, t = torch.tensor([1.0, 2.0]), torch.tensor([1.0, -1.0])
    with fw.dual_level():
        dual = fw.make_dual(x, t)
        y = dual * dual + dual.sin().sum()
        see(y, fw.unpack_dual(y).primal, fw.unpack_dual(y).tangent)
        see(fw.unpack_dual(x).tangent, fw.unpack_dual(dual)._fields)
    see(dual)


def wrong_dual_numbers(torch, see):
    fw = torch.autograd.forward_ad
    with see.error(text=True):
        fw.make_dual(torch.ones(2), torch.ones(2))
    with fw.dual_level():
        with see.error():
            fw.make_dual(torch.ones(2), torch.ones(3))
        with see.error():
            fw.make_dual(torch.tensor([1, 2]), torch.tensor([1, 2]))
        with see.error(text=True), fw.dual_level():
            pass


def forward_over_reverse(torch, see):
    fw = torch.autograd.forward_ad
    t = leaf(torch)
    with fw.dual_level():
        dual = fw.make_dual(t, torch.ones(2))
        (g,) = torch.autograd.grad((dual**3).sum(), dual, create_graph=True)
        see(fw.unpack_dual(g).primal, fw.unpack_dual(g).tangent)


def reverse_over_forward(torch, see):
    fw = torch.autograd.forward_ad
    t = leaf(torch)
    with fw.dual_level():
        y = fw.unpack_dual(fw.make_dual(t, torch.ones(2)) ** 3).tangent
        see(y.requires_grad)
        y.sum().backward()
    see.grads(t)


def tangents_that_require_grad(torch, see):
    fw = torch.autograd.forward_ad
    x, t = torch.tensor([1.0, 2.0]), leaf(torch)
    with fw.dual_level():
        y = fw.unpack_dual(fw.make_dual(x, t) ** 2).tangent
        y.sum().backward()
    see.grads(t)


def dual_numbers_written_in_place(torch, see):
    fw = torch.autograd.forward_ad
    with fw.dual_level():
        y = fw.make_dual(torch.tensor([1.0, 2.0, 3.0]), torch.tensor([1.0, 0.0, 2.0])) * 1
        y.mul_(y[0].clone())
        y[1:].add_(5)
        y[0] = 7.0
        z = torch.zeros(3)
        z[1:] = y[:2]
        see(y, fw.unpack_dual(y).tangent, fw.unpack_dual(z).tangent)


def func_grad(torch, see):
    f = lambda x, y: (x * y * y).sum()  # noqa: E731
    x, y = torch.tensor([1.0, 2.0]), torch.tensor([3.0, 4.0])
    for argnums in (0, 1, -1, (0, 1)):
        see(torch.func.grad(f, argnums=argnums)(x, y))
    see(torch.func.grad_and_value(f)(x, y))
    see(torch.func.grad(lambda x: ((x**2).sum(), {"aux": x + 1}), has_aux=True)(x))
    see.new(torch.func.grad(f)(x, y))


def func_grad_of_wrong_results(torch, see):
    x = torch.tensor([1.0, 2.0])
    with see.error():
        torch.func.grad(lambda x: x * 2)(x)
    with see.error():
        torch.func.grad(lambda x: 3.0)(x)
    with see.error():
        torch.func.grad(lambda x: x.sum())(torch.tensor([1, 2]))


def func_grad_and_other_leaves(torch, see):
    t, x = leaf(torch), torch.tensor([1.0, 2.0])
    y = torch.func.grad(lambda x: (x * x * t).sum())(x)
    see(y.requires_grad)
    y.sum().backward()
    see.grads(t)
    with torch.no_grad():
        see(torch.func.grad(lambda x: (x**2).sum())(x))


def func_grad_of_grad(torch, see):
    f = lambda x: x.sin() * x  # noqa: E731
    x = torch.tensor(0.7)
    g = torch.func.grad
    see(g(f)(x), g(g(f))(x), g(g(g(f)))(x))


def perturbations(torch, see):
    g = torch.func.grad
    x = torch.tensor(2.0)
    see(g(lambda x: x * g(lambda y: x * y)(torch.tensor(3.0)))(x))
    see(g(lambda x: x * g(lambda y: x + y)(x))(x))
    one = torch.tensor(1.0)
    jvp = lambda f, x: torch.func.jvp(f, (x,), (one,))[1]  # noqa: E731
    see(jvp(lambda x: x * jvp(lambda y: x * y * y, x), x))
    see(jvp(lambda x: g(lambda y: x * x * y * y)(x), x), g(lambda x: jvp(lambda y: x * x * y * y, x))(x))


def func_vjp_and_jvp(torch, see):
    f = lambda x, y: (x * y, x.sum() + y)  # noqa: E731
    x, y = torch.tensor([1.0, 2.0]), torch.tensor([3.0, 4.0])
    out, back = torch.func.vjp(f, x, y)
    see(out, back((torch.ones(2), torch.tensor([1.0, 0.0]))))
    see(torch.func.jvp(f, (x, y), (torch.ones(2), torch.zeros(2))))
    see(torch.func.jvp(lambda x: (x * x, x), (x,), (x,), has_aux=True))
    out, back, aux = torch.func.vjp(lambda x: (x**2, {"a": x}), x, has_aux=True)
    see(out, back(torch.ones(2)), aux)
    line, push = torch.func.linearize(lambda x: x.sin() * x, x)
    see(line, push(torch.ones(2)), push(x))


def jacobians(torch, see):
    f = lambda x, y: x[:, None] * y.sin() + x.sum()  # noqa: E731
    x, y = torch.tensor([1.0, 2.0]), torch.tensor([3.0, 4.0, 5.0])
    for jacobian in (torch.func.jacrev, torch.func.jacfwd):
        see(jacobian(f)(x, y), jacobian(f, argnums=(0, 1))(x, y))
        see(jacobian(jacobian(lambda x: (x**3).sum()))(x))
    see(torch.func.hessian(lambda x: (x.exp() * x[0]).sum())(x))


def pytrees(torch, see):
    Pair = namedtuple("Pair", "w b")
    model = {"first": Pair(torch.ones(2, 2), torch.zeros(2)), "list": [torch.tensor(2.0)]}
    f = lambda m, x: (m["first"].w @ x + m["first"].b).tanh().sum() * m["list"][0]  # noqa: E731
    g = torch.func.grad(f)(model, torch.tensor([0.1, 0.2]))
    see(g["first"].w, g["first"].b, g["list"], type(g["first"]).__name__)
    see(torch.func.jacrev(lambda m: {"y": m["a"] * m["b"]})({"a": torch.ones(2), "b": torch.tensor([2.0, 3.0])}))


def vmaps(torch, see):
    x, y = torch.arange(6.0).reshape(3, 2), torch.arange(3.0) + 1
    vmap = torch.func.vmap
    see(vmap(lambda x, y: (x * y).sum())(x, y))
    see(vmap(lambda x, y: x * y, in_dims=(0, None))(x, torch.ones(2)))
    see(vmap(lambda x: x.sum(), in_dims=1)(x))
    see(vmap(lambda x: x * 2, in_dims=0, out_dims=1)(x))
    see(vmap(lambda x: (x.sum(), {"m": x.max()}))(x))
    see(vmap(vmap(lambda a, b: a * b, in_dims=(None, 0)), in_dims=(0, None))(y, torch.ones(2)))
    see(vmap(lambda x: x @ x)(x), vmap(lambda x: x.reshape(2, 1) @ x.reshape(1, 2))(x), vmap(lambda x: x[0] + x[-1])(x))
    see(vmap(lambda d: d["a"] * 2, in_dims=({"a": 1},))({"a": x}))
    see(vmap(lambda x: x.cumsum(0), chunk_size=2)(x))


def wrong_vmaps(torch, see):
    x = torch.arange(6.0).reshape(3, 2)
    vmap = torch.func.vmap
    for wrong in (
        lambda: vmap(lambda x, y: x)(x, torch.ones(2)),
        lambda: vmap(lambda x: x, in_dims=5)(x),
        lambda: vmap(lambda x: x.item())(x),
        lambda: vmap(lambda x: 3.0)(x),
        lambda: vmap(lambda: 1)(),
        lambda: vmap(lambda x: x if x.sum() > 0 else -x)(x),
        lambda: vmap(lambda x: x, in_dims=(0, 0))(x),
    ):
        with see.error():
            wrong()


def gradients_per_sample(torch, see):
    w, xs, ys = torch.tensor([0.5, -1.0]), torch.arange(6.0).reshape(3, 2), torch.tensor([1.0, 0.0, 2.0])
    loss = lambda w, x, y: ((x * w).sum() - y) ** 2  # noqa: E731
    see(torch.func.vmap(torch.func.grad(loss), in_dims=(None, 0, 0))(w, xs, ys))
    t = w.clone().requires_grad_()
    out = torch.func.vmap(loss, in_dims=(None, 0, 0))(t, xs, ys)
    see(out, out.requires_grad)
    out.sum().backward()
    see.grads(t)


def writes_under_transforms(torch, see):
    def f(x):
        y = x * 1
        y[0] = x[1] * 2
        y[1:].mul_(x[0])
        return y.exp_().sum()

    x = torch.tensor([0.1, 0.2, 0.3])
    see(torch.func.grad(f)(x), torch.func.jvp(f, (x,), (torch.ones(3),)), torch.func.vmap(f)(torch.stack([x, 2 * x])))
    see(torch.func.hessian(f)(x))
    see(torch.func.vmap(torch.func.grad(f))(torch.stack([x, 2 * x])))


def batched_values_written_into_a_plain_tensor(torch, see):
    def f(x):
        y = torch.zeros(2)
        y.add_(x)
        return y

    with see.error():
        see(torch.func.vmap(f)(torch.ones(3, 2)))


def functional_jacobians(torch, see):
    functional = torch.autograd.functional
    x, y = torch.tensor([1.0, 2.0]), torch.tensor([3.0, 4.0])
    f = lambda x, y: (x * y * y).sum()  # noqa: E731
    see(functional.jacobian(lambda x: x**2, x), functional.jacobian(lambda x, y: x * y, (x, y)))
    see(functional.hessian(f, (x, y)), functional.hessian(lambda x: (x**3).sum(), x))
    see(functional.vjp(lambda x: x**2, x, torch.ones(2)), functional.jvp(lambda x: x**2, x, torch.ones(2)))
    see(
        functional.hvp(lambda x: (x**3).sum(), x, torch.ones(2)),
        functional.vhp(lambda x: (x**3).sum(), x, torch.ones(2)),
    )


def functional_refusals(torch, see):
    functional = torch.autograd.functional
    x = torch.tensor([1.0, 2.0])
    with see.error():
        functional.hessian(lambda x: x * 2, x)
    with see.error():
        functional.vjp(lambda x: x * 2, x)
    with see.error():
        functional.jacobian(lambda x: x.detach() * 2, x, strict=True)
    see(functional.jacobian(lambda x: x.detach() * 2, x))
    see.new(functional.jacobian(lambda x: x**3, x.requires_grad_(), create_graph=True))


def gradients_checked(torch, see):
    gradcheck, gradgradcheck = torch.autograd.gradcheck, torch.autograd.gradgradcheck
    x = torch.tensor([0.5, 2.0], dtype=torch.float64, requires_grad=True)
    see(gradcheck(lambda x: x.sin() * x, (x,)), gradgradcheck(lambda x: x**3, (x,)))
    see(gradcheck(lambda x: x.detach() * x, (x,), raise_exception=False))
    with see.error():
        gradcheck(lambda x: x.detach() * x, (x,))
    with see.error():
        gradcheck(lambda x: x, (x.detach(),))


def checkpoints(torch, see):
    checkpoint = importlib.import_module(f"{torch.__name__}.utils.checkpoint").checkpoint
    t = leaf(torch)

    def f(x):
        see("runs", torch.is_grad_enabled())
        return x.exp().sin() * 2

    y = checkpoint(f, t, use_reentrant=False)
    see(y, y.requires_grad)
    y.sum().backward()
    see.grads(t)
    z = checkpoint(lambda x: checkpoint(f, x, use_reentrant=False) * 2, t, use_reentrant=False)
    see(torch.autograd.grad(z.sum(), t))
    with torch.no_grad():
        see(checkpoint(f, t, use_reentrant=False).requires_grad)


def checkpoints_in_sequence(torch, see):
    sequential = importlib.import_module(f"{torch.__name__}.utils.checkpoint").checkpoint_sequential
    t = leaf(torch)
    y = sequential([torch.sin, torch.exp, torch.tanh, lambda x: x * 2], 2, t, use_reentrant=False)
    y.sum().backward()
    see(y)
    see.grads(t)


def checkpoints_that_do_something_else_the_second_time(torch, see):
    checkpoint = importlib.import_module(f"{torch.__name__}.utils.checkpoint").checkpoint
    t, runs = leaf(torch), []

    def f(x):
        runs.append(1)
        return x.exp() if len(runs) == 1 else x.exp().sin().exp()

    with see.error():
        checkpoint(f, t, use_reentrant=False).sum().backward()


def functional_calls(torch, see):
    x = torch.tensor([1.0, 2.0])
    see(torch.func.vmap(torch.func.jacrev(lambda x: x**2))(torch.stack([x, x * 2])))
    see(torch.func.jacfwd(torch.func.jacrev(lambda x: (x**4).sum()))(x))
    see(torch.func.jacrev(torch.func.jacfwd(lambda x: (x**4).sum()))(x))
    see(torch.func.vmap(lambda x: torch.func.jvp(torch.sin, (x,), (torch.ones(2),))[1])(torch.stack([x, x])))
