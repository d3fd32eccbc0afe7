"""The taste of one session: what its first track says, and what each listened time adds.

A listener with slope s and offset o, in a session with the interest i, listens to track e with
logit s <e, i> - o. The state is a normal belief about (s i, o), so that the logit is linear in it
with the track's row (e, -1): a Kalman filter, in which a time at the end of the scale only says on
which side of it the logit lies.
"""

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import msgspec
import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]
Float32Array = npt.NDArray[np.float32]
IntArray = npt.NDArray[np.int32]

TASTE_ARRAYS = (
    "track_embedding",
    "track_variance",
    "session_start",
    "session_covariance",
    "session_constants",
    "user_ids",
    "user_listener",
)

_HALF_STEP = 0.005  # listeners report hundredths
_LEAST_DISCOUNT = 0.02  # below it hundredths say nothing about the logit
_FAR = 30.0  # standard deviations at which the normal tail's ratio is as good as its limit


class TasteModel(msgspec.Struct, frozen=True, kw_only=True):
    """What a model version says about tastes.

    Attributes:
        tracks: Row (e, -1) per track, float32 (n_tracks, d + 1).
        artists: Artist per track, int32 (n_tracks,).
        n_artists: Artists of the catalogue.
        variance: Of a logit, from the track's own uncertainty, float32 (n_tracks,).
        narrowing: 1 / sqrt(1 + pi/8 variance), float32 (n_tracks,).
        prior: E[i | first track e] = prior[:, :d] e + prior[:, d], float64 (d, d + 1).
        covariance: Of i given the first track, float64 (d, d).
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
    prior: FloatArray
    covariance: FloatArray
    listener_rows: dict[int, int]
    listeners: FloatArray
    gamma: float
    noise: float


class Taste(NamedTuple):
    """A normal belief about (s i, o): float32 (d + 1,), and (d + 1, d + 1), exactly symmetric."""

    mean: Float32Array
    covariance: Float32Array


class Observation(NamedTuple):
    """What a listened time says of the logit.

    Attributes:
        logit: Its value, or the bound that it lies beyond.
        variance: From the rounding to hundredths.
        side: 0 if the value is known, -1 if it lies below the bound, +1 above.
    """

    logit: float
    variance: float
    side: int


def make_taste_model(
    arrays: Mapping[str, npt.NDArray[Any]], *, artists: IntArray, n_artists: int
) -> TasteModel:
    """Read a version's arrays.

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
        "session_start": (d + 1, d),
        "session_covariance": (d, d),
        "session_constants": (2,),
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
        tracks=np.ascontiguousarray(np.hstack([arrays["track_embedding"], ones])),
        artists=artists,
        n_artists=n_artists,
        variance=variance,
        narrowing=(1 / np.sqrt(1 + np.pi / 8 * variance)).astype(np.float32),
        prior=np.ascontiguousarray(arrays["session_start"].T, dtype=np.float64),
        covariance=arrays["session_covariance"].astype(np.float64),
        listener_rows={user: row for row, user in enumerate(arrays["user_ids"].tolist())},
        listeners=arrays["user_listener"].astype(np.float64),
        gamma=gamma,
        noise=noise,
    )


def start(model: TasteModel, *, user: int, first: int) -> Taste:
    """Begin a session: what its first track and its listener say.

    Source: for independent (s, o) and i, cov(s i, o) = cov(s, o) E[i], and
    cov(s i) = E[s^2] cov(i) + var(s) E[i] E[i]'.
    """
    slope, offset, var_slope, cov_both, var_offset = model.listeners[
        model.listener_rows.get(user, -1)
    ].tolist()
    d = len(model.prior)
    interest = model.prior[:, :d] @ model.tracks[first, :d] + model.prior[:, d]
    mean = np.append(slope * interest, offset)
    covariance = np.empty((d + 1, d + 1))
    covariance[:d, :d] = (slope**2 + var_slope) * model.covariance
    covariance[:d, :d] += var_slope * np.outer(interest, interest)
    covariance[:d, d] = covariance[d, :d] = cov_both * interest
    covariance[d, d] = var_offset
    symmetric = (covariance + covariance.T) / 2
    return Taste(mean.astype(np.float32), symmetric.astype(np.float32))


def observe(
    model: TasteModel, taste: Taste, *, track: int, time: float, n_same_artist: int
) -> Taste:
    """Learn from a listened time.

    Args:
        model: Of the session.
        taste: Before.
        track: Row played, for the first time in the session.
        time: Fraction listened to, in hundredths.
        n_same_artist: Earlier tracks of its artist in the session.
    """
    discount = model.gamma**n_same_artist
    if discount <= _LEAST_DISCOUNT:
        return taste
    seen = read_time(time, discount)
    row = model.tracks[track].astype(np.float64)
    gain = taste.covariance @ row
    mean = float(taste.mean @ row)
    variance = max(float(gain @ row), 0.0) + float(model.variance[track]) + model.noise + 1e-6
    if seen.side:
        posterior_mean, posterior_variance = truncate(mean, variance, seen.logit, seen.side)
        shift = (posterior_mean - mean) / variance
        shrink = (1 - posterior_variance / variance) / variance
    else:
        shrink = 1 / (variance + seen.variance)
        shift = (seen.logit - mean) * shrink
    # The outer product of a vector with itself is symmetric to the last bit.
    half = (gain * math.sqrt(max(shrink, 0.0))).astype(np.float32)
    return Taste(
        (taste.mean + gain * shift).astype(np.float32),
        taste.covariance - half[:, None] * half,
    )


def read_time(time: float, discount: float) -> Observation:
    """Turn a listened time into what it says of the logit.

    Args:
        time: Fraction listened to, rounded to hundredths.
        discount: Factor that was on it; the time is discount * sigmoid(logit), rounded.
    """
    if time < _HALF_STEP:
        return Observation(_logit(min(_HALF_STEP / discount, 0.5)), 0.0, -1)
    if time > discount - _HALF_STEP:
        return Observation(_logit(max(1 - _HALF_STEP / discount, 0.5)), 0.0, 1)
    share = min(max(time / discount, 1e-4), 1 - 1e-4)
    rounding = (_HALF_STEP / discount / (share * (1 - share))) ** 2 / 3
    return Observation(_logit(share), rounding, 0)


def truncate(mean: float, variance: float, bound: float, side: int) -> tuple[float, float]:
    """Return mean and variance of a normal cut off at a bound.

    Args:
        mean: Before.
        variance: Before.
        bound: Where it is cut.
        side: What stays: +1 above the bound, -1 below.
    """
    deviation = math.sqrt(variance)
    alpha = min(max(side * (mean - bound) / deviation, -_FAR), _FAR)
    below = 0.5 * math.erfc(-alpha / math.sqrt(2))
    ratio = math.exp(-0.5 * alpha * alpha) / math.sqrt(2 * math.pi) / below
    shrunk = min(max(1 - ratio * (ratio + alpha), 1e-3), 1.0)
    return mean + side * deviation * ratio, variance * shrunk


def _logit(share: float) -> float:
    return math.log(share / (1 - share))
