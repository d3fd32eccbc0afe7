"""Playbacks as arrays: session by session in order of time, position by position."""

from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import numpy.typing as npt

from services.trainer.core.errors import TrainingError

IntArray = npt.NDArray[np.int32]
FloatArray = npt.NDArray[np.float32]

# One playback; a session is a UUID cut in two, `at` is in microseconds since 1970.
PLAYBACK = np.dtype(
    [
        ("session_high", "i8"),
        ("session_low", "i8"),
        ("position", "i4"),
        ("user", "i4"),
        ("track", "i4"),
        ("time", "f4"),
        ("at", "i8"),
    ]
)


@dataclass(frozen=True)
class PlaybackLog:
    """Playbacks of whole or cut sessions, ordered by session and position.

    Attributes:
        sessions: Index of the session, ascending; sessions are numbered by their first time.
        positions: In the session, from 0.
        tracks: Track ids.
        times: Fractions listened, in [0, 1].
        users: Ids of the listeners, any integers.
        at: Times of the playbacks, in microseconds since 1970.
    """

    sessions: IntArray
    positions: IntArray
    tracks: IntArray
    times: FloatArray
    users: IntArray
    at: npt.NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.sessions)

    @property
    def n_sessions(self) -> int:
        """Number of sessions."""
        return int(self.sessions[-1]) + 1

    @property
    def n_users(self) -> int:
        """Number of different listeners."""
        return len(np.unique(self.users))

    def before(self, session: int) -> "PlaybackLog":
        """Return the playbacks of the sessions before this one; it is not the first."""
        end = int(np.searchsorted(self.sessions, session))
        columns = (getattr(self, field.name) for field in fields(self))
        return PlaybackLog(*(column[:end] for column in columns))

    def start_of(self, session: int) -> int:
        """Return when a session began, in microseconds since 1970."""
        return int(self.at[np.searchsorted(self.sessions, session)])


def make_log(playbacks: npt.NDArray[Any]) -> PlaybackLog:
    """Order playbacks; one position of a session counts once.

    Args:
        playbacks: In any order, of dtype `PLAYBACK`.

    Raises:
        TrainingError: If there are none, or times are no fractions.
    """
    if len(playbacks) == 0:
        raise TrainingError("no playbacks: the log has none in this window")
    n_wrong = len(playbacks) - int(((playbacks["time"] >= 0) & (playbacks["time"] <= 1)).sum())
    if n_wrong:
        raise TrainingError(f"the log is damaged: {n_wrong} playbacks have times outside [0, 1]")
    high, low, position = (playbacks[key] for key in ("session_high", "session_low", "position"))
    order = np.lexsort((position, low, high))
    starts = _changes(high[order]) | _changes(low[order])
    order = order[starts | _changes(position[order])]
    starts = _changes(high[order]) | _changes(low[order])
    sessions = _number_by_time(starts, playbacks["at"][order])
    by_time = np.argsort(sessions, kind="stable")
    order = order[by_time]
    return PlaybackLog(
        sessions=sessions[by_time],
        positions=playbacks["position"][order],
        tracks=playbacks["track"][order],
        times=playbacks["time"][order],
        users=playbacks["user"][order],
        at=playbacks["at"][order],
    )


def _changes(values: npt.NDArray[np.integer]) -> npt.NDArray[np.bool_]:
    """Whether a value differs from the one before; the first does."""
    return np.append(True, values[1:] != values[:-1])


def _number_by_time(starts: npt.NDArray[np.bool_], at: npt.NDArray[np.int64]) -> IntArray:
    """Number sessions by the time of their first playback.

    Args:
        starts: Whether a playback is its session's first.
        at: Time per playback.
    """
    rank = np.empty(int(starts.sum()), dtype=np.int32)
    rank[np.argsort(at[starts], kind="stable")] = np.arange(len(rank), dtype=np.int32)
    numbers: IntArray = rank[np.cumsum(starts) - 1]
    return numbers
