"""`python -m benchmarks.chaos`: hurt a stack of our own under traffic, and count what is missing.

Exit status: 0 nothing answered was lost or doubled; 1 something was; 2 wrong usage.
"""

import argparse
import contextlib
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import httpx
from rich.console import Console

from benchmarks.chaos.faults import FAULTS
from benchmarks.chaos.laboratory import Laboratory, RecoveryError, open_laboratory
from benchmarks.chaos.report import describe, to_markdown, to_table
from benchmarks.chaos.rounds import Outcome, Pace, play_round
from benchmarks.chaos.traffic import UnexpectedAnswerError
from deploy.commands import run_module
from deploy.display import create_console
from deploy.errors import DeployError
from deploy.services import train, wait_for_model

HISTORY_SESSIONS = 2_000
TRAINING_TIMEOUT_S = 300.0
MODEL_TIMEOUT_S = 60.0
TABLE_WIDTH = 200


def main(words: Sequence[str]) -> int:
    """Play the rounds that are asked for."""
    arguments = _create_parser().parse_args(words)
    talk, console = create_console(stderr=True), create_console()
    pace = Pace(fault_s=arguments.seconds, concurrency=arguments.concurrency)
    try:
        with _open(arguments.folder, talk) as lab:
            _prepare(lab, talk)
            outcomes, is_whole = _play(lab, arguments, pace, talk)
    except DeployError as error:
        talk.print(f"[bold red]error:[/] {error}")
        return 1
    console.width = max(console.width, TABLE_WIDTH)
    if arguments.format == "markdown":
        print(to_markdown(outcomes))
    else:
        console.print(to_table(outcomes))
    return 0 if is_whole and not any(outcome.failures for outcome in outcomes) else 1


@contextlib.contextmanager
def _open(folder: Path | None, talk: Console) -> Iterator[Laboratory]:
    with (
        tempfile.TemporaryDirectory(prefix="segue-chaos-") as ours,
        open_laboratory(folder or Path(ours) / "state", talk) as lab,
    ):
        yield lab


def _prepare(lab: Laboratory, talk: Console) -> None:
    """Log a history and train two versions, so that models serve and can be swapped."""
    talk.print("Log a history, train two versions ...")
    world = str(lab.stack.state / "world")
    run_module(
        [
            *("simulator", "history", "--world", world, "--logger", lab.url("logger")),
            *("--sessions", str(HISTORY_SESSIONS), "--seed", "1"),
        ],
        log=lab.stack.log("history"),
        environment=lab.stack.settings.environment,
    )
    for seed in range(2):
        order = {"recipe": "session", "seed": seed, "promote": "always"}
        version, *_ = train(
            lab.url("trainer"), timeout_s=TRAINING_TIMEOUT_S, show=lambda _: None, order=order
        )
    wait_for_model(lab.url("recommender"), version, timeout_s=MODEL_TIMEOUT_S)


def _play(
    lab: Laboratory, arguments: argparse.Namespace, pace: Pace, talk: Console
) -> tuple[list[Outcome], bool]:
    """Play the rounds; say whether each came to its end."""
    outcomes, is_whole = [], True
    for seed, name in enumerate(arguments.only or FAULTS):
        talk.print(f"{FAULTS[name].title} ...")
        try:
            outcome = play_round(lab, FAULTS[name], pace, seed=seed)
        except (DeployError, RecoveryError, UnexpectedAnswerError, httpx.HTTPError) as error:
            talk.print(f"    FAILED {error}", markup=False)
            is_whole = False
            continue
        talk.print(f"    {describe(outcome)}", markup=False)
        outcomes.append(outcome)
    return outcomes, is_whole


def _create_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.chaos", description=__doc__)
    parser.add_argument(
        "--only", nargs="+", choices=FAULTS, metavar="NAME", help=f"of {', '.join(FAULTS)}"
    )
    parser.add_argument("--seconds", type=float, default=10.0, help="of a fault that lasts (10)")
    parser.add_argument("--concurrency", type=int, default=16, help="listeners at once (16)")
    parser.add_argument("--format", choices=("text", "markdown"), default="text")
    parser.add_argument("--folder", type=Path, help="of the stack; deleted at the end")
    return parser


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
