import math

import numpy as np
import pytest
import scipy.integrate
import scipy.stats

from analysis.core.moments import MetricAggregate
from analysis.core.sequential import estimate_anytime, mixture_half_width


def test_interval_by_hand() -> None:
    # both means 10, relative variances 0.04/100 each: V = 0.0008 = the mixing variance, so that
    # (V + tau2) / V = 2 and the half width is sqrt(V * 2 * (log 2 + 2 log 20))
    control = MetricAggregate(100, 10.0, 4.0)
    worthwhile = 100 * math.expm1(math.sqrt(0.0008))
    interval = estimate_anytime(control, control, alpha=0.05, worthwhile_pct=worthwhile)
    assert interval is not None
    half = math.sqrt(0.0016 * (math.log(2) + 2 * math.log(20)))
    assert interval.lower_pct == pytest.approx(100 * math.expm1(-half))
    assert interval.upper_pct == pytest.approx(100 * math.expm1(half))
    assert interval.p_value == 1


def test_p_value_is_one_over_the_mixture_integrated_numerically() -> None:
    control, treated = MetricAggregate(500, 10.0, 9.0), MetricAggregate(400, 10.7, 12.0)
    variance = 9 / 100 / 500 + 12 / 10.7**2 / 400
    estimate, tau = math.log(1.07), math.log(1.05)

    def likelihood_ratio(effect: float) -> float:
        density = scipy.stats.norm(scale=math.sqrt(variance)).pdf
        return float(density(estimate - effect) / density(estimate))

    evidence, _ = scipy.integrate.quad(
        lambda effect: likelihood_ratio(effect) * scipy.stats.norm(scale=tau).pdf(effect), -1, 1
    )
    interval = estimate_anytime(control, treated, alpha=0.05, worthwhile_pct=5)
    assert interval is not None
    assert interval.p_value == pytest.approx(1 / evidence, rel=1e-6)


@pytest.mark.parametrize("mean", [10.6, 10.9, 9.2, 10.0])
def test_interval_excludes_no_change_where_the_p_value_is_below_alpha(mean: float) -> None:
    control, treated = MetricAggregate(900, 10.0, 16.0), MetricAggregate(900, mean, 16.0)
    interval = estimate_anytime(control, treated, alpha=0.05, worthwhile_pct=5)
    assert interval is not None
    excludes = interval.lower_pct > 0 or interval.upper_pct < 0
    assert excludes is (interval.p_value < 0.05)


def test_sequence_of_a_single_mean_is_that_of_waudby_smith_et_al() -> None:
    # their equation (4), with t observations of standard deviation s and parameter rho
    t, s, rho, alpha = 250, 1.7, 0.3, 0.1
    k = t * rho**2
    theirs = s * math.sqrt(2 * (k + 1) / (t * k) * math.log(math.sqrt(k + 1) / alpha))
    ours = mixture_half_width(s**2 / t, mixing=rho**2 * s**2, alpha=alpha)
    assert ours == pytest.approx(theirs)


def test_many_looks_at_no_effect_err_less_often_than_alpha() -> None:
    generator = np.random.default_rng(5)
    n_paths, n_looks = 2000, 200
    steps = generator.standard_normal((n_paths, n_looks)).cumsum(axis=1)
    information = np.arange(1, n_looks + 1)
    means = steps / information
    widths = np.array([mixture_half_width(1 / t, mixing=0.1, alpha=0.05) for t in information])
    naive = 1.96 / np.sqrt(information)
    assert (np.abs(means) > widths).any(axis=1).mean() < 0.05
    assert (np.abs(means) > naive).any(axis=1).mean() > 0.3  # what looking without care does


@pytest.mark.parametrize(
    "treated",
    [
        MetricAggregate(0),
        MetricAggregate(1, 3.0),
        MetricAggregate(50, 0.0, 0.0),
        MetricAggregate(50, -1.0, 1.0),
        MetricAggregate(50, 1e-300, 1.0),
    ],
)
def test_what_has_no_logarithm_has_no_interval(treated: MetricAggregate) -> None:
    control = MetricAggregate(50, 3.0, 1.0)
    assert estimate_anytime(control, treated, alpha=0.05, worthwhile_pct=5) is None
    assert estimate_anytime(treated, control, alpha=0.05, worthwhile_pct=5) is None


def test_arms_without_variance_have_no_interval() -> None:
    same = MetricAggregate(50, 3.0, 0.0)
    assert estimate_anytime(same, same, alpha=0.05, worthwhile_pct=5) is None
