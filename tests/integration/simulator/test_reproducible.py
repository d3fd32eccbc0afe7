"""The real recommender answers a seed alike: restarted, at any concurrency, from two processes."""

import contextlib
import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from redis.asyncio import Redis

from deploy.local.servers import ValkeyServer
from shared.artifacts import publish_model
from simulator.adapters.saved_runs import SavedRun, load_run
from simulator.adapters.world_files import load_world
from simulator.cli import main
from tests.conftest import free_port, running
from tests.unit.recommender.factories import make_version

N_EPISODES = 120
EXPERIMENTS = """
serving: SERVING
experiments:
  - name: SERVING
    treatments:
      - {name: C, recommender: random}
      - {name: T1, recommender: contextual}
      - {name: T2, recommender: session}
  - name: AA
    treatments: [{name: C}, {name: T1}]
"""
WAYS = {
    "one by one": ("run", "--concurrency", "1"),
    "256 at once": ("run", "--concurrency", "256"),
    "in two processes": ("multi", "--processes", "2", "--concurrency", "8"),
}


@contextlib.contextmanager
def recommending(folder: Path, port: int) -> Iterator[None]:
    """Run the recommender as it is deployed: a process of its own."""
    command = [sys.executable, "-m", "services.recommender"]
    with running(command, port=port, log=folder / "log"):
        yield


@pytest.fixture
async def laboratory(
    redis: Redis, valkey: ValkeyServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> int:
    """Return the port of a recommender to come, beside a world, experiments and a model."""
    world, experiments = tmp_path / "world", tmp_path / "experiments.yaml"
    assert main(["world", "make", str(world), "--tracks", "1000", "--users", "100"]) == 0
    await publish_model(redis, make_version("m1", load_world(world).catalog))
    experiments.write_text(EXPERIMENTS)
    port = free_port()
    for name, value in {
        "SEGUE_REDIS_URL": valkey.url,
        "SEGUE_RECOMMENDER_CATALOG": world / "tracks.json",
        "SEGUE_RECOMMENDER_EXPERIMENTS": experiments,
        "SEGUE_RECOMMENDER_PORT": port,
        "SEGUE_RECOMMENDER_DEADLINE_S": 5,
        "SEGUE_SIMULATOR_WORLD": world,
        "SEGUE_SIMULATOR_RECOMMENDER__URL": f"http://127.0.0.1:{port}",
        "PYTHONPATH": os.getcwd(),
    }.items():
        monkeypatch.setenv(name, str(value))
    return port


def test_a_seed_is_answered_alike(
    laboratory: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    capsys.readouterr()
    summaries: dict[str, Any] = {}
    runs: dict[str, SavedRun] = {}
    for way, words in WAYS.items():
        saved = str(tmp_path / way)
        with recommending(tmp_path, laboratory):  # a new one for each
            before = ["--episodes", str(N_EPISODES)]
            assert main([*before, *words, "--seed", "5", "--json", "--save", saved]) == 0
        summaries[way] = json.loads(capsys.readouterr().out)
        runs[way] = load_run(Path(saved))
    first = runs["one by one"].sessions
    assert len(first) == N_EPISODES
    served = {playback.recommender for session in first for playback in session.playbacks}
    assert served >= {"random", "contextual", "session"}
    users = [session.user for session in first]
    assert len(set(users)) < len(users)  # some listen twice
    for way, run in runs.items():
        assert run.sessions == first, way
        assert summaries[way] == summaries["one by one"], way
