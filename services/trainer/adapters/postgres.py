"""Connections to Postgres, and what it means that it is away."""

import contextlib
from collections.abc import AsyncIterator

import asyncpg

CONNECT_TIMEOUT_S = 5
COMMAND_TIMEOUT_S = 30

# What a call raises when Postgres cannot be reached or ends the connection.
UNAVAILABLE = (
    OSError,
    TimeoutError,
    asyncpg.InterfaceError,
    asyncpg.PostgresConnectionError,
    asyncpg.exceptions.OperatorInterventionError,
    asyncpg.exceptions.InsufficientResourcesError,
)


@contextlib.asynccontextmanager
async def open_pool(dsn: str) -> AsyncIterator[asyncpg.Pool]:
    """Open a pool that connects when it is used, so that it starts without Postgres."""
    pool = asyncpg.create_pool(
        dsn,
        min_size=0,
        max_size=5,
        timeout=CONNECT_TIMEOUT_S,
        command_timeout=COMMAND_TIMEOUT_S,
        server_settings={"application_name": "segue-trainer"},
    )
    async with pool:
        yield pool


@contextlib.asynccontextmanager
async def open_connection(dsn: str) -> AsyncIterator[asyncpg.Connection]:
    """Open one connection."""
    connection = await asyncpg.connect(
        dsn, timeout=CONNECT_TIMEOUT_S, server_settings={"application_name": "segue-trainer"}
    )
    try:
        yield connection
    finally:
        await connection.close(timeout=CONNECT_TIMEOUT_S)
