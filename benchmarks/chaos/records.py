"""What is compared: the client's own record of each step, and the rows of the log."""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

import asyncpg


class Attempt(NamedTuple):
    """One request; times are seconds since the epoch, a status of None is no answer."""

    began_at: float
    ended_at: float
    status: int | None


class Answered(NamedTuple):
    """What a 200 said: the session, the recommendation (None on `last`), and why a fallback."""

    session: UUID
    recommendation: int | None
    fallback: str | None


@dataclass
class Step:
    """A playback that a listener reported, however often he had to.

    Attributes:
        episode, user: Whose.
        message: `next` or `last`.
        track: Just played.
        time: Fraction of it that was listened to, in [0, 1].
        attempts: In order; all with the same Idempotency-Key.
        answer: Of the last attempt; None if it gave up.
    """

    episode: int
    user: int
    message: str
    track: int
    time: float
    attempts: list[Attempt] = field(default_factory=list)
    answer: Answered | None = None


class Row(NamedTuple):
    """A row of `events`, as far as a client can know it."""

    event_id: UUID
    user: int
    session: UUID
    position: int
    message: str
    track: int
    time: float
    recommendation: int | None
    occurred_at: datetime
    stored_at: datetime
    experiments: str


ROWS = """
SELECT event_id, user_id, session_id, position, message, track_id, time, recommendation,
       occurred_at, stored_at, experiments::text
FROM events WHERE stored_at >= $1
"""


async def fetch_rows(dsn: str, since: datetime) -> list[Row]:
    """Fetch the rows stored since a moment of the database's clock."""
    return [Row(*record.values()) for record in await _fetch(dsn, ROWS, since)]


async def fetch_now(dsn: str) -> datetime:
    """Fetch the database's clock."""
    now: datetime = (await _fetch(dsn, "SELECT clock_timestamp()"))[0][0]
    return now


async def count_dead_letters(dsn: str) -> int:
    """Count what the logger could not store."""
    return int((await _fetch(dsn, "SELECT count(*) FROM dead_letters"))[0][0])


async def count_events(dsn: str) -> int:
    """Count all rows."""
    return int((await _fetch(dsn, "SELECT count(*) FROM events"))[0][0])


async def _fetch(dsn: str, query: str, *arguments: object) -> list[Any]:
    connection = await asyncpg.connect(dsn)
    try:
        rows: list[Any] = await connection.fetch(query, *arguments)
        return rows
    finally:
        await connection.close()
