"""Tensors that a module knows as its own: what is trained, and what only belongs to its state.

Must know nothing of modules.
"""

from typing import Any

from agrad.creation import asarray
from agrad.cython_core.engine import Tensor


class Parameter(Tensor):
    """A leaf that a module finds among its attributes, and an optimizer changes.

    What is computed from parameters are plain Tensors.

    Parameters
    ----------
    data : Tensor, optional
        The values, or anything that `agrad.asarray` takes; the parameter shares its memory. Default: empty.
    requires_grad : bool
        False freezes it.

    Raises
    ------
    RuntimeError
        If integers or booleans are to require grad.

    Examples
    --------
    >>> import agrad
    >>> agrad.nn.Parameter(agrad.ones(2))
    Parameter containing:
    tensor([1., 1.], requires_grad=True)
    """

    def __init__(self, data: Any = None, requires_grad: bool = True) -> None:
        share(self, data)
        self.requires_grad_(requires_grad)

    def __repr__(self) -> str:
        return f"Parameter containing:\n{super().__repr__()}"

    def __deepcopy__(self, memo: dict[int, Any]) -> "Parameter":
        """Another parameter with a copy of the values; it begins without a gradient."""
        if id(self) not in memo:
            memo[id(self)] = type(self)(self.detach().clone(), self.requires_grad)
        return memo[id(self)]  # type: ignore[no-any-return]


class Buffer(Tensor):
    """A Tensor that becomes a buffer of the module it is assigned to: part of its state, and not trained.

    Parameters
    ----------
    data : Tensor, optional
        The values, or anything that `agrad.asarray` takes; the buffer shares its memory. Default: empty.
    persistent : bool
        Whether `state_dict` has it.

    Examples
    --------
    >>> import agrad
    >>> module = agrad.nn.Module()
    >>> module.mean = agrad.nn.Buffer(agrad.zeros(2))
    >>> module.state_dict()
    {'mean': tensor([0., 0.])}
    """

    def __init__(self, data: Any = None, *, persistent: bool = True) -> None:
        share(self, data)
        self.persistent = persistent


def share(new: Tensor, data: Any) -> None:
    """Give a tensor that is being made the memory of another."""
    new._adopt(asarray([] if data is None else data).detach())
