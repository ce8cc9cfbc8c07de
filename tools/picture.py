"""Draw the picture of the README: `python tools/picture.py docs/graph.svg`."""

import sys

import agrad
from agrad import nn


class Net(nn.Module):
    """Three layers, the second with a way around it, and a temperature."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.last = nn.Linear(784, 64), nn.Linear(64, 64), nn.Linear(64, 10)
        self.temperature = nn.Parameter(agrad.ones(()))

    def forward(self, x: agrad.Tensor) -> agrad.Tensor:
        h = agrad.relu(self.first(x))
        return self.last(h + agrad.tanh(self.second(h))) / self.temperature


def graph() -> agrad.viz.Graph:
    """A loss of it, the layers folded."""
    model = Net()
    with agrad.viz.scopes(model) as scopes:
        out = model(agrad.zeros((32, 784)))
    return agrad.viz.graph((out**2).mean(), scopes=scopes)


if __name__ == "__main__":
    graph().save(sys.argv[1])
