"""What a tangent or a cotangent must be to fit its tensor. Must know no backend and no rule."""

from typing import Any

from agrad.cython_core import engine
from agrad.cython_core.engine import Tensor


def fitting_tangent(primal: Tensor, tangent: Tensor) -> Tensor:
    """A tangent for a tensor: on its backend, of its shape, cast to its dtype."""
    check_backend("the tangent", tangent, "its tensor", primal)
    if primal.shape != tangent.shape:
        raise RuntimeError(
            "Trying to set a forward gradient that has a different size than that of the original Tensor, this is not "
            f"supported. Tensor is of size {list(primal.shape)} while the given forward gradient is of size "
            f"{list(tangent.shape)}."
        )
    for what, t in (("primal", primal), ("tangent", tangent)):
        if t.dtype.kind not in ("real", "complex"):
            raise ValueError(f"Expected {what} to be floating point or complex, but got: {t.dtype}")
    if tangent.dtype.kind == "complex" and primal.dtype.kind == "real":
        raise RuntimeError(f"a real tensor cannot have a complex tangent: {primal.dtype} and {tangent.dtype}")
    return _cast(tangent, primal)


def fitting_cotangent(i: int, root: Tensor, g: Any) -> Tensor:
    """A cotangent for root i: on its backend, of its shape, cast to its dtype."""
    if not isinstance(g, Tensor):
        raise TypeError(f"gradients can be either Tensors or None, but got {type(g).__name__}")
    if engine.raw_value(root) is None:      # an edge that does not know its shape
        return g
    check_backend(f"grad_output[{i}]", g, f"output[{i}]", root)
    if g.shape != root.shape:
        raise RuntimeError(
            f"Mismatch in shape: grad_output[{i}] has a shape of agrad.Size({list(g.shape)}) "
            f"and output[{i}] has a shape of agrad.Size({list(root.shape)})."
        )
    if (g.dtype.kind == "complex") != (root.dtype.kind == "complex"):
        raise RuntimeError(
            "For complex Tensors, both grad_output and output are required to have the same dtype. Mismatch in dtype: "
            f"grad_output[{i}] has a dtype of {g.dtype} and output[{i}] has a dtype of {root.dtype}."
        )
    return _cast(g, root)


def check_backend(what: str, t: Tensor, owner: str, like: Tensor) -> None:
    """Refuse another array library's; inside a transform either may be the deeper one."""
    if t.backend_.name != like.backend_.name:
        raise RuntimeError(
            f"{what} is on the backend {t.backend_.name}, {owner} on {like.backend_.name}; "
            "move one with to(backend=...)"
        )


def _cast(t: Tensor, like: Tensor) -> Tensor:
    return t if t.dtype == like.dtype else engine.find_op("astype").function(t, like.dtype)
