import logging
import subprocess
import sys
from typing import Any

import pytest
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.trace.export import BatchSpanProcessor

from shared.logs import TRACE_ID
from shared.tracing import create_tracing, current_traceparent, trace, trace_headers
from tests.tracing import RecordedTracing, span_id, trace_id

ENDPOINT = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1"}
ELSEWHERE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


def test_spans_within_spans_are_one_trace() -> None:
    tracing = RecordedTracing()
    with tracing.span("outer"), tracing.span("inner", kind="client", attributes={"n": 1}):
        pass
    inner, outer = tracing.spans
    assert inner.parent is not None
    assert inner.parent.span_id == outer.context.span_id
    assert trace_id(inner) == trace_id(outer)
    assert inner.attributes == {"n": 1}


def test_a_span_continues_the_trace_of_its_caller_and_is_continued_by_whom_it_calls() -> None:
    tracing = RecordedTracing()
    with tracing.span("server", kind="server", parent=ELSEWHERE):
        headers = trace_headers()
        assert TRACE_ID.get() == ELSEWHERE[3:35]
    (span,) = tracing.spans
    assert span.parent is not None
    assert f"{span.parent.span_id:016x}" == ELSEWHERE[36:52]
    assert headers == {"traceparent": f"00-{ELSEWHERE[3:35]}-{span_id(span)}-01"}
    assert TRACE_ID.get() is None
    assert current_traceparent() is None
    assert trace_headers() == {}


@pytest.mark.parametrize("odd", ["", "x", ELSEWHERE[:-3], ELSEWHERE.replace("0af7", "zzzz"), "é"])
def test_a_traceparent_that_is_none_begins_a_trace(odd: str) -> None:
    tracing = RecordedTracing()
    with tracing.span("server", parent=odd, links=[odd]):
        pass
    assert tracing.find("server").parent is None
    assert not tracing.find("server").links


def test_an_error_is_told_and_goes_on() -> None:
    tracing = RecordedTracing()
    with pytest.raises(ValueError, match="no"), tracing.span("work"):
        raise ValueError("no")
    assert not tracing.find("work").status.is_ok
    assert current_traceparent() is None


def test_without_tracing_a_span_is_nothing() -> None:
    with trace(None, "work", kind="server", parent=ELSEWHERE) as span:
        assert span is None
        assert current_traceparent() is None


@pytest.mark.parametrize(
    "environment",
    [
        {},
        {"OTEL_SERVICE_NAME": "x"},
        {"OTEL_EXPORTER_OTLP_ENDPOINT": ""},
        ENDPOINT | {"OTEL_SDK_DISABLED": "true"},
        ENDPOINT | {"OTEL_TRACES_EXPORTER": "none"},
    ],
)
def test_it_is_off_unless_there_is_somewhere_to_send_to(environment: dict[str, str]) -> None:
    assert create_tracing("test", environment) is None


def test_it_sends_to_where_the_standard_variables_say(monkeypatch: pytest.MonkeyPatch) -> None:
    environment = {"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://127.0.0.1:1/v1/traces"}
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    tracing = create_tracing("test", environment)
    assert tracing is not None
    provider = tracing._provider
    assert provider.resource.attributes["service.name"] == "segue-test"
    (processor,) = provider._active_span_processor._span_processors
    assert isinstance(processor, BatchSpanProcessor)
    exporter: Any = processor.span_exporter
    assert isinstance(exporter, OTLPSpanExporter)
    assert exporter._endpoint == "http://127.0.0.1:1/v1/traces"
    tracing.close()


def test_without_the_extra_it_is_off_and_says_so(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    for name in [name for name in sys.modules if name.startswith("opentelemetry.sdk")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "opentelemetry.sdk.resources", None)
    caplog.set_level(logging.WARNING)
    assert create_tracing("test", ENDPOINT) is None
    assert "segue[traces]" in caplog.text


def test_no_exporter_is_imported_while_it_is_off() -> None:
    code = (
        "import sys, services.recommender.app, services.logger.app, shared.tracing;"
        "assert shared.tracing.create_tracing('x', {}) is None;"
        "sys.exit('opentelemetry.exporter.otlp.proto.http' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
