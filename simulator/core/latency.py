"""How long answers took."""

import msgspec
import numpy as np

from simulator.core.draws import FloatArray


class Latency(msgspec.Struct, frozen=True, kw_only=True):
    """Waits for answers, in milliseconds.

    Attributes:
        n: How many.
        mean: Of all; NaN of none, like the rest.
        p50, p90, p99: Quantiles.
        longest: The maximum.
    """

    n: int
    mean: float
    p50: float
    p90: float
    p99: float
    longest: float


def summarise_latency(waits_s: FloatArray) -> Latency:
    """Summarise waits given in seconds, shape (n,)."""
    if len(waits_s) == 0:
        nan = float("nan")
        return Latency(n=0, mean=nan, p50=nan, p90=nan, p99=nan, longest=nan)
    waits = waits_s * 1000
    p50, p90, p99 = np.quantile(waits, (0.5, 0.9, 0.99)).tolist()
    return Latency(
        n=len(waits),
        mean=float(waits.mean()),
        p50=p50,
        p90=p90,
        p99=p99,
        longest=float(waits.max()),
    )
