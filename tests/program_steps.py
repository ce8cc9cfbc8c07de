"""The steps that random programs are made of: one row per op of the table, written once for agrad and for PyTorch.

`m` is the library: agrad, or PyTorch under the standard's names (`TheirTorch`). Operands are brought into an op's
domain by the row itself, so that any operand will do. Must not know Hypothesis, nor how programs are drawn or run.
"""

import numpy as np

NEAR_A_JUMP = 1e-6  # nearer to a kink or jump than this, rounding decides, not the library


class TheirTorch:
    """PyTorch under the standard's names, with the few functions that only agrad has by that name."""

    def __init__(self):
        import array_api_compat.torch as compat
        import torch

        self.compat, self.torch = compat, torch

    def __getattr__(self, name):
        return getattr(self.compat, name) if hasattr(self.compat, name) else getattr(self.torch, name)

    def sign(self, x):
        return self.torch.sign(x)  # the wrapper writes into the result, which its version tells

    def logsumexp(self, x, axis, keepdims):
        return self.torch.logsumexp(x, axis, keepdim=keepdims)

    def softmax(self, x, axis):
        return self.torch.softmax(x, axis)

    def log_softmax(self, x, axis):
        return self.torch.log_softmax(x, axis)

    def pad(self, x, width, constant_values=0):
        flat = [n for pair in reversed(width) for n in pair]
        return self.torch.nn.functional.pad(x, flat, value=constant_values)

    def interp(self, x, points, values):
        """Piecewise linear, constant outside."""
        i = self.torch.searchsorted(points.detach(), x.detach().contiguous()).clamp(1, len(points) - 1)
        slope = (values[i] - values[i - 1]) / (points[i] - points[i - 1])
        inside = values[i - 1] + slope * (x - points[i - 1])
        return self.torch.where(x < points[0], values[0], self.torch.where(x > points[-1], values[-1], inside))

    def scatter_add(self, x, key, values):
        return x.index_put((key,), values, accumulate=True)


# ------------------------------------------------------------------------------------------- operands, made to fit ops


def small(m, x):
    """Within the unit disc."""
    return x / m.sqrt(m.real(x * m.conj(x)) + 4) if is_complex(x) else x / m.sqrt(x * x + 4)


def positive(m, x):
    """Right of 1/2."""
    return small(m, x) + 1.6


def is_complex(x):
    return "complex" in str(x.dtype)


def weights(shape):
    """Numbers of a shape, always the same."""
    return 0.5 + np.cos(np.arange(1.0, 1 + int(np.prod(shape)))).reshape(shape)


def constant(m, values):
    return m.asarray(np.array(values))


def square(m, x):
    """Well-conditioned square matrices, made from any matrices."""
    wide = small(m, x)
    n = x.shape[-2]
    return 0.3 * m.matmul(wide, m.conj(m.matrix_transpose(wide))) + constant(m, np.diag(1.0 + np.arange(n)) + shear(n))


def shear(n):
    return 0.2 * np.triu(np.ones((n, n)), 1)


def symmetric(m, x):
    """Hermitian matrices with positive eigenvalues that are apart."""
    wide = 0.4 * small(m, x)
    return m.matmul(wide, m.conj(m.matrix_transpose(wide))) + constant(m, np.diag(1.0 + np.arange(x.shape[-2])))


def rectangular(m, x):
    """Matrices of full rank whose singular values are apart."""
    return 0.3 * small(m, x) + constant(m, np.eye(*x.shape[-2:]) * (1.0 + np.arange(x.shape[-1])))


def holds(predicate):
    return lambda *arrays: bool(np.all(predicate(*arrays)))


off_zero = holds(lambda x: np.abs(x) > NEAR_A_JUMP)
off_integers = holds(lambda x: np.abs(x - np.round(x)) > NEAR_A_JUMP)
off_halves = holds(lambda x: np.abs(2 * x - np.round(2 * x)) > NEAR_A_JUMP)
off_each_other = holds(lambda x, y: np.abs(x - y) > NEAR_A_JUMP)
off_bounds = holds(lambda x: (np.abs(x - 1.1) > NEAR_A_JUMP) & (np.abs(x + 0.7) > NEAR_A_JUMP))
off_quotients = holds(lambda x, y: np.abs((q := x / (1.6 + y / np.sqrt(y * y + 4))) - np.round(q)) > NEAR_A_JUMP)


def all_apart(x):
    ordered = np.sort(np.ravel(x))
    return bool(np.all(np.diff(ordered) > NEAR_A_JUMP))


# ------------------------------------------------------------------------------------------------------- the rows

SHAPED_BY_VALUES = {"nonzero", "indexed by a mask"}  # no batch of them has one shape

# Each: function of (m, x), whether complex operands will do, and when the values are clear of kinks (None: always).
ANY, REAL = True, False
UNARY = {
    "sin": (lambda m, x: m.sin(x), ANY, None),
    "cos": (lambda m, x: m.cos(x), ANY, None),
    "tan": (lambda m, x: m.tan(small(m, x)), ANY, None),
    "asin": (lambda m, x: m.asin(0.9 * small(m, x)), ANY, None),
    "acos": (lambda m, x: m.acos(0.9 * small(m, x)), ANY, None),
    "atan": (lambda m, x: m.atan(0.9 * small(m, x)), ANY, None),
    "sinh": (lambda m, x: m.sinh(small(m, x)), ANY, None),
    "cosh": (lambda m, x: m.cosh(small(m, x)), ANY, None),
    "tanh": (lambda m, x: m.tanh(small(m, x)), ANY, None),
    "asinh": (lambda m, x: m.asinh(0.9 * small(m, x)), ANY, None),
    "acosh": (lambda m, x: m.acosh(small(m, x) + 2.5), ANY, None),
    "atanh": (lambda m, x: m.atanh(0.9 * small(m, x)), ANY, None),
    "exp": (lambda m, x: m.exp(small(m, x)), ANY, None),
    "expm1": (lambda m, x: m.expm1(small(m, x)), ANY, None),
    "log": (lambda m, x: m.log(positive(m, x)), ANY, None),
    "log2": (lambda m, x: m.log2(positive(m, x)), ANY, None),
    "log10": (lambda m, x: m.log10(positive(m, x)), ANY, None),
    "log1p": (lambda m, x: m.log1p(positive(m, x)), ANY, None),
    "sqrt": (lambda m, x: m.sqrt(positive(m, x)), ANY, None),
    "square": (lambda m, x: m.square(x), ANY, None),
    "reciprocal": (lambda m, x: m.reciprocal(positive(m, x)), ANY, None),
    "negative": (lambda m, x: -x, ANY, None),
    "positive": (lambda m, x: m.positive(x) * 2, ANY, None),
    "copy": (lambda m, x: x.clone(), ANY, None),
    "conj": (lambda m, x: m.conj(x) * 1, ANY, None),
    "abs": (lambda m, x: m.abs(x), ANY, off_zero),
    "floor": (lambda m, x: m.floor(x), REAL, off_integers),
    "ceil": (lambda m, x: m.ceil(x), REAL, off_integers),
    "trunc": (lambda m, x: m.trunc(x), REAL, off_integers),
    "round": (lambda m, x: m.round(x), REAL, off_halves),
    "sign": (lambda m, x: m.sign(x), REAL, off_zero),
    "clip": (lambda m, x: m.clip(x, -0.7, 1.1), REAL, off_bounds),
    "relu": (lambda m, x: m.relu(x), REAL, off_zero),
    "pow by a number": (lambda m, x: x**3 + x**2, ANY, None),
    "pow by a real number": (lambda m, x: positive(m, x) ** 1.5 + positive(m, x) ** -2, ANY, None),
    "power of a number": (lambda m, x: 2.0 ** small(m, x), ANY, None),
    "numbers around": (lambda m, x: (2 * x - 1) / 3 + 1 / (positive(m, x) + 5), ANY, None),
    "masked": (lambda m, x: x * m.astype(x > 0.3, x.dtype), REAL, holds(lambda x: np.abs(x - 0.3) > NEAR_A_JUMP)),
    "to complex": (lambda m, x: m.astype(x, m.complex128) * (1 + 0.5j), REAL, None),
}
SPECIAL = {
    "digamma": lambda m, x: m.special.digamma(positive(m, x)),
    "entr": lambda m, x: m.special.entr(positive(m, x)),
    "erf": lambda m, x: m.special.erf(x),
    "erfc": lambda m, x: m.special.erfc(x),
    "erfcx": lambda m, x: m.special.erfcx(small(m, x)),
    "erfinv": lambda m, x: m.special.erfinv(0.8 * small(m, x)),
    "exp2": lambda m, x: m.special.exp2(small(m, x)),
    "expit": lambda m, x: m.special.expit(x),
    "gammaln": lambda m, x: m.special.gammaln(positive(m, x)),
    "i0": lambda m, x: m.special.i0(small(m, x)),
    "i0e": lambda m, x: m.special.i0e(small(m, x)),
    "i1": lambda m, x: m.special.i1(positive(m, x)),
    "i1e": lambda m, x: m.special.i1e(positive(m, x)),
    "log_ndtr": lambda m, x: m.special.log_ndtr(x),
    "logit": lambda m, x: m.special.logit(0.5 + 0.4 * small(m, x)),
    "multigammaln": lambda m, x: m.special.multigammaln(positive(m, x) + 1, 2),
    "ndtr": lambda m, x: m.special.ndtr(x),
    "ndtri": lambda m, x: m.special.ndtri(0.5 + 0.4 * small(m, x)),
    "polygamma": lambda m, x: m.special.polygamma(1, positive(m, x)),
    "sinc": lambda m, x: m.special.sinc(positive(m, x)),
    "xlogy": lambda m, x: m.special.xlogy(x, positive(m, x)),
    "xlog1py": lambda m, x: m.special.xlog1py(x, positive(m, x)),
}
UNARY |= {f"special.{name}": (function, REAL, None) for name, function in SPECIAL.items()}

BINARY = {
    "add": (lambda m, x, y: x + y, ANY, None),
    "subtract": (lambda m, x, y: x - y, ANY, None),
    "multiply": (lambda m, x, y: x * y, ANY, None),
    "divide": (lambda m, x, y: x / positive(m, y), ANY, None),
    # At exponents of 0 PyTorch loses the mixed second derivative, 1 / x.
    "pow": (lambda m, x, y: positive(m, x) ** small(m, y), ANY, holds(lambda x, y: np.abs(y) > NEAR_A_JUMP)),
    "atan2": (lambda m, x, y: m.atan2(x, positive(m, y)), REAL, None),
    "hypot": (lambda m, x, y: m.hypot(x, positive(m, y)), REAL, None),
    "logaddexp": (lambda m, x, y: m.logaddexp(x, y), REAL, None),
    "maximum": (lambda m, x, y: m.maximum(x, y), REAL, off_each_other),
    "minimum": (lambda m, x, y: m.minimum(x, y), REAL, off_each_other),
    "copysign": (lambda m, x, y: m.copysign(x, y), REAL, holds(lambda x, y: (np.abs(x) > 1e-6) & (np.abs(y) > 1e-6))),
    "remainder": (lambda m, x, y: m.remainder(x, positive(m, y)), REAL, off_quotients),
    "where": (lambda m, x, y: m.where(x > 0.1, x * y, m.sin(y)), REAL, holds(lambda x, y: np.abs(x - 0.1) > 1e-6)),
    "clip by a tensor": (
        lambda m, x, y: m.clip(x * 1, y, y + 2),
        REAL,
        holds(lambda x, y: (np.abs(x - y) > 1e-6) & (np.abs(x - y - 2) > 1e-6)),
    ),
}


# Along one axis: function of (m, x, axis), complex, clear.
ALONG_AN_AXIS = {
    "sum": (lambda m, x, a: m.sum(x, axis=a), ANY, None),
    "sum, kept": (lambda m, x, a: m.sum(x, axis=(a,), keepdims=True), ANY, None),
    "mean": (lambda m, x, a: m.mean(x, axis=a), ANY, None),
    "prod": (lambda m, x, a: m.prod(x, axis=a), ANY, None),
    "max": (lambda m, x, a: m.max(x, axis=a, keepdims=True), REAL, all_apart),
    "min": (lambda m, x, a: m.min(x, axis=a), REAL, all_apart),
    "max, PyTorch's": (lambda m, x, a: m.amax(x, dim=a), REAL, all_apart),
    "std": (lambda m, x, a: m.std(small(m, x) + index_along(m, x, a), axis=a), REAL, None),
    "var": (lambda m, x, a: m.var(x, axis=a, correction=0.5), REAL, None),
    "cumulative_sum": (lambda m, x, a: m.cumulative_sum(x, axis=a), ANY, None),
    "cumulative_sum, from zero": (lambda m, x, a: m.cumulative_sum(x, axis=a, include_initial=True), ANY, None),
    "cumulative_prod": (lambda m, x, a: m.cumulative_prod(x, axis=a), ANY, None),
    "diff": (lambda m, x, a: m.diff(x * x, axis=a), ANY, None),
    "diff with more": (lambda m, x, a: m.diff(x, n=2, axis=a, prepend=x * 2, append=m.sin(x)), ANY, None),
    "sort": (lambda m, x, a: m.sort(x, axis=a), REAL, all_apart),
    "sort, falling": (lambda m, x, a: m.sort(x, axis=a, descending=True) * x, REAL, all_apart),
    "argsort": (lambda m, x, a: m.take_along_axis(x * x, m.argsort(x, axis=a), axis=a), REAL, all_apart),
    "argmax": (lambda m, x, a: x * m.astype(m.argmax(x, axis=a, keepdims=True), x.dtype), REAL, all_apart),
    "argmin": (lambda m, x, a: x + m.astype(m.argmin(x, axis=a, keepdims=True), x.dtype), REAL, all_apart),
    "extremum": (lambda m, x, a: (x * 2).max(dim=a)[0] - x.min(dim=a)[0], REAL, all_apart),
    "vecdot": (lambda m, x, a: m.vecdot(x, m.sin(x), axis=a), ANY, None),
    "flip": (lambda m, x, a: m.flip(x, axis=a).clone(), ANY, None),
    "roll": (lambda m, x, a: m.roll(x, 1, axis=a) * x, ANY, None),
    "repeat": (lambda m, x, a: m.repeat(x, 2, axis=a), ANY, None),
    "repeat, each its own": (lambda m, x, a: m.repeat(x, constant(m, np.arange(x.shape[a]) % 3), axis=a), ANY, None),
    "concat": (lambda m, x, a: m.concat([x, x * x], axis=a), ANY, None),
    "stack": (lambda m, x, a: m.stack([x, m.sin(x)], axis=a), ANY, None),
    "take": (lambda m, x, a: m.take(x, constant(m, [x.shape[a] - 1, 0, 0]), axis=a), ANY, None),
    "softmax": (lambda m, x, a: m.softmax(x, axis=a), REAL, None),
    "log_softmax": (lambda m, x, a: m.log_softmax(x, axis=a), REAL, None),
    "logsumexp": (lambda m, x, a: m.logsumexp(x, axis=a, keepdims=True), REAL, None),
    "linalg.vector_norm": (lambda m, x, a: m.linalg.vector_norm(positive(m, x), axis=a), ANY, None),
    "linalg.vector_norm of order 1": (lambda m, x, a: m.linalg.vector_norm(x, axis=a, ord=1), ANY, off_zero),
    "linalg.vector_norm of order 3": (lambda m, x, a: m.linalg.vector_norm(positive(m, x), axis=a, ord=3), ANY, None),
    "fft.fft": (lambda m, x, a: m.fft.fft(m.astype(x, m.complex128), axis=a), ANY, None),
    "fft.ifft": (lambda m, x, a: m.fft.ifft(m.astype(x, m.complex128), axis=a, n=3), ANY, None),
    "fft.rfft": (lambda m, x, a: m.fft.rfft(x, axis=a, norm="ortho"), REAL, None),
    "fft.irfft": (lambda m, x, a: m.fft.irfft(m.astype(x, m.complex128), axis=a, n=4), ANY, None),
    "fft.hfft": (lambda m, x, a: m.fft.hfft(m.astype(x, m.complex128), axis=a, n=4, norm="ortho"), ANY, None),
    "fft.ihfft": (lambda m, x, a: m.fft.ihfft(x, axis=a), REAL, None),
    "fft.fftshift": (lambda m, x, a: m.fft.fftshift(x, axes=(a,)) * x, ANY, None),
    "fft.ifftshift": (lambda m, x, a: m.fft.ifftshift(x, axes=(a,)) * x, ANY, None),
    "searchsorted": (
        lambda m, x, a: x * m.astype(m.searchsorted(constant(m, [-1.0, 0.5]), x * 1), x.dtype),
        REAL,
        holds(lambda x: (np.abs(x + 1) > NEAR_A_JUMP) & (np.abs(x - 0.5) > NEAR_A_JUMP)),
    ),
}


def index_along(m, x, axis):
    """0, 1, 2, ... along an axis: keeps spreads away from zero."""
    shape = [1] * len(x.shape)
    shape[axis] = x.shape[axis]
    return constant(m, 3 * np.arange(float(x.shape[axis])).reshape(shape))


# Of all elements, of any rank.
WHOLE = {
    "sum of all": (lambda m, x: m.sum(x), ANY, None),
    "mean of all": (lambda m, x: m.mean(x), ANY, None),
    "prod of all": (lambda m, x: m.prod(small(m, x)), ANY, None),
    "max of all": (lambda m, x: m.max(x) - m.min(x), REAL, all_apart),
    "logsumexp of all": (lambda m, x: m.logsumexp(m.reshape(x, (-1,)), axis=0, keepdims=False), REAL, None),
    "norm of all": (lambda m, x: m.linalg.vector_norm(positive(m, x)), ANY, None),
    "flattened": (lambda m, x: m.reshape(x, (-1,)).clone(), ANY, None),
    "tile": (lambda m, x: m.tile(x, (2, 1)), ANY, None),
    "pad": (lambda m, x: m.pad(x, [(1, 0)] * len(x.shape), constant_values=0.5), ANY, None),
    "fft.fftn": (lambda m, x: m.fft.fftn(m.astype(x, m.complex128)), ANY, None),
    "fft.ifftn": (lambda m, x: m.fft.ifftn(m.astype(x, m.complex128)), ANY, None),
    "interp": (
        lambda m, x: m.interp(m.sin(x), constant(m, [-0.9, 0.1, 0.8]), constant(m, [0.3, -1.0, 2.0]) * m.mean(x)),
        REAL,
        holds(lambda x: np.min([np.abs(np.sin(x) - p) for p in (-0.9, 0.1, 0.8)], axis=0) > NEAR_A_JUMP),
    ),
    "count_nonzero": (lambda m, x: x * m.astype(m.count_nonzero(x > 0), x.dtype), REAL, off_zero),
    "unique_values": (lambda m, x: x * m.unique_values(constant(m, [1.0, 2.0, 2.0]))[-1], ANY, None),
    "einsum": (lambda m, x: m.einsum("...,...->", x, m.sin(x)), ANY, None),
}
# Of matrices: rank 2 or more.
MATRIX = {
    "matmul": (lambda m, x: m.matmul(x, m.matrix_transpose(m.sin(x))), ANY, None),
    "matmul by a vector": (lambda m, x: m.matmul(x, x[(0,) * (len(x.shape) - 1)]), ANY, None),
    "tensordot": (lambda m, x: m.tensordot(x, m.sin(x), axes=len(x.shape)), ANY, None),
    "einsum of matrices": (lambda m, x: m.einsum("...ij,...kj->...ik", x, x), ANY, None),
    "tril": (lambda m, x: m.tril(x), ANY, None),
    "triu": (lambda m, x: m.triu(x, k=1), ANY, None),
    "linalg.det": (lambda m, x: m.linalg.det(square(m, x)), ANY, None),
    "linalg.slogdet": (lambda m, x: m.linalg.slogdet(square(m, x))[1], ANY, None),
    "linalg.inv": (lambda m, x: m.linalg.inv(square(m, x)), ANY, None),
    "linalg.pinv": (lambda m, x: m.linalg.pinv(rectangular(m, x)), ANY, None),
    "linalg.solve": (lambda m, x: m.linalg.solve(square(m, x), x), ANY, None),
    "linalg.lstsq": (lambda m, x: solution(m.linalg.lstsq(square(m, x), x)), REAL, None),
    "linalg.solve_triangular": (lambda m, x: m.linalg.solve_triangular(square(m, x), x, upper=True), ANY, None),
    "linalg.cholesky": (lambda m, x: m.linalg.cholesky(symmetric(m, x)), ANY, None),
    "linalg.matrix_power": (lambda m, x: m.linalg.matrix_power(0.3 * square(m, x), 3), ANY, None),
    "linalg.matrix_norm": (lambda m, x: m.linalg.matrix_norm(rectangular(m, x)), ANY, None),
    "linalg.matrix_norm, nuclear": (lambda m, x: m.linalg.matrix_norm(rectangular(m, x), ord="nuc"), ANY, None),
    "linalg.matrix_norm, spectral": (lambda m, x: m.linalg.matrix_norm(rectangular(m, x), ord=2), ANY, None),
    "linalg.svdvals": (lambda m, x: m.linalg.svdvals(rectangular(m, x)), ANY, None),
    "linalg.svd": (lambda m, x: from_svd(m, m.linalg.svd(rectangular(m, x), full_matrices=False)), ANY, None),
    "linalg.qr": (lambda m, x: m.linalg.qr(square(m, x))[1], REAL, None),
    "linalg.eigh": (lambda m, x: from_eigh(m, m.linalg.eigh(symmetric(m, x))), ANY, None),
    "linalg.eigvalsh": (lambda m, x: m.linalg.eigvalsh(symmetric(m, x)), ANY, None),
    "linalg.eigvals": (lambda m, x: m.sum(m.exp(m.linalg.eigvals(0.3 * square(m, x))), axis=-1), ANY, None),
    "linalg.eig": (lambda m, x: from_eig(m, m.linalg.eig(0.5 * square(m, x))), ANY, None),
    "linalg.trace": (lambda m, x: m.linalg.trace(x, offset=1), ANY, None),
    "linalg.matrix_rank": (lambda m, x: x * m.astype(ranks(m, square(m, x)), x.dtype), ANY, None),
    "fft.rfftn": (lambda m, x: m.fft.rfftn(x, axes=(-2, -1)), REAL, None),
    "fft.irfftn": (lambda m, x: m.fft.irfftn(m.astype(x, m.complex128), s=(2, 2), axes=(-2, -1)), ANY, None),
}
# Of vectors.
VECTOR = {
    "linalg.outer": (lambda m, x: m.linalg.outer(x, m.cos(x)), ANY, None),
    "linalg.cross": (lambda m, x: m.linalg.cross(x[:3], m.cos(x)[:3], axis=-1) if x.shape[0] > 2 else x * 2, ANY, None),
    "meshgrid": (lambda m, x: (lambda a, b: a * m.sin(b))(*m.meshgrid(x, x * x, indexing="ij")), ANY, None),
    "broadcast_arrays": (lambda m, x: (lambda a, b: a * m.sin(b))(*m.broadcast_arrays(x, x[:, None])), ANY, None),
    "nonzero": (lambda m, x: x[positions(m, x)], REAL, off_zero),
    "isin": (
        lambda m, x: x * m.astype(m.isin(constant(m, np.arange(x.shape[0])), constant(m, [1, 2])), x.dtype),
        ANY,
        None,
    ),
    "scatter_add": (
        lambda m, x: m.scatter_add(x * 1, constant(m, [0, 0, x.shape[0] - 1]), m.sum(x) * constant(m, [1.0, 2.0, 3.0])),
        ANY,
        None,
    ),
    "indexed": (lambda m, x: x[constant(m, [0, 0, -1])] * 2, ANY, None),
    "indexed in two axes": (lambda m, x: x[:, None][constant(m, [0, 0, -1]), constant(m, [0, 0, 0])], ANY, None),
    "indexed by a mask": (lambda m, x: x[x > 0] * 2, REAL, off_zero),
    "take_along_axis": (lambda m, x: m.take_along_axis(x, constant(m, [0, 0, x.shape[0] - 1]), axis=0), ANY, None),
}


def ranks(m, x):
    return m.linalg.matrix_rank(x)[..., None, None]


def solution(result):
    return result[0] if isinstance(result, tuple) else result


def positions(m, x):
    """Where the elements are positive, by `nonzero`: a tuple in the standard, a matrix of rows in PyTorch."""
    found = m.nonzero(x > 0)
    return found[0] if isinstance(found, tuple) else found[:, 0]


def from_svd(m, parts):
    """A function of the matrix that does not depend on the signs of its singular vectors."""
    u, s, v = parts
    return m.matmul(u * m.exp(-s)[..., None, :], v)


def from_eigh(m, parts):
    values, vectors = parts
    return m.matmul(vectors * m.sin(values)[..., None, :], m.conj(m.matrix_transpose(vectors)))


def from_eig(m, parts):
    values, vectors = parts
    return m.matmul(vectors * m.exp(values)[..., None, :], m.linalg.inv(vectors))
