"""The model holder: follows the pointer in Redis and swaps one reference."""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Protocol, TypeVar, cast

from redis.asyncio import Redis
from redis.exceptions import RedisError

from services.recommender.adapters.metrics import Metrics
from services.recommender.adapters.shared_arrays import SharedArrays
from services.recommender.core.catalog_index import CatalogIndex
from services.recommender.core.decisions import Clock
from services.recommender.core.models import (
    LATEST,
    Models,
    ServedModel,
    UnusableModelError,
    make_served_model,
)
from services.recommender.core.taste_model import Array
from shared.artifacts import ModelManifest, fetch_latest_version, fetch_model
from shared.catalog import Catalog
from shared.catalog_store import CATALOG_KEY, publish_catalog
from shared.redis_client import create_redis

logger = logging.getLogger(__name__)

T = TypeVar("T")

_RETRY_REFUSED_S = 10.0
_CONTROL_TIMEOUT_S = 5.0  # a version is tens of megabytes


class ModelSource(Protocol):
    """Where requests find the model versions being served."""

    @property
    def current(self) -> Models:
        """All versions being served now."""

    async def refresh(self) -> None:
        """Look once for what changed."""

    async def watch(self) -> None:
        """Look for what changed until cancelled."""

    async def close(self) -> None:
        """Let go of connections."""

    def problem(self) -> str | None:
        """Return what keeps this source from being ready."""


class ModelHolder:
    """Keeps the served versions, and the catalogue in Redis, up to date.

    What moves megabytes runs in a thread with an event loop and a connection of its own, so that
    neither decoding nor checksums delay a request.
    """

    def __init__(
        self,
        url: str,
        catalog: Catalog,
        index: CatalogIndex,
        *,
        pinned: frozenset[str],
        poll_s: float,
        metrics: Metrics,
        clock: Clock,
        shared: SharedArrays | None = None,
    ) -> None:
        """Prepare; nothing is opened yet.

        Args:
            url: Of Redis.
            catalog: To publish where Redis has none, or another.
            index: The same catalogue; versions of any other are refused.
            pinned: Ids of versions to serve beside `latest`.
            poll_s: Pause between two looks.
            metrics: To show what serves and count what is refused.
            clock: To wait before a refused version is tried again.
            shared: Where arrays are put, for other workers to read them there, too.
        """
        self._url = url
        self._redis = create_redis(url, timeout_s=_CONTROL_TIMEOUT_S)
        self._catalog = catalog
        self._index = index
        self._pinned = pinned
        self._poll_s = poll_s
        self._metrics = metrics
        self._clock = clock
        self._shared = shared
        self._files: dict[str, set[str]] = {}  # of the shared arrays, by the name that is served
        self._models = Models()
        self._retry_at: dict[tuple[str, str], float] = {}
        self._problem: str | None = "not connected yet"
        self._is_catalog_compared = False

    @property
    def current(self) -> Models:
        """All versions being served now."""
        return self._models

    async def close(self) -> None:
        """Let go of the connection."""
        await self._redis.aclose()

    def problem(self) -> str | None:
        """Return why the last look failed, if it did."""
        return self._problem

    async def watch(self) -> None:
        """Look for what changed until cancelled."""
        while True:
            await asyncio.sleep(self._poll_s)
            await self.refresh()

    async def refresh(self) -> None:
        """Look once; whatever goes wrong, what was served stays."""
        try:
            async with asyncio.timeout(_CONTROL_TIMEOUT_S):
                is_published = self._is_catalog_compared and await self._redis.exists(CATALOG_KEY)
                latest = await fetch_latest_version(self._redis)
            if not is_published:
                await self._apart(self._publish_catalog)
                self._is_catalog_compared = True
            await self._follow(latest)
        except (RedisError, OSError) as error:
            self._set_problem(f"Redis: {str(error) or type(error).__name__}")
        except Exception:
            # This task must outlive anything that one round meets.
            logger.exception("looking for model versions failed")
            self._set_problem("internal error, see the log")
        else:
            self._set_problem(None)

    async def _follow(self, latest: str | None) -> None:
        wanted = {name: name for name in self._pinned}
        if latest is not None:
            wanted[LATEST] = latest
        for name, version in wanted.items():
            served = self._models.find(name)
            is_due = self._clock.seconds() >= self._retry_at.get((name, version), 0.0)
            if (served is None or served.version != version) and is_due:
                await self._replace(name, version)

    async def _replace(self, name: str, version: str) -> None:
        models = self._models
        refused = {key: reason for key, reason in models.refused.items() if key != name}
        try:
            model, manifest, files = await self._apart(lambda redis: self._load(redis, version))
        except UnusableModelError as error:
            logger.warning("%s stays as it was: %s", name, error)
            self._metrics.count_refused(error.reason)
            self._retry_at[name, version] = self._clock.seconds() + _RETRY_REFUSED_S
            self._models = Models(models.served, {**refused, name: error.reason})
            return
        self._retry_at.pop((name, version), None)
        self._models = Models({**models.served, name: model}, refused)
        self._files[name] = files
        if self._shared is not None:
            await asyncio.to_thread(self._shared.remove_others, set().union(*self._files.values()))
        logger.info("%s is now model version %s", name, version)
        if name == LATEST:
            self._metrics.show_model(version, manifest.created_at)

    async def _load(
        self, redis: Redis, version: str
    ) -> tuple[ServedModel, ModelManifest, set[str]]:
        try:
            model = await fetch_model(redis, version)
        except (ValueError, EOFError) as error:  # ArtifactError, or arrays that numpy cannot read
            raise UnusableModelError("model_broken", str(error)) from error
        manifest = model.manifest
        files: set[str] = set()

        def keep(array: Array) -> Array:
            if self._shared is not None:
                try:
                    shared, file = self._shared.share(array)
                except OSError as error:  # no room: then in this process alone
                    logger.warning("an array is not shared with other workers: %s", error)
                else:
                    files.add(file)
                    return cast("Array", shared)
            return array

        served = make_served_model(
            version,
            checksum=manifest.catalog_checksum,
            arrays=model.arrays,
            catalog=self._index,
            keep=keep,
        )
        return served, manifest, files

    async def _publish_catalog(self, redis: Redis) -> None:
        if await redis.get(CATALOG_KEY) != self._catalog.to_json_lines():
            await publish_catalog(redis, self._catalog)
            logger.info("published the catalogue: %d tracks", len(self._catalog))

    async def _apart(self, work: Callable[[Redis], Awaitable[T]]) -> T:
        """Run work in a thread, on a connection of its own."""

        async def connect_and_work() -> T:
            async with self._connect() as redis:
                return await work(redis)

        # Made in the thread: a stop may come before it begins.
        return await asyncio.to_thread(lambda: asyncio.run(connect_and_work()))

    @contextlib.asynccontextmanager
    async def _connect(self) -> AsyncIterator[Redis]:
        redis = create_redis(self._url, timeout_s=_CONTROL_TIMEOUT_S)
        try:
            yield redis
        finally:
            await asyncio.shield(redis.aclose())  # also when cancelled once more meanwhile

    def _set_problem(self, problem: str | None) -> None:
        if problem != self._problem and problem is not None:
            logger.warning("%s", problem)
        self._problem = problem
