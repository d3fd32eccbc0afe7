"""What a day came to, with intervals: users are independent, their sessions are not."""

import msgspec
import numpy as np

from deploy.loop.plan import CONTROL, EXPERIMENT, TREATMENT
from deploy.loop.plays import Visits
from shared.experiments import ExperimentSet
from simulator.core.dynamics import BoolArray
from simulator.core.listeners import FloatArray, IntArray

Z95 = 1.959963984540054


class Measured(msgspec.Struct, frozen=True):
    """A mean over sessions, or a ratio of two, with its 95% interval.

    Attributes:
        value: The mean, or the ratio.
        margin: Half the interval's width.
        median: Of the sessions; None of a ratio.
        n_sessions: Behind it; None of a ratio.
    """

    value: float
    margin: float
    median: float | None = None
    n_sessions: int | None = None


class Day(msgspec.Struct, frozen=True, kw_only=True):
    """A row of the loop; the history is day 0 and has no arms.

    Attributes:
        day: From 0.
        n_sessions, n_events: That the log got.
        n_cut: Sessions cut for their length.
        n_fallbacks: Events in which another recommender answered than the arm's own.
        control, treatment: Time per session.
        ratio: Treatment over control.
        greedy: Time per session of the same model without exploration.
        oracle: Time per session of the oracle, on sessions of `greedy`.
        oracle_share: `greedy`, or without it `treatment`, over `oracle`; sessions that both
            played make the interval wider than it need be.
        training_s: Of the model that the treatment had.
        model_version: Its id.
        metrics: Of its evaluation.
    """

    day: int
    n_sessions: int
    n_events: int
    n_cut: int = 0
    n_fallbacks: int = 0
    control: Measured
    treatment: Measured | None = None
    ratio: Measured | None = None
    greedy: Measured | None = None
    oracle: Measured | None = None
    oracle_share: Measured | None = None
    training_s: float | None = None
    model_version: str | None = None
    metrics: dict[str, float] = {}


def measure(times: FloatArray, users: IntArray) -> Measured:
    """Average sessions; the interval lets the sessions of a user depend on each other.

    Args:
        times: Per session.
        users: Whose each is, same shape.

    Source: Liang and Zeger (1986), the variance of a mean of clusters.
    """
    n = len(times)
    mean = float(times.mean())
    _, cluster = np.unique(users, return_inverse=True)
    residuals = np.bincount(cluster, times - mean)
    n_users = len(residuals)
    variance = float(residuals @ residuals) / n**2 * n_users / max(n_users - 1, 1)
    return Measured(mean, Z95 * variance**0.5, float(np.median(times)), n)


def divide(a: Measured, b: Measured) -> Measured:
    """Divide two independent means; the interval is the delta method's."""
    ratio = a.value / b.value
    relative = ((a.margin / a.value) ** 2 + (b.margin / b.value) ** 2) ** 0.5
    return Measured(ratio, abs(ratio) * relative)


def find_treated(users: IntArray, experiments: ExperimentSet) -> BoolArray:
    """Return whether each user is in the treatment."""
    ids, place = np.unique(users, return_inverse=True)
    split = experiments.by_name[EXPERIMENT]
    arms = [(split.assign(user) or split.treatments[0]).name for user in ids.tolist()]
    assert set(arms) <= {CONTROL, TREATMENT}  # noqa: S101 - the split covers everybody
    is_treated: BoolArray = np.array(arms) == TREATMENT
    return is_treated[place]


def split_day(visits: Visits, experiments: ExperimentSet) -> tuple[Measured, Measured]:
    """Measure control and treatment."""
    is_treated = find_treated(visits.users, experiments)
    control, treatment = (
        measure(visits.times[arm], visits.users[arm]) for arm in (~is_treated, is_treated)
    )
    return control, treatment
