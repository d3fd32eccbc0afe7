from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.logger.core.validation import (
    COLUMNS,
    EARLIEST,
    MAX_AHEAD,
    MAX_PAYLOAD_BYTES,
    Received,
    make_dead_letter,
    sort_payloads,
)
from tests.unit.logger.factories import (
    NOW,
    POISON,
    make_batch,
    make_event,
    make_payload,
    make_raw_payload,
)


def test_an_event_becomes_a_row_in_the_order_of_the_columns() -> None:
    event = make_event(3)
    ((_, row),) = make_batch(make_payload(3)).accepted
    values = dict(zip(COLUMNS, row, strict=True))
    assert values["event_id"] == event.event_id
    assert values["occurred_at"] == event.timestamp
    assert values["track_id"] == event.track
    assert values["experiments"] == '{"AA":"C"}'


@pytest.mark.parametrize("name", [name for name, (_, kind) in POISON.items() if kind != "database"])
def test_poison_is_a_dead_letter_with_the_class_of_its_reason(name: str) -> None:
    payload, reason_class = POISON[name]
    accepted, (letter,) = make_batch(payload)
    assert accepted == []
    assert letter.reason_class == reason_class
    assert len(letter.reason) > len(reason_class) + 2


@pytest.mark.parametrize(
    ("at", "is_accepted"),
    [
        (EARLIEST, True),
        (EARLIEST - timedelta(milliseconds=1), False),
        (NOW + MAX_AHEAD, True),
        (NOW + MAX_AHEAD + timedelta(milliseconds=1), False),
    ],
)
def test_the_clock_is_bounded_on_both_sides(at: datetime, is_accepted: bool) -> None:
    assert bool(make_batch(make_payload(at=at)).accepted) == is_accepted


def test_the_letters_of_an_escape_are_no_nul() -> None:
    assert make_batch(make_raw_payload(recommender="a\\u0000b")).dead_letters == []


def test_the_payload_of_a_dead_letter_is_bounded() -> None:
    ((_, _, payload, _),) = make_batch(b"x" * (3 * MAX_PAYLOAD_BYTES)).dead_letters
    assert len(payload) == MAX_PAYLOAD_BYTES


def test_without_an_id_of_its_own_equal_payloads_have_equal_ids() -> None:
    first, again, other = (
        make_dead_letter(Received(i, payload), "r") for i, payload in enumerate([b"a", b"a", b"b"])
    )
    assert first.entry_id == again.entry_id != other.entry_id


@given(st.text())
def test_a_reason_can_always_be_stored(reason: str) -> None:
    stored = make_dead_letter(Received(0, b""), reason + "\0\ud800").reason
    assert "\0" not in stored
    assert stored.encode()


@given(st.lists(st.binary() | st.integers(0, 5).map(make_payload)))
def test_every_payload_ends_in_exactly_one_place(payloads: list[bytes]) -> None:
    batch = sort_payloads((Received(i, p) for i, p in enumerate(payloads)), now=NOW)
    positions = [accepted.received.position for accepted in batch.accepted]
    positions += [letter.position for letter in batch.dead_letters]
    assert sorted(positions) == list(range(len(payloads)))


@given(st.integers(0, 999_999))
def test_a_row_keeps_whole_milliseconds(microsecond: int) -> None:
    event = make_event(at=NOW.replace(microsecond=microsecond))
    stamp = event.timestamp.replace(microsecond=microsecond).isoformat()
    raw = make_raw_payload(timestamp=stamp, event_id=str(event.event_id))
    ((_, row),) = make_batch(raw).accepted
    assert row[COLUMNS.index("occurred_at")] == event.timestamp.astimezone(UTC)
