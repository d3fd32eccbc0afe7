"""The model registry: every version ever published, and which served when.

Redis says what serves; Postgres remembers. A change is made in Redis inside the transaction that
records it, so that a failure of either leaves the record and the pointer as they were. Only a
Postgres that dies in the commit itself can leave a change unrecorded; the next attempt records it.
"""

import contextlib
from collections.abc import AsyncIterator, Sequence
from uuid import UUID

import asyncpg
import msgspec
from redis.asyncio import Redis

from services.trainer.core.versions import find_previous
from shared.artifacts import (
    ArtifactError,
    ModelManifest,
    ModelVersion,
    activate_model,
    fetch_latest_version,
    fetch_manifests,
    publish_model,
)

MAX_LISTED = 200

INSERT_VERSION = """
INSERT INTO model_versions (model_version, created_at, manifest) VALUES ($1, $2, $3)
ON CONFLICT (model_version) DO NOTHING
"""
INSERT_ACTIVATION = """
INSERT INTO model_activations (model_version)
SELECT $1::text WHERE $1::text IS DISTINCT FROM (
    SELECT model_version FROM model_activations ORDER BY activation_id DESC LIMIT 1
)
"""
CLAIM_JOB = """
UPDATE training_jobs SET model_version = $2 WHERE job_id = $1 AND status = 'running'
"""
SELECT_HISTORY = "SELECT model_version FROM model_activations ORDER BY activation_id"
SELECT_VERSIONS = """
SELECT manifest FROM model_versions ORDER BY created_at DESC, model_version DESC LIMIT $1
"""
SELECT_VERSION = "SELECT manifest FROM model_versions WHERE model_version = $1"


class JobOverError(RuntimeError):
    """A version whose job was cancelled or interrupted before it could be published."""


class NoEarlierVersionError(LookupError):
    """A rollback with nowhere to go."""


class ListedModel(msgspec.Struct, frozen=True):
    """A version in the registry or in Redis.

    Attributes:
        manifest: What it is.
        active: Whether it serves.
        available: Whether Redis still has it, so that it could serve.
    """

    manifest: ModelManifest
    active: bool
    available: bool


class Registry:
    """Model versions in Redis, remembered by Postgres."""

    def __init__(self, pool: asyncpg.Pool, redis: Redis) -> None:
        """Take connections; Redis without `decode_responses`."""
        self._pool = pool
        self._redis = redis

    async def publish(
        self, model: ModelVersion, *, activate: bool, keep: int, job_id: UUID | None = None
    ) -> None:
        """Publish and record a version, that it serves, and which job made it.

        Raises:
            JobOverError: If the job does not run any more; nothing is published then.
        """
        async with self._exclusively() as connection:
            if job_id is not None:
                await _claim_job(connection, job_id, model.manifest.model_version)
            await _record(connection, model.manifest)
            if activate:
                await connection.execute(INSERT_ACTIVATION, model.manifest.model_version)
            await publish_model(self._redis, model, activate=activate, keep=keep)

    async def activate(self, version: str) -> None:
        """Let a version serve.

        Raises:
            ArtifactError: If Redis does not have it.
        """
        async with self._exclusively() as connection:
            await self._activate(connection, version)

    async def roll_back(self) -> str:
        """Let the version serve that served before, and return its id.

        Raises:
            NoEarlierVersionError: If there is none, or Redis no longer has it.
        """
        async with self._exclusively() as connection:
            history = [row["model_version"] for row in await connection.fetch(SELECT_HISTORY)]
            serving = await fetch_latest_version(self._redis)
            if serving is not None and serving not in history[-1:]:
                history.append(serving)
            available = {m.model_version for m in await fetch_manifests(self._redis)}
            previous = find_previous(history, available)
            if previous is None:
                raise NoEarlierVersionError("no earlier version served that Redis still has")
            await self._activate(connection, previous)
        return previous

    async def restore(self, models: Sequence[ModelVersion]) -> str | None:
        """Publish versions that Redis has lost, as they were; return the one that serves again.

        A version that was published meanwhile serves in any case.
        """
        async with self._exclusively() as connection:
            serving = await fetch_latest_version(self._redis)
            for model in models:
                await publish_model(self._redis, model, activate=False, keep=MAX_LISTED)
            if serving is not None:
                return serving
            restored = {model.manifest.model_version for model in models}
            history = [row["model_version"] for row in await connection.fetch(SELECT_HISTORY)]
            serving = next((each for each in reversed(history) if each in restored), None)
            if serving is not None:
                await activate_model(self._redis, serving)
        return serving

    async def list_models(self) -> list[ListedModel]:
        """List the versions, newest first."""
        rows = await self._pool.fetch(SELECT_VERSIONS, MAX_LISTED)
        in_redis = {m.model_version: m for m in await fetch_manifests(self._redis)}
        recorded = [msgspec.json.decode(row["manifest"], type=ModelManifest) for row in rows]
        manifests = {m.model_version: m for m in recorded} | in_redis
        active = await fetch_latest_version(self._redis)
        return [
            ListedModel(m, active=m.model_version == active, available=m.model_version in in_redis)
            for m in sorted(manifests.values(), key=_age, reverse=True)
        ]

    async def get_model(self, version: str) -> ListedModel:
        """Look a version up.

        Raises:
            ArtifactError: If there is no such version.
        """
        in_redis = {m.model_version: m for m in await fetch_manifests(self._redis)}
        manifest = in_redis.get(version)
        if manifest is None:
            payload = await self._pool.fetchval(SELECT_VERSION, version)
            if payload is None:
                raise ArtifactError(f"there is no model version {version}")
            manifest = msgspec.json.decode(payload, type=ModelManifest)
        active = await fetch_latest_version(self._redis)
        return ListedModel(manifest, active=version == active, available=version in in_redis)

    async def fetch_active(self) -> ModelManifest | None:
        """Fetch the manifest of the version that serves."""
        active = await fetch_latest_version(self._redis)
        manifests = await fetch_manifests(self._redis)
        return next((m for m in manifests if m.model_version == active), None)

    async def _activate(self, connection: asyncpg.Connection, version: str) -> None:
        manifests = {m.model_version: m for m in await fetch_manifests(self._redis)}
        if version not in manifests:
            raise ArtifactError(f"model version {version} is not in Redis")
        await _record(connection, manifests[version])
        await connection.execute(INSERT_ACTIVATION, version)
        await activate_model(self._redis, version)

    @contextlib.asynccontextmanager
    async def _exclusively(self) -> AsyncIterator[asyncpg.Connection]:
        """Open a transaction that no other change of the registry overlaps."""
        async with self._pool.acquire() as connection, connection.transaction():
            await connection.execute("LOCK TABLE model_activations IN SHARE ROW EXCLUSIVE MODE")
            yield connection


async def _claim_job(connection: asyncpg.Connection, job_id: UUID, version: str) -> None:
    """Tie a version to its job; whoever cancels the job waits for this transaction."""
    if await connection.execute(CLAIM_JOB, job_id, version) == "UPDATE 0":
        raise JobOverError(f"job {job_id} was cancelled or interrupted: nothing is published")


async def _record(connection: asyncpg.Connection, manifest: ModelManifest) -> None:
    payload = msgspec.json.encode(manifest).decode()
    await connection.execute(INSERT_VERSION, manifest.model_version, manifest.created_at, payload)


def _age(manifest: ModelManifest) -> tuple[float, str]:
    return manifest.created_at.timestamp(), manifest.model_version
