"""Derivatives of the norms of vectors and matrices. Must not know any array library.

Norms are not smooth at 0 and where several elements tie for an extreme. As in PyTorch, 0 has the gradient 0, and what
ties gets equal shares."""

from math import inf

from agrad.plugins.axes import normalise, restore
from agrad.plugins.elementwise import ratio
from agrad.plugins.matrices import number, row


def shares(values, axis, largest, xp):
    """For each value its part of 1: that of the extreme, equally parted where several tie; a nan is extreme too."""
    extreme = (xp.max if largest else xp.min)(values, axis=axis, keepdims=True)
    hit = xp.astype((values == extreme) | xp.isnan(values), values.dtype)
    return hit / xp.sum(hit, axis=axis, keepdims=True)


def along(t, slope, xp):
    """What moves along t contributes to a real function with this gradient, element by element."""
    return xp.real(xp.conj(slope) * t)


# ------------------------------------------------------------------------------------------------------------- vectors


def vector_norm_vjp(g, x, out, axis, keepdims, ord, x_like, xp):
    if not x_like.size or ord == 0:
        return x_like.zeros()
    g, out = (restore(part, axis, keepdims, x_like, xp) for part in (g, out))
    if ord == 2:
        return x * ratio(g, out, xp)
    if ord == 1:
        return g * xp.sign(x)
    if abs(ord) == inf:
        return g * shares(xp.abs(x), normalise(axis, x_like.ndim), ord > 0, xp) * xp.sign(x)
    return g * xp.sign(x) * power(xp.abs(x), out, ord - 1, xp)


def power(size, out, exponent, xp):
    """(size / out)**exponent, and 0 where that is without meaning: all elements are 0, or a negative power of 0."""
    if exponent < 0:
        zero = (size == 0) | (out == 0)
        size = xp.where(zero, 1.0, size)
    else:
        zero = out == 0
    return xp.where(zero, 0.0, (size / xp.where(zero, 1.0, out)) ** exponent)


def vector_norm_jvp(t, x, out, axis, keepdims, ord, x_like, xp):
    slope = vector_norm_vjp(xp.ones_like(out), x, out, axis, keepdims, ord, x_like, xp)
    return xp.sum(along(t, slope, xp), axis=axis, keepdims=keepdims)


# ------------------------------------------------------------------------------------------------------------ matrices


def matrix_norm_vjp(g, x, out, keepdims, ord, x_like, xp):
    if not x_like.size:
        return x_like.zeros()
    if not keepdims:
        g, out = number(g, xp), number(out, xp)
    if ord in (None, "fro"):
        return x * ratio(g, out, xp)
    if ord == "nuc" or abs(ord) == 2:
        return singular_norm_vjp(g, x, ord, xp)
    summed, compared = (-2, -1) if abs(ord) == 1 else (-1, -2)
    sums = xp.sum(xp.abs(x), axis=summed, keepdims=True)
    return g * shares(sums, compared, ord > 0, xp) * xp.sign(x)


def singular_norm_vjp(g, x, ord, xp):
    u, s, vh = xp.linalg.svd(x, full_matrices=False)
    weights = xp.ones_like(s) if ord == "nuc" else shares(s, -1, ord > 0, xp)
    return (u * (g * row(xp.where(s == 0, 0.0, weights), xp))) @ vh


def matrix_norm_jvp(t, x, out, keepdims, ord, x_like, xp):
    slope = matrix_norm_vjp(xp.ones_like(out), x, out, keepdims, ord, x_like, xp)
    return xp.sum(along(t, slope, xp), axis=(-2, -1), keepdims=keepdims)
