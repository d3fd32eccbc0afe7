"""The trainer's command line, and publication without the service."""

import argparse
from pathlib import Path
from typing import Any

from redis.asyncio import Redis
from redis.exceptions import RedisError

from services.trainer.adapters.postgres import open_pool
from services.trainer.adapters.publisher import PublicationOptions, publish_patiently
from services.trainer.adapters.registry import Registry
from services.trainer.core.errors import TrainingError
from services.trainer.core.recommendations import parse_recommendations
from services.trainer.fit_command import CommandError, make_manifest
from services.trainer.fit_options import add_fit_options
from services.trainer.settings import Settings
from shared.artifacts import ArtifactError, ModelVersion, fetch_latest_version, make_model
from shared.catalog import Catalog, load_catalog
from shared.catalog_store import fetch_catalog
from shared.model_files import load_model
from shared.redis_client import create_redis


def create_parser() -> argparse.ArgumentParser:
    """Describe the command line."""
    parser = argparse.ArgumentParser(prog="python -m services.trainer", description=__doc__)
    commands = parser.add_subparsers(dest="command")
    add_fit_options(commands.add_parser("fit", help="make tracks_with_recs.json from a log"))
    publish = commands.add_parser("publish", help="publish a model, and let it serve")
    publish.add_argument(
        "path", type=Path, help="the folder of a saved model, or botify's tracks_with_recs.json"
    )
    publish.add_argument(
        "--tracks", type=Path, metavar="FILE", help="tracks.json, if Redis has no catalogue"
    )
    publish.add_argument("--no-activate", action="store_true", help="do not let it serve yet")
    _add_map(commands)
    return parser


async def publish_path(options: argparse.Namespace, settings: Settings) -> str:
    """Publish a saved model or a file of botify's; return the version's id.

    Raises:
        ArtifactError: If the model cannot be trusted, or is of another catalogue.
        TrainingError: If the file cannot be read, or Redis or Postgres stays away.
        CommandError: If Redis cannot be asked.
    """
    redis = create_redis(settings.redis_url, timeout_s=settings.redis_timeout_s)
    async with redis, open_pool(settings.postgres_dsn) as pool:
        try:
            catalog = await _find_catalog(redis, options.tracks)
            parent = await fetch_latest_version(redis)
        except (RedisError, OSError) as error:
            raise CommandError(f"Redis: {error}") from error
        model = _open_path(options.path, catalog, parent=parent)
        publication = PublicationOptions(
            activate=not options.no_activate,
            keep=settings.keep_versions,
            attempts=settings.publish_attempts,
            wait_s=settings.publish_wait_s,
            folder=None,
        )
        await publish_patiently(Registry(pool, redis), model, options=publication)
    return model.manifest.model_version


def _add_map(commands: Any) -> None:
    drawing = commands.add_parser("map", help="draw a model's embeddings, by t-SNE, as a PNG")
    which = drawing.add_mutually_exclusive_group(required=True)
    which.add_argument("--version", help="a version in Redis")
    which.add_argument("--folder", type=Path, help="of a saved model")
    drawing.add_argument(
        "--out", type=Path, required=True, metavar="FILE", help="the picture to write"
    )
    drawing.add_argument(
        "--tracks", type=int, default=1500, metavar="N", help="to draw, at most (1500)"
    )
    drawing.add_argument(
        "--seed", type=int, default=0, metavar="N", help="of the sample and the layout (0)"
    )


async def _find_catalog(redis: Redis, tracks: Path | None) -> Catalog:
    """Fetch the catalogue that serves; a given one must be the same, or stands in for it."""
    given = load_catalog(tracks) if tracks else None
    try:
        serving = await fetch_catalog(redis)
    except ArtifactError:
        if given is None:
            raise
        return given
    if given is not None and given.checksum != serving.checksum:
        raise ArtifactError(f"{tracks} is not the catalogue in Redis")
    return serving


def _open_path(path: Path, catalog: Catalog, *, parent: str | None) -> ModelVersion:
    if path.is_dir():
        model = load_model(path)
        if model.manifest.catalog_checksum != catalog.checksum:
            raise ArtifactError(f"{path} is of another catalogue than the one that serves")
        return model
    try:
        with path.open("rb") as lines:
            neighbours = parse_recommendations(lines, catalog)
    except OSError as error:
        raise CommandError(f"{path}: {error.strerror}") from error
    except TrainingError as error:
        raise CommandError(f"{path}: {error}") from error
    manifest = make_manifest("imported", catalog, parameters={"file": path.name}, parent=parent)
    return make_model(manifest, {"neighbours": neighbours})
