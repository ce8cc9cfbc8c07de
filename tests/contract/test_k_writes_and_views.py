"""Section K: writes in place, versions, views."""

import numpy as np
import pytest

LEAF = "a leaf Variable that requires grad is being used in an in-place operation."
VIEW_OF_LEAF = "a view of a leaf Variable that requires grad is being used in an in-place operation."
OVERWRITTEN = (
    "one of the variables needed for gradient computation has been modified by an inplace operation:"
    " [torch.{0} {1}]{2} is at version {3}; expected version {4} instead."
)


# ---- what may be written, and versions


def set_first(x):
    x[0] = 5.0


WRITES = {
    "add_": lambda x: x.add_(1),
    "+=": lambda x: x.__iadd__(1),
    "mul_": lambda x: x.mul_(2),
    "sub_": lambda x: x.sub_(1),
    "div_": lambda x: x.div_(2),
    "exp_": lambda x: x.exp_(),
    "zero_": lambda x: x.zero_(),
    "fill_": lambda x: x.fill_(3.0),
    "copy_": lambda x: x.copy_(x.detach().clone()),
    "clamp_": lambda x: x.clamp_(min=1.5),
    "setitem": set_first,
}


@pytest.mark.parametrize("write", WRITES)
def test_s125_a_tracked_leaf_refuses_writes(write, torch, t, raises):
    with raises(RuntimeError, VIEW_OF_LEAF if write == "setitem" else LEAF):
        WRITES[write](t)
    assert t.tolist() == [1.0, 2.0]
    assert t._version == 0
    with raises(RuntimeError, VIEW_OF_LEAF):
        WRITES[write](t[:2])
    assert t.tolist() == [1.0, 2.0]
    with torch.no_grad():
        WRITES[write](t)
    assert t._version == 1
    assert t.is_leaf
    assert t.requires_grad


@pytest.mark.parametrize("write", WRITES)
def test_s126_a_write_adds_one_to_the_version(write, torch):
    base = torch.tensor([1.0, 2.0])
    view = base[:1]
    WRITES[write](base)
    assert (base._version, view._version) == (1, 1)
    WRITES[write](view)
    assert (base._version, view._version) == (2, 2)


def test_s126_a_view_of_a_scalar_shares_with_it(torch):
    base = torch.tensor(2.0)
    view, element = base[None], torch.tensor([1.0, 2.0])
    view.add_(1)
    assert base.item() == 3.0
    base.mul_(2)
    assert view.tolist() == [6.0]
    assert (base._version, view._version) == (2, 2)
    element[0].add_(4)
    assert element.tolist() == [5.0, 2.0]
    assert element._version == 1


def test_s126_copies_have_their_own_version(torch):
    base = torch.tensor([1.0, 2.0])
    copy = base.clone()
    base.add_(1)
    assert copy._version == 0
    assert copy.tolist() == [1.0, 2.0]


@pytest.mark.parametrize("tracked", [True, False])
@pytest.mark.parametrize("detached", [lambda x: x[1:].detach(), lambda x: x.detach()[1:]])
@pytest.mark.parametrize("leaf", [True, False])
def test_s126_detached_views_may_be_written(leaf, detached, tracked, torch, t):
    base = t if leaf else t * 1
    twin = detached(base)
    twin.add_(torch.ones(1, requires_grad=True) if tracked else 1.0)
    assert base.tolist() == [1.0, 3.0]
    assert base._version == twin._version == 1
    assert twin.requires_grad is tracked
    base.sum().backward()
    assert t.grad.tolist() == [1.0, 1.0]


# ---- saved values


def test_s127_a_result_that_was_saved_and_overwritten(t, raises):
    y = t.exp()
    y.mul_(2)
    with raises(RuntimeError, start=OVERWRITTEN.format("FloatTensor", "[2]", ", which is output 0 of Exp,", 1, 0)):
        y.sum().backward()
    assert t.grad is None


def test_s127_a_leaf_and_a_constant(torch, t, raises):
    y = (t * t).sum()
    with torch.no_grad():
        t.add_(1)
    with raises(RuntimeError, start=OVERWRITTEN.format("FloatTensor", "[2]", "", 1, 0)):
        y.backward()
    constant = torch.ones((2, 2), dtype=torch.float64)
    z = (t * constant).sum()
    constant.add_(1)
    constant.add_(1)
    with raises(RuntimeError, start=OVERWRITTEN.format("DoubleTensor", "[2, 2]", "", 2, 0)):
        z.backward()


@pytest.mark.parametrize(
    ("name", "make"),
    [
        ("Mul", lambda t: t * 2),
        ("Mm", lambda t: t.reshape(2, 1) @ t.reshape(1, 2)),
        ("Mv", lambda t: t.reshape(1, 2) @ t),
        ("Sin", lambda t: t.sin()),
    ],
)
def test_s127_the_message_names_the_maker_of_the_value(name, make, torch, t, raises):
    saved = make(t)
    y = (saved * saved).sum()
    shape = f"[{', '.join(map(str, saved.shape))}]"
    with torch.no_grad():  # which leaves the maker of the value as it is
        saved.add_(1)
    with raises(RuntimeError, start=OVERWRITTEN.format("FloatTensor", shape, f", which is output 0 of {name},", 1, 0)):
        y.backward()


def test_s127_only_values_that_are_needed_are_checked(torch, t):
    other = torch.tensor([3.0, 4.0], requires_grad=True)
    saved = t.exp()
    y = (saved * 2 + other * 3).sum()
    saved.zero_()
    (g,) = torch.autograd.grad(y, other, retain_graph=True)
    assert g.tolist() == [3.0, 3.0]
    with pytest.raises(RuntimeError):
        torch.autograd.grad(y, t)


def test_s127_a_value_that_no_gradient_needs_may_be_written(torch, t):
    constant = torch.tensor([3.0, 4.0])
    y = t + constant
    constant.add_(1)
    product = constant * t
    z = product + 1
    product.add_(1)
    (y + z).sum().backward()
    assert t.grad.tolist() == [5.0, 6.0]


def test_s128_writes_are_detected_through_every_alias(torch, t):
    def through_detach(saved):
        saved.detach().add_(1)

    def through_a_view(saved):
        saved.detach()[0] = 9.0

    def through_a_twin_of_a_view(saved):
        saved[:1].detach().zero_()

    def in_no_grad(saved):
        with torch.no_grad():
            saved.add_(1)

    for write in (through_detach, through_a_view, through_a_twin_of_a_view, in_no_grad):
        saved = torch.tensor([3.0, 4.0])
        y = (t * saved).sum()
        write(saved)
        with pytest.raises(RuntimeError):
            y.backward()
    assert t.grad is None


def test_s128_a_write_to_an_index_is_detected(torch, t):
    index = torch.tensor([0, 1])
    y = t[index].sum()
    index.zero_()
    with pytest.raises(RuntimeError):
        y.backward()


def test_s128_an_update_between_two_backward_calls_is_detected(torch, t):
    y = (t * t).sum()
    y.backward(retain_graph=True)
    with torch.no_grad():
        t -= 0.1 * t.grad
    with pytest.raises(RuntimeError):
        y.backward()


def test_s128_writes_through_data_and_numpy_are_not_detected(torch, t):
    array = np.array([3.0, 4.0], dtype=np.float32)
    saved = torch.from_numpy(array)
    y = (t * saved).sum()
    array[0] = 7.0
    saved.data[1] = 8.0
    y.backward()
    assert t.grad.tolist() == [7.0, 8.0]


# ---- writes that are recorded


def test_s129_a_write_rebinds_the_history(t):
    y = t * 2
    before, same = y.grad_fn, y
    y += 1
    y.mul_(3)
    assert y is same
    assert y.grad_fn is not before
    assert not y.is_leaf
    y.sum().backward()
    assert t.grad.tolist() == [6.0, 6.0]


def test_s130_which_writes_survive_backward(torch, t):
    m = t * 1
    m.mul_(m)
    with pytest.raises(RuntimeError):
        m.sum().backward()
    for write, gradient in [
        (lambda y: y.add_(y), [2.0, 2.0]),
        (lambda y: y.exp_(), np.exp([1.0, 2.0])),
        (lambda y: y.sin_(), np.cos([1.0, 2.0])),
    ]:
        t.grad = None
        y = t * 1
        write(y)
        y.sum().backward()
        assert t.grad.tolist() == pytest.approx(gradient)


def test_s131_a_tracked_operand_makes_a_plain_tensor_tracked(torch, t):
    for write in (lambda x: x.add_(t), lambda x: x.copy_(t)):
        x = torch.zeros(2)
        write(x)
        assert x.requires_grad
        assert not x.is_leaf
        (g,) = torch.autograd.grad(x.sum(), t)
        assert g.tolist() == [1.0, 1.0]


def test_s132_a_tracked_value_written_into_a_plain_tensor(torch, t):
    x = torch.zeros(3)
    x[1:] = t
    assert x.grad_fn.name().endswith("CopySlices")
    (x * torch.tensor([1.0, 2.0, 3.0])).sum().backward()
    assert t.grad.tolist() == [2.0, 3.0]


def test_s132_a_loop_that_fills_a_tensor(torch, t):
    x = torch.zeros(4)
    for i in range(4):
        x[i] = t[i % 2] * i
    x.sum().backward()
    assert x.tolist() == [0.0, 2.0, 2.0, 6.0]
    assert t.grad.tolist() == [2.0, 4.0]


@pytest.mark.parametrize(
    ("write", "gradient"),
    [
        (lambda x: x.zero_(), [0.0, 0.0]),
        (lambda x: x.fill_(2.0), [0.0, 0.0]),
        (lambda x: x.copy_(x.detach() + 1), [0.0, 0.0]),
        (lambda x: x.__setitem__(0, 7.0), [0.0, 1.0]),
        (lambda x: x.__setitem__(x.detach() > 1, 7.0), [1.0, 0.0]),
        (lambda x: x.__setitem__(Ellipsis, 7.0), [0.0, 0.0]),
        (lambda x: x.__setitem__([1], 7.0), [1.0, 0.0]),
    ],
)
def test_s132_overwritten_elements_have_a_zero_gradient(write, gradient, t):
    x = t * 1
    write(x)
    x.sum().backward()
    assert t.grad.tolist() == gradient


# ---- views


def test_s133_a_write_to_a_view_changes_base_and_siblings(torch):
    leaf = torch.tensor([0.0, 1.0, 2.0, 3.0], requires_grad=True)
    base = leaf * 1
    view, sibling = base[:3], base[1:]
    stale = sibling.grad_fn
    view.mul_(torch.tensor([2.0, 3.0, 4.0]))
    assert base.tolist() == [0.0, 3.0, 8.0, 3.0]
    assert sibling.tolist() == [3.0, 8.0, 3.0]
    assert base.grad_fn.name().endswith("CopySlices")
    assert sibling.grad_fn is not stale
    (g,) = torch.autograd.grad((base * 10).sum() + sibling.sum() + view.sum(), leaf)
    assert g.tolist() == [22.0, 36.0, 48.0, 11.0]


def test_s133_the_base_is_the_root(torch, t):
    base = t * 1
    middle = base[:2]
    last = middle[:1]
    assert last._base is base
    assert middle._base is base
    assert base._base is None
    assert (base + 1)._base is None


def test_s133_a_write_to_a_view_of_a_view(torch):
    leaf = torch.ones((2, 3), requires_grad=True)
    base = leaf * 1
    rows = base.reshape(3, 2)
    rows[1].mul_(5)
    rows[1][0] = 7.0
    assert base.tolist() == [[1.0, 1.0, 7.0], [5.0, 1.0, 1.0]]
    base.sum().backward()
    assert leaf.grad.tolist() == [[1.0, 1.0, 0.0], [5.0, 1.0, 1.0]]


def test_s133_a_tracked_value_written_into_a_view_of_a_plain_tensor(torch, t):
    base = torch.zeros((2, 2))
    base[0].copy_(t)
    base[:, 1].add_(t[0])
    assert base.tolist() == [[1.0, 3.0], [0.0, 1.0]]
    assert base.requires_grad
    base.sum().backward()
    assert t.grad.tolist() == [3.0, 1.0]


def test_s133_a_view_sees_a_write_to_its_base(torch, t):
    base = t * 1
    view = base[:1]
    base.mul_(4)
    assert view.tolist() == [4.0]
    view.sum().backward()
    assert t.grad.tolist() == [4.0, 0.0]


def test_s133_a_transposed_view_is_written_through(torch):
    leaf = torch.tensor([[1.0, 2.0], [3.0, 4.0]], requires_grad=True)
    base = leaf * 1
    base.T[0] = 0.0
    assert base.tolist() == [[0.0, 2.0], [0.0, 4.0]]
    base.sum().backward()
    assert leaf.grad.tolist() == [[0.0, 1.0], [0.0, 1.0]]


def test_s134_a_result_that_cannot_be_stored(torch, t):
    x = torch.tensor([1, 2])
    for write in (lambda: x.add_(0.5), lambda: x.add_(t), lambda: x.mul_(torch.tensor([0.5, 0.5]))):
        with pytest.raises(RuntimeError):
            write()
    assert x.tolist() == [1, 2]
    assert not x.requires_grad


def test_s134_a_result_of_another_shape(torch):
    x = torch.ones(1)
    with pytest.raises(RuntimeError):
        x.add_(torch.ones(3))
    assert x.tolist() == [1.0]


def test_s135_outputs_of_unbind_cannot_be_written(t):
    first, _ = t * 2
    with pytest.raises(RuntimeError):
        first.mul_(3)


def test_s136_a_view_made_in_no_grad_cannot_be_written_with_grad(torch, t):
    base = t * 1
    with torch.no_grad():
        view = base[:1]
    with pytest.raises(RuntimeError):
        view.mul_(3)
    assert base.tolist() == [1.0, 2.0]
    with torch.no_grad():
        view.mul_(3)
    assert base.tolist() == [3.0, 2.0]


def test_s137_a_view_of_a_leaf_made_in_no_grad(torch, t):
    with torch.no_grad():
        view = t[:1]
    assert view.grad_fn is None
    assert view.is_leaf


def test_s138_an_expanded_tensor_cannot_be_written(torch):
    base = torch.ones(1)
    with pytest.raises(RuntimeError):
        torch.broadcast_to(base, (3,)).add_(1)
    assert base.tolist() == [1.0]


@pytest.mark.differs("there is no out= and no resize_: results are new arrays on every library")
def test_s139_nothing_writes_into_an_array_it_is_given(torch, t):
    target = torch.zeros(2)
    with pytest.raises(TypeError):
        torch.add(t, t, out=target)
    assert target.tolist() == [0.0, 0.0]
    assert not hasattr(t, "resize_")


def test_s140_a_write_in_no_grad_keeps_the_history(torch, t):
    y = t * 2
    node = y.grad_fn
    with torch.no_grad():
        y.add_(1)
    assert y.grad_fn is node
    assert y._version == 1
    y.sum().backward()
    assert t.grad.tolist() == [2.0, 2.0]


def test_s141_saved_values_may_be_mutated_on_request(torch, t):
    with torch.autograd.graph.allow_mutation_on_saved_tensors():
        y = t.exp()
        saved = torch.tensor([3.0, 4.0])
        z = t * saved
        y.mul_(2)
        saved.zero_()
        (y.sum() + z.sum()).backward()
    assert t.grad.tolist() == pytest.approx([2 * np.exp(1.0) + 3, 2 * np.exp(2.0) + 4])
    again = t.exp()
    again.mul_(2)
    with pytest.raises(RuntimeError):
        again.sum().backward()


@pytest.mark.parametrize("through_a_view", [False, True])
def test_s141_a_value_may_be_written_with_itself(through_a_view, torch, t):
    with torch.autograd.graph.allow_mutation_on_saved_tensors():
        y = t * 1
        written = y[:] if through_a_view else y
        z = written * 3 * written
        written.mul_(written)
        (y.sum() + z.sum()).backward()
    assert t.grad.tolist() == [8.0, 16.0]


@pytest.mark.differs("PyTorch takes the new value")
def test_s141_a_saved_view_may_be_written_through_its_base(torch, t):
    with torch.autograd.graph.allow_mutation_on_saved_tensors():
        y = t * 1
        z = y[1:] * t[:1]
        y.add_(5)
        z.sum().backward()
    assert t.grad.tolist() == [2.0, 1.0]


def test_s141_a_version_may_be_increased_by_hand(torch):
    x = torch.zeros(2)
    torch.autograd.graph.increment_version(x)
    assert x._version == 1


def test_s142_gradients_of_a_repeated_index_add_up(torch, t):
    index = torch.tensor([0, 0, 1])
    (t[index] * torch.tensor([1.0, 2.0, 4.0])).sum().backward()
    assert t.grad.tolist() == [3.0, 4.0]


@pytest.mark.differs("PyTorch gives both writes a gradient")
def test_s142_the_last_write_wins_and_gets_the_gradient(torch, t):
    y = torch.zeros(3)
    y[[0, 0]] = t
    assert y.tolist() == [2.0, 0.0, 0.0]
    y.sum().backward()
    assert t.grad.tolist() == [0.0, 1.0]
