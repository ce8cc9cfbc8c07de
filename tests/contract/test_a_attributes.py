"""Section A: the attributes of a tensor and of its node."""

import re

import pytest


def bare(name):
    """A node's name without namespace and version suffix."""
    return re.sub(r"\d+$", "", name.rpartition("::")[2])


def test_s001_a_fresh_tensor(torch):
    fresh = torch.tensor([1.0, 2.0])
    assert fresh.requires_grad is False
    assert fresh.is_leaf is True
    assert fresh.grad_fn is None
    assert fresh.grad is None
    assert fresh.retains_grad is False
    assert fresh._version == 0


def test_s002_a_result(t):
    y = t * 2
    assert y.requires_grad is True
    assert y.is_leaf is False
    assert y.grad_fn.name() == "MulBackward0"
    assert y.retains_grad is False
    assert y.output_nr == 0


def test_s003_a_result_is_a_leaf_exactly_when_untracked(t):
    assert (t.detach() + 0).is_leaf
    assert not (t + 0).is_leaf
    assert t.is_leaf


@pytest.mark.parametrize("constant", ["tensor", "scalar"])
def test_s004_a_node_has_one_edge_per_input(constant, torch, t):
    other = torch.tensor([3.0, 4.0]) if constant == "tensor" else 2
    (leaf_node, output_nr), absent = (t * other).grad_fn.next_functions
    assert bare(leaf_node.name()) == "AccumulateGrad"
    assert output_nr == 0
    assert absent == (None, 0)


def test_s004_edges_follow_the_order_of_the_inputs(t):
    a, b = t.exp(), t.sin()
    edges = (a * b).grad_fn.next_functions
    assert isinstance(edges, tuple)
    assert edges == ((a.grad_fn, 0), (b.grad_fn, 0))


def test_s005_the_node_of_a_leaf(t):
    node = (t * 2).grad_fn.next_functions[0][0]
    assert node.variable is t
    assert node.next_functions == ()
    assert t.exp().grad_fn.next_functions[0][0] is node


def test_s006_a_node_is_one_object(torch, t):
    y = t * 2
    assert y.grad_fn is y.grad_fn
    assert isinstance(y.grad_fn, torch.autograd.graph.Node)


def test_s007_public_attributes_of_a_node(t):
    y = t * 2
    node = y.grad_fn
    assert callable(node.name)
    assert node.requires_grad is True
    assert node.metadata == {}
    node.metadata["note"] = "kept"
    assert y.grad_fn.metadata == {"note": "kept"}


@pytest.mark.parametrize("name", ["grad_fn", "is_leaf"])
def test_s008_read_only_attributes(name, t):
    with pytest.raises(AttributeError):
        setattr(t, name, None)


def masked_write(torch, t):
    y = t * 1
    y[t.detach() > 1] = torch.tensor([5.0])
    return y


NAMES = {
    "add": ("AddBackward", lambda torch, t: t + t),
    "add scalar": ("AddBackward", lambda torch, t: t + 1),
    "sub": ("SubBackward", lambda torch, t: t - t),
    "1-x": ("RsubBackward", lambda torch, t: 1 - t),
    "mul": ("MulBackward", lambda torch, t: t * t),
    "div": ("DivBackward", lambda torch, t: t / t),
    "neg": ("NegBackward", lambda torch, t: -t),
    "sum": ("SumBackward", lambda torch, t: t.sum()),
    "sum(dim)": ("SumBackward", lambda torch, t: t.sum(dim=0)),
    "reshape": ("ViewBackward", lambda torch, t: t.reshape(2, 1)),
    "abs": ("AbsBackward", lambda torch, t: t.abs()),
    "pow": ("PowBackward", lambda torch, t: t**2),
    "rpow": ("PowBackward", lambda torch, t: 2**t),
    "exp": ("ExpBackward", lambda torch, t: t.exp()),
    "log": ("LogBackward", lambda torch, t: torch.log(t)),
    "sin": ("SinBackward", lambda torch, t: torch.sin(t)),
    "tanh": ("TanhBackward", lambda torch, t: torch.tanh(t)),
    "sqrt": ("SqrtBackward", lambda torch, t: torch.sqrt(t)),
    "mean": ("MeanBackward", lambda torch, t: t.mean()),
    "max()": ("MaxBackward", lambda torch, t: t.max()),
    "max(dim)": ("MaxBackward", lambda torch, t: t.max(dim=0)[0]),
    "cat": ("CatBackward", lambda torch, t: torch.cat([t, t])),
    "concat": ("CatBackward", lambda torch, t: torch.concat([t, t])),
    "stack": ("StackBackward", lambda torch, t: torch.stack([t, t])),
    "where": ("WhereBackward", lambda torch, t: torch.where(t.detach() > 1, t, t)),
    "x[[0]]": ("IndexBackward", lambda torch, t: t[[0]]),
    "x[None]": ("UnsqueezeBackward", lambda torch, t: t[None]),
    "x[i]": ("SelectBackward", lambda torch, t: t[0]),
    "x[:1]": ("SliceBackward", lambda torch, t: t[:1]),
    "iteration": ("UnbindBackward", lambda torch, t: next(iter(t))),
    "x[mask]=v": ("IndexPutBackward", masked_write),
    "clone": ("CloneBackward", lambda torch, t: t.clone()),
    "vector @ vector": ("DotBackward", lambda torch, t: t @ t),
    "matrix @ vector": ("MvBackward", lambda torch, t: t.reshape(1, 2) @ t),
    "matrix @ matrix": ("MmBackward", lambda torch, t: torch.matmul(t.reshape(1, 2), t.reshape(2, 1))),
}


@pytest.mark.parametrize("case", NAMES)
def test_s009_names_of_nodes(case, torch, t):
    name, program = NAMES[case]
    y = program(torch, t)
    assert bare(y.grad_fn.name()) == name
    y.sum().backward()
    assert bare(y.grad_fn.name()) == name


def test_s010_internal_nodes_carry_a_namespace(torch, t):
    accumulate = (t * 2).grad_fn.next_functions[0][0]
    written = t * 1
    written[0] = 3.0
    copied = torch.zeros(2).copy_(t)
    names = [accumulate.name(), written.grad_fn.name(), copied.grad_fn.name()]
    assert [bare(name) for name in names] == ["AccumulateGrad", "CopySlices", "CopyBackwards"]
    assert all("::autograd::" in name for name in names)


def test_s011_unpacking_goes_through_one_node(t):
    a, b = t
    assert bare(a.grad_fn.name()) == "UnbindBackward"
    assert a.grad_fn is b.grad_fn
    assert (a.output_nr, b.output_nr) == (0, 1)


def test_s012_an_unused_output_has_a_zero_gradient(t):
    _, b = t
    b.backward()
    assert t.grad.tolist() == [0.0, 1.0]


def test_s012_several_outputs_share_a_node(torch):
    a = torch.tensor([[2.0, 0.5], [0.5, 3.0]], requires_grad=True)
    eigenvalues, vectors = torch.linalg.eigh(a)
    assert eigenvalues.grad_fn is vectors.grad_fn
    assert (eigenvalues.output_nr, vectors.output_nr) == (0, 1)
    (eigenvalues * torch.tensor([1.0, 2.0])).sum().backward()
    v = vectors.detach()
    expected = torch.matmul(v * torch.tensor([[1.0, 2.0]]), v.mT).tolist()
    assert [x for row in a.grad.tolist() for x in row] == pytest.approx([x for row in expected for x in row])


def test_s013_integer_outputs_are_not_tracked(t):
    values, indices = t.max(dim=0)
    assert values.requires_grad
    assert indices.requires_grad is False
    assert indices.grad_fn is None


def test_s014_variable_is_a_tensor(torch, t):
    variable = torch.autograd.Variable
    assert variable is not torch.Tensor
    assert isinstance(t, variable)
    made = variable(torch.ones(2), requires_grad=True)
    assert isinstance(made, torch.Tensor)
    assert made.requires_grad


def test_s015_tensors_hash_by_identity_and_compare_by_element(torch, t):
    assert hash(t) == id(t)
    assert (t == torch.tensor([1.0, 5.0])).tolist() == [True, False]
    with pytest.raises(RuntimeError):
        t in [torch.tensor([1.0, 5.0])]  # noqa: B015
