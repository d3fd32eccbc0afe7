"""Means, intervals and ratios."""

import numpy as np
import pytest

from deploy.loop.measures import Measured, divide, find_treated, measure, split_day
from deploy.loop.plan import TREATMENT, Plan
from deploy.loop.plays import Visits


def test_sessions_of_different_users_have_the_usual_interval() -> None:
    times = np.random.default_rng(0).exponential(10, 500)
    got = measure(times, np.arange(500, dtype=np.int32))
    assert got.value == pytest.approx(times.mean())
    assert got.median == np.median(times)
    assert got.n_sessions == 500
    assert got.margin == pytest.approx(1.96 * times.std(ddof=1) / 500**0.5, rel=1e-4)


def test_sessions_of_one_user_count_together() -> None:
    # Every user twice, with the same time: as much is known as from one session each.
    times = np.random.default_rng(0).exponential(10, 500)
    users = np.arange(500, dtype=np.int32)
    once, twice = measure(times, users), measure(np.tile(times, 2), np.tile(users, 2))
    assert twice.value == pytest.approx(once.value)
    assert twice.margin == pytest.approx(once.margin)


def test_intervals_hold_the_truth_as_often_as_they_say() -> None:
    rng = np.random.default_rng(1)
    users = np.repeat(np.arange(200, dtype=np.int32), 3)
    hits = 0
    for _ in range(400):
        own = rng.normal(size=200)[users]  # what a user's sessions have in common
        got = measure(5 + own + rng.normal(size=600), users)
        hits += abs(got.value - 5) < got.margin
    assert 0.92 < hits / 400 < 0.98


def test_a_ratios_interval_holds_the_truth_as_often_as_it_says() -> None:
    rng = np.random.default_rng(2)
    users = np.arange(400, dtype=np.int32)
    hits = 0
    for _ in range(400):
        ratio = divide(
            measure(rng.exponential(30, 400), users), measure(rng.exponential(2, 400), users)
        )
        hits += abs(ratio.value - 15) < ratio.margin
    assert 0.92 < hits / 400 < 0.98


def test_a_ratio_has_neither_median_nor_sessions() -> None:
    assert divide(Measured(6, 0.6, 1, 2), Measured(2, 0.0, 1, 2)) == Measured(3, pytest.approx(0.3))


def test_the_arms_are_those_of_the_assignment() -> None:
    experiments = Plan().experiments()
    users = np.arange(300, dtype=np.int32)
    expected = [experiments.assign(user, 0).treatment.name == TREATMENT for user in users.tolist()]
    assert find_treated(users, experiments).tolist() == expected
    times = np.where(expected, 9.0, 2.0)
    visits = Visits(users=users, times=times, lengths=np.ones(300, np.int32))
    control, treatment = split_day(visits, experiments)
    assert (control.value, treatment.value) == (2.0, 9.0)
    assert (control.n_sessions, treatment.n_sessions) == (300 - sum(expected), sum(expected))
