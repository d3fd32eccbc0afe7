"""Sum days up in one pass of sorted, narrow rows; refresh listeners in parts, and say how far.

Revision ID: 0007
"""

import importlib

from services.logger.adapters.migrate import execute_script

_VERSIONS = "services.logger.adapters.migrations.versions"
days = importlib.import_module(f"{_VERSIONS}.0004_listening_days")
listeners = importlib.import_module(f"{_VERSIONS}.0005_experiment_listeners")

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

# From events to rows of listening_days. One sort of narrow rows, by a number of listener and track,
# tells what was heard before on the day; another by session lets count(DISTINCT artist) take its
# rows as they come. A listener's track of one millisecond in two
# sessions is a repeat in one of them, in a fixed order.
SUM_UP = """
    SELECT user_id, (first_at AT TIME ZONE 'UTC')::date AS day, experiments,
           min(first_at) AS first_at, max(last_at) AS last_at,
           count(*) AS n_sessions, count(*) FILTER (WHERE is_finished) AS n_finished,
           sum(n_tracks)::bigint AS n_tracks, sum(n_recommended)::bigint AS n_recommended,
           sum(time) AS time, sum(n_skipped)::bigint AS n_skipped,
           sum(n_completed)::bigint AS n_completed, sum(n_repeats)::bigint AS n_repeats,
           sum(n_requests)::bigint AS n_requests, sum(n_fallbacks)::bigint AS n_fallbacks,
           sum(latency) AS latency, sum(n_artists)::bigint AS n_artists
    FROM (
        SELECT user_id, session_id, experiments,
               min(occurred_at) AS first_at, max(occurred_at) AS last_at,
               bool_or(is_last) AS is_finished,
               count(*) AS n_tracks,
               count(*) FILTER (WHERE is_recommended) AS n_recommended,
               sum(time) AS time,
               count(*) FILTER (WHERE is_recommended AND time < 0.5) AS n_skipped,
               count(*) FILTER (WHERE is_recommended AND time >= 0.9) AS n_completed,
               count(*) FILTER (WHERE is_repeat) AS n_repeats,
               count(*) FILTER (WHERE NOT is_last) AS n_requests,
               count(*) FILTER (WHERE is_fallback) AS n_fallbacks,
               coalesce(sum(latency::float8) FILTER (WHERE NOT is_last), 0) AS latency,
               nullif(count(DISTINCT tracks.artist COLLATE "C"), 0) AS n_artists
        FROM (
            SELECT events.user_id, events.session_id, events.experiments, events.track_id,
                   events.occurred_at, events.time, events.latency,
                   events.position > 0 AS is_recommended,
                   events.message = 'last' AS is_last,
                   events.fallback IS NOT NULL AS is_fallback,
                   lag(events.occurred_at) OVER (
                       PARTITION BY events.user_id::bigint << 32 | events.track_id
                       ORDER BY events.occurred_at, events.session_id, events.position
                   ) >= date_trunc('day', events.occurred_at, 'UTC') AS is_repeat
            FROM {events}
        ) AS heard
        LEFT JOIN tracks USING (track_id)
        GROUP BY user_id, session_id, experiments
    ) AS session
    {where}
    GROUP BY user_id, (first_at AT TIME ZONE 'UTC')::date, experiments
"""

_BETWEEN_EVENTS = "events WHERE events.occurred_at >= since AND events.occurred_at < until"
BETWEEN = f"""
CREATE OR REPLACE FUNCTION listening_days_between(since timestamptz, until timestamptz)
RETURNS SETOF listening_days
LANGUAGE sql STABLE PARALLEL SAFE AS $${SUM_UP.format(events=_BETWEEN_EVENTS, where="")}$$;
"""

# Not a temporary table: parallel workers see none. Rows are deleted, not truncated, which would
# wait for whoever reads the whole database, such as a backup.
NEWS = """
CREATE UNLOGGED TABLE listeners_with_news (
    user_id integer PRIMARY KEY,
    since   date    NOT NULL
);
COMMENT ON TABLE listeners_with_news IS
    'Of whom a refresh makes days anew, from which day on; empty between refreshes.';
"""

# A part is of so many new events that what is sorted fits into memory; each takes a look
# at all events, and so there are at most twenty. How far a refresh is stands in the name of its
# connection, where everybody sees it while its rows are not committed yet.
_PART = "BETWEEN part.first_user AND part.last_user"
_EVENTS = f"""events JOIN listeners_with_news AS changed ON changed.user_id = events.user_id
                AND events.occurred_at >= (changed.since - 1)::timestamp AT TIME ZONE 'UTC'
            WHERE events.user_id {_PART} AND changed.user_id {_PART}"""
_OF_CHANGED = f"""JOIN listeners_with_news AS changed USING (user_id)
    WHERE (first_at AT TIME ZONE 'UTC')::date >= changed.since AND user_id {_PART}"""
_DAYS = (
    f"(SELECT * FROM listening_days JOIN listeners_with_news USING (user_id) WHERE user_id {_PART})"  # noqa: S608 - our own text
)
_NAMED = f"""JOIN (
            SELECT DISTINCT user_id, jsonb_object_keys(experiments) AS experiment
            FROM listening_days JOIN listeners_with_news USING (user_id)
            WHERE user_id {_PART}
        ) AS named USING (user_id)"""  # noqa: S608 - our own text
REFRESH = f"""
DROP FUNCTION refresh_listening_days();
CREATE FUNCTION refresh_listening_days(events_per_part bigint DEFAULT 1500000) RETURNS bigint
LANGUAGE plpgsql SET work_mem = '256MB' AS $$
DECLARE
    most_parts CONSTANT bigint := 20;
    began_at timestamptz;
    earlier  pg_snapshot;
    latest   pg_snapshot;
    n_parts  bigint;
    n_new    bigint;
    n_rows   bigint := 0;
    part     record;
BEGIN
    PERFORM pg_advisory_xact_lock(x'5E6E0004'::bigint);
    began_at := clock_timestamp();
    latest := pg_current_snapshot();  -- before that of the query below, which sees no less
    SELECT seen INTO earlier FROM listening_days_refreshed;
    IF pg_snapshot_xmax(earlier) > pg_snapshot_xmax(latest) THEN
        earlier := NULL;
    END IF;
    PERFORM set_config('application_name', 'segue refresh: looking for news', true);
    CREATE TEMP TABLE news ON COMMIT DROP AS
        SELECT user_id, min((occurred_at AT TIME ZONE 'UTC')::date) - 1 AS since,
               count(*) AS n_events
        FROM events
        WHERE earlier IS NULL
           OR (stored_in >= pg_snapshot_xmin(earlier)::text::bigint
               AND stored_in < pg_snapshot_xmax(pg_current_snapshot())::text::bigint
               AND NOT pg_visible_in_snapshot(stored_in::text::xid8, earlier))
        GROUP BY user_id;
    SELECT least(1 + sum(n_events)::bigint / events_per_part, most_parts, count(*))
        INTO n_parts FROM news;
    INSERT INTO listeners_with_news SELECT user_id, since FROM news;
    ANALYZE listeners_with_news;
    FOR part IN
        SELECT number, min(user_id) AS first_user, max(user_id) AS last_user
        FROM (SELECT user_id, ntile(n_parts::integer) OVER (ORDER BY user_id) AS number FROM news)
        GROUP BY number ORDER BY number
    LOOP
        PERFORM set_config('application_name', format(
            'segue refresh: %s%%', 100 * (part.number - 1) / n_parts
        ), true);
        CREATE TEMP TABLE anew ON COMMIT DROP AS
        {SUM_UP.format(events=_EVENTS, where=_OF_CHANGED)};
        DELETE FROM listening_days AS old USING listeners_with_news AS changed
            WHERE old.user_id = changed.user_id AND old.day >= changed.since
              AND old.user_id {_PART};
        INSERT INTO listening_days SELECT * FROM anew;
        GET DIAGNOSTICS n_new = ROW_COUNT;
        n_rows := n_rows + n_new;
        DROP TABLE anew;
        DELETE FROM experiment_listeners AS old USING listeners_with_news AS changed
            WHERE old.user_id = changed.user_id AND old.user_id {_PART};
        INSERT INTO experiment_listeners
        {listeners.sum_up(_DAYS, _NAMED)};
    END LOOP;
    DROP TABLE news;
    DELETE FROM listeners_with_news;
    INSERT INTO listening_days_refreshed (refreshed_at, seen) VALUES (began_at, latest)
        ON CONFLICT (only_row) DO UPDATE
        SET refreshed_at = EXCLUDED.refreshed_at, seen = EXCLUDED.seen;
    RETURN n_rows;
END
$$;
COMMENT ON FUNCTION refresh_listening_days IS
    'Brings listening_days and experiment_listeners up to date with the events stored since; '
    'returns the days made anew. How far it is stands in pg_stat_activity.application_name.';
"""  # noqa: S608 - our own text

UPGRADE = BETWEEN + NEWS + REFRESH
DOWNGRADE = f"""
DROP FUNCTION refresh_listening_days;
{listeners.REFRESH}
{days.BETWEEN.replace("CREATE FUNCTION", "CREATE OR REPLACE FUNCTION")}
DROP TABLE listeners_with_news;
"""


def upgrade() -> None:
    """Replace the refresh and what sums days up."""
    execute_script(UPGRADE)


def downgrade() -> None:
    """Go back to the refresh of everything at once."""
    execute_script(DOWNGRADE)
