"""The client's record against the rows: what is lost, doubled, foreign, or makes no sense."""

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from uuid import UUID

from benchmarks.chaos.records import Row, Step
from shared.events import Event

TOLERANCE_S = 0.002  # an event's time is cut to the millisecond

# What an answer's fallback says when it was given without asking Redis.
FROM_MEMORY = "sessions:unavailable"

Fact = tuple[int, UUID, str, int, float, int | None]


@dataclass(frozen=True)
class Verdict:
    """What a comparison found; every entry says which.

    Attributes:
        lost: Answered steps without a row.
        destroyed: Such steps that a stream held which was destroyed.
        doubled: Steps with more than one row, whether or not the second was answered.
        foreign: Rows that nobody asked for.
        malformed: Sessions that are no chain from a first track to a `last`.
        cut: Episodes that the log has as more than one session.
        forked: Episodes of either kind that say so: a step was answered from a worker's memory.
        n_answered: Steps that were answered.
        slowest_row_s: From an answer to its row, at most.
    """

    lost: list[str]
    destroyed: list[str]
    doubled: list[str]
    foreign: list[str]
    malformed: list[str]
    cut: list[str]
    forked: list[str]
    n_answered: int
    slowest_row_s: float


def reconcile(
    steps: Sequence[Step],
    rows: Sequence[Row],
    *,
    expected: Collection[UUID] = (),
    clocks_s: Sequence[float] = (0.0,),
    destroyed: Collection[Fact] = (),
) -> Verdict:
    """Compare what was answered with what was stored.

    Args:
        steps: All that the client did; every session was closed.
        rows: All that was stored meanwhile.
        expected: Ids of events that were sent otherwise; each is due once.
        clocks_s: By how much the clocks that named the events' times may have been off, in seconds.
        destroyed: What the stream held when it was destroyed, stored or not.
    """
    others = Counter(row.event_id for row in rows if row.event_id in set(expected))
    mine = [row for row in rows if row.event_id not in others]
    found = Counter(map(_fact_of_row, mine))
    answered = {_fact_of_step(step): step for step in steps if step.answer is not None}
    asked = {_question(step.user, step.message, step.track, step.time) for step in steps}
    stray = [fact for fact in found.elements() if fact not in answered]
    missing = [fact for fact in answered if not found[fact]]
    cut = find_cut(steps)
    broken = {session for _, session, *_ in missing}
    broken |= {step.answer.session for step in steps if step.answer and step.episode in cut}
    is_ordered = len(clocks_s) == 1
    malformed = find_malformed((r for r in mine if r.session not in broken), is_ordered=is_ordered)
    episode_of = {step.answer.session: step.episode for step in steps if step.answer}
    marked = find_marked(steps)
    forked = marked & (cut | {episode_of.get(session, -1) for session in malformed})
    return Verdict(
        lost=[
            f"{fact}, answered at {answered[fact].attempts[-1].ended_at:.3f}"
            for fact in missing
            if fact not in destroyed
        ]
        + [f"event {each}" for each in expected if not others[each]],
        destroyed=[str(fact) for fact in missing if fact in destroyed],
        doubled=[f"{fact} {n} times" for fact, n in found.items() if n > 1]
        + [f"{fact}, another attempt" for fact in stray if _is_asked(fact, asked)]
        + [f"event {each} {n} times" for each, n in others.items() if n > 1],
        foreign=[str(fact) for fact in stray if not _is_asked(fact, asked)],
        malformed=[
            *(
                f"session {session}: {fault}"
                for session, fault in malformed.items()
                if episode_of.get(session) not in marked
            ),
            *find_mistimed(answered, mine, clocks_s),
        ],
        cut=[f"episode {episode}" for episode in sorted(cut - marked)],
        forked=[f"episode {episode}" for episode in sorted(forked)],
        n_answered=len(answered),
        slowest_row_s=max((_delay_s(answered, row) for row in mine), default=0.0),
    )


def find_cut(steps: Iterable[Step]) -> set[int]:
    """Find the episodes whose answers named more than one session."""
    sessions: defaultdict[int, set[UUID]] = defaultdict(set)
    for step in steps:
        if step.answer is not None:
            sessions[step.episode].add(step.answer.session)
    return {episode for episode, ids in sessions.items() if len(ids) > 1}


def find_marked(steps: Iterable[Step]) -> set[int]:
    """Find the episodes of which a step was answered from a worker's memory."""
    return {
        step.episode
        for step in steps
        if step.answer is not None and FROM_MEMORY in (step.answer.fallback or "")
    }


def find_malformed(rows: Iterable[Row], *, is_ordered: bool = True) -> dict[UUID, str]:
    """Find each session that is no chain, and its first fault.

    Args:
        rows: Of whole sessions.
        is_ordered: Whether one clock named all times.
    """
    sessions: defaultdict[UUID, list[Row]] = defaultdict(list)
    for row in rows:
        sessions[row.session].append(row)
    faults = {}
    for session, members in sessions.items():
        members.sort(key=lambda row: row.position)
        fault = _find_fault(members, is_ordered=is_ordered)
        if fault is not None:
            faults[session] = fault
    return faults


def find_mistimed(
    answered: dict[Fact, Step], rows: Iterable[Row], clocks_s: Sequence[float]
) -> list[str]:
    """Name the rows whose time lies outside of their step's attempts."""
    faults = []
    for row in rows:
        step = answered.get(_fact_of_row(row))
        if step is None:
            continue
        at = row.occurred_at.timestamp()
        first, last = step.attempts[0].began_at, step.attempts[-1].ended_at
        if not any(first - TOLERANCE_S <= at - off <= last + TOLERANCE_S for off in clocks_s):
            faults.append(f"event {row.event_id}: its time is not its request's")
    return faults


def _find_fault(rows: Sequence[Row], *, is_ordered: bool) -> str | None:
    positions = [row.position for row in rows]
    checks = {
        f"its positions are {positions}": positions == list(range(len(rows))),
        "it is several users'": len({row.user for row in rows}) == 1,
        "its treatment changes": len({row.experiments for row in rows}) == 1,
        "it does not begin with a track heard in full": rows[0].time == 1.0,
        "it is not closed once, at its end": [row.message == "last" for row in rows]
        == [False] * (len(rows) - 1) + [True],
        "a track is not the one recommended before": all(
            before.recommendation == after.track for before, after in pairwise(rows)
        ),
        "its times run backwards": not is_ordered
        or all(before.occurred_at <= after.occurred_at for before, after in pairwise(rows)),
    }
    return next((fault for fault, holds in checks.items() if not holds), None)


def _fact_of_step(step: Step) -> Fact:
    assert step.answer is not None
    answer = step.answer
    return step.user, answer.session, step.message, step.track, step.time, answer.recommendation


def fact_of_event(event: Event) -> Fact:
    """Return what a client knows of an event."""
    return (
        event.user,
        event.session,
        event.message,
        event.track,
        event.time,
        event.recommendation,
    )


def _fact_of_row(row: Row) -> Fact:
    return row.user, row.session, row.message, row.track, row.time, row.recommendation


def _delay_s(answered: dict[Fact, Step], row: Row) -> float:
    step = answered.get(_fact_of_row(row))
    return 0.0 if step is None else row.stored_at.timestamp() - step.attempts[-1].ended_at


def _question(user: int, message: str, track: int, time: float) -> tuple[int, str, int, float]:
    return user, message, track, time


def _is_asked(fact: Fact, asked: set[tuple[int, str, int, float]]) -> bool:
    user, _, message, track, time, _ = fact
    return _question(user, message, track, time) in asked
