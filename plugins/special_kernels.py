"""Where the values of special functions come from, one row per array library. Nothing is imported before it is needed.

NumPy's arrays go to SciPy. Other libraries have a part of SciPy's functions themselves, some more are short formulas,
and the rest goes through NumPy and SciPy in the way that the library has for this. Must not know any derivative.
"""

from functools import partial
from importlib import import_module
from importlib.util import find_spec
from math import inf, log, nan, pi, sqrt
from typing import Any

from agrad import backends, dtypes
from agrad.plugins.axes import normalise
from agrad.plugins.special_formulas import log_ratio

# What a library has itself, in which module; behind `=` the name that it has there. Not taken: torch's ndtr, 0 in the
# left tail; of JAX gammainc, gammaincc, betainc (wrong or endless for large a), zeta, polygamma (wrong for negative x),
# exp1, expi (endless for nan), log_ndtr (9 digits).
NATIVE = {
    "torch": ("torch.special", """
        digamma entr erf erfc erfcx erfinv exp2 expit gammainc gammaincc gammaln i0 i0e i1 i1e log_ndtr logit ndtri
        polygamma psi sinc xlog1py xlogy zeta
        j0=bessel_j0 j1=bessel_j1 y0=bessel_y0 y1=bessel_y1 k0=modified_bessel_k0 k1=modified_bessel_k1
        k0e=scaled_modified_bessel_k0 k1e=scaled_modified_bessel_k1
    """),
    "jax": ("jax.scipy.special", """
        digamma psi=digamma entr erf erfc erfcx erfinv expit gamma gammaln gammasgn i0 i0e i1 i1e logit ndtr ndtri
        spence xlog1py xlogy
    """),
    "cupy": ("cupyx.scipy.special", """
        bdtr bdtrc bdtri beta betainc betaincinv betaln binom boxcox boxcox1p cbrt chdtr chdtrc chdtri cosdg cosm1
        cotdg digamma ellipk ellipkm1 entr erf erfc erfcinv erfcx erfinv exp1 exp10 exp2 expi expit expn exprel
        fdtr fdtrc fdtri gamma gammainc gammaincc gammainccinv gammaincinv gammaln gammasgn gdtr gdtrc huber i0 i0e i1
        i1e inv_boxcox inv_boxcox1p j0 j1 k0 k0e k1 k1e kl_div log_expit log_ndtr loggamma logit lpmv nbdtr nbdtrc
        nbdtri ndtr ndtri pdtr pdtrc pdtri poch polygamma pseudo_huber psi radian rel_entr rgamma sinc sindg tandg
        xlog1py xlogy y0 y1 yn zeta zetac
    """),
}  # fmt: skip

# Arguments that SciPy wants to be of integers, even where they hold whole numbers: it warns.
WHOLE = {
    **dict.fromkeys(("expn", "pdtri", "yn"), (0,)), **dict.fromkeys(("bdtr", "bdtrc", "bdtri"), (1,)),
    **dict.fromkeys(("nbdtr", "nbdtrc", "nbdtri"), (0, 1)),
}  # fmt: skip

# What torch computes to 8 or 9 digits, which is enough in single precision only.
SINGLE = ("gammainc", "gammaincc", "j0", "j1", "y0", "y1")


class Library:
    """The kernels for one array library: `torch.erf` is found when it is first asked for."""

    def __init__(self, name):
        self.name = name

    def __getattr__(self, name):
        if name.startswith("__"):
            raise AttributeError(name)
        kernel = find(name, self.name)
        setattr(self, name, kernel)
        return kernel


numpy, torch, jax, cupy, dask = map(Library, ("numpy", "torch", "jax", "cupy", "dask"))
LIBRARIES = ("numpy", "torch", "jax", "cupy", "dask")


def find(name, library):
    """The kernel of a function for one of the libraries above."""
    module, names = NATIVE.get(library, ("", ""))
    native = dict(word.partition("=")[::2] for word in names.split())
    function = getattr(import_module(module), native[name] or name, None) if name in native else None
    if function is not None:
        return of_real_numbers(name, function, library)
    if name in FORMULAS and (library not in ("numpy", "dask") or not in_scipy(name)):
        return partial(from_formula(FORMULAS[name]), xp=backends.find(library).xp)
    return {"numpy": on_numpy, "jax": on_jax, "dask": on_dask}.get(library, through_numpy)(name)


def give(op, name):
    """Give an op its kernels on all libraries."""
    if name in EVERYWHERE:
        op.kernel("torch", EVERYWHERE[name])    # torch has functions of these names with other parameters
        return op.kernel("*", EVERYWHERE[name])
    for library in LIBRARIES:
        op.kernel(library, f"{__name__}:{library}.{name}")
    return op.kernel("*", from_formula(FORMULAS[name]) if name in FORMULAS else through_numpy(name))


# --------------------------------------------------------------------------------------------------------------- SciPy

# SciPy computes these element by element; with so many elements NumPy's exp gives the formula first. Of more the
# formula's temporaries would cost what it gains.
VECTORISED, MANY = ("expit", "log_expit"), range(4096, 2**17)


def on_numpy(name):
    """SciPy's function. Where it takes several arguments and some are integers, or is no ufunc, it may return double
    precision for single; the result has the precision of the floating arguments."""
    function = scipy_function(name)
    if function is None:
        version = import_module("scipy").__version__
        raise NotImplementedError(f"special.{name} is computed by SciPy, and SciPy {version} does not have it yet")
    if name in VECTORISED:
        formula = partial(from_formula(FORMULAS[name]), xp=backends.find("numpy").xp)
        return lambda x: formula(x) if x.size in MANY else function(x)
    if getattr(function, "nin", 0) == 1:
        return function

    def kernel(*args):
        out = function(*(whole(a) if i in WHOLE.get(name, ()) else a for i, a in enumerate(args)))
        found = {a.dtype for a in args if is_array(a) and a.dtype.kind in "fc"}
        return in_precision(out, found.pop()) if len(found) == 1 else out

    return kernel


def scipy_function(name):
    """SciPy's function; None in a SciPy that does not have it yet."""
    try:
        return getattr(import_module("scipy.special"), name, None)
    except ImportError as error:
        raise ImportError(
            f"special.{name} of NumPy arrays, and of those that go through them, is computed by SciPy, which is not "
            "installed. Install it with: pip install 'agrad[special]'"
        ) from error


def in_scipy(name):
    """Whether there is SciPy, new enough to have the function."""
    return find_spec("scipy") is not None and scipy_function(name) is not None


def is_array(value):
    return hasattr(value, "dtype")


def whole(n):
    """A count or an order as integers, if that is what it holds."""
    module = import_module("numpy")
    n = module.asarray(n)
    if not module.isfinite(n).all() or (n != module.floor(n)).any():
        return n
    return n.astype(module.int64)


def in_precision(out, dtype):
    if out.dtype.kind == dtype.kind:
        return out.astype(dtype)
    return out.astype(f"c{2 * dtype.itemsize}") if out.dtype.kind == "c" and dtype.itemsize in (4, 8) else out


def through_numpy(name):
    """For any library: to NumPy and back, also from an accelerator."""
    def kernel(*args):
        arrays = [a for a in args if is_array(a)]
        backend: Any = backends.of(arrays[0])
        out = on_numpy(name)(*(backend.to_numpy(a) if is_array(a) else a for a in args))
        floating = [a for a in arrays if backend.is_differentiable(a)]
        dtype = backend.xp.result_type(*floating) if floating else out.dtype
        same = dtypes.of(dtype).kind == dtypes.of(out.dtype).kind
        return backend.from_numpy(out, dtype if same and floating else None, backend.device_of(arrays[0]), None)

    kernel.needs_values = True  # type: ignore[attr-defined]    # for the coverage report: traced arrays have none
    return kernel


# ------------------------------------------------------------------------------------------------------------ libraries


def of_real_numbers(name, function, library):
    """A library's own function; complex numbers, which it does not take, go to SciPy."""
    backend, elsewhere = backends.find(library), (on_jax if library == "jax" else through_numpy)(name)
    if library == "torch":
        function = with_torch(name, function, elsewhere, backend.xp)

    def kernel(*args):
        chosen = elsewhere if any(is_array(a) and backend.is_complex(a) for a in args) else function
        return chosen(*args)

    return kernel


def with_torch(name, function, elsewhere, xp):
    """torch's function, with promotion; `elsewhere` is for what it does not take, or not as precisely."""
    def promoted(*args):
        like = next(a for a in args if is_array(a))
        dtype = xp.result_type(*args)
        dtype = dtype if dtype.is_floating_point else xp.asarray(0.5).dtype
        if name in SINGLE and dtype == xp.float64:
            return elsewhere(*args)
        return function(*(xp.asarray(a, dtype=dtype, device=like.device) for a in args))

    def zeta(x, q=None):
        return elsewhere(x) if q is None else promoted(x, q)

    def polygamma(n, x):
        n = n.item() if is_array(n) and n.ndim == 0 else n
        if is_array(n) or n != int(n):
            return elsewhere(n, x)
        return torch.zeta(2.0, x) if n == 1 else function(int(n), x)    # its trigamma has 9 digits

    special_care = {"zeta": zeta, "polygamma": polygamma, **dict.fromkeys(SINGLE, promoted)}
    return special_care.get(name, promoted if name in ("xlogy", "xlog1py") else function)


def on_jax(name):
    """Through NumPy, in a callback while JAX traces."""
    eager, function = through_numpy(name), on_numpy(name)
    library, xp = import_module("jax"), import_module("jax.numpy")

    def kernel(*args):
        if not any(isinstance(a, library.core.Tracer) for a in args):
            return eager(*args)
        places = [i for i, a in enumerate(args) if is_array(a)]
        arrays = [args[i] for i in places]
        floating = [a for a in arrays if a.dtype.kind in "fc"]
        dtype = xp.result_type(*(floating or [float]), *([xp.complex64] if name == "lambertw" else []))

        def host(*values):
            given = dict(zip(places, map(backends.find("jax").to_numpy, values), strict=True))
            return function(*(given.get(i, a) for i, a in enumerate(args))).astype(dtype)

        form = library.ShapeDtypeStruct(xp.broadcast_shapes(*(a.shape for a in arrays)), dtype)
        return library.pure_callback(host, form, *arrays, vmap_method="broadcast_all")

    return kernel


def on_dask(name):
    """Block by block."""
    elemwise, function = import_module("dask.array.core").elemwise, on_numpy(name)
    return lambda *args: elemwise(function, *(a for a in args if a is not None))


# ------------------------------------------------------------------------------------------------------------- formulas
# In the standard's functions, with SciPy's values at the edges; for the libraries that lack the function.


def power_transform(log_x, lmbda, xp):
    none = lmbda == 0
    return xp.where(none, log_x, xp.expm1(lmbda * log_x) / xp.where(none, 1.0, lmbda))


def inverse_power_transform(x, lmbda, xp):
    """The logarithm of the inverse."""
    none = lmbda == 0
    return xp.where(none, x, xp.log1p(lmbda * x) / xp.where(none, 1.0, lmbda))


def exprel(x, xp):
    y = xp.expm1(x)
    return xp.where(xp.isinf(y), y, xp.where(x == 0, 1.0, y / xp.where(x == 0, 1.0, x)))


def huber(delta, r, xp):
    size = xp.abs(r)
    return xp.where(delta < 0, inf, xp.where(size <= delta, 0.5 * r * r, delta * (size - 0.5 * delta)))


def pseudo_huber(delta, r, xp):
    none = (delta == 0) | (r == 0)
    inside = r * r / (1 + xp.sqrt(1 + (r / xp.where(none, 1.0, delta)) ** 2))
    return xp.where(delta < 0, inf, xp.where(none, 0.0 * r, inside))


def entropies(x, y, at_zero, inside, xp):
    """`inside` where x and y are positive, `at_zero` where x is 0 and y is not negative, inf where both are not."""
    usual = (x > 0) & (y > 0)
    edge = xp.where((x == 0) & (y >= 0), at_zero, xp.where(xp.isnan(x + y), nan * x, inf))
    return xp.where(usual, inside(xp.where(usual, x, 1.0), xp.where(usual, y, 1.0)), edge)


def rel_entr(x, y, xp):
    return entropies(x, y, 0.0 * y, lambda x, y: x * log_ratio(x, y, xp), xp)


def kl_div(x, y, xp):
    return entropies(x, y, y, lambda x, y: x * log_ratio(x, y, xp) - x + y, xp)


def log_ndtr(x, xp):
    left = xp.real(x) < -1
    tail = xp.log(0.5 * xp.special.erfcx(xp.where(left, x, -1.0) * -sqrt(0.5))) - 0.5 * x * x
    return xp.where(left, tail, xp.log1p(-0.5 * xp.special.erfc(xp.where(left, 0.0, x) * sqrt(0.5))))


def expit(x, xp):
    e = xp.exp(-xp.abs(x))      # at most 1
    return xp.where(x < 0, e, 1.0) / (1 + e)


def sinc(x, xp):
    u = pi * xp.where(x == 0, 1.0, x)
    return xp.where(x == 0, 1.0, xp.sin(u) / u)


def cbrt(x, xp):
    return xp.sign(x) * xp.abs(x) ** (1 / 3)


FORMULAS = {
    "boxcox": lambda x, lmbda, xp: power_transform(xp.log(x), lmbda, xp),
    "boxcox1p": lambda x, lmbda, xp: power_transform(xp.log1p(x), lmbda, xp),
    "cbrt": cbrt,
    "cosm1": lambda x, xp: -2 * xp.sin(0.5 * x) ** 2,
    "erfcinv": lambda y, xp: -xp.special.ndtri(0.5 * y) / sqrt(2.0),
    "exp10": lambda x, xp: 10.0**x,
    "exp2": lambda x, xp: 2.0**x,
    "expit": expit,
    "exprel": exprel,
    "huber": huber,
    "inv_boxcox": lambda y, lmbda, xp: xp.exp(inverse_power_transform(y, lmbda, xp)),
    "inv_boxcox1p": lambda y, lmbda, xp: xp.expm1(inverse_power_transform(y, lmbda, xp)),
    "kl_div": kl_div,
    "log_ndtr": log_ndtr,
    "log_expit": lambda x, xp: xp.where(x < 0, x, 0.0) - xp.log1p(xp.exp(-xp.abs(x))),
    "ndtr": lambda x, xp: 0.5 * xp.special.erfc(-x / sqrt(2.0)),
    "pseudo_huber": pseudo_huber,
    "radian": lambda d, m, s, xp: (3600 * d + 60 * m + s) * (pi / 648000),
    "rel_entr": rel_entr,
    "sinc": sinc,
    "softplus": lambda x, xp: xp.where(x > 0, x, 0.0) + xp.log1p(xp.exp(-xp.abs(x))),
}


def from_formula(formula):
    """A formula as a generic kernel: numbers and integers become arrays like those of floating numbers beside them."""
    def kernel(*args, xp):
        arrays = [a for a in args if is_array(a)]
        floating = [a for a in arrays if xp.isdtype(a.dtype, ("real floating", "complex floating"))]
        dtype = xp.result_type(*floating) if floating else xp.asarray(0.5).dtype
        device = getattr(arrays[0], "device", None)     # a traced array has none

        def fitting(a):
            if not is_array(a):
                return xp.asarray(a, dtype=dtype, device=device)
            return xp.astype(a, dtype) if xp.isdtype(a.dtype, "integral") else a

        return formula(*map(fitting, args), xp=xp)

    return kernel


# ------------------------------------------------------------------------------------------- the same for all libraries


def multigammaln(a, d, xp):
    """The logarithm of the gamma function of several dimensions; nan where it is not defined, a <= (d - 1) / 2."""
    if d != int(d) or d < 1:
        raise ValueError(f"special.multigammaln takes a positive number of dimensions, not {d}")
    total = sum(xp.special.gammaln(a - 0.5 * j) for j in range(int(d))) + 0.25 * d * (d - 1) * log(pi)
    return xp.where(a > 0.5 * (d - 1), total, nan)


def softmax(x, axis=None, *, xp):
    """Exponentials divided by their sum, over all axes unless some are given."""
    return xp.softmax(x, axis=axis)


def log_softmax(x, axis=None, *, xp):
    """The logarithm of `softmax`."""
    return xp.log_softmax(x, axis=axis)


def logsumexp(a, axis=None, b=None, keepdims=False, return_sign=False, *, xp):
    """The logarithm of the sum of exponentials, each times its b; with `return_sign` that of its size, and the sign."""
    if b is None:
        out = xp.logsumexp(a, axis=axis, keepdims=keepdims)
        sign = xp.where(xp.isnan(out), nan, xp.where(out == -inf, 0.0, xp.ones_like(out)))
        return (out, sign) if return_sign else out
    b = b if is_array(b) else xp.asarray(b, dtype=a.dtype, device=getattr(a, "device", None))
    a = xp.where(b == 0, -inf, a)
    shift = xp.max(a, axis=axis, keepdims=True)
    total = xp.sum(b * xp.exp(a - xp.where(xp.isinf(shift), 0.0, shift)), axis=axis, keepdims=True)
    sign = xp.sign(total)
    out = xp.log(xp.abs(total)) + xp.where(xp.isinf(shift), 0.0, shift)
    if not keepdims:
        axes = normalise(axis, a.ndim)
        out, sign = xp.squeeze(out, axis=axes), xp.squeeze(sign, axis=axes)
    return (out, sign) if return_sign else xp.where(sign < 0, nan, out)


EVERYWHERE = {
    "expm1": lambda x, xp: xp.expm1(x),
    "log1p": lambda x, xp: xp.log1p(x),
    "log_softmax": log_softmax, "logsumexp": logsumexp, "multigammaln": multigammaln, "softmax": softmax,
}  # fmt: skip
