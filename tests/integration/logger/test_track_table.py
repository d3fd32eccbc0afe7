import asyncio
from collections.abc import AsyncIterator

import pytest
from redis.asyncio import Redis

from deploy.local.servers import PostgresServer
from services.logger.adapters.event_store import open_pool
from services.logger.adapters.track_table import TrackTable
from shared.catalog import InvalidCatalogError, Track, make_catalog
from shared.catalog_store import CATALOG_KEY, publish_catalog
from shared.tasks import in_background
from tests.unit.logger.factories import fetch_all, fetch_value

CATALOG = make_catalog(
    [
        Track(track=3, artist="Ada", title="One", genre="jazz"),
        Track(track=7, artist="Ben", title=""),
    ]
)


@pytest.fixture
async def table(database: PostgresServer, redis: Redis) -> AsyncIterator[TrackTable]:
    async with open_pool(database.dsn, max_size=2) as pool:
        yield TrackTable(redis, pool)


async def test_a_published_catalogue_is_copied(
    table: TrackTable, redis: Redis, database: PostgresServer
) -> None:
    await publish_catalog(redis, CATALOG)
    assert await table.copy()
    rows = await fetch_all(database.dsn, "SELECT * FROM tracks ORDER BY track_id")
    assert [tuple(row) for row in rows] == [(3, "Ada", "One", "jazz"), (7, "Ben", "", None)]


async def test_only_another_catalogue_is_copied_again(
    table: TrackTable, redis: Redis, database: PostgresServer
) -> None:
    await publish_catalog(redis, CATALOG)
    assert [await table.copy(), await table.copy()] == [True, False]
    await publish_catalog(redis, make_catalog([Track(track=9, artist="Cy", title="New")]))
    assert await table.copy()
    assert await fetch_value(database.dsn, "SELECT array_agg(track_id) FROM tracks") == [9]


async def test_without_a_catalogue_nothing_happens(table: TrackTable) -> None:
    assert not await table.copy()


async def test_what_is_no_catalogue_leaves_the_table_as_it_is(
    table: TrackTable, redis: Redis, database: PostgresServer
) -> None:
    await publish_catalog(redis, CATALOG)
    await table.copy()
    await redis.set(CATALOG_KEY, b"{nope")
    with pytest.raises(InvalidCatalogError):
        await table.copy()
    assert await fetch_value(database.dsn, "SELECT count(*) FROM tracks") == 2


async def test_a_catalogue_that_comes_late_is_copied_after_all(
    table: TrackTable, redis: Redis, database: PostgresServer
) -> None:
    await redis.set(CATALOG_KEY, b"{nope")
    async with in_background(table.follow(interval_s=3600)) as following:
        await asyncio.sleep(0.03)
        await publish_catalog(redis, CATALOG)
        count = "SELECT count(*) FROM tracks"
        async with asyncio.timeout(10):
            while await fetch_value(database.dsn, count) != 2:  # noqa: ASYNC110 - it tells nobody
                await asyncio.sleep(0.01)
        assert not following.done()
