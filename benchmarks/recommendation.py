"""Claim: learning a session's taste while it plays is worth several times the published recipe.

python -m benchmarks.recommendation [--world-seed 1] [--history-sessions 97000] [--sessions 600]

Makes a standard world, plays a history of simple recommenders in it, trains the recipes
`artist_concat` and `session` on that, and plays new sessions, one decision at a time through the
code that the service serves with: mean time per session with its 95% interval, median and tracks,
for `random`, `contextual` and `session`. The sessions are the same for all; where a session reaches
`--most-plays` it is cut, which the output counts.
"""

import argparse
import time
from collections.abc import Mapping
from typing import Any, get_args

import msgspec
import numpy as np
import numpy.typing as npt

from benchmarks.published_recipes import to_playbacks
from services.recommender.core.catalog_index import CatalogIndex, make_catalog_index
from services.recommender.core.decisions import Clock, Decider
from services.recommender.core.models import Models, make_served_model
from services.recommender.core.sessions import Report, UserState
from shared.catalog import Catalog
from shared.experiments import parse_experiments
from simulator.core.dynamics import Dynamics
from simulator.core.live_session import LiveSession
from simulator.core.world import WorldParameters, make_dynamics, make_world
from simulator.history import play_history

Arrays = Mapping[str, npt.NDArray[Any]]


def make_decider(index: CatalogIndex, recommender: str, parameters: dict[str, Any]) -> Decider:
    """Serve everybody by one recommender."""
    arms = [{"name": n, "recommender": recommender, "parameters": parameters} for n in ("C", "T1")]
    definition = {"serving": "S", "experiments": [{"name": "S", "treatments": arms}]}
    experiments = parse_experiments(msgspec.yaml.encode(definition))
    return Decider(index, experiments, seed=0, clock=Clock())


def play(
    decider: Decider, models: Models, session: LiveSession, *, index: CatalogIndex, most_plays: int
) -> int:
    """Play a session to its end; return how often a fallback answered."""
    state: UserState | None = None
    n_fallbacks = 0
    while not session.is_over and session.n_tracks < most_plays:
        track = index.track_ids[session.track]
        outcome = decider.decide(Report("next", session.user, track, session.time), state, models)
        state = outcome.state
        assert outcome.event
        assert outcome.event.recommendation is not None
        n_fallbacks += outcome.event.fallback is not None
        session.listen(index.row_of[outcome.event.recommendation])
    return n_fallbacks


def measure(
    name: str,
    parameters: dict[str, Any],
    models: Models,
    *,
    index: CatalogIndex,
    dynamics: Dynamics,
    n_sessions: int,
    most_plays: int,
) -> str:
    """Play sessions that the history does not have; return what they came to."""
    decider = make_decider(index, name, parameters)
    times, n_tracks, n_fallbacks, started = [], 0, 0, time.process_time()
    n_cut = 0
    for episode in range(n_sessions):
        session = LiveSession(dynamics, 99, episode)
        n_fallbacks += play(decider, models, session, index=index, most_plays=most_plays)
        times.append(session.total_time)
        n_tracks += session.n_tracks
        n_cut += not session.is_over
    cost = (time.process_time() - started) / max(n_tracks, 1) * 1e6
    half = 1.96 * np.std(times, ddof=1) / np.sqrt(n_sessions)
    label = " ".join([name, *(f"{key}={value}" for key, value in parameters.items())])
    return (
        f"{label:34} {np.mean(times):7.2f} ± {half:5.2f}  median {np.median(times):7.2f}  "
        f"tracks {n_tracks / n_sessions:7.2f}  cut {n_cut}  fallbacks {n_fallbacks}  "
        f"{cost:4.0f} us CPU a playback, simulation included"
    )


def train(playbacks: npt.NDArray[Any], catalog: Catalog, recipe: str) -> Arrays:
    """Train a recipe with its default parameters."""
    from services.trainer.core.parameters import RecipeName, TrainingParameters, report_nothing
    from services.trainer.core.playbacks import make_log
    from services.trainer.core.recipe import fit_recipe

    if recipe not in get_args(RecipeName):
        raise SystemExit(f"the trainer has no recipe {recipe!r} yet")
    started = time.monotonic()
    parameters: Any = TrainingParameters(recipe=recipe)  # type: ignore[arg-type]
    fitted = fit_recipe(make_log(playbacks), catalog, parameters=parameters, report=report_nothing)
    print(
        f"  {recipe}: {len(playbacks):,} playbacks, {time.monotonic() - started:.0f} s", flush=True
    )
    return fitted.arrays


def main() -> None:
    """Make a world, play, train, play and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--world-seed", type=int, default=1)
    parser.add_argument("--history-sessions", type=int, default=97_000)
    parser.add_argument("--sessions", type=int, default=600)
    parser.add_argument("--most-plays", type=int, default=3_000)
    arguments = parser.parse_args()
    world = make_world(WorldParameters(seed=arguments.world_seed))
    dynamics, index = make_dynamics(world), make_catalog_index(world.catalog)
    history = play_history(
        dynamics, seed=arguments.world_seed, n_sessions=arguments.history_sessions
    )
    playbacks = to_playbacks(history, world.catalog)
    models = {}
    for recipe in ("artist_concat", "session"):
        arrays = train(playbacks, world.catalog, recipe)
        served = make_served_model(recipe, checksum=index.checksum, arrays=arrays, catalog=index)
        models[recipe] = Models({"latest": served})
    variants = {
        "random": "artist_concat",
        "contextual": "artist_concat",
        "session": "session",
    }
    for name, recipe in variants.items():
        line = measure(
            name,
            {},
            models[recipe],
            index=index,
            dynamics=dynamics,
            n_sessions=arguments.sessions,
            most_plays=arguments.most_plays,
        )
        print(line, flush=True)


if __name__ == "__main__":
    main()
