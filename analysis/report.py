"""A comparison for people (text, Markdown, HTML, a picture) and for programs (JSON, CSV)."""

import csv
import dataclasses
import json
from collections.abc import Mapping, Sequence
from datetime import UTC
from typing import BinaryIO, TextIO

import msgspec
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from analysis.core.comparison import Comparison, sort_treatments
from analysis.core.effects import Effect
from analysis.core.metrics import BY_NAME
from analysis.core.wording import NONE, describe_bounds, describe_change
from analysis.notes import MISMATCH, notes

FORMATS = ("text", "markdown", "json", "csv", "html", "png")
WIDTH = 100  # where the output is not a terminal
ARM_COLUMNS = ("treatment", "users", "sessions", "events")
EFFECT_COLUMNS = (
    "arm",
    "metric",
    "effect",
    "lower",
    "upper",
    "control mean",
    "arm mean",
    "p Holm",
    "p anytime",
    "sig.",
)
TEXT_COLUMNS = {"experiment", "state", "treatment", "arm", "metric"}


def render(
    comparison: Comparison,
    *,
    output_format: str,
    output: TextIO,
) -> None:
    """Write a comparison in one of FORMATS that is text."""
    writers = {
        "text": _text,
        "markdown": _markdown,
        "json": _json,
        "csv": _csv,
        "html": _html,
    }
    writers[output_format](comparison, output)


def render_picture(comparison: Comparison, output: BinaryIO) -> None:
    """Write the forest plot as PNG."""
    from analysis.forest import draw_forest  # half a second, which the others need not pay

    output.write(draw_forest(comparison, image_format="png"))


def render_experiments(
    experiments: Mapping[str, Mapping[str, int]],
    *,
    states: Mapping[str, str],
    output_format: str,
    output: TextIO,
) -> None:
    """Write the experiments with their users per treatment, and how each stands."""
    rows = [
        (name, states.get(name, ""), treatment, arms[treatment])
        for name, arms in sorted(experiments.items())
        for treatment in sort_treatments(arms)
    ]
    if output_format == "json":
        print(json.dumps(experiments, indent=2), file=output)
    elif output_format == "csv":
        csv.writer(output, lineterminator="\n").writerows(
            [("experiment", "state", "treatment", "n_users"), *rows]
        )
    elif not rows:
        print("No data yet: no event names an experiment.", file=output)
    else:
        columns = ("experiment", "state", "treatment", "users")
        cells = [(name, state or NONE, arm, f"{users:,}") for name, state, arm, users in rows]
        render_table(columns, cells, output_format=output_format, output=output)


def render_table(
    columns: Sequence[str],
    rows: Sequence[Sequence[str]],
    *,
    output_format: str,
    output: TextIO,
) -> None:
    """Write a table as text or Markdown."""
    if output_format == "markdown":
        print(_markdown_table(columns, rows), file=output)
    else:
        _console(output).print(_table(columns, rows))


def _text(comparison: Comparison, output: TextIO) -> None:
    console = _console(output)
    title = Text.assemble((comparison.experiment, "bold"), "  ", (_time_range(comparison), "dim"))
    console.print(title)
    console.print(_table(ARM_COLUMNS, _arm_cells(comparison)))
    if comparison.effects:
        cells = [_effect_cells(effect) for effect in comparison.effects]
        styles = [_style(effect) for effect in comparison.effects]
        console.print(_table(EFFECT_COLUMNS, cells, styles))
    for note in notes(comparison):
        is_alarm = note.startswith(MISMATCH)
        bullet = Text("! " if is_alarm else "· ", style="bold red" if is_alarm else "dim")
        console.print(bullet + Text(note, style="bold red" if is_alarm else ""))


def _markdown(comparison: Comparison, output: TextIO) -> None:
    parts = [
        f"## {comparison.experiment}",
        _time_range(comparison),
        _markdown_table(ARM_COLUMNS, _arm_cells(comparison)),
    ]
    if comparison.effects:
        cells = [_effect_cells(effect) for effect in comparison.effects]
        parts.append(_markdown_table(EFFECT_COLUMNS, cells))
    parts.append("\n".join(f"- {note}" for note in notes(comparison)))
    print("\n\n".join(parts), file=output)


def _json(comparison: Comparison, output: TextIO) -> None:
    document = msgspec.to_builtins(comparison) | {"notes": notes(comparison)}
    print(json.dumps(document, indent=2, ensure_ascii=False), file=output)


def _html(comparison: Comparison, output: TextIO) -> None:
    from analysis.page import make_page  # brings matplotlib

    output.write(make_page(comparison))


def _csv(comparison: Comparison, output: TextIO) -> None:
    names = [field.name for field in dataclasses.fields(Effect)]
    writer = csv.DictWriter(output, names, lineterminator="\n")
    writer.writeheader()
    writer.writerows(dataclasses.asdict(effect) for effect in comparison.effects)


def _time_range(comparison: Comparison) -> str:
    first = min(arm.first_at for arm in comparison.arms).astimezone(UTC)
    last = max(arm.last_at for arm in comparison.arms).astimezone(UTC)
    return (
        f"{first:%Y-%m-%d %H:%M} to {last:%Y-%m-%d %H:%M} UTC, "
        f"intervals at {100 * (1 - comparison.alpha):g}%"
    )


def _arm_cells(comparison: Comparison) -> list[tuple[str, ...]]:
    return [
        (arm.treatment, f"{arm.n_users:,}", f"{arm.n_sessions:,}", f"{arm.n_events:,}")
        for arm in comparison.arms
    ]


def _effect_cells(effect: Effect) -> tuple[str, ...]:
    significant = {True: "yes", False: "no", None: NONE}[effect.significant]
    return (
        effect.treatment,
        effect.metric,
        describe_change(effect.effect_pct, upper=effect.upper_pct),
        *describe_bounds(effect.lower_pct, effect.upper_pct),
        _mean(effect.control_mean),
        _mean(effect.treatment_mean),
        _p_value(effect.p_holm),
        _p_value(effect.anytime_p_value),
        significant,
    )


def _style(effect: Effect) -> str:
    if not effect.significant:
        return "" if effect.significant is None else "dim"
    control, treated = effect.control_mean or 0.0, effect.treatment_mean or 0.0
    is_good = (treated > control) == BY_NAME[effect.metric].higher_is_better
    return "green" if is_good else "red"


def _mean(value: float | None) -> str:
    if value is None:
        return NONE
    decimals = 3 if abs(value) < 1000 else 1 if abs(value) < 10_000 else 0
    return f"{value:z,.{decimals}f}"


def _p_value(value: float | None) -> str:
    return NONE if value is None else "<.001" if value < 0.0005 else f"{value:.3f}".lstrip("0")


def _console(output: TextIO) -> Console:
    console = Console(file=output, highlight=False, markup=False, emoji=False)
    if not console.is_terminal:
        console.width = WIDTH
    return console


def _table(
    columns: Sequence[str], rows: Sequence[Sequence[str]], styles: Sequence[str] | None = None
) -> Table:
    """Lay rows out; a first cell that repeats the one above it stays empty."""
    table = Table(box=SIMPLE_HEAD, pad_edge=False, collapse_padding=True, header_style="bold")
    for column in columns:
        is_text = column in TEXT_COLUMNS
        header = column if is_text else column.replace(" ", "\n")
        table.add_column(
            header,
            justify="left" if is_text else "right",
            overflow="fold",
            no_wrap=column == "metric",
        )
    above = None
    for row, style in zip(rows, styles or [""] * len(rows), strict=True):
        first = Text("" if row[0] == above else row[0], style="bold")
        if above not in {None, row[0]} and styles:
            table.add_section()
        table.add_row(first, *row[1:], style=style)
        above = row[0]
    return table


def _markdown_table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    rule = [":---" if column in TEXT_COLUMNS else "---:" for column in columns]
    lines = ([cell.replace("|", "\\|") for cell in row] for row in (columns, rule, *rows))
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
