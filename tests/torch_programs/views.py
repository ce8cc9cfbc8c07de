"""Views: the rest of section K of the contract. These run on immutable arrays too."""

from torch_programs.writes import base, walk


def a_view_written(torch, see):
    t, y = base(torch)
    row = y[0]
    row.mul_(3)
    see(y, row, y._version, row._version, y.grad_fn, row.grad_fn)
    walk(torch, see, y, t)
    walk(torch, see, (t * 1)[0], t)


def a_view_written_and_used(torch, see):
    t, y = base(torch)
    row = y[0]
    row.mul_(torch.tensor([2.0, 3.0, 4.0]))
    walk(torch, see, row * 2, t)


def sibling_views(torch, see):
    t, y = base(torch)
    row, column, flat = y[0], y[:, 0], y.reshape(-1)
    before = column.grad_fn
    row.mul_(3)
    see(column, flat, column._version, column.grad_fn is before, flat.grad_fn)
    (column.sum() * 2 + flat[1] * 5 + row.sum()).backward()
    see.grads(t)


def a_sibling_taken_after_the_write(torch, see):
    t, y = base(torch)
    y[0].sin_()
    late = y[:, :2]
    y[1].mul_(2)
    see.whole(late)
    walk(torch, see, late, t)


def views_of_views(torch, see):
    t, y = base(torch, (4,))
    a = y[1:]
    b = a[:2]
    c = b[1]
    see(a._base is y, b._base is y, c._base is y, y._base)
    c.mul_(10)
    b.add_(1)
    see(y, a, b, c, y._version, c._version)
    walk(torch, see, y, t)


def many_levels_of_views(torch, see):
    t, y = base(torch, (2, 3, 2))
    v = y.permute(2, 0, 1)[0].T.reshape(3, 1, 2)[1:]
    v *= 2
    see(y, v)
    walk(torch, see, y, t)
    walk(torch, see, v, t)


def a_transposed_view(torch, see):
    t, y = base(torch)
    y.T[0] = 0.0
    y.T.add_(1)
    see(y, y._version)
    walk(torch, see, y, t)


def an_unsqueezed_view(torch, see):
    t, y = base(torch, (3,))
    y.unsqueeze(0).mul_(2)
    y[None, :, None].add_(1)
    y[:1].squeeze().neg_()
    see.whole(y)
    walk(torch, see, y, t)


def a_diagonal_written(torch, see):
    t, y = base(torch, (3, 3))
    torch.linalg.diagonal(y).mul_(5)
    see(y, y._version)
    walk(torch, see, y, t)


def a_real_part_written(torch, see):
    z = torch.tensor([1 + 2j, 3 - 1j], requires_grad=True)
    y = z * 1
    y.real.mul_(2)
    y.imag[0] = 5.0
    see(y, y._version)
    (y.real * 3 + y.imag * 2).sum().backward()
    see.grads(z)


def a_view_of_a_plain_tensor(torch, see):
    t, _ = base(torch, (2,))
    x = torch.zeros(2, 2)
    row = x[0]
    see.flags(row, x)
    row.copy_(t)
    x[:, 1].add_(t[0])
    see(x, x.requires_grad, x.grad_fn, row.requires_grad, x.is_leaf, row.is_leaf)
    walk(torch, see, x * 1 + row, t)


def a_view_sees_a_write_to_its_base(torch, see):
    t, y = base(torch)
    row = y[0]
    y.mul_(4)
    see(row, row._version)
    walk(torch, see, row, t)


def a_view_sees_a_base_that_becomes_tracked(torch, see):
    t, _ = base(torch)
    x = torch.zeros(2, 3)
    row = x[0]
    x.add_(t)
    see(row, row.requires_grad, row.is_leaf)
    walk(torch, see, row, t)


def a_base_used_before_a_view_is_written(torch, see):
    t, y = base(torch)
    z = y * 2
    y[0].zero_()
    walk(torch, see, z + y, t)
    u, x = base(torch)
    w = x * x
    x[0].zero_()
    walk(torch, see, w, u)


def a_view_that_was_saved(torch, see):
    t, y = base(torch)
    row = y[0]
    z = row * row
    y[1].add_(1)
    walk(torch, see, z, t)


def views_that_do_not_overlap(torch, see):
    t, y = base(torch)
    z = y[0] * 3
    y[1].mul_(z)
    see(y)
    walk(torch, see, y, t)


def a_view_written_with_its_sibling(torch, see):
    t, y = base(torch)
    y[0].add_(y[1])
    y[1].mul_(y[0].clone())
    see(y)
    walk(torch, see, y, t)


def outputs_of_unbind(torch, see):
    _, y = base(torch)
    a, b = y
    with see.error():
        a.mul_(2)
    see(y, b)
    with torch.no_grad(), see.error():
        a.mul_(2)
    see(y)


def a_view_made_in_no_grad(torch, see):
    t, y = base(torch)
    with torch.no_grad():
        row = y[0]
    with see.error():
        row.mul_(2)
    with torch.no_grad():
        row.mul_(2)
    see(y, y._version)
    walk(torch, see, y, t)


def an_expanded_tensor(torch, see):
    x = torch.ones(1, 3)
    e = x.expand(2, 3)
    for write in (lambda: e.add_(1), lambda: e.mul_(torch.ones(2, 3))):
        with see.error():
            write()
    see(x, x._version)


def an_expanded_leaf_in_arithmetic(torch, see):
    t, y = base(torch, (1, 3))
    e = y.expand(2, 3)
    y.mul_(3)
    see(e)
    walk(torch, see, e, t)


def a_write_in_no_grad_keeps_history(torch, see):
    t, y = base(torch)
    node = y.grad_fn
    with torch.no_grad():
        y.add_(1)
        y[0] = 9.0
        y[:, 1].mul_(2)
    see(y.grad_fn is node)
    see.whole(y)
    walk(torch, see, y, t)


def set_grad_enabled_around_a_write(torch, see):
    t, y = base(torch)
    with torch.set_grad_enabled(False):
        y.mul_(2)
        with torch.enable_grad():
            y.mul_(3)
    see.whole(y)
    walk(torch, see, y, t)


def writes_allowed_over_saved_values(torch, see):
    with torch.autograd.graph.allow_mutation_on_saved_tensors():
        t, y = base(torch)
        c = torch.ones(2, 3) * 2
        e = y.exp()
        z = y * c
        e.mul_(2)
        y.zero_()
        c.zero_()
        walk(torch, see, e + z + y, t)
    see(y, c)


def a_value_written_with_itself_where_allowed(torch, see):
    with torch.autograd.graph.allow_mutation_on_saved_tensors():
        t, y = base(torch)
        y.mul_(y)
        y.mul_(y)
        walk(torch, see, y, t)


def versions_raised_by_hand(torch, see):
    t, y = base(torch)
    z = y * y
    torch.autograd.graph.increment_version(y)
    see.flags(y)
    walk(torch, see, z, t)


def hooks_and_writes(torch, see):
    t, y = base(torch, (2,))
    y.register_hook(see.hook("old"))
    y.mul_(3)
    y.register_hook(see.hook("new"))
    walk(torch, see, y, t)


def hooks_and_writes_through_views(torch, see):
    t, y = base(torch, (2,))
    y.register_hook(see.hook("old"))
    y[0].mul_(3)
    y.register_hook(see.hook("new"))
    walk(torch, see, y, t)


def retained_over_writes(torch, see):
    t, y = base(torch, (2,))
    y.retain_grad()
    y.mul_(3)
    see.flags(y)
    walk(torch, see, y * y, t, y)


def retained_over_writes_through_views(torch, see):
    t, y = base(torch, (2,))
    y.retain_grad()
    y[0].mul_(3)
    y.add_(1)
    see(y.retains_grad)
    walk(torch, see, y * y, t, y)


def hooks_that_change_gradients_of_written_values(torch, see):
    t, y = base(torch, (2,))
    y.register_hook(lambda g: g * 10)
    y.exp_()
    y.register_hook(lambda g: g * 0.5)
    walk(torch, see, y, t)


def second_order_through_writes(torch, see):
    t, y = base(torch, (3,))
    y[0] = t[1] * t[2]
    y[1:].mul_(t[:2])
    y.exp_()
    (g,) = torch.autograd.grad(y.sum(), t, create_graph=True)
    see.new(g)
    see(torch.autograd.grad((g * g).sum(), t))


def second_order_through_views(torch, see):
    t, y = base(torch)
    y.T[0].mul_(y[:, 1].clone())
    (g,) = torch.autograd.grad((y * y).sum(), t, create_graph=True)
    see(g)
    see(torch.autograd.grad(g.sum(), t))


def a_gradient_written(torch, see):
    t, _ = base(torch, (2,))
    (g,) = torch.autograd.grad((t**3).sum(), t, create_graph=True)
    g.mul_(2)
    see.new(g)
    walk(torch, see, g, t)


def a_stored_gradient_written(torch, see):
    t, _ = base(torch, (2,))
    (t * 3).sum().backward()
    t.grad.zero_()
    t.grad[0] = 5.0
    see.new(t.grad)
    (t * 3).sum().backward()
    see.new(t.grad)


def duplicates_are_read(torch, see):
    t, y = base(torch, (3,))
    walk(torch, see, y[[0, 0, 2]] * 2, t)
    i = torch.tensor([[0, 1], [1, 1]])
    walk(torch, see, (t * t)[i], t)


def a_copy_of_an_index_is_written(torch, see):
    t, y = base(torch)
    rows = y[[0, 1]]
    rows.mul_(5)
    some = y[y.detach() > 2]
    some.add_(1)
    see(y, rows, some, y._version, rows._version)
    walk(torch, see, rows, t)


def a_clone_written(torch, see):
    t, y = base(torch)
    c = y.clone()
    c.mul_(3)
    see(y, c, y._version, c._version)
    walk(torch, see, c + y, t)


def a_copy_in_another_dtype(torch, see):
    t, _ = base(torch)
    x = torch.zeros(2, 3, dtype=torch.float64)
    x.copy_(t)
    x[0] = t[1]
    see.whole(x)
    walk(torch, see, x, t)


def a_broadcast_copy(torch, see):
    t, _ = base(torch, (3,))
    x = torch.zeros(2, 3)
    x.copy_(t)
    x[:, 1:] = t[0]
    see.whole(x)
    walk(torch, see, x, t)


def a_view_of_a_detached_tensor(torch, see):
    t, y = base(torch)
    d = y.detach()
    d[0].add_(1)
    d[:, 1] = torch.ones(2, requires_grad=True) * 4
    see(y, d.requires_grad, y._version, y.grad_fn)
    walk(torch, see, y, t)


def a_leaf_becomes_a_result(torch, see):
    t, _ = base(torch, (2,))
    x = torch.zeros(2)
    see.flags(x)
    x += t
    see.flags(x)
    x.detach_()
    see.flags(x)
    x += 1
    see.whole(x)


def a_scalar_written(torch, see):
    t = torch.tensor(2.0, requires_grad=True)
    y = t * 1
    y.mul_(3)
    y += t
    v = y.reshape(1)
    v.mul_(2)
    see(y, v, y._version)
    y.backward()
    see.grads(t)


def elements_written(torch, see):
    t, y = base(torch)
    y[0, 1].mul_(5)
    y[1, 2] = t[0, 0] * 2
    e = y[1, 0]
    y.add_(1)
    see(e, y)
    walk(torch, see, y + e, t)


def clamps_in_place(torch, see):
    t, y = base(torch)
    y.clamp_(min=1.2, max=2.6)
    see(y)
    walk(torch, see, y, t)


def a_product_of_views_in_place(torch, see):
    t, y = base(torch, (2, 2))
    y[0].mul_(torch.matmul(y.detach(), t[1]))
    see(y)
    walk(torch, see, y, t)


def an_rnn_that_writes_its_states(torch, see):
    w, states = (torch.ones(2, 2) * 0.3).requires_grad_(), torch.zeros(4, 2)
    states[0] = 1.0
    for i in range(3):
        states[i + 1] = torch.tanh(states[i].clone() @ w)
    see(states)
    walk(torch, see, states, w)


def an_optimiser_with_momentum(torch, see):
    t, _ = base(torch, (2,))
    velocity = torch.zeros(2)
    for _ in range(3):
        t.grad = None
        (t * t).sum().backward()
        with torch.no_grad():
            velocity.mul_(0.9).add_(t.grad)
            t.sub_(velocity * 0.1)
    see.whole(t, velocity)
