"""The gamma, beta and t distributions: densities without cancellation, and derivatives of their integrals by the shape.

Everything is written in the standard's functions and runs on arrays and on Tensors. Must not know any array library or
rule. DLMF is the Digital Library of Mathematical Functions, https://dlmf.nist.gov.

**Densities** are Loader's: x**a exp(-x) is its largest value, at x = a, times exp(-deviance), and what is left of the
gamma function is Stirling's remainder. Nothing large is taken from anything large (C. Loader, Fast and accurate
computation of binomial probabilities, 2000).

**The derivative of an integral by its shape** is the integral of the density times (log t - c), where c is the mean of
log t. Left of exp(c) this is negative everywhere, right of it positive, and all of it together is zero. So it is taken
from the end where its sign does not change, and every digit survives, in both tails. With s = a log(x / t), or t - x in
the upper tail of the gamma distribution, it falls off like exp(-s), for which s = exp(v - exp(-v)) and the trapezoidal
rule converge doubly exponentially (H. Takahasi and M. Mori, Publ. RIMS 9 (1974) 721). What is summed up is the integral
over the density at x. It is minus the derivative of the quantile, and does not underflow.
"""

from math import exp, inf, nan, pi

from agrad.plugins.special_formulas import BERNOULLI, LOG_2PI, digamma_gap, floats, log1p_rest, pieces, polynomial

STIRLING = (1 / 12, -1 / 360, 1 / 1260, -1 / 1680, 1 / 1188, -691 / 360360, 1 / 156)  # DLMF 5.11.1


# ----------------------------------------------------------------------------------------------------------- densities


def stirling(a, xp):
    """What Stirling's formula lacks: gammaln(a) - ((a - 1/2) log(a) - a + log(2 pi) / 2)."""
    def near(a):
        return xp.special.gammaln(a + 1) - (a + 0.5) * xp.log(a) + a - 0.5 * LOG_2PI

    return pieces(a > 10, a, (lambda a: polynomial(a**-2, STIRLING) / a, 20.0), (near, 1.0), xp)


def deviance(k, m, xp):
    """k log(k / m) + m - k, also where k and m are close."""
    d = (m - k) / k
    near = xp.abs(d) < 0.5
    close = -((m - k) ** 2) / k * log1p_rest(xp.where(near, d, 0.0), xp)
    return xp.where(near, close, m - k - k * xp.log(m / xp.where(k == 0, 1.0, k)))


def gamma_density(a, x, xp):
    """x**(a - 1) exp(-x) / gamma(a)."""
    a, x = floats(xp, a, x)
    inside = (x > 0) & (x < inf)
    t = xp.where(inside, x, 1.0)
    body = xp.sqrt(a / (2 * pi)) / t * xp.exp(-deviance(a, t, xp) - stirling(a, xp))
    outside = xp.where(x > 0, 0.0, xp.full_like(x, nan))
    return xp.where(inside, body, xp.where(x == 0, power_of_zero(a, 1.0, xp), outside))


def beta_density(a, b, x, y, xp):
    """x**(a - 1) y**(b - 1) / beta(a, b), where y = 1 - x."""
    a, b, x, y = floats(xp, a, b, x, y)
    inside = (x > 0) & (y > 0)
    t, u, n = xp.where(inside, x, 0.5), xp.where(inside, y, 0.5), a + b
    fall = deviance(a, n * t, xp) + deviance(b, n * u, xp) + stirling(a, xp) + stirling(b, xp) - stirling(n, xp)
    body = xp.sqrt(a / n * b / (2 * pi)) / (t * u) * xp.exp(-fall)
    ends = xp.where(x == 0, power_of_zero(a, b, xp), xp.where(y == 0, power_of_zero(b, a, xp), xp.full_like(x, nan)))
    return xp.where(inside, body, ends)


def power_of_zero(a, factor, xp):
    """factor * 0**(a - 1): the density at an end."""
    return xp.where(a < 1, inf, xp.where(a > 1, 0.0, factor + 0 * a))


def t_density(df, t, xp):
    """Student's density."""
    df, t = floats(xp, df, t)
    a = 0.5 * df
    gap = a * xp.log1p(0.5 / a) - 0.5 + stirling(a + 0.5, xp) - stirling(a, xp)
    return xp.exp(gap - (a + 0.5) * xp.log1p(t * t / df) - 0.5 * LOG_2PI)


# --------------------------------------------------------------------------------------------------------- integration

N, LOW, HIGH, GROUPS = 80, -3.5, 6.5, 5


def places_and_weights():
    """The rule for integrals over s > 0, in groups, so that no array gets more than N / GROUPS times larger."""
    h = (HIGH - LOW) / N
    steps = [LOW + h * (k + 0.5) for k in range(N)]
    rule = [(exp(v - exp(-v)), h * exp(v - exp(-v)) * (1 + exp(-v))) for v in steps]
    return [tuple(zip(*rule[k::GROUPS], strict=True)) for k in range(GROUPS)]


RULE = places_and_weights()


def integral(integrand, scale, like, xp):
    """The integral over s > 0 of what falls off at s of about `scale`; the last axis is for s."""
    def row(numbers):
        return xp.asarray(numbers, dtype=scale.dtype, device=like.device)

    groups = [(row(places), row(weights)) for places, weights in RULE]
    return sum(xp.sum(scale * weights * integrand(scale * places), axis=-1) for places, weights in groups)


def columns(xp, *arrays):
    return [xp.expand_dims(x, axis=-1) for x in arrays]


# --------------------------------------------------------------------------------------------------- gamma distribution


def gamma_quantile_slope(a, x, like, xp):
    """The derivative of gammaincinv(a, p) by a, where x = gammaincinv(a, p)."""
    a, x = floats(xp, a, x)
    end = x == 0
    x = xp.where(end, 1.0, x)
    lower = (x <= 1) | (x <= xp.exp(xp.special.digamma(a)))
    low = lower_gamma_integral(xp.where(lower, a, 1.0), xp.where(lower, x, 0.5), like, xp)
    high = upper_gamma_integral(xp.where(lower, 2.0, a), xp.where(lower, 2.0, x), like, xp)
    return xp.where(end, 0.0, xp.where(lower, low, high))


def lower_gamma_integral(a, x, like, xp):
    """Below a = 1 a step of the recurrence, DLMF 8.8.5, and the integral for a + 1: log t would outgrow its mean."""
    small = a < 1
    b = xp.where(small, a + 1, a)
    start = xp.log(x) - xp.special.digamma(b)
    width = 1 / (xp.abs(1 - x / b) + xp.sqrt(x) / b)
    b1, x1, start1, width1 = columns(xp, b, x, start, width)
    found = x / b * integral(lambda s: xp.exp(-s - x1 * xp.expm1(-s / b1)) * (s / b1 - start1), width1, like, xp)
    return xp.where(small, x / a * (found - start), found)


def upper_gamma_integral(a, x, like, xp):
    width = 1 / (xp.abs(1 - (a - 1) / x) + xp.sqrt(xp.abs(a - 1)) / x)
    a1, x1, mean1, width1 = columns(xp, a, x, xp.special.digamma(a), width)
    return integral(lambda s: xp.exp((a1 - 1) * xp.log1p(s / x1) - s) * (xp.log(x1 + s) - mean1), width1, like, xp)


def gammainc_slope(a, x, like, xp):
    """The derivative of gammainc(a, x) by a."""
    a, x = floats(xp, a, x)
    inside = (x > 0) & (x < inf)
    t = xp.where(inside, x, 1.0)
    slope = -gamma_density(a, t, xp) * gamma_quantile_slope(a, t, like, xp)
    return xp.where(inside, slope, xp.where(x >= 0, 0.0, xp.full_like(x, nan)))


# ---------------------------------------------------------------------------------------------------- beta distribution


def beta_quantile_slope(a, b, x, y, like, xp):
    """The derivative of betaincinv(a, b, p) by a, where x = betaincinv(a, b, p) and y = 1 - x.

    That by b is minus this one with the two sides exchanged.
    """
    a, b, x, y = floats(xp, a, b, x, y)
    end = (x == 0) | (y == 0)
    x, y = xp.where(end, 0.5, x), xp.where(end, 0.5, y)
    lower = xp.log(x) < -digamma_gap(xp.where(a < 1, 1.0, a), b, xp)
    p, q, t, u = (xp.where(lower, one, other) for one, other in ((a, b), (b, a), (x, y), (y, x)))
    found = beta_integral(lower, p, q, t, u, like, xp)
    return xp.where(end, 0.0, xp.where(lower, found, -found))


def beta_integral(by_p, p, q, t, u, like, xp):
    """From 0 to t, u = 1 - t: the derivative by p, or by q. Below p = 1 through the recurrence, DLMF 8.17.20."""
    small = p < 1
    r = xp.where(small, p + 1, p)
    mean = -digamma_gap(xp.where(by_p, r, q), xp.where(by_p, q, r), xp)
    start = xp.log(xp.where(by_p, t, u)) - mean
    width = 1 / (xp.abs(1 - (q - 1) * t / (r * u)) + xp.sqrt(xp.abs(q - 1) * t) / (r * u))
    by_p1, r1, q1, odds1, start1, width1 = columns(xp, by_p, r, q, t / u, start, width)

    def integrand(s):
        rise = xp.log1p(-odds1 * xp.expm1(-s / r1))     # of log(1 - t) as t shrinks to t exp(-s / r)
        return (xp.where(by_p1, s / r1, -rise) - start1) * xp.exp((q1 - 1) * rise - s)

    found = t / r * integral(integrand, width1, like, xp)
    return xp.where(small, t / p * ((p + q) * found - u * (start - 1 / (p + q))), found)


def betainc_slope(a, b, x, y, like, xp):
    """The derivative of betainc(a, b, x) by a, y = 1 - x."""
    a, b, x, y = floats(xp, a, b, x, y)
    inside = (x > 0) & (y > 0)
    t, u = xp.where(inside, x, 0.5), xp.where(inside, y, 0.5)
    slope = -beta_density(a, b, t, u, xp) * beta_quantile_slope(a, b, t, u, like, xp)
    return xp.where(inside, slope, xp.where((x == 0) | (y == 0), 0.0, xp.full_like(x, nan)))


# ----------------------------------------------------------------------------------------- distributions of F and of t


def f_place(dfn, dfd, x, xp):
    """Of w = dfn x / (dfd + dfn x), distributed as beta: the shape, w, 1 - w, and the derivatives of w."""
    dfn, dfd, x = floats(xp, dfn, dfd, x)
    total = dfd + dfn * x
    w, v = dfn * x / total, dfd / total
    return 0.5 * dfn, 0.5 * dfd, w, v, (w * v / dfn, -w * v / dfd, v * dfn / total)


def fdtr_slope(dfn, dfd, x, like, xp, by):
    """The derivative of fdtr(dfn, dfd, x) by its first, second or third argument."""
    a, b, w, v, moves = f_place(dfn, dfd, x, xp)
    slope = beta_density(a, b, w, v, xp) * moves[by]
    if by == 2:
        return slope
    half = betainc_slope(a, b, w, v, like, xp) if by == 0 else -betainc_slope(b, a, v, w, like, xp)
    return slope + 0.5 * half


def fdtri_slope(dfn, dfd, out, like, xp, by):
    """The derivative of fdtri(dfn, dfd, p) by its first, second or third argument."""
    a, b, w, v, moves = f_place(dfn, dfd, out, xp)
    if by == 2:
        return 1 / (beta_density(a, b, w, v, xp) * moves[2])
    half = beta_quantile_slope(a, b, w, v, like, xp) if by == 0 else -beta_quantile_slope(b, a, v, w, like, xp)
    return (0.5 * half - moves[by]) / moves[2]


def t_quantile_slope(df, t, like, xp):
    """The derivative of stdtrit(df, p) by df, where t = stdtrit(df, p)."""
    df, t = floats(xp, df, t)
    zero, wide = t == 0, df > 20
    size = xp.abs(xp.where(zero, 1.0, t))
    near = t_slope_by_beta(xp.where(wide, 1.0, df), size, like, xp)
    far = t_slope_by_integral(xp.where(wide, df, 40.0), size, like, xp)
    return xp.where(zero, 0.0, xp.sign(t) * xp.where(wide, far, near))


def t_slope_by_beta(df, t, like, xp):
    """Through df / (df + t**2), of which the distribution is that of beta. It loses df**2 roundings."""
    total = df + t * t
    w, v = df / total, t * t / total
    turn = beta_quantile_slope(0.5 * df, xp.full_like(df, 0.5), w, v, like, xp)
    return 0.5 * t * (1 / df - turn / (2 * w * v))


T_MEAN = [b * (2 - 2.0 ** (1 - 2 * k)) / (2 * k) for k, b in enumerate(BERNOULLI[:8], 1)]


def t_slope_by_integral(df, t, like, xp):
    """From the logarithm of the density, whose slope by df is positive for small t and negative for large: from 0 to t,
    or from t on."""
    low = t < 1.5
    a2 = (2 / df) ** 2
    mean = a2 * polynomial(a2, T_MEAN)      # digamma(df / 2 + 1 / 2) - digamma(df / 2) - 1 / df, DLMF 5.11.2
    width = xp.where(low, 1.0, (df + t * t) / ((df + 1) * t))
    low1, df1, t1, mean1, width1 = columns(xp, low, df, t, mean, width)

    def integrand(s):
        u = xp.where(low1, t1 * xp.exp(-s), t1 + s)
        v = u * u / df1
        weight = mean1 + v / (df1 * (1 + v)) - v * v * (log1p_rest(v, xp) + 1 / (1 + v))
        rise = xp.exp(-0.5 * (df1 + 1) * xp.log1p((u - t1) * (u + t1) / (df1 + t1 * t1)))
        return weight * rise * xp.where(low1, -u, 1.0)

    return 0.5 * integral(integrand, width1, like, xp)


# ----------------------------------------------------------------------------------------------- discrete distributions


def bdtrc_density(k, n, p, xp):
    """What bdtrc(k, n, p) is the integral of: a density of beta, and 0 for k < 0 and k >= n, where it is constant."""
    k, n, p = floats(xp, k, n, p)
    k = xp.floor(k)
    usual = (k >= 0) & (k < n)
    k, n = xp.where(usual, k, 0.0), xp.where(usual, n, 1.0)
    return xp.where(usual, beta_density(k + 1, n - k, p, 1 - p, xp), 0.0)


def nbdtr_density(k, n, p, xp):
    """What nbdtr(k, n, p) is the integral of."""
    k, n, p = floats(xp, k, n, p)
    return beta_density(n, k + 1, p, 1 - p, xp)


def pdtrc_density(k, m, xp):
    """What pdtrc(k, m) is the integral of."""
    k, m = floats(xp, k, m)
    return gamma_density(xp.floor(k) + 1, m, xp)
