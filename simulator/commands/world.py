"""`world make`, `world import`, `world from-plays`, `world check`."""

import argparse
from pathlib import Path

import numpy as np
from rich.console import Console

from simulator.adapters.world_files import EMBEDDINGS, WorldManifest, load_manifest, load_world
from simulator.commands.options import positive
from simulator.core import calibration, geometry
from simulator.core.plays import PlayLogParameters
from simulator.core.policies import Random
from simulator.core.summary import Summary
from simulator.core.world import World, WorldParameters, make_dynamics
from simulator.rollout import simulate_sessions
from simulator.settings import Settings
from simulator.worlds import create_world, import_plays, import_world

_TRACKS, _USERS = 50_000, 10_000  # as botify has
_N_SESSIONS = 20_000
_MOST_SCORES = 2_000_000_000  # each session's first track is a search through the catalogue
_SIGMAS_OF_BUDGET = 4.0
_SIGMAS_OF_TIME = 2.0
_BUDGET = 5.0
# Of botify's embeddings: its rows lie nearest to WORLD.md's among the first ten.
_BOTIFY_SEED = 7


def add_parsers(
    commands: "argparse._SubParsersAction[argparse.ArgumentParser]",
    common: argparse.ArgumentParser,
) -> None:
    """Add the command and its parts.

    Args:
        commands: To add to.
        common: Options that may also stand before the command.
    """
    world = commands.add_parser("world", parents=[common], help="make, import or check a world")
    parts = world.add_subparsers(dest="part", required=True, metavar="COMMAND")
    make = parts.add_parser("make", help="generate a world into a folder")
    _add_folder(make)
    _add_sizes(make, tracks="to make", users="to make")
    make.add_argument("--artists", type=positive, metavar="N", help="(a tenth of the tracks)")
    _add_seed(make, 0, "of all of it")
    make.set_defaults(run=run_make)
    bring = parts.add_parser("import", help="make a world of botify's files")
    bring.add_argument("source", type=Path, help="holds tracks.json, users.json, maybe tracks.npy")
    _add_folder(bring)
    _add_seed(bring, _BOTIFY_SEED, "of embeddings that are not given")
    bring.set_defaults(run=run_import)
    _add_plays_parser(parts)
    check = parts.add_parser("check", help="verify a world and play random in it")
    _add_folder(check)
    _add_seed(check, 0, "of what is played")
    check.set_defaults(run=run_check)


def _add_plays_parser(parts: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    plays = parts.add_parser("from-plays", help="make a world of a play log; extra: plays")
    plays.add_argument("plays", type=Path, help="lines of user, song and count, tab-separated")
    _add_folder(plays)
    plays.add_argument(
        "--songs",
        type=Path,
        required=True,
        help="lines of song, artist, title, maybe genre, or unique_tracks.txt of the MSD",
    )
    _add_sizes(plays, tracks="songs to keep at most", users="listeners to draw")
    plays.add_argument(
        "--iterations", type=positive, default=15, metavar="N", help="of the factorisation (15)"
    )
    _add_seed(plays, 0, "of all of it")
    plays.set_defaults(run=run_from_plays)


def _add_folder(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("folder", type=Path, nargs="?", help="(the settings' one)")


def _add_sizes(parser: argparse.ArgumentParser, *, tracks: str, users: str) -> None:
    parser.add_argument(
        "--tracks", type=positive, default=_TRACKS, metavar="N", help=f"{tracks} ({_TRACKS:,})"
    )
    parser.add_argument(
        "--users", type=positive, default=_USERS, metavar="N", help=f"{users} ({_USERS:,})"
    )


def _add_seed(parser: argparse.ArgumentParser, seed: int, meaning: str) -> None:
    parser.add_argument("--seed", type=int, default=seed, metavar="N", help=f"{meaning} ({seed})")


def run_make(arguments: argparse.Namespace, console: Console, settings: Settings) -> int:
    """Generate a world."""
    parameters = WorldParameters(
        n_tracks=arguments.tracks,
        n_artists=arguments.artists or max(1, arguments.tracks // 10),
        n_users=arguments.users,
        seed=arguments.seed,
    )
    folder = arguments.folder or settings.world
    create_world(parameters, folder)
    _check(console, folder)
    return 0


def run_import(arguments: argparse.Namespace, console: Console, settings: Settings) -> int:
    """Make a world of botify's files."""
    folder = arguments.folder or settings.world
    manifest = import_world(arguments.source, folder, seed=arguments.seed)
    if manifest.embeddings == "generated":
        console.print(
            f"{arguments.source / EMBEDDINGS} is absent: embeddings are generated "
            f"for this catalogue with seed {arguments.seed}",
            markup=False,
        )
    _check(console, folder)
    return 0


def run_from_plays(arguments: argparse.Namespace, console: Console, settings: Settings) -> int:
    """Make a world of a play log."""
    folder = arguments.folder or settings.world
    manifest, used = import_plays(
        arguments.plays,
        arguments.songs,
        folder,
        parameters=PlayLogParameters(
            n_tracks=arguments.tracks,
            n_users=arguments.users,
            n_iterations=arguments.iterations,
            seed=arguments.seed,
        ),
    )
    console.print(
        f"{used.n_kept:,} of {used.n_plays:,} plays are of the songs that were kept; left out: "
        f"{used.n_unknown:,} songs that {arguments.songs} does not describe, "
        f"{used.n_rare:,} with fewer listeners; embeddings scaled by {manifest.scale}",
        markup=False,
    )
    _check(console, folder)
    return 0


def run_check(arguments: argparse.Namespace, console: Console, settings: Settings) -> int:
    """Verify a world; fail if its numbers are not those of a standard world."""
    return 1 if _check(console, arguments.folder or settings.world, arguments.seed) else 0


def play_random(world: World, seed: int) -> Summary:
    """Play the random policy."""
    dynamics = make_dynamics(world)
    n_sessions = min(_N_SESSIONS, max(1_000, _MOST_SCORES // dynamics.n_tracks))
    return simulate_sessions(
        dynamics, Random(dynamics.n_tracks), seed=seed, episodes=np.arange(n_sessions)
    )


def find_faults(summary: Summary, *, between_worlds: float, budget: float) -> list[str]:
    """Say what is not as in a standard world; nothing if all is.

    Args:
        summary: Of random play.
        between_worlds: Standard deviation of its mean time between worlds of this size.
        budget: Of the listeners, on average.
    """
    faults = []
    slack = _SIGMAS_OF_TIME * float(np.hypot(between_worlds, summary.time.standard_error))
    least, most = calibration.LEAST_TIME - slack, calibration.MOST_TIME + slack
    if not least <= summary.time.mean <= most:
        faults.append(f"random gives {summary.time}, outside {least:.2f} to {most:.2f}")
    if abs(summary.excess.mean - budget) > _SIGMAS_OF_BUDGET * summary.excess.standard_error:
        faults.append(f"tracks exceed time by {summary.excess}, not by the budget {budget:g}")
    return faults


def _check(console: Console, folder: Path, seed: int = 0) -> list[str]:
    """Verify a world as it lies on disk, play random in it, and show what is found."""
    world, manifest = load_world(folder), load_manifest(folder)
    _show(console, folder, manifest)
    summary = play_random(world, seed)
    n_genres = manifest.parameters.n_genres if manifest.parameters else geometry.N_GENRES
    deviation = calibration.between_worlds(n_genres, manifest.n_artists, manifest.n_users)
    faults = find_faults(summary, between_worlds=deviation, budget=_BUDGET)
    console.print(
        f"random: time {summary.time}; standard worlds have {calibration.LEAST_TIME} to "
        f"{calibration.MOST_TIME}, and those of this size a deviation of {deviation:.2f}",
        markup=False,
    )
    console.print(f"tracks - time: {summary.excess}; the budget is {_BUDGET:g}", markup=False)
    for fault in faults:
        console.print(f"fault: {fault}", markup=False)
    if not faults:
        console.print("ok")
    return faults


def _show(console: Console, folder: Path, manifest: WorldManifest) -> None:
    console.print(
        f"{folder}: {manifest.n_tracks:,} tracks by {manifest.n_artists:,} artists, "
        f"{manifest.n_users:,} users, {manifest.origin}, seed {manifest.seed}",
        markup=False,
    )
