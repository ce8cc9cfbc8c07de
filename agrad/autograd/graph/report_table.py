"""What a graph holds, by operation. Must know no backend and no rule."""

import math
from dataclasses import dataclass
from typing import Any

from agrad.cython_core import engine
from agrad.cython_core.engine import Node, Tensor


@dataclass(frozen=True)
class Row:
    """The nodes of one operation.

    Attributes
    ----------
    op : str
    nodes : int
    saved : int
        Arrays that they keep, one per storage.
    bytes : int
        What these take; what several operations keep counts for the first.
    freed : int
        Nodes whose values are gone, after a backward pass.
    """

    op: str
    nodes: int
    saved: int
    bytes: int
    freed: int


@dataclass(frozen=True)
class Report:
    """What `report` found; `print` shows it.

    Attributes
    ----------
    rows : tuple of Row
        The largest first.
    nodes, bytes : int
        Totals; the memory of leaves is not in it.
    leaves, leaf_bytes : int
        Leaves that gradients go to, and what their values take.
    """

    rows: tuple[Row, ...]
    nodes: int
    bytes: int
    leaves: int
    leaf_bytes: int

    def __str__(self) -> str:
        width = max(len(name) for name in ("operation", *(row.op for row in self.rows))) + 2
        head = f"{'operation':<{width}}{'nodes':>8}{'freed':>8}{'saved':>8}{'memory':>12}"
        lines = [
            f"{row.op:<{width}}{row.nodes:>8}{row.freed:>8}{row.saved:>8}{size_text(row.bytes):>12}"
            for row in self.rows
        ]
        total = f"{'total':<{width}}{self.nodes:>8}{'':>16}{size_text(self.bytes):>12}"
        leaves = f"{'leaves':<{width}}{self.leaves:>8}{'':>16}{size_text(self.leaf_bytes):>12}"
        return "\n".join([head, *lines, total, leaves])


def report(*roots: Tensor) -> Report:
    """What the graph under some tensors holds: nodes and saved values by operation, in bytes.

    An array that several nodes save counts once, as do arrays on one storage. What hooks have packed is not counted.

    Examples
    --------
    >>> import agrad
    >>> x = agrad.ones(1000).requires_grad_()
    >>> print(agrad.autograd.graph.report((x.exp() * x).sum()))
    operation     nodes   freed   saved      memory
    exp               1       0       1      8.0 kB
    multiply          1       0       0         0 B
    sum               1       0       0         0 B
    total             3                      8.0 kB
    leaves            1                      8.0 kB
    """
    nodes: dict[int, Node] = {}
    leaves: dict[int, Tensor] = {}
    for root in roots:
        if not isinstance(root, Tensor):
            raise TypeError(f"report() takes Tensors, not {type(root).__name__}; of several losses: report(a, b)")
        found_nodes, found_leaves = engine.nodes_under(root)
        nodes |= {id(node): node for node in found_nodes}
        leaves |= {id(leaf): leaf for leaf in found_leaves}
    leaf_memory = {id(owner_of(engine.raw_value(leaf))) for leaf in leaves.values()}
    seen: dict[int, tuple[Any, str, int]] = {}      # storage -> (itself, operation, bytes)
    counts: dict[str, list[int]] = {}
    for node in sorted(nodes.values(), key=lambda node: node._sequence_nr()):
        rule = engine.rule_of_node(node)
        row = counts.setdefault(rule.op.name, [0, 0])
        row[0] += 1
        row[1] += engine.is_freed(node)
        for storage, t in engine.kept_arrays(node):
            if id(owner_of(engine.raw_value(t))) in leaf_memory:
                continue
            op, size = seen.get(id(storage), (storage, rule.op.name, 0))[1:]
            seen[id(storage)] = (storage, op, max(size, bytes_of(t)))
    rows = [
        Row(op, n, *_sums([size for _, owner, size in seen.values() if owner == op]), freed)
        for op, (n, freed) in counts.items()
    ]
    rows.sort(key=lambda row: (-row.bytes, row.op))
    total, leaf_total = sum(row.bytes for row in rows), sum(bytes_of(leaf) for leaf in leaves.values())
    return Report(tuple(rows), len(nodes), total, len(leaves), leaf_total)


def _sums(sizes: list[int]) -> tuple[int, int]:
    return len(sizes), sum(sizes)


def bytes_of(t: Tensor) -> int:
    """What the elements of a tensor take; 0 where an axis has a length that nobody knows yet."""
    lengths = t.shape
    known = all(isinstance(n, int) for n in lengths)
    return math.prod(lengths) * ((t.dtype.bits + 7) // 8) if known else 0


def owner_of(raw: Any) -> Any:
    """The array that owns the memory of another, where the library tells."""
    while type(base := getattr(raw, "base", None)) is type(raw):
        raw = base
    return raw


def size_text(n: int) -> str:
    """Bytes, for people."""
    size, unit = float(n), "B"
    for bigger in ("kB", "MB", "GB", "TB"):
        if size < 1000:
            break
        size, unit = size / 1000, bigger
    return f"{n} B" if unit == "B" else f"{size:.1f} {unit}"
