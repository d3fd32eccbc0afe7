"""The factor on the listened time per earlier track of the same artist, read off the log.

A playback with c earlier tracks of its artist plays round(gamma^c p, 2) for a p in [0, 1]. Those
who listen to almost everything put the largest times at c on gamma^c, to the rounding.
"""

import numpy as np
import numpy.typing as npt

from services.trainer.core.playbacks import FloatArray

HALF_STEP = 0.005  # times have two decimals
MAX_EARLIER = 8
MIN_PLAYBACKS = 20  # at a number of earlier tracks, to believe its largest time
SPARE = 0.001  # share of the largest times that are not believed: other rules, other clients


def estimate_gamma(times: FloatArray, n_earlier: npt.NDArray[np.integer]) -> float:
    """Estimate gamma from the upper envelope of the times.

    For each c the envelope y_c bounds gamma: (y_c - 0.005)^(1/c) <= gamma surely, and
    gamma <= (y_c + 0.005)^(1/c) if some listener played it in full. The largest lower bound is
    sure; of the upper bounds the smallest above it is kept, and gamma put between the two.

    Args:
        times: Fraction listened per playback.
        n_earlier: Earlier tracks of the same artist in its session, same shape.

    Returns:
        In (0, 1]; 1 if the log repeats no artist, or nobody listened to a repeated one.
    """
    lower, uppers = 0.0, []
    for c in range(1, MAX_EARLIER + 1):
        heard = np.sort(times[n_earlier == c])
        if len(heard) < MIN_PLAYBACKS:
            continue
        top = float(heard[-1 - int(len(heard) * SPARE)])
        if top > HALF_STEP:
            lower = max(lower, (top - HALF_STEP) ** (1 / c))
            uppers.append((top + HALF_STEP) ** (1 / c))
    if not uppers or max(uppers) >= 1.0:
        return 1.0
    return float(lower + min(upper for upper in uppers if upper >= lower)) / 2
