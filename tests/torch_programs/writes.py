"""Writes in place and versions: section K of the contract. These run on immutable arrays too."""


def base(torch, shape=(2, 3)):
    """A tracked leaf and a result that may be written."""
    n = 1
    for k in shape:
        n *= k
    leaf = (torch.arange(float(n)).reshape(shape) / 2 + 1).requires_grad_()
    return leaf, leaf * 1


def walk(torch, see, y, *leaves):
    """Differentiate a result with weights that tell its elements apart."""
    w = torch.arange(float(y.numel())).reshape(tuple(y.shape)) + 1
    with see.error():
        (y * w).sum().backward()
    see.grads(*leaves)


def writes_to_a_leaf(torch, see):
    t, _ = base(torch)
    for write in (
        lambda: t.add_(1),
        lambda: t.mul_(2),
        lambda: t.zero_(),
        lambda: t.copy_(t.detach()),
        lambda: t[0].add_(1),
        lambda: t.__setitem__(0, 5.0),
        lambda: t.reshape(-1)[0].exp_(),
    ):
        with see.error(text=True):
            write()
    see.whole(t)


def writes_to_a_leaf_in_no_grad(torch, see):
    t, _ = base(torch)
    with torch.no_grad():
        t.add_(1)
        t[0] = 5.0
        t[:, 1].mul_(2)
    see.whole(t)
    walk(torch, see, t * t, t)


def every_write_counts(torch, see):
    x = torch.tensor([1.0, 2.0])
    for write in (
        lambda: x.add_(1),
        lambda: x.sub_(1),
        lambda: x.mul_(2),
        lambda: x.div_(2),
        lambda: x.exp_(),
        lambda: x.zero_(),
        lambda: x.fill_(3),
        lambda: x.copy_(torch.ones(2)),
        lambda: x.clamp_(min=0.5),
        lambda: x.__setitem__(0, 1.0),
        lambda: x.sqrt_(),
        lambda: x.neg_(),
        lambda: x.pow_(2),
        lambda: x.tanh_(),
        lambda: x.abs_(),
    ):
        write()
        see.whole(x)


def writes_and_their_history(torch, see):
    t, y = base(torch)
    first = y.grad_fn
    for write in (
        lambda: y.add_(1),
        lambda: y.mul_(2),
        lambda: y.tan(),
        lambda: y.sin_(),
        lambda: y.__setitem__(0, 1.0),
    ):
        write()
        see(y.grad_fn, y.grad_fn is first, y._version)
    walk(torch, see, y, t)


def augmented_assignments(torch, see):
    t, y = base(torch)
    same = y
    y += t
    y *= 2
    y -= t * t
    y /= t
    y **= 2
    see(same is y)
    see.whole(y)
    walk(torch, see, y, t)


def a_saved_result_overwritten(torch, see):
    t, _ = base(torch)
    y = t.exp()
    y.mul_(2)
    walk(torch, see, y, t)


def a_saved_operand_overwritten(torch, see):
    t, y = base(torch)
    z = y * y
    y.add_(1)
    walk(torch, see, z, t)


def a_saved_constant_overwritten(torch, see):
    t, _ = base(torch)
    c = torch.ones(2, 3)
    z = t * c
    c[0, 0] = 7.0
    walk(torch, see, z, t)


def overwritten_but_not_needed(torch, see):
    t, y = base(torch)
    c = torch.ones(2, 3)
    z = y + c
    c.add_(1)
    y.mul_(3)
    walk(torch, see, z, t)
    u, a = base(torch)
    b = a * torch.ones(2, 3)
    a.zero_()
    walk(torch, see, b, u)


def only_the_needed_gradient_is_checked(torch, see):
    a, b = base(torch)[0], base(torch)[0]
    y = a.exp()
    z = (y * 2 + b * 3).sum()
    y.zero_()
    see(torch.autograd.grad(z, b, retain_graph=True))
    with see.error():
        torch.autograd.grad(z, a)


def overwritten_through_a_twin(torch, see):
    for write in (lambda y: y.detach().add_(1), lambda y: y.detach()[0].zero_(), lambda y: y[:1].detach().mul_(2)):
        t, y = base(torch)
        z = y * y
        write(y)
        see(y, y._version)
        walk(torch, see, z, t)


def overwritten_through_data(torch, see):
    t, y = base(torch)
    z = y * y
    y.data.add_(1)
    see.whole(y)
    walk(torch, see, z, t)


def an_index_overwritten(torch, see):
    t, _ = base(torch)
    i = torch.tensor([0, 1])
    z = t[i]
    i.zero_()
    walk(torch, see, z, t)


def a_mask_overwritten(torch, see):
    t, y = base(torch)
    mask = y.detach() > 2
    z = torch.where(mask, y, y * 2)
    mask.fill_(False)
    walk(torch, see, z, t)


def updates_between_walks(torch, see):
    t, _ = base(torch)
    y = (t * t).sum()
    y.backward(retain_graph=True)
    with torch.no_grad():
        t -= 0.1 * t.grad
    with see.error():
        y.backward()
    see.whole(t)
    (t * t).sum().backward()
    see.grads(t)


def a_value_times_itself_in_place(torch, see):
    t, y = base(torch)
    y.mul_(y)
    walk(torch, see, y, t)
    t.grad, y = None, t * 1
    y.add_(y)
    walk(torch, see, y, t)


def a_tracked_operand_written_into_a_plain_tensor(torch, see):
    t, _ = base(torch)
    for write in (lambda x: x.add_(t), lambda x: x.copy_(t), lambda x: x.mul_(t), lambda x: x.__setitem__(0, t[1])):
        x = torch.ones(2, 3)
        write(x)
        see.whole(x)
        walk(torch, see, x, t)


def a_tracked_value_written_into_integers(torch, see):
    t, _ = base(torch)
    x = torch.ones(2, 3, dtype=torch.int64)
    for write in (lambda: x.add_(t), lambda: x.add_(0.5), lambda: x.mul_(torch.ones(2, 3))):
        with see.error():
            write()
    see.whole(x)
    x.add_(2)
    see.whole(x)


def results_that_do_not_fit(torch, see):
    x = torch.ones(1)
    with see.error():
        x.add_(torch.ones(3))
    see.whole(x)


def a_loop_that_fills(torch, see):
    t, _ = base(torch, (4,))
    x = torch.zeros(4)
    for i in range(4):
        x[i] = t[i] * (x[i - 1] + 1)
    see.whole(x)
    walk(torch, see, x, t)


def a_loop_that_fills_rows(torch, see):
    t, _ = base(torch, (3,))
    x = torch.zeros(2, 3)
    for i in range(2):
        x[i, :] = t * (i + 1)
        x[i, i] += t[2]
    see.whole(x)
    walk(torch, see, x, t)


def overwritten_elements_have_zero_gradients(torch, see):
    for write in (
        lambda y: y.zero_(),
        lambda y: y.fill_(2.0),
        lambda y: y.copy_(torch.ones(2, 3)),
        lambda y: y.__setitem__(0, 7.0),
        lambda y: y.__setitem__(y.detach() > 2, 7.0),
        lambda y: y.__setitem__(Ellipsis, 7.0),
        lambda y: y.__setitem__((slice(None), [0, 2]), 1.0),
        lambda y: y.__setitem__((1, 1), 0.0),
    ):
        t, y = base(torch)
        write(y)
        see(y, y._version)
        walk(torch, see, y, t)


def tensors_set_by_key(torch, see):
    for key, shape in (
        (0, (3,)),
        (slice(None), (2, 3)),
        ((slice(None), 1), (2,)),
        ((Ellipsis, slice(1, None)), (2, 2)),
        ([1, 0], (2, 3)),
        (([0, 1], [2, 0]), (2,)),
        (1, ()),
        ((None, 0), (1, 3)),
    ):
        t, y = base(torch)
        v, _ = base(torch, shape) if shape else (torch.tensor(3.0, requires_grad=True), None)
        y[key] = v * 2
        see(y, y._version, y.grad_fn)
        walk(torch, see, y, t, v)


def a_mask_set_to_a_tensor(torch, see):
    t, y = base(torch)
    v = torch.tensor([5.0, 6.0, 7.0], requires_grad=True)
    y[y.detach() > 2.2] = v * 1
    see.whole(y)
    walk(torch, see, y, t, v)


def a_mask_with_a_view_behind(torch, see):
    t, y = base(torch)
    row = y[1]
    row[row.detach() > 2.7] = 0.0
    see(y, row, y._version, row._version)
    walk(torch, see, y, t)


def indices_and_slices_mixed(torch, see):
    t, y = base(torch, (2, 3, 2))
    y[:, [0, 2]] *= 2
    y[0, :, 1] = 3.0
    y[..., 0] += t[..., 1]
    see.whole(y)
    walk(torch, see, y, t)


def an_augmented_item(torch, see):
    t, y = base(torch)
    y[0] += 1
    y[:, 1] *= t[:, 0]
    y[[0, 1], [0, 2]] -= 2
    see(y, y._version)
    walk(torch, see, y, t)
