"""What a set of sessions came to: means, their uncertainty, medians."""

import msgspec
import numpy as np
import numpy.typing as npt

from simulator.core.draws import FloatArray

Z95 = 1.959963984540054


class Estimate(msgspec.Struct, frozen=True):
    """A mean over sessions, with its standard error and the median."""

    mean: float
    standard_error: float
    median: float

    @property
    def margin(self) -> float:
        """Half the width of the 95% interval."""
        return Z95 * self.standard_error

    def __str__(self) -> str:
        return f"{self.mean:.3f} ± {self.margin:.3f} (median {self.median:g})"


class Summary(msgspec.Struct, frozen=True, kw_only=True):
    """Sessions in numbers.

    Attributes:
        n_sessions: How many.
        time: Sum of listened fractions per session, the first track's 1.0 counted.
        tracks: Tracks per session, the first one counted.
        excess: Tracks minus time; the listeners' budget on average, whatever the policy.
    """

    n_sessions: int
    time: Estimate
    tracks: Estimate
    excess: Estimate


def summarise(times: FloatArray, tracks: npt.NDArray[np.integer]) -> Summary:
    """Summarise sessions.

    Args:
        times: Total time per session, shape (n_sessions,).
        tracks: Number of tracks per session, same shape.
    """
    return Summary(
        n_sessions=len(times),
        time=_estimate(times),
        tracks=_estimate(tracks),
        excess=_estimate(tracks - times),
    )


def _estimate(values: npt.NDArray[np.floating] | npt.NDArray[np.integer]) -> Estimate:
    n = len(values)
    if n == 0:
        return Estimate(float("nan"), float("nan"), float("nan"))
    spread = float(values.std(ddof=1)) if n > 1 else float("nan")
    return Estimate(float(values.mean()), spread / n**0.5, float(np.median(values)))
