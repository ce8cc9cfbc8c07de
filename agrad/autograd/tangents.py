"""What a tangent must be to fit its tensor. Must know no backend and no rule."""

from agrad.cython_core import engine
from agrad.cython_core.engine import Tensor


def fitting_tangent(primal: Tensor, tangent: Tensor) -> Tensor:
    """A tangent for a tensor: of its shape, cast to its dtype."""
    for what, t in (("primal", primal), ("tangent", tangent)):
        if t.dtype.kind not in ("real", "complex"):
            raise ValueError(f"Expected {what} to be floating point or complex, but got: {t.dtype}")
    if primal.shape != tangent.shape:
        raise RuntimeError(
            "Trying to set a forward gradient that has a different size than that of the original Tensor, this is not "
            f"supported. Tensor is of size {list(primal.shape)} while the given forward gradient is of size "
            f"{list(tangent.shape)}."
        )
    if primal.dtype == tangent.dtype:
        return tangent
    if tangent.dtype.kind == "complex" and primal.dtype.kind == "real":
        raise RuntimeError(f"a real tensor cannot have a complex tangent: {primal.dtype} and {tangent.dtype}")
    return engine.find_op("astype").function(tangent, primal.dtype)     # type: ignore[no-any-return]
