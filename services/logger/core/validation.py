"""What may become a row of `events`, and why the rest may not."""

import hashlib
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

import msgspec

from shared.events import Event, InvalidEventError, decode_event

MAX_PAYLOAD_BYTES = 64 * 1024  # an event has some 500
MAX_REASON_LENGTH = 500
EARLIEST = datetime(2000, 1, 1, tzinfo=UTC)
MAX_AHEAD = timedelta(days=1)

COLUMNS = (
    "event_id",
    "message",
    "occurred_at",
    "user_id",
    "session_id",
    "position",
    "track_id",
    "time",
    "latency",
    "recommendation",
    "recommender",
    "model_version",
    "propensity",
    "fallback",
    "experiments",
)
OCCURRED_AT = COLUMNS.index("occurred_at")


class Received(NamedTuple):
    """One payload as it came.

    Attributes:
        position: Its place in what it came with: line number, or index.
        payload: The event's JSON.
        entry_id: Its id at the source; None where the source has none.
    """

    position: int
    payload: bytes
    entry_id: str | None = None


class Accepted(NamedTuple):
    """A payload that may be stored, and its values in the order of `COLUMNS`."""

    received: Received
    row: tuple[Any, ...]


class DeadLetter(NamedTuple):
    """A payload that cannot be stored.

    Attributes:
        position: As it was received.
        entry_id: Unique at its source, and the same if the payload comes again.
        payload: Its first `MAX_PAYLOAD_BYTES`.
        reason: `class: detail`; the class is one of few.
    """

    position: int
    entry_id: str
    payload: bytes
    reason: str

    @property
    def reason_class(self) -> str:
        """The part of the reason that can be counted by."""
        return self.reason.partition(":")[0]


class Batch(NamedTuple):
    """Payloads sorted into those that may be stored and those that cannot."""

    accepted: list[Accepted]
    dead_letters: list[DeadLetter]


class RejectedError(ValueError):
    """A payload that cannot be stored; the message is its dead letter's reason."""


def sort_payloads(payloads: Iterable[Received], *, now: datetime) -> Batch:
    """Sort payloads into rows and dead letters; every payload ends in exactly one of them."""
    batch = Batch([], [])
    for received in payloads:
        try:
            batch.accepted.append(Accepted(received, _parse_row(received.payload, now=now)))
        except RejectedError as error:
            batch.dead_letters.append(make_dead_letter(received, str(error)))
    return batch


def make_dead_letter(received: Received, reason: str) -> DeadLetter:
    """Describe a payload that cannot be stored, in terms that Postgres can store."""
    entry_id = received.entry_id or hashlib.blake2b(received.payload, digest_size=16).hexdigest()
    printable = reason.encode(errors="replace").decode().replace("\0", "\\0")
    return DeadLetter(
        received.position,
        entry_id,
        received.payload[:MAX_PAYLOAD_BYTES],
        printable[:MAX_REASON_LENGTH],
    )


def _parse_row(payload: bytes, *, now: datetime) -> tuple[Any, ...]:
    if not payload:
        raise RejectedError("empty: no event in the entry")
    if len(payload) > MAX_PAYLOAD_BYTES:
        raise RejectedError(f"size: {len(payload)} bytes, over {MAX_PAYLOAD_BYTES}")
    try:
        event = decode_event(payload)
    except InvalidEventError as error:
        raise RejectedError(f"invalid: {error}") from error
    if event.timestamp < EARLIEST:
        raise RejectedError(f"clock: {event.timestamp.isoformat()} is before {EARLIEST:%Y-%m-%d}")
    if event.timestamp > now + MAX_AHEAD:
        raise RejectedError(f"clock: {event.timestamp.isoformat()} is over a day in the future")
    # Postgres has no NUL in text. JSON can only write it escaped, but the escape's letters can
    # also be a text of their own.
    if b"\\u0000" in payload and _has_nul(event):
        raise RejectedError("text: a NUL character, which Postgres cannot store")
    return _to_row(event)


def _to_row(event: Event) -> tuple[Any, ...]:
    # Only milliseconds: see the primary key of `events`.
    occurred_at = event.timestamp
    if sub_millisecond := occurred_at.microsecond % 1000:
        occurred_at -= timedelta(microseconds=sub_millisecond)
    return (
        event.event_id,
        event.message,
        occurred_at,
        event.user,
        event.session,
        event.position,
        event.track,
        event.time,
        event.latency,
        event.recommendation,
        event.recommender,
        event.model_version,
        event.propensity,
        event.fallback,
        msgspec.json.encode(event.experiments).decode(),
    )


def _has_nul(event: Event) -> bool:
    texts = [event.recommender, event.model_version, event.fallback]
    texts += [word for pair in event.experiments.items() for word in pair]
    return any(text is not None and "\0" in text for text in texts)
