"""The event stream of a Redis Cluster: one stream per shard, read as if they were one."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

from redis.asyncio import Redis
from redis.exceptions import RedisError

from shared.event_stream import Entry, EventStream, RedisEventStream, StreamLag
from shared.redis_place import RedisPlace, make_tags

T = TypeVar("T")
REST_S = 0.5  # that a shard which failed is left alone
ANSWER_S = 5.0  # that a shard may take to answer anything but a read


def shard_key(tag: str) -> str:
    """Return the key of a shard's stream."""
    return f"segue:{{{tag}}}:events"


def open_event_stream(redis: Redis, place: RedisPlace) -> EventStream:
    """Return the stream of a server, or the streams of a cluster as one."""
    if not place.n_shards:
        return RedisEventStream(redis)
    tags = make_tags(place.n_shards)
    return ShardedEventStream([RedisEventStream(redis, shard_key(tag)) for tag in tags])


class ShardedEventStream:
    """Several streams as one; an entry's id begins with its shard's number and a slash.

    Entries of one shard are in order. A shard whose node is away holds up no other: it is an error
    only where nothing else can be done, and in `lag`.
    """

    def __init__(self, shards: Sequence[EventStream]) -> None:
        """Take the streams."""
        self._shards = shards
        self._reads: dict[int, asyncio.Task[list[Entry]]] = {}
        self._turn = 0

    async def open(self) -> None:
        """Create the consumer group of every shard that can be reached."""
        await self._ask_all(lambda shard: shard.open())

    async def append(self, payloads: Sequence[bytes]) -> None:
        """Append events to one of the shards, all or none."""
        self._turn += 1
        await self._shards[self._turn % len(self._shards)].append(payloads)

    async def read(self, consumer: str, *, count: int, block_ms: int) -> list[Entry]:
        """Deliver new entries to a consumer; empty after the time-out.

        Every shard is asked at once. Who has not answered when the first do is listened to by the
        next read: a question that is taken back may have been answered.
        """
        share = max(1, count // len(self._shards))
        for number, shard in enumerate(self._shards):
            if number not in self._reads:
                work = shard.read(consumer, count=share, block_ms=block_ms)
                self._reads[number] = asyncio.create_task(work)
        done, _ = await asyncio.wait(self._reads.values(), return_when=asyncio.FIRST_COMPLETED)
        entries: list[Entry] = []
        errors: list[Exception] = []
        for number, task in list(self._reads.items()):
            if task not in done or len(entries) >= count:
                continue
            error = task.exception()
            if error is None:
                entries += _numbered(number, task.result())
                del self._reads[number]
            elif isinstance(error, RedisError | OSError):
                errors.append(error)
                self._reads[number] = asyncio.create_task(_rest())
            else:
                raise error
        if errors and not entries and len(errors) == len(self._shards):
            raise errors[0]
        return entries

    async def claim(self, consumer: str, *, count: int, min_idle_ms: int) -> list[Entry]:
        """Take over entries that some consumer got and did not acknowledge for that long."""
        share = max(1, count // len(self._shards))
        found = await self._ask_all(
            lambda shard: shard.claim(consumer, count=share, min_idle_ms=min_idle_ms)
        )
        return [entry for number, part in found.items() for entry in _numbered(number, part)]

    async def acknowledge(self, entry_ids: Sequence[str]) -> None:
        """Declare entries stored."""
        by_shard: dict[int, list[str]] = {}
        for entry_id in entry_ids:
            number, _, own_id = entry_id.partition("/")
            by_shard.setdefault(int(number), []).append(own_id)

        async def tell(number: int, ids: list[str]) -> None:
            # What a node is not told now is delivered again, and is stored already.
            with contextlib.suppress(RedisError, OSError):
                async with asyncio.timeout(ANSWER_S):
                    await self._shards[number].acknowledge(ids)

        await asyncio.gather(*(tell(number, ids) for number, ids in by_shard.items()))

    async def trim(self) -> int:
        """Drop entries that the whole group has acknowledged; return how many."""
        return sum((await self._ask_all(lambda shard: shard.trim())).values())

    async def remove_idle_consumers(self, *, min_idle_ms: int) -> int:
        """Forget consumers that were silent for that long and owe nothing; return how many."""
        removed = await self._ask_all(
            lambda shard: shard.remove_idle_consumers(min_idle_ms=min_idle_ms)
        )
        return sum(removed.values())

    async def lag(self) -> StreamLag:
        """Measure how far the group is behind, over all shards.

        Raises:
            RedisError, OSError: If one of them cannot be reached.
        """
        async with asyncio.timeout(ANSWER_S):
            lags = await asyncio.gather(*(shard.lag() for shard in self._shards))
        return StreamLag(sum(lag.undelivered for lag in lags), sum(lag.pending for lag in lags))

    async def close(self) -> None:
        """Give up the reads under way; what they got stays pending."""
        for task in self._reads.values():
            task.cancel()
        await asyncio.gather(*self._reads.values(), return_exceptions=True)
        self._reads.clear()

    async def _ask_all(self, ask: Callable[[EventStream], Awaitable[T]]) -> dict[int, T]:
        """Ask every shard at once; return the answers of those that can be reached.

        Raises:
            RedisError, OSError: If none can.
        """

        async def ask_one(shard: EventStream) -> T:
            async with asyncio.timeout(ANSWER_S):
                return await ask(shard)

        answers = await asyncio.gather(*map(ask_one, self._shards), return_exceptions=True)
        found: dict[int, T] = {}
        for number, answer in enumerate(answers):
            if not isinstance(answer, BaseException):
                found[number] = answer
            elif not isinstance(answer, RedisError | OSError):
                raise answer
        if not found:
            error = answers[0]
            assert isinstance(error, BaseException)  # noqa: S101 - none was found
            raise error
        return found


async def _rest() -> list[Entry]:
    await asyncio.sleep(REST_S)
    return []


def _numbered(number: int, entries: list[Entry]) -> list[Entry]:
    return [Entry(f"{number}/{entry.entry_id}", entry.payload) for entry in entries]
