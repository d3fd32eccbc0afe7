"""`single`, `run` and `multi`: the words of a live run."""

import argparse
import math

from simulator.commands.campaign import run_days
from simulator.commands.output import add_output_options
from simulator.core.arrivals import ARRIVALS

_PEEK = 500


def add_parsers(
    commands: "argparse._SubParsersAction[argparse.ArgumentParser]",
    common: argparse.ArgumentParser,
) -> None:
    """Add the commands.

    Args:
        commands: To add to.
        common: Options that may also stand before the command.
    """
    single = commands.add_parser("single", parents=[common], help="one listener at a time")
    run = commands.add_parser("run", parents=[common], help="many listeners at once")
    multi = commands.add_parser("multi", parents=[common], help="many processes of listeners")
    for parser in (single, run, multi):
        parser.add_argument("--seed", type=int, default=31337)
        ask = ", then ask" if parser is single else ""
        parser.add_argument("--days", type=int, help=f"days to play; default: one{ask}")
        parser.set_defaults(
            **{"run": run_days, "processes": 1, "concurrency": 1, "rate": None, "until": None},
            **{"arrivals": ARRIVALS[0], "retrain": False, "recipe": None},
        )
        parser.add_argument(
            "--by", metavar="EXPERIMENT", help="tell its treatments apart; default: the first named"
        )
        choices = ("remote", "dummy", "console") if parser is single else ("remote", "dummy")
        parser.add_argument("--recommender", choices=choices, default="remote")
        add_output_options(parser)
    for parser in (run, multi):
        parser.set_defaults(days=1)
    run.add_argument("--concurrency", type=int, default=64, help="sessions at once")
    _add_pace(run)
    multi.add_argument("--concurrency", type=int, default=1, help="in each process")
    multi.add_argument("--processes", type=int, required=True)


def _add_pace(run: argparse.ArgumentParser) -> None:
    """Add what only many listeners in one process can do."""
    run.add_argument(
        "--rate",
        type=_positive,
        metavar="N",
        help="sessions per second that come whether or not others ended; latency counts from then",
    )
    run.add_argument("--arrivals", choices=ARRIVALS, default=ARRIVALS[0], help="at a rate")
    run.add_argument(
        "--retrain",
        action="store_true",
        help="between days: train, and wait for the new version to serve",
    )
    run.add_argument("--recipe", help="of the training; default: the trainer's")
    run.add_argument("--until", metavar="EXPERIMENT", help="stop once it is decided")
    run.add_argument(
        "--peek", type=int, default=_PEEK, help=f"sessions between two looks, default {_PEEK}"
    )
    run.add_argument("--alpha", type=_level, default=0.05, help="error of all looks together")


def _positive(text: str) -> float:
    value = float(text)
    if not 0 < value < math.inf:
        raise argparse.ArgumentTypeError(f"{text} is not positive")
    return value


def _level(text: str) -> float:
    value = float(text)
    if not 0 < value < 1:
        raise argparse.ArgumentTypeError(f"{text} is not between 0 and 1")
    return value
