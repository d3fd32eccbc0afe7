"""The paired comparison: the same sessions, served by two recommenders.

User, interest, first track and patience are the same on both sides, so that what the sessions have
in common cancels in the differences. A user's sessions are not independent of each other: standard
errors are of sums over users (cluster-robust, with the factor n_users / (n_users - 1)).

Source: Cameron and Miller (2015), A Practitioner's Guide to Cluster-Robust Inference.
"""

import msgspec
import numpy as np

from simulator.core.draws import FloatArray
from simulator.core.listeners import IntArray
from simulator.core.summary import Z95


class Effect(msgspec.Struct, frozen=True, kw_only=True):
    """A difference of means with its 95% interval, and what pairing was worth.

    Attributes:
        estimate, lower, upper: The difference, or what `ratio` is of it.
        standard_error: Of the paired difference.
        margin: Half the width of the interval.
        unpaired_error, unpaired_margin: Were the two sides of different users and draws.
        variance_reduction: 1 - (standard_error / unpaired_error)**2.
    """

    estimate: float
    lower: float
    upper: float
    standard_error: float
    margin: float
    unpaired_error: float
    unpaired_margin: float
    variance_reduction: float


class PairedComparison(msgspec.Struct, frozen=True, kw_only=True):
    """Sessions before and after.

    Attributes:
        n_sessions, n_users: Compared.
        mean_before, mean_after: Time per session.
        geometric_before, geometric_after: Its geometric means.
        difference: Of the mean times.
        log_ratio: Of the mean logarithms of time: robust where a few sessions are very long.
        correlation: Of the two times of a session.
        better, same, worse: Shares of sessions.
    """

    n_sessions: int
    n_users: int
    mean_before: float
    mean_after: float
    geometric_before: float
    geometric_after: float
    difference: Effect
    log_ratio: Effect
    correlation: float
    better: float
    same: float
    worse: float

    @property
    def ratio(self) -> tuple[float, float, float]:
        """Ratio of the geometric means of time, and its 95% interval."""
        log = self.log_ratio
        ratio, lower, upper = np.exp([log.estimate, log.lower, log.upper]).tolist()
        return ratio, lower, upper


def compare_pairs(users: IntArray, before: FloatArray, after: FloatArray) -> PairedComparison:
    """Compare the same sessions under two recommenders.

    Args:
        users: Of each session, shape (n_sessions,).
        before: Time of each session, at least 1, the same shape.
        after: The same, under the other recommender.

    Raises:
        ValueError: If there are fewer than two users.
    """
    _, cluster = np.unique(users, return_inverse=True)
    n_users = int(cluster.max()) + 1 if len(cluster) else 0
    if n_users < 2:
        raise ValueError("a comparison takes the sessions of two users at least")
    varies = bool(before.std() > 0 and after.std() > 0)
    return PairedComparison(
        n_sessions=len(users),
        n_users=n_users,
        mean_before=float(before.mean()),
        mean_after=float(after.mean()),
        geometric_before=float(np.exp(np.log(before).mean())),
        geometric_after=float(np.exp(np.log(after).mean())),
        difference=_estimate_effect(cluster, before, after),
        log_ratio=_estimate_effect(cluster, np.log(before), np.log(after)),
        correlation=float(np.corrcoef(before, after)[0, 1]) if varies else float("nan"),
        better=float((after > before).mean()),
        same=float((after == before).mean()),
        worse=float((after < before).mean()),
    )


def _estimate_effect(
    cluster: np.ndarray[tuple[int], np.dtype[np.intp]], before: FloatArray, after: FloatArray
) -> Effect:
    estimate = float((after - before).mean())
    paired = _variance_of_mean(cluster, after - before)
    unpaired = _variance_of_mean(cluster, before) + _variance_of_mean(cluster, after)
    margin = Z95 * paired**0.5
    return Effect(
        estimate=estimate,
        lower=estimate - margin,
        upper=estimate + margin,
        standard_error=paired**0.5,
        margin=margin,
        unpaired_error=unpaired**0.5,
        unpaired_margin=Z95 * unpaired**0.5,
        variance_reduction=1 - paired / unpaired if unpaired > 0 else float("nan"),
    )


def _variance_of_mean(
    cluster: np.ndarray[tuple[int], np.dtype[np.intp]], values: FloatArray
) -> float:
    sums = np.bincount(cluster, weights=values - values.mean())
    n_users = len(sums)
    return float((sums**2).sum()) * n_users / (n_users - 1) / len(values) ** 2
