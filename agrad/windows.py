"""Where a window goes on the axes of an array: lengths, slices, and the checks of what a caller says of them.

It sees shapes only: kernels of all array libraries count with it. Must know no array library and no engine.

A window has `size` elements on each axis, `dilation` apart, and moves by `stride`; `padding` is a pair for each axis:
how much is added before and after it. A negative padding cuts.
"""

from collections.abc import Callable
from functools import lru_cache, wraps
from itertools import product
from math import prod
from operator import index
from typing import Any, TypeVar

Result = TypeVar("Result")
Lengths = tuple[int, ...]
Pairs = tuple[tuple[int, int], ...]

SHAPES = 1024   # so many are remembered


def remembered(function: Callable[..., Result]) -> Callable[..., Result]:
    """A function of lengths whose results are kept; not those of open lengths, which belong to one model."""
    found = lru_cache(SHAPES)(function)

    @wraps(function)
    def call(*args: Any) -> Result:
        return found(*args) if all(map(is_known, args)) else function(*args)

    return call


def is_known(part: Any) -> bool:
    """Whether an argument has no length that is open: no number but ints."""
    return all(map(is_known, part)) if isinstance(part, tuple) else isinstance(part, (int, str))


def whole(values: Any) -> Lengths:
    """Numbers for several axes as a tuple of ints."""
    return tuple(index(value) for value in values)


def pairs(values: Any) -> Pairs:
    """Pairs of numbers for several axes as a tuple of tuples."""
    return tuple((index(low), index(high)) for low, high in values)


def unpadded(n: int) -> Pairs:
    """No padding on n axes."""
    return ((0, 0),) * n


def adds(padding: Pairs) -> bool:
    """Whether a padding adds anything."""
    return any(low > 0 or high > 0 for low, high in padding)


def padded_lengths(lengths: Lengths, padding: Pairs) -> Lengths:
    """The lengths of axes with their padding."""
    return tuple(n + low + high for n, (low, high) in zip(lengths, padding, strict=True))


@remembered
def positions(
    name: str, lengths: Lengths, size: Lengths, stride: Lengths, padding: Pairs, dilation: Lengths
) -> Lengths:
    """How many positions a window has on each axis.

    Raises
    ------
    ValueError
        If the window is larger than the axes with their padding, or the numbers make no sense; it begins with `name`.
    """
    each: dict[str, Any] = {"size": size, "stride": stride, "padding": padding, "dilation": dilation}
    for parameter, values in each.items():
        if len(values) != len(lengths):
            raise ValueError(f"{name}: {parameter} is to be given for each of {len(lengths)} axes, got {values}")
        if parameter != "padding" and min(values, default=1) < 1:
            raise ValueError(f"{name}: {parameter} must be positive, got {values}")
    padded = padded_lengths(lengths, padding)
    reach = tuple(d * (k - 1) + 1 for k, d in zip(size, dilation, strict=True))
    if any(n < r for n, r in zip(padded, reach, strict=True)):
        apart = f", {dilation} apart, reaches over {reach}" if reach != size else ""
        raise ValueError(
            f"{name}: a kernel of {size} elements{apart} is larger than the input: with padding it has {padded} "
            f"elements, {lengths} without"
        )
    return tuple((n - r) // s + 1 for n, r, s in zip(padded, reach, stride, strict=True))


@remembered
def covered_positions(
    name: str, lengths: Lengths, size: Lengths, stride: Lengths, padding: Pairs, dilation: Lengths
) -> Lengths:
    """The same for a window that must meet elements wherever it stands, and not the padding alone."""
    counts = positions(name, lengths, size, stride, padding, dilation)
    for n, k, s, (low, high), d, count in zip(lengths, size, stride, padding, dilation, counts, strict=True):
        before = [low - p * s for p in range(-(-max(low, 0) // s))]    # how far in front of the axis windows begin
        meets = all(-(-b // d) < k and -b % d < n for b in before)
        if not meets or (count - 1) * s - low >= n:
            raise ValueError(
                f"{name}: with the padding {(low, high)} a window of {k} elements, {d} apart, would stand beside an "
                f"axis of {n} elements: pad by half a window at most"
            )
    return counts


@remembered
def places(counts: Lengths, size: Lengths, stride: Lengths, dilation: Lengths) -> tuple[tuple[Any, ...], ...]:
    """For each element of a window, in rows, the key of what it meets at all positions, on the last axes."""
    each = zip(counts, size, stride, dilation, strict=True)
    lines = [[slice(i * d, i * d + s * (n - 1) + 1, s) for i in range(k)] for n, k, s, d in each]
    return tuple((..., *key) for key in product(*lines))


@remembered
def offsets(lengths: Lengths, size: Lengths, dilation: Lengths) -> Lengths:
    """For each element of a window, in rows, how far it is from the first, counted in elements of the whole array."""
    steps = [prod(lengths[axis + 1 :]) * d for axis, d in enumerate(dilation)]
    return tuple(sum(i * step for i, step in zip(place, steps, strict=True)) for place in product(*map(range, size)))


def check_places(name: str, values: Any, numbers: Any, n: int) -> None:
    """Raise a ValueError unless values on n axes at least, and numbers of their places, have one shape."""
    if tuple(values) != tuple(numbers) or len(values) < n:
        raise ValueError(
            f"{name}: expected values and their places in one shape with {n} axes at least, got {tuple(values)} and "
            f"{tuple(numbers)}"
        )


class Correlation:
    """What the shapes of x (N, C, *S), weight (O, C / groups, *K) and y (N, O, *P) say once they fit together.

    Attributes
    ----------
    x, weight, y : tuple of int
        The shapes.
    counts, size, padded : tuple of int
        How many positions the weight has on each axis, its lengths, and those of x with its padding.
    places : tuple
        For each element of the weight the key of what it meets, see `places`.
    groups, inner, outer : int
        How many groups of channels there are, how many channels each has in x, and in y.
    rows, columns : int
        How many numbers of x meet in one of y, and how many positions there are in all samples.

    Raises
    ------
    ValueError
        If the shapes do not fit.
    """

    def __init__(
        self, name: str, x: Lengths, weight: Lengths, stride: Lengths, padding: Pairs, dilation: Lengths, groups: int
    ) -> None:
        if len(x) != len(weight) or len(x) < 3:
            raise ValueError(
                f"{name}: expected an input (N, C, ...) and a weight (O, C / groups, ...) with as many axes, 3 at "
                f"least; got the shapes {x} and {weight}"
            )
        (samples, channels, *_), (outputs, inner, *_) = x, weight
        if groups < 1 or channels != inner * groups or outputs % groups:
            raise ValueError(
                f"{name}: with groups={groups} a weight of the shape {weight} expects {inner * groups} channels, and "
                f"filters that {groups} divides; the input has the shape {x}"
            )
        self.counts = positions(name, x[2:], weight[2:], stride, padding, dilation)
        self.x, self.weight, self.y = x, weight, (samples, outputs, *self.counts)
        self.size, self.stride, self.padding, self.dilation = weight[2:], stride, padding, dilation
        self.padded = padded_lengths(x[2:], padding)
        self.places = places(self.counts, self.size, stride, dilation)
        self.groups, self.inner, self.outer = groups, inner, outputs // groups
        self.rows, self.columns = inner * prod(self.size), samples * prod(self.counts)


_correlation = remembered(Correlation)


def correlation(
    name: str, x: Any, weight: Any, stride: Any, padding: Any, dilation: Any, groups: int, y: Any = None
) -> Correlation:
    """What the shapes of a convolution say, made once; `y` is checked if it is given."""
    plan = _correlation(name, tuple(x), tuple(weight), whole(stride), pairs(padding), whole(dilation), groups)
    if y is not None and tuple(y) != plan.y:
        raise ValueError(
            f"{name}: an input of the shape {plan.x} and a weight of the shape {plan.weight} belong to an output of "
            f"the shape {plan.y}, got {tuple(y)}"
        )
    return plan
