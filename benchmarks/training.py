"""What a step of training costs against torch, and against the step written by hand in NumPy. One run, one table.

    python benchmarks/training.py [--quick] [--only CASE ...] [--json FILE]

float32, one thread. The competitors of a case take turns as in overhead.py, and the losses are compared before anything
is timed. The exit status is 1 unless every limit is held. README.md beside this file says what each case is for.
"""

import turns  # isort: skip  (sets the number of threads before any array library is imported)

import sys

import numpy as np
from turns import Case

COLUMNS = ("agrad", "torch", "layer", "hand")


def libraries(modules):
    """(column, library, its layers, its optimizers) for agrad and torch, as far as they are there."""
    if "agrad" in modules:
        agrad = modules["agrad"]
        agrad.set_default_dtype(agrad.float32)
        yield "agrad", agrad, agrad.nn, agrad.optim
    if "torch" in modules:
        torch = modules["torch"]
        yield "torch", torch, torch.nn, torch.optim


def give_weights(lib, model, scale=0.1):
    """The same small weights in every library."""
    rng = np.random.default_rng(0)
    with lib.no_grad():
        for parameter in model.parameters():
            weights = rng.standard_normal(tuple(parameter.shape)).astype("f") * scale
            parameter.copy_(lib.from_numpy(weights.astype("f")))


def training_step(lib, nn, optim, model, inputs, labels):
    """Loss, gradients, one step of SGD."""
    give_weights(lib, model)
    optimizer = optim.SGD(model.parameters(), lr=0.01)
    x, y = lib.from_numpy(inputs), lib.from_numpy(labels)

    def step():
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(model(x), y)
        loss.backward()
        optimizer.step()
        return [loss.detach()]

    return step


def batch(*shape):
    rng = np.random.default_rng(1)
    return rng.standard_normal((64, *shape)).astype("f"), rng.integers(0, 10, 64)


# ---- the cases


def mlp(modules):
    """Batch 64, 784-256-10, SGD."""
    inputs, labels = batch(784)
    found = {
        column: training_step(
            lib, nn, optim, nn.Sequential(nn.Linear(784, 256), nn.ReLU(), nn.Linear(256, 10)), inputs, labels
        )
        for column, lib, nn, optim in libraries(modules)
    }
    found["hand"] = mlp_by_hand(inputs, labels)
    return found


def mlp_by_hand(x, labels):
    rng = np.random.default_rng(0)
    shapes = (256, 784), 256, (10, 256), 10
    w1, b1, w2, b2 = (rng.standard_normal(shape).astype("f") * np.float32(0.1) for shape in shapes)
    rows = np.arange(len(labels))

    def step():
        hidden = np.maximum(x @ w1.T + b1, 0)
        scores = hidden @ w2.T + b2
        scores -= scores.max(axis=1, keepdims=True)
        e = np.exp(scores)
        total = e.sum(axis=1)
        loss = np.mean(np.log(total) - scores[rows, labels])
        g = e / total[:, None]
        g[rows, labels] -= 1
        g /= len(labels)
        gh = g @ w2
        gh *= hidden > 0
        for parameter, gradient in ((w2, g.T @ hidden), (b2, g.sum(axis=0)), (w1, gh.T @ x), (b1, gh.sum(axis=0))):
            gradient *= np.float32(0.01)
            parameter -= gradient
        return [loss]

    return step


def lenet(modules):
    """Two convolutions with pooling and three linear layers on 28x28, batch 64, SGD."""
    inputs, labels = batch(1, 28, 28)

    def model(nn):
        return nn.Sequential(
            nn.Conv2d(1, 6, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2),
            nn.Conv2d(6, 16, 5), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(),
            nn.Linear(400, 120), nn.ReLU(), nn.Linear(120, 84), nn.ReLU(), nn.Linear(84, 10),
        )

    return {
        column: training_step(lib, nn, optim, model(nn), inputs, labels)
        for column, lib, nn, optim in libraries(modules)
    }


STEPS, UNITS = 100, 64


def through_cell(lib, nn, x):
    """A cell in a Python loop, forward and backward."""
    cell = nn.LSTMCell(UNITS, UNITS)
    give_weights(lib, cell)

    def run():
        cell.zero_grad()
        h = c = lib.zeros(1, UNITS)
        for i in range(STEPS):
            h, c = cell(x[i], (h, c))
        h.sum().backward()
        return [h.detach(), cell.weight_hh.grad, cell.bias_ih.grad]

    return run


def through_layer(lib, nn, x):
    """The whole sequence given to a layer, forward and backward."""
    layer = nn.LSTM(UNITS, UNITS)
    give_weights(lib, layer)

    def run():
        layer.zero_grad()
        _, (h, _) = layer(x)
        h.sum().backward()
        return [h[0].detach(), layer.weight_hh_l0.grad, layer.bias_ih_l0.grad]

    return run


def lstm(run):
    """agrad's cell or layer against torch's cell in a loop; torch's compiled layer for information."""

    def programs(modules):
        x = np.random.default_rng(1).standard_normal((STEPS, 1, UNITS)).astype("f")
        found = {}
        for column, lib, nn, _ in libraries(modules):
            sequence = lib.from_numpy(x)
            found[column] = (run if column == "agrad" else through_cell)(lib, nn, sequence)
            if column == "torch":
                found["layer"] = through_layer(lib, nn, sequence)
        return found

    return programs


def adam(modules):
    """Adam over 100 parameters of 10x10, one by one: torch's loop, not its fused kernels."""
    found = {}
    for column, lib, _, optim in libraries(modules):
        rng = np.random.default_rng(0)
        parameters = []
        for _ in range(100):
            parameters.append(lib.from_numpy(rng.standard_normal((10, 10)).astype("f")).requires_grad_())
            parameters[-1].grad = lib.from_numpy(rng.standard_normal((10, 10)).astype("f"))
        optimizer = optim.Adam(parameters, lr=1e-4, **({"foreach": False} if column == "torch" else {}))
        found[column] = adam_step(optimizer, parameters[0])
    return found


def adam_step(optimizer, first):
    def step():
        optimizer.step()
        return [first.detach()]

    return step


CASES = [
    Case("mlp", "MLP step, 784-256-10, batch 64", mlp, {"torch": 0.75}, 1e-4),
    Case("lstm", "LSTM layer, 64 units, 100 steps", lstm(through_layer), {"torch": 0.5}, 1e-4),
    Case("cell", "LSTM cell in a loop", lstm(through_cell), {"torch": 0.5}, 1e-4),
    Case("lenet", "LeNet step, 28x28, batch 64", lenet, {"torch": 2.0}, 1e-4),
    Case("adam", "Adam, 100 parameters of 10x10", adam, {"torch": 0.5}, 1e-4),
]

if __name__ == "__main__":
    sys.exit(turns.compare(__doc__, CASES, COLUMNS))
