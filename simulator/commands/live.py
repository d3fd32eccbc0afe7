"""`single`, `run` and `multi`: the words of a live run."""

import argparse

from rich.console import Console

from simulator.commands.campaign import run_days
from simulator.commands.options import level, positive, rate, refuse_idle
from simulator.commands.output import add_output_options
from simulator.core.arrivals import ARRIVALS
from simulator.settings import Settings

COMMANDS = ("single", "run", "multi")
EPISODES = 1_000
_SEED = 31337
_CONCURRENCY = 64
_PEEK = 500
_ALPHA = 0.05


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
        parser.add_argument(
            "--seed", type=int, default=_SEED, metavar="N", help=f"of the listeners ({_SEED})"
        )
        ask = ", then ask" if parser is single else ""
        parser.add_argument("--days", type=positive, metavar="N", help=f"days to play (one{ask})")
        parser.set_defaults(
            **{"run": run_live, "processes": 1, "concurrency": 1, "rate": None, "until": None},
            **{"arrivals": None, "retrain": False, "recipe": None, "peek": None, "alpha": None},
        )
        parser.add_argument(
            "--by", metavar="EXPERIMENT", help="tell its treatments apart (the first named)"
        )
        choices = ("remote", "dummy", "console") if parser is single else ("remote", "dummy")
        parser.add_argument(
            "--recommender", choices=choices, default=choices[0], help=f"({choices[0]})"
        )
        add_output_options(parser)
    for parser in (run, multi):
        parser.set_defaults(days=1)
    run.add_argument(
        "--concurrency",
        type=positive,
        default=_CONCURRENCY,
        metavar="N",
        help=f"sessions at once ({_CONCURRENCY})",
    )
    _add_pace(run)
    multi.add_argument(
        "--concurrency", type=positive, default=1, metavar="N", help="in each process (1)"
    )
    multi.add_argument(
        "--processes", type=positive, required=True, metavar="N", help="that share the sessions"
    )


def _add_pace(run: argparse.ArgumentParser) -> None:
    """Add what only many listeners in one process can do."""
    run.add_argument(
        "--rate",
        type=rate,
        metavar="N",
        help="sessions per second that come whether or not others ended; latency counts from then",
    )
    run.add_argument("--arrivals", choices=ARRIVALS, help=f"of --rate ({ARRIVALS[0]})")
    run.add_argument(
        "--retrain",
        action="store_true",
        help="between days: train, and wait for the new version to serve",
    )
    run.add_argument("--recipe", help="of --retrain (the trainer's own)")
    run.add_argument("--until", metavar="EXPERIMENT", help="stop once it is decided")
    run.add_argument(
        "--peek", type=positive, metavar="N", help=f"sessions between --until's looks ({_PEEK})"
    )
    run.add_argument(
        "--alpha", type=level, help=f"error of all of --until's looks together ({_ALPHA})"
    )


def run_live(arguments: argparse.Namespace, console: Console, settings: Settings) -> int:
    """Play days, if the words go together.

    Raises:
        UsageError: If they do not.
    """
    is_live = arguments.recommender == "remote"
    refuse_idle(arguments, "retrain", "until", unless="--recommender remote", is_met=is_live)
    refuse_idle(
        arguments, "retrain", unless="--days of two or more", is_met=(arguments.days or 1) > 1
    )
    refuse_idle(arguments, "recipe", unless="--retrain", is_met=arguments.retrain)
    refuse_idle(arguments, "arrivals", unless="--rate", is_met=arguments.rate is not None)
    has_end = arguments.until is not None
    refuse_idle(arguments, "peek", "alpha", unless="--until", is_met=has_end)
    arguments.episodes = getattr(arguments, "episodes", EPISODES)
    arguments.arrivals = arguments.arrivals or ARRIVALS[0]
    arguments.peek, arguments.alpha = arguments.peek or _PEEK, arguments.alpha or _ALPHA
    return run_days(arguments, console, settings)
