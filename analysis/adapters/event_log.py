"""The events themselves, a day at a time, in memory that does not grow with the day."""

import uuid
from collections.abc import AsyncIterator
from datetime import UTC, date, datetime, time, timedelta
from typing import Any

import asyncpg

DAYS = """
SELECT (occurred_at AT TIME ZONE 'UTC')::date AS day, count(*) AS n_events
FROM events
WHERE occurred_at >= $1 AND occurred_at < $2
  AND ($3::float8 = 1 OR abs(hashint4(user_id)::bigint) < $3 * 2147483648)
GROUP BY 1
ORDER BY 1
"""
# An event's id begins with its millisecond: the index of ids finds a day and yields it in order.
EVENTS = """
SELECT uuid_send(event_id) AS event_id, message, occurred_at, user_id,
       uuid_send(session_id) AS session_id, position, track_id, time, latency, recommendation,
       recommender, model_version, propensity, fallback, experiments, stored_at
FROM events
WHERE event_id >= $1 AND event_id < $2 AND occurred_at >= $3 AND occurred_at < $4
  AND ($5::float8 = 1 OR abs(hashint4(user_id)::bigint) < $5 * 2147483648)
ORDER BY event_id
"""
ALWAYS, FOREVER = datetime(1970, 1, 1, tzinfo=UTC), datetime(9999, 1, 1, tzinfo=UTC)
ROWS_AT_ONCE = 10_000


async def count_events_by_day(
    connection: asyncpg.Connection,
    *,
    since: datetime | None,
    until: datetime | None,
    share: float = 1.0,
) -> dict[date, int]:
    """Count the events of since <= time < until, per day (UTC) that has any, in order.

    Args:
        connection: To Postgres.
        since, until: Half-open window.
        share: Of the listeners, drawn by a hash of their ids: a smaller share is part of a larger.
    """
    rows = await connection.fetch(DAYS, since or ALWAYS, until or FOREVER, share)
    return {row["day"]: row["n_events"] for row in rows}


async def stream_events(
    connection: asyncpg.Connection, day: date, *, share: float = 1.0
) -> AsyncIterator[list[asyncpg.Record]]:
    """Yield the events of a day (UTC) in the order of their ids, some rows at a time.

    `share` is as in `count_events_by_day`.

    Columns are those of the table; `event_id` and `session_id` are 16 bytes, `experiments` JSON.
    The connection must be in a transaction.
    """
    start = datetime.combine(day, time(), UTC)
    end = start + timedelta(days=1)
    bounds = (_least_id(start), _least_id(end), start, end)
    cursor: Any = await connection.cursor(EVENTS, *bounds, share)
    while rows := await cursor.fetch(ROWS_AT_ONCE):
        yield rows


def _least_id(at: datetime) -> uuid.UUID:
    return uuid.UUID(int=int(at.timestamp() * 1000) << 80)
