"""Forward mode by hand: inside a level, a tensor may carry a tangent, and results carry theirs.

`agrad.func.jvp` does the same for a whole function, and nests. Must know no backend and no rule.
"""

from contextlib import ContextDecorator
from typing import NamedTuple

from agrad import levels
from agrad.autograd.tangents import fitting_tangent
from agrad.cython_core import engine
from agrad.cython_core.engine import Level, Tensor

__all__ = ["UnpackedDualTensor", "dual_level", "enter_dual_level", "exit_dual_level", "make_dual", "unpack_dual"]


class UnpackedDualTensor(NamedTuple):
    """A tensor without its tangent, and the tangent, None if it has none."""

    primal: Tensor
    tangent: Tensor | None


def enter_dual_level() -> int:
    """Start the level in which tensors may carry tangents; its number, for the other functions.

    Raises
    ------
    RuntimeError
        If there is one already.
    """
    if _running() is not None:
        raise RuntimeError("Nested forward mode AD is not supported at the moment")
    levels.enter("dual", records=True)
    return 0


def exit_dual_level(*, level: int | None = None) -> None:
    """End the level: tensors made inside it go on as their primals."""
    running = _running()
    if running is None:
        raise RuntimeError("Dual level must be a positive number.")
    if level is not None and level != 0:
        raise RuntimeError(
            "Trying to exit a forward AD level that was not the last one that was created. This is not supported."
        )
    levels.leave(running)


class dual_level(ContextDecorator):
    """A block, or a decorated function, in which tensors may carry tangents.

    Examples
    --------
    >>> import agrad
    >>> from agrad.autograd import forward_ad
    >>> with forward_ad.dual_level():
    ...     x = forward_ad.make_dual(agrad.tensor(3.0), agrad.tensor(1.0))
    ...     forward_ad.unpack_dual(x * x).tangent
    tensor(6.)
    """

    def __enter__(self) -> int:
        return enter_dual_level()

    def __exit__(self, *_: object) -> None:
        exit_dual_level()


def make_dual(tensor: Tensor, tangent: Tensor, *, level: int | None = None) -> Tensor:
    """The tensor with a tangent; connected to it, if it is tracked.

    Parameters
    ----------
    tensor : Tensor
        Real or complex floating.
    tangent : Tensor
        In the same shape.
    level : int, optional
        What `enter_dual_level` gave.

    Returns
    -------
    Tensor

    Raises
    ------
    RuntimeError
        If there is no level, the tensor has a tangent already, or the tangent does not fit.
    ValueError
        If one of them is not floating.

    Examples
    --------
    >>> import agrad
    >>> from agrad.autograd import forward_ad
    >>> with forward_ad.dual_level():
    ...     y = agrad.sin(forward_ad.make_dual(agrad.tensor(0.0), agrad.tensor(2.0)))
    ...     forward_ad.unpack_dual(y)
    UnpackedDualTensor(primal=tensor(0.), tangent=tensor(2.))
    """
    running = _running()
    if running is None or (level is not None and level < 0):
        raise RuntimeError(
            "Trying to create a dual Tensor for forward AD but no level exists, make sure to enter_dual_level() first."
        )
    for what, t in (("tensor", tensor), ("tangent", tangent)):
        if not isinstance(t, Tensor):
            raise TypeError(f"make_dual(): {what} must be a Tensor, not {type(t).__name__}")
    if levels.outside(running, tensor)[2]:
        raise RuntimeError(
            "Making a dual Tensor based on a Tensor that already has a forward gradient at the same level 0 is not "
            "supported."
        )
    return engine.wrap_level(running, tensor, fitting_tangent(tensor, tangent))


def unpack_dual(tensor: Tensor, *, level: int | None = None) -> UnpackedDualTensor:
    """The tensor without its tangent, and the tangent.

    Parameters
    ----------
    tensor : Tensor
    level : int, optional
        What `enter_dual_level` gave.

    Returns
    -------
    UnpackedDualTensor
        Its `tangent` is None for a tensor that has none, and outside of a level.

    Raises
    ------
    RuntimeError
        If the tensor depends on what a reverse transform inside the level differentiates: that history would be lost.
    """
    running = _running()
    if running is None or (level is not None and level < 0):
        return UnpackedDualTensor(tensor, None)
    value, tangent, dual = levels.outside(running, tensor)
    if not dual:
        return UnpackedDualTensor(tensor, None)
    own = engine.constant_of_level(running, tensor)
    if own.requires_grad and any(engine.level_of(leaf) is running for leaf in engine.nodes_under(own)[1]):
        raise RuntimeError(
            "unpack_dual() inside func.grad, of a tensor that depends on what is differentiated there, would lose its "
            "history; unpack what func.grad returns, or use func.jvp inside it"
        )
    return UnpackedDualTensor(value, tangent)


def _running() -> Level | None:
    """The level of this module that runs, if one does."""
    running: tuple[Level, ...] = engine.get_mode().levels or ()
    return next((level for level in running if level.records), None)
