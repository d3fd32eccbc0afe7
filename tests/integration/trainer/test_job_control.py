"""Jobs are cancelled, killed, resumed, followed and scheduled; what serves stays as it was."""

import asyncio
import contextlib
import json
import resource
import socket
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import pytest
import uvicorn
from redis.asyncio import Redis

from deploy.local.servers import PostgresServer, ValkeyServer
from services.trainer.app import create_app
from services.trainer.settings import Settings
from services.trainer.train_request import TrainRequest
from shared.artifacts import fetch_latest_version, fetch_model
from tests.integration.trainer.stack import (
    QUICK,
    finish,
    make_settings,
    serving,
    train,
    training_processes,
    wait_for_epoch,
    wait_for_training_process,
)

LONG = QUICK | {"epochs": 200, "learning_rate": 0.0002}  # it gets better for long
pytestmark = pytest.mark.usefixtures("playbacks")


@contextlib.asynccontextmanager
async def listening(settings: Settings) -> AsyncIterator[httpx.AsyncClient]:
    """Serve the trainer on a real socket, over which answers can be read as they come."""
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    config = uvicorn.Config(create_app(settings), log_config=None, timeout_graceful_shutdown=1)
    server = uvicorn.Server(config)
    task = asyncio.create_task(server.serve(sockets=[listener]))
    url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    try:
        async with httpx.AsyncClient(base_url=url, timeout=60) as client:
            while not server.started:  # noqa: ASYNC110 - uvicorn has no event for it
                await asyncio.sleep(0.01)
            yield client
    finally:
        server.should_exit = True
        await task
        listener.close()


async def read_events(
    client: httpx.AsyncClient, job_id: str, *, after: int = 0, most: int = 1000
) -> list[tuple[int, str, Any]]:
    """Follow a job; return (id, event, data) of at most so many."""
    found: list[tuple[int, str, Any]] = []
    event: dict[str, str] = {}
    headers = {"Last-Event-ID": str(after)} if after else {}
    async with client.stream("GET", f"/train/{job_id}/events", headers=headers) as answer:
        assert answer.headers["Content-Type"].startswith("text/event-stream")
        async for line in answer.aiter_lines():
            if line:
                name, _, value = line.partition(": ")
                event[name] = value
            elif "data" in event:
                found.append((int(event["id"]), event["event"], json.loads(event["data"])))
                event = {}
                if len(found) == most:
                    break
    return found


async def test_a_cancelled_training_leaves_what_serves(
    client: httpx.AsyncClient, redis: Redis
) -> None:
    version = (await train(client))["model_version"]
    job_id = (await client.post("/train", json=LONG)).json()["job_id"]
    await wait_for_epoch(client, job_id, 1)
    answer = await client.post(f"/train/{job_id}/cancel")
    assert answer.status_code == 200
    assert answer.json()["status"] == "cancelled"
    assert answer.json()["finished_at"] is not None
    assert training_processes() == []
    assert await fetch_latest_version(redis) == version
    assert (await client.post(f"/train/{job_id}/cancel")).status_code == 409
    assert (await client.post(f"/train/{uuid4()}/cancel")).status_code == 404
    assert (await train(client))["status"] == "succeeded"
    metrics = (await client.get("/metrics")).text
    assert 'segue_trainer_jobs_total{status="cancelled"} 1.0' in metrics


async def test_a_training_cancelled_at_once_ends_at_once(client: httpx.AsyncClient) -> None:
    job_id = (await client.post("/train", json=LONG)).json()["job_id"]
    assert (await client.post(f"/train/{job_id}/cancel")).json()["status"] == "cancelled"
    assert training_processes() == []


async def test_what_has_published_cannot_be_cancelled(client: httpx.AsyncClient) -> None:
    job = await train(client)
    answer = await client.post(f"/train/{job['job_id']}/cancel")
    assert answer.status_code == 409
    assert answer.json()["title"] == "Training over"


@pytest.mark.parametrize("recipe", ["artist_concat", "session"])
async def test_a_killed_training_is_resumed_to_the_same_bits(
    client: httpx.AsyncClient, redis: Redis, settings: Settings, recipe: str
) -> None:
    body = LONG | {"recipe": recipe, "epochs": 60, "promote": "always"}
    expected = await fetch_model(redis, (await train(client, **body))["model_version"])
    job_id = (await client.post("/train", json=body)).json()["job_id"]
    process = await wait_for_training_process()
    await wait_for_epoch(client, job_id, 2)
    process.kill()
    job = await finish(client, job_id)
    assert job["status"] == "failed", job
    assert "killed by SIGKILL" in job["error"]
    assert await fetch_latest_version(redis) == expected.manifest.model_version
    answer = await client.post(f"/train/{job_id}/resume")
    assert answer.status_code == 202, answer.text
    assert answer.json()["attempts"] == 2
    job = await finish(client, job_id)
    assert job["status"] == "succeeded", job
    assert job["progress"]["resumed_after"] >= 1
    epochs = [loss["epoch"] for loss in job["progress"]["losses"]]
    assert epochs == list(range(1, len(epochs) + 1))
    resumed = await fetch_model(redis, job["model_version"])
    assert resumed.manifest.checksums == expected.manifest.checksums
    assert not list(settings.folder.rglob("checkpoint*"))
    assert (await client.post(f"/train/{job_id}/resume")).status_code == 409


async def test_a_training_outlives_its_service(settings: Settings, redis: Redis) -> None:
    async with serving(settings) as client:
        job_id = (await client.post("/train", json=LONG)).json()["job_id"]
        await wait_for_epoch(client, job_id, 2)
    async with serving(settings) as client:
        assert (await client.get(f"/train/{job_id}")).json()["status"] == "interrupted"
        assert (await client.post(f"/train/{job_id}/resume")).status_code == 202
        async with asyncio.timeout(60):
            while (
                "resumed_after"
                not in (job := await client.get(f"/train/{job_id}")).json()["progress"]
            ):
                assert job.json()["status"] == "running"
                await asyncio.sleep(0.05)
        assert job.json()["progress"]["resumed_after"] >= 2
        await client.post(f"/train/{job_id}/cancel")
    assert await fetch_latest_version(redis) is None


async def test_a_full_disk_costs_checkpoint_and_artifacts_alone(
    client: httpx.AsyncClient, redis: Redis
) -> None:
    job_id = (await client.post("/train", json=QUICK)).json()["job_id"]
    process = await wait_for_training_process()
    process.rlimit(resource.RLIMIT_FSIZE, (0, 0))  # no file may grow any more
    job = await finish(client, job_id)
    assert job["status"] == "succeeded", job["error"]
    assert await fetch_latest_version(redis) == job["model_version"]
    warnings = " ".join(job["progress"]["warnings"])
    assert "no checkpoint: File too large" in warnings
    assert "artifacts are missing" in warnings
    assert (await client.get(f"/train/{job_id}/artifacts")).json() == []


async def test_a_full_redis_fails_the_job_and_leaves_what_serves(
    client: httpx.AsyncClient, redis: Redis
) -> None:
    version = (await train(client))["model_version"]
    await redis.config_set("maxmemory", "1mb")
    try:
        job = await train(client)
    finally:
        await redis.config_set("maxmemory", "0")
    assert job["status"] == "failed"
    assert "not published" in job["error"]
    assert await fetch_latest_version(redis) == version


async def test_a_training_is_followed_while_it_runs(settings: Settings) -> None:
    async with listening(settings) as client:
        job_id = (await client.post("/train", json=QUICK)).json()["job_id"]
        events = await read_events(client, job_id)
        assert [number for number, _, _ in events] == list(range(1, len(events) + 1))
        stages = list(dict.fromkeys(data["stage"] for _, kind, data in events[:-1] if data))
        assert [s for s in stages if s] == [
            *("reading", "pairing", "training", "neighbours", "evaluating", "comparing"),
            *("publishing", "drawing"),
        ]
        epochs = [data["epoch"] for _, _, data in events if "epoch" in data]
        assert epochs == [1, 2]
        number, kind, end = events[-1]
        assert (kind, end["status"]) == ("end", "succeeded")
        assert end["promotion"]["is_promoted"]
        # Who was cut off goes on; who has all is told to stop asking.
        assert await read_events(client, job_id, after=number - 2) == events[-2:]
        headers = {"Last-Event-ID": str(number)}
        assert (await client.get(f"/train/{job_id}/events", headers=headers)).status_code == 204
        assert (await client.get(f"/train/{uuid4()}/events")).status_code == 404


async def test_a_silent_training_gives_signs_of_life_and_leaks_no_follower(
    valkey: ValkeyServer, database: PostgresServer, tmp_path: Path
) -> None:
    settings = make_settings(valkey, database, tmp_path, heartbeat_s=0.05)
    async with listening(settings) as client:
        n_tasks = len(asyncio.all_tasks())
        job_id = (await client.post("/train", json=LONG)).json()["job_id"]
        process = await wait_for_training_process()
        process.suspend()
        async with client.stream("GET", f"/train/{job_id}/events") as answer:
            async for line in answer.aiter_lines():
                if line.startswith(": "):
                    break
        for _ in range(20):  # followers who leave at once
            with contextlib.suppress(httpx.ReadTimeout):
                await client.get(f"/train/{job_id}/events", timeout=0.05)
        process.resume()
        await client.post(f"/train/{job_id}/cancel")
        async with asyncio.timeout(10):
            while len(asyncio.all_tasks()) > n_tasks + 1:  # noqa: ASYNC110
                await asyncio.sleep(0.05)


async def test_artifacts_are_kept_listed_and_sent(settings: Settings, redis: Redis) -> None:
    drawing = settings.model_copy(update={"map_tracks": 20})
    async with serving(drawing) as client:
        job = await train(client)
        job_id = job["job_id"]
        listed = (await client.get(f"/train/{job_id}/artifacts")).json()
        pictures = ["calibration.png", "losses.png", "map.png"]
        assert {file["name"] for file in listed} == {*pictures, "map.json", "metrics.json"}
        for name in pictures:
            picture = await client.get(f"/train/{job_id}/artifacts/{name}")
            assert picture.headers["Content-Type"] == "image/png"
            assert picture.content.startswith(b"\x89PNG")
            assert len(picture.content) > 5000
        told = (await client.get(f"/train/{job_id}/artifacts/metrics.json")).json()
        assert told["metrics"] == job["metrics"]
        assert told["model_version"] == job["model_version"]
        for name in ("absent.png", "..%2Forigin.json", "%2e%2e"):
            assert (await client.get(f"/train/{job_id}/artifacts/{name}")).status_code == 404
        assert (await client.get(f"/train/{uuid4()}/artifacts")).status_code == 404


async def test_a_schedule_starts_trainings_and_skips_while_one_runs(
    valkey: ValkeyServer, database: PostgresServer, tmp_path: Path
) -> None:
    request = TrainRequest(**QUICK)
    settings = make_settings(valkey, database, tmp_path, schedule="1s", schedule_parameters=request)
    async with serving(settings) as client, asyncio.timeout(60):
        while not (jobs := (await client.get("/train")).json()):  # noqa: ASYNC110
            await asyncio.sleep(0.05)
        assert jobs[0]["started_by"] == "schedule"
        assert jobs[0]["parameters"]["dim"] == QUICK["dim"]
        while True:
            schedule = (await client.get("/schedule")).json()
            if schedule["last"]["outcome"] == "skipped: a training is running":
                break
            await asyncio.sleep(0.05)
        assert schedule["schedule"] == "1s"
        assert schedule["parameters"]["dim"] == QUICK["dim"]
        assert schedule["next_at"] > schedule["last"]["at"]


async def test_without_a_schedule_nothing_is_due(client: httpx.AsyncClient) -> None:
    schedule = (await client.get("/schedule")).json()
    assert (schedule["schedule"], schedule["next_at"], schedule["last"]) == (None, None, None)
