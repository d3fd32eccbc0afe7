"""Trainings whose parts are done on a Ray cluster make the bits that one process makes."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from redis.asyncio import Redis

from deploy.local.servers import PostgresServer, ValkeyServer
from shared.artifacts import ModelVersion, fetch_model
from shared.model_files import load_model
from tests.conftest import free_port
from tests.integration.trainer.stack import make_settings, serving, train
from tests.on_ray import needs_ray, run_with_ray
from tests.unit.trainer.session_world import plant

RECIPES = ("session", "artist_concat")
TAKES_TIME = ("training_s", "peak_memory_bytes")

ON_TWO_NODES = """
import sys
from ray.cluster_utils import Cluster
from services.trainer.__main__ import main

cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1})
try:
    cluster.add_node(num_cpus=1)
    cluster.wait_for_nodes()
    folder, *words = sys.argv[1:]
    words += ["--engine", "ray", "--address", cluster.address]
    for recipe in ("session", "artist_concat"):
        main([*words, "--recipe", recipe, "--model", f"{folder}/ray/{recipe}"])
    main([*words, "--workers", "3"])  # too many: said, not waited for
finally:
    cluster.shutdown()
"""


def write_log(folder: Path) -> list[str]:
    """Write botify's files; return the command that trains on them."""
    playbacks = plant().playbacks
    playbacks = playbacks[playbacks["session_low"] < 2000]
    last = np.append(playbacks["session_low"][1:] != playbacks["session_low"][:-1], True)
    users = playbacks["user"] + 2100 * (playbacks["session_low"] % 3)  # 900 listeners
    lines = [
        json.dumps(
            {
                "message": "last" if ends else "next",
                "timestamp": int(row["at"]) // 1000 + int(row["position"]),
                "user": int(user),
                "track": int(row["track"]),
                "time": round(float(row["time"]), 2),
            }
        )
        for row, ends, user in zip(playbacks, last, users, strict=True)
    ]
    (folder / "data.json").write_text("\n".join(lines))
    (folder / "tracks.json").write_bytes(plant().catalog.to_json_lines())
    paths = {"--log": "data.json", "--tracks": "tracks.json", "--out": "out.json"}
    named = [word for name, file in paths.items() for word in (name, str(folder / file))]
    return ["fit", *named, "--dim", "8", "--epochs", "2", "--neighbours", "10"]


def assert_same(one: ModelVersion, other: ModelVersion) -> None:
    assert one.manifest.checksums == other.manifest.checksums
    metrics, others = (
        {name: value for name, value in each.manifest.metrics.items() if name not in TAKES_TIME}
        for each in (one, other)
    )
    assert metrics == others


@needs_ray
def test_two_nodes_train_what_one_process_trains(tmp_path: Path, ray_folder: Path) -> None:
    words = write_log(tmp_path)
    result = run_with_ray(ON_TWO_NODES, [str(tmp_path), *words], ray_folder)
    assert result.returncode == 0, result.stderr
    assert "the Ray cluster has 2 CPUs for 3 workers" in result.stderr
    for recipe in RECIPES:
        folder = tmp_path / "here" / recipe
        more = ("--recipe", recipe, "--model", str(folder))
        subprocess.run(
            [sys.executable, "-m", "services.trainer", *words, *more],
            env=os.environ | {"OMP_NUM_THREADS": "1"},  # as on the cluster
            check=True,
            capture_output=True,
        )
        assert_same(load_model(folder), load_model(tmp_path / "ray" / recipe))


@needs_ray
@pytest.mark.usefixtures("playbacks")
async def test_a_request_trains_on_ray(
    valkey: ValkeyServer,
    database: PostgresServer,
    redis: Redis,
    tmp_path: Path,
    ray_folder: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("RAY_TMPDIR", str(ray_folder))
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    settings = make_settings(valkey, database, tmp_path / "trainer", ray_workers=1)
    async with serving(settings) as client:
        job = await train(client, recipe="session", engine="ray")
    assert job["status"] == "succeeded", job
    model = await fetch_model(redis, job["model_version"])
    assert model.manifest.parameters["engine"] == "ray"


@needs_ray
@pytest.mark.usefixtures("playbacks")
async def test_a_cluster_that_is_away_fails_the_job(
    valkey: ValkeyServer, database: PostgresServer, redis: Redis, tmp_path: Path
) -> None:
    address = f"127.0.0.1:{free_port()}"
    settings = make_settings(valkey, database, tmp_path / "trainer", ray_address=address)
    async with serving(settings) as client:
        job = await train(client, engine="ray")
    assert job["status"] == "failed"
    assert job["error"].startswith(f"no Ray cluster at {address}: ")
