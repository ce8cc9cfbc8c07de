"""What the derivatives of special functions are made of: forms that stay accurate where the textbook's cancel, and the
derivatives by parameters that have no closed form, as integrals.

Everything is written in the standard's functions and runs on arrays and on Tensors. Must not know any array library or
rule. DLMF is the Digital Library of Mathematical Functions, https://dlmf.nist.gov."""

from math import factorial, inf, log, nan, pi, sqrt

ROOT_PI, ROOT_2, LOG_2PI = sqrt(pi), sqrt(2.0), log(2 * pi)
NUMBERS = (bool, int, float, complex)
BERNOULLI = (1 / 6, -1 / 30, 1 / 42, -1 / 30, 5 / 66, -691 / 2730, 7 / 6, -3617 / 510, 43867 / 798, -174611 / 330)


# -------------------------------------------------------------------------------------------------------------- pieces


def polynomial(x, coefficients):
    """Horner's scheme; the constant comes first."""
    *rest, total = coefficients
    for c in reversed(rest):
        total = c + x * total
    return total


def pieces(mask, x, yes, no, xp):
    """One formula where the mask holds, another elsewhere. Each comes with an argument that it takes where it is not
    used, since an infinity or nan there would get into derivatives."""
    (f, usual), (g, other) = yes, no
    return xp.where(mask, f(xp.where(mask, x, usual)), g(xp.where(mask, other, x)))


def near_zero(x, series, formula, xp, radius=1.0):
    """The series around zero within a radius, the formula outside."""
    return pieces(xp.abs(x) < radius, x, (series, 0.0), (formula, radius), xp)


def is_complex(x, xp):
    return xp.isdtype(x.dtype, "complex floating")


def floats(xp, *arrays):
    """Integer arrays as real floating ones, for the standard does not mix them; numbers stay."""
    kinds = [None if type(x) in NUMBERS else x.dtype for x in arrays]
    whole = [d is not None and xp.isdtype(d, "integral") for d in kinds]
    if not any(whole):
        return arrays
    like = next(x for x, d, w in zip(arrays, kinds, whole, strict=True) if d is not None and not w)
    dtype = xp.real(like).dtype
    return [xp.astype(x, dtype) if w else x for x, w in zip(arrays, whole, strict=True)]


def ratio(a, b, xp):
    """a / b, and 0 where both are 0."""
    none = (a == 0) & (b == 0)
    return xp.where(none, 0.0, a / xp.where(none, 1.0, b))


def log_or_zero(x, y, log, edge, xp):
    """log(y), and 0 where y is at the edge of its domain or beyond, and x, which it is multiplied with, is 0."""
    outside = (x == 0) & (y == edge if is_complex(y, xp) else y <= edge)
    return xp.where(outside, 0.0, log(xp.where(outside, 1.0, y)))


def log_ratio(x, y, xp):
    """log(x / y), accurate where x and y are close."""
    r = x / y
    near = xp.abs(r - 1) < 0.5
    d = xp.where(near, x - y, 0.0) / xp.where(near, y, 1.0)
    return xp.where(near, xp.log1p(d), xp.log(xp.where(near, 1.0, r)))


def rel_entr_slope(x, y, xp):
    """log(x / y) + 1: -inf at (0, y), 0 at (0, 0), nan outside of the domain."""
    return kl_div_slope(x, y, xp) + xp.where((x == 0) & (y == 0), 0.0, xp.ones_like(x))


def kl_div_slope(x, y, xp):
    """log(x / y): -inf at (0, y), 0 at (0, 0), nan outside of the domain."""
    none = (x == 0) & (y == 0)
    slope = log_ratio(xp.where(none, 1.0, x), xp.where(none, 1.0, y), xp)
    return xp.where((x < 0) | (y < 0), nan, slope)


def half_turns(x, xp):
    """sin(pi x) and cos(pi x), to all digits also near their zeros."""
    n = xp.round(xp.real(x))
    sign, r = 1 - 2 * (n - 2 * xp.floor(n / 2)), pi * (x - n)
    return sign * xp.sin(r), sign * xp.cos(r)


# ------------------------------------------------------------------------------------------------------ error functions

DOUBLE_FACTORIALS = [factorial(2 * k) / (2**k * factorial(k)) for k in range(1, 15)]  # (2k - 1)!!


def erfcx_slope(x, out, xp):
    """2 x erfcx(x) - 2 / sqrt(pi); where that cancels, its asymptotic series, DLMF 7.12.1."""
    if is_complex(x, xp):
        return 2 * (x * out - 1 / ROOT_PI)

    def far(x):
        w = -0.5 / (x * x)
        return 2 / ROOT_PI * w * polynomial(w, DOUBLE_FACTORIALS)

    def near(x):
        return 2 * (x * xp.special.erfcx(x) - 1 / ROOT_PI)

    return pieces(x > 10, x, (far, 20.0), (near, 0.0), xp)


def dawsn_slope(x, xp):
    """1 - 2 x dawsn(x); where that cancels, its asymptotic series."""
    def far(x):
        w = 0.5 / (x * x)
        return -w * polynomial(w, DOUBLE_FACTORIALS)

    def near(x):
        return 1 - 2 * x * xp.special.dawsn(x)

    return near(x) if is_complex(x, xp) else pieces(xp.abs(x) > 10, x, (far, 20.0), (near, 0.0), xp)


def log_ndtr_slope(x, xp):
    """The normal density over its integral: on the left both are tiny, and erfcx is their ratio."""
    return pieces(
        xp.real(x) < 0, x,
        (lambda x: sqrt(2 / pi) / xp.special.erfcx(-x / ROOT_2), -1.0),
        (lambda x: xp.exp(-0.5 * x * x) / (sqrt(2 * pi) * xp.special.ndtr(x)), 1.0), xp,
    )  # fmt: skip


# ----------------------------------------------------------------------------------------------- elementary functions

SINC = [(-1) ** (k + 1) * (2 * k + 2) / factorial(2 * k + 3) for k in range(10)]
EXPREL = [(k + 1) / factorial(k + 2) for k in range(20)]
ATANH = [1 / (2 * k + 3) for k in range(16)]


def sinc_slope(x, xp):
    """The derivative of sin(pi x) / (pi x)."""
    def formula(u):
        return (xp.cos(u) - xp.sin(u) / u) / u

    return pi * near_zero(pi * x, lambda u: u * polynomial(u * u, SINC), formula, xp)


def exprel_slope(x, xp):
    """The derivative of (exp(x) - 1) / x, which neither cancels nor overflows early."""
    def left(x):
        return (xp.exp(x) - xp.special.exprel(x)) / x

    def right(x):
        return xp.special.exprel(x) * (1 - 1 / x) + 1 / x

    def formula(x):
        return pieces(x < 0, x, (left, -1.0), (right, 1.0), xp)

    return near_zero(x, lambda x: polynomial(x, EXPREL), formula, xp)


def log1p_rest(x, xp):
    """(log(1 + x) - x) / x**2: of log(1 + x) = 2 atanh(r), r = x / (2 + x), the first term is taken away by hand."""
    def series(x):
        r = x / (2 + x)
        return (2 * x * polynomial(r * r, ATANH) / (2 + x) ** 2 - 1) / (2 + x)

    return near_zero(x, series, lambda x: (xp.log1p(x) - x) / x / x, xp, radius=0.5)


def log1p_ratio(x, xp):
    """log(1 + x) / x."""
    return near_zero(x, lambda x: 1 + x * log1p_rest(x, xp), lambda x: xp.log1p(x) / x, xp, radius=0.5)


def boxcox_slope(log_x, lmbda, xp):
    """The derivative of (x**lmbda - 1) / lmbda by lmbda; at x = 0 its limit."""
    zero = log_x == -inf
    log_x = xp.where(zero, -1.0, log_x)
    return xp.where(zero, 1 / lmbda**2, log_x**2 * exprel_slope(lmbda * log_x, xp))


def inv_boxcox_slope(x, lmbda, xp):
    """The derivative of log(1 + lmbda x) / lmbda by lmbda."""
    u = lmbda * x
    return -x * x * (1 / (1 + u) + log1p_rest(u, xp))


def pseudo_huber_slope(delta, r, xp):
    """The derivative by delta, (h - delta)**2 / h with h = hypot(delta, r)."""
    h = xp.hypot(delta, r)
    excess = r * ratio(r, h + delta, xp)
    return excess * ratio(excess, h, xp)


# ------------------------------------------------------------------------------------------------- Bessel and elliptic

J1_RATIO = [(-1) ** k / (2 * factorial(k) * factorial(k + 1) * 4**k) for k in range(10)]
I1_RATIO = [abs(c) for c in J1_RATIO]


def j1_ratio(x, out, xp):
    """j1(x) / x."""
    return first_order_ratio(x, out, J1_RATIO, xp)


def i1_ratio(x, out, xp):
    """i1(x) / x."""
    return first_order_ratio(x, out, I1_RATIO, xp)


def first_order_ratio(x, out, series, xp):
    near = xp.abs(x) < 1
    x2 = xp.where(near, x, 0.0) ** 2
    return xp.where(near, polynomial(x2, series), out / xp.where(near, 1.0, x))


def hankel_coefficients(order, sign):
    """Of the asymptotic series of the modified functions, DLMF 10.40.1 and 10.40.2."""
    found = [1.0]
    for k in range(1, 18):
        found.append(sign * found[-1] * (4 * order**2 - (2 * k - 1) ** 2) / (8 * k))
    return found


I_GAP = [a - b for a, b in zip(hankel_coefficients(0, -1), hankel_coefficients(1, -1), strict=True)]
K_GAP = [b - a for a, b in zip(hankel_coefficients(0, 1), hankel_coefficients(1, 1), strict=True)]


def i_gap(x, xp):
    """i0e(x) - i1e(x) for x >= 0; far out, where they agree in most digits, the difference of their series."""
    return pieces(
        x > 30, x,
        (lambda x: polynomial(1 / x, I_GAP) / xp.sqrt(2 * pi * x), 60.0),
        (lambda x: xp.special.i0e(x) - xp.special.i1e(x), 0.0), xp,
    )  # fmt: skip


def k_gap(x, xp):
    """k1e(x) - k0e(x)."""
    return pieces(
        x > 30, x,
        (lambda x: polynomial(1 / x, K_GAP) * xp.sqrt(0.5 * pi / x), 60.0),
        (lambda x: xp.special.k1e(x) - xp.special.k0e(x), 1.0), xp,
    )  # fmt: skip


def i1e_slope(x, out, xp):
    """The derivative of exp(-|x|) i1(x), which is even."""
    size = xp.abs(x)
    near = size < 1
    x2 = xp.where(near, x, 0.0) ** 2
    over_x = xp.where(near, xp.exp(-size) * polynomial(x2, I1_RATIO), out / xp.where(near, 1.0, x))
    return i_gap(size, xp) - over_x


def expn_slope(n, x, out, xp):
    """-expn(n - 1, x), of which SciPy knows none for n = 0."""
    if type(n) in NUMBERS:
        return -(xp.exp(-x) + out) / x if n == 0 else -xp.special.expn(n - 1, x)
    zero = n == 0
    last = (xp.exp(-x) + xp.where(zero, out, 0.0)) / xp.where(zero, x, 1.0)
    return -xp.where(zero, last, xp.special.expn(xp.where(zero, 1, n) - 1, x))


def lpmv_slope(m, v, x, out, xp):
    """DLMF 14.10.4."""
    m, v, x = floats(xp, m, v, x)
    return ((m - v - 1) * xp.special.lpmv(m, v + 1, x) + (v + 1) * x * out) / (1 - x * x)


def hyp1f1_slope(a, b, x, xp):
    """DLMF 13.3.15."""
    a, b, x = floats(xp, a, b, x)
    return a / b * xp.special.hyp1f1(a + 1, b + 1, x)


ELLIPK = [(factorial(2 * k) / (4**k * factorial(k) ** 2)) ** 2 * pi / 2 for k in range(26)]  # DLMF 19.5.1
ELLIPK_SLOPE = [k * c for k, c in enumerate(ELLIPK)][1:]
ELLIPE_SLOPE = [-k * c / (2 * k - 1) for k, c in enumerate(ELLIPK)][1:]


def ellipk_slope(m, xp):
    """The derivative of K(m), DLMF 19.4.1."""
    def formula(m):
        return (xp.special.ellipe(m) / (1 - m) - xp.special.ellipk(m)) / (2 * m)

    return near_zero(m, lambda m: polynomial(m, ELLIPK_SLOPE), formula, xp, radius=0.2)


def ellipkm1_slope(p, out, xp):
    """The derivative of K(1 - p): as above, but with the p that is given."""
    def formula(p):
        return (xp.special.ellipe(1 - p) / p - xp.special.ellipkm1(p)) / (2 * (p - 1))

    near = xp.abs(1 - p) < 0.2
    return pieces(near, p, (lambda p: -polynomial(1 - p, ELLIPK_SLOPE), 1.0), (formula, 0.5), xp)


def ellipe_slope(m, xp):
    """The derivative of E(m), DLMF 19.4.1."""
    def formula(m):
        return (xp.special.ellipe(m) - xp.special.ellipk(m)) / (2 * m)

    return near_zero(m, lambda m: polynomial(m, ELLIPE_SLOPE), formula, xp, radius=0.2)


STEPS = 96


def kv_order_slope(v, x, like, scaled, xp):
    """The derivative of K_v(x) by v, the integral of t sinh(v t) exp(-x cosh t) over t > 0, DLMF 10.32.9.

    The integrand is even and entire and falls off doubly exponentially: the trapezoidal rule is all that it takes,
    between the places left and right of its summit where it has fallen to exp(-40) of its height.
    """
    v, x = floats(xp, v, xp.full_like(v, x) if type(x) in NUMBERS else x)
    if is_complex(x, xp):
        raise NotImplementedError("special.kv and special.kve have a derivative by the order at real arguments only")
    size = xp.where(v < 0, -v, v)
    summit, c = xp.asinh(size / x), 20 / (size + 0.001)
    start = summit - c - xp.sqrt(c * (c + 4))
    start = xp.where(start > 0, start, 0.0)
    length = summit + xp.acosh(1 + 40 / xp.hypot(size, x)) - start
    start1, length1, size1, x1 = (xp.expand_dims(part, axis=-1) for part in (start, length, size, x))
    steps = xp.asarray([(k + 0.5) / STEPS for k in range(STEPS)], dtype=length.dtype, device=like.device)
    t = start1 + length1 * steps
    fall = x1 * (xp.cosh(t) - 1 if scaled else xp.cosh(t))
    heights = -0.5 * t * xp.exp(size1 * t - fall) * xp.expm1(-2 * size1 * t)
    return xp.where(v < 0, -length, length) / STEPS * xp.sum(heights, axis=-1)


# ------------------------------------------------------------------------------------------------------ gamma function


def is_pole(z, xp):
    """Whether the gamma function has a pole here."""
    return (z <= 0) & (z == xp.floor(z))


def trigamma(z, xp):
    """The second derivative of log(gamma). SciPy's polygamma takes no complex numbers: reflection, recurrence and the
    asymptotic series, DLMF 5.15.5, 5.15.6 and 5.15.8."""
    if not is_complex(z, xp):
        return xp.special.polygamma(1, z)
    left = xp.real(z) < 0.5
    w = xp.where(left, 1 - z, z)
    total = sum((w + k) ** -2 for k in range(10))
    w = w + 10
    total = total + 1 / w + 0.5 / w**2 + polynomial(w**-2, BERNOULLI) / w**3
    sine, _ = half_turns(xp.where(left, z, 0.5), xp)
    return xp.where(left, (pi / sine) ** 2 - total, total)


def rgamma_slope(z, xp):
    """The derivative of 1 / gamma(z), finite at the poles: for Re z < 1/2 through the reflection, DLMF 5.5.3."""
    def left(z):
        sine, cosine = half_turns(z, xp)
        return xp.special.gamma(1 - z) * (cosine - sine * xp.special.digamma(1 - z) / pi)

    def right(z):
        return -xp.special.digamma(z) * xp.special.rgamma(z)

    return pieces(xp.real(z) < 0.5, z, (left, 0.0), (right, 1.0), xp)


def digamma_gap(a, b, xp):
    """digamma(a + b) - digamma(a), accurate also where the two are close: recurrence, and the difference of the
    asymptotic series taken term by term, DLMF 5.5.2 and 5.11.2. Left of the poles, the plain difference."""
    usual = (a > 0) & (a + b > 0)
    x, d = xp.where(usual, a, 1.0), xp.where(usual, b, 0.0)
    total = d * sum(1 / ((x + k) * (x + d + k)) for k in range(10))
    u, v = 1 / (x + 10), 1 / (x + d + 10)
    total = total + xp.log1p(d * u) + d * u * v * (0.5 + (u + v) * divided_difference(DIGAMMA, u * u, v * v))
    plain = xp.special.digamma(xp.where(usual, 1.0, a + b)) - xp.special.digamma(xp.where(usual, 1.0, a))
    return xp.where(usual, total, plain)


def divided_difference(coefficients, x, y):
    """(p(x) - p(y)) / (x - y) of a polynomial."""
    *rest, value = coefficients
    slope = 0.0
    for c in reversed(rest):
        slope, value = value + x * slope, c + y * value
    return slope


DIGAMMA = [0.0, *(b / (2 * k) for k, b in enumerate(BERNOULLI[:8], 1))]


def binom_slope(n, k, out, xp, by_n):
    """The derivative of binom(n, k) by n or by k; where it is zero, at poles of its factors, that of the factors."""
    n, k = floats(xp, n, k)
    poles = is_pole(k + 1, xp) | is_pole(n - k + 1, xp)
    N, K = xp.where(poles, 1.0, n), xp.where(poles, 0.5, k)
    regular = out * (digamma_gap(N - K + 1, K, xp) if by_n else digamma_gap(K + 1, N - 2 * K, xp))
    n, k = xp.where(poles, n, 1.0), xp.where(poles, k, 2.0)
    one, other = xp.special.rgamma(k + 1), xp.special.rgamma(n - k + 1)
    turn = one * rgamma_slope(n - k + 1, xp)
    turn = turn + one * other * xp.special.digamma(n + 1) if by_n else rgamma_slope(k + 1, xp) * other - turn
    return xp.where(poles, xp.special.gamma(n + 1) * turn, regular)


def poch_slope(z, m, out, xp):
    """The derivative of gamma(z + m) / gamma(z) by z. At a pole of both the difference of digamma is taken on the other
    side of the reflection; at one of gamma(z) alone the quotient is zero and its derivative is not."""
    z, m = floats(xp, z, m)
    both = is_pole(z, xp) & is_pole(z + m, xp)
    zero = is_pole(z, xp) & ~both
    regular = out * digamma_gap(xp.where(both, 1 - z, xp.where(zero, 1.0, z)), xp.where(both, -m, m), xp)
    z, m = xp.where(zero, z, 1.0), xp.where(zero, m, 1.0)
    return xp.where(zero, xp.special.gamma(z + m) * rgamma_slope(z, xp), regular)


# ------------------------------------------------------------------------------------------------------- zeta function


def zeta_slope(s, q, xp):
    """The derivative of Hurwitz's zeta function by s: Euler and Maclaurin's formula, DLMF 25.2.9, term by term."""
    s, q = floats(xp, s, q)
    total = -sum(xp.log(q + k) * (q + k) ** -s for k in range(10))
    a = q + 10
    log_a, power = xp.log(a), a**-s
    total = total - power * (a * (log_a / (s - 1) + (s - 1) ** -2) + 0.5 * log_a)
    term, slope = s * power / a, (1 - s * log_a) * power / a    # s (s + 1) ... (s + 2k) a^(-s - 2k - 1), its derivative
    for k, b in enumerate(BERNOULLI):
        total = total + b / factorial(2 * k + 2) * slope
        step = (s + 2 * k + 1) * (s + 2 * k + 2) / a**2
        term, slope = term * step, slope * step + term * (2 * s + 4 * k + 3) / a**2
    return total


def riemann_slope(s, xp):
    """The derivative of Riemann's zeta function, left of -1 through the reflection, DLMF 25.4.1."""
    def left(s):
        sine, cosine = half_turns(s / 2, xp)
        t = 1 - s
        turn = (LOG_2PI - xp.special.digamma(t)) * sine + 0.5 * pi * cosine
        pair = turn * xp.special.zeta(t, 1.0) - sine * zeta_slope(t, xp.ones_like(t), xp)
        return 2 * (2 * pi) ** -t * xp.special.gamma(t) * pair

    return pieces(s < -1, s, (left, -2.0), (lambda s: zeta_slope(s, xp.ones_like(s), xp), 2.0), xp)
