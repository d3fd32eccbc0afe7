"""The value of whole sessions from logged ones: a product of weights per step."""

import numpy as np
import numpy.typing as npt

from analysis.core.off_policy import (
    Array,
    OffPolicyEstimate,
    check_support,
    summarise,
)


def estimate_session(
    reward: Array,
    weights: Array,
    *,
    users: npt.NDArray[np.int64],
    self_normalised: bool,
    alpha: float = 0.05,
) -> OffPolicyEstimate:
    """Estimate what sessions earn in their first steps under the target policy.

    The reward of a step is weighted by the product of the weights up to it: how much likelier the
    target was to lead there. What comes after a step does not weigh on it.

    Args:
        reward: Of each step, shape (n_sessions, horizon); 0 once a session is over.
        weights: Of each step alone, same shape; 1 once a session is over.
        users: Whose session; those of one user are not independent.
        self_normalised: Whether each step's weights are divided by their mean.
        alpha: The interval has level 1 - alpha.

    Raises:
        NoSupportError: As `estimate_ips`, by the weights of the last step.

    Source: Precup, Sutton & Singh (2000), Eligibility Traces for Off-Policy Policy Evaluation.
    """
    so_far: Array = np.cumprod(weights, axis=1).astype(np.float64)
    check_support(so_far[:, -1], users, unit="sessions")
    if not self_normalised:
        values = (so_far * reward).sum(axis=1)
        return summarise(
            "ips", values, np.ones_like(values), weights=so_far[:, -1], users=users, alpha=alpha
        )
    means = so_far.mean(axis=0)
    value = (so_far * reward).mean(axis=0) / means
    # Linearised: each session's share in the sum of ratios, which has the same value and variance.
    shares = ((so_far * (reward - value)) / means).sum(axis=1) + value.sum()
    return summarise(
        "snips", shares, np.ones_like(shares), weights=so_far[:, -1], users=users, alpha=alpha
    )
