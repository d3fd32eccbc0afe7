"""A world around a real play log: its songs, and where their learnt factors place them."""

from typing import Annotated

import msgspec
import numpy as np
import numpy.typing as npt

from shared.catalog import Track, make_catalog
from simulator.core import geometry
from simulator.core.calibration import find_scale
from simulator.core.listeners import (
    Float32Array,
    FloatArray,
    IntArray,
    ListenerDefaults,
    make_listeners,
)
from simulator.core.world import World, make_users

_TINY = 1e-12  # a length that is not 0

Count = Annotated[int, msgspec.Meta(ge=1)]


class PlayLogParameters(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a world of a play log is a function of, beside the log.

    Attributes:
        n_tracks: Songs kept at most, those with the most listeners.
        n_users: Listeners that are drawn.
        n_iterations: Of the factorisation.
        seed: Of the factorisation and the listeners.
    """

    n_tracks: Count = 50_000
    n_users: Count = 10_000
    n_iterations: Count = 15
    seed: int = 0


class Song(msgspec.Struct, frozen=True):
    """A line of the song table; `id` is the play log's name for it, no genre is empty."""

    id: str
    artist: str
    title: str
    genre: str = ""


class PlayLog(msgspec.Struct, frozen=True, kw_only=True):
    """Who played which song how often, one entry per line of the log.

    Attributes:
        users: From 0, int32 (n_entries,).
        songs: Index into `song_ids`, int32 (n_entries,).
        counts: Plays, int32 (n_entries,).
        song_ids: In order of first appearance.
    """

    users: IntArray
    songs: IntArray
    counts: IntArray
    song_ids: tuple[str, ...]

    def select(self, songs: npt.NDArray[np.intp]) -> "PlayLog":
        """Keep some songs, in the given order."""
        place = np.full(len(self.song_ids), -1, dtype=np.int32)
        place[songs] = np.arange(len(songs), dtype=np.int32)
        kept = place[self.songs] >= 0
        users = self.users[kept]
        is_left = np.bincount(users) > 0
        number = np.cumsum(is_left, dtype=np.int32) - 1
        return PlayLog(
            users=number[users],
            songs=place[self.songs[kept]],
            counts=self.counts[kept],
            song_ids=tuple(self.song_ids[song] for song in songs.tolist()),
        )

    def count_listeners(self) -> npt.NDArray[np.int64]:
        """Count the users who played each song, int64 (n_songs,)."""
        n_songs = len(self.song_ids)
        pairs = np.sort(self.users.astype(np.int64) * n_songs + self.songs)
        is_first = np.diff(pairs, prepend=-1) > 0
        return np.bincount(pairs[is_first] % n_songs, minlength=n_songs)


def rank_songs(
    log: PlayLog, described: npt.NDArray[np.bool_], n_tracks: int
) -> npt.NDArray[np.intp]:
    """Rank the songs that have a description, those with the most listeners first.

    Args:
        log: The plays.
        described: Whether the song table has each song, bool (n_songs,).
        n_tracks: Songs to keep at most.
    """
    listeners = log.count_listeners()
    order = np.argsort(-listeners, kind="stable")
    return order[described[order]][:n_tracks]


def place_songs(factors: Float32Array, popularity: FloatArray) -> Float32Array:
    """Turn learnt factors into embeddings with the geometry of the standard world.

    Factors are the longer the more popular a song is, and their directions share a common part and
    a spectrum of their own. Here directions are centred and get the standard world's spectrum, and
    of the lengths only what popularity does not explain is kept, as the spread that WORLD.md gives
    to norms.

    Args:
        factors: float32 (n_songs, n_factors).
        popularity: Per song, positive, float64 (n_songs,).

    Returns:
        float32 (n_songs, n_factors).
    """
    lengths = np.maximum(np.linalg.norm(factors, axis=1), _TINY).astype(np.float64)
    directions = factors / lengths[:, None]
    directions -= directions.mean(axis=0)
    variances, axes = np.linalg.eigh(directions.T @ directions / len(directions))
    variances, axes = variances[::-1], axes[:, ::-1]
    is_used = variances > variances[0] * 1e-9
    scale = np.zeros(len(variances))
    scale[is_used] = geometry.spectrum(int(is_used.sum())) / np.sqrt(variances[is_used])
    placed = (directions @ axes) * scale
    norms = np.exp(_spread_norms(np.log(lengths), np.log(popularity)))
    placed *= (norms / np.maximum(np.linalg.norm(placed, axis=1), _TINY))[:, None]
    embeddings: Float32Array = placed.astype(np.float32)
    return embeddings


def make_play_world(
    songs: list[Song],
    factors: Float32Array,
    n_listeners: npt.NDArray[np.int64],
    *,
    parameters: PlayLogParameters,
) -> tuple[World, float]:
    """Make a world of songs that were placed by their plays.

    Args:
        songs: In row order.
        factors: Learnt, float32 (n_songs, n_factors).
        n_listeners: Of each song, positive, int64 (n_songs,).
        parameters: Of the world.

    Returns:
        The world, and the factor that its embeddings got so that random play comes to a standard
        world's time.
    """
    seeds = np.random.SeedSequence(parameters.seed % 2**64).spawn(2)
    popularity = n_listeners / n_listeners.sum()
    tracks = [
        Track(row, song.artist, song.title, song.genre or None) for row, song in enumerate(songs)
    ]
    users = make_users(parameters.n_users, popularity, np.random.default_rng(seeds[0]))
    embeddings = place_songs(factors, popularity)
    # A track's id is its row.
    interests = np.array([user.interests for user in users], dtype=np.int32)
    listeners = make_listeners(users, interests, ListenerDefaults())
    scale = find_scale(embeddings, listeners, np.random.default_rng(seeds[1]))
    embeddings *= np.float32(scale)
    return World(make_catalog(tracks), embeddings, users), scale


def _spread_norms(log_lengths: FloatArray, log_popularity: FloatArray) -> FloatArray:
    by_popularity = _standardise(log_popularity)
    own = _standardise(log_lengths)
    own = _standardise(own - by_popularity * (own * by_popularity).mean())
    return geometry.combine_log_norms(by_popularity, own)


def _standardise(values: FloatArray) -> FloatArray:
    spread = values.std() or 1.0
    standard: FloatArray = (values - values.mean()) / spread
    return standard
