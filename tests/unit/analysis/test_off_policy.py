import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from analysis.core.off_policy import (
    NoSupportError,
    effective_exposures,
    estimate_doubly_robust,
    estimate_ips,
    estimate_snips,
    importance_weights,
)

Array = npt.NDArray[np.float64]
N_TRACKS = 6
LOGGING = np.array([0.3, 0.25, 0.2, 0.1, 0.1, 0.05])
TARGET = np.array([0.05, 0.1, 0.1, 0.2, 0.25, 0.3])
REWARDS = np.array([0.1, 0.2, 0.3, 0.5, 0.7, 0.9])
TRUTH = float(TARGET @ REWARDS)


def make_log(
    seed: int, n_users: int = 200, per_user: int = 10
) -> tuple[npt.NDArray[np.int64], Array, npt.NDArray[np.int64]]:
    """Draw exposures: tracks, rewards, users; a listener's own taste shifts all their rewards."""
    generator = np.random.default_rng(seed)
    users = np.repeat(np.arange(n_users), per_user)
    tracks = generator.choice(N_TRACKS, len(users), p=LOGGING)
    taste = generator.normal(0, 0.3, n_users)[users]
    return tracks, REWARDS[tracks] + taste + generator.normal(0, 0.1, len(users)), users


def weigh(tracks: npt.NDArray[np.int64]) -> Array:
    return importance_weights(TARGET[tracks], LOGGING[tracks])


def test_estimates_by_hand() -> None:
    # rewards 1 and 3 with weights 0.5 and 1.5, a hundred times over
    reward, weights = np.tile([1.0, 3.0], 100), np.tile([0.5, 1.5], 100)
    users = np.arange(200)
    assert estimate_ips(reward, weights, users=users).value == pytest.approx((0.5 + 4.5) / 2)
    assert estimate_snips(reward, weights, users=users).value == pytest.approx(5 / 2)
    doubly = estimate_doubly_robust(
        reward,
        weights,
        predicted=np.ones(200),
        predicted_target=np.full(200, 2.0),
        users=users,
    )
    assert doubly.value == pytest.approx(2 + (0.5 * 0 + 1.5 * 2) / 2)
    assert doubly.n_effective == pytest.approx(200**2 / (100 * (0.25 + 2.25)))


def test_the_interval_of_ips_by_hand() -> None:
    # values 0.5 and 4.5 around 2.5, one per user: standard deviation 2 * sqrt(200 / 199)
    reward, weights = np.tile([1.0, 3.0], 100), np.tile([0.5, 1.5], 100)
    estimate = estimate_ips(reward, weights, users=np.arange(200))
    assert estimate.upper - estimate.value == pytest.approx(
        1.959964 * 2 * (200 / 199) ** 0.5 / 200**0.5
    )


@pytest.mark.parametrize("method", ["ips", "snips", "dr"])
def test_intervals_hold_the_truth_as_often_as_they_say(method: str) -> None:
    n_held, values = 0, []
    for seed in range(300):
        tracks, reward, users = make_log(seed)
        weights = weigh(tracks)
        if method == "dr":
            model = REWARDS + 0.1  # wrong, and no matter
            estimate = estimate_doubly_robust(
                reward,
                weights,
                predicted=model[tracks],
                predicted_target=np.full(len(tracks), TARGET @ model),
                users=users,
            )
        else:
            estimator = {"ips": estimate_ips, "snips": estimate_snips}[method]
            estimate = estimator(reward, weights, users=users)
        values.append(estimate.value)
        n_held += estimate.lower <= TRUTH <= estimate.upper
    assert np.mean(values) == pytest.approx(TRUTH, abs=0.01)
    assert 274 <= n_held <= 296  # 285 is due, standard error 3.8


def test_a_good_model_takes_noise_away() -> None:
    tracks, reward, users = make_log(1)
    weights = weigh(tracks)
    plain = estimate_ips(reward, weights, users=users)
    doubly = estimate_doubly_robust(
        reward,
        weights,
        predicted=REWARDS[tracks],
        predicted_target=np.full(len(tracks), TRUTH),
        users=users,
    )
    assert doubly.upper - doubly.lower < plain.upper - plain.lower


def test_the_serving_policy_itself_is_its_mean_reward() -> None:
    tracks, reward, users = make_log(2)
    weights = importance_weights(LOGGING[tracks], LOGGING[tracks])
    estimate = estimate_ips(reward, weights, users=users)
    assert estimate.value == pytest.approx(reward.mean())
    assert estimate.n_effective == len(tracks)
    assert estimate.unsupported_share == 0


def test_tracks_that_were_never_to_be_served_are_refused() -> None:
    tracks, reward, users = make_log(3)
    # the target spends 0.4 on tracks outside of what the log could serve
    weights = importance_weights(0.6 * TARGET[tracks], LOGGING[tracks])
    for estimator in (estimate_ips, estimate_snips):
        with pytest.raises(NoSupportError, match=r"4\d% of what the target serves"):
            estimator(reward, weights, users=users)


def test_exposures_worth_too_few_are_refused() -> None:
    weights = np.full(10_000, 1e-6)
    weights[:5] = 2000.0
    with pytest.raises(NoSupportError, match="worth 5 of the target's own"):
        estimate_ips(np.ones(10_000), weights, users=np.arange(10_000))


def test_nothing_and_a_single_user_are_refused() -> None:
    with pytest.raises(NoSupportError, match="no exposure"):
        estimate_ips(np.empty(0), np.empty(0), users=np.empty(0, dtype=np.int64))
    with pytest.raises(NoSupportError, match="one user"):
        estimate_ips(np.ones(200), np.ones(200), users=np.zeros(200, dtype=np.int64))


@pytest.mark.parametrize(
    ("target", "propensity", "fault"),
    [
        ([0.5], [0.0], "propensity"),
        ([0.5], [1.5], "propensity"),
        ([0.5], [float("nan")], "propensity"),
        ([-0.1], [0.5], "target"),
        ([float("nan")], [0.5], "target"),
        ([0.5, 0.5], [0.5], "shape"),
    ],
)
def test_what_is_no_probability_is_refused(
    target: list[float], propensity: list[float], fault: str
) -> None:
    with pytest.raises(ValueError, match=fault):
        importance_weights(np.array(target), np.array(propensity))


def test_weights_are_clipped() -> None:
    weights = importance_weights(np.array([1.0, 0.1]), np.array([0.01, 0.1]), clip=10)
    assert weights.tolist() == [10, 1]


@given(st.lists(st.floats(0.01, 100), min_size=1))
def test_effective_exposures_are_between_one_and_all(weights: list[float]) -> None:
    n_effective = effective_exposures(np.array(weights))
    assert 1 - 1e-9 <= n_effective <= len(weights) * (1 + 1e-9)
