import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable

from redis.exceptions import ConnectionError as RedisConnectionError

from services.logger.adapters.metrics import Metrics
from services.logger.consumer import Consumer, ConsumerOptions
from shared.event_stream import StreamLag
from tests.fakes import InMemoryEventStore, InMemoryEventStream
from tests.unit.logger.factories import POISON, make_payload

FAST = ConsumerOptions(
    batch_size=10, batch_wait_s=0.01, claim_idle_s=0.05, maintenance_interval_s=0.02
)


@contextlib.asynccontextmanager
async def consuming(consumer: Consumer) -> AsyncIterator[None]:
    task = asyncio.create_task(consumer.run())
    try:
        yield
    finally:
        consumer.stop()
        await task


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(5):
        while not condition():  # noqa: ASYNC110 - of a fake, which has no event to wait for
            await asyncio.sleep(0.005)


def make_consumer(
    stream: InMemoryEventStream, store: InMemoryEventStore, options: ConsumerOptions = FAST
) -> Consumer:
    return Consumer(stream, store, metrics=Metrics(), options=options)


async def test_entries_are_stored_then_acknowledged_then_trimmed() -> None:
    stream, store = InMemoryEventStream(), InMemoryEventStore()
    await stream.append([make_payload(i) for i in range(25)])
    async with consuming(make_consumer(stream, store)):
        await until(lambda: not stream.entries)
    assert len(store.rows) == 25
    assert stream.pending == {}


async def test_a_batch_whose_commit_fails_is_tried_again_until_it_succeeds() -> None:
    stream, store = InMemoryEventStream(), InMemoryEventStore(n_failures=2)
    consumer = make_consumer(stream, store)
    await stream.append([make_payload(1)])
    async with consuming(consumer):
        await until(lambda: consumer.state() == "down: postgres: away")
        assert len(stream.pending) == 1
        await until(lambda: len(store.rows) == 1)
        await until(lambda: consumer.state() == "ok")
    assert stream.pending == {}


async def test_a_stop_while_the_store_is_away_leaves_the_entries_pending() -> None:
    stream, store = InMemoryEventStream(), InMemoryEventStore(n_failures=10_000)
    consumer = make_consumer(stream, store)
    await stream.append([make_payload(1)])
    async with consuming(consumer):
        await until(lambda: "away" in consumer.state())
    assert len(stream.pending) == 1
    store.n_failures = 0
    async with consuming(make_consumer(stream, store)):
        await until(lambda: not stream.pending)
    assert len(store.rows) == 1


async def test_a_stop_stores_what_has_been_read() -> None:
    stream, store = InMemoryEventStream(), InMemoryEventStore()
    slow = ConsumerOptions(batch_size=10, batch_wait_s=60)
    await stream.append([make_payload(1)])
    async with consuming(make_consumer(stream, store, slow)):
        await until(lambda: bool(stream.pending))
        assert store.rows == {}
    assert len(store.rows) == 1
    assert stream.pending == {}


async def test_what_a_dead_consumer_left_is_taken_over() -> None:
    stream, store = InMemoryEventStream(), InMemoryEventStore()
    await stream.append([make_payload(i) for i in range(25)])
    await stream.read("dead", count=25, block_ms=1)
    async with consuming(make_consumer(stream, store)):
        await until(lambda: not stream.pending)
    assert len(store.rows) == 25


async def test_poison_is_acknowledged_as_dead_letters() -> None:
    stream, store = InMemoryEventStream(), InMemoryEventStore()
    poison = [payload for payload, reason in POISON.values() if reason != "database"]
    await stream.append([*poison, make_payload(1)])
    async with consuming(make_consumer(stream, store)):
        await until(lambda: not stream.pending and not stream.undelivered)
    assert len(store.rows) == 1
    assert len(store.dead_letters) == len(poison)


async def test_a_consumer_that_is_far_behind_says_so() -> None:
    stream, store = InMemoryEventStream(), InMemoryEventStore()
    options = ConsumerOptions(batch_size=1, maintenance_interval_s=0.001, behind_after=10)
    consumer = make_consumer(stream, store, options)
    await stream.append([make_payload(i) for i in range(300)])
    async with consuming(consumer):
        await until(lambda: consumer.state().startswith("behind: "))
        await until(lambda: consumer.state() == "ok")


async def test_a_consumer_that_has_not_started_is_not_ready() -> None:
    assert make_consumer(InMemoryEventStream(), InMemoryEventStore()).state().startswith("down")


class UnmeasurableStream(InMemoryEventStream):
    """A stream of which a part is away: the rest can be read."""

    async def lag(self) -> StreamLag:
        raise RedisConnectionError("a part is away")


async def test_maintenance_that_fails_holds_nothing_up() -> None:
    stream, store = UnmeasurableStream(), InMemoryEventStore()
    consumer = make_consumer(stream, store)
    async with consuming(consumer):
        for n in range(5):
            await stream.append([make_payload(n)])
            await until(lambda n=n: len(store.rows) == n + 1)  # type: ignore[misc]
    assert not stream.entries
