"""A schedule names its next time, whenever it is asked."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.trainer.core.schedule import parse_schedule

NOON = datetime(2026, 5, 6, 12, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("12:01", NOON + timedelta(minutes=1)),
        ("12:00", NOON + timedelta(days=1)),
        ("03:30", datetime(2026, 5, 7, 3, 30, tzinfo=UTC)),
        ("6h", NOON + timedelta(hours=6)),
        ("5h", datetime(2026, 5, 6, 14, 0, tzinfo=UTC)),
        ("30m", NOON + timedelta(minutes=30)),
        ("2s", NOON + timedelta(seconds=2)),
        ("1d", datetime(2026, 5, 7, tzinfo=UTC)),
    ],
)
def test_the_next_time(text: str, expected: datetime) -> None:
    assert parse_schedule(text).next_after(NOON) == expected


@given(
    text=st.sampled_from(["00:00", "23:59", "1s", "7m", "11h", "3d"]),
    now=st.datetimes(min_value=datetime(1971, 1, 1), max_value=datetime(2100, 1, 1)),  # noqa: DTZ001
)
def test_the_next_time_is_later_by_at_most_an_interval(text: str, now: datetime) -> None:
    schedule, aware = parse_schedule(text), now.replace(tzinfo=UTC)
    following = schedule.next_after(aware)
    assert aware < following <= aware + schedule.interval
    assert schedule.next_after(following) == following + schedule.interval


@pytest.mark.parametrize("text", ["", "24:00", "3:30", "0h", "-1h", "1w", "1.5h", "daily", "6 h"])
def test_what_is_no_schedule_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="neither a time as 03:30"):
        parse_schedule(text)
