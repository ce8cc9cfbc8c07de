"""A picture as plain data: boxes and the lines between them. Holds nobody's arrays, and must know no engine."""

from dataclasses import dataclass, field

from agrad.autograd.graph.report_table import size_text


@dataclass
class Box:
    """One place of the picture.

    Attributes
    ----------
    kind : {"op", "leaf", "module", "more"}
        An operation, a leaf, the folded call of a module, or what was left out.
    title : str
        The operation; the name of a leaf or module.
    node_name : str
        PyTorch's name of the node.
    number : int
        Position in the order of creation; of a leaf, of its first use.
    shape : tuple or None
        Of the result; None where it is not known.
    dtype : str
    bytes : int or None
        Of the result.
    kept : int
        Bytes kept for backward. What several nodes keep counts for the first.
    is_root, is_freed, has_hooks : bool
    notes : tuple of str
        What else there is to say, line by line.
    parameter : str
        Of a leaf that a watched module owns: its name there.
    size : int
        How many nodes and leaves the box stands for.
    attributes : tuple of (str, str)
        What the node saved: names, and values in short.
    saved : tuple of (str, str)
        Saved tensors: names and shapes.
    """

    kind: str
    title: str
    number: int = 0
    node_name: str = ""
    shape: tuple[object, ...] | None = None
    dtype: str = ""
    bytes: int | None = None
    kept: int = 0
    is_root: bool = False
    is_freed: bool = False
    has_hooks: bool = False
    notes: tuple[str, ...] = ()
    parameter: str = ""
    size: int = 1
    attributes: tuple[tuple[str, str], ...] = ()
    saved: tuple[tuple[str, str], ...] = ()

    def form(self) -> str:
        """Shape and dtype."""
        return "" if self.shape is None else f"{shape_text(self.shape)} {self.dtype}"

    def memory(self) -> str:
        """Bytes of the result, and of what is kept for backward."""
        parts = [] if self.bytes is None else [size_text(self.bytes)]
        if self.kept:
            parts.append(f"keeps {size_text(self.kept)}")
        parts += ["freed"] * self.is_freed + ["hooks"] * self.has_hooks
        return ", ".join(parts)

    def details(self) -> list[str]:
        """The lines under the title."""
        return [line for line in (*self.notes, self.form(), self.memory()) if line]

    @property
    def colour(self) -> str:
        """Which of the colours: what is asked for stands out before what it is."""
        return "root" if self.is_root else self.kind


@dataclass
class Picture:
    """Boxes in the order of creation, and lines from operands to results as pairs of positions.

    Attributes
    ----------
    boxes : list of Box
    edges : list of (int, int)
        One per use: an operand that is used twice has two.
    n_nodes, n_leaves : int
        What the graph has, drawn or not.
    left_out : int
        Nodes and leaves that are not drawn.
    """

    boxes: list[Box] = field(default_factory=list)
    edges: list[tuple[int, int]] = field(default_factory=list)
    n_nodes: int = 0
    n_leaves: int = 0
    left_out: int = 0

    def operands(self) -> list[list[int]]:
        """For each box the boxes it was computed from, in the order of the operation's arguments."""
        below: list[list[int]] = [[] for _ in self.boxes]
        for source, target in self.edges:
            below[target].append(source)
        return below


def shape_text(shape: tuple[object, ...]) -> str:
    """A shape; lengths that nobody knows yet are question marks."""
    names = [str(n) if isinstance(n, int) else n if isinstance(n, str) else "?" for n in shape]
    return f"({', '.join(names)}{',' * (len(names) == 1)})"


def one_line(text: str) -> str:
    """Text without what would break a line or a terminal."""
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in " ".join(text.split()))
