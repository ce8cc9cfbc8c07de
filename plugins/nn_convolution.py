"""Convolution and its two transposes: kernels written against the standard, derivatives, batch rules.
Must not know any array library.

With what the weight meets as columns, the three are products of matrices, one for each group of channels:

    y = weight . columns(x)        x = the sum of the shifted rows of weight^T . y        weight = y . columns(x)^T

where y has a row for each channel and a column for each position in each sample. Each is bilinear, and the transposes
of each are the other two: the three are closed under differentiation."""

from agrad.plugins.nn_pooling import cut, overlap, padded
from agrad.rules import case
from agrad.windows import correlation


def columns(x, plan, xp):
    """What the weight meets: (groups, its elements in all channels of a group, positions in all samples)."""
    x = padded(x, plan.padding, xp)
    met = xp.stack([xp.getitem(x, key) for key in plan.places])
    met = xp.reshape(met, (len(plan.places), plan.x[0], plan.groups, plan.inner, *plan.counts))
    met = xp.permute_dims(met, (2, 3, 0, 1, *range(4, met.ndim)))
    return xp.reshape(met, (plan.groups, plan.rows, plan.columns))


def rows(y, plan, xp):
    """y as (groups, channels of a group, positions in all samples)."""
    return xp.reshape(xp.moveaxis(y, 0, 1), (plan.groups, plan.outer, plan.columns))


def convolution(x, weight, /, *, stride, padding, dilation, groups=1, xp):
    """The correlation of an input (N, C, ...) with each of the filters of a weight (O, C / groups, ...)."""
    plan = correlation("convolution", x.shape, weight.shape, stride, padding, dilation, groups)
    filters = xp.reshape(weight, (groups, plan.outer, plan.rows))
    y = xp.matmul(filters, columns(x, plan, xp))
    return xp.moveaxis(xp.reshape(y, (plan.y[1], plan.y[0], *plan.counts)), 1, 0)


def convolution_input(y, weight, /, *, size, stride, padding, dilation, groups=1, xp):
    """The transpose of `convolution` for an input whose last axes have the lengths `size`: transposed convolution."""
    x = (*y.shape[:1], weight.shape[1] * groups, *size)
    plan = correlation("convolution_input", x, weight.shape, stride, padding, dilation, groups, y.shape)
    filters = xp.matrix_transpose(xp.reshape(weight, (groups, plan.outer, plan.rows)))
    parts = xp.matmul(filters, rows(y, plan, xp))
    parts = xp.reshape(parts, (plan.x[1], len(plan.places), plan.x[0], *plan.counts))
    parts = xp.unstack(xp.permute_dims(parts, (1, 2, 0, *range(3, parts.ndim))))
    return cut(overlap(parts, plan.places, (*plan.x[:2], *plan.padded), xp), plan.padding, xp)


def convolution_weight(x, y, /, *, size, stride, padding, dilation, groups=1, xp):
    """The transpose of `convolution` for a weight whose last axes have the lengths `size`."""
    weight = (y.shape[1], x.shape[1] // max(groups, 1), *size)
    plan = correlation("convolution_weight", x.shape, weight, stride, padding, dilation, groups, y.shape)
    product = xp.matmul(rows(y, plan, xp), xp.matrix_transpose(columns(x, plan, xp)))
    return xp.reshape(product, plan.weight)


# ------------------------------------------------------------------------------------------------------------- batches
# The batch of one operand joins an axis that it does not share with the other; two of them join the groups.


def joined(array, axis, parts, xp):
    """A batch put into an axis, behind its first parts: (B, ..., a * b, ...) becomes (..., a * B * b, ...)."""
    size, *shape = array.shape
    array = xp.reshape(array, (size, *shape[:axis], parts, shape[axis] // parts, *shape[axis + 1 :]))
    return xp.reshape(xp.moveaxis(array, 0, axis + 1), (*shape[:axis], size * shape[axis], *shape[axis + 1 :]))


def parted(array, size, length, axis, parts, xp):
    """The batch taken out again; for a sample the axis has this length."""
    shape = array.shape
    array = xp.reshape(array, (*shape[:axis], parts, size, length // parts, *shape[axis + 1 :]))
    return xp.reshape(xp.moveaxis(array, axis + 1, 0), (size, *shape[:axis], length, *shape[axis + 1 :]))


ONE, OTHER, BOTH = (True, False), (False, True), (True, True)


def on_batch(op, flags, arrays, folds, groups, xp, **options):
    """One of the three ops on a batch.

    `folds` says for each pattern of batched operands which axis of each the batch joins and behind how many parts of
    it, None for those without; the same for the result, and the length that axis has for a sample.
    """
    size = arrays[flags.index(True)].shape[0]
    if flags == BOTH and not size:      # there would be no groups: any second operand will do
        arrays, flags = (arrays[0], xp.sum(arrays[1], axis=0)), ONE
    *places, (axis, parts), length = folds[flags]
    given = [x if place is None else joined(x, place[0], place[1], xp) for x, place in zip(arrays, places, strict=True)]
    result = op(*given, groups=size * groups if flags == BOTH else groups, **options)
    return parted(result, size, length, axis, parts, xp)


def convolution_batch(x, weight, stride, padding, dilation, groups, batched, xp):
    flags = "x" in batched, "weight" in batched
    samples, outputs = x.shape[flags[0]], weight.shape[flags[1]]
    folds = {
        ONE: ((0, 1), None, (0, 1), samples),
        OTHER: (None, (0, groups), (1, groups), outputs),
        BOTH: ((1, 1), (0, 1), (1, 1), outputs),
    }
    return on_batch(xp.nn.convolution, flags, (x, weight), folds, groups, xp,
                    stride=stride, padding=padding, dilation=dilation)


def convolution_input_batch(y, weight, size, stride, padding, dilation, groups, batched, xp):
    flags = "y" in batched, "weight" in batched
    samples, channels = y.shape[flags[0]], weight.shape[1 + flags[1]] * groups
    folds = {
        ONE: ((0, 1), None, (0, 1), samples),
        OTHER: (None, (1, 1), (1, groups), channels),
        BOTH: ((1, 1), (0, 1), (1, 1), channels),
    }
    return on_batch(xp.nn.convolution_input, flags, (y, weight), folds, groups, xp,
                    size=size, stride=stride, padding=padding, dilation=dilation)


def convolution_weight_batch(x, y, size, stride, padding, dilation, groups, batched, xp):
    flags = "x" in batched, "y" in batched
    inner, outputs = x.shape[1 + flags[0]] // groups, y.shape[1 + flags[1]]
    folds = {
        ONE: ((1, groups), None, (1, 1), inner),
        OTHER: (None, (1, groups), (0, groups), outputs),
        BOTH: ((1, 1), (1, 1), (0, 1), outputs),
    }
    return on_batch(xp.nn.convolution_weight, flags, (x, y), folds, groups, xp,
                    size=size, stride=stride, padding=padding, dilation=dilation)


# --------------------------------------------------------------------------------------------------------------- rules


def to_output(x, weight, how, xp):
    stride, padding, dilation, groups = how
    return xp.nn.convolution(x, weight, stride=stride, padding=padding, dilation=dilation, groups=groups)


def to_input(y, weight, like, how, xp):
    stride, padding, dilation, groups = how
    return xp.nn.convolution_input(
        y, weight, size=like.shape[2:], stride=stride, padding=padding, dilation=dilation, groups=groups
    )


def to_weight(x, y, like, how, xp):
    stride, padding, dilation, groups = how
    return xp.nn.convolution_weight(
        x, y, size=like.shape[2:], stride=stride, padding=padding, dilation=dilation, groups=groups
    )


GEOMETRIES = [  # x, weight, stride, padding, dilation, groups
    ((2, 2, 4), (3, 2, 2), (1,), ((0, 0),), (1,), 1),
    ((1, 1, 5), (1, 1, 3), (2,), ((1, 1),), (1,), 1),
    ((2, 2, 3, 4), (2, 2, 2, 3), (1, 1), ((0, 0), (1, 1)), (1, 1), 1),
    ((1, 4, 5, 4), (4, 2, 2, 2), (2, 1), ((1, 0), (0, 2)), (1, 2), 2),      # two groups, uneven padding
    ((2, 2, 3, 3), (4, 1, 2, 2), (3, 2), ((1, 1), (0, 1)), (2, 1), 2),      # depthwise, strides beyond the kernel
    ((1, 1, 6), (2, 1, 2), (1,), ((-1, -2),), (1,), 1),                     # padding that cuts
    ((1, 1, 4), (1, 1, 2), (1,), ((2, -1),), (1,), 1),
    ((1, 2, 2, 2, 3), (1, 2, 1, 2, 2), (1, 1, 2), ((0, 0), (1, 0), (0, 0)), (1, 1, 1), 1),
    ((0, 2, 3), (2, 2, 2), (1,), ((0, 0),), (1,), 1),                       # no samples
    ((2, 0, 3), (2, 0, 2), (1,), ((0, 0),), (1,), 1),                       # no channels
    ((2, 1, 3), (0, 1, 2), (1,), ((0, 0),), (1,), 1),                       # no filters
]


def samples(first, second, size=None):
    """A call of one of the ops for each geometry: which two of x, weight and y it takes, and whose lengths."""
    for x, weight, stride, padding, dilation, groups in GEOMETRIES:
        options = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}
        shapes = vars(correlation("sample", x, weight, stride, padding, dilation, groups))
        yield case(shapes[first], shapes[second], **options, **({"size": shapes[size][2:]} if size else {}))


def declare(rules):
    """Add the ops to a rule set."""
    how = "stride, padding, dilation, groups=1"
    rules.op(f"nn.convolution(x: array, weight: array, /, *, {how})").kernel("*", convolution)
    rules.op(f"nn.convolution_input(y: array, weight: array, /, *, size, {how})").kernel("*", convolution_input)
    rules.op(f"nn.convolution_weight(x: array, y: array, /, *, size, {how})").kernel("*", convolution_weight)
    rules.bilinear(
        "nn.convolution", batch=convolution_batch,
        x=lambda g, weight, x_like, stride, padding, dilation, groups, xp: to_input(
            g, xp.conj(weight), x_like, (stride, padding, dilation, groups), xp),
        weight=lambda g, x, weight_like, stride, padding, dilation, groups, xp: to_weight(
            xp.conj(x), g, weight_like, (stride, padding, dilation, groups), xp),
        samples=list(samples("x", "weight")),
    )
    rules.bilinear(
        "nn.convolution_input", batch=convolution_input_batch, node="ConvolutionBackward0",
        y=lambda g, weight, stride, padding, dilation, groups, xp: to_output(
            g, xp.conj(weight), (stride, padding, dilation, groups), xp),
        weight=lambda g, y, weight_like, stride, padding, dilation, groups, xp: to_weight(
            g, xp.conj(y), weight_like, (stride, padding, dilation, groups), xp),
        samples=list(samples("y", "weight", size="x")),
    )
    rules.bilinear(
        "nn.convolution_weight", batch=convolution_weight_batch,
        x=lambda g, y, x_like, stride, padding, dilation, groups, xp: to_input(
            xp.conj(y), g, x_like, (stride, padding, dilation, groups), xp),
        y=lambda g, x, stride, padding, dilation, groups, xp: to_output(
            xp.conj(x), g, (stride, padding, dilation, groups), xp),
        samples=list(samples("x", "y", size="weight")),
    )
