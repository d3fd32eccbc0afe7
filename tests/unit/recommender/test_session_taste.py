"""The filter, held against what it is an approximation of, or exactly equal to."""

import math

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.integrate import quad
from scipy.special import expit
from scipy.stats import norm

from services.recommender.core.session_candidates import (
    collect,
    draw_candidates,
    expected_times,
)
from services.recommender.core.session_start import start
from services.recommender.core.session_taste import (
    Taste,
    observe,
    read_time,
    truncate,
)
from services.recommender.core.taste_model import TasteModel, make_taste_model
from tests.unit.recommender.factories import N_TRACKS, make_index, make_taste_arrays

INDEX = make_index()
MODEL = make_taste_model(make_taste_arrays(), artists=INDEX.artist_rows, n_artists=10)
D = len(MODEL.covariance)


def play(taste: Taste, plays: list[tuple[int, float, int]], model: TasteModel = MODEL) -> Taste:
    for track, time, n_same in plays:
        taste = observe(model, taste, track=track, time=time, n_same_artist=n_same)
    return taste


def test_unknown_users_are_the_last_listener() -> None:
    assert start(MODEL, user=999, first=3).mean[D] == np.float32(MODEL.listeners[-1, 1])


def test_exact_times_give_the_bayesian_linear_regression() -> None:
    plays = [(1, 0.31, 0), (2, 0.64, 0), (12, 0.22, 1), (30, 0.5, 0), (22, 0.4, 2)]
    prior = start(MODEL, user=7, first=0)
    taste = play(prior, plays)
    design = MODEL.tracks[[track for track, *_ in plays]].astype(float)
    seen = [read_time(time, 0.8**n) for _, time, n in plays]
    assert all(one.side == 0 for one in seen)
    noise = np.array([MODEL.variance[t] + MODEL.noise for t, *_ in plays])
    weights = 1 / (noise + [one.variance for one in seen])
    before = np.linalg.inv(prior.covariance.astype(float))
    covariance = np.linalg.inv(before + (design.T * weights) @ design)
    logits = np.array([one.logit for one in seen])
    mean = covariance @ (before @ prior.mean + design.T @ (weights * logits))
    assert taste.mean == pytest.approx(mean, abs=2e-4)
    assert taste.covariance == pytest.approx(covariance, abs=2e-4)


@given(st.floats(-6, 6), st.floats(0.05, 9), st.floats(-6, 6), st.sampled_from([-1, 1]))
def test_truncated_moments_are_the_integrals(
    mean: float, variance: float, bound: float, side: int
) -> None:
    deviation = math.sqrt(variance)
    alpha = side * (mean - bound) / deviation
    if alpha < -6:  # quadrature, not the formula, fails here
        return
    lower, upper = (bound, bound + 12 * deviation + abs(mean - bound))
    if side < 0:
        lower, upper = 2 * bound - upper, bound
    points = [mean] if lower < mean < upper else None

    def moment(power: int, centre: float) -> float:
        def f(x: float) -> float:
            return float((x - centre) ** power * norm.pdf(x, mean, deviation))

        return float(quad(f, lower, upper, points=points, limit=400)[0])

    mass = moment(0, 0.0)
    expected = moment(1, 0.0) / mass
    got_mean, got_variance = truncate(mean, variance, bound, side)
    assert got_mean == pytest.approx(expected, abs=1e-5)
    assert got_variance == pytest.approx(max(moment(2, expected) / mass, 1e-3 * variance), rel=1e-3)


@pytest.mark.parametrize("side", [-1, 1])
def test_bounds_far_away_neither_overflow_nor_learn(side: int) -> None:
    mean, variance = truncate(0.0, 1.0, -1e6 * side, side)
    assert (mean, variance) == pytest.approx((0.0, 1.0))
    assert all(map(math.isfinite, truncate(0.0, 1.0, 1e6 * side, side)))


@pytest.mark.parametrize(
    ("time", "n_same", "side"), [(0.0, 0, -1), (1.0, 0, 1), (0.8, 1, 1), (0.79, 1, 0), (0.5, 0, 0)]
)
def test_times_at_an_end_of_the_scale_are_bounds(time: float, n_same: int, side: int) -> None:
    seen = read_time(time, 0.8**n_same)
    assert seen.side == side
    if side:
        return
    assert expit(seen.logit) * 0.8**n_same == pytest.approx(time)


def test_saturated_times_move_the_logit_outwards_and_narrow_it() -> None:
    taste = start(MODEL, user=7, first=0)
    row = MODEL.tracks[5].astype(float)
    for time, sign in ((0.0, -1), (1.0, 1)):
        after = play(taste, [(5, time, 0)])
        assert sign * (row @ after.mean - row @ taste.mean) > 0
        assert row @ after.covariance @ row < row @ taste.covariance @ row


def test_a_time_without_information_is_not_learnt_from() -> None:
    taste = start(MODEL, user=7, first=0)
    assert play(taste, [(5, 0.01, 18)]) is taste


@given(
    st.lists(
        st.tuples(st.integers(0, N_TRACKS - 1), st.integers(0, 100), st.integers(0, 5)),
        max_size=60,
    )
)
def test_covariances_stay_symmetric_and_positive(plays: list[tuple[int, int, int]]) -> None:
    taste = play(start(MODEL, user=8, first=0), [(t, time / 100, n) for t, time, n in plays])
    assert np.isfinite(taste.mean).all()
    assert (taste.covariance == taste.covariance.T).all()
    assert np.linalg.eigvalsh(taste.covariance.astype(float)).min() > -1e-4


def test_candidates_are_the_best_unplayed_by_the_mean() -> None:
    taste = start(MODEL, user=7, first=0)
    scores = MODEL.tracks @ taste.mean + np.float32(0.5) * np.sqrt(MODEL.variance)
    played = np.array([0, int(scores.argmax())], np.int32)
    rows = draw_candidates(MODEL, taste, played=played, n=9, bonus=0.5)
    order = [row for row in np.argsort(-scores) if row not in played]
    assert rows.tolist() == sorted(order[:9])


@given(st.integers(1, 700), st.integers(1, 700), st.integers(1, 9), st.integers(0, 999))
def test_candidates_are_the_best_of_any_catalogue(
    n: int, size: int, levels: int, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    tracks = rng.integers(-levels, levels, (size, D + 1)).astype(np.float32)  # ties, too
    model = msgspec.structs.replace(MODEL, tracks=tracks, variance=np.ones(size, np.float32))
    mean = rng.integers(-3, 3, D + 1).astype(np.float32)
    played = np.unique(rng.integers(0, size, size // 3)).astype(np.int32)
    taste = Taste(mean, np.eye(D + 1, dtype=np.float32))
    rows = draw_candidates(model, taste, played=played, n=n, bonus=0.0)
    scores = tracks @ mean
    order = [row for row in np.lexsort((np.arange(size), -scores)) if row not in played]
    assert rows.tolist() == sorted(order[:n])


@pytest.mark.parametrize("n_played", [0, 55, N_TRACKS])
def test_a_small_catalogue_has_fewer_candidates(n_played: int) -> None:
    taste = start(MODEL, user=7, first=0)
    played = np.arange(n_played, dtype=np.int32)
    rows = draw_candidates(MODEL, taste, played=played, n=100, bonus=0.0)
    assert rows.tolist() == list(range(n_played, N_TRACKS))


def test_equal_tracks_are_candidates_in_order_of_rows() -> None:
    flat = msgspec.structs.replace(MODEL, tracks=np.ones_like(MODEL.tracks))
    taste = start(MODEL, user=7, first=0)
    rows = draw_candidates(flat, taste, played=np.array([1], np.int32), n=3, bonus=0.0)
    assert rows.tolist() == [0, 2, 3]


def test_expected_times_are_the_sigmoids_mean_times_the_discount() -> None:
    taste = start(MODEL, user=7, first=0)
    rows = np.array([4, 5], np.int32)
    got = expected_times(
        MODEL, taste, collect(MODEL, rows, bonus=0.0), n_same_artist=np.array([0, 3])
    )
    for value, row, discount in zip(got, rows, (1.0, 0.8**3), strict=True):
        logit, deviation = float(MODEL.tracks[row] @ taste.mean), math.sqrt(MODEL.variance[row])
        exact = quad(lambda z, m=logit, s=deviation: expit(z) * norm.pdf(z, m, s), -20, 20)[0]
        assert value == pytest.approx(discount * exact, abs=0.005)


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("track_embedding", lambda a: a[1:]),
        ("track_variance", lambda a: -a),
        ("track_variance", lambda a: a[1:]),
        ("context_embedding", lambda a: a[1:]),
        ("interest_prior", lambda a: a[1:]),
        ("interest_embedding", lambda a: a[1:]),
        ("interest_variance", lambda a: -a),
        ("session_covariance", lambda a: a[1:]),
        ("user_listener", lambda a: a[1:]),
        ("session_constants", lambda a: a * 2),
    ],
)
def test_arrays_that_do_not_fit_are_refused(name: str, change: object) -> None:
    arrays = make_taste_arrays()
    arrays[name] = change(arrays[name])  # type: ignore[operator]
    with pytest.raises(ValueError, match=r"has the shape|impossible"):
        make_taste_model(arrays, artists=INDEX.artist_rows, n_artists=10)
    del arrays[name]
    with pytest.raises(ValueError, match=f"lacks {name}"):
        make_taste_model(arrays, artists=INDEX.artist_rows, n_artists=10)
