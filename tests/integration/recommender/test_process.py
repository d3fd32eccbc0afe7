"""The service as it is deployed: a process of its own, real sockets."""

import asyncio
import contextlib
import http.client
import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import psutil
import pytest
from redis import Redis as SyncRedis

from deploy.local.servers import ValkeyServer
from shared.event_stream import FIELD, STREAM_KEY
from shared.events import decode_event
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


async def total(client: httpx.AsyncClient, *words: str) -> float:
    """Return the sum of the metrics whose line has all these words."""
    lines = (await client.get("/metrics")).text.splitlines()
    counted = [line for line in lines if all(word in line for word in words)]
    return sum(float(line.rpartition(" ")[2]) for line in counted)


async def count(client: httpx.AsyncClient) -> tuple[float, float]:
    """Count the playbacks twice: by experiment, and by route."""
    answered = ("segue_request_duration_seconds_count", 'status="200"', "POST")
    by_experiment = await total(client, "segue_playbacks_total", "AA")
    return by_experiment, await total(client, *answered)


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

            async def until_counted(n_playbacks: int) -> None:
                async with asyncio.timeout(30):
                    while min(await count(client)) < n_playbacks:  # noqa: ASYNC110 - others write later
                        await asyncio.sleep(0.05)
                assert await count(client) == (n_playbacks, n_playbacks)

            await asyncio.gather(*(play(range(n, n + 5)) for n in range(0, 40, 5)))
            with SyncRedis.from_url(valkey.url) as redis:
                assert redis.xlen(STREAM_KEY) == 120
            await until_counted(120)
            workers = find_workers(process)
            for worker in workers:
                assert (
                    await total(client, "process_resident_memory_bytes", f'pid="{worker.pid}"')
                    > 2**20
                )
            assert await total(client, "segue_build_info{") == 1
            killed = workers[0]
            killed.kill()
            async with asyncio.timeout(30):
                while len({w.pid for w in find_workers(process)} - {killed.pid}) < 2:  # noqa: ASYNC110
                    await asyncio.sleep(0.05)
            await play(range(100, 105))
            await until_counted(135)
            assert await total(client, "process_cpu_seconds_total", f'pid="{killed.pid}"') == 0
        assert len(find_workers(process)) == 2


async def report(client: httpx.AsyncClient, user: int, key: str) -> httpx.Response | None:
    """Report a playback; None if the connection broke."""
    try:
        return await client.post(f"/next/{user}", json=BODY, headers={"Idempotency-Key": key})
    except httpx.TransportError:
        return None


async def test_what_was_accepted_is_answered_when_it_is_told_to_stop(
    valkey: ValkeyServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with run_service(valkey, tmp_path, monkeypatch) as (url, process):
        answered: list[int] = []

        async def report_on(user: int) -> None:
            async with httpx.AsyncClient(base_url=url, timeout=30) as client:
                for n in range(10_000):
                    response = await report(client, user, str(n))
                    if response is None:
                        return
                    answered.append(response.status_code)

        running = [asyncio.create_task(report_on(user)) for user in range(16)]
        while len(answered) < 200:  # noqa: ASYNC110 - many append to it
            await asyncio.sleep(0.01)
        process.terminate()
        await asyncio.gather(*running)
    assert set(answered) == {200}
    with SyncRedis.from_url(valkey.url) as redis:
        assert redis.xlen(STREAM_KEY) == len(answered)


async def test_a_worker_that_is_killed_takes_no_playback_with_it(
    valkey: ValkeyServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    n_users, n_plays = 12, 40
    with run_service(valkey, tmp_path, monkeypatch, SEGUE_RECOMMENDER_WORKERS=2) as (url, process):
        n_answered = 0

        async def play(user: int) -> None:
            nonlocal n_answered
            for n in range(n_plays):
                response = None
                while response is None:  # again, as a client does: on a new connection
                    async with httpx.AsyncClient(base_url=url, timeout=30) as client:
                        response = await report(client, user, str(n))
                assert response.status_code == 200
                n_answered += 1

        running = asyncio.gather(*(play(user) for user in range(n_users)))
        while n_answered < n_users * n_plays // 4:  # noqa: ASYNC110 - many add to it
            await asyncio.sleep(0.01)
        find_workers(process)[0].kill()
        await running
    with SyncRedis.from_url(valkey.url) as redis:
        events = [decode_event(fields[FIELD]) for _, fields in redis.xrange(STREAM_KEY)]
    for user in range(n_users):
        positions = [event.position for event in events if event.user == user]
        assert positions == list(range(n_plays))
