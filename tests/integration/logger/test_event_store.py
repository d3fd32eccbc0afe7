import asyncio
import struct
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import asyncpg
import pytest

from deploy.local.servers import PostgresServer
from services.logger.adapters.event_store import PostgresEventStore, open_pool
from services.logger.core.storage import StoreUnavailableError
from services.logger.core.validation import MAX_PAYLOAD_BYTES
from tests.conftest import free_port
from tests.unit.logger.factories import (
    NOW,
    POISON,
    fetch_all,
    fetch_value,
    make_batch,
    make_event,
    make_payload,
    make_raw_payload,
)

N_EVENTS = "SELECT count(*) FROM events"


@pytest.fixture
async def store(database: PostgresServer) -> AsyncIterator[PostgresEventStore]:
    async with open_pool(database.dsn, max_size=4) as pool:
        yield PostgresEventStore(pool, clock=lambda: NOW)


async def test_a_row_holds_what_the_event_said(
    store: PostgresEventStore, database: PostgresServer
) -> None:
    event = make_event(7, model_version="v1", fallback="contextual:no_model")
    await store.store(
        make_batch(make_payload(7, model_version="v1", fallback=event.fallback)), source="t"
    )
    (row,) = await fetch_all(database.dsn, "SELECT * FROM events")
    assert row["event_id"] == event.event_id
    assert row["occurred_at"] == event.timestamp
    assert (row["user_id"], row["session_id"]) == (event.user, event.session)
    assert (row["position"], row["track_id"], row["time"]) == (7, 7, 0.5)
    assert row["latency"] == struct.unpack("f", struct.pack("f", 0.001))[0]
    assert (row["recommendation"], row["recommender"]) == (8, "random")
    assert (row["model_version"], row["fallback"]) == ("v1", "contextual:no_model")
    assert (row["propensity"], row["experiments"]) == (0.25, '{"AA": "C"}')


async def test_a_last_event_has_no_recommendation(
    store: PostgresEventStore, database: PostgresServer
) -> None:
    last = make_payload(message="last", recommendation=None, recommender=None, propensity=None)
    assert (await store.store(make_batch(last), source="t")).stored == 1
    (row,) = await fetch_all(database.dsn, "SELECT recommendation, recommender FROM events")
    assert tuple(row) == (None, None)


async def test_an_event_is_stored_once_however_often_it_comes(
    store: PostgresEventStore, database: PostgresServer
) -> None:
    payloads = [make_payload(i) for i in range(5)]
    first = await store.store(make_batch(*payloads, payloads[0]), source="t")
    assert (first.stored, first.duplicates) == (5, 1)
    again = await store.store(make_batch(*payloads, make_payload(99)), source="t")
    assert (again.stored, again.duplicates) == (1, 5)
    assert await fetch_value(database.dsn, N_EVENTS) == 6


async def test_an_id_cannot_come_twice_by_its_microseconds(
    store: PostgresEventStore, database: PostgresServer
) -> None:
    payloads = [make_raw_payload(timestamp=f"2026-03-15T12:00:00.000{n}Z") for n in (1, 2)]
    result = await store.store(make_batch(*payloads), source="t")
    assert (result.stored, result.duplicates) == (1, 1)
    assert await fetch_value(database.dsn, "SELECT occurred_at FROM events") == NOW


async def test_batches_that_overlap_can_be_stored_at_once(
    store: PostgresEventStore, database: PostgresServer
) -> None:
    payloads = [make_payload(i) for i in range(400)]
    results = await asyncio.gather(
        *(store.store(make_batch(*order), source="t") for order in (payloads, payloads[::-1]) * 3)
    )
    assert sum(result.stored for result in results) == 400
    assert await fetch_value(database.dsn, N_EVENTS) == 400


async def test_poison_becomes_dead_letters_and_the_rest_is_stored(
    store: PostgresEventStore, database: PostgresServer
) -> None:
    good = [make_payload(1000 + i) for i in range(20)]
    mixed = [
        word for pair in zip(good, [p for p, _ in POISON.values()], strict=False) for word in pair
    ]
    mixed += good[len(POISON) :]
    result = await store.store(make_batch(*mixed), source="t")
    assert result.stored == 20
    assert await fetch_value(database.dsn, N_EVENTS) == 20
    rows = await fetch_all(
        database.dsn, "SELECT entry_id, payload, reason FROM dead_letters ORDER BY entry_id"
    )
    found = {row["entry_id"]: (row["payload"], row["reason"].partition(":")[0]) for row in rows}
    assert found == {
        f"{2 * i + 1}-0": (payload[:MAX_PAYLOAD_BYTES], reason)
        for i, (payload, reason) in enumerate(POISON.values())
    }


async def test_poison_that_comes_again_is_one_dead_letter(
    store: PostgresEventStore, database: PostgresServer
) -> None:
    batch = make_batch(*(payload for payload, _ in POISON.values()))
    for _ in range(2):
        assert len((await store.store(batch, source="t")).dead_letters) == len(POISON)
    n_dead_letters = "SELECT count(*) FROM dead_letters"
    assert await fetch_value(database.dsn, n_dead_letters) == len(POISON)
    assert await store.count_dead_letters() == len(POISON)


async def test_dead_letters_are_listed_newest_first(store: PostgresEventStore) -> None:
    await store.store(make_batch(b"one"), source="a")
    await store.store(make_batch(b"two\xff"), source="b")
    letters = await store.fetch_dead_letters(limit=10)
    assert [(letter.source, letter.payload) for letter in letters] == [
        ("b", "two\N{REPLACEMENT CHARACTER}"),
        ("a", "one"),
    ]
    assert len(await store.fetch_dead_letters(limit=1)) == 1


async def test_each_month_has_its_partition_and_the_next_is_there_before(
    store: PostgresEventStore, database: PostgresServer
) -> None:
    moments = [datetime(2025, 12, 31, 23, 59, 59, tzinfo=UTC), datetime(2026, 1, 1, tzinfo=UTC)]
    payloads = [make_payload(i, at=at) for i, at in enumerate(moments)]
    await store.store(make_batch(*payloads), source="t")
    rows = await fetch_all(database.dsn, "SELECT tableoid::regclass::text FROM events ORDER BY 1")
    assert [row[0] for row in rows] == ["events_2025_12", "events_2026_01"]
    assert await fetch_value(database.dsn, "SELECT to_regclass('events_2026_04') IS NOT NULL")


async def test_loggers_that_need_a_partition_at_once_both_store(database: PostgresServer) -> None:
    at = datetime(2011, 5, 1, tzinfo=UTC)
    await fetch_all(database.dsn, "DROP TABLE IF EXISTS events_2011_05")
    async with open_pool(database.dsn, max_size=8) as pool:
        stores = [PostgresEventStore(pool) for _ in range(8)]
        results = await asyncio.gather(
            *(
                store.store(make_batch(make_payload(i, at=at)), source="t")
                for i, store in enumerate(stores)
            )
        )
    assert sum(result.stored for result in results) == 8


async def test_a_dropped_partition_is_made_again(
    store: PostgresEventStore, database: PostgresServer
) -> None:
    await store.store(make_batch(make_payload(1), make_payload(2)), source="t")
    await fetch_all(database.dsn, "DROP TABLE events_2026_03")
    result = await store.store(make_batch(make_payload(3), make_payload(4)), source="t")
    assert (result.stored, result.dead_letters) == (2, [])


async def test_a_partition_does_not_wait_for_readers(
    store: PostgresEventStore, database: PostgresServer
) -> None:
    await fetch_all(database.dsn, "DROP TABLE IF EXISTS events_2012_07")
    reader = await asyncpg.connect(database.dsn)
    try:
        async with reader.transaction():
            await reader.fetch("SELECT * FROM events")
            old = make_payload(at=datetime(2012, 7, 1, tzinfo=UTC))
            async with asyncio.timeout(10):
                assert (await store.store(make_batch(old), source="t")).stored == 1
    finally:
        await reader.close()


async def test_an_absent_postgres_is_unavailable_not_a_dead_letter() -> None:
    dsn = f"postgresql://postgres@127.0.0.1:{free_port()}/segue"
    async with open_pool(dsn, max_size=1) as pool:
        store = PostgresEventStore(pool)
        with pytest.raises(StoreUnavailableError):
            await store.store(make_batch(make_payload()), source="t")
        with pytest.raises(StoreUnavailableError):
            await store.ping()


async def test_a_connection_that_postgres_ended_is_replaced(
    store: PostgresEventStore, database: PostgresServer
) -> None:
    await store.store(make_batch(make_payload(1)), source="t")
    await fetch_all(
        database.dsn,
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
        " WHERE pid <> pg_backend_pid() AND backend_type = 'client backend'",
    )
    await asyncio.sleep(0.05)
    assert (await store.store(make_batch(make_payload(2)), source="t")).stored == 1


async def test_storing_leaves_the_event_loop_free(store: PostgresEventStore) -> None:
    batch = make_batch(*(make_payload(i) for i in range(5000)))
    await store.store(make_batch(make_payload(9999)), source="t")  # connect, make partitions
    gaps: list[float] = []

    async def watch() -> None:
        clock = asyncio.get_running_loop().time
        last = clock()
        while True:
            await asyncio.sleep(0)
            gaps.append(clock() - last)
            last = clock()

    watcher = asyncio.create_task(watch())
    await store.store(batch, source="t")
    watcher.cancel()
    assert sorted(gaps)[-3] < 0.02  # two pauses are the machine's


async def test_the_clock_bounds_how_many_partitions_there_can_be(
    store: PostgresEventStore, database: PostgresServer
) -> None:
    before = await fetch_value(database.dsn, "SELECT count(*) FROM pg_inherits")
    poison = [make_payload(i, at=NOW + timedelta(days=40 * (i + 1))) for i in range(50)]
    result = await store.store(make_batch(*poison), source="t")
    assert len(result.dead_letters) == 50
    assert await fetch_value(database.dsn, "SELECT count(*) FROM pg_inherits") - before < 30
