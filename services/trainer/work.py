"""A training from the log to the version that is published, step by step."""

import contextlib
import importlib.metadata
import resource
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy.typing as npt
from redis.asyncio import Redis

from services.trainer.adapters.artifact_files import make_artifacts
from services.trainer.adapters.job_folder import DiskCheckpoints, JobFolder, Origin
from services.trainer.adapters.playback_sources import open_source
from services.trainer.adapters.postgres import open_pool
from services.trainer.adapters.publisher import PublicationOptions, publish_patiently
from services.trainer.adapters.ray_workers import open_workers
from services.trainer.adapters.registry import Registry
from services.trainer.comparing import compare_with_serving, summarise
from services.trainer.core.errors import TrainingError
from services.trainer.core.judgement import Comparison
from services.trainer.core.parameters import Report
from services.trainer.core.playbacks import make_log
from services.trainer.core.promotion import Promotion
from services.trainer.core.recipe import Fitted, fit_recipe
from services.trainer.core.versions import make_version_id
from services.trainer.core.warm_start import arrays_to_continue, why_not_continued
from services.trainer.order import Message, Order, to_dict
from shared.artifacts import (
    ArtifactError,
    ModelManifest,
    ModelVersion,
    fetch_latest_version,
    fetch_model,
    make_model,
)
from shared.catalog import Catalog
from shared.catalog_store import fetch_catalog
from shared.redis_client import create_redis

Send = Callable[[Message], None]
Arrays = dict[str, npt.NDArray[Any]]


async def train(order: Order, send: Send) -> str:
    """Read, fit, compare and publish; return the version's id.

    Raises:
        TrainingError: If the log cannot be learnt from, or the version cannot be published.
        ArtifactError: If there is no catalogue.
        JobOverError: If the job was cancelled meanwhile.
    """
    report, losses = _make_report(send)
    started = time.monotonic()
    report("reading")
    async with contextlib.AsyncExitStack() as stack:
        redis = await stack.enter_async_context(
            create_redis(order.redis_url, timeout_s=order.redis_timeout_s)
        )
        catalog = await fetch_catalog(redis)
        folder = JobFolder(order.folder, order.job_id)
        origin, playbacks = await _read(order, folder, redis, report=report)
        warm = await _fetch_warm(order, origin, redis, catalog=catalog, report=report)
        log = make_log(playbacks)
        del playbacks
        checkpoints = DiskCheckpoints(folder.checkpoint, lambda text: report(None, warning=text))
        engine = order.parameters.engine
        with open_workers(engine, order.ray_workers, order.ray_address) as workers:
            fitted = fit_recipe(
                log,
                catalog,
                parameters=order.parameters,
                report=report,
                warm=warm,
                checkpoints=checkpoints,
                workers=workers,
            )
        del log
        report("comparing")
        comparison, promotion = await compare_with_serving(
            order, origin, redis, catalog=catalog, fitted=fitted
        )
        fitted.metrics.update(_measure_resources(started) | summarise(comparison))
        model = _make_version(order, origin, fitted, catalog=catalog)
        outcome = _describe(fitted, comparison, promotion)
        report("publishing", **outcome)
        pool = await stack.enter_async_context(open_pool(order.postgres_dsn))
        options = _publication(order, activate=promotion.is_promoted)
        await publish_patiently(Registry(pool, redis), model, options=options)
    folder.forget_checkpoint()
    version = model.manifest.model_version
    outcome |= {"recipe": model.manifest.recipe, "model_version": version, "losses": losses}
    artifacts = make_artifacts(
        outcome, model, track_ids=catalog.track_ids, map_tracks=order.map_tracks
    )
    _save_artifacts(folder, artifacts, report=report)
    return version


def peak_memory_bytes() -> int:
    """Return the most memory that this process has held."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


async def _read(
    order: Order, folder: JobFolder, redis: Redis, *, report: Report
) -> tuple[Origin, npt.NDArray[Any]]:
    """Read the log as of now or, when resumed, as it was when the training began."""
    parameters, origin = order.parameters, folder.load_origin()
    source = open_source(parameters.source, postgres_dsn=order.postgres_dsn)
    if origin is None:
        origin = Origin(await source.read_watermark(), await fetch_latest_version(redis))
        try:
            folder.save_origin(origin)
        except OSError as error:
            report(None, warning=f"cannot be resumed: {error.strerror}")
    since = parameters.since
    if parameters.window_days is not None:
        since = origin.watermark - timedelta(days=parameters.window_days)
    playbacks = await source.read(since=since, until=parameters.until, watermark=origin.watermark)
    return origin, playbacks


async def _fetch_warm(
    order: Order, origin: Origin, redis: Redis, *, catalog: Catalog, report: Report
) -> Arrays | None:
    """Fetch what to start from; report why it starts cold, if it does.

    Raises:
        TrainingError: If a resumed training's own start has expired.
    """
    parameters = order.parameters
    if not parameters.warm_start:
        return None
    if origin.parent is None:
        report(None, warm_start="cold: no version serves yet")
        return None
    try:
        names = arrays_to_continue(parameters.recipe)
        parent = await fetch_model(redis, origin.parent, only=names)
    except ArtifactError as error:
        raise TrainingError(f"cannot start from the version that serves: {error}") from error
    manifest = parent.manifest
    obstacle = why_not_continued(
        parameters,
        recipe=manifest.recipe,
        dim=manifest.parameters.get("dim"),
        is_same_catalog=manifest.catalog_checksum == catalog.checksum,
    )
    if obstacle is not None:
        report(None, warm_start=f"cold: {origin.parent} {obstacle}")
        return None
    report(None, warm_start=f"from {origin.parent}")
    return dict(parent.arrays)


def _make_version(
    order: Order, origin: Origin, fitted: Fitted, *, catalog: Catalog
) -> ModelVersion:
    now = datetime.now(UTC)
    manifest = ModelManifest(
        model_version=make_version_id(now, order.job_id.hex),
        recipe=order.parameters.recipe,
        created_at=now,
        catalog_checksum=catalog.checksum,
        parent=origin.parent,
        data_from=fitted.data_from,
        data_until=origin.watermark,
        learnt_until=fitted.learnt_until or order.parameters.until,
        n_sessions=fitted.n_sessions,
        n_playbacks=fitted.n_playbacks,
        parameters=to_dict(order.parameters),
        seed=order.parameters.seed,
        code_version=importlib.metadata.version("segue"),
        metrics=fitted.metrics,
    )
    return make_model(manifest, fitted.arrays)


def _publication(order: Order, *, activate: bool) -> PublicationOptions:
    return PublicationOptions(
        activate=activate,
        keep=order.keep_versions,
        attempts=order.publish_attempts,
        wait_s=order.publish_wait_s,
        folder=order.folder,
        job_id=order.job_id,
    )


def _save_artifacts(
    folder: JobFolder, artifacts: Iterator[tuple[str, bytes]], *, report: Report
) -> None:
    report("drawing")
    try:
        for name, content in artifacts:
            folder.save_artifact(name, content)
    except OSError as error:
        report(None, warning=f"artifacts are missing: {error.strerror}")


def _measure_resources(started: float) -> dict[str, float]:
    return {
        "training_s": round(time.monotonic() - started, 3),
        "peak_memory_bytes": float(peak_memory_bytes()),
    }


def _describe(
    fitted: Fitted, comparison: Comparison | None, promotion: Promotion
) -> dict[str, Any]:
    return {
        "metrics": fitted.metrics,
        "reliability": fitted.judgement.reliability if fitted.judgement else [],
        "comparison": None if comparison is None else comparison.to_dict(),
        "promotion": asdict(promotion),
    }


def _make_report(send: Send) -> tuple[Report, list[dict[str, Any]]]:
    """Return what reports to the service, and the losses that it was told."""
    losses: list[dict[str, Any]] = []

    def report(stage: str | None, **fields: Any) -> None:
        if "epoch" in fields:
            losses.append(fields)
        send(Message(stage=stage, fields=fields))

    return report, losses
