"""What agrad.func costs against torch.func, a loop, and value and tangent written by hand. One run, one table.

    python benchmarks/transforms.py [--quick] [--only CASE ...] [--json FILE]

float64, one thread. The competitors of a case take turns as in overhead.py, and results are compared before anything
is timed. The exit status is 1 unless every limit is held. README.md beside this file says what each case is for.
"""

import turns  # isort: skip  (sets the number of threads before any array library is imported)

import sys
import warnings

import numpy as np
from turns import Case

COLUMNS = ("agrad", "torch", "loop", "hand")


# ---- the cases

def chain(shape, steps=1000):
    """y = y*w + x, value and tangent, x with a tangent and w constant."""

    def programs(modules):
        rng = np.random.default_rng(0)
        w, x, tx = rng.uniform(0.5, 0.9, shape), rng.standard_normal(shape), rng.standard_normal(shape)

        def run(x, w):
            y = x
            for _ in range(steps):
                y = y * w + x
            return y

        def by_hand():
            y, ty = x, tx
            for _ in range(steps):
                y = y * w + x
                ty = ty * w + tx
            return y, ty

        found = {}
        if "agrad" in modules:
            agrad = modules["agrad"]
            from agrad import func

            aw, ax, at = map(agrad.asarray, (w, x, tx))
            found["agrad"] = lambda: func.jvp(lambda x: run(x, aw), (ax,), (at,))
        found["hand"] = by_hand
        return found

    return programs


def libraries(modules):
    """(column, namespace, transforms, from an array) for agrad and torch, as far as they are there."""
    if "agrad" in modules:
        from agrad import func

        yield "agrad", modules["agrad"], func, modules["agrad"].asarray
    if "torch" in modules:
        warnings.filterwarnings("ignore", module="torch")
        import torch.func

        yield "torch", modules["torch"], torch.func, torch.tensor


def per_sample_gradients(modules, samples=1000):
    """The gradient by the parameters of a two-layer network, for each sample by itself."""
    rng = np.random.default_rng(0)
    arrays = [rng.standard_normal(shape) / 5 for shape in ((20, 32), (32,), (32, 1), (1,))]
    inputs, targets = rng.standard_normal((samples, 20)), rng.standard_normal((samples, 1))
    found = {}
    for column, xp, func, convert in libraries(modules):
        program, loop = gradients_of_samples(xp, func, [convert(a) for a in arrays], convert(inputs), convert(targets))
        found[column] = program
        if column == "agrad":
            found["loop"] = loop
    return found


def gradients_of_samples(xp, func, params, inputs, targets):
    def loss(params, x, y):
        w1, b1, w2, b2 = params
        return xp.sum((xp.tanh(x @ w1 + b1) @ w2 + b2 - y) ** 2)

    gradient = func.grad(loss)
    mapped = func.vmap(gradient, in_dims=(None, 0, 0))

    def loop():
        rows = [gradient(params, inputs[i], targets[i]) for i in range(inputs.shape[0])]
        return [xp.stack(column) for column in zip(*rows, strict=True)]

    return lambda: mapped(params, inputs, targets), loop


def hessian(modules, n=50):
    rng = np.random.default_rng(0)
    matrix, point = rng.standard_normal((n, n)), rng.standard_normal(n)
    return {
        column: hessian_program(xp, func, convert(matrix), convert(point))
        for column, xp, func, convert in libraries(modules)
    }


def hessian_program(xp, func, matrix, point):
    found = func.hessian(lambda x: xp.sum(xp.sin(matrix @ x) * x ** 2) + xp.sum(xp.exp(-x * x)))
    return lambda: [found(point)]


CASES = [
    Case("chain-0d", "jvp of a chain, 0-d", chain(()), {"hand": 1.5}),
    Case("chain-4", "jvp of a chain, 4 elements", chain((4,)), {"hand": 1.5}),
    Case("chain-32x32", "jvp of a chain, 32x32", chain((32, 32)), {"hand": 1.5}),
    Case("chain-200x200", "jvp of a chain, 200x200", chain((200, 200), 100), {"hand": 1.5}),
    Case("samples", "vmap(grad), 1000 samples", per_sample_gradients, {"torch": 1.3, "loop": 0.05}),
    Case("hessian", "hessian, 50 variables", hessian, {"torch": 1.0}),
]

if __name__ == "__main__":
    sys.exit(turns.compare(__doc__, CASES, COLUMNS))
