"""Claim: the published recipes give here what was published for them, and what else was tried.

python -m benchmarks.published_recipes --source FOLDER_OF_BOTIFYS_FILES [--seeds 0 1 2] [--variants]

On botify's catalogue and listeners, for some seeds of the standard world: plays a history of simple
recommenders, trains every preset on it, and plays new sessions of the same listeners with its
neighbours as botify serves them: one of those of the track just played, at random, whatever the
session has played already. Prints the mean time per session with its 95% interval beside the one
that was published; also the trainer's own defaults, served by the house's rules: neighbours of the
session's first track that it has not played. With `--variants`, also sizes of the embedding and
numbers of sampled negatives, on the first of the seeds.
"""

import argparse
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from services.trainer.core.parameters import TrainingParameters, report_nothing
from services.trainer.core.playbacks import PLAYBACK, make_log
from services.trainer.core.presets import PRESETS, make_parameters
from services.trainer.core.recipe import fit_recipe
from shared.catalog import Catalog, load_catalog
from simulator.core.dynamics import Dynamics
from simulator.core.listeners import IntArray, User
from simulator.core.policies import Contextual, Policy, Random, StickyArtist
from simulator.core.world import World, make_dynamics, make_embeddings_for
from simulator.history import History, play_history
from simulator.rollout import simulate

# Mean time per session in another world of the same kind, and with botify's own embeddings.
PUBLISHED = {
    "random": "2.15 ± 0.04  2.05 to 2.34",
    "sticky_artist": "3.02 ± 0.03  2.99, 3.14",
    "published_track_only": "3.73 ± 0.08  3.52",
    "published_artist_concat_track_half": "3.05 ± 0.06",
    "published_artist_concat": "4.25 ± 0.11  4.12",
}
DIMS = (8, 25, 50, 200)
NEGATIVES = (1, 3, 30)
SEED_OF_SESSIONS = 99


@dataclass(frozen=True)
class Row:
    """A line of the table.

    Attributes:
        name: Of it.
        parameters: Of the training; None needs none.
        by_house_rules: Whether the session's first track counts, and nothing is played twice.
    """

    name: str
    parameters: TrainingParameters | None = None
    by_house_rules: bool = False


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


def list_rows(*, with_variants: bool) -> Iterator[Row]:
    """List what to measure."""
    yield Row("random")
    yield Row("sticky_artist")
    for preset in PRESETS:
        yield Row(preset, make_parameters(preset))
    for recipe in ("track_only", "artist_concat"):
        yield Row(f"defaults of {recipe}", make_parameters(recipe=recipe), by_house_rules=True)
    best = make_parameters("published_artist_concat")
    yield Row("published_artist_concat, house rules", best, by_house_rules=True)
    if with_variants:
        for dim in DIMS:
            yield Row(f"dim {dim}", make_parameters("published_artist_concat", dim=dim))
        for n in NEGATIVES:
            yield Row(f"uniform, {n}", make_parameters("enriched_uniform", negatives=n))
            yield Row(f"cluster, {n}", make_parameters("enriched_cluster", negatives=n))


class Bench:
    """One seed of the standard world, its history, and what was trained on it."""

    def __init__(self, source: Path, *, seed: int, n_history: int) -> None:
        """Make the world and play the history."""
        self.catalog = load_catalog(source / "tracks.json")
        lines = (source / "users.json").read_bytes().splitlines()
        users = tuple(msgspec.json.decode(line, type=User) for line in lines)
        world = World(self.catalog, make_embeddings_for(self.catalog, users, seed), users)
        self.dynamics: Dynamics = make_dynamics(world)
        history = play_history(self.dynamics, seed=seed, n_sessions=n_history)
        self.log = make_log(to_playbacks(history, self.catalog))
        later = np.concatenate([part.time[part.position > 0] for part in history.parts])
        print(
            f"seed {seed}: a history of {len(later):,} recommended playbacks, "
            f"mean time {later.mean():.3f}, variance {later.var():.3f}",
            flush=True,
        )
        self._neighbours: dict[TrainingParameters, IntArray] = {}

    def measure(self, row: Row, n_sessions: int) -> npt.NDArray[np.float64]:
        """Return the time of each of so many sessions that the history does not have."""
        policy = self._make_policy(row)
        batches = simulate(
            self.dynamics, policy, seed=SEED_OF_SESSIONS, episodes=np.arange(n_sessions)
        )
        return np.concatenate([np.add.reduceat(batch.time, batch.starts) for batch in batches])

    def _make_policy(self, row: Row) -> Policy:
        n_tracks = len(self.catalog)
        if row.parameters is None:
            if row.name == "random":
                return Random(n_tracks)
            return StickyArtist(self.catalog.artist_rows, replays=True)
        neighbours = self._train(row.parameters)
        if row.by_house_rules:
            return Contextual(neighbours, n_tracks)
        return Contextual(neighbours, n_tracks, anchor="last", replays=True)

    def _train(self, parameters: TrainingParameters) -> IntArray:
        if parameters not in self._neighbours:
            started = time.process_time()
            fitted = fit_recipe(
                self.log, self.catalog, parameters=parameters, report=report_nothing
            )
            wanted = ("epochs", "train_mse", "validation_mse", "ndcg_at_10")
            told = [f"{name} {fitted.metrics[name]:.4g}" for name in wanted]
            print(f"    {time.process_time() - started:.0f} s CPU, {', '.join(told)}")
            self._neighbours[parameters] = fitted.arrays["neighbours"]
        return self._neighbours[parameters]


def show(name: str, times: npt.NDArray[np.float64]) -> None:
    """Print a line of the table."""
    half = 1.96 * times.std(ddof=1) / np.sqrt(len(times))
    print(
        f"{name:38} {times.mean():6.2f} ± {half:.2f}  median {np.median(times):5.2f}   "
        f"{PUBLISHED.get(name, '')}",
        flush=True,
    )


def main() -> None:
    """Play, train, play and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--source", type=Path, required=True)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--history", type=int, default=97_000, help="sessions")
    parser.add_argument("--sessions", type=int, default=6_000, help="to measure on, per seed")
    parser.add_argument("--variants", action="store_true", help="also sizes and negatives")
    parser.add_argument("--only", nargs="+", help="rows whose names begin so")
    arguments = parser.parse_args()
    times: dict[str, list[npt.NDArray[np.float64]]] = {}
    for seed in arguments.seeds:
        bench = Bench(arguments.source, seed=seed, n_history=arguments.history)
        for row in list_rows(with_variants=arguments.variants and seed == arguments.seeds[0]):
            if arguments.only is None or row.name.startswith(tuple(arguments.only)):
                times.setdefault(row.name, []).append(bench.measure(row, arguments.sessions))
                show(row.name, times[row.name][-1])
    print(f"\nAll seeds together ({len(arguments.seeds)} worlds), and what was published:")
    for name, parts in times.items():
        show(name, np.concatenate(parts))


if __name__ == "__main__":
    main()
