"""One listener's session, played one recommendation at a time: what a live recommender meets."""

import itertools
from collections.abc import Iterable, Iterator

import numpy as np

from simulator.core.draws import Purpose, draw_uniform
from simulator.core.dynamics import Dynamics, Sessions, listened_time
from simulator.core.listeners import score

_BATCH = 1_024  # sessions that are drawn together, at a tenth of the cost of one by one


class LiveSession:
    """A session of the live simulator; equal, number for number, to its row of a batch.

    Attributes:
        user: Listener id.
        episode: Identity of the session.
        key: Of its randomness.
        position: Of the latest playback.
        track: Row of the latest playback.
        time: Fraction of it that was listened to.
        total_time: Of all playbacks, the first one's 1.0 counted.
        is_over: Whether the listener has left.
    """

    def __init__(self, dynamics: Dynamics, opened: Sessions, place: int) -> None:
        """Take a session from a batch that was just opened; its first track is already played."""
        row = int(opened.users[place])
        listeners = dynamics.listeners
        self._dynamics = dynamics
        self._interest = dynamics.embeddings[int(opened.interests[place])]
        self._bias = float(listeners.bias[row])
        self._sharpness = float(listeners.sharpness[row])
        self._gamma = float(listeners.gamma[row])
        self._budget = int(opened.budget[place])
        self.user = int(listeners.ids[row])
        self.episode = int(opened.episodes[place])
        self.key = int(opened.keys[place])
        self.position = 0
        self.track = int(opened.tracks[place, 0])
        self.time = 1.0
        self.total_time = 1.0
        self.is_over = False
        self._played = {self.track}
        self._n_of_artist = {int(dynamics.artist_rows[self.track]): 1}

    @property
    def n_tracks(self) -> int:
        """Tracks played, the first one counted."""
        return self.position + 1

    @property
    def played(self) -> frozenset[int]:
        """Rows played so far."""
        return frozenset(self._played)

    def listen(self, track: int) -> float:
        """Play a recommendation.

        Args:
            track: Its catalogue row.

        Returns:
            The fraction of it that was listened to.
        """
        artist = int(self._dynamics.artist_rows[track])
        self.position += 1
        self.track = track
        self.time = 0.0 if track in self._played else self._react(track, artist)
        self.total_time = round(self.total_time + self.time, 2)  # exact hundredths
        self._played.add(track)
        self._n_of_artist[artist] = self._n_of_artist.get(artist, 0) + 1
        if draw_uniform(self.key, self.position, Purpose.PATIENCE) >= self.time:
            self._budget -= 1
            self.is_over = self._budget <= 0
        return self.time

    def _react(self, track: int, artist: int) -> float:
        time = listened_time(
            score(self._dynamics.embeddings[track], self._interest),
            bias=self._bias,
            sharpness=self._sharpness,
            gamma=self._gamma,
            n_same_artist=self._n_of_artist.get(artist, 0),
        )
        return float(time)


def open_session(dynamics: Dynamics, seed: int, episode: int) -> LiveSession:
    """Open the session of an episode."""
    return LiveSession(dynamics, dynamics.open_sessions(seed, np.array([episode])), 0)


def open_sessions(dynamics: Dynamics, seed: int, episodes: Iterable[int]) -> Iterator[LiveSession]:
    """Open the sessions of episodes, in order, some at a time."""
    left = iter(episodes)
    while batch := list(itertools.islice(left, _BATCH)):
        opened = dynamics.open_sessions(seed, np.array(batch))
        for place in range(len(batch)):
            yield LiveSession(dynamics, opened, place)
