"""`python -m services.trainer map`: the embeddings of a version as a picture."""

import argparse

from redis.exceptions import RedisError

from services.trainer.fit_command import CommandError
from services.trainer.settings import Settings
from shared.artifacts import ModelVersion, fetch_model
from shared.model_files import load_model
from shared.redis_client import create_redis


async def draw_map_to_file(options: argparse.Namespace, settings: Settings) -> None:
    """Draw the embedding map of a saved or published model.

    Raises:
        ArtifactError: If the model cannot be trusted, or is not there.
        TrainingError: If it has no embeddings to draw.
        CommandError: If Redis cannot be asked, or the file cannot be written.
    """
    # Only here: the service itself never needs what takes seconds to import.
    from services.trainer.adapters.map_picture import draw_model

    model = await _open_model(options, settings)
    picture = draw_model(model, n_points=options.tracks, seed=options.seed)
    try:
        options.out.write_bytes(picture)
    except OSError as error:
        raise CommandError(f"{error.filename}: {error.strerror}") from error


async def _open_model(options: argparse.Namespace, settings: Settings) -> ModelVersion:
    if options.folder is not None:
        return load_model(options.folder)
    async with create_redis(settings.redis_url, timeout_s=settings.redis_timeout_s) as redis:
        try:
            return await fetch_model(redis, options.version)
        except (RedisError, OSError) as error:
            raise CommandError(f"Redis: {error}") from error
