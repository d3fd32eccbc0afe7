"""The days as a table, as Markdown, CSV or JSON."""

import csv
import io
from collections.abc import Callable, Sequence

import msgspec
from rich.box import SIMPLE_HEAD
from rich.table import Table

from deploy.loop.days import tell
from deploy.loop.measures import Day, Measured

FORMATS = ("text", "markdown", "csv", "json")

# What is said of a training in the table; JSON has every metric.
QUALITY = "leave_one_out_correlation"


def _interval(measured: Measured | None) -> str:
    return "" if measured is None else tell(measured)


def _median(measured: Measured | None) -> str:
    return "" if measured is None or measured.median is None else f"{measured.median:,.2f}"


def _share(measured: Measured | None) -> str:
    if measured is None:
        return ""
    return f"{100 * measured.value:.1f}% ± {100 * measured.margin:.1f}"


COLUMNS: Sequence[tuple[str, Callable[[Day], str]]] = (
    ("day", lambda day: str(day.day)),
    ("sessions", lambda day: f"{day.n_sessions:,}"),
    ("events", lambda day: f"{day.n_events:,}"),
    ("control", lambda day: _interval(day.control)),
    ("treatment", lambda day: _interval(day.treatment)),
    ("median", lambda day: _median(day.treatment)),
    ("ratio", lambda day: _interval(day.ratio)),
    ("greedy", lambda day: _interval(day.greedy)),
    ("of oracle", lambda day: _share(day.oracle_share)),
    ("training s", lambda day: "" if day.training_s is None else f"{day.training_s:.1f}"),
    ("correlation", lambda day: f"{day.metrics[QUALITY]:.3f}" if QUALITY in day.metrics else ""),
)


def make_table(days: Sequence[Day]) -> Table:
    """Lay the days out for a terminal, one row each; day 0 is the history."""
    table = Table(
        title="Mean time per session, with 95% intervals",
        title_justify="left",
        box=SIMPLE_HEAD,
    )
    for name, _ in COLUMNS:
        table.add_column(name, justify="right", no_wrap=True)
    for day in days:
        table.add_row(*(write(day) for _, write in COLUMNS))
    return table


def to_markdown(days: Sequence[Day]) -> str:
    """Write the table's rows as Markdown."""
    lines = [[name for name, _ in COLUMNS], ["--:"] * len(COLUMNS)]
    lines += [[write(day) for _, write in COLUMNS] for day in days]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def to_json(days: Sequence[Day]) -> str:
    """Write all that is known, a JSON object per day."""
    return b"\n".join(map(msgspec.json.encode, days)).decode()


def to_csv(days: Sequence[Day]) -> str:
    """Write all numbers, a row per day; what a day lacks is empty."""
    output = io.StringIO()
    rows = [_flatten(day) for day in days]
    names = list(dict.fromkeys(name for row in rows for name in row))
    writer = csv.DictWriter(output, names, restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return output.getvalue().rstrip("\n")


def _flatten(day: Day) -> dict[str, object]:
    flat: dict[str, object] = {}
    for name, value in msgspec.to_builtins(day).items():
        if isinstance(value, dict):
            flat |= {f"{name}_{key}": inner for key, inner in value.items()}
        else:
            flat[name] = value
    return {name: value for name, value in flat.items() if value is not None}
