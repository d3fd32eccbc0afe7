"""A job's progress as server-sent events."""

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID

import msgspec

from services.trainer.adapters.job_store import Job, JobStore
from services.trainer.jobs import JobRunner

POLL_S = 1.0  # the job may run in another trainer
RETRY_MS = 2000


async def stream_events(
    store: JobStore, runner: JobRunner, job_id: UUID, *, after: int, heartbeat_s: float
) -> AsyncIterator[bytes]:
    """Tell what a job has done and does, to its end.

    Events are numbered from 1: `progress` for every message of the training process, at last `end`
    with how the job ended. Between them, every `heartbeat_s`, a comment.

    Args:
        store: Of the jobs.
        runner: Of this service.
        job_id: Of a job that is there.
        after: Number of the last event that the client has.
        heartbeat_s: Between signs of life.
    """
    yield b"retry: %d\n\n" % RETRY_MS
    spoke_at = time.monotonic()
    while True:
        changed = runner.changed  # before the job is read: what comes meanwhile wakes us
        job = await store.get(job_id)
        if job is None:
            return
        events = count_events(job)
        for number in range(after + 1, events + 1):
            yield _encode("progress", number, job.progress["events"][number - 1])
            after, spoke_at = number, time.monotonic()
        if job.status != "running":
            yield _encode("end", events + 1, _show_end(job))
            return
        if time.monotonic() - spoke_at >= heartbeat_s:
            yield b": still running\n\n"
            spoke_at = time.monotonic()
        await _wait(changed, min(POLL_S, heartbeat_s))


def count_events(job: Job) -> int:
    """Count the events of a job so far, its end not included."""
    return len(job.progress.get("events", ()))


async def _wait(changed: asyncio.Event, timeout_s: float) -> None:
    try:
        async with asyncio.timeout(timeout_s):
            await changed.wait()
    except TimeoutError:
        pass


def _show_end(job: Job) -> dict[str, Any]:
    return {
        "status": job.status,
        "model_version": job.model_version,
        "error": job.error,
        "promotion": job.progress.get("promotion"),
    }


def _encode(kind: str, number: int, data: dict[str, Any]) -> bytes:
    return b"id: %d\nevent: %s\ndata: %s\n\n" % (number, kind.encode(), msgspec.json.encode(data))
