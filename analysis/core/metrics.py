"""The metrics of an experiment, and which direction of each is good news."""

import dataclasses
from typing import Literal

Kind = Literal["mean", "ratio", "quantile"]


@dataclasses.dataclass(frozen=True)
class Metric:
    """What is measured of the users of an arm.

    Attributes:
        name: As in the view experiment_metrics; the first five are also botify's.
        description: What it is.
        higher_is_better: Which direction is good news.
        kind: `mean` over users of each user's value; `ratio` of two sums over users, so that a
            user with more playbacks weighs more; `quantile` of all requests.
    """

    name: str
    description: str
    higher_is_better: bool = True
    kind: Kind = "mean"


METRICS = (
    Metric("time", "fractions listened, summed"),
    Metric("sessions", "number of sessions"),
    Metric("mean_request_latency", "ms of a decision", higher_is_better=False),
    Metric("mean_tracks_per_session", "tracks heard"),
    Metric("mean_time_per_session", "fractions listened, summed"),
    Metric("completed_plays", "recommended tracks heard to 90% or more"),
    Metric("retention", "came back within the days of the window"),
    Metric("artists_per_session", "distinct artists heard"),
    Metric(
        "skip_rate",
        "share of recommended tracks heard for less than half",
        higher_is_better=False,
        kind="ratio",
    ),
    Metric(
        "repeat_share",
        "share of playbacks of a track that the user had heard before on the same day",
        higher_is_better=False,
        kind="ratio",
    ),
    Metric(
        "fallback_share",
        "share of requests that the treatment's own recommender did not answer",
        higher_is_better=False,
        kind="ratio",
    ),
    Metric("latency_p50", "median ms of a decision", higher_is_better=False, kind="quantile"),
    Metric("latency_p99", "99th percentile, ms", higher_is_better=False, kind="quantile"),
)
BY_NAME = {metric.name: metric for metric in METRICS}
