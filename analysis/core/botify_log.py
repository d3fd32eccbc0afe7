"""botify's log: one JSON object per line, and how its lines become events of sessions.

A line names neither its event nor its session. Its event's id follows from the line's content, so
that a line that comes twice is one event. A session of a user ends with `last`, or where the next
line comes as late as a recommender would open another.
"""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Annotated, Literal, NamedTuple
from uuid import UUID

import msgspec
import numpy as np
import numpy.typing as npt

from shared.events import Event, Fraction, Id, Label, Seconds, make_event_id

SESSION_TIMEOUT_MS = 1_800_000  # as of the recommender
MOST_KEPT = 64 * 1024
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

Milliseconds = Annotated[int, msgspec.Meta(ge=0, le=253_402_300_799_000)]  # to the year 9999


class Line(msgspec.Struct, frozen=True, kw_only=True):
    """A line, in the order of botify's keys; others are ignored.

    Attributes:
        timestamp: When the request was answered, in ms since 1970.
        latency: Seconds that it took.
    """

    message: Literal["next", "last"]
    timestamp: Milliseconds
    user: Id
    track: Id
    time: Fraction
    latency: Seconds = 0.0
    recommendation: Id | None = None
    experiments: dict[Label, Label] = {}


class BadLine(NamedTuple):
    """A line that is no event.

    Attributes:
        number: From 1.
        text: As it came, up to what a dead letter keeps.
        reason: What is wrong with it.
    """

    number: int
    text: bytes
    reason: str


class ReadLog(NamedTuple):
    """A log that was read once.

    Attributes:
        rows: Good lines: `user`, `at` (ms), and where they are; sorted by user and time, equal
            times in the order of the file.
        bad: The others.
    """

    rows: npt.NDArray[np.void]
    bad: list[BadLine]


ROW = np.dtype([("user", "i4"), ("at", "i8"), ("line", "i8"), ("begin", "i8"), ("end", "i8")])
_decode = msgspec.json.Decoder(Line).decode


def read_log(data: bytes) -> ReadLog:
    """Read a whole log and sort its lines; blank ones are left out."""
    bad: list[BadLine] = []
    rows = np.fromiter(_read_lines(data, bad), dtype=ROW)
    return ReadLog(rows[np.lexsort((rows["at"], rows["user"]))], bad)


def _read_lines(data: bytes, bad: list[BadLine]) -> Iterator[tuple[int, int, int, int, int]]:
    for number, begin, end in _cut(data):
        text = data[begin:end]
        try:
            line = _parse(text)
        except ValueError as error:
            bad.append(BadLine(number, text[:MOST_KEPT], str(error)))
            continue
        yield line.user, line.timestamp, number, begin, end


def _cut(data: bytes) -> Iterator[tuple[int, int, int]]:
    """Yield number, begin and end of each line that is not blank."""
    begin, number = 0, 0
    while begin < len(data):
        number += 1
        end = data.find(b"\n", begin)
        end = len(data) if end < 0 else end
        if data[begin:end].strip():
            yield number, begin, end
        begin = end + 1


def _parse(text: bytes) -> Line:
    """Parse a line.

    Raises:
        ValueError: If it is no JSON, lacks a key, or contradicts itself.
    """
    try:
        line = _decode(text)
    except UnicodeDecodeError as error:
        raise ValueError(f"not UTF-8: {error}") from error
    except RecursionError as error:
        raise ValueError("nested too deeply") from error
    if (line.message == "next") != (line.recommendation is not None):
        raise ValueError("next has a recommendation, last has none")
    return line


def make_events(data: bytes, log: ReadLog) -> Iterator[tuple[int, Event]]:
    """Make the events of a log, user by user, each with its line's number.

    A line that is there twice is made into an event once.
    """
    previous: tuple[int, int] | None = None
    seen: set[UUID] = set()
    session, position, is_over = UUID(int=0), 0, True
    for row in log.rows:
        user, at = int(row["user"]), int(row["at"])
        line = _parse(data[int(row["begin"]) : int(row["end"])])
        event_id = make_event_id(_moment(at), *_identity(line))
        if previous != (user, at):
            seen.clear()
        if event_id in seen:
            continue
        seen.add(event_id)
        is_new = previous is None or previous[0] != user or at - previous[1] > SESSION_TIMEOUT_MS
        if is_new or is_over:
            session, position = make_event_id(_moment(at), "session", user, at), 0
        yield int(row["line"]), _make_event(line, event_id, session, position)
        previous, position, is_over = (user, at), position + 1, line.message == "last"


def _identity(line: Line) -> tuple[int | str, ...]:
    """Return what makes a line the same as another."""
    return "botify", line.user, line.timestamp, line.message, line.track, repr(line.time)


def _make_event(line: Line, event_id: UUID, session: UUID, position: int) -> Event:
    return Event(
        event_id=event_id,
        message=line.message,
        timestamp=_moment(line.timestamp),
        user=line.user,
        session=session,
        position=position,
        track=line.track,
        time=line.time,
        latency=line.latency,
        recommendation=line.recommendation,
        experiments=line.experiments,
    )


def _moment(at: int) -> datetime:
    return _EPOCH + timedelta(milliseconds=at)


def encode_lines(lines: Sequence[Line]) -> bytes:
    """Write lines as botify does: one JSON object each."""
    return msgspec.json.Encoder().encode_lines(lines)
