"""What random play comes to in a world, from the embeddings alone, and how long they should be."""

import numpy as np

from simulator.core.draws import FloatArray
from simulator.core.dynamics import listened_time
from simulator.core.listeners import Float32Array, Listeners

# WORLD.md: random gives 2.1 to 2.25 in a standard world.
LEAST_TIME, MOST_TIME = 2.1, 2.25
_TARGET_TIME = (LEAST_TIME + MOST_TIME) / 2

# Variance of random's mean time between worlds: a term for each kind of thing that a world draws.
# benchmarks/world_spread.py measures them.
_VARIANCE_PER_GENRE, _VARIANCE_PER_ARTIST, _VARIANCE_PER_USER = 0.30, 0.94, 1.7

_N_LISTENERS, _N_TRACKS = 8_192, 512
_MOST_SCALE = 8.0
_N_HALVINGS = 12


def expect_random_time(
    embeddings: Float32Array, listeners: Listeners, rng: np.random.Generator
) -> float:
    """Expect the mean time per session of random tracks, the first track's 1.0 counted.

    The time of a session is a sum over a number of tracks that the times themselves decide: by
    Wald's identity 1 + budget * p / (1 - p) for a mean fraction p. Repeats and artist discounts are
    left out: with hundreds of artists they are rare under random.

    Args:
        embeddings: float32 (n_tracks, dim).
        listeners: The users.
        rng: Of the listeners and tracks that stand for all.
    """
    return _Probe(embeddings, listeners, rng).expect_time(1.0)


def find_scale(embeddings: Float32Array, listeners: Listeners, rng: np.random.Generator) -> float:
    """Find the factor on embeddings with which random play comes to a standard world's time.

    Returns:
        The factor, to four digits; the nearest bound of 1/8 to 8 if none reaches it.
    """
    probe = _Probe(embeddings, listeners, rng)
    low, high = -np.log(_MOST_SCALE), np.log(_MOST_SCALE)
    for _ in range(_N_HALVINGS):
        middle = (low + high) / 2
        if probe.expect_time(float(np.exp(middle))) < _TARGET_TIME:
            low = middle
        else:
            high = middle
    return round(float(np.exp((low + high) / 2)), 4)


def between_worlds(n_genres: int, n_artists: int, n_users: int) -> float:
    """Return the standard deviation, between worlds of a size, of random's mean time."""
    variance = (
        _VARIANCE_PER_GENRE / n_genres
        + _VARIANCE_PER_ARTIST / n_artists
        + _VARIANCE_PER_USER / n_users
    )
    return float(variance**0.5)


class _Probe:
    """Some sessions' interests against some tracks."""

    def __init__(
        self, embeddings: Float32Array, listeners: Listeners, rng: np.random.Generator
    ) -> None:
        users = rng.integers(0, len(listeners), _N_LISTENERS)
        which = (rng.random(_N_LISTENERS) * listeners.n_interests[users]).astype(np.intp)
        tracks = rng.integers(0, len(embeddings), _N_TRACKS)
        interests = embeddings[listeners.interests[users, which]]
        self._scores = interests @ embeddings[tracks].T  # (listeners, tracks)
        self._listeners = listeners
        self._users = users

    def expect_time(self, scale: float) -> float:
        users = self._users
        times = listened_time(
            self._scores * np.float32(scale**2),
            bias=self._listeners.bias[users, None],
            sharpness=self._listeners.sharpness[users, None],
            gamma=1.0,
            n_same_artist=0,
        )
        # A track that everyone loves would never end a session.
        fraction: FloatArray = np.minimum(times.mean(axis=1), 0.99)
        sessions = 1.0 + self._listeners.budget[users] * fraction / (1.0 - fraction)
        return float(sessions.mean())
