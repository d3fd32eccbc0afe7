"""The listener's reaction to a recommendation, for a batch of sessions in lockstep.

Every session of a batch is at the same position; a session that ends leaves the batch. The rules
are botify's (`sim/envs/user.py`); tests hold them against a loop that plays one track at a time.
"""

from typing import Any

import numpy as np
import numpy.typing as npt

from simulator.core.draws import KeyArray, Purpose, draw_uniform, episode_keys
from simulator.core.listeners import (
    Float32Array,
    FloatArray,
    IntArray,
    Listeners,
    NearestTracks,
    score,
)

EpisodeArray = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]

_INITIAL_CAPACITY = 16
_MIN_EXPONENT = -700.0  # exp overflows near 709


def listened_time(
    scores: Any, *, bias: Any, sharpness: Any, gamma: Any, n_same_artist: Any
) -> FloatArray:
    """Fraction of a track that is listened to, to two decimals, as botify rounds it.

    Args:
        scores: Inner products of track and interest, shape (n,), like all others.
        bias: Score at which half is listened to.
        sharpness: Slope there.
        gamma: Factor per earlier track of the artist.
        n_same_artist: Earlier tracks of the artist in the session.
    """
    exponent = (np.asarray(scores, dtype=np.float64) - bias) * sharpness
    raw = 1.0 / (1.0 + np.exp(-np.maximum(exponent, _MIN_EXPONENT)))
    times: FloatArray = np.round(raw * np.power(gamma, n_same_artist), 2)
    return times


class Sessions:
    """Open sessions of a batch, all at the same position.

    Attributes:
        slots: Place of each session in the batch as it was opened; stays when others end.
        episodes, keys: Identity and key of the randomness.
        users, interests: Listener row and catalogue row of the session's interest.
        budget: Disappointments left.
        position: Of the latest playback.
        times: Of the latest playback.
    """

    def __init__(
        self,
        *,
        episodes: EpisodeArray,
        keys: KeyArray,
        users: IntArray,
        interests: IntArray,
        budget: IntArray,
    ) -> None:
        """Open sessions without a track."""
        self.slots = np.arange(len(episodes))
        self.episodes = episodes
        self.keys = keys
        self.users = users
        self.interests = interests
        self.budget = budget
        self.times = np.ones(len(episodes))
        self.position = -1
        self._tracks = np.empty((len(episodes), _INITIAL_CAPACITY), dtype=np.int32)
        self._artists = np.empty((len(episodes), _INITIAL_CAPACITY), dtype=np.int32)

    def __len__(self) -> int:
        return len(self.episodes)

    @property
    def n_played(self) -> int:
        """Tracks played by each session."""
        return self.position + 1

    @property
    def tracks(self) -> IntArray:
        """Rows played so far, shape (n_sessions, n_played)."""
        return self._tracks[:, : self.n_played]

    @property
    def artists(self) -> IntArray:
        """Artists of the tracks played so far, same shape."""
        return self._artists[:, : self.n_played]

    def append(self, tracks: IntArray, artists: IntArray) -> None:
        """Add one playback to every session."""
        self.position += 1
        if self.position == self._tracks.shape[1]:
            self._tracks = np.concatenate([self._tracks, np.empty_like(self._tracks)], axis=1)
            self._artists = np.concatenate([self._artists, np.empty_like(self._artists)], axis=1)
        self._tracks[:, self.position] = tracks
        self._artists[:, self.position] = artists

    def keep(self, mask: BoolArray) -> None:
        """Drop the sessions that ended."""
        for name in (
            "slots",
            "episodes",
            "keys",
            "users",
            "interests",
            "budget",
            "times",
            "_tracks",
            "_artists",
        ):
            setattr(self, name, getattr(self, name)[mask])


class Dynamics:
    """A world's listeners and tracks, as rules."""

    def __init__(
        self, *, embeddings: Float32Array, artist_rows: IntArray, listeners: Listeners
    ) -> None:
        """Bring a world to life.

        Args:
            embeddings: float32 (n_tracks, dim).
            artist_rows: Artist per track, int32 (n_tracks,).
            listeners: The users.
        """
        self.embeddings = embeddings
        self.artist_rows = artist_rows
        self.listeners = listeners
        self.nearest = NearestTracks(embeddings, int(listeners.neighbours.max()))

    @property
    def n_tracks(self) -> int:
        """Tracks of the catalogue."""
        return len(self.embeddings)

    def open_sessions(self, seed: int | KeyArray, episodes: EpisodeArray) -> Sessions:
        """Open one session per episode, its first track played in full and free of charge.

        Args:
            seed: Of all episodes, or of each.
            episodes: Which.
        """
        keys = episode_keys(seed, episodes)
        users, interests = self.draw_interests(keys)
        sessions = Sessions(
            episodes=episodes,
            keys=keys,
            users=users,
            interests=interests,
            budget=self.listeners.budget[users],
        )
        n_nearest = np.minimum(self.listeners.neighbours[users], self.nearest.n_nearest)
        place = choose(draw_uniform(keys, 0, Purpose.FIRST_TRACK), n_nearest)
        first = self.nearest.find(interests)[np.arange(len(keys)), place]
        sessions.append(first, self.artist_rows[first])
        return sessions

    def draw_interests(self, keys: KeyArray) -> tuple[IntArray, IntArray]:
        """Draw the listener row and the interest's catalogue row of episodes."""
        who = draw_uniform(keys, 0, Purpose.USER)
        users = choose(who, np.full(len(keys), len(self.listeners), dtype=np.int32))
        what = draw_uniform(keys, 0, Purpose.INTEREST)
        which = choose(what, self.listeners.n_interests[users])
        return users, self.listeners.interests[users, which]

    def react(self, sessions: Sessions, tracks: IntArray) -> BoolArray:
        """Play one recommendation in every session.

        Args:
            sessions: The batch; gets the playback and its time, and loses budget.
            tracks: Recommended rows, shape (n_sessions,).

        Returns:
            Whether each session goes on.
        """
        times = self.listen(
            tracks,
            users=sessions.users,
            interests=sessions.interests,
            played=sessions.tracks,
            played_artists=sessions.artists,
        )
        sessions.append(tracks, self.artist_rows[tracks])
        sessions.times = times
        patience = draw_uniform(sessions.keys, sessions.position, Purpose.PATIENCE)
        sessions.budget = sessions.budget - (patience >= times)
        return sessions.budget > 0

    def listen(
        self,
        tracks: IntArray,
        *,
        users: IntArray,
        interests: IntArray,
        played: IntArray,
        played_artists: IntArray,
    ) -> FloatArray:
        """Return the fraction of a track that each listener listens to.

        Args:
            tracks: Recommended rows, shape (n_sessions,).
            users: Listener rows, same shape.
            interests: Catalogue rows of the sessions' interests, same shape.
            played: Rows played before, shape (n_sessions, any), -1 pads.
            played_artists: Their artists, same shape, -1 pads.
        """
        times = listened_time(
            score(self.embeddings[tracks], self.embeddings[interests]),
            bias=self.listeners.bias[users],
            sharpness=self.listeners.sharpness[users],
            gamma=self.listeners.gamma[users],
            n_same_artist=(played_artists == self.artist_rows[tracks][:, None]).sum(axis=1),
        )
        times[(played == tracks[:, None]).any(axis=1)] = 0.0
        return times


def choose(uniform: FloatArray, n: IntArray) -> IntArray:
    """Turn draws from [0, 1) into draws from 0..n-1."""
    return np.minimum((uniform * n).astype(np.int32), n - 1)
