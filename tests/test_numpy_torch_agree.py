"""The same programs under PyTorch and under agrad on NumPy: values, gradients and second derivatives agree.

A program is a function of the library and its inputs, written with names and call forms that both have.
"""

import numpy as np
import pytest

import agrad

torch = pytest.importorskip("torch")

REAL, COMPLEX = ("float64", "float32"), ("complex128", "complex64")
TOLERANCE = {"float64": 1e-10, "complex128": 1e-10, "float32": 1e-5, "complex64": 1e-5}


def row(program, *shapes, low=-2.0, high=2.0, dtypes=REAL):
    return program, shapes, low, high, dtypes


# ---- single operations, several to a row

OPERATIONS = {
    "trigonometric": row(lambda m, x: m.sin(x) * m.cos(x) + m.tan(x / 3), (3, 2)),
    "inverse trigonometric": row(lambda m, x: m.asin(x) + m.acos(x) * m.atan(x), (4,), low=-0.8, high=0.8),
    "hyperbolic": row(lambda m, x: m.sinh(x) - m.cosh(x) * m.tanh(x), (3,)),
    "inverse hyperbolic": row(lambda m, x: m.asinh(x) + m.atanh(x / 3) + m.acosh(x + 4), (3,)),
    "exponentials": row(lambda m, x: m.exp(x) + m.expm1(x) * m.exp(-x), (3,)),
    "logarithms": row(lambda m, x: m.log(x) + m.log1p(x) * m.log2(x) - m.log10(x), (3,), low=0.5),
    "roots and squares": row(lambda m, x: m.sqrt(x) * m.square(x) + m.reciprocal(x), (2, 3), low=0.5),
    "integer powers": row(lambda m, x: x**2 + x**3 - x**-2, (3,), low=0.5),
    "real powers": row(lambda m, x, y: x**y + 2.0**y + x**0.5 + m.pow(x, 1.5), (2, 3), (3,), low=0.5),
    "steps": row(lambda m, x: m.floor(x) * x + m.sign(x) * x + m.abs(x), (5,)),
    "arithmetic with numbers": row(lambda m, x: (2 * x - 1) / 3 + 1 / (x + 5) - (3 - x) * -x, (4,)),
    "broadcast arithmetic": row(lambda m, x, y: x * y + x / (y * y + 1) - y, (2, 1, 3), (4, 1)),
    "two angles": row(lambda m, x, y: m.atan2(x, y) + m.hypot(x, y), (3,), (3,), low=0.5),
    "two exponents": row(lambda m, x, y: m.logaddexp(x, y) * x, (2, 3), (3,)),
    "extrema of two": row(lambda m, x, y: m.maximum(x, y) * x + m.minimum(x, y), (2, 3), (1, 3)),
    "clamps": row(lambda m, x: m.clamp(x, min=-0.7, max=1.1) * x + x.clamp(min=0.0), (7,)),
    "remainders": row(lambda m, x, y: m.remainder(x, y) + x % 0.7, (4,), (4,), low=0.5),
    "copied signs": row(lambda m, x, y: m.copysign(x, y) * y, (4,), (4,)),
    "where": row(lambda m, x, y: m.where(x > y, x * y, m.sin(y)), (3, 2), (2,)),
    "masked by a comparison": row(lambda m, x: x * (x > 0) + (x <= 0) * m.exp(x), (6,)),
    # ---- statistical
    "sums": row(lambda m, x: m.sum(x * x, 0) + x.sum(dim=0) * m.sum(x), (3, 4)),
    "sums that keep dimensions": row(lambda m, x: x * x.sum(dim=1, keepdim=True) / m.sum(x, axis=0), (3, 4), low=0.5),
    "sums along two dimensions": row(lambda m, x: m.sum(m.exp(x), (0, 2)) * x.sum((0, -1)), (2, 3, 2)),
    "means": row(lambda m, x: (x - m.mean(x)) ** 2 * x.mean(dim=0) + x.mean(dim=1, keepdim=True), (3, 4)),
    "products": row(lambda m, x: m.prod(x) + m.prod(x, 1) * x.prod(dim=0)[0], (2, 3)),
    "variance": row(lambda m, x: x.var(dim=0) + x.std(dim=0, keepdim=True) * x, (4, 3)),
    "extrema": row(lambda m, x: m.amax(x, 0) * m.amin(x, 1)[0] + x.max() - x.min(), (3, 4)),
    "maximum along a dimension": row(lambda m, x: x.max(dim=1)[0] * x.min(dim=1)[0], (3, 4)),
    "cumulative sum": row(lambda m, x: m.cumsum(x, 0) * x + m.cumsum(m.sin(x), 1), (3, 4)),
    "cumulative product": row(lambda m, x: m.cumprod(x, 1) + x.cumprod(0), (3, 3), low=0.5),
    "differences": row(lambda m, x: m.diff(x * x) * m.diff(x), (5,)),
    # ---- manipulation
    "shapes": row(lambda m, x: m.reshape(x, (3, 2)) * x.reshape(-1)[:6].reshape(3, 2) + x.view(3, 2), (2, 3)),
    "transposes": row(
        lambda m, x: m.permute(x, (2, 0, 1)) * m.moveaxis(x, 2, 0) + m.permute(x, (2, 1, 0)).mT, (2, 3, 4)
    ),
    "inserted dimensions": row(lambda m, x: m.unsqueeze(x, 0) * x[:, None] + m.squeeze(x[None], 0), (3,)),
    "joined": row(lambda m, x, y: m.cat([x, y * y, x], 0) * m.concat([y, x, y], 0), (2, 3), (2, 3)),
    "stacked": row(lambda m, x, y: m.stack([x, m.exp(y)], 1) * m.stack([y, x]).sum(), (3,), (3,)),
    "flipped and rolled": row(lambda m, x: m.flip(x, (0,)) * m.roll(x, 1, 1) + m.flip(x, (0, 1)), (2, 3)),
    "broadcast": row(lambda m, x: m.broadcast_to(x, (4, 2, 3)) * m.tile(x, (1, 1)) ** 2, (1, 3)),
    "unbound": row(lambda m, x: sum(part * (i + 1) ** 2 for i, part in enumerate(x * x)), (4, 2)),
    "triangles": row(lambda m, x: m.tril(x) @ m.triu(x, 1) + m.tril(x, -1), (3, 3)),
    "meshes": row(lambda m, x, y: (lambda a, b: a * m.sin(b))(*m.meshgrid(x, y, indexing="ij")), (3,), (2,)),
    # ---- indexing and sorting
    "slices": row(lambda m, x: x[1:, ::2] * x[:-1, 1:3] + x[0, 0] * x[1:, -2:], (3, 4)),
    "integer arrays": row(lambda m, x: x[[0, 2, 0]] * x[1] + x[[0, 1, 2], [3, 3, 0]][:, None], (3, 4)),
    "masks": row(lambda m, x: x[x > 0].sum() * x[x.detach() < 1] ** 2, (9,)),
    "mixed indices": row(lambda m, x: x[:, [0, 0, 1]] * x[None, 0, 1] + x[..., None, :3][:, 0], (2, 3)),
    "scalar reads": row(lambda m, x: sum(x[i] * x[i - 1] for i in range(5)), (5,)),
    "sorted": row(lambda m, x: m.sort(x, dim=1)[0] * x + m.sort(x, dim=0, descending=True)[0], (3, 4)),
    # ---- products
    "matrix products": row(lambda m, x, y: (x @ y) * m.matmul(y.T, x.T).T, (2, 3), (3, 2)),
    "matrix and vector": row(lambda m, x, y: m.matmul(x, y) * (y @ x.T) + y @ y, (2, 3), (3,)),
    "stacks of matrices": row(lambda m, x, y: m.matmul(x, y) + (x.mT @ x)[..., :1, :2], (4, 2, 3), (3, 2)),
    "contracted": row(lambda m, x, y: m.tensordot(x, y, 2) * m.tensordot(x, y, 1).sum(), (2, 3, 3), (3, 3)),
    "outer by broadcasting": row(lambda m, x, y: x[:, None] * y[None, :] + x.sum() - y, (3,), (2,)),
}


# ---- programs


def network(m, x, w, b, v):
    hidden = m.tanh(x @ w + b)
    scores = hidden @ v
    shifted = scores - m.amax(scores, 1)[:, None]
    logs = shifted - m.log(m.sum(m.exp(shifted), 1))[:, None]
    return -m.mean(logs[[0, 1, 2, 3], [0, 1, 0, 1]])


def recurrent(m, x, w):
    state = x[0] * 0
    for step in x:
        state = m.tanh(step + state @ w)
    return state


def attention(m, q, k, v):
    weights = m.exp(q @ k.mT / 2)
    return (weights / weights.sum(dim=-1, keepdim=True)) @ v


def normalised(m, x, scale):
    centred = x - x.mean(dim=-1, keepdim=True)
    return centred / m.sqrt(m.mean(centred**2, -1)[..., None] + 1e-3) * scale


def newton(m, x):
    y = x
    for _ in range(4):
        y = y - (y * y - x) / (2 * y)
    return y


def filled_by_a_loop(m, x):
    out = m.zeros(4, dtype=x.dtype)
    for i in range(4):
        out[i] = x[i] * (out[i - 1] + 1) if i else x[0]
    return out


def written_through_views(m, x):
    y = x * 1
    y[0] = x[1] * x[2]
    y[:, 1].mul_(2)
    y.T[2] += 1
    rows = y[1:]
    rows[0].add_(m.sin(x[2]))
    return y * 3


def written_by_key(m, x, v):
    y = x * x
    y[x.detach() > 0.5] = 0.0
    y[[0, 2]] = v
    y[1:, :1] *= 2
    return y


def in_place_chain(m, x):
    y = x * 2
    y += 1
    y *= 3
    y -= x
    y /= 2
    return y.exp_()


def cut_by_detach_and_no_grad(m, x):
    with m.no_grad():
        scale = x * 2
    return x * scale + x.detach() * m.sin(x)


def scaled_by_a_hook(m, x):
    y = x * x
    y.register_hook(lambda g: g * 3)
    return m.sin(y) + y


def gradient_inside(m, x):
    (g,) = m.autograd.grad((x**3).sum(), x, create_graph=True)
    return g * x


def shared_many_times(m, x):
    y = m.sin(x)
    return ((y + y) * y - y) * (y + 1) * x


PROGRAMS = {
    "network": row(network, (4, 3), (3, 5), (5,), (5, 2)),
    "recurrent": row(recurrent, (4, 3), (3, 3)),
    "attention": row(attention, (2, 3, 2), (2, 4, 2), (2, 4, 2)),
    "normalised": row(normalised, (3, 4), (4,)),
    "newton": row(newton, (3,), low=0.5),
    "filled by a loop": row(filled_by_a_loop, (4,)),
    "written through views": row(written_through_views, (3, 3)),
    "written by key": row(written_by_key, (3, 3), (3,)),
    "in-place chain": row(in_place_chain, (3,)),
    "cut by detach and no_grad": row(cut_by_detach_and_no_grad, (3,)),
    "scaled by a hook": row(scaled_by_a_hook, (3,)),
    "gradient inside": row(gradient_inside, (3,)),
    "shared many times": row(shared_many_times, (2, 3)),
}

COMPLEX_PROGRAMS = {
    "complex arithmetic": row(lambda m, z, w: z * w - z / (w + 5) + 2j * z - (1 - z), (2, 3), (3,), dtypes=COMPLEX),
    "conjugates": row(lambda m, z: z * m.conj(z) + m.conj(z * z), (3,), dtypes=COMPLEX),
    "real and imaginary parts": row(lambda m, z: m.real(z * z) * m.imag(z) + m.real(z), (3,), dtypes=COMPLEX),
    "absolute value": row(lambda m, z: m.abs(z) ** 2 + m.abs(z * z), (3,), dtypes=COMPLEX),
    "complex exponentials": row(lambda m, z: m.exp(z) + m.log(z + 4) * m.sqrt(z + 4), (3,), dtypes=COMPLEX),
    "complex waves": row(lambda m, z: m.sin(z) * m.cos(z) + m.tanh(z / 4), (3,), dtypes=COMPLEX),
    "complex powers": row(lambda m, z: z**2 + (z + 4) ** 1.5 + z**3, (3,), dtypes=COMPLEX),
    "complex sums": row(lambda m, z: m.sum(z * z, 0) + m.mean(z) - m.cumsum(z, 0)[1], (3, 2), dtypes=COMPLEX),
    "complex products": row(lambda m, z: m.prod(z, 0) + m.prod(z), (3, 2), dtypes=COMPLEX),
    "complex matrices": row(lambda m, z, w: z @ w + m.conj(w).T @ z.T, (2, 2), (2, 2), dtypes=COMPLEX),
    "complex choices": row(lambda m, z: z[[0, 0, 1]] * z[1] + m.where(m.real(z) > 0, z, z * z), (3,), dtypes=COMPLEX),
    "real factor of a complex product": row(lambda m, x: m.real(x * (1 + 2j) * m.exp(1j * x)), (3,)),
    "modulus of a real path": row(lambda m, x, y: m.abs(x + 1j * y) ** 2 * x, (3,), (3,)),
}

TABLE = OPERATIONS | PROGRAMS | COMPLEX_PROGRAMS


def inputs(shapes, low, high, dtype):
    random = np.random.default_rng(7)
    for shape in shapes:
        array = random.uniform(low, high, shape)
        if dtype.startswith("complex"):
            array = array + 1j * random.uniform(low, high, shape)
        yield array.astype(dtype)


def plain(tensor):
    return None if tensor is None else tensor.detach().numpy()


def run(m, program, arrays):
    """The value, the gradients, and the gradients of a function of them (zeros where there is no path)."""
    leaves = [m.tensor(array, requires_grad=True) for array in arrays]
    value = program(m, *leaves)
    random = np.random.default_rng(8)
    cotangent = random.normal(size=tuple(value.shape)) * (1 + 0.5j)
    cotangent = cotangent if value.dtype in (m.complex64, m.complex128) else cotangent.real
    cotangent = m.tensor(cotangent.astype(plain(value).dtype))
    first = m.autograd.grad(value, leaves, cotangent, create_graph=True, allow_unused=True)
    total = sum(m.abs(g * g).sum() for g in first if g is not None)
    second = [None] * len(leaves)
    if total.requires_grad:
        second = m.autograd.grad(total, leaves, allow_unused=True)
    second = [np.zeros_like(array) if g is None else plain(g) for array, g in zip(arrays, second, strict=True)]
    return plain(value), [plain(g) for g in first], second


def agree(found, expected, tolerance):
    if expected is None:
        return found is None
    scale = 1 + np.abs(expected).max(initial=0.0)
    same_kind = found.shape == expected.shape and found.dtype == expected.dtype
    return same_kind and bool(np.all(np.abs(found - expected) <= tolerance * scale))


CASES = [(name, dtype) for name, (*_, dtypes) in TABLE.items() for dtype in dtypes]


@pytest.mark.parametrize(("name", "dtype"), CASES, ids=[f"{name}, {dtype}" for name, dtype in CASES])
def test_a_program_has_the_same_derivatives_in_both(name, dtype):
    program, shapes, low, high, _ = TABLE[name]
    arrays = list(inputs(shapes, low, high, dtype))
    value, first, second = run(agrad, program, arrays)
    their_value, their_first, their_second = run(torch, program, arrays)
    tolerance = TOLERANCE[dtype]
    assert agree(value, their_value, tolerance)
    for mine, theirs in zip(first, their_first, strict=True):
        assert agree(mine, theirs, tolerance)
    for mine, theirs in zip(second, their_second, strict=True):
        assert agree(mine, theirs, 10 * tolerance)
