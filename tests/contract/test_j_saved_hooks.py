"""Section J: hooks on the values that the graph saves."""

import pytest


@pytest.fixture
def graph(torch):
    return torch.autograd.graph


class Log:
    """Hooks that write down what they see."""

    def __init__(self):
        self.packed, self.unpacked = [], 0

    def pack(self, x):
        self.packed.append(x)
        return x.detach().clone()

    def unpack(self, x):
        self.unpacked += 1
        return x


@pytest.fixture
def log():
    return Log()


def test_s121_packed_when_saved_and_unpacked_when_used(graph, t, log):
    with graph.saved_tensors_hooks(log.pack, log.unpack):
        y = t.exp()
        assert [x.tolist() for x in log.packed] == [y.tolist()]
    assert log.unpacked == 0
    y.sum().backward()
    assert log.unpacked == 1
    assert t.grad.tolist() == y.tolist()


def test_s121_a_value_saved_twice_is_packed_twice(torch, graph, t, log):
    with graph.saved_tensors_hooks(log.pack, log.unpack):
        y = t * t
    assert [x is t for x in log.packed] == [True, True]
    torch.autograd.grad(y.sum(), t)
    assert log.unpacked == 2


def test_s121_each_is_unpacked_once_in_a_pass(torch, graph, t, log):
    with graph.saved_tensors_hooks(log.pack, log.unpack):
        y = t**t
    n = len(log.packed)
    torch.autograd.grad(y.sum(), t, retain_graph=True)
    assert log.unpacked == n
    torch.autograd.grad(y.sum(), t)
    assert log.unpacked == 2 * n


def test_s121_numbers_are_not_packed(graph, t, log):
    with graph.saved_tensors_hooks(log.pack, log.unpack):
        (t * 2).sum().backward()
    assert log.packed == []
    assert t.grad.tolist() == [2.0, 2.0]


def test_s121_constants_and_index_tensors_are_packed(torch, graph, t, log):
    index = torch.tensor([1, 1])
    with graph.saved_tensors_hooks(log.pack, log.unpack):
        y = (t * torch.tensor([3.0, 4.0]))[index]
    assert [x.tolist() for x in log.packed] == [[3.0, 4.0], [1, 1]]
    index.zero_()
    y.sum().backward()
    assert t.grad.tolist() == [0.0, 8.0]
    assert log.unpacked == 2


def test_s121_what_is_unpacked_counts(graph, t):
    with graph.saved_tensors_hooks(lambda x: x.tolist(), lambda values: t.detach() * 10):
        y = (t * t).sum()
    y.backward()
    assert t.grad.tolist() == [20.0, 40.0]


def test_s121_history_comes_back_with_the_value(torch, graph, t, log):
    with graph.saved_tensors_hooks(log.pack, log.unpack):
        y = (t.exp() * t).sum()
    (g,) = torch.autograd.grad(y, t, create_graph=True)
    (second,) = torch.autograd.grad(g.sum(), t)
    e = t.detach().exp()
    assert torch.allclose(second, e * (t.detach() + 2))


def test_s121_the_innermost_hooks_act(graph, t, log):
    inner = Log()
    with graph.saved_tensors_hooks(log.pack, log.unpack):
        t.exp()
        with graph.saved_tensors_hooks(inner.pack, inner.unpack):
            t.exp()
            t.sin()
        t.exp()
    t.exp()
    assert (len(log.packed), len(inner.packed)) == (2, 2)


def test_s121_packing_is_not_recorded(torch, graph, t):
    modes = []

    def pack(x):
        modes.append(torch.is_grad_enabled())
        return x * 1

    with graph.saved_tensors_hooks(pack, lambda x: x):
        y = t * t
    assert modes == [False, False]
    y.sum().backward()
    assert t.grad.tolist() == [2.0, 4.0]


def test_s121_unpack_returns_a_tensor(graph, t, raises):
    with graph.saved_tensors_hooks(lambda x: x, lambda x: 3):
        y = t * t
    with raises(TypeError, "Output of saved tensor unpack_hook expected to be a Tensor but got result of type int"):
        y.sum().backward()


def test_s121_pack_must_not_write(graph, t, raises):
    def pack(x):
        x.mul_(2)
        return x

    with graph.saved_tensors_hooks(pack, lambda x: x):
        with raises(RuntimeError, start="A saved tensor pack hook is modifying its input in place."):
            t.exp()
        with raises(RuntimeError, start="A saved tensor pack hook is modifying its input in place."):
            (t * 1).sin()


@pytest.mark.differs("PyTorch computes with the new value")
def test_s121_a_value_that_pack_left_as_it_was_is_checked_for_writes(graph, t, raises):
    for keep in (lambda x: x, lambda x: x.detach()):
        with graph.saved_tensors_hooks(keep, lambda x: x):
            y = t * 1
            z = (y * y).sum()
        y.mul_(2)
        with raises(RuntimeError, start="one of the variables needed for gradient computation has been modified by"):
            z.backward()


def test_s121_exceptions_in_hooks_propagate(graph, t):
    def fail(x):
        raise KeyError("mine")

    with graph.saved_tensors_hooks(fail, lambda x: x), pytest.raises(KeyError, match="mine"):
        t.exp()
    with graph.saved_tensors_hooks(lambda x: x, fail):
        y = t.exp().sum()
    with pytest.raises(KeyError, match="mine"):
        y.backward()
    assert t.grad is None
    t.exp().sum().backward()
    assert t.grad is not None


def test_s122_hooks_can_be_refused(graph, t, log, raises):
    with graph.disable_saved_tensors_hooks("not here"):
        with raises(RuntimeError, "not here"), graph.saved_tensors_hooks(log.pack, log.unpack):
            pass
        with graph.disable_saved_tensors_hooks("inner"):
            pass
        with raises(RuntimeError, "not here"), graph.save_on_cpu():
            pass
        t.exp()
    with graph.saved_tensors_hooks(log.pack, log.unpack):
        t.exp()
        with raises(RuntimeError, "too late"), graph.disable_saved_tensors_hooks("too late"):
            pass
    assert len(log.packed) == 1


def test_s121_save_on_cpu(torch, graph, t):
    with graph.save_on_cpu():
        y = (t.exp() * t).sum()
    with graph.save_on_cpu(pin_memory=False):
        z = (t.exp() * t).sum()
    (a,), (b,) = torch.autograd.grad(y, t), torch.autograd.grad(z, t)
    expected = t.detach().exp() * (t.detach() + 1)
    assert torch.allclose(a, expected)
    assert torch.allclose(b, expected)
