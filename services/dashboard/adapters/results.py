"""Experiments as the log has them, through the analysis."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Protocol

from analysis.adapters.activity import fetch_minutes
from analysis.adapters.definitions import fetch_windows
from analysis.adapters.measurements import (
    fetch_measurements,
    fetch_users_per_arm,
    open_database,
)
from analysis.adapters.timeline import fetch_timeline
from analysis.core.activity import Minute
from analysis.core.definitions import describe_changes
from services.dashboard.core.results import Readings


class ResultsSource(Protocol):
    """Where results come from; every call may raise `DatabaseError`."""

    async def fetch_users_per_arm(self) -> Mapping[str, Mapping[str, int]]:
        """Fetch all experiments that events name, with the users per treatment."""
        ...

    async def fetch_readings(self, experiment: str) -> Readings:
        """Fetch what the events say of an experiment; without events there are no arms."""
        ...

    async def fetch_minutes(self, now: datetime, *, n_minutes: int) -> Sequence[Minute]:
        """Fetch the log's last minutes, oldest first."""
        ...

    async def ping(self) -> None:
        """Return if the database answers."""
        ...


class PostgresResults:
    """Reads Postgres, each time over a connection of its own that sees one moment."""

    def __init__(self, dsn: str) -> None:
        """Name the database."""
        self._dsn = dsn

    async def fetch_users_per_arm(self) -> Mapping[str, Mapping[str, int]]:
        """Fetch all experiments that events name, with the users per treatment."""
        async with open_database(self._dsn) as connection:
            return await fetch_users_per_arm(connection)

    async def fetch_readings(self, experiment: str) -> Readings:
        """Fetch what the events say of an experiment."""
        async with open_database(self._dsn) as connection:
            measurements = await fetch_measurements(connection, experiment)
            if not measurements.arms:
                return Readings(measurements, None)
            first_at = min(arm.first_at for arm in measurements.arms)
            last_at = max(arm.last_at for arm in measurements.arms)
            timeline = await fetch_timeline(
                connection, experiment, first_at=first_at, last_at=last_at
            )
            windows = await fetch_windows(connection)
        changes = describe_changes(windows, experiment, first_at=first_at, last_at=last_at)
        return Readings(measurements, timeline, changes)

    async def fetch_minutes(self, now: datetime, *, n_minutes: int) -> Sequence[Minute]:
        """Fetch the log's last minutes, oldest first."""
        async with open_database(self._dsn) as connection:
            return await fetch_minutes(connection, now=now, n_minutes=n_minutes)

    async def ping(self) -> None:
        """Return if the database answers."""
        async with open_database(self._dsn) as connection:
            await connection.fetchval("SELECT 1")
