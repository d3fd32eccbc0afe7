"""`simulate`: play a policy in process and print what it came to."""

import argparse
from pathlib import Path

import numpy as np
from rich.console import Console

from simulator.adapters.pictures import Curve, draw_rewards
from simulator.adapters.recommendation_table import load_table
from simulator.adapters.world_files import load_world
from simulator.commands.engine import add_engine_options, choose_engine
from simulator.commands.options import positive, refuse_idle
from simulator.commands.output import add_output_options, open_recording
from simulator.commands.report import show_summary
from simulator.core.bounds import Oracle, PerfectContext
from simulator.core.draws import FloatArray
from simulator.core.dynamics import Dynamics
from simulator.core.policies import Contextual, Policy, Random, StickyArtist, TopPopular
from simulator.core.world import World, make_dynamics
from simulator.history import learn_neighbours, learn_top_tracks, play_history
from simulator.rollout import Playbacks, simulate_sessions
from simulator.saved_session import save_batch
from simulator.settings import Settings

POLICIES = ("random", "sticky_artist", "top_pop", "contextual", "oracle", "perfect_context")
_SESSIONS = 10_000
_LOG_SESSIONS = 20_000  # of history, for policies that learn from one


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
        "simulate", parents=[common], help="play a policy in process, without a service"
    )
    parser.add_argument("--world", type=Path, metavar="FOLDER", help="(the settings' one)")
    parser.add_argument("--policy", choices=POLICIES, default=POLICIES[0], help=f"({POLICIES[0]})")
    add_policy_options(parser)
    parser.add_argument(
        "--sessions",
        type=positive,
        default=_SESSIONS,
        metavar="N",
        help=f"to play ({_SESSIONS:,})",
    )
    parser.add_argument(
        "--seed", type=int, default=0, metavar="N", help="of listeners and policy (0)"
    )
    add_engine_options(parser)
    add_output_options(parser)
    parser.set_defaults(run=run)


def add_policy_options(parser: argparse.ArgumentParser) -> None:
    """Add what policies are made of, beside their name."""
    parser.add_argument(
        "--table",
        type=Path,
        metavar="FILE",
        help="tracks_with_recs of --policy contextual (learnt from a history of its own)",
    )
    parser.add_argument(
        "--replays",
        action="store_true",
        help="let --policy sticky_artist forget what it played, as botify's does",
    )


def check_policy_options(arguments: argparse.Namespace) -> None:
    """Refuse what no policy would read.

    Raises:
        UsageError: If there is such an option.
    """
    name = arguments.policy
    refuse_idle(arguments, "table", unless="--policy contextual", is_met=name == "contextual")
    is_sticky = name == "sticky_artist"
    refuse_idle(arguments, "replays", unless="--policy sticky_artist", is_met=is_sticky)


def run(arguments: argparse.Namespace, console: Console, settings: Settings) -> int:
    """Play and report."""
    play = choose_engine(arguments)
    if arguments.world is not None:
        settings = settings.model_copy(update={"world": arguments.world})
    world = load_world(settings.world)
    dynamics = make_dynamics(world, settings.listener.to_defaults())
    policy = make_policy(arguments, world, dynamics)
    times: list[FloatArray] = []
    with open_recording(arguments, settings, recommender=policy.name) as recording:

        def note(batch: Playbacks) -> None:
            times.append(batch.session_times())
            if recording.is_on:
                for session in save_batch(batch, world.catalog):
                    recording.write(session)

        episodes = np.arange(arguments.sessions)
        summary = simulate_sessions(
            dynamics,
            policy,
            seed=arguments.seed,
            episodes=episodes,
            play=play,
            on_batch=note,
        )
        recording.finish()
    show_summary(console, summary, title=policy.name, style=arguments.format)
    if arguments.picture is not None:
        curve = Curve(1, policy.name, np.concatenate(times))
        draw_rewards(arguments.picture, [curve], title=f"Rewards of seed {arguments.seed}")
    return 0


def make_policy(arguments: argparse.Namespace, world: World, dynamics: Dynamics) -> Policy:
    """Make the policy that the arguments name.

    Raises:
        UsageError: If they say of a policy what it has not.
        TableError: If a table cannot be read.
    """
    check_policy_options(arguments)
    n_tracks = dynamics.n_tracks
    match arguments.policy:
        case "random":
            return Random(n_tracks)
        case "sticky_artist":
            return StickyArtist(dynamics.artist_rows, replays=arguments.replays)
        case "oracle":
            return Oracle(dynamics)
        case "perfect_context":
            return PerfectContext(dynamics)
        case "contextual" if arguments.table is not None:
            return Contextual(load_table(arguments.table, world.catalog), n_tracks)
    # Another seed: a policy does not learn from the sessions that judge it.
    log = play_history(dynamics, seed=arguments.seed + 1, n_sessions=_LOG_SESSIONS)
    if arguments.policy == "top_pop":
        return TopPopular(learn_top_tracks(log, n_tracks), n_tracks)
    return Contextual(learn_neighbours(log, n_tracks), n_tracks)
