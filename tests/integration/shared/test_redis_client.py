import asyncio
import subprocess
from pathlib import Path

import pytest

from deploy.local.servers import ValkeyServer
from shared.redis_client import create_redis
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


def kill(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.wait()
