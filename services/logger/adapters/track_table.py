"""The catalogue, from where the recommender published it into a table beside the events."""

import asyncio
import hashlib
import logging

import asyncpg
from redis.asyncio import Redis
from redis.exceptions import RedisError

from shared.catalog import Catalog, InvalidCatalogError, parse_catalog
from shared.catalog_store import CATALOG_KEY

COLUMNS = ("track_id", "artist", "title", "genre")

FIRST_INTERVAL_S = 1.0

logger = logging.getLogger(__name__)


class TrackTable:
    """Keeps the table `tracks` equal to the catalogue, so that SQL knows a track's artist."""

    def __init__(self, redis: Redis, pool: asyncpg.Pool) -> None:
        """Wire it; `follow` keeps it up to date."""
        self._redis = redis
        self._pool = pool
        self._digest: bytes | None = None

    async def follow(self, *, interval_s: float) -> None:
        """Copy the catalogue whenever it has changed; until there is one, look once a second."""
        while True:
            try:
                await self.copy()
            except (RedisError, OSError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
                logger.warning("catalogue not copied: %s: %s", type(error).__name__, error)
            except InvalidCatalogError as error:
                logger.warning("catalogue in Redis: %s", error)
            await asyncio.sleep(interval_s if self._digest else min(interval_s, FIRST_INTERVAL_S))

    async def copy(self) -> bool:
        """Copy the catalogue if it is another than the last; say whether it was.

        Raises:
            InvalidCatalogError: If what is published is none.
        """
        payload: bytes | None = await self._redis.get(CATALOG_KEY)
        if payload is None:  # no recommender has started yet
            return False
        digest = hashlib.sha256(payload).digest()
        if digest == self._digest:
            return False
        catalog = await asyncio.to_thread(parse_catalog, payload)
        await self._replace(catalog)
        self._digest = digest
        logger.info("copied a catalogue of %d tracks", len(catalog))
        return True

    async def _replace(self, catalog: Catalog) -> None:
        # DELETE and not TRUNCATE: whoever analyses meanwhile goes on with the old rows.
        rows = [(track.track, track.artist, track.title, track.genre) for track in catalog.tracks]
        async with self._pool.acquire() as connection, connection.transaction():
            # Two loggers that copy at once do it one after the other.
            await connection.execute("LOCK TABLE tracks IN SHARE ROW EXCLUSIVE MODE")
            await connection.execute("DELETE FROM tracks")
            await connection.copy_records_to_table("tracks", records=rows, columns=COLUMNS)
            # Whose artists they counted were others: all days are made anew.
            await connection.execute("DELETE FROM listening_days_refreshed")
