"""What lists of neighbours are like, whoever listens: coverage, novelty, diversity."""

import numpy as np
import numpy.typing as npt

from services.trainer.core.playbacks import FloatArray, IntArray

SHOWN_AT = 10  # best neighbours that novelty and diversity are of
BLOCK = 4096
TINY = 1e-12

BoolArray = npt.NDArray[np.bool_]


def evaluate_spread(
    neighbours: IntArray, plays: npt.NDArray[np.integer], *, candidates: BoolArray
) -> dict[str, float]:
    """Measure how much of the catalogue is recommended, and how popular that is.

    Args:
        neighbours: Rows per row, -1 pads.
        plays: Per row, in training.
        candidates: Rows that may be recommended.

    Returns:
        `catalog_coverage`, the share of all rows that are anybody's neighbour; `anchor_coverage`,
        the share of rows that have neighbours; `popularity_bias`, the mean plays of a neighbour
        over the mean plays of a candidate: 1 is none; `novelty_bits`, the mean of minus the binary
        logarithm of the share of plays that one of the ten best neighbours has.

    Source: Zhou et al. (2010), Solving the apparent diversity-accuracy dilemma.
    """
    shown = neighbours[neighbours >= 0]
    metrics = {
        "catalog_coverage": len(np.unique(shown)) / len(plays),
        "anchor_coverage": float((neighbours[:, 0] >= 0).mean()),
    }
    if len(shown):
        metrics["popularity_bias"] = float(plays[shown].mean() / plays[candidates].mean())
        best = neighbours[:, :SHOWN_AT]
        share = (plays[best[best >= 0]] + 1) / (plays.sum() + len(plays))  # none is impossible
        metrics["novelty_bits"] = float(-np.log2(share).mean())
    return metrics


def evaluate_diversity(
    neighbours: IntArray, artist_rows: IntArray, embedding: FloatArray | None
) -> dict[str, float]:
    """Measure how unlike each other the ten best neighbours of a row are.

    Args:
        neighbours: Rows per row, -1 pads; rows with fewer than two do not count.
        artist_rows: Artist per row.
        embedding: Of the rows, (n, d), if the version has one.

    Returns:
        Means over rows: `artist_diversity`, artists per neighbour; `list_diversity`, 1 minus the
        mean cosine of two neighbours. Empty if no row has two neighbours.

    Source: Smyth and McClave (2001), Similarity vs. Diversity.
    """
    best = neighbours[:, :SHOWN_AT]
    best = best[(best >= 0).sum(axis=1) > 1]
    if len(best) == 0:
        return {}
    is_shown = best >= 0
    n_shown = is_shown.sum(axis=1)
    # An artist counts where it is not the one before it in order; pads sort first.
    artists = np.sort(np.where(is_shown, artist_rows[best], -1), axis=1)
    is_another = np.diff(artists, axis=1, prepend=-1) != 0
    metrics = {"artist_diversity": float((is_another.sum(axis=1) / n_shown).mean())}
    if embedding is not None:
        norms = np.linalg.norm(embedding, axis=1, keepdims=True)
        unit = embedding / np.maximum(norms, TINY)
        parts = [_sum_cosines(best[i : i + BLOCK], unit) for i in range(0, len(best), BLOCK)]
        cosine = np.concatenate(parts) / (n_shown * (n_shown - 1))
        metrics["list_diversity"] = float(1 - cosine.mean())
    return metrics


def _sum_cosines(rows: IntArray, unit: FloatArray) -> npt.NDArray[np.float64]:
    """Sum over ordered pairs of a list's rows: |sum|^2 minus each with itself."""
    vectors = np.where((rows >= 0)[..., None], unit[rows], 0.0).astype(np.float64)
    itself = (vectors**2).sum(axis=(1, 2))
    cosines: npt.NDArray[np.float64] = (vectors.sum(axis=1) ** 2).sum(axis=1) - itself
    return cosines
