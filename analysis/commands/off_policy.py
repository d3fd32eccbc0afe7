"""Estimate from the log of one arm what another policy would earn, before it serves anybody."""

import argparse
import asyncio
import dataclasses
import sys

import asyncpg

from analysis.adapters.exposures import SessionLog, fetch_sessions, fetch_tracks
from analysis.adapters.measurements import DatabaseError, open_database
from analysis.adapters.models import ModelError
from analysis.commands.options import (
    FAILED,
    WRONG_USAGE,
    add_data_arguments,
    fail,
    level,
    seed,
    tell_progress,
)
from analysis.commands.policy import Policy, add_policy_arguments, find_policy
from analysis.core.comparison import CONTROL
from analysis.core.exposures import Tracks
from analysis.core.off_policy import NoSupportError, OffPolicyEstimate
from analysis.core.policy_value import (
    describe_log,
    estimate_decisions,
    estimate_sessions,
    weigh,
)
from analysis.core.targets import Model, UnknownPolicyError, make_target
from analysis.off_policy_report import Report, render_report
from analysis.settings import Settings


class NothingToSayError(RuntimeError):
    """A question that the log cannot be asked; the message says why."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command line."""
    parser.add_argument("experiment", help="whose log is read")
    add_policy_arguments(parser)
    parser.add_argument("--log", default=CONTROL, metavar="ARM", help="that was logged (C)")
    parser.add_argument(
        "--first",
        type=_horizon,
        metavar="N",
        help="ask for a session's first N recommendations together, not for one in a situation",
    )
    parser.add_argument(
        "--alpha", type=level, default=0.05, help="the intervals are at 1 - alpha (0.05)"
    )
    parser.add_argument("--seed", type=seed, default=0, help="of what is drawn to predict (0)")
    parser.add_argument("--format", choices=("text", "markdown", "json"), default="text")
    add_data_arguments(parser)


def run(options: argparse.Namespace) -> int:
    """Print the estimates, and return the exit code: 1 if the log cannot say."""
    try:
        report = asyncio.run(_run(options))
    except (DatabaseError, ModelError, NothingToSayError) as error:
        return fail(str(error), code=FAILED)
    except UnknownPolicyError as error:
        return fail(str(error), code=WRONG_USAGE)
    render_report(report, output_format=options.format, output=sys.stdout)
    return FAILED if report.refused else 0


async def _run(options: argparse.Namespace) -> Report:
    async with open_database(
        options.dsn or Settings().postgres_dsn, tell=tell_progress
    ) as connection:
        tracks = await fetch_tracks(connection)
        if tracks is None:
            raise NothingToSayError("the database has no catalogue yet: the logger copies it")
        policy = await find_policy(connection, tracks, options)
        log = await _fetch(connection, options, options.log, tracks)
        played = await _fetch(connection, options, options.policy, tracks)
    if not log.sessions:
        raise NothingToSayError(
            f"{options.experiment}: no session of {options.log} that can be replayed"
            + (f" ({log.n_broken:,} lack events or tracks)" if log.n_broken else "")
        )
    return await asyncio.to_thread(_estimate, policy, log, played, tracks, options)


async def _fetch(
    connection: asyncpg.Connection, options: argparse.Namespace, arm: str, tracks: Tracks
) -> SessionLog:
    return await fetch_sessions(
        connection,
        options.experiment,
        arm,
        tracks=tracks,
        since=options.since,
        until=options.until,
    )


def _estimate(
    policy: Policy,
    log: SessionLog,
    played: SessionLog,
    tracks: Tracks,
    options: argparse.Namespace,
) -> Report:
    report = Report(
        experiment=options.experiment,
        log=options.log,
        policy=policy.name,
        first=options.first,
        alpha=options.alpha,
        n_sessions=len(log.sessions),
        n_broken=log.n_broken,
    )
    try:
        weighed = weigh(log.sessions, policy.target, tracks, seed=options.seed)
        logged = describe_log(weighed, horizon=options.first, alpha=options.alpha)
        report = dataclasses.replace(report, logged=logged)
        if options.first is None:
            estimates = estimate_decisions(weighed, tracks, alpha=options.alpha)
        else:
            estimates = estimate_sessions(weighed, horizon=options.first, alpha=options.alpha)
    except NoSupportError as error:
        return dataclasses.replace(report, refused=str(error))
    return dataclasses.replace(
        report, estimates=tuple(estimates), played=_describe_played(played, tracks, options)
    )


def _describe_played(
    played: SessionLog, tracks: Tracks, options: argparse.Namespace
) -> OffPolicyEstimate | None:
    """Return what the policy earned itself, if it is an arm that was played."""
    anything = make_target("random", {}, tracks=tracks, model=Model())
    try:
        weighed = weigh(played.sessions, anything, tracks)
        found = describe_log(weighed, horizon=options.first, alpha=options.alpha)
    except NoSupportError:
        return None
    return dataclasses.replace(found, method="played")


def _horizon(text: str) -> int:
    number = int(text) if text.isdecimal() else 0
    if not 1 <= number <= 100:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of recommendations (1 to 100)")
    return number
