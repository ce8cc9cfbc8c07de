"""Rules of the chapter "linalg". Matrices are the last two axes, all others a batch; Y^H is the conjugate transpose.
Must not know any array library.

A matrix that an op takes for Hermitian gets a Hermitian gradient, as in PyTorch: that of moving both triangles. `node`
stands only where PyTorch's name is not the op's own name with Backward0 behind it."""

from functools import partial
from math import inf

from agrad.plugins import batches
from agrad.plugins.linalg_determinant import cofactors
from agrad.plugins.linalg_norms import matrix_norm_jvp, matrix_norm_vjp, vector_norm_jvp, vector_norm_vjp
from agrad.plugins.linalg_spectral import (
    eig_jvp,
    eig_vjp,
    eigenvalues_back,
    eigh_jvp,
    eigh_vjp,
    eigvals_back,
    eigvals_jvp,
    eigvalsh_jvp,
    invariants_of_eig,
    invariants_of_eigh,
    invariants_of_eigvals,
    invariants_of_qr,
    invariants_of_svd,
    qr_jvp,
    qr_vjp,
    singular_values_back,
    svd_jvp,
    svd_vjp,
    svdvals_jvp,
)
from agrad.plugins.matrices import adjoint, column, is_complex, number, on_diagonal, precision, with_values
from agrad.rules import RuleSet, case, definite, hermitian, point, regular, scatter, spread, values

rules = RuleSet("linalg")

INVERTIBLE = [
    case(regular((1, 1))), case(regular((3, 3))), case(regular((2, 4, 4))), case((0, 0)), case((2, 0, 0)),
    case((0, 2, 2)),
]

# What formulas take for constant although it follows from an operand: nothing is tracked through it.
rules.op("linalg._constant(x: array, /)").kernel("*", lambda x: x)
rules.not_differentiable("linalg._constant", samples=[case((3,))], batch="elementwise")


# ------------------------------------------------------------------------------------------------ diagonals and traces


def diagonal_transpose(g, offset, x_like, xp):
    rows, columns = x_like.shape[-2:]
    right, down = max(offset, 0), max(-offset, 0)
    places = xp.arange(max(0, min(rows - down, columns - right)), device=x_like.device)
    return scatter(x_like, (..., places + down, places + right), g)


OFFSETS = [
    case((3, 3)), case((2, 3)), case((3, 2), offset=1), case((3, 3), offset=-1), case((2, 2, 4), offset=2),
    case((2, 3), offset=5), case((3, 2), offset=-3), case((0, 2)), case((2, 0, 0)), case((0, 3, 3), offset=1),
]

rules.linear("linalg.diagonal", x=diagonal_transpose, view=True, samples=OFFSETS)
rules.linear(
    "linalg.trace", x=lambda g, offset, x_like, xp: xp.where(on_diagonal(x_like, xp, offset), number(g, xp), 0.0),
    samples=[*OFFSETS, case((2, 2), dtype="complex128")],
)


# ------------------------------------------------------------------------------------------------------------ products

rules.bilinear(
    "linalg.outer",
    x1=lambda g, x2, xp: xp.matmul(g, xp.conj(x2)),
    x2=lambda g, x1, xp: xp.matmul(xp.conj(x1), g), batch=batches.outer,
    node="MulBackward0", samples=[case((3,), (2,)), case((1,), (3,)), case((0,), (2,)), case((2,), (0,))],
)


def cross_x1(g, x2, axis, x1_like, x2_like, xp):
    return xp.linalg.cross(xp.conj(x2), g, axis=from_the_end(axis, x1_like, x2_like))


def cross_x2(g, x1, axis, x1_like, x2_like, xp):
    return xp.linalg.cross(g, xp.conj(x1), axis=from_the_end(axis, x1_like, x2_like))


def from_the_end(axis, x1_like, x2_like):
    """The axis by a negative number, which is the same for operands of different ranks."""
    if axis >= 0 and x1_like.ndim != x2_like.ndim:
        raise ValueError(
            f"linalg.cross has no derivative for axis={axis} and operands with {x1_like.ndim} and {x2_like.ndim} axes: "
            "a positive axis means a different one in each; count it from the end"
        )
    return axis if axis < 0 else axis - x1_like.ndim


rules.bilinear(
    "linalg.cross", x1=cross_x1, x2=cross_x2, batch=batches.cross,
    node="LinalgCrossBackward0",
    samples=[
        case((3,), (3,)), case((2, 3), (2, 3)), case((2, 3), (1, 3)), case((4, 1, 3), (2, 3)),
        case((3, 2), (3, 2), axis=0), case((3, 2), (3, 1), axis=-2), case((0, 3), (0, 3)),
    ],
)


def power_back(g, x, n, xp):
    """The sum of x^j g x^k over j + k = n - 1, for n > 0: doubling n and adding one, as its binary digits say."""
    total, power = g, x
    for digit in bin(n)[3:]:
        total, power = total @ power + power @ total, power @ power
        if digit == "1":
            total, power = total @ x + power @ g, power @ x
    return total


def matrix_power_vjp(g, x, n, x_like, xp):
    if n == 0:
        return x_like.zeros()
    if n > 0:
        return power_back(g, adjoint(x, xp), n, xp)
    inverse = adjoint(xp.linalg.inv(x), xp)
    return -inverse @ power_back(g, inverse, -n, xp) @ inverse


def matrix_power_jvp(t, x, n, xp):
    if n == 0:
        return xp.zeros_like(t)
    if n > 0:
        return power_back(t, x, n, xp)
    inverse = xp.linalg.inv(x)
    return power_back(-inverse @ t @ inverse, inverse, -n, xp)


POWERS = {-1: "LinalgInvExBackward0", 0: "torch::autograd::CopyBackwards", 1: "CloneBackward0"}
rules.general(
    "linalg.matrix_power", vjp={"x": matrix_power_vjp}, jvp=matrix_power_jvp,
    node=lambda args, scalars: POWERS.get(args[1], "MmBackward0"),
    samples=[
        *(case(regular((2, 2)), n) for n in (-3, -2, -1, 0, 1, 2, 3, 6)), case(regular((2, 3, 3)), 5),
        case((0, 0), 3), case((0, 2, 2), 2), case((0, 2, 2), 0),
    ],
)


# -------------------------------------------------------------------------------------------- inverses and equations


def inv_vjp(g, out, xp):
    inverse = adjoint(out, xp)
    return -inverse @ g @ inverse


rules.general(
    "linalg.inv", vjp={"x": inv_vjp}, jvp=lambda t, out: -out @ t @ out,
    node="LinalgInvExBackward0", samples=INVERTIBLE,
)


def columns_of(b, b_like, xp):
    """The right side of equations as a matrix: it is one vector if, and only if, it has one axis."""
    return column(b, xp) if b_like.ndim == 1 else b


def as_given(b, b_like, xp):
    return xp.squeeze(b, axis=-1) if b_like.ndim == 1 else b


def solve_vjp(g, x1, out, x2_like, needs, xp):
    back = xp.linalg.solve(adjoint(x1, xp), columns_of(g, x2_like, xp))
    of_x1 = -back @ adjoint(columns_of(out, x2_like, xp), xp) if needs[0] else None
    return of_x1, as_given(back, x2_like, xp)


def solve_jvp(t, x1, out, x2_like, xp):
    right = 0.0 if t[1] is None else columns_of(t[1], x2_like, xp)
    right = right if t[0] is None else right - t[0] @ columns_of(out, x2_like, xp)
    return as_given(xp.linalg.solve(x1, right), x2_like, xp)


EQUATIONS = [((3, 3), (3,)), ((3, 3), (3, 2)), ((2, 3, 3), (3,)), ((2, 3, 3), (2, 3, 1)), ((3, 3), (2, 3, 2)),
             ((2, 1, 2, 2), (3, 2, 2)), ((0, 0), (0,)), ((2, 2), (2, 0)), ((0, 2, 2), (2,))]

rules.general(
    "linalg.solve", vjp=solve_vjp, jvp=solve_jvp,
    batch=lambda x1, x2, batched, size, xp: batches.equations(xp.linalg.solve, x1, x2, batched, size, xp),
    node="LinalgSolveExBackward0", samples=[case(regular(a), b) for a, b in EQUATIONS],
)


def triangle(x, upper, unit_diagonal, xp):
    """The part of a matrix that is read."""
    if upper:
        return xp.triu(x, k=int(unit_diagonal))
    return xp.tril(x, k=-int(unit_diagonal))


def solve_triangular(x1, x2, /, *, upper=False, unit_diagonal=False, xp):
    """Solve equations with a triangular matrix, of which only that triangle is read.

    Parameters
    ----------
    x1 : array
        Matrices, (..., n, n).
    x2 : array
        Right sides, (..., n, k); one vector if it has one axis.
    upper : bool
        Whether the upper triangle is meant, else the lower one.
    unit_diagonal : bool
        The diagonal counts as ones, whatever stands there.
    """
    read = triangle(x1, upper, unit_diagonal, xp)
    if unit_diagonal:
        read = read + xp.eye(x1.shape[-1], dtype=x1.dtype, device=x1.device)
    return xp.linalg.solve(read, x2)


def solve_triangular_vjp(g, x1, out, upper, unit_diagonal, x2_like, needs, xp):
    back = xp.linalg.solve_triangular(
        adjoint(x1, xp), columns_of(g, x2_like, xp), upper=not upper, unit_diagonal=unit_diagonal
    )
    of_x1 = None
    if needs[0]:
        of_x1 = triangle(-back @ adjoint(columns_of(out, x2_like, xp), xp), upper, unit_diagonal, xp)
    return of_x1, as_given(back, x2_like, xp)


def solve_triangular_jvp(t, x1, out, upper, unit_diagonal, x2_like, xp):
    right = 0.0 if t[1] is None else columns_of(t[1], x2_like, xp)
    if t[0] is not None:
        right = right - triangle(t[0], upper, unit_diagonal, xp) @ columns_of(out, x2_like, xp)
    found = xp.linalg.solve_triangular(x1, right, upper=upper, unit_diagonal=unit_diagonal)
    return as_given(found, x2_like, xp)


def solve_triangular_batch(x1, x2, upper, unit_diagonal, batched, size, xp):
    solve = partial(xp.linalg.solve_triangular, upper=upper, unit_diagonal=unit_diagonal)
    return batches.equations(solve, x1, x2, batched, size, xp)


rules.op("linalg.solve_triangular").kernel("*", solve_triangular)
rules.general(
    "linalg.solve_triangular", vjp=solve_triangular_vjp,
    jvp=solve_triangular_jvp,
    batch=solve_triangular_batch, node="LinalgSolveTriangularBackward0", domain={"x1": (1.0, 2.0), "x2": (-2.0, 2.0)},
    samples=[
        *(case(a, b) for a, b in EQUATIONS), case((3, 3), (3,), upper=True), case((2, 3, 3), (3, 2), upper=True),
        case((3, 3), (3, 2), unit_diagonal=True), case((3, 3), (3,), upper=True, unit_diagonal=True),
    ],
)


# ---------------------------------------------------------------------------------------- pseudo-inverse, least squares
# With  R = 1 - x P  and  N = 1 - P x,  the projectors on what x does not reach and on what it loses, while the rank
# stays:  dP = -P dx P + P P^H dx^H R + N dx^H P^H P.  (`@` takes no operands of different dtypes in all libraries.)


def pinv_vjp(g, x, out, xp):
    h, gh = adjoint(out, xp), adjoint(g, xp)
    unreached = gh - x @ (out @ gh)
    lost = gh - (gh @ out) @ x
    return -h @ g @ h + unreached @ out @ h + h @ out @ lost


def pinv_jvp(t, x, out, xp):
    h, th = adjoint(out, xp), adjoint(t, xp)
    return -out @ t @ out + out @ h @ (th - th @ x @ out) + (th - out @ x @ th) @ h @ out


TALL_AND_WIDE = [(1, 1), (3, 3), (4, 2), (2, 4), (2, 3, 2)]
rules.general(
    "linalg.pinv", vjp={"x": pinv_vjp}, jvp=pinv_jvp,
    node="LinalgPinvBackward0",
    samples=[
        *(case(regular(shape)) for shape in TALL_AND_WIDE), case(regular((3, 2)), rtol=1e-3), case((0, 2)),
        case((2, 0)), case((0, 2, 2)),
    ],
    note="right for changes that keep the rank: Golub and Pereyra, SIAM J. Numer. Anal. 10 (1973) 413. Where it is not "
    "full, x has neighbours of higher rank, and there the pseudo-inverse is without bound",
)


def lstsq(x1, x2, /, *, rtol=None, xp):
    """The solution of least squares: of all x for which x1 x is nearest to x2, the shortest.

    Parameters
    ----------
    x1 : array
        Matrices, (..., m, n).
    x2 : array
        Right sides, (..., m, k); one vector if it has one axis.
    rtol : float, optional
        Singular values count as 0 up to this times the largest one; by default max(m, n) times the precision.
    """
    rows, columns = x1.shape[-2:]
    u, s, vh = xp.linalg.svd(x1, full_matrices=False)
    right = columns_of(x2, x2, xp)
    if rows and columns:
        limit = max(rows, columns) * precision(x1, xp) if rtol is None else rtol
        none = s <= limit * xp.max(s, axis=-1, keepdims=True)
        s = xp.where(none, 0.0, 1 / xp.where(none, 1.0, s))
    return as_given(xp.matmul(adjoint(vh, xp), column(s, xp) * xp.matmul(adjoint(u, xp), right)), x2, xp)


def lstsq_vjp(g, x1, x2, out, rtol, x2_like, needs, xp):
    inverse, g, out = xp.linalg.pinv(x1, rtol=rtol), columns_of(g, x2_like, xp), columns_of(out, x2_like, xp)
    h = adjoint(inverse, xp)
    back, of_x1 = xp.matmul(h, g), None
    if needs[0]:
        residual = columns_of(x2, x2_like, xp) - xp.matmul(x1, out)
        lost = g - xp.matmul(adjoint(x1, xp), back)
        of_x1 = residual @ adjoint(xp.matmul(inverse, back), xp) - back @ adjoint(out, xp)
        of_x1 = of_x1 + xp.matmul(h, out) @ adjoint(lost, xp)
    return of_x1, as_given(back, x2_like, xp)


def lstsq_jvp_x1(t, x1, x2, out, rtol, x2_like, xp):
    inverse, out = xp.linalg.pinv(x1, rtol=rtol), columns_of(out, x2_like, xp)
    h, th = adjoint(inverse, xp), adjoint(t, xp)
    residual, turned = columns_of(x2, x2_like, xp) - x1 @ out, th @ (h @ out)
    return as_given(inverse @ (h @ (th @ residual) - t @ out) + turned - inverse @ (x1 @ turned), x2_like, xp)


def lstsq_jvp_x2(t, x1, rtol, x2_like, xp):
    return as_given(xp.linalg.pinv(x1, rtol=rtol) @ columns_of(t, x2_like, xp), x2_like, xp)


rules.op("linalg.lstsq").kernel("*", lstsq)
rules.general(
    "linalg.lstsq", vjp=lstsq_vjp, jvp={"x1": lstsq_jvp_x1, "x2": lstsq_jvp_x2},
    batch=lambda x1, x2, rtol, batched, size, xp: batches.equations(
        partial(xp.linalg.lstsq, rtol=rtol), x1, x2, batched, size, xp
    ),
    node="LinalgLstsqBackward0",
    samples=[
        case(regular((4, 2)), (4,)), case(regular((2, 4)), (2,)), case(regular((3, 3)), (3, 2)),
        case(regular((2, 4, 2)), (4,)), case(regular((3, 2)), (2, 3, 2), rtol=1e-3), case((0, 2), (0,)),
        case((2, 0), (2, 1)), case((3, 2, 0), (2,)),
    ],
    note="the derivative of pinv(x1) @ x2, right for changes that keep the rank of x1",
)


# -------------------------------------------------------------------------------------------------------- determinants

SINGULAR = [
    values([[1.0, 2.0], [2.0, 4.0]]), values([[0.0, 0.0], [0.0, 0.0]]), values([[1.0, 2.0, 3.0]] * 3),
    values([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0], [7.0, 8.0, 9.0]]), values([[0.0] * 3] * 3),
    values([[2.0, 0.0, 1.0, 0.0], [0.0, 1.0, 0.0, 1.0], [2.0, 1.0, 1.0, 1.0], [1.0, 0.0, 3.0, 1.0]]),
    values([[1.0, 2.0, 0.0, 1.0], [2.0, 4.0, 1.0, 0.0], [3.0, 6.0, 1.0, 1.0], [1.0, 2.0, 1.0, -1.0]]),
    values([[1.0, 2.0, 3.0, 4.0, 5.0]] * 5),
    values([[[3.0, 1.0], [0.0, 2.0]], [[1.0, 1.0], [1.0, 1.0]]]),
]
DETERMINANTS = [*INVERTIBLE, case(regular((2, 2))), case(regular((5, 5))), case(spread((2, 3, 3)))]

rules.general(
    "linalg.det", vjp={"x": lambda g, x, x_like, xp: number(g, xp) * xp.conj(cofactors(x, x_like, xp))},
    jvp=lambda t, x, x_like, xp: xp.sum(cofactors(x, x_like, xp) * t, axis=(-2, -1)),
    node="LinalgDetBackward0", samples=DETERMINANTS + [case(x) for x in SINGULAR],
    special=[
        point(([[1.0, 2.0], [2.0, 4.0]],), ([[4.0, -2.0], [-2.0, 1.0]],)), point(([[0.0]],), ([[1.0]],)),
        point(([[1.0, 0.0, 0.0], [0.0, 0.0, 0.0], [0.0, 0.0, 0.0]],), ([[0.0] * 3] * 3,)),
    ],
    note="cofactors, also of singular matrices: to any order if at most three ranks are missing, else to the third",
)


def slogdet_vjp(g, x, out, x_like, xp):
    """With d = tr(x^-1 dx): d logabsdet = Re(d), d sign = i sign Im(d)."""
    g_sign, g_log = g
    turns = g_sign is not None and is_complex(x_like, xp)
    if g_log is None and not turns:
        return x_like.zeros()
    weight = 0.0 if g_log is None else g_log
    if turns:
        weight = weight - xp.imag(xp.conj(g_sign) * out[0]) * 1j
    return number(weight, xp) * adjoint(inverse_if_regular(x, out[0], x_like, xp), xp)


def slogdet_jvp(t, x, out, x_like, xp):
    sign, _ = out
    relative = xp.sum(xp.matrix_transpose(inverse_if_regular(x, sign, x_like, xp)) * t, axis=(-2, -1))
    turned = (relative - xp.real(relative)) * sign if is_complex(x_like, xp) else xp.zeros_like(sign)
    return turned, xp.real(relative)


def inverse_if_regular(x, sign, like, xp):
    singular = number(sign == 0, xp)
    unit = xp.eye(like.shape[-1], dtype=like.dtype, device=like.device)
    return xp.where(singular, float("nan"), xp.linalg.inv(xp.where(singular, unit, x)))


rules.general(
    "linalg.slogdet", vjp={"x": slogdet_vjp}, jvp=slogdet_jvp,
    node="LinalgSlogdetBackward0", samples=DETERMINANTS,
    note="a singular matrix: logabsdet is -inf and has the gradient nan; the sign of a real determinant has gradient 0",
)


# ------------------------------------------------------------------------------------------------------ decompositions


def half_lower(x, xp):
    """The lower triangle with half the diagonal."""
    return 0.5 * (xp.tril(x) + xp.tril(x, k=-1))


def cholesky_vjp(g, out, upper, xp):
    g, low = (adjoint(g, xp), adjoint(out, xp)) if upper else (g, out)
    half = half_lower(adjoint(low, xp) @ g, xp)
    middle = 0.5 * (half + adjoint(half, xp))
    high = adjoint(low, xp)
    left = xp.linalg.solve_triangular(high, middle, upper=True)
    return adjoint(xp.linalg.solve_triangular(high, adjoint(left, xp), upper=True), xp)


def cholesky_jvp(t, out, upper, xp):
    low = adjoint(out, xp) if upper else out
    left = xp.linalg.solve_triangular(low, 0.5 * (t + adjoint(t, xp)))
    found = low @ half_lower(adjoint(xp.linalg.solve_triangular(low, adjoint(left, xp)), xp), xp)
    return adjoint(found, xp) if upper else found


rules.general(
    "linalg.cholesky", vjp={"x": cholesky_vjp}, jvp=cholesky_jvp,
    node="LinalgCholeskyExBackward0",
    samples=[
        case(definite((1, 1))), case(definite((3, 3))), case(definite((3, 3)), upper=True),
        case(definite((2, 3, 3)), upper=True), case((0, 0)), case((0, 2, 2)), case((2, 0, 0), upper=True),
    ],
    note="Murray, arXiv:1602.07527",
)

HERMITIAN = [case(hermitian((1, 1))), case(hermitian((3, 3))), case(hermitian((2, 4, 4))), case((0, 0)),
             case((0, 2, 2))]

rules.general(
    "linalg.eigh", vjp={"x": eigh_vjp}, jvp=eigh_jvp,
    node="LinalgEighBackward0", samples=HERMITIAN, invariants=invariants_of_eigh,
    note="nan if the loss uses eigenvectors of equal eigenvalues, or their phase; eigenvalues alone are right",
)


def eigvalsh_vjp(g, x, xp):
    w, v = xp.linalg.eigh(x)
    return eigenvalues_back(with_values(g, w), v, xp)


rules.general(
    "linalg.eigvalsh",
    vjp={"x": eigvalsh_vjp},
    jvp=eigvalsh_jvp,
    node="LinalgEighBackward0", samples=HERMITIAN,
    note="right where eigenvalues are equal; its own derivative, that needs eigenvectors, is nan there",
)

# Complex eigenvalues of real matrices come in pairs.
PAIRS = [
    case(values([[1.0, 2.0], [-1.5, 0.5]])),
    case(values([[[0.5, 1.0, 0.2], [-2.0, 0.3, 0.4], [0.1, 0.7, -1.0]], [[0, 1.0, 0], [0, 0, 1.0], [2.0, 0.5, 1.0]]])),
]
DIAGONALISABLE = [case(spread((1, 1))), case(spread((3, 3))), case(spread((2, 3, 3))), *PAIRS, case((0, 0)),
                  case((0, 2, 2))]

rules.general(
    "linalg.eig", vjp={"x": eig_vjp}, jvp=eig_jvp,
    node="LinalgEigBackward0", samples=DIAGONALISABLE, invariants=invariants_of_eig,
    note="nan if the loss uses eigenvectors of equal eigenvalues, or their phase; columns have length one",
)


def eigvals_vjp(g, x, x_like, xp):
    w, v = xp.linalg.eig(x)
    return eigvals_back(with_values(g, w), v, x_like.shape[-1], x_like, xp)


rules.general(
    "linalg.eigvals",
    vjp={"x": eigvals_vjp},
    jvp=eigvals_jvp,
    node="LinalgEigBackward0", samples=DIAGONALISABLE, invariants=lambda out, xp: [invariants_of_eigvals(out[0], xp)],
    note="a defective matrix has no derivative: numbers without bound, or the library's error for a singular matrix",
)

RECTANGLES = [(1, 1), (3, 3), (4, 2), (3, 2), (2, 4), (2, 3, 2), (2, 2, 3)]
SHAPES = [spread((1, 1)), spread((3, 3)), spread((4, 2)), spread((2, 4)), spread((2, 3, 2)), (0, 2), (2, 0), (0, 2, 2)]

rules.general(
    "linalg.svd", vjp={"x": svd_vjp}, jvp=svd_jvp,
    node="LinalgSvdBackward0", invariants=invariants_of_svd,
    samples=[case(shape, full_matrices=full) for full in (False, True) for shape in SHAPES],
    note="nan if singular vectors are used where singular values are equal or, of rectangular or complex matrices, 0; "
    "or if the loss depends on their phase, or on the basis that further columns are. Singular values alone are right",
)


def svdvals_vjp(g, x, xp):
    u, s, vh = xp.linalg.svd(x, full_matrices=False)
    return singular_values_back(xp.where(s == 0, 0.0, with_values(g, s)), u, vh, xp)


rules.general(
    "linalg.svdvals", vjp={"x": svdvals_vjp}, jvp=svdvals_jvp,
    node="LinalgSvdBackward0", samples=[case(shape) for shape in SHAPES],
    special=[point(([[0.0, 0.0], [0.0, 0.0]],), ([[0.0, 0.0], [0.0, 0.0]],))],
    note="right where singular values are equal, 0 where they are 0, as the derivative of abs; its own derivative, "
    "that needs singular vectors, is nan there",
)
rules.general(
    "linalg.qr", vjp={"x": qr_vjp}, jvp=qr_jvp,
    node="LinalgQrBackward0", invariants=invariants_of_qr,
    samples=[
        *(case(regular(shape), mode=mode) for mode in ("reduced", "complete") for shape in RECTANGLES),
        case((0, 2)), case((2, 0), mode="complete"), case((0, 3, 2), mode="complete"),
    ],
    note="the first columns must be independent, as many as there are rows; nan if the loss depends on the basis that "
    "the further columns of a complete Q are",
)
rules.not_differentiable(
    "linalg.matrix_rank",
    samples=[case(regular((3, 3))), case(regular((2, 4, 2))), case(values([[1.0, 2.0], [2.0, 4.0]])), case((0, 2, 2))],
)


# --------------------------------------------------------------------------------------------------------------- norms

# PyTorch composes most of them, and names the node after the last step.
MATRIX_NORMS = {"fro": "LinalgVectorNormBackward0", None: "LinalgVectorNormBackward0", "nuc": "SumBackward1"}
NORMS = ("fro", "nuc", 1, -1, 2, -2, inf, -inf)

rules.reduction(
    "linalg.matrix_norm", x=matrix_norm_vjp, jvp=matrix_norm_jvp,
    node=lambda args, scalars: MATRIX_NORMS.get(args[2]) or ("AmaxBackward0" if args[2] > 0 else "AminBackward0"),
    samples=[
        *(case(spread((3, 3)), ord=o) for o in NORMS), *(case(spread((2, 2, 3)), ord=o, keepdims=True) for o in NORMS),
        case((0, 3, 2)), case((2, 0)), case((0, 2), ord="nuc"), case((0, 2), ord=1), case((0, 2, 2), ord=2),
    ],
    special=[
        *(point(([[0.0, 0.0], [0.0, 0.0]],), ([[0.0, 0.0], [0.0, 0.0]],), ord=o) for o in NORMS),
        point(([[1.0, -1.0], [0.0, 0.0]],), ([[0.5, -0.5], [0.0, 0.0]],), ord=1),
        point(([[1.0, -1.0], [0.0, 2.0]],), ([[0.5, -0.5], [0.0, 0.5]],), ord=-inf),
        point(([[1.0, 0.0], [0.0, 1.0]],), ([[0.5, 0.0], [0.0, 0.5]],), ord=2),
        point(([[3.0, 0.0], [0.0, 0.0]],), ([[1.0, 0.0], [0.0, 0.0]],), ord="nuc"),
    ],
    note="of rows, columns or singular values that tie, each gets an equal share; 0 at 0, as the derivative of abs",
)
ORDERS = (0, 0.5, 1, 1.5, 2, 3, -1, -2.5, inf, -inf)

rules.reduction(
    "linalg.vector_norm", x=vector_norm_vjp, jvp=vector_norm_jvp,
    node="LinalgVectorNormBackward0",
    samples=[
        *(case((4,), ord=o) for o in ORDERS), *(case((2, 3), axis=-1, keepdims=True, ord=o) for o in ORDERS),
        case((2, 3)), case((2, 3), axis=0), case((2, 3, 2), axis=(0, 2)), case((2, 3, 2), axis=(-1, 0), ord=3),
        case((2, 3), keepdims=True), case((2, 3), axis=(), ord=1), case(()), case((), ord=3),
        case((0,)), case((2, 0), axis=-1), case((0, 2), axis=1),
    ],
    special=[
        *(point(([0.0, 0.0],), ([0.0, 0.0],), ord=o) for o in ORDERS),
        *(point(([0.0, -2.0],), ([0.0, -1.0],), ord=o) for o in (0.5, 1, 1.5, 2, 3, inf)),
        *(point(([0.0, -2.0],), ([0.0, 0.0],), ord=o) for o in (0, -1, -2.5, -inf)),
        point(([-2.0, 2.0, 1.0],), ([-0.5, 0.5, 0.0],), ord=inf), point(([-2.0, 2.0],), ([-0.5, 0.5],), ord=-inf),
        point(([0j, 3 + 4j],), ([0j, 0.6 + 0.8j],)),
    ],
    note="0 at 0, elements that tie for an extreme share equally, ord=0 is flat",
)
