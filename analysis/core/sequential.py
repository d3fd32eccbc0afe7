"""Intervals and tests that stay valid however often one looks.

A fixed-horizon interval is right at one look planned beforehand; whoever looks every day and stops
when it excludes zero errs far more often than alpha. These hold at all looks at once.

The estimate is the log of the ratio of means, with its delta-method variance V. As users and
sessions come in, estimate / V is, for large samples, a Brownian motion with drift in the time 1/V
(the information), whether it grows by new users or by more sessions of the same. Robbins' normal
mixture of that process, with mixing variance tau**2, exceeds 1/alpha with probability at most
alpha, ever.

What it assumes: samples large enough for the central limit theorem from the first look on (heavy
tails: see the smallest exposure in decisions.py, and docs/statistics.md for where it holds), and a
tau that was chosen before the data. tau is the effect worth detecting: there the interval is close
to its narrowest.

Source: Robbins (1970), Statistical Methods Related to the Law of the Iterated Logarithm; Howard,
Ramdas, McAuliffe & Sekhon (2021), Time-uniform, Nonparametric, Nonasymptotic Confidence Sequences,
section 3.2; Waudby-Smith, Arbour, Sinha, Kennedy & Ramdas (2024), Time-uniform Central Limit
Theory and Asymptotic Confidence Sequences, theorem 2.2. Jennison & Turnbull (1997),
Group-Sequential Analysis Incorporating Covariate Information, for the time 1/V.
"""

import dataclasses
import math

from analysis.core.moments import MetricAggregate


@dataclasses.dataclass(frozen=True)
class AnytimeInterval:
    """What can be said of a relative change at this look, valid at all looks together.

    Attributes:
        lower_pct, upper_pct: Of the relative change of the mean, in percent.
        p_value: Of no change; valid at any look, also one chosen because of the data.
    """

    lower_pct: float
    upper_pct: float
    p_value: float


def estimate_anytime(
    control: MetricAggregate, treated: MetricAggregate, *, alpha: float, worthwhile_pct: float
) -> AnytimeInterval | None:
    """Estimate a relative change for a look at any time.

    Args:
        control: Of the control.
        treated: Of the treatment.
        alpha: Probability that any of the intervals, over all looks, misses the truth.
        worthwhile_pct: Relative change worth detecting, in percent; chosen before the data.

    Returns:
        None where the logarithm of a mean, or its variance, is not defined.
    """
    located = log_ratio(control, treated)
    if located is None or located[1] <= 0:
        return None
    estimate, variance = located
    mixing = math.log1p(worthwhile_pct / 100) ** 2
    half_width = mixture_half_width(variance, mixing=mixing, alpha=alpha)
    evidence = 0.5 * (
        math.log(variance / (variance + mixing))
        + estimate**2 / variance * mixing / (variance + mixing)
    )
    try:
        lower, upper = (math.expm1(estimate + sign * half_width) for sign in (-1, 1))
    except OverflowError:
        return None
    return AnytimeInterval(100 * lower, 100 * upper, math.exp(-max(evidence, 0.0)))


def mixture_half_width(variance: float, *, mixing: float, alpha: float) -> float:
    """Return half the width of the confidence sequence at a look.

    Args:
        variance: Of the estimate at this look.
        mixing: Variance of the normal mixture, in the same unit.
        alpha: Probability that the sequence ever misses the truth.
    """
    grown = (variance + mixing) / variance
    return math.sqrt(
        variance * (variance + mixing) / mixing * (math.log(grown) + 2 * math.log(1 / alpha))
    )


def log_ratio(control: MetricAggregate, treated: MetricAggregate) -> tuple[float, float] | None:
    """Return the log of the ratio of means and its variance; None where not defined."""
    variance = 0.0
    logarithms = []
    for arm in (control, treated):
        if arm.n_users < 2 or arm.mean is None or arm.variance is None or arm.mean <= 0:
            return None
        # Divided twice: the square of a small mean would underflow.
        variance += arm.variance / arm.mean / arm.mean / arm.n_users
        logarithms.append(math.log(arm.mean))
    if not math.isfinite(variance):
        return None
    return logarithms[1] - logarithms[0], variance
