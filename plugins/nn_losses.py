"""The ops `nn.class_losses` and `nn.class_slopes`: kernels, derivatives, batch rules. Must not know any array library.

Cross entropy of one right class, as one node: what a `log_softmax`, a lookup and a negation do in three, each with
arrays as large as the scores. Classes are along the last axis of scores x (..., C), targets are (...), not 0-d."""

from agrad.plugins.batches import as_batch
from agrad.rules import case, ints


def class_losses(x, target, /, *, xp):
    """log(sum(exp(x))) - x[target] along the last axis: minus the logarithm of the right class's probability."""
    if 0 in x.shape:
        return xp.sum(x, axis=-1)   # without elements there is no largest one
    x = x - xp.max(x, axis=-1, keepdims=True)
    return xp.log(xp.sum(xp.exp(x), axis=-1)) - chosen(x, target, xp)


def class_slopes(factor, x, target, /, *, xp):
    """How `class_losses` moves with the scores, times a factor: the probabilities, less one for the right class."""
    number = xp.arange(x.shape[-1], dtype=target.dtype, device=getattr(target, "device", None))
    right = xp.astype(number == xp.expand_dims(target, axis=-1), x.dtype)
    return xp.expand_dims(factor, axis=-1) * (xp.softmax(x, axis=-1) - right)


def chosen(x, target, xp):
    """The element that the target names, along the last axis."""
    return xp.squeeze(xp.take_along_axis(x, xp.expand_dims(target, axis=-1), axis=-1), axis=-1)


def along(t, x, target, xp):
    """How the losses move when the scores move by t."""
    return xp.sum(t * xp.softmax(x, axis=-1), axis=-1) - chosen(t, target, xp)


def turned(t, factor, x, xp):
    """How the slopes move when the scores move by t: the second derivative, which is symmetric."""
    p = xp.softmax(x, axis=-1)
    t = t * xp.expand_dims(factor, axis=-1)
    return p * (t - xp.sum(p * t, axis=-1, keepdims=True))


def losses_batch(x, target, batched, size, xp):
    given = (as_batch(a, name in batched, size, xp) for name, a in (("x", x), ("target", target)))
    return xp.nn.class_losses(*given)


def slopes_batch(factor, x, target, batched, size, xp):
    given = (as_batch(a, name in batched, size, xp) for name, a in (("factor", factor), ("x", x), ("target", target)))
    return xp.nn.class_slopes(*given)


def declare(rules):
    """Add the ops to the rule set of the prefix `nn`."""
    rules.op("nn.class_losses(x: array, target: index, /)").kernel("*", class_losses)
    rules.general(
        "nn.class_losses", batch=losses_batch, complex=False, node="NllLossBackward0",
        vjp={"x": lambda g, x, target, xp: xp.nn.class_slopes(g, x, target)},
        jvp={"x": lambda t, x, target, xp: along(t, x, target, xp)},
        samples=[
            case((3, 4), ints((3,), 0, 4)), case((2, 3, 4), ints((2, 3), 0, 4)), case((0, 4), ints((0,), 0, 4)),
            case((2, 1), ints((2,), 0, 1)),
        ],
    )
    rules.op("nn.class_slopes(factor: array, x: array, target: index, /)").kernel("*", class_slopes)
    rules.general(
        "nn.class_slopes", batch=slopes_batch, complex=False, node="NllLossBackwardBackward0",
        vjp={
            "factor": lambda g, x, target, xp: along(g, x, target, xp),
            "x": lambda g, factor, x, xp: turned(g, factor, x, xp),
        },
        jvp={
            "factor": lambda t, x, target, xp: xp.nn.class_slopes(t, x, target),
            "x": lambda t, factor, x, xp: turned(t, factor, x, xp),
        },
        samples=[
            case((3,), (3, 4), ints((3,), 0, 4)), case((2, 3), (2, 3, 4), ints((2, 3), 0, 4)),
            case((0,), (0, 4), ints((0,), 0, 4)), case((2,), (2, 1), ints((2,), 0, 1)),
        ],
    )
