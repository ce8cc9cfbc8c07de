"""The ops of the rule set `nn` that the normalizing layers stand on: moments over axes, and normalizing by them.
Must not know any array library.

They are two ops, because one alone saves its input only: what is kept for the backward pass is x and the moments."""

from functools import cache
from math import prod

from agrad.batching import lifted, spread
from agrad.plugins.axes import normalise
from agrad.rules import case


@cache
def bits(dtype, xp):
    """How many bits a real floating-point number has; other numbers have none."""
    return xp.finfo(dtype).bits if xp.isdtype(dtype, "real floating") else 0


def widened(name, x, xp):
    """Numbers of 16 bits as float32: their squares overflow, and their sums lose most digits."""
    size = bits(x.dtype, xp)
    if not size:
        raise TypeError(f"{name}() takes real floating-point numbers, not {x.dtype}")
    return x if size > 16 else xp.astype(x, xp.float32)


def cast(x, dtype, xp):
    return x if x.dtype == dtype else xp.astype(x, dtype)


@cache
def ending(axes, ndim):
    """Where the axes that end an array begin, if all from there on are among these axes; and those before."""
    axes = set(normalise(axes, ndim))
    start = ndim
    while start - 1 in axes:
        start -= 1
    return start, tuple(range(start, ndim)), tuple(sorted(a for a in axes if a < start))


def inner(x1, x2, axes, x_like, xp):
    """The sum of products over axes, which stay with size 1; without a temporary where the last axes are summed."""
    if x1.dtype != x2.dtype:    # of 16 bits one, and the other widened
        dtype = xp.result_type(x1, x2)
        x1, x2 = cast(x1, dtype, xp), cast(x2, dtype, xp)
    shape = x_like.shape
    start, last, rest = ending(axes, len(shape))
    if not last or 0 in shape:
        return xp.sum(x1 * x2, axis=axes, keepdims=True)
    if len(last) > 1:
        flat = (*shape[:start], prod(shape[start:]))
        x1, x2 = xp.reshape(x1, flat), xp.reshape(x2, flat)
    total = xp.vecdot(x1, x2)[(..., *(None for _ in last))]
    return xp.sum(total, axis=rest, keepdims=True) if rest else total


# ------------------------------------------------------------------------------------------------------------- moments


def count(axes, x_like):
    """How many elements make one mean; of none there is nothing to divide."""
    return prod(x_like.shape[a] for a in normalise(axes, x_like.ndim)) or 1


def moments(x, /, *, axes, eps=1e-5, xp):
    """Over axes, which stay with size 1: mean, variance (of the population), and ``1 / sqrt(variance + eps)``.

    In two passes, so that a large mean takes no digits from the variance.
    """
    x, n = widened("nn.moments", x, xp), count(axes, x)
    mean = xp.sum(x, axis=axes, keepdims=True) / n
    deviation = x - mean
    var = inner(deviation, deviation, axes, x, xp) / n
    return mean, var, 1 / xp.sqrt(var + eps)


def moments_vjp(g, x, out, axes, x_like, xp):
    (g_mean, g_var, g_rstd), (mean, _, rstd), n = g, out, count(axes, x_like)
    if g_rstd is not None:
        through = g_rstd * (rstd * rstd * rstd * -0.5)
        g_var = through if g_var is None else g_var + through
    if g_var is None:
        return xp.broadcast_to(g_mean / n, x_like.shape)
    return xp.nn.normalize(x, mean, g_var * (2 / n), None, None if g_mean is None else g_mean / n)


def moments_jvp(t, x, out, axes, x_like, xp):
    mean, _, rstd = out
    moved = inner(x - mean, t, axes, x_like, xp) * (2 / count(axes, x_like))
    return xp.mean(t, axis=axes, keepdims=True), moved, moved * (rstd * rstd * rstd * -0.5)


def inverse_rms(x, /, *, axes, eps=0.0, xp):
    """``1 / sqrt(m + eps)``, m being the mean of the squares over axes, which stay with size 1."""
    x = widened("nn.inverse_rms", x, xp)
    return 1 / xp.sqrt(inner(x, x, axes, x, xp) / count(axes, x) + eps)


def inverse_rms_vjp(g, x, out, axes, x_like):
    return x * (g * (out * out * out * (-1 / count(axes, x_like))))


def inverse_rms_jvp(t, x, out, axes, x_like, xp):
    return inner(x, t, axes, x_like, xp) * (out * out * out * (-1 / count(axes, x_like)))


# ----------------------------------------------------------------------------------------------------------- normalize


@cache
def constant_axes(shape, ndim):
    """The axes over which an array of this shape is constant, when it is broadcast to `ndim` axes."""
    missing = ndim - len(shape)
    return (*range(missing), *(missing + a for a, n in enumerate(shape) if n == 1))


def is_constant(weight, scale, x):
    """Whether a weight does not vary among the elements that share a scale (of a channel: yes, of a layer: no)."""
    axes = () if weight is None else constant_axes(tuple(weight.shape), x.ndim)
    return weight is None or all(a in axes for a in constant_axes(tuple(scale.shape), x.ndim))


def normalize(x, mean, scale, weight=None, bias=None, /, *, xp):
    """``(x - mean) * scale * weight + bias``, in the dtype of x; what is None is left out."""
    wide = widened("nn.normalize", x, xp)
    scale = cast(scale, wide.dtype, xp)
    weight = weight if weight is None else cast(weight, wide.dtype, xp)
    small = weight is not None and is_constant(weight, scale, x)
    scale = scale * weight if small else scale
    out = wide * scale if mean is None else wide - cast(mean, wide.dtype, xp)
    if mean is not None:
        out *= scale        # no temporary: the array is our own
    if weight is not None and not small:
        out *= weight
    if bias is not None:
        out += cast(bias, wide.dtype, xp)
    return cast(out, x.dtype, xp)


def normalize_vjp(g, x, mean, scale, weight, x_like, scale_like, weight_like, bias_like, needs, xp):
    """Without a weight that varies where the scale does not, all sums are the same two."""
    axes = constant_axes(tuple(scale_like.shape), x_like.ndim)
    if is_constant(weight_like, scale_like, x_like) and is_constant(bias_like, scale_like, x_like):
        factor = scale if weight is None else scale * weight
        total = xp.sum(g, axis=axes, keepdims=True) if needs[1] or needs[4] else None
        product = None
        if needs[2] or needs[3]:
            product = inner(g, x if mean is None else x - mean, axes, x_like, xp)
        return (
            g * factor if needs[0] else None,
            -factor * total if needs[1] else None,
            (product if weight is None else product * weight) if needs[2] else None,
            product * scale if needs[3] else None,
            total,
        )
    weighted = g if weight is None else g * weight
    shape = xp.nn.normalize(x, mean, scale) if needs[2] or needs[3] else None
    return (
        weighted * scale if needs[0] else None,
        -scale * xp.sum(weighted, axis=axes, keepdims=True) if needs[1] else None,
        inner(weighted, x if mean is None else x - mean, axes, x_like, xp) if needs[2] else None,
        g * shape if needs[3] else None,
        g,
    )


def normalize_jvp(t, x, mean, scale, weight, xp):
    t_x, t_mean, t_scale, t_weight, t_bias = t
    deviation = x if mean is None else x - mean
    moved = 0.0 if t_x is None else t_x
    moved = (moved if t_mean is None else moved - t_mean) * scale
    moved = moved if t_scale is None else moved + t_scale * deviation
    moved = moved if weight is None else moved * weight
    moved = moved if t_weight is None else moved + t_weight * deviation * scale
    return moved if t_bias is None else moved + t_bias


def normalize_batch(x, mean, scale, weight, bias, batched, size, xp):
    """The result has the shape of x, which therefore has the batch."""
    ndim = x.ndim - ("x" in batched)
    x = x if "x" in batched else spread(x, size, xp)
    small = {"mean": mean, "scale": scale, "weight": weight, "bias": bias}
    return xp.nn.normalize(x, *(lifted(v, ndim) if name in batched else v for name, v in small.items()))


# ------------------------------------------------------------------------------------------------------------- records

AXES = [
    case((3,), axes=0), case((2, 3), axes=(0,)), case((2, 3), axes=-1, eps=0.1), case((2, 3, 2), axes=(0, 2)),
    case((2, 3, 2, 2), axes=(0, 2, 3)), case((2, 3, 2), axes=(1, 2)), case((0, 2), axes=1, eps=0.1),
]


def declare(rules):
    """Add the ops to the rule set `nn`."""
    rules.op("nn.moments(x: array, /, *, axes: axes, eps=1e-05)").kernel("*", moments)
    rules.general("nn.moments", vjp={"x": moments_vjp}, jvp=moments_jvp, complex=False, samples=AXES)
    rules.op("nn.inverse_rms(x: array, /, *, axes: axes, eps=0.0)").kernel("*", inverse_rms)
    rules.general("nn.inverse_rms", vjp={"x": inverse_rms_vjp}, jvp=inverse_rms_jvp, complex=False, samples=AXES)
    rules.op(
        "nn.normalize(x: array, mean: array?, scale: array, weight: array? = None, bias: array? = None, /)"
    ).kernel("*", normalize)
    rules.general(
        "nn.normalize", vjp=normalize_vjp, jvp=normalize_jvp, complex=False, batch=normalize_batch,
        samples=[
            case((2, 3), (2, 1), (2, 1)), case((2, 3), (2, 1), (2, 1), (3,), (3,)),
            case((2, 3), (2, 1), (2, 1), (3,)), case((2, 3), (2, 1), (2, 1), None, (3,)),
            case((2, 3), (1, 1), (1, 1), (1, 1), (1, 1)), case((3, 2, 2), (2, 1), (2, 1), (2, 1), (2, 1)),
            case((2, 3), None, (2, 1), (3,)), case((2, 3), None, (1, 1)), case((0, 3), (1, 1), (1, 1), (3,)),
        ],
    )
