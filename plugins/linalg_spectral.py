"""Derivatives of the decompositions that are determined only up to a gauge: eigh, eig, svd, qr. Must not know any array
library.

Eigenvectors and singular vectors have free phases (signs, if real); of equal eigenvalues or singular values any basis
of the common space will do; and so for the further columns of complete and full decompositions. A loss has a derivative
only if it does not depend on such a choice. Where it does, the gradient is nan. For equal values it is nan as soon as
their vectors are used at all: a cotangent cannot tell a loss that never depends on the basis from one whose weights
happen to be equal there, and these have different derivatives.

Formulas: Giles, "Collected matrix derivative results for forward and reverse mode" (2008); Townsend, "Differentiating
the singular value decomposition" (2016); for eig, Boeddeker et al., arXiv:1701.00392; the complex cases follow from
Re tr(g^H dx) in the same way."""

from math import nan

from agrad.plugins.matrices import (
    adjoint,
    column,
    embed,
    inverse_gaps,
    is_complex,
    is_felt,
    is_unused,
    on_diagonal,
    row,
    skew,
    unless,
)


def imaginary(d, xp):
    """i Im(d)"""
    return d - xp.real(d)


# ---------------------------------------------------------------------------------------------------------------- eigh
# With P = V^H dx V:  dw = diag(P),  V^H dV = P / (w[j] - w[i]).


def eigenvalues_back(g, v, xp):
    """The cotangent of a Hermitian matrix, from those of its eigenvalues."""
    return (v * row(g, xp)) @ adjoint(v, xp)


def eigh_vjp(g, out, x_like, xp):
    (gw, gv), (w, v), n = g, out, x_like.shape[-1]
    if gv is None or not x_like.size:
        return eigenvalues_back(gw, v, xp) if x_like.size else x_like.zeros()
    turn = adjoint(v, xp) @ gv
    inner = 0.5 * skew(turn, xp) * inverse_gaps(w, n, x_like, xp, is_unused(gv, xp), gw is None)
    if gw is not None:
        inner = inner + embed(gw, n, x_like, xp)
    found = v @ inner @ adjoint(v, xp)
    if is_complex(x_like, xp):
        phases = column(imaginary(xp.linalg.diagonal(turn), xp), xp)
        found = unless(is_felt(phases, gv, x_like, xp), found, xp)
    return found


def eigh_jvp(t, out, x_like, xp):
    w, v = out
    if not x_like.size:
        return xp.zeros_like(w), xp.zeros_like(v)
    p = turned_into(v, t, xp)
    return xp.real(xp.linalg.diagonal(p)), v @ (p * inverse_gaps(w, x_like.shape[-1], x_like, xp))


def turned_into(v, t, xp):
    """The Hermitian part of a tangent in the basis of the eigenvectors."""
    return adjoint(v, xp) @ (0.5 * (t + adjoint(t, xp))) @ v


def eigvalsh_jvp(t, x, xp):
    return xp.real(xp.linalg.diagonal(turned_into(xp.linalg.eigh(x)[1], t, xp)))


# ----------------------------------------------------------------------------------------------------------------- eig
# With P = V^-1 dx V:  dw = diag(P),  V^-1 dV = P / (w[j] - w[i]), and a diagonal that keeps the columns' lengths.


def eig_back(inner, v, xp):
    return xp.linalg.solve(adjoint(v, xp), inner @ adjoint(v, xp))


def eigvals_back(g, v, n, x_like, xp):
    return eig_back(embed(g, n, x_like, xp), v, xp)


def eig_vjp(g, out, x_like, xp):
    (gw, gv), (w, v), n = g, out, x_like.shape[-1]
    if gv is None or not x_like.size:
        return eigvals_back(gw, v, n, x_like, xp) if x_like.size else x_like.zeros()
    vh = adjoint(v, xp)
    turn = vh @ gv
    lengths = xp.linalg.diagonal(turn)
    inverse = xp.conj(inverse_gaps(w, n, x_like, xp, is_unused(gv, xp), gw is None))
    inner = (turn - (vh @ v) * row(xp.real(lengths), xp)) * inverse
    if gw is not None:
        inner = inner + embed(gw, n, x_like, xp)
    phases = column(imaginary(lengths, xp), xp)
    return unless(is_felt(phases, gv, x_like, xp), eig_back(inner, v, xp), xp)


def eig_jvp(t, out, x_like, xp):
    (w, v), n = out, x_like.shape[-1]
    if not x_like.size:
        return xp.zeros_like(w), xp.zeros_like(v)
    p = xp.linalg.solve(v, xp.astype(t, v.dtype) @ v)
    turn = p * inverse_gaps(w, n, x_like, xp)
    lengths = xp.sum((adjoint(v, xp) @ v) * xp.matrix_transpose(turn), axis=-1)
    return xp.linalg.diagonal(p), v @ (turn - embed(lengths, n, x_like, xp))


def eigvals_jvp(t, x, xp):
    v = xp.linalg.eig(x)[1]
    return xp.linalg.diagonal(xp.linalg.solve(v, xp.astype(t, v.dtype) @ v))


# ----------------------------------------------------------------------------------------------------------------- svd
# With P = U^H dx V:  U^H dU and V^H dV follow from  P = (U^H dU) S + dS - S (V^H dV). For Hermitian and antihermitian
# parts of P this is a division by differences and by sums of singular values.


def singular_values_back(g, u, vh, xp):
    """The cotangent of a matrix, from those of its singular values."""
    return (u * row(g, xp)) @ vh


def of_first_columns(u, gu, k, n, like, xp):
    """The first k of n columns; a cotangent for these alone; whether the loss depends on the basis that the others are.

    The others, N, are only known to be orthogonal to the first ones, U: U^H dN = -dU^H N.
    """
    if n == k or gu is None:
        return u[..., :k], gu, None
    u, others, gu, g_others = u[..., :k], u[..., k:], gu[..., :k], gu[..., k:]
    basis = skew(adjoint(others, xp) @ g_others, xp)
    return u, gu - others @ (adjoint(g_others, xp) @ u), is_felt(basis, g_others, like, xp)


def svd_vjp(g, out, full_matrices, x_like, xp):
    (gu, gs, gvh), (u, s, vh), (rows, columns) = g, out, x_like.shape[-2:]
    if not x_like.size:
        return x_like.zeros()
    k = min(rows, columns)
    v, gv = adjoint(vh, xp), None if gvh is None else adjoint(gvh, xp)
    u, gu, felt_u = of_first_columns(u, gu, k, rows if full_matrices else k, x_like, xp)
    v, gv, felt_v = of_first_columns(v, gv, k, columns if full_matrices else k, x_like, xp)
    if gu is None and gv is None:
        return singular_values_back(gs, u, adjoint(v, xp), xp)
    found = svd_back(u, s, v, gu, gs, gv, k, x_like, xp)
    for felt in (felt_u, felt_v):
        found = found if felt is None else unless(felt, found, xp)
    return found


def svd_back(u, s, v, gu, gs, gv, k, x_like, xp):
    """From cotangents of the first k columns of U and V; one of the two may be None."""
    turn_u, turn_v = (None if g is None else adjoint(b, xp) @ g for g, b in ((gu, u), (gv, v)))
    a, b = (0.0 if turn is None else skew(turn, xp) for turn in (turn_u, turn_v))
    used = xp.concat([g for g in (gu, gv) if g is not None], axis=-2)
    unused = is_unused(used, xp)
    lone = inverse_values(s, unused, gs is None, xp)
    gaps, sums = inverse_gaps(s, k, x_like, xp, unused, gs is None), inverse_sums(s, k, lone, x_like, xp)
    inner = 0.5 * ((a + b) * gaps + (a - b) * sums)
    found = u @ (inner if gs is None else inner + embed(gs, k, x_like, xp)) @ adjoint(v, xp)
    if gu is not None and x_like.shape[-2] > k:
        found = found + (gu - u @ turn_u) * row(lone, xp) @ adjoint(v, xp)
    if gv is not None and x_like.shape[-1] > k:
        found = found + u @ adjoint((gv - v @ turn_v) * row(lone, xp), xp)
    if is_complex(x_like, xp):
        phases = column(imaginary(xp.linalg.diagonal(a + b), xp), xp)
        found = unless(is_felt(phases, used, x_like, xp), found, xp)
    return found


def inverse_values(s, unused, alone, xp):
    """1 / s; where that is 0 it is nan, or 0 if the loss uses neither the vectors nor any singular value."""
    zero = s == 0
    inverse = xp.where(zero, nan, 1 / xp.where(zero, 1.0, s))
    return xp.where(zero & unused, 0.0, inverse) if alone else inverse


def inverse_sums(s, k, lone, like, xp):
    """1 / (s[i] + s[j]); two zeros are equal values, of which `inverse_gaps` speaks. Real columns have no phase."""
    sums = row(s, xp) + column(s, xp)
    inverse = xp.where(sums == 0, 0.0, 1 / xp.where(sums == 0, 1.0, sums))
    phases = 0.5 * column(lone, xp) if is_complex(like, xp) else 0.0
    return xp.where(on_diagonal(like, xp, shape=(k, k)), phases, inverse)


def svd_jvp(t, out, full_matrices, x_like, xp):
    (u, s, vh), (rows, columns) = out, x_like.shape[-2:]
    if not x_like.size:
        return tuple(xp.zeros_like(part) for part in out)
    k, v = min(rows, columns), adjoint(vh, xp)
    (u, others_u), (v, others_v) = (parted(x, k, full_matrices) for x in (u, v))
    p = adjoint(u, xp) @ t @ v
    lone = inverse_values(s, None, False, xp)
    both = (p + adjoint(p, xp)) * inverse_gaps(s, k, x_like, xp)
    difference = skew(p, xp) * inverse_sums(s, k, lone, x_like, xp)
    tu, tv = u @ (0.5 * (both + difference)), v @ (0.5 * (both - difference))
    if rows > k:
        tu = tu + (t @ v - u @ p) * row(lone, xp)
    if columns > k:
        tv = tv + (adjoint(t, xp) @ u - v @ adjoint(p, xp)) * row(lone, xp)
    tu, tv = with_others(tu, u, others_u, xp), with_others(tv, v, others_v, xp)
    return tu, xp.real(xp.linalg.diagonal(p)), adjoint(tv, xp)


def parted(x, k, full):
    """The first k columns, and the others if a full matrix has some."""
    return x[..., :k], x[..., k:] if full and x.shape[-1] > k else None


def with_others(tangent, u, others, xp):
    """The tangent of the first columns, U, with that of the others behind it: dN = -U dU^H N."""
    return tangent if others is None else xp.concat([tangent, -u @ (adjoint(tangent, xp) @ others)], axis=-1)


def svdvals_jvp(t, x, xp):
    u, s, vh = xp.linalg.svd(x, full_matrices=False)
    return xp.where(s == 0, 0.0, xp.real(xp.linalg.diagonal(adjoint(u, xp) @ t @ adjoint(vh, xp))))


# ------------------------------------------------------------------------------------------------------------------ qr
# The phases are those that make the diagonal of R real, as in LAPACK: dR has a real diagonal too.


def qr_vjp(g, out, mode, x_like, xp):
    (gq, gr), (q, r), (rows, columns) = g, out, x_like.shape[-2:]
    if not x_like.size:
        return x_like.zeros()
    k = min(rows, columns)
    q, gq, felt = of_first_columns(q, gq, k, rows if mode == "complete" else k, x_like, xp)
    r, rest = r[..., :k, :k], r[..., :k, k:]
    gr, gr_rest = (None, None) if gr is None else (gr[..., :k, :k], gr[..., :k, k:])
    if rows < columns and gr is not None:      # R = [R1, Q^H x2]
        from_rest = (q @ rest) @ adjoint(gr_rest, xp)
        gq = from_rest if gq is None else gq + from_rest
    found = qr_back(q, r, gq, gr, xp)
    if rows < columns:
        zeros = x_like.zeros()[..., k:]
        found = xp.concat([found, zeros if gr is None else q @ gr_rest], axis=-1)
    return found if felt is None else unless(felt, found, xp)


def qr_back(q, r, gq, gr, xp):
    """Of a matrix with no more columns than rows; one of the two cotangents may be None."""
    m = 0.0 if gr is None else r @ adjoint(gr, xp)
    m = m if gq is None else m - adjoint(gq, xp) @ q
    below = xp.tril(m, k=-1)
    inner = q @ (below + adjoint(below, xp) + xp.real(xp.tril(xp.triu(m))))
    found = inner if gq is None else gq + inner
    return adjoint(xp.linalg.solve_triangular(r, adjoint(found, xp), upper=True), xp)


def qr_jvp(t, out, mode, x_like, xp):
    """With dx R^-1 = M and Q^H M = Q^H dQ + dR R^-1: the first is antihermitian, the second triangular."""
    (q, r), (rows, columns) = out, x_like.shape[-2:]
    if not x_like.size:
        return xp.zeros_like(q), xp.zeros_like(r)
    k = min(rows, columns)
    (q, others), zeros = parted(q, k, mode == "complete"), xp.zeros_like(r)[..., k:, :]
    r, rest, t, t_rest = r[..., :k, :k], r[..., :k, k:], t[..., :k], t[..., k:]
    m = adjoint(xp.linalg.solve_triangular(adjoint(r, xp), adjoint(t, xp)), xp)
    whole = adjoint(q, xp) @ m
    below = xp.tril(whole, k=-1)
    turn = below - adjoint(below, xp) + imaginary(xp.tril(xp.triu(whole)), xp)
    tq, tr = m - q @ (whole - turn), (whole - turn) @ r
    if rows < columns:      # R = [R1, Q^H x2]
        tr = xp.concat([tr, adjoint(q, xp) @ t_rest - turn @ rest], axis=-1)
    if others is not None:
        tq, tr = with_others(tq, q, others, xp), xp.concat([tr, zeros], axis=-2)
    return tq, tr


# --------------------------------------------------------------------------------------------------- what is determined
# For the checker: vectors only through their projectors, and eigenvalues in no order.


def weighted(u, v, weights, xp):
    """The sum of weight times outer product, over columns."""
    return (u * row(weights, xp)) @ adjoint(v, xp)


def numbers_like(values, xp):
    """1, 2, 3, ... for each value."""
    return xp.cumulative_sum(xp.ones_like(values), axis=-1)


def invariants_of_eigh(out, xp):
    w, v = out
    return w, weighted(v, v, numbers_like(w, xp), xp)


def invariants_of_eigvals(w, xp):
    n = w.shape[-1]
    return xp.stack([xp.sum(w**k, axis=-1) for k in range(1, n + 1)], axis=-1) if n else w


def invariants_of_eig(out, xp):
    w, v = out
    return invariants_of_eigvals(w, xp), v @ adjoint(v, xp), weighted(v, v, w, xp)


def invariants_of_svd(out, xp):
    u, s, vh = out
    k, v, weights = s.shape[-1], adjoint(vh, xp), numbers_like(s, xp)
    others = [x[..., k:] for x in (u, v) if x.shape[-1] > k]
    outer = [x @ adjoint(x, xp) for x in others]
    u, v = u[..., :k], v[..., :k]
    return s, weighted(u, v, weights, xp), weighted(u, u, weights, xp), weighted(v, v, weights, xp), *outer


def invariants_of_qr(out, xp):
    q, r = out
    k = min(r.shape[-2:])
    others = [q[..., k:]] if q.shape[-1] > k else []
    return q[..., :k], r, *(x @ adjoint(x, xp) for x in others)
