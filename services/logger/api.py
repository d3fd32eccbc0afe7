"""The logger's HTTP edge."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from dataclasses import asdict
from typing import Annotated, Any

import msgspec
from fastapi import APIRouter, Query, Request
from starlette.requests import ClientDisconnect

from services.logger.adapters.metrics import Metrics
from services.logger.consumer import Consumer
from services.logger.core.storage import EventStore
from services.logger.ingest import (
    BodyError,
    BodyTooLargeError,
    gunzip,
    read_body,
    store_lines,
)
from services.logger.settings import Settings
from shared.auth import protect
from shared.event_stream import EventStream
from shared.events import Event
from shared.http import ProblemError
from shared.openapi import problems

MEDIA_TYPE = "application/x-ndjson"

# For OpenAPI: the body is read as it comes.
_EVENTS: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "description": "One event per line; `Content-Encoding: gzip` is understood.",
        "content": {MEDIA_TYPE: {"schema": msgspec.json.schema_components([Event])[1]["Event"]}},
    }
}


class State:
    """What the routes use, from the start to the end of the application."""

    def __init__(
        self,
        settings: Settings,
        *,
        stream: EventStream,
        store: EventStore,
        consumer: Consumer,
        metrics: Metrics,
    ) -> None:
        """Hold it."""
        self.settings = settings
        self.stream = stream
        self.store = store
        self.consumer = consumer
        self.metrics = metrics
        self.bodies = asyncio.Semaphore(settings.concurrent_bodies)


def create_router() -> APIRouter:
    """Create the routes; they find their `State` as `request.state.logger`."""
    router = APIRouter()

    @router.post(
        "/events", tags=["events"], **protect(400, 408, 413, 415, 503), openapi_extra=_EVENTS
    )
    async def post_events(request: Request) -> dict[str, Any]:
        """Store events, one JSON object per line; answers when they are committed."""
        state: State = request.state.logger
        limit = state.settings.max_body_bytes
        encoding = _check_headers(request.headers, limit=limit)
        async with state.bodies:
            body = await _receive(request, limit=limit, timeout_s=state.settings.body_timeout_s)
            if encoding == "gzip":
                body = await asyncio.to_thread(gunzip, body, limit=limit)
            receipt = await store_lines(body, store=state.store, metrics=state.metrics)
        return asdict(receipt)

    @router.get("/lag", tags=["events"], responses=problems(503))
    async def get_lag(request: Request) -> dict[str, Any]:
        """Tell how far the rows are behind the stream, and what could not be stored."""
        state: State = request.state.logger
        lag = await state.stream.lag()
        return {
            "undelivered": lag.undelivered,
            "pending": lag.pending,
            "oldest_s": lag.oldest_s,
            "dead_letters": await state.store.count_dead_letters(),
            "consumer": state.consumer.state(),
        }

    @router.get("/dead-letters", tags=["events"], responses=problems(503))
    async def get_dead_letters(
        request: Request, limit: Annotated[int, Query(ge=1, le=1000)] = 20
    ) -> list[dict[str, Any]]:
        """List what could not be stored and why, newest first."""
        state: State = request.state.logger
        return [letter.to_json() for letter in await state.store.fetch_dead_letters(limit=limit)]

    return router


def _check_headers(headers: Mapping[str, str], *, limit: int) -> str:
    """Refuse a body unread if its headers say enough; return its encoding."""
    media_type = headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type != MEDIA_TYPE:
        raise ProblemError(
            415, "Unsupported media type", f"send {MEDIA_TYPE}", field="Content-Type"
        )
    encoding = headers.get("content-encoding", "identity").strip().lower()
    if encoding not in {"identity", "gzip"}:
        raise ProblemError(
            415, "Unsupported encoding", "send gzip or identity", field="Content-Encoding"
        )
    length = headers.get("content-length", "0")
    if length.isdecimal() and int(length[:20]) > limit:
        raise BodyTooLargeError(f"the body is over {limit} bytes")
    return encoding


async def _receive(request: Request, *, limit: int, timeout_s: float) -> bytes:
    chunks: AsyncIterator[bytes] = request.stream()
    try:
        async with asyncio.timeout(timeout_s):
            return await read_body(chunks, limit=limit)
    except TimeoutError as error:
        raise ProblemError(408, "Request timeout", f"the body took over {timeout_s:g} s") from error
    except ClientDisconnect as error:
        raise BodyError("the client left before the end of the body") from error
