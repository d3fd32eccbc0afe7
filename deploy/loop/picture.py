"""A picture of the days: what listeners heard from each model, and how much there is to hear."""

from collections.abc import Callable, Sequence
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

from deploy.loop.measures import Day, Measured

INK, MUTED, GRID = "#22272e", "#6b7280", "#e5e7eb"
TREATMENT, GREEDY, CONTROL, ORACLE = "#2563eb", "#7c3aed", "#6b7280", "#b45309"
HEADROOM = 1.35
ASIDE = 0.1  # of a day, so that two intervals can be told apart


def save_picture(days: Sequence[Day], path: Path, *, title: str) -> None:
    """Draw the mean time per session by day, with intervals, on a logarithmic scale."""
    figure = Figure(figsize=(9.6, 5.4), dpi=150, layout="constrained", facecolor="white")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    _style(axes, days)
    tried = [day for day in days if day.treatment is not None]
    _draw_history(axes, days[0])
    _draw_line(axes, tried, lambda day: day.control, "control", CONTROL)
    _draw_line(axes, tried, lambda day: day.treatment, "treatment", TREATMENT, aside=38, rise=9)
    _draw_greedy(axes, tried)
    _draw_oracle(axes, days)
    axes.set_title(title, loc="left", fontsize=13, fontweight="bold", color=INK, pad=14)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path)


def _style(axes: Axes, days: Sequence[Day]) -> None:
    axes.set_yscale("log")
    _tick(axes.yaxis, "{:g}")
    axes.set_xticks([day.day for day in days])
    axes.set_ylabel("mean time per session, in tracks heard in full", color=MUTED)
    axes.set_xlabel(
        "day; each day's model is trained on all days before, day 0 is the history", color=MUTED
    )
    axes.set_xlim(-0.25, days[-1].day + 0.2 + 0.25 * days[-1].day)
    axes.grid(axis="y", color=GRID, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.tick_params(colors=MUTED, length=0)
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    axes.spines["bottom"].set_color(GRID)


def _draw_history(axes: Axes, day: Day) -> None:
    axes.errorbar(
        day.day, day.control.value, day.control.margin, fmt="o", mfc="white", color=CONTROL
    )
    _label(axes, day.day, day.control.value, "history", CONTROL)


def _draw_line(
    axes: Axes,
    days: Sequence[Day],
    find: Callable[[Day], Measured | None],
    label: str,
    colour: str,
    *,
    aside: float = 12,
    rise: float = 0,
) -> None:
    points = [(day.day, found) for day in days if (found := find(day)) is not None]
    if not points:
        return
    x = [day for day, _ in points]
    y = [found.value for _, found in points]
    low = [found.value - found.margin for _, found in points]
    high = [found.value + found.margin for _, found in points]
    axes.fill_between(x, low, high, color=colour, alpha=0.18, linewidth=0)
    axes.plot(x, y, color=colour, marker="o", markersize=6, linewidth=2)
    _label(axes, x[-1], y[-1], label, colour, aside=aside, rise=rise)
    for day, value in zip(x, y, strict=True):
        axes.annotate(
            f"{value:,.0f}" if value >= 10 else f"{value:.1f}",
            (day, value),
            xytext=(-4, 9),
            textcoords="offset points",
            ha="center",
            color=colour,
            fontsize=9,
            fontweight="bold",
        )


def _draw_greedy(axes: Axes, days: Sequence[Day]) -> None:
    points = [(day.day + ASIDE, day.greedy) for day in days if day.greedy is not None]
    if not points:
        return
    x = [day for day, _ in points]
    y = [greedy.value for _, greedy in points]
    margins = [greedy.margin for _, greedy in points]
    axes.errorbar(x, y, margins, fmt="D", markersize=5, mfc="white", color=GREEDY, linewidth=1.4)
    _label(axes, x[-1], y[-1], "when not exploring", GREEDY, aside=16, rise=-9)


def _draw_oracle(axes: Axes, days: Sequence[Day]) -> None:
    oracle = next((day.oracle for day in days if day.oracle is not None), None)
    if oracle is None:
        return
    axes.axhspan(
        oracle.value - oracle.margin, oracle.value + oracle.margin, color=ORACLE, alpha=0.12, lw=0
    )
    axes.axhline(oracle.value, color=ORACLE, linewidth=1.5)
    axes.set_ylim(top=HEADROOM * (oracle.value + oracle.margin))
    axes.annotate(
        f"oracle {oracle.value:,.0f}: knows the listener's taste",
        (0, oracle.value),
        xytext=(0, 5),
        textcoords="offset points",
        color=ORACLE,
        fontsize=10,
    )
    unit = oracle.value / 100
    share = axes.secondary_yaxis(
        "right",
        functions=(lambda y: y / unit, lambda y: y * unit),  # type: ignore[operator]
    )
    _tick(share.yaxis, "{:g}%")
    share.set_ylabel("share of the oracle", color=MUTED)
    share.tick_params(colors=MUTED, length=0)
    share.spines["right"].set_visible(False)


def _tick(axis: Axis, form: str) -> None:
    axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axis.set_major_formatter(FuncFormatter(lambda value, _: form.format(value)))
    axis.set_minor_locator(NullLocator())


def _label(
    axes: Axes,
    x: float,
    y: float,
    label: str,
    colour: str,
    *,
    aside: float = 12,
    rise: float = 0,
) -> None:
    axes.annotate(
        label,
        (x, y),
        xytext=(aside, rise),
        textcoords="offset points",
        va="center",
        color=colour,
        fontsize=10,
        fontweight="bold",
    )
