"""Optimizers that scale a step by the size of past gradients: Adagrad, RMSprop, Adadelta."""

from collections.abc import Iterable
from typing import Any

from agrad.cython_core.engine import Tensor
from agrad.optim import updates
from agrad.optim.elementwise import Elementwise, on_host
from agrad.optim.optimizer import check_not_negative


class Adagrad(Elementwise):
    """Steps scaled by the root of the sum of all squared gradients.

    Parameters
    ----------
    params : iterable
        Parameters, named parameters or groups.
    lr : float
        Learning rate.
    lr_decay : float
        The n-th step has the learning rate lr / (1 + (n - 1) * lr_decay).
    weight_decay : float
        Weight of the penalty on the parameters' squares.
    initial_accumulator_value : float
        What the sum starts from.
    eps : float
        Added to the denominator.
    maximize : bool
        Climb.

    Raises
    ------
    ValueError
        If an option is negative.

    Examples
    --------
    >>> import agrad
    >>> w = agrad.tensor([1.0, -2.0], requires_grad=True)
    >>> optimizer = agrad.optim.Adagrad([w], lr=0.5)
    >>> (w * w).sum().backward()
    >>> optimizer.step()
    >>> w
    tensor([ 0.5000, -1.5000], requires_grad=True)
    """

    formula = staticmethod(updates.adagrad)

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-2,
        lr_decay: float = 0,
        weight_decay: float = 0,
        initial_accumulator_value: float = 0,
        eps: float = 1e-10,
        *,
        maximize: bool = False,
    ) -> None:
        check_not_negative({
            "learning rate": lr, "lr_decay value": lr_decay, "weight_decay value": weight_decay,
            "initial_accumulator_value value": initial_accumulator_value, "epsilon value": eps,
        })
        super().__init__(params, {
            "lr": lr, "lr_decay": lr_decay, "eps": eps, "weight_decay": weight_decay,
            "initial_accumulator_value": initial_accumulator_value, "maximize": maximize,
        })
        for group in self.param_groups:
            for p in group["params"]:
                self.state[p].update(step=on_host(0.0), sum=self._start(p, group))

    def _buffers(self, group: dict[str, Any]) -> tuple[str, ...]:
        return ("sum",)

    def _start(self, p: Tensor, group: dict[str, Any]) -> Tensor:
        value = group["initial_accumulator_value"]
        if p.dtype.kind == "complex":
            value = complex(value, value)
        return super()._start(p, group).fill_(value)

    def _coefficients(self, group: dict[str, Any], count: Any) -> tuple[float, ...]:
        lr = float(group["lr"]) / (1.0 + (count - 1.0) * group["lr_decay"])
        return updates.Adagrad(group["maximize"], float(group["weight_decay"]), lr, group["eps"])


class RMSprop(Elementwise):
    """Steps scaled by the root of the mean squared gradient.

    Parameters
    ----------
    params : iterable
        Parameters, named parameters or groups.
    lr : float
        Learning rate.
    alpha : float
        What the running averages keep at each step.
    eps : float
        Added to the denominator.
    weight_decay : float
        Weight of the penalty on the parameters' squares.
    momentum : float
        How much of the last step the next one keeps.
    centered : bool
        Scale by the deviation from the mean gradient.
    maximize : bool
        Climb.

    Raises
    ------
    ValueError
        If an option is negative.

    Examples
    --------
    >>> import agrad
    >>> w = agrad.tensor([1.0, -2.0], requires_grad=True)
    >>> optimizer = agrad.optim.RMSprop([w], lr=0.05)
    >>> (w * w).sum().backward()
    >>> optimizer.step()
    >>> w
    tensor([ 0.5000, -1.5000], requires_grad=True)
    """

    formula = staticmethod(updates.rmsprop)

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-2,
        alpha: float = 0.99,
        eps: float = 1e-8,
        weight_decay: float = 0,
        momentum: float = 0,
        centered: bool = False,
        *,
        maximize: bool = False,
    ) -> None:
        check_not_negative({
            "learning rate": lr, "epsilon value": eps, "momentum value": momentum, "weight_decay value": weight_decay,
            "alpha value": alpha,
        })
        super().__init__(params, {
            "lr": lr, "momentum": momentum, "alpha": alpha, "eps": eps, "centered": centered,
            "weight_decay": weight_decay, "maximize": maximize,
        })

    def _buffers(self, group: dict[str, Any]) -> tuple[str, ...]:
        mean = ("grad_avg",) if group["centered"] else ()
        return ("square_avg", *mean, *(("momentum_buffer",) if group["momentum"] else ()))

    def _coefficients(self, group: dict[str, Any], count: Any) -> tuple[float, ...]:
        alpha = float(group["alpha"])
        return updates.RMSprop(
            group["maximize"], float(group["weight_decay"]), float(group["lr"]), alpha, 1.0 - alpha, group["eps"],
            float(group["momentum"]), group["centered"],
        )


class Adadelta(Elementwise):
    """Steps scaled by the ratio of the sizes of past steps and past gradients.

    Parameters
    ----------
    params : iterable
        Parameters, named parameters or groups.
    lr : float
        Factor of the steps.
    rho : float
        What the running averages keep at each step.
    eps : float
        Added under both roots.
    weight_decay : float
        Weight of the penalty on the parameters' squares.
    maximize : bool
        Climb.

    Raises
    ------
    ValueError
        If an option is out of its range.

    Examples
    --------
    >>> import agrad
    >>> w = agrad.tensor([1.0, -2.0], requires_grad=True)
    >>> optimizer = agrad.optim.Adadelta([w])
    >>> (w * w).sum().backward()
    >>> optimizer.step()
    >>> w
    tensor([ 0.9968, -1.9968], requires_grad=True)
    """

    formula = staticmethod(updates.adadelta)

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1.0,
        rho: float = 0.9,
        eps: float = 1e-6,
        weight_decay: float = 0,
        *,
        maximize: bool = False,
    ) -> None:
        check_not_negative({"learning rate": lr, "epsilon value": eps, "weight_decay value": weight_decay})
        if not 0.0 <= rho <= 1.0:
            raise ValueError(f"Invalid rho value: {rho}")
        super().__init__(params, {
            "lr": lr, "rho": rho, "eps": eps, "weight_decay": weight_decay, "maximize": maximize,
        })

    def _buffers(self, group: dict[str, Any]) -> tuple[str, ...]:
        return ("square_avg", "acc_delta")

    def _coefficients(self, group: dict[str, Any], count: Any) -> tuple[float, ...]:
        rho = float(group["rho"])
        return updates.Adadelta(
            group["maximize"], float(group["weight_decay"]), float(group["lr"]), rho, 1.0 - rho, group["eps"]
        )
