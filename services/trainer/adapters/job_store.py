"""Training jobs in Postgres, one running at a time."""

import contextlib
from collections.abc import AsyncIterator
from datetime import datetime
from typing import Any, Literal
from uuid import UUID

import asyncpg
import msgspec

from services.trainer.adapters.postgres import open_connection

Status = Literal["running", "succeeded", "failed", "interrupted"]

# Whoever runs a job holds this advisory lock: a running row without it was left by the dead.
LOCK_KEY = 0x5E90E7


class JobRunningError(RuntimeError):
    """A training is running already."""


class Job(msgspec.Struct, frozen=True, kw_only=True):
    """A training and how far it is."""

    job_id: UUID
    status: Status
    parameters: dict[str, Any]
    progress: dict[str, Any]
    started_at: datetime
    finished_at: datetime | None
    model_version: str | None
    error: str | None


COLUMNS = """
job_id, status, parameters, progress, started_at, finished_at, model_version, error
"""
INSERT = "INSERT INTO training_jobs (job_id, status, parameters) VALUES ($1, 'running', $2)"
INTERRUPT = """
UPDATE training_jobs
SET status = 'interrupted', finished_at = clock_timestamp(), error = $1
WHERE status = 'running'
"""
PROGRESS = "UPDATE training_jobs SET progress = $2 WHERE job_id = $1"
FINISH = """
UPDATE training_jobs
SET status = $2, progress = $3, model_version = $4, error = $5, finished_at = clock_timestamp()
WHERE job_id = $1 AND status = 'running'
"""


class JobStore:
    """The table of training jobs."""

    def __init__(self, pool: asyncpg.Pool, dsn: str) -> None:
        """Take a pool, and where to open the connection that holds the lock."""
        self._pool = pool
        self._dsn = dsn

    @contextlib.asynccontextmanager
    async def lock(self) -> AsyncIterator[None]:
        """Be the one that may run a job; what the dead left running becomes interrupted.

        Raises:
            JobRunningError: If another process runs one.
        """
        async with open_connection(self._dsn) as connection:
            if not await connection.fetchval("SELECT pg_try_advisory_lock($1)", LOCK_KEY):
                raise JobRunningError("another trainer runs a training")
            await connection.execute(INTERRUPT, "the trainer stopped during the training")
            yield

    async def add(self, job_id: UUID, parameters: dict[str, Any]) -> None:
        """Record a job as running; only under the lock.

        Raises:
            JobRunningError: If one is running all the same.
        """
        try:
            await self._pool.execute(INSERT, job_id, _encode(parameters))
        except asyncpg.UniqueViolationError as error:
            raise JobRunningError("a training is running") from error

    async def set_progress(self, job_id: UUID, progress: dict[str, Any]) -> None:
        """Record how far a job is."""
        await self._pool.execute(PROGRESS, job_id, _encode(progress))

    async def finish(
        self,
        job_id: UUID,
        status: Status,
        *,
        progress: dict[str, Any],
        model_version: str | None = None,
        error: str | None = None,
    ) -> None:
        """Record how a job ended."""
        await self._pool.execute(FINISH, job_id, status, _encode(progress), model_version, error)

    async def get(self, job_id: UUID) -> Job | None:
        """Look a job up."""
        row = await self._pool.fetchrow(
            f"SELECT {COLUMNS} FROM training_jobs WHERE job_id = $1",  # noqa: S608 - a constant
            job_id,
        )
        return _job(row) if row else None

    async def get_newest(self, *, limit: int) -> list[Job]:
        """List jobs, newest first."""
        rows = await self._pool.fetch(
            f"SELECT {COLUMNS} FROM training_jobs ORDER BY started_at DESC LIMIT $1",  # noqa: S608
            limit,
        )
        return [_job(row) for row in rows]

    async def get_running(self) -> Job | None:
        """Look up the job that runs."""
        row = await self._pool.fetchrow(
            f"SELECT {COLUMNS} FROM training_jobs WHERE status = 'running'"  # noqa: S608
        )
        return _job(row) if row else None


def _encode(value: dict[str, Any]) -> str:
    return msgspec.json.encode(value).decode()


def _job(row: asyncpg.Record) -> Job:
    columns = dict(row)
    for name in ("parameters", "progress"):
        columns[name] = msgspec.json.decode(columns[name])
    return Job(**columns)
