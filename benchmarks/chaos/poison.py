"""What no logger can store, mixed with what it must."""

import dataclasses
from datetime import UTC, datetime, timedelta
from uuid import UUID

import msgspec

from shared.events import Event, encode_event, make_event_id, truncate_to_milliseconds

STRANGER = 2**31 - 2  # a user that no world has


def make_event(*key: str, ahead: timedelta = timedelta()) -> Event:
    """Make an event of nobody's, whose clock is ahead."""
    at = truncate_to_milliseconds(datetime.now(UTC) + ahead)
    return Event(
        event_id=make_event_id(at, *key),
        message="last",
        timestamp=at,
        user=STRANGER,
        session=make_event_id(at),
        position=0,
        track=1,
        time=1.0,
        latency=0.0,
    )


def make_poison(name: str) -> list[bytes]:
    """Make payloads that must become dead letters, each another."""
    good = encode_event(make_event(name))
    fields = msgspec.json.decode(good)
    return [
        f"not json {name}".encode(),
        b'{"truncated": "' + name.encode(),
        b"\xff\xfe" + name.encode(),
        msgspec.json.encode(fields | {"time": 7}),
        msgspec.json.encode(fields | {"user": "x"}),
        msgspec.json.encode(fields | {"event_id": "00000000-0000-4000-8000-000000000000"}),
        good.replace(b'"time":1.0', b'"time":NaN'),
        encode_event(msgspec.structs.replace(make_event(name), fallback=f"nul \0 {name}")),
        encode_event(make_event(name, ahead=timedelta(days=2))),
        b'{"padding": "' + name.encode() + b"x" * 100_000 + b'"}',
        b"[" * 100_000 + name.encode(),
    ]


@dataclasses.dataclass(frozen=True)
class Mixture:
    """Payloads in one order, and what must become of them."""

    payloads: list[bytes]
    expected: list[UUID]
    n_poison: int


def make_mixture(name: str) -> Mixture:
    """Put a good event before, between and after every poison."""
    poison = make_poison(name)
    good = [make_event(name, str(number)) for number in range(len(poison) + 1)]
    payloads = [encode_event(good[0])]
    for bad, event in zip(poison, good[1:], strict=True):
        payloads += [bad, encode_event(event)]
    return Mixture(payloads, [event.event_id for event in good], len(poison))
