"""A model of the listened time, learnt from the log: what doubly robust estimates start from."""

import dataclasses
from typing import Any

import numpy as np
import numpy.typing as npt

from analysis.core.exposures import IntArray, Tracks

Array = npt.NDArray[np.float64]

N_FOLDS = 5
CHUNK = 20_000  # exposures whose options are described at once
RIDGE = 1.0  # in exposures' worth, on features of order one
PRIOR_EXPOSURES = 10.0  # with which a track's or artist's mean is drawn to that of all


@dataclasses.dataclass(frozen=True)
class Options:
    """Tracks that may be served in situations; the first of each is what was served.

    Attributes:
        rows: (n_exposures, n_options), -1 pads.
        n_same_artist: Tracks of the option's artist heard before, same shape.
        first, last: Rows that opened the session, and just played, (n_exposures,).
        step: Of the decision, from 1.
        mean_time: So far; NaN before the first recommendation.
        users: Whose.
    """

    rows: IntArray
    n_same_artist: IntArray
    first: IntArray
    last: IntArray
    step: IntArray
    mean_time: Array
    users: npt.NDArray[np.int64]

    def take(self, which: npt.NDArray[np.intp], n_options: int | None = None) -> "Options":
        """Return some of the exposures, with their first options."""
        return Options(
            rows=self.rows[which, :n_options],
            n_same_artist=self.n_same_artist[which, :n_options],
            first=self.first[which],
            last=self.last[which],
            step=self.step[which],
            mean_time=self.mean_time[which],
            users=self.users[which],
        )


def predict_rewards(options: Options, reward: Array, tracks: Tracks) -> Array:
    """Predict the reward of every option by models that have not seen its user.

    A ridge regression per fold of users, on what the situation says of the listener's mood, on
    kinship of the track with those heard, and on means of the track and its artist.

    Args:
        options: Situations and options.
        reward: Of the options that were served, (n_exposures,).
        tracks: The catalogue.

    Returns:
        (n_exposures, n_options); 0 where there is no option.
    """
    _, user_numbers = np.unique(options.users, return_inverse=True)
    folds = np.random.default_rng(0).permutation(user_numbers.max() + 1)[user_numbers] % N_FOLDS
    predicted = np.zeros(options.rows.shape)
    for fold in range(N_FOLDS):
        held_out, learn = np.flatnonzero(folds == fold), np.flatnonzero(folds != fold)
        if not len(learn):
            predicted[held_out] = reward.mean()
            continue
        served = options.take(learn, 1)
        means = _means(served.rows[:, 0], reward[learn], tracks)
        weights = _fit(_describe(served, means, tracks)[:, 0], reward[learn])
        for begin in range(0, len(held_out), CHUNK):
            some = held_out[begin : begin + CHUNK]
            predicted[some] = _describe(options.take(some), means, tracks) @ weights
    return np.where(options.rows >= 0, np.clip(predicted, 0.0, 1.0), 0.0)


def _describe(options: Options, means: tuple[Array, Array], tracks: Tracks) -> Array:
    """Return features of situation and option, (n_exposures, n_options, n_features)."""
    first, last, rows = options.first[:, None], options.last[:, None], options.rows
    is_first = np.isnan(options.mean_time)[:, None]
    known = np.where(is_first, 0.0, options.mean_time[:, None])
    genre = tracks.genres[rows]
    like_first = ((genre == tracks.genres[first]) & (genre >= 0)).astype(float)
    like_last = ((genre == tracks.genres[last]) & (genre >= 0)).astype(float)
    by_first = (tracks.artists[rows] == tracks.artists[first]).astype(float)
    n_same = np.minimum(options.n_same_artist, 5) / 5.0
    step = np.log(options.step)[:, None] / 3.0
    columns: list[Any] = [1.0, known, is_first, step, like_first, like_last, by_first, n_same]
    columns += [known * like_first, known * by_first, like_first * n_same]
    columns += [mean[rows] for mean in means]
    return np.stack(np.broadcast_arrays(*columns), axis=-1)


def _means(served: IntArray, reward: Array, tracks: Tracks) -> tuple[Array, Array]:
    """Return how much a track, and its artist, earn more than the mean, by row."""
    centred = reward - reward.mean()
    n_tracks, n_artists = len(tracks), int(tracks.artists.max()) + 1
    of_artist = tracks.artists[served]
    artist: Array = np.bincount(of_artist, centred, n_artists) / (
        np.bincount(of_artist, minlength=n_artists) + PRIOR_EXPOSURES
    )
    track: Array = np.bincount(served, centred, n_tracks) / (
        np.bincount(served, minlength=n_tracks) + PRIOR_EXPOSURES
    )
    return track, artist[tracks.artists]


def _fit(features: Array, reward: Array) -> Array:
    gram = features.T @ features + RIDGE * np.eye(features.shape[1])
    weights: Array = np.linalg.solve(gram, features.T @ reward).astype(np.float64)
    return weights
