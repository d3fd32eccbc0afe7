import math

import pytest
import scipy.integrate
import scipy.stats

from analysis.core.moments import MetricAggregate
from analysis.core.planning import estimate_power, minimum_detectable_pct, required_users


def test_required_users_by_hand() -> None:
    # difference 1, variance 16: 2 * 16 * (1.95996 + 0.84162)**2 = 251.16
    assert required_users(MetricAggregate(50, 10.0, 16.0), effect_pct=10, alpha=0.05) == 252


def test_the_users_required_have_the_power_asked_for() -> None:
    history = MetricAggregate(50, 10.0, 16.0)
    n_users = required_users(history, effect_pct=3, alpha=0.01, power=0.9)
    assert n_users is not None
    arm = MetricAggregate(n_users, 10.0, 16.0)
    power = estimate_power(arm, arm, effect_pct=3, alpha=0.01)
    assert power == pytest.approx(0.9, abs=0.001)
    detectable = minimum_detectable_pct(arm, arm, alpha=0.01, power=0.9)
    assert detectable == pytest.approx(3, abs=0.01)


def test_power_is_that_of_the_noncentral_t() -> None:
    control, treated = MetricAggregate(2000, 10.0, 9.0), MetricAggregate(2000, 11.0, 9.0)
    shift = 0.3 / math.sqrt(2 * 9 / 2000)
    t = scipy.stats.nct(3998, shift)
    critical = scipy.stats.t(3998).isf(0.025)
    power = estimate_power(control, treated, effect_pct=3, alpha=0.05)
    assert power == pytest.approx(t.sf(critical) + t.cdf(-critical), abs=0.002)


def test_no_effect_is_seen_as_often_as_alpha() -> None:
    arm = MetricAggregate(100, 10.0, 9.0)
    assert estimate_power(arm, arm, effect_pct=0, alpha=0.05) == pytest.approx(0.05)


@pytest.mark.parametrize(
    "arm", [MetricAggregate(0), MetricAggregate(1, 2.0), MetricAggregate(9, 0.0, 1.0)]
)
def test_what_is_not_known_is_not_planned(arm: MetricAggregate) -> None:
    assert required_users(arm, effect_pct=5, alpha=0.05) is None
    assert estimate_power(arm, arm, effect_pct=5, alpha=0.05) is None
    assert minimum_detectable_pct(arm, arm, alpha=0.05) is None
