"""Events, dead letters, model registry, training jobs.

Revision ID: 0001
"""

from services.logger.adapters.migrate import execute_script

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

# The partition key is part of every unique key in Postgres. An event id is a UUIDv7, the logger
# refuses one whose millisecond is not the event's own and stores the time to the millisecond, so
# (event_id, occurred_at) is exactly as unique as event_id.
UPGRADE = """
CREATE TABLE events (
    event_id       uuid             NOT NULL,
    message        text             NOT NULL CHECK (message IN ('next', 'last')),
    occurred_at    timestamptz      NOT NULL,
    user_id        integer          NOT NULL CHECK (user_id >= 0),
    session_id     uuid             NOT NULL,
    position       integer          NOT NULL CHECK (position >= 0),
    track_id       integer          NOT NULL CHECK (track_id >= 0),
    time           double precision NOT NULL CHECK (time BETWEEN 0 AND 1),
    latency        real             NOT NULL CHECK (latency >= 0),
    recommendation integer          CHECK (recommendation >= 0),
    recommender    text,
    model_version  text,
    propensity     double precision CHECK (propensity > 0 AND propensity <= 1),
    fallback       text,
    experiments    jsonb            NOT NULL DEFAULT '{}',
    stored_at      timestamptz      NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (event_id, occurred_at),
    CHECK ((message = 'next') = (recommendation IS NOT NULL))
) PARTITION BY RANGE (occurred_at);

COMMENT ON TABLE events IS 'One row per request to the recommender, exactly once; by month.';
COMMENT ON COLUMN events.time IS 'Fraction of track_id that was listened to, in [0, 1].';
COMMENT ON COLUMN events.position IS 'Of track_id in its session, from 0.';
COMMENT ON COLUMN events.latency IS 'Seconds that the decision took.';
COMMENT ON COLUMN events.recommendation IS 'Track answered; null on last.';
COMMENT ON COLUMN events.propensity IS 'P(recommendation) under the policy that chose it.';
COMMENT ON COLUMN events.experiments IS 'Treatment per experiment name.';

-- A session's events in order; a user's history; what came since a watermark.
CREATE INDEX events_session ON events (session_id, position);
CREATE INDEX events_user ON events (user_id, occurred_at);
CREATE INDEX events_stored ON events USING brin (stored_at);

CREATE TABLE dead_letters (
    dead_letter_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    source         text        NOT NULL,
    entry_id       text,
    payload        bytea       NOT NULL,
    reason         text        NOT NULL,
    received_at    timestamptz NOT NULL DEFAULT clock_timestamp(),
    UNIQUE (source, entry_id)
);
COMMENT ON TABLE dead_letters IS 'What could not be stored as an event, and why.';

CREATE TABLE model_versions (
    model_version text        PRIMARY KEY,
    created_at    timestamptz NOT NULL,
    manifest      jsonb       NOT NULL
);
CREATE TABLE model_activations (
    activation_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    model_version text        NOT NULL REFERENCES model_versions,
    activated_at  timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE TABLE training_jobs (
    job_id        uuid        PRIMARY KEY,
    status        text        NOT NULL
                  CHECK (status IN ('running', 'succeeded', 'failed', 'interrupted')),
    parameters    jsonb       NOT NULL,
    started_at    timestamptz NOT NULL DEFAULT clock_timestamp(),
    finished_at   timestamptz,
    model_version text,
    error         text,
    progress      jsonb       NOT NULL DEFAULT '{}'
);
-- One training at a time, whoever asks.
CREATE UNIQUE INDEX training_jobs_one_running ON training_jobs (status) WHERE status = 'running';
"""

DOWNGRADE = """
DROP TABLE training_jobs, model_activations, model_versions, dead_letters, events;
"""


def upgrade() -> None:
    """Create the tables."""
    execute_script(UPGRADE)


def downgrade() -> None:
    """Drop them, data included."""
    execute_script(DOWNGRADE)
