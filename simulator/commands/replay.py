"""`replay`: play a saved run's sessions again under another recommender, and compare in pairs."""

import argparse
import uuid
from pathlib import Path

import msgspec
import numpy as np
from rich.console import Console

from simulator.adapters.patient_http import ServiceError
from simulator.adapters.pictures import Curve, draw_rewards
from simulator.adapters.progress import RunProgress
from simulator.adapters.saved_runs import SavedRun, SavedRunError, load_run
from simulator.adapters.world_files import load_manifest, load_world
from simulator.commands.comparison import Sides, show_comparison
from simulator.commands.options import http_url, positive, refuse_idle
from simulator.commands.output import Recording, add_output_options, open_recording
from simulator.commands.playing import Run, Stage, play_here
from simulator.commands.simulate import (
    POLICIES,
    add_policy_options,
    check_policy_options,
    make_policy,
)
from simulator.commands.tally import Tally
from simulator.core.dynamics import EpisodeArray
from simulator.core.paired import compare_pairs
from simulator.core.world import WorldError, make_dynamics
from simulator.rollout import simulate
from simulator.saved_session import SavedSession, save_batch
from simulator.settings import ListenerSettings, Settings

_INTERRUPTED = 130
_AT_ONCE = 64

Times = dict[int, tuple[int, float]]  # user and time per episode


class Replayed(msgspec.Struct, frozen=True):
    """The other side of a comparison.

    Attributes:
        name: What served it.
        times: User and time per episode.
        code: Exit code; not 0 if it was cut short.
    """

    name: str
    times: Times
    code: int = 0


def add_parser(
    commands: "argparse._SubParsersAction[argparse.ArgumentParser]",
    common: argparse.ArgumentParser,
) -> None:
    """Add the command.

    Args:
        commands: To add to.
        common: Options that may also stand before the command.
    """
    parser = commands.add_parser(
        "replay",
        parents=[common],
        help="play a saved run's sessions under another recommender, and compare in pairs",
    )
    parser.add_argument("saved", type=Path, metavar="RUN", help="folder of --save")
    other = parser.add_mutually_exclusive_group(required=True)
    other.add_argument(
        "--url", type=http_url, help="of the recommender that serves the other treatment"
    )
    other.add_argument("--policy", choices=POLICIES, help="in process, without a service")
    other.add_argument("--against", type=Path, metavar="RUN", help="a run saved before")
    parser.add_argument("--only", metavar="EXPERIMENT=TREATMENT", help="its users, in RUN")
    parser.add_argument(
        "--concurrency", type=positive, metavar="N", help=f"sessions at once of --url ({_AT_ONCE})"
    )
    add_policy_options(parser)
    add_output_options(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace, console: Console, settings: Settings) -> int:
    """Play the sessions again, as far as that goes, and compare."""
    refuse_idle(arguments, "concurrency", unless="--url", is_met=arguments.url is not None)
    check_policy_options(arguments)
    saved = load_run(arguments.saved)
    talk = Console(stderr=True, soft_wrap=True, highlight=False)
    if saved.is_cut:
        talk.print(f"{arguments.saved}: its last session is not whole: left out", markup=False)
    sessions = _select(saved, arguments)
    if arguments.against is not None:
        replayed = _load_other(arguments.against, saved)
    else:
        replayed = _play_again(arguments, settings, saved, sessions=sessions, talk=talk)
    pairs = [session for session in sessions if session.episode in replayed.times]
    if len(pairs) < len(sessions):
        talk.print(f"compared: {len(pairs):,} of {len(sessions):,} sessions", markup=False)
    if len(pairs) == 0 and replayed.code:
        return replayed.code
    for session in pairs:
        if replayed.times[session.episode][0] != session.user:
            raise SavedRunError(f"{arguments.saved}: episode {session.episode} is another user's")
    _show(arguments, console, saved=saved, sessions=pairs, replayed=replayed)
    return replayed.code


def _select(saved: SavedRun, arguments: argparse.Namespace) -> list[SavedSession]:
    """Return the sessions to compare: all, or those of one treatment."""
    if arguments.only is None:
        return list(saved.sessions)
    experiment, separator, treatment = arguments.only.partition("=")
    chosen = [
        session
        for session in saved.sessions
        if separator and session.experiments.get(experiment) == treatment
    ]
    if not chosen:
        known = sorted({f"{e}={t}" for s in saved.sessions for e, t in s.experiments.items()})
        raise SavedRunError(
            f"{arguments.saved}: no session of {arguments.only}; there are: "
            f"{', '.join(known) or 'none, of any experiment'}"
        )
    return chosen


def _load_other(folder: Path, saved: SavedRun) -> Replayed:
    other = load_run(folder)
    for name in ("seed", "checksums", "listener"):
        if getattr(other.manifest, name) != getattr(saved.manifest, name):
            raise SavedRunError(f"{folder}: not the same sessions: another {name}")
    times = {session.episode: (session.user, session.time) for session in other.sessions}
    return Replayed(other.manifest.recommender, times)


def _play_again(
    arguments: argparse.Namespace,
    settings: Settings,
    saved: SavedRun,
    *,
    sessions: list[SavedSession],
    talk: Console,
) -> Replayed:
    settings = _restore(settings, saved)
    world = load_world(settings.world)
    stage = Stage(world.catalog, make_dynamics(world, settings.listener.to_defaults()))
    episodes: EpisodeArray = np.array([session.episode for session in sessions], dtype=np.int64)
    arguments.seed = saved.manifest.seed
    if arguments.policy is None:
        settings = _point_at(settings, arguments.url)
        with open_recording(arguments, settings, recommender=arguments.url) as recording:
            return _play_live(
                arguments, settings, stage, episodes=episodes, recording=recording, talk=talk
            )
    policy = make_policy(arguments, world, stage.dynamics)
    with open_recording(arguments, settings, recommender=policy.name) as recording:
        times: Times = {}
        for batch in simulate(stage.dynamics, policy, seed=saved.manifest.seed, episodes=episodes):
            for session in save_batch(batch, world.catalog):
                recording.write(session)
                times[session.episode] = (session.user, session.time)
        recording.finish()
    return Replayed(policy.name, times)


def _play_live(
    arguments: argparse.Namespace,
    settings: Settings,
    stage: Stage,
    *,
    episodes: EpisodeArray,
    recording: Recording,
    talk: Console,
) -> Replayed:
    run = Run(
        settings=settings,
        recommender="remote",
        seed=arguments.seed,
        concurrency=arguments.concurrency or _AT_ONCE,
        run_id=uuid.uuid4().hex[:12],
    )
    tally = Tally(1, catalog=stage.catalog, recording=recording)
    code = 0
    try:
        with RunProgress(talk, "episodes", total=len(episodes), unit="episodes") as progress:
            play_here(run, stage, episodes, progress=progress, tally=tally)
        recording.finish()
    except KeyboardInterrupt:
        talk.print("interrupted", markup=False)
        code = _INTERRUPTED
    except ServiceError as error:
        talk.print(f"error: {error}", markup=False)
        code = 1
    times = {result.episode: (result.user, result.time) for result in tally.results}
    return Replayed(arguments.url, times, code)


def _restore(settings: Settings, saved: SavedRun) -> Settings:
    """Return the settings that make the saved sessions: their world, their listeners."""
    manifest = saved.manifest
    for folder in (Path(manifest.world), settings.world):
        try:
            is_same = load_manifest(folder).checksums == manifest.checksums
        except WorldError:
            continue
        if is_same:
            listener = ListenerSettings(**msgspec.to_builtins(manifest.listener))
            return settings.model_copy(update={"world": folder, "listener": listener})
    raise SavedRunError(
        f"the world that the run was played in is neither {manifest.world} nor {settings.world}"
    )


def _point_at(settings: Settings, url: str) -> Settings:
    recommender = settings.recommender.model_copy(update={"url": url})
    return settings.model_copy(update={"recommender": recommender})


def _show(
    arguments: argparse.Namespace,
    console: Console,
    *,
    saved: SavedRun,
    sessions: list[SavedSession],
    replayed: Replayed,
) -> None:
    before = np.array([session.time for session in sessions])
    after = np.array([replayed.times[session.episode][1] for session in sessions])
    users = np.array([session.user for session in sessions], dtype=np.int32)
    try:
        comparison = compare_pairs(users, before, after)
    except ValueError as error:
        raise SavedRunError(f"{arguments.saved}: {error}") from error
    sides = Sides(f"{arguments.saved} ({saved.manifest.recommender})", replayed.name)
    show_comparison(console, comparison, sides=sides, style=arguments.format)
    if arguments.picture is not None:
        names = (f"before: {saved.manifest.recommender}", f"after: {replayed.name}")
        curves = [Curve(1, names[0], before), Curve(1, names[1], after)]
        draw_rewards(arguments.picture, curves, title="The same sessions, two recommenders")
