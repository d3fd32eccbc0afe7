"""Claim: the recipe `session` learns from 630,000 playbacks in seconds and in little memory.

python -m benchmarks.session_training [--world-seed 1] [--sessions 97000] [--threads 2]

Plays a history in a standard world, saves its playbacks, and trains on them in a process of its
own, which has nothing else in memory: prints the seconds of its stages, of CPU and of the clock,
and the most memory that it held, the interpreter and torch included.
"""

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from services.trainer.training_process import ENVIRONMENT
from shared.catalog import Catalog, load_catalog

RECIPES = ("session", "artist_concat", "track_only")


def play(folder: Path, *, seed: int, n_sessions: int) -> int:
    """Save a history's playbacks and catalogue; return how many playbacks were recommended."""
    from benchmarks.published_recipes import to_playbacks
    from simulator.core.world import WorldParameters, make_dynamics, make_world
    from simulator.history import play_history

    world = make_world(WorldParameters(seed=seed))
    history = play_history(make_dynamics(world), seed=seed, n_sessions=n_sessions)
    np.save(folder / "playbacks.npy", to_playbacks(history, world.catalog))
    (folder / "tracks.json").write_bytes(world.catalog.to_json_lines())
    return history.n_playbacks - history.n_sessions


def train(folder: Path, *, recipe: str, n_threads: int) -> None:
    """Train on what was saved, and print what it took."""
    import torch

    from services.trainer.core.playbacks import make_log
    from services.trainer.core.presets import make_parameters
    from services.trainer.core.recipe import fit_recipe

    torch.set_num_threads(n_threads)
    catalog: Catalog = load_catalog(folder / "tracks.json")
    before = _peak_gib()
    cpu, clock = time.process_time(), time.perf_counter()
    stages: list[tuple[str, float]] = []

    def report(stage: str, **fields: Any) -> None:
        del fields
        if not stages or stages[-1][0] != stage:
            stages.append((stage, time.perf_counter()))

    log = make_log(np.load(folder / "playbacks.npy"))
    fit_recipe(log, catalog, parameters=make_parameters(recipe=recipe), report=report)
    ends = [at for _, at in stages[1:]] + [time.perf_counter()]
    for (stage, at), end in zip(stages, ends, strict=True):
        print(f"  {stage:12} {end - at:7.1f} s")
    spent = f"{time.process_time() - cpu:.1f} s CPU, {time.perf_counter() - clock:.1f} s clock"
    print(
        f"{recipe}: {spent} "
        f"with {n_threads} threads, at most {_peak_gib():.2f} GiB ({before:.2f} before it began)"
    )


def _peak_gib() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def main() -> None:
    """Play, and train in a fresh process."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--world-seed", type=int, default=1)
    parser.add_argument("--sessions", type=int, default=97_000)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--recipe", choices=RECIPES, default="session")
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)  # the fresh process's
    options = parser.parse_args()
    if options.folder is not None:
        train(options.folder, recipe=options.recipe, n_threads=options.threads)
        return
    with tempfile.TemporaryDirectory() as name:
        n = play(Path(name), seed=options.world_seed, n_sessions=options.sessions)
        print(f"{n:,} recommended playbacks, after {options.sessions:,} first tracks", flush=True)
        arguments = ["--threads", str(options.threads), "--recipe", options.recipe]
        # Threads are counted when the libraries are loaded.
        environment = os.environ | ENVIRONMENT | {"OMP_NUM_THREADS": str(options.threads)}
        subprocess.run(
            [sys.executable, "-m", "benchmarks.session_training", *arguments, "--folder", name],
            check=True,
            env=environment,
        )


if __name__ == "__main__":
    main()
