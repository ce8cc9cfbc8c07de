"""`backward` and `grad`: sections G and H of the contract."""


def leaf(torch, *values):
    return torch.tensor(list(values) or [1.0, 2.0], requires_grad=True)


def arguments_of_backward(torch, see):
    t = leaf(torch)
    see((t * t).sum().backward())
    (t * t).backward(torch.ones(2), True, False, [t])
    see.grads(t)
    with see.error(text=True):
        t.sum().backward(foo=1)


def roots_of_one_element(torch, see):
    for shape in ((), (1,), (1, 1)):
        t = torch.ones(shape, requires_grad=True)
        (t * 3).backward()
        see.grads(t)
    with see.error(text=True):
        (leaf(torch) * 2).backward()
    with see.error():
        (torch.tensor([1 + 1j], requires_grad=True) * 2).backward()


def roots_without_a_graph(torch, see):
    t = leaf(torch)
    with see.error(text=True):
        torch.ones(1).backward()
    with see.error(text=True):
        torch.autograd.backward([t.sum(), torch.ones(1)])
    see.grads(t)


def cotangents_that_do_not_fit(torch, see):
    t = leaf(torch)
    with see.error():
        (t * 2).backward(torch.ones(3))
    with see.error():
        (t * 2).backward(torch.ones(1))
    with see.error():
        (t * 2).backward(1.0)
    with see.error():
        (t * 2).backward(torch.ones(2, dtype=torch.complex64))
    (t * 2).backward(torch.ones(2, dtype=torch.float64))
    see.grads(t)


def lists_that_do_not_fit(torch, see):
    t = leaf(torch)
    with see.error(text=True):
        torch.autograd.backward([t.sum(), t.sum()], [torch.tensor(1.0)])
    torch.autograd.backward([])
    with see.warned():
        torch.autograd.backward([t * 2], grad_variables=[torch.ones(2)])
    see.grads(t)


def several_roots(torch, see):
    t = leaf(torch)
    y = t * t
    torch.autograd.backward([y.sum(), y.sum(), (y * 2).sum()])
    see.grads(t)
    t.grad, z = None, (t * t).sum()
    torch.autograd.backward([z, z])
    see.grads(t)


def only_some_inputs(torch, see):
    a, b = leaf(torch), leaf(torch)
    y = a * b
    y.sum().backward(inputs=[a, a])
    see.grads(a, b)
    with see.error(text=True):
        (a * b).sum().backward(inputs=[])
    with see.error(text=True):
        (a * b).sum().backward(inputs=[torch.ones(2)])
    (a * 2).sum().backward(inputs=[b])
    see.grads(a, b)


def a_result_as_input(torch, see):
    t = leaf(torch)
    y = t * 2
    (y * y).sum().backward(inputs=[y])
    see.grads(y, t)
    see.flags(y)


def a_second_walk(torch, see):
    t = leaf(torch)
    y = (t * t).sum()
    y.backward()
    with see.error():
        y.backward()
    see.grads(t)
    y = (t + 1).sum()
    y.backward()
    y.backward()
    see.grads(t)
    y = (t * 2).sum()
    y.backward()
    with see.error():
        y.backward()


def a_second_walk_through_a_part(torch, see):
    t = leaf(torch)
    shared = t * t
    a, b = (shared * 2).sum(), (shared * 3).sum()
    a.backward()
    with see.error():
        b.backward()
    with see.error():
        torch.autograd.grad(b, shared)
    see.grads(t)


def a_retained_graph(torch, see):
    t = leaf(torch)
    y = (t.exp() * t).sum()
    for _ in range(3):
        y.backward(retain_graph=True)
    y.backward()
    see.grads(t)
    see.flags(y)
    with see.error():
        y.backward()


def retaining_follows_create_graph(torch, see):
    t = leaf(torch)
    y = (t * t).sum()
    torch.autograd.grad(y, t, create_graph=True)
    torch.autograd.grad(y, t)
    with see.error():
        torch.autograd.grad(y, t)
    z = (t * t).sum()
    (g,) = torch.autograd.grad(z, t, create_graph=True, retain_graph=False)
    see(g.requires_grad)
    with see.error():
        z.backward()


def walking_in_no_grad(torch, see):
    t = leaf(torch)
    y = (t * t * t).sum()
    with torch.no_grad():
        (g,) = torch.autograd.grad(y, t, create_graph=True)
        y.backward()
    see.new(g)
    see.grads(t)


def orders_of_nodes(torch, see):
    t = leaf(torch)
    a = t * 2
    b = t * 3
    c = a * 5
    for name, x in (("a", a), ("b", b), ("c", c)):
        x.register_hook(see.hook(name))
    (b + c).sum().backward()
    see.grads(t)


def a_node_runs_once(torch, see):
    t = leaf(torch)
    y = t * 2
    y.register_hook(see.hook("y"))
    sum([y * i for i in range(11)]).sum().backward()
    see.grads(t)


def an_error_in_the_walk(torch, see):
    a, b = leaf(torch), leaf(torch)

    def fail(g):
        raise KeyError("mine")

    y = a * 2
    y.register_hook(fail)
    z = b * 3
    with see.error():
        (y + z).sum().backward()
    see.grads(a, b)


def callbacks(torch, see):
    t = leaf(torch)
    y = t * 2
    queue = torch.autograd.Variable._execution_engine.queue_callback
    y.register_hook(lambda g: queue(lambda: see("at the end", t.grad)))
    t.register_hook(see.hook("leaf"))
    y.sum().backward()
    with see.error():
        queue(lambda: None)


def a_walk_within_a_walk(torch, see):
    t, u = leaf(torch), leaf(torch, 3.0, 4.0)

    def walk(g):
        with torch.enable_grad():
            (u * u).sum().backward()
        see("within", u.grad)

    y = t * 2
    y.register_hook(walk)
    y.sum().backward()
    see.grads(t, u)


def a_deep_graph(torch, see):
    t = leaf(torch)
    y = t
    for _ in range(20_000):
        y = y + 1
    y.sum().backward()
    see.grads(t)
    del y


def what_grad_returns(torch, see):
    a, b = leaf(torch), leaf(torch)
    see(torch.autograd.grad((a * b).sum(), a))
    see(torch.autograd.grad((a * b).sum(), [a, b, a]))
    see(torch.autograd.grad((a * b).sum(), {"a": a, "b": b}))
    see.grads(a, b)


def wrong_inputs_of_grad(torch, see):
    t = leaf(torch)
    with see.error(text=True):
        torch.autograd.grad(t.sum(), torch.ones(2))
    with see.error(text=True):
        torch.autograd.grad(t.sum(), [3])
    with see.error(text=True):
        torch.autograd.grad(t.sum(), [])
    with see.error(text=True):
        torch.autograd.grad(torch.ones(1), t)


def unused_inputs(torch, see):
    a, b = leaf(torch), leaf(torch)
    with see.error():
        torch.autograd.grad((a * a).sum(), [a, b])
    see(torch.autograd.grad((a * a).sum(), [a, b], allow_unused=True))
    see(torch.autograd.grad((a * a).sum(), [a, b], materialize_grads=True))
    with see.error(text=True):
        torch.autograd.grad((a * a).sum(), [a, b], allow_unused=False, materialize_grads=True)


def results_as_inputs_of_grad(torch, see):
    t = leaf(torch)
    y = t * 2
    z = (y * y).sum()
    see(torch.autograd.grad(z, [y, z, t], retain_graph=True), torch.autograd.grad(z, z))


def cotangents_of_grad(torch, see):
    t = leaf(torch)
    see(torch.autograd.grad([t * 2, t.sum()], t, [torch.tensor([1.0, 3.0]), None]))
    see(torch.autograd.grad(t * t, t, torch.tensor([[1.0, 0.0], [0.0, 1.0]]), is_grads_batched=True))
    with see.error():
        torch.autograd.grad(t * 2, t, torch.ones(3))
    with see.warned():
        torch.autograd.grad(t.sum(), t, only_inputs=False)


def a_gradient_without_a_graph(torch, see):
    t = leaf(torch)
    (g,) = torch.autograd.grad((t * t).sum(), t)
    see.new(g)
    with see.error(text=True):
        torch.autograd.grad(g.sum(), t)


def third_order(torch, see):
    t = leaf(torch)
    y = (t**4).sum()
    for _ in range(3):
        (y,) = torch.autograd.grad(y.sum(), t, create_graph=True)
        see.new(y)


def stored_and_differentiated(torch, see):
    t = leaf(torch)
    (t**3).sum().backward(create_graph=True)
    see.new(t.grad)
    (t.grad * t).sum().backward()
    see(t.grad)


def through_a_gradient_penalty(torch, see):
    w, x = leaf(torch), torch.tensor([0.5, -1.0], requires_grad=True)
    (g,) = torch.autograd.grad((w * x).tanh().sum(), x, create_graph=True)
    ((g * g).sum() + (w * x).sum()).backward()
    see.grads(w, x)


def dtypes_of_gradients(torch, see):
    a, b = (
        torch.ones(2, dtype=torch.float32, requires_grad=True),
        torch.ones(2, dtype=torch.float64, requires_grad=True),
    )
    (a * b * 2).sum().backward()
    see.grads(a, b)
    h = torch.ones(2, dtype=torch.float16, requires_grad=True)
    h.double().sum().backward()
    see.grads(h)
    a.grad = None
    a.double().float().exp().sum().backward()
    see.grads(a)


def a_detour_through_integers(torch, see):
    t = leaf(torch)
    y = t.long().float() * t
    y.sum().backward()
    see.grads(t)
    see.flags(t.long().float())


def complex_gradients(torch, see):
    z = torch.tensor([3 + 4j, 1 - 1j], requires_grad=True)
    (z.abs() ** 2).sum().backward()
    see.grads(z)
    z.grad = None
    (z * z).backward(torch.tensor([1 + 0j, 1j]))
    see.grads(z)
    for f in (torch.real, torch.imag):
        see(torch.autograd.grad(f(z * z).sum(), z))


def a_real_leaf_in_complex_arithmetic(torch, see):
    x = leaf(torch)
    y = x * (1 + 2j)
    see.whole(y)
    torch.real(y * y).sum().backward()
    see.grads(x)
    see(torch.autograd.grad(torch.exp(1j * x).imag.sum(), x))


def second_order_of_complex_numbers(torch, see):
    z = torch.tensor([1 + 2j, 0.5 - 1j], requires_grad=True)
    (g,) = torch.autograd.grad((torch.conj(z) * z * z).real.sum(), z, create_graph=True)
    see.new(g)
    see(torch.autograd.grad(g.real.sum() + g.imag.sum() * 2, z))


def broadcast_gradients(torch, see):
    a, b, c = (
        torch.ones(2, 1, requires_grad=True),
        torch.ones(3, requires_grad=True),
        torch.tensor(2.0, requires_grad=True),
    )
    (a * b * c).sum().backward()
    see.grads(a, b, c)


def empty_gradients(torch, see):
    t = torch.ones(0, 3, requires_grad=True)
    (t * 2).sum().backward()
    see.grads(t)
