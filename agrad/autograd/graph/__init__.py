"""The graph as an object: its nodes, and what may be done to saved values. Must know no backend and no rule."""

from collections.abc import Iterable

from agrad.autograd.grad_mode import ModeContext
from agrad.autograd.graph.edges import GradientEdge, get_gradient_edge
from agrad.autograd.graph.explanation import Explanation, explain
from agrad.autograd.graph.hooks import register_multi_grad_hook
from agrad.autograd.graph.names import saved_names
from agrad.autograd.graph.report_table import Report, report
from agrad.autograd.graph.saved_hooks import disable_saved_tensors_hooks, save_on_cpu, save_on_disk, saved_tensors_hooks
from agrad.cython_core import engine
from agrad.cython_core.engine import Node, Tensor

__all__ = [
    "Explanation",
    "GradientEdge",
    "Node",
    "Report",
    "allow_mutation_on_saved_tensors",
    "disable_saved_tensors_hooks",
    "explain",
    "get_gradient_edge",
    "increment_version",
    "register_multi_grad_hook",
    "report",
    "save_on_cpu",
    "save_on_disk",
    "saved_tensors_hooks",
]

engine.install_saved_names(saved_names)


class allow_mutation_on_saved_tensors(ModeContext):
    """Let writes to a value that the graph saved first put a copy in its place, so that gradients stay right.

    What was written over does no harm in another way, too: in a `backward` inside this context a cotangent of zero
    stays zero where it meets an infinite derivative, as under a mask that wrote over a division by zero.

    Examples
    --------
    >>> import agrad
    >>> x = agrad.tensor([1.0, 2.0], requires_grad=True)
    >>> with agrad.autograd.graph.allow_mutation_on_saved_tensors():
    ...     y = x * 1
    ...     z = y * y
    ...     _ = y.zero_()
    ...     z.sum().backward()
    >>> x.grad
    tensor([2., 4.])
    """

    def __init__(self) -> None:
        super().__init__(on_saved_write="copy")


def increment_version(tensor: Tensor | Iterable[Tensor]) -> None:
    """Count a write that the engine cannot see, made through NumPy or another alias of the memory.

    Parameters
    ----------
    tensor : Tensor or iterable of Tensor

    Examples
    --------
    >>> import agrad
    >>> x = agrad.zeros(2)
    >>> agrad.autograd.graph.increment_version(x)
    >>> x._version
    1
    """
    tensors = (tensor,) if isinstance(tensor, Tensor) else tuple(tensor) if isinstance(tensor, Iterable) else (tensor,)
    for t in tensors:
        if not isinstance(t, Tensor):
            raise TypeError(f"increment_version() takes a Tensor or an iterable of them, not {type(t).__name__}")
    for t in tensors:
        engine.increment_version(t)
