"""What a listener did in an experiment and before it, in one row; kept up to date by transaction.

Revision ID: 0005
"""

import importlib

from services.logger.adapters.migrate import execute_script

days = importlib.import_module("services.logger.adapters.migrations.versions.0004_listening_days")

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

# A clock cannot say which events are new: a row is seen when its transaction commits, and that
# may be long after the row was made. A snapshot can: it knows which transactions it has seen.
STORED_IN = """
ALTER TABLE events
    ADD COLUMN stored_in bigint NOT NULL DEFAULT pg_current_xact_id()::text::bigint;
COMMENT ON COLUMN events.stored_in IS 'Number of the transaction that stored it.';
CREATE INDEX events_stored_in ON events USING brin (stored_in) WITH (autosummarize = on);
ANALYZE events (stored_in);  -- without, Postgres would not know what the index is good for

ALTER TABLE listening_days_refreshed ADD COLUMN seen pg_snapshot;
COMMENT ON COLUMN listening_days_refreshed.seen IS
    'The transactions whose events are in listening_days; null makes all anew.';
"""

# Sums are double precision, as statistics take them.
EXPERIMENT_LISTENERS = """
CREATE TABLE experiment_listeners (
    experiment       text             NOT NULL,
    user_id          integer          NOT NULL,
    treatment        text             NOT NULL,
    is_conflict      boolean          NOT NULL,
    first_at         timestamptz      NOT NULL,
    last_at          timestamptz      NOT NULL,
    first_day        date             NOT NULL,
    next_day         date,
    n_sessions       double precision NOT NULL,
    n_finished       double precision NOT NULL,
    n_tracks         double precision NOT NULL,
    n_recommended    double precision NOT NULL,
    time             double precision NOT NULL,
    n_skipped        double precision NOT NULL,
    n_completed      double precision NOT NULL,
    n_repeats        double precision NOT NULL,
    n_requests       double precision NOT NULL,
    n_fallbacks      double precision NOT NULL,
    latency          double precision NOT NULL,
    n_artists        double precision,
    past_sessions    double precision,
    past_tracks      double precision,
    past_recommended double precision,
    past_time        double precision,
    past_skipped     double precision,
    past_completed   double precision,
    past_repeats     double precision,
    past_requests    double precision,
    past_fallbacks   double precision,
    past_latency     double precision,
    past_artists     double precision,
    PRIMARY KEY (experiment, user_id)
);
CREATE INDEX experiment_listeners_user ON experiment_listeners (user_id);
COMMENT ON TABLE experiment_listeners IS
    'One row per experiment and listener: sums over its days of listening under a treatment.';
COMMENT ON COLUMN experiment_listeners.is_conflict IS 'Whether it was seen under two treatments.';
COMMENT ON COLUMN experiment_listeners.first_day IS 'On which it was first under the treatment.';
COMMENT ON COLUMN experiment_listeners.next_day IS
    'On which it came back: the next day with a session under the treatment.';
COMMENT ON COLUMN experiment_listeners.past_time IS
    'Likewise, in the 28 days before the first exposure; null without any session there.';
"""

# From days of listening to rows of experiment_listeners. What came before the exposure is the days
# that do not name the experiment and were over by then.
_SUM_UP = """
    SELECT experiment, user_id,
           min(treatment), min(treatment) < max(treatment),
           min(first_at) FILTER (WHERE treatment IS NOT NULL),
           max(last_at) FILTER (WHERE treatment IS NOT NULL),
           exposed_on, min(day) FILTER (WHERE treatment IS NOT NULL AND day > exposed_on),
           {sums}
    FROM (
        SELECT days.*, named.experiment, days.experiments ->> named.experiment AS treatment,
               min(first_at) FILTER (WHERE days.experiments ? named.experiment)
                   OVER listener AS exposed_at,
               min(day) FILTER (WHERE days.experiments ? named.experiment)
                   OVER listener AS exposed_on
        FROM {days} AS days {named}
        WINDOW listener AS (PARTITION BY named.experiment, days.user_id)
    ) AS day
    WHERE treatment IS NOT NULL OR (last_at < exposed_at AND day >= exposed_on - 28)
    GROUP BY experiment, user_id, exposed_on
"""
_NOW = (
    "n_sessions", "n_finished", "n_tracks", "n_recommended", "time", "n_skipped", "n_completed",
    "n_repeats", "n_requests", "n_fallbacks", "latency", "n_artists",
)  # fmt: skip
_PAST = (
    "n_sessions", "n_tracks", "n_recommended", "time", "n_skipped", "n_completed", "n_repeats",
    "n_requests", "n_fallbacks", "latency", "n_artists",
)  # fmt: skip
_SUMS = ", ".join(
    [f"(sum({name}) FILTER (WHERE treatment IS NOT NULL))::float8" for name in _NOW]
    + [f"(sum({name}) FILTER (WHERE treatment IS NULL))::float8" for name in _PAST]
)


def sum_up(days: str, named: str) -> str:
    return _SUM_UP.format(sums=_SUMS, days=days, named=named)


_BETWEEN = "listening_days_between(since, until)"
_OF_DAYS = "(SELECT * FROM listening_days WHERE day >= since AND day < until)"
_NAMED = "CROSS JOIN (SELECT name AS experiment) AS named"
FUNCTIONS = f"""
CREATE FUNCTION experiment_listeners_between(name text, since timestamptz, until timestamptz)
RETURNS SETOF experiment_listeners
LANGUAGE sql STABLE PARALLEL SAFE AS $$
{sum_up(_BETWEEN, _NAMED)}
$$;
COMMENT ON FUNCTION experiment_listeners_between IS
    'What experiment_listeners holds, from the events of since <= occurred_at < until, as of now.';

CREATE FUNCTION experiment_listeners_of_days(name text, since date, until date)
RETURNS SETOF experiment_listeners
LANGUAGE sql STABLE PARALLEL SAFE AS $$
{sum_up(_OF_DAYS, _NAMED)}
$$;
COMMENT ON FUNCTION experiment_listeners_of_days IS
    'What experiment_listeners holds, from the sessions begun on the days since <= day < until.';
"""

# What changed is found by transaction, and everything after that is made anew for the listeners
# it is of. A database that was restored into another cluster has numbers from the old one: they
# may lie in the future of this cluster, where the first refresh makes everything anew and the
# upper bound keeps them from being looked at every time.
_CHANGED_DAYS = "(SELECT * FROM listening_days JOIN changed USING (user_id))"
_CHANGED_NAMED = """JOIN (
            SELECT DISTINCT user_id, jsonb_object_keys(experiments) AS experiment
            FROM listening_days JOIN changed USING (user_id)
        ) AS named USING (user_id)"""
_CHANGED_EVENTS = """events JOIN changed ON changed.user_id = events.user_id
                    AND events.occurred_at >= (changed.since - 1)::timestamp AT TIME ZONE 'UTC'"""
_OF_CHANGED = """JOIN changed USING (user_id)
    WHERE (first_at AT TIME ZONE 'UTC')::date >= changed.since"""
REFRESH = f"""
CREATE OR REPLACE FUNCTION refresh_listening_days() RETURNS bigint
LANGUAGE plpgsql SET work_mem = '64MB' AS $$
DECLARE
    began_at timestamptz;
    earlier  pg_snapshot;
    latest   pg_snapshot;
    n_rows   bigint;
BEGIN
    PERFORM pg_advisory_xact_lock(x'5E6E0004'::bigint);
    began_at := clock_timestamp();
    latest := pg_current_snapshot();  -- before that of the query below, which sees no less
    SELECT seen INTO earlier FROM listening_days_refreshed;
    IF pg_snapshot_xmax(earlier) > pg_snapshot_xmax(latest) THEN
        earlier := NULL;
    END IF;
    CREATE TEMP TABLE changed ON COMMIT DROP AS
        SELECT user_id, min((occurred_at AT TIME ZONE 'UTC')::date) - 1 AS since
        FROM events
        WHERE earlier IS NULL
           OR (stored_in >= pg_snapshot_xmin(earlier)::text::bigint
               AND stored_in < pg_snapshot_xmax(pg_current_snapshot())::text::bigint
               AND NOT pg_visible_in_snapshot(stored_in::text::xid8, earlier))
        GROUP BY user_id;
    ANALYZE changed;
    DELETE FROM listening_days AS old USING changed
        WHERE old.user_id = changed.user_id AND old.day >= changed.since;
    INSERT INTO listening_days
    {days.SUM_UP.format(events=_CHANGED_EVENTS, where=_OF_CHANGED)};
    GET DIAGNOSTICS n_rows = ROW_COUNT;
    DELETE FROM experiment_listeners AS old USING changed WHERE old.user_id = changed.user_id;
    INSERT INTO experiment_listeners
    {sum_up(_CHANGED_DAYS, _CHANGED_NAMED)};
    DROP TABLE changed;
    INSERT INTO listening_days_refreshed (refreshed_at, seen) VALUES (began_at, latest)
        ON CONFLICT (only_row) DO UPDATE
        SET refreshed_at = EXCLUDED.refreshed_at, seen = EXCLUDED.seen;
    RETURN n_rows;
END
$$;
COMMENT ON FUNCTION refresh_listening_days IS
    'Brings listening_days and experiment_listeners up to date with the events stored since; '
    'returns the days made anew.';
"""  # noqa: S608 - our own text

UPGRADE = STORED_IN + EXPERIMENT_LISTENERS + FUNCTIONS + REFRESH
DOWNGRADE = f"""
DROP FUNCTION refresh_listening_days, experiment_listeners_between, experiment_listeners_of_days;
DROP TABLE experiment_listeners;
ALTER TABLE listening_days_refreshed DROP COLUMN seen;
DROP INDEX events_stored_in;
ALTER TABLE events DROP COLUMN stored_in;
{days.REFRESH[days.REFRESH.index("CREATE FUNCTION refresh_listening_days") :]}
"""


def upgrade() -> None:
    """Number the events' transactions, and add the sums per experiment and listener."""
    execute_script(UPGRADE)


def downgrade() -> None:
    """Drop both; the sums follow from the events."""
    execute_script(DOWNGRADE)
