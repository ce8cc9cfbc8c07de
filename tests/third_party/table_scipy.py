"""Functions of SciPy, with SCIPY_ARRAY_API=1: those that were measured for other array libraries, and some more."""

import scipy.cluster.hierarchy
import scipy.cluster.vq
import scipy.constants
import scipy.differentiate
import scipy.fft
import scipy.integrate
import scipy.interpolate
import scipy.linalg
import scipy.ndimage
import scipy.optimize
import scipy.optimize.elementwise
import scipy.signal
import scipy.spatial.distance
import scipy.special
import scipy.stats
from scipy.spatial.transform import Rotation

from third_party.harness import case, namespace, numbers

cluster, fft, integrate, interpolate = scipy.cluster, scipy.fft, scipy.integrate, scipy.interpolate
linalg, ndimage, optimize, signal = scipy.linalg, scipy.ndimage, scipy.optimize, scipy.signal
distance, special, stats = scipy.spatial.distance, scipy.special, scipy.stats
differentiate = scipy.differentiate

V = numbers(5)                                  # a vector
W = numbers(5, seed=1)
P = numbers(5, low=0.2, high=0.9, seed=2)       # positive, below 1
Q = numbers(5, low=0.3, high=2.0, seed=3)       # positive
M = numbers(3, 4, seed=4)                       # a matrix
S = numbers(3, 3, seed=5) + 3 * numbers(3, low=0.5, seed=6) * [[1, 0, 0], [0, 1, 0], [0, 0, 1]]    # square, regular
LONG = numbers(9, seed=7)
QUATERNIONS = numbers(2, 4, seed=8)
VECTORS = numbers(2, 3, seed=9)


# Not among the functions that were measured for other array libraries.
MORE = ("integrate.qmc_quad", "integrate.quad_vec", "integrate.lebedev", "integrate.nsum to infinity")


def symmetric(x):
    return x @ x.T + 1.0


SPECIAL = {
    "special.logsumexp": case(lambda x: special.logsumexp(x, axis=-1), M),
    "special.softmax": case(lambda x: special.softmax(x, axis=-1), M),
    "special.log_softmax": case(lambda x: special.log_softmax(x, axis=-1), M),
    "special.expit": case(special.expit, V),
    "special.logit": case(special.logit, P),
    "special.erf": case(special.erf, V),
    "special.gammaln": case(special.gammaln, Q),
    "special.ndtr": case(special.ndtr, V),
    "special.log_ndtr": case(special.log_ndtr, V),
    "special.entr": case(special.entr, P),
    "special.psi": case(special.psi, Q),
    "special.i0": case(special.i0, V),
    "special.exp2": case(special.exp2, V),
    "special.cbrt": case(special.cbrt, Q),
    "special.sinc": case(special.sinc, V),
    "special.xlogy": case(special.xlogy, V, Q),
    "special.rel_entr": case(special.rel_entr, P, Q),
    "special.betainc": case(special.betainc, Q, P + 1, P, fixed=(0, 1)),
    "special.logsumexp b": case(lambda x, b: special.logsumexp(x, b=b, axis=-1), M, numbers(3, 4, low=0.1)),
}

STATS = {
    "stats.zscore": case(stats.zscore, V),
    "stats.skew": case(stats.skew, V),
    "stats.kurtosis": case(stats.kurtosis, V),
    "stats.moment": case(lambda x: stats.moment(x, 3), V),
    "stats.variation": case(stats.variation, Q),
    "stats.gmean": case(stats.gmean, Q),
    "stats.hmean": case(stats.hmean, Q),
    "stats.pmean": case(lambda x: stats.pmean(x, 2.5), Q),
    "stats.entropy": case(lambda x, y: stats.entropy(x, y), P, Q),
    "stats.differential_entropy": case(stats.differential_entropy, LONG),
    "stats.ttest_1samp": case(lambda x: (r := stats.ttest_1samp(x, 0.1)) and (r.statistic, r.pvalue), V),
    "stats.ttest_ind": case(lambda x, y: (r := stats.ttest_ind(x, y)) and (r.statistic, r.pvalue), V, W),
    "stats.pearsonr": case(lambda x, y: (r := stats.pearsonr(x, y)) and (r.statistic, r.pvalue), V, W),
    "stats.spearmanr": case(lambda x, y: stats.spearmanr(x, y).statistic, V, W),
    "stats.linregress": case(lambda x, y: (r := stats.linregress(x, y)) and (r.slope, r.intercept), V, W),
    "stats.chisquare": case(lambda x: (r := stats.chisquare(x)) and (r.statistic, r.pvalue), Q),
    "stats.describe": case(
        lambda x: (r := stats.describe(x)) and (*r.minmax, r.mean, r.variance, r.skewness, r.kurtosis), V,
    ),
    "stats.trim_mean": case(lambda x: stats.trim_mean(x, 0.2), LONG),
    "stats.iqr": case(stats.iqr, V),
    "stats.quantile": case(lambda x: stats.quantile(x, 0.3), V),
    "stats.rankdata": case(stats.rankdata, V),
    "stats.boxcox_llf": case(lambda x: stats.boxcox_llf(0.7, x), Q),
    "stats.directional_stats": case(
        lambda x: (r := stats.directional_stats(x)) and (r.mean_direction, r.mean_resultant_length), VECTORS,
    ),
    "stats.circmean": case(stats.circmean, V),
    "stats.circstd": case(stats.circstd, V),
    "stats.sem": case(stats.sem, V),
    "stats.f_oneway": case(lambda x, y: (r := stats.f_oneway(x, y)) and (r.statistic, r.pvalue), V, W),
    "stats.bartlett": case(lambda x, y: (r := stats.bartlett(x, y)) and (r.statistic, r.pvalue), V, W),
    "stats.combine_pvalues": case(lambda p: (r := stats.combine_pvalues(p)) and (r.statistic, r.pvalue), P),
    "stats.norm.pdf (old dist)": case(stats.norm.pdf, V),
    "stats.Normal().logpdf (new dist)": case(lambda x: stats.Normal().logpdf(x), V),
    "stats.multivariate_normal": case(lambda x: stats.multivariate_normal.logpdf(x, [0.0, 0.0, 0.0]), VECTORS),
    "stats.wasserstein_distance": case(stats.wasserstein_distance, V, W),
}

SIGNAL = {
    "signal.fftconvolve": case(signal.fftconvolve, V, W),
    "signal.oaconvolve": case(signal.oaconvolve, LONG, numbers(3)),
    "signal.convolve": case(signal.convolve, V, W),
    "signal.correlate": case(signal.correlate, V, W),
    "signal.hilbert": case(signal.hilbert, V),
    "signal.detrend": case(signal.detrend, V),
    "signal.lfilter": case(signal.lfilter, P, Q, V),
    "signal.freqz": case(lambda b, a: signal.freqz(b, a, worN=6)[1], numbers(3), Q),
    "signal.savgol_filter": case(lambda x: signal.savgol_filter(x, 5, 2), LONG),
    "signal.resample": case(lambda x: signal.resample(x, 7), V),
    "signal.welch": case(lambda x: signal.welch(x, nperseg=4)[1], LONG),
    "signal.windows.hann*x": case(lambda x: signal.windows.hann(5, xp=namespace(x)) * x, V),
    "signal.zpk2tf": case(lambda z, p, k: signal.zpk2tf(z, p, k), V, W, 2.0),
    "signal.lp2lp_zpk": case(lambda z, p: signal.lp2lp_zpk(z, p, 1.5, 0.7), V, W),
    "signal.vectorstrength": case(lambda x: signal.vectorstrength(x, 0.7), V),
}

FFT = {
    "fft.fft": case(fft.fft, V),
    "fft.rfft": case(fft.rfft, V),
    "fft.ifft": case(fft.ifft, V),
    "fft.fftn": case(fft.fftn, M),
    "fft.dct": case(fft.dct, V),
    "fft.fht": case(lambda x: fft.fht(x, 0.1, 0.5), V),
}


def find_root(c):
    low = c * 0.0
    return optimize.elementwise.find_root(lambda x, c: x**3 + x - c, (low, low + 3.0), args=(c,)).x


def find_minimum(c):
    low = c * 0.0
    bracket = (low - 1.0, low + 0.5, low + 4.0)
    return optimize.elementwise.find_minimum(lambda x, c: (x - c) ** 2 + (x - c) ** 4, bracket, args=(c,)).x


def bracket_root(c):
    found = optimize.elementwise.bracket_root(lambda x, c: x**3 + x - c, c * 0.1, c * 0.2, args=(c,))
    return (*found.bracket, *found.f_bracket)


OPTIMIZE = {
    "optimize.rosen": case(optimize.rosen, V),
    "optimize.rosen_der": case(optimize.rosen_der, V),
    "optimize.elementwise.find_root": case(find_root, Q),
    "optimize.elementwise.find_minimum": case(find_minimum, Q, tolerance=1e-5),
    "optimize.elementwise.bracket_root": case(bracket_root, Q),
    "optimize.minimize": case(lambda c: optimize.minimize(lambda x: ((x - c) ** 2).sum(), V).x, W, tolerance=1e-5),
    "optimize.root_scalar/brentq": case(lambda c: optimize.brentq(lambda x: x**3 + x - c, 0.0, 3.0), 1.3),
}


def qmc_quad(c):
    points = stats.qmc.Halton(1, rng=0)
    return integrate.qmc_quad(lambda x: namespace(c).exp(-c * x[0]), 0.0, 1.0, n_points=16, qrng=points).integral


def quad_vec(c):
    return integrate.quad_vec(lambda x: namespace(c).exp(-c * x), 0.0, 1.0)[0]


def cubature(c):
    xp = namespace(c)
    low, high = xp.asarray([0.0, 0.0]), xp.asarray([1.0, 2.0])
    return integrate.cubature(lambda x, c: xp.exp(-c * xp.sum(x * x, axis=-1)), low, high, args=(c,)).estimate


def nsum(c, last=9.0):
    xp = namespace(c)
    return integrate.nsum(lambda k, c: 1.0 / (k**2 + c), xp.asarray(1), xp.asarray(last), args=(c,)).sum


def lebedev(c):
    points, weights = integrate.lebedev_rule(5)
    xp = namespace(c)
    return xp.exp(c * xp.asarray(points[0])) @ xp.asarray(weights)


INTEGRATE = {
    "integrate.trapezoid": case(integrate.trapezoid, V, W),
    "integrate.simpson": case(integrate.simpson, V, W),
    "integrate.cumulative_trapezoid": case(integrate.cumulative_trapezoid, V, W),
    "integrate.cumulative_simpson": case(lambda y, x: integrate.cumulative_simpson(y, x=x), V, Q.cumsum()),
    "integrate.tanhsinh": case(
        lambda c: integrate.tanhsinh(lambda x, c: namespace(x).exp(-c * x), c * 0.0, c * 0.0 + 1.0, args=(c,)).integral,
        Q,
    ),
    "integrate.cubature": case(cubature, 0.7),
    "integrate.nsum": case(nsum, Q),
    "integrate.nsum to infinity": case(lambda c: nsum(c, float("inf")), Q),
    "integrate.qmc_quad": case(qmc_quad, 0.7),
    "integrate.quad_vec": case(quad_vec, Q),
    "integrate.lebedev": case(lebedev, 0.7),
}

DIFFERENTIATE = {
    "differentiate.derivative": case(
        lambda x: differentiate.derivative(namespace(x).exp, x).df, V, tolerance=1e-5,
    ),
    "differentiate.jacobian": case(
        lambda x: differentiate.jacobian(lambda x: namespace(x).stack([x[0] ** 2 * x[1], x[1] ** 3]), x).df,
        Q[:2], tolerance=1e-5,
    ),
}

LINALG = {
    "linalg.det": case(linalg.det, S),
    "linalg.inv": case(linalg.inv, S),
    "linalg.expm": case(linalg.expm, S / 3),
    "linalg.cholesky": case(lambda x: linalg.cholesky(symmetric(x)), S),
    "linalg.svd": case(linalg.svdvals, S),
    "linalg.norm": case(linalg.norm, S),
    "linalg.solve": case(linalg.solve, S, numbers(3)),
    "linalg.lu": case(lambda x: linalg.lu(x)[1:], S),
    "linalg.toeplitz": case(linalg.toeplitz, V),
    "linalg.bandwidth-like block_diag": case(lambda x, y: linalg.block_diag(x, y), S, M),
}

GRID = numbers(6, low=0.0, high=1.0).cumsum()

INTERPOLATE = {
    "interpolate.BSpline": case(lambda c, x: interpolate.BSpline(GRID[:6], c[:3], 2)(x), V, GRID[2:4] * 0.5 + 1),
    "interpolate.RBFInterpolator": case(
        lambda d, x: interpolate.RBFInterpolator(namespace(d).asarray(numbers(5, 2)), d)(x), V, numbers(2, 2, seed=3),
    ),
    "interpolate.RegularGridInterpolator": case(
        lambda v, x: interpolate.RegularGridInterpolator((namespace(v).asarray(GRID),), v)(x),
        LONG[:6], GRID[2:4] + 0.01,
    ),
    "interpolate.CubicSpline": case(
        lambda v, x: interpolate.CubicSpline(namespace(v).asarray(GRID), v)(x), LONG[:6], GRID[2:4] + 0.01,
    ),
    "interpolate.BarycentricInterpolator": case(
        lambda v, x: interpolate.BarycentricInterpolator(GRID, v, rng=0)(x), LONG[:6], GRID[2:4] + 0.01,
    ),
    "interpolate.AAA": case(lambda v, x: interpolate.AAA(GRID, v)(x), LONG[:6], GRID[2:4] + 0.01),
}

ROTATION = {
    "Rotation.from_rotvec.as_matrix": case(lambda v: Rotation.from_rotvec(v).as_matrix(), VECTORS),
    "Rotation.from_quat.apply": case(lambda q, v: Rotation.from_quat(q).apply(v), QUATERNIONS, VECTORS),
    "Rotation mul/inv/as_rotvec": case(
        lambda q, v: (Rotation.from_quat(q).inv() * Rotation.from_rotvec(v)).as_rotvec(), QUATERNIONS, VECTORS,
    ),
    "Rotation.from_euler": case(lambda v: Rotation.from_euler("xyz", v).as_quat(), VECTORS),
    "Rotation.as_euler": case(lambda q: Rotation.from_quat(q).as_euler("zyx"), QUATERNIONS),
    "Rotation.mean": case(lambda q: Rotation.from_quat(q).mean().as_quat(), QUATERNIONS),
    "Rotation.magnitude": case(lambda q: Rotation.from_quat(q).magnitude(), QUATERNIONS),
}

SPATIAL = {
    "spatial.distance.pdist": case(distance.pdist, M),
    "spatial.distance.cosine": case(distance.cosine, V, W),
    "spatial.distance.cdist": case(distance.cdist, M, M[:2] + 0.3),
    "cluster.vq.whiten": case(cluster.vq.whiten, M),
    "cluster.vq.vq": case(lambda x, c: cluster.vq.vq(x, c)[1], M, M[:2] + 0.3),
    "cluster.vq.kmeans": case(lambda x, c: cluster.vq.kmeans(x, c)[0], M, M[:2] + 0.1),
    "cluster.hierarchy.linkage": case(lambda x: cluster.hierarchy.linkage(x)[:, 2], M),
    "ndimage.gaussian_filter": case(lambda x: ndimage.gaussian_filter(x, 0.8), M),
    "ndimage.zoom": case(lambda x: ndimage.zoom(x, 1.5, order=1), M),
    "ndimage.map_coordinates": case(lambda x: ndimage.map_coordinates(x, [[0.5, 1.2], [0.7, 2.1]], order=1), M),
    "constants.convert_temperature": case(
        lambda x: scipy.constants.convert_temperature(x, "Celsius", "Fahrenheit"), V,
    ),
}

CASES = {
    **SPECIAL, **STATS, **SIGNAL, **FFT, **OPTIMIZE, **INTEGRATE, **DIFFERENTIATE, **LINALG, **INTERPOLATE, **ROTATION,
    **SPATIAL,
}
