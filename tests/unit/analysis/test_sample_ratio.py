import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from analysis.core.sample_ratio import InvalidWeightsError, check_sample_ratio


def test_chi_square_by_hand() -> None:
    ratio = check_sample_ratio({"C": 60, "T1": 40})
    # (10**2 / 50) * 2 = 4 with one degree of freedom
    assert ratio.p_value == pytest.approx(math.erfc(math.sqrt(4 / 2)))
    assert ratio.expected == {"C": 50, "T1": 50}
    assert not ratio.mismatch


def test_a_broken_split_is_a_mismatch() -> None:
    assert check_sample_ratio({"C": 5200, "T1": 4800}).mismatch


def test_weights_say_what_is_due() -> None:
    users = {"C": 900, "T1": 100}
    assert check_sample_ratio(users).mismatch
    assert check_sample_ratio(users, {"C": 9, "T1": 1}).p_value == pytest.approx(1)


def test_an_arm_without_users_counts_when_it_has_a_weight() -> None:
    assert check_sample_ratio({"C": 100}, {"C": 1, "T1": 1}).mismatch


def test_one_arm_is_not_checked() -> None:
    ratio = check_sample_ratio({"C": 10})
    assert ratio.p_value is None
    assert not ratio.mismatch


@pytest.mark.parametrize("weights", [{"C": 1.0}, {"C": 1.0, "T1": 0.0}, {"C": 1.0, "T1": -1.0}])
def test_impossible_weights_are_refused(weights: dict[str, float]) -> None:
    with pytest.raises(InvalidWeightsError):
        check_sample_ratio({"C": 1, "T1": 1}, weights)


@given(
    st.dictionaries(st.sampled_from(["C", "T1", "T2", "T3"]), st.integers(0, 10**6), min_size=2),
    st.integers(2, 100),
)
def test_only_the_ratio_of_weights_matters(users: dict[str, int], factor: int) -> None:
    weights = {name: 1.0 + index for index, name in enumerate(users)}
    scaled = {name: weight * factor for name, weight in weights.items()}
    one, other = check_sample_ratio(users, weights), check_sample_ratio(users, scaled)
    assert one.p_value == pytest.approx(other.p_value, abs=1e-9)
    assert sum(one.expected.values()) == pytest.approx(sum(users.values()))
