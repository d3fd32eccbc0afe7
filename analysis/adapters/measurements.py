"""Measurements of experiments, from the views in Postgres."""

import contextlib
from collections.abc import AsyncIterator
from datetime import UTC, datetime

import asyncpg

from analysis.core.comparison import Arm, Measurements
from analysis.core.moments import MetricAggregate

ALWAYS = datetime.min.replace(tzinfo=UTC)
FOREVER = datetime.max.replace(tzinfo=UTC)

ARMS = """
SELECT treatment, count(*) AS n_users, sum(n_sessions)::bigint AS n_sessions,
       sum(n_finished)::bigint AS n_finished, sum(n_tracks)::bigint AS n_events,
       min(first_at) AS first_at, max(last_at) AS last_at
FROM experiment_users_between($2, $3)
WHERE experiment = $1
GROUP BY treatment
"""
METRICS = """
SELECT treatment, metric, n_users, mean, variance
FROM experiment_metrics_between($2, $3)
WHERE experiment = $1
"""
CONFLICTS = """
SELECT n_users, n_tracks
FROM experiment_conflicts_between($2, $3)
WHERE experiment = $1
"""
USERS_PER_ARM = """
SELECT experiment, treatment, count(*) AS n_users
FROM experiment_users
GROUP BY experiment, treatment
ORDER BY experiment
"""


class DatabaseError(RuntimeError):
    """A database that cannot answer; the message says why in one line."""


@contextlib.asynccontextmanager
async def open_database(dsn: str) -> AsyncIterator[asyncpg.Connection]:
    """Open a read-only connection that sees one moment: all its queries agree.

    Raises:
        DatabaseError: If Postgres is away, refuses, or has not been migrated.
    """
    try:
        # Enough memory to group a few million events without touching the disk.
        connection = await asyncpg.connect(dsn, timeout=10, server_settings={"work_mem": "64MB"})
    except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
        raise DatabaseError(f"no Postgres: {_first_line(error)}") from error
    try:
        async with connection.transaction(isolation="repeatable_read", readonly=True):
            yield connection
    except (asyncpg.UndefinedFunctionError, asyncpg.UndefinedTableError) as error:
        raise DatabaseError(
            f"the database has no views to read ({_first_line(error)}): start the logger, "
            "which migrates it"
        ) from error
    except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
        raise DatabaseError(f"Postgres failed: {_first_line(error)}") from error
    finally:
        await connection.close()


async def fetch_measurements(
    connection: asyncpg.Connection,
    experiment: str,
    *,
    since: datetime | None = None,
    until: datetime | None = None,
) -> Measurements:
    """Fetch what the events of since <= time < until say of an experiment.

    Without such events there are no arms.
    """
    arguments = (experiment, since or ALWAYS, until or FOREVER)
    arms = await connection.fetch(ARMS, *arguments)
    metrics = await connection.fetch(METRICS, *arguments)
    conflicts = await connection.fetchrow(CONFLICTS, *arguments)
    return Measurements(
        experiment=experiment,
        arms=[Arm(**row) for row in arms],
        metrics={
            (row["treatment"], row["metric"]): MetricAggregate(
                row["n_users"], row["mean"], row["variance"]
            )
            for row in metrics
        },
        n_conflict_users=conflicts["n_users"] if conflicts else 0,
        n_conflict_events=conflicts["n_tracks"] if conflicts else 0,
    )


async def fetch_users_per_arm(connection: asyncpg.Connection) -> dict[str, dict[str, int]]:
    """Fetch all experiments that the events name, with the users per treatment."""
    experiments: dict[str, dict[str, int]] = {}
    for row in await connection.fetch(USERS_PER_ARM):
        experiments.setdefault(row["experiment"], {})[row["treatment"]] = row["n_users"]
    return experiments


def _first_line(error: Exception) -> str:
    return (str(error) or type(error).__name__).splitlines()[0]
