"""Every client of Redis and of Postgres reaches a server that asks for TLS and a password."""

import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest
from redis.asyncio import Redis
from redis.exceptions import ConnectionError as RedisConnectionError

from analysis.adapters.measurements import DatabaseError, open_database
from deploy.local.servers import PostgresServer, ValkeyServer
from services.logger.adapters import event_store
from services.logger.adapters.migrate import migrate_async, wait_for_postgres
from services.recommender.adapters.redis_connection import RedisConnection
from services.trainer.adapters import postgres as trainer_postgres
from shared.redis_client import create_redis
from shared.settings import PostgresSettings, RedisSettings
from tests.tls import Authority, authority

__all__ = ["authority"]

PASSWORD = "s3cret/:@"
ASK = "SELECT 1"


@pytest.fixture
async def guarded_redis(
    redis: Redis, valkey: ValkeyServer, authority: Authority
) -> AsyncIterator[str]:
    """Return the address of a Redis behind TLS, of a user who needs a password; it is not in it."""
    await redis.execute_command("ACL", "SETUSER", "guest", "on", f">{PASSWORD}", "~*", "+@all")
    async with authority.guarding(valkey.port) as port:
        yield f"rediss://guest@127.0.0.1:{port}/3"
    await redis.execute_command("ACL", "DELUSER", "guest")


def redis_url(address: str, password: str = PASSWORD) -> str:
    return RedisSettings(SEGUE_REDIS_URL=address, SEGUE_REDIS_PASSWORD=password).redis_url


async def ask_over_one_connection(url: str) -> bytes:
    connection = RedisConnection(url)
    try:
        assert b" db=3 " in await connection.execute("CLIENT", "INFO")
        answer: bytes = await connection.execute("ACL", "WHOAMI")
        return answer
    finally:
        connection.close()


async def ask_over_redis_py(url: str) -> bytes:
    async with create_redis(url, timeout_s=5) as client:
        assert (await client.client_info())["db"] == 3
        answer: bytes = await client.execute_command("ACL", "WHOAMI")
        return answer


REDIS_CLIENTS = (ask_over_one_connection, ask_over_redis_py)


@pytest.mark.parametrize("ask", REDIS_CLIENTS)
async def test_redis_answers_over_tls(
    guarded_redis: str, authority: Authority, ask: Callable[[str], Awaitable[bytes]]
) -> None:
    url = redis_url(f"{guarded_redis}?ssl_ca_certs={authority.certificate}")
    assert await ask(url) == b"guest"


@pytest.mark.parametrize("ask", REDIS_CLIENTS)
async def test_a_redis_of_an_unknown_authority_is_not_spoken_to(
    guarded_redis: str, ask: Callable[[str], Awaitable[bytes]]
) -> None:
    with pytest.raises((ssl.SSLCertVerificationError, RedisConnectionError), match="certificate"):
        await ask(redis_url(guarded_redis))


@pytest.fixture
async def guarded_postgres(
    migrated: PostgresServer, authority: Authority, tmp_path: Path
) -> AsyncIterator[tuple[str, str]]:
    """Return the address of a Postgres behind TLS, with its authority and with another."""
    other = Authority(tmp_path)
    async with authority.guarding(migrated.port, is_postgres=True) as port:
        address = f"postgresql+asyncpg://postgres@127.0.0.1:{port}/segue?ssl=verify-full"
        right, wrong = (
            postgres_dsn(f"{address}&sslrootcert={each.certificate}") for each in (authority, other)
        )
        yield right, wrong


def postgres_dsn(address: str) -> str:
    return PostgresSettings(SEGUE_POSTGRES_DSN=address).postgres_dsn


async def ask_as_logger(dsn: str) -> None:
    async with event_store.open_pool(dsn, max_size=1) as pool:
        assert await pool.fetchval(ASK) == 1


async def ask_as_trainer(dsn: str) -> None:
    async with trainer_postgres.open_connection(dsn) as connection:
        assert await connection.fetchval(ASK) == 1


async def ask_from_trainers_pool(dsn: str) -> None:
    async with trainer_postgres.open_pool(dsn) as pool:
        assert await pool.fetchval(ASK) == 1


async def ask_as_analysis(dsn: str) -> None:
    async with open_database(dsn) as connection:
        assert await connection.fetchval(ASK) == 1


async def wait(dsn: str) -> None:
    await wait_for_postgres(dsn, timeout_s=10)


POSTGRES_CLIENTS = (
    ask_as_logger,
    ask_as_trainer,
    ask_from_trainers_pool,
    ask_as_analysis,
    wait,
    migrate_async,
)


@pytest.mark.parametrize("ask", POSTGRES_CLIENTS)
async def test_postgres_answers_over_tls(
    guarded_postgres: tuple[str, str], ask: Callable[[str], Awaitable[None]]
) -> None:
    await ask(guarded_postgres[0])


@pytest.mark.parametrize("ask", [ask for ask in POSTGRES_CLIENTS if ask is not wait])
async def test_a_postgres_of_another_authority_is_not_spoken_to(
    guarded_postgres: tuple[str, str], ask: Callable[[str], Awaitable[None]]
) -> None:
    with pytest.raises((ssl.SSLError, DatabaseError), match="certificate"):
        await ask(guarded_postgres[1])
