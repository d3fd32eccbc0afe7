"""A model version in the form that recommenders read, and the set of those being served."""

from collections.abc import Mapping
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from services.recommender.core.catalog_index import CatalogIndex
from services.recommender.core.taste_model import (
    Keep,
    TasteModel,
    keep_as_it_is,
    make_taste_model,
)
from shared.catalog import IntArray

LATEST = "latest"
NO_MODEL = "no_model"


class UnusableModelError(ValueError):
    """A model version that must not serve: `reason` is a label, the message says why."""

    def __init__(self, reason: str, message: str) -> None:
        """Keep both."""
        super().__init__(message)
        self.reason = reason


class ServedModel(msgspec.Struct, frozen=True):
    """What recommenders read of one model version; every number is a catalogue row.

    Attributes:
        version: Its id.
        neighbours: (n_tracks, k), best first, -1 pads.
        top_tracks: (n,), best first.
        user_tracks: (n_users, k), -1 pads.
        user_rows: Row of `user_tracks` per user.
        taste: Of the recipe `session`.
    """

    version: str
    neighbours: IntArray | None = None
    top_tracks: IntArray | None = None
    user_tracks: IntArray | None = None
    user_rows: dict[int, int] = {}
    taste: TasteModel | None = None


class Models(msgspec.Struct, frozen=True):
    """All model versions being served at one moment; replaced as a whole, never changed.

    Attributes:
        served: By the name that treatments give: `latest`, or a pinned id.
        refused: Why a name has no usable version, or kept its older one.
    """

    served: Mapping[str, ServedModel] = {}
    refused: Mapping[str, str] = {}

    def find(self, name: str) -> ServedModel | None:
        """Return the version that serves under a name, if any."""
        return self.served.get(name)

    def why_not(self, name: str) -> str:
        """Return the reason why a name has no version."""
        return self.refused.get(name, NO_MODEL)


def make_served_model(
    version: str,
    *,
    checksum: str,
    arrays: Mapping[str, npt.NDArray[Any]],
    catalog: CatalogIndex,
    keep: Keep = keep_as_it_is,
) -> ServedModel:
    """Check a model version against the catalogue and make it quick to read.

    Args:
        version: Its id.
        checksum: Of the catalogue whose rows the arrays name.
        arrays: As in `shared.artifacts.ModelVersion`.
        catalog: The catalogue that this service serves.
        keep: Puts a large array where it is to stay.

    Raises:
        UnusableModelError: If it is of another catalogue, or names rows that do not exist.
    """
    if checksum != catalog.checksum:
        raise UnusableModelError("model_mismatch", f"model {version} is of another catalogue")
    for name in ("neighbours", "top_tracks", "user_tracks"):
        _check_rows(version, name, arrays.get(name), n_tracks=len(catalog))
    neighbours, user_tracks = arrays.get("neighbours"), arrays.get("user_tracks")
    if neighbours is not None and len(neighbours) != len(catalog):
        raise UnusableModelError("model_broken", f"model {version}: neighbours lack tracks")
    user_ids = arrays.get("user_ids", np.empty(0, np.int32))
    if user_tracks is not None and len(user_ids) != len(user_tracks):
        raise UnusableModelError("model_broken", f"model {version}: users and their tracks differ")
    top_tracks = arrays.get("top_tracks")
    return ServedModel(
        version=version,
        neighbours=None if neighbours is None else keep(neighbours),
        top_tracks=None if top_tracks is None else keep(top_tracks),
        user_tracks=None if user_tracks is None else keep(user_tracks),
        user_rows={user: row for row, user in enumerate(user_ids.tolist())},
        taste=_make_taste(version, arrays, catalog, keep),
    )


def _make_taste(
    version: str, arrays: Mapping[str, npt.NDArray[Any]], catalog: CatalogIndex, keep: Keep
) -> TasteModel | None:
    if "interest_prior" not in arrays:  # only the recipe `session` has it
        return None
    try:
        return make_taste_model(
            arrays, artists=catalog.artist_rows, n_artists=len(catalog.rows_by_artist), keep=keep
        )
    except ValueError as error:
        raise UnusableModelError("model_broken", f"model {version}: {error}") from error


def _check_rows(version: str, name: str, rows: npt.NDArray[Any] | None, *, n_tracks: int) -> None:
    if rows is not None and rows.size and (rows.min() < -1 or rows.max() >= n_tracks):
        raise UnusableModelError(
            "model_broken", f"model {version}: {name} names rows outside the catalogue"
        )
