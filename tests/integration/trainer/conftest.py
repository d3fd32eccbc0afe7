"""A trainer on real servers, with playbacks and a catalogue."""

from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
from redis.asyncio import Redis

from deploy.local.servers import PostgresServer, ValkeyServer
from services.trainer.settings import Settings
from shared.catalog import Catalog
from shared.catalog_store import publish_catalog
from tests.integration.trainer.stack import make_settings, serving, store_playbacks
from tests.unit.trainer.logs import make_block_playbacks, make_blocks


@pytest.fixture
async def catalog(redis: Redis) -> Catalog:
    """Return the catalogue in Redis."""
    catalog = make_blocks()
    await publish_catalog(redis, catalog)
    return catalog


@pytest.fixture
async def playbacks(database: PostgresServer, catalog: Catalog) -> None:
    """Fill the log."""
    await store_playbacks(database.dsn, make_block_playbacks(catalog))


@pytest.fixture
def settings(valkey: ValkeyServer, database: PostgresServer, tmp_path: Path) -> Settings:
    """Return settings for the servers of this test."""
    return make_settings(valkey, database, tmp_path / "trainer")


@pytest.fixture
async def client(settings: Settings, redis: Redis) -> AsyncIterator[httpx.AsyncClient]:
    """Return a client of a running trainer."""
    async with serving(settings) as client:
        yield client
