"""What a listener did on a day, in sums from which every metric of an experiment follows.

Revision ID: 0004
"""

from services.logger.adapters.migrate import execute_script

revision = "0004"
down_revision = "0002"
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
CREATE FUNCTION listening_days_between(since timestamptz, until timestamptz)
RETURNS TABLE (
    user_id integer, day date, experiments jsonb, first_at timestamptz, last_at timestamptz,
    n_sessions bigint, n_finished bigint, n_tracks bigint, n_recommended bigint,
    "time" double precision, n_skipped bigint, n_completed bigint, n_repeats bigint,
    n_requests bigint, n_fallbacks bigint, latency double precision, n_artists bigint
)
LANGUAGE sql STABLE PARALLEL SAFE AS $$
    SELECT session.user_id, (session.first_at AT TIME ZONE 'UTC')::date, session.experiments,
           min(session.first_at), max(session.last_at),
           count(*), count(*) FILTER (WHERE session.is_finished),
           sum(session.n_tracks)::bigint, sum(session.n_recommended)::bigint, sum(session.time),
           sum(session.n_skipped)::bigint, sum(session.n_completed)::bigint,
           sum(session.n_repeats)::bigint, sum(session.n_requests)::bigint,
           sum(session.n_fallbacks)::bigint, sum(session.latency), sum(session.n_artists)::bigint
    FROM (
        SELECT heard.user_id, heard.session_id, heard.experiments,
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
                   sum(heard.latency::double precision) FILTER (WHERE heard.message = 'next'), 0
               ) AS latency,
               nullif(count(DISTINCT tracks.artist), 0) AS n_artists
        FROM (
            SELECT events.*,
                   row_number() OVER (
                       PARTITION BY events.user_id, events.track_id
                       ORDER BY events.occurred_at, events.event_id
                   ) > 1 AS is_repeat
            FROM events
            WHERE events.occurred_at >= since AND events.occurred_at < until
        ) AS heard
        LEFT JOIN tracks USING (track_id)
        GROUP BY heard.user_id, heard.session_id, heard.experiments
    ) AS session
    GROUP BY 1, 2, 3
$$;

CREATE VIEW listening_days AS
SELECT * FROM listening_days_between('-infinity', 'infinity');

COMMENT ON FUNCTION listening_days_between IS
    'listening_days, from the events of since <= occurred_at < until.';
COMMENT ON VIEW listening_days IS
    'One row per listener, day (UTC) and set of treatments: sums over the sessions begun that day.';
COMMENT ON COLUMN listening_days.n_recommended IS
    'Tracks heard after the first of their session, which the listener chose.';
COMMENT ON COLUMN listening_days.n_skipped IS 'Of n_recommended, heard for less than half.';
COMMENT ON COLUMN listening_days.n_completed IS 'Of n_recommended, heard to 90% or more.';
COMMENT ON COLUMN listening_days.n_repeats IS
    'Playbacks of a track that the listener had heard before (since the lower bound).';
COMMENT ON COLUMN listening_days.latency IS 'Seconds of the decisions, summed.';
COMMENT ON COLUMN listening_days.n_artists IS
    'Distinct artists per session, summed; null where the catalogue knows none of the tracks.';
"""

UPGRADE = TRACKS + LISTENING_DAYS
DOWNGRADE = """
DROP VIEW listening_days;
DROP FUNCTION listening_days_between;
DROP TABLE tracks;
"""


def upgrade() -> None:
    """Create the catalogue's table, the view and its function."""
    execute_script(UPGRADE)


def downgrade() -> None:
    """Drop them."""
    execute_script(DOWNGRADE)
