"""`world make`, `world import`, `world check`."""

import argparse
from pathlib import Path

import numpy as np
from rich.console import Console

from simulator.adapters.world_files import (
    EMBEDDINGS,
    WorldManifest,
    create_world,
    import_world,
    load_manifest,
    load_world,
)
from simulator.core.policies import Random
from simulator.core.summary import Summary
from simulator.core.world import World, WorldParameters, make_dynamics
from simulator.rollout import simulate_sessions

# Worlds average 2.1 to 2.25 (WORLD.md). One world may lie three standard deviations of 0.08 beside
# that: 64 genres draw the length of all their tracks once.
_LEAST_TIME, _MOST_TIME = 1.9, 2.45
_N_SESSIONS = 20_000
_SIGMAS = 4.0
# Of botify's embeddings: its rows lie nearest to WORLD.md's among the first ten.
_BOTIFY_SEED = 7


def add_parsers(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the command and its parts."""
    world = commands.add_parser("world", help="make, import or check a world")
    parts = world.add_subparsers(dest="part", required=True)
    make = parts.add_parser("make", help="generate a world into a folder")
    make.add_argument("folder", type=Path)
    make.add_argument("--tracks", type=int, default=50_000)
    make.add_argument("--artists", type=int, help="default: a tenth of the tracks")
    make.add_argument("--users", type=int, default=10_000)
    make.add_argument("--seed", type=int, default=0)
    make.set_defaults(run=run_make)
    bring = parts.add_parser("import", help="make a world of botify's files")
    bring.add_argument("source", type=Path, help="holds tracks.json, users.json, maybe tracks.npy")
    bring.add_argument("folder", type=Path)
    bring.add_argument(
        "--seed", type=int, default=_BOTIFY_SEED, help="of embeddings that are not given"
    )
    bring.set_defaults(run=run_import)
    check = parts.add_parser("check", help="verify a world and play random in it")
    check.add_argument("folder", type=Path)
    check.add_argument("--seed", type=int, default=0)
    check.set_defaults(run=run_check)


def run_make(arguments: argparse.Namespace, console: Console) -> int:
    """Generate a world."""
    parameters = WorldParameters(
        n_tracks=arguments.tracks,
        n_artists=arguments.artists or max(1, arguments.tracks // 10),
        n_users=arguments.users,
        seed=arguments.seed,
    )
    _show(console, arguments.folder, create_world(parameters, arguments.folder))
    return 0


def run_import(arguments: argparse.Namespace, console: Console) -> int:
    """Make a world of botify's files."""
    manifest = import_world(arguments.source, arguments.folder, seed=arguments.seed)
    if manifest.embeddings == "generated":
        console.print(
            f"{arguments.source / EMBEDDINGS} is absent: embeddings are generated "
            f"for this catalogue with seed {arguments.seed}",
            markup=False,
        )
    _show(console, arguments.folder, manifest)
    return 0


def run_check(arguments: argparse.Namespace, console: Console) -> int:
    """Verify a world; fail if its numbers are not those of a standard world."""
    world = load_world(arguments.folder)
    _show(console, arguments.folder, load_manifest(arguments.folder))
    summary = play_random(world, arguments.seed)
    faults = find_faults(summary, budget=5.0)
    console.print(f"random: time {summary.time}, tracks {summary.tracks}", markup=False)
    console.print(f"tracks - time: {summary.excess}; the budget is 5", markup=False)
    for fault in faults:
        console.print(f"fault: {fault}", markup=False)
    if not faults:
        console.print("ok")
    return 1 if faults else 0


def play_random(world: World, seed: int) -> Summary:
    """Play the random policy."""
    dynamics = make_dynamics(world)
    policy = Random(dynamics.n_tracks)
    return simulate_sessions(dynamics, policy, seed=seed, episodes=np.arange(_N_SESSIONS))


def find_faults(summary: Summary, *, budget: float) -> list[str]:
    """Say what is not as in a standard world; nothing if all is."""
    faults = []
    slack = summary.time.margin
    if not _LEAST_TIME - slack <= summary.time.mean <= _MOST_TIME + slack:
        faults.append(f"random gives {summary.time}, outside {_LEAST_TIME} to {_MOST_TIME}")
    if abs(summary.excess.mean - budget) > _SIGMAS * summary.excess.standard_error:
        faults.append(f"tracks exceed time by {summary.excess}, not by the budget {budget:g}")
    return faults


def _show(console: Console, folder: Path, manifest: WorldManifest) -> None:
    console.print(
        f"{folder}: {manifest.n_tracks:,} tracks by {manifest.n_artists:,} artists, "
        f"{manifest.n_users:,} users, {manifest.origin}, seed {manifest.seed}",
        markup=False,
    )
