"""Decompositions are determined up to signs, phases and bases. Losses that do not depend on these have the right
gradient, those that do have nan; and what equal eigenvalues and singular values leave of a gradient."""

import numpy as np
import pytest
from matrix_losses import (
    DTYPES,
    SQUARE,
    TALL,
    WIDE,
    H,
    L,
    adjoint,
    array,
    check_derivatives,
    draw,
    gradient,
    hermitian,
    numbers,
    turned,
)

import agrad

# ------------------------------------------------------------------------- losses that do not depend on a gauge

def lowest_energy_density(x, m):
    v = L.eigh(x).eigenvectors[..., :1]
    return agrad.sum(agrad.real(m * (v @ H(v))))


def square_root(x, m):
    w, v = L.eigh(x)
    return agrad.sum(agrad.real(m * ((v * agrad.sqrt(w)[..., None, :]) @ H(v))))


def exponential(x, m):
    w, v = L.eig(x)
    return agrad.sum(agrad.real(m * ((v * agrad.exp(w)[..., None, :]) @ L.inv(v))))


def overlaps(x, m):
    """Of normalised eigenvectors that are not orthogonal."""
    w, v = L.eig(x)
    return agrad.sum(agrad.real(m * (w * agrad.conj(w))[..., None, :] * agrad.abs(H(v) @ v) ** 2))


def polar_factor(x, m):
    u, _, vh = L.svd(x, full_matrices=False)
    return agrad.sum(agrad.real(m * (u @ vh)))


def best_approximation(x, m):
    u, s, vh = L.svd(x)
    return agrad.sum(agrad.real(m * ((u[..., :1] * s[..., None, :1]) @ vh[..., :1, :])))


def null_spaces(x, m):
    """Of x and of its transpose, by the further columns of the full decomposition."""
    u, s, vh = L.svd(x)
    k = s.shape[-1]
    left, right = u[..., k:], vh[..., k:, :]
    return agrad.sum(agrad.real(m @ H(m) * (left @ H(left)))) + agrad.sum(agrad.real(H(m) @ m * (H(right) @ right)))


def column_space(x, m):
    q, r = L.qr(x)
    return agrad.sum(agrad.real((m @ H(m)) * (q @ H(q)))) + agrad.sum(agrad.abs(r) ** 4)


def complement(x, m):
    q, _ = L.qr(x, mode="complete")
    others = q[..., min(x.shape[-2:]):]
    return agrad.sum(agrad.real((m @ H(m)) * (others @ H(others))))


INVARIANT = [
    (lowest_energy_density, "hermitian", SQUARE), (lowest_energy_density, "hermitian", (2, 4, 4)),
    (square_root, "definite", SQUARE), (square_root, "definite", (2, 3, 3)),
    (exponential, "spread", SQUARE), (exponential, "regular", (2, 3, 3)), (overlaps, "spread", (2, 3, 3)),
    (polar_factor, "spread", SQUARE), (polar_factor, "spread", TALL), (polar_factor, "spread", (2, 2, 3)),
    (best_approximation, "spread", SQUARE), (best_approximation, "spread", TALL), (best_approximation, "spread", WIDE),
    (null_spaces, "spread", TALL), (null_spaces, "spread", WIDE), (null_spaces, "spread", (2, 1, 3)),
    (column_space, "regular", TALL), (column_space, "regular", WIDE), (column_space, "regular", (2, 3, 3)),
    (complement, "regular", TALL), (complement, "regular", (2, 4, 1)), (complement, "regular", (3, 2)),
]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("loss", "kind", "shape"), INVARIANT)
def test_a_loss_that_does_not_depend_on_the_gauge_has_its_derivatives(loss, kind, shape, dtype, backend):
    x, m = draw(kind, shape, dtype), agrad.asarray(numbers(shape, dtype, 5))
    project = hermitian if kind in ("hermitian", "definite") else lambda along: along
    check_derivatives(lambda x: loss(x, m), x, project)


def test_eigenvalues_of_real_matrices_may_be_complex(backend):
    x = np.array([[1.0, 2.0, 0.3], [-1.5, 0.5, 0.0], [0.2, 0.1, -1.0]])
    m = agrad.asarray(numbers((3, 3), "float64"))
    check_derivatives(lambda x: exponential(x, m), x)
    check_derivatives(lambda x: overlaps(x, m), x)
    assert L.eig(agrad.asarray(np.eye(2))).eigenvectors.dtype == agrad.complex128
    assert L.eigvals(agrad.asarray(np.eye(2, dtype="float32"))).dtype == agrad.complex64


# ------------------------------------------------------------------------- losses that do depend on it

PHASES = [
    (lambda x: agrad.sum(agrad.real(L.eigh(x).eigenvectors)), "hermitian", SQUARE),
    (lambda x: agrad.sum(agrad.real(L.eig(x).eigenvectors)), "spread", SQUARE),
    (lambda x: agrad.sum(agrad.real(L.svd(x, full_matrices=False).U)), "spread", SQUARE),
    (lambda x: agrad.sum(agrad.imag(L.svd(x, full_matrices=False).Vh)), "spread", TALL),
]


@pytest.mark.parametrize(("loss", "kind", "shape"), PHASES)
def test_the_gradient_of_a_loss_that_depends_on_a_phase_is_nan(loss, kind, shape, backend):
    (found,), _ = gradient(loss, draw(kind, shape, "complex128"))
    assert np.all(np.isnan(array(found)))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    ("loss", "shape"),
    [
        (lambda x: agrad.sum(agrad.real(L.svd(x).U[..., 1:]) ** 3), (4, 1)),
        (lambda x: agrad.sum(agrad.real(L.svd(x).Vh[..., 1:, :]) ** 3), (1, 4)),
        (lambda x: agrad.sum(agrad.real(L.qr(x, mode="complete").Q[..., 2:]) ** 3), (5, 2)),
    ],
)
def test_the_gradient_of_a_loss_that_depends_on_the_basis_of_further_columns_is_nan(loss, shape, dtype, backend):
    """Torch gives numbers for svd, which depend on the library, and refuses qr."""
    (found,), _ = gradient(loss, draw("spread", shape, dtype))
    assert np.all(np.isnan(array(found)))


def test_only_the_matrices_that_are_concerned_become_nan(backend):
    x = np.stack([np.diag([1.0, 1.0, 3.0]), draw("hermitian", SQUARE, "float64")])
    (found,), _ = gradient(lambda x: agrad.sum(L.eigh(x).eigenvectors ** 3), x)
    assert np.all(np.isnan(array(found)[0]))
    assert np.all(np.isfinite(array(found)[1]))


# ------------------------------------------------------------------------- equal eigenvalues, equal singular values


EQUAL = ([1.0, 1.0, 1.0], [2.0, 2.0, 5.0], [0.0, 0.0, 3.0], [0.0, 0.0, 0.0])


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("values", EQUAL)
@pytest.mark.parametrize("made", [lambda values, dtype: np.diag(values).astype(dtype), turned])
def test_equal_eigenvalues_have_the_right_gradient(made, values, dtype, backend):
    """Of a symmetric function; sum(w**3) = tr(x**3)."""
    x = made(values, dtype)
    for f in (L.eigvalsh, lambda x: L.eigh(x).eigenvalues):
        (found,), _ = gradient(lambda x, f=f: agrad.sum(f(x) ** 3), x)
        assert np.allclose(array(found), 3 * x @ x, atol=1e-12)
    (found,), _ = gradient(lambda x: agrad.sum(L.svdvals(x) ** 3), x)
    assert np.allclose(array(found), 3 * x @ x, atol=1e-12)      # eigenvalues are not negative here
    (found,), _ = gradient(lambda x: agrad.real(agrad.sum(L.eigvals(x) ** 3)), x)
    assert np.allclose(array(found), 3 * x @ x, atol=1e-12)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("values", EQUAL)
@pytest.mark.parametrize("made", [lambda values, dtype: np.diag(values).astype(dtype), turned])
def test_vectors_of_equal_values_have_the_gradient_nan(made, values, dtype, backend):
    """As in PyTorch; there, equal but for rounding gives arbitrary numbers."""
    x, m = made(values, dtype), agrad.asarray(numbers((3, 3), dtype))

    def both(v, vh):
        projectors = v[..., :2] @ vh[..., :2, :] + 2 * v[..., 2:] @ vh[..., 2:, :]
        return agrad.sum(agrad.real(m * projectors))

    for loss in (
        lambda x: both(L.eigh(x).eigenvectors, H(L.eigh(x).eigenvectors)),
        lambda x: both(L.eig(x).eigenvectors, H(L.eig(x).eigenvectors)),
        lambda x: both(L.svd(x).U, L.svd(x).Vh),
    ):
        (found,), _ = gradient(loss, x)
        assert np.all(np.isnan(array(found)))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("values", [[1.0, 1.0, 4.0], [0.0, 0.0, 2.0], [1.0, 1.0 + 1e-5, 4.0]])
def test_a_vector_is_not_disturbed_by_others_whose_values_are_equal(values, dtype, backend):
    """The projector on the last eigenvector is smooth: the others are not used."""
    x, m = turned(values, dtype), hermitian(numbers((3, 3), dtype))
    w, v = np.linalg.eigh(x)
    last = v[:, 2:]
    rest = v[:, :2] / (w[2] - w[:2]) @ adjoint(v[:, :2])      # d(v v^H) = rest dx v v^H + v v^H dx rest
    expected = rest @ m @ last @ adjoint(last) + last @ adjoint(last) @ m @ rest

    def by_eigh(x):
        v = L.eigh(x).eigenvectors[..., 2:]
        return agrad.sum(agrad.real(agrad.asarray(np.conj(m)) * (v @ H(v))))

    def by_svd(x):
        u, _, vh = L.svd(x)
        return agrad.sum(agrad.real(agrad.asarray(np.conj(m)) * (u[..., :1] @ vh[..., :1, :])))

    (found,), _ = gradient(by_eigh, x)
    assert np.allclose(array(found), expected, atol=1e-11)
    (found,), _ = gradient(by_svd, x)
    assert np.allclose(hermitian(array(found)), expected, atol=1e-11)


def test_a_function_of_a_matrix_is_never_wrong_where_its_weights_vanish(backend):
    """log(1) = 0: no cotangent reaches the eigenvectors of the identity, and yet they matter. Zero would be wrong."""
    def logarithm(x):
        w, v = L.eigh(x)
        return agrad.sum((v * agrad.log(w)[..., None, :]) @ H(v))

    (found,), _ = gradient(logarithm, np.eye(3))
    assert np.all(np.isnan(array(found)))
    near = np.eye(3) + 1e-3 * np.diag([1.0, 2.0, 3.0])
    (found,), _ = gradient(logarithm, near)
    assert np.allclose(array(found), np.ones((3, 3)), atol=5e-3)

    def distance(x):
        return agrad.sum((L.eigvalsh(x) - 1) ** 2)

    (first,), (leaf,) = gradient(distance, np.eye(2), create_graph=True)
    (second,) = agrad.autograd.grad(agrad.sum(first), leaf)
    assert np.all(np.isnan(array(second)))     # it is 2 everywhere, which vectors of equal eigenvalues cannot tell


def test_a_small_gap_is_no_equality(backend):
    x = turned([1.0, 1.0 + 1e-9, 3.0], "float64")
    (found,), _ = gradient(lambda x: agrad.sum(L.eigh(x).eigenvectors[:, 0] ** 3), x)
    assert np.all(np.isfinite(array(found)))
    assert np.max(np.abs(array(found))) > 1e6


def test_a_defective_matrix_gives_no_small_numbers(backend):
    """Its eigenvalues have no derivative: the gradient is without bound, nan, or refused by the library."""
    try:
        (found,), _ = gradient(lambda x: agrad.real(L.eigvals(x)[0]), np.array([[1.0, 1.0], [0.0, 1.0]]))
    except (ArithmeticError, ValueError, RuntimeError):
        return
    assert not np.max(np.abs(array(found))) < 1e10


@pytest.mark.parametrize("dtype", DTYPES)
def test_principal_components_of_few_samples_are_not_disturbed_by_what_has_no_variance(dtype, backend):
    """Five samples of eight numbers, centred: three eigenvalues and one singular value are 0 but for rounding."""
    x, m = numbers((5, 8), dtype), agrad.asarray(hermitian(numbers((8, 8), dtype, 2)))

    def by_eigh(x):
        x = x - agrad.mean(x, axis=0)
        w, v = L.eigh(H(x) @ x)
        first = v[:, -2:]
        return agrad.sum(agrad.real(m * (first @ H(first)))) + 3 * w[-1] + agrad.mean(w[:-2])

    def by_svd(x):
        _, s, vh = L.svd(x - agrad.mean(x, axis=0), full_matrices=False)
        return agrad.sum(agrad.real(m * (H(vh[:2]) @ vh[:2]))) + 3 * s[0] ** 2 + agrad.mean(s[2:] ** 2)

    check_derivatives(by_eigh, x, second=False)
    check_derivatives(by_svd, x, second=False)
