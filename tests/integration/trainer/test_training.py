"""A training from the request to the version that serves, and all the ways it can fail."""

import asyncio
import json
import sys
import time
from pathlib import Path
from uuid import uuid4

import asyncpg
import httpx
import numpy as np
import pytest
from redis.asyncio import Redis

from deploy.local.servers import PostgresServer
from services.trainer.adapters.job_store import JobStore
from services.trainer.adapters.postgres import open_pool
from services.trainer.core.parameters import TrainingParameters
from services.trainer.order import encode_order, make_order
from services.trainer.settings import Settings
from shared.artifacts import fetch_latest_version, fetch_model
from shared.catalog import Catalog
from shared.model_arrays import ARRAYS
from tests.integration.trainer.stack import (
    QUICK,
    empty_events,
    export_events,
    finish,
    serving,
    store_playbacks,
    train,
    training_processes,
    wait_for_training_process,
)
from tests.unit.trainer.logs import make_block_playbacks


@pytest.mark.usefixtures("playbacks")
async def test_a_training_publishes_a_version_that_serves(
    client: httpx.AsyncClient, redis: Redis, catalog: Catalog
) -> None:
    answer = await client.post("/train", json=QUICK | {"seed": 3})
    assert answer.status_code == 202
    assert answer.json()["status"] == "running"
    assert answer.headers["Location"] == f"/train/{answer.json()['job_id']}"
    job = await finish(client, answer.json()["job_id"])
    assert job["status"] == "succeeded", job
    assert job["error"] is None
    assert job["progress"]["stage"] == "drawing"
    assert "warnings" not in job["progress"]
    assert job["promotion"] == {"is_promoted": True, "reason": "the first version"}
    assert 0 < job["metrics"]["held_out_mse"] < 1
    assert sum(row["plays"] for row in job["reliability"]) == job["metrics"]["n_held_out_plays"]
    assert (job["started_by"], job["attempts"]) == ("request", 1)
    assert [loss["epoch"] for loss in job["progress"]["losses"]] == [1, 2]
    assert job["progress"]["peak_memory_bytes"] > 2**20
    assert await fetch_latest_version(redis) == job["model_version"]
    model = await fetch_model(redis, job["model_version"])
    assert model.arrays["neighbours"].shape == (len(catalog), 5)
    assert model.arrays["context_embedding"].shape == (len(catalog), 8)
    assert model.manifest.catalog_checksum == catalog.checksum
    assert (model.manifest.n_sessions, model.manifest.n_playbacks) == (360, 2400)
    assert model.manifest.seed == 3
    listed = (await client.get("/train")).json()
    assert [job["job_id"] for job in listed] == [job["job_id"]]


@pytest.mark.usefixtures("playbacks")
async def test_a_session_training_publishes_what_a_session_recommender_reads(
    client: httpx.AsyncClient, redis: Redis, catalog: Catalog
) -> None:
    job = await train(client, recipe="session")
    assert job["status"] == "succeeded", job
    assert [loss["epoch"] for loss in job["progress"]["losses"]] == list(range(1, 12))
    model = await fetch_model(redis, job["model_version"])
    assert model.manifest.recipe == "session"
    metrics = model.manifest.metrics
    assert metrics["leave_one_out_mse"] < metrics["leave_one_out_baseline_mse"]
    assert metrics["held_out_mse"] < metrics["baseline_mse"]
    assert model.arrays.keys() == ARRAYS.keys() - {"user_tracks"}
    assert model.arrays["track_embedding"].shape == (len(catalog), 4)
    recommendations = await client.get(f"/models/{job['model_version']}/tracks_with_recs")
    assert len(recommendations.text.splitlines()) == len(catalog)


@pytest.mark.usefixtures("playbacks")
async def test_a_training_on_exported_files_learns_what_one_on_postgres_does(
    settings: Settings, database: PostgresServer, redis: Redis, tmp_path: Path
) -> None:
    url = str(tmp_path / "log" / "events")
    await export_events(database.dsn, url)
    allowing = settings.model_copy(update={"sources": (str(tmp_path / "log"),)})
    async with serving(allowing) as client:
        refused = await client.post("/train", json=QUICK | {"source": str(tmp_path)})
        assert (refused.status_code, refused.json()["field"]) == (422, "source")
        jobs = [await train(client, source=source) for source in ("postgres", url)]
    assert [job["status"] for job in jobs] == ["succeeded"] * 2, jobs
    there, here = [await fetch_model(redis, job["model_version"]) for job in jobs]
    assert here.manifest.parameters["source"] == url
    assert here.manifest.checksums == there.manifest.checksums


async def test_a_session_training_without_a_taste_in_the_log_says_so(
    client: httpx.AsyncClient, database: PostgresServer, catalog: Catalog
) -> None:
    playbacks = make_block_playbacks(catalog, n_sessions=20)
    playbacks["time"] = 1.0
    await store_playbacks(database.dsn, playbacks)
    job = await train(client, recipe="session")
    assert job["status"] == "failed"
    assert "heard in full or not at all" in job["error"]


@pytest.mark.usefixtures("playbacks")
async def test_one_training_runs_at_a_time(client: httpx.AsyncClient) -> None:
    answers = await asyncio.gather(*(client.post("/train", json=QUICK) for _ in range(2)))
    assert sorted(answer.status_code for answer in answers) == [202, 409]
    refused = next(answer for answer in answers if answer.status_code == 409)
    assert refused.headers["Content-Type"] == "application/problem+json"
    accepted = next(answer for answer in answers if answer.status_code == 202)
    assert (await finish(client, accepted.json()["job_id"]))["status"] == "succeeded"
    assert len((await client.get("/train")).json()) == 1


@pytest.mark.usefixtures("playbacks")
async def test_a_training_of_another_trainer_is_respected(
    client: httpx.AsyncClient, settings: Settings
) -> None:
    async with open_pool(settings.postgres_dsn) as pool:
        other = JobStore(pool, settings.postgres_dsn)
        async with other.lock():
            job_id = uuid4()
            await other.add(job_id, {})
            assert (await client.post("/train", json=QUICK)).status_code == 409
            async with serving(settings) as third:
                job = (await third.get(f"/train/{job_id}")).json()
                assert job["status"] == "running"


@pytest.mark.usefixtures("playbacks")
async def test_a_killed_process_fails_its_job_and_not_the_service(
    client: httpx.AsyncClient, redis: Redis
) -> None:
    answer = await client.post("/train", json=QUICK)
    (await wait_for_training_process()).kill()
    job = await finish(client, answer.json()["job_id"])
    assert job["status"] == "failed"
    assert "killed by SIGKILL" in job["error"]
    assert await fetch_latest_version(redis) is None
    assert (await client.get("/health/live")).status_code == 200
    assert (await train(client))["status"] == "succeeded"


@pytest.mark.usefixtures("playbacks")
async def test_a_stopped_trainer_interrupts_its_job(settings: Settings, redis: Redis) -> None:
    async with serving(settings) as client:
        job_id = (await client.post("/train", json=QUICK)).json()["job_id"]
    assert training_processes() == []
    async with serving(settings) as client:
        job = (await client.get(f"/train/{job_id}")).json()
    assert job["status"] == "interrupted"
    assert await fetch_latest_version(redis) is None


async def test_a_job_of_a_dead_trainer_is_interrupted_at_the_start(
    settings: Settings, database: PostgresServer
) -> None:
    connection = await asyncpg.connect(database.dsn)
    job_id = uuid4()
    await connection.execute(
        "INSERT INTO training_jobs (job_id, status, parameters) VALUES ($1, 'running', '{}')",
        job_id,
    )
    await connection.close()
    async with serving(settings) as client:
        job = (await client.get(f"/train/{job_id}")).json()
    assert job["status"] == "interrupted"
    assert job["finished_at"] is not None


@pytest.mark.usefixtures("playbacks")
async def test_a_training_process_ends_well_while_its_service_lives(settings: Settings) -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "services.trainer.job",
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    assert process.stdin
    assert process.stdout
    assert process.stderr
    parameters = TrainingParameters(dim=4, epochs=1, neighbours=5)
    job_id = uuid4()
    async with open_pool(settings.postgres_dsn) as pool:
        await JobStore(pool, settings.postgres_dsn).add(job_id, {})
    process.stdin.write(encode_order(make_order(job_id, parameters, settings)))
    messages, complaints = await asyncio.gather(process.stdout.read(), process.stderr.read())
    assert await process.wait() == 0
    assert complaints == b""
    assert b"model_version" in messages.splitlines()[-1]
    process.stdin.close()


@pytest.mark.usefixtures("playbacks")
async def test_a_training_process_ends_with_its_service(settings: Settings, redis: Redis) -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "services.trainer.job",
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdin
    assert process.stdout
    process.stdin.write(encode_order(make_order(uuid4(), TrainingParameters(), settings)))
    await process.stdout.readline()  # it has begun
    process.stdin.close()
    assert await asyncio.wait_for(process.wait(), 10) == 1
    assert await fetch_latest_version(redis) is None


@pytest.mark.usefixtures("catalog")
async def test_without_playbacks_a_training_fails_and_says_so(client: httpx.AsyncClient) -> None:
    job = await train(client)
    assert job["status"] == "failed"
    assert "no playbacks" in job["error"]
    assert job["model_version"] is None


async def test_without_a_catalogue_a_training_fails_and_says_so(client: httpx.AsyncClient) -> None:
    job = await train(client)
    assert job["status"] == "failed"
    assert "no catalogue" in job["error"]


@pytest.mark.usefixtures("playbacks")
async def test_a_window_without_playbacks_fails_and_says_so(client: httpx.AsyncClient) -> None:
    job = await train(client, since="2030-01-01T00:00:00Z")
    assert job["status"] == "failed"
    assert "none in this window" in job["error"]


async def test_playbacks_of_unknown_tracks_are_dropped_and_counted(
    client: httpx.AsyncClient, database: PostgresServer, catalog: Catalog
) -> None:
    playbacks = make_block_playbacks(catalog, n_sessions=60)
    strangers = np.flatnonzero(playbacks["position"] > 0)[::10]
    playbacks["track"][strangers] = 1
    await store_playbacks(database.dsn, playbacks)
    job = await train(client)
    assert job["status"] == "succeeded", job
    assert job["progress"]["unknown"] == len(strangers)


async def test_a_log_of_another_catalogue_fails_and_leaves_what_serves(
    client: httpx.AsyncClient, database: PostgresServer, redis: Redis, catalog: Catalog
) -> None:
    playbacks = make_block_playbacks(catalog, n_sessions=40)
    await store_playbacks(database.dsn, playbacks)
    serving_version = (await train(client))["model_version"]
    strange = make_block_playbacks(catalog, n_sessions=200, seed=1)
    strange["track"] = 1
    await store_playbacks(database.dsn, strange)
    job = await train(client)
    assert job["status"] == "failed"
    assert "another catalogue" in job["error"]
    assert await fetch_latest_version(redis) == serving_version


@pytest.mark.parametrize(
    ("body", "field"), [({"dim": 0}, "dim"), ({"colour": "red"}, "colour"), ([], "body")]
)
async def test_a_bad_request_names_its_field(
    client: httpx.AsyncClient, body: object, field: str
) -> None:
    answer = await client.post("/train", json=body)
    assert answer.status_code == 422
    assert answer.json()["field"] == field
    assert (await client.get("/train")).json() == []


async def test_an_unknown_job_is_not_found(client: httpx.AsyncClient) -> None:
    assert (await client.get(f"/train/{uuid4()}")).status_code == 404


@pytest.mark.usefixtures("playbacks")
async def test_metrics_tell_of_jobs_losses_and_the_models_age(client: httpx.AsyncClient) -> None:
    await train(client)
    await asyncio.sleep(0.3)
    text = (await client.get("/metrics")).text
    values = dict(line.rsplit(" ", 1) for line in text.splitlines() if line[0] != "#")
    assert values['segue_trainer_jobs_total{status="succeeded"}'] == "1.0"
    assert 0 < float(values['segue_trainer_loss{part="train"}']) < 1
    assert 0 < float(values["segue_trainer_model_age_seconds"]) < 60
    assert float(values["segue_trainer_peak_memory_bytes"]) > 2**20
    assert float(values['segue_trainer_training_seconds_count{status="succeeded"}']) == 1
    for stage in ("reading", "training", "neighbours", "publishing"):
        assert values[f'segue_trainer_stage_seconds_count{{stage="{stage}"}}'] == "1.0"


async def test_ready_names_its_parts(client: httpx.AsyncClient) -> None:
    answer = await client.get("/health/ready")
    assert answer.status_code == 200
    assert answer.json()["parts"] == {"redis": "ok", "postgres": "ok"}


@pytest.mark.usefixtures("database")
async def test_it_starts_without_redis_and_postgres_and_is_not_ready(settings: Settings) -> None:
    nowhere = settings.model_copy(
        update={
            "redis_url": "redis://127.0.0.1:1/0",
            "postgres_dsn": "postgresql://postgres@127.0.0.1:1/segue",
        }
    )
    async with serving(nowhere) as client:
        parts = (await client.get("/health/ready")).json()["parts"]
        assert parts["redis"].startswith("down")
        assert parts["postgres"].startswith("down")
        assert (await client.post("/train")).status_code == 503
        assert (await client.get("/models")).status_code == 503


@pytest.mark.parametrize("recipe", ["track_only", "session"])
@pytest.mark.usefixtures("playbacks")
async def test_the_same_seed_and_log_give_the_same_bits(
    client: httpx.AsyncClient, redis: Redis, recipe: str
) -> None:
    first, second = [(await train(client, recipe=recipe))["model_version"] for _ in range(2)]
    manifests = [(await fetch_model(redis, version)).manifest for version in (first, second)]
    assert manifests[0].checksums == manifests[1].checksums
    assert manifests[1].parent == first
    assert json.dumps(manifests[0].parameters) == json.dumps(manifests[1].parameters)


async def test_playbacks_of_one_user_fail_and_leave_what_serves(
    client: httpx.AsyncClient, database: PostgresServer, redis: Redis, catalog: Catalog
) -> None:
    playbacks = make_block_playbacks(catalog, n_sessions=60)
    await store_playbacks(database.dsn, playbacks)
    serving_version = (await train(client))["model_version"]
    await empty_events(database.dsn)
    playbacks["user"] = 7
    await store_playbacks(database.dsn, playbacks)
    for recipe in ("artist_concat", "session"):
        job = await train(client, recipe=recipe)
        assert job["status"] == "failed"
        assert "one user only" in job["error"]
    assert await fetch_latest_version(redis) == serving_version


async def test_a_log_told_twice_and_out_of_order_gives_the_same_version(
    client: httpx.AsyncClient, database: PostgresServer, redis: Redis, catalog: Catalog
) -> None:
    playbacks = make_block_playbacks(catalog, n_sessions=100)
    await store_playbacks(database.dsn, playbacks)
    first = (await train(client))["model_version"]
    again = playbacks[::7].copy()
    again["at"] += 1000  # another event, of the same position of the same session
    again = again[again["position"] > 0]
    await empty_events(database.dsn)
    await store_playbacks(database.dsn, np.append(playbacks, again)[::-1])
    job = await train(client, promote="always")
    manifests = [(await fetch_model(redis, v)).manifest for v in (first, job["model_version"])]
    assert manifests[0].checksums == manifests[1].checksums


async def test_a_window_of_days_is_relative_to_now(
    client: httpx.AsyncClient, database: PostgresServer, catalog: Catalog, redis: Redis
) -> None:
    now_us, day_us = int(time.time() * 1e6), 86_400_000_000
    old, recent = (make_block_playbacks(catalog, n_sessions=50, seed=seed) for seed in (0, 1))
    for playbacks, days_ago in ((old, 9), (recent, 2)):
        playbacks["at"] += now_us - days_ago * day_us - int(playbacks["at"].min())
        await store_playbacks(database.dsn, playbacks)
    job = await train(client, window_days=3)
    assert job["status"] == "succeeded", job
    assert job["progress"]["playbacks"] == len(recent)
    assert (await train(client, window_days=30))["progress"]["playbacks"] == 2 * len(recent)
    assert "none in this window" in (await train(client, window_days=0.5))["error"]
