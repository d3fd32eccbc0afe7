"""How the recommender is doing, from two readings of its counters."""

import dataclasses
from collections.abc import Mapping


@dataclasses.dataclass(frozen=True, kw_only=True)
class Counters:
    """The recommender's counters at a moment.

    Attributes:
        at_s: On a monotonic clock.
        reports: Answered reports, by HTTP status.
        buckets: Reports answered within so many seconds, cumulative; the last bound is infinite.
        model_version: That serves, if any.
        spooled: Steps of sessions that wait for Redis.
    """

    at_s: float
    reports: Mapping[int, float]
    buckets: Mapping[float, float]
    model_version: str | None
    spooled: float


@dataclasses.dataclass(frozen=True, kw_only=True)
class Rates:
    """What happened between two readings; None where nothing did.

    Attributes:
        requests_per_s: Reports answered, well or not.
        failed_share: Of these, with a status of 500 and more.
        median_s, p99_s: Time to answer, within the histogram's precision.
    """

    requests_per_s: float
    failed_share: float | None
    median_s: float | None
    p99_s: float | None


def compare_counters(before: Counters, after: Counters) -> Rates | None:
    """Return what happened between two readings; None after a restart, or in no time."""
    seconds = after.at_s - before.at_s
    changes = {
        status: count - before.reports.get(status, 0.0) for status, count in after.reports.items()
    }
    n_reports = sum(changes.values())
    if seconds <= 0 or any(change < 0 for change in changes.values()):
        return None
    buckets = {
        bound: count - before.buckets.get(bound, 0.0) for bound, count in after.buckets.items()
    }
    failed = sum(change for status, change in changes.items() if status >= 500)
    return Rates(
        requests_per_s=n_reports / seconds,
        failed_share=failed / n_reports if n_reports else None,
        median_s=find_quantile(buckets, 0.5),
        p99_s=find_quantile(buckets, 0.99),
    )


def find_quantile(buckets: Mapping[float, float], share: float) -> float | None:
    """Return a quantile of a histogram, linear within its bucket, as PromQL does.

    Args:
        buckets: Cumulative count per upper bound, the last infinite.
        share: Of the quantile, in [0, 1].
    """
    bounds = sorted(buckets)
    if not bounds or not buckets[bounds[-1]]:
        return None
    rank = share * buckets[bounds[-1]]
    lower, below = 0.0, 0.0
    for bound in bounds[:-1]:
        if buckets[bound] >= rank:
            inside = buckets[bound] - below
            return lower + (bound - lower) * ((rank - below) / inside if inside else 0.0)
        lower, below = bound, buckets[bound]
    return lower
