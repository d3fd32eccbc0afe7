from itertools import pairwise

from services.trainer.order import Message
from services.trainer.stage_spans import StageSpans
from tests.tracing import RecordedTracing


def test_each_stage_lasts_until_the_next_and_messages_go_on() -> None:
    tracing, sent = RecordedTracing(), []
    messages = [
        Message(stage="reading"),
        Message(fields={"warning": "w"}),
        Message(stage="training"),
        Message(stage="training", fields={"epoch": 1}),
        Message(stage="publishing"),
    ]
    with tracing.span("training"), StageSpans(tracing, sent.append) as send:
        for message in messages:
            send(message)
    assert sent == messages
    names = [span.name for span in tracing.spans]
    assert names == ["training.reading", "training.training", "training.publishing", "training"]
    *stages, whole = tracing.spans
    assert {span.parent and span.parent.span_id for span in stages} == {whole.context.span_id}
    times = [(span.start_time or 0, span.end_time or 0) for span in stages]
    assert all(end <= start for (_, end), (start, _) in pairwise(times))


def test_a_failed_training_ends_its_stage() -> None:
    tracing = RecordedTracing()
    try:
        with StageSpans(tracing, lambda _: None) as send:
            send(Message(stage="reading"))
            raise OSError("away")
    except OSError:
        pass
    assert [span.name for span in tracing.spans] == ["training.reading"]
