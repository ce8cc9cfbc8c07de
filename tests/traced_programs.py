"""Small programs for the tests of tracing: for every op of the table, what is done with open lengths.

A program is an expression; the names in it are its inputs, whose open lengths are `N` and `M`.
"""

import ast

import numpy as np

import agrad

# name -> (shape, what to draw)
INPUTS = {
    "x": (("N", 3), "any"), "y": (("N", 3), "any"), "p": (("N", 3), "positive"), "q": (("N", 3), "positive"),
    "row": ((1, 3), "any"), "column": (("N", 1), "any"), "vector": ((3,), "any"), "scalar": ((), "positive"),
    "line": (("N",), "any"), "other": (("M",), "any"), "matrix": ((3, 4), "any"), "cubes": (("N", 3, 3), "any"),
    "batch": ((2, "N", 3), "any"), "pair": (("N", 2), "any"), "large": ((5, "N"), "any"),
    "k": (("N",), "index"), "places": ((4,), "index"), "n": (("N", 3), "integer"), "m": (("N", 3), "integer"),
}

# An op that has the same programs as others stands in FAMILIES: the expressions with the op's name as `f`.
FAMILIES = {
    """abs asinh atan ceil conj cos cosh exp expm1 floor isfinite isinf isnan negative positive real relu round sign
    signbit sin sinh square tan tanh trunc""": "f(x)",
    "acos asin atanh log log10 log1p log2 reciprocal sqrt": "f(p)",
    "add copysign maximum minimum multiply subtract": "f(x, y) ; f(x, row) ; f(column, row) ; f(vector, x)",
    "atan2 divide hypot logaddexp remainder": "f(x, p) ; f(row, p) ; f(p, scalar)",
    "equal greater greater_equal less less_equal not_equal": "f(x, y) ; f(x, 0.5)",
    "bitwise_and bitwise_or bitwise_xor": "f(n, m)",
    "bitwise_left_shift bitwise_right_shift": "f(n, 2)",
    "logical_and logical_or logical_xor": "f(x > 0, y > 0)",
    "max mean min std sum var": "f(x) ; f(x, axis=0) ; f(x, axis=-1, keepdims=True) ; f(batch, axis=(0, 1))",
    "log_softmax softmax": "f(x) ; f(x, axis=0)",
}

# The first program of an op is differentiated twice.
TABLE = """
    acosh: xp.acosh(1 + p)
    bitwise_invert: xp.bitwise_invert(n)
    clip: xp.clip(x, -0.5, 0.5) ; xp.clip(x, min=row) ; xp.clip(x, -q, q)
    floor_divide: xp.floor_divide(x.detach(), p.detach()) ; xp.floor_divide(n, m)
    logical_not: xp.logical_not(x > 0)
    pow: xp.pow(p, x) ; x**3 ; 2.0**p ; p**0.5

    arange: x + xp.expand_dims(xp.arange(x.shape[0]), axis=-1) ; xp.arange(0.0, 1.0, 0.25) * xp.sum(x)
    asarray: xp.asarray([1.0, 2.0, 3.0]) * x ; xp.asarray(np.arange(3.0)) * x
    empty: 0 * xp.empty(x.shape) + x
    empty_like: 0 * xp.empty_like(x) + x
    eye: xp.eye(line.shape[0]) * line ; xp.eye(line.shape[0], 3, k=1) @ xp.ones(3) * line
    full: xp.full(x.shape, 2.5) * x ; xp.full((2, *x.shape), scalar) * x
    full_like: xp.full_like(x, 2.5) * x
    linspace: xp.linspace(0.0, 1.0, 3) * x
    meshgrid: xp.meshgrid(line, vector)[0] * xp.meshgrid(line, vector)[1] ; xp.meshgrid(line, other, indexing="ij")[1]
    ones: xp.ones(x.shape) * x
    ones_like: xp.ones_like(x) * x
    tril: xp.tril(cubes) ; xp.tril(x, k=1)
    triu: xp.triu(cubes) ; xp.triu(x, k=-1)
    zeros: xp.zeros((x.shape[0] + 1, 2)) + xp.sum(x)
    zeros_like: xp.zeros_like(x) + x

    astype: xp.astype(xp.astype(x, "float32"), "float64") ; xp.astype(n, "float64") * x ; xp.astype(x > 0, x.dtype) * y

    broadcast_arrays: sum(xp.broadcast_arrays(column, row))
    broadcast_to: xp.broadcast_to(row, x.shape) * x ; xp.broadcast_to(line, (2, *line.shape))
    broadcast_to: xp.broadcast_to(column, (column.shape[0], 4))
    concat: xp.concat([x, row, x]) ; xp.concat([x, pair], axis=-1) ; xp.concat([x, vector], axis=None)
    concat: xp.concat([line, other])
    copy: xp.asarray(x, copy=True)
    expand_dims: xp.expand_dims(x, axis=0) ; xp.expand_dims(x, axis=(0, -1))
    flip: xp.flip(x) ; xp.flip(x, axis=0) ; xp.flip(x, axis=-1)
    moveaxis: xp.moveaxis(batch, 1, 0) ; xp.moveaxis(batch, (0, 1), (-1, 0))
    permute_dims: xp.permute_dims(batch, (2, 0, 1))
    repeat: xp.repeat(x, 2, axis=0) ; xp.repeat(x, 3) ; xp.repeat(x, 2, axis=-1)
    repeat: xp.repeat(x, xp.asarray([1, 0, 2]), axis=1)
    reshape: xp.reshape(x, (-1,)) ; xp.reshape(x, (x.shape[0] * 3,)) ; xp.reshape(cubes, (-1, 9))
    reshape: xp.reshape(batch, (batch.shape[1], 6)) ; xp.reshape(xp.expand_dims(large, -1) * other, (-1, *other.shape))
    roll: xp.roll(x, 1, axis=0) ; xp.roll(x, -2) ; xp.roll(x, (1, 2), axis=(0, 1))
    squeeze: xp.squeeze(column, axis=-1) ; xp.squeeze(row, axis=0)
    stack: xp.stack([x, y]) ; xp.stack([x, y, x], axis=-1)
    tile: xp.tile(x, (2, 1)) ; xp.tile(line, (2, 3))
    unstack: xp.unstack(x, axis=1)[1] ; sum(xp.unstack(batch))

    cumulative_prod: xp.cumulative_prod(x.detach(), axis=0) ; xp.cumulative_prod(x, axis=1)
    cumulative_prod: xp.cumulative_prod(x, axis=-1, include_initial=True)
    cumulative_sum: xp.cumulative_sum(x, axis=0) ; xp.cumulative_sum(x, axis=1, include_initial=True)
    prod: xp.prod(x, axis=-1) ; xp.prod(x) ; xp.prod(x, axis=0, keepdims=True)

    all: xp.all(x > -1) ; xp.all(x > 0, axis=0, keepdims=True)
    any: xp.any(x > 1) ; xp.any(x > 0, axis=1)
    argmax: xp.argmax(x) ; xp.argmax(x, axis=0) ; xp.argmax(x, axis=-1, keepdims=True)
    argmin: xp.argmin(x, axis=0) ; xp.argmin(x, keepdims=True)
    argsort: xp.argsort(x, axis=0) ; xp.argsort(x, descending=True)
    count_nonzero: xp.count_nonzero(x > 0) ; xp.count_nonzero(x > 0, axis=0)
    diff: xp.diff(x, axis=0) ; xp.diff(x) ; xp.diff(x, n=2) ; xp.diff(x, axis=0, prepend=row)
    extremum: x.max(dim=1).values ; x.min(dim=0)[0]
    isin: xp.isin(n, xp.asarray([1, 5]))
    nonzero: xp.nonzero(x > 0)[0]
    searchsorted: xp.searchsorted(xp.asarray([-1.0, 0.0, 1.0]), x) ; xp.searchsorted(xp.sort(line), x, side="right")
    sort: xp.sort(x, axis=0) ; xp.sort(x, axis=-1, descending=True)
    unique_all: xp.unique_all(n).counts
    unique_counts: xp.unique_counts(n).counts
    unique_inverse: xp.unique_inverse(n).inverse_indices
    unique_values: xp.sort(xp.unique_values(n))
    where: xp.where(x > y, x, 2 * y) ; xp.where(x > 0, row, 1.0) ; xp.where(x > 0, 0.0, scalar)

    matmul: x @ matrix ; x @ vector ; line @ x ; cubes @ xp.expand_dims(x, -1) ; x.mT @ y ; batch @ matrix
    matmul: large @ line ; x @ x.mT
    matrix_transpose: xp.matrix_transpose(batch)
    tensordot: xp.tensordot(x, matrix, axes=1) ; xp.tensordot(x, y) ; xp.tensordot(line, other, axes=0)
    tensordot: xp.tensordot(batch, x, axes=((1, 2), (0, 1)))
    vecdot: xp.vecdot(x, y) ; xp.vecdot(x, vector) ; xp.vecdot(x, y, axis=-2)

    getitem: x[0] ; x[..., 1] ; x[1:] ; x[:-1, ::2] ; x[:, None, 2] ; x[::2] ; x[::-1] ; x[2:] ; x[-1, -1]
    getitem: x[:, k[0]] ; matrix[k] ; x[:, places] ; batch[0, :, k] ; cubes[:, places, places] ; cubes[..., k]
    getitem: matrix[k, k] ; matrix[[0, 2]] ; x[xp.arange(x.shape[0]), 1] ; x[y > 0] ; x[line > 0] ; x[x.shape[0] - 1]
    read_view: x.mT[1]
    scatter: x[0] * x[-1] + xp.sum(x[1:], axis=0)
    setitem: written(x, 0, 2.0) ; written(x, 0, vector) ; written(x, (..., 1), line) ; written(x, y > 0, 0.25)
    setitem: written(x, (slice(1, None), 0), 0.5) ; written(matrix, places, 1.0)
    setitem: written(x, (slice(None), xp.asarray([0, 2])), scalar)
    take: xp.take(matrix, k, axis=0) ; xp.take(x, places, axis=1)
    take_along_axis: xp.take_along_axis(x, xp.expand_dims(k, -1), axis=-1)
    take_along_axis: xp.take_along_axis(x, xp.argsort(y, axis=0), axis=0)
    write_view: written_through(x)

    linalg.cross: xp.linalg.cross(x, y) ; xp.linalg.cross(row, x)
    linalg.diagonal: xp.linalg.diagonal(cubes) ; xp.linalg.diagonal(large[:, :1], offset=-1)
    linalg.diagonal: xp.linalg.diagonal(xp.expand_dims(line, 1) * line)
    linalg.matrix_norm: xp.linalg.matrix_norm(cubes) ; xp.linalg.matrix_norm(x, ord=1)
    linalg.matrix_norm: xp.linalg.matrix_norm(x, ord=xp.inf, keepdims=True)
    linalg.matrix_power: xp.linalg.matrix_power(cubes, 3) ; xp.linalg.matrix_power(cubes, 0)
    linalg.outer: xp.linalg.outer(line, other)
    linalg.trace: xp.linalg.trace(cubes)
    linalg.vector_norm: xp.linalg.vector_norm(x, axis=-1) ; xp.linalg.vector_norm(x, axis=0, ord=1)
    linalg.vector_norm: xp.linalg.vector_norm(x, ord=3, keepdims=True) ; xp.linalg.vector_norm(x, axis=0, ord=xp.inf)

    fft.fftshift: xp.fft.fftshift(x) ; xp.fft.fftshift(x, axes=1)
    fft.ifftshift: xp.fft.ifftshift(x, axes=0)

    special.entr: xp.special.entr(p)
    special.expit: xp.special.expit(x)
    special.logit: xp.special.logit(p)
    special.xlog1py: xp.special.xlog1py(x, p)
    special.xlogy: xp.special.xlogy(x, p) ; xp.special.xlogy(row, p)

    einsum: xp.einsum("ni,ij->nj", x, matrix) ; xp.einsum("ni,mi->nm", x, y) ; xp.einsum("nii->n", cubes)
    einsum: xp.einsum("bni,ni->b", batch, x)
    interp: xp.interp(x, xp.asarray([-1.0, 0.0, 1.0]), xp.asarray([2.0, 0.5, 1.0]))
    logsumexp: xp.logsumexp(x) ; xp.logsumexp(x, axis=0) ; xp.logsumexp(x, axis=-1, keepdims=True)
    pad: xp.pad(x, ((1, 1), (0, 2))) ; xp.pad(line, 2, constant_values=0.5)
    scatter_add: xp.scatter_add(vector, k, line) ; xp.scatter_add(x, 0, y[0])
"""


def written(x, key, value):
    """x * 1 with a value written at a key."""
    copy = x * 1
    copy[key] = value
    return copy


def written_through(x):
    """A write through a view of a view."""
    copy = x * 1
    copy.mT[1] *= 2
    return copy


def read():
    """The programs by op."""
    found = {}
    for names, programs in FAMILIES.items():
        found |= {name: programs.replace("f(", f"xp.{name}(").split(" ; ") for name in names.split()}
    for line in filter(None, map(str.strip, TABLE.splitlines())):
        name, _, programs = line.partition(": ")
        found.setdefault(name, []).extend(programs.split(" ; "))
    return found


PROGRAMS = read()


def inputs_of(program):
    """The inputs that a program uses."""
    names = {node.id for node in ast.walk(ast.parse(program)) if isinstance(node, ast.Name)}
    return [name for name in INPUTS if name in names]


def run(program, inputs):
    """The value of a program."""
    names = {"xp": agrad, "np": np, "written": written, "written_through": written_through}
    return eval(program, names, inputs)


def draw(name, lengths, seed=0):
    """Numbers for an input: all different, so that a maximum or an order is unique."""
    shape, kind = INPUTS[name]
    shape = tuple(lengths.get(n, n) for n in shape)
    rng = np.random.default_rng([seed, *name.encode()])
    if kind == "index":
        return rng.integers(0, 3, shape)
    if kind == "integer":
        return rng.integers(1, 7, shape)
    low, high = (0.2, 0.9) if kind == "positive" else (-1.5, 1.5)
    return rng.permuted(np.linspace(low, high, int(np.prod(shape)) + 2)[1:-1]).reshape(shape)
