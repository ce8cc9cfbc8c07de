"""What a graph tells of itself: why a tensor has no gradient, and what the graph holds."""

import numpy as np
import pytest
from array_libraries import on

import agrad
from agrad.autograd import graph
from agrad.autograd.graph import explain, report


@pytest.fixture
def x():
    return agrad.tensor([1.0, 2.0], requires_grad=True)


# ---- explain: a tensor by itself


def test_a_gradient_that_is_there(x):
    (x * 2).sum().backward()
    found = explain(x)
    assert (found.summary, found.flows) == ("It has a gradient.", True)


def test_no_backward_pass_reached_it(x):
    assert "no backward pass reached it" in explain(x).summary
    y = x * 2
    y.retain_grad()
    assert "retains its gradient, but no gradient has come" in explain(y).summary


def test_results_do_not_keep_gradients(x):
    y = x.exp()
    assert explain(y).summary.startswith("It is a result, of ExpBackward0: only leaves keep their gradients")
    assert "retain_grad()" in explain(y).advice
    y.sum().backward()
    assert "its graph is freed" in explain(y).summary


def test_a_gradient_of_zero(x):
    agrad.floor(x).sum().backward()
    assert explain(x).summary == "Its gradient is zero everywhere."


@pytest.mark.parametrize(
    ("make", "summary"),
    [
        (lambda x: agrad.tensor([1, 2]), "Its dtype is agrad.int64"),
        (lambda x: agrad.argmax(x), "Its dtype is agrad.int64"),
        (lambda x: x.detach(), "It does not require grad: it was made by the user without requires_grad=True, or"),
    ],
)
def test_untracked_tensors(x, make, summary):
    found = explain(make(x))
    assert found.summary.startswith(summary)
    assert not found.flows


def test_inference_tensors(x):
    with agrad.inference_mode():
        y = x * 2
    assert "inference_mode()" in explain(y).summary


# ---- explain: a program


def ops(found):
    return [cut.op for cut in found.cuts]


def test_the_operation_that_cut_the_graph_and_its_line(x):
    def program():
        y = x * 3
        n = y.astype(agrad.int64)
        return n.sum()

    found = explain(program)
    assert not found.flows
    assert ops(found) == ["astype"]
    assert "dtype int64" in found.cuts[0].reason.replace("agrad.", "")
    assert "n = y.astype(agrad.int64)" in found.cuts[0].where
    assert "test_graph.py:" in found.cuts[0].where
    assert found.cuts[0].where in str(found)


@pytest.mark.parametrize(
    ("program", "op", "reason"),
    [
        (lambda x: (x * 2).detach().sum(), "detach", "no history"),
        (lambda x: x.data.sum(), "data", "no history"),
        (lambda x: agrad.argmax(x * 2).double(), "argmax", "int64"),
        (lambda x: (x > 1).double().sum(), "greater", "bool"),
        (lambda x: agrad.tensor((x * 2).detach().numpy()).sum(), "detach", "no history"),
        (lambda x: agrad.tensor((x * 2).tolist()).sum(), "tolist", "the values leave agrad"),
        (lambda x: agrad.ones(2) * float((x * 2).sum().item()), "item", "the values leave agrad"),
    ],
)
def test_cuts(x, program, op, reason):
    found = explain(lambda: program(x))
    assert not found.flows
    cuts = [cut for cut in found.cuts if cut.op == op]
    assert cuts, str(found)
    assert reason in cuts[0].reason
    assert "test_graph.py" in cuts[0].where


@pytest.mark.parametrize(
    ("mode", "reason"), [(agrad.no_grad, "no_grad()"), (agrad.inference_mode, "inference_mode()")]
)
def test_modes(x, mode, reason):
    def program():
        with mode():
            y = x * 2
        return y.sum()

    found = explain(program)
    assert ops(found) == ["multiply"]
    assert reason in found.cuts[0].reason


def test_writes_and_reads_are_followed(x):
    def program():
        y = agrad.zeros(3)
        with agrad.no_grad():
            y[0] = x[1]
        return y.sum()

    assert ops(explain(program)) == ["getitem"]

    def program_in_place():
        y = agrad.zeros(2)
        with agrad.no_grad():
            y += x
        return (y * 2).sum()

    assert ops(explain(program_in_place)) == ["add"]


def test_cuts_that_the_result_does_not_depend_on_are_not_shown(x):
    def program():
        _ = (x * 2).detach().sum()
        return agrad.floor(x.detach()).sum()

    found = explain(program)
    assert len(found.cuts) == 1
    assert "agrad.floor(x.detach())" in found.cuts[0].where


def test_nothing_requires_grad():
    a = agrad.ones(2)
    found = explain(lambda: (a * 2).sum())
    assert "nothing that it was computed from does" in found.summary
    assert "requires_grad_()" in found.advice


def test_leaves_that_were_lost(x):
    w = agrad.tensor([3.0, 4.0], requires_grad=True)
    found = explain(lambda: (x * (w * 1).detach()).sum())
    assert found.flows
    assert "does not depend on" in found.summary
    assert "a leaf of shape (2,)" in found.summary
    assert ops(found) == ["detach"]
    assert "every leaf" in explain(lambda: (x * w).sum()).summary


def test_programs_return_tensors(x):
    with pytest.raises(TypeError, match="the function must return a Tensor, got int"):
        explain(lambda: 3)


def test_the_mode_is_put_back(x):
    before = agrad.cython_core.engine.get_mode()
    with pytest.raises(ZeroDivisionError):
        explain(lambda: 1 / 0)
    assert agrad.cython_core.engine.get_mode() is before


# ---- explain: a tensor and a loss


def test_a_loss_that_does_not_lead_to_the_tensor(x):
    w = agrad.tensor([3.0, 4.0], requires_grad=True)
    found = explain(x, (w * x.detach()).sum())
    assert not found.flows
    assert "its graph does not lead to the tensor" in found.summary
    found = explain(x, lambda: (w * (x * 2).detach()).sum())
    assert not found.flows
    assert ops(found) == ["detach"]
    found = explain(x, lambda: w.sum())
    assert "took no part" in found.summary


def test_a_loss_without_grad(x):
    found = explain(x, lambda: (x * 2).detach().sum())
    assert (found.flows, ops(found)) == (False, ["detach"])


def test_a_freed_graph(x):
    y = (x * x).sum()
    y.backward()
    found = explain(x, y)
    assert not found.flows
    assert "its graph is freed" in found.summary


def test_operations_whose_derivative_is_zero(x):
    found = explain(x, (agrad.floor(x * 2) * 3).sum())
    assert "its gradient is zero" in found.summary
    assert ops(found) == ["FloorBackward0"]
    found = explain(x, lambda: (agrad.floor(x * 2) * 3).sum())
    assert "agrad.floor(x * 2)" in found.cuts[0].where
    assert explain(x, (agrad.floor(x) + x).sum()).summary.endswith("backward() brings it a gradient.")


def test_values_that_make_the_gradient_zero(x):
    found = explain(x, lambda: agrad.relu(x - 5).sum())
    assert ops(found) == ["ReluBackward0"]
    assert "at these values" in found.cuts[0].reason
    assert "relu(x - 5)" in found.cuts[0].where


def test_hooks_that_make_the_gradient_zero(x):
    def program():
        y = x * 2
        y.register_hook(lambda g: g * 0)
        return y.sum()

    found = explain(x, program)
    assert found.summary.endswith("but its gradient is zero.")
    assert ops(found) == ["MulBackward0"]
    assert "hook" in found.cuts[0].reason
    x.register_hook(lambda g: g * 0)
    found = explain(x, lambda: (x * 2).sum())
    assert ops(found) == ["hook"]


def test_hooks_are_mentioned(x):
    y = x * 2
    y.register_hook(lambda g: g)
    assert "hooks on the way" in explain(x, y.sum()).advice


def test_a_gradient_that_comes(x):
    found = explain(x, lambda: (x * 2).sum())
    assert (found.flows, found.cuts) == (True, ())
    assert x.grad is None


# ---- report


def rows(found):
    return {row.op: (row.nodes, row.saved, row.bytes, row.freed) for row in found.rows}


def test_report_counts_nodes_and_bytes(backend):
    x = on(backend, np.ones(100), requires_grad=True)
    y = x.exp()
    loss = (y * y + y.sin()).sum()
    found = report(loss)
    assert rows(found) == {
        "exp": (1, 1, 800, 0), "multiply": (1, 0, 0, 0), "sin": (1, 0, 0, 0), "add": (1, 0, 0, 0), "sum": (1, 0, 0, 0),
    }
    assert (found.nodes, found.bytes, found.leaves, found.leaf_bytes) == (5, 800, 1, 800)
    loss.backward()
    found = report(loss)
    assert found.bytes == 0
    assert rows(found)["exp"] == (1, 0, 0, 1)


def test_views_share_a_storage():
    x = agrad.ones(100).requires_grad_()
    y = x * 2
    loss = (y.reshape(10, 10) * y.reshape(10, 10)).sum() + (y * y).sum()
    assert report(loss).bytes == 800


def test_report_of_several_roots():
    x = agrad.ones(10).requires_grad_()
    a, b = x.exp(), x.sin()
    assert report(a, b).nodes == 2
    assert report(a).nodes == 1


def test_report_reads_as_a_table():
    x = agrad.ones(100_000).requires_grad_()
    lines = str(report((x.exp() * x).sum())).splitlines()
    assert lines[0].split() == ["operation", "nodes", "freed", "saved", "memory"]
    assert lines[1].split() == ["exp", "1", "0", "1", "800.0", "kB"]
    assert lines[-1].split() == ["leaves", "1", "800.0", "kB"]
    assert len({len(line) for line in lines}) == 1


def test_what_is_on_disk_takes_no_memory(tmp_path):
    x = agrad.ones(100_000).requires_grad_()
    with graph.save_on_disk(tmp_path):
        loss = x.exp().sum()
    assert report(loss).bytes == 0


def test_report_of_an_untracked_tensor():
    found = report(agrad.ones(2))
    assert (found.nodes, found.leaves, found.rows) == (0, 0, ())
    assert "total" in str(found)
