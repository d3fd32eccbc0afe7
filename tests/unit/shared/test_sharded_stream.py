"""Several streams are read as one; one that is away holds up no other."""

import asyncio
from collections.abc import AsyncIterator, Sequence

import pytest
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError

from shared.event_stream import Entry, EventStream, StreamLag
from shared.sharded_stream import REST_S, ShardedEventStream
from tests.fakes import InMemoryEventStream


class FailingStream(InMemoryEventStream):
    """A stream whose node may be away."""

    is_away = False

    async def open(self) -> None:
        self._check()

    async def read(self, consumer: str, *, count: int, block_ms: int) -> list[Entry]:
        self._check()
        return await super().read(consumer, count=count, block_ms=block_ms)

    async def acknowledge(self, entry_ids: Sequence[str]) -> None:
        self._check()
        await super().acknowledge(entry_ids)

    async def claim(self, consumer: str, *, count: int, min_idle_ms: int) -> list[Entry]:
        self._check()
        return await super().claim(consumer, count=count, min_idle_ms=min_idle_ms)

    async def lag(self) -> StreamLag:
        self._check()
        return await super().lag()

    def _check(self) -> None:
        if self.is_away:
            raise RedisConnectionError("away")


@pytest.fixture
def shards() -> list[FailingStream]:
    return [FailingStream() for _ in range(3)]


@pytest.fixture
async def stream(shards: list[FailingStream]) -> AsyncIterator[ShardedEventStream]:
    stream = ShardedEventStream(shards)
    yield stream
    await stream.close()


async def read_all(stream: ShardedEventStream, n_entries: int, *, count: int = 30) -> list[Entry]:
    found: list[Entry] = []
    async with asyncio.timeout(5):
        while len(found) < n_entries:
            found += await stream.read("a", count=count, block_ms=5)
    return found


async def count_lag(stream: EventStream) -> tuple[int, int]:
    lag = await stream.lag()
    return lag.undelivered, lag.pending


async def test_every_shard_is_read_and_acknowledged(
    stream: ShardedEventStream, shards: list[FailingStream]
) -> None:
    for number in range(9):
        await stream.append([b"%d" % number])
    assert [len(shard.entries) for shard in shards] == [3, 3, 3]
    entries = await read_all(stream, 9, count=3)  # one of each shard at a time
    assert sorted(entry.payload for entry in entries) == [b"%d" % number for number in range(9)]
    assert len({entry.entry_id for entry in entries}) == 9
    assert await count_lag(stream) == (0, 9)
    await stream.acknowledge([entry.entry_id for entry in entries[:4]])
    assert await count_lag(stream) == (0, 5)
    claimed = await stream.claim("b", count=30, min_idle_ms=0)
    assert {entry.entry_id for entry in claimed} == {entry.entry_id for entry in entries[4:]}
    await stream.acknowledge([entry.entry_id for entry in claimed])
    assert await stream.trim() == 9


async def test_an_answer_that_comes_late_is_not_lost(
    stream: ShardedEventStream, shards: list[FailingStream]
) -> None:
    await shards[0].append([b"first"])
    first = await stream.read("a", count=30, block_ms=2000)  # the others go on waiting
    await shards[2].append([b"late"])
    late = await read_all(stream, 1)
    assert [entry.payload for entry in first + late] == [b"first", b"late"]
    assert late[0].entry_id == "2/1-0"


async def test_a_shard_that_is_away_holds_up_no_other(
    stream: ShardedEventStream, shards: list[FailingStream]
) -> None:
    for shard in shards:
        await shard.append([b"x"])
    shards[1].is_away = True
    await stream.open()
    entries = await read_all(stream, 2)
    assert {entry.entry_id for entry in entries} == {"0/1-0", "2/1-0"}
    assert len(await stream.claim("b", count=30, min_idle_ms=0)) == 2
    with pytest.raises(RedisConnectionError):
        await stream.lag()
    shards[1].is_away = False
    assert [entry.entry_id for entry in await read_all(stream, 1)] == ["1/1-0"]


async def test_what_cannot_be_acknowledged_is_delivered_again(
    stream: ShardedEventStream, shards: list[FailingStream]
) -> None:
    await shards[0].append([b"x"])
    (entry,) = await read_all(stream, 1)
    shards[0].is_away = True
    await stream.acknowledge([entry.entry_id])
    shards[0].is_away = False
    assert await stream.claim("b", count=30, min_idle_ms=0) == []  # it is left alone for a while
    await asyncio.sleep(REST_S)
    assert await stream.claim("b", count=30, min_idle_ms=0) == [entry]


async def test_all_shards_away_are_an_error(
    stream: ShardedEventStream, shards: list[FailingStream]
) -> None:
    for shard in shards:
        shard.is_away = True
    for call in (
        stream.open(),
        stream.read("a", count=3, block_ms=5),
        stream.claim("a", count=3, min_idle_ms=0),
    ):
        with pytest.raises(RedisConnectionError):
            await call


class SilentStream(InMemoryEventStream):
    """A stream whose node has died without a word."""

    async def lag(self) -> StreamLag:
        await asyncio.Event().wait()
        raise AssertionError


async def test_a_silent_shard_is_an_error_that_says_which() -> None:
    stream = ShardedEventStream([InMemoryEventStream(), SilentStream()], answer_s=0.01)
    with pytest.raises(RedisError, match="shard 1 did not answer"):
        await stream.lag()
    await stream.close()
