"""The stream's consumer: read, commit, acknowledge; whatever fails is tried again."""

import asyncio
import contextlib
import logging
import os
import secrets
import socket
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TypeVar

from redis.exceptions import RedisError

from services.logger.adapters.metrics import Metrics
from services.logger.core.batching import BatchBuffer
from services.logger.core.storage import EventStore, StoreUnavailableError
from services.logger.core.validation import OCCURRED_AT, Batch, Received, sort_payloads
from services.logger.row_traces import trace_batch
from shared.event_stream import Entry, EventStream, StreamLag
from shared.tracing import Tracing

SOURCE = "stream"
IDLE_BLOCK_S = 0.25  # how long a read waits, and hence a stop, when nothing comes
FIRST_BACKOFF_S = 0.1
MAX_BACKOFF_S = 5.0

logger = logging.getLogger(__name__)
T = TypeVar("T")


def make_consumer_name() -> str:
    """Make a name that no other process has, nor had: its entries are claimed by name."""
    return f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(4)}"


@dataclass(frozen=True)
class ConsumerOptions:
    """How a consumer batches and looks after the stream; durations in seconds."""

    batch_size: int = 2000
    batch_wait_s: float = 0.2
    claim_idle_s: float = 15
    maintenance_interval_s: float = 5
    forget_consumer_s: float = 600
    behind_after: int = 100_000


class Consumer:
    """Moves entries from the stream to the store; one task per process."""

    def __init__(
        self,
        stream: EventStream,
        store: EventStore,
        *,
        metrics: Metrics,
        options: ConsumerOptions | None = None,
        name: str | None = None,
        tracing: Tracing | None = None,
    ) -> None:
        """Wire it; `run` starts it."""
        self._tracing = tracing
        self._stream = stream
        self._store = store
        self._metrics = metrics
        self._options = options or ConsumerOptions()
        self._name = name or make_consumer_name()
        self._buffer: BatchBuffer[Entry] = BatchBuffer(
            self._options.batch_size, self._options.batch_wait_s
        )
        self._stopping = asyncio.Event()
        self._maintained_at = -float("inf")
        self._lag = StreamLag(0, 0)
        self._trouble: str | None = "not started"

    def stop(self) -> None:
        """Ask it to finish the batch in hand and end."""
        self._stopping.set()

    def state(self) -> str:
        """Say `ok`, or what is the matter."""
        if self._trouble is not None:
            return f"down: {self._trouble}"
        if self._lag.undelivered > self._options.behind_after:
            return f"behind: {self._lag.undelivered} entries"
        return "ok"

    async def run(self) -> None:
        """Consume until stopped, then store what has been read."""
        logger.info("consumer %s starts", self._name)
        try:
            await self._persist(self._stream.open, part="redis")
            while not self._stopping.is_set():
                await self._step()
            await self._commit(self._buffer.take())
        except Exception as error:
            self._trouble = f"failed: {error!r}"
            logger.exception("consumer %s failed", self._name)
            raise
        logger.info("consumer %s has stopped", self._name)

    async def _step(self) -> None:
        await self._fill()
        if self._buffer.remaining_s(now=time.monotonic()) == 0:
            await self._commit(self._buffer.take())
        if time.monotonic() - self._maintained_at >= self._options.maintenance_interval_s:
            await self._persist(self._maintain, part="redis")

    async def _fill(self) -> None:
        """Wait for the first entries, then, once, for what fits the batch until it is due."""
        remaining_s = self._buffer.remaining_s(now=time.monotonic())
        if remaining_s is not None:
            await self._sleep(remaining_s)
        block_s = IDLE_BLOCK_S if remaining_s is None else 0

        async def read() -> list[Entry]:
            return await self._stream.read(
                self._name, count=self._buffer.room, block_ms=int(block_s * 1000)
            )

        entries = await self._persist(read, part="redis")
        self._buffer.add(entries or [], now=time.monotonic())

    async def _commit(self, entries: list[Entry]) -> None:
        """Store entries, then acknowledge them."""
        if not entries:
            return
        batch = await asyncio.to_thread(_sort, entries, datetime.now(UTC))
        started = time.perf_counter()
        with trace_batch(self._tracing, entries, batch):
            result = await self._persist(
                lambda: self._store.store(batch, source=SOURCE), part="postgres"
            )
        if result is None:
            return  # stopped while the store was away: another consumer takes them over
        latency_s = time.perf_counter() - started
        self._metrics.observe_commit(result, source=SOURCE, latency_s=latency_s)
        self._observe_delays(batch)
        for letter in result.dead_letters:
            logger.warning("dead letter, entry %s: %s", letter.entry_id, letter.reason)
        entry_ids = [entry.entry_id for entry in entries]
        await self._persist(lambda: self._stream.acknowledge(entry_ids), part="redis")

    async def _maintain(self) -> None:
        """Take over what dead consumers left, drop what is stored, measure the lag."""
        options = self._options
        while not self._stopping.is_set():
            entries = await self._stream.claim(
                self._name,
                count=options.batch_size,
                min_idle_ms=int(options.claim_idle_s * 1000),
            )
            if not entries:
                break
            logger.info("took over %d entries of another consumer", len(entries))
            await self._commit(entries)
        await self._stream.trim()
        await self._stream.remove_idle_consumers(min_idle_ms=int(options.forget_consumer_s * 1000))
        self._lag = await self._stream.lag()
        self._metrics.observe_lag(self._lag)
        self._maintained_at = time.monotonic()

    async def _persist(self, attempt: Callable[[], Awaitable[T]], *, part: str) -> T | None:
        """Make an attempt until it succeeds; None if stopped before that."""
        backoff_s = FIRST_BACKOFF_S
        while True:
            try:
                answer = await attempt()
            except Exception as error:  # a consumer that ends for one kind of failure helps nobody
                self._trouble = f"{part}: {error}"
                self._metrics.count_failure(part)
                is_known = isinstance(error, RedisError | OSError | StoreUnavailableError)
                logger.warning(
                    "%s failed, again in %.1f s: %s", part, backoff_s, error, exc_info=not is_known
                )
            else:
                self._trouble = None
                return answer
            await self._sleep(backoff_s)
            if self._stopping.is_set():
                return None
            backoff_s = min(2 * backoff_s, MAX_BACKOFF_S)

    async def _sleep(self, duration_s: float) -> None:
        """Sleep, or until stopped."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._stopping.wait(), duration_s)

    def _observe_delays(self, batch: Batch) -> None:
        now = datetime.now(UTC)
        for accepted in batch.accepted:
            delay = now - accepted.row[OCCURRED_AT]
            self._metrics.observe_delay(max(0.0, delay.total_seconds()))


def _sort(entries: list[Entry], now: datetime) -> Batch:
    return sort_payloads(
        (
            Received(position, entry.payload, entry.entry_id)
            for position, entry in enumerate(entries)
        ),
        now=now,
    )
