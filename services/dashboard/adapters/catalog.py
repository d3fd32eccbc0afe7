"""The catalogue that the recommender published, to search first tracks in."""

import asyncio
from collections.abc import Awaitable, Callable

from redis.asyncio import Redis
from redis.exceptions import RedisError

from services.dashboard.core.track_search import TrackIndex
from shared.artifacts import ArtifactError
from shared.catalog import Catalog
from shared.catalog_store import fetch_catalog

FetchCatalog = Callable[[], Awaitable[Catalog]]


class CatalogAwayError(RuntimeError):
    """A catalogue that cannot be read; the message says why."""


class CatalogHolder:
    """Keeps the catalogue, read again after a while."""

    def __init__(
        self, fetch: FetchCatalog, *, seconds: Callable[[], float], fresh_s: float = 300
    ) -> None:
        """Read nothing yet."""
        self._fetch = fetch
        self._seconds = seconds
        self._fresh_s = fresh_s
        self._index: TrackIndex | None = None
        self._due_at = float("-inf")
        self._lock = asyncio.Lock()

    async def get(self) -> TrackIndex:
        """Return the catalogue's index.

        Raises:
            CatalogAwayError: If it was never read and cannot be.
        """
        async with self._lock:
            if self._index is None or self._seconds() >= self._due_at:
                try:
                    catalog = await self._fetch()
                except (RedisError, OSError) as error:
                    self._complain(f"Redis does not answer: {error}", error)
                except ArtifactError as error:
                    self._complain(f"the recommender has published no catalogue: {error}", error)
                else:
                    self._index = await asyncio.to_thread(TrackIndex, catalog)
                    self._due_at = self._seconds() + self._fresh_s
        assert self._index is not None  # noqa: S101 - or `_complain` has raised
        return self._index

    def _complain(self, message: str, error: Exception) -> None:
        if self._index is None:
            raise CatalogAwayError(message) from error


def fetch_from(redis: Redis) -> FetchCatalog:
    """Return what fetches the catalogue from Redis."""

    async def fetch() -> Catalog:
        return await fetch_catalog(redis)

    return fetch
