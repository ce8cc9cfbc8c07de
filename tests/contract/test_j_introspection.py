"""Sections A and J: what a node shows of itself, and places in the graph."""

import gc
import weakref

import pytest


@pytest.fixture
def graph(torch):
    return torch.autograd.graph


FREED = (
    "Trying to backward through the graph a second time (or directly access saved tensors after they have already been "
    "freed). Saved intermediate values of the graph are freed when you call .backward() or autograd.grad(). Specify "
    "retain_graph=True if you need to backward through the graph a second time or if you need to access saved tensors "
    "after calling backward."
)


def test_s007_public_attributes(graph, t):
    node = (t * 2).grad_fn
    assert isinstance(node, graph.Node)
    names = {"metadata", "name", "next_functions", "register_hook", "register_prehook", "requires_grad"}
    assert names <= set(dir(node))
    node.metadata["mine"] = 3
    assert node.metadata == {"mine": 3}


def test_s080_saved_values_are_gone_after_backward(t, raises):
    y = t * t
    node = y.grad_fn
    assert node._saved_self is t
    y.sum().backward()
    with raises(RuntimeError, start=FREED):
        node._saved_self    # noqa: B018
    with raises(RuntimeError, start=FREED):
        node._saved_other   # noqa: B018
    with raises(RuntimeError, start="Calling register_hooks on a saved tensor after it has been freed."):
        node._raw_saved_self.register_hooks(lambda x: x, lambda x: x)


def test_s123_a_saved_leaf_is_the_leaf(t):
    node = (t * t).grad_fn
    assert node._saved_self is t
    assert node._saved_other is t
    assert (t * 2).sin().grad_fn._saved_self is not t


def test_s123_a_saved_output_has_the_same_history(t):
    y = t.exp()
    saved = y.grad_fn._saved_result
    assert saved is not y
    assert saved.grad_fn is y.grad_fn
    assert saved.tolist() == y.tolist()


def test_s123_a_saved_result_of_another_operation_has_its_history(t):
    m = t * 2
    saved = m.sin().grad_fn._saved_self
    assert saved.grad_fn is m.grad_fn
    assert saved.tolist() == m.tolist()


def test_s123_what_need_not_be_saved_is_none(torch, t):
    node = (t * torch.tensor([3.0, 4.0])).grad_fn
    assert node._saved_self is None
    assert node._saved_other.tolist() == [3.0, 4.0]


def test_s123_names_that_are_not_there(t):
    for name in ("_saved_self", "_saved_nonsense", "_raw_saved_self", "nonsense"):
        with pytest.raises(AttributeError, match=f"object has no attribute '{name}'"):
            getattr((t + 1).grad_fn, name)
    assert not hasattr((t + 1).grad_fn, "_saved_self")


@pytest.mark.parametrize(
    ("program", "tensors"),
    [
        (lambda t: t * t, {"self", "other"}),
        (lambda t: t / t, {"self", "other"}),
        (lambda t: t**t, {"self", "exponent", "result"}),
        (lambda t: t.exp(), {"result"}),
        (lambda t: t.log(), {"self"}),
        (lambda t: t.sqrt(), {"result"}),
        (lambda t: t.tanh(), {"result"}),
        (lambda t: t.reshape(1, 2) @ t.reshape(2, 1), {"self", "mat2"}),
        (lambda t: t.abs(), {"self"}),
    ],
)
def test_s123_names_of_saved_tensors(t, program, tensors):
    node = program(t).grad_fn
    listed = set(dir(node))
    for name in tensors:
        assert {f"_saved_{name}", f"_raw_saved_{name}"} <= listed
        assert getattr(node, f"_saved_{name}") is not None


def test_s123_static_arguments(t):
    assert t.reshape(1, 2).sum(0, keepdim=True).grad_fn._saved_keepdim is True
    assert (t * t).cumsum(0).grad_fn._saved_dim == 0


def test_s123_index_tensors(torch, t):
    saved = t[torch.tensor([1, 1])].grad_fn._saved_indices
    saved = saved[0] if isinstance(saved, tuple) else saved
    assert saved.tolist() == [1, 1]


@pytest.mark.differs("PyTorch has names of its own only")
def test_s123_agrads_names(t):
    node = (t * t).grad_fn
    assert node._saved_x1 is t
    assert node._saved_x2 is t
    assert t.exp().grad_fn._saved_out.tolist() == t.exp().tolist()
    total = t.reshape(1, 2).sum(0, keepdim=True).grad_fn
    assert (total._saved_axis, total._saved_keepdims) == (0, True)
    assert {"_saved_x1", "_saved_self", "_raw_saved_x1"} <= set(dir(node))
    assert (t * 3).grad_fn._saved_other == 3


@pytest.mark.differs("PyTorch does not save operands of concat")
def test_s123_several_operands_are_a_tuple(torch, t):
    saved = torch.einsum("i,i,i->i", t, t, t * 2).grad_fn._saved_tensors
    assert saved[0] is t
    assert saved[2].grad_fn.name() == "MulBackward0"


def test_s123_hooks_of_one_value(torch, t):
    packed, unpacked = [], []

    def pack(x):
        packed.append(x.tolist())
        return x.detach().clone()

    def unpack(x):
        unpacked.append(1)
        return x

    y = t.exp() * t
    node = y.grad_fn
    node._raw_saved_self.register_hooks(pack, unpack)
    assert packed == [t.exp().tolist()]
    saved = node._saved_self
    assert unpacked == [1]
    assert saved.grad_fn.name() == "ExpBackward0"
    y.sum().backward(retain_graph=True)
    assert unpacked == [1, 1]
    assert torch.allclose(t.grad, t.detach().exp() * (t.detach() + 1))
    (g,) = torch.autograd.grad(y.sum(), t, create_graph=True)
    (second,) = torch.autograd.grad(g.sum(), t)
    assert torch.allclose(second, t.detach().exp() * (t.detach() + 2))


def test_s123_hooks_are_set_once_and_on_values(torch, graph, t, raises):
    node = (t * t).grad_fn
    node._raw_saved_self.register_hooks(lambda x: x, lambda x: x)
    again = (
        "Calling register_hooks on a saved tensor whose hooks have already been set. Hint: only one pair of hooks is "
        "allowed at a time."
    )
    with raises(RuntimeError, again):
        node._raw_saved_self.register_hooks(lambda x: x, lambda x: x)
    with graph.saved_tensors_hooks(lambda x: x, lambda x: x):
        node = (t * t).grad_fn
    with raises(RuntimeError, again):
        node._raw_saved_self.register_hooks(lambda x: x, lambda x: x)
    node = (t * torch.ones(2)).grad_fn
    with raises(RuntimeError, "Calling register_hooks on a saved tensor with value None is forbidden"):
        node._raw_saved_self.register_hooks(lambda x: x, lambda x: x)
    with pytest.raises(TypeError):
        node._raw_saved_other.register_hooks(3, lambda x: x)
    with raises(TypeError, "Output of saved tensor unpack_hook expected to be a Tensor but got result of type int"):
        y = t.exp()
        y.grad_fn._raw_saved_result.register_hooks(lambda x: x, lambda x: 3)
        y.sum().backward()


def test_s123_hooks_must_not_write(t, raises):
    node = (t * 1).sin().grad_fn
    with raises(RuntimeError, start="A saved tensor pack hook is modifying its input in place."):
        node._raw_saved_self.register_hooks(lambda x: x.mul_(2), lambda x: x)


def test_s124_fields(graph, t):
    m = t * 2
    edge = graph.get_gradient_edge(m)
    assert edge.node is m.grad_fn
    assert edge.output_nr == 0
    assert edge._fields == ("node", "output_nr", "ownership_token")
    leaf = graph.get_gradient_edge(t)
    assert leaf.node is m.grad_fn.next_functions[0][0]
    assert graph.get_gradient_edge(t.unbind()[1]).output_nr == 1


def test_s124_tensors_without_gradient_have_none(torch, graph, raises):
    text = "It is not possible to get the gradient edge for a Tensor that does not require gradients"
    with raises(RuntimeError, text):
        graph.get_gradient_edge(torch.ones(2))


def test_s096_edges_as_inputs(torch, graph, t):
    m = t * 2
    edges = [graph.get_gradient_edge(m), graph.get_gradient_edge(t), graph.GradientEdge(m.grad_fn, 0)]
    a, b, c = torch.autograd.grad((m * 3).sum(), edges)
    assert (a.tolist(), b.tolist(), c.tolist()) == ([3.0, 3.0], [6.0, 6.0], [3.0, 3.0])
    m = t * 2
    (g,) = torch.autograd.grad(m.sum(), graph.get_gradient_edge(m))
    assert g.tolist() == [1.0, 1.0]


def test_s094_s096_unused_edges(torch, graph, t, raises):
    other = graph.get_gradient_edge(torch.ones(2, requires_grad=True))
    with raises(
        RuntimeError,
        "The differentiated Tensor at index 0 appears to not have been used in the graph. Set allow_unused=True if "
        "this is the desired behavior.",
    ):
        torch.autograd.grad(t.sum(), other)
    assert torch.autograd.grad(t.sum(), other, allow_unused=True) == (None,)


def test_s093_not_an_input(torch, t, raises):
    with raises(RuntimeError, "all inputs have to be Tensors or GradientEdges, but got int"):
        torch.autograd.grad(t.sum(), [3])


def test_s067_s124_edges_as_roots(torch, graph, t, raises):
    assert torch.autograd.grad(graph.get_gradient_edge((t * 2).sum()), t)[0].tolist() == [2.0, 2.0]
    torch.autograd.backward(graph.get_gradient_edge((t * 3).sum()))
    assert t.grad.tolist() == [3.0, 3.0]
    edge = graph.get_gradient_edge(t * 2)
    with raises(RuntimeError, "grad can be implicitly created only for scalar outputs"):
        torch.autograd.grad(edge, t)
    assert torch.autograd.grad(edge, t, torch.ones(2))[0].tolist() == [2.0, 2.0]
    with raises(
        RuntimeError,
        "Mismatch in shape: grad_output[0] has a shape of torch.Size([3]) "
        "and output[0] has a shape of torch.Size([2]).",
    ):
        torch.autograd.grad(graph.get_gradient_edge(t * 2), t, torch.ones(3))


def test_s075_s124_edges_as_inputs_of_backward(graph, t, grad_of):
    m = t * 2
    m.sum().backward(inputs=[graph.get_gradient_edge(m)])
    assert grad_of(m) is None
    assert t.grad is None
    m = t * 2
    m.sum().backward(inputs=[graph.get_gradient_edge(t)])
    assert t.grad.tolist() == [2.0, 2.0]


def test_s124_wrong_edges(torch, graph, t, raises):
    with raises(RuntimeError, "GradientEdge's first object must be an autograd.graph.Node but got NoneType"):
        torch.autograd.grad(t.sum(), graph.GradientEdge(None, 0))


@pytest.mark.differs("PyTorch reads memory that is not there")
def test_s124_an_output_that_is_not_there(torch, graph, t):
    m = t * 2
    with pytest.raises(IndexError, match="MulBackward0 has no output 7"):
        torch.autograd.grad(m.sum(), graph.GradientEdge(m.grad_fn, 7))


@pytest.mark.differs("every node of PyTorch knows its shapes")
def test_s124_an_edge_made_by_hand_needs_a_cotangent(torch, graph, t):
    m = (t * 2).sum()
    edge = graph.GradientEdge(m.grad_fn, 0)
    with pytest.raises(RuntimeError, match="grad can be implicitly created only for scalar outputs"):
        torch.autograd.grad(edge, t)
    assert torch.autograd.grad(edge, t, torch.ones(()))[0].tolist() == [2.0, 2.0]


def test_s124_an_edge_does_not_keep_the_tensor(graph, t):
    gc.disable()
    try:
        m = t * 2
        alive, edge = weakref.ref(m), graph.get_gradient_edge(m)
        del m
        assert alive() is None
        assert edge.node.name() == "MulBackward0"
    finally:
        gc.enable()


def test_s124_an_edge_keeps_the_leaf(torch, graph):
    leaf = torch.tensor([1.0, 2.0], requires_grad=True)
    y = (leaf * leaf).sum()
    edge = graph.get_gradient_edge(leaf)
    del leaf
    assert torch.autograd.grad(y, edge)[0].tolist() == [2.0, 4.0]
