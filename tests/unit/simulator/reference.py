"""botify's listener, one track at a time in plain Python: what the batch must equal."""

import math
from collections import Counter
from collections.abc import Callable, Sequence

import numpy as np

from simulator.core.draws import Purpose, draw_uniform, episode_key
from simulator.core.dynamics import Dynamics

Recommend = Callable[["ReferenceSession"], int]


class ReferenceSession:
    """One session, as `sim/envs/user.py` plays it."""

    def __init__(self, dynamics: Dynamics, seed: int, episode: int) -> None:
        listeners = dynamics.listeners
        self.dynamics = dynamics
        self.key = episode_key(seed, episode)
        self.user = int(self.draw(0, Purpose.USER) * len(listeners))
        which = int(self.draw(0, Purpose.INTEREST) * listeners.n_interests[self.user])
        interest_row = int(listeners.interests[self.user, which])
        self.interest = dynamics.embeddings[interest_row]
        k = int(min(listeners.neighbours[self.user], dynamics.n_tracks))
        first = self.find_nearest(interest_row)[int(self.draw(0, Purpose.FIRST_TRACK) * k)]
        self.tracks = [first]
        self.times = [1.0]
        self.artists = Counter([int(dynamics.artist_rows[first])])
        self.budget = int(listeners.budget[self.user])

    def find_nearest(self, interest_row: int) -> list[int]:
        scores = [float(np.einsum("j,j->", e, self.interest)) for e in self.dynamics.embeddings]
        return sorted(range(self.dynamics.n_tracks), key=lambda row: (-scores[row], row))

    def draw(self, position: int, purpose: int) -> float:
        return draw_uniform(self.key, position, purpose)

    def listen(self, track: int) -> None:
        listeners, user = self.dynamics.listeners, self.user
        artist = int(self.dynamics.artist_rows[track])
        time = 0.0
        if track not in self.tracks:
            score = float(np.einsum("j,j->", self.dynamics.embeddings[track], self.interest))
            exponent = (score - float(listeners.bias[user])) * float(listeners.sharpness[user])
            raw = 1.0 / (1.0 + math.exp(-exponent))
            discount = float(listeners.gamma[user]) ** self.artists[artist]
            time = float(np.around(raw * discount, decimals=2))
        self.tracks.append(track)
        self.times.append(time)
        self.artists[artist] += 1
        if self.draw(len(self.tracks) - 1, Purpose.PATIENCE) >= time:
            self.budget -= 1


def play_reference(
    dynamics: Dynamics,
    recommend: Recommend,
    *,
    seed: int,
    episode: int,
    session_type: type[ReferenceSession] = ReferenceSession,
) -> ReferenceSession:
    """Play one episode to its end."""
    session = session_type(dynamics, seed, episode)
    while session.budget > 0:
        session.listen(recommend(session))
    return session


def recommend_random(session: ReferenceSession) -> int:
    """Draw until the track is a new one."""
    return _draw_new(session, range(session.dynamics.n_tracks))


def recommend_sticky(session: ReferenceSession) -> int:
    """Draw from the last track's artist, from all tracks if it has none left."""
    rows = session.dynamics.artist_rows
    own = [row for row in range(len(rows)) if rows[row] == rows[session.tracks[-1]]]
    if set(own) <= set(session.tracks):
        return recommend_random(session)
    return _draw_new(session, own)


def _draw_new(session: ReferenceSession, rows: Sequence[int]) -> int:
    attempt = 0
    while True:
        uniform = session.draw(len(session.tracks), Purpose.CHOICE + attempt)
        row = rows[int(uniform * len(rows))]
        if row not in session.tracks:
            return row
        attempt += 1
