"""Claim: the trainer's recipes reach what botify published for them.

python -m benchmarks.published_recipes --source FOLDER_OF_BOTIFYS_FILES [--seeds 0 1 2]

For some seeds of the standard world: plays a history of simple recommenders, trains each recipe on
it with the default parameters, and prints the mean time per session of its neighbours, one drawn
at random, with 95% intervals; and what the training took. The sessions are new, their listeners
are those of the history. Its last policy is not botify's, so that the figures stand beside the
published ones, but do not repeat them.
"""

import argparse
import resource
import time
from pathlib import Path
from typing import Any, get_args

import msgspec
import numpy as np
import numpy.typing as npt

from services.trainer.core.parameters import RecipeName, TrainingParameters, report_nothing
from services.trainer.core.playbacks import PLAYBACK, make_log
from services.trainer.core.recipe import Fitted, fit_recipe
from shared.catalog import Catalog, load_catalog
from simulator.core.dynamics import Dynamics
from simulator.core.listeners import User
from simulator.core.policies import Contextual, Random
from simulator.core.world import World, make_dynamics, make_embeddings_for
from simulator.history import History, play_history
from simulator.rollout import simulate_sessions

PUBLISHED = {"random": "2.12", "track_only": "3.52", "artist_concat": "4.12"}


def to_playbacks(history: History, catalog: Catalog) -> npt.NDArray[Any]:
    """Return a history as the trainer reads it from Postgres."""
    playbacks = np.zeros(history.n_playbacks, PLAYBACK)
    for name in ("position", "user", "time"):
        playbacks[name] = np.concatenate([getattr(part, name) for part in history.parts])
    episodes = np.concatenate([part.episode for part in history.parts])
    playbacks["session_low"] = episodes
    playbacks["track"] = catalog.track_ids[np.concatenate([p.track for p in history.parts])]
    playbacks["at"] = episodes * 1_000_000 + playbacks["position"]
    return playbacks


def fit(playbacks: npt.NDArray[Any], catalog: Catalog, recipe: RecipeName) -> Fitted:
    """Train with the default parameters; print what it took."""
    started = time.monotonic()
    parameters = TrainingParameters(recipe=recipe)
    log = make_log(playbacks)
    fitted = fit_recipe(log, catalog, parameters=parameters, report=report_nothing)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(
        f"  {recipe}: {len(playbacks):,} playbacks, {time.monotonic() - started:.0f} s, "
        f"at most {peak:.2f} GiB with the world, "
        + ", ".join(f"{name} {value:.4g}" for name, value in fitted.metrics.items())
    )
    return fitted


def measure(policy: Contextual | Random, dynamics: Dynamics, n_sessions: int) -> str:
    """Play sessions that the history does not have; return the mean time of one."""
    episodes = np.arange(n_sessions)
    return str(simulate_sessions(dynamics, policy, seed=99, episodes=episodes).time)


def main() -> None:
    """Play, train, play and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--source", type=Path, required=True)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--history", type=int, default=97_000, help="sessions")
    parser.add_argument("--sessions", type=int, default=6_000, help="to measure on")
    arguments = parser.parse_args()
    catalog = load_catalog(arguments.source / "tracks.json")
    lines = (arguments.source / "users.json").read_bytes().splitlines()
    users = tuple(msgspec.json.decode(line, type=User) for line in lines)
    for seed in arguments.seeds:
        world = World(catalog, make_embeddings_for(catalog, users, seed), users)
        dynamics = make_dynamics(world)
        history = play_history(dynamics, seed=seed, n_sessions=arguments.history)
        playbacks = to_playbacks(history, catalog)
        policies: dict[str, Contextual | Random] = {"random": Random(len(catalog))}
        for recipe in get_args(RecipeName):
            neighbours = fit(playbacks, catalog, recipe).arrays["neighbours"]
            policies[recipe] = Contextual(neighbours, len(catalog))
        for name, policy in policies.items():
            value = measure(policy, dynamics, arguments.sessions)
            print(f"seed {seed}  {name:14} {value}  published {PUBLISHED[name]}", flush=True)


if __name__ == "__main__":
    main()
