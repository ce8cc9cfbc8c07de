"""The colours of pictures."""

from typing import NamedTuple


class Colour(NamedTuple):
    """How a box looks."""

    fill: str
    line: str
    text: str


COLOURS = {
    "op": Colour("#f8fafc", "#94a3b8", "#0f172a"),
    "leaf": Colour("#dbeafe", "#3b82f6", "#1e3a8a"),
    "module": Colour("#ede9fe", "#8b5cf6", "#4c1d95"),
    "root": Colour("#dcfce7", "#22c55e", "#14532d"),
    "more": Colour("#fef3c7", "#f59e0b", "#78350f"),
}
