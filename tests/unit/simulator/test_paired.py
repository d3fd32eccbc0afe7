"""The paired comparison."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulator.core.paired import compare_pairs


def test_the_paired_error_is_that_of_the_differences() -> None:
    before = np.array([1.0, 4.0, 2.0, 8.0])
    after = np.array([2.0, 5.0, 4.0, 8.0])
    compared = compare_pairs(np.arange(4, dtype=np.int32), before, after)
    effect = compared.difference
    assert effect.estimate == pytest.approx(1.0)
    error = (after - before).std(ddof=1) / 2
    assert effect.standard_error == pytest.approx(error)
    assert effect.upper - effect.lower == pytest.approx(2 * 1.959964 * error, rel=1e-6)
    unpaired = math.sqrt((before.var(ddof=1) + after.var(ddof=1)) / 4)
    assert effect.unpaired_error == pytest.approx(unpaired)
    assert effect.variance_reduction == pytest.approx(1 - (error / unpaired) ** 2)
    assert (compared.better, compared.same, compared.worse) == (0.75, 0.25, 0.0)
    assert compared.ratio[0] == pytest.approx((2 * 5 * 4 * 8 / (1 * 4 * 2 * 8)) ** 0.25)
    assert compared.geometric_after / compared.geometric_before == pytest.approx(compared.ratio[0])


def test_sessions_of_one_user_are_not_independent() -> None:
    rng = np.random.default_rng(0)
    users = np.repeat(np.arange(200, dtype=np.int32), 10)
    before = rng.uniform(1, 3, 2_000)
    after = before + rng.normal(0, 1, 200)[users] + 3  # the effect is the user's
    clustered = compare_pairs(users, before, after).difference.standard_error
    naive = compare_pairs(np.arange(2_000, dtype=np.int32), before, after).difference.standard_error
    assert clustered == pytest.approx(naive * math.sqrt(10), rel=0.15)
    assert clustered == pytest.approx(1 / math.sqrt(200), rel=0.15)


def test_the_interval_covers_the_effect_as_often_as_it_says() -> None:
    rng = np.random.default_rng(1)
    n_covered = 0
    for _ in range(400):
        users = rng.integers(0, 100, 300).astype(np.int32)
        before = rng.exponential(2, 300) + 1
        noise = rng.normal(0, 1, 300) + rng.normal(0, 0.5, 100)[users]
        effect = compare_pairs(users, before, before * np.exp(0.5 + noise)).log_ratio
        n_covered += effect.lower <= 0.5 <= effect.upper
    assert 0.91 <= n_covered / 400 <= 0.98


@given(
    st.lists(
        st.tuples(st.integers(0, 5), st.floats(1, 100), st.floats(1, 100)), min_size=2, max_size=40
    ).filter(lambda rows: len({user for user, _, _ in rows}) > 1)
)
def test_turning_the_sides_around_turns_the_effect_around(
    rows: list[tuple[int, float, float]],
) -> None:
    users = np.array([row[0] for row in rows], dtype=np.int32)
    before, after = (np.array([row[i] for row in rows]) for i in (1, 2))
    there, back = compare_pairs(users, before, after), compare_pairs(users, after, before)
    assert there.difference.estimate == pytest.approx(-back.difference.estimate)
    assert there.difference.lower == pytest.approx(-back.difference.upper)
    assert there.better == back.worse
    assert there.ratio[0] * back.ratio[0] == pytest.approx(1.0)


def test_nothing_changed_is_no_effect_without_doubt() -> None:
    times = np.array([1.0, 2.0, 5.0])
    compared = compare_pairs(np.arange(3, dtype=np.int32), times, times)
    assert compared.difference.estimate == compared.difference.standard_error == 0.0
    assert compared.difference.variance_reduction == 1.0
    assert compared.same == 1.0


@pytest.mark.parametrize("users", [[], [3, 3, 3]])
def test_one_user_is_not_enough(users: list[int]) -> None:
    times = np.ones(len(users))
    with pytest.raises(ValueError, match="two users"):
        compare_pairs(np.array(users, dtype=np.int32), times, times)
