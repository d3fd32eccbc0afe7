"""How many users would an experiment need, by the history of the users that there are?"""

import argparse
import asyncio
import json
import sys
from collections.abc import Mapping

from analysis.adapters.measurements import DatabaseError, fetch_measurements, open_database
from analysis.commands.options import (
    FAILED,
    WRONG_USAGE,
    add_data_arguments,
    fail,
    level,
    tell_progress,
)
from analysis.core.comparison import CONTROL, Measurements
from analysis.core.metrics import METRICS
from analysis.core.moments import MetricAggregate
from analysis.core.planning import minimum_detectable_pct, required_users
from analysis.core.wording import NONE, describe_change
from analysis.report import render_table
from analysis.settings import Settings

COLUMNS = ("metric", "users", "mean", "deviation", "users needed", "detectable")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command line."""
    parser.add_argument("experiment", help="whose control is the history; an A/A will do")
    parser.add_argument("--arm", default=CONTROL, help="the arm that is the history (default: C)")
    parser.add_argument(
        "--worthwhile", type=_percent, default=5.0, metavar="PERCENT", help="change to see (5)"
    )
    parser.add_argument("--power", type=level, default=0.8, help="probability of seeing it (0.8)")
    parser.add_argument("--alpha", type=level, default=0.05, help="significance level (0.05)")
    parser.add_argument("--format", choices=("text", "markdown", "json"), default="text")
    add_data_arguments(parser)


def run(options: argparse.Namespace) -> int:
    """Print the users needed per arm, and return the exit code."""
    try:
        measurements = asyncio.run(_fetch(options))
    except DatabaseError as error:
        return fail(str(error), code=FAILED)
    history = {
        metric.name: value
        for metric in METRICS
        if (value := measurements.metrics.get((options.arm, metric.name))) and value.n_users
    }
    if not history:
        return fail(
            f"{options.experiment} has no users in {options.arm} to plan from", code=WRONG_USAGE
        )
    _print(history, options)
    return 0


async def _fetch(options: argparse.Namespace) -> Measurements:
    async with open_database(
        options.dsn or Settings().postgres_dsn, tell=tell_progress
    ) as connection:
        return await fetch_measurements(
            connection, options.experiment, since=options.since, until=options.until
        )


def _print(history: Mapping[str, MetricAggregate], options: argparse.Namespace) -> None:
    needed, detectable = {}, {}
    for name, value in history.items():
        needed[name] = required_users(
            value, effect_pct=options.worthwhile, alpha=options.alpha, power=options.power
        )
        detectable[name] = minimum_detectable_pct(
            value, value, alpha=options.alpha, power=options.power
        )
    if options.format == "json":
        plans = [
            {
                "metric": name,
                "n_users": value.n_users,
                "mean": value.mean,
                "deviation": _deviation(value),
                "required_users": needed[name],
                "detectable_pct": detectable[name],
            }
            for name, value in history.items()
        ]
        print(json.dumps(plans, indent=2))
        return
    rows = [
        (
            name,
            _cell(value.n_users, ",d"),
            _cell(value.mean, ",.3f"),
            _cell(_deviation(value), ",.3f"),
            _cell(needed[name], ",d"),
            describe_change(detectable[name]).removeprefix("+"),
        )
        for name, value in history.items()
    ]
    render_table(COLUMNS, rows, output_format=options.format, output=sys.stdout)
    print(
        f"\nUsers needed in each arm to see a change of {options.worthwhile:g}% with probability "
        f"{options.power:g}, and the change seen with as many as there are. Over as many days."
    )


def _deviation(value: MetricAggregate) -> float | None:
    return None if value.variance is None else value.variance**0.5


def _cell(value: float | None, how: str) -> str:
    return NONE if value is None else format(value, how)


def _percent(text: str) -> float:
    try:
        percent = float(text)
    except ValueError:
        percent = 0.0
    if not 0 < percent < 1000:
        raise argparse.ArgumentTypeError(f"{text!r} is not between 0 and 1000 percent")
    return percent
