"""Bulk bodies: decompress, cut, sort, store, in bounded memory."""

import asyncio
import gzip
import io
import time
import zlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from services.logger.adapters.metrics import Metrics
from services.logger.core.lines import split_lines
from services.logger.core.storage import EventStore
from services.logger.core.validation import sort_payloads

SOURCE = "http"
LINES_PER_COMMIT = 5000
MAX_REASONS = 10


class BodyError(ValueError):
    """A body that cannot be read; the message says why."""


class BodyTooLargeError(BodyError):
    """A body over the limit."""


@dataclass
class Receipt:
    """What became of a body: every line is stored, a duplicate or rejected."""

    received: int = 0
    stored: int = 0
    duplicates: int = 0
    rejected: int = 0
    reasons: list[dict[str, Any]] = field(default_factory=list)


async def read_body(chunks: AsyncIterator[bytes], *, limit: int) -> bytes:
    """Collect a body of at most `limit` bytes.

    Raises:
        BodyTooLargeError: As soon as it is longer.
    """
    body = bytearray()
    async for chunk in chunks:
        body += chunk
        if len(body) > limit:
            raise BodyTooLargeError(f"the body is over {limit} bytes")
    return bytes(body)


def gunzip(body: bytes, *, limit: int) -> bytes:
    """Decompress a body, of one gzip file or several on end, to at most `limit` bytes.

    Raises:
        BodyError: If it is no gzip, cut short, or becomes larger.
    """
    try:
        with gzip.GzipFile(fileobj=io.BytesIO(body)) as file:
            plain = file.read(limit + 1)
    except EOFError as error:
        raise BodyError("the gzip body is cut short") from error
    except (gzip.BadGzipFile, zlib.error) as error:
        raise BodyError(f"the body is not gzip: {error}") from error
    if len(plain) > limit:
        raise BodyTooLargeError(f"the body is over {limit} bytes when decompressed")
    return plain


async def store_lines(body: bytes, *, store: EventStore, metrics: Metrics) -> Receipt:
    """Store the events of a body, some lines per commit.

    A body that is sent again is stored once, so it may be sent again after any failure.

    Raises:
        StoreUnavailableError: If not all of it is known to be stored.
    """
    receipt = Receipt()
    lines = await asyncio.to_thread(split_lines, body)
    receipt.received = len(lines)
    for start in range(0, len(lines), LINES_PER_COMMIT):
        part = lines[start : start + LINES_PER_COMMIT]
        batch = await asyncio.to_thread(sort_payloads, part, now=datetime.now(UTC))
        started = time.perf_counter()
        result = await store.store(batch, source=SOURCE)
        latency_s = time.perf_counter() - started
        metrics.observe_commit(result, source=SOURCE, latency_s=latency_s)
        receipt.stored += result.stored
        receipt.duplicates += result.duplicates
        receipt.rejected += len(result.dead_letters)
        reasons = sorted((letter.position, letter.reason) for letter in result.dead_letters)
        receipt.reasons += [{"line": line, "reason": reason} for line, reason in reasons]
        del receipt.reasons[MAX_REASONS:]
    return receipt
