"""The trainer's composition root."""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import TypedDict

import asyncpg
from fastapi import FastAPI
from redis.asyncio import Redis
from redis.exceptions import RedisError

from services.trainer.adapters.job_store import (
    JobNotResumableError,
    JobNotRunningError,
    JobRunningError,
    JobStore,
)
from services.trainer.adapters.metrics import Metrics
from services.trainer.adapters.postgres import UNAVAILABLE, open_pool
from services.trainer.adapters.registry import NoEarlierVersionError, Registry
from services.trainer.api import create_router
from services.trainer.core.schedule import parse_schedule
from services.trainer.jobs import JobRunner, NoSuchJobError
from services.trainer.scheduler import Scheduler
from services.trainer.settings import Settings
from services.trainer.state import State
from shared.artifacts import ArtifactError
from shared.auth import install_token
from shared.edge import EdgeOptions, install_edge
from shared.http import install_error_map, install_operations, install_problem_handlers
from shared.origin import is_loopback
from shared.redis_client import create_redis
from shared.tasks import in_background
from shared.tracing import Tracing, close_tracing, create_tracing

log = logging.getLogger(__name__)

PROBLEMS: Mapping[type[Exception], tuple[int, str]] = {
    JobRunningError: (409, "Training running"),
    JobNotRunningError: (409, "Training over"),
    JobNotResumableError: (409, "Nothing to resume"),
    NoSuchJobError: (404, "No such training"),
    NoEarlierVersionError: (409, "Nothing to roll back to"),
    ArtifactError: (404, "No such model version"),
    RedisError: (503, "Redis unavailable"),
    asyncpg.UndefinedTableError: (503, "Database not migrated"),
    **dict.fromkeys(UNAVAILABLE, (503, "Database unavailable")),
}


@dataclass(frozen=True)
class Adapters:
    """What the trainer reaches outside its process."""

    pool: asyncpg.Pool
    redis: Redis
    tracing: Tracing | None = None


class LifespanState(TypedDict):
    """What lives as long as the application, for `request.state`."""

    trainer: State


def create_app(settings: Settings, adapters: Adapters | None = None) -> FastAPI:
    """Create the service.

    Args:
        settings: Of this process.
        adapters: Its connections; by default to where the settings say.

    Raises:
        ExposedError: If strangers could tell it what serves.
    """
    settings.check_exposure(settings.host)
    metrics = Metrics()
    tracing = adapters.tracing if adapters else create_tracing("trainer")
    holder: list[Adapters] = []

    @contextlib.asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[LifespanState]:
        async with contextlib.AsyncExitStack() as stack:
            used = adapters or await _connect(settings, stack)
            jobs = JobStore(used.pool, settings.postgres_dsn)
            runner = JobRunner(settings, jobs, metrics)
            registry = Registry(used.pool, used.redis)
            stack.push_async_callback(close_tracing, tracing)
            stack.push_async_callback(runner.stop)
            await _interrupt_leftovers(runner)
            refresh = _refreshing(registry, metrics, interval_s=settings.refresh_interval_s)
            await stack.enter_async_context(refresh)
            scheduler = _create_scheduler(settings, runner)
            if scheduler is not None:
                await stack.enter_async_context(in_background(scheduler.run()))
            holder.append(used)
            yield {"trainer": State(settings, runner, jobs, registry, used.redis, scheduler)}
        holder.clear()

    async def ready() -> dict[str, str]:
        return await _check(holder[0])

    app = FastAPI(title="Segue trainer", version="1", lifespan=lifespan)
    app.include_router(create_router())
    install_problem_handlers(app)
    install_error_map(app, PROBLEMS)
    install_operations(app, ready=ready, registry=metrics.registry)
    install_token(app, settings.api_token)
    is_local = is_loopback(settings.host)
    options = EdgeOptions(service="trainer", is_local=is_local, tracing=tracing)
    install_edge(app, options, registry=metrics.registry)
    return app


def _create_scheduler(settings: Settings, runner: JobRunner) -> Scheduler | None:
    if settings.schedule is None:
        return None
    parameters = settings.schedule_parameters.to_parameters()
    return Scheduler(runner, parse_schedule(settings.schedule), parameters)


async def _connect(settings: Settings, stack: contextlib.AsyncExitStack) -> Adapters:
    redis = create_redis(settings.redis_url, timeout_s=settings.redis_timeout_s)
    return Adapters(
        await stack.enter_async_context(open_pool(settings.postgres_dsn)),
        await stack.enter_async_context(redis),
    )


async def _interrupt_leftovers(runner: JobRunner) -> None:
    try:
        await runner.interrupt_leftovers()
    except (*UNAVAILABLE, asyncpg.PostgresError) as error:
        log.warning("jobs of an earlier trainer are looked at with the next job: %s", error)


@contextlib.asynccontextmanager
async def _refreshing(
    registry: Registry, metrics: Metrics, *, interval_s: float
) -> AsyncIterator[None]:
    """Keep the metrics about the active model up to date."""

    async def refresh() -> None:
        while True:
            with contextlib.suppress(RedisError, OSError):
                metrics.observe_active(await registry.fetch_active())
            await asyncio.sleep(interval_s)

    async with in_background(refresh()):
        yield


async def _check(adapters: Adapters) -> dict[str, str]:
    parts = {"redis": "ok", "postgres": "ok"}
    try:
        await adapters.redis.ping()
    except (RedisError, OSError) as error:
        parts["redis"] = f"down: {error}"
    try:
        await adapters.pool.fetchval("SELECT count(*) FROM training_jobs WHERE status = 'running'")
    except (*UNAVAILABLE, asyncpg.PostgresError) as error:
        parts["postgres"] = f"down: {error}"
    return parts
