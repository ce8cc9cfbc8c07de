"""What the standard lacks: einsum, interp, log_softmax, logsumexp, pad, relu, scatter_add, softmax.

What the generic checker asks of each rule is in test_rules; here are values and gradients beside other libraries',
special points, and bad input.
"""

import subprocess
import sys
from math import inf, nan

import numpy as np
import pytest

import agrad
from agrad.plugins import contraction
from agrad.testing import assert_close


def numbers(*shape, seed=0, kind="real"):
    rng = np.random.default_rng([seed, *shape])
    real = rng.uniform(-2.0, 2.0, shape)
    return real if kind == "real" else real + 1j * rng.uniform(-2.0, 2.0, shape)


def tracked(values):
    return agrad.tensor(values, requires_grad=True)


def pytorchs(function, *arrays):
    """The result under PyTorch, and the gradients of its sum weighted by 1, 2, 3, ..."""
    return results(pytest.importorskip("torch"), function, *arrays)


def results(library, function, *arrays):
    leaves = [library.tensor(array, requires_grad=True) for array in arrays]
    out = function(library, *leaves)
    weights = library.reshape(library.tensor(np.arange(1.0, out.numel() + 1).astype(f"{out.dtype}".rpartition(".")[2])),
                              tuple(out.shape))
    found = library.autograd.grad(out, leaves, weights, create_graph=True, retain_graph=True)
    second = [library.autograd.grad(library.sum(library.abs(g) ** 2), leaves, retain_graph=True, allow_unused=True)
              if g.requires_grad else () for g in found]
    flat = [out, *found, *(g for row in second for g in row if g is not None)]
    return [np.asarray(part.detach().tolist()) for part in flat]


def agree(function, *arrays):
    """The result, first and second derivatives are PyTorch's."""
    for found, truth in zip(results(agrad, function, *arrays), pytorchs(function, *arrays), strict=True):
        np.testing.assert_allclose(found, truth, rtol=1e-10, atol=1e-10)


# --------------------------------------------------------------------------------------------------------------- einsum

EQUATIONS = [  # with the operands' shapes
    ("i->i", (3,)), ("ij->ji", (2, 3)), ("ji", (2, 3)), ("ii", (3, 3)), ("iij->j", (3, 3, 2)), ("->", ()),
    ("...ij->...ji", (2, 3, 4)), ("i...->...", (2, 3)), ("...", (2, 3)), ("ijkj->ki", (2, 3, 4, 3)),
    ("iii->i", (3, 3, 3)), ("i,i", (3,), (3,)), ("i,j", (3,), (2,)), ("ij,j->i", (2, 3), (3,)),
    ("ij,jk", (2, 3), (3, 4)), ("ij,ij", (2, 3), (2, 3)), ("ij,kj->ik", (2, 3), (4, 3)),
    ("bij,bjk->bik", (2, 3, 4), (2, 4, 2)), ("bi,bj->bij", (2, 3), (2, 4)), ("ijk,k->ij", (2, 3, 4), (4,)),
    ("ijkl,ljm->kim", (2, 3, 2, 4), (4, 3, 2)), ("bhqd,bhkd->bhqk", (2, 2, 3, 4), (2, 2, 2, 4)),
    ("...i,...i->...", (2, 3), (3,)), ("...ij,...jk", (2, 1, 2, 3), (4, 3, 2)), ("i...,j...->...ij", (2, 3), (4, 1)),
    ("ij,jk", (2, 3), (1, 4)), ("i,i", (1,), (3,)), ("ij,ij->i", (1, 3), (2, 1)), ("Ab,bC", (2, 3), (3, 4)),
    (" i j , j k -> i k ", (2, 3), (3, 4)), ("i,ij,j", (2,), (2, 3), (3,)), ("ij,j,ik->jk", (2, 3), (3,), (2, 2)),
    ("ij,jk,kl,lm", (2, 3), (3, 2), (2, 4), (4, 2)), ("ai,bj,aj,bi->", (2, 3), (2, 3), (2, 3), (2, 3)),
    ("i,i,i->", (3,), (1,), (3,)),
]


@pytest.mark.parametrize("kind", ["real", "complex"])
@pytest.mark.parametrize(("equation", "shapes"), [(equation, shapes) for equation, *shapes in EQUATIONS])
def test_einsum_is_pytorchs(equation, shapes, kind, backend):
    arrays = [numbers(*shape, seed=k, kind=kind) for k, shape in enumerate(shapes)]
    agree(lambda m, *operands: m.einsum(equation, *operands), *arrays)


def test_operands_may_come_as_a_list(backend):
    x, y = agrad.tensor(numbers(2, 3)), agrad.tensor(numbers(3, 4))
    assert_close(agrad.einsum("ij,jk", [x, y]), x @ y)


def test_operands_of_several_dtypes_are_promoted_and_keep_their_own_gradient():
    arrays = [numbers(2, 3).astype("float32"), numbers(3, kind="complex"), np.asarray([[1, 2], [3, 4]])]
    x, z, n = tracked(arrays[0]), tracked(arrays[1]), agrad.tensor(arrays[2])
    out = agrad.einsum("ij,j,ki->k", x, z, n)
    assert out.dtype == agrad.complex128
    np.testing.assert_allclose(out.detach().numpy(), np.einsum("ij,j,ki->k", *arrays))
    first, second = agrad.autograd.grad(out, (x, z), agrad.ones_like(out))
    assert (first.dtype, second.dtype) == (agrad.float32, agrad.complex128)
    np.testing.assert_allclose(second.numpy(), np.einsum("ij,ki->j", arrays[0], arrays[2]), rtol=1e-6)


def test_integers_stay_integers(backend):
    x = agrad.tensor([[1, 2, 3], [4, 5, 6]], dtype="int32")
    for equation, operands in (("ij->i", [x]), ("ij,kj", [x, x]), ("ij,kj,ik->i", [x, x, x[:, :2]])):
        found = agrad.einsum(equation, *operands)
        assert found.dtype == agrad.int32
        assert found.tolist() == np.einsum(equation, *(np.asarray(operand.tolist()) for operand in operands)).tolist()


def test_a_number_is_an_operand(backend):
    x = tracked([1.0, 2.0])
    agrad.einsum(",i,i->", 3.0, x, x).backward()
    assert x.grad.tolist() == [6.0, 12.0]


@pytest.mark.parametrize("equation", ["ij->ij", "ij->ji", "ii->i", "...->..."])
def test_the_result_shares_no_memory_with_its_operand(equation, backend):
    x = agrad.tensor([[1.0, 2.0], [3.0, 4.0]])
    out = agrad.einsum(equation, x)
    out += 1
    assert x.tolist() == [[1.0, 2.0], [3.0, 4.0]]


def test_constant_operands_get_no_gradient(backend):
    x, y, z = tracked(numbers(2, 3)), agrad.tensor(numbers(3, 4)), agrad.tensor(numbers(4))
    out = agrad.einsum("ij,jk,k->i", x, y, z)
    (found,) = agrad.autograd.grad(out.sum(), x)
    assert_close(found, agrad.broadcast_to(y @ z, (2, 3)))


BAD_EQUATIONS = {
    "ij,jk->iz": "output index 'z' is in no operand", "ij,jk->ii": "output index 'i' occurs twice",
    "ij": "subscripts for 1 operands, but 2 were given", "ij,jk,kl": "subscripts for 3 operands, but 2 were given",
    "ijk,jk": "operand 0 has 2 axes, but 'ijk' names 3", "ij,j": "operand 1 has 2 axes, but 'j' names 1",
    "ij,...jkl": "'...jkl' names at least 3", "i1,jk": "'1' is not a letter", "ij;jk": "';' is not a letter",
    "ij,jk->i->k": "'-' is not a letter", "i..j,jk": "operand 0 has a '.'", "ij,jk->.k": "output has a '.'",
    "ii,jk": "index 'i' has the lengths 2 and 3 in operand 0", "...,...": "axis of '...' has length",
    "ij,ik": "index 'i' has length 3 in operand 1, but 2 in one before",
}


@pytest.mark.parametrize("equation", BAD_EQUATIONS)
def test_wrong_subscripts_are_refused(equation, backend):
    with pytest.raises(ValueError) as caught:  # noqa: PT011  the words are compared below
        agrad.einsum(equation, agrad.ones(2, 3), agrad.ones(3, 4))
    assert BAD_EQUATIONS[equation] in str(caught.value)
    assert repr(equation) in str(caught.value)


def test_subscripts_are_a_string(backend):
    with pytest.raises(TypeError, match="subscripts first, as one string, not int"):
        agrad.einsum(2, agrad.ones(2))
    with pytest.raises(TypeError, match="einsum"):
        agrad.einsum("i")


def test_a_cheap_order_is_taken():
    pytest.importorskip("opt_einsum")
    terms, result = (("a", "b"), ("b", "c"), ("c", "d")), ("a", "d")
    for shapes, first in ((((50, 50), (50, 50), (50, 1)), [1, 2]), (((1, 50), (50, 50), (50, 50)), [0, 1])):
        assert sorted(contraction.order(terms, result, shapes)[0]) == first


def test_without_opt_einsum_the_order_is_from_left_to_right():
    program = """
        import sys
        sys.modules["opt_einsum"] = None
        import agrad, numpy as np
        from agrad.plugins import contraction
        arrays = [np.random.rand(*shape) for shape in ((2, 3), (3, 4), (4, 2), (2, 5))]
        xs = [agrad.tensor(a, requires_grad=True) for a in arrays]
        out = agrad.einsum("ij,jk,kl,lm->im", *xs)
        np.testing.assert_allclose(out.detach().numpy(), arrays[0] @ arrays[1] @ arrays[2] @ arrays[3])
        out.sum().backward()
        np.testing.assert_allclose(xs[0].grad.numpy(), np.ones((2, 5)) @ (arrays[1] @ arrays[2] @ arrays[3]).T)
        print(contraction.order((("i",),) * 4, (), ((2,),) * 4))
    """
    lines = "\n".join(line.strip() for line in program.splitlines())
    done = subprocess.run([sys.executable, "-P", "-c", lines], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "[(0, 1), (0, 2), (0, 1)]"


# ----------------------------------------------------------------------------------------- softmax, logarithms of sums

OVER_AXES = ("softmax", "log_softmax", "logsumexp")


@pytest.mark.parametrize("axis", [0, 1, -1])
@pytest.mark.parametrize("name", OVER_AXES)
def test_over_one_axis_they_are_pytorchs(name, axis, backend):
    agree(lambda m, x: getattr(m, name)(x, dim=axis) * 1.5, numbers(3, 4))
    agree(lambda m, x: getattr(x, name)(axis), numbers(3, 4))


@pytest.mark.parametrize("axis", [None, (0, 2), (2, 1), (-1,), ()])
@pytest.mark.parametrize("name", OVER_AXES)
def test_over_several_axes_they_are_scipys(name, axis, backend):
    special = pytest.importorskip("scipy.special")
    values = numbers(2, 3, 4)
    found = getattr(agrad, name)(agrad.tensor(values), axis=axis)
    np.testing.assert_allclose(found.numpy(), getattr(special, name)(values, axis=axis), rtol=1e-13, atol=1e-14)


@pytest.mark.parametrize("scale", [1e-3, 1.0, 300.0, 1e6])
def test_no_exponential_overflows(scale, backend):
    special = pytest.importorskip("scipy.special")
    values = scale * numbers(50)
    for name in OVER_AXES:
        found = getattr(agrad, name)(agrad.tensor(values), axis=0)
        np.testing.assert_allclose(found.numpy(), getattr(special, name)(values, axis=0), rtol=1e-12, atol=1e-300)


EXTREMES = [
    [-inf, -inf], [inf, 1.0], [inf, inf], [1.0, -inf], [nan, 1.0], [inf, -inf], [inf, 1000.0], [800.0, 801.0],
    [-800.0, -801.0], [1e307, -1e307],
]


@pytest.mark.filterwarnings("ignore:invalid value encountered")    # NumPy's word where the result is nan
@pytest.mark.parametrize("values", EXTREMES)
@pytest.mark.parametrize("name", OVER_AXES)
def test_infinities_and_nans_are_pytorchs(name, values, backend):
    torch = pytest.importorskip("torch")
    expected, found = [], []
    for library, out in ((torch, expected), (agrad, found)):
        x = library.tensor(values, dtype=library.float64, requires_grad=True)
        y = getattr(library, name)(x, 0)
        out += [y, *library.autograd.grad(y.sum(), x)]
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one.detach().tolist(), other.detach().tolist(), rtol=1e-13)


def test_the_logarithm_of_a_sum_of_nothing_is_minus_infinity(backend):
    for shape, axis, expected in (((0,), None, -inf), ((2, 0), 1, [-inf, -inf]), ((0, 3), None, -inf)):
        x = agrad.zeros(shape, requires_grad=True)
        y = agrad.logsumexp(x, axis=axis)
        assert y.tolist() == expected
        assert agrad.autograd.grad(y.sum(), x)[0].shape == shape
    assert agrad.logsumexp(agrad.zeros((2, 0)), axis=1, keepdims=True).shape == (2, 1)
    assert agrad.logsumexp(agrad.zeros((0, 3)), axis=1).shape == (0,)


@pytest.mark.parametrize("name", ["softmax", "log_softmax"])
def test_of_nothing_there_is_nothing(name, backend):
    for shape in ((0,), (2, 0), (0, 3)):
        x = agrad.zeros(shape, requires_grad=True)
        y = getattr(agrad, name)(x, axis=0)
        assert y.shape == shape
        assert agrad.autograd.grad(y.sum(), x)[0].shape == shape


@pytest.mark.parametrize("name", OVER_AXES)
def test_they_take_real_floating_point_numbers_only(name, backend):
    for values in ([1, 2], [1j, 2.0]):
        with pytest.raises(TypeError, match=rf"{name}\(\) takes real floating-point numbers"):
            getattr(agrad, name)(agrad.tensor(values))
    with pytest.raises((IndexError, ValueError)):
        getattr(agrad, name)(agrad.ones(2), axis=3)


def test_cross_entropy_has_its_textbook_gradient(backend):
    x = tracked(numbers(4, 3))
    labels = agrad.asarray([0, 2, 1, 1])
    chosen = agrad.take_along_axis(agrad.log_softmax(x), agrad.reshape(labels, (4, 1)), axis=1)
    (-chosen.sum()).backward()
    expected = agrad.softmax(x.detach()).numpy() - np.eye(3)[[0, 2, 1, 1]]
    np.testing.assert_allclose(x.grad.numpy(), expected, atol=1e-14)


# ----------------------------------------------------------------------------------------------------------------- relu


def test_relu_is_pytorchs(backend):
    torch = pytest.importorskip("torch")
    values = [-1.0, -0.0, 0.0, 2.0, inf, -inf, nan]
    expected, found = [], []
    for library, out in ((torch, expected), (agrad, found)):
        x = library.tensor(values, dtype=library.float64, requires_grad=True)
        y = library.relu(x)
        out += [y, *library.autograd.grad(y, x, library.ones_like(y)), x.detach().clone().relu_()]
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_array_equal(one.detach().tolist(), other.detach().tolist())


def test_relu_of_integers_and_of_complex_numbers(backend):
    assert agrad.relu(agrad.asarray([-1, 0, 2])).tolist() == [0, 0, 2]
    with pytest.raises(TypeError, match="relu\\(\\) takes real numbers"):
        agrad.relu(agrad.asarray([1j]))


# ------------------------------------------------------------------------------------------------------------------ pad

WIDTHS = [0, 1, (2,), (1, 2), ((3, 1),), ((1, 2), (0, 3)), ((1,), (2,)), [[0, 0], [2, 0]], ((7, 5), (4, 9))]


@pytest.mark.parametrize("mode", ["constant", "edge", "reflect", "symmetric", "wrap"])
@pytest.mark.parametrize("width", WIDTHS)
def test_padding_is_numpys(width, mode, backend):
    values = numbers(2, 3)
    x = tracked(values)
    y = agrad.pad(x, width, mode)
    np.testing.assert_array_equal(y.detach().numpy(), np.pad(values, width, mode))
    # each element's gradient is the sum of the weights of its copies
    weights = numbers(*y.shape, seed=1)
    (found,) = agrad.autograd.grad(y, x, agrad.tensor(weights))
    copies = np.pad(np.arange(6).reshape(2, 3), width, mode, **{"constant_values": -1} if mode == "constant" else {})
    expected = [weights[copies == k].sum() for k in range(6)]
    np.testing.assert_allclose(found.numpy().ravel(), expected, atol=1e-13)


@pytest.mark.parametrize("value", [3, (1, 2), ((1, 2), (3, 4)), ((1,), (2,))])
def test_constants_are_numpys(value, backend):
    x = agrad.tensor([[1.0, 2.0, 3.0]])
    found = agrad.pad(x, ((1, 0), (2, 1)), constant_values=value)
    np.testing.assert_array_equal(found.numpy(), np.pad([[1.0, 2.0, 3.0]], ((1, 0), (2, 1)), constant_values=value))
    assert agrad.pad(agrad.tensor([1, 2]), 1, constant_values=7).tolist() == [7, 1, 2, 7]


@pytest.mark.parametrize("mode", ["reflect", "replicate", "circular", "constant"])
def test_padding_has_pytorchs_gradients(mode, backend):
    torch = pytest.importorskip("torch")
    values = numbers(1, 2, 3, 4)
    name = {"replicate": "edge", "circular": "wrap"}.get(mode, mode)
    x, y = torch.tensor(values, requires_grad=True), tracked(values)
    pairs = (torch.nn.functional.pad(x, (1, 2, 2, 0), mode=mode), agrad.pad(y, ((0, 0), (0, 0), (2, 0), (1, 2)), name))
    for one, other in zip(pairs, (x, y), strict=True):
        (one * one).sum().backward()
        assert other.grad is not None
    np.testing.assert_allclose(y.grad.numpy(), x.grad.numpy(), rtol=1e-12)


def test_padding_of_nothing_shares_no_memory(backend):
    x = agrad.tensor([1.0, 2.0])
    y = agrad.pad(x, 0)
    y += 1
    assert x.tolist() == [1.0, 2.0]


BAD_PADS = {
    "negative": (-1, {}, ValueError, "no negative widths, got -1"),
    "not an integer": (1.5, {}, TypeError, "integer"),
    "too many pairs": (((1, 2), (3, 4)), {}, ValueError, "a pair for each of 1 axes"),
    "a triple": ((1, 2, 3), {}, ValueError, "a number, one pair"),
    "mode": (1, {"mode": "mean"}, ValueError, "has the modes 'constant', 'edge', .* not 'mean'"),
    "constants": (1, {"constant_values": (1, 2, 3)}, ValueError, "for constant_values"),
}


@pytest.mark.parametrize("name", BAD_PADS)
def test_bad_paddings_are_refused(name, backend):
    width, options, error, words = BAD_PADS[name]
    with pytest.raises(error, match=words):
        agrad.pad(agrad.ones(3), width, **options)


def test_an_empty_axis_has_nothing_to_copy(backend):
    with pytest.raises(ValueError, match="cannot extend an axis without elements"):
        agrad.pad(agrad.zeros((0, 2)), ((1, 0), (0, 0)), "edge")
    assert agrad.pad(agrad.zeros((0, 2)), ((1, 0), (0, 0))).tolist() == [[0.0, 0.0]]


# ---------------------------------------------------------------------------------------------------------- scatter_add


def test_repeated_positions_add_up_and_the_source_is_untouched(backend):
    x, v = tracked([1.0, 2.0, 3.0]), tracked([10.0, 20.0, 30.0, 40.0])
    places = agrad.asarray([0, 2, 0, -1])
    y = agrad.scatter_add(x, places, v)
    assert (y.tolist(), x.tolist()) == ([41.0, 2.0, 63.0], [1.0, 2.0, 3.0])
    first, second = agrad.autograd.grad(y, (x, v), agrad.asarray([1.0, 2.0, 3.0]))
    assert (first.tolist(), second.tolist()) == ([1.0, 2.0, 3.0], [1.0, 3.0, 1.0, 3.0])


def test_it_is_numpys_add_at(backend):
    base, values = numbers(3, 4), numbers(2, 3)
    keys = (np.asarray([[0], [2]]), np.asarray([1, 1, 3]))
    expected = base.copy()
    np.add.at(expected, keys, values)
    found = agrad.scatter_add(agrad.tensor(base), tuple(map(agrad.asarray, keys)), agrad.tensor(values))
    np.testing.assert_allclose(found.numpy(), expected)


def test_a_number_is_added_everywhere(backend):
    assert agrad.scatter_add(agrad.zeros(3), [0, 0, 2], 1.5).tolist() == [3.0, 0.0, 1.5]
    assert agrad.scatter_add(agrad.zeros(2, 2), (slice(None), 1), 1).tolist() == [[0.0, 1.0], [0.0, 1.0]]


def test_what_the_dtype_cannot_hold_is_refused(backend):
    for x, values in ((agrad.zeros(2), 1j), (agrad.asarray([1, 2]), 0.5), (agrad.asarray([1, 2]), agrad.ones(()))):
        with pytest.raises(TypeError, match=r"cannot add (complex|real) numbers to an array of agrad\."):
            agrad.scatter_add(x, 0, values)
    assert agrad.scatter_add(agrad.asarray([1j, 0]), 0, agrad.ones(())).tolist() == [1 + 1j, 0]


def test_bad_positions_are_refused(backend):
    with pytest.raises(IndexError):
        agrad.scatter_add(agrad.zeros(2), 2, 1.0)
    with pytest.raises((ValueError, RuntimeError)):
        agrad.scatter_add(agrad.zeros(3), [0, 1], agrad.ones(3))


def test_adding_in_place_is_recorded(backend):
    x, v = tracked([1.0, 2.0, 3.0]), tracked([4.0, 5.0])
    y = x * 2
    y.scatter_add_([0, 0], v)
    assert y.tolist() == [11.0, 4.0, 6.0]
    (y * y).sum().backward()
    assert (x.grad.tolist(), v.grad.tolist()) == ([44.0, 16.0, 24.0], [22.0, 22.0])


# --------------------------------------------------------------------------------------------------------------- interp

POINTS, HEIGHTS = np.asarray([-1.0, 0.0, 0.5, 2.0]), np.asarray([1.0, -1.0, 3.0, 0.0])
PLACES = np.asarray([-2.0, -1.0, -0.7, 0.0, 0.2, 0.5, 1.1, 1.99, 2.0, 3.0])


@pytest.mark.parametrize("sides", [{}, {"left": -5.0}, {"right": 7.0}, {"left": nan, "right": 0.0}])
def test_interpolation_is_numpys(sides, backend):
    found = agrad.interp(*map(agrad.tensor, (PLACES, POINTS, HEIGHTS)), **sides)
    np.testing.assert_allclose(found.numpy(), np.interp(PLACES, POINTS, HEIGHTS, **sides), rtol=1e-14)


def test_the_values_at_the_points_are_exact(backend):
    points, heights = np.cumsum(np.abs(numbers(30))) / 7, numbers(30, seed=1) * 1e3
    found = agrad.interp(*map(agrad.tensor, (points, points, heights)))
    np.testing.assert_array_equal(found.numpy(), heights)


@pytest.mark.parametrize("sides", [{}, {"left": -5.0, "right": 7.0}])
def test_interpolation_has_jaxs_gradients(sides, backend):
    jax = pytest.importorskip("jax")

    def total(*arrays):
        return (jax.numpy.interp(*arrays, **sides) ** 2).sum()

    arrays = [array.astype("float32") for array in (PLACES, POINTS, HEIGHTS)]
    leaves = [tracked(array) for array in arrays]
    (agrad.interp(*leaves, **sides) ** 2).sum().backward()
    for leaf, truth in zip(leaves, jax.grad(total, argnums=(0, 1, 2))(*arrays), strict=True):
        np.testing.assert_allclose(leaf.grad.numpy(), np.asarray(truth), rtol=1e-5, atol=1e-5)


def test_complex_values_are_interpolated(backend):
    heights = HEIGHTS + 1j * HEIGHTS[::-1]
    x, p, v = tracked(PLACES[:-1]), tracked(POINTS), tracked(heights)
    y = agrad.interp(x, p, v)
    np.testing.assert_allclose(y.detach().numpy(), np.interp(PLACES[:-1], POINTS, heights), rtol=1e-14)
    weights = numbers(len(PLACES) - 1, kind="complex")
    found = agrad.autograd.grad(y, (x, p, v), agrad.tensor(weights))
    parts = [agrad.autograd.grad(agrad.interp(x, p, part), (x, p, part), agrad.tensor(weight))
             for part, weight in ((tracked(heights.real), weights.real), (tracked(heights.imag), weights.imag))]
    for k in (0, 1):
        assert_close(found[k], parts[0][k] + parts[1][k])
    np.testing.assert_allclose(found[2].numpy(), parts[0][2].numpy() + 1j * parts[1][2].numpy(), rtol=1e-12)


def test_second_derivatives_of_an_interpolation(backend):
    x, v = tracked([0.2, 1.1]), tracked(HEIGHTS)
    (slope,) = agrad.autograd.grad(agrad.interp(x, agrad.tensor(POINTS), v).sum(), x, create_graph=True)
    slope.sum().backward()
    np.testing.assert_allclose(v.grad.numpy(), [0.0, -2.0, 2.0 - 1 / 1.5, 1 / 1.5])


def test_one_point_is_a_constant(backend):
    x, v = tracked([0.0, 1.0, 2.0]), tracked([3.0])
    y = agrad.interp(x, agrad.tensor([1.0]), v)
    assert y.tolist() == [3.0, 3.0, 3.0]
    first, second = agrad.autograd.grad(y.sum(), (x, v))
    assert (first.tolist(), second.tolist()) == ([0.0, 0.0, 0.0], [3.0])


def test_what_is_not_a_number_stays_so(backend):
    y = agrad.interp(agrad.tensor([nan, inf, -inf]), agrad.tensor(POINTS), agrad.tensor(HEIGHTS))
    np.testing.assert_array_equal(y.numpy(), [nan, 0.0, 1.0])


def test_interpolation_of_numbers_integers_and_single_precision(backend):
    p, v = agrad.tensor(POINTS), tracked(HEIGHTS)
    y = agrad.interp(0.25, p, v)
    assert (y.shape, y.tolist()) == ((), 1.0)
    y.backward()
    assert v.grad.tolist() == [0.0, 0.5, 0.5, 0.0]
    whole = map(agrad.asarray, ([1, 4], [0, 2, 4], [0, 1, 5]))
    assert agrad.interp(*whole).tolist() == [0.5, 5.0]
    single = [agrad.tensor(array, dtype="float32") for array in (PLACES, POINTS, HEIGHTS)]
    assert agrad.interp(*single).dtype == agrad.float32


def test_bad_points_are_refused(backend):
    x, p = agrad.ones(2), agrad.asarray([0.0, 1.0])
    for points, heights in ((p, agrad.ones(3)), (agrad.ones(2, 2), p), (p[:0], p[:0]), (p, agrad.ones(()))):
        with pytest.raises(ValueError, match="with one axis and of the same length"):
            agrad.interp(x, points, heights)
    for arguments in ((x * 1j, p, p), (x, p * 1j, p)):
        with pytest.raises(TypeError, match="takes real numbers"):
            agrad.interp(*arguments)


# ---------------------------------------------------------------------------------------------------------------- nodes


@pytest.mark.parametrize(
    ("function", "name"),
    [
        (agrad.softmax, "SoftmaxBackward0"), (agrad.log_softmax, "LogSoftmaxBackward0"),
        (agrad.logsumexp, "LogsumexpBackward0"), (agrad.relu, "ReluBackward0"),
        (lambda x: agrad.pad(x, 1), "ConstantPadNdBackward0"), (lambda x: agrad.pad(x, 1, "edge"), "PadBackward0"),
        (lambda x: agrad.scatter_add(x, 0, 1.0), "ScatterAddBackward0"),
        (lambda x: agrad.einsum("i,i", x, x), "EinsumBackward0"), (lambda x: agrad.interp(x, x, x), "InterpBackward0"),
    ],
)
def test_nodes_have_pytorchs_names_where_there_are_any(function, name):
    assert function(tracked([1.0, 2.0])).grad_fn.name() == name


def test_a_librarys_function_of_that_name_is_not_taken_for_the_kernel(backend):
    """NumPy's pad knows a mode's own parameters only, its interp computes in double precision."""
    x = agrad.ones(2, dtype="float32")
    assert agrad.interp(x, x, x).dtype == agrad.float32
    assert agrad.pad(x, 1, "edge", constant_values=0).tolist() == [1.0] * 4
