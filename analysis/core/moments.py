"""A metric in one arm: the few numbers that SQL computes over its users."""

import dataclasses
import math


@dataclasses.dataclass(frozen=True)
class MetricAggregate:
    """A metric in one arm, over its users.

    Attributes:
        n_users: Users that have the metric.
        mean: Over users; None without any.
        variance: Over users, unbiased; None for fewer than two.
        covariate_mean: Of the same metric before the first exposure; None without history.
        covariate_variance: Over users, unbiased.
        covariance: Of the metric and its covariate, unbiased.
    """

    n_users: int
    mean: float | None = None
    variance: float | None = None
    covariate_mean: float | None = None
    covariate_variance: float | None = None
    covariance: float | None = None


@dataclasses.dataclass(frozen=True, kw_only=True)
class RatioMoments:
    """Means and covariances over users of a numerator, a denominator and a covariate.

    A metric that is a mean over users is the case of a denominator that is 1 for everybody.

    Attributes:
        n_users: Users that have the metric.
        numerator_mean, denominator_mean: None without users.
        numerator_variance, denominator_variance, numerator_denominator: Unbiased; None for
            fewer than two users.
        covariate_mean, covariate_variance: Of the covariate; None without history.
        numerator_covariate, denominator_covariate: Covariances with it.
    """

    n_users: int
    numerator_mean: float | None = None
    denominator_mean: float | None = None
    numerator_variance: float | None = None
    denominator_variance: float | None = None
    numerator_denominator: float | None = None
    covariate_mean: float | None = None
    covariate_variance: float | None = None
    numerator_covariate: float | None = None
    denominator_covariate: float | None = None


def linearise(moments: RatioMoments) -> MetricAggregate:
    """Turn a ratio of sums into a mean over users that has the same value and variance.

    With R the ratio, user i stands for R + (numerator_i - R * denominator_i) / mean denominator:
    the delta method. What holds of means then holds of ratios.

    Source: Budylin et al. (2018), Consistent Transformation of Ratio Metrics; Deng, Knoblich &
    Lu (2018), Applying the Delta Method in Metric Analytics.
    """
    m = moments
    if m.n_users == 0 or m.numerator_mean is None or not m.denominator_mean:
        return MetricAggregate(0)
    ratio = m.numerator_mean / m.denominator_mean
    return MetricAggregate(
        m.n_users,
        _finite(ratio),
        _variance(m, ratio, m.denominator_mean),
        m.covariate_mean,
        m.covariate_variance,
        _covariance(m, ratio, m.denominator_mean),
    )


def _variance(m: RatioMoments, ratio: float, scale: float) -> float | None:
    if m.numerator_variance is None:
        return None
    crossed = 2 * ratio * (m.numerator_denominator or 0.0)
    spread = m.numerator_variance - crossed + ratio**2 * (m.denominator_variance or 0.0)
    return _finite(max(spread, 0.0) / scale**2)


def _covariance(m: RatioMoments, ratio: float, scale: float) -> float | None:
    if m.numerator_covariate is None:
        return None
    return _finite((m.numerator_covariate - ratio * (m.denominator_covariate or 0.0)) / scale)


def adjust_for_history(
    control: MetricAggregate, treated: MetricAggregate
) -> tuple[MetricAggregate, MetricAggregate] | None:
    """Take out of both arms what their users' history explains (CUPED).

    One slope for both arms: what came before the exposure cannot depend on the treatment, so
    that the difference of means estimates the same effect with less variance.

    Returns:
        The adjusted arms; None without history, or where it explains nothing because it is
        the same for everybody.

    Source: Deng, Xu, Kohavi & Walker (2013), Improving the Sensitivity of Online Controlled
    Experiments by Utilizing Pre-Experiment Data.
    """
    arms = (control, treated)
    spread = _pool([(arm.n_users, arm.covariate_variance) for arm in arms])
    shared = _pool([(arm.n_users, arm.covariance) for arm in arms])
    if not spread or shared is None:
        return None
    slope = shared / spread
    n_users = sum(arm.n_users for arm in arms)
    centre = sum(arm.n_users * (arm.covariate_mean or 0.0) for arm in arms) / n_users
    return _adjust(control, slope, centre), _adjust(treated, slope, centre)


def _pool(terms: list[tuple[int, float | None]]) -> float | None:
    """Pool variances or covariances within arms; None if an arm has none."""
    total = 0.0
    for n_users, value in terms:
        if value is None:
            return None
        total += (n_users - 1) * value
    return total / (sum(n_users for n_users, _ in terms) - len(terms))


def _adjust(arm: MetricAggregate, slope: float, centre: float) -> MetricAggregate:
    if arm.mean is None or arm.variance is None:
        return arm
    spread = (arm.covariate_variance or 0.0) * slope**2 - 2 * slope * (arm.covariance or 0.0)
    return MetricAggregate(
        arm.n_users,
        arm.mean - slope * ((arm.covariate_mean or 0.0) - centre),
        max(arm.variance + spread, 0.0),
    )


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
