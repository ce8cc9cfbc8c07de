"""`graph` and `make_dot`: from a tensor to its picture. Must know no backend and no rule."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from agrad.cython_core.engine import Tensor
from agrad.viz import dot, mermaid, svg, text
from agrad.viz.drawing import Box, Picture
from agrad.viz.folding import cut, fold
from agrad.viz.module_calls import scopes as Scopes
from agrad.viz.reading import Params, pairs_of, read, roots_of

WRITERS = {".svg": "svg", ".mmd": "mermaid", ".txt": "text"}


class Graph:
    """A picture of a graph, made by `graph`: notebooks show it, `print` writes it as a tree.

    It holds no tensor and no node: the graph that it shows may be freed.

    Attributes
    ----------
    boxes : list of Box
        What is drawn, in the order of creation: operations, leaves, calls of modules.
    edges : list of (int, int)
        From operands to results, as positions in `boxes`.
    nodes, leaves : int
        What the graph has, drawn or not.
    left_out : int
        How many of them are not drawn.
    """

    def __init__(self, picture: Picture) -> None:
        self._picture = picture

    @property
    def boxes(self) -> list[Box]:
        return self._picture.boxes

    @property
    def edges(self) -> list[tuple[int, int]]:
        return self._picture.edges

    @property
    def nodes(self) -> int:
        return self._picture.n_nodes

    @property
    def leaves(self) -> int:
        return self._picture.n_leaves

    @property
    def left_out(self) -> int:
        return self._picture.left_out

    def text(self) -> str:
        """A tree of lines, the result first.

        A single operand stands right under its operation; of several, each has a branch. What is used several times
        has a number, and is drawn where it comes first.
        """
        return text.tree(self._picture)

    def mermaid(self) -> str:
        """A flowchart in Mermaid's language, for Markdown."""
        return mermaid.flowchart(self._picture)

    def dot(self) -> Any:
        """A `graphviz.Digraph`; needs graphviz."""
        return dot.digraph(self._picture)

    def svg(self) -> str:
        """An SVG, drawn without any library."""
        return svg.svg(self._picture)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write a file: .svg, .mmd (Mermaid) or .txt, as its name ends."""
        writer = WRITERS.get(Path(path).suffix.lower())
        if writer is None:
            known = ", ".join(WRITERS)
            raise ValueError(f"{os.fspath(path)!r}: expected a name that ends in {known}; dot().render() writes others")
        Path(path).write_text(getattr(self, writer)(), encoding="utf-8")

    def _repr_svg_(self) -> str:
        return self.svg()

    def __str__(self) -> str:
        return self.text()

    def __repr__(self) -> str:
        return f"<Graph of {self.nodes} nodes and {self.leaves} leaves>"


def graph(
    what: Tensor | Sequence[Tensor],
    params: Params = None,
    *,
    scopes: Scopes | None = None,
    depth: int | None = 1,
    max_boxes: int = 200,
) -> Graph:
    """A picture of the graph under a tensor, or under several.

    Each box names the operation, shape and dtype of its result, the bytes that this takes, and the bytes that are kept
    for backward. Of an operation with several results the first that is used is shown.

    Parameters
    ----------
    what : Tensor or sequence of Tensor
        Results; all must require grad.
    params : Module, dict or iterable of pairs, optional
        Names of leaves: a module's parameters, a dict of names and tensors, or pairs as of `named_parameters()`.
    scopes : scopes, optional
        What `agrad.viz.scopes(model)` noted while the graph was made: calls of modules are folded into one box each.
    depth : int or None
        How deep the calls that are folded are nested: 0 the model itself, 1 the modules that it calls. None folds
        nothing.
    max_boxes : int
        Of a larger picture only what was computed last is drawn; a box says how much is left out.

    Returns
    -------
    Graph

    Raises
    ------
    ValueError
        If a tensor does not require grad.

    Examples
    --------
    >>> import agrad
    >>> x = agrad.ones((2, 3))
    >>> w = agrad.ones((3, 1)).requires_grad_()
    >>> print(agrad.viz.graph((agrad.tanh(x @ w) ** 2).sum(), {"w": w}))
    sum  () float64  8 B
    pow  (2, 1) float64  16 B
    tanh  (2, 1) float64  16 B, keeps 16 B
    matmul  (2, 1) float64  16 B, keeps 48 B
    w  (3, 1) float64  24 B
    """
    picture = read(roots_of(what, "graph"), _names(params), scopes.names() if scopes is not None else None)
    if scopes is not None and depth is not None:
        picture = fold(picture, scopes, depth)
    return Graph(cut(picture, max_boxes))


def make_dot(
    var: Tensor | Sequence[Tensor],
    params: Params = None,
    show_attrs: bool = False,
    show_saved: bool = False,
    *,
    scopes: Scopes | None = None,
    depth: int | None = 1,
    max_boxes: int = 2000,
) -> Any:
    """A `graphviz.Digraph` of the graph under a tensor, as torchviz makes it.

    Operations are grey and have PyTorch's names, leaves are blue, results green, saved tensors orange. Rendering to SVG
    or PNG (`render`, `pipe`) needs the program `dot`; `graph(...).svg()` does not.

    Parameters
    ----------
    var : Tensor or sequence of Tensor
    params, scopes, depth, max_boxes
        See `graph`.
    show_attrs : bool
        Write on each node what it saved.
    show_saved : bool
        Draw saved tensors.

    Examples
    --------
    >>> import agrad
    >>> x = agrad.ones(3).requires_grad_()
    >>> dot = agrad.viz.make_dot((x * x).sum(), params={"x": x})
    >>> "MulBackward0" in dot.source, "darkolivegreen1" in dot.source
    (True, True)
    """
    names = scopes.names() if scopes is not None else None
    picture = read(roots_of(var, "make_dot"), _names(params), names, show_attrs, show_saved)
    if scopes is not None and depth is not None:
        picture = fold(picture, scopes, depth)
    return dot.digraph(cut(picture, max_boxes))


def _names(params: Params) -> dict[int, str]:
    """Names of tensors by their identity."""
    return {} if params is None else {id(t): name for name, t in pairs_of(params)}
