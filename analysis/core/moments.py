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
    """Take out of each arm what its users' history explains (CUPED).

    Each arm has its own slope b: where a treatment multiplies what listeners do it multiplies the
    slope too, and one slope for both would take from the control what is small for the treatment
    and more than the control has. Each mean is then what the arm's would be with the users of
    both, whose mean history has a variance too: the log of the ratio of means m gets

        (b_t / m_t - b_c / m_c)^2 var(history) / n

    which is nothing without effect, and where the effect is a factor.

    Returns:
        The adjusted arms; None without history, or where it explains nothing because it is
        the same for everybody.

    Source: Deng, Xu, Kohavi & Walker (2013), Improving the Sensitivity of Online Controlled
    Experiments by Utilizing Pre-Experiment Data; Lin (2013), Agnostic Notes on Regression
    Adjustments to Experimental Data, for a slope per arm.
    """
    slopes = _slope(control), _slope(treated)
    if slopes[0] is None or slopes[1] is None:
        return None
    n_users = control.n_users + treated.n_users
    centre, spread = (
        (control.n_users * of_control + treated.n_users * of_treated) / n_users
        for of_control, of_treated in (
            (control.covariate_mean or 0.0, treated.covariate_mean or 0.0),
            (control.covariate_variance or 0.0, treated.covariate_variance or 0.0),
        )
    )
    adjusted = _adjust(control, slopes[0], centre), _adjust(treated, slopes[1], centre)
    added = _variance_of_history(adjusted, (slopes[0], slopes[1])) * spread / n_users
    return adjusted[0], _widen(adjusted[1], added)


def _slope(arm: MetricAggregate) -> float | None:
    if arm.covariance is None or not arm.covariate_variance:
        return None
    return arm.covariance / arm.covariate_variance


def _adjust(arm: MetricAggregate, slope: float, centre: float) -> MetricAggregate:
    if arm.mean is None or arm.variance is None:
        return arm
    spread = (arm.covariate_variance or 0.0) * slope**2 - 2 * slope * (arm.covariance or 0.0)
    return MetricAggregate(
        arm.n_users,
        arm.mean - slope * ((arm.covariate_mean or 0.0) - centre),
        max(arm.variance + spread, 0.0),
    )


def _variance_of_history(
    arms: tuple[MetricAggregate, MetricAggregate], slopes: tuple[float, float]
) -> float:
    """Return what a variance of 1 of the shared mean history adds to the treated mean's."""
    control, treated = arms
    if not control.mean or not treated.mean:
        return 0.0
    apart = slopes[1] - slopes[0] * (treated.mean / control.mean)
    return apart * apart


def _widen(arm: MetricAggregate, added: float) -> MetricAggregate:
    """Add to the variance of an arm's mean."""
    if arm.variance is None or not math.isfinite(added):
        return arm
    return dataclasses.replace(arm, variance=arm.variance + arm.n_users * added)


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
