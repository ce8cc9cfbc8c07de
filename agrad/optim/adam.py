"""Adam and its relatives."""

from collections.abc import Iterable
from typing import Any

from agrad.optim import updates
from agrad.optim.elementwise import Elementwise, on_host, read
from agrad.optim.optimizer import check_not_negative


def check_moments(betas: tuple[float, float], others: dict[str, Any]) -> None:
    """Refuse rates of running averages that are not two in [0, 1), and other options below zero."""
    check_not_negative(others)
    if len(betas) != 2:
        raise ValueError(f"Invalid betas: two numbers are needed, not {betas}")
    for i, beta in enumerate(betas):
        if not 0.0 <= beta < 1.0:
            raise ValueError(f"Invalid beta parameter at index {i}: {beta}")


def decays(group: dict[str, Any]) -> tuple[float, float]:
    """The weight decay inside the gradient, and what the decoupled one leaves of a parameter."""
    if group["decoupled_weight_decay"]:
        return 0.0, 1.0 - float(group["lr"]) * group["weight_decay"]
    return float(group["weight_decay"]), 1.0


class Adam(Elementwise):
    """Steps along the mean gradient, scaled by the root of the mean squared gradient.

    Parameters
    ----------
    params : iterable
        Parameters, named parameters or groups.
    lr : float
        Learning rate.
    betas : (float, float)
        What the running averages of the gradient and of its square keep at each step.
    eps : float
        Added to the denominator.
    weight_decay : float
        Weight of the penalty on the parameters' squares.
    amsgrad : bool
        Scale by the largest mean square so far.
    maximize : bool
        Climb.
    decoupled_weight_decay : bool
        Shrink the parameters themselves, outside the averages: `AdamW`.

    Raises
    ------
    ValueError
        If an option is out of its range.

    Examples
    --------
    >>> import agrad
    >>> w = agrad.tensor([1.0, -2.0], requires_grad=True)
    >>> optimizer = agrad.optim.Adam([w], lr=0.5)
    >>> (w * w).sum().backward()
    >>> optimizer.step()
    >>> w
    tensor([ 0.5000, -1.5000], requires_grad=True)
    """

    formula = staticmethod(updates.adam)

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0,
        amsgrad: bool = False,
        *,
        maximize: bool = False,
        decoupled_weight_decay: bool = False,
    ) -> None:
        check_moments(betas, {"learning rate": lr, "epsilon value": eps, "weight_decay value": weight_decay})
        super().__init__(params, {
            "lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay, "amsgrad": amsgrad,
            "maximize": maximize, "decoupled_weight_decay": decoupled_weight_decay,
        })

    def _buffers(self, group: dict[str, Any]) -> tuple[str, ...]:
        return ("exp_avg", "exp_avg_sq", "max_exp_avg_sq") if group["amsgrad"] else ("exp_avg", "exp_avg_sq")

    def _coefficients(self, group: dict[str, Any], count: Any) -> tuple[float, ...]:
        beta1, beta2 = group["betas"]
        decay, keep = decays(group)
        lr = float(group["lr"]) / (1.0 - beta1**count)
        return updates.Adam(
            group["maximize"], decay, keep, lr, 1.0 - beta1, float(beta2), 1.0 - beta2, (1.0 - beta2**count) ** 0.5,
            group["eps"],
        )


class AdamW(Adam):
    """Adam with decoupled weight decay; arguments as of `Adam`.

    Examples
    --------
    >>> import agrad
    >>> w = agrad.tensor([1.0, -2.0], requires_grad=True)
    >>> optimizer = agrad.optim.AdamW([w], lr=0.5, weight_decay=0.5)
    >>> (w * w).sum().backward()
    >>> optimizer.step()
    >>> w
    tensor([ 0.2500, -1.0000], requires_grad=True)
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 1e-2,
        amsgrad: bool = False,
        *,
        maximize: bool = False,
    ) -> None:
        super().__init__(
            params, lr, betas, eps, weight_decay, amsgrad, maximize=maximize, decoupled_weight_decay=True
        )

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        super().load_state_dict(state_dict)
        for group in self.param_groups:     # a state of Adam's says otherwise
            group["decoupled_weight_decay"] = True


class Adamax(Elementwise):
    """Adam scaled by the largest gradient, slowly forgotten, in the place of the mean square; arguments as of `Adam`.

    Examples
    --------
    >>> import agrad
    >>> w = agrad.tensor([1.0, -2.0], requires_grad=True)
    >>> optimizer = agrad.optim.Adamax([w], lr=0.5)
    >>> (w * w).sum().backward()
    >>> optimizer.step()
    >>> w
    tensor([ 0.5000, -1.5000], requires_grad=True)
    """

    formula = staticmethod(updates.adamax)

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 2e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0,
        *,
        maximize: bool = False,
    ) -> None:
        check_moments(betas, {"learning rate": lr, "epsilon value": eps, "weight_decay value": weight_decay})
        super().__init__(
            params, {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay, "maximize": maximize}
        )

    def _buffers(self, group: dict[str, Any]) -> tuple[str, ...]:
        return ("exp_avg", "exp_inf")

    def _coefficients(self, group: dict[str, Any], count: Any) -> tuple[float, ...]:
        beta1, beta2 = group["betas"]
        return updates.Adamax(
            group["maximize"], float(group["weight_decay"]), float(group["lr"]) / (1.0 - beta1**count), 1.0 - beta1,
            float(beta2), group["eps"],
        )


class NAdam(Elementwise):
    """Adam with Nesterov's momentum; arguments as of `Adam`, and `momentum_decay`: how soon the momentum is full.

    Examples
    --------
    >>> import agrad
    >>> w = agrad.tensor([1.0, -2.0], requires_grad=True)
    >>> optimizer = agrad.optim.NAdam([w], lr=0.5)
    >>> (w * w).sum().backward()
    >>> optimizer.step()
    >>> w.requires_grad
    True
    """

    formula = staticmethod(updates.nadam)
    numbers = ("step", "mu_product")

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 2e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0,
        momentum_decay: float = 4e-3,
        decoupled_weight_decay: bool = False,
        *,
        maximize: bool = False,
    ) -> None:
        check_moments(betas, {
            "learning rate": lr, "epsilon value": eps, "weight_decay value": weight_decay,
            "momentum_decay value": momentum_decay,
        })
        super().__init__(params, {
            "lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay, "momentum_decay": momentum_decay,
            "decoupled_weight_decay": decoupled_weight_decay, "maximize": maximize,
        })

    def _buffers(self, group: dict[str, Any]) -> tuple[str, ...]:
        return ("exp_avg", "exp_avg_sq")

    def _next(self, state: dict[str, Any], group: dict[str, Any]) -> Any:
        """The number of updates, and the product of the momenta so far."""
        count = super()._next(state, group)
        return count, read(state.get("mu_product"), 1.0) * momentum_at(count, group)

    def _note(self, state: dict[str, Any], count: Any) -> None:
        super()._note(state, count[0])
        state["mu_product"] = on_host(count[1])

    def _coefficients(self, group: dict[str, Any], count: Any) -> tuple[float, ...]:
        step, product = count
        beta1, beta2 = group["betas"]
        mu, following = momentum_at(step, group), momentum_at(step + 1, group)
        decay, keep = decays(group)
        lr = float(group["lr"])
        return updates.NAdam(
            group["maximize"], decay, keep, lr * (1.0 - mu) / (1.0 - product),
            lr * following / (1.0 - product * following), 1.0 - beta1, float(beta2), 1.0 - beta2, 1.0 - beta2**step,
            group["eps"],
        )


def momentum_at(step: Any, group: dict[str, Any]) -> float:
    """NAdam's momentum, which grows from half of the first beta to the whole."""
    return float(group["betas"][0] * (1.0 - 0.5 * 0.96 ** (step * group["momentum_decay"])))


class RAdam(Elementwise):
    """Adam that waits until the mean squared gradient is known well enough to scale by it; arguments as of `Adam`.

    Examples
    --------
    >>> import agrad
    >>> w = agrad.tensor([1.0, -2.0], requires_grad=True)
    >>> optimizer = agrad.optim.RAdam([w], lr=0.25)
    >>> (w * w).sum().backward()
    >>> optimizer.step()
    >>> w
    tensor([ 0.5000, -1.0000], requires_grad=True)
    """

    formula = staticmethod(updates.radam)

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0,
        decoupled_weight_decay: bool = False,
        *,
        maximize: bool = False,
    ) -> None:
        check_moments(betas, {"learning rate": lr, "epsilon value": eps, "weight_decay value": weight_decay})
        super().__init__(params, {
            "lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay,
            "decoupled_weight_decay": decoupled_weight_decay, "maximize": maximize,
        })

    def _buffers(self, group: dict[str, Any]) -> tuple[str, ...]:
        return ("exp_avg", "exp_avg_sq")

    def _coefficients(self, group: dict[str, Any], count: Any) -> tuple[float, ...]:
        beta1, beta2 = group["betas"]
        decay, keep = decays(group)
        correction = 1.0 - beta2**count
        longest = 2.0 / (1.0 - beta2) - 1.0     # the length of the simple average that the running one stands for
        length = longest - 2.0 * count * beta2**count / correction
        adaptive = length > 5.0
        lr = float(group["lr"]) / (1.0 - beta1**count)
        if adaptive:
            rectified = (length - 4) * (length - 2) * longest / ((longest - 4) * (longest - 2) * length)
            lr *= (rectified * correction) ** 0.5
        return updates.RAdam(
            group["maximize"], decay, keep, lr, 1.0 - beta1, float(beta2), 1.0 - beta2, group["eps"], adaptive
        )
