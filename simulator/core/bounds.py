"""Recommenders that see what no real one may: how far from the best possible is a policy?"""

import abc

import numpy as np

from simulator.core.dynamics import BoolArray, Dynamics, Sessions
from simulator.core.listeners import Float32Array, FloatArray, IntArray
from simulator.core.policies import Choice


class Greedy(abc.ABC):
    """Plays the unplayed track with the largest expected time, knowing the artist discount."""

    batch_size = 64  # each session keeps a value per track

    def __init__(self, dynamics: Dynamics, *, name: str) -> None:
        """Index the catalogue by artist."""
        self.name = name
        self._dynamics = dynamics
        size = np.bincount(dynamics.artist_rows)
        self._by_artist = np.split(
            np.argsort(dynamics.artist_rows, kind="stable"), np.cumsum(size)[:-1]
        )
        self._values: Float32Array = np.empty((0, 0), dtype=np.float32)

    def begin(self, sessions: Sessions) -> None:
        """Value every track for every session."""
        taste, bias, sharpness = self.guess(sessions)
        scores = self._dynamics.embeddings[taste] @ self._dynamics.embeddings.T
        exponent = (scores - bias[:, None]) * sharpness[:, None]
        self._values = (1.0 / (1.0 + np.exp(-exponent))).astype(np.float32)
        self._learn(sessions, sessions.tracks[:, 0])

    def recommend(self, sessions: Sessions) -> Choice:
        """Recommend the most valuable track to every session."""
        n = len(sessions)
        best = [self._values[slot].argmax() for slot in sessions.slots]
        tracks: IntArray = np.array(best, dtype=np.int32)
        self._learn(sessions, tracks)
        fell_back: BoolArray = np.zeros(n, dtype=np.bool_)
        return Choice(tracks, np.ones(n), fell_back)

    @abc.abstractmethod
    def guess(self, sessions: Sessions) -> tuple[IntArray, FloatArray, FloatArray]:
        """Return the taste (a row), bias and sharpness that it believes each session has."""

    def _learn(self, sessions: Sessions, tracks: IntArray) -> None:
        """Discount the artist of what is played, and never play it again."""
        artists = self._dynamics.artist_rows[tracks]
        gammas = self._dynamics.listeners.gamma[sessions.users]
        for slot, track, artist, gamma in zip(sessions.slots, tracks, artists, gammas, strict=True):
            self._values[slot, self._by_artist[artist]] *= np.float32(gamma)
            self._values[slot, track] = -1.0


class Oracle(Greedy):
    """Knows the session's true interest and the listener's parameters."""

    def __init__(self, dynamics: Dynamics) -> None:
        """Index the catalogue."""
        super().__init__(dynamics, name="oracle")

    def guess(self, sessions: Sessions) -> tuple[IntArray, FloatArray, FloatArray]:
        """Return the truth."""
        listeners = self._dynamics.listeners
        return (
            sessions.interests,
            listeners.bias[sessions.users],
            listeners.sharpness[sessions.users],
        )


class PerfectContext(Greedy):
    """Knows the true embedding of the first track, and nothing that this listener does."""

    def __init__(self, dynamics: Dynamics) -> None:
        """Index the catalogue."""
        super().__init__(dynamics, name="perfect_context")

    def guess(self, sessions: Sessions) -> tuple[IntArray, FloatArray, FloatArray]:
        """Return the first track and an average listener."""
        listeners = self._dynamics.listeners
        n = len(sessions)
        bias, sharpness = float(np.median(listeners.bias)), float(np.median(listeners.sharpness))
        return sessions.tracks[:, 0], np.full(n, bias), np.full(n, sharpness)
