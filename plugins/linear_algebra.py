"""Rules of the chapter "linear_algebra": products of arrays, each contracting axes of both.
Must not know any array library.

Of  out = sum(x1 * x2)  the cotangents are  g * conj(x2)  and  conj(x1) * g,  each summed over the axes that its operand
lacks. The engine sums those along which an operand was broadcast."""

from agrad.plugins import batches
from agrad.plugins.axes import inverse, normalise
from agrad.rules import RuleSet, case

rules = RuleSet("linear_algebra")


# --------------------------------------------------------------------------------------------------- matrix products
# (n, k) @ (k, m). An operand with one axis lacks n (x1) or m (x2), and so does g.
# An operand without batch axes contracts those of the other at once, rather than making a batch for the engine to sum.

PRODUCTS = {
    (1, 1): "DotBackward0",
    (2, 1): "MvBackward0",
    (1, 2): "SqueezeBackward4",  # PyTorch squeezes a one-row matrix product
    (2, 2): "MmBackward0",
}


def ranks(args):
    """How many axes the two operands have; None where the graph no longer knows."""
    return tuple(getattr(array, "ndim", None) for array in args[:2])


def matmul_x1(g, x2, x1_like, x2_like, xp):
    x2 = xp.conj(x2)
    if x2_like.ndim == 1:
        return xp.expand_dims(g, axis=-1) * x2
    if x1_like.ndim <= 2 < x2_like.ndim:
        axes = (*range(x2_like.ndim - 2), -1)
        return xp.tensordot(g, x2, axes=(axes, axes))
    if x1_like.ndim == 1:
        return xp.matmul(x2, g)
    return xp.matmul(g, xp.matrix_transpose(x2))


def matmul_x2(g, x1, x1_like, x2_like, xp):
    x1 = xp.conj(x1)
    if x1_like.ndim == 1:
        return x1 * g if x2_like.ndim == 1 else xp.expand_dims(x1, axis=-1) * xp.expand_dims(g, axis=-2)
    if x2_like.ndim <= 2 < x1_like.ndim:
        axes = tuple(range(x1_like.ndim - 1))
        return xp.tensordot(x1, g, axes=(axes, axes))
    return xp.matmul(xp.matrix_transpose(x1), g)


rules.bilinear(
    "matmul", x1=matmul_x1, x2=matmul_x2, batch=batches.matmul,
    node=lambda args, scalars: PRODUCTS.get(ranks(args), "UnsafeViewBackward0"),
    samples=[
        case((3,), (3,)), case((2, 3), (3,)), case((3,), (3, 2)), case((2, 3), (3, 4)),
        case((2, 2, 3), (3,)), case((3,), (2, 3, 2)), case((2, 2, 3), (3, 4)), case((2, 3), (2, 3, 4)),
        case((2, 2, 3), (2, 3, 2)), case((2, 1, 2, 3), (3, 3, 2)), case((1, 2, 3), (4, 3, 2)),
        case((0,), (0,)), case((2, 0), (0, 3)), case((0, 3), (3, 2)), case((0, 2, 3), (3, 2)),
    ],
)
rules.linear(
    "matrix_transpose", x=lambda g, xp: xp.matrix_transpose(g),
    node="TransposeBackward0", view=True,
    samples=[case((2, 3)), case((2, 3, 4)), case((0, 2))],
)


# ------------------------------------------------------------------------------------------------- vector products


def vecdot_x1(g, x2, axis, xp):
    return xp.conj(xp.expand_dims(g, axis=axis)) * x2


def vecdot_x2(g, x1, axis, xp):
    return xp.expand_dims(g, axis=axis) * x1


rules.bilinear(
    "vecdot", x1=vecdot_x1, x2=vecdot_x2, batch=batches.vecdot,
    node=lambda args, scalars: "VdotBackward0" if ranks(args) == (1, 1) else "SumBackward1",
    note="out = sum(conj(x1) * x2) is antilinear in x1, so its conjugate Wirtinger gradient is conj(g) * x2",
    samples=[
        case((3,), (3,)), case((2, 3), (2, 3)), case((2, 3), (3,)), case((2, 1, 3), (4, 3)),
        case((3, 2), (3, 2), axis=-2), case((3, 1), (2, 3, 4), axis=-2), case((2, 0), (2, 0)), case((0, 3), (3,)),
    ],
)


# --------------------------------------------------------------------------------------------------------- tensordot


def contracted(axes, ndim1, ndim2):
    """The contracted axes of x1 and their partners in x2."""
    if isinstance(axes, int):
        return tuple(range(ndim1 - axes, ndim1)), tuple(range(axes))
    return normalise(axes[0], ndim1), normalise(axes[1], ndim2)


def others(axes, ndim):
    return tuple(a for a in range(ndim) if a not in axes)


def tensordot_x1(g, x2, axes, x1_like, x2_like, xp):
    over1, over2 = contracted(axes, x1_like.ndim, x2_like.ndim)
    free1, free2 = others(over1, x1_like.ndim), others(over2, x2_like.ndim)
    n = len(free1)
    back = xp.tensordot(g, xp.conj(x2), axes=(tuple(range(n, n + len(free2))), free2))
    # What is left of x2 are its contracted axes, in x2's order: each stands for its partner in x1.
    partners = tuple(a for _, a in sorted(zip(over2, over1, strict=True)))
    return xp.permute_dims(back, inverse(free1 + partners))


def tensordot_x2(g, x1, axes, x1_like, x2_like, xp):
    over1, over2 = contracted(axes, x1_like.ndim, x2_like.ndim)
    free1, free2 = others(over1, x1_like.ndim), others(over2, x2_like.ndim)
    back = xp.tensordot(xp.conj(x1), g, axes=(free1, tuple(range(len(free1)))))
    partners = tuple(b for _, b in sorted(zip(over1, over2, strict=True)))
    return xp.permute_dims(back, inverse(partners + free2))


rules.bilinear(
    "tensordot", x1=tensordot_x1, x2=tensordot_x2, batch=batches.tensordot,
    node="ViewBackward0",
    samples=[
        case((2, 3), (3, 2), axes=1), case((2, 3), (2, 3)), case((2,), (3,), axes=0), case((), (2, 3), axes=0),
        case((), (), axes=0), case((3,), (3,), axes=1), case((2, 3, 4), (4, 2, 3), axes=((0, 1, 2), (1, 2, 0))),
        case((2, 3, 4), (5, 4, 2), axes=((2, 0), (1, 2))), case((2, 3, 4), (4, 5, 3), axes=((-1, -2), (-3, -1))),
        case((2, 0), (0, 3), axes=1), case((0, 3), (3, 2), axes=1),
    ],
)
