"""Traces, by OpenTelemetry: off unless its standard variables say where to send them."""

import asyncio
import contextlib
import logging
import os
from collections.abc import Iterable, Iterator, Mapping
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Literal

from shared.logs import TRACE_ID

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.trace import Span

log = logging.getLogger(__name__)

Kind = Literal["internal", "server", "client", "producer", "consumer"]
Attributes = Mapping[str, str | bool | int | float]

HEADER = "traceparent"  # W3C Trace Context: of requests, and of the event stream's entries
_ENDPOINTS = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
_TRACEPARENT: ContextVar[str | None] = ContextVar("traceparent", default=None)


class Tracing:
    """Makes a service's spans; whoever has none of it makes none."""

    def __init__(self, provider: "TracerProvider") -> None:
        """Make spans through a provider of OpenTelemetry's, whose processors send them."""
        self._provider = provider
        self._tracer = provider.get_tracer("segue")

    @contextlib.contextmanager
    def span(
        self,
        name: str,
        *,
        kind: Kind = "internal",
        parent: str | None = None,
        links: Iterable[str] = (),
        start_ns: int | None = None,
        attributes: Attributes | None = None,
    ) -> Iterator["Span"]:
        """Make what the block does a span, the parent of those made within.

        Args:
            name: Of the kind of work: few different ones.
            kind: Whether it serves, calls, or does neither.
            parent: Traceparent of a caller elsewhere; without: the span around this one, if any.
            links: Traceparents of other traces that it belongs to.
            start_ns: When it began, if not now: nanoseconds since 1970.
            attributes: What else is known at the start.
        """
        from opentelemetry.trace import Link, SpanKind

        contexts = filter(None, (_read_context(link) for link in links))
        with self._tracer.start_as_current_span(
            name,
            context=_as_context(parent) if parent else None,
            kind=SpanKind[kind.upper()],
            links=[Link(context) for context in contexts],
            start_time=start_ns,
            attributes=dict(attributes or {}),
        ) as span:
            context = span.get_span_context()
            trace_id = f"{context.trace_id:032x}"
            traceparent = f"00-{trace_id}-{context.span_id:016x}-{context.trace_flags:02x}"
            tokens = _TRACEPARENT.set(traceparent), TRACE_ID.set(trace_id)
            try:
                yield span
            finally:
                _TRACEPARENT.reset(tokens[0])
                TRACE_ID.reset(tokens[1])

    def close(self) -> None:
        """Send what has not been sent."""
        self._provider.shutdown()


def create_tracing(service: str, environment: Mapping[str, str] = os.environ) -> Tracing | None:
    """Create what the standard variables ask for: a sender of OTLP over HTTP, or nothing.

    Args:
        service: Its name in traces, unless OTEL_SERVICE_NAME gives another.
        environment: Where the variables are.
    """
    is_off = (
        environment.get("OTEL_SDK_DISABLED", "").lower() == "true"
        or environment.get("OTEL_TRACES_EXPORTER") == "none"
    )
    if is_off or not any(environment.get(name) for name in _ENDPOINTS):
        return None
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import (
            OTLPSpanExporter,
        )
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
    except ImportError as error:
        log.warning("no traces, though a receiver is set: install segue[traces] (%s)", error)
        return None
    name = environment.get("OTEL_SERVICE_NAME") or f"segue-{service}"
    provider = TracerProvider(resource=Resource.create({"service.name": name}))
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    return Tracing(provider)


def trace(
    tracing: Tracing | None, name: str, **options: Any
) -> contextlib.AbstractContextManager["Span | None"]:
    """Make a span as `Tracing.span` does; without tracing, nothing."""
    return contextlib.nullcontext() if tracing is None else tracing.span(name, **options)


async def close_tracing(tracing: Tracing | None) -> None:
    """Send what has not been sent, off the event loop: its receiver may be slow, or away."""
    if tracing is not None:
        await asyncio.to_thread(tracing.close)


def current_traceparent() -> str | None:
    """Return the traceparent of the span around this call, to be sent along."""
    return _TRACEPARENT.get()


def trace_headers() -> dict[str, str]:
    """Return the headers of a request that continues the current trace."""
    traceparent = _TRACEPARENT.get()
    return {} if traceparent is None else {HEADER: traceparent}


def _as_context(traceparent: str) -> Any:
    from opentelemetry.trace.propagation.tracecontext import (
        TraceContextTextMapPropagator,
    )

    return TraceContextTextMapPropagator().extract({HEADER: traceparent})


def _read_context(traceparent: str) -> Any:
    from opentelemetry.trace import get_current_span

    context = get_current_span(_as_context(traceparent)).get_span_context()
    return context if context.is_valid else None
