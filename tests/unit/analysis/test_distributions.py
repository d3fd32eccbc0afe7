"""Tails and quantiles against scipy's."""

import math

import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st

from analysis.core.distributions import (
    chi_square_tail,
    kolmogorov_tail,
    normal_critical,
    normal_tail,
    student_critical,
    student_two_tails,
)

degrees = st.floats(0, 9).map(lambda power: 10**power)  # few and many alike
levels = st.floats(-12, -0.001).map(lambda power: 10**power)


@given(value=st.floats(-30, 30))
def test_the_normal_tail_is_scipys(value: float) -> None:
    assert normal_tail(value) == pytest.approx(scipy.stats.norm.sf(value), rel=1e-12)


@given(alpha=levels)
def test_the_normal_critical_value_is_scipys(alpha: float) -> None:
    assert normal_critical(alpha) == pytest.approx(scipy.stats.norm.isf(alpha), rel=1e-9, abs=1e-12)


@given(value=st.floats(-6, 3).map(lambda power: 10**power), n_free=degrees)
def test_students_tails_are_scipys(value: float, n_free: float) -> None:
    expected = 2 * scipy.stats.t.sf(value, n_free)
    # The smaller, the less does a decision depend on it.
    precision = 1e-10 if expected > 1e-30 else 1e-6
    assert student_two_tails(value, n_free) == pytest.approx(expected, rel=precision, abs=1e-290)


@given(alpha=levels, n_free=degrees)
def test_students_critical_value_is_scipys(alpha: float, n_free: float) -> None:
    expected = scipy.stats.t.isf(alpha / 2, n_free)
    assert student_critical(alpha, n_free) == pytest.approx(expected, rel=1e-10)


def test_students_tails_have_a_closed_form_with_one_and_two_degrees() -> None:
    for value in (0.3, 1.0, 12.0, 1e150):
        cauchy = 1 - 2 / math.pi * math.atan(value)
        assert student_two_tails(value, 1) == pytest.approx(cauchy, abs=1e-15)
        root = math.sqrt(1 + 2 / value / value)
        assert student_two_tails(-value, 2) == pytest.approx(1 - 1 / root, abs=1e-15)


@pytest.mark.parametrize("n_free", [0.5, 1.0, 30.0, 1e6])
def test_nothing_is_certain_and_infinity_is_never_exceeded(n_free: float) -> None:
    assert student_two_tails(0.0, n_free) == 1
    assert student_two_tails(-math.inf, n_free) == 0
    assert student_two_tails(1e300, n_free) < 1e-100


@given(value=st.one_of(st.just(0.0), st.floats(1e-6, 1000)), n_free=st.integers(1, 40))
def test_the_chi_square_tail_is_scipys(value: float, n_free: int) -> None:
    expected = scipy.stats.chi2.sf(value, n_free)
    assert chi_square_tail(value, n_free) == pytest.approx(expected, rel=1e-11)


@given(share=st.floats(0, 1), n_values=st.integers(100, 5000))
def test_the_kolmogorov_tail_is_near_the_exact_one(share: float, n_values: int) -> None:
    distance = 2.2 * share / math.sqrt(n_values)
    expected = scipy.stats.kstwo.sf(distance, n_values)
    assert kolmogorov_tail(distance, n_values) == pytest.approx(expected, abs=0.015, rel=0.1)
    if expected < 0.05:  # where it is read
        assert kolmogorov_tail(distance, n_values) == pytest.approx(expected, rel=0.03)
