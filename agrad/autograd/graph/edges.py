"""Places in the graph: gradients can be asked for there without keeping a tensor. Must know no backend and no rule."""

from typing import Any, NamedTuple

from agrad.cython_core import engine
from agrad.cython_core.engine import Node, Tensor


class GradientEdge(NamedTuple):
    """Where a gradient flows: an output of a node.

    `backward` and `grad` take edges in the place of tensors. An edge keeps the graph, but not the values of the tensor
    it was made of; a leaf it does keep.

    Attributes
    ----------
    node : Node
    output_nr : int
        Which output of the node.
    ownership_token : object
        What keeps the place known; made by `get_gradient_edge`.
    """

    node: Node
    output_nr: int
    ownership_token: Any = None


def get_gradient_edge(tensor: Tensor) -> GradientEdge:
    """The edge that brings a tensor its gradient.

    Raises
    ------
    RuntimeError
        If the tensor does not require grad.

    Examples
    --------
    >>> import agrad
    >>> x = agrad.tensor(3.0, requires_grad=True)
    >>> y = x * x
    >>> edge = agrad.autograd.graph.get_gradient_edge(y)
    >>> agrad.autograd.grad(y * 2, edge)
    (tensor(2.),)
    """
    if not isinstance(tensor, Tensor) or not tensor.requires_grad:
        raise RuntimeError(
            "It is not possible to get the gradient edge for a Tensor that does not require gradients"
        )
    return GradientEdge(*engine.edge_of_tensor(tensor))


def tensor_at(edge: GradientEdge) -> Tensor:
    """A tensor that stands for an edge in a walk; of a leaf, the leaf."""
    if not isinstance(edge.node, Node):
        raise RuntimeError(
            f"GradientEdge's first object must be an autograd.graph.Node but got {type(edge.node).__name__}"
        )
    return engine.tensor_at_edge(*edge)
