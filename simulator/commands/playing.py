"""What a live run is, and playing it in this process."""

import asyncio
import contextlib
import signal
from collections.abc import AsyncIterator, Callable

import msgspec
import uvloop
from rich.console import Console

from shared.catalog import Catalog
from shared.tracing import close_tracing, create_tracing
from simulator.adapters.console import ConsoleRecommender, PersonLeftError
from simulator.adapters.patient_http import PatientClient
from simulator.adapters.progress import RunProgress
from simulator.adapters.recommender_client import RemoteRecommender
from simulator.adapters.world_files import load_world
from simulator.commands.tally import Tally
from simulator.core.arrivals import Arrivals, schedule_arrivals
from simulator.core.dynamics import Dynamics, EpisodeArray
from simulator.core.world import make_dynamics
from simulator.live import LocalRandom, Recommender, Watch, play_episodes, prepare
from simulator.settings import Settings

_GRACE_S = 5.0  # to close open sessions in, after Ctrl-C


class Run(msgspec.Struct, frozen=True, kw_only=True):
    """What a live run is a function of; crosses process borders.

    Attributes:
        settings: Of the world, the listeners and the recommender.
        recommender: `remote`, `dummy` or `console`.
        seed: Of the listeners.
        concurrency: Sessions at once.
        run_id: Tells this run's requests from those of another with the same seed.
        rate: Sessions per second that come by themselves; None: one comes when another ends.
        arrivals: How they come, at a rate.
    """

    settings: Settings
    recommender: str
    seed: int
    concurrency: int
    run_id: str
    rate: float | None = None
    arrivals: Arrivals = "poisson"


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
    run: Run, stage: Stage, episodes: EpisodeArray, *, progress: RunProgress, tally: Tally
) -> None:
    """Play episodes in this process.

    Args:
        run: What to play.
        stage: Its world.
        episodes: Which.
        progress: To show.
        tally: Gets each result as its episode finishes, whatever happens after.

    Raises:
        ServiceError: If the recommender cannot be used.
        KeyboardInterrupt: At Ctrl-C, once the open sessions are closed.
    """
    prepare(stage.dynamics, run.seed, episodes)
    watch = Watch(lambda result: tally.add(result, progress), records=tally.records)
    try:
        uvloop.run(play_until_stopped(run, stage, episodes, watch=watch, say=progress.say))
    finally:
        tally.add_waits(watch)
    if watch.stops.is_set():
        raise KeyboardInterrupt


async def play_until_stopped(
    run: Run,
    stage: Stage,
    episodes: EpisodeArray,
    *,
    watch: Watch,
    say: Callable[[str], None],
    stop_signal: signal.Signals = signal.SIGINT,
) -> None:
    """Play episodes; at a signal, close the open sessions, at a second or too late, leave them.

    A session that is left stays open at the service, and the user's next one would go on with it.

    Args:
        run: What to play.
        stage: Its world.
        episodes: Which.
        watch: Told what happens; `stops` is set once the signal came.
        say: Told what people should know.
        stop_signal: Which.
    """
    playing = asyncio.create_task(_play(run, stage, episodes, watch=watch, say=say))
    loop = asyncio.get_running_loop()

    def stop() -> None:
        if watch.stops.is_set():
            playing.cancel()
            return
        watch.stops.set()
        loop.call_later(_GRACE_S, playing.cancel)
        if run.recommender == "remote":
            say("stopping: closing the open sessions; Ctrl-C again leaves them as they are")

    loop.add_signal_handler(stop_signal, stop)
    try:
        await playing
    except PersonLeftError:
        watch.stops.set()
    except asyncio.CancelledError:
        if not watch.stops.is_set():
            raise
    finally:
        loop.remove_signal_handler(stop_signal)


async def _play(
    run: Run,
    stage: Stage,
    episodes: EpisodeArray,
    *,
    watch: Watch,
    say: Callable[[str], None],
) -> None:
    arrivals_s = None
    if run.rate is not None:
        arrivals_s = schedule_arrivals(run.seed, episodes, rate=run.rate, arrivals=run.arrivals)
    async with _open_recommender(run, stage, say) as recommender:
        await play_episodes(
            stage.dynamics,
            recommender,
            seed=run.seed,
            episodes=episodes.tolist(),
            concurrency=run.concurrency,
            watch=watch,
            arrivals_s=arrivals_s,
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
    tracing = create_tracing("simulator")
    try:
        async with client:
            yield RemoteRecommender(
                client, stage.catalog, seed=run.seed, run_id=run.run_id, tracing=tracing
            )
    finally:
        await close_tracing(tracing)
