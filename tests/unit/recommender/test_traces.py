import logging
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from asgi_lifespan import LifespanManager

from services.recommender.app import Adapters, create_app
from services.recommender.core.models import Models
from shared.logs import add_context
from tests.tracing import RecordedTracing, trace_id
from tests.unit.recommender.factories import (
    FIRST_ID,
    TREATED,
    FixedModels,
    MemorySessionStore,
    make_index,
    make_served,
    make_settings,
)

GOOD = {"track": FIRST_ID, "time": 0.5}
PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


class Traced:
    """The application with recorded traces."""

    def __init__(self, client: httpx.AsyncClient, tracing: RecordedTracing) -> None:
        self.client = client
        self.tracing = tracing


@pytest.fixture
async def traced(tmp_path: Path) -> AsyncIterator[Traced]:
    tracing = RecordedTracing()
    adapters = Adapters(
        store=MemorySessionStore(),
        models=FixedModels(Models({"latest": make_served(make_index())})),
        tracing=tracing,
    )
    async with LifespanManager(create_app(make_settings(tmp_path), adapters)) as manager:
        transport = httpx.ASGITransport(app=manager.app)
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
            yield Traced(client, tracing)


async def test_a_report_continues_its_callers_trace_and_says_what_was_decided(
    traced: Traced,
) -> None:
    headers = {"traceparent": PARENT}
    answer = (await traced.client.post(f"/next/{TREATED}", json=GOOD, headers=headers)).json()
    span = traced.tracing.find("POST /next/{user}")
    assert trace_id(span) == PARENT[3:35]
    assert span.attributes is not None
    assert span.attributes["segue.session"] == answer["session"]
    assert span.attributes["segue.event_id"]
    assert span.attributes["segue.treatment.SERVING"] == "T1"
    assert span.attributes["segue.recommender"] == "contextual"
    assert span.attributes["segue.model_version"] == "m1"
    assert span.attributes["http.response.status_code"] == 200
    assert "segue.fallback" not in span.attributes


async def test_a_refused_report_is_a_span_too(traced: Traced) -> None:
    await traced.client.post("/last/x", json=GOOD)
    attributes = traced.tracing.find("POST /last/{user}").attributes
    assert attributes is not None
    assert attributes["http.response.status_code"] == 422
    assert "segue.session" not in attributes


async def test_other_requests_are_traced_but_not_what_is_asked_every_few_seconds(
    traced: Traced,
) -> None:
    for path in (f"/track/{FIRST_ID}", "/metrics", "/health/live", "/health/ready"):
        await traced.client.get(path, headers={"traceparent": PARENT})
    (span,) = traced.tracing.spans
    assert (span.name, trace_id(span)) == ("GET /track/{track}", PARENT[3:35])


async def test_a_report_is_logged_with_its_session_event_request_and_trace(
    traced: Traced, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, "segue.access")
    caplog.handler.addFilter(add_context)
    headers = {"traceparent": PARENT, "X-Request-ID": "r-1"}
    response = await traced.client.post(f"/next/{TREATED}", json=GOOD, headers=headers)
    (record,) = [record for record in caplog.records if record.name == "segue.access"]
    known: dict[str, Any] = record.__dict__
    assert known["session"] == response.json()["session"]
    attributes = traced.tracing.find("POST /next/{user}").attributes
    assert attributes is not None
    assert known["event_id"] == attributes["segue.event_id"]
    assert (known["request_id"], known["trace_id"]) == ("r-1", PARENT[3:35])
    assert response.headers["X-Request-ID"] == "r-1"
