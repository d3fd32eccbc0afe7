"""Small catalogues, models and requests for the recommender's tests."""

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from services.recommender.core.catalog_index import CatalogIndex, make_catalog_index
from services.recommender.core.decisions import Outcome
from services.recommender.core.draws import Draw
from services.recommender.core.models import Models, ServedModel, make_served_model
from services.recommender.core.recommenders import Context
from services.recommender.core.sessions import UserState
from services.recommender.settings import Settings
from shared.artifacts import ModelManifest, ModelVersion, make_model
from shared.catalog import Catalog, Track, make_catalog
from shared.events import Event

N_TRACKS = 60
N_ARTISTS = 10
FIRST_ID = 100  # ids are not rows

CONTROL, TREATED = 0, 1  # users, by the salt SERVING

EXPERIMENTS = b"""
serving: SERVING
experiments:
  - name: SERVING
    treatments:
      - {name: C, recommender: random}
      - {name: T1, recommender: contextual}
  - name: AA
    treatments: [{name: C}, {name: T1}]
"""


def make_tracks(n_tracks: int = N_TRACKS, n_artists: int = N_ARTISTS) -> Catalog:
    """Make a catalogue: track `FIRST_ID + i` of artist `i % n_artists`."""
    return make_catalog(
        Track(FIRST_ID + i, f"artist {i % n_artists}", f"title {i}") for i in range(n_tracks)
    )


def make_index(n_tracks: int = N_TRACKS, n_artists: int = N_ARTISTS) -> CatalogIndex:
    """Index such a catalogue."""
    return make_catalog_index(make_tracks(n_tracks, n_artists))


def make_arrays(n_tracks: int = N_TRACKS) -> dict[str, npt.NDArray[Any]]:
    """Make arrays: the neighbours of row i are the 12 after it, then two pads."""
    steps = np.arange(1, 13, dtype=np.int32)
    neighbours = (np.arange(n_tracks, dtype=np.int32)[:, None] + steps) % n_tracks
    pads = np.full((n_tracks, 2), -1, np.int32)
    return make_taste_arrays(n_tracks) | {
        "neighbours": np.hstack([neighbours, pads]).astype(np.int32),
        "top_tracks": np.arange(n_tracks - 1, -1, -1, dtype=np.int32),
        "user_ids": np.array([7, 8], np.int32),
        "user_tracks": np.array([[1, 2, 3, 4, 5, 6], [10, 11, 12, 13, -1, -1]], np.int32),
    }


def make_taste_arrays(n_tracks: int = N_TRACKS, d: int = 4) -> dict[str, npt.NDArray[Any]]:
    """Make the arrays of a session recommender, of random tracks; it knows the users 7 and 8."""
    rng = np.random.default_rng(1)
    arrays = {
        "track_embedding": rng.normal(size=(n_tracks, d)),
        "track_variance": rng.uniform(0.1, 1.0, n_tracks),
        "context_embedding": rng.normal(size=(n_tracks, d)),
        "session_covariance": 0.5 * np.eye(d) + 0.1,
        "interest_prior": np.array([np.full(d, 0.1), np.full(d, 1.5)]),
        "interest_embedding": 3 * rng.normal(size=(3, d)),
        "interest_variance": rng.uniform(0.1, 0.3, (3, d)),
        "user_listener": np.array([[1.2, 2, 0.1, 0.02, 1], [0.8, 1, 0.1, 0, 1], [1, 1, 0.2, 0, 2]]),
        "session_constants": np.array([0.8, 0.3]),
    }
    rows = {"user_ids": np.array([7, 8], np.int32), "interest_users": np.array([1, 0, 0], np.int32)}
    return rows | {k: v.astype(np.float32) for k, v in arrays.items()}


def make_version(
    version: str, catalog: Catalog, arrays: Mapping[str, npt.NDArray[Any]] | None = None
) -> ModelVersion:
    """Make a version as a training publishes it."""
    manifest = ModelManifest(
        model_version=version,
        recipe="test",
        created_at=datetime(2024, 1, 1, tzinfo=UTC),
        catalog_checksum=catalog.checksum,
    )
    return make_model(manifest, make_arrays(len(catalog)) if arrays is None else arrays)


def make_served(index: CatalogIndex, version: str = "m1") -> ServedModel:
    """Make a model that serves."""
    return make_served_model(
        version, checksum=index.checksum, arrays=make_arrays(len(index)), catalog=index
    )


def make_context(
    index: CatalogIndex,
    *,
    user: int = 7,
    track: int = 0,
    first: int | None = None,
    heard: Iterable[int] = (),
    seed: int = 0,
    model: ServedModel | None = None,
    **past: Any,
) -> Context:
    """Make a context; rows, not track ids."""
    return Context(
        user=user,
        track=track,
        first=track if first is None else first,
        heard={track, *heard},
        draw=Draw(seed, user, track, 0),
        catalog=index,
        model=model,
        **past,
    )


def make_settings(folder: Path, **changes: Any) -> Settings:
    """Write a catalogue and experiments to a folder and make settings that name them."""
    catalog, experiments = folder / "tracks.json", folder / "experiments.yaml"
    catalog.write_bytes(make_tracks().to_json_lines())
    if not experiments.exists():
        experiments.write_bytes(EXPERIMENTS)
    return Settings(**{"catalog": catalog, "experiments": experiments, **changes})


class MemorySessionStore:
    """The session store without Redis."""

    def __init__(self) -> None:
        """Start empty."""
        self.states: dict[int, UserState] = {}
        self.events: list[Event] = []

    async def update(self, user: int, transition: Any) -> Outcome:
        """Apply a transition; nothing can come between."""
        outcome: Outcome = transition(self.states.get(user), None)
        if outcome.event is not None:
            self.events.append(outcome.event)
            if outcome.state is None:
                self.states.pop(user, None)
            else:
                self.states[user] = outcome.state
        return outcome

    async def deliver(self) -> None:
        """Have nothing to deliver."""

    async def ping(self) -> None:
        """Always answer."""

    async def close(self) -> None:
        """Have nothing to close."""


class Silent:
    """Announces no definitions."""

    async def watch(self) -> None:
        """Have nothing to say."""


class FixedModels:
    """Model versions that stay as they are."""

    def __init__(self, models: Models | None = None) -> None:
        """Serve these."""
        self.current = models or Models()

    async def refresh(self) -> None:
        """Have nothing to look for."""

    async def watch(self) -> None:
        """Have nothing to look for."""

    async def close(self) -> None:
        """Have nothing to close."""

    def problem(self) -> str | None:
        """Be ready."""
        return None
