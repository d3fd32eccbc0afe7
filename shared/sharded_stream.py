"""The event stream of a Redis Cluster: one stream per shard, read as if they were one."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

from redis.asyncio import Redis
from redis.exceptions import RedisError
from redis.exceptions import TimeoutError as RedisTimeoutError

from shared.event_stream import Entry, EventStream, RedisEventStream, StreamLag
from shared.redis_client import TIMEOUT_S, create_redis
from shared.redis_place import make_tags, parse_redis_url
from shared.tasks import end

T = TypeVar("T")
REST_S = 1.0  # that a shard which failed is left alone


def shard_key(tag: str) -> str:
    """Return the key of a shard's stream."""
    return f"segue:{{{tag}}}:events"


def open_event_stream(redis: Redis, url: str, *, timeout_s: float = TIMEOUT_S) -> EventStream:
    """Return the stream of a server, or the streams of a cluster as one.

    Args:
        redis: Client of a server; a cluster's streams have a client each.
        url: Of Redis.
        timeout_s: Of an answer from a cluster's node.
    """
    place = parse_redis_url(url)
    if not place.n_shards:
        return RedisEventStream(redis)
    keys = [shard_key(tag) for tag in make_tags(place.n_shards)]
    clients = [create_redis(url, timeout_s=timeout_s, key=key) for key in keys]
    return ShardedEventStream(
        list(map(RedisEventStream, clients, keys)), clients, answer_s=timeout_s
    )


class ShardedEventStream:
    """Several streams as one; an entry's id begins with its shard's number and a slash.

    Entries of one shard are in order. A shard whose node is away holds up no other: after a failure
    it is left alone for a while. It is an error only where nothing else can be done, and in `lag`.
    """

    def __init__(
        self,
        shards: Sequence[EventStream],
        clients: Sequence[Redis] = (),
        *,
        answer_s: float = TIMEOUT_S,
    ) -> None:
        """Take the streams.

        Args:
            shards: In the order of their numbers.
            clients: To be closed with them.
            answer_s: What a shard may take to answer anything but a read.
        """
        self._shards = shards
        self._clients = clients
        self._answer_s = answer_s
        self._reads: dict[int, asyncio.Task[list[Entry]]] = {}
        self._failures: dict[int, tuple[float, Exception]] = {}
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
        for number in range(len(self._shards)):
            if number not in self._reads:
                work = self._read(number, consumer, count=share, block_ms=block_ms)
                self._reads[number] = asyncio.create_task(work)
        done, _ = await asyncio.wait(self._reads.values(), return_when=asyncio.FIRST_COMPLETED)
        entries: list[Entry] = []
        errors: list[Exception] = []
        for number, task in list(self._reads.items()):
            if task not in done or len(entries) >= count:
                continue
            del self._reads[number]
            try:
                entries += _numbered(number, task.result())
            except RedisError as error:
                errors.append(error)
        if len(errors) == len(self._shards):
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
            with contextlib.suppress(RedisError):
                await self._ask(number, lambda shard: shard.acknowledge(ids))

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
            RedisError: If one of them cannot be reached.
        """
        numbers = range(len(self._shards))
        lags = await asyncio.gather(
            *(self._ask(number, lambda shard: shard.lag()) for number in numbers)
        )
        return StreamLag(
            undelivered=sum(lag.undelivered for lag in lags),
            pending=sum(lag.pending for lag in lags),
            oldest_s=max((lag.oldest_s for lag in lags), default=0.0),
        )

    async def close(self) -> None:
        """Give up the reads under way; what they got stays pending."""
        await asyncio.gather(*map(end, self._reads.values()))
        self._reads.clear()
        for client in self._clients:
            await client.aclose()

    async def _ask_all(self, ask: Callable[[EventStream], Awaitable[T]]) -> dict[int, T]:
        """Ask every shard at once; return the answers of those that can be reached.

        Raises:
            RedisError: If none can.
        """
        numbers = range(len(self._shards))
        answers = await asyncio.gather(
            *(self._ask(number, ask) for number in numbers), return_exceptions=True
        )
        found: dict[int, T] = {}
        for number, answer in enumerate(answers):
            if not isinstance(answer, BaseException):
                found[number] = answer
            elif not isinstance(answer, RedisError):
                raise answer
        if not found:
            error = answers[0]
            assert isinstance(error, BaseException)  # noqa: S101 - none was found
            raise error
        return found

    async def _ask(
        self,
        number: int,
        ask: Callable[[EventStream], Awaitable[T]],
        *,
        is_bounded: bool = True,
    ) -> T:
        """Ask a shard, unless it rests; a read waits for entries, and the client sees to its end.

        Raises:
            RedisError: If it cannot be reached, now or a moment ago.
        """
        seconds = asyncio.get_running_loop().time
        failed_at, failure = self._failures.get(number, (float("-inf"), None))
        if failure is not None and seconds() < failed_at + REST_S:
            raise failure
        try:
            async with asyncio.timeout(self._answer_s if is_bounded else None):
                answer = await ask(self._shards[number])
        except TimeoutError as error:
            late = RedisTimeoutError(f"shard {number} did not answer in {self._answer_s:g} s")
            self._failures[number] = seconds(), late
            raise late from error
        except RedisError as error:
            self._failures[number] = seconds(), error
            raise
        self._failures.pop(number, None)
        return answer

    async def _read(self, number: int, consumer: str, *, count: int, block_ms: int) -> list[Entry]:
        if number in self._failures:
            failed_at, _ = self._failures[number]
            await asyncio.sleep(failed_at + REST_S - asyncio.get_running_loop().time())
        return await self._ask(
            number,
            lambda shard: shard.read(consumer, count=count, block_ms=block_ms),
            is_bounded=False,
        )


def _numbered(number: int, entries: list[Entry]) -> list[Entry]:
    return [Entry(f"{number}/{entry.entry_id}", entry.payload) for entry in entries]
