"""The op `nn.linear`: kernel, derivatives, batch rule. Must not know any array library.

One op for x weight^T + bias, so that a layer is one node, and the weight's gradient comes in the weight's own order in
memory: as a product with a transpose, not as the transpose of a product, which an optimizer would walk across."""

from agrad.rules import case, product


def linear(x, weight, bias=None, /, *, xp):
    """The product of the last axis of x with the rows of a weight (outputs, inputs), and a bias."""
    y = xp.matmul(x, xp.matrix_transpose(weight))
    return y if bias is None else y + bias


def matrix(x, xp):
    """All axes but the last as one."""
    if x.ndim == 2:
        return x
    samples = 1
    for n in x.shape[:-1]:
        samples = samples * n
    return xp.reshape(x, (samples, x.shape[-1]))


def to_weight(g, x, weight_like, xp):
    return product(weight_like, matrix(g, xp), matrix(x, xp))


def to_bias(g, xp):
    return g if g.ndim == 1 else xp.sum(g, axis=tuple(range(g.ndim - 1)))


def linear_batch(x, weight, bias, batched, xp):
    """Samples of x are further rows; a weight for each sample is a contraction."""
    if "weight" not in batched and "bias" not in batched:
        return xp.nn.linear(x, weight, bias)
    own = "b" if "x" in batched else ""
    y = xp.einsum(f"{own}...i,boi->b...o", x, weight) if "weight" in batched else xp.nn.linear(x, weight)
    if bias is None:
        return y
    if "bias" in batched:
        lead = x.ndim - len(own) - 1    # the axes of a sample before the last
        bias = xp.reshape(bias, (bias.shape[0], *(1,) * lead, bias.shape[1]))
    return y + bias


def declare(rules):
    """Add the op to the rule set of the prefix `nn`."""
    rules.op("nn.linear(x: array, weight: array, bias: array? = None, /)").kernel("*", linear)
    rules.general(
        "nn.linear", batch=linear_batch, node="AddmmBackward0",
        vjp={
            "x": lambda g, weight, xp: xp.matmul(g, xp.conj(weight)),
            "weight": lambda g, x, weight_like, xp: to_weight(g, xp.conj(x), weight_like, xp),
            "bias": lambda g, xp: to_bias(g, xp),
        },
        jvp={
            "x": lambda t, weight, xp: xp.nn.linear(t, weight),
            "weight": lambda t, x, xp: xp.nn.linear(x, t),
            "bias": lambda t: t,
        },
        samples=[
            case((2, 3), (4, 3), (4,)), case((2, 3), (4, 3)), case((3,), (4, 3), (4,)), case((3,), (4, 3)),
            case((2, 2, 3), (4, 3), (4,)), case((0, 3), (4, 3), (4,)), case((2, 0), (4, 0), (4,)),
            case((2, 3), (0, 3), (0,)), case((2, 3), (1, 3), (1,)),
        ],
    )
