import numpy as np
import pytest

from analysis.core.exposures import LoggedSession, Tracks, replay
from analysis.core.off_policy import NoSupportError
from analysis.core.policy_value import (
    describe_log,
    estimate_decisions,
    estimate_sessions,
    weigh,
)
from analysis.core.reward_model import Options, predict_rewards
from analysis.core.session_value import estimate_session
from analysis.core.targets import Model, UnknownPolicyError, make_target

N_TRACKS = 6
TRACKS = Tracks(
    ids=np.arange(10, 10 + N_TRACKS, dtype=np.int32),
    artists=np.array([0, 0, 1, 1, 2, 2], np.int32),
    genres=np.array([0, 0, 0, 1, 1, 1], np.int32),
)
GOODNESS = np.array([0.9, 0.8, 0.5, 0.4, 0.1, 0.0])
BEST = Model(neighbours=np.tile(np.array([0, 1, 2], np.int32), (N_TRACKS, 1)))


def make_session(user: int, generator: np.random.Generator, n: int = 3) -> LoggedSession:
    """Play uniformly random tracks, none twice; a listener's taste shifts all rewards."""
    taste = generator.normal(0, 0.05)
    tracks = [int(generator.integers(N_TRACKS))]
    propensities: list[float | None] = []
    for _ in range(n):
        left = [row for row in range(N_TRACKS) if row not in tracks]
        tracks.append(int(generator.choice(left)))
        propensities.append(1 / len(left))
    times = [1.0, *(float(np.clip(GOODNESS[row] + taste, 0, 1)) for row in tracks[1:])]
    return LoggedSession(user, tracks, times, [*tracks[1:], None], [*propensities, None])


def make_log(n_users: int = 300, seed: int = 0) -> list[LoggedSession]:
    generator = np.random.default_rng(seed)
    return [make_session(user, generator) for user in range(n_users)]


def test_a_session_is_replayed_as_it_was_known() -> None:
    session = LoggedSession(
        7, [0, 2, 1, 5], [1.0, 0.5, 0.25, 0.0], [2, 1, 5, None], [0.2, 0.25, 0.5, None]
    )
    seen = [
        (d.step, d.first, d.last, set(d.heard), dict(d.artists), d.mean_time, d.served, d.reward)
        for d in replay(session, TRACKS)
    ]
    assert seen[0][:5] == (1, 0, 0, {0}, {0: 1})
    assert np.isnan(seen[0][5])
    assert seen[1] == (2, 0, 2, {0, 2}, {0: 1, 1: 1}, 0.5, 1, 0.25)
    assert seen[2] == (3, 0, 1, {0, 1, 2}, {0: 2, 1: 1}, 0.375, 5, 0.0)


@pytest.mark.parametrize(
    ("recommendations", "propensities", "n_known"),
    [
        ([2, 3, 5, None], [0.2, 0.25, 0.5, None], 1),  # another track was played
        ([2, 1, 5, None], [0.2, None, 0.5, None], 1),  # an unknown propensity
        ([None, None, None, None], [None] * 4, 0),
    ],
)
def test_a_session_ends_where_the_log_does_not_say_what_came_of_it(
    recommendations: list[int | None], propensities: list[float | None], n_known: int
) -> None:
    session = LoggedSession(7, [0, 2, 1, 5], [1.0, 0.5, 0.25, 0.0], recommendations, propensities)
    assert sum(1 for _ in replay(session, TRACKS)) == n_known


def test_every_estimator_finds_what_the_policy_would_earn() -> None:
    log, target = make_log(2000, seed=3), make_target("contextual", {}, tracks=TRACKS, model=BEST)
    weighed = weigh(log, target, TRACKS)
    truth = []
    for session in log:
        for decision in replay(session, TRACKS):
            choices = target.choices(decision)
            served = [row for row in range(N_TRACKS) if row in choices]
            truth.append(np.mean(GOODNESS[served]))
    estimates = estimate_decisions(weighed, TRACKS)
    assert [each.method for each in estimates] == ["ips", "snips", "clipped", "dr"]
    for estimate in estimates:
        assert estimate.lower < np.mean(truth) < estimate.upper
        assert estimate.value == pytest.approx(np.mean(truth), abs=0.02)
    widths = {each.method: each.upper - each.lower for each in estimates}
    assert widths["dr"] < widths["snips"] < widths["ips"]


def test_the_logs_own_policy_earns_what_was_logged() -> None:
    weighed = weigh(make_log(), make_target("random", {}, tracks=TRACKS, model=BEST), TRACKS)
    assert weighed.weights == pytest.approx(1.0)
    logged = describe_log(weighed, horizon=None)
    assert (logged.method, logged.value) == ("logged", pytest.approx(weighed.reward.mean()))
    first_two = describe_log(weighed, horizon=2)
    assert first_two.value == pytest.approx(2 * weighed.reward[weighed.step <= 2].mean())


def test_session_values_by_hand() -> None:
    # Weights 2 then 0.75, and 0.5 then 1: products 2, 1.5 and 0.5, 0.5.
    weights = np.tile([[2.0, 0.75], [0.5, 1.0]], (100, 1))
    reward = np.tile([[1.0, 0.4], [0.2, 0.0]], (100, 1))
    users = np.arange(200)
    ips = estimate_session(reward, weights, users=users, self_normalised=False)
    assert ips.value == pytest.approx(((2 * 1 + 1.5 * 0.4) + (0.5 * 0.2 + 0.5 * 0)) / 2)
    snips = estimate_session(reward, weights, users=users, self_normalised=True)
    assert snips.value == pytest.approx((2 * 1 + 0.5 * 0.2) / 2.5 + (1.5 * 0.4) / 2)
    assert snips.n_effective == pytest.approx(200**2 / (100 * (2.25 + 0.25)))


@pytest.mark.parametrize("horizon", [1, 2])
def test_session_values_are_what_sessions_under_the_policy_earn(horizon: int) -> None:
    top = Model(top_tracks=[0, 1, 2, 3])
    target = make_target("top_pop", {"n": 4}, tracks=TRACKS, model=top)
    weighed = weigh(make_log(6000), target, TRACKS)
    generator, earned = np.random.default_rng(1), []
    for _ in range(20_000):
        heard = [int(generator.integers(N_TRACKS))]
        for _ in range(horizon):
            heard.append(int(generator.choice([row for row in range(4) if row not in heard])))
        earned.append(GOODNESS[heard[1:]].sum())
    truth = float(np.mean(earned))
    for estimate in estimate_sessions(weighed, horizon=horizon):
        assert estimate.value == pytest.approx(truth, abs=0.03)
        assert estimate.lower - 0.02 < truth < estimate.upper + 0.02


def test_a_product_of_too_many_weights_is_refused() -> None:
    best = make_target("contextual", {"choice": "best"}, tracks=TRACKS, model=BEST)
    weighed = weigh(make_log(), best, TRACKS)
    with pytest.raises(NoSupportError, match="sessions are worth"):
        estimate_sessions(weighed, horizon=3)


def test_no_decision_is_refused() -> None:
    with pytest.raises(NoSupportError, match="no exposure"):
        weigh([], make_target("random", {}, tracks=TRACKS, model=BEST), TRACKS)


def test_a_policy_with_nothing_left_is_refused() -> None:
    log = [make_session(1, np.random.default_rng(0), n=N_TRACKS - 1)]
    everything = LoggedSession(
        1,
        [*log[0].tracks, 0],
        [*log[0].times, 0.0],
        [*log[0].tracks[1:], 0, None],
        [*log[0].propensities[:-1], 0.5, None],
    )
    with pytest.raises(UnknownPolicyError, match="nothing to serve"):
        weigh([everything], make_target("random", {}, tracks=TRACKS, model=BEST), TRACKS)


def test_rewards_are_predicted_by_models_that_have_not_seen_the_user() -> None:
    n = 500
    users = np.repeat(np.arange(n), 2)
    rows = np.tile(np.array([[0], [5]], np.int32), (n, 1))
    reward = np.where(rows[:, 0] == 0, 0.9, 0.1)
    reward[users == 7] = 0.5  # nothing of which may show in user 7's own predictions
    options = Options(
        rows=np.hstack([rows, rows[::-1], np.full_like(rows, -1)]),
        n_same_artist=np.zeros((2 * n, 3), np.int32),
        first=np.full(2 * n, 2, np.int32),
        last=np.full(2 * n, 2, np.int32),
        step=np.ones(2 * n, np.int32),
        mean_time=np.full(2 * n, np.nan),
        users=users.astype(np.int64),
    )
    predicted = predict_rewards(options, reward, TRACKS)
    assert predicted[users == 7, 0] == pytest.approx([0.9, 0.1], abs=0.02)
    assert predicted[:, 1] == pytest.approx(np.where(rows[::-1, 0] == 0, 0.9, 0.1), abs=0.02)
    assert not predicted[:, 2].any()
