"""How good a model is on sessions later than those it learnt from."""

import numpy as np
import numpy.typing as npt

from services.trainer.core.held_out import HeldOut
from services.trainer.core.playbacks import FloatArray, IntArray

WELL_LISTENED = 0.5
NDCG_AT = 10
N_BINS = 10
HALF_STEP = 0.005  # times have two decimals: nothing nearer to 0 or 1 can be told apart

Predictions = npt.NDArray[np.floating]


def evaluate_prediction(
    predicted: Predictions, times: FloatArray, *, train_mean: float
) -> dict[str, float]:
    """Compare the predicted fractions with the listened ones.

    Args:
        predicted: Per held-out play.
        times: Listened fractions, same shape.
        train_mean: Mean fraction listened in training, the simplest prediction.

    Returns:
        `held_out_mse` and `held_out_log_loss`, the cross-entropy of the fractions; `baseline_mse`
        and `baseline_log_loss` of the training's mean; `calibration_error`, the mean distance in
        the reliability table between prediction and truth, weighted by plays.

    Source: Guo et al. (2017), On Calibration of Modern Neural Networks.
    """
    baseline = np.full(len(times), train_mean)
    table = make_reliability_table(predicted, times)
    gaps = [row["plays"] * abs(row["predicted"] - row["listened"]) for row in table]
    return {
        "held_out_mse": float(measure_squared_errors(predicted, times).mean()),
        "held_out_log_loss": float(measure_log_losses(predicted, times).mean()),
        "baseline_mse": float(measure_squared_errors(baseline, times).mean()),
        "baseline_log_loss": float(measure_log_losses(baseline, times).mean()),
        "calibration_error": sum(gaps) / len(times),
    }


def make_reliability_table(predicted: Predictions, times: FloatArray) -> list[dict[str, float]]:
    """Group plays by their prediction, in tenths, and average each group.

    Returns:
        Per tenth that has plays: `from`, `to`, `plays`, mean `predicted`, mean `listened`.
    """
    group = np.minimum((np.clip(predicted, 0, 1) * N_BINS).astype(np.int64), N_BINS - 1)
    count, predictions, listened = (
        np.bincount(group, weights=weights, minlength=N_BINS)
        for weights in (None, predicted, times)
    )
    return [
        {
            "from": i / N_BINS,
            "to": (i + 1) / N_BINS,
            "plays": float(count[i]),
            "predicted": float(predictions[i] / count[i]),
            "listened": float(listened[i] / count[i]),
        }
        for i in np.flatnonzero(count).tolist()
    ]


def measure_squared_errors(predicted: Predictions, times: FloatArray) -> npt.NDArray[np.float64]:
    """Return the squared error of each play."""
    return (predicted.astype(np.float64) - times) ** 2


def measure_log_losses(predicted: Predictions, times: FloatArray) -> npt.NDArray[np.float64]:
    """Return the cross-entropy of each play, its fraction taken as a probability."""
    p, y = predicted.astype(np.float64).clip(HALF_STEP, 1 - HALF_STEP), times.astype(np.float64)
    losses: npt.NDArray[np.float64] = -(y * np.log(p) + (1 - y) * np.log(1 - p))
    return losses


def evaluate_neighbours(neighbours: IntArray, held_out: HeldOut) -> dict[str, float]:
    """Compare neighbours with what later sessions listened to well.

    A session counts if it listened well to a track; its neighbours are those of its first track.

    Returns:
        Means over sessions, `ndcg_at_10` and `recall_at_k`; empty if no session counts.
    """
    is_relevant = held_out.times >= WELL_LISTENED
    if not is_relevant.any():
        return {}
    anchors, tracks, sessions = (
        column[is_relevant] for column in (held_out.anchors, held_out.tracks, held_out.sessions)
    )
    matches = neighbours[anchors] == tracks[:, None]  # (n_relevant, k)
    is_found, rank = matches.any(axis=1), matches.argmax(axis=1)
    _, session, n_relevant = np.unique(sessions, return_inverse=True, return_counts=True)
    n_found = np.bincount(session, weights=is_found)
    discounts = 1.0 / np.log2(np.arange(NDCG_AT) + 2.0)
    gains = np.where(is_found & (rank < NDCG_AT), 1.0 / np.log2(rank + 2.0), 0.0)
    ideal = np.cumsum(discounts)[np.minimum(n_relevant, NDCG_AT) - 1]
    return {
        "ndcg_at_10": float(np.mean(np.bincount(session, weights=gains) / ideal)),
        "recall_at_k": float(np.mean(n_found / n_relevant)),
    }


def evaluate_popularity(top_tracks: IntArray, held_out: HeldOut, *, k: int) -> dict[str, float]:
    """Rate the same recommendations for everybody, the most listened tracks.

    Args:
        top_tracks: Rows, best first.
        held_out: To judge on.
        k: Recommendations.

    Returns:
        `baseline_ndcg_at_10` and `baseline_recall_at_k`; empty if no session counts.
    """
    n_anchors = int(held_out.anchors.max(initial=-1)) + 1
    shown = np.broadcast_to(top_tracks[:k], (n_anchors, len(top_tracks[:k])))
    found = evaluate_neighbours(shown, held_out) if shown.size else {}
    return {f"baseline_{name}": value for name, value in found.items()}
