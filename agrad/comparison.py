"""Comparing whole tensors: results are plain booleans or untracked. Must know no backend and no rule."""

from typing import Any

from agrad.creation import call, convert, engine_mode
from agrad.cython_core.engine import Tensor


def is_tensor(obj: object) -> bool:
    """Whether something is an agrad Tensor.

    Examples
    --------
    >>> import agrad
    >>> agrad.is_tensor(agrad.zeros(1)), agrad.is_tensor([0.0])
    (True, False)
    """
    return isinstance(obj, Tensor)


def isclose(input: Tensor, other: Any, rtol: float = 1e-5, atol: float = 1e-8, equal_nan: bool = False) -> Tensor:
    """Elementwise |input - other| <= atol + rtol * |other|; equal infinities are close.

    Examples
    --------
    >>> import agrad
    >>> agrad.isclose(agrad.tensor([1.0, 2.0]), agrad.tensor([1.0, 2.1]))
    tensor([ True, False])
    """
    with engine_mode(grad=False):
        other = other if isinstance(other, Tensor) else convert(other, backend=input.backend_, home=input.device)
        close = input == other
        if input.dtype.kind in ("real", "complex") or other.dtype.kind in ("real", "complex"):
            finite = call("isfinite", other)
            distance = call("abs", input - call("where", finite, other, call("zeros_like", other)))
            near = distance <= atol + rtol * call("abs", other)
            close = call("logical_or", close, call("logical_and", near, finite))
            if equal_nan:
                close = call("logical_or", close, call("logical_and", call("isnan", input), call("isnan", other)))
        return close    # type: ignore[no-any-return]


def allclose(input: Tensor, other: Any, rtol: float = 1e-5, atol: float = 1e-8, equal_nan: bool = False) -> bool:
    """Whether all elements are close; see `isclose`.

    Examples
    --------
    >>> import agrad
    >>> agrad.allclose(agrad.tensor([1.0]), agrad.tensor([1.0 + 1e-9]))
    True
    """
    return bool(call("all", isclose(input, other, rtol, atol, equal_nan)))

