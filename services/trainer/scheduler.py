"""Starts trainings when their time has come, if none runs."""

import asyncio
import logging
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import asyncpg
import msgspec

from services.trainer.adapters.job_store import JobRunningError
from services.trainer.adapters.postgres import UNAVAILABLE
from services.trainer.core.parameters import TrainingParameters
from services.trainer.core.schedule import Schedule
from services.trainer.jobs import JobRunner

log = logging.getLogger(__name__)

LOOK_AT_CLOCK_S = 30.0  # however it was set meanwhile


class LastStart(msgspec.Struct, frozen=True):
    """What became of the last time that a training was due."""

    at: datetime
    outcome: str
    job_id: str | None = None


class Scheduler:
    """One schedule with its parameters.

    Attributes:
        next_at: When the next training is due.
        last: What became of the one before.
    """

    def __init__(
        self,
        runner: JobRunner,
        schedule: Schedule,
        parameters: TrainingParameters,
        *,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        """Take what to start, and when."""
        self._runner, self._schedule, self._parameters = runner, schedule, parameters
        self._clock = clock
        self.next_at = schedule.next_after(clock())
        self.last: LastStart | None = None

    async def run(self) -> None:
        """Start trainings until cancelled."""
        while True:
            left = (self.next_at - self._clock()).total_seconds()
            if left > 0:
                await asyncio.sleep(min(left, LOOK_AT_CLOCK_S))
                continue
            self.last = await self._start(self.next_at)
            self.next_at = self._schedule.next_after(self._clock())

    async def _start(self, due_at: datetime) -> LastStart:
        try:
            job = await self._runner.start(self._parameters, started_by="schedule")
        except JobRunningError as error:
            log.info("scheduled training skipped: %s", error)
            return LastStart(due_at, f"skipped: {error}")
        except (*UNAVAILABLE, asyncpg.PostgresError) as error:
            log.warning("scheduled training not started: %s", error)
            return LastStart(due_at, f"not started: {type(error).__name__}: {error}")
        return LastStart(due_at, "started", str(job.job_id))


def show_scheduler(scheduler: Scheduler | None) -> dict[str, Any]:
    """Return what a schedule is up to, for JSON."""
    if scheduler is None:
        return {"next_at": None, "last": None}
    shown: dict[str, Any] = msgspec.to_builtins(
        {"next_at": scheduler.next_at, "last": scheduler.last}
    )
    return shown
