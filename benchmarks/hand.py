"""The gradient of `y = y*w + x` written by hand in NumPy: what the engine is measured against.

Knows nothing of agrad or of any competitor. Each function runs the program forward, then its reverse loop,
and returns the gradients of the sum of the result, x first.

The forward line is the program as its user wrote it, the same expression that every competitor runs. The reverse
loop is what a good NumPy programmer writes: buffers made once, `+=` and `*=` on them, activations in a list and only
where a gradient needs them. No `out=` scratch arrays, no loops fused by other tools.
"""

import numpy as np


def forward(start, w, x, steps):
    y = start
    for _ in range(steps):
        y = y * w + x
    return y


def chain(start, w, x, steps):
    """Gradient with respect to x; w is a constant, so no activation is kept."""
    g = np.ones_like(forward(start, w, x, steps))
    gx = np.zeros_like(x)
    for _ in range(steps):
        gx += g
        g *= w
    return (gx,)


def chain_kept(start, w, x, steps):
    """Gradients with respect to x and w; every y is kept for w."""
    kept = []
    y = start
    for _ in range(steps):
        kept.append(y)
        y = y * w + x
    g = np.ones_like(y)
    gx, gw = np.zeros_like(x), np.zeros_like(w)
    for y in reversed(kept):
        gx += g
        gw += g * y
        g *= w
    return gx, gw


def chain_in_place(start, w, x, steps):
    """As `chain`, with the forward line rewritten to allocate nothing either: the floor of what NumPy can do."""
    y = start.copy()
    for _ in range(steps):
        y *= w
        y += x
    g = np.ones_like(y)
    gx = np.zeros_like(x)
    for _ in range(steps):
        gx += g
        g *= w
    return (gx,)


def bias(start, w, x, steps):
    """As `chain` for a row x added to every row of y. `np.add.reduce` is `g.sum(axis=0)` without its Python wrapper."""
    g = np.ones_like(forward(start, w, x, steps))
    gx = np.zeros_like(x)
    for _ in range(steps):
        gx += np.add.reduce(g, axis=0)
        g *= w
    return (gx,)


def scalars(start, w, x, steps):
    """As `chain` for 0-d arrays that are first turned into NumPy scalars, which have no `+=` to offer."""
    y, w, x = start[()], w[()], x[()]
    for _ in range(steps):
        y = y * w + x
    g = np.float64(1.0)
    gx = np.float64(0.0)
    for _ in range(steps):
        gx = gx + g
        g = g * w
    return (gx,)


def scalars_kept(start, w, x, steps):
    """As `chain_kept` on NumPy scalars."""
    kept = []
    y, w, x = start[()], w[()], x[()]
    for _ in range(steps):
        kept.append(y)
        y = y * w + x
    g = np.float64(1.0)
    gx = gw = np.float64(0.0)
    for y in reversed(kept):
        gx = gx + g
        gw = gw + g * y
        g = g * w
    return gx, gw
