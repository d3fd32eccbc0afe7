"""What another policy would have earned, from the log of the one that served.

Every exposure was drawn with a known probability, its propensity. Weighted by how much likelier the
target policy was to serve the same track, logged rewards estimate the target's mean reward per
exposure, in the contexts that the log holds. They say nothing of contexts that only the target
would have led to: a session under it goes elsewhere.
"""

import dataclasses
import math

import numpy as np
import numpy.typing as npt

from analysis.core.distributions import normal_critical

Array = npt.NDArray[np.float64]

# Below it, an estimate rests on a handful of exposures. Source: Owen (2013), Monte Carlo Theory,
# Methods and Examples, section 9.3, for the measure; the bounds are ours.
MIN_EFFECTIVE_EXPOSURES = 100.0
MAX_UNSUPPORTED_SHARE = 0.05
MEAN_WEIGHT_Z = 4.0  # standard errors that the mean weight may be from 1


class NoSupportError(ValueError):
    """A log that cannot say what the target would earn; the message says why."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class OffPolicyEstimate:
    """The mean reward per exposure of a policy that did not serve.

    Attributes:
        method: `ips`, `snips`, `clipped` or `dr`; `logged` of the log's own policy.
        value: The estimate, in units of the reward.
        lower, upper: Its confidence interval.
        n_exposures: Logged; of sessions, how many.
        n_effective: Exposures of the target's own that would be worth as much.
        largest_weight: Of an exposure.
        unsupported_share: Target probability on tracks that the log could not have served.
    """

    method: str
    value: float
    lower: float
    upper: float
    n_exposures: int
    n_effective: float
    largest_weight: float
    unsupported_share: float


def importance_weights(target: Array, propensity: Array, *, clip: float = math.inf) -> Array:
    """Weight exposures so that logged rewards estimate the target policy.

    Args:
        target: P(served track) under the target policy, shape (n_exposures,).
        propensity: The same under the serving policy, shape (n_exposures,).
        clip: Largest weight, unitless.

    Returns:
        Weights in [0, clip], shape (n_exposures,).

    Raises:
        ValueError: If a propensity is not in (0, 1], a target not in [0, 1], or shapes differ.

    Source: Ionides (2008), Truncated Importance Sampling.
    """
    if target.shape != propensity.shape or target.ndim != 1:
        raise ValueError(f"target {target.shape} and propensity {propensity.shape} differ in shape")
    if not ((propensity > 0) & (propensity <= 1)).all():
        raise ValueError("a propensity is not in (0, 1]")
    if not ((target >= 0) & (target <= 1)).all():
        raise ValueError("a target probability is not in [0, 1]")
    return np.minimum(target / propensity, clip)


def estimate_ips(
    reward: Array, weights: Array, *, users: npt.NDArray[np.integer], alpha: float = 0.05
) -> OffPolicyEstimate:
    """Estimate by inverse propensity: unbiased, and noisy where weights vary.

    Args:
        reward: Of each exposure, shape (n_exposures,).
        weights: As of `importance_weights`, unclipped.
        users: Whose exposure; those of one user are not independent.
        alpha: The interval has level 1 - alpha.

    Raises:
        NoSupportError: If the weights show that the log does not hold what the target does.

    Source: Horvitz & Thompson (1952), A Generalization of Sampling Without Replacement.
    """
    check_support(weights, users)
    ones = np.ones_like(weights)
    return summarise("ips", weights * reward, ones, weights=weights, users=users, alpha=alpha)


def estimate_snips(
    reward: Array, weights: Array, *, users: npt.NDArray[np.integer], alpha: float = 0.05
) -> OffPolicyEstimate:
    """Estimate by weights that are divided by their sum: a little bias, far less noise.

    Arguments and errors as of `estimate_ips`.

    Source: Swaminathan & Joachims (2015), The Self-Normalized Estimator for Counterfactual
    Learning.
    """
    check_support(weights, users)
    return summarise("snips", weights * reward, weights, weights=weights, users=users, alpha=alpha)


def estimate_clipped(
    reward: Array, weights: Array, *, users: npt.NDArray[np.integer], alpha: float = 0.05
) -> OffPolicyEstimate:
    """Estimate as `estimate_snips`, no weight above the root of the number of exposures.

    The least noise where a few weights are huge, and a bias that its interval knows nothing of.

    Arguments and errors as of `estimate_ips`.

    Source: Ionides (2008), Truncated Importance Sampling, for the bound.
    """
    check_support(weights, users)
    clipped = np.minimum(weights, math.sqrt(len(weights)))
    return summarise(
        "clipped", clipped * reward, clipped, weights=clipped, users=users, alpha=alpha
    )


def estimate_doubly_robust(
    reward: Array,
    weights: Array,
    *,
    predicted: Array,
    predicted_target: Array,
    users: npt.NDArray[np.integer],
    alpha: float = 0.05,
) -> OffPolicyEstimate:
    """Estimate by a model of the reward, whose error on the log is weighted and added.

    Right if either the propensities or the model are; the better the model, the less the noise.
    The model must not have been fitted to these exposures.

    Args:
        reward: Of each exposure, shape (n_exposures,).
        weights: As of `importance_weights`.
        predicted: Reward that the model expects of the served track, shape (n_exposures,).
        predicted_target: Reward that it expects of the target's own choice there: the mean over
            tracks, by the target's probabilities; shape (n_exposures,).
        users: Whose exposure.
        alpha: The interval has level 1 - alpha.

    Raises:
        NoSupportError: As `estimate_ips`.

    Source: Dudik, Langford & Li (2011), Doubly Robust Policy Evaluation and Learning.
    """
    check_support(weights, users)
    values = predicted_target + weights * (reward - predicted)
    ones = np.ones_like(weights)
    return summarise("dr", values, ones, weights=weights, users=users, alpha=alpha)


def effective_exposures(weights: Array) -> float:
    """Return how many unweighted exposures are worth as much (Kish).

    Source: Kish (1965), Survey Sampling.
    """
    total = float(weights.sum())
    return total**2 / float(weights @ weights) if total > 0 else 0.0


def check_support(
    weights: Array, users: npt.NDArray[np.integer], *, unit: str = "exposures"
) -> None:
    """Refuse weights that say the log does not hold what the target does.

    Where the target serves tracks that the log could not have served, their probability is missing
    from the mean weight, which then falls short of 1.

    Raises:
        NoSupportError: If it does, or few units' worth are left.
    """
    if len(weights) == 0:
        raise NoSupportError("no exposure with a propensity")
    n_effective = effective_exposures(weights)
    if n_effective < MIN_EFFECTIVE_EXPOSURES:
        raise NoSupportError(
            f"the {len(weights):,} {unit} are worth {n_effective:,.0f} of the target's own, "
            f"of the {MIN_EFFECTIVE_EXPOSURES:g} that it takes: the policies choose too differently"
        )
    mean, error = _clustered_ratio(weights, np.ones_like(weights), users)
    missing = 1 - mean
    if missing > MAX_UNSUPPORTED_SHARE and missing > MEAN_WEIGHT_Z * error:
        raise NoSupportError(
            f"{100 * missing:.0f}% of what the target serves was never to be served by the log's "
            "policy: nothing is known of it"
        )


def summarise(
    method: str,
    numerator: Array,
    denominator: Array,
    *,
    weights: Array,
    users: npt.NDArray[np.integer],
    alpha: float,
) -> OffPolicyEstimate:
    """Estimate a ratio of sums, with its interval and how well the weights support it.

    Args:
        method: What it is called.
        numerator, denominator: Of each unit, shape (n,).
        weights: Of each unit.
        users: Whose unit; units of one user are not independent.
        alpha: The interval has level 1 - alpha.
    """
    value, error = _clustered_ratio(numerator, denominator, users)
    half_width = normal_critical(alpha / 2) * error
    return OffPolicyEstimate(
        method=method,
        value=value,
        lower=value - half_width,
        upper=value + half_width,
        n_exposures=len(weights),
        n_effective=effective_exposures(weights),
        largest_weight=float(weights.max()),
        unsupported_share=max(0.0, 1 - float(weights.mean())),
    )


def _clustered_ratio(
    numerator: Array, denominator: Array, users: npt.NDArray[np.integer]
) -> tuple[float, float]:
    """Return the ratio of sums and its standard error; users are independent, exposures not."""
    _, cluster = np.unique(users, return_inverse=True)
    n_users = int(cluster.max()) + 1
    ratio = float(numerator.sum() / denominator.sum())
    residuals = np.bincount(cluster, weights=numerator - ratio * denominator)
    if n_users < 2:
        raise NoSupportError("one user: the error of an estimate is unknown")
    variance = n_users / (n_users - 1) * float(residuals @ residuals)
    return ratio, math.sqrt(variance) / abs(float(denominator.sum()))
