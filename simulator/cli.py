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
from simulator.commands.options import UsageError, positive
from simulator.core.world import WorldError
from simulator.engines import EngineError
from simulator.settings import SettingsError, load_settings

_WIDTH = 100  # of tables where the output is not a terminal
_FAULTS = (
    *(WorldError, SettingsError, ServiceError, TableError, EngineError),
    *(SavedRunError, TableFileError, PictureError, MissingExtraError),
)


def make_parser() -> argparse.ArgumentParser:
    """Make the parser of all commands."""
    # SUPPRESS: what stands before the command is not overwritten by a default after it.
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument(
        "--config",
        type=Path,
        default=argparse.SUPPRESS,
        metavar="FILE",
        help="of settings (deploy/simulator.yaml)",
    )
    days = argparse.ArgumentParser(add_help=False, parents=[common])
    days.add_argument(
        "--episodes",
        type=positive,
        default=argparse.SUPPRESS,
        metavar="N",
        help=f"sessions in a day of single, run and multi ({live.EPISODES:,})",
    )
    parser = argparse.ArgumentParser(
        prog="python -m simulator", description="Simulated listeners.", parents=[days]
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    live.add_parsers(commands, days)
    simulate.add_parser(commands, common)
    replay.add_parser(commands, common)
    history.add_parser(commands, common)
    world.add_parsers(commands, common)
    return parser


def main(words: list[str] | None = None) -> int:
    """Run a command; return its exit code."""
    parser = make_parser()
    arguments = parser.parse_args(words)
    if "episodes" in arguments and arguments.command not in live.COMMANDS:
        parser.error(f"--episodes is of {', '.join(live.COMMANDS)}, not of {arguments.command}")
    console = Console(soft_wrap=True, highlight=False)
    if not console.is_terminal:
        console.width = _WIDTH
    try:
        if "settings" not in inspect.signature(arguments.run).parameters:
            return int(arguments.run(arguments, console))
        settings = load_settings(getattr(arguments, "config", None))
        return int(arguments.run(arguments, console, settings))
    except UsageError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except _FAULTS as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
