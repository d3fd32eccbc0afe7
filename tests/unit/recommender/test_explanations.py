"""Why a track was recommended, by every recommender."""

import pytest

from services.recommender.core.policies import RECOMMENDERS, make_policy
from services.recommender.core.recommenders import Context
from shared.experiments import Treatment
from tests.unit.recommender.factories import N_TRACKS, make_context, make_index, make_served

INDEX = make_index()
MODEL = make_served(INDEX)
HEARD = [0, 1, 10]  # of ten artists with six tracks each; rows 0 and 10 are of one

# By recommender: the pool, those heard of it, its anchor. The user's list is 1 to 6.
POOLS = {
    "random": (N_TRACKS, 3, None),
    "top_pop": (N_TRACKS, 3, None),
    "sticky_artist": (6, 1, 1),
    "indexed": (6, 1, None),
    "contextual": (12, 2, 0),
    "session": (N_TRACKS, 3, 0),
}


def make_asked(*, explain: bool = True) -> Context:
    """Make a context; a new one for each choice, since choices draw."""
    return make_context(INDEX, user=7, model=MODEL, heard=HEARD, track=1, first=0, explain=explain)


def explain(name: str, **parameters: object) -> tuple[dict[str, int | float], float, int]:
    """Return an explanation, the choice's propensity and its row."""
    policy = make_policy(Treatment(name="T1", recommender=name, parameters=parameters))
    chosen = policy.recommend(make_asked())
    assert chosen.recommender == name
    assert chosen.choice.explanation is not None
    return chosen.choice.explanation, chosen.choice.propensity, chosen.choice.row


@pytest.mark.parametrize("name", RECOMMENDERS)
def test_every_recommender_says_what_it_chose_among(name: str) -> None:
    why, propensity, _ = explain(name)
    assert (why["pool"], why["heard"], why.get("anchor")) == POOLS[name]
    assert (why["capped"], why["candidates"]) == (0, why["pool"] - why["heard"])
    if name != "session":
        assert propensity == pytest.approx(1 / why["candidates"])


@pytest.mark.parametrize("name", ["random", "top_pop", "contextual", "session"])
def test_a_limit_per_artist_rules_out_and_is_told(name: str) -> None:
    why, propensity, _ = explain(name, max_per_artist=2)
    # four more of the artist that was heard twice; of the neighbours 1 to 12 that is none
    assert why["capped"] == (0 if name == "contextual" else 4)
    if name != "session":
        assert propensity == pytest.approx(1 / why["candidates"])


def test_a_rank_is_the_place_in_the_list() -> None:
    why, _, row = explain("contextual", choice="best")
    assert (why["rank"], row) == (2, 2)  # the first neighbour was heard
    why, _, row = explain("top_pop")
    assert why["rank"] == N_TRACKS - row
    assert "rank" not in explain("random")[0]


def test_nobody_explains_unasked() -> None:
    policy = make_policy(Treatment(name="T1", recommender="contextual"))
    unasked = policy.recommend(make_asked(explain=False))
    assert unasked.choice.explanation is None
    assert unasked.choice.row == policy.recommend(make_asked()).choice.row
