"""Training jobs: starts the training process, follows it, records how it ended."""

import asyncio
import contextlib
import logging
import os
import signal
import sys
import time
from collections.abc import Mapping
from typing import Any
from uuid import UUID, uuid4

import msgspec

from services.trainer.adapters.job_store import Job, JobRunningError, JobStore, Status
from services.trainer.adapters.metrics import Metrics
from services.trainer.adapters.postgres import UNAVAILABLE
from services.trainer.core.parameters import TrainingParameters
from services.trainer.order import Message, encode_order, make_order, to_dict
from services.trainer.settings import Settings

log = logging.getLogger(__name__)

COMMAND = ("-m", "services.trainer.job")
# Threads that wait do not spin: on a busy machine spinning makes a training ten times slower.
ENVIRONMENT = {"OMP_WAIT_POLICY": "passive"}
RECORD_ATTEMPTS = 6
MAX_LINE_BYTES = 1024 * 1024


class JobRunner:
    """Runs one training at a time, each in a process of its own."""

    def __init__(self, settings: Settings, store: JobStore, metrics: Metrics) -> None:
        """Take what the jobs are run with."""
        self._settings = settings
        self._store = store
        self._metrics = metrics
        self._task: asyncio.Task[None] | None = None
        self._process: asyncio.subprocess.Process | None = None

    async def start(self, parameters: TrainingParameters) -> Job:
        """Start a training.

        Raises:
            JobRunningError: If one is running, here or elsewhere.
        """
        if self._task is not None and not self._task.done():
            raise JobRunningError("a training is running")
        job_id = uuid4()
        is_recorded: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._task = asyncio.create_task(self._run(job_id, parameters, is_recorded))
        await is_recorded
        job = await self._store.get(job_id)
        if job is None:
            raise RuntimeError(f"job {job_id} vanished")
        return job

    async def stop(self) -> None:
        """End the training process, if any; its job becomes interrupted."""
        if self._task is not None and not self._task.done():
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task

    async def interrupt_leftovers(self) -> None:
        """Mark the jobs that a dead trainer left running."""
        with contextlib.suppress(JobRunningError):
            async with self._store.lock():
                pass

    async def _run(
        self, job_id: UUID, parameters: TrainingParameters, is_recorded: asyncio.Future[None]
    ) -> None:
        try:
            async with self._store.lock():
                await self._store.add(job_id, to_dict(parameters))
                is_recorded.set_result(None)
                await self._follow(job_id, parameters)
        except asyncio.CancelledError:
            is_recorded.cancel()
            raise
        except Exception as error:
            if is_recorded.done():
                log.exception("job %s", job_id)
            else:
                is_recorded.set_exception(error)

    async def _follow(self, job_id: UUID, parameters: TrainingParameters) -> None:
        started = time.monotonic()
        progress: dict[str, Any] = {}
        status: Status = "failed"
        version, error = None, None
        try:
            version, error = await self._train(job_id, parameters, progress)
            status = "succeeded" if version is not None else "failed"
        except asyncio.CancelledError:
            status, error = "interrupted", "the trainer was stopped during the training"
            raise
        except Exception as exception:
            log.exception("job %s", job_id)
            error = f"unexpected: {type(exception).__name__}: {exception}"
        finally:
            self._metrics.observe_job(status, duration_s=time.monotonic() - started)
            log.info("job %s %s %s", job_id, status, version or error)
            await self._record(job_id, status, progress=progress, version=version, error=error)

    async def _train(
        self, job_id: UUID, parameters: TrainingParameters, progress: dict[str, Any]
    ) -> tuple[str | None, str | None]:
        """Run the process; return the version's id, or why there is none."""
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            *COMMAND,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            env=ENVIRONMENT | os.environ,
            limit=MAX_LINE_BYTES,
        )
        assert process.stdin is not None  # noqa: S101 - both are pipes
        assert process.stdout is not None  # noqa: S101
        last = Message()
        try:
            # It stays open: its end tells the process that the service is gone.
            process.stdin.write(encode_order(make_order(job_id, parameters, self._settings)))
            async for line in process.stdout:
                last = msgspec.json.decode(line, type=Message)
                add_progress(progress, last)
                self._metrics.observe_progress(last.fields)
                await self._store_progress(job_id, progress)
            await process.wait()
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
            process.stdin.close()
        if last.model_version or last.error:
            return last.model_version, last.error
        return None, f"the training process {_describe_exit(process.returncode or 0)}"

    async def _store_progress(self, job_id: UUID, progress: dict[str, Any]) -> None:
        try:
            await self._store.set_progress(job_id, progress)
        except UNAVAILABLE as error:
            log.warning("job %s: progress not recorded: %s", job_id, error)

    async def _record(
        self,
        job_id: UUID,
        status: Status,
        *,
        progress: dict[str, Any],
        version: str | None,
        error: str | None,
    ) -> None:
        for attempt in range(RECORD_ATTEMPTS):
            try:
                await self._store.finish(
                    job_id, status, progress=progress, model_version=version, error=error
                )
            except UNAVAILABLE as failure:
                log.warning("job %s: end not recorded: %s", job_id, failure)
                await asyncio.sleep(min(2**attempt, 30))
            else:
                return


def add_progress(progress: dict[str, Any], message: Message) -> None:
    """Add a message of the training process to what is known of its progress."""
    fields: Mapping[str, Any] = message.fields
    if message.stage is not None:
        progress["stage"] = message.stage
    if "epoch" in fields:
        progress["epoch"] = fields["epoch"]
        progress.setdefault("losses", []).append(dict(fields))
    else:
        progress.update(fields)


def _describe_exit(returncode: int) -> str:
    if returncode >= 0:
        return f"ended with {returncode} and no word"
    return f"was killed by {signal.Signals(-returncode).name}"
