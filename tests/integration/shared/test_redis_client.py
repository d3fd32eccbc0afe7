import asyncio
import contextlib
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from redis.exceptions import RedisError

from deploy.local.servers import ValkeyServer
from shared.artifacts import LATEST_KEY
from shared.redis_client import create_redis
from shared.redis_place import parse_redis_url
from shared.slot_connection import Directory
from tests.cluster import Cluster, make_nodes
from tests.conftest import free_port, running


@pytest.fixture
def server(tmp_path: Path) -> ValkeyServer:
    server = ValkeyServer(port=free_port(), folder=tmp_path / "valkey")
    server.prepare()
    return server


async def test_every_pooled_connection_outlives_a_restart(
    server: ValkeyServer, tmp_path: Path
) -> None:
    log = tmp_path / "log"
    async with create_redis(server.url, timeout_s=5) as redis:
        with running(server.command(), port=server.port, log=log) as process:
            await asyncio.gather(*(redis.incr("n") for _ in range(4)))
            kill(process)
        with running(server.command(), port=server.port, log=log):
            assert [int(await redis.get("n")) for _ in range(5)] == [4] * 5


async def test_a_cluster_is_looked_for_when_it_is_used(tmp_path: Path) -> None:
    cluster = Cluster(make_nodes(tmp_path, 3))
    async with create_redis(cluster.url, timeout_s=5) as redis:
        for _ in range(2):
            with pytest.raises(RedisError):
                await redis.get("n")
        try:
            await asyncio.to_thread(cluster.form)
            await redis.set("n", 1)
            assert await redis.get("n") == b"1"
        finally:
            for node in cluster.nodes:
                node.kill()
        with pytest.raises(RedisError):
            await redis.get("n")


async def test_a_client_follows_its_slot_and_outlives_its_node(cluster: Cluster) -> None:
    async with create_redis(cluster.url, timeout_s=5) as redis:
        await redis.set(LATEST_KEY, "v1")
        source, target = await asyncio.to_thread(cluster.begin_to_move, LATEST_KEY)
        await asyncio.to_thread(cluster.end_move, LATEST_KEY, source, target)
        assert await redis.get(LATEST_KEY) == b"v1"
        async with redis.pipeline(transaction=True) as pipe:
            pipe.set(LATEST_KEY, "v2").get(LATEST_KEY)
            assert await pipe.execute() == [True, b"v2"]
        source, target = await asyncio.to_thread(cluster.begin_to_move, LATEST_KEY)
        await asyncio.to_thread(cluster.end_move, LATEST_KEY, source, target)
        async with redis.pipeline(transaction=True) as pipe:
            assert await pipe.set(LATEST_KEY, "v3").execute() == [True]
        owner = await asyncio.to_thread(cluster.owner_of, LATEST_KEY)
        owner.kill()
        with pytest.raises(RedisError):
            await redis.get(LATEST_KEY)
        owner.start()
        await asyncio.to_thread(cluster.wait_until_whole)
        assert await redis.get(LATEST_KEY) == b"v3"


async def test_a_node_that_is_cut_off_with_an_old_map_is_not_asked_twice_in_a_row(
    cluster: Cluster,
) -> None:
    here = ("127.0.0.1", cluster.owner_of(LATEST_KEY).port)
    async with telling_all_slots(free_port()) as cut_off:
        url = f"redis://127.0.0.1:{cut_off}"
        directory = Directory([url, *parse_redis_url(cluster.url).urls], LATEST_KEY)
        assert await directory.find() == ("127.0.0.1", cut_off)
        assert await directory.find() == here


@contextlib.asynccontextmanager
async def telling_all_slots(port: int) -> AsyncIterator[int]:
    """Answer as a node that believes it has all slots."""
    slots = f"*1\r\n*3\r\n:0\r\n:16383\r\n*2\r\n$9\r\n127.0.0.1\r\n:{port}\r\n".encode()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError):
            while n_words := int((await reader.readuntil(b"\r\n"))[1:]):
                words = [(await reader.readuntil(b"\r\n"))[1:] for _ in range(2 * n_words)][1::2]
                replies = {b"LUSTER": slots, b"ELLO": b"%1\r\n+proto\r\n:3\r\n"}
                writer.write(replies.get(words[0].strip(), b"+OK\r\n"))
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", port)
    async with server:
        yield port


def kill(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.wait()
