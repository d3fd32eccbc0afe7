"""`single`, `run` and `multi`: listeners that meet a recommender, day after day."""

import argparse
import itertools
import sys
import uuid
from collections.abc import Iterator

from rich.console import Console

from simulator.adapters.patient_http import ServiceError
from simulator.commands.playing import Run, open_stage, play_here
from simulator.commands.processes import play_in_processes
from simulator.commands.report import show_summary
from simulator.live import Result, episodes_of_day, summarise_results
from simulator.settings import Settings

_INTERRUPTED = 130  # as a shell reports SIGINT


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
        parser.add_argument("--json", action="store_true", help="a line of JSON per day")
        parser.set_defaults(run=run_days, processes=1, concurrency=1)
        choices = ("remote", "dummy", "console") if parser is single else ("remote", "dummy")
        parser.add_argument("--recommender", choices=choices, default="remote")
    for parser in (run, multi):
        parser.set_defaults(days=1)
    run.add_argument("--concurrency", type=int, default=64)
    multi.add_argument("--concurrency", type=int, default=1, help="in each process")
    multi.add_argument("--processes", type=int, required=True)


def run_days(arguments: argparse.Namespace, console: Console, settings: Settings) -> int:
    """Play days until they are over, the service fails or somebody stops it."""
    run = Run(
        settings=settings,
        recommender=arguments.recommender,
        seed=arguments.seed,
        concurrency=arguments.concurrency,
        run_id=uuid.uuid4().hex[:12],
    )
    talk = Console(
        stderr=True, soft_wrap=True, highlight=False
    )  # standard output is for the summaries
    stage = open_stage(settings)
    for day in _count_days(arguments.days, console):
        results: list[Result] = []
        episodes = episodes_of_day(day, arguments.episodes)
        code = 0
        try:
            if arguments.processes > 1:
                play_in_processes(run, episodes, arguments.processes, console=talk, results=results)
            else:
                play_here(run, stage, episodes, console=talk, results=results)
        except KeyboardInterrupt:
            talk.print("interrupted", markup=False)
            code = _INTERRUPTED
        except ServiceError as error:
            talk.print(f"error: {error}", markup=False)
            code = 1
        title = f"day {day + 1}" + (f", partial: {len(results)} of {len(episodes)}" if code else "")
        show_summary(console, summarise_results(results), title=title, as_json=arguments.json)
        if code:
            return code
    return 0


def _count_days(n_days: int | None, console: Console) -> Iterator[int]:
    """Count days from 0: as many as said, or as a person at the terminal wants."""
    if n_days is not None:
        yield from range(n_days)
        return
    for day in itertools.count():
        yield day
        if not sys.stdin.isatty():
            return
        try:
            answer = console.input(f"Day {day + 1} is over. Continue? \\[y/n] ")
        except (EOFError, KeyboardInterrupt):
            return
        if not answer.strip().lower().startswith("y"):
            return
