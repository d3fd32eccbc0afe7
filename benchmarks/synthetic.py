"""A catalogue and a model version of random numbers, as large as asked: cost, not quality."""

from typing import Any

import numpy as np
import numpy.typing as npt

from shared.catalog import Catalog, Track, make_catalog

N_ARTISTS = 5_000


def make_synthetic_catalog(n_tracks: int) -> Catalog:
    """Make a catalogue whose track ids are its rows."""
    return make_catalog(Track(i, f"artist {i % N_ARTISTS}", f"title {i}") for i in range(n_tracks))


def make_synthetic_arrays(
    n_tracks: int, d: int, *, n_users: int = 1_000
) -> dict[str, npt.NDArray[Any]]:
    """Make the arrays that `contextual`, `top_pop` and `session` read.

    Args:
        n_tracks: Of the catalogue.
        d: Of an embedding.
        n_users: Listeners with three known interests each.
    """
    rng = np.random.default_rng(0)
    floats = {
        "track_embedding": rng.normal(size=(n_tracks, d)) * 0.7,
        "context_embedding": rng.normal(size=(n_tracks, d)),
        "track_variance": rng.uniform(0.5, 2.0, n_tracks),
        "session_covariance": np.eye(d) * 0.4,
        "user_listener": np.tile([1.1, 4.0, 0.15, 0.5, 4.0], (n_users + 1, 1)),
        "session_constants": np.array([0.8, 0.3]),
        "interest_prior": np.vstack([np.zeros(d), np.ones(d)]),
        "interest_embedding": rng.normal(size=(3 * n_users, d)),
        "interest_variance": np.full((3 * n_users, d), 0.3),
    }
    arrays: dict[str, Any] = {name: value.astype(np.float32) for name, value in floats.items()}
    arrays["user_ids"] = np.arange(n_users, dtype=np.int32)
    arrays["interest_users"] = np.repeat(arrays["user_ids"], 3)
    arrays["neighbours"] = rng.integers(0, n_tracks, (n_tracks, 50), np.int32)
    arrays["top_tracks"] = np.arange(n_tracks, dtype=np.int32)
    return arrays
