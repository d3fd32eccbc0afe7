import math

import numpy as np
import pytest
import scipy.stats
import tea_tasting as tt
from hypothesis import given
from hypothesis import strategies as st
from tea_tasting.aggr import Aggregates

from analysis.core.effects import Effect, estimate_effect
from analysis.core.moments import MetricAggregate


def aggregate(values: list[float]) -> MetricAggregate:
    return MetricAggregate(
        len(values), float(np.mean(values)), float(np.var(values, ddof=1)) if values[1:] else None
    )


def effect_of(control: MetricAggregate, treated: MetricAggregate, alpha: float = 0.05) -> Effect:
    return estimate_effect(control, treated, treatment="T1", metric="time", alpha=alpha)


def test_effect_by_hand() -> None:
    effect = effect_of(MetricAggregate(4, 10.0, 4.0), MetricAggregate(4, 12.0, 4.0))

    # difference 2, standard error sqrt(4/4 + 4/4): t = sqrt(2) with 6 degrees of freedom, for
    # which P(|T| > t) = 1 - s (1 + c/2 + 3/8 c**2), s**2 = t**2/(t**2+6) = 1/4, c = 1 - s**2 = 3/4
    assert effect.p_value == pytest.approx(1 - 0.5 * (1 + 0.75 / 2 + 0.375 * 0.75**2))
    assert effect.significant is False
    assert effect.effect_pct == pytest.approx(20)
    # log ratio: variance 4/4/10**2 + 4/4/12**2 = 0.0169444, 5.81 degrees of freedom, t = 2.4664
    half = 2.4664 * math.sqrt(0.0169444)
    assert effect.lower_pct == pytest.approx(100 * (1.2 * math.exp(-half) - 1), abs=0.05)
    assert effect.upper_pct == pytest.approx(100 * (1.2 * math.exp(half) - 1), abs=0.05)
    assert (effect.n_control, effect.n_treatment, effect.reason) == (4, 4, None)


def test_p_value_is_that_of_scipys_welch_test() -> None:
    generator = np.random.default_rng(1)
    control, treated = generator.exponential(2, 50), generator.exponential(3, 80)

    effect = effect_of(aggregate(list(control)), aggregate(list(treated)))

    expected = scipy.stats.ttest_ind(treated, control, equal_var=False)
    assert effect.p_value == pytest.approx(expected.pvalue)
    assert effect.significant is bool(expected.pvalue < 0.05)


def test_significance_follows_alpha() -> None:
    control, treated = MetricAggregate(50, 10.0, 4.0), MetricAggregate(50, 10.9, 4.0)
    assert effect_of(control, treated, alpha=0.05).significant is True
    assert effect_of(control, treated, alpha=0.01).significant is False
    narrow, wide = effect_of(control, treated, alpha=0.1), effect_of(control, treated, alpha=0.01)
    assert narrow.lower_pct is not None
    assert wide.lower_pct is not None
    assert wide.lower_pct < narrow.lower_pct


def test_interval_includes_the_variance_of_the_control() -> None:
    treated = MetricAggregate(1000, 20.0, 1.0)
    calm = effect_of(MetricAggregate(1000, 10.0, 1.0), treated)
    noisy = effect_of(MetricAggregate(1000, 10.0, 100.0), treated)

    # botify's: the interval of the difference over the control mean, at 1.96 standard errors
    botify_half_width = 100 * 1.96 * math.sqrt(100 / 1000 + 1 / 1000) / 10
    assert calm.upper_pct is not None
    assert noisy.upper_pct is not None
    assert noisy.upper_pct - 100 > 1.8 * botify_half_width
    assert calm.upper_pct < noisy.upper_pct


def test_interval_covers_the_true_ratio_as_often_as_it_says() -> None:
    generator = np.random.default_rng(7)
    n_trials, covered = 400, 0
    for _ in range(n_trials):
        control, treated = generator.gamma(2, 1, 200), generator.gamma(2, 1.5, 200)
        effect = effect_of(aggregate(list(control)), aggregate(list(treated)))
        assert effect.lower_pct is not None
        assert effect.upper_pct is not None
        covered += effect.lower_pct <= 50 <= effect.upper_pct
    # 95% of 400 is 380, standard error 4.4
    assert 364 <= covered <= 395


@pytest.mark.parametrize(
    ("control", "treated", "reason"),
    [
        (MetricAggregate(0), MetricAggregate(5, 1.0, 1.0), "no user in the control"),
        (MetricAggregate(5, 1.0, 1.0), MetricAggregate(0), "no user in the treatment"),
        (MetricAggregate(1, 1.0), MetricAggregate(5, 1.0, 1.0), "one user in the control"),
        (MetricAggregate(5, 1.0, 1.0), MetricAggregate(1, 2.0), "one user in the treatment"),
        (MetricAggregate(5, 1.0, 0.0), MetricAggregate(5, 2.0, 0.0), "same value"),
    ],
)
def test_what_cannot_be_tested_says_why(
    control: MetricAggregate, treated: MetricAggregate, reason: str
) -> None:
    effect = effect_of(control, treated)
    assert effect.reason is not None
    assert reason in effect.reason
    assert (effect.p_value, effect.significant) == (None, None)
    assert (effect.lower_pct, effect.upper_pct) == (None, None)


def test_one_user_still_has_an_effect() -> None:
    assert effect_of(MetricAggregate(5, 1.0, 1.0), MetricAggregate(1, 2.0)).effect_pct == 100


def test_zero_control_mean_has_a_test_but_no_relative_effect() -> None:
    effect = effect_of(MetricAggregate(10, 0.0, 0.0), MetricAggregate(10, 3.0, 1.0))
    assert effect.effect_pct is None
    assert effect.significant is True
    assert effect.reason == "the control mean is 0: no relative effect"


def test_zero_treatment_mean_has_an_effect_but_no_interval() -> None:
    effect = effect_of(MetricAggregate(10, 3.0, 1.0), MetricAggregate(10, 0.0, 0.0))
    assert effect.effect_pct == -100
    assert effect.significant is True
    assert effect.reason == "the treatment mean is 0: no interval of the ratio"


def test_a_mean_that_is_all_noise_has_a_test_but_no_interval() -> None:
    control, treated = MetricAggregate(10, 1e-3, 1e4), MetricAggregate(12, 1.0, 2.0)
    effect = effect_of(control, treated)
    expected = scipy.stats.ttest_ind_from_stats(
        1.0, math.sqrt(2.0), 12, 1e-3, 100.0, 10, equal_var=False
    )
    assert effect.p_value == pytest.approx(expected.pvalue)
    assert effect.lower_pct is None
    assert effect.reason is not None


def test_a_variance_beyond_floating_point_has_no_test_and_says_so() -> None:
    effect = effect_of(MetricAggregate(2, 1.0, 0.0), MetricAggregate(2, 1.0, 5e-324))
    assert effect.p_value is None
    assert effect.reason == "beyond floating point: no test"


def test_a_tiny_variance_has_a_test() -> None:
    effect = effect_of(MetricAggregate(2, 1.0, 0.0), MetricAggregate(2, 1e-97, 1e-246))
    # t = 1 / sqrt(1e-246 / 2) with one degree of freedom: P(|T| > t) is 2 / (pi t) so far out
    assert effect.p_value == pytest.approx(2 / math.pi * math.sqrt(1e-246 / 2))


aggregates = st.builds(
    MetricAggregate,
    st.integers(0, 10**7),
    st.one_of(st.none(), st.floats(allow_nan=False, allow_infinity=False), st.floats(0, 1e3)),
    st.one_of(
        st.none(), st.floats(min_value=0, allow_nan=False, allow_infinity=False), st.floats(0, 1e3)
    ),
)


@given(aggregates, aggregates)
def test_an_effect_is_finite_or_has_a_reason(
    control: MetricAggregate, treated: MetricAggregate
) -> None:
    effect = effect_of(control, treated)
    values = (effect.effect_pct, effect.lower_pct, effect.upper_pct, effect.p_value)
    assert all(value is None or math.isfinite(value) for value in values)
    assert (effect.reason is None) == (None not in values)
    if effect.lower_pct is not None:
        assert effect.upper_pct is not None
        assert effect.effect_pct is not None
        assert effect.lower_pct <= effect.effect_pct <= effect.upper_pct


@given(st.lists(st.floats(0.5, 100), min_size=2), st.lists(st.floats(0.5, 100), min_size=2))
def test_swapping_the_arms_keeps_the_p_value(left: list[float], right: list[float]) -> None:
    forth = effect_of(aggregate(left), aggregate(right))
    back = effect_of(aggregate(right), aggregate(left))
    assert (forth.p_value is None) == (back.p_value is None)
    if forth.p_value is not None:
        assert forth.p_value == pytest.approx(back.p_value)


@given(
    means=st.tuples(st.floats(0.01, 1e4), st.floats(0.01, 1e4)),
    variances=st.tuples(st.floats(0, 1e4), st.floats(1e-3, 1e4)),
    n_users=st.tuples(st.integers(2, 10_000), st.integers(2, 10_000)),
    alpha=st.floats(0.001, 0.5),
)
def test_test_and_interval_are_those_of_tea_tasting(
    means: tuple[float, float],
    variances: tuple[float, float],
    n_users: tuple[int, int],
    alpha: float,
) -> None:
    arms = [MetricAggregate(*arm) for arm in zip(n_users, means, variances, strict=True)]
    effect = effect_of(arms[0], arms[1], alpha=alpha)
    theirs = [Aggregates(arm.n_users, {"value": arm.mean}, {"value": arm.variance}) for arm in arms]
    metric = tt.Mean("value", confidence_level=1 - alpha, equal_var=False, use_t=True)
    try:
        expected = metric.analyze_aggregates(*theirs)
    except OverflowError:
        assert (effect.lower_pct, effect.upper_pct) == (None, None)
        return
    assert effect.p_value == pytest.approx(expected.pvalue, rel=1e-9, abs=1e-300)
    if effect.upper_pct is None:  # beyond floating point
        assert not math.isfinite(100 * expected.rel_effect_size_ci_upper)
        return
    assert effect.lower_pct == pytest.approx(100 * expected.rel_effect_size_ci_lower, rel=1e-9)
    assert effect.upper_pct == pytest.approx(100 * expected.rel_effect_size_ci_upper, rel=1e-9)
