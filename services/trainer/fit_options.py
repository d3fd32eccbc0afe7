"""The options of `fit`: where its files are, and what the training is like."""

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import Any, get_args

from pydantic import ValidationError

from services.trainer.core.parameters import (
    Engine,
    NegativesFrom,
    NeighboursBy,
    RecipeName,
    TrainingParameters,
)
from services.trainer.core.presets import PresetName
from services.trainer.train_request import TrainRequest

WORKERS = 2


class UsageError(ValueError):
    """Options that cannot be, alone or together; the message names them."""


# A parameter is one of some words, or a number; and what it means.
PARAMETERS: Mapping[str, tuple[tuple[str, ...] | type[int] | type[float], str]] = {
    "preset": (get_args(PresetName), "a published recipe; other options change it"),
    "recipe": (get_args(RecipeName), "what is learnt"),
    "engine": (get_args(Engine), "this process, or a Ray cluster"),
    "neighbours_by": (get_args(NeighboursBy), "of artist_concat: embeddings to compare"),
    "negatives_from": (get_args(NegativesFrom), "where --negatives are drawn"),
    "dim": (int, "of the embeddings (by recipe)"),
    "epochs": (int, "of the pair recipes, at most"),
    "batch_size": (int, "of the pair recipes, at most"),
    "neighbours": (int, "recommendations per track"),
    "negatives": (int, "of the pair recipes: per context track, never heard after it"),
    "clusters": (int, "of --negatives-from other_clusters"),
    "seed": (int, "of all that is random"),
    "learning_rate": (float, "of the pair recipes"),
    "initial_scale": (float, "of the pair recipes: deviation that embeddings start from"),
    "held_out": (float, "share of the sessions, the latest, that judge"),
}


def add_fit_options(fit: argparse.ArgumentParser) -> None:
    """Describe the options."""
    log = fit.add_mutually_exclusive_group(required=True)
    log.add_argument(
        "--log", type=Path, metavar="FILE", help="botify's log, one JSON per line, .gz too"
    )
    log.add_argument("--events", metavar="URL", help="an exported log: folder, s3://bucket/prefix")
    fit.add_argument(
        "--tracks", type=Path, required=True, metavar="FILE", help="botify's tracks.json"
    )
    fit.add_argument(
        "--out", type=Path, required=True, metavar="FILE", help="tracks_with_recs.json to write"
    )
    for name, metavar, meaning in (
        ("--top-tracks", "FILE", "also write the most listened track ids"),
        ("--model", "FOLDER", "also save the model"),
        ("--artifacts", "FOLDER", "also put figures and pictures here"),
        ("--warm-start", "FOLDER", "a saved model to start from"),
        ("--checkpoint", "FILE", "to go on from; removed at success"),
    ):
        fit.add_argument(name, type=Path, metavar=metavar, help=meaning)
    ray = fit.add_argument_group("of --engine ray")
    ray.add_argument("--workers", type=_positive, metavar="N", help=f"({WORKERS})")
    ray.add_argument("--address", help="(RAY_ADDRESS, or one on this machine)")
    training = fit.add_argument_group("training")
    for name, (kind, meaning) in PARAMETERS.items():
        default = getattr(TrainingParameters, name, None)
        told = meaning if name in ("preset", "dim") else f"{meaning} ({default})"
        if isinstance(kind, tuple):
            training.add_argument(_option(name), choices=kind, help=told)
        else:
            training.add_argument(_option(name), type=kind, metavar="N", help=told)


def read_parameters(options: argparse.Namespace) -> TrainingParameters:
    """Return what the options say of the training.

    Raises:
        UsageError: If it cannot be.
    """
    # A file serves nowhere yet: there is nothing to be compared with.
    given: dict[str, Any] = {"promote": "always"}
    given |= {name: value for name in PARAMETERS if (value := getattr(options, name)) is not None}
    try:
        parameters = TrainRequest(**given).to_parameters()
    except ValidationError as error:
        raise UsageError("\n".join(_describe(fault) for fault in error.errors())) from error
    if parameters.engine != "ray" and (options.workers or options.address):
        raise UsageError("--workers and --address take --engine ray")
    return parameters


def _describe(fault: Mapping[str, Any]) -> str:
    where = f"{_option(str(fault['loc'][0]))}: " if fault["loc"] else ""
    return f"{where}{fault['msg'].removeprefix('Value error, ')}"


def _option(name: str) -> str:
    return f"--{name.replace('_', '-')}"


def _positive(text: str) -> int:
    if (number := int(text)) < 1:
        raise argparse.ArgumentTypeError(f"{text} is not positive")
    return number
