"""The taste of one session: what each listened time adds, and what it lets expect of tracks.

A listener with slope s and offset o, in a session with the interest i, listens to track e with
logit s <e, i> - o. The state is a normal belief about (s i, o), so that the logit is linear in it
with the track's row (e, -1): a Kalman filter, in which a time at the end of the scale only says on
which side of it the logit lies.
"""

import math
from typing import NamedTuple

import numpy as np

from services.recommender.core.taste_model import Float32Array, TasteModel

_HALF_STEP = 0.005  # listeners report hundredths
_LEAST_DISCOUNT = 0.02  # below it hundredths say nothing about the logit
_FAR = 30.0  # standard deviations at which the normal tail's ratio is as good as its limit


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
