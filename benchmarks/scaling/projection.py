"""From a session's cost to that of a hundred million listeners, by arithmetic."""

from collections.abc import Mapping
from dataclasses import dataclass

from rich.console import Console

LISTENERS = 100_000_000
SESSIONS_A_DAY = 1.0  # of a listener
PEAK = 3.0  # of the busiest hour, times the mean
OPEN_S = 3600  # half an hour of listening, and the time-out of those that nobody closes
WINDOW_DAYS = 28  # that a model learns from
LISTENERS_A_MODEL = 100_000  # a sample: a taste is of tracks, and tracks are few
BUSY = 0.6  # share of a CPU that is planned for
DAY_S = 86_400


@dataclass(frozen=True)
class Costs:
    """What was measured.

    Attributes:
        cpu_s: Per program, of a session.
        events: Of a session.
        session_bytes: In Redis, while it is open.
        stream_bytes: In Redis, of an event that is not stored yet.
        event_bytes: In Postgres, of an event with its entries in indexes.
        day_bytes: In Postgres, of a listener's day.
        training_cpu_s: Of a playback.
    """

    cpu_s: Mapping[str, float]
    events: float
    session_bytes: float
    stream_bytes: float
    event_bytes: float
    day_bytes: float
    training_cpu_s: float


def print_projection(costs: Costs, console: Console) -> None:
    """Print the arithmetic line by line."""
    sessions = LISTENERS * SESSIONS_A_DAY
    rate = sessions / DAY_S * PEAK
    console.print(
        f"\n{LISTENERS:,} listeners, {SESSIONS_A_DAY:g} session a day each, at the peak {PEAK:g} "
        f"times the mean: {rate:,.0f} sessions/s, {rate * costs.events:,.0f} events/s; "
        f"CPUs {BUSY:.0%} busy"
    )
    for name in ("recommender", "redis", "logger", "postgres"):
        cpus = rate * costs.cpu_s[name] / BUSY
        console.print(
            f"  {name:12} {rate:,.0f}/s x {1e3 * costs.cpu_s[name]:.2f} ms / {BUSY} "
            f"= {cpus:,.0f} CPUs"
        )
    n_open = rate * OPEN_S
    console.print(
        f"  Redis memory: {rate:,.0f}/s x {OPEN_S:,} s = {n_open:,.0f} states "
        f"x {costs.session_bytes:,.0f} B = {n_open * costs.session_bytes / 2**30:,.0f} GiB; "
        f"the stream, if the logger stands still for 10 minutes, "
        f"{rate * costs.events * 600 * costs.stream_bytes / 2**30:,.0f} GiB"
    )
    n_events = sessions * costs.events
    console.print(
        f"  Postgres: {n_events:,.0f} events a day x {costs.event_bytes:,.0f} B "
        f"= {n_events * costs.event_bytes / 2**40:,.2f} TiB a day; "
        f"sums per listener and day: {sessions * costs.day_bytes / 2**30:,.0f} GiB a day"
    )
    n_learnt = LISTENERS_A_MODEL * SESSIONS_A_DAY * WINDOW_DAYS * costs.events
    console.print(
        f"  training on {LISTENERS_A_MODEL:,} listeners' {WINDOW_DAYS} days: {n_learnt:,.0f} "
        f"playbacks x {1e6 * costs.training_cpu_s:,.0f} us = "
        f"{n_learnt * costs.training_cpu_s / 3600:,.1f} CPU hours"
    )
