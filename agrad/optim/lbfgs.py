"""L-BFGS: a quasi-Newton method whose Hessian is known by the last steps. Nocedal and Wright, 2006, algorithm 7.4."""

from collections.abc import Callable, Iterable
from math import prod
from typing import Any

from agrad.autograd.grad_mode import enable_grad, no_grad
from agrad.cython_core.engine import Tensor
from agrad.optim.line_search import Point, strong_wolfe
from agrad.optim.optimizer import Optimizer, check_not_negative, computed, like_parameter


class LBFGS(Optimizer):
    """Limited-memory BFGS; each `step` is a whole minimisation of up to `max_iter` iterations.

    Parameters
    ----------
    params : iterable
        Parameters or named parameters: one group, on one backend and device.
    lr : float
        Step length; with a line search the first one that it tries.
    max_iter : int
        Iterations in a step.
    max_eval : int, optional
        Evaluations of the closure in a step; by default 1.25 times `max_iter`.
    tolerance_grad : float
        Stop where no component of the gradient is larger.
    tolerance_change : float
        Stop where the loss or the parameters change by less.
    history_size : int
        How many steps are remembered.
    line_search_fn : str, optional
        "strong_wolfe", or None: steps of the length `lr`.

    Raises
    ------
    ValueError
        If there are several groups, `lr` is negative or `history_size` is less than 1.
    RuntimeError
        If there is no such line search.

    Examples
    --------
    >>> import agrad
    >>> w = agrad.tensor([3.0, -2.0], requires_grad=True)
    >>> optimizer = agrad.optim.LBFGS([w], line_search_fn="strong_wolfe")
    >>> def closure():
    ...     optimizer.zero_grad()
    ...     loss = ((w - 1.0) ** 2).sum()
    ...     loss.backward()
    ...     return loss
    >>> _ = optimizer.step(closure)
    >>> w
    tensor([1.0000, 1.0000], requires_grad=True)
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1,
        max_iter: int = 20,
        max_eval: int | None = None,
        tolerance_grad: float = 1e-7,
        tolerance_change: float = 1e-9,
        history_size: int = 100,
        line_search_fn: str | None = None,
    ) -> None:
        check_not_negative({"learning rate": lr})
        if history_size < 1:
            raise ValueError(f"Invalid history_size: {history_size}, at least one step must be remembered")
        if line_search_fn not in (None, "strong_wolfe"):
            raise RuntimeError("only 'strong_wolfe' is supported")
        super().__init__(params, {
            "lr": lr, "max_iter": max_iter, "max_eval": max_iter * 5 // 4 if max_eval is None else max_eval,
            "tolerance_grad": tolerance_grad, "tolerance_change": tolerance_change, "history_size": history_size,
            "line_search_fn": line_search_fn,
        })
        if len(self.param_groups) != 1:
            raise ValueError("LBFGS doesn't support per-parameter options (parameter groups)")

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Minimise.

        Parameters
        ----------
        closure : callable
            Clears the gradients, computes the loss, calls its `backward` and returns it; called many times.

        Returns
        -------
        What `closure` returned at first.
        """
        if closure is None:
            raise TypeError("LBFGS.step() needs a closure that computes the loss and its gradient")
        with no_grad():
            return self._minimize(enable_grad()(closure))

    def _minimize(self, closure: Callable[[], Any]) -> Any:
        group = self.param_groups[0]
        lr, tolerance = float(group["lr"]), group["tolerance_change"]
        state = self.state[group["params"][0]]      # all of it is kept for the first parameter
        state.setdefault("func_evals", 0)
        state.setdefault("n_iter", 0)
        first_loss = closure()
        loss, gradient, evaluations = number(first_loss), self._gradient(), 1
        state["func_evals"] += 1
        if largest(gradient) <= group["tolerance_grad"]:
            return first_loss
        for iteration in range(1, group["max_iter"] + 1):
            state["n_iter"] += 1
            d = self._direction(state, gradient)
            state.update(d=d, prev_flat_grad=gradient, prev_loss=loss)
            state["t"] = t = lr * (1.0 / max(1.0, float(abs(gradient).sum())) if state["n_iter"] == 1 else 1.0)
            slope = dot(gradient, d)
            if slope > -tolerance:
                break
            point, used = Point(0.0, loss, gradient, slope), 0
            if group["line_search_fn"] is not None:
                point, used = self._search(closure, point, t, d, group["max_eval"] - evaluations)
                state["t"] = t = point.t
            self._move(t, d)
            if group["line_search_fn"] is None and iteration != group["max_iter"]:
                point, used = Point(t, number(closure()), self._gradient(), 0.0), 1
            change, loss, gradient = abs(point.loss - loss), point.loss, point.gradient
            evaluations += used
            state["func_evals"] += used
            if evaluations >= group["max_eval"] or largest(gradient) <= group["tolerance_grad"]:
                break
            if largest(d * t) <= tolerance or change < tolerance:
                break
        return first_loss

    def _direction(self, state: dict[str, Any], gradient: Tensor) -> Tensor:
        """Downhill, by the Hessian that the remembered steps stand for; the last step is remembered."""
        if state["n_iter"] == 1:
            state.update(old_dirs=[], old_stps=[], ro=[], H_diag=1.0)
            return -gradient
        changes, steps, ro = state["old_dirs"], state["old_stps"], state["ro"]
        y, s = computed([gradient - state["prev_flat_grad"], state["d"] * float(state["t"])])
        curvature = dot(y, s)
        if curvature > 1e-10:
            if len(changes) == self.param_groups[0]["history_size"]:
                for memory in (changes, steps, ro):
                    memory.pop(0)
            changes.append(y)
            steps.append(s)
            ro.append(1.0 / curvature)
            state["H_diag"] = curvature / dot(y, y)
        memory = list(zip(changes, steps, ro, strict=True))
        return computed([two_loops(-gradient, memory, float(state["H_diag"]))])[0]

    def _search(
        self, closure: Callable[[], Any], start: Point, t: float, d: Tensor, max_evaluations: int
    ) -> tuple[Point, int]:
        """The line search from where the parameters are; they are there again afterwards."""
        parameters = self.param_groups[0]["params"]
        before = [p.detach().clone() for p in parameters]

        def evaluate(t: float) -> Point:
            self._move(t, d)
            try:
                loss, gradient = number(closure()), self._gradient()
            finally:
                for p, value in zip(parameters, before, strict=True):
                    p.copy_(value)
            return Point(t, loss, gradient, dot(gradient, d))

        tolerance = self.param_groups[0]["tolerance_change"]
        return strong_wolfe(evaluate, start, t, largest(d), tolerance, max_evaluations)

    def _gradient(self) -> Tensor:
        """All gradients as one vector of real numbers."""
        parameters = self.param_groups[0]["params"]
        parts = [flat(p.grad if p.grad is not None else p.detach().zeros_like()) for p in parameters]
        return computed([parts[0].__array_namespace__().concat(parts)])[0]

    def _move(self, t: float, d: Tensor) -> None:
        """Add t * d to the parameters."""
        place = 0
        for p in self.param_groups[0]["params"]:
            size = length(p)
            p += shaped_like(p, d[place : place + size]) * t
            if p.backend_.lazy:
                p.copy_(computed([p])[0])
            place += size

    def _restored(self, p: Tensor, name: str, value: Any) -> Any:
        if not hasattr(value, "shape"):
            return super()._restored(p, name, value)
        if not len(value.shape):
            return float(value)
        expected = (sum(map(length, self.param_groups[0]["params"])),)
        if tuple(value.shape) != expected:
            problem = f"{name!r} of shape {tuple(value.shape)} for parameters of {expected[0]} numbers"
            raise ValueError(f"loaded state dict has {problem}")
        return like_parameter(value, p)


def two_loops(q: Any, memory: list[tuple[Tensor, Tensor, float]], scale: float) -> Tensor:
    """The inverse Hessian times q; `memory` holds changes of the gradient, the steps that made them, and 1 / (y s)."""
    weights = []
    for y, s, r in reversed(memory):
        weights.append(r * dot(s, q))
        q = q - y * weights[-1]
    q = q * scale
    for (y, s, r), weight in zip(memory, reversed(weights), strict=True):
        q = q + s * (weight - r * dot(y, q))
    return q    # type: ignore[no-any-return]


def flat(t: Any) -> Any:
    """A tensor as a vector of real numbers."""
    t = t.detach()
    if t.dtype.kind == "complex":
        xp = t.__array_namespace__()
        t = xp.stack([xp.real(t), xp.imag(t)], axis=-1)
    return t.reshape((-1,))


def length(p: Any) -> int:
    """How many real numbers a parameter has."""
    return int(prod(p.shape)) * (2 if p.dtype.kind == "complex" else 1)


def shaped_like(p: Any, vector: Any) -> Any:
    """A part of a vector as a value of a parameter: the inverse of `flat`."""
    if p.dtype.kind != "complex":
        return vector.reshape(p.shape)
    pairs = vector.reshape((*p.shape, 2)).to(dtype=p.dtype)
    return pairs[..., 0] + 1j * pairs[..., 1]


def number(loss: Any) -> float:
    return float(loss.detach() if isinstance(loss, Tensor) else loss)


def dot(a: Any, b: Any) -> float:
    return float(a @ b)


def largest(t: Any) -> float:
    """The largest magnitude, 0 where there are no elements."""
    return float(abs(t).max()) if prod(t.shape) else 0.0
