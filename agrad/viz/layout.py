"""Where the boxes of a picture stand: in layers, operands above results, so that lines are short and cross little.

The usual four steps (Sugiyama, Tagawa, Toda: Methods for visual understanding of hierarchical system structures,
1981): layers; places for lines that pass layers; an order within each layer by the mean of the neighbours; positions.
All are iterative. Must know nothing but numbers.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

GAP = 24.0          # between neighbours in a layer
TRACK = 8.0         # the width of a place that a line passes
SWEEPS = 8          # passes over all places, less where there are very many
MANY = 20_000
STRAIGHT = 3        # how much more a line weighs for each of its ends that is such a place

Edge = tuple[int, int]


@dataclass
class Layout:
    """Centres of the boxes, and the points that each line passes between its two boxes.

    Attributes
    ----------
    x : list of float
        By box.
    layers : list of int
        By box.
    ways : list of list of (float, int)
        By line, the position in each layer that it passes, from above.
    width : float
    """

    x: list[float]
    layers: list[int]
    ways: list[list[tuple[float, int]]]
    width: float


def arrange(widths: Sequence[float], edges: Sequence[Edge]) -> Layout:
    """Layers and positions for boxes of given widths."""
    layers = layers_of(len(widths), edges)
    downward = [edge for edge in dict.fromkeys(edges) if layers[edge[0]] < layers[edge[1]]]
    sizes = list(widths)
    places: dict[tuple[int, int], int] = {}     # lines from one box share their way: (box, layer) -> place
    steps: list[Edge] = []
    levels = list(layers)
    for source, target in sorted(downward, key=lambda edge: (edge[0], layers[edge[1]])):
        above = source
        for layer in range(layers[source] + 1, layers[target]):
            if (source, layer) not in places:
                places[source, layer] = len(sizes)
                sizes.append(TRACK)
                levels.append(layer)
                steps.append((above, places[source, layer]))
            above = places[source, layer]
        steps.append((above, target))
    rows = _ordered(_rows(levels), steps, len(sizes))
    x = _positions(rows, sizes, steps)
    ways = []
    for source, target in edges:
        passed = range(layers[source] + 1, layers[target])
        ways.append([(x[places[source, layer]], layer) for layer in passed])
    return Layout(x[: len(widths)], layers, ways, max((x[i] + sizes[i] / 2 for i in range(len(sizes))), default=0.0))


def layers_of(n: int, edges: Sequence[Edge]) -> list[int]:
    """A layer for each box, below those of its operands and as near as can be to its uses.

    Lines that close a circle are left out of account.
    """
    above, below = _neighbours(n, edges)
    layers = [0] * n
    order = _topological(n, above)
    for i in order:
        layers[i] = max((layers[k] + 1 for k in above[i] if k != i), default=0)
    for i in reversed(order):
        layers[i] = max(layers[i], min((layers[k] for k in below[i]), default=0) - 1)
    return layers


def _topological(n: int, above: Sequence[Sequence[int]]) -> list[int]:
    """All boxes, each after its operands."""
    order: list[int] = []
    state = [0] * n         # 1: begun, 2: done
    for start in range(n):
        stack = [start]
        while stack:
            i = stack[-1]
            if state[i] == 0:
                state[i] = 1
                stack.extend(k for k in above[i] if state[k] == 0)
            else:
                stack.pop()
                if state[i] == 1:
                    state[i] = 2
                    order.append(i)
    return order


def _rows(levels: Sequence[int]) -> list[list[int]]:
    rows: list[list[int]] = [[] for _ in range(max(levels, default=-1) + 1)]
    for i, level in enumerate(levels):
        rows[level].append(i)
    return rows


def _neighbours(n: int, steps: Sequence[Edge]) -> tuple[list[list[int]], list[list[int]]]:
    """For each place those above and those below it."""
    above: list[list[int]] = [[] for _ in range(n)]
    below: list[list[int]] = [[] for _ in range(n)]
    for source, target in steps:
        above[target].append(source)
        below[source].append(target)
    return above, below


def _ordered(rows: list[list[int]], steps: Sequence[Edge], n: int) -> list[list[int]]:
    """The rows in an order with few crossings: of several sweeps the best."""
    above, below = _neighbours(n, steps)
    best, fewest = rows, _crossings(rows, below)
    for sweep in range(_sweeps(n)):
        rows = [list(row) for row in rows]
        down = sweep % 2 == 0
        place = {i: float(k) for row in rows for k, i in enumerate(row)}
        for row in rows if down else reversed(rows):
            near = above if down else below
            means = {i: sum(place[k] for k in near[i]) / len(near[i]) if near[i] else place[i] for i in row}
            row.sort(key=means.__getitem__)
            place |= {i: float(k) for k, i in enumerate(row)}
        crossings = _crossings(rows, below)
        if crossings < fewest:
            best, fewest = rows, crossings
        if not fewest:
            break
    return best


def _sweeps(n: int) -> int:
    return max(2, min(SWEEPS, MANY // max(n, 1)))


def _crossings(rows: Sequence[Sequence[int]], below: Sequence[Sequence[int]]) -> int:
    """How many pairs of lines cross."""
    total = 0
    for upper, lower in pairwise(rows):
        place = {i: k for k, i in enumerate(lower)}
        ends = [place[k] for i in upper for k in sorted(below[i], key=place.__getitem__)]
        total += _inversions(ends)
    return total


def _inversions(values: Sequence[int]) -> int:
    """Pairs in the wrong order, counted by a tree of sums."""
    counts = [0] * (max(values, default=0) + 2)
    total = 0
    for seen, value in enumerate(values):
        k, smaller_or_equal = value + 1, 0
        while k:
            smaller_or_equal += counts[k]
            k &= k - 1
        total += seen - smaller_or_equal
        k = value + 1
        while k < len(counts):
            counts[k] += 1
            k += k & -k
    return total


def _positions(rows: Sequence[Sequence[int]], sizes: Sequence[float], steps: Sequence[Edge]) -> list[float]:
    """Each place as near as can be to its neighbours, in its order and without overlaps.

    First from above and from below in turn, then between both, where ways between two tracks weigh most: long lines
    become straight.
    """
    above, below = _neighbours(len(sizes), steps)
    x = [0.0] * len(sizes)
    for row in rows:
        for left, i in pairwise(row):
            x[i] = x[left] + (sizes[left] + sizes[i]) / 2 + GAP
    sweeps = _sweeps(len(sizes))
    for sweep in range(4 * sweeps):
        down = sweep % 2 == 0
        for row in rows if down else reversed(rows):
            wanted = []
            for i in row:
                near = (above if down else below)[i] if sweep < 2 * sweeps else above[i] + below[i]
                weights = [STRAIGHT ** ((sizes[i] == TRACK) + (sizes[k] == TRACK)) for k in near]
                total = sum(weights)
                mean = sum(w * x[k] for w, k in zip(weights, near, strict=True)) / total if near else x[i]
                wanted.append((mean, total or 1))
            for i, value in zip(row, _spread([sizes[i] for i in row], wanted), strict=True):
                x[i] = value
    left_most = min((x[i] - sizes[i] / 2 for i in range(len(sizes))), default=0.0)
    return [value - left_most for value in x]


def _spread(widths: Sequence[float], wanted: Sequence[tuple[float, int]]) -> list[float]:
    """Centres in order and without overlaps, with the least sum of weighted squared distances from what is wanted.

    Without the widths this is isotonic regression: neighbours that are in each other's way move as one.
    """
    offsets = [0.0]
    for left, right in pairwise(widths):
        offsets.append(offsets[-1] + (left + right) / 2 + GAP)
    blocks: list[tuple[float, int, int]] = []       # weighted sum of what is wanted, sum of weights, how many
    for (value, weight), offset in zip(wanted, offsets, strict=True):
        total, weights, count = (value - offset) * weight, weight, 1
        while blocks and blocks[-1][0] * weights >= total * blocks[-1][1]:
            before = blocks.pop()
            total, weights, count = total + before[0], weights + before[1], count + before[2]
        blocks.append((total, weights, count))
    bases = [total / weights for total, weights, count in blocks for _ in range(count)]
    return [base + offset for base, offset in zip(bases, offsets, strict=True)]
