"""The wire events: one per request to the recommender, frozen and versioned."""

import hashlib
import os
from datetime import UTC, datetime
from typing import Annotated, Literal
from uuid import UUID

import msgspec

SCHEMA_VERSION = 1
MAX_ID = 2**31 - 1  # user and track ids are Postgres integers

Id = Annotated[int, msgspec.Meta(ge=0, le=MAX_ID)]
Fraction = Annotated[float, msgspec.Meta(ge=0.0, le=1.0)]
Propensity = Annotated[float, msgspec.Meta(gt=0.0, le=1.0)]
Seconds = Annotated[float, msgspec.Meta(ge=0.0)]
Label = Annotated[str, msgspec.Meta(min_length=1, max_length=200)]


class InvalidEventError(ValueError):
    """An event that cannot be stored; the message says why."""


class Event(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What happened at one request: a playback reported, and what was answered.

    Attributes:
        event_id: UUIDv7 whose millisecond equals that of `timestamp`.
        message: `next` asks for a recommendation, `last` closes the session.
        timestamp: When the request was answered, aware UTC, to the millisecond.
        user: Listener id.
        session: One continuous visit of the listener.
        position: Of the reported playback in its session, from 0.
        track: Track just played.
        time: Fraction of it that was listened to, in [0, 1] (botify's wire name).
        latency: Seconds that the decision took.
        recommendation: Track answered; None on `last`.
        recommender: The policy that chose it, after any fallback; None on `last`.
        model_version: The model version that it used, if any.
        propensity: P(recommendation | context) under that policy, in (0, 1].
        fallback: Why the treatment's own recommender did not answer, as `policy:reason`.
        experiments: Treatment per experiment name, for every running experiment.
        schema: Version of this schema.
    """

    event_id: UUID
    message: Literal["next", "last"]
    timestamp: Annotated[datetime, msgspec.Meta(tz=True)]
    user: Id
    session: UUID
    position: Id
    track: Id
    time: Fraction
    latency: Seconds = 0.0
    recommendation: Id | None = None
    recommender: Label | None = None
    model_version: Label | None = None
    propensity: Propensity | None = None
    fallback: Label | None = None
    experiments: dict[Label, Label] = msgspec.field(default_factory=dict)
    schema: Literal[1] = 1


_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(Event)


def encode_event(event: Event) -> bytes:
    """Encode an event as one line of JSON."""
    return _encoder.encode(event)


def decode_event(payload: bytes) -> Event:
    """Decode and validate one event.

    Raises:
        InvalidEventError: If it is no JSON, breaks the schema, or contradicts itself.
    """
    try:
        event = _decoder.decode(payload)
    except msgspec.MsgspecError as error:
        raise InvalidEventError(str(error)) from error
    except (UnicodeDecodeError, RecursionError) as error:
        raise InvalidEventError(f"not JSON: {error}") from error
    validate_event(event)
    return event


def validate_event(event: Event) -> None:
    """Check what types alone cannot say.

    Raises:
        InvalidEventError: If the fields contradict each other.
    """
    if event.event_id.version != 7:
        raise InvalidEventError("event_id is not a UUIDv7")
    if _milliseconds(event.timestamp) != read_milliseconds(event.event_id):
        raise InvalidEventError("event_id and timestamp name different milliseconds")
    if (event.message == "next") != (event.recommendation is not None):
        raise InvalidEventError("next has a recommendation, last has none")


def make_event_id(timestamp: datetime, *key: int | str) -> UUID:
    """Make a UUIDv7: random, or reproducible from a key.

    Args:
        timestamp: Aware time; its millisecond orders the ids, and its microseconds order random
            ones within that.
        key: What identifies the event among those of its millisecond; random if absent.

    Source: RFC 9562, sections 5.7 and 6.2 (method 3).
    """
    if key:
        digest = hashlib.blake2b(repr(key).encode(), digest_size=10).digest()
        noise = int.from_bytes(digest, "big")
    else:
        fraction = timestamp.microsecond % 1000 * 4096 // 1000
        noise = (fraction << 64) | int.from_bytes(os.urandom(8), "big")
    value = (_milliseconds(timestamp) << 80) | noise
    value = (value & ~(0xF << 76)) | (7 << 76)
    return UUID(int=(value & ~(0b11 << 62)) | (0b10 << 62))


def read_milliseconds(id_: UUID) -> int:
    """Read the time of a UUIDv7, of an event or a session, in ms since 1970."""
    return id_.int >> 80


def truncate_to_milliseconds(timestamp: datetime) -> datetime:
    """Drop what a UUIDv7 cannot carry."""
    return timestamp.astimezone(UTC).replace(microsecond=timestamp.microsecond // 1000 * 1000)


def _milliseconds(timestamp: datetime) -> int:
    whole = timestamp.replace(microsecond=0)
    return int(whole.timestamp()) * 1000 + timestamp.microsecond // 1000
