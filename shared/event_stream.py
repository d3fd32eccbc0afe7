"""The event stream: at-least-once delivery from the recommender to the logger."""

from collections.abc import Sequence
from typing import Any, Protocol

import msgspec
from redis.asyncio import Redis
from redis.exceptions import ResponseError

STREAM_KEY = "segue:events"
GROUP = "logger"
FIELD = b"event"


class Entry(msgspec.Struct, frozen=True):
    """One delivered stream entry: its id and the event's JSON (empty if it had none)."""

    entry_id: str
    payload: bytes


class StreamLag(msgspec.Struct, frozen=True):
    """How far the group is behind: entries not yet delivered, and delivered but not stored."""

    undelivered: int
    pending: int


class EventStream(Protocol):
    """What the logger needs of a stream; the recommender appends in its own transaction."""

    async def open(self) -> None:
        """Create the consumer group if it is absent."""

    async def append(self, payloads: Sequence[bytes]) -> None:
        """Append events, all or none."""

    async def read(self, consumer: str, *, count: int, block_ms: int) -> list[Entry]:
        """Deliver new entries to a consumer; empty after the time-out."""

    async def claim(self, consumer: str, *, count: int, min_idle_ms: int) -> list[Entry]:
        """Take over entries that some consumer got and did not acknowledge for that long."""

    async def acknowledge(self, entry_ids: Sequence[str]) -> None:
        """Declare entries stored."""

    async def trim(self) -> int:
        """Drop entries that the whole group has acknowledged; return how many."""

    async def lag(self) -> StreamLag:
        """Measure how far the group is behind."""


class RedisEventStream:
    """A Redis stream with one consumer group."""

    def __init__(self, redis: Redis) -> None:
        """Wrap a connection without `decode_responses`."""
        self._redis = redis
        self._claim_cursor = "0-0"

    async def open(self) -> None:
        """Create the consumer group if it is absent, from the stream's beginning."""
        try:
            await self._redis.xgroup_create(STREAM_KEY, GROUP, id="0", mkstream=True)
        except ResponseError as error:
            if "BUSYGROUP" not in str(error):
                raise

    async def append(self, payloads: Sequence[bytes]) -> None:
        """Append events, all or none."""
        async with self._redis.pipeline(transaction=True) as pipe:
            for payload in payloads:
                pipe.xadd(STREAM_KEY, {FIELD: payload})
            await pipe.execute()

    async def read(self, consumer: str, *, count: int, block_ms: int) -> list[Entry]:
        """Deliver new entries to a consumer; empty after the time-out."""
        answer = await self._redis.xreadgroup(
            GROUP, consumer, {STREAM_KEY: ">"}, count=count, block=block_ms
        )
        return [] if not answer else _entries(_of_stream(answer))

    async def claim(self, consumer: str, *, count: int, min_idle_ms: int) -> list[Entry]:
        """Take over entries that some consumer got and did not acknowledge for that long."""
        answer = await self._redis.xautoclaim(
            STREAM_KEY, GROUP, consumer, min_idle_ms, start_id=self._claim_cursor, count=count
        )
        self._claim_cursor = answer[0].decode()
        return _entries(answer[1])

    async def acknowledge(self, entry_ids: Sequence[str]) -> None:
        """Declare entries stored."""
        if entry_ids:
            await self._redis.xack(STREAM_KEY, GROUP, *entry_ids)

    async def trim(self) -> int:
        """Drop what lies before the oldest pending and the last delivered entry."""
        group = await self._group()
        if group is None:
            return 0
        if group["pending"]:
            oldest = await self._redis.xpending(STREAM_KEY, GROUP)
            return int(await self._redis.xtrim(STREAM_KEY, minid=oldest["min"].decode()))
        # The last delivered entry itself goes too: MINID keeps what is not smaller.
        last_ms, last_seq = group["last-delivered-id"].decode().split("-")
        after = f"{last_ms}-{int(last_seq) + 1}"
        return int(await self._redis.xtrim(STREAM_KEY, minid=after, approximate=False))

    async def lag(self) -> StreamLag:
        """Measure how far the group is behind."""
        group = await self._group()
        if group is None:
            return StreamLag(0, 0)
        undelivered = group["lag"]
        if undelivered is None:  # unknown to Redis after deletions: count from the last delivered
            last = group["last-delivered-id"].decode()
            undelivered = len(await self._redis.xrange(STREAM_KEY, min=f"({last}"))
        return StreamLag(int(undelivered), int(group["pending"]))

    async def _group(self) -> dict[str, Any] | None:
        try:
            groups = await self._redis.xinfo_groups(STREAM_KEY)
        except ResponseError:  # no such key
            return None
        return next((g for g in groups if g["name"].decode() == GROUP), None)


RawEntry = tuple[bytes, dict[bytes, bytes] | None]


def _of_stream(answer: object) -> list[RawEntry]:
    # RESP2 gives [[stream, entries]], RESP3 {stream: [entries]}
    if isinstance(answer, dict):
        return [entry for batches in answer.values() for batch in batches for entry in batch]
    assert isinstance(answer, list)  # noqa: S101 - narrows for the type checker
    return [entry for _, entries in answer for entry in entries]


def _entries(raw: list[RawEntry]) -> list[Entry]:
    return [Entry(entry_id.decode(), (fields or {}).get(FIELD, b"")) for entry_id, fields in raw]
