"""The monthly partitions of `events`, made on demand."""

from collections.abc import Iterable
from datetime import UTC, datetime

import asyncpg

LOCK_KEY = 0x5E6F  # of the advisory lock under which one process at a time makes partitions

Month = tuple[int, int]  # year, month


def month_of(moment: datetime) -> Month:
    """Return the month of a moment, in UTC."""
    utc = moment.astimezone(UTC)
    return utc.year, utc.month


def month_after(month: Month) -> Month:
    """Return the next month."""
    year, number = month
    return (year, number + 1) if number < 12 else (year + 1, 1)


class Partitions:
    """Makes what is missing, remembers what is there."""

    def __init__(self) -> None:
        """Know of none."""
        self._known: set[Month] = set()

    def forget(self) -> None:
        """Look again: someone else may have dropped one."""
        self._known.clear()

    async def ensure(self, connection: asyncpg.Connection, months: Iterable[Month]) -> None:
        """Make the partitions of these months that do not exist."""
        missing = set(months) - self._known
        if not missing:
            return
        async with connection.transaction():
            await connection.execute("SELECT pg_advisory_xact_lock($1)", LOCK_KEY)
            for month in sorted(missing):
                await _create(connection, month)
        self._known |= missing


async def _create(connection: asyncpg.Connection, month: Month) -> None:
    name = f"events_{_label(month, '_')}"
    if await connection.fetchval("SELECT to_regclass($1) IS NOT NULL", name):
        return
    # CREATE TABLE ... PARTITION OF would wait for every reader of events, and hold up those that
    # come after it; attaching an empty table waits for none.
    await connection.execute(
        f"""
        CREATE TABLE {name} (LIKE events INCLUDING DEFAULTS INCLUDING CONSTRAINTS);
        ALTER TABLE events ATTACH PARTITION {name}
        FOR VALUES FROM ('{_label(month)}-01 00:00Z') TO ('{_label(month_after(month))}-01 00:00Z')
        """
    )


def _label(month: Month, separator: str = "-") -> str:
    return f"{month[0]:04}{separator}{month[1]:02}"
