"""Claim: on botify's catalogue the standard world gives the rows of WORLD.md.

python -m benchmarks.world_bounds --source FOLDER_OF_BOTIFYS_FILES [--seeds 0 1 2]

Prints the mean time per session of each policy, with 95% intervals, for some seeds of the generated
embeddings, and their mean over the seeds: 64 genres draw their norms once per world, so the rows
of two worlds differ by more than either's interval.
"""

import argparse
from pathlib import Path

import msgspec
import numpy as np

from shared.catalog import load_catalog
from simulator.core.bounds import Oracle, PerfectContext
from simulator.core.dynamics import Dynamics
from simulator.core.listeners import User
from simulator.core.policies import Policy, Random, StickyArtist
from simulator.core.world import World, make_dynamics, make_embeddings_for
from simulator.rollout import simulate_sessions

PUBLISHED = {
    "random": "2.15 ± 0.04",
    "sticky_artist": "3.02 ± 0.03",
    "perfect_context": "165 ± 12",
    "oracle": "475 ± 22",
}


def make_policies(dynamics: Dynamics, n_sessions: int) -> list[tuple[Policy, int]]:
    """Make the policies and the number of sessions that each can afford."""
    return [
        (Random(dynamics.n_tracks), n_sessions),
        (StickyArtist(dynamics.artist_rows, replays=True), n_sessions),
        (PerfectContext(dynamics), n_sessions // 10),
        (Oracle(dynamics), n_sessions // 10),
    ]


def main() -> None:
    """Play and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--source", type=Path, required=True)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--sessions", type=int, default=6_000)
    arguments = parser.parse_args()
    catalog = load_catalog(arguments.source / "tracks.json")
    lines = (arguments.source / "users.json").read_bytes().splitlines()
    users = tuple(msgspec.json.decode(line, type=User) for line in lines)
    means: dict[str, list[float]] = {}
    for seed in arguments.seeds:
        world = World(catalog, make_embeddings_for(catalog, users, seed), users)
        dynamics = make_dynamics(world)
        for policy, n_sessions in make_policies(dynamics, arguments.sessions):
            summary = simulate_sessions(dynamics, policy, seed=1, episodes=np.arange(n_sessions))
            means.setdefault(policy.name, []).append(summary.time.mean)
            print(f"seed {seed}  {policy.name:16} {summary.time}", flush=True)
    for name, values in means.items():
        spread = f"{min(values):.2f} to {max(values):.2f}"
        print(f"{name:16} mean {np.mean(values):8.3f}, {spread:18} WORLD.md {PUBLISHED[name]}")


if __name__ == "__main__":
    main()
