"""What every recommender keeps, whatever it recommends."""

import contextlib
from collections import Counter
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import chisquare

from services.recommender.core.policies import RECOMMENDERS
from services.recommender.core.recommenders import (
    NO_CANDIDATES,
    Choice,
    Context,
    NoRecommendationError,
    Recommender,
)
from tests.unit.recommender.factories import N_TRACKS, make_context, make_index, make_served

VARIANTS: dict[str, tuple[str, dict[str, Any]]] = {
    "random": ("random", {}),
    "top_pop": ("top_pop", {}),
    "top_pop of 5": ("top_pop", {"n": 5}),
    "sticky_artist": ("sticky_artist", {}),
    "indexed": ("indexed", {}),
    "contextual": ("contextual", {}),
    "contextual by the last track": ("contextual", {"anchor": "last"}),
    "contextual, the best": ("contextual", {"choice": "best"}),
    "session": ("session", {}),
    "session that explores": ("session", {"candidates": 12, "epsilon": 0.5, "bonus": 0.5}),
    "session of one candidate": ("session", {"candidates": 1}),
}
INDEX = make_index()
MODEL = make_served(INDEX)
rows = st.integers(0, N_TRACKS - 1)


@pytest.fixture(params=VARIANTS.values(), ids=VARIANTS)
def variant(request: pytest.FixtureRequest) -> tuple[str, dict[str, Any]]:
    """Return a name and parameters."""
    name, parameters = request.param
    return name, parameters


def make(variant: tuple[str, dict[str, Any]], **more: Any) -> Recommender:
    name, parameters = variant
    return msgspec.convert({**parameters, **more}, RECOMMENDERS[name])


def recommend(recommender: Recommender, context: Context) -> Choice | None:
    with contextlib.suppress(NoRecommendationError):
        return recommender.recommend(context)
    return None


@pytest.fixture
def recommender(variant: tuple[str, dict[str, Any]]) -> Recommender:
    """Return every recommender in turn."""
    return make(variant)


@given(track=rows, first=rows, heard=st.sets(rows, max_size=N_TRACKS), seed=st.integers(0, 99))
def test_no_track_is_ever_repeated(track: int, first: int, heard: set[int], seed: int) -> None:
    context = make_context(
        INDEX, track=track, first=first, heard={first, *heard}, seed=seed, model=MODEL
    )
    for variant in VARIANTS.values():
        choice = recommend(make(variant), context)
        if choice is not None:
            assert choice.row not in context.heard
            assert 0 <= choice.row < N_TRACKS
            assert 0 < choice.propensity <= 1


@given(track=rows, heard=st.sets(rows), cap=st.integers(1, 4), seed=st.integers(0, 99))
def test_no_artist_exceeds_the_cap(track: int, heard: set[int], cap: int, seed: int) -> None:
    context = make_context(INDEX, track=track, heard=heard, seed=seed, model=MODEL)
    n_heard = Counter(INDEX.artists[row] for row in context.heard)
    for variant in VARIANTS.values():
        choice = recommend(make(variant, max_per_artist=cap), context)
        if choice is not None:
            assert n_heard[INDEX.artists[choice.row]] < cap


def test_same_context_gives_the_same_choice(recommender: Recommender) -> None:
    one, other = (make_context(INDEX, seed=3, model=MODEL) for _ in range(2))
    assert recommender.recommend(one) == recommender.recommend(other)


@pytest.mark.parametrize("parameters", [{}, {"max_per_artist": 2}])
def test_propensity_is_the_frequency(
    variant: tuple[str, dict[str, Any]], parameters: dict[str, Any]
) -> None:
    recommender, n = make(variant, **parameters), 8_000
    propensity: dict[int, float] = {}
    counts: Counter[int] = Counter()
    for seed in range(n):
        context = make_context(
            INDEX, track=1, first=0, heard=[2, 3, 12, 58], seed=seed, model=MODEL
        )
        choice = recommender.recommend(context)
        assert propensity.setdefault(choice.row, choice.propensity) == choice.propensity
        counts[choice.row] += 1
    # The support was seen whole, and its propensities are a distribution.
    assert sum(propensity.values()) == pytest.approx(1.0)
    if len(propensity) > 1:
        expected = [n * propensity[row] for row in counts]
        assert chisquare(list(counts.values()), expected).pvalue > 1e-4


def test_who_reads_a_model_says_that_it_is_missing(recommender: Recommender) -> None:
    context = make_context(INDEX)
    if not recommender.uses_model:
        assert recommender.recommend(context)
        return
    with pytest.raises(NoRecommendationError, match="no_model"):
        recommender.recommend(context)


def test_nothing_left_is_said(recommender: Recommender) -> None:
    context = make_context(INDEX, heard=range(N_TRACKS), model=MODEL)
    with pytest.raises(NoRecommendationError, match=NO_CANDIDATES):
        recommender.recommend(context)


def test_unknown_parameters_are_refused(variant: tuple[str, dict[str, Any]]) -> None:
    with pytest.raises(msgspec.ValidationError, match="unknown field"):
        make(variant, temperature=1)
