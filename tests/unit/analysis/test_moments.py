import numpy as np
import numpy.typing as npt
import pytest
import tea_tasting as tt
from hypothesis import given
from hypothesis import strategies as st
from tea_tasting.aggr import Aggregates

from analysis.core.effects import estimate_effect
from analysis.core.moments import MetricAggregate, RatioMoments, adjust_for_history, linearise
from analysis.core.sequential import log_ratio

Floats = npt.NDArray[np.float64]


def moments_of(
    numerator: Floats, denominator: Floats, covariate: Floats | None = None
) -> RatioMoments:
    columns = [numerator, denominator] + ([] if covariate is None else [covariate])
    means, spread = np.mean(columns, axis=1), np.cov(columns)
    with_history = covariate is not None
    return RatioMoments(
        n_users=len(numerator),
        numerator_mean=means[0],
        denominator_mean=means[1],
        numerator_variance=spread[0, 0],
        denominator_variance=spread[1, 1],
        numerator_denominator=spread[0, 1],
        covariate_mean=means[2] if with_history else None,
        covariate_variance=spread[2, 2] if with_history else None,
        numerator_covariate=spread[0, 2] if with_history else None,
        denominator_covariate=spread[1, 2] if with_history else None,
    )


def make_users(seed: int, n: int = 400, effect: float = 1.0) -> tuple[Floats, Floats, Floats]:
    """Make skips, playbacks and earlier skip rates of users who differ."""
    generator = np.random.default_rng(seed)
    taste = generator.beta(2, 5, n)
    playbacks = 1.0 + generator.poisson(8, n)
    skips = generator.binomial(playbacks.astype(int), np.minimum(taste * effect, 1)).astype(float)
    return skips, playbacks, taste + generator.normal(0, 0.05, n)


def test_ratio_by_hand() -> None:
    # users (1 of 2), (3 of 4): ratio 4/6; linearised 2/3 + (1 - 4/3)/3 and 2/3 + (3 - 8/3)/3
    aggregate = linearise(moments_of(np.array([1.0, 3.0]), np.array([2.0, 4.0])))
    assert aggregate.n_users == 2
    assert aggregate.mean == pytest.approx(2 / 3)
    assert aggregate.variance == pytest.approx(2 * (1 / 9) ** 2)


def test_ratio_is_that_of_tea_tasting() -> None:
    (n0, d0, _), (n1, d1, _) = make_users(1), make_users(2, effect=1.2)
    effect = estimate_effect(
        linearise(moments_of(n0, d0)),
        linearise(moments_of(n1, d1)),
        treatment="T1",
        metric="skip_rate",
    )
    metric = tt.RatioOfMeans("n", "d", equal_var=False)
    expected = metric.analyze_aggregates(_aggregates(n0, d0), _aggregates(n1, d1))
    assert effect.p_value == pytest.approx(expected.pvalue)
    assert effect.lower_pct == pytest.approx(100 * expected.rel_effect_size_ci_lower)
    assert effect.upper_pct == pytest.approx(100 * expected.rel_effect_size_ci_upper)


def _aggregates(n: Floats, d: Floats) -> Aggregates:
    return Aggregates(
        len(n),
        {"n": n.mean(), "d": d.mean()},
        {"n": n.var(ddof=1), "d": d.var(ddof=1)},
        {("d", "n"): np.cov(n, d)[0, 1]},
    )


def test_variance_of_a_ratio_is_that_of_resampled_users() -> None:
    numerator, denominator, _ = make_users(3)
    aggregate = linearise(moments_of(numerator, denominator))
    picks = np.random.default_rng(4).integers(0, 400, (4000, 400))
    ratios = numerator[picks].sum(axis=1) / denominator[picks].sum(axis=1)
    assert aggregate.variance is not None
    assert aggregate.variance / 400 == pytest.approx(ratios.var(), rel=0.1)


def test_a_denominator_of_one_is_a_mean() -> None:
    values = np.array([1.0, 2.0, 6.0])
    aggregate = linearise(moments_of(values, np.ones(3)))
    assert (aggregate.mean, aggregate.variance) == (pytest.approx(3), pytest.approx(7))


@pytest.mark.parametrize(
    "moments",
    [
        RatioMoments(n_users=0),
        RatioMoments(n_users=3, numerator_mean=0.0, denominator_mean=0.0, numerator_variance=0.0),
    ],
)
def test_a_ratio_of_nothing_has_no_users(moments: RatioMoments) -> None:
    assert linearise(moments) == MetricAggregate(0)


def test_one_user_has_a_ratio_without_variance() -> None:
    aggregate = linearise(RatioMoments(n_users=1, numerator_mean=1.0, denominator_mean=4.0))
    assert (aggregate.mean, aggregate.variance) == (0.25, None)


def make_arm(seed: int, n: int, effect: float) -> tuple[Floats, Floats, MetricAggregate]:
    generator = np.random.default_rng(seed)
    before = generator.gamma(2, 2, n)
    after = before * effect + generator.gamma(2, 1, n)
    spread = np.cov(after, before)
    aggregate = MetricAggregate(
        n, after.mean(), spread[0, 0], before.mean(), spread[1, 1], spread[0, 1]
    )
    return before, after, aggregate


def test_cuped_is_the_regression_on_treatment_history_and_both() -> None:
    """With a slope per arm, the adjusted means are those at the mean history of all users."""
    before0, after0, control = make_arm(1, 300, 1.0)
    before1, after1, treated = make_arm(2, 200, 1.1)
    adjusted = adjust_for_history(control, treated)
    assert adjusted is not None
    is_treated = np.r_[np.zeros(300), np.ones(200)]
    history = np.r_[before0, before1]
    centred = history - history.mean()
    design = np.column_stack([np.ones(500), is_treated, centred, is_treated * centred])
    (base, effect, slope, more), *_ = np.linalg.lstsq(design, np.r_[after0, after1], rcond=None)
    assert (adjusted[0].mean, adjusted[1].mean) == pytest.approx((base, base + effect))
    assert adjusted[0].variance == pytest.approx((after0 - slope * before0).var(ddof=1))
    within = (after1 - (slope + more) * before1).var(ddof=1)
    shared = (300 * before0.var(ddof=1) + 200 * before1.var(ddof=1)) / 500
    apart = slope + more - slope * (base + effect) / base
    assert adjusted[1].variance == pytest.approx(within + 200 * apart**2 * shared / 500)


def test_the_variance_of_an_adjusted_change_is_that_of_drawn_experiments() -> None:
    """Also where the treatment adds to what listeners do, and the slopes differ from the means."""
    found, said = [], []
    for seed in range(600):
        _, _, control = make_arm(3 * seed, 200, 1.0)
        _, _, treated = make_arm(3 * seed + 1, 200, 6.0)
        adjusted = adjust_for_history(control, treated)
        assert adjusted is not None
        estimate = log_ratio(*adjusted)
        assert estimate is not None
        found.append(estimate[0])
        said.append(estimate[1])
    assert np.mean(said) == pytest.approx(np.var(found), rel=0.15)


def test_a_large_effect_is_told_at_every_look_with_history_as_without() -> None:
    """A treatment of twenty times the control's listening must not drown the control's mean."""
    _, _, control = make_arm(5, 600, 1.0)
    generator = np.random.default_rng(6)
    before = generator.gamma(2, 2, 600)
    after = 20 * generator.gamma(0.6, 1 / 0.6, 600) * before
    spread = np.cov(after, before)
    treated = MetricAggregate(
        600, after.mean(), spread[0, 0], before.mean(), spread[1, 1], spread[0, 1]
    )
    effect = estimate_effect(control, treated, treatment="T2", metric="time")
    assert effect.anytime_p_value is not None
    assert effect.anytime_p_value < 1e-6
    assert effect.anytime_lower_pct is not None
    assert effect.anytime_lower_pct > 500


def test_cuped_is_that_of_tea_tasting() -> None:
    before0, after0, control = make_arm(1, 5000, 1.0)
    before1, after1, treated = make_arm(2, 4000, 1.05)
    effect = estimate_effect(control, treated, treatment="T1", metric="time")
    metric = tt.Mean("after", covariate="before", equal_var=False)
    arms = [
        Aggregates(
            len(after),
            {"after": after.mean(), "before": before.mean()},
            {"after": after.var(ddof=1), "before": before.var(ddof=1)},
            {("after", "before"): np.cov(after, before)[0, 1]},
        )
        for before, after in ((before0, after0), (before1, after1))
    ]
    expected = metric.analyze_aggregates(*arms)
    # Its slope is one of all users, ours are the arms' own.
    assert effect.cuped_effect_pct == pytest.approx(100 * expected.rel_effect_size, rel=0.01)
    assert effect.cuped_lower_pct == pytest.approx(
        100 * expected.rel_effect_size_ci_lower, rel=0.02
    )
    assert effect.cuped_upper_pct == pytest.approx(
        100 * expected.rel_effect_size_ci_upper, rel=0.02
    )
    correlation = np.corrcoef(np.r_[before0, before1], np.r_[after0, after1])[0, 1]
    assert effect.cuped_reduction_pct == pytest.approx(100 * correlation**2, rel=0.02)


def test_without_history_there_is_no_adjusted_effect() -> None:
    arm = MetricAggregate(10, 1.0, 2.0)
    same_past = MetricAggregate(10, 1.0, 2.0, 3.0, 0.0, 0.0)
    assert adjust_for_history(arm, arm) is None
    assert adjust_for_history(same_past, same_past) is None
    effect = estimate_effect(arm, same_past, treatment="T1", metric="time")
    assert (effect.cuped_effect_pct, effect.cuped_p_value) == (None, None)


@given(st.lists(st.floats(0, 1e6), min_size=2, max_size=20))
def test_an_adjusted_variance_is_never_negative(values: list[float]) -> None:
    past = np.array(values)
    spread = np.cov(past * 2, past)
    arm = MetricAggregate(
        len(past), past.mean() * 2, spread[0, 0], past.mean(), spread[1, 1], spread[0, 1]
    )
    adjusted = adjust_for_history(arm, arm)
    assert adjusted is None or (adjusted[0].variance or 0.0) >= 0
