"""When trainings start by themselves."""

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Schedule:
    """Every `interval`, counted from `offset` after 1970 began: starts do not shift it.

    Attributes:
        interval: Longer than nothing.
        offset: Shorter than the interval.
    """

    interval: timedelta
    offset: timedelta = timedelta()

    def next_after(self, now: datetime) -> datetime:
        """Return the first time after an aware time."""
        past = (now - EPOCH - self.offset) // self.interval
        return EPOCH + self.offset + (past + 1) * self.interval


def parse_schedule(text: str) -> Schedule:
    """Read `HH:MM`, daily at that time in UTC, or a number of `s`, `m`, `h` or `d`.

    Raises:
        ValueError: If it is neither.
    """
    daily = re.fullmatch(r"([01]\d|2[0-3]):([0-5]\d)", text)
    if daily:
        hours, minutes = (int(part) for part in daily.groups())
        return Schedule(timedelta(days=1), timedelta(hours=hours, minutes=minutes))
    every = re.fullmatch(r"([1-9]\d{0,4})([smhd])", text)
    if every:
        return Schedule(timedelta(**{UNITS[every[2]]: int(every[1])}))
    raise ValueError(f"{text!r} is neither a time as 03:30 nor an interval as 6h")
