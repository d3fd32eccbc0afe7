"""Publication with bounded retries; what cannot be published is kept on disk."""

import asyncio
import logging
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

from redis.exceptions import RedisError

from services.trainer.adapters.postgres import UNAVAILABLE
from services.trainer.adapters.registry import Registry
from services.trainer.core.errors import TrainingError
from shared.artifacts import ModelVersion
from shared.model_files import save_model

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class PublicationOptions:
    """How to publish.

    Attributes:
        activate: Whether the version serves at once.
        keep: Versions that Redis keeps.
        attempts: Before giving up.
        wait_s: Before the second attempt; doubles with each.
        folder: Where a version is saved that could not be published.
        job_id: That made it.
    """

    activate: bool
    keep: int
    attempts: int
    wait_s: float
    folder: Path | None
    job_id: UUID | None = None


async def publish_patiently(
    registry: Registry, model: ModelVersion, *, options: PublicationOptions
) -> None:
    """Publish a version, trying again while Redis or Postgres is away.

    Raises:
        TrainingError: If it stays away; says where the version was saved.
        JobOverError: If its job was cancelled meanwhile.
    """
    for attempt in range(options.attempts):
        try:
            await registry.publish(
                model, activate=options.activate, keep=options.keep, job_id=options.job_id
            )
        except (*UNAVAILABLE, RedisError) as error:
            # Redis' client quotes the command, and so the array, before what went wrong.
            reason = f"{type(error).__name__}: {str(error).rpartition('caused error: ')[2]}"
            log.warning("publication: attempt %d: %s", attempt + 1, reason)
            if attempt + 1 < options.attempts:
                await asyncio.sleep(options.wait_s * 2**attempt)
        else:
            return
    saved = "" if options.folder is None else await _save(model, options.folder)
    raise TrainingError(f"not published after {options.attempts} attempts: {reason}{saved}")


async def _save(model: ModelVersion, folder: Path) -> str:
    target = folder / model.manifest.model_version
    try:
        await asyncio.to_thread(save_model, model, target)
    except OSError as error:
        return f"; nor could it be saved to {target}: {error.strerror}"
    return f"; saved to {target}: `python -m services.trainer publish {target}` publishes it"
