"""What the log holds of the last minutes, from Postgres."""

import uuid
from datetime import UTC, datetime, timedelta

import asyncpg

from analysis.core.activity import Minute

# Event ids begin with their millisecond, so that their index finds the latest events.
MINUTES = """
SELECT date_trunc('minute', occurred_at) AS start_at, count(*) AS n_events,
       count(*) FILTER (WHERE message = 'next') AS n_requests, count(fallback) AS n_fallbacks
FROM events
WHERE event_id >= $1 AND occurred_at >= $2
GROUP BY 1
"""


async def fetch_minutes(
    connection: asyncpg.Connection, *, now: datetime, n_minutes: int
) -> list[Minute]:
    """Fetch the last minutes, oldest first, those without events too; the last is not over."""
    last_at = now.astimezone(UTC).replace(second=0, microsecond=0)
    starts = [last_at - timedelta(minutes=n) for n in range(n_minutes)][::-1]
    rows = await connection.fetch(MINUTES, _least_id(starts[0]), starts[0])
    found = {row["start_at"]: Minute(**row) for row in rows}
    return [found.get(start, Minute(start, 0, 0, 0)) for start in starts]


def _least_id(at: datetime) -> uuid.UUID:
    return uuid.UUID(int=int(at.timestamp() * 1000) << 80)
