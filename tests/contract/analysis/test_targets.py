"""A policy's probabilities in the analysis are the recommender's own propensities."""

from typing import Any

import msgspec
import numpy as np
import pytest

from analysis.core.exposures import LoggedSession, Tracks, replay
from analysis.core.policy_value import estimate_decisions, weigh
from analysis.core.targets import FALLBACKS, Model, Target, UnknownPolicyError, make_target
from services.recommender.core.decisions import Clock, Decider
from services.recommender.core.models import Models
from services.recommender.core.policies import FALLBACKS as SERVED_FALLBACKS
from services.recommender.core.policies import RECOMMENDERS, CatalogExhaustedError
from services.recommender.core.recommenders import Contextual, Indexed, Random, StickyArtist, TopPop
from shared.definitions import parse_experiments
from tests.unit.recommender.factories import make_index, make_served, make_tracks

CATALOG, INDEX = make_tracks(), make_index()
SERVED = make_served(INDEX)
TRACKS = Tracks(CATALOG.track_ids, CATALOG.artist_rows, np.full(len(CATALOG), -1, np.int32))
MODEL = Model(
    neighbours=SERVED.neighbours,
    top_tracks=SERVED.top_tracks,
    user_tracks={
        user: SERVED.user_tracks[row].tolist()
        for user, row in SERVED.user_rows.items()
        if SERVED.user_tracks is not None
    },
)
POLICIES: list[tuple[str, dict[str, Any]]] = [
    ("random", {}),
    ("random", {"max_per_artist": 1}),
    ("top_pop", {"n": 20}),
    ("sticky_artist", {}),
    ("sticky_artist", {"max_per_artist": 3}),
    ("indexed", {}),
    ("contextual", {}),
    ("contextual", {"anchor": "last", "max_per_artist": 2}),
    ("contextual", {"choice": "best"}),
]


def play(
    recommender: str, parameters: dict[str, Any], *, user: int, models: Models
) -> LoggedSession:
    """Play a session of 25 playbacks through the recommender's own decisions."""
    arm = {"name": "C", "recommender": recommender, "parameters": parameters}
    definition = {
        "serving": "E",
        "experiments": [{"name": "E", "treatments": [arm, arm | {"name": "T1"}]}],
    }
    experiments = parse_experiments(msgspec.yaml.encode(definition))
    decider = Decider(INDEX, experiments, seed=3, clock=Clock())
    session = decider.open_session(user, models)
    tracks, recommendations, propensities = [user % len(INDEX)], [], []
    for _ in range(25):
        try:
            chosen = session.recommend(tracks[-1], 0.5)
        except CatalogExhaustedError:
            break
        recommendations.append(chosen.choice.row)
        propensities.append(chosen.choice.propensity)
        tracks.append(chosen.choice.row)
    return LoggedSession(
        user=user,
        tracks=tracks,
        times=[1.0, *[0.25] * (len(tracks) - 1)],
        recommendations=[*recommendations, None],
        propensities=[*propensities, None],
    )


def probabilities(target: Target, session: LoggedSession) -> list[float]:
    found = []
    for decision in replay(session, TRACKS):
        choices = target.choices(decision)
        found.append((decision.served in choices) / len(choices))
    return found


@pytest.mark.parametrize(("recommender", "parameters"), POLICIES)
@pytest.mark.parametrize("has_model", [True, False])
def test_probabilities_are_the_propensities(
    recommender: str, parameters: dict[str, Any], has_model: bool
) -> None:
    model = MODEL if has_model else Model()
    models = Models({"latest": SERVED}) if has_model else Models()
    target = make_target(recommender, parameters, tracks=TRACKS, model=model)
    n_decisions = 0
    for user in (0, 7, 8, 30, 44):
        session = play(recommender, parameters, user=user, models=models)
        assert probabilities(target, session) == pytest.approx(list(session.propensities[:-1]))
        n_decisions += len(session.tracks) - 1
    assert n_decisions > 100


def test_the_serving_policy_itself_weighs_one_and_earns_what_was_logged() -> None:
    target = make_target("contextual", {}, tracks=TRACKS, model=MODEL)
    models = Models({"latest": SERVED})
    sessions = [play("contextual", {}, user=user, models=models) for user in range(40)]
    weighed = weigh(sessions, target, TRACKS)
    assert weighed.weights == pytest.approx(1.0)
    for estimate in estimate_decisions(weighed, TRACKS):
        assert estimate.value == pytest.approx(0.25, abs=1e-3)
        assert estimate.n_effective == pytest.approx(len(weighed.reward))


def test_every_recommender_can_be_computed_or_is_refused() -> None:
    for name in RECOMMENDERS:
        if name in FALLBACKS:
            assert (*FALLBACKS[name], "random") == SERVED_FALLBACKS[name]
        else:
            with pytest.raises(UnknownPolicyError, match="try it live"):
                make_target(name, {}, tracks=TRACKS, model=MODEL)
    assert len(FALLBACKS) == len({Random, TopPop, StickyArtist, Indexed, Contextual})


def test_a_wrong_parameter_is_refused() -> None:
    with pytest.raises(UnknownPolicyError, match="anchr"):
        make_target("contextual", {"anchr": "last"}, tracks=TRACKS, model=MODEL)
