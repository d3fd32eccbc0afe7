"""Copies on disk of the versions in Redis, for a Redis that comes back without them."""

import asyncio
import logging
import shutil
from pathlib import Path

import asyncpg
from redis.asyncio import Redis
from redis.exceptions import RedisError

from services.trainer.adapters.postgres import UNAVAILABLE
from services.trainer.adapters.registry import Registry
from shared.artifacts import ArtifactError, fetch_manifests, fetch_model
from shared.model_files import load_model, save_model

log = logging.getLogger(__name__)

_UNFINISHED = ".new"


class VersionCopies:
    """One folder per version; a version that has expired in Redis goes here, too."""

    def __init__(self, folder: Path, redis: Redis, registry: Registry) -> None:
        """Take a folder of their own, what is copied, and what publishes it again."""
        self._folder = folder
        self._redis = redis
        self._registry = registry

    async def follow(self, *, interval_s: float) -> None:
        """Keep the copies, and restore from them, until cancelled."""
        while True:
            try:
                await self.refresh()
            except (*UNAVAILABLE, asyncpg.PostgresError, RedisError, ArtifactError) as error:
                log.warning("copies of model versions: %s: %s", type(error).__name__, error)
            await asyncio.sleep(interval_s)

    async def refresh(self) -> None:
        """Copy what is new and forget what has expired; or, if Redis has nothing, restore it.

        Raises:
            ArtifactError: If a version or its copy is damaged.
            OSError: If the folder cannot be used, or Redis or Postgres not be reached.
            RedisError: If Redis fails.
        """
        versions = {manifest.model_version for manifest in await fetch_manifests(self._redis)}
        copied = self._list()
        if not versions:
            await self._restore(copied)
            return
        for version in versions - copied:
            await self._copy(version)
        for version in copied - versions:
            await asyncio.to_thread(shutil.rmtree, self._folder / version)

    def _list(self) -> set[str]:
        if not self._folder.is_dir():
            return set()
        return {path.name for path in self._folder.iterdir() if path.suffix != _UNFINISHED}

    async def _copy(self, version: str) -> None:
        model = await fetch_model(self._redis, version)
        unfinished = self._folder / f"{version}{_UNFINISHED}"

        def save() -> None:
            save_model(model, unfinished)
            unfinished.rename(self._folder / version)

        await asyncio.to_thread(save)

    async def _restore(self, copied: set[str]) -> None:
        if not copied:
            return
        models = [
            await asyncio.to_thread(load_model, self._folder / version)
            for version in sorted(copied)
        ]
        serving = await self._registry.restore(models)
        log.warning("Redis had lost %d model versions: restored, %s serves", len(models), serving)
