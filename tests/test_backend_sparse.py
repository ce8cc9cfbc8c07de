"""Tensors of pydata/sparse arrays: what they can do, gradients that stay sparse, nothing made dense unasked."""

import numpy as np
import pytest

import agrad
from agrad.testing import check_rule

sparse = pytest.importorskip("sparse", reason="pydata/sparse is not installed: pip install 'agrad[sparse]'")

# What the library lacks: every call is refused.
LACKING = """
    cumulative_prod cumulative_sum searchsorted isin unique_all setitem argsort
    linalg.cholesky linalg.cross linalg.det linalg.eigh linalg.inv linalg.qr linalg.solve linalg.svd fft.fft fft.rfftn
""".split()

# Ops whose rule is checked here at one of its samples; the others under --long.
CHECKED = """
    add multiply divide exp abs where sum mean max std matmul tensordot vecdot concat stack reshape permute_dims
    broadcast_to getitem take
""".split()
FURTHER = """
    subtract negative sin cos tanh sqrt square pow maximum minimum log1p real conj min var repeat tile roll flip squeeze
    expand_dims moveaxis unstack broadcast_arrays matrix_transpose diff tril triu count_nonzero extremum
    take_along_axis linalg.vector_norm linalg.outer linalg.trace linalg.diagonal logsumexp softmax relu pad astype copy
""".split()


def random_matrix(shape=(30, 20), density=0.1, seed=0):
    return sparse.random(shape, density=density, random_state=seed)


def values_of(t):
    return t.detach().numpy()


def on_both(program, *arrays):
    """The gradients of a program on sparse arrays and on NumPy's."""
    found = []
    for convert in (lambda a: a, lambda a: a.todense()):
        inputs = [agrad.asarray(convert(a), requires_grad=True) for a in arrays]
        program(*inputs).backward()
        found.append([t.grad for t in inputs])
    for mine, theirs in zip(*found, strict=True):
        assert isinstance(mine.array, sparse.COO)
        np.testing.assert_allclose(values_of(mine), values_of(theirs), rtol=1e-12, atol=1e-14)
    return found[0]


# --------------------------------------------------------------------------------------------------------- conversion


def test_sparse_arrays_are_taken_and_held_as_coo():
    raw = random_matrix()
    for array in (raw, sparse.GCXS(raw), sparse.DOK.from_coo(raw)):
        x = agrad.asarray(array)
        assert (x.backend_.name, x.shape, x.dtype, x.device) == ("sparse", (30, 20), agrad.float64, "cpu")
        assert isinstance(x.array, sparse.COO)
        assert [type(n) for n in x.sum(axis=0).shape] == [int]
        np.testing.assert_array_equal(values_of(x), raw.todense())
    assert agrad.asarray(raw).array is raw


def test_tensors_move_to_and_from_numpy_with_their_gradient():
    x = agrad.asarray(np.array([0.0, 2.0, 0.0]), requires_grad=True)
    y = x.to(backend="sparse")
    assert y.array.nnz == 1
    (y**3).sum().backward()
    assert x.grad.backend_.name == "numpy"
    assert x.grad.tolist() == [0.0, 12.0, 0.0]


def test_other_backends_tensors_are_refused_and_numpys_arrays_are_constants():
    x = agrad.asarray(random_matrix(), requires_grad=True)
    with pytest.raises(TypeError, match="different backends, sparse and numpy; move one with to"):
        x * agrad.asarray(np.ones(20))
    (np.arange(20.0) * x).sum().backward()
    np.testing.assert_array_equal(values_of(x.grad), np.broadcast_to(np.arange(20.0), (30, 20)))


def test_a_large_tensor_is_printed_without_its_zeros():
    x = agrad.asarray(sparse.COO([[0, 7], [1, 10**6]], [1.0, 2.0], shape=(10**7, 10**7)))
    said = "<sparse, 2 elements stored, others 0.0>"
    assert repr(x) == f"tensor({said}, shape=(10000000, 10000000), dtype=agrad.float64)"
    assert repr(agrad.asarray(sparse.COO([[1]], [2.0], shape=(3,)))) == "tensor([0., 2., 0.])"


# ---------------------------------------------------------------------------------------------------------- gradients

PROGRAMS = {
    "least squares": lambda a, x: ((a @ x[:, 0] - a[:, 0]) ** 2).sum(),
    "a product": lambda a, x: (a @ x).sum(),
    "functions that do not keep zero": lambda a, x: (agrad.exp(a) * agrad.cos(a)).sum() + x.sum(),
    "axes": lambda a, x: (agrad.mean(a, axis=0) * agrad.sum(x, axis=1)).sum(),
    "slices": lambda a, x: (a[1:5, ::2] ** 2).sum() + a[3].sum() + x[0, 0] * x[-1, 1],
    "positions": lambda a, x: (a[[0, 0, 3]] ** 2).sum() + x[[0, 1], [1, 1]].sum(),
    "a mask": lambda a, x: (a[a > 0.5] ** 2).sum() + x.sum(),
    "joined": lambda a, x: (agrad.concat([a, x.T], axis=0) ** 3).sum() + agrad.stack([a.sum(), x.sum()])[1],
    "shapes": lambda a, x: (agrad.reshape(a, (20, 30)) @ a).sum() + agrad.max(x, axis=0).sum(),
    "softmax": lambda a, x: (agrad.softmax(a, axis=1) * a).sum() + agrad.linalg.vector_norm(x),
}


@pytest.mark.parametrize("name", PROGRAMS)
def test_gradients_are_numpys(name):
    on_both(PROGRAMS[name], random_matrix(), random_matrix((20, 2), 0.5, 1))


def test_a_network_on_sparse_arrays_has_numpys_gradients():
    rng = np.random.default_rng(0)
    weights = [sparse.COO.from_numpy(rng.standard_normal(shape)) for shape in ((20, 8), (8,), (8, 1))]
    data = random_matrix((50, 20), 0.1)

    def loss(first, bias, second):
        x = data if isinstance(first.array, sparse.COO) else data.todense()
        return agrad.mean((agrad.tanh(agrad.asarray(x) @ first + bias) @ second) ** 2)

    on_both(loss, *weights)


def test_a_gradient_stores_what_its_operand_stores():
    raw = random_matrix((2000, 1000), 0.001)
    x = agrad.asarray(raw, requires_grad=True)
    (x * x + agrad.sin(x)).sum().backward()
    assert x.grad.array.nnz == raw.nnz
    assert x.grad.array.fill_value == 1.0       # cos(0), of all elements that are zero
    x.grad = None
    x[5:700].sum().backward()
    np.testing.assert_array_equal(values_of(x.grad)[4:6, 0], [0.0, 1.0])


def test_what_would_store_every_element_of_a_large_array_is_refused():
    x = agrad.asarray(sparse.random((100_000, 100_000), nnz=50, random_state=0), requires_grad=True)
    (x * 2).sum().backward()        # the same number everywhere is one number
    assert (x.grad.array.nnz, x.grad.array.fill_value) == (0, 2.0)
    with pytest.raises(ValueError, match=r"would store 10000000000 elements.*to\(backend='numpy'\)"):
        agrad.concat([x, agrad.exp(x)], axis=0)
    y = agrad.asarray(sparse.random((2000, 1000), density=0.01, random_state=0), requires_grad=True)
    v = agrad.asarray(sparse.COO.from_numpy(np.arange(1.0, 1001)))
    with pytest.raises(ValueError, match="would store 2000000 elements"):
        (y @ v).sum().backward()
    assert y.grad is None


# ---------------------------------------------------------------------------------------------------- what there is not


@pytest.mark.parametrize("name", LACKING)
def test_what_the_library_lacks_is_refused_by_name_with_a_way_out(name):
    op = agrad.rules.find(name)
    x = agrad.asarray(sparse.COO.from_numpy(np.eye(3)))
    others = [x] * (sum(p.kind == "array" for p in op.signature.parameters) - 1)
    args = {"setitem": (x, 0, 1.0)}.get(name, (x, *others))
    kwargs = {"axis": 0} if name.startswith("cumulative") else {}
    with pytest.raises((NotImplementedError, AttributeError), match=r"sparse.*to\(backend="):
        op.function(*args, **kwargs)


def test_writing_at_a_key_is_refused_and_changing_the_whole_is_not():
    x = agrad.asarray(sparse.COO.from_numpy(np.eye(3)))
    for write in (lambda: x.__setitem__(0, 1.0), lambda: x[0].add_(1.0)):
        with pytest.raises(NotImplementedError, match=r"cannot be written to at a key.*where\(mask, value, x\)"):
            write()
    x *= 3.0
    assert x.tolist() == (3 * np.eye(3)).tolist()
    x[...] = agrad.asarray(sparse.COO.from_numpy(np.arange(3.0)))
    assert x.tolist() == [[0.0, 1.0, 2.0]] * 3
    x.fill_(2)
    assert x.tolist() == np.full((3, 3), 2.0).tolist()


# ------------------------------------------------------------------------------------------------------------ the rules


@pytest.mark.parametrize("name", CHECKED)
def test_a_rule_is_right(name):
    report = check_rule(name, "sparse", "float64", case=2)
    assert report.cases == 1, str(report)


@pytest.mark.long
@pytest.mark.parametrize("name", [*CHECKED, *FURTHER])
def test_a_rule_is_right_at_all_its_samples(name):
    for dtype in ("float64", "complex128"):
        report = check_rule(name, "sparse", dtype)
        assert not report.refused, str(report)
