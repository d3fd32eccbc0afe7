"""A day's sessions: what each came to, and its playbacks as columns of five bytes each."""

from collections.abc import Sequence

import msgspec
import numpy as np
import numpy.typing as npt

from services.trainer.core.playbacks import PLAYBACK
from shared.catalog import Catalog
from simulator.core.dynamics import EpisodeArray
from simulator.core.listeners import FloatArray, IntArray
from simulator.rollout import Playbacks

SESSION_US = 1_000_000  # between the starts of two sessions in the trainer's log


class Visits(msgspec.Struct, frozen=True, kw_only=True):
    """What sessions came to, in order of episodes within a part.

    Attributes:
        users: Listener id of each session, int32 (n_sessions,).
        times: Of each session, the first track's 1.0 counted, float64 (n_sessions,).
        lengths: Playbacks of each session, int32 (n_sessions,).
        n_fallbacks: Recommendations that the arm's own recommender had to leave to another.
    """

    users: IntArray
    times: FloatArray
    lengths: IntArray
    n_fallbacks: int = 0

    def __len__(self) -> int:
        return len(self.users)


class Plays(msgspec.Struct, frozen=True, kw_only=True):
    """Sessions, at least one, one after another.

    Attributes:
        episodes: Identity of each session, int64 (n_sessions,).
        users: Listener id of each session, int32 (n_sessions,).
        lengths: Playbacks of each session, int32 (n_sessions,).
        tracks: Catalogue row per playback, int32 (n_plays,).
        hundredths: Fraction listened to, in hundredths, uint8 (n_plays,).
        n_fallbacks: As in `Visits`.
    """

    episodes: EpisodeArray
    users: IntArray
    lengths: IntArray
    tracks: IntArray
    hundredths: npt.NDArray[np.uint8]
    n_fallbacks: int = 0

    def __len__(self) -> int:
        return len(self.tracks)

    @property
    def visits(self) -> Visits:
        """What the sessions came to."""
        starts = np.cumsum(self.lengths, dtype=np.int64) - self.lengths
        return Visits(
            users=self.users,
            times=np.add.reduceat(self.hundredths, starts, dtype=np.int64) / 100,
            lengths=self.lengths,
            n_fallbacks=self.n_fallbacks,
        )


def join_plays(parts: Sequence[Plays]) -> Plays:
    """Concatenate; at least one part is needed."""
    return Plays(
        episodes=np.concatenate([part.episodes for part in parts]),
        users=np.concatenate([part.users for part in parts]),
        lengths=np.concatenate([part.lengths for part in parts]),
        tracks=np.concatenate([part.tracks for part in parts]),
        hundredths=np.concatenate([part.hundredths for part in parts]),
        n_fallbacks=sum(part.n_fallbacks for part in parts),
    )


def from_rollout(played: Playbacks) -> Plays:
    """Take what a policy played in process."""
    starts = played.starts
    return Plays(
        episodes=played.episode[starts],
        users=played.user[starts],
        lengths=np.diff(np.append(starts, len(played))).astype(np.int32),
        tracks=played.track,
        hundredths=np.rint(played.time * 100).astype(np.uint8),
    )


def to_trainer_log(days: Sequence[Plays], catalog: Catalog) -> npt.NDArray[np.void]:
    """Write playbacks as the trainer reads them from Postgres, sessions in order of episodes.

    Returns:
        Of dtype `PLAYBACK`.
    """
    playbacks = np.zeros(sum(map(len, days)), PLAYBACK)
    end = 0
    for day in days:
        begin, end = end, end + len(day)
        part = playbacks[begin:end]
        starts = np.cumsum(day.lengths, dtype=np.int64) - day.lengths
        part["position"] = np.arange(len(day)) - np.repeat(starts, day.lengths)
        part["session_low"] = np.repeat(day.episodes, day.lengths)
        part["user"] = np.repeat(day.users, day.lengths)
        part["track"] = catalog.track_ids[day.tracks]
        part["time"] = day.hundredths / 100
        part["at"] = part["session_low"] * SESSION_US + part["position"]
    return playbacks
