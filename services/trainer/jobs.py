"""Training jobs: starts the training process, follows it, records how it ended."""

import asyncio
import contextlib
import logging
import time
from collections.abc import Awaitable, Callable
from typing import Any
from uuid import UUID, uuid4

from services.trainer.adapters.job_folder import prune_job_folders
from services.trainer.adapters.job_store import Job, JobRunningError, JobStore, StartedBy, Status
from services.trainer.adapters.metrics import Metrics
from services.trainer.adapters.postgres import UNAVAILABLE
from services.trainer.core.parameters import TrainingParameters
from services.trainer.order import Message, from_dict, make_order, to_dict
from services.trainer.progress import add_progress
from services.trainer.settings import Settings
from services.trainer.training_process import TrainingProcess, start_process
from shared.tasks import end

log = logging.getLogger(__name__)

RECORD_ATTEMPTS = 6


class NoSuchJobError(LookupError):
    """A job that nobody started."""


class JobRunner:
    """Runs one training at a time, each in a process of its own.

    Attributes:
        changed: Set, and replaced by another, whenever more is known of the job that runs.
    """

    def __init__(self, settings: Settings, store: JobStore, metrics: Metrics) -> None:
        """Take what the jobs are run with."""
        self._settings = settings
        self._store = store
        self._metrics = metrics
        self._task: asyncio.Task[None] | None = None
        self._job_id: UUID | None = None
        self._process: TrainingProcess | None = None
        self._is_cancelled = False
        self._is_recorded = False
        self.changed = asyncio.Event()

    async def start(
        self, parameters: TrainingParameters, *, started_by: StartedBy = "request"
    ) -> Job:
        """Start a training.

        Raises:
            JobRunningError: If one is running, here or elsewhere.
        """
        job_id = uuid4()

        async def record() -> None:
            await self._store.add(job_id, to_dict(parameters), started_by=started_by)

        return await self._begin(job_id, parameters, record, progress={})

    async def resume(self, job_id: UUID) -> Job:
        """Let a job that did not succeed go on, from its checkpoint if it has one.

        Raises:
            NoSuchJobError: If nobody started it.
            JobNotResumableError: If it is running or succeeded.
            JobRunningError: If another is running.
        """
        job = await self._get(job_id)

        async def record() -> None:
            await self._store.reopen(job_id)

        parameters, progress = from_dict(job.parameters), dict(job.progress)
        return await self._begin(job_id, parameters, record, progress=progress)

    async def cancel(self, job_id: UUID) -> Job:
        """End a job and its process; what serves stays as it is.

        Raises:
            NoSuchJobError: If nobody started it.
            JobNotRunningError: If it is over, or has published its version.
        """
        await self._get(job_id)
        await self._store.cancel(job_id)
        task = self._task
        if self._job_id == job_id and task is not None:
            self._is_cancelled = True
            if self._process is not None:
                self._process.kill()
            await asyncio.wait([task])
        return await self._get(job_id)

    async def stop(self) -> None:
        """End the training process, if any; its job becomes interrupted."""
        if self._task is not None and not self._task.done():
            await end(self._task)

    async def interrupt_leftovers(self) -> None:
        """Mark the jobs that a dead trainer left running."""
        with contextlib.suppress(JobRunningError):
            async with self._store.lock():
                pass

    async def _begin(
        self,
        job_id: UUID,
        parameters: TrainingParameters,
        record: Callable[[], Awaitable[None]],
        *,
        progress: dict[str, Any],
    ) -> Job:
        if self._task is not None and not self._task.done():
            if not self._is_recorded:
                raise JobRunningError("a training is running")
            await asyncio.wait([self._task])  # its end is known already
        is_recorded: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        async def run() -> None:
            async with self._store.lock():
                await record()
                self._job_id, self._is_cancelled = job_id, False
                is_recorded.set_result(None)
                await self._follow(job_id, parameters, progress)

        self._is_recorded = False
        self._task = asyncio.create_task(_guard(run(), is_recorded, job_id))
        await is_recorded
        return await self._get(job_id)

    async def _get(self, job_id: UUID) -> Job:
        job = await self._store.get(job_id)
        if job is None:
            raise NoSuchJobError(f"there is no job {job_id}")
        return job

    async def _follow(
        self, job_id: UUID, parameters: TrainingParameters, progress: dict[str, Any]
    ) -> None:
        started = time.monotonic()
        self._metrics.observe_start()
        status: Status = "failed"
        error: str | None = None
        try:
            error = await self._train(job_id, parameters, progress)
            status = "failed" if error else "succeeded"
        except asyncio.CancelledError:
            status, error = "interrupted", "the trainer stopped during the training"
            raise
        except Exception as exception:
            log.exception("the training failed", extra=_name(job_id))
            error = f"unexpected: {type(exception).__name__}: {exception}"
        finally:
            status = await self._record(job_id, status, progress=progress, error=error)
            self._is_recorded = True
            self._metrics.observe_end(status, duration_s=time.monotonic() - started)
            log.info("training %s %s", status, error or "", extra=_name(job_id))
            self._notify()

    async def _train(
        self, job_id: UUID, parameters: TrainingParameters, progress: dict[str, Any]
    ) -> str | None:
        """Run the process; return why it failed, if it did."""
        settings = self._settings
        await asyncio.to_thread(
            prune_job_folders,
            settings.folder,
            keep=settings.keep_jobs,
            keep_checkpoints=settings.keep_checkpoints,
        )
        process = self._process = await start_process()
        last = Message()
        if self._is_cancelled:  # before there was a process to kill
            process.kill()
        try:
            process.order(make_order(job_id, parameters, settings))
            async for message in process.read_messages():
                last = message
                add_progress(progress, last)
                self._metrics.observe_progress(last.stage, last.fields)
                await self._store_progress(job_id, progress)
        finally:
            self._process = None
            how = await process.end()
        if last.model_version or last.error:
            return last.error
        return f"the training process {how}"

    async def _store_progress(self, job_id: UUID, progress: dict[str, Any]) -> None:
        try:
            await self._store.set_progress(job_id, progress)
        except UNAVAILABLE as error:
            log.warning("progress not recorded: %s", error, extra=_name(job_id))
        self._notify()

    async def _record(
        self, job_id: UUID, status: Status, *, progress: dict[str, Any], error: str | None
    ) -> Status:
        for attempt in range(RECORD_ATTEMPTS):
            try:
                return await self._store.finish(job_id, status, progress=progress, error=error)
            except UNAVAILABLE as failure:
                log.warning("end not recorded: %s", failure, extra=_name(job_id))
                await asyncio.sleep(min(2**attempt, 30))
        return status

    def _notify(self) -> None:
        """Wake up those who follow the job."""
        self.changed.set()
        self.changed = asyncio.Event()


def _name(job_id: UUID) -> dict[str, str]:
    return {"job_id": str(job_id)}


async def _guard(run: Awaitable[None], is_recorded: "asyncio.Future[None]", job_id: UUID) -> None:
    """Tell whoever started a job of what fails before it is recorded; log what fails after."""
    try:
        await run
    except asyncio.CancelledError:
        is_recorded.cancel()
        raise
    except Exception as error:
        if is_recorded.done():
            log.exception("the training failed", extra=_name(job_id))
        else:
            is_recorded.set_exception(error)
