"""Listeners whose every answer to either policy is known, to draw experiments from."""

import dataclasses

import numpy as np
import numpy.typing as npt

from analysis.core.moments import MetricAggregate, RatioMoments, linearise
from simulator.core.dynamics import Dynamics
from simulator.core.policies import Policy
from simulator.rollout import simulate

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]

HISTORY_DAYS = 14  # before the experiment, under the control's policy
DAYS = 14  # of the experiment
METRICS = ("mean_time_per_session", "time", "skip_rate")
_DAYS_SEED = 20_260_301


@dataclasses.dataclass(frozen=True)
class Sessions:
    """One session per episode; the same episodes under another policy are the same listeners.

    Attributes:
        user: Listener.
        day: From -HISTORY_DAYS to DAYS - 1.
        sums: Shape (n_sessions, 4): 1, time, tracks skipped, tracks recommended.
    """

    user: Integers
    day: Integers
    sums: Floats


@dataclasses.dataclass(frozen=True)
class Population:
    """What each listener does under one policy, as it adds up day by day.

    Attributes:
        sums: Shape (n_users, DAYS, 4): as in Sessions, up to and with each day.
        history: Shape (n_users,) per metric: the covariate, from the days before.
    """

    sums: Floats
    history: dict[str, Floats]

    def __len__(self) -> int:
        return len(self.sums)

    def aggregate(self, metric: str, users: Integers, *, day: int = DAYS - 1) -> MetricAggregate:
        """Aggregate a metric over users as of a day; those not seen yet do not count."""
        sums = self.sums[users, day]
        seen = sums[:, 0] > 0
        numerator, denominator = split(metric, sums[seen])
        return linearise(_moments(numerator, denominator, self.history[metric][users][seen]))

    def truth(self, metric: str) -> float:
        """Return the metric of everybody: what an endless experiment would find."""
        numerator, denominator = split(metric, self.sums[:, -1])
        return float(numerator.mean() / denominator.mean())


def play(dynamics: Dynamics, policy: Policy, *, seed: int, n_sessions: int) -> Sessions:
    """Play sessions, each on a day of its own."""
    batches = []
    for batch in simulate(dynamics, policy, seed=seed, episodes=np.arange(n_sessions)):
        recommended = batch.position > 0
        columns = [
            batch.position == 0,
            batch.time,
            recommended & (batch.time < 0.5),
            recommended,
        ]
        sums = [np.add.reduceat(column.astype(float), batch.starts) for column in columns]
        batches.append((batch.user[batch.starts], np.stack(sums, axis=1)))
    days = np.random.default_rng([_DAYS_SEED, seed])
    return Sessions(
        user=np.concatenate([user for user, _ in batches]).astype(np.int64),
        day=days.integers(-HISTORY_DAYS, DAYS, n_sessions),
        sums=np.concatenate([sums for _, sums in batches]),
    )


def mix(control: Sessions, other: Sessions, *, share: float, seed: int) -> Sessions:
    """Take a share of the sessions from another policy: an effect as small as one likes."""
    from_other = np.random.default_rng([_DAYS_SEED, seed]).random(len(control.day)) < share
    sums = np.where(from_other[:, None], other.sums, control.sums)
    return dataclasses.replace(control, sums=sums)


def make_population(sessions: Sessions, history: Sessions) -> Population:
    """Add sessions up by user and day; history comes from the control's sessions."""
    is_past = history.day < 0
    users = np.unique(sessions.user[sessions.day >= 0])
    past = np.zeros((users.max() + 1, 4))
    # Of a listener who has no session in the experiment nobody asks.
    known = is_past & (history.user <= users.max())
    np.add.at(past, history.user[known], history.sums[known])
    daily = np.zeros((users.max() + 1, DAYS, 4))
    now = sessions.day >= 0
    np.add.at(daily, (sessions.user[now], sessions.day[now]), sessions.sums[now])
    covariates = {metric: _covariate(metric, past[users]) for metric in METRICS}
    return Population(daily[users].cumsum(axis=1), covariates)


def split(metric: str, sums: Floats) -> tuple[Floats, Floats]:
    """Return numerator and denominator per user."""
    sessions, time, skipped, recommended = sums.T
    if metric == "skip_rate":
        return skipped, recommended
    value = time if metric == "time" else time / np.maximum(sessions, 1)
    return value, np.ones(len(value))


def _covariate(metric: str, past: Floats) -> Floats:
    """Return the metric before the experiment; the mean of the others for who has none."""
    numerator, denominator = split(metric, past)
    if metric == "time":
        return numerator
    known = (past[:, 0] > 0) & (denominator > 0)
    values = numerator / np.maximum(denominator, 1)
    return np.where(known, values, values[known].mean())


def _moments(numerator: Floats, denominator: Floats, covariate: Floats) -> RatioMoments:
    columns = np.stack([numerator, denominator, covariate])
    means = [float(mean) for mean in columns.mean(axis=1)]
    spread = np.cov(columns).tolist()
    return RatioMoments(
        n_users=len(numerator),
        numerator_mean=means[0],
        denominator_mean=means[1],
        numerator_variance=spread[0][0],
        denominator_variance=spread[1][1],
        numerator_denominator=spread[0][1],
        covariate_mean=means[2],
        covariate_variance=spread[2][2],
        numerator_covariate=spread[0][2],
        denominator_covariate=spread[1][2],
    )
