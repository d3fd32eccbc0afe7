"""Playbacks come out of Postgres as they went in."""

from datetime import UTC, datetime, timedelta

import asyncpg
import numpy as np
import pytest

from deploy.local.servers import PostgresServer
from services.trainer.adapters.playback_reader import read_playbacks, read_watermark
from services.trainer.core.playbacks import PLAYBACK, make_log
from tests.integration.trainer.stack import store_playbacks
from tests.unit.trainer.logs import make_block_playbacks, make_blocks

START = datetime.fromtimestamp(1_700_000_000, UTC)


@pytest.fixture
async def connection(database: PostgresServer):
    """Return a connection to an empty database."""
    connection = await asyncpg.connect(database.dsn)
    yield connection
    await connection.close()


async def read(connection: asyncpg.Connection, **window: datetime | None) -> np.ndarray:
    watermark = await read_watermark(connection)
    options = {"since": None, "until": None, "watermark": watermark} | window
    return await read_playbacks(connection, **options)


async def test_every_column_survives(
    connection: asyncpg.Connection, database: PostgresServer
) -> None:
    stored = make_block_playbacks(make_blocks(), n_sessions=300)
    await store_playbacks(database.dsn, stored)
    found = await read(connection)
    assert found.dtype == PLAYBACK
    order = ["session_high", "session_low", "position"]
    assert np.array_equal(np.sort(found, order=order), np.sort(stored, order=order))


async def test_no_rows_are_an_empty_array(connection: asyncpg.Connection) -> None:
    assert len(await read(connection)) == 0


async def test_the_window_is_half_open(
    connection: asyncpg.Connection, database: PostgresServer
) -> None:
    await store_playbacks(database.dsn, make_block_playbacks(make_blocks(), n_sessions=10))
    middle = START + timedelta(minutes=4)  # when the fifth session starts
    before, after = await read(connection, until=middle), await read(connection, since=middle)
    assert make_log(before).n_sessions == 4
    assert make_log(after).n_sessions == 6
    assert after["at"].min() == 1_700_000_240_000_000


async def test_what_is_stored_after_the_watermark_is_not_read(
    connection: asyncpg.Connection, database: PostgresServer
) -> None:
    catalog = make_blocks()
    await store_playbacks(database.dsn, make_block_playbacks(catalog, n_sessions=10))
    watermark = await read_watermark(connection)
    await store_playbacks(database.dsn, make_block_playbacks(catalog, n_sessions=7, seed=1))
    assert make_log(await read(connection, watermark=watermark)).n_sessions == 10
    assert make_log(await read(connection)).n_sessions == 17
