"""One suite over the in-memory stream and the Redis stream, over both wire protocols."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from redis.asyncio import Redis

from shared.event_stream import STREAM_KEY, Entry, EventStream, RedisEventStream
from tests.fakes import InMemoryEventStream


@pytest.fixture(params=["memory", "resp2", "resp3"])
async def stream(request: pytest.FixtureRequest) -> AsyncIterator[EventStream]:
    if request.param == "memory":
        yield InMemoryEventStream()
        return
    url = request.getfixturevalue("valkey").url
    async with Redis.from_url(url, protocol=int(request.param[-1])) as connection:
        await connection.flushall()
        redis_stream = RedisEventStream(connection)
        await redis_stream.open()
        yield redis_stream


def payloads(entries: list[Entry]) -> list[bytes]:
    return [entry.payload for entry in entries]


def ids(entries: list[Entry]) -> list[str]:
    return [entry.entry_id for entry in entries]


async def read(stream: EventStream, consumer: str = "a", *, count: int = 100) -> list[Entry]:
    return await stream.read(consumer, count=count, block_ms=1)


async def count_lag(stream: EventStream) -> tuple[int, int]:
    lag = await stream.lag()
    return lag.undelivered, lag.pending


async def test_entries_arrive_in_order_and_once(stream: EventStream) -> None:
    await stream.append([b"1", b"2"])
    await stream.append([b"3"])
    assert payloads(await read(stream, count=2)) == [b"1", b"2"]
    assert payloads(await read(stream, "b")) == [b"3"]
    assert await read(stream) == []


async def test_opening_again_redelivers_nothing(stream: EventStream) -> None:
    await stream.append([b"1"])
    await read(stream)
    await stream.open()
    assert await read(stream) == []


async def test_what_was_not_acknowledged_can_be_claimed(stream: EventStream) -> None:
    await stream.append([b"1", b"2", b"3"])
    entries = await read(stream, "dead")
    await stream.acknowledge(ids(entries)[:1])
    assert payloads(await stream.claim("alive", count=1, min_idle_ms=0)) == [b"2"]
    claimed = await stream.claim("alive", count=100, min_idle_ms=0)
    assert b"3" in payloads(claimed)
    await stream.acknowledge(ids(entries))
    await stream.claim("alive", count=100, min_idle_ms=0)  # to the end of a scan
    assert await stream.claim("alive", count=100, min_idle_ms=0) == []


async def test_what_a_live_consumer_works_on_cannot_be_claimed(stream: EventStream) -> None:
    await stream.append([b"1"])
    await read(stream)
    assert await stream.claim("b", count=100, min_idle_ms=60_000) == []


async def test_acknowledging_twice_or_nothing_is_harmless(stream: EventStream) -> None:
    await stream.append([b"1"])
    entries = await read(stream)
    await stream.acknowledge([])
    await stream.acknowledge(ids(entries))
    await stream.acknowledge(ids(entries))
    assert await count_lag(stream) == (0, 0)


async def test_lag_counts_undelivered_and_pending(stream: EventStream) -> None:
    assert await count_lag(stream) == (0, 0)
    await stream.append([b"1", b"2", b"3"])
    assert await count_lag(stream) == (3, 0)
    entries = await read(stream, count=2)
    assert await count_lag(stream) == (1, 2)
    await stream.acknowledge(ids(entries))
    assert await count_lag(stream) == (1, 0)
    await stream.trim()
    assert await count_lag(stream) == (1, 0)
    await stream.append([b"4"])
    assert await count_lag(stream) == (2, 0)


async def test_lag_tells_the_age_of_the_oldest_entry_that_is_not_acknowledged(
    stream: EventStream,
) -> None:
    assert (await stream.lag()).oldest_s == 0
    await stream.append([b"1"])
    await asyncio.sleep(0.1)
    await stream.append([b"2"])
    assert (await stream.lag()).oldest_s >= 0.09  # Redis counts in milliseconds
    entries = await read(stream)
    assert (await stream.lag()).oldest_s >= 0.09
    await stream.acknowledge(ids(entries)[1:])
    assert (await stream.lag()).oldest_s >= 0.09
    await stream.acknowledge(ids(entries))
    assert (await stream.lag()).oldest_s == 0


async def test_trim_drops_what_is_acknowledged_and_nothing_else(stream: EventStream) -> None:
    await stream.append([b"%d" % i for i in range(6)])
    entries = await read(stream, count=4)
    assert await stream.trim() == 0
    await stream.acknowledge(ids(entries)[:2])
    assert await stream.trim() == 2
    await stream.acknowledge(ids(entries)[3:])  # behind an entry that is still pending
    assert await stream.trim() == 0
    assert payloads(await stream.claim("b", count=9, min_idle_ms=0)) == [b"2"]
    await stream.acknowledge(ids(entries))
    assert await stream.trim() == 2
    assert payloads(await read(stream)) == [b"4", b"5"]


async def test_trim_is_exact_over_many_entries(stream: EventStream) -> None:
    await stream.append([b"x"] * 250)
    entries = await read(stream, count=201)
    await stream.acknowledge(ids(entries)[:150])
    assert await stream.trim() == 150
    await stream.acknowledge(ids(entries))
    assert await stream.trim() == 51
    assert len(await read(stream, count=100)) == 49


async def test_only_idle_consumers_that_owe_nothing_are_removed(stream: EventStream) -> None:
    await stream.append([b"1", b"2"])
    entries = await read(stream, "done", count=1)
    await stream.acknowledge(ids(entries))
    await read(stream, "owing", count=1)
    assert await stream.remove_idle_consumers(min_idle_ms=60_000) == 0
    await asyncio.sleep(0.02)
    assert await stream.remove_idle_consumers(min_idle_ms=10) == 1
    assert (await stream.lag()).pending == 1
    assert payloads(await stream.claim("alive", count=9, min_idle_ms=0)) == [b"2"]


async def test_a_group_made_late_still_gets_the_first_entries(redis: Redis) -> None:
    stream = RedisEventStream(redis)
    await stream.append([b"1", b"2"])
    assert await count_lag(stream) == (2, 0)
    assert await stream.trim() == 0
    await stream.open()
    assert payloads(await read(stream)) == [b"1", b"2"]


@pytest.mark.parametrize("method", ["read", "claim", "trim", "lag", "remove", "acknowledge"])
async def test_a_redis_that_lost_its_data_is_served_again(redis: Redis, method: str) -> None:
    stream = RedisEventStream(redis)
    await stream.open()
    await redis.flushall()
    calls = {
        "read": lambda: read(stream),
        "claim": lambda: stream.claim("a", count=9, min_idle_ms=0),
        "trim": stream.trim,
        "lag": stream.lag,
        "remove": lambda: stream.remove_idle_consumers(min_idle_ms=0),
        "acknowledge": lambda: stream.acknowledge(["1-1"]),
    }
    await calls[method]()
    await stream.append([b"1"])
    await read(stream)  # makes the group if the call above did not
    entries = await stream.claim("b", count=9, min_idle_ms=0) or await read(stream)
    assert payloads(entries) == [b"1"]


async def test_an_entry_deleted_while_pending_is_passed_over(redis: Redis) -> None:
    stream = RedisEventStream(redis)
    await stream.open()
    await stream.append([b"1", b"2"])
    entries = await read(stream)
    await redis.xdel(STREAM_KEY, entries[0].entry_id)
    assert payloads(await stream.claim("b", count=9, min_idle_ms=0)) == [b"2"]


async def test_an_entry_without_the_field_has_an_empty_payload(redis: Redis) -> None:
    stream = RedisEventStream(redis)
    await stream.open()
    await redis.xadd(STREAM_KEY, {"other": "x"})
    assert payloads(await read(stream)) == [b""]


async def test_lag_stays_an_upper_bound_when_redis_cannot_tell(redis: Redis) -> None:
    stream = RedisEventStream(redis)
    await stream.open()
    await stream.append([b"%d" % i for i in range(5)])
    middle = (await redis.xrange(STREAM_KEY))[3][0]
    await read(stream, count=2)
    await redis.xdel(STREAM_KEY, middle)
    assert (await redis.xinfo_groups(STREAM_KEY))[0]["lag"] is None
    assert await count_lag(stream) == (2, 2)
    await stream.acknowledge(ids(await read(stream)))
    assert (await stream.lag()).undelivered == 0
