"""A plausible log of simple recommenders, played in process: the first training data.

The recommenders are botify's, which forget what a session has played. The last of them is a small
learnt model (`factors`) of the sessions that those before it had.
"""

from collections.abc import Iterable, Iterator, Sequence

import msgspec
import numpy as np
import numpy.typing as npt

from simulator.core import factors
from simulator.core.draws import FloatArray, Purpose, draw_uniform, episode_keys
from simulator.core.dynamics import EpisodeArray
from simulator.core.listeners import IntArray

POLICIES = ("random", "sticky_artist", "top_pop", "contextual")
_SHARES = np.array([42, 20, 15, 20], dtype=np.float64)

N_TOP = 100
N_NEIGHBOURS = 50

_STARTS_MS = 23 * 3_600_000  # the last hour is for the sessions under way
PLAYBACK_MS = 1_000  # listeners are simulated: a track takes a second


class Pairs(msgspec.Struct, frozen=True):
    """A session's first track, a later one, and the fraction listened of the later one."""

    anchor: IntArray
    track: IntArray
    time: FloatArray


def assign_policies(seed: int, episodes: EpisodeArray) -> npt.NDArray[np.intp]:
    """Draw which of `POLICIES` serves each episode, shape as `episodes`."""
    uniform = draw_uniform(episode_keys(seed, episodes), 0, Purpose.RECOMMENDER)
    bounds = np.cumsum(_SHARES / _SHARES.sum())
    return np.minimum(np.searchsorted(bounds, uniform, side="right"), len(POLICIES) - 1)


def find_top_tracks(track: IntArray, time: FloatArray, *, n_tracks: int) -> IntArray:
    """Rank tracks by the time listened to them, most first.

    Args:
        track: Row per playback.
        time: Fraction listened, same shape.
        n_tracks: Size of the catalogue.

    Returns:
        At most `N_TOP` rows.
    """
    total = np.bincount(track, weights=time, minlength=n_tracks)
    return np.argsort(-total, kind="stable")[:N_TOP].astype(np.int32)


def make_pairs(position: IntArray, track: IntArray, time: FloatArray) -> Pairs:
    """Pair every later playback with its session's first track.

    Args:
        position: In the session; sessions one after another.
        track: Row per playback, same shape.
        time: Fraction listened, same shape.
    """
    starts = np.flatnonzero(position == 0)
    lengths = np.diff(np.append(starts, len(position)))
    anchor = np.repeat(track[starts], lengths)
    later = position > 0
    return Pairs(anchor[later], track[later], time[later])


def find_neighbours(pairs: Iterable[Pairs], *, n_tracks: int, seed: int) -> IntArray:
    """Find, per first track, the tracks that a small factor model expects most of after it.

    Args:
        pairs: To learn from.
        n_tracks: Size of the catalogue.
        seed: Of the model.

    Returns:
        Rows, best first, int32 (n_tracks, at most N_NEIGHBOURS).
    """
    all_pairs = list(pairs)
    context, target = factors.fit_factors(
        np.concatenate([p.anchor for p in all_pairs]),
        np.concatenate([p.track for p in all_pairs]),
        np.concatenate([p.time for p in all_pairs]),
        n_tracks=n_tracks,
        seed=seed,
    )
    return factors.find_largest(context, target, k=N_NEIGHBOURS)


def schedule_sessions(
    seed: int, episodes: EpisodeArray, *, users: Sequence[int], lengths: Sequence[int]
) -> Iterator[int]:
    """Spread sessions over a day, in order, one at a time per user.

    Args:
        seed: Of the history.
        episodes: Ascending.
        users: Listener per episode.
        lengths: Playbacks per episode.

    Yields:
        Milliseconds since midnight at which each session's first event happens.
    """
    jitter = draw_uniform(episode_keys(seed, episodes), 0, Purpose.START)
    planned = ((np.arange(len(episodes)) + jitter) * (_STARTS_MS / len(episodes))).astype(np.int64)
    free_at: dict[int, int] = {}
    for start, user, length in zip(planned.tolist(), users, lengths, strict=True):
        begin = max(start, free_at.get(user, 0))
        free_at[user] = begin + length * PLAYBACK_MS
        yield begin
