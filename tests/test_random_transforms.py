"""Random programs under transforms: vmap is a loop, jvp the transpose of vjp, Jacobians and Hessians agree.

The programs are those of `test_random_programs_and_torch.py`, which holds their values and gradients against PyTorch's.
"""

import warnings

import numpy as np
import pytest
from hypothesis import assume, given, reject, settings

import agrad

pytest.importorskip("torch")

import torch
from program_steps import ALONG_AN_AXIS, BINARY, MATRIX, SHAPED_BY_VALUES, UNARY, VECTOR, WHOLE, constant
from random_programs import THEIRS, Program, Step, as_function, programs

from agrad.func import grad, hessian, jacfwd, jacrev, jvp, vjp, vmap

NEAR = 1e-7
TAME = 1e5
BATCH = 3


def plain(t):
    return t.detach().numpy()


class Unfit(Exception):
    """A program about which a check has nothing to say."""


def near(found, expected, what):
    found, expected = plain(found), plain(expected)
    assert found.shape == expected.shape, what
    assert found.dtype == expected.dtype, what
    scale = 1 + np.abs(expected).max(initial=0.0)
    assert np.all(np.abs(found - expected) <= NEAR * scale), f"{what}:\n{found}\nexpected\n{expected}"


def tame(*tensors):
    """Leave out programs whose numbers tell rounding errors, not mistakes."""
    if not all(np.all(np.abs(plain(t)) < TAME) for t in tensors):
        raise Unfit


def random_like(t, random):
    values = random.uniform(-1, 1, tuple(t.shape))
    return agrad.tensor(values + 1j * random.uniform(-1, 1, values.shape) if t.dtype.kind == "complex" else values)


def operands(program):
    random = np.random.default_rng(program.seed + 7)
    return [agrad.tensor(a) for a in program.leaves], random


def total_of(program, random, m=agrad, weights=None):
    """The program's results with random weights in one real number; the weights are drawn once, for any library."""
    function, weights = as_function(program, m), {} if weights is None else weights

    def total(*leaves):
        sums = []
        for i, y in enumerate(function(*leaves)):
            if i not in weights:
                weights[i] = random.uniform(-1, 1, tuple(y.shape)) * (1 + 0.5j)
            w = m.asarray(weights[i] if "complex" in str(y.dtype) else weights[i].real)
            sums.append(m.sum(m.real(y * w)))
        return sum(sums[1:], sums[0])

    return total


def inner(xs, ys):
    return sum(float(np.real(np.vdot(plain(x), plain(y)))) for x, y in zip(xs, ys, strict=True))


# ----------------------------------------------------------------------------------------------------- one transform


def vmap_is_a_loop(program):
    leaves, random = operands(program)
    function = as_function(program, agrad)
    in_dims = [0 if random.random() < 0.8 else None for _ in leaves]
    if not any(d == 0 for d in in_dims):
        in_dims[0] = 0
    batches = [
        agrad.stack([x * (1 + 0.01 * i) for i in range(BATCH)]) if d == 0 else x
        for x, d in zip(leaves, in_dims, strict=True)
    ]
    expected = [
        function(*(x[i] * 1 if d == 0 else x for x, d in zip(batches, in_dims, strict=True))) for i in range(BATCH)
    ]
    found = vmap(function, in_dims=tuple(in_dims))(*batches)
    for k, y in enumerate(found):
        near(y, agrad.stack([row[k] for row in expected]), f"vmap, result {k}")


def jvp_is_the_transpose_of_vjp(program):
    leaves, random = operands(program)
    function = as_function(program, agrad)
    tangents = [random_like(x, random) for x in leaves]
    out, back = vjp(function, *leaves)
    cotangents = [random_like(y, random) for y in out]
    gradients = back(tuple(cotangents))
    primals, pushed = jvp(function, tuple(leaves), tuple(tangents))
    tame(*gradients, *pushed)
    for a, b, t in zip(primals, out, pushed, strict=True):
        near(a, b, "jvp's value")
        assert (t.shape, t.dtype) == (a.shape, a.dtype)
    expected, found = inner(cotangents, pushed), inner(gradients, tangents)
    size = sum(np.abs(plain(g)).sum() for g in gradients)
    assert abs(found - expected) <= NEAR * (1 + size), f"<c, J t> is {expected}, <J* c, t> is {found}"


def jacobians_agree(program):
    leaves, random = operands(program)
    if any(x.dtype.kind == "complex" for x in leaves):
        raise Unfit
    total = total_of(program, random)
    numbers = tuple(range(len(leaves)))
    gradients = grad(total, argnums=numbers)(*leaves)
    tame(*gradients)
    for a, b, c in zip(
        jacfwd(total, argnums=numbers)(*leaves), jacrev(total, argnums=numbers)(*leaves), gradients, strict=True
    ):
        near(a, c, "jacfwd")
        near(b, c, "jacrev")


# ------------------------------------------------------------------------------------------------ transforms of them


def hessians_agree(program):
    leaves, random = operands(program)
    if any(x.dtype.kind == "complex" for x in leaves):
        raise Unfit
    weights = {}
    total = total_of(program, random, weights=weights)
    rows = grad(total)(*leaves)
    tame(rows)
    x, rest = leaves[0], leaves[1:]
    found = hessian(total)(x, *rest)
    tame(found)
    n = x.size
    flat = np.reshape(plain(found), (n, n))
    assert np.all(np.abs(flat - flat.T) <= 10 * NEAR * (1 + np.abs(flat).max(initial=0.0))), f"not symmetric:\n{flat}"
    near(jacrev(jacrev(total))(x, *rest), found, "reverse over reverse")
    near(jacrev(jacfwd(total))(x, *rest), found, "reverse over forward")
    near(jacfwd(jacfwd(total))(x, *rest), found, "forward over forward")
    tracked = x.clone().requires_grad_()
    value, direction = total(tracked, *rest), random_like(x, random)
    g = value
    if value.requires_grad:
        (g,) = agrad.autograd.grad(value, tracked, create_graph=True)
    if g.requires_grad:
        (product,) = agrad.autograd.grad(g, tracked, direction, materialize_grads=True)
        near(agrad.reshape(found, (n, n)) @ agrad.reshape(direction, (n,)), agrad.reshape(product, (n,)), "the walk's")
    pushed = jvp(grad(lambda x: total(x, *rest)), (x,), (direction,))[1]
    near(agrad.reshape(found, (n, n)) @ agrad.reshape(direction, (n,)), agrad.reshape(pushed, (n,)), "jvp of grad")
    theirs = their_hessian(program, total_of(program, random, THEIRS, weights))
    if theirs is not None:
        near(found, agrad.tensor(theirs), "PyTorch's")


def their_hessian(program, total):
    """PyTorch's Hessian, None where its transforms cannot do the program or give what is no Hessian."""
    leaves = [torch.tensor(a) for a in program.leaves]
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what PyTorch imports on the way is deprecated
            found = torch.func.hessian(total)(*leaves).numpy()
    except (RuntimeError, NotImplementedError, ValueError):
        return None
    n = leaves[0].numel()
    flat = found.reshape(n, n)
    return found if np.allclose(flat, flat.T, rtol=1e-6, atol=1e-6) else None  # wrong for complex powers, for one


def vmap_of_transforms_is_a_loop(program):
    leaves, random = operands(program)
    if any(x.dtype.kind == "complex" for x in leaves):
        raise Unfit
    total = total_of(program, random)
    x, rest = leaves[0], leaves[1:]
    total(*leaves)
    f = lambda x: total(x, *rest)  # noqa: E731
    batch = agrad.stack([x * (1 + 0.01 * i) for i in range(BATCH)])
    direction = random_like(x, random)
    transforms = {
        "grad": grad(f),
        "jvp": lambda x: jvp(f, (x,), (direction,))[1],
        "hessian": hessian(f),
        "vmap": lambda x: vmap(lambda s: f(x * s))(agrad.tensor([1.0, 0.99])),
    }
    for name, transformed in transforms.items():
        expected = [transformed(row * 1) for row in batch]
        tame(*expected)
        near(vmap(transformed)(batch), agrad.stack(expected), f"vmap of {name}")
    weights = agrad.tensor([0.5, -1.0, 2.0])
    found = grad(lambda b: (vmap(f)(b) * weights).sum())(batch)
    near(found, agrad.stack([grad(f)(row * 1) * w for row, w in zip(batch, weights, strict=True)]), "grad of vmap")
    tangents = random_like(batch, random)
    found = jvp(vmap(f), (batch,), (tangents,))[1]
    near(found, agrad.stack([jvp(f, (r * 1,), (t,))[1] for r, t in zip(batch, tangents, strict=True)]), "jvp of vmap")


CHECKS = (vmap_is_a_loop, jvp_is_the_transpose_of_vjp, jacobians_agree, hessians_agree, vmap_of_transforms_is_a_loop)


def check(check, program):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        try:
            check(program)
        except RuntimeError as error:
            if "modified by an inplace operation" not in str(error):
                raise
            with agrad.autograd.graph.allow_mutation_on_saved_tensors():
                check(program)


# ------------------------------------------------------------------------------------------------------- each op alone


def of_one_step(function, *shapes):
    """A program of one step, of all its leaves."""
    random = np.random.default_rng(5)
    leaves = [random.uniform(-1.5, 1.5, shape) for shape in shapes]
    return Program(leaves, [Step("", lambda m, v: function(m, *v[: len(shapes)]))], [len(shapes)], 0)


def along(function, axis):
    return lambda m, x: function(m, x, axis)


SINGLE = {name: of_one_step(row[0], (2, 3)) for name, row in (UNARY | WHOLE | MATRIX).items()}
SINGLE |= {name: of_one_step(row[0], (3,), (2, 3)) for name, row in BINARY.items()}
SINGLE |= {name: of_one_step(along(row[0], axis=0), (2, 3)) for name, row in ALONG_AN_AXIS.items()}
SINGLE |= {f"{name}, last axis": of_one_step(along(row[0], axis=-1), (2, 3)) for name, row in ALONG_AN_AXIS.items()}
SINGLE |= {name: of_one_step(row[0], (3,)) for name, row in VECTOR.items()}
MOST_TELLING = (vmap_of_transforms_is_a_loop, hessians_agree)


@pytest.mark.parametrize("property", MOST_TELLING, ids=lambda f: f.__name__)
@pytest.mark.parametrize("name", sorted(SINGLE.keys() - SHAPED_BY_VALUES))
def test_an_op_under_transforms(name, property):
    check(property, SINGLE[name])


# ------------------------------------------------------------------------------------------------- views, keys, writes


def written(write):
    """A function that writes into a copy of its argument, and uses the copy."""

    def function(m, x):
        y = x * 1
        write(m, x, y)
        return y * 2

    return function


def item(key, value):
    return written(lambda m, x, y: y.__setitem__(key, value(m, x)))


def filled(m, x):
    z = m.zeros((2, 3))
    z[0] = x[1] * 2
    z[1] += x[0]
    return z.mul_(x)


def filled_by_a_loop(m, x):
    z = m.zeros(3)
    for i in range(3):
        z[i] = x[0, i] * (z[i - 1] + 1)
    return z


def added_to_a_view(m, x):
    z = m.zeros((2, 3))
    row = z[0]
    row += x[0]
    return z * x


def copied_into_zeros(m, x):
    z = m.zeros((2, 3))
    z.copy_(x)
    return z * z


def changed_through_many_views(m, x, y):
    row, column = y[0], y[:, 0]
    row.mul_(2)
    column.add_(x[:, 1])
    y.T[2].exp_()
    m.reshape(y, (-1,))[1:3].mul_(x[0, :2])


SHARING = {
    "an int": lambda m, x: x[1] * x[0],
    "slices": lambda m, x: x[:, 1:] * x[..., :2],
    "new axes": lambda m, x: x[None, :, 0] * x[:, None, 1],
    "a list": lambda m, x: x[[0, 0, 1]] * x[0],
    "two lists": lambda m, x: x[[0, 1], [1, 1]] ** 2,
    "a list behind a slice": lambda m, x: x[:, [0, 2, 2]] ** 2,
    "a constant mask": lambda m, x: x[constant(m, [True, False])] ** 2,
    "its own argmax": lambda m, x: (x * x)[m.argmax(x, axis=0)],
    "a shape": lambda m, x: m.reshape(x * x, (3, 2)) * x.reshape(-1).reshape(3, 2),
    "axes": lambda m, x: m.permute_dims(x, (1, 0)) * m.matrix_transpose(x) * m.moveaxis(x, 0, -1),
    "short axes": lambda m, x: m.squeeze(m.expand_dims(x, axis=1) * x[:, None], axis=1),
    "unstacked": lambda m, x: m.unstack(x)[0] * m.unstack(x, axis=0)[1],
    "broadcast": lambda m, x: m.broadcast_to(x, (4, 2, 3)) * x[:1].expand(2, 3),
    "a diagonal": lambda m, x: m.linalg.diagonal(x) * m.linalg.diagonal(x, offset=1),
    "dtypes": lambda m, x: m.real(m.astype(x, m.complex128) * (1 + 2j) * m.exp(1j * x)),
    "detached": lambda m, x: x * x + x.detach(),
    "an item": item(0, lambda m, x: x[1] * 2),
    "a number": item((slice(None), 1), lambda m, x: 3.0),
    "rows": item([1, 0], lambda m, x: x * x),
    "places": item(([0, 1], [2, 0]), lambda m, x: x[0, :2] * 2),
    "a broadcast item": item((slice(None), slice(1, None)), lambda m, x: x[:, :1]),
    "all": item(Ellipsis, lambda m, x: x * x),
    "a mask": written(lambda m, x, y: y.__setitem__(y > 0.1, 0.0)),
    "a mask and a result": written(lambda m, x, y: y.__setitem__(x > 0.1, x[0, 0])),
    "a place of its own": written(lambda m, x, y: y.__setitem__(m.argmax(x[:, 0]), x[0])),
    "an augmented item": written(lambda m, x, y: y.__setitem__(0, y[0].mul_(x[1]))),
    "many views": written(changed_through_many_views),
    "exp_": written(lambda m, x, y: y.exp_()),
    "itself": written(lambda m, x, y: y.mul_(y.clone())),
    "copy_": written(lambda m, x, y: y.copy_(x * x)),
    "a constant row": written(lambda m, x, y: y[0].copy_(m.ones(3))),
    "a zero row": written(lambda m, x, y: y[1].zero_()),
    "clamp_": written(lambda m, x, y: y.clamp_(min=0.1)),
    "zeros, filled": filled,
    "zeros, filled by a loop": filled_by_a_loop,
    "zeros, added to through a view": added_to_a_view,
    "zeros, copied into": copied_into_zeros,
    "a diagonal, written": written(lambda m, x, y: m.linalg.diagonal(y).mul_(2)),
}


@pytest.mark.parametrize("property", CHECKS, ids=lambda f: f.__name__)
@pytest.mark.parametrize("name", sorted(SHARING))
def test_views_and_writes_under_transforms(name, property):
    check(property, of_one_step(SHARING[name], (2, 3)))


# ------------------------------------------------------------------------------------------------------ random programs


def check_random(property, program):
    assume(program.roots)
    try:
        check(property, program)
    except Unfit:
        reject()


@pytest.mark.parametrize("property", CHECKS, ids=lambda f: f.__name__)
@settings(max_examples=15, deadline=None, report_multiple_bugs=False)
@given(program=programs(steps=5, kind="functions that write", for_transforms=True))
def test_random_programs_under_transforms(property, program):
    check_random(property, program)


@pytest.mark.long
@pytest.mark.parametrize("property", CHECKS, ids=lambda f: f.__name__)
@settings(max_examples=4000, deadline=None, report_multiple_bugs=False)
@given(program=programs(steps=10, kind="functions that write", for_transforms=True))
def test_many_random_programs_under_transforms(property, program):
    check_random(property, program)
