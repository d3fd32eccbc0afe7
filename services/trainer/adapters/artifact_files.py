"""The files that a job leaves: what was measured, and pictures of it."""

import contextlib
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np

from services.trainer.core.errors import TrainingError
from shared.artifacts import ModelVersion
from shared.catalog import IntArray

if TYPE_CHECKING:
    from services.trainer.core.embedding_map import EmbeddingMap

MEDIA_TYPES = {".json": "application/json", ".png": "image/png"}


def make_artifacts(
    outcome: Mapping[str, Any], model: ModelVersion, *, track_ids: IntArray, map_tracks: int
) -> Iterator[tuple[str, bytes]]:
    """Make the artifacts of a job, one after the other.

    Args:
        outcome: `recipe`, `losses`, `metrics`, `reliability` and whatever else is to be kept.
        model: That the job made.
        track_ids: Of the catalogue's rows.
        map_tracks: To lay out in its embedding map, at most; 0 draws none.
    """
    # Only here: the service itself never needs what takes a second to import.
    from services.trainer.adapters.map_picture import draw_map_of, map_model
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
            embedding_map = map_model(model, n_points=map_tracks)
            yield "map.png", draw_map_of(model, embedding_map)
            yield "map.json", write_map(embedding_map, model, track_ids=track_ids)


def write_map(embedding_map: "EmbeddingMap", model: ModelVersion, *, track_ids: IntArray) -> bytes:
    """Write where every track lies among those that follow, as JSON.

    `tracks`, `x` and `y` have the tracks laid out first, the least popular of them first, then the
    others, which lie between those they are like; `n_laid_out` says where these begin.
    """
    from services.trainer.core.embedding_map import place_others

    order = np.argsort(embedding_map.popularity, kind="stable")
    rows, places = embedding_map.rows[order], embedding_map.track[order]
    embedding = model.arrays["track_embedding"]
    others, between = place_others(embedding, embedding_map.rows, embedding_map.track)
    x, y = np.concatenate([places, between]).T.astype(float).round(2).tolist()
    tracks = track_ids[np.concatenate([rows, others])].tolist()
    return msgspec.json.encode({"n_laid_out": len(rows), "tracks": tracks, "x": x, "y": y})
