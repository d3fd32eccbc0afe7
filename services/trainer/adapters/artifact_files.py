"""The files that a job leaves: what was measured, and pictures of it."""

import contextlib
from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from services.trainer.core.errors import TrainingError
from shared.artifacts import ModelVersion

MEDIA_TYPES = {".json": "application/json", ".png": "image/png"}


def make_artifacts(
    outcome: Mapping[str, Any], model: ModelVersion, *, map_tracks: int
) -> Iterator[tuple[str, bytes]]:
    """Make the artifacts of a job, one after the other.

    Args:
        outcome: `recipe`, `losses`, `metrics`, `reliability` and whatever else is to be kept.
        model: That the job made.
        map_tracks: To lay out in its embedding map, at most; 0 draws none.
    """
    # Only here: the service itself never needs what takes a second to import.
    from services.trainer.adapters.map_picture import draw_model
    from services.trainer.adapters.pictures import draw_losses, draw_reliability

    yield "metrics.json", msgspec.json.format(msgspec.json.encode(outcome), indent=2)
    recipe, losses, metrics = (outcome[name] for name in ("recipe", "losses", "metrics"))
    if losses:
        best = int(metrics.get("best_epoch", 0)) or None
        yield "losses.png", draw_losses(losses, recipe=recipe, best_epoch=best)
    if outcome["reliability"]:
        yield "calibration.png", draw_reliability(outcome["reliability"], recipe=recipe)
    if map_tracks:
        # A version of a few tracks has no map.
        with contextlib.suppress(TrainingError):
            yield "map.png", draw_model(model, n_points=map_tracks)
