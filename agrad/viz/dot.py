"""Pictures in DOT, with the boxes and colours of torchviz. Needs the package graphviz, which also renders them."""

from typing import Any

from agrad.viz.drawing import Box, Picture

COLOURS = {"leaf": "lightblue", "root": "darkolivegreen1", "saved": "orange", "module": "plum1", "more": "khaki1"}
MOST_LETTERS = 50       # of a saved value
BOXES = {
    "style": "filled", "shape": "box", "align": "left", "fontsize": "10", "ranksep": "0.1", "height": "0.2",
    "fontname": "monospace",
}


def digraph(picture: Picture) -> Any:
    """A `graphviz.Digraph`: operations are grey, leaves blue, results green, saved tensors orange."""
    try:
        import graphviz
    except ImportError as error:
        raise ImportError("pictures in DOT need the package graphviz: pip install 'agrad[viz]'") from error
    dot = graphviz.Digraph(node_attr=BOXES)

    def put(name: str, lines: list[str], kind: str = "") -> None:
        dot.node(name, graphviz.escape("\n ".join(lines)), fillcolor=COLOURS.get(kind, "lightgrey"))

    for i, box in enumerate(picture.boxes):
        name = f"n{i}"
        if box.kind == "leaf":
            put(name, _tensor(box), box.colour)
            put(f"{name}a", [box.node_name])
            dot.edge(name, f"{name}a")
        elif box.kind == "op":
            put(name, _operation(box))
        else:
            put(name, [box.title, *box.details()], box.kind)
        for k, (title, shape) in enumerate(box.saved):
            put(f"{name}s{k}", [title, shape], "saved")
            dot.edge(f"{name}s{k}", name, dir="none")
        if box.is_root and box.kind != "leaf":
            put(f"{name}r", ["", *_result(box)], "root")
            dot.edge(name, f"{name}r")
    for source, target in picture.edges:
        dot.edge(f"n{source}a" if picture.boxes[source].kind == "leaf" else f"n{source}", f"n{target}")
    side = max(12.0, 0.15 * len(dot.body))      # in inches
    dot.graph_attr["size"] = f"{side:g},{side:g}"
    return dot


def _tensor(box: Box) -> list[str]:
    return ["" if box.title == "leaf" else box.title, *_result(box)]


def _result(box: Box) -> list[str]:
    return [line for line in (box.form(), box.memory()) if line]


def _operation(box: Box) -> list[str]:
    """PyTorch's name of the node, its result, and under a line what it saved."""
    lines = [box.node_name, *_result(box)]
    saved = [f"{name}: {value}"[:MOST_LETTERS] for name, value in box.attributes]
    return [*lines, "-" * max(map(len, saved)), *saved] if saved else lines
