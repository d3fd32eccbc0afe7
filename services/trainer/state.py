"""What the routes use, from the start to the end of the application."""

from dataclasses import dataclass

from fastapi import Request
from redis.asyncio import Redis

from services.trainer.adapters.job_store import JobStore
from services.trainer.adapters.registry import Registry
from services.trainer.jobs import JobRunner
from services.trainer.scheduler import Scheduler
from services.trainer.settings import Settings


@dataclass(frozen=True)
class State:
    """The service's parts; the scheduler is None without a schedule."""

    settings: Settings
    runner: JobRunner
    jobs: JobStore
    registry: Registry
    redis: Redis
    scheduler: Scheduler | None


def get_state(request: Request) -> State:
    """Return the state that a request finds."""
    state: State = request.state.trainer
    return state
