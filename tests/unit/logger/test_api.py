import asyncio
import gzip
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import UTC, datetime

import httpx
import pytest
from asgi_lifespan import LifespanManager

from services.logger.app import Adapters, create_app
from services.logger.core.storage import StoreResult
from services.logger.core.validation import Batch
from services.logger.settings import Settings
from shared.tasks import end
from tests.fakes import InMemoryEventStore, InMemoryEventStream
from tests.unit.logger.factories import POISON, make_payload, make_raw_payload

NDJSON = {"Content-Type": "application/x-ndjson"}
NOW = datetime.now(UTC)


@dataclass
class Logger:
    """The service with fakes behind it."""

    client: httpx.AsyncClient
    stream: InMemoryEventStream = field(default_factory=InMemoryEventStream)
    store: InMemoryEventStore = field(default_factory=InMemoryEventStore)

    async def post(self, body: bytes, **headers: str) -> httpx.Response:
        return await self.client.post("/events", content=body, headers=NDJSON | headers)


@pytest.fixture
async def logger() -> AsyncIterator[Logger]:
    settings = Settings(max_body_bytes=200_000, body_timeout_s=0.2)
    stream, store = InMemoryEventStream(), InMemoryEventStore()
    app = create_app(settings, Adapters(stream, store))
    async with LifespanManager(app) as manager:
        transport = httpx.ASGITransport(app=manager.app)
        async with httpx.AsyncClient(transport=transport, base_url="http://logger") as client:
            yield Logger(client, stream, store)


async def test_a_body_is_stored_line_by_line(logger: Logger) -> None:
    body = b"\n".join([make_payload(0), b"", make_payload(1) + b"\r", make_payload(0), b"{"])
    answer = await logger.post(body)
    assert answer.status_code == 200
    (reason,) = answer.json().pop("reasons")
    assert answer.json() | {"reasons": []} == {
        "received": 4,
        "stored": 2,
        "duplicates": 1,
        "rejected": 1,
        "reasons": [],
    }
    assert reason["line"] == 5
    assert reason["reason"].startswith("invalid:")


async def test_only_the_first_reasons_are_told(logger: Logger) -> None:
    answer = (await logger.post(b"{\n" * 25)).json()
    assert answer["rejected"] == 25
    assert [reason["line"] for reason in answer["reasons"]] == list(range(1, 11))


async def test_an_empty_body_stores_nothing(logger: Logger) -> None:
    answer = (await logger.post(b"")).json()
    assert answer == {"received": 0, "stored": 0, "duplicates": 0, "rejected": 0, "reasons": []}


async def test_a_rejected_line_that_comes_again_is_one_dead_letter(logger: Logger) -> None:
    for _ in range(2):
        await logger.post(b"{")
    assert (await logger.client.get("/lag")).json()["dead_letters"] == 1


async def test_a_gzip_body_is_read(logger: Logger) -> None:
    body = gzip.compress(make_payload())
    answer = await logger.post(body, **{"Content-Encoding": "gzip"})
    assert answer.json()["stored"] == 1


async def test_gzip_files_on_end_are_read_to_the_last(logger: Logger) -> None:
    body = b"".join(gzip.compress(make_payload(n) + b"\n") for n in range(3))
    answer = await logger.post(body, **{"Content-Encoding": "gzip"})
    assert answer.json()["stored"] == 3


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"no gzip", 400),
        (gzip.compress(make_payload())[:-9], 400),
        (gzip.compress(b" " * 10_000_000), 413),
    ],
)
async def test_a_faulty_gzip_body_is_refused(logger: Logger, body: bytes, status: int) -> None:
    answer = await logger.post(body, **{"Content-Encoding": "gzip"})
    assert answer.status_code == status
    assert answer.headers["Content-Type"] == "application/problem+json"


async def chunks(n: int) -> AsyncIterator[bytes]:
    for _ in range(n):
        yield b" " * 50_000


async def test_a_body_over_the_limit_is_refused(logger: Logger) -> None:
    assert (await logger.post(b" " * 200_001)).status_code == 413
    assert (await logger.post(b" " * 200_000)).status_code == 200
    unannounced = await logger.client.post("/events", content=chunks(5), headers=NDJSON)
    assert unannounced.status_code == 413


@pytest.mark.parametrize(
    ("headers", "field"),
    [
        ({"Content-Type": "application/json"}, "Content-Type"),
        ({"Content-Encoding": "br"}, "Content-Encoding"),
    ],
)
async def test_another_type_of_body_is_refused(
    logger: Logger, headers: dict[str, str], field: str
) -> None:
    answer = await logger.post(make_payload(), **headers)
    assert answer.status_code == 415
    assert answer.json()["field"] == field
    assert logger.store.rows == {}


async def test_an_absent_database_is_503_and_the_same_body_succeeds_later(logger: Logger) -> None:
    logger.store.n_failures = 1
    answer = await logger.post(make_payload())
    assert answer.status_code == 503
    assert answer.headers["Retry-After"] == "1"
    assert (await logger.post(make_payload())).json()["stored"] == 1


async def test_dead_letters_are_listed_newest_first(logger: Logger) -> None:
    await logger.post(b"first")
    await logger.post(b"second")
    letters = (await logger.client.get("/dead-letters", params={"limit": 1})).json()
    assert [letter["payload"] for letter in letters] == ["second"]
    assert letters[0]["source"] == "http"
    assert letters[0]["reason"].startswith("invalid: ")


@pytest.mark.parametrize("limit", ["0", "1001", "x"])
async def test_a_senseless_limit_is_refused(logger: Logger, limit: str) -> None:
    answer = await logger.client.get("/dead-letters", params={"limit": limit})
    assert answer.status_code == 422
    assert answer.json()["field"] == "limit"


async def test_readiness_names_the_part_that_is_away(logger: Logger) -> None:
    assert (await logger.client.get("/health/ready")).json()["parts"]["postgres"] == "ok"
    logger.store.n_failures = 1
    answer = await logger.client.get("/health/ready")
    assert answer.status_code == 503
    assert answer.json()["parts"] == {"postgres": "down: away", "redis": "ok", "consumer": "ok"}


async def test_a_consumer_that_ended_asks_for_a_restart(logger: Logger) -> None:
    assert (await logger.client.get("/health/live")).json()["parts"] == {"consumer": "ok"}
    (consumer,) = (task for task in asyncio.all_tasks() if "Consumer.run" in repr(task))
    await end(consumer)
    answer = await logger.client.get("/health/live")
    assert answer.status_code == 503
    assert answer.json()["parts"] == {"consumer": "ended: cancelled"}


async def test_metrics_count_by_source_and_by_class_of_reason(logger: Logger) -> None:
    payload, _ = POISON["far future"]
    await logger.post(
        b"\n".join([make_payload(), make_payload(), payload, make_raw_payload(time=2)])
    )
    text = (await logger.client.get("/metrics")).text
    assert 'segue_logger_events_stored_total{source="http"} 1.0' in text
    assert 'segue_logger_events_duplicate_total{source="http"} 1.0' in text
    assert 'segue_logger_dead_letters_total{reason="clock",source="http"} 1.0' in text
    assert 'segue_logger_dead_letters_total{reason="invalid",source="http"} 1.0' in text
    assert 'segue_logger_batch_events_count{source="http"} 1.0' in text
    assert "segue_logger_stream_undelivered 0.0" in text


class HangingStore(InMemoryEventStore):
    """A store that begins to commit, and never says more."""

    def __init__(self) -> None:
        super().__init__()
        self.has_begun = asyncio.Event()

    async def store(self, batch: Batch, *, source: str) -> StoreResult:
        self.has_begun.set()
        await asyncio.Event().wait()
        raise AssertionError


async def test_a_stop_does_not_wait_for_a_dead_database() -> None:
    stream, store = InMemoryEventStream(), HangingStore()
    await stream.append([make_payload()])
    app = create_app(Settings(batch_wait_s=0.001, stop_s=0.01), Adapters(stream, store))
    async with asyncio.timeout(5), LifespanManager(app):
        await store.has_begun.wait()
    assert len(stream.pending) == 1  # another consumer takes it over
