"""What a listener did on a day, in sums from which every metric of an experiment follows.

Revision ID: 0004
"""

from services.logger.adapters.migrate import execute_script

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

TRACKS = """
CREATE TABLE tracks (
    track_id integer PRIMARY KEY CHECK (track_id >= 0),
    artist   text    NOT NULL,
    title    text    NOT NULL,
    genre    text
);
COMMENT ON TABLE tracks IS 'The catalogue, as the recommender published it; the logger copies it.';
"""

# One row per listener, day and set of treatments: sums only, so that days add up. A session is of
# the day on which it began. What came before an exposure is the rows that do not name the
# experiment.
LISTENING_DAYS = """
CREATE TABLE listening_days (
    user_id       integer          NOT NULL,
    day           date             NOT NULL,
    experiments   jsonb            NOT NULL,
    first_at      timestamptz      NOT NULL,
    last_at       timestamptz      NOT NULL,
    n_sessions    bigint           NOT NULL,
    n_finished    bigint           NOT NULL,
    n_tracks      bigint           NOT NULL,
    n_recommended bigint           NOT NULL,
    time          double precision NOT NULL,
    n_skipped     bigint           NOT NULL,
    n_completed   bigint           NOT NULL,
    n_repeats     bigint           NOT NULL,
    n_requests    bigint           NOT NULL,
    n_fallbacks   bigint           NOT NULL,
    latency       double precision NOT NULL,
    n_artists     bigint,
    PRIMARY KEY (user_id, day, experiments)
);
COMMENT ON TABLE listening_days IS
    'One row per listener, day (UTC) and set of treatments: sums over the sessions begun that day.';
COMMENT ON COLUMN listening_days.n_recommended IS
    'Tracks heard after the first of their session, which the listener chose.';
COMMENT ON COLUMN listening_days.time IS 'Fractions listened, summed.';
COMMENT ON COLUMN listening_days.n_skipped IS 'Of n_recommended, heard for less than half.';
COMMENT ON COLUMN listening_days.n_completed IS 'Of n_recommended, heard to 90% or more.';
COMMENT ON COLUMN listening_days.n_repeats IS
    'Playbacks of a track that the listener had heard before on the same day.';
COMMENT ON COLUMN listening_days.latency IS 'Seconds of the decisions, summed.';
COMMENT ON COLUMN listening_days.n_artists IS
    'Distinct artists per session, summed; null where the catalogue knows none of the tracks.';
"""

# From `heard`, whose rows are events, to rows of listening_days. Grouped twice by hash, by artist
# and then by session: count(DISTINCT artist) would sort everything by a jsonb.
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
               min(first_at) AS first_at, max(last_at) AS last_at,
               bool_or(is_finished) AS is_finished, sum(n_tracks) AS n_tracks,
               sum(n_recommended) AS n_recommended, sum(time) AS time,
               sum(n_skipped) AS n_skipped, sum(n_completed) AS n_completed,
               sum(n_repeats) AS n_repeats, sum(n_requests) AS n_requests,
               sum(n_fallbacks) AS n_fallbacks, sum(latency) AS latency,
               nullif(count(artist), 0) AS n_artists
        FROM (
            SELECT heard.user_id, heard.session_id, heard.experiments, tracks.artist,
                   min(heard.occurred_at) AS first_at, max(heard.occurred_at) AS last_at,
                   bool_or(heard.message = 'last') AS is_finished,
                   count(*) AS n_tracks,
                   count(*) FILTER (WHERE heard.position > 0) AS n_recommended,
                   sum(heard.time) AS time,
                   count(*) FILTER (WHERE heard.position > 0 AND heard.time < 0.5) AS n_skipped,
                   count(*) FILTER (WHERE heard.position > 0 AND heard.time >= 0.9) AS n_completed,
                   count(*) FILTER (WHERE heard.is_repeat) AS n_repeats,
                   count(*) FILTER (WHERE heard.message = 'next') AS n_requests,
                   count(heard.fallback) AS n_fallbacks,
                   coalesce(
                       sum(heard.latency::double precision) FILTER (WHERE heard.message = 'next'),
                       0
                   ) AS latency
            FROM (
                SELECT events.*,
                       row_number() OVER (
                           PARTITION BY events.user_id, events.track_id,
                                        (events.occurred_at AT TIME ZONE 'UTC')::date
                           ORDER BY events.occurred_at, events.event_id
                       ) > 1 AS is_repeat
                FROM {events}
            ) AS heard
            LEFT JOIN tracks USING (track_id)
            GROUP BY heard.user_id, heard.session_id, heard.experiments, tracks.artist
        ) AS artist
        GROUP BY user_id, session_id, experiments
    ) AS session
    {where}
    GROUP BY user_id, (first_at AT TIME ZONE 'UTC')::date, experiments
"""

_BETWEEN_EVENTS = "events WHERE events.occurred_at >= since AND events.occurred_at < until"
BETWEEN = (
    """
CREATE FUNCTION listening_days_between(since timestamptz, until timestamptz)
RETURNS SETOF listening_days
LANGUAGE sql STABLE PARALLEL SAFE AS $$"""
    + SUM_UP.format(events=_BETWEEN_EVENTS, where="")
    + """$$;
COMMENT ON FUNCTION listening_days_between IS
    'What listening_days holds, from the events of since <= occurred_at < until, as of now.';
"""
)

# Rows are seen by others when their transaction commits, which is later than stored_at: what was
# stored up to five minutes before the last refresh is looked at again. Sums are made anew, never
# added to, so that looking twice changes nothing. A session that began yesterday makes yesterday
# anew; one that lasts longer than a day counts from where the day before its end begins.
_CHANGED_EVENTS = """events JOIN changed ON changed.user_id = events.user_id
                    AND events.occurred_at >= (changed.since - 1)::timestamp AT TIME ZONE 'UTC'"""
_CHANGED_DAYS = """JOIN changed USING (user_id)
    WHERE (first_at AT TIME ZONE 'UTC')::date >= changed.since"""
REFRESH = (
    """
CREATE TABLE listening_days_refreshed (
    only_row     boolean     PRIMARY KEY DEFAULT true CHECK (only_row),
    refreshed_at timestamptz NOT NULL
);
COMMENT ON TABLE listening_days_refreshed IS
    'When listening_days was last brought up to date; without a row, all is made anew.';

CREATE FUNCTION refresh_listening_days() RETURNS bigint
LANGUAGE plpgsql AS $$
DECLARE
    began_at timestamptz;
    n_rows   bigint;
BEGIN
    PERFORM pg_advisory_xact_lock(x'5E6E0004'::bigint);
    began_at := clock_timestamp();
    CREATE TEMP TABLE changed ON COMMIT DROP AS
        SELECT user_id, min((occurred_at AT TIME ZONE 'UTC')::date) - 1 AS since
        FROM events
        WHERE stored_at >= coalesce(
            (SELECT refreshed_at FROM listening_days_refreshed), '-infinity'
        ) - interval '5 minutes'
        GROUP BY user_id;
    ANALYZE changed;
    DELETE FROM listening_days AS old USING changed
        WHERE old.user_id = changed.user_id AND old.day >= changed.since;
    INSERT INTO listening_days"""  # noqa: S608 - our own text
    + SUM_UP.format(events=_CHANGED_EVENTS, where=_CHANGED_DAYS)
    + """;
    GET DIAGNOSTICS n_rows = ROW_COUNT;
    DROP TABLE changed;
    INSERT INTO listening_days_refreshed (refreshed_at) VALUES (began_at)
        ON CONFLICT (only_row) DO UPDATE SET refreshed_at = EXCLUDED.refreshed_at;
    RETURN n_rows;
END
$$;
COMMENT ON FUNCTION refresh_listening_days IS
    'Brings listening_days up to date with the events stored since; returns the rows made anew.';
"""
)

UPGRADE = TRACKS + LISTENING_DAYS + BETWEEN + REFRESH
DOWNGRADE = """
DROP FUNCTION refresh_listening_days, listening_days_between;
DROP TABLE listening_days_refreshed, listening_days, tracks;
"""


def upgrade() -> None:
    """Create the catalogue's table, the sums, and what keeps them up to date."""
    execute_script(UPGRADE)


def downgrade() -> None:
    """Drop them; they follow from the events."""
    execute_script(DOWNGRADE)
