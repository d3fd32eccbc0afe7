"""How every chart looks: drawn once by matplotlib, coloured by the page's style sheet.

A chart is drawn in colours that stand for roles; the SVG then names the page's variables instead,
so that one drawing follows the page into the dark. Its text stays text, in the page's font.
"""

import contextlib
import io
import re
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine

INK, MUTED, GRID, SURFACE = "#010101", "#020202", "#030303", "#040404"
ACCENT, GOOD, BAD = "#050505", "#060606", "#070707"
ARMS = ("#0a0a01", "#0a0a02", "#0a0a03", "#0a0a04", "#0a0a05")  # the control, then treatments

_VARIABLES = {
    INK: "--ink",
    MUTED: "--muted",
    GRID: "--line",
    SURFACE: "--surface",
    ACCENT: "--accent",
    GOOD: "--good",
    BAD: "--bad",
    **{colour: f"--arm-{number}" for number, colour in enumerate(ARMS)},
}
_FIRST_TAG = re.compile(r"<svg[^>]*>")
_STYLE = re.compile(r"<style.*?</style>", re.DOTALL)
_METADATA = re.compile(r"<metadata>.*?</metadata>", re.DOTALL)
_FAMILY = re.compile(r"font-family: [^;\"]*;? ?")
_POINTS_PER_INCH = 72.0
_DRAWING = threading.Lock()


@dataclass(frozen=True)
class Size:
    """Of a drawing, in CSS pixels; a phone gets a drawing of its own, with text as large."""

    name: str
    width: float
    height: float

    def with_height(self, height: float) -> "Size":
        """Return the size with another height."""
        return Size(self.name, self.width, height)


WIDE, NARROW = Size("wide", 760, 300), Size("narrow", 340, 280)


def arm_colour(number: int) -> str:
    """Return the colour of an arm, the control being 0; beyond the last they repeat."""
    return ARMS[0] if number == 0 else ARMS[1 + (number - 1) % (len(ARMS) - 1)]


@contextlib.contextmanager
def drawing(size: Size, *, panels: Sequence[float] = (1,)) -> Iterator[tuple[Figure, list[Axes]]]:
    """Give a figure with panels under each other, of these relative heights, to draw on."""
    # matplotlib's settings and fonts are the process's: one drawing at a time, in whatever thread.
    with _DRAWING, mpl.rc_context({"svg.fonttype": "none", "font.size": 12}):
        inches = size.width / _POINTS_PER_INCH, size.height / _POINTS_PER_INCH
        figure = Figure(figsize=inches, layout=ConstrainedLayoutEngine(hspace=0.1))
        FigureCanvasSVG(figure)
        grid = figure.subplots(len(panels), 1, squeeze=False, height_ratios=panels)
        axes = [row[0] for row in grid]
        for each in axes:
            _style(each)
        yield figure, axes


def to_svg(figure: Figure, size: Size, *, title: str) -> str:
    """Return a figure as an SVG element of an HTML page, with the title for who cannot see it."""
    buffer = io.StringIO()
    with mpl.rc_context({"svg.hashsalt": f"{size.name}{title}"}):
        figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None})
    svg = buffer.getvalue()
    svg = svg[svg.index("<svg") :]
    svg = _METADATA.sub("", _STYLE.sub("", svg))
    svg = _FAMILY.sub("", svg)
    for colour, variable in _VARIABLES.items():
        svg = svg.replace(colour, f"var({variable})")
    label = escape(title, quote=True)
    first = (
        f'<svg class="chart chart-{size.name}" role="img" aria-label="{label}" '
        f'viewBox="0 0 {size.width:g} {size.height:g}">'
    )
    return _FIRST_TAG.sub(lambda _: first, svg, count=1)


def _style(axes: Axes) -> None:
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.spines["bottom"].set_color(GRID)
    axes.tick_params(colors=MUTED, labelcolor=MUTED, length=0, pad=7, labelsize=12)
    axes.grid(axis="y", color=GRID, linewidth=1)
    axes.set_axisbelow(True)
