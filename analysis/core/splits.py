"""A/A experiments without users: one arm's users split again and again, where no effect can be."""

import dataclasses
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from analysis.core.distributions import kolmogorov_tail
from analysis.core.moments import RatioMoments, linearise
from analysis.core.welch import analyze

Floats = npt.NDArray[np.float64]


@dataclasses.dataclass(frozen=True)
class SplitResult:
    """How often a test finds a difference between halves of the same users.

    Attributes:
        metric: Name of the metric.
        n_users: Split in two.
        n_splits: That gave a test.
        false_positives: Share of them whose p-value was below alpha.
        error: Its Monte Carlo standard error.
        uniformity: P-value of the Kolmogorov-Smirnov test that p-values are uniform.
    """

    metric: str
    n_users: int
    n_splits: int
    false_positives: float | None = None
    error: float | None = None
    uniformity: float | None = None


def split_again(
    metric: str,
    numerator: Floats,
    denominator: Floats,
    *,
    n_splits: int,
    alpha: float,
    generator: np.random.Generator,
) -> SplitResult:
    """Split users at random, each with a fair coin, and test each split.

    Args:
        metric: Name of the metric.
        numerator: Per user, shape (n_users,).
        denominator: Per user, same shape; 1 for a metric that is a mean.
        n_splits: How often.
        alpha: Level of the test.
        generator: Of the coins.
    """
    p_values = []
    for _ in range(n_splits):
        treated = generator.random(len(numerator)) < 0.5
        arms = [
            linearise(_moments(numerator[side], denominator[side])) for side in (~treated, treated)
        ]
        if min(arm.n_users for arm in arms) < 2 or not any(arm.variance for arm in arms):
            continue
        p_value, *_ = analyze(*arms, alpha=alpha)
        if p_value is not None:
            p_values.append(p_value)
    if not p_values:
        return SplitResult(metric, len(numerator), 0)
    share = float(np.mean(np.array(p_values) < alpha))
    return SplitResult(
        metric,
        len(numerator),
        len(p_values),
        false_positives=share,
        error=float(np.sqrt(share * (1 - share) / len(p_values))),
        uniformity=kolmogorov_tail(_distance_from_uniform(p_values), len(p_values)),
    )


def _distance_from_uniform(values: Sequence[float]) -> float:
    """Return the largest distance between the values' share below a number and that number."""
    steps = np.arange(len(values) + 1) / len(values)
    ordered = np.sort(values)
    return float(max((steps[1:] - ordered).max(), (ordered - steps[:-1]).max()))


def _moments(numerator: Floats, denominator: Floats) -> RatioMoments:
    if len(numerator) < 2:
        return RatioMoments(n_users=0)
    spread = np.cov(numerator, denominator)
    return RatioMoments(
        n_users=len(numerator),
        numerator_mean=float(numerator.mean()),
        denominator_mean=float(denominator.mean()),
        numerator_variance=float(spread[0, 0]),
        denominator_variance=float(spread[1, 1]),
        numerator_denominator=float(spread[0, 1]),
    )
