"""What a model version predicts of a play from its session's start, read off its arrays alone.

A version that serves and one that was just trained are so judged by the same code.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from services.trainer.core.held_out import HeldOut

Arrays = Mapping[str, npt.NDArray[Any]]
FloatArray = npt.NDArray[np.float64]

BLOCK = 65536
PREDICTING_ARRAYS = (
    "context_embedding",
    "track_embedding",
    "track_variance",
    "session_covariance",
    "session_constants",
    "user_ids",
    "user_listener",
)


def predict_times(arrays: Arrays, held_out: HeldOut) -> FloatArray | None:
    """Predict the fraction listened to of each play.

    Returns:
        In [0, 1], (n_plays,); None if the version predicts none, as one that was imported.
    """
    if "track_embedding" not in arrays:
        return None
    predict = _predict_session if "session_covariance" in arrays else _predict_pairs
    parts = [
        predict(arrays, held_out, slice(start, start + BLOCK))
        for start in range(0, len(held_out), BLOCK)
    ]
    return np.concatenate([np.empty(0), *parts])


def _predict_pairs(arrays: Arrays, held_out: HeldOut, part: slice) -> FloatArray:
    context = arrays["context_embedding"][held_out.anchors[part]]
    target = arrays["track_embedding"][held_out.tracks[part]]
    score: FloatArray = np.einsum("nd,nd->n", context, target, dtype=np.float64)
    return np.clip(score, 0.0, 1.0)


def _predict_session(arrays: Arrays, held_out: HeldOut, part: slice) -> FloatArray:
    """Predict gamma^c E[sigmoid(s <e, i> - o)] with i given the first track, past interests aside.

    For independent e and i, and (s, o), and with x = <e, E i>, the logit has the variance
    (s^2 + var s) e' cov(i) e + var(s) x^2 - 2 cov(s, o) x + var(o), the track's, and the noise.

    Source: MacKay (1992) for the sigmoid's mean under a normal.
    """
    interest = arrays["context_embedding"][held_out.anchors[part]].astype(np.float64)
    track = arrays["track_embedding"][held_out.tracks[part]].astype(np.float64)
    covariance = arrays["session_covariance"].astype(np.float64)
    gamma, noise = arrays["session_constants"].tolist()
    product = np.einsum("nd,nd->n", interest, track)
    slope, offset, var_slope, cov_both, var_offset = _listeners(arrays, held_out.users[part]).T
    spread = np.einsum("nd,nd->n", track @ covariance, track)
    variance = (slope**2 + var_slope) * spread + var_slope * product**2 - 2 * cov_both * product
    variance += var_offset + arrays["track_variance"][held_out.tracks[part]] + noise
    logit = (slope * product - offset) / np.sqrt(1 + np.pi / 8 * np.maximum(variance, 0.0))
    predicted: FloatArray = gamma ** held_out.n_earlier[part] / (1 + np.exp(-logit.clip(-500)))
    return predicted


def _listeners(arrays: Arrays, users: npt.NDArray[np.int32]) -> FloatArray:
    """Return the rows of listeners, an unknown one's for those that the version does not know."""
    rows = np.searchsorted(arrays["user_ids"], users)
    is_known = np.append(arrays["user_ids"], -1)[rows] == users
    listeners: FloatArray = arrays["user_listener"][np.where(is_known, rows, -1)].astype(np.float64)
    return listeners
