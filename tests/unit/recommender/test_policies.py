import numpy as np
import pytest

from services.recommender.core.models import ServedModel
from services.recommender.core.policies import (
    FALLBACKS,
    RECOMMENDERS,
    CatalogExhaustedError,
    make_policy,
)
from shared.definitions import InvalidExperimentsError
from shared.experiments import Treatment
from tests.unit.recommender.factories import N_TRACKS, make_context, make_index, make_served

INDEX = make_index()
MODEL = make_served(INDEX)


def treatment(recommender: str, **parameters: object) -> Treatment:
    return Treatment(name="T1", recommender=recommender, parameters=parameters)


def test_every_recommender_has_a_chain_that_ends_in_random() -> None:
    assert set(FALLBACKS) == set(RECOMMENDERS)
    assert all(chain[-1] == "random" for chain in FALLBACKS.values())


@pytest.mark.parametrize("name", RECOMMENDERS)
def test_the_treatments_own_recommender_answers_if_it_can(name: str) -> None:
    chosen = make_policy(treatment(name)).recommend(make_context(INDEX, model=MODEL))
    assert (chosen.recommender, chosen.fallback) == (name, None)
    uses_model = RECOMMENDERS[name].uses_model
    assert chosen.model_version == ("m1" if uses_model else None)


@pytest.mark.parametrize("name", ["contextual", "indexed"])
def test_without_a_model_random_answers_and_says_why(name: str) -> None:
    chosen = make_policy(treatment(name)).recommend(make_context(INDEX))
    assert chosen.recommender == "random"
    assert chosen.model_version is None
    assert chosen.fallback == f"{name}:no_model,top_pop:no_model"


def test_without_neighbours_top_pop_answers_from_the_same_version() -> None:
    model = ServedModel("m2", top_tracks=np.array([5], np.int32))
    chosen = make_policy(treatment("contextual")).recommend(make_context(INDEX, model=model))
    assert (chosen.recommender, chosen.model_version) == ("top_pop", "m2")
    assert chosen.choice.row == 5
    assert chosen.fallback == "contextual:not_in_model"


def test_the_cap_holds_in_fallbacks_but_not_in_the_last() -> None:
    policy = make_policy(treatment("contextual", max_per_artist=1))
    # One track of each artist was heard: only the uncapped last resort can answer.
    chosen = policy.recommend(make_context(INDEX, heard=range(10), model=MODEL))
    assert chosen.recommender == "random"
    assert chosen.fallback == "contextual:no_candidates,top_pop:no_candidates"


def test_a_capped_random_falls_back_to_an_uncapped_one() -> None:
    policy = make_policy(treatment("random", max_per_artist=1))
    chosen = policy.recommend(make_context(INDEX, heard=range(10)))
    assert (chosen.recommender, chosen.fallback) == ("random", "random:no_candidates")


@pytest.mark.parametrize("name", RECOMMENDERS)
def test_only_a_session_that_heard_everything_gets_nothing(name: str) -> None:
    policy = make_policy(treatment(name))
    with pytest.raises(CatalogExhaustedError):
        policy.recommend(make_context(INDEX, heard=range(N_TRACKS), model=MODEL))


@pytest.mark.parametrize(
    ("bad", "fault"),
    [
        (treatment("oracle"), "'oracle' is none of random"),
        (Treatment(name="T1"), "'' is none of"),
        (treatment("top_pop", n=0), "n"),
        (treatment("top_pop", m=5), "unknown field `m`"),
        (treatment("contextual", anchor="middle"), "anchor"),
        (treatment("random", max_per_artist="2"), "max_per_artist"),
    ],
)
def test_a_treatment_that_cannot_be_served_is_refused(bad: Treatment, fault: str) -> None:
    with pytest.raises(InvalidExperimentsError, match=fault):
        make_policy(bad)
