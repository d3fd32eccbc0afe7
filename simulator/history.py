"""The history of a world: played in process, told as events."""

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from typing import Any
from uuid import UUID

import msgspec
import numpy as np
import numpy.typing as npt

from shared.catalog import Catalog
from shared.events import Event, make_event_id
from simulator.core import history
from simulator.core.dynamics import Dynamics, EpisodeArray
from simulator.core.listeners import IntArray
from simulator.core.policies import Contextual, Policy, Random, StickyArtist, TopPopular
from simulator.rollout import Playbacks, simulate


class History(msgspec.Struct, frozen=True):
    """A history's playbacks, each part by one policy and in order of episodes."""

    seed: int
    parts: tuple[Playbacks, ...]

    @property
    def n_playbacks(self) -> int:
        """Events that it makes."""
        return sum(map(len, self.parts))

    @property
    def n_sessions(self) -> int:
        """Sessions played."""
        return sum(len(part.starts) for part in self.parts)


def play_history(dynamics: Dynamics, *, seed: int, n_sessions: int) -> History:
    """Play the mixture of simple recommenders; each learns from those before it."""
    episodes = np.arange(n_sessions)
    policy_of = history.assign_policies(seed, episodes)
    n_tracks = dynamics.n_tracks

    def play(policy: Policy) -> Playbacks:
        mine = episodes[policy_of == history.POLICIES.index(policy.name)]
        return _join(policy.name, list(simulate(dynamics, policy, seed=seed, episodes=mine)))

    log = History(
        seed, (play(Random(n_tracks)), play(StickyArtist(dynamics.artist_rows, replays=True)))
    )
    popular = play(TopPopular(learn_top_tracks(log, n_tracks), n_tracks, replays=True))
    log = History(seed, (*log.parts, popular))
    neighbours = learn_neighbours(log, n_tracks)
    contextual = play(Contextual(neighbours, n_tracks, anchor="last", replays=True))
    return History(seed, (*log.parts, contextual))


def learn_top_tracks(log: History, n_tracks: int) -> IntArray:
    """Learn the most popular rows from the random part of a log."""
    random = log.parts[history.POLICIES.index("random")]
    return history.find_top_tracks(random.track, random.time, n_tracks=n_tracks)


def learn_neighbours(log: History, n_tracks: int) -> IntArray:
    """Learn a table of neighbours, by a small model, from the parts of a log that precede it."""
    earlier = log.parts[: history.POLICIES.index("contextual")]
    pairs = [history.make_pairs(p.position, p.track, p.time) for p in earlier]
    return history.find_neighbours(pairs, n_tracks=n_tracks, seed=log.seed)


def make_events(played: History, catalog: Catalog, day: date) -> Iterator[Event]:
    """Tell a history as events; the same history and day make the same ids.

    Args:
        played: The history.
        catalog: Of its world.
        day: On which it happened, UTC.

    Yields:
        Events, sessions in order of their start.
    """
    midnight = datetime(day.year, day.month, day.day, tzinfo=UTC)
    sessions = sorted(
        (int(part.episode[start]), part, int(start), int(end))
        for part in played.parts
        for start, end in zip(part.starts, [*part.starts[1:], len(part)], strict=True)
    )
    episodes: EpisodeArray = np.array([episode for episode, *_ in sessions], dtype=np.int64)
    starts = history.schedule_sessions(
        played.seed,
        episodes,
        users=[int(part.user[start]) for _, part, start, _ in sessions],
        lengths=[end - start for *_, start, end in sessions],
    )
    for (_, part, first, end), start_ms in zip(sessions, starts, strict=True):
        begins_at = midnight + timedelta(milliseconds=start_ms)
        yield from _tell_session(
            part, slice(first, end), seed=played.seed, catalog=catalog, begins_at=begins_at
        )


def _tell_session(
    part: Playbacks, rows: slice, *, seed: int, catalog: Catalog, begins_at: datetime
) -> Iterator[Event]:
    episode, user = int(part.episode[rows.start]), int(part.user[rows.start])
    session: UUID = make_event_id(begins_at, seed, episode, "session")
    tracks: list[int] = catalog.track_ids[part.track[rows]].tolist()
    fell_back: list[bool] = part.fell_back[rows].tolist()
    # What a report was answered is what was played next; the last is answered nothing.
    recommendations = [*tracks[1:], None]
    recommenders = [*("random" if fell else part.recommender for fell in fell_back[1:]), None]
    fallbacks = [f"{part.recommender}:no_candidates" if fell else None for fell in fell_back[1:]]
    propensities = [*part.propensity[rows].tolist()[1:], None]
    for position, time in enumerate(part.time[rows].tolist()):
        timestamp = begins_at + timedelta(milliseconds=position * history.PLAYBACK_MS)
        recommendation = recommendations[position]
        yield Event(
            event_id=make_event_id(timestamp, seed, episode, position),
            message="last" if recommendation is None else "next",
            timestamp=timestamp,
            user=user,
            session=session,
            position=position,
            track=tracks[position],
            time=time,
            recommendation=recommendation,
            recommender=recommenders[position],
            propensity=propensities[position],
            fallback=None if recommendation is None else fallbacks[position],
        )


def _join(name: str, batches: list[Playbacks]) -> Playbacks:
    """Join batches; a policy may have had no episode at all."""

    def column(attribute: str, dtype: type) -> npt.NDArray[Any]:
        empty: npt.NDArray[Any] = np.empty(0, dtype=dtype)
        return np.concatenate([empty, *(getattr(batch, attribute) for batch in batches)])

    return Playbacks(
        episode=column("episode", np.int64),
        user=column("user", np.int32),
        position=column("position", np.int32),
        track=column("track", np.int32),
        time=column("time", np.float64),
        propensity=column("propensity", np.float64),
        fell_back=column("fell_back", np.bool_),
        recommender=name,
    )
