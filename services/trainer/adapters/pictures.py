"""Pictures of a training, as PNG."""

import io
from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

INK, GRID = "#333333", "#dddddd"
BLUE, ORANGE, GREY = "#2b5c8a", "#d1783c", "#999999"
SIZE_INCHES, DPI = (7.0, 4.4), 150

Losses = Sequence[Mapping[str, Any]]


def draw_losses(losses: Losses, *, recipe: str, best_epoch: int | None) -> bytes:
    """Draw the losses by epoch.

    Args:
        losses: `epoch`, `train`, and `validation` or `track_loss`, as a training reports them.
        recipe: Its name.
        best_epoch: That the model is of; marked.
    """
    figure, axes = _start(f"Loss by {_unit(losses)}, recipe {recipe}")
    epochs = [loss["epoch"] for loss in losses]
    names = {"train": "training", "validation": "validation", "track_loss": "before tracks"}
    if "track_loss" in losses[0]:
        names["train"] = "before interests"
    curves = [name for name in names if name in losses[0]]
    for name, colour in zip(curves, (BLUE, ORANGE), strict=False):
        values = [loss[name] for loss in losses]
        axes.plot(epochs, values, color=colour, linewidth=1.8, marker="o", markersize=3.5)
        axes.annotate(
            names[name],
            (epochs[-1], values[-1]),
            xytext=(8, 0),
            textcoords="offset points",
            color=colour,
            va="center",
        )
    if best_epoch:
        axes.axvline(best_epoch, color=GREY, linewidth=1, linestyle=(0, (4, 3)), zorder=0)
        axes.annotate(
            f"best epoch, {best_epoch}",
            (best_epoch, 0.98),
            xycoords=("data", "axes fraction"),
            xytext=(-5, 0),
            textcoords="offset points",
            rotation=90,
            color=GREY,
            fontsize=9,
            ha="right",
            va="top",
        )
    axes.set_xlabel(_unit(losses))
    axes.set_ylabel(
        "mean squared error" if "validation" in losses[0] else "minus mean log likelihood of a play"
    )
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.margins(x=0.02)
    return _finish(figure, right=0.80)


def draw_reliability(table: Sequence[Mapping[str, float]], *, recipe: str) -> bytes:
    """Draw a reliability table: what was predicted against what was listened to.

    Args:
        table: As `make_reliability_table` returns it, not empty.
        recipe: Its name.
    """
    figure, axes = _start(f"Calibration on held-out sessions, recipe {recipe}")
    most = max(row["plays"] for row in table)
    axes.plot([0, 1], [0, 1], color=GREY, linewidth=1, linestyle=(0, (4, 3)))
    predicted = [row["predicted"] for row in table]
    listened = [row["listened"] for row in table]
    sizes = [20 + 180 * row["plays"] / most for row in table]
    axes.plot(predicted, listened, color=BLUE, linewidth=1.2)
    axes.scatter(predicted, listened, s=sizes, color=BLUE, alpha=0.85, linewidths=0)
    axes.annotate(
        "perfectly calibrated",
        (0.9, 0.9),
        xytext=(-2, 5),
        textcoords="offset points",
        rotation=29,  # of the diagonal, in this figure's size
        rotation_mode="anchor",
        color=GREY,
        fontsize=9,
        ha="right",
    )
    axes.set_xlabel("predicted fraction listened, mean of a tenth")
    axes.set_ylabel("listened fraction, mean")
    axes.set_xlim(0, 1)
    axes.set_ylim(0, 1)
    axes.annotate("area: plays", (0.02, 0.94), xycoords="axes fraction", color=INK, fontsize=9)
    return _finish(figure, right=0.96)


def _unit(losses: Losses) -> str:
    return "epoch" if "validation" in losses[0] else "iteration"


def _start(title: str) -> tuple[Figure, Axes]:
    figure = Figure(figsize=SIZE_INCHES, dpi=DPI, facecolor="white")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    axes.set_title(title, loc="left", color=INK, fontsize=12, pad=12)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(GREY)
    axes.tick_params(colors=INK, labelsize=9)
    axes.grid(axis="y", color=GRID, linewidth=0.8)
    axes.set_axisbelow(True)
    for axis in (axes.xaxis, axes.yaxis):
        axis.label.set_color(INK)
    return figure, axes


def _finish(figure: Figure, *, right: float) -> bytes:
    figure.subplots_adjust(left=0.11, right=right, bottom=0.13, top=0.88)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", metadata={"Software": None})
    return buffer.getvalue()
