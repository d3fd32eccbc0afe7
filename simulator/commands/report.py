"""How a command shows a summary: as a table, as Markdown, or as JSON for the next program."""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
from rich.console import Console
from rich.table import Table

from simulator.core.latency import Latency
from simulator.core.summary import Estimate, Summary

FORMATS = ("text", "markdown", "json")
_HEADINGS = ("per session", "mean", "± 95%", "standard error", "median")
_LATENCY = ("ms", "mean", "median", "p90", "p99", "longest")


class OpenLoop(msgspec.Struct, frozen=True, kw_only=True):
    """How a service kept up with listeners who came at a rate of their own.

    Attributes:
        due_per_s: Sessions that came per second.
        played_per_s: Sessions that were played per second.
        starts: From when a session was due to its first recommendation.
        steps: Of every recommendation, from when it was due.
    """

    due_per_s: float
    played_per_s: float
    starts: Latency
    steps: Latency


def show_summary(
    console: Console,
    summary: Summary,
    *,
    title: str,
    style: str,
    parts: Mapping[str, Summary] | None = None,
    open_loop: OpenLoop | None = None,
) -> None:
    """Show sessions in numbers.

    Args:
        console: Standard output.
        summary: The numbers.
        title: What they are of.
        style: One of FORMATS; JSON is one object on one line.
        parts: The same numbers by treatment; shown if there are two.
        open_loop: How long answers took, if sessions came at a rate.
    """
    parts = parts if parts is not None and len(parts) > 1 else {}
    if style == "json":
        _show_json(console, summary, title=title, parts=parts, open_loop=open_loop)
        return
    rows = _describe("", summary)
    for name, part in sorted(parts.items()):
        rows += _describe(f"{name}, {part.n_sessions:,} sessions: ", part)[:1]
    show_table(console, _HEADINGS, rows, title=f"{title}: {_count(summary)}", style=style)
    if open_loop is not None:
        _show_open_loop(console, open_loop, style=style)


def show_table(
    console: Console,
    headings: Sequence[str],
    rows: Sequence[Sequence[str]],
    *,
    title: str,
    style: str,
) -> None:
    """Show rows whose first cell is a word and whose others are numbers.

    Args:
        console: Standard output.
        headings: Of the columns.
        rows: Cells.
        title: Above them.
        style: `text` or `markdown`.
    """
    if style == "markdown":
        rule = [":---", *["---:"] * (len(headings) - 1)]
        lines = [f"| {' | '.join(row)} |" for row in (headings, rule, *rows)]
        console.print("\n".join([f"**{title}**", "", *lines, ""]), markup=False)
        return
    table = Table(title=title, title_justify="left")
    for heading in headings:
        table.add_column(heading, justify="left" if heading == headings[0] else "right")
    for row in rows:
        table.add_row(*row)
    console.print(table)


def show_json(console: Console, values: Mapping[str, Any]) -> None:
    """Show one object on one line."""
    console.print(msgspec.json.encode(values).decode(), markup=False)


def _show_json(
    console: Console,
    summary: Summary,
    *,
    title: str,
    parts: Mapping[str, Summary],
    open_loop: OpenLoop | None,
) -> None:
    values = {"title": title, **msgspec.to_builtins(summary)}
    if parts:
        values["treatments"] = msgspec.to_builtins(dict(sorted(parts.items())))
    if open_loop is not None:
        values["open_loop"] = msgspec.to_builtins(open_loop)
    show_json(console, values)


def _describe(prefix: str, summary: Summary) -> list[tuple[str, ...]]:
    estimates = (("reward (time)", summary.time), ("steps (tracks)", summary.tracks))
    return [(prefix + name, *_describe_estimate(estimate)) for name, estimate in estimates]


def _describe_estimate(estimate: Estimate) -> tuple[str, ...]:
    return (
        f"{estimate.mean:.3f}",
        f"{estimate.margin:.3f}",
        f"{estimate.standard_error:.4f}",
        f"{estimate.median:.2f}",
    )


def _show_open_loop(console: Console, open_loop: OpenLoop, *, style: str) -> None:
    rows = [
        (name, *(f"{value:,.1f}" for value in (x.mean, x.p50, x.p90, x.p99, x.longest)))
        for name, x in (
            ("first answer, from arrival", open_loop.starts),
            ("every answer", open_loop.steps),
        )
    ]
    title = (
        f"{open_loop.due_per_s:,.1f} sessions/s came, "
        f"{open_loop.played_per_s:,.1f} sessions/s were played"
    )
    show_table(console, _LATENCY, rows, title=title, style=style)


def _count(summary: Summary) -> str:
    return f"{summary.n_sessions:,} sessions"
