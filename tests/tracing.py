"""Tracing whose spans stay in this process."""

from collections.abc import Sequence

from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from shared.tracing import Tracing


class RecordedTracing(Tracing):
    """Keeps the spans that have ended."""

    def __init__(self) -> None:
        """Keep none yet."""
        provider = TracerProvider(shutdown_on_exit=False)
        self._exporter = InMemorySpanExporter()
        provider.add_span_processor(SimpleSpanProcessor(self._exporter))
        super().__init__(provider)

    @property
    def spans(self) -> Sequence[ReadableSpan]:
        """Return them, in order of ending."""
        return self._exporter.get_finished_spans()

    def find(self, name: str) -> ReadableSpan:
        """Return the only span of a name."""
        (found,) = [span for span in self.spans if span.name == name]
        return found


def trace_id(span: ReadableSpan) -> str:
    """Return a span's trace, as logs and headers write it."""
    return f"{span.context.trace_id:032x}"


def span_id(span: ReadableSpan) -> str:
    """Return a span's id, likewise."""
    return f"{span.context.span_id:016x}"
