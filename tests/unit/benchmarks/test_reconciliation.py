"""The comparison of a client's record with the log finds each kind of damage, and no other."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest

from benchmarks.chaos.reconciliation import FROM_MEMORY, Verdict, reconcile
from benchmarks.chaos.records import Answered, Attempt, Row, Step

BEGAN = datetime(2026, 3, 1, tzinfo=UTC)
TRACKS = (10, 20, 30, 40)
SESSION = UUID(int=1)


def make_steps(episode: int = 0, session: UUID = SESSION) -> list[Step]:
    """Make the record of one session: three recommendations, then its end."""
    steps = []
    for position, track in enumerate(TRACKS):
        is_last = position == len(TRACKS) - 1
        at = BEGAN.timestamp() + position
        steps.append(
            Step(
                episode=episode,
                user=100 + episode,
                message="last" if is_last else "next",
                track=track,
                time=1.0 if position == 0 else 0.5,
                attempts=[Attempt(at, at + 0.1, 200)],
                answer=Answered(session, None if is_last else TRACKS[position + 1], None),
            )
        )
    return steps


def make_rows(steps: list[Step]) -> list[Row]:
    """Make the rows that are due for a session."""
    rows = []
    for position, step in enumerate(steps):
        assert step.answer is not None
        at = datetime.fromtimestamp(step.attempts[0].began_at, UTC)
        rows.append(
            Row(
                event_id=UUID(int=1000 * step.episode + position),
                user=step.user,
                session=step.answer.session,
                position=position,
                message=step.message,
                track=step.track,
                time=step.time,
                recommendation=step.answer.recommendation,
                occurred_at=at,
                stored_at=at + timedelta(seconds=1),
                experiments="{}",
            )
        )
    return rows


def found(verdict: Verdict) -> dict[str, int]:
    """Count what was found, by kind."""
    kinds = ("lost", "destroyed", "doubled", "foreign", "malformed", "cut", "forked")
    return {kind: n for kind in kinds if (n := len(getattr(verdict, kind)))}


def test_a_whole_record_is_in_order() -> None:
    steps = make_steps() + make_steps(1, UUID(int=2))
    rows = make_rows(steps[:4]) + make_rows(steps[4:])
    verdict = reconcile(steps, rows)
    assert found(verdict) == {}
    assert verdict.n_answered == 8
    assert verdict.slowest_row_s == pytest.approx(0.9)


def test_an_answered_step_without_a_row_is_lost() -> None:
    steps = make_steps()
    assert found(reconcile(steps, make_rows(steps)[:-1])) == {"lost": 1}


def test_a_step_that_was_never_answered_may_have_a_row_or_none() -> None:
    steps = make_steps()
    steps[-1].answer = None
    assert found(reconcile(steps, make_rows(steps[:3]))) == {"malformed": 1}  # it is not closed


def test_a_second_row_of_a_step_is_doubled() -> None:
    steps = make_steps()
    rows = make_rows(steps)
    again = rows[1]._replace(event_id=UUID(int=77))
    assert found(reconcile(steps, [*rows, again])) == {"doubled": 1, "malformed": 1}


def test_a_row_of_an_attempt_that_another_answered_is_doubled() -> None:
    steps = make_steps()
    other = make_rows(steps)[1]._replace(event_id=UUID(int=77), recommendation=99)
    assert found(reconcile(steps, [*make_rows(steps), other])) == {"doubled": 1, "malformed": 1}


def test_a_row_that_nobody_asked_for_is_foreign() -> None:
    steps, others = make_steps(), make_steps(1, UUID(int=2))
    assert found(reconcile(steps, make_rows(steps) + make_rows(others))) == {"foreign": 4}


Change = Callable[[list[Row]], list[Row]]


@pytest.mark.parametrize(
    "change",
    [
        lambda rows: [rows[0], *(row._replace(position=row.position + 1) for row in rows[1:])],
        lambda rows: [rows[0]._replace(experiments='{"A": "T1"}'), *rows[1:]],
        lambda rows: [*rows[:2], rows[2]._replace(occurred_at=BEGAN), rows[3]],
        lambda rows: [
            row._replace(occurred_at=row.occurred_at + timedelta(hours=1)) for row in rows
        ],
    ],
    ids=["a position is missing", "treatments differ", "times run backwards", "another clock"],
)
def test_a_session_that_is_no_chain_is_malformed(change: Change) -> None:
    steps = make_steps()
    assert "malformed" in found(reconcile(steps, change(make_rows(steps))))


def test_a_recommendation_that_was_not_played_is_malformed() -> None:
    steps = make_steps()
    steps[2].track = 99
    assert found(reconcile(steps, make_rows(steps))) == {"malformed": 1}


def test_a_clock_that_is_known_to_be_off_is_allowed() -> None:
    steps = make_steps()
    rows = make_rows(steps)
    rows[1] = rows[1]._replace(occurred_at=rows[1].occurred_at + timedelta(hours=1))
    assert found(reconcile(steps, rows, clocks_s=(0.0, 3600.0))) == {}


def test_an_episode_of_two_sessions_is_cut_unless_it_says_why() -> None:
    first, rest = make_steps()[:2], make_steps(session=UUID(int=2))[2:]
    rows = make_rows(first) + make_rows(rest)
    assert found(reconcile(first + rest, rows)) == {"cut": 1}
    assert rest[0].answer is not None
    rest[0].answer = rest[0].answer._replace(fallback=f"{FROM_MEMORY},contextual:no_model")
    assert found(reconcile(first + rest, rows)) == {"forked": 1}


def test_what_a_destroyed_stream_held_is_not_called_lost() -> None:
    steps = make_steps()
    last = steps[-1]
    held = [(last.user, SESSION, last.message, last.track, last.time, None)]
    assert found(reconcile(steps, make_rows(steps)[:-1], destroyed=held)) == {"destroyed": 1}
    assert found(reconcile(steps, make_rows(steps)[1:], destroyed=held)) == {"lost": 1}


def test_events_that_were_sent_otherwise_are_due_once() -> None:
    steps = make_steps()
    rows, (other,) = make_rows(steps), make_rows(make_steps(1, UUID(int=2)))[:1]
    expected = [other.event_id]
    assert found(reconcile(steps, [*rows, other], expected=expected)) == {}
    assert found(reconcile(steps, rows, expected=expected)) == {"lost": 1}
    assert found(reconcile(steps, [*rows, other, other], expected=expected)) == {"doubled": 1}
