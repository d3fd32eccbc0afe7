"""One trace from a listener's step to its row, over a real Valkey and a real Postgres."""

import asyncio
import logging
from pathlib import Path

import httpx
import pytest
from asgi_lifespan import LifespanManager
from redis import Redis as SyncRedis
from redis.asyncio import Redis

from deploy.local.servers import PostgresServer, ValkeyServer
from services.logger.adapters.event_store import PostgresEventStore, open_pool
from services.logger.adapters.metrics import Metrics
from services.logger.consumer import Consumer
from services.recommender.app import Adapters, create_app
from services.recommender.core.models import Models
from shared.event_stream import STREAM_KEY, RedisEventStream
from shared.logs import add_context
from tests.tracing import RecordedTracing, span_id, trace_id
from tests.unit.logger.factories import fetch_all
from tests.unit.logger.test_consumer import FAST, consuming
from tests.unit.recommender.factories import (
    FIRST_ID,
    TREATED,
    FixedModels,
    make_index,
    make_served,
    make_settings,
)


async def play(valkey: ValkeyServer, folder: Path, tracing: RecordedTracing | None) -> str:
    """Report one playback as the simulator does; return the session."""
    settings = make_settings(folder, redis_url=valkey.url, deadline_s=5)
    models = FixedModels(Models({"latest": make_served(make_index())}))
    app = create_app(settings, Adapters(models=models, tracing=tracing))
    async with LifespanManager(app) as manager:
        transport = httpx.ASGITransport(app=manager.app)
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
            body = {"track": FIRST_ID, "time": 0.5}
            headers = {} if tracing is None else {"traceparent": CALLER}
            answer = await client.post(f"/next/{TREATED}", json=body, headers=headers)
            session: str = answer.json()["session"]
            return session


async def store(valkey: ValkeyServer, dsn: str, tracing: RecordedTracing | None) -> None:
    """Run the logger until there is a row."""
    async with Redis.from_url(valkey.url) as redis, open_pool(dsn, max_size=2) as pool:
        stream = RedisEventStream(redis)
        consumer = Consumer(
            stream, PostgresEventStore(pool), metrics=Metrics(), options=FAST, tracing=tracing
        )
        async with consuming(consumer), asyncio.timeout(30):
            while not await fetch_all(dsn, "SELECT 1 FROM events"):  # noqa: ASYNC110
                await asyncio.sleep(0.02)


CALLER = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


async def test_a_request_and_its_row_are_one_trace(
    redis: Redis,
    valkey: ValkeyServer,
    database: PostgresServer,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG)
    caplog.handler.addFilter(add_context)
    serving, storing = RecordedTracing(), RecordedTracing()
    session = await play(valkey, tmp_path, serving)
    await store(valkey, database.dsn, storing)

    (row,) = await fetch_all(database.dsn, "SELECT event_id, session_id FROM events")
    assert str(row["session_id"]) == session
    request, commit = serving.find("POST /next/{user}"), serving.find("redis.commit")
    stored = storing.find("logger.row")
    for span in (request, commit, stored):
        assert trace_id(span) == CALLER[3:35]
    assert commit.parent is not None
    assert commit.parent.span_id == request.context.span_id
    assert stored.parent is not None
    assert f"{stored.parent.span_id:016x}" == span_id(request)
    for span in (request, stored):
        assert span.attributes is not None
        assert span.attributes["segue.event_id"] == str(row["event_id"])
    (link,) = storing.find("logger.batch").links
    assert link.context.trace_id == request.context.trace_id

    told = {
        record.name: record.__dict__["trace_id"]
        for record in caplog.records
        if record.__dict__.get("event_id") == str(row["event_id"])
    }
    assert told == dict.fromkeys(("segue.access", "services.logger.row_traces"), CALLER[3:35])


async def test_without_traces_the_stream_carries_the_event_alone(
    redis: Redis, valkey: ValkeyServer, database: PostgresServer, tmp_path: Path
) -> None:
    await play(valkey, tmp_path, None)
    with SyncRedis.from_url(valkey.url) as sync:
        ((_, fields),) = sync.xrange(STREAM_KEY)
    assert list(fields) == [b"event"]
    storing = RecordedTracing()  # a logger that traces meets entries that are not traced
    await store(valkey, database.dsn, storing)
    assert [span.name for span in storing.spans] == ["logger.batch"]
