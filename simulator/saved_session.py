"""A finished session as a run keeps it: what was played, and what served it."""

from collections.abc import Iterator
from typing import Annotated

import msgspec

from shared.catalog import Catalog
from shared.events import Fraction, Id
from simulator.results import Playback, Result
from simulator.rollout import Playbacks

Count = Annotated[int, msgspec.Meta(ge=0)]


class SavedPlayback(msgspec.Struct, frozen=True, omit_defaults=True):
    """A track heard.

    Attributes:
        track: Its id.
        time: Fraction of it that was listened to (botify's wire name).
        recommender: What chose it; nothing chose the listener's first track.
        model_version: That it read.
        propensity: P(track | context) under what chose it.
        fallback: Why another recommender chose than the treatment's own.
    """

    track: Id
    time: Fraction
    recommender: str | None = None
    model_version: str | None = None
    propensity: float | None = None
    fallback: str | None = None


class SavedSession(msgspec.Struct, frozen=True, omit_defaults=True):
    """One line of `sessions.jsonl`.

    Attributes:
        episode: Names the session's users, tastes and draws, with the run's seed.
        user: Listener id.
        day: On which it was played, from 1.
        experiments: Treatment of the user per experiment.
        playbacks: In order.
    """

    episode: Count
    user: Id
    day: Count
    playbacks: Annotated[tuple[SavedPlayback, ...], msgspec.Meta(min_length=1)]
    experiments: dict[str, str] = {}

    @property
    def time(self) -> float:
        """Total of the fractions listened, exact hundredths."""
        return round(sum(playback.time for playback in self.playbacks), 2)

    @property
    def recommender(self) -> str | None:
        """What chose the first recommendation."""
        return self.playbacks[1].recommender if len(self.playbacks) > 1 else None


def save_result(result: Result, catalog: Catalog, *, day: int) -> SavedSession:
    """Turn a live result, with its playbacks, into what is kept."""
    ids = catalog.track_ids
    return SavedSession(
        episode=result.episode,
        user=result.user,
        day=day,
        playbacks=tuple(_save_playback(int(ids[p.row]), p) for p in result.playbacks),
        experiments=result.first.experiments if result.first else {},
    )


def save_batch(batch: Playbacks, catalog: Catalog) -> Iterator[SavedSession]:
    """Turn a batch of playbacks in process into what is kept."""
    tracks: list[int] = catalog.track_ids[batch.track].tolist()
    times, propensities = batch.time.tolist(), batch.propensity.tolist()
    fell_back = batch.fell_back.tolist()
    ends = [*batch.starts[1:].tolist(), len(batch)]
    for start, end in zip(batch.starts.tolist(), ends, strict=True):
        recommended = [
            SavedPlayback(
                track=tracks[row],
                time=times[row],
                recommender="random" if fell_back[row] else batch.recommender,
                propensity=propensities[row],
                fallback=f"{batch.recommender}:no_candidates" if fell_back[row] else None,
            )
            for row in range(start + 1, end)
        ]
        yield SavedSession(
            episode=int(batch.episode[start]),
            user=int(batch.user[start]),
            day=1,
            playbacks=(SavedPlayback(tracks[start], times[start]), *recommended),
        )


def _save_playback(track: int, playback: Playback) -> SavedPlayback:
    served = playback.served
    if served is None:
        return SavedPlayback(track, playback.time)
    return SavedPlayback(
        track,
        playback.time,
        served.recommender,
        served.model_version,
        served.propensity,
        served.fallback,
    )
