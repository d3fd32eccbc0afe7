"""From a batch back to the traces of its events: each traced event gets a span for its row."""

import contextlib
import logging
import time
from collections.abc import Iterator, Sequence

from services.logger.core.validation import COLUMNS, Batch
from shared.event_stream import Entry
from shared.tracing import Tracing, current_traceparent

log = logging.getLogger(__name__)

# OpenTelemetry's own limit; more links would be dropped without a word.
MAX_LINKS = 128
EVENT_ID, SESSION = COLUMNS.index("event_id"), COLUMNS.index("session_id")


@contextlib.contextmanager
def trace_batch(tracing: Tracing | None, entries: Sequence[Entry], batch: Batch) -> Iterator[None]:
    """Make the block, which stores a batch, a span; and one in the trace of each event.

    The batch is a trace of its own, linked to those of its events: it has many parents.

    Args:
        tracing: None makes the block what it is.
        entries: What was read.
        batch: The same, sorted.
    """
    if tracing is None:
        yield
        return
    traced = [entry.traceparent for entry in entries if entry.traceparent]
    sizes = {"segue.entries": len(entries), "segue.accepted": len(batch.accepted)}
    started_ns = time.time_ns()
    with tracing.span("logger.batch", kind="consumer", links=traced[:MAX_LINKS], attributes=sizes):
        yield
        batch_traceparent = current_traceparent() or ""
    for accepted in batch.accepted:
        traceparent = entries[accepted.received.position].traceparent
        if not traceparent:
            continue
        event_id, session = str(accepted.row[EVENT_ID]), str(accepted.row[SESSION])
        with tracing.span(
            "logger.row",
            kind="consumer",
            parent=traceparent,
            links=[batch_traceparent],
            start_ns=started_ns,
            attributes={"segue.event_id": event_id, "segue.session": session},
        ):
            log.debug("row stored", extra={"event_id": event_id, "session": session})
