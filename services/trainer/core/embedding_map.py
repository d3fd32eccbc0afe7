"""The embeddings of a model version on a plane: what is near what, as what comes first and after.

Source: van der Maaten and Hinton (2008), Visualizing Data using t-SNE.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from services.trainer.core.errors import TrainingError
from services.trainer.core.negatives import find_clusters
from services.trainer.core.playbacks import FloatArray, IntArray

N_CLUSTERS = 10
MIN_POINTS, MIN_DIM = 10, 2
_PERPLEXITY = 30.0
_N_NEAREST = 5
_ROWS_AT_ONCE = 4096


@dataclass(frozen=True)
class EmbeddingMap:
    """A sample of tracks on two planes; all have the sample's length.

    Attributes:
        rows: Catalogue rows, ascending.
        context: Place as what comes first, float32 (n, 2).
        track: Place as what follows, float32 (n, 2).
        clusters: Of the context embedding, numbered by size, largest first.
        popularity: Between 0 for the least popular of the sample and 1 for the most.
    """

    rows: IntArray
    context: FloatArray
    track: FloatArray
    clusters: IntArray
    popularity: FloatArray


def make_map(
    context: FloatArray,
    track: FloatArray,
    top_tracks: IntArray,
    *,
    seed: int,
    n_points: int,
    n_clusters: int = N_CLUSTERS,
) -> EmbeddingMap:
    """Lay a sample of tracks out by t-SNE, by either embedding.

    Tracks whose embeddings are zero, because the log does not have them, are left out. So that the
    picture has tracks that are well learnt, half of the sample are the most popular.

    Args:
        context: Embedding of every row as what comes first, (n, dim).
        track: Embedding of every row as what follows, (n, dim).
        top_tracks: Rows, most popular first.
        seed: Of the sample and the layout.
        n_points: Size of the sample, at most.
        n_clusters: Colours.

    Raises:
        TrainingError: If fewer than `MIN_POINTS` tracks have embeddings, or these are of less than
            `MIN_DIM`.
    """
    rows = _sample(context, track, top_tracks, n_points=n_points, seed=seed)
    clusters = find_clusters(context[rows], n_clusters=n_clusters, seed=seed)
    by_size = np.argsort(-np.bincount(clusters), kind="stable")
    rank = np.full(len(context), len(top_tracks))
    rank[top_tracks] = np.arange(len(top_tracks))
    order = np.argsort(np.argsort(-rank[rows], kind="stable"), kind="stable")
    return EmbeddingMap(
        rows=rows,
        context=_lay_out(context[rows], seed),
        track=_lay_out(track[rows], seed),
        clusters=np.argsort(by_size)[clusters].astype(np.int32),
        popularity=(order / (len(rows) - 1)).astype(np.float32),
    )


def place_others(
    embedding: FloatArray, rows: IntArray, places: FloatArray
) -> tuple[IntArray, FloatArray]:
    """Place the tracks that a map has not laid out among those that it has.

    A track comes to lie between the five laid out that are nearest to it by angle, the nearer the
    nearer: near what it is like, though a layout of all would draw it more freely.

    Args:
        embedding: Of every row, (n, dim); rows of zeros have no place.
        rows: Laid out, ascending.
        places: Theirs, float32 (len(rows), 2).

    Returns:
        Rows of the others, ascending, and their places.
    """
    is_other = (embedding != 0).any(axis=1)
    is_other[rows] = False
    others = np.flatnonzero(is_other).astype(np.int32)
    landmarks = _to_unit(embedding[rows])
    found = np.empty((len(others), 2), np.float32)
    for start in range(0, len(others), _ROWS_AT_ONCE):
        part = others[start : start + _ROWS_AT_ONCE]
        likeness = _to_unit(embedding[part]) @ landmarks.T
        n_nearest = min(_N_NEAREST, len(rows))
        nearest = np.argpartition(-likeness, n_nearest - 1, axis=1)[:, :n_nearest]
        weights = np.exp(20 * np.take_along_axis(likeness, nearest, axis=1))
        weights /= weights.sum(axis=1, keepdims=True)
        found[start : start + len(part)] = np.einsum("ij,ijk->ik", weights, places[nearest])
    return others, found


def _to_unit(embedding: FloatArray) -> FloatArray:
    unit: FloatArray = embedding / np.linalg.norm(embedding, axis=1, keepdims=True)
    return unit


def _sample(
    context: FloatArray, track: FloatArray, top_tracks: IntArray, *, n_points: int, seed: int
) -> IntArray:
    """Return the most popular of the tracks that both embeddings have, and as many others."""
    is_known = (context != 0).any(axis=1) & (track != 0).any(axis=1)
    n = min(n_points, int(is_known.sum()))
    if n < MIN_POINTS:
        raise TrainingError(f"a map takes {MIN_POINTS} tracks with both embeddings: {n} is too few")
    if context.shape[1] < MIN_DIM:
        raise TrainingError(f"a map takes embeddings of a dim of {MIN_DIM}")
    popular = top_tracks[is_known[top_tracks]][: n_points // 2]
    others = np.setdiff1d(np.flatnonzero(is_known), popular)
    rng = np.random.default_rng(seed)
    drawn = rng.permutation(others)[: n_points - len(popular)]
    return np.sort(np.concatenate([popular, drawn])).astype(np.int32)


def _lay_out(embedding: FloatArray, seed: int) -> FloatArray:
    """Place rows on a plane; by angle, since a popular track's embedding is long."""
    from sklearn.manifold import TSNE  # a second, which trainings without a map don't pay

    layout = TSNE(
        perplexity=min(_PERPLEXITY, (len(embedding) - 1) / 3),
        init="pca",
        metric="cosine",
        max_iter=600,
        random_state=seed,
        n_jobs=1,
    )
    places: npt.NDArray[np.float32] = layout.fit_transform(_to_unit(embedding))
    return places.astype(np.float32)
