import pytest

from services.recommender.core.models import ServedModel
from services.recommender.core.recommenders import (
    NOT_IN_MODEL,
    Contextual,
    Indexed,
    NoRecommendationError,
    Random,
    Recommender,
    StickyArtist,
    TopPop,
)
from tests.unit.recommender.factories import make_context, make_index, make_served

INDEX = make_index()
MODEL = make_served(INDEX)


def support(recommender: Recommender, **context: object) -> set[int]:
    """Collect what many seeds choose."""
    return {
        recommender.recommend(make_context(INDEX, seed=seed, model=MODEL, **context)).row  # type: ignore[arg-type]  # a test's shorthand
        for seed in range(400)
    }


def test_random_propensity_counts_what_is_left() -> None:
    assert Random().recommend(make_context(INDEX, heard=[1, 2])).propensity == 1 / 57


def test_random_finds_the_only_track_left_of_many() -> None:
    index = make_index(5_000)
    context = make_context(index, heard=[row for row in range(5_000) if row != 4_321])
    choice = Random().recommend(context)
    assert (choice.row, choice.propensity) == (4_321, 1.0)


def test_top_pop_draws_from_the_first_n() -> None:
    assert support(TopPop(n=5), heard=[58]) == {59, 57, 56, 55}


def test_sticky_artist_stays_with_the_track_just_played() -> None:
    assert support(StickyArtist(), track=3, first=0, heard=[13]) == {23, 33, 43, 53}


def test_indexed_draws_from_the_users_list_without_its_pads() -> None:
    assert support(Indexed(), user=8, heard=[10]) == {11, 12, 13}


def test_indexed_does_not_know_every_user() -> None:
    with pytest.raises(NoRecommendationError, match=NOT_IN_MODEL):
        Indexed().recommend(make_context(INDEX, user=9, model=MODEL))


def test_contextual_anchors_on_the_first_track_by_default() -> None:
    assert support(Contextual(), track=40, first=0) == set(range(1, 13))


def test_contextual_can_anchor_on_the_last_track() -> None:
    assert support(Contextual(anchor="last"), track=40, first=0) == set(range(41, 53))


def test_contextual_can_take_the_best() -> None:
    assert support(Contextual(choice="best"), track=0, heard=[1, 2]) == {3}


@pytest.mark.parametrize("recommender", [TopPop(), Indexed(), Contextual()])
def test_a_model_without_the_array_is_said(recommender: Recommender) -> None:
    with pytest.raises(NoRecommendationError, match=NOT_IN_MODEL):
        recommender.recommend(make_context(INDEX, model=ServedModel("empty")))
