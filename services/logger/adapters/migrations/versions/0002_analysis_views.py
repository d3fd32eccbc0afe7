"""Views that answer questions: playbacks, sessions, and what an experiment did.

Revision ID: 0002
"""

from services.logger.adapters.migrate import execute_script

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

PLAYBACKS = """
CREATE VIEW playbacks AS
SELECT event_id, session_id, position, user_id, track_id, time, occurred_at, is_recommended,
       CASE WHEN is_recommended THEN previous_recommender   END AS recommender,
       CASE WHEN is_recommended THEN previous_model_version END AS model_version,
       CASE WHEN is_recommended THEN previous_propensity    END AS propensity,
       CASE WHEN is_recommended THEN previous_fallback      END AS fallback,
       experiments
FROM (
    SELECT *,
           lag(position)       OVER session AS previous_position,
           lag(recommendation) OVER session AS previous_recommendation,
           lag(recommender)    OVER session AS previous_recommender,
           lag(model_version)  OVER session AS previous_model_version,
           lag(propensity)     OVER session AS previous_propensity,
           lag(fallback)       OVER session AS previous_fallback
    FROM events
    WINDOW session AS (PARTITION BY user_id, session_id ORDER BY position, occurred_at, event_id)
) AS event
CROSS JOIN LATERAL (
    SELECT coalesce(previous_position = position - 1 AND previous_recommendation = track_id, false)
           AS is_recommended
) AS origin;

COMMENT ON VIEW playbacks IS
    'One row per event: a track heard, what served it. Filters on user_id and session_id are fast.';
COMMENT ON COLUMN playbacks.position IS 'Of track_id in its session, from 0.';
COMMENT ON COLUMN playbacks.time IS 'Fraction of track_id that was listened to, in [0, 1].';
COMMENT ON COLUMN playbacks.is_recommended IS
    'Whether the previous event of the session answered track_id; if not, the listener chose it.';
COMMENT ON COLUMN playbacks.recommender IS
    'Policy that served track_id (of the previous event); null where the listener chose.';
COMMENT ON COLUMN playbacks.model_version IS 'Model version that served track_id, if any.';
COMMENT ON COLUMN playbacks.propensity IS 'P(track_id) under the policy that served it.';
COMMENT ON COLUMN playbacks.fallback IS 'Why the treatment''s own recommender did not serve it.';
COMMENT ON COLUMN playbacks.experiments IS 'Treatment per experiment name.';
"""

SESSIONS = """
CREATE VIEW sessions AS
SELECT session_id,
       user_id,
       min(occurred_at)                         AS started_at,
       max(occurred_at)                         AS ended_at,
       count(*)                                 AS n_tracks,
       sum(time)                                AS time,
       bool_or(message = 'last')                AS is_finished,
       count(*) FILTER (WHERE message = 'next') AS n_requests,
       avg(latency::double precision) FILTER (WHERE message = 'next') AS mean_latency,
       count(fallback)                          AS n_fallbacks
FROM events
GROUP BY session_id, user_id;

COMMENT ON VIEW sessions IS
    'One row per session. Filters on session_id and user_id are fast.';
COMMENT ON COLUMN sessions.started_at IS 'When its first request was answered.';
COMMENT ON COLUMN sessions.ended_at IS 'When its latest request was answered.';
COMMENT ON COLUMN sessions.n_tracks IS 'Tracks heard, with the first, which the listener chose.';
COMMENT ON COLUMN sessions.time IS 'Fractions listened, summed: tracks'' worth of listening.';
COMMENT ON COLUMN sessions.is_finished IS 'Whether the session was closed (message last).';
COMMENT ON COLUMN sessions.n_requests IS 'Requests for a next track.';
COMMENT ON COLUMN sessions.mean_latency IS 'Mean seconds of the decisions; null without one.';
COMMENT ON COLUMN sessions.n_fallbacks IS 'Answers that the treatment''s own policy did not give.';
"""

# The functions take the bounds that a view cannot. Each is one STABLE SELECT, which Postgres
# inlines: a WHERE on experiment or user_id of their rows reaches the scan of events, and the
# bounds prune its partitions.
EXPERIMENT_SESSIONS = """
CREATE FUNCTION experiment_sessions_between(since timestamptz, until timestamptz)
RETURNS TABLE (
    experiment text, treatment text, user_id integer, session_id uuid,
    started_at timestamptz, ended_at timestamptz, is_finished boolean,
    n_tracks bigint, "time" double precision, n_requests bigint, latency double precision
)
LANGUAGE sql STABLE PARALLEL SAFE AS $$
    SELECT assignment.key, assignment.value, events.user_id, events.session_id,
           min(events.occurred_at), max(events.occurred_at), bool_or(events.message = 'last'),
           count(*), sum(events.time),
           count(*) FILTER (WHERE events.message = 'next'),
           sum(events.latency::double precision) FILTER (WHERE events.message = 'next')
    FROM events CROSS JOIN LATERAL jsonb_each_text(events.experiments) AS assignment
    WHERE events.occurred_at >= since AND events.occurred_at < until
    GROUP BY 1, 2, 3, 4
$$;

CREATE VIEW experiment_sessions AS
SELECT * FROM experiment_sessions_between('-infinity', 'infinity');

COMMENT ON FUNCTION experiment_sessions_between IS
    'experiment_sessions, from the events of since <= occurred_at < until.';
COMMENT ON VIEW experiment_sessions IS
    'One row per experiment, treatment and session, from the events that name the experiment.';
COMMENT ON COLUMN experiment_sessions.is_finished IS 'Whether the session was closed.';
COMMENT ON COLUMN experiment_sessions.n_tracks IS 'Tracks heard.';
COMMENT ON COLUMN experiment_sessions.time IS 'Fractions listened, summed.';
COMMENT ON COLUMN experiment_sessions.n_requests IS 'Requests for a next track.';
COMMENT ON COLUMN experiment_sessions.latency IS 'Seconds of these decisions, summed.';
"""

EXPERIMENT_USERS = """
CREATE FUNCTION experiment_users_between(since timestamptz, until timestamptz)
RETURNS TABLE (
    experiment text, treatment text, user_id integer, first_at timestamptz, last_at timestamptz,
    n_sessions bigint, n_finished bigint, n_tracks bigint, "time" double precision,
    n_requests bigint, latency double precision
)
LANGUAGE sql STABLE PARALLEL SAFE AS $$
    SELECT session.experiment, min(session.treatment), session.user_id,
           min(session.started_at), max(session.ended_at),
           count(*), count(*) FILTER (WHERE session.is_finished), sum(session.n_tracks)::bigint,
           sum(session.time), sum(session.n_requests)::bigint, sum(session.latency)
    FROM experiment_sessions_between(since, until) AS session
    GROUP BY session.experiment, session.user_id
    HAVING min(session.treatment) = max(session.treatment)
$$;

CREATE FUNCTION experiment_conflicts_between(since timestamptz, until timestamptz)
RETURNS TABLE (experiment text, n_users bigint, n_tracks bigint)
LANGUAGE sql STABLE PARALLEL SAFE AS $$
    SELECT conflict.experiment, count(*), sum(conflict.n_tracks)::bigint
    FROM (
        SELECT session.experiment, session.user_id, sum(session.n_tracks) AS n_tracks
        FROM experiment_sessions_between(since, until) AS session
        GROUP BY session.experiment, session.user_id
        HAVING min(session.treatment) < max(session.treatment)
    ) AS conflict
    GROUP BY conflict.experiment
$$;

CREATE VIEW experiment_users AS
SELECT * FROM experiment_users_between('-infinity', 'infinity');

CREATE VIEW experiment_conflicts AS
SELECT * FROM experiment_conflicts_between('-infinity', 'infinity');

COMMENT ON FUNCTION experiment_users_between IS
    'experiment_users, from the events of since <= occurred_at < until.';
COMMENT ON FUNCTION experiment_conflicts_between IS
    'experiment_conflicts, from the events of since <= occurred_at < until.';
COMMENT ON VIEW experiment_users IS
    'One row per experiment and user; without users seen under two treatments of it.';
COMMENT ON COLUMN experiment_users.n_sessions IS 'Sessions, also those not closed yet.';
COMMENT ON COLUMN experiment_users.n_finished IS 'Of these, closed.';
COMMENT ON COLUMN experiment_users.n_tracks IS 'Tracks heard: one event each.';
COMMENT ON COLUMN experiment_users.time IS 'Fractions listened, summed.';
COMMENT ON COLUMN experiment_users.n_requests IS 'Requests for a next track.';
COMMENT ON COLUMN experiment_users.latency IS 'Seconds of these decisions, summed; null if none.';
COMMENT ON VIEW experiment_conflicts IS
    'Users seen under two treatments of one experiment, with their events; left out elsewhere.';
"""

EXPERIMENT_METRICS = """
CREATE FUNCTION experiment_metrics_between(since timestamptz, until timestamptz)
RETURNS TABLE (
    experiment text, treatment text, metric text, n_users bigint,
    mean double precision, variance double precision
)
LANGUAGE sql STABLE PARALLEL SAFE AS $$
    SELECT listener.experiment, listener.treatment, metric.name,
           count(metric.value), avg(metric.value), var_samp(metric.value)
    FROM experiment_users_between(since, until) AS listener
    CROSS JOIN LATERAL (VALUES
        ('time',                    listener.time),
        ('sessions',                listener.n_sessions::double precision),
        ('mean_request_latency',    1000 * listener.latency / nullif(listener.n_requests, 0)),
        ('mean_tracks_per_session', listener.n_tracks::double precision / listener.n_sessions),
        ('mean_time_per_session',   listener.time / listener.n_sessions)
    ) AS metric (name, value)
    GROUP BY 1, 2, 3
$$;

CREATE VIEW experiment_metrics AS
SELECT * FROM experiment_metrics_between('-infinity', 'infinity');

COMMENT ON FUNCTION experiment_metrics_between IS
    'experiment_metrics, from the events of since <= occurred_at < until.';
COMMENT ON VIEW experiment_metrics IS
    'Per treatment: the mean over users of each user''s metric. mean_request_latency is in ms.';
COMMENT ON COLUMN experiment_metrics.n_users IS 'Users that have the metric.';
COMMENT ON COLUMN experiment_metrics.variance IS 'Over users, unbiased; null for fewer than two.';
"""

DOWNGRADE = """
DROP VIEW experiment_metrics, experiment_conflicts, experiment_users, experiment_sessions,
          sessions, playbacks;
DROP FUNCTION experiment_metrics_between, experiment_conflicts_between, experiment_users_between,
              experiment_sessions_between;
"""

UPGRADE = "".join([PLAYBACKS, SESSIONS, EXPERIMENT_SESSIONS, EXPERIMENT_USERS, EXPERIMENT_METRICS])


def upgrade() -> None:
    """Create the views and functions."""
    execute_script(UPGRADE)


def downgrade() -> None:
    """Drop them; they hold no data."""
    execute_script(DOWNGRADE)
