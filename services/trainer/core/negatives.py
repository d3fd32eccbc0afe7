"""Enrichment: pairs that were never played, sampled as if nothing of them had been listened to."""

import numpy as np
import numpy.typing as npt

from services.trainer.core.pairs import Pairs
from services.trainer.core.playbacks import FloatArray, IntArray

NO_SESSION = -1
NO_CLUSTER = -1
_ATTEMPTS = 12  # of drawing; what is then still missing is chosen among what is left

PairArray = npt.NDArray[np.int64]


def add_negatives(
    pairs: Pairs, *, n_tracks: int, per_track: int, seed: int, clusters: IntArray | None = None
) -> Pairs:
    """Add, for every context track, tracks that never followed it, with time 0.

    Args:
        pairs: To enrich.
        n_tracks: Size of the catalogue.
        per_track: Different tracks per context track; fewer only if no more are eligible.
        seed: Of the draws.
        clusters: Of every row, (n_tracks,), `NO_CLUSTER` is none; only tracks of a cluster other
            than the context track's are eligible. Without them, all tracks are.

    Returns:
        The pairs, and after them those sampled, of session `NO_SESSION`.
    """
    if per_track == 0 or len(pairs) == 0:
        return pairs
    eligible = _Eligible(pairs, np.arange(n_tracks) if clusters is None else clusters)
    sampled = _sample(eligible, per_track, np.random.default_rng(seed))
    anchors, tracks = (rows.astype(np.int32) for rows in np.divmod(sampled, n_tracks))
    return Pairs(
        np.concatenate([pairs.anchors, anchors]),
        np.concatenate([pairs.tracks, tracks]),
        np.concatenate([pairs.times, np.zeros(len(sampled), dtype=np.float32)]),
        np.concatenate([pairs.sessions, np.full(len(sampled), NO_SESSION, dtype=np.int32)]),
    )


def find_clusters(embedding: FloatArray, *, n_clusters: int, seed: int) -> IntArray:
    """Group the rows of an embedding that are not zero by k-means.

    Args:
        embedding: (n, dim).
        n_clusters: At most.
        seed: Of the initial centres.

    Returns:
        Cluster of every row, int32 (n,); `NO_CLUSTER` where the row is zero.
    """
    from sklearn.cluster import KMeans  # a second, which trainings without clusters don't pay

    clusters = np.full(len(embedding), NO_CLUSTER, dtype=np.int32)
    rows = np.flatnonzero((embedding != 0).any(axis=1))
    if len(rows):
        means = KMeans(min(n_clusters, len(rows)), n_init=1, random_state=seed, max_iter=50)
        clusters[rows] = means.fit_predict(embedding[rows])
    return clusters


class _Eligible:
    """Which tracks may be sampled for which context track; a pair is anchor * n_tracks + track."""

    def __init__(self, pairs: Pairs, clusters: npt.NDArray[np.integer]) -> None:
        self.n_tracks = len(clusters)
        self.anchors = np.unique(pairs.anchors).astype(np.int64)
        self._followed = np.unique(pairs.anchors.astype(np.int64) * self.n_tracks + pairs.tracks)
        self._clusters = clusters
        self._pool = np.flatnonzero(clusters != NO_CLUSTER)

    def draw(self, counts: npt.NDArray[np.int64], rng: np.random.Generator) -> PairArray:
        """Draw that many tracks per anchor and return those that are eligible, once each."""
        anchors = np.repeat(self.anchors, counts)
        tracks = self._pool[rng.integers(0, len(self._pool), len(anchors))]
        is_other = self._clusters[anchors] != self._clusters[tracks]
        drawn = anchors[is_other] * self.n_tracks + tracks[is_other]
        return np.setdiff1d(drawn, self._followed)

    def find_all(self, anchor: int) -> PairArray:
        """Return every eligible pair of an anchor."""
        tracks = self._pool[self._clusters[self._pool] != self._clusters[anchor]]
        return np.setdiff1d(anchor * self.n_tracks + tracks, self._followed)


def _sample(eligible: _Eligible, per_track: int, rng: np.random.Generator) -> PairArray:
    """Draw for all anchors at once, again where a draw was not eligible; ascending pairs."""
    chosen: PairArray = np.empty(0, dtype=np.int64)
    anchors, n_tracks = eligible.anchors, eligible.n_tracks
    missing = np.full(len(anchors), per_track)
    for _ in range(_ATTEMPTS):
        chosen = np.union1d(chosen, eligible.draw(missing, rng))
        bounds = np.searchsorted(chosen, [anchors * n_tracks, (anchors + 1) * n_tracks])
        missing = per_track - (bounds[1] - bounds[0])
        if not missing.any():
            return chosen
    rest = [
        rng.permutation(np.setdiff1d(eligible.find_all(int(anchor)), chosen))[:n]
        for anchor, n in zip(anchors[missing > 0], missing[missing > 0], strict=True)
    ]
    return np.union1d(chosen, np.concatenate([chosen, *rest]))
