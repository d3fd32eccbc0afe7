"""The tracks that a session's recommender chooses among, and what it expects of each."""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from services.recommender.core.session_taste import Taste
from services.recommender.core.taste_model import Float32Array, FloatArray, IntArray, TasteModel

_BLOCK = 128  # rows
_GROUP = 8  # tracks whose best score stands for all of them at first


class Candidates(NamedTuple):
    """Candidates with what the model says of each, which costs more to collect than to use.

    Attributes:
        rows: Ascending, int32 (n,).
        tracks: Their rows (e, -1), float32 (n, d + 1).
        artists: int32 (n,).
        narrowing: As in `TasteModel`, float32 (n,).
        boost: Added to the logit, float32 (n,); None if nothing is.
    """

    rows: IntArray
    tracks: Float32Array
    artists: IntArray
    narrowing: Float32Array
    boost: Float32Array | None


def collect(model: TasteModel, rows: IntArray, *, bonus: float) -> Candidates:
    """Look candidates up.

    Args:
        model: Of the session.
        rows: Of the candidates.
        bonus: Standard deviations of a track's own that are added to its logit.
    """
    places = rows.astype(np.intp)  # once, not by each `take`
    return Candidates(
        rows,
        model.tracks.take(places, axis=0),
        model.artists.take(places),
        model.narrowing.take(places),
        np.float32(bonus) * np.sqrt(model.variance.take(places)) if bonus else None,
    )


def draw_candidates(
    model: TasteModel, taste: Taste, *, played: IntArray, n: int, bonus: float
) -> IntArray:
    """List the n unplayed tracks with the largest mean logit, in order of rows.

    Args:
        model: Of the session.
        taste: Now.
        played: Rows that cannot be candidates.
        n: How many; fewer if the catalogue has no more.
        bonus: As in `collect`.
    """
    scores = _score_all(model.tracks, taste.mean)
    if bonus:
        scores += np.float32(bonus) * np.sqrt(model.variance)
    scores[played] = -np.inf
    n = min(n, len(scores) - len(np.unique(played)))
    if n <= 0:
        return np.empty(0, np.int32)
    # All that can be among the n best, and little else.
    rows = np.flatnonzero(scores >= _bound_nth_largest(scores, n))
    scores = scores.take(rows)
    least = np.partition(scores, len(scores) - n)[-n]
    is_in = scores > least
    ties = np.flatnonzero(scores == least)
    is_in[ties[: n - np.count_nonzero(is_in)]] = True
    best: IntArray = rows[is_in].astype(np.int32)
    return best


def expected_times(
    model: TasteModel,
    taste: Taste,
    candidates: Candidates,
    *,
    n_same_artist: npt.NDArray[np.intp],
) -> FloatArray:
    """Predict how long the listener will listen, by candidate.

    The taste's own uncertainty is left out: it is common to all candidates, nearly, and playing
    did not get better with it; a track's own is not.

    Args:
        model: Of the session.
        taste: Now.
        candidates: Compared.
        n_same_artist: Earlier tracks of each one's artist.

    Source: MacKay (1992) for the sigmoid's mean under a normal.
    """
    logits = (candidates.tracks @ taste.mean).astype(np.float64)
    if candidates.boost is not None:
        logits += candidates.boost
    logits *= candidates.narrowing
    discounts = model.gamma ** np.arange(n_same_artist.max(initial=0) + 1)
    discount = discounts.take(n_same_artist)
    values: FloatArray = discount / (1 + np.exp(-np.maximum(logits, -500.0)))
    return values


def _score_all(tracks: Float32Array, mean: Float32Array) -> Float32Array:
    """Multiply in blocks: BLAS would share the whole out among threads, which then spin.

    They cost more CPU than the product: 4 ms a draw where the product takes 0.15.
    """
    n_whole = len(tracks) // _BLOCK * _BLOCK
    blocks = tracks[:n_whole].reshape(-1, _BLOCK, tracks.shape[1])
    return np.concatenate([np.matmul(blocks, mean).ravel(), tracks[n_whole:] @ mean])


def _bound_nth_largest(scores: Float32Array, n: int) -> np.float32:
    """Return a value that the n-th largest is not below, close to it where that can be had cheaply.

    n groups have a best of at least the n-th largest best: so have n values.
    """
    n_groups = len(scores) // _GROUP
    if 2 * n > n_groups:
        return np.float32(np.finfo(np.float32).min)  # all but those that cannot be candidates
    bests = scores[: n_groups * _GROUP].reshape(_GROUP, n_groups).max(axis=0)
    bound: np.float32 = np.partition(bests, n_groups - n)[-n]
    return bound
