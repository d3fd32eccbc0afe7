"""The table of rounds, for a terminal and for the documentation."""

from collections.abc import Sequence

from rich.table import Table

from benchmarks.chaos.rounds import Outcome
from deploy.display import make_table

HEAD = (
    "fault",
    "answered",
    "errors %",
    "longest wait s",
    "ready after s",
    "slowest row s",
    "lost",
    "doubled",
    "foreign",
    "malformed",
    "cut",
    "forked",
    "destroyed",
)


def to_table(outcomes: Sequence[Outcome]) -> Table:
    """Draw the outcomes for a terminal."""
    return make_table(HEAD, [_cells(each) for each in outcomes])


def to_markdown(outcomes: Sequence[Outcome]) -> str:
    """Write the outcomes as a table of the documentation."""
    rule = ["---", *["---:"] * (len(HEAD) - 1)]
    rows = [HEAD, rule, *(_cells(each) for each in outcomes)]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def describe(outcome: Outcome) -> str:
    """Say in a line how a round ended."""
    if outcome.failures:
        return "FAILED " + "; ".join(outcome.failures)
    return f"{outcome.verdict.n_answered:,} steps, every one with its row"


def _cells(outcome: Outcome) -> Sequence[str]:
    verdict = outcome.verdict
    note = f" ({outcome.note})" if outcome.note else ""
    found = (
        verdict.lost,
        verdict.doubled,
        verdict.foreign,
        verdict.malformed,
        verdict.cut,
        verdict.forked,
        verdict.destroyed,
    )
    return (
        outcome.fault.title + note,
        f"{verdict.n_answered:,}",
        f"{100 * outcome.error_share:.1f}",
        f"{outcome.longest_wait_s:.1f}",
        f"{outcome.ready_s:.1f}",
        f"{verdict.slowest_row_s:.1f}",
        *(str(len(each)) for each in found),
    )
