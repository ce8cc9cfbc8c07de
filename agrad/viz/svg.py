"""Pictures as SVG, drawn without any library."""

from collections.abc import Sequence
from xml.sax.saxutils import escape

from agrad.viz.colours import COLOURS
from agrad.viz.drawing import Box, Picture
from agrad.viz.layout import arrange

# Sizes in pixels. The letters of fonts of fixed width take 0.6 of their height, on every machine.
TITLE, DETAIL = 13, 11
PADDING, LINE, SPACE, MARGIN = 10, 15, 34, 12
LETTER = 0.61
LINES = "#94a3b8"
MOST_LETTERS = 44
FONT = "ui-monospace,SFMono-Regular,Menlo,Consolas,'DejaVu Sans Mono',monospace"

# A page may show several pictures, and others: the rules name ours.
STYLE = (
    f".agrad text{{font-family:{FONT};font-size:{DETAIL}px;text-anchor:middle}} "
    f".agrad .title{{font-size:{TITLE}px;font-weight:600}} .agrad rect{{stroke-width:1.4}} "
    f".agrad .edge{{fill:none;stroke:{LINES};stroke-width:1.4}}"
)
ARROW = (
    '<defs><marker id="arrow" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" orient="auto">'
    f'<path d="M0,0.5 L8,4 L0,7.5 Z" fill="{LINES}"/></marker></defs>'
)


def svg(picture: Picture) -> str:
    """An SVG of the picture, operands above results."""
    texts = [[_shortened(line) for line in (box.title, *box.details())] for box in picture.boxes]
    widths = [
        2 * PADDING + LETTER * max([len(title) * TITLE, *(len(line) * DETAIL for line in details)])
        for title, *details in texts
    ]
    heights = [PADDING + 4.0 + LINE * len(lines) for lines in texts]
    layout = arrange(widths, picture.edges)
    tallest = [0.0] * (max(layout.layers, default=-1) + 1)
    for layer, height in zip(layout.layers, heights, strict=True):
        tallest[layer] = max(tallest[layer], height)
    middles, top = [], float(MARGIN)
    for height in tallest:
        middles.append(top + height / 2)
        top += height + SPACE
    parts = []
    for (source, target), way in zip(picture.edges, layout.ways, strict=True):
        start = layout.x[source], middles[layout.layers[source]] + heights[source] / 2
        end = layout.x[target], middles[layout.layers[target]] - heights[target] / 2
        straight = [(x, middles[layer] + side * tallest[layer] / 2) for x, layer in way for side in (-1, 1)]
        parts.append(_line([start, *straight, end]))
    for box, lines, x, layer, width, height in zip(
        picture.boxes, texts, layout.x, layout.layers, widths, heights, strict=True
    ):
        parts.append(_box(box, lines, x, middles[layer], width, height))
    full = f"{layout.width + 2 * MARGIN:.0f}", f"{top - SPACE + MARGIN:.0f}"
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" class="agrad" width="{full[0]}" height="{full[1]}" '
        f'viewBox="{-MARGIN} 0 {full[0]} {full[1]}">'
    )
    return "\n".join([head, f"<style>{STYLE}</style>", ARROW, *parts, "</svg>", ""])


def _box(box: Box, lines: Sequence[str], x: float, y: float, width: float, height: float) -> str:
    """A box, with everything that it says in its tooltip."""
    colour = COLOURS[box.colour]
    radius = height / 2 if box.kind == "leaf" else 6
    dashed = ' stroke-dasharray="5 3"' if box.is_freed or box.kind == "more" else ""
    left, top = x - width / 2, y - height / 2
    tip = "\n".join(line for line in (box.title, box.node_name, *box.details()) if line)
    parts = [
        f'<g class="{box.kind}"><title>{printable(tip)}</title>',
        f'<rect x="{left:.1f}" y="{top:.1f}" width="{width:.1f}" height="{height:.1f}" rx="{radius:g}" '
        f'fill="{colour.fill}" stroke="{colour.line}"{dashed}/>',
    ]
    for k, line in enumerate(lines):
        kind = ' class="title"' if k == 0 else ""
        base = top + PADDING / 2 + LINE * (k + 1) - 3
        parts.append(f'<text x="{x:.1f}" y="{base:.1f}" fill="{colour.text}"{kind}>{printable(line)}</text>')
    return "".join([*parts, "</g>"])


def _line(points: Sequence[tuple[float, float]]) -> str:
    """A smooth line downwards: straight along the layers that it passes, curved between them."""
    (x, y), *rest = points
    path = [f"M{x:.1f},{y:.1f}"]
    for k, (to_x, to_y) in enumerate(rest):
        middle = (y + to_y) / 2
        curve = f"C{x:.1f},{middle:.1f} {to_x:.1f},{middle:.1f} "
        path.append(f"{'L' if k % 2 else curve}{to_x:.1f},{to_y:.1f}")
        x, y = to_x, to_y
    return f'<path class="edge" d="{" ".join(path)}" marker-end="url(#arrow)"/>'


def _shortened(text: str) -> str:
    return text if len(text) <= MOST_LETTERS else text[: MOST_LETTERS - 1] + "…"


def printable(text: str) -> str:
    """Text for XML, which does not allow all characters."""
    return escape("".join(c if c.isprintable() or c == "\n" else "\N{REPLACEMENT CHARACTER}" for c in text))
