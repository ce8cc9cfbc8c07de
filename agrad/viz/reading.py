"""From the engine's graph to a picture: every node and leaf once, with what is known of its result.

Must know no backend, no rule and no way of drawing.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from agrad import dtypes
from agrad.autograd.graph.names import saved_names
from agrad.autograd.graph.report_table import owner_of
from agrad.cython_core import engine
from agrad.cython_core.engine import Node, Tensor
from agrad.viz.drawing import Box, Picture, one_line, shape_text

Form = tuple[tuple[object, ...], str, int | None]     # shape, dtype, bytes
Params = Any    # a mapping from names to tensors, a module, or pairs of names and tensors


class Reading:
    """The graph under some tensors, while it is looked at; it holds nodes and tensors, pictures do not.

    Attributes
    ----------
    nodes : list of Node
        In the order of creation.
    leaves : list of Tensor
        In the order of their first use.
    """

    def __init__(self, roots: Sequence[Tensor]) -> None:
        nodes: dict[int, Node] = {}
        leaves: dict[int, Tensor] = {}
        for root in roots:
            found_nodes, found_leaves = engine.nodes_under(root)
            nodes |= {id(node): node for node in found_nodes}
            leaves |= {id(leaf): leaf for leaf in found_leaves}
        self.roots = roots
        self.nodes = sorted(nodes.values(), key=lambda node: node._sequence_nr())
        self.edges = {id(node): engine.edges_of(node) for node in self.nodes}
        used = (edge for node in self.nodes for edge in self.edges[id(node)] if isinstance(edge, Tensor))
        self.leaves = list({id(leaf): leaf for leaf in (*used, *leaves.values())}.values())

    def forms(self) -> dict[int, Form]:
        """Shape, dtype and bytes of every node's first result that is used.

        Nodes do not know their results; those who use them remember operands that differ from their own result.
        """
        forms = {id(root.grad_fn): form_of(root) for root in self.roots if root.grad_fn is not None}
        for node in reversed(self.nodes):
            own = forms.get(id(node))
            for edge, like in zip(self.edges[id(node)], engine.likes_of(node), strict=True):
                form = own if like is None else _form(like.shape, like.dtype)
                if isinstance(edge, Node) and form is not None:
                    forms.setdefault(id(edge), form)
        return forms

    def kept(self) -> dict[int, int]:
        """Bytes that nodes keep for backward: each storage counts once, for its first node; leaves do not count."""
        seen = {id(owner_of(engine.raw_value(leaf))) for leaf in self.leaves}
        kept: dict[int, int] = {}
        held = []       # as long as they are here no other storage has their id
        for node in self.nodes:
            for storage, t in engine.kept_arrays(node):
                raw = owner_of(engine.raw_value(t))
                if id(storage) not in seen and id(raw) not in seen:
                    held.append((storage, raw))
                    seen |= {id(storage), id(raw)}
                    kept[id(node)] = kept.get(id(node), 0) + (form_of(t)[2] or 0)
        return kept


def form_of(t: Tensor) -> Form:
    """Shape, dtype and bytes of a tensor."""
    return _form(t.shape, t.dtype)


def _form(shape: Iterable[object], dtype: object) -> Form:
    lengths = tuple(shape)
    try:
        known = dtypes.of(dtype)
    except TypeError:       # a dtype of the library's own
        return lengths, str(dtype), None
    whole = [n for n in lengths if isinstance(n, int)]
    return lengths, known.name, math.prod(whole) * ((known.bits + 7) // 8) if len(whole) == len(lengths) else None


def roots_of(what: Tensor | Sequence[Tensor], function: str) -> list[Tensor]:
    """The tensors to draw; an error for what has no graph."""
    roots: list[Any] = list(what) if isinstance(what, list | tuple) else [what]
    if not roots:
        raise ValueError(f"{function}() got no tensor")
    for i, root in enumerate(roots):
        which = "the tensor" if isinstance(what, Tensor) else f"tensor {i}"
        if not isinstance(root, Tensor):
            raise TypeError(f"{function}() takes a Tensor, or a list or tuple of them, not {type(root).__name__}")
        if not root.requires_grad:
            raise ValueError(
                f"{function}(): {which} does not require grad, so there is no graph to draw; "
                "agrad.autograd.graph.explain(lambda: f(...)) says which operation ended it"
            )
    return roots


def pairs_of(params: Params) -> list[tuple[str, Tensor]]:
    """Names and tensors."""
    if hasattr(params, "named_parameters"):
        params = params.named_parameters()
    expected = "expected a module, a dict of names and Tensors, or pairs of them"
    if not isinstance(params, Iterable):
        raise TypeError(f"{expected}, not {type(params).__name__}")
    pairs = list(params.items() if isinstance(params, Mapping) else params)
    for pair in pairs:
        if not (isinstance(pair, tuple | list) and len(pair) == 2 and isinstance(pair[1], Tensor)):
            raise TypeError(f"{expected}; got {pair!r} among them")
    return [(one_line(str(name)), t) for name, t in pairs]


def read(
    roots: Sequence[Tensor],
    names: Mapping[int, str],
    parameters: Mapping[int, str] | None = None,
    attributes: bool = False,
    saved: bool = False,
) -> Picture:
    """The whole graph as a picture; `names` and `parameters` (of a watched module) by the identity of tensors."""
    parameters = parameters or {}
    reading = Reading(roots)
    forms, kept = reading.forms(), reading.kept()
    asked = {id(root.grad_fn if root.grad_fn is not None else root) for root in roots}
    picture = Picture(n_nodes=len(reading.nodes), n_leaves=len(reading.leaves))
    places: dict[int, int] = {}

    def put(key: int, box: Box, form: Form | None) -> None:
        if form is not None:
            box.shape, box.dtype, box.bytes = form
        box.is_root = key in asked
        places[key] = len(picture.boxes)
        picture.boxes.append(box)

    def put_leaf(leaf: Tensor, number: int) -> None:
        parameter = parameters.get(id(leaf), "")
        title = names.get(id(leaf)) or parameter or "leaf"
        put(id(leaf), Box("leaf", title, number, "AccumulateGrad", parameter=parameter), form_of(leaf))

    for node in reading.nodes:
        number = node._sequence_nr()
        for edge in reading.edges[id(node)]:
            if isinstance(edge, Tensor) and id(edge) not in places:
                put_leaf(edge, number)
        box = Box(
            "op", engine.rule_of_node(node).op.name, number, node.name(), kept=kept.get(id(node), 0),
            is_freed=engine.is_freed(node), has_hooks=engine.has_hooks(node),
        )
        values = _saved_values(node) if attributes or saved else {}
        if attributes:
            box.attributes = tuple((name, _short(value)) for name, value in values.items())
        if saved:
            box.saved = tuple((name, shape_text(tuple(t.shape))) for name, t in _saved_tensors(values))
        put(id(node), box, forms.get(id(node)))
        picture.edges += [(places[id(edge)], places[id(node)]) for edge in reading.edges[id(node)] if edge is not None]
    for leaf in reading.leaves:
        if id(leaf) not in places:      # a root that is a leaf
            put_leaf(leaf, 0)
    return picture


# ---- what a node saved


def _saved_values(node: Node) -> dict[str, Any]:
    """What a node saved, by PyTorch's names where it has them; nothing once it is freed."""
    if engine.is_freed(node):
        return {}
    if engine.is_custom(node):
        return {"saved_tensors": _saved_value(node, "saved_tensors")}
    shown = [name[len("_saved_"):] for name in dir(node) if name.startswith("_saved_")]
    positions = saved_names(engine.rule_of_node(node).op)
    first = {positions[name]: name for name in sorted(shown, key=list(positions).index, reverse=True)}
    return {name: _saved_value(node, f"_saved_{name}") for _, name in sorted(first.items())}


def _saved_value(node: Node, name: str) -> Any:
    try:
        return getattr(node, name)
    except RuntimeError:    # written over since: backward would say so
        return "[written over]"


def _saved_tensors(values: Mapping[str, Any]) -> Iterable[tuple[str, Tensor]]:
    for name, value in values.items():
        if isinstance(value, Tensor):
            yield name, value
        elif isinstance(value, tuple):
            yield from ((f"{name}[{i}]", t) for i, t in enumerate(value) if isinstance(t, Tensor))


def _short(value: Any) -> str:
    """A saved value in a word or two."""
    if isinstance(value, Tensor):
        return f"[saved tensor {shape_text(tuple(value.shape))}]"
    if isinstance(value, tuple) and any(isinstance(part, Tensor) for part in value):
        return f"[saved tensors: {len(value)}]"
    return one_line(str(value))
