"""Statements 173 and 174: `autograd.functional` and `gradcheck`."""

import warnings

import pytest


def test_s173_a_hessian_needs_a_function_to_one_element(torch, t, raises):
    message = "The Tensor returned by the function given to hessian should contain a single element"
    with raises(RuntimeError, message):
        torch.autograd.functional.hessian(lambda x: x * 2, t)


def test_s173_a_hessian_is_exact(torch, t):
    found = torch.autograd.functional.hessian(lambda x: (x**3).sum(), t)
    assert found.tolist() == [[6.0, 0.0], [0.0, 12.0]]
    assert not found.requires_grad


def test_s173_strict_mode_refuses_outputs_that_do_not_require_grad(torch, t, raises):
    constant = torch.tensor(1.0)
    for name in ("vjp", "jvp", "jacobian", "hessian", "vhp", "hvp"):
        arguments = (t,) if name in ("jacobian", "hessian", "vjp") else (t, torch.tensor([1.0, 1.0]))
        with raises(RuntimeError, start="Output 0 of the user-provided function does not require gradients. "):
            getattr(torch.autograd.functional, name)(lambda x: constant, *arguments, strict=True)


def test_s173_without_strict_mode_there_are_zeros(torch, t):
    constant = torch.tensor(1.0)
    assert torch.autograd.functional.jacobian(lambda x: constant, t).tolist() == [0.0, 0.0]


def test_s173_the_vector_of_vjp_may_be_left_out_for_one_element_only(torch, t, raises):
    message = (
        "The vector v can only be None if the user-provided function returns a single Tensor with a single element."
    )
    with raises(RuntimeError, message):
        torch.autograd.functional.vjp(lambda x: x * 2, t)
    assert torch.autograd.functional.vjp(lambda x: (x * 2).sum(), t)[1].tolist() == [2.0, 2.0]


@pytest.fixture
def d(torch):
    """Double precision, as gradcheck wants it."""
    return torch.tensor([1.0, 2.0], dtype=torch.float64, requires_grad=True)


def doubled_gradient(x):
    y = x * x
    y.register_hook(lambda g: g * 2)
    return y * 3


def test_s174_gradcheck_returns_true(torch, d):
    assert torch.autograd.gradcheck(lambda x: x**2, (d,)) is True
    assert torch.autograd.gradcheck(lambda x: x**2, d, fast_mode=True) is True
    assert torch.autograd.gradgradcheck(lambda x: x**3, (d,)) is True


def test_s174_an_input_must_require_grad(torch, raises):
    message = (
        "gradcheck expects at least one input tensor to require gradient, but none of them have requires_grad=True."
    )
    x = torch.tensor([1.0], dtype=torch.float64)
    with raises(ValueError, message):
        torch.autograd.gradcheck(lambda x: x * 2, (x,))
    with raises(ValueError, message):
        torch.autograd.gradgradcheck(lambda x: x * 2, (x,), (x,))


def test_s174_single_precision_warns(torch, t):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        torch.autograd.gradcheck(lambda x: x * 0.5, (t,), eps=0.1)
    assert str(caught[0].message).startswith(
        "Input #0 requires gradient and is not a double precision floating point or complex. "
    )


def test_s174_a_wrong_gradient_raises_with_both_jacobians(torch, d, raises):
    start = (
        "Jacobian mismatch for output 0 with respect to input 0,\n"
        "numerical:tensor([[ 6.0000,  0.0000],\n        [ 0.0000, 12.0000]], dtype=torch.float64)\n"
        "analytical:tensor([[12.,  0.],\n        [ 0., 24.]], dtype=torch.float64)\n"
    )
    with raises(RuntimeError, start=start):
        torch.autograd.gradcheck(doubled_gradient, (d,))


def test_s174_the_error_has_a_name(torch, d):
    with pytest.raises(RuntimeError) as caught:
        torch.autograd.gradcheck(doubled_gradient, (d,))
    assert type(caught.value).__name__ == "GradcheckError"
    assert type(caught.value).__module__.endswith("autograd.gradcheck")


def test_s174_instead_of_raising_it_may_return_false(torch, d):
    assert torch.autograd.gradcheck(doubled_gradient, (d,), raise_exception=False) is False
    assert torch.autograd.gradcheck(doubled_gradient, (d,), raise_exception=False, fast_mode=True) is False


def test_s174_inputs_with_stride_0_are_refused(torch, raises):
    x = torch.ones(1, dtype=torch.float64).expand(3).requires_grad_()
    start = "The 0th input has a dimension with stride 0. gradcheck only supports inputs that are non-overlapping "
    with raises(RuntimeError, start=start):
        torch.autograd.gradcheck(lambda x: x * 2, (x,))


def test_s174_walks_that_differ_are_refused(torch, d, raises):
    calls = []

    def unsteady(x):
        y = x * x
        y.register_hook(lambda g: calls.append(g) or g * (1 + 1e-9 * len(calls)))
        return y

    start = "Backward is not reentrant, i.e., running backward with same input and grad_output multiple times gives "
    with raises(RuntimeError, start=start):
        torch.autograd.gradcheck(unsteady, (d,))
    assert torch.autograd.gradcheck(unsteady, (d,), nondet_tol=1e-3, check_undefined_grad=False)
