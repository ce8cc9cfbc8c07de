"""What the generic checker cannot see of the chapter "linalg": determinants of singular matrices, equations, forms of
results, and PyTorch's gradients where these are right. See also test_linalg_gauge.py."""

from itertools import product

import numpy as np
import pytest
from array_libraries import is_installed
from matrix_losses import (
    DTYPES,
    SQUARE,
    STEP,
    TALL,
    WIDE,
    L,
    adjoint,
    array,
    check_derivatives,
    draw,
    gradient,
    hermitian,
    inner,
    numbers,
    turned,
)

import agrad
from agrad import backends
from agrad.backends import numpy as numpy_adapter

# ------------------------------------------------------------------------- determinants


def cofactors(x):
    n = x.shape[-1]
    found = np.empty_like(x)
    for i, j in product(range(n), repeat=2):
        minor = np.delete(np.delete(x, i, -2), j, -1)
        found[..., i, j] = (-1) ** (i + j) * np.linalg.det(minor)
    return found


def of_rank(n, rank, dtype, seed=0):
    """Numbers of moderate size, with just this rank but for rounding."""
    return numbers((n, rank), dtype, seed) @ numbers((rank, n), dtype, seed + 1) if rank else np.zeros((n, n), dtype)


RANKS = [(n, n - lost) for n in range(1, 8) for lost in range(6) if lost <= n]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("n", "rank"), RANKS)
def test_the_gradient_of_a_determinant_is_the_cofactors_at_every_rank(n, rank, dtype, backend):
    x = of_rank(n, rank, dtype)
    (found,), _ = gradient(lambda x: agrad.real(L.det(x)), x)
    assert np.allclose(array(found), np.conj(cofactors(x)), rtol=1e-9, atol=1e-12 * np.linalg.norm(x) ** (n - 1))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("n", "rank"), RANKS)
def test_three_derivatives_of_a_determinant_are_right_at_every_rank(n, rank, dtype, backend):
    """det(x + t y) is a polynomial in t; its coefficients follow from its values at roots of unity."""
    x, y = of_rank(n, rank, dtype), numbers((n, n), dtype, 7)
    roots = np.exp(2j * np.pi * np.arange(n + 1) / (n + 1))
    coefficients = np.fft.fft([np.linalg.det(x + root * y) for root in roots]) / (n + 1)
    t = agrad.tensor(0.0, dtype=agrad.float64, requires_grad=True)
    found = agrad.real(L.det(agrad.asarray(x) + t * agrad.asarray(y)))
    factorial = 1.0
    for order in range(1, min(n, 3) + 1):
        (found,) = agrad.autograd.grad(found, t, create_graph=True)
        factorial *= order
        expected = factorial * coefficients[order].real
        assert abs(float(array(found.detach())) - expected) <= 1e-9 * max(1.0, np.abs(coefficients).max())


def test_singular_and_regular_matrices_stand_in_one_batch(backend):
    x = np.stack([of_rank(5, rank, "float64") for rank in range(6)])
    (found,), _ = gradient(lambda x: agrad.sum(L.det(x)), x)
    assert np.allclose(array(found), cofactors(x), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("n", [4, 6])
def test_rows_and_columns_of_any_scale_keep_their_precision(n, backend):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(n, n)) * 10.0 ** rng.uniform(-6, 6, (n, 1)) * 10.0 ** rng.uniform(-6, 6, (1, n))
    (found,), _ = gradient(L.det, x)
    assert np.allclose(array(found) / (np.linalg.det(x) * np.linalg.inv(x).T), 1.0, rtol=1e-9, atol=0.0)


def test_a_determinant_of_many_rows_neither_overflows_nor_vanishes(backend):
    x = np.linalg.qr(numbers((300, 300), "float64"))[0]
    (found,), _ = gradient(L.det, x)
    assert np.allclose(array(found), np.linalg.det(x) * x, atol=1e-10)


@pytest.mark.parametrize("dtype", DTYPES)
def test_slogdet_of_a_singular_matrix_raises_nothing_and_is_not_finite(dtype, backend):
    x = np.stack([np.array([[1.0, 2.0], [2.0, 4.0]]), np.zeros((2, 2)), np.array([[3.0, 1.0], [1.0, 2.0]])])
    result = L.slogdet(agrad.asarray(x.astype(dtype)))
    assert array(result.logabsdet)[:2].tolist() == [-np.inf, -np.inf]
    (found,), _ = gradient(lambda x: agrad.sum(L.slogdet(x).logabsdet), x.astype(dtype))
    assert np.all(np.isnan(array(found)[:2]))
    assert np.allclose(array(found)[2], adjoint(np.linalg.inv(x[2])))


def test_the_sign_of_a_real_determinant_is_flat_and_that_of_a_complex_one_is_not(backend):
    (found,), _ = gradient(lambda x: L.slogdet(x).sign, draw("regular", SQUARE, "float64"))
    assert np.all(array(found) == 0)
    x = draw("regular", SQUARE, "complex128")
    check_derivatives(lambda x: agrad.real(L.slogdet(x).sign), x)


# ------------------------------------------------------------------------- equations


def test_the_right_side_is_a_vector_if_and_only_if_it_has_one_axis(backend):
    x1, vector, matrix = draw("regular", (2, 3, 3), "float64"), np.arange(3.0), np.ones((2, 3, 1))
    for solve in (L.solve, L.solve_triangular, L.lstsq):
        assert solve(agrad.asarray(x1), agrad.asarray(vector)).shape == (2, 3)
        assert solve(agrad.asarray(x1), agrad.asarray(matrix)).shape == (2, 3, 1)
        (a, b), _ = gradient(lambda x1, x2, f=solve: agrad.sum(f(x1, x2)), x1, vector)
        (c, d), _ = gradient(lambda x1, x2, f=solve: agrad.sum(f(x1, x2)), x1, np.stack([vector[:, None]] * 2))
        assert np.allclose(array(a), array(c))
        assert np.allclose(array(b), array(d).sum((0, 2)))

    # two matrices, and one matrix of right sides which could pass for two vectors
    x1, right = draw("definite", (2, 2, 2), "float64"), numbers((2, 2), "float64")
    expected = np.stack([np.linalg.solve(x, right) for x in x1])
    for solve in (L.solve, L.lstsq):
        assert np.allclose(array(solve(agrad.asarray(x1), agrad.asarray(right))), expected)
        (_, back), _ = gradient(lambda x1, x2, f=solve: agrad.sum(f(x1, x2)), x1, right)
        assert np.allclose(array(back), sum(np.linalg.solve(x.T, np.ones((2, 2))) for x in x1))


@pytest.mark.parametrize(("upper", "unit"), list(product((False, True), repeat=2)))
def test_only_the_triangle_is_read(upper, unit, backend):
    read = np.triu(np.ones((3, 3)), unit) if upper else np.tril(np.ones((3, 3)), -unit)
    x1 = np.where(read > 0, numbers((3, 3), "float64") + 3, np.nan)
    right = np.ones((3, 2))
    used = np.where(np.isnan(x1), 0.0, x1) + (np.eye(3) if unit else 0.0)

    def loss(x1, x2):
        return agrad.sum(L.solve_triangular(x1, x2, upper=upper, unit_diagonal=unit) ** 2)

    (a, b), _ = gradient(loss, x1, right)
    solution = np.linalg.solve(used, right)
    back = np.linalg.solve(used.T, 2 * solution)
    assert np.allclose(array(b), back)
    assert np.allclose(array(a), np.where(np.isnan(x1), 0.0, -back @ solution.T))


@pytest.mark.parametrize("dtype", DTYPES)
def test_numpy_solves_triangles_with_and_without_scipy(dtype, monkeypatch):
    x1, x2 = draw("definite", SQUARE, dtype), numbers((3, 2), dtype)
    calls = [(right, upper, unit) for right in (x2, x2[:, 0]) for upper in (False, True) for unit in (False, True)]
    solve = numpy_adapter._solve_triangular
    monkeypatch.setattr(numpy_adapter, "_scipy_triangular", lambda: None)
    expected = [solve(x1, right, upper=upper, unit_diagonal=unit) for right, upper, unit in calls]
    monkeypatch.undo()
    for (right, upper, unit), other in zip(calls, expected, strict=True):
        assert np.allclose(solve(x1, right, upper=upper, unit_diagonal=unit), other)


def deficient(dtype):
    """A 4x3 matrix of rank 2, and a way to move it that keeps the rank."""
    left, right = numbers((4, 2), dtype, 1), numbers((2, 3), dtype, 2)
    return left @ right, lambda t: (left + t * numbers((4, 2), dtype, 3)) @ (right + t * numbers((2, 3), dtype, 4))


@pytest.mark.parametrize("dtype", DTYPES)
def test_least_squares_of_deficient_rank_take_the_shortest_solution(dtype, backend):
    x1, moved = deficient(dtype)
    x2 = numbers((4,), dtype, 5)
    expected = np.linalg.lstsq(x1, x2, rcond=1e-10)[0]
    assert np.allclose(array(L.lstsq(agrad.asarray(x1), agrad.asarray(x2))), expected)
    weights = numbers((3,), dtype, 6)

    def loss(x1, x2):
        return agrad.sum(agrad.real(agrad.asarray(np.conj(weights)) * L.lstsq(x1, x2, rtol=1e-10)))

    def value(t):
        return float(array(loss(agrad.asarray(moved(t)), agrad.asarray(x2))))

    (a, b), _ = gradient(loss, x1, x2)
    along = (moved(STEP) - moved(-STEP)) / (2 * STEP)
    assert abs(inner(array(a), along) - (value(STEP) - value(-STEP)) / (2 * STEP)) < 1e-6
    assert np.allclose(array(b), adjoint(np.linalg.pinv(x1, rcond=1e-10)) @ weights)


@pytest.mark.parametrize("dtype", DTYPES)
def test_the_pseudo_inverse_of_deficient_rank_is_right_along_changes_that_keep_the_rank(dtype, backend):
    x, moved = deficient(dtype)
    weights = numbers((3, 4), dtype, 6)

    def loss(x):
        return agrad.sum(agrad.real(agrad.asarray(np.conj(weights)) * L.pinv(x, rtol=1e-10)))

    def value(t):
        return float(array(loss(agrad.asarray(moved(t)))))

    (found,), _ = gradient(loss, x)
    along = (moved(STEP) - moved(-STEP)) / (2 * STEP)
    assert abs(inner(array(found), along) - (value(STEP) - value(-STEP)) / (2 * STEP)) < 1e-6


def test_small_singular_values_are_cut_off(backend):
    x = np.diag([1.0, 0.5, 1e-4])
    assert np.allclose(array(L.lstsq(agrad.asarray(x), agrad.ones(3), rtol=1e-3)), [1.0, 2.0, 0.0])
    assert np.allclose(array(L.lstsq(agrad.asarray(x), agrad.ones(3))), [1.0, 2.0, 1e4])
    assert np.allclose(array(L.pinv(agrad.asarray(x), rtol=1e-3)), np.diag([1.0, 2.0, 0.0]))
    assert int(array(L.matrix_rank(agrad.asarray(x), rtol=1e-3))) == 2


# ------------------------------------------------------------------------- forms of results and gradients


@pytest.mark.parametrize(
    ("name", "fields"),
    [
        ("eig", ("eigenvalues", "eigenvectors")), ("eigh", ("eigenvalues", "eigenvectors")), ("qr", ("Q", "R")),
        ("slogdet", ("sign", "logabsdet")), ("svd", ("U", "S", "Vh")),
    ],
)
def test_results_have_the_standards_field_names(name, fields, backend):
    x = agrad.asarray(draw("hermitian", SQUARE, "float64"))
    raw = getattr(backends.find(backend).xp.linalg, name)(x.array)
    for result in (getattr(L, name)(x), getattr(L, name)(x.requires_grad_()), raw):
        assert type(result)._fields == fields
        assert result == tuple(getattr(result, field) for field in fields)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    "loss",
    [
        lambda x: agrad.sum(agrad.real(L.cholesky(x)) ** 3), lambda x: agrad.sum(agrad.real(L.cholesky(x, upper=True))),
        lambda x: agrad.sum(L.eigvalsh(x) ** 3), lambda x: agrad.sum(agrad.abs(L.eigh(x).eigenvectors) ** 4),
    ],
)
def test_the_gradient_of_a_hermitian_matrix_is_hermitian(loss, dtype, backend):
    (found,), _ = gradient(loss, draw("definite", SQUARE, dtype))
    assert np.allclose(array(found), adjoint(array(found)), rtol=1e-12, atol=1e-14)


def test_the_first_power_is_a_copy(backend):
    x = agrad.asarray(np.eye(2))
    y = L.matrix_power(x, 1)
    y += 1
    assert array(x).tolist() == [[1.0, 0.0], [0.0, 1.0]]


@pytest.mark.parametrize("n", [17, -17])
def test_high_powers_are_differentiated_in_few_products(n, backend):
    x = draw("regular", (2, 2), "float64") / 2 + np.eye(2)
    check_derivatives(lambda x: agrad.sum(L.matrix_power(x, n)) / 1e3, x)


def test_a_positive_axis_of_operands_of_different_rank_is_refused_with_the_reason():
    x1, x2 = agrad.ones(3, requires_grad=True), agrad.ones((3, 2))
    with pytest.raises(ValueError, match="count it from the end"):
        L.cross(x1, x2, axis=0).sum().backward()


def test_a_trace_in_another_dtype(backend):
    x = agrad.asarray(np.arange(4, dtype="float32").reshape(2, 2)).requires_grad_()
    y = L.trace(x, offset=1, dtype=agrad.float64)
    assert y.dtype == agrad.float64
    y.backward()
    assert x.grad.dtype == agrad.float32
    assert array(x.grad).tolist() == [[0.0, 1.0], [0.0, 0.0]]


# ------------------------------------------------------------------------- norms


@pytest.mark.parametrize("ord", ["fro", "nuc", 1, -1, 2, -2, np.inf, -np.inf])
def test_second_derivatives_of_matrix_norms(ord, backend):
    check_derivatives(lambda x: L.matrix_norm(x, ord=ord), draw("spread", SQUARE, "complex128"))


def test_the_spectral_norm_is_not_disturbed_by_smaller_singular_values_that_are_equal(backend):
    x = turned([1.0, 1.0, 3.0], "float64")
    check_derivatives(lambda x: L.matrix_norm(x, ord=2), x)


@pytest.mark.parametrize("ord", [1, 2, 3, 4.5])
def test_norms_with_a_zero_element_have_second_derivatives(ord, backend):
    x = np.array([0.0, 1.0, -2.0])
    (first,), (leaf,) = gradient(lambda x: L.vector_norm(x, ord=ord), x, create_graph=True)
    if first.requires_grad:
        (second,) = agrad.autograd.grad(first.sum(), leaf)
        assert np.all(np.isfinite(array(second)))


@pytest.mark.parametrize("ord", [2, 3, 1.5, -1])
def test_norms_of_tiny_and_huge_numbers_have_gradients(ord, backend):
    for scale in (1e-100, 1e100):
        x = scale * np.array([1.0, 2.0])
        (found,), _ = gradient(lambda x: L.vector_norm(x, ord=ord), x)
        (expected,), _ = gradient(lambda x: L.vector_norm(x, ord=ord), x / scale)
        assert np.allclose(array(found), array(expected))


# ------------------------------------------------------------------------- PyTorch's gradients, where they are right


def eigen(m, x):
    w, v = m.linalg.eigh(x)
    return (w**2).sum() + (abs(v) ** 4).sum()


def vectors(m, x):
    w, v = m.linalg.eig(x)
    return (abs(w) ** 2).sum() + (abs(v) ** 4).sum()


def singular(m, x):
    u, s, vh = m.linalg.svd(x, full_matrices=False)
    return s.sum() + (abs(u) ** 4).sum() + (abs(vh) ** 4).sum()


def orthogonal(m, x, **options):
    q, r = m.linalg.qr(x, **options)
    return (abs(q) ** 4).sum() + (abs(r) ** 3).sum()


def logarithmic(m, x):
    sign, log = m.linalg.slogdet(x)
    return log * 2 + abs(sign + 1) ** 2


def weighted(y):
    return (abs(y - 0.3) ** 2).sum()


PROGRAMS = {
    "cholesky": (lambda m, x: weighted(m.linalg.cholesky(x)), ("definite", SQUARE)),
    "cholesky, upper": (lambda m, x: weighted(m.linalg.cholesky(x, upper=True)), ("definite", (2, 3, 3))),
    "cross": (lambda m, x, y: weighted(m.linalg.cross(x, y)), ("spread", (2, 3)), ("spread", (2, 3))),
    "det": (lambda m, x: weighted(m.linalg.det(x)), ("regular", (2, 4, 4))),
    "diagonal": (lambda m, x: weighted(m.linalg.diagonal(x, offset=1)), ("spread", (3, 4))),
    "eigh": (eigen, ("hermitian", (2, 3, 3))),
    "eigvalsh": (lambda m, x: weighted(m.linalg.eigvalsh(x)), ("hermitian", SQUARE)),
    "eig": (vectors, ("spread", SQUARE)),
    "eigvals": (lambda m, x: weighted(m.linalg.eigvals(x)), ("spread", SQUARE)),
    "inv": (lambda m, x: weighted(m.linalg.inv(x)), ("regular", (2, 3, 3))),
    **{f"matrix_norm, {o}": (lambda m, x, o=o: m.linalg.matrix_norm(x, ord=o), ("spread", (3, 4)))
       for o in ("fro", "nuc", 1, -1, 2, -2, np.inf, -np.inf)},
    **{f"matrix_power, {n}": (lambda m, x, n=n: weighted(m.linalg.matrix_power(x, n)), ("regular", SQUARE))
       for n in (-3, -1, 1, 2, 5)},
    "outer": (lambda m, x, y: weighted((m.linalg.outer if m is agrad else m.outer)(x[0], y[0])),
              ("spread", SQUARE), ("spread", SQUARE)),
    "pinv": (lambda m, x: weighted(m.linalg.pinv(x)), ("regular", TALL)),
    "lstsq": (lambda m, x, y: weighted(m.linalg.lstsq(x, y) if m is agrad else m.linalg.lstsq(x, y)[0]),
              ("regular", TALL), ("spread", (4, 3))),
    "qr": (orthogonal, ("regular", TALL)),
    "qr, wide": (orthogonal, ("regular", WIDE)),
    "qr, complete": (lambda m, x: orthogonal(m, x, mode="complete"), ("regular", SQUARE)),
    "slogdet": (logarithmic, ("regular", (2, 3, 3)[1:])),
    "solve": (lambda m, x, y: weighted(m.linalg.solve(x, y)), ("regular", SQUARE), ("spread", (3, 2))),
    "solve_triangular": (lambda m, x, y: weighted(m.linalg.solve_triangular(x, y, upper=True)),
                         ("definite", SQUARE), ("spread", (3, 2))),
    "svd": (singular, ("spread", TALL)),
    "svd, square": (singular, ("spread", (2, 3, 3))),
    "svdvals": (lambda m, x: weighted(m.linalg.svdvals(x)), ("spread", WIDE)),
    "trace": (lambda m, x: weighted((m.linalg.trace if m is agrad else m.trace)(x)), ("spread", SQUARE)),
    **{f"vector_norm, {o}": (lambda m, x, o=o: m.linalg.vector_norm(x, ord=o), ("spread", SQUARE))
       for o in (0.5, 1, 1.5, 2, 3, -1, np.inf, -np.inf)},
}


@pytest.mark.skipif(not is_installed("torch"), reason="PyTorch is not installed")
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", PROGRAMS)
def test_pytorch_has_the_same_value_gradient_and_node(name, dtype):
    import torch

    program, *operands = PROGRAMS[name]
    values = [draw(kind, shape, dtype, i) for i, (kind, shape) in enumerate(operands)]
    found, nodes = {}, {}
    for m in (torch, agrad):
        leaves = [m.tensor(value.tolist(), dtype=getattr(m, dtype), requires_grad=True) for value in values]
        loss = program(m, *leaves)
        gradients = m.autograd.grad(loss, leaves)
        found[m] = [np.asarray(t.detach().numpy() if m is torch else t.detach().array) for t in (loss, *gradients)]
        nodes[m] = names_under(loss.grad_fn)
    if name.startswith("cholesky"):     # torch's has an antihermitian part, along which no matrix moves
        found[torch][1] = hermitian(found[torch][1])
    for a, b in zip(found[agrad], found[torch], strict=True):
        assert np.allclose(a, b, rtol=1e-9, atol=1e-10)
    own = {node for node in nodes[agrad] if node.startswith("Linalg")}
    assert own <= nodes[torch]
    if name.split(",")[0] not in ("matrix_norm", "matrix_power", "outer", "trace", "diagonal"):
        assert own


def names_under(node):
    found, stack = set(), [node]
    while stack:
        node = stack.pop()
        if node is not None:
            found.add(node.name())
            stack += [below for below, _ in node.next_functions]
    return found


# ------------------------------------------------------------------------- the checker's matrices


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("seed", range(5))
def test_the_checkers_matrices_are_what_their_names_say(dtype, seed):
    definite, x = (draw(kind, (2, 4, 4), dtype, seed) for kind in ("definite", "hermitian"))
    for matrices in (definite, x):
        assert np.array_equal(matrices, adjoint(matrices))
        assert np.min(np.diff(np.linalg.eigvalsh(matrices))) > 0.2
    assert np.min(np.linalg.eigvalsh(definite)) > 0.4
    for shape in ((3, 3), (4, 2), (2, 2, 3)):
        regular = draw("regular", shape, dtype, seed)
        assert np.linalg.svd(regular, compute_uv=False).min() > 0.4
        assert np.linalg.svd(regular.real, compute_uv=False).min() > 0.4
        values = np.linalg.svd(draw("spread", shape, dtype, seed), compute_uv=False)
        assert np.max(np.diff(values)) < -0.3
    w = np.linalg.eigvals(draw("spread", SQUARE, dtype, seed))
    assert np.min(np.abs(w[:, None] - w + 9 * np.eye(3))) > 0.2
    for kind, shape in product(("definite", "regular", "spread"), ((0, 0), (2, 0, 0))):
        assert draw(kind, shape, dtype).shape == shape
