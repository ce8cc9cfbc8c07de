"""How gradients flow: their size, parameter by parameter. Must know no backend and no rule."""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from agrad.autograd.grad_mode import no_grad
from agrad.cython_core.engine import Tensor
from agrad.viz.colours import COLOURS, Colour
from agrad.viz.reading import Params, pairs_of
from agrad.viz.svg import FONT, printable

# What is said of a gradient -> its colour.
STATES = {
    "fine": COLOURS["leaf"],
    "vanishing": COLOURS["more"],
    "zero": COLOURS["more"],
    "exploding": Colour("#fee2e2", "#ef4444", "#7f1d1d"),
    "not finite": Colour("#fee2e2", "#ef4444", "#7f1d1d"),
    "none": COLOURS["op"],
    "frozen": COLOURS["op"],
}
WORDS = {
    "none": "None: no backward pass reached it", "frozen": "None: it does not require grad",
    "zero": "0: reached, but with nothing",
}
BAR, HEIGHT, LETTER = 320, 22, 7.0      # pixels
TEXT_BAR = 24                           # letters


@dataclass(frozen=True)
class Flow:
    """The gradient of one parameter.

    Attributes
    ----------
    name : str
    mean, largest : float or None
        Of the absolute values; None where there is no gradient.
    state : {"fine", "vanishing", "zero", "exploding", "not finite", "none", "frozen"}
    """

    name: str
    mean: float | None
    largest: float | None
    state: str


class GradientFlow:
    """What `plot_gradients` found: notebooks show it, `print` writes bars.

    Attributes
    ----------
    rows : tuple of Flow
        In the order in which the parameters came.
    """

    def __init__(self, rows: Iterable[Flow]) -> None:
        self.rows = tuple(rows)

    def _length(self, value: float | None) -> float:
        """The length of a bar between 0 and 1, on a scale of powers of ten."""
        values = [v for row in self.rows for v in (row.mean, row.largest) if v is not None and 0 < v < math.inf]
        if value is None or value == 0:
            return 0.0
        if not math.isfinite(value):
            return 1.0
        low, high = math.floor(math.log10(min(values)) - 0.01), math.ceil(math.log10(max(values)) + 0.01)
        return (math.log10(value) - low) / (high - low)

    def text(self) -> str:
        """Lines of bars: solid to the mean, light to the largest."""
        width = max((len(row.name) for row in self.rows), default=0)
        lines = []
        for row in self.rows:
            solid, full = (round(TEXT_BAR * self._length(value)) for value in (row.mean, row.largest))
            bar = ("█" * solid + "░" * (full - solid)).ljust(TEXT_BAR)
            lines.append(f"{row.name:<{width}}  {bar}  {said(row)}".rstrip())
        return "\n".join(lines)

    def svg(self) -> str:
        """Bars on a scale of powers of ten: dark to the mean, light to the largest value."""
        left = 12 + LETTER * max((len(row.name) for row in self.rows), default=0)
        right = 24 + LETTER * max((len(said(row)) for row in self.rows), default=0)
        width, height = left + BAR + right, HEIGHT * len(self.rows) + 12
        parts = [self._bars(row, left, 6.0 + HEIGHT * k) for k, row in enumerate(self.rows)]
        head = (
            f'<svg xmlns="http://www.w3.org/2000/svg" class="flow" width="{width:.0f}" height="{height:.0f}" '
            f'viewBox="0 0 {width:.0f} {height:.0f}">'
        )
        style = f"<style>.flow text{{font-family:{FONT};font-size:11px}}</style>"
        ground = f'<rect width="{width:.0f}" height="{height:.0f}" fill="#ffffff"/>'
        return "\n".join([head, style, ground, *parts, "</svg>", ""])

    def _bars(self, row: Flow, left: float, top: float) -> str:
        colour = STATES[row.state]
        mean, largest = (BAR * self._length(value) for value in (row.mean, row.largest))
        middle, thickness = top + HEIGHT / 2 + 4, HEIGHT - 8
        return (
            f'<g class="{row.state.replace(" ", "-")}"><title>{printable(f"{row.name}: {said(row)}")}</title>'
            f'<text x="{left - 6:.1f}" y="{middle:.1f}" text-anchor="end" fill="#0f172a">{printable(row.name)}</text>'
            f'<rect x="{left:.1f}" y="{top + 4:.1f}" width="{largest:.1f}" height="{thickness}" fill="{colour.fill}" '
            f'stroke="{colour.line}"/>'
            f'<rect x="{left:.1f}" y="{top + 4:.1f}" width="{mean:.1f}" height="{thickness}" fill="{colour.line}"/>'
            f'<text x="{left + BAR + 10:.1f}" y="{middle:.1f}" fill="{colour.text}">{printable(said(row))}</text></g>'
        )

    def draw(self, ax: Any) -> None:
        """The same bars on axes of matplotlib."""
        places = range(len(self.rows))
        for name, values, strength in (("largest", [row.largest for row in self.rows], 0.35),
                                       ("mean", [row.mean for row in self.rows], 1.0)):
            finite = [v if v is not None and math.isfinite(v) else 0.0 for v in values]
            ax.barh(places, finite, color=[STATES[row.state].line for row in self.rows], alpha=strength, label=name)
        ax.set_yticks(places, [f"{row.name} ({row.state})" if row.state != "fine" else row.name for row in self.rows])
        ax.invert_yaxis()
        if any(row.mean for row in self.rows):
            ax.set_xscale("log")
        ax.set_xlabel("absolute gradient")
        ax.legend()

    def _repr_svg_(self) -> str:
        return self.svg()

    def __str__(self) -> str:
        return self.text()

    def __repr__(self) -> str:
        return f"<GradientFlow of {len(self.rows)} parameters>"


def said(row: Flow) -> str:
    """What there is to say of a gradient."""
    if row.mean is None or row.largest is None or row.state == "zero":
        return WORDS[row.state]
    numbers = f"mean {row.mean:.1e}, max {row.largest:.1e}"
    return numbers if row.state == "fine" else f"{numbers}: {row.state}"


def plot_gradients(
    named_parameters: Params, *, ax: Any = None, vanishing: float = 1e-7, exploding: float = 1e3
) -> GradientFlow:
    """The mean and largest absolute gradient of each parameter, after `backward`.

    No gradient (None: nothing depends on the parameter, or it is frozen) and a gradient of zero are told apart, and
    those that vanish, explode or are not finite are marked.

    Parameters
    ----------
    named_parameters : Module, dict or iterable of pairs
        As of `model.named_parameters()`.
    ax : matplotlib axes, optional
        Where to draw as well.
    vanishing, exploding : float
        A largest value below, or above, is marked.

    Returns
    -------
    GradientFlow

    Examples
    --------
    >>> import agrad
    >>> w = agrad.ones(3).requires_grad_()
    >>> b = agrad.zeros(3).requires_grad_()
    >>> (w * 2).sum().backward()
    >>> print(agrad.viz.plot_gradients({"w": w, "b": b}))
    w  ███████                   mean 2.0e+00, max 2.0e+00
    b                            None: no backward pass reached it
    """
    flow = GradientFlow(_flow(name, t, vanishing, exploding) for name, t in pairs_of(named_parameters))
    if ax is not None:
        flow.draw(ax)
    return flow


def _flow(name: str, t: Tensor, vanishing: float, exploding: float) -> Flow:
    g = t.grad
    if g is None:
        return Flow(name, None, None, "none" if t.requires_grad else "frozen")
    if g.size == 0:
        return Flow(name, 0.0, 0.0, "zero")
    with no_grad():
        sizes = abs(g.detach())
        mean, largest = float(sizes.mean()), float(sizes.max())
    if not math.isfinite(largest):
        state = "not finite"
    elif largest == 0:
        state = "zero"
    else:
        state = "vanishing" if largest < vanishing else "exploding" if largest > exploding else "fine"
    return Flow(name, mean, largest, state)
