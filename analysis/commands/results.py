"""Compare the treatments of an experiment with its control, or list the experiments."""

import argparse
import asyncio
import contextlib
import sys
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TextIO

from analysis.adapters.definitions import fetch_windows
from analysis.adapters.measurements import (
    DatabaseError,
    fetch_measurements,
    fetch_users_per_arm,
    open_database,
)
from analysis.commands.options import (
    FAILED,
    WRONG_USAGE,
    add_data_arguments,
    explain,
    fail,
    level,
    tell_progress,
)
from analysis.commands.rule import add_rule_arguments, make_rule
from analysis.core.comparison import (
    CONTROL,
    Comparison,
    Measurements,
    UnknownTreatmentError,
    compare,
)
from analysis.core.decisions import InvalidRuleError
from analysis.core.definitions import (
    Window,
    describe_changes,
    find_recorded_weights,
    find_state,
    list_experiments,
)
from analysis.core.sample_ratio import InvalidWeightsError
from analysis.report import FORMATS, render, render_experiments, render_picture
from analysis.settings import Settings


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command line."""
    parser.add_argument("experiment", nargs="?", help="its name; without: list the experiments")
    parser.add_argument("--control", default=CONTROL, help="arm to compare with (default: C)")
    add_data_arguments(parser)
    parser.add_argument("--alpha", type=level, default=0.05, help="significance level (0.05)")
    parser.add_argument(
        "--weights",
        type=_weights,
        metavar="C=9,T1=1",
        help="weights of the split, for the sample ratio check (default: as defined, else equal)",
    )
    add_rule_arguments(parser)
    parser.add_argument("--format", choices=FORMATS, default="text")
    parser.add_argument("--output", type=Path, metavar="FILE", help="write there, not to the shell")


def run(options: argparse.Namespace) -> int:
    """Print the results and return the exit code."""
    try:
        return asyncio.run(_run(options))
    except DatabaseError as error:
        return fail(str(error), code=FAILED)
    except (UnknownTreatmentError, InvalidWeightsError, InvalidRuleError) as error:
        return fail(str(error), code=WRONG_USAGE)
    except OSError as error:
        if error.filename is None:
            raise
        return fail(explain(error), code=FAILED)


async def _run(options: argparse.Namespace) -> int:
    rule = make_rule(options)
    async with open_database(
        options.dsn or Settings().postgres_dsn, tell=tell_progress
    ) as connection:
        windows = await fetch_windows(connection)
        if options.experiment is None:
            return _list(await fetch_users_per_arm(connection), windows, options)
        measurements = await fetch_measurements(
            connection, options.experiment, since=options.since, until=options.until
        )
        if not measurements.arms:
            known = sorted(await fetch_users_per_arm(connection))
            return _explain_absence(measurements, known, windows)
    names = [arm.treatment for arm in measurements.arms]
    comparison = compare(
        measurements,
        control=options.control,
        alpha=options.alpha,
        weights=options.weights or find_recorded_weights(windows, options.experiment, names),
        rule=rule,
        changes=describe_changes(
            windows,
            options.experiment,
            first_at=min(arm.first_at for arm in measurements.arms),
            last_at=max(arm.last_at for arm in measurements.arms),
        ),
    )
    return _write(comparison, options)


def _list(
    seen: dict[str, dict[str, int]], windows: Sequence[Window], options: argparse.Namespace
) -> int:
    if options.format in {"html", "png"}:
        return fail(f"name an experiment: a list has no {options.format}", code=WRONG_USAGE)
    experiments = list_experiments(windows, seen)
    now = datetime.now(UTC)
    states = {name: find_state(windows, name, now) for name in experiments}
    with _open_output(options.output) as output:
        render_experiments(experiments, states=states, output_format=options.format, output=output)
    return 0


def _write(comparison: Comparison, options: argparse.Namespace) -> int:
    if options.format != "png":
        with _open_output(options.output) as output:
            render(comparison, output_format=options.format, output=output)
    elif options.output is not None:
        with options.output.open("wb") as picture:
            render_picture(comparison, picture)
    elif sys.stdout.isatty():
        return fail("a picture is not for a terminal: --output FILE", code=WRONG_USAGE)
    else:
        render_picture(comparison, sys.stdout.buffer)
    return 0


@contextlib.contextmanager
def _open_output(path: Path | None) -> Iterator[TextIO]:
    if path is None:
        yield sys.stdout
    else:
        with path.open("w", encoding="utf-8") as output:
            yield output


def _explain_absence(
    measurements: Measurements, known: list[str], windows: Sequence[Window]
) -> int:
    name = measurements.experiment
    if measurements.n_conflict_users:
        return fail(
            f"{name}: every user was seen under two treatments; nothing to compare", code=FAILED
        )
    if name in known:
        return fail(f"{name}: no events between these times", code=FAILED)
    state = find_state(windows, name, datetime.now(UTC))
    if state not in {"", "over"}:
        return fail(f"{name}: no data yet: it is {state}, and no event names it", code=FAILED)
    if not known:
        return fail(f"{name}: no data yet: no event names any experiment", code=WRONG_USAGE)
    return fail(f"no experiment is called {name}; there are: {', '.join(known)}", code=WRONG_USAGE)


def _weights(text: str) -> dict[str, float]:
    try:
        pairs = [pair.split("=") for pair in text.split(",")]
        return {treatment: float(weight) for treatment, weight in pairs}
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not of the form C=9,T1=1") from None
