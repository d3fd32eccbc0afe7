"""Claims: worlds of any size in seconds; 20,000 sessions/s per core; memory bounded by the batch.

python -m benchmarks.simulator_in_process [--sessions N] [--tracks N]

Every measurement is a process of its own with one BLAS thread, so that its peak memory is its own;
rates are per CPU second and include the search for the first tracks. The plain loop is what a
simulator without batches does: a session at a time, a search through the catalogue for its first
track, then a track at a time, by the tests' reference. The last lines are the largest world
(--tracks, 0 for none).
"""

import argparse
import multiprocessing
import os
import resource
import tempfile
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from typing import NamedTuple

import numpy as np

from simulator.adapters.world_files import load_world
from simulator.core.dynamics import Dynamics
from simulator.core.policies import Policy, Random, StickyArtist
from simulator.core.world import WorldParameters, make_dynamics
from simulator.rollout import simulate_sessions
from simulator.worlds import create_world
from tests.unit.simulator.reference import ReferenceSession, play_reference, recommend_random

_SEED = 1
_N_PLAIN = 300
_N_SEATS = 4_096
_N_VECTOR_STEPS = 200
_N_LARGE_USERS = 100_000


class Cost(NamedTuple):
    """What a measurement took, and what it counted."""

    wall_s: float
    cpu_s: float
    peak_mb: float
    count: int


class PlainSession(ReferenceSession):
    """A reference session whose first track is found by one product and a partial sort."""

    def find_nearest(self, interest_row: int) -> list[int]:
        """Search the catalogue."""
        scores = self.dynamics.embeddings @ self.interest
        k = min(10, len(scores))
        best = np.argpartition(-scores, k - 1)[:k]
        return [int(row) for row in best[np.argsort(-scores[best])]]


def make(folder: Path, n_tracks: int, n_users: int) -> int:
    """Make a world; return its tracks."""
    parameters = WorldParameters(n_tracks=n_tracks, n_artists=n_tracks // 10, n_users=n_users)
    return create_world(parameters, folder).n_tracks


def load(folder: Path) -> int:
    """Load a world; return its tracks."""
    return len(load_world(folder).catalog)


def play(folder: Path, name: str, n_sessions: int) -> int:
    """Play a policy; return its sessions."""
    dynamics = make_dynamics(load_world(folder))
    policy: Policy = Random(dynamics.n_tracks)
    if name == "sticky_artist":
        policy = StickyArtist(dynamics.artist_rows)
    episodes = np.arange(n_sessions)
    return simulate_sessions(dynamics, policy, seed=_SEED, episodes=episodes).n_sessions


def play_plainly(folder: Path) -> int:
    """Play random with the plain loop; return its sessions."""
    dynamics: Dynamics = make_dynamics(load_world(folder))
    for episode in range(_N_PLAIN):
        play_reference(
            dynamics, recommend_random, seed=_SEED, episode=episode, session_type=PlainSession
        )
    return _N_PLAIN


def step_environments(folder: Path) -> int:
    """Step the vector environment with random tracks; return the playbacks."""
    from simulator.vector_env import ListenerVectorEnv  # an extra

    world = load_world(folder)
    environment = ListenerVectorEnv(_N_SEATS, world)
    environment.reset(seed=_SEED)
    rng = np.random.default_rng(_SEED)
    for _ in range(_N_VECTOR_STEPS):
        environment.step(rng.integers(0, len(world.catalog), _N_SEATS))
    return _N_SEATS * _N_VECTOR_STEPS


def measure(work: Callable[..., int], *arguments: object) -> Cost:
    """Measure work in a process of its own."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_report, args=(theirs, work, arguments))
    process.start()
    cost: Cost = ours.recv()
    process.join()
    return cost


def _report(pipe: Connection, work: Callable[..., int], arguments: tuple[object, ...]) -> None:
    wall, cpu = time.perf_counter(), time.process_time()
    count = work(*arguments)
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    pipe.send(Cost(wall, cpu, peak_mb, count))


def show_world(folder: Path, n_tracks: int, n_users: int) -> None:
    """Make and load a world, and print what that took."""
    made = measure(make, folder, n_tracks, n_users)
    for verb, took in (("made", made), ("loaded", measure(load, folder))):
        print(
            f"world of {n_tracks:>9,} tracks, {n_users:>7,} users {verb:6}  "
            f"{took.wall_s:6.2f} s, {took.cpu_s:6.2f} s of CPU, peak {took.peak_mb:6,.0f} MB",
            flush=True,
        )


def show_rates(folder: Path, n_sessions: int) -> None:
    """Play, and print rates against the plain loop."""
    empty = measure(play, folder, "random", 1).cpu_s  # loading is not playing
    plain_cost = measure(play_plainly, folder)
    plain = _N_PLAIN / (plain_cost.cpu_s - empty)
    print(f"plain loop                 {plain:>9,.0f} sessions/s")
    runs = (("random", n_sessions // 10), ("random", n_sessions), ("sticky_artist", n_sessions))
    for name, n in runs:
        cost = measure(play, folder, name, n)
        rate = n / (cost.cpu_s - empty)
        print(
            f"{name:13} {n:>11,}  {rate:>9,.0f} sessions/s, {rate / plain:,.0f} times the plain "
            f"loop, peak {cost.peak_mb:,.0f} MB",
            flush=True,
        )
    cost = measure(step_environments, folder)
    rate = cost.count / (cost.cpu_s - empty)
    print(f"vector environment, {_N_SEATS:,} seats: {rate:,.0f} steps/s")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sessions", type=int, default=1_000_000)
    parser.add_argument("--tracks", type=int, default=1_000_000)
    arguments = parser.parse_args()
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ[name] = "1"  # of the processes that are measured
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / "standard"
        show_world(folder, 50_000, 10_000)
        show_rates(folder, arguments.sessions)
        if arguments.tracks:
            show_world(Path(scratch) / "large", arguments.tracks, _N_LARGE_USERS)


if __name__ == "__main__":
    main()
