from collections.abc import AsyncIterator

import asyncpg
import pytest

from deploy.local.servers import PostgresServer
from tests.integration.analysis.log import connect, insert, make_known_log


@pytest.fixture
async def connection(database: PostgresServer) -> AsyncIterator[asyncpg.Connection]:
    """Return a connection to a database without events."""
    async with connect(database.dsn) as connection:
        yield connection


@pytest.fixture
async def known_log(database: PostgresServer) -> PostgresServer:
    """Return a database that holds the log known by hand."""
    async with connect(database.dsn) as connection:
        await insert(connection, make_known_log())
    return database
