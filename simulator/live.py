"""Live episodes: many listeners at once, each user in one session at a time."""

import asyncio
import contextlib
import time
from array import array
from collections import defaultdict
from collections.abc import Callable, Iterable
from typing import Protocol

import numpy as np

from simulator.core.draws import FloatArray, Purpose, draw_uniform, episode_keys
from simulator.core.dynamics import Dynamics, EpisodeArray
from simulator.core.live_session import LiveSession, open_sessions
from simulator.results import Playback, Result, Served


class Recommender(Protocol):
    """What a live listener listens to."""

    async def recommend(self, session: LiveSession) -> Served:
        """Take the latest playback and recommend."""
        ...

    async def finish(self, session: LiveSession) -> None:
        """Take the last playback."""
        ...


class LocalRandom:
    """Uniform among the tracks not yet played, without a service; draws as `random` does."""

    def __init__(self, n_tracks: int) -> None:
        """Know the catalogue's size."""
        self._n_tracks = n_tracks

    async def recommend(self, session: LiveSession) -> Served:
        """Recommend a row; a repeat once all are played."""
        attempt = 0
        n_left = self._n_tracks - len(session.played)
        while True:
            purpose = Purpose.CHOICE + attempt
            uniform = draw_uniform(session.key, session.position + 1, purpose)
            row = min(int(uniform * self._n_tracks), self._n_tracks - 1)
            if row not in session.played or n_left == 0:
                return Served(row, "random", propensity=1 / (n_left or self._n_tracks))
            attempt += 1

    async def finish(self, session: LiveSession) -> None:
        """Need nothing."""


class Watch:
    """What a live run tells while it goes on, and how it is told to stop.

    Attributes:
        starts_s: From when a session was due to its first answer, in seconds.
        steps_s: From when an answer was due to when it came, of every recommendation.
        stops: Set it, and every session ends after the step that it is at.
    """

    def __init__(
        self,
        on_result: Callable[[Result], None],
        *,
        records: bool = False,
        most_tracks: int | None = None,
    ) -> None:
        """Prepare.

        Args:
            on_result: Told of each finished episode, in order of finishing.
            records: Whether results carry their playbacks.
            most_tracks: A session is cut there, the first one counted.
        """
        self.on_result = on_result
        self.records = records
        self.most_tracks = most_tracks
        self.starts_s = array("d")
        self.steps_s = array("d")
        self.stops = asyncio.Event()


async def play_episode(
    session: LiveSession, recommender: Recommender, watch: Watch, *, due_s: float
) -> Result | None:
    """Play a session to its end, or to its last track that is allowed.

    Args:
        session: Just opened.
        recommender: Of its tracks.
        watch: Told of waits; may stop it.
        due_s: When the listener came, on the monotonic clock.

    Returns:
        What it came to; None if it was stopped. Its service then knows it as closed all the same,
        so that the user's next session begins anew.
    """
    first: Served | None = None
    playbacks = [Playback(session.track, session.time, None)] if watch.records else []
    most_tracks = watch.most_tracks
    while not (session.is_over or session.n_tracks == most_tracks or watch.stops.is_set()):
        served = await recommender.recommend(session)
        answered_s = time.monotonic()
        watch.steps_s.append(answered_s - due_s)
        if first is None:
            first = served
            watch.starts_s.append(answered_s - due_s)
        due_s = answered_s
        listened = session.listen(served.row)
        if watch.records:
            playbacks.append(Playback(served.row, listened, served))
    if first is not None:
        await recommender.finish(session)
    if not (session.is_over or session.n_tracks == most_tracks):
        return None
    return Result(
        session.episode,
        session.user,
        session.total_time,
        session.n_tracks,
        first,
        tuple(playbacks),
    )


async def play_episodes(
    dynamics: Dynamics,
    recommender: Recommender,
    *,
    seed: int,
    episodes: Iterable[int],
    concurrency: int,
    watch: Watch,
    arrivals_s: FloatArray | None = None,
) -> None:
    """Play episodes; who listens and how does not depend on the concurrency or the arrivals.

    A user's episodes are played one after another, in order. Without arrivals a session begins when
    another ends; with them, when it is due: what keeps it from beginning then counts as waiting,
    except an earlier session of the same user.

    Args:
        dynamics: The world.
        recommender: Of all listeners.
        seed: Of the listeners.
        episodes: In order.
        concurrency: Sessions at once, at most.
        watch: Told what happens; may stop it.
        arrivals_s: When each episode is due, in seconds from now, ascending.

    Raises:
        Exception: The first that a recommender raises; the other sessions are left as they are.
    """
    begun_s = time.monotonic()
    source = enumerate(open_sessions(dynamics, seed, episodes))
    turn: defaultdict[int, asyncio.Lock] = defaultdict(asyncio.Lock)

    async def wait_until_due(number: int, *, free_s: float | None) -> float:
        if arrivals_s is None:
            return time.monotonic()
        due_s = begun_s + float(arrivals_s[number])
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(watch.stops.wait(), due_s - time.monotonic())
        return due_s if free_s is None else max(due_s, free_s)

    async def work() -> None:
        for number, session in source:
            is_busy = turn[session.user].locked()
            async with turn[session.user]:  # a lock serves in the order of asking
                free_s = time.monotonic() if is_busy else None
                due_s = await wait_until_due(number, free_s=free_s)
                result = await play_episode(session, recommender, watch, due_s=due_s)
            if result is None:
                return
            watch.on_result(result)
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
