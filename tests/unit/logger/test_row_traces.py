from services.logger.adapters.metrics import Metrics
from services.logger.consumer import Consumer
from tests.fakes import InMemoryEventStore, InMemoryEventStream
from tests.tracing import RecordedTracing, span_id, trace_id
from tests.unit.logger.factories import make_event, make_payload
from tests.unit.logger.test_consumer import FAST, consuming, until

TRACE = "0af7651916cd43dd8448eb211c80319{}"
PARENT = "00-" + TRACE + "-b7ad6b7169203331-01"


async def store(tracing: RecordedTracing, *payloads: bytes, traced: dict[str, str]) -> None:
    stream, events = InMemoryEventStream(), InMemoryEventStore()
    stream.traceparents = traced
    await stream.append(payloads)
    consumer = Consumer(stream, events, metrics=Metrics(), options=FAST, tracing=tracing)
    async with consuming(consumer):
        await until(lambda: not stream.pending and not stream.undelivered)


async def test_each_traced_event_gets_a_span_for_its_row_in_its_own_trace() -> None:
    tracing = RecordedTracing()
    payloads = [make_payload(0), b"poison", make_payload(1), make_payload(2)]
    traced = {f"{number}-0": PARENT.format(number) for number in (1, 2, 3)}
    await store(tracing, *payloads, traced=traced)
    rows = [span for span in tracing.spans if span.name == "logger.row"]
    assert [trace_id(row) for row in rows] == [TRACE.format(1), TRACE.format(3)]
    for row, number in zip(rows, (0, 1), strict=True):
        assert row.attributes is not None
        assert row.attributes["segue.event_id"] == str(make_event(number).event_id)
        assert row.parent is not None


async def test_a_batch_is_linked_to_what_it_stores_and_each_row_to_its_batch() -> None:
    tracing = RecordedTracing()
    traced = {"1-0": PARENT.format(1), "2-0": PARENT.format(2)}
    await store(tracing, make_payload(0), make_payload(1), traced=traced)
    batch = tracing.find("logger.batch")
    linked = {f"{link.context.trace_id:032x}" for link in batch.links}
    assert linked == {TRACE.format(1), TRACE.format(2)}
    assert batch.attributes == {"segue.entries": 2, "segue.accepted": 2}
    for row in tracing.spans:
        if row.name == "logger.row":
            (link,) = row.links
            assert f"{link.context.span_id:016x}" == span_id(batch)
            assert (row.start_time or 0) <= (batch.start_time or 0)


async def test_events_that_are_not_traced_get_no_spans() -> None:
    tracing = RecordedTracing()
    await store(tracing, make_payload(0), traced={})
    assert [span.name for span in tracing.spans] == ["logger.batch"]
