from datetime import UTC, datetime, timedelta
from uuid import UUID

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.recommender.core.decisions import (
    Clock,
    Decider,
    Outcome,
    ReusedKeyError,
    UnknownTrackError,
)
from services.recommender.core.models import Models
from services.recommender.core.policies import CatalogExhaustedError
from services.recommender.core.sessions import Message, Report, Session, UserState
from shared.definitions import parse_experiments
from shared.events import decode_event, encode_event
from tests.unit.recommender.factories import (
    CONTROL,
    EXPERIMENTS,
    FIRST_ID,
    N_TRACKS,
    TREATED,
    make_index,
    make_served,
)

INDEX = make_index()
MODELS = Models({"latest": make_served(INDEX)})
NOW = datetime(2024, 5, 1, 12, 0, 0, 123_456, tzinfo=UTC)
LATER = b"2024-05-01T13:00:00Z"
SECONDS = iter(range(10**9))


def make_decider(seed: int = 0) -> Decider:
    clock = Clock(now=lambda: NOW, seconds=lambda: float(next(SECONDS)))
    return Decider(INDEX, parse_experiments(EXPERIMENTS), seed=seed, clock=clock)


def report(
    message: Message = "next", *, user: int = TREATED, track: int = FIRST_ID, key: str | None = None
) -> Report:
    return Report(message, user, track, 0.5, key)


def play(decider: Decider, n: int, *, user: int = TREATED, first: int = FIRST_ID) -> list[Outcome]:
    """Play a session of n playbacks, each of the track recommended before."""
    state, track, outcomes = None, first, []
    for _ in range(n):
        outcome = decider.decide(report(user=user, track=track), state, MODELS)
        state, track = outcome.state, msgspec.json.decode(outcome.answer)["track"]
        outcomes.append(outcome)
    return outcomes


def test_the_users_of_these_tests_are_in_different_treatments() -> None:
    experiments = parse_experiments(EXPERIMENTS)
    assert experiments.assign(CONTROL, 0).treatment.name == "C"
    assert experiments.assign(TREATED, 0).treatment.name == "T1"


def test_first_report_opens_a_session() -> None:
    outcome = make_decider().decide(report(), None, MODELS)
    assert outcome.state
    assert outcome.state.session
    assert outcome.event
    assert outcome.event.position == 0
    assert outcome.event.session.version == 7
    assert outcome.state.session.session == outcome.event.session


def test_positions_count_playbacks_in_one_session() -> None:
    events = [outcome.event for outcome in play(make_decider(), 5)]
    assert [event.position for event in events if event] == [0, 1, 2, 3, 4]
    assert len({event.session for event in events if event}) == 1


@given(st.integers(0, 1000), st.integers(0, N_TRACKS - 1))
def test_a_session_never_hears_a_track_twice(user: int, row: int) -> None:
    outcomes = play(make_decider(), 30, user=user, first=FIRST_ID + row)
    tracks = [o.event.recommendation for o in outcomes if o.event]
    assert len({FIRST_ID + row, *tracks}) == 31


def test_a_track_recommended_but_not_played_is_not_recommended_again() -> None:
    decider, state, seen = make_decider(), None, []
    for _ in range(N_TRACKS - 1):
        outcome = decider.decide(report(user=CONTROL), state, MODELS)
        state = outcome.state
        assert outcome.event
        seen.append(outcome.event.recommendation)
    assert len(set(seen)) == N_TRACKS - 1
    with pytest.raises(CatalogExhaustedError):
        decider.decide(report(user=CONTROL), state, MODELS)


def test_the_answer_and_the_event_agree() -> None:
    outcome = make_decider().decide(report(), None, MODELS)
    answer, event = msgspec.json.decode(outcome.answer), outcome.event
    assert event
    assert list(answer)[:2] == ["user", "track"]
    assert answer == {
        "user": TREATED,
        "track": event.recommendation,
        "session": str(event.session),
        "recommender": "contextual",
        "propensity": 1 / 12,
        "model_version": "m1",
        "experiments": {"SERVING": "T1", "AA": event.experiments["AA"]},
    }
    assert event.propensity == 1 / 12
    assert event.timestamp == NOW.replace(microsecond=123_000)
    assert event.latency == 1.0
    assert decode_event(encode_event(event)) == event


def test_without_a_model_the_event_says_who_answered_and_why() -> None:
    event = make_decider().decide(report(), None, Models()).event
    assert event
    assert event.recommender == "random"
    assert event.fallback == "contextual:no_model,top_pop:no_model"
    assert event.model_version is None


def test_a_refused_model_is_the_reason() -> None:
    models = Models({}, {"latest": "model_mismatch"})
    event = make_decider().decide(report(), None, models).event
    assert event
    assert event.fallback == "contextual:model_mismatch,top_pop:model_mismatch"


def test_last_closes_the_session() -> None:
    decider = make_decider()
    opened = decider.decide(report(), None, MODELS)
    closed = decider.decide(report("last"), opened.state, MODELS)
    assert closed.state is None
    assert opened.event
    assert closed.event
    assert closed.event.session == opened.event.session
    assert closed.event.position == 1
    assert closed.event.recommendation is None
    assert msgspec.json.decode(closed.answer) == {
        "user": TREATED,
        "session": str(closed.event.session),
    }


def test_last_without_a_session_is_a_session_of_one_playback() -> None:
    outcome = make_decider().decide(report("last"), None, MODELS)
    assert outcome.state is None
    assert outcome.event
    assert outcome.event.position == 0


def test_an_unknown_track_is_refused() -> None:
    with pytest.raises(UnknownTrackError, match="99 is not in"):
        make_decider().decide(report(track=99), None, MODELS)


def test_same_requests_get_the_same_tracks_in_any_process() -> None:
    one, other = (
        [o.event.recommendation for o in play(make_decider(), 20, user=CONTROL) if o.event]
        for _ in range(2)
    )
    assert one == other


def test_another_seed_gives_other_tracks() -> None:
    one, other = (
        [o.event.recommendation for o in play(make_decider(seed), 20, user=CONTROL) if o.event]
        for seed in (0, 1)
    )
    assert one != other


@pytest.mark.parametrize("message", ["next", "last"])
def test_a_retry_gets_the_same_answer_and_no_second_event(message: Message) -> None:
    decider = make_decider()
    first = decider.decide(report(message, key="k"), None, MODELS)
    again = decider.decide(report(message, key="k"), first.state, MODELS)
    assert again == Outcome(first.answer, first.state, None)


def test_a_new_session_opens_after_a_remembered_last() -> None:
    decider = make_decider()
    closed = decider.decide(report("last", key="k"), None, MODELS)
    opened = decider.decide(report(key="l"), closed.state, MODELS)
    assert opened.event
    assert closed.event
    assert opened.event.session != closed.event.session
    assert opened.event.position == 0


def test_a_key_is_forgotten_at_the_next_request() -> None:
    decider = make_decider()
    first = decider.decide(report(key="k"), None, MODELS)
    second = decider.decide(report(key="l"), first.state, MODELS)
    assert decider.decide(report(key="k"), second.state, MODELS).event


def test_a_key_names_one_request() -> None:
    decider = make_decider()
    first = decider.decide(report(key="k"), None, MODELS)
    with pytest.raises(ReusedKeyError):
        decider.decide(report(track=FIRST_ID + 1, key="k"), first.state, MODELS)


def test_a_session_survives_tracks_that_left_the_catalogue() -> None:
    session = Session(UUID(int=1), 1, 2, (1, 2))
    outcome = make_decider().decide(report(), UserState(session), MODELS)
    assert outcome.event
    assert outcome.event.position == 2


def test_a_session_stays_in_the_arm_in_which_it_began() -> None:
    windowed = EXPERIMENTS.replace(b"- name: SERVING", b"- name: SERVING\n    start: %s" % LATER)
    now = [NOW]
    clock = Clock(now=lambda: now[0], seconds=lambda: 0.0)
    decider = Decider(INDEX, parse_experiments(windowed), seed=1, clock=clock)
    before = decider.decide(report(), None, MODELS)
    now[0] = NOW + timedelta(hours=2)
    within = decider.decide(report(), before.state, MODELS)
    after = decider.decide(report(), None, MODELS)
    served = [outcome.event for outcome in (before, within, after)]
    assert [event and event.recommender for event in served] == ["random", "random", "contextual"]
    assert [event and event.experiments.get("SERVING") for event in served] == [None, None, "T1"]
