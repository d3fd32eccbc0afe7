"""Events into Postgres: binary COPY, exactly once, whatever is in the batch."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Sequence
from datetime import UTC, datetime
from typing import Any

import asyncpg

from services.logger.adapters.partitions import Partitions, month_after, month_of
from services.logger.core.storage import StoredDeadLetter, StoreResult, StoreUnavailableError
from services.logger.core.validation import (
    COLUMNS,
    OCCURRED_AT,
    Accepted,
    Batch,
    DeadLetter,
    make_dead_letter,
)

ROWS_PER_SLICE = 250  # encoded before other tasks get their turn: some 2 ms

_columns = ", ".join(COLUMNS)
STAGING = f"CREATE TEMP TABLE staged ON COMMIT DELETE ROWS AS SELECT {_columns} FROM events LIMIT 0"  # noqa: S608 - our columns
# In one order: two transactions that bring the same events do not wait for each other in a ring.
INSERT = f"""
INSERT INTO events ({_columns}) SELECT {_columns} FROM staged ORDER BY event_id
ON CONFLICT DO NOTHING
"""  # noqa: S608 - our columns
INSERT_DEAD_LETTERS = """
INSERT INTO dead_letters (source, entry_id, payload, reason)
SELECT $1, * FROM unnest($2::text[], $3::bytea[], $4::text[])
ON CONFLICT DO NOTHING
"""
DEAD_LETTERS = """
SELECT source, entry_id, payload, reason, received_at
FROM dead_letters ORDER BY dead_letter_id DESC LIMIT $1
"""

# An event's own fault: no use to try again. ValueError is what asyncpg cannot encode.
DATA_ERRORS = (asyncpg.DataError, asyncpg.IntegrityConstraintViolationError, ValueError)
# InternalClientError: asyncpg's own confusion after a server that stopped in mid-command.
UNAVAILABLE = (
    OSError,
    asyncpg.PostgresError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
)


class PostgresEventStore:
    """Stores batches through a pool of connections, each with its staging table."""

    def __init__(
        self, pool: asyncpg.Pool, clock: Callable[[], datetime] = lambda: datetime.now(UTC)
    ) -> None:
        """Wrap a pool made by `open_pool`; the clock tells which month comes next."""
        self._pool = pool
        self._clock = clock
        self._partitions = Partitions()

    async def store(self, batch: Batch, *, source: str) -> StoreResult:
        """Commit a batch: each event one row, or one dead letter.

        Raises:
            StoreUnavailableError: If it cannot be known that all is committed.
        """
        async with self._connection() as connection:
            return await self._store(connection, batch, source=source)

    async def ping(self) -> None:
        """Raise StoreUnavailableError if the database cannot be used."""
        async with self._connection() as connection:
            await connection.execute("SELECT 1")

    async def count_dead_letters(self) -> int:
        """Count what could not be stored."""
        async with self._connection() as connection:
            return int(await connection.fetchval("SELECT count(*) FROM dead_letters"))

    async def fetch_dead_letters(self, *, limit: int) -> list[StoredDeadLetter]:
        """Return the newest dead letters, newest first."""
        async with self._connection() as connection:
            rows = await connection.fetch(DEAD_LETTERS, limit)
        return [
            StoredDeadLetter(**dict(row) | {"payload": row["payload"].decode(errors="replace")})
            for row in rows
        ]

    @contextlib.asynccontextmanager
    async def _connection(self) -> AsyncIterator[asyncpg.Connection]:
        try:
            async with self._pool.acquire() as connection:
                try:
                    yield connection
                except BaseException:
                    connection.terminate()  # in an unknown state: the pool makes another
                    raise
        except UNAVAILABLE as error:
            raise StoreUnavailableError(f"{type(error).__name__}: {error}") from error

    async def _store(
        self, connection: asyncpg.Connection, batch: Batch, *, source: str
    ) -> StoreResult:
        """Commit a batch in one transaction, or, if its data is refused, in halves."""
        accepted, dead_letters = batch
        now = self._clock()
        months = {month_of(accepted_one.row[OCCURRED_AT]) for accepted_one in accepted}
        try:
            await self._partitions.ensure(
                connection, months | {month_of(now), month_after(month_of(now))}
            )
            async with connection.transaction():
                stored = await _insert_events(connection, accepted)
                await _insert_dead_letters(connection, dead_letters, source=source)
        except DATA_ERRORS as error:
            self._partitions.forget()
            if len(accepted) == 1:
                guilty = make_dead_letter(accepted[0].received, f"database: {error}")
                batch = Batch([], [*dead_letters, guilty])
                return await self._store(connection, batch, source=source)
            if not accepted:
                raise
            middle = len(accepted) // 2
            first = Batch(accepted[:middle], dead_letters)
            second = Batch(accepted[middle:], [])
            return await self._store(connection, first, source=source) + await self._store(
                connection, second, source=source
            )
        return StoreResult(stored, len(accepted) - stored, dead_letters)


def open_pool(dsn: str, *, max_size: int, timeout_s: float = 30) -> asyncpg.Pool:
    """Describe a pool, to be entered with `async with`; it connects when first used."""
    return asyncpg.create_pool(
        dsn,
        min_size=0,
        max_size=max_size,
        command_timeout=timeout_s,
        timeout=timeout_s,
        init=_create_staging,
    )


async def _create_staging(connection: asyncpg.Connection) -> None:
    await connection.execute(STAGING)


async def _insert_events(connection: asyncpg.Connection, accepted: Sequence[Accepted]) -> int:
    """Insert what is not there yet; return how many."""
    if not accepted:
        return 0
    await connection.copy_records_to_table("staged", records=_rows(accepted), columns=COLUMNS)
    status = await connection.execute(INSERT)
    return int(status.rpartition(" ")[2])  # "INSERT 0 <rows>"


async def _rows(accepted: Sequence[Accepted]) -> AsyncIterator[tuple[Any, ...]]:
    for index, accepted_one in enumerate(accepted, start=1):
        yield accepted_one.row
        if index % ROWS_PER_SLICE == 0:
            await asyncio.sleep(0)


async def _insert_dead_letters(
    connection: asyncpg.Connection, dead_letters: Sequence[DeadLetter], *, source: str
) -> None:
    if dead_letters:
        await connection.execute(
            INSERT_DEAD_LETTERS,
            source,
            [letter.entry_id for letter in dead_letters],
            [letter.payload for letter in dead_letters],
            [letter.reason for letter in dead_letters],
        )
