"""Pictures in Mermaid's language, which Markdown pages and notebooks draw."""

import re

from agrad.viz.colours import COLOURS
from agrad.viz.drawing import Box, Picture


def flowchart(picture: Picture) -> str:
    """A flowchart from the leaves down to the results."""
    lines = ["flowchart TD"]
    lines += [f"  n{i}{_shape(box)}:::{box.colour}" for i, box in enumerate(picture.boxes)]
    lines += [f"  n{source} --> n{target}" for source, target in picture.edges]
    used = {box.colour for box in picture.boxes}
    lines += [
        f"  classDef {name} fill:{colour.fill},stroke:{colour.line},color:{colour.text}"
        for name, colour in COLOURS.items() if name in used
    ]
    return "\n".join(lines) + "\n"


def _shape(box: Box) -> str:
    label = "<br/>".join(_escaped(line) for line in (box.title, *box.details()))
    return f'(["{label}"])' if box.kind == "leaf" else f'["{label}"]'


def _escaped(text: str) -> str:
    """Characters that mean something to Mermaid, Markdown or HTML, as its numbered entities."""
    return re.sub(r"[^\w\s.,:()\[\]+=/-]|_", lambda found: f"#{ord(found.group())};", " ".join(text.split()))
