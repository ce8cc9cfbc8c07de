"""The functions of array-api-extra, and those of einops that are written against the standard."""

import array_api_extra as xpx
import numpy as np
from einops import array_api as einops

from third_party.harness import case, namespace, numbers

V, W = numbers(5), numbers(5, seed=1)
M, N = numbers(3, 4, seed=2), numbers(2, 3, seed=3)
POSITIVE = numbers(5, low=0.2, seed=4)
COMPLEX = numbers(4, seed=5) + 1j * numbers(4, seed=6)
GAPS = np.array([[0.3, np.nan, 1.2], [np.nan, -0.4, 0.8]])
ORDER = [2, 0, 1]


def at(method):
    return lambda x, y: getattr(xpx.at(x * 1.0)[1:4], method)(y[:3])


CASES = {
    "xpx.angle": case(xpx.angle, COMPLEX),
    "xpx.apply_where": case(
        lambda x, y: xpx.apply_where(x > 0, (x, y), lambda x, y: x**2 * y, lambda x, y: x - y**3), V, W,
    ),
    "xpx.apply_where fill_value": case(lambda x: xpx.apply_where(x > 0, x, namespace(x).log, fill_value=2.0), V),
    "xpx.argpartition": case(lambda x: xpx.argpartition(x, 2), V),
    "xpx.at.set": case(at("set"), V, W),
    "xpx.at.add": case(at("add"), V, W),
    "xpx.at.subtract": case(at("subtract"), V, W),
    "xpx.at.multiply": case(at("multiply"), V, W),
    "xpx.at.divide": case(at("divide"), V, POSITIVE),
    "xpx.at.power": case(lambda x, y: xpx.at(x * 1.0)[1:4].power(2.0) * y, POSITIVE, W),
    "xpx.at.min": case(at("min"), V, W),
    "xpx.at.max": case(at("max"), V, W),
    "xpx.at.set mask": case(lambda x: xpx.at(x * 1.0, x > 0).set(0.5), V),
    "xpx.atleast_nd": case(lambda x: xpx.atleast_nd(x, ndim=3), M),
    "xpx.broadcast_shapes": case(lambda x: x + sum(xpx.broadcast_shapes(x.shape, (1, 4))), M),
    "xpx.cov": case(xpx.cov, M),
    "xpx.cov weights": case(lambda x, w: xpx.cov(x, aweights=w), M, POSITIVE[:4]),
    "xpx.create_diagonal": case(lambda x: xpx.create_diagonal(x, offset=1), V),
    "xpx.default_dtype": case(lambda x: x + namespace(x).ones(5, dtype=xpx.default_dtype(namespace(x))), V),
    "xpx.deg2rad": case(xpx.deg2rad, V),
    "xpx.rad2deg": case(xpx.rad2deg, V),
    "xpx.diag_indices": case(lambda x: x[xpx.diag_indices(3, xp=namespace(x))], M),
    "xpx.expand_dims": case(lambda x: xpx.expand_dims(x, axis=(0, 2)), M),
    "xpx.isclose": case(lambda x, y: x * namespace(x).astype(xpx.isclose(x, y), x.dtype), V, W),
    "xpx.isin": case(lambda x, y: xpx.isin(x, y), V, W),
    "xpx.kron": case(xpx.kron, M, N),
    "xpx.lazy_apply": case(lambda x: xpx.lazy_apply(lambda a: a**2, x), V),
    "xpx.lazy_apply as_numpy": case(lambda x: xpx.lazy_apply(np.square, x, as_numpy=True), V),
    "xpx.nan_to_num": case(lambda x: xpx.nan_to_num(x, fill_value=0.5), GAPS),
    "xpx.nanmax": case(lambda x: xpx.nanmax(x, axis=1), GAPS),
    "xpx.nanmin": case(lambda x: xpx.nanmin(x, axis=1), GAPS),
    "xpx.nanmean": case(lambda x: xpx.nanmean(x, axis=1), GAPS),
    "xpx.nansum": case(lambda x: xpx.nansum(x, axis=1), GAPS),
    "xpx.nunique": case(xpx.nunique, V),
    "xpx.one_hot": case(lambda i, x: namespace(x).astype(xpx.one_hot(i, 3), x.dtype) * x[:3], ORDER, V),
    "xpx.pad": case(lambda x: xpx.pad(x, ((1, 0), (2, 1)), constant_values=0.5), M),
    "xpx.partition": case(lambda x: xpx.partition(x, 2)[..., 2], V),
    "xpx.searchsorted": case(lambda x, y: xpx.searchsorted(namespace(x).sort(x), y), V, W),
    "xpx.setdiff1d": case(lambda x, y: xpx.setdiff1d(x, y), V, W),
    "xpx.union1d": case(xpx.union1d, V, W),
    "xpx.sinc": case(xpx.sinc, V),
    "xpx.tril_indices": case(lambda x: x[xpx.tril_indices(3, m=4, xp=namespace(x))], M),
    "xpx.triu_indices": case(lambda x: x[xpx.triu_indices(3, m=4, xp=namespace(x))], M),
    "xpx.unravel_index": case(lambda i, x: x[xpx.unravel_index(i, (3, 4))], ORDER, M),
    "einops.rearrange": case(lambda x: einops.rearrange(x, "i (j k) -> k (i j)", j=2), M),
    "einops.reduce mean": case(lambda x: einops.reduce(x, "i (j k) -> k", "mean", j=2), M),
    "einops.reduce max": case(lambda x: einops.reduce(x, "i j -> i", "max"), M),
    "einops.repeat": case(lambda x: einops.repeat(x, "i j -> j i r", r=2), M),
    "einops.pack": case(lambda x, y: einops.pack([x, y], "*")[0], V, M[0]),
}
