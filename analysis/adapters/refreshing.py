"""Bring the sums that results are read from up to date, and tell who waits how far that is."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable

import asyncpg

Tell = Callable[[str], None]

QUIET_S = 2.0  # what takes no longer is not worth a word
_LOOK_S = 1.0
_PREFIX = "segue refresh: "

# A refresh says in its connection's name how far it is, be it ours or one that ours waits for.
_PROGRESS = """
SELECT substr(application_name, $1) FROM pg_stat_activity
WHERE application_name LIKE $2 || '%' AND datname = current_database()
ORDER BY backend_start LIMIT 1
"""


async def refresh(
    connection: asyncpg.Connection, dsn: str, *, tell: Tell | None = None, quiet_s: float = QUIET_S
) -> None:
    """Make the sums anew for whoever has new events.

    Args:
        connection: Of someone who may write them.
        dsn: Of the same database, for a second connection that watches.
        tell: Gets how far it is, whenever that changes, once it has taken `quiet_s`.
        quiet_s: Seconds.
    """
    async with _watched(dsn, tell, quiet_s=quiet_s):
        await connection.execute("SELECT refresh_listening_days()")


@contextlib.asynccontextmanager
async def _watched(dsn: str, tell: Tell | None, *, quiet_s: float) -> AsyncIterator[None]:
    watcher = asyncio.create_task(_watch(dsn, tell, quiet_s=quiet_s)) if tell else None
    try:
        yield
    finally:
        if watcher is not None:
            watcher.cancel()
            await asyncio.wait([watcher])


async def _watch(dsn: str, tell: Tell, *, quiet_s: float) -> None:
    await asyncio.sleep(quiet_s)
    with contextlib.suppress(OSError, asyncpg.PostgresError, asyncpg.InterfaceError):
        connection = await asyncpg.connect(dsn, timeout=10)
        try:
            told = None
            while True:
                progress = await connection.fetchval(_PROGRESS, len(_PREFIX) + 1, _PREFIX)
                if progress not in {None, told}:
                    tell(told := progress)
                await asyncio.sleep(_LOOK_S)
        finally:
            await connection.close()
