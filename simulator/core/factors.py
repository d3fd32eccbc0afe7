"""A small factor model of which track follows which: what a first, simple trainer would make.

Its only use is to make a history's last part, so it is kept apart from the trainer's recipes:
small embeddings, few epochs, neighbours for every track.
"""

import numpy as np
import numpy.typing as npt

from simulator.core.listeners import Float32Array, IntArray

DIM = 32
N_EPOCHS = 6
BATCH_SIZE = 4096
LEARNING_RATE = 0.03
INITIAL_SCALE = 0.3

_BETA_1, _BETA_2, _EPSILON = 0.9, 0.999, 1e-8  # of Adam, as published
_BLOCK = 128  # rows scored at once: 25 MB with 50,000 tracks
_STRIDE = 16  # scores that stand for each other in the first pass


class RowAdam:
    """Adam for an embedding of which a step touches few rows: the others do not move.

    Source: Kingma and Ba (2015), Adam; the moments of rows without a gradient stay as they are.
    """

    def __init__(self, weight: Float32Array) -> None:
        """Take the embedding, which the steps change, float32 (n, dim)."""
        self._weight = weight
        self._mean = np.zeros_like(weight)
        self._square = np.zeros_like(weight)
        self._n_steps = 0

    def step(self, rows: IntArray, gradient: Float32Array) -> None:
        """Move rows against their gradient.

        Args:
            rows: Of a batch, with repeats, (n,).
            gradient: Of each, (n, dim); those of a row are summed.
        """
        self._n_steps += 1
        order = np.argsort(rows, kind="stable")
        starts = np.flatnonzero(np.diff(rows[order], prepend=-1))
        touched = rows[order[starts]]
        total = np.add.reduceat(gradient[order], starts, axis=0)
        mean = _BETA_1 * self._mean[touched] + (1.0 - _BETA_1) * total
        square = _BETA_2 * self._square[touched] + (1.0 - _BETA_2) * total * total
        self._mean[touched], self._square[touched] = mean, square
        correction = np.sqrt(1.0 - _BETA_2**self._n_steps)
        rate = LEARNING_RATE * correction / (1.0 - _BETA_1**self._n_steps)
        self._weight[touched] -= rate * mean / (np.sqrt(square) + _EPSILON * correction)


def fit_factors(
    anchor: IntArray, track: IntArray, time: npt.NDArray[np.floating], *, n_tracks: int, seed: int
) -> tuple[Float32Array, Float32Array]:
    """Fit the time listened to a track after an anchor by the dot product of their embeddings.

    Args:
        anchor: Row of a session's first track, per pair.
        track: Row of a later track of it, same shape.
        time: Fraction listened of the later track, same shape.
        n_tracks: Size of the catalogue.
        seed: Of the initial embeddings and the order of the pairs.

    Returns:
        Embeddings of what comes first and of what follows, float32 (n_tracks, DIM). Tracks of no
        pair keep their random ones.
    """
    rng = np.random.default_rng(seed % 2**64)
    context, target = (
        rng.standard_normal((n_tracks, DIM), dtype=np.float32) * np.float32(INITIAL_SCALE)
        for _ in range(2)
    )
    optimisers = RowAdam(context), RowAdam(target)
    times = time.astype(np.float32)
    for _ in range(N_EPOCHS):
        order = rng.permutation(len(times))
        for start in range(0, len(order), BATCH_SIZE):
            batch = order[start : start + BATCH_SIZE]
            before, after = context[anchor[batch]], target[track[batch]]
            error = np.einsum("nd,nd->n", before, after) - times[batch]
            slope = (error * np.float32(2.0 / len(batch)))[:, None]
            optimisers[0].step(anchor[batch], slope * after)
            optimisers[1].step(track[batch], slope * before)
    return context, target


def find_largest(context: Float32Array, target: Float32Array, *, k: int) -> IntArray:
    """Find the rows of `target` with the largest dot product, the row itself included.

    Args:
        context: float32 (n, dim).
        target: float32 (m, dim).
        k: How many; less if there are not so many rows.

    Returns:
        Rows, best first, int32 (n, min(k, m)).
    """
    k = min(k, len(target))
    n_columns = -(-len(target) // _STRIDE) * _STRIDE
    columns = np.zeros((target.shape[1], n_columns), dtype=np.float32)
    columns[:, : len(target)] = target.T
    found = np.empty((len(context), k), dtype=np.int32)
    buffer = np.empty((_BLOCK, n_columns), dtype=np.float32)
    for start in range(0, len(context), _BLOCK):
        part = slice(start, start + _BLOCK)
        scores = np.matmul(context[part], columns, out=buffer[: len(context[part])])
        scores[:, len(target) :] = -np.inf
        found[part] = _select_largest(scores, k)
    return found


def _select_largest(scores: Float32Array, k: int) -> IntArray:
    """Select the columns of the k largest scores of each row, largest first.

    The columns are dealt into groups of `_STRIDE`; the k groups with the largest maxima hold the
    k largest scores.

    Args:
        scores: float32 (n, a multiple of `_STRIDE`).
        k: How many.
    """
    n, n_columns = scores.shape
    n_groups = n_columns // _STRIDE
    columns = np.broadcast_to(np.arange(n_columns), scores.shape)
    if n_groups > k:
        maxima = scores.reshape(n, _STRIDE, n_groups).max(axis=1)
        groups = np.argpartition(maxima, -k, axis=1)[:, -k:]
        columns = (groups[:, :, None] + np.arange(0, n_columns, n_groups)).reshape(n, -1)
    values = np.take_along_axis(scores, columns, axis=1)
    best = np.argpartition(values, -k, axis=1)[:, -k:]
    order = np.argsort(-np.take_along_axis(values, best, axis=1), axis=1, kind="stable")
    best = np.take_along_axis(best, order, axis=1)
    selected: IntArray = np.take_along_axis(columns, best, axis=1).astype(np.int32)
    return selected
