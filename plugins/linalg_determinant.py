"""Cofactors, the derivative of the determinant: exact for matrices of any rank, and differentiable again.
Must not know any array library.

Up to three rows the cofactors are written out. Beyond, with any constant P and Q,  M = P A Q  has
det(A) = det(M) / (det(P) det(Q)).  P and Q come from a singular value decomposition of A, so that M is diagonal but for
rounding, largest elements first. Cut  M = [[B, C], [D, E]]  with E the last three rows and columns. Whatever makes A
singular is in  S = E - D B^-1 C,  whose determinant is a polynomial that is written out:
det(M) = det(B) det(S)  and  adj(M) = det(B) [[det(S) B^-1 + F adj(S) H, -F adj(S)], [-adj(S) H, adj(S)]]
with  F = B^-1 C,  H = D B^-1.  Where B is singular too, A lacks four ranks or more, and det(A) vanishes
together with its first three derivatives."""

from agrad.plugins.matrices import adjoint, number


def cofactors(x, like, xp):
    """The derivatives of det(x), element by element: the transpose of the adjugate."""
    n = like.shape[-1]
    if n > 3:
        return xp.matrix_transpose(adjugate(x, like, xp))
    return SMALL[n](x, like, xp)


# -------------------------------------------------------------------------------------------------------- written out


def of_two(x, like, xp):
    a, b, c, d = (x[..., i, j] for i in (0, 1) for j in (0, 1))
    return xp.stack([xp.stack([d, -c], axis=-1), xp.stack([-b, a], axis=-1)], axis=-2)


def of_three(x, like, xp):
    a, b, c = (x[..., i, :] for i in range(3))
    return xp.stack([xp.linalg.cross(b, c), xp.linalg.cross(c, a), xp.linalg.cross(a, b)], axis=-2)


SMALL = (
    lambda x, like, xp: x,      # without elements
    lambda x, like, xp: xp.ones_like(x),
    of_two,
    of_three,
)


# ------------------------------------------------------------------------------------------------------- by blocks


def adjugate(x, like, xp):
    p, q, phase, lost = frame(xp.linalg._constant(x), like, xp)
    m = p @ x @ q
    b, c, d, e = m[..., :-3, :-3], m[..., :-3, -3:], m[..., -3:, :-3], m[..., -3:, -3:]
    b = xp.where(lost, unit(like, like.shape[-1] - 3, xp), b)
    inverse = xp.linalg.inv(b)
    f, h = inverse @ c, d @ inverse
    s = e - h @ c
    cofactors_s = of_three(s, like, xp)
    det_s = number(xp.sum(s[..., 0, :] * cofactors_s[..., 0, :], axis=-1), xp)
    adj_s = xp.matrix_transpose(cofactors_s)
    blocks = [
        xp.concat([det_s * inverse + f @ adj_s @ h, -f @ adj_s], axis=-1),
        xp.concat([-adj_s @ h, adj_s], axis=-1),
    ]
    found = number(phase * xp.linalg.det(b), xp) * (q @ xp.concat(blocks, axis=-2) @ p)
    return xp.where(lost, 0.0, found)


def frame(x, like, xp):
    """P and Q with |det| one, 1 / (det(P) det(Q)), and whether B is singular. Rows and columns are brought to scale."""
    rows = scale(x, -1, xp)
    columns = scale(x / rows, -2, xp)
    u, s, vh = xp.linalg.svd(x / rows / columns, full_matrices=False)
    phase = xp.linalg.det(u) * xp.linalg.det(vh)
    p = adjoint(u, xp) * (mean(rows, -2, xp) / xp.matrix_transpose(rows))
    q = mean(columns, -1, xp) / xp.matrix_transpose(columns) * adjoint(vh, xp)
    return p, q, phase, number(s[..., -4] < float(xp.finfo(like.dtype).smallest_normal), xp)


def scale(x, axis, xp):
    """The lengths of rows or columns, 1 where they are 0."""
    size = xp.linalg.vector_norm(x, axis=axis, keepdims=True)
    return xp.where(size == 0, 1.0, size)


def mean(sizes, axis, xp):
    """Their geometric mean."""
    return xp.exp(xp.mean(xp.log(sizes), axis=axis, keepdims=True))


def unit(like, n, xp):
    return xp.eye(n, dtype=like.dtype, device=like.device)
