"""The ops `special.*`: SciPy's special functions, under SciPy's names and signatures.

A line per function: its signature and its derivatives. What they are made of stands in `special_formulas` and
`special_densities`, where the values come from in `special_kernels`. Must not know any array library.

A derivative that is UNKNOWN raises where it is asked for: it is never left out, and never zero. DLMF is the Digital
Library of Mathematical Functions, https://dlmf.nist.gov."""

from math import exp, inf, log, nan, pi, sqrt

from agrad.batching import lifted, shifted, spread
from agrad.plugins import special_formulas as forms
from agrad.plugins.axes import restore
from agrad.plugins.special_densities import (
    bdtrc_density,
    beta_density,
    beta_quantile_slope,
    betainc_slope,
    fdtr_slope,
    fdtri_slope,
    gamma_density,
    gamma_quantile_slope,
    gammainc_slope,
    nbdtr_density,
    pdtrc_density,
    t_density,
    t_quantile_slope,
)  # fmt: skip
from agrad.plugins.special_formulas import ROOT_PI, digamma_gap, ratio
from agrad.plugins.special_kernels import give
from agrad.rules import RuleSet, case, ints, point, values

rules = RuleSet("special")

UNKNOWN = object()
UNARY = [case(()), case((3,)), case((2, 3)), case((0,)), case((2, 0))]
DEGREE = pi / 180


# ------------------------------------------------------------------------------------------------------ how one is told


def define(line, family=rules.elementwise, *, complex=False, samples=None, **record):
    """A function: its op, its kernels, its rule. Derivatives are told by parameter, as in every rule."""
    op = rules.op(f"special.{line}")
    name, arrays = op.signature.name, [p.name for p in op.signature.parameters if p.kind == "array"]
    give(op, name.removeprefix("special."))
    unknown = [p for p in arrays if record.get(p) is UNKNOWN]
    record |= {p: not_known(name, p) for p in unknown}
    if samples is None and len(arrays) > 1:
        samples = shapes(*([None] * len(arrays)))
    if "node" not in record and (node := NODES.get(name.removeprefix("special."))):
        record["node"] = f"{node}Backward0"
    family(name, complex=complex, samples=samples, **record)


def not_known(name, parameter):
    def raise_error():
        raise NotImplementedError(
            f"{name} has no derivative with respect to {parameter!r} here: no formula for it is known. Hand it "
            f"{parameter}.detach() to differentiate with respect to the others"
        )

    return raise_error


def shapes(*given):
    """Samples for several arrays; what is given (a number, integers) stands in place of a random array."""
    rows = (((2, 1), (3,), (2, 3)), ((), (), ()), ((3,), (), (1,)), ((0,), (1,), ()))
    return [case(*(r if g is None else g for r, g in zip(row, given, strict=False))) for row in rows]


PAIRS, TRIPLES = shapes(None, None)[::3], shapes(None, None, None)[::3]     # for what takes long

# PyTorch's names of the nodes, where they are not made of the function's.
NODES = {
    "digamma": "Digamma", "psi": "Digamma", "gammaln": "Lgamma", "multigammaln": "Mvlgamma", "gammainc": "Igamma",
    "gammaincc": "Igammac", "expit": "Sigmoid", "log1p": "Log1P", "softplus": "Softplus", "log_expit": "LogSigmoid",
    "entr": "SpecialEntr", "erfcx": "SpecialErfcx", "i0e": "SpecialI0E", "i1": "SpecialI1", "i1e": "SpecialI1E",
    "log_ndtr": "SpecialLogNdtr", "ndtri": "SpecialNdtri", "xlog1py": "SpecialXlog1Py", "zeta": "SpecialZeta",
}  # fmt: skip


# ----------------------------------------------------------------------------------------------------- error functions

define("erf(x: array, /)", x=lambda x, xp: 2 / ROOT_PI * xp.exp(-x * x), complex=True, note="DLMF 7.2.1")
define("erfc(x: array, /)", x=lambda x, xp: -2 / ROOT_PI * xp.exp(-x * x), complex=True, note="DLMF 7.2.2")
define("erfi(x: array, /)", x=lambda x, xp: 2 / ROOT_PI * xp.exp(x * x), complex=True, note="from DLMF 7.2.5")
define(
    "erfcx(x: array, /)", x=lambda x, out, xp: forms.erfcx_slope(x, out, xp), complex=True,
    special=[point((1e9,), (-1 / (ROOT_PI * 1e18),))], note="exp(x**2) erfc(x); DLMF 7.12.1 where this cancels",
)
define(
    "dawsn(x: array, /)", x=lambda x, xp: forms.dawsn_slope(x, xp), complex=True,
    special=[point((0.0,), (1.0,)), point((-1e9,), (-5e-19,))], note="DLMF 7.2.5; the asymptotic series from 10 on",
)
define(
    "erfinv(y: array, /)", y=lambda out, xp: ROOT_PI / 2 * xp.exp(out * out), domain=(-0.9, 0.9),
    special=[point((1.0,), (inf,)), point((-1.0,), (inf,)), point((2.0,), (nan,))],
)
define(
    "erfcinv(y: array, /)", y=lambda out, xp: -ROOT_PI / 2 * xp.exp(out * out), domain=(0.1, 1.9),
    special=[point((0.0,), (-inf,)), point((2.0,), (-inf,)), point((3.0,), (nan,))],
)
define(
    "ndtr(x: array, /)", x=lambda x, xp: xp.exp(-0.5 * x * x) / sqrt(2 * pi), complex=True,
    special=[point((inf,), (0.0,)), point((-inf,), (0.0,))],
)
define(
    "log_ndtr(x: array, /)", x=lambda x, xp: forms.log_ndtr_slope(x, xp), complex=True, domain=(-4.0, 3.0),
    special=[point((-1e8,), (1e8,)), point((inf,), (0.0,))], note="the density over ndtr: by erfcx on the left",
)
define(
    "ndtri(y: array, /)", y=lambda out, xp: sqrt(2 * pi) * xp.exp(0.5 * out * out), domain=(0.05, 0.95),
    special=[point((0.0,), (inf,)), point((1.0,), (inf,)), point((2.0,), (nan,))],
)


# ------------------------------------------------------------------------------------- exponentials, logarithms, powers

define("expm1(x: array, /)", x=lambda x, xp: xp.exp(x), complex=True)
define(
    "log1p(x: array, /)", x=lambda x: 1 / (1 + x), complex=True, domain=(-0.8, 3.0), special=[point((-1.0,), (inf,))],
)
define("exp2(x: array, /)", x=lambda out: log(2) * out)
define("exp10(x: array, /)", x=lambda out: log(10) * out, domain=(-1.0, 1.0))
define("cbrt(x: array, /)", x=lambda out: 1 / (3 * out * out), domain=(0.3, 3.0), special=[point((0.0,), (inf,))])
define("cosm1(x: array, /)", x=lambda x, xp: -xp.sin(x))
define(
    "exprel(x: array, /)", x=lambda x, xp: forms.exprel_slope(x, xp),
    special=[point((0.0,), (0.5,)), point((-1e4,), (1e-8,)), point((720.0,), (inf,))], note="a series below 1",
)
define("expit(x: array, /)", x=lambda x, out, xp: out * xp.special.expit(-x), special=[point((800.0,), (0.0,))])
define("log_expit(x: array, /)", x=lambda x, xp: xp.special.expit(-x), special=[point((-800.0,), (1.0,))])
define("softplus(x: array, /)", x=lambda x, xp: xp.special.expit(x), special=[point((800.0,), (1.0,))])
define(
    "logit(x: array, /)", x=lambda x, xp: xp.where((x < 0) | (x > 1), nan, 1 / (x * (1 - x))), domain=(0.1, 0.9),
    special=[point((0.0,), (inf,)), point((1.0,), (inf,)), point((2.0,), (nan,)), point((-1.0,), (nan,))],
)
define(
    "sinc(x: array, /)", x=lambda x, xp: forms.sinc_slope(x, xp), complex=True,
    special=[point((0.0,), (0.0,)), point((1.0,), (-1.0,))], note="sin(pi x) / (pi x); a series around 0",
)
define("sindg(x: array, /)", x=lambda x, xp: DEGREE * xp.special.cosdg(x), domain=(-200.0, 200.0))
define("cosdg(x: array, /)", x=lambda x, xp: -DEGREE * xp.special.sindg(x), domain=(-200.0, 200.0))
define("tandg(x: array, /)", x=lambda out: DEGREE * (1 + out * out), domain=(-70.0, 70.0))
define("cotdg(x: array, /)", x=lambda out: -DEGREE * (1 + out * out), domain=(20.0, 160.0))
define("radian(d: array, m: array, s: array, /)", d=DEGREE, m=DEGREE / 60, s=DEGREE / 3600)
define(
    "boxcox(x: array, lmbda: array, /)", domain={"x": (0.3, 3.0)},
    x=lambda x, lmbda: x ** (lmbda - 1), lmbda=lambda x, lmbda, xp: forms.boxcox_slope(xp.log(x), lmbda, xp),
    special=[point((2.0, 0.0), (0.5, log(2) ** 2 / 2)), point((0.0, 2.0), (0.0, 0.25))],
)
define(
    "boxcox1p(x: array, lmbda: array, /)", domain={"x": (-0.5, 2.0)},
    x=lambda x, lmbda, xp: xp.exp((lmbda - 1) * xp.log1p(x)),
    lmbda=lambda x, lmbda, xp: forms.boxcox_slope(xp.log1p(x), lmbda, xp),
    special=[point((1.0, 0.0), (0.5, log(2) ** 2 / 2)), point((-1.0, 2.0), (0.0, 0.25))],
)
define(
    "inv_boxcox(y: array, lmbda: array, /)", domain=(0.1, 0.9),
    y=lambda y, lmbda, out: out / (1 + lmbda * y),
    lmbda=lambda y, lmbda, out, xp: out * forms.inv_boxcox_slope(y, lmbda, xp),
    special=[point((2.0, 0.0), (exp(2), -2 * exp(2)))],
)
define(
    "inv_boxcox1p(y: array, lmbda: array, /)", domain=(0.1, 0.9),
    y=lambda y, lmbda, out: (out + 1) / (1 + lmbda * y),
    lmbda=lambda y, lmbda, out, xp: (out + 1) * forms.inv_boxcox_slope(y, lmbda, xp),
)
define(
    "lambertw(z: array, k=0, tol=1e-08)", z=lambda out, xp: xp.exp(-out) / (1 + out), complex=True, domain=(0.2, 3.0),
    samples=[*UNARY, case((3,), 1), case((3,), -1)], note="DLMF 4.13.4; the result is complex, as SciPy's",
)


# ----------------------------------------------------------------------------------------------- entropies and losses

define("entr(x: array, /)", x=lambda x, xp: -1 - xp.log(x), domain=(0.2, 3.0), special=[point((0.0,), (inf,))])
define(
    "xlogy(x: array, y: array, /)", complex=True, domain={"y": (0.3, 3.0)},
    x=lambda x, y, xp: forms.log_or_zero(x, y, xp.log, 0.0, xp), y=lambda x, y, xp: ratio(x, y, xp),
    special=[point((0.0, 0.0), (0.0, 0.0)), point((0.0, 2.0), (log(2), 0.0)), point((1.0, 0.0), (-inf, inf))],
    note="by x 0 where x is 0 and log(y) has no value, as PyTorch; by y 0 at (0, 0), where PyTorch has nan",
)
define(
    "xlog1py(x: array, y: array, /)", complex=True, domain={"y": (-0.5, 2.0)},
    x=lambda x, y, xp: forms.log_or_zero(x, y, xp.log1p, -1.0, xp), y=lambda x, y, xp: ratio(x, 1 + y, xp),
    special=[point((0.0, -1.0), (0.0, 0.0)), point((0.0, 1.0), (log(2), 0.0)), point((1.0, -1.0), (-inf, inf))],
    note="as xlogy",
)
define(
    "rel_entr(x: array, y: array, /)", domain=(0.3, 3.0),
    x=lambda x, y, xp: forms.rel_entr_slope(x, y, xp), y=lambda x, y, xp: -ratio(x, y, xp),
    special=[point((0.0, 1.0), (-inf, 0.0)), point((0.0, 0.0), (0.0, 0.0)), point((1.0, 0.0), (inf, -inf))],
    note="-inf where x is 0, as minus entr; but 0 at (0, 0), as xlogy: what adds nothing pulls nowhere",
)
define(
    "kl_div(x: array, y: array, /)", domain=(0.3, 3.0),
    x=lambda x, y, xp: forms.kl_div_slope(x, y, xp), y=lambda x, y, xp: 1 - ratio(x, y, xp),
    special=[point((0.0, 1.0), (-inf, 1.0)), point((0.0, 0.0), (0.0, 1.0)), point((1.0, 0.0), (inf, -inf))],
    note="rel_entr(x, y) - x + y",
)
define(
    "huber(delta: array, r: array, /)", domain={"delta": (0.5, 1.5)},
    delta=lambda delta, r, xp: xp.where(xp.abs(r) <= delta, 0.0, xp.abs(r) - delta),
    r=lambda delta, r, xp: xp.where(xp.abs(r) <= delta, r, delta * xp.sign(r)),
    special=[point((1.0, 1.0), (0.0, 1.0)), point((1.0, -3.0), (2.0, -1.0)), point((0.0, 0.0), (0.0, 0.0))],
)
define(
    "pseudo_huber(delta: array, r: array, /)", domain={"delta": (0.5, 1.5)},
    delta=lambda delta, r, xp: forms.pseudo_huber_slope(delta, r, xp),
    r=lambda delta, r, xp: r * ratio(delta, xp.hypot(delta, r), xp),
    special=[point((0.0, 0.0), (0.0, 0.0)), point((0.0, 3.0), (3.0, 0.0)), point((1.0, 0.0), (0.0, 0.0))],
)


# ------------------------------------------------------------------------------------------------------ gamma function

define("gamma(z: array, /)", z=lambda z, out, xp: out * xp.special.digamma(z), complex=True, domain=(0.3, 4.0))
define("gammaln(x: array, /)", x=lambda x, xp: xp.special.digamma(x), domain=(0.3, 4.0))
define("loggamma(z: array, /)", z=lambda z, xp: xp.special.digamma(z), complex=True, domain=(0.3, 4.0))
define(
    "gammasgn(x: array, /)", rules.flat, domain=(0.3, 4.0), samples=UNARY, batch="elementwise",
    note="constant between the poles",
)
define(
    "rgamma(z: array, /)", z=lambda z, xp: forms.rgamma_slope(z, xp), complex=True, domain=(-1.8, 3.0),
    special=[point((0.0,), (1.0,)), point((-1.0,), (-1.0,)), point((-2.0,), (2.0,))], note="through DLMF 5.5.3",
)
define("psi(z: array, /)", z=lambda z, xp: forms.trigamma(z, xp), complex=True, domain=(0.3, 4.0))
define("digamma(z: array, /)", z=lambda z, xp: forms.trigamma(z, xp), complex=True, domain=(0.3, 4.0))
define(
    "polygamma(n: array, x: array)", n=UNKNOWN, x=lambda n, x, xp: xp.special.polygamma(n + 1, x), scalars=True,
    domain=(0.3, 4.0), samples=[*shapes(1, None), case(0, (3,)), case(2, (3,)), case(ints((3,), 0, 4), (2, 1))],
    note="DLMF 5.15; the order is a whole number",
)
define(
    "multigammaln(a: array, d)", domain=(1.2, 5.0),
    samples=[case((3,), 1), case((2, 3), 3), case((), 2), case((0,), 2)],
    a=lambda a, d, xp: sum(xp.special.digamma(a - 0.5 * j) for j in range(int(d))), note="DLMF 35.3.4",
)
define(
    "beta(a: array, b: array, /)", domain=(0.5, 3.0),
    a=lambda a, b, out, xp: -out * digamma_gap(a, b, xp), b=lambda a, b, out, xp: -out * digamma_gap(b, a, xp),
)
define(
    "betaln(a: array, b: array, /)", domain=(0.5, 3.0),
    a=lambda a, b, xp: -digamma_gap(a, b, xp), b=lambda a, b, xp: -digamma_gap(b, a, xp),
)
define(
    "binom(n: array, k: array, /)", domain={"n": (3.0, 6.0), "k": (0.5, 2.5)},
    n=lambda n, k, out, xp: forms.binom_slope(n, k, out, xp, True),
    k=lambda n, k, out, xp: forms.binom_slope(n, k, out, xp, False),
    special=[point((3.0, 4.0), (6 / 24, -6 / 24)), point((2.0, -1.0), (0.0, 1 / 3))],
)
define(
    "poch(z: array, m: array, /)", domain=(0.5, 3.0),
    z=lambda z, m, out, xp: forms.poch_slope(z, m, out, xp), m=lambda z, m, out, xp: out * xp.special.digamma(z + m),
    special=[point((-3.0, 2.0), (-5.0, None))],
)
define(
    "zeta(x: array, q: array? = None)", domain={"x": (1.5, 4.0), "q": (0.5, 3.0)},
    samples=[*shapes(None, None), *UNARY, case((3,), 2)],
    x=lambda x, q, xp: forms.riemann_slope(x, xp) if q is None else forms.zeta_slope(x, q, xp),
    q=lambda x, q, xp: -x * xp.special.zeta(x + 1, q), note="DLMF 25.11.17; by x Euler and Maclaurin's formula",
)
define("zetac(x: array, /)", x=lambda x, xp: forms.riemann_slope(x, xp), domain=(1.5, 4.0))


# ---------------------------------------------------------------------------- integrals of the gamma and beta densities

define(
    "gammainc(a: array, x: array, /)", samples=PAIRS, domain={"a": (0.5, 4.0), "x": (0.2, 5.0)},
    a=lambda a, x, x_like, xp: gammainc_slope(a, x, x_like, xp), x=lambda a, x, xp: gamma_density(a, x, xp),
    special=[point((2.0, 0.0), (0.0, 0.0)), point((2.0, inf), (0.0, 0.0))], note="DLMF 8.8.13",
)
define(
    "gammaincc(a: array, x: array, /)", samples=PAIRS, domain={"a": (0.5, 4.0), "x": (0.2, 5.0)},
    a=lambda a, x, x_like, xp: -gammainc_slope(a, x, x_like, xp), x=lambda a, x, xp: -gamma_density(a, x, xp),
    special=[point((2.0, 0.0), (0.0, 0.0)), point((2.0, inf), (0.0, 0.0))],
)
define(
    "gammaincinv(a: array, y: array, /)", samples=PAIRS, domain={"a": (0.6, 4.0), "y": (0.1, 0.9)},
    a=lambda a, out, y_like, xp: gamma_quantile_slope(a, out, y_like, xp),
    y=lambda a, out, xp: 1 / gamma_density(a, out, xp), special=[point((1e-3, 0.01), (0.0, 0.0))],
)
define(
    "gammainccinv(a: array, y: array, /)", samples=PAIRS, domain={"a": (0.6, 4.0), "y": (0.1, 0.9)},
    a=lambda a, out, y_like, xp: gamma_quantile_slope(a, out, y_like, xp),
    y=lambda a, out, xp: -1 / gamma_density(a, out, xp),
)
define(
    "betainc(a: array, b: array, x: array, /)",
    samples=TRIPLES, domain={"a": (0.6, 3.0), "b": (0.6, 3.0), "x": (0.1, 0.9)},
    a=lambda a, b, x, x_like, xp: betainc_slope(a, b, x, 1 - x, x_like, xp),
    b=lambda a, b, x, x_like, xp: -betainc_slope(b, a, 1 - x, x, x_like, xp),
    x=lambda a, b, x, xp: beta_density(a, b, x, 1 - x, xp),
    special=[point((2.0, 3.0, 0.0), (0.0, 0.0, 0.0)), point((2.0, 3.0, 1.0), (0.0, 0.0, 0.0))],
)
define(
    "betaincc(a: array, b: array, x: array, /)",
    samples=TRIPLES, domain={"a": (0.6, 3.0), "b": (0.6, 3.0), "x": (0.1, 0.9)},
    a=lambda a, b, x, x_like, xp: -betainc_slope(a, b, x, 1 - x, x_like, xp),
    b=lambda a, b, x, x_like, xp: betainc_slope(b, a, 1 - x, x, x_like, xp),
    x=lambda a, b, x, xp: -beta_density(a, b, x, 1 - x, xp),
)
define(
    "betaincinv(a: array, b: array, y: array, /)",
    samples=TRIPLES, domain={"a": (0.8, 3.0), "b": (0.8, 3.0), "y": (0.1, 0.9)},
    a=lambda a, b, out, y_like, xp: beta_quantile_slope(a, b, out, 1 - out, y_like, xp),
    b=lambda a, b, out, y_like, xp: -beta_quantile_slope(b, a, 1 - out, out, y_like, xp),
    y=lambda a, b, out, xp: 1 / beta_density(a, b, out, 1 - out, xp),
)
define(
    "betainccinv(a: array, b: array, y: array, /)",
    samples=TRIPLES, domain={"a": (0.8, 3.0), "b": (0.8, 3.0), "y": (0.1, 0.9)},
    a=lambda a, b, out, y_like, xp: beta_quantile_slope(a, b, out, 1 - out, y_like, xp),
    b=lambda a, b, out, y_like, xp: -beta_quantile_slope(b, a, 1 - out, out, y_like, xp),
    y=lambda a, b, out, xp: -1 / beta_density(a, b, out, 1 - out, xp),
)


# -------------------------------------------------------------------------------------------- distribution functions
# Counts are rounded down by SciPy (k): steps, so that the derivative is 0; or they must be whole numbers (n).


TRIALS = [case(ints((2, 1), 0, 4), 5, (3,)), case(1.0, 4, ()), case(2.7, ints((3,), 4, 7), (3,)), case(1, 4, (0,))]
FAILURES = [case(ints((2, 1), 0, 4), 5, (3,)), case(1, 4, ()), case(2, ints((3,), 1, 5), (3,)), case(1, 4, (0,))]
EVENTS = [case(ints((2, 1), 0, 4), (3,)), case(1.5, ()), case((3,), 1.3), case((2,), (2,)), case(1, (0,))]

define(
    "bdtr(k: array, n: array, p: array, /)", k=0, n=UNKNOWN, p=lambda k, n, p, xp: -bdtrc_density(k, n, p, xp),
    domain=(0.2, 0.8), samples=TRIALS,
)
define(
    "bdtrc(k: array, n: array, p: array, /)", k=0, n=UNKNOWN, p=lambda k, n, p, xp: bdtrc_density(k, n, p, xp),
    domain=(0.2, 0.8), samples=TRIALS,
)
define(
    "bdtri(k: array, n: array, y: array, /)", k=0, n=UNKNOWN, y=lambda k, n, out, xp: -1 / bdtrc_density(k, n, out, xp),
    domain=(0.2, 0.8), samples=TRIALS,
)
define(
    "nbdtr(k: array, n: array, p: array, /)", k=UNKNOWN, n=UNKNOWN, p=lambda k, n, p, xp: nbdtr_density(k, n, p, xp),
    domain=(0.2, 0.8), samples=FAILURES,
)
define(
    "nbdtrc(k: array, n: array, p: array, /)", k=UNKNOWN, n=UNKNOWN, p=lambda k, n, p, xp: -nbdtr_density(k, n, p, xp),
    domain=(0.2, 0.8), samples=FAILURES,
)
define(
    "nbdtri(k: array, n: array, y: array, /)", k=UNKNOWN, n=UNKNOWN,
    y=lambda k, n, out, xp: 1 / nbdtr_density(k, n, out, xp), domain=(0.2, 0.8), samples=FAILURES,
)
define(
    "pdtr(k: array, m: array, /)", k=0, m=lambda k, m, xp: -pdtrc_density(k, m, xp),
    domain={"k": (1.1, 1.9), "m": (0.5, 4.0)}, samples=EVENTS,
)
define(
    "pdtrc(k: array, m: array, /)", k=0, m=lambda k, m, xp: pdtrc_density(k, m, xp),
    domain={"k": (1.1, 1.9), "m": (0.5, 4.0)}, samples=EVENTS,
)
define(
    "pdtri(k: array, y: array, /)", k=UNKNOWN, y=lambda k, out, xp: -1 / pdtrc_density(k, out, xp),
    domain=(0.2, 0.8), samples=[case(ints((2, 1), 0, 4), (3,)), case(2, ()), case(1, (3,)), case(1, (0,))],
)
define(
    "chdtr(v: array, x: array, /)", samples=PAIRS, domain={"v": (0.8, 5.0), "x": (0.3, 5.0)},
    v=lambda v, x, x_like, xp: 0.5 * gammainc_slope(v / 2, x / 2, x_like, xp),
    x=lambda v, x, xp: 0.5 * gamma_density(v / 2, x / 2, xp),
)
define(
    "chdtrc(v: array, x: array, /)", samples=PAIRS, domain={"v": (0.8, 5.0), "x": (0.3, 5.0)},
    v=lambda v, x, x_like, xp: -0.5 * gammainc_slope(v / 2, x / 2, x_like, xp),
    x=lambda v, x, xp: -0.5 * gamma_density(v / 2, x / 2, xp),
)
define(
    "chdtri(v: array, p: array, /)", samples=PAIRS, domain={"v": (0.8, 5.0), "p": (0.1, 0.9)},
    v=lambda v, out, p_like, xp: gamma_quantile_slope(v / 2, out / 2, p_like, xp),
    p=lambda v, out, xp: -2 / gamma_density(v / 2, out / 2, xp),
)
define(
    "gdtr(a: array, b: array, x: array, /)", samples=TRIPLES, domain=(0.5, 3.0),
    a=lambda a, b, x, xp: x * gamma_density(b, a * x, xp), x=lambda a, b, x, xp: a * gamma_density(b, a * x, xp),
    b=lambda a, b, x, x_like, xp: gammainc_slope(b, a * x, x_like, xp),
)
define(
    "gdtrc(a: array, b: array, x: array, /)", samples=TRIPLES, domain=(0.5, 3.0),
    a=lambda a, b, x, xp: -x * gamma_density(b, a * x, xp), x=lambda a, b, x, xp: -a * gamma_density(b, a * x, xp),
    b=lambda a, b, x, x_like, xp: -gammainc_slope(b, a * x, x_like, xp),
)
define(
    "fdtr(dfn: array, dfd: array, x: array, /)",
    samples=TRIPLES, domain={"dfn": (1.0, 6.0), "dfd": (1.0, 6.0), "x": (0.3, 3.0)},
    dfn=lambda dfn, dfd, x, x_like, xp: fdtr_slope(dfn, dfd, x, x_like, xp, 0),
    dfd=lambda dfn, dfd, x, x_like, xp: fdtr_slope(dfn, dfd, x, x_like, xp, 1),
    x=lambda dfn, dfd, x, x_like, xp: fdtr_slope(dfn, dfd, x, x_like, xp, 2),
)
define(
    "fdtrc(dfn: array, dfd: array, x: array, /)",
    samples=TRIPLES, domain={"dfn": (1.0, 6.0), "dfd": (1.0, 6.0), "x": (0.3, 3.0)},
    dfn=lambda dfn, dfd, x, x_like, xp: -fdtr_slope(dfn, dfd, x, x_like, xp, 0),
    dfd=lambda dfn, dfd, x, x_like, xp: -fdtr_slope(dfn, dfd, x, x_like, xp, 1),
    x=lambda dfn, dfd, x, x_like, xp: -fdtr_slope(dfn, dfd, x, x_like, xp, 2),
)
define(
    "fdtri(dfn: array, dfd: array, p: array, /)",
    samples=TRIPLES, domain={"dfn": (1.5, 6.0), "dfd": (2.0, 6.0), "p": (0.2, 0.8)},
    dfn=lambda dfn, dfd, out, p_like, xp: fdtri_slope(dfn, dfd, out, p_like, xp, 0),
    dfd=lambda dfn, dfd, out, p_like, xp: fdtri_slope(dfn, dfd, out, p_like, xp, 1),
    p=lambda dfn, dfd, out, p_like, xp: fdtri_slope(dfn, dfd, out, p_like, xp, 2),
)
define(
    "stdtr(df: array, x: array, /)", samples=PAIRS, domain={"df": (1.5, 35.0), "x": (-3.0, 3.0)},
    df=lambda df, x, x_like, xp: -t_density(df, x, xp) * t_quantile_slope(df, x, x_like, xp),
    x=lambda df, x, xp: t_density(df, x, xp), special=[point((3.0, 0.0), (0.0, 2 / (sqrt(3) * pi)))],
)
define(
    "stdtrit(df: array, p: array, /)", samples=PAIRS, domain={"df": (1.5, 35.0), "p": (0.1, 0.9)},
    df=lambda df, out, p_like, xp: t_quantile_slope(df, out, p_like, xp),
    p=lambda df, out, xp: 1 / t_density(df, out, xp),
)


# ---------------------------------------------------------------------------------------------------- Bessel functions

define("j0(x: array, /)", x=lambda x, xp: -xp.special.j1(x), note="DLMF 10.6.3")
define(
    "j1(x: array, /)", x=lambda x, out, xp: xp.special.j0(x) - forms.j1_ratio(x, out, xp),
    special=[point((0.0,), (0.5,))], note="DLMF 10.6.2; j1(x) / x by a series around 0",
)
define("y0(x: array, /)", x=lambda x, xp: -xp.special.y1(x), domain=(0.3, 4.0), note="DLMF 10.6.3")
define("y1(x: array, /)", x=lambda x, out, xp: xp.special.y0(x) - out / x, domain=(0.3, 4.0), note="DLMF 10.6.2")
define("i0(x: array, /)", x=lambda x, xp: xp.special.i1(x), note="DLMF 10.29.3")
define(
    "i1(x: array, /)", x=lambda x, out, xp: xp.special.i0(x) - forms.i1_ratio(x, out, xp),
    special=[point((0.0,), (0.5,))], note="DLMF 10.29.2; i1(x) / x by a series around 0",
)
define(
    "i0e(x: array, /)", x=lambda x, xp: -xp.sign(x) * forms.i_gap(xp.abs(x), xp), special=[point((0.0,), (0.0,))],
    note="exp(-|x|) i0(x), with a kink at 0; DLMF 10.40.1 where the difference cancels",
)
define("i1e(x: array, /)", x=lambda x, out, xp: forms.i1e_slope(x, out, xp), special=[point((0.0,), (0.5,))])
define("k0(x: array, /)", x=lambda x, xp: -xp.special.k1(x), domain=(0.3, 3.0), note="DLMF 10.29.3")
define("k1(x: array, /)", x=lambda x, out, xp: -xp.special.k0(x) - out / x, domain=(0.3, 3.0), note="DLMF 10.29.2")
define("k0e(x: array, /)", x=lambda x, xp: -forms.k_gap(x, xp), domain=(0.3, 3.0), note="DLMF 10.40.2 far out")
define("k1e(x: array, /)", x=lambda x, out, xp: forms.k_gap(x, xp) - out / x, domain=(0.3, 3.0))


def neighbours(name, below, above):
    """The derivative of a Bessel function by z: its neighbours in the order, DLMF 10.6.1 and 10.29.1."""
    def by_z(v, z, xp):
        function = getattr(xp.special, name)
        return below * function(v - 1, z) + above * function(v + 1, z)

    return by_z


ORDERS = [*shapes(ints((3,), 0, 4), None), case(1.5, (3,)), case(0, (2, 1))]
REAL_ORDERS = [*shapes(None, None), case(1.5, (3,)), case((3,), 0.7), case(ints((3,), 0, 4), (2, 1))]
MATERN = "by the order the integral DLMF 10.32.9, of real arguments; complex z have a test"

for name in ("jv", "yv"):
    define(
        f"{name}(v: array, z: array, /)", v=UNKNOWN, z=neighbours(name, 0.5, -0.5), scalars=True, complex=True,
        domain=(0.4, 4.0), samples=ORDERS, note="DLMF 10.6.1",
    )
define(
    "yn(n: array, x: array, /)", n=UNKNOWN, scalars=True, domain=(0.4, 4.0),
    x=lambda n, x, xp: 0.5 * (xp.special.yn(n - 1, x) - xp.special.yn(n + 1, x)),
    samples=[*shapes(ints((3,), 0, 4), None), case(2, (3,))],
)
define(
    "iv(v: array, z: array, /)", v=UNKNOWN, z=neighbours("iv", 0.5, 0.5), scalars=True, complex=True,
    domain=(0.4, 4.0), samples=ORDERS, note="DLMF 10.29.1",
)
define(
    "ive(v: array, z: array, /)", v=UNKNOWN, scalars=True, domain=(0.4, 4.0), samples=ORDERS,
    z=lambda v, z, out, xp: 0.5 * (xp.special.ive(v - 1, z) + xp.special.ive(v + 1, z)) - xp.sign(z) * out,
    note="exp(-|z|) iv(v, z) of real z",
)
define(
    "kv(v: array, z: array, /)", z=neighbours("kv", -0.5, -0.5), scalars=True, domain=(0.4, 4.0), samples=REAL_ORDERS,
    v=lambda v, z, v_like, xp: forms.kv_order_slope(v, z, v_like, False, xp), note=MATERN,
)
define(
    "kve(v: array, z: array, /)", scalars=True, domain=(0.4, 4.0), samples=REAL_ORDERS, note=MATERN,
    v=lambda v, z, v_like, xp: forms.kv_order_slope(v, z, v_like, True, xp),
    z=lambda v, z, out, xp: out - 0.5 * (xp.special.kve(v - 1, z) + xp.special.kve(v + 1, z)),
)


# ----------------------------------------------------------------------------------------- integrals and hypergeometric

define("exp1(z: array, /)", z=lambda z, xp: -xp.exp(-z) / z, complex=True, domain=(0.3, 3.0), note="DLMF 6.2.1")
define("expi(x: array, /)", x=lambda x, xp: xp.exp(x) / x, complex=True, domain=(0.3, 3.0), note="DLMF 6.2.5")
define(
    "expn(n: array, x: array, /)", n=UNKNOWN, x=lambda n, x, out, xp: forms.expn_slope(n, x, out, xp), scalars=True,
    domain=(0.3, 3.0), samples=[*shapes(ints((3,), 0, 4), None), case(0, (3,)), case(1, (3,)), case(3, (3,))],
    note="DLMF 8.19.13",
)
define(
    "spence(z: array, /)", z=lambda z, xp: -forms.log1p_ratio(z - 1, xp), complex=True, domain=(0.3, 3.0),
    special=[point((1.0,), (-1.0,)), point((0.0,), (-inf,))], note="DLMF 25.12.2 of 1 - z",
)
define(
    "ellipk(m: array, /)", m=lambda m, xp: forms.ellipk_slope(m, xp), domain=(-1.5, 0.8),
    special=[point((0.0,), (pi / 8,))], note="DLMF 19.4.1; the series 19.5.1 around 0",
)
define(
    "ellipkm1(p: array, /)", p=lambda p, out, xp: forms.ellipkm1_slope(p, out, xp), domain=(0.2, 1.7),
    special=[point((1.0,), (-pi / 8,))],
)
define(
    "ellipe(m: array, /)", m=lambda m, xp: forms.ellipe_slope(m, xp), domain=(-1.5, 0.8),
    special=[point((0.0,), (-pi / 8,)), point((1.0,), (-inf,))], note="DLMF 19.4.2",
)
define(
    "lpmv(m: array, v: array, x: array, /)", m=UNKNOWN, v=UNKNOWN,
    x=lambda m, v, x, out, xp: forms.lpmv_slope(m, v, x, out, xp), domain=(-0.8, 0.8),
    samples=[*shapes(ints((2, 1), 0, 3), 2, None), case(1, ints((3,), 1, 5), (2, 3)), case(1, 1.5, (3,))],
    note="DLMF 14.10.4; nan at -1 and 1",
)
define(
    "hyp1f1(a: array, b: array, x: array, /)", a=UNKNOWN, b=UNKNOWN,
    x=lambda a, b, x, xp: forms.hyp1f1_slope(a, b, x, xp), scalars=True, complex=True,
    samples=[*shapes(1.3, ints((3,), 1, 4), None), case(-2, 0.7, (3,))], note="DLMF 13.3.15",
)


# ------------------------------------------------------------------------------------------------- sums of exponentials

AXES = [case((2, 3)), case((2, 3), axis=0), case((2, 3, 2), axis=(0, -1)), case((2, 3), axis=None), case((3,), axis=-1)]
WEIGHTED = [
    case((2, 3), b=(2, 3)), case((2, 3), axis=1, b=(3,)), case((2, 3), axis=0, b=(2, 1), keepdims=True),
    case((3,), b=(3,), return_sign=True), case(values([0.5, 1.0, 2.0]), b=values([1.0, 0.0, -2.0]), return_sign=True),
]  # fmt: skip


def summand(g, a, b, out, axis, keepdims, return_sign, a_like, b_like, xp):
    """exp(a) over the whole sum, times g."""
    sign = 1.0
    if return_sign:
        (g, _), (out, sign) = g, out
    if g is None:
        return xp.zeros_like(a)
    like = max((like for like in (a_like, b_like) if like is not None), key=lambda like: like.ndim)
    g, out = (restore(part, axis, keepdims, like, xp) for part in (sign * g, out))
    return g * xp.exp(a - out)


def logsumexp_batch(a, axis, b, keepdims, return_sign, batched, size, xp):
    """The axes are those of a, and b is no longer."""
    a = a if "a" in batched else spread(a, size, xp)
    ndim = a.ndim - 1
    b = lifted(b, ndim) if "b" in batched else b
    axis = tuple(range(1, 1 + ndim)) if axis is None else shifted(axis, ndim)
    return xp.special.logsumexp(a, axis=axis, b=b, keepdims=keepdims, return_sign=return_sign)


def logsumexp_by_a(g, a, b, out, axis, keepdims, return_sign, a_like, b_like, xp):
    found = summand(g, a, b, out, axis, keepdims, return_sign, a_like, b_like, xp)
    return found if b is None else b * xp.where((b == 0) & xp.isinf(a), 0.0, found)


def logsumexp_along(slope):
    """The tangent from that of one operand, by its gradient."""
    def jvp(t, a, b, out, axis, keepdims, return_sign, a_like, b_like, xp):
        one = xp.ones_like(out[0] if return_sign else out)
        g = (one, None) if return_sign else one
        moved = t * slope(g, a, b, out, axis, keepdims, return_sign, a_like, b_like, xp)
        moved = xp.sum(moved, axis=axis, keepdims=keepdims)
        return (moved, xp.zeros_like(one)) if return_sign else moved

    return jvp


define(
    "logsumexp(a: array, axis: axes = None, b: array? = None, keepdims=False, return_sign=False)", rules.general,
    vjp={"a": logsumexp_by_a, "b": summand}, batch=logsumexp_batch,
    jvp={"a": logsumexp_along(logsumexp_by_a), "b": logsumexp_along(summand)},
     samples=[*AXES, case((2, 3), axis=0, keepdims=True), case((2, 3), return_sign=True), *WEIGHTED],
    domain={"b": (0.5, 2.0)}, note="nan where all elements are -inf or one is inf: as PyTorch",
)
define(
    "softmax(x: array, axis: axes = None)", rules.general, samples=AXES,
    vjp={"x": lambda g, out, axis, xp: out * (g - xp.sum(out * g, axis=axis, keepdims=True))},
    jvp=lambda t, out, axis, xp: out * (t - xp.sum(out * t, axis=axis, keepdims=True)),
)
define(
    "log_softmax(x: array, axis: axes = None)", rules.general, samples=AXES,
    vjp={"x": lambda g, out, axis, xp: g - xp.exp(out) * xp.sum(g, axis=axis, keepdims=True)},
    jvp=lambda t, out, axis, xp: t - xp.sum(xp.exp(out) * t, axis=axis, keepdims=True),
)
