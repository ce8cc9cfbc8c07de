"""The functions of linear algebra that need no decomposition, on traced arrays. ONNX has no other.

This file must know no rule and no Tensor.
"""

from math import inf
from types import SimpleNamespace
from typing import Any

from agrad.backends import traced
from agrad.backends import traced_standard as xp
from agrad.backends.symbolic import axes_of, reduced, smaller
from agrad.backends.traced import as_traced


def diagonal(x: Any, /, *, offset: int = 0) -> Any:
    x = as_traced(x)
    rows, columns = x.shape[-2:]
    length = smaller(rows, columns - offset) if offset >= 0 else smaller(rows + offset, columns)
    first = offset if offset >= 0 else -offset * columns
    places = xp.arange(length) * (columns + 1) + first
    flat = xp.reshape(x, (*x.shape[:-2], rows * columns))
    return flat[(..., places)]


def trace(x: Any, /, *, offset: int = 0, dtype: Any = None) -> Any:
    return xp.sum(diagonal(x, offset=offset), axis=-1, dtype=dtype)


def outer(x1: Any, x2: Any, /) -> Any:
    return xp.expand_dims(as_traced(x1), -1) * as_traced(x2)


def cross(x1: Any, x2: Any, /, *, axis: int = -1) -> Any:
    one, other = xp.broadcast_arrays(x1, x2)
    if one.shape[axis] != 3:
        raise ValueError(f"cross needs axes of length 3, not shapes {as_traced(x1).shape} and {as_traced(x2).shape}")
    a, b = xp.unstack(one, axis=axis), xp.unstack(other, axis=axis)
    return xp.stack([a[i - 2] * b[i - 1] - a[i - 1] * b[i - 2] for i in range(3)], axis=axis)


def vector_norm(x: Any, /, *, axis: Any = None, keepdims: bool = False, ord: Any = 2) -> Any:
    x = as_traced(x)
    axes, size = axes_of(axis, x.ndim), abs(x)
    if ord in (inf, -inf):
        return xp.FUNCTIONS["max" if ord > 0 else "min"](size, axis=axes, keepdims=keepdims)
    if ord == 0:
        found = xp.sum(traced.cast(size != 0, x.dtype), axis=axes)
    elif ord == 1:
        found = xp.sum(size, axis=axes)
    elif ord == 2:
        found = xp.FUNCTIONS["sqrt"](xp.sum(x * x, axis=axes))
    else:
        found = xp.sum(size**ord, axis=axes) ** (1 / ord)
    return xp.reshape(found, reduced(x.shape, axes, keepdims))


def matrix_norm(x: Any, /, *, keepdims: bool = False, ord: Any = "fro") -> Any:
    x = as_traced(x)
    if ord == "fro":
        return vector_norm(x, axis=(-2, -1), keepdims=keepdims)
    if ord not in (1, -1, inf, -inf):
        raise NotImplementedError(
            f"matrix_norm cannot be traced by ndonnx with ord={ord!r}: ONNX has no singular values; "
            "'fro', 1, -1, inf and -inf can be"
        )
    summed, over = (-2, -1) if ord in (1, -1) else (-1, -2)
    sums = xp.sum(abs(x), axis=summed, keepdims=True)
    found = xp.FUNCTIONS["max" if ord > 0 else "min"](sums, axis=over, keepdims=True)
    return found if keepdims else xp.squeeze(found, (-2, -1))


def matrix_power(x: Any, n: int, /) -> Any:
    x = as_traced(x)
    if n < 0:
        raise NotImplementedError("matrix_power cannot be traced by ndonnx with a negative power: ONNX has no inverse")
    if n == 0:
        return xp.broadcast_to(xp.eye(x.shape[-1], dtype=x.dtype), x.shape)
    half = matrix_power(x, n // 2) if n > 1 else x
    square = xp.matmul(half, half) if n > 1 else x
    return xp.matmul(square, x) if n % 2 and n > 1 else square


LINALG = SimpleNamespace(
    cross=cross, diagonal=diagonal, matrix_norm=matrix_norm, matrix_power=matrix_power, outer=outer, trace=trace,
    vector_norm=vector_norm,
)
