"""Tracks by popularity."""

import numpy as np
import numpy.typing as npt

from services.trainer.core.playbacks import FloatArray, IntArray

MIN_PLAYS = 3
N_TOP = 1000


def rank_tracks(rows: IntArray, times: FloatArray, *, n_tracks: int) -> IntArray:
    """Rank tracks by the total time listened to them, most first.

    Args:
        rows: Catalogue row per playback, negative if unknown.
        times: Fraction listened, same shape.
        n_tracks: Size of the catalogue.

    Returns:
        At most `N_TOP` rows, of tracks with at least `MIN_PLAYS` plays; of all played tracks if
        none has so many.
    """
    is_known = rows >= 0
    known: npt.NDArray[np.int32] = rows[is_known]
    plays = np.bincount(known, minlength=n_tracks)
    total = np.bincount(known, weights=times[is_known], minlength=n_tracks)
    eligible = plays >= min(MIN_PLAYS, plays.max(initial=0))
    eligible &= plays > 0
    order = np.argsort(-total, kind="stable")
    top: IntArray = order[eligible[order]][:N_TOP].astype(np.int32)
    return top
