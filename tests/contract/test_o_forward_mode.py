"""Section O: forward mode by hand, and what func.grad wants of a function."""

import importlib
import types

import pytest


@pytest.fixture
def fw(torch):
    return importlib.import_module(f"{torch.__name__}.autograd.forward_ad")


@pytest.fixture
def func(torch):
    return importlib.import_module(f"{torch.__name__}.func")


@pytest.fixture
def v(torch):
    return torch.tensor([3.0, 5.0])


def test_s171_a_dual_needs_a_level(torch, fw, t, v, raises):
    with raises(
        RuntimeError,
        "Trying to create a dual Tensor for forward AD but no level exists, make sure to enter_dual_level() first.",
    ):
        fw.make_dual(t, v)


def test_s171_levels_do_not_nest(fw, raises):
    with fw.dual_level():
        with raises(RuntimeError, "Nested forward mode AD is not supported at the moment"):
            fw.enter_dual_level()
        with raises(RuntimeError, "Nested forward mode AD is not supported at the moment"), fw.dual_level():
            pass
    with fw.dual_level():
        pass


def test_s171_a_tangent_has_the_size_of_the_tensor(torch, fw, t, raises):
    with fw.dual_level(), raises(
        RuntimeError,
        "Trying to set a forward gradient that has a different size than that of the original Tensor, this is not "
        "supported. Tensor is of size [2] while the given forward gradient is of size [3].",
    ):
        fw.make_dual(t, torch.ones(3))


def test_s171_integers_have_no_tangent(torch, fw, t, raises):
    whole = torch.tensor([1, 2])
    with fw.dual_level():
        with raises(ValueError, "Expected primal to be floating point or complex, but got: torch.int64"):
            fw.make_dual(whole, whole)
        with raises(ValueError, "Expected tangent to be floating point or complex, but got: torch.int64"):
            fw.make_dual(t, whole)


def test_s171_plain_tensors_have_no_tangent(torch, fw, v):
    assert fw.unpack_dual(v).tangent is None
    with fw.dual_level():
        assert fw.unpack_dual(v).tangent is None
        assert fw.unpack_dual(v * 2).tangent is None
        assert fw.unpack_dual(v).primal.tolist() == [3.0, 5.0]


def test_s171_a_dual_of_a_dual(torch, fw, v, raises):
    with fw.dual_level():
        dual = fw.make_dual(v, v)
        with raises(
            RuntimeError,
            "Making a dual Tensor based on a Tensor that already has a forward gradient at the same level 0 is not "
            "supported.",
        ):
            fw.make_dual(dual, v)


def test_s171_unpacking_gives_a_named_tuple(torch, fw, v):
    with fw.dual_level():
        unpacked = fw.unpack_dual(fw.make_dual(v, v) * 2)
    assert unpacked._fields == ("primal", "tangent")
    assert type(unpacked).__name__ == "UnpackedDualTensor"
    assert unpacked.primal.tolist() == unpacked.tangent.tolist() == [6.0, 10.0]


def test_s171_levels_are_entered_and_left_by_hand(torch, fw, v, raises):
    with raises(RuntimeError, "Dual level must be a positive number."):
        fw.exit_dual_level()
    level = fw.enter_dual_level()
    assert level == 0
    dual = fw.make_dual(v, v, level=level)
    assert fw.unpack_dual(dual, level=level).tangent is not None
    with raises(
        RuntimeError,
        "Trying to exit a forward AD level that was not the last one that was created. This is not supported.",
    ):
        fw.exit_dual_level(level=1)
    fw.exit_dual_level(level=level)
    assert fw.unpack_dual(dual).tangent is None


def test_s171_a_level_decorates_a_function(torch, fw, v):
    @fw.dual_level()
    def tangent(x):
        """Documented."""
        return fw.unpack_dual(fw.make_dual(x, x) * x).tangent

    assert tangent.__doc__ == "Documented."
    for _ in range(2):
        assert tangent(v).tolist() == [9.0, 25.0]


def test_s171_tangents_vanish_with_the_level(torch, fw, v):
    with fw.dual_level():
        dual = fw.make_dual(v, v)
        result = dual * dual
    assert fw.unpack_dual(result).tangent is None
    assert (result + dual).tolist() == [12.0, 30.0]
    with fw.dual_level():
        assert fw.unpack_dual(result).tangent is None
        assert fw.unpack_dual(result * fw.make_dual(v, v)).tangent.tolist() == [27.0, 125.0]


def test_s171_tangents_in_no_grad(torch, fw, v):
    with fw.dual_level(), torch.no_grad():
        dual = fw.make_dual(v, v)
        assert fw.unpack_dual(dual * dual).tangent.tolist() == [18.0, 50.0]


def test_s171_detach_drops_the_tangent(torch, fw, v):
    with fw.dual_level():
        dual = fw.make_dual(v, v)
        assert fw.unpack_dual(dual.detach()).tangent is None
        assert fw.unpack_dual(dual.data).tangent is None
        assert fw.unpack_dual(dual.clone()).tangent.tolist() == [3.0, 5.0]


def test_s171_flat_and_integer_results(torch, fw, v):
    with fw.dual_level():
        dual = fw.make_dual(v, v)
        assert fw.unpack_dual(torch.floor(dual)).tangent.tolist() == [0.0, 0.0]
        assert fw.unpack_dual(dual > 0).tangent is None
        assert fw.unpack_dual(torch.argmax(dual)).tangent is None


def test_s171_views_and_writes(torch, fw, v):
    with fw.dual_level():
        dual = fw.make_dual(v, v)
        y = dual * 1
        part = y[:1]
        part *= 2
        assert fw.unpack_dual(y).tangent.tolist() == [6.0, 5.0]
        assert fw.unpack_dual(part).tangent.tolist() == [6.0]
        plain = torch.zeros(2)
        plain[0] = dual[1]
        assert fw.unpack_dual(plain).tangent.tolist() == [5.0, 0.0]
        dual.mul_(2)
        assert fw.unpack_dual(dual).tangent.tolist() == [6.0, 10.0]


def test_s171_values_of_duals_can_be_read(torch, fw, v):
    with fw.dual_level():
        dual = fw.make_dual(v, v)
        assert float(dual[0]) == 3.0
        assert bool(dual[0] > 0)
        assert dual.tolist() == [3.0, 5.0]


def test_s171_complex_duals(torch, fw):
    z, w = torch.tensor(3 + 4j), torch.tensor(1 - 2j)
    with fw.dual_level():
        dual = fw.make_dual(z, w)
        assert fw.unpack_dual(dual * dual).tangent.tolist() == 2 * (3 + 4j) * (1 - 2j)
        assert fw.unpack_dual(torch.conj(dual)).tangent.tolist() == 1 + 2j
        assert fw.unpack_dual(torch.abs(dual)).tangent.tolist() == pytest.approx(-1.0)


def test_s171_a_dual_of_a_tracked_tensor_is_tracked(torch, fw, t, v):
    with fw.dual_level():
        dual = fw.make_dual(t, v)
        assert dual.requires_grad
        assert not dual.is_leaf
        primal, tangent = fw.unpack_dual(dual)
        assert primal.requires_grad
        assert not tangent.requires_grad


def test_s171_reverse_over_forward(torch, fw, t, v):
    """The tangent of a result is differentiated: a product with a Hessian."""
    with fw.dual_level():
        _, tangent = fw.unpack_dual((fw.make_dual(t, v) ** 3).sum())
        assert tangent.requires_grad
    assert torch.autograd.grad(tangent, t)[0].tolist() == [18.0, 60.0]


def test_s171_forward_over_reverse(torch, fw, t, v):
    """The gradient of a dual carries a tangent: the same product."""
    with fw.dual_level():
        y = (fw.make_dual(t, v) ** 3).sum()
        (g,) = torch.autograd.grad(y, t)
        assert fw.unpack_dual(g).primal.tolist() == [3.0, 12.0]
        assert fw.unpack_dual(g).tangent.tolist() == [18.0, 60.0]


def test_s171_forward_over_reverse_of_a_leaf_made_from_a_dual(torch, fw, v):
    with fw.dual_level():
        leaf = fw.make_dual(torch.tensor([1.0, 2.0]), v).requires_grad_()
        (g,) = torch.autograd.grad((leaf ** 3).sum(), leaf)
        assert fw.unpack_dual(g).tangent.tolist() == [18.0, 60.0]


def test_s171_backward_through_duals_leaves_a_plain_gradient(torch, fw, t, v):
    with fw.dual_level():
        (fw.make_dual(t, v) ** 3).sum().backward()
    assert t.grad.tolist() == [3.0, 12.0]
    assert fw.unpack_dual(t.grad).tangent is None


def test_s171_a_tracked_tangent(torch, fw, v):
    w = torch.tensor([1.0, 1.0], requires_grad=True)
    with fw.dual_level():
        result = fw.make_dual(v, w) ** 2
        assert not result.requires_grad
        _, tangent = fw.unpack_dual(result)
    assert torch.autograd.grad(tangent.sum(), w)[0].tolist() == [6.0, 10.0]


# ---- 172

NO_SCALAR = (
    "grad_and_value(f)(*args): Expected f(*args) to return a scalar Tensor, got tensor with 1 dims. Maybe you wanted "
    "to use the vjp or jacrev APIs instead?"
)


@pytest.mark.parametrize("transform", ["grad", "grad_and_value"])
def test_s172_func_grad_wants_a_scalar(transform, func, v, raises):
    with raises(RuntimeError, NO_SCALAR):
        getattr(func, transform)(lambda x: x)(v)


@pytest.mark.parametrize("value", [1.0, None, [1.0]])
def test_s172_func_grad_wants_a_tensor(value, func, v, raises):
    with raises(
        RuntimeError, f"grad_and_value(f)(*args): Expected f(*args) to return a Tensor, got {type(value)}"
    ):
        func.grad(lambda x: value)(v)


def test_s172_func_grad_ignores_an_outer_no_grad(torch, func, t):
    with torch.no_grad():
        g = func.grad(lambda x: (x ** 3).sum())(t)
        assert not torch.is_grad_enabled()
    assert g.tolist() == [3.0, 12.0]
    assert not g.requires_grad


def test_s172_an_inner_no_grad_counts(torch, func, v):
    def f(x):
        with torch.no_grad():
            c = x ** 2
        return (x * c).sum()

    assert func.grad(f)(v).tolist() == [9.0, 25.0]


def test_s172_names(torch, func):
    wanted = {
        "grad", "grad_and_value", "vjp", "jvp", "jacrev", "jacfwd", "hessian", "linearize", "vmap", "functional_call",
    }
    assert isinstance(func, types.ModuleType)
    assert wanted <= set(dir(func))
