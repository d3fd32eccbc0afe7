"""The logger's composition root."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import TypedDict

from fastapi import FastAPI
from redis.exceptions import RedisError

from services.logger.adapters.definition_table import DefinitionTable
from services.logger.adapters.event_store import PostgresEventStore, open_pool
from services.logger.adapters.listening_days import keep_days_fresh
from services.logger.adapters.metrics import Metrics
from services.logger.adapters.migrate import migrate_async, wait_for_postgres
from services.logger.adapters.track_table import TrackTable
from services.logger.api import State, create_router
from services.logger.consumer import Consumer, ConsumerOptions
from services.logger.core.storage import EventStore, StoreUnavailableError
from services.logger.ingest import BodyError, BodyTooLargeError
from services.logger.settings import Settings
from shared.auth import install_token
from shared.edge import EdgeOptions, install_edge
from shared.event_stream import EventStream
from shared.exposure import is_loopback
from shared.http import install_error_map, install_operations, install_problem_handlers
from shared.redis_client import create_redis
from shared.sharded_stream import open_event_stream
from shared.tasks import BackgroundTasks, in_background
from shared.tracing import Tracing, close_tracing, create_tracing

PROBLEMS: Mapping[type[Exception], tuple[int, str]] = {
    BodyTooLargeError: (413, "Body too large"),
    BodyError: (400, "Unreadable body"),
    StoreUnavailableError: (503, "Database unavailable"),
    RedisError: (503, "Stream unavailable"),
}


@dataclass(frozen=True)
class Adapters:
    """What the logger reaches outside its process."""

    stream: EventStream
    store: EventStore
    tracing: Tracing | None = None


class LifespanState(TypedDict):
    """What lives as long as the application, for `request.state`."""

    logger: State


def create_app(settings: Settings, adapters: Adapters | None = None) -> FastAPI:
    """Create the service.

    Args:
        settings: Of this process.
        adapters: Where its stream and its store are; by default those that the settings name,
            after the database has been brought to its newest schema.

    Raises:
        ExposedError: If strangers could feed it events.
    """
    settings.check_exposure(settings.host)
    metrics = Metrics()
    tracing = adapters.tracing if adapters else create_tracing("logger")
    background = BackgroundTasks()
    holder: list[State] = []

    @contextlib.asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[LifespanState]:
        async with contextlib.AsyncExitStack() as stack:
            used = adapters or await _connect(settings, stack, background)
            consumer = Consumer(
                used.stream,
                used.store,
                metrics=metrics,
                options=_consumer_options(settings),
                tracing=tracing,
            )
            stack.push_async_callback(close_tracing, tracing)
            state = State(
                settings,
                stream=used.stream,
                store=used.store,
                consumer=consumer,
                metrics=metrics,
            )
            holder.append(state)
            await stack.enter_async_context(_running(consumer, background, settings.stop_s))
            yield {"logger": state}
        holder.clear()

    async def ready() -> dict[str, str]:
        return await _check(holder[0])

    app = FastAPI(title="Segue logger", version="1", lifespan=lifespan)
    app.include_router(create_router())
    install_problem_handlers(app)
    install_error_map(app, PROBLEMS)
    install_operations(app, ready=ready, live=background.state, registry=metrics.registry)
    install_token(app, settings.api_token)
    options = EdgeOptions(
        service="logger",
        is_local=is_loopback(settings.host),
        tracing=tracing,
        max_in_flight=settings.max_in_flight,
        max_body=None,  # POST /events has a larger one, and sees to it
    )
    install_edge(app, options, registry=metrics.registry)
    return app


async def _connect(
    settings: Settings, stack: contextlib.AsyncExitStack, background: BackgroundTasks
) -> Adapters:
    await wait_for_postgres(settings.postgres_dsn, timeout_s=settings.postgres_wait_s)
    await migrate_async(settings.postgres_dsn)
    pool = await stack.enter_async_context(
        open_pool(settings.postgres_dsn, max_size=settings.postgres_connections)
    )
    redis = await stack.enter_async_context(
        create_redis(settings.redis_url, timeout_s=settings.redis_timeout_s)
    )
    tracks = TrackTable(redis, pool)
    await stack.enter_async_context(
        background.running("tracks", tracks.follow(interval_s=settings.catalog_interval_s))
    )
    definitions = DefinitionTable(redis, pool)
    await stack.enter_async_context(
        background.running(
            "definitions", definitions.follow(interval_s=settings.definitions_interval_s)
        )
    )
    await stack.enter_async_context(
        background.running("days", keep_days_fresh(pool, interval_s=settings.refresh_interval_s))
    )
    stream = open_event_stream(redis, settings.redis_url, timeout_s=settings.redis_timeout_s)
    stack.push_async_callback(stream.close)
    return Adapters(stream, PostgresEventStore(pool))


def _consumer_options(settings: Settings) -> ConsumerOptions:
    return ConsumerOptions(
        batch_size=settings.batch_size,
        batch_wait_s=settings.batch_wait_s,
        claim_idle_s=settings.claim_idle_s,
        maintenance_interval_s=settings.maintenance_interval_s,
        forget_consumer_s=settings.forget_consumer_s,
        behind_after=settings.behind_after,
    )


@contextlib.asynccontextmanager
async def _running(
    consumer: Consumer, background: BackgroundTasks, stop_s: float
) -> AsyncIterator[None]:
    """Run the consumer; at the end let it finish the batch in hand, but wait for no dead server.

    What it has not acknowledged by then another consumer takes over.
    """
    async with in_background(consumer.run()) as task:
        try:
            with background.watching("consumer", task):
                yield
        finally:
            consumer.stop()
            await asyncio.wait([task], timeout=stop_s)
    if not task.cancelled():
        task.exception()  # logged where it arose


async def _check(state: State) -> dict[str, str]:
    parts = {"postgres": "ok", "redis": "ok", "consumer": state.consumer.state()}
    try:
        await state.store.ping()
    except StoreUnavailableError as error:
        parts["postgres"] = f"down: {error}"
    try:
        await state.stream.lag()
    except (RedisError, OSError) as error:
        parts["redis"] = f"down: {error}"
    return parts
