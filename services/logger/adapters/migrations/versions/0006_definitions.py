"""What experiments were defined when, and who saw what.

Revision ID: 0006
"""

from services.logger.adapters.migrate import execute_script

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

TABLES = """
CREATE TABLE definitions (
    digest  text  PRIMARY KEY,
    content jsonb NOT NULL
);
COMMENT ON TABLE definitions IS 'Every set of definitions that a recommender ever served by.';
COMMENT ON COLUMN definitions.digest IS 'SHA-256 of the definitions as the recommender wrote them.';

CREATE TABLE definition_loads (
    loaded_at timestamptz NOT NULL,
    digest    text        NOT NULL REFERENCES definitions,
    PRIMARY KEY (loaded_at, digest)
);
COMMENT ON TABLE definition_loads IS 'One row per recommender process that loaded definitions.';
"""

# Loads of the same definitions one after the other are one window.
WINDOWS = """
CREATE VIEW definition_windows AS
SELECT digest, content, loaded_at AS valid_from,
       coalesce(lead(loaded_at) OVER later, 'infinity') AS valid_until
FROM (
    SELECT digest, loaded_at,
           lag(digest) OVER (ORDER BY loaded_at, digest) IS DISTINCT FROM digest AS is_new
    FROM definition_loads
) AS load
JOIN definitions USING (digest)
WHERE is_new
WINDOW later AS (ORDER BY loaded_at, digest);

COMMENT ON VIEW definition_windows IS
    'Which definitions were served by when: from valid_from to before valid_until.';

CREATE VIEW experiment_definitions AS
SELECT experiment ->> 'name' AS experiment, arm ->> 'name' AS treatment,
       (content -> 'serving') @> to_jsonb(experiment ->> 'name') AS is_serving,
       arm ->> 'recommender' AS recommender,
       coalesce(arm -> 'parameters', '{}') AS parameters,
       coalesce(arm ->> 'model_version', 'latest') AS model_version,
       coalesce((arm ->> 'weight')::double precision, 1) AS weight,
       coalesce((experiment ->> 'coverage')::double precision, 1) AS coverage,
       experiment ->> 'layer' AS layer, experiment -> 'traffic' AS traffic,
       (experiment ->> 'start')::timestamptz AS start_at,
       (experiment ->> 'end')::timestamptz AS end_at,
       valid_from, valid_until, digest
FROM definition_windows
CROSS JOIN LATERAL jsonb_array_elements(content -> 'experiments') AS experiment
CROSS JOIN LATERAL jsonb_array_elements(experiment -> 'treatments') AS arm;

COMMENT ON VIEW experiment_definitions IS
    'One row per treatment and window of time in which it was defined so.';
COMMENT ON COLUMN experiment_definitions.is_serving IS 'Whether it recommends, or is only logged.';
COMMENT ON COLUMN experiment_definitions.model_version IS
    'As defined; which version `latest` was, each event says.';
"""

# Inlined, so that user_id and experiment reach the index of events.
EXPOSURES = """
CREATE VIEW user_exposures AS
SELECT events.user_id, arm.key AS experiment, arm.value AS treatment, defined.digest,
       defined.valid_from, defined.valid_until,
       min(events.occurred_at) AS first_at, max(events.occurred_at) AS last_at,
       count(*) AS n_events
FROM events
CROSS JOIN LATERAL jsonb_each_text(events.experiments) AS arm
LEFT JOIN definition_windows AS defined
    ON events.occurred_at >= defined.valid_from AND events.occurred_at < defined.valid_until
GROUP BY 1, 2, 3, 4, 5, 6;

COMMENT ON VIEW user_exposures IS
    'Who saw what: one row per user, treatment and definitions. A filter on user_id is fast.';
COMMENT ON COLUMN user_exposures.digest IS
    'Of the definitions then in force; null before the first that was recorded.';

CREATE FUNCTION definitions_seen(listener integer, at timestamptz)
RETURNS TABLE (
    experiment text, treatment text, recommender text, parameters jsonb, model_version text,
    seen_at timestamptz, valid_from timestamptz, valid_until timestamptz, digest text
)
LANGUAGE sql STABLE PARALLEL SAFE AS $$
    SELECT arm.key, arm.value, defined.recommender, defined.parameters, defined.model_version,
           latest.occurred_at, definition.valid_from, definition.valid_until, definition.digest
    FROM (
        SELECT occurred_at, experiments FROM events
        WHERE user_id = listener AND occurred_at <= at
        ORDER BY occurred_at DESC, event_id DESC
        LIMIT 1
    ) AS latest
    CROSS JOIN LATERAL jsonb_each_text(latest.experiments) AS arm
    LEFT JOIN definition_windows AS definition
        ON latest.occurred_at >= definition.valid_from
        AND latest.occurred_at < definition.valid_until
    LEFT JOIN experiment_definitions AS defined
        ON defined.digest = definition.digest AND defined.valid_from = definition.valid_from
        AND defined.experiment = arm.key AND defined.treatment = arm.value
$$;
COMMENT ON FUNCTION definitions_seen IS
    'Which treatments a user had last by a moment, and how they were defined then.';
"""

UPGRADE = TABLES + WINDOWS + EXPOSURES
DOWNGRADE = """
DROP FUNCTION definitions_seen;
DROP VIEW user_exposures, experiment_definitions, definition_windows;
DROP TABLE definition_loads, definitions;
"""


def upgrade() -> None:
    """Create the tables and what reads them."""
    execute_script(UPGRADE)


def downgrade() -> None:
    """Drop them, with the record."""
    execute_script(DOWNGRADE)
