"""An experiment over time, from the views in Postgres."""

from datetime import datetime

import asyncpg

from analysis.core.timeline import Step, Timeline, choose_width

# A user's value of a metric changes only where a session of theirs begins. So each interval has,
# per user with a session in it, the value after it and the value before: the sums over users
# follow from the differences, without a row for every user and interval.
STEPS = """
WITH session AS (
    SELECT treatment, user_id, date_bin($2, started_at, $3) AS start_at,
           n_tracks, "time", n_requests, latency
    FROM experiment_sessions
    WHERE experiment = $1
), part AS (
    SELECT treatment, user_id, start_at, count(*) AS n_new,
           sum(count(*)) OVER so_far AS n_sessions,
           sum(sum(n_tracks)) OVER so_far AS n_tracks,
           sum(sum("time")) OVER so_far AS "time",
           sum(sum(n_requests)) OVER so_far AS n_requests,
           sum(sum(latency)) OVER so_far AS latency
    FROM session
    WHERE user_id NOT IN (
        SELECT user_id FROM session GROUP BY user_id HAVING min(treatment) < max(treatment)
    )
    GROUP BY treatment, user_id, start_at
    WINDOW so_far AS (PARTITION BY user_id ORDER BY start_at)
), change AS (
    SELECT treatment, start_at, n_new, metric.name, metric.value,
           lag(metric.value) OVER (PARTITION BY user_id, metric.name ORDER BY start_at) AS earlier
    FROM part
    CROSS JOIN LATERAL (VALUES
        ('time',                    "time"),
        ('sessions',                n_sessions::double precision),
        ('mean_request_latency',    1000 * latency / nullif(n_requests, 0)::double precision),
        ('mean_tracks_per_session', n_tracks::double precision / n_sessions::double precision),
        ('mean_time_per_session',   "time" / n_sessions::double precision)
    ) AS metric (name, value)
)
SELECT treatment, name AS metric, start_at, sum(n_new)::bigint AS n_sessions,
       count(value) - count(earlier) AS n_users,
       sum(coalesce(value, 0) - coalesce(earlier, 0)) AS total,
       sum(coalesce(value * value, 0) - coalesce(earlier * earlier, 0)) AS total_squares
FROM change
GROUP BY treatment, name, start_at
ORDER BY start_at
"""


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
    rows = await connection.fetch(STEPS, experiment, width, first_at)
    return Timeline(width=width, steps=tuple(Step(**row) for row in rows))
