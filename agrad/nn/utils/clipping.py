"""Gradients that are too large, made smaller in place. Must know no module and no optimizer."""

import warnings
from collections.abc import Iterable
from inspect import isgenerator
from typing import Any

import agrad
from agrad.autograd.grad_mode import no_grad
from agrad.creation import convert
from agrad.cython_core.engine import Tensor

_SMALL = 1e-6   # PyTorch's: keeps the quotient finite where all gradients are zero


def clip_grad_norm_(
    parameters: Tensor | Iterable[Tensor],
    max_norm: float,
    norm_type: float = 2.0,
    error_if_nonfinite: bool = False,
) -> Tensor:
    """Scale the gradients of parameters, in place, so that their norm as one vector is at most `max_norm`.

    Parameters
    ----------
    parameters : Tensor or iterable of Tensor
        Those without a gradient are passed over.
    max_norm : float
    norm_type : float
        The order of the norm; `float("inf")` for the largest absolute value.
    error_if_nonfinite : bool
        Raise, and change nothing, if the norm is infinite or NaN.

    Returns
    -------
    Tensor
        The norm before scaling.

    Raises
    ------
    RuntimeError
        See `error_if_nonfinite`.

    Examples
    --------
    >>> import agrad
    >>> w = agrad.nn.Parameter(agrad.tensor([3.0, 4.0]))
    >>> (w * w).sum().backward()
    >>> agrad.nn.utils.clip_grad_norm_(w, 1.0)
    tensor(10.)
    >>> w.grad
    tensor([0.6000, 0.8000])
    """
    parameters = _listed(parameters)
    norm = get_total_norm(_gradients(parameters), norm_type, error_if_nonfinite)
    clip_grads_with_norm_(parameters, max_norm, norm)
    return norm


def get_total_norm(
    tensors: Tensor | Iterable[Tensor], norm_type: float = 2.0, error_if_nonfinite: bool = False
) -> Tensor:
    """The norm of tensors as one vector, on the backend and device of the first.

    Raises
    ------
    RuntimeError
        If it is infinite or NaN and `error_if_nonfinite` is true.

    Examples
    --------
    >>> import agrad
    >>> agrad.nn.utils.get_total_norm([agrad.tensor([3.0]), agrad.tensor([0.0, 4.0])])
    tensor(5.)
    """
    tensors, order = _listed(tensors), float(norm_type)
    if not tensors:
        return agrad.asarray(0.0)
    home = tensors[0]
    norms = [agrad.linalg.vector_norm(t, ord=order) for t in tensors]
    norms = [convert(n, backend=home.backend_, device=home.device) for n in norms]
    norm = norms[0] if len(norms) == 1 else agrad.linalg.vector_norm(agrad.stack(norms), ord=order)
    if error_if_nonfinite and not bool(agrad.isfinite(norm)):
        raise RuntimeError(
            f"The total norm of order {order} for gradients from `parameters` is non-finite, so it cannot be clipped. "
            "To disable this error and scale the gradients by the non-finite norm anyway, set "
            "`error_if_nonfinite=False`"
        )
    return norm


def clip_grads_with_norm_(parameters: Tensor | Iterable[Tensor], max_norm: float, total_norm: Tensor) -> None:
    """Scale gradients, in place, by `max_norm / total_norm` if that is less than one.

    `get_total_norm` gives the norm; between the two it may be combined with that of other parameters.
    """
    with no_grad():
        factor = agrad.clip(float(max_norm) / (total_norm + _SMALL), max=1.0)
        for gradient in _gradients(_listed(parameters)):
            gradient.mul_(convert(factor, dtype=_real(gradient), backend=gradient.backend_, device=gradient.device))


def clip_grad_value_(parameters: Tensor | Iterable[Tensor], clip_value: float) -> None:
    """Clip every element of the gradients of parameters to [-clip_value, clip_value], in place.

    Examples
    --------
    >>> import agrad
    >>> w = agrad.nn.Parameter(agrad.tensor([1.0, 4.0]))
    >>> (w * w).sum().backward()
    >>> agrad.nn.utils.clip_grad_value_(w, 3.0)
    >>> w.grad
    tensor([2., 3.])
    """
    limit = float(clip_value)
    with no_grad():
        for gradient in _gradients(_listed(parameters)):
            gradient.clip_(-limit, limit)


def _listed(tensors: Tensor | Iterable[Tensor]) -> list[Tensor]:
    """One tensor or several, as a list."""
    if isinstance(tensors, Tensor):
        return [tensors]
    if not isinstance(tensors, Iterable):
        raise TypeError(f"expected a Tensor or an iterable of Tensors, got {type(tensors).__name__}")
    found: list[Any] = list(tensors)
    if not found and isgenerator(tensors):
        warnings.warn(
            "`parameters` is an empty generator, no gradient clipping will occur: was it used up before?", stacklevel=3
        )
    for t in found:
        if not isinstance(t, Tensor):
            raise TypeError(f"expected Tensors, got {type(t).__name__} among them")
    return found


def _gradients(parameters: list[Tensor]) -> list[Tensor]:
    return [p.grad for p in parameters if p.grad is not None]


def _real(t: Tensor) -> Any:
    """The dtype of a tensor's absolute values."""
    return {"complex64": agrad.float32, "complex128": agrad.float64}.get(t.dtype.name, t.dtype)
