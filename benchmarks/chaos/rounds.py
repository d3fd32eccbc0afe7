"""A round: traffic, a fault, recovery, the end of traffic, and the comparison."""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks.chaos.faults import Aftermath, Fault
from benchmarks.chaos.laboratory import Laboratory
from benchmarks.chaos.reconciliation import Verdict, reconcile
from benchmarks.chaos.records import Row, Step, count_dead_letters, fetch_now, fetch_rows
from benchmarks.chaos.traffic import RecordingListeners, playing
from deploy.services import wait_for_logger, wait_for_spool

DRAIN_TIMEOUT_S = 180.0


@dataclass(frozen=True)
class Pace:
    """How a round is played.

    Attributes:
        before_s: Of traffic before the fault.
        fault_s: Of a fault that lasts.
        after_s: Of traffic once all is well again.
        concurrency: Listeners at once.
    """

    before_s: float = 3.0
    fault_s: float = 10.0
    after_s: float = 5.0
    concurrency: int = 16


@dataclass(frozen=True)
class Outcome:
    """What came of a round.

    Attributes:
        fault: What was done.
        note: And how.
        verdict: Of the comparison.
        failures: Why the round is not passed; empty if it is.
        n_attempts: Requests.
        error_share: Attempts that were not answered 200, in [0, 1].
        longest_wait_s: Of a step, from its first attempt to its answer.
        ready_s: From the end of the fault until every program was ready.
    """

    fault: Fault
    note: str
    verdict: Verdict
    failures: Sequence[str]
    n_attempts: int
    error_share: float
    longest_wait_s: float
    ready_s: float


def play_round(lab: Laboratory, fault: Fault, pace: Pace, *, seed: int) -> Outcome:
    """Play a round.

    Raises:
        UnexpectedAnswerError: If a listener met an answer that no fault excuses.
        RecoveryError: If the stack does not become well again.
        StepError: If what was answered does not arrive in the log at all.
    """
    since = asyncio.run(fetch_now(lab.dsn))
    n_dead_before = asyncio.run(count_dead_letters(lab.dsn))
    listeners = RecordingListeners(
        [lab.url("recommender")], lab.catalog, run_id=f"{time.time_ns()}"
    )
    with playing(listeners, lab.dynamics, seed=seed, concurrency=pace.concurrency):
        time.sleep(pace.before_s)
        aftermath = fault.strike(lab, listeners, pace.fault_s)
        ready_s = lab.wait_until_ready()
        time.sleep(pace.after_s)
    wait_for_spool(lab.url("recommender"), timeout_s=DRAIN_TIMEOUT_S)
    wait_for_logger(lab.url("logger"), timeout_s=DRAIN_TIMEOUT_S, show=_ignore)
    n_dead = asyncio.run(count_dead_letters(lab.dsn)) - n_dead_before
    rows = asyncio.run(fetch_rows(lab.dsn, since))
    outcome = judge(fault, aftermath, listeners.steps, rows, n_dead_letters=n_dead, ready_s=ready_s)
    if outcome.verdict.cut or outcome.verdict.forked:
        # What one worker closed another may have kept: not the next round's business.
        lab.forget_sessions()
    return outcome


def judge(
    fault: Fault,
    aftermath: Aftermath,
    steps: Sequence[Step],
    rows: Sequence[Row],
    *,
    n_dead_letters: int,
    ready_s: float,
) -> Outcome:
    """Compare, and say what is wrong."""
    verdict = reconcile(
        steps,
        rows,
        expected=aftermath.expected,
        clocks_s=aftermath.clocks_s,
        destroyed=aftermath.destroyed,
    )
    attempts = [attempt for step in steps for attempt in step.attempts]
    waits_s = [step.attempts[-1].ended_at - step.attempts[0].began_at for step in steps]
    return Outcome(
        fault=fault,
        note=aftermath.note,
        verdict=verdict,
        failures=[
            *_find_failures(verdict, may_cut=fault.may_cut),
            *(
                [f"{n_dead_letters} dead letters, not {aftermath.n_dead_letters}"]
                if n_dead_letters != aftermath.n_dead_letters
                else []
            ),
        ],
        n_attempts=len(attempts),
        error_share=sum(each.status != 200 for each in attempts) / max(1, len(attempts)),
        longest_wait_s=max(waits_s, default=0.0),
        ready_s=ready_s,
    )


def _find_failures(verdict: Verdict, *, may_cut: bool) -> list[str]:
    found = {
        "lost": verdict.lost,
        "doubled": verdict.doubled,
        "foreign": verdict.foreign,
        "malformed": verdict.malformed,
        "cut": [] if may_cut else verdict.cut,
    }
    failures = [f"{word}: {len(each)}, e.g. {each[0]}" for word, each in found.items() if each]
    return failures if verdict.n_answered else [*failures, "nobody was answered"]


def _ignore(_: str) -> None:
    """Show nothing."""
