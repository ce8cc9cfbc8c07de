"""Forward rules: those that are derived, what fits results and what is refused; and values against torch and JAX.

That declared rules and those of families are right, the generic checker sees (test_rules.py).
"""

import warnings

import numpy as np
import pytest
from array_libraries import is_installed, values

import agrad
from agrad import forward, levels, rules
from agrad.cython_core import engine
from agrad.rules import RuleSet, case, scatter
from agrad.testing import assert_close, check_rule


def jvp(function, *pairs):
    """Value and tangent of a function of Tensors, from pairs of value and tangent; None for an operand at rest."""
    with levels.entered("dual") as level:
        out = function(*(x if t is None else engine.wrap_level(level, x, t) for x, t in pairs))
        several = isinstance(out, tuple)
        found = [levels.outside(level, part) for part in (out if several else (out,))]
    outs, tangents, _ = zip(*found, strict=True)
    return (outs, tangents) if several else (outs[0], tangents[0])


def tangent(function, *pairs):
    return jvp(function, *pairs)[1]


def tensor(*numbers, **options):
    return agrad.tensor(list(numbers), **{"dtype": agrad.float64} | options)


# --------------------------------------------------------------------------------------------------- derived rules
# Rule sets of others without a jvp: it follows from the vjp.

MADE = RuleSet("derived")


def declare(line, kernel, samples, **fields):
    MADE.op(f"derived.{line}").kernel("*", kernel)
    MADE.general(f"derived.{line.partition('(')[0]}", samples=samples, **fields)


declare(
    "cube(x: array, /)", lambda x: x * x * x, [case((3,)), case(())],
    vjp={"x": lambda g, x, xp: 3 * g * xp.conj(x * x)},
)
declare(
    "mix(x1: array, x2: array, /)", lambda x1, x2: x1 * x1 * x2, [case((3,), (3,)), case((2, 3), (3,))],
    vjp=lambda g, x1, x2, needs, xp: (
        2 * g * xp.conj(x1 * x2) if needs[0] else None, g * xp.conj(x1 * x1) if needs[1] else None
    ),
)
declare(
    "parts(x: array, /)", lambda x: (x * x, x * 3, x.shape[0] + 0 * x), [case((3,))],
    vjp={"x": lambda g, x, x_like, xp: sum(
        (part * d for part, d in zip(g, (2 * xp.conj(x), 3, 0), strict=True) if part is not None), x_like.zeros()
    )},
)
declare(
    "joined(arrays: array*, /, *, weight=2.0)", lambda arrays, weight=2.0, *, xp: weight * xp.concat(list(arrays)),
    [case([(2,), (3,)]), case([(1,)], weight=3.0)],
    vjp={"arrays": lambda g, arrays_like, weight, xp: tuple(weight * piece for piece in split(g, arrays_like, xp))},
)
declare(
    "picked(x: array, /, key: key)", lambda x, key: x[key] + 0, [case((3,), 1), case((2, 3), (slice(None), 1))],
    vjp={"x": lambda g, key, x_like: scatter(x_like, key, g)},
)
declare("table(x: array, /)", lambda x: x * x, [case((3,))], vjp={"x": lambda g, x: 2 * g * x}, once=True)
declare(
    "apart(x1: array, x2: array, /)", lambda x1, x2: x1 + 0 * x2, [case((3,), (3,))],
    vjp={"x1": lambda g: g, "x2": None},
)


def split(g, arrays_like, xp):
    ends = np.cumsum([like.shape[0] for like in arrays_like])
    return [g[int(end) - like.shape[0] : int(end)] for end, like in zip(ends, arrays_like, strict=True)]


MADE.install("derived (tests 1.0)")
DERIVED = ["cube", "mix", "parts", "joined", "picked", "apart"]


@pytest.mark.parametrize("dtype", ["float64", "complex128", "float32"])
@pytest.mark.parametrize("name", DERIVED)
def test_a_jvp_follows_from_the_vjp(name, dtype, backend):
    assert rules.find(f"derived.{name}").record.jvp is None
    report = check_rule(f"derived.{name}", backend, dtype)
    assert report.checks > 10
    assert not report.refused


def test_a_derived_tangent_is_tracked_only_where_something_is():
    cube = rules.find("derived.cube").function
    x, t = tensor(1.0, 2.0), tensor(1.0, 10.0)
    for tracked in (False, True):
        found = tangent(cube, (x.clone().requires_grad_(tracked), t))
        assert values(found).tolist() == [3.0, 120.0]
        assert found.requires_grad is tracked
    with agrad.no_grad():
        assert not tangent(cube, (x.clone().requires_grad_(), t)).requires_grad
    assert tangent(cube, (x, t.clone().requires_grad_())).requires_grad


def test_derived_rules_nest():
    cube = rules.find("derived.cube").function
    x, one = tensor(2.0), tensor(1.0)
    first = lambda x: tangent(cube, (x, one))                   # noqa: E731
    second = lambda x: tangent(first, (x, one))                 # noqa: E731
    assert [f(x).item() for f in (first, second, lambda x: tangent(second, (x, one)))] == [12.0, 12.0, 6.0]


def test_a_vjp_that_cannot_be_differentiated_is_not_transposed():
    table = rules.find("derived.table").function
    with pytest.raises(NotImplementedError, match=r"table has no forward mode: derived \(tests 1\.0\) declares"):
        jvp(table, (tensor(1.0), tensor(1.0)))
    assert values(table(tensor(3.0))).tolist() == [9.0]


def test_an_op_whose_derivative_raises_raises_the_same():
    with pytest.raises(RuntimeError, match="derivative for floor_divide is not implemented"):
        jvp(agrad.floor_divide, (tensor(5.0), tensor(1.0)), (tensor(2.0), None))
    with pytest.raises(NotImplementedError, match="no derivative with respect to 'n'"):
        jvp(agrad.special.polygamma, (tensor(1.0), tensor(1.0)), (tensor(2.0), None))


def test_an_overriding_rule_acts_in_its_block_only():
    doubled = RuleSet("statistical", override=True)
    doubled.reduction("max", x=lambda g: g, jvp=lambda t, xp: 2 * xp.sum(t))
    doubled.install("doubled (tests 1.0)")
    x, t, before = tensor(1.0, 3.0), tensor(5.0, 7.0), engine.get_mode()
    for overrides, expected in (((doubled,), 24.0), (None, 7.0), ((doubled,), 24.0)):
        engine.set_mode(before.replace(overrides=overrides))
        try:
            assert tangent(agrad.max, (x, t)).item() == expected
        finally:
            engine.set_mode(before)


def test_of_agrads_own_rules_only_one_that_raises_has_no_forward_rule():
    own = {name: op.record for name, op in rules.ops().items() if op.record is not None and "agrad 0" in op.rule.source}
    lacking = [name for name, record in own.items()
               if record.family in ("general", "reduction") and record.jvp is None and record.linear_part is None]
    assert len(own) > 250
    assert lacking == ["floor_divide"]


# -------------------------------------------------------------------------------------- what a record may say wrongly


def returning(result):
    """A rule set's op whose jvp returns this."""
    made = RuleSet("faulty")
    made.op("faulty.two(x: array, /)").kernel("*", lambda x: (x * 1, x * 2))
    made.op("faulty.one(x: array, /)").kernel("*", lambda x: x * 1)
    made.general("faulty.two", vjp={"x": lambda g: g[0]}, jvp=lambda t: result)
    made.general("faulty.one", vjp={"x": lambda g: g}, jvp=lambda t: result)
    made.install("faulty (tests 2.0)")
    return made.bound


@pytest.mark.parametrize(("name", "result", "complaint"), [
    ("faulty.one", 1.0, "returned float, expected a Tensor"),
    ("faulty.two", 1.0, "returned float, expected 2 tangents"),
    ("faulty.two", (None,), "returned 1 tangents, expected 2 tangents"),
    ("faulty.two", (None, "x"), "returned str, expected a Tensor"),
])
def test_a_forward_rule_of_the_wrong_form_is_named(name, result, complaint):
    rule = returning(result)[name]
    x = tensor(1.0)
    out = rule.op.function(x)
    with pytest.raises(TypeError, match=rf"the rule {name}\.jvp of faulty \(tests 2\.0\) {complaint}"):
        forward.made(rule, rule.op.record)((x,), (x,), out)


# ------------------------------------------------------------------------------------------------------ what fits


FITTING = {  # of a moving x, single precision in two axes, and a complex array at rest
    "broadcast": lambda x, wide: x + wide.real,
    "complex": lambda x, wide: wide - x,
    "number": lambda x, wide: 2.5 / x,
    "select": lambda x, wide: agrad.maximum(x, wide.real),
    "linear": lambda x, wide: agrad.where(wide == 0, x, wide),
    "bilinear": lambda x, wide: agrad.matmul(agrad.matrix_transpose(x), wide),
    "general": lambda x, wide: agrad.clip(x, 0.5, wide.real),
    "formula": lambda x, wide: agrad.logaddexp(x, wide.real),
    "reduction": lambda x, wide: agrad.sum(x, dtype=agrad.complex128),
    "variadic": lambda x, wide: agrad.concat([x, wide], axis=1),
}


@pytest.mark.parametrize("name", FITTING)
def test_tangents_have_the_shape_and_dtype_of_results(name, backend):
    x, wide = agrad.ones((2, 1), dtype=agrad.float32), agrad.ones((2, 3), dtype=agrad.complex128)
    out, t = jvp(lambda x: FITTING[name](x, wide), (x, x))
    assert (t.shape, t.dtype) == (out.shape, out.dtype)


@pytest.mark.parametrize("function", [
    lambda x: x.to(dtype=agrad.int64), lambda x: agrad.astype(x, agrad.int32), lambda x: x > 0, agrad.argmax,
    agrad.isnan, agrad.zeros_like, lambda x: x.detach(), agrad.count_nonzero, lambda x: agrad.unique_all(x).indices,
])
def test_what_has_no_derivative_has_no_tangent(function):
    assert tangent(function, (tensor(1.0, 2.0), tensor(1.0, 1.0))) is None


@pytest.mark.parametrize("function", [
    agrad.floor, agrad.round, agrad.trunc, lambda x: agrad.linalg.vector_norm(x, ord=0),
])
def test_what_is_flat_has_tangents_of_zero(function):
    t = tangent(function, (tensor(1.3, -2.0), tensor(1.0, 1.0)))
    assert not np.any(values(t))


@pytest.mark.parametrize("function", [
    agrad.sqrt, agrad.log, agrad.std, lambda x: x**0.5, lambda x: 1 / x, lambda x: agrad.linalg.vector_norm(x, ord=0.5),
    lambda x: agrad.linalg.eigh(agrad.reshape(x, (2, 2))).eigenvectors, lambda x: agrad.logaddexp(x - agrad.inf, x),
])
def test_no_warning_comes_from_derivatives(function):
    """Warnings are errors here; the op itself may warn."""
    x = tensor(0.0, 0.0, 0.0, 0.0)
    with np.errstate(all="ignore"):
        out = function(x)
    with np.errstate(divide="ignore") if not np.all(np.isfinite(values(out))) else np.errstate():
        assert tangent(function, (x, agrad.ones_like(x))).shape == out.shape


# ------------------------------------------------------------------------------------------------- torch and JAX

REAL_AND_COMPLEX = {  # functions of matrices (3, 3), with either library as xp
    "exp": lambda xp, x: xp.exp(x),
    "product": lambda xp, x: x * x.conj() / (2 + x),
    "abs": lambda xp, x: xp.abs(x),
    "sign": lambda xp, x: xp.sgn(x) if hasattr(xp, "sgn") else xp.sign(x),
    "power": lambda xp, x: x**3,
    "matmul": lambda xp, x: x @ x.mT @ x,
    "prod": lambda xp, x: xp.prod(x),
    "mean": lambda xp, x: xp.mean(x),
    "norm": lambda xp, x: xp.linalg.vector_norm(x),
    "inv": lambda xp, x: xp.linalg.inv(x),
    "det": lambda xp, x: xp.linalg.det(x),
    "slogdet": lambda xp, x: xp.linalg.slogdet(x)[1],
    "solve": lambda xp, x: xp.linalg.solve(x, x.mT),
    "cholesky": lambda xp, x: xp.linalg.cholesky(x @ x.mT.conj()),
    "eigh": lambda xp, x: xp.linalg.eigh(x + x.mT.conj())[0],
    "projectors": lambda xp, x: projector(xp.linalg.eigh(x + x.mT.conj())[1]),
    "svdvals": lambda xp, x: xp.linalg.svd(x, full_matrices=False)[1],
    "singular vectors": lambda xp, x: projector(xp.linalg.svd(x, full_matrices=False)[0]),
    "pinv": lambda xp, x: xp.linalg.pinv(x[:, :2]),
    "einsum": lambda xp, x: xp.einsum("ij,jk,ik->i", x, x, x),
}
REAL = {
    "maximum": lambda xp, x: xp.maximum(x, x.mT), "clip": lambda xp, x: xp.clip(x, -0.5, 0.5),
    "sort": lambda xp, x: xp.sort(x)[0] if isinstance(xp.sort(x), tuple) else xp.sort(x),
    "qr": lambda xp, x: xp.linalg.qr(x)[1] ** 2,
    "hypot": lambda xp, x: xp.hypot(x, x.mT),
}


def projector(vectors):
    first = vectors[:, :1]
    return first @ first.mT.conj()


def matrices(kind, seed=3):
    """A value and a tangent."""
    draw = np.random.default_rng(seed).normal
    x, t = (draw(size=(3, 3)) for _ in range(2))
    return (x, t) if kind == "real" else (x + 1j * draw(size=(3, 3)), t + 1j * draw(size=(3, 3)))


@pytest.mark.skipif(not is_installed("torch"), reason="torch is not installed")
@pytest.mark.parametrize(("name", "kind"), [
    *((name, kind) for name in REAL_AND_COMPLEX for kind in ("real", "complex")), *((name, "real") for name in REAL),
])
def test_tangents_are_those_of_torch(name, kind):
    import torch

    function, (x, t) = (REAL_AND_COMPLEX | REAL)[name], matrices(kind)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)     # its forward mode calls torch.jit.script
        theirs = torch.func.jvp(lambda x: function(torch, x), (torch.tensor(x),), (torch.tensor(t),))
    ours = jvp(lambda x: function(agrad, x), (agrad.tensor(x), agrad.tensor(t)))
    for a, b in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(values(a), b.numpy(), rtol=1e-9, atol=1e-9)


LINALG = {
    "inv": lambda xp, x: xp.linalg.inv(x), "det": lambda xp, x: xp.linalg.det(x),
    "slogdet": lambda xp, x: xp.linalg.slogdet(x)[1], "solve": lambda xp, x: xp.linalg.solve(x, xp.matrix_transpose(x)),
    "cholesky": lambda xp, x: xp.linalg.cholesky(x @ xp.conj(xp.matrix_transpose(x))),
    "eigvalsh": lambda xp, x: xp.linalg.eigvalsh(x + xp.conj(xp.matrix_transpose(x))),
    "eig": lambda xp, x: xp.sum(xp.linalg.eigvals(x) ** 3),
    "svdvals": lambda xp, x: xp.linalg.svdvals(x), "pinv": lambda xp, x: xp.linalg.pinv(x),
    "norm": lambda xp, x: xp.linalg.matrix_norm(x, ord="nuc"), "qr": lambda xp, x: xp.abs(xp.linalg.qr(x)[1]),
    "matrix_power": lambda xp, x: xp.linalg.matrix_power(x, 5), "expand": lambda xp, x: xp.linalg.outer(x[0], x[1]),
}


@pytest.mark.skipif(not is_installed("jax"), reason="jax is not installed")
@pytest.mark.parametrize("kind", ["real", "complex"])
@pytest.mark.parametrize("name", LINALG)
def test_tangents_of_linear_algebra_are_those_of_jax(name, kind):
    import jax

    function, (x, t) = LINALG[name], matrices(kind, 5)
    theirs = jax.jvp(lambda x: function(jax.numpy, x), (jax.numpy.asarray(x),), (jax.numpy.asarray(t),))
    ours = jvp(lambda x: function(agrad, x), (agrad.tensor(x), agrad.tensor(t)))
    for a, b in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(values(a), np.asarray(b), rtol=1e-9, atol=1e-9)


# ------------------------------------------------------------------------------------------------------ conventions


@pytest.mark.parametrize(("function", "x", "expected"), [
    (lambda x: agrad.max(x), [1.0, 3.0, 3.0], [0.0, 0.5, 0.5]),
    (lambda x: agrad.linalg.vector_norm(x, ord=agrad.inf), [-2.0, 2.0, 1.0], [-0.5, 0.5, 0.0]),
    (lambda x: agrad.maximum(x, agrad.asarray([1.0, 0.0, 2.0])), [1.0, 1.0, 1.0], [0.5, 1.0, 0.0]),
    (lambda x: agrad.relu(x), [0.0, 1.0, -1.0], [0.0, 1.0, 0.0]),
    (lambda x: agrad.clip(x, 0.0, 1.0), [0.0, 1.0, 2.0], [1.0, 1.0, 0.0]),
    (lambda x: agrad.prod(x), [0.0, 2.0, 3.0], [6.0, 0.0, 0.0]),
    (lambda x: agrad.linalg.svdvals(agrad.reshape(x, (1, 3))), [0.0, 0.0, 0.0], [0.0, 0.0, 0.0]),
    (lambda x: agrad.abs(x), [0.0, -1.0, 1.0], [0.0, -1.0, 1.0]),
])
def test_both_modes_go_by_the_same_conventions(function, x, expected):
    for i, unit in enumerate(np.eye(3)):
        assert np.sum(values(tangent(function, (agrad.tensor(x), agrad.tensor(unit))))) == expected[i]
    leaf = agrad.tensor(x, requires_grad=True)
    agrad.sum(function(leaf)).backward()
    assert values(leaf.grad).tolist() == expected


# -------------------------------------------------------------------------------------------------- several levels


def test_levels_of_forward_mode_nest_to_any_order():
    x, one = tensor(0.7), tensor(1.0)

    def derivative(function):
        return lambda x: tangent(function, (x, agrad.ones_like(x)))

    third = derivative(derivative(derivative(lambda x: agrad.sin(x) * agrad.exp(x) / agrad.sqrt(x))))(x)
    assert_close(third, forward_differences(lambda x: derivative(derivative(
        lambda x: agrad.sin(x) * agrad.exp(x) / agrad.sqrt(x)))(x), x, one), rtol=1e-6, atol=1e-6)


def forward_differences(function, x, t, step=1e-5):
    return (function(x + step * t) - function(x - step * t)) / (2 * step)


def test_tangents_of_two_levels_are_not_confused():
    """d/dx (x d/dy (x + y)) is 1: the inner tangent of x is none."""
    x, one = tensor(3.0), tensor(1.0)
    inner = lambda x: x * tangent(lambda y: x + y, (tensor(2.0), one))       # noqa: E731
    assert values(tangent(inner, (x, one))).tolist() == [1.0]


@pytest.mark.parametrize("function", [
    lambda x: agrad.sum(agrad.linalg.inv(x) ** 2), agrad.linalg.det, lambda x: agrad.sum(agrad.exp(x) @ x),
    agrad.logsumexp, lambda x: agrad.sum(agrad.cumulative_prod(x, axis=0)), lambda x: agrad.var(x) * x[0, 0],
    lambda x: agrad.sum(agrad.sort(x, axis=0)[0] ** 3), lambda x: agrad.sum(agrad.linalg.svdvals(x)),
])
def test_the_product_of_hessian_and_vector_is_the_same_in_all_four_ways(function):
    x, t = (agrad.tensor(part) for part in matrices("real", 8))

    def gradient(x):
        own = engine.alias(x).requires_grad_()
        return agrad.autograd.grad(function(own), own, create_graph=True)[0]

    over_reverse = tangent(gradient, (x, t))
    leaf = x.clone().requires_grad_()
    reverse_twice = agrad.autograd.grad(gradient_of(function, leaf), leaf, t)[0]
    reverse_over = agrad.autograd.grad(tangent(function, (leaf, t)), leaf)[0]
    basis = [agrad.tensor(unit.reshape(3, 3)) for unit in np.eye(9)]
    twice = [tangent(lambda x, e=e: tangent(function, (x, e)), (x, t)) for e in basis]
    for other in (reverse_twice, reverse_over, agrad.reshape(agrad.stack(twice), (3, 3))):
        assert_close(over_reverse.detach(), other.detach(), rtol=1e-9, atol=1e-9)


def gradient_of(function, leaf):
    return agrad.autograd.grad(function(leaf), leaf, create_graph=True)[0]
