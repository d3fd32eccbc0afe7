"""The policy that a command line asks about: an arm, a model version or a file."""

import argparse
import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import asyncpg

from analysis.adapters.definitions import fetch_windows
from analysis.adapters.models import LATEST, ModelError, fetch_served_model, load_neighbours
from analysis.core.definitions import find_definition
from analysis.core.exposures import Tracks
from analysis.core.targets import (
    MODEL_FREE,
    Model,
    Target,
    UnknownPolicyError,
    is_computable,
    make_target,
)
from analysis.settings import Settings
from shared.experiments import Treatment


@dataclasses.dataclass(frozen=True)
class Policy:
    """A policy, and what to call it."""

    name: str
    target: Target


def add_policy_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare which policy."""
    parser.add_argument(
        "--policy",
        required=True,
        metavar="ARM|VERSION|FILE",
        help="an arm as it was defined last, the neighbours of a model version (or `latest`), "
        "or a file of tracks_with_recs",
    )
    for name, choices in (("anchor", ("first", "last")), ("choice", ("uniform", "best"))):
        parser.add_argument(
            f"--{name}",
            choices=choices,
            help=f"of the neighbours of a version or a file ({choices[0]})",
        )
    parser.add_argument("--redis", metavar="URL", help="of model versions (SEGUE_REDIS_URL)")


async def find_policy(
    connection: asyncpg.Connection, tracks: Tracks, options: argparse.Namespace
) -> Policy:
    """Find the policy that the options name.

    Raises:
        ModelError: If it is nothing known, or its model cannot be read.
        UnknownPolicyError: If its choices cannot be computed.
    """
    given = {"anchor": options.anchor, "choice": options.choice}
    neighbours = {key: value for key, value in given.items() if value is not None}
    name = options.policy
    if is_file(name):
        model = load_neighbours(Path(name), tracks)
        return Policy(name, make_target("contextual", neighbours, tracks=tracks, model=model))
    redis = options.redis or Settings().redis_url
    definition = find_definition(await fetch_windows(connection), options.experiment)
    arms = {arm.name: arm for arm in definition.treatments} if definition else {}
    if name in arms:
        if neighbours:
            raise UnknownPolicyError(
                f"{name} is an arm, which is defined already: --anchor and --choice are of the "
                "neighbours of a version or a file"
            )
        return await _make_arm(arms[name], tracks, redis)
    try:
        version, model = await fetch_served_model(redis, name, tracks)
    except ModelError as error:
        raise ModelError(_explain(options.experiment, name, arms, error)) from error
    target = make_target("contextual", neighbours, tracks=tracks, model=model)
    return Policy(f"neighbours of model version {version}", target)


async def _make_arm(arm: Treatment, tracks: Tracks, redis: str) -> Policy:
    recommender = arm.recommender
    if recommender is None:
        raise UnknownPolicyError(f"{arm.name} is only logged: it serves nothing of its own")
    name, model = f"{arm.name} ({recommender})", Model()
    if is_computable(recommender) and recommender not in MODEL_FREE:
        version, model = await fetch_served_model(redis, arm.model_version, tracks)
        name = f"{arm.name} ({recommender}, model version {version})"
    return Policy(name, make_target(recommender, arm.parameters, tracks=tracks, model=model))


def is_file(name: str) -> bool:
    """Say whether a policy is named by a file, which comes before arms and versions."""
    return Path(name).is_file()


def _explain(experiment: str, name: str, arms: Mapping[str, Any], error: ModelError) -> str:
    if name == LATEST:
        return str(error)
    known = ", ".join(arms) or "none was recorded"
    return f"{name!r} is no file, no arm of {experiment} ({known}), and no model version: {error}"
