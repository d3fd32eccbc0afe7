"""What 50,000 tracks take: of a worker's memory, of Redis', of the folder that workers share."""

import asyncio
from datetime import UTC, datetime
from pathlib import Path

import httpx
import psutil
import pytest
from redis.asyncio import Redis

from benchmarks.synthetic import make_synthetic_arrays, make_synthetic_catalog
from deploy.local.servers import ValkeyServer
from shared.artifacts import ModelManifest, make_model, publish_model
from shared.catalog_store import CATALOG_KEY
from shared.event_stream import STREAM_KEY
from tests.integration.recommender.test_process import find_workers, run_service
from tests.unit.recommender.factories import make_settings

N_TRACKS = 50_000
CATALOG = make_synthetic_catalog(N_TRACKS)
EXPERIMENTS = """
serving: S
experiments:
  - name: S
    treatments: [{name: C, recommender: contextual}, {name: T1, recommender: session}]
"""


async def publish(redis: Redis, version: str = "m1") -> None:
    manifest = ModelManifest(
        model_version=version,
        recipe="session",
        created_at=datetime.now(UTC),
        catalog_checksum=CATALOG.checksum,
    )
    await publish_model(redis, make_model(manifest, make_synthetic_arrays(N_TRACKS, 32)))


def mapped_arrays(process: psutil.Process) -> dict[str, int]:
    """Return path and resident bytes of the arrays that a process has mapped."""
    maps = process.memory_maps(grouped=True)
    return {m.path: m.rss for m in maps if m.path.endswith(".npy")}


async def test_workers_share_their_arrays_and_stay_small(
    valkey: ValkeyServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_settings(tmp_path).catalog.write_bytes(CATALOG.to_json_lines())
    (tmp_path / "experiments.yaml").write_text(EXPERIMENTS)
    tracks = tmp_path / "many.json"
    tracks.write_bytes(CATALOG.to_json_lines())
    environment = {"SEGUE_RECOMMENDER_WORKERS": 2, "SEGUE_RECOMMENDER_CATALOG": tracks}
    with run_service(valkey, tmp_path, monkeypatch, **environment) as (url, process):
        async with Redis.from_url(valkey.url) as redis:
            await publish(redis)
            async with asyncio.timeout(60):
                while not all(mapped_arrays(w) for w in find_workers(process)):  # noqa: ASYNC110
                    await asyncio.sleep(0.1)
                while True:  # each connection is some worker's: until both have served
                    await play(url, redis)
                    arrays = [mapped_arrays(worker) for worker in find_workers(process)]
                    if arrays[0].keys() == arrays[1].keys() and len(arrays[0]) >= 6:
                        break
            assert await redis.memory_usage(CATALOG_KEY, samples=0) / N_TRACKS < 80
            assert await model_bytes(redis) / N_TRACKS < 600
        for worker in find_workers(process):
            assert worker.memory_info().rss < 250e6


async def play(url: str, redis: Redis) -> None:
    """Play sessions of thirty tracks, and look at what they leave in Redis."""
    await redis.delete(STREAM_KEY)
    async with httpx.AsyncClient(base_url=url, timeout=30) as client:
        for user in range(4):
            track = 5
            for _ in range(30):
                body = {"track": track, "time": 0.5}
                answer = (await client.post(f"/next/{user}", json=body)).json()
                track = answer["track"]
            usage = await redis.memory_usage(f"segue:session:{user}", samples=0)
            assert usage < {"contextual": 500, "session": 9_000}[answer["recommender"]]
    assert await redis.memory_usage(STREAM_KEY, samples=0) / 120 < 600


async def model_bytes(redis: Redis) -> int:
    keys = await redis.keys("segue:{models}:m1:*")
    assert len(keys) > 10
    usages = [await redis.memory_usage(key, samples=0) for key in keys]
    return sum(usage for usage in usages if usage)
