"""Playbacks as arrays: session by session in order of time, position by position."""

from dataclasses import dataclass
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
        n_users: Different listeners.
        first_at, last_at: Of all playbacks, in microseconds since 1970.
    """

    sessions: IntArray
    positions: IntArray
    tracks: IntArray
    times: FloatArray
    users: IntArray
    n_users: int
    first_at: int
    last_at: int

    def __len__(self) -> int:
        return len(self.sessions)

    @property
    def n_sessions(self) -> int:
        """Number of sessions."""
        return int(self.sessions[-1]) + 1


def make_log(playbacks: npt.NDArray[Any]) -> PlaybackLog:
    """Order playbacks; one position of a session counts once.

    Args:
        playbacks: In any order, of dtype `PLAYBACK`.

    Raises:
        TrainingError: If there are none.
    """
    if len(playbacks) == 0:
        raise TrainingError("no playbacks: the log has none in this window")
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
        n_users=len(np.unique(playbacks["user"])),
        first_at=int(playbacks["at"].min()),
        last_at=int(playbacks["at"].max()),
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
