"""Definitions of experiments, from the log of recommenders into tables beside the events."""

import asyncio
import hashlib
import logging

import asyncpg
from redis.asyncio import Redis
from redis.exceptions import RedisError

from shared.definition_log import FIRST, DefinitionLoad, fetch_loads

INSERT_DEFINITION = """
INSERT INTO definitions (digest, content) VALUES ($1, $2::jsonb) ON CONFLICT DO NOTHING
"""
INSERT_LOAD = """
INSERT INTO definition_loads (loaded_at, digest) VALUES ($1, $2) ON CONFLICT DO NOTHING
"""

logger = logging.getLogger(__name__)


class DefinitionTable:
    """Keeps what was ever loaded; an entry that comes again changes nothing."""

    def __init__(self, redis: Redis, pool: asyncpg.Pool) -> None:
        """Wire it; `follow` keeps it up to date."""
        self._redis = redis
        self._pool = pool
        self._last = FIRST

    async def follow(self, *, interval_s: float) -> None:
        """Copy what is new, again and again; what fails is tried again."""
        while True:
            try:
                await self.copy()
            except (RedisError, OSError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
                logger.warning("definitions not copied: %s: %s", type(error).__name__, error)
            await asyncio.sleep(interval_s)

    async def copy(self) -> int:
        """Copy the loads that are new since the last time; return how many."""
        loads, last = await fetch_loads(self._redis, after=self._last)
        if loads:
            await self._insert(loads)
        self._last = last
        return len(loads)

    async def _insert(self, loads: list[DefinitionLoad]) -> None:
        async with self._pool.acquire() as connection, connection.transaction():
            for load in loads:
                content = bytes(load.content)
                if hashlib.sha256(content).hexdigest() != load.digest:
                    logger.warning("definitions %s are not what their digest says", load.digest)
                    continue
                try:
                    async with connection.transaction():  # one that is refused takes no other along
                        await connection.execute(INSERT_DEFINITION, load.digest, content.decode())
                        await connection.execute(INSERT_LOAD, load.loaded_at, load.digest)
                except asyncpg.DataError as error:  # a NUL among its parameters, say
                    logger.warning("definitions %s cannot be stored: %s", load.digest, error)
