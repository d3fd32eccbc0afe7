"""Claim: in process, over 20,000 sessions/s per core.

python -m benchmarks.simulator_speed [--sessions N]

The world has 50,000 tracks and 10,000 users. Rates are per CPU second, the first tracks already
found. The plain loop is the tests' reference: one session, one track at a time.
"""

import argparse
import time

import numpy as np

from simulator.core.dynamics import Dynamics
from simulator.core.policies import Policy, Random, StickyArtist
from simulator.core.world import WorldParameters, make_dynamics, make_world
from simulator.live import prepare
from simulator.rollout import simulate_sessions
from tests.unit.simulator.reference import ReferenceSession, play_reference, recommend_random

_N_PLAIN = 500
_SEED = 1


class PlainSession(ReferenceSession):
    """A reference session whose first tracks are already found, as the batch's are."""

    def find_nearest(self, interest_row: int) -> list[int]:
        """Look the nearest tracks up."""
        rows = np.array([interest_row], dtype=np.int32)
        return [int(row) for row in self.dynamics.nearest.find(rows)[0]]


def measure_policy(dynamics: Dynamics, policy: Policy, n_sessions: int) -> float:
    """Return sessions per CPU second."""
    started = time.process_time()
    simulate_sessions(dynamics, policy, seed=_SEED, episodes=np.arange(n_sessions))
    return n_sessions / (time.process_time() - started)


def measure_plain(dynamics: Dynamics) -> float:
    """Return sessions per CPU second of the plain loop, with random tracks."""
    started = time.process_time()
    for episode in range(_N_PLAIN):
        play_reference(
            dynamics, recommend_random, seed=_SEED, episode=episode, session_type=PlainSession
        )
    return _N_PLAIN / (time.process_time() - started)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sessions", type=int, default=100_000)
    arguments = parser.parse_args()
    started = time.perf_counter()
    world = make_world(WorldParameters())
    print(f"world of 50,000 tracks and 10,000 users made in {time.perf_counter() - started:.1f} s")
    dynamics = make_dynamics(world)
    started = time.process_time()
    prepare(dynamics, _SEED, np.arange(arguments.sessions))
    print(f"first tracks of {arguments.sessions:,} sessions: {time.process_time() - started:.1f} s")
    plain = measure_plain(dynamics)
    print(f"plain loop        {plain:>9,.0f} sessions/s")
    for policy in (Random(dynamics.n_tracks), StickyArtist(dynamics.artist_rows)):
        rate = measure_policy(dynamics, policy, arguments.sessions)
        print(f"{policy.name:17} {rate:>9,.0f} sessions/s, {rate / plain:.0f} times the plain loop")


if __name__ == "__main__":
    main()
