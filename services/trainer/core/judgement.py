"""A version judged on held-out sessions, alone and beside the version that serves."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from services.trainer.core.evaluation import (
    evaluate_neighbours,
    evaluate_prediction,
    make_reliability_table,
    measure_log_losses,
    measure_squared_errors,
)
from services.trainer.core.held_out import HeldOut
from services.trainer.core.prediction import predict_times

Z_ONE_SIDED_95 = 1.645

Arrays = Mapping[str, npt.NDArray[Any]]
FloatArray = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Judgement:
    """What a version is worth on held-out sessions.

    Attributes:
        held_out: Plays judged on.
        predicted: Of each; None if the version predicts none.
        metrics: Of predictions and neighbours.
        reliability: See `make_reliability_table`.
    """

    held_out: HeldOut
    predicted: FloatArray | None
    metrics: dict[str, float]
    reliability: list[dict[str, float]]


@dataclass(frozen=True)
class Comparison:
    """A new version beside the one that serves, on the same held-out plays.

    Attributes:
        model_version: That serves.
        n_plays, n_sessions, n_users: Judged on.
        candidate, serving: Metrics of each.
        difference: In mean squared error, candidate minus serving: negative is better.
        difference_upper: It is smaller than this with 95% confidence; users are independent.
        seen_share: Share of the sessions that the serving version may have learnt from: it has
            that advantage.
    """

    model_version: str
    n_plays: int
    n_sessions: int
    n_users: int
    candidate: dict[str, float]
    serving: dict[str, float]
    difference: float
    difference_upper: float
    seen_share: float

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON can hold it."""
        return asdict(self)


def judge(arrays: Arrays, held_out: HeldOut, *, train_mean: float) -> Judgement:
    """Judge a version by its arrays.

    Args:
        arrays: Of the version.
        held_out: At least one play.
        train_mean: Mean fraction listened in training.
    """
    predicted = predict_times(arrays, held_out)
    metrics: dict[str, float] = {}
    reliability: list[dict[str, float]] = []
    if predicted is not None:
        metrics |= evaluate_prediction(predicted, held_out.times, train_mean=train_mean)
        reliability = make_reliability_table(predicted, held_out.times)
    if "neighbours" in arrays:
        metrics |= evaluate_neighbours(arrays["neighbours"], held_out)
    return Judgement(held_out, predicted, metrics, reliability)


def compare(
    candidate: Judgement, arrays: Arrays, *, model_version: str, seen_share: float
) -> Comparison | None:
    """Judge the version that serves where the candidate was judged, play by play.

    Args:
        candidate: The new version.
        arrays: Of the version that serves.
        model_version: Its id.
        seen_share: See `Comparison`.

    Returns:
        None if either predicts nothing.
    """
    held_out = candidate.held_out
    serving = predict_times(arrays, held_out)
    if candidate.predicted is None or serving is None:
        return None
    errors, serving_errors = (
        measure_squared_errors(predicted, held_out.times)
        for predicted in (candidate.predicted, serving)
    )
    difference, standard_error, n_users = _mean_by_user(errors - serving_errors, held_out.users)
    metrics = {
        "held_out_mse": float(serving_errors.mean()),
        "held_out_log_loss": float(measure_log_losses(serving, held_out.times).mean()),
    }
    if "neighbours" in arrays:
        metrics |= evaluate_neighbours(arrays["neighbours"], held_out)
    return Comparison(
        model_version=model_version,
        n_plays=len(held_out),
        n_sessions=held_out.n_sessions,
        n_users=n_users,
        candidate={name: candidate.metrics[name] for name in metrics if name in candidate.metrics},
        serving=metrics,
        difference=difference,
        difference_upper=difference + Z_ONE_SIDED_95 * standard_error,
        seen_share=seen_share,
    )


def _mean_by_user(values: FloatArray, users: npt.NDArray[np.int32]) -> tuple[float, float, int]:
    """Return the mean over plays, its standard error with users drawn as wholes, and their number.

    Source: Deng, Lu, Litz (2017), delta method for a ratio of sums over users.
    """
    _, user, count = np.unique(users, return_inverse=True, return_counts=True)
    mean, n_users = float(values.mean()), len(count)
    residual = np.bincount(user, weights=values) - mean * count
    correction = n_users / max(n_users - 1, 1)
    error = float(np.sqrt(correction * (residual**2).sum()) / len(values))
    return mean, error, n_users
