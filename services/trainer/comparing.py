"""A new version beside the one that serves: what both are worth, and which is to serve."""

from datetime import datetime

from redis.asyncio import Redis

from services.trainer.adapters.job_folder import Origin
from services.trainer.adapters.playback_sources import open_source
from services.trainer.core.judgement import Comparison, compare
from services.trainer.core.prediction import PREDICTING_ARRAYS
from services.trainer.core.promotion import Promotion, decide
from services.trainer.core.recipe import Fitted
from services.trainer.order import Order
from shared.artifacts import ArtifactError, ModelManifest, fetch_latest_version, fetch_model
from shared.catalog import Catalog


async def compare_with_serving(
    order: Order, origin: Origin, redis: Redis, *, catalog: Catalog, fitted: Fitted
) -> tuple[Comparison | None, Promotion]:
    """Judge what serves now on the same sessions, and decide which of the two is to serve."""
    promote, serving = order.parameters.promote, await fetch_latest_version(redis)
    comparison, obstacle = None, None
    if serving is not None:
        try:
            model = await fetch_model(redis, serving, only=(*PREDICTING_ARRAYS, "neighbours"))
        except ArtifactError as error:
            obstacle = str(error)
        else:
            if model.manifest.catalog_checksum != catalog.checksum:
                obstacle = f"{serving} is of another catalogue"
            elif fitted.judgement is not None:
                comparison = compare(
                    fitted.judgement,
                    model.arrays,
                    model_version=serving,
                    seen_share=await _measure_seen(order, origin, fitted, model.manifest),
                )
    decision = decide(promote, serving=serving, comparison=comparison, obstacle=obstacle)
    return comparison, decision


async def _measure_seen(
    order: Order, origin: Origin, fitted: Fitted, serving: ModelManifest
) -> float:
    """Measure which share of the held-out sessions the serving version may have learnt from."""
    assert fitted.judged_from is not None  # noqa: S101 - it was judged
    until = order.parameters.until
    learnt_until = min(filter(None, (until, serving.learnt_until)), default=None)
    source = open_source(order.parameters.source, postgres_dsn=order.postgres_dsn)

    async def count(before: datetime | None, watermark: datetime) -> int:
        assert fitted.judged_from is not None  # noqa: S101
        return await source.count_sessions(
            since=fitted.judged_from, until=before, watermark=watermark
        )

    n_seen = 0
    if serving.data_until is not None:
        n_seen = await count(learnt_until, min(serving.data_until, origin.watermark))
    return n_seen / max(await count(until, origin.watermark), 1)


def summarise(comparison: Comparison | None) -> dict[str, float]:
    """Return the metrics of a comparison that a manifest keeps."""
    if comparison is None:
        return {}
    metrics = {f"serving_{name}": value for name, value in comparison.serving.items()}
    return metrics | {
        "serving_seen_share": comparison.seen_share,
        "mse_difference": comparison.difference,
        "mse_difference_upper": comparison.difference_upper,
    }
