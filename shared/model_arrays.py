"""The arrays that a model version may have."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import numpy as np

from shared.arrays import AnyArray

_INTEGER, _REAL = np.dtype(np.int32), np.dtype(np.float32)

# Every array that a version may have: its type and its number of axes.
ARRAYS: Mapping[str, tuple[np.dtype[Any], int]] = MappingProxyType(
    {
        "neighbours": (_INTEGER, 2),
        "top_tracks": (_INTEGER, 1),
        "user_ids": (_INTEGER, 1),
        "user_tracks": (_INTEGER, 2),
        "context_embedding": (_REAL, 2),
        "track_embedding": (_REAL, 2),
        "track_variance": (_REAL, 1),
        "interest_prior": (_REAL, 2),
        "session_covariance": (_REAL, 2),
        "session_constants": (_REAL, 1),
        "user_listener": (_REAL, 2),
        "interest_users": (_INTEGER, 1),
        "interest_embedding": (_REAL, 2),
        "interest_variance": (_REAL, 2),
    }
)


def check_array(name: str, array: AnyArray) -> None:
    """See that a recommender can read an array.

    Raises:
        ValueError: If its name, type or shape is none that a version may have.
    """
    if name not in ARRAYS:
        raise ValueError(f"array {name} is none of {', '.join(ARRAYS)}")
    dtype, ndim = ARRAYS[name]
    if array.dtype != dtype or array.ndim != ndim:
        raise ValueError(
            f"array {name} is {array.dtype} of shape {array.shape}; expected {dtype}, {ndim} axes"
        )
    if dtype == _REAL and not np.isfinite(array).all():
        raise ValueError(f"array {name} has values that are not finite")
