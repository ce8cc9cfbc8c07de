"""NumPy's functions and ufuncs on Tensors: the values are NumPy's own, gradients are right, what is missing says so."""

import warnings

import numpy as np
import pytest
from third_party import harness

import agrad
from agrad import numpy_protocol

pytestmark = pytest.mark.filterwarnings("ignore:numpy.fix is deprecated")  # since NumPy 2.5

X = np.array([[0.3, -1.2, 2.1, 0.7], [1.4, 0.6, -0.4, -2.2], [-0.9, 1.7, 0.2, 1.1]])
NAMES = {
    "np": np,
    "x": X,                                                         # a matrix of distinct numbers
    "y": np.array([[1.1, 0.4, -0.3, 0.9], [-0.6, 2.0, 0.5, -1.3], [0.8, -0.2, 1.6, 0.1]]),
    "v": np.array([0.5, -1.1, 1.9, 0.8]),                           # a vector
    "w": np.array([1.3, 0.2, -0.7]),
    "p": np.array([[0.4, 0.9, 1.6, 0.2], [1.1, 0.3, 2.4, 0.7], [0.6, 1.8, 0.5, 1.2]]),   # positive
    "s": np.array([[2.0, 0.3, -0.5], [0.4, 1.7, 0.2], [0.1, -0.6, 2.2]]),                # square and regular
    "n": np.array([[0.3, np.nan, 2.1, 0.7], [np.nan, 0.6, -0.4, -2.2], [-0.9, 1.7, 0.2, np.nan]]),
    "c": np.array([0.3 + 0.4j, -1.2 + 0.1j, 0.7 - 0.9j]),           # complex
    "i": np.array([2, 0, 1]),                                       # integers
    "m": np.array([[True, False, True, True], [False, True, True, False], [True, True, False, True]]),
    "t": np.linspace(0.0, 2.0, 5) ** 1.3,                           # increasing
}

UFUNCS = """
np.sin(x); np.add(x, y); np.subtract(x, 2.0); np.multiply(3, x); np.true_divide(x, p); np.power(p, y); np.power(p, 2)
np.logaddexp(x, y); np.logaddexp2(x, y); np.hypot(x, y); np.maximum(x, y); np.fmax(n, y); np.fmin(y, n)
np.fmod(x, p + 0.05); np.heaviside(x, 0.5); np.heaviside(n, y); np.modf(x); np.divmod(x, p); np.ldexp(x, 3)
np.float_power(p, y); np.deg2rad(x); np.degrees(x); np.fabs(x); np.absolute(c); np.conjugate(c); np.arctan2(x, y)
np.rint(x); np.signbit(x); np.matmul(x, v); np.matvec(x, v); np.vecmat(w, x); np.vecdot(x, y); np.vecdot(x, y, axis=0)
np.isfinite(n); np.less(x, y); np.logical_and(m, x > 0); np.invert(m); np.left_shift(i, 1); np.sqrt(p); np.log1p(p)
np.reciprocal(p); np.copysign(p, y); np.add(x, y, dtype=np.float32); np.sin(i); np.add([[1.0]] , x)
np.multiply(np.float64(2), x); np.int64(2) * x; np.add.reduce(x); np.add.reduce(x, axis=None)
np.add.reduce(x, axis=(0, 1), keepdims=True); np.multiply.reduce(x, axis=1); np.maximum.reduce(x, axis=0, initial=0.5)
np.minimum.reduce(x, axis=None); np.logical_and.reduce(m); np.logical_or.reduce(m); np.add.reduce(x, where=m)
np.add.reduce(x, initial=2.0); np.multiply.reduce(x, axis=0, where=m, keepdims=True)
np.maximum.reduce(x, axis=1, where=m, initial=-1.0); np.subtract.reduce(x); np.hypot.reduce(x, axis=1)
np.logaddexp.reduce(x, axis=0); np.fmax.reduce(n, axis=1); np.add.reduce(i, dtype=np.float64)
np.divide.reduce(p, axis=-1); np.add.accumulate(x); np.add.accumulate(x, axis=1); np.multiply.accumulate(x, axis=1)
np.maximum.accumulate(x, axis=1); np.subtract.accumulate(v); np.add.reduceat(x, [0, 2, 1], axis=1)
np.multiply.outer(v, w); np.subtract.outer(x, w); np.add.outer(v, 1.0); np.logical_xor(m, x > 0); np.nextafter(x, y)
np.fmod(-x, p + 0.05); np.modf(np.array([np.inf, -1.5]) + 0 * v[0])
"""
SHAPES = """
np.reshape(x, (4, 3)); np.reshape(x, (2, -1), order="F"); np.reshape(x, 12); np.ravel(x); np.ravel(x, order="F")
np.transpose(x); np.transpose(x, (1, 0)); np.permute_dims(x); np.swapaxes(x, 0, 1); np.moveaxis(x, 0, -1)
np.rollaxis(x, 1); np.rollaxis(x[None], 2, 0); np.rollaxis(x[None], 0, 3); np.expand_dims(x, 1)
np.expand_dims(x, (0, -1)); np.squeeze(x[None]); np.squeeze(x[:, None], axis=1); np.resize(x, (2, 7)); np.resize(v, 3)
np.atleast_1d(v[0]); np.atleast_2d(v); np.atleast_3d(v); np.atleast_3d(x); np.atleast_1d(v[0], x); np.atleast_2d(v[0])
np.atleast_3d(v[0]); np.broadcast_to(v, (3, 4)); np.broadcast_arrays(v, x); np.concatenate([x, y])
np.concatenate((x, y), axis=1); np.concatenate([x, y], axis=None); np.concat([x, y]); np.stack([x, y], axis=-1)
np.vstack([x, v]); np.hstack([x, y]); np.hstack([v, w]); np.hstack([v, 1.0]); np.dstack([x, y]); np.dstack([v, v])
np.column_stack([w, x]); np.block([[x, y], [y, x]]); np.block([v, w]); np.block([[x, w[:, None]], [v, 2.0]])
np.append(x, y); np.append(x, y, axis=1); np.append(v, 3.0); np.insert(v, 1, 5.0); np.insert(x, 1, w, axis=1)
np.insert(v, [1, 3], w[:2]); np.insert(x, 2, 0.0, axis=0); np.insert(x, [0, 2], 7.0, axis=1); np.insert(v, 1, w)
np.delete(x, 1, axis=0); np.delete(x, [0, 2], axis=1); np.delete(x, 3); np.delete(v, slice(0, 2))
np.delete(v, v > 0.6); np.split(x, 2, axis=1); np.split(v, [1, 3]); np.array_split(v, 3); np.hsplit(x, 2)
np.vsplit(x, 3); np.hsplit(v, 2); np.dsplit(x[None], 2); np.unstack(x); np.tile(v, 2); np.tile(x, (2, 1))
np.repeat(v, 2); np.repeat(x, i, axis=0); np.repeat(x, 2, axis=1); np.roll(x, 1); np.roll(x, (1, 2), axis=(0, 1))
np.flip(x); np.flip(x, 0); np.fliplr(x); np.flipud(x); np.rot90(x); np.rot90(x, 2); np.rot90(x, -1)
np.rot90(x, 3, axes=(1, 0)); np.rot90(x, 4); np.pad(x, 1); np.pad(x, ((1, 0), (0, 2)), constant_values=0.5)
np.pad(v, (1, 2), constant_values=(3.0, 4.0)); np.pad(x, 1, mode="edge"); np.pad(x, (1, 2), mode="reflect")
np.pad(v, (3, 1), "symmetric"); np.pad(v, (1, 6), "wrap"); np.pad(x, {1: (1, 2)}); np.diagonal(x); np.diagonal(x, 1)
np.diagonal(x[None] * p, 0, 1, 2); np.diag(x); np.diag(v); np.diag(w, 2); np.diag(w, -1); np.diagflat(s[:2])
np.tril(x); np.triu(x, 1); np.vander(v); np.vander(v, 3, increasing=True); np.meshgrid(v, w)
np.meshgrid(v, w, indexing="ij"); np.meshgrid(v, w, sparse=True); np.zeros_like(x); np.ones_like(x, dtype=np.int64)
np.full_like(x, 2.0); np.zeros_like(x, shape=(2,)); np.copy(x); np.linspace(v, x, 4)
np.linspace(v[0], w[0], 5, endpoint=False); np.linspace(w, 1.0, 3, axis=1); np.linspace(v, 2.0, 1)
np.linspace(v, x, 3, retstep=True); np.logspace(v, w[0], 3); np.apply_along_axis(np.sum, 0, x)
np.apply_along_axis(lambda r: r * 2, 1, x); np.apply_over_axes(np.sum, x, [0, 1]); np.matrix_transpose(x)
np.astype(x, np.float32); np.shape(x); np.ndim(x); np.size(x); np.size(x, 0); np.iscomplexobj(x); np.isrealobj(c)
np.real(c); np.imag(c); np.imag(x); np.real(x); np.ix_(i, i); np.geomspace(p, x**2, 4)
np.geomspace(-p, -2.0, 3, endpoint=False)
np.can_cast(i, np.float64)
"""
PLACES = """
np.where(m, x, y); np.where(m, x, 0.0); np.where(x > 0); np.where(x > 0, x, 0.0)
np.select([x > 1, x > 0], [x, y], 0.5); np.choose(i, [w, w * 2, w + 1]); np.extract(x > 0, x)
np.compress([True, False, True], x, axis=0); np.compress(v > 0, v); np.piecewise(x, [x < 0, x > 1], [np.exp, np.sin])
np.piecewise(v, [v < 0], [-1.0, lambda a: a ** 2]); np.take(x, [0, 5, 2]); np.take(x, i, axis=1)
np.take(x, [[0, 1], [2, 0]], axis=0); np.take(x, 1, axis=0); np.take_along_axis(x, i[:, None], axis=1)
np.take_along_axis(x, np.argsort(x, axis=1), axis=1); np.nonzero(x); np.argwhere(x > 0); np.trim_zeros(v * (v > 0))
np.trim_zeros(v * (v > 0), "f"); np.flatnonzero(x > 0); np.count_nonzero(m); np.count_nonzero(m, axis=0); np.sort(x)
np.sort(x, axis=0); np.sort(x, axis=None); np.argsort(x); np.argsort(x, axis=None); np.partition(v, 1)[1]
np.lexsort((v, -v)); np.lexsort((x, y)); np.argmax(x); np.argmin(x, axis=1); np.argmax(x, axis=0, keepdims=True)
np.searchsorted(t, p); np.searchsorted(t, v, side="right"); np.digitize(x, t); np.digitize(x, t, right=True)
np.digitize(x, t[::-1]); np.digitize(t, t[::-1]); np.digitize(t, t[::-1], right=True); np.bincount(i)
np.bincount(i, weights=w); np.bincount(i, minlength=5); np.isin(i, [0, 2]); np.isin(x, v, invert=True)
np.tril_indices_from(x); np.triu_indices_from(x, 1); np.diag_indices_from(s); np.unique(i)
np.unique(i, return_inverse=True, return_counts=True); np.union1d(v, w); np.intersect1d(i, [2, 1])
np.setdiff1d(i, [1]); np.setxor1d(i, [1, 7])
"""
ELEMENTS = """
np.fix(x); np.round(x); np.round(x, 1); np.around(x * 100, -1); np.clip(x, -0.5, 1.0); np.clip(x, None, 1.0)
np.clip(x, y - 1, y + 1); np.clip(x, min=0.0); np.nan_to_num(n); np.nan_to_num(n, nan=2.0); np.nan_to_num(i)
np.nan_to_num(np.where(m, x, np.inf), posinf=-5.0); np.angle(c); np.angle(c, deg=True); np.iscomplex(c); np.isreal(x)
np.real_if_close(c); np.real_if_close(x + 0j); np.isposinf(x); np.isneginf(x); np.isclose(x, x + 1e-9)
np.isclose(n, n, equal_nan=True); np.allclose(x, y); np.array_equal(x, x); np.array_equal(x, v)
np.array_equal(n, n, equal_nan=True); np.array_equiv(v, x); np.diff(x); np.diff(x, axis=0); np.diff(x, 2)
np.diff(v, prepend=0.0, append=w); np.ediff1d(x); np.ediff1d(v, to_begin=1.0, to_end=w); np.unwrap(x * 4)
np.unwrap(x * 4, axis=0); np.unwrap(x * 2, period=3.0); np.unwrap(v * 5, discont=4.0); np.trapezoid(x)
np.trapezoid(x, v); np.trapezoid(x, dx=0.5, axis=0); np.trapezoid(x, y.cumsum(axis=1)); np.trapezoid(x, w, axis=0)
np.gradient(v); np.gradient(x); np.gradient(x, 0.5, axis=1); np.gradient(x, 0.5, 2.0); np.gradient(t * 1.1, t)
np.gradient(v, edge_order=2); np.gradient(t * t, t, edge_order=2)
np.gradient(x, w.cumsum(), [0.0, 0.3, 1.0, 1.2], edge_order=2); np.gradient(v[:2]); np.interp(x, t, t * t)
np.interp(v, t, t * 2, left=-1.0, right=5.0)
"""
STATISTICS = """
np.sum(x); np.sum(x, axis=0); np.sum(x, axis=(0, 1), keepdims=True); np.sum(x, 1, np.float32); np.sum(x, initial=3.0)
np.sum(x, where=m); np.prod(x); np.prod(x, axis=1); np.prod(x, axis=0, where=m, initial=2.0); np.max(x)
np.max(x, axis=1); np.amax(x, 0, keepdims=True); np.min(x, axis=1, initial=-0.5)
np.min(x, axis=0, where=m, initial=1.0); np.amin(x); np.mean(x); np.mean(x, axis=0); np.mean(i); np.mean(x, where=m)
np.mean(x, axis=1, keepdims=True, where=m); np.mean(x, dtype=np.float32); np.std(x); np.std(x, axis=0, ddof=1)
np.var(x, axis=1); np.var(x, correction=1); np.var(x, axis=0, where=m); np.std(x, where=m, ddof=1, keepdims=True)
np.var(c); np.var(i); np.any(x > 2); np.all(x > -3, axis=0); np.any(m, axis=1, where=~m); np.ptp(x)
np.ptp(x, axis=1, keepdims=True); np.average(x); np.average(x, axis=0, weights=w); np.average(x, weights=p)
np.average(x, axis=1, weights=p, returned=True); np.average(x, axis=(1, 0), weights=p.T)
np.average(x, axis=1, returned=True); np.cumsum(x); np.cumsum(x, axis=1); np.cumprod(x, axis=0); np.cumprod(v)
np.cumulative_sum(v); np.cumulative_sum(v, include_initial=True); np.cumulative_prod(x, axis=1); np.nansum(n)
np.nansum(n, axis=0); np.nanprod(n, axis=1); np.nanmax(n); np.nanmax(n, axis=0); np.nanmin(n, axis=1, keepdims=True)
np.nanmean(n); np.nanmean(n, axis=1); np.nanstd(n); np.nanvar(n, axis=0, ddof=1); np.nanvar(n, axis=1, keepdims=True)
np.nancumsum(n); np.nancumprod(n, axis=1); np.nanargmax(n, axis=1); np.nanargmin(n); np.nanmedian(n)
np.nanmedian(n, axis=0); np.nanpercentile(n, 30, axis=1); np.nanquantile(n, [0.2, 0.7], axis=1, keepdims=True)
np.nanmedian(x); np.nansum(n, where=m); np.nanmean(n, where=m); np.nanmax(i); np.nansum(i); np.median(x)
np.median(x, axis=1); np.median(x, axis=0, keepdims=True); np.median(n, axis=1); np.median(i); np.percentile(x, 30)
np.percentile(x, [10, 60], axis=0); np.quantile(x, 0.4, axis=1); np.quantile(x, [[0.1], [0.9]])
np.quantile(x, 0.3, method="lower"); np.quantile(x, 0.3, method="higher"); np.quantile(x, 0.35, method="nearest")
np.quantile(x, 0.35, method="midpoint"); np.quantile(x, 0.35, method="hazen"); np.quantile(x, 0.35, method="weibull")
np.quantile(x, 0.35, method="median_unbiased"); np.quantile(x, 0.01, method="normal_unbiased")
np.quantile(x, 0.35, method="interpolated_inverted_cdf"); np.quantile(x[None], 0.3, axis=(0, 2)); np.quantile(x, 1.0)
np.quantile(x, 0.0); np.cov(x); np.cov(x, rowvar=False); np.cov(v, v * v); np.cov(x, bias=True); np.cov(x, ddof=0)
np.cov(v); np.cov(x, aweights=p[0]); np.cov(x, fweights=[1, 2, 1, 3]); np.cov(x, fweights=[1, 2, 1, 3], aweights=p[0])
np.corrcoef(x); np.corrcoef(v, v * v); np.corrcoef(x, rowvar=False); np.corrcoef(v)
"""
ALGEBRA = """
np.dot(x, v); np.dot(x, y.T); np.dot(v, v); np.dot(2.0, x); np.dot(x[None], y.T); np.inner(x, y); np.inner(v, v)
np.inner(x, v); np.vdot(x, y); np.vdot(c, c * 1j); np.outer(v, w); np.outer(x, w)
np.tensordot(x, y, axes=([0, 1], [0, 1])); np.tensordot(x, y, 2); np.kron(x, s); np.kron(v, w); np.kron(x, w)
np.cross(x[:, :3], s); np.cross(w, s); np.cross(s, s.T * 2, axisa=0, axisc=0); np.trace(x); np.trace(s, 1)
np.trace(x[:, None] * w[:, None], 0, 0, 2); np.einsum("ij,kj->ik", x, y); np.einsum("ii", s); np.einsum("ij->j", x)
np.linalg.multi_dot([x, y.T, s]); np.linalg.multi_dot([v, x.T, w]); np.linalg.norm(x); np.linalg.norm(v)
np.linalg.norm(v, 1); np.linalg.norm(v, np.inf); np.linalg.norm(x, axis=0); np.linalg.norm(x, "fro")
np.linalg.norm(x, 1); np.linalg.norm(x, np.inf); np.linalg.norm(x, 3, axis=1); np.linalg.norm(x, keepdims=True)
np.linalg.norm(x[None], "fro", axis=(0, 2), keepdims=True); np.linalg.norm(x, axis=(0, 1)); np.linalg.norm(x, 2)
np.linalg.norm(x, "nuc"); np.linalg.norm(v, 0); np.linalg.vector_norm(x, axis=1); np.linalg.matrix_norm(x)
np.linalg.det(s); np.linalg.slogdet(s); np.linalg.inv(s); np.linalg.solve(s, w); np.linalg.solve(s, x)
np.linalg.cholesky(s @ s.T); np.linalg.eigvalsh(s + s.T); np.linalg.eigh(s, "U")[0]; np.linalg.eigh(s)[0]
np.linalg.eigvalsh(s, UPLO="U"); np.linalg.svdvals(x); np.linalg.svd(x, compute_uv=False)
np.linalg.svd(x, full_matrices=False)[1]; np.linalg.qr(s, "r"); np.linalg.qr(s); np.linalg.pinv(x)
np.linalg.matrix_power(s, 3); np.linalg.matrix_rank(s); np.linalg.cond(s); np.linalg.cond(s, -2); np.linalg.cond(s, 1)
np.linalg.cond(s, "fro"); np.linalg.tensorinv(s.reshape(3, 1, 3), 1); np.linalg.tensorsolve(s, w); np.linalg.trace(s)
np.linalg.diagonal(x, offset=1); np.linalg.outer(v, w); np.linalg.cross(s, s.T); np.linalg.vecdot(x, y)
np.linalg.lstsq(x.T, v); np.linalg.lstsq(x.T, y.T); np.linalg.matmul(x, y.T); np.linalg.tensordot(x, y)
np.linalg.matrix_transpose(x); np.fft.fft(v); np.fft.ifft(c, 5, norm="ortho"); np.fft.rfft(x, axis=0); np.fft.irfft(c)
np.fft.hfft(c, 4); np.fft.ihfft(v); np.fft.fftn(x); np.fft.fft2(x, s=(2, 5)); np.fft.rfft2(x); np.fft.irfft2(x)
np.fft.rfftn(x, axes=(0,)); np.fft.irfftn(x); np.fft.ifftn(x); np.fft.ifft2(x, axes=(0, 1)); np.fft.fftshift(x)
np.fft.ifftshift(x, axes=0); np.convolve(v, w); np.convolve(v, w, "same"); np.convolve(w, v, "valid")
np.convolve(w, v, "same"); np.convolve(c, w); np.correlate(v, w); np.correlate(w, v, "same")
np.correlate(v, w, "same"); np.correlate(w, v); np.correlate(w, v, "full"); np.correlate(c, w, "full")
np.correlate(w, c, "full"); np.correlate(v, x[0], "same"); np.correlate(w[:2], v, "same"); np.polyval(w, x)
np.polyval([1.0, 2.0], v); np.polyadd(v, w); np.polysub(w, v); np.polymul(v, w); np.polyder(v); np.polyder(v, 2)
np.polyint(v); np.polyint(w, 2, k=[1.0, 2.0]); np.poly(w); np.polyfit(t, t**2 - t, 1); np.polyfit(v, x.T, 2, w=p[0])
np.sinc(x); np.i0(x); np.exp2(x); np.cbrt(p)
"""


def rows(text):
    return [row.strip() for line in text.strip().splitlines() for row in line.split(";") if "(" in row]


ROWS = [row for text in (UFUNCS, SHAPES, PLACES, ELEMENTS, STATISTICS, ALGEBRA) for row in rows(text)]


def evaluate(row, **arrays):
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore", RuntimeWarning)
        return eval(row, {**NAMES, **arrays})


def arrays_in(row):
    """The names of the arrays that a row uses, in order of NAMES."""
    words = set(compile(row, "row", "eval").co_names)
    inner = {name for constant in compile(row, "row", "eval").co_consts if hasattr(constant, "co_names")
             for name in constant.co_names}
    return [name for name in NAMES if name != "np" and name in words | inner]


def flat(result):
    return [part for piece in result for part in flat(piece)] if isinstance(result, (tuple, list)) else [result]


def same(result, wanted, exact):
    """Compare a result with NumPy's, part by part."""
    assert len(flat(result)) == len(flat(wanted))
    for got, want in zip(flat(result), flat(wanted), strict=True):
        if isinstance(got, agrad.Tensor):
            assert got.shape == np.shape(want)
            assert not exact or got.dtype == np.asarray(want).dtype
            got = got.detach().numpy()
        else:
            assert not isinstance(got, np.ndarray) or got.dtype.kind in "iub", "the result left agrad"
        single = np.asarray(got).dtype in (np.float32, np.complex64)
        error = 1e-12 if exact else 1e-6 if single else 1e-9
        np.testing.assert_allclose(got, want, rtol=error, atol=error)


@pytest.mark.parametrize("row", ROWS)
def test_values_are_numpys(row, backend):
    wanted = evaluate(row)
    names = arrays_in(row)
    exact = backend == "numpy"
    try:
        result = evaluate(row, **{name: agrad.asarray(NAMES[name]) for name in names})
    except (TypeError, NotImplementedError, RuntimeError, ValueError, IndexError) as error:
        if exact or "agrad" in str(error):
            raise
        pytest.skip(f"{backend} cannot do it: {str(error)[:80]}")
    same(result, wanted, exact)


# One precision only, and `//`, which refuses to be differentiated.
WITHOUT_GRADIENT = ("float32", "np.divmod", "np.floor_divide")
DIFFERENTIABLE = [
    row for row in ROWS
    if any(NAMES[name].dtype.kind in "fc" for name in arrays_in(row)) and not any(w in row for w in WITHOUT_GRADIENT)
]


@pytest.mark.parametrize("row", DIFFERENTIABLE)
def test_gradients_are_right(row):
    names = arrays_in(row)
    arrays = [NAMES[name] for name in names]
    case = harness.case(lambda *given: flat(evaluate(row, **dict(zip(names, given, strict=True)))), *arrays)
    kind, detail = harness.compare(case, lambda: harness.gradients_on_numpy(case))
    assert kind in (harness.RIGHT, harness.FLAT, harness.PLAIN), f"{kind}: {detail}"


# ------------------------------------------------------------------------------------------------------------- keywords


def tracked(values):
    return agrad.tensor(values, requires_grad=True)


def gradient(scalar, *leaves):
    return [None if g is None else g.tolist() for g in agrad.autograd.grad(scalar, leaves, allow_unused=True)]


def test_out_is_written_to_and_keeps_the_history():
    x, out = tracked([1.0, 2.0]), agrad.zeros(2)
    assert np.multiply(x, 3.0, out=out) is out
    assert gradient(out.sum(), x) == [[3.0, 3.0]]
    total = agrad.zeros(())
    assert np.sum(x, out=total) is total
    assert np.add.reduce(x, out=total) is total
    assert gradient(total * 2, x) == [[2.0, 2.0]]


def test_out_of_several_results():
    x, part, whole = tracked([1.5, -2.25]), agrad.zeros(2), agrad.zeros(2)
    np.modf(x, out=(part, whole))
    assert part.tolist() == [0.5, -0.25]
    assert whole.tolist() == [1.0, -2.0]
    assert gradient(part.sum(), x) == [[1.0, 1.0]]


def test_a_numpy_array_as_out_takes_untracked_values_only():
    array = np.zeros(2)
    array += agrad.tensor([1.0, 2.0])
    assert array.tolist() == [1.0, 2.0]
    with pytest.raises(TypeError, match=r"np.add: out= is a NumPy array, which cannot hold the history"):
        array += tracked([1.0, 2.0])
    with pytest.raises(TypeError, match=r"np.sum: out= is a NumPy array"):
        np.sum(tracked([1.0, 2.0]), out=array[:1].reshape(()))
    assert array.tolist() == [1.0, 2.0]


def test_out_must_have_the_shape_of_the_result():
    with pytest.raises(ValueError, match="shape"):
        np.add(tracked([1.0, 2.0]), 1.0, out=agrad.zeros(3))
    with pytest.raises(RuntimeError, match="can't be cast"):
        np.add(tracked([1.0, 2.0]), 1.0, out=agrad.zeros(2, dtype=agrad.int64))


def test_where_of_a_ufunc_needs_out():
    x, out = tracked([1.0, 2.0]), agrad.tensor([5.0, 7.0])
    np.square(x, out=out, where=[True, False])
    assert out.tolist() == [1.0, 7.0]
    assert gradient(out.sum(), x) == [[2.0, 0.0]]
    with pytest.raises(TypeError, match="where= without a Tensor as out="):
        np.square(x, where=np.array([True, False]))


def test_dtype_and_casting():
    x = tracked([1.25, 2.0])
    assert np.sin(x, dtype=np.float32).dtype == agrad.float32
    assert np.add.reduce(x, dtype="complex128").dtype == agrad.complex128
    with pytest.raises(TypeError, match="cannot cast from float64 to int64"):
        np.add(x, 1, dtype=np.int64)
    assert np.equal(x, 2.0, dtype=bool).tolist() == [False, True]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda x: np.sin(x, order="F"), "order="),
        (lambda x: np.add(x, x, signature="dd->d"), "signature="),
        (lambda x: np.matmul(x, x, axes=[(0,), (0,), ()]), "axes="),
        (lambda x: np.add.at(x, [0, 0], 1.0), r"np.add.at: writing with repeated positions; use agrad.scatter_add"),
        (lambda x: np.frexp(x), "np.frexp: this function has no implementation on agrad Tensors"),
        (lambda x: np.histogram(x), r"np.histogram: .*leave the graph with x.detach\(\).numpy\(\)"),
        (lambda x: np.roots(x), "np.roots"),
        (lambda x: np.concatenate([x, x], dtype=int), "np.concatenate: cannot cast from float64 to int64"),
        (lambda x: np.stack([x, x], dtype="f4", casting="safe"), "np.stack: cannot cast from float64 to float32"),
        (lambda x: np.zeros_like(x, device="cuda"), "device='cuda' is not supported"),
        (lambda x: np.quantile(x, 0.5, method="inverted_cdf"), "method='inverted_cdf' is not supported"),
        (lambda x: np.quantile(x, x), "the place of a quantile has no gradient"),
        (lambda x: np.pad(x, 1, mode="linear_ramp", end_values=3), "end_values=3 is not supported"),
        (lambda x: np.pad(x, 1, mode="mean"), "mode='mean' is not supported"),
        (lambda x: np.take(x, [7], mode="wrap"), "mode='wrap' is not supported"),
        (lambda x: np.var(x, mean=x), "mean="),
        (lambda x: np.unique(x, axis=0), "axis=0 is not supported"),
        (lambda x: np.nan_to_num(x, copy=False), "copy=False is not supported"),
        (lambda x: np.einsum(x, [0], [0]), "subscripts must be given as a string"),
        (lambda x: np.cross(x, x), "three elements"),
        (lambda x: np.copyto(np.zeros(2), x), "cannot be written into a NumPy array"),
        (lambda x: np.frompyfunc(float, 1, 1)(x), "the ufunc float .* has no implementation"),
        (lambda x: np.save("never.npy", x), "np.save"),
        (lambda x: np.multiply(np.ma.array([1.0, 2.0], mask=[0, 1]), x), "would lose its mask"),
        (lambda x: np.concatenate([np.ma.array([1.0, 2.0], mask=[0, 1]), x]), "would lose its mask"),
    ],
)
def test_what_cannot_be_done_raises_and_says_what(call, message):
    with pytest.raises(TypeError, match=message):
        call(tracked([1.0, 2.0]))


@pytest.mark.parametrize("function", [np.asarray, np.array, np.ma.array, lambda x: np.array([x, x]), np.fft.fftfreq])
def test_conversions_of_a_tracked_tensor_raise(function):
    with pytest.raises((RuntimeError, TypeError, ValueError)):
        function(tracked([1.0, 2.0]))


def test_a_scalar_that_leaves_the_graph_warns(monkeypatch):
    monkeypatch.setattr("agrad.methods._warned", False)
    array = np.zeros(2)
    with pytest.warns(UserWarning, match="Converting a tensor with requires_grad=True"):
        array[0] = tracked(3.0)


def test_writes():
    x = tracked([[1.0, 2.0], [3.0, 4.0]])
    target = agrad.zeros((2, 2))
    np.copyto(target, x, where=[[True, False], [True, True]])
    np.putmask(target, target.numpy(force=True) > 3, [7.0])
    assert target.tolist() == [[1.0, 0.0], [3.0, 7.0]]
    assert gradient(target.sum(), x) == [[[1.0, 0.0], [1.0, 0.0]]]
    y = x * 1.0
    np.put_along_axis(y, np.array([[0], [1]]), 9.0, axis=1)
    assert y.tolist() == [[9.0, 2.0], [3.0, 9.0]]
    np.fill_diagonal(y, 0.5)
    assert y.tolist() == [[0.5, 2.0], [3.0, 0.5]]
    assert gradient(y.sum(), x) == [[[0.0, 1.0], [1.0, 0.0]]]


def test_like_makes_tensors():
    x = tracked([1.0, 2.0])
    for made in (
        np.asarray([1.0, 2.0], like=x), np.array([1.0, 2.0], like=x), np.zeros(2, like=x), np.ones((2,), like=x),
        np.full(2, 3.0, like=x), np.arange(3, like=x), np.eye(2, like=x), np.empty(2, like=x),
    ):
        assert isinstance(made, agrad.Tensor)
    assert np.array(3.0, ndmin=2, like=x).shape == (1, 1)


# ---------------------------------------------------------------------------------------------------- several libraries


class Foreign:
    """An array type that handles the protocols by itself."""

    __array_priority__ = 2000

    def __array_ufunc__(self, ufunc, method, *inputs, **kwargs):
        return f"foreign {ufunc.__name__}"

    def __array_function__(self, function, types, args, kwargs):
        return f"foreign {function.__name__}"


def test_unknown_array_types_have_their_own_way():
    x = tracked([1.0, 2.0])
    assert np.add(x, Foreign()) == "foreign add"
    assert np.concatenate([x, Foreign()]) == "foreign concatenate"


def test_mixed_operands(backend):
    x = agrad.asarray(np.array([1.0, 2.0])).requires_grad_()
    results = [
        np.ones(2) * x, np.float64(2.0) * x, np.int64(3) - x, x ** np.int64(2), np.array(2.0) / x, x + np.ones(2),
    ]
    for y in results:
        assert isinstance(y, agrad.Tensor)
        assert y.requires_grad
        assert y.dtype == agrad.float64
        assert y.backend_ is x.backend_
    assert (np.ones(2) < x).tolist() == [False, True]
    assert (np.ones((2, 2)) @ x).tolist() == [3.0, 3.0]
    assert (np.array([0, 1]) == agrad.asarray([0, 2])).tolist() == [True, False]


def test_ufuncs_of_scipy_are_ops():
    special = pytest.importorskip("scipy.special")
    x = tracked([0.3, 1.2])
    y = getattr(special, "_ufuncs", special).erf(x)
    assert np.allclose(y.detach(), special.erf(np.array([0.3, 1.2])))
    (g,) = gradient(y.sum(), x)
    assert np.allclose(g, 2 / np.sqrt(np.pi) * np.exp(-np.array([0.3, 1.2]) ** 2))


def test_subclasses_and_second_order():
    x = tracked([0.3, 1.2])
    (g,) = agrad.autograd.grad(np.sum(np.sin(x) ** 2), x, create_graph=True)
    assert np.allclose(gradient(np.sum(g), x), [2 * np.cos(2 * np.array([0.3, 1.2]))])


# --------------------------------------------------------------------------------------------------------- completeness

# What has no implementation, and why: integers and bits only, counts of values that move, no form on arrays of numbers.
MISSING = set("""
    bitwise_count common_type frexp gcd histogram histogram2d histogram_bin_edges histogramdd lcm
    min_scalar_type place polydiv put ravel_multi_index roots sort_complex spacing unravel_index
""".split())


def test_targets_name_every_function():
    targets = dict(numpy_protocol.targets())
    assert {name for name, target in targets.items() if target is None} == MISSING
    assert targets["linalg.det"].name == "linalg.det"
    assert targets["argmax"].name == "argmax"
    assert targets["nanmean"] is True
    assert targets["array_equal"] is False
    assert len(targets) > 340


def test_every_implementation_takes_the_parameters_of_numpys_function():
    table = numpy_protocol.filled_table()
    for module in (np, np.linalg, np.fft):
        for _, function in table.names_in(module):
            entry = None if isinstance(function, np.ufunc) else table.FUNCTIONS.get(table.name_of(function))
            if entry is None:
                continue
            names = set(table.form_of(function).signature.parameters)
            known = names | {"like", "constant_values", "reflect_type", "dtype", "casting"}
            assert entry.open or entry.accepted <= known, f"{function.__name__}: {entry.accepted - known}"
