"""A forest plot: every effect with its intervals, as a picture."""

import io
import math
from collections.abc import Sequence
from typing import Any, Literal

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from analysis.core.comparison import Comparison
from analysis.core.effects import Effect
from analysis.core.metrics import BY_NAME
from analysis.core.wording import describe_tick

INK, MUTED, GRID = "#1f2430", "#8a909c", "#e4e7ec"
GOOD, BAD, OPEN = "#1a7f5a", "#c23b3b", "#6b7280"
LEFT, RIGHT = math.log(0.1), math.log(10)  # -90% to +900%: what lies beyond is cut
TICKS = (-90, -75, -50, -30, -20, -10, -5, -2, 0, 2, 5, 10, 25, 50, 100, 200, 400, 900)
ROW_INCHES, PANEL_INCHES, NAMES_INCHES = 0.36, 4.4, 2.3
STYLE: dict[Any, Any] = {
    "font.family": "sans-serif",
    "font.size": 9,
    "svg.fonttype": "none",
    "svg.hashsalt": "segue",  # the same picture has the same bytes
}


def draw_forest(comparison: Comparison, *, image_format: Literal["png", "svg"]) -> bytes:
    """Draw a panel per treatment and a row per metric.

    Effects are on a logarithmic scale, on which +100% is as far from nothing as -50%. A thick bar
    is the interval at this look, a thin one that which holds at every look.
    """
    with mpl.rc_context(STYLE):
        figure = _draw(comparison)
        image = io.BytesIO()
        metadata = {"Date": None} if image_format == "svg" else None
        figure.savefig(image, format=image_format, dpi=160, metadata=metadata)
    return image.getvalue()


def _draw(comparison: Comparison) -> Figure:
    treatments = [arm.treatment for arm in comparison.arms[1:]]
    metrics = list(dict.fromkeys(effect.metric for effect in comparison.effects))
    width = NAMES_INCHES + PANEL_INCHES * max(len(treatments), 1)
    height = 1.7 + ROW_INCHES * max(len(metrics), 1)
    figure = Figure(figsize=(width, height), facecolor="white")
    left, bottom, top = NAMES_INCHES / width, 0.85 / height, 1 - 0.8 / height
    figure.text(0.02, 1 - 0.3 / height, comparison.experiment, size=14, weight="bold", color=INK)
    subtitle = f"relative change against {comparison.control}, {_level(comparison)} intervals"
    figure.text(0.02, 1 - 0.52 / height, subtitle, color=MUTED)
    if not comparison.effects:
        figure.text(0.5, 0.4, "nothing to compare yet", ha="center", size=12, color=MUTED)
        return figure
    grid = figure.add_gridspec(
        1, len(treatments), left=left, right=0.985, bottom=bottom, top=top, wspace=0.08
    )
    bounds = _bounds(comparison.effects)
    for column, treatment in enumerate(treatments):
        axes = figure.add_subplot(grid[0, column])
        _prepare(axes, metrics, bounds=bounds, names=column == 0)
        axes.set_title(treatment, loc="left", weight="bold", color=INK, size=10)
        for effect in comparison.effects:
            if effect.treatment == treatment:
                _draw_effect(axes, effect, metrics.index(effect.metric), bounds)
    _explain(figure, height)
    return figure


def _prepare(
    axes: Axes, metrics: Sequence[str], *, bounds: tuple[float, float], names: bool
) -> None:
    axes.set_ylim(len(metrics) - 0.4, -0.6)
    axes.set_yticks(range(len(metrics)), [name.replace("_", " ") for name in metrics], color=INK)
    axes.tick_params(length=0, labelleft=names, colors=INK)
    span = bounds[1] - bounds[0]
    ticks: list[int] = []
    for tick in sorted(TICKS, key=lambda tick: (tick != 0, -abs(tick))):
        place = math.log1p(tick / 100)
        is_free = all(abs(place - math.log1p(t / 100)) > 0.11 * span for t in ticks)
        if bounds[0] <= place <= bounds[1] and is_free:
            ticks.append(tick)
    axes.set_xticks(
        [math.log1p(tick / 100) for tick in ticks],
        [describe_tick(tick) for tick in ticks],
        color=MUTED,
    )
    axes.set_xlim(*bounds)
    axes.grid(axis="x", color=GRID, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.axvline(0, color=INK, linewidth=0.9)
    for row in range(0, len(metrics), 2):
        axes.axhspan(row - 0.5, row + 0.5, color="#f7f8fa", zorder=0, linewidth=0)
    for side in ("top", "left", "right", "bottom"):
        axes.spines[side].set_visible(False)


def _draw_effect(axes: Axes, effect: Effect, row: int, bounds: tuple[float, float]) -> None:
    if effect.lower_pct is None or effect.upper_pct is None or effect.effect_pct is None:
        reason = effect.reason or "no interval"
        where = axes.get_yaxis_transform()  # from the panel's left edge, at the row
        axes.text(0.015, row, reason, color=MUTED, size=7, va="center", transform=where)
        return
    colour = _colour(effect)
    if effect.anytime_lower_pct is not None and effect.anytime_upper_pct is not None:
        ends = [_place(p, bounds) for p in (effect.anytime_lower_pct, effect.anytime_upper_pct)]
        axes.plot(ends, [row, row], color=colour, linewidth=1.1, alpha=0.7)
    ends = [_place(p, bounds) for p in (effect.lower_pct, effect.upper_pct)]
    axes.plot(ends, [row, row], color=colour, linewidth=5, alpha=0.45, solid_capstyle="butt")
    place = _place(effect.effect_pct, bounds)
    axes.plot([place], [row], "o", color=colour, markersize=6, markeredgecolor="white")


def _colour(effect: Effect) -> str:
    if not effect.significant:
        return OPEN
    is_higher = (effect.treatment_mean or 0.0) > (effect.control_mean or 0.0)
    return GOOD if is_higher == BY_NAME[effect.metric].higher_is_better else BAD


def _bounds(effects: Sequence[Effect]) -> tuple[float, float]:
    """Return the ends of the scale, in log ratio: where the intervals lie, and zero."""
    places = [
        _place(value, (LEFT, RIGHT))
        for effect in effects
        for value in (effect.lower_pct, effect.upper_pct, effect.effect_pct)
        if value is not None and effect.lower_pct is not None
    ]
    reach = max([0.05, *(abs(place) for place in places)])
    low, high = min([-reach / 4, *places]), max([reach / 4, *places])
    margin = 0.06 * (high - low)
    return low - margin, high + margin


def _place(percent: float, bounds: tuple[float, float]) -> float:
    place = math.log1p(percent / 100) if percent > -100 else -math.inf
    return min(max(place, bounds[0]), bounds[1])


def _level(comparison: Comparison) -> str:
    return f"{100 * (1 - comparison.alpha):g}%"


def _explain(figure: Figure, height: float) -> None:
    handles = [
        Line2D([], [], color=OPEN, linewidth=5, alpha=0.45, label="at this look"),
        Line2D([], [], color=OPEN, linewidth=1.1, alpha=0.7, label="at every look"),
        Line2D([], [], marker="o", color=GOOD, linestyle="", label="better"),
        Line2D([], [], marker="o", color=BAD, linestyle="", label="worse"),
        Line2D([], [], marker="o", color=OPEN, linestyle="", label="open"),
    ]
    figure.legend(
        handles=handles,
        loc="lower left",
        bbox_to_anchor=(0.01, 0.08 / height),
        ncols=5,
        frameon=False,
        labelcolor=MUTED,
        fontsize=8,
    )
