"""Section B: `requires_grad` and dtypes."""

import pytest

LONG = (
    "you can only change requires_grad flags of leaf variables. If you want to use a computed variable in a subgraph"
    " that doesn't require differentiation use var_no_grad = var.detach()."
)


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", "complex64", "complex128"])
def test_s016_floating_and_complex_tensors_may_require_grad(dtype, torch):
    dtype = getattr(torch, dtype)
    assert torch.tensor([1.0], dtype=dtype, requires_grad=True).requires_grad
    assert torch.tensor([1.0], dtype=dtype).requires_grad_().requires_grad


@pytest.mark.parametrize("values", [[1, 2], [True, False], 3])
def test_s017_the_constructor_refuses_other_dtypes(values, torch):
    with pytest.raises(RuntimeError):
        torch.tensor(values, requires_grad=True)


@pytest.mark.parametrize("values", [[1, 2], [True, False]])
def test_s018_the_attribute_refuses_other_dtypes(values, torch):
    x = torch.tensor(values)
    with pytest.raises(RuntimeError):
        x.requires_grad = True
    with pytest.raises(RuntimeError):
        x.requires_grad_()
    assert x.requires_grad is False
    x.requires_grad = False
    assert x.requires_grad_(False) is x


@pytest.mark.parametrize("value", [1, "yes", None])
def test_s019_the_flag_is_a_bool(value, t):
    with pytest.raises(RuntimeError):
        t.requires_grad = value
    assert t.requires_grad is True


def test_s020_the_flag_of_a_result_cannot_be_assigned(t, raises):
    y = t * 2
    with raises(RuntimeError, LONG):
        y.requires_grad = False
    with raises(RuntimeError, "you can only change requires_grad flags of leaf variables."):
        y.requires_grad = True
    assert y.requires_grad
    assert not y.is_leaf


def test_s021_requires_grad_on_a_result(t, raises):
    y = t * 2
    node = y.grad_fn
    assert y.requires_grad_(True) is y
    assert y.grad_fn is node
    with raises(RuntimeError, LONG):
        y.requires_grad_(False)


def test_s022_requires_grad_returns_self(torch):
    x = torch.tensor([1.0])
    assert x.requires_grad_() is x
    assert x.requires_grad_(False) is x
    assert x.requires_grad is False


def test_s023_turning_it_on_leaves_earlier_results_alone(torch):
    a = torch.tensor([1.0])
    y = a * 2
    a.requires_grad_()
    assert y.requires_grad is False
    assert (a * 2).requires_grad


def test_s024_turning_it_off_stops_accumulation_of_earlier_graphs(torch, t):
    other = torch.tensor([3.0, 4.0], requires_grad=True)
    y = (t * other).sum()
    t.requires_grad = False
    assert (t * 2).requires_grad is False
    y.backward()
    assert t.grad is None
    assert other.grad.tolist() == [1.0, 2.0]


def test_s025_the_gradient_survives(t):
    t.sum().backward()
    t.requires_grad_(False)
    assert t.grad.tolist() == [1.0, 1.0]


def test_s026_an_earlier_view_follows_its_base(torch):
    base = torch.tensor([1.0, 2.0])
    view = base[:1]
    base.requires_grad_()
    assert view.requires_grad is True


@pytest.mark.parametrize(
    "program",
    [
        lambda t: t > 1,
        lambda t: t == t,
        lambda t: t.argmax(),
        lambda t: t.long(),
        lambda t: t.bool(),
        lambda t: t.long().float(),
    ],
)
def test_s027_integers_and_bools_are_not_tracked(program, t):
    result = program(t)
    assert result.requires_grad is False
    assert result.is_leaf is True
    assert result.grad_fn is None


@pytest.mark.parametrize("name", ["zeros_like", "ones_like", "empty_like"])
def test_s028_creation_from_a_tracked_tensor_is_not_tracked(name, torch, t):
    assert getattr(torch, name)(t).requires_grad is False


def test_s028_random_numbers_from_a_tracked_tensor(backend, torch, t):
    assert torch.rand_like(t).requires_grad is False
    assert torch.randn_like(t).requires_grad is False
    drawn = torch.normal(t, 1.0)
    assert drawn.requires_grad
    assert drawn.shape == t.shape
    drawn.sum().backward()
    assert t.grad.tolist() == [0.0, 0.0]
    t.grad = None
    for spread in (t, torch.ones(2) * t):
        torch.normal(torch.zeros(2), spread).sum().backward()
        assert t.grad.tolist() == [0.0, 0.0]
    chances = torch.tensor([0.0, 1.0], requires_grad=True)
    thrown = torch.bernoulli(chances)
    assert thrown.tolist() == [0.0, 1.0]
    thrown.sum().backward()
    assert chances.grad.tolist() == [0.0, 0.0]


def test_s028_normal_numbers_have_the_mean_and_spread_they_are_given(backend, torch):
    torch.manual_seed(5)
    drawn = torch.normal(torch.full((10_000,), 3.0), 0.5)
    assert drawn.mean().item() == pytest.approx(3.0, abs=0.05)
    assert drawn.std(dim=0).item() == pytest.approx(0.5, abs=0.05)
    assert torch.normal(2.0, 0.0, (2, 3)).tolist() == [[2.0] * 3] * 2
    heads = torch.bernoulli(torch.full((10_000,), 0.25))
    assert heads.mean().item() == pytest.approx(0.25, abs=0.03)


def test_s029_any_tracked_input_makes_a_tracked_result(torch, t):
    assert torch.stack([t, torch.zeros(2)]).requires_grad
    assert torch.stack([torch.zeros(2), t]).requires_grad
    assert not torch.stack([torch.zeros(2), torch.zeros(2)]).requires_grad
    with torch.no_grad():
        assert not torch.stack([t, t]).requires_grad


def test_s030_conversions_that_change_nothing_return_the_tensor(torch, t):
    assert t.to(torch.float32) is t
    assert t.float() is t
    assert t.contiguous() is t
    assert t.reshape(2) is not t
    assert t.view(2) is not t
    assert t.clone() is not t


@pytest.mark.parametrize("through", ["float16", "float64", "complex64", "complex128"])
def test_s031_a_cast_is_differentiable(through, torch, t):
    y = t.to(getattr(torch, through))
    (y * y).sum().backward(torch.tensor(1.0, dtype=y.dtype))
    assert t.grad.dtype == torch.float32
    assert t.grad.tolist() == [2.0, 4.0]


def test_s031_half_stays_half(torch):
    h = torch.tensor([1.0, 2.0], dtype=torch.float16, requires_grad=True)
    h.float().sum().backward()
    assert h.grad.dtype == torch.float16


@pytest.mark.parametrize(("a", "b"), [("float32", "float64"), ("float32", "complex64"), ("float64", "complex128")])
def test_s032_each_input_gets_a_gradient_of_its_own_dtype(a, b, torch):
    a = torch.tensor([2.0, 3.0], dtype=getattr(torch, a), requires_grad=True)
    b = torch.tensor([4.0, 5.0], dtype=getattr(torch, b), requires_grad=True)
    y = (a * b).sum()
    y.backward(torch.tensor(1.0, dtype=y.dtype))
    assert (a.grad.dtype, b.grad.dtype) == (a.dtype, b.dtype)
    assert a.grad.tolist() == [4.0, 5.0]
    assert b.grad.tolist() == [2.0, 3.0]


def test_s032_a_real_input_receives_the_real_part(torch):
    a = torch.tensor([2.0], requires_grad=True)
    b = torch.tensor([3.0 + 4.0j], requires_grad=True)
    (a * b).sum().backward(torch.tensor(1.0 + 1.0j))
    assert a.grad.dtype == torch.float32
    assert a.grad.tolist() == [7.0]  # real((1 + i)(3 - 4i))
    assert b.grad.tolist() == [2.0 + 2.0j]
