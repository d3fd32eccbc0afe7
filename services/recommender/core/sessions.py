"""Session rules: what is remembered of a listener between two requests."""

import struct
from typing import Literal
from uuid import UUID

import msgspec
import numpy as np

from shared.catalog import IntArray

Message = Literal["next", "last"]

_PLAYBACK = struct.Struct("<iB")
_PLAYBACKS = np.dtype([("track", "<i4"), ("hundredths", "u1")])


class Report(msgspec.Struct, frozen=True, array_like=True):
    """A request: a listener heard a track.

    Attributes:
        message: `next` asks for another track, `last` closes the session.
        user: Listener id.
        track: Track just played.
        time: Fraction of it that was listened to, in [0, 1] (botify's wire name).
        key: Names the request, so that a retry is known as one.
    """

    message: Message
    user: int
    track: int
    time: float
    key: str | None = None


class Session(msgspec.Struct, frozen=True, array_like=True):
    """One continuous visit.

    Attributes:
        session: Its id.
        first: Track that opened it.
        position: Playbacks reported so far: the position of the next one.
        heard: Tracks played or recommended, in order, each once.
        history: Playbacks reported, packed; empty unless the recommender remembers.
        memory: What the recommender returned last; it alone can read it.
    """

    session: UUID
    first: int
    position: int
    heard: tuple[int, ...]
    history: bytes = b""
    memory: bytes = b""

    def play(
        self, track: int, recommendation: int, *, history: bytes = b"", memory: bytes = b""
    ) -> "Session":
        """Count a playback and remember its track and the one recommended next."""
        heard = tuple(dict.fromkeys((*self.heard, track, recommendation)))
        return Session(self.session, self.first, self.position + 1, heard, history, memory)


def append_playback(history: bytes, track: int, time: float) -> bytes:
    """Add a playback to a history: five bytes, the time in hundredths."""
    return history + _PLAYBACK.pack(track, round(time * 100))


def read_history(history: bytes) -> tuple[IntArray, list[float]]:
    """Read a history.

    Returns:
        Track ids and times, in order.
    """
    playbacks = np.frombuffer(history[: len(history) // 5 * 5], _PLAYBACKS)
    times: list[float] = (playbacks["hundredths"] / 100).tolist()
    return playbacks["track"].astype(np.int32), times


class Receipt(msgspec.Struct, frozen=True, array_like=True):
    """The last request that had a key, and its answer."""

    report: Report
    answer: bytes


class UserState(msgspec.Struct, frozen=True, array_like=True):
    """All that is stored of a listener; both parts absent is nothing stored."""

    session: Session | None = None
    receipt: Receipt | None = None
