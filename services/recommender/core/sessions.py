"""Session rules: what is remembered of a listener between two requests."""

from typing import Literal
from uuid import UUID

import msgspec

Message = Literal["next", "last"]


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
    """

    session: UUID
    first: int
    position: int
    heard: tuple[int, ...]

    def play(self, track: int, recommendation: int) -> "Session":
        """Count a playback and remember its track and the one recommended next."""
        heard = dict.fromkeys((*self.heard, track, recommendation))
        return Session(self.session, self.first, self.position + 1, tuple(heard))


class Receipt(msgspec.Struct, frozen=True, array_like=True):
    """The last request that had a key, and its answer."""

    report: Report
    answer: bytes


class UserState(msgspec.Struct, frozen=True, array_like=True):
    """All that is stored of a listener; both parts absent is nothing stored."""

    session: Session | None = None
    receipt: Receipt | None = None
