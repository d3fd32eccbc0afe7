"""Play policies against a world in process, batch after batch."""

from collections.abc import Callable, Iterator
from typing import Protocol

import msgspec
import numpy as np
import numpy.typing as npt

from simulator.core.draws import FloatArray
from simulator.core.dynamics import BoolArray, Dynamics, EpisodeArray
from simulator.core.listeners import IntArray
from simulator.core.policies import Policy
from simulator.core.summary import Summary, summarise


class Playbacks(msgspec.Struct, frozen=True, kw_only=True):
    """Playbacks as flat arrays, by episode and position; all have shape (n_playbacks,).

    Attributes:
        episode: int64.
        user: Listener id, int32.
        position: In the session, from 0, int32.
        track: Catalogue row, int32.
        time: Fraction of it that was listened to.
        propensity: P(track | session) under what chose it; NaN for the listener's first track.
        fell_back: Whether `random` chose it because the policy had nothing left.
        recommender: The policy's name.
    """

    episode: EpisodeArray
    user: IntArray
    position: IntArray
    track: IntArray
    time: FloatArray
    propensity: FloatArray
    fell_back: BoolArray
    recommender: str

    def __len__(self) -> int:
        return len(self.episode)

    @property
    def starts(self) -> npt.NDArray[np.intp]:
        """Where each session begins."""
        return np.flatnonzero(self.position == 0)

    def session_times(self) -> FloatArray:
        """Return the total time of each session, exact hundredths."""
        total: FloatArray = np.add.reduceat(self.time, self.starts)
        return np.round(total, 2)


class Play(Protocol):
    """Plays episodes, here or elsewhere, and yields them in order."""

    def __call__(
        self, dynamics: Dynamics, policy: Policy, *, seed: int, episodes: EpisodeArray
    ) -> Iterator[Playbacks]:
        """Yield the playbacks of one batch of episodes after another."""
        ...


def split_batches(policy: Policy, episodes: EpisodeArray) -> list[EpisodeArray]:
    """Split episodes into the batches that a policy's memory allows."""
    starts = range(0, len(episodes), policy.batch_size)
    return [episodes[start : start + policy.batch_size] for start in starts]


def simulate(
    dynamics: Dynamics, policy: Policy, *, seed: int, episodes: EpisodeArray
) -> Iterator[Playbacks]:
    """Play episodes; memory is bounded by the policy's batch size.

    Args:
        dynamics: The world.
        policy: What recommends.
        seed: Of the listeners and the policy.
        episodes: Which episodes, ascending.

    Yields:
        The playbacks of one batch of episodes.
    """
    for batch in split_batches(policy, episodes):
        yield play_batch(dynamics, policy, seed=seed, episodes=batch)


def play_batch(
    dynamics: Dynamics, policy: Policy, *, seed: int, episodes: EpisodeArray
) -> Playbacks:
    """Play episodes at once, until the last listener has left."""
    sessions = dynamics.open_sessions(seed, episodes)
    slot_users = dynamics.listeners.ids[sessions.users]
    n = len(sessions)
    steps = [
        (sessions.slots, sessions.tracks[:, 0].copy(), np.ones(n), np.full(n, np.nan)),
    ]
    fallbacks = [np.zeros(n, dtype=np.bool_)]
    policy.begin(sessions)
    while len(sessions):
        choice = policy.recommend(sessions)
        goes_on = dynamics.react(sessions, choice.tracks)
        steps.append((sessions.slots, choice.tracks, sessions.times, choice.propensity))
        fallbacks.append(choice.fell_back)
        if not goes_on.all():
            sessions.keep(goes_on)
    slots, tracks, times, propensity = (
        np.concatenate(column) for column in zip(*steps, strict=True)
    )
    position = np.repeat(np.arange(len(steps), dtype=np.int32), [len(step[0]) for step in steps])
    order = np.argsort(slots, kind="stable")  # steps are in order of position already
    return Playbacks(
        episode=episodes[slots[order]],
        user=slot_users[slots[order]],
        position=position[order],
        track=tracks[order],
        time=times[order],
        propensity=propensity[order],
        fell_back=np.concatenate(fallbacks)[order],
        recommender=policy.name,
    )


def simulate_sessions(
    dynamics: Dynamics,
    policy: Policy,
    *,
    seed: int,
    episodes: EpisodeArray,
    play: Play = simulate,
    on_batch: Callable[[Playbacks], None] = lambda _: None,
) -> Summary:
    """Play episodes and keep only what each came to.

    Args:
        dynamics: The world.
        policy: What recommends.
        seed: Of the listeners and the policy.
        episodes: Which episodes, ascending.
        play: Where they are played.
        on_batch: Told of each batch once it is played.
    """
    times: list[FloatArray] = [np.empty(0)]
    tracks: list[npt.NDArray[np.int64]] = [np.empty(0, dtype=np.int64)]
    for batch in play(dynamics, policy, seed=seed, episodes=episodes):
        times.append(batch.session_times())
        tracks.append(np.diff(np.append(batch.starts, len(batch))))
        on_batch(batch)
    return summarise(np.concatenate(times), np.concatenate(tracks))
