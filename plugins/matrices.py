"""Matrices for the rule sets: rows and columns are the last two axes, all others are a batch.
Must not know any op's derivative, nor branch on values."""

from math import nan


def adjoint(x, xp):
    return xp.conj(xp.matrix_transpose(x))


def skew(x, xp):
    """Twice the antihermitian part."""
    return x - adjoint(x, xp)


def row(d, xp):
    """Vectors as rows of matrices; d broadcasts along the columns' numbers, as in x * row(d), x with scaled columns."""
    return xp.expand_dims(d, axis=-2)


def column(d, xp):
    return xp.expand_dims(d, axis=-1)


def number(s, xp):
    """One number per matrix."""
    return xp.expand_dims(s, axis=(-2, -1))


def on_diagonal(like, xp, offset=0, shape=None):
    """Where a matrix has its diagonal: a mask of `shape`, else that of the last two axes of `like`."""
    n, m = like.shape[-2:] if shape is None else shape
    return column(xp.arange(n, device=like.device), xp) + offset == xp.arange(m, device=like.device)


def embed(d, n, like, xp):
    """Square matrices with these diagonals, n long."""
    return xp.where(on_diagonal(like, xp, shape=(n, n)), row(d, xp), 0.0)


def is_complex(like, xp):
    return xp.isdtype(like.dtype, "complex floating")


def precision(like, xp):
    return float(xp.finfo(like.dtype).eps)


def rounding(n, like, xp):
    """How far apart decompositions may put n eigenvalues or singular values that are equal, the largest being 1."""
    return 10 * n**0.5 * precision(like, xp)


def inverse_gaps(values, n, like, xp, unused=None, alone=False):
    """1 / (values[j] - values[i]), and 0 on the diagonal.

    Where two of the n values are equal but for rounding it is nan, or 0 if the loss uses the vectors of neither. It may
    seem not to use them where weights that are functions of the values happen to be 0, which does not count as unused:
    values are equal to the last bit then, and the loss does not depend on the vectors alone.
    """
    gaps = row(values, xp) - column(values, xp)
    largest = xp.max(xp.abs(values), axis=-1, keepdims=True)
    equal = xp.abs(gaps) <= rounding(n, like, xp) * column(largest, xp)
    none = on_diagonal(like, xp, shape=(n, n))
    if unused is not None:
        both = row(unused, xp) & column(unused, xp)
        none = none | (both & (equal if alone else equal & (gaps != 0)))
    return xp.where(none, 0.0, xp.where(equal, nan, 1 / xp.where(equal, 1.0, gaps)))


def is_unused(g, xp):
    """Which columns have a cotangent that is exactly 0."""
    return xp.all(g == 0, axis=-2)


def with_values(g, values):
    """Weights that may depend on these values, although nothing else says so: see `inverse_gaps`."""
    return g + 0 * values


def unless(undetermined, result, xp):
    """The result, nan for those matrices for which the loss depends on what no decomposition determines."""
    return xp.where(number(undetermined, xp), nan, result)


def is_felt(part, whole, like, xp):
    """For each matrix, whether part of a cotangent is not only rounding: a hundredth of the whole or more."""
    limit = 0.01 * xp.max(xp.abs(whole), axis=(-2, -1)) + precision(like, xp) ** 0.5
    return xp.max(xp.abs(part), axis=(-2, -1)) > limit
