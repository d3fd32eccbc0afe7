"""How good a model is on sessions later than those it learnt from."""

import numpy as np
import numpy.typing as npt

from services.trainer.core.pairs import Pairs
from services.trainer.core.playbacks import FloatArray, IntArray

WELL_LISTENED = 0.5
NDCG_AT = 10


def evaluate_prediction(
    predicted: FloatArray, held_out: Pairs, *, train_mean: float
) -> dict[str, float]:
    """Compare the predicted fractions with the listened ones.

    Args:
        predicted: Per held-out pair.
        held_out: Pairs of later sessions.
        train_mean: Mean fraction listened in training, the simplest prediction.

    Returns:
        `validation_mse` and `baseline_mse`.
    """
    times = held_out.times.astype(np.float64)
    return {
        "validation_mse": float(np.mean((predicted - times) ** 2)),
        "baseline_mse": float(np.mean((train_mean - times) ** 2)),
    }


def evaluate_neighbours(neighbours: IntArray, held_out: Pairs) -> dict[str, float]:
    """Compare neighbours with what later sessions listened to well.

    A session counts if it listened well to a track; its neighbours are those of its first track.

    Returns:
        Means over sessions, `ndcg_at_10` and `recall_at_k`; empty if no session counts.
    """
    relevant = held_out.select(held_out.times >= WELL_LISTENED)
    if len(relevant) == 0:
        return {}
    matches = neighbours[relevant.anchors] == relevant.tracks[:, None]  # (n_relevant, k)
    is_found, rank = matches.any(axis=1), matches.argmax(axis=1)
    _, session, n_relevant = np.unique(relevant.sessions, return_inverse=True, return_counts=True)
    n_found = np.bincount(session, weights=is_found)
    discounts = 1.0 / np.log2(np.arange(NDCG_AT) + 2.0)
    gains = np.where(is_found & (rank < NDCG_AT), 1.0 / np.log2(rank + 2.0), 0.0)
    ideal = np.cumsum(discounts)[np.minimum(n_relevant, NDCG_AT) - 1]
    return {
        "ndcg_at_10": float(np.mean(np.bincount(session, weights=gains) / ideal)),
        "recall_at_k": float(np.mean(n_found / n_relevant)),
    }


def evaluate_spread(
    neighbours: IntArray, plays: npt.NDArray[np.integer], *, candidates: npt.NDArray[np.bool_]
) -> dict[str, float]:
    """Measure how much of the catalogue is recommended, and how popular that is.

    Args:
        neighbours: Rows per row, -1 pads.
        plays: Per row, in training.
        candidates: Rows that may be recommended.

    Returns:
        `catalog_coverage`, the share of all rows that are anybody's neighbour; `anchor_coverage`,
        the share of rows that have neighbours; `popularity_bias`, the mean plays of a neighbour
        over the mean plays of a candidate: 1 is none.
    """
    shown = neighbours[neighbours >= 0]
    metrics = {
        "catalog_coverage": len(np.unique(shown)) / len(plays),
        "anchor_coverage": float((neighbours[:, 0] >= 0).mean()),
    }
    if len(shown):
        metrics["popularity_bias"] = float(plays[shown].mean() / plays[candidates].mean())
    return metrics
