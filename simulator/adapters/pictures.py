"""Reward curves as a picture."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from shared.extras import import_extra
from simulator.core.draws import FloatArray
from simulator.core.summary import Z95

FORMATS = (".png", ".svg", ".pdf")
_COLOURS = ("#0b6e8a", "#d1495b", "#edae49", "#3a7d44", "#6a4c93", "#8d6346")
_INK, _FAINT = "#22303a", "#d9dee2"
_N_POINTS = 600
_FIRST_SHOWN = 20  # sessions until a mean is worth drawing
_STYLE = {
    "font.family": "sans-serif",
    "font.size": 10,
    "axes.edgecolor": _FAINT,
    "axes.labelcolor": _INK,
    "axes.titlecolor": _INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": _FAINT,
    "grid.linewidth": 0.6,
    "axes.axisbelow": True,
    "text.color": _INK,
    "xtick.color": _INK,
    "ytick.color": _INK,
    "svg.hashsalt": "segue",  # the same run draws the same file
}


class PictureError(ValueError):
    """A picture that cannot be drawn; the message names the file and the fault."""


class Curve(msgspec.Struct, frozen=True):
    """Sessions of one recommender on one day.

    Attributes:
        day: From 1; 0 where there are no days.
        name: Of the recommender.
        times: Time per session, in order of episodes, shape (n_sessions,).
    """

    day: int
    name: str
    times: FloatArray


def check_picture(path: Path) -> None:
    """Refuse a picture that could not be drawn, before anything is played for it.

    Raises:
        PictureError: If its format is unknown.
        MissingExtraError: If matplotlib is absent.
    """
    if path.suffix.lower() not in FORMATS:
        raise PictureError(f"{path}: a picture is one of {', '.join(FORMATS)}")
    import_extra("matplotlib", extra="pictures", purpose="a picture")


def draw_rewards(path: Path, curves: Sequence[Curve], *, title: str) -> None:
    """Draw the mean time per session as sessions come in, and how long sessions last.

    Args:
        path: Of the file.
        curves: What to draw, in the order of the legend.
        title: Above it.

    Raises:
        PictureError: If the file cannot be written.
    """
    check_picture(path)
    matplotlib: Any = import_extra("matplotlib", extra="pictures", purpose="a picture")
    figures: Any = import_extra("matplotlib.figure", extra="pictures", purpose="a picture")
    names = list(dict.fromkeys(curve.name for curve in curves))
    colours = {name: _COLOURS[i % len(_COLOURS)] for i, name in enumerate(names)}
    with matplotlib.rc_context(_STYLE):
        figure = figures.Figure(figsize=(11, 4.6), dpi=160, layout="constrained")
        left, right = figure.subplots(1, 2, width_ratios=(3, 2))
        figure.suptitle(title, x=0.01, ha="left", fontsize=13, fontweight="bold")
        _draw_means(left, curves, colours)
        _draw_lengths(right, curves, colours)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            figure.savefig(path, metadata={"Date": None} if path.suffix == ".svg" else None)
        except OSError as error:
            raise PictureError(f"{path}: {error.strerror or error}") from error


def _draw_means(axes: Any, curves: Sequence[Curve], colours: dict[str, str]) -> None:
    """Draw running means with their 95% bands; each day begins anew, to the right of the last."""
    begins = 0
    ends: dict[int, int] = {}
    for day in sorted({curve.day for curve in curves}):
        of_day = [curve for curve in curves if curve.day == day]
        for curve in of_day:
            _draw_mean(axes, curve, begins=begins, colour=colours[curve.name])
        begins = ends[day] = begins + max(len(curve.times) for curve in of_day)
    for day, end in ends.items():
        if len(ends) > 1:
            axes.axvline(end, color=_FAINT, linewidth=1)
            axes.annotate(
                f"day {day}",
                (end, 1),
                xycoords=("data", "axes fraction"),
                xytext=(-4, -4),
                textcoords="offset points",
                ha="right",
                va="top",
                fontsize=8,
            )
    axes.set_xlim(0, begins)
    axes.set_ylim(bottom=0)
    axes.set_title("Mean time per session so far, 95% interval", loc="left", fontsize=10)
    axes.set_xlabel("sessions of a recommender")
    axes.set_ylabel("tracks' worth of listening")
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")


def _draw_mean(axes: Any, curve: Curve, *, begins: int, colour: str) -> None:
    times = curve.times
    n = np.arange(1, len(times) + 1)
    mean = np.cumsum(times) / n
    variance = np.maximum(np.cumsum(times**2) / n - mean**2, 0) * n / np.maximum(n - 1, 1)
    margin = Z95 * np.sqrt(variance / n)
    shown = np.unique(np.linspace(min(_FIRST_SHOWN, len(n)) - 1, len(n) - 1, _N_POINTS).astype(int))
    x = begins + n[shown]
    axes.fill_between(
        x, (mean - margin)[shown], (mean + margin)[shown], color=colour, alpha=0.16, linewidth=0
    )
    axes.plot(x, mean[shown], color=colour, linewidth=1.8)


def _draw_lengths(axes: Any, curves: Sequence[Curve], colours: dict[str, str]) -> None:
    """Draw the share of sessions that reach a time, all days together; both axes logarithmic."""
    for name, colour in colours.items():
        times = np.sort(np.concatenate([curve.times for curve in curves if curve.name == name]))
        share = 1 - np.arange(len(times)) / len(times)
        label = f"{name or 'all'}: mean {times.mean():.2f}, median {np.median(times):.2f}"
        axes.step(times, share, where="post", color=colour, linewidth=1.8, label=label)
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_title("Share of sessions that reach a time", loc="left", fontsize=10)
    axes.set_xlabel("tracks' worth of listening")
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
    axes.yaxis.set_major_formatter(lambda value, _: f"{100 * value:g}%")
    axes.set_xlim(left=0.95)  # the first track alone is 1
    axes.legend(loc="upper right", frameon=False, fontsize=9)  # curves fall: it is free
