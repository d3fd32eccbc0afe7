"""Where a taste starts, held against joint normals conditioned as matrices."""

import msgspec
import numpy as np
import numpy.typing as npt
import pytest
from scipy.stats import multivariate_normal

from services.recommender.core.session_start import recall, start
from services.recommender.core.taste_model import TasteModel, make_taste_model
from tests.unit.recommender.factories import make_index, make_taste_arrays

INDEX = make_index()
MODEL = make_taste_model(make_taste_arrays(), artists=INDEX.artist_rows, n_artists=10)
D = len(MODEL.covariance)
USER_7, USER_8 = 0, 1  # rows


def at(model: TasteModel, first: int, anchor: npt.ArrayLike) -> TasteModel:
    anchors = model.anchors.copy()
    anchors[first] = anchor
    return msgspec.structs.replace(model, anchors=anchors)


def test_the_start_is_the_moments_of_slope_times_interest_and_offset() -> None:
    rng, n = np.random.default_rng(0), 400_000
    s, o, var_s, cov_so, var_o = MODEL.listeners[0]
    interest = rng.multivariate_normal(*recall(MODEL, row=USER_7, first=3), n)
    both = rng.multivariate_normal([s, o], [[var_s, cov_so], [cov_so, var_o]], n)
    state = np.column_stack([both[:, :1] * interest, both[:, 1]])
    taste = start(MODEL, user=7, first=3)
    assert taste.mean == pytest.approx(state.mean(axis=0), abs=0.03)
    assert taste.covariance == pytest.approx(np.cov(state.T), abs=0.05)


def test_an_unknown_user_starts_at_the_anchor() -> None:
    belief = recall(MODEL, row=-1, first=3)
    assert belief.mean == pytest.approx(MODEL.anchors[3].astype(float))
    assert belief.covariance == pytest.approx(MODEL.covariance)


@pytest.mark.parametrize("k", [0, 1])
def test_a_first_track_near_a_past_interest_recalls_it(k: int) -> None:
    past = MODEL.interests.mean[k].astype(float)
    belief = recall(at(MODEL, 3, past), row=USER_7, first=3)
    # The first track as a measurement of i with the noise that its anchor's covariance implies.
    prior = np.diag(MODEL.interests.prior_variance)
    noise = np.linalg.inv(np.linalg.inv(MODEL.covariance) - np.linalg.inv(prior))
    gain = prior @ np.linalg.inv(prior + noise)
    mean = MODEL.interests.prior_mean
    measured = mean + np.linalg.solve(gain, past - mean)
    variance = np.minimum(2 * MODEL.interests.variance[k], MODEL.interests.prior_variance)
    kept = np.diag(variance) @ np.linalg.inv(np.diag(variance) + noise)
    assert belief.mean == pytest.approx(past + kept @ (measured - past), abs=1e-6)
    assert belief.covariance == pytest.approx((np.eye(D) - kept) @ np.diag(variance), abs=1e-6)


def test_evidence_chooses_between_past_interests_and_a_new_one() -> None:
    interests = MODEL.interests
    prior = np.diag(interests.prior_variance)
    noise = np.linalg.inv(np.linalg.inv(MODEL.covariance) - np.linalg.inv(prior))
    gain = prior @ np.linalg.inv(prior + noise)
    rng = np.random.default_rng(4)
    seen = set()
    for _ in range(60):
        anchor = interests.prior_mean + 1.5 * rng.normal(size=D)
        measured = interests.prior_mean + np.linalg.solve(gain, anchor - interests.prior_mean)
        options = [(interests.prior_mean, interests.prior_variance)]
        options += [
            (m.astype(float), np.minimum(2 * v, interests.prior_variance))
            for m, v in zip(interests.mean[:2], interests.variance[:2], strict=True)
        ]
        scores = [
            multivariate_normal.logpdf(measured, mean, np.diag(variance) + noise)
            for mean, variance in options
        ]  # a user with two interests has one more at most: all three count alike
        expected = int(np.argmax(scores))
        belief = recall(at(MODEL, 3, anchor), row=USER_7, first=3)
        is_new = np.allclose(belief.mean, anchor, atol=1e-5)
        assert is_new == (expected == 0)
        seen.add(expected)
    assert len(seen) > 1


def test_a_past_interest_is_its_owners_alone() -> None:
    past = MODEL.interests.mean[0]
    own, other = (recall(at(MODEL, 3, past), row=row, first=3) for row in (USER_7, USER_8))
    assert np.trace(own.covariance) < np.trace(other.covariance)
