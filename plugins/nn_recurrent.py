"""Gates of recurrent cells: what follows the two matrix products of an LSTM or a GRU, as one op each.
Must not know any array library.

z = gates + hidden_gates is cut along its last axis, in PyTorch's order. LSTM (Hochreiter and Schmidhuber 1997, with the
forget gate of Gers et al. 2000), parts i f a o:

    i, f, o = sigmoid(z),  a = tanh(z),  c' = f c + i a,  h' = o tanh(c')

GRU (Cho et al. 2014; the reset gate acts behind the product), parts r z n:

    r, z = sigmoid(...),  n = tanh(gates_n + r hidden_gates_n),  h' = n + z (h - n)

Both return their parts too, so that a derivative need not compute them again; these are results like any other, with
a cotangent where somebody uses them, as the second derivative does."""

from agrad.batching import lifted, spread
from agrad.rules import case


def cut(x, n, count):
    """The last axis in pieces of length n."""
    return [x[..., k * n : (k + 1) * n] for k in range(count)]


def sigmoid(x, xp):
    """By the hyperbolic tangent, which does not overflow."""
    return 0.5 * xp.tanh(0.5 * x) + 0.5


def check(name, count, gates, hidden_gates, state):
    """Gates must be `count` times as long as the state that they act on."""
    if {gates.shape[-1], hidden_gates.shape[-1]} != {count * state.shape[-1]}:
        raise ValueError(
            f"{name}() expected gates with {count} columns for each of the state's, got shapes {tuple(gates.shape)} "
            f"and {tuple(hidden_gates.shape)} with a state of shape {tuple(state.shape)}"
        )


def total(a, b):
    """The sum of two of which either may be missing."""
    return b if a is None else a if b is None else a + b


# ---------------------------------------------------------------------------------------------------------------- LSTM


def lstm_gates(gates, hidden_gates, state, /, *, xp):
    """The next output and state of an LSTM, and its four gates after their activations."""
    check("lstm_gates", 4, gates, hidden_gates, state)
    i, f, a, o = cut(gates + hidden_gates, state.shape[-1], 4)
    i, f, a, o = sigmoid(i, xp), sigmoid(f, xp), xp.tanh(a), sigmoid(o, xp)
    c = f * state + i * a
    return o * xp.tanh(c), c, xp.concat([i, f, a, o], axis=-1)


def slopes(parts, i, f, a, o, xp):
    """The derivatives of the activations, by their values: p (1 - p) of a sigmoid, (1 + a) (1 - a) of the tanh."""
    return (1 - parts) * xp.concat([i, f, 1 + a, o], axis=-1)


def lstm_gates_vjp(g, state, out1, out2, state_like, xp):
    (gh, gc, gparts), c, parts, n = g, out1, out2, state_like.shape[-1]
    i, f, a, o = cut(parts, n, 4)
    if gh is not None:
        bent = xp.tanh(c)
        gc = total(gc, gh * o * (1 - bent * bent))
    gi, gf, ga, go = (None,) * 4 if gc is None else (gc * a, gc * state, gc * i, None if gh is None else gh * bent)
    if gparts is not None:
        gi, gf, ga, go = map(total, (gi, gf, ga, go), cut(gparts, n, 4))
    go = xp.zeros_like(o) if go is None else go
    gz = xp.concat([gi, gf, ga, go], axis=-1) * slopes(parts, i, f, a, o, xp)
    return gz, gz, xp.zeros_like(state) if gc is None else gc * f


def lstm_gates_jvp(t, state, out1, out2, state_like, xp):
    """Parts move by their slopes, then state and output by the product rule."""
    tz, tc, n = total(*t[:2]), t[2], state_like.shape[-1]
    c, parts = out1, out2
    i, f, a, o = cut(parts, n, 4)
    tparts = xp.zeros_like(parts)
    moved = xp.zeros_like(c) if tc is None else f * tc
    bent = xp.tanh(c)
    if tz is not None:
        tparts = tz * slopes(parts, i, f, a, o, xp)
        ti, tf, ta, to = cut(tparts, n, 4)
        moved = moved + tf * state + ti * a + i * ta
    th = o * (1 - bent * bent) * moved
    return th if tz is None else th + to * bent, moved, tparts


# ----------------------------------------------------------------------------------------------------------------- GRU


def gru_gates(gates, hidden_gates, state, /, *, xp):
    """The next output of a GRU, which is its state, and its three gates after their activations."""
    check("gru_gates", 3, gates, hidden_gates, state)
    n = state.shape[-1]
    (xr, xz, xn), (hr, hz, hn) = cut(gates, n, 3), cut(hidden_gates, n, 3)
    r, z = sigmoid(xr + hr, xp), sigmoid(xz + hz, xp)
    new = xp.tanh(xn + r * hn)
    return new + z * (state - new), xp.concat([r, z, new], axis=-1)


def gru_gates_vjp(g, hidden_gates, state, out1, state_like, xp):
    (gh, gparts), parts, n = g, out1, state_like.shape[-1]
    r, z, new = cut(parts, n, 3)
    gr, gz, gnew = (None,) * 3 if gparts is None else cut(gparts, n, 3)
    if gh is not None:
        gz, gnew = total(gz, gh * (state - new)), total(gnew, gh * (1 - z))
    gnew = gnew * (1 - new * new)
    gr = total(gr, gnew * cut(hidden_gates, n, 3)[2]) * (r - r * r)
    gz = gz * (z - z * z)
    back = xp.concat([gr, gz, gnew], axis=-1), xp.concat([gr, gz, gnew * r], axis=-1)
    return *back, xp.zeros_like(state) if gh is None else gh * z


def gru_gates_jvp(t, hidden_gates, state, out1, state_like, xp):
    (tgates, thidden, th), n = t, state_like.shape[-1]
    r, z, new = cut(out1, n, 3)
    moved = xp.zeros_like(state) if th is None else z * th
    if tgates is None and thidden is None:
        return moved, xp.zeros_like(out1)
    (xr, xz, xn), (hr, hz, hn) = ((None,) * 3 if part is None else cut(part, n, 3) for part in (tgates, thidden))
    tr, tz = total(xr, hr) * (r - r * r), total(xz, hz) * (z - z * z)
    tn = total(xn, tr * cut(hidden_gates, n, 3)[2])
    tn = (tn if hn is None else tn + r * hn) * (1 - new * new)
    return moved + tz * (state - new) + (1 - z) * tn, xp.concat([tr, tz, tn], axis=-1)


# ------------------------------------------------------------------------------------------------------------- records


def batch_of(name):
    """Operands broadcast behind the batch; the parts do not follow from the state, and are a batch too."""
    def batch(gates, hidden_gates, state, batched, size, xp):
        flags = {"gates", *batched} if "hidden_gates" not in batched else batched
        gates = spread(gates, size, xp) if "gates" in flags and "gates" not in batched else gates
        operands = {"gates": gates, "hidden_gates": hidden_gates, "state": state}
        ndim = max(x.ndim - (title in flags) for title, x in operands.items())
        aligned = (lifted(x, ndim) if title in flags else x for title, x in operands.items())
        return getattr(xp.nn, name)(*aligned)

    return batch


def samples(count):
    """One sample, several, none, and operands that are broadcast."""
    return [
        case((count * 2,), (count * 2,), (2,)), case((3, count * 2), (3, count * 2), (3, 2)),
        case((0, count), (0, count), (0, 1)), case((3, count), (count,), (1,)), case((count,), (2, count), (2, 1)),
        case((2, 1, count), (3, count), (2, 3, 1)),
    ]


def declare(rules):
    """Add the ops to the rule set `nn`."""
    for name, count, kernel, vjp, jvp in (
        ("lstm_gates", 4, lstm_gates, lstm_gates_vjp, lstm_gates_jvp),
        ("gru_gates", 3, gru_gates, gru_gates_vjp, gru_gates_jvp),
    ):
        op = rules.op(f"nn.{name}(gates: array, hidden_gates: array, state: array, /)")
        op.kernel("*", kernel).kernel("numpy", f"agrad.backends.numpy_gates:{name}")
        rules.general(
            f"nn.{name}", vjp=vjp, jvp=jvp, batch=batch_of(name), complex=False, samples=samples(count),
        )
