"""Charts over time and over epochs."""

import functools
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import NamedTuple

from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from analysis.core.timeline import EffectAt
from analysis.core.wording import FACTOR_FROM_PCT, describe_tick
from services.dashboard.charts.dates import tell_time, to_days
from services.dashboard.charts.theme import (
    ACCENT,
    INK,
    MUTED,
    Size,
    arm_colour,
    drawing,
    to_svg,
)

_LINE_HEIGHT = 16.0

Curves = tuple[tuple[str, tuple[float, ...]], ...]
EffectCurves = tuple[tuple[str, tuple[EffectAt, ...]], ...]


@functools.lru_cache(maxsize=64)
def draw_effects(curves: EffectCurves, size: Size, *, title: str) -> str:
    """Draw effects over time with the intervals that hold at every look; empty without any.

    Args:
        curves: Per treatment, its effects.
        size: Of the drawing.
        title: Says what is drawn.
    """
    with drawing(size) as (figure, (axes,)):
        tell = _unit(curves)
        axes.axhline(tell.of(0.0), color=MUTED, linewidth=1.2)
        ends = []
        for number, (name, points) in enumerate(curves, start=1):
            known = [point for point in points if point.effect.anytime_lower_pct is not None]
            if len(known) < 2:
                continue
            colour = arm_colour(number)
            _draw_band(axes, known, colour=colour, tell=tell)
            x = to_days([known[-1].at])[0]
            ends.append((name, colour, x, tell.of(known[-1].effect.effect_pct)))
        if not ends:
            return ""
        _limit(axes, curves, tell)
        tell_time(axes, n_ticks=_n_ticks(size))
        axes.margins(x=0.02)
        axes.yaxis.set_major_formatter(lambda value, _: tell.write(value))
        axes.locator_params(axis="y", nbins=6)
        _name_lines(axes, ends)
        return to_svg(figure, size, title=title)


@functools.lru_cache(maxsize=64)
def draw_sessions(starts_at: tuple[datetime, ...], curves: Curves, size: Size) -> str:
    """Draw the sessions of each interval by arm, the control first."""
    with drawing(size) as (figure, (axes,)):
        times = to_days(starts_at)
        for number, (_, counts) in enumerate(curves):
            axes.plot(times, counts, color=arm_colour(number), linewidth=2)
        axes.set_ylim(bottom=0)
        ends = [
            (name, arm_colour(number), times[-1], counts[-1])
            for number, (name, counts) in enumerate(curves)
        ]
        tell_time(axes, n_ticks=_n_ticks(size))
        axes.margins(x=0.02)
        axes.yaxis.set_major_locator(MaxNLocator(5, integer=True))
        axes.yaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
        _name_lines(axes, ends)
        return to_svg(figure, size, title="Sessions over time by treatment")


@functools.lru_cache(maxsize=64)
def draw_losses(epochs: tuple[int, ...], curves: Curves, size: Size) -> str:
    """Draw losses by epoch."""
    with drawing(size) as (figure, (axes,)):
        ends = []
        for (name, losses), colour in zip(curves, (INK, ACCENT, MUTED), strict=False):
            axes.plot(epochs, losses, color=colour, linewidth=2, marker="o", markersize=4)
            ends.append((name, colour, epochs[-1], losses[-1]))
        axes.xaxis.set_major_locator(MaxNLocator(8, integer=True))
        axes.locator_params(axis="y", nbins=5)
        axes.set_xlabel("epoch", color=MUTED)
        _name_lines(axes, ends)
        return to_svg(figure, size, title=f"Loss by epoch: {', '.join(name for name, _ in curves)}")


class _Unit(NamedTuple):
    """In what an axis counts changes: percent, or factors where percent would be absurd."""

    is_factor: bool

    def of(self, percent: float | None) -> float:
        """Return the place of a change."""
        return 1 + (percent or 0.0) / 100 if self.is_factor else percent or 0.0

    def write(self, value: float) -> str:
        """Write a place."""
        return f"×{value:,g}" if self.is_factor else describe_tick(value).replace("-", "−")


def _unit(curves: EffectCurves) -> _Unit:
    largest = max(
        (point.effect.effect_pct or 0.0 for _, points in curves for point in _later(points)),
        default=0.0,
    )
    return _Unit(largest >= FACTOR_FROM_PCT)


def _later(points: Sequence[EffectAt]) -> Sequence[EffectAt]:
    """Return the later two thirds: the first intervals are as wide as they like."""
    return points[len(points) // 3 :]


def _draw_band(axes: Axes, points: Sequence[EffectAt], *, colour: str, tell: _Unit) -> None:
    times = to_days(point.at for point in points)
    lower = [tell.of(point.effect.anytime_lower_pct) for point in points]
    upper = [tell.of(point.effect.anytime_upper_pct) for point in points]
    middle = [tell.of(point.effect.effect_pct) for point in points]
    axes.fill_between(times, lower, upper, color=colour, alpha=0.16, linewidth=0)
    axes.plot(times, middle, color=colour, linewidth=2.2)


def _limit(axes: Axes, curves: EffectCurves, tell: _Unit) -> None:
    """Let the later two thirds fill the height."""
    bounds = [tell.of(0.0)]
    for _, points in curves:
        bounds += [tell.of(point.effect.anytime_lower_pct) for point in _later(points)]
        bounds += [tell.of(point.effect.anytime_upper_pct) for point in _later(points)]
    margin = 0.08 * (max(bounds) - min(bounds)) or 1.0
    axes.set_ylim(min(bounds) - margin, max(bounds) + margin)


def _n_ticks(size: Size) -> int:
    return 5 if size.name == "narrow" else 7


def _name_lines(axes: Axes, ends: Sequence[tuple[str, str, float, float]]) -> None:
    """Write each line's name at its end, in its colour, none over another.

    Args:
        axes: With its limits set.
        ends: Name, colour, and place of the last point.
    """
    below = float("-inf")
    for name, colour, x, y in sorted(ends, key=lambda end: end[3]):
        place = float(axes.transData.transform((0, y))[1])
        moved = max(place, below + _LINE_HEIGHT)
        below = moved
        axes.annotate(
            name,
            (x, y),
            xytext=(8, moved - place),
            textcoords="offset points",
            color=colour,
            va="center",
            fontweight="bold",
            annotation_clip=False,
        )


def to_curves(values: Mapping[str, Sequence[float]]) -> Curves:
    """Return named values as the drawings take them."""
    return tuple((name, tuple(each)) for name, each in values.items())
