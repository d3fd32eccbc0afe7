"""Model versions made for tests."""

from datetime import UTC, datetime, timedelta

import numpy as np

from shared.artifacts import ModelManifest, ModelVersion, make_model

START = datetime(2026, 1, 1, tzinfo=UTC)


def make_version(number: int = 0, *, n_tracks: int = 4, checksum: str = "c") -> ModelVersion:
    """Make a small model version; a later number is a later version."""
    rng = np.random.default_rng(number)
    manifest = ModelManifest(
        model_version=f"v{number:02}",
        recipe="artist_concat",
        created_at=START + timedelta(minutes=number),
        catalog_checksum=checksum,
        parameters={"dim": 3},
        metrics={"ndcg_at_10": 0.5},
    )
    arrays = {
        "neighbours": rng.integers(-1, n_tracks, (n_tracks, 2)).astype(np.int32),
        "top_tracks": np.arange(n_tracks, dtype=np.int32),
        "track_embedding": rng.standard_normal((n_tracks, 3)).astype(np.float32),
    }
    return make_model(manifest, arrays)
