"""The chart of the last minutes."""

import functools

from matplotlib.ticker import MaxNLocator

from analysis.core.activity import Minute
from services.dashboard.charts.dates import tell_time, to_days
from services.dashboard.charts.theme import ACCENT, BAD, Size, drawing, to_svg

_WIDTH = 0.72 / (24 * 60)  # of a bar, in days


@functools.lru_cache(maxsize=8)
def draw_minutes(minutes: tuple[Minute, ...], size: Size) -> str:
    """Draw the requests of each minute, and those that fell back."""
    with drawing(size.with_height(220)) as (figure, (axes,)):
        times = to_days(minute.start_at for minute in minutes)
        axes.bar(times, [m.n_requests for m in minutes], width=_WIDTH, color=ACCENT)
        axes.bar(times, [m.n_fallbacks for m in minutes], width=_WIDTH, color=BAD)
        tell_time(axes, n_ticks=5 if size.name == "narrow" else 8)
        axes.yaxis.set_major_locator(MaxNLocator(4, integer=True))
        axes.yaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
        axes.set_ylim(bottom=0, top=None if any(m.n_requests for m in minutes) else 1)
        axes.margins(x=0.01)
        return to_svg(figure, size.with_height(220), title="Requests per minute")
