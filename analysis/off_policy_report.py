"""Off-policy estimates for people (text, Markdown) and for programs (JSON)."""

import dataclasses
import json
from collections.abc import Iterator
from typing import TextIO

from analysis.core.off_policy import OffPolicyEstimate
from analysis.core.wording import NONE, describe_change
from analysis.report import render_table

COLUMNS = ("by", "value", "lower", "upper", "against logged", "worth", "largest weight")
METHODS = {
    "ips": "inverse propensity",
    "snips": "self-normalised",
    "clipped": "clipped",
    "dr": "doubly robust",
    "logged": "logged",
    "played": "played",
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Report:
    """What a log says of a policy.

    Attributes:
        experiment: Whose log.
        log: The arm that was logged.
        policy: Asked about.
        first: Recommendations of a session that are asked about together; None: of each alone.
        alpha: The intervals have level 1 - alpha.
        n_sessions: Of the log.
        n_broken: Left out: events or tracks are missing.
        estimates: Empty if the log cannot say.
        logged: What the log's own policy earned by the same measure.
        played: What the policy earned itself, if it is an arm that was played.
        refused: Why the log cannot say.
    """

    experiment: str
    log: str
    policy: str
    first: int | None
    alpha: float
    n_sessions: int
    n_broken: int
    estimates: tuple[OffPolicyEstimate, ...] = ()
    logged: OffPolicyEstimate | None = None
    played: OffPolicyEstimate | None = None
    refused: str | None = None


def render_report(report: Report, *, output_format: str, output: TextIO) -> None:
    """Write a report as text, Markdown or JSON."""
    if output_format == "json":
        document = dataclasses.asdict(report) | {"notes": list(notes(report))}
        print(json.dumps(document, indent=2, allow_nan=False), file=output)
        return
    heading = "## " if output_format == "markdown" else ""
    title = f"{report.experiment}: {report.policy}, from the log of {report.log}"
    print(f"{heading}{title}\n", file=output)
    rows = [_cells(each, report.logged) for each in _all(report)]
    if rows:
        render_table(COLUMNS, rows, output_format=output_format, output=output)
        print(file=output)
    for note in notes(report):
        print(f"- {note}", file=output)


def notes(report: Report) -> Iterator[str]:
    """Say what was asked, and what to know before believing the answer."""
    if report.first is None:
        yield (
            "Asked: the listened time of one recommendation, in the situations that the log holds. "
            "Under the policy sessions would go elsewhere; --first N asks for whole beginnings."
        )
    else:
        yield (
            f"Asked: the listened time of a session's first {report.first} recommendations "
            "together. Each further one multiplies weights; a whole session is beyond such a log."
        )
    if report.refused:
        yield f"The log cannot say: {report.refused}."
    elif report.first is None:
        yield (
            "Believe the doubly robust or the self-normalised estimate; the clipped one has a bias "
            "that its interval does not hold."
        )
    if report.played and report.first is None:
        yield "Played: in the situations to which the policy itself led, which are others."
    level = f"{100 * (1 - report.alpha):g}%"
    yield (
        f"{report.n_sessions:,} sessions; intervals at {level}, listeners independent. Worth: as "
        f"many {'recommendations' if report.first is None else 'sessions'} of the policy's own."
    )
    if report.n_broken:
        yield f"Left out, events or tracks are missing: {report.n_broken:,} sessions."


def _all(report: Report) -> Iterator[OffPolicyEstimate]:
    yield from report.estimates
    for found in (report.logged, report.played):
        if found is not None:
            yield found


def _cells(estimate: OffPolicyEstimate, logged: OffPolicyEstimate | None) -> tuple[str, ...]:
    change = NONE
    if logged is not None and estimate.method != "logged" and logged.value > 0:
        change = describe_change(100 * (estimate.value / logged.value - 1))
    return (
        METHODS[estimate.method],
        f"{estimate.value:.3f}",
        f"{estimate.lower:.3f}",
        f"{estimate.upper:.3f}",
        change,
        f"{estimate.n_effective:,.0f}",
        f"{estimate.largest_weight:,.1f}",
    )
