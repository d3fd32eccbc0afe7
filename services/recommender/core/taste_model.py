"""What a model version says about tastes, read from its arrays and checked."""

from collections.abc import Mapping
from typing import Any, Protocol, TypeVar

import msgspec
import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]
Float32Array = npt.NDArray[np.float32]
IntArray = npt.NDArray[np.int32]
Array = TypeVar("Array", bound=npt.NDArray[Any])

TASTE_ARRAYS = (
    "track_embedding",
    "track_variance",
    "context_embedding",
    "session_covariance",
    "session_constants",
    "user_ids",
    "user_listener",
    "interest_prior",
    "interest_users",
    "interest_embedding",
    "interest_variance",
)


class Interests(msgspec.Struct, frozen=True, kw_only=True):
    """Normal beliefs about interests.

    Attributes:
        prior_mean, prior_variance: Of an interest of which nothing is known, float64 (d,).
        around: Precision of an interest around its anchor, float64 (d, d).
        message: What of that is the first track's, float64 (d, d).
        begin: Row of each user's first interest, and the end, int32 (n_users + 1,).
        mean, variance: By user, float32 (n_interests, d).
    """

    prior_mean: FloatArray
    prior_variance: FloatArray
    around: FloatArray
    message: FloatArray
    begin: IntArray
    mean: Float32Array
    variance: Float32Array


class TasteModel(msgspec.Struct, frozen=True, kw_only=True):
    """What a model version says about tastes.

    Attributes:
        tracks: Row (e, -1) per track, float32 (n_tracks, d + 1).
        artists: Artist per track, int32 (n_tracks,).
        n_artists: Artists of the catalogue.
        variance: Of a logit, from the track's own uncertainty, float32 (n_tracks,).
        narrowing: 1 / sqrt(1 + pi/8 variance), float32 (n_tracks,).
        anchors: E[i] in a session that starts with the track, float32 (n_tracks, d).
        covariance: Of i around its anchor, float64 (d, d).
        interests: What is known of i without the first track, and from earlier sessions.
        listener_rows: Row of `listeners` per user; the last row serves everyone else.
        listeners: Mean s, mean o, var s, cov(s, o), var o, float64 (n_users + 1, 5).
        gamma: Factor on the time per earlier track of the artist.
        noise: Variance of the noise on every observed logit.
    """

    tracks: Float32Array
    artists: IntArray
    n_artists: int
    variance: Float32Array
    narrowing: Float32Array
    anchors: Float32Array
    covariance: FloatArray
    interests: Interests
    listener_rows: dict[int, int]
    listeners: FloatArray
    gamma: float
    noise: float


class Keep(Protocol):
    """Puts an array where it is to stay; what it returns has the same values."""

    def __call__(self, array: Array) -> Array:
        """Return the array in its place."""


def keep_as_it_is(array: Array) -> Array:
    """Leave an array where it is."""
    return array


def make_taste_model(
    arrays: Mapping[str, npt.NDArray[Any]],
    *,
    artists: IntArray,
    n_artists: int,
    keep: Keep = keep_as_it_is,
) -> TasteModel:
    """Read a version's arrays.

    Args:
        arrays: As in `shared.artifacts.ModelVersion`.
        artists: Artist per track.
        n_artists: Artists of the catalogue.
        keep: Puts a large array where it is to stay.

    Raises:
        ValueError: If one is missing or does not fit the others.
    """
    missing = [name for name in TASTE_ARRAYS if name not in arrays]
    if missing:
        raise ValueError(f"lacks {', '.join(missing)}")
    d = arrays["track_embedding"].shape[1]
    n_tracks, n_users = len(artists), len(arrays["user_ids"])
    expected = {
        "track_embedding": (n_tracks, d),
        "track_variance": (n_tracks,),
        "context_embedding": (n_tracks, d),
        "session_covariance": (d, d),
        "session_constants": (2,),
        "interest_prior": (2, d),
        "interest_embedding": (len(arrays["interest_users"]), d),
        "interest_variance": (len(arrays["interest_users"]), d),
        "user_listener": (n_users + 1, 5),
    }
    for name, shape in expected.items():
        if arrays[name].shape != shape:
            raise ValueError(f"{name} has the shape {arrays[name].shape}, expected {shape}")
    gamma, noise = arrays["session_constants"].tolist()
    variance = arrays["track_variance"]
    if not (0 < gamma <= 1 and noise >= 0 and (variance >= 0).all()):
        raise ValueError("session_constants or track_variance are impossible")
    ones = np.full((n_tracks, 1), -1, np.float32)
    return TasteModel(
        tracks=keep(np.ascontiguousarray(np.hstack([arrays["track_embedding"], ones]))),
        artists=artists,
        n_artists=n_artists,
        variance=keep(variance),
        narrowing=keep((1 / np.sqrt(1 + np.pi / 8 * variance)).astype(np.float32)),
        anchors=keep(arrays["context_embedding"]),
        covariance=arrays["session_covariance"].astype(np.float64),
        interests=_make_interests(arrays, n_users=n_users, keep=keep),
        listener_rows={user: row for row, user in enumerate(arrays["user_ids"].tolist())},
        listeners=arrays["user_listener"].astype(np.float64),
        gamma=gamma,
        noise=noise,
    )


def _make_interests(
    arrays: Mapping[str, npt.NDArray[Any]], *, n_users: int, keep: Keep
) -> Interests:
    owner, variance = arrays["interest_users"], arrays["interest_variance"]
    prior_mean, prior_variance = arrays["interest_prior"].astype(np.float64)
    if owner.size and (owner.min() < 0 or owner.max() >= n_users):
        raise ValueError("interest_users names users that do not exist")
    if not ((variance > 0).all() and (prior_variance > 0).all()):
        raise ValueError("interest_variance or interest_prior are impossible")
    order = np.argsort(owner, kind="stable")
    around = np.linalg.inv(arrays["session_covariance"].astype(np.float64)).astype(np.float64)
    return Interests(
        prior_mean=prior_mean,
        prior_variance=prior_variance,
        around=around,
        message=around - np.diag(1 / prior_variance),
        begin=np.searchsorted(owner[order], np.arange(n_users + 1)).astype(np.int32),
        mean=keep(arrays["interest_embedding"][order]),
        variance=keep(variance[order]),
    )
