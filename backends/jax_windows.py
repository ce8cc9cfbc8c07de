"""JAX's kernels of convolution: its own one, and the transposes that it derives from it.

What it does not take is left to the kernels written against the standard.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp

from agrad.backends.adapter import Adapter
from agrad.windows import Correlation, correlation


def kernels(backend: Adapter) -> dict[str, Callable[..., Any]]:
    """The kernels by the names of the ops; each leaves to the generic one what XLA does not take."""
    found: dict[str, Callable[..., Any]] = {}
    for kernel in (convolution, convolution_input, convolution_weight):
        name = f"nn.{kernel.__name__}"
        found[name] = partial(where_taken, kernel, partial(backend.generic, name))
    return found


def where_taken(kernel: Callable[..., Any], generic: Callable[..., Any], *arrays: Any, **options: Any) -> Any:
    """A kernel's result for what XLA takes, the generic one's for other arrays."""
    return (kernel if takes(*arrays) else generic)(*arrays, **options)


def takes(*arrays: Any) -> bool:
    """Whether XLA has convolutions of such arrays."""
    return all(x.size and jnp.issubdtype(x.dtype, jnp.inexact) for x in arrays)


def correlate(plan: Correlation, x: Any, weight: Any) -> Any:
    """The convolution that a plan describes."""
    return jax.lax.conv_general_dilated(
        x, weight, plan.stride, plan.padding, rhs_dilation=plan.dilation, feature_group_count=plan.groups
    )


def transposed(function: Callable[[Any], Any], shape: Any, y: Any) -> Any:
    """The transpose of a linear function of an array of some shape."""
    (found,) = jax.linear_transpose(function, jax.ShapeDtypeStruct(shape, y.dtype))(y)
    return found


def alike(*arrays: Any) -> list[Any]:
    """The arrays in the dtype that they have together."""
    dtype = jnp.result_type(*arrays)
    return [x.astype(dtype) for x in arrays]


def convolution(x: Any, weight: Any, /, *, stride: Any, padding: Any, dilation: Any, groups: int = 1) -> Any:
    plan = correlation("convolution", x.shape, weight.shape, stride, padding, dilation, groups)
    return correlate(plan, *alike(x, weight))


def convolution_input(
    y: Any, weight: Any, /, *, size: Any, stride: Any, padding: Any, dilation: Any, groups: int = 1
) -> Any:
    shape = (*y.shape[:1], weight.shape[1] * groups, *size)
    plan = correlation("convolution_input", shape, weight.shape, stride, padding, dilation, groups, y.shape)
    y, weight = alike(y, weight)
    return transposed(lambda x: correlate(plan, x, weight), plan.x, y)


def convolution_weight(
    x: Any, y: Any, /, *, size: Any, stride: Any, padding: Any, dilation: Any, groups: int = 1
) -> Any:
    weight = (y.shape[1], x.shape[1] // max(groups, 1), *size)
    plan = correlation("convolution_weight", x.shape, weight, stride, padding, dilation, groups, y.shape)
    x, y = alike(x, y)
    return transposed(lambda weight: correlate(plan, x, weight), plan.weight, y)
