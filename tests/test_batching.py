"""The batch rules: on a batch an op gives what it gives sample by sample, for every op, on every library."""

import random
import warnings
from itertools import product

import numpy as np
import pytest
from array_libraries import is_installed

import agrad
from agrad import backends, batching, rules, standard
from agrad.func import grad, jvp, vmap
from agrad.records import Record, RuleError
from agrad.rule_set import RuleSet
from agrad.testing.batch_checks import Batch, at, batches_are_loops
from agrad.testing.check import names_of_plugin, sealed
from agrad.testing.draw import samples_of
from agrad.testing.subject import Refused, Subject

SIZE = 3
NAMES = [name for rule_set in (*standard.CHAPTERS, "nn", "special") for name in names_of_plugin(rule_set)]
BY_DATA = ("nonzero", "unique_all", "unique_counts", "unique_inverse", "unique_values")
KEYED = ("getitem", "setitem", "scatter_add")
FEW = (  # for libraries where each call takes long: one op of every kind of rule
    "add", "clip", "concat", "einsum", "getitem", "linalg.inv", "linalg.solve", "matmul", "reshape", "setitem", "sum",
    "take", "where",
)
SLOW = ("jax", "dask", "sparse", "ndonnx")
NOT_THERE = {  # (library, op) -> why the library takes no sample call
    ("sparse", "linalg.inv"): "sparse has no such function",
    ("sparse", "linalg.solve"): "sparse has no such function",
    ("ndonnx", "linalg.inv"): "ndonnx has no such function",
    ("ndonnx", "linalg.solve"): "ndonnx has no such function",
}


def kind_of_rule(op):
    """Where the rule of an op comes from: what `find` decides, in a word."""
    made = batching.find(op)
    is_engines = made is batching.ENGINES_OWN.get(op.name)
    return "engine" if is_engines else made.__qualname__.partition(".")[0]


def subjects(name, backend, dtype):
    """The sample calls of an op that a library takes."""
    op, adapter = rules.find(name), backends.find(backend)
    op.rule     # noqa: B018  loads the record
    record = op.record
    if "complex" in dtype and not record.complex:
        return
    for i, case in enumerate(samples_of(record, op.signature) or ()):
        s = Subject(op, record, adapter, dtype, case, (0, i))
        try:
            s.prepare()
        except Refused:
            continue
        yield s


def is_mask(value):
    parts = value if isinstance(value, tuple) else (value,)
    return any(isinstance(part, np.ndarray) and part.dtype.kind == "b" for part in parts)


def batch(name, values, batched, size=SIZE):
    """An op on a batch."""
    return batching.find(rules.find(name))(size, values, batched)


def array(data, backend="numpy"):
    return backends.find(backend).facade.asarray(np.asarray(data))


def numbers(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape)


def loop(function, *arrays):
    return np.stack([np.asarray(function(*parts)) for parts in zip(*arrays, strict=True)])


def same(found, expected):
    np.testing.assert_allclose(found.detach().numpy(), expected, rtol=1e-12, atol=1e-13)


# ------------------------------------------------------------------------------------------------------------- every op


@pytest.mark.parametrize("name", NAMES)
def test_vmap_is_a_loop(name, backend):
    """Also two of them, over batches of batches and over one operand each. (The rules alone: in every rule's check.)"""
    with sealed(backends.find(backend)):
        for made in batches(name, backend, "float64"):
            for chosen in made.patterns():
                inside_vmap(made, chosen)
        for made in batches(name, backend, "complex128"):
            inside_vmap(made, made.places)


def batches(name, backend, *kinds):
    """The sample calls of an op, each drawn several times; without those whose results have lengths of their own."""
    for dtype in kinds:
        for s in subjects(name, backend, dtype):
            made = Batch(s)
            masked = name in KEYED and any(map(is_mask, s.call.arguments.values()))
            if made.places and name not in BY_DATA and not masked:
                yield made


def inside_vmap(made, chosen):
    """Compare each sample of vmap with the op on that sample alone."""
    if made.s.op.name == "repeat" and (1, None) in chosen:
        return
    stacked = [at(made.stacked(chosen), place) for place in chosen]
    expected = [made.call(made.sample(k, chosen)) for k in range(SIZE)]

    def f(*args):
        return called_with(made, chosen, args)

    found = vmap(f)(*stacked)
    twice = vmap(vmap(f))(*(agrad.stack([x, x + x if x.dtype == agrad.float64 else x]) for x in stacked))
    for k in range(SIZE):
        agree(made.s, [out[k] for out in found], expected[k])
        agree(made.s, [out[0, k] for out in twice], expected[k])
    if len(chosen) > 1:
        first, *others = stacked
        every = vmap(lambda x: vmap(lambda *rest: f(x, *rest))(*others))(first)
        for k in range(SIZE):
            agree(made.s, [out[k, k] for out in every], expected[k])


def agree(s, found, expected):
    if s.op.name == "empty_like":
        return
    for a, b in zip(s.invariants(found, s.backend.facade), s.invariants(expected, s.backend.facade), strict=True):
        assert (a.shape, a.dtype) == (b.shape, b.dtype)
        np.testing.assert_allclose(a.numpy(), b.numpy(), rtol=1e-9, atol=1e-9, err_msg=str(s.call))


def called_with(made, chosen, args):
    """The op with these arguments at the chosen places."""
    own = dict(zip(chosen, args, strict=True))
    return made.call(made.assembled(lambda place: own[place] if place in own else at(made.draws[0], place)))


def loss_of(made, chosen):
    """A function of the arguments at some places whose gradient tells all elements of all results apart."""
    weights, s = {}, made.s

    def loss(*args):
        total = 0.0 * args[0].sum()
        for k, out in enumerate(s.invariants(called_with(made, chosen, args), s.backend.facade)):
            for part in (agrad.real(out), agrad.imag(out)) if out.is_complex() else (out,):
                if part.is_floating_point():
                    weight = weights.setdefault(k, array(numbers(*part.shape), s.backend.name))
                    total = total + (part * weight).sum()
        return total

    return loss


@pytest.mark.parametrize("name", NAMES)
def test_derivatives_inside_vmap_are_a_loop(name, backend):
    """Gradients and tangents of each sample."""
    with sealed(backends.find(backend)):
        for made in batches(name, backend, "float64"):
            s, chosen = made.s, [p for p in made.places if at(made.draws[0], p).dtype == agrad.float64]
            if not chosen or s.record.family == "not_differentiable":
                continue
            stacked = [at(made.stacked(chosen), place) for place in chosen]
            loss = loss_of(made, chosen)
            slope = grad(loss, argnums=tuple(range(len(chosen))))
            alone = [[x[k].clone() for x in stacked] for k in range(SIZE)]
            expected = [slope(*args) for args in alone]
            for i, found in enumerate(vmap(slope)(*stacked)):
                near(found, [e[i] for e in expected])
            tangents = [x * 0.5 + 0.25 for x in stacked]
            moved = vmap(lambda x, t, loss=loss: jvp(loss, x, t)[1])(tuple(stacked), tuple(tangents))
            pairs = [zip(e, tangents, strict=True) for e in expected]
            near(moved, [sum((g * t[k]).sum() for g, t in pairs[k]) for k in range(SIZE)])


def near(found, expected):
    np.testing.assert_allclose(found.numpy(), np.stack([e.numpy() for e in expected]), rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize("name", FEW)
@pytest.mark.parametrize("library", SLOW)
def test_a_batch_is_a_loop_on_other_libraries(name, library):
    if not is_installed(library):
        pytest.skip(f"{library} is not installed")
    checked = 0
    with sealed(backends.find(library)):
        for s in list(subjects(name, library, "float64"))[:4]:
            assert Batch(s).places
            batches_are_loops(s)
            checked += 1
    assert (checked == 0) == ((library, name) in NOT_THERE)


def test_no_op_of_agrads_own_runs_in_a_loop():
    kinds = {name: kind_of_rule(rules.find(name)) for name in NAMES}
    assert set(kinds.values()) == {"elementwise", "on_last_axes", "along_axes", "declared", "engine"}


@pytest.mark.parametrize("size", [0, 1])
@pytest.mark.parametrize("name", [
    "add", "concat", "einsum", "flip", "getitem", "linalg.solve", "matmul", "mean", "reshape", "scatter_add", "setitem",
    "softmax", "sort", "stack", "sum", "take", "tensordot", "unstack", "where",
])
def test_a_batch_may_have_one_sample_or_none(name, size, backend):
    for s in subjects(name, backend, "float64"):
        made = Batch(s, size)
        if name in KEYED and any(map(is_mask, s.call.arguments.values())):
            continue
        found = made.whole(made.places)
        expected = made.call(made.sample(0, made.places))
        for a, b in zip(found, expected, strict=True):
            assert (a.shape, a.dtype) == ((size, *b.shape), b.dtype)
            if size:
                np.testing.assert_allclose(a[0].numpy(), b.numpy(), rtol=1e-12)


INTEGERS = {
    "sum": {}, "prod": {}, "max": {"axis": 0}, "argmax": {}, "cumulative_sum": {"axis": 1}, "sort": {}, "flip": {},
    "count_nonzero": {}, "any": {"axis": 1}, "abs": {}, "roll": {"shift": 2}, "repeat": {"repeats": 2}, "diff": {},
    "tile": {"repetitions": (2,)}, "pad": {"pad_width": 1}, "reshape": {"shape": (-1,)}, "unstack": {}, "tril": {},
}


@pytest.mark.parametrize("name", INTEGERS)
def test_integers(name, backend):
    op = rules.find(name)
    x = array(np.random.default_rng(0).integers(-3, 4, (SIZE, 2, 3)), backend)
    values = [x, *(INTEGERS[name].get(p.name, p.default) for p in op.signature.parameters[1:])]
    keywords = INTEGERS[name]
    found, expected = batch(name, values, [True] + [False] * (len(values) - 1)), [op.function(x[k], **keywords)
                                                                                    for k in range(SIZE)]
    several = isinstance(found, (tuple, list))
    for i, out in enumerate(found if several else [found]):
        parts = [e[i] if several else e for e in expected]
        assert out.dtype == parts[0].dtype
        np.testing.assert_array_equal(out.numpy(), np.stack([e.numpy() for e in parts]))


def test_an_axis_never_reaches_the_batch(backend):
    x = array(numbers(SIZE, 4), backend)
    for name, axis in product(("sum", "max", "argmax", "cumulative_sum", "flip", "softmax", "unstack"), (1, -2)):
        op = rules.find(name)
        values = [x, *(axis if p.name == "axis" else p.default for p in op.signature.parameters[1:])]
        with pytest.raises(Exception, match=r"(?i)axis|dim|out of"):
            batch(name, values, [True] + [False] * (len(values) - 1))
    with pytest.raises(ValueError, match="acts on the last 2 axes of 'x'"):
        batch("linalg.inv", [x], [True])
    with pytest.raises(ValueError, match="no axis"):
        batch("matmul", [x[:, 0], x], [True, True])


# ----------------------------------------------------------------------------------------------------------------- keys

LENGTHS = (4, 3, 5)
PARTS = ("int", "slice", "none", "dots", "array", "array", "batch", "batch", "point", "points", "mask")


def random_key(draw, rng):
    """A key for an array of the shape LENGTHS, and which of its parts differ from sample to sample."""
    common, parts, flags, axis = draw.choice([(2,), (3, 2), (1,)]), [], [], 0
    shapes = (common, common, common[-1:], (1,))
    for _ in range(draw.randint(1, 4)):
        kind = draw.choice(PARTS)
        flag = kind in ("batch", "points")
        if kind == "dots" and ... not in [part for part in parts if not isinstance(part, np.ndarray)]:
            part, axis = ..., axis + draw.randint(0, len(LENGTHS) - axis)
        elif kind in ("none", "dots"):
            part = None
        elif axis == len(LENGTHS):
            break
        elif kind == "int":
            part, axis = draw.randint(-3, 2), axis + 1
        elif kind == "slice":
            bounds = draw.choice([(None,), (1, None), (None, None, 2), (None, -1), (None, None, -1)])
            part, axis = slice(*bounds), axis + 1
        elif kind == "mask" and ... not in [part for part in parts if not isinstance(part, np.ndarray)]:
            part = np.zeros(LENGTHS[axis], bool)
            part[rng.permutation(LENGTHS[axis])[: common[-1]]] = True
            axis += 1
        else:
            shape = () if "point" in kind else draw.choice(shapes)
            part, axis = rng.integers(-3, 3, ((SIZE,) if flag else ()) + shape), axis + 1
        parts.append(part)
        flags.append(flag)
    return tuple(parts), tuple(flags)


def key_of(parts, flags, k, backend):
    """The key of one sample."""
    own = (part[k] if flag else part for part, flag in zip(parts, flags, strict=True))
    return tuple(array(part, backend) if isinstance(part, (np.ndarray, np.integer)) else part for part in own)


@pytest.mark.parametrize("seed", range(3))
def test_keys_of_all_kinds_mixed(seed, backend):
    draw, rng, read = random.Random(seed), np.random.default_rng(seed), 0
    xp = backends.find(backend).facade
    for _ in range(60):
        parts, flags = random_key(draw, rng)
        each = draw.random() < 0.6 or not any(flags)
        x = array(rng.normal(size=((SIZE,) if each else ()) + LENGTHS), backend)
        keys = [key_of(parts, flags, k, backend) for k in range(SIZE)]
        try:
            expected = [xp.getitem(x[k] if each else x, key) for k, key in enumerate(keys)]
        except (IndexError, RuntimeError):
            continue    # too many indices, arrays that do not broadcast
        read += 1
        parts = tuple(array(part, backend) if isinstance(part, np.ndarray) else part for part in parts)
        found = batch("getitem", [x, parts], [each, flags])
        same(found, np.stack([out.numpy() for out in expected]))
        shape = [1 if draw.random() < 0.25 else n for n in expected[0].shape]
        shape = shape[draw.randint(0, len(shape)) if draw.random() < 0.4 else 0 :]
        own = draw.random() < 0.6
        value = array(rng.normal(size=(*((SIZE,) if own else ()), *shape)), backend)
        for name in ("setitem", "scatter_add"):
            op = rules.find(name).function
            values = [op(x[k] if each else x, key, value[k] if own else value) for k, key in enumerate(keys)]
            same(batch(name, [x, parts, value], [each, flags, own]), np.stack([out.numpy() for out in values]))
    assert read > 25


@pytest.mark.parametrize("own", [True, False])
def test_masks_that_differ_are_written(own, backend):
    x, masks = numbers(SIZE, 2, 3), np.random.default_rng(1).random((SIZE, 2, 3)) < 0.5
    value = numbers(SIZE, seed=2) if own else np.asarray(7.0)

    def written(x, mask, value):
        out = x.copy()
        out[mask] = value
        return out

    expected = loop(written, x, masks, value if own else [value] * SIZE)
    same(batch("setitem", [array(x, backend), (array(masks, backend),), array(value, backend)], [True, (True,), own]),
         expected)
    same(batch("setitem", [array(x, backend), (array(masks, backend),), 7.0], [True, (True,), False]),
         np.where(masks, 7.0, x))
    rows = masks[:, :, 0]
    found = batch("setitem", [array(x, backend), (array(rows, backend),), array(np.ones((1, 3)), backend)],
                  [True, (True,), False])
    same(found, np.where(rows[..., None], 1.0, x))
    columns = masks[:, 0]
    found = batch("setitem", [array(x, backend), (..., array(columns, backend)), 0.0], [True, (False, True), False])
    same(found, np.where(columns[:, None], 0.0, x))
    found = batch("scatter_add", [array(x, backend), (array(masks, backend),), array(2.0, backend)],
                  [True, (True,), False])
    same(found, np.where(masks, x + 2.0, x))


def test_the_wrong_masks_say_what_to_do(backend):
    x, masks = array(numbers(SIZE, 4), backend), array(numbers(SIZE, 4) > 0, backend)
    with pytest.raises(RuntimeError, match=r"x\[mask\].*where\(mask, x, 0\)"):
        batch("getitem", [x, (masks,)], [True, (True,)])
    with pytest.raises(RuntimeError, match=r"where\(mask, values, x\)"):
        batch("setitem", [x, (masks,), array(numbers(2), backend)], [True, (True,), False])
    with pytest.raises(RuntimeError, match="must be the only index"):
        batch("setitem", [array(numbers(SIZE, 2, 4), backend), (0, masks), 1.0], [True, (False, True), False])


@pytest.mark.parametrize("name", BY_DATA)
def test_lengths_that_depend_on_numbers_raise(name, backend):
    with pytest.raises(RuntimeError, match=rf"{name}\(\) cannot run under vmap.*outside of vmap"):
        batch(name, [array(numbers(SIZE, 4), backend)], [True])


def test_repeats_that_differ_raise(backend):
    with pytest.raises(RuntimeError, match=r"repeat\(\) cannot run under vmap"):
        batch("repeat", [array(numbers(SIZE, 4), backend), array([[1], [2], [3]], backend), 0], [True, True, False])


# ---------------------------------------------------------------------------------------------- what samples leave out


@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize("flags", [(True, True), (True, False), (False, True)])
def test_searchsorted_in_lines_that_differ(side, flags, backend):
    rng = np.random.default_rng(0)
    lines = np.sort(rng.integers(0, 6, (SIZE, 5)).astype(float), axis=1)
    x = rng.integers(-1, 8, (SIZE, 2, 3)).astype(float)
    expected = [np.searchsorted(lines[k if flags[0] else 0], x[k if flags[1] else 0], side=side) for k in range(SIZE)]
    values = [array(a if flag else a[0], backend) for a, flag in zip((lines, x), flags, strict=True)]
    found = batch("searchsorted", [*values, side, None], [*flags, False, False])
    np.testing.assert_array_equal(found.numpy(), np.stack(expected))


def test_searchsorted_with_sorters_that_differ(backend):
    lines = numbers(SIZE, 5)
    orders = np.argsort(lines, axis=1)
    x = numbers(SIZE, 4, seed=1)
    expected = loop(lambda a, v, order: np.searchsorted(a, v, sorter=order), lines, x, orders)
    values = [array(lines, backend), array(x, backend), "left", array(orders, backend)]
    np.testing.assert_array_equal(batch("searchsorted", values, [True, True, False, True]).numpy(), expected)


@pytest.mark.parametrize("flags", list(product((True, False), repeat=3))[:-1])
def test_interp_between_points_that_differ(flags, backend):
    x, points, heights = numbers(SIZE, 6), np.sort(numbers(SIZE, 4, seed=1), axis=1), numbers(SIZE, 4, seed=2)
    parts = [a if flag else a[:1].repeat(SIZE, 0) for a, flag in zip((x, points, heights), flags, strict=True)]
    values = [array(a if flag else a[0], backend) for a, flag in zip((x, points, heights), flags, strict=True)]
    for value in values:
        value.requires_grad_()
    out = batch("interp", [*values, None, 2.0], [*flags, False, False])
    same(out, loop(lambda x, p, h: np.interp(x, p, h, right=2.0), *parts))
    found = agrad.autograd.grad(out.sum(), values)
    total = agrad.stack([agrad.interp(*(v[k] if f else v for v, f in zip(values, flags, strict=True)), right=2.0)
                         for k in range(SIZE)]).sum()
    for a, b in zip(found, agrad.autograd.grad(total, values), strict=True):
        same(a, b.numpy())


def test_operands_of_lower_rank_meet_their_own_sample(backend):
    x, w, c = numbers(SIZE, 2, SIZE), numbers(SIZE, SIZE), numbers(SIZE)
    a, b, d = (array(each, backend) for each in (x, w, c))
    same(batch("multiply", [a, b], [True, True]), loop(np.multiply, x, w))
    same(batch("multiply", [d, b], [True, True]), loop(np.multiply, c, w))
    same(batch("multiply", [d, b], [True, False]), loop(lambda one: one * w, c))
    same(batch("where", [array(c > 0, backend), a, 0.0], [True, True, False]),
         loop(lambda one, x: np.where(one > 0, x, 0.0), c, x))
    same(batch("matmul", [a, b], [True, True]), loop(np.matmul, x, w))


def test_elementwise_ops_on_equal_ranks_are_one_call(monkeypatch):
    calls = []

    class Watched:
        name, rule, record = "watched", None, Record("elementwise", "watched", {})
        signature = standard.parse("watched(x1: array, x2: array, /)", "elementwise")

        def function(self, *args):
            calls.append(args)

    x, y = array(numbers(SIZE, 2)), array(numbers(SIZE, 2))
    batching.find(Watched())(SIZE, (x, y), (True, True))
    batching.find(Watched())(SIZE, (x, 2.0), (True, False))
    assert [tuple(map(id, call)) for call in calls] == [(id(x), id(y)), (id(x), id(calls[1][1]))]


# ---------------------------------------------------------------------------------------------------------------- views


def steps_of(*steps):
    """Steps of a view: op, its other values, and which output or -1."""
    found = []
    for name, values, output in steps:
        op = rules.find(name)
        found.append((op, (None, *values, *op.defaults[1 + len(values):]), output))
    return tuple(found)


VIEWS = {
    "getitem": [("matrix_transpose", (), -1), ("getitem", ((slice(1, None), ..., 0),), -1)],
    "unstack": [("unstack", (1,), 2)],
    "reshape": [("reshape", ((-1, 2),), -1), ("getitem", (0,), -1)],
    "axes": [("permute_dims", ((-1, 0),), -1), ("flip", (), -1), ("expand_dims", ((0, -1),), -1)],
    "diagonal": [("linalg.diagonal", (1,), -1)],
    "squeeze": [("expand_dims", (1,), -1), ("moveaxis", (0, -1), -1), ("squeeze", (0,), -1)],
}


@pytest.mark.parametrize("name", VIEWS)
def test_views_are_read_and_written(name, backend):
    steps = steps_of(*VIEWS[name])
    x = array(numbers(SIZE, 2, 4), backend)
    read, write = rules.find("read_view").function, rules.find("write_view").function
    expected = [read(x[k], steps) for k in range(SIZE)]
    same(batch("read_view", [x, steps], [True, False]), np.stack([out.numpy() for out in expected]))
    for shape in (expected[0].shape, expected[0].shape[1:], ()):
        value = array(numbers(SIZE, *shape, seed=1), backend)
        for own_x, own_value in ((True, True), (True, False), (False, True)):
            a, b = (x if own_x else x[0]), (value if own_value else value[0])
            found = batch("write_view", [a, b, steps], [own_x, own_value, False])
            loops = [write(x[k if own_x else 0], value[k if own_value else 0], steps) for k in range(SIZE)]
            same(found, np.stack([out.numpy() for out in loops]))


def test_indexed_gradients_together(backend):
    xp = backends.find(backend).facade
    rows, picked = numbers(SIZE, 4), numbers(3, seed=1)
    places = np.asarray([[0, 2, 0], [1, 1, 1], [2, 0, 1]])
    expected = np.zeros((SIZE, 3, 4))
    for k in range(SIZE):
        expected[k, 1] += rows[k]
        np.add.at(expected[k], (places[k], 3), picked)
    arrays = (array(rows, backend), array(picked, backend))
    keys = ((1,), (array(places, backend), 3))
    like = xp.zeros((3, 4), dtype=xp.float64)
    same(batch("scatter", [arrays, keys, like], [(True, False), ((False,), (True, False)), False]), expected)
    whole = batch("scatter", [arrays[:1], (1,), like], [(True,), False, False])
    assert whole.shape == (SIZE, 3, 4)
    assert not np.any(whole.numpy()[:, [0, 2]])


# ------------------------------------------------------------------------------------------------------- ops of others

OTHERS = RuleSet("batchtest")      # somebody else's, of whose ops more or less is known
LINES = {
    "halve(x: array, y: array, /)": lambda x, y: (x + y) / 2,
    "total(x: array, /, axis: axes = None)": lambda x, axis=None, *, xp: xp.sum(x, axis=axis),
    "corner(x: array, y: array, /) core=(2, 1)": lambda x, y: x[..., 0, 0] * y[..., 0],
    "energy(x: array, y: array, n=1, /)": lambda x, y, n=1, *, xp: (xp.sum(x) * y[0], x),
    "told(x: array, n=2, /)": lambda x, n=2: x[:n, ...],
    "flat(x: array, /, axis: axis = None)": lambda x, axis=None, *, xp: xp.argmax(x, axis=axis),
    "blend(*arrays: array*, scale=2.0)": lambda *arrays, scale=2.0, xp: scale * xp.sum(xp.stack(arrays)) * arrays[0],
}


def gradients_of_blend(g, arrays, scale, xp):
    """One for each array."""
    through_sum = scale * xp.sum(g * arrays[0])
    first = through_sum + scale * sum(xp.sum(x) for x in arrays) * g
    return [first, *(xp.broadcast_to(through_sum, x.shape) for x in arrays[1:])]


for line, kernel in LINES.items():
    OTHERS.op(f"batchtest.{line}").kernel("*", kernel)
OTHERS.elementwise("batchtest.halve", x=0.5, y=0.5)
OTHERS.reduction("batchtest.total", x=None)
OTHERS.general("batchtest.corner", vjp={"x": None, "y": None})
OTHERS.general(
    "batchtest.energy", vjp={"x": lambda g, y, x_like, xp: xp.broadcast_to(g[0] * y[0], x_like.shape), "y": None},
)
OTHERS.general("batchtest.told", vjp={"x": None}, batch=lambda x, n, xp: xp.getitem(x, (slice(None), slice(n))))
OTHERS.not_differentiable("batchtest.flat")
OTHERS.general("batchtest.blend", vjp={"arrays": gradients_of_blend})
OTHERS.install("others (tests 1.0)")


@pytest.mark.parametrize(("name", "kind", "second"), [
    ("halve", "elementwise", True), ("total", "along_axes", None), ("corner", "on_last_axes", True),
    ("energy", "loop", True), ("told", "declared", 1),
])
def test_ops_of_others_follow_from_what_is_said(name, kind, second, backend):
    op = rules.find(f"batchtest.{name}")
    assert kind_of_rule(op) == kind
    x, y = array(numbers(SIZE, 2, 3), backend), array(numbers(SIZE, 3, seed=1), backend)
    values, flags = [x, y if second is True else second], [True, second is True]
    if name == "energy":
        values, flags = [*values, 1], [*flags, False]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore" if kind == "loop" else "error")
        found = batching.find(op)(SIZE, values, flags)
    own = [op.function(*(v[k] if f else v for v, f in zip(values, flags, strict=True))) for k in range(SIZE)]
    pairs = zip(found, zip(*own, strict=True), strict=True) if name == "energy" else [(found, own)]
    for out, parts in pairs:
        same(out, np.stack([part.numpy() for part in parts]))


@pytest.mark.filterwarnings("ignore:.*no batch rule")
@pytest.mark.parametrize("keywords", [{}, {"scale": 0.5}])
@pytest.mark.parametrize("flags", [(True, True, True), (True, False, True), (False, False, True), (True,)])
def test_an_op_of_others_that_takes_several_arrays_runs_in_a_loop(flags, keywords, backend):
    op = rules.find("batchtest.blend")
    assert kind_of_rule(op) == "loop"
    given = [array(numbers(SIZE, 4, seed=i), backend) if f else array(numbers(4, seed=i), backend)
             for i, f in enumerate(flags)]
    alone = [[x[k] if f else x for x, f in zip(given, flags, strict=True)] for k in range(SIZE)]
    in_dims = tuple(0 if f else None for f in flags)

    def total(*arrays):
        return (op.function(*arrays, **keywords) ** 2).sum()

    found = vmap(lambda *arrays: op.function(*arrays, **keywords), in_dims=in_dims)(*given)
    same(found, np.stack([op.function(*arrays, **keywords).numpy() for arrays in alone]))
    slope = grad(total, argnums=tuple(range(len(flags))))
    expected = [slope(*arrays) for arrays in alone]
    for i, found in enumerate(vmap(slope, in_dims=in_dims)(*given)):
        near(found, [e[i] for e in expected])
    assert batch("batchtest.blend", [tuple(x[:0] if f else x for x, f in zip(given, flags, strict=True)),
                                     keywords.get("scale", 2.0)], [flags, False], 0).shape == (0, 4)


def test_a_loop_says_so_once_and_is_differentiable(backend):
    rule = batching.find(rules.find("batchtest.energy"))
    x, y = array(numbers(SIZE, 2), backend).requires_grad_(), array(numbers(2, seed=1), backend)
    with pytest.warns(UserWarning, match=r"batchtest\.energy has no batch rule.*once for each sample"):
        total, _ = rule(SIZE, [x, y, 1], [True, False, False])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        rule(SIZE, [x, y, 1], [True, False, False])
        none, _ = rule(0, [x[:0], y, 1], [True, False, False])
    assert none.shape == (0,)
    (g,) = agrad.autograd.grad(total.sum(), x)
    same(g, np.full((SIZE, 2), y.numpy()[0]))


def test_elements_in_a_row_are_left_to_the_op(backend):
    """What an axis of None means to an op of others is not known where there are several axes."""
    x = numbers(SIZE, 2, 3)
    op = rules.find("batchtest.flat")
    with pytest.warns(UserWarning, match="once for each sample"):
        found = batching.find(op)(SIZE, [array(x, backend), None], [True, False])
    np.testing.assert_array_equal(found.numpy(), loop(np.argmax, x))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = batching.find(op)(SIZE, [array(x[:, 0], backend), None], [True, False])
    np.testing.assert_array_equal(found.numpy(), loop(np.argmax, x[:, 0]))


@pytest.mark.parametrize(("given", "complaint"), [
    (lambda x, z: x, "asks for 'z'; it may ask for"), (lambda g: g, "asks for 'g'"),
    ("rows", "a function or 'elementwise'"),
])
def test_a_wrong_batch_rule_is_refused_when_it_is_declared(given, complaint):
    mine = RuleSet("batchwrong")
    mine.op("batchwrong.f(x: array, /)")
    with pytest.raises(RuleError, match=rf"batchwrong\.f\.batch: .*{complaint}"):
        mine.elementwise("batchwrong.f", x=1, batch=given)
