"""Live episodes: many listeners at once, each user in one session at a time."""

import asyncio
from collections import defaultdict
from collections.abc import Callable, Iterable
from typing import Protocol

import msgspec
import numpy as np

from simulator.core.draws import Purpose, draw_uniform, episode_keys
from simulator.core.dynamics import Dynamics, EpisodeArray
from simulator.core.live_session import LiveSession
from simulator.core.summary import Summary, summarise


class Result(msgspec.Struct, frozen=True):
    """A finished episode: its reward is the total time, its steps are tracks."""

    episode: int
    user: int
    time: float
    tracks: int


class Recommender(Protocol):
    """What a live listener listens to."""

    async def recommend(self, session: LiveSession) -> int:
        """Take the latest playback and return a catalogue row."""
        ...

    async def finish(self, session: LiveSession) -> None:
        """Take the last playback."""
        ...


class LocalRandom:
    """Uniform among the tracks not yet played, without a service; draws as `random` does."""

    def __init__(self, n_tracks: int) -> None:
        """Know the catalogue's size."""
        self._n_tracks = n_tracks

    async def recommend(self, session: LiveSession) -> int:
        """Recommend a row; a repeat once all are played."""
        attempt = 0
        while True:
            purpose = Purpose.CHOICE + attempt
            uniform = draw_uniform(session.key, session.position + 1, purpose)
            row = min(int(uniform * self._n_tracks), self._n_tracks - 1)
            if row not in session.played or len(session.played) == self._n_tracks:
                return row
            attempt += 1

    async def finish(self, session: LiveSession) -> None:
        """Need nothing."""


async def play_episode(
    session: LiveSession, recommender: Recommender, *, most_tracks: int | None = None
) -> Result:
    """Play a session to its end, or to its last track that is allowed."""
    while not session.is_over and session.n_tracks != most_tracks:
        session.listen(await recommender.recommend(session))
    await recommender.finish(session)
    return Result(session.episode, session.user, session.total_time, session.n_tracks)


async def play_episodes(
    dynamics: Dynamics,
    recommender: Recommender,
    *,
    seed: int,
    episodes: Iterable[int],
    concurrency: int,
    on_result: Callable[[Result], None],
    most_tracks: int | None = None,
) -> None:
    """Play episodes; who listens and how does not depend on the concurrency.

    A user's episodes are played one after another, in order.

    Args:
        dynamics: The world.
        recommender: Of all listeners.
        seed: Of the listeners.
        episodes: In order.
        concurrency: Sessions at once.
        on_result: Told of each finished episode, in order of finishing.
        most_tracks: A session is cut there, the first one counted.

    Raises:
        Exception: The first that a recommender raises; the other sessions are left as they are.
    """
    source = iter(episodes)
    turn: defaultdict[int, asyncio.Lock] = defaultdict(asyncio.Lock)

    async def work() -> None:
        for episode in source:
            session = LiveSession(dynamics, seed, episode)
            async with turn[session.user]:  # a lock serves in the order of asking
                result = await play_episode(session, recommender, most_tracks=most_tracks)
                on_result(result)
            await asyncio.sleep(0)  # a local recommender never waits: let Ctrl-C in

    try:
        async with asyncio.TaskGroup() as tasks:
            for _ in range(concurrency):
                tasks.create_task(work())
    except BaseExceptionGroup as group:
        raise group.exceptions[0] from None


def episodes_of_day(day: int, n_episodes: int) -> EpisodeArray:
    """Return the episodes of a day, days counted from 0."""
    return np.arange(day * n_episodes, (day + 1) * n_episodes)


def prepare(dynamics: Dynamics, seed: int, episodes: EpisodeArray) -> None:
    """Find the first tracks of episodes together, which is much faster than one by one."""
    _, interests = dynamics.draw_interests(episode_keys(seed, episodes))
    dynamics.nearest.find(interests)


def select_share(
    dynamics: Dynamics, seed: int, episodes: EpisodeArray, *, share: int, n_shares: int
) -> EpisodeArray:
    """Select the episodes of every n-th user, so that a user stays in one process."""
    users, _ = dynamics.draw_interests(episode_keys(seed, episodes))
    mine: EpisodeArray = episodes[users % n_shares == share]
    return mine


def summarise_results(results: Iterable[Result]) -> Summary:
    """Summarise episodes, in whatever order they finished."""
    ordered = sorted(results, key=lambda result: result.episode)
    return summarise(
        np.array([result.time for result in ordered], dtype=np.float64),
        np.array([result.tracks for result in ordered], dtype=np.int64),
    )
