import asyncio
import contextlib
import random
from collections.abc import AsyncIterator

import pytest
from redis.asyncio import Redis
from redis.exceptions import ResponseError

from deploy.local.servers import ValkeyServer
from services.recommender.adapters.redis_connection import RedisConnection
from tests.integration.recommender.conftest import OwnValkey, Proxy


@pytest.fixture
async def connection(valkey: ValkeyServer) -> AsyncIterator[RedisConnection]:
    """Return a connection to the shared Valkey."""
    opened = RedisConnection(valkey.url)
    yield opened
    opened.close()


async def test_concurrent_commands_get_their_own_replies(connection: RedisConnection) -> None:
    replies = await asyncio.gather(*(connection.execute("ECHO", i) for i in range(1_000)))
    assert replies == [str(i).encode() for i in range(1_000)]


async def test_cancelled_commands_never_shift_a_reply(connection: RedisConnection) -> None:
    chance = random.Random(1)
    n_cancelled = 0

    async def echo(i: int) -> None:
        with contextlib.suppress(ConnectionResetError):  # aborted by a neighbour's cancellation
            assert await connection.execute("ECHO", i) == str(i).encode()

    for batch in range(60):
        tasks = [asyncio.create_task(echo(batch * 100 + i)) for i in range(50)]
        await asyncio.sleep(chance.random() * 0.002)
        for task in chance.sample(tasks, 20):
            n_cancelled += task.cancel()
        for result in await asyncio.gather(*tasks, return_exceptions=True):
            assert result is None or isinstance(result, asyncio.CancelledError)
    assert n_cancelled > 50


async def test_a_cancelled_command_on_a_live_connection_keeps_it(
    connection: RedisConnection,
) -> None:
    client = await connection.execute("CLIENT", "ID")
    quick = asyncio.create_task(connection.execute("PING"))
    late = asyncio.create_task(connection.execute("BLPOP", "absent", 0.2))
    await quick  # heard after both were sent: the connection lives
    late.cancel()
    with pytest.raises(asyncio.CancelledError):
        await late
    assert await connection.execute("CLIENT", "ID") == client


async def test_a_refused_command_does_not_disturb_the_others(connection: RedisConnection) -> None:
    replies = await asyncio.gather(
        connection.execute("ECHO", "a"),
        connection.execute("NO-SUCH-COMMAND"),
        connection.execute("ECHO", "b"),
        return_exceptions=True,
    )
    assert isinstance(replies[1], ResponseError)
    assert (replies[0], replies[2]) == (b"a", b"b")


async def test_a_silent_connection_is_given_up_at_the_deadline(own_valkey: OwnValkey) -> None:
    async with Proxy(own_valkey.server.port).running() as proxy:
        connection = RedisConnection(f"redis://127.0.0.1:{proxy.port}/0")
        first = await connection.execute("CLIENT", "ID")
        proxy.is_open.clear()
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await connection.execute("PING")
        proxy.is_open.set()
        assert await connection.execute("CLIENT", "ID") != first
        connection.close()


async def test_it_greets_with_password_and_database(redis: Redis, valkey: ValkeyServer) -> None:
    await redis.execute_command("ACL", "SETUSER", "guest", "on", ">secret", "~*", "+@all")
    try:
        connection = RedisConnection(f"redis://guest:secret@127.0.0.1:{valkey.port}/3")
        assert await connection.execute("ACL", "WHOAMI") == b"guest"
        assert b" db=3 " in await connection.execute("CLIENT", "INFO")
        connection.close()
        stranger = RedisConnection(f"redis://guest:wrong@127.0.0.1:{valkey.port}/3")
        with pytest.raises(ResponseError, match="WRONGPASS"):
            await stranger.execute("PING")
    finally:
        await redis.execute_command("ACL", "DELUSER", "guest")


async def test_what_is_no_redis_is_given_up() -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    with pytest.raises(ConnectionResetError):
        await RedisConnection(f"redis://127.0.0.1:{port}/0").execute("PING")
    server.close()


def test_a_unix_socket_is_refused_at_once() -> None:
    with pytest.raises(ValueError, match="Unix socket"):
        RedisConnection("unix:///tmp/redis.sock")
