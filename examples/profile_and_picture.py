"""Where the time of training steps goes, how their gradients flow, and what their graph looks like.

A small convolutional network takes a few steps. What is printed: which operations took the time and the memory, forward
and backward; the gradient of each parameter; the graph with a line for each layer. What is written: a trace for
https://ui.perfetto.dev, and the graph as SVG. It takes about 1 s on NumPy.

    python examples/profile_and_picture.py [--backend torch] [--steps 5] [--folder .] [--seed 0]
"""

from pathlib import Path
from typing import NamedTuple

from training import number, options

import agrad
from agrad import nn
from agrad.nn import functional as F


class Report(NamedTuple):
    losses: list[float]
    profile: agrad.profiler.profile
    picture: agrad.viz.Graph
    trace: Path
    svg: Path


def network():
    return nn.Sequential(
        nn.Conv2d(1, 8, kernel_size=3), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(8 * 7 * 7, 10)
    ).float()


def profiled(model, images, labels, steps):
    """Take steps under the profiler; return the losses and the profile."""
    optimizer = agrad.optim.SGD(model.parameters(), lr=0.02)
    losses = []
    with agrad.profiler.profile(model) as profile:
        for step in range(1, steps + 1):
            optimizer.zero_grad()
            loss = F.cross_entropy(model(images), labels)
            losses.append(number(loss, step))
            loss.backward()
            with agrad.profiler.record_function("the optimizer's step"):
                optimizer.step()
    return losses, profile


def pictured(model, images, labels):
    """The graph of one step, each call of a layer folded into one box."""
    with agrad.viz.scopes(model) as scopes:
        loss = F.cross_entropy(model(images), labels)
    return agrad.viz.graph(loss, model, scopes=scopes)


def main(arguments=None):
    given = options(__doc__, arguments, folder=".", steps=5)
    with agrad.use_backend(given.backend):
        model = network()
        images = agrad.randn(64, 1, 16, 16, dtype=agrad.float32)
        labels = agrad.randint(10, (64,))
        F.cross_entropy(model(images), labels).backward()       # rules are loaded when they are first used
        losses, profile = profiled(model, images, labels, given.steps)
        picture = pictured(model, images, labels)
        print(f"{profile.table(row_limit=8)}\n\n{agrad.viz.plot_gradients(model)}\n\n{picture}\n")

        folder = Path(given.folder)
        folder.mkdir(parents=True, exist_ok=True)
        trace, svg = folder / "step.json", folder / "step.svg"
        profile.export_chrome_trace(trace)
        picture.save(svg)
        print(f"{trace}: a trace for https://ui.perfetto.dev; {svg}: the graph")
        return Report(losses, profile, picture, trace, svg)


if __name__ == "__main__":
    main()
