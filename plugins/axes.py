"""Arithmetic of axes for the rule sets: integers and tuples. Must not know any op, nor read an array."""


def normalise(axis, ndim):
    """Non-negative axes as a tuple, in the order given; None means all of them."""
    if axis is None:
        return tuple(range(ndim))
    axes = (axis,) if isinstance(axis, int) else axis
    return tuple(a + ndim if a < 0 else a for a in axes)


def inverse(permutation):
    """The permutation that undoes this one (negative axes allowed)."""
    axes = normalise(permutation, len(permutation))
    return tuple(sorted(range(len(axes)), key=axes.__getitem__))


def restore(g, axis, keepdims, x_like, xp):
    """Put the axes that a reduction of x removed back as size 1, so that g broadcasts against x."""
    axes = normalise(axis, x_like.ndim)
    return g if keepdims or not axes else xp.expand_dims(g, axis=axes)


def along(indices, axis, x_like, xp):
    """The key that take_along_axis reads: the indices on their axis, on all others every position."""
    (own,) = normalise(axis, x_like.ndim)

    def position(a):
        n = x_like.shape[a]
        return xp.reshape(xp.arange(n, device=x_like.device), (1,) * a + (n,) + (1,) * (x_like.ndim - 1 - a))

    return tuple(indices if a == own else position(a) for a in range(x_like.ndim))
