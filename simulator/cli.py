"""The command line, of botify's shape: `--episodes N --config FILE single --recommender remote`."""

import argparse
import inspect
import sys
from pathlib import Path

from rich.console import Console

from shared.extras import MissingExtraError
from simulator.adapters.patient_http import ServiceError
from simulator.adapters.pictures import PictureError
from simulator.adapters.playback_table import TableFileError
from simulator.adapters.recommendation_table import TableError
from simulator.adapters.saved_runs import SavedRunError
from simulator.commands import history, live, replay, simulate, world
from simulator.core.world import WorldError
from simulator.engines import EngineError
from simulator.settings import SettingsError, load_settings

_WIDTH = 100  # of tables where the output is not a terminal
_DEFAULT_EPISODES = 1_000
_FAULTS = (
    *(WorldError, SettingsError, ServiceError, TableError, EngineError),
    *(SavedRunError, TableFileError, PictureError, MissingExtraError),
)
_POSITIVE = (
    *("episodes", "concurrency", "processes", "days", "sessions", "peek", "workers"),
    *("chunk", "parallel", "tracks", "artists", "users", "iterations"),
)


def make_parser() -> argparse.ArgumentParser:
    """Make the parser of all commands."""
    common = argparse.ArgumentParser(add_help=False)
    # SUPPRESS: what stands before the command is not overwritten by a default after it.
    common.add_argument(
        "--episodes", type=int, default=argparse.SUPPRESS, help="sessions in a day, default 1000"
    )
    common.add_argument(
        "--config", type=Path, default=argparse.SUPPRESS, help="default: deploy/simulator.yaml"
    )
    parser = argparse.ArgumentParser(
        prog="python -m simulator", description="Simulated listeners.", parents=[common]
    )
    commands = parser.add_subparsers(dest="command", required=True)
    live.add_parsers(commands, common)
    simulate.add_parser(commands)
    replay.add_parser(commands, common)
    history.add_parser(commands)
    world.add_parsers(commands)
    return parser


def main(words: list[str] | None = None) -> int:
    """Run a command; return its exit code."""
    parser = make_parser()
    arguments = parser.parse_args(words)
    arguments.episodes = getattr(arguments, "episodes", _DEFAULT_EPISODES)
    _check_positive(parser, arguments)
    console = Console(soft_wrap=True, highlight=False)
    if not console.is_terminal:
        console.width = _WIDTH
    try:
        if "settings" not in inspect.signature(arguments.run).parameters:
            return int(arguments.run(arguments, console))
        settings = load_settings(getattr(arguments, "config", None))
        return int(arguments.run(arguments, console, settings))
    except _FAULTS as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130


def _check_positive(parser: argparse.ArgumentParser, arguments: argparse.Namespace) -> None:
    for name in _POSITIVE:
        value = getattr(arguments, name, None)
        if value is not None and value < 1:
            parser.error(f"argument --{name}: {value} is not positive")
