"""Stochastic gradient descent."""

from collections.abc import Iterable
from typing import Any

from agrad.optim import updates
from agrad.optim.elementwise import Elementwise
from agrad.optim.optimizer import check_not_negative


class SGD(Elementwise):
    """Stochastic gradient descent, with momentum if wanted.

    Parameters
    ----------
    params : iterable
        Parameters, named parameters or groups.
    lr : float
        Learning rate.
    momentum : float
        How much of the last step the next one keeps.
    dampening : float
        By how much a gradient counts less in the momentum.
    weight_decay : float
        Weight of the penalty on the parameters' squares.
    nesterov : bool
        Take the gradient's step in addition to the momentum's.
    maximize : bool
        Climb.

    Raises
    ------
    ValueError
        If an option is negative or `nesterov` lacks a momentum.

    Examples
    --------
    >>> import agrad
    >>> w = agrad.tensor([1.0, -2.0], requires_grad=True)
    >>> optimizer = agrad.optim.SGD([w], lr=0.25)
    >>> (w * w).sum().backward()
    >>> optimizer.step()
    >>> w
    tensor([ 0.5000, -1.0000], requires_grad=True)
    """

    formula = staticmethod(updates.sgd)
    numbers = ()

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-3,
        momentum: float = 0,
        dampening: float = 0,
        weight_decay: float = 0,
        nesterov: bool = False,
        *,
        maximize: bool = False,
    ) -> None:
        check_not_negative({"learning rate": lr, "momentum value": momentum, "weight_decay value": weight_decay})
        if nesterov and (momentum <= 0 or dampening != 0):
            raise ValueError("Nesterov momentum requires a momentum and zero dampening")
        super().__init__(params, {
            "lr": lr, "momentum": momentum, "dampening": dampening, "weight_decay": weight_decay, "nesterov": nesterov,
            "maximize": maximize,
        })

    def _buffers(self, group: dict[str, Any]) -> tuple[str, ...]:
        return ("momentum_buffer",) if group["momentum"] else ()

    def _next(self, state: dict[str, Any], group: dict[str, Any]) -> Any:
        """Only the first update differs."""
        return state.get("momentum_buffer") is None

    def _note(self, state: dict[str, Any], count: Any) -> None:
        """The buffer tells."""

    def _coefficients(self, group: dict[str, Any], count: Any) -> tuple[float, ...]:
        return updates.SGD(
            group["maximize"], float(group["weight_decay"]), float(group["lr"]), float(group["momentum"]),
            1.0 if count else 1.0 - group["dampening"], group["nesterov"],
        )
