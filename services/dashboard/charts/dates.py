"""Time on a chart's axis; matplotlib's dates have no types of their own."""

from collections.abc import Iterable
from datetime import datetime

import numpy as np
import numpy.typing as npt
from matplotlib import dates
from matplotlib.axes import Axes

# By what the ticks are apart: years, months, days, hours, minutes, seconds; and for the ticks at
# which the next larger unit begins.
FORMATS = ["%Y", "%b", "%b %d", "%H:%M", "%H:%M", "%H:%M:%S"]
ZERO_FORMATS = ["", "%Y", "%b", "%b %d", "%H:%M", "%H:%M:%S"]


def to_days(times: Iterable[datetime]) -> npt.NDArray[np.float64]:
    """Return times as matplotlib counts them, in days."""
    days: npt.NDArray[np.float64] = dates.date2num(list(times))  # type: ignore[no-untyped-call]
    return days


def tell_time(axes: Axes, *, n_ticks: int) -> None:
    """Write times under an axis, at most so many."""
    locator = dates.AutoDateLocator(minticks=3, maxticks=n_ticks)  # type: ignore[no-untyped-call]
    formatter = dates.ConciseDateFormatter(  # type: ignore[no-untyped-call]
        locator, formats=FORMATS, zero_formats=ZERO_FORMATS, show_offset=False
    )
    axes.xaxis.set_major_locator(locator)
    axes.xaxis.set_major_formatter(formatter)
