"""Progress of a run: a bar at a terminal, a plain line now and then elsewhere."""

import time
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

_LINE_EVERY_S = 5.0


class RunProgress:
    """Counts steps of a run and shows them with their rate and a note."""

    def __init__(self, console: Console, title: str, *, total: int, unit: str) -> None:
        """Start from nothing; use it as a context manager.

        Args:
            console: To show it on.
            title: Of the run.
            total: Steps to come.
            unit: What a step is called, in the plural.
        """
        self._console = console
        self._title = title
        self._total = total
        self._unit = unit
        self._done = 0
        self._started = self._shown = time.monotonic()
        self._bar: Progress | None = None
        if console.is_terminal:
            self._bar = Progress(
                TextColumn("{task.description}"),
                BarColumn(),
                MofNCompleteColumn(),
                TextColumn("{task.fields[note]}"),
                TimeRemainingColumn(),
                console=console,
            )
            self._task = self._bar.add_task(title, total=total, note="")

    def __enter__(self) -> "RunProgress":
        if self._bar is not None:
            self._bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._bar is not None:
            self._bar.stop()

    def advance(self, n_steps: int, note: str = "") -> None:
        """Count steps."""
        self._done += n_steps
        now = time.monotonic()
        rate = self._done / max(now - self._started, 1e-9)
        note = f"{rate:,.0f} {self._unit}/s{'  ' + note if note else ''}"
        if self._bar is not None:
            self._bar.update(self._task, advance=n_steps, note=note)
        elif now - self._shown >= _LINE_EVERY_S or self._done == self._total:
            self._shown = now
            self.say(f"{self._title}: {self._done:,} of {self._total:,} {self._unit}, {note}")

    def say(self, message: str) -> None:
        """Show a line, above the bar if there is one."""
        self._console.print(message, highlight=False, markup=False, soft_wrap=True)
