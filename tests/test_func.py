"""agrad.func: gradients, products with Jacobians and Jacobians of functions, against torch.func and JAX."""

import collections
import dataclasses
import functools
import re
import types
import warnings
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from array_libraries import values
from nested_results import assert_same, flat

import agrad
from agrad import func


def derivative(f, function):
    """The derivative of a function of a number, by forward mode."""
    return lambda x: f.jvp(function, (x,), (x * 0 + 1,))[1]


def wavy(m):
    return lambda x: m.sum(m.sin(x) * x * x) + m.prod(x)


# name -> program(namespace, transforms, x, s): x is a vector of three numbers, s a number.
PROGRAMS = {
    # the classical traps: an inner transform must not take the outer variable for its own
    "x * d(x + y)/dy": lambda m, f, x, s: f.grad(lambda x: x * f.grad(lambda y: x + y)(s))(s),
    "x * d(x * y)/dy": lambda m, f, x, s: f.grad(lambda x: x * f.grad(lambda y: x * y)(s))(s),
    "forward x * d(x + y)/dy": lambda m, f, x, s: derivative(f, lambda x: x * derivative(f, lambda y: x + y)(s))(s),
    "forward x * d(x * y)/dy": lambda m, f, x, s: derivative(f, lambda x: x * derivative(f, lambda y: x * y)(s))(s),
    "reverse in forward": lambda m, f, x, s: derivative(f, lambda x: x * f.grad(lambda y: x * y * y)(s))(s),
    "forward in reverse": lambda m, f, x, s: f.grad(lambda x: x * derivative(f, lambda y: x * y * y)(s))(s),
    "inner variable is the outer": lambda m, f, x, s: f.grad(lambda x: f.grad(lambda y: x * y * y)(x))(s),
    "forward, inner variable is the outer": (
        lambda m, f, x, s: derivative(f, lambda x: derivative(f, lambda y: x * y * y)(x))(s)
    ),
    "tangent is the variable": (
        lambda m, f, x, s: f.grad(lambda x: f.jvp(lambda y: m.sin(x * y), (x * x,), (x,))[1])(s)
    ),
    "three deep": lambda m, f, x, s: f.grad(lambda x: x * f.grad(lambda y: x * y * f.grad(
        lambda z: x * y * z * z)(y))(x))(s),
    "forward, reverse, forward": lambda m, f, x, s: derivative(f, lambda x: x * f.grad(
        lambda y: y * derivative(f, lambda z: x * y * z * z)(y))(x))(s),
    "constant of an inner transform": lambda m, f, x, s: f.grad(lambda x: x * derivative(f, lambda y: x)(s))(s),
    # reverse mode
    "grad": lambda m, f, x, s: f.grad(wavy(m))(x),
    "grad of grad": lambda m, f, x, s: f.grad(lambda x: m.sum(f.grad(wavy(m))(x) ** 2))(x),
    "fifth derivative": lambda m, f, x, s: f.grad(f.grad(f.grad(f.grad(f.grad(lambda x: x ** 6)))))(s),
    "argnums": lambda m, f, x, s: f.grad(lambda a, b, c: m.sum(a * b) * c, argnums=(2, 0))(x, x * x, s),
    "negative argnum": lambda m, f, x, s: f.grad(lambda a, b: m.sum(a * m.exp(b)), argnums=-1)(x, x * s),
    "a dict": lambda m, f, x, s: f.grad(lambda p: m.sum(p["w"] * x) * p["b"][0])({"w": x * 2, "b": (s,)}),
    "an argument that is not used": lambda m, f, x, s: f.grad(lambda a, b: m.sum(a * a), argnums=(0, 1))(x, s),
    "aux": lambda m, f, x, s: f.grad(lambda x: (m.sum(x * x), {"twice": 2 * x}), has_aux=True)(x),
    "vjp": lambda m, f, x, s: f.vjp(lambda a, b: (m.sin(a) * b, m.sum(a)), x, s)[1]((x, s)),
    "vjp value": lambda m, f, x, s: f.vjp(lambda a, b: {"p": m.sin(a) * b}, x, s)[0],
    "vjp twice": lambda m, f, x, s: [g for c in (x, 2 * x) for g in f.vjp(m.exp, x)[1](c)],
    "vjp is linear": lambda m, f, x, s: f.grad(lambda c: m.sum(f.vjp(m.exp, x)[1](c)[0] * x))(x * x),
    # forward mode
    "jvp": lambda m, f, x, s: f.jvp(lambda a, b: m.exp(a) * b, (x, s), (x * x, s * 3)),
    "jvp of a dict": lambda m, f, x, s: f.jvp(lambda p: {"y": p["a"] * p["b"]}, ({"a": x, "b": s},), (
        {"a": x * 2, "b": s * 3},)),
    "jvp of jvp": lambda m, f, x, s: f.jvp(lambda x: f.jvp(wavy(m), (x,), (x * 2,))[1], (x,), (x * x,)),
    "jvp of grad": lambda m, f, x, s: f.jvp(f.grad(wavy(m)), (x,), (x * 2,)),
    "grad of jvp": lambda m, f, x, s: f.grad(lambda x: f.jvp(wavy(m), (x,), (x * 2,))[1])(x),
    "grad of jvp of grad": lambda m, f, x, s: f.grad(lambda x: m.sum(f.jvp(f.grad(wavy(m)), (x,), (x * 2,))[1]))(x),
    "jvp of vjp": lambda m, f, x, s: f.jvp(lambda c: f.vjp(m.sin, x * c)[1](c), (x,), (x * x,)),
    "linearize": lambda m, f, x, s: f.linearize(lambda a, b: (m.sin(a) * b, a * a), x, s)[1](x * 2, s),
    # whole Jacobians
    "jacrev": lambda m, f, x, s: f.jacrev(lambda x: m.sin(x) * m.sum(x))(x),
    "jacfwd": lambda m, f, x, s: f.jacfwd(lambda x: m.sin(x) * m.sum(x))(x),
    "jacrev of a number": lambda m, f, x, s: f.jacrev(lambda s: m.sin(s) * x)(s),
    "jacfwd of a number": lambda m, f, x, s: f.jacfwd(lambda s: m.sin(s) * x)(s),
    "jacrev to a number": lambda m, f, x, s: f.jacrev(wavy(m))(x),
    "jacrev, matrices": lambda m, f, x, s: f.jacrev(lambda a: a * a[0] * s)(x[:, None] * x),
    "jacfwd, matrices": lambda m, f, x, s: f.jacfwd(lambda a: a * a[0] * s)(x[:, None] * x),
    "jacrev, nests": lambda m, f, x, s: f.jacrev(
        lambda p, q: {"a": p["w"] * q, "b": (m.sum(p["w"]) * q * q,)}, argnums=(0, 1))({"w": x}, s),
    "jacfwd, nests": lambda m, f, x, s: f.jacfwd(
        lambda p, q: {"a": p["w"] * q, "b": (m.sum(p["w"]) * q * q,)}, argnums=(0, 1))({"w": x}, s),
    "jacrev, aux": lambda m, f, x, s: f.jacrev(lambda x: (x * x, m.sin(x)), has_aux=True)(x),
    "jacfwd, aux": lambda m, f, x, s: f.jacfwd(lambda x: (x * x, m.sin(x)), has_aux=True)(x),
    "hessian": lambda m, f, x, s: f.hessian(wavy(m))(x),
    "hessian, nests": lambda m, f, x, s: f.hessian(lambda p: m.sum(p["a"] ** 3) * p["b"] ** 2)({"a": x, "b": s}),
    "hessian of a vector": lambda m, f, x, s: f.hessian(lambda x: m.sin(x) * m.sum(x))(x),
    "jacfwd of jacfwd": lambda m, f, x, s: f.jacfwd(f.jacfwd(wavy(m)))(x),
    "jacrev of jacrev": lambda m, f, x, s: f.jacrev(f.jacrev(wavy(m)))(x),
    "jacrev of jacfwd": lambda m, f, x, s: f.jacrev(f.jacfwd(wavy(m)))(x),
    "third derivative": lambda m, f, x, s: f.jacfwd(f.hessian(wavy(m)))(x),
    # with vmap
    "grad by a constant, mapped": lambda m, f, x, s: f.vmap(lambda a: f.grad(lambda y: m.sin(a * y))(s))(x),
    "jvp by a constant, mapped": lambda m, f, x, s: f.vmap(lambda a: f.jvp(lambda y: m.sin(a * y), (s,), (s,)))(x),
    "jacrev by a constant, mapped": lambda m, f, x, s: f.vmap(lambda a: f.jacrev(lambda y: m.sin(a * y))(x))(x),
    "hessian by a constant in forward mode": (
        lambda m, f, x, s: f.jvp(lambda a: f.hessian(lambda y: m.sum(m.sin(a * y)))(x), (s,), (s,))
    ),
    "vmap of grad": lambda m, f, x, s: f.vmap(f.grad(lambda a: m.sin(a) * s))(x),
    "grad of vmap": lambda m, f, x, s: f.grad(lambda x: m.sum(f.vmap(lambda a: m.sin(a) * a)(x)))(x),
    "vmap of grad of vmap": lambda m, f, x, s: f.vmap(f.grad(lambda a: m.sum(f.vmap(lambda b: m.sin(a * b))(x))))(x),
    "vmap of grad of vmap of grad": (
        lambda m, f, x, s: f.vmap(f.grad(lambda a: m.sum(f.vmap(f.grad(lambda b: m.sin(a * b) * a))(x))))(x)
    ),
    "vmap of jvp": lambda m, f, x, s: f.vmap(lambda a: f.jvp(m.sin, (a,), (a * s,)))(x),
    "jvp of vmap": lambda m, f, x, s: f.jvp(f.vmap(lambda a: m.sin(a) * s), (x,), (x * x,)),
    "vmap of hessian": lambda m, f, x, s: f.vmap(f.hessian(wavy(m)))(x[:, None] * x),
    "vmap of vjp": lambda m, f, x, s: f.vmap(lambda a, c: f.vjp(m.exp, a)[1](c))(x, x * x),
    "vmap of the function of a vjp": lambda m, f, x, s: f.vmap(f.vjp(lambda x: m.sin(x) * m.sum(x), x)[1])(
        x[:, None] * x),
    "vmap of a linearized function": lambda m, f, x, s: f.vmap(f.linearize(lambda x: m.sin(x) * m.sum(x), x)[1])(
        x[:, None] * x),
    "grad of the function of a vjp, mapped": lambda m, f, x, s: f.grad(lambda s: m.sum(f.vmap(f.vjp(
        lambda x: m.sin(x * s) * m.sum(x), x)[1])(x[:, None] * x)[0] ** 2))(s),
}


def network(m):
    return lambda p, x: m.matmul(m.tanh(m.matmul(x, p["w"]) + p["b"]), p["v"])


def parameters(m, x, s):
    return {"w": x[:, None] * x - s, "b": x, "v": m.stack([x, x * x], 1)}


def tangent_kernel(m, f, x, s):
    """The products of the rows of a network's Jacobian by its parameters, for all pairs of samples."""
    p, samples = parameters(m, x, s), m.stack([x, x * s])
    rows = f.vmap(f.jacrev(network(m)), (None, 0))(p, samples)
    flat = [m.reshape(rows[key], (2, 2, -1)) for key in ("b", "v", "w")]
    return sum(f.vmap(f.vmap(lambda a, b: m.matmul(a, b.mT), (None, 0)), (0, None))(j, j) for j in flat)


def tangent_kernel_by_products(m, f, x, s):
    """The same without the Jacobian: a jvp of a vjp."""
    p, samples = parameters(m, x, s), m.stack([x, x * s])

    def entry(one, two):
        _, back = f.vjp(lambda p: network(m)(p, one), p)
        column = lambda v: f.jvp(lambda p: network(m)(p, two), (p,), back(v))[1]      # noqa: E731
        return f.vmap(column)(m.asarray(np.eye(2)))

    return f.vmap(f.vmap(entry, (None, 0)), (0, None))(samples, samples)


def learning_to_learn(m, f, x, s):
    """The gradient of losses after a step of gradient descent, for several tasks."""
    def task(p, x):
        g = f.grad(lambda p: m.mean(network(m)(p, x) ** 2))(p)
        return m.mean(network(m)({key: p[key] - 0.1 * g[key] for key in p}, x) ** 2)

    tasks = m.stack([x, x * s, x + s])
    return f.grad(lambda p: m.sum(f.vmap(task, (None, 0))(p, tasks)))(parameters(m, x, s))


PROGRAMS["tangent kernel"] = tangent_kernel
PROGRAMS["tangent kernel by products"] = tangent_kernel_by_products
PROGRAMS["learning to learn"] = learning_to_learn
X, S = np.array([0.5, -1.25, 2.0]), np.array(0.75)
TORCH_CANNOT = {"vmap of a linearized function": "its graph of the linear function is traced for one shape"}


@functools.cache
def expected_by_torch(name):
    torch = pytest.importorskip("torch")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return flat(PROGRAMS[name](torch, torch.func, torch.tensor(X), torch.tensor(S)))


@functools.cache
def expected_by_jax(name):
    jax = pytest.importorskip("jax")
    jax.config.update("jax_enable_x64", True)
    transforms = types.SimpleNamespace(
        grad=jax.grad, vjp=jax.vjp, jvp=jax.jvp, jacrev=jax.jacrev, jacfwd=jax.jacfwd, hessian=jax.hessian,
        vmap=lambda f, in_dims=0, out_dims=0: jax.vmap(f, in_axes=in_dims, out_axes=out_dims), linearize=jax.linearize,
    )
    return flat(PROGRAMS[name](jax.numpy, transforms, jax.numpy.asarray(X), jax.numpy.asarray(S)))


@pytest.mark.parametrize("name", PROGRAMS)
def test_transforms_agree_with_torch(name, backend):
    expected = expected_by_jax(name) if name in TORCH_CANNOT else expected_by_torch(name)
    result = PROGRAMS[name](agrad, func, agrad.asarray(X), agrad.asarray(S))
    assert_same(flat(result), expected)


@pytest.mark.parametrize("name", PROGRAMS)
def test_transforms_agree_with_jax(name):
    result = PROGRAMS[name](agrad, func, agrad.asarray(X), agrad.asarray(S))
    assert_same(flat(result), expected_by_jax(name))


SOME = ["forward in reverse", "grad of grad", "jvp of grad", "jacrev", "jacfwd", "hessian", "vmap of grad", "linearize"]


@pytest.mark.parametrize("name", SOME)
@pytest.mark.parametrize("library", ["jax", "dask"])
def test_transforms_run_on_other_libraries(name, library):
    pytest.importorskip(library)
    with agrad.use_backend(library):
        result = PROGRAMS[name](agrad, func, agrad.asarray(X), agrad.asarray(S))
    assert_same(flat(result), expected_by_torch(name))


def energy(x):
    return agrad.sum(agrad.tanh(x * x) * x[0])


def test_transforms_are_compiled_by_jax():
    jax = pytest.importorskip("jax")
    with agrad.use_backend("jax"):
        compiled = jax.jit(lambda a: func.vmap(func.hessian(energy))(agrad.asarray(a)).array)
        found = compiled(jax.numpy.asarray(np.stack([X, 2 * X])))
    expected = [values(func.hessian(energy)(agrad.asarray(k * X))) for k in (1, 2)]
    assert_same([np.asarray(found)], [np.asarray(expected)])


@pytest.mark.filterwarnings("ignore:.*:DeprecationWarning")     # of the libraries
@pytest.mark.parametrize("transform", [func.grad, func.hessian])
def test_transforms_are_exported_with_a_batch_of_open_length(transform, tmp_path):
    pytest.importorskip("ndonnx", reason="ndonnx is not installed: pip install 'agrad[ndonnx]'")
    runtime = pytest.importorskip("onnxruntime", reason="onnxruntime is not installed: pip install 'agrad[ndonnx]'")
    path = tmp_path / "model.onnx"
    mapped = func.vmap(transform(energy))
    agrad.export.onnx(lambda x: mapped(x), {"x": np.ones((2, 3))}, path, dynamic_axes={"x": {0: "N"}})
    for n in (1, 2, 5):
        batch = np.random.default_rng(n).standard_normal((n, 3))
        (found,) = runtime.InferenceSession(path).run(None, {"x": batch})
        np.testing.assert_allclose(found, values(mapped(agrad.asarray(batch))), rtol=1e-10)


# ---- what is tracked outside

def tracked():
    return agrad.tensor(X, requires_grad=True)


def test_results_of_untracked_arguments_are_untracked():
    x = agrad.asarray(X)
    g, value = func.grad_and_value(lambda x: agrad.sum(x ** 3))(x)
    assert not g.requires_grad
    assert not value.requires_grad
    out, vjp_fn = func.vjp(agrad.sin, x)
    assert not out.requires_grad
    assert not vjp_fn(x)[0].requires_grad
    out, jvp_fn = func.linearize(agrad.sin, x)
    assert not out.requires_grad
    assert not jvp_fn(x).requires_grad
    assert not func.hessian(lambda x: agrad.sum(x ** 3))(x).requires_grad
    _, aux = func.grad(lambda x: (agrad.sum(x ** 3), {"a": x, "b": x * x}), has_aux=True)(x)
    assert not aux["a"].requires_grad
    assert not aux["b"].requires_grad


@pytest.mark.parametrize("inner", [
    lambda f, s: func.grad(f)(s),
    lambda f, s: func.grad_and_value(f)(s)[1],
    lambda f, s: func.grad(lambda y: (f(y), y * f(y)), has_aux=True)(s)[1],
    lambda f, s: func.vjp(f, s)[0],
    lambda f, s: func.vjp(f, s)[1](s)[0],
    lambda f, s: func.jvp(f, (s,), (s,))[1],
    lambda f, s: func.linearize(f, s)[1](s),
    lambda f, s: func.jacrev(f)(s),
    lambda f, s: func.jacfwd(f)(s),
    lambda f, s: func.hessian(f)(s),
])
def test_leaves_of_an_inner_transform_are_nobodys_afterwards(inner):
    """An outer walk that met one still tracked would have to be recorded."""
    s = agrad.asarray(S)
    outer = func.grad(lambda x: x * inner(lambda y: x * y ** 3, s))
    found = outer(s)
    assert not found.requires_grad
    h = 1e-6
    value = lambda x: float(x * inner(lambda y: x * y ** 3, s))     # noqa: E731
    np.testing.assert_allclose(values(found), (value(s + h) - value(s - h)) / (2 * h), rtol=1e-6)


def test_a_vjp_function_is_called_from_several_threads():
    x = agrad.asarray(X)
    _, vjp_fn = func.vjp(lambda x: agrad.sin(x) * agrad.sum(x), x)
    expected = values(vjp_fn(x)[0])
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda _: values(vjp_fn(x)[0]), range(200)))
    assert all((one == expected).all() for one in found)


@pytest.mark.parametrize("transform", [
    lambda f, x: func.grad(f)(x),
    lambda f, x: func.grad_and_value(f)(x)[1] * x,
    lambda f, x: func.vjp(f, x)[1](agrad.tensor(2.0))[0],
    lambda f, x: func.jvp(f, (x,), (agrad.asarray(X),))[1] * x,
    lambda f, x: func.jvp(f, (agrad.asarray(X),), (x,))[1] * x,
    lambda f, x: func.linearize(f, x)[1](agrad.asarray(X)) * x,
    lambda f, x: func.linearize(f, agrad.asarray(X))[1](x) * x,
    lambda f, x: func.jacrev(f)(x),
    lambda f, x: func.jacfwd(f)(x),
    lambda f, x: func.hessian(f)(x),
    lambda f, x: func.vmap(func.grad(agrad.sin))(x),
])
def test_gradients_flow_through_transforms_to_tracked_arguments(transform):
    def f(x):
        return agrad.sum(agrad.sin(x)) * x[0] ** 2

    def loss(x):
        return agrad.sum(transform(f, x) ** 2)

    x = tracked()
    result = loss(x)
    assert result.requires_grad
    result.backward()
    h = 1e-6
    for i in range(3):
        step = np.eye(3)[i] * h
        difference = (loss(agrad.asarray(X + step)) - loss(agrad.asarray(X - step))) / (2 * h)
        np.testing.assert_allclose(values(x.grad)[i], values(difference), rtol=1e-6, atol=1e-8)


def test_gradients_flow_to_what_a_function_closes_over():
    w, x = tracked(), agrad.asarray(X)
    g, value = func.grad_and_value(lambda x: agrad.sum(x * w * w))(x)
    assert value.requires_grad
    assert_same(flat(agrad.autograd.grad(agrad.sum(g), w)), [2 * X])
    rows = func.jacrev(lambda x: x * w * w)(x)
    assert_same(flat(agrad.autograd.grad(agrad.sum(rows), w)), [2 * X])
    mapped = func.vmap(lambda a: agrad.sum(a * w))(x)
    assert_same(flat(agrad.autograd.grad(agrad.sum(mapped), w)), [np.full(3, X.sum())])
    _, tangent = func.jvp(lambda x: x * w * w, (x,), (x,))
    assert_same(flat(agrad.autograd.grad(agrad.sum(tangent), w)), [2 * X * X])


def test_the_callers_variable_is_not_the_transforms_variable():
    """The same tensor as argument and in the closure: only the argument is differentiated."""
    x = tracked()
    assert_same(flat(func.grad(lambda y: agrad.sum(y * x * x))(x)), [X * X])
    assert_same(flat(func.jacfwd(lambda y: agrad.sum(y * x * x))(x)), [X * X])
    assert x.grad is None


@pytest.mark.parametrize("mode", [agrad.no_grad, agrad.inference_mode])
def test_transforms_ignore_no_grad_outside_and_obey_it_inside(mode):
    x = agrad.asarray(X)
    with mode():
        g = func.grad(lambda x: agrad.sum(x ** 3))(tracked())
        assert_same(flat(func.jacrev(lambda x: x ** 2)(x)), [np.diag(2 * X)])
        assert_same(flat(func.vmap(func.grad(lambda a: a ** 3))(x)), [3 * X ** 2])
        assert_same(flat(func.hessian(lambda x: agrad.sum(x ** 3))(x)), [np.diag(6 * X)])
        assert not agrad.is_grad_enabled()
    assert not g.requires_grad
    assert_same(flat(g), [3 * X ** 2])

    def constant(x):
        with agrad.no_grad():
            c = x ** 2
        return agrad.sum(x * c)

    assert_same(flat(func.grad(constant)(x)), [X ** 2])
    assert agrad.is_grad_enabled()


def test_a_constant_of_no_grad_in_an_outer_transform():
    """The inner gradient is taken, but it is a constant for the outer one."""
    x = agrad.asarray(S)

    def f(x):
        with agrad.no_grad():
            c = func.grad(lambda y: y ** 3)(x)
        return c * x

    assert_same(flat(func.grad(f)(x)), [3 * S ** 2])


def test_the_mode_comes_back_after_an_error():
    with pytest.raises(ZeroDivisionError), agrad.no_grad():
        func.grad(lambda x: 1 / 0)(agrad.asarray(X))
    assert agrad.is_grad_enabled()
    for transform in (func.vmap(lambda x: 1 / 0), lambda x: func.jvp(lambda x: 1 / 0, (x,), (x,))):
        with pytest.raises(ZeroDivisionError):
            transform(agrad.asarray(X))
        assert agrad.rand(1).shape == (1,)      # outside of any level


def test_detach_inside_is_a_constant_of_all_transforms():
    x = agrad.asarray(X)
    assert_same(flat(func.grad(lambda x: agrad.sum(x * x.detach()))(x)), [X])
    assert_same(flat(func.jvp(lambda x: x * x.detach(), (x,), (x,))[1]), [X * X])
    assert_same(flat(func.grad(lambda x: agrad.sum(func.grad(lambda y: agrad.sum(y * y * x.detach()))(x)))(x)), [2 * X])


def test_in_place_writes_inside():
    torch = pytest.importorskip("torch")
    def written(x):
        y = x * 1
        y[0] = (y[1] + 0) * (y[2] + 0)
        y[1:] *= y[0] + 0
        return agrad.sum(y ** 2)

    def stacked(x):
        p = x[1] * x[2]
        return torch.sum(torch.stack([p, x[1] * p, x[2] * p]) ** 2)

    x, t = agrad.asarray(X), torch.tensor(X)
    assert_same(flat(func.grad(written)(x)), flat(torch.func.grad(stacked)(t)))
    assert_same(flat(func.hessian(written)(x)), flat(torch.func.hessian(stacked)(t)))
    assert_same(flat(func.jvp(written, (x,), (x,))), flat(torch.func.jvp(stacked, (t,), (t,))))
    batch, batch_t = x[:, None] * x, t[:, None] * t
    assert_same(flat(func.vmap(func.grad(written))(batch)), flat(torch.func.vmap(torch.func.grad(stacked))(batch_t)))


@pytest.mark.parametrize("write", [
    lambda z, x: z.copy_(x),
    lambda z, x: z.add_(x),
    lambda z, x: z.__iadd__(x),
    lambda z, x: z.__setitem__(..., x),
    lambda z, x: z[1:].add_(x[1:]),
])
def test_writes_into_a_new_tensor(write):
    def f(x):
        z = agrad.zeros(3)
        write(z, x)
        return z * z

    x = agrad.asarray(X)
    z = f(x)
    doubled = 2 * np.sqrt(values(z)) * np.sign(X)
    assert_same(flat(func.jvp(f, (x,), (agrad.ones(3),))), [values(z), doubled])
    assert_same(flat(func.vmap(f)(agrad.stack([x, x]))), [np.stack([values(z)] * 2)])
    assert_same(flat(func.grad(lambda x: agrad.sum(f(x)))(x)), [doubled])
    assert_same(flat(func.jvp(func.grad(lambda x: agrad.sum(f(x))), (x,), (agrad.ones(3),))[1]), [2.0 * (doubled != 0)])


def test_control_flow_on_values():
    def f(x):
        return x ** 3 if x > 0 else -x

    assert_same(flat(func.grad(f)(agrad.tensor(2.0))), [np.array(12.0)])
    assert_same(flat(func.jvp(f, (agrad.tensor(-2.0),), (agrad.tensor(1.0),))), [np.array(2.0), np.array(-1.0)])


def test_integer_outputs_have_a_zero_tangent():
    x = agrad.asarray(X)
    out, tangent = func.jvp(lambda x: agrad.argmax(x), (x,), (x,))
    assert out.dtype == agrad.int64
    assert_same(flat(tangent), [np.zeros((), int)])
    assert_same(flat(func.grad(lambda x: agrad.argmax(x))(x)), [np.zeros(3)])


def test_dtypes_are_kept():
    x = agrad.asarray(X.astype("float32"))
    assert func.grad(lambda x: agrad.sum(x * agrad.asarray(X)))(x).dtype == agrad.float32
    out, tangent = func.jvp(lambda x: x * 2, (x,), (agrad.asarray(X),))
    assert out.dtype == tangent.dtype == agrad.float32
    assert func.jacrev(lambda x: x * 2)(x).dtype == agrad.float32
    assert func.jacfwd(lambda x: x * 2)(x).dtype == agrad.float32


def test_complex_arguments():
    torch = pytest.importorskip("torch")
    z, t = X + 1j, torch.tensor(X + 1j)
    a = agrad.asarray(z)
    program = lambda m: lambda z: m.sum(m.abs(z) ** 2 * m.real(z * z))      # noqa: E731
    assert_same(flat(func.grad(program(agrad))(a)), flat(torch.func.grad(program(torch))(t)))
    found = func.jvp(lambda z: agrad.exp(z) * agrad.conj(z), (a,), (a * 1j,))
    assert_same(flat(found), flat(torch.func.jvp(lambda z: torch.exp(z) * torch.conj(z), (t,), (t * 1j,))))
    found = func.linearize(lambda z: agrad.exp(z) * agrad.conj(z), a)[1](a * 1j)
    assert_same(flat(found), flat(func.jvp(lambda z: agrad.exp(z) * agrad.conj(z), (a,), (a * 1j,))[1]))
    found = func.vjp(lambda z: agrad.exp(z), a)[1](a)
    assert_same(flat(found), flat(torch.func.vjp(lambda z: torch.exp(z), t)[1](t)))


# ---- errors

ERRORS = {  # name -> program(namespace, transforms, x): the error has torch's type and words
    "grad of a vector": lambda m, f, x: f.grad(lambda x: x)(x),
    "grad of a number": lambda m, f, x: f.grad(lambda x: 1.0)(x),
    "grad of None": lambda m, f, x: f.grad(lambda x: None)(x),
    "grad by a number": lambda m, f, x: f.grad(lambda x: x)(1.0),
    "grad without aux": lambda m, f, x: f.grad(lambda x: m.sum(x), has_aux=True)(x),
    "aux of a number": lambda m, f, x: f.grad(lambda x: (m.sum(x), 3), has_aux=True)(x),
    "argnum too large": lambda m, f, x: f.grad(lambda x: m.sum(x), argnums=3)(x),
    "argnums twice": lambda m, f, x: f.grad(lambda x: m.sum(x), argnums=(0, 0))(x),
    "no argnums": lambda m, f, x: f.grad(lambda x: m.sum(x), argnums=())(x),
    "argnums of text": lambda m, f, x: f.grad(lambda x: m.sum(x), argnums="a")(x),
    "argnums with text": lambda m, f, x: f.grad(lambda x: m.sum(x), argnums=("a",))(x),
    "grad of a complex number": lambda m, f, x: f.grad(lambda x: m.sum(x))(x + 1j),
    "vjp of integers": lambda m, f, x: f.vjp(lambda x: m.argmax(x), x),
    "vjp of None": lambda m, f, x: f.vjp(lambda x: None, x),
    "vjp of nothing": lambda m, f, x: f.vjp(lambda x: (), x),
    "vjp of a number": lambda m, f, x: f.vjp(lambda x: 3, x),
    "vjp without aux": lambda m, f, x: f.vjp(lambda x: x, x, has_aux=True),
    "cotangents in another structure": lambda m, f, x: f.vjp(lambda x: {"a": x}, x)[1](x),
    "a cotangent in another shape": lambda m, f, x: f.vjp(lambda x: x, x)[1](x[:2]),
    "jvp, no tuple": lambda m, f, x: f.jvp(lambda x: x, x, x),
    "jvp, numbers": lambda m, f, x: f.jvp(lambda x: x, (1.0,), (1.0,)),
    "jvp, a number as tangent": lambda m, f, x: f.jvp(lambda x: x, (x,), (1.0,)),
    "jvp, no arguments": lambda m, f, x: f.jvp(lambda: x, (), ()),
    "jvp, shape": lambda m, f, x: f.jvp(lambda x: x, (x,), (x[:2],)),
    "jvp, integers": lambda m, f, x: f.jvp(lambda x: x, (m.argmax(x),), (m.argmax(x),)),
    "jvp, strict": lambda m, f, x: f.jvp(lambda y: x, (x,), (x,), strict=True),
    "jvp of a number": lambda m, f, x: f.jvp(lambda x: 3, (x,), (x,)),
    "jvp of None": lambda m, f, x: f.jvp(lambda x: None, (x,), (x,)),
    "jvp without aux": lambda m, f, x: f.jvp(lambda x: x, (x,), (x,), has_aux=True),
    "jacrev, chunk of nothing": lambda m, f, x: f.jacrev(lambda x: x, chunk_size=0),
    "jacrev, complex argument": lambda m, f, x: f.jacrev(lambda x: x)(x + 1j),
    "jacrev, complex output": lambda m, f, x: f.jacrev(lambda x: x + 1j)(x),
    "jacfwd, complex argument": lambda m, f, x: f.jacfwd(lambda x: x)(x + 1j),
    "jacfwd, integers": lambda m, f, x: f.jacfwd(lambda x: x)(m.argmax(x)),
    "jacrev of a number": lambda m, f, x: f.jacrev(lambda x: 3)(x),
    "write into the argument": lambda m, f, x: f.grad(lambda x: m.sum(x.mul_(2)))(x * 1),
}


def as_agrad(text):
    """A message of PyTorch's as agrad has it: the name, and the structures of containers in our own notation."""
    text = text.replace("torch.complex128", "agrad.complex128").replace("torch.", "agrad.")
    return re.sub(r"structure.*", "structure", text, flags=re.DOTALL)


@pytest.mark.parametrize("name", ERRORS)
def test_errors_are_those_of_torch(name):
    torch = pytest.importorskip("torch")
    with pytest.raises((RuntimeError, ValueError, TypeError)) as expected:
        ERRORS[name](torch, torch.func, torch.tensor(X))
    with pytest.raises(expected.type) as found:
        ERRORS[name](agrad, func, agrad.asarray(X))
    assert as_agrad(str(found.value)) == as_agrad(str(expected.value))


def test_integers_have_no_gradient():
    with pytest.raises(RuntimeError, match="floating point"):
        func.grad(lambda x: agrad.sum(x))(agrad.asarray([1, 2]))


@pytest.mark.parametrize(("program", "text"), [
    (lambda x: func.jvp(lambda x: x, (x,), (x, {"a": x})),
     "Got primals with structure (*,) and tangents with structure (*, {'a': *})"),
    (lambda x: func.linearize(agrad.sin, x)[1](x, x),
     "Expected the tangents (*, *) to have the same argspec as the primals (*,)"),
    (lambda x: func.linearize(agrad.sin, x)[1](x[:2]),
     "tangent:0 with shape (2,) in flattened pytree doesn't match the shape (3,) of the corresponding primal."),
    (lambda x: func.linearize(agrad.sin, x)[1](x.astype(agrad.float32)),
     "tangent:0 with dtype agrad.float32 in flattened pytree doesn't match the dtype agrad.float64 of the"),
])
def test_messages_in_our_notation(program, text):
    with pytest.raises(RuntimeError, match=re.escape(text)):
        program(agrad.asarray(X))


@pytest.mark.parametrize(("program", "what", "owner"), [
    (lambda x, other: func.vjp(agrad.sin, x)[1](other), "grad_output[0]", "output[0]"),
    (lambda x, other: agrad.autograd.grad(agrad.sin(x.requires_grad_()), x, other), "grad_output[0]", "output[0]"),
    (lambda x, other: func.jvp(agrad.sin, (x,), (other,)), "the tangent", "its tensor"),
    (lambda x, other: func.linearize(agrad.sin, x)[1](other), "tangent:0", "its primal"),
])
def test_tangents_and_cotangents_of_another_backend(program, what, owner):
    text = f"{what} is on the backend array_api_strict, {owner} on numpy; move one with to(backend=...)"
    with pytest.raises(RuntimeError, match=re.escape(text)):
        program(agrad.asarray(X), agrad.asarray(X).to(backend="array_api_strict"))


def test_a_tangent_that_is_no_tensor():
    with pytest.raises(TypeError, match="tangent:0 must be a Tensor, not float"):
        func.linearize(agrad.sin, agrad.asarray(X))[1](1.0)


# ---- containers, aux, chunks

Pair = collections.namedtuple("Pair", "a b")


@dataclasses.dataclass(frozen=True)
class Layer:
    weight: object
    bias: object


@pytest.mark.parametrize("make", [
    lambda a, b: {"a": a, "b": b},
    lambda a, b: [a, b],
    lambda a, b: (a, b),
    Pair,
    Layer,
    lambda a, b: collections.OrderedDict(z=a, y=b),
    lambda a, b: {"outer": [a, (b,)], "none": None},
    lambda a, b: Layer(Pair(a, None), {"b": [b]}),
    lambda a, b: collections.defaultdict(list, {"a": a, "b": b}),
])
def test_containers_come_back_in_kind(make):
    a, b = agrad.asarray(X), agrad.asarray(S)
    tree = make(a, b)
    leaves = func.pytrees.leaves_of

    def f(tree):
        one, two = leaves(tree)
        return agrad.sum(one ** 2) * two

    found = func.grad(f)(tree)
    assert type(found) is type(tree)
    assert func.pytrees.flatten(found)[1] == func.pytrees.flatten(tree)[1]
    assert_same(flat(leaves(found)), [2 * X * S, np.array((X ** 2).sum())])
    out, tangent = func.jvp(lambda tree: tree, (tree,), (tree,))
    assert type(out) is type(tangent) is type(tree)
    assert_same(flat(leaves(out)), [X, S])
    assert_same(flat(leaves(tangent)), [X, S])
    rows = func.jacrev(f)(tree)
    assert type(rows) is type(tree)
    assert_same(flat(leaves(rows)), flat(leaves(found)))
    assert_same(flat(leaves(func.jacfwd(f)(tree))), flat(leaves(found)))


def test_mappings_are_matched_by_key():
    x = agrad.asarray(X)
    _, vjp_fn = func.vjp(lambda x: {"a": x, "b": 2 * x}, x)
    assert_same(flat(vjp_fn({"b": x, "a": 0 * x})), [2 * X])
    found = func.jvp(lambda p: p["a"] + 10 * p["b"], ({"a": x, "b": x},), ({"b": 0 * x, "a": x},))
    assert_same(flat(found[1]), [X])


def test_a_dict_keeps_its_order():
    x = agrad.asarray(X)
    found = func.grad(lambda p: agrad.sum(p["z"] * p["a"]))({"z": x, "m": x, "a": 2 * x})
    assert list(found) == ["z", "m", "a"]
    assert_same([values(found[key]) for key in found], [2 * X, 0 * X, X])


def test_keyword_arguments_are_handed_on():
    x = agrad.asarray(X)
    assert_same(flat(func.grad(lambda x, *, power: agrad.sum(x ** power))(x, power=3)), [3 * X ** 2])


def test_transforms_keep_the_functions_name():
    def documented(x):
        """Said."""
        return agrad.sum(x)

    for transform in (func.grad, func.grad_and_value, func.jacrev, func.jacfwd, func.vmap):
        assert transform(documented).__name__ == "documented"
        assert transform(documented).__doc__ == "Said."


@pytest.mark.parametrize("chunk_size", [1, 2, 3, 5, 100])
@pytest.mark.parametrize("jacobian", [func.jacrev, func.jacfwd])
def test_chunks_of_a_jacobian(jacobian, chunk_size):
    def f(x, y):
        return {"a": agrad.sin(x) * y, "b": agrad.sum(x) * y}

    x, y = agrad.asarray(X), agrad.asarray(S)
    expected = flat(jacobian(f, argnums=(0, 1))(x, y))
    assert_same(flat(jacobian(f, argnums=(0, 1), chunk_size=chunk_size)(x, y)), expected)


def test_a_chunk_of_one_row_maps_nothing():
    """So functions that cannot be mapped over a batch still have a Jacobian."""
    def f(x):
        return x * (2.0 if float(x[0].detach()) > 0 else 3.0)

    assert_same(flat(func.jacfwd(f, chunk_size=1)(agrad.asarray(X))), [2 * np.eye(3)])


@pytest.mark.parametrize("jacobian", [func.jacrev, func.jacfwd])
@pytest.mark.parametrize(("n", "k"), [(0, 3), (3, 0), (0, 0)])
def test_jacobians_of_nothing(jacobian, n, k):
    found = jacobian(lambda x: agrad.zeros(k) * agrad.sum(x))(agrad.zeros(n))
    assert found.shape == (k, n)


def test_vjp_functions_may_be_called_again_and_late():
    x = agrad.asarray(X)
    with agrad.no_grad():
        _, vjp_fn = func.vjp(lambda x: agrad.exp(x) * agrad.sum(x), x)
    first, second = vjp_fn(x)[0], vjp_fn(x)[0]
    assert_same(flat(first), flat(second))
    assert not first.requires_grad
    c = tracked()
    (found,) = vjp_fn(c)
    assert found.requires_grad      # linear in the cotangent, and tracked by it
    assert_same(flat(agrad.autograd.grad(agrad.sum(found), c)), [values(func.jvp(
        lambda x: agrad.exp(x) * agrad.sum(x), (x,), (agrad.ones(3),))[1])])


def test_linearize_runs_the_function_once():
    calls = []

    def f(x):
        calls.append(1)
        return agrad.sin(x) * x

    x = agrad.asarray(X)
    out, jvp_fn = func.linearize(f, x)
    for scale in (1.0, 2.0):
        assert_same(flat(jvp_fn(x * scale)), [(np.cos(X) * X + np.sin(X)) * X * scale])
    assert calls == [1]
    assert_same(flat(out), [np.sin(X) * X])


def test_hooks_and_backward_inside_are_the_callers_own():
    """A walk of the user's own inside of a transform works, on leaves of its own."""
    def f(x):
        leaf = agrad.tensor(2.0, requires_grad=True)
        (leaf * leaf).backward()
        return agrad.sum(x) * leaf.grad

    assert_same(flat(func.grad(f)(agrad.asarray(X))), [np.full(3, 4.0)])
