"""How many users an experiment needs, and which effect it can see."""

import math

from analysis.core.distributions import normal_critical, normal_tail
from analysis.core.moments import MetricAggregate

POWER = 0.8  # usual; Cohen (1988), Statistical Power Analysis


def estimate_power(
    control: MetricAggregate, treated: MetricAggregate, *, effect_pct: float, alpha: float
) -> float | None:
    """Return the probability that the fixed-horizon test sees a relative change.

    Args:
        control: Of the control.
        treated: Of the treatment: its users and variance as they are now.
        effect_pct: Relative change of the control mean, in percent.
        alpha: Level of the two-sided test.

    Returns:
        In [alpha, 1]; None where a mean or a variance is not defined.
    """
    error = _relative_error(control, treated)
    if error is None:
        return None
    critical = normal_critical(alpha / 2)
    shift = abs(effect_pct) / 100 / error
    return normal_tail(critical - shift) + normal_tail(critical + shift)


def minimum_detectable_pct(
    control: MetricAggregate,
    treated: MetricAggregate,
    *,
    alpha: float,
    power: float = POWER,
) -> float | None:
    """Return the relative change, in percent, that is seen with probability `power`."""
    error = _relative_error(control, treated)
    if error is None:
        return None
    quantiles = normal_critical(alpha / 2) + normal_critical(1 - power)
    change = 100 * quantiles * error
    return change if math.isfinite(change) else None


def required_users(
    history: MetricAggregate, *, effect_pct: float, alpha: float, power: float = POWER
) -> int | None:
    """Return the users that each of two arms needs to see a relative change.

    Args:
        history: Of users as the experiment will have, over as many days.
        effect_pct: Relative change, in percent.
        alpha: Level of the two-sided test.
        power: Probability of seeing it.

    Returns:
        None where the history has no mean or no variance.
    """
    if not history.mean or history.variance is None or not effect_pct:
        return None
    difference = history.mean * effect_pct / 100
    quantiles = normal_critical(alpha / 2) + normal_critical(1 - power)
    n_users = 2 * history.variance * (quantiles / difference) ** 2
    return max(2, math.ceil(n_users)) if math.isfinite(n_users) else None


def _relative_error(control: MetricAggregate, treated: MetricAggregate) -> float | None:
    """Return the standard error of the difference, relative to the control mean."""
    if not control.mean or control.variance is None or treated.variance is None:
        return None
    variance = control.variance / control.n_users + treated.variance / treated.n_users
    error = math.sqrt(variance) / abs(control.mean)
    return error if 0 < error < math.inf else None
