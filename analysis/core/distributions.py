"""Distribution functions of the tests, from `scipy.special`.

`scipy.stats` has the same ones, but importing it takes a second, which every command would pay.
"""

import math

from scipy.special import chdtrc, ndtr, ndtri, stdtr, stdtrit


def normal_quantile(probability: float) -> float:
    """Return what a standard normal is below with this probability."""
    return float(ndtri(probability))


def normal_cdf(value: float) -> float:
    """Return the probability that a standard normal is below a value."""
    return float(ndtr(value))


def t_quantile(probability: float, n_free: float) -> float:
    """Return what Student's t of `n_free` degrees of freedom is below with this probability."""
    return float(stdtrit(n_free, probability))


def two_sided_t_p_value(statistic: float, n_free: float) -> float:
    """Return the probability that Student's t is at least as far from zero."""
    return 2 * float(stdtr(n_free, -abs(statistic)))


def chi_square_p_value(statistic: float, n_free: int) -> float:
    """Return the probability that a chi-square of `n_free` degrees of freedom is at least that."""
    return float(chdtrc(n_free, statistic)) if math.isfinite(statistic) else math.nan
