"""The service as it is deployed: a process of its own, real sockets."""

import asyncio
import contextlib
import http.client
import json
import os
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import psutil
import pytest
from redis import Redis as SyncRedis

from deploy.local.servers import ValkeyServer
from shared.event_stream import STREAM_KEY
from tests.conftest import free_port, running
from tests.unit.recommender.factories import FIRST_ID, make_settings

BODY = {"track": FIRST_ID, "time": 0.5}


@pytest.fixture
def url(valkey: ValkeyServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Run the service beside the shared, empty Valkey and return its address."""
    with run_service(valkey, tmp_path, monkeypatch) as (url, _):
        yield url


@contextlib.contextmanager
def run_service(
    valkey: ValkeyServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, **environment: object
) -> Iterator[tuple[str, psutil.Process]]:
    """Run the service; yield its address and its process."""
    with SyncRedis.from_url(valkey.url) as redis:
        redis.flushall()
    settings, port = make_settings(tmp_path), free_port()
    for name, value in {
        "SEGUE_REDIS_URL": valkey.url,
        "SEGUE_RECOMMENDER_CATALOG": settings.catalog,
        "SEGUE_RECOMMENDER_EXPERIMENTS": settings.experiments,
        "SEGUE_RECOMMENDER_PORT": port,
        "SEGUE_RECOMMENDER_DEADLINE_S": 5,
        "PYTHONPATH": os.getcwd(),
        **environment,
    }.items():
        monkeypatch.setenv(name, str(value))
    command = [sys.executable, "-m", "services.recommender"]
    with running(command, port=port, log=tmp_path / "log") as process:
        yield f"http://127.0.0.1:{port}", psutil.Process(process.pid)


async def test_it_serves_sessions_concurrently(url: str, valkey: ValkeyServer) -> None:
    async with httpx.AsyncClient(base_url=url, timeout=30) as client:

        async def play(user: int) -> list[int]:
            answers = [await client.post(f"/next/{user}", json=BODY) for _ in range(5)]
            answers.append(await client.post(f"/last/{user}", json=BODY))
            return [answer.status_code for answer in answers]

        statuses = await asyncio.gather(*(play(user) for user in range(20)))
    assert all(codes == [200] * 6 for codes in statuses)
    with SyncRedis.from_url(valkey.url) as redis:
        assert redis.xlen(STREAM_KEY) == 120


async def test_a_body_of_20_mb_is_refused_and_the_next_request_served(url: str) -> None:
    async with httpx.AsyncClient(base_url=url, timeout=30) as client:
        response = await client.post("/next/1", content=b" " * 20_000_000)
        assert response.status_code == 413
        assert (await client.post("/next/1", json=BODY)).status_code == 200


def test_botifys_own_client_is_served(url: str) -> None:
    # botify's simulator posts with `requests`: no more headers than these, in this case
    client = http.client.HTTPConnection("127.0.0.1", int(url.rpartition(":")[2]), timeout=10)
    with contextlib.closing(client):
        headers = {"content-type": "application/json"}
        client.request("POST", "/next/7", json.dumps(BODY).encode(), headers)
        answer = client.getresponse()
        body = json.loads(answer.read())
    assert answer.status == 200
    assert (body["user"], list(body)[:2]) == (7, ["user", "track"])


def find_workers(process: psutil.Process) -> list[psutil.Process]:
    """Return the living workers; the resource tracker is none."""
    alive = [child for child in process.children() if child.status() != psutil.STATUS_ZOMBIE]
    return [child for child in alive if "spawn_main" in " ".join(child.cmdline())]


async def test_workers_share_the_port_and_their_metrics(
    valkey: ValkeyServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    environment = {"SEGUE_RECOMMENDER_WORKERS": 2}
    with run_service(valkey, tmp_path, monkeypatch, **environment) as (url, process):
        async with httpx.AsyncClient(base_url=url, timeout=30) as client:

            async def play(users: range) -> None:
                for user in users:
                    async with httpx.AsyncClient(base_url=url, timeout=30) as own:
                        for path in ("next", "next", "last"):
                            answer = await own.post(f"/{path}/{user}", json=BODY)
                            assert answer.status_code == 200

            async def count() -> float:
                lines = (await client.get("/metrics")).text.splitlines()
                counted = [line for line in lines if line.startswith("segue_playbacks_total")]
                return sum(float(line.rpartition(" ")[2]) for line in counted if "AA" in line)

            await asyncio.gather(*(play(range(n, n + 5)) for n in range(0, 40, 5)))
            with SyncRedis.from_url(valkey.url) as redis:
                assert redis.xlen(STREAM_KEY) == 120
            assert await count() == 120
            killed = find_workers(process)[0]
            killed.kill()
            async with asyncio.timeout(30):
                while len({w.pid for w in find_workers(process)} - {killed.pid}) < 2:  # noqa: ASYNC110
                    await asyncio.sleep(0.05)
            await play(range(100, 105))
            assert await count() == 135
        assert len(find_workers(process)) == 2


async def test_workers_end_with_a_killed_parent_and_free_the_port(
    valkey: ValkeyServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with run_service(valkey, tmp_path, monkeypatch, SEGUE_RECOMMENDER_WORKERS=2) as (url, process):
        async with asyncio.timeout(30):
            while len(find_workers(process)) < 2:  # noqa: ASYNC110
                await asyncio.sleep(0.05)
        workers = find_workers(process)
        process.kill()
        _, alive = psutil.wait_procs(workers, timeout=20)
        for worker in alive:
            worker.kill()
        assert alive == []
        with socket.create_server(("127.0.0.1", int(url.rpartition(":")[2])), backlog=1):
            pass
