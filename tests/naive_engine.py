"""What agrad's engine does, as a specification: graphs, walks, views and writes, slowly and in plain NumPy.

The oracle of test_random_programs.py. It must not know agrad, and holds only the rules that it needs itself. No array
is ever changed: a write puts a new one into the cell. Rules are made of operations, so a walk can be recorded.
"""

import contextlib
import copy
from types import SimpleNamespace

import numpy as np

RECORDING = [True]


@contextlib.contextmanager
def recording(on):
    RECORDING.append(on)
    try:
        yield
    finally:
        RECORDING.pop()


class Overwritten(RuntimeError): ...  # a saved value was written over


class Node:  # one operation: a leaf, a node or None for each input, the rule, and the cells that the rule relies on
    made = 0

    def __init__(self, inputs, vjp, saved=()):
        self.edges = [(x.edge(), x.shape) for x in inputs]
        self.saved = [(x.cell, x.cell.version) for x in saved]
        self.vjp, self.hooks, self.keeper, Node.made = vjp, [], None, Node.made + 1
        self.order = Node.made


class Tensor:
    order = 0  # a leaf closes after every node

    def __init__(self, array, requires_grad=False):
        flat = np.array(array, dtype=float).ravel()
        self.cell = SimpleNamespace(flat=flat, version=0)  # shared with views and detached twins
        self.positions, self.frozen = np.arange(flat.size).reshape(np.shape(array)), None
        self.root, self.rebound, self.seen = self, 0, -1  # what a view is of; its changes of history; those seen here
        self.own_edge, self.grad, self.hooks = self if requires_grad else None, None, []

    array = property(lambda self: self.cell.flat[self.positions] if self.frozen is None else self.frozen)
    shape = property(lambda self: self.positions.shape)

    def edge(self):  # where the gradient goes; a view makes its node anew when the root's history has changed
        if self.root is not self and self.root.edge() is not None and self.seen != self.root.rebound:
            self.seen = self.root.rebound
            self.own_edge = Node([self.root], lambda g: [put(Tensor(np.zeros(self.root.shape)), self.positions, g)])
        return self.own_edge

    def detach(self):
        twin = copy.copy(self)
        twin.root, twin.own_edge, twin.grad, twin.hooks = twin, None, None, []
        return twin

    def saved(self):  # the value and the history of now, whatever is written later
        twin = self.detach()
        twin.frozen, twin.own_edge = self.array, self.edge()
        return twin

    def view(self, select):  # select(positions) says which part of the storage
        twin = self.detach()
        twin.root, twin.positions, twin.seen = self.root, select(self.positions), -1
        return twin

    def write(self, value):  # take a value and, while recording, its history; views and twins see it
        if RECORDING[-1] and value.edge() is not None:
            self.root.rebind(value if self.root is self else put(self.root.saved(), self.positions, value))
        flat = self.cell.flat.copy()
        flat[self.positions] = value.array
        self.cell.flat, self.cell.version = flat, self.cell.version + 1

    def rebind(self, value):
        before, self.own_edge, self.rebound = self.own_edge, value.edge(), self.rebound + 1
        if isinstance(before, Node):
            before.keeper, self.own_edge.keeper = None, before.keeper


def record(array, inputs, vjp, saved=()):
    out = Tensor(array)
    if RECORDING[-1] and any(x.edge() is not None for x in inputs):
        out.own_edge = Node(inputs, vjp, saved)
    return out


def leads(edge, into, known):  # whether a gradient at this edge can reach the leaf or node `into`; None: any leaf
    if edge not in known:
        below = [leads(next, into, known) for next, _ in getattr(edge, "edges", ())]
        known[edge] = edge is not None and (into is None or edge is into or any(below))
    return known[edge]


def walk(root, cotangent, into=None, create_graph=False, overwriting_raises=True):
    """Each leaf and node on the way -> its gradient after hooks; the latest node first."""
    slots, closed, known = {root.edge(): cotangent}, {}, {}
    with recording(create_graph):
        while slots:
            here = max(slots, key=lambda edge: edge.order)
            g = slots.pop(here)
            for hook in here.hooks:
                g = hook(g)
            closed[here] = g
            if isinstance(here, Tensor) or here is into:
                continue
            if overwriting_raises and any(cell.version != version for cell, version in here.saved):
                raise Overwritten
            for (edge, shape), part in zip(here.edges, here.vjp(g), strict=True):
                if leads(edge, into, known):
                    slots[edge] = add(slots[edge], total(part, shape)) if edge in slots else total(part, shape)
    return closed


def backward(root, cotangent, **how):
    for edge, g in walk(root, cotangent, **how).items():
        keeper = edge if isinstance(edge, Tensor) else edge.keeper
        if keeper is not None:
            keeper.grad = g.array if keeper.grad is None else keeper.grad + g.array


def total(x, shape):  # undoes broadcasting
    padded = (1,) * (len(x.shape) - len(shape)) + tuple(shape)
    axes = tuple(i for i, n in enumerate(padded) if n == 1)
    return record(x.array.sum(axes).reshape(shape), [x], lambda g: [mul(g, Tensor(np.ones(x.shape)))])


def take(x, positions):  # indexing, transposing, reshaping: any choice of elements
    return record(x.array.ravel()[positions], [x], lambda g: [put(Tensor(np.zeros(x.shape)), positions, g)])


def put(x, positions, value):
    flat = x.array.flatten()
    flat[positions] = value.array
    return record(flat.reshape(x.shape), [x, value], lambda g: [put(g, positions, Tensor(0.0)), take(g, positions)])


def add(x, y):
    return record(x.array + y.array, [x, y], lambda g: [g, g])


def mul(x, y, in_place=False):  # a write saves a copy of what it replaces
    saved = [y] * (x.edge() is not None) + [x] * (y.edge() is not None and not in_place)
    a, b = x.saved(), y.saved()
    return record(x.array * y.array, [x, y], lambda g: [mul(g, b), mul(g, a)], saved)
