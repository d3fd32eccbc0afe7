"""The same episodes in one process, in several, and on a Ray cluster of two nodes."""

import json
import multiprocessing
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from simulator.adapters.world_files import load_world
from simulator.cli import main
from simulator.core.bounds import Oracle
from simulator.core.dynamics import Sessions
from simulator.core.policies import Choice, Policy, Random, StickyArtist
from simulator.core.world import make_dynamics
from simulator.engines import EngineError, play_in_processes
from simulator.rollout import Playbacks, simulate
from tests.conftest import free_port
from tests.on_ray import needs_ray, run_with_ray
from tests.unit.simulator.worlds import make_small_dynamics

DYNAMICS = make_small_dynamics()
COLUMNS = ("episode", "user", "position", "track", "time", "propensity", "fell_back")


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("worlds") / "small"
    words = ["--tracks", "1000", "--users", "100", "--seed", "7"]
    assert main(["world", "make", str(folder), *words]) == 0
    return folder


def assert_same(ours: list[Playbacks], theirs: list[Playbacks]) -> None:
    assert len(ours) == len(theirs)
    for mine, other in zip(ours, theirs, strict=True):
        for column in COLUMNS:
            mine_column, other_column = getattr(mine, column), getattr(other, column)
            assert np.array_equal(mine_column, other_column, equal_nan=column == "propensity")


def make_policies() -> list[Policy]:
    policies: list[Policy] = [
        Random(DYNAMICS.n_tracks),
        StickyArtist(DYNAMICS.artist_rows),
        Oracle(DYNAMICS),
    ]
    for policy in policies:
        policy.batch_size = 16
    return policies


@pytest.mark.parametrize("policy", make_policies(), ids=lambda policy: policy.name)
def test_processes_play_what_one_process_plays(policy: Policy) -> None:
    episodes = np.arange(150)
    here = list(simulate(DYNAMICS, policy, seed=3, episodes=episodes))
    there = list(play_in_processes(DYNAMICS, policy, seed=3, episodes=episodes, n_workers=2))
    assert len(here) == 10
    assert_same(there, here)


def test_processes_end_with_the_run_that_does_not_want_the_rest() -> None:
    policy = Random(DYNAMICS.n_tracks)
    policy.batch_size = 8
    before = {name: value for name, value in os.environ.items() if name.endswith("_NUM_THREADS")}
    batches = play_in_processes(DYNAMICS, policy, seed=3, episodes=np.arange(800), n_workers=2)
    assert isinstance(batches, Iterator)
    next(batches)
    assert len(multiprocessing.active_children()) == 2
    batches.close()  # type: ignore[attr-defined]
    assert multiprocessing.active_children() == []
    after = {name: value for name, value in os.environ.items() if name.endswith("_NUM_THREADS")}
    assert after == before


class Deadly(Random):
    """Ends the process that it plays in."""

    def recommend(self, sessions: Sessions) -> Choice:
        os._exit(7)


def test_a_worker_that_dies_ends_the_run_with_its_reason() -> None:
    episodes = np.arange(100)
    with pytest.raises(EngineError, match="a worker process died"):
        list(play_in_processes(DYNAMICS, Deadly(400), seed=3, episodes=episodes, n_workers=1))


def test_the_command_prints_the_same_with_processes(
    world: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["simulate", "--world", str(world), "--sessions", "9000", "--json"]
    assert main(words) == 0
    here = capsys.readouterr().out
    assert main([*words, "--engine", "processes", "--workers", "2"]) == 0
    assert capsys.readouterr().out == here


ON_TWO_NODES = """
import os, sys
import numpy as np
from ray.cluster_utils import Cluster
from simulator.cli import main
from simulator.core.policies import Random
from simulator.engines import EngineError, play_on_ray
from tests.unit.simulator.worlds import make_small_dynamics

class Deadly(Random):
    def recommend(self, sessions):
        os._exit(7)

cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1})
try:
    cluster.add_node(num_cpus=1)
    cluster.wait_for_nodes()
    words = [*sys.argv[1:], "--engine", "ray", "--address", cluster.address]
    code = main([*words, "--workers", "2"])
    main([*words, "--workers", "3"])  # too many: said, not waited for
    try:
        episodes = np.arange(10)
        list(
            play_on_ray(
                make_small_dynamics(), Deadly(400), seed=1, episodes=episodes, n_workers=1,
                address=cluster.address,
            )
        )
    except EngineError as error:
        print(f"died: {error}", file=sys.stderr)
finally:
    cluster.shutdown()
sys.exit(code)
"""


@needs_ray
def test_a_ray_cluster_of_two_nodes_plays_what_one_process_plays(
    world: Path, ray_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["simulate", "--world", str(world), "--policy", "oracle", "--sessions", "300", "--json"]
    result = run_with_ray(ON_TWO_NODES, words, ray_folder)
    assert result.returncode == 0, result.stderr
    assert main(words) == 0
    there = json.loads(result.stdout.splitlines()[0])
    here = json.loads(capsys.readouterr().out)
    assert there == here
    assert here["n_sessions"] == 300
    assert "error: the Ray cluster has 2 CPUs for 3 workers" in result.stderr
    assert "died: the Ray cluster failed: " in result.stderr


ON_THIS_MACHINE = "import sys; from simulator.cli import main; sys.exit(main(sys.argv[1:]))"


@needs_ray
def test_a_cluster_that_is_not_there_is_said_to_be_away(
    world: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    address = f"127.0.0.1:{free_port()}"
    words = ["simulate", "--world", str(world), "--engine", "ray", "--address", address]
    assert main(words) == 1
    assert f"error: no Ray cluster at {address}: " in capsys.readouterr().err


def test_without_ray_the_extra_is_named(world: Path) -> None:
    code = f"import sys; sys.modules['ray'] = None; {ON_THIS_MACHINE}"
    words = ["simulate", "--world", str(world), "--engine", "ray"]
    result = subprocess.run(
        [sys.executable, "-c", code, *words], capture_output=True, text=True, check=False
    )
    assert result.returncode == 1
    assert "--engine ray needs ray" in result.stderr
    assert "pip install 'segue[ray]'" in result.stderr


def test_a_world_on_disk_reaches_the_workers(world: Path) -> None:
    """Its embeddings are a memory map, which must not be written to."""
    dynamics = make_dynamics(load_world(world))
    policy = Random(dynamics.n_tracks)
    policy.batch_size = 32
    here = list(simulate(dynamics, policy, seed=1, episodes=np.arange(100)))
    there = play_in_processes(dynamics, policy, seed=1, episodes=np.arange(100), n_workers=2)
    assert_same(list(there), here)
