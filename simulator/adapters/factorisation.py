"""Factors of a play log by alternating least squares, with `implicit`."""

import numpy as np

from shared.extras import import_extra
from simulator.core.listeners import Float32Array
from simulator.core.plays import PlayLog

N_FACTORS = 100
_PURPOSE = "a world of a play log"
_REGULARISATION = 5.0
_CONFIDENCE = 10.0  # of one play, on top of the 1 of none


def fit_factors(log: PlayLog, *, n_iterations: int, seed: int) -> Float32Array:
    """Learn a factor per song; the same log and seed give the same factors.

    One thread throughout: `implicit` is parallel over rows, and a BLAS that is too slows it down.

    Args:
        log: The plays.
        n_iterations: Over all users and songs.
        seed: Of the first factors.

    Returns:
        float32 (n_songs, N_FACTORS).

    Raises:
        MissingExtraError: If `implicit` is not installed.

    Source: Hu, Koren and Volinsky (2008), Collaborative Filtering for Implicit Feedback Datasets.
    """
    als = import_extra("implicit.als", extra="plays", purpose=_PURPOSE)
    sparse = import_extra("scipy.sparse", extra="plays", purpose=_PURPOSE)
    threads = import_extra("threadpoolctl", extra="plays", purpose=_PURPOSE)
    confidence = (_CONFIDENCE * np.log1p(log.counts)).astype(np.float32)
    shape = (int(log.users.max()) + 1, len(log.song_ids))
    matrix = sparse.coo_matrix((confidence, (log.users, log.songs)), shape=shape).tocsr()
    with threads.threadpool_limits(1, "blas"):
        model = als.AlternatingLeastSquares(
            factors=N_FACTORS,
            regularization=_REGULARISATION,
            iterations=n_iterations,
            use_gpu=False,
            num_threads=1,
            random_state=seed % 2**32,
        )
        model.fit(matrix, show_progress=False)
    factors: Float32Array = np.asarray(model.item_factors, dtype=np.float32)
    return factors
