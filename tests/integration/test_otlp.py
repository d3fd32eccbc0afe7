"""Traces as they leave the processes: OTLP over HTTP, switched on by the standard variables."""

import http.server
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

import httpx
import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from redis.asyncio import Redis

from deploy.local.servers import PostgresServer, ValkeyServer
from shared.catalog_store import publish_catalog
from tests.integration.recommender.test_process import BODY, run_service
from tests.integration.trainer.stack import make_settings, serving, store_playbacks, train
from tests.unit.trainer.logs import make_block_playbacks, make_blocks

TRACE = "0af7651916cd43dd8448eb211c80319c"
PARENT = {"traceparent": f"00-{TRACE}-b7ad6b7169203331-01"}

Spans = list[tuple[str, str, str, str, str]]


class Collector(http.server.BaseHTTPRequestHandler):
    """Keeps the spans that it is sent: name, trace, span and parent by service."""

    spans: ClassVar[Spans] = []

    def do_POST(self) -> None:
        """Take spans."""
        body = self.rfile.read(int(self.headers["Content-Length"]))
        for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
            known = {each.key: each.value.string_value for each in resource.resource.attributes}
            for scope in resource.scope_spans:
                for span in scope.spans:
                    ids = (span.trace_id.hex(), span.span_id.hex(), span.parent_span_id.hex())
                    self.spans.append((known["service.name"], span.name, *ids))
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Be quiet."""


@pytest.fixture
def collector(monkeypatch: pytest.MonkeyPatch) -> Iterator[Spans]:
    Collector.spans.clear()
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Collector) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        url = f"http://127.0.0.1:{server.server_port}"
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", url)
        yield Collector.spans
        server.shutdown()
        thread.join()


async def test_a_worker_sends_its_spans_before_it_ends(
    collector: Spans,
    valkey: ValkeyServer,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    workers = {"SEGUE_RECOMMENDER_WORKERS": 2}
    with run_service(valkey, tmp_path, monkeypatch, **workers) as (url, _):
        async with httpx.AsyncClient(base_url=url, timeout=30, headers=PARENT) as client:
            assert (await client.post("/next/7", json=BODY)).status_code == 200
    (report,) = [span for span in collector if span[1] == "POST /next/{user}"]
    (commit,) = [span for span in collector if span[1] == "redis.commit"]
    assert report[0] == commit[0] == "segue-recommender"
    assert report[2] == commit[2] == TRACE
    assert commit[4] == report[3]


async def test_a_training_and_its_stages_are_in_the_trace_of_the_request_for_it(
    collector: Spans,
    valkey: ValkeyServer,
    redis: Redis,
    database: PostgresServer,
    tmp_path: Path,
) -> None:
    catalog = make_blocks()
    await publish_catalog(redis, catalog)
    await store_playbacks(database.dsn, make_block_playbacks(catalog))
    async with serving(make_settings(valkey, database, tmp_path)) as client:
        client.headers.update(PARENT)
        assert (await train(client))["status"] == "succeeded"
    (order,) = [span for span in collector if span[1] == "POST /train"]
    (training,) = [span for span in collector if span[1] == "training"]
    stages = [span for span in collector if span[1].startswith("training.")]
    assert (order[2], training[4]) == (TRACE, order[3])
    assert {"training.reading", "training.training", "training.publishing"} <= {
        span[1] for span in stages
    }
    assert {(span[2], span[4]) for span in stages} == {(TRACE, training[3])}
