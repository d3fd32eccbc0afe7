"""An experiment over time, from the views in Postgres."""

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

import asyncpg

from analysis.core.timeline import DAY, Step, Timeline, choose_width

# Sessions by the interval in which they began. $1 experiment, $2 width, $3 start of the first.
# Whole days are kept as sums; what is shorter takes the events.
_SESSIONS_OF_DAYS = """
    SELECT experiments ->> $1 AS treatment, user_id, n_sessions::float8, n_tracks::float8, "time",
           n_requests::float8, latency,
           date_bin($2, day::timestamp AT TIME ZONE 'UTC', $3) AS start_at
    FROM listening_days
    WHERE experiments ? $1
"""
_SESSIONS_OF_EVENTS = """
    SELECT experiments ->> $1 AS treatment, user_id, 1::float8 AS n_sessions,
           count(*)::float8 AS n_tracks, sum("time") AS "time",
           (count(*) FILTER (WHERE message = 'next'))::float8 AS n_requests,
           coalesce(sum(latency::float8) FILTER (WHERE message = 'next'), 0) AS latency,
           date_bin($2, min(occurred_at), $3) AS start_at
    FROM events
    WHERE experiments ? $1
    GROUP BY 1, user_id, session_id
"""
# A user's value of a metric changes only where a session of theirs begins. So each interval has,
# per user with a session in it, the value after it and the value before: the sums over users
# follow from the differences, without a row for every user and interval.
_SUMS = ("n_sessions", "n_tracks", "time", "n_requests", "latency")
_METRICS = {
    "time": "{when}_time",
    "sessions": "{when}_n_sessions",
    "mean_request_latency": "1000 * {when}_latency / nullif({when}_n_requests, 0)",
    "mean_tracks_per_session": "{when}_n_tracks / {when}_n_sessions",
    "mean_time_per_session": "{when}_time / {when}_n_sessions",
}


def _change(name: str, value: str) -> str:
    """Return the SQL of how the users, their values' sum and that of the squares change."""
    after, before = value.format(when="after"), value.format(when="before")
    return f"""ARRAY[
        count({after}) - count({before}),
        sum(coalesce({after}, 0) - coalesce({before}, 0)),
        sum(coalesce(({after}) ^ 2, 0) - coalesce(({before}) ^ 2, 0))
    ] AS {name}"""


_OWN = ", ".join(f"sum(session.{name}) AS {name}" for name in _SUMS)
_AFTER = ", ".join(f"sum({name}) OVER so_far AS after_{name}" for name in _SUMS)
# null without an earlier session
_BEFORE = ", ".join(
    f"CASE WHEN n_sessions < after_n_sessions THEN after_{name} - {name} END AS before_{name}"
    for name in _SUMS
)
_STEPS = f"""
WITH own AS (
    SELECT session.treatment, session.user_id, session.start_at, {_OWN}
    FROM ({{sessions}}) AS session
    JOIN experiment_listeners AS listener USING (user_id)
    WHERE listener.experiment = $1 AND NOT listener.is_conflict
    GROUP BY session.treatment, session.user_id, session.start_at
),
part AS (
    SELECT *, {_AFTER}
    FROM own
    WINDOW so_far AS (PARTITION BY user_id ORDER BY start_at)
),
change AS (
    SELECT *, {_BEFORE} FROM part
)
SELECT treatment, start_at, sum(n_sessions)::bigint AS n_sessions,
       {", ".join(_change(name, value) for name, value in _METRICS.items())}
FROM change
GROUP BY treatment, start_at
ORDER BY start_at
"""  # noqa: S608 - our own text


async def fetch_timeline(
    connection: asyncpg.Connection,
    experiment: str,
    *,
    first_at: datetime,
    last_at: datetime,
    n_intervals: int = 48,
) -> Timeline:
    """Fetch an experiment over time.

    Args:
        connection: As `open_database` gives it.
        experiment: Its name.
        first_at: Time of its first event, where the first interval starts.
        last_at: Time of its last.
        n_intervals: At most.
    """
    width = choose_width(last_at - first_at, n_intervals=n_intervals)
    is_of_days = width >= DAY
    if is_of_days:
        first_at = first_at.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    sessions = _SESSIONS_OF_DAYS if is_of_days else _SESSIONS_OF_EVENTS
    rows = await connection.fetch(_STEPS.format(sessions=sessions), experiment, width, first_at)
    return Timeline(width=width, steps=tuple(step for row in rows for step in _read_steps(row)))


def _read_steps(row: Mapping[str, Any]) -> Iterator[Step]:
    for name in _METRICS:
        n_users, total, total_squares = row[name]
        yield Step(
            treatment=row["treatment"],
            metric=name,
            start_at=row["start_at"],
            n_sessions=row["n_sessions"],
            n_users=int(n_users),
            total=total,
            total_squares=total_squares,
        )
