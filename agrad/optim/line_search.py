"""A step length along a direction that satisfies the strong Wolfe conditions.

Nocedal and Wright, Numerical Optimization, 2006, algorithms 3.5 (bracket) and 3.6 (zoom) with cubic interpolation; the
safeguards are those of minFunc (Schmidt, 2005), as in PyTorch. Must know no parameters: only a function of the length.
"""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

DECREASE = 1e-4     # the fraction of the first slope's promise that the loss must fall by
CURVATURE = 0.9     # the fraction of the first slope that must not be left


class Point(NamedTuple):
    """What is known at a step length `t`: the loss, its gradient, and its slope along the direction."""

    t: float
    loss: float
    gradient: Any
    slope: float


def strong_wolfe(
    evaluate: Callable[[float], Point], start: Point, t: float, size: float, tolerance: float, max_evaluations: int
) -> tuple[Point, int]:
    """The point to step to, and how often the function was evaluated.

    Parameters
    ----------
    evaluate : callable
        The point at a step length.
    start : Point
        Where the length is 0.
    t : float
        The first length to try.
    size : float
        The largest component of the direction: a bracket is too small when it moves nothing by more than `tolerance`.
    """
    search = _Search(evaluate, start, size, tolerance, max_evaluations)
    bracket = search.bracket(t)
    return search.zoom(bracket), search.evaluations


class _Search:
    def __init__(
        self, evaluate: Callable[[float], Point], start: Point, size: float, tolerance: float, max_evaluations: int
    ) -> None:
        self.evaluate, self.start, self.size, self.tolerance = evaluate, start, size, tolerance
        self.left = max_evaluations
        self.evaluations = 0

    def at(self, t: float) -> Point:
        self.evaluations += 1
        return self.evaluate(t)

    def is_too_high(self, point: Point) -> bool:
        return point.loss > self.start.loss + DECREASE * point.t * self.start.slope

    def is_flat(self, point: Point) -> bool:
        return abs(point.slope) <= -CURVATURE * self.start.slope

    def bracket(self, t: float) -> list[Point]:
        """Two points with a good one between them, or a good one."""
        before, point, tried = self.start, self.at(t), 0
        while self.left > 0:
            if self.is_too_high(point) or (tried > 1 and point.loss >= before.loss):
                return [before, point]
            if self.is_flat(point):
                return [point]
            if point.slope >= 0:
                return [before, point]
            further = interpolate(before, point, (point.t + 0.01 * (point.t - before.t), 10 * point.t))
            before, point = point, self.at(further)
            tried += 1
            self.left -= 1
        return [self.start, point]

    def zoom(self, bracket: list[Point]) -> Point:
        """The best point of a bracket that is made smaller until a good one is found."""
        low, high = ordered(bracket)
        stuck = False
        while len(bracket) == 2 and self.left > 0 and abs(bracket[1].t - bracket[0].t) * self.size >= self.tolerance:
            t, stuck = self.inside(bracket, stuck)
            point = self.at(t)
            self.left -= 1
            if self.is_too_high(point) or point.loss >= bracket[low].loss:
                bracket[high] = point
                low, high = ordered(bracket)
                continue
            good = self.is_flat(point)
            if not good and point.slope * (bracket[high].t - bracket[low].t) >= 0:
                bracket[high] = bracket[low]
            bracket[low] = point
            if good:
                break
        return bracket[low]

    def inside(self, bracket: list[Point], stuck: bool) -> tuple[float, bool]:
        """The next length to try, and whether it is so near an end that the one after it has to keep away."""
        ends = sorted((bracket[0].t, bracket[1].t))
        t = interpolate(bracket[0], bracket[1], (ends[0], ends[1]))
        margin = 0.1 * (ends[1] - ends[0])
        if not min(ends[1] - t, t - ends[0]) < margin:
            return t, False
        if not stuck and ends[0] < t < ends[1]:
            return t, True
        return (ends[1] - margin if abs(t - ends[1]) < abs(t - ends[0]) else ends[0] + margin), False


def ordered(bracket: list[Point]) -> tuple[int, int]:
    """Which end of a bracket is the lower one, and which the higher."""
    return (0, 1) if bracket[0].loss <= bracket[-1].loss else (1, 0)


def interpolate(a: Point, b: Point, bounds: tuple[float, float]) -> float:
    """Where the cubic through two points and their slopes is smallest within bounds; their middle if nowhere."""
    if a.t > b.t:
        a, b = b, a
    d1 = a.slope + b.slope - 3 * ratio(b.loss - a.loss, b.t - a.t)
    square = d1 * d1 - a.slope * b.slope
    d2 = math.sqrt(square) if square >= 0 else math.nan
    place = b.t - (b.t - a.t) * ratio(b.slope + d2 - d1, b.slope - a.slope + 2 * d2)
    return (bounds[0] + bounds[1]) / 2 if math.isnan(place) else min(max(place, bounds[0]), bounds[1])


def ratio(x: float, y: float) -> float:
    """x / y, infinite or NaN where Python raises."""
    return x / y if y else math.copysign(math.inf, x) if x else math.nan
