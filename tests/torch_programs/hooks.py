"""Hooks and retained gradients: sections I and J of the contract."""


def leaf(torch, *values):
    return torch.tensor(list(values) or [1.0, 2.0], requires_grad=True)


def retaining(torch, see):
    t = leaf(torch)
    y = t * 2
    y.retain_grad()
    y.retain_grad()
    t.retain_grad()
    see.flags(t, y)
    (y * y).sum().backward()
    see.grads(t, y)
    with see.error(text=True):
        torch.ones(2).retain_grad()


def retaining_adds_up(torch, see):
    t = leaf(torch)
    y = t * 2
    y.retain_grad()
    z = (y * y).sum()
    z.backward(retain_graph=True)
    first = y.grad
    z.backward()
    see(first is y.grad, first, y.grad)


def retained_after_all_hooks(torch, see):
    t = leaf(torch)
    y = t * 2
    y.register_hook(lambda g: g * 10)
    y.retain_grad()
    y.register_hook(lambda g: g + 1)
    y.sum().backward()
    see.grads(t, y)


def retained_in_grad(torch, see):
    t = leaf(torch)
    y = t * 2
    y.retain_grad()
    see(torch.autograd.grad((y * y).sum(), t, create_graph=True))
    see.grads(y)


def order_of_tensor_hooks(torch, see):
    t = leaf(torch)
    y = t * 2
    for i in range(3):
        y.register_hook(see.hook(f"y{i}"))
        t.register_hook(see.hook(f"t{i}"))
    y.sum().backward()


def hooks_that_replace(torch, see):
    t = leaf(torch)
    y = t * 2
    y.register_hook(see.hook("a", lambda g: g * 3))
    y.register_hook(see.hook("b"))
    y.register_hook(see.hook("c", lambda g: g + 1))
    t.register_hook(see.hook("leaf", lambda g: -g))
    y.sum().backward()
    see.grads(t)


def hooks_get_the_sum(torch, see):
    t = leaf(torch)
    y = t * 2
    y.register_hook(see.hook("y"))
    (y * 3 + y * y).sum().backward()
    see.grads(t)


def hooks_that_write(torch, see):
    t = leaf(torch)
    y = t * 2
    y.register_hook(lambda g: (g.mul_(5), None)[1])
    (y * y).sum().backward()
    see.grads(t)


def wrong_results_of_hooks(torch, see):
    for result in (torch.ones(3), torch.ones(2, dtype=torch.float64), 3):
        t = leaf(torch)
        y = t * 2
        y.register_hook(lambda g: result)  # noqa: B023
        with see.error():
            y.sum().backward()
        see.grads(t)


def hooks_on_plain_tensors(torch, see):
    with see.error(text=True):
        torch.ones(2).register_hook(print)


def handles(torch, see):
    t = leaf(torch)
    y = t * 2
    handle = y.register_hook(see.hook("removed"))
    handle.remove()
    handle.remove()
    with y.register_hook(see.hook("within")):
        y.sum().backward(retain_graph=True)
    y.sum().backward()
    see.grads(t)


def a_hook_that_removes_itself(torch, see):
    t = leaf(torch)
    y = t * 2
    handles = []

    def hook(g):
        see("once", g)
        handles[0].remove()

    handles.append(y.register_hook(hook))
    y.register_hook(see.hook("always"))
    y.sum().backward(retain_graph=True)
    y.sum().backward()


def leaf_hooks_after_the_forward(torch, see):
    t = leaf(torch)
    y = (t * 2).sum()
    t.register_hook(see.hook("late", lambda g: g * 2))
    y.backward(retain_graph=True)
    see(torch.autograd.grad(y, t))
    see.grads(t)


def hooks_of_captured_inputs(torch, see):
    t = leaf(torch)
    y = t * 2
    y.register_hook(see.hook("y", lambda g: g * 7))
    t.register_hook(see.hook("t"))
    see(torch.autograd.grad((y * y).sum(), y))


def hooks_and_create_graph(torch, see):
    t = leaf(torch)
    y = t * t
    y.register_hook(lambda g: (see("grad mode", torch.is_grad_enabled(), g.requires_grad), g * t)[1])
    (g,) = torch.autograd.grad((y * y).sum(), t, create_graph=True)
    see(g, torch.autograd.grad(g.sum(), t))
    y = t * t
    y.register_hook(lambda g: see("grad mode", torch.is_grad_enabled()))
    y.sum().backward()


def errors_in_hooks(torch, see):
    t = leaf(torch)

    def fail(g):
        raise ZeroDivisionError

    t.register_hook(fail)
    with see.error():
        (t * 2).sum().backward()
    see.grads(t)


def after_accumulation(torch, see):
    t = leaf(torch)
    t.register_post_accumulate_grad_hook(see.hook("after", lambda p: see("stored", p.grad, p is t)))
    t.register_hook(see.hook("before"))
    (t * 2).sum().backward()
    (t * 3).sum().backward()
    see.grads(t)
    see(torch.autograd.grad((t * 2).sum(), t))


def after_accumulation_the_gradient_may_go(torch, see):
    t = leaf(torch)

    def drop(p):
        see("grad", p.grad)
        p.grad = None

    handle = t.register_post_accumulate_grad_hook(drop)
    (t * 2).sum().backward()
    see.grads(t)
    handle.remove()
    (t * 2).sum().backward()
    see.grads(t)


def after_accumulation_wrongly(torch, see):
    t = leaf(torch)
    with see.error(text=True):
        (t * 2).register_post_accumulate_grad_hook(print)
    t.register_post_accumulate_grad_hook(lambda p: 3)
    with see.error():
        (t * 2).sum().backward()


def an_optimiser_in_the_walk(torch, see):
    t, u = leaf(torch), leaf(torch, 3.0, 4.0)
    for p in (t, u):

        def update(p):
            with torch.no_grad():
                p.sub_(p.grad * 0.1)
            p.grad = None

        p.register_post_accumulate_grad_hook(update)
    (t * 2 + u * 3).sum().backward()
    see(t, u)
    see.grads(t, u)


def node_hooks(torch, see):
    t = leaf(torch)
    y = t * 2
    y.grad_fn.register_hook(see.hook("after"))
    y.grad_fn.register_prehook(see.hook("before"))
    y.sum().backward()
    see.grads(t)


def node_hooks_of_two_inputs(torch, see):
    a, b, c = leaf(torch), torch.tensor([3.0, 4.0]), leaf(torch, 5.0, 6.0)
    y, z = a * b, a * c
    y.grad_fn.register_hook(see.hook("y"))
    z.grad_fn.register_hook(see.hook("z"))
    (y + z).sum().backward()
    see.grads(a, c)


def node_hooks_that_replace(torch, see):
    t = leaf(torch)
    y = t * 2
    y.grad_fn.register_prehook(lambda outs: (outs[0] * 10,))
    y.grad_fn.register_hook(lambda ins, outs: (ins[0] + outs[0], *ins[1:]))
    y.sum().backward()
    see.grads(t)


def a_prehook_that_stops(torch, see):
    t = leaf(torch)
    y = t * 2
    y.grad_fn.register_prehook(lambda outs: (None,))
    y.sum().backward()
    see.grads(t)


def wrong_results_of_node_hooks(torch, see):
    for result in ((), 3, (None, None, None)):
        t = leaf(torch)
        y = t * t
        y.grad_fn.register_hook(lambda ins, outs: result)  # noqa: B023
        with see.error():
            y.sum().backward()


def the_whole_order(torch, see):
    t = leaf(torch)
    m = t * 2
    leaf_node = m.grad_fn.next_functions[0][0]
    leaf_node.register_hook(see.hook("posthook of the leaf's node"))
    leaf_node.register_prehook(see.hook("prehook of the leaf's node"))
    t.register_post_accumulate_grad_hook(lambda p: see("after accumulation", p.grad))
    m.grad_fn.register_hook(see.hook("posthook of m's node"))
    m.grad_fn.register_prehook(see.hook("prehook of m's node"))
    m.register_hook(see.hook("hook of m"))
    m.retain_grad()
    t.register_hook(see.hook("hook of t"))
    m.sum().backward()
    see.grads(t, m)


def removed_node_hooks(torch, see):
    t = leaf(torch)
    y = t * 2
    y.grad_fn.register_hook(see.hook("gone")).remove()
    with y.grad_fn.register_prehook(see.hook("within")):
        y.sum().backward(retain_graph=True)
    y.sum().backward()
    see.grads(t)


def multi_grad_hooks(torch, see):
    a, b, c = leaf(torch), leaf(torch, 3.0, 4.0), leaf(torch, 5.0, 6.0)
    handle = torch.autograd.graph.register_multi_grad_hook((a, b, c), see.hook("all"))
    (a * b).sum().backward()
    (a * b * c).sum().backward()
    handle.remove()
    (a * b * c).sum().backward()


def any_of_several_gradients(torch, see):
    a, b = leaf(torch), leaf(torch, 3.0, 4.0)
    y = a * 2
    torch.autograd.graph.register_multi_grad_hook((y, b), see.hook("any"), mode="any")
    (y * b).sum().backward()
    (b * 2).sum().backward()
    with see.error(text=True):
        torch.autograd.graph.register_multi_grad_hook((a, b), print, mode="foo")


def hooks_of_several_outputs(torch, see):
    t = torch.tensor([[2.0, 1.0], [1.0, 3.0]], requires_grad=True)
    values, _ = torch.linalg.eigh(t)
    values.register_hook(see.hook("values"))
    values.sum().backward()
    see.grads(t)


def gradient_edges(torch, see):
    t = leaf(torch)
    y = t * 2
    edge = torch.autograd.graph.get_gradient_edge(y)
    see(edge.node is y.grad_fn, edge.output_nr, edge._fields)
    z = (y * y).sum()
    see(torch.autograd.grad(z, edge, retain_graph=True))
    see(torch.autograd.grad(torch.autograd.graph.get_gradient_edge(z), t, retain_graph=True))
    z.backward(inputs=[torch.autograd.graph.get_gradient_edge(t)])
    see.grads(t)
    with see.error():
        torch.autograd.graph.get_gradient_edge(torch.ones(2))
    with see.error():
        torch.autograd.grad(torch.autograd.graph.get_gradient_edge(t * 2), t)


def packed_values(torch, see):
    t = leaf(torch)
    pack, unpack = see.hook("pack", lambda x: x * 1), see.hook("unpack", lambda x: x)
    with torch.autograd.graph.saved_tensors_hooks(pack, unpack):
        y = t * t
    y.sum().backward()
    see.grads(t)


def packed_results(torch, see):
    t = leaf(torch)
    with torch.autograd.graph.saved_tensors_hooks(lambda x: x.detach() * 2, lambda x: x):
        y = t.exp()
    y.sum().backward()
    see.grads(t)


def nested_packing(torch, see):
    t = leaf(torch)
    hooks = torch.autograd.graph.saved_tensors_hooks
    with hooks(see.hook("outer", lambda x: x), lambda x: x):
        a = t.exp()
        with hooks(see.hook("inner", lambda x: x), lambda x: x):
            b = t.exp()
        c = t.exp()
    (a + b + c).sum().backward()
    see.grads(t)


def wrong_packing(torch, see):
    t = leaf(torch)
    hooks = torch.autograd.graph.saved_tensors_hooks
    with hooks(lambda x: x, lambda x: 3):
        y = t.exp()
    with see.error():
        y.sum().backward()
    with see.error(), hooks(lambda x: x.mul_(2), lambda x: x):
        (t * 1).exp()


def packing_disabled(torch, see):
    graph = torch.autograd.graph
    with (
        graph.disable_saved_tensors_hooks("not here"),
        see.error(text=True),
        graph.saved_tensors_hooks(lambda x: x, lambda x: x),
    ):
        see("not reached")
    with graph.saved_tensors_hooks(lambda x: x, lambda x: x):
        see("here")


def values_kept_on_the_cpu(torch, see):
    t = leaf(torch)
    with torch.autograd.graph.save_on_cpu():
        y = t * t.exp()
    y.sum().backward()
    see.grads(t)


def saved_values_read(torch, see):
    t = leaf(torch)
    y = t * t
    see(y.grad_fn._saved_self is t, y.grad_fn._saved_other)
    z = t.exp()
    see(z.grad_fn._saved_result is z, z.grad_fn._saved_result)
    z.sum().backward()
    with see.error():
        z.grad_fn._saved_result  # noqa: B018
