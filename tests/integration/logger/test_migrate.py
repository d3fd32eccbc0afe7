import asyncio

import asyncpg
import pytest

from deploy.local.servers import PostgresServer
from services.logger.adapters.migrate import (
    PostgresUnavailableError,
    migrate_async,
    wait_for_postgres,
)
from tests.conftest import free_port

TABLES = "SELECT count(*) FROM pg_tables WHERE tablename = 'events'"


@pytest.fixture
async def blank(postgres: PostgresServer) -> str:
    """Return the DSN of a database without a schema."""
    connection = await asyncpg.connect(postgres.dsn)
    try:
        await connection.execute("DROP DATABASE IF EXISTS blank WITH (FORCE)")
        await connection.execute("CREATE DATABASE blank")
    finally:
        await connection.close()
    return postgres.dsn.replace("/segue", "/blank")


async def count(dsn: str, query: str) -> int:
    connection = await asyncpg.connect(dsn)
    try:
        return int(await connection.fetchval(query))
    finally:
        await connection.close()


async def test_processes_that_start_together_migrate_once(blank: str) -> None:
    await asyncio.gather(*(migrate_async(blank) for _ in range(4)))
    assert await count(blank, TABLES) == 1
    assert await count(blank, "SELECT count(*) FROM alembic_version") == 1


async def test_every_migration_can_be_undone_and_redone(blank: str) -> None:
    await migrate_async(blank)
    await migrate_async(blank, "base")
    assert await count(blank, TABLES) == 0
    await migrate_async(blank)
    assert await count(blank, TABLES) == 1


async def test_a_failed_migration_leaves_nothing(blank: str) -> None:
    connection = await asyncpg.connect(blank)
    await connection.execute("CREATE TABLE training_jobs ()")  # in the way of a later statement
    await connection.close()
    with pytest.raises(Exception, match="already exists"):
        await migrate_async(blank)
    assert await count(blank, TABLES) == 0


async def test_the_database_fixture_is_empty(database: PostgresServer) -> None:
    assert await count(database.dsn, "SELECT count(*) FROM events") == 0


async def test_an_absent_postgres_is_reported_with_its_place_but_no_password() -> None:
    port = free_port()
    dsn = f"postgresql://postgres:secret@127.0.0.1:{port}/segue"
    with pytest.raises(PostgresUnavailableError, match=f"127.0.0.1:{port}") as caught:
        await wait_for_postgres(dsn, timeout_s=0.3)
    assert "secret" not in str(caught.value)


async def test_a_postgres_that_lets_nobody_in_is_not_waited_for(postgres: PostgresServer) -> None:
    dsn = postgres.dsn.removesuffix("segue") + "nowhere"
    with pytest.raises(PostgresUnavailableError, match='"nowhere" does not exist'):
        await wait_for_postgres(dsn, timeout_s=60)
