"""`history`: play the log of day 0 in process and send it to the logger."""

import argparse
import asyncio
from collections.abc import Iterator, Mapping
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

from rich.console import Console

from shared.events import Event
from shared.exposure import make_authorization
from simulator.adapters.logger_client import Receipt, send_events
from simulator.adapters.patient_http import PatientClient
from simulator.adapters.progress import RunProgress
from simulator.adapters.world_files import load_world
from simulator.commands.options import http_url, positive
from simulator.core.world import make_dynamics
from simulator.history import make_events, play_history
from simulator.settings import Settings

_TIMEOUT_S = 60.0  # a chunk of thousands of rows, copied and committed


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
        "history",
        parents=[common],
        help="send a plausible log of simple recommenders to the logger",
    )
    parser.add_argument("--world", type=Path, metavar="FOLDER", help="(the settings' one)")
    parser.add_argument(
        "--sessions", type=positive, default=100_000, metavar="N", help="to play (100,000)"
    )
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="of all of it (0)")
    parser.add_argument("--logger", type=http_url, metavar="URL", help="(the settings' one)")
    parser.add_argument("--day", type=_day, help="as 2026-03-10 (yesterday)")
    parser.add_argument(
        "--chunk", type=positive, default=5_000, metavar="N", help="events per request (5,000)"
    )
    parser.add_argument(
        "--parallel", type=positive, default=4, metavar="N", help="requests at once (4)"
    )
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace, console: Console, settings: Settings) -> int:
    """Play, send and report; the same arguments send the same events."""
    world = load_world(arguments.world or settings.world)
    dynamics = make_dynamics(world, settings.listener.to_defaults())
    played = play_history(dynamics, seed=arguments.seed, n_sessions=arguments.sessions)
    url = arguments.logger or settings.logger.url
    day = arguments.day or datetime.now(UTC).date() - timedelta(days=1)
    console.print(
        f"played {played.n_sessions:,} sessions, {played.n_playbacks:,} playbacks; "
        f"sending them to {url} as of {day}",
        markup=False,
    )
    receipt = asyncio.run(
        _send(
            arguments,
            console,
            url=url,
            events=make_events(played, world.catalog, day),
            n_events=played.n_playbacks,
            patience_s=settings.recommender.patience_s,
            headers=make_authorization(settings.api_token),
        )
    )
    console.print(
        f"received {receipt.received:,}, stored {receipt.stored:,}, "
        f"already there {receipt.duplicates:,}",
        markup=False,
    )
    return 0


async def _send(
    arguments: argparse.Namespace,
    console: Console,
    *,
    url: str,
    events: Iterator[Event],
    n_events: int,
    patience_s: float,
    headers: Mapping[str, str],
) -> Receipt:
    with RunProgress(console, "history", total=n_events, unit="events") as progress:
        client = PatientClient(
            url,
            timeout_s=_TIMEOUT_S,
            patience_s=patience_s,
            max_connections=arguments.parallel,
            notify=progress.say,
            headers=headers,
        )
        async with client:
            return await send_events(
                client,
                events,
                chunk=arguments.chunk,
                n_parallel=arguments.parallel,
                on_receipt=lambda receipt: progress.advance(receipt.received),
            )


def _day(text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no day as 2026-03-10") from None
