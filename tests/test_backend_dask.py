"""Tensors of Dask arrays: nothing is computed before it is asked for, and numbers are NumPy's on blocks of any size."""

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import agrad
from agrad import backends, rules, standard
from agrad.testing import check_rule
from agrad.testing.check import names_of_plugin, sealed
from agrad.testing.draw import samples_of
from agrad.testing.subject import Subject

dask = pytest.importorskip("dask", reason="Dask is not installed: pip install 'agrad[dask]'")
da = pytest.importorskip("dask.array")

EXAMPLES = Path(__file__).parents[1] / "examples"

# What Dask does not take although the rules' samples have it: op -> why.
REFUSED = {
    "getitem": "masks whose count is not known before they are computed",
    "scatter_add": "masks whose count is not known before they are computed",
    "nonzero": "how many elements there are is not known before they are computed",
    "repeat": "repeats that are not known before they are computed",
    **dict.fromkeys(
        ("unique_all", "unique_counts", "unique_inverse", "unique_values"),
        "how many elements differ is not known before they are computed",
    ),
}


def refuse(graph, keys, **kwargs):
    raise AssertionError(f"computed: {keys}")


@pytest.fixture(autouse=True)
def scheduler():
    """One thread: the quickest for small arrays."""
    with dask.config.set(scheduler="synchronous"):
        yield


@pytest.fixture
def nothing_computes():
    with dask.config.set(scheduler=refuse):
        yield


@pytest.fixture
def on_dask():
    with agrad.use_backend("dask"):
        yield


def cut(values, chunks=2):
    """A Dask array in small blocks."""
    return da.from_array(np.asarray(values), chunks=chunks)


def tracked(values, chunks=2):
    return agrad.asarray(cut(values, chunks), requires_grad=True)


def values_of(t):
    return t.detach().numpy()


# ------------------------------------------------------------------------------------------------- creation, conversion


def test_a_dask_array_is_taken_as_it_is_cut(nothing_computes):
    raw = cut(np.arange(12.0).reshape(3, 4))
    x = agrad.asarray(raw)
    assert (x.backend_.name, x.shape, x.dtype, x.device) == ("dask", (3, 4), agrad.float64, "cpu")
    assert isinstance(x.array, da.Array)
    assert x.array.chunks == raw.chunks
    assert [type(n) for n in x.shape] == [int, int]


def test_writing_into_the_array_that_was_given_changes_nothing():
    raw = cut([1.0, 2.0, 3.0])
    x = agrad.asarray(raw, requires_grad=True)
    y = x * x
    raw[0] = 100.0      # Dask writes by changing the Python object
    y.sum().backward()
    assert values_of(x).tolist() == [1.0, 2.0, 3.0]
    assert values_of(x.grad).tolist() == [2.0, 4.0, 6.0]


def test_a_numpy_array_is_copied():
    data = np.arange(3.0)
    with agrad.use_backend("dask"):
        x = agrad.asarray(data)
        data[0] = 100.0
        assert values_of(x).tolist() == [0.0, 1.0, 2.0]
        with pytest.raises(ValueError, match="copy=False"):
            agrad.asarray(data, copy=False)
    result = values_of(x)
    result[0] = 100.0
    assert values_of(x).tolist() == [0.0, 1.0, 2.0]


CREATED = {
    "a number": (lambda m: m.asarray(2.5), 2.5),
    "zeros": (lambda m: m.zeros((2, 0)), np.zeros((2, 0))),
    "ones": (lambda m: m.ones(2, dtype=m.int32), np.ones(2, np.int32)),
    "full": (lambda m: m.full((2, 2), 1j), np.full((2, 2), 1j)),
    "arange": (lambda m: m.arange(1, 10, 3), [1, 4, 7]),
    "linspace": (lambda m: m.linspace(0, 1, 3), [0.0, 0.5, 1.0]),
    "eye": (lambda m: m.eye(2, 3, k=1), [[0.0, 1.0, 0.0], [0.0, 0.0, 1.0]]),
    "tril": (lambda m: m.tril(m.ones((2, 2))), [[1.0, 0.0], [1.0, 1.0]]),
    "from_dlpack": (lambda m: m.from_dlpack(np.arange(3.0)), [0.0, 1.0, 2.0]),
    "meshgrid": (lambda m: m.meshgrid(m.arange(2), m.arange(3))[0], [[0, 1], [0, 1], [0, 1]]),
}


@pytest.mark.parametrize("name", CREATED)
def test_creation_gives_numpys_numbers(name):
    make, expected = CREATED[name]
    found = values_of(make(agrad.namespaces.dask))
    assert found.dtype == np.asarray(expected).dtype
    np.testing.assert_array_equal(found, expected)


def test_dtypes_and_devices_that_there_are_not_are_refused_by_name(on_dask):
    with pytest.raises(TypeError, match=r"dask.*bfloat16"):
        agrad.zeros(2, dtype=agrad.bfloat16)
    with pytest.raises(ValueError, match=r"dask has no device 'cuda'; it has 'cpu'"):
        agrad.zeros(2, device="cuda")


def test_ops_follow_their_arrays():
    x = tracked([1.0, 2.0, 3.0])
    with agrad.use_backend("numpy"):
        y = agrad.sin(x) + np.ones(3) * x + 1
    assert y.backend_.name == "dask"
    with pytest.raises(TypeError, match="different backends, dask and numpy"):
        x * agrad.asarray(np.ones(3))
    assert isinstance((cut([1.0, 2.0, 3.0]) * x), agrad.Tensor)


@pytest.mark.parametrize(("here", "there"), [("dask", "numpy"), ("numpy", "dask")])
def test_a_gradient_comes_back_to_where_the_input_lives(here, there):
    with agrad.use_backend(here):
        x = agrad.tensor([1.0, 2.0], requires_grad=True)
    y = x.to(backend=there)
    assert y.backend_.name == there
    (first,) = agrad.autograd.grad((y**3).sum(), x, create_graph=True)
    (second,) = agrad.autograd.grad(first.sum(), x)
    assert (first.backend_.name, second.backend_.name) == (here, here)
    assert (values_of(first).tolist(), values_of(second).tolist()) == ([3.0, 12.0], [6.0, 12.0])


# ------------------------------------------------------------------------------------------------------------ laziness

ELSEWHERE = ("floor_divide", "read_view", "scatter", "transfer", "write_view")
NAMES = [name for chapter in standard.CHAPTERS for name in names_of_plugin(chapter) if name not in ELSEWHERE]


def subjects(name, samples, dtype="float64"):
    """Sample calls of an op that Dask takes."""
    op = rules.find(name)
    for i, sample in list(enumerate(samples_of(op.record, op.signature)))[samples]:
        s = Subject(op, op.record, backends.find("dask"), dtype, sample, (0, i))
        with sealed(s.backend):
            s.prepare()
        yield s


@pytest.mark.parametrize("name", [name for name in NAMES if name not in REFUSED])
def test_no_op_computes_forward_or_backward(name):
    for s in subjects(name, slice(2)):
        with dask.config.set(scheduler=refuse), sealed(s.backend):
            operands = s.tensors(s.raws)
            results = s.run(operands)
            roots = [(r, s.tensor(g)) for r, g in zip(results, s.cotangents, strict=True) if r.requires_grad]
            if roots:
                given = {"create_graph": True, "allow_unused": True}
                agrad.autograd.grad([r for r, _ in roots], operands, [g for _, g in roots], **given)


def test_a_program_is_lazy_until_its_gradient_is_computed(nothing_computes):
    x, w = tracked(np.ones((6, 4))), tracked(np.full((4, 3), 0.1))
    hidden = agrad.tanh(x @ w) * 1.0
    hidden[0] *= 2.0
    hidden[:, 1:][hidden[:, 1:] > 0.5] = 0.0
    loss = agrad.mean((hidden - agrad.max(hidden, axis=1, keepdims=True)) ** 2) + agrad.sort(x, axis=0)[::2].sum()
    (slope,) = agrad.autograd.grad(loss, x, create_graph=True)
    (slope * slope).sum().backward()
    for t in (x, w, hidden, loss, slope, x.grad):
        assert isinstance(t.array, da.Array)
        assert "<dask" in repr(t)
        assert "<dask" in str(t)
    copy = agrad.tensor(x.grad.array)
    assert copy.shape == (6, 4)
    with dask.config.set(scheduler="synchronous"):
        assert np.isfinite(x.grad.array.compute()).all()


def test_a_large_tensor_is_printed_without_its_values(nothing_computes):
    x = agrad.asarray(da.ones((100_000_000, 5), chunks=(1_000_000, 5)), requires_grad=True)
    said = "<dask, chunks of (1000000, 5)>, shape=(100000000, 5), dtype=agrad.float64"
    assert repr(x) == f"tensor({said}, requires_grad=True)"
    assert repr(x * 2) == f"tensor({said}, grad_fn=<MulBackward0>)"
    assert f"{x.sum()}" == "tensor(<dask, chunks of ()>, shape=(), dtype=agrad.float64, grad_fn=<SumBackward0>)"


def test_values_are_computed_where_they_are_asked_for():
    x = tracked([1.0, 2.0, 3.0])
    total = (x * x).sum()
    assert (total.item(), float(total.detach()), f"{total:.1f}") == (14.0, 14.0, "14.0")
    assert x.tolist() == [1.0, 2.0, 3.0]


def test_third_party_code_is_told_not_to_branch():
    said = agrad.namespaces.dask.__array_namespace_info__().capabilities()
    assert (said["boolean indexing"], said["data-dependent shapes"]) == (False, False)


# ---------------------------------------------------------------------------------------------------- cut like operands

CHUNKS = ((2, 2, 1), (3, 1))
KEEP_THEIR_CUT = {
    "sum": lambda x: x.sum(),
    "sum of an axis": lambda x: (x.sum(axis=0) ** 2).sum(),
    "mean": lambda x: (agrad.mean(x, axis=1, keepdims=True) ** 2).sum(),
    "max": lambda x: agrad.max(x, axis=0).sum(),
    "broadcasting": lambda x: (agrad.broadcast_to(x, (3, 5, 4)) ** 2).sum(),
    "broadcasting of an axis": lambda x: (x[:, :1] * agrad.ones_like(x)).sum(),
    "slices": lambda x: (x[1:] - x[:-1]).sum(),
    "steps": lambda x: (x[::-2, ::3] ** 2).sum(),
    "a row": lambda x: (x[2] ** 2).sum(),
    "known positions": lambda x: x[[0, 0, 3]].sum(),
    "positions": lambda x: x[agrad.asarray(cut([0, 0, 3])), :].sum(),
    "pairs of positions": lambda x: x[agrad.asarray(cut([0, 0, 3])), agrad.asarray(cut([1, 2, 1]))].sum(),
    "reshape": lambda x: (x.reshape(4, 5) ** 2).sum(),
    "flatten": lambda x: (x.reshape(-1)[3:9] ** 2).sum(),
    "transpose": lambda x: (x.T @ x).sum(),
    "concat": lambda x: (agrad.concat([x, x[:2]], axis=0) ** 2).sum(),
    "stack": lambda x: (agrad.stack([x, x]) ** 2).sum(),
    "unstack": lambda x: (agrad.unstack(x, axis=1)[2] ** 2).sum(),
    "where": lambda x: agrad.where(x > 0.5, x, 0.0).sum(),
    "sort": lambda x: (agrad.sort(x, axis=0)[:2] ** 2).sum(),
    "running sum": lambda x: agrad.cumulative_sum(x, axis=0).sum(),
    "roll": lambda x: (agrad.roll(x, 1, axis=0) * x).sum(),
    "a mask": lambda x: agrad.where(x > 0.5, x * x, x).sum(),
    "matrix product": lambda x: (x @ agrad.asarray(cut(np.ones((4, 2))))).sum(),
}


@pytest.mark.parametrize("name", KEEP_THEIR_CUT)
def test_a_gradient_is_numpys_and_cut_like_its_operand(name):
    program = KEEP_THEIR_CUT[name]
    data = np.random.default_rng(0).random((5, 4))
    x = tracked(data, CHUNKS)
    with dask.config.set(scheduler=refuse):
        program(x).backward()
    assert x.grad.array.chunks == CHUNKS
    y = agrad.asarray(data, requires_grad=True)
    with dask.config.set(scheduler="synchronous"):
        lazy_positions(program, y).backward()
        np.testing.assert_allclose(values_of(x.grad), values_of(y.grad), rtol=1e-12)


def lazy_positions(program, y):
    """The program on NumPy, where it says Dask."""
    original = agrad.asarray
    agrad.asarray = lambda raw: original(raw.compute() if isinstance(raw, da.Array) else raw)
    try:
        return program(y)
    finally:
        agrad.asarray = original


def test_no_block_of_a_large_gradient_is_larger_than_a_block_of_the_data(nothing_computes):
    x = agrad.asarray(da.ones((200_000_000, 5), chunks=(1_000_000, 5)), requires_grad=True)
    w = agrad.asarray(da.ones(5), requires_grad=True)
    loss = agrad.sum(agrad.log1p(agrad.exp(x @ w))) + x[7].sum() + agrad.sum(x[::2] * x[1::2])
    loss.backward()
    for layer in (loss, x.grad, w.grad):
        assert max_block(layer.array) <= 5_000_000
    assert x.grad.array.chunks == x.array.chunks


def max_block(array):
    return int(np.prod([max(lengths) for lengths in array.chunks]))


# ----------------------------------------------------------------------------------------------------- reading, writing

SHAPE = (5, 6, 4)
KEYS = {
    "an int": -1,
    "ints": (1, slice(None), -2),
    "slices": (slice(1, 4), slice(None, None, -2), slice(3, 0, -2)),
    "an empty slice": (slice(3, 3), 0),
    "None": (None, slice(0, 2), None, 1),
    "an Ellipsis": (..., 0),
    "positions": [0, -1, 0, 2],
    "positions of a later axis": (slice(None), [[0, 5], [-1, 0]]),
    "pairs": ([0, 0, 4], [1, 1, -1]),
    "pairs apart": ([0, 2, 0], slice(None), [1, 1, 3]),
    "pairs apart by an Ellipsis": ([0, 2], ..., [1, 3]),
    "a grid": ([[0], [3]], [1, 1, 5], slice(1, 3)),
    "an int and positions": (1, [3, 3, 0]),
    "a slice, None and positions": (slice(1, 4), None, [0, 1]),
    "everything": ([0, 4, 0], [1, 5, 1], [2, 3, 2]),
    "no positions": (np.zeros(0, np.int64),),
    "a mask": np.arange(5) % 2 == 0,
    "a mask of two axes": np.arange(30).reshape(5, 6) % 7 == 0,
    "a mask and positions": (slice(None), np.arange(6) % 2 == 0, [0, 1, 3]),
    "a mask of no axes": True,
}
CUTS = ((5, 6, 4), (2, 3, 4), ((1, 2, 2), (6,), (3, 1)))


def with_arrays(key, convert):
    """The key with its integer arrays converted."""
    if isinstance(key, tuple):
        return tuple(with_arrays(part, convert) for part in key)
    found = np.asarray(key) if isinstance(key, (list, np.ndarray)) else None
    return key if found is None or found.dtype == bool else convert(found)


@pytest.mark.parametrize("chunks", CUTS, ids=str)
@pytest.mark.parametrize("positions", ["known", "lazy"])
@pytest.mark.parametrize("name", KEYS)
def test_any_key_of_an_array_cut_anyhow_means_what_it_means_to_numpy(name, positions, chunks):
    key, convert = KEYS[name], (lambda p: p) if positions == "known" else (lambda p: agrad.asarray(cut(p)))
    mine, theirs = with_arrays(key, convert), with_arrays(key, lambda p: p)
    data = np.random.default_rng(0).random(SHAPE)
    x = tracked(data, chunks)
    with dask.config.set(scheduler=refuse):
        read = x[mine]
        weights = np.random.default_rng(1).random(data[theirs].shape)
        (read * agrad.asarray(cut(weights))).sum().backward()
        y = agrad.asarray(cut(np.zeros(SHAPE), chunks)) + 0
        y[mine] = agrad.asarray(cut(weights))
    np.testing.assert_array_equal(values_of(read), data[theirs])
    expected, written = np.zeros(SHAPE), np.zeros(SHAPE)
    np.add.at(expected, theirs, weights)
    written[theirs] = weights
    np.testing.assert_allclose(values_of(x.grad), expected, rtol=1e-12)
    np.testing.assert_array_equal(values_of(y), written)
    assert x.grad.array.chunks == x.array.chunks


def test_a_wrong_index_is_an_error_now_or_when_it_is_computed():
    x = tracked(np.arange(6.0).reshape(2, 3))
    for key in (2, (0, -4), [0, 2], (..., 0, 0, 0), np.ones(3, bool)):
        with pytest.raises(IndexError):
            x[key]
    late = x[agrad.asarray(cut([0, 2]))]
    late.sum().backward()
    for lazy in (late, x.grad):
        with pytest.raises(IndexError, match="out of bounds"):
            lazy.numpy() if lazy is x.grad else lazy.detach().numpy()


# ---------------------------------------------------------------------------------------------- what Dask does not know


def test_a_mask_reads_what_nobody_can_count_yet():
    x = agrad.asarray(cut([3.0, -1.0, 2.0, -5.0]))
    picked = x[x > 0]
    assert str(picked.shape) == "(unknown,)"
    assert values_of(picked * 2).tolist() == [6.0, 4.0]
    assert values_of(agrad.sum(picked)) == 5.0
    with pytest.raises(ValueError, match=r"where\(mask, x, 0\).*compute_chunk_sizes\(\)"):
        picked.size  # noqa: B018


LOSSES_AT_A_MASK = {
    "a sum": lambda x: x[x > 0].sum(),
    "a mean": lambda x: agrad.mean(x[x > 0]),
    "a sum of squares": lambda x: (x[x > 0] ** 2).sum(),
    "a broadcast": lambda x: (x[x > 0] + x[:1]).sum(),
    "a product": lambda x: x[x > 0] @ x[x > 0],
    "several axes": lambda x: agrad.max(agrad.stack([x, x])[:, x > 0], axis=0).sum(),
}


@pytest.mark.parametrize("name", LOSSES_AT_A_MASK)
def test_a_gradient_through_a_mask_read_is_refused_with_a_way_out_and_never_wrong(name):
    x = tracked([3.0, -1.0, 2.0, -5.0])
    loss = LOSSES_AT_A_MASK[name](x)
    with pytest.raises((ValueError, RuntimeError, NotImplementedError), match=r"where|unknown length"):
        loss.backward()
    assert x.grad is None


def test_lengths_that_may_differ_are_not_taken_for_equal():
    x = cut([3.0, -1.0, 2.0, -5.0], 4)
    one, three = x[x > 2.5], x[x < 2.5]
    a, b = agrad.asarray(one, requires_grad=True), agrad.asarray(three, requires_grad=True)
    z = a * b       # NumPy will broadcast the one element of a
    with pytest.raises(RuntimeError, match="unknown"):
        z.backward(agrad.asarray(da.ones_like(three)))
    a = agrad.asarray(one.copy().compute_chunk_sizes(), requires_grad=True)
    b = agrad.asarray(three.copy().compute_chunk_sizes(), requires_grad=True)
    (a * b).sum().backward()
    assert values_of(a.grad).tolist() == [-4.0]


WRITES_AT_A_MASK = {
    "a number": (lambda m, x: x > 2, lambda m: 7.0),
    "a number at no element": (lambda m, x: x > 100, lambda m: 7.0),
    "a row": (lambda m, x: x[:, 0] > 0, lambda m: m.arange(3) * 1.0),
    "one for all": (lambda m, x: x > 2, lambda m: m.ones((1,)) * 5),
    "columns": (lambda m, x: (slice(None), x[0] > 0), lambda m: 2.0),
}


@pytest.mark.parametrize("name", WRITES_AT_A_MASK)
def test_writing_at_a_mask_is_lazy_and_differentiable(name):
    mask, value = WRITES_AT_A_MASK[name]

    def run(m, x):
        y = x * 1
        y[mask(m, x)] = value(m)
        return y

    data = np.arange(6.0).reshape(2, 3)
    x, e = tracked(data), agrad.asarray(data, requires_grad=True)
    with dask.config.set(scheduler=refuse):
        y = run(agrad.namespaces.dask, x)
        (y * y).sum().backward()
    expected = run(agrad.namespaces.numpy, e)
    (expected * expected).sum().backward()
    np.testing.assert_array_equal(values_of(y), values_of(expected))
    np.testing.assert_array_equal(values_of(x.grad), values_of(e.grad))


def test_what_depends_on_a_count_is_refused_with_a_way_out():
    x = tracked(np.arange(6.0).reshape(2, 3))
    with pytest.raises(NotImplementedError, match=r"where\(mask"):
        x.detach()[x.detach() > 2] = agrad.asarray(cut([1.0, 2.0, 3.0]))
    with pytest.raises(NotImplementedError, match=r"repeat.*NumPy array"):
        agrad.repeat(x, agrad.asarray(cut([1, 2])), axis=0)
    assert agrad.repeat(x, [1, 2], axis=0).shape == (3, 3)


# ------------------------------------------------------------------------------------------------- functions on blocks

MATRICES = np.random.default_rng(0).random((3, 4, 4)) + 4 * np.eye(4)
SIGNAL = np.random.default_rng(1).random((5, 6))
TALL = np.random.default_rng(2).random((12, 3))
WHOLE_AXES = {
    "det": (lambda m, x: m.linalg.det(x), MATRICES),
    "inv": (lambda m, x: m.linalg.inv(x), MATRICES),
    "solve": (lambda m, x: m.linalg.solve(x, x[..., 0, :, None]), MATRICES),
    "solve a vector": (lambda m, x: m.linalg.solve(x, x[0, 0]), MATRICES),
    "cholesky": (lambda m, x: m.linalg.cholesky(x @ m.matrix_transpose(x), upper=True), MATRICES),
    "eigenvectors": (lambda m, x: m.abs(m.linalg.eigh(x @ m.matrix_transpose(x)).eigenvectors), MATRICES),
    "slogdet": (lambda m, x: m.linalg.slogdet(x).logabsdet, MATRICES),
    "pinv": (lambda m, x: m.linalg.pinv(x), TALL),
    "rank": (lambda m, x: m.linalg.matrix_rank(x), MATRICES),
    "svd of tall blocks": (lambda m, x: m.linalg.svd(x, full_matrices=False).S, TALL),
    "qr of tall blocks": (lambda m, x: m.abs(m.linalg.qr(x).R), TALL),
    "qr": (lambda m, x: m.abs(m.linalg.qr(x, mode="complete").Q), MATRICES),
    "matrix_power": (lambda m, x: m.linalg.matrix_power(x, 3), MATRICES),
    "nuclear norm": (lambda m, x: m.linalg.matrix_norm(x, ord="nuc", keepdims=True), MATRICES),
    "cross": (lambda m, x: m.linalg.cross(x, x[::-1]), TALL),
    "fft": (lambda m, x: m.abs(m.fft.fft(x, axis=0, n=7)), SIGNAL),
    "rfftn": (lambda m, x: m.abs(m.fft.rfftn(x, axes=(0, 1))), SIGNAL),
    "irfft": (lambda m, x: m.fft.irfft(x, axis=1), SIGNAL),
    "fftshift": (lambda m, x: m.fft.fftshift(x), SIGNAL),
    "sort": (lambda m, x: m.sort(x, axis=0, descending=True), SIGNAL),
    "take_along_axis": (lambda m, x: m.take_along_axis(x, m.argsort(x, axis=0)[:2], axis=0), SIGNAL),
    "searchsorted": (lambda m, x: m.searchsorted(m.sort(x[0]), x[1:]), SIGNAL),
    "isin": (lambda m, x: m.isin(m.round(x * 3), m.asarray([1.0, 2.0])), SIGNAL),
    "an empty maximum": (lambda m, x: m.max(x[:0], axis=1), SIGNAL),
    "einsum": (lambda m, x: m.einsum("bij,bjk->ik", x, x), MATRICES),
}


@pytest.mark.parametrize("name", WHOLE_AXES)
def test_a_function_of_whole_axes_works_on_any_blocks(name):
    program, data = WHOLE_AXES[name]
    for chunks in (-1, 2, (5,) + (-1,) * (data.ndim - 1)):
        with dask.config.set(scheduler=refuse):
            found = program(agrad.namespaces.dask, agrad.asarray(cut(data, chunks)))
        expected = program(agrad.namespaces.numpy, agrad.asarray(data))
        assert (found.shape, found.dtype) == (expected.shape, expected.dtype)
        np.testing.assert_allclose(values_of(found), values_of(expected), rtol=1e-9, atol=1e-12)


def test_a_matrix_of_tall_blocks_is_never_put_together(nothing_computes):
    x = agrad.asarray(da.ones((100_000_000, 8), chunks=(1_000_000, 8)))
    q, r = agrad.linalg.qr(x)
    assert (max_block(q.array), r.shape) == (8_000_000, (8, 8))


# ----------------------------------------------------------------------------------------------------- writes and views


def view_of_a_view(x):
    x[1:][:, 1] += 10


def two_views(x):
    row, column = x[0], x[:, 0]
    row *= 2
    column += 100


def reversed_and_transposed(x):
    x.T[::-1][0] = -1.0


def through_shapes(x):
    agrad.squeeze(agrad.expand_dims(x.reshape(-1), axis=0), axis=0)[4] = -2.0


def through_moves(x):
    agrad.moveaxis(agrad.permute_dims(x, (1, 0)), 0, 1)[0, 1:] *= 3.0


def flipped(x):
    agrad.flip(x, axis=1)[:, 0] = 9.0


def one_of_several(x):
    with agrad.no_grad():
        agrad.unstack(x, axis=1)[1].add_(5.0)


def copies(x):
    for copy in (x[[0, 1]], +x, x.to(dtype=agrad.float32), x.clone()):
        copy += 100.0


WRITES = (
    view_of_a_view, two_views, reversed_and_transposed, through_shapes, through_moves, flipped, one_of_several, copies,
)


@pytest.mark.parametrize("program", WRITES, ids=lambda p: p.__name__)
def test_writes_through_views_reach_the_array_as_on_numpy(program):
    found = []
    for convert in (cut, np.asarray):
        x = agrad.asarray(convert(np.arange(6.0).reshape(2, 3)))
        program(x)
        leaf = agrad.asarray(convert(np.arange(6.0).reshape(2, 3)), requires_grad=True)
        y = leaf * 1
        program(y)
        (y * y).sum().backward()
        found.append((values_of(x), values_of(leaf.grad)))
    np.testing.assert_array_equal(found[0][0], found[1][0])
    np.testing.assert_array_equal(found[0][1], found[1][1])


def test_parts_of_complex_numbers_are_views(on_dask):
    z = agrad.asarray([1 + 2j, 3 + 4j])
    agrad.real(z)[0] = 7.0
    agrad.imag(z).mul_(10.0)
    assert z.tolist() == [7 + 20j, 3 + 40j]


# ------------------------------------------------------------------------------------------------------------ the rules


UNCOUNTED = ("unique_all", "unique_counts", "unique_inverse", "unique_values")
CHECKED = [name for name in NAMES if name not in UNCOUNTED]


def check(name, dtypes, case=None):
    for dtype in dtypes:
        report = check_rule(name, "dask", dtype, case=case)
        assert name in REFUSED or not report.refused, str(report)


def number_of_samples(name):
    op = rules.find(name)
    return len(samples_of(op.record, op.signature))


@pytest.mark.parametrize("name", CHECKED)
def test_a_rule_is_right(name):
    """At one of its samples; test_a_rule_is_right_at_all_its_samples has the others."""
    check(name, ["float64"], number_of_samples(name) // 2)


@pytest.mark.long
@pytest.mark.parametrize("name", CHECKED)
def test_a_rule_is_right_at_all_its_samples(name):
    check(name, ["float64", "complex128", "float32"])


@pytest.mark.long
@pytest.mark.parametrize("name", CHECKED)
def test_a_rule_is_right_on_arrays_cut_into_blocks(name):
    with dask.config.set({"array.chunk-size": "24B"}):     # three doubles
        check(name, ["float64"])


def test_different_elements_are_found_but_not_counted():
    x = agrad.asarray(cut([3.0, 1.0, 3.0, 2.0]))
    assert values_of(agrad.unique_values(x)).tolist() == [1.0, 2.0, 3.0]
    assert values_of(agrad.unique_counts(x).counts).tolist() == [1, 1, 2]


# ------------------------------------------------------------------------------------------------ memory, distribution


def run_out_of_core(*options):
    """The example's figures: gigabytes of data, peak memory, memory at the start."""
    command = [sys.executable, str(EXAMPLES / "out_of_core.py"), *options]
    result = subprocess.run(command, capture_output=True, text=True, timeout=600)
    assert result.returncode == 0, result.stderr
    print(result.stdout)
    number = r"([\d.]+) GB"
    data = re.search(rf"data: {number}", result.stdout)[1]
    peak, start = re.search(rf"peak memory {number}, {number} of it at the start", result.stdout).groups()
    return float(data), float(peak), float(start)


needs_examples = pytest.mark.skipif(not EXAMPLES.is_dir(), reason="the examples are not there")


@needs_examples
@pytest.mark.slow
def test_a_gradient_over_data_larger_than_memory():
    data, peak, start = run_out_of_core("--gigabytes", "0.4", "--limit", "0.5")
    assert data == pytest.approx(0.4)
    assert peak - start < 0.15


@needs_examples
@pytest.mark.slow
@pytest.mark.long
def test_a_gradient_over_four_gigabytes_in_one_and_a_half():
    data, peak, start = run_out_of_core("--gigabytes", "4", "--limit", "1.5")
    assert data == pytest.approx(4.0)
    assert peak < 1.5
    assert peak - start < 0.4


ON_A_CLUSTER = """
import dask.array as da
import numpy as np
from dask.distributed import Client, LocalCluster

import agrad


def gradients(convert, data, weights):
    x, y = map(agrad.asarray, map(convert, data))
    w = [agrad.asarray(convert(one), requires_grad=True) for one in weights]
    hidden = agrad.tanh(x @ w[0] + w[1])
    scores = agrad.log_softmax(hidden @ w[2], axis=1)
    loss = -agrad.mean(agrad.take_along_axis(scores, y, axis=1)) + hidden[::3].sum() * 1e-3
    loss.backward()
    return [loss.detach(), *(one.grad for one in w)]


def main():
    random = np.random.default_rng(0)
    data = random.standard_normal((2000, 16)), random.integers(0, 4, (2000, 1))
    weights = random.standard_normal((16, 8)), random.standard_normal(8), random.standard_normal((8, 4))
    expected = [t.numpy() for t in gradients(np.asarray, data, weights)]
    lazy = gradients(lambda a: da.from_array(a, chunks=(500, *a.shape[1:])), data, weights)
    options = dict(n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None)
    with LocalCluster(**options) as cluster, Client(cluster) as client:
        assert len({info["id"] for info in client.scheduler_info()["workers"].values()}) == 2
        found = client.gather(client.compute([t.array for t in lazy]))
    print(max(float(np.max(np.abs(a - b))) for a, b in zip(found, expected)))


if __name__ == "__main__":
    main()
"""


@pytest.mark.slow
def test_two_worker_processes_compute_numpys_gradient(tmp_path):
    pytest.importorskip("distributed", reason="dask.distributed is not installed: pip install 'dask[distributed]'")
    program = tmp_path / "on_a_cluster.py"
    program.write_text(ON_A_CLUSTER)
    result = subprocess.run([sys.executable, "-W", "error", str(program)], capture_output=True, text=True, timeout=300)
    assert (result.returncode, result.stderr) == (0, "")
    assert float(result.stdout) < 1e-12
