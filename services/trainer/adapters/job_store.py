"""Training jobs in Postgres, one running at a time."""

import contextlib
from collections.abc import AsyncIterator
from datetime import datetime
from typing import Any, Literal
from uuid import UUID

import asyncpg
import msgspec

from services.trainer.adapters.postgres import open_connection

Status = Literal["running", "succeeded", "failed", "interrupted", "cancelled"]
StartedBy = Literal["request", "schedule"]

# Whoever runs a job holds this advisory lock: a running row without it was left by the dead.
LOCK_KEY = 0x5E90E7


class JobRunningError(RuntimeError):
    """A training is running already."""


class JobNotRunningError(RuntimeError):
    """A job that was to be cancelled, and is over or has published."""


class JobNotResumableError(RuntimeError):
    """A job that was to be resumed, and runs or succeeded."""


class Job(msgspec.Struct, frozen=True, kw_only=True):
    """A training and how far it is."""

    job_id: UUID
    status: Status
    started_by: StartedBy
    attempts: int
    parameters: dict[str, Any]
    progress: dict[str, Any]
    started_at: datetime
    finished_at: datetime | None
    model_version: str | None
    error: str | None


COLUMNS = ", ".join(Job.__struct_fields__)
INSERT = """
INSERT INTO training_jobs (job_id, status, parameters, started_by) VALUES ($1, 'running', $2, $3)
"""
REOPEN = """
UPDATE training_jobs
SET status = 'running', finished_at = NULL, error = NULL, attempts = attempts + 1
WHERE job_id = $1 AND status IN ('failed', 'interrupted', 'cancelled')
"""
CANCEL = """
UPDATE training_jobs
SET status = 'cancelled', finished_at = clock_timestamp(), error = 'cancelled'
WHERE job_id = $1 AND status = 'running' AND model_version IS NULL
"""
PROGRESS = "UPDATE training_jobs SET progress = $2 WHERE job_id = $1"
# Who published has succeeded, whatever became of the process then.
INTERRUPT = """
UPDATE training_jobs
SET finished_at = clock_timestamp(),
    status = CASE WHEN model_version IS NULL THEN 'interrupted' ELSE 'succeeded' END,
    error = CASE WHEN model_version IS NULL THEN $1 END
WHERE status = 'running'
"""
FINISH = """
UPDATE training_jobs
SET finished_at = clock_timestamp(),
    progress = $3,
    status = CASE WHEN model_version IS NULL THEN $2 ELSE 'succeeded' END,
    error = CASE WHEN model_version IS NULL THEN $4 END
WHERE job_id = $1 AND status = 'running'
RETURNING status
"""
MAX_ERROR = 4000  # characters
DONE_NOTHING = "UPDATE 0"


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

    async def add(
        self, job_id: UUID, parameters: dict[str, Any], *, started_by: StartedBy = "request"
    ) -> None:
        """Record a job as running; only under the lock.

        Raises:
            JobRunningError: If one is running all the same.
        """
        try:
            await self._pool.execute(INSERT, job_id, _encode(parameters), started_by)
        except asyncpg.UniqueViolationError as error:
            raise JobRunningError("a training is running") from error

    async def reopen(self, job_id: UUID) -> None:
        """Record that a job that did not succeed runs again; only under the lock.

        Raises:
            JobRunningError: If another is running all the same.
            JobNotResumableError: If it is running or succeeded.
        """
        try:
            done = await self._pool.execute(REOPEN, job_id)
        except asyncpg.UniqueViolationError as error:
            raise JobRunningError("a training is running") from error
        if done == DONE_NOTHING:
            raise JobNotResumableError(f"job {job_id} is running or succeeded")

    async def cancel(self, job_id: UUID) -> None:
        """Record that a job was cancelled: from now on it cannot publish.

        Raises:
            JobNotRunningError: If it is over, or has published.
        """
        if await self._pool.execute(CANCEL, job_id) == DONE_NOTHING:
            raise JobNotRunningError(f"job {job_id} is over, or has published its version")

    async def set_progress(self, job_id: UUID, progress: dict[str, Any]) -> None:
        """Record how far a job is."""
        await self._pool.execute(PROGRESS, job_id, _encode(progress))

    async def finish(
        self, job_id: UUID, status: Status, *, progress: dict[str, Any], error: str | None = None
    ) -> Status:
        """Record how a job ended; return how it did if it was recorded already, or published."""
        ended: Status | None = await self._pool.fetchval(
            FINISH, job_id, status, _encode(progress), _clean(error)
        )
        if ended is not None:
            return ended
        await self.set_progress(job_id, progress)
        job = await self.get(job_id)
        return status if job is None else job.status

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


def _clean(error: str | None) -> str | None:
    """Leave out what Postgres takes for no text, whatever an error quotes."""
    return None if error is None else error.replace("\0", "")[:MAX_ERROR]


def _encode(value: dict[str, Any]) -> str:
    return msgspec.json.encode(value).decode()


def _job(row: asyncpg.Record) -> Job:
    columns = dict(row)
    for name in ("parameters", "progress"):
        columns[name] = msgspec.json.decode(columns[name])
    return Job(**columns)
