"""Tails and quantiles of the distributions by which tests judge.

scipy has them all, and would be a third of an image that needs nothing else of it (ADR 4). The
tests hold each of these against scipy's.
"""

import math
from statistics import NormalDist

_NORMAL = NormalDist()
_SERIES_FROM = 1000.0  # degrees of freedom; there Hill's series errs by less than a millionth
_SMALLEST = 1e-300  # in place of a zero, by which a continued fraction would divide
_PRECISION = 1e-15
_MOST_STEPS = 1000  # it takes about the square root of the degrees of freedom


def normal_tail(value: float) -> float:
    """Return P(Z > value) of a standard normal Z."""
    return math.erfc(value / math.sqrt(2)) / 2


def normal_critical(alpha: float) -> float:
    """Return what a standard normal exceeds with probability `alpha`, in (0, 1)."""
    return -_NORMAL.inv_cdf(alpha)


def student_two_tails(value: float, n_free: float) -> float:
    """Return P(|T| > |value|) of Student's T.

    Args:
        value: May be infinite.
        n_free: Degrees of freedom, positive, not necessarily whole.

    Source: Abramowitz & Stegun (1964), 26.5.27; from 1,000 degrees on Hill (1970), Algorithm 395.
    """
    if math.isinf(value):
        return 0.0
    squared = value * value / n_free
    if math.isinf(squared):
        return 0.0
    if n_free >= _SERIES_FROM:
        return 2 * normal_tail(_as_normal(squared, n_free))
    rest, share = 1 / (1 + squared), squared / (1 + squared)
    if rest < (n_free + 2) / (n_free + 5):  # where the fraction converges fast
        return _incomplete_beta(rest, share, n_free / 2, 0.5)
    return 1 - _incomplete_beta(share, rest, 0.5, n_free / 2)


def student_critical(alpha: float, n_free: float) -> float:
    """Return what Student's |T| exceeds with probability `alpha`, in (0, 1).

    The log of the probability is a falling, concave function of the log of the value: Newton's
    steps arrive from wherever they begin.
    """
    log_value = math.log(normal_critical(alpha / 2))
    log_constant = math.lgamma((n_free + 1) / 2) - math.lgamma(n_free / 2)
    for _ in range(100):
        value = math.exp(log_value)
        tails = student_two_tails(value, n_free)
        log_density = log_constant - (n_free + 1) / 2 * math.log1p(value * value / n_free)
        density = 2 * math.exp(log_density) / math.sqrt(n_free * math.pi)
        step = math.log(tails / alpha) * tails / (value * density)
        log_value += step
        if abs(step) < _PRECISION * 10:
            break
    return math.exp(log_value)


def chi_square_tail(value: float, n_free: int) -> float:
    """Return P(X > value) of a chi-square X with `n_free` degrees of freedom, a whole number.

    Source: Abramowitz & Stegun (1964), 26.4.4 and 26.4.5: a finite sum.
    """
    half = value / 2
    power = n_free % 2 / 2
    total = math.erfc(math.sqrt(half)) if n_free % 2 else 0.0
    while power < n_free / 2:
        if half or power == 0:
            log_term = power * math.log(half) if power else 0.0
            total += math.exp(log_term - half - math.lgamma(power + 1))
        power += 1
    return min(total, 1.0)


def kolmogorov_tail(distance: float, n_values: int) -> float:
    """Return P(D > distance) of the largest distance between an empirical and its true CDF.

    Source: Stephens (1970), Use of the Kolmogorov-Smirnov, Cramer-von Mises and Related Statistics
    Without Extensive Tables.
    """
    root = math.sqrt(n_values)
    scaled = (root + 0.12 + 0.11 / root) * distance
    if scaled < 0.2:
        return 1.0  # to 12 digits; the series converges slowly there
    signs = (1.0, -1.0)
    terms = (signs[k % 2] * math.exp(-2 * ((k + 1) * scaled) ** 2) for k in range(100))
    return min(max(2 * sum(terms), 0.0), 1.0)


def _as_normal(squared: float, n_free: float) -> float:
    """Return the standard normal value with the tail of Student's sqrt(squared * n_free)."""
    a = n_free - 0.5
    b = 48 * a * a
    y = a * math.log1p(squared)
    series = ((((-0.4 * y - 3.3) * y - 24) * y - 85.5) / (0.8 * y * y + 100 + b) + y + 3) / b + 1
    return series * math.sqrt(y)


def _incomplete_beta(x: float, rest: float, a: float, b: float) -> float:
    """Return the regularised incomplete beta function at x, with rest = 1 - x.

    Source: Abramowitz & Stegun (1964), 26.5.8, by the modified Lentz method (Press et al. 2007,
    Numerical Recipes, 6.4).
    """
    if x == 0:
        return 0.0
    above, below = 1.0, 1 / _not_zero(1 - (a + b) * x / (a + 1))
    fraction = below
    for m in range(1, _MOST_STEPS):
        even = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m))
        odd = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))
        for term in (even, odd):
            below = 1 / _not_zero(1 + term * below)
            above = _not_zero(1 + term / above)
            fraction *= above * below
        if abs(above * below - 1) < _PRECISION:
            break
    log_scale = math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b)
    return math.exp(log_scale + a * math.log(x) + b * math.log(rest)) / a * fraction


def _not_zero(value: float) -> float:
    return value if abs(value) > _SMALLEST else _SMALLEST
