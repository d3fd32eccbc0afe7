"""The event stream: at-least-once delivery from the recommender to the logger."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Protocol

import msgspec
from redis.asyncio import Redis
from redis.exceptions import ResponseError

STREAM_KEY = "segue:events"
GROUP = "logger"
FIELD = b"event"
TRACE_FIELD = b"traceparent"  # W3C Trace Context of the request; absent if it is not traced


class Entry(msgspec.Struct, frozen=True):
    """One delivered stream entry.

    Attributes:
        entry_id: Its id.
        payload: The event's JSON; empty if it had none.
        traceparent: Of the request, if it is traced.
    """

    entry_id: str
    payload: bytes
    traceparent: str = ""


class StreamLag(msgspec.Struct, frozen=True):
    """How far the group is behind.

    Attributes:
        undelivered: Entries that no consumer has got; where Redis cannot tell (after entries were
            deleted from the middle), an upper bound that is 0 if and only if there are none.
        pending: Entries that a consumer has got and not acknowledged.
        oldest_s: Age of the oldest of all these, by Redis' clock; 0 without any.
    """

    undelivered: int
    pending: int
    oldest_s: float = 0.0


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

    async def remove_idle_consumers(self, *, min_idle_ms: int) -> int:
        """Forget consumers that were silent for that long and owe nothing; return how many."""

    async def lag(self) -> StreamLag:
        """Measure how far the group is behind."""


# In one step: a consumer that got entries since it was looked at would take them along.
REMOVE_IDLE_CONSUMERS = """
local removed = 0
for _, row in ipairs(redis.call('XINFO', 'CONSUMERS', KEYS[1], ARGV[1])) do
    local consumer = {}
    for i = 1, #row, 2 do
        consumer[row[i]] = row[i + 1]
    end
    if consumer['pending'] == 0 and consumer['idle'] >= tonumber(ARGV[2]) then
        redis.call('XGROUP', 'DELCONSUMER', KEYS[1], ARGV[1], consumer['name'])
        removed = removed + 1
    end
end
return removed
"""


class RedisEventStream:
    """A Redis stream with one consumer group, made anew if Redis has lost it."""

    def __init__(self, redis: Redis) -> None:
        """Wrap a connection without `decode_responses`."""
        self._redis = redis
        self._claim_cursor = b"0-0"

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
        answer = await self._in_group(
            lambda: self._redis.xreadgroup(
                GROUP, consumer, {STREAM_KEY: ">"}, count=count, block=max(1, block_ms)
            )
        )
        return _entries(_of_stream(answer)) if answer else []

    async def claim(self, consumer: str, *, count: int, min_idle_ms: int) -> list[Entry]:
        """Take over entries that some consumer got and did not acknowledge for that long."""
        answer = await self._in_group(
            lambda: self._redis.xautoclaim(
                STREAM_KEY, GROUP, consumer, min_idle_ms, start_id=self._claim_cursor, count=count
            )
        )
        if answer is None:
            return []
        self._claim_cursor = answer[0]
        return _entries(answer[1])

    async def acknowledge(self, entry_ids: Sequence[str]) -> None:
        """Declare entries stored."""
        if entry_ids:
            await self._redis.xack(STREAM_KEY, GROUP, *entry_ids)

    async def trim(self) -> int:
        """Drop what lies before the oldest pending entry, or else up to the last delivered one."""
        group = await self._group()
        if group is None:
            return 0
        # Asked after the last delivered id is known: with nothing pending now, all up to that id
        # has been acknowledged, whatever is delivered meanwhile. MINID keeps its own id.
        oldest = (await self._redis.xpending(STREAM_KEY, GROUP))["min"]
        keep_from = oldest or _successor(group["last-delivered-id"])
        return int(await self._redis.xtrim(STREAM_KEY, minid=keep_from, approximate=False))

    async def remove_idle_consumers(self, *, min_idle_ms: int) -> int:
        """Forget consumers that were silent for that long and owe nothing; return how many."""
        if await self._group() is None:
            return 0
        return int(await self._redis.eval(REMOVE_IDLE_CONSUMERS, 1, STREAM_KEY, GROUP, min_idle_ms))

    async def lag(self) -> StreamLag:
        """Measure how far the group is behind."""
        group = await self._group()
        if group is None:
            n_entries, oldest_s = int(await self._redis.xlen(STREAM_KEY)), await self._age(b"-")
            return StreamLag(n_entries, 0, oldest_s)
        pending, last = int(group["pending"]), b"(" + group["last-delivered-id"]
        first = (await self._redis.xpending(STREAM_KEY, GROUP))["min"] if pending else None
        oldest_s = await self._age(first or last)
        if group["lag"] is not None:
            return StreamLag(int(group["lag"]), pending, oldest_s)
        if not await self._redis.xrange(STREAM_KEY, min=last, count=1):
            return StreamLag(0, pending, oldest_s)
        n_entries = int(await self._redis.xlen(STREAM_KEY))
        return StreamLag(max(1, n_entries - pending), pending, oldest_s)

    async def _age(self, start: bytes) -> float:
        """Return the age of the first entry from an id on, in seconds; 0 if there is none."""
        first: list[RawEntry] = await self._redis.xrange(STREAM_KEY, min=start, count=1)
        if not first:
            return 0.0
        seconds, microseconds = map(int, await self._redis.time())
        appended_ms = int((first[0][0] or b"0").partition(b"-")[0])
        return max(0.0, seconds + microseconds / 1e6 - appended_ms / 1000)

    async def _in_group(self, call: Callable[[], Awaitable[Any]]) -> Any:
        """Make a call, or the group if there is none (a Redis that lost its data)."""
        try:
            return await call()
        except ResponseError as error:
            if "NOGROUP" not in str(error):
                raise
            await self.open()
            return None

    async def _group(self) -> dict[str, Any] | None:
        try:
            groups = await self._redis.xinfo_groups(STREAM_KEY)
        except ResponseError as error:
            if "no such key" not in str(error):
                raise
            return None
        return next((group for group in groups if group["name"] == GROUP.encode()), None)


RawEntry = tuple[bytes | None, dict[bytes, bytes] | None]


def _successor(entry_id: bytes) -> str:
    milliseconds, sequence = entry_id.decode().split("-")
    return f"{milliseconds}-{int(sequence) + 1}"


def _of_stream(answer: Any) -> list[RawEntry]:
    # redis-py gives [[stream, entries]] for RESP2 and {stream: [entries]} for RESP3.
    if isinstance(answer, dict):
        return [entry for parts in answer.values() for part in parts for entry in part]
    return [entry for _, entries in answer for entry in entries]


def _entries(raw: list[RawEntry]) -> list[Entry]:
    # Redis 6 answers a claimed entry that was deleted meanwhile with nothing in its place.
    return [
        Entry(
            entry_id.decode(),
            (fields or {}).get(FIELD, b""),
            (fields or {}).get(TRACE_FIELD, b"").decode("latin-1"),
        )
        for entry_id, fields in raw
        if entry_id is not None
    ]
