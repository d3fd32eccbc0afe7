"""Later sessions are held out whole, and their plays predicted from the arrays that serve."""

import numpy as np
import pytest

from services.recommender.core.session_start import start
from services.recommender.core.taste_model import make_taste_model
from services.trainer.core.errors import TrainingError
from services.trainer.core.held_out import collect_plays, find_cut
from services.trainer.core.playbacks import make_log
from services.trainer.core.prediction import predict_times
from shared.catalog import Catalog, Track, make_catalog
from tests.unit.trainer.logs import make_playbacks


def make_small_catalog() -> Catalog:
    return make_catalog(Track(track=10 * row, artist="ab"[row % 2], title="t") for row in range(6))


def test_plays_that_say_nothing_of_taste_are_left_out() -> None:
    rows = [(1, 0, 5, 10, 1.0, 1), (1, 1, 5, 20, 0.5, 2), (1, 2, 5, 40, 0.25, 3)]
    rows += [(1, 3, 5, 20, 0.0, 4), (1, 4, 5, 10, 0.0, 5), (1, 5, 5, 99, 0.5, 6)]
    rows += [(2, 1, 6, 20, 0.5, 7), (3, 0, 6, 99, 1.0, 8), (3, 1, 6, 20, 0.5, 9)]  # no head
    plays = collect_plays(make_log(make_playbacks(rows)), make_small_catalog())
    assert plays.anchors.tolist() == [1, 1]
    assert plays.tracks.tolist() == [2, 4]
    assert plays.users.tolist() == [5, 5]
    assert plays.n_earlier.tolist() == [0, 1]  # 20 and 40 are of artist a, 10 is of b


@pytest.mark.parametrize(
    ("n_sessions", "share", "n_least", "expected"),
    [(100, 0.1, 1, 90), (100, 0.1, 20, 80), (3, 0.1, 1, 2), (3, 0.5, 1, 1)],
)
def test_the_cut_leaves_a_share_behind_it(
    n_sessions: int, share: float, n_least: int, expected: int
) -> None:
    sessions = np.repeat(np.arange(n_sessions, dtype=np.int32), 3)
    assert find_cut(sessions, held_out=share, n_least=n_least) == expected


def test_a_log_too_small_to_hold_out_from_is_refused() -> None:
    with pytest.raises(TrainingError, match="one session only"):
        find_cut(np.zeros(4, np.int32), held_out=0.1, n_least=1)
    with pytest.raises(TrainingError, match="2 sessions only"):
        find_cut(np.arange(2, dtype=np.int32), held_out=0.1, n_least=2)


def test_sessions_before_and_after_a_cut_make_up_the_log() -> None:
    rows = [(s, p, s, 10 * p, 1.0, 10 * s + p) for s in range(4) for p in range(3)]
    log = make_log(make_playbacks(rows))
    early, plays = log.before(3), collect_plays(log, make_small_catalog())
    assert (early.n_sessions, len(early), early.n_users) == (3, 9, 3)
    assert set(plays.since(3).sessions.tolist()) == {3}
    assert log.start_of(3) == 30


def test_a_pair_version_predicts_its_scores_as_fractions() -> None:
    rows = [(1, 0, 5, 0, 1.0, 1)] + [(1, p, 5, 10 * p, 0.5, 2) for p in (1, 2, 3)]
    plays = collect_plays(make_log(make_playbacks(rows)), make_small_catalog())
    context, target = np.zeros((6, 2), np.float32), np.zeros((6, 2), np.float32)
    context[0] = (1, 1)
    target[1:4] = [(0.25, 0.25), (1, 1), (-1, 0)]
    predicted = predict_times({"context_embedding": context, "track_embedding": target}, plays)
    assert predicted is not None
    assert predicted.tolist() == [0.5, 1.0, 0.0]
    assert predict_times({"neighbours": np.zeros((6, 1), np.int32)}, plays) is None


def test_a_session_version_predicts_what_the_recommender_believes_at_the_start() -> None:
    rng, catalog, d = np.random.default_rng(0), make_small_catalog(), 3
    spread = rng.normal(size=(d, d))
    floats = {
        "track_embedding": rng.normal(size=(6, d)),
        "track_variance": rng.uniform(0.1, 1, 6),
        "context_embedding": rng.normal(size=(6, d)),
        "interest_prior": np.ones((2, d)),
        "interest_embedding": np.empty((0, d)),
        "interest_variance": np.empty((0, d)),
        "session_covariance": spread @ spread.T,
        "session_constants": np.array([0.8, 0.3]),
        "user_listener": np.array([[1.2, 3, 0.2, 0.1, 2], [1.0, 1, 0.1, 0.0, 4]]),
    }
    arrays = {name: value.astype(np.float32) for name, value in floats.items()}
    arrays |= {"user_ids": np.array([5], np.int32), "interest_users": np.empty(0, np.int32)}
    rows = [(1, 0, 5, 10, 1.0, 1), (1, 1, 5, 20, 0.5, 2), (1, 2, 5, 40, 0.25, 3)]
    rows += [(2, 0, 6, 30, 1.0, 4), (2, 1, 6, 20, 0.5, 5)]  # a listener that it does not know
    plays = collect_plays(make_log(make_playbacks(rows)), catalog)
    predicted = predict_times(arrays, plays)
    assert predicted is not None
    model = make_taste_model(arrays, artists=catalog.artist_rows, n_artists=2)
    for i, (user, first, track, discount) in enumerate(
        [(5, 1, 2, 1.0), (5, 1, 4, 0.8), (6, 3, 2, 1.0)]
    ):
        taste, row = start(model, user=user, first=first), model.tracks[track].astype(np.float64)
        variance = row @ taste.covariance @ row + model.variance[track] + model.noise
        logit = float(taste.mean @ row) / np.sqrt(1 + np.pi / 8 * variance)
        assert predicted[i] == pytest.approx(discount / (1 + np.exp(-logit)), rel=1e-4)
