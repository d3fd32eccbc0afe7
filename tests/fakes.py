"""Hand-written stand-ins for what the services reach through a port."""

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from services.logger.core.storage import StoredDeadLetter, StoreResult, StoreUnavailableError
from services.logger.core.validation import Batch
from shared.event_stream import Entry, StreamLag


@dataclass
class Delivery:
    """Who got a pending entry, and when."""

    consumer: str
    at: float


@dataclass
class InMemoryEventStream:
    """An event stream with one consumer group, in this process."""

    clock: Callable[[], float] = time.monotonic
    entries: dict[str, bytes] = field(default_factory=dict)
    undelivered: list[str] = field(default_factory=list)
    pending: dict[str, Delivery] = field(default_factory=dict)
    last_seen: dict[str, float] = field(default_factory=dict)
    n_appended: int = 0
    appended_at: dict[str, float] = field(default_factory=dict)
    traceparents: dict[str, str] = field(default_factory=dict)

    async def open(self) -> None:
        """Do nothing: the group is always there."""

    async def append(self, payloads: Sequence[bytes]) -> None:
        """Append events, all or none."""
        for payload in payloads:
            self.n_appended += 1
            entry_id = f"{self.n_appended}-0"
            self.entries[entry_id] = payload
            self.appended_at[entry_id] = self.clock()
            self.undelivered.append(entry_id)

    async def read(self, consumer: str, *, count: int, block_ms: int) -> list[Entry]:
        """Deliver new entries to a consumer; empty after the time-out."""
        deadline = time.monotonic() + block_ms / 1000
        await asyncio.sleep(0)
        while not self.undelivered and time.monotonic() < deadline:  # noqa: ASYNC110 - as Redis does
            await asyncio.sleep(0.001)
        entry_ids, self.undelivered = self.undelivered[:count], self.undelivered[count:]
        return self._deliver(consumer, entry_ids)

    async def claim(self, consumer: str, *, count: int, min_idle_ms: int) -> list[Entry]:
        """Take over entries that some consumer got and did not acknowledge for that long."""
        before = self.clock() - min_idle_ms / 1000
        idle = [entry_id for entry_id, delivery in self.pending.items() if delivery.at <= before]
        return self._deliver(consumer, idle[:count])

    async def acknowledge(self, entry_ids: Sequence[str]) -> None:
        """Declare entries stored."""
        for entry_id in entry_ids:
            self.pending.pop(entry_id, None)

    async def trim(self) -> int:
        """Drop the entries before the first that is pending or undelivered."""
        n_before = len(self.entries)
        for entry_id in list(self.entries):
            if entry_id in self.pending or entry_id in self.undelivered:
                break
            del self.entries[entry_id]
        return n_before - len(self.entries)

    async def remove_idle_consumers(self, *, min_idle_ms: int) -> int:
        """Forget consumers that were silent for that long and owe nothing."""
        before = self.clock() - min_idle_ms / 1000
        owing = {delivery.consumer for delivery in self.pending.values()}
        gone = [c for c, seen in self.last_seen.items() if seen <= before and c not in owing]
        for consumer in gone:
            del self.last_seen[consumer]
        return len(gone)

    async def lag(self) -> StreamLag:
        """Measure how far the group is behind."""
        waiting = [self.appended_at[entry_id] for entry_id in (*self.pending, *self.undelivered)]
        oldest_s = self.clock() - min(waiting) if waiting else 0.0
        return StreamLag(len(self.undelivered), len(self.pending), oldest_s)

    def _deliver(self, consumer: str, entry_ids: Sequence[str]) -> list[Entry]:
        now = self.clock()
        self.last_seen[consumer] = now
        self.pending |= {entry_id: Delivery(consumer, now) for entry_id in entry_ids}
        return [
            Entry(entry_id, self.entries[entry_id], self.traceparents.get(entry_id, ""))
            for entry_id in entry_ids
        ]


@dataclass
class InMemoryEventStore:
    """An event store in this process; away for its next `n_failures` calls."""

    rows: dict[UUID, tuple[Any, ...]] = field(default_factory=dict)
    dead_letters: dict[tuple[str, str], StoredDeadLetter] = field(default_factory=dict)
    n_failures: int = 0

    async def store(self, batch: Batch, *, source: str) -> StoreResult:
        """Keep a batch."""
        await self.ping()
        new = {accepted.row[0]: accepted.row for accepted in batch.accepted}
        n_before = len(self.rows)
        self.rows = new | self.rows
        for letter in batch.dead_letters:
            payload = letter.payload.decode(errors="replace")
            self.dead_letters[source, letter.entry_id] = StoredDeadLetter(
                source, letter.entry_id, payload, letter.reason, datetime.now(UTC)
            )
        n_stored = len(self.rows) - n_before
        return StoreResult(n_stored, len(batch.accepted) - n_stored, batch.dead_letters)

    async def ping(self) -> None:
        """Fail if it is away."""
        if self.n_failures > 0:
            self.n_failures -= 1
            raise StoreUnavailableError("away")

    async def count_dead_letters(self) -> int:
        """Count what could not be stored."""
        return len(self.dead_letters)

    async def fetch_dead_letters(self, *, limit: int) -> list[StoredDeadLetter]:
        """Return the newest dead letters, newest first."""
        return list(self.dead_letters.values())[::-1][:limit]
