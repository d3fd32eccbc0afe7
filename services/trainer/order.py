"""What the service writes to its training process, and reads from it: a JSON object per line."""

import dataclasses
from pathlib import Path
from typing import Any
from uuid import UUID

import msgspec

from services.trainer.core.parameters import TrainingParameters
from services.trainer.settings import Settings
from shared.tracing import current_traceparent


class Order(msgspec.Struct, frozen=True, kw_only=True):
    """A training to do, and where; `traceparent` is of the request for it, if that is traced."""

    job_id: UUID
    parameters: TrainingParameters
    redis_url: str
    redis_timeout_s: float
    postgres_dsn: str
    folder: Path
    map_tracks: int
    keep_versions: int
    publish_attempts: int
    publish_wait_s: float
    traceparent: str | None = None


class Message(msgspec.Struct, frozen=True, omit_defaults=True):
    """Progress, and at last a version or an error.

    Attributes:
        stage: What has begun.
        fields: How far it is.
        model_version: Published: the training succeeded.
        error: Why the training failed.
    """

    stage: str | None = None
    fields: dict[str, Any] = msgspec.field(default_factory=dict)
    model_version: str | None = None
    error: str | None = None


def make_order(job_id: UUID, parameters: TrainingParameters, settings: Settings) -> Order:
    """Make an order for a training process of the same settings."""
    own = {"job_id", "parameters", "traceparent"}
    names = {field.name for field in msgspec.structs.fields(Order)} - own
    values = {name: getattr(settings, name) for name in names}
    traceparent = current_traceparent()
    return Order(job_id=job_id, parameters=parameters, traceparent=traceparent, **values)


def encode_order(order: Order) -> bytes:
    """Encode as one line."""
    return msgspec.json.encode(order, enc_hook=str) + b"\n"


def decode_order(line: bytes) -> Order:
    """Decode what `encode_order` made."""
    return msgspec.json.decode(line, type=Order, dec_hook=lambda kind, value: kind(value))


def from_dict(stored: dict[str, Any]) -> TrainingParameters:
    """Return the parameters of a job from what was stored of them."""
    return msgspec.convert(stored, TrainingParameters)


def to_dict(parameters: TrainingParameters) -> dict[str, Any]:
    """Return the parameters as JSON can hold them."""
    return {
        name: value.isoformat() if hasattr(value, "isoformat") else value
        for name, value in dataclasses.asdict(parameters).items()
    }
