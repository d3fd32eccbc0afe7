"""Sessions side by side, each at a position of its own: one that ends makes room for another."""

import numpy as np

from simulator.core.draws import KeyArray, Purpose, draw_uniform
from simulator.core.dynamics import BoolArray, Dynamics, EpisodeArray
from simulator.core.listeners import FloatArray, IntArray

_INITIAL_CAPACITY = 16


class Crowd:
    """A fixed number of seats, a session in each; equal, number for number, to a batch's rows.

    Attributes:
        users: Listener row per seat, int32 (n_seats,).
        tracks: Row of the latest playback, int32 (n_seats,).
        times: Fraction of it that was listened to, float64 (n_seats,).
        budget: Disappointments left, int32 (n_seats,).
    """

    def __init__(self, dynamics: Dynamics, n_seats: int) -> None:
        """Set the seats up, all of them empty."""
        self._dynamics = dynamics
        self.users: IntArray = np.zeros(n_seats, dtype=np.int32)
        self.tracks: IntArray = np.zeros(n_seats, dtype=np.int32)
        self.times: FloatArray = np.zeros(n_seats)
        self.budget: IntArray = np.zeros(n_seats, dtype=np.int32)
        self._interests: IntArray = np.zeros(n_seats, dtype=np.int32)
        self._keys: KeyArray = np.zeros(n_seats, dtype=np.uint64)
        self._position = np.zeros(n_seats, dtype=np.intp)
        self._played: IntArray = np.full((n_seats, _INITIAL_CAPACITY), -1, dtype=np.int32)
        self._artists: IntArray = np.full((n_seats, _INITIAL_CAPACITY), -1, dtype=np.int32)

    @property
    def is_over(self) -> BoolArray:
        """Whether the listener of each seat has left."""
        return self.budget <= 0

    def open(self, seats: BoolArray, seeds: KeyArray, episodes: EpisodeArray) -> None:
        """Open sessions; their first tracks are already played.

        Args:
            seats: Which get a new session, bool (n_seats,).
            seeds: Of the listeners, one per new session.
            episodes: Identities, same shape.
        """
        opened = self._dynamics.open_sessions(seeds, episodes)
        first = opened.tracks[:, 0]
        self.users[seats] = opened.users
        self._interests[seats] = opened.interests
        self._keys[seats] = opened.keys
        self.budget[seats] = opened.budget
        self._position[seats] = 0
        self._played[seats] = -1
        self._artists[seats] = -1
        self._note(np.flatnonzero(seats), first, np.ones(len(first)))

    def listen(self, seats: BoolArray, tracks: IntArray) -> None:
        """Play a recommendation in some seats.

        Args:
            seats: Which, bool (n_seats,).
            tracks: Rows, one per such seat.
        """
        chosen = np.flatnonzero(seats)
        if not len(chosen):
            return
        n_played = int(self._position[chosen].max()) + 1
        times = self._dynamics.listen(
            tracks,
            users=self.users[chosen],
            interests=self._interests[chosen],
            played=self._played[chosen, :n_played],
            played_artists=self._artists[chosen, :n_played],
        )
        self._position[chosen] += 1
        self._note(chosen, tracks, times)
        position = self._position[chosen].astype(np.uint64)
        patience = draw_uniform(self._keys[chosen], position, Purpose.PATIENCE)
        self.budget[chosen] -= patience >= times

    def _note(self, chosen: "np.ndarray", tracks: IntArray, times: FloatArray) -> None:
        position = self._position[chosen]
        if len(position) and position.max() == self._played.shape[1]:
            empty = np.full_like(self._played, -1)
            self._played = np.concatenate([self._played, empty], axis=1)
            self._artists = np.concatenate([self._artists, empty], axis=1)
        self.tracks[chosen] = tracks
        self.times[chosen] = times
        self._played[chosen, position] = tracks
        self._artists[chosen, position] = self._dynamics.artist_rows[tracks]
