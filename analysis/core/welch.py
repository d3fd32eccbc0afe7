"""Welch's test of two means, and the interval of their ratio."""

import math

import numpy as np
import numpy.typing as npt

from analysis.core.distributions import student_critical, student_two_tails
from analysis.core.moments import MetricAggregate

Floats = npt.NDArray[np.float64]


def analyze(
    control: MetricAggregate, treated: MetricAggregate, *, alpha: float
) -> tuple[float | None, float | None, float | None]:
    """Return Welch's p-value and the bounds of the relative change in percent, each if defined."""
    with np.errstate(all="ignore"):  # what overflows is not finite, and None
        lower, upper = _ratio_bounds(control, treated, alpha=alpha)
        p_value = _welch_p_value(control, treated)
    if lower is None or upper is None:
        lower = upper = None
    return p_value, lower, upper


def _ratio_bounds(
    control: MetricAggregate, treated: MetricAggregate, *, alpha: float
) -> tuple[float | None, float | None]:
    """Return the bounds of the relative change in percent, each if defined.

    The log of the ratio of means has the sum of their squared relative errors as its variance, to
    the first order; its degrees of freedom are Welch's of these errors.

    Source: Deng, Knoblich & Lu (2018), Applying the Delta Method in Metric Analytics.
    """
    arms = (control, treated)
    n_users = np.array([arm.n_users for arm in arms], dtype=float)
    means = np.array([arm.mean or 0.0 for arm in arms])
    variances = np.array([arm.variance or 0.0 for arm in arms])
    if np.sign(means).prod() <= 0:
        return None, None
    errors = variances / means / means / n_users
    n_free = _degrees_of_freedom(errors, n_users)
    if not n_free > 0:
        return None, None
    half_width = student_critical(alpha, n_free) * np.sqrt(errors.sum())
    bounds = means[1] / means[0] * np.exp([-half_width, half_width])
    return finite(100 * (bounds[0] - 1)), finite(100 * (bounds[1] - 1))


def _welch_p_value(control: MetricAggregate, treated: MetricAggregate) -> float | None:
    n_users = np.array([control.n_users, treated.n_users], dtype=float)
    errors = np.array([control.variance or 0.0, treated.variance or 0.0]) / n_users
    n_free = _degrees_of_freedom(errors, n_users)
    difference = (treated.mean or 0.0) - (control.mean or 0.0)
    value = float(difference / np.sqrt(errors.sum()))
    return student_two_tails(value, n_free) if n_free > 0 and not math.isnan(value) else None


def _degrees_of_freedom(errors: Floats, n_users: Floats) -> float:
    """Return Welch's degrees of freedom of a sum of squared errors, one of each arm."""
    shares = errors / errors.sum()
    return float(1 / (shares**2 / (n_users - 1)).sum())


def finite(value: float) -> float | None:
    """Return a number, or None in place of what is not finite."""
    return float(value) if math.isfinite(value) else None
