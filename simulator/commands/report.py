"""How a command shows a summary: as a table, or as JSON for the next program."""

import msgspec
from rich.console import Console
from rich.table import Table

from simulator.core.summary import Summary


def show_summary(console: Console, summary: Summary, *, title: str, as_json: bool) -> None:
    """Show sessions in numbers.

    Args:
        console: Standard output.
        summary: The numbers.
        title: What they are of.
        as_json: One JSON object on one line instead of a table.
    """
    if as_json:
        payload = {"title": title, **msgspec.to_builtins(summary)}
        console.print(msgspec.json.encode(payload).decode(), markup=False)
        return
    table = Table(title=f"{title}: {summary.n_sessions:,} sessions", title_justify="left")
    for heading in ("per session", "mean", "± 95%", "standard error", "median"):
        table.add_column(heading, justify="left" if heading == "per session" else "right")
    for name, estimate in (("reward (time)", summary.time), ("steps (tracks)", summary.tracks)):
        table.add_row(
            name,
            f"{estimate.mean:.3f}",
            f"{estimate.margin:.3f}",
            f"{estimate.standard_error:.4f}",
            f"{estimate.median:.2f}",
        )
    console.print(table)
