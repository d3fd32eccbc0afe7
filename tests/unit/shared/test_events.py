from datetime import UTC, datetime, timedelta, timezone
from uuid import RFC_4122, UUID

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.events import (
    MAX_ID,
    Event,
    InvalidEventError,
    decode_event,
    encode_event,
    make_event_id,
    read_milliseconds,
    truncate_to_milliseconds,
)

# hypothesis wants its bounds naive
EARLIEST, LATEST = datetime(2000, 1, 1), datetime(2100, 1, 1)  # noqa: DTZ001
AT = datetime(2026, 3, 15, 12, 0, 0, 123_000, tzinfo=UTC)
moments = st.datetimes(EARLIEST, LATEST, timezones=st.just(UTC)).map(truncate_to_milliseconds)
labels = st.text(min_size=1, max_size=20)
ids = st.integers(0, MAX_ID)
events = st.builds(
    lambda at, **fields: Event(event_id=make_event_id(at), message="next", timestamp=at, **fields),
    moments,
    user=ids,
    session=st.uuids(),
    position=ids,
    track=ids,
    time=st.floats(0, 1),
    recommendation=ids,
    recommender=st.none() | labels,
    propensity=st.none() | st.floats(0, 1, exclude_min=True),
    experiments=st.dictionaries(labels, labels, max_size=3),
)


@given(events)
def test_an_event_survives_its_encoding(event: Event) -> None:
    encoded = encode_event(event)
    assert decode_event(encoded) == event
    assert b"\n" not in encoded


@given(st.binary())
def test_any_bytes_are_an_event_or_invalid(payload: bytes) -> None:
    with pytest.raises(InvalidEventError):
        decode_event(payload)


def test_deep_nesting_is_invalid_not_a_crash() -> None:
    with pytest.raises(InvalidEventError):
        decode_event(b"[" * 100_000)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("user", -1),
        ("user", MAX_ID + 1),
        ("user", True),
        ("track", 1.5),
        ("time", 1.01),
        ("time", "0.5"),
        ("latency", -0.1),
        ("propensity", 0.0),
        ("propensity", 1.1),
        ("recommender", ""),
        ("recommender", "x" * 201),
        ("message", "other"),
        ("schema", 2),
        ("timestamp", "2026-03-15T12:00:00.123"),
        ("timestamp", "2026-03-15T12:00:00.124Z"),
        ("recommendation", None),
        ("event_id", "5ad6e6f6-6f8a-4b3a-8f7c-2f6a0d4b9e11"),  # random, where time is due
    ],
)
def test_a_field_out_of_its_range_is_invalid(field: str, value: object) -> None:
    event = Event(
        event_id=make_event_id(AT, 1),
        message="next",
        timestamp=AT,
        user=1,
        session=make_event_id(AT, 2),
        position=0,
        track=1,
        time=1.0,
        recommendation=2,
    )
    fields = msgspec.to_builtins(event)
    assert decode_event(msgspec.json.encode(fields)) == event
    with pytest.raises(InvalidEventError):
        decode_event(msgspec.json.encode(fields | {field: value}))


@given(moments, st.lists(st.integers() | st.text(), min_size=1))
def test_a_keyed_id_is_reproducible_and_carries_its_millisecond(
    at: datetime, key: list[int | str]
) -> None:
    event_id = make_event_id(at, *key)
    assert event_id == make_event_id(at, *key)
    assert event_id != make_event_id(at, *key, "more")
    assert (event_id.version, event_id.variant) == (7, UUID(int=0, version=4).variant)
    assert event_id.int >> 80 == round(at.timestamp() * 1000)


def test_ids_without_a_key_differ() -> None:
    assert len({make_event_id(AT) for _ in range(1000)}) == 1000


def test_ids_sort_by_time() -> None:
    assert make_event_id(AT, "z") < make_event_id(AT + timedelta(milliseconds=1), "a")


@given(st.datetimes(EARLIEST, timezones=st.just(timezone(timedelta(hours=3)))))
def test_truncation_goes_down_to_whole_milliseconds_in_utc(at: datetime) -> None:
    short = truncate_to_milliseconds(at)
    assert short.tzinfo is UTC
    assert timedelta(0) <= at - short < timedelta(milliseconds=1)
    assert short.microsecond % 1000 == 0


def test_random_ids_are_in_the_order_of_their_microseconds() -> None:
    moments = [datetime(2026, 3, 10, 12, 0, 0, micro, tzinfo=UTC) for micro in range(0, 3000, 3)]
    ids = [make_event_id(moment) for moment in moments]
    assert ids == sorted(ids)
    assert [read_milliseconds(id_) for id_ in ids] == sorted(
        int(moment.timestamp() * 1000) for moment in moments
    )
    assert {(id_.version, id_.variant) for id_ in ids} == {(7, RFC_4122)}
