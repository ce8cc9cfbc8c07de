"""Leaves and flags: sections A to F of the contract."""

import copy
import pickle


def a_fresh_tensor(torch, see):
    see.whole(torch.tensor([1.0, 2.0]), torch.tensor([1.0, 2.0], requires_grad=True))


def results_of_ops(torch, see):
    t = torch.tensor([1.0, 2.0], requires_grad=True)
    for y in (
        t + 1,
        t * 2,
        t - 1,
        1 - t,
        t / 2,
        2 / t,
        -t,
        t**2,
        2**t,
        t**t,
        t.abs(),
        t.sum(),
        t.mean(),
        t.exp(),
        t.max(),
        t.clone(),
        t.sin(),
        t.tanh(),
        t.log(),
        t.sqrt(),
        t.prod(),
    ):
        see.whole(y)


def nodes_of_views_and_joins(torch, see):
    t = torch.ones(2, 3).requires_grad_()
    for y in (
        t[0],
        t[:1],
        t[None],
        t[[0]],
        t[t > 0],
        t.reshape(3, 2),
        t.permute(1, 0),
        torch.cat([t, t]),
        torch.stack([t, t]),
        torch.where(t > 0, t, 0.0),
        t.unsqueeze(0),
        t.expand(4, 2, 3),
        t @ t.T,
        t.cumsum(0),
    ):
        see(y, y.grad_fn, y.output_nr)


def unpacking(torch, see):
    t = torch.tensor([1.0, 2.0], requires_grad=True)
    a, b = t
    see.flags(a, b)
    see(a.grad_fn is b.grad_fn)
    (a * 3 + b).backward()
    see.grads(t)


def several_outputs(torch, see):
    t = torch.tensor([[2.0, 1.0], [1.0, 3.0]], requires_grad=True)
    values, vectors = torch.linalg.eigh(t)
    see(values.output_nr, vectors.output_nr, values.grad_fn is vectors.grad_fn, values.grad_fn)
    values.sum().backward()
    see.grads(t)


def edges(torch, see):
    t, c = torch.tensor([1.0, 2.0], requires_grad=True), torch.tensor([3.0, 4.0])
    node = (t * c).grad_fn
    see(node.next_functions)
    leaf = node.next_functions[0][0]
    see(leaf.variable is t, leaf.next_functions, leaf is (t + 1).grad_fn.next_functions[0][0])
    see((c * c).grad_fn, (t * t).grad_fn.next_functions)


def node_objects(torch, see):
    t = torch.tensor([1.0, 2.0], requires_grad=True)
    y = t * 2
    y.grad_fn.metadata["mine"] = 5
    see(
        y.grad_fn is y.grad_fn,
        y.grad_fn.metadata,
        isinstance(y.grad_fn, torch.autograd.graph.Node),
        y.grad_fn.requires_grad,
    )


def read_only_attributes(torch, see):
    t = torch.tensor([1.0, 2.0], requires_grad=True)
    with see.error():
        t.grad_fn = None
    with see.error():
        t.is_leaf = False
    with see.error():
        t._version = 3


def integers_are_not_tracked(torch, see):
    t = torch.tensor([1.0, 2.0], requires_grad=True)
    for y in (t > 1, t == t, t.argmax(), t.long(), t.bool(), t.max(dim=0)[1], t.long().double() * 1):
        see.whole(y)


def flags_of_integers(torch, see):
    for make in (
        lambda: torch.tensor([1, 2], requires_grad=True),
        lambda: torch.ones(2, dtype=torch.bool).requires_grad_(),
    ):
        with see.error():
            make()
    t = torch.tensor([1, 2])
    t.requires_grad = False
    see.flags(t)
    with see.error():
        t.requires_grad = True
    with see.error():
        t.requires_grad = "yes"


def the_flag_of_a_result(torch, see):
    y = torch.tensor([1.0], requires_grad=True) * 2
    with see.error(text=True):
        y.requires_grad = False
    with see.error(text=True):
        y.requires_grad = True
    with see.error(text=True):
        y.requires_grad_(False)
    see(y.requires_grad_() is y)


def a_flag_turned_on_late(torch, see):
    a = torch.tensor([1.0, 2.0])
    y, view = a * 2, a[:1]
    see(a.requires_grad_() is a)
    see(y.requires_grad, view.requires_grad, (y + a).requires_grad)
    (y + a).sum().backward()
    see.grads(a)


def a_flag_turned_off(torch, see):
    t = torch.tensor([1.0, 2.0], requires_grad=True)
    y = (t * 2).sum()
    t.requires_grad_(False)
    see((t * 2).requires_grad, y.requires_grad)
    y.backward()
    see.grads(t)


def a_gradient_survives_the_flag(torch, see):
    t = torch.tensor([1.0, 2.0], requires_grad=True)
    t.sum().backward()
    t.requires_grad_(False)
    see.grads(t)


def likes_are_not_tracked(torch, see):
    t = torch.tensor([1.0, 2.0], requires_grad=True)
    see.whole(torch.zeros_like(t), torch.ones_like(t), torch.zeros_like(t, requires_grad=True))


def conversions_that_return_the_tensor(torch, see):
    t = torch.tensor([1.0, 2.0], requires_grad=True)
    see(t.to(torch.float32) is t, t.float() is t, t.contiguous() is t, t.clone() is t, torch.as_tensor(t) is t)


def numpy_of_a_tracked_tensor(torch, see):
    t = torch.tensor([1.0, 2.0], requires_grad=True)
    with see.error(text=True):
        t.numpy()
    with torch.no_grad():
        see(t.numpy().tolist())
    see(t.detach().numpy().tolist(), t.tolist(), t[0].item())


def item_of_many(torch, see):
    with see.error(text=True):
        torch.tensor([1.0, 2.0]).item()
    with see.error():
        bool(torch.tensor([1.0, 2.0]))


def detaching(torch, see):
    t = torch.tensor([1.0, 2.0], requires_grad=True)
    y = t * 1
    d = y.detach()
    see.whole(d)
    d.add_(1)
    see(y, y._version, d._version)
    y.sum().backward()
    see.grads(t)


def detaching_in_place(torch, see):
    t = torch.tensor([1.0, 2.0], requires_grad=True)
    y = t * 2
    see(y.detach_() is y)
    see.whole(y)
    z = (t * 2)[:1]
    with see.error():
        z.detach_()


def data_has_its_own_version(torch, see):
    t = torch.tensor([1.0, 2.0], requires_grad=True)
    y = t * t
    t.data[0] = 5.0
    see.whole(t)
    y.sum().backward()
    see.grads(t)


def data_assigned(torch, see):
    t = torch.tensor([1.0, 2.0], requires_grad=True)
    t.data = torch.tensor([4.0, 5.0, 6.0])
    see.whole(t)
    (t * t).sum().backward()
    see.grads(t)


def copies(torch, see):
    t = torch.tensor([1.0, 2.0], requires_grad=True)
    (t * t).sum().backward()
    deep, shallow = copy.deepcopy(t), copy.copy(t)
    see.new(deep, shallow)
    see.grads(deep)
    with torch.no_grad():
        t.add_(1)
    see(deep, shallow)
    with see.error(text=True):
        copy.deepcopy(t * 2)


def pickles(torch, see):
    t = torch.tensor([1.0, 2.0], requires_grad=True)
    t.sum().backward()
    twin = pickle.loads(pickle.dumps(t))
    see.new(twin)
    see.grads(twin)


def wrong_gradients_assigned(torch, see):
    t = torch.tensor([1.0, 2.0], requires_grad=True)
    with see.error(text=True):
        t.grad = [1.0, 2.0]
    with see.error(text=True):
        t.grad = t
    with see.error(text=True):
        t.grad = torch.ones(3)
    with see.error():
        t.grad = torch.ones(2, dtype=torch.float64)
    see.grads(t)


def gradients_assigned_and_deleted(torch, see):
    t, plain = torch.tensor([1.0, 2.0], requires_grad=True), torch.tensor([1.0, 2.0])
    t.grad, plain.grad = torch.ones(2), torch.ones(2)
    (t * 3).sum().backward()
    see.grads(t, plain)
    del t.grad
    see.grads(t)


def the_gradient_object_stays(torch, see):
    t = torch.tensor([1.0, 2.0], requires_grad=True)
    (t * 3).sum().backward()
    g = t.grad
    (t * 4).sum().backward()
    see(g is t.grad, g)


def the_gradient_object_is_new_with_a_graph(torch, see):
    t = torch.tensor([1.0, 2.0], requires_grad=True)
    (t * t).sum().backward(create_graph=True)
    g = t.grad
    (t * t * t).sum().backward(create_graph=True)
    see(g is t.grad)
    see.new(t.grad)


def a_gradient_used_in_a_graph(torch, see):
    t, w = torch.tensor([1.0, 2.0], requires_grad=True), torch.tensor([1.0, 2.0], requires_grad=True)
    (t * 3).sum().backward()
    y = (w * t.grad).sum()
    (t * 4).sum().backward()
    with see.error():
        y.backward()
    see.grads(w, t)


def gradients_do_not_alias(torch, see):
    a, b = torch.tensor([1.0, 2.0], requires_grad=True), torch.tensor([1.0, 2.0], requires_grad=True)
    g = torch.ones(2)
    (a + b).backward(g)
    a.grad.mul_(5)
    see(g, a.grad, b.grad)
    a.backward(g)
    see(a.grad, g)


def gradients_of_a_transposed_leaf(torch, see):
    t = torch.ones(2, 3).T.requires_grad_()
    (t * torch.arange(6.0).reshape(3, 2)).sum().backward()
    see.new(t.grad)


def a_scalar_leaf(torch, see):
    t = torch.tensor(3.0, requires_grad=True)
    t.backward()
    see.grads(t)
    t.backward()
    see.grads(t)


def the_gradient_of_a_result(torch, see):
    y = torch.tensor([1.0, 2.0], requires_grad=True) * 2
    with see.warned():
        see(y.grad)
    y.retain_grad()
    with see.warned():
        see(y.grad)


def a_gradient_that_requires_grad(torch, see):
    t, g = torch.tensor([1.0, 2.0], requires_grad=True), torch.ones(2, requires_grad=True)
    (t * t).backward(g)
    see.new(t.grad)


def hashes_and_membership(torch, see):
    t = torch.tensor([1.0, 2.0], requires_grad=True)
    see(hash(t) == id(t), len({t, t * 1}), t in {t: 1})


def variables(torch, see):
    t = torch.tensor([1.0, 2.0])
    see(isinstance(t, torch.autograd.Variable), torch.autograd.Variable is torch.Tensor)
    see.whole(torch.autograd.Variable(t, requires_grad=True))


def texts(torch, see):
    t = torch.tensor([1.0, 2.0], requires_grad=True)
    for x in (t, t * 2, t.detach(), t.sum(), torch.tensor([1.0], dtype=torch.float64, requires_grad=True), t[:0]):
        see(repr(x))
    see(f"{t[0].detach():.2f}", str(t) == repr(t))
