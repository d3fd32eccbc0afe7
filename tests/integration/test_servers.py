import asyncpg
from redis.asyncio import Redis

from deploy.local.servers import PostgresServer


async def test_valkey_appends_every_write_to_a_file(redis: Redis) -> None:
    assert (await redis.config_get("appendonly"))["appendonly"] in {"yes", b"yes"}


async def test_postgres_has_the_database(postgres: PostgresServer) -> None:
    connection = await asyncpg.connect(postgres.dsn)
    try:
        assert await connection.fetchval("SELECT current_database()") == "segue"
    finally:
        await connection.close()
