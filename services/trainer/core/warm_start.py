"""Starting from an earlier version's arrays: which version can be continued, and which cannot."""

from collections.abc import Mapping
from typing import Any

import numpy.typing as npt

from services.trainer.core.errors import TrainingError
from services.trainer.core.parameters import TrainingParameters

PAIR_ARRAYS = ("context_embedding", "track_embedding")
SESSION_ARRAYS = ("track_embedding", "user_ids", "user_listener", "interest_prior")


def arrays_to_continue(recipe: str) -> tuple[str, ...]:
    """Name the arrays that a training of this recipe starts from."""
    return SESSION_ARRAYS if recipe == "session" else PAIR_ARRAYS


def why_not_continued(
    parameters: TrainingParameters, *, recipe: str, dim: object, is_same_catalog: bool
) -> str | None:
    """Say why a training cannot start from a version; None if it can.

    Args:
        parameters: Of the training.
        recipe, dim: Of the version.
        is_same_catalog: Whether the version is of the catalogue that the training is for.
    """
    if recipe != parameters.recipe:
        return f"is of the recipe {recipe}"
    if dim != parameters.dim:
        return f"has the dim {dim}"
    if not is_same_catalog:
        return "is of another catalogue"
    return None


def check_arrays(
    arrays: Mapping[str, npt.NDArray[Any]], parameters: TrainingParameters, *, n_tracks: int
) -> None:
    """Refuse arrays that a training cannot start from.

    Raises:
        TrainingError: If one is missing or has another shape than the training's own.
    """
    halves = 2 if parameters.recipe == "artist_concat" else 1
    expected = (n_tracks, halves * parameters.dim)
    for name in arrays_to_continue(parameters.recipe):
        if name not in arrays:
            raise TrainingError(f"cannot start from a version without {name}")
        if name.endswith("_embedding") and arrays[name].shape != expected:
            raise TrainingError(
                f"cannot start from a version whose {name} has the shape {arrays[name].shape}; "
                f"expected {expected}"
            )
