"""Events and batches for the logger's tests."""

import json
from datetime import UTC, datetime
from typing import Any

import asyncpg

from services.logger.core.validation import Batch, Received, sort_payloads
from shared.events import Event, encode_event, make_event_id, truncate_to_milliseconds

NOW = datetime(2026, 3, 15, 12, 0, tzinfo=UTC)


def make_event(number: int = 0, *, at: datetime = NOW, **changes: Any) -> Event:
    """Make a valid `next` event; the number makes it another one."""
    timestamp = truncate_to_milliseconds(at)
    fields: dict[str, Any] = {
        "event_id": make_event_id(timestamp, "test", number),
        "message": "next",
        "timestamp": timestamp,
        "user": number % 1000,
        "session": make_event_id(timestamp, "session", number // 10),
        "position": number % 10,
        "track": number,
        "time": 0.5,
        "latency": 0.001,
        "recommendation": number + 1,
        "recommender": "random",
        "propensity": 0.25,
        "experiments": {"AA": "C"},
    }
    return Event(**fields | changes)


def make_payload(number: int = 0, *, at: datetime = NOW, **changes: Any) -> bytes:
    """Make a valid event's JSON."""
    return encode_event(make_event(number, at=at, **changes))


def make_raw_payload(number: int = 0, *, drop: str | None = None, **changes: Any) -> bytes:
    """Make JSON like an event's, with what no Event could carry."""
    fields = json.loads(make_payload(number)) | changes
    if drop is not None:
        del fields[drop]
    return json.dumps(fields).encode()


def make_batch(*payloads: bytes, now: datetime = NOW) -> Batch:
    """Sort payloads, each an entry of its own."""
    received = (Received(i, payload, f"{i}-0") for i, payload in enumerate(payloads))
    return sort_payloads(received, now=now)


POISON: dict[str, tuple[bytes, str]] = {
    "not json": (b"{nope", "invalid"),
    "not utf-8": (b'{"message": "\xff"}', "invalid"),
    "another schema": (make_raw_payload(schema=2), "invalid"),
    "nul": (make_raw_payload(recommender="a\0b"), "text"),
    "nul in experiments": (make_raw_payload(experiments={"a": "\0"}), "text"),
    "id of another time": (
        make_raw_payload(timestamp="2026-03-15T12:00:01Z"),
        "invalid",
    ),
    "nan": (make_raw_payload(time=float("nan")), "invalid"),
    "absent field": (make_raw_payload(drop="track"), "invalid"),
    "no event": (b"", "empty"),
    "huge label": (make_raw_payload(recommender="x" * 5000), "invalid"),
    "huge event": (make_raw_payload(experiments={f"e{i}": "C" for i in range(9000)}), "size"),
    "before the epoch of logs": (
        make_payload(at=datetime(1999, 12, 31, 23, 59, tzinfo=UTC)),
        "clock",
    ),
    "far future": (make_payload(at=datetime(2999, 1, 1, tzinfo=UTC)), "clock"),
    "only the database knows": (make_raw_payload(latency=1e300), "database"),
    "lone surrogate": (make_raw_payload(recommender="\ud800"), "invalid"),
}


async def fetch_all(dsn: str, query: str, *arguments: object) -> list[asyncpg.Record]:
    """Run one query over a connection of its own."""
    connection = await asyncpg.connect(dsn)
    try:
        return list(await connection.fetch(query, *arguments))
    finally:
        await connection.close()


async def fetch_value(dsn: str, query: str, *arguments: object) -> Any:
    """Return the only value of one query."""
    return (await fetch_all(dsn, query, *arguments))[0][0]
