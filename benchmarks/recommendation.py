"""Claim: learning a session's taste while it plays is worth several times the published recipe.

python -m benchmarks.recommendation [--world-seed 1] [--history-sessions 97000] [--sessions 600]
    [--source FOLDER] [--dim 32] [--held-out 0.0] [--ladder] [--no-published]

Makes a standard world, plays a history of simple recommenders in it, trains the recipes
`artist_concat` and `session` on that, and plays new sessions, one decision at a time through the
code that the service serves with: mean time per session with its 95% interval, median and tracks,
for `random`, `contextual` and `session`. The sessions are the same for all; where a session reaches
`--most-plays` it is cut, which the output counts.

`--held-out 0.1` trains `session` as the service does, which judges it by the last sessions before
it takes them in; 0 learns all at once. `--no-published` leaves out `artist_concat`, whose training
is the longer one. `--ladder` plays `session` again with one of its parts taken out at a time: past
interests, anchors that are learnt rather than linear in the first track's embedding, and tracks'
variances raised to what left-out playbacks say.
"""

import argparse
import time
from collections.abc import Mapping
from typing import Any, get_args

import msgspec
import numpy as np
import numpy.typing as npt

from benchmarks.published_recipes import to_playbacks
from benchmarks.standard_world import add_source, make_standard_world
from services.recommender.core.catalog_index import CatalogIndex, make_catalog_index
from services.recommender.core.decisions import Clock, Decider
from services.recommender.core.models import Models, make_served_model
from services.recommender.core.sessions import Report, UserState
from services.trainer.core.session.export import SELECTED
from shared.catalog import Catalog
from shared.definitions import parse_experiments
from simulator.core.dynamics import Dynamics
from simulator.core.live_session import LiveSession, open_session
from simulator.core.world import WorldParameters, make_dynamics
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
        session = open_session(dynamics, 99, episode)
        n_fallbacks += play(decider, models, session, index=index, most_plays=most_plays)
        times.append(session.total_time)
        n_tracks += session.n_tracks
        n_cut += not session.is_over
    cost = (time.process_time() - started) / max(n_tracks, 1) * 1e6
    half = 1.96 * np.std(times, ddof=1) / np.sqrt(n_sessions)
    geometric = np.exp(np.mean(np.log(times)))
    label = " ".join([name, *(f"{key}={value}" for key, value in parameters.items())])
    return (
        f"{label:34} {np.mean(times):7.2f} ± {half:5.2f}  median {np.median(times):7.2f}  "
        f"geometric {geometric:6.2f}  "
        f"tracks {n_tracks / n_sessions:7.2f}  cut {n_cut}  fallbacks {n_fallbacks}  "
        f"{cost:4.0f} us CPU a playback, simulation included"
    )


def take_out_parts(arrays: Arrays, metrics: Mapping[str, float]) -> dict[str, Arrays]:
    """Take parts out of a version of the recipe `session`, one at a time."""
    track = arrays["track_embedding"].astype(float)
    anchor = arrays["context_embedding"].astype(float)
    design = np.hstack([track, np.ones((len(track), 1))])
    linear = design @ np.linalg.lstsq(design, anchor)[0]
    nobody = {name: arrays[name][:0] for name in arrays if name.startswith("interest_")}
    raised = SELECTED * metrics["variance_excess"]
    believed = (arrays["track_variance"] / raised).astype(np.float32)
    return {
        "past interests": {**arrays, **nobody, "interest_prior": arrays["interest_prior"]},
        "learnt anchors": {**arrays, "context_embedding": linear.astype(np.float32)},
        "raised variances": {**arrays, "track_variance": believed},
    }


def train(
    playbacks: npt.NDArray[Any],
    catalog: Catalog,
    recipe: str,
    *,
    dim: int | None,
    held_out: float,
) -> tuple[Arrays, Mapping[str, float]]:
    """Train a recipe; return its arrays and metrics."""
    from services.trainer.core.parameters import (
        DEFAULT_DIMS,
        RecipeName,
        TrainingParameters,
        report_nothing,
    )
    from services.trainer.core.playbacks import make_log
    from services.trainer.core.recipe import fit_recipe

    if recipe not in get_args(RecipeName):
        raise SystemExit(f"the trainer has no recipe {recipe!r} yet")
    started = time.monotonic()
    parameters = TrainingParameters(
        recipe=recipe,  # type: ignore[arg-type]
        dim=dim or DEFAULT_DIMS[recipe],  # type: ignore[index]
        held_out=held_out,
    )
    fitted = fit_recipe(make_log(playbacks), catalog, parameters=parameters, report=report_nothing)
    print(
        f"  {recipe}: {len(playbacks):,} playbacks, {time.monotonic() - started:.0f} s", flush=True
    )
    return fitted.arrays, fitted.metrics


def main() -> None:
    """Make a world, play, train, play and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--world-seed", type=int, default=1)
    add_source(parser)
    parser.add_argument("--history-sessions", type=int, default=97_000)
    parser.add_argument("--sessions", type=int, default=600)
    parser.add_argument("--most-plays", type=int, default=3_000)
    parser.add_argument("--dim", type=int, help="of the recipe session")
    parser.add_argument("--held-out", type=float, default=0.0, help="share of sessions, first")
    parser.add_argument("--ladder", action="store_true", help="without each part, too")
    parser.add_argument("--published", action=argparse.BooleanOptionalAction, default=True)
    arguments = parser.parse_args()
    world = make_standard_world(WorldParameters(seed=arguments.world_seed), arguments.source)
    dynamics, index = make_dynamics(world), make_catalog_index(world.catalog)
    history = play_history(
        dynamics, seed=arguments.world_seed, n_sessions=arguments.history_sessions
    )
    playbacks = to_playbacks(history, world.catalog)
    variants = []
    if arguments.published:
        concat, _ = train(playbacks, world.catalog, "artist_concat", dim=None, held_out=0.1)
        variants += [("random", "", concat), ("contextual", "", concat)]
    session, metrics = train(
        playbacks, world.catalog, "session", dim=arguments.dim, held_out=arguments.held_out
    )
    variants.append(("session", "", session))
    if arguments.ladder:
        parts = take_out_parts(session, metrics)
        variants += [("session", f"without {part}", arrays) for part, arrays in parts.items()]
    for name, note, arrays in variants:
        served = make_served_model("m", checksum=index.checksum, arrays=arrays, catalog=index)
        line = measure(
            name,
            {},
            Models({"latest": served}),
            index=index,
            dynamics=dynamics,
            n_sessions=arguments.sessions,
            most_plays=arguments.most_plays,
        )
        print(line, note, flush=True)


if __name__ == "__main__":
    main()
