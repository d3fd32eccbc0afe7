"""Split the users of one arm again and again: how often does a test find what is not there?"""

import argparse
import asyncio
import json
import sys
from collections.abc import Sequence

import msgspec
import numpy as np

from analysis.adapters.measurements import (
    DatabaseError,
    UserValues,
    fetch_user_values,
    open_database,
)
from analysis.commands.options import FAILED, add_data_arguments, fail, level, seed, tell_progress
from analysis.core.comparison import CONTROL
from analysis.core.metrics import METRICS
from analysis.core.splits import SplitResult, split_again
from analysis.report import render_table
from analysis.settings import Settings

COLUMNS = ("metric", "users", "splits", "false positives", "error", "p uniform")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command line."""
    parser.add_argument("experiment", help="its name")
    parser.add_argument("--arm", default=CONTROL, help="whose users are split (default: C)")
    parser.add_argument("--splits", type=_count, default=1000, metavar="N", help="(1000)")
    parser.add_argument("--alpha", type=level, default=0.05, help="significance level (0.05)")
    parser.add_argument("--seed", type=seed, default=0, help="of the splits (0)")
    parser.add_argument("--format", choices=("text", "markdown", "json"), default="text")
    add_data_arguments(parser)


def run(options: argparse.Namespace) -> int:
    """Print how often each metric's test errs, and return the exit code."""
    try:
        values = asyncio.run(_fetch(options))
    except DatabaseError as error:
        return fail(str(error), code=FAILED)
    if not values:
        return fail(f"{options.experiment}: no users in {options.arm}", code=FAILED)
    results = [
        split_again(
            metric.name,
            np.array(values[metric.name].numerators),
            np.array(values[metric.name].denominators),
            n_splits=options.splits,
            alpha=options.alpha,
            generator=np.random.default_rng(options.seed),
        )
        for metric in METRICS
        if metric.name in values
    ]
    _print(results, options)
    return 0


async def _fetch(options: argparse.Namespace) -> dict[str, UserValues]:
    async with open_database(
        options.dsn or Settings().postgres_dsn, tell=tell_progress
    ) as connection:
        return await fetch_user_values(
            connection,
            options.experiment,
            options.arm,
            since=options.since,
            until=options.until,
        )


def _print(results: Sequence[SplitResult], options: argparse.Namespace) -> None:
    if options.format == "json":
        print(json.dumps(msgspec.to_builtins(results), indent=2))
        return
    rows = [
        (
            result.metric,
            f"{result.n_users:,}",
            f"{result.n_splits:,}",
            _percent(result.false_positives),
            _percent(result.error),
            "—" if result.uniformity is None else f"{result.uniformity:.3f}",
        )
        for result in results
    ]
    render_table(COLUMNS, rows, output_format=options.format, output=sys.stdout)
    print(
        f"\n{100 * options.alpha:g}% is due. Below a p uniform of 0.001, do not trust the metric."
    )


def _percent(value: float | None) -> str:
    return "—" if value is None else f"{100 * value:.2f}%"


def _count(text: str) -> int:
    try:
        number = int(text)
    except ValueError:
        number = 0
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of splits")
    return number
