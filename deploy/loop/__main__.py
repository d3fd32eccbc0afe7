"""`python -m deploy.loop`: day, retrain, next day; prints a row per day.

Exit status: 0 done; 1 failed; 2 wrong usage or settings.
"""

import argparse
import math
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from rich.console import Console

from deploy.display import create_console
from deploy.errors import DeployError
from deploy.loop.days import Loop
from deploy.loop.engine import Engine
from deploy.loop.inprocess import InProcess
from deploy.loop.judging import Judge
from deploy.loop.plan import Plan
from deploy.loop.playing import Theatre, make_theatre
from deploy.loop.report import FORMATS, make_table, to_csv, to_json, to_markdown
from deploy.steps import run_steps
from services.recommender.core.policies import make_policies
from shared.definitions import InvalidExperimentsError
from simulator.adapters.pictures import PictureError, check_picture
from simulator.core.world import WorldError, make_world

DONE, FAILED, USAGE, INTERRUPTED = 0, 1, 2, 130
TABLE_WIDTH = 150
PICTURE = Path(".segue/loop.png")
STATE = Path(".segue/loop")

# Minutes on two cores, over HTTP.
LIVE = Plan(tracks=5_000, users=2_000, history=20_000, sessions=4_000, judged=600, bounded=300)
PLANS = {"live": LIVE, "inprocess": Plan()}


def main(words: Sequence[str]) -> int:
    """Run one loop."""
    arguments = _create_parser().parse_args(words)
    sizes = {name: getattr(arguments, name) for name in SIZES}
    plan = replace(PLANS[arguments.engine], **{k: v for k, v in sizes.items() if v is not None})
    talk, console = create_console(stderr=True), create_console()
    try:
        make_policies(plan.experiments())
        check_picture(arguments.picture)
        with _open(plan, arguments, talk) as loop:
            return _run(loop, arguments, talk=talk, console=console)
    except (InvalidExperimentsError, WorldError, PictureError) as error:
        return _refuse(error, talk, USAGE)
    except DeployError as error:
        return _refuse(error, talk, FAILED)


def _refuse(error: Exception, talk: Console, status: int) -> int:
    talk.print("[bold red]error:[/] ", end="")
    talk.print(str(error), markup=False)
    return status


def _run(loop: Loop, arguments: argparse.Namespace, *, talk: Console, console: Console) -> int:
    status = DONE
    try:
        status = DONE if run_steps(loop.steps(), talk) else FAILED
    except KeyboardInterrupt:
        status = INTERRUPTED
    if loop.days:
        _show(loop, arguments.format, console)
        if len(loop.days) > 1:
            from deploy.loop.picture import save_picture  # a second, for who draws

            title = f"{loop.plan.sessions:,} sessions a day on {loop.plan.tracks:,} tracks"
            save_picture(loop.days, arguments.picture, title=title)
            talk.print(f"picture: {arguments.picture}", markup=False)
    return status


def _show(loop: Loop, form: str, console: Console) -> None:
    if form == "text":
        console.width = max(console.width, TABLE_WIDTH)  # numbers cut short are of no use
        console.print(make_table(loop.days))
        return
    write = {"markdown": to_markdown, "csv": to_csv, "json": to_json}[form]
    print(write(loop.days))


@contextmanager
def _open(plan: Plan, arguments: argparse.Namespace, talk: Console) -> Iterator[Loop]:
    if arguments.engine == "inprocess":
        world = make_world(plan.world)
        theatre = make_theatre(plan, world, arguments.workers)
        yield _assemble(plan, InProcess(plan, world.catalog, theatre), theatre)
        return
    from deploy.loop.live import open_live  # needs what runs a local stack

    with open_live(plan, arguments.state, talk) as live:
        yield _assemble(plan, live, make_theatre(plan, live.world, arguments.workers))


def _assemble(plan: Plan, engine: Engine, theatre: Theatre) -> Loop:
    return Loop(plan, engine, Judge(plan, theatre))


# Options that replace a part of the engine's plan: kind, least value, what they are.
SIZES: dict[str, tuple[type[int] | type[float], float, str]] = {
    "days": (int, 1, "days with a model"),
    "tracks": (int, 10, "of the world"),
    "users": (int, 1, "of the world"),
    "history": (int, 1, "sessions of simple recommenders before the first day"),
    "sessions": (int, 1, "in a day, both arms together"),
    "judged": (int, 0, "sessions that judge each model without exploration"),
    "bounded": (int, 0, "sessions of the oracle"),
    "seed": (int, 0, "of the world, the listeners and the trainings"),
    "bonus": (float, 0, "standard deviations of a track's own that the treatment adds"),
    "epsilon": (float, 0, "probability of a candidate drawn uniformly"),
    "most_plays": (int, 1, "of a session, which is cut there"),
}


def _create_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m deploy.loop", description=__doc__)
    parser.add_argument("--engine", choices=sorted(PLANS), default="live")
    parser.add_argument("--format", choices=FORMATS, default=FORMATS[0], help=f"({FORMATS[0]})")
    parser.add_argument(
        "--picture", type=Path, default=PICTURE, metavar="FILE", help=f"PNG to write ({PICTURE})"
    )
    parser.add_argument(
        "--state", type=Path, default=STATE, metavar="FOLDER", help=f"of the live stack ({STATE})"
    )
    parser.add_argument(
        "--workers",
        type=_at_least(int, 1),
        default=2,
        metavar="N",
        help="processes that play in process (2)",
    )
    for name, (kind, least, summary) in SIZES.items():
        defaults = ", ".join(f"{engine} {getattr(plan, name)}" for engine, plan in PLANS.items())
        option = f"--{name.replace('_', '-')}"
        parser.add_argument(
            option, type=_at_least(kind, least), help=f"{summary} ({defaults})", metavar="N"
        )
    return parser


def _at_least(kind: type[int] | type[float], least: float) -> Callable[[str], float]:
    def parse(text: str) -> float:
        try:
            value = kind(text)
        except ValueError:
            raise argparse.ArgumentTypeError(f"{text!r} is no number") from None
        if not least <= value < math.inf:
            raise argparse.ArgumentTypeError(f"{text} is not {least:g} or more")
        return value

    return parse


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
