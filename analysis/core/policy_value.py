"""What a policy would have earned in logged sessions: from decisions to estimates.

Two questions, which are not the same:

- `decision`: the mean listened time of a recommendation in the situations that the log holds. Under
  the policy itself sessions would go elsewhere, and into other situations.
- `session`: the listened time of a session's first recommendations, if the policy had served all
  of them. It takes the product of the weights of all steps so far, whose noise grows with each.
"""

import dataclasses
from collections import Counter
from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

from analysis.core.exposures import Decision, IntArray, LoggedSession, Tracks, replay
from analysis.core.off_policy import (
    NoSupportError,
    OffPolicyEstimate,
    estimate_clipped,
    estimate_doubly_robust,
    estimate_ips,
    estimate_snips,
    importance_weights,
)
from analysis.core.reward_model import Options, predict_rewards
from analysis.core.session_value import estimate_session
from analysis.core.targets import Target

Array = npt.NDArray[np.float64]
N_OPTIONS = 16  # of a policy's choices whose reward is predicted; of more, so many are drawn


@dataclasses.dataclass(frozen=True)
class Weighed:
    """The decisions of a log, weighed for a policy.

    Attributes:
        users: Whose, (n,).
        sessions: Number of the session, (n,).
        reward: Listened time, (n,).
        weights: Of each decision alone, (n,).
        options: What was served, then choices of the policy.
    """

    users: npt.NDArray[np.int64]
    sessions: npt.NDArray[np.int64]
    reward: Array
    weights: Array
    options: Options

    @property
    def step(self) -> IntArray:
        """Of each decision in its session, from 1."""
        return self.options.step


def weigh(
    sessions: Iterable[LoggedSession], target: Target, tracks: Tracks, *, seed: int = 0
) -> Weighed:
    """Weigh every logged decision by how much likelier the policy was to serve the same.

    Args:
        sessions: Of the log.
        target: The policy.
        tracks: The catalogue.
        seed: Of the choices whose reward is predicted where there are many.

    Raises:
        NoSupportError: If the log holds no decision.
        UnknownPolicyError: If the policy has nothing to serve somewhere.
    """
    generator = np.random.default_rng(seed)
    decisions, numbers, rows, n_same, target_p = [], [], [], [], []
    for number, session in enumerate(sessions):
        for decision in replay(session, tracks):
            choices = target.choices(decision)
            if len(choices) <= N_OPTIONS and isinstance(choices, list):
                drawn = np.array(choices, np.int32)
            else:
                drawn = choices.draw(generator, N_OPTIONS)
            options = np.full(N_OPTIONS + 1, -1, np.int32)
            options[0], options[1 : len(drawn) + 1] = decision.served, drawn
            counts = decision.artists
            rows.append(options)
            n_same.append([counts[artist] for artist in tracks.artists[options].tolist()])
            target_p.append(float(decision.served in choices) / len(choices))
            decisions.append(dataclasses.replace(decision, heard=set(), artists=Counter()))
            numbers.append(number)
    if not decisions:
        raise NoSupportError("no exposure with a propensity")
    return _collect(decisions, numbers, np.array(rows), np.array(n_same, np.int32), target_p)


def _collect(
    decisions: list[Decision],
    numbers: list[int],
    rows: IntArray,
    n_same: IntArray,
    target: list[float],
) -> Weighed:
    users = np.array([each.user for each in decisions], np.int64)
    propensity = np.array([each.propensity for each in decisions])
    return Weighed(
        users=users,
        sessions=np.array(numbers, np.int64),
        reward=np.array([each.reward for each in decisions]),
        weights=importance_weights(np.array(target), propensity),
        options=Options(
            rows=rows,
            n_same_artist=n_same,
            first=np.array([each.first for each in decisions], np.int32),
            last=np.array([each.last for each in decisions], np.int32),
            step=np.array([each.step for each in decisions], np.int32),
            mean_time=np.array([each.mean_time for each in decisions]),
            users=users,
        ),
    )


def estimate_decisions(
    weighed: Weighed, tracks: Tracks, *, alpha: float = 0.05
) -> list[OffPolicyEstimate]:
    """Estimate the mean reward of a decision, in every way there is.

    Raises:
        NoSupportError: If the log cannot say.
    """
    reward, weights, users = weighed.reward, weighed.weights, weighed.users
    estimates = [
        estimate(reward, weights, users=users, alpha=alpha)
        for estimate in (estimate_ips, estimate_snips, estimate_clipped)
    ]
    predicted = predict_rewards(weighed.options, reward, tracks)
    n_choices = (weighed.options.rows[:, 1:] >= 0).sum(axis=1)
    doubly = estimate_doubly_robust(
        reward,
        weights,
        predicted=predicted[:, 0],
        predicted_target=predicted[:, 1:].sum(axis=1) / n_choices,
        users=users,
        alpha=alpha,
    )
    return [*estimates, doubly]


def estimate_sessions(
    weighed: Weighed, *, horizon: int, alpha: float = 0.05
) -> list[OffPolicyEstimate]:
    """Estimate the time that a session's first recommendations are listened to, all together.

    Args:
        weighed: The decisions.
        horizon: How many recommendations; a session that ends earlier earns no more.
        alpha: The intervals have level 1 - alpha.

    Raises:
        NoSupportError: If the log cannot say.
    """
    early = weighed.step <= horizon
    numbers, place = np.unique(weighed.sessions[early], return_inverse=True)
    step = weighed.step[early] - 1
    weights, reward = (np.full((len(numbers), horizon), fill) for fill in (1.0, 0.0))
    weights[place, step], reward[place, step] = weighed.weights[early], weighed.reward[early]
    users = np.zeros(len(numbers), np.int64)
    users[place] = weighed.users[early]
    return [
        estimate_session(reward, weights, users=users, alpha=alpha, self_normalised=normalised)
        for normalised in (False, True)
    ]


def describe_log(
    weighed: Weighed, *, horizon: int | None, alpha: float = 0.05
) -> OffPolicyEstimate:
    """Return what the log's own policy earned by the same measure."""
    ones = dataclasses.replace(weighed, weights=np.ones_like(weighed.weights))
    if horizon is not None:
        estimate = estimate_sessions(ones, horizon=horizon, alpha=alpha)[0]
    else:
        estimate = estimate_ips(ones.reward, ones.weights, users=ones.users, alpha=alpha)
    return dataclasses.replace(estimate, method="logged")
