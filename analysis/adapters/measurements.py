"""Measurements of experiments, from the views in Postgres."""

import contextlib
import dataclasses
import itertools
from collections.abc import AsyncIterator, Sequence
from datetime import datetime
from typing import Any

import asyncpg

from analysis.adapters.listeners import Listeners, choose_listeners
from analysis.adapters.queries import (
    ARMS,
    METRIC_NAMES,
    METRICS,
    QUANTILES,
    USER_VALUES,
    USERS_PER_ARM,
)
from analysis.adapters.refreshing import Tell, refresh
from analysis.core.comparison import Arm, Measurements
from analysis.core.moments import MetricAggregate, RatioMoments, linearise

NOT_ALLOWED = (asyncpg.InsufficientPrivilegeError, asyncpg.ReadOnlySQLTransactionError)

MOMENTS = [field.name for field in dataclasses.fields(RatioMoments)][1:]  # after n_users
RETENTION_DAYS = 7  # within which a user must come back
MOST_REQUESTS = 100_000  # that quantiles are of; beyond that they are of a sample of users


class DatabaseError(RuntimeError):
    """A database that cannot answer; the message says why in one line."""


@contextlib.asynccontextmanager
async def open_database(
    dsn: str, *, fresh: bool = True, tell: Tell | None = None
) -> AsyncIterator[asyncpg.Connection]:
    """Open a read-only connection that sees one moment: all its queries agree.

    Before that it brings the days of listening up to date with the events, if it may and
    `fresh` says so: who may only read sees what the logger has brought up to date. `tell` hears
    how far that is, if it takes long.

    Raises:
        DatabaseError: If Postgres is away, refuses, or has not been migrated.
    """
    try:
        # Enough memory to group a few million events without touching the disk.
        connection = await asyncpg.connect(dsn, timeout=10, server_settings={"work_mem": "64MB"})
    except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
        raise DatabaseError(f"no Postgres: {_first_line(error)}") from error
    try:
        if fresh:
            with contextlib.suppress(*NOT_ALLOWED):
                await refresh(connection, dsn, tell=tell)
        async with connection.transaction(isolation="repeatable_read", readonly=True):
            yield connection
    except (asyncpg.UndefinedFunctionError, asyncpg.UndefinedTableError) as error:
        raise DatabaseError(
            f"the database has no views to read ({_first_line(error)}): start the logger, "
            "which migrates it"
        ) from error
    except BrokenPipeError:  # of the caller's own output, like faults of its files
        raise
    except (ConnectionError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
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

    Bounds that are midnights, UTC, select the sessions that begin between them, whole. Without
    events there are no arms.
    """
    listeners = choose_listeners(since=since, until=until)
    arguments = (experiment, *listeners.bounds)
    rows = await connection.fetch(listeners.complete(ARMS), *arguments)
    arms = [Arm(**row) for row in rows if row["treatment"] is not None]
    conflict = next((row for row in rows if row["treatment"] is None), None)
    return Measurements(
        experiment=experiment,
        arms=arms,
        metrics=await _fetch_metrics(connection, listeners, arguments) if arms else {},
        n_conflict_users=conflict["n_users"] if conflict else 0,
        n_conflict_events=conflict["n_events"] if conflict else 0,
    )


async def _fetch_metrics(
    connection: asyncpg.Connection, listeners: Listeners, arguments: Sequence[Any]
) -> dict[tuple[str, str], MetricAggregate]:
    """Fetch what there is of every metric, per treatment."""
    metrics = {}
    for row in await connection.fetch(listeners.complete(METRICS), *arguments, RETENTION_DAYS):
        for name in METRIC_NAMES:
            n_users, *moments = row[name]
            if n_users:
                named = dict(zip(MOMENTS, moments, strict=True))
                metrics[row["treatment"], name] = linearise(
                    RatioMoments(n_users=int(n_users), **named)
                )
    for row in await connection.fetch(listeners.complete(QUANTILES), *arguments, MOST_REQUESTS):
        metrics[row["treatment"], row["metric"]] = MetricAggregate(
            row["n_users"], row["mean"], row["variance"]
        )
    return metrics


@dataclasses.dataclass(frozen=True)
class UserValues:
    """A metric of every user of an arm.

    Attributes:
        numerators, denominators: Per user; the denominators of a metric that is a mean are 1.
    """

    numerators: list[float]
    denominators: list[float]


async def fetch_user_values(
    connection: asyncpg.Connection,
    experiment: str,
    treatment: str,
    *,
    since: datetime | None = None,
    until: datetime | None = None,
) -> dict[str, UserValues]:
    """Fetch every user's value, per metric; empty if the arm has no users."""
    listeners = choose_listeners(since=since, until=until)
    query = listeners.complete(USER_VALUES)
    row = await connection.fetchrow(query, experiment, *listeners.bounds, RETENTION_DAYS, treatment)
    values = {}
    for name in METRIC_NAMES:
        pairs = zip(row[name] or [], row[f"{name} by"] or itertools.repeat(1.0), strict=False)
        known = [pair for pair in pairs if pair[0] is not None]
        if known:
            values[name] = UserValues(*map(list, zip(*known, strict=True)))
    return values


async def fetch_users_per_arm(connection: asyncpg.Connection) -> dict[str, dict[str, int]]:
    """Fetch all experiments that the events name, with the users per treatment."""
    experiments: dict[str, dict[str, int]] = {}
    for row in await connection.fetch(USERS_PER_ARM):
        experiments.setdefault(row["experiment"], {})[row["treatment"]] = row["n_users"]
    return experiments


def _first_line(error: Exception) -> str:
    return (str(error) or type(error).__name__).splitlines()[0]
