"""The forest plot: every effect with its interval."""

import functools
from collections.abc import Sequence

from matplotlib.axes import Axes

from analysis.core.effects import Effect
from services.dashboard.charts.theme import (
    BAD,
    GOOD,
    GRID,
    INK,
    MUTED,
    Size,
    drawing,
    to_svg,
)
from services.dashboard.core.formats import METRIC_NAMES, format_percent
from services.dashboard.core.results import is_good

_ROW, _FRAME = 34.0, 62.0  # pixels


@functools.lru_cache(maxsize=64)
def draw_forest(effects: tuple[Effect, ...], size: Size) -> str:
    """Draw effects that have intervals; those of latency on an axis of their own.

    Args:
        effects: Of one experiment, by treatment.
        size: Its height follows from the effects.
    """
    shown = [effect for effect in effects if effect.lower_pct is not None]
    groups = [
        [effect for effect in shown if "latency" not in effect.metric],
        [effect for effect in shown if "latency" in effect.metric],
    ]
    panels = [group for group in groups if group]
    if not panels:
        return ""
    heights = [_ROW * len(group) + _FRAME for group in panels]
    size = size.with_height(sum(heights))
    with drawing(size, panels=heights) as (figure, axes):
        for each, group in zip(axes, panels, strict=True):
            _draw_panel(each, group, narrow=size.name == "narrow")
        names = ", ".join(f"{e.treatment} {e.metric} {format_percent(e.effect_pct)}" for e in shown)
        return to_svg(figure, size, title=f"Effects in percent of the control: {names}")


def _draw_panel(axes: Axes, effects: Sequence[Effect], *, narrow: bool) -> None:
    axes.grid(axis="y", visible=False)
    axes.grid(axis="x", color=GRID, linewidth=1)
    axes.axvline(0, color=MUTED, linewidth=1.2)
    places = list(range(len(effects)))[::-1]
    for place, effect in zip(places, effects, strict=True):
        colour = {True: GOOD, False: BAD, None: MUTED}[is_good(effect)]
        ends = [effect.lower_pct or 0.0, effect.upper_pct or 0.0]
        axes.plot(ends, [place, place], color=colour, linewidth=2.4, solid_capstyle="round")
        axes.plot([effect.effect_pct or 0.0], [place], "o", color=colour, markersize=8)
    arms = {effect.treatment for effect in effects}
    axes.set_yticks(
        places, [_label(effect, n_arms=len(arms), narrow=narrow) for effect in effects], color=INK
    )
    axes.set_ylim(-0.7, len(effects) - 0.3)
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:+g}%" if value else "0")
    axes.locator_params(axis="x", nbins=4 if narrow else 7)


def _label(effect: Effect, *, n_arms: int, narrow: bool) -> str:
    name = METRIC_NAMES.get(effect.metric, effect.metric)
    name = name.replace(" per session", " / session") if narrow else name
    return name if n_arms == 1 else f"{effect.treatment}  {name}"
