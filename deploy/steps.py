"""Steps in order, each shown with its time; the first that fails ends them."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from rich.console import Console
from rich.markup import escape

from deploy.display import format_duration
from deploy.errors import DeployError

Show = Callable[[str], None]


class StepError(DeployError):
    """A step that failed; the message says what happened."""


@dataclass(frozen=True)
class Step:
    """One step.

    Attributes:
        title: What it does.
        run: Does it, shows its progress through its argument, and returns what came out.
    """

    title: str
    run: Callable[[Show], str]


def run_steps(steps: Sequence[Step], console: Console) -> bool:
    """Run steps in order, each with its time; return False at the first that fails."""
    started_at = time.monotonic()
    for number, step in enumerate(steps, start=1):
        console.print(f"[bold]{number}/{len(steps)}[/] {escape(step.title)}")
        step_started_at = time.monotonic()
        try:
            outcome = _run_step(step, console)
        except DeployError as error:
            console.print(f"    [bold red]{escape(step.title)}: failed[/]")
            console.print(str(error), markup=False)
            return False
        if outcome:
            console.print(outcome, markup=False)
        console.print(f"    [dim]{time.monotonic() - step_started_at:.1f} s[/]")
    console.print(f"Done in {format_duration(time.monotonic() - started_at)}.")
    return True


def count_up(show: Show, total: int, unit: str) -> Callable[[int], None]:
    """Return what shows a growing number."""
    n_done = 0

    def advance(n: int) -> None:
        nonlocal n_done
        n_done += n
        show(f"{n_done:,} of {total:,} {unit}")

    return advance


def _run_step(step: Step, console: Console) -> str:
    status = console.status("")

    def show(line: str) -> None:
        status.update(escape(line))
        status.start()

    try:
        return step.run(show)
    finally:
        status.stop()
