"""Keeps the days of listening up to date, so that whoever analyses waits for little."""

import asyncio
import logging

import asyncpg

TIMEOUT_S = 3600  # the first time, of a log of tens of millions

logger = logging.getLogger(__name__)


async def keep_days_fresh(pool: asyncpg.Pool, *, interval_s: float) -> None:
    """Refresh again and again; what fails is tried again."""
    while True:
        try:
            async with pool.acquire() as connection:
                await connection.execute("SELECT refresh_listening_days()", timeout=TIMEOUT_S)
        except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
            logger.warning("days not refreshed: %s: %s", type(error).__name__, error)
        await asyncio.sleep(interval_s)
