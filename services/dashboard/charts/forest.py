"""The forest plot: every effect with its interval."""

import functools
import math
from collections.abc import Sequence

from matplotlib.axes import Axes

from analysis.core.effects import Effect
from analysis.core.wording import describe_tick
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
from services.dashboard.core.formats import METRIC_NAMES, format_change
from services.dashboard.core.results import is_good

_ROW, _GAP, _FRAME = 28.0, 12.0, 62.0  # pixels
_LINEAR_UP_TO = 60.0  # percent; wider changes are drawn by their ratio
_TICKS = (-95, -90, -75, -50, -25, 0, 50, 100, 200, 400, 900, 1_900, 4_900, 9_900, 49_900)
_FURTHEST = 1.5  # times the largest effect: an interval that goes beyond is cut there


@functools.lru_cache(maxsize=64)
def draw_forest(effects: tuple[Effect, ...], size: Size) -> str:
    """Draw effects that have intervals, those in one metric together; latency has its own axis.

    Args:
        effects: Of one experiment, by treatment.
        size: Its height follows from the effects.
    """
    shown = [effect for effect in effects if effect.lower_pct is not None]
    panels = [
        group
        for is_latency in (False, True)
        if (group := [e for e in shown if ("latency" in e.metric) == is_latency])
    ]
    if not panels:
        return ""
    heights = [_height(group) + _FRAME for group in panels]
    size = size.with_height(sum(heights))
    with drawing(size, panels=heights) as (figure, axes):
        for each, group in zip(axes, panels, strict=True):
            _draw_panel(each, group, narrow=size.name == "narrow")
        names = ", ".join(f"{e.treatment} {e.metric} {format_change(e.effect_pct)}" for e in shown)
        return to_svg(figure, size, title=f"Effects in percent of the control: {names}")


def _height(effects: Sequence[Effect]) -> float:
    return _ROW * len(effects) + _GAP * (len({effect.metric for effect in effects}) - 1)


def _draw_panel(axes: Axes, effects: Sequence[Effect], *, narrow: bool) -> None:
    axes.grid(axis="y", visible=False)
    axes.grid(axis="x", color=GRID, linewidth=1)
    axes.axvline(0, color=MUTED, linewidth=1.2)
    scale = _Scale(effects)
    metrics = list(dict.fromkeys(effect.metric for effect in effects))
    effects = sorted(effects, key=lambda effect: metrics.index(effect.metric))
    is_several = len({effect.treatment for effect in effects}) > 1
    places, labels, place = [], [], 0.0
    for before, effect in zip([None, *effects], effects, strict=False):
        is_first = before is None or before.metric != effect.metric
        place -= 0 if before is None else _ROW + (_GAP if is_first else 0)
        _draw_effect(axes, effect, place, scale)
        places.append(place)
        labels.append(_label(effect, is_first=is_first, is_several=is_several, narrow=narrow))
    axes.set_yticks(places, labels, color=INK)
    axes.set_ylim(place - _ROW * 0.7, _ROW * 0.7)
    scale.tell(axes, n_ticks=3 if narrow else 8)


def _draw_effect(axes: Axes, effect: Effect, place: float, scale: "_Scale") -> None:
    """Draw an interval and its middle; an arrow where the interval goes on."""
    colour = {True: GOOD, False: BAD, None: MUTED}[is_good(effect)]
    bounds = (effect.lower_pct or 0.0, effect.upper_pct or 0.0)
    ends = [scale.place(bound) for bound in bounds]
    axes.plot(ends, [place, place], color=colour, linewidth=2.4, solid_capstyle="round")
    for bound, end, marker in zip(bounds, ends, "<>", strict=True):
        if scale.is_beyond(bound):
            axes.plot([end], [place], marker, color=colour, markersize=7)
    axes.plot([scale.place(effect.effect_pct or 0.0)], [place], "o", color=colour, markersize=8)


class _Scale:
    """Places of changes on an axis: as they are, or, if some are large, by the log of the ratio."""

    def __init__(self, effects: Sequence[Effect]) -> None:
        """Fit all effects, and of their intervals what does not go too far."""
        middles = [effect.effect_pct or 0.0 for effect in effects]
        bounds = [b for e in effects for b in (e.lower_pct or 0.0, e.upper_pct or 0.0)]
        self._is_log = max(map(abs, middles)) > _LINEAR_UP_TO
        near = max(_FURTHEST * max(map(abs, map(self._transform, middles))), self._transform(10.0))
        values = [min(max(v, -near), near) for v in map(self._transform, [0.0, *bounds, *middles])]
        self._low, self._high = min(values), max(values)

    def _transform(self, percent: float) -> float:
        if not self._is_log:
            return percent
        return math.log(max(1 + percent / 100, 1e-6))

    def place(self, percent: float) -> float:
        """Return the place of a change, at the end of the axis if it is beyond."""
        return min(max(self._transform(percent), self._low), self._high)

    def is_beyond(self, percent: float) -> bool:
        """Say whether a change is beyond the axis."""
        return not self._low <= self._transform(percent) <= self._high

    def tell(self, axes: Axes, *, n_ticks: int) -> None:
        """Limit the axis, and write changes under it."""
        margin = 0.04 * (self._high - self._low)
        axes.set_xlim(self._low - margin, self._high + margin)
        if not self._is_log:
            axes.xaxis.set_major_formatter(lambda value, _: describe_tick(value))
            axes.locator_params(axis="x", nbins=n_ticks)
            return
        inside = [tick for tick in _TICKS if not self.is_beyond(tick)]
        apart = (self._high - self._low) / n_ticks
        kept = [0]
        for tick in sorted(inside, key=abs):
            if all(abs(self._transform(tick) - self._transform(each)) >= apart for each in kept):
                kept.append(tick)
        labels = [describe_tick(tick).replace("-", "−") for tick in kept]
        axes.set_xticks([self._transform(tick) for tick in kept], labels)


def _label(effect: Effect, *, is_first: bool, is_several: bool, narrow: bool) -> str:
    """Name a row: the metric where it begins, and the treatment if there are several."""
    name = METRIC_NAMES.get(effect.metric, effect.metric)
    name = name.replace(" per session", " / session") if narrow else name
    if not is_several:
        return name
    return f"{name if is_first else ''}   {effect.treatment}"
