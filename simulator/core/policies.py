"""Simple recommenders, for a batch of sessions: what the live service serves, without HTTP."""

from typing import Literal, Protocol

import msgspec
import numpy as np
import numpy.typing as npt

from simulator.core.draws import FloatArray, KeyArray, Purpose, draw_uniform
from simulator.core.dynamics import BoolArray, Sessions, choose
from simulator.core.listeners import IntArray


class Choice(msgspec.Struct, frozen=True):
    """What a policy recommends to each session of a batch.

    Attributes:
        tracks: Catalogue rows, int32 (n_sessions,).
        propensity: P(track | session) under what chose it, float64 (n_sessions,).
        fell_back: Whether the policy had nothing left and `random` chose, bool (n_sessions,).
    """

    tracks: IntArray
    propensity: FloatArray
    fell_back: BoolArray


class Policy(Protocol):
    """A recommender of a batch.

    Attributes:
        name: As events name it.
        batch_size: Sessions at once that its memory allows.
    """

    name: str
    batch_size: int

    def begin(self, sessions: Sessions) -> None:
        """Meet a new batch."""
        ...

    def recommend(self, sessions: Sessions) -> Choice:
        """Recommend one track to every session."""
        ...


class Random:
    """Uniform among the tracks not yet played."""

    name = "random"
    batch_size = 8192

    def __init__(self, n_tracks: int) -> None:
        """Know the catalogue's size."""
        self._n_tracks = n_tracks

    def begin(self, sessions: Sessions) -> None:
        """Need nothing."""

    def recommend(self, sessions: Sessions) -> Choice:
        """Recommend one track to every session; a repeat once all are played."""
        n = len(sessions)
        size = np.full(n, self._n_tracks, dtype=np.int32)
        n_left = np.full(n, self._n_tracks - sessions.n_played, dtype=np.int32)
        n_left = np.where(n_left > 0, n_left, self._n_tracks)
        tracks = _draw_unplayed(sessions, size, n_left=n_left)
        return Choice(tracks, 1.0 / n_left, np.zeros(n, dtype=np.bool_))


class StickyArtist:
    """Uniform among the tracks of the last track's artist not yet played; `random` after that."""

    name = "sticky_artist"
    batch_size = 8192

    def __init__(self, artist_rows: IntArray, *, replays: bool = False) -> None:
        """Group the catalogue by artist.

        Args:
            artist_rows: Artist per track, int32 (n_tracks,).
            replays: Whether it forgets what was played, as botify's does.
        """
        self._replays = replays
        self._size = np.bincount(artist_rows).astype(np.int32)
        self._start = np.concatenate([[0], np.cumsum(self._size)[:-1]]).astype(np.int32)
        self._tracks = np.argsort(artist_rows, kind="stable").astype(np.int32)
        self._random = Random(len(artist_rows))

    def begin(self, sessions: Sessions) -> None:
        """Need nothing."""

    def recommend(self, sessions: Sessions) -> Choice:
        """Recommend one track to every session."""
        artist = sessions.artists[:, -1]
        n_left = self._size[artist]
        if not self._replays:
            n_left = n_left - _count_distinct(sessions, artist)
        tracks = _draw_unplayed(
            sessions,
            np.where(n_left > 0, self._size[artist], 1),
            n_left=n_left,
            lookup=self._tracks,
            start=self._start[artist],
        )
        return _fall_back(sessions, tracks=tracks, n_candidates=n_left, fallback=self._random)


class TopPopular:
    """Uniform among the most popular tracks not yet played; `random` after that."""

    name = "top_pop"
    batch_size = 8192

    def __init__(self, top: IntArray, n_tracks: int, *, replays: bool = False) -> None:
        """Take the most popular rows.

        Args:
            top: Rows.
            n_tracks: Of the catalogue.
            replays: Whether it forgets what was played, as botify's does.
        """
        self._replays = replays
        self._top = top
        self._random = Random(n_tracks)

    def begin(self, sessions: Sessions) -> None:
        """Need nothing."""

    def recommend(self, sessions: Sessions) -> Choice:
        """Recommend one track to every session."""
        candidates = np.broadcast_to(self._top, (len(sessions), len(self._top)))
        return _choose_among(sessions, candidates, self._random, replays=self._replays)


class Contextual:
    """Uniform among the neighbours, not yet played, of a track of the session.

    The table is what the trainer publishes as `tracks_with_recs`.
    """

    name = "contextual"
    batch_size = 4096

    def __init__(
        self,
        neighbours: IntArray,
        n_tracks: int,
        *,
        anchor: Literal["first", "last"] = "first",
        replays: bool = False,
    ) -> None:
        """Take the table.

        Args:
            neighbours: Rows per row, int32 (n_tracks, k), -1 pads.
            n_tracks: Of the catalogue.
            anchor: Whose neighbours: of the session's first track, or of the one just played, as
                botify's does.
            replays: Whether it forgets what was played, as botify's does.
        """
        self._place = 0 if anchor == "first" else -1
        self._replays = replays
        self._neighbours = neighbours
        self._random = Random(n_tracks)

    def begin(self, sessions: Sessions) -> None:
        """Need nothing."""

    def recommend(self, sessions: Sessions) -> Choice:
        """Recommend one track to every session."""
        candidates = self._neighbours[sessions.tracks[:, self._place]]
        return _choose_among(sessions, candidates, self._random, replays=self._replays)


def _count_distinct(sessions: Sessions, artist: IntArray) -> IntArray:
    """Count the distinct tracks of an artist that each session has played."""
    same: IntArray = (sessions.artists == artist[:, None]).sum(axis=1, dtype=np.int32)
    return same  # these policies repeat no track while one is left


def _draw_unplayed(
    sessions: Sessions,
    size: IntArray,
    *,
    n_left: IntArray,
    lookup: IntArray | None = None,
    start: IntArray | None = None,
) -> IntArray:
    """Draw uniformly from lists, again where the draw was played before.

    Args:
        sessions: The batch.
        size: Length of each session's list.
        n_left: Tracks of it not yet played; where none is left the first draw stands.
        lookup: All lists in one, if they are not simply all tracks.
        start: Where each session's list begins in it.
    """
    position = sessions.position + 1
    tracks = np.empty(len(sessions), dtype=np.int32)
    open_ = np.arange(len(sessions))
    keys: KeyArray = sessions.keys
    attempt = 0
    while len(open_):
        uniform = draw_uniform(keys[open_], position, Purpose.CHOICE + attempt)
        drawn = choose(uniform, size[open_])
        tracks[open_] = drawn if lookup is None or start is None else lookup[start[open_] + drawn]
        seen = (sessions.tracks[open_] == tracks[open_, None]).any(axis=1)
        can_avoid = (n_left[open_] > 0) & (n_left[open_] < size[open_])
        open_ = open_[seen & can_avoid]
        attempt += 1
    return tracks


def _choose_among(
    sessions: Sessions, candidates: npt.NDArray[np.int32], fallback: Random, *, replays: bool
) -> Choice:
    """Draw uniformly among candidates, of which -1 is none.

    Args:
        sessions: The batch.
        candidates: Rows per session, (n_sessions, n).
        fallback: Chooses where there is no candidate.
        replays: Whether tracks that a session has played are candidates too.
    """
    is_free = candidates >= 0
    if not replays:
        for played in sessions.tracks.T:
            is_free &= candidates != played[:, None]
    rank = np.cumsum(is_free, axis=1, dtype=np.int32)
    n_free = rank[:, -1]
    uniform = draw_uniform(sessions.keys, sessions.position + 1, Purpose.CHOICE)
    wanted = choose(uniform, np.maximum(n_free, 1))
    place = (rank > wanted[:, None]).argmax(axis=1)
    tracks = candidates[np.arange(len(sessions)), place]
    return _fall_back(sessions, tracks=tracks, n_candidates=n_free, fallback=fallback)


def _fall_back(
    sessions: Sessions, *, tracks: IntArray, n_candidates: IntArray, fallback: Random
) -> Choice:
    """Let `random` choose where there was no candidate.

    Args:
        sessions: The batch.
        tracks: Chosen uniformly among the candidates; anything where there was none.
        n_candidates: Tracks that each was chosen from.
        fallback: What chooses otherwise.
    """
    has_any = n_candidates > 0
    propensity = 1.0 / np.maximum(n_candidates, 1)
    if has_any.all():
        return Choice(tracks, propensity, ~has_any)
    other = fallback.recommend(sessions)
    return Choice(
        np.where(has_any, tracks, other.tracks),
        np.where(has_any, propensity, other.propensity),
        ~has_any,
    )
