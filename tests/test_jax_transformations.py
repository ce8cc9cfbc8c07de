"""agrad inside JAX's transformations: gradients that jax.jit compiles, jax.vmap maps, jax.grad differentiates, and that
shardings distribute; tensors as trees; and every rule compiled. What NumPy computes is the truth.
"""

import subprocess
import sys
from itertools import count

import numpy as np
import pytest
from jax_arrays import jax, jit, raw, same

import agrad
from agrad import autograd, backends, rules, standard
from agrad.testing import check_rule
from agrad.testing.check import names_of_plugin, sealed
from agrad.testing.draw import samples_of
from agrad.testing.subject import Refused, Subject

MATRIX = np.arange(12.0).reshape(3, 4)

pytestmark = pytest.mark.usefixtures("wide")


# ------------------------------------------------------------------------------------------------------ transformations


def network(x, w, b):
    """A scalar of a small network."""
    hidden = agrad.tanh(x @ w + b)
    return agrad.mean(agrad.logaddexp(hidden, -hidden) * agrad.where(hidden > 0, hidden, 0.1 * hidden))


def numbers(*shapes):
    rng = np.random.default_rng(7)
    return [rng.normal(size=shape) for shape in shapes]


def gradients(x, *weights):
    tensors = [agrad.asarray(weight).requires_grad_() for weight in weights]
    network(agrad.asarray(x), *tensors).backward()
    return [t.grad.array for t in tensors]


def second_order(x, *weights):
    tensors = [agrad.asarray(weight).requires_grad_() for weight in weights]
    first = autograd.grad(network(agrad.asarray(x), *tensors), tensors, create_graph=True)
    return [g.array for g in autograd.grad(sum((g * g).sum() for g in first), tensors)]


@pytest.mark.parametrize("function", [gradients, second_order])
def test_jit_compiles_gradients_and_traces_once(function):
    calls = count()

    def counted(*arrays):
        next(calls)
        return function(*arrays)

    data = numbers((5, 3), (3, 2), (2,))
    expected = function(*data)
    same(function(*map(raw, data)), expected)
    compiled = jit(counted)
    for _ in range(3):
        same(compiled(*map(raw, data)), expected)
    assert next(calls) == 1
    other = numbers((4, 3), (3, 2), (2,))
    same(compiled(*map(raw, other)), function(*other))
    assert next(calls) == 3     # this count and one more trace


def test_gradients_are_mapped_by_vmap():
    x, w, b = numbers((6, 5, 3), (3, 2), (2,))
    found = jax.vmap(gradients, in_axes=(0, None, None))(raw(x), raw(w), raw(b))
    expected = [np.stack(parts) for parts in zip(*(gradients(part, w, b) for part in x), strict=True)]
    same(found, expected)
    same(jit(jax.vmap(gradients, in_axes=(0, None, None)))(raw(x), raw(w), raw(b)), expected)


def test_jax_differentiates_what_agrad_computes():
    data = numbers((5, 3), (3, 2), (2,))
    x, *weights = map(raw, data)
    found = jax.grad(lambda *ws: network(agrad.asarray(x), *map(agrad.asarray, ws)).array, argnums=(0, 1))(*weights)
    same(found, gradients(*data))
    jacobian = jax.jacfwd(lambda b: gradients(x, weights[0], b)[1])(weights[1])     # of agrad's own gradient
    by_jax = jax.hessian(lambda b: network(agrad.asarray(x), agrad.asarray(weights[0]), agrad.asarray(b)).array)
    same([jacobian], [by_jax(weights[1])])


def test_a_training_loop_runs_inside_scan():
    x, w, b = numbers((5, 3), (3, 2), (2,))

    def step(weights, _):
        return [w - 0.1 * g for w, g in zip(weights, gradients(raw(x), *weights), strict=True)], None

    found, _ = jax.lax.scan(step, [raw(w), raw(b)], length=4)
    for _ in range(4):
        w, b = (weight - 0.1 * g for weight, g in zip((w, b), gradients(x, w, b), strict=True))
    same(found, [w, b])


def test_nothing_traced_is_kept():
    for shapes in ([(5, 3), (3, 2), (2,)], [(4, 6), (6, 1), (1,)]):
        data = numbers(*shapes)
        with jax.checking_leaks():
            found = jit(second_order)(*map(raw, data))
        same(found, second_order(*data))
        same(second_order(*map(raw, data)), second_order(*data))


def test_constants_that_a_program_makes_may_be_traced_or_not():
    def function(x):
        t = agrad.asarray(x).requires_grad_()
        xp = t.__array_namespace__()
        places = xp.argsort(t)
        y = t[places] * xp.arange(3.0) + xp.ones_like(t) + agrad.asarray([1.0, 2.0, 3.0])
        y = y[places[0]] + xp.take(y, xp.asarray([0, 0, 2]))[1:].sum() + y[[True, False, True]].sum()
        y.backward()
        return t.grad.array

    x = np.array([3.0, 1.0, 2.0])
    with agrad.use_backend("jax"):
        same([function(raw(x)), jit(function)(raw(x))], [function(x)] * 2)


def test_what_a_program_knows_stays_known_while_it_is_traced(on_jax):
    def function(x):
        t = agrad.asarray(x) * 1
        place, mask = agrad.asarray(1), agrad.asarray([True, False, True])
        row = t[place]      # a view, as with an int
        row *= 10
        t[mask] += agrad.asarray([1.0, 2.0])
        return (t[mask].sum() + float(agrad.asarray(0.5)) * t[1]).array

    assert function(raw([1.0, 2.0, 3.0])) == jit(function)(raw([1.0, 2.0, 3.0])) == 17.0


UNKNOWN = {
    "bool": lambda t: bool(t[0] > 0),
    "float": lambda t: float(t[0]),
    "a branch": lambda t: t if t.sum() > 0 else -t,
    "numpy": lambda t: t.numpy(),
    "tolist": lambda t: t.tolist(),
    "a mask": lambda t: t[t > 0],
    "nonzero": lambda t: agrad.nonzero(t),
    "unique": lambda t: agrad.unique_values(t),
}


@pytest.mark.parametrize("name", UNKNOWN)
def test_a_question_for_traced_values_raises_jaxs_own_error(name):
    def function(x):
        UNKNOWN[name](agrad.asarray(x))
        return x

    with pytest.raises((jax.errors.JAXTypeError, jax.errors.JAXIndexError), match="jax"):
        jax.jit(function)(raw([1.0, 2.0]))


def test_traced_tensors_can_be_printed():
    texts = []

    def function(x):
        t = agrad.asarray(x).requires_grad_()
        texts.append(repr(t * 2))
        return x

    jax.jit(function)(raw([1.0, 2.0]))
    assert texts == ["tensor(<traced>, shape=(2,), dtype=agrad.float64, grad_fn=<MulBackward0>)"]


def test_a_random_number_inside_jit_is_drawn_once(on_jax):
    agrad.manual_seed(0)
    draw = jax.jit(lambda x: (agrad.asarray(x) + agrad.rand(1)).array)
    assert draw(raw([0.0])) == draw(raw([0.0]))


def test_masks_choose_by_where_under_jit():
    def function(x, v):
        t, s = (agrad.asarray(part).requires_grad_() for part in (x, v))
        y = t * 1
        y[t > 5] = s
        y[t[:, 0] > 5] = t[0] * s
        (y * t).sum().backward()
        return t.grad.array, s.grad.array

    data = MATRIX, np.float64(2.0)
    same(jit(function)(*map(raw, data)), function(MATRIX, np.asarray(2.0)))


# ------------------------------------------------------------------------------------------------------------- as trees


def test_tensors_go_through_jit(on_jax):
    x, w, b = numbers((5, 3), (3, 2), (2,))

    @jit
    def step(weights, x):
        network(x, weights["w"], weights["b"]).backward()
        with agrad.no_grad():
            return {name: (t - 0.1 * t.grad).requires_grad_() for name, t in weights.items()}

    weights = {"w": agrad.tensor(w, requires_grad=True), "b": agrad.tensor(b, requires_grad=True)}
    for _ in range(2):
        weights = step(weights, agrad.asarray(x))
    assert step._cache_size() == 1
    assert all(t.requires_grad and t.is_leaf for t in weights.values())
    for _ in range(2):
        w, b = (weight - 0.1 * g for weight, g in zip((w, b), gradients(x, w, b), strict=True))
    same([weights["w"].detach().numpy(), weights["b"].detach().numpy()], [w, b])


def test_trees_keep_tensors_tensors(on_jax):
    tree = {"x": agrad.ones(2, requires_grad=True), "n": agrad.asarray([1, 2])}
    mapped = jax.tree.map(lambda a: a + 1, tree)
    assert (mapped["x"].tolist(), mapped["x"].requires_grad, mapped["n"].tolist()) == ([2.0, 2.0], True, [2, 3])
    shapes = jax.eval_shape(lambda tree: tree, tree)
    assert shapes["x"].array.shape == (2,)
    stacked = jax.vmap(lambda t: t * t, in_axes=agrad.asarray(0).array.ndim)(agrad.ones(3, 2))
    assert stacked.shape == (3, 2)
    assert jax.tree.leaves(jax.block_until_ready(tree))


def test_a_graph_is_not_cut_in_silence(on_jax):
    x = agrad.ones(2, requires_grad=True)
    with pytest.raises(RuntimeError, match=r"has a history.*detach\(\)"):
        jax.jit(lambda t: t)(x * 2)
    with pytest.raises(RuntimeError, match=r"has a history.*detach\(\)"):
        jax.jit(lambda t: t * 2)(x)
    assert jax.jit(lambda t: (t * 2).detach())(x).tolist() == [2.0, 2.0]


def test_tensors_of_other_backends_are_refused_by_name():
    backends.find("jax")
    with pytest.raises(TypeError, match=r"a tensor of numpy.*to\(backend='jax'\)"):
        jax.jit(lambda t: t)(agrad.namespaces.numpy.ones(2))


# ------------------------------------------------------------------------------------------------ sharded arrays

SHARDED = """
import jax, numpy as np, agrad
from jax import numpy as jnp
from jax.sharding import AxisType, NamedSharding, PartitionSpec as P

jax.config.update("jax_enable_x64", True)
agrad.set_default_backend("jax")
assert len(jax.devices()) == 4
mesh = jax.make_mesh((4,), ("rows",), axis_types=(AxisType.Auto,))
rows, everywhere = NamedSharding(mesh, P("rows")), NamedSharding(mesh, P())

def program(x, w):
    "Every kind of operation: contraction, broadcast, reduction, indices, writes, constants, flat functions."
    xp = x.__array_namespace__()
    y = agrad.tanh(x @ w) * xp.arange(2.0) + agrad.floor(x[:, :2]) + xp.ones((8, 1))
    y = y - agrad.max(y, axis=0)
    y[1:3] = 0.5
    z = agrad.where(y > 0, y, 2.0) ** 2 / 1.5
    return z.sum() + x[[0, 7, 0]].sum() + agrad.cumulative_sum(x, axis=0)[-1].prod()

def gradients(x, w):
    x, w = (agrad.asarray(a).requires_grad_() for a in (x, w))
    program(x, w).backward()
    return x.grad.array, w.grad.array

rng = np.random.default_rng(0)
data = rng.uniform(0.5, 1.5, (8, 3)), rng.normal(size=(3, 2))
expected = gradients(*data)
x, w = jax.device_put(data[0], rows), jax.device_put(data[1], everywhere)
for found in (gradients(x, w), jax.jit(gradients)(x, w)):
    for a, b in zip(found, expected):
        np.testing.assert_allclose(np.asarray(a), b, rtol=1e-12)
    assert found[1].sharding.is_fully_replicated, found[1].sharding
eager = gradients(x, w)
assert eager[0].sharding == rows and eager[1].sharding == everywhere, [g.sharding for g in eager]

# a tensor's device is the sharding; what is made beside it fits, split or not
t = agrad.asarray(x)
assert t.device == rows
xp = t.__array_namespace__()
assert xp.zeros(8).array.sharding == rows
assert xp.zeros(7).array.sharding == everywhere and xp.asarray(1.0).array.sharding == everywhere
assert xp.arange(4).array.sharding == rows and xp.ones_like(t).array.sharding == rows
assert agrad.zeros(8, 2, device=rows).array.sharding == rows
assert (agrad.asarray(data[0]).to(device=rows) * t).array.sharding == rows
g = agrad.tensor(data[0], requires_grad=True)
(g.to(device=rows) * 2).sum().backward()
assert g.grad.device == jax.devices()[0]

# several devices, by name
other = agrad.ones(3, device="cpu:2", requires_grad=True)
assert other.device == jax.devices()[2] and "cpu:2" in repr(other)
(other * agrad.ones(3) + other[1:].sum()).sum().backward()
assert other.grad.device == jax.devices()[2]
assert agrad.zeros(2).to(device="cpu:1").device == jax.devices()[1]
assert agrad.zeros(2).device == agrad.zeros(2, device="cpu").device == jax.devices()[0]
with jax.default_device(jax.devices()[3]):
    assert agrad.zeros(2).device == jax.devices()[3] and "device" not in repr(agrad.zeros(2))

# each device on its own part
def loss_of_parts(x, w):
    t = agrad.asarray(x).requires_grad_()
    agrad.tanh(t @ agrad.asarray(w)).sum().backward()
    return t.grad.array
split = jax.shard_map(loss_of_parts, mesh=mesh, in_specs=(P("rows"), P()), out_specs=P("rows"))
np.testing.assert_allclose(np.asarray(split(x, w)), loss_of_parts(*data), rtol=1e-12)
print("done")
"""


def test_sharded_arrays_keep_their_sharding(monkeypatch):
    monkeypatch.setenv("XLA_FLAGS", "--xla_force_host_platform_device_count=4")
    monkeypatch.setenv("JAX_PLATFORMS", "cpu")
    result = subprocess.run([sys.executable, "-W", "error", "-c", SHARDED], capture_output=True, text=True, check=False)
    assert result.stdout == "done\n", result.stderr


# ------------------------------------------------------------------------------------------------------ rules under jit

# Ops without samples, and those whose result depends on values in its shape.
ELSEWHERE = ("read_view", "scatter", "transfer", "write_view", "floor_divide")
UNTRACEABLE = {
    **dict.fromkeys(("nonzero", "unique_all", "unique_counts", "unique_inverse", "unique_values"), "shape by values"),
    "empty_like": "any values",
}
CHAPTERS = (*standard.CHAPTERS, "nn", "special")
NAMES = [name for chapter in CHAPTERS for name in names_of_plugin(chapter) if name not in ELSEWHERE]
FEW = 3     # samples of a rule in a short run


def derivatives(s, operands, cotangents):
    """Raw values, gradients, and gradients of the sum of these, of a sample call on its backend."""
    tensors = s.tensors(operands)
    results = s.run(tensors)
    pairs = [(r, s.tensor(g)) for r, g in zip(results, cotangents, strict=True) if g is not None and r.requires_grad]
    first = second = ()
    if pairs:
        roots, seeds = zip(*pairs, strict=True)
        first = autograd.grad(roots, tensors, seeds, create_graph=s.record.second, allow_unused=True)
        again = [g for g in first if s.record.second and g is not None and g.requires_grad]
        if again:
            second = autograd.grad(again, tensors, [agrad.ones_like(g) for g in again], allow_unused=True)
    return [[None if t is None else t.detach().array for t in ts] for ts in (results, first, second)]


def calls(name, dtype, everything):
    """Sample calls on NumPy that it takes, with what NumPy computes."""
    op = rules.find(name)
    samples = samples_of(op.record, op.signature)
    step = 1 if everything else -(-len(samples) // FEW)
    for i in range(0, len(samples), step):
        s = Subject(op, op.record, backends.find("numpy"), dtype, samples[i], (0, i))
        try:
            s.prepare()
        except Refused:
            continue
        yield s, derivatives(s, s.raws, s.cotangents)


def twin(s):
    """The same call on jax; index arrays and masks are known to the program."""
    other = Subject(s.op, s.record, backends.find("jax"), s.dtype, s.call.case, ())
    other.call, other.constants = s.call, {key: raw(array) for key, array in s.constants.items()}
    return other



def programs():
    """Each rule and dtype; left to the long run are complex numbers, and special functions, which compile slowly."""
    for name in NAMES:
        yield pytest.param(name, "float64", marks=[pytest.mark.long] * name.startswith("special."))
        if rules.find(name).record.complex:
            yield pytest.param(name, "complex128", marks=pytest.mark.long)


@pytest.mark.parametrize(("name", "dtype"), list(programs()))
def test_a_rule_compiles_and_gives_what_numpy_gives(name, dtype, request):
    if name in UNTRACEABLE:
        pytest.skip(f"cannot be traced: {UNTRACEABLE[name]}")
    with sealed(backends.find("numpy")):
        plain = list(calls(name, dtype, request.config.getoption("--long")))
    assert plain
    twins = [twin(s) for s, _ in plain]

    @jit
    def program(data):
        return [derivatives(t, *arrays) for t, arrays in zip(twins, data, strict=True)]

    data = [([*map(raw, s.raws)], [None if g is None else raw(g) for g in s.cotangents]) for s, _ in plain]
    for (s, expected), found in zip(plain, program(data), strict=True):
        for order, a, b in zip(("value", "gradient", "second order"), found, expected, strict=True):
            for x, y in zip(a, b, strict=True):
                assert (x is None) is (y is None)
                if x is not None:
                    scale = 1 + np.max(np.abs(y), initial=0.0, where=np.isfinite(y))
                    np.testing.assert_allclose(x, y, rtol=1e-9, atol=1e-9 * scale, err_msg=f"{s.call}: {order}")
    jax.clear_caches()      # programs take megabytes each


# What JAX does not take although a rule's samples have it: op -> why.
REFUSED = {"scatter_add": "adding complex numbers to real ones"}


@pytest.mark.long
@pytest.mark.parametrize("name", NAMES)
def test_a_rule_is_right_eagerly(name):
    """Thousands of small programs are compiled for this: one per operation, shape and dtype."""
    reports = [check_rule(name, "jax", dtype) for dtype in ("float64", "complex128", "float32")]
    refused = "\n".join(str(report) for report in reports if report.refused)
    assert not refused or name in REFUSED
    jax.clear_caches()
