"""xarray with Tensors as data: a DataArray that holds one is differentiated through."""

import numpy as np
import xarray as xr

from third_party.harness import case, namespace, numbers

M, N = numbers(3, 4, seed=2), numbers(3, 4, seed=3)
V = numbers(4, seed=4)
GAPS = np.where(M > 0.7, np.nan, M)


def matrix(x):
    """A DataArray with coordinates."""
    return xr.DataArray(x, dims=("time", "place"), coords={"time": [0.0, 1.0, 2.5], "place": [10, 20, 30, 40]})


def vector(x):
    return xr.DataArray(x, dims="place")


def on_matrix(function, x=M):
    return case(lambda x: function(matrix(x)).data, x)


def on_two(function):
    return case(lambda x, y: function(matrix(x), matrix(y)).data, M, N)


CASES = {
    "xr arithmetic": on_two(lambda a, b: (a * 2.0 - b) / (b**2 + 1.0)),
    "xr broadcasting by name": case(lambda x, v: (matrix(x) * vector(v)).data, M, V),
    "xr scalar on the left": on_matrix(lambda a: np.float64(2.0) - a),
    "xr comparison and where": on_two(lambda a, b: a.where(a > b, b)),
    "xr.where": on_two(lambda a, b: xr.where(a > 0, a, b)),
    "xr.ufuncs.exp": on_matrix(xr.ufuncs.exp),
    "np.exp of a DataArray": on_matrix(np.exp),
    "xr isel": on_matrix(lambda a: a.isel(time=[2, 0], place=slice(1, None))),
    "xr sel": on_matrix(lambda a: a.sel(place=[20, 40])),
    "xr transpose": on_matrix(lambda a: a.transpose("place", "time")),
    "xr stack": on_matrix(lambda a: a.stack(both=("time", "place"))),
    "xr expand_dims": on_matrix(lambda a: a.expand_dims("new")),
    "xr squeeze": on_matrix(lambda a: a.isel(time=[0]).squeeze()),
    "xr.concat": on_two(lambda a, b: xr.concat([a, b], "time")),
    "xr.broadcast": case(lambda x, v: xr.broadcast(matrix(x), vector(v))[1].data, M, V),
    "xr sum": on_matrix(lambda a: a.sum("time")),
    "xr mean": on_matrix(lambda a: a.mean("time")),
    "xr mean skipna=False": on_matrix(lambda a: a.mean("place", skipna=False)),
    "xr mean with gaps": on_matrix(lambda a: a.mean("place"), GAPS),
    "xr std": on_matrix(lambda a: a.std("time")),
    "xr var": on_matrix(lambda a: a.var(ddof=1)),
    "xr max": on_matrix(lambda a: a.max("place")),
    "xr min": on_matrix(lambda a: a.min()),
    "xr prod": on_matrix(lambda a: a.prod("time")),
    "xr median": on_matrix(lambda a: a.median("place")),
    "xr quantile": on_matrix(lambda a: a.quantile(0.3, "place")),
    "xr cumsum": on_matrix(lambda a: a.cumsum("time")),
    "xr cumprod": on_matrix(lambda a: a.cumprod("place")),
    "xr diff": on_matrix(lambda a: a.diff("time")),
    "xr shift": on_matrix(lambda a: a.shift(time=1, fill_value=0.0)),
    "xr roll": on_matrix(lambda a: a.roll(place=1)),
    "xr pad": on_matrix(lambda a: a.pad(place=(1, 2), constant_values=0.5)),
    "xr clip": on_matrix(lambda a: a.clip(-0.3, 0.4)),
    "xr fillna": on_matrix(lambda a: a.fillna(0.5), GAPS),
    "xr.dot": case(lambda x, v: xr.dot(matrix(x), vector(v), dim="place").data, M, V),
    "xr matmul": case(lambda x, v: (matrix(x) @ vector(v)).data, M, V),
    "xr weighted mean": case(lambda x, v: matrix(x).weighted(vector(v)).mean("place").data, M, np.abs(V)),
    "xr integrate": on_matrix(lambda a: a.integrate("time")),
    "xr differentiate": on_matrix(lambda a: a.differentiate("time")),
    "xr.apply_ufunc": on_matrix(lambda a: xr.apply_ufunc(lambda x: namespace(x).tanh(x) * x, a)),
    "xr.apply_ufunc core dims": on_matrix(
        lambda a: xr.apply_ufunc(lambda x: namespace(x).sum(x * x, axis=-1), a, input_core_dims=[["place"]]),
    ),
    "xr.cov": case(lambda x, y: xr.cov(matrix(x), matrix(y), "time").data, M, N),
    "xr.corr": case(lambda x, y: xr.corr(matrix(x), matrix(y), "place").data, M, N),
    "xr rolling mean": on_matrix(lambda a: a.rolling(place=2).mean()[:, 1:]),
    "xr coarsen": on_matrix(lambda a: a.coarsen(place=2).mean()),
    "xr groupby": on_matrix(lambda a: a.groupby(xr.DataArray([0, 1, 0], dims="time")).mean()),
    "xr Dataset": case(lambda x, v: (xr.Dataset({"a": matrix(x), "b": vector(v)}).sum("place").a ** 2).data, M, V),
    "xr interp": on_matrix(lambda a: a.interp(time=[0.5, 2.0])),
}
