"""What the stack's commands show: one line per program, redrawn on a terminal, else appended."""

import time
from collections.abc import Sequence
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.live import Live
from rich.table import Table

COLOURS = {"ready": "green", "starting": "yellow", "waiting": "dim", "failed": "bold red"}


def create_console(*, stderr: bool = False) -> Console:
    """Return a console that leaves paths and numbers uncoloured and lines unbroken."""
    return Console(highlight=False, soft_wrap=True, stderr=stderr)


class Board:
    """The programs while they come up."""

    def __init__(self, console: Console, names: Sequence[str]) -> None:
        """Show every program as waiting, once entered."""
        self._console = console
        self._started_at = time.monotonic()
        self._rows: dict[str, tuple[str, float]] = dict.fromkeys(names, ("waiting", 0.0))
        self._live = Live(console=console, auto_refresh=False) if console.is_terminal else None

    def __enter__(self) -> Self:
        if self._live is not None:
            self._live.start()
            self._redraw()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._live is not None:
            self._live.stop()

    def show(self, name: str, word: str) -> None:
        """Show a program's state; the time since the start stands beside it."""
        elapsed_s = time.monotonic() - self._started_at
        changed = self._rows[name][0] != word
        self._rows[name] = (word, elapsed_s)
        if self._live is not None:
            self._redraw()
        elif changed and word in {"ready", "failed"}:
            self._console.print(f"{name:<12} {word:<8} {elapsed_s:5.1f} s")

    def _redraw(self) -> None:
        table = Table.grid(padding=(0, 2))
        for name, (word, elapsed_s) in self._rows.items():
            elapsed = "" if word == "waiting" else f"{elapsed_s:5.1f} s"
            table.add_row(name, f"[{COLOURS[word]}]{word}[/]", elapsed)
        if self._live is not None:
            self._live.update(table, refresh=True)


def make_table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> Table:
    """Lay out rows under headings, without lines."""
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for heading in headings:
        table.add_column(heading, no_wrap=True)
    for row in rows:
        table.add_row(*row)
    return table


def format_duration(seconds: float) -> str:
    """Write a duration in its two largest units."""
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"
