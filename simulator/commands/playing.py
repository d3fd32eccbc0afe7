"""What a live run is, and playing it in this process."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable

import msgspec
from rich.console import Console

from shared.catalog import Catalog
from simulator.adapters.console import ConsoleRecommender
from simulator.adapters.patient_http import PatientClient
from simulator.adapters.progress import RunProgress
from simulator.adapters.recommender_client import RemoteRecommender
from simulator.adapters.world_files import load_world
from simulator.core.dynamics import Dynamics, EpisodeArray
from simulator.core.world import make_dynamics
from simulator.live import LocalRandom, Recommender, Result, play_episodes, prepare
from simulator.settings import Settings


class Run(msgspec.Struct, frozen=True, kw_only=True):
    """What a live run is a function of; crosses process borders.

    Attributes:
        settings: Of the world, the listeners and the recommender.
        recommender: `remote`, `dummy` or `console`.
        seed: Of the listeners.
        concurrency: Sessions at once.
        run_id: Tells this run's requests from those of another with the same seed.
    """

    settings: Settings
    recommender: str
    seed: int
    concurrency: int
    run_id: str


class Stage(msgspec.Struct, frozen=True):
    """A loaded world: its catalogue and its listeners."""

    catalog: Catalog
    dynamics: Dynamics


def open_stage(settings: Settings) -> Stage:
    """Load the world of the settings.

    Raises:
        WorldError: If it cannot be used.
    """
    world = load_world(settings.world)
    return Stage(world.catalog, make_dynamics(world, settings.listener.to_defaults()))


def play_here(
    run: Run,
    stage: Stage,
    episodes: EpisodeArray,
    *,
    console: Console,
    results: list[Result],
) -> None:
    """Play episodes in this process.

    Args:
        run: What to play.
        stage: Its world.
        episodes: Which.
        console: For progress.
        results: Gets each result as its episode finishes, whatever happens after.

    Raises:
        ServiceError: If the recommender cannot be used.
    """
    prepare(stage.dynamics, run.seed, episodes)
    with RunProgress(console, "episodes", total=len(episodes), unit="episodes") as progress:
        reward = 0.0

        def note(result: Result) -> None:
            nonlocal reward
            results.append(result)
            reward += result.time
            progress.advance(1, f"mean reward {reward / len(results):.3f}")

        asyncio.run(play_stage(run, stage, episodes, note=note, say=progress.say))


async def play_stage(
    run: Run,
    stage: Stage,
    episodes: EpisodeArray,
    *,
    note: Callable[[Result], None],
    say: Callable[[str], None],
) -> None:
    """Play episodes against the recommender that the run names.

    Args:
        run: What to play.
        stage: Its world.
        episodes: Which.
        note: Told of each finished episode.
        say: Told when the recommender goes away and comes back.
    """
    async with _open_recommender(run, stage, say) as recommender:
        await play_episodes(
            stage.dynamics,
            recommender,
            seed=run.seed,
            episodes=episodes.tolist(),
            concurrency=run.concurrency,
            on_result=note,
        )


@contextlib.asynccontextmanager
async def _open_recommender(
    run: Run, stage: Stage, say: Callable[[str], None]
) -> AsyncIterator[Recommender]:
    if run.recommender == "dummy":
        yield LocalRandom(stage.dynamics.n_tracks)
        return
    if run.recommender == "console":
        yield ConsoleRecommender(stage.catalog, Console())
        return
    client = PatientClient(
        run.settings.recommender.url,
        timeout_s=run.settings.recommender.timeout_s,
        patience_s=run.settings.recommender.patience_s,
        max_connections=run.concurrency,
        notify=say,
    )
    async with client:
        yield RemoteRecommender(client, stage.catalog, seed=run.seed, run_id=run.run_id)
