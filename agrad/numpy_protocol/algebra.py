"""NumPy's products, linear algebra, Fourier transforms, convolutions and polynomials.

Must know no backend and no rule.
"""

from collections.abc import Callable, Sequence
from functools import reduce
from math import prod
from typing import Any

import numpy as np

from agrad.creation import call
from agrad.cython_core.engine import Tensor
from agrad.numpy_protocol.manipulation import all_arrays, taken, vander
from agrad.numpy_protocol.table import array, handles, missing, one_to_one, space

one_to_one("""
    tensordot  tensordot(a, b; axes)
    linalg.tensordot  tensordot(x1, x2; axes)
    linalg.matmul  matmul(x1, x2)
    linalg.vecdot  vecdot(x1, x2; axis)
    linalg.outer  linalg.outer(x1, x2)
    linalg.cross  linalg.cross(x1, x2; axis)
    linalg.det  linalg.det(a)
    linalg.slogdet  linalg.slogdet(a)
    linalg.inv  linalg.inv(a)
    linalg.solve  linalg.solve(a, b)
    linalg.cholesky  linalg.cholesky(a; upper)
    linalg.eig  linalg.eig(a)
    linalg.eigvals  linalg.eigvals(a)
    linalg.svdvals  linalg.svdvals(x)
    linalg.matrix_power  linalg.matrix_power(a, n)
    linalg.trace  linalg.trace(x; offset, dtype)
    linalg.matrix_norm  linalg.matrix_norm(x; keepdims, ord)
    linalg.vector_norm  linalg.vector_norm(x; axis, keepdims, ord)
    fft.fftshift  fft.fftshift(x; axes)
    fft.ifftshift  fft.ifftshift(x; axes)
""")


# ------------------------------------------------------------------------------------------------------------ products


@handles("dot", "a b")
def dot(a: Any, b: Any, out: Any = None) -> Tensor:
    a, b = all_arrays([a, b])
    if a.ndim == 0 or b.ndim == 0:
        return a * b  # type: ignore[no-any-return]
    return call("tensordot", a, b, axes=((a.ndim - 1,), (max(b.ndim - 2, 0),)))


@handles("inner", "a b")
def inner(a: Any, b: Any) -> Tensor:
    a, b = all_arrays([a, b])
    if a.ndim == 0 or b.ndim == 0:
        return a * b  # type: ignore[no-any-return]
    return call("tensordot", a, b, axes=((a.ndim - 1,), (b.ndim - 1,)))


@handles("vdot", "a b")
def vdot(a: Any, b: Any) -> Tensor:
    return call("vecdot", *(call("reshape", x, (-1,)) for x in all_arrays([a, b])))


@handles("outer", "a b", op="linalg.outer")
def outer(a: Any, b: Any) -> Tensor:
    return call("linalg.outer", *(call("reshape", x, (-1,)) for x in all_arrays([a, b])))


@handles("einsum", "", op="einsum")
def einsum(*operands: Any) -> Tensor:
    if not isinstance(operands[0], str):
        raise missing("einsum", "subscripts must be given as a string")
    return call("einsum", operands[0], *all_arrays(operands[1:]))


@handles("kron", "a b")
def kron(a: Any, b: Any) -> Tensor:
    a, b = all_arrays([a, b])
    n = max(a.ndim, b.ndim)
    left, right = ((*(1,) * (n - x.ndim), *x.shape) for x in (a, b))
    spread = call("reshape", a, tuple(k for pair in zip(left, (1,) * n, strict=True) for k in pair))
    other = call("reshape", b, tuple(k for pair in zip((1,) * n, right, strict=True) for k in pair))
    return call("reshape", spread * other, tuple(i * j for i, j in zip(left, right, strict=True)))


@handles("cross", "a b")
def cross(a: Any, b: Any, axisa: int = -1, axisb: int = -1, axisc: int = -1, axis: int | None = None) -> Tensor:
    axisa, axisb, axisc = (axisa, axisb, axisc) if axis is None else (axis,) * 3
    a, b = all_arrays([a, b])
    a, b = call("broadcast_arrays", call("moveaxis", a, axisa, -1), call("moveaxis", b, axisb, -1))
    if a.shape[-1] != 3:
        raise missing("cross", "vectors must have three elements")
    return call("moveaxis", call("linalg.cross", a, b, axis=-1), -1, axisc)


@handles("trace", op="linalg.trace")
def trace(a: Tensor, offset: int = 0, axis1: int = 0, axis2: int = 1, dtype: Any = None) -> Tensor:
    return call("linalg.trace", call("moveaxis", a, (axis1, axis2), (-2, -1)), offset=offset, dtype=dtype)


# ------------------------------------------------------------------------------------------------------ linear algebra


@handles("linalg.multi_dot", "arrays*")
def multi_dot(arrays: Sequence[Any]) -> Tensor:
    return reduce(lambda a, b: call("matmul", a, b), all_arrays(arrays))


@handles("linalg.norm", "x")
def norm(x: Tensor, ord: Any = None, axis: Any = None, keepdims: bool = False) -> Tensor:
    if axis is None and (ord is None or x.ndim == 1):
        flat = call("linalg.vector_norm", call("reshape", x, (-1,)), ord=2 if ord is None else ord)
        return call("reshape", flat, (1,) * x.ndim) if keepdims else flat
    axes = tuple(range(x.ndim)) if axis is None else (axis,) if isinstance(axis, int) else tuple(axis)
    if len(axes) == 1 or (ord is None and len(axes) <= 2):
        return call("linalg.vector_norm", x, axis=axes, keepdims=keepdims, ord=2 if ord is None else ord)
    if len(axes) != 2:
        raise ValueError("Improper number of dimensions to norm.")
    found = call("linalg.matrix_norm", call("moveaxis", x, axes, (-2, -1)), ord=ord)
    if not keepdims:
        return found
    reduced = {a % x.ndim for a in axes}
    return call("reshape", found, tuple(1 if i in reduced else n for i, n in enumerate(x.shape)))


def hermitian(op: str) -> Callable[..., Any]:
    """eigh and eigvalsh, of the triangle that is asked for."""
    def function(a: Tensor, UPLO: str = "L") -> Any:
        if UPLO.upper() not in ("L", "U"):
            raise ValueError("UPLO argument must be 'L' or 'U'")
        above = call("conj", call("matrix_transpose", a)) if UPLO.upper() == "U" else a
        below = call("tril", above, k=-1)
        diagonal = call("tril", call("triu", a))
        real = call("real", diagonal).to(dtype=a.dtype) if a.dtype.kind == "complex" else diagonal
        return call(op, below + real + call("conj", call("matrix_transpose", below)))

    return function


handles("linalg.eigh", op="linalg.eigh")(hermitian("linalg.eigh"))
handles("linalg.eigvalsh", op="linalg.eigvalsh")(hermitian("linalg.eigvalsh"))


@handles("linalg.svd", op="linalg.svd")
def svd(a: Tensor, full_matrices: bool = True, compute_uv: bool = True) -> Any:
    return call("linalg.svd", a, full_matrices=full_matrices) if compute_uv else call("linalg.svdvals", a)


@handles("linalg.qr", op="linalg.qr")
def qr(a: Tensor, mode: str = "reduced") -> Any:
    if mode == "r":
        return call("linalg.qr", a, mode="reduced")[1]
    if mode not in ("reduced", "complete"):
        raise missing("linalg.qr", f"mode={mode!r} is not supported on agrad Tensors")
    return call("linalg.qr", a, mode=mode)


@handles("linalg.pinv", "a", op="linalg.pinv")
def pinv(a: Tensor, rcond: Any = None, rtol: Any = None) -> Tensor:
    return call("linalg.pinv", a, rtol=rcond if rtol is None else rtol)


@handles("linalg.matrix_rank", "A", op="linalg.matrix_rank", flat=True)
def matrix_rank(A: Tensor, rtol: Any = None) -> Tensor:
    return call("linalg.matrix_rank", A, rtol=rtol)


@handles("linalg.cond", "x")
def cond(x: Tensor, p: Any = None) -> Tensor:
    if p in (None, 2, -2):
        values = call("linalg.svdvals", x)
        return values[..., -1] / values[..., 0] if p == -2 else values[..., 0] / values[..., -1]
    return call("linalg.matrix_norm", x, ord=p) * call("linalg.matrix_norm", call("linalg.inv", x), ord=p)


@handles("linalg.lstsq", "a b")
def lstsq(a: Any, b: Any, rcond: Any = None) -> tuple[Any, ...]:
    a, b = all_arrays([a, b])
    eps = space(a).finfo(a.dtype).eps
    rtol = eps * max(a.shape) if rcond is None else eps if rcond < 0 else rcond
    x, values = call("linalg.lstsq", a, b, rtol=rtol), call("linalg.svdvals", a)
    rank = int(call("sum", values.detach() > rtol * values.detach()[0]))
    error = b - call("matmul", a, x)
    squares = call("sum", call("real", error * call("conj", error)), axis=0)
    squares = call("reshape", squares, (1,)) if b.ndim == 1 else squares
    return x, (squares if rank == a.shape[1] < a.shape[0] else squares[:0]), rank, values


@handles("linalg.tensorinv")
def tensorinv(a: Tensor, ind: int = 2) -> Tensor:
    matrix = call("reshape", a, (prod(a.shape[:ind]), -1))
    return call("reshape", call("linalg.inv", matrix), (*a.shape[ind:], *a.shape[:ind]))


@handles("linalg.tensorsolve", "a b")
def tensorsolve(a: Any, b: Any, axes: Any = None) -> Tensor:
    a, b = all_arrays([a, b])
    if axes is not None:
        kept = [i for i in range(a.ndim) if i not in axes]
        a = call("permute_dims", a, (*kept, *axes))
    shape = a.shape[b.ndim :]
    flat = call("linalg.solve", call("reshape", a, (-1, prod(shape))), call("reshape", b, (-1,)))
    return call("reshape", flat, shape)


# -------------------------------------------------------------------------------------------------- Fourier transforms


def along_one_axis(op: str) -> Callable[..., Any]:
    """fft and its like."""
    def function(a: Tensor, n: int | None = None, axis: int = -1, norm: str | None = None) -> Tensor:
        return call(op, a, n=n, axis=axis, norm=norm or "backward")

    return function


def along_axes(op: str, usual: tuple[int, ...] | None) -> Callable[..., Any]:
    """fftn and its like; fft2 is fftn along the last two axes."""
    def function(a: Tensor, s: Any = None, axes: Any = usual, norm: str | None = None) -> Tensor:
        s = None if s is None else tuple(s)
        return call(op, a, s=s, axes=None if axes is None else tuple(axes), norm=norm or "backward")

    return function


for _name in ("fft", "ifft", "rfft", "irfft", "hfft", "ihfft"):
    handles(f"fft.{_name}", op=f"fft.{_name}")(along_one_axis(f"fft.{_name}"))
for _name in ("fft", "ifft", "rfft", "irfft"):
    handles(f"fft.{_name}n", op=f"fft.{_name}n")(along_axes(f"fft.{_name}n", None))
    handles(f"fft.{_name}2", op=f"fft.{_name}n")(along_axes(f"fft.{_name}n", (-2, -1)))


# -------------------------------------------------------------------------------------------------------- convolutions


@handles("convolve", "a v")
def convolve(a: Any, v: Any, mode: str = "full") -> Tensor:
    a, v = (call("reshape", x, (-1,)) for x in all_arrays([a, v]))
    if a.size == 0 or v.size == 0:
        raise ValueError(f"{'v' if a.size else 'a'} cannot be empty")
    if a.size < v.size:
        a, v = v, a
    n, m = a.size, v.size
    zeros = space(a).zeros(m - 1, dtype=a.dtype)
    windows = np.arange(n + m - 1)[:, None] + np.arange(m)
    padded = call("concat", [zeros, a, zeros])
    full = call("matmul", call("reshape", taken(padded, windows.ravel(), 0), windows.shape), call("flip", v))
    return full[span(mode, n, m)]


def span(mode: str, n: int, m: int) -> slice:
    """The part of a full convolution of lengths n >= m that a mode keeps."""
    if mode not in ("full", "same", "valid"):
        raise ValueError(f"mode must be one of 'valid', 'same', or 'full' (got {mode!r})")
    return {"full": slice(None), "same": slice((m - 1) // 2, (m - 1) // 2 + n), "valid": slice(m - 1, n)}[mode]


@handles("correlate", "a v")
def correlate(a: Any, v: Any, mode: str = "valid") -> Tensor:
    a, v = (call("reshape", x, (-1,)) for x in all_arrays([a, v]))
    full = convolve(a, call("flip", call("conj", v)))
    if a.size >= v.size:
        return full[span(mode, a.size, v.size)]
    return call("flip", call("flip", full)[span(mode, v.size, a.size)])


# --------------------------------------------------------------------------------------------------------- polynomials


@handles("polyval", "p x")
def polyval(p: Any, x: Any) -> Tensor:
    like = next(v for v in (p, x) if isinstance(v, Tensor))
    p, x = array(p, like), array(x, like)
    return reduce(lambda y, c: y * x + c, call("unstack", p), x * 0)  # type: ignore[no-any-return]


def aligned(name: str) -> Callable[..., Any]:
    """polyadd and polysub: the shorter one gets leading zeros."""
    def function(a1: Any, a2: Any) -> Tensor:
        parts = [call("reshape", x, (-1,)) for x in all_arrays([a1, a2])]
        n = max(x.size for x in parts)
        return call(name, *(call("concat", [space(x).zeros(n - x.size, dtype=x.dtype), x]) for x in parts))

    return function


handles("polyadd", "a1 a2")(aligned("add"))
handles("polysub", "a1 a2")(aligned("subtract"))


@handles("polymul", "a1 a2")
def polymul(a1: Any, a2: Any) -> Tensor:
    return convolve(a1, a2)


@handles("polyder", "p")
def polyder(p: Tensor, m: int = 1) -> Tensor:
    for _ in range(m):
        p = p[:-1] * array(np.arange(p.size - 1, 0, -1), p)
    return p


@handles("polyint", "p k")
def polyint(p: Tensor, m: int = 1, k: Any = None) -> Tensor:
    constants = [0.0] * m if k is None else [k] * m if np.ndim(k) == 0 else list(k)
    for constant in constants:
        divided = p / array(np.arange(p.size, 0, -1), p)
        p = call("concat", [divided, call("reshape", array(constant, p), (1,))])
    return p


@handles("polyfit", "x y w")
def polyfit(x: Any, y: Any, deg: int, rcond: Any = None, w: Any = None) -> Tensor:
    x, y = (v * 1.0 for v in all_arrays([x, y]))
    columns = vander(x, int(deg) + 1)
    if w is not None:
        w = array(w, x)
        columns, y = columns * w[:, None], y * (w if y.ndim == 1 else w[:, None])
    scale = call("linalg.vector_norm", columns, axis=0)
    rcond = x.size * space(x).finfo(x.dtype).eps if rcond is None else rcond
    found = lstsq(columns / scale, y, rcond)[0]
    return found / (scale if y.ndim == 1 else scale[:, None])  # type: ignore[no-any-return]


@handles("poly", "seq_of_zeros")
def poly(seq_of_zeros: Tensor) -> Tensor:
    zeros = seq_of_zeros if seq_of_zeros.ndim == 1 else call("linalg.eigvals", seq_of_zeros)
    one = space(zeros).ones(1, dtype=zeros.dtype)
    factors = [call("stack", [one[0], -z]) for z in call("unstack", zeros)]
    return reduce(convolve, factors, one)  # type: ignore[no-any-return]
