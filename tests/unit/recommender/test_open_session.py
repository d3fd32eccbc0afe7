"""A session that stays in this process gives the answers of the service, to the last bit."""

from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest

from services.recommender.core.decisions import Clock, Decider
from services.recommender.core.models import Models, make_served_model
from services.recommender.core.sessions import Report, UserState
from shared.definitions import parse_experiments
from simulator.core.live_session import LiveSession, open_session
from tests.unit.recommender.test_session_play import DYNAMICS, INDEX, planted_arrays

N_SESSIONS = 4
MOST_PLAYS = 45  # over four redraws of candidates

Answer = tuple[int, float, str, str | None, str | None]


def make_decider(recommender: str, parameters: dict[str, Any]) -> Decider:
    arms = [{"name": n, "recommender": recommender, "parameters": parameters} for n in ("C", "T1")]
    definition = {"serving": "S", "experiments": [{"name": "S", "treatments": arms}]}
    clock = Clock(now=lambda: datetime(2024, 5, 1, tzinfo=UTC), seconds=lambda: 0.0)
    return Decider(INDEX, parse_experiments(msgspec.yaml.encode(definition)), seed=7, clock=clock)


def make_models() -> Models:
    served = make_served_model(
        "planted", checksum=INDEX.checksum, arrays=planted_arrays(), catalog=INDEX
    )
    return Models({"latest": served})


def ask_service(decider: Decider, models: Models, session: LiveSession) -> list[Answer]:
    """Play a session by reports, its state read from and written to bytes each time."""
    answers: list[Answer] = []
    state: UserState | None = None
    while not session.is_over and session.n_tracks < MOST_PLAYS:
        report = Report("next", session.user, INDEX.track_ids[session.track], session.time)
        outcome = decider.decide(report, state, models)
        state = msgspec.msgpack.decode(msgspec.msgpack.encode(outcome.state), type=UserState)
        event = outcome.event
        assert event
        assert event.recommendation is not None
        assert event.propensity is not None
        assert event.recommender is not None
        row = INDEX.row_of[event.recommendation]
        answers.append(
            (row, event.propensity, event.recommender, event.model_version, event.fallback)
        )
        session.listen(row)
    return answers


def ask_here(decider: Decider, models: Models, session: LiveSession) -> list[Answer]:
    """Play the same session without leaving the process."""
    answers: list[Answer] = []
    served = decider.open_session(session.user, models)
    while not session.is_over and session.n_tracks < MOST_PLAYS:
        chosen = served.recommend(session.track, session.time)
        choice = chosen.choice
        answers.append(
            (
                choice.row,
                choice.propensity,
                chosen.recommender,
                chosen.model_version,
                chosen.fallback,
            )
        )
        session.listen(choice.row)
    return answers


@pytest.mark.parametrize(
    ("recommender", "parameters"),
    [
        ("session", {}),
        ("session", {"bonus": 0.5, "epsilon": 0.3}),
        ("session", {"candidates": 5, "refresh_every": 20}),  # looks beyond its candidates
        ("session", {"candidates": 300, "max_per_artist": 2}),
        ("contextual", {}),
        ("top_pop", {}),  # falls back: the model has no popular tracks
        ("random", {}),
    ],
)
def test_both_ways_to_play_give_the_same_answers(
    recommender: str, parameters: dict[str, Any]
) -> None:
    decider, models = make_decider(recommender, parameters), make_models()
    for episode in range(N_SESSIONS):
        expected = ask_service(decider, models, open_session(DYNAMICS, 3, episode))
        assert ask_here(decider, models, open_session(DYNAMICS, 3, episode)) == expected


def test_without_a_model_both_fall_back_alike() -> None:
    decider, models = make_decider("session", {}), Models()
    expected = ask_service(decider, models, open_session(DYNAMICS, 3, 0))
    assert expected[0][4] is not None
    assert ask_here(decider, models, open_session(DYNAMICS, 3, 0)) == expected
